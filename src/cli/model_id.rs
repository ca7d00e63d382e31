//! `nanozk model-id`.

use serde_json::json;

use super::args::ModelIdArgs;
use super::report::Report;
use super::{Failure, Outcome, store};
use crate::proof::ModelId;

pub fn run(args: &ModelIdArgs, report: &Report) -> Result<Outcome, Failure> {
    let file = store(report).recompute(args.model.name(), args.model.headroom)?;
    let id = file.id().to_string();
    let provenance = &file.model.manifest.provenance;
    let files: serde_json::Map<String, serde_json::Value> = provenance
        .files
        .iter()
        .map(|(name, digest)| (name.clone(), ModelId(*digest).to_string().into()))
        .collect();
    let lines: Vec<String> = files
        .iter()
        .map(|(name, digest)| format!("  {} {name}", digest.as_str().unwrap_or_default()))
        .collect();
    let kind = if provenance.open {
        "open: anyone can recompute it from"
    } else {
        "private"
    };
    let human = format!("{id}\n{kind}\n{}", lines.join("\n"));
    report.result(
        &json!({ "model_id": id, "open": provenance.open, "files": files }),
        &human,
    )?;
    Ok(Outcome::Success)
}
