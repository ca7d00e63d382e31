//! The Halo2 seal: a zero-knowledge proof that the hidden conversation of a layer was held.
//!
//! # Claim
//! For each public instance there is a witness with which [`crate::argument::hidden::converse`]
//! succeeds. See there for the steps, their soundness and what the caller must check.
//!
//! # How
//! `cells` is the conversation's channel in Halo2 cells, `poseidon` the permutation's rows and gates,
//! `circuit` the circuit, `keys` its keys. The proof system is zcash's Halo2 with the inner-product
//! argument over Vesta: no trusted setup. Layers of one shape share a proof, its multi-opening and its
//! inner-product argument.
//!
//! # Layout of the instance column
//! The circuit's constants (0, the duplex's domain, the shape's digest, 1, −1; `instance_column`), then
//! t₀, c_0 …, the a_j of the claims that have one, r_0 …, ρ, E ([`HiddenShape::index`]).
//!
//! # Soundness
//! The verifying key, hashed into the proof's transcript, fixes columns, gates and copies; the instance
//! columns, in which the verifier itself puts the shape's digest and the other constants, are hashed
//! next, before any challenge. Together they fix the conversation of this shape. Why the gates force the
//! permutation stands in `poseidon`. What remains is the knowledge soundness of Halo2 under the discrete
//! logarithm on Vesta.
//!
//! [`HiddenShape::index`]: crate::argument::hidden::HiddenShape::index

pub mod bundle;
mod cells;
mod circuit;
#[cfg(not(test))]
mod faults;
#[cfg(test)]
#[path = "faults_test.rs"]
mod faults;
mod keys;
mod poseidon;

use std::sync::Arc;

use ff::Field;
use halo2_proofs::plonk::{self, VerificationStrategy, create_proof, verify_proof};
use halo2_proofs::poly::commitment::{Guard, MSM};
use halo2_proofs::transcript::{Blake2bRead, Blake2bWrite, Challenge255, EncodedChallenge};
use pasta_curves::EqAffine;
use rand_core::CryptoRng;
use rayon::prelude::*;

pub use keys::{KeyStore, MAX_K, SealKeys};

use crate::algebra::F;
use crate::argument::hidden::{HiddenError, HiddenInstance, HiddenWitness, check};
use circuit::{SealCircuit, instance_column};

/// What can go wrong with a seal.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The circuit has too many rows.
    #[error("the seal would need 2^{k} rows, more than 2^{MAX_K}; use fewer claims or rounds")]
    TooLarge {
        /// log₂ of the rows it needs.
        k: u32,
    },
    /// Key generation failed.
    #[error("Halo2 could not make the seal's keys: {0}")]
    Keys(#[source] plonk::Error),
    /// There is nothing to prove or verify.
    #[error("a seal is about at least one layer")]
    Empty,
    /// An instance or a witness is not of the keys' shape, or does not hold.
    #[error(transparent)]
    Conversation(#[from] HiddenError),
    /// Proving failed.
    #[error("Halo2 could not make the seal: {0}")]
    Proving(#[source] plonk::Error),
    /// The proof is malformed or false.
    #[error("the seal was refused: it does not prove these layers' conversations")]
    Refused(#[source] plonk::Error),
    /// Bytes follow the proof.
    #[error("the seal was refused: {0} bytes follow the proof")]
    TrailingBytes(usize),
}

/// Proves the conversations of several layers of one shape, together.
///
/// Every conversation is checked natively first, so that a false one costs nothing.
///
/// # Errors
/// [`SealError::Empty`]; [`SealError::Conversation`] if an instance and its witness do not fit the
/// keys' shape or each other; [`SealError::Keys`] and [`SealError::Proving`] if Halo2 fails.
pub fn prove(
    keys: &SealKeys,
    layers: &[(HiddenInstance, HiddenWitness)],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, SealError> {
    if layers.is_empty() {
        return Err(SealError::Empty);
    }
    for (instance, witness) in layers {
        check(keys.shape(), instance, witness)?;
    }
    let circuits: Vec<_> = layers
        .iter()
        .map(|(_, witness)| SealCircuit::new(keys.shape(), Some(witness)))
        .collect();
    let instances: Vec<_> = layers.iter().map(|(instance, _)| instance).collect();
    prove_circuits(keys, &circuits, &instances, rng)
}

/// [`prove`] without the native check.
fn prove_circuits(
    keys: &SealKeys,
    circuits: &[SealCircuit<'_>],
    instances: &[&HiddenInstance],
    rng: &mut impl CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let columns = instance_columns(keys, instances.iter().copied());
    let columns: Vec<_> = columns.iter().map(|c| [&c[..]]).collect();
    let columns: Vec<_> = columns.iter().map(|c| &c[..]).collect();
    let mut transcript = Blake2bWrite::<_, EqAffine, Challenge255<_>>::init(Vec::new());
    let key = keys.proving()?;
    create_proof(keys.params(), key, circuits, &columns, rng, &mut transcript)
        .map_err(SealError::Proving)?;
    Ok(transcript.finalize())
}

fn instance_columns<'a>(
    keys: &SealKeys,
    instances: impl IntoIterator<Item = &'a HiddenInstance>,
) -> Vec<Vec<F>> {
    let instances = instances.into_iter();
    instances
        .map(|i| instance_column(keys.shape(), i))
        .collect()
}

/// Verifies one proof of several layers of one shape.
///
/// # Errors
/// [`SealError::Empty`], [`SealError::Conversation`] if an instance is not of the keys' shape,
/// [`SealError::Refused`] or [`SealError::TrailingBytes`] if the proof is not exactly a proof of these
/// instances. Never panics, whatever the bytes.
pub fn verify(
    keys: &SealKeys,
    instances: &[HiddenInstance],
    proof: &[u8],
) -> Result<(), SealError> {
    if reduce(keys, instances, proof)?.eval() {
        Ok(())
    } else {
        Err(not_zero())
    }
}

fn not_zero() -> SealError {
    SealError::Refused(plonk::Error::ConstraintSystemFailure)
}

/// One proof of a batch.
pub struct Sealed<'a> {
    /// The keys of its shape.
    pub keys: Arc<SealKeys>,
    /// Its layers.
    pub instances: Vec<HiddenInstance>,
    /// Its bytes.
    pub proof: &'a [u8],
}

/// Verifies several proofs, of any shapes, in parallel and with one multi-scalar multiplication per
/// circuit size.
///
/// The proofs' final checks are added up with random factors from `rng`, which the prover must not
/// be able to predict.
///
/// # Errors
/// As [`verify`], with the index of a proof that it refuses.
pub fn verify_batch(
    proofs: &[Sealed<'_>],
    rng: &mut impl CryptoRng,
) -> Result<(), (usize, SealError)> {
    if all_hold(proofs, rng)? {
        return Ok(());
    }
    Err((first_false(proofs, rng)?, not_zero()))
}

/// Last equations of proofs of some sizes, one random sum for each k.
type Sums<'k> = Vec<(u32, MSM<'k, EqAffine>)>;

/// Whether the last equations of all proofs hold. They are added up as they are made: each has a scalar for each
/// generator.
fn all_hold(proofs: &[Sealed<'_>], rng: &mut impl CryptoRng) -> Result<bool, (usize, SealError)> {
    let weights: Vec<F> = proofs.iter().map(|_| F::random(&mut *rng)).collect();
    let sums = proofs
        .par_iter()
        .zip(weights)
        .enumerate()
        .map(|(i, (p, weight))| {
            let mut msm = reduce(&p.keys, &p.instances, p.proof).map_err(|e| (i, e))?;
            msm.scale(weight);
            Ok(vec![(p.keys.k(), msm)])
        })
        .try_reduce(Sums::new, |sums, more| Ok(add_up(sums, more)))?;
    Ok(sums.into_par_iter().all(|(_, sum)| sum.eval()))
}

fn add_up<'k>(mut sums: Sums<'k>, more: Sums<'k>) -> Sums<'k> {
    for (k, msm) in more {
        match sums.iter_mut().find(|(size, _)| *size == k) {
            None => sums.push((k, msm)),
            Some((_, sum)) => sum.add_msm(&msm),
        }
    }
    sums
}

/// The first proof whose last equation does not hold, of which there is one: by halves, each verified again, so that
/// they take no longer than all did.
fn first_false(
    proofs: &[Sealed<'_>],
    rng: &mut impl CryptoRng,
) -> Result<usize, (usize, SealError)> {
    if proofs.len() < 2 {
        return Ok(0);
    }
    let (lower, upper) = proofs.split_at(proofs.len() / 2);
    if all_hold(lower, rng)? {
        Ok(lower.len() + first_false(upper, rng).map_err(|(i, e)| (lower.len() + i, e))?)
    } else {
        first_false(lower, rng)
    }
}

/// Verifies everything of a proof but its last equation, which is left as a sum to be zero.
fn reduce<'k>(
    keys: &'k SealKeys,
    instances: &[HiddenInstance],
    proof: &[u8],
) -> Result<MSM<'k, EqAffine>, SealError> {
    if instances.is_empty() {
        return Err(SealError::Empty);
    }
    for instance in instances {
        instance.check(keys.shape())?;
    }
    let columns = instance_columns(keys, instances);
    let columns: Vec<_> = columns.iter().map(|c| [&c[..]]).collect();
    let columns: Vec<_> = columns.iter().map(|c| &c[..]).collect();
    let mut rest = proof;
    let mut transcript = Blake2bRead::<_, EqAffine, Challenge255<_>>::init(&mut rest);
    let strategy = LastEquation(keys.params().empty_msm());
    let msm = verify_proof(
        keys.params(),
        keys.verifying(),
        strategy,
        &columns,
        &mut transcript,
    )
    .map_err(SealError::Refused)?;
    match rest.len() {
        0 => Ok(msm),
        bytes => Err(SealError::TrailingBytes(bytes)),
    }
}

/// The verification strategy that hands out the last equation.
struct LastEquation<'params>(MSM<'params, EqAffine>);

impl<'params> VerificationStrategy<'params, EqAffine> for LastEquation<'params> {
    type Output = MSM<'params, EqAffine>;

    fn process<E: EncodedChallenge<EqAffine>>(
        self,
        f: impl FnOnce(MSM<'params, EqAffine>) -> Result<Guard<'params, EqAffine, E>, plonk::Error>,
    ) -> Result<Self::Output, plonk::Error> {
        Ok(f(self.0)?.use_challenges())
    }
}

#[cfg(test)]
mod tests;
