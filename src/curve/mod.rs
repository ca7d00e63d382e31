//! Vesta, the curve of all commitments: its generators, point encoding and multi-scalar
//! multiplication. The curve's scalar field is [`crate::algebra::F`].

pub mod cache;
pub mod encoding;
pub mod fold;
pub mod generators;
pub mod msm;

mod affine;
mod endomorphism;
#[cfg(target_arch = "x86_64")]
mod packed;

pub use encoding::{EncodingError, PointBytes, ScalarBytes, decode_points};
pub use fold::{ShortChallenge, fold_bases};
pub use generators::{GeneratorStore, Generators, MAX_LOG_LEN};
pub use msm::{msm_field, msm_small, msm_wide};

#[cfg(test)]
pub(crate) mod testing {
    //! Seeded randomness and points for tests.

    use std::convert::Infallible;

    use pasta_curves::{Eq, EqAffine, arithmetic::CurveExt, group::Curve};
    use rand_core::{TryCryptoRng, TryRng};

    /// Blake2b in counter mode under a seed: deterministic, for tests only.
    pub struct TestRng {
        seed: u64,
        counter: u64,
    }

    impl TestRng {
        pub fn new(seed: u64) -> Self {
            Self { seed, counter: 0 }
        }
    }

    impl TryRng for TestRng {
        type Error = Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Infallible> {
            Ok(self.try_next_u64()? as u32)
        }

        fn try_next_u64(&mut self) -> Result<u64, Infallible> {
            let mut bytes = [0; 8];
            self.try_fill_bytes(&mut bytes)?;
            Ok(u64::from_le_bytes(bytes))
        }

        fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Infallible> {
            for chunk in dst.chunks_mut(64) {
                let mut input = [0; 16];
                input[..8].copy_from_slice(&self.seed.to_le_bytes());
                input[8..].copy_from_slice(&self.counter.to_le_bytes());
                self.counter += 1;
                let block = blake2b_simd::blake2b(&input);
                chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
            }
            Ok(())
        }
    }

    impl TryCryptoRng for TestRng {}

    /// Independent points, unrelated to the generators.
    pub fn points(n: usize) -> Vec<EqAffine> {
        let hash = Eq::hash_to_curve("nanozk/test");
        (0..n as u64)
            .map(|i| hash(&i.to_le_bytes()).to_affine())
            .collect()
    }
}
