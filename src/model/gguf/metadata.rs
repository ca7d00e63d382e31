//! A GGUF file's metadata, and what of it a `config.json` would say.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::header::{GgufError, Header};
use super::keys::{GPT2, LLAMA, SHARED};
use crate::model::config::table::Row;

/// A value of the metadata. An `f32` is held as the number that its shortest decimal means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Integer(i64),
    Float(f64),
    Flag(bool),
    Text(String),
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Texts(Vec<String>),
}

/// Values by their keys.
pub(super) struct Metadata(BTreeMap<String, Value>);

impl Metadata {
    pub fn new(values: BTreeMap<String, Value>) -> Self {
        Self(values)
    }

    /// The refusal of what is under `key`.
    pub fn unsupported(&self, key: &str, supported: &str) -> GgufError {
        let found = match self.0.get(key) {
            Some(Value::Integer(value)) => value.to_string(),
            Some(Value::Float(value)) => value.to_string(),
            Some(Value::Flag(value)) => value.to_string(),
            Some(Value::Text(value)) => format!("{:?}", value.chars().take(64).collect::<String>()),
            Some(_) => "a list".to_string(),
            None => "absent".to_string(),
        };
        GgufError::Unsupported {
            what: format!("metadata {key:?}"),
            found,
            supported: supported.to_string(),
        }
    }

    /// What `pick` makes of the value under `key`, if there is one.
    fn get<'a, T>(
        &'a self,
        key: &str,
        kind: &str,
        pick: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        match self.0.get(key) {
            None => Ok(None),
            Some(value) => match pick(value) {
                Some(value) => Ok(Some(value)),
                None => Err(self.unsupported(key, kind)),
            },
        }
    }

    pub fn integer(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.get(key, "a whole number", |value| match value {
            Value::Integer(value) => u64::try_from(*value).ok(),
            _ => None,
        })
    }

    pub fn float(&self, key: &str) -> Result<Option<f64>, GgufError> {
        self.get(key, "a number", |value| match value {
            Value::Float(value) if value.is_finite() => Some(*value),
            _ => None,
        })
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.get(key, "true or false", |value| match value {
            Value::Flag(value) => Some(*value),
            _ => None,
        })
    }

    pub fn text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.get(key, "a text", |value| match value {
            Value::Text(value) => Some(value.as_str()),
            _ => None,
        })
    }

    // The type of an empty list is of no consequence.
    pub fn texts(&self, key: &str) -> Result<Option<&[String]>, GgufError> {
        self.get(key, "a list of texts", |value| match value {
            Value::Texts(values) => Some(&values[..]),
            Value::Integers(none) if none.is_empty() => Some(&[]),
            _ => None,
        })
    }

    pub fn integers(&self, key: &str) -> Result<Option<&[i64]>, GgufError> {
        self.get(key, "a list of whole numbers", |value| match value {
            Value::Integers(values) => Some(&values[..]),
            _ => None,
        })
    }

    pub fn floats(&self, key: &str) -> Result<Option<&[f64]>, GgufError> {
        self.get(key, "a list of numbers", |value| match value {
            Value::Floats(values) => Some(&values[..]),
            _ => None,
        })
    }

    pub fn required<T>(value: Option<T>, key: &str) -> Result<T, GgufError> {
        value.ok_or_else(|| GgufError::Missing(key.to_string()))
    }

    /// A number that every file states.
    fn size(&self, key: &str) -> Result<u64, GgufError> {
        Self::required(self.integer(key)?, key)
    }

    /// Refuses another width of a head than `head`, which `said` gives.
    fn expect_width(&self, key: &str, head: Option<u64>, said: &str) -> Result<(), GgufError> {
        match self.integer(key)? {
            Some(width) if Some(width) != head => {
                Err(self.unsupported(key, &format!("the width of a head, by {said},")))
            }
            _ => Ok(()),
        }
    }

    /// The keys that say how wide a Llama's head is.
    fn head_width(&self) -> &'static str {
        const OWN: &str = "llama.attention.key_length";
        match self.has(OWN) {
            true => OWN,
            false => "llama.embedding_length / llama.attention.head_count",
        }
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub fn get_any(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }

    /// Refuses a value other than `only`, which is what its absence means.
    fn expect(&self, key: &str, only: &Value, supported: &str) -> Result<(), GgufError> {
        match self.0.get(key) {
            Some(found) if found != only => Err(self.unsupported(key, supported)),
            _ => Ok(()),
        }
    }

    /// Refuses keys of the architecture that are in none of the tables, and values that are not accepted.
    fn check(&self, prefix: &str, tables: [&[Row]; 2]) -> Result<(), GgufError> {
        for (key, value) in &self.0 {
            let Some(name) = key.strip_prefix(prefix) else {
                continue;
            };
            let row = tables.into_iter().flatten().find(|row| row.key == name);
            let checked = match row {
                Some(row) => row.check(&value.json()),
                None => Err("a file without it: the key is unknown".to_string()),
            };
            checked.map_err(|supported| self.unsupported(key, &supported))?;
        }
        Ok(())
    }
}

impl Value {
    /// The same in JSON; numbers that are none there become `null`.
    fn json(&self) -> Json {
        match self {
            Self::Integer(value) => (*value).into(),
            Self::Float(value) => (*value).into(),
            Self::Flag(value) => (*value).into(),
            Self::Text(value) => value.as_str().into(),
            Self::Integers(_) | Self::Floats(_) | Self::Texts(_) => json!([]),
        }
    }
}

/// By what each pair's frequency is divided: Llama 3.1's scaling is a tensor here and a formula in a `config.json`.
pub const FACTORS: &str = "rope_freqs.weight";

/// The models that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Architecture {
    Gpt2,
    Llama { heads: u64, key_value_heads: u64 },
}

impl Architecture {
    pub fn of(metadata: &Metadata) -> Result<Self, GgufError> {
        const KEY: &str = "general.architecture";
        // The blocks of quantized tensors were others before.
        let two = Value::Integer(2);
        metadata.expect("general.quantization_version", &two, "2")?;
        let model = Value::Text("model".to_string());
        metadata.expect("general.type", &model, "a model")?;
        match Metadata::required(metadata.text(KEY)?, KEY)? {
            "gpt2" => Ok(Self::Gpt2),
            "llama" => {
                let key = "llama.attention.head_count";
                let heads = Metadata::required(metadata.integer(key)?, key)?;
                let shared = metadata.integer("llama.attention.head_count_kv")?;
                Ok(Self::Llama {
                    heads,
                    key_value_heads: shared.unwrap_or(heads),
                })
            }
            _ => Err(metadata.unsupported(KEY, "\"gpt2\" or \"llama\"")),
        }
    }
}

/// The `config.json` of a Hugging Face checkpoint of the same model. Values are taken over as they
/// are: [`Config::parse`](super::super::Config::parse) says what is supported. What a file has to say is
/// what llama.cpp needs.
pub(super) fn config(header: &Header, architecture: Architecture) -> Result<Json, GgufError> {
    match architecture {
        Architecture::Gpt2 => gpt2(header),
        Architecture::Llama {
            heads,
            key_value_heads,
        } => llama(header, heads, key_value_heads),
    }
}

/// What the keys of [`config`] are called in the metadata.
pub(super) fn names(
    metadata: &Metadata,
    architecture: Architecture,
) -> Vec<(&'static str, String)> {
    const GPT2: [(&str, &str); 7] = [
        ("layer_norm_epsilon", "attention.layer_norm_epsilon"),
        ("n_positions", "context_length"),
        ("vocab_size", "vocab_size"),
        ("n_inner", "feed_forward_length"),
        ("n_layer", "block_count"),
        ("n_head", "attention.head_count"),
        ("n_embd", "embedding_length"),
    ];
    const LLAMA: [(&str, &str); 9] = [
        ("max_position_embeddings", "context_length"),
        ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
        ("vocab_size", "vocab_size"),
        ("intermediate_size", "feed_forward_length"),
        ("num_hidden_layers", "block_count"),
        ("num_key_value_heads", "attention.head_count_kv"),
        ("num_attention_heads", "attention.head_count"),
        ("hidden_size", "embedding_length"),
        ("rope_theta", "rope.freq_base"),
    ];
    let (prefix, names) = match architecture {
        Architecture::Gpt2 => ("gpt2", &GPT2[..]),
        Architecture::Llama { .. } => ("llama", &LLAMA[..]),
    };
    let full = |name: &str| format!("{prefix}.{name}");
    let names = names.iter().map(|(name, key)| (*name, full(key)));
    let others = [
        ("head_dim", metadata.head_width().to_string()),
        ("rope_scaling", full("rope.scaling.factor")),
        ("eos_token_id", "tokenizer.ggml.eos_token_id".to_string()),
    ];
    names.chain(others).collect()
}

/// The tokens that end a text: of the text itself, of a turn, of a message to a tool.
fn ends(metadata: &Metadata) -> Result<Vec<u64>, GgufError> {
    const TEXT: &str = "tokenizer.ggml.eos_token_id";
    let mut ends = vec![Metadata::required(metadata.integer(TEXT)?, TEXT)?];
    for key in ["tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
        ends.extend(metadata.integer(key)?);
    }
    Ok(ends)
}

fn gpt2(header: &Header) -> Result<Json, GgufError> {
    let metadata = &header.metadata;
    metadata.check("gpt2.", [GPT2, SHARED])?;
    let heads = metadata.size("gpt2.attention.head_count")?;
    let width = metadata.size("gpt2.embedding_length")?;
    let shared = "gpt2.attention.head_count_kv";
    if metadata.integer(shared)?.is_some_and(|n| n != heads) {
        return Err(metadata.unsupported(shared, "as many as there are heads"));
    }
    let head = width.checked_div(heads);
    let said = "gpt2.embedding_length / gpt2.attention.head_count";
    metadata.expect_width("gpt2.attention.key_length", head, said)?;
    metadata.expect_width("gpt2.attention.value_length", head, said)?;
    let epsilon = "gpt2.attention.layer_norm_epsilon";
    Ok(json!({
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "n_embd": width,
        "n_layer": metadata.size("gpt2.block_count")?,
        "n_head": heads,
        "n_inner": metadata.size("gpt2.feed_forward_length")?,
        "n_positions": metadata.size("gpt2.context_length")?,
        "layer_norm_epsilon": Metadata::required(metadata.float(epsilon)?, epsilon)?,
        "vocab_size": header.vocabulary("gpt2.vocab_size")?,
        "tie_word_embeddings": header.is_tied(),
        "bos_token_id": metadata.integer("tokenizer.ggml.bos_token_id")?,
        "eos_token_id": ends(metadata)?,
    }))
}

fn llama(header: &Header, heads: u64, key_value_heads: u64) -> Result<Json, GgufError> {
    let metadata = &header.metadata;
    metadata.check("llama.", [LLAMA, SHARED])?;
    let width = metadata.size("llama.embedding_length")?;
    let head = match metadata.integer("llama.attention.key_length")? {
        None => width.checked_div(heads),
        given => given,
    };
    let said = metadata.head_width();
    metadata.expect_width("llama.attention.value_length", head, said)?;
    metadata.expect_width("llama.rope.dimension_count", head, said)?;
    let epsilon = "llama.attention.layer_norm_rms_epsilon";
    Ok(json!({
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": width,
        "intermediate_size": metadata.size("llama.feed_forward_length")?,
        "num_hidden_layers": metadata.size("llama.block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
        "head_dim": head,
        "max_position_embeddings": metadata.size("llama.context_length")?,
        "rms_norm_eps": Metadata::required(metadata.float(epsilon)?, epsilon)?,
        "rope_theta": metadata.float("llama.rope.freq_base")?.unwrap_or(10_000.0),
        "rope_scaling": rope_scaling(header)?,
        "vocab_size": header.vocabulary("llama.vocab_size")?,
        "tie_word_embeddings": header.is_tied(),
        "attention_bias": false,
        "mlp_bias": false,
        "bos_token_id": metadata.integer("tokenizer.ggml.bos_token_id")?,
        "eos_token_id": ends(metadata)?,
    }))
}

/// How rotary frequencies are scaled, `null` if they are not or by the factors of a tensor: as llama.cpp reads it,
/// linearly unless the type says something else, and not at all by a factor of 0. Llama 3.1's scaling is a tensor of
/// factors here and a formula there.
fn rope_scaling(header: &Header) -> Result<Json, GgufError> {
    const KEY: &str = "llama.rope.scaling.type";
    const FACTOR: &str = "llama.rope.scaling.factor";
    const OLD: &str = "llama.rope.scale_linear";
    let metadata = &header.metadata;
    let key = if metadata.has(FACTOR) { FACTOR } else { OLD };
    let factor = metadata.float(key)?.filter(|factor| *factor != 0.0);
    if header.has(FACTORS) {
        // Both would scale.
        return match (metadata.text(KEY)?, factor) {
            (Some("none"), _) | (None, None) => Ok(Json::Null),
            (Some(_), _) => Err(metadata.unsupported(KEY, "\"none\" beside rope_freqs.weight")),
            (None, _) => Err(metadata.unsupported(key, "0 beside rope_freqs.weight")),
        };
    }
    match (metadata.text(KEY)?, factor) {
        (Some("none"), _) | (None | Some("linear"), None) => Ok(Json::Null),
        (None | Some("linear"), Some(factor)) if factor >= 1.0 => {
            Ok(json!({"rope_type": "linear", "factor": factor}))
        }
        (None | Some("linear"), _) => Err(metadata.unsupported(key, "0 or a factor from 1 on")),
        (Some(_), _) => Err(metadata.unsupported(KEY, "\"none\" or \"linear\"")),
    }
}

impl Header {
    pub fn has(&self, tensor: &str) -> bool {
        self.tensors.iter().any(|info| info.name == tensor)
    }

    /// A head of its own is `output.weight`.
    fn is_tied(&self) -> bool {
        !self.has("output.weight")
    }

    /// The number of embeddings, which is the number of rows where the metadata does not say it.
    fn vocabulary(&self, key: &str) -> Result<u64, GgufError> {
        let embedding = self.tensors.iter().find(|t| t.name == "token_embd.weight");
        let rows = embedding.and_then(|t| t.shape.first()).map(|n| *n as u64);
        Metadata::required(self.metadata.integer(key)?.or(rows), key)
    }
}
