//! `pytorch_model.bin`: tensors that `torch.save` has written (version 1.6 and later), read without running anything.
//!
//! The file is a zip archive: a pickle says which tensors there are and where in which *storage* each lies, and each storage is an
//! entry of its own. The archive's directory stands at its end and the pickle names storages in any order, so a file is gone
//! through twice: for the directory and the pickle, and then from its beginning to its end, hashing, when storages are
//! read and the pickle is compared with the first time's. The digest is that of what was loaded.

mod archive;
mod machine;
pub mod write;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use safetensors::Dtype;

pub use archive::ArchiveError;
use archive::{Entry, directory, skip_header};
pub use machine::PickleError;
use machine::{MAX_PICKLE, Storage, Tensor, Tensors};

use super::shard::{Hashing, Stored, skip, take};
use super::wanted::Wanted;
use super::{ShardError, TensorError};

/// Reads a file of `length` bytes and returns its SHA-256. Peak memory is what is wanted and one storage.
///
/// # Errors
/// [`ShardError`] where the file is damaged, its pickle would do anything else than name tensors, or one of these is not
/// what is wanted.
pub(super) fn read(
    wanted: &mut Wanted,
    mut reader: impl Read + Seek,
    length: u64,
) -> Result<[u8; 32], ShardError> {
    let contents = Contents::read(&mut reader, length)?;
    reader.seek(SeekFrom::Start(0))?;
    let mut reader = Hashing::new(reader);
    let mut position = 0;
    for (entry, part) in contents.entries.iter().zip(&contents.parts) {
        skip(&mut reader, entry.start - position)?;
        let content = entry.start + skip_header(&mut reader, entry)?;
        position = content + entry.size;
        match part {
            Part::Other => skip(&mut reader, entry.size)?,
            // Small, by what was said of it.
            Part::Known(bytes) => {
                if take(&mut reader, bytes.len())? != *bytes {
                    let changed = "the file has changed while it was read";
                    return Err(io::Error::other(changed).into());
                }
            }
            Part::Storage { dtype, tensors } => {
                let bytes = take(&mut reader, entry.size as usize)?;
                for (name, tensor) in tensors {
                    store(wanted, name, tensor, *dtype, &bytes)?;
                }
            }
        }
    }
    io::copy(&mut reader, &mut io::sink())?;
    Ok(reader.digest())
}

fn store(
    wanted: &mut Wanted,
    name: &str,
    tensor: &Tensor,
    dtype: Dtype,
    storage: &[u8],
) -> Result<(), ShardError> {
    let stored = Stored {
        dtype,
        shape: &tensor.shape,
    };
    stored.store(wanted, name, || {
        gather(tensor, dtype.bitsize() / 8, storage).map_err(|e| e.of(name))
    })
}

/// The bytes of a view, row by row: no more than the storage has.
fn gather<'a>(
    tensor: &Tensor,
    size: usize,
    storage: &'a [u8],
) -> Result<Cow<'a, [u8]>, TensorError> {
    const OUTSIDE: TensorError = TensorError::View("lies outside of its storage");
    let dims = || tensor.shape.iter().map(|n| *n as u64).zip(&tensor.strides);
    let count = tensor
        .shape
        .iter()
        .try_fold(1usize, |n, dim| n.checked_mul(*dim));
    let count = count.ok_or(OUTSIDE)?;
    if count == 0 {
        return Ok(Cow::Borrowed(&[]));
    }
    let last = dims().try_fold(tensor.offset, |at, (n, stride)| {
        at.checked_add((n - 1).checked_mul(*stride)?)
    });
    let length = storage.len() / size;
    if last.is_none_or(|last| last >= length as u64) {
        return Err(OUTSIDE);
    }
    if count > length {
        return Err(TensorError::View("repeats the numbers of its storage"));
    }
    // All indices below are at most the last.
    let offset = tensor.offset as usize;
    let mut expected = 1;
    let contiguous = dims().rev().all(|(n, stride)| {
        let fits = n == 1 || *stride == expected;
        expected *= n;
        fits
    });
    if contiguous {
        return Ok(Cow::Borrowed(&storage[offset * size..][..count * size]));
    }
    let mut bytes = Vec::with_capacity(count * size);
    let mut index = vec![0u64; tensor.shape.len()];
    for _ in 0..count {
        let at = index
            .iter()
            .zip(&tensor.strides)
            .map(|(i, stride)| i * stride);
        let at = offset + at.sum::<u64>() as usize;
        bytes.extend_from_slice(&storage[at * size..][..size]);
        for (i, (n, _)) in index.iter_mut().zip(dims()).rev() {
            *i += 1;
            if *i < n {
                break;
            }
            *i = 0;
        }
    }
    Ok(Cow::Owned(bytes))
}

/// What an entry is.
enum Part {
    /// Of no consequence: a version, a checksum.
    Other,
    /// Read already.
    Known(Vec<u8>),
    /// The tensors that lie in it.
    Storage {
        dtype: Dtype,
        tensors: Vec<(String, Tensor)>,
    },
}

impl Part {
    /// Notes that a tensor lies in this entry of `size` bytes, which is the storage.
    fn add(
        &mut self,
        size: u64,
        storage: &Storage,
        name: String,
        tensor: Tensor,
    ) -> Result<(), ShardError> {
        let Storage { key, dtype, length } = storage;
        let refuse = |what: &str| Err(archive(&format!("a storage \"{key}\" of {what}")));
        if length.checked_mul(dtype.bitsize() as u64 / 8) != Some(size) {
            return refuse("another size than stated");
        }
        match self {
            Self::Storage {
                dtype: other,
                tensors,
            } if other == dtype => {
                tensors.push((name, tensor));
            }
            Self::Other => {
                *self = Self::Storage {
                    dtype: *dtype,
                    tensors: vec![(name, tensor)],
                };
            }
            _ => return refuse("two types"),
        }
        Ok(())
    }
}

/// What an archive holds: its entries by their place, and what each is.
struct Contents {
    entries: Vec<Entry>,
    parts: Vec<Part>,
}

impl Contents {
    fn read(reader: &mut (impl Read + Seek), length: u64) -> Result<Self, ShardError> {
        let entries = directory(reader, length)?;
        let names: BTreeMap<&str, usize> = (entries.iter().enumerate())
            .map(|(index, entry)| (entry.name.as_str(), index))
            .collect();
        if names.len() != entries.len() {
            return Err(archive("an entry twice"));
        }
        let mut pickles = names
            .keys()
            .filter_map(|name| name.strip_suffix("/data.pkl"));
        let (Some(root), None) = (pickles.next(), pickles.next()) else {
            return Err(archive("not one data.pkl, as a file of torch.save has"));
        };
        let find = |name: &str| names.get(&*format!("{root}/{name}")).copied();
        if find("constants.pkl").is_some() {
            return Err(archive(
                "a program (TorchScript): save the state_dict with torch.save, or convert it to safetensors",
            ));
        }
        entries.iter().try_for_each(Entry::check_plain)?;
        let mut parts: Vec<Part> = entries.iter().map(|_| Part::Other).collect();
        if let Some(index) = find("byteorder") {
            let order = small(reader, &entries[index], 16)?;
            if order != b"little" {
                return Err(archive(
                    "numbers that are not little-endian: save it on another machine, or convert it to safetensors",
                ));
            }
            parts[index] = Part::Known(order);
        }
        let index = find("data.pkl").expect("found above");
        let pickle = small(reader, &entries[index], MAX_PICKLE)?;
        let Tensors { storages, tensors } = machine::run(&pickle)?;
        parts[index] = Part::Known(pickle);
        for (name, tensor) in tensors {
            let storage = &storages[tensor.storage];
            let found = find(&format!("data/{}", storage.key));
            let index = found.ok_or_else(|| archive(&format!("no storage \"{}\"", storage.key)))?;
            parts[index].add(entries[index].size, storage, name, tensor)?;
        }
        Ok(Self { entries, parts })
    }
}

/// The content of an entry of at most `most` bytes.
fn small(reader: &mut (impl Read + Seek), entry: &Entry, most: u64) -> Result<Vec<u8>, ShardError> {
    if entry.size > most {
        let too_large = format!("{} bytes in \"{}\"", entry.size, entry.name);
        return Err(PickleError::TooLarge(too_large).into());
    }
    reader.seek(SeekFrom::Start(entry.start))?;
    skip_header(reader, entry)?;
    Ok(take(reader, entry.size as usize)?)
}

fn archive(found: &str) -> ShardError {
    PickleError::Archive(found.to_string()).into()
}
