//! The tokens that end a text, by a configuration or by the `generation_config.json` beside it, whose keys a `config.json`
//! may hold instead. As in `GenerationConfig` of `transformers`, a file of that name replaces all of them.

use serde_json::{Map, Value};

use super::table::{INTEGER_OR_NULL, Kind, Row, idle, read};
use super::{ConfigError, Shown, generation, parse_object};
use crate::quant::MAX_ENDS;

/// The key of the tokens that end a text.
pub(super) const ENDS: &str = "eos_token_id";

/// What a `generation_config.json` has beside the options of `generate`.
#[rustfmt::skip]
const KEYS: &[Row] = &[
    read(ENDS, &[Kind::Integer, Kind::List, Kind::Null], "null", "what ends an answer"),
    idle("bos_token_id", INTEGER_OR_NULL, "null", "prompts are given whole"),
    idle("pad_token_id", INTEGER_OR_NULL, "null", "one prompt at a time needs no padding"),
    idle("decoder_start_token_id", INTEGER_OR_NULL, "null", "of models with an encoder"),
    idle("use_cache", &[Kind::Flag, Kind::Null], "null", "speed"),
    idle("output_attentions", &[Kind::Flag, Kind::Null], "null", "what is returned beside the answer"),
    idle("output_hidden_states", &[Kind::Flag, Kind::Null], "null", "what is returned beside the answer"),
    idle("return_legacy_cache", &[Kind::Flag, Kind::Null], "null", "what is returned beside the answer"),
    idle("transformers_version", &[Kind::Text, Kind::Null], "null", "about the file"),
    idle("_from_model_config", &[Kind::Flag, Kind::Null], "null", "about the file"),
    idle("_commit_hash", &[Kind::Text, Kind::Null], "null", "about the file"),
];

/// The tokens that end a text, by a `generation_config.json`; none where it names none.
///
/// # Errors
/// As [`super::Config::parse`]; [`ConfigError::Generation`] for a key that is unknown, or that would change a greedy
/// answer.
pub(super) fn parse(json: &[u8], vocabulary: usize) -> Result<Vec<u32>, ConfigError> {
    let keys: Map<String, Value> = parse_object(json)?;
    let refusal = |key: &str, value: &Value, supported| ConfigError::Generation {
        key: key.to_string(),
        value: Shown(value.clone()),
        supported,
    };
    for (key, value) in &keys {
        let row = KEYS
            .iter()
            .chain(generation::KEYS)
            .find(|row| row.key == key);
        let checked = match row {
            Some(row) => row.check(value),
            None if value.is_null() => Ok(()),
            None => Err("a file without this key, which is unknown,".to_string()),
        };
        checked.map_err(|supported| refusal(key, value, supported))?;
    }
    let value = keys.get(ENDS).unwrap_or(&Value::Null);
    ends(value, vocabulary).map_err(|supported| refusal(ENDS, value, supported))
}

/// A token, a list of tokens or none, without repetitions; or what is supported.
pub(super) fn ends(value: &Value, vocabulary: usize) -> Result<Vec<u32>, String> {
    let one = [value.clone()];
    let listed = match value {
        Value::Null => &[],
        Value::Array(tokens) if !tokens.is_empty() && tokens.len() <= MAX_ENDS => &tokens[..],
        _ => &one,
    };
    let mut ends = Vec::new();
    for token in listed {
        let token = token.as_u64().filter(|t| *t < vocabulary as u64);
        let Some(token) = token.and_then(|t| u32::try_from(t).ok()) else {
            return Err(format!(
                "a token id below {vocabulary} (vocab_size), or a list of at most {MAX_ENDS},"
            ));
        };
        if !ends.contains(&token) {
            ends.push(token);
        }
    }
    Ok(ends)
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
            assert!(message.contains("eos_token_id"), "{message}");
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
