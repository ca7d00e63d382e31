//! A template's values, and what Python does with them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::budget::Budget;
use super::fault::{Fault, failed, unsupported};

/// How deep lists and dicts may stand in each other. (JSON is read to a depth of 128.)
const MAX_NESTING: u16 = 200;

/// A value. What has no variant here (sets, bytes, large integers, …) is refused where it would come up.
#[derive(Clone)]
pub(super) enum Value {
    /// Of a name, attribute or item that is not there, with what is said where it is used.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Rc<str>),
    /// A text that the filter `safe` has marked: it is printed, and has a truth. What else is done with it would
    /// escape HTML in the other operand.
    Marked(Rc<str>),
    List(Items),
    Tuple(Items),
    /// `range(…)`.
    Range(Items),
    Dict(Rc<Dict>),
    /// `.keys()`, `.values()` and `.items()` of a dict.
    View(Rc<Dict>, View),
    /// What a generator still has to give: it is read once, is true, and has no length.
    Stream(Rc<RefCell<Stream>>),
    Namespace(Rc<RefCell<Dict>>),
    /// The variable `loop`.
    Loop(Rc<Loop>),
    /// A macro, by its number in the run.
    Macro(usize),
    Function(Function),
    /// A method with its object, a text, dict, list or tuple.
    Method(Rc<(Value, &'static str)>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Keys,
    Values,
    Items,
}

/// The functions that a template has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Range,
    Dict,
    Namespace,
    RaiseException,
    StrftimeNow,
}

/// The elements of a list, a tuple or a range.
#[derive(Clone)]
pub(super) struct Items {
    values: Rc<Vec<Value>>,
    depth: u16,
}

impl std::ops::Deref for Items {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.values
    }
}

impl Items {
    /// # Errors
    /// Where the elements are nested too deeply, or there is no budget for them.
    pub fn new(values: Vec<Value>, budget: &Budget) -> Result<Self, Fault> {
        budget.elements(values.len())?;
        let depth = deeper(values.iter())?;
        let values = Rc::new(values);
        Ok(Self { values, depth })
    }
}

/// Entries in the order of their insertion, as Python's. They are few, and looked for one by one.
#[derive(Clone, Default)]
pub(super) struct Dict {
    entries: Vec<(Value, Value)>,
    depth: u16,
}

impl Dict {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &(Value, Value)> {
        self.entries.iter()
    }

    /// # Errors
    /// Where the key cannot be one, or the budget is spent.
    pub fn get(&self, key: &Value, budget: &Budget) -> Result<Option<&Value>, Fault> {
        Ok(self.find(key, budget)?.map(|at| &self.entries[at].1))
    }

    fn find(&self, key: &Value, budget: &Budget) -> Result<Option<usize>, Fault> {
        if !hashable(key) {
            return Err(failed(format!("unhashable type: '{}'", key.type_name())));
        }
        for (at, (other, _)) in self.entries.iter().enumerate() {
            if equal(key, other, budget)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Puts a value under a key; one that is there keeps its place.
    ///
    /// # Errors
    /// As [`Self::get`], and where the value is nested too deeply.
    pub fn insert(&mut self, key: Value, value: Value, budget: &Budget) -> Result<(), Fault> {
        budget.elements(2)?;
        self.depth = self.depth.max(deeper([&key, &value])?);
        match self.find(&key, budget)? {
            Some(at) => self.entries[at].1 = value,
            None => self.entries.push((key, value)),
        }
        Ok(())
    }

    /// What a view of it has, in order.
    pub fn view(&self, view: View, budget: &Budget) -> Result<Vec<Value>, Fault> {
        budget.elements(self.len())?;
        let pair = |(key, value): &(Value, Value)| {
            let pair = vec![key.clone(), value.clone()];
            Items::new(pair, budget).map(Value::Tuple)
        };
        self.iter()
            .map(|entry| match view {
                View::Keys => Ok(entry.0.clone()),
                View::Values => Ok(entry.1.clone()),
                View::Items => pair(entry),
            })
            .collect()
    }
}

/// The depth of what holds these values.
fn deeper<'a>(values: impl IntoIterator<Item = &'a Value>) -> Result<u16, Fault> {
    let depth = values.into_iter().map(Value::depth).max().unwrap_or(0) + 1;
    match depth {
        ..=MAX_NESTING => Ok(depth),
        _ => Err(Fault::too_deep()),
    }
}

/// See [`Value::Stream`].
pub(super) struct Stream {
    values: VecDeque<Value>,
    depth: u16,
    /// A loop over it was left early: Python would go on where it stopped, after what was looked at in advance.
    pub broken: bool,
}

/// See [`Value::Loop`].
pub(super) struct Loop {
    pub items: Items,
    pub index: Cell<usize>,
    /// Of how many loops it is the innermost, less one. (Without recursive loops: 0.)
    pub changed: RefCell<Option<Value>>,
}

impl Value {
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// # Errors
    /// As [`Items::new`].
    pub fn list(values: Vec<Value>, budget: &Budget) -> Result<Self, Fault> {
        Items::new(values, budget).map(Self::List)
    }

    /// # Errors
    /// As [`Items::new`].
    pub fn stream(values: Vec<Value>, budget: &Budget) -> Result<Self, Fault> {
        budget.elements(values.len())?;
        let depth = deeper(&values)?;
        let stream = Stream {
            values: values.into(),
            depth,
            broken: false,
        };
        Ok(Self::Stream(Rc::new(RefCell::new(stream))))
    }

    pub fn undefined(what: impl AsRef<str>) -> Self {
        Self::Undefined(what.as_ref().into())
    }

    fn depth(&self) -> u16 {
        match self {
            Self::List(items) | Self::Tuple(items) | Self::Range(items) => items.depth,
            Self::Dict(dict) | Self::View(dict, _) => dict.depth,
            Self::Stream(stream) => stream.borrow().depth,
            Self::Loop(state) => state.items.depth,
            Self::Method(method) => method.0.depth(),
            _ => 0,
        }
    }

    /// What Python calls its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Text(_) => "str",
            Self::Marked(_) => "Markup",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Range(_) => "range",
            Self::Dict(_) => "dict",
            Self::View(_, View::Keys) => "dict_keys",
            Self::View(_, View::Values) => "dict_values",
            Self::View(_, View::Items) => "dict_items",
            Self::Stream(_) => "generator",
            Self::Namespace(_) => "Namespace",
            Self::Loop(_) => "LoopContext",
            Self::Macro(_) => "Macro",
            Self::Function(_) => "function",
            Self::Method(_) => "builtin_function_or_method",
        }
    }

    pub fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) | Self::Marked(text) => !text.is_empty(),
            Self::List(items) | Self::Tuple(items) | Self::Range(items) => !items.is_empty(),
            Self::Dict(dict) | Self::View(dict, _) => dict.len() > 0,
            _ => true,
        }
    }

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

    /// `len(value)`.
    ///
    /// # Errors
    /// Where it has none.
    pub fn len(&self) -> Result<usize, Fault> {
        match self {
            Self::Undefined(_) => Ok(0),
            Self::Text(text) | Self::Marked(text) => Ok(text.chars().count()),
            Self::List(items) | Self::Tuple(items) | Self::Range(items) => Ok(items.len()),
            Self::Dict(dict) | Self::View(dict, _) => Ok(dict.len()),
            Self::Loop(_) => Err(unsupported("the length of \"loop\"")),
            _ => Err(failed(format!(
                "object of type '{}' has no len()",
                self.type_name()
            ))),
        }
    }

    /// What iterating over it gives. A stream is then empty.
    ///
    /// # Errors
    /// Where it cannot be iterated over, or the budget is spent.
    pub fn elements(&self, budget: &Budget) -> Result<Vec<Value>, Fault> {
        let values = match self {
            Self::Undefined(_) => Vec::new(),
            Self::Text(text) => {
                budget.elements(text.len())?;
                let mut buffer = [0; 4];
                let chars = text.chars();
                chars
                    .map(|c| Self::text(c.encode_utf8(&mut buffer)))
                    .collect()
            }
            Self::List(items) | Self::Tuple(items) | Self::Range(items) => {
                budget.elements(items.len())?;
                items.to_vec()
            }
            Self::Dict(dict) => dict.view(View::Keys, budget)?,
            Self::View(dict, view) => dict.view(*view, budget)?,
            Self::Stream(stream) => {
                let mut stream = stream.borrow_mut();
                stream.usable()?;
                stream.values.drain(..).collect()
            }
            Self::Marked(_) | Self::Loop(_) => {
                let what = format!("iterating over a {}", self.type_name());
                return Err(unsupported(what));
            }
            _ => {
                let reason = format!("'{}' object is not iterable", self.type_name());
                return Err(failed(reason));
            }
        };
        Ok(values)
    }
}

impl Stream {
    fn usable(&self) -> Result<(), Fault> {
        match self.broken {
            true => Err(unsupported(
                "reading a generator after a loop over it was left",
            )),
            false => Ok(()),
        }
    }

    /// The next value, if there is one.
    ///
    /// # Errors
    /// Where a loop over it was left early.
    pub fn next(&mut self) -> Result<Option<Value>, Fault> {
        self.usable()?;
        Ok(self.values.pop_front())
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
    c.is_alphanumeric() || BLOCKS.iter().any(of_block)
}

fn hashable(key: &Value) -> bool {
    match key {
        Value::Tuple(items) => items.iter().all(hashable),
        Value::List(_) | Value::Dict(_) | Value::View(..) => false,
        _ => true,
    }
}

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
    pub fn compare(self, other: Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Int(a), Self::Float(b)) => {
                // Where rounding makes them equal, the float is a whole number.
                let rounded = (a as f64).partial_cmp(&b)?;
                Some(rounded.then_with(|| i128::from(a).cmp(&(b as i128))))
            }
            (Self::Float(_), Self::Int(_)) => other.compare(self).map(std::cmp::Ordering::reverse),
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
        return Ok(a.compare(b).is_some_and(std::cmp::Ordering::is_eq));
    }
    let all = |a: &[Value], b: &[Value]| {
        let mut pairs = a.iter().zip(b);
        let same = pairs.try_fold(true, |same, (a, b)| Ok(same && equal(a, b, budget)?));
        Ok(a.len() == b.len() && same?)
    };
    match (a, b) {
        (Value::None, Value::None) | (Value::Undefined(_), Value::Undefined(_)) => Ok(true),
        (Value::Text(a) | Value::Marked(a), Value::Text(b) | Value::Marked(b)) => {
            budget.bytes(a.len().min(b.len()), 0)?;
            Ok(a == b)
        }
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => all(a, b),
        (Value::Dict(a), Value::Dict(b)) => {
            for (key, value) in a.iter() {
                match b.get(key, budget)? {
                    Some(other) if equal(value, other, budget)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(a.len() == b.len())
        }
        _ if a.type_name() == b.type_name() => {
            Err(unsupported(format!("comparing a {}", a.type_name())))
        }
        _ => Ok(false),
    }
}

/// `a < b`.
///
/// # Errors
/// Where Python has no order of them, or one that is not known here.
pub(super) fn less(a: &Value, b: &Value, budget: &Budget) -> Result<bool, Fault> {
    budget.steps(1)?;
    if let (Some(a), Some(b)) = (Number::of(a), Number::of(b)) {
        return Ok(a.compare(b).is_some_and(std::cmp::Ordering::is_lt));
    }
    match (a, b) {
        (Value::Undefined(what), _) | (_, Value::Undefined(what)) => Err(failed(what)),
        // UTF-8 has the order of its characters.
        (Value::Text(a), Value::Text(b)) => Ok(a < b),
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
            budget.bytes(text.len(), 0)?;
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
/// Where two keys have no order.
pub(super) fn sort_by_key<T>(
    elements: &mut [T],
    key: impl Fn(&T) -> &Value,
    budget: &Budget,
) -> Result<(), Fault> {
    use std::cmp::Ordering;
    let mut fault = None;
    elements.sort_by(|a, b| {
        let mut before = |a, b| {
            less(key(a), key(b), budget).unwrap_or_else(|e| {
                fault.get_or_insert(e);
                false
            })
        };
        match before(a, b) {
            true => Ordering::Less,
            false if before(b, a) => Ordering::Greater,
            false => Ordering::Equal,
        }
    });
    fault.map_or(Ok(()), Err)
}
