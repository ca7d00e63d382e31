//! The floating-point reference: the model as published, in double precision.
//!
//! Weights are `f32` numbers taken exactly; everything computed from them is `f64` (gradients, see
//! [`super::fisher`], may be `f32`), and the same to the last bit on every machine: see [`super::reproducible`]. An
//! [`Observer`] is shown every tensor on the way, for calibration (how large do they get?) and for
//! comparing the integer model op by op.

mod block;
mod parts;
mod stage;

use candle_core::{DType, Device, Tensor, Var};
use thiserror::Error;

use super::reproducible::matmul;
use super::{Config, Weights};
use block::{At, Block, normalized};
use parts::{Affine, Turned, tensor, times, turned, values, vector};
use stage::Lens;
pub use stage::{Observer, Stage};

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
    /// `[context, d]`, added to the embeddings where positions are learned.
    positions: Option<Tensor>,
    blocks: Vec<Block>,
    final_norm: Affine,
    /// `[d, vocabulary]`, a view of `tokens` where the head is tied, and perhaps a bias.
    head: Affine,
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
        let positions = weights.positions;
        let positions = positions.map(|positions| tensor(positions, &[config.context, d]));
        Ok(Self {
            positions: positions.transpose()?,
            blocks: weights
                .blocks
                .iter()
                .map(Block::new)
                .collect::<Result<_>>()?,
            final_norm: Affine::norm(&weights.final_norm)?,
            config: config.clone(),
            head: Affine {
                weight: head.t()?,
                bias: vector(weights.logit_bias)?,
            },
            tokens,
        })
    }

    /// The logits at every position, `[T, vocabulary]` row-major.
    ///
    /// # Errors
    /// [`FloatError`] where there are no tokens, more than the context, or one beyond the
    /// vocabulary.
    pub fn forward(&self, tokens: &[u32], observer: &mut dyn Observer) -> Result<Vec<f64>> {
        values(&self.logits(&self.hidden(tokens, observer)?)?)
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
            let token = argmax(&values(&self.logits(&last)?)?);
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
        let embedding = [&mut self.tokens].into_iter().chain(&mut self.positions);
        let mut layers = vec![embedding.collect()];
        layers.extend(self.blocks.iter_mut().map(Block::parameters));
        let final_norm = self.final_norm.parameters();
        layers.push(final_norm.chain(self.head.parameters()).collect());
        layers
    }

    /// ln softmax(logits)\[next\], one number, where `output` is the row of [`Self::hidden`] at
    /// one position.
    pub(super) fn log_likelihood(&self, output: &Tensor, next: u32) -> Result<Tensor> {
        let logits = self.logits(output)?.squeeze(0)?;
        let chosen = logits.get(next as usize)?;
        Ok((chosen - logits.log_sum_exp(0)?)?)
    }

    /// The logits of what the head's matrix is applied to.
    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let logits = matmul(hidden, &self.head.weight)?;
        self.head
            .shift(times(logits, self.config.multipliers.logit)?)
    }

    /// What the head's matrix is applied to, `[T, d]`.
    pub(super) fn hidden(&self, tokens: &[u32], observer: &mut dyn Observer) -> Result<Tensor> {
        self.check(tokens)?;
        let ids = Tensor::from_slice(tokens, tokens.len(), &Device::Cpu)?;
        let h = self.tokens.index_select(&ids, 0)?;
        let mut h = times(h, self.config.multipliers.embedding)?;
        if let Some(positions) = &self.positions {
            h = (h + positions.narrow(0, 0, tokens.len())?)?;
        }
        let turned = self.turned(tokens.len())?;
        for (index, block) in self.blocks.iter().enumerate() {
            let kind = usize::from(self.config.kind_of[index]);
            let mut at = At {
                config: &self.config,
                turned: turned[kind].as_ref(),
                window: self.config.kinds[kind].window,
                see: Lens(Some(index), &mut *observer),
            };
            h = block.run(&h, &mut at)?;
        }
        let mut see = Lens(None, observer);
        see.show(Stage::FinalInput, &h)?;
        let stages = [Stage::FinalVariance, Stage::FinalNorm];
        let output = normalized(&h, &self.final_norm, &self.config, stages, &mut see)?;
        see.shown(Stage::FinalOutput, output)
    }

    /// The cosines and sines of `t` positions, for the kinds of blocks that rotate.
    fn turned(&self, t: usize) -> Result<Vec<Option<Turned>>> {
        let of = |kind: &super::Kind| {
            let rotation = kind.rotation.as_ref();
            let turned = |rotation| turned(rotation, self.config.rotated, t, self.tokens.dtype());
            rotation.map(turned).transpose()
        };
        self.config.kinds.iter().map(of).collect()
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
