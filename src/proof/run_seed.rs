//! The seed from which a run's boundary blinds are derived, where the run is to be taken up again: by a
//! later process that goes on proving, or by one that answers a challenge.

use rand::TryRng;
use rand::rngs::{SysError, SysRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::key::derived_blind;
use super::statement::ModelId;
use crate::algebra::F;
use crate::layers::Generation;

/// Secret: with it, a guess at the run's activations can be confirmed.
#[derive(Serialize, Deserialize)]
pub struct RunSeed {
    pub(super) seed: [u8; 32],
    /// [`run_digest`].
    pub(super) digest: [u8; 32],
}

impl RunSeed {
    /// A fresh seed for this answer.
    pub(super) fn draw(
        model: ModelId,
        prompt: &[u32],
        answer: &Generation,
    ) -> Result<Self, SysError> {
        let mut seed = [0; 32];
        SysRng.try_fill_bytes(&mut seed)?;
        let digest = run_digest(&seed, model, prompt, answer);
        Ok(Self { seed, digest })
    }

    /// Whether it was drawn for this answer, with the same values in every boundary.
    pub(super) fn is_of(&self, model: ModelId, prompt: &[u32], answer: &Generation) -> bool {
        self.digest == run_digest(&self.seed, model, prompt, answer)
    }

    /// The blinds of every boundary's rows, which have 2^row_bits values.
    ///
    /// Commitments to different values under one blind would show their difference. A new run has a
    /// new seed; and should a seed ever come to serve two runs, the digest of all that is committed
    /// to still keeps their blinds apart.
    pub(super) fn blinds(&self, row_bits: usize, answer: &Generation) -> Vec<Vec<F>> {
        let blind =
            |at: [usize; 2]| derived_blind(&self.seed, b"nanozk-boundary2", &self.digest, at);
        let of_boundary = |(boundary, values): (usize, &Vec<i64>)| {
            let rows = values.len().div_ceil(1 << row_bits);
            (0..rows).map(|row| blind([boundary, row])).collect()
        };
        let boundaries = answer.trace.boundaries.iter().enumerate();
        boundaries.map(of_boundary).collect()
    }
}

/// A digest of everything that a run's commitments depend on.
pub(super) fn run_digest(
    seed: &[u8; 32],
    model: ModelId,
    prompt: &[u32],
    answer: &Generation,
) -> [u8; 32] {
    let boundaries = &answer.trace.boundaries;
    tagged_digest(
        "nanozk/run/v1",
        &(seed, model, prompt, &answer.output, boundaries),
    )
}

/// SHA-256 of a tag and a value's encoding.
pub(super) fn tagged_digest<T: Serialize>(tag: &str, value: &T) -> [u8; 32] {
    let bytes = postcard::to_stdvec(value).expect("in-memory values always encode");
    let mut hash = Sha256::new();
    hash.update(tag);
    hash.update(bytes);
    hash.finalize().into()
}
