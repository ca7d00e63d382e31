//! The directory of a zip archive as `torch.save` writes it: entries that are stored, not compressed, one behind the
//! other. Nothing is unpacked, and no entry's name is a path.

use std::io::{self, Read, Seek, SeekFrom};

use thiserror::Error;

/// A state dictionary of 65,536 tensors has fewer entries.
const MAX_ENTRIES: u64 = 1 << 17;
const MAX_DIRECTORY: u64 = 1 << 24;
const MAX_NAME: usize = 1 << 9;
/// The record that a zip archive ends with, before a comment of at most 65,535 bytes.
const END: usize = 22;
/// The records before it of an archive with sizes of 64 bits, and that they are there.
const LOCATOR: u64 = 20;
const END_64: u64 = 56;
/// The fixed parts of an entry in the directory and before its content.
const CENTRAL: usize = 46;
const LOCAL: usize = 30;

/// What begins a file of `torch.save` before version 1.6: a pickled number.
const LEGACY: [u8; 5] = [0x80, 2, 0x8a, 10, 0x6c];

/// Why a file is not read as an archive of tensors.
#[derive(Debug, Error)]
pub enum ArchiveError {
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error(
        "the format of torch.save before version 1.6: load it with torch.load(weights_only=True) and save it \
         again, or convert the checkpoint to safetensors"
    )]
    Legacy,
    #[error(
        "not an archive as torch.save writes it (a zip file): it is truncated, or of another format"
    )]
    NotZip,
    #[error("{0}: the archive is damaged, or made to deceive")]
    Malformed(String),
    #[error(
        "entry \"{entry}\" is {found}, which torch.save does not write: save the checkpoint again, or convert it to \
         safetensors"
    )]
    Unsupported { entry: String, found: &'static str },
}

/// A file within the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    /// Where the entry begins: its header stands before its content.
    pub start: u64,
    /// Of the content, as it is stored.
    pub size: u64,
    pub compressed: bool,
}

impl Entry {
    /// Refuses a content that would have to be unpacked.
    pub fn check_plain(&self) -> Result<(), ArchiveError> {
        match self.compressed {
            false => Ok(()),
            true => Err(ArchiveError::Unsupported {
                entry: self.name.clone(),
                found: "compressed",
            }),
        }
    }
}

/// The entries of an archive of `length` bytes, sorted by their place. None lies in another.
pub fn directory(reader: &mut (impl Read + Seek), length: u64) -> Result<Vec<Entry>, ArchiveError> {
    let (start, size, count) = end(reader, length)?;
    if size > MAX_DIRECTORY || count > MAX_ENTRIES {
        return Err(malformed(format!(
            "a directory of {count} entries, {size} bytes"
        )));
    }
    reader.seek(SeekFrom::Start(start))?;
    let mut bytes = vec![0; size as usize];
    reader.read_exact(&mut bytes)?;
    let (mut rest, mut entries) = (&bytes[..], Vec::new());
    for _ in 0..count {
        entries.push(entry(&mut rest)?);
    }
    if !rest.is_empty() {
        return Err(malformed("bytes between the directory and its end".into()));
    }
    entries.sort_by_key(|entry| entry.start);
    let mut end = 0;
    for entry in &entries {
        let least = (LOCAL + entry.name.len()) as u64;
        let next = entry.start.checked_add(least);
        let next = next.and_then(|at| at.checked_add(entry.size));
        match next.filter(|next| entry.start >= end && *next <= start) {
            Some(next) => end = next,
            None => {
                let name = &entry.name;
                return Err(malformed(format!(
                    "entry \"{name}\" lies in something else"
                )));
            }
        }
    }
    Ok(entries)
}

/// The content's distance from the beginning of an entry, whose header is read up to there.
pub fn skip_header(reader: &mut impl Read, entry: &Entry) -> Result<u64, ArchiveError> {
    let deceptive = || malformed(format!("entry \"{}\" is another than listed", entry.name));
    let mut fixed = [0; LOCAL];
    reader.read_exact(&mut fixed)?;
    let (name, extra) = (
        usize::from(u16_at(&fixed, 26)),
        usize::from(u16_at(&fixed, 28)),
    );
    if !fixed.starts_with(b"PK\x03\x04") || name != entry.name.len() {
        return Err(deceptive());
    }
    let mut rest = vec![0; name + extra];
    reader.read_exact(&mut rest)?;
    if !rest.starts_with(entry.name.as_bytes()) {
        return Err(deceptive());
    }
    Ok((LOCAL + name + extra) as u64)
}

/// Where the directory begins, its bytes and its entries. It ends where the records of the end begin.
fn end(reader: &mut (impl Read + Seek), length: u64) -> Result<(u64, u64, u64), ArchiveError> {
    let mut first = [0; LEGACY.len()];
    if length < first.len() as u64 {
        return Err(ArchiveError::NotZip);
    }
    reader.seek(SeekFrom::Start(0))?;
    reader.read_exact(&mut first)?;
    if first == LEGACY {
        return Err(ArchiveError::Legacy);
    }
    // torch.save writes no comment: what ends otherwise has been cut off, or is another's.
    let at = length.checked_sub(END as u64).ok_or(ArchiveError::NotZip)?;
    let tail = read_at(reader, at, END as u64)?;
    if !tail.starts_with(b"PK\x05\x06") {
        return Err(ArchiveError::NotZip);
    }
    let count = u64::from(u16_at(&tail, 10));
    let (size, start) = (u64::from(u32_at(&tail, 12)), u64::from(u32_at(&tail, 16)));
    let locator = match at.checked_sub(LOCATOR) {
        Some(before) => read_at(reader, before, LOCATOR)?,
        None => Vec::new(),
    };
    let (count, size, start, end) = if locator.starts_with(b"PK\x06\x07") {
        let end = u64_at(&locator, 8);
        if end.checked_add(END_64 + LOCATOR) != Some(at) {
            return Err(malformed("no record of 64 bits before the end".into()));
        }
        let record = read_at(reader, end, END_64)?;
        if !record.starts_with(b"PK\x06\x06") {
            return Err(malformed("no record of 64 bits before the end".into()));
        }
        (
            u64_at(&record, 32),
            u64_at(&record, 40),
            u64_at(&record, 48),
            end,
        )
    } else {
        (count, size, start, at)
    };
    if start.checked_add(size) != Some(end) {
        return Err(malformed(
            "the directory is not where the archive says".into(),
        ));
    }
    Ok((start, size, count))
}

/// The next entry of the directory.
fn entry(rest: &mut &[u8]) -> Result<Entry, ArchiveError> {
    let short = || malformed("the directory ends within an entry".into());
    let fixed = take(rest, CENTRAL).ok_or_else(short)?;
    if !fixed.starts_with(b"PK\x01\x02") {
        return Err(malformed("an entry of the directory is none".into()));
    }
    let [name, extra, comment] = [28, 30, 32].map(|at| usize::from(u16_at(fixed, at)));
    let name = take(rest, name).ok_or_else(short)?;
    let extra = take(rest, extra).ok_or_else(short)?;
    take(rest, comment).ok_or_else(short)?;
    if name.len() > MAX_NAME {
        return Err(malformed(format!("a name of {} bytes", name.len())));
    }
    let name = std::str::from_utf8(name).map_err(|_| malformed("a name is not UTF-8".into()))?;
    if u16_at(fixed, 8) & 1 != 0 {
        return Err(ArchiveError::Unsupported {
            entry: name.to_string(),
            found: "encrypted",
        });
    }
    let compressed = u16_at(fixed, 10) != 0;
    let mut sizes = [24, 20, 42].map(|at| u64::from(u32_at(fixed, at)));
    if sizes.contains(&u32::MAX.into()) {
        let mut long = extension(extra, 1).unwrap_or_default();
        for size in sizes
            .iter_mut()
            .filter(|size| **size == u64::from(u32::MAX))
        {
            *size = u64_at(take(&mut long, 8).ok_or_else(short)?, 0);
        }
    }
    let [unpacked, size, start] = sizes;
    if size != unpacked && !compressed {
        return Err(malformed(format!("entry \"{name}\" has two sizes")));
    }
    Ok(Entry {
        name: name.to_string(),
        start,
        size,
        compressed,
    })
}

/// The content of an entry's extra field with this number.
fn extension(mut extra: &[u8], number: u16) -> Option<&[u8]> {
    while let Some(head) = take(&mut extra, 4) {
        let content = take(&mut extra, u16_at(head, 2).into())?;
        if u16_at(head, 0) == number {
            return Some(content);
        }
    }
    None
}

fn malformed(reason: String) -> ArchiveError {
    ArchiveError::Malformed(reason)
}

fn read_at(reader: &mut (impl Read + Seek), at: u64, count: u64) -> io::Result<Vec<u8>> {
    reader.seek(SeekFrom::Start(at))?;
    let mut bytes = vec![0; count as usize];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    bytes.split_off(..count)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
