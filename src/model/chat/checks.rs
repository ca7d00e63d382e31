//! What can stand after `is`, as Jinja's tests.

use super::arguments::{Arguments, required};
use super::budget::Budget;
use super::compare::{Number, contains, equal, less};
use super::fault::{Fault, failed, unsupported};
use super::value::{Value, View};

/// `value is name(arguments)`.
///
/// # Errors
/// Where the test is not supported, or fails.
pub(super) fn holds(
    name: &str,
    value: &Value,
    arguments: Arguments,
    budget: &Budget,
) -> Result<bool, Fault> {
    budget.steps(1)?;
    match name {
        "eq" | "equalto" | "==" | "ne" | "!=" | "lt" | "lessthan" | "<" | "le" | "<=" | "gt"
        | "greaterthan" | ">" | "ge" | ">=" | "in" | "sameas" | "divisibleby" => {
            let [other] = arguments.bind(name, [""])?;
            binary(name, value, &required(name, other)?, budget)
        }
        _ => {
            let [] = arguments.bind(name, [])?;
            unary(name, value, budget)
        }
    }
}

fn binary(name: &str, value: &Value, other: &Value, budget: &Budget) -> Result<bool, Fault> {
    match name {
        "ne" | "!=" => equal(value, other, budget).map(|same| !same),
        "lt" | "lessthan" | "<" => less(value, other, budget),
        "gt" | "greaterthan" | ">" => less(other, value, budget),
        "le" | "<=" => at_most(value, other, budget),
        "ge" | ">=" => at_most(other, value, budget),
        "in" => contains(other, value, budget),
        "divisibleby" => Ok(remainder(value, other)? == 0),
        "sameas" => match (value, other) {
            (Value::None, Value::None) => Ok(true),
            (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
            _ if value.type_name() == other.type_name() => {
                let what = format!("whether a {} is the same object", value.type_name());
                Err(unsupported(what))
            }
            _ => Ok(false),
        },
        _ => equal(value, other, budget),
    }
}

/// `a <= b`. (Not the same as not b < a with a NaN.)
pub(super) fn at_most(a: &Value, b: &Value, budget: &Budget) -> Result<bool, Fault> {
    Ok(less(a, b, budget)? || equal(a, b, budget)?)
}

fn remainder(value: &Value, by: &Value) -> Result<i64, Fault> {
    match (value, Number::of(value), Number::of(by)) {
        (_, Some(Number::Int(a)), Some(Number::Int(b))) if b != 0 => Ok(a.wrapping_rem(b)),
        (Value::Undefined(what), ..) => Err(failed(what)),
        (Value::Text(_), ..) => Err(unsupported("% as the formatting of a text")),
        (_, Some(Number::Float(_)), _) | (_, _, Some(Number::Float(_))) => {
            Err(unsupported("the remainder of a float"))
        }
        _ => Err(failed("no remainder")),
    }
}

fn unary(name: &str, value: &Value, budget: &Budget) -> Result<bool, Fault> {
    Ok(match name {
        "defined" => !matches!(value, Value::Undefined(_)),
        "undefined" => matches!(value, Value::Undefined(_)),
        "none" => matches!(value, Value::None),
        "boolean" => matches!(value, Value::Bool(_)),
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "integer" => matches!(value, Value::Int(_)),
        "float" => matches!(value, Value::Float(_)),
        "number" => Number::of(value).is_some(),
        "string" => matches!(value, Value::Text(_) | Value::Marked(_)),
        "mapping" => matches!(value, Value::Dict(_)),
        // What has a length and items; a dict is one.
        "sequence" => matches!(
            value,
            Value::Text(_)
                | Value::Marked(_)
                | Value::List(_)
                | Value::Tuple(_)
                | Value::Range(_)
                | Value::Dict(_)
                | Value::Undefined(_)
        ),
        "iterable" => match value {
            Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) => false,
            Value::Namespace(_) | Value::Macro(_) | Value::Function(_) | Value::Method(_) => false,
            Value::Undefined(_) | Value::Text(_) | Value::Marked(_) => true,
            Value::List(_) | Value::Tuple(_) | Value::Range(_) | Value::Dict(_) => true,
            Value::View(_, View::Keys | View::Values | View::Items) => true,
            Value::Stream(_) | Value::Loop(_) => true,
        },
        "odd" | "even" => {
            let remainder = remainder(value, &Value::Int(2))?;
            (remainder != 0) == (name == "odd")
        }
        "lower" | "upper" => match value {
            Value::Text(text) if text.is_ascii() => {
                budget.bytes(text.len(), 0)?;
                let wrong = match name {
                    "lower" => u8::is_ascii_uppercase,
                    _ => u8::is_ascii_lowercase,
                };
                let cased = text.bytes().any(|b| b.is_ascii_alphabetic());
                cased && !text.bytes().any(|b| wrong(&b))
            }
            _ => return Err(unsupported(format!("the test \"{name}\" of this value"))),
        },
        _ => return Err(unsupported(format!("the test \"{name}\""))),
    })
}
