//! Verifying a bundle.

use ff::Field;
use pasta_curves::EqAffine;

use super::{
    BundleError, BundleProof, BundlePublic, Fold, Opened, Reduced, RowMap, absorb_headers,
    absorb_reduced, draw_tau, instance, seed,
};
use crate::algebra::F;
use crate::argument::claims::DataFunctional;
use crate::argument::stack::Conversation;
use crate::commit::{FinalMsm, FoldPoint, ValueCommitment, fresh_rng, opening};
use crate::curve::{PointBytes, ScalarBytes, decode_points as decode_all};
use crate::seal::{KeyStore, Sealed};
use crate::transcript::Transcript;

/// A bundle's group elements and scalars, decoded.
struct Decoded {
    mask: EqAffine,
    witness: Vec<EqAffine>,
    helper: Vec<EqAffine>,
    round: Vec<F>,
    rho: F,
    masked: F,
}

fn decode_points(what: &'static str, points: &[PointBytes]) -> Result<Vec<EqAffine>, BundleError> {
    decode_all(points).map_err(|source| BundleError::Encoding { what, source })
}

/// Checks every count of the proof and of the model's commitments against the layers' shapes, so
/// that nothing below can be misaligned.
fn check_counts(
    conversation: &Conversation,
    map: &RowMap,
    proof: &BundleProof,
) -> Result<(), BundleError> {
    for (what, expected, found) in [
        ("witness rows", map.witness_rows, proof.witness.len()),
        ("helper rows", map.helper_rows, proof.helper.len()),
        ("rounds", conversation.rounds(), proof.round.len()),
    ] {
        check_total(what, expected, found)?;
    }
    proof.opening.check_rounds(map.rows, map.row_bits)?;
    Ok(())
}

/// Checks the numbers of rows of what is committed to elsewhere, on which the places of all else depend.
fn check_external_rows(public: &BundlePublic) -> Result<(), BundleError> {
    for l in public.layers {
        let layout = &l.layer.layout;
        let boundary = |b: Option<usize>| b.map_or(0, |b| public.boundaries[b].len());
        let mut counts = vec![
            (
                "vector rows",
                layout.rows(layout.vectors_len),
                l.vectors.len(),
            ),
            (
                "input rows",
                layout.rows(layout.boundary_in_len),
                boundary(l.boundary_in),
            ),
            (
                "output rows",
                layout.rows(layout.boundary_out_len),
                boundary(l.boundary_out),
            ),
        ];
        for (n, rows) in l.layer.matrix_rows() {
            let found = l.matrices.get(n).map_or(0, |m| m.len());
            counts.push(("matrix rows", rows, found));
        }
        for (what, expected, found) in counts {
            if expected != found {
                return Err(BundleError::Count {
                    layer: l.index,
                    what,
                    expected,
                    found,
                });
            }
        }
    }
    Ok(())
}

fn check_total(what: &'static str, expected: usize, found: usize) -> Result<(), BundleError> {
    if expected == found {
        Ok(())
    } else {
        Err(BundleError::Total {
            what,
            expected,
            found,
        })
    }
}

impl Decoded {
    /// Decodes everything of a proof whose counts have been checked.
    fn new(proof: &BundleProof) -> Result<Self, BundleError> {
        let round = proof.round.iter().map(|s| scalar("round challenge", s));
        Ok(Self {
            mask: decode_points("mask", &[proof.mask])?[0],
            witness: decode_points("witness row", &proof.witness)?,
            helper: decode_points("helper row", &proof.helper)?,
            round: round.collect::<Result<_, _>>()?,
            rho: scalar("rho", &proof.rho)?,
            masked: scalar("E", &proof.masked)?,
        })
    }
}

fn scalar(what: &'static str, s: &ScalarBytes) -> Result<F, BundleError> {
    s.decode()
        .map_err(|source| BundleError::Encoding { what, source })
}

/// Verifies a bundle up to its group equations and its seal, which are
/// returned: the caller must check both. `transcript` is in the state in which [`prove`] was given
/// it.
///
/// [`prove`]: super::prove
pub fn verify<'p>(
    public: &BundlePublic,
    proof: &'p BundleProof,
    keys: &KeyStore,
    transcript: &mut Transcript,
) -> Result<(FinalMsm, Sealed<'p>), BundleError> {
    check_external_rows(public)?;
    let conversation = public.conversation();
    let map = RowMap::new(public, &conversation);
    check_counts(&conversation, &map, proof)?;
    let shape = conversation.shape()?;
    let d = Decoded::new(proof)?;
    // The keys of a shape that nobody has asked for yet take a second and more.
    let seal_keys = keys.for_shape(&shape)?;
    absorb_headers(transcript, public);
    transcript.absorb_point("mask", &d.mask);
    for point in &d.witness {
        transcript.absorb_point("witness row", point);
    }
    let (alpha, beta) = (transcript.challenge("alpha"), transcript.challenge("beta"));
    for point in &d.helper {
        transcript.absorb_point("helper row", point);
    }
    let (tau, lambda) = draw_tau(transcript, conversation.rounds());
    let seed = seed(transcript);
    let reduced = Reduced {
        challenges: conversation.challenges([alpha, beta, lambda], &tau),
        round: d.round.clone(),
        rho: d.rho,
        masked: d.masked,
    };
    let sealed = Sealed {
        keys: seal_keys,
        instances: vec![instance(&conversation, &shape, seed, &reduced)?],
        proof: &proof.seal,
    };
    absorb_reduced(transcript, &reduced, &proof.seal);
    let chi = transcript.challenge("chi");

    let opened = Opened::new(public, &conversation, &map, &reduced, chi)?;
    let value = ValueCommitment {
        value: d.masked - opened.constant,
        terms: vec![(-F::ONE, d.mask)],
    };
    let mut msm = FinalMsm::new(public.generators.get(map.row_bits), &mut fresh_rng()?);
    opening::verify(
        &proof.opening,
        map.rows,
        &value,
        |weights| row_terms(public, &d, &opened.folds, weights),
        |fold: &FoldPoint| {
            let DataFunctional { own, model } = &opened.functional;
            own.evaluate(&fold.factors(map.row_bits))
                + model.evaluate(&fold.factors(map.model_row_bits))
        },
        transcript,
        &mut msm,
    )?;
    Ok((msm, sealed))
}

/// Σ_rows weight·commitment, the folded weight rows expanded into the model's commitments. In the
/// order of [`RowMap`].
fn row_terms(
    public: &BundlePublic,
    d: &Decoded,
    folds: &[Fold],
    weights: &[F],
) -> Vec<(F, EqAffine)> {
    let mut terms = Vec::new();
    let mut weights = weights.iter().copied();
    let mut next = || weights.next().expect("a weight for every row");
    let vectors = public.layers.iter().flat_map(|l| l.vectors);
    for c in d.witness.iter().chain(&d.helper).chain(vectors) {
        terms.push((next(), *c));
    }
    for fold in folds {
        let weight = next();
        for (layer, matrix, coefs) in fold {
            let rows = public.layers[*layer].matrices[*matrix];
            terms.extend(coefs.iter().zip(rows).map(|(l, c)| (weight * l, *c)));
        }
    }
    for c in public.boundaries.iter().flatten() {
        terms.push((next(), *c));
    }
    terms
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
