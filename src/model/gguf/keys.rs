//! The metadata that describes a model: what llama.cpp makes of each key under the architecture's prefix.
//!
//! A key that is in no table is refused. Types are strict, as in llama.cpp: numbers with a point, whole numbers, flags
//! and texts are not taken for each other.

use crate::model::config::table::{FLAG, FLOAT, INTEGER, Row, TEXT, idle, only, read};

const EXPERTS: &str = "mixtures of experts are not supported";
const SCALE: &str = "other scales than the usual ones are not supported";
const CAP: &str = "caps are not supported";
const YARN: &str = "of yarn, which is not supported";
const WINDOW: &str = "attention over a window is not supported";

/// Keys under the prefix `gpt2.`.
#[rustfmt::skip]
pub(in crate::model) const GPT2: &[Row] = &[
    read("attention.head_count_kv", INTEGER, "", "as many as heads"),
    read("attention.layer_norm_epsilon", FLOAT, "", "ε of the norms"),
];

/// Keys under the prefix `llama.`.
#[rustfmt::skip]
pub(in crate::model) const LLAMA: &[Row] = &[
    read("attention.head_count_kv", INTEGER, "", "heads of keys and values; absent: as many as heads"),
    read("attention.layer_norm_rms_epsilon", FLOAT, "", "ε of the norms"),
    read("rope.dimension_count", INTEGER, "", "the width of a head"),
    read("rope.freq_base", FLOAT, "10000.0", "θ"),
    read("rope.scaling.type", TEXT, "\"linear\"", "\"none\" or \"linear\""),
    read("rope.scaling.factor", FLOAT, "", "from 1 on; 0: unscaled. Of \"linear\""),
    read("rope.scale_linear", FLOAT, "", "the older name of the factor, which wins over this one"),
    idle("rope.scaling.finetuned", FLAG, "false", "a remark"),
    idle("rope.scaling.original_context_length", INTEGER, "", YARN),
    only("rope.scaling.attn_factor", &["1.0"], SCALE),
    only("rope.scaling.alpha", &["0.0"], "other scalings are not supported"),
    only("rope.scaling.yarn_log_multiplier", &["0.0"], YARN),
    only("rope.scaling.yarn_ext_factor", &["1.0"], YARN),
    only("rope.scaling.yarn_attn_factor", &["1.0"], YARN),
    only("rope.scaling.yarn_beta_fast", &["32.0"], YARN),
    only("rope.scaling.yarn_beta_slow", &["1.0"], YARN),
    only("tensor_data_layout", &["\"Meta AI original pth\""], "the order of rotary pairs"),
];

/// Keys under either prefix.
#[rustfmt::skip]
pub(in crate::model) const SHARED: &[Row] = &[
    read("vocab_size", INTEGER, "", "the number of embeddings; absent: as many as are stored"),
    read("context_length", INTEGER, "", "the context"),
    read("embedding_length", INTEGER, "", "the width"),
    read("block_count", INTEGER, "", "the number of blocks"),
    read("feed_forward_length", INTEGER, "", "the width of the feed-forward part"),
    read("attention.head_count", INTEGER, "", "the number of heads"),
    read("attention.key_length", INTEGER, "", "the width of a head"),
    read("attention.value_length", INTEGER, "", "the width of a head"),
    only("attention.causal", &["true"], "tokens would see those after them"),
    only("attention.sliding_window", &["0"], WINDOW),
    only("attention.scale", &["0.0"], SCALE),
    only("attention.clamp_kqv", &["0.0"], CAP),
    only("attention.max_alibi_bias", &["0.0"], "biases of distances are not supported"),
    only("attn_logit_softcapping", &["0.0"], CAP),
    only("final_logit_softcapping", &["0.0"], CAP),
    only("logit_scale", &["0.0", "1.0"], SCALE),
    only("residual_scale", &["0.0", "1.0"], SCALE),
    only("embedding_scale", &["0.0", "1.0"], SCALE),
    only("use_parallel_residual", &["false"], "parallel parts of a block are not supported"),
    only("expert_count", &["0"], EXPERTS),
    only("expert_used_count", &["0"], EXPERTS),
    only("expert_shared_count", &["0"], EXPERTS),
    only("expert_group_count", &["0"], EXPERTS),
    only("expert_group_used_count", &["0"], EXPERTS),
    only("leading_dense_block_count", &["0"], EXPERTS),
    only("nextn_predict_layers", &["0"], "further heads are not supported"),
    only("pooling_type", &["0"], "models of embeddings are not supported"),
];
