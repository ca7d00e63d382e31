//! `config.json` of model_type `smollm3`.

use super::decoder;
use super::llama;
use super::rows::{self, LIST_OR_NULL, NUMBER, UNREAD};
use super::table::{ANY, FLAG, INTEGER, Row, idle, read};
use super::tensors::USUAL;
use super::{Config, ConfigError, Keys, Kind, Tensors};

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    rows::vocab_size("128256"),
    rows::max_position_embeddings("32768"),
    rows::hidden_size("2048"),
    rows::num_hidden_layers("36"),
    rows::num_attention_heads("16"),
    rows::num_key_value_heads("4"),
    rows::head_dim_beside(),
    rows::intermediate_size("11008"),
    rows::gate("hidden_act", "\"silu\""),
    rows::biases("attention_bias", "false", "whether queries, keys, values and the output of attention have biases"),
    rows::biases("mlp_bias", "false", "whether the feed-forward part has biases"),
    rows::epsilon("rms_norm_eps", "1e-6"),
    rows::rope_parameters(),
    rows::rope_scaling(),
    rows::rope_theta("2000000.0"),
    rows::original_context(),
    rows::whole_heads(),
    read("no_rope_layers", LIST_OR_NULL, "null", "for each block 1 or 0: whether heads are rotated; null: all but each no_rope_layer_interval-th"),
    read("no_rope_layer_interval", INTEGER, "4", "which blocks have no rotations, where no_rope_layers does not say it"),
    read("use_sliding_window", FLAG, "false", "whether there are blocks with a window"),
    rows::window_of_some("null"),
    rows::layer_types("which blocks have a window; null: those without rotations, if use_sliding_window is true"),
    rows::tie_word_embeddings("true"),
    rows::eos_token_id("128001"),
    rows::pad_token_id("128004"),
    rows::bos_token_id("128000"),
    rows::attention_dropout(NUMBER),
    rows::initializer_range("0.02"),
    idle("max_window_layers", ANY, "", UNREAD),
    idle("pretraining_tp", ANY, "", UNREAD),
    rows::no_experts("num_experts"),
];

pub(super) static TENSORS: Tensors = Tensors {
    model_type: "smollm3",
    name: "SmolLM3",
    ..USUAL
};

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    let config = llama::gated(keys)?;
    let rotates = rotates(keys, config.layers)?;
    // Where the window is not used, `layer_types` may still say that blocks slide.
    let (window, used) = (decoder::window(keys)?, keys.flag("use_sliding_window"));
    let windows = decoder::windows(keys, config.layers, window, |block| used && !rotates[block])?;
    let kinds = windows.iter().zip(&rotates).map(|(window, rotates)| Kind {
        rotation: config.kinds[0].rotation.clone().filter(|_| *rotates),
        window: *window,
    });
    let kinds: Vec<_> = kinds.collect();
    Ok(config.with_kinds(kinds))
}

/// Which blocks rotate.
fn rotates(keys: &Keys, layers: usize) -> Result<Vec<bool>, ConfigError> {
    const KEY: &str = "no_rope_layers";
    let Some(list) = keys.get(KEY) else {
        let interval = keys
            .optional_size("no_rope_layer_interval", usize::MAX)?
            .unwrap_or(1);
        return Ok((1..=layers).map(|number| number % interval != 0).collect());
    };
    let flags = list.as_array().filter(|list| list.len() >= layers);
    let flags = flags.map(|list| list.iter().map(|flag| flag.as_i64().map(|flag| flag != 0)));
    match flags.and_then(|flags| flags.collect::<Option<Vec<bool>>>()) {
        Some(flags) => Ok(flags[..layers].to_vec()),
        None => keys.refuse(
            KEY,
            format!("a list of 1 or 0 for each of num_hidden_layers ({layers})"),
        ),
    }
}
