//! The hidden transcript T1: a Poseidon duplex over F.
//!
//! A *duplex* is a permutation of `WIDTH` field elements, of which the first `RATE = WIDTH − 1`
//! are exposed (the rate) and the last is never touched from outside (the capacity). Absorbing
//! overwrites a word of the rate; squeezing reads word 0 of a freshly permuted state.
//!
//! The scheduling (when to permute) is written once, in [`Duplex`], over the operation of
//! [`SpongeOps`]; the native transcript, the Halo2 circuit and the row counter supply it.
//!
//! # Schedule
//! - *absorb*: overwrite the next rate word; permute as soon as the rate is full.
//! - *squeeze*: permute if words are pending, or if nothing was permuted since the last squeeze;
//!   give out rate word 0. The next absorption starts at rate word 0.
//!
//! There is no padding. It would be needed to tell apart sequences of different lengths, and
//! here the whole sequence of absorptions and squeezes is fixed by the shape, whose digest is the
//! first word absorbed: two conversations that differ in their sequence differ in that word.
//!
//! # Overwriting instead of adding
//! An addition is a row of the circuit for each word absorbed. Without it only the capacity word carries what was said before, and it
//! is all that carries it past an attacker in a sponge that adds, too, as he chooses what is added to the rate: overwriting is as secure (the mode Overwrite of
//! Bertoni, Daemen, Peeters, Van Assche, *Duplexing the sponge*, SAC 2011). What the salt hides stays hidden by a word of 254 bits.
//!
//! # Security of the width-4 parameters
//! Target 128 bits; the capacity is one element of 254 bits, so generic collisions cost 2^127.
//! S-box x⁵ (gcd(5, p−1) = 1), R_F = 8, R_P = 56. The minimal round numbers for t = 4, n = 254,
//! M = 128 after the Poseidon paper (eprint 2019/458, section 5.5), with 6 full rounds:
//!
//! ```text
//! statistical    R_F ≥ 6                          since 128 ≤ (⌊log₂p − 2⌋)·(t+1)
//! interpolation  R_F + R_P ≥ 1 + ⌈128·log₅2⌉ + ⌈log₅t⌉ = 1 + 56 + 1 = 58   →  R_P ≥ 52
//! Gröbner 1      R_F + R_P ≥ 128·log₅2 = 55.1
//! Gröbner 2      R_F + R_P ≥ t − 1 + log₅2·128/(t+1) = 14.0
//! Gröbner 3      (t−1)·R_F + R_P ≥ t − 2 + 128/(2·log₂5) = 29.6
//! ```
//!
//! The paper's margin, two more full rounds and 7.5 % more partial ones, gives R_F = 8 and
//! R_P = ⌈1.075·52⌉ = 56: the numbers of the library's width 3 as well (⌈log₅3⌉ = ⌈log₅4⌉). A test
//! recomputes them, the later Gröbner bound of eprint 2023/537 included. The matrix is the
//! first that the generator yields, as in the reference; a test checks that no subspace trail
//! avoids the S-boxes of the partial rounds for ever.

use std::sync::OnceLock;

use ff::Field;
use halo2_gadgets::poseidon::primitives::{Mds, P128Pow5T3, Spec, generate_constants};

use crate::algebra::F;

/// The permutation of T1 and of the seal circuit. [`WIDTH`] and [`RATE`] belong to it.
///
/// Rate 3 needs two thirds of the permutations of rate 2, which brings the seal of a usual layer
/// from k = 12 to k = 11.
pub type HiddenSpec = Pow5Width4;
/// State words of [`HiddenSpec`].
pub const WIDTH: usize = 4;
/// Words that [`HiddenSpec`] absorbs per permutation.
pub const RATE: usize = WIDTH - 1;

/// Round constants and matrix of a permutation.
pub struct Constants<const WIDTH: usize> {
    /// One constant per word and round.
    pub rounds: Vec<[F; WIDTH]>,
    /// The linear layer, by rows.
    pub mds: Mds<F, WIDTH>,
    /// Its inverse.
    pub mds_inverse: Mds<F, WIDTH>,
}

impl<const WIDTH: usize> From<(Vec<[F; WIDTH]>, Mds<F, WIDTH>, Mds<F, WIDTH>)>
    for Constants<WIDTH>
{
    fn from((rounds, mds, mds_inverse): (Vec<[F; WIDTH]>, Mds<F, WIDTH>, Mds<F, WIDTH>)) -> Self {
        Self {
            rounds,
            mds,
            mds_inverse,
        }
    }
}

/// A Poseidon specification whose constants are computed once per process.
pub trait CachedSpec<const WIDTH: usize, const RATE: usize>: Spec<F, WIDTH, RATE> {
    /// The constants, from the second call on without computing anything.
    fn cached() -> &'static Constants<WIDTH>;
}

impl CachedSpec<3, 2> for P128Pow5T3 {
    fn cached() -> &'static Constants<3> {
        static CONSTANTS: OnceLock<Constants<3>> = OnceLock::new();
        CONSTANTS.get_or_init(|| <Self as Spec<F, 3, 2>>::constants().into())
    }
}

/// Poseidon of width 4, rate 3: x⁵, 8 full and 56 partial rounds (see the module's text).
#[derive(Debug)]
pub struct Pow5Width4;

impl Spec<F, 4, 3> for Pow5Width4 {
    fn full_rounds() -> usize {
        8
    }

    fn partial_rounds() -> usize {
        56
    }

    fn sbox(x: F) -> F {
        x.square().square() * x
    }

    fn secure_mds() -> usize {
        0
    }

    fn constants() -> (Vec<[F; 4]>, Mds<F, 4>, Mds<F, 4>) {
        let c = Self::cached();
        (c.rounds.clone(), c.mds, c.mds_inverse)
    }
}

impl CachedSpec<4, 3> for Pow5Width4 {
    fn cached() -> &'static Constants<4> {
        static CONSTANTS: OnceLock<Constants<4>> = OnceLock::new();
        CONSTANTS.get_or_init(|| generate_constants::<F, Self, 4, 3>().into())
    }
}

/// The Poseidon permutation: R_F/2 full rounds, R_P partial ones, R_F/2 full ones; each adds its
/// constants, applies the S-box (to all words, or to word 0 alone) and the matrix.
pub fn permute<S: CachedSpec<WIDTH, RATE>, const WIDTH: usize, const RATE: usize>(
    state: &mut [F; WIDTH],
) {
    let constants = S::cached();
    let half = S::full_rounds() / 2;
    let partial = half..half + S::partial_rounds();
    for (round, rc) in constants.rounds.iter().enumerate() {
        for (word, c) in state.iter_mut().zip(rc) {
            *word += c;
        }
        let active = if partial.contains(&round) { 1 } else { WIDTH };
        for word in &mut state[..active] {
            *word = S::sbox(*word);
        }
        *state = constants
            .mds
            .map(|row| row.iter().zip(state.iter()).map(|(m, x)| *m * x).sum());
    }
}

/// What a duplex does to its words.
pub trait SpongeOps<const WIDTH: usize> {
    /// A word: a field element, a circuit cell, or nothing at all.
    type Word: Clone;
    /// Why an operation failed.
    type Error;

    /// The permutation of the whole state.
    fn permute(&mut self, state: [Self::Word; WIDTH]) -> Result<[Self::Word; WIDTH], Self::Error>;
}

/// The schedule of the duplex; see the module's text.
#[derive(Clone, Debug)]
pub struct Duplex<W, const WIDTH: usize> {
    state: [W; WIDTH],
    /// Rate words absorbed since the last permutation.
    pending: usize,
    /// Whether word 0 is the output of a permutation that has not been given out.
    fresh: bool,
}

impl<W: Clone, const WIDTH: usize> Duplex<W, WIDTH> {
    /// A state of zeros with the domain's constant in the capacity word.
    pub fn new(zero: W, domain: W) -> Self {
        let mut state: [W; WIDTH] = std::array::from_fn(|_| zero.clone());
        state[WIDTH - 1] = domain;
        Self {
            state,
            pending: 0,
            fresh: false,
        }
    }

    /// Puts `word` in the place of the next word of the rate.
    pub fn absorb<O>(&mut self, ops: &mut O, word: &W) -> Result<(), O::Error>
    where
        O: SpongeOps<WIDTH, Word = W>,
    {
        self.state[self.pending] = word.clone();
        self.pending += 1;
        self.fresh = false;
        if self.pending == WIDTH - 1 {
            self.permute(ops)?;
        }
        Ok(())
    }

    /// Gives out a challenge that depends on everything absorbed so far.
    pub fn squeeze<O>(&mut self, ops: &mut O) -> Result<W, O::Error>
    where
        O: SpongeOps<WIDTH, Word = W>,
    {
        if !self.fresh {
            self.permute(ops)?;
        }
        self.fresh = false;
        Ok(self.state[0].clone())
    }

    fn permute<O>(&mut self, ops: &mut O) -> Result<(), O::Error>
    where
        O: SpongeOps<WIDTH, Word = W>,
    {
        self.state = ops.permute(self.state.clone())?;
        self.pending = 0;
        self.fresh = true;
        Ok(())
    }
}

/// The permutation of plain field elements.
#[derive(Clone, Copy, Debug, Default)]
pub struct NativeOps;

impl SpongeOps<WIDTH> for NativeOps {
    type Word = F;
    type Error = std::convert::Infallible;

    fn permute(&mut self, mut state: [F; WIDTH]) -> Result<[F; WIDTH], Self::Error> {
        permute::<HiddenSpec, WIDTH, RATE>(&mut state);
        Ok(state)
    }
}

/// The capacity word T1 starts from.
pub fn domain() -> F {
    bytes_to_field(b"nanozk/hidden/v2")
}

/// At most 31 bytes, little-endian, as a field element.
fn bytes_to_field(bytes: &[u8]) -> F {
    assert!(bytes.len() < 32, "31 bytes always fit below p");
    bytes.iter().rev().fold(F::ZERO, |acc, b| {
        acc * F::from(256) + F::from(u64::from(*b))
    })
}

/// T1 over field elements, for the prover and for the native verifier.
#[derive(Clone, Debug)]
pub struct HiddenTranscript(Duplex<F, WIDTH>);

impl Default for HiddenTranscript {
    fn default() -> Self {
        Self(Duplex::new(F::ZERO, domain()))
    }
}

impl HiddenTranscript {
    /// Absorbs one field element.
    pub fn absorb(&mut self, x: F) {
        let Ok(()) = self.0.absorb(&mut NativeOps, &x);
    }

    /// A challenge.
    pub fn squeeze(&mut self) -> F {
        let Ok(x) = self.0.squeeze(&mut NativeOps);
        x
    }
}

#[cfg(test)]
#[path = "hidden_tests.rs"]
mod tests;
