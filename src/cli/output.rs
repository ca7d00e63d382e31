//! Paths that results are written to.

use std::path::Path;

use super::Failure;

/// Refuses an output path that cannot be written, before long work is begun. What stands there is
/// replaced by renaming, which would not ask whether it is a device or write-protected.
pub fn check_writable(out: &Path) -> Result<(), Failure> {
    if let Ok(there) = std::fs::metadata(out) {
        let obstacle = if !there.is_file() {
            "not a file"
        } else if there.permissions().readonly() {
            "write-protected"
        } else {
            ""
        };
        if !obstacle.is_empty() {
            return Err(format!("{}: cannot write there: it is {obstacle}", out.display()).into());
        }
    }
    let parent = match out.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    // An unnamed file tells now what renaming would tell after the work.
    match tempfile::tempfile_in(parent) {
        Ok(_) => Ok(()),
        Err(e) => Err(format!("{}: cannot write there: {e}", out.display()).into()),
    }
}
