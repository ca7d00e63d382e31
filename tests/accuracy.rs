//! The integer model against the floating-point reference on text that the checkpoint has not seen.

use std::collections::HashSet;

use nanozk::layers::{Models, Predictions, quantize_checkpoint};
use nanozk::model::{Checkpoint, FloatModel, embedded, synthetic};
use nanozk::ops::Tables as OpTables;
use nanozk::quant::{IntegerModel, Tables};

const HELD_OUT: &str = include_str!("../models/tiny-gpt2/heldout.txt");
const CALIBRATION: &str = include_str!("../src/store/calibration.txt");

/// Tokens per window: the checkpoint's context.
const WINDOW: usize = 256;
/// Windows, i.e. 4,096 tokens.
const WINDOWS: usize = 16;

/// The embedded model in both forms.
struct Scene {
    checkpoint: Checkpoint,
    float: FloatModel,
    integer: IntegerModel,
    tables: Tables,
}

impl Scene {
    fn new() -> Self {
        Self::of(embedded::checkpoint().expect("the embedded checkpoint"))
    }

    /// A random model of Llama's kind, large enough for every part to matter.
    fn llama(heads: (usize, usize, usize)) -> Self {
        let config = synthetic::llama_config(2, heads, 300, WINDOW);
        let mut checkpoint = synthetic::checkpoint(config, 5);
        for slot in checkpoint.weights.slots(&checkpoint.config) {
            if slot.shape.len() == 2 {
                slot.values.iter_mut().for_each(|v| *v *= 4.0);
            }
        }
        Self::of(checkpoint)
    }

    fn of(checkpoint: Checkpoint) -> Self {
        let integer = quantize_checkpoint(&checkpoint, CALIBRATION, 1, true)
            .expect("quantized")
            .model;
        let manifest = &integer.manifest;
        Self {
            float: FloatModel::new(&checkpoint.config, &checkpoint.weights).expect("loaded"),
            tables: Tables::new(&manifest.scales, manifest.architecture.activation),
            checkpoint,
            integer,
        }
    }

    fn models(&self) -> Models<'_> {
        Models {
            float: &self.float,
            integer: &self.integer,
            tables: OpTables::from(&self.tables),
        }
    }

    fn held_out(&self) -> Vec<u32> {
        self.checkpoint.tokenizer.encode(HELD_OUT).expect("tokens")
    }
}

/// Perplexity within 0.02 %, greedy tokens equal on at least 99.5 % of positions.
#[test]
fn integer_and_floating_point_models_agree_on_held_out_text() {
    let scene = Scene::new();
    let mut all = Predictions::default();
    for window in scene.held_out().chunks_exact(WINDOW).take(WINDOWS) {
        all += scene.models().predict(window).expect("fits its scales");
    }
    println!(
        "{} positions: perplexity {:.5} (float), {:.5} (integer), {:+.4} %, greedy {:.3} %",
        all.positions,
        all.float_perplexity(),
        all.integer_perplexity(),
        100.0 * all.difference(),
        100.0 * all.agreement()
    );
    assert!(all.positions > 2000);
    let difference = all.difference();
    assert!(
        difference.abs() < 2e-4,
        "perplexity differs by {difference}"
    );
    assert!(all.agreement() >= 0.995, "greedy tokens agree on too few");
}

/// Predictions are those of the reference: its perplexity by another way through the library.
#[test]
fn the_reference_is_measured_as_it_measures_itself() {
    let scene = Scene::new();
    let tokens = &scene.held_out()[..75];
    let mut all = Predictions::default();
    for window in tokens.chunks(50) {
        all += scene.models().predict(window).expect("fits its scales");
    }
    assert_eq!((all.positions, all.tokens), (49 + 24, 75));
    let expected = scene.float.perplexity(tokens, 50).expect("long enough");
    assert!((all.float_perplexity() / expected - 1.0).abs() < 1e-12);
}

/// Every op of every block and of the head within 0.5 % of its tensor's largest value, errors of all
/// earlier layers included; on as many tokens as need no padding, and on fewer.
#[test]
fn every_op_of_every_layer_follows_the_reference() {
    let scene = Scene::new();
    for tokens in [64, 37] {
        assert_follows(&scene, tokens, 10, 5e-3);
    }
}

/// The same for random models of Llama's kind: one head's keys for two, heads of one slab and of two.
#[test]
fn every_op_of_a_llama_follows_the_reference() {
    for heads in [(4, 2, 64), (2, 1, 128), (2, 2, 128)] {
        assert_follows(&Scene::llama(heads), 37, 11, 2e-2);
    }
}

/// Compares the tensors over so many tokens, of which a block has so many.
fn assert_follows(scene: &Scene, tokens: usize, per_block: usize, tolerance: f64) {
    let tokens = &scene.held_out()[..tokens];
    let errors = scene.models().tensor_errors(tokens).expect("runs");
    for e in &errors {
        println!("{} {:?}: {:.4} %", e.layer, e.stage, 100.0 * e.relative);
        let what = (e.layer, e.stage);
        assert!(e.relative < tolerance, "{what:?} is off by {}", e.relative);
        assert!(e.absolute > 0.0, "{what:?} is compared with itself");
    }
    let compared: HashSet<_> = errors.iter().map(|e| (e.layer, e.stage)).collect();
    let layers = scene.integer.manifest.architecture.layers;
    assert_eq!(compared.len(), per_block * layers + 2);
}
