//! A block of any decoder, by its description.

use candle_core::{D, Tensor};

use super::Result;
use super::parts::{Affine, Turned, normalize, rotate, seen, times};
use super::stage::{Lens, Stage};
use crate::model::Config;
use crate::model::reproducible::{exp, gelu, gelu_erf, matmul, quick_gelu, relu, silu};
use crate::quant::{Activation, FloatBlock, FloatNorm, HeadNorm, NormKind};

#[derive(Clone, Debug)]
pub struct Block {
    norm1: Option<Affine>,
    query: Affine,
    key: Affine,
    value: Affine,
    query_norm: Option<Affine>,
    key_norm: Option<Affine>,
    projection: Affine,
    attention_norm: Option<Affine>,
    norm2: Option<Affine>,
    gate: Option<Affine>,
    up: Affine,
    down: Affine,
    feed_forward_norm: Option<Affine>,
}

/// Where a block runs.
pub struct At<'a> {
    pub config: &'a Config,
    /// Where the block rotates.
    pub turned: Option<&'a Turned>,
    pub window: Option<u32>,
    pub see: Lens<'a>,
}

impl Block {
    pub fn new(block: &FloatBlock) -> Result<Self> {
        let norm = |norm: &Option<FloatNorm>| norm.as_ref().map(Affine::norm).transpose();
        Ok(Self {
            norm1: norm(&block.norm1)?,
            query: Affine::linear(&block.query)?,
            key: Affine::linear(&block.key)?,
            value: Affine::linear(&block.value)?,
            query_norm: norm(&block.query_norm)?,
            key_norm: norm(&block.key_norm)?,
            projection: Affine::linear(&block.output)?,
            attention_norm: norm(&block.attention_norm)?,
            norm2: norm(&block.norm2)?,
            gate: block.gate.as_ref().map(Affine::linear).transpose()?,
            up: Affine::linear(&block.up)?,
            down: Affine::linear(&block.down)?,
            feed_forward_norm: norm(&block.feed_forward_norm)?,
        })
    }

    pub fn parameters(&mut self) -> Vec<&mut Tensor> {
        let maps = [
            &mut self.query,
            &mut self.key,
            &mut self.value,
            &mut self.projection,
        ];
        let maps = maps.into_iter().chain([&mut self.up, &mut self.down]);
        let optional = [
            &mut self.norm1,
            &mut self.query_norm,
            &mut self.key_norm,
            &mut self.attention_norm,
            &mut self.norm2,
            &mut self.gate,
            &mut self.feed_forward_norm,
        ];
        let all = maps.chain(optional.into_iter().flatten());
        all.flat_map(Affine::parameters).collect()
    }

    /// The residual stream behind the block.
    pub fn run(&self, h: &Tensor, at: &mut At) -> Result<Tensor> {
        at.see.show(Stage::BlockInput, h)?;
        let stages = [Stage::Norm1Variance, Stage::Norm1];
        let norm = self.norm1.as_ref();
        let first = norm.map(|norm| normalized(h, norm, at.config, stages, &mut at.see));
        let first = first.transpose()?;
        let x = first.as_ref().unwrap_or(h);
        let middle = (h + self.attention(x, at)?)?;
        let read = if at.config.order.parallel() {
            h
        } else {
            &middle
        };
        at.see.show(Stage::Middle, read)?;
        let stages = [Stage::Norm2Variance, Stage::Norm2];
        let norm = self.norm2.as_ref();
        let second = norm.map(|norm| normalized(read, norm, at.config, stages, &mut at.see));
        let second = second.transpose()?;
        let y = second.as_ref().or(first.as_ref()).unwrap_or(read);
        Ok((&middle + self.feed_forward(y, at)?)?)
    }

    /// What the attention adds, from what it reads.
    fn attention(&self, x: &Tensor, at: &mut At) -> Result<Tensor> {
        let (t, width, all) = (x.dim(0)?, at.config.head_width, at.config.heads);
        // [head][token][lane]; heads of keys repeated for each head that reads them.
        let heads = |x: &Tensor| {
            let count = x.dim(1)? / width;
            let group = all / count;
            let x = x.reshape((t, count, 1, width))?;
            let x = x.broadcast_as((t, count, group, width))?;
            let x = x.reshape((t, count * group, width))?;
            x.transpose(0, 1)?.contiguous()
        };
        let q = at.head_norm(
            self.query.map(x)?,
            self.query_norm.as_ref(),
            Stage::QueryInput,
        )?;
        let q = at.rotated(times(q, at.config.multipliers.score)?)?;
        let q = at.see.shown(Stage::Query, q)?;
        let k = at.head_norm(self.key.map(x)?, self.key_norm.as_ref(), Stage::KeyInput)?;
        let k = at.rotated(k)?;
        let k = at.see.shown(Stage::Key, k)?;
        let v = at.see.shown(Stage::Value, self.value.map(x)?)?;
        let scores = matmul(&heads(&q)?, &heads(&k)?.t()?)?;

        let seen = seen(t, at.window)?.broadcast_as(scores.shape())?;
        let unseen = scores.ones_like()?.affine(f64::NEG_INFINITY, 0.0)?;
        let scores = seen.where_cond(&scores, &unseen)?;
        let gap = scores.max_keepdim(D::Minus1)?.broadcast_sub(&scores)?;
        at.see
            .show(Stage::ScoreGap, &seen.where_cond(&gap, &gap.zeros_like()?)?)?;
        let weights = exp(&gap.neg()?)?;
        let sums = weights.sum_keepdim(D::Minus1)?;
        let output = matmul(&weights, &heads(&v)?)?.broadcast_div(&sums)?;
        let output = output.transpose(0, 1)?.reshape((t, all * width))?;
        let output = at.see.shown(Stage::HeadOutput, output)?;
        let norm = (self.attention_norm.as_ref(), Stage::AttentionOutput);
        let branch = at.branch(self.projection.map(&output)?, norm)?;
        at.see.shown(Stage::AttentionBranch, branch)
    }

    /// What the feed-forward part adds, from what it reads.
    fn feed_forward(&self, y: &Tensor, at: &mut At) -> Result<Tensor> {
        let argument = self.gate.as_ref().unwrap_or(&self.up);
        let x = at.see.shown(Stage::PreActivation, argument.map(y)?)?;
        let g = match at.config.activation {
            Activation::GeluTanh => gelu(&x)?,
            Activation::GeluErf => gelu_erf(&x)?,
            Activation::Silu => silu(&x)?,
            Activation::Relu => relu(&x)?,
            Activation::QuickGelu => quick_gelu(&x)?,
        };
        let mut g = at.see.shown(Stage::Activated, g)?;
        if self.gate.is_some() {
            g = (g * at.see.shown(Stage::Up, self.up.map(y)?)?)?;
        }
        let norm = (self.feed_forward_norm.as_ref(), Stage::FeedForwardOutput);
        let branch = at.branch(self.down.map(&g)?, norm)?;
        at.see.shown(Stage::FeedForwardBranch, branch)
    }
}

/// γ∘z + β of a norm of the residual stream.
pub fn normalized(
    x: &Tensor,
    norm: &Affine,
    config: &Config,
    stages: [Stage; 2],
    see: &mut Lens,
) -> Result<Tensor> {
    let [variance, z] = normalize(x, config.norm, config.epsilon)?;
    see.show(stages[0], &variance)?;
    norm.scale(&see.shown(stages[1], z)?)
}

impl At<'_> {
    /// Queries or keys normalized, each head alone or all together, where they are.
    fn head_norm(&mut self, x: Tensor, norm: Option<&Affine>, stage: Stage) -> Result<Tensor> {
        let Some(norm) = norm else {
            return Ok(x);
        };
        self.see.show(stage, &x)?;
        let (t, features) = x.dims2()?;
        let size = match self.config.head_norm {
            Some(HeadNorm::Whole) => features,
            _ => self.config.head_width,
        };
        let x = x.reshape((t, features / size, size))?;
        let [_, z] = normalize(&x, NormKind::RootMeanSquare, self.config.epsilon)?;
        Ok(norm.scale(&z)?.reshape((t, features))?)
    }

    fn rotated(&self, x: Tensor) -> Result<Tensor> {
        match self.turned {
            Some(turned) => rotate(&x, turned, self.config.head_width),
            None => Ok(x),
        }
    }

    /// What a part adds to the residual stream, from its output.
    fn branch(
        &mut self,
        output: Tensor,
        (norm, stage): (Option<&Affine>, Stage),
    ) -> Result<Tensor> {
        let mut output = output;
        if let Some(norm) = norm {
            self.see.show(stage, &output)?;
            let [_, z] = normalize(&output, self.config.norm, self.config.epsilon)?;
            output = norm.scale(&z)?;
        }
        times(output, self.config.multipliers.branch)
    }
}
