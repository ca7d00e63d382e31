//! Tables of the keys of a configuration: what each does, or why it does nothing here.
//!
//! Types and defaults are those of `transformers` 5, which fails on values of other types; so `null` is a value like
//! others, and refused where it is none. A key that is in no table is refused unless it is `null`.

use serde_json::Value;

/// What a key may hold. `transformers` tells numbers with a point from whole ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::model) enum Kind {
    Any,
    Null,
    Flag,
    Integer,
    Float,
    Number,
    /// A number from 0 to 1.
    Probability,
    /// The same, with a point.
    Fraction,
    Text,
    List,
    Object,
    /// An object whose keys are whole numbers.
    Labels,
}

/// What happens to a key.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) enum Effect {
    /// It becomes part of the model.
    Read(&'static str),
    /// It changes no answer, for this reason.
    Idle(&'static str),
    /// It would change answers: only these values, written as JSON, are accepted.
    Only(&'static [&'static str], &'static str),
    /// It is another name of a key of the same table, which it wins over.
    Alias(&'static str),
}

/// A key of a configuration.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Row {
    pub key: &'static str,
    pub kinds: &'static [Kind],
    /// What a file without the key means, as JSON; empty where that is nothing that a value could say.
    pub default: &'static str,
    pub effect: Effect,
}

pub(in crate::model) const ANY: &[Kind] = &[Kind::Any];
pub(in crate::model) const FLAG: &[Kind] = &[Kind::Flag];
pub(in crate::model) const INTEGER: &[Kind] = &[Kind::Integer];
pub(in crate::model) const INTEGER_OR_NULL: &[Kind] = &[Kind::Integer, Kind::Null];
pub(in crate::model) const FLOAT: &[Kind] = &[Kind::Float];
pub(in crate::model) const NUMBER_OR_NULL: &[Kind] = &[Kind::Number, Kind::Null];
pub(in crate::model) const TEXT: &[Kind] = &[Kind::Text];

pub(in crate::model) const fn read(
    key: &'static str,
    kinds: &'static [Kind],
    default: &'static str,
    what: &'static str,
) -> Row {
    let effect = Effect::Read(what);
    Row {
        key,
        kinds,
        default,
        effect,
    }
}

pub(in crate::model) const fn idle(
    key: &'static str,
    kinds: &'static [Kind],
    default: &'static str,
    why: &'static str,
) -> Row {
    let effect = Effect::Idle(why);
    Row {
        key,
        kinds,
        default,
        effect,
    }
}

/// Of the `values`, the first is what a file without the key means.
pub(in crate::model) const fn only(
    key: &'static str,
    values: &'static [&'static str],
    why: &'static str,
) -> Row {
    let default = match values {
        [first, ..] => first,
        [] => "",
    };
    let (kinds, effect) = (ANY, Effect::Only(values, why));
    Row {
        key,
        kinds,
        default,
        effect,
    }
}

/// Another name of a key that holds a whole number.
pub(in crate::model) const fn alias(key: &'static str, of: &'static str) -> Row {
    let (kinds, effect) = (INTEGER, Effect::Alias(of));
    Row {
        key,
        kinds,
        default: "",
        effect,
    }
}

impl Row {
    /// What a file without the key means.
    ///
    /// Panics where no value could say it.
    pub fn default(&self) -> Value {
        parsed(self.default)
    }

    /// What the key does, or why it does nothing.
    pub fn text(&self) -> &'static str {
        match self.effect {
            Effect::Read(text) | Effect::Idle(text) | Effect::Only(_, text) => text,
            Effect::Alias(of) => of,
        }
    }

    /// Whether the value is one that the row accepts; if not, which are.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        if let Effect::Only(values, why) = self.effect {
            if values.iter().any(|only| same(&parsed(only), value)) {
                return Ok(());
            }
            return Err(match values {
                [] => format!("a file without it ({why})"),
                values => format!("{} ({why})", values.join(" or ")),
            });
        }
        if self.kinds.iter().any(|kind| kind.holds(value)) {
            return Ok(());
        }
        let names: Vec<_> = self.kinds.iter().map(|kind| kind.name()).collect();
        Err(format!("{} ({})", names.join(" or "), self.text()))
    }
}

impl Kind {
    fn holds(self, value: &Value) -> bool {
        let unit = value.as_f64().is_some_and(|x| (0.0..=1.0).contains(&x));
        match self {
            Self::Any => true,
            Self::Null => value.is_null(),
            Self::Flag => value.is_boolean(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Float => value.is_f64(),
            Self::Number => value.is_number(),
            Self::Probability => unit,
            Self::Fraction => value.is_f64() && unit,
            Self::Text => value.is_string(),
            Self::List => value.is_array(),
            Self::Object => value.is_object(),
            Self::Labels => value
                .as_object()
                .is_some_and(|labels| labels.keys().all(|key| key.parse::<i64>().is_ok())),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "anything",
            Self::Null => "null",
            Self::Flag => "true or false",
            Self::Integer => "a whole number",
            Self::Float => "a number with a point or an exponent",
            Self::Number => "a number",
            Self::Probability => "a number from 0 to 1",
            Self::Fraction => "a number from 0 to 1, with a point or an exponent",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Object => "an object",
            Self::Labels => "an object with whole numbers as keys",
        }
    }
}

/// A value that a table writes as JSON.
pub(in crate::model) fn parsed(json: &str) -> Value {
    serde_json::from_str(json).expect("tables hold JSON")
}

/// Equality of values as Python has it, but for true and 1: 1 is 1.0.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}
