//! The floating-point weights from which a model is quantized, as views of a checkpoint's tensors.

use super::{Architecture, Place, QuantError};

/// A linear map y = x·W + b in a stored tensor, which may hold several maps side by side.
#[derive(Clone, Copy, Debug)]
pub struct FloatMap<'a> {
    /// `[inputs, stored]`, or `[stored, inputs]` if `transposed`, row-major.
    pub weight: &'a [f32],
    /// `[stored]`; empty where the map has no bias.
    pub bias: &'a [f32],
    pub transposed: bool,
    pub inputs: usize,
    /// The number of outputs of all maps in the tensor.
    pub stored: usize,
    /// The first of this map's outputs.
    pub first: usize,
    pub outputs: usize,
}

impl<'a> FloatMap<'a> {
    /// The map that a tensor `[inputs, outputs]` and a bias are, as in GPT-2's files.
    pub fn whole(weight: &'a [f32], bias: &'a [f32], inputs: usize, outputs: usize) -> Self {
        Self {
            weight,
            bias,
            transposed: false,
            inputs,
            stored: outputs,
            first: 0,
            outputs,
        }
    }

    /// The map that a tensor `[outputs, inputs]` is, without a bias, as in Llama's files.
    pub fn transposed(weight: &'a [f32], inputs: usize, outputs: usize) -> Self {
        Self {
            transposed: true,
            ..Self::whole(weight, &[], inputs, outputs)
        }
    }

    /// Some of this map's outputs.
    pub fn part(self, first: usize, outputs: usize) -> Self {
        Self {
            first,
            outputs,
            ..self
        }
    }

    /// The weights of one input, output by output.
    pub fn row(self, input: usize) -> impl Iterator<Item = f32> + 'a {
        let (start, step) = if self.transposed {
            (self.first * self.inputs + input, self.inputs)
        } else {
            (input * self.stored + self.first, 1)
        };
        let weights = self.weight[start..].iter().step_by(step);
        weights.copied().take(self.outputs)
    }

    /// The biases of its outputs, or nothing.
    pub fn biases(self) -> &'a [f32] {
        match self.bias {
            [] => &[],
            all => &all[self.first..][..self.outputs],
        }
    }
}

/// A norm's gain and bias.
#[derive(Clone, Copy, Debug)]
pub struct FloatNorm<'a> {
    /// `[d]`.
    pub gain: &'a [f32],
    /// `[d]`; empty where the norm has none.
    pub bias: &'a [f32],
}

/// One block's weights.
#[derive(Clone, Copy, Debug)]
pub struct FloatBlock<'a> {
    pub norm1: FloatNorm<'a>,
    pub query: FloatMap<'a>,
    pub key: FloatMap<'a>,
    pub value: FloatMap<'a>,
    pub output: FloatMap<'a>,
    pub norm2: FloatNorm<'a>,
    /// Where the activation is gated, what it is applied to.
    pub gate: Option<FloatMap<'a>>,
    pub up: FloatMap<'a>,
    pub down: FloatMap<'a>,
}

/// A whole model's weights.
#[derive(Clone, Debug)]
pub struct FloatWeights<'a> {
    /// `[vocabulary, d]`.
    pub tokens: &'a [f32],
    /// `[context, d]`, where positions are learned.
    pub positions: Option<&'a [f32]>,
    pub blocks: Vec<FloatBlock<'a>>,
    pub final_norm: FloatNorm<'a>,
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
        let d = architecture.width;
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
        let vocabulary = architecture.vocabulary * d;
        check_tensor(Place::Embedding, "tokens", self.tokens, vocabulary)?;
        let positions = match architecture.rotary() {
            None => architecture.context * d,
            Some(_) => 0,
        };
        let values = self.positions.unwrap_or_default();
        check_tensor(Place::Embedding, "positions", values, positions)?;
        for (index, block) in self.blocks.iter().enumerate() {
            block.check(Place::Block(index), architecture)?;
        }
        let final_norm = ["final gain", "final bias"];
        self.final_norm
            .check(Place::Head, final_norm, architecture)?;
        self.lm_head.map_or(Ok(()), |matrix| {
            check_tensor(Place::Head, "head", matrix, vocabulary)
        })
    }

    /// A bound on |token embedding + position embedding| over all tokens and positions.
    pub fn embedding_max(&self) -> f64 {
        let largest = |values: &[f32]| values.iter().fold(0f32, |max, v| max.max(v.abs()));
        let positions = self.positions.map_or(0.0, largest);
        f64::from(largest(self.tokens)) + f64::from(positions)
    }
}

impl FloatBlock<'_> {
    fn check(&self, place: Place, a: &Architecture) -> Result<(), QuantError> {
        let (d, kv, hidden) = (a.width, a.kv_width(), a.hidden);
        let norms = [
            (self.norm1, ["first norm's gain", "first norm's bias"]),
            (self.norm2, ["second norm's gain", "second norm's bias"]),
        ];
        for (norm, names) in norms {
            norm.check(place, names, a)?;
        }
        if self.gate.is_some() != a.gated {
            return Err(QuantError::Architecture {
                what: "gate",
                found: if a.gated { "missing" } else { "present" }.to_string(),
                expected: "a projection exactly where the activation is gated",
            });
        }
        let maps = [
            (Some(self.query), ["query", "query bias"], d, d),
            (Some(self.key), ["key", "key bias"], d, kv),
            (Some(self.value), ["value", "value bias"], d, kv),
            (Some(self.output), ["output", "output bias"], d, d),
            (self.gate, ["gate", "gate bias"], d, hidden),
            (Some(self.up), ["up", "up bias"], d, hidden),
            (Some(self.down), ["down", "down bias"], hidden, d),
        ];
        for (map, names, inputs, outputs) in maps {
            map.map_or(Ok(()), |map| map.check(place, names, (inputs, outputs), a))?;
        }
        Ok(())
    }
}

impl FloatMap<'_> {
    fn check(
        &self,
        place: Place,
        [weight, bias]: [&'static str; 2],
        (inputs, outputs): (usize, usize),
        a: &Architecture,
    ) -> Result<(), QuantError> {
        assert_eq!(
            (self.inputs, self.outputs),
            (inputs, outputs),
            "{weight}'s view"
        );
        check_tensor(place, weight, self.weight, inputs * self.stored)?;
        let biases = if a.biased() { self.stored } else { 0 };
        check_tensor(place, bias, self.bias, biases)
    }
}

impl FloatNorm<'_> {
    fn check(
        &self,
        place: Place,
        [gain, bias]: [&'static str; 2],
        a: &Architecture,
    ) -> Result<(), QuantError> {
        check_tensor(place, gain, self.gain, a.width)?;
        check_tensor(place, bias, self.bias, if a.biased() { a.width } else { 0 })
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
