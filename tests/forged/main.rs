//! Proof files that were changed after proving: whatever a forger edits, exchanges or replays,
//! `verify` refuses it with a reason and never panics.

mod bytes;
mod cheats;
mod edits;
mod parts;
mod splices;
mod swaps;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;

use nanozk::curve::{PointBytes, ScalarBytes};
use nanozk::layers::quantize_checkpoint;
use nanozk::model::embedded;
use nanozk::proof::{
    BlindingSeed, CommittedModel, LayerProofs, Layers, Mode, ModelFile, OpenedModel, ProofFile,
    ProveOptions, Setup, prove, verify,
};
use nanozk::quant::IntegerModel;
use nanozk::seal::bundle::BundleProof;
use rayon::prelude::*;

const CALIBRATION: &str = include_str!("../../src/store/calibration.txt");

/// Two prompts of the embedded model with equally many tokens, so that every part of one's proof
/// has the right size for the other's.
const PROMPTS: [[u32; 3]; 2] = [[65, 300, 101], [200, 17, 950]];

/// Proofs in one mode, all of the same shape.
struct Proofs {
    first: ProofFile,
    /// The same statement, proved again.
    again: ProofFile,
    /// Of the other prompt.
    other_prompt: ProofFile,
    /// The first prompt, by the other model.
    other_model: ProofFile,
}

struct Scene {
    setup: Setup,
    model: OpenedModel,
    /// The same model but for one weight.
    other: OpenedModel,
    bundled: Proofs,
    separate: Proofs,
}

/// The embedded model, committed, and its proofs: made once for all tests.
fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("setup");
        let setup = Setup::new(Some(&cache));
        let checkpoint = embedded::checkpoint().expect("the embedded checkpoint");
        let model = quantize_checkpoint(&checkpoint, CALIBRATION, 1, true)
            .expect("quantized")
            .model;
        let mut other = model.clone();
        other.blocks[1].up.data[17] += 1;
        let [model, other] = [model, other].map(|m| open(&setup, m));
        let [bundled, separate] = [Mode::Bundled, Mode::Separate].map(|mode| Proofs {
            first: proved(&setup, &model, &PROMPTS[0], mode),
            again: proved(&setup, &model, &PROMPTS[0], mode),
            other_prompt: proved(&setup, &model, &PROMPTS[1], mode),
            other_model: proved(&setup, &other, &PROMPTS[0], mode),
        });
        Scene {
            setup,
            model,
            other,
            bundled,
            separate,
        }
    })
}

/// A model, committed under the public seed.
fn open(setup: &Setup, model: IntegerModel) -> OpenedModel {
    let file = ModelFile::commit(model, BlindingSeed::OPEN, Vec::new(), setup, &|_, _| {});
    file.open().expect("its own key")
}

fn proved(setup: &Setup, model: &OpenedModel, prompt: &[u32], mode: Mode) -> ProofFile {
    let options = ProveOptions {
        max_new_tokens: 2,
        mode,
        layers: Layers::All,
    };
    let (proof, _) = prove(setup, model, prompt, &options, &|_| {}).expect("proved");
    verify(setup, &model.committed, &proof).expect("untouched, it is valid");
    proof
}

/// What the verifier makes of a file.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    Refused(String),
    Panicked,
}

/// Verifies `proof` against the model that it names, or the first if there is none of that id.
fn verdict(proof: &ProofFile) -> Verdict {
    let Scene { model, other, .. } = scene();
    let named = [other, model].map(|m| &m.committed);
    let key = named.into_iter().find(|m| m.id == proof.statement.model_id);
    verdict_by(key.unwrap_or(&model.committed), proof)
}

/// Verifies `proof` against a key.
fn verdict_by(key: &CommittedModel, proof: &ProofFile) -> Verdict {
    match catch_unwind(AssertUnwindSafe(|| verify(&scene().setup, key, proof))) {
        Ok(Ok(_)) => Verdict::Accepted,
        Ok(Err(reason)) => Verdict::Refused(reason.to_string()),
        Err(_) => Verdict::Panicked,
    }
}

/// Wants every forgery of `count` refused; `make` gives the n-th with its name, or nothing where the
/// forgery would be no change. The scene has been made: it cannot be made on the thread pool.
fn all_refused(
    what: &str,
    count: usize,
    make: impl Fn(usize) -> Option<(String, ProofFile)> + Sync,
) {
    let verdicts: Vec<(String, Verdict)> = (0..count)
        .into_par_iter()
        .filter_map(|n| make(n).map(|(name, proof)| (name, verdict(&proof))))
        .collect();
    let passed: Vec<_> = verdicts
        .iter()
        .filter(|(_, v)| !matches!(v, Verdict::Refused(_)))
        .collect();
    let (tried, rejected) = (verdicts.len(), verdicts.len() - passed.len());
    println!("{what}: {tried} combinations tried, {rejected} rejected");
    let mut reasons = BTreeMap::new();
    for (_, verdict) in &verdicts {
        *reasons.entry(format!("{verdict:?}")).or_insert(0) += 1;
    }
    for (reason, times) in reasons {
        println!("    {times} times {reason}");
    }
    assert!(tried > 0, "{what}: nothing was tried");
    assert!(passed.is_empty(), "{what}: {passed:#?}");
}

/// The proof of a bundled file.
fn bundle(proof: &mut ProofFile) -> &mut BundleProof {
    match &mut proof.proofs {
        LayerProofs::Bundled(b) => b,
        LayerProofs::Separate(_) => unreachable!("the scene's bundled proofs"),
    }
}

fn bundle_of(proof: &ProofFile) -> &BundleProof {
    match &proof.proofs {
        LayerProofs::Bundled(b) => b,
        LayerProofs::Separate(_) => unreachable!("the scene's bundled proofs"),
    }
}

/// The proofs of a file of separate layers.
fn layers(proof: &mut ProofFile) -> &mut Vec<BundleProof> {
    match &mut proof.proofs {
        LayerProofs::Separate(p) => p,
        LayerProofs::Bundled(_) => unreachable!("the scene's separate proofs"),
    }
}

fn layers_of(proof: &ProofFile) -> &[BundleProof] {
    match &proof.proofs {
        LayerProofs::Separate(p) => p,
        LayerProofs::Bundled(_) => unreachable!("the scene's separate proofs"),
    }
}

const IDENTITY: PointBytes = PointBytes([0; 32]);
/// x = 2^255 − 1 is no field element.
const NO_POINT: PointBytes = PointBytes([0xff; 32]);
/// The modulus begins with 0x40: this is beyond it.
const NO_SCALAR: ScalarBytes = ScalarBytes([0x41; 32]);

/// Changes a scalar, which stays canonical.
fn nudge(scalar: &mut ScalarBytes) {
    scalar.0[0] ^= 1;
}

/// −P for P.
fn negate(point: &mut PointBytes) {
    point.0[31] ^= 0x80;
}
