//! `config.json` of model_type `gpt2`.

use serde_json::{Value, json};

use super::table::{
    ANY, FLAG, FLOAT, INTEGER, INTEGER_OR_NULL, Kind, Row, TEXT, alias, idle, only, read,
};
use super::{
    Config, ConfigError, Family, Keys, MAX_CONTEXT, MAX_HIDDEN, MAX_LAYERS, MAX_VOCABULARY,
    MAX_WIDTH,
};
use crate::ops::LANES;
use crate::quant::Activation;

const PROBABILITY: &[Kind] = &[Kind::Probability];
const TEXT_OR_NULL: &[Kind] = &[Kind::Text, Kind::Null];
const END: &[Kind] = &[Kind::Integer, Kind::List, Kind::Null];

const DROPOUT: &str = "of training: nothing is dropped otherwise";
const SUMMARY: &str = "of the second head of GPT2DoubleHeadsModel";
const OLD: &str = "of older versions: nothing reads it";

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    read("vocab_size", INTEGER, "50257", "the number of embeddings"),
    read("n_positions", INTEGER, "1024", "the context"),
    read("n_embd", INTEGER, "768", "the width"),
    read("n_layer", INTEGER, "12", "the number of blocks"),
    read("n_head", INTEGER, "12", "the number of heads"),
    read("n_inner", INTEGER_OR_NULL, "null", "the width of the feed-forward part; null: 4·n_embd"),
    alias("hidden_size", "n_embd"),
    alias("max_position_embeddings", "n_positions"),
    alias("num_attention_heads", "n_head"),
    alias("num_hidden_layers", "n_layer"),
    read("activation_function", TEXT, "\"gelu_new\"", "GELU, by tanh or by erf"),
    read("layer_norm_epsilon", FLOAT, "1e-5", "ε of the norms"),
    read("tie_word_embeddings", FLAG, "true", "whether the head's matrix is the embedding's"),
    read("eos_token_id", END, "50256", "what ends an answer"),
    idle("bos_token_id", INTEGER_OR_NULL, "50256", "prompts are given whole"),
    idle("pad_token_id", INTEGER_OR_NULL, "null", "one prompt at a time needs no padding"),
    only("scale_attn_weights", &["true"], "scores are divided by the square root of a head's width"),
    only("scale_attn_by_inverse_layer_idx", &["false"], "scores are not divided by the layer's number"),
    idle("reorder_and_upcast_attn", FLAG, "false", "attention is computed in float32 in any case"),
    idle("resid_pdrop", PROBABILITY, "0.1", DROPOUT),
    idle("embd_pdrop", PROBABILITY, "0.1", DROPOUT),
    idle("attn_pdrop", PROBABILITY, "0.1", DROPOUT),
    idle("initializer_range", FLOAT, "0.02", "of training: the checkpoint has the weights"),
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

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    let width = keys.multiple_of_lanes("n_embd", MAX_WIDTH)?;
    let hidden = match keys.get("n_inner") {
        Some(_) => keys.multiple_of_lanes("n_inner", MAX_HIDDEN)?,
        None => 4 * width,
    };
    let vocabulary = keys.size("vocab_size", MAX_VOCABULARY)?;
    let heads = heads(keys, width)?;
    Ok(Config {
        layers: keys.size("n_layer", MAX_LAYERS)?,
        width,
        heads,
        kv_heads: heads,
        head_width: LANES,
        hidden,
        vocabulary,
        context: keys.size("n_positions", MAX_CONTEXT)?,
        activation: activation(keys)?,
        epsilon: keys.epsilon("layer_norm_epsilon")?,
        tied: keys.flag("tie_word_embeddings"),
        end_of_text: keys.end_of_text(vocabulary)?,
        family: Family::Gpt2,
    })
}

fn heads(keys: &Keys, width: usize) -> Result<usize, ConfigError> {
    let heads = keys.size("n_head", MAX_WIDTH / LANES)?;
    if heads * LANES != width {
        let (heads, width) = (keys.name("n_head"), keys.name("n_embd"));
        let supported = format!("a head width of {LANES} ({heads} = {width} / {LANES})");
        return keys.refuse("n_head", supported);
    }
    Ok(heads)
}

/// By the names of `transformers`' table of activations.
fn activation(keys: &Keys) -> Result<Activation, ConfigError> {
    const KEY: &str = "activation_function";
    match keys.value(KEY).as_str() {
        Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh") => Ok(Activation::GeluTanh),
        // Other ways to write the same polynomial within the tanh.
        Some("gelu_fast" | "gelu_accurate") => Ok(Activation::GeluTanh),
        Some("gelu" | "gelu_python") => Ok(Activation::GeluErf),
        _ => keys.refuse(
            KEY,
            r#""gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate" or "gelu""#
                .to_string(),
        ),
    }
}

/// A `config.json` that [`parse`] reads back.
pub(super) fn to_json(config: &Config) -> Value {
    let activation = match config.activation {
        Activation::GeluTanh => "gelu_new",
        Activation::GeluErf => "gelu",
        Activation::Silu => "silu",
    };
    json!({
        "model_type": "gpt2",
        "activation_function": activation,
        "vocab_size": config.vocabulary,
        "n_positions": config.context,
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.heads,
        "n_inner": config.hidden,
        "layer_norm_epsilon": config.epsilon,
        "tie_word_embeddings": config.tied,
        "eos_token_id": super::ends::to_json(&config.end_of_text),
    })
}
