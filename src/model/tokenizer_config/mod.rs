//! What the files beside a tokenizer make of it: `tokenizer_config.json` and the older `special_tokens_map.json` and
//! `added_tokens.json`.
//!
//! `transformers` builds a tokenizer by the class that these files name. The class of any tokenizer takes a
//! `tokenizer.json` as it is; GPT-2's and Llama's take of it only vocabulary, merges and post-processor, and have the
//! other parts of their own. Both then add the tokens that the files name. The same is done here, to the JSON; other
//! classes, and keys that would change tokens otherwise, are refused by name.

mod build;
mod keys;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::TokenizerError;
use super::chat::{SPECIAL_TOKENS, json_object};
use super::layout::{ADDED_TOKENS, CONFIG, TOKENIZER_CONFIG, TOKENS_MAP};
#[cfg(test)]
pub(super) use keys::KEYS;
use keys::{
    BEGIN, CLASS, END, EXTRA, LEGACY, LISTED, OLDER_EXTRA, SPACE, check, has_own_name, refusal,
};

/// Contents of the files, where they are there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Files<'a> {
    pub config: Option<&'a [u8]>,
    pub tokens_map: Option<&'a [u8]>,
    pub added_tokens: Option<&'a [u8]>,
}

/// A class of `transformers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Any,
    Gpt2,
    Llama,
}

/// An added token, as `tokenizer.json` states it but for its id.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Token {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    /// Absent: if it is not special.
    #[serde(default)]
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl Token {
    fn special(content: &str) -> Self {
        Self {
            content: content.to_string(),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: None,
            special: true,
        }
    }

    /// With all that is left open.
    fn settled(mut self) -> Self {
        self.normalized.get_or_insert(!self.special);
        self
    }
}

/// What the files say.
#[derive(Clone, Debug)]
pub(super) struct TokenizerConfig {
    class: Class,
    /// Whether a space is put before a text.
    space: Option<bool>,
    legacy: bool,
    /// Whether a prompt begins with `bos_token` and ends with `eos_token`, where no `tokenizer.json` says it.
    around: [bool; 2],
    /// The added tokens by their places, if they are listed.
    listed: Option<BTreeMap<u64, Token>>,
    /// Those of `added_tokens.json`.
    older: BTreeMap<u64, Token>,
    /// The special tokens of [`SPECIAL_TOKENS`].
    named: [Option<Token>; 7],
    /// Those with other names, in no order.
    others: Vec<Token>,
    /// Those without names.
    extra: Vec<Token>,
}

impl Class {
    /// The class that is named, or else that of the model: of a `tokenizer.json`, or of `vocab.json` with `merges.txt`.
    fn of(stated: &Value, model: &str, json: Option<&[u8]>) -> Result<Self, TokenizerError> {
        let default = Value::String(model.to_string());
        let stated = if stated.is_null() { &default } else { stated };
        let text = json.map_or("", |json| std::str::from_utf8(json).unwrap_or_default());
        let class = match stated {
            Value::String(name) => match name.as_str() {
                "GPT2Tokenizer" | "GPT2TokenizerFast" => Self::Gpt2,
                // Llama 3 and others name it, but have BPE over bytes.
                "LlamaTokenizer" | "LlamaTokenizerFast" if text.contains("\"ByteLevel\"") => {
                    Self::Any
                }
                "LlamaTokenizer" | "LlamaTokenizerFast" => Self::Llama,
                "PreTrainedTokenizerFast" | "TokenizersBackend" => Self::Any,
                _ => {
                    let others = "\"GPT2Tokenizer\", \"LlamaTokenizer\" or \"PreTrainedTokenizerFast\", which takes \
                                  tokenizer.json as it is,";
                    return Err(refusal(CLASS, stated, others));
                }
            },
            _ => return Err(refusal(CLASS, stated, "a text")),
        };
        match json {
            None if class != Self::Gpt2 => {
                let only = "\"GPT2Tokenizer\" for vocab.json with merges.txt";
                Err(refusal(CLASS, stated, only))
            }
            _ => Ok(class),
        }
    }

    /// The special tokens where the files do not say them: `bos_token`, `eos_token` and `unk_token`.
    fn tokens(self) -> [Option<&'static str>; 3] {
        match self {
            Self::Any => [None; 3],
            Self::Gpt2 => [Some("<|endoftext|>"); 3],
            Self::Llama => [Some("<s>"), Some("</s>"), Some("<unk>")],
        }
    }
}

impl TokenizerConfig {
    /// What the files say of the tokenizer of a model that has the class `model` unless its `config.json` names one,
    /// `class` (or `null`). It has the `tokenizer.json` with this content, or `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// The file that is to blame, with [`TokenizerError::Key`] or [`TokenizerError::Source`].
    pub fn read(
        model: &str,
        class: &Value,
        json: Option<&[u8]>,
        files: Files,
    ) -> Result<Self, (&'static str, TokenizerError)> {
        let object = |name, json: Option<&[u8]>| match json.map_or(Ok(Map::new()), json_object) {
            Ok(object) => Ok(object),
            Err(source) => Err((name, source.into())),
        };
        let config = object(TOKENIZER_CONFIG, files.config)?;
        check(&config).map_err(|e| (TOKENIZER_CONFIG, e))?;
        let (name, class) = match config.get(CLASS) {
            None | Some(Value::Null) => (CONFIG, class),
            Some(class) => (TOKENIZER_CONFIG, class),
        };
        let mut read = Self::of(Class::of(class, model, json).map_err(|e| (name, e))?);
        read.take(&config).map_err(|e| (TOKENIZER_CONFIG, e))?;
        if json.is_some() {
            read.around = [false; 2];
        }
        if read.listed.is_none() {
            let map = object(TOKENS_MAP, files.tokens_map)?;
            let has_extra = config.contains_key(EXTRA) || config.contains_key(OLDER_EXTRA);
            let taken = read.take_map(&map, has_extra);
            taken.map_err(|e| (TOKENS_MAP, e))?;
            let added = object(ADDED_TOKENS, files.added_tokens)?;
            read.take_added(&added).map_err(|e| (ADDED_TOKENS, e))?;
        }
        Ok(read)
    }

    /// GPT-2's tokenizer without files beside it.
    pub fn gpt2() -> Self {
        Self::of(Class::Gpt2)
    }

    /// What a class does where the files say nothing.
    fn of(class: Class) -> Self {
        let [bos, eos, unknown] = class.tokens().map(|token| token.map(Token::special));
        Self {
            class,
            space: None,
            legacy: false,
            around: [false; 2],
            listed: None,
            older: BTreeMap::new(),
            named: [bos, eos, unknown, None, None, None, None],
            others: Vec::new(),
            extra: Vec::new(),
        }
    }

    /// Takes the keys of a `tokenizer_config.json`, which has been checked.
    fn take(&mut self, config: &Map<String, Value>) -> Result<(), TokenizerError> {
        if self.class == Class::Gpt2 && config.get(SPACE) == Some(&Value::Null) {
            return Err(refusal(SPACE, &Value::Null, "true or false"));
        }
        let flag = |key| config.get(key).and_then(Value::as_bool);
        self.space = flag(SPACE);
        self.legacy = flag(LEGACY) == Some(true);
        self.around = [BEGIN, END].map(|key| flag(key) == Some(true));
        for (key, value) in config {
            if let Some(at) = SPECIAL_TOKENS.iter().position(|name| name == key) {
                self.named[at] = match value {
                    Value::Null => None,
                    value => Some(token(key, value)?),
                };
            } else if has_own_name(key) && !value.is_boolean() && !value.is_null() {
                self.others.push(token(key, value)?);
            }
        }
        let given = |key| config.get(key).filter(|value| has_tokens(value));
        match (given(EXTRA), given(OLDER_EXTRA)) {
            (Some(Value::Object(named)), None) => {
                for (name, value) in named {
                    self.others.push(token(name, value)?);
                }
            }
            (Some(named @ Value::Object(_)), Some(_)) => {
                let one = format!("an object without {OLDER_EXTRA} beside it");
                return Err(refusal(EXTRA, named, &one));
            }
            (Some(tokens), _) => self.extra = list(EXTRA, tokens)?,
            (None, Some(tokens)) => self.extra = list(OLDER_EXTRA, tokens)?,
            (None, None) => {}
        }
        let listed = config.get(LISTED).and_then(Value::as_object);
        self.listed = listed.map(by_place).transpose()?;
        Ok(())
    }

    /// Takes the keys of a `special_tokens_map.json`, which win; but not over tokens without names.
    fn take_map(
        &mut self,
        map: &Map<String, Value>,
        has_extra: bool,
    ) -> Result<(), TokenizerError> {
        for (key, value) in map {
            if let Some(at) = SPECIAL_TOKENS.iter().position(|name| name == key) {
                self.named[at] = match value {
                    Value::Null => None,
                    value => Some(mapped(key, value)?),
                };
            } else if key == OLDER_EXTRA {
                let tokens = list(key, value)?;
                if !has_extra {
                    self.extra = tokens;
                }
            } else if has_own_name(key) && !value.is_boolean() {
                self.others.push(mapped(key, value)?);
            } else {
                return Err(refusal(key, value, "a file without this key"));
            }
        }
        Ok(())
    }

    /// Takes the tokens of an `added_tokens.json`, which are special if they are called so.
    fn take_added(&mut self, added: &Map<String, Value>) -> Result<(), TokenizerError> {
        let named = self.named.iter().flatten().chain(&self.extra);
        let named: HashSet<&str> = named.map(|token| token.content.as_str()).collect();
        for (content, id) in added {
            let place = id.as_u64();
            let place = place.ok_or_else(|| refusal(content, id, "an id"))?;
            let mut token = Token::special(content);
            token.special = named.contains(content.as_str());
            self.older.insert(place, token);
        }
        Ok(())
    }
}

fn has_tokens(value: &Value) -> bool {
    match value {
        Value::Array(tokens) => !tokens.is_empty(),
        Value::Object(tokens) => !tokens.is_empty(),
        _ => false,
    }
}

/// A special token: its text, or what Python saves of an `AddedToken`.
fn token(key: &str, value: &Value) -> Result<Token, TokenizerError> {
    let other = || refusal(key, value, "a token");
    match value {
        Value::String(text) => Ok(Token::special(text)),
        Value::Object(fields) if fields.get("__type") == Some(&json!("AddedToken")) => {
            let mut fields = fields.clone();
            fields.remove("__type");
            serde_json::from_value(fields.into()).map_err(|_| other())
        }
        _ => Err(other()),
    }
}

/// A special token of a `special_tokens_map.json`.
fn mapped(key: &str, value: &Value) -> Result<Token, TokenizerError> {
    match value {
        Value::Object(fields) => {
            let mut fields = fields.clone();
            fields.insert("special".into(), true.into());
            serde_json::from_value(fields.into()).map_err(|_| refusal(key, value, "a token"))
        }
        value => token(key, value),
    }
}

fn list(key: &str, value: &Value) -> Result<Vec<Token>, TokenizerError> {
    let tokens = value.as_array();
    let tokens = tokens.ok_or_else(|| refusal(key, value, "a list of tokens"))?;
    tokens.iter().map(|value| token(key, value)).collect()
}

/// The tokens of [`LISTED`].
fn by_place(listed: &Map<String, Value>) -> Result<BTreeMap<u64, Token>, TokenizerError> {
    let tokens = listed.iter().map(|(place, value)| {
        match (place.parse(), serde_json::from_value(value.clone())) {
            (Ok(place), Ok(token)) => Ok((place, token)),
            _ => Err(refusal(
                LISTED,
                &json!({place: value}),
                "added tokens by their ids",
            )),
        }
    });
    tokens.collect()
}
