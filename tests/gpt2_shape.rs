//! One block of GPT-2 small's shape, from checkpoint files to a verified proof.

use std::time::Instant;

use nanozk::layers::quantize_checkpoint;
use nanozk::model::{Checkpoint, synthetic};
use nanozk::proof::{
    BlindingSeed, Layers, Mode, ModelFile, OpenedModel, ProveOptions, ProveSummary, Setup, prove,
    verify,
};

/// A random model of this shape, committed.
fn opened(layers: usize, vocabulary: usize, context: usize, setup: &Setup) -> OpenedModel {
    let config = synthetic::config(layers, 12, vocabulary, context);
    assert_eq!((config.width, config.hidden), (768, 3072));
    let dir = tempfile::tempdir().expect("a directory");
    let weights = synthetic::weights(&config, 7);
    synthetic::write(dir.path(), &config, &weights, &synthetic::Layout::default())
        .expect("written");
    let checkpoint = Checkpoint::open(dir.path()).expect("a good checkpoint");
    let text = "Every byte is a token of this model. ".repeat(4);
    let model = quantize_checkpoint(&checkpoint, &text, 1, true)
        .expect("quantized")
        .model;
    let tokenizer = checkpoint.tokenizer.to_json();
    let start = Instant::now();
    let file = ModelFile::commit(model, BlindingSeed::OPEN, tokenizer, setup, &|_, _| {});
    println!("committed in {:.1} s", start.elapsed().as_secs_f64());
    file.open().expect("its own key")
}

/// Proves an answer that pads to 16 positions, verifies it and prints what it took.
fn prove_and_verify(
    setup: &Setup,
    model: &OpenedModel,
    mode: Mode,
    max_new_tokens: usize,
) -> ProveSummary {
    let prompt: Vec<u32> = (0..13).map(|i| 65 + 7 * i).collect();
    let options = ProveOptions {
        max_new_tokens,
        mode,
        layers: Layers::All,
    };
    let (proof, summary) = prove(setup, model, &prompt, &options, &|_| {}).expect("proved");
    assert_eq!(proof.statement.padded, 16);
    println!("{mode:?}: {:.2} s, {:?}", summary.seconds, summary.phases);
    for (kind, bytes, seconds) in &summary.layers {
        println!("  {kind}: {bytes} bytes, {seconds:.2} s");
    }
    let start = Instant::now();
    let verified = verify(setup, &model.committed, &proof).expect("valid");
    println!("  verified in {:.2} s", start.elapsed().as_secs_f64());
    assert!(verified.complete());
    summary
}

/// d = 768, 12 heads, d_ff = 3072: correct in both modes, every layer within its size at 16
/// positions. (Random weights; a small vocabulary keeps embedding and head short.)
#[test]
fn a_block_of_gpt2_smalls_shape_is_proved_and_verified() {
    let setup = Setup::new(None);
    let model = opened(1, 512, 64, &setup);
    for mode in [Mode::Bundled, Mode::Separate] {
        for (kind, bytes, _) in prove_and_verify(&setup, &model, mode, 4).layers {
            assert!(bytes <= 7065, "{kind} has {bytes} bytes, more than 6.9 KB");
        }
    }
}

/// All of GPT-2 small's shape, one new token.
#[test]
#[ignore = "takes minutes and gigabytes; prints what it measures"]
fn all_of_gpt2_smalls_shape_is_proved_and_verified() {
    let setup = Setup::new(None);
    let model = opened(12, 50_257, 1024, &setup);
    prove_and_verify(&setup, &model, Mode::Bundled, 1);
}
