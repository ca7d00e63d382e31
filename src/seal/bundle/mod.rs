//! Bundles: the whole argument for one or several layers, as one conversation.
//!
//! **Claim.** For every layer of the bundle, the values behind its committed rows (witness,
//! boundaries, vectors, matrices) satisfy the layer's system.
//!
//! **Transcript** (T0; the caller has absorbed the statement, the model id and every boundary
//! commitment):
//!
//! ```text
//! 1  per layer: index, digest of its system
//!    M (the mask's commitment), rows of multiplicities and witnesses        → α, β
//! 2  rows of helpers                                                        → τ, λ
//! 3                                                                         → t₀, which seeds T1
//!    T1 (hidden): salt, m, S₀, round messages → r; claims → ρ;  E = m + ρ·S₀ + Σ ρ^(j+2)·v_j
//! 4  r, ρ, E; then the seal (a Halo2 proof)                                 → χ
//! 5  the opening of ⟨data, B + χ·balance⟩ = E − const − m, const the public constants of ρ·S₀
//! ```
//!
//! **Data** ([`RowMap`]): multiplicities and witnesses of all layers, then their helpers, each cut into rows of 2^c values as a
//! whole; in rows of the model's length per layer its vectors' rows; per stack one folded row
//! per shape of weight claim (the fold of the committed weight rows by the public L, so its
//! commitment is a public linear combination of theirs); then the boundaries.
//!
//! **Soundness** is argued in `docs/protocol.md`. What the caller must have checked: that the
//! boundary commitments are those of the chain, that matrices and vectors are the model's.

mod place;
mod prove;
mod verify;

use std::sync::Arc;

use ff::Field;
use pasta_curves::EqAffine;
use rand::rngs::SysError;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::SealError;
use crate::algebra::F;
use crate::argument::challenges::Challenges;
use crate::argument::claims::{Combined, DataFunctional, Layer, fold_functional};
use crate::argument::data::LayerData;
use crate::argument::functional::Functional;
use crate::argument::hidden::{HiddenError, HiddenInstance, HiddenShape};
use crate::argument::layout::vector_offsets;
use crate::argument::logup;
use crate::argument::stack::Conversation;
use crate::commit::{OpeningError, OpeningProof, RowData};
use crate::curve::{EncodingError, GeneratorStore, PointBytes, ScalarBytes};
use crate::system::{Table, TableId};
use crate::transcript::Transcript;

use place::RowMap;
pub use prove::{PHASES, prove};
pub use verify::verify;

/// What everybody knows of a layer in a bundle.
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
    pub generators: &'a GeneratorStore,
    pub tables: &'a [Table],
    pub layers: &'a [LayerPublic<'a>],
    /// The row commitments of each boundary that a layer of the bundle touches.
    pub boundaries: &'a [Vec<EqAffine>],
}

/// The proof of a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BundleProof {
    /// M.
    pub mask: PointBytes,
    /// The rows of multiplicities and witnesses.
    pub witness: Vec<PointBytes>,
    /// The rows of helpers.
    pub helper: Vec<PointBytes>,
    /// (r, r_L).
    pub round: Vec<ScalarBytes>,
    pub rho: ScalarBytes,
    /// E.
    pub masked: ScalarBytes,
    /// A Halo2 proof.
    pub seal: Vec<u8>,
    pub opening: OpeningProof,
}

/// Why a bundle is not proved or not valid.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("layer {layer}: there are {found} {what}, its shape has {expected}")]
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

/// Step 3's public part.
struct Reduced {
    /// Of each stack.
    challenges: Vec<Challenges>,
    round: Vec<F>,
    rho: F,
    masked: F,
}

impl<'a> BundlePublic<'a> {
    fn conversation(&self) -> Conversation<'a> {
        Conversation::new(self.layers.iter().map(|l| l.layer).collect())
    }
}

/// τ and λ.
fn draw_tau(transcript: &mut Transcript, rounds: usize) -> (Vec<F>, F) {
    (
        transcript.challenges("tau", rounds),
        transcript.challenge("lambda"),
    )
}

fn absorb_headers(transcript: &mut Transcript, public: &BundlePublic) {
    for l in public.layers {
        transcript.absorb_bytes("layer index", &l.index.to_le_bytes());
        transcript.absorb_bytes("system", &l.layer.digest());
    }
}

/// t₀: a challenge of T0, so a digest of all it has absorbed so far.
fn seed(transcript: &mut Transcript) -> F {
    transcript.challenge("hidden transcript seed")
}

fn instance(
    conversation: &Conversation,
    shape: &HiddenShape,
    seed: F,
    reduced: &Reduced,
) -> Result<HiddenInstance, HiddenError> {
    let weights = conversation.layer_weights(&reduced.challenges, &reduced.round);
    HiddenInstance::new(
        shape,
        seed,
        &conversation.coefficients(&reduced.challenges, &weights, &reduced.round),
        &conversation.offsets(&reduced.challenges, &reduced.round),
        &reduced.round,
        reduced.rho,
        reduced.masked,
    )
}

/// Rows of the model's matrices, folded into one: (layer, matrix, coefficient of each of its rows).
type Fold = Vec<(usize, usize, Vec<F>)>;

/// What is opened.
struct Opened {
    /// B + χ·balance.
    functional: DataFunctional,
    /// The public part of ρ·S₀.
    constant: F,
    /// In the order of [`RowMap`].
    folds: Vec<Fold>,
}

impl Opened {
    fn new(
        public: &BundlePublic,
        conversation: &Conversation,
        map: &RowMap,
        reduced: &Reduced,
        chi: F,
    ) -> Result<Self, BundleError> {
        let tau = &reduced.challenges[0].tau;
        let shares = conversation.combination(tau, &reduced.round, reduced.rho);
        let mut parts: Vec<Combined> = public
            .layers
            .par_iter()
            .zip(&shares)
            .zip(&map.layers)
            .map(|((l, (stack, shares)), bases)| {
                let ch = &reduced.challenges[*stack];
                l.layer.combine(ch, &reduced.round, shares, bases)
            })
            .collect();
        let mut opened = Self {
            functional: DataFunctional::default(),
            constant: parts.iter().map(|part| part.constant).sum(),
            folds: Vec::new(),
        };
        for part in &mut parts {
            let DataFunctional { own, model } = std::mem::take(&mut part.functional);
            own.add_scaled_to(F::ONE, &mut opened.functional.own);
            model.add_scaled_to(F::ONE, &mut opened.functional.model);
        }
        for ((stack, bases), ch) in conversation
            .stacks
            .iter()
            .zip(&map.folds)
            .zip(&reduced.challenges)
        {
            let form = public.layers[stack.layers[0]].layer;
            for (f, (shape, base)) in form.folds.iter().zip(bases).enumerate() {
                fold_functional(shape, ch, &reduced.round, *base, F::ONE)
                    .add_scaled_to(F::ONE, &mut opened.functional.model);
                let of_layers = stack.layers.iter().flat_map(|l| {
                    let fold = std::mem::take(&mut parts[*l].folds[f]);
                    fold.into_iter().map(|(matrix, coefs)| (*l, matrix, coefs))
                });
                let fold: Fold = of_layers.collect();
                opened.folds.push(fold);
            }
        }
        let balance = balance(public, map, &reduced.challenges[0])?;
        balance.add_scaled_to(chi, &mut opened.functional.own);
        Ok(opened)
    }
}

/// LogUp's Σ h − Σ mult/(β − t) over all layers.
fn balance(
    public: &BundlePublic,
    map: &RowMap,
    ch: &Challenges,
) -> Result<Functional, BundleError> {
    let helpers: Vec<(usize, usize)> = public
        .layers
        .iter()
        .zip(&map.layers)
        .map(|(l, bases)| (bases.helper, l.layer.layout.lane_len))
        .collect();
    let weights = |(t, offset): &(usize, usize)| {
        let weights = logup::table_weights(&public.tables[*t], ch.alpha, ch.beta);
        Ok((*offset, Arc::new(weights.ok_or(BundleError::Pole)?)))
    };
    let tables = map.tables.par_iter().map(weights);
    let tables = tables.collect::<Result<Vec<_>, BundleError>>()?;
    Ok(logup::balance(&helpers, &tables))
}

fn absorb_reduced(transcript: &mut Transcript, reduced: &Reduced, seal: &[u8]) {
    for x in &reduced.round {
        transcript.absorb_scalar("r", x);
    }
    transcript.absorb_scalar("rho", &reduced.rho);
    transcript.absorb_scalar("E", &reduced.masked);
    transcript.absorb_bytes("seal", seal);
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

    /// χ joins the balance of lookups to the rest because it is drawn after all that is said: each part of it, left out on
    /// both sides, would leave honest proofs valid.
    #[test]
    fn chi_depends_on_every_message_and_the_seal() {
        let chi = |[r, rho, masked]: [u64; 3], seal: &[u8]| {
            let reduced = Reduced {
                challenges: Vec::new(),
                round: vec![F::from(0), F::from(r)],
                rho: F::from(rho),
                masked: F::from(masked),
            };
            let mut transcript = Transcript::new("test", &[1; 32]);
            absorb_reduced(&mut transcript, &reduced, seal);
            transcript.challenge("chi")
        };
        let (values, seal) = ([1, 2, 3], b"a");
        let honest = chi(values, seal);
        for i in 0..3 {
            let mut other = values;
            other[i] += 10;
            assert_ne!(chi(other, seal), honest, "value {i}");
        }
        assert_ne!(chi(values, b"b"), honest);
    }
}
