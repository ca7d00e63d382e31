//! What ends an answer, and what else a checkpoint wants done to it: `generation_config.json`, whose keys a `config.json`
//! may hold instead. As in transformers' `GenerationConfig`, a file of that name replaces all of them.

use serde_json::{Map, Value};

use super::{ConfigError, parse_object};
use crate::quant::MAX_ENDS;

/// The key of the tokens that end a text.
pub(super) const ENDS: &str = "eos_token_id";

/// What a key does to a greedy answer of so many new tokens as are asked for.
#[derive(Clone, Copy, PartialEq)]
enum Effect {
    /// Nothing: it is about sampling, lengths that the request gives, caches, or what is returned.
    None,
    /// It changes the logits, or which of them is taken; nothing with this value.
    Unless(Neutral),
}

#[derive(Clone, Copy, PartialEq)]
enum Neutral {
    /// `null` only.
    Absent,
    False,
    /// 0 or less.
    Zero,
    /// 1 or less: so many beams, answers, or so much of a penalty.
    One,
}

/// The keys of transformers 5 and of the versions before it, with what they do where `do_sample` is false.
const KEYS: &[(&str, Effect)] = {
    use Effect::{None, Unless};
    use Neutral::{Absent, False, One, Zero};
    &[
        (ENDS, None), // read by `ends`
        ("bos_token_id", None),
        ("pad_token_id", None),
        ("decoder_start_token_id", None),
        // Lengths: the request says how many new tokens there may be.
        ("max_length", None),
        ("max_new_tokens", None),
        ("min_length", Unless(Zero)),
        ("min_new_tokens", Unless(Zero)),
        ("max_time", Unless(Absent)),
        ("stop_strings", Unless(Absent)),
        // How tokens are chosen. Answers are greedy, whatever `do_sample` says.
        ("do_sample", None),
        ("temperature", None),
        ("top_k", None),
        ("top_p", None),
        ("min_p", None),
        ("top_h", None),
        ("typical_p", None),
        ("epsilon_cutoff", None),
        ("eta_cutoff", None),
        ("num_beams", Unless(One)),
        ("num_beam_groups", Unless(One)),
        ("num_return_sequences", Unless(One)),
        ("early_stopping", None),
        ("length_penalty", None), // of beams
        ("diversity_penalty", None),
        ("penalty_alpha", Unless(Zero)),
        ("dola_layers", Unless(Absent)),
        ("force_words_ids", Unless(Absent)),
        ("constraints", Unless(Absent)),
        ("use_mtp", Unless(False)),
        // What is done to the logits.
        ("repetition_penalty", Unless(One)),
        ("encoder_repetition_penalty", Unless(One)),
        ("no_repeat_ngram_size", Unless(Zero)),
        ("encoder_no_repeat_ngram_size", Unless(Zero)),
        ("bad_words_ids", Unless(Absent)),
        ("sequence_bias", Unless(Absent)),
        ("forced_bos_token_id", Unless(Absent)),
        ("forced_eos_token_id", Unless(Absent)),
        ("exponential_decay_length_penalty", Unless(Absent)),
        ("suppress_tokens", Unless(Absent)),
        ("begin_suppress_tokens", Unless(Absent)),
        ("guidance_scale", Unless(One)),
        ("watermarking_config", Unless(Absent)),
        ("token_healing", Unless(False)),
        ("remove_invalid_values", None), // there are none
        ("renormalize_logits", None),    // keeps their order
        // How the same answer is computed.
        ("use_cache", None),
        ("cache_implementation", None),
        ("cache_config", None),
        ("return_legacy_cache", None),
        ("max_cache_len", None),
        ("low_memory", None),
        ("compile_config", None),
        ("disable_compile", None),
        ("continuous_batching_config", None),
        ("prefill_chunk_size", None),
        ("is_assistant", None),
        ("num_assistant_tokens", None),
        ("num_assistant_tokens_schedule", None),
        ("assistant_confidence_threshold", None),
        ("assistant_early_exit", None),
        ("assistant_ensemble_weight", None),
        ("assistant_lookbehind", None),
        ("target_lookbehind", None),
        ("speculation_type", None),
        ("prompt_lookup_num_tokens", None),
        ("max_matching_ngram_size", None),
        // What is returned beside it.
        ("output_attentions", None),
        ("output_hidden_states", None),
        ("output_logits", None),
        ("output_scores", None),
        ("return_dict_in_generate", None),
        // About the file.
        ("transformers_version", None),
        ("_from_model_config", None),
        ("_commit_hash", None),
    ]
};

/// Refuses a key that would change a greedy answer.
///
/// # Errors
/// [`ConfigError::Generation`], [`ConfigError::Unknown`].
pub(super) fn check(key: &str, value: &Value) -> Result<(), ConfigError> {
    let effect = KEYS.iter().find(|(known, _)| *known == key);
    let neutral = match effect {
        _ if value.is_null() => true,
        Some((_, Effect::None)) => true,
        Some((_, Effect::Unless(neutral))) => neutral.is(value),
        None => false,
    };
    match effect {
        _ if neutral => Ok(()),
        Some((key, _)) => Err(ConfigError::Generation {
            key,
            value: value.clone(),
        }),
        None => Err(ConfigError::Unknown {
            key: key.to_string(),
            value: value.clone(),
            of: "a generation_config.json",
        }),
    }
}

impl Neutral {
    fn is(self, value: &Value) -> bool {
        let at_most = |most: f64| value.as_f64().is_some_and(|x| x <= most);
        match self {
            Self::Absent => false,
            Self::False => *value == Value::Bool(false),
            Self::Zero => at_most(0.0),
            // A penalty below 1 is a reward.
            Self::One => value.as_f64() == Some(1.0),
        }
    }
}

/// The tokens that end a text, by a `generation_config.json`; none where it names none.
///
/// # Errors
/// As [`super::Config::parse`].
pub(super) fn parse(json: &[u8], vocabulary: usize) -> Result<Vec<u32>, ConfigError> {
    let keys: Map<String, Value> = parse_object(json)?;
    keys.iter().try_for_each(|(key, value)| check(key, value))?;
    ends(keys.get(ENDS).unwrap_or(&Value::Null), vocabulary)
}

/// A token, a list of tokens or none, without repetitions.
pub(super) fn ends(value: &Value, vocabulary: usize) -> Result<Vec<u32>, ConfigError> {
    let one = [value.clone()];
    let listed = match value {
        Value::Null => &[],
        Value::Array(tokens) if !tokens.is_empty() && tokens.len() <= MAX_ENDS => &tokens[..],
        _ => &one,
    };
    let mut ends = Vec::new();
    for token in listed {
        let token = token.as_u64().filter(|t| *t < vocabulary as u64);
        let token = token.and_then(|t| u32::try_from(t).ok());
        let Some(token) = token else {
            return Err(ConfigError::Unsupported {
                key: ENDS,
                value: value.clone(),
                supported: format!(
                    "a token id below {vocabulary} (vocab_size), or a list of at most {MAX_ENDS}"
                ),
            });
        };
        if !ends.contains(&token) {
            ends.push(token);
        }
    }
    Ok(ends)
}

/// What [`ends`] reads back.
pub(super) fn to_json(ends: &[u32]) -> Value {
    match ends {
        [] => Value::Null,
        ends => ends.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(json: &Value) -> Result<Vec<u32>, String> {
        parse(json.to_string().as_bytes(), 100).map_err(|e| e.to_string())
    }

    #[test]
    fn any_of_several_tokens_ends_a_text() {
        for (value, expected) in [
            (json!({}), vec![]),
            (json!({"eos_token_id": null}), vec![]),
            (json!({"eos_token_id": 7}), vec![7]),
            (json!({"eos_token_id": [9, 7, 9, 99]}), vec![9, 7, 99]),
        ] {
            assert_eq!(parsed(&value), Ok(expected), "{value}");
        }
        for value in [
            json!(100),
            json!(-1),
            json!([]),
            json!([7, 100]),
            json!([7, null]),
            json!("7"),
            json!(7.5),
            json!(vec![7; 65]),
        ] {
            let message = parsed(&json!({"eos_token_id": value})).unwrap_err();
            assert!(
                message.contains("eos_token_id") && message.contains("below 100"),
                "{message}"
            );
        }
    }

    /// Values that published files have beside greedy decoding do nothing; what would change the answer is refused.
    #[test]
    fn what_changes_a_greedy_answer_is_refused_by_name() {
        let llama = json!({
            "bos_token_id": 1, "do_sample": true, "eos_token_id": [2, 3], "temperature": 0.6, "top_p": 0.9,
            "top_k": 20, "max_length": 4096, "pad_token_id": 0, "transformers_version": "4.45.0.dev0",
            "_from_model_config": true, "repetition_penalty": 1.0, "num_beams": 1, "min_length": 0,
            "no_repeat_ngram_size": 0, "suppress_tokens": null,
        });
        assert_eq!(parsed(&llama), Ok(vec![2, 3]));
        for (key, value) in [
            ("repetition_penalty", json!(1.05)),
            ("repetition_penalty", json!(0.9)),
            ("no_repeat_ngram_size", json!(3)),
            ("min_length", json!(10)),
            ("min_new_tokens", json!(1)),
            ("num_beams", json!(4)),
            ("suppress_tokens", json!([1])),
            ("begin_suppress_tokens", json!([])),
            ("forced_eos_token_id", json!(2)),
            ("bad_words_ids", json!([[1]])),
            ("stop_strings", json!(["x"])),
            ("token_healing", json!(true)),
            ("guidance_scale", json!(1.5)),
            ("a_key_of_tomorrow", json!(1)),
        ] {
            let mut changed = llama.clone();
            changed[key] = value.clone();
            let message = parsed(&changed).unwrap_err();
            for part in [key, &value.to_string()] {
                assert!(message.contains(part), "{message}");
            }
        }
        assert!(parsed(&json!([])).is_err());
        assert!(parse(&[b' '; (1 << 20) + 1], 100).is_err());
    }
}
