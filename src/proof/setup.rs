//! What proving and verifying need once per process: generators and the seals' keys.

use std::path::{Path, PathBuf};

use crate::curve::Generators;
use crate::seal::KeyStore;

/// log2 of the number of values in a committed row.
pub const ROW_BITS: usize = 14;

/// Generators and seal keys, all derived from public strings: nothing here is trusted input.
pub struct Setup {
    pub generators: Generators,
    pub keys: KeyStore,
}

impl Setup {
    /// Loads what is cached in `cache` and derives the rest, storing it there.
    pub fn load(cache: Option<&Path>) -> Self {
        let cache: Option<PathBuf> = cache.map(|c| c.join("setup"));
        Self {
            generators: Generators::load_or_derive(ROW_BITS, cache.as_deref()),
            keys: KeyStore::new(cache),
        }
    }
}
