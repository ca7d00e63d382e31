//! `config.json` of model_type `qwen3`.
//!
//! Queries and keys have a norm with the gains of one head, for all heads.

use super::qwen2;
use super::rows::{self, FLAG_OR_NULL, NUMBER, UNREAD};
use super::table::{FLAG, INTEGER, Row, idle, read};
use super::tensors::{Registered, USUAL};
use super::{Config, ConfigError, Keys, Part, Tensors};
use crate::quant::HeadNorm;

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    rows::vocab_size("151936"),
    rows::max_position_embeddings("32768"),
    rows::hidden_size("4096"),
    rows::num_hidden_layers("32"),
    rows::num_attention_heads("32"),
    rows::num_key_value_heads("32"),
    read("head_dim", INTEGER, "128", "the width of a head"),
    rows::intermediate_size("22016"),
    rows::gate("hidden_act", "\"silu\""),
    rows::biases("attention_bias", "false", "whether queries, keys, values and the output of attention have biases"),
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
    model_type: "qwen3",
    name: "Qwen 3",
    tokenizer: Registered::Class("Qwen2Tokenizer"),
    blocks: &[
        (Part::Norm1, "input_layernorm"),
        (Part::Query, "self_attn.q_proj"),
        (Part::Key, "self_attn.k_proj"),
        (Part::Value, "self_attn.v_proj"),
        (Part::Output, "self_attn.o_proj"),
        (Part::QueryNorm, "self_attn.q_norm"),
        (Part::KeyNorm, "self_attn.k_norm"),
        (Part::Norm2, "post_attention_layernorm"),
        (Part::Gate, "mlp.gate_proj"),
        (Part::Up, "mlp.up_proj"),
        (Part::Down, "mlp.down_proj"),
    ],
    ..USUAL
};

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    Ok(Config {
        head_norm: Some(HeadNorm::Heads),
        ..qwen2::windowed(keys)?
    })
}
