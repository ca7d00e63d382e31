//! `config.json` of model_type `granite`: Granite 3, the dense ones.

use super::llama;
use super::rows::{self, NUMBER};
use super::table::{Row, read};
use super::tensors::{Registered, USUAL};
use super::{Config, ConfigError, Keys, Multipliers, Tensors};

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    rows::vocab_size("32000"),
    rows::max_position_embeddings("2048"),
    rows::hidden_size("4096"),
    rows::num_hidden_layers("32"),
    rows::num_attention_heads("32"),
    rows::num_key_value_heads("null"),
    rows::head_dim_beside(),
    rows::intermediate_size("11008"),
    rows::gate("hidden_act", "\"silu\""),
    rows::biases("attention_bias", "false", "whether queries, keys, values and the output of attention have biases"),
    rows::biases("mlp_bias", "false", "whether the feed-forward part has biases"),
    rows::epsilon("rms_norm_eps", "1e-6"),
    read("embedding_multiplier", NUMBER, "1.0", "by what embeddings are multiplied"),
    read("attention_multiplier", NUMBER, "1.0", "by what scores are multiplied, in place of dividing them by the square root of a head's width"),
    read("residual_multiplier", NUMBER, "1.0", "by what each part of a block is multiplied before it is added"),
    read("logits_scaling", NUMBER, "1.0", "by what logits are divided"),
    rows::rope_parameters(),
    rows::rope_scaling(),
    rows::rope_theta("10000.0"),
    rows::original_context(),
    rows::whole_heads(),
    rows::tie_word_embeddings("false"),
    rows::eos_token_id("2"),
    rows::pad_token_id("null"),
    rows::bos_token_id("1"),
    rows::attention_dropout(NUMBER),
    rows::initializer_range("0.02"),
    rows::no_experts("num_experts"),
];

pub(super) static TENSORS: Tensors = Tensors {
    model_type: "granite",
    name: "Granite",
    tokenizer: Registered::Any,
    ..USUAL
};

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    Ok(Config {
        multipliers: Multipliers {
            embedding: keys.factor("embedding_multiplier")?,
            score: keys.factor("attention_multiplier")?,
            branch: keys.factor("residual_multiplier")?,
            logit: keys.factor("logits_scaling")?.recip(),
        },
        ..llama::gated(keys)?
    })
}
