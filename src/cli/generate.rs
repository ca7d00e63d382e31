//! `nanozk generate`.

use serde_json::json;

use super::args::Generate;
use super::report::Report;
use super::{Failure, Outcome, models};
use crate::layers;
use crate::proof::Setup;

pub fn run(args: &Generate, report: &Report) -> Result<Outcome, Failure> {
    let home = models::home();
    let setup = Setup::load(home.as_deref());
    let file = models::prover_model(&args.model, home.as_deref(), &setup, report)?;
    let model = file.open()?;
    let tokenizer = models::tokenizer(&model.tokenizer)?;
    let prompt = tokenizer.encode(&args.prompt)?;
    report.progress("generating");

    let tokens = layers::generate(
        &model.model,
        model.op_tables(),
        &prompt,
        args.max_new_tokens as usize,
    )?
    .output;
    let output = tokenizer.decode(&tokens)?;
    let json = json!({
        "model_id": model.committed.id.to_string(),
        "prompt": args.prompt,
        "output": output,
        "tokens_in": prompt.len(),
        "tokens_out": tokens.len(),
    });
    report.result(&json, &format!("{}{output}", args.prompt))?;
    Ok(Outcome::Success)
}
