//! `nanozk verify`.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::args::Verify;
use super::coverage::{Coverage, Odds, selection_name};
use super::prompt::{Given, Source};
use super::report::Report;
use super::selection::{table_if_known, weights};
use super::{Failure, Outcome, stop, store};
use crate::layers::FisherTable;
use crate::proof::{
    Challenge, CommitFile, Kind, ProofFile, Selection, Texts, VerifyError, container, verify,
};
use crate::store::Progress;

pub fn run(args: &Verify, report: &Report) -> Result<Outcome, Failure> {
    let proof: ProofFile = container::read(Kind::Proof, &args.proof)?;
    let audit = Audit::read(args)?;
    let given = args.prompt.read()?;
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
    let store = store(report);
    let file = store.verifying_key(id, args.vk.as_deref(), &args.proof)?;
    let setup = store.setup();
    report.progress("verifying");
    let checked = file.key.decode_for(&proof).and_then(|model| {
        let start = Instant::now();
        let verified = verify(setup, &model, &proof)?;
        Ok((verified, start.elapsed().as_secs_f64()))
    });
    let (verified, seconds) = match checked {
        Ok(checked) => checked,
        // What is wrong with this machine or with the key says nothing about the proof.
        Err(e @ (VerifyError::Randomness(_) | VerifyError::Key(_))) => return Err(e.into()),
        Err(e) => return invalid(report, &proof, &e.to_string()),
    };
    let table = args.fisher.as_deref();
    let known = table_if_known(&store, table, id, verified.total, report)?;
    if let Err(reason) = audit.check(&proof, table.and(known.as_ref())) {
        return invalid(report, &proof, &reason.to_string());
    }
    let tokenizer = file.read_tokenizer()?;
    let template = file.read_chat_template()?;
    // Ids that are given as such need not be the tokenizer's.
    let spelled = !matches!(given, Some(Given::Tokens(_)));
    let wanted = match given {
        Some(Given::Tokens(tokens)) => Some(tokens),
        Some(given) => {
            let source = Source {
                tokenizer: &tokenizer,
                template: Ok(template),
                foreign: true,
            };
            Some(given.prompt(source)?.tokens)
        }
        None => None,
    };
    let own = wanted.as_deref().filter(|_| spelled);
    let texts = Texts::new(&tokenizer, &proof.statement, own)?;
    if let Some(wanted) = wanted.filter(|tokens| *tokens != proof.statement.prompt) {
        return invalid(report, &proof, &other_prompt(&proof, &texts, &wanted));
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

/// Why a proof about another prompt than the verifier's is refused.
fn other_prompt(proof: &ProofFile, texts: &Texts, wanted: &[u32]) -> String {
    let tokens = &proof.statement.prompt;
    let found = match &texts.prompt {
        Some(text) => format!("{text:?}, in tokens {tokens:?}"),
        None => shown(None, tokens),
    };
    format!("its prompt is {found}; yours is {wanted:?}")
}

/// A text, or where it is too long to be read, its tokens.
fn shown(text: Option<&str>, tokens: &[u32]) -> String {
    match text {
        Some(text) => format!("{text:?}"),
        None => format!("the tokens {tokens:?}"),
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
    let id = statement.model_id;
    let end = statement.stop.end(&statement.output);
    let mut machine = json!({
        "valid": verified.complete(),
        "layers_valid": true,
        "model_id": id.to_string(),
        "prompt": texts.prompt,
        "output": texts.output,
        "prompt_tokens": statement.prompt,
        "output_tokens": statement.output,
        "stop": stop::to_json(end),
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
    let (unusual, tokens) = match texts.own_tokens {
        Some(true) => ("", ""),
        Some(false) => (
            " for unusual tokens",
            "\n  the prompt's tokens are not those that the tokenizer makes of this text; with those, the \
             answer may be another one (--prompt accepts no others)",
        ),
        None => (
            " for a long prompt",
            "\n  the prompt is too long to be shown as text, or for its tokens to be compared with those that the \
             tokenizer makes of it (--prompt compares them with those of yours)",
        ),
    };
    let verb = if verified.complete() {
        "answered"
    } else {
        "is said to have answered"
    };
    let output = shown(texts.output.as_deref(), &statement.output);
    let prompt = shown(texts.prompt.as_deref(), &statement.prompt);
    let human = format!(
        "{}{unusual}: model {id} {verb} {output} to {prompt}\n  {}\n{}{tokens}{pinned}",
        coverage.verdict(),
        stop::in_words(end),
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
