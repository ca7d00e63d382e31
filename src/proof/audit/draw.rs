//! Drawing layers: a function of what was committed to, of the nonce and of the weights.

use rand::TryRng;
use rand::rngs::{SysError, SysRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::proof::run_seed::tagged_digest;
use crate::proof::statement::{MAX_LAYERS, Selection, Statement};

/// A verifier's draw of layers. It is made after the commitment, and binds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// [`Statement::commitment`].
    pub commitment: [u8; 32],
    /// From the verifier's operating system.
    pub nonce: [u8; 32],
    /// How many layers are drawn.
    pub count: u32,
    /// Each layer is drawn in proportion to its weight, which is not 0. All are equal in a uniform draw.
    pub weights: Vec<u32>,
}

/// Why a challenge, or an answer to one, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    #[error("not the commitment to a run: its statement selects layers, or lacks boundaries")]
    CommitFile,
    #[error("the commitments are not those that were challenged: they were changed after the draw")]
    Commitment,
    #[error("a challenge has from 1 to {MAX_LAYERS} weights, none of them 0")]
    Weights,
    #[error("the challenge is about a model of {found} layers, the model has {expected}")]
    Layers { expected: usize, found: usize },
    #[error("{count} of {total} layers cannot be drawn")]
    Count { count: u32, total: usize },
    #[error("the proof answers no challenge: its prover chose the layers")]
    NoAnswer,
    #[error("the proof answers another challenge: another nonce, count or other weights")]
    OtherChallenge,
    #[error("the challenge draws the layers {drawn:?}, the proof proves {proved:?}")]
    Selection { drawn: Vec<u32>, proved: Vec<u32> },
}

impl Challenge {
    /// A challenge with a fresh nonce.
    pub fn new(commitment: [u8; 32], count: u32, weights: Vec<u32>) -> Result<Self, SysError> {
        let mut nonce = [0; 32];
        SysRng.try_fill_bytes(&mut nonce)?;
        Ok(Self {
            commitment,
            nonce,
            count,
            weights,
        })
    }

    /// The challenge's name in the statement that answers it.
    pub fn digest(&self) -> [u8; 32] {
        tagged_digest("nanozk/challenge/v1", self)
    }

    /// Whether every layer is drawn as likely as any other.
    pub fn uniform(&self) -> bool {
        self.weights.windows(2).all(|w| w[0] == w[1])
    }

    /// The layers that it draws, in ascending order.
    pub fn layers(&self) -> Result<Vec<u32>, AuditError> {
        let total = self.weights.len();
        if !(1..=MAX_LAYERS).contains(&total) || self.weights.contains(&0) {
            return Err(AuditError::Weights);
        }
        if self.count == 0 || self.count as usize > total {
            let count = self.count;
            return Err(AuditError::Count { count, total });
        }
        Ok(drawn(self.digest(), &self.weights, self.count))
    }

    /// Refuses a statement that does not answer this challenge: about other commitments, or proving
    /// other layers than those that are drawn.
    pub fn check(&self, statement: &Statement) -> Result<(), AuditError> {
        if statement.commitment() != self.commitment {
            return Err(AuditError::Commitment);
        }
        let (expected, found) = (statement.chain.len() + 1, self.weights.len());
        if expected != found {
            return Err(AuditError::Layers { expected, found });
        }
        match statement.selection {
            Selection::Challenge(digest) if digest == self.digest() => {}
            Selection::Challenge(_) => return Err(AuditError::OtherChallenge),
            Selection::Chosen | Selection::OwnDraw => return Err(AuditError::NoAnswer),
        }
        let drawn = self.layers()?;
        if drawn == statement.layers {
            Ok(())
        } else {
            let proved = statement.layers.clone();
            Err(AuditError::Selection { drawn, proved })
        }
    }
}

/// `count` of `total` layers, uniformly, by the commitments' own hash: the draw of a challenge without
/// a nonce. It shows nothing to anyone but the prover itself.
pub fn own_draw(commitment: [u8; 32], count: u32, total: usize) -> Result<Vec<u32>, AuditError> {
    let challenge = Challenge {
        commitment,
        nonce: [0; 32],
        count,
        weights: vec![1; total],
    };
    challenge.layers()
}

/// Draws without replacement, each time in proportion to the weights of the layers that are left.
fn drawn(seed: [u8; 32], weights: &[u32], count: u32) -> Vec<u32> {
    let mut left: Vec<(u32, u64)> = (0..).zip(weights.iter().map(|w| u64::from(*w))).collect();
    let mut numbers = (0u64..).map(|counter| hashed(&seed, counter));
    let mut layers: Vec<u32> = (0..count)
        .map(|_| {
            let sum = left.iter().map(|(_, w)| w).sum();
            let mut at = below(sum, &mut numbers);
            let hit = left.iter().position(|(_, w)| {
                let inside = at < *w;
                at = at.saturating_sub(*w);
                inside
            });
            left.remove(hit.expect("below the sum")).0
        })
        .collect();
    layers.sort_unstable();
    layers
}

/// The counter-th number of 64 bits.
fn hashed(seed: &[u8; 32], counter: u64) -> u64 {
    let mut hash = Sha256::new();
    hash.update(b"nanozk/draw/v1");
    hash.update(seed);
    hash.update(counter.to_le_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    u64::from_le_bytes(*digest.first_chunk().expect("32 bytes"))
}

/// A uniform number below `n`. Those beyond the largest multiple of n are passed over: their
/// remainders would favour small numbers.
fn below(n: u64, numbers: &mut impl Iterator<Item = u64>) -> u64 {
    let excess = ((1u128 << 64) % u128::from(n)) as u64;
    let kept = |x: &u64| *x <= u64::MAX - excess;
    numbers.find(kept).expect("the counter does not end") % n
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each layer comes up as often as its weight says: 3 to 1 for the first of one draw.
    #[test]
    fn draws_follow_the_weights() {
        let weights = [3, 1, 1, 1];
        let mut hits = [0; 4];
        for n in 0..6000u16 {
            let mut seed = [0; 32];
            seed[..2].copy_from_slice(&n.to_le_bytes());
            let layers = drawn(seed, &weights, 1);
            hits[layers[0] as usize] += 1;
            let all = drawn(seed, &weights, 4);
            assert_eq!(all, [0, 1, 2, 3]);
        }
        // 3,000 and 1,000 are expected, with deviations of 39 and 29; the seeds are fixed.
        assert!((2800..3200).contains(&hits[0]), "{hits:?}");
        assert!(
            hits[1..].iter().all(|h| (850..1150).contains(h)),
            "{hits:?}"
        );
    }

    /// Numbers beyond the largest multiple are passed over, the last one below it is not.
    #[test]
    fn remainders_favour_no_number() {
        let n = (1 << 63) + 1;
        let mut numbers = [u64::MAX, n, n - 1, 5].into_iter();
        assert_eq!(below(n, &mut numbers), n - 1);
        assert_eq!(numbers.next(), Some(5));
        assert_eq!(below(4, &mut [u64::MAX].into_iter()), 3);
        assert_eq!(below(1, &mut [u64::MAX].into_iter()), 0);
    }

    /// What no verifier would send draws nothing, and its numbers overflow nothing.
    #[test]
    fn a_challenge_that_cannot_be_drawn_is_refused() {
        let challenge = |count, weights: &[u32]| Challenge {
            commitment: [1; 32],
            nonce: [2; 32],
            count,
            weights: weights.to_vec(),
        };
        let layers = |count, weights: &[u32]| challenge(count, weights).layers();
        assert_eq!(layers(3, &[u32::MAX; 3]), Ok(vec![0, 1, 2]));
        for (count, total) in [(0, 3), (4, 3), (u32::MAX, 3)] {
            let error = AuditError::Count { count, total };
            assert_eq!(layers(count, &[1; 3]), Err(error));
        }
        assert_eq!(layers(1, &[1, 0]), Err(AuditError::Weights));
        assert_eq!(layers(1, &[]), Err(AuditError::Weights));
        assert_eq!(layers(1, &[1; MAX_LAYERS + 1]), Err(AuditError::Weights));
        assert!(challenge(1, &[5; 3]).uniform() && !challenge(1, &[5, 5, 4]).uniform());
    }

    /// The draw is the one that `docs/container.md` writes down.
    #[test]
    fn a_draw_is_the_documented_hash() {
        let sha = |parts: &[&[u8]]| -> [u8; 32] { Sha256::digest(parts.concat()).into() };
        for n in 0..20 {
            let challenge = Challenge {
                commitment: [1; 32],
                nonce: [n; 32],
                count: 2,
                weights: vec![200, 300, 100, 120],
            };
            let tail = [2, 4, 0xc8, 1, 0xac, 2, 100, 120];
            let digest = sha(&[b"nanozk/challenge/v1", &[1; 32], &[n; 32], &tail]);
            assert_eq!(challenge.digest(), digest);
            let number = |counter: u64, sum: u64| {
                let number = sha(&[b"nanozk/draw/v1", &digest, &counter.to_le_bytes()]);
                u64::from_le_bytes(*number.first_chunk().expect("32 bytes")) % sum
            };
            let pick = |weights: &[(u32, u64)], mut x: u64| {
                let hit = weights.iter().find(|(_, w)| {
                    let inside = x < *w;
                    x = x.wrapping_sub(*w);
                    inside
                });
                *hit.expect("below the sum")
            };
            let mut left = vec![(0, 200), (1, 300), (2, 100), (3, 120)];
            let first = pick(&left, number(0, 720));
            left.retain(|l| *l != first);
            let second = pick(&left, number(1, 720 - first.1));
            let mut layers = vec![first.0, second.0];
            layers.sort_unstable();
            assert_eq!(challenge.layers(), Ok(layers));
        }
    }
}
