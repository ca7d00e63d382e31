//! `config.json` of model_type `gemma3_text`: Gemma 3 of 270 million and 1 billion parameters.
//!
//! Rotations are those of two kinds of blocks: with a window and without.

use super::rows::{self, NUMBER, OBJECT_OR_NULL, UNREAD};
use super::table::{ANY, INTEGER, NUMBER_OR_NULL, Row, idle, only, read};

const CAP: &str = "caps are not supported";
use std::borrow::Cow;

use serde_json::{Map, Value};

use super::decoder::{self, Names, USUAL as USUAL_NAMES};
use super::rope::Rope;
use super::tensors::{Registered, USUAL};
use super::{Config, ConfigError, Keys, Kind, Multipliers, Part, Tensors};
use crate::quant::{HeadNorm, Order};

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    rows::vocab_size("262208"),
    rows::max_position_embeddings("131072"),
    rows::hidden_size("2304"),
    rows::num_hidden_layers("26"),
    rows::num_attention_heads("8"),
    rows::own_key_value_heads("4"),
    read("head_dim", INTEGER, "256", "the width of a head"),
    rows::intermediate_size("9216"),
    rows::gate("hidden_activation", "\"gelu_pytorch_tanh\""),
    rows::biases("attention_bias", "false", "whether queries, keys, values and the output of attention have biases"),
    rows::epsilon("rms_norm_eps", "1e-6"),
    read("query_pre_attn_scalar", INTEGER, "256", "scores are divided by its square root"),
    read("rope_parameters", OBJECT_OR_NULL, "null", "the rotations of blocks without and with a window: the objects \"full_attention\" and \"sliding_attention\""),
    read("rope_scaling", OBJECT_OR_NULL, "null", "the rotations of blocks without a window: its keys win over those in rope_parameters"),
    read("rope_theta", NUMBER, "1000000.0", "θ of blocks without a window, where the objects do not say it"),
    read("rope_local_base_freq", NUMBER, "10000.0", "θ of blocks with a window, where the objects do not say it"),
    read("sliding_window", INTEGER, "4096", "how many tokens each one sees, itself counted, in blocks with a window"),
    rows::layer_types("which blocks have a window; null: all but each sliding_window_pattern-th"),
    read("sliding_window_pattern", INTEGER, "6", "which blocks have a window, where layer_types does not say it"),
    idle("_sliding_window_pattern", ANY, "6", "layer_types says it"),
    only("use_bidirectional_attention", &["false", "null"], "tokens would see those after them"),
    only("attn_logit_softcapping", &["null"], CAP),
    only("final_logit_softcapping", &["null"], CAP),
    rows::tie_word_embeddings("true"),
    rows::eos_token_id("1"),
    rows::pad_token_id("0"),
    rows::bos_token_id("2"),
    rows::attention_dropout(NUMBER_OR_NULL),
    rows::initializer_range("0.02"),
    idle("hidden_act", ANY, "", UNREAD),
    only("cache_implementation", &["null", "\"dynamic\"", "\"static\"", "\"hybrid\""], "other caches may round what they keep: remove it"),
    rows::no_biases("mlp_bias"),
    rows::no_experts("num_experts"),
];

pub(super) static TENSORS: Tensors = Tensors {
    model_type: "gemma3_text",
    name: "Gemma 3",
    tokenizer: Registered::Class("GemmaTokenizer"),
    blocks: &[
        (Part::Norm1, "input_layernorm"),
        (Part::Query, "self_attn.q_proj"),
        (Part::Key, "self_attn.k_proj"),
        (Part::Value, "self_attn.v_proj"),
        (Part::Output, "self_attn.o_proj"),
        (Part::QueryNorm, "self_attn.q_norm"),
        (Part::KeyNorm, "self_attn.k_norm"),
        (Part::AttentionNorm, "post_attention_layernorm"),
        (Part::Norm2, "pre_feedforward_layernorm"),
        (Part::Gate, "mlp.gate_proj"),
        (Part::Up, "mlp.up_proj"),
        (Part::Down, "mlp.down_proj"),
        (Part::FeedForwardNorm, "post_feedforward_layernorm"),
    ],
    gain_offset: 1.0,
    ..USUAL
};

const NAMES: Names = Names {
    activation: "hidden_activation",
    ..USUAL_NAMES
};

const OBJECT: &str = "rope_parameters";
const FULL: &str = "full_attention";
const SLIDING: &str = "sliding_attention";

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    let config = decoder::read(keys, &NAMES)?;
    keys.check_padding(config.vocabulary)?;
    config.check_heads(keys)?;
    let Some(scalar) = keys.optional_size("query_pre_attn_scalar", 1 << 20)? else {
        unreachable!("the table has a default and no null");
    };
    let config = Config {
        order: Order::Around,
        head_norm: Some(HeadNorm::Heads),
        gated: true,
        rotated: config.head_width,
        multipliers: Multipliers {
            // In the precision of `transformers`' buffer.
            embedding: f64::from((config.width as f64).sqrt() as f32),
            score: (scalar as f64).sqrt().recip(),
            ..config.multipliers
        },
        ..config
    };
    with_rotations(keys, config.with_biases(keys.flag("attention_bias"), false))
}

/// With the two kinds of blocks.
fn with_rotations(keys: &Keys, config: Config) -> Result<Config, ConfigError> {
    let window = decoder::window(keys)?;
    let pattern = keys
        .optional_size("sliding_window_pattern", usize::MAX)?
        .unwrap_or(1);
    let slides = |block| (block + 1) % pattern != 0;
    if window.is_none() && keys.get("layer_types").is_none() && (0..config.layers).any(slides) {
        return keys.refuse("sliding_window", "a number of tokens".to_string());
    }
    let windows = decoder::windows(keys, config.layers, window, slides)?;
    let [full, sliding] = objects(keys)?;
    let rope = |map, key| {
        let mut rope = Rope::within(keys, &config, key, Cow::Owned(map));
        // `transformers` looks for a part of yarn's numbers beside these objects.
        rope.types = &["default", "linear"];
        rope
    };
    let full = rope(full, "rope_parameters.full_attention").read()?;
    let mut sliding = rope(sliding, "rope_parameters.sliding_attention");
    sliding.theta = "rope_local_base_freq";
    let sliding = sliding.read()?;
    let context = full.context.min(sliding.context);
    let kinds = windows.into_iter().map(|window| Kind {
        rotation: Some(
            if window.is_some() { &sliding } else { &full }
                .rotation
                .clone(),
        ),
        window,
    });
    let kinds: Vec<_> = kinds.collect();
    Ok(Config { context, ..config }.with_kinds(kinds))
}

/// What is said of the rotations of blocks without a window, and of those with one.
fn objects(keys: &Keys) -> Result<[Map<String, Value>; 2], ConfigError> {
    let plain = || Map::from_iter([("rope_type".to_string(), "default".into())]);
    let known = |key: &String| key == FULL || key == SLIDING;
    let stated = keys.get(OBJECT).and_then(Value::as_object);
    if stated.is_some_and(|stated| !stated.keys().all(known)) {
        return keys.refuse(OBJECT, format!("an object of \"{FULL}\" and \"{SLIDING}\""));
    }
    let of = |key: &str| match stated.map(|stated| stated.get(key)) {
        None => Ok(plain()),
        // What `rope_scaling` adds would have no place.
        Some(None | Some(Value::Null)) if key == SLIDING || keys.get("rope_scaling").is_none() => {
            Ok(plain())
        }
        Some(Some(Value::Object(map))) => Ok(map.clone()),
        Some(_) => keys.refuse(OBJECT, format!("objects as \"{FULL}\" and \"{SLIDING}\"")),
    };
    let [mut full, sliding] = [of(FULL)?, of(SLIDING)?];
    let scaling = keys.get("rope_scaling").and_then(Value::as_object);
    full.extend(scaling.cloned().unwrap_or_default());
    Ok([full, sliding])
}
