//! What `cargo deny check licenses bans sources` checks, by the same `deny.toml`, where cargo-deny is
//! not installed. Not checked here: advisories, which need a network (`cargo deny check advisories`),
//! and the licences of what only other platforms are built with.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// `deny.toml`.
#[derive(Deserialize)]
struct Policy {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Entry>,
    skip: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "crate")]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Sources {
    allow_registry: Vec<String>,
}

/// `Cargo.lock`, or what `cargo metadata` prints.
#[derive(Deserialize)]
struct Packages {
    #[serde(alias = "packages")]
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    /// Absent for the crate itself.
    source: Option<String>,
    license: Option<String>,
}

fn parsed<T: DeserializeOwned>(file: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = std::fs::read_to_string(&path).expect("a file of this repository");
    basic_toml::from_str(&text).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn policy() -> Policy {
    parsed("deny.toml")
}

/// Every locked package of another origin than this repository, on any platform.
fn locked() -> Vec<Package> {
    let mut all = parsed::<Packages>("Cargo.lock").package;
    all.retain(|p| p.name != env!("CARGO_PKG_NAME"));
    assert!(all.len() > 100, "the lock file names the whole tree");
    all
}

/// The packages that this platform is built with, with their licences.
fn built() -> Vec<Package> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = Command::new(rustc).arg("-vV").output().expect("rustc runs");
    let version = String::from_utf8(version.stdout).expect("UTF-8");
    let host = version.lines().find_map(|l| l.strip_prefix("host: "));
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--locked", "--format-version", "1"])
        .args(["--filter-platform", host.expect("rustc -vV names the host")])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let packages: Packages = serde_json::from_slice(&output.stdout).expect("metadata");
    packages.package
}

/// Whether an SPDX expression is met by allowed licences. "AND" is taken to bind last, which agrees
/// with SPDX on "(A OR B) AND C" and refuses more than it does on "A OR B AND C".
fn allowed(expression: &str, allow: &[String]) -> bool {
    let any = |part: &str| {
        let part = part.replace(['(', ')'], "").replace('/', " OR ");
        let mut names = part.split(" OR ").map(str::trim);
        names.any(|name| allow.iter().any(|a| a == name))
    };
    expression.split(" AND ").all(any)
}

#[test]
fn every_licence_is_allowed() {
    let allow = policy().licenses.allow;
    for package in built() {
        let license = package.license.unwrap_or_default();
        let name = package.name;
        assert!(allowed(&license, &allow), "{name}: \"{license}\"");
    }
}

/// The reading of expressions on which the test above rests.
#[test]
fn a_licence_that_is_not_allowed_is_seen() {
    let allow = ["MIT".to_string(), "Unicode-3.0".to_string()];
    for met in [
        "MIT",
        "MIT OR GPL-3.0",
        "GPL-3.0/MIT",
        "(MIT OR GPL-3.0) AND Unicode-3.0",
    ] {
        assert!(allowed(met, &allow), "{met}");
    }
    for unmet in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "MITNFA",
        "MIT WITH something",
    ] {
        assert!(!allowed(unmet, &allow), "{unmet}");
    }
}

#[test]
fn everything_comes_from_the_registry() {
    let allow: Vec<String> = policy().sources.allow_registry;
    for package in locked() {
        let source = package.source.unwrap_or_default();
        let registry = source.strip_prefix("registry+").unwrap_or_default();
        let name = package.name;
        assert!(allow.iter().any(|a| a == registry), "{name}: \"{source}\"");
    }
}

/// A second version of a crate is there for a written reason, and the reason goes when it does.
#[test]
fn second_versions_are_those_that_are_listed() {
    let mut versions: BTreeMap<String, Vec<Vec<u64>>> = BTreeMap::new();
    for package in locked() {
        let core = package.version.split(['-', '+']).next().unwrap_or_default();
        let numbers = core.split('.').map(|n| n.parse().expect("a number"));
        versions
            .entry(package.name)
            .or_default()
            .push(numbers.collect());
    }
    let mut older = Vec::new();
    for (name, mut versions) in versions {
        versions.sort();
        versions.pop();
        let text = |v: Vec<u64>| v.iter().map(u64::to_string).collect::<Vec<_>>().join(".");
        older.extend(versions.into_iter().map(|v| format!("{name}@{}", text(v))));
    }
    let skipped = policy().bans.skip.into_iter().map(|e| e.name);
    assert_eq!(older, skipped.collect::<Vec<_>>());
}

#[test]
fn banned_crates_are_absent() {
    let banned = policy().bans.deny;
    assert!(!banned.is_empty());
    for package in locked() {
        assert!(
            banned.iter().all(|b| b.name != package.name),
            "{}",
            package.name
        );
    }
}

/// The seal depends on the internals of these crates: exactly one version of each, which Cargo.toml
/// pins.
#[test]
fn the_proof_system_is_pinned() {
    #[derive(Deserialize)]
    struct Manifest {
        dependencies: BTreeMap<String, Dependency>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Dependency {
        Version(String),
        Table { version: String },
    }
    let manifest: Manifest = parsed("Cargo.toml");
    let locked = locked();
    for name in [
        "halo2_proofs",
        "halo2_gadgets",
        "pasta_curves",
        "ff",
        "group",
    ] {
        let (Dependency::Version(pin) | Dependency::Table { version: pin }) =
            &manifest.dependencies[name];
        let found = locked.iter().filter(|p| p.name == name);
        let found: Vec<String> = found.map(|p| format!("={}", p.version)).collect();
        assert_eq!(found, [pin.as_str()], "{name}");
    }
}
