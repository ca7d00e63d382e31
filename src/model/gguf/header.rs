//! The header of a GGUF file: metadata, and where each tensor lies.
//!
//! Read here and not by `candle_core::quantized::gguf_file`, which divides by an alignment of zero,
//! multiplies dimensions without asking whether the product fits, keeps the last of two tensors of one
//! name, and replaces bytes that are not UTF-8, so that a token would be another. It also seeks, while a
//! file is read here once from beginning to end, so that its digest is that of what was loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use candle_core::quantized::GgmlDType;
use thiserror::Error;

use super::super::shard::Hashing;
use super::metadata::{Metadata, Value};

/// Llama 3's header has 8 MB, most of it the tokenizer.
const MAX_HEADER: u64 = 1 << 25;
const MAX_KEYS: u64 = 1 << 12;
const MAX_TENSORS: u64 = 1 << 16;
const MAX_KEY: u64 = 1 << 8;
/// As in the reference implementation, `GGML_MAX_NAME` and `GGML_MAX_DIMS`.
const MAX_NAME: u64 = 64;
const MAX_DIMS: u32 = 4;
const MAX_ALIGNMENT: u64 = 1 << 16;

/// Why a GGUF file is refused before its tensors are read.
#[derive(Debug, Error)]
pub enum GgufError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("not a GGUF file")]
    Magic,
    #[error("GGUF version {0}: only 2 and 3 are supported")]
    Version(u32),
    #[error("the file ends within {0}: download it again")]
    Truncated(String),
    #[error("{0}: the header is damaged, or made to deceive")]
    Malformed(String),
    #[error("{what} is {found}, but only {supported} is supported")]
    Unsupported {
        what: String,
        found: String,
        supported: String,
    },
    #[error("metadata \"{0}\" is missing")]
    Missing(String),
    #[error("{0}")]
    Split(String),
    #[error("{part}: {source}")]
    Part {
        part: String,
        #[source]
        source: Box<GgufError>,
    },
    #[error("the file has {found} bytes, but its header describes {expected}: download it again")]
    Length { expected: u64, found: u64 },
}

/// A tensor as it is stored.
#[derive(Debug)]
pub(super) struct Info {
    pub name: String,
    /// Rows first: the reverse of the order in the file.
    pub shape: Vec<usize>,
    pub dtype: GgmlDType,
    /// From the beginning of the file.
    pub start: u64,
    pub bytes: usize,
}

pub(super) struct Header {
    pub metadata: Metadata,
    /// In the order in which they lie in the file; between them are less than `alignment` bytes.
    pub tensors: Vec<Info>,
}

impl Header {
    /// The tensor called `name`, if there is one.
    pub fn tensor(&self, name: &str) -> Option<&Info> {
        self.tensors.iter().find(|info| info.name == name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensor(name).is_some()
    }
}

/// A file that is read from its beginning.
pub(super) struct Input<R> {
    pub reader: Hashing<R>,
    pub position: u64,
    length: u64,
    /// What is being read, for messages.
    within: String,
}

impl<R: Read> Input<R> {
    pub fn new(reader: R, length: u64) -> Self {
        Self {
            reader: Hashing::new(reader),
            position: 0,
            length,
            within: "its first bytes".to_string(),
        }
    }

    /// Reads the header and leaves the reader behind it.
    pub fn header(&mut self) -> Result<Header, GgufError> {
        if self.array::<4>()? != *b"GGUF" {
            return Err(GgufError::Magic);
        }
        let version = self.u32()?;
        if version != 2 && version != 3 {
            return Err(GgufError::Version(version));
        }
        let tensors = self.count("tensors", MAX_TENSORS)?;
        let keys = self.count("keys", MAX_KEYS)?;
        let mut metadata = BTreeMap::new();
        for _ in 0..keys {
            let key = self.string("a key", MAX_KEY)?;
            self.within = format!("metadata {key:?}");
            let value = self.value()?;
            if metadata.contains_key(&key) {
                return Err(self.malformed("occurs twice"));
            }
            metadata.insert(key, value);
        }
        let metadata = Metadata::new(metadata);
        let alignment = alignment(&metadata)?;
        let (mut infos, mut names) = (Vec::new(), BTreeSet::new());
        for _ in 0..tensors {
            let info = self.info()?;
            if !names.insert(info.name.clone()) {
                return Err(self.malformed("occurs twice"));
            }
            infos.push(info);
        }
        let tensors = self.lay_out(infos, alignment)?;
        Ok(Header { metadata, tensors })
    }

    fn malformed(&self, reason: &str) -> GgufError {
        GgufError::Malformed(format!("{}: {reason}", self.within))
    }

    /// Refuses what cannot follow, before memory is taken for it.
    fn expect(&self, count: u64) -> Result<(), GgufError> {
        if count > self.length.saturating_sub(self.position) {
            return Err(GgufError::Truncated(self.within.clone()));
        }
        if count > MAX_HEADER.saturating_sub(self.position) {
            return Err(self.malformed(&format!("beyond {MAX_HEADER} bytes of header")));
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], GgufError> {
        self.expect(N as u64)?;
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        self.position += N as u64;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn count(&mut self, what: &str, max: u64) -> Result<u64, GgufError> {
        let count = self.u64()?;
        if count > max {
            return Err(self.malformed(&format!("{count} {what}, more than {max}")));
        }
        Ok(count)
    }

    fn string(&mut self, what: &str, max: u64) -> Result<String, GgufError> {
        let length = self.u64()?;
        if length > max {
            return Err(self.malformed(&format!("{what} of {length} bytes, more than {max}")));
        }
        self.expect(length)?;
        let mut bytes = vec![0; length as usize];
        self.reader.read_exact(&mut bytes)?;
        self.position += length;
        String::from_utf8(bytes).map_err(|_| self.malformed(&format!("{what} is not UTF-8")))
    }

    fn value(&mut self) -> Result<Value, GgufError> {
        match self.u32()? {
            9 => self.list(),
            kind => self.scalar(kind),
        }
    }

    fn scalar(&mut self, kind: u32) -> Result<Value, GgufError> {
        Ok(match kind {
            0 => Value::Integer(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Integer(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Integer(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Integer(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Integer(u32::from_le_bytes(self.array()?).into()),
            5 => Value::Integer(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(decimal(f32::from_le_bytes(self.array()?))),
            7 => match self.array()? {
                [0] => Value::Flag(false),
                [1] => Value::Flag(true),
                [other] => return Err(self.malformed(&format!("{other} is no truth value"))),
            },
            8 => Value::Text(self.string("a text", MAX_HEADER)?),
            10 => match i64::try_from(self.u64()?) {
                Ok(value) => Value::Integer(value),
                Err(_) => return Err(self.malformed("a number beyond 2^63")),
            },
            11 => Value::Integer(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(self.malformed(&format!("unknown type {other}"))),
        })
    }

    /// A list of values of one type. Lists of lists are in no published model.
    fn list(&mut self) -> Result<Value, GgufError> {
        let kind = self.u32()?;
        let count = self.u64()?;
        // Each value takes at least a byte.
        self.expect(count)?;
        let (mut texts, mut integers, mut floats) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            match self.scalar(kind)? {
                Value::Text(text) => texts.push(text),
                Value::Float(float) => floats.push(float),
                Value::Integer(integer) => integers.push(integer),
                Value::Flag(flag) => integers.push(flag.into()),
                _ => unreachable!("a scalar"),
            }
        }
        Ok(match kind {
            8 => Value::Texts(texts),
            6 | 12 => Value::Floats(floats),
            _ => Value::Integers(integers),
        })
    }

    /// A tensor with its place relative to the first one's.
    fn info(&mut self) -> Result<Info, GgufError> {
        self.within = "the list of tensors".to_string();
        let name = self.string("a name", MAX_NAME)?;
        self.within = format!("tensor {name:?}");
        let dims = self.u32()?;
        if dims > MAX_DIMS {
            return Err(self.malformed(&format!("{dims} dimensions, more than {MAX_DIMS}")));
        }
        let mut shape = Vec::new();
        for _ in 0..dims {
            shape.insert(0, self.u64()?);
        }
        let id = self.u32()?;
        let dtype = dtype(id).ok_or_else(|| GgufError::Unsupported {
            what: format!("the type of {}", self.within),
            found: format!("{id}"),
            supported: "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or Q2_K to Q6_K".to_string(),
        })?;
        let start = self.u64()?;
        // A row is a whole number of blocks, so the product is divided without a remainder.
        let block = dtype.block_size() as u64;
        if !shape.last().unwrap_or(&1).is_multiple_of(block) {
            return Err(self.malformed(&format!("rows are not whole blocks of {block}")));
        }
        let elements = shape.iter().try_fold(1u64, |n, dim| n.checked_mul(*dim));
        let bytes = elements.and_then(|n| (n / block).checked_mul(dtype.type_size() as u64));
        match bytes.filter(|bytes| *bytes <= self.length) {
            Some(bytes) => Ok(Info {
                name,
                shape: shape.into_iter().map(|dim| dim as usize).collect(),
                dtype,
                start,
                bytes: bytes as usize,
            }),
            None => Err(self.malformed(&format!("{shape:?} is more than the file holds"))),
        }
    }

    /// Sorts the tensors by their place and makes it absolute. They cover the rest of the file without
    /// a gap but for alignment, so none lies in another and nothing lies between them.
    fn lay_out(&self, mut tensors: Vec<Info>, alignment: u64) -> Result<Vec<Info>, GgufError> {
        // An empty tensor has the same place as the next.
        tensors.sort_by_key(|info| (info.start, info.bytes));
        let data = self.position.next_multiple_of(alignment);
        let mut end = 0;
        for info in &mut tensors {
            let expected = u64::next_multiple_of(end, alignment);
            if info.start != expected {
                let (name, start) = (&info.name, info.start);
                return Err(GgufError::Malformed(format!(
                    "tensor {name:?}: begins at {start}, expected {expected}"
                )));
            }
            end = expected + info.bytes as u64;
            info.start += data;
            if end + data > self.length {
                return Err(GgufError::Truncated(format!("tensor {:?}", info.name)));
            }
        }
        let expected = data + end;
        if self.length > expected.next_multiple_of(alignment) {
            let found = self.length;
            return Err(GgufError::Length { expected, found });
        }
        Ok(tensors)
    }
}

/// The number whose shortest decimal is that of `value`: a file holds 1e-5 as the `f32` next to it.
fn decimal(value: f32) -> f64 {
    value
        .to_string()
        .parse()
        .expect("a number that was written")
}

fn alignment(metadata: &Metadata) -> Result<u64, GgufError> {
    const KEY: &str = "general.alignment";
    let alignment = metadata.integer(KEY)?.unwrap_or(32);
    if !alignment.is_power_of_two() || alignment > MAX_ALIGNMENT {
        let supported = format!("a power of two up to {MAX_ALIGNMENT}");
        return Err(metadata.unsupported(KEY, &supported));
    }
    Ok(alignment)
}

/// The types that tensors are published in, by their numbers in the format.
fn dtype(id: u32) -> Option<GgmlDType> {
    Some(match id {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}
