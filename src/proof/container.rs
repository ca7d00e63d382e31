//! Files: model (`.nzk`), verifying key (`.vk`), proof, what is kept of an unfinished run, and the two
//! files of an audit.
//!
//! ```text
//! magic "nanozk" · kind (1 byte) · version (1 byte) · payload length (8 bytes, little endian) · payload
//! ```
//!
//! The payload is `postcard`. A reader checks the header and the exact length before it decodes,
//! never allocates more than the file's own size suggests, and refuses trailing bytes.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::files;

const MAGIC: &[u8; 6] = b"nanozk";
const HEADER: usize = 16;

/// The format version of every file kind. Raised when an old file would be misread.
pub const VERSION: u8 = 8;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Model = 1,
    VerifyingKey = 2,
    Proof = 3,
    Run = 4,
    Layer = 5,
    Commitment = 6,
    Challenge = 7,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Model => "quantized model (.nzk)",
            Self::VerifyingKey => "verifying key (.vk)",
            Self::Proof => "proof",
            Self::Run => "run's secret",
            Self::Layer => "layer's proof",
            Self::Commitment => "commitment to a run",
            Self::Challenge => "challenge",
        }
    }

    /// No honest file of this kind is larger.
    fn limit(self) -> u64 {
        match self {
            Self::Model => 1 << 36,
            Self::VerifyingKey => 1 << 30,
            Self::Proof | Self::Layer | Self::Commitment => 1 << 28,
            Self::Run => 1 << 10,
            Self::Challenge => 1 << 14,
        }
    }
}

/// Why a file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: not a nanozk {}", path.display(), kind.name())]
    NotThisKind { path: PathBuf, kind: Kind },
    #[error("{}: format version {found}; this program reads version {VERSION}: use the release that wrote it", path.display())]
    Version { path: PathBuf, found: u8 },
    #[error("{}: the header promises {promised} bytes of content, the file has {found}: it is truncated or damaged", path.display())]
    Length {
        path: PathBuf,
        promised: u64,
        found: u64,
    },
    #[error("{}: {len} bytes is more than any {} has", path.display(), kind.name())]
    TooLarge { path: PathBuf, kind: Kind, len: u64 },
    #[error("{}: malformed: {source}", path.display())]
    Malformed {
        path: PathBuf,
        source: postcard::Error,
    },
    #[error("{}: not in its canonical encoding: it was edited", path.display())]
    NotCanonical { path: PathBuf },
    #[error("{}: {trailing} bytes after the end of the content", path.display())]
    Trailing { path: PathBuf, trailing: usize },
}

/// Encodes a payload with its header.
pub fn encode<T: Serialize>(kind: Kind, value: &T) -> Vec<u8> {
    let payload = postcard::to_stdvec(value).expect("in-memory values always encode");
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[kind as u8, VERSION]);
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&payload);
    bytes
}

/// Checks magic, kind and version, and returns the promised length of the content.
fn check_header(kind: Kind, header: &[u8], path: &Path) -> Result<u64, FileError> {
    let path = || path.to_path_buf();
    if header.len() < HEADER || &header[..6] != MAGIC || header[6] != kind as u8 {
        return Err(FileError::NotThisKind { path: path(), kind });
    }
    if header[7] != VERSION {
        let found = header[7];
        return Err(FileError::Version {
            path: path(),
            found,
        });
    }
    let promised = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
    if promised > kind.limit() {
        return Err(FileError::TooLarge {
            path: path(),
            kind,
            len: promised,
        });
    }
    Ok(promised)
}

/// Decodes a whole file's bytes. `path` is for messages only. Of public files only the canonical
/// encoding is accepted, so that a file has no second form.
pub fn decode<T: Serialize + DeserializeOwned>(
    kind: Kind,
    bytes: &[u8],
    path: &Path,
) -> Result<T, FileError> {
    let promised = check_header(kind, bytes, path)?;
    let found = (bytes.len() - HEADER) as u64;
    let path = || path.to_path_buf();
    if promised != found {
        return Err(FileError::Length {
            path: path(),
            promised,
            found,
        });
    }
    let (value, rest) =
        postcard::take_from_bytes(&bytes[HEADER..]).map_err(|source| FileError::Malformed {
            path: path(),
            source,
        })?;
    if !rest.is_empty() {
        return Err(FileError::Trailing {
            path: path(),
            trailing: rest.len(),
        });
    }
    if kind != Kind::Model && !encodes_to(&value, &bytes[HEADER..]) {
        return Err(FileError::NotCanonical { path: path() });
    }
    Ok(value)
}

/// Whether `value` is encoded as these bytes, of which no second copy is made.
fn encodes_to<T: Serialize>(value: &T, bytes: &[u8]) -> bool {
    let rest = postcard::to_io(value, Expected(bytes));
    rest.is_ok_and(|rest| rest.0.is_empty())
}

/// Bytes that are still to be written. Others are an error.
struct Expected<'a>(&'a [u8]);

impl Write for Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let rest = self.0.strip_prefix(bytes);
        self.0 = rest.ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads and decodes a file. Nothing beyond the header is read of a file that is not of this kind.
pub fn read<T: Serialize + DeserializeOwned>(kind: Kind, path: &Path) -> Result<T, FileError> {
    let io = |source| FileError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut file = files::open(path).map_err(io)?;
    let length = file.metadata().map_err(io)?.len();
    let mut bytes = Vec::with_capacity(HEADER);
    let header = HEADER as u64;
    (&mut file)
        .take(header)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    let promised = check_header(kind, &bytes, path)?;
    // As much as there is, so that it is not moved as it grows; of a pipe the length is not known.
    bytes.reserve_exact(promised.min(length) as usize + 1);
    // One byte more than promised shows that something follows.
    file.take(promised + 1)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    decode(kind, &bytes, path)
}

/// Writes a file under a temporary name and renames it, so that nothing half-written ever stands
/// under `path`. A `secret` file is readable by its owner only; others get the usual mode.
pub fn write(path: &Path, bytes: &[u8], secret: bool) -> Result<(), FileError> {
    stage(path, bytes, secret)?.persist()
}

/// A whole file under a temporary name beside its own; dropped, it is gone.
pub struct Staged<'a> {
    file: tempfile::NamedTempFile,
    path: &'a Path,
}

impl Staged<'_> {
    /// Gives the file its name.
    pub fn persist(self) -> Result<(), FileError> {
        let renamed = self.file.persist(self.path);
        renamed.map(drop).map_err(|e| FileError::Io {
            path: self.path.to_path_buf(),
            source: e.error,
        })
    }
}

/// The first half of [`write`]: all that can run out of space. Files that belong together are
/// staged before the first of them gets its name.
pub fn stage<'a>(path: &'a Path, bytes: &[u8], secret: bool) -> Result<Staged<'a>, FileError> {
    let io = |source| FileError::Io {
        path: path.to_path_buf(),
        source,
    };
    let parent = match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    // `tempfile` creates with mode 0600. A process that is killed while it writes leaves the file
    // behind, under a name that tells whose it was.
    let mut file = tempfile::Builder::new()
        .prefix(".nanozk-")
        .suffix(".tmp")
        .tempfile_in(parent)
        .map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    #[cfg(unix)]
    if !secret {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::Permissions::from_mode(0o644);
        file.as_file().set_permissions(mode).map_err(io)?;
    }
    Ok(Staged { file, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_bytes(bytes: &[u8]) -> Result<Vec<u64>, FileError> {
        decode(Kind::Proof, bytes, Path::new("p"))
    }

    /// What could not get its name was not written, and leaves nothing behind.
    #[test]
    fn a_file_without_its_name_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let taken = dir.path().join("taken");
        std::fs::create_dir(&taken).expect("a directory");
        let error = write(&taken, b"content", false);
        assert!(matches!(error, Err(FileError::Io { path, .. }) if path == taken));
        assert_eq!(std::fs::read_dir(dir.path()).expect("it").count(), 1);
    }

    #[test]
    fn round_trip_and_every_way_to_damage_a_header() {
        let bytes = encode(Kind::Proof, &vec![1u64, 2, 1 << 60]);
        assert_eq!(
            decode_bytes(&bytes).expect("a good file"),
            vec![1, 2, 1 << 60]
        );
        for n in 0..bytes.len() {
            assert!(decode_bytes(&bytes[..n]).is_err(), "truncated at {n}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(matches!(
            decode_bytes(&longer),
            Err(FileError::Length { .. })
        ));
        let mut patched = longer;
        patched[8] += 1;
        assert!(matches!(
            decode_bytes(&patched),
            Err(FileError::Trailing { trailing: 1, .. })
        ));
        for i in 0..8 {
            let mut b = bytes.clone();
            b[i] ^= 0x40;
            let refused = decode_bytes(&b).expect_err("damaged");
            let expected = match i {
                7 => matches!(refused, FileError::Version { .. }),
                _ => matches!(refused, FileError::NotThisKind { .. }),
            };
            assert!(expected, "header byte {i}: {refused}");
        }
    }

    /// `postcard` reads a number with redundant bytes; a file with one has a second form.
    #[test]
    fn a_second_encoding_of_the_same_value_is_refused() {
        let mut bytes = encode(Kind::Proof, &vec![5u64]);
        bytes.truncate(HEADER);
        bytes.extend([0x81, 0x00, 5]);
        bytes[8] = 3;
        assert!(matches!(
            decode_bytes(&bytes),
            Err(FileError::NotCanonical { .. })
        ));
    }

    /// The limit of each kind is the largest length that its header may promise; a header suffices.
    #[test]
    fn a_promise_beyond_the_limit_is_refused() {
        for kind in [
            Kind::Model,
            Kind::VerifyingKey,
            Kind::Proof,
            Kind::Challenge,
        ] {
            let header = |promised: u64| {
                let bytes = encode(kind, &());
                assert_eq!(bytes.len(), HEADER);
                [&bytes[..8], &promised.to_le_bytes()].concat()
            };
            let check = |promised| check_header(kind, &header(promised), Path::new("p"));
            assert_eq!(check(kind.limit()).expect("allowed"), kind.limit());
            let refused = check(kind.limit() + 1);
            assert!(matches!(refused, Err(FileError::TooLarge { .. })));
            assert!(decode::<()>(kind, &header(0), Path::new("p")).is_ok());
        }
    }

    /// Only its owner reads a model, and encoding gigabytes again takes time.
    #[test]
    fn a_model_need_not_be_canonical() {
        let mut bytes = encode(Kind::Model, &vec![5u64]);
        bytes.truncate(HEADER);
        bytes.extend([0x81, 0x00, 5]);
        bytes[8] = 3;
        let model: Vec<u64> = decode(Kind::Model, &bytes, Path::new("p")).expect("read");
        assert_eq!(model, [5]);
    }

    #[test]
    fn a_length_of_2_to_the_63_does_not_allocate() {
        let mut bytes = encode(Kind::Proof, &Vec::<u64>::new());
        bytes.truncate(HEADER);
        bytes.extend([0xff; 9]);
        bytes.push(0x01);
        bytes[8] = 10;
        assert!(matches!(
            decode_bytes(&bytes),
            Err(FileError::Malformed { .. })
        ));
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_private_and_nothing_is_left_behind() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("x.nzk");
        write(&path, b"secret", true).expect("written");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        write(&path, b"public", false).expect("written over");
        assert_eq!(mode(&path), 0o644);
        assert_eq!(fs::read(&path).expect("there"), b"public");
        assert!(write(&dir.path().join("no/such/dir"), b"x", false).is_err());
        assert_eq!(fs::read_dir(dir.path()).expect("listed").count(), 1);
    }
}
