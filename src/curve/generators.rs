//! The generators of all commitments, without trusted setup.
//!
//! Every generator is the hash of its name to the curve, under a domain of ours: nobody knows a
//! relation between them. Hashing takes some 20 µs each, so they are kept on disk and recognised
//! by a pinned digest; a file with another digest is not read as points at all.

use std::path::Path;

use ff::PrimeField;
use pasta_curves::{Eq, EqAffine, Fq, arithmetic::CurveExt, group::Curve};
use rayon::prelude::*;

use super::affine::Xy;
use super::cache;

const DOMAIN: &str = "nanozk/generators/v1";

/// Uncompressed bytes of a point: x and y, 32 bytes little-endian each.
const POINT_BYTES: usize = 64;

/// The SHA-256 of the cached files, by log2 of the number of G's. Only these sizes are cached.
/// NANOZK_REGENERATE=1 cargo test --release generators_digest -- --nocapture
/// prints them anew.
const DIGESTS: [(usize, &str); 1] = [(
    14,
    "cfabfd42caff5a9ec0689b0ef6f8f5cac05fb81520a057fa3c1c57f8e09fcfdb",
)];

/// 2^c generators G for a row's values, U for the value of a claim, H for blinds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generators {
    pub g: Vec<EqAffine>,
    pub u: EqAffine,
    pub h: EqAffine,
}

impl Generators {
    /// Hashes 2^log_len + 2 names to the curve.
    pub fn derive(log_len: usize) -> Self {
        let hash = |name: &[u8]| Eq::hash_to_curve(DOMAIN)(name);
        let g: Vec<Eq> = (0..1u64 << log_len)
            .into_par_iter()
            .map(|i| hash(&[b"G".as_slice(), &i.to_le_bytes()].concat()))
            .collect();
        Self {
            g: normalize(&g),
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
            .par_chunks_exact(POINT_BYTES)
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
        for (log_len, pinned) in DIGESTS {
            let digest = hex_digest(&Generators::derive(log_len).to_bytes());
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
