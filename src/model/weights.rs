//! The weights of a checkpoint, as published, and as quantization sees them.

use super::{Config, Family};
use crate::quant::{FloatBlock, FloatMap, FloatNorm, FloatWeights};

/// One transformer block of GPT-2. Matrices are `[inputs, outputs]`, row-major, as GPT-2's `Conv1D` stores
/// them: y = x·W + b.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gpt2Block {
    /// γ of the norm before the attention, `[d]`.
    pub ln1_gain: Vec<f32>,
    /// β of it, `[d]`.
    pub ln1_bias: Vec<f32>,
    /// `[d, 3d]`: query, key and value side by side, each head by head.
    pub attn_w: Vec<f32>,
    /// `[3d]`.
    pub attn_b: Vec<f32>,
    /// The attention's output projection, `[d, d]`.
    pub proj_w: Vec<f32>,
    /// `[d]`.
    pub proj_b: Vec<f32>,
    /// γ of the norm before the feed-forward part, `[d]`.
    pub ln2_gain: Vec<f32>,
    /// β of it, `[d]`.
    pub ln2_bias: Vec<f32>,
    /// `[d, hidden]`.
    pub up_w: Vec<f32>,
    /// `[hidden]`.
    pub up_b: Vec<f32>,
    /// `[hidden, d]`.
    pub down_w: Vec<f32>,
    /// `[d]`.
    pub down_b: Vec<f32>,
}

/// One transformer block of Llama's kind. Matrices are `[outputs, inputs]`, row-major, as PyTorch's
/// `Linear` stores them: y = W·x. A rotary pair is (m, m + w/2) of a head's w lanes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LlamaBlock {
    /// γ of the norm before the attention, `[d]`.
    pub norm1_gain: Vec<f32>,
    /// `[d, d]`, head by head.
    pub query: Vec<f32>,
    /// `[kv, d]`, kv the width of all heads of keys.
    pub key: Vec<f32>,
    /// `[kv, d]`.
    pub value: Vec<f32>,
    /// The attention's output projection, `[d, d]`.
    pub output: Vec<f32>,
    /// γ of the norm before the feed-forward part, `[d]`.
    pub norm2_gain: Vec<f32>,
    /// `[hidden, d]`.
    pub gate: Vec<f32>,
    /// `[hidden, d]`.
    pub up: Vec<f32>,
    /// `[d, hidden]`.
    pub down: Vec<f32>,
}

/// One transformer block.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    Gpt2(Gpt2Block),
    Llama(LlamaBlock),
}

/// A whole model. Tensors that its family has not are empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// `[vocabulary, d]`.
    pub tokens: Vec<f32>,
    /// `[context, d]`, GPT-2's.
    pub positions: Vec<f32>,
    pub blocks: Vec<Block>,
    /// γ of the final norm, `[d]`.
    pub final_gain: Vec<f32>,
    /// β of the final norm, `[d]`, GPT-2's.
    pub final_bias: Vec<f32>,
    /// `[vocabulary, d]`, or `None` where the token embedding serves.
    pub lm_head: Option<Vec<f32>>,
}

/// One tensor of a model: its name in a checkpoint (GPT-2's without `transformer.`), its shape,
/// and where its values are.
#[derive(Debug)]
pub struct Slot<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: &'a mut Vec<f32>,
}

/// The name of the one tensor that a checkpoint may leave out.
pub(super) const LM_HEAD: &str = "lm_head.weight";

impl Weights {
    /// A model of the given shape whose tensors are all empty, to be filled through
    /// [`Weights::slots`].
    pub fn empty(config: &Config) -> Self {
        let block = match config.family {
            Family::Gpt2 => Block::Gpt2(Gpt2Block::default()),
            Family::Llama { .. } => Block::Llama(LlamaBlock::default()),
        };
        Self {
            blocks: vec![block; config.layers],
            ..Self::default()
        }
    }

    /// Every tensor with its name and the shape that `config` gives it; `lm_head.weight`, the
    /// last, only where there is one. This list is the one place that knows a checkpoint's names.
    pub fn slots(&mut self, config: &Config) -> Vec<Slot<'_>> {
        let (d, tokens) = (config.width, [config.vocabulary, config.width]);
        let mut slots = Vec::new();
        match config.family {
            Family::Gpt2 => {
                let positions = [config.context, d];
                slots.push(slot("wte.weight", &tokens, &mut self.tokens));
                slots.push(slot("wpe.weight", &positions, &mut self.positions));
                slots.push(slot("ln_f.weight", &[d], &mut self.final_gain));
                slots.push(slot("ln_f.bias", &[d], &mut self.final_bias));
            }
            Family::Llama { .. } => {
                slots.push(slot("model.embed_tokens.weight", &tokens, &mut self.tokens));
                slots.push(slot("model.norm.weight", &[d], &mut self.final_gain));
            }
        }
        for (layer, block) in self.blocks.iter_mut().enumerate() {
            match block {
                Block::Gpt2(block) => slots.extend(block.slots(layer, config)),
                Block::Llama(block) => slots.extend(block.slots(layer, config)),
            }
        }
        let head = self.lm_head.as_mut();
        slots.extend(head.map(|values| slot(LM_HEAD, &tokens, values)));
        slots
    }

    /// The matrix of the head, `[vocabulary, d]`.
    pub fn head(&self) -> &[f32] {
        self.lm_head.as_deref().unwrap_or(&self.tokens)
    }

    /// The weights as maps, whatever the family.
    pub fn view(&self, config: &Config) -> FloatWeights<'_> {
        let positions = match config.family {
            Family::Gpt2 => Some(self.positions.as_slice()),
            Family::Llama { .. } => None,
        };
        FloatWeights {
            tokens: &self.tokens,
            positions,
            blocks: self.blocks.iter().map(|b| b.view(config)).collect(),
            final_norm: norm(&self.final_gain, &self.final_bias),
            lm_head: self.lm_head.as_deref(),
        }
    }
}

impl Block {
    fn view(&self, config: &Config) -> FloatBlock<'_> {
        match self {
            Self::Gpt2(block) => block.view(config),
            Self::Llama(block) => block.view(config),
        }
    }
}

impl Gpt2Block {
    fn slots(&mut self, layer: usize, config: &Config) -> [Slot<'_>; 12] {
        let (d, hidden) = (config.width, config.hidden);
        let at = |name: &str| format!("h.{layer}.{name}");
        [
            slot(&at("ln_1.weight"), &[d], &mut self.ln1_gain),
            slot(&at("ln_1.bias"), &[d], &mut self.ln1_bias),
            slot(&at("attn.c_attn.weight"), &[d, 3 * d], &mut self.attn_w),
            slot(&at("attn.c_attn.bias"), &[3 * d], &mut self.attn_b),
            slot(&at("attn.c_proj.weight"), &[d, d], &mut self.proj_w),
            slot(&at("attn.c_proj.bias"), &[d], &mut self.proj_b),
            slot(&at("ln_2.weight"), &[d], &mut self.ln2_gain),
            slot(&at("ln_2.bias"), &[d], &mut self.ln2_bias),
            slot(&at("mlp.c_fc.weight"), &[d, hidden], &mut self.up_w),
            slot(&at("mlp.c_fc.bias"), &[hidden], &mut self.up_b),
            slot(&at("mlp.c_proj.weight"), &[hidden, d], &mut self.down_w),
            slot(&at("mlp.c_proj.bias"), &[d], &mut self.down_b),
        ]
    }

    fn view(&self, config: &Config) -> FloatBlock<'_> {
        let (d, hidden) = (config.width, config.hidden);
        let attention = FloatMap::whole(&self.attn_w, &self.attn_b, d, 3 * d);
        FloatBlock {
            norm1: norm(&self.ln1_gain, &self.ln1_bias),
            query: attention.part(0, d),
            key: attention.part(d, d),
            value: attention.part(2 * d, d),
            output: FloatMap::whole(&self.proj_w, &self.proj_b, d, d),
            norm2: norm(&self.ln2_gain, &self.ln2_bias),
            gate: None,
            up: FloatMap::whole(&self.up_w, &self.up_b, d, hidden),
            down: FloatMap::whole(&self.down_w, &self.down_b, hidden, d),
        }
    }
}

impl LlamaBlock {
    fn slots(&mut self, layer: usize, config: &Config) -> [Slot<'_>; 9] {
        let (d, kv, hidden) = (config.width, config.kv_width(), config.hidden);
        let at = |name: &str| format!("model.layers.{layer}.{name}.weight");
        [
            slot(&at("input_layernorm"), &[d], &mut self.norm1_gain),
            slot(&at("self_attn.q_proj"), &[d, d], &mut self.query),
            slot(&at("self_attn.k_proj"), &[kv, d], &mut self.key),
            slot(&at("self_attn.v_proj"), &[kv, d], &mut self.value),
            slot(&at("self_attn.o_proj"), &[d, d], &mut self.output),
            slot(&at("post_attention_layernorm"), &[d], &mut self.norm2_gain),
            slot(&at("mlp.gate_proj"), &[hidden, d], &mut self.gate),
            slot(&at("mlp.up_proj"), &[hidden, d], &mut self.up),
            slot(&at("mlp.down_proj"), &[d, hidden], &mut self.down),
        ]
    }

    fn view(&self, config: &Config) -> FloatBlock<'_> {
        let (d, kv, hidden) = (config.width, config.kv_width(), config.hidden);
        FloatBlock {
            norm1: norm(&self.norm1_gain, &[]),
            query: FloatMap::transposed(&self.query, d, d),
            key: FloatMap::transposed(&self.key, d, kv),
            value: FloatMap::transposed(&self.value, d, kv),
            output: FloatMap::transposed(&self.output, d, d),
            norm2: norm(&self.norm2_gain, &[]),
            gate: Some(FloatMap::transposed(&self.gate, d, hidden)),
            up: FloatMap::transposed(&self.up, d, hidden),
            down: FloatMap::transposed(&self.down, hidden, d),
        }
    }
}

fn norm<'a>(gain: &'a [f32], bias: &'a [f32]) -> FloatNorm<'a> {
    FloatNorm { gain, bias }
}

fn slot<'a>(name: &str, shape: &[usize], values: &'a mut Vec<f32>) -> Slot<'a> {
    Slot {
        name: name.to_string(),
        shape: shape.to_vec(),
        values,
    }
}
