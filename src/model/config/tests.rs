//! Configurations of GPT-2: what is understood, and what is refused by name.

use serde_json::json;

use super::*;
use crate::model::synthetic::config_json;

fn gpt2_small() -> Value {
    json!({
        "model_type": "gpt2", "activation_function": "gelu_new", "n_ctx": 1024,
        "n_embd": 768, "n_head": 12, "n_layer": 12, "n_positions": 1024, "n_inner": null,
        "layer_norm_epsilon": 1e-5, "vocab_size": 50257, "eos_token_id": 50256,
        "scale_attn_weights": true,
    })
}

fn parse(json: &Value) -> Result<Config, ConfigError> {
    Config::parse(json.to_string().as_bytes())
}

fn with(key: &str, value: Value) -> Value {
    let mut json = gpt2_small();
    json[key] = value;
    json
}

/// The published configuration of GPT-2 small, with its defaults filled in.
#[test]
fn gpt2_small_is_understood() {
    let config = parse(&gpt2_small()).unwrap();
    assert_eq!(
        (config.layers, config.width, config.hidden),
        (12, 768, 3072)
    );
    assert_eq!(
        (config.heads, config.kv_heads, config.head_width),
        (12, 12, 64)
    );
    assert_eq!((config.vocabulary, config.context), (50257, 1024));
    assert_eq!((config.norm, config.norm_biases), (NormKind::Layer, true));
    assert_eq!((config.positions, config.rotated), (Some(0), 0));
    assert_eq!((config.kinds.len(), config.kind_of.len()), (1, 12));
    assert_eq!(
        (config.activation, config.gated),
        (Activation::GeluTanh, false)
    );
    assert_eq!((config.epsilon, config.tied), (1e-5, true));
    assert_eq!(config.multipliers.score, 0.125);
    assert_eq!(config.end_of_text, [50256]);
    assert_eq!(parse(&config_json(&config)).unwrap(), config);
    config.architecture().check().unwrap();
    assert_eq!(config.architecture().epsilon(), 1e-5);
}

#[test]
fn optional_keys_are_honoured() {
    let erf = parse(&with("activation_function", json!("gelu"))).unwrap();
    assert_eq!(erf.activation, Activation::GeluErf);
    let tanh = parse(&with("activation_function", json!("gelu_pytorch_tanh"))).unwrap();
    assert_eq!(tanh.activation, Activation::GeluTanh);
    assert_eq!(parse(&with("n_inner", json!(1024))).unwrap().hidden, 1024);
    let untied = parse(&with("tie_word_embeddings", json!(false))).unwrap();
    assert!(!untied.tied);
    let by_alias = parse(&with("max_position_embeddings", json!(512))).unwrap();
    assert_eq!(by_alias.context, 512);
}

/// Each line is a configuration whose function or size differs from what would be proved; the
/// message must name the key, what it is and what is supported.
#[test]
fn unsupported_and_absurd_values_are_refused_by_name() {
    let cases = [
        ("model_type", json!("gpt"), "\"gpt2\""),
        ("activation_function", json!("relu2"), "gelu_new"),
        ("activation_function", json!(7), "a text"),
        ("scale_attn_weights", json!(false), "true"),
        ("scale_attn_by_inverse_layer_idx", json!(true), "false"),
        ("scale_attn_weights", json!(null), "true"),
        ("tie_word_embeddings", json!(null), "true or false"),
        ("n_positions", json!(null), "a whole number"),
        ("hidden_size", json!(null), "a whole number"),
        ("hidden_size", json!(20_000), "from 1 to"),
        ("num_attention_heads", json!(5), "a divisor of n_embd"),
        (
            "quantization_config",
            json!({"quant_method": "gptq"}),
            "before it was quantized",
        ),
        ("repetition_penalty", json!(1.2), "greedy choice"),
        ("rope_theta", json!(1e4), "unknown"),
        ("add_cross_attention", json!(true), "false"),
        ("n_embd", json!(20_000), "from 1 to"),
        ("n_embd", json!(0), "from 1 to"),
        ("n_embd", json!(1u64 << 40), "from 1 to"),
        ("n_embd", json!("768"), "a whole number"),
        ("n_head", json!(2), "at most 256"),
        ("n_head", json!(u64::MAX), "from 1 to"),
        ("n_inner", json!(0), "from 1 to"),
        ("n_layer", json!(-12), "from 1 to"),
        ("n_layer", json!(1e300), "a whole number"),
        ("n_layer", json!(12.5), "a whole number"),
        ("vocab_size", json!(0), "from 1 to"),
        ("n_positions", json!(u64::MAX), "from 1 to"),
        ("layer_norm_epsilon", json!(0.0), "positive"),
        ("layer_norm_epsilon", json!(-1e-5), "positive"),
        ("layer_norm_epsilon", json!(1e5), "positive"),
        ("eos_token_id", json!(50257), "below 50257"),
        ("eos_token_id", json!([50257]), "below 50257"),
        ("tie_word_embeddings", json!("yes"), "true or false"),
    ];
    for (key, value, supported) in cases {
        let message = parse(&with(key, value.clone())).unwrap_err().to_string();
        for part in [key, &value.to_string(), supported, "gpt2"] {
            assert!(message.contains(part), "{key} = {value}: {message}");
        }
    }
}

/// A limit itself is within the limit: a file of a published size is not to be lost to a shift by one.
#[test]
fn values_at_their_limits_are_accepted() {
    let epsilon = |value: f64| parse(&with("layer_norm_epsilon", json!(value)));
    assert_eq!(epsilon(MAX_EPSILON).unwrap().epsilon, MAX_EPSILON);
    let message = epsilon(MAX_EPSILON * 1.001).unwrap_err().to_string();
    assert!(message.contains("layer_norm_epsilon"), "{message}");
    let mut file = gpt2_small().to_string().into_bytes();
    file.resize(MAX_BYTES, b' ');
    assert_eq!(Config::parse(&file).unwrap(), parse(&gpt2_small()).unwrap());
    file.push(b' ');
    assert!(matches!(
        Config::parse(&file),
        Err(ConfigError::TooLarge(found)) if found == MAX_BYTES + 1
    ));
}

#[test]
fn every_required_key_is_missed() {
    for key in [
        "model_type",
        "n_positions",
        "n_embd",
        "n_head",
        "n_layer",
        "vocab_size",
    ] {
        let mut json = gpt2_small();
        json.as_object_mut().unwrap().remove(key);
        let message = parse(&json).unwrap_err().to_string();
        assert!(message.contains(key), "{message}");
        let absent = key == "model_type" || message.contains("missing");
        assert!(absent, "{message}");
    }
}

#[test]
fn what_is_not_a_json_object_is_refused() {
    for bytes in [&b""[..], b"[]", b"{\"model_type\":", b"\xff\xfe", b"null"] {
        assert!(matches!(Config::parse(bytes), Err(ConfigError::Json(_))));
    }
    let deep = "[".repeat(1 << 19);
    assert!(matches!(
        Config::parse(deep.as_bytes()),
        Err(ConfigError::Json(_))
    ));
    assert!(matches!(
        Config::parse(&vec![b' '; MAX_BYTES + 1]),
        Err(ConfigError::TooLarge(_))
    ));
}

/// What Python reads and JSON does not have.
#[test]
fn what_is_no_number_is_refused_with_its_line() {
    for value in ["NaN", "Infinity", "-Infinity", "[NaN]", "[1, -Infinity]"] {
        let text = gpt2_small().to_string();
        let text = text.replacen('{', &format!("{{\n\"initializer_range\": {value},"), 1);
        let error = Config::parse(text.as_bytes()).unwrap_err();
        assert!(
            matches!(error, ConfigError::NotANumber { line: 2 }),
            "{value}: {error}"
        );
    }
    let text = gpt2_small()
        .to_string()
        .replacen('{', "{\"n\": Nothing,", 1);
    assert!(matches!(
        Config::parse(text.as_bytes()),
        Err(ConfigError::Json(_))
    ));
}

/// As in Python, of two values under one key the last counts.
#[test]
fn the_last_of_two_values_counts() {
    let text = gpt2_small().to_string();
    let with_first = text.replacen('{', "{\"n_layer\": 7, \"scale_attn_weights\": false,", 1);
    assert_eq!(
        Config::parse(with_first.as_bytes()).unwrap(),
        parse(&gpt2_small()).unwrap()
    );
    let last = text.strip_suffix('}').unwrap().to_string() + ", \"n_layer\": 7}";
    assert_eq!(Config::parse(last.as_bytes()).unwrap().layers, 7);
}

/// Each size within its bound, and their product beyond memory.
#[test]
fn sizes_are_bounded_together() {
    let mut json = gpt2_small();
    for (key, value) in [("n_embd", 1 << 14), ("n_head", 1 << 8), ("n_layer", 64)] {
        json[key] = json!(value);
    }
    // A block counts as 2^32.
    assert!(parse(&json).is_ok());
    json["n_layer"] = json!(128);
    let message = parse(&json).unwrap_err().to_string();
    assert!(
        message.contains("parameters") && message.contains("gpt2"),
        "{message}"
    );
}

/// Neither a long value nor a key fills the terminal, and a key that is switched off is none.
#[test]
fn unknown_keys_are_refused_unless_they_are_null() {
    let long = "x".repeat(1 << 19);
    let message = parse(&with("no_such_key", json!(long)))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("no_such_key") && message.len() < 400,
        "{message}"
    );
    assert!(parse(&with(&long, json!(null))).is_ok());
    let message = parse(&with(&long, json!(1))).unwrap_err().to_string();
    assert!(message.len() < 400, "{}", message.len());
}
