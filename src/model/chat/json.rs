//! Python's `json.dumps`, as the filter `tojson` calls it.

use std::rc::Rc;

use super::budget::Budget;
use super::compare::sort_by_key;
use super::fault::{Fault, failed, unsupported};
use super::operators::integer;
use super::printed::float;
use super::value::{Items, Value};

/// How JSON is laid out.
pub(super) struct Layout {
    ascii: bool,
    indent: Option<Rc<str>>,
    item: Rc<str>,
    key: Rc<str>,
    sorted: bool,
}

impl Layout {
    /// From the filter's arguments: `ensure_ascii`, `indent`, `separators`, `sort_keys`.
    ///
    /// # Errors
    /// Where one is of another type than `json.dumps` takes.
    pub fn new([ascii, indent, separators, sorted]: [Option<Value>; 4]) -> Result<Self, Fault> {
        let flag = |value: Option<Value>| value.is_some_and(|value| value.is_true());
        let indent: Option<Rc<str>> = match indent {
            None | Some(Value::None) => None,
            Some(Value::Text(indent)) => Some(indent),
            Some(indent) => {
                let width = usize::try_from(integer(&indent)?).unwrap_or(0);
                match width {
                    ..=64 => Some(" ".repeat(width).into()),
                    _ => return Err(unsupported("tojson with an indent of more than 64")),
                }
            }
        };
        let [item, key] = match separators {
            None | Some(Value::None) => {
                let item = if indent.is_some() { "," } else { ", " };
                [item.into(), ": ".into()]
            }
            Some(Value::Tuple(pair) | Value::List(pair)) => two_texts(&pair)?,
            Some(_) => return Err(failed("the separators of tojson are not two texts")),
        };
        Ok(Self {
            ascii: flag(ascii),
            indent,
            item,
            key,
            sorted: flag(sorted),
        })
    }

    /// # Errors
    /// Where a value is not one of JSON's, or the text is too long.
    pub fn write(&self, value: &Value, budget: &Budget) -> Result<String, Fault> {
        let mut text = String::new();
        self.value(value, 0, &mut text, budget)?;
        Ok(text)
    }

    fn value(
        &self,
        value: &Value,
        level: usize,
        text: &mut String,
        budget: &Budget,
    ) -> Result<(), Fault> {
        match value {
            Value::Text(value) | Value::Marked(value) => self.quoted(value, text, budget),
            Value::List(items) | Value::Tuple(items) => {
                let writer =
                    |item: &Value, text: &mut String| self.value(item, level + 1, text, budget);
                self.group(["[", "]"], level, items.iter(), writer, text, budget)
            }
            Value::Dict(dict) => {
                let mut entries: Vec<_> = dict.iter().collect();
                if self.sorted {
                    sort_by_key(&mut entries, |entry| &entry.0, budget)?;
                }
                let writer = |(key, value): &(Value, Value), text: &mut String| {
                    match key {
                        Value::Text(key) => self.quoted(key, text, budget)?,
                        _ => {
                            let key = scalar(key).ok_or_else(|| {
                                failed(format!("keys must be str, not {}", key.type_name()))
                            })?;
                            self.quoted(&key, text, budget)?;
                        }
                    }
                    budget.append(text, &self.key)?;
                    self.value(value, level + 1, text, budget)
                };
                let entries = entries.into_iter();
                self.group(["{", "}"], level, entries, writer, text, budget)
            }
            _ => match scalar(value) {
                Some(value) => budget.append(text, &value),
                None => Err(failed(format!(
                    "Object of type {} is not JSON serializable",
                    value.type_name()
                ))),
            },
        }
    }

    /// A list or an object.
    fn group<'v, T: 'v>(
        &self,
        [open, close]: [&str; 2],
        level: usize,
        elements: impl ExactSizeIterator<Item = &'v T>,
        mut write: impl FnMut(&T, &mut String) -> Result<(), Fault>,
        text: &mut String,
        budget: &Budget,
    ) -> Result<(), Fault> {
        budget.append(text, open)?;
        let empty = elements.len() == 0;
        for (i, element) in elements.enumerate() {
            if i > 0 {
                budget.append(text, &self.item)?;
            }
            self.line(level + 1, text, budget)?;
            write(element, text)?;
        }
        if !empty {
            self.line(level, text, budget)?;
        }
        budget.append(text, close)
    }

    fn line(&self, level: usize, text: &mut String, budget: &Budget) -> Result<(), Fault> {
        let Some(indent) = &self.indent else {
            return Ok(());
        };
        budget.append(text, "\n")?;
        (0..level).try_for_each(|_| budget.append(text, indent))
    }

    fn quoted(&self, value: &str, text: &mut String, budget: &Budget) -> Result<(), Fault> {
        let before = text.len();
        text.push('"');
        for c in value.chars() {
            match c {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\u{8}' => text.push_str("\\b"),
                '\u{c}' => text.push_str("\\f"),
                // Python escapes DEL only where it escapes all that is not printable ASCII.
                '\0'..' ' => text.push_str(&format!("\\u{:04x}", c as u32)),
                c if self.ascii && !(' '..='~').contains(&c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        text.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => text.push(c),
            }
        }
        text.push('"');
        budget.bytes(text.len() - before, text.len())
    }
}

/// A number, `true`, `false` or `null`.
fn scalar(value: &Value) -> Option<String> {
    Some(match value {
        Value::None => "null".into(),
        Value::Bool(true) => "true".into(),
        Value::Bool(false) => "false".into(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) if value.is_nan() => "NaN".into(),
        Value::Float(value) if value.is_infinite() && *value > 0.0 => "Infinity".into(),
        Value::Float(value) if value.is_infinite() => "-Infinity".into(),
        Value::Float(value) => float(*value),
        _ => return None,
    })
}

fn two_texts(pair: &Items) -> Result<[Rc<str>; 2], Fault> {
    match &pair[..] {
        [Value::Text(item), Value::Text(key)] => Ok([item.clone(), key.clone()]),
        _ => Err(failed("the separators of tojson are not two texts")),
    }
}
