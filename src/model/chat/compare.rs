//! Values compared as Python compares them.

use std::cmp::Ordering;

use super::budget::{BYTES_PER_STEP, Budget};
use super::fault::{Fault, failed, unsupported};
use super::value::{Value, View};

/// A number as Python compares and adds it.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    pub fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Int((*value).into())),
            Value::Int(value) => Some(Self::Int(*value)),
            Value::Float(value) => Some(Self::Float(*value)),
            _ => None,
        }
    }

    pub fn float(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// How two numbers compare, exactly. `None` with a NaN.
    pub fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Int(a), Self::Float(b)) => {
                // Where rounding makes them equal, the float is a whole number.
                let rounded = (a as f64).partial_cmp(&b)?;
                Some(rounded.then_with(|| i128::from(a).cmp(&(b as i128))))
            }
            (Self::Float(_), Self::Int(_)) => other.compare(self).map(Ordering::reverse),
        }
    }
}

/// `a == b`.
///
/// # Errors
/// Where Python compares what is not compared here.
pub(super) fn equal(a: &Value, b: &Value, budget: &Budget) -> Result<bool, Fault> {
    budget.steps(1)?;
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(a.compare(b).is_some_and(Ordering::is_eq));
    }
    match (a, b) {
        (Value::None, Value::None) | (Value::Undefined(_), Value::Undefined(_)) => Ok(true),
        (Value::Text(a) | Value::Marked(a), Value::Text(b) | Value::Marked(b)) => {
            budget.bytes(a.len().min(b.len()), 0)?;
            Ok(a == b)
        }
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            all_equal(a, b, budget)
        }
        (Value::Dict(a), Value::Dict(b)) if a.len() != b.len() => Ok(false),
        (Value::Dict(a), Value::Dict(b)) => {
            for (key, value) in a.iter() {
                match b.get(key, budget)? {
                    Some(other) if equal(value, other, budget)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        _ if a.type_name() == b.type_name() => {
            Err(unsupported(format!("comparing a {}", a.type_name())))
        }
        _ => Ok(false),
    }
}

fn all_equal(a: &[Value], b: &[Value], budget: &Budget) -> Result<bool, Fault> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (a, b) in a.iter().zip(b) {
        if !equal(a, b, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `a < b`.
///
/// # Errors
/// Where Python has no order of them, or one that is not known here.
pub(super) fn less(a: &Value, b: &Value, budget: &Budget) -> Result<bool, Fault> {
    budget.steps(1)?;
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(a.compare(b).is_some_and(Ordering::is_lt));
    }
    match (a, b) {
        (Value::Undefined(what), _) | (_, Value::Undefined(what)) => Err(failed(what)),
        // UTF-8 has the order of its characters.
        (Value::Text(a), Value::Text(b)) => {
            budget.bytes(a.len().min(b.len()), 0)?;
            Ok(a < b)
        }
        (Value::List(_), Value::List(_)) | (Value::Tuple(_), Value::Tuple(_)) => {
            Err(unsupported(format!("the order of {}s", a.type_name())))
        }
        (Value::Marked(_), _) | (_, Value::Marked(_)) => {
            Err(unsupported("the order of a text marked \"safe\""))
        }
        _ => Err(failed(format!(
            "'<' not supported between instances of '{}' and '{}'",
            a.type_name(),
            b.type_name()
        ))),
    }
}

/// `item in container`.
///
/// # Errors
/// Where Python has none, or the container is none that is looked into here.
pub(super) fn contains(container: &Value, item: &Value, budget: &Budget) -> Result<bool, Fault> {
    match (container, item) {
        (Value::Text(text), Value::Text(part)) => {
            budget.bytes(text.len() + part.len(), 0)?;
            Ok(text.contains(&**part))
        }
        (Value::Text(_), Value::Marked(_)) | (Value::Marked(_), _) => {
            Err(unsupported("looking into a text marked \"safe\""))
        }
        (Value::Text(_), _) => Err(failed(format!(
            "'in <string>' requires string as left operand, not {}",
            item.type_name()
        ))),
        (Value::Dict(dict) | Value::View(dict, View::Keys), _) => {
            Ok(dict.get(item, budget)?.is_some())
        }
        (Value::List(items) | Value::Tuple(items) | Value::Range(items), _) => {
            for other in items.iter() {
                if equal(item, other, budget)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Value::Undefined(_), _) => Ok(false),
        (Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_), _) => {
            let name = container.type_name();
            Err(failed(format!("argument of type '{name}' is not iterable")))
        }
        _ => Err(unsupported(format!(
            "looking into a {}",
            container.type_name()
        ))),
    }
}

/// Sorts by keys, equal ones staying in order.
///
/// # Errors
/// Where the keys are not all numbers or all texts, one is a NaN, or the budget is spent. All this is found out before
/// the first two are exchanged: the library's sort may panic where the order turns out to be none.
pub(super) fn sort_by_key<T>(
    elements: &mut [T],
    key: impl Fn(&T) -> &Value,
    budget: &Budget,
) -> Result<(), Fault> {
    if elements.len() < 2 {
        return Ok(());
    }
    for pair in elements.windows(2) {
        less(key(&pair[0]), key(&pair[1]), budget)?;
    }
    let rounds = 1 + elements.len().ilog2() as usize;
    for element in elements.iter() {
        let steps = match key(element) {
            Value::Text(text) => 1 + text.len() / BYTES_PER_STEP,
            Value::Float(value) if value.is_nan() => {
                return Err(unsupported("sorting numbers of which one is a NaN"));
            }
            _ => 1,
        };
        budget.steps(steps * rounds)?;
    }
    elements.sort_by(|a, b| ordered(key(a), key(b)));
    Ok(())
}

/// The order of two texts, or of two numbers that are no NaN.
fn ordered(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        _ => match (Number::of(a), Number::of(b)) {
            (Some(a), Some(b)) => a.compare(b).unwrap_or(Ordering::Equal),
            _ => Ordering::Equal,
        },
    }
}
