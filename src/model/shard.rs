//! Reading one safetensors file in one pass.
//!
//! Tensors are visited in the order in which they lie in the file; each is checked against what
//! the configuration expects *before* its bytes are read, so peak memory is the weights and one
//! tensor. Every byte goes through SHA-256 on the way: the digest is that of what was loaded.

use std::io::{self, Read};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::TensorError;
use super::pickle::{ArchiveError, PickleError};
use super::wanted::{Place, Wanted, check_shape};

/// Far above any honest header: GPT-2 XL's has 60 KB.
const MAX_HEADER: u64 = 1 << 24;
/// The length field that a safetensors file begins with.
const PREFIX: u64 = 8;

/// Why a file of weights is refused.
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
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Pickle(#[from] PickleError),
    #[error("tensor \"{tensor}\" {source}")]
    Tensor {
        tensor: String,
        #[source]
        source: TensorError,
    },
}

/// Reads a safetensors file of `length` bytes and returns its SHA-256.
///
/// # Errors
/// [`ShardError`] where the file is damaged or one of its tensors is not what is wanted.
pub(super) fn read(
    wanted: &mut Wanted,
    reader: impl Read,
    length: u64,
) -> Result<[u8; 32], ShardError> {
    let mut reader = Hashing::new(reader);
    let metadata = read_header(&mut reader, length)?;
    wanted.note_aliases(metadata.metadata().iter().flatten());
    for name in metadata.offset_keys() {
        let info = metadata.info(&name).expect("a key of the same header");
        let tensor = Stored {
            dtype: info.dtype,
            shape: &info.shape,
        };
        let (start, end) = info.data_offsets;
        let bytes = || Ok(take(&mut reader, end - start)?);
        tensor.store(wanted, &name, bytes)?;
    }
    Ok(reader.digest())
}

/// A tensor's type and shape in a file.
pub(super) struct Stored<'a> {
    pub dtype: Dtype,
    pub shape: &'a [usize],
}

impl Stored<'_> {
    /// Puts the tensor `name` in its place; its bytes are asked for when all else is right.
    pub fn store<B: AsRef<[u8]>>(
        &self,
        wanted: &mut Wanted,
        name: &str,
        bytes: impl FnOnce() -> Result<B, ShardError>,
    ) -> Result<(), ShardError> {
        let Self { dtype, shape } = *self;
        let of = |e: TensorError| e.of(name);
        match wanted.claim(name).map_err(of)? {
            Place::Weight(slot) => {
                check_shape(shape, &slot.shape).map_err(of)?;
                check_dtype(dtype).map_err(of)?;
                *slot.values = decode(dtype, bytes()?.as_ref()).map_err(of)?;
            }
            Place::Buffer(buffer) => {
                buffer.check_shape(shape).map_err(of)?;
                numbers(dtype, &[]).map(drop).map_err(of)?;
                buffer.check(shape, dtype, bytes()?.as_ref()).map_err(of)?;
            }
        }
        Ok(())
    }
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

fn check_dtype(dtype: Dtype) -> Result<(), TensorError> {
    match dtype {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64 => Ok(()),
        found => Err(TensorError::Dtype { found }),
    }
}

/// Little-endian floating-point numbers as `f32`: those of 64 bits are rounded to nearest, ties to even, as
/// `transformers` does when it loads in `float32`.
///
/// # Errors
/// [`TensorError`] where the type is another, or a number is not finite, or rounds to infinity.
pub(super) fn decode(dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>, TensorError> {
    let pairs = || bytes.as_chunks::<2>().0.iter();
    let values: Vec<f32> = match dtype {
        Dtype::F32 => {
            let words = bytes.as_chunks::<4>().0.iter();
            words.map(|b| f32::from_le_bytes(*b)).collect()
        }
        Dtype::F16 => pairs().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => pairs().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::F64 => {
            let words = bytes.as_chunks::<8>().0.iter();
            words.map(|b| f64::from_le_bytes(*b) as f32).collect()
        }
        found => return Err(TensorError::Dtype { found }),
    };
    finite(values).map_err(|e| match (e, numbers(dtype, bytes)) {
        (TensorError::NotFinite { index, value }, Ok(mut stored)) => TensorError::NotFinite {
            index,
            value: stored.nth(index).unwrap_or(value),
        },
        (e, _) => e,
    })
}

/// Little-endian numbers of any of the types that buffers are stored in.
///
/// # Errors
/// [`TensorError::Dtype`] where the type is another.
pub(super) fn numbers(
    dtype: Dtype,
    bytes: &[u8],
) -> Result<impl Iterator<Item = f64> + '_, TensorError> {
    let size = match dtype {
        Dtype::BOOL | Dtype::U8 => 1,
        Dtype::F16 | Dtype::BF16 => 2,
        Dtype::F32 => 4,
        Dtype::F64 => 8,
        found => return Err(TensorError::Dtype { found }),
    };
    let number = move |b: &[u8]| -> Option<f64> {
        Some(match dtype {
            Dtype::F16 => f16::from_le_bytes(*b.first_chunk()?).to_f64(),
            Dtype::BF16 => bf16::from_le_bytes(*b.first_chunk()?).to_f64(),
            Dtype::F32 => f32::from_le_bytes(*b.first_chunk()?).into(),
            Dtype::F64 => f64::from_le_bytes(*b.first_chunk()?),
            _ => f64::from(*b.first()?),
        })
    };
    Ok(bytes.chunks_exact(size).filter_map(number))
}

/// The values, if all of them are finite.
pub(super) fn finite(values: Vec<f32>) -> Result<Vec<f32>, TensorError> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(index) => Err(TensorError::NotFinite {
            index,
            value: values[index].into(),
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
