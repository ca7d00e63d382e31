//! `config.json` of model_type `llama`: Llama 2 and 3, TinyLlama, SmolLM2.

use super::decoder::{self, USUAL as NAMES};
use super::rows::{self, WEIGHTS};
use super::table::{INTEGER, INTEGER_OR_NULL, Kind, NUMBER_OR_NULL, Row, idle, read};
use super::tensors::USUAL;
use super::{Config, ConfigError, Keys, Tensors};

const FRACTION: &[Kind] = &[Kind::Fraction];

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    rows::vocab_size("32000"),
    rows::max_position_embeddings("2048"),
    read("hidden_size", INTEGER, "4096", "the width, a multiple of the number of heads"),
    rows::num_hidden_layers("32"),
    rows::num_attention_heads("32"),
    rows::num_key_value_heads("null"),
    rows::head_dim(),
    rows::intermediate_size("11008"),
    rows::gate("hidden_act", "\"silu\""),
    rows::biases("attention_bias", "false", "whether queries, keys, values and the output of attention have biases"),
    rows::biases("mlp_bias", "false", "whether the feed-forward part has biases"),
    rows::epsilon("rms_norm_eps", "1e-6"),
    rows::rope_parameters(),
    rows::rope_scaling(),
    rows::rope_theta("10000.0"),
    rows::original_context(),
    rows::whole_heads(),
    rows::tie_word_embeddings("false"),
    rows::eos_token_id("2"),
    rows::pad_token_id("null"),
    rows::bos_token_id("1"),
    rows::attention_dropout(NUMBER_OR_NULL),
    idle("initializer_range", FRACTION, "0.02", WEIGHTS),
    idle("pretraining_tp", INTEGER_OR_NULL, "1", "of older versions, which compute a product in so many parts"),
];

pub(super) static TENSORS: Tensors = Tensors {
    model_type: "llama",
    name: "Llama",
    ..USUAL
};

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    let config = gated(keys)?;
    config.check_heads(keys)?;
    Ok(config)
}

/// Blocks of Llama's kind, with the biases that the file states.
pub(super) fn gated(keys: &Keys) -> Result<Config, ConfigError> {
    let config = decoder::read(keys, &NAMES)?;
    keys.check_padding(config.vocabulary)?;
    let config = Config {
        gated: true,
        ..config
    };
    let config = config.with_biases(keys.flag("attention_bias"), keys.flag("mlp_bias"));
    config.with_rotations(keys)
}

impl Config {
    /// Refuses, as `transformers` does for some model types, a width that the heads do not divide, even where they have a
    /// width of their own.
    pub(super) fn check_heads(&self, keys: &Keys) -> Result<(), ConfigError> {
        if self.width.is_multiple_of(self.heads) {
            return Ok(());
        }
        keys.refuse(
            NAMES.heads,
            format!("a divisor of hidden_size ({})", self.width),
        )
    }
}
