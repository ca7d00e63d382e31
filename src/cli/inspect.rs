//! `nanozk inspect`.

use serde_json::{Value, json};

use super::args::Inspect;
use super::report::{Report, bytes};
use super::{Failure, Outcome};
use crate::proof::{Kind, LayerProofs, ProofFile, container};

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
        LayerProofs::Bundled(b) => ("bundled", b.layers.len()),
        LayerProofs::Separate(p) => ("separate", p.len()),
    };
    let size = container::encode(Kind::Proof, proof).len();
    let chain: Vec<String> = s
        .chain
        .iter()
        .map(|c| crate::proof::ModelId(*c).to_string())
        .collect();
    let machine = json!({
        "verified": false,
        "model_id": s.model_id.to_string(),
        "prompt_tokens": s.prompt,
        "output_tokens": s.output,
        "stop": format!("{:?}", s.stop),
        "positions": s.padded,
        "mode": mode,
        "layers": layers,
        "chain": chain,
        "proof_bytes": size,
    });
    let human = format!(
        "not verified: these are the file's own claims\n  model     {}\n  prompt    {:?}\n  output    {:?} (stopped: {:?})\n  positions {}\n  layers    {layers}, {mode}\n  size      {}\n  chain     {}",
        s.model_id,
        s.prompt,
        s.output,
        s.stop,
        s.padded,
        bytes(size),
        chain.join("\n            "),
    );
    (machine, human)
}
