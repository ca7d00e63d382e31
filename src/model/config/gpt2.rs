//! `config.json` of model_type `gpt2`.

use super::decoder::{self, Names};
use super::rows::{self, DROPOUT, PROBABILITY, WEIGHTS};
use super::table::{
    ANY, FLAG, FLOAT, INTEGER, INTEGER_OR_NULL, Kind, Row, TEXT, alias, idle, only, read,
};
use super::tensors::{Registered, USUAL};
use super::{BufferKind, Config, ConfigError, Keys, Part, Tensors};

const TEXT_OR_NULL: &[Kind] = &[Kind::Text, Kind::Null];

const SUMMARY: &str = "of the second head of GPT2DoubleHeadsModel";
const OLD: &str = "of older versions: nothing reads it";

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    rows::vocab_size("50257"),
    read("n_positions", INTEGER, "1024", "the context"),
    read("n_embd", INTEGER, "768", "the width"),
    read("n_layer", INTEGER, "12", "the number of blocks"),
    read("n_head", INTEGER, "12", "the number of heads"),
    read("n_inner", INTEGER_OR_NULL, "null", "the width of the feed-forward part; null: 4·n_embd"),
    alias("hidden_size", "n_embd"),
    alias("max_position_embeddings", "n_positions"),
    alias("num_attention_heads", "n_head"),
    alias("num_hidden_layers", "n_layer"),
    rows::activation("activation_function", "\"gelu_new\""),
    rows::epsilon("layer_norm_epsilon", "1e-5"),
    rows::tie_word_embeddings("true"),
    rows::eos_token_id("50256"),
    rows::bos_token_id("50256"),
    idle("pad_token_id", INTEGER_OR_NULL, "null", "one prompt at a time needs no padding"),
    only("scale_attn_weights", &["true"], "scores are divided by the square root of a head's width"),
    only("scale_attn_by_inverse_layer_idx", &["false"], "scores are not divided by the layer's number"),
    idle("reorder_and_upcast_attn", FLAG, "false", "attention is computed in float32 in any case"),
    idle("resid_pdrop", PROBABILITY, "0.1", DROPOUT),
    idle("embd_pdrop", PROBABILITY, "0.1", DROPOUT),
    idle("attn_pdrop", PROBABILITY, "0.1", DROPOUT),
    idle("initializer_range", FLOAT, "0.02", WEIGHTS),
    idle("summary_type", TEXT, "\"cls_index\"", SUMMARY),
    idle("summary_use_proj", FLAG, "true", SUMMARY),
    idle("summary_activation", TEXT_OR_NULL, "null", SUMMARY),
    idle("summary_proj_to_labels", FLAG, "true", SUMMARY),
    idle("summary_first_dropout", PROBABILITY, "0.1", SUMMARY),
    idle("summary_last_dropout", ANY, "", SUMMARY),
    idle("n_ctx", ANY, "", "of older versions: n_positions says it"),
    idle("n_special", ANY, "", OLD),
    idle("predict_special_tokens", ANY, "", OLD),
];

pub(super) static TENSORS: Tensors = Tensors {
    model_type: "gpt2",
    name: "GPT-2",
    tokenizer: Registered::Class("GPT2Tokenizer"),
    base: "transformer.",
    bare: true,
    model: &[
        (Part::Tokens, "wte"),
        (Part::Positions, "wpe"),
        (Part::FinalNorm, "ln_f"),
    ],
    block: "h.",
    blocks: &[
        (Part::Norm1, "ln_1"),
        (Part::QueryKeyValue, "attn.c_attn"),
        (Part::Output, "attn.c_proj"),
        (Part::Norm2, "ln_2"),
        (Part::Up, "mlp.c_fc"),
        (Part::Down, "mlp.c_proj"),
    ],
    inputs_first: true,
    buffers: &[
        (BufferKind::Mask, "attn.bias"),
        (BufferKind::MaskedScore, "attn.masked_bias"),
    ],
    ..USUAL
};

const NAMES: Names = Names {
    width: "n_embd",
    layers: "n_layer",
    heads: "n_head",
    hidden: "n_inner",
    context: "n_positions",
    activation: "activation_function",
    epsilon: Some("layer_norm_epsilon"),
};

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    let config = Config {
        positions: Some(0),
        ..decoder::read(keys, &NAMES)?
    };
    Ok(config.with_layer_norm().with_biases(true, true))
}
