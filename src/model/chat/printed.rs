//! Values as Python prints them.

use std::rc::Rc;

use super::budget::Budget;
use super::fault::{Fault, unsupported};
use super::value::Value;

impl Value {
    /// `str(value)`.
    ///
    /// # Errors
    /// Where Python's text is not made here, or is too long.
    pub fn to_text(&self, budget: &Budget) -> Result<Rc<str>, Fault> {
        match self {
            Self::Text(text) | Self::Marked(text) => Ok(text.clone()),
            Self::Undefined(_) => Ok("".into()),
            _ => {
                let mut text = String::new();
                self.repr(&mut text, budget)?;
                Ok(text.into())
            }
        }
    }

    /// Appends `repr(value)`.
    fn repr(&self, text: &mut String, budget: &Budget) -> Result<(), Fault> {
        let before = text.len();
        match self {
            Self::Undefined(_) => text.push_str("Undefined"),
            Self::None => text.push_str("None"),
            Self::Bool(true) => text.push_str("True"),
            Self::Bool(false) => text.push_str("False"),
            Self::Int(value) => text.push_str(&value.to_string()),
            Self::Float(value) => text.push_str(&float(*value)),
            Self::Text(value) => quoted(value, text)?,
            Self::List(items) => sequence(items, ["[", "]"], text, budget)?,
            Self::Tuple(items) if items.len() == 1 => {
                sequence(items, ["(", ",)"], text, budget)?;
            }
            Self::Tuple(items) => sequence(items, ["(", ")"], text, budget)?,
            Self::Dict(dict) => {
                text.push('{');
                for (i, (key, value)) in dict.iter().enumerate() {
                    text.push_str(if i == 0 { "" } else { ", " });
                    key.repr(text, budget)?;
                    text.push_str(": ");
                    value.repr(text, budget)?;
                }
                text.push('}');
            }
            _ => return Err(unsupported(format!("printing a {}", self.type_name()))),
        }
        budget.bytes(text.len() - before, text.len())
    }
}

fn sequence(
    items: &[Value],
    [open, close]: [&str; 2],
    text: &mut String,
    budget: &Budget,
) -> Result<(), Fault> {
    text.push_str(open);
    for (i, item) in items.iter().enumerate() {
        text.push_str(if i == 0 { "" } else { ", " });
        item.repr(text, budget)?;
    }
    text.push_str(close);
    Ok(())
}

/// `repr` of a float: the shortest decimal that reads as it, with an exponent below 10⁻⁴ and from 10¹⁶ on.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("it has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    if value != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{value}");
    match plain.contains('.') {
        true => plain,
        false => plain + ".0",
    }
}

/// Appends a text as Python writes it in quotes.
fn quoted(value: &str, text: &mut String) -> Result<(), Fault> {
    let quote = match value.contains('\'') && !value.contains('"') {
        true => '"',
        false => '\'',
    };
    text.push(quote);
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c == quote => {
                text.push('\\');
                text.push(c);
            }
            ' '..='~' => text.push(c),
            '\0'..='\u{a0}' | '\u{ad}' => text.push_str(&format!("\\x{:02x}", c as u32)),
            c if is_printable(c) => text.push(c),
            c => {
                let what = format!("printing the character U+{:04X} in quotes", c as u32);
                return Err(unsupported(what));
            }
        }
    }
    text.push(quote);
    Ok(())
}

/// Whether Python prints a character as it is, if that is certain: of others it depends on the version of Unicode.
fn is_printable(c: char) -> bool {
    // All of these are assigned, and none is a separator or invisible.
    const BLOCKS: [(u32, u32); 9] = [
        (0xa1, 0xff),
        (0x2010, 0x2027),
        (0x2030, 0x205e),
        (0x20a0, 0x20bf),
        (0x2190, 0x23ff),
        (0x2500, 0x27bf),
        (0x3001, 0x303f),
        (0xff01, 0xffbe),
        (0x1f300, 0x1f64f),
    ];
    let of_block = |(first, last): &(u32, u32)| (*first..=*last).contains(&(c as u32));
    c <= '\u{ffff}' && c.is_alphanumeric() || BLOCKS.iter().any(of_block)
}
