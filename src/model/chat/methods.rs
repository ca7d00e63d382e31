//! Methods of texts, dicts, lists and tuples, as Python's.

use std::collections::HashSet;
use std::rc::Rc;

use super::arguments::{Arguments, required};
use super::budget::Budget;
use super::compare::equal;
use super::fault::{Fault, failed, unsupported};
use super::operators::integer;
use super::value::{Items, Value, View};

/// Every method of `str` without underscores, as of Python 3.14.
const TEXT: [&str; 47] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];
const DICT: [&str; 6] = ["copy", "fromkeys", "get", "items", "keys", "values"];
const LIST: [&str; 3] = ["copy", "count", "index"];
const TUPLE: [&str; 2] = ["count", "index"];

/// Methods that change a dict or a list, which templates may not.
const CHANGING_DICT: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];
const CHANGING_LIST: [&str; 8] = [
    "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort",
];

const NUMBERS: [&str; 13] = [
    "as_integer_ratio",
    "bit_count",
    "bit_length",
    "conjugate",
    "denominator",
    "from_bytes",
    "fromhex",
    "from_number",
    "hex",
    "imag",
    "is_integer",
    "numerator",
    "to_bytes",
];

/// Whether Python's numbers have an attribute of this name.
pub(super) fn of_numbers(name: &str) -> bool {
    NUMBERS.contains(&name) || name == "real"
}

/// The method of this name, if the value's type has it. One that would change the value is undefined.
pub(super) fn find(value: &Value, name: &str) -> Option<Value> {
    let (methods, changing): (&[&str], &[&str]) = match value {
        Value::Text(_) => (&TEXT, &[]),
        Value::Dict(_) => (&DICT, &CHANGING_DICT),
        Value::List(_) => (&LIST, &CHANGING_LIST),
        _ => (&TUPLE, &[]),
    };
    if changing.contains(&name) {
        let type_name = value.type_name();
        let what = format!("access to attribute '{name}' of '{type_name}' object is unsafe.");
        return Some(Value::undefined(what));
    }
    let name = methods.iter().find(|method| **method == name)?;
    Some(Value::Method(Rc::new((value.clone(), name))))
}

/// `value.name(arguments)`.
///
/// # Errors
/// Where the method is not supported, or fails.
pub(super) fn call(
    value: &Value,
    name: &'static str,
    arguments: Arguments,
    budget: &Budget,
) -> Result<Value, Fault> {
    match value {
        Value::Text(text) => {
            budget.bytes(text.len(), 0)?;
            of_text(text, name, arguments, budget)
        }
        Value::Dict(dict) => match name {
            "keys" | "values" | "items" => {
                let [] = arguments.bind(name, [])?;
                let view = match name {
                    "keys" => View::Keys,
                    "values" => View::Values,
                    _ => View::Items,
                };
                Ok(Value::View(dict.clone(), view))
            }
            "get" => {
                let [key, default] = arguments.bind(name, ["", ""])?;
                let found = dict.get(&required(name, key)?, budget)?.cloned();
                Ok(found.or(default).unwrap_or(Value::None))
            }
            "copy" => {
                let [] = arguments.bind(name, [])?;
                Ok(value.clone())
            }
            _ => Err(unsupported(format!("the method {name} of a dict"))),
        },
        Value::List(items) | Value::Tuple(items) => match name {
            "copy" => {
                let [] = arguments.bind(name, [])?;
                Ok(value.clone())
            }
            "count" => {
                let [wanted] = arguments.bind(name, [""])?;
                let wanted = required(name, wanted)?;
                let mut count = 0;
                for item in items.iter() {
                    count += i64::from(equal(item, &wanted, budget)?);
                }
                Ok(Value::Int(count))
            }
            _ => Err(unsupported(format!(
                "the method {name} of a {}",
                value.type_name()
            ))),
        },
        _ => unreachable!("only these have methods"),
    }
}

/// Whether Python's `str.isspace` holds.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `text.strip(characters)`, on the sides that are named.
pub(super) fn strip<'a>(
    text: &'a str,
    characters: Option<&Value>,
    [left, right]: [bool; 2],
    budget: &Budget,
) -> Result<&'a str, Fault> {
    let set = match characters {
        None | Some(Value::None) => None,
        Some(Value::Text(set)) => Some(set),
        Some(_) => return Err(failed("strip arg must be None or str")),
    };
    let set: Option<HashSet<char>> = match set {
        Some(set) => {
            budget.steps(set.len())?;
            Some(set.chars().collect())
        }
        None => None,
    };
    let whole = text.len();
    let stripped = |c: char| match &set {
        Some(set) => set.contains(&c),
        None => is_space(c),
    };
    let text = if left {
        text.trim_start_matches(stripped)
    } else {
        text
    };
    let text = match right {
        true => text.trim_end_matches(stripped),
        false => text,
    };
    budget.steps(whole - text.len())?;
    Ok(text)
}

/// `text.replace(old, new, count)`; a negative count is all.
///
/// # Errors
/// Where the result is too long.
pub(super) fn replace(
    text: &str,
    [old, new]: [&str; 2],
    count: i64,
    budget: &Budget,
) -> Result<Value, Fault> {
    budget.bytes(old.len(), 0)?;
    let limit = usize::try_from(count).unwrap_or(usize::MAX);
    let found = match old {
        // Before every character and at the end.
        "" => text.chars().count() + 1,
        _ => text.matches(old).count(),
    };
    let length = text.len() + found.min(limit) * new.len();
    budget.bytes(length, length.saturating_sub(found.min(limit) * old.len()))?;
    budget.text(text.replacen(old, new, limit))
}

/// `text.splitlines(keepends)`.
pub(super) fn split_lines(text: &str, keep: bool) -> Vec<&str> {
    let ends = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'
                ..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(ends) {
        let end = match rest[at..].starts_with("\r\n") {
            true => at + 2,
            false => at + rest[at..].chars().next().map_or(0, char::len_utf8),
        };
        lines.push(&rest[..if keep { end } else { at }]);
        rest = &rest[end..];
    }
    lines.extend((!rest.is_empty()).then_some(rest));
    lines
}

/// What is known to be the same in every version of Unicode is ASCII.
fn ascii(text: &str, name: &str) -> Result<(), Fault> {
    match text.is_ascii() {
        true => Ok(()),
        false => Err(unsupported(format!("{name} of a text beyond ASCII"))),
    }
}

/// `text.capitalize()`.
///
/// # Errors
/// Of a text beyond ASCII.
pub(super) fn capitalize(text: &str) -> Result<String, Fault> {
    ascii(text, "capitalize")?;
    let mut text = text.to_ascii_lowercase();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    Ok(text)
}

/// `text.title()`: a letter after no letter is a capital one.
fn title(text: &str) -> Result<String, Fault> {
    ascii(text, "title")?;
    let mut within = false;
    let letter = |c: char| {
        let cased = match within {
            true => c.to_ascii_lowercase(),
            false => c.to_ascii_uppercase(),
        };
        within = c.is_ascii_alphabetic();
        cased
    };
    Ok(text.chars().map(letter).collect())
}

/// The argument of a method, which must be a text. That it is read is paid for.
fn text_argument(name: &str, value: Option<Value>, budget: &Budget) -> Result<Rc<str>, Fault> {
    match required(name, value)? {
        Value::Text(text) => {
            budget.bytes(text.len(), 0)?;
            Ok(text)
        }
        Value::Marked(_) => Err(unsupported(format!("{name} with a text marked \"safe\""))),
        other => Err(failed(format!(
            "{name}() argument must be str, not {}",
            other.type_name()
        ))),
    }
}

fn of_text(
    text: &Rc<str>,
    name: &'static str,
    arguments: Arguments,
    budget: &Budget,
) -> Result<Value, Fault> {
    match name {
        "strip" | "lstrip" | "rstrip" => {
            let [characters] = arguments.bind(name, [""])?;
            let sides = [name != "rstrip", name != "lstrip"];
            budget.text(strip(text, characters.as_ref(), sides, budget)?)
        }
        "upper" | "lower" | "capitalize" | "title" => {
            let [] = arguments.bind(name, [])?;
            budget.text(match name {
                "upper" => text.to_uppercase(),
                "lower" => text.to_lowercase(),
                "capitalize" => capitalize(text)?,
                _ => title(text)?,
            })
        }
        "replace" => {
            let [old, new, count] = arguments.bind(name, ["", "", "count"])?;
            let (old, new) = (
                text_argument(name, old, budget)?,
                text_argument(name, new, budget)?,
            );
            let count = count.as_ref().map_or(Ok(-1), integer)?;
            replace(text, [&old, &new], count, budget)
        }
        "startswith" | "endswith" => {
            let [affix] = arguments.bind(name, [""])?;
            affixed(text, name, required(name, affix)?, budget).map(Value::Bool)
        }
        "removeprefix" => {
            let [prefix] = arguments.bind(name, [""])?;
            let prefix = text_argument(name, prefix, budget)?;
            budget.text(text.strip_prefix(&*prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let [suffix] = arguments.bind(name, [""])?;
            let suffix = text_argument(name, suffix, budget)?;
            budget.text(text.strip_suffix(&*suffix).unwrap_or(text))
        }
        _ => parts_of_text(text, name, arguments, budget),
    }
}

/// Methods that take texts apart, put them together or look into them.
fn parts_of_text(
    text: &str,
    name: &'static str,
    arguments: Arguments,
    budget: &Budget,
) -> Result<Value, Fault> {
    match name {
        "split" | "rsplit" => {
            let [separator, limit] = arguments.bind(name, ["sep", "maxsplit"])?;
            split(text, name == "rsplit", separator, limit, budget)
        }
        "splitlines" => {
            let [keep] = arguments.bind(name, ["keepends"])?;
            let lines = split_lines(text, keep.is_some_and(|keep| keep.is_true()));
            texts(lines, budget)
        }
        "partition" | "rpartition" => {
            let [separator] = arguments.bind(name, [""])?;
            partition(text, name, &text_argument(name, separator, budget)?, budget)
        }
        "join" => {
            let [parts] = arguments.bind(name, [""])?;
            join(text, required(name, parts)?, budget)
        }
        "find" | "rfind" | "count" => {
            let [part] = arguments.bind(name, [""])?;
            Ok(Value::Int(find_text(
                text,
                name,
                &text_argument(name, part, budget)?,
            )))
        }
        "isalpha" | "isdigit" | "isalnum" | "isspace" | "isupper" | "islower" => {
            let [] = arguments.bind(name, [])?;
            is(text, name).map(Value::Bool)
        }
        _ => Err(unsupported(format!("the method {name} of a text"))),
    }
}

fn affixed(text: &str, name: &str, affix: Value, budget: &Budget) -> Result<bool, Fault> {
    let affixes = match &affix {
        Value::Tuple(affixes) => &affixes[..],
        _ => std::slice::from_ref(&affix),
    };
    for affix in affixes {
        let affix = text_argument(name, Some(affix.clone()), budget)?;
        let found = match name {
            "startswith" => text.starts_with(&*affix),
            _ => text.ends_with(&*affix),
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

fn texts<'a>(parts: impl IntoIterator<Item = &'a str>, budget: &Budget) -> Result<Value, Fault> {
    Value::list(parts.into_iter().map(Value::text).collect(), budget)
}

fn split(
    text: &str,
    from_right: bool,
    separator: Option<Value>,
    limit: Option<Value>,
    budget: &Budget,
) -> Result<Value, Fault> {
    let limit = limit.as_ref().map_or(Ok(-1), integer)?;
    // Before the parts are collected: there are no more than bytes.
    budget.elements(text.len() / 4)?;
    let parts_at_most = usize::try_from(limit).map_or(usize::MAX, |n| n.saturating_add(1));
    let separator = match separator {
        None | Some(Value::None) => None,
        given => Some(text_argument("split", given, budget)?),
    };
    match separator {
        Some(separator) if separator.is_empty() => Err(failed("empty separator")),
        Some(separator) if from_right => {
            let mut parts: Vec<&str> = text.rsplitn(parts_at_most, &*separator).collect();
            parts.reverse();
            texts(parts, budget)
        }
        Some(separator) => texts(text.splitn(parts_at_most, &*separator), budget),
        None if limit < 0 => {
            let words = text.split(is_space).filter(|word| !word.is_empty());
            texts(words, budget)
        }
        None => Err(unsupported(
            "splitting at whitespace a limited number of times",
        )),
    }
}

fn partition(text: &str, name: &str, separator: &str, budget: &Budget) -> Result<Value, Fault> {
    if separator.is_empty() {
        return Err(failed("empty separator"));
    }
    let parts = match name {
        "partition" => match text.split_once(separator) {
            Some((before, after)) => [before, separator, after],
            None => [text, "", ""],
        },
        _ => match text.rsplit_once(separator) {
            Some((before, after)) => [before, separator, after],
            None => ["", "", text],
        },
    };
    let parts = parts.map(Value::text).to_vec();
    Items::new(parts, budget).map(Value::Tuple)
}

fn join(separator: &str, parts: Value, budget: &Budget) -> Result<Value, Fault> {
    let mut joined = String::new();
    for (i, part) in parts.elements(budget)?.into_iter().enumerate() {
        let Value::Text(part) = part else {
            return Err(match part {
                Value::Marked(_) => unsupported("join with a text marked \"safe\""),
                _ => failed(format!(
                    "sequence item {i}: expected str instance, {} found",
                    part.type_name()
                )),
            });
        };
        if i > 0 {
            budget.append(&mut joined, separator)?;
        }
        budget.append(&mut joined, &part)?;
    }
    budget.text(joined)
}

/// `find`, `rfind` and `count`, in characters.
fn find_text(text: &str, name: &str, part: &str) -> i64 {
    let place = |at: Option<usize>| at.map_or(-1, |at| text[..at].chars().count() as i64);
    match name {
        "find" => place(text.find(part)),
        "rfind" => place(text.rfind(part)),
        _ => text.matches(part).count() as i64,
    }
}

fn is(text: &str, name: &str) -> Result<bool, Fault> {
    if name != "isspace" {
        ascii(text, name)?;
    }
    let all = |holds: fn(char) -> bool| !text.is_empty() && text.chars().all(holds);
    let cased = |not: fn(&char) -> bool| {
        !text.chars().any(|c| not(&c)) && text.contains(|c: char| c.is_ascii_alphabetic())
    };
    Ok(match name {
        "isalpha" => all(|c| c.is_ascii_alphabetic()),
        "isdigit" => all(|c| c.is_ascii_digit()),
        "isalnum" => all(|c| c.is_ascii_alphanumeric()),
        "isspace" => all(is_space),
        "isupper" => cased(char::is_ascii_lowercase),
        _ => cased(char::is_ascii_uppercase),
    })
}
