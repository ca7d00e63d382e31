//! The map in ARCHITECTURE.md, checked: a file imports only lower floors of its own tower, `system`
//! and `algebra`; the words of models do not enter the argument.

use std::fs;
use std::path::{Path, PathBuf};

/// The argument's tower and the model's, ground floor first; modules of one floor together.
const TOWERS: [&[&[&str]]; 2] = [
    &[
        &["curve", "transcript"],
        &["commit"],
        &["argument"],
        &["seal"],
    ],
    &[&["quant"], &["ops"], &["model"], &["layers"]],
];

/// Every source file of a module, with its text.
fn sources(module: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src")
            .join(module),
    ];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).expect("a module's folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !is_test(&path) {
                let text = fs::read_to_string(&path).expect("UTF-8");
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{module} has source files");
    found
}

/// Test files may reach across.
fn is_test(path: &Path) -> bool {
    let stem = path
        .file_stem()
        .and_then(|s| s.to_str())
        .unwrap_or_default();
    stem.ends_with("tests") || stem == "testing"
}

/// The modules that a text names after `crate::`.
fn imports(text: &str) -> Vec<String> {
    let names = text
        .split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            // `crate::{a::b, c::d}`: the first path segment of each item at the outer level.
            Some(group) => group_heads(group),
            None => vec![head(rest)],
        });
    names.filter(|n| !n.is_empty()).collect()
}

fn head(path: &str) -> String {
    let path = path.trim_start();
    path.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads) = (0, vec![head(group)]);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(head(&group[at + 1..])),
            _ => {}
        }
    }
    heads
}

fn check(module: &str, allowed: &[&str]) {
    for (path, text) in sources(module) {
        for name in imports(&text) {
            let known = TOWERS.iter().flat_map(|t| t.iter()).flat_map(|f| f.iter());
            let is_module = known
                .chain(&["system", "algebra", "proof", "store", "cli"])
                .any(|m| **m == name);
            assert!(
                !is_module || allowed.contains(&name.as_str()),
                "{} imports {name}, which is not below {module}",
                path.display()
            );
        }
    }
}

#[test]
fn floors_import_only_what_is_below_them() {
    check("algebra", &["algebra"]);
    check("system", &["system", "algebra"]);
    for tower in TOWERS {
        let mut allowed = vec!["system", "algebra"];
        for floor in tower {
            allowed.extend(*floor);
            floor.iter().for_each(|module| check(module, &allowed));
        }
    }
}

/// What joins the towers knows nothing of where models come from and are kept.
#[test]
fn proofs_know_no_store() {
    let towers = TOWERS.iter().flat_map(|t| t.iter()).flat_map(|f| f.iter());
    let below: Vec<&str> = towers.copied().collect();
    check(
        "proof",
        &[&["proof", "system", "algebra"], &below[..]].concat(),
    );
}

#[test]
fn what_users_meet_touches_no_cryptography() {
    let below = ["proof", "layers", "model", "ops", "quant"];
    check("store", &[&["store"], &below[..]].concat());
    check("cli", &[&["cli", "store"], &below[..]].concat());
}

#[test]
fn the_argument_knows_nothing_of_models() {
    for module in ["curve", "transcript", "commit", "argument", "seal"] {
        for (path, text) in sources(module) {
            for word in ["attention", "transformer", "token embedding", "gpt"] {
                let found = text.to_lowercase().contains(word);
                assert!(!found, "{} speaks of {word:?}", path.display());
            }
        }
    }
}
