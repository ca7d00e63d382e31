//! Bundles: the whole argument for one or several layers.
//!
//! **Claim.** For every layer of the bundle, the values behind its committed rows (witness,
//! boundaries, vectors, matrices) satisfy the layer's system.
//!
//! **Transcript** (T0; the caller has absorbed the statement, the model id and every boundary
//! commitment):
//!
//! ```text
//! 1  per layer: index, digest of its system, M (the mask's commitment), witness rows
//!    multiplicity rows                                                       → α, β
//! 2  per layer: helper rows                                                  → τ, λ
//! 3                                                                          → t₀ per layer, which seeds T1
//!    T1 (hidden): salt, m, S₀, round messages → r; claims → ρ;  E = m + ρ·S₀ + Σ ρ^(j+2)·v_j
//! 4  per layer: r, ρ, E; then the seals (one Halo2 proof, or one per shape)  → χ
//! 5  the opening of ⟨data, Σ χ^ℓ·B_ℓ + χ^L·balance⟩ = Σ χ^ℓ·(E_ℓ − const_ℓ − m_ℓ),
//!    const_ℓ the public constants of ρ·S₀
//! ```
//!
//! **Data.** Rows of 2^c values: per layer its witness, helper and vector rows and one folded row
//! per shape of weight claim (the fold of the committed weight rows by the public L, so its
//! commitment is a public linear combination of theirs); then the boundaries, then one
//! multiplicity column per table for the whole bundle.
//!
//! **Soundness** is argued in `docs/protocol.md`. What the caller must have checked: that the
//! boundary commitments are those of the chain, that matrices and vectors are the model's.

mod prove;
mod verify;

use std::sync::Arc;

use ff::Field;
use pasta_curves::EqAffine;
use rand::rngs::SysError;
use rayon::prelude::*;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SealError;
use super::circuit::smallest_k;
use crate::algebra::{F, powers};
use crate::argument::challenges::Challenges;
use crate::argument::claims::{Bases, Combined, Layer, fold_functional};
use crate::argument::data::LayerData;
use crate::argument::functional::Functional;
use crate::argument::hidden::{HiddenError, HiddenInstance, HiddenShape};
use crate::argument::layout::vector_offsets;
use crate::argument::logup;
use crate::argument::plan::Claim;
use crate::commit::{OpeningError, OpeningProof, RowData};
use crate::curve::{EncodingError, Generators, PointBytes, ScalarBytes};
use crate::lists::lists;
use crate::system::{Table, TableId};
use crate::transcript::Transcript;

pub use prove::{PHASES, prove};
pub use verify::verify;

/// What everybody knows of a layer in a bundle. All layers have one number of rounds
/// ([`Layer::align_rounds`]).
pub struct LayerPublic<'a> {
    pub layer: &'a Layer,
    /// The layer's place in the model.
    pub index: u32,
    /// The commitments of each matrix's rows, in the order of `Segment::Matrix(n)`.
    pub matrices: Vec<&'a [EqAffine]>,
    /// The commitments of the vectors' rows.
    pub vectors: &'a [EqAffine],
    /// Which of the bundle's boundaries it reads and writes.
    pub boundary_in: Option<usize>,
    pub boundary_out: Option<usize>,
}

/// What the prover knows besides.
pub struct LayerSecret<'a> {
    pub data: LayerData<'a>,
    /// Blinds of each matrix's rows, and of the vectors' rows.
    pub matrix_blinds: Vec<Vec<F>>,
    pub vector_blinds: Vec<F>,
}

/// The values of a boundary and the blinds of its rows.
pub struct BoundarySecret<'a> {
    pub values: &'a [i64],
    pub blinds: &'a [F],
}

/// Everything public that a bundle is proved and verified against.
pub struct BundlePublic<'a> {
    pub generators: &'a Generators,
    pub tables: &'a [Table],
    pub layers: &'a [LayerPublic<'a>],
    /// The row commitments of each boundary that a layer of the bundle touches.
    pub boundaries: &'a [Vec<EqAffine>],
}

/// One layer's messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerMessages {
    pub mask: PointBytes,
    pub witness: Vec<PointBytes>,
    pub helper: Vec<PointBytes>,
    pub round: Vec<ScalarBytes>,
    pub rho: ScalarBytes,
    pub masked: ScalarBytes,
}

/// The proof of a bundle. It has no more seals than layers, also where it is read: an empty seal takes one byte of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct BundleProof {
    pub layers: Vec<LayerMessages>,
    /// One row commitment per row of every table that a lookup of the bundle reads.
    pub multiplicities: Vec<PointBytes>,
    /// One Halo2 proof for all layers, or one per shape, in the order in which the shapes first
    /// occur.
    #[serde(deserialize_with = "lists")]
    pub seals: Vec<Vec<u8>>,
    pub opening: OpeningProof,
}

impl Serialize for BundleProof {
    fn serialize<S: Serializer>(&self, file: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, file)
    }
}

impl<'de> Deserialize<'de> for BundleProof {
    fn deserialize<D: Deserializer<'de>>(file: D) -> Result<Self, D::Error> {
        let proof = Self::deserialize(file)?;
        match (proof.seals.len(), proof.layers.len()) {
            (seals, layers) if seals <= layers => Ok(proof),
            (seals, layers) => Err(D::Error::custom(format!(
                "{seals} seals for {layers} layers"
            ))),
        }
    }
}

/// Why a bundle is not proved or not valid.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("layer {layer}: the proof has {found} {what}, its shape has {expected}")]
    Count {
        layer: u32,
        what: &'static str,
        expected: usize,
        found: usize,
    },
    #[error("the proof has {found} {what}, its layers need {expected}")]
    Total {
        what: &'static str,
        expected: usize,
        found: usize,
    },
    #[error("{what}: {source}")]
    Encoding {
        what: &'static str,
        source: EncodingError,
    },
    #[error("seal: {0}")]
    Seal(#[from] SealError),
    #[error(transparent)]
    Conversation(#[from] HiddenError),
    #[error("opening: {0}")]
    Opening(#[from] OpeningError),
    #[error(
        "a row of the table {0:?} is looked up 2^31 times or more in one bundle: prove the layers separately \
         (--separate), or a shorter sequence"
    )]
    Lookups(TableId),
    #[error("a challenge hit a pole, which has probability below 2^-200: prove again")]
    Pole,
    #[error("the operating system gave no randomness: {0}")]
    Randomness(#[from] SysError),
}

/// Where every row of the bundle's data lies.
struct RowMap {
    layers: Vec<Bases>,
    /// (index into the tables, offset).
    tables: Vec<(usize, usize)>,
    rows: usize,
}

impl RowMap {
    fn new(public: &BundlePublic, row_bits: usize) -> Self {
        let mut rows = 0;
        let mut take = |n: usize| {
            let offset = rows << row_bits;
            rows += n;
            offset
        };
        let mut layers: Vec<Bases> = public
            .layers
            .iter()
            .map(|l| {
                let layout = &l.layer.layout;
                Bases {
                    witness: take(layout.rows(layout.witness_len)),
                    helper: take(layout.rows(layout.lane_len)),
                    vectors: take(layout.rows(layout.vectors_len)),
                    folds: l.layer.folds.iter().map(|_| take(1)).collect(),
                    ..Bases::default()
                }
            })
            .collect();
        let boundaries: Vec<usize> = public.boundaries.iter().map(|b| take(b.len())).collect();
        for (bases, l) in layers.iter_mut().zip(public.layers) {
            bases.boundary_in = l.boundary_in.map_or(0, |b| boundaries[b]);
            bases.boundary_out = l.boundary_out.map_or(0, |b| boundaries[b]);
        }
        let used = used_tables(public);
        let tables = used
            .iter()
            .map(|t| (*t, take(public.tables[*t].len.div_ceil(1 << row_bits))))
            .collect();
        Self {
            layers,
            tables,
            rows,
        }
    }
}

/// Indices of the tables that some lookup of the bundle reads.
fn used_tables(public: &BundlePublic) -> Vec<usize> {
    let mut used: Vec<TableId> = public
        .layers
        .iter()
        .flat_map(|l| l.layer.tables())
        .collect();
    used.sort_unstable();
    used.dedup();
    used.iter()
        .map(|id| {
            public
                .tables
                .iter()
                .position(|t| t.id == *id)
                .expect("the model has the tables its ops use")
        })
        .collect()
}

/// Step 3's public part for one layer.
struct Reduced {
    ch: Challenges,
    round: Vec<F>,
    rho: F,
    masked: F,
}

/// α, β, τ, λ for the whole bundle.
struct Shared {
    alpha: F,
    beta: F,
    tau: Vec<F>,
    lambda: F,
}

impl Shared {
    fn challenges(&self, layer: &Layer) -> Challenges {
        let lambdas = powers(self.lambda, layer.plan.weights + 1)[1..].to_vec();
        Challenges {
            alpha: self.alpha,
            beta: self.beta,
            tau: self.tau.clone(),
            lambdas,
        }
    }
}

fn draw_tau(transcript: &mut Transcript, public: &BundlePublic) -> (Vec<F>, F) {
    let n = public
        .layers
        .iter()
        .map(|l| l.layer.plan.rounds)
        .max()
        .unwrap_or(0);
    (
        transcript.challenges("tau", n),
        transcript.challenge("lambda"),
    )
}

fn absorb_layer_header(transcript: &mut Transcript, public: &LayerPublic) {
    transcript.absorb_bytes("layer index", &public.index.to_le_bytes());
    transcript.absorb_bytes("system", &public.layer.digest());
}

/// t₀ of each layer, in order: challenges of T0, so digests of all it has absorbed so far.
fn seeds(transcript: &mut Transcript, public: &BundlePublic) -> Vec<F> {
    transcript.challenges("hidden transcript seed", public.layers.len())
}

fn shape_of(layer: &Layer) -> Result<HiddenShape, HiddenError> {
    let plan = &layer.plan;
    let offsets = plan
        .claims
        .iter()
        .map(|c| matches!(c, Claim::Lane(_)))
        .collect();
    let mut products: Vec<Vec<usize>> = Vec::new();
    for p in &plan.products {
        if !products.contains(&p.claims) {
            products.push(p.claims.clone());
        }
    }
    HiddenShape::new(plan.rounds, plan.degree, offsets, products)
}

/// The seals of a bundle: (shape, layers).
///
/// One seal for all layers, of the union of their shapes, if that fits a circuit no larger than the
/// largest of theirs; else one per shape, in the order in which the shapes first occur.
fn group_by_shape(public: &BundlePublic) -> Result<Vec<(HiddenShape, Vec<usize>)>, HiddenError> {
    let layers = public.layers.iter();
    let shapes: Vec<HiddenShape> = layers
        .map(|p| shape_of(p.layer))
        .collect::<Result<_, _>>()?;
    Ok(group(shapes))
}

fn group(shapes: Vec<HiddenShape>) -> Vec<(HiddenShape, Vec<usize>)> {
    let everyone: Vec<usize> = (0..shapes.len()).collect();
    let mut groups: Vec<(HiddenShape, Vec<usize>)> = Vec::new();
    for (l, shape) in shapes.into_iter().enumerate() {
        match groups.iter_mut().find(|(s, _)| *s == shape) {
            Some((_, list)) => list.push(l),
            None => groups.push((shape, vec![l])),
        }
    }
    let distinct: Vec<HiddenShape> = groups.iter().map(|(s, _)| s.clone()).collect();
    let union = HiddenShape::union(&distinct);
    let k = smallest_k(&union);
    if distinct.iter().any(|s| smallest_k(s) == k) {
        groups = vec![(union, everyone)];
    }
    groups
}

/// The public coefficients and offsets of a layer's conversation in `shape`, which is the layer's own
/// or a union: what the layer does not have is zero.
fn public_values(shape: &HiddenShape, layer: &Layer, ch: &Challenges, round: &[F]) -> [Vec<F>; 2] {
    let own = layer.coefficients(ch, round);
    let coefficient = |claims: &Vec<usize>| -> F {
        let products = layer.plan.products.iter().zip(&own);
        products
            .filter(|(p, _)| p.claims == *claims)
            .map(|(_, c)| c)
            .sum()
    };
    let offsets = layer.offsets(ch, round);
    let flagged = (0..shape.claims()).filter(|j| shape.offsets()[*j]);
    [
        shape.products().iter().map(coefficient).collect(),
        flagged
            .map(|j| offsets.get(j).copied().flatten().unwrap_or(F::ZERO))
            .collect(),
    ]
}

fn instance(
    shape: &HiddenShape,
    layer: &Layer,
    seed: F,
    reduced: &Reduced,
) -> Result<HiddenInstance, HiddenError> {
    let [coefficients, offsets] = public_values(shape, layer, &reduced.ch, &reduced.round);
    HiddenInstance::new(
        shape,
        seed,
        &coefficients,
        &offsets,
        &reduced.round,
        reduced.rho,
        reduced.masked,
    )
}

/// The functionals of all layers and of LogUp's balance, weighted by powers of χ, and per layer
/// how its weight rows are folded.
fn combined_functional(
    public: &BundlePublic,
    map: &RowMap,
    reduced: &[Reduced],
    chi: F,
) -> Result<(Functional, Vec<Combined>), BundleError> {
    let chis = powers(chi, reduced.len() + 1);
    let mut total = Functional::default();
    let mut parts: Vec<Combined> = public
        .layers
        .par_iter()
        .zip(reduced)
        .zip(&map.layers)
        .map(|((l, r), bases)| l.layer.combine(&r.ch, &r.round, r.rho, bases))
        .collect();
    for (((part, l), (r, bases)), chi) in parts
        .iter_mut()
        .zip(public.layers)
        .zip(reduced.iter().zip(&map.layers))
        .zip(&chis)
    {
        std::mem::take(&mut part.functional).add_scaled_to(*chi, &mut total);
        for (shape, base) in l.layer.folds.iter().zip(&bases.folds) {
            fold_functional(shape, &r.ch, &r.round, *base, *chi).add_scaled_to(F::ONE, &mut total);
        }
    }
    let helpers: Vec<(usize, usize)> = public
        .layers
        .iter()
        .zip(&map.layers)
        .map(|(l, b)| (b.helper, l.layer.layout.lane_len))
        .collect();
    let (alpha, beta) = (reduced[0].ch.alpha, reduced[0].ch.beta);
    let tables = map
        .tables
        .par_iter()
        .map(|(t, offset)| {
            let weights =
                logup::table_weights(&public.tables[*t], alpha, beta).ok_or(BundleError::Pole)?;
            Ok((*offset, Arc::new(weights)))
        })
        .collect::<Result<Vec<_>, BundleError>>()?;
    logup::balance(&helpers, &tables).add_scaled_to(chis[reduced.len()], &mut total);
    Ok((total, parts))
}

/// The masked values' share of the opened value: Σ χ^ℓ·(E_ℓ − const_ℓ).
fn public_value(reduced: &[Reduced], parts: &[Combined], chi: F) -> F {
    let chis = powers(chi, reduced.len());
    reduced
        .iter()
        .zip(parts)
        .zip(&chis)
        .map(|((r, p), chi)| *chi * (r.masked - p.constant))
        .sum()
}

fn absorb_reduced(transcript: &mut Transcript, reduced: &[Reduced], seals: &[Vec<u8>]) {
    for r in reduced {
        for x in &r.round {
            transcript.absorb_scalar("r", x);
        }
        transcript.absorb_scalar("rho", &r.rho);
        transcript.absorb_scalar("E", &r.masked);
    }
    for seal in seals {
        transcript.absorb_bytes("seal", seal);
    }
}

/// 64-bit values as rows.
pub fn wide_rows(values: &[i64], row_bits: usize) -> Vec<RowData> {
    values
        .chunks(1 << row_bits)
        .map(|c| RowData::Wide(c.iter().map(|x| i128::from(*x)).collect()))
        .collect()
}

/// A layer's vectors as rows, each at its offset in the vectors' segment.
pub fn vector_rows(vectors: &[&[i64]], row_bits: usize) -> Vec<RowData> {
    let lens: Vec<usize> = vectors.iter().map(|v| v.len()).collect();
    let (offsets, len) = vector_offsets(&lens);
    let mut values = vec![0i64; len];
    for (v, offset) in vectors.iter().zip(offsets) {
        values[offset..][..v.len()].copy_from_slice(v);
    }
    wide_rows(&values, row_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three rounds, 40 claims and the products of claim i with each of `partners`.
    fn shape(i: usize, partners: usize) -> HiddenShape {
        let products = (0..partners).map(|j| vec![i, j]).collect();
        HiddenShape::new(3, 3, vec![false; 40], products).expect("a good shape")
    }

    /// One seal where the union is no larger a circuit, one per shape where it is.
    #[test]
    fn shapes_share_a_seal_if_it_costs_no_rows() {
        let (a, b) = (shape(0, 3), shape(1, 4));
        let union = HiddenShape::union(&[a.clone(), b.clone()]);
        let layers = || vec![a.clone(), b.clone(), a.clone()];
        assert_eq!(group(layers()), [(union, vec![0, 1, 2])]);

        let many = |i| shape(i, 40);
        let all: Vec<HiddenShape> = (0..40).map(many).collect();
        let larger = smallest_k(&HiddenShape::union(&all));
        assert!(all.iter().all(|s| smallest_k(s) < larger));
        let groups = group(vec![all[0].clone(), all[1].clone(), all[0].clone()]);
        assert!(groups.len() == 1, "two of them still fit");
        let groups = group(all.iter().chain(&all[..2]).cloned().collect());
        assert_eq!(groups.len(), 40);
        assert_eq!(groups[0], (all[0].clone(), vec![0, 40]));
        assert_eq!(groups[39], (all[39].clone(), vec![39]));
    }

    /// χ keeps layers apart because it is drawn after all that they say: each part of it, left out on
    /// both sides, would leave honest proofs valid.
    #[test]
    fn chi_depends_on_every_layers_messages_and_every_seal() {
        let chi = |values: [u64; 6], seals: [&[u8]; 2]| {
            let values = values.map(F::from);
            let reduced: Vec<Reduced> = values
                .chunks_exact(3)
                .map(|v| Reduced {
                    ch: Challenges {
                        alpha: F::ONE,
                        beta: F::ONE,
                        tau: Vec::new(),
                        lambdas: Vec::new(),
                    },
                    round: vec![F::ZERO, v[0]],
                    rho: v[1],
                    masked: v[2],
                })
                .collect();
            let mut transcript = Transcript::new("test", &[1; 32]);
            absorb_reduced(&mut transcript, &reduced, &seals.map(<[u8]>::to_vec));
            transcript.challenge("chi")
        };
        let (values, seals) = ([1, 2, 3, 4, 5, 6], [&b"a"[..], &b"b"[..]]);
        let honest = chi(values, seals);
        for i in 0..6 {
            let mut other = values;
            other[i] += 10;
            assert_ne!(chi(other, seals), honest, "value {i}");
        }
        assert_ne!(chi(values, [b"c", b"b"]), honest);
        assert_ne!(chi(values, [b"a", b"c"]), honest);
    }
}
