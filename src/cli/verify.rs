//! `nanozk verify`.

use std::time::Instant;

use serde_json::json;

use super::args::Verify;
use super::report::Report;
use super::{Failure, Outcome, models};
use crate::proof::{Kind, ProofFile, Setup, VerifyError, container, verify};

pub fn run(args: &Verify, report: &Report) -> Result<Outcome, Failure> {
    let proof: ProofFile = container::read(Kind::Proof, &args.proof)?;
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
    let tokenizer = models::matching_tokenizer(&file.tokenizer, &model.manifest)?;
    let (prompt, output) = (
        tokenizer.decode(&proof.statement.prompt)?,
        tokenizer.decode(&proof.statement.output)?,
    );
    let (proved, total) = (verified.layers.len(), verified.total);
    let machine = json!({
        "valid": true,
        "complete": verified.complete(),
        "model_id": id.to_string(),
        "prompt": prompt,
        "output": output,
        "layers_proved": proved,
        "layers_total": total,
        "seconds": seconds,
    });
    let verdict = if verified.complete() {
        "valid".into()
    } else {
        format!("partial: {proved} of {total} layers")
    };
    let pinned = match args.model_id {
        Some(_) => "",
        None => "\n  (compare the model id with one you trust, or pass it as --model-id)",
    };
    report.result(
        &machine,
        &format!(
            "{verdict}: model {id} answered {output:?} to {prompt:?}\n  all {total} layers, {seconds:.3} s{pinned}"
        ),
    )?;
    Ok(if verified.complete() {
        Outcome::Success
    } else {
        Outcome::Partial
    })
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
