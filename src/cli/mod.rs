//! The command line: arguments, reports and exit codes.
//!
//! Exit codes: 0 success; 1 the proof is not valid; 2 the command could not do its work; 3 a valid
//! proof of only some layers.

mod args;
mod bench;
mod challenge;
mod commit;
mod coverage;
mod eval;
mod fisher;
mod generate;
mod inspect;
mod model_id;
mod output;
mod plot;
mod prompt;
mod prove;
mod quantize;
mod report;
mod selection;
mod shapes;
mod stop;
mod verify;

use std::process::ExitCode;

use clap::Parser;

pub use inspect::describe;

use args::{Args, Command};
use report::Report;

use crate::store::{Home, Store};

/// A command's failure, ready to be shown.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How a command ended.
enum Outcome {
    Success,
    Invalid,
    Partial,
}

/// The models of this user.
fn store(report: &Report) -> Store<'_> {
    Store::new(Home::from_environment(), report)
}

/// Parses the arguments, runs the command and returns the process's exit code.
pub fn run() -> ExitCode {
    let args = Args::parse();
    if let Some(threads) = args.common.threads
        && let Err(e) = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.into())
            .build_global()
    {
        report::complain(&format!("error: cannot start {threads} threads: {e}"));
        return ExitCode::from(2);
    }
    let report = Report::new(&args.common, args.json());
    let result = match &args.command {
        Command::Quantize(a) => quantize::run(a, &report),
        Command::Prove(a) => prove::run(a, &report),
        Command::Verify(a) => verify::run(a, &report),
        Command::Commit(a) => commit::run(a, &report),
        Command::Challenge(a) => challenge::run(a, &report),
        Command::Inspect(a) => inspect::run(a, &report),
        Command::ModelId(a) => model_id::run(a, &report),
        Command::Generate(a) => generate::run(a, &report),
        Command::Eval(a) => eval::run(a, &report),
        Command::Fisher(a) => fisher::run(a, &report),
        Command::Bench(a) => bench::run(a, &report),
    };
    match result {
        Ok(Outcome::Success) => ExitCode::SUCCESS,
        Ok(Outcome::Invalid) => ExitCode::from(1),
        Ok(Outcome::Partial) => ExitCode::from(3),
        Err(e) => {
            report.error(&*e);
            ExitCode::from(2)
        }
    }
}
