//! `config.json` of model_type `gemma3_text`: Gemma 3 of 270 million and 1 billion parameters.
//!
//! Rotations are those of two kinds of blocks: with a window and without.

use super::rows::{self, NUMBER, OBJECT_OR_NULL, UNREAD};
use super::table::{ANY, INTEGER, NUMBER_OR_NULL, Row, idle, only, read};

const CAP: &str = "caps are not supported";

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    rows::vocab_size("262208"),
    rows::max_position_embeddings("131072"),
    rows::hidden_size("2304"),
    rows::num_hidden_layers("26"),
    rows::num_attention_heads("8"),
    rows::own_key_value_heads("4"),
    read("head_dim", INTEGER, "256", "the width of a head"),
    rows::intermediate_size("9216"),
    rows::gate("hidden_activation", "\"gelu_pytorch_tanh\""),
    rows::biases("attention_bias", "false", "whether queries, keys, values and the output of attention have biases"),
    rows::epsilon("rms_norm_eps", "1e-6"),
    read("query_pre_attn_scalar", INTEGER, "256", "scores are divided by its square root"),
    read("rope_parameters", OBJECT_OR_NULL, "null", "the rotations of blocks without and with a window: the objects \"full_attention\" and \"sliding_attention\""),
    read("rope_scaling", OBJECT_OR_NULL, "null", "the rotations of blocks without a window: its keys win over those in rope_parameters"),
    read("rope_theta", NUMBER, "1000000.0", "θ of blocks without a window, where the objects do not say it"),
    read("rope_local_base_freq", NUMBER, "10000.0", "θ of blocks with a window, where the objects do not say it"),
    read("sliding_window", INTEGER, "4096", "how many tokens each one sees, itself counted, in blocks with a window"),
    rows::layer_types("which blocks have a window; null: all but each sliding_window_pattern-th"),
    read("sliding_window_pattern", INTEGER, "6", "which blocks have a window, where layer_types does not say it"),
    idle("_sliding_window_pattern", ANY, "6", "layer_types says it"),
    only("use_bidirectional_attention", &["false", "null"], "tokens would see those after them"),
    only("attn_logit_softcapping", &["null"], CAP),
    only("final_logit_softcapping", &["null"], CAP),
    rows::tie_word_embeddings("true"),
    rows::eos_token_id("1"),
    rows::pad_token_id("0"),
    rows::bos_token_id("2"),
    rows::attention_dropout(NUMBER_OR_NULL),
    rows::initializer_range("0.02"),
    idle("hidden_act", ANY, "", UNREAD),
    only("cache_implementation", &["null", "\"dynamic\"", "\"static\"", "\"hybrid\""], "other caches may round what they keep: remove it"),
    rows::no_biases("mlp_bias"),
    rows::no_experts("num_experts"),
];

// parse
