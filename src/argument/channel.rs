//! The channel over which the hidden conversation is held.
//!
//! The verifier's logic of step 3 (`super::hidden`) is written once, over [`Channel`], with
//! explicit arithmetic. It is instantiated
//! - natively ([`Native`]): values are field elements, a failed assertion is an error;
//! - in Halo2 cells (the seal): an assertion is a copy constraint;
//! - as a [`Counter`]: nothing is computed, the rows of the circuit are counted;
//! - as a [`Recorder`] around any of these: the sequence of (verb, label) walked.

use std::convert::Infallible;

use super::hidden::{HiddenError, HiddenInstance, HiddenShape, HiddenWitness};
use crate::algebra::F;
use crate::transcript::hidden::{Duplex, HiddenTranscript, SpongeOps, WIDTH};

/// A value that only the prover knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// The salt s.
    Salt,
    /// The mask m.
    Mask,
    /// The sum S₀ that the sumcheck starts from.
    Sum,
    /// An element of a round's message.
    Message {
        /// Round, from 0.
        round: usize,
        /// Its place: 0 is g₀.
        place: usize,
    },
    /// The claim v_j.
    Claim(usize),
}

/// A value that both sides know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Public {
    /// The digest t₀ of the public transcript.
    Digest,
    /// The coefficient c_p of product p.
    Coefficient(usize),
    /// The affine offset a_j of claim j.
    Offset(usize),
    /// Coordinate r_i of the sumcheck's point.
    Point(usize),
    /// The challenge ρ.
    Rho,
    /// The masked combination E.
    Masked,
}

/// The verbs of the conversation.
pub trait Channel {
    /// What a value is: a field element, a circuit cell, or nothing.
    type Value: Clone;
    /// Why the conversation was broken off.
    type Error;

    /// A fixed value.
    fn constant(&mut self, c: F) -> Result<Self::Value, Self::Error>;

    /// The next witness value.
    fn secret(&mut self, slot: Secret) -> Result<Self::Value, Self::Error>;

    /// A public value.
    fn public(&mut self, slot: Public) -> Result<Self::Value, Self::Error>;

    /// `a·b + c`.
    fn mul_add(
        &mut self,
        a: &Self::Value,
        b: &Self::Value,
        c: &Self::Value,
    ) -> Result<Self::Value, Self::Error>;

    /// T1 absorbs `x`.
    fn absorb(&mut self, label: &'static str, x: &Self::Value) -> Result<(), Self::Error>;

    /// T1 gives a challenge.
    fn squeeze(&mut self, label: &'static str) -> Result<Self::Value, Self::Error>;

    /// `a = b`; `why` names the check, wherever it fails.
    fn assert_equal(
        &mut self,
        a: &Self::Value,
        b: &Self::Value,
        why: &'static str,
    ) -> Result<(), Self::Error>;

    /// `a + b`.
    fn add(&mut self, a: &Self::Value, b: &Self::Value) -> Result<Self::Value, Self::Error> {
        let one = self.constant(F::from(1))?;
        self.mul_add(a, &one, b)
    }

    /// `a·b`.
    fn mul(&mut self, a: &Self::Value, b: &Self::Value) -> Result<Self::Value, Self::Error> {
        let zero = self.constant(F::from(0))?;
        self.mul_add(a, b, &zero)
    }
}

/// The channel over field elements.
pub struct Native<'a> {
    instance: &'a HiddenInstance,
    witness: &'a HiddenWitness,
    transcript: HiddenTranscript,
}

impl<'a> Native<'a> {
    /// A channel that reads its inputs from `instance` and `witness`.
    ///
    /// # Errors
    /// [`HiddenError::Length`] if one of them does not have the shape's lengths.
    pub fn new(
        shape: &HiddenShape,
        instance: &'a HiddenInstance,
        witness: &'a HiddenWitness,
    ) -> Result<Self, HiddenError> {
        instance.check(shape)?;
        witness.check(shape)?;
        Ok(Self {
            instance,
            witness,
            transcript: HiddenTranscript::default(),
        })
    }
}

impl Channel for Native<'_> {
    type Value = F;
    type Error = HiddenError;

    fn constant(&mut self, c: F) -> Result<F, HiddenError> {
        Ok(c)
    }

    fn secret(&mut self, slot: Secret) -> Result<F, HiddenError> {
        Ok(self.witness.get(slot))
    }

    fn public(&mut self, slot: Public) -> Result<F, HiddenError> {
        Ok(self.instance.get(slot))
    }

    fn mul_add(&mut self, a: &F, b: &F, c: &F) -> Result<F, HiddenError> {
        Ok(*a * b + c)
    }

    fn absorb(&mut self, _: &'static str, x: &F) -> Result<(), HiddenError> {
        self.transcript.absorb(*x);
        Ok(())
    }

    fn squeeze(&mut self, _: &'static str) -> Result<F, HiddenError> {
        Ok(self.transcript.squeeze())
    }

    fn assert_equal(&mut self, a: &F, b: &F, why: &'static str) -> Result<(), HiddenError> {
        if a == b {
            Ok(())
        } else {
            Err(HiddenError::Refused(why))
        }
    }
}

/// What a conversation costs in the circuit.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// Permutations of the hidden transcript.
    pub permutations: usize,
    /// Multiply-add operations.
    pub operations: usize,
    /// Secrets and publics.
    pub inputs: usize,
    /// Distinct constants.
    pub constants: Vec<F>,
}

impl SpongeOps<WIDTH> for Cost {
    type Word = ();
    type Error = Infallible;

    fn permute(&mut self, state: [(); WIDTH]) -> Result<[(); WIDTH], Infallible> {
        self.permutations += 1;
        Ok(state)
    }
}

impl Cost {
    fn constant(&mut self, c: F) {
        if !self.constants.contains(&c) {
            self.constants.push(c);
        }
    }
}

/// The channel that computes nothing and counts.
pub struct Counter {
    duplex: Duplex<(), WIDTH>,
    /// The cost so far.
    pub cost: Cost,
}

impl Default for Counter {
    fn default() -> Self {
        let mut cost = Cost::default();
        // The duplex's initial words.
        cost.constant(F::from(0));
        cost.constant(crate::transcript::hidden::domain());
        Self {
            duplex: Duplex::new((), ()),
            cost,
        }
    }
}

impl Channel for Counter {
    type Value = ();
    type Error = Infallible;

    fn constant(&mut self, c: F) -> Result<(), Infallible> {
        self.cost.constant(c);
        Ok(())
    }

    fn secret(&mut self, _: Secret) -> Result<(), Infallible> {
        self.cost.inputs += 1;
        Ok(())
    }

    fn public(&mut self, _: Public) -> Result<(), Infallible> {
        self.cost.inputs += 1;
        Ok(())
    }

    fn mul_add(&mut self, (): &(), (): &(), (): &()) -> Result<(), Infallible> {
        self.cost.operations += 1;
        Ok(())
    }

    fn absorb(&mut self, _: &'static str, x: &()) -> Result<(), Infallible> {
        self.duplex.absorb(&mut self.cost, x)
    }

    fn squeeze(&mut self, _: &'static str) -> Result<(), Infallible> {
        self.duplex.squeeze(&mut self.cost)
    }

    fn assert_equal(&mut self, (): &(), (): &(), _: &'static str) -> Result<(), Infallible> {
        Ok(())
    }
}

/// One recorded call.
pub type Step = (&'static str, String);

/// Writes down every call and passes it on.
pub struct Recorder<C> {
    inner: C,
    /// The calls so far, as (verb, label).
    pub steps: Vec<Step>,
}

impl<C> Recorder<C> {
    /// Records what is said over `inner`.
    pub fn new(inner: C) -> Self {
        Self {
            inner,
            steps: Vec::new(),
        }
    }

    fn note(&mut self, verb: &'static str, label: impl Into<String>) -> &mut C {
        self.steps.push((verb, label.into()));
        &mut self.inner
    }
}

impl<C: Channel> Channel for Recorder<C> {
    type Value = C::Value;
    type Error = C::Error;

    fn constant(&mut self, c: F) -> Result<C::Value, C::Error> {
        self.note("constant", format!("{c:?}")).constant(c)
    }

    fn secret(&mut self, slot: Secret) -> Result<C::Value, C::Error> {
        self.note("secret", format!("{slot:?}")).secret(slot)
    }

    fn public(&mut self, slot: Public) -> Result<C::Value, C::Error> {
        self.note("public", format!("{slot:?}")).public(slot)
    }

    fn mul_add(&mut self, a: &C::Value, b: &C::Value, c: &C::Value) -> Result<C::Value, C::Error> {
        self.note("mul_add", "").mul_add(a, b, c)
    }

    fn absorb(&mut self, label: &'static str, x: &C::Value) -> Result<(), C::Error> {
        self.note("absorb", label).absorb(label, x)
    }

    fn squeeze(&mut self, label: &'static str) -> Result<C::Value, C::Error> {
        self.note("squeeze", label).squeeze(label)
    }

    fn assert_equal(
        &mut self,
        a: &C::Value,
        b: &C::Value,
        why: &'static str,
    ) -> Result<(), C::Error> {
        self.note("assert_equal", why).assert_equal(a, b, why)
    }
}
