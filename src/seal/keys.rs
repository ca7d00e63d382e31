//! Keys of the seal: generators, verifying and proving key of a shape.
//!
//! Nothing here is secret or shipped: both sides derive the keys from the shape, in a fraction of a
//! second, and keep them for the life of the process. The generators (hash-to-curve, then their
//! Lagrange basis) take seconds and are therefore kept on disk as well. A file is used only if its
//! SHA-256 is the one pinned below.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

use halo2_proofs::plonk::{ProvingKey, VerifyingKey, keygen_pk, keygen_vk};
use halo2_proofs::poly::commitment::Params;
use pasta_curves::EqAffine;

use super::SealError;
use super::circuit::{SealCircuit, smallest_k};
use crate::argument::hidden::HiddenShape;
use crate::curve::cache;

/// A shape that needs more rows than 2^MAX_K has no keys.
pub const MAX_K: u32 = 14;

/// SHA-256 of the generators' files, by k. Other sizes are always made from scratch.
const PINNED: [(u32, &str); 2] = [
    (
        11,
        "1eab6f93a080ce41b908d935c04bd2e3ed1ac23f277c15d11c499d56d28fa0f7",
    ),
    (
        12,
        "1b97b06da453b9efb1ae18b9ba77c3d870f22dc72898297d5707e340c3f44865",
    ),
];

/// The keys of one shape.
pub struct SealKeys {
    shape: HiddenShape,
    params: Arc<Params<EqAffine>>,
    verifying: VerifyingKey<EqAffine>,
    proving: OnceLock<ProvingKey<EqAffine>>,
}

/// Where seal keys come from: derived per shape, with Halo2's parameters cached on disk.
#[derive(Clone, Debug, Default)]
pub struct KeyStore {
    cache_dir: Option<PathBuf>,
}

impl KeyStore {
    /// Keys whose parameters are cached in `cache_dir`, if there is one.
    pub fn new(cache_dir: Option<PathBuf>) -> Self {
        Self { cache_dir }
    }

    /// The keys of a shape; made once per process.
    pub fn for_shape(&self, shape: &HiddenShape) -> Result<Arc<SealKeys>, SealError> {
        SealKeys::for_shape(shape, self.cache_dir.as_deref())
    }
}

impl SealKeys {
    /// The keys of `shape`, from the process's cache or newly made. `cache_dir` is where the
    /// generators are kept on disk; with `None` they are not.
    ///
    /// # Errors
    /// [`SealError::TooLarge`] if the circuit would not fit 2^[`MAX_K`] rows.
    pub fn for_shape(
        shape: &HiddenShape,
        cache_dir: Option<&Path>,
    ) -> Result<Arc<Self>, SealError> {
        static CACHE: LazyLock<Cache<HiddenShape, SealKeys>> = LazyLock::new(Cache::default);
        CACHE.get_or_make(shape, || Self::generate(shape, cache_dir))
    }

    fn generate(shape: &HiddenShape, cache_dir: Option<&Path>) -> Result<Self, SealError> {
        let k = smallest_k(shape);
        if k > MAX_K {
            return Err(SealError::TooLarge { k });
        }
        let params = shared_params(k, cache_dir);
        let verifying =
            keygen_vk(&params, &SealCircuit::new(shape, None)).map_err(SealError::Keys)?;
        Ok(Self {
            shape: shape.clone(),
            params,
            verifying,
            proving: OnceLock::new(),
        })
    }

    /// The shape these keys belong to.
    pub fn shape(&self) -> &HiddenShape {
        &self.shape
    }

    /// log₂ of the circuit's rows.
    pub fn k(&self) -> u32 {
        self.params.k()
    }

    pub(super) fn params(&self) -> &Params<EqAffine> {
        &self.params
    }

    pub(super) fn verifying(&self) -> &VerifyingKey<EqAffine> {
        &self.verifying
    }

    /// The proving key, made when it is first asked for: a verifier never needs it.
    ///
    /// # Errors
    /// [`SealError::Keys`] if Halo2 fails to make it.
    pub fn proving(&self) -> Result<&ProvingKey<EqAffine>, SealError> {
        if let Some(key) = self.proving.get() {
            return Ok(key);
        }
        let circuit = SealCircuit::new(&self.shape, None);
        let key =
            keygen_pk(&self.params, self.verifying.clone(), &circuit).map_err(SealError::Keys)?;
        Ok(self.proving.get_or_init(|| key))
    }
}

/// Values that the process makes once and keeps.
///
/// No lock is held while a value is made. To make one takes the thread pool, where a thread that waits
/// for a part of its work takes up other tasks; one of them may ask for the same value and would wait
/// for its own thread for ever. So values of different keys are made side by side, and one that is asked
/// for twice at the same time may be made twice, in which case the first stays.
struct Cache<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    fn get_or_make<E>(&self, key: &K, make: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        if let Some(value) = self.lock().get(key) {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(make()?);
        Ok(Arc::clone(self.lock().entry(key.clone()).or_insert(value)))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Generators of one size, shared by all shapes of the process.
fn shared_params(k: u32, cache_dir: Option<&Path>) -> Arc<Params<EqAffine>> {
    static CACHE: LazyLock<Cache<u32, Params<EqAffine>>> = LazyLock::new(Cache::default);
    let Ok(params) = CACHE.get_or_make(&k, || {
        let pinned = PINNED.iter().find(|(size, _)| *size == k);
        Ok::<_, Infallible>(match (cache_dir, pinned) {
            (Some(dir), Some((_, pin))) => cached_params(k, pin, dir),
            _ => Params::new(k),
        })
    });
    params
}

/// Generators from their file in `dir`; if that is missing or damaged they are made again and the
/// file is replaced. That the file cannot be written is no error: it only saves time.
fn cached_params(k: u32, pin: &str, dir: &Path) -> Params<EqAffine> {
    let path = dir.join(format!("halo2-params-k{k}.bin"));
    if let Some(bytes) = cache::read_pinned(&path, pin)
        && let Ok(params) = Params::read(&mut &bytes[..])
    {
        return params;
    }
    let params = Params::new(k);
    cache::store(&path, &serialize(&params));
    params
}

fn serialize(params: &Params<EqAffine>) -> Vec<u8> {
    let mut bytes = Vec::new();
    params
        .write(&mut bytes)
        .expect("a vector can always be written to");
    bytes
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;
    use crate::curve::cache::hex_digest;

    /// Tasks of the thread pool may ask for keys, which are made on that pool; and all get the same ones.
    #[test]
    fn keys_are_made_on_the_thread_pool() {
        let shapes = [2, 3, 4, 5]
            .map(|degree| HiddenShape::new(2, degree, vec![false; 2], vec![vec![0, 1]]).unwrap());
        let shapes: Vec<_> = shapes.iter().cycle().take(32).collect();
        let keys = |shape: &&HiddenShape| SealKeys::for_shape(shape, None).unwrap();
        let keys: Vec<_> = shapes.par_iter().map(keys).collect();
        for (i, (key, shape)) in keys.iter().zip(&shapes).enumerate() {
            assert!(key.shape() == *shape && Arc::ptr_eq(key, &keys[i % 4]));
        }
    }

    /// Protects the pins and the cache: made once, read back, remade when damaged.
    #[test]
    fn cached_generators_are_pinned_and_healed() {
        let dir = tempfile::tempdir().unwrap();
        let (k, pin) = PINNED[0];
        let fresh = serialize(&cached_params(k, pin, dir.path()));
        assert_eq!(hex_digest(&fresh), pin);
        let path = dir.path().join("halo2-params-k11.bin");
        assert_eq!(std::fs::read(&path).unwrap(), fresh);
        assert_eq!(serialize(&cached_params(k, pin, dir.path())), fresh);

        let mut damaged = fresh.clone();
        damaged[100] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(serialize(&cached_params(k, pin, dir.path())), fresh);
        assert_eq!(std::fs::read(&path).unwrap(), fresh);
    }

    /// The larger pin, which takes longer to recompute.
    #[test]
    fn larger_generators_are_pinned() {
        let (k, pin) = PINNED[1];
        assert_eq!(hex_digest(&serialize(&Params::new(k))), pin);
    }
}
