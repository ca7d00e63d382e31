//! Files that only save time: used if their SHA-256 is the pinned one, derived again otherwise.

use std::fs;
use std::io::Write;
use std::path::Path;

use sha2::{Digest, Sha256};

/// SHA-256 in hexadecimal.
pub fn hex_digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// The file's content, if its digest is `pin`.
pub fn read_pinned(path: &Path, pin: &str) -> Option<Vec<u8>> {
    fs::read(path).ok().filter(|bytes| hex_digest(bytes) == pin)
}

/// Writes a temporary file and renames it, so that no reader sees half of it. That it cannot be
/// written is no error: it only saves time.
pub fn store(path: &Path, bytes: &[u8]) {
    let write = || -> std::io::Result<()> {
        let dir = path.parent().expect("a cache file lies in a directory");
        fs::create_dir_all(dir)?;
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        file.write_all(bytes)?;
        file.persist(path)?;
        Ok(())
    };
    // See above.
    let _ = write();
}
