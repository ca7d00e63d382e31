//! The floating-point reference: the model as published, in double precision.
//!
//! Weights are `f32` numbers taken exactly; everything computed from them is `f64`. An
//! [`Observer`] is shown every tensor on the way, for calibration (how large do they get?) and for
//! comparing the integer model op by op.

use candle_core::{D, DType, Device, Tensor};
use thiserror::Error;

use super::config::HEAD_WIDTH;
use super::{Config, Gpt2Block, Gpt2Weights};
use crate::quant::Activation;

/// A tensor that an [`Observer`] is shown. T is the number of tokens, d the width; all tensors
/// are row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The residual stream where it enters the block, `[T, d]`.
    BlockInput,
    /// The variance that the attention's norm divides by, without ε, `[T]`.
    Norm1Variance,
    /// The normalized stream before gain and bias, `[T, d]`.
    Norm1,
    /// q with the factor 1/√64 in it, `[T, d]`, head by head.
    Query,
    /// `[T, d]`.
    Key,
    /// `[T, d]`.
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
    #[error("perplexity needs at least two tokens, {length} of a window of {window} given")]
    TooShort { length: usize, window: usize },
    #[error("the floating-point backend failed: {0}")]
    Backend(#[from] candle_core::Error),
}

type Result<T> = std::result::Result<T, FloatError>;

/// A GPT-2 model in double precision.
#[derive(Clone, Debug)]
pub struct FloatModel {
    config: Config,
    /// `[vocabulary, d]`.
    tokens: Tensor,
    /// `[context, d]`.
    positions: Tensor,
    blocks: Vec<Block>,
    final_norm: Affine,
    /// `[d, vocabulary]`, a view of `tokens` where the head is tied.
    head: Tensor,
}

/// A weight and a bias: γ∘z + β of a norm, or x·W + b.
#[derive(Clone, Debug)]
struct Affine {
    weight: Tensor,
    bias: Tensor,
}

#[derive(Clone, Debug)]
struct Block {
    norm1: Affine,
    attention: Affine,
    projection: Affine,
    norm2: Affine,
    up: Affine,
    down: Affine,
}

impl FloatModel {
    /// Takes the weights as they are in a checkpoint, at twice their size in memory.
    ///
    /// # Errors
    /// [`FloatError::Backend`] where a weight has not the length that `config` implies.
    pub fn new(config: &Config, weights: &Gpt2Weights) -> Result<Self> {
        let d = config.width;
        let tokens = tensor(&weights.tokens, &[config.vocabulary, d])?;
        let head = match &weights.lm_head {
            Some(head) => tensor(head, &[config.vocabulary, d])?,
            None => tokens.clone(),
        };
        let blocks = weights.blocks.iter().map(|block| Block::new(config, block));
        Ok(Self {
            positions: tensor(&weights.positions, &[config.context, d])?,
            blocks: blocks.collect::<Result<_>>()?,
            final_norm: Affine::new(&weights.final_gain, &weights.final_bias, &[d])?,
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
        values(&self.hidden(tokens, observer)?.matmul(&self.head)?)
    }

    /// Greedy decoding: up to `new_tokens` tokens, each the one of the largest logit (the lowest
    /// such id), ending early with the end-of-text token.
    ///
    /// # Errors
    /// As [`FloatModel::forward`]; the context must hold all but the last of the new tokens.
    pub fn generate(&self, prompt: &[u32], new_tokens: usize) -> Result<Vec<u32>> {
        let mut tokens = prompt.to_vec();
        while tokens.len() < prompt.len() + new_tokens {
            let hidden = self.hidden(&tokens, &mut ())?;
            let last = hidden.narrow(0, tokens.len() - 1, 1)?;
            let token = argmax(&values(&last.matmul(&self.head)?)?);
            tokens.push(token);
            if token == self.config.end_of_text {
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

    /// What the head's matrix is applied to, `[T, d]`.
    fn hidden(&self, tokens: &[u32], observer: &mut dyn Observer) -> Result<Tensor> {
        self.check(tokens)?;
        let ids = Tensor::from_slice(tokens, tokens.len(), &Device::Cpu)?;
        let positions = self.positions.narrow(0, 0, tokens.len())?;
        let mut h = (self.tokens.index_select(&ids, 0)? + positions)?;
        let epsilon = self.config.epsilon;
        for (index, block) in self.blocks.iter().enumerate() {
            let mut see = Lens(Some(index), &mut *observer);
            see.show(Stage::BlockInput, &h)?;
            let z = normalize(&h, epsilon, [Stage::Norm1Variance, Stage::Norm1], &mut see)?;
            h = (h + self.attention(block, &z, &mut see)?)?;
            see.show(Stage::Middle, &h)?;
            let z = normalize(&h, epsilon, [Stage::Norm2Variance, Stage::Norm2], &mut see)?;
            h = (h + self.feed_forward(block, &z, &mut see)?)?;
        }
        let mut see = Lens(None, observer);
        see.show(Stage::FinalInput, &h)?;
        let z = normalize(
            &h,
            epsilon,
            [Stage::FinalVariance, Stage::FinalNorm],
            &mut see,
        )?;
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

    /// The attention's branch of a block, from the normalized stream z.
    fn attention(&self, block: &Block, z: &Tensor, see: &mut Lens) -> Result<Tensor> {
        let (t, d) = z.dims2()?;
        let qkv = block.attention.map(&block.norm1.scale(z)?)?;
        let heads = |x: &Tensor| {
            let x = x.reshape((t, d / HEAD_WIDTH, HEAD_WIDTH))?;
            x.transpose(0, 1)?.contiguous()
        };
        // 1/√64 is a power of two: folding it into q rounds nothing.
        let q = see.shown(Stage::Query, (qkv.narrow(1, 0, d)? * 0.125)?)?;
        let k = see.shown(Stage::Key, qkv.narrow(1, d, d)?)?;
        let v = see.shown(Stage::Value, qkv.narrow(1, 2 * d, d)?)?;
        let scores = heads(&q)?.matmul(&heads(&k)?.t()?)?;

        let causal = causal(t)?.broadcast_as(scores.shape())?;
        let future = scores.ones_like()?.affine(f64::NEG_INFINITY, 0.0)?;
        let scores = causal.where_cond(&scores, &future)?;
        let gap = scores.max_keepdim(D::Minus1)?.broadcast_sub(&scores)?;
        see.show(
            Stage::ScoreGap,
            &causal.where_cond(&gap, &gap.zeros_like()?)?,
        )?;
        let weights = gap.neg()?.exp()?;
        let sums = weights.sum_keepdim(D::Minus1)?;
        let output = weights.matmul(&heads(&v)?)?.broadcast_div(&sums)?;
        let output = output.transpose(0, 1)?.reshape((t, d))?;
        let output = see.shown(Stage::HeadOutput, output)?;
        see.shown(Stage::AttentionBranch, block.projection.map(&output)?)
    }

    /// The feed-forward branch of a block, from the normalized stream z.
    fn feed_forward(&self, block: &Block, z: &Tensor, see: &mut Lens) -> Result<Tensor> {
        let x = see.shown(Stage::PreActivation, block.up.map(&block.norm2.scale(z)?)?)?;
        let g = match self.config.activation {
            Activation::GeluTanh => x.gelu()?,
            Activation::GeluErf => x.gelu_erf()?,
        };
        let g = see.shown(Stage::Activated, g)?;
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
    fn new(weight: &[f32], bias: &[f32], shape: &[usize]) -> Result<Self> {
        let outputs = shape.last().copied().unwrap_or_default();
        Ok(Self {
            weight: tensor(weight, shape)?,
            bias: tensor(bias, &[outputs])?,
        })
    }

    /// γ∘z + β.
    fn scale(&self, z: &Tensor) -> Result<Tensor> {
        Ok(z.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)?)
    }

    /// x·W + b.
    fn map(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.matmul(&self.weight)?.broadcast_add(&self.bias)?)
    }
}

impl Block {
    fn new(config: &Config, block: &Gpt2Block) -> Result<Self> {
        let (d, hidden) = (config.width, config.hidden);
        Ok(Self {
            norm1: Affine::new(&block.ln1_gain, &block.ln1_bias, &[d])?,
            attention: Affine::new(&block.attn_w, &block.attn_b, &[d, 3 * d])?,
            projection: Affine::new(&block.proj_w, &block.proj_b, &[d, d])?,
            norm2: Affine::new(&block.ln2_gain, &block.ln2_bias, &[d])?,
            up: Affine::new(&block.up_w, &block.up_b, &[d, hidden])?,
            down: Affine::new(&block.down_w, &block.down_b, &[hidden, d])?,
        })
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

/// (x − mean) / √(variance + ε) of every row.
fn normalize(x: &Tensor, epsilon: f64, stages: [Stage; 2], see: &mut Lens) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let variance = see.shown(stages[0], variance)?;
    let z = centred.broadcast_div(&(variance + epsilon)?.sqrt()?)?;
    see.shown(stages[1], z)
}

/// 1 where j ≤ i, `[T, T]`.
fn causal(t: usize) -> Result<Tensor> {
    let entries: Vec<u8> = (0..t * t).map(|at| u8::from(at % t <= at / t)).collect();
    Ok(Tensor::from_vec(entries, (t, t), &Device::Cpu)?)
}

fn tensor(values: &[f32], shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::from_slice(values, shape, &Device::Cpu)?.to_dtype(DType::F64)?)
}

fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}
