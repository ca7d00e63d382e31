//! A checkpoint's `config.json`: its shape, and the refusal of what is not supported.

mod generation;
mod llama;

use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::ops::LANES;
use crate::quant::{Activation, Architecture, Frequencies, NormKind, Positions};

/// The widths of an attention head that are supported; GPT-2's is the first.
const HEAD_WIDTHS: [usize; 2] = [LANES, 2 * LANES];

/// No honest configuration comes near this size.
const MAX_BYTES: usize = 1 << 20;
const MAX_LAYERS: usize = 1 << 10;
const MAX_WIDTH: usize = 1 << 14;
const MAX_HIDDEN: usize = 1 << 17;
const MAX_VOCABULARY: usize = 1 << 22;
const MAX_CONTEXT: usize = 1 << 20;
/// ε beyond this would drown the variance: a typing error, or an attack.
const MAX_EPSILON: f64 = 0.1;

/// What kind of block a model has, and how it knows positions.
#[derive(Clone, Debug, PartialEq)]
pub enum Family {
    /// LayerNorm, learned positions, biases, a plain feed-forward part.
    Gpt2,
    /// RMSNorm, rotary positions, no biases, a gated feed-forward part.
    Llama {
        /// How far each pair of a head's lanes turns from one position to the next.
        frequencies: Frequencies,
    },
}

/// The shape of a checkpoint and the constants of its function.
///
/// [`Config::parse`] guarantees `width = head_width·heads`, a head width of 64 or 128 (GPT-2: 64),
/// `heads` a multiple of `kv_heads`, `hidden` a multiple of 64, every size positive and bounded,
/// `0 < epsilon ≤ 0.1`, and tokens of the vocabulary in `end_of_text`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The number of transformer blocks.
    pub layers: usize,
    /// d.
    pub width: usize,
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    pub head_width: usize,
    /// The width of the feed-forward part.
    pub hidden: usize,
    pub vocabulary: usize,
    /// The largest number of positions.
    pub context: usize,
    pub activation: Activation,
    /// ε of the norms.
    pub epsilon: f64,
    /// Whether the head's matrix is the token embedding. A [`Checkpoint`](super::Checkpoint)
    /// sets it to what its files hold.
    pub tied: bool,
    /// The tokens that end a text, each once: those of the configuration, or of a `generation_config.json` beside it.
    pub end_of_text: Vec<u32>,
    pub family: Family,
}

/// Why a `config.json` is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("the file has {0} bytes, more than the {MAX_BYTES} a configuration may have")]
    TooLarge(usize),
    #[error("not a JSON object: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the key \"{0}\" is missing: the file is not a complete configuration")]
    Missing(&'static str),
    #[error("\"{key}\" is {value}, but only {supported} is supported")]
    Unsupported {
        key: &'static str,
        value: Value,
        supported: String,
    },
    #[error(
        "\"{key}\" is {value}, which changes what is answered, but answers are plainly greedy: set it to null to get such \
         answers"
    )]
    Generation { key: &'static str, value: Value },
    #[error(
        "\"{key}\" is {value}: no key of {of} that is known, so what it does is not either. Remove it if it does nothing"
    )]
    Unknown {
        key: String,
        value: Value,
        of: &'static str,
    },
}

impl Config {
    /// Reads a Hugging Face `config.json` of model type `gpt2` or `llama`.
    ///
    /// # Errors
    /// [`ConfigError`], naming the key, its value and what is supported.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let keys = Keys(parse_object(json)?);
        match keys.required("model_type")?.as_str() {
            Some("gpt2") => Self::parse_gpt2(&keys),
            Some("llama") => llama::parse(&keys),
            _ => keys.refuse("model_type", r#""gpt2" or "llama""#.to_string()),
        }
    }

    /// Takes the tokens that end a text from a `generation_config.json`, which replaces what the configuration says.
    ///
    /// # Errors
    /// [`ConfigError`], also for a key that would change a greedy answer.
    pub fn read_generation(&mut self, json: &[u8]) -> Result<(), ConfigError> {
        self.end_of_text = generation::parse(json, self.vocabulary)?;
        Ok(())
    }

    fn parse_gpt2(keys: &Keys) -> Result<Self, ConfigError> {
        for (key, only) in [
            ("scale_attn_weights", true),
            ("scale_attn_by_inverse_layer_idx", false),
            ("reorder_and_upcast_attn", false),
            ("add_cross_attention", false),
        ] {
            if keys.get(key).is_some() {
                keys.expect(key, only.into())?;
            }
        }
        let width = keys.multiple_of_lanes("n_embd", MAX_WIDTH)?;
        let hidden = match keys.get("n_inner") {
            Some(_) => keys.multiple_of_lanes("n_inner", MAX_HIDDEN)?,
            None => 4 * width,
        };
        let vocabulary = keys.size("vocab_size", MAX_VOCABULARY)?;
        let heads = keys.heads(width)?;
        Ok(Self {
            layers: keys.size("n_layer", MAX_LAYERS)?,
            width,
            heads,
            kv_heads: heads,
            head_width: LANES,
            hidden,
            vocabulary,
            context: keys.context()?,
            activation: keys.activation()?,
            epsilon: keys.epsilon("layer_norm_epsilon", 1e-5)?,
            tied: keys.flag("tie_word_embeddings", true)?,
            end_of_text: keys.end_of_text(vocabulary, 50256)?,
            family: Family::Gpt2,
        })
    }

    /// The width of all keys, and of all values.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_width
    }

    /// The same as the manifest states it.
    pub fn architecture(&self) -> Architecture {
        let (norm, positions, gated) = match &self.family {
            Family::Gpt2 => (NormKind::Layer, Positions::Learned, false),
            Family::Llama { frequencies } => {
                let turns = frequencies.turns(self.head_width);
                (NormKind::RootMeanSquare, Positions::Rotary { turns }, true)
            }
        };
        Architecture {
            layers: self.layers,
            width: self.width,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_width: self.head_width,
            hidden: self.hidden,
            vocabulary: self.vocabulary,
            context: self.context,
            tied: self.tied,
            norm,
            positions,
            gated,
            activation: self.activation,
            epsilon_bits: self.epsilon.to_bits(),
            end_of_text: self.end_of_text.clone(),
        }
    }

    /// A `config.json` that [`Config::parse`] reads back as this configuration.
    pub fn to_json(&self) -> Value {
        if let Family::Llama { frequencies } = &self.family {
            return llama::to_json(self, frequencies);
        }
        let activation = match self.activation {
            Activation::GeluTanh => "gelu_new",
            Activation::GeluErf => "gelu",
            Activation::Silu => "silu",
        };
        json!({
            "model_type": "gpt2",
            "activation_function": activation,
            "vocab_size": self.vocabulary,
            "n_positions": self.context,
            "n_embd": self.width,
            "n_layer": self.layers,
            "n_head": self.heads,
            "n_inner": self.hidden,
            "layer_norm_epsilon": self.epsilon,
            "tie_word_embeddings": self.tied,
            "eos_token_id": generation::to_json(&self.end_of_text),
        })
    }
}

fn parse_object(json: &[u8]) -> Result<Map<String, Value>, ConfigError> {
    if json.len() > MAX_BYTES {
        return Err(ConfigError::TooLarge(json.len()));
    }
    Ok(serde_json::from_slice(json)?)
}

/// The keys of a configuration. A key that is `null` counts as absent, as in Hugging Face's code.
struct Keys(Map<String, Value>);

impl Keys {
    fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn required(&self, key: &'static str) -> Result<&Value, ConfigError> {
        self.get(key).ok_or(ConfigError::Missing(key))
    }

    fn refuse<T>(&self, key: &'static str, supported: String) -> Result<T, ConfigError> {
        Err(ConfigError::Unsupported {
            key,
            value: self.get(key).cloned().unwrap_or(Value::Null),
            supported,
        })
    }

    fn expect(&self, key: &'static str, only: Value) -> Result<(), ConfigError> {
        if *self.required(key)? != only {
            return self.refuse(key, only.to_string());
        }
        Ok(())
    }

    /// A positive integer of at most `max`.
    fn size(&self, key: &'static str, max: usize) -> Result<usize, ConfigError> {
        let size = self.required(key)?.as_u64();
        match size.and_then(|n| usize::try_from(n).ok()) {
            Some(n) if (1..=max).contains(&n) => Ok(n),
            _ => self.refuse(key, format!("an integer from 1 to {max}")),
        }
    }

    fn multiple_of_lanes(&self, key: &'static str, max: usize) -> Result<usize, ConfigError> {
        let size = self.size(key, max)?;
        if !size.is_multiple_of(LANES) {
            return self.refuse(key, format!("a multiple of {LANES}"));
        }
        Ok(size)
    }

    fn heads(&self, width: usize) -> Result<usize, ConfigError> {
        let heads = self.size("n_head", MAX_WIDTH / LANES)?;
        if heads * LANES != width {
            let supported = format!(
                "a head width of {LANES} (n_head = n_embd / {LANES} = {})",
                width / LANES
            );
            return self.refuse("n_head", supported);
        }
        Ok(heads)
    }

    fn context(&self) -> Result<usize, ConfigError> {
        match self.get("n_positions") {
            Some(_) => self.size("n_positions", MAX_CONTEXT),
            None if self.get("n_ctx").is_some() => self.size("n_ctx", MAX_CONTEXT),
            None => Err(ConfigError::Missing("n_positions")),
        }
    }

    fn activation(&self) -> Result<Activation, ConfigError> {
        const KEY: &str = "activation_function";
        match self.get(KEY).map(Value::as_str) {
            None | Some(Some("gelu_new" | "gelu_pytorch_tanh")) => Ok(Activation::GeluTanh),
            Some(Some("gelu")) => Ok(Activation::GeluErf),
            Some(_) => self.refuse(
                KEY,
                r#""gelu_new", "gelu_pytorch_tanh" or "gelu""#.to_string(),
            ),
        }
    }

    fn epsilon(&self, key: &'static str, default: f64) -> Result<f64, ConfigError> {
        match self.get(key).map(Value::as_f64) {
            None => Ok(default),
            Some(Some(epsilon)) if epsilon > 0.0 && epsilon <= MAX_EPSILON => Ok(epsilon),
            Some(_) => self.refuse(key, format!("a positive number up to {MAX_EPSILON}")),
        }
    }

    fn flag(&self, key: &'static str, default: bool) -> Result<bool, ConfigError> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => self.refuse(key, "true or false".to_string()),
        }
    }

    /// Absent it is transformers' default for the architecture; `null` is no token.
    fn end_of_text(&self, vocabulary: usize, default: u32) -> Result<Vec<u32>, ConfigError> {
        let default = Value::from(default);
        let value = self.0.get(generation::ENDS).unwrap_or(&default);
        generation::ends(value, vocabulary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            config,
            Config {
                layers: 12,
                width: 768,
                heads: 12,
                kv_heads: 12,
                head_width: 64,
                hidden: 3072,
                vocabulary: 50257,
                context: 1024,
                activation: Activation::GeluTanh,
                epsilon: 1e-5,
                tied: true,
                end_of_text: vec![50256],
                family: Family::Gpt2,
            }
        );
        assert_eq!(parse(&config.to_json()).unwrap(), config);
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
        let by_alias = parse(&with("n_positions", json!(null))).unwrap();
        assert_eq!(by_alias.context, 1024);
    }

    /// Each line is a configuration whose function or size differs from what would be proved; the
    /// message must name the key, what it is and what is supported.
    #[test]
    fn unsupported_and_absurd_values_are_refused_by_name() {
        let cases = [
            ("model_type", json!("bert"), "gpt2"),
            ("activation_function", json!("relu"), "gelu_new"),
            ("activation_function", json!(7), "gelu_new"),
            ("scale_attn_weights", json!(false), "true"),
            ("scale_attn_by_inverse_layer_idx", json!(true), "false"),
            ("reorder_and_upcast_attn", json!(true), "false"),
            ("add_cross_attention", json!(true), "false"),
            ("n_embd", json!(800), "multiple of 64"),
            ("n_embd", json!(0), "from 1 to"),
            ("n_embd", json!(1u64 << 40), "from 1 to"),
            ("n_embd", json!("768"), "from 1 to"),
            ("n_head", json!(6), "head width of 64"),
            ("n_head", json!(u64::MAX), "from 1 to"),
            ("n_inner", json!(100), "multiple of 64"),
            ("n_layer", json!(-12), "from 1 to"),
            ("n_layer", json!(1e300), "from 1 to"),
            ("n_layer", json!(12.5), "from 1 to"),
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
            for part in [key, &value.to_string(), supported] {
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
        for key in ["model_type", "n_embd", "n_head", "n_layer", "vocab_size"] {
            let found = parse(&with(key, json!(null))).unwrap_err();
            assert!(
                matches!(found, ConfigError::Missing(k) if k == key),
                "{found}"
            );
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
}
