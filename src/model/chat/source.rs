//! A checkpoint's template, from the files that `transformers` reads it from.
//!
//! `chat_template.jinja` goes before `tokenizer_config.json`; of several templates with names, "default" is taken.
//! `chat_template.json` is of processors for images and sound, and not read, nor are the other templates in
//! `additional_chat_templates/`.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use thiserror::Error;

use super::{ChatError, ChatTemplate, SPECIAL_TOKENS};

/// Why a checkpoint's template is refused.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error("not JSON: {0}")]
    Json(String),
    #[error("not UTF-8")]
    Utf8,
    #[error("\"{key}\" is {found}, expected {expected}")]
    Value {
        key: String,
        found: String,
        expected: &'static str,
    },
    #[error(transparent)]
    Template(#[from] ChatError),
}

fn unexpected(key: &str, found: &Json, expected: &'static str) -> SourceError {
    let found: String = found.to_string().chars().take(64).collect();
    SourceError::Value {
        key: key.to_string(),
        found,
        expected,
    }
}

/// The template of a checkpoint, if it has one, from the contents of `chat_template.jinja`, `tokenizer_config.json` and
/// `special_tokens_map.json`.
///
/// # Errors
/// [`SourceError`], for the file that is to blame.
pub fn find(
    template: Option<&[u8]>,
    config: Option<&[u8]>,
    tokens_map: Option<&[u8]>,
) -> Result<Option<ChatTemplate>, SourceError> {
    let config = config.map_or(Ok(Map::new()), object)?;
    let source = match template {
        Some(template) => Some(utf8(template)?),
        None => of_config(config.get("chat_template"))?,
    };
    let Some(source) = source else {
        return Ok(None);
    };
    let mut tokens = tokens(&config)?;
    // The older file counts where the newer one does not list the tokens themselves.
    if !config.contains_key("added_tokens_decoder")
        && let Some(map) = tokens_map
    {
        tokens.extend(self::tokens(&object(map)?)?);
    }
    // The class for any tokenizer has no tokens of its own, other classes may.
    let class = config.get("tokenizer_class").and_then(Json::as_str);
    if let Some("PreTrainedTokenizerFast" | "TokenizersBackend") = class {
        for name in SPECIAL_TOKENS {
            tokens.entry(name.to_string()).or_insert(None);
        }
    }
    Ok(Some(ChatTemplate::new(source, tokens)?))
}

fn object(json: &[u8]) -> Result<Map<String, Json>, SourceError> {
    serde_json::from_slice(json).map_err(|e| SourceError::Json(e.to_string()))
}

/// Python opens the file as text, in which every newline is `\n`.
fn utf8(text: &[u8]) -> Result<String, SourceError> {
    let text = std::str::from_utf8(text).map_err(|_| SourceError::Utf8)?;
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}

fn of_config(template: Option<&Json>) -> Result<Option<String>, SourceError> {
    let key = "chat_template";
    let expected = "a template or a list of {\"name\": …, \"template\": …}";
    let text = |template: &Json| match template {
        Json::String(template) => Ok(template.clone()),
        _ => Err(unexpected(key, template, expected)),
    };
    match template {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Array(templates)) => {
            let named = |template: &&Json| template["name"].as_str() == Some("default");
            // Of equal names, the last one counts.
            let default = templates.iter().rev().find(named);
            default
                .map(|default| text(&default["template"]))
                .transpose()
        }
        Some(Json::Object(templates)) => templates.get("default").map(text).transpose(),
        Some(template) => text(template).map(Some),
    }
}

/// The special tokens that a file states: as texts, or as objects with a `content`.
fn tokens(file: &Map<String, Json>) -> Result<BTreeMap<String, Option<String>>, SourceError> {
    let stated = SPECIAL_TOKENS
        .into_iter()
        .filter_map(|name| Some((name, file.get(name)?)));
    let token = |(name, token): (&str, &Json)| {
        let text = match token {
            Json::Null => None,
            Json::String(text) => Some(text.clone()),
            Json::Object(object) => match object.get("content") {
                Some(Json::String(text)) => Some(text.clone()),
                _ => return Err(unexpected(name, token, "a token with a content")),
            },
            _ => return Err(unexpected(name, token, "a token")),
        };
        Ok((name.to_string(), text))
    };
    stated.map(token).collect()
}
