//! The generators of all commitments, without trusted setup.
//!
//! Every generator is the hash of its name to the curve, under a domain of ours: nobody knows a
//! relation between them. Hashing takes some 20 µs each, so they are kept on disk and recognised
//! by a pinned digest; a file with another digest is not read as points at all.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ff::PrimeField;
use pasta_curves::{Eq, EqAffine, Fq, arithmetic::CurveExt, group::Curve};
use rayon::prelude::*;

use super::affine::Xy;
use super::cache;

const DOMAIN: &str = "nanozk/generators/v1";

/// Uncompressed bytes of a point: x and y, 32 bytes little-endian each.
const POINT_BYTES: usize = 64;

/// The most generators that a store has: 2^18.
pub const MAX_LOG_LEN: usize = 18;

/// The SHA-256 of the cached files, by log2 of the number of G's. Only these sizes are cached.
/// NANOZK_REGENERATE=1 cargo test --release generators_digest -- --nocapture
/// prints them anew.
const DIGESTS: [(usize, &str); 7] = [
    (
        12,
        "383f5b02464b5fc946634026aa64cca8da61257e5b46149bbbe23da0fd7ecc1a",
    ),
    (
        13,
        "5911e869bf64ea82ff26fca18488aa3dbae7814d86d5c4d210b5f6b70014afd7",
    ),
    (
        14,
        "cfabfd42caff5a9ec0689b0ef6f8f5cac05fb81520a057fa3c1c57f8e09fcfdb",
    ),
    (
        15,
        "8c5543ee79b80be25eba9c9702b32bb8f9fbeffac3a8ee2d64bfe9a38c0fb239",
    ),
    (
        16,
        "f8f5dcefb18439477f70879b236cb4a9d40a74c90e22d9daf79454f879699d7b",
    ),
    (
        17,
        "c1d9f8ccfd13f232ce281daceb6b201c09f73f855f4faa3b0234ef590f87bd55",
    ),
    (
        18,
        "52e0a9931b83786debaa167f37a267c92dd2df4bc14665c5b67c4483c877fdee",
    ),
];

/// 2^c generators G for a row's values, U for the value of a claim, H for blinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generators {
    pub g: Vec<EqAffine>,
    pub u: EqAffine,
    pub h: EqAffine,
}

/// Where generators come from: each size is loaded or derived when it is first asked for, and kept for the life of the
/// process.
#[derive(Clone, Debug, Default)]
pub struct GeneratorStore {
    cache_dir: Option<PathBuf>,
}

impl GeneratorStore {
    /// Generators that are cached in `cache_dir`, if there is one.
    pub fn new(cache_dir: Option<PathBuf>) -> Self {
        Self { cache_dir }
    }

    /// 2^log_len of them. Panics beyond 2^[`MAX_LOG_LEN`].
    pub fn get(&self, log_len: usize) -> Arc<Generators> {
        static MADE: [OnceLock<Arc<Generators>>; MAX_LOG_LEN + 1] =
            [const { OnceLock::new() }; MAX_LOG_LEN + 1];
        let made = &MADE[log_len];
        let new = || Generators::load_or_derive(log_len, self.cache_dir.as_deref());
        Arc::clone(made.get_or_init(|| Arc::new(new())))
    }
}

impl Generators {
    /// Hashes 2^log_len + 2 names to the curve, on threads of its own: a thread of the pool that waits for its part
    /// would take up other tasks, which may ask for the same generators.
    pub fn derive(log_len: usize) -> Self {
        let hash = |name: &[u8]| Eq::hash_to_curve(DOMAIN)(name);
        let mut g = vec![EqAffine::default(); 1 << log_len];
        let part = g.len().div_ceil(rayon::current_num_threads());
        std::thread::scope(|scope| {
            for (i, part_of_g) in g.chunks_mut(part).enumerate() {
                scope.spawn(move || {
                    let numbers = (i * part..).take(part_of_g.len());
                    let name = |n: usize| [b"G".as_slice(), &(n as u64).to_le_bytes()].concat();
                    let points: Vec<Eq> = numbers.map(|n| hash(&name(n))).collect();
                    Eq::batch_normalize_vartime(&points, part_of_g);
                });
            }
        });
        Self {
            g,
            u: hash(b"U").to_affine(),
            h: hash(b"H").to_affine(),
        }
    }

    /// The same from `cache_dir` if a file with the pinned digest is there; otherwise derives
    /// them and tries to leave the file for the next time. A cache that cannot be read or written
    /// costs time and nothing else.
    pub fn load_or_derive(log_len: usize, cache_dir: Option<&Path>) -> Self {
        let pinned = DIGESTS.iter().find(|(len, _)| *len == log_len);
        let (Some(dir), Some((_, digest))) = (cache_dir, pinned) else {
            return Self::derive(log_len);
        };
        let path = dir.join(format!("generators-{log_len}-{}.bin", &digest[..8]));
        if let Some(bytes) = cache::read_pinned(&path, digest) {
            return Self::from_bytes(log_len, &bytes)
                .expect("the pinned digest is of valid points");
        }
        let generators = Self::derive(log_len);
        cache::store(&path, &generators.to_bytes());
        generators
    }

    /// log2 of the number of G's.
    pub fn log_len(&self) -> usize {
        self.g.len().trailing_zeros() as usize
    }

    /// U, H, then every G.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(POINT_BYTES * (self.g.len() + 2));
        for point in [&self.u, &self.h].into_iter().chain(&self.g) {
            let Xy { x, y } = Xy::new(point).expect("a hash to the curve is not the identity");
            bytes.extend(x.to_repr());
            bytes.extend(y.to_repr());
        }
        bytes
    }

    /// `None` if the length or a coordinate is wrong. That points lie on the curve follows from
    /// the digest, which the caller has checked.
    fn from_bytes(log_len: usize, bytes: &[u8]) -> Option<Self> {
        if bytes.len() != POINT_BYTES * ((1 << log_len) + 2) {
            return None;
        }
        let coordinate =
            |b: &[u8]| Option::<Fq>::from(Fq::from_repr(b.try_into().expect("32 bytes")));
        let mut points = bytes
            .chunks_exact(POINT_BYTES)
            .map(|b| {
                let (x, y) = b.split_at(POINT_BYTES / 2);
                Some(EqAffine::from_xy_unchecked(coordinate(x)?, coordinate(y)?))
            })
            .collect::<Option<Vec<_>>>()?;
        let g = points.split_off(2);
        Some(Self {
            g,
            u: points[0],
            h: points[1],
        })
    }
}

/// Many points in affine form at the price of one inversion per thread.
pub(crate) fn normalize(points: &[Eq]) -> Vec<EqAffine> {
    let mut affine = vec![EqAffine::default(); points.len()];
    affine
        .par_chunks_mut(256)
        .zip(points.par_chunks(256))
        .for_each(|(affine, points)| Eq::batch_normalize_vartime(points, affine));
    affine
}

#[cfg(test)]
mod tests {
    use super::super::cache::hex_digest;
    use super::*;
    use pasta_curves::arithmetic::CurveAffine;
    use std::fs;

    /// The generators must never move: every published commitment depends on them.
    #[test]
    fn generators_digest_is_pinned() {
        let mut all = Generators::derive(MAX_LOG_LEN);
        for (log_len, pinned) in DIGESTS.into_iter().rev() {
            all.g.truncate(1 << log_len);
            let digest = hex_digest(&all.to_bytes());
            if std::env::var_os("NANOZK_REGENERATE").is_some() {
                println!("generators 2^{log_len}: {digest}");
            } else {
                assert_eq!(digest, pinned);
            }
        }
    }

    #[test]
    fn generators_are_distinct_points_and_sizes_share_their_beginning() {
        let (small, large) = (Generators::derive(3), Generators::derive(4));
        assert_eq!(small.g, large.g[..8]);
        assert_eq!((small.u, small.h), (large.u, large.h));
        assert_eq!((small.log_len(), large.g.len()), (3, 16));
        let mut all: Vec<Vec<u8>> = large
            .to_bytes()
            .chunks(POINT_BYTES)
            .map(<[u8]>::to_vec)
            .collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 18);
        assert!(large.g.iter().all(|p| bool::from(p.is_on_curve())));
    }

    #[test]
    fn the_cache_is_used_only_if_its_digest_is_right() {
        let dir = tempfile::tempdir().unwrap();
        let (log_len, digest) = DIGESTS[0];
        let path = dir
            .path()
            .join(format!("generators-{log_len}-{}.bin", &digest[..8]));
        let derived = Generators::load_or_derive(log_len, Some(dir.path()));
        let bytes = fs::read(&path).expect("the first use leaves a file");
        assert_eq!(hex_digest(&bytes), digest);
        assert_eq!(
            Generators::load_or_derive(log_len, Some(dir.path())),
            derived
        );
        let mut corrupt = bytes.clone();
        corrupt[100] ^= 1;
        for bad in [&corrupt[..], &bytes[..1000], &[]] {
            fs::write(&path, bad).unwrap();
            let again = Generators::load_or_derive(log_len, Some(dir.path()));
            assert_eq!(again, derived);
            assert_eq!(fs::read(&path).unwrap(), bytes, "and it is repaired");
        }
    }

    /// A cache directory that cannot be made is no error.
    #[test]
    fn an_unusable_cache_is_ignored() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log_len = DIGESTS[0].0;
        let generators = Generators::load_or_derive(log_len, Some(&file.path().join("no")));
        assert_eq!(generators.log_len(), log_len);
    }
}
