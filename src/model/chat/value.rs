//! A template's values, and what Python does with them.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::budget::Budget;
use super::compare::equal;
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
    /// Whether all of them are. (Elements are shared: a tuple of n of them can have 2^n paths.)
    hashable: bool,
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
        let hashable = values.iter().all(hashable);
        let values = Rc::new(values);
        Ok(Self {
            values,
            depth,
            hashable,
        })
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

/// The depth of what holds these values. The variable `loop` is not held: what `loop.changed` keeps in it can change
/// later, so that it has no depth that could be counted.
fn deeper<'a>(values: impl IntoIterator<Item = &'a Value>) -> Result<u16, Fault> {
    let mut depth = 1;
    for value in values {
        if let Value::Loop(_) = value {
            return Err(unsupported("\"loop\" in another value"));
        }
        depth = depth.max(value.depth() + 1);
    }
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
    /// What `loop.changed` was given last.
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
            Self::Method(method) => method.0.depth() + 1,
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

    /// `len(value)`.
    ///
    /// # Errors
    /// Where it has none, or the budget is spent.
    pub fn len(&self, budget: &Budget) -> Result<usize, Fault> {
        match self {
            Self::Undefined(_) => Ok(0),
            Self::Text(text) | Self::Marked(text) => {
                budget.bytes(text.len(), 0)?;
                Ok(text.chars().count())
            }
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

fn hashable(key: &Value) -> bool {
    match key {
        Value::Tuple(items) => items.hashable,
        Value::List(_) | Value::Dict(_) | Value::View(..) => false,
        _ => true,
    }
}
