//! A checkpoint's template, from the files that `transformers` reads it from.
//!
//! A file of its own goes before `tokenizer_config.json`; of several templates with names, "default" is taken.
//! `chat_template.json` is of processors of images and sound, and is not read.

use serde_json::{Map, Value as Json};
use thiserror::Error;

use super::{ChatError, ChatTemplate, SpecialTokens};

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
/// `tokenizer_config.json`; with the tokenizer's special tokens.
///
/// # Errors
/// [`SourceError`], with the name of the file that is to blame.
pub fn find(
    template: Option<File>,
    config: Option<File>,
    tokens: SpecialTokens,
) -> Result<Option<ChatTemplate>, (String, SourceError)> {
    let of = |file: &str| {
        let file = file.to_string();
        move |source| (file, source)
    };
    let (name, source) = match (template, config) {
        (Some((name, text)), _) => (name, Some(utf8(text).map_err(of(name))?)),
        (None, Some((name, json))) => {
            let config = json_object(json).map_err(of(name))?;
            let source = of_config(config.get("chat_template")).map_err(of(name))?;
            (name, source)
        }
        (None, None) => return Ok(None),
    };
    let template = source.map(|source| ChatTemplate::new(source, tokens));
    template.transpose().map_err(|e| of(name)(e.into()))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(template: Option<&str>, config: &str) -> Option<String> {
        let template = template.map(|t| ("chat_template.jinja", t.as_bytes()));
        let config = ("tokenizer_config.json", config.as_bytes());
        let found = find(template, Some(config), SpecialTokens::new()).expect("well-formed files");
        found.map(|found| found.source)
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
            assert_eq!(found(template, config).as_deref(), Some(source), "{config}");
        }
        for none in [
            "{}",
            r#"{"chat_template": null}"#,
            r#"{"chat_template": [{"name": "rag", "template": "t"}]}"#,
        ] {
            assert_eq!(found(None, none), None, "{none}");
        }
        assert!(matches!(find(None, None, SpecialTokens::new()), Ok(None)));
    }

    #[test]
    fn what_is_no_template_is_refused_with_the_file_and_the_key() {
        let file = |name, text| Some((name, text));
        for (template, config, file, named) in [
            (
                file("chat_template.jinja", &b"\xff"[..]),
                None,
                "chat_template.jinja",
                "UTF-8",
            ),
            (
                None,
                file("tokenizer_config.json", b"{"),
                "tokenizer_config.json",
                "JSON",
            ),
            (
                None,
                file("tokenizer_config.json", br#"{"chat_template": 3}"#),
                "tokenizer_config.json",
                "\"chat_template\" is 3",
            ),
            (
                None,
                file(
                    "tokenizer_config.json",
                    br#"{"chat_template": [{"name": "default"}]}"#,
                ),
                "tokenizer_config.json",
                "\"chat_template\" is null",
            ),
        ] {
            let (name, error) = find(template, config, SpecialTokens::new()).expect_err(named);
            assert_eq!(name, file);
            assert!(error.to_string().contains(named), "{named}: {error}");
        }
        let padded = |json: &str, length: usize| {
            (json.to_string() + &" ".repeat(length - json.len())).into_bytes()
        };
        let config = r#"{"chat_template": ""}"#;
        let (most, more) = (padded(config, MAX_JSON), padded(config, MAX_JSON + 1));
        let read = |json| find(None, Some(("c.json", json)), SpecialTokens::new());
        assert!(read(&most).is_ok());
        let (name, error) = read(&more).expect_err("large");
        let said = error.to_string();
        assert!(name == "c.json" && said.contains("4194305 bytes"), "{said}");
    }
}
