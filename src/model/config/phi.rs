//! `config.json` of model_type `phi`: Phi 1, 1.5 and 2.

use super::decoder::{self, LAYER_NORM};
use super::rope::Rope;
use super::rows::{self, DROPOUT, NUMBER, PROBABILITY};
use super::table::{NUMBER_OR_NULL, Row, idle, only, read};
use super::tensors::{Registered, USUAL};
use super::{Config, ConfigError, Keys, Part, Tensors};
use crate::quant::{Biases, Order};

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    rows::vocab_size("51200"),
    rows::max_position_embeddings("2048"),
    rows::hidden_size("2048"),
    rows::num_hidden_layers("24"),
    rows::num_attention_heads("32"),
    rows::num_key_value_heads("null"),
    rows::head_dim_beside(),
    rows::intermediate_size("8192"),
    rows::activation("hidden_act", "\"gelu_new\""),
    rows::epsilon("layer_norm_eps", "1e-5"),
    rows::rope_parameters(),
    rows::rope_scaling(),
    rows::rope_theta("10000.0"),
    rows::original_context(),
    read("partial_rotary_factor", NUMBER, "0.5", "the part of a head's lanes that is rotated, where the object does not say it"),
    rows::tie_word_embeddings("false"),
    rows::eos_token_id("2"),
    rows::pad_token_id("null"),
    rows::bos_token_id("1"),
    only("qk_layernorm", &["false"], "norms of queries and keys are not supported here"),
    idle("resid_pdrop", PROBABILITY, "0.0", DROPOUT),
    idle("embd_pdrop", PROBABILITY, "0.0", DROPOUT),
    rows::attention_dropout(NUMBER_OR_NULL),
    rows::initializer_range("0.02"),
    only("auto_map", &["{}", AUTO_MAP], "its own code may be another model's: take one that transformers itself has"),
];

/// Of the files from before `transformers` had the model.
const AUTO_MAP: &str = r#"{"AutoConfig": "configuration_phi.PhiConfig", "AutoModelForCausalLM": "modeling_phi.PhiForCausalLM"}"#;

pub(super) static TENSORS: Tensors = Tensors {
    model_type: "phi",
    name: "Phi",
    tokenizer: Registered::Class("GPT2Tokenizer"),
    model: &[
        (Part::Tokens, "embed_tokens"),
        (Part::FinalNorm, "final_layernorm"),
    ],
    blocks: &[
        (Part::Norm1, "input_layernorm"),
        (Part::Query, "self_attn.q_proj"),
        (Part::Key, "self_attn.k_proj"),
        (Part::Value, "self_attn.v_proj"),
        (Part::Output, "self_attn.dense"),
        (Part::Up, "mlp.fc1"),
        (Part::Down, "mlp.fc2"),
    ],
    ..USUAL
};

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    let config = decoder::read(keys, &LAYER_NORM)?.with_layer_norm();
    keys.check_padding(config.vocabulary)?;
    let config = config.with_biases(true, true);
    let config = Config {
        order: Order::Parallel,
        biases: Biases {
            head: true,
            ..config.biases
        },
        ..config
    };
    let mut rope = Rope::usual(keys, &config);
    rope.fraction = Some("partial_rotary_factor");
    let rope = rope.read()?;
    Ok(config.with_found(rope))
}
