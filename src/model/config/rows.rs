//! Rows that several model types have in their tables, with another default in each.

use super::table::{
    FLAG, FLOAT, INTEGER, INTEGER_OR_NULL, Kind, NUMBER_OR_NULL, Row, TEXT, idle, only, read,
};

pub(super) const NUMBER: &[Kind] = &[Kind::Number];
pub(super) const PROBABILITY: &[Kind] = &[Kind::Probability];
pub(super) const FLAG_OR_NULL: &[Kind] = &[Kind::Flag, Kind::Null];
pub(super) const OBJECT_OR_NULL: &[Kind] = &[Kind::Object, Kind::Null];
pub(super) const LIST_OR_NULL: &[Kind] = &[Kind::List, Kind::Null];
const END: &[Kind] = &[Kind::Integer, Kind::List, Kind::Null];

pub(super) const DROPOUT: &str = "of training: nothing is dropped otherwise";
pub(super) const WEIGHTS: &str = "of training: the checkpoint has the weights";
/// Of keys that published files have beside those of their model_type.
pub(super) const UNREAD: &str = "transformers does not read it";
const BIASES: &str = "transformers reads no such biases";
const EXPERTS: &str = "mixtures of experts are not supported";

pub(super) const fn vocab_size(default: &'static str) -> Row {
    read("vocab_size", INTEGER, default, "the number of embeddings")
}

pub(super) const fn max_position_embeddings(default: &'static str) -> Row {
    read("max_position_embeddings", INTEGER, default, "the context")
}

pub(super) const fn hidden_size(default: &'static str) -> Row {
    read("hidden_size", INTEGER, default, "the width")
}

pub(super) const fn num_hidden_layers(default: &'static str) -> Row {
    let what = "the number of blocks";
    read("num_hidden_layers", INTEGER, default, what)
}

pub(super) const fn num_attention_heads(default: &'static str) -> Row {
    let what = "the number of heads";
    read("num_attention_heads", INTEGER, default, what)
}

pub(super) const fn num_key_value_heads(default: &'static str) -> Row {
    let what = "heads of keys and values; null: as many as heads";
    read("num_key_value_heads", INTEGER_OR_NULL, default, what)
}

/// Where it has to be a number.
pub(super) const fn own_key_value_heads(default: &'static str) -> Row {
    let what = "heads of keys and values";
    read("num_key_value_heads", INTEGER, default, what)
}

/// Where `null` means the same as absence.
pub(super) const fn head_dim() -> Row {
    let what = "the width of a head; null: hidden_size / num_attention_heads";
    read("head_dim", INTEGER_OR_NULL, "null", what)
}

/// Where `transformers` does not have the key by itself, but takes it.
pub(super) const fn head_dim_beside() -> Row {
    let what = "the width of a head; absent: hidden_size / num_attention_heads";
    read("head_dim", INTEGER, "", what)
}

pub(super) const fn intermediate_size(default: &'static str) -> Row {
    let what = "the width of the feed-forward part";
    read("intermediate_size", INTEGER, default, what)
}

/// Of a feed-forward part with a gate.
pub(super) const fn gate(key: &'static str, default: &'static str) -> Row {
    read(key, TEXT, default, "the activation of the gate")
}

/// Of a feed-forward part without one.
pub(super) const fn activation(key: &'static str, default: &'static str) -> Row {
    read(key, TEXT, default, "the activation")
}

pub(super) const fn epsilon(key: &'static str, default: &'static str) -> Row {
    read(key, FLOAT, default, "ε of the norms")
}

pub(super) const fn tie_word_embeddings(default: &'static str) -> Row {
    let what = "whether the head's matrix is the embedding's";
    read("tie_word_embeddings", FLAG, default, what)
}

/// Of these projections.
pub(super) const fn biases(key: &'static str, default: &'static str, what: &'static str) -> Row {
    read(key, FLAG, default, what)
}

pub(super) const fn eos_token_id(default: &'static str) -> Row {
    read("eos_token_id", END, default, "what ends an answer")
}

pub(super) const fn pad_token_id(default: &'static str) -> Row {
    let what = "has to be in the vocabulary, or transformers fails";
    read("pad_token_id", INTEGER_OR_NULL, default, what)
}

pub(super) const fn bos_token_id(default: &'static str) -> Row {
    let why = "prompts are given whole";
    idle("bos_token_id", INTEGER_OR_NULL, default, why)
}

pub(super) const fn attention_dropout(kinds: &'static [Kind]) -> Row {
    idle("attention_dropout", kinds, "0.0", DROPOUT)
}

pub(super) const fn initializer_range(default: &'static str) -> Row {
    idle("initializer_range", FLOAT, default, WEIGHTS)
}

/// The window of all blocks.
pub(super) const fn window(default: &'static str) -> Row {
    let what = "how many tokens each one sees, itself counted; null: all before it";
    read("sliding_window", INTEGER_OR_NULL, default, what)
}

/// The window of those blocks that have one.
pub(super) const fn window_of_some(default: &'static str) -> Row {
    let what = "how many tokens each one sees, itself counted, in blocks with a window";
    read("sliding_window", INTEGER_OR_NULL, default, what)
}

pub(super) const fn layer_types(what: &'static str) -> Row {
    read("layer_types", LIST_OR_NULL, "null", what)
}

pub(super) const fn rope_parameters() -> Row {
    let what = "the rotations; its keys are below";
    read("rope_parameters", OBJECT_OR_NULL, "null", what)
}

pub(super) const fn rope_scaling() -> Row {
    let what = "the same: it wins over rope_parameters unless it is empty";
    read("rope_scaling", OBJECT_OR_NULL, "null", what)
}

pub(super) const fn rope_theta(default: &'static str) -> Row {
    let what = "θ where rope_scaling or rope_parameters does not say it";
    read("rope_theta", NUMBER_OR_NULL, default, what)
}

pub(super) const fn original_context() -> Row {
    let what =
        "of rope_type \"llama3\", \"yarn\" and \"longrope\"; wins over the key of that name within";
    read("original_max_position_embeddings", NUMBER_OR_NULL, "", what)
}

/// Where parts of heads cannot be rotated.
pub(super) const fn whole_heads() -> Row {
    let why = "all lanes of a head are rotated";
    only("partial_rotary_factor", &["1.0", "null"], why)
}

/// Biases for which `transformers` has no place: the file's would be passed over.
pub(super) const fn no_biases(key: &'static str) -> Row {
    only(key, &["false", "null"], BIASES)
}

pub(super) const fn no_experts(key: &'static str) -> Row {
    only(key, &["null"], EXPERTS)
}
