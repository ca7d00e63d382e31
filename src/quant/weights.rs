//! Integer weights.

use serde::{Deserialize, Serialize};

/// A weight matrix `[inputs, outputs]`, row-major, at `Scales::weight` fractional bits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntMatrix {
    pub inputs: usize,
    pub outputs: usize,
    pub data: Vec<i32>,
}

impl IntMatrix {
    pub fn row(&self, input: usize) -> &[i32] {
        &self.data[input * self.outputs..][..self.outputs]
    }
}

/// A bias or gain.
pub type IntVector = Vec<i64>;

/// One block's weights, in whole slabs; what stands in `f64` before anything is rounded is folded in: gains and biases of the
/// norms before, 1/√w. Of what a model has not, vectors are empty (see [`super::Biases`], [`super::Order`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockWeights {
    /// `[stream, query_lanes]`. Biases of query, key and value have their accumulators' fractional bits.
    pub query: IntMatrix,
    pub query_bias: IntVector,
    /// `[stream, key_lanes]`, as value's.
    pub key: IntMatrix,
    pub key_bias: IntVector,
    pub value: IntMatrix,
    pub value_bias: IntVector,
    /// `[query_lanes, stream]`, inputs ordered head by head. Bias at `output_bias` fractional bits.
    pub output: IntMatrix,
    pub output_bias: IntVector,
    /// `[stream, hidden_lanes]`: what the activation is applied to, where another projection is multiplied by it.
    pub gate: Option<IntMatrix>,
    pub gate_bias: IntVector,
    /// `[stream, hidden_lanes]`.
    pub up: IntMatrix,
    pub up_bias: IntVector,
    /// `[hidden_lanes, stream]`, bias at the accumulator's (see [`super::Scales::down_accumulator`]).
    pub down: IntMatrix,
    pub down_bias: IntVector,
    /// γ of the queries' norm, `[head_lanes]` or `[query_lanes]`, at `gain` fractional bits.
    pub query_gain: IntVector,
    /// γ of the keys' norm, likewise.
    pub key_gain: IntVector,
    /// γ of the norm behind the attention, `[stream]`, at `gain` fractional bits.
    pub attention_gain: IntVector,
    /// γ of the norm behind the feed-forward part, `[stream]`.
    pub feed_forward_gain: IntVector,
}

/// The head's own weights: the final norm's gain and bias, and the matrix where it is not tied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadWeights {
    /// γ, `[stream]`, at `final_gain` fractional bits.
    pub gain: IntVector,
    /// β, at `final_norm.output + final_gain` fractional bits; empty where the norm has none.
    pub bias: IntVector,
    /// `[stream, vocabulary]`, or `None` where the token embedding serves.
    pub matrix: Option<IntMatrix>,
    /// `[vocabulary]`, at the logits' fractional bits; empty where there is none.
    pub logit_bias: IntVector,
}

/// A whole quantized model. Embeddings are `[stream, vocabulary]` and `[stream, context]`: the orientation
/// in which the head uses the token embedding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntegerModel {
    pub manifest: super::Manifest,
    pub tokens: IntMatrix,
    /// Where positions are learned.
    pub positions: Option<IntMatrix>,
    pub blocks: Vec<BlockWeights>,
    pub head: HeadWeights,
}
