//! What the user sees: progress on a terminal, a human summary or one JSON object.

use std::io::{ErrorKind, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::Failure;
use super::args::Common;
use crate::store::Progress;

/// Where a command's words go.
pub struct Report {
    json: bool,
    quiet: bool,
    verbose: bool,
    bar: ProgressBar,
}

impl Report {
    pub fn new(common: &Common, json: bool) -> Self {
        let hidden = common.quiet || json || !std::io::stderr().is_terminal();
        let bar = if hidden {
            ProgressBar::hidden()
        } else {
            ProgressBar::new_spinner()
        };
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg} [{elapsed}]")
                .expect("a constant template"),
        );
        Self {
            json,
            quiet: common.quiet,
            verbose: common.verbose,
            bar,
        }
    }

    /// A part of a result that is shown as it grows, and whether it was: not to machines, nor with `--quiet`.
    pub fn piece(&self, text: &str) -> bool {
        if self.json || self.quiet {
            return false;
        }
        self.bar.finish_and_clear();
        let mut stdout = std::io::stdout();
        // Who does not read on is not told on.
        let _ = write!(stdout, "{text}").and_then(|()| stdout.flush());
        true
    }

    /// The result: `json` for machines, `human` otherwise (`--quiet` keeps its first line).
    pub fn result(&self, json: &serde_json::Value, human: &str) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let text = match (self.json, self.quiet) {
            (true, _) => json.to_string(),
            (false, true) => human.lines().next().unwrap_or_default().to_string(),
            (false, false) => human.trim_end().to_string(),
        };
        let mut stdout = std::io::stdout();
        match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
            // A closed pipe is the reader's choice, not an error.
            Err(e) if e.kind() != ErrorKind::BrokenPipe => {
                Err(format!("standard output: {e}").into())
            }
            _ => Ok(()),
        }
    }

    /// An error that ends the command; a JSON object too where JSON was asked for.
    pub fn error(&self, error: &(dyn std::error::Error + Send + Sync)) {
        self.bar.finish_and_clear();
        if self.json {
            let _ = writeln!(
                std::io::stdout(),
                "{}",
                serde_json::json!({ "error": error.to_string() })
            );
        }
        complain(&format!("error: {error}"));
    }
}

impl Progress for Report {
    fn progress(&self, what: &str) {
        if !self.bar.is_hidden() {
            self.bar.enable_steady_tick(Duration::from_millis(100));
            self.bar.set_message(what.to_string());
        }
    }

    /// For `--verbose`.
    fn detail(&self, what: &str) {
        if self.verbose && !self.json {
            self.bar.suspend(|| complain(what));
        }
    }

    fn note(&self, what: &str) {
        self.bar.suspend(|| complain(&format!("note: {what}")));
    }
}

/// A line on standard error. `eprintln!` would panic where nothing can be written there.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The largest resident size of this process so far, in bytes, where the platform tells.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Makes [`peak_rss_bytes`] count from now on, where the platform can.
pub fn reset_peak_rss() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// What the figures were measured on.
pub struct Machine {
    model: String,
    cores: usize,
    memory: Option<u64>,
    /// Running processes in the mean over the last 1, 5 and 15 minutes, where the platform tells.
    pub load: Option<Vec<f64>>,
}

impl Machine {
    pub fn now() -> Self {
        let read = |path| std::fs::read_to_string(path).ok();
        let field = |text: &str, name: &str| -> Option<String> {
            let line = text.lines().find(|l| l.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_string())
        };
        let memory = read("/proc/meminfo").and_then(|text| {
            let kib = field(&text, "MemTotal")?;
            Some(kib.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
        });
        let load = read("/proc/loadavg")
            .map(|text| text.split(' ').take(3).flat_map(str::parse).collect());
        Self {
            model: read("/proc/cpuinfo")
                .and_then(|text| field(&text, "model name"))
                .unwrap_or_else(|| std::env::consts::ARCH.to_string()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory,
            load,
        }
    }

    pub fn load_text(&self) -> String {
        let load = self.load.as_deref().unwrap_or_default();
        match load.first() {
            Some(l) => format!("{l:.1}"),
            None => "unknown".into(),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {} cores", self.model, self.cores)?;
        match self.memory {
            Some(m) => write!(f, ", {} GiB", m >> 30),
            None => Ok(()),
        }
    }
}

/// 1536 → "1.5 KB": units of 1024 bytes.
pub fn bytes(n: usize) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KB", n as f64 / 1024.0),
        _ => format!("{:.1} MB", n as f64 / 1_048_576.0),
    }
}
