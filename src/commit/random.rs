//! Randomness from the operating system: the only source of blinds, masks and salts.

use ff::Field;
use rand::SeedableRng;
use rand::rngs::{StdRng, SysError, SysRng};

use crate::algebra::F;

/// A generator seeded by the operating system.
pub fn fresh_rng() -> Result<StdRng, SysError> {
    StdRng::try_from_rng(&mut SysRng)
}

/// `n` uniform scalars.
pub fn random_scalars(n: usize) -> Result<Vec<F>, SysError> {
    let mut rng = fresh_rng()?;
    Ok((0..n).map(|_| F::random(&mut rng)).collect())
}
