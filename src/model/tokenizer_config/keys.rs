//! The keys of a `tokenizer_config.json`.

use serde_json::{Map, Value};

use crate::model::TokenizerError;
use crate::model::chat::SPECIAL_TOKENS;
use crate::model::config::Shown;
use crate::model::config::table::{ANY, Kind, Row, idle, only, read};

pub(super) const CLASS: &str = "tokenizer_class";
pub(super) const SPACE: &str = "add_prefix_space";
pub(super) const LEGACY: &str = "legacy";
pub(super) const BEGIN: &str = "add_bos_token";
pub(super) const END: &str = "add_eos_token";
pub(super) const LISTED: &str = "added_tokens_decoder";
pub(super) const EXTRA: &str = "extra_special_tokens";
pub(super) const OLDER_EXTRA: &str = "additional_special_tokens";

const TOKEN: &[Kind] = &[Kind::Text, Kind::Object, Kind::Null];
const FLAG_OR_NULL: &[Kind] = &[Kind::Flag, Kind::Null];
const TOKENS: &[Kind] = &[Kind::List, Kind::Object, Kind::Null];

const ADDED: &str = "a special token, added where tokenizer.json does not have it";
const CALLS: &str = "of calls that cut or fill up texts";
const DECODING: &str = "decoding leaves spaces as they are";
const ELSEWHERE: &str = "of other programs and classes";
const PATH: &str = "the files beside this one are read";

#[rustfmt::skip]
pub(in crate::model) const KEYS: &[Row] = &[
    read(CLASS, &[Kind::Text, Kind::Null], "null", "what takes the parts of tokenizer.json, or has its own"),
    read(SPACE, FLAG_OR_NULL, "null", "of GPT-2's class (not null) and Llama's: whether a space is put before a text"),
    read(LEGACY, FLAG_OR_NULL, "false", "of Llama's class: whether a space is put behind added tokens too"),
    read(BEGIN, FLAG_OR_NULL, "false", "of vocab.json with merges.txt: whether bos_token begins a prompt"),
    read(END, FLAG_OR_NULL, "false", "of vocab.json with merges.txt: whether eos_token ends a prompt"),
    read(LISTED, &[Kind::Object], "", "the added tokens, in place of those of tokenizer.json where they are others"),
    read(SPECIAL_TOKENS[0], TOKEN, "", ADDED),
    read(SPECIAL_TOKENS[1], TOKEN, "", ADDED),
    read(SPECIAL_TOKENS[2], TOKEN, "", ADDED),
    read(SPECIAL_TOKENS[3], TOKEN, "", ADDED),
    read(SPECIAL_TOKENS[4], TOKEN, "", ADDED),
    read(SPECIAL_TOKENS[5], TOKEN, "", ADDED),
    read(SPECIAL_TOKENS[6], TOKEN, "", ADDED),
    read(EXTRA, TOKENS, "null", ADDED),
    read(OLDER_EXTRA, TOKENS, "null", ADDED),
    read("chat_template", ANY, "null", "what makes a prompt of messages"),
    only("split_special_tokens", &["false", "null"], "special tokens in a text are special tokens"),
    only("clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", &["false", "null"], DECODING),
    only("fix_mistral_regex", &["false", "null"], "texts would be split otherwise"),
    only("trust_remote_code", &["false", "null"], "no code is run"),
    only("auto_map", &[], "no code is run"),
    only("fast_tokenizer_files", &[], "tokenizer.json is read"),
    only("init_inputs", &["[]"], "arguments without names"),
    only("padding_side", &["\"right\"", "\"left\""], CALLS),
    only("truncation_side", &["\"right\"", "\"left\""], CALLS),
    idle("clean_up_tokenization_spaces", ANY, "false", "not of BPE"),
    idle("errors", ANY, "\"replace\"", "bytes that are not UTF-8 are shown as U+FFFD"),
    idle("model_max_length", ANY, "null", CALLS),
    idle("max_len", ANY, "", CALLS),
    idle("max_length", ANY, "", CALLS),
    idle("stride", ANY, "", CALLS),
    idle("truncation", ANY, "", CALLS),
    idle("truncation_strategy", ANY, "", CALLS),
    idle("padding", ANY, "", CALLS),
    idle("pad_to_multiple_of", ANY, "", CALLS),
    idle("pad_token_type_id", ANY, "", CALLS),
    idle("return_token_type_ids", ANY, "", CALLS),
    idle("model_input_names", &[Kind::List], "", CALLS),
    idle("use_default_system_prompt", ANY, "", "the template says it"),
    idle("response_schema", ANY, "", "of answers"),
    idle("response_template", ANY, "", "of answers"),
    idle("chat_control_tokens", &[Kind::List, Kind::Null], "", "of another way to make prompts"),
    idle("name_or_path", ANY, "", PATH),
    idle("tokenizer_file", ANY, "", PATH),
    idle("special_tokens_map_file", ANY, "", PATH),
    idle("vocab_file", ANY, "", PATH),
    idle("merges_file", ANY, "", PATH),
    idle("is_local", ANY, "", PATH),
    idle("local_files_only", ANY, "", PATH),
    idle("_commit_hash", ANY, "", PATH),
    idle("backend", ANY, "", ELSEWHERE),
    idle("processor_class", ANY, "", ELSEWHERE),
    idle("use_fast", ANY, "", ELSEWHERE),
    idle("from_slow", ANY, "", ELSEWHERE),
    idle("spaces_between_special_tokens", ANY, "", ELSEWHERE),
    idle("sp_model_kwargs", ANY, "", ELSEWHERE),
    idle("do_lower_case", ANY, "", ELSEWHERE),
    idle("verbose", ANY, "", ELSEWHERE),
];

/// The refusal of a key's value.
pub(super) fn refusal(key: &str, value: &Value, supported: &str) -> TokenizerError {
    TokenizerError::Key {
        key: key.chars().take(64).collect(),
        value: Shown::new(value),
        supported: supported.to_string(),
    }
}

/// Refuses keys of a `tokenizer_config.json` that are unknown, and values that their rows do not accept.
pub(super) fn check(config: &Map<String, Value>) -> Result<(), TokenizerError> {
    for (key, value) in config {
        let row = KEYS.iter().find(|row| row.key == key);
        let checked = match row {
            Some(row) => row.check(value),
            None if value.is_null() || has_own_name(key) => Ok(()),
            None => Err("a file without this key, which is unknown,".to_string()),
        };
        checked.map_err(|supported| refusal(key, value, &supported))?;
    }
    Ok(())
}

/// Whether a key names a special token of this tokenizer only, as `image_token`.
pub(super) fn has_own_name(key: &str) -> bool {
    key.ends_with("_token") && ![BEGIN, END].contains(&key) && !SPECIAL_TOKENS.contains(&key)
}
