//! `nanozk commit`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::Commit;
use super::output::check_writable;
use super::prompt::Source;
use super::report::{Report, bytes};
use super::{Failure, Outcome, store};
use crate::proof::{Kind, ModelId, commit, container};
use crate::store::{Progress, ProvableModel};

pub fn run(args: &Commit, report: &Report) -> Result<Outcome, Failure> {
    let secret_path = secret_path(&args.out);
    check_writable(&args.out)?;
    check_writable(&secret_path)?;
    let given = args.prompt.read()?.expect("one way is required");
    let store = store(report);
    let ProvableModel { model, tokenizer } = store.open(args.model.name(), args.model.headroom)?;
    let prompt = given.prompt(Source::own(&model, &tokenizer))?;
    let setup = store.setup();
    report.progress("running and committing");
    let (file, secret) = commit(setup, &model, &prompt.tokens, args.max_new_tokens as usize)?;

    // A commitment without its secret could never be answered for: both are whole, or none is there.
    let encoded = container::encode(Kind::Commitment, &file);
    let secret = container::encode(Kind::Run, &secret);
    let staged = container::stage(&args.out, &encoded, false)?;
    container::stage(&secret_path, &secret, true)?.persist()?;
    staged.persist()?;

    let statement = &file.statement;
    let output = tokenizer.decode(&statement.output)?;
    let commitment = ModelId(statement.commitment()).to_string();
    let layers = file.layers()?;
    let (out, secret) = (args.out.display(), secret_path.display());
    let machine = json!({
        "commitment": commitment,
        "model_id": statement.model_id.to_string(),
        "prompt": prompt.text,
        "output": output,
        "prompt_tokens": statement.prompt,
        "output_tokens": statement.output,
        "tokens_in": statement.prompt.len(),
        "tokens_out": statement.output.len(),
        "layers_total": layers,
        "bytes": encoded.len(),
        "out": out.to_string(),
        "secret": secret.to_string(),
    });
    let human = format!(
        "committed, nothing is proved: model {} answered {output:?} to {:?}\n  commitment {commitment}\n  \
         {out}: {}, for the verifier, who draws from its {layers} layers with `nanozk challenge`\n  \
         {secret}: for `nanozk prove --commit`; keep it secret, delete it after the audit",
        statement.model_id,
        prompt.text,
        bytes(encoded.len()),
    );
    report.result(&machine, &human)?;
    Ok(Outcome::Success)
}

/// Where the secret of a committed run is: FILE.secret.
pub fn secret_path(commit: &Path) -> PathBuf {
    let mut path = OsString::from(commit);
    path.push(".secret");
    path.into()
}
