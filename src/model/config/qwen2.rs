//! `config.json` of model_type `qwen2`: Qwen 1.5, 2 and 2.5.
//!
//! Queries, keys and values have biases always, the output of attention has none.

use super::decoder;
use super::llama;
use super::rows::{self, FLAG_OR_NULL, NUMBER, UNREAD};
use super::table::{FLAG, INTEGER, Row, idle, read};
use super::tensors::{Registered, USUAL};
use super::{Config, ConfigError, Keys, Tensors};
use crate::quant::Biases;

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    rows::vocab_size("151936"),
    rows::max_position_embeddings("32768"),
    rows::hidden_size("4096"),
    rows::num_hidden_layers("32"),
    rows::num_attention_heads("32"),
    rows::num_key_value_heads("32"),
    rows::head_dim_beside(),
    rows::intermediate_size("22016"),
    rows::gate("hidden_act", "\"silu\""),
    rows::epsilon("rms_norm_eps", "1e-6"),
    rows::rope_parameters(),
    rows::rope_scaling(),
    rows::rope_theta("10000.0"),
    rows::original_context(),
    rows::whole_heads(),
    read("use_sliding_window", FLAG, "false", "whether there are blocks with a window"),
    rows::window_of_some("4096"),
    read("max_window_layers", INTEGER, "28", "the first block with a window, where layer_types does not say it"),
    rows::layer_types("which blocks have a window; null: those from max_window_layers on, if use_sliding_window is true"),
    rows::tie_word_embeddings("false"),
    rows::eos_token_id("null"),
    rows::pad_token_id("null"),
    rows::bos_token_id("null"),
    rows::attention_dropout(NUMBER),
    rows::initializer_range("0.02"),
    idle("use_mrope", FLAG_OR_NULL, "", UNREAD),
    rows::no_biases("mlp_bias"),
    rows::no_experts("num_experts"),
];

pub(super) static TENSORS: Tensors = Tensors {
    model_type: "qwen2",
    name: "Qwen 2",
    tokenizer: Registered::Always("Qwen2Tokenizer"),
    ..USUAL
};

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    let config = windowed(keys)?;
    let biases = Biases {
        query: true,
        key: true,
        value: true,
        ..config.biases
    };
    Ok(Config { biases, ..config })
}

/// Blocks of Llama's kind, some of them with a window.
pub(super) fn windowed(keys: &Keys) -> Result<Config, ConfigError> {
    let config = llama::gated(keys)?;
    let window = match keys.flag("use_sliding_window") {
        true => decoder::window(keys)?,
        false => None,
    };
    let first = keys.value("max_window_layers").as_i64().unwrap_or(i64::MAX);
    let slides = |block| block as i64 >= first;
    let windows = decoder::windows(keys, config.layers, window, slides)?;
    Ok(config.with_windows(&windows))
}
