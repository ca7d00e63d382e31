//! Configurations of Llama: what is understood, and what is refused by name.

use serde_json::json;

use super::*;
use crate::model::synthetic::config_json;
use crate::quant::{MAX_THETA, Scaling};

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
    let rotation = config.kinds[0].rotation.clone();
    rotation.expect("a model that rotates").frequencies
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
        assert_eq!(architecture.rotary(0).unwrap().len(), head_width / 2);
        architecture.check().unwrap();
        if frequencies(&config).scaling == Scaling::None {
            assert_eq!(parse(&config_json(&config)).unwrap(), config);
        }
    }
    let config = parse(&smollm2()).unwrap();
    assert_eq!(frequencies(&config), Frequencies::unscaled(100_000.0));
}

/// What they do to the turns is tested where they are computed.
#[test]
fn scalings_are_read() {
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
        ("model_type", json!("alpaca"), "\"llama\""),
        ("partial_rotary_factor", json!(0.5), "1.0"),
        ("head_dim", json!(257), "from 1 to 256"),
        ("pad_token_id", json!(49152), "vocab_size is 49152"),
        ("n_embd", json!(576), "unknown"),
        ("hidden_act", json!("mish"), "silu"),
        ("attention_bias", json!(1), "true or false"),
        ("mlp_bias", json!(null), "true or false"),
        ("hidden_size", json!(20_000), "from 1 to"),
        ("num_attention_heads", json!(7), "a divisor of hidden_size"),
        ("num_attention_heads", json!(null), "whole number"),
        ("head_dim", json!(33), "even width"),
        ("head_dim", json!(0), "from 1 to 256"),
        ("num_key_value_heads", json!(2), "divisor"),
        ("num_key_value_heads", json!(0), "from 1 to"),
        ("intermediate_size", json!(-100), "from 1 to"),
        ("rope_theta", json!(-1.0), "from 1"),
        ("rope_theta", json!("x"), "a number"),
        ("rope_theta", json!(0.999), "from 1"),
        ("rope_theta", json!(MAX_THETA * 1.001), "from 1"),
        ("rope_scaling", json!(8), "object"),
        (
            "rope_scaling",
            json!({"rope_type": "dynamic", "factor": 8}),
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

/// A width that the heads do not divide fails in `transformers`, even where heads have a width of their own.
#[test]
fn heads_divide_the_width() {
    for (heads, own, fits) in [
        (65, None, false),
        (66, None, true),
        (65, Some(64), false),
        (33, Some(64), true),
    ] {
        let mut json = smollm2();
        json["hidden_size"] = json!(66 * LANES);
        json["num_key_value_heads"] = json!(1);
        json["num_attention_heads"] = json!(heads);
        json["head_dim"] = json!(own);
        match parse(&json) {
            Ok(config) => assert!(fits && config.heads == heads),
            Err(e) => assert!(
                !fits && e.to_string().contains("a divisor of hidden_size"),
                "{e}"
            ),
        }
    }
}

#[test]
fn the_largest_base_is_accepted() {
    let mut json = smollm2();
    json["rope_theta"] = json!(MAX_THETA);
    let config = parse(&json).unwrap();
    assert_eq!(frequencies(&config), Frequencies::unscaled(MAX_THETA));
    assert_eq!(parse(&config_json(&config)).unwrap(), config);
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
