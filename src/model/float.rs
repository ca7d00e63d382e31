//! The floating-point reference: the model as published, in double precision.
//!
//! Weights are `f32` numbers taken exactly; everything computed from them is `f64` (gradients, see
//! [`super::fisher`], may be `f32`), and the same to the last bit on every machine: see [`super::reproducible`]. An
//! [`Observer`] is shown every tensor on the way, for calibration (how large do they get?) and for
//! comparing the integer model op by op.

use candle_core::{D, DType, Device, Tensor, Var};
use thiserror::Error;

use super::reproducible::{cos_sin, exp, gelu, gelu_erf, matmul, silu};
use super::{Config, Family, Weights};
use crate::quant::{Activation, FloatBlock, FloatMap, FloatNorm};

/// A tensor that an [`Observer`] is shown. T is the number of tokens, d the width; all tensors
/// are row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The residual stream where it enters the block, `[T, d]`.
    BlockInput,
    /// The variance (RMSNorm: the mean square) that the attention's norm divides by, without ε, `[T]`.
    Norm1Variance,
    /// The normalized stream before gain and bias, `[T, d]`.
    Norm1,
    /// q with the factor 1/√w in it, as it meets k: rotated where the model rotates. `[T, d]`, head by
    /// head.
    Query,
    /// `[T, kv]`, likewise.
    Key,
    /// `[T, kv]`.
    Value,
    /// max over j' ≤ i of q_i·k_j', less q_i·k_j; 0 where j > i. `[heads, T, T]`.
    ScoreGap,
    /// Σ_j softmax(q_i·k)_j · v_j, `[T, d]`, head by head.
    HeadOutput,
    /// What the attention adds to the residual stream, `[T, d]`.
    AttentionBranch,
    /// The residual stream between the branches, `[T, d]`.
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

/// Why the reference cannot run.
#[derive(Debug, Error)]
pub enum FloatError {
    #[error("there are no tokens: give a prompt that is not empty")]
    Empty,
    #[error("{length} tokens do not fit into the model's context of {context}: shorten the text")]
    TooLong { length: usize, context: usize },
    #[error("token {token} at position {position} is beyond the vocabulary of {vocabulary}")]
    Token {
        token: u32,
        position: usize,
        vocabulary: usize,
    },
    #[error("predicting needs at least two tokens, {length} of a window of {window} given")]
    TooShort { length: usize, window: usize },
    #[error("the floating-point backend failed: {0}")]
    Backend(#[from] candle_core::Error),
}

type Result<T> = std::result::Result<T, FloatError>;

/// A model in double precision.
#[derive(Clone, Debug)]
pub struct FloatModel {
    config: Config,
    /// `[vocabulary, d]`.
    tokens: Tensor,
    positions: Positions,
    blocks: Vec<Block>,
    final_norm: Affine,
    /// `[d, vocabulary]`, a view of `tokens` where the head is tied.
    head: Tensor,
}

/// How positions enter.
#[derive(Clone, Debug)]
enum Positions {
    /// `[context, d]`, added to the embeddings.
    Learned(Tensor),
    /// The turns per position of a head's pairs, over 2^64: those of the manifest.
    Rotary(Vec<u64>),
}

/// A weight and perhaps a bias: γ∘z + β of a norm, or x·W + b.
#[derive(Clone, Debug)]
struct Affine {
    weight: Tensor,
    bias: Option<Tensor>,
}

#[derive(Clone, Debug)]
struct Block {
    norm1: Affine,
    query: Affine,
    key: Affine,
    value: Affine,
    projection: Affine,
    norm2: Affine,
    gate: Option<Affine>,
    up: Affine,
    down: Affine,
}

impl FloatModel {
    /// Takes the weights as they are in a checkpoint, at twice their size in memory.
    ///
    /// # Errors
    /// [`FloatError::Backend`] where a weight has not the length that `config` implies.
    pub fn new(config: &Config, weights: &Weights) -> Result<Self> {
        let d = config.width;
        let weights = weights.view(config);
        let tokens = tensor(weights.tokens, &[config.vocabulary, d])?;
        let head = match weights.lm_head {
            Some(head) => tensor(head, &[config.vocabulary, d])?,
            None => tokens.clone(),
        };
        let positions = match &config.family {
            Family::Gpt2 => {
                let positions = weights.positions.unwrap_or_default();
                Positions::Learned(tensor(positions, &[config.context, d])?)
            }
            Family::Llama { frequencies } => {
                Positions::Rotary(frequencies.turns(config.head_width))
            }
        };
        Ok(Self {
            positions,
            blocks: weights
                .blocks
                .iter()
                .map(Block::new)
                .collect::<Result<_>>()?,
            final_norm: Affine::norm(&weights.final_norm)?,
            config: config.clone(),
            head: head.t()?,
            tokens,
        })
    }

    /// The logits at every position, `[T, vocabulary]` row-major.
    ///
    /// # Errors
    /// [`FloatError`] where there are no tokens, more than the context, or one beyond the
    /// vocabulary.
    pub fn forward(&self, tokens: &[u32], observer: &mut dyn Observer) -> Result<Vec<f64>> {
        values(&matmul(&self.hidden(tokens, observer)?, &self.head)?)
    }

    /// Shows an observer what a run computes, but for the logits.
    ///
    /// # Errors
    /// As [`FloatModel::forward`].
    pub fn observe(&self, tokens: &[u32], observer: &mut dyn Observer) -> Result<()> {
        self.hidden(tokens, observer).map(drop)
    }

    /// Greedy decoding: up to `new_tokens` tokens, each the one of the largest logit (the lowest
    /// such id), ending early with an end-of-text token.
    ///
    /// # Errors
    /// As [`FloatModel::forward`]; the context must hold all but the last of the new tokens.
    pub fn generate(&self, prompt: &[u32], new_tokens: usize) -> Result<Vec<u32>> {
        let mut tokens = prompt.to_vec();
        while tokens.len() < prompt.len() + new_tokens {
            let hidden = self.hidden(&tokens, &mut ())?;
            let last = hidden.narrow(0, tokens.len() - 1, 1)?;
            let token = argmax(&values(&matmul(&last, &self.head)?)?);
            tokens.push(token);
            if self.config.end_of_text.contains(&token) {
                break;
            }
        }
        Ok(tokens.split_off(prompt.len()))
    }

    /// exp of the mean negative log-likelihood of each token given those before it in the same
    /// window, over consecutive windows of `window` tokens.
    ///
    /// # Errors
    /// [`FloatError::TooShort`] where no token has one before it, or as [`FloatModel::forward`].
    pub fn perplexity(&self, tokens: &[u32], window: usize) -> Result<f64> {
        let length = tokens.len();
        if length.min(window) < 2 {
            return Err(FloatError::TooShort { length, window });
        }
        let (mut sum, mut count) = (0.0, 0);
        for part in tokens.chunks(window).filter(|part| part.len() > 1) {
            let logits = self.forward(part, &mut ())?;
            let rows = logits.chunks_exact(self.config.vocabulary);
            for (row, next) in rows.zip(&part[1..]) {
                sum += negative_log_likelihood(row, *next);
                count += 1;
            }
        }
        Ok((sum / f64::from(count)).exp())
    }

    /// Makes every parameter a variable of its own in precision `dtype`, by which results can be
    /// differentiated: a tied head becomes a copy of the embedding's matrix.
    pub(super) fn differentiable(mut self, dtype: DType) -> Result<Self> {
        for parameter in self.parameters().into_iter().flatten() {
            *parameter = Var::from_tensor(&parameter.to_dtype(dtype)?)?.into_inner();
        }
        Ok(self)
    }

    /// The parameters of the embedding, of every block, and of the head: its final norm and matrix.
    pub(super) fn parameters(&mut self) -> Vec<Vec<&mut Tensor>> {
        let mut embedding = vec![&mut self.tokens];
        if let Positions::Learned(positions) = &mut self.positions {
            embedding.push(positions);
        }
        let mut layers = vec![embedding];
        layers.extend(self.blocks.iter_mut().map(Block::parameters));
        let final_norm = self.final_norm.parameters();
        layers.push(final_norm.chain([&mut self.head]).collect());
        layers
    }

    /// ln softmax(logits)\[next\], one number, where `output` is the row of [`Self::hidden`] at
    /// one position.
    pub(super) fn log_likelihood(&self, output: &Tensor, next: u32) -> Result<Tensor> {
        let logits = matmul(output, &self.head)?.squeeze(0)?;
        let chosen = logits.get(next as usize)?;
        Ok((chosen - logits.log_sum_exp(0)?)?)
    }

    /// What the head's matrix is applied to, `[T, d]`.
    pub(super) fn hidden(&self, tokens: &[u32], observer: &mut dyn Observer) -> Result<Tensor> {
        self.check(tokens)?;
        let ids = Tensor::from_slice(tokens, tokens.len(), &Device::Cpu)?;
        let mut h = self.tokens.index_select(&ids, 0)?;
        if let Positions::Learned(positions) = &self.positions {
            h = (h + positions.narrow(0, 0, tokens.len())?)?;
        }
        let rotation = self.rotation(tokens.len())?;
        for (index, block) in self.blocks.iter().enumerate() {
            let mut see = Lens(Some(index), &mut *observer);
            see.show(Stage::BlockInput, &h)?;
            let z = self.normalize(&h, [Stage::Norm1Variance, Stage::Norm1], &mut see)?;
            h = (h + self.attention(block, &z, rotation.as_ref(), &mut see)?)?;
            see.show(Stage::Middle, &h)?;
            let z = self.normalize(&h, [Stage::Norm2Variance, Stage::Norm2], &mut see)?;
            h = (h + self.feed_forward(block, &z, &mut see)?)?;
        }
        let mut see = Lens(None, observer);
        see.show(Stage::FinalInput, &h)?;
        let z = self.normalize(&h, [Stage::FinalVariance, Stage::FinalNorm], &mut see)?;
        see.shown(Stage::FinalOutput, self.final_norm.scale(&z)?)
    }

    fn check(&self, tokens: &[u32]) -> Result<()> {
        let (length, context) = (tokens.len(), self.config.context);
        let vocabulary = self.config.vocabulary;
        if length == 0 {
            return Err(FloatError::Empty);
        }
        if length > context {
            return Err(FloatError::TooLong { length, context });
        }
        match tokens.iter().position(|t| *t as usize >= vocabulary) {
            None => Ok(()),
            Some(position) => Err(FloatError::Token {
                token: tokens[position],
                position,
                vocabulary,
            }),
        }
    }

    /// (x − mean) / √(variance + ε) of every row, or x / √(mean square + ε).
    fn normalize(&self, x: &Tensor, stages: [Stage; 2], see: &mut Lens) -> Result<Tensor> {
        let centred = match self.config.family {
            Family::Gpt2 => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
            Family::Llama { .. } => x.clone(),
        };
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let variance = see.shown(stages[0], variance)?;
        let z = centred.broadcast_div(&(variance + self.config.epsilon)?.sqrt()?)?;
        see.shown(stages[1], z)
    }

    /// The cosines and sines of `t` positions, `[t, 1, w/2]` each, where the model rotates.
    fn rotation(&self, t: usize) -> Result<Option<[Tensor; 2]>> {
        let Positions::Rotary(turns) = &self.positions else {
            return Ok(None);
        };
        let at = |i: u64| turns.iter().map(move |turn| cos_sin(i.wrapping_mul(*turn)));
        let (cos, sin): (Vec<f64>, Vec<f64>) = (0..t as u64).flat_map(at).unzip();
        let table = |values| {
            Tensor::from_vec(values, (t, 1, turns.len()), &Device::Cpu)?
                .to_dtype(self.tokens.dtype())
        };
        Ok(Some([table(cos)?, table(sin)?]))
    }

    /// The attention's branch of a block, from the normalized stream z.
    fn attention(
        &self,
        block: &Block,
        z: &Tensor,
        rotation: Option<&[Tensor; 2]>,
        see: &mut Lens,
    ) -> Result<Tensor> {
        let (t, d) = z.dims2()?;
        let width = self.config.head_width;
        let x = block.norm1.scale(z)?;
        let turned = |x: Tensor| match rotation {
            Some(rotation) => rotate(&x, rotation, width),
            None => Ok(x),
        };
        // [head][token][lane]; heads of keys repeated for each head that reads them.
        let heads = |x: &Tensor| {
            let count = x.dim(1)? / width;
            let group = self.config.heads / count;
            let x = x.reshape((t, count, 1, width))?;
            let x = x.broadcast_as((t, count, group, width))?;
            let x = x.reshape((t, count * group, width))?;
            x.transpose(0, 1)?.contiguous()
        };
        let q = (block.query.map(&x)? * (width as f64).sqrt().recip())?;
        let q = see.shown(Stage::Query, turned(q)?)?;
        let k = see.shown(Stage::Key, turned(block.key.map(&x)?)?)?;
        let v = see.shown(Stage::Value, block.value.map(&x)?)?;
        let scores = matmul(&heads(&q)?, &heads(&k)?.t()?)?;

        let causal = causal(t)?.broadcast_as(scores.shape())?;
        let future = scores.ones_like()?.affine(f64::NEG_INFINITY, 0.0)?;
        let scores = causal.where_cond(&scores, &future)?;
        let gap = scores.max_keepdim(D::Minus1)?.broadcast_sub(&scores)?;
        see.show(
            Stage::ScoreGap,
            &causal.where_cond(&gap, &gap.zeros_like()?)?,
        )?;
        let weights = exp(&gap.neg()?)?;
        let sums = weights.sum_keepdim(D::Minus1)?;
        let output = matmul(&weights, &heads(&v)?)?.broadcast_div(&sums)?;
        let output = output.transpose(0, 1)?.reshape((t, d))?;
        let output = see.shown(Stage::HeadOutput, output)?;
        see.shown(Stage::AttentionBranch, block.projection.map(&output)?)
    }

    /// The feed-forward branch of a block, from the normalized stream z.
    fn feed_forward(&self, block: &Block, z: &Tensor, see: &mut Lens) -> Result<Tensor> {
        let z = block.norm2.scale(z)?;
        let argument = block.gate.as_ref().unwrap_or(&block.up);
        let x = see.shown(Stage::PreActivation, argument.map(&z)?)?;
        let g = match self.config.activation {
            Activation::GeluTanh => gelu(&x)?,
            Activation::GeluErf => gelu_erf(&x)?,
            Activation::Silu => silu(&x)?,
        };
        let mut g = see.shown(Stage::Activated, g)?;
        if block.gate.is_some() {
            g = (g * see.shown(Stage::Up, block.up.map(&z)?)?)?;
        }
        see.shown(Stage::FeedForwardBranch, block.down.map(&g)?)
    }
}

/// −log softmax(logits)\[token\].
///
/// Panics if the token is beyond the logits.
pub fn negative_log_likelihood(logits: &[f64], token: u32) -> f64 {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - max).exp()).sum();
    max + sum.ln() - logits[token as usize]
}

/// The mean of [`negative_log_likelihood`] over the rows of `logits`, `[T, vocabulary]`, and their
/// `targets`, `[T]`. Panics unless there is one row per target and at least one.
pub fn mean_negative_log_likelihood(logits: &[f64], targets: &[u32]) -> f64 {
    assert!(
        !targets.is_empty() && logits.len().is_multiple_of(targets.len()),
        "one row of logits per target"
    );
    let rows = logits.chunks_exact(logits.len() / targets.len());
    let losses = rows
        .zip(targets)
        .map(|(row, target)| negative_log_likelihood(row, *target));
    losses.sum::<f64>() / targets.len() as f64
}

/// The index of the largest logit, the lowest on a tie.
pub fn argmax(logits: &[f64]) -> u32 {
    let better = |best: usize, i: usize| if logits[i] > logits[best] { i } else { best };
    (1..logits.len()).fold(0, better) as u32
}

impl Affine {
    fn norm(norm: &FloatNorm) -> Result<Self> {
        Ok(Self {
            weight: tensor(norm.gain, &[norm.gain.len()])?,
            bias: vector(norm.bias)?,
        })
    }

    fn linear(map: &FloatMap) -> Result<Self> {
        let weight = if map.transposed {
            tensor(map.weight, &[map.stored, map.inputs])?.t()?
        } else {
            tensor(map.weight, &[map.inputs, map.stored])?
        };
        Ok(Self {
            weight: weight.narrow(1, map.first, map.outputs)?,
            bias: vector(map.biases())?,
        })
    }

    fn parameters(&mut self) -> impl Iterator<Item = &mut Tensor> {
        [&mut self.weight].into_iter().chain(&mut self.bias)
    }

    /// γ∘z + β.
    fn scale(&self, z: &Tensor) -> Result<Tensor> {
        self.shift(z.broadcast_mul(&self.weight)?)
    }

    /// x·W + b.
    fn map(&self, x: &Tensor) -> Result<Tensor> {
        self.shift(matmul(x, &self.weight)?)
    }

    fn shift(&self, x: Tensor) -> Result<Tensor> {
        match &self.bias {
            Some(bias) => Ok(x.broadcast_add(bias)?),
            None => Ok(x),
        }
    }
}

impl Block {
    fn new(block: &FloatBlock) -> Result<Self> {
        Ok(Self {
            norm1: Affine::norm(&block.norm1)?,
            query: Affine::linear(&block.query)?,
            key: Affine::linear(&block.key)?,
            value: Affine::linear(&block.value)?,
            projection: Affine::linear(&block.output)?,
            norm2: Affine::norm(&block.norm2)?,
            gate: block.gate.as_ref().map(Affine::linear).transpose()?,
            up: Affine::linear(&block.up)?,
            down: Affine::linear(&block.down)?,
        })
    }

    fn parameters(&mut self) -> Vec<&mut Tensor> {
        let attention = [&mut self.norm1, &mut self.query, &mut self.key];
        let attention = attention
            .into_iter()
            .chain([&mut self.value, &mut self.projection]);
        let feed_forward = [&mut self.norm2, &mut self.up, &mut self.down];
        let maps = attention.chain(feed_forward).chain(&mut self.gate);
        maps.flat_map(Affine::parameters).collect()
    }
}

/// An observer of one block.
struct Lens<'a>(Option<usize>, &'a mut dyn Observer);

impl Lens<'_> {
    fn show(&mut self, stage: Stage, tensor: &Tensor) -> Result<()> {
        self.1.observe(self.0, stage, &values(tensor)?);
        Ok(())
    }

    fn shown(&mut self, stage: Stage, tensor: Tensor) -> Result<Tensor> {
        self.show(stage, &tensor)?;
        Ok(tensor)
    }
}

/// x, `[T, heads·width]`, with the pairs (m, m + width/2) of each head turned.
fn rotate(x: &Tensor, [cos, sin]: &[Tensor; 2], width: usize) -> Result<Tensor> {
    let (t, features) = x.dims2()?;
    let x = x.reshape((t, features / width, width))?;
    let half = |at: usize| x.narrow(2, at * width / 2, width / 2);
    let (a, b) = (half(0)?, half(1)?);
    let low = (a.broadcast_mul(cos)? - b.broadcast_mul(sin)?)?;
    let high = (a.broadcast_mul(sin)? + b.broadcast_mul(cos)?)?;
    Ok(Tensor::cat(&[low, high], 2)?.reshape((t, features))?)
}

/// 1 where j ≤ i, `[T, T]`.
fn causal(t: usize) -> Result<Tensor> {
    let entries: Vec<u8> = (0..t * t).map(|at| u8::from(at % t <= at / t)).collect();
    Ok(Tensor::from_vec(entries, (t, t), &Device::Cpu)?)
}

fn tensor(values: &[f32], shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::from_slice(values, shape, &Device::Cpu)?.to_dtype(DType::F64)?)
}

/// A bias, unless it is empty.
fn vector(values: &[f32]) -> Result<Option<Tensor>> {
    if values.is_empty() {
        return Ok(None);
    }
    tensor(values, &[values.len()]).map(Some)
}

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}
