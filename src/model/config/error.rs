//! Why a configuration is refused.

use std::fmt;

use serde_json::Value;
use thiserror::Error;

use super::{MAX_BYTES, MAX_PARAMETERS};

/// Why a `config.json` is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("the file has {0} bytes, more than the {MAX_BYTES} a configuration may have")]
    TooLarge(usize),
    #[error("not a JSON object: {0}")]
    Json(#[from] serde_json::Error),
    #[error("NaN and Infinity are no numbers of JSON: replace the value in line {line}")]
    NotANumber { line: usize },
    #[error("\"model_type\" is {value}, but {reason}")]
    ModelType { value: Shown, reason: String },
    #[error(
        "the key \"{key}\" is missing: the file is not a complete configuration of model_type \"{model}\""
    )]
    Missing {
        model: &'static str,
        key: &'static str,
    },
    #[error("\"{key}\" is {value}, but only {supported} is supported for model_type \"{model}\"")]
    Unsupported {
        model: &'static str,
        key: String,
        value: Shown,
        supported: String,
    },
    #[error(
        "\"{key}\" is {value}: for model_type \"{model}\" this key is unknown, and may change the answers: remove it \
         from the file if it does not"
    )]
    Unknown {
        model: &'static str,
        key: String,
        value: Shown,
    },
    #[error("\"{key}\" is {value}, but only {supported} is supported: answers are plainly greedy")]
    Generation {
        key: String,
        value: Shown,
        supported: String,
    },
    #[error(
        "a model of {parameters} parameters is more than the {MAX_PARAMETERS} that are supported: the sizes of the \
         model_type \"{model}\" are damaged"
    )]
    Parameters {
        model: &'static str,
        parameters: u64,
    },
}

impl ConfigError {
    /// The same with other names for some keys: (name in a `config.json`, name to say).
    pub(in crate::model) fn renamed(self, names: &[(&str, String)]) -> Self {
        let rename = |key: String| match names.iter().find(|(name, _)| *name == key) {
            Some((_, other)) => other.clone(),
            None => key,
        };
        match self {
            Self::Unsupported {
                model,
                key,
                value,
                supported,
            } => {
                let replace =
                    |text: String, (name, other): &(&str, String)| text.replace(name, other);
                Self::Unsupported {
                    model,
                    key: rename(key),
                    value,
                    supported: names.iter().fold(supported, replace),
                }
            }
            other => other,
        }
    }
}

/// How many characters of a key or a value a message shows.
pub(super) const SHOWN: usize = 120;

/// A value as a message shows it: the beginning of a long one.
#[derive(Debug)]
pub struct Shown(pub(super) Value);

impl Shown {
    pub(in crate::model) fn new(value: &Value) -> Self {
        Self(value.clone())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(f, "{}…", &text[..end]),
            None => f.write_str(&text),
        }
    }
}
