//! How long the committed rows of a model are: of its weights, and of the activations between its layers.

use crate::argument::layout::Tiling;
use crate::curve::MAX_LOG_LEN;
use crate::layers::{self, LayerKind};
use crate::quant::{Architecture, ceil_log2};

/// The longest rows: however large the model is, who verifies little of it needs 2^16 generators, and no more on its account.
pub const MAX_ROW_BITS: usize = 16;
const _: () = assert!(MAX_ROW_BITS <= MAX_LOG_LEN);

/// log2 of the length of a model's rows: the least with which its weights fill no more rows than a row has values, so that a key's points and the
/// generators that they take, of which a verifier of the whole multiplies all, are about as many.
///
/// At least one tile ([`Tiling`]), at most 2^[`MAX_ROW_BITS`], and no longer than the tiles of the matrix with the fewest inputs, which would not
/// fill longer ones.
pub fn row_bits(a: &Architecture) -> usize {
    let ends = [LayerKind::Embedding, LayerKind::Head].map(|kind| (kind, 1));
    let blocks = (LayerKind::Block(0), a.layers);
    let (mut weights, mut inputs) = (0, usize::MAX);
    for (kind, times) in ends.into_iter().chain([blocks]) {
        for (from, to) in layers::weight_shapes(a, kind).matrices {
            inputs = inputs.min(from);
            if owns_matrices(a, kind) {
                weights += times * from * to;
            }
        }
    }
    let balanced = ceil_log2(weights).div_ceil(2) as usize;
    let filled = Tiling::MIN_ROW_BITS + ceil_log2(inputs.div_ceil(Tiling::SIDE)) as usize;
    balanced
        .min(filled)
        .clamp(Tiling::MIN_ROW_BITS, MAX_ROW_BITS)
}

/// Whether a layer's matrices stand in its own part of the key: a tied head's is the embedding's.
pub fn owns_matrices(a: &Architecture, kind: LayerKind) -> bool {
    kind != LayerKind::Head || !a.tied
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::{Shape, llama_manifest, manifest};

    /// The table of `docs/protocol.md`: by the number of weights, from one tile on to the longest, and no longer than the narrowest matrix fills.
    #[test]
    fn rows_are_as_long_as_the_model_is_large() {
        let plain = |width, layers, vocabulary| {
            let shape = Shape {
                width,
                layers,
                vocabulary,
                tied: true,
            };
            row_bits(&manifest(shape).architecture)
        };
        assert_eq!(plain(64, 1, 70), 12);
        assert_eq!(plain(64, 1024, 50_257), 12, "64 inputs are one tile");
        assert_eq!(plain(256, 12, 512), 12);
        assert_eq!(plain(768, 12, 50_257), 14, "GPT-2 small");
        assert_eq!(plain(1600, 48, 50_257), 16, "GPT-2 XL");
        let llama = llama_manifest((32, 8, 128), 32, 128_256);
        assert_eq!(row_bits(&llama.architecture), 16, "Llama-3-8B");
    }
}
