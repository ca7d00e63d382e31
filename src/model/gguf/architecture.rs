//! The architectures that are read, by the names that llama.cpp has for them: each is the Hugging Face checkpoint that
//! its files are made of.
//!
//! Sources: llama.cpp's converter (`conversion/`) for what it writes of a checkpoint, its `src/models/` for what it makes
//! of a file, and `gguf-py/gguf/constants.py` for names.

use serde_json::{Map, Value as Json};

use super::config::{self, Stated};
use super::header::GgufError;
use super::keys::{self, ROTATIONS, SHARED};
use super::metadata::{Metadata, Value};
use crate::model::config::table::Row;
use crate::model::config::{Tensors, tensors};

/// `general.architecture`, and the model_type of the checkpoints that such files are made of.
#[derive(Debug)]
pub(in crate::model) struct Architecture {
    pub name: &'static str,
    pub model_type: &'static str,
    /// Its own keys, and those of several, over which they win.
    pub tables: [&'static [Row]; 3],
    /// What keys of the `config.json` say what keys of the metadata do, value for value.
    pub(super) names: [&'static [(&'static str, &'static str)]; 2],
    /// What the metadata has no key for: llama.cpp knows nothing else. Keys of the `config.json` with values as JSON.
    pub(super) constants: &'static [(&'static str, &'static str)],
    /// What else the `config.json` says.
    pub(super) more: fn(&Stated, &mut Map<String, Json>) -> Result<(), GgufError>,
    /// Whether rows of queries and keys have the two numbers of a rotary pair beside each other.
    pub paired: bool,
    /// Tensors that hold by what each pair's frequency is divided. The first counts.
    pub factors: &'static [&'static str],
}

/// By what each pair's frequency is divided: Llama 3.1's scaling is a tensor here and a formula in a `config.json`.
pub(super) const FACTORS: &str = "rope_freqs.weight";
/// The same of contexts up to the original one, and of longer ones.
pub(super) const SHORT: &str = "rope_factors_short.weight";
const LONG: &str = "rope_factors_long.weight";

type Names = &'static [(&'static str, &'static str)];

const GPT2_SIZES: Names = &[
    ("n_positions", "context_length"),
    ("n_inner", "feed_forward_length"),
    ("n_layer", "block_count"),
    ("n_head", "attention.head_count"),
    ("n_embd", "embedding_length"),
];
const SIZES: Names = &[
    ("max_position_embeddings", "context_length"),
    ("intermediate_size", "feed_forward_length"),
    ("num_hidden_layers", "block_count"),
    ("num_attention_heads", "attention.head_count"),
    ("hidden_size", "embedding_length"),
];
const THETA: (&str, &str) = ("rope_theta", "rope.freq_base");
const RMS: (&str, &str) = ("rms_norm_eps", "attention.layer_norm_rms_epsilon");
const LAYER: (&str, &str) = ("layer_norm_eps", "attention.layer_norm_epsilon");
const SILU: (&str, &str) = ("hidden_act", "\"silu\"");
const NO_BIASES: (&str, &str) = ("attention_bias", "false");
/// Tokens that fill up prompts are of no consequence for one prompt at a time.
const NO_PADDING: (&str, &str) = ("pad_token_id", "null");
/// llama.cpp's GELU is the one by tanh, for every architecture.
const GELU: (&str, &str) = ("hidden_act", "\"gelu_new\"");

/// What most architectures share.
const USUAL: Architecture = Architecture {
    name: "",
    model_type: "",
    tables: [keys::USUAL, ROTATIONS, SHARED],
    names: [SIZES, &[RMS, THETA]],
    constants: &[SILU],
    more: config::rotating,
    paired: false,
    factors: &[],
};

pub(in crate::model) static ARCHITECTURES: [Architecture; 12] = [
    Architecture {
        name: "gpt2",
        model_type: "gpt2",
        tables: [keys::GPT2, &[], SHARED],
        names: [
            GPT2_SIZES,
            &[("layer_norm_epsilon", "attention.layer_norm_epsilon")],
        ],
        constants: &[("activation_function", "\"gelu_new\"")],
        more: config::with_own_heads,
        ..USUAL
    },
    Architecture {
        name: "llama",
        model_type: "llama",
        tables: [keys::LLAMA, ROTATIONS, SHARED],
        more: config::biased,
        paired: true,
        factors: &[FACTORS],
        ..USUAL
    },
    Architecture {
        name: "qwen2",
        model_type: "qwen2",
        ..USUAL
    },
    Architecture {
        name: "qwen3",
        model_type: "qwen3",
        constants: &[SILU, NO_BIASES],
        ..USUAL
    },
    Architecture {
        name: "gemma3",
        model_type: "gemma3_text",
        tables: [keys::GEMMA3, ROTATIONS, SHARED],
        names: [
            SIZES,
            &[RMS, THETA, ("rope_local_base_freq", "rope.freq_base_swa")],
        ],
        constants: &[
            ("hidden_activation", "\"gelu_pytorch_tanh\""),
            NO_BIASES,
            NO_PADDING,
        ],
        more: config::gemma3,
        ..USUAL
    },
    Architecture {
        name: "phi3",
        model_type: "phi3",
        tables: [keys::PHI3, ROTATIONS, SHARED],
        constants: &[SILU, NO_PADDING],
        more: config::phi3,
        factors: &[SHORT, LONG],
        ..USUAL
    },
    Architecture {
        name: "smollm3",
        model_type: "smollm3",
        constants: &[SILU, ("no_rope_layer_interval", "4"), NO_PADDING],
        more: config::biased,
        paired: true,
        ..USUAL
    },
    Architecture {
        name: "olmo2",
        model_type: "olmo2",
        constants: &[SILU, NO_BIASES, NO_PADDING],
        ..USUAL
    },
    Architecture {
        name: "granite",
        model_type: "granite",
        tables: [keys::GRANITE, ROTATIONS, SHARED],
        more: config::granite,
        paired: true,
        factors: &[FACTORS],
        ..USUAL
    },
    Architecture {
        name: "starcoder2",
        model_type: "starcoder2",
        tables: [keys::STARCODER2, ROTATIONS, SHARED],
        names: [
            SIZES,
            &[("norm_epsilon", "attention.layer_norm_epsilon"), THETA],
        ],
        constants: &[GELU, ("use_bias", "true")],
        ..USUAL
    },
    Architecture {
        name: "gptneox",
        model_type: "gpt_neox",
        tables: [keys::GPTNEOX, ROTATIONS, SHARED],
        names: [
            SIZES,
            &[
                LAYER,
                ("rotary_emb_base", "rope.freq_base"),
                ("use_parallel_residual", "use_parallel_residual"),
            ],
        ],
        constants: &[GELU, ("attention_bias", "true")],
        more: config::gptneox,
        ..USUAL
    },
    Architecture {
        name: "phi2",
        model_type: "phi",
        tables: [keys::PHI2, ROTATIONS, SHARED],
        names: [SIZES, &[LAYER, THETA]],
        constants: &[GELU],
        more: config::phi2,
        ..USUAL
    },
];

impl Architecture {
    /// The tensors of the checkpoints.
    pub fn tensors(&self) -> &'static Tensors {
        tensors(self.model_type)
    }

    /// A row of its tables.
    pub fn row(&self, key: &str) -> Option<&'static Row> {
        let mut rows = self.tables.into_iter().flatten();
        rows.find(|row| row.key == key)
    }

    /// The whole name of a key under its prefix.
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }
}

/// An architecture with what of a file's metadata its tensors' layout follows from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    pub architecture: &'static Architecture,
    pub heads: u64,
    pub kv_heads: u64,
}

impl Model {
    pub fn of(metadata: &Metadata) -> Result<Self, GgufError> {
        const KEY: &str = "general.architecture";
        // The blocks of quantized tensors were others before.
        metadata.expect("general.quantization_version", &Value::Integer(2), "2")?;
        let model = Value::Text("model".to_string());
        metadata.expect("general.type", &model, "a model")?;
        let name = Metadata::required(metadata.text(KEY)?, KEY)?;
        let Some(architecture) = ARCHITECTURES.iter().find(|known| known.name == name) else {
            let names: Vec<_> = ARCHITECTURES.iter().map(|known| known.name).collect();
            return Err(metadata.unsupported(KEY, &format!("one of {}", names.join(", "))));
        };
        // That it is there is seen when the configuration is read.
        let heads = metadata.integer(&architecture.key("attention.head_count"))?;
        let heads = heads.unwrap_or_default();
        let kv_heads = metadata.integer(&architecture.key("attention.head_count_kv"))?;
        Ok(Self {
            architecture,
            heads,
            kv_heads: kv_heads.unwrap_or(heads),
        })
    }

    /// The keys from which the shapes of tensors follow.
    pub fn sizes(&self) -> String {
        const SIZES: [&str; 8] = [
            "vocab_size",
            "embedding_length",
            "block_count",
            "feed_forward_length",
            "context_length",
            "attention.head_count",
            "attention.head_count_kv",
            "attention.key_length",
        ];
        let sizes = match self.architecture.name {
            "gpt2" => &SIZES[..5],
            _ => &SIZES[..],
        };
        let keys = sizes.iter().map(|key| self.architecture.key(key));
        keys.collect::<Vec<_>>().join(", ")
    }
}
