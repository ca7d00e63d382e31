//! What the files beside a tokenizer make of it: `tokenizer_config.json` and the older `special_tokens_map.json` and
//! `added_tokens.json`.
//!
//! `transformers` builds a tokenizer by the class that these files name, or that is registered for the model_type. The
//! class of any tokenizer takes a `tokenizer.json` as it is; others take of it only vocabulary, merges and post-processor,
//! and have the other parts of their own. All then add the tokens that the files name. The same is done here, to the
//! JSON; other classes, and keys that would change tokens otherwise, are refused by name.

mod build;
mod keys;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::TokenizerError;
use super::chat::{SPECIAL_TOKENS, SpecialTokens, json_object};
use super::config::Registered;
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
    /// Takes a `tokenizer.json` as it is.
    Any,
    /// CodeGen's does the same.
    Gpt2,
    NeoX,
    Qwen2,
    Llama,
    Gemma,
}

/// The name of [`Class::Any`].
const ANY_TOKENIZER: &str = "TokenizersBackend";

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
    others: Vec<(String, Token)>,
    /// Those without names.
    extra: Vec<Token>,
}

impl Class {
    /// The class that `transformers` takes where the files name `stated`, for a model_type with `registered`; of a
    /// `tokenizer.json`, or of `vocab.json` with `merges.txt`.
    fn of(
        stated: &Value,
        registered: Registered,
        json: Option<&[u8]>,
    ) -> Result<Self, TokenizerError> {
        let named = match stated {
            Value::Null => None,
            Value::String(name) if name == "PreTrainedTokenizerFast" => Some(ANY_TOKENIZER),
            Value::String(name) => Some(name.strip_suffix("Fast").unwrap_or(name)),
            _ => return Err(refusal(CLASS, stated, "a text")),
        };
        let over_bytes = || {
            let text = std::str::from_utf8(json.unwrap_or_default()).unwrap_or_default();
            text.contains("\"ByteLevel\"")
        };
        let class = match (registered, named) {
            (Registered::Always(class), _) | (Registered::Class(class), None) => class,
            (Registered::Any, _) | (Registered::Nothing, None) => ANY_TOKENIZER,
            // Llama 3 and others name it, but have BPE over bytes.
            (_, Some("LlamaTokenizer")) if over_bytes() => ANY_TOKENIZER,
            (_, Some(name)) => name,
        };
        let class = match class {
            "GPT2Tokenizer" | "CodeGenTokenizer" => Self::Gpt2,
            "GPTNeoXTokenizer" => Self::NeoX,
            "Qwen2Tokenizer" => Self::Qwen2,
            "LlamaTokenizer" => Self::Llama,
            "GemmaTokenizer" => Self::Gemma,
            ANY_TOKENIZER => Self::Any,
            _ => {
                let others = "the tokenizers of GPT-2, CodeGen, GPT-NeoX, Qwen 2, Llama and Gemma, or \
                              \"PreTrainedTokenizerFast\", which takes tokenizer.json as it is,";
                return Err(refusal(CLASS, stated, others));
            }
        };
        match json {
            None if !class.is_of_bytes() => {
                let only = "a class of byte-level BPE, as \"GPT2Tokenizer\", for vocab.json with merges.txt";
                Err(refusal(CLASS, stated, only))
            }
            _ => Ok(class),
        }
    }

    /// Whether it makes tokens of bytes, by a vocabulary and merges alone.
    fn is_of_bytes(self) -> bool {
        matches!(self, Self::Gpt2 | Self::NeoX | Self::Qwen2)
    }

    /// The special tokens where the files do not say them, in the order of [`SPECIAL_TOKENS`].
    fn tokens(self) -> [Option<&'static str>; 7] {
        let end = Some("<|endoftext|>");
        let (unknown, none) = (Some("<unk>"), None);
        match self {
            Self::Any => [none; 7],
            Self::Gpt2 => [end, end, end, none, none, none, none],
            Self::NeoX => [end, end, end, none, Some("<|padding|>"), none, none],
            Self::Qwen2 => [none, end, end, none, end, none, none],
            Self::Llama => [Some("<s>"), Some("</s>"), unknown, none, none, none, none],
            Self::Gemma => {
                let [bos, eos] = [Some("<bos>"), Some("<eos>")];
                [bos, eos, unknown, none, Some("<pad>"), none, Some("<mask>")]
            }
        }
    }
}

impl TokenizerConfig {
    /// What the files say of a tokenizer whose `config.json` names the class `class` (or `null`); its model_type has
    /// `registered`. It has the `tokenizer.json` with this content, or `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// The file that is to blame, with [`TokenizerError::Key`] or [`TokenizerError::Source`].
    pub fn read(
        registered: Registered,
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
        let mut read = Self::of(Class::of(class, registered, json).map_err(|e| (name, e))?);
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

    /// The special tokens by their names: none, but for what has one.
    pub fn special_tokens(&self) -> SpecialTokens {
        let named = SPECIAL_TOKENS.iter().zip(&self.named);
        let named = named.map(|(name, token)| (name.to_string(), token.as_ref()));
        let others = self.others.iter().map(|(name, t)| (name.clone(), Some(t)));
        let all = named.chain(others);
        all.map(|(name, token)| (name, token.map(|token| token.content.clone())))
            .collect()
    }

    /// GPT-2's tokenizer without files beside it.
    pub fn gpt2() -> Self {
        Self::of(Class::Gpt2)
    }

    /// What a class does where the files say nothing.
    fn of(class: Class) -> Self {
        Self {
            class,
            space: None,
            legacy: false,
            around: [false; 2],
            listed: None,
            older: BTreeMap::new(),
            named: class.tokens().map(|token| token.map(Token::special)),
            others: Vec::new(),
            extra: Vec::new(),
        }
    }

    /// Takes the keys of a `tokenizer_config.json`, which has been checked.
    fn take(&mut self, config: &Map<String, Value>) -> Result<(), TokenizerError> {
        let is_flag = matches!(self.class, Class::Gpt2 | Class::NeoX);
        if is_flag && config.get(SPACE) == Some(&Value::Null) {
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
                self.others.push((key.clone(), token(key, value)?));
            }
        }
        let given = |key| config.get(key).filter(|value| has_tokens(value));
        match (given(EXTRA), given(OLDER_EXTRA)) {
            (Some(Value::Object(named)), None) => {
                for (name, value) in named {
                    self.others.push((name.clone(), token(name, value)?));
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
                self.others.push((key.clone(), mapped(key, value)?));
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
