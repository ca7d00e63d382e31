//! The weights of a GPT-2 checkpoint, as published.

use super::Config;

/// One transformer block. Matrices are `[inputs, outputs]`, row-major, as GPT-2's `Conv1D` stores
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

/// A whole model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gpt2Weights {
    /// `[vocabulary, d]`.
    pub tokens: Vec<f32>,
    /// `[context, d]`.
    pub positions: Vec<f32>,
    pub blocks: Vec<Gpt2Block>,
    /// γ of the final norm, `[d]`.
    pub final_gain: Vec<f32>,
    /// β of the final norm, `[d]`.
    pub final_bias: Vec<f32>,
    /// `[vocabulary, d]`, or `None` where the token embedding serves.
    pub lm_head: Option<Vec<f32>>,
}

/// One tensor of a model: its name in a checkpoint (without `transformer.`), its shape, and
/// where its values are.
#[derive(Debug)]
pub struct Slot<'a> {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: &'a mut Vec<f32>,
}

/// The name of the one tensor that a checkpoint may leave out.
pub(super) const LM_HEAD: &str = "lm_head.weight";

impl Gpt2Weights {
    /// A model of `layers` blocks whose tensors are all empty, to be filled through
    /// [`Gpt2Weights::slots`].
    pub fn empty(layers: usize) -> Self {
        Self {
            blocks: vec![Gpt2Block::default(); layers],
            ..Self::default()
        }
    }

    /// Every tensor with its name and the shape that `config` gives it; `lm_head.weight`, the
    /// last, only where there is one. This list is the one place that knows a checkpoint's names.
    pub fn slots(&mut self, config: &Config) -> Vec<Slot<'_>> {
        let d = config.width;
        let mut slots = vec![
            slot("wte.weight", &[config.vocabulary, d], &mut self.tokens),
            slot("wpe.weight", &[config.context, d], &mut self.positions),
        ];
        for (layer, block) in self.blocks.iter_mut().enumerate() {
            slots.extend(block.slots(layer, d, config.hidden));
        }
        slots.push(slot("ln_f.weight", &[d], &mut self.final_gain));
        slots.push(slot("ln_f.bias", &[d], &mut self.final_bias));
        let head = self.lm_head.as_mut();
        slots.extend(head.map(|values| slot(LM_HEAD, &[config.vocabulary, d], values)));
        slots
    }

    /// The matrix of the head, `[vocabulary, d]`.
    pub fn head(&self) -> &[f32] {
        self.lm_head.as_deref().unwrap_or(&self.tokens)
    }
}

impl Gpt2Block {
    fn slots(&mut self, layer: usize, d: usize, hidden: usize) -> [Slot<'_>; 12] {
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
}

fn slot<'a>(name: &str, shape: &[usize], values: &'a mut Vec<f32>) -> Slot<'a> {
    Slot {
        name: name.to_string(),
        shape: shape.to_vec(),
        values,
    }
}
