//! What the fuzz targets do, and what they start from.

pub mod readers;
pub mod seeds;

use std::fs;
use std::path::Path;

/// The verifier of the files that `examples/fuzz_seeds.rs` has written.
pub fn verifier() -> readers::Verifier {
    let corpus = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"));
    let read = |name| fs::read(corpus.join(name)).expect("attacks/fuzz/run writes it");
    readers::Verifier::new(corpus, &read("model.vk"), &read("model.proof"))
}
