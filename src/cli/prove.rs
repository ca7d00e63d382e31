//! `nanozk prove`.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Map, json};

use super::args::Prove;
use super::report::{Report, bytes, peak_rss_bytes};
use super::{Failure, Outcome, models};
use crate::proof::{
    Kind, LayerKind, Mode, OpenedModel, ProofFile, ProveOptions, ProveSummary, RunFolder, Setup,
    container, prove, prove_resumable,
};

pub fn run(args: &Prove, report: &Report) -> Result<Outcome, Failure> {
    models::check_writable(&args.out)?;
    let home = models::home();
    report.progress("loading generators");
    let setup = Setup::load(home.as_deref());
    let file = models::prover_model(&args.model, home.as_deref(), &setup, report)?;
    let model = file.open()?;
    let tokenizer = models::tokenizer(&model.tokenizer)?;
    let prompt = tokenizer.encode(&args.prompt)?;
    let progress = |what: &str| report.progress(&format!("proving: {what}"));
    let options = ProveOptions {
        max_new_tokens: args.max_new_tokens as usize,
        mode: if args.separate {
            Mode::Separate
        } else {
            Mode::Bundled
        },
    };
    let say = |what: &str| report.detail(what);
    let folder = home
        .filter(|_| args.separate)
        .and_then(|home| run_folder(&home, &model, &prompt, &options, &say));
    let (proof, summary) = match &folder {
        None => prove(&setup, &model, &prompt, &options, &progress)?,
        Some(folder) => {
            let max = options.max_new_tokens;
            prove_resumable(&setup, &model, &prompt, max, folder, &progress)?
        }
    };
    let encoded = container::encode(Kind::Proof, &proof);
    container::write(&args.out, &encoded, false)?;
    if let Some(Err(e)) = folder.map(RunFolder::remove) {
        report.detail(&format!("the kept layers could not be removed: {e}"));
    }

    let output = tokenizer.decode(&proof.statement.output)?;
    let out = args.out.display().to_string();
    let machine = to_json(args, &proof, &summary, &output, encoded.len(), &out);
    report.result(
        &machine,
        &to_text(args, &proof, &summary, &output, encoded.len(), &out),
    )?;
    Ok(Outcome::Success)
}

/// Where this run keeps its finished layers. That there is no such place is no reason to fail.
fn run_folder<'a>(
    home: &Path,
    model: &OpenedModel,
    prompt: &[u32],
    options: &ProveOptions,
    say: &'a (dyn Fn(&str) + Sync),
) -> Option<RunFolder<'a>> {
    let (runs, id) = (home.join("runs"), model.committed.id);
    let opened = RunFolder::open(&runs, id, prompt, options.max_new_tokens, say);
    let why = |e| say(&format!("no layers are kept: {}: {e}", runs.display()));
    opened.map_err(why).ok()
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
        "layers_resumed": summary.resumed,
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
    if summary.resumed > 0 {
        let _ = writeln!(w, "  {} layers kept of an interrupted run", summary.resumed);
    }
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
