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
    let texts = Texts::new(&file, &model.manifest, &proof, args.prompt.as_deref())?;
    if let Some(wanted) = &texts.other_prompt {
        let reason = format!(
            "its prompt is {:?}, in tokens {:?}; the tokenizer makes {wanted:?} of yours",
            texts.prompt, proof.statement.prompt
        );
        return invalid(report, &proof, &reason);
    }
    let coverage = Coverage {
        statement: &proof.statement,
        verified: &verified,
        challenge: audit.challenge.as_ref(),
        table: known.as_ref(),
    };
    say(args, report, &coverage, &texts, seconds)?;
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
        let commit = |path: &Path| {
            let commit: CommitFile = container::read(Kind::Commitment, path)?;
            commit.layers()?;
            Ok::<_, Failure>(commit)
        };
        Ok(Self {
            challenge: args.challenge.as_deref().map(challenge).transpose()?,
            commit: args.commit.as_deref().map(commit).transpose()?,
        })
    }

    /// Refuses a valid proof that is not what the audit asked for. `table` is one that was given: it
    /// must be the one by whose weights a weighted challenge was drawn.
    fn check(&self, proof: &ProofFile, table: Option<&FisherTable>) -> Result<(), Failure> {
        if let Some(commit) = &self.commit {
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

/// Prompt and output as text, and whether the prompt's tokens are those of the text.
struct Texts {
    prompt: String,
    output: String,
    own_tokens: bool,
    /// The tokens of the prompt that the verifier wants, if they are others.
    other_prompt: Option<Vec<u32>>,
}

impl Texts {
    fn new(
        file: &KeyFile,
        manifest: &Manifest,
        proof: &ProofFile,
        wanted: Option<&str>,
    ) -> Result<Self, Failure> {
        let tokenizer = models::matching_tokenizer(&file.tokenizer, manifest)?;
        let statement = &proof.statement;
        let wanted = wanted.map(|text| tokenizer.encode(text)).transpose()?;
        Ok(Self {
            prompt: tokenizer.decode(&statement.prompt)?,
            output: tokenizer.decode(&statement.output)?,
            own_tokens: tokenizer.is_own_encoding(&statement.prompt),
            other_prompt: wanted.filter(|tokens| *tokens != statement.prompt),
        })
    }
}

/// Says what a valid proof shows.
fn say(
    args: &Verify,
    report: &Report,
    coverage: &Coverage,
    texts: &Texts,
    seconds: f64,
) -> Result<(), Failure> {
    let (statement, verified) = (coverage.statement, coverage.verified);
    let (prompt, output) = (&texts.prompt, &texts.output);
    let id = statement.model_id;
    let mut machine = json!({
        "valid": verified.complete(),
        "layers_valid": true,
        "model_id": id.to_string(),
        "prompt": prompt,
        "output": output,
        "prompt_tokens": statement.prompt,
        "output_tokens": statement.output,
        "prompt_is_tokenizers": texts.own_tokens,
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
    let (unusual, tokens) = if texts.own_tokens {
        ("", "")
    } else {
        (
            " for unusual tokens",
            "\n  the prompt's tokens are not those that the tokenizer makes of this text; with those, the \
             answer may be another one (--prompt accepts no others)",
        )
    };
    let verb = if verified.complete() {
        "answered"
    } else {
        "is said to have answered"
    };
    let human = format!(
        "{}{unusual}: model {id} {verb} {output:?} to {prompt:?}\n{}{tokens}{pinned}",
        coverage.verdict(),
        coverage.words(seconds),
    );
    report.result(&machine, &human)
}

fn invalid(report: &Report, proof: &ProofFile, reason: &str) -> Result<Outcome, Failure> {
    let json = json!({
        "valid": false,
        "layers_valid": false,
        "reason": reason,
        "model_id": proof.statement.model_id.to_string(),
    });
    report.result(&json, &format!("NOT VALID: {reason}"))?;
    Ok(Outcome::Invalid)
}
