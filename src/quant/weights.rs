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

/// One block's weights, the norms' gains and biases folded in, 1/√w folded into `query`. Biases are
/// empty where the model has none (see [`super::Architecture::biased`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockWeights {
    /// `[d, d]`. Biases of query, key and value at `norm1.output + weight` fractional bits.
    pub query: IntMatrix,
    pub query_bias: IntVector,
    /// `[d, kv_width]`, as value's.
    pub key: IntMatrix,
    pub key_bias: IntVector,
    pub value: IntMatrix,
    pub value_bias: IntVector,
    /// `[d, d]`, inputs ordered head by head. Bias at `output_bias` fractional bits.
    pub output: IntMatrix,
    pub output_bias: IntVector,
    /// `[d, hidden]`: what the activation is applied to, where another projection is multiplied by it.
    pub gate: Option<IntMatrix>,
    /// `[d, hidden]`, bias at `norm2.output + weight`.
    pub up: IntMatrix,
    pub up_bias: IntVector,
    /// `[hidden, d]`, bias at the accumulator's (see [`super::Scales::down_accumulator`]).
    pub down: IntMatrix,
    pub down_bias: IntVector,
}

/// The head's own weights: the final norm's gain and bias, and the matrix where it is not tied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadWeights {
    /// γ, at `final_gain` fractional bits.
    pub gain: IntVector,
    /// β, at `final_norm.output + final_gain` fractional bits; empty where the norm has none.
    pub bias: IntVector,
    /// `[d, vocabulary]`, or `None` where the token embedding serves.
    pub matrix: Option<IntMatrix>,
}

/// A whole quantized model. Embeddings are `[d, vocabulary]` and `[d, context]`: the orientation
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
