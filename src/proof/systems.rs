//! The layers of a statement as the argument sees them. Prover and verifier both start here.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::LayerKind;
use super::key::CommittedModel;
use super::rows::row_bits;
use super::statement::Statement;
use crate::argument::claims::Layer;
use crate::layers::{self, Sequence};
use crate::quant::Manifest;
use crate::seal::bundle::LayerPublic;
use crate::transcript::Transcript;

/// The systems of layers that are proved in one bundle, with layouts and plans: a function of the manifest and the statement.
pub fn layers(manifest: &Manifest, sequence: &Sequence, kinds: &[LayerKind]) -> Vec<Layer> {
    let row_bits = row_bits(&manifest.architecture);
    let layer = |kind: &LayerKind| Layer::new(layers::system(manifest, sequence, *kind), row_bits);
    kinds.par_iter().map(layer).collect()
}

/// One of them.
#[cfg(test)]
pub fn layer(manifest: &Manifest, sequence: &Sequence, kind: LayerKind) -> Layer {
    layers(manifest, sequence, &[kind]).remove(0)
}

/// (boundary read, boundary written) of a layer, out of h₀ … h_L.
fn boundaries_of(layer: LayerKind, blocks: usize) -> (Option<usize>, Option<usize>) {
    match layer {
        LayerKind::Embedding => (None, Some(0)),
        LayerKind::Block(b) => (Some(b), Some(b + 1)),
        LayerKind::Head => (Some(blocks), None),
    }
}

/// The boundaries that the layers touch, and each one's place in the bundle.
pub fn touched_boundaries(kinds: &[LayerKind], blocks: usize) -> BTreeMap<usize, usize> {
    let mut touched: Vec<usize> = kinds
        .iter()
        .map(|k| boundaries_of(*k, blocks))
        .flat_map(|(i, o)| [i, o])
        .flatten()
        .collect();
    touched.sort_unstable();
    touched.dedup();
    touched
        .into_iter()
        .enumerate()
        .map(|(place, boundary)| (boundary, place))
        .collect()
}

/// The layers of a bundle with the commitments of their weights and the places of their boundaries.
pub fn publics<'a>(
    model: &'a CommittedModel,
    kinds: &[LayerKind],
    layers: &'a [Layer],
) -> Vec<LayerPublic<'a>> {
    let blocks = model.manifest.architecture.layers;
    let touched = touched_boundaries(kinds, blocks);
    let public = |(kind, layer): (&LayerKind, &'a Layer)| {
        let (matrices, vectors) = model.layer(*kind);
        let (input, output) = boundaries_of(*kind, blocks);
        LayerPublic {
            layer,
            index: kind.index(blocks) as u32,
            matrices,
            vectors,
            boundary_in: input.map(|b| touched[&b]),
            boundary_out: output.map(|b| touched[&b]),
        }
    };
    kinds.iter().zip(layers).map(public).collect()
}

/// The transcript of a bundle: it has absorbed the whole statement (and with it the model id and
/// the chain, which binds every boundary commitment), the tables, and which layers it is about.
pub fn transcript(
    model: &CommittedModel,
    statement: &Statement,
    kinds: &[LayerKind],
) -> Transcript {
    let mut transcript = Transcript::new("nanozk/bundle/v2", &statement.digest());
    transcript.absorb_bytes("tables", &model.manifest.tables);
    let blocks = model.manifest.architecture.layers;
    let numbers = kinds
        .iter()
        .flat_map(|kind| (kind.index(blocks) as u32).to_le_bytes());
    transcript.absorb_bytes("layers", &numbers.collect::<Vec<u8>>());
    transcript
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both sides of every layer, each boundary once, in the order of the model.
    #[test]
    fn boundaries_have_places_in_order() {
        use LayerKind::{Block, Embedding, Head};
        let touched = |kinds: &[LayerKind]| Vec::from_iter(touched_boundaries(kinds, 3));
        assert_eq!(touched(&[Embedding, Block(0)]), [(0, 0), (1, 1)]);
        assert_eq!(touched(&[Head, Block(0)]), [(0, 0), (1, 1), (3, 2)]);
        assert_eq!(touched(&[]), []);
    }
}
