//! The model types that are read, and those that are refused for a known reason.

use serde_json::Value;

use super::error::Shown;
use super::table::Row;
use super::{
    Config, ConfigError, Keys, Tensors, common, gemma3_text, generation, gpt_neox, gpt2, granite,
    llama, mistral, olmo2, opt, phi, phi3, qwen2, qwen3, smollm3, starcoder2,
};

/// A model_type that is read.
pub(in crate::model) struct ModelType {
    pub tensors: &'static Tensors,
    /// Its own keys, and those that every configuration may have, over which they win.
    pub tables: [&'static [Row]; 3],
    pub(super) parse: fn(&Keys) -> Result<Config, ConfigError>,
}

const fn model(
    tensors: &'static Tensors,
    own: &'static [Row],
    parse: fn(&Keys) -> Result<Config, ConfigError>,
) -> ModelType {
    ModelType {
        tensors,
        tables: [own, common::KEYS, generation::KEYS],
        parse,
    }
}

pub(in crate::model) static MODEL_TYPES: [ModelType; 14] = [
    model(&gpt2::TENSORS, gpt2::KEYS, gpt2::parse),
    model(&llama::TENSORS, llama::KEYS, llama::parse),
    model(&phi::TENSORS, phi::KEYS, phi::parse),
    model(&opt::TENSORS, opt::KEYS, opt::parse),
    model(&qwen2::TENSORS, qwen2::KEYS, qwen2::parse),
    model(&qwen3::TENSORS, qwen3::KEYS, qwen3::parse),
    model(&mistral::TENSORS, mistral::KEYS, mistral::parse),
    model(&phi3::TENSORS, phi3::KEYS, phi3::parse),
    model(&gemma3_text::TENSORS, gemma3_text::KEYS, gemma3_text::parse),
    model(&gpt_neox::TENSORS, gpt_neox::KEYS, gpt_neox::parse),
    model(&smollm3::TENSORS, smollm3::KEYS, smollm3::parse),
    model(&olmo2::TENSORS, olmo2::KEYS, olmo2::parse),
    model(&granite::TENSORS, granite::KEYS, granite::parse),
    model(&starcoder2::TENSORS, starcoder2::KEYS, starcoder2::parse),
];

const EXPERTS: &str =
    "mixtures of experts are not supported: which experts a token takes is not proved";
const ENCODER: &str = "encoders are not supported: their tokens see those after them";
const SINKS: &str = "attention sinks are not supported";
const CAPS: &str = "caps of attention scores are not supported";
const STATES: &str = "models with recurrent states are not supported";
const IMAGES: &str = "models that read images are not supported: take the text model alone";

/// Why some model types are refused.
#[rustfmt::skip]
const REFUSED: &[(&[&str], &str)] = &[
    (&["mixtral", "qwen2_moe", "qwen3_moe", "qwen3_next", "deepseek_v2", "deepseek_v3", "olmoe", "phimoe", "granitemoe",
       "dbrx", "jamba", "glm4_moe", "llama4", "llama4_text"], EXPERTS),
    (&["bert", "roberta", "distilbert", "albert", "electra", "deberta", "deberta-v2", "modernbert", "xlm-roberta", "t5",
       "mt5", "bart", "mbart", "pegasus", "whisper"], ENCODER),
    (&["gpt_oss"], "attention sinks and mixtures of experts are not supported"),
    (&["mimo_v2_flash"], SINKS),
    (&["gemma2"], CAPS),
    (&["mamba", "mamba2", "falcon_mamba", "rwkv", "recurrent_gemma", "bamba", "zamba2"], STATES),
    (&["gemma3", "llava", "mllama", "qwen2_vl", "qwen2_5_vl", "qwen3_vl", "idefics3", "paligemma", "mistral3"], IMAGES),
];

/// The model_type of a configuration.
///
/// # Errors
/// [`ConfigError::ModelType`], with the reason where it is known.
pub(in crate::model) fn find(name: &Value) -> Result<&'static ModelType, ConfigError> {
    let mut models = MODEL_TYPES.iter();
    if let Some(model) = models.find(|model| *name == *model.tensors.model_type) {
        return Ok(model);
    }
    let known = REFUSED
        .iter()
        .find(|(names, _)| names.iter().any(|known| *name == **known));
    let reason = known.map_or_else(supported, |(_, reason)| reason.to_string());
    let value = Shown(name.clone());
    Err(ConfigError::ModelType { value, reason })
}

fn supported() -> String {
    let names = MODEL_TYPES
        .iter()
        .map(|model| format!("{:?}", model.tensors.model_type));
    let names: Vec<_> = names.collect();
    format!("only {} are supported", names.join(", "))
}
