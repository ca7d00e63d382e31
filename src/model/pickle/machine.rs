//! The instructions that `torch.save` writes for a dictionary of tensors, and no others.
//!
//! A pickle is a program for a stack machine, and in general one that calls whatever it names. Here it can make
//! numbers, texts, tuples, lists and dictionaries, and call three functions that make tensors and ordered
//! dictionaries: those are known by name and nothing is looked up. Any other instruction or name ends the reading, so
//! a pickle that would run code never does.
//!
//! Objects are held in lists and named by their index: none contains another, so nothing nests, and a program that
//! doubles an object with each instruction makes no copies. An instruction makes one object or none, of at most 40 bytes
//! besides what stands in the pickle, and their number is bounded.

use std::collections::BTreeSet;

use safetensors::Dtype;
use thiserror::Error;

/// A tensor takes up to 250 bytes and 60 instructions: these are 8,000 tensors and more.
pub const MAX_PICKLE: u64 = 1 << 22;
const MAX_STEPS: usize = 1 << 19;
/// More than any tensor has.
const MAX_DIMS: usize = 8;

/// Why a pickle is not read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PickleError {
    #[error(
        "the instruction {name} (byte {code:#04x}) at byte {at} of its pickle is none that torch.save writes for \
         tensors: nothing of it is run; save only the state_dict, or convert the checkpoint to safetensors"
    )]
    Opcode {
        name: &'static str,
        code: u8,
        at: usize,
    },
    #[error(
        "its pickle would use \"{name}\" (byte {at}), which is none of the few functions and types that tensors need: \
         nothing of it is run; save only the state_dict, or convert the checkpoint to safetensors"
    )]
    Global { name: String, at: usize },
    #[error("its pickle is damaged, or made to deceive: {reason} (byte {at})")]
    Malformed { reason: &'static str, at: usize },
    #[error("its pickle has {0}, more than is read")]
    TooLarge(String),
    #[error("\"{0}\" is not a tensor: save only the state_dict")]
    NotATensor(String),
    #[error("the archive has {0}")]
    Archive(String),
}

/// Where the numbers of tensors lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Its entry in the archive, under `data/`.
    pub key: String,
    pub dtype: Dtype,
    /// In numbers.
    pub length: u64,
}

/// A view of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Index of the storage.
    pub storage: usize,
    /// All in numbers.
    pub offset: u64,
    pub shape: Vec<usize>,
    pub strides: Vec<u64>,
}

/// What a pickle makes.
#[derive(Debug, Default)]
pub struct Tensors {
    pub storages: Vec<Storage>,
    /// By name, in the pickle's order; no name twice.
    pub tensors: Vec<(String, Tensor)>,
}

/// What a name in a pickle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

/// An object; the index says where its content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    None,
    Flag,
    Number(i64),
    Global(Global),
    Text(usize),
    Tuple(usize),
    Dict(usize),
    Storage(usize),
    Tensor(usize),
}

/// Reads a pickle to its end.
///
/// # Errors
/// [`PickleError`], naming the instruction, the function or the entry of the dictionary.
pub fn run(pickle: &[u8]) -> Result<Tensors, PickleError> {
    let mut machine = Machine {
        pickle,
        ..Machine::default()
    };
    while !machine.step()? {}
    machine.finish()
}

#[derive(Default)]
struct Machine<'a> {
    pickle: &'a [u8],
    /// The next byte, and where the instruction begins that is being read.
    next: usize,
    at: usize,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: Vec<Value>,
    texts: Vec<&'a str>,
    tuples: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    storages: Vec<Storage>,
    tensors: Vec<Tensor>,
    steps: usize,
}

impl<'a> Machine<'a> {
    /// Runs one instruction; says whether it was the last.
    fn step(&mut self) -> Result<bool, PickleError> {
        self.at = self.next;
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(PickleError::TooLarge(format!(
                "over {MAX_STEPS} instructions"
            )));
        }
        match self.byte()? {
            // Versions differ in which instructions they have.
            0x80 => drop(self.byte()?),
            b'.' => return Ok(true),
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.stack.push(Value::None),
            0x88 | 0x89 => self.stack.push(Value::Flag),
            b'K' => self.number(1, false)?,
            b'M' => self.number(2, false)?,
            b'J' => self.number(4, true)?,
            0x8a => {
                let length = self.byte()?;
                self.number(length.into(), true)?;
            }
            b'X' => self.text()?,
            b'c' => self.global()?,
            b')' => self.tuple(self.stack.len()),
            0x85 => self.tuple_of(1)?,
            0x86 => self.tuple_of(2)?,
            0x87 => self.tuple_of(3)?,
            b't' => {
                let mark = self.mark()?;
                self.tuple(mark);
            }
            b'}' => self.dict(),
            b's' => {
                let from = self.below(2)?;
                self.set_items(from)?;
            }
            b'u' => {
                let mark = self.mark()?;
                self.set_items(mark)?;
            }
            b'q' | b'r' => self.memorize()?,
            b'h' | b'j' => self.recall()?,
            b'Q' => self.persistent()?,
            b'R' => self.call()?,
            b'b' => self.build()?,
            code => return Err(self.unknown(code)),
        }
        Ok(false)
    }

    /// The dictionary that is left on the stack, if it is one of tensors by name.
    fn finish(mut self) -> Result<Tensors, PickleError> {
        let Value::Dict(dict) = self.pop()? else {
            return Err(PickleError::NotATensor("what it holds".to_string()));
        };
        if self.next != self.pickle.len() {
            return Err(self.malformed("it goes on behind its end"));
        }
        let (mut names, mut tensors) = (BTreeSet::new(), Vec::new());
        for (key, value) in &self.dicts[dict] {
            let Value::Text(name) = *key else {
                return Err(self.malformed("a name that is no text"));
            };
            let name = self.texts[name];
            let Value::Tensor(tensor) = *value else {
                return Err(PickleError::NotATensor(name.to_string()));
            };
            if !names.insert(name) {
                return Err(self.malformed("a name that occurs twice"));
            }
            tensors.push((name.to_string(), self.tensors[tensor].clone()));
        }
        Ok(Tensors {
            storages: self.storages,
            tensors,
        })
    }

    fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.bytes(1)?[0])
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], PickleError> {
        let pickle = self.pickle;
        let end = self.next.checked_add(count);
        let bytes = end.and_then(|end| pickle.get(self.next..end));
        let bytes = bytes.ok_or_else(|| self.malformed("it ends within an instruction"))?;
        self.next += count;
        Ok(bytes)
    }

    fn line(&mut self) -> Result<&'a str, PickleError> {
        let length = self.pickle[self.next..].iter().position(|b| *b == b'\n');
        let length = length.ok_or_else(|| self.malformed("it ends within a name"))?;
        let line = self.bytes(length + 1)?;
        std::str::from_utf8(&line[..length]).map_err(|_| self.malformed("a name is not UTF-8"))
    }

    fn pop(&mut self) -> Result<Value, PickleError> {
        let last = self.below(1)?;
        Ok(self.stack.swap_remove(last))
    }

    /// The index of the last `count` values, if so many were pushed since the last mark.
    fn below(&self, count: usize) -> Result<usize, PickleError> {
        let mark = self.marks.last().copied().unwrap_or(0);
        let from = self.stack.len().checked_sub(count);
        let from = from.filter(|from| *from >= mark);
        from.ok_or_else(|| self.malformed("it takes what is not on its stack"))
    }

    /// Takes the last mark away.
    fn mark(&mut self) -> Result<usize, PickleError> {
        let mark = self.marks.pop();
        mark.ok_or_else(|| self.malformed("it ends a list that it has not begun"))
    }

    fn number(&mut self, count: usize, signed: bool) -> Result<(), PickleError> {
        let bytes = self.bytes(count)?;
        let negative = signed && bytes.last().is_some_and(|b| *b >= 0x80);
        let mut all = [if negative { 0xff } else { 0 }; 8];
        match all.get_mut(..count) {
            Some(low) => low.copy_from_slice(bytes),
            None => return Err(self.malformed("a number of more than 64 bits")),
        }
        self.stack.push(Value::Number(i64::from_le_bytes(all)));
        Ok(())
    }

    fn text(&mut self) -> Result<(), PickleError> {
        let length = self.bytes(4)?;
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]);
        let text = self.bytes(length as usize)?;
        let text = std::str::from_utf8(text).map_err(|_| self.malformed("a text is not UTF-8"))?;
        self.texts.push(text);
        self.stack.push(Value::Text(self.texts.len() - 1));
        Ok(())
    }

    fn global(&mut self) -> Result<(), PickleError> {
        let (module, name) = (self.line()?, self.line()?);
        let global = match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("torch", "FloatStorage") => Global::Storage(Dtype::F32),
            ("torch", "DoubleStorage") => Global::Storage(Dtype::F64),
            ("torch", "HalfStorage") => Global::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Global::Storage(Dtype::BF16),
            ("torch", "ByteStorage") => Global::Storage(Dtype::U8),
            ("torch", "CharStorage") => Global::Storage(Dtype::I8),
            ("torch", "ShortStorage") => Global::Storage(Dtype::I16),
            ("torch", "IntStorage") => Global::Storage(Dtype::I32),
            ("torch", "LongStorage") => Global::Storage(Dtype::I64),
            ("torch", "BoolStorage") => Global::Storage(Dtype::BOOL),
            _ => {
                let name = format!("{module}.{name}").chars().take(128).collect();
                return Err(PickleError::Global { name, at: self.at });
            }
        };
        self.stack.push(Value::Global(global));
        Ok(())
    }

    fn tuple_of(&mut self, count: usize) -> Result<(), PickleError> {
        let from = self.below(count)?;
        self.tuple(from);
        Ok(())
    }

    /// A tuple of all values from an index on.
    fn tuple(&mut self, from: usize) {
        self.tuples.push(self.stack.split_off(from));
        self.stack.push(Value::Tuple(self.tuples.len() - 1));
    }

    fn dict(&mut self) {
        self.dicts.push(Vec::new());
        self.stack.push(Value::Dict(self.dicts.len() - 1));
    }

    /// Puts the pairs from an index on into the dictionary before them.
    fn set_items(&mut self, from: usize) -> Result<(), PickleError> {
        let values = self.stack.split_off(from);
        let (pairs, []) = values.as_chunks::<2>() else {
            return Err(self.malformed("a key without a value"));
        };
        let last = self.below(1)?;
        let Value::Dict(dict) = self.stack[last] else {
            return Err(self.malformed("entries of what is no dictionary"));
        };
        self.dicts[dict].extend(pairs.iter().map(|[key, value]| (*key, *value)));
        Ok(())
    }

    fn index(&mut self) -> Result<usize, PickleError> {
        let long = matches!(self.pickle[self.at], b'r' | b'j');
        let bytes = self.bytes(if long { 4 } else { 1 })?;
        let index = bytes.iter().rev().fold(0u32, |n, b| n << 8 | u32::from(*b));
        Ok(index as usize)
    }

    /// Every pickler numbers what it memorizes from 0 on.
    fn memorize(&mut self) -> Result<(), PickleError> {
        let index = self.index()?;
        let value = self.stack[self.below(1)?];
        if index == self.memo.len() {
            self.memo.push(value);
            return Ok(());
        }
        match self.memo.get_mut(index) {
            Some(known) => *known = value,
            None => return Err(self.malformed("it memorizes out of order")),
        }
        Ok(())
    }

    fn recall(&mut self) -> Result<(), PickleError> {
        let index = self.index()?;
        match self.memo.get(index) {
            Some(value) => self.stack.push(*value),
            None => return Err(self.malformed("it recalls what it has not memorized")),
        }
        Ok(())
    }

    /// `("storage", type, key, device, length)`.
    fn persistent(&mut self) -> Result<(), PickleError> {
        let Value::Tuple(id) = self.pop()? else {
            return Err(self.malformed("an outer object that is no storage"));
        };
        let [
            Value::Text(kind),
            Value::Global(Global::Storage(dtype)),
            Value::Text(key),
            Value::Text(_),
            Value::Number(length),
        ] = self.tuples[id][..]
        else {
            return Err(self.malformed("an outer object that is no storage"));
        };
        if self.texts[kind] != "storage" {
            return Err(self.malformed("an outer object that is no storage"));
        }
        let length = self.natural(length)?;
        self.storages.push(Storage {
            key: self.texts[key].to_string(),
            dtype,
            length,
        });
        self.stack.push(Value::Storage(self.storages.len() - 1));
        Ok(())
    }

    /// Calls one of three functions.
    fn call(&mut self) -> Result<(), PickleError> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Value::Tuple(arguments) = arguments else {
            return Err(self.malformed("arguments that are no tuple"));
        };
        let arguments = &self.tuples[arguments][..];
        match (function, arguments) {
            (Value::Global(Global::OrderedDict), []) => {
                self.dict();
                Ok(())
            }
            // Whether gradients are wanted of a tensor, and what is to be run on them (nothing), changes no number.
            (
                Value::Global(Global::RebuildParameter),
                [
                    tensor @ Value::Tensor(_),
                    Value::Flag,
                    Value::Dict(_) | Value::None,
                ],
            ) => {
                let tensor = *tensor;
                self.stack.push(tensor);
                Ok(())
            }
            (
                Value::Global(Global::RebuildTensor),
                [
                    Value::Storage(storage),
                    Value::Number(offset),
                    Value::Tuple(shape),
                    Value::Tuple(strides),
                    Value::Flag,
                    Value::Dict(_) | Value::None,
                    more @ ..,
                ],
            ) => {
                match more {
                    [] | [Value::None] => {}
                    // Bits that say that the numbers are to be negated or conjugated.
                    [Value::Dict(marks)] if self.dicts[*marks].is_empty() => {}
                    _ => return Err(self.malformed("a tensor that is not what it stores")),
                }
                let (storage, offset, shape, strides) = (*storage, *offset, *shape, *strides);
                self.tensor(storage, offset, shape, strides)
            }
            _ => Err(self.malformed("a call that torch.save does not write")),
        }
    }

    fn tensor(
        &mut self,
        storage: usize,
        offset: i64,
        shape: usize,
        strides: usize,
    ) -> Result<(), PickleError> {
        let offset = self.natural(offset)?;
        let (shape, strides) = (self.naturals(shape)?, self.naturals(strides)?);
        if shape.len() != strides.len() || shape.len() > MAX_DIMS {
            return Err(self.malformed("a shape and strides that do not fit"));
        }
        let shape: Result<Vec<usize>, _> = shape.into_iter().map(usize::try_from).collect();
        let shape = shape.map_err(|_| self.malformed("a dimension beyond memory"))?;
        self.tensors.push(Tensor {
            storage,
            offset,
            shape,
            strides,
        });
        self.stack.push(Value::Tensor(self.tensors.len() - 1));
        Ok(())
    }

    fn naturals(&self, tuple: usize) -> Result<Vec<u64>, PickleError> {
        let natural = |value: &Value| match value {
            Value::Number(number) => self.natural(*number),
            _ => Err(self.malformed("a shape or strides that are no numbers")),
        };
        self.tuples[tuple].iter().map(natural).collect()
    }

    fn natural(&self, number: i64) -> Result<u64, PickleError> {
        u64::try_from(number).map_err(|_| self.malformed("a count below zero"))
    }

    /// A state dictionary has one attribute, the versions of the modules, which change no tensor.
    fn build(&mut self) -> Result<(), PickleError> {
        let state = self.pop()?;
        let object = self.stack[self.below(1)?];
        let (Value::Dict(_), Value::Dict(state)) = (object, state) else {
            return Err(self.malformed("attributes of what has none"));
        };
        for (key, _) in &self.dicts[state] {
            if !matches!(key, Value::Text(name) if self.texts[*name] == "_metadata") {
                return Err(self.malformed("attributes that torch.save does not write"));
            }
        }
        Ok(())
    }

    fn malformed(&self, reason: &'static str) -> PickleError {
        PickleError::Malformed {
            reason,
            at: self.at,
        }
    }

    fn unknown(&self, code: u8) -> PickleError {
        let name = match code {
            b'i' => "INST",
            b'o' => "OBJ",
            0x81 => "NEWOBJ",
            0x92 => "NEWOBJ_EX",
            0x93 => "STACK_GLOBAL",
            0x82..=0x84 => "EXT",
            b'P' => "PERSID",
            0x8c => "SHORT_BINUNICODE",
            0x8d => "BINUNICODE8",
            0x94 => "MEMOIZE",
            0x95 => "FRAME",
            0x8b => "LONG4",
            b'B' | b'C' | 0x8e | 0x96 => "BINBYTES",
            b'T' | b'U' => "BINSTRING",
            b'S' | b'V' | b'I' | b'L' | b'F' => "a value as text",
            b']' | b'a' | b'e' | b'd' | b'l' => "of a list",
            b'G' => "BINFLOAT",
            b'p' | b'g' => "PUT or GET as text",
            b'0' | b'1' | b'2' => "POP or DUP",
            0x8f..=0x91 => "a set",
            0x97 | 0x98 => "a buffer",
            _ => "unknown",
        };
        PickleError::Opcode {
            name,
            code,
            at: self.at,
        }
    }
}
