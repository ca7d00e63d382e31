//! A checkpoint's `config.json`: its shape, and the refusal of what is not supported.

mod common;
mod ends;
mod generation;
mod gpt2;
mod llama;
mod rope;
pub(super) mod table;

#[cfg(test)]
mod document_tests;
#[cfg(test)]
pub(super) mod walk_tests;

use std::fmt;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::ops::LANES;
use crate::quant::{Activation, Architecture, Frequencies, NormKind, Positions};

use table::{Effect, Row};

/// The widths of an attention head that are supported; GPT-2's is the first.
const HEAD_WIDTHS: [usize; 2] = [LANES, 2 * LANES];

/// No honest configuration comes near this size.
const MAX_BYTES: usize = 1 << 20;
const MAX_LAYERS: usize = 1 << 10;
const MAX_WIDTH: usize = 1 << 14;
const MAX_HIDDEN: usize = 1 << 17;
const MAX_VOCABULARY: usize = 1 << 22;
const MAX_CONTEXT: usize = 1 << 20;
/// Above the largest dense model that is published, of 405 billion.
const MAX_PARAMETERS: u64 = 1 << 39;
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
    #[error("NaN and Infinity are no numbers of JSON: replace the value in line {line}")]
    NotANumber { line: usize },
    #[error("\"model_type\" is {value}, but only {supported} is supported")]
    ModelType { value: Shown, supported: String },
    #[error(
        "the key \"{key}\" is missing: the file is not a complete configuration of model_type \"{model}\""
    )]
    Missing {
        model: &'static str,
        key: &'static str,
    },
    #[error("\"{key}\" is {value}, but only {supported} is supported for model_type \"{model}\"")]
    Unsupported {
        model: &'static str,
        key: String,
        value: Shown,
        supported: String,
    },
    #[error(
        "\"{key}\" is {value}: for model_type \"{model}\" this key is unknown, and may change the answers: remove it \
         from the file if it does not"
    )]
    Unknown {
        model: &'static str,
        key: String,
        value: Shown,
    },
    #[error("\"{key}\" is {value}, but only {supported} is supported: answers are plainly greedy")]
    Generation {
        key: String,
        value: Shown,
        supported: String,
    },
    #[error(
        "a model of {parameters} parameters is more than the {MAX_PARAMETERS} that are supported: the sizes of the \
         model_type \"{model}\" are damaged"
    )]
    Parameters {
        model: &'static str,
        parameters: u64,
    },
}

impl ConfigError {
    /// The same with other names for some keys: (name in a `config.json`, name to say).
    pub(super) fn renamed(self, names: &[(&str, String)]) -> Self {
        let rename = |key: String| match names.iter().find(|(name, _)| *name == key) {
            Some((_, other)) => other.clone(),
            None => key,
        };
        match self {
            Self::Unsupported {
                model,
                key,
                value,
                supported,
            } => {
                let replace =
                    |text: String, (name, other): &(&str, String)| text.replace(name, other);
                Self::Unsupported {
                    model,
                    key: rename(key),
                    value,
                    supported: names.iter().fold(supported, replace),
                }
            }
            other => other,
        }
    }
}

/// How many characters of a key or a value a message shows.
const SHOWN: usize = 120;

/// A value as a message shows it: the beginning of a long one.
#[derive(Debug)]
pub struct Shown(Value);

impl Shown {
    pub(super) fn new(value: &Value) -> Self {
        Self(value.clone())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(f, "{}…", &text[..end]),
            None => f.write_str(&text),
        }
    }
}

/// A model_type that is read.
struct ModelType {
    name: &'static str,
    /// Its own keys, and those that every configuration may have.
    tables: [&'static [Row]; 3],
    parse: fn(&Keys) -> Result<Config, ConfigError>,
}

const MODEL_TYPES: [ModelType; 2] = [
    ModelType {
        name: "gpt2",
        tables: [gpt2::KEYS, common::KEYS, generation::KEYS],
        parse: gpt2::parse,
    },
    ModelType {
        name: "llama",
        tables: [llama::KEYS, common::KEYS, generation::KEYS],
        parse: llama::parse,
    },
];

impl Config {
    /// Reads a Hugging Face `config.json` of model type `gpt2` or `llama`. What `transformers` 5 makes of a file is what
    /// counts: of two values under one key the last, of two names of one key that which wins there, types and defaults.
    ///
    /// # Errors
    /// [`ConfigError`], naming the key, its value and what is supported: for values that would be another function than
    /// the one that is proved, values on which `transformers` fails, and keys that are in no table and not `null`.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let map = parse_object(json)?;
        let name = map.get("model_type").unwrap_or(&Value::Null);
        let model = MODEL_TYPES.iter().find(|model| *name == *model.name);
        let Some(model) = model else {
            return Err(ConfigError::ModelType {
                value: Shown(name.clone()),
                supported: MODEL_TYPES
                    .map(|model| format!("{:?}", model.name))
                    .join(" or "),
            });
        };
        let keys = Keys { model, map };
        keys.check()?;
        let config = (model.parse)(&keys)?;
        match config.parameters() {
            parameters if parameters > MAX_PARAMETERS => Err(ConfigError::Parameters {
                model: model.name,
                parameters,
            }),
            _ => Ok(config),
        }
    }

    /// Takes the tokens that end a text from a `generation_config.json`, which replaces what the configuration says.
    ///
    /// # Errors
    /// [`ConfigError`], also for a key that would change a greedy answer.
    pub fn read_generation(&mut self, json: &[u8]) -> Result<(), ConfigError> {
        self.end_of_text = ends::parse(json, self.vocabulary)?;
        Ok(())
    }

    /// The class of tokenizers that a `config.json` names, or `null`.
    ///
    /// # Errors
    /// Where it is no JSON.
    pub(super) fn tokenizer_class(json: &[u8]) -> Result<Value, ConfigError> {
        let class = parse_object(json)?.remove("tokenizer_class");
        Ok(class.unwrap_or_default())
    }

    /// The number of weights, or a few more.
    fn parameters(&self) -> u64 {
        let [layers, width, hidden] = [self.layers, self.width, self.hidden].map(|n| n as u64);
        let [rows, positions] = [self.vocabulary, self.context].map(|n| n as u64);
        layers * width * (4 * width + 3 * hidden) + width * (2 * rows + positions)
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
        match &self.family {
            Family::Gpt2 => gpt2::to_json(self),
            Family::Llama { frequencies } => llama::to_json(self, frequencies),
        }
    }
}

fn parse_object(json: &[u8]) -> Result<Map<String, Value>, ConfigError> {
    if json.len() > MAX_BYTES {
        return Err(ConfigError::TooLarge(json.len()));
    }
    serde_json::from_slice(json).map_err(|error| python_number(json, error))
}

/// The error of a file that is JSON to Python, which writes what is no number.
fn python_number(json: &[u8], error: serde_json::Error) -> ConfigError {
    let line = json
        .split(|byte| *byte == b'\n')
        .nth(error.line().saturating_sub(1));
    let rest = line.and_then(|line| line.get(error.column().saturating_sub(2)..));
    let rest = String::from_utf8_lossy(rest.unwrap_or_default());
    let text = rest
        .get(..)
        .unwrap_or_default()
        .trim_start_matches([' ', ':', '-', '[', ',']);
    if text.starts_with("NaN") || text.starts_with("Infinity") {
        let line = error.line();
        return ConfigError::NotANumber { line };
    }
    ConfigError::Json(error)
}

/// The keys of a configuration.
struct Keys {
    model: &'static ModelType,
    map: Map<String, Value>,
}

impl Keys {
    fn row(&self, key: &str) -> Option<&'static Row> {
        let mut rows = self.model.tables.into_iter().flatten();
        rows.find(|row| row.key == key)
    }

    /// Refuses keys that are in no table, and values that their rows do not accept.
    fn check(&self) -> Result<(), ConfigError> {
        for (key, value) in &self.map {
            let row = self.row(key).map(|row| match row.effect {
                Effect::Alias(of) => self.row(of).expect("a row of the same table"),
                _ => row,
            });
            match row.map(|row| row.check(value)) {
                Some(Err(supported)) => return Err(self.refusal(key, value, supported)),
                None if !value.is_null() => {
                    return Err(ConfigError::Unknown {
                        model: self.model.name,
                        key: key.chars().take(SHOWN).collect(),
                        value: Shown(value.clone()),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The name under which the file states what `key` is: another name wins.
    fn name<'a>(&self, key: &'a str) -> &'a str {
        let mut rows = self.model.tables.into_iter().flatten();
        let names = |row: &&Row| matches!(row.effect, Effect::Alias(of) if of == key);
        match rows.find(|row| names(row) && self.map.contains_key(row.key)) {
            Some(row) => row.key,
            None => key,
        }
    }

    /// The value of a key if the file has it, be it `null`.
    fn stated(&self, key: &str) -> Option<&Value> {
        self.map.get(self.name(key))
    }

    /// The value of a key for which `null` means the same as its absence, as [`Keys::check`] has seen.
    fn get(&self, key: &str) -> Option<&Value> {
        self.stated(key).filter(|value| !value.is_null())
    }

    fn required(&self, key: &'static str) -> Result<&Value, ConfigError> {
        let model = self.model.name;
        self.get(key).ok_or(ConfigError::Missing { model, key })
    }

    fn refusal(&self, key: &str, value: &Value, supported: String) -> ConfigError {
        ConfigError::Unsupported {
            model: self.model.name,
            key: key.chars().take(SHOWN).collect(),
            value: Shown(value.clone()),
            supported,
        }
    }

    fn refuse<T>(&self, key: &'static str, supported: String) -> Result<T, ConfigError> {
        let value = self.stated(key).unwrap_or(&Value::Null);
        Err(self.refusal(self.name(key), value, supported))
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

    /// The value of a key, or what its absence means.
    fn value(&self, key: &str) -> Value {
        let default = || self.row(key).expect("a row for what is read").default();
        self.get(key).cloned().unwrap_or_else(default)
    }

    fn epsilon(&self, key: &'static str) -> Result<f64, ConfigError> {
        match self.value(key).as_f64() {
            Some(epsilon) if epsilon > 0.0 && epsilon <= MAX_EPSILON => Ok(epsilon),
            _ => self.refuse(key, format!("a positive number up to {MAX_EPSILON}")),
        }
    }

    /// A flag, of which [`Keys::check`] has seen that it is one.
    fn flag(&self, key: &str) -> bool {
        self.value(key) == true
    }

    /// Absent it is transformers' default for the architecture; `null` is no token.
    fn end_of_text(&self, vocabulary: usize) -> Result<Vec<u32>, ConfigError> {
        let default = || {
            self.row(ends::ENDS)
                .expect("a row for what is read")
                .default()
        };
        let value = self.stated(ends::ENDS).cloned().unwrap_or_else(default);
        let ends = ends::ends(&value, vocabulary);
        ends.map_err(|supported| self.refusal(ends::ENDS, &value, supported))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        let by_alias = parse(&with("max_position_embeddings", json!(512))).unwrap();
        assert_eq!(by_alias.context, 512);
    }

    /// Each line is a configuration whose function or size differs from what would be proved; the
    /// message must name the key, what it is and what is supported.
    #[test]
    fn unsupported_and_absurd_values_are_refused_by_name() {
        let cases = [
            ("model_type", json!("bert"), "gpt2"),
            ("activation_function", json!("relu"), "gelu_new"),
            ("activation_function", json!(7), "a text"),
            ("scale_attn_weights", json!(false), "true"),
            ("scale_attn_by_inverse_layer_idx", json!(true), "false"),
            ("scale_attn_weights", json!(null), "true"),
            ("tie_word_embeddings", json!(null), "true or false"),
            ("n_positions", json!(null), "a whole number"),
            ("hidden_size", json!(null), "a whole number"),
            ("hidden_size", json!(800), "multiple of 64"),
            ("num_attention_heads", json!(6), "head width of 64"),
            (
                "quantization_config",
                json!({"quant_method": "gptq"}),
                "before it was quantized",
            ),
            ("repetition_penalty", json!(1.2), "greedy choice"),
            ("rope_theta", json!(1e4), "unknown"),
            ("add_cross_attention", json!(true), "false"),
            ("n_embd", json!(800), "multiple of 64"),
            ("n_embd", json!(0), "from 1 to"),
            ("n_embd", json!(1u64 << 40), "from 1 to"),
            ("n_embd", json!("768"), "a whole number"),
            ("n_head", json!(6), "head width of 64"),
            ("n_head", json!(u64::MAX), "from 1 to"),
            ("n_inner", json!(100), "multiple of 64"),
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
}
