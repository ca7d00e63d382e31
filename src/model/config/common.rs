//! Keys that the configuration of every model_type may have.

use super::table::{ANY, FLAG, INTEGER, Kind, Row, TEXT, idle, only, read};

const LABELS: &[Kind] = &[Kind::Labels, Kind::Null];
const OBJECT: &[Kind] = &[Kind::Object, Kind::Null];
const FLAG_OR_NULL: &[Kind] = &[Kind::Flag, Kind::Null];
const LIST: &[Kind] = &[Kind::List, Kind::Text, Kind::Null];

const TYPES: &[&str] = &[
    "null",
    "\"float32\"",
    "\"float16\"",
    "\"bfloat16\"",
    "\"float64\"",
    "\"auto\"",
];
const KERNELS: &[&str] = &["null", "\"eager\"", "\"sdpa\""];

const NAME: &str = "a name";
const VERSION: &str = "says who wrote the file";
const CLASSIFIER: &str = "of classifiers, which have another head";
const TOKENIZER: &str = "the tokenizer's own files say it";
const TRAINING: &str = "of training";
const CACHE: &str = "what is kept between tokens changes none of them";
const PRECISION: &str = "the reference is float32, whatever the weights are stored as";
const KERNEL: &str = "how attention is computed, not what";
const PIPELINE: &str = "of `pipeline`, which puts it before prompts or takes options from it";
const CROSS: &str = "of decoders that read an encoder's output";

/// Without the keys of `generate`.
#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    read("model_type", TEXT, "", "which table is this one's companion"),
    idle("architectures", LIST, "null", "the model_type decides; a causal language model is loaded"),
    idle("transformers_version", ANY, "null", VERSION),
    idle("_name_or_path", ANY, "", NAME),
    idle("name_or_path", ANY, "\"\"", NAME),
    idle("_commit_hash", ANY, "null", NAME),
    idle("unsloth_version", ANY, "", VERSION),
    idle("unsloth_fixed", ANY, "", VERSION),
    idle("is_llama_config", ANY, "", "written by another program beside the model_type"),
    idle("transformers.js_config", ANY, "", "of another program"),
    only("dtype", TYPES, PRECISION),
    only("torch_dtype", TYPES, PRECISION),
    idle("use_bfloat16", ANY, "", PRECISION),
    idle("use_cache", FLAG, "true", CACHE),
    idle("output_hidden_states", FLAG_OR_NULL, "false", "what is returned beside the answer"),
    only("output_attentions", &["false", "null"], "not with every attn_implementation"),
    only("return_dict", &["true", "null"], "transformers fails otherwise"),
    idle("torchscript", ANY, "", "of exports"),
    idle("chunk_size_feed_forward", ANY, "0", "these models do not read it"),
    idle("is_decoder", FLAG_OR_NULL, "", "these models always are"),
    only("is_encoder_decoder", &["false", "null"], "encoders are not supported"),
    only("is_causal", &["true"], "tokens would see those after them"),
    only("add_cross_attention", &["false"], CROSS),
    idle("cross_attention_hidden_size", ANY, "", CROSS),
    idle("tie_encoder_decoder", ANY, "", CROSS),
    idle("decoder_start_token_id", ANY, "null", CROSS),
    idle("tie_last_hidden_states", ANY, "", "what is returned beside the answer"),
    only("pruned_heads", &["{}", "null"], "older versions take heads out: save the model again without them"),
    idle("id2label", LABELS, "null", CLASSIFIER),
    idle("label2id", OBJECT, "null", CLASSIFIER),
    idle("num_labels", INTEGER, "2", CLASSIFIER),
    idle("_num_labels", ANY, "", CLASSIFIER),
    only("problem_type", &["null"], CLASSIFIER),
    idle("finetuning_task", ANY, "", TRAINING),
    idle("gradient_checkpointing", ANY, "", TRAINING),
    idle("tf_legacy_loss", ANY, "", TRAINING),
    idle("task_specific_params", ANY, "", PIPELINE),
    only("prefix", &["null"], PIPELINE),
    read("tokenizer_class", ANY, "null", "the tokenizer's class where tokenizer_config.json does not say it"),
    idle("model_max_length", ANY, "", TOKENIZER),
    idle("max_sequence_length", ANY, "", "these models do not read it"),
    idle("sep_token_id", ANY, "", TOKENIZER),
    idle("cls_token_id", ANY, "", TOKENIZER),
    idle("mask_token_id", ANY, "", TOKENIZER),
    only("attn_implementation", KERNELS, KERNEL),
    only("_attn_implementation", KERNELS, KERNEL),
    idle("_attn_implementation_autoset", ANY, "", KERNEL),
    idle("_attn_implementation_internal", ANY, "", "transformers leaves it out"),
    idle("_flash_attn_2_enabled", ANY, "", "of older versions; how attention is computed, not what"),
    only("experts_implementation", &["null"], "mixtures of experts are not supported"),
    only("quantization_config", &["null"], "take the checkpoint from before it was quantized"),
    only("auto_map", &["{}"], "its own code may be another model's: take one that transformers itself has"),
    only("sliding_window", &["null"], "attention over a window is not supported"),
    only("attention_chunk_size", &["null"], "attention within chunks is not supported"),
    only("layer_types", &["null"], "layers of several kinds are not supported"),
    only("per_layer_config", &["null", "{}"], "layers of several kinds are not supported"),
    only("unpadded_vocab_size", &["null"], "logits would be cut off"),
    only("rope_interleaved", &["false"], "pairs are (m, m + w/2), for transformers too"),
    only("transformers_weights", &["null"], "the weights would lie in another file"),
    only("configuration_files", &[], "the configuration would lie in another file"),
];
