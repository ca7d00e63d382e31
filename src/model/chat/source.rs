//! A checkpoint's template, from the files that `transformers` reads it from.
//!
//! A file of its own goes before `tokenizer_config.json`; of several templates with names, "default" is taken.
//! `chat_template.json` is of processors of images and sound, and is not read.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};
use thiserror::Error;

use super::{ChatError, ChatTemplate, SPECIAL_TOKENS};

/// A file of a checkpoint: its name and its content.
pub type File<'a> = (&'a str, &'a [u8]);

/// The largest `tokenizer_config.json` and `special_tokens_map.json`. Published ones reach about 1.5 MB, by their lists of
/// added tokens; as JSON in memory they take dozens of times their size.
const MAX_JSON: usize = 1 << 22;

/// Why a checkpoint's template is refused.
#[derive(Debug, Error)]
pub enum SourceError {
    #[error("not JSON: {0}")]
    Json(String),
    #[error(
        "{0} bytes, more than {MAX_JSON}: leave out entries of \"added_tokens_decoder\" that are no special tokens"
    )]
    TooLarge(usize),
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

/// The template of a checkpoint, if it has one: of `template`, a file that is one, else of `config`, the
/// `tokenizer_config.json`. The special tokens are from there and from `tokens`, the `special_tokens_map.json`.
///
/// # Errors
/// [`SourceError`], with the name of the file that is to blame.
pub fn find(
    template: Option<File>,
    config: Option<File>,
    tokens: Option<File>,
) -> Result<Option<ChatTemplate>, (String, SourceError)> {
    let of = |file: &str| {
        let file = file.to_string();
        move |source| (file, source)
    };
    let (config_name, config) = match config {
        Some((name, json)) => (name, json_object(json).map_err(of(name))?),
        None => ("tokenizer_config.json", Map::new()),
    };
    let (name, source) = match template {
        Some((name, text)) => (name, Some(utf8(text).map_err(of(name))?)),
        None => {
            let source = of_config(config.get("chat_template")).map_err(of(config_name))?;
            (config_name, source)
        }
    };
    let Some(source) = source else {
        return Ok(None);
    };
    let mut stated = stated_tokens(&config).map_err(of(config_name))?;
    // The older file counts where the newer one does not list the tokens themselves.
    if !config.contains_key("added_tokens_decoder")
        && let Some((name, json)) = tokens
    {
        let older = json_object(json).and_then(|map| stated_tokens(&map));
        stated.extend(older.map_err(of(name))?);
    }
    // The class of any tokenizer has no tokens of its own; other classes may.
    let class = config.get("tokenizer_class").and_then(Json::as_str);
    if let Some("PreTrainedTokenizerFast" | "TokenizersBackend") = class {
        for name in SPECIAL_TOKENS {
            stated.entry(name.to_string()).or_insert(None);
        }
    }
    let template = ChatTemplate::new(source, stated);
    template.map(Some).map_err(|e| of(name)(e.into()))
}

/// A file that is an object of JSON, and not too large.
pub fn json_object(json: &[u8]) -> Result<Map<String, Json>, SourceError> {
    if json.len() > MAX_JSON {
        return Err(SourceError::TooLarge(json.len()));
    }
    serde_json::from_slice(json).map_err(|e| SourceError::Json(e.to_string()))
}

/// Python opens the file as text, in which every newline is `\n`.
fn utf8(text: &[u8]) -> Result<String, SourceError> {
    let text = std::str::from_utf8(text).map_err(|_| SourceError::Utf8)?;
    Ok(text.replace("\r\n", "\n").replace('\r', "\n"))
}

fn of_config(template: Option<&Json>) -> Result<Option<String>, SourceError> {
    let text = |template: &Json| match template {
        Json::String(template) => Ok(template.clone()),
        _ => Err(unexpected(
            "chat_template",
            template,
            "a template or a list of {\"name\": …, \"template\": …}",
        )),
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

/// The special tokens that a file states, as texts or as objects with a `content`: the known ones, what else is called
/// `…_token` and has a text, and what `extra_special_tokens` gives a name.
fn stated_tokens(
    file: &Map<String, Json>,
) -> Result<BTreeMap<String, Option<String>>, SourceError> {
    let text = |token: &Json| match (token, token.get("content")) {
        (Json::String(text), _) | (Json::Object(_), Some(Json::String(text))) => Some(text.clone()),
        _ => None,
    };
    let mut stated = BTreeMap::new();
    for (name, token) in file {
        let known = SPECIAL_TOKENS.contains(&name.as_str());
        match text(token) {
            Some(text) if known || name.ends_with("_token") => {
                stated.insert(name.clone(), Some(text));
            }
            None if known && token.is_null() => {
                stated.insert(name.clone(), None);
            }
            None if known => return Err(unexpected(name, token, "a token")),
            _ => {}
        }
    }
    if let Some(Json::Object(extra)) = file.get("extra_special_tokens") {
        for (name, token) in extra {
            let text = text(token).ok_or_else(|| unexpected(name, token, "a token"))?;
            stated.insert(name.clone(), Some(text));
        }
    }
    Ok(stated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(template: Option<&str>, config: &str, map: Option<&str>) -> Option<ChatTemplate> {
        let template = template.map(|t| ("chat_template.jinja", t.as_bytes()));
        let map = map.map(|m| ("special_tokens_map.json", m.as_bytes()));
        let config = ("tokenizer_config.json", config.as_bytes());
        find(template, Some(config), map).expect("well-formed files")
    }

    /// The source and the tokens that a checkpoint is found to have.
    fn read(template: Option<&str>, config: &str, map: Option<&str>) -> (String, String) {
        let found = found(template, config, map).expect("a template");
        let tokens = found.tokens.iter();
        let tokens =
            tokens.map(|(name, token)| format!("{name}={}", token.as_deref().unwrap_or("-")));
        (found.source.clone(), Vec::from_iter(tokens).join(" "))
    }

    #[test]
    fn the_file_goes_before_the_configuration_and_default_before_all() {
        for (template, config, source) in [
            (Some("f\r\n"), r#"{"chat_template": "c"}"#, "f\n"),
            (Some("f"), "{}", "f"),
            (None, r#"{"chat_template": "c"}"#, "c"),
            (None, r#"{"chat_template": {"default": "c"}}"#, "c"),
            (
                None,
                r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "c"}]}"#,
                "c",
            ),
        ] {
            assert_eq!(read(template, config, None).0, source, "{config}");
        }
        for none in [
            "{}",
            r#"{"chat_template": null}"#,
            r#"{"chat_template": [{"name": "rag", "template": "t"}]}"#,
        ] {
            assert_eq!(found(None, none, None), None, "{none}");
        }
        assert!(matches!(find(None, None, None), Ok(None)));
    }

    /// What is not stated is not known, unless the class has no tokens of its own.
    #[test]
    fn tokens_are_those_that_are_stated() {
        let config = |rest: &str| format!(r#"{{"chat_template": "c", {rest}}}"#);
        let tokens = |rest: &str, map| read(None, &config(rest), map).1;
        let stated = r#""bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}, "pad_token": null"#;
        assert_eq!(
            tokens(stated, None),
            "bos_token=<s> eos_token=</s> pad_token=-"
        );
        let map =
            Some(r#"{"bos_token": "<b>", "mask_token": {"content": "<m>"}, "add_x_token": true}"#);
        let both = "bos_token=<b> eos_token=</s> mask_token=<m> pad_token=-";
        assert_eq!(tokens(stated, map), both);
        let more = r#""image_token": "<i>", "add_bos_token": true, "extra_special_tokens": {"end": {"content": "<e>"}}"#;
        assert_eq!(tokens(more, None), "end=<e> image_token=<i>");
        let listed = format!(r#"{stated}, "added_tokens_decoder": {{}}"#);
        assert_eq!(
            tokens(&listed, map),
            "bos_token=<s> eos_token=</s> pad_token=-"
        );
        let any = r#""bos_token": "<s>", "tokenizer_class": "PreTrainedTokenizerFast""#;
        let all = "bos_token=<s> cls_token=- eos_token=- mask_token=- pad_token=- sep_token=- unk_token=-";
        assert_eq!(tokens(any, None), all);
    }

    #[test]
    fn what_is_no_template_is_refused_with_the_file_and_the_key() {
        let file = |name, text| Some((name, text));
        for (template, config, map, file, named) in [
            (
                file("chat_template.jinja", &b"\xff"[..]),
                None,
                None,
                "chat_template.jinja",
                "UTF-8",
            ),
            (
                None,
                file("tokenizer_config.json", b"{"),
                None,
                "tokenizer_config.json",
                "JSON",
            ),
            (
                None,
                file("tokenizer_config.json", br#"{"chat_template": 3}"#),
                None,
                "tokenizer_config.json",
                "\"chat_template\" is 3",
            ),
            (
                None,
                file(
                    "tokenizer_config.json",
                    br#"{"chat_template": [{"name": "default"}]}"#,
                ),
                None,
                "tokenizer_config.json",
                "\"chat_template\" is null",
            ),
            (
                None,
                file(
                    "tokenizer_config.json",
                    br#"{"chat_template": "", "bos_token": {"a": 1}}"#,
                ),
                None,
                "tokenizer_config.json",
                "\"bos_token\"",
            ),
            (
                None,
                file("tokenizer_config.json", br#"{"chat_template": ""}"#),
                file("special_tokens_map.json", b"[]"),
                "special_tokens_map.json",
                "JSON",
            ),
        ] {
            let (name, error) = find(template, config, map).expect_err(named);
            assert_eq!(name, file);
            assert!(error.to_string().contains(named), "{named}: {error}");
        }
        let padded = |json: &str, length: usize| {
            (json.to_string() + &" ".repeat(length - json.len())).into_bytes()
        };
        let config = r#"{"chat_template": ""}"#;
        let (most, more) = (padded(config, MAX_JSON), padded(config, MAX_JSON + 1));
        let map = Some(("special_tokens_map.json", &more[..]));
        assert!(find(None, Some(("c.json", &most)), None).is_ok());
        for (config, map, file) in [
            (&more, None, "c.json"),
            (&most, map, "special_tokens_map.json"),
        ] {
            let (name, error) = find(None, Some(("c.json", config)), map).expect_err("large");
            assert!(
                name == file && error.to_string().contains("4194305 bytes"),
                "{error}"
            );
        }
        let long = "x".repeat(super::super::MAX_TEMPLATE + 1);
        let (name, error) = find(Some(("t.jinja", long.as_bytes())), None, None).expect_err("long");
        assert!(
            name == "t.jinja" && error.to_string().contains("262145 bytes"),
            "{error}"
        );
    }
}
