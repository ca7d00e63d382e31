//! `nanozk prove`.

use std::fmt::Write;

use serde_json::{Map, json};

use super::args::Prove;
use super::report::{Report, bytes, peak_rss_bytes};
use super::{Failure, Outcome, models};
use crate::proof::{
    Kind, LayerKind, Mode, ProofFile, ProveOptions, ProveSummary, Setup, container, prove,
};

pub fn run(args: &Prove, report: &Report) -> Result<Outcome, Failure> {
    models::check_writable(&args.out)?;
    let home = models::home();
    report.progress("loading generators");
    let setup = Setup::load(home.as_deref());
    let file = models::prover_model(args.model.model.as_deref(), home.as_deref(), &setup, report)?;
    let model = file.open()?;
    let tokenizer = models::tokenizer(&model.tokenizer)?;
    let prompt = tokenizer.encode(&args.prompt)?;
    let options = ProveOptions {
        max_new_tokens: args.max_new_tokens as usize,
        mode: if args.separate {
            Mode::Separate
        } else {
            Mode::Bundled
        },
    };
    let (proof, summary) = prove(&setup, &model, &prompt, &options, &|phase| {
        report.progress(&format!("proving: {phase}"))
    })?;
    let encoded = container::encode(Kind::Proof, &proof);
    container::write(&args.out, &encoded, false)?;

    let output = tokenizer.decode(&proof.statement.output)?;
    let out = args.out.display().to_string();
    let machine = to_json(args, &proof, &summary, &output, encoded.len(), &out);
    report.result(
        &machine,
        &to_text(args, &proof, &summary, &output, encoded.len(), &out),
    );
    Ok(Outcome::Success)
}

fn kind_name(kind: LayerKind) -> &'static str {
    match kind {
        LayerKind::Embedding => "embedding",
        LayerKind::Block(_) => "block",
        LayerKind::Head => "head",
    }
}

fn to_json(
    args: &Prove,
    proof: &ProofFile,
    summary: &ProveSummary,
    output: &str,
    len: usize,
    out: &str,
) -> serde_json::Value {
    let layers: Vec<_> = summary
        .layers
        .iter()
        .enumerate()
        .map(|(index, (kind, bytes, seconds))| {
            json!({ "index": index, "kind": kind_name(*kind), "bytes": bytes, "seconds": seconds })
        })
        .collect();
    let phases: Map<String, serde_json::Value> = summary
        .phases
        .iter()
        .map(|(name, s)| (name.to_string(), json!(s)))
        .collect();
    json!({
        "model_id": proof.statement.model_id.to_string(),
        "prompt": args.prompt,
        "output": output,
        "tokens_in": proof.statement.prompt.len(),
        "tokens_out": proof.statement.output.len(),
        "layers": layers,
        "proof_bytes": len,
        "seconds": summary.seconds,
        "phases": phases,
        "threads": rayon::current_num_threads(),
        "peak_rss_bytes": peak_rss_bytes(),
        "out": out,
    })
}

fn to_text(
    args: &Prove,
    proof: &ProofFile,
    summary: &ProveSummary,
    output: &str,
    len: usize,
    out: &str,
) -> String {
    let mut text = String::new();
    let s = &proof.statement;
    let w = &mut text;
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        w,
        "proved: model {} answered {output:?} to {:?}",
        s.model_id, args.prompt
    );
    let _ = writeln!(
        w,
        "  {} + {} tokens, {} positions, {} layers, {:.2} s on {} threads",
        s.prompt.len(),
        s.output.len(),
        s.padded,
        summary.layers.len(),
        summary.seconds,
        rayon::current_num_threads()
    );
    for (name, seconds) in &summary.phases {
        let _ = writeln!(w, "  {name:<10} {seconds:>8.2} s");
    }
    for (kind, n, seconds) in &summary.layers {
        let _ = writeln!(
            w,
            "  {:<10} {:>10}   {seconds:>6.2} s",
            kind.to_string(),
            bytes(*n)
        );
    }
    let _ = writeln!(w, "  {out}: {}", bytes(len));
    if let Some(peak) = peak_rss_bytes() {
        let _ = writeln!(w, "  peak memory {}", bytes(peak as usize));
    }
    text
}
