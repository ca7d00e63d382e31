//! A GGUF file's metadata, and what of it a `config.json` would say.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::header::{GgufError, Header};

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

    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Refuses a value other than `only`, which is what its absence means.
    fn expect(&self, key: &str, only: &Value, supported: &str) -> Result<(), GgufError> {
        match self.0.get(key) {
            Some(found) if found != only => Err(self.unsupported(key, supported)),
            _ => Ok(()),
        }
    }

    /// Refuses keys of the architecture that none of `known` is: they may change the function.
    fn only(&self, prefix: &str, known: &[&str]) -> Result<(), GgufError> {
        let keys = self.0.keys().filter_map(|key| key.strip_prefix(prefix));
        match { keys }.find(|key| !known.contains(key)) {
            Some(key) => Err(self.unsupported(&format!("{prefix}{key}"), "a file without it")),
            None => Ok(()),
        }
    }
}

/// The models that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Architecture {
    Gpt2,
    Llama { heads: u64, key_value_heads: u64 },
}

impl Architecture {
    pub fn of(metadata: &Metadata) -> Result<Self, GgufError> {
        const KEY: &str = "general.architecture";
        let one = Value::Integer(1);
        metadata.expect("split.count", &one, "a model in one file")?;
        // The blocks of quantized tensors were others before.
        let two = Value::Integer(2);
        metadata.expect("general.quantization_version", &two, "2")?;
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
/// are: [`Config::parse`](super::super::Config::parse) says what is supported. A key that is absent
/// becomes `null`, which counts as absent there.
pub(super) fn config(header: &Header, architecture: Architecture) -> Result<Json, GgufError> {
    match architecture {
        Architecture::Gpt2 => gpt2(header),
        Architecture::Llama {
            heads,
            key_value_heads,
        } => llama(header, heads, key_value_heads),
    }
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
    const KNOWN: [&str; 8] = [
        "attention.head_count",
        "attention.head_count_kv",
        "attention.layer_norm_epsilon",
        "block_count",
        "context_length",
        "embedding_length",
        "feed_forward_length",
        "vocab_size",
    ];
    let metadata = &header.metadata;
    metadata.only("gpt2.", &KNOWN)?;
    let heads = metadata.integer("gpt2.attention.head_count")?;
    let shared = "gpt2.attention.head_count_kv";
    if metadata.integer(shared)?.is_some_and(|n| Some(n) != heads) {
        return Err(metadata.unsupported(shared, "as many as there are heads"));
    }
    Ok(json!({
        "model_type": "gpt2",
        "activation_function": "gelu_new",
        "n_embd": metadata.integer("gpt2.embedding_length")?,
        "n_layer": metadata.integer("gpt2.block_count")?,
        "n_head": heads,
        "n_inner": metadata.integer("gpt2.feed_forward_length")?,
        "n_positions": metadata.integer("gpt2.context_length")?,
        "layer_norm_epsilon": metadata.float("gpt2.attention.layer_norm_epsilon")?,
        "vocab_size": header.vocabulary("gpt2.vocab_size")?,
        "tie_word_embeddings": header.is_tied(),
        "bos_token_id": metadata.integer("tokenizer.ggml.bos_token_id")?,
        "eos_token_id": ends(metadata)?,
    }))
}

fn llama(header: &Header, heads: u64, key_value_heads: u64) -> Result<Json, GgufError> {
    const KNOWN: [&str; 19] = [
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.layer_norm_rms_epsilon",
        "attention.value_length",
        "block_count",
        "context_length",
        "embedding_length",
        "expert_count",
        "expert_used_count",
        "feed_forward_length",
        "rope.dimension_count",
        "rope.freq_base",
        "rope.scaling.factor",
        "rope.scaling.finetuned",
        "rope.scaling.original_context_length",
        "rope.scaling.type",
        "tensor_data_layout",
        "vocab_size",
    ];
    let metadata = &header.metadata;
    metadata.only("llama.", &KNOWN)?;
    for key in ["llama.expert_count", "llama.expert_used_count"] {
        metadata.expect(key, &Value::Integer(0), "a model without experts")?;
    }
    // The one order of rotary pairs that there is in this architecture, under its oldest name.
    let layout = Value::Text("Meta AI original pth".to_string());
    metadata.expect("llama.tensor_data_layout", &layout, "the usual one")?;
    let width = metadata.integer("llama.embedding_length")?;
    let head = match metadata.integer("llama.attention.key_length")? {
        None => width.and_then(|width| width.checked_div(heads)),
        given => given,
    };
    for key in ["llama.attention.value_length", "llama.rope.dimension_count"] {
        if metadata
            .integer(key)?
            .is_some_and(|found| Some(found) != head)
        {
            return Err(metadata.unsupported(key, "the width of a head"));
        }
    }
    Ok(json!({
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": width,
        "intermediate_size": metadata.integer("llama.feed_forward_length")?,
        "num_hidden_layers": metadata.integer("llama.block_count")?,
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
        "head_dim": head,
        "max_position_embeddings": metadata.integer("llama.context_length")?,
        "rms_norm_eps": metadata.float("llama.attention.layer_norm_rms_epsilon")?,
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

/// How rotary frequencies are scaled, `null` if they are not. Llama 3.1's scaling is a tensor of
/// factors here and a formula there.
fn rope_scaling(header: &Header) -> Result<Json, GgufError> {
    const KEY: &str = "llama.rope.scaling.type";
    let metadata = &header.metadata;
    if header.has("rope_freqs.weight") {
        return Err(GgufError::Unsupported {
            what: "tensor \"rope_freqs.weight\" (scaled rotary frequencies)".to_string(),
            found: "present".to_string(),
            supported: "a model without it".to_string(),
        });
    }
    let factor = metadata.float("llama.rope.scaling.factor")?;
    let original = metadata.integer("llama.rope.scaling.original_context_length")?;
    match metadata.text(KEY)? {
        None | Some("none") => Ok(Json::Null),
        Some("linear") => Ok(json!({"rope_type": "linear", "factor": factor})),
        Some("yarn") => Ok(json!({
            "rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original,
        })),
        Some(_) => Err(metadata.unsupported(KEY, "\"none\", \"linear\" or \"yarn\"")),
    }
}

impl Header {
    fn has(&self, tensor: &str) -> bool {
        self.tensors.iter().any(|info| info.name == tensor)
    }

    /// A head of its own is `output.weight`.
    fn is_tied(&self) -> bool {
        !self.has("output.weight")
    }

    /// The number of embeddings, which is the number of rows where the metadata does not say it.
    fn vocabulary(&self, key: &str) -> Result<Option<u64>, GgufError> {
        let embedding = self.tensors.iter().find(|t| t.name == "token_embd.weight");
        let rows = embedding.and_then(|t| t.shape.first()).map(|n| *n as u64);
        Ok(self.metadata.integer(key)?.or(rows))
    }
}
