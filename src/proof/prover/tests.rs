//! Cheating provers against the real verifier, one by one: other weights, another token, a bad layer
//! among good ones. Changes of every column are in `tamper.rs`.

use std::sync::OnceLock;

use ff::Field;

use super::*;
use crate::algebra::F;
use crate::layers::Sequence;
use crate::layers::testing::{decoders, model};
use crate::proof::run::commit_run;
use crate::proof::statement::Stop;
pub use crate::proof::testing::SHAPE;
use crate::proof::testing::{PROMPT, tiny_decoder, tiny_llama, tiny_model};
use crate::proof::verifier::{Bundle, Check};
use crate::proof::{BlindingSeed, ModelFile};
use crate::system::{ColumnId, Segment, Values, Witness};

pub struct Scene {
    pub setup: Setup,
    pub model: OpenedModel,
}

impl Scene {
    /// The number of the model's blocks.
    pub fn blocks(&self) -> usize {
        self.model.model.blocks.len()
    }
}

/// A small random model, committed once for all tests.
pub fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let setup = Setup::new(None);
        Scene {
            model: tiny_model(&setup),
            setup,
        }
    })
}

/// The same of Llama's kind.
pub fn llama_scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let setup = Setup::new(None);
        Scene {
            model: tiny_llama(&setup),
            setup,
        }
    })
}

/// One of the decoders of `layers::testing`.
pub fn decoder_scene(name: &str) -> Scene {
    let mut all = decoders().into_iter();
    let (_, manifest) = all.find(|(n, _)| *n == name).expect("one of them");
    let setup = Setup::new(None);
    Scene {
        model: tiny_decoder(manifest, &setup),
        setup,
    }
}

pub fn honest_run(scene: &Scene) -> Run {
    run_of(scene, &PROMPT, 2)
}

/// The honest run of a prompt and so many new tokens.
fn run_of(scene: &Scene, prompt: &[u32], new: usize) -> Run {
    let answer = layers::generate(&scene.model.model, scene.model.op_tables(), prompt, new)
        .expect("it runs");
    commit_run(&scene.setup, &scene.model, prompt, answer).expect("it fits")
}

/// Proves one layer of `run` and verifies it. `Ok` is what the verifier accepts.
fn prove_and_verify(scene: &Scene, run: &Run, kind: LayerKind) -> Result<(), String> {
    let proof = prove_bundle(&scene.setup, &scene.model, run, &[kind], &|_| {})
        .map_err(|e| format!("not proved: {e}"))?;
    verify_bundle(scene, run, &[kind], &proof)
}

/// Verifies a bundle of some layers of `run`.
pub fn verify_bundle(
    scene: &Scene,
    run: &Run,
    kinds: &[LayerKind],
    proof: &BundleProof,
) -> Result<(), String> {
    let manifest = &scene.model.model.manifest;
    let sequence = run
        .statement
        .validate(&manifest.architecture)
        .map_err(|e| e.to_string())?;
    let check = Check {
        setup: &scene.setup,
        model: &scene.model.committed,
        statement: &run.statement,
        sequence: &sequence,
        boundaries: &run.commitments,
    };
    let bundle = Bundle { kinds, proof };
    check.all(&[bundle]).map_err(|e| format!("refused: {e}"))
}

/// Adds `delta` to one entry of a column.
fn change(witness: &mut Witness, column: usize, entry: usize, delta: i32) {
    match witness.values[column].as_mut().expect("a witness column") {
        Values::Small(v) => v[entry] += delta,
        Values::Wide(v) => v[entry] += i128::from(delta),
    }
}

/// The values outside a layer's witness: activations, weights.
#[test]
fn boundaries_and_weights_are_bound() {
    let scene = scene();
    let block = LayerKind::Block(0);

    let mut run = honest_run(scene);
    run.trace.boundaries[0][5] += 1;
    assert!(
        prove_and_verify(scene, &run, block).is_err(),
        "an input other than the committed one"
    );
    let mut run = honest_run(scene);
    run.trace.boundaries[1][5] += 1;
    assert!(
        prove_and_verify(scene, &run, block).is_err(),
        "an output other than the committed one"
    );

    // A prover with another weight, which runs and commits to everything that follows from it.
    let mut seed_model = model(SHAPE, 5);
    seed_model.manifest = scene.model.model.manifest.clone();
    seed_model.positions = scene.model.model.positions.clone();
    seed_model.blocks[0].up.data[17] += 1;
    let file = ModelFile {
        model: seed_model,
        seed: BlindingSeed([7; 32]),
        tokenizer: Vec::new(),
        chat_template: None,
        key: crate::proof::VerifyingKey::clone(&scene_key(scene)),
    };
    let cheat = Scene {
        setup: Setup::new(None),
        model: file.open().expect("the honest key"),
    };
    let run = honest_run(&cheat);
    assert!(
        prove_and_verify(&cheat, &run, block).is_err(),
        "a weight other than the committed one"
    );
    assert!(
        prove_and_verify(&cheat, &run, LayerKind::Embedding).is_ok(),
        "the embedding is untouched"
    );
}

/// The scene's key, committed again: it is deterministic.
fn scene_key(scene: &Scene) -> crate::proof::VerifyingKey {
    crate::proof::commit_model(
        &scene.model.model,
        &BlindingSeed([7; 32]),
        &scene.setup.generators,
        &|_, _| {},
    )
}

/// A head that claims another token than the greedy one, with the honest witness and with one that
/// moves A and D as far as they go.
#[test]
fn another_token_than_the_greedy_one_is_refused() {
    let scene = scene();
    let mut run = honest_run(scene);
    let a = &scene.model.model.manifest.architecture;
    let last = run.statement.output.len() - 1;
    let honest = run.statement.output[last];
    run.statement.output[last] = (honest + 1) % (a.vocabulary as u32 - 1);
    run.statement.stop = Stop::Length;
    run.trace.sequence =
        Sequence::new(&run.statement.prompt, &run.statement.output, a).expect("it fits");
    assert!(prove_and_verify(scene, &run, LayerKind::Head).is_err());
}

/// A bundle with one bad layer among good ones, and one whose two errors would cancel if layers
/// shared their randomness.
#[test]
fn a_bad_layer_spoils_its_bundle() {
    let scene = scene();
    let kinds: Vec<LayerKind> = LayerKind::all(SHAPE.layers).collect();
    for spoiled in 0..kinds.len() {
        let mut run = honest_run(scene);
        let layer = systems::layer(
            &scene.model.model.manifest,
            &run.trace.sequence,
            kinds[spoiled],
        );
        let column = layer
            .system
            .columns
            .iter()
            .position(|c| c.segment == Segment::Key)
            .expect("a key");
        change(&mut run.witnesses[spoiled], column, 0, 1);
        assert_eq!(layer.layout.offset(ColumnId(column)) % 64, 0);
        let proof =
            prove_bundle(&scene.setup, &scene.model, &run, &kinds, &|_| {}).expect("proved");
        let file = run.into_file(LayerProofs::Bundled(Box::new(proof)));
        assert!(
            crate::proof::verify(&scene.setup, &scene.model.committed, &file).is_err(),
            "{}",
            kinds[spoiled]
        );
    }
}

/// The mask is said to be another than the committed one.
#[test]
fn a_mask_is_the_committed_one() {
    let scene = scene();
    let kinds: Vec<LayerKind> = LayerKind::all(SHAPE.layers).collect();
    let run = honest_run(scene);
    for (lie, accepted) in [(F::ZERO, true), (F::ONE, false)] {
        let lie = |secrets: &mut [LayerSecret], _: &mut [BoundarySecret]| {
            secrets[1].data.cheat.mask = lie;
        };
        let proof = prove_spoiled(&scene.setup, &scene.model, &run, &kinds, &|_| {}, lie);
        let verdict = verify_bundle(scene, &run, &kinds, &proof.expect("proved"));
        assert_eq!(verdict.is_ok(), accepted, "{verdict:?}");
    }
}

/// The model was run on other tokens than those of the statement: another prompt's, or with a token
/// fed back that is not the one that was put out. The embedding tells.
#[test]
fn a_run_of_other_tokens_is_refused() {
    let scene = scene();
    let a = &scene.model.model.manifest.architecture;
    let honest = honest_run(scene);
    let mut fed_back = PROMPT.to_vec();
    fed_back.push((honest.statement.output[0] + 1) % 60);
    let prompt = [PROMPT[0], PROMPT[1], PROMPT[2] + 1];
    for (other, new) in [(&prompt[..], 2), (&fed_back, 1)] {
        let mut run = run_of(scene, other, new);
        assert_eq!(run.statement.padded, honest.statement.padded);
        run.statement.prompt = PROMPT.to_vec();
        run.statement.output.clone_from(&honest.statement.output);
        let (prompt, output) = (&run.statement.prompt, &run.statement.output);
        run.trace.sequence = Sequence::new(prompt, output, a).expect("it fits");
        let verdict = prove_and_verify(scene, &run, LayerKind::Embedding);
        assert!(verdict.is_err_and(|why| why.starts_with("refused")));
    }
}
