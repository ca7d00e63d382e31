//! The metadata that describes a model: what llama.cpp makes of each key under the architecture's prefix.
//!
//! A key that is in no table is refused. Types are strict, as in llama.cpp: numbers with a point, whole numbers, flags
//! and texts are not taken for each other.

use crate::model::config::table::{FLAG, FLOAT, INTEGER, Row, TEXT, idle, only, read};

const EXPERTS: &str = "mixtures of experts are not supported";
const SCALE: &str = "other scales than the usual ones are not supported";
const CAP: &str = "caps are not supported";
const YARN: &str = "of yarn, with its usual numbers";
const WINDOW: &str = "attention over a window is not supported";

const fn kv_heads() -> Row {
    let what = "heads of keys and values; absent: as many as heads";
    read("attention.head_count_kv", INTEGER, "", what)
}

/// Where no heads share keys and values.
const fn own_kv_heads() -> Row {
    read("attention.head_count_kv", INTEGER, "", "as many as heads")
}

const fn rms_epsilon() -> Row {
    let what = "ε of the norms";
    read("attention.layer_norm_rms_epsilon", FLOAT, "", what)
}

const fn layer_epsilon() -> Row {
    read("attention.layer_norm_epsilon", FLOAT, "", "ε of the norms")
}

const fn whole_heads() -> Row {
    read("rope.dimension_count", INTEGER, "", "the width of a head")
}

const fn rotated_lanes() -> Row {
    let what = "how many lanes of a head are rotated; absent: all";
    read("rope.dimension_count", INTEGER, "", what)
}

/// Keys under the prefix `gpt2.`.
pub(in crate::model) const GPT2: &[Row] = &[own_kv_heads(), layer_epsilon()];

/// Keys under the prefix `llama.`.
pub(in crate::model) const LLAMA: &[Row] = &[
    kv_heads(),
    rms_epsilon(),
    whole_heads(),
    only(
        "tensor_data_layout",
        &["\"Meta AI original pth\""],
        "the order of rotary pairs",
    ),
];

/// Keys under the prefixes `qwen2.`, `qwen3.`, `smollm3.` and `olmo2.`.
pub(in crate::model) const USUAL: &[Row] = &[kv_heads(), rms_epsilon(), whole_heads()];

/// Keys under the prefix `gemma3.`.
#[rustfmt::skip]
pub(in crate::model) const GEMMA3: &[Row] = &[
    kv_heads(),
    rms_epsilon(),
    whole_heads(),
    read("attention.sliding_window", INTEGER, "0", "how many tokens each one sees, itself counted, in blocks with a window; 0: there are none"),
    read("attention.sliding_window_pattern", INTEGER, "6", "all blocks but each of this number have a window"),
    read("rope.freq_base_swa", FLOAT, "10000.0", "θ of blocks with a window, whose rotations are not scaled"),
];

/// Keys under the prefix `phi3.`.
#[rustfmt::skip]
pub(in crate::model) const PHI3: &[Row] = &[
    kv_heads(),
    rms_epsilon(),
    rotated_lanes(),
    read("attention.sliding_window", INTEGER, "", "how many tokens each one sees, itself counted; 0: all before it. llama.cpp reads and does not use it; the model has it"),
    read("rope.scaling.type", TEXT, "\"linear\"", "\"none\", \"linear\" (of no factor) or \"longrope\""),
    read("rope.scaling.attn_factor", FLOAT, "", "what rotated lanes are multiplied by; needed with the tensors of factors, and 1 without"),
    read("rope.scaling.original_context_length", INTEGER, "", "the context of the short factors; needed with them"),
];

/// Keys under the prefix `granite.`.
#[rustfmt::skip]
pub(in crate::model) const GRANITE: &[Row] = &[
    kv_heads(),
    rms_epsilon(),
    whole_heads(),
    read("embedding_scale", FLOAT, "0.0", "by what embeddings are multiplied; 0: by 1"),
    read("attention.scale", FLOAT, "0.0", "by what scores are multiplied; 0: they are divided by the square root of a head's width"),
    read("residual_scale", FLOAT, "0.0", "by what each part of a block is multiplied before it is added; 0: by 1"),
    read("logit_scale", FLOAT, "", "by what logits are divided"),
    only("rope.scaling.finetuned", &["true"], "llama.cpp takes false for a model without rotations"),
];

/// Keys under the prefix `starcoder2.`.
pub(in crate::model) const STARCODER2: &[Row] = &[kv_heads(), layer_epsilon(), whole_heads()];

/// Keys under the prefix `gptneox.`.
#[rustfmt::skip]
pub(in crate::model) const GPTNEOX: &[Row] = &[
    own_kv_heads(),
    layer_epsilon(),
    rotated_lanes(),
    read("use_parallel_residual", FLAG, "", "whether attention and the feed-forward part read the same, each through its norm"),
];

/// Keys under the prefix `phi2.`.
pub(in crate::model) const PHI2: &[Row] = &[kv_heads(), layer_epsilon(), rotated_lanes()];

/// Keys of rotations, under every prefix but `gpt2.`, where the architecture's own table does not have them.
#[rustfmt::skip]
pub(in crate::model) const ROTATIONS: &[Row] = &[
    read("rope.freq_base", FLOAT, "10000.0", "θ"),
    read("rope.scaling.type", TEXT, "\"linear\"", "\"none\", \"linear\" or \"yarn\" (not of `gemma3`)"),
    read("rope.scaling.factor", FLOAT, "", "from 1 on; 0: unscaled. Of \"linear\" and \"yarn\""),
    read("rope.scale_linear", FLOAT, "", "the older name of the factor, which wins over this one"),
    idle("rope.scaling.finetuned", FLAG, "false", "a remark"),
    read("rope.scaling.original_context_length", INTEGER, "", "the context that \"yarn\" begins from; absent: context_length"),
    only("rope.scaling.attn_factor", &["1.0"], SCALE),
    only("rope.scaling.alpha", &["0.0"], "other scalings are not supported"),
    only("rope.scaling.yarn_log_multiplier", &["0.0"], YARN),
    only("rope.scaling.yarn_ext_factor", &["1.0"], YARN),
    only("rope.scaling.yarn_attn_factor", &["1.0"], YARN),
    only("rope.scaling.yarn_beta_fast", &["32.0"], YARN),
    only("rope.scaling.yarn_beta_slow", &["1.0"], YARN),
];

/// Keys under every prefix, where the architecture's own table does not have them.
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
