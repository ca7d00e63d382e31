//! `nanozk challenge`.

use serde_json::json;

use super::args::ChallengeArgs;
use super::coverage::Odds;
use super::output::check_writable;
use super::report::Report;
use super::selection::{in_words, weights};
use super::{Failure, Outcome, store};
use crate::proof::{Challenge, CommitFile, Kind, LayerKind, ModelId, container};

pub fn run(args: &ChallengeArgs, report: &Report) -> Result<Outcome, Failure> {
    check_writable(&args.out)?;
    let commit: CommitFile = container::read(Kind::Commitment, &args.commit)?;
    let total = commit.layers()?;
    let statement = &commit.statement;
    let weights = match &args.fisher {
        None => vec![1; total],
        Some(file) => {
            let store = store(report);
            weights(&store.fisher_table(file.as_deref(), statement.model_id, total)?)
        }
    };
    let challenge = Challenge::new(statement.commitment(), args.layers, weights)?;
    let drawn = challenge.layers()?;
    let encoded = container::encode(Kind::Challenge, &challenge);
    container::write(&args.out, &encoded, false)?;

    let kinds: Vec<LayerKind> = LayerKind::all(total - 2).collect();
    let kinds: Vec<LayerKind> = drawn.iter().map(|l| kinds[*l as usize]).collect();
    let odds = Odds::of(&challenge);
    let hex = |bytes| ModelId(bytes).to_string();
    let out = args.out.display().to_string();
    let machine = json!({
        "commitment": hex(challenge.commitment),
        "model_id": statement.model_id.to_string(),
        "nonce": hex(challenge.nonce),
        "weighted": !challenge.uniform(),
        "layers": drawn,
        "layers_total": total,
        "catching": odds.to_json(),
        "out": out,
    });
    let human = format!(
        "drawn: layers {drawn:?} of {total}: {}\n  commitment {}\n  of a run that model {} is said to have \
         made; nothing is verified yet\n{odds}\n  {out}: send it to the prover, and keep it for `verify \
         --challenge`",
        in_words(&kinds),
        hex(challenge.commitment),
        statement.model_id,
    );
    report.result(&machine, &human)?;
    Ok(Outcome::Success)
}
