//! What observers of the reference are shown.

use candle_core::Tensor;

use super::Result;
use super::parts::values;

/// A tensor that an [`Observer`] is shown, where the model has it. T is the number of tokens, d the width, q and kv the
/// widths of all queries and of all keys; all tensors are row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The residual stream where it enters the block, `[T, d]`.
    BlockInput,
    /// The variance (RMSNorm: the mean square) that the attention's norm divides by, without ε, `[T]`.
    Norm1Variance,
    /// The normalized stream before gain and bias, `[T, d]`.
    Norm1,
    /// Queries where they enter their norm, `[T, q]`, head by head.
    QueryInput,
    /// Keys where they enter theirs, `[T, kv]`.
    KeyInput,
    /// q with the score's factor in it, as it meets k: normalized and rotated where the model does so. `[T, q]`, head by
    /// head.
    Query,
    /// `[T, kv]`, likewise, without the score's factor.
    Key,
    /// `[T, kv]`.
    Value,
    /// max over the j' that i sees of q_i·k_j', less q_i·k_j; 0 where i does not see j. `[heads, T, T]`.
    ScoreGap,
    /// Σ_j softmax(q_i·k)_j · v_j, `[T, q]`, head by head.
    HeadOutput,
    /// The attention's output where it enters the norm behind it, `[T, d]`.
    AttentionOutput,
    /// What the attention adds to the residual stream, `[T, d]`.
    AttentionBranch,
    /// The residual stream that the feed-forward part or its norm reads, `[T, d]`: with the attention's branch unless both
    /// parts read the same.
    Middle,
    /// The variance that the feed-forward part's norm divides by, without ε, `[T]`.
    Norm2Variance,
    /// The normalized stream before gain and bias, `[T, d]`.
    Norm2,
    /// The argument of the activation function, `[T, hidden]`.
    PreActivation,
    /// Its value, `[T, hidden]`.
    Activated,
    /// What it is multiplied by where it is gated, `[T, hidden]`.
    Up,
    /// The feed-forward part's output where it enters the norm behind it, `[T, d]`.
    FeedForwardOutput,
    /// What the feed-forward part adds to the residual stream, `[T, d]`.
    FeedForwardBranch,
    /// The residual stream where it enters the final norm, `[T, d]`.
    FinalInput,
    /// The variance that the final norm divides by, without ε, `[T]`.
    FinalVariance,
    /// The normalized stream before the final gain and bias, `[T, d]`.
    FinalNorm,
    /// With gain and bias: what the head's matrix is applied to, `[T, d]`.
    FinalOutput,
}

/// Is shown every tensor of a run, in the order in which they are computed.
pub trait Observer {
    /// `block` is `None` for the stages of the head.
    fn observe(&mut self, block: Option<usize>, stage: Stage, values: &[f64]);
}

impl<O: FnMut(Option<usize>, Stage, &[f64])> Observer for O {
    fn observe(&mut self, block: Option<usize>, stage: Stage, values: &[f64]) {
        self(block, stage, values);
    }
}

/// Nobody watches.
impl Observer for () {
    fn observe(&mut self, _: Option<usize>, _: Stage, _: &[f64]) {}
}

/// An observer of one block, or of the head.
pub(super) struct Lens<'a>(pub Option<usize>, pub &'a mut dyn Observer);

impl Lens<'_> {
    pub fn show(&mut self, stage: Stage, tensor: &Tensor) -> Result<()> {
        self.1.observe(self.0, stage, &values(tensor)?);
        Ok(())
    }

    pub fn shown(&mut self, stage: Stage, tensor: Tensor) -> Result<Tensor> {
        self.show(stage, &tensor)?;
        Ok(tensor)
    }
}
