//! `nanozk verify`.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::args::Verify;
use super::coverage::{Coverage, Odds, selection_name};
use super::report::Report;
use super::selection::{table_if_known, weights};
use super::{Failure, Outcome, models};
use crate::layers::FisherTable;
use crate::proof::{
    Challenge, CommitFile, KeyFile, Kind, ProofFile, Selection, Setup, VerifyError, container,
    verify,
};
use crate::quant::Manifest;

pub fn run(args: &Verify, report: &Report) -> Result<Outcome, Failure> {
    let proof: ProofFile = container::read(Kind::Proof, &args.proof)?;
    let audit = Audit::read(args)?;
    let id = proof.statement.model_id;
    if let Some(pinned) = args.model_id
        && pinned != id
    {
        return invalid(
            report,
            &proof,
            &format!("the proof is about model {id}, not {pinned}"),
        );
    }
    let home = models::home();
    report.progress("loading generators");
    let setup = Setup::load(home.as_deref());
    let file = models::verifying_key(id, args, home.as_deref(), &setup, report)?;
    let model = file.key.decode(crate::proof::ROW_BITS)?;
    report.progress("verifying");
    let start = Instant::now();
    let verified = match verify(&setup, &model, &proof) {
        Ok(verified) => verified,
        // What is wrong with this machine says nothing about the proof.
        Err(e @ VerifyError::Randomness(_)) => return Err(e.into()),
        Err(e) => return invalid(report, &proof, &e.to_string()),
    };
    let seconds = start.elapsed().as_secs_f64();
    let table = args.fisher.as_deref();
    let known = table_if_known(table, id, verified.total, home.as_deref(), report)?;
    if let Err(reason) = audit.check(&proof, table.and(known.as_ref())) {
        return invalid(report, &proof, &reason.to_string());
    }
    let coverage = Coverage {
        statement: &proof.statement,
        verified: &verified,
        challenge: audit.challenge.as_ref(),
        table: known.as_ref(),
    };
    say(
        args,
        report,
        &coverage,
        &texts(&file, &model.manifest, &proof)?,
        seconds,
    )?;
    Ok(if verified.complete() || args.allow_partial {
        Outcome::Success
    } else {
        Outcome::Partial
    })
}

/// What the verifier has kept of an audit.
struct Audit {
    challenge: Option<Challenge>,
    commit: Option<CommitFile>,
}

impl Audit {
    fn read(args: &Verify) -> Result<Self, Failure> {
        let challenge = |path: &Path| container::read(Kind::Challenge, path);
        let commit = |path: &Path| container::read(Kind::Commitment, path);
        Ok(Self {
            challenge: args.challenge.as_deref().map(challenge).transpose()?,
            commit: args.commit.as_deref().map(commit).transpose()?,
        })
    }

    /// Refuses a valid proof that is not what the audit asked for. `table` is one that was given: it
    /// must be the one by whose weights a weighted challenge was drawn.
    fn check(&self, proof: &ProofFile, table: Option<&FisherTable>) -> Result<(), Failure> {
        if let Some(commit) = &self.commit {
            commit.layers()?;
            commit.check(&proof.statement)?;
        }
        let Some(challenge) = &self.challenge else {
            return Ok(());
        };
        challenge.check(&proof.statement)?;
        match table {
            Some(t) if !challenge.uniform() && weights(t) != challenge.weights => {
                Err("the challenge was drawn by other weights than this Fisher table's".into())
            }
            _ => Ok(()),
        }
    }
}

/// Prompt and output, as text.
fn texts(
    file: &KeyFile,
    manifest: &Manifest,
    proof: &ProofFile,
) -> Result<(String, String), Failure> {
    let tokenizer = models::matching_tokenizer(&file.tokenizer, manifest)?;
    let statement = &proof.statement;
    Ok((
        tokenizer.decode(&statement.prompt)?,
        tokenizer.decode(&statement.output)?,
    ))
}

/// Says what a valid proof shows.
fn say(
    args: &Verify,
    report: &Report,
    coverage: &Coverage,
    (prompt, output): &(String, String),
    seconds: f64,
) -> Result<(), Failure> {
    let (statement, verified) = (coverage.statement, coverage.verified);
    let id = statement.model_id;
    let mut machine = json!({
        "valid": true,
        "complete": verified.complete(),
        "model_id": id.to_string(),
        "prompt": prompt,
        "output": output,
        "layers": statement.layers,
        "layers_proved": verified.layers.len(),
        "layers_total": verified.total,
        "selection": selection_name(statement.selection),
        "seconds": seconds,
    });
    if let Some(share) = coverage.fisher_share() {
        machine["fisher_share"] = json!(share);
    }
    if let Some(challenge) = coverage.challenge {
        machine["catching"] = Odds::of(challenge).to_json();
    }
    if let Selection::Challenge(_) = statement.selection {
        machine["draw_checked"] = json!(coverage.challenge.is_some());
    }
    let pinned = match args.model_id {
        Some(_) => "",
        None => "\n  (compare the model id with one you trust, or pass it as --model-id)",
    };
    let verb = if verified.complete() {
        "answered"
    } else {
        "is said to have answered"
    };
    let human = format!(
        "{}: model {id} {verb} {output:?} to {prompt:?}\n{}{pinned}",
        coverage.verdict(),
        coverage.words(seconds),
    );
    report.result(&machine, &human)
}

fn invalid(report: &Report, proof: &ProofFile, reason: &str) -> Result<Outcome, Failure> {
    let json = json!({
        "valid": false,
        "complete": false,
        "reason": reason,
        "model_id": proof.statement.model_id.to_string(),
    });
    report.result(&json, &format!("NOT VALID: {reason}"))?;
    Ok(Outcome::Invalid)
}
