//! `config.json` of model_type `gpt_neox`: Pythia, GPT-NeoX-20B.

use super::decoder::{self, LAYER_NORM};
use super::rope::Rope;
use super::rows::{self, DROPOUT, NUMBER, PROBABILITY, UNREAD};
use super::table::{ANY, FLAG, INTEGER_OR_NULL, Row, idle, read};
use super::tensors::{Registered, USUAL};
use super::{BufferKind, Config, ConfigError, Keys, Part, Tensors};
use crate::quant::Order;

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    rows::vocab_size("50432"),
    rows::max_position_embeddings("2048"),
    rows::hidden_size("6144"),
    rows::num_hidden_layers("44"),
    rows::num_attention_heads("64"),
    rows::intermediate_size("24576"),
    rows::activation("hidden_act", "\"gelu\""),
    read("use_parallel_residual", FLAG, "true", "whether attention and the feed-forward part read the same, each through its norm"),
    rows::biases("attention_bias", "true", "whether the projections of attention have biases"),
    rows::epsilon("layer_norm_eps", "1e-5"),
    rows::rope_parameters(),
    rows::rope_scaling(),
    read("rotary_emb_base", NUMBER, "10000.0", "θ where rope_scaling or rope_parameters does not say it"),
    read("rotary_pct", NUMBER, "0.25", "the part of a head's lanes that is rotated, where the object does not say it"),
    idle("rope_theta", ANY, "", "transformers reads rotary_emb_base"),
    idle("partial_rotary_factor", ANY, "", "transformers reads rotary_pct"),
    rows::original_context(),
    rows::tie_word_embeddings("false"),
    rows::eos_token_id("2"),
    idle("pad_token_id", INTEGER_OR_NULL, "null", "one prompt at a time needs no padding"),
    rows::bos_token_id("0"),
    idle("hidden_dropout", PROBABILITY, "0.0", DROPOUT),
    rows::attention_dropout(NUMBER),
    idle("classifier_dropout", NUMBER, "0.1", DROPOUT),
    rows::initializer_range("0.02"),
    idle("is_decoder", FLAG, "false", "these models always are"),
    idle("hidden_dropout_prob", ANY, "", UNREAD),
    idle("attention_probs_dropout_prob", ANY, "", UNREAD),
    rows::no_experts("num_experts"),
];

pub(super) static TENSORS: Tensors = Tensors {
    model_type: "gpt_neox",
    name: "GPT-NeoX",
    tokenizer: Registered::Class("GPTNeoXTokenizer"),
    base: "gpt_neox.",
    model: &[
        (Part::Tokens, "embed_in"),
        (Part::FinalNorm, "final_layer_norm"),
    ],
    blocks: &[
        (Part::Norm1, "input_layernorm"),
        (Part::HeadByHead, "attention.query_key_value"),
        (Part::Output, "attention.dense"),
        (Part::Norm2, "post_attention_layernorm"),
        (Part::Up, "mlp.dense_h_to_4h"),
        (Part::Down, "mlp.dense_4h_to_h"),
    ],
    heads: &["embed_out"],
    buffers: &[
        (BufferKind::Mask, "attention.bias"),
        (BufferKind::MaskedScore, "attention.masked_bias"),
        (BufferKind::Frequencies, "attention.rotary_emb.inv_freq"),
    ],
    ..USUAL
};

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    let config = decoder::read(keys, &LAYER_NORM)?.with_layer_norm();
    let order = match keys.flag("use_parallel_residual") {
        true => Order::ParallelNorms,
        false => Order::Sequential,
    };
    let config = Config { order, ..config }.with_biases(keys.flag("attention_bias"), true);
    let mut rope = Rope::usual(keys, &config);
    rope.theta = "rotary_emb_base";
    rope.fraction = Some("rotary_pct");
    let rope = rope.read()?;
    Ok(config.with_found(rope))
}
