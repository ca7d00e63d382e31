//! The floating-point weights from which a model is quantized, as views of a checkpoint's tensors.

use super::{Architecture, Place, QuantError};

/// A linear map y = x·W + b in a stored tensor, which may hold several maps: side by side, or in turns.
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
    /// (how many of this map's outputs stand together, from the first of these to the first of the next ones).
    pub runs: (usize, usize),
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
            runs: (outputs, outputs),
        }
    }

    /// The map that a tensor `[outputs, inputs]` and a bias are, as in Llama's files.
    pub fn transposed(weight: &'a [f32], bias: &'a [f32], inputs: usize, outputs: usize) -> Self {
        Self {
            transposed: true,
            ..Self::whole(weight, bias, inputs, outputs)
        }
    }

    /// Some of this map's outputs, which are side by side.
    pub fn part(self, first: usize, outputs: usize) -> Self {
        Self {
            first,
            outputs,
            runs: (outputs, outputs),
            ..self
        }
    }

    /// `run` outputs from `first` on, `run` outputs `step` further, and so on: `outputs` in all.
    pub fn in_turns(self, first: usize, (run, step): (usize, usize), outputs: usize) -> Self {
        Self {
            first,
            outputs,
            runs: (run, step),
            ..self
        }
    }

    /// The weights of one input, output by output.
    pub fn row(self, input: usize) -> impl Iterator<Item = f32> + 'a {
        let (start, step) = match self.transposed {
            true => (input, self.inputs),
            false => (input * self.stored, 1),
        };
        self.places()
            .map(move |place| self.weight[start + place * step])
    }

    /// Where its outputs stand among those stored.
    pub fn places(self) -> impl Iterator<Item = usize> {
        let (run, step) = self.runs;
        let firsts = (self.first..).step_by(step);
        firsts
            .flat_map(move |first| first..first + run)
            .take(self.outputs)
    }

    /// The biases of its outputs, or nothing.
    pub fn biases(self) -> Vec<f32> {
        match self.bias {
            [] => Vec::new(),
            all => self.places().map(|place| all[place]).collect(),
        }
    }
}

/// A norm's gain and bias.
#[derive(Clone, Copy, Debug)]
pub struct FloatNorm<'a> {
    /// `[d]`, or of other lengths where it is queries or keys that are normalized.
    pub gain: &'a [f32],
    /// The same; empty where the norm has none.
    pub bias: &'a [f32],
}

/// One block's weights. Which norms there are is a matter of [`super::Order`].
#[derive(Clone, Copy, Debug)]
pub struct FloatBlock<'a> {
    /// Before the attention.
    pub norm1: Option<FloatNorm<'a>>,
    pub query: FloatMap<'a>,
    pub key: FloatMap<'a>,
    pub value: FloatMap<'a>,
    pub output: FloatMap<'a>,
    /// Of queries and keys: `[w]`, or over the width of all heads.
    pub query_norm: Option<FloatNorm<'a>>,
    pub key_norm: Option<FloatNorm<'a>>,
    /// Behind the attention.
    pub attention_norm: Option<FloatNorm<'a>>,
    /// Before the feed-forward part.
    pub norm2: Option<FloatNorm<'a>>,
    /// Where the activation is gated, what it is applied to.
    pub gate: Option<FloatMap<'a>>,
    pub up: FloatMap<'a>,
    pub down: FloatMap<'a>,
    /// Behind the feed-forward part.
    pub feed_forward_norm: Option<FloatNorm<'a>>,
}

/// What a model multiplies by: folded into weights before anything is rounded.
#[derive(Clone, Debug, PartialEq)]
pub struct Factors {
    /// Of token embeddings (the head's matrix is not multiplied).
    pub embedding: f64,
    /// Of scores: 1/√w if nothing else is said.
    pub score: f64,
    /// Of what a block adds to the residual stream, twice.
    pub branch: f64,
    pub logit: f64,
    /// How many lanes of a head are rotated, from the first: pair m is (m, m + half of them).
    pub rotated: usize,
    /// For each kind of attention, the factor of rotated lanes, of queries and of keys.
    pub rotation: Vec<f64>,
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
    /// `[vocabulary]`; empty where there is none.
    pub logit_bias: &'a [f32],
    pub factors: Factors,
}

impl FloatWeights<'_> {
    /// Checks every tensor's length, and that every weight is a finite number.
    ///
    /// # Errors
    /// [`QuantError::Shape`] or [`QuantError::NotFinite`], naming the tensor, or
    /// [`QuantError::Architecture`] where the number of blocks or the presence of a part differs.
    pub fn check(&self, architecture: &Architecture) -> Result<(), QuantError> {
        let (d, biases) = (architecture.width, architecture.biases);
        if self.blocks.len() != architecture.layers {
            return Err(QuantError::Architecture {
                what: "number of blocks",
                found: self.blocks.len().to_string(),
                expected: "the number of layers in config.json",
            });
        }
        let vocabulary = architecture.vocabulary * d;
        check_tensor(Place::Embedding, "tokens", self.tokens, vocabulary)?;
        let positions = match architecture.learned_positions {
            true => architecture.context * d,
            false => 0,
        };
        let values = self.positions.unwrap_or_default();
        check_tensor(Place::Embedding, "positions", values, positions)?;
        for (index, block) in self.blocks.iter().enumerate() {
            block.check(Place::Block(index), architecture)?;
        }
        let final_norm = ["final gain", "final bias"];
        let lens = [d, if biases.final_norm { d } else { 0 }];
        self.final_norm.check(Place::Head, final_norm, lens)?;
        present(self.lm_head.is_some(), !architecture.tied, "head")?;
        let head = if architecture.tied { 0 } else { vocabulary };
        check_tensor(Place::Head, "head", self.lm_head.unwrap_or_default(), head)?;
        let bias = if biases.head {
            architecture.vocabulary
        } else {
            0
        };
        check_tensor(Place::Head, "head bias", self.logit_bias, bias)
    }

    /// A bound on |token embedding + position embedding| over all tokens and positions.
    pub fn embedding_max(&self) -> f64 {
        let largest =
            |values: &[f32]| f64::from(values.iter().fold(0f32, |max, v| max.max(v.abs())));
        largest(self.tokens) * self.factors.embedding + self.positions.map_or(0.0, largest)
    }
}

/// Refuses a part that should not be there, or is not.
fn present(found: bool, expected: bool, what: &'static str) -> Result<(), QuantError> {
    if found == expected {
        return Ok(());
    }
    Err(QuantError::Architecture {
        what,
        found: if found { "present" } else { "missing" }.to_string(),
        expected: "a part of the model exactly where its architecture has one",
    })
}

impl FloatBlock<'_> {
    fn check(&self, place: Place, a: &Architecture) -> Result<(), QuantError> {
        let (d, hidden) = (a.width, a.hidden);
        let [queries, keys] = [a.heads, a.kv_heads].map(|heads| heads * a.head_width);
        let ([first, second], behind) = (a.order.before(), a.order.behind());
        let of_heads = |heads| a.head_norm_size(heads).map_or(0, |size| size.width);
        let norms = [
            (self.norm1, first, ["first norm", "first norm's bias"], d),
            (self.norm2, second, ["second norm", "second norm's bias"], d),
            (
                self.attention_norm,
                behind,
                ["attention's norm", "attention's norm's bias"],
                d,
            ),
            (
                self.feed_forward_norm,
                behind,
                ["feed-forward norm", "feed-forward norm's bias"],
                d,
            ),
            (
                self.query_norm,
                a.head_norm.is_some(),
                ["query norm", "query norm's bias"],
                of_heads(a.heads),
            ),
            (
                self.key_norm,
                a.head_norm.is_some(),
                ["key norm", "key norm's bias"],
                of_heads(a.kv_heads),
            ),
        ];
        for (index, (norm, expected, names, len)) in norms.into_iter().enumerate() {
            present(norm.is_some(), expected, names[0])?;
            if let Some(norm) = norm {
                // Only a norm before a linear map has its bias folded into that.
                let bias = if index < 2 && !norm.bias.is_empty() {
                    len
                } else {
                    0
                };
                norm.check(place, names, [len, bias])?;
            }
        }
        let maps = [
            (Some(self.query), ["query", "query bias"], d, queries),
            (Some(self.key), ["key", "key bias"], d, keys),
            (Some(self.value), ["value", "value bias"], d, keys),
            (Some(self.output), ["output", "output bias"], queries, d),
            (self.gate, ["gate", "gate bias"], d, hidden),
            (Some(self.up), ["up", "up bias"], d, hidden),
            (Some(self.down), ["down", "down bias"], hidden, d),
        ];
        present(self.gate.is_some(), a.gated, "gate")?;
        for (map, names, inputs, outputs) in maps {
            map.map_or(Ok(()), |map| map.check(place, names, (inputs, outputs)))?;
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
    ) -> Result<(), QuantError> {
        assert_eq!(
            (self.inputs, self.outputs),
            (inputs, outputs),
            "{weight}'s view"
        );
        check_tensor(place, weight, self.weight, inputs * self.stored)?;
        let biases = if self.bias.is_empty() { 0 } else { self.stored };
        check_tensor(place, bias, self.bias, biases)
    }
}

impl FloatNorm<'_> {
    fn check(
        &self,
        place: Place,
        [gain, bias]: [&'static str; 2],
        [gains, biases]: [usize; 2],
    ) -> Result<(), QuantError> {
        check_tensor(place, gain, self.gain, gains)?;
        check_tensor(place, bias, self.bias, biases)
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
