//! `nanozk generate`.

use serde_json::json;

use super::args::Generate;
use super::report::Report;
use super::{Failure, Outcome, store};
use crate::layers;
use crate::store::{Progress, ProvableModel};

pub fn run(args: &Generate, report: &Report) -> Result<Outcome, Failure> {
    let opened = store(report).open(args.model.name(), args.model.headroom)?;
    let ProvableModel { model, tokenizer } = opened;
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
