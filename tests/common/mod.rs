//! Running the command as its users do.
#![allow(dead_code, reason = "no test needs all of it")]

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use nanozk::proof::{Kind, ProofFile, container};
use serde_json::{Map, Value};

/// What a command did.
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// The one JSON object on standard output.
    pub fn json(&self) -> Map<String, Value> {
        assert_eq!(self.stdout.lines().count(), 1, "one line: {}", self.stdout);
        serde_json::from_str(&self.stdout).expect("one JSON object and nothing else")
    }

    /// Wants the command to have succeeded.
    pub fn success(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        assert_eq!(self.stderr, "", "a success has nothing to complain about");
        self
    }

    /// Wants exit code 2 and a reason on standard error only.
    pub fn failed(self, reason: &str) {
        assert_eq!(self.code, 2, "{}{}", self.stdout, self.stderr);
        assert!(
            self.stderr.starts_with("error: ") && self.stderr.contains(reason),
            "{reason:?} is not said in {:?}",
            self.stderr
        );
        assert_eq!(self.stdout, "", "nothing was done, nothing is printed");
    }
}

/// Runs a command that ends in the program's. Whatever it does, it must neither panic nor write
/// terminal codes into a pipe.
pub fn run(command: &mut Command) -> Ran {
    let output = command.output().expect("the program starts");
    let ran = Ran {
        code: output.status.code().expect("not killed by a signal"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    };
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains("panicked"), "{text}");
        assert!(!text.contains(['\x1b', '\r']), "terminal codes: {text:?}");
    }
    ran
}

/// `program` in the tests' directory, with `home` as the cache.
pub fn command(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env("NANOZK_HOME", home)
        .env_remove("HF_HOME")
        // No test asks the network for a model; `tests/hub.rs` asks a server of its own.
        .env("HF_HUB_OFFLINE", "1")
        .current_dir(base())
        .stdin(Stdio::null());
    command
}

/// Runs `nanozk` with `home` as its cache.
pub fn nanozk_at<S: AsRef<OsStr>>(home: &Path, args: &[S]) -> Ran {
    run(command(env!("CARGO_BIN_EXE_nanozk"), home).args(args))
}

pub fn nanozk<S: AsRef<OsStr>>(args: &[S]) -> Ran {
    nanozk_at(&base().join("home"), args)
}

/// The directory of this file's tests, emptied when they begin.
pub fn base() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| {
        let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
        let _ = fs::remove_dir_all(&base);
        fs::create_dir_all(&base).expect("a directory");
        base
    })
}

/// A new empty directory.
pub fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(base()).expect("a directory")
}

/// The names in a directory.
pub fn names(dir: &Path) -> HashSet<String> {
    fs::read_dir(dir)
        .expect("a directory")
        .map(|e| e.expect("an entry").file_name().into_string())
        .map(|name| name.expect("UTF-8"))
        .collect()
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

pub fn read(path: &Path) -> ProofFile {
    container::read(Kind::Proof, path).expect("a proof")
}
