//! `config.json` of model_type `opt`: OPT, but for its model of 350 million parameters; Galactica.
//!
//! ε of the norms is 1e-5 always. Of `max_position_embeddings` positions the embeddings begin in row 2.

use super::decoder::{self, LAYER_NORM, Names};
use super::rows::{self, DROPOUT, NUMBER, PROBABILITY, UNREAD, WEIGHTS};
use super::table::{ANY, FLOAT, INTEGER, INTEGER_OR_NULL, Row, idle, only, read};
use super::tensors::{Registered, USUAL};
use super::{Config, ConfigError, Keys, Part, Tensors};

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    rows::vocab_size("50272"),
    rows::max_position_embeddings("2048"),
    rows::hidden_size("768"),
    rows::num_hidden_layers("12"),
    rows::num_attention_heads("12"),
    read("ffn_dim", INTEGER, "3072", "the width of the feed-forward part"),
    rows::activation("activation_function", "\"relu\""),
    read("word_embed_proj_dim", INTEGER_OR_NULL, "null", "has to be hidden_size, which null means"),
    only("do_layer_norm_before", &["true"], "norms stand before the parts of a block"),
    only("_remove_final_layer_norm", &["false"], "there is a norm before the head"),
    rows::biases("enable_bias", "true", "whether the projections have biases"),
    only("layer_norm_elementwise_affine", &["true"], "norms have gains and biases"),
    rows::tie_word_embeddings("true"),
    rows::eos_token_id("2"),
    rows::pad_token_id("1"),
    rows::bos_token_id("2"),
    only("prefix", &["null", "\"</s>\""], "the tokenizer begins prompts with it by itself"),
    idle("dropout", PROBABILITY, "0.1", DROPOUT),
    rows::attention_dropout(NUMBER),
    idle("activation_dropout", ANY, "", DROPOUT),
    idle("layerdrop", NUMBER, "0.0", DROPOUT),
    idle("init_std", FLOAT, "0.02", WEIGHTS),
    idle("learned_embeddings", ANY, "", UNREAD),
    idle("scale_embeddings", ANY, "", UNREAD),
];

pub(super) static TENSORS: Tensors = Tensors {
    model_type: "opt",
    name: "OPT",
    tokenizer: Registered::Class("GPT2Tokenizer"),
    base: "model.decoder.",
    model: &[
        (Part::Tokens, "embed_tokens"),
        (Part::Positions, "embed_positions"),
        (Part::FinalNorm, "final_layer_norm"),
    ],
    blocks: &[
        (Part::Norm1, "self_attn_layer_norm"),
        (Part::Query, "self_attn.q_proj"),
        (Part::Key, "self_attn.k_proj"),
        (Part::Value, "self_attn.v_proj"),
        (Part::Output, "self_attn.out_proj"),
        (Part::Norm2, "final_layer_norm"),
        (Part::Up, "fc1"),
        (Part::Down, "fc2"),
    ],
    buffers: &[],
    ..USUAL
};

const NAMES: Names = Names {
    hidden: "ffn_dim",
    activation: "activation_function",
    // `torch.nn.LayerNorm` is not told another one than its own.
    epsilon: None,
    ..LAYER_NORM
};

pub(super) fn parse(keys: &Keys) -> Result<Config, ConfigError> {
    let config = decoder::read(keys, &NAMES)?.with_layer_norm();
    keys.check_padding(config.vocabulary)?;
    if keys
        .get("word_embed_proj_dim")
        .is_some_and(|width| *width != config.width)
    {
        return keys.refuse(
            "word_embed_proj_dim",
            format!("hidden_size ({})", config.width),
        );
    }
    let biased = keys.flag("enable_bias");
    let config = Config {
        positions: Some(2),
        ..config
    };
    Ok(config.with_biases(biased, biased))
}
