//! What `rope_scaling`, `rope_parameters` and the keys beside them say about rotations.
//!
//! As in `RotaryEmbeddingConfigMixin` of `transformers` 5: of the two objects `rope_scaling` counts unless it is empty,
//! and the other one is not read at all; θ and the fraction within it win over those beside it; `rope_type` wins over
//! `type`, its older name; and for `llama3`, `yarn` and `longrope`, `original_max_position_embeddings` beside it wins over
//! that within it, and is `max_position_embeddings` where neither is there.
//!
//! `longrope` has two lists of factors: `transformers` takes the long ones for every token, also those before, once
//! a sequence is longer than the original context. One model has one function, so its context is the original one
//! at most, where the short factors count.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::table::{ANY, NUMBER_OR_NULL, Row, TEXT, only, read};
use super::{Config, ConfigError, Keys, Rotation};
use crate::quant::{Frequencies, MAX_THETA, PAIR_FACTORS, Scaling};

const TYPES: &[&str] = &["default", "linear", "llama3", "yarn", "longrope"];
const RANGES: &str = "(something is missing or out of range)";

/// The keys of the object.
#[rustfmt::skip]
pub(super) const KEYS: &[Row] = &[
    read("rope_type", TEXT, "\"default\"", "\"default\", \"linear\", \"llama3\", \"yarn\" or \"longrope\""),
    read("type", ANY, "\"default\"", "the older name of rope_type, which wins over it"),
    read("rope_theta", NUMBER_OR_NULL, "", "θ; absent: that beside the object"),
    read("partial_rotary_factor", NUMBER_OR_NULL, "", "the part of a head's lanes that is rotated; absent: that beside the object"),
    read("factor", ANY, "", "of \"linear\", \"llama3\" and \"yarn\", where it is needed, and of \"longrope\""),
    read("low_freq_factor", ANY, "", "of \"llama3\", where it is needed"),
    read("high_freq_factor", ANY, "", "of \"llama3\", where it is needed"),
    read("original_max_position_embeddings", ANY, "", "of \"llama3\", \"yarn\" and \"longrope\"; absent: max_position_embeddings"),
    read("attention_factor", ANY, "null", "of \"yarn\" and \"longrope\": what rotated lanes are multiplied by; null: computed from factor"),
    read("beta_fast", ANY, "null", "of \"yarn\"; null or 0: 32"),
    read("beta_slow", ANY, "null", "of \"yarn\"; null or 0: 1"),
    read("mscale", ANY, "null", "of \"yarn\", of attention_factor where mscale_all_dim is there too"),
    read("mscale_all_dim", ANY, "null", "of \"yarn\""),
    read("truncate", ANY, "true", "of \"yarn\": whether its range is one of whole pairs"),
    read("short_factor", ANY, "", "of \"longrope\", where it is needed: by what each pair's frequency is divided"),
    read("long_factor", ANY, "", "of \"longrope\", where it is needed: the same of contexts that are not supported"),
    only("mrope_section", &["null"], "of models that read images"),
];

/// Where a rotation is looked up.
pub(super) struct Rope<'a> {
    keys: &'a Keys,
    /// What the object is called.
    key: &'static str,
    map: Cow<'a, Map<String, Value>>,
    /// The keys beside the object for θ and for the part of the lanes; without the second, all lanes are rotated.
    pub theta: &'static str,
    pub fraction: Option<&'static str>,
    /// The rope_types that are supported.
    pub types: &'static [&'static str],
    context: usize,
    head_width: usize,
}

/// What was found.
pub(super) struct Found {
    pub rotation: Rotation,
    /// How many lanes of a head are rotated.
    pub rotated: usize,
    /// The largest number of positions for which that is so.
    pub context: usize,
}

impl<'a> Rope<'a> {
    /// As most model types state it.
    pub fn usual(keys: &'a Keys, config: &Config) -> Self {
        let get = |key| Some((key, keys.get(key)?.as_object()?));
        let scaling = get("rope_scaling").filter(|(_, map)| !map.is_empty());
        let found = scaling.or_else(|| get("rope_parameters"));
        let nothing = || ("rope_parameters", Cow::Owned(Map::new()));
        let (key, map) = found.map_or_else(nothing, |(key, map)| (key, Cow::Borrowed(map)));
        Self::within(keys, config, key, map)
    }

    /// By an object that is called `key`.
    pub fn within(
        keys: &'a Keys,
        config: &Config,
        key: &'static str,
        map: Cow<'a, Map<String, Value>>,
    ) -> Self {
        Self {
            keys,
            key,
            map,
            theta: "rope_theta",
            fraction: None,
            types: TYPES,
            context: config.context,
            head_width: config.head_width,
        }
    }

    /// # Errors
    /// [`ConfigError`], naming the object and the key within it.
    pub fn read(&self) -> Result<Found, ConfigError> {
        let kind = self.map.get("rope_type").or_else(|| self.map.get("type"));
        let kind = kind
            .map_or(Some("default"), Value::as_str)
            .unwrap_or_default();
        let read: fn(&Self, usize) -> Option<(Scaling, f64)> = match kind {
            "default" => |_, _| Some((Scaling::None, 1.0)),
            "linear" => Self::linear,
            "llama3" => Self::llama3,
            "yarn" => Self::yarn,
            "longrope" => Self::longrope,
            _ => return self.other_type(kind),
        };
        if !self.types.contains(&kind) {
            return self.other_type(kind);
        }
        self.check()?;
        let (theta, rotated) = (self.theta()?, self.rotated()?);
        let Some((scaling, factor)) = read(self, rotated) else {
            let supported = format!(
                "numbers up to {MAX_THETA:e}, factors from 1 on, low_freq_factor below high_freq_factor, \
                 original_max_position_embeddings (beside \"{}\" it wins) from 2 on, lists of {} factors (half of the \
                 lanes of hidden_size / num_attention_heads that are rotated) {RANGES}",
                self.key,
                rotated / 2,
            );
            return self.keys.refuse(self.key, supported);
        };
        let context = match kind {
            "longrope" => self.original().map_or(1, |n| n as usize).min(self.context),
            _ => self.context,
        };
        if kind == "yarn" && theta < 2.0 {
            return self
                .keys
                .refuse(self.key, format!("a base from 2 on for \"yarn\" {RANGES}"));
        }
        let frequencies = Frequencies { theta, scaling };
        Ok(Found {
            rotation: Rotation {
                frequencies,
                factor,
            },
            rotated,
            context,
        })
    }

    fn other_type<T>(&self, found: &str) -> Result<T, ConfigError> {
        let types: Vec<_> = self.types.iter().map(|kind| format!("{kind:?}")).collect();
        let supported = format!("a rope_type of {}", types.join(", "));
        Err(self.refusal("rope_type", &found.into(), supported))
    }

    /// Refuses keys that are unknown, and values that their rows do not accept.
    fn check(&self) -> Result<(), ConfigError> {
        for (name, value) in &*self.map {
            let row = KEYS.iter().find(|row| row.key == name);
            let checked = match row {
                Some(row) => row.check(value),
                None => Err("an object without it: the key is unknown".to_string()),
            };
            checked.map_err(|supported| self.refusal(name, value, supported))?;
        }
        Ok(())
    }

    fn refusal(&self, name: &str, value: &Value, supported: String) -> ConfigError {
        self.keys
            .refusal(&format!("{}.{name}", self.key), value, supported)
    }

    fn theta(&self) -> Result<f64, ConfigError> {
        let (within, beside) = (
            self.map.get("rope_theta"),
            self.keys.stated_or_default(self.theta),
        );
        let theta = within.unwrap_or(&beside).as_f64();
        if let Some(theta) = theta.filter(|theta| (1.0..=MAX_THETA).contains(theta)) {
            return Ok(theta);
        }
        let supported = format!("a number from 1 to {MAX_THETA:e}");
        match within {
            Some(value) => Err(self.refusal("rope_theta", value, supported)),
            None => self.keys.refuse(self.theta, supported),
        }
    }

    /// The number of rotated lanes.
    fn rotated(&self) -> Result<usize, ConfigError> {
        const KEY: &str = "partial_rotary_factor";
        let whole = Value::from(1.0);
        let beside = self.fraction.map(|key| self.keys.stated_or_default(key));
        let within = self.map.get(KEY);
        let value = within.or(beside.as_ref()).unwrap_or(&whole);
        let part = value.as_f64().unwrap_or_default();
        // As Python's int().
        let lanes = (self.head_width as f64 * part) as usize;
        let allowed = self.fraction.is_some() || part == 1.0;
        if allowed && (2..=self.head_width).contains(&lanes) && lanes.is_multiple_of(2) {
            return Ok(lanes);
        }
        let heads = format!(
            "heads of {} (hidden_size / num_attention_heads, or head_dim)",
            self.head_width
        );
        let supported = match self.fraction {
            Some(_) => format!("an even number of rotated lanes of {heads}"),
            None => format!("1.0, of an even width of {heads},"),
        };
        Err(match (within, self.fraction) {
            (None, Some(key)) => self.keys.refusal(key, value, supported),
            (None, None) => self
                .keys
                .refusal("head_dim", &self.head_width.into(), supported),
            (Some(value), _) => self.refusal(KEY, value, supported),
        })
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.map.get(name)?.as_f64()
    }

    /// A number of which `null` and 0 mean the same as its absence.
    fn number_or(&self, name: &str, default: f64) -> Option<f64> {
        match self.map.get(name) {
            None | Some(Value::Null) => Some(default),
            Some(value) => value.as_f64().map(|x| if x == 0.0 { default } else { x }),
        }
    }

    fn factor(&self) -> Option<f64> {
        from_1(self.number("factor")?)
    }

    /// The context of training, before it was made longer.
    fn original(&self) -> Option<f64> {
        const KEY: &str = "original_max_position_embeddings";
        let default = || Some(self.keys.stated_or_default(KEY)).filter(|value| !value.is_null());
        let beside = self.keys.stated(KEY).cloned().or_else(default);
        let stated = beside.as_ref().or_else(|| self.map.get(KEY));
        from_1(stated.map_or(Some(self.context as f64), Value::as_f64)?)
    }

    fn linear(&self, _: usize) -> Option<(Scaling, f64)> {
        let factor = self.factor()?;
        Some((Scaling::Linear { factor }, 1.0))
    }

    fn llama3(&self, _: usize) -> Option<(Scaling, f64)> {
        let low = self.number("low_freq_factor")?;
        let high = self.number("high_freq_factor")?;
        let scaling = Scaling::Llama3 {
            factor: self.factor()?,
            low,
            high,
            original: self.original()?,
        };
        (0.0 < low && low < high && high <= MAX_THETA).then_some((scaling, 1.0))
    }

    fn yarn(&self, _: usize) -> Option<(Scaling, f64)> {
        let factor = self.factor()?;
        let scale = |mscale: f64| 0.1 * mscale * libm::log(factor) + 1.0;
        let (own, of_all) = (
            self.number_or("mscale", 0.0)?,
            self.number_or("mscale_all_dim", 0.0)?,
        );
        let computed = match own != 0.0 && of_all != 0.0 {
            // `get_mscale` is 1 for a factor of 1, as this is.
            true => scale(own) / scale(of_all),
            false => scale(1.0),
        };
        let truncate = self
            .map
            .get("truncate")
            .map_or(Some(true), Value::as_bool)?;
        let scaling = Scaling::Yarn {
            factor,
            fast: from_1(self.number_or("beta_fast", 32.0)?)?,
            slow: from_1(self.number_or("beta_slow", 1.0)?)?,
            original: self.original()?,
            truncate,
        };
        Some((scaling, self.attention_factor(computed)?))
    }

    fn longrope(&self, rotated: usize) -> Option<(Scaling, f64)> {
        let list = |name: &str| -> Option<Vec<f32>> {
            let list = self.map.get(name)?.as_array()?;
            let factor = |value: &Value| {
                let factor = value.as_f64()? as f32;
                PAIR_FACTORS.contains(&factor).then_some(factor)
            };
            let factors: Option<Vec<f32>> = list.iter().map(factor).collect();
            factors.filter(|factors| factors.len() == rotated / 2)
        };
        let (short, _) = (list("short_factor")?, list("long_factor")?);
        let original = self.original().filter(|n| *n >= 2.0 && n.fract() == 0.0)?;
        let factor = match self.map.get("factor") {
            None | Some(Value::Null) => self.context as f64 / original,
            Some(value) => value.as_f64()?,
        };
        let computed = match factor <= 1.0 {
            true => 1.0,
            false => (1.0 + libm::log(factor) / libm::log(original)).sqrt(),
        };
        Some((Scaling::Factors(short), self.attention_factor(computed)?))
    }

    /// What is stated, or else what was computed.
    fn attention_factor(&self, computed: f64) -> Option<f64> {
        let factor = match self.map.get("attention_factor") {
            None | Some(Value::Null) => computed,
            Some(value) => value.as_f64()?,
        };
        (1e-3..=1e3).contains(&factor).then_some(factor)
    }
}

fn from_1(number: f64) -> Option<f64> {
    (1.0..=MAX_THETA).contains(&number).then_some(number)
}
