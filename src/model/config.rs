//! A checkpoint's `config.json`: the description of a decoder, and the refusal of what is not supported.
//!
//! A model_type is a file of this folder: the table of its keys, the table of its tensors, and how the one becomes a
//! [`Config`]. Nothing else knows of model types.

mod common;
mod decoder;
mod ends;
mod error;
mod gemma3_text;
mod generation;
mod gpt2;
mod gpt_neox;
mod granite;
mod keys;
mod llama;
mod mistral;
mod olmo2;
mod opt;
mod phi;
mod phi3;
mod qwen2;
mod qwen3;
mod rope;
mod rows;
mod smollm3;
mod starcoder2;
pub(super) mod table;
mod tensors;
mod types;

#[cfg(test)]
mod document_tests;
#[cfg(test)]
mod llama_tests;
#[cfg(test)]
pub(super) mod models_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) mod walk_tests;

use serde_json::{Map, Value};

use crate::ops::LANES;
use crate::quant::{
    Activation, Architecture, Attending, Biases, Factors, Frequencies, HeadNorm, NormKind, Order,
};

pub use error::ConfigError;
pub(super) use error::Shown;
use keys::Keys;
pub(super) use tensors::{BufferKind, HEAD};
pub use tensors::{Part, Registered, Tensors};
use types::MODEL_TYPES;
#[cfg(test)]
pub(super) use types::find as model_type;

/// The tensors of a model_type.
///
/// Panics if there is no such model_type.
pub(super) fn tensors(model_type: &str) -> &'static Tensors {
    let mut tensors = MODEL_TYPES.iter().map(|model| model.tensors);
    let found = tensors.find(|tensors| tensors.model_type == model_type);
    found.expect("a model_type that is read")
}

/// No honest configuration comes near this size.
const MAX_BYTES: usize = 1 << 20;
const MAX_LAYERS: usize = 1 << 10;
const MAX_WIDTH: usize = 1 << 14;
const MAX_HEADS: usize = 1 << 10;
const MAX_HEAD_WIDTH: usize = 4 * LANES;
const MAX_HIDDEN: usize = 1 << 17;
const MAX_VOCABULARY: usize = 1 << 22;
const MAX_CONTEXT: usize = 1 << 20;
/// Above the largest dense model that is published, of 405 billion.
const MAX_PARAMETERS: u64 = 1 << 39;
/// ε beyond this would drown the variance: a typing error, or an attack.
const MAX_EPSILON: f64 = 0.1;

/// How the first lanes of queries and keys are rotated.
#[derive(Clone, Debug, PartialEq)]
pub struct Rotation {
    /// How far each pair of lanes turns from one position to the next.
    pub frequencies: Frequencies,
    /// What rotated lanes are multiplied by, of queries and of keys.
    pub factor: f64,
}

/// How blocks of one kind attend.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kind {
    pub rotation: Option<Rotation>,
    /// How many tokens are seen, the token itself among them; all before it where there is none.
    pub window: Option<u32>,
}

/// What a decoder multiplies by, but for rotations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Multipliers {
    /// Of token embeddings.
    pub embedding: f64,
    /// Of scores.
    pub score: f64,
    /// Of what attention and feed-forward part add to the residual stream.
    pub branch: f64,
    pub logit: f64,
}

/// The description of a decoder: its shape, the constants of its function, and its checkpoints' tensors.
///
/// [`Config::parse`] guarantees that every size is positive and bounded, heads at most 256 wide, `heads` a multiple of
/// `kv_heads`, `rotated` even and at most the width of a head, `0 < epsilon ≤ 0.1`, tokens of the vocabulary in
/// `end_of_text`, and for every block one of the kinds.
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
    pub norm: NormKind,
    /// Whether norms of the residual stream have biases.
    pub norm_biases: bool,
    pub order: Order,
    pub head_norm: Option<HeadNorm>,
    /// Where positions are learned: how many rows of their table come before that of position 0.
    pub positions: Option<usize>,
    /// How many lanes of a head are rotated, from the first.
    pub rotated: usize,
    /// How blocks attend, each kind once.
    pub kinds: Vec<Kind>,
    /// Which of the kinds each block is.
    pub kind_of: Vec<u8>,
    /// The biases that checkpoints hold, of maps and of the head.
    pub biases: Biases,
    pub activation: Activation,
    /// Whether the activation's value is multiplied by a second projection.
    pub gated: bool,
    pub multipliers: Multipliers,
    /// ε of the norms.
    pub epsilon: f64,
    /// Whether the head's matrix is the token embedding. A [`Checkpoint`](super::Checkpoint)
    /// sets it to what its files hold.
    pub tied: bool,
    /// The tokens that end a text, each once: those of the configuration, or of a `generation_config.json` beside it.
    pub end_of_text: Vec<u32>,
    pub tensors: &'static Tensors,
}

impl Config {
    /// Reads a Hugging Face `config.json`. What `transformers` 5 makes of a file is what
    /// counts: of two values under one key the last, of two names of one key that which wins there, types and defaults.
    ///
    /// # Errors
    /// [`ConfigError`], naming the key, its value and what is supported: for values that would be another function than
    /// the one that is proved, values on which `transformers` fails, and keys that are in no table and not `null`.
    pub fn parse(json: &[u8]) -> Result<Self, ConfigError> {
        let map = parse_object(json)?;
        let model = types::find(map.get("model_type").unwrap_or(&Value::Null))?;
        let keys = Keys { model, map };
        keys.check()?;
        let config = (model.parse)(&keys)?;
        match config.parameters() {
            parameters if parameters > MAX_PARAMETERS => Err(ConfigError::Parameters {
                model: model.tensors.model_type,
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
        let heads = self.query_width().max(self.width) as u64;
        layers * width * (4 * heads + 3 * hidden) + width * (2 * rows + positions)
    }

    /// The width of all queries.
    pub fn query_width(&self) -> usize {
        self.heads * self.head_width
    }

    /// The width of all keys, and of all values.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_width
    }

    /// How a block attends.
    pub fn kind(&self, block: usize) -> &Kind {
        &self.kinds[usize::from(self.kind_of[block])]
    }

    /// What is multiplied by, as quantization folds it into weights.
    pub fn factors(&self) -> Factors {
        let of = |kind: &Kind| {
            kind.rotation
                .as_ref()
                .map_or(1.0, |rotation| rotation.factor)
        };
        Factors {
            embedding: self.multipliers.embedding,
            score: self.multipliers.score,
            branch: self.multipliers.branch,
            logit: self.multipliers.logit,
            rotated: self.rotated,
            rotation: self.kinds.iter().map(of).collect(),
        }
    }

    /// The same as the manifest states it.
    pub fn architecture(&self) -> Architecture {
        let mut architecture = Architecture {
            layers: self.layers,
            width: self.width,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_width: self.head_width,
            hidden: self.hidden,
            vocabulary: self.vocabulary,
            context: self.context,
            tied: self.tied,
            norm: self.norm,
            order: self.order,
            head_norm: self.head_norm,
            learned_positions: self.positions.is_some(),
            kinds: Vec::new(),
            kind_of: self.kind_of.clone(),
            biases: self.folded_biases(),
            gated: self.gated,
            activation: self.activation,
            epsilon_bits: self.epsilon.to_bits(),
            end_of_text: self.end_of_text.clone(),
        };
        let pairs = architecture.head_lanes() / 2;
        let attending = |kind: &Kind| Attending {
            turns: self.turns(kind, pairs),
            window: kind.window,
        };
        architecture.kinds = self.kinds.iter().map(attending).collect();
        architecture
    }

    /// The turns of a kind's pairs; those beyond the rotated ones stand still.
    fn turns(&self, kind: &Kind, pairs: usize) -> Vec<u64> {
        let Some(rotation) = &kind.rotation else {
            return Vec::new();
        };
        let mut turns = rotation.frequencies.turns(self.rotated);
        turns.resize(pairs, 0);
        turns
    }

    /// The maps that have biases once those of the norms before them are folded into them.
    fn folded_biases(&self) -> Biases {
        let (biases, [before_attention, before_second]) = (self.biases, self.order.before());
        let folded = self.norm_biases && before_attention;
        let second = self.norm_biases && (before_attention || before_second);
        Biases {
            query: biases.query || folded,
            key: biases.key || folded,
            value: biases.value || folded,
            gate: biases.gate || second && self.gated,
            up: biases.up || second,
            final_norm: self.norm_biases,
            ..biases
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
