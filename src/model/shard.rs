//! Reading one safetensors file in one pass.
//!
//! Tensors are visited in the order in which they lie in the file; each is checked against what
//! the configuration expects *before* its bytes are read, so peak memory is the weights and one
//! tensor. Every byte goes through SHA-256 on the way: the digest is that of what was loaded.

use std::collections::BTreeMap;
use std::io::{self, Read};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::Slot;

/// Far above any honest header: GPT-2 XL's has 60 KB.
const MAX_HEADER: u64 = 1 << 24;
/// The length field that a safetensors file begins with.
const PREFIX: u64 = 8;

/// Why a safetensors file is refused.
#[derive(Debug, Error)]
pub enum ShardError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error(
        "a header of {0} bytes does not fit: the file is truncated or not in safetensors format"
    )]
    HeaderLength(u64),
    #[error("the header is malformed ({0}): the file is damaged")]
    Header(#[from] serde_json::Error),
    #[error("the file has {found} bytes, but its header describes {expected}: download it again")]
    Length { expected: u64, found: u64 },
    #[error("tensor \"{tensor}\" {source}")]
    Tensor {
        tensor: String,
        #[source]
        source: TensorError,
    },
}

/// What is wrong with one tensor.
#[derive(Debug, Error, PartialEq)]
pub enum TensorError {
    #[error("is missing: expected shape {expected:?} by config.json")]
    Missing { expected: Vec<usize> },
    #[error("does not belong to the GPT-2 model that config.json describes")]
    Unexpected,
    #[error("occurs more than once")]
    Repeated,
    #[error("has shape {found:?}, expected {expected:?} by config.json")]
    Shape {
        expected: Vec<usize>,
        found: Vec<usize>,
    },
    #[error("has {rows} rows, not whole pairs for each of {heads} heads")]
    Heads { rows: usize, heads: u64 },
    #[error("has type {found:?}, expected F32, F16 or BF16: convert the checkpoint")]
    Dtype { found: Dtype },
    #[error("holds {value} at index {index}, not a finite number: the checkpoint is damaged")]
    NotFinite { index: usize, value: f32 },
}

impl TensorError {
    /// This error as one of the tensor called `name`.
    pub(super) fn of(self, name: &str) -> ShardError {
        ShardError::Tensor {
            tensor: name.to_string(),
            source: self,
        }
    }
}

/// The tensors that a checkpoint has to provide, filled file by file.
pub(super) struct Wanted<'a>(BTreeMap<String, (Slot<'a>, bool)>);

impl<'a> Wanted<'a> {
    pub fn new(slots: Vec<Slot<'a>>) -> Self {
        let named = |slot: Slot<'a>| (slot.name.clone(), (slot, false));
        Self(slots.into_iter().map(named).collect())
    }

    /// The place for the tensor `name` of a file, or `None` if it is a buffer without weights.
    pub fn claim(&mut self, name: &str) -> Result<Option<&mut Slot<'a>>, TensorError> {
        let name = name.strip_prefix("transformer.").unwrap_or(name);
        if is_buffer(name) {
            return Ok(None);
        }
        match self.0.get_mut(name) {
            None => Err(TensorError::Unexpected),
            Some((_, true)) => Err(TensorError::Repeated),
            Some((slot, filled)) => {
                *filled = true;
                Ok(Some(slot))
            }
        }
    }

    /// The tensors that no file has provided.
    pub fn missing(&self) -> impl Iterator<Item = &Slot<'a>> {
        let entries = self.0.values();
        entries.filter_map(|(slot, filled)| (!filled).then_some(slot))
    }

    /// Reads a safetensors file of `length` bytes and returns its SHA-256.
    ///
    /// # Errors
    /// [`ShardError`] where the file is damaged or one of its tensors is not what is wanted.
    pub fn read(&mut self, reader: impl Read, length: u64) -> Result<[u8; 32], ShardError> {
        let mut reader = Hashing::new(reader);
        let metadata = read_header(&mut reader, length)?;
        for name in metadata.offset_keys() {
            let info = metadata.info(&name).expect("a key of the same header");
            let slot = self.claim(&name).map_err(|e| e.of(&name))?;
            if let Some(slot) = &slot {
                check_info(info, &slot.shape).map_err(|e| e.of(&name))?;
            }
            let (start, end) = info.data_offsets;
            match slot {
                None => skip(&mut reader, (end - start) as u64)?,
                Some(slot) => {
                    let bytes = take(&mut reader, end - start)?;
                    *slot.values = decode(info.dtype, &bytes).map_err(|e| e.of(&name))?;
                }
            }
        }
        Ok(reader.digest())
    }
}

/// Old checkpoints carry the causal mask as tensors `h.N.attn.bias`, `h.N.attn.masked_bias`, and
/// the rotations' frequencies as `model.layers.N.self_attn.rotary_emb.inv_freq`.
fn is_buffer(name: &str) -> bool {
    let mask = |rest: &'_ str| {
        let rest = rest.strip_suffix("bias")?;
        rest.strip_suffix(".attn.")
            .or(rest.strip_suffix(".attn.masked_"))
            .map(str::to_string)
    };
    let frequencies = |rest: &'_ str| {
        let layer = rest.strip_suffix(".self_attn.rotary_emb.inv_freq")?;
        Some(layer.to_string())
    };
    let layer = (name.strip_prefix("h.").and_then(mask))
        .or_else(|| name.strip_prefix("model.layers.").and_then(frequencies));
    layer.is_some_and(|layer| !layer.is_empty() && layer.bytes().all(|b| b.is_ascii_digit()))
}

/// Reads the header. The `safetensors` crate guarantees that the tensors cover the data from its
/// start without a gap, and that each one's shape, type and offsets agree.
fn read_header(reader: &mut impl Read, length: u64) -> Result<Metadata, ShardError> {
    let mut prefix = [0; PREFIX as usize];
    if length < PREFIX {
        return Err(ShardError::HeaderLength(PREFIX));
    }
    reader.read_exact(&mut prefix)?;
    let header = u64::from_le_bytes(prefix);
    if header > MAX_HEADER.min(length - PREFIX) {
        return Err(ShardError::HeaderLength(header));
    }
    let metadata: Metadata = serde_json::from_slice(&take(reader, header as usize)?)?;
    // A tensor may claim up to 2^64 bytes: the sum is computed where it cannot overflow.
    let expected = u128::from(PREFIX + header) + metadata.data_len() as u128;
    if expected != u128::from(length) {
        return Err(ShardError::Length {
            expected: u64::try_from(expected).unwrap_or(u64::MAX),
            found: length,
        });
    }
    Ok(metadata)
}

pub(super) fn check_shape(found: &[usize], expected: &[usize]) -> Result<(), TensorError> {
    if found != expected {
        return Err(TensorError::Shape {
            expected: expected.to_vec(),
            found: found.to_vec(),
        });
    }
    Ok(())
}

fn check_info(info: &TensorInfo, shape: &[usize]) -> Result<(), TensorError> {
    check_shape(&info.shape, shape)?;
    match info.dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok(()),
        found => Err(TensorError::Dtype { found }),
    }
}

/// Little-endian floating-point numbers of a type that [`check_info`] has accepted.
pub(super) fn decode(dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>, TensorError> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    let values: Vec<f32> = match dtype {
        Dtype::F32 => {
            let words = bytes.as_chunks::<4>().0.iter();
            words.map(|b| f32::from_le_bytes(*b)).collect()
        }
        Dtype::F16 => pairs().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => pairs().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        found => return Err(TensorError::Dtype { found }),
    };
    finite(values)
}

/// The values, if all of them are finite.
pub(super) fn finite(values: Vec<f32>) -> Result<Vec<f32>, TensorError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(index) => Err(TensorError::NotFinite {
            index,
            value: values[index],
        }),
    }
}

/// Exactly `count` bytes, `count` being within the file's length.
pub(super) fn take(reader: &mut impl Read, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn skip(reader: &mut impl Read, count: u64) -> io::Result<()> {
    let skipped = io::copy(&mut reader.take(count), &mut io::sink())?;
    if skipped < count {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// A reader that hashes what passes through it.
pub(super) struct Hashing<R> {
    reader: R,
    hash: Sha256,
}

impl<R> Hashing<R> {
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            hash: Sha256::new(),
        }
    }

    /// SHA-256 of all that was read.
    pub fn digest(self) -> [u8; 32] {
        self.hash.finalize().into()
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
