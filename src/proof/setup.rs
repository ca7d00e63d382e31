//! What proving and verifying need once per process: generators and the seals' keys.

use std::path::{Path, PathBuf};

use crate::algebra::packed;
use crate::curve::GeneratorStore;
use crate::seal::KeyStore;

/// Generators and seal keys, all derived from public strings: nothing here is trusted input.
pub struct Setup {
    pub generators: GeneratorStore,
    pub keys: KeyStore,
}

/// Whether this processor adds up points eight at a time.
pub fn points_in_lanes() -> bool {
    packed::available()
}

impl Setup {
    /// What is cached in `cache` is read from there when it is first needed, what is not is derived and stored.
    pub fn new(cache: Option<&Path>) -> Self {
        let cache: Option<PathBuf> = cache.map(|c| c.join("setup"));
        Self {
            generators: GeneratorStore::new(cache.clone()),
            keys: KeyStore::new(cache),
        }
    }
}
