//! What `rope_scaling`, `rope_parameters` and `rope_theta` say about rotations.
//!
//! As in `RotaryEmbeddingConfigMixin` of `transformers` 5: of the two objects `rope_scaling` counts unless it is empty,
//! and the other one is not read at all; a `rope_theta` within it wins over that beside it; `rope_type` wins over `type`,
//! its older name; and for `llama3`, `original_max_position_embeddings` beside it wins over that within it, and is
//! `max_position_embeddings` where neither is there.

use serde_json::{Map, Value};

use super::table::{ANY, NUMBER_OR_NULL, Row, TEXT, only, read};
use super::{ConfigError, Keys};
use crate::quant::{Frequencies, MAX_THETA, Scaling};

const TYPES: &str = r#"a rope_type of "default", "linear" or "llama3""#;
const OTHER: &str = "of a rope_type that is not supported";

/// The keys of the object.
#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    read("rope_type", TEXT, "\"default\"", "\"default\", \"linear\" or \"llama3\""),
    read("type", ANY, "\"default\"", "the older name of rope_type, which wins over it"),
    read("rope_theta", NUMBER_OR_NULL, "", "θ; absent: that beside the object"),
    read("factor", ANY, "", "of \"linear\" and \"llama3\", where it is needed"),
    read("low_freq_factor", ANY, "", "of \"llama3\", where it is needed"),
    read("high_freq_factor", ANY, "", "of \"llama3\", where it is needed"),
    read("original_max_position_embeddings", ANY, "", "of \"llama3\"; absent: max_position_embeddings"),
    only("partial_rotary_factor", &["1.0"], "all lanes of a head are rotated"),
    only("attention_factor", &["null"], OTHER),
    only("beta_fast", &["null"], OTHER),
    only("beta_slow", &["null"], OTHER),
    only("mscale", &["null"], OTHER),
    only("mscale_all_dim", &["null"], OTHER),
    only("truncate", &["null"], OTHER),
    only("short_factor", &["null"], OTHER),
    only("long_factor", &["null"], OTHER),
    only("mrope_section", &["null"], OTHER),
];

/// The rotations of a model with `context` positions.
pub(super) fn frequencies(keys: &Keys, context: usize) -> Result<Frequencies, ConfigError> {
    let nothing = Map::new();
    let (key, map) = object(keys).unwrap_or(("rope_parameters", &nothing));
    let kind = map.get("rope_type").or_else(|| map.get("type"));
    let read: fn(&Numbers) -> Option<Scaling> = match kind.map(Value::as_str) {
        None | Some(Some("default")) => |_| Some(Scaling::None),
        Some(Some("linear")) => linear,
        Some(Some("llama3")) => llama3,
        Some(_) => return keys.refuse(key, TYPES.to_string()),
    };
    for (name, value) in map {
        let row = KEYS.iter().find(|row| row.key == name);
        let checked = match row {
            Some(row) => row.check(value),
            None => Err("an object without it: the key is unknown".to_string()),
        };
        if let Err(supported) = checked {
            return Err(keys.refusal(&format!("{key}.{name}"), value, supported));
        }
    }
    let numbers = Numbers { keys, map, context };
    let stated = map.get("rope_theta").or_else(|| keys.stated("rope_theta"));
    let theta = stated
        .map_or_else(|| keys.value("rope_theta"), Value::clone)
        .as_f64();
    let Some(theta) = theta.filter(|theta| (1.0..=MAX_THETA).contains(theta)) else {
        let supported = format!("a number from 1 to {MAX_THETA:e}");
        if let Some(value) = map.get("rope_theta") {
            return Err(keys.refusal(&format!("{key}.rope_theta"), value, supported));
        }
        return keys.refuse("rope_theta", supported);
    };
    match read(&numbers) {
        Some(scaling) => Ok(Frequencies { theta, scaling }),
        None => keys.refuse(
            key,
            format!(
                "numbers up to {MAX_THETA:e}, factors from 1 on, low_freq_factor below high_freq_factor \
                 (original_max_position_embeddings beside \"{key}\" wins; something is missing or out of range)"
            ),
        ),
    }
}

/// The object that counts, if there is one, and its name.
fn object(keys: &Keys) -> Option<(&'static str, &Map<String, Value>)> {
    let get = |key| Some((key, keys.get(key)?.as_object()?));
    let scaling = get("rope_scaling").filter(|(_, map)| !map.is_empty());
    scaling.or_else(|| get("rope_parameters"))
}

/// Where numbers of a scaling are looked up. Reading gives `None` where one is missing or out of range.
struct Numbers<'a> {
    keys: &'a Keys,
    map: &'a Map<String, Value>,
    context: usize,
}

impl Numbers<'_> {
    fn get(&self, name: &str) -> Option<f64> {
        self.map.get(name)?.as_f64()
    }

    fn factor(&self) -> Option<f64> {
        from_1(self.get("factor")?)
    }

    fn original(&self) -> Option<f64> {
        const KEY: &str = "original_max_position_embeddings";
        let stated = self.keys.stated(KEY).or_else(|| self.map.get(KEY));
        from_1(stated.map_or(Some(self.context as f64), Value::as_f64)?)
    }
}

fn linear(numbers: &Numbers) -> Option<Scaling> {
    let factor = numbers.factor()?;
    Some(Scaling::Linear { factor })
}

fn llama3(numbers: &Numbers) -> Option<Scaling> {
    let low = numbers.get("low_freq_factor")?;
    let high = numbers.get("high_freq_factor")?;
    let scaling = Scaling::Llama3 {
        factor: numbers.factor()?,
        low,
        high,
        original: numbers.original()?,
    };
    (0.0 < low && low < high && high <= MAX_THETA).then_some(scaling)
}

fn from_1(number: f64) -> Option<f64> {
    (1.0..=MAX_THETA).contains(&number).then_some(number)
}
