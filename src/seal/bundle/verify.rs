//! Verifying a bundle.

use pasta_curves::EqAffine;

use super::{
    BundleError, BundleProof, BundlePublic, Reduced, RowMap, Shared, absorb_layer_header,
    absorb_reduced, combined_functional, draw_tau, group_by_shape, instance, public_value, seeds,
    used_tables,
};
use crate::algebra::{F, powers};
use crate::argument::claims::Combined;
use crate::argument::hidden::HiddenShape;
use crate::commit::{FinalMsm, FoldPoint, ValueCommitment, opening};
use crate::curve::{PointBytes, ScalarBytes, decode_points as decode_all};
use crate::seal::{KeyStore, Sealed};
use crate::transcript::Transcript;

/// A bundle's group elements and scalars, decoded.
struct Decoded {
    masks: Vec<EqAffine>,
    witness: Vec<Vec<EqAffine>>,
    helper: Vec<Vec<EqAffine>>,
    multiplicities: Vec<EqAffine>,
    /// (r, ρ, E) of each layer.
    spoken: Vec<(Vec<F>, F, F)>,
}

fn decode_points(what: &'static str, points: &[PointBytes]) -> Result<Vec<EqAffine>, BundleError> {
    decode_all(points).map_err(|source| BundleError::Encoding { what, source })
}

/// Which layers a seal is about, and their shape.
type Group = (HiddenShape, Vec<usize>);

/// Checks every count of the proof and of the model's commitments against the layers' shapes, so
/// that nothing below can be misaligned. Returns the seals' groups of layers.
fn check_counts(public: &BundlePublic, proof: &BundleProof) -> Result<Vec<Group>, BundleError> {
    let row_bits = public.generators.log_len();
    let table_rows = |t: &usize| public.tables[*t].len.div_ceil(1 << row_bits);
    let multiplicities: usize = used_tables(public).iter().map(table_rows).sum();
    for (what, expected, found) in [
        ("layers", public.layers.len(), proof.layers.len()),
        (
            "multiplicity rows",
            multiplicities,
            proof.multiplicities.len(),
        ),
    ] {
        check_total(what, expected, found)?;
    }
    for (l, m) in public.layers.iter().zip(&proof.layers) {
        let layout = &l.layer.layout;
        let boundary = |b: Option<usize>| b.map_or(0, |b| public.boundaries[b].len());
        let mut counts = vec![
            (
                "witness rows",
                layout.rows(layout.witness_len),
                m.witness.len(),
            ),
            ("helper rows", layout.rows(layout.lane_len), m.helper.len()),
            ("rounds", l.layer.plan.rounds, m.round.len()),
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
            counts.push((
                "matrix rows",
                rows,
                l.matrices.get(n).map_or(0, |m| m.len()),
            ));
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
    let rows = RowMap::new(public, row_bits).rows;
    proof.opening.check_rounds(rows, row_bits)?;
    let groups = group_by_shape(public)?;
    check_total("seals", groups.len(), proof.seals.len())?;
    Ok(groups)
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
        let mut decoded = Self {
            masks: Vec::new(),
            witness: Vec::new(),
            helper: Vec::new(),
            multiplicities: decode_points("multiplicity row", &proof.multiplicities)?,
            spoken: Vec::new(),
        };
        for m in &proof.layers {
            decoded.masks.extend(decode_points("mask", &[m.mask])?);
            decoded
                .witness
                .push(decode_points("witness row", &m.witness)?);
            decoded.helper.push(decode_points("helper row", &m.helper)?);
            let round: Result<_, _> = m
                .round
                .iter()
                .map(|s| scalar("round challenge", s))
                .collect();
            decoded
                .spoken
                .push((round?, scalar("rho", &m.rho)?, scalar("E", &m.masked)?));
        }
        Ok(decoded)
    }
}

fn scalar(what: &'static str, s: &ScalarBytes) -> Result<F, BundleError> {
    s.decode()
        .map_err(|source| BundleError::Encoding { what, source })
}

/// Verifies a bundle up to its group equations, which are added to `msm`, and its seals, which are
/// returned: the caller must check both. `transcript` is in the state in which [`prove`] was given
/// it.
///
/// [`prove`]: super::prove
pub fn verify<'p>(
    public: &BundlePublic,
    proof: &'p BundleProof,
    keys: &KeyStore,
    transcript: &mut Transcript,
    msm: &mut FinalMsm,
) -> Result<Vec<Sealed<'p>>, BundleError> {
    let row_bits = public.generators.log_len();
    let groups = check_counts(public, proof)?;
    let d = Decoded::new(proof)?;
    for (l, p) in public.layers.iter().enumerate() {
        absorb_layer_header(transcript, p);
        transcript.absorb_point("mask", &d.masks[l]);
        d.witness[l]
            .iter()
            .for_each(|p| transcript.absorb_point("witness row", p));
    }
    d.multiplicities
        .iter()
        .for_each(|p| transcript.absorb_point("multiplicity row", p));
    let (alpha, beta) = (transcript.challenge("alpha"), transcript.challenge("beta"));
    d.helper
        .iter()
        .flatten()
        .for_each(|p| transcript.absorb_point("helper row", p));
    let (tau, lambda) = draw_tau(transcript, public);
    let shared = Shared {
        alpha,
        beta,
        tau,
        lambda,
    };
    let seeds = seeds(transcript, public);
    let reduced: Vec<Reduced> = public
        .layers
        .iter()
        .zip(&d.spoken)
        .map(|(l, (round, rho, masked))| Reduced {
            ch: shared.challenges(l.layer),
            round: round.clone(),
            rho: *rho,
            masked: *masked,
        })
        .collect();
    let seals = sealed(public, (&groups, &proof.seals), keys, &seeds, &reduced)?;
    absorb_reduced(transcript, &reduced, &proof.seals);
    let chi = transcript.challenge("chi");

    let map = RowMap::new(public, row_bits);
    let (functional, parts) = combined_functional(public, &map, &reduced, chi)?;
    let chis = powers(chi, reduced.len());
    let value = public_value(&reduced, &parts, chi);
    let terms = d
        .masks
        .iter()
        .zip(&chis)
        .map(|(m, chi)| (-*chi, *m))
        .collect();
    opening::verify(
        &proof.opening,
        map.rows,
        &ValueCommitment { value, terms },
        |weights| row_terms(public, &d, &parts, weights),
        |fold: &FoldPoint| functional.evaluate(&fold.factors),
        transcript,
        msm,
    )?;
    Ok(seals)
}

/// The seals with what they are about: a proof for each group of layers.
fn sealed<'p>(
    public: &BundlePublic,
    (groups, seals): (&[Group], &'p [Vec<u8>]),
    keys: &KeyStore,
    seeds: &[F],
    reduced: &[Reduced],
) -> Result<Vec<Sealed<'p>>, BundleError> {
    groups
        .iter()
        .zip(seals)
        .map(|((shape, layers), proof)| {
            let instances = layers
                .iter()
                .map(|l| instance(shape, public.layers[*l].layer, seeds[*l], &reduced[*l]));
            Ok(Sealed {
                keys: keys.for_shape(shape)?,
                instances: instances.collect::<Result<_, _>>()?,
                proof,
            })
        })
        .collect()
}

/// Σ_rows weight·commitment, the folded weight rows expanded into the model's commitments. In the
/// order of [`RowMap`].
fn row_terms(
    public: &BundlePublic,
    d: &Decoded,
    parts: &[Combined],
    weights: &[F],
) -> Vec<(F, EqAffine)> {
    let mut terms = Vec::new();
    let mut weights = weights.iter().copied();
    let mut next = || weights.next().expect("a weight for every row");
    for (l, p) in public.layers.iter().enumerate() {
        for c in d.witness[l].iter().chain(&d.helper[l]).chain(p.vectors) {
            terms.push((next(), *c));
        }
        for fold in &parts[l].folds {
            let weight = next();
            for (matrix, coefs) in fold {
                terms.extend(
                    coefs
                        .iter()
                        .zip(p.matrices[*matrix])
                        .map(|(l, c)| (weight * l, *c)),
                );
            }
        }
    }
    for c in public.boundaries.iter().flatten().chain(&d.multiplicities) {
        terms.push((next(), *c));
    }
    terms
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
