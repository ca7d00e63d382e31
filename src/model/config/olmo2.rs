//! `config.json` of model_type `olmo2`.
//!
//! Norms stand behind the parts of a block; queries and keys have one over their whole width.

use super::llama;
use super::rows::{self, NUMBER};
use super::table::{Row, only};
use super::tensors::{Registered, USUAL};
use super::{Config, ConfigError, Keys, Part, Tensors};
use crate::quant::{HeadNorm, Order};

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    rows::vocab_size("50304"),
    rows::max_position_embeddings("2048"),
    rows::hidden_size("4096"),
    rows::num_hidden_layers("32"),
    rows::num_attention_heads("32"),
    rows::num_key_value_heads("null"),
    rows::head_dim_beside(),
    rows::intermediate_size("11008"),
    rows::gate("hidden_act", "\"silu\""),
    rows::biases("attention_bias", "false", "whether queries, keys, values and the output of attention have biases"),
    rows::epsilon("rms_norm_eps", "1e-5"),
    rows::rope_parameters(),
    rows::rope_scaling(),
    rows::rope_theta("10000.0"),
    rows::original_context(),
    rows::whole_heads(),
    rows::tie_word_embeddings("false"),
    rows::eos_token_id("50279"),
    rows::pad_token_id("1"),
    rows::bos_token_id("null"),
    rows::attention_dropout(NUMBER),
    rows::initializer_range("0.02"),
    only("clip_qkv", &["null"], "caps are not supported"),
    rows::no_biases("mlp_bias"),
    rows::no_experts("num_experts"),
];

pub(super) static TENSORS: Tensors = Tensors {
    model_type: "olmo2",
    name: "OLMo 2",
    tokenizer: Registered::Any,
    blocks: &[
        (Part::Query, "self_attn.q_proj"),
        (Part::Key, "self_attn.k_proj"),
        (Part::Value, "self_attn.v_proj"),
        (Part::Output, "self_attn.o_proj"),
        (Part::QueryNorm, "self_attn.q_norm"),
        (Part::KeyNorm, "self_attn.k_norm"),
        (Part::AttentionNorm, "post_attention_layernorm"),
        (Part::Gate, "mlp.gate_proj"),
        (Part::Up, "mlp.up_proj"),
        (Part::Down, "mlp.down_proj"),
        (Part::FeedForwardNorm, "post_feedforward_layernorm"),
    ],
    ..USUAL
};

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    Ok(Config {
        order: Order::Behind,
        head_norm: Some(HeadNorm::Whole),
        ..llama::gated(keys)?
    })
}
