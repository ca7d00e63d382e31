//! The keys of a configuration, looked up by the tables of its model_type.

use serde_json::{Map, Value};

use super::error::{SHOWN, Shown};
use super::table::{Effect, Row};
use super::types::ModelType;
use super::{ConfigError, MAX_EPSILON, ends};
use crate::quant::Activation;

/// The keys of a configuration.
pub(super) struct Keys {
    pub model: &'static ModelType,
    pub map: Map<String, Value>,
}

impl Keys {
    fn model_type(&self) -> &'static str {
        self.model.tensors.model_type
    }

    pub fn row(&self, key: &str) -> Option<&'static Row> {
        let mut rows = self.model.tables.into_iter().flatten();
        rows.find(|row| row.key == key)
    }

    /// Refuses keys that are in no table, and values that their rows do not accept.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (key, value) in &self.map {
            let row = self.row(key).map(|row| match row.effect {
                Effect::Alias(of) => self.row(of).expect("a row of the same table"),
                _ => row,
            });
            match row.map(|row| row.check(value)) {
                Some(Err(supported)) => return Err(self.refusal(key, value, supported)),
                None if !value.is_null() => {
                    return Err(ConfigError::Unknown {
                        model: self.model_type(),
                        key: key.chars().take(SHOWN).collect(),
                        value: Shown(value.clone()),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The name under which the file states what `key` is: another name wins.
    pub fn name<'a>(&self, key: &'a str) -> &'a str {
        let mut rows = self.model.tables.into_iter().flatten();
        let names = |row: &&Row| matches!(row.effect, Effect::Alias(of) if of == key);
        match rows.find(|row| names(row) && self.map.contains_key(row.key)) {
            Some(row) => row.key,
            None => key,
        }
    }

    /// The value of a key if the file has it, be it `null`.
    pub fn stated(&self, key: &str) -> Option<&Value> {
        self.map.get(self.name(key))
    }

    /// The value of a key for which `null` means the same as its absence, as [`Keys::check`] has seen.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.stated(key).filter(|value| !value.is_null())
    }

    fn required(&self, key: &'static str) -> Result<&Value, ConfigError> {
        let model = self.model_type();
        self.get(key).ok_or(ConfigError::Missing { model, key })
    }

    pub fn refusal(&self, key: &str, value: &Value, supported: String) -> ConfigError {
        ConfigError::Unsupported {
            model: self.model_type(),
            key: key.chars().take(SHOWN).collect(),
            value: Shown(value.clone()),
            supported,
        }
    }

    pub fn refuse<T>(&self, key: &'static str, supported: String) -> Result<T, ConfigError> {
        let value = self.stated(key).unwrap_or(&Value::Null);
        Err(self.refusal(self.name(key), value, supported))
    }

    /// A positive integer of at most `max`.
    pub fn size(&self, key: &'static str, max: usize) -> Result<usize, ConfigError> {
        let size = self.required(key)?.as_u64();
        match size.and_then(|n| usize::try_from(n).ok()) {
            Some(n) if (1..=max).contains(&n) => Ok(n),
            _ => self.refuse(key, format!("an integer from 1 to {max}")),
        }
    }

    /// The same where the file may leave it out, or say `null`: then it is what the table says, if that is a number.
    pub fn optional_size(
        &self,
        key: &'static str,
        max: usize,
    ) -> Result<Option<usize>, ConfigError> {
        let value = self.stated_or_default(key);
        let size = value.as_u64().and_then(|n| usize::try_from(n).ok());
        match size {
            _ if value.is_null() => Ok(None),
            Some(n) if (1..=max).contains(&n) => Ok(Some(n)),
            _ => self.refuse(key, format!("an integer from 1 to {max}")),
        }
    }

    fn default(&self, key: &str) -> Value {
        match self.row(key) {
            Some(row) if !row.default.is_empty() => row.default(),
            _ => Value::Null,
        }
    }

    /// The value of a key, or what its absence means; `null` is a value.
    pub fn stated_or_default(&self, key: &str) -> Value {
        let stated = self.stated(key).cloned();
        stated.unwrap_or_else(|| self.default(key))
    }

    /// The value of a key, or what its absence means; `null` is none.
    pub fn value(&self, key: &str) -> Value {
        let stated = self.get(key).cloned();
        stated.unwrap_or_else(|| self.default(key))
    }

    pub fn epsilon(&self, key: &'static str) -> Result<f64, ConfigError> {
        match self.value(key).as_f64() {
            Some(epsilon) if epsilon > 0.0 && epsilon <= MAX_EPSILON => Ok(epsilon),
            _ => self.refuse(key, format!("a positive number up to {MAX_EPSILON}")),
        }
    }

    /// A flag, of which [`Keys::check`] has seen that it is one.
    pub fn flag(&self, key: &str) -> bool {
        self.value(key) == true
    }

    /// A positive number.
    pub fn factor(&self, key: &'static str) -> Result<f64, ConfigError> {
        const RANGE: std::ops::RangeInclusive<f64> = 1e-6..=1e6;
        match self.value(key).as_f64() {
            Some(factor) if RANGE.contains(&factor) => Ok(factor),
            _ => self.refuse(key, "a number from 10^-6 to 10^6".to_string()),
        }
    }

    /// By the names of `transformers`' table of activations.
    pub fn activation(&self, key: &'static str) -> Result<Activation, ConfigError> {
        match self.value(key).as_str() {
            Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh") => Ok(Activation::GeluTanh),
            // Other ways to write the same polynomial within the tanh.
            Some("gelu_fast" | "gelu_accurate") => Ok(Activation::GeluTanh),
            Some("gelu" | "gelu_python") => Ok(Activation::GeluErf),
            Some("silu" | "swish") => Ok(Activation::Silu),
            Some("relu") => Ok(Activation::Relu),
            Some("quick_gelu") => Ok(Activation::QuickGelu),
            _ => self.refuse(
                key,
                r#""gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate", "gelu", "silu", "relu" or "quick_gelu""#
                    .to_string(),
            ),
        }
    }

    /// Absent it is transformers' default for the architecture; `null` is no token.
    pub fn end_of_text(&self, vocabulary: usize) -> Result<Vec<u32>, ConfigError> {
        let value = self.stated_or_default(ends::ENDS);
        let ends = ends::ends(&value, vocabulary);
        ends.map_err(|supported| self.refusal(ends::ENDS, &value, supported))
    }

    /// `torch.nn.Embedding` fails on a padding token that is beyond its rows, counted from either end.
    pub fn check_padding(&self, vocabulary: usize) -> Result<(), ConfigError> {
        const KEY: &str = "pad_token_id";
        let (value, rows) = (self.stated_or_default(KEY), vocabulary as i64);
        if value.is_null()
            || value
                .as_i64()
                .is_some_and(|token| (-rows..rows).contains(&token))
        {
            return Ok(());
        }
        let supported = format!("null or a token of the vocabulary (vocab_size is {vocabulary})");
        Err(self.refusal(KEY, &value, supported))
    }
}
