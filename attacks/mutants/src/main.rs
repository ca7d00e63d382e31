//! Removes each check of the verifier, one at a time, and asks which test notices. See README.md.

mod accepted;
mod find;
mod render;
mod scratch;
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use serde::{Deserialize, Serialize};

use scratch::{Key, Mutant};
use tests::{Bench, Ended, Test};

/// What stands between a forged file and "accepted".
const FILES: &str = include_str!("../files.txt");
const ACCEPTED: &str = "attacks/mutants/accepted.txt";

/// Removes or negates each check of the verifier, one at a time, and asks which test notices. Run it
/// from the project's root; see attacks/mutants/README.md. Exits with 1 unless every mutant that is
/// not accepted was killed.
#[derive(Parser)]
struct Options {
    /// Print the mutants and stop
    #[arg(long)]
    list: bool,
    /// Only mutants of files whose path holds PATTERN
    #[arg(
        long,
        value_name = "PATTERN",
        default_value = "",
        hide_default_value = true
    )]
    file: String,
    /// Only mutants whose line of the report holds PATTERN
    #[arg(
        long,
        value_name = "PATTERN",
        default_value = "",
        hide_default_value = true
    )]
    only: String,
    /// Only tests whose names hold one of these: for mutants that survived, and new tests
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    tests: Vec<String>,
    /// Seconds for one mutant before it counts as unresolved
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// Tests at a time
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Write all results there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the instrumented copy, its build and the results are kept
    #[arg(long, value_name = "FOLDER", default_value = "target/mutants")]
    work: PathBuf,
    /// Only mutants that no earlier run has tried
    #[arg(long)]
    new: bool,
    /// Forget the results of earlier runs
    #[arg(long)]
    fresh: bool,
}

impl Options {
    fn chooses(&self, mutant: &Mutant) -> bool {
        mutant.key.file.contains(&self.file) && mutant.to_string().contains(&self.only)
    }
}

impl std::fmt::Display for Mutant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Key {
            file,
            function,
            kind,
            snippet,
            ..
        } = &self.key;
        write!(f, "{file}:{} {function} {kind}: {snippet}", self.line)
    }
}

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Killed {
        test: String,
        timeout: bool,
    },
    Survived {
        reached_by: usize,
    },
    /// The time for one mutant was over before all tests that reach it had run.
    Unresolved {
        passed: usize,
        reached_by: usize,
    },
}

/// A line of the results' file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    key: Key,
    line: usize,
    outcome: Outcome,
    seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    accepted: Option<String>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let root = std::env::current_dir()?;
    ensure!(
        root.join("src/lib.rs").is_file(),
        "run this from the project's root"
    );
    let files: Vec<String> = FILES.lines().map(str::to_string).collect();
    let mutants = scratch::mutants(&root, &files)?;
    if options.list {
        mutants
            .iter()
            .filter(|m| options.chooses(m))
            .for_each(|m| println!("{m}"));
        return Ok(ExitCode::SUCCESS);
    }
    let work = std::path::absolute(&options.work)?;
    fs::create_dir_all(&work)?;
    if options.fresh {
        for name in ["results.jsonl", "dropped.json", "tests.json"] {
            let _ = fs::remove_file(work.join(name));
        }
    }
    let dropped = &work.join("dropped.json");
    let mut broken: BTreeSet<usize> = numbers(&mutants, &read(dropped)?);
    let programs = scratch::build(&root, &work, &mutants, &mut broken)?;
    let keys: Vec<&Key> = broken.iter().map(|n| &mutants[*n].key).collect();
    fs::write(dropped, serde_json::to_string(&keys)?)?;

    let benches: Vec<Bench> = (0..options.jobs)
        .map(|n| Bench::new(&work, n))
        .collect::<Result<_>>()?;
    let tests = tests::measure(
        &programs,
        &work.join("tests.json"),
        &options.tests,
        &benches,
    )?;
    let accepted = accepted::parse(&fs::read_to_string(root.join(ACCEPTED)).unwrap_or_default())?;
    let run = Run {
        timeout: Duration::from_secs(options.timeout),
        only_new: options.new,
        mutants: &mutants,
        tests: &tests,
        results: work.join("results.jsonl"),
    };
    let chosen = mutants.iter().enumerate();
    let chosen = chosen.filter(|(n, m)| options.chooses(m) && !broken.contains(n));
    let mut records = run.all(chosen.map(|(n, _)| n).collect(), &benches, &accepted)?;
    for r in &mut records {
        if let Outcome::Survived { .. } | Outcome::Unresolved { .. } = r.outcome {
            let entry = accepted.iter().find(|a| a.covers(&r.key));
            r.accepted = entry.map(|a| a.reason.clone());
        }
    }
    for number in broken.iter().filter(|n| options.chooses(&mutants[**n])) {
        println!("did not compile: {}", mutants[*number]);
    }
    let broken = broken
        .iter()
        .filter(|n| options.chooses(&mutants[**n]))
        .count();
    stale(&accepted, &records);
    let left = summary(&records, broken);
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&records)?)?;
    }
    Ok(if left {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn read(path: &Path) -> Result<Vec<Key>> {
    let text = fs::read_to_string(path).unwrap_or_else(|_| "[]".to_string());
    Ok(serde_json::from_str(&text)?)
}

fn numbers(mutants: &[Mutant], keys: &[Key]) -> BTreeSet<usize> {
    let all = mutants.iter().enumerate();
    let found = all.filter(|(_, m)| keys.contains(&m.key));
    found.map(|(n, _)| n).collect()
}

/// Names the entries of accepted survivors that are killed all the same.
fn stale(accepted: &[accepted::Accepted], records: &[Record]) {
    for entry in accepted {
        let mut of_entry = records.iter().filter(|r| entry.covers(&r.key)).peekable();
        if of_entry.peek().is_some() && of_entry.all(|r| r.accepted.is_none()) {
            println!("accepted for nothing, a test kills it: {entry}");
        }
    }
}

/// Prints who is left and the sums. Whether any is left: survived, or unresolved, which may be the same.
fn summary(records: &[Record], broken: usize) -> bool {
    let mut sums: BTreeMap<&str, usize> = BTreeMap::new();
    for r in records {
        let sum = match &r.outcome {
            _ if r.accepted.is_some() => "accepted",
            Outcome::Killed { .. } => "killed",
            Outcome::Survived { .. } => "survived",
            Outcome::Unresolved { .. } => "unresolved",
        };
        *sums.entry(sum).or_default() += 1;
        let Key {
            file,
            function,
            kind,
            snippet,
            ..
        } = &r.key;
        let line = r.line;
        if sum == "survived" || sum == "unresolved" {
            let name = sum.to_uppercase();
            println!("{name} {file}:{line} {function} {kind}: {snippet}");
        }
    }
    let sum = |name| sums.get(name).copied().unwrap_or(0);
    println!(
        "mutants: {} tried, {} killed, {} survived, {} unresolved, {} accepted as equivalent, {broken} did not compile",
        records.len(),
        sum("killed"),
        sum("survived"),
        sum("unresolved"),
        sum("accepted"),
    );
    sum("survived") + sum("unresolved") > 0
}

/// Everything a run needs.
struct Run<'a> {
    timeout: Duration,
    only_new: bool,
    mutants: &'a [Mutant],
    tests: &'a [Test],
    /// A line per mutant that was tried, in this run or an earlier one.
    results: PathBuf,
}

impl Run<'_> {
    /// Tries the mutants of these numbers but those an earlier run has settled.
    fn all(
        &self,
        numbers: Vec<usize>,
        benches: &[Bench],
        accepted: &[accepted::Accepted],
    ) -> Result<Vec<Record>> {
        let text = fs::read_to_string(&self.results).unwrap_or_default();
        let mut old: BTreeMap<Key, Record> = BTreeMap::new();
        for line in text.lines() {
            let record: Record = serde_json::from_str(line)?;
            old.insert(record.key.clone(), record);
        }
        let (mut settled, mut open) = (Vec::new(), Vec::new());
        for number in numbers {
            let key = &self.mutants[number].key;
            let is_accepted = || accepted.iter().any(|a| a.covers(key));
            match old.remove(key) {
                Some(mut r)
                    if self.only_new
                        || matches!(r.outcome, Outcome::Killed { .. })
                        || is_accepted() =>
                {
                    r.line = self.mutants[number].line;
                    settled.push(r);
                }
                _ => open.push(number),
            }
        }
        let (total, begin) = (settled.len() + open.len(), Instant::now());
        eprintln!(
            "mutants: trying {} of {total}, the others are settled",
            open.len()
        );
        let tried = tests::share(benches, open, |bench, number| {
            let record = self.one(bench, number)?;
            let mut file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&self.results)?;
            file.write_all(format!("{}\n", serde_json::to_string(&record)?).as_bytes())?;
            println!("{}", self.line(number, &record.outcome));
            Ok(record)
        })?;
        eprintln!("mutants: {} tried in {:.0?}", tried.len(), begin.elapsed());
        settled.extend(tried);
        settled.sort_by(|a, b| (&a.key.file, a.line, &a.key).cmp(&(&b.key.file, b.line, &b.key)));
        Ok(settled)
    }

    fn line(&self, number: usize, outcome: &Outcome) -> String {
        let mutant = &self.mutants[number];
        match outcome {
            Outcome::Killed { test, timeout } => {
                let how = if *timeout { " (timeout)" } else { "" };
                format!("{mutant}: killed by {test}{how}")
            }
            Outcome::Survived { reached_by: 0 } => format!("SURVIVED unreached {mutant}"),
            Outcome::Survived { .. } => format!("SURVIVED {mutant}"),
            Outcome::Unresolved { .. } => format!("UNRESOLVED {mutant}"),
        }
    }

    /// Runs the tests that reach a mutant until one fails: those of its own module first, which know its checks
    /// best, and of each the fastest first.
    fn one(&self, bench: &Bench, number: usize) -> Result<Record> {
        let begin = Instant::now();
        let file = &self.mutants[number].key.file;
        let (near, far): (Vec<&Test>, Vec<&Test>) = self
            .tests
            .iter()
            .filter(|t| t.reaches(number))
            .partition(|t| t.is_of(file));
        let tests = [near, far].concat();
        let reached_by = tests.len();
        let mut outcome = Outcome::Survived { reached_by };
        for (passed, test) in tests.into_iter().enumerate() {
            if begin.elapsed() > self.timeout {
                outcome = Outcome::Unresolved { passed, reached_by };
                break;
            }
            let ended = bench.run(test, ("NANOZK_MUTANT", &number.to_string()), test.limit())?;
            if ended != Ended::Passed {
                outcome = Outcome::Killed {
                    test: test.name.clone(),
                    timeout: ended == Ended::TimedOut,
                };
                break;
            }
        }
        Ok(Record {
            key: self.mutants[number].key.clone(),
            line: self.mutants[number].line,
            outcome,
            seconds: begin.elapsed().as_secs_f64(),
            accepted: None,
        })
    }
}
