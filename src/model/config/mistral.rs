//! `config.json` of model_type `mistral`.

use super::llama;
use super::rows::{self, NUMBER};
use super::table::Row;
use super::tensors::{Registered, USUAL};
use super::{Config, ConfigError, Keys, Tensors};

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    rows::vocab_size("32000"),
    rows::max_position_embeddings("131072"),
    rows::hidden_size("4096"),
    rows::num_hidden_layers("32"),
    rows::num_attention_heads("32"),
    rows::own_key_value_heads("8"),
    rows::head_dim(),
    rows::intermediate_size("14336"),
    rows::gate("hidden_act", "\"silu\""),
    rows::epsilon("rms_norm_eps", "1e-6"),
    rows::rope_parameters(),
    rows::rope_scaling(),
    rows::rope_theta("10000.0"),
    rows::original_context(),
    rows::whole_heads(),
    rows::window("4096"),
    rows::tie_word_embeddings("false"),
    rows::eos_token_id("2"),
    rows::pad_token_id("null"),
    rows::bos_token_id("1"),
    rows::attention_dropout(NUMBER),
    rows::initializer_range("0.02"),
    rows::no_biases("attention_bias"),
    rows::no_biases("mlp_bias"),
    rows::no_experts("num_experts"),
];

pub(super) static TENSORS: Tensors = Tensors {
    model_type: "mistral",
    name: "Mistral",
    tokenizer: Registered::Any,
    ..USUAL
};

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    llama::gated(keys)?.with_window(keys)
}
