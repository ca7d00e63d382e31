//! The instrumented copy of the project, and its test programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::find::{self, Edit};
use crate::render::{Rendered, render};

/// What a mutant is called whatever the lines around it do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    pub file: String,
    pub function: String,
    pub kind: String,
    pub snippet: String,
    /// Counts the mutants that are otherwise called the same.
    pub occurrence: usize,
}

/// A mutant and where it is.
pub struct Mutant {
    pub key: Key,
    pub line: usize,
    edits: Vec<Edit>,
}

/// All mutants of `files`. A mutant's number is its place.
pub fn mutants(root: &Path, files: &[String]) -> Result<Vec<Mutant>> {
    let mut all = Vec::new();
    let mut seen: BTreeMap<Key, usize> = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(root.join(file)).with_context(|| file.clone())?;
        for found in find::find(&text).with_context(|| file.clone())? {
            let mut key = Key {
                file: file.clone(),
                function: found.function,
                kind: found.kind.to_string(),
                snippet: found.snippet,
                occurrence: 0,
            };
            let count = seen.entry(key.clone()).or_default();
            key.occurrence = *count;
            *count += 1;
            all.push(Mutant {
                key,
                line: found.line,
                edits: found.edits,
            });
        }
    }
    Ok(all)
}

/// A test program.
#[derive(Clone, Debug)]
pub struct Program {
    pub name: String,
    pub path: PathBuf,
}

/// Copies the project without the mutants of `dropped`, and builds its tests. Mutants that do not
/// compile are added to `dropped`.
pub fn build(
    root: &Path,
    work: &Path,
    mutants: &[Mutant],
    dropped: &mut BTreeSet<usize>,
) -> Result<Vec<Program>> {
    let copy = work.join("src");
    copy_tree(root, &copy, mutants)?;
    loop {
        let rendered = write_mutants(root, &copy, mutants, dropped)?;
        let before = dropped.len();
        let target = work.join("target");
        // The library first: what does not compile shows before the tests are compiled with it.
        let errors = match cargo(&copy, &target, &["build", "--lib"])? {
            Built::Programs(_) => match cargo(&copy, &target, &["test", "--no-run", "--tests"])? {
                Built::Programs(programs) => return Ok(programs),
                Built::Errors(errors) => errors,
            },
            Built::Errors(errors) => errors,
        };
        for e in &errors {
            let blamed = rendered.get(&e.file).map(|r| r.blame(&e.span, &e.around));
            dropped.extend(blamed.unwrap_or_default());
        }
        if dropped.len() == before {
            let texts: Vec<_> = errors.into_iter().map(|e| e.text).collect();
            bail!(
                "the instrumented copy does not build:\n{}",
                texts.join("\n")
            );
        }
        eprintln!("mutants: {} do not compile", dropped.len());
    }
}

/// Copies the files that git knows or would ask about, but those with mutants, and takes away what is gone.
fn copy_tree(root: &Path, copy: &Path, mutants: &[Mutant]) -> Result<()> {
    let listed = |extra: &[&str]| -> Result<BTreeSet<String>> {
        let output = Command::new("git")
            .args(["ls-files", "-z"])
            .args(extra)
            .current_dir(root)
            .output()?;
        ensure!(output.status.success(), "git ls-files failed");
        let names = String::from_utf8(output.stdout)?;
        Ok(names.split_terminator('\0').map(str::to_string).collect())
    };
    let mut names = listed(&["--cached", "--others", "--exclude-standard"])?;
    // The tests compile the readers that are fuzzed.
    names.retain(|n| !n.starts_with("attacks/mutants/") && root.join(n).is_file());
    for dir in ["src", "tests", "benches"] {
        remove_strangers(&copy.join(dir), dir, &names)?;
    }
    for m in mutants {
        names.remove(&m.key.file);
    }
    for name in &names {
        let mut bytes = fs::read(root.join(name))?;
        if name.starts_with("tests/") && name.ends_with(".rs") {
            // Two workers run tests at a time, each with a directory of its own.
            let text = String::from_utf8(bytes)?;
            let own = "&std::env::var(\"CARGO_TARGET_TMPDIR\").expect(\"a directory\")";
            bytes = text
                .replace("env!(\"CARGO_TARGET_TMPDIR\")", own)
                .into_bytes();
        }
        if name == "src/lib.rs" {
            bytes.extend_from_slice(b"\npub mod mutant;\n");
        }
        write(&copy.join(name), &bytes)?;
    }
    write(&copy.join("src/mutant.rs"), include_bytes!("switch.rs"))
}

fn remove_strangers(dir: &Path, name: &str, names: &BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry?.path();
        let file = path.file_name().and_then(|n| n.to_str()).context("UTF-8")?;
        let inner = format!("{name}/{file}");
        if path.is_dir() {
            remove_strangers(&path, &inner, names)?;
        } else if !names.contains(&inner) && inner != "src/mutant.rs" {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Writes a file unless it is there as it should be: the compiler looks at the times.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().context("a file has a directory")?)?;
    fs::write(path, bytes).with_context(|| path.display().to_string())
}

fn write_mutants(
    root: &Path,
    copy: &Path,
    mutants: &[Mutant],
    dropped: &BTreeSet<usize>,
) -> Result<BTreeMap<String, Rendered>> {
    let mut edits: BTreeMap<&str, Vec<(usize, Edit)>> = BTreeMap::new();
    for (number, m) in mutants.iter().enumerate() {
        let of_file = edits.entry(&m.key.file).or_default();
        if !dropped.contains(&number) {
            of_file.extend(m.edits.iter().map(|e| (number, e.clone())));
        }
    }
    let mut files = BTreeMap::new();
    for (file, edits) in edits {
        let rendered = render(&fs::read_to_string(root.join(file))?, &edits);
        write(&copy.join(file), rendered.text.as_bytes())?;
        files.insert(file.to_string(), rendered);
    }
    Ok(files)
}

enum Built {
    Programs(Vec<Program>),
    Errors(Vec<CompileError>),
}

/// The compiler's error at a place.
struct CompileError {
    file: String,
    span: Range<usize>,
    /// All the places in the file that the error speaks of.
    around: Range<usize>,
    text: String,
}

/// The errors in a message of the compiler, one for each place.
fn compile_errors(message: &Value) -> Vec<CompileError> {
    let spans = || message["spans"].as_array().into_iter().flatten();
    let range = |span: &Value| {
        let at = |name: &str| span[name].as_u64().unwrap_or(0) as usize;
        at("byte_start")..at("byte_end")
    };
    let primary = spans().filter(|s| s["is_primary"] == true);
    let errors = primary.map(|span| {
        let same_file = spans().filter(|s| s["file_name"] == span["file_name"]);
        let union = |a: Range<usize>, b: Range<usize>| a.start.min(b.start)..a.end.max(b.end);
        CompileError {
            file: span["file_name"].as_str().unwrap_or_default().to_string(),
            span: range(span),
            around: same_file.map(range).fold(range(span), union),
            text: message["rendered"].as_str().unwrap_or_default().to_string(),
        }
    });
    errors.collect()
}

/// Runs cargo in the copy. The programs are those that it makes with tests.
fn cargo(copy: &Path, target: &Path, command: &[&str]) -> Result<Built> {
    let output = Command::new("cargo")
        .args(command)
        .args(["--release", "--locked", "--message-format=json"])
        .env("CARGO_TARGET_DIR", target)
        // A new test changes one file.
        .env("CARGO_INCREMENTAL", "1")
        .current_dir(copy)
        .stderr(Stdio::inherit())
        .output()?;
    let (mut programs, mut errors) = (Vec::new(), Vec::new());
    for line in String::from_utf8(output.stdout)?.lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        if entry["message"]["level"] == "error" {
            errors.extend(compile_errors(&entry["message"]));
        }
        if let Some(path) = entry["executable"].as_str()
            && entry["profile"]["test"] == true
        {
            let name = entry["target"]["name"].as_str().context("a name")?;
            programs.push(Program {
                name: name.to_string(),
                path: path.into(),
            });
        }
    }
    if output.status.success() {
        return Ok(Built::Programs(programs));
    }
    ensure!(!errors.is_empty(), "cargo {} failed", command.join(" "));
    Ok(Built::Errors(errors))
}
