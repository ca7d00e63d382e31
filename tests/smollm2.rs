//! SmolLM2-135M-Instruct, a published model of Llama's kind, if `models/smollm2/fetch` has fetched it:
//!
//!     models/smollm2/fetch && cargo test --release smollm2 -- --include-ignored --nocapture

use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use nanozk::layers::{Models, Predictions, quantize_checkpoint};
use nanozk::model::{Checkpoint, FloatModel};
use nanozk::ops::Tables as OpTables;
use nanozk::proof::{
    BlindingSeed, Kind, Layers, Mode, ModelFile, ProveOptions, Setup, container, prove, verify,
};
use nanozk::quant::{IntegerModel, Tables};

const FILE: &str = "models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
const TEXT: &str = include_str!("../models/tiny-gpt2/heldout.txt");
const CALIBRATION: &str = include_str!("../src/store/calibration.txt");

/// The checkpoint and its integer model, or `None`, with a message, if it was not fetched.
fn smollm2() -> Option<&'static (Checkpoint, IntegerModel)> {
    static MODEL: OnceLock<Option<(Checkpoint, IntegerModel)>> = OnceLock::new();
    let load = || {
        let path = Path::new(FILE);
        if !path.exists() {
            println!("skipped: {FILE} is not there; models/smollm2/fetch gets it");
            return None;
        }
        let checkpoint = Checkpoint::open(path).expect("the published file");
        let model = quantize_checkpoint(&checkpoint, CALIBRATION, 1, true).expect("quantized");
        Some((checkpoint, model.model))
    };
    MODEL.get_or_init(load).as_ref()
}

/// Perplexity within 0.02 %, greedy tokens equal on at least 99.5 % of more than 2,000 positions.
#[test]
fn smollm2_in_integers_agrees_with_floating_point() {
    let Some((checkpoint, model)) = smollm2() else {
        return;
    };
    let float = FloatModel::new(&checkpoint.config, &checkpoint.weights).expect("loaded");
    let manifest = &model.manifest;
    let tables = Tables::new(&manifest.scales, manifest.architecture.activation);
    let models = Models {
        float: &float,
        integer: model,
        tables: OpTables::from(&tables),
    };
    let tokens = checkpoint.tokenizer.encode(TEXT).expect("tokens");
    let mut all = Predictions::default();
    for window in tokens.chunks_exact(512).take(5) {
        all += models.predict(window).expect("fits its scales");
    }
    println!(
        "{} positions: perplexity {:.5} (float), {:+.4} % (integer), greedy {:.3} %",
        all.positions,
        all.float_perplexity(),
        100.0 * all.difference(),
        100.0 * all.agreement()
    );
    assert!(all.positions > 2000);
    assert!(all.difference().abs() < 2e-4, "{}", all.difference());
    assert!(all.agreement() >= 0.995, "{}", all.agreement());
}

/// All 30 blocks, the embedding and the head of a prompt of eight tokens and one new one.
#[test]
fn smollm2_is_proved_and_verified() {
    let Some((checkpoint, model)) = smollm2() else {
        return;
    };
    let prompt = "The capital of France is the city of";
    let tokens = checkpoint.tokenizer.encode(prompt).expect("tokens");
    assert_eq!(tokens.len(), 8);
    let setup = Setup::new(None);
    let seed = BlindingSeed::OPEN;
    let file = ModelFile::commit(model.clone(), seed, Vec::new(), &setup, &|_, _| {});
    let opened = file.open().expect("its own key");
    let options = ProveOptions {
        max_new_tokens: 1,
        mode: Mode::Bundled,
        layers: Layers::All,
    };
    let (proof, summary) = prove(&setup, &opened, &tokens, &options, &|_| {}).expect("proved");
    let output = checkpoint.tokenizer.decode(&proof.statement.output);
    assert_eq!(output.expect("text"), " Paris");
    let start = Instant::now();
    let verified = verify(&setup, &opened.committed, &proof).expect("valid");
    println!(
        "proved in {:.2} s, verified in {:.3} s, {} bytes",
        summary.seconds,
        start.elapsed().as_secs_f64(),
        container::encode(Kind::Proof, &proof).len()
    );
    assert!(verified.complete());
    assert_eq!(verified.total, 32);
}
