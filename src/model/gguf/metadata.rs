//! A GGUF file's metadata.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::architecture::Architecture;
use super::header::GgufError;

/// A value of the metadata. An `f32` is held as the number that its shortest decimal means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Integer(i64),
    Float(f64),
    Flag(bool),
    Text(String),
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Texts(Vec<String>),
}

/// Values by their keys.
pub(super) struct Metadata(BTreeMap<String, Value>);

impl Metadata {
    pub fn new(values: BTreeMap<String, Value>) -> Self {
        Self(values)
    }

    /// The refusal of what is under `key`.
    pub fn unsupported(&self, key: &str, supported: &str) -> GgufError {
        let found = match self.0.get(key) {
            Some(Value::Integer(value)) => value.to_string(),
            Some(Value::Float(value)) => value.to_string(),
            Some(Value::Flag(value)) => value.to_string(),
            Some(Value::Text(value)) => format!("{:?}", value.chars().take(64).collect::<String>()),
            Some(_) => "a list".to_string(),
            None => "absent".to_string(),
        };
        GgufError::Unsupported {
            what: format!("metadata {key:?}"),
            found,
            supported: supported.to_string(),
        }
    }

    /// What `pick` makes of the value under `key`, if there is one.
    fn get<'a, T>(
        &'a self,
        key: &str,
        kind: &str,
        pick: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, GgufError> {
        match self.0.get(key) {
            None => Ok(None),
            Some(value) => match pick(value) {
                Some(value) => Ok(Some(value)),
                None => Err(self.unsupported(key, kind)),
            },
        }
    }

    pub fn integer(&self, key: &str) -> Result<Option<u64>, GgufError> {
        self.get(key, "a whole number", |value| match value {
            Value::Integer(value) => u64::try_from(*value).ok(),
            _ => None,
        })
    }

    pub fn float(&self, key: &str) -> Result<Option<f64>, GgufError> {
        self.get(key, "a number", |value| match value {
            Value::Float(value) if value.is_finite() => Some(*value),
            _ => None,
        })
    }

    pub fn flag(&self, key: &str) -> Result<Option<bool>, GgufError> {
        self.get(key, "true or false", |value| match value {
            Value::Flag(value) => Some(*value),
            _ => None,
        })
    }

    pub fn text(&self, key: &str) -> Result<Option<&str>, GgufError> {
        self.get(key, "a text", |value| match value {
            Value::Text(value) => Some(value.as_str()),
            _ => None,
        })
    }

    // The type of an empty list is of no consequence.
    pub fn texts(&self, key: &str) -> Result<Option<&[String]>, GgufError> {
        self.get(key, "a list of texts", |value| match value {
            Value::Texts(values) => Some(&values[..]),
            Value::Integers(none) if none.is_empty() => Some(&[]),
            _ => None,
        })
    }

    pub fn integers(&self, key: &str) -> Result<Option<&[i64]>, GgufError> {
        self.get(key, "a list of whole numbers", |value| match value {
            Value::Integers(values) => Some(&values[..]),
            _ => None,
        })
    }

    pub fn floats(&self, key: &str) -> Result<Option<&[f64]>, GgufError> {
        self.get(key, "a list of numbers", |value| match value {
            Value::Floats(values) => Some(&values[..]),
            _ => None,
        })
    }

    pub fn required<T>(value: Option<T>, key: &str) -> Result<T, GgufError> {
        value.ok_or_else(|| GgufError::Missing(key.to_string()))
    }

    pub fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub fn get_any(&self, key: &str) -> Option<&Value> {
        self.0.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.0.iter()
    }

    /// Refuses a value other than `only`, which is what its absence means.
    pub fn expect(&self, key: &str, only: &Value, supported: &str) -> Result<(), GgufError> {
        match self.0.get(key) {
            Some(found) if found != only => Err(self.unsupported(key, supported)),
            _ => Ok(()),
        }
    }

    /// Refuses keys of the architecture that are in none of its tables, and values that are not accepted.
    pub fn check(&self, architecture: &Architecture) -> Result<(), GgufError> {
        for (key, value) in &self.0 {
            let name = key.strip_prefix(architecture.name);
            let Some(name) = name.and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            let checked = match architecture.row(name) {
                Some(row) => row.check(&value.json()),
                None => Err("a file without it: the key is unknown".to_string()),
            };
            checked.map_err(|supported| self.unsupported(key, &supported))?;
        }
        Ok(())
    }
}

impl Value {
    /// The same in JSON; numbers that are none there become `null`.
    fn json(&self) -> Json {
        match self {
            Self::Integer(value) => (*value).into(),
            Self::Float(value) => (*value).into(),
            Self::Flag(value) => (*value).into(),
            Self::Text(value) => value.as_str().into(),
            Self::Integers(_) | Self::Floats(_) | Self::Texts(_) => json!([]),
        }
    }
}
