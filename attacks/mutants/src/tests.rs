//! Running tests, each alone in a process: once for what it reaches, then against mutants.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::scratch::Program;

/// A test, what it took and what it reached without a mutant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Test {
    program: PathBuf,
    /// Of the program's bytes and the test's name: a changed program's tests are run again.
    fingerprint: u64,
    pub name: String,
    exact: String,
    pub seconds: f64,
    reached: BTreeSet<usize>,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Passed,
    Failed,
    TimedOut,
}

/// Where a worker's tests run and write.
pub struct Bench {
    copy: PathBuf,
    /// The worker's own directory, for temporary files and what tests keep between runs.
    dir: PathBuf,
}

/// Address space of a test's process, in KiB: without a check of a length, a test may ask for everything.
const MEMORY: u64 = 10 << 20;

impl Bench {
    pub fn new(work: &Path, worker: usize) -> Result<Self> {
        let dir = work.join(format!("worker{worker}"));
        fs::create_dir_all(dir.join("kept"))?;
        Ok(Self {
            copy: work.join("src"),
            dir,
        })
    }

    /// Runs one test, with environment variables that choose the mutant or ask for coverage.
    pub fn run(&self, test: &Test, env: (&str, &str), limit: Duration) -> Result<Ended> {
        // A test that was killed leaves its temporary files.
        let tmp = self.dir.join("tmp");
        let _ = fs::remove_dir_all(&tmp);
        fs::create_dir_all(&tmp)?;
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"")])
            .arg(&test.program)
            .args(["--exact", &test.exact])
            .env(env.0, env.1)
            .env("TMPDIR", &tmp)
            .env("CARGO_TARGET_TMPDIR", self.dir.join("kept"))
            .env("CARGO_MANIFEST_DIR", &self.copy)
            .current_dir(&self.copy)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // So that what the test starts can be stopped with it.
            .process_group(0)
            .spawn()?;
        let ended = wait(&mut child, limit)?;
        if ended == Ended::TimedOut {
            let group = format!("-{}", child.id());
            Command::new("kill")
                .args(["-KILL", "--", &group])
                .status()?;
            child.wait()?;
        }
        Ok(ended)
    }

    fn measure(&self, mut test: Test) -> Result<Test> {
        let reach = self.dir.join("reached");
        let _ = fs::remove_file(&reach);
        let begin = Instant::now();
        let path = reach.to_str().context("UTF-8")?;
        let limit = Duration::from_secs(1200);
        let ended = self.run(&test, ("NANOZK_MUTANT_REACH", path), limit)?;
        ensure!(
            ended == Ended::Passed,
            "{} fails without a mutant: {ended:?}",
            test.name
        );
        test.seconds = begin.elapsed().as_secs_f64();
        let numbers = fs::read_to_string(&reach).unwrap_or_default();
        test.reached = numbers.lines().map(str::parse).collect::<Result<_, _>>()?;
        Ok(test)
    }
}

fn wait(child: &mut Child, limit: Duration) -> Result<Ended> {
    let begin = Instant::now();
    loop {
        match child.try_wait()? {
            Some(status) if status.success() => return Ok(Ended::Passed),
            Some(_) => return Ok(Ended::Failed),
            None if begin.elapsed() > limit => return Ok(Ended::TimedOut),
            None => thread::sleep(Duration::from_millis(3)),
        }
    }
}

/// Calls `job` with every item, on a thread per bench. Ends at the first error.
pub fn share<T: Send, R: Send>(
    benches: &[Bench],
    items: Vec<T>,
    job: impl Fn(&Bench, T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let queue = Mutex::new(items.into_iter());
    let work = |bench: &Bench| {
        let mut done = Vec::new();
        loop {
            let item = queue.lock().expect("no panic holds it").next();
            match item {
                Some(item) => done.push(job(bench, item)?),
                None => return Ok(done),
            }
        }
    };
    let results: Vec<Result<Vec<R>>> = thread::scope(|scope| {
        let running: Vec<_> = benches.iter().map(|b| scope.spawn(|| work(b))).collect();
        let ended = running.into_iter().map(|r| r.join());
        ended.map(|r| r.expect("workers do not panic")).collect()
    });
    let mut all = Vec::new();
    for result in results {
        all.extend(result?);
    }
    Ok(all)
}

/// All tests of the programs with what each reaches, fastest first. What `kept` holds of the same
/// programs is taken from there. `chosen` are parts of the names of those that are wanted, all if it is empty.
pub fn measure(
    programs: &[Program],
    kept: &Path,
    chosen: &[String],
    benches: &[Bench],
) -> Result<Vec<Test>> {
    let old: Vec<Test> = fs::read_to_string(kept)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let mut old: BTreeMap<u64, Test> = old.into_iter().map(|t| (t.fingerprint, t)).collect();
    // Tests that start the command depend on it as well.
    let command = programs
        .first()
        .and_then(|p| fs::read(p.path.parent()?.with_file_name("nanozk")).ok());
    let (mut tests, mut open) = (Vec::new(), Vec::new());
    for program in programs {
        let mut hasher = DefaultHasher::new();
        (fs::read(&program.path)?, &command).hash(&mut hasher);
        for exact in list(program)? {
            let name = format!("{}::{exact}", program.name);
            if !chosen.is_empty() && !chosen.iter().any(|part| name.contains(part)) {
                continue;
            }
            let mut hasher = hasher.clone();
            exact.hash(&mut hasher);
            let fingerprint = hasher.finish();
            match old.remove(&fingerprint) {
                Some(test) => tests.push(test),
                None => open.push(Test {
                    program: program.path.clone(),
                    fingerprint,
                    name,
                    exact,
                    seconds: 0.0,
                    reached: BTreeSet::new(),
                }),
            }
        }
    }
    eprintln!(
        "mutants: measuring {} of {} tests",
        open.len(),
        open.len() + tests.len()
    );
    let (measured, failed): (Vec<_>, Vec<_>) = share(benches, open, |b, t| Ok(b.measure(t)))?
        .into_iter()
        .partition(Result::is_ok);
    tests.extend(measured.into_iter().flatten());
    tests.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    fs::write(kept, serde_json::to_string(&tests)?)?;
    match failed.into_iter().find_map(Result::err) {
        Some(error) => Err(error),
        None => Ok(tests),
    }
}

/// The tests of a program but the ignored ones.
fn list(program: &Program) -> Result<Vec<String>> {
    let names = |extra: &[&str]| -> Result<BTreeSet<String>> {
        let output = Command::new(&program.path)
            .args(["--list", "--format", "terse"])
            .args(extra)
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        let names = text.lines().filter_map(|l| l.strip_suffix(": test"));
        Ok(names.map(str::to_string).collect())
    };
    let ignored = names(&["--ignored"])?;
    Ok(names(&[])?.difference(&ignored).cloned().collect())
}

impl Test {
    /// Whether it is in the module of `file`, or of the folder that `file` is in.
    pub fn is_of(&self, file: &str) -> bool {
        let module = file.trim_start_matches("src/").trim_end_matches(".rs");
        let module = module.trim_end_matches("/mod").replace('/', "::");
        let test = self.exact.as_str();
        let (parent, _) = module.rsplit_once("::").unwrap_or((&module, ""));
        let inside = |module: &str| {
            test.strip_prefix(module)
                .is_some_and(|t| t.starts_with("::"))
        };
        inside(&module) || inside(parent) && self.seconds < 2.0
    }

    pub fn reaches(&self, mutant: usize) -> bool {
        self.reached.contains(&mutant)
    }

    /// Longer than this is not honest slowness.
    pub fn limit(&self) -> Duration {
        Duration::from_secs_f64((5.0 * self.seconds).max(20.0))
    }
}
