//! The layers of a model as lists of ops, and the model as a list of layers.
//!
//! A *layer* is the embedding, a transformer block or the head. Each is declared on a [`System`]
//! from the manifest and the statement alone ([`system`]), so that prover and verifier build the
//! same one, and is run on integers by the prover ([`run`], [`witness`]). Layer 0 is the
//! embedding, layers 1 to L the blocks, layer L + 1 the head; boundary ℓ, h_ℓ, leaves layer ℓ and
//! enters layer ℓ + 1, as `[slab][token][lane]`.

mod accuracy;
mod block;
mod check;
mod coverage;
mod embedding;
mod fisher;
mod head;
mod quantize;
mod sequence;
mod trace;

pub use accuracy::{AccuracyError, Models, Predictions, TensorError};
pub use block::{Block, block_system};
pub use check::{ManifestError, check};
pub use coverage::{Coverage, Covered, SHUFFLES};
pub use embedding::{Embedding, embedding_system};
pub use fisher::{FisherLayer, FisherTable, FisherTableError};
pub use head::{Head, head_system, visit_logits};
pub use quantize::{QuantizeError, Quantized, quantize_checkpoint};
pub use sequence::{MAX_OUTPUTS, MIN_TOKENS, Sequence};
pub use trace::{Generation, Trace, generate, generate_telling, logits, run, witness};

use thiserror::Error;

use crate::ops::Overflow;
use crate::quant::{Architecture, IntMatrix, IntegerModel, Manifest};
use crate::system::System;

/// Which layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LayerKind {
    Embedding,
    /// Block i, from 0.
    Block(usize),
    Head,
}

impl LayerKind {
    /// All layers of a model with `blocks` blocks, in order.
    pub fn all(blocks: usize) -> impl Iterator<Item = Self> {
        std::iter::once(Self::Embedding)
            .chain((0..blocks).map(Self::Block))
            .chain([Self::Head])
    }

    /// The kind of layer, without its number.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedding => "embedding",
            Self::Block(_) => "block",
            Self::Head => "head",
        }
    }

    /// The layer's index in that order.
    pub fn index(self, blocks: usize) -> usize {
        match self {
            Self::Embedding => 0,
            Self::Block(i) => i + 1,
            Self::Head => blocks + 1,
        }
    }
}

impl std::fmt::Display for LayerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedding => f.write_str("embedding"),
            Self::Block(i) => write!(f, "block {i}"),
            Self::Head => f.write_str("head"),
        }
    }
}

/// Why a model cannot be run on an input.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RunError {
    #[error("{layer}: {source}; re-quantize with more headroom (--headroom)")]
    Overflow { layer: LayerKind, source: Overflow },
    #[error("the prompt is empty: give it at least one token")]
    EmptyPrompt,
    #[error("there is no output token: ask for at least one")]
    EmptyOutput,
    #[error(
        "{0} output tokens are more than the {MAX_OUTPUTS} that one proof can have: ask for fewer new tokens"
    )]
    TooManyOutputs(usize),
    #[error("token {token} is not in the vocabulary of {vocabulary}: use the model's tokenizer")]
    UnknownToken { token: u32, vocabulary: usize },
    #[error(
        "{tokens} tokens (padded to {padded}) exceed the model's context of {context}: shorten the \
         prompt or ask for fewer new tokens"
    )]
    TooLong {
        tokens: usize,
        padded: usize,
        context: usize,
    },
    #[error(
        "output {index} is token {token}, but the model's greedy choice is {greedy}: only greedy \
         decoding can be proved"
    )]
    NotGreedy {
        index: usize,
        token: u32,
        greedy: u32,
    },
}

impl RunError {
    fn overflow(layer: LayerKind) -> impl Fn(Overflow) -> Self {
        move |source| Self::Overflow { layer, source }
    }
}

/// A layer's system, which depends on the manifest (that [`check`] accepts) and on the
/// statement's tokens.
pub fn system(manifest: &Manifest, sequence: &Sequence, layer: LayerKind) -> System {
    match layer {
        LayerKind::Embedding => embedding_system(manifest, sequence.tokens()),
        LayerKind::Block(i) => block_system(manifest, i, sequence.tokens().len()),
        LayerKind::Head => head_system(manifest, sequence.tokens().len(), &sequence.outputs()),
    }
}

/// A layer's committed weights, in the order of [`crate::system::Segment::Vector`] and
/// [`crate::system::Segment::Matrix`].
#[derive(Clone, Debug)]
pub struct LayerWeights<'a> {
    pub vectors: Vec<&'a [i64]>,
    pub matrices: Vec<&'a IntMatrix>,
}

/// The weights of a layer.
pub fn weights(model: &IntegerModel, layer: LayerKind) -> LayerWeights<'_> {
    match layer {
        LayerKind::Embedding => LayerWeights {
            vectors: vec![],
            matrices: [&model.tokens]
                .into_iter()
                .chain(&model.positions)
                .collect(),
        },
        LayerKind::Block(i) => block::weights(&model.blocks[i]),
        LayerKind::Head => LayerWeights {
            vectors: [&model.head.gain, &model.head.bias, &model.head.logit_bias]
                .into_iter()
                .filter(|v| !v.is_empty())
                .map(Vec::as_slice)
                .collect(),
            matrices: vec![head::matrix(model)],
        },
    }
}

/// The shapes of a layer's weights, as [`weights`] gives them: what a key's manifest implies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightShapes {
    pub vectors: Vec<usize>,
    /// (inputs, outputs).
    pub matrices: Vec<(usize, usize)>,
}

/// The shapes of a layer's weights.
pub fn weight_shapes(a: &Architecture, layer: LayerKind) -> WeightShapes {
    let d = a.stream();
    let (vectors, matrices) = match layer {
        LayerKind::Embedding => {
            let positions = a.learned_positions.then_some((d, a.context));
            let matrices = [(d, a.vocabulary)].into_iter().chain(positions);
            (vec![], matrices.collect())
        }
        LayerKind::Block(_) => (block::vector_lens(a), block::matrix_shapes(a)),
        LayerKind::Head => {
            let bias = a.biases.final_norm.then_some(d);
            let logits = a.biases.head.then_some(a.vocabulary);
            let vectors = [d].into_iter().chain(bias).chain(logits);
            (vectors.collect(), vec![(d, a.vocabulary)])
        }
    };
    WeightShapes { vectors, matrices }
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub mod wraparound_tests;
