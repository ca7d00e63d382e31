//! Options of `generate`, which `transformers` takes from `config.json` where there is no
//! `generation_config.json`. Greedy decoding for a given number of new tokens is asked for in any case; the other
//! options stay what the file says.

use super::table::{Kind, NUMBER_OR_NULL, Row, idle, only};

const FLAG: &[Kind] = &[Kind::Flag, Kind::Null];
const INTEGER: &[Kind] = &[Kind::Integer, Kind::Null];
const TEXT: &[Kind] = &[Kind::Text, Kind::Null];

const LENGTH: &str = "the number of new tokens is asked for";
const SAMPLING: &str = "of sampling";
const BEAMS: &str = "of beam search";
const OUTPUT: &str = "what is returned beside the answer";
const ASSISTANT: &str = "of a second model that guesses tokens";
const CHANGED: &str = "other tokens than the model's greedy choice: remove it";
const STOP: &str = "answers would end elsewhere: remove it";
const CACHE: &str = "other caches may round what they keep: remove it";
const OTHER: &str = "another way of decoding than greedily: remove it";

#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    idle("max_length", INTEGER, "20", LENGTH),
    idle("max_new_tokens", INTEGER, "null", LENGTH),
    idle("do_sample", FLAG, "false", "greedy decoding is asked for"),
    idle("temperature", NUMBER_OR_NULL, "1.0", SAMPLING),
    idle("top_k", INTEGER, "50", SAMPLING),
    idle("top_p", NUMBER_OR_NULL, "1.0", SAMPLING),
    idle("min_p", NUMBER_OR_NULL, "null", SAMPLING),
    idle("top_h", NUMBER_OR_NULL, "null", SAMPLING),
    idle("typical_p", NUMBER_OR_NULL, "1.0", SAMPLING),
    idle("epsilon_cutoff", NUMBER_OR_NULL, "0.0", SAMPLING),
    idle("eta_cutoff", NUMBER_OR_NULL, "0.0", SAMPLING),
    only("early_stopping", &["false", "null", "true", "\"never\""], BEAMS),
    idle("length_penalty", NUMBER_OR_NULL, "1.0", BEAMS),
    idle("diversity_penalty", NUMBER_OR_NULL, "0.0", BEAMS),
    only("num_beams", &["1", "null"], OTHER),
    only("num_beam_groups", &["1", "null"], OTHER),
    only("num_return_sequences", &["1", "null"], "one answer is given"),
    only("penalty_alpha", &["null", "0"], OTHER),
    only("dola_layers", &["null"], OTHER),
    only("constraints", &["null"], OTHER),
    only("force_words_ids", &["null"], OTHER),
    only("use_mtp", &["false", "null"], OTHER),
    only("speculation_type", &["null"], OTHER),
    only("prompt_lookup_num_tokens", &["null"], OTHER),
    only("assistant_early_exit", &["null"], OTHER),
    only("is_assistant", &["false", "null"], OTHER),
    idle("num_assistant_tokens", INTEGER, "20", ASSISTANT),
    idle("num_assistant_tokens_schedule", TEXT, "\"constant\"", ASSISTANT),
    idle("assistant_confidence_threshold", NUMBER_OR_NULL, "0.4", ASSISTANT),
    idle("max_matching_ngram_size", INTEGER, "null", ASSISTANT),
    idle("assistant_lookbehind", INTEGER, "10", ASSISTANT),
    idle("target_lookbehind", INTEGER, "10", ASSISTANT),
    only("assistant_ensemble_weight", &["null"], OTHER),
    only("min_length", &["0", "null"], CHANGED),
    only("min_new_tokens", &["null"], CHANGED),
    only("repetition_penalty", &["1.0", "null"], CHANGED),
    only("encoder_repetition_penalty", &["1.0", "null"], CHANGED),
    only("no_repeat_ngram_size", &["0", "null"], CHANGED),
    only("encoder_no_repeat_ngram_size", &["0", "null"], CHANGED),
    only("bad_words_ids", &["null"], CHANGED),
    only("suppress_tokens", &["null"], CHANGED),
    only("begin_suppress_tokens", &["null"], CHANGED),
    only("forced_bos_token_id", &["null"], CHANGED),
    only("forced_eos_token_id", &["null"], CHANGED),
    only("forced_decoder_ids", &["null"], CHANGED),
    only("force_bos_token_to_be_generated", &["false"], CHANGED),
    only("exponential_decay_length_penalty", &["null"], CHANGED),
    only("sequence_bias", &["null"], CHANGED),
    only("guidance_scale", &["null", "1"], CHANGED),
    only("watermarking_config", &["null"], CHANGED),
    only("token_healing", &["false", "null"], "the prompt would be changed: remove it"),
    idle("renormalize_logits", FLAG, "null", "the largest stays the largest"),
    only("remove_invalid_values", &["false", "null"], "would hide that the checkpoint is damaged"),
    only("stop_strings", &["null"], STOP),
    only("max_time", &["null"], STOP),
    idle("output_scores", FLAG, "false", OUTPUT),
    idle("output_logits", FLAG, "null", OUTPUT),
    idle("return_dict_in_generate", FLAG, "false", OUTPUT),
    only("cache_implementation", &["null", "\"dynamic\"", "\"static\""], CACHE),
    only("cache_config", &["null"], CACHE),
    idle("max_cache_len", INTEGER, "null", "a limit of memory"),
    only("prefill_chunk_size", &["null"], CACHE),
    idle("disable_compile", FLAG, "null", "speed"),
    only("compile_config", &["null"], "transformers fails otherwise"),
    only("continuous_batching_config", &["null"], OTHER),
    idle("low_memory", FLAG, "null", "of another way of decoding"),
];
