//! `config.json` of model_type `starcoder2`.

use super::decoder::{self, LAYER_NORM, Names};
use super::rows::{self, DROPOUT, NUMBER, PROBABILITY, UNREAD};
use super::table::{ANY, Row, idle};
use super::tensors::{Registered, USUAL};
use super::{Config, ConfigError, Keys, Part, Tensors};

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    rows::vocab_size("49152"),
    rows::max_position_embeddings("4096"),
    rows::hidden_size("3072"),
    rows::num_hidden_layers("30"),
    rows::num_attention_heads("24"),
    rows::own_key_value_heads("2"),
    rows::head_dim(),
    rows::intermediate_size("12288"),
    rows::activation("hidden_act", "\"gelu_pytorch_tanh\""),
    rows::biases("use_bias", "true", "whether the projections have biases"),
    rows::epsilon("norm_epsilon", "1e-5"),
    rows::rope_parameters(),
    rows::rope_scaling(),
    rows::rope_theta("10000.0"),
    rows::original_context(),
    rows::whole_heads(),
    rows::window("null"),
    rows::tie_word_embeddings("true"),
    rows::eos_token_id("50256"),
    rows::pad_token_id("null"),
    rows::bos_token_id("50256"),
    idle("residual_dropout", PROBABILITY, "0.0", DROPOUT),
    idle("embedding_dropout", PROBABILITY, "0.0", DROPOUT),
    rows::attention_dropout(NUMBER),
    rows::initializer_range("0.018042"),
    idle("layer_norm_epsilon", ANY, "", UNREAD),
    idle("mlp_type", ANY, "", UNREAD),
    idle("norm_type", ANY, "", UNREAD),
    idle("activation_function", ANY, "", UNREAD),
    idle("attention_softmax_in_fp32", ANY, "", UNREAD),
    idle("scale_attention_softmax_in_fp32", ANY, "", UNREAD),
    idle("scale_attn_weights", ANY, "", UNREAD),
    rows::no_experts("num_experts"),
];

pub(super) static TENSORS: Tensors = Tensors {
    model_type: "starcoder2",
    name: "StarCoder2",
    tokenizer: Registered::Class("GPT2Tokenizer"),
    blocks: &[
        (Part::Norm1, "input_layernorm"),
        (Part::Query, "self_attn.q_proj"),
        (Part::Key, "self_attn.k_proj"),
        (Part::Value, "self_attn.v_proj"),
        (Part::Output, "self_attn.o_proj"),
        (Part::Norm2, "post_attention_layernorm"),
        (Part::Up, "mlp.c_fc"),
        (Part::Down, "mlp.c_proj"),
    ],
    ..USUAL
};

const NAMES: Names = Names {
    epsilon: Some("norm_epsilon"),
    ..LAYER_NORM
};

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    let config = decoder::read(keys, &NAMES)?.with_layer_norm();
    keys.check_padding(config.vocabulary)?;
    let biased = keys.flag("use_bias");
    let config = config.with_biases(biased, biased).with_rotations(keys)?;
    config.with_window(keys)
}
