//! Filters, as Jinja's; `tojson` as `transformers` has it.

use std::rc::Rc;

use super::arguments::{Arguments, required};
use super::budget::Budget;
use super::checks;
use super::compare::{Number, sort_by_key};
use super::fault::{Fault, failed, unsupported};
use super::json;
use super::methods::{capitalize, is_space, replace, split_lines, strip};
use super::operators::{integer, item};
use super::run::Run;
use super::value::{Value, View};

impl Run<'_> {
    /// `value | name(arguments)`.
    ///
    /// # Errors
    /// Where the filter is not supported, or fails.
    pub(super) fn filter(
        &mut self,
        name: &str,
        value: Value,
        arguments: Arguments,
    ) -> Result<Value, Fault> {
        self.budget.steps(1)?;
        match name {
            "trim" | "upper" | "lower" | "capitalize" | "title" | "replace" | "indent"
            | "string" | "safe" => self.text_filter(name, value, arguments),
            "length" | "count" => {
                let [] = arguments.bind(name, [])?;
                Ok(Value::Int(value.len(&self.budget)? as i64))
            }
            "default" | "d" => {
                let [default, falsy] = arguments.bind(name, ["default_value", "boolean"])?;
                let falsy = falsy.is_some_and(|falsy| falsy.is_true());
                let missing = matches!(value, Value::Undefined(_)) || falsy && !value.is_true();
                let default = default.unwrap_or_else(|| Value::text(""));
                Ok(if missing { default } else { value })
            }
            "list" => {
                let [] = arguments.bind(name, [])?;
                Value::list(value.elements(&self.budget)?, &self.budget)
            }
            "first" | "last" => {
                let [] = arguments.bind(name, [])?;
                self.end_of(name, value)
            }
            "reverse" => {
                let [] = arguments.bind(name, [])?;
                self.reversed(value)
            }
            "items" => {
                let [] = arguments.bind(name, [])?;
                let items = match &value {
                    Value::Undefined(_) => Vec::new(),
                    Value::Dict(dict) => dict.view(View::Items, &self.budget)?,
                    _ => return Err(failed("Can only get item pairs from a mapping.")),
                };
                Value::stream(items, &self.budget)
            }
            "join" => self.joined(value, arguments),
            "map" => self.mapped(value, arguments),
            "select" | "reject" | "selectattr" | "rejectattr" => {
                self.selected(name, value, arguments)
            }
            "sort" => self.sorted(value, arguments),
            "dictsort" => self.sorted_dict(value, arguments),
            "tojson" => {
                let parameters = ["ensure_ascii", "indent", "separators", "sort_keys"];
                let options = json::Layout::new(arguments.bind(name, parameters)?)?;
                self.budget.text(options.write(&value, &self.budget)?)
            }
            "int" | "abs" => self.number_filter(name, value, arguments),
            _ => Err(unsupported(format!("the filter \"{name}\""))),
        }
    }

    fn number_filter(
        &self,
        name: &str,
        value: Value,
        arguments: Arguments,
    ) -> Result<Value, Fault> {
        match name {
            "int" => {
                let [default, base] = arguments.bind(name, ["default", "base"])?;
                match base {
                    None | Some(Value::Int(10)) => {}
                    Some(_) => return Err(unsupported("the filter int in another base than 10")),
                }
                if let Value::Text(text) = &value {
                    self.budget.bytes(text.len(), 0)?;
                }
                whole(&value, default.unwrap_or(Value::Int(0)))
            }
            _ => {
                let [] = arguments.bind(name, [])?;
                match Number::of(&value) {
                    Some(Number::Int(n)) => match n.checked_abs() {
                        Some(n) => Ok(Value::Int(n)),
                        None => Err(unsupported("a whole number beyond 64 bits")),
                    },
                    Some(Number::Float(n)) => Ok(Value::Float(n.abs())),
                    None => Err(failed("bad operand type for abs()")),
                }
            }
        }
    }

    /// Filters that take the value as a text.
    fn text_filter(
        &mut self,
        name: &str,
        value: Value,
        arguments: Arguments,
    ) -> Result<Value, Fault> {
        if name == "string" {
            let [] = arguments.bind(name, [])?;
            return match value {
                Value::Marked(_) => Ok(value),
                _ => self.budget.text(value.to_text(&self.budget)?),
            };
        }
        if matches!(value, Value::Marked(_)) && name != "safe" {
            return Err(unsupported(format!("the filter \"{name}\" after \"safe\"")));
        }
        let text = value.to_text(&self.budget)?;
        self.budget.bytes(text.len(), 0)?;
        match name {
            "trim" => {
                let [characters] = arguments.bind(name, ["chars"])?;
                let text = strip(&text, characters.as_ref(), [true; 2], &self.budget)?;
                self.budget.text(text)
            }
            "replace" => {
                let [old, new, count] = arguments.bind(name, ["old", "new", "count"])?;
                let text_of = |value| required(name, value)?.to_text(&self.budget);
                let (old, new) = (text_of(old)?, text_of(new)?);
                let count = match count {
                    None | Some(Value::None) => -1,
                    Some(count) => integer(&count)?,
                };
                replace(&text, [&old, &new], count, &self.budget)
            }
            "indent" => match value {
                Value::Text(_) => self.indented(&text, arguments),
                Value::Undefined(what) => Err(failed(what)),
                _ => Err(failed("the filter indent takes a str")),
            },
            "safe" => {
                let [] = arguments.bind(name, [])?;
                Ok(Value::Marked(text))
            }
            _ => {
                let [] = arguments.bind(name, [])?;
                self.budget.text(match name {
                    "upper" => text.to_uppercase(),
                    "lower" => text.to_lowercase(),
                    "capitalize" => capitalize(&text)?,
                    _ => title(&text),
                })
            }
        }
    }

    fn indented(&self, text: &str, arguments: Arguments) -> Result<Value, Fault> {
        let [width, first, blank] = arguments.bind("indent", ["width", "first", "blank"])?;
        let indention: Rc<str> = match width {
            None => " ".repeat(4).into(),
            Some(Value::Text(text)) => text,
            Some(width) => {
                let width = integer(&width)?.max(0) as usize;
                self.budget.bytes(width, width)?;
                " ".repeat(width).into()
            }
        };
        let flag = |value: Option<Value>| value.is_some_and(|value| value.is_true());
        let (first, blank) = (flag(first), flag(blank));
        // Without its quirk, a text that ends in a newline would lose it.
        let text = format!("{text}\n");
        let mut indented = String::new();
        for (i, line) in split_lines(&text, false).into_iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            self.budget.append(&mut indented, newline)?;
            if if i == 0 {
                first
            } else {
                blank || !line.is_empty()
            } {
                self.budget.append(&mut indented, &indention)?;
            }
            self.budget.append(&mut indented, line)?;
        }
        Ok(Value::text(&indented))
    }

    fn end_of(&self, name: &str, value: Value) -> Result<Value, Fault> {
        let found = match (&value, name) {
            (Value::Stream(stream), "first") => stream.borrow_mut().next()?,
            (Value::Stream(_), _) => {
                return Err(failed("'generator' object is not reversible"));
            }
            (_, "first") => value.elements(&self.budget)?.into_iter().next(),
            _ => value.elements(&self.budget)?.pop(),
        };
        let none = || Value::undefined(format!("No {name} item, sequence was empty."));
        Ok(found.unwrap_or_else(none))
    }

    fn reversed(&self, value: Value) -> Result<Value, Fault> {
        let mut values = value.elements(&self.budget)?;
        values.reverse();
        match value {
            Value::Text(text) => self.budget.text(String::from_iter(text.chars().rev())),
            // It is no sequence, so Jinja makes a list of it.
            Value::Stream(_) => Value::list(values, &self.budget),
            _ => Value::stream(values, &self.budget),
        }
    }

    fn joined(&mut self, value: Value, arguments: Arguments) -> Result<Value, Fault> {
        let [separator, attribute] = arguments.bind("join", ["d", "attribute"])?;
        let separator = separator.unwrap_or_else(|| Value::text(""));
        let separator = separator.to_text(&self.budget)?;
        let path = Path::new(attribute, &self.budget)?;
        let mut joined = String::new();
        for (i, value) in value.elements(&self.budget)?.into_iter().enumerate() {
            if i > 0 {
                self.budget.append(&mut joined, &separator)?;
            }
            let text = path.follow(value, self)?.to_text(&self.budget)?;
            self.budget.append(&mut joined, &text)?;
        }
        self.budget.text(joined)
    }

    fn mapped(&mut self, value: Value, mut arguments: Arguments) -> Result<Value, Fault> {
        let by_attribute =
            arguments.positional.is_empty() && arguments.named.iter().any(|n| n.0 == "attribute");
        let values = match value.is_true() {
            true => value.elements(&self.budget)?,
            false => Vec::new(),
        };
        let mut mapped = Vec::new();
        if by_attribute {
            let [attribute, default] = arguments.bind("map", ["attribute", "default"])?;
            let path = Path::new(attribute, &self.budget)?;
            let default = default.filter(|default| !matches!(default, Value::None));
            for value in values {
                mapped.push(path.follow_or(value, default.as_ref(), self)?);
            }
        } else if !values.is_empty() {
            let name = self.name_argument("map", &mut arguments)?;
            for value in values {
                mapped.push(self.filter(&name, value, arguments.clone())?);
            }
        }
        Value::stream(mapped, &self.budget)
    }

    /// The name of a filter or test, which is the first argument.
    fn name_argument(&self, of: &str, arguments: &mut Arguments) -> Result<Rc<str>, Fault> {
        match arguments.positional.first() {
            Some(Value::Text(name)) => {
                let name = name.clone();
                arguments.positional.remove(0);
                Ok(name)
            }
            _ => Err(failed(format!(
                "{of} requires the name of a filter or test"
            ))),
        }
    }

    fn selected(
        &mut self,
        name: &str,
        value: Value,
        mut arguments: Arguments,
    ) -> Result<Value, Fault> {
        if !value.is_true() {
            return Value::stream(Vec::new(), &self.budget);
        }
        let path = match name.ends_with("attr") {
            true if arguments.positional.is_empty() => {
                return Err(failed("Missing parameter for attribute name"));
            }
            true => Path::new(Some(arguments.positional.remove(0)), &self.budget)?,
            false => Path::default(),
        };
        let test = match arguments.positional.is_empty() {
            true => None,
            false => Some(self.name_argument(name, &mut arguments)?),
        };
        let wanted = name.starts_with("select");
        let mut selected = Vec::new();
        for value in value.elements(&self.budget)? {
            let tested = path.follow(value.clone(), self)?;
            let holds = match &test {
                None => tested.is_true(),
                Some(test) => checks::holds(test, &tested, arguments.clone(), &self.budget)?,
            };
            if holds == wanted {
                selected.push(value);
            }
        }
        Value::stream(selected, &self.budget)
    }

    fn sorted(&mut self, value: Value, arguments: Arguments) -> Result<Value, Fault> {
        let parameters = ["reverse", "case_sensitive", "attribute"];
        let [reverse, exact, attribute] = arguments.bind("sort", parameters)?;
        if matches!(&attribute, Some(Value::Text(names)) if names.contains(',')) {
            return Err(unsupported("sorting by several attributes"));
        }
        let path = Path::new(attribute, &self.budget)?;
        let flag = |value: Option<Value>| value.is_some_and(|value| value.is_true());
        let (reverse, exact) = (flag(reverse), flag(exact));
        let mut keyed = Vec::new();
        for value in value.elements(&self.budget)? {
            let key = path.follow(value.clone(), self)?;
            keyed.push((self.sort_key(key, exact)?, value));
        }
        let sorted = self.sorted_by_key(keyed, reverse)?;
        Value::list(sorted, &self.budget)
    }

    fn sorted_dict(&mut self, value: Value, arguments: Arguments) -> Result<Value, Fault> {
        let parameters = ["case_sensitive", "by", "reverse"];
        let [exact, by, reverse] = arguments.bind("dictsort", parameters)?;
        let flag = |value: Option<Value>| value.is_some_and(|value| value.is_true());
        let (exact, reverse) = (flag(exact), flag(reverse));
        let by_value = match by {
            None => false,
            Some(Value::Text(by)) if &*by == "key" => false,
            Some(Value::Text(by)) if &*by == "value" => true,
            Some(_) => return Err(failed("You can only sort by either \"key\" or \"value\"")),
        };
        let Value::Dict(dict) = value else {
            return Err(failed("the filter dictsort takes a dict"));
        };
        let pairs = dict.view(View::Items, &self.budget)?;
        let mut keyed = Vec::new();
        for (pair, (key, value)) in pairs.into_iter().zip(dict.iter()) {
            let by = if by_value { value } else { key };
            keyed.push((self.sort_key(by.clone(), exact)?, pair));
        }
        let sorted = self.sorted_by_key(keyed, reverse)?;
        Value::list(sorted, &self.budget)
    }

    /// What is compared: texts in lower case, unless their case counts.
    fn sort_key(&self, value: Value, exact: bool) -> Result<Value, Fault> {
        match value {
            Value::Text(text) if !exact => self.budget.text(text.to_lowercase()),
            _ => Ok(value),
        }
    }

    /// Values in the order of their keys. Equal ones stay in order, also in reverse, as Python's do.
    fn sorted_by_key(
        &self,
        mut keyed: Vec<(Value, Value)>,
        reverse: bool,
    ) -> Result<Vec<Value>, Fault> {
        if reverse {
            keyed.reverse();
        }
        sort_by_key(&mut keyed, |(key, _)| key, &self.budget)?;
        if reverse {
            keyed.reverse();
        }
        Ok(keyed.into_iter().map(|(_, value)| value).collect())
    }
}

/// The most parts of a [`Path`].
const MAX_PARTS: usize = 64;

/// An attribute of an attribute …, as filters name it: `function.name`, or a place such as `0`.
#[derive(Default)]
struct Path(Vec<Value>);

impl Path {
    fn new(attribute: Option<Value>, budget: &Budget) -> Result<Self, Fault> {
        let part = |part: &str| match part.parse() {
            Ok(place) if part.bytes().all(|b| b.is_ascii_digit()) => Value::Int(place),
            _ => Value::text(part),
        };
        match attribute {
            None | Some(Value::None) => Ok(Self::default()),
            Some(Value::Text(path)) => {
                budget.bytes(path.len(), 0)?;
                let parts: Vec<&str> = path.splitn(MAX_PARTS + 1, '.').collect();
                if parts.len() > MAX_PARTS {
                    let what = format!("an attribute of more than {MAX_PARTS} parts");
                    return Err(unsupported(what));
                }
                Ok(Self(parts.into_iter().map(part).collect()))
            }
            Some(place @ Value::Int(_)) => Ok(Self(vec![place])),
            Some(_) => Err(unsupported("an attribute that is no text")),
        }
    }

    fn follow(&self, value: Value, run: &Run) -> Result<Value, Fault> {
        self.follow_or(value, None, run)
    }

    fn follow_or(
        &self,
        mut value: Value,
        default: Option<&Value>,
        run: &Run,
    ) -> Result<Value, Fault> {
        for part in &self.0 {
            run.budget.steps(1)?;
            value = item(&value, part, &run.budget)?;
            if let (Value::Undefined(_), Some(default)) = (&value, default) {
                value = default.clone();
            }
        }
        Ok(value)
    }
}

/// Jinja's `title`: words begin after whitespace and `-({[<`, whatever else is within them.
fn title(text: &str) -> String {
    let mut titled = String::new();
    let begins = |c: char| is_space(c) || "-({[<".contains(c);
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(begins).unwrap_or(rest.len());
        let (word, after) = rest.split_at(word);
        let mut chars = word.chars();
        titled.extend(chars.next().into_iter().flat_map(char::to_uppercase));
        titled += &chars.as_str().to_lowercase();
        let gap = after.find(|c| !begins(c)).unwrap_or(after.len());
        titled += &after[..gap];
        rest = &after[gap..];
    }
    titled
}

/// `int(value)`, or the default where that is no number.
fn whole(value: &Value, default: Value) -> Result<Value, Fault> {
    let from_float = |n: f64| match n {
        _ if !n.is_finite() => Ok(default.clone()),
        // Beyond, not every whole number is a float, and Python's has more digits.
        _ if n.abs() < (1u64 << 53) as f64 => Ok(Value::Int(n as i64)),
        _ => Err(unsupported("a whole number beyond 64 bits")),
    };
    match value {
        Value::Undefined(what) => Err(failed(what)),
        Value::Marked(_) => Err(unsupported("the filter \"int\" after \"safe\"")),
        Value::Text(text) => {
            let text = text.trim_matches(is_space);
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            if !text.is_ascii() || text.contains('_') {
                return Err(unsupported("a number with underscores or beyond ASCII"));
            }
            if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
                let beyond = |_| unsupported("a whole number beyond 64 bits");
                return text.parse().map(Value::Int).map_err(beyond);
            }
            text.parse().map_or(Ok(default.clone()), from_float)
        }
        _ => match Number::of(value) {
            Some(Number::Int(n)) => Ok(Value::Int(n)),
            Some(Number::Float(n)) => from_float(n),
            None => Ok(default),
        },
    }
}
