//! `config.json` of model_type `llama`: Llama 2 and 3, TinyLlama, SmolLM2.

use serde_json::{Value, json};

use super::rope;
use super::table::{
    FLAG, FLOAT, INTEGER, INTEGER_OR_NULL, Kind, NUMBER_OR_NULL, Row, TEXT, idle, only, read,
};
use super::{
    Config, ConfigError, Family, HEAD_WIDTHS, Keys, MAX_CONTEXT, MAX_HIDDEN, MAX_LAYERS,
    MAX_VOCABULARY, MAX_WIDTH,
};
use crate::ops::LANES;
use crate::quant::{Activation, Frequencies, Scaling};

const FRACTION: &[Kind] = &[Kind::Fraction];
const OBJECT_OR_NULL: &[Kind] = &[Kind::Object, Kind::Null];
const END: &[Kind] = &[Kind::Integer, Kind::List, Kind::Null];

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    read("vocab_size", INTEGER, "32000", "the number of embeddings"),
    read("max_position_embeddings", INTEGER, "2048", "the context"),
    read("hidden_size", INTEGER, "4096", "the width"),
    read("num_hidden_layers", INTEGER, "32", "the number of blocks"),
    read("num_attention_heads", INTEGER, "32", "the number of heads"),
    read("num_key_value_heads", INTEGER_OR_NULL, "null", "heads of keys and values; null: as many as heads"),
    read("head_dim", INTEGER_OR_NULL, "null", "the width of a head; null: hidden_size / num_attention_heads"),
    read("intermediate_size", INTEGER, "11008", "the width of the feed-forward part"),
    read("hidden_act", TEXT, "\"silu\"", "the activation of the gate"),
    read("rms_norm_eps", FLOAT, "1e-6", "ε of the norms"),
    read("rope_parameters", OBJECT_OR_NULL, "null", "the rotations; its keys are below"),
    read("rope_scaling", OBJECT_OR_NULL, "null", "the same: it wins over rope_parameters unless it is empty"),
    read("rope_theta", NUMBER_OR_NULL, "10000.0", "θ where rope_scaling or rope_parameters does not say it"),
    read("original_max_position_embeddings", NUMBER_OR_NULL, "", "of rope_type \"llama3\"; wins over the key of that name within"),
    read("tie_word_embeddings", FLAG, "false", "whether the head's matrix is the embedding's"),
    read("eos_token_id", END, "2", "what ends an answer"),
    read("pad_token_id", INTEGER_OR_NULL, "null", "has to be in the vocabulary, or transformers fails"),
    idle("bos_token_id", INTEGER_OR_NULL, "1", "prompts are given whole"),
    only("attention_bias", &["false"], "biases are not supported"),
    only("mlp_bias", &["false"], "biases are not supported"),
    only("partial_rotary_factor", &["1.0", "null"], "all lanes of a head are rotated"),
    idle("attention_dropout", NUMBER_OR_NULL, "0.0", "of training: nothing is dropped otherwise"),
    idle("initializer_range", FRACTION, "0.02", "of training: the checkpoint has the weights"),
    idle("pretraining_tp", INTEGER_OR_NULL, "1", "of older versions, which compute a product in so many parts"),
];

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    if !matches!(keys.value("hidden_act").as_str(), Some("silu" | "swish")) {
        return keys.refuse(
            "hidden_act",
            r#""silu" or "swish", its other name"#.to_string(),
        );
    }
    let (width, heads, head_width) = heads(keys)?;
    let kv_heads = match keys.get("num_key_value_heads") {
        Some(_) => keys.size("num_key_value_heads", heads)?,
        None => heads,
    };
    if !heads.is_multiple_of(kv_heads) {
        return keys.refuse(
            "num_key_value_heads",
            format!("a divisor of num_attention_heads ({heads})"),
        );
    }
    let vocabulary = keys.size("vocab_size", MAX_VOCABULARY)?;
    check_padding(keys, vocabulary)?;
    let context = keys.size("max_position_embeddings", MAX_CONTEXT)?;
    Ok(Config {
        layers: keys.size("num_hidden_layers", MAX_LAYERS)?,
        width,
        heads,
        kv_heads,
        head_width,
        hidden: keys.multiple_of_lanes("intermediate_size", MAX_HIDDEN)?,
        vocabulary,
        context,
        activation: Activation::Silu,
        epsilon: keys.epsilon("rms_norm_eps")?,
        tied: keys.flag("tie_word_embeddings"),
        end_of_text: keys.end_of_text(vocabulary)?,
        family: Family::Llama {
            frequencies: rope::frequencies(keys, context)?,
        },
    })
}

/// The width, the number of heads and the width of a head.
fn heads(keys: &Keys) -> Result<(usize, usize, usize), ConfigError> {
    let width = keys.multiple_of_lanes("hidden_size", MAX_WIDTH)?;
    let heads = keys.size("num_attention_heads", MAX_WIDTH / LANES)?;
    let (key, head_width) = match keys.get("head_dim") {
        Some(_) => ("head_dim", keys.size("head_dim", MAX_WIDTH)?),
        None => ("num_attention_heads", width / heads),
    };
    if !HEAD_WIDTHS.contains(&head_width) || heads * head_width != width {
        let supported = format!(
            "hidden_size ({width}) divided by num_attention_heads ({heads}), which has to be 64 or 128,"
        );
        return keys.refuse(key, supported);
    }
    Ok((width, heads, head_width))
}

/// `torch.nn.Embedding` fails on a padding token that is beyond its rows, counted from either end.
fn check_padding(keys: &Keys, vocabulary: usize) -> Result<(), ConfigError> {
    let rows = vocabulary as i64;
    match keys.get("pad_token_id").map(Value::as_i64) {
        None => Ok(()),
        Some(Some(token)) if (-rows..rows).contains(&token) => Ok(()),
        Some(_) => keys.refuse(
            "pad_token_id",
            format!("null or a token of the vocabulary (vocab_size is {vocabulary})"),
        ),
    }
}

/// A `config.json` that [`parse`] reads back, unless each pair has a factor of its own, from a GGUF file.
pub(super) fn to_json(config: &Config, frequencies: &Frequencies) -> Value {
    let scaling = match &frequencies.scaling {
        Scaling::None => Value::Null,
        Scaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        // No configuration can say this: it is refused where it is read.
        Scaling::Factors(factors) => json!({"rope_type": "factors", "factors": factors}),
        Scaling::Llama3 {
            factor,
            low,
            high,
            original,
        } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low,
            "high_freq_factor": high,
            "original_max_position_embeddings": original,
        }),
    };
    json!({
        "model_type": "llama",
        "hidden_act": "silu",
        "vocab_size": config.vocabulary,
        "max_position_embeddings": config.context,
        "hidden_size": config.width,
        "intermediate_size": config.hidden,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_width,
        "rms_norm_eps": config.epsilon,
        "rope_theta": frequencies.theta,
        "rope_scaling": scaling,
        "tie_word_embeddings": config.tied,
        "eos_token_id": super::ends::to_json(&config.end_of_text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::MAX_THETA;

    /// The published configurations.
    fn smollm2() -> Value {
        json!({
            "model_type": "llama", "attention_bias": false, "attention_dropout": 0.0,
            "bos_token_id": 0, "eos_token_id": 0, "hidden_act": "silu", "hidden_size": 576,
            "initializer_range": 0.041666666666666664, "intermediate_size": 1536,
            "max_position_embeddings": 8192, "mlp_bias": false, "num_attention_heads": 9,
            "num_hidden_layers": 30, "num_key_value_heads": 3, "pretraining_tp": 1,
            "rms_norm_eps": 1e-5, "rope_scaling": null, "rope_theta": 100000,
            "tie_word_embeddings": true, "vocab_size": 49152,
        })
    }

    fn tinyllama() -> Value {
        json!({
            "model_type": "llama", "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
            "hidden_size": 2048, "intermediate_size": 5632, "max_position_embeddings": 2048,
            "num_attention_heads": 32, "num_hidden_layers": 22, "num_key_value_heads": 4,
            "rms_norm_eps": 1e-5, "rope_scaling": null, "rope_theta": 10000.0,
            "tie_word_embeddings": false, "vocab_size": 32000,
        })
    }

    fn llama2_7b() -> Value {
        json!({
            "model_type": "llama", "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096,
            "intermediate_size": 11008, "max_position_embeddings": 4096,
            "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32,
            "rms_norm_eps": 1e-5, "rope_scaling": null, "tie_word_embeddings": false,
            "vocab_size": 32000,
        })
    }

    fn llama31_8b() -> Value {
        json!({
            "model_type": "llama", "attention_bias": false, "bos_token_id": 128000,
            "eos_token_id": [128001, 128008, 128009], "hidden_act": "silu", "hidden_size": 4096,
            "intermediate_size": 14336, "max_position_embeddings": 131072, "mlp_bias": false,
            "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8,
            "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": false,
            "rope_scaling": {
                "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192, "rope_type": "llama3",
            },
            "vocab_size": 128256,
        })
    }

    fn parse(json: &Value) -> Result<Config, ConfigError> {
        Config::parse(json.to_string().as_bytes())
    }

    fn frequencies(config: &Config) -> Frequencies {
        match config.family.clone() {
            Family::Llama { frequencies } => frequencies,
            Family::Gpt2 => panic!("a llama"),
        }
    }

    /// Shapes as published, and each a supported architecture.
    #[test]
    fn published_configurations_are_understood() {
        for (json, heads, kv_heads, head_width, end) in [
            (smollm2(), 9, 3, 64, &[0][..]),
            (tinyllama(), 32, 4, 64, &[2]),
            (llama2_7b(), 32, 32, 128, &[2]),
            (llama31_8b(), 32, 8, 128, &[128001, 128008, 128009]),
        ] {
            let config = parse(&json).unwrap();
            assert_eq!(
                (
                    config.heads,
                    config.kv_heads,
                    config.head_width,
                    &config.end_of_text[..]
                ),
                (heads, kv_heads, head_width, end)
            );
            assert_eq!(
                config.hidden as u64,
                json["intermediate_size"].as_u64().unwrap()
            );
            let architecture = config.architecture();
            assert_eq!(architecture.rotary().unwrap().len(), head_width / 2);
            architecture.check().unwrap();
            assert_eq!(parse(&config.to_json()).unwrap(), config);
        }
        let config = parse(&smollm2()).unwrap();
        assert_eq!(frequencies(&config), Frequencies::unscaled(100_000.0));
    }

    /// What they do to the turns is tested where they are computed.
    #[test]
    fn scalings_are_read_and_written() {
        let mut json = tinyllama();
        json["rope_scaling"] = json!({"type": "linear", "factor": 4.0});
        let linear = parse(&json).unwrap();
        let scaling = Scaling::Linear { factor: 4.0 };
        let theta = 10_000.0;
        assert_eq!(frequencies(&linear), Frequencies { theta, scaling });
        let llama3 = parse(&llama31_8b()).unwrap();
        let scaling = Scaling::Llama3 {
            factor: 8.0,
            low: 1.0,
            high: 4.0,
            original: 8192.0,
        };
        let theta = 500_000.0;
        assert_eq!(frequencies(&llama3), Frequencies { theta, scaling });
        for config in [linear, llama3] {
            assert_eq!(parse(&config.to_json()).unwrap(), config);
        }
    }

    /// Newer files keep the base and the scaling together.
    #[test]
    fn rope_parameters_are_read() {
        let mut new = smollm2();
        new["rope_theta"] = json!(null);
        new["rope_parameters"] = json!({"rope_theta": 100000.0, "rope_type": "default"});
        assert_eq!(parse(&new).unwrap(), parse(&smollm2()).unwrap());
    }

    /// Each line is a configuration whose function differs from what would be proved, or whose size is
    /// absurd; the message must name the key and what is supported.
    #[test]
    fn unsupported_and_absurd_values_are_refused_by_name() {
        let cases = [
            ("model_type", json!("mistral"), "\"llama\""),
            ("partial_rotary_factor", json!(0.5), "1.0"),
            ("head_dim", json!(32), "64 or 128"),
            ("pad_token_id", json!(49152), "vocab_size is 49152"),
            ("n_embd", json!(576), "unknown"),
            ("hidden_act", json!("gelu"), "silu"),
            ("attention_bias", json!(true), "false"),
            ("mlp_bias", json!(true), "false"),
            ("hidden_size", json!(500), "multiple of 64"),
            ("num_attention_heads", json!(8), "64 or 128"),
            ("num_attention_heads", json!(null), "whole number"),
            ("head_dim", json!(96), "64 or 128"),
            ("head_dim", json!(128), "64 or 128"),
            ("num_key_value_heads", json!(2), "divisor"),
            ("num_key_value_heads", json!(0), "from 1 to"),
            ("intermediate_size", json!(100), "multiple of 64"),
            ("rope_theta", json!(-1.0), "from 1"),
            ("rope_theta", json!("x"), "a number"),
            ("rope_theta", json!(0.999), "from 1"),
            ("rope_theta", json!(MAX_THETA * 1.001), "from 1"),
            ("rope_scaling", json!(8), "object"),
            (
                "rope_scaling",
                json!({"rope_type": "yarn", "factor": 8}),
                "llama3",
            ),
            (
                "rope_scaling",
                json!({"rope_type": "linear"}),
                "missing or out of range",
            ),
            (
                "rope_scaling",
                json!({"rope_type": "linear", "factor": 0.5}),
                "missing or out of range",
            ),
            (
                "rope_scaling",
                json!({"rope_type": "llama3", "factor": 8}),
                "missing or out of range",
            ),
            ("eos_token_id", json!([]), "below 49152"),
            ("eos_token_id", json!([49152]), "below 49152"),
        ];
        for (key, value, supported) in cases {
            let mut json = smollm2();
            json[key] = value.clone();
            let message = parse(&json).unwrap_err().to_string();
            for part in [&format!("\"{key}"), supported, "llama"] {
                assert!(message.contains(part), "{key} = {value}: {message}");
            }
        }
    }

    /// Rows of 65 heads of 64 are not 4224 wide: the quotient alone, rounded down, says they are.
    #[test]
    fn heads_fill_the_width() {
        let mut json = smollm2();
        json["hidden_size"] = json!(66 * LANES);
        json["num_key_value_heads"] = json!(1);
        for (heads, fits) in [(65, false), (66, true)] {
            json["num_attention_heads"] = json!(heads);
            match parse(&json) {
                Ok(config) => assert!(fits && config.heads == 66),
                Err(e) => assert!(!fits && e.to_string().contains("64 or 128"), "{e}"),
            }
        }
    }

    #[test]
    fn the_largest_base_is_accepted() {
        let mut json = smollm2();
        json["rope_theta"] = json!(MAX_THETA);
        let config = parse(&json).unwrap();
        assert_eq!(frequencies(&config), Frequencies::unscaled(MAX_THETA));
        assert_eq!(parse(&config.to_json()).unwrap(), config);
    }

    /// Between equal bounds of the turns a frequency would be blended by 0/0.
    #[test]
    fn llama3_scaling_needs_room_between_its_bounds() {
        for (key, value, accepted) in [
            ("high_freq_factor", 4.0, true),
            ("high_freq_factor", 1.0, false),
            ("high_freq_factor", 0.5, false),
            ("high_freq_factor", MAX_THETA, true),
            ("high_freq_factor", MAX_THETA * 1.001, false),
            ("low_freq_factor", 0.0, false),
            ("factor", 0.999, false),
            ("original_max_position_embeddings", 0.0, false),
        ] {
            let mut json = llama31_8b();
            json["rope_scaling"][key] = json!(value);
            match parse(&json) {
                Ok(config) => {
                    assert!(accepted, "{key} {value}");
                    config.architecture();
                }
                Err(e) => assert!(
                    !accepted && e.to_string().contains("missing or out of range"),
                    "{e}"
                ),
            }
        }
    }
}
