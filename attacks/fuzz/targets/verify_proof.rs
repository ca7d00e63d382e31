#![no_main]

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use nanozk_fuzz::readers::Verifier;

/// What `examples/fuzz_seeds.rs` has written.
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let corpus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"));
    let read = |name| fs::read(corpus.join(name)).expect("attacks/fuzz/run writes it");
    Verifier::new(corpus, &read("model.vk"), &read("model.proof"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    VERIFIER.read(data);
});
