//! `nanozk inspect`.

use serde_json::{Value, json};

use super::args::Inspect;
use super::report::{Report, bytes};
use super::selection::in_words;
use super::{Failure, Outcome, stop};
use crate::proof::{Kind, LayerProofs, ModelId, ProofFile, Selection, container};

pub fn run(args: &Inspect, report: &Report) -> Result<Outcome, Failure> {
    let proof: ProofFile = container::read(Kind::Proof, &args.proof)?;
    let (machine, human) = describe(&proof);
    report.result(&machine, &human)?;
    Ok(Outcome::Success)
}

/// What a file claims, for machines and for people. Nothing of it is checked.
pub fn describe(proof: &ProofFile) -> (Value, String) {
    let s = &proof.statement;
    let (mode, layers) = match &proof.proofs {
        LayerProofs::Bundled(_) => ("bundled", s.layers.len()),
        LayerProofs::Separate(p) => ("separate", p.len()),
    };
    // A file can list any numbers, and have any number of links.
    let blocks = s.chain.len().saturating_sub(1);
    let of = format!("{} of {}", s.layers.len(), blocks + 2);
    let selection = match s.selection {
        Selection::Chosen => "chosen by the prover".to_string(),
        Selection::OwnDraw => "drawn by the prover itself: no audit".to_string(),
        Selection::Challenge(digest) => format!("drawn by challenge {}", ModelId(digest)),
    };
    let listed = in_words(&s.kinds(blocks));
    let size = container::encode(Kind::Proof, proof).len();
    let chain: Vec<String> = s.chain.iter().map(|c| ModelId(*c).to_string()).collect();
    let machine = json!({
        "verified": false,
        "model_id": s.model_id.to_string(),
        "prompt_tokens": s.prompt,
        "output_tokens": s.output,
        "stop": stop::to_json(s.stop.end(&s.output)),
        "positions": s.padded,
        "mode": mode,
        "layers": layers,
        "layers_listed": s.layers,
        "selection": selection,
        "chain": chain,
        "proof_bytes": size,
    });
    let human = format!(
        "not verified: these are the file's own claims\n  model     {}\n  prompt    {:?}\n  output    {:?}\n            {}\n  positions {}\n  layers    {of}: {listed}\n            {mode}; {selection}\n  size      {}\n  chain     {}",
        s.model_id,
        s.prompt,
        s.output,
        stop::in_words(s.stop.end(&s.output)),
        s.padded,
        bytes(size),
        chain.join("\n            "),
    );
    (machine, human)
}
