//! How a model_type names and lays out the tensors of its checkpoints.

/// A part of a decoder that has tensors: a matrix or a norm's gain, and perhaps a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The embedding of tokens.
    Tokens,
    /// Learned positions.
    Positions,
    FinalNorm,
    /// Before the attention.
    Norm1,
    /// Before the feed-forward part.
    Norm2,
    /// Behind the attention.
    AttentionNorm,
    /// Behind the feed-forward part.
    FeedForwardNorm,
    QueryNorm,
    KeyNorm,
    Query,
    Key,
    Value,
    /// All queries, all keys, all values: side by side.
    QueryKeyValue,
    /// Query, key and value of the first head, of the second, and so on.
    HeadByHead,
    Output,
    Gate,
    Up,
    /// Gate and up side by side.
    GateUp,
    Down,
}

/// What older versions stored beside the weights although the configuration gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) enum BufferKind {
    Mask,
    MaskedScore,
    Frequencies,
}

/// The class of tokenizers that `transformers` registers for a model_type (`TOKENIZER_MAPPING_NAMES`), and whether it
/// counts where the files name another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// None: that which the files name, else that of any tokenizer.
    Nothing,
    /// That of any tokenizer, whatever the files name.
    Any,
    /// This, unless the files name another.
    Class(&'static str),
    /// This, whatever the files name (`MODELS_WITH_INCORRECT_HUB_TOKENIZER_CLASS`).
    Always(&'static str),
}

/// The tensors of a model_type. Names are without `.weight` and `.bias`, which all of them end with.
#[derive(Debug, PartialEq)]
pub struct Tensors {
    pub model_type: &'static str,
    /// What messages call such a model.
    pub name: &'static str,
    /// What stands before all names but the head's, unless only the base model was saved.
    pub base: &'static str,
    /// Whether names are stated without the base, as in published files of GPT-2.
    pub bare: bool,
    /// Those outside of blocks, but for the head.
    pub model: &'static [(Part, &'static str)],
    /// What stands before a block's number, and those within it.
    pub block: &'static str,
    pub blocks: &'static [(Part, &'static str)],
    /// Older names of the head.
    pub heads: &'static [&'static str],
    pub tokenizer: Registered,
    /// Whether matrices are `[inputs, outputs]`, as GPT-2's `Conv1D` stores them, instead of `[outputs, inputs]`.
    pub inputs_first: bool,
    /// What is added to stored gains of norms.
    pub gain_offset: f32,
    /// Within a block.
    pub(in crate::model) buffers: &'static [(BufferKind, &'static str)],
}

/// The head's name.
pub(in crate::model) const HEAD: &str = "lm_head";

/// Frequencies of rotations, where they were stored within each block.
const FREQUENCIES: (BufferKind, &str) = (BufferKind::Frequencies, "self_attn.rotary_emb.inv_freq");

/// What most tables share.
pub(super) const USUAL: Tensors = Tensors {
    model_type: "",
    name: "",
    base: "model.",
    bare: false,
    model: &[(Part::Tokens, "embed_tokens"), (Part::FinalNorm, "norm")],
    block: "layers.",
    blocks: &[
        (Part::Norm1, "input_layernorm"),
        (Part::Query, "self_attn.q_proj"),
        (Part::Key, "self_attn.k_proj"),
        (Part::Value, "self_attn.v_proj"),
        (Part::Output, "self_attn.o_proj"),
        (Part::Norm2, "post_attention_layernorm"),
        (Part::Gate, "mlp.gate_proj"),
        (Part::Up, "mlp.up_proj"),
        (Part::Down, "mlp.down_proj"),
    ],
    heads: &[],
    tokenizer: Registered::Nothing,
    inputs_first: false,
    gain_offset: 0.0,
    buffers: &[FREQUENCIES],
};

impl Tensors {
    /// The whole name of one outside of blocks, as it is stated.
    pub fn in_model(&self, name: &str) -> String {
        let base = if self.bare { "" } else { self.base };
        format!("{base}{name}")
    }

    /// The same of one within a block.
    pub fn in_block(&self, index: usize, name: &str) -> String {
        self.in_model(&format!("{}{index}.{name}", self.block))
    }

    /// The name of the part outside of blocks.
    ///
    /// Panics if the table has none.
    pub fn name_of(&self, part: Part) -> &'static str {
        let mut names = self.model.iter();
        let found = names.find(|(of, _)| *of == part);
        found.expect("a part of the model").1
    }
}
