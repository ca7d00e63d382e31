//! Opening files that somebody names.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Opens a file to be read.
///
/// # Errors
/// Where it cannot be opened, and where it is neither a regular file nor an open descriptor (`/dev/stdin`,
/// `/dev/fd/N`): a FIFO would wait for somebody to write, a device may not end.
pub fn open(path: &Path) -> io::Result<File> {
    let kind = fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() && !is_descriptor(path) {
        let reason = "not a regular file, which alone is sure to end: copy its content into one, or give \
                      it as standard input (/dev/stdin)";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    File::open(path)
}

/// The text of a file that [`open`] opens.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.read_to_string(&mut text)?;
    Ok(text)
}

/// Whether a path names what the process that runs this program has opened for it.
fn is_descriptor(path: &Path) -> bool {
    path == Path::new("/dev/stdin")
        || ["/dev/fd", "/proc/self/fd"]
            .iter()
            .any(|folder| path.parent() == Some(Path::new(folder)))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::process::Command;

    /// A FIFO that nobody writes to would be waited for, and a device read for ever.
    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, fifo) = (dir.path().join("file"), dir.path().join("fifo"));
        fs::write(&file, "text").expect("written");
        let made = Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .expect("mkfifo runs");
        assert!(made.success());
        assert_eq!(read_to_string(&file).expect("read"), "text");
        for other in [&fifo, Path::new("/dev/zero")] {
            let error = open(other).expect_err("not a regular file");
            assert!(error.to_string().contains("not a regular file"), "{error}");
        }
        let error = open(dir.path()).expect_err("a directory");
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
        let error = open(&dir.path().join("none")).expect_err("nothing");
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    /// What a shell has opened for the program is read, be it a pipe.
    #[test]
    fn descriptors_are_no_paths_to_wait_for() {
        for path in ["/dev/stdin", "/dev/fd/0", "/dev/fd/63", "/proc/self/fd/3"] {
            assert!(is_descriptor(Path::new(path)), "{path}");
        }
        for path in [
            "/dev/zero",
            "/dev/fd",
            "/dev/fd/0/x",
            "stdin",
            "/proc/1/fd/3",
        ] {
            assert!(!is_descriptor(Path::new(path)), "{path}");
        }
    }
}
