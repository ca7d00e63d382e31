//! What the user sees: progress on a terminal, a human summary or one JSON object.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::args::Common;

/// Where a command's words go.
pub struct Report {
    json: bool,
    quiet: bool,
    verbose: bool,
    bar: ProgressBar,
}

impl Report {
    pub fn new(common: &Common) -> Self {
        let hidden = common.quiet || common.json || !std::io::stderr().is_terminal();
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
            json: common.json,
            quiet: common.quiet,
            verbose: common.verbose,
            bar,
        }
    }

    /// Says what is being done now.
    pub fn progress(&self, what: &str) {
        if !self.bar.is_hidden() {
            self.bar.enable_steady_tick(Duration::from_millis(100));
            self.bar.set_message(what.to_string());
        }
    }

    /// A detail for `--verbose`.
    pub fn detail(&self, what: &str) {
        if self.verbose && !self.json {
            self.bar.suspend(|| eprintln!("{what}"));
        }
    }

    /// The result: `json` for machines, `human` otherwise (`--quiet` keeps its first line).
    pub fn result(&self, json: &serde_json::Value, human: &str) {
        self.bar.finish_and_clear();
        let text = match (self.json, self.quiet) {
            (true, _) => json.to_string(),
            (false, true) => human.lines().next().unwrap_or_default().to_string(),
            (false, false) => human.trim_end().to_string(),
        };
        // A closed pipe is the reader's choice, not an error.
        let _ = writeln!(std::io::stdout(), "{text}");
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
        eprintln!("error: {error}");
    }
}

/// The largest resident size of this process so far, in bytes, where the platform tells.
pub fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// 1536 → "1.5 KB": units of 1024 bytes.
pub fn bytes(n: usize) -> String {
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KB", n as f64 / 1024.0),
        _ => format!("{:.1} MB", n as f64 / 1_048_576.0),
    }
}
