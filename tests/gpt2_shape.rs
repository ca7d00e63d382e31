//! One block of GPT-2 small's shape, from checkpoint files to a verified proof.

use nanozk::layers::quantize_checkpoint;
use nanozk::model::{Checkpoint, synthetic};
use nanozk::proof::{BlindingSeed, Mode, ModelFile, ProveOptions, Setup, prove, verify};

/// d = 768, 12 heads, d_ff = 3072: correct in both modes, every layer within its size at 16
/// positions. (Random weights; a small vocabulary keeps embedding and head short.)
#[test]
fn a_block_of_gpt2_smalls_shape_is_proved_and_verified() {
    let config = synthetic::config(1, 12, 512, 64);
    assert_eq!((config.width, config.hidden), (768, 3072));
    let dir = tempfile::tempdir().expect("a directory");
    let weights = synthetic::gpt2(&config, 7);
    synthetic::write(dir.path(), &config, &weights, &synthetic::Layout::default())
        .expect("written");
    let checkpoint = Checkpoint::open(dir.path()).expect("a good checkpoint");
    let text = "Every byte is a token of this model. ".repeat(4);
    let model = quantize_checkpoint(&checkpoint, &text, 1, true).expect("quantized");
    let tokenizer = checkpoint.tokenizer.to_json();

    let setup = Setup::load(None);
    let file = ModelFile::commit(model, BlindingSeed::OPEN, tokenizer, &setup, &|_, _| {});
    let model = file.open().expect("its own key");
    let prompt = checkpoint
        .tokenizer
        .encode("Every byte is")
        .expect("tokens");
    for mode in [Mode::Bundled, Mode::Separate] {
        let options = ProveOptions {
            max_new_tokens: 4,
            mode,
        };
        let (proof, summary) = prove(&setup, &model, &prompt, &options, &|_| {}).expect("proved");
        assert_eq!(proof.statement.padded, 16);
        for (kind, bytes, seconds) in &summary.layers {
            println!("{mode:?} {kind}: {bytes} bytes, {seconds:.2} s");
            assert!(*bytes <= 7065, "{kind} has {bytes} bytes, more than 6.9 KB");
        }
        println!("{:?}", summary.phases);
        let verified = verify(&setup, &model.committed, &proof).expect("valid");
        assert!(verified.complete());
    }
}
