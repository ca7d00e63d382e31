//! Operators, attributes, items and slices.

use super::budget::Budget;
use super::compare::Number;
use super::fault::{Fault, failed, unsupported};
use super::methods;
use super::value::{Function, Items, Loop, Value};

/// How much of a name is said where there is no such attribute, in characters.
const MAX_NAME: usize = 100;

/// An arithmetic operator.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Power,
}

impl Arithmetic {
    fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::FloorDivide => "//",
            Self::Remainder => "%",
            Self::Power => "**",
        }
    }

    /// # Errors
    /// Where Python has none, the result is no number of 64 bits, or the budget is spent.
    pub fn apply(self, a: &Value, b: &Value, budget: &Budget) -> Result<Value, Fault> {
        if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
            return self.numbers(a, b);
        }
        match (self, a, b) {
            (_, Value::Undefined(what), _) | (_, _, Value::Undefined(what)) => Err(failed(what)),
            (_, Value::Marked(_), _) | (_, _, Value::Marked(_)) => Err(unsupported(format!(
                "{} with a text marked \"safe\"",
                self.symbol()
            ))),
            (Self::Add, Value::Text(a), Value::Text(b)) => budget.text([&**a, &**b].concat()),
            (Self::Add, Value::List(a), Value::List(b)) => {
                Items::new([&**a, &**b].concat(), budget).map(Value::List)
            }
            (Self::Add, Value::Tuple(a), Value::Tuple(b)) => {
                Items::new([&**a, &**b].concat(), budget).map(Value::Tuple)
            }
            (Self::Multiply, Value::Text(text), Value::Bool(_) | Value::Int(_)) => {
                repeated(text, b, budget)
            }
            (Self::Multiply, Value::Bool(_) | Value::Int(_), Value::Text(text)) => {
                repeated(text, a, budget)
            }
            (Self::Multiply, Value::List(_) | Value::Tuple(_), _)
            | (Self::Multiply, _, Value::List(_) | Value::Tuple(_)) => {
                Err(unsupported("repeating a list"))
            }
            (Self::Remainder, Value::Text(_), _) => {
                Err(unsupported("% as the formatting of a text"))
            }
            _ => Err(failed(format!(
                "unsupported operand type(s) for {}: '{}' and '{}'",
                self.symbol(),
                a.type_name(),
                b.type_name()
            ))),
        }
    }

    fn numbers(self, a: Number, b: Number) -> Result<Value, Fault> {
        let zero = || failed("division by zero");
        let whole = match (self, a, b) {
            (Self::Divide, ..) => None,
            (_, Number::Int(a), Number::Int(b)) => Some((a, b)),
            _ => None,
        };
        if let Some((a, b)) = whole {
            let value = match self {
                Self::Add => a.checked_add(b),
                Self::Subtract => a.checked_sub(b),
                Self::Multiply => a.checked_mul(b),
                Self::FloorDivide | Self::Remainder if b == 0 => return Err(zero()),
                Self::FloorDivide => floor_divide(a, b),
                Self::Remainder => floor_divide(a, b).map(|quotient| a - quotient * b),
                Self::Power if b < 0 => None,
                Self::Power => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
                Self::Divide => unreachable!("a quotient is a float"),
            };
            let beyond = || unsupported("a whole number beyond 64 bits");
            return value.map(Value::Int).ok_or_else(beyond);
        }
        let exact = |n: Number| match n {
            Number::Int(value) if value.unsigned_abs() > 1 << 53 => {
                Err(unsupported("a float of a whole number beyond 2^53"))
            }
            _ => Ok(n.float()),
        };
        let (a, b) = (exact(a)?, exact(b)?);
        match self {
            Self::Add => Ok(Value::Float(a + b)),
            Self::Subtract => Ok(Value::Float(a - b)),
            Self::Multiply => Ok(Value::Float(a * b)),
            Self::Divide if b == 0.0 => Err(zero()),
            Self::Divide => Ok(Value::Float(a / b)),
            _ => Err(unsupported(format!("{} of floats", self.symbol()))),
        }
    }
}

/// ⌊a / b⌋ of b ≠ 0.
fn floor_divide(a: i64, b: i64) -> Option<i64> {
    let quotient = a.checked_div(b)?;
    let rounded_up = a % b != 0 && (a < 0) != (b < 0);
    Some(quotient - i64::from(rounded_up))
}

fn repeated(text: &str, count: &Value, budget: &Budget) -> Result<Value, Fault> {
    let count = integer(count)?.max(0) as usize;
    let length = text.len().saturating_mul(count);
    budget.bytes(length, length)?;
    Ok(Value::text(&text.repeat(count)))
}

/// `-value`.
///
/// # Errors
/// Of what is no number.
pub(super) fn negative(value: &Value) -> Result<Value, Fault> {
    match (value, Number::of(value)) {
        (_, Some(Number::Int(value))) => match value.checked_neg() {
            Some(value) => Ok(Value::Int(value)),
            None => Err(unsupported("a whole number beyond 64 bits")),
        },
        (_, Some(Number::Float(value))) => Ok(Value::Float(-value)),
        (Value::Undefined(what), None) => Err(failed(what)),
        _ => Err(failed(format!(
            "bad operand type for unary -: '{}'",
            value.type_name()
        ))),
    }
}

/// A whole number, as indices and counts are.
///
/// # Errors
/// Of another value.
pub(super) fn integer(value: &Value) -> Result<i64, Fault> {
    match Number::of(value) {
        Some(Number::Int(value)) => Ok(value),
        _ => Err(failed(format!(
            "'{}' object cannot be interpreted as an integer",
            value.type_name()
        ))),
    }
}

/// `value.name`: a method, or an attribute, or else the item of this name.
///
/// # Errors
/// Of an undefined value, and where the attribute is not known here.
pub(super) fn attribute(value: &Value, name: &str, budget: &Budget) -> Result<Value, Fault> {
    match own_attribute(value, name, budget)? {
        Some(found) => Ok(found),
        None => match value {
            Value::Dict(dict) => match dict.get(&Value::text(name), budget)? {
                Some(found) => Ok(found.clone()),
                None => Ok(without(value, name)),
            },
            _ => Ok(without(value, name)),
        },
    }
}

/// What Python's `getattr` finds.
fn own_attribute(value: &Value, name: &str, budget: &Budget) -> Result<Option<Value>, Fault> {
    budget.bytes(name.len(), 0)?;
    if name.starts_with("__") {
        return Err(unsupported(format!("the attribute {name}")));
    }
    match value {
        Value::Undefined(what) => Err(failed(what)),
        Value::Namespace(names) => {
            let names = names.borrow();
            Ok(names.get(&Value::text(name), budget)?.cloned())
        }
        Value::Loop(state) => state.attribute(name),
        Value::None => Ok(None),
        Value::Text(_) | Value::Dict(_) | Value::List(_) | Value::Tuple(_) => {
            budget.elements(1)?;
            Ok(methods::find(value, name))
        }
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => match methods::of_numbers(name) {
            true => Err(unsupported(format!("the attribute {name} of a number"))),
            false => Ok(None),
        },
        _ => Err(unsupported(format!(
            "the attribute {name} of a {}",
            value.type_name()
        ))),
    }
}

/// What stands for an attribute that is not there. Of a long name it keeps the beginning.
fn without(value: &Value, name: &str) -> Value {
    let name: String = name.chars().take(MAX_NAME).collect();
    missing(value, &format!("attribute '{name}'"))
}

fn missing(value: &Value, what: &str) -> Value {
    let name = match value {
        Value::None => "None",
        _ => value.type_name(),
    };
    Value::undefined(format!("'{name} object' has no {what}"))
}

/// `value[key]`: an item, or else the attribute of this name.
///
/// # Errors
/// As [`attribute`].
pub(super) fn item(value: &Value, key: &Value, budget: &Budget) -> Result<Value, Fault> {
    let found = match (value, key) {
        (Value::Undefined(what), _) => return Err(failed(what)),
        (Value::Dict(_), Value::List(_) | Value::Dict(_) | Value::View(..)) => None,
        (Value::Dict(dict), _) => dict.get(key, budget)?.cloned(),
        (
            Value::List(items) | Value::Tuple(items) | Value::Range(items),
            Value::Bool(_) | Value::Int(_),
        ) => place(items.len(), integer(key)?).map(|at| items[at].clone()),
        (Value::Text(text), Value::Bool(_) | Value::Int(_)) => {
            budget.bytes(text.len(), 0)?;
            let at = place(text.chars().count(), integer(key)?);
            let found = at.and_then(|at| text.chars().nth(at));
            found.map(|c| Value::text(c.encode_utf8(&mut [0; 4])))
        }
        (Value::Marked(_), _) => {
            return Err(unsupported("a part of a text marked \"safe\""));
        }
        _ => None,
    };
    match (found, key) {
        (Some(found), _) => Ok(found),
        (None, Value::Text(name)) => {
            let own = own_attribute(value, name, budget)?;
            Ok(own.unwrap_or_else(|| without(value, name)))
        }
        (None, _) => Ok(missing(value, "such element")),
    }
}

/// An index into `length` elements, from the end if it is negative.
fn place(length: usize, index: i64) -> Option<usize> {
    let from_end = |back: u64| length.checked_sub(usize::try_from(back).ok()?);
    match index {
        0.. => usize::try_from(index).ok().filter(|at| *at < length),
        _ => from_end(index.unsigned_abs()),
    }
}

/// `value[start:stop:step]`.
///
/// # Errors
/// Where the value has no slices, or a bound is no whole number.
pub(super) fn slice(value: &Value, bounds: [&Value; 3], budget: &Budget) -> Result<Value, Fault> {
    match value {
        Value::List(items) => {
            let picked = pick(items, bounds)?;
            Items::new(picked, budget).map(Value::List)
        }
        Value::Tuple(items) => {
            let picked = pick(items, bounds)?;
            Items::new(picked, budget).map(Value::Tuple)
        }
        Value::Text(text) => {
            budget.bytes(text.len(), 0)?;
            let chars: Vec<char> = text.chars().collect();
            budget.text(String::from_iter(pick(&chars, bounds)?))
        }
        Value::Undefined(what) => Err(failed(what)),
        Value::Range(_) | Value::Marked(_) => {
            Err(unsupported(format!("a slice of a {}", value.type_name())))
        }
        _ => Err(failed(format!(
            "'{}' object is not subscriptable by a slice",
            value.type_name()
        ))),
    }
}

/// The elements that Python's `slice(start, stop, step).indices(length)` names.
fn pick<T: Clone>(elements: &[T], bounds: [&Value; 3]) -> Result<Vec<T>, Fault> {
    let bound = |value: &Value| match value {
        Value::None => Ok(None),
        Value::Bool(_) | Value::Int(_) => integer(value).map(Some),
        _ => Err(failed("slice indices must be integers or None")),
    };
    let [start, stop, step] = bounds.map(bound);
    let step = i128::from(step?.unwrap_or(1));
    if step == 0 {
        return Err(failed("slice step cannot be zero"));
    }
    let length = elements.len() as i128;
    let (low, high) = if step > 0 {
        (0, length)
    } else {
        (-1, length - 1)
    };
    let clamp = |index: i64| {
        let index = i128::from(index);
        let index = if index < 0 { index + length } else { index };
        index.clamp(low, high)
    };
    let (first, last) = if step > 0 { (low, high) } else { (high, low) };
    let mut at = start?.map_or(first, clamp);
    let stop = stop?.map_or(last, clamp);
    let mut picked = Vec::new();
    while (step > 0 && at < stop) || (step < 0 && at > stop) {
        picked.push(elements[at as usize].clone());
        at += step;
    }
    Ok(picked)
}

impl Loop {
    /// An attribute of the variable `loop`.
    fn attribute(&self, name: &str) -> Result<Option<Value>, Fault> {
        let (index, length) = (self.index.get(), self.items.len());
        let int = |n: usize| Some(Value::Int(n as i64));
        Ok(match name {
            "index" => int(index + 1),
            "index0" => int(index),
            "first" => Some(Value::Bool(index == 0)),
            "last" => Some(Value::Bool(index + 1 == length)),
            "length" => int(length),
            "revindex" => int(length - index),
            "revindex0" => int(length - index - 1),
            // Recursive loops are refused.
            "depth" => int(1),
            "depth0" => int(0),
            "previtem" => Some(match index.checked_sub(1) {
                Some(before) => self.items[before].clone(),
                None => Value::undefined("there is no previous item"),
            }),
            "nextitem" => Some(match self.items.get(index + 1) {
                Some(after) => after.clone(),
                None => Value::undefined("there is no next item"),
            }),
            "cycle" | "changed" => {
                return Err(unsupported(format!("loop.{name} other than called")));
            }
            _ => None,
        })
    }
}

/// What a global name means, unless a template or the chat gives it another meaning.
pub(super) fn global(name: &str) -> Option<Function> {
    match name {
        "range" => Some(Function::Range),
        "dict" => Some(Function::Dict),
        "namespace" => Some(Function::Namespace),
        "raise_exception" => Some(Function::RaiseException),
        "strftime_now" => Some(Function::StrftimeNow),
        _ => None,
    }
}
