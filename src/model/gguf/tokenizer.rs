//! A GGUF file's tokenizer as a `tokenizer.json`.
//!
//! Where `tokenizer.ggml.add_bos_token` is absent, SentencePiece's tokenizers and Llama 3's put their first token before
//! a prompt, and no others, as llama.cpp has it (`llama_vocab::impl::load`) and the checkpoints of which such files are
//! made.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::super::chat::{ChatError, ChatTemplate};
use super::super::tokenizer_parts::around;
use super::architecture::Architecture;
use super::byte_level::{self, Pre};
use super::header::GgufError;
use super::metadata::Metadata;
use super::sentence_piece::{self, Flavour, KEEPING};

/// Longer than any published token, Llama 3's 128 spaces: a token of n bytes is looked at n times.
const MAX_TOKEN: usize = 1 << 9;

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MODEL: &str = "tokenizer.ggml.model";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const TEMPLATE: &str = "tokenizer.chat_template";
const EOS: &str = "tokenizer.ggml.eos_token_id";
pub(super) const SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";

/// The types of tokens that mean something here.
pub(super) const NORMAL: i64 = 1;
pub(super) const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

pub(super) fn json(metadata: &Metadata, architecture: &Architecture) -> Result<Json, GgufError> {
    let tokens = Metadata::required(metadata.texts(TOKENS)?, TOKENS)?;
    let types = metadata.integers(TYPES)?;
    let kind = Metadata::required(metadata.text(MODEL)?, MODEL)?;
    match kind {
        "gpt2" => {
            let types = types.map(Cow::Borrowed);
            let vocabulary = Vocabulary::new(tokens, types)?;
            let pre = Pre::find(metadata, architecture)?;
            let json = byte_level::json(metadata, &vocabulary, pre)?;
            whole(json, metadata, &vocabulary, pre.begins, |_| false)
        }
        "llama" => {
            let flavour = Flavour::of(metadata, architecture)?;
            let (tokens, types) = flavour.spelled(tokens, types);
            let vocabulary = Vocabulary::new(&tokens, types)?;
            let json = sentence_piece::json(metadata, &vocabulary, flavour)?;
            let strips = |token: &str| flavour == Flavour::Phi3 && !KEEPING.contains(&token);
            whole(json, metadata, &vocabulary, true, strips)
        }
        _ => Err(metadata.unsupported(MODEL, "\"gpt2\" or \"llama\"")),
    }
}

/// With what all kinds have. `begins`: whether a token stands before a prompt, if the file does not say; `strips`:
/// whether an added token takes the spaces behind it.
fn whole(
    mut json: Json,
    metadata: &Metadata,
    vocabulary: &Vocabulary,
    begins: bool,
    strips: impl Fn(&str) -> bool,
) -> Result<Json, GgufError> {
    json["version"] = "1.0".into();
    json["added_tokens"] = vocabulary.added(strips);
    json["post_processor"] = post_processor(metadata, vocabulary, begins)?;
    Ok(json)
}

/// The chat template with the special tokens that the file names.
pub(super) fn chat_template(
    metadata: &Metadata,
) -> Result<Option<Result<ChatTemplate, ChatError>>, GgufError> {
    let Some(source) = metadata.text(TEMPLATE)? else {
        return Ok(None);
    };
    let tokens = Metadata::required(metadata.texts(TOKENS)?, TOKENS)?;
    let mut named = BTreeMap::new();
    for (name, key) in [
        ("bos_token", BOS),
        ("eos_token", EOS),
        ("unk_token", "tokenizer.ggml.unknown_token_id"),
        ("pad_token", "tokenizer.ggml.padding_token_id"),
    ] {
        if let Some(id) = metadata.integer(key)? {
            let token = usize::try_from(id).ok().and_then(|id| tokens.get(id));
            let token = token.ok_or_else(|| malformed(key, "not a token"))?;
            named.insert(name.to_string(), Some(token.clone()));
        }
    }
    Ok(Some(ChatTemplate::new(source.to_string(), named)))
}

/// The template that puts tokens around a prompt; `begins`: whether one before it, if the file does not say.
fn post_processor(
    metadata: &Metadata,
    vocabulary: &Vocabulary,
    begins: bool,
) -> Result<Json, GgufError> {
    let token = |add: bool, key: &str| -> Result<Option<(&str, Json)>, GgufError> {
        if !add {
            return Ok(None);
        }
        let id = Metadata::required(metadata.integer(key)?, key)?;
        let text = usize::try_from(id)
            .ok()
            .and_then(|id| vocabulary.tokens.get(id));
        let text = text.ok_or_else(|| malformed(key, "not a token"))?;
        Ok(Some((text, id.into())))
    };
    let before = token(metadata.flag(ADD_BOS)?.unwrap_or(begins), BOS)?;
    let behind = token(metadata.flag(ADD_EOS)? == Some(true), EOS)?;
    Ok(around([before, behind]))
}

pub(super) struct Vocabulary<'a> {
    pub tokens: &'a [String],
    pub ids: BTreeMap<&'a str, usize>,
    types: Option<Cow<'a, [i64]>>,
}

impl<'a> Vocabulary<'a> {
    fn new(tokens: &'a [String], types: Option<Cow<'a, [i64]>>) -> Result<Self, GgufError> {
        let mut ids = BTreeMap::new();
        for (id, token) in tokens.iter().enumerate() {
            if token.len() > MAX_TOKEN {
                let length = token.len();
                return Err(malformed(TOKENS, &format!("token {id} has {length} bytes")));
            }
            if let Some(first) = ids.insert(token.as_str(), id) {
                return Err(malformed(TOKENS, &format!("{first} and {id} are the same")));
            }
        }
        if types
            .as_ref()
            .is_some_and(|types| types.len() != tokens.len())
        {
            return Err(malformed(TYPES, "not as many as tokens"));
        }
        Ok(Self { tokens, ids, types })
    }

    pub fn kind(&self, id: usize) -> i64 {
        self.types.as_ref().map_or(NORMAL, |types| types[id])
    }

    /// The tokens that are looked for in a text before it is split; `strips`: whether one takes the spaces behind it.
    fn added(&self, strips: impl Fn(&str) -> bool) -> Json {
        let ids = 0..self.tokens.len();
        let kinds = [UNKNOWN, CONTROL, USER_DEFINED];
        let added = ids.filter(|id| kinds.contains(&self.kind(*id))).map(|id| {
            let token = &self.tokens[id];
            json!({
                "id": id, "content": token, "special": self.kind(id) != USER_DEFINED,
                "normalized": false, "single_word": false, "lstrip": false, "rstrip": strips(token),
            })
        });
        added.collect()
    }
}

pub(super) fn malformed(key: &str, reason: &str) -> GgufError {
    GgufError::Malformed(format!("metadata {key:?}: {reason}"))
}
