//! The floating-point weights from which a model is quantized.

use super::{Architecture, Place, QuantError};

/// One block's weights as a GPT-2 checkpoint has them: matrices `[inputs, outputs]`, row-major.
#[derive(Clone, Copy, Debug)]
pub struct FloatBlock<'a> {
    /// `[d]`.
    pub ln1_gain: &'a [f32],
    /// `[d]`.
    pub ln1_bias: &'a [f32],
    /// `[d, 3d]`: query, key, value side by side.
    pub attn_w: &'a [f32],
    /// `[3d]`.
    pub attn_b: &'a [f32],
    /// `[d, d]`.
    pub proj_w: &'a [f32],
    /// `[d]`.
    pub proj_b: &'a [f32],
    /// `[d]`.
    pub ln2_gain: &'a [f32],
    /// `[d]`.
    pub ln2_bias: &'a [f32],
    /// `[d, hidden]`.
    pub up_w: &'a [f32],
    /// `[hidden]`.
    pub up_b: &'a [f32],
    /// `[hidden, d]`.
    pub down_w: &'a [f32],
    /// `[d]`.
    pub down_b: &'a [f32],
}

/// A whole model's weights.
#[derive(Clone, Debug)]
pub struct FloatWeights<'a> {
    /// `[vocabulary, d]`.
    pub tokens: &'a [f32],
    /// `[context, d]`.
    pub positions: &'a [f32],
    pub blocks: Vec<FloatBlock<'a>>,
    /// `[d]`.
    pub final_gain: &'a [f32],
    /// `[d]`.
    pub final_bias: &'a [f32],
    /// `[vocabulary, d]`, or `None` where the token embedding serves.
    pub lm_head: Option<&'a [f32]>,
}

impl FloatWeights<'_> {
    /// Checks every tensor's length, and that every weight is a finite number.
    ///
    /// # Errors
    /// [`QuantError::Shape`] or [`QuantError::NotFinite`], naming the tensor, or
    /// [`QuantError::Architecture`] where the number of blocks or the presence of a head differs.
    pub fn check(&self, architecture: &Architecture) -> Result<(), QuantError> {
        let (d, hidden) = (architecture.width, architecture.hidden);
        if self.blocks.len() != architecture.layers {
            return Err(QuantError::Architecture {
                what: "number of blocks",
                found: self.blocks.len().to_string(),
                expected: "the number of layers in config.json",
            });
        }
        if self.lm_head.is_none() != architecture.tied {
            let found = self.lm_head.map_or("missing", |_| "present");
            return Err(QuantError::Architecture {
                what: "head",
                found: found.to_string(),
                expected: "a matrix of its own exactly where it is not tied to the embedding",
            });
        }
        let (vocabulary, context) = (architecture.vocabulary * d, architecture.context * d);
        check_tensor(Place::Embedding, "tokens", self.tokens, vocabulary)?;
        check_tensor(Place::Embedding, "positions", self.positions, context)?;
        for (index, block) in self.blocks.iter().enumerate() {
            for (tensor, values, expected) in block.tensors(d, hidden) {
                check_tensor(Place::Block(index), tensor, values, expected)?;
            }
        }
        check_tensor(Place::Head, "final gain", self.final_gain, d)?;
        check_tensor(Place::Head, "final bias", self.final_bias, d)?;
        self.lm_head.map_or(Ok(()), |matrix| {
            check_tensor(Place::Head, "head", matrix, vocabulary)
        })
    }

    /// A bound on |token embedding + position embedding| over all tokens and positions.
    pub fn embedding_max(&self) -> f64 {
        let largest = |values: &[f32]| values.iter().fold(0f32, |max, v| max.max(v.abs()));
        f64::from(largest(self.tokens)) + f64::from(largest(self.positions))
    }
}

impl<'a> FloatBlock<'a> {
    /// (name, values, expected length) of every tensor.
    fn tensors(&self, d: usize, hidden: usize) -> [(&'static str, &'a [f32], usize); 12] {
        [
            ("first norm's gain", self.ln1_gain, d),
            ("first norm's bias", self.ln1_bias, d),
            ("query, key and value", self.attn_w, 3 * d * d),
            ("query, key and value bias", self.attn_b, 3 * d),
            ("output", self.proj_w, d * d),
            ("output bias", self.proj_b, d),
            ("second norm's gain", self.ln2_gain, d),
            ("second norm's bias", self.ln2_bias, d),
            ("up", self.up_w, d * hidden),
            ("up bias", self.up_b, hidden),
            ("down", self.down_w, hidden * d),
            ("down bias", self.down_b, d),
        ]
    }
}

fn check_tensor(
    place: Place,
    tensor: &'static str,
    values: &[f32],
    expected: usize,
) -> Result<(), QuantError> {
    if values.len() != expected {
        return Err(QuantError::Shape {
            place,
            tensor,
            expected,
            found: values.len(),
        });
    }
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(index) => Err(QuantError::NotFinite {
            place,
            tensor,
            index,
            value: f64::from(values[index]),
        }),
    }
}
