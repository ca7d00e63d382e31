//! `config.json` of model type `llama`: Llama 2 and 3, TinyLlama, SmolLM2.

use serde_json::{Map, Value, json};

use super::{
    Config, ConfigError, Family, HEAD_WIDTHS, Keys, MAX_CONTEXT, MAX_HIDDEN, MAX_LAYERS,
    MAX_VOCABULARY, MAX_WIDTH,
};
use crate::ops::LANES;
use crate::quant::{Activation, Frequencies, MAX_THETA, Scaling};

const DEFAULT_THETA: f64 = 10_000.0;

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    for key in ["attention_bias", "mlp_bias"] {
        if keys.get(key).is_some() {
            keys.expect(key, false.into())?;
        }
    }
    if keys.get("hidden_act").is_some() {
        keys.expect("hidden_act", "silu".into())?;
    }
    let width = keys.multiple_of_lanes("hidden_size", MAX_WIDTH)?;
    let heads = keys.size("num_attention_heads", MAX_WIDTH / LANES)?;
    let head_width = match keys.get("head_dim") {
        Some(_) => keys.size("head_dim", MAX_WIDTH)?,
        None => width / heads,
    };
    if !HEAD_WIDTHS.contains(&head_width) || heads * head_width != width {
        let supported = format!("hidden_size divided by a head width of 64 or 128 (here {width})");
        return keys.refuse("num_attention_heads", supported);
    }
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
    Ok(Config {
        layers: keys.size("num_hidden_layers", MAX_LAYERS)?,
        width,
        heads,
        kv_heads,
        head_width,
        hidden: keys.multiple_of_lanes("intermediate_size", MAX_HIDDEN)?,
        vocabulary,
        context: keys.size("max_position_embeddings", MAX_CONTEXT)?,
        activation: Activation::Silu,
        epsilon: keys.epsilon("rms_norm_eps", 1e-6)?,
        tied: keys.flag("tie_word_embeddings", false)?,
        end_of_text: keys.end_of_text(vocabulary, 2)?,
        family: Family::Llama {
            frequencies: frequencies(keys)?,
        },
    })
}

/// What `rope_theta` and `rope_scaling` (or `rope_parameters`, which holds both) say.
fn frequencies(keys: &Keys) -> Result<Frequencies, ConfigError> {
    let (key, scaling) = match keys.get("rope_parameters") {
        Some(value) => ("rope_parameters", Some(value)),
        None => ("rope_scaling", keys.get("rope_scaling")),
    };
    let nothing = Map::new();
    let map = match scaling {
        None => &nothing,
        Some(Value::Object(map)) => map,
        Some(_) => return keys.refuse(key, "an object".to_string()),
    };
    let number = |name: &str| map.get(name).or_else(|| keys.get(name));
    let theta = number("rope_theta").map_or(Some(DEFAULT_THETA), Value::as_f64);
    let Some(theta) = theta.filter(|theta| (1.0..=MAX_THETA).contains(theta)) else {
        return keys.refuse("rope_theta", format!("a number from 1 to {MAX_THETA:e}"));
    };
    let kind = map.get("rope_type").or_else(|| map.get("type"));
    let scaling = match kind.map(Value::as_str) {
        None | Some(Some("default")) => Some(Scaling::None),
        Some(Some("linear")) => linear(number),
        Some(Some("llama3")) => llama3(number),
        Some(_) => {
            let supported = r#"a rope_type of "default", "linear" or "llama3""#;
            return keys.refuse(key, supported.to_string());
        }
    };
    match scaling {
        Some(scaling) => Ok(Frequencies { theta, scaling }),
        None => keys.refuse(
            key,
            format!(
                "numbers up to {MAX_THETA:e}, factors from 1 on (\"{key}\" is incomplete or absurd)"
            ),
        ),
    }
}

/// `None` where a number is missing or out of range.
fn linear<'a>(number: impl Fn(&str) -> Option<&'a Value>) -> Option<Scaling> {
    let factor = from_1(number("factor"))?;
    Some(Scaling::Linear { factor })
}

/// The same.
fn llama3<'a>(number: impl Fn(&str) -> Option<&'a Value>) -> Option<Scaling> {
    let bound = |name| number(name).and_then(Value::as_f64);
    let (low, high) = (bound("low_freq_factor")?, bound("high_freq_factor")?);
    let scaling = Scaling::Llama3 {
        factor: from_1(number("factor"))?,
        low,
        high,
        original: from_1(number("original_max_position_embeddings"))?,
    };
    (0.0 < low && low < high && high <= MAX_THETA).then_some(scaling)
}

fn from_1(value: Option<&Value>) -> Option<f64> {
    let number = value.and_then(Value::as_f64);
    number.filter(|number| (1.0..=MAX_THETA).contains(number))
}

/// A `config.json` that [`parse`] reads back.
pub(super) fn to_json(config: &Config, frequencies: &Frequencies) -> Value {
    let scaling = match frequencies.scaling {
        Scaling::None => Value::Null,
        Scaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
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
        "eos_token_id": super::generation::to_json(&config.end_of_text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ConfigError;

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
        match config.family {
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
            ("model_type", json!("mistral"), "gpt2"),
            ("hidden_act", json!("gelu"), "silu"),
            ("attention_bias", json!(true), "false"),
            ("mlp_bias", json!(true), "false"),
            ("hidden_size", json!(500), "multiple of 64"),
            ("num_attention_heads", json!(8), "64 or 128"),
            ("head_dim", json!(96), "64 or 128"),
            ("head_dim", json!(128), "64 or 128"),
            ("num_key_value_heads", json!(2), "divisor"),
            ("num_key_value_heads", json!(0), "from 1 to"),
            ("intermediate_size", json!(100), "multiple of 64"),
            ("rope_theta", json!(-1.0), "from 1"),
            ("rope_theta", json!("x"), "from 1"),
            ("rope_theta", json!(0.999), "from 1"),
            ("rope_theta", json!(MAX_THETA * 1.001), "from 1"),
            ("rope_scaling", json!(8), "object"),
            (
                "rope_scaling",
                json!({"rope_type": "yarn", "factor": 8}),
                "llama3",
            ),
            ("rope_scaling", json!({"rope_type": "linear"}), "incomplete"),
            (
                "rope_scaling",
                json!({"rope_type": "linear", "factor": 0.5}),
                "incomplete",
            ),
            (
                "rope_scaling",
                json!({"rope_type": "llama3", "factor": 8}),
                "incomplete",
            ),
            ("eos_token_id", json!([]), "below 49152"),
            ("eos_token_id", json!([49152]), "below 49152"),
        ];
        for (key, value, supported) in cases {
            let mut json = smollm2();
            json[key] = value.clone();
            let message = parse(&json).unwrap_err().to_string();
            assert!(message.contains(supported), "{key} = {value}: {message}");
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
                Err(e) => assert!(!accepted && e.to_string().contains("incomplete"), "{e}"),
            }
        }
    }
}
