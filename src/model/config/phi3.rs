//! `config.json` of model_type `phi3`: Phi 3, 3.5 and 4, Phi-4-mini.

use super::decoder::{self, USUAL as NAMES};
use super::rope::Rope;
use super::rows::{self, DROPOUT, NUMBER, PROBABILITY, UNREAD};
use super::table::{ANY, INTEGER, Row, idle, only, read};
use super::tensors::{Registered, USUAL};
use super::{Config, ConfigError, Keys, Part, Tensors};

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    rows::vocab_size("32064"),
    rows::max_position_embeddings("4096"),
    rows::hidden_size("3072"),
    rows::num_hidden_layers("32"),
    rows::num_attention_heads("32"),
    rows::num_key_value_heads("null"),
    only("head_dim", &[], "heads fill the width"),
    rows::intermediate_size("8192"),
    rows::gate("hidden_act", "\"silu\""),
    rows::epsilon("rms_norm_eps", "1e-5"),
    rows::rope_parameters(),
    rows::rope_scaling(),
    rows::rope_theta("10000.0"),
    read("original_max_position_embeddings", INTEGER, "4096", "of rope_type \"longrope\": beyond it the long factors count; wins over the key of that name within"),
    read("partial_rotary_factor", NUMBER, "1.0", "the part of a head's lanes that is rotated, where the object does not say it"),
    rows::window("null"),
    rows::tie_word_embeddings("false"),
    rows::eos_token_id("32000"),
    rows::pad_token_id("32000"),
    rows::bos_token_id("1"),
    idle("resid_pdrop", PROBABILITY, "0.0", DROPOUT),
    idle("embd_pdrop", NUMBER, "0.0", DROPOUT),
    rows::attention_dropout(NUMBER),
    rows::initializer_range("0.02"),
    only("auto_map", &["{}", MINI, MINI_4], "its own code may be another model's: take one that transformers itself has"),
    idle("full_attn_mod", ANY, "", UNREAD),
    idle("interpolate_factor", ANY, "", UNREAD),
    rows::no_biases("attention_bias"),
    rows::no_biases("mlp_bias"),
    rows::no_biases("lm_head_bias"),
    rows::no_experts("num_experts"),
];

/// Of the files from before `transformers` had the model: Phi 3's, Phi-4-mini's.
const MINI: &str = r#"{"AutoConfig": "configuration_phi3.Phi3Config", "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}"#;
const MINI_4: &str = r#"{"AutoConfig": "configuration_phi3.Phi3Config", "AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM", "AutoTokenizer": "Xenova/gpt-4o"}"#;

pub(super) static TENSORS: Tensors = Tensors {
    model_type: "phi3",
    name: "Phi-3",
    tokenizer: Registered::Any,
    blocks: &[
        (Part::Norm1, "input_layernorm"),
        (Part::QueryKeyValue, "self_attn.qkv_proj"),
        (Part::Output, "self_attn.o_proj"),
        (Part::Norm2, "post_attention_layernorm"),
        (Part::GateUp, "mlp.gate_up_proj"),
        (Part::Down, "mlp.down_proj"),
    ],
    ..USUAL
};

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    let config = decoder::read(keys, &NAMES)?;
    keys.check_padding(config.vocabulary)?;
    let config = Config {
        gated: true,
        ..config
    };
    let mut rope = Rope::usual(keys, &config);
    rope.fraction = Some("partial_rotary_factor");
    // Other types are an error to `transformers`, or older names of these.
    rope.types = &["default", "longrope"];
    let rope = rope.read()?;
    config.with_found(rope).with_window(keys)
}
