//! Proving a bundle, step by step.

use ff::Field;
use pasta_curves::EqAffine;
use rayon::prelude::*;

use super::{
    BoundarySecret, BundleError, BundleProof, BundlePublic, LayerMessages, LayerSecret, Reduced,
    RowMap, Shared, absorb_layer_header, absorb_reduced, combined_functional, draw_tau,
    group_by_shape, public_values, seeds, used_tables, vector_rows, wide_rows,
};
use crate::algebra::{F, inner_product, powers};
use crate::argument::challenges::Challenges;
use crate::argument::claims::{Combined, Layer};
use crate::argument::data::LayerData;
use crate::argument::hidden::{HiddenInstance, HiddenProver, HiddenShape, HiddenWitness};
use crate::argument::logup;
use crate::argument::reduce::Reduction;
use crate::commit::{
    OpeningProof, OpeningWitness, RowData, commit_rows, fresh_rng, opening, random_scalars,
};
use crate::curve::{PointBytes, ScalarBytes};
use crate::seal::KeyStore;
use crate::transcript::Transcript;

/// Names of the prover's phases, in the order in which [`prove`] reports them.
pub const PHASES: [&str; 5] = ["commit", "lookups", "sumcheck", "seal", "opening"];

/// Proves a bundle. `transcript` has absorbed what the parent module's documentation says. `phase`
/// is told when each of [`PHASES`] begins.
///
/// # Errors
/// [`BundleError::Conversation`] and [`BundleError::Seal`] for a bundle too large to seal;
/// [`BundleError::Lookups`] for one with more lookups of a table's row than are counted;
/// [`BundleError::Pole`] and [`BundleError::Randomness`] by bad luck. A false witness is *not* found
/// here: the verifier refuses the proof.
pub fn prove(
    public: &BundlePublic,
    secrets: &[LayerSecret],
    boundaries: &[BoundarySecret],
    keys: &KeyStore,
    transcript: &mut Transcript,
    phase: &(dyn Fn(&'static str) + Sync),
) -> Result<BundleProof, BundleError> {
    let prover = Prover {
        public,
        secrets,
        boundaries,
        groups: group_by_shape(public)?,
        row_bits: public.generators.log_len(),
    };
    phase(PHASES[0]);
    let (committed, multiplicities) = prover.commit(transcript)?;
    let (alpha, beta) = (transcript.challenge("alpha"), transcript.challenge("beta"));
    phase(PHASES[1]);
    let mut helpers = prover.lookups(alpha, beta, transcript)?;
    let (tau, lambda) = draw_tau(transcript, public);
    phase(PHASES[2]);
    let shared = Shared {
        alpha,
        beta,
        tau,
        lambda,
    };
    let (reduced, spoken) = prover.reduce(&shared, &committed, &mut helpers, transcript)?;
    phase(PHASES[3]);
    let seals = prover.seal(keys, &spoken)?;
    absorb_reduced(transcript, &reduced, &seals);
    let chi = transcript.challenge("chi");
    phase(PHASES[4]);
    let opening = prover.open(
        &committed,
        &helpers,
        &multiplicities,
        &reduced,
        chi,
        transcript,
    )?;
    let layers = committed.iter().zip(&helpers).zip(&reduced);
    Ok(BundleProof {
        layers: layers.map(|((c, h), r)| messages(c, h, r)).collect(),
        multiplicities: multiplicities
            .commitments
            .iter()
            .map(PointBytes::from)
            .collect(),
        seals,
        opening,
    })
}

struct Prover<'a> {
    public: &'a BundlePublic<'a>,
    secrets: &'a [LayerSecret<'a>],
    boundaries: &'a [BoundarySecret<'a>],
    /// The seals: (shape, layers).
    groups: Vec<(HiddenShape, Vec<usize>)>,
    row_bits: usize,
}

/// The prover's state of one layer between the steps.
struct Committed {
    mask: F,
    mask_blind: F,
    mask_commitment: EqAffine,
    witness_rows: Vec<RowData>,
    witness_blinds: Vec<F>,
    witness_commitments: Vec<EqAffine>,
}

/// Rows with their blinds and commitments.
struct Rows {
    rows: Vec<RowData>,
    blinds: Vec<F>,
    commitments: Vec<EqAffine>,
}

struct Helper {
    lanes: Vec<Vec<F>>,
    helper: Vec<F>,
    blinds: Vec<F>,
    commitments: Vec<EqAffine>,
}

fn multiplicity_rows(
    public: &BundlePublic,
    secrets: &[LayerSecret],
    row_bits: usize,
) -> Result<Vec<RowData>, BundleError> {
    let mut rows = Vec::new();
    for t in used_tables(public) {
        let table = &public.tables[t];
        let mut counts = vec![0; table.len];
        for (l, s) in public.layers.iter().zip(secrets) {
            let counted = logup::count(l.layer, &s.data, table, &mut counts);
            counted.ok_or(BundleError::Lookups(table.id))?;
        }
        let chunks = counts.chunks(1 << row_bits);
        rows.extend(chunks.map(|c| RowData::Small(c.to_vec())));
    }
    Ok(rows)
}

/// Step 3 for one layer: the sumcheck, with T1 as the other side.
fn reduce_layer(
    shape: &HiddenShape,
    layer: &Layer,
    secret: &LayerSecret,
    shared: &Shared,
    helper: &mut Helper,
    mask: F,
    seed: F,
) -> Result<(Reduced, Spoken), BundleError> {
    let ch = shared.challenges(layer);
    let reduction = Reduction::new(
        layer,
        &secret.data,
        &ch,
        helper.helper.clone(),
        // Nothing later needs the lanes.
        std::mem::take(&mut helper.lanes),
    );
    let salt = random_scalars(1)?[0];
    let mask = secret.data.cheat.mask(mask);
    let mut hidden = HiddenProver::new(shape, seed, salt, mask, reduction.sum());
    let mut end = reduction.run(&ch, shape.degree(), |message| hidden.round(message));
    end.claims
        .resize(shape.claims(), secret.data.cheat.padding());
    let (rho, masked) = hidden.claims(&end.claims);
    let reduced = Reduced {
        ch,
        round: end.round,
        rho,
        masked,
    };
    let [coefficients, offsets] = public_values(shape, layer, &reduced.ch, &reduced.round);
    let spoken = hidden.finish(&coefficients, &offsets)?;
    Ok((reduced, spoken))
}

/// A layer's hidden conversation.
type Spoken = (HiddenInstance, HiddenWitness);

impl Prover<'_> {
    /// Step 1: masks, witness rows, multiplicity rows.
    fn commit(&self, transcript: &mut Transcript) -> Result<(Vec<Committed>, Rows), BundleError> {
        let layers = self.public.layers;
        let committed: Vec<Committed> = layers
            .par_iter()
            .zip(self.secrets)
            .map(|(l, s)| commit_layer(self.public, l.layer, s))
            .collect::<Result<_, _>>()?;
        let mut rows = multiplicity_rows(self.public, self.secrets, self.row_bits)?;
        for s in self.secrets {
            s.data.cheat.multiplicities(&mut rows, self.row_bits);
        }
        let blinds = random_scalars(rows.len())?;
        let commitments = commit_rows(self.public.generators, &rows, &blinds);
        for (l, c) in layers.iter().zip(&committed) {
            absorb_layer_header(transcript, l);
            transcript.absorb_point("mask", &c.mask_commitment);
            c.witness_commitments
                .iter()
                .for_each(|p| transcript.absorb_point("witness row", p));
        }
        commitments
            .iter()
            .for_each(|p| transcript.absorb_point("multiplicity row", p));
        Ok((
            committed,
            Rows {
                rows,
                blinds,
                commitments,
            },
        ))
    }

    /// Step 2: helper rows.
    fn lookups(
        &self,
        alpha: F,
        beta: F,
        transcript: &mut Transcript,
    ) -> Result<Vec<Helper>, BundleError> {
        let ch = Challenges {
            alpha,
            beta,
            tau: Vec::new(),
            lambdas: Vec::new(),
        };
        let helpers = self
            .public
            .layers
            .par_iter()
            .zip(self.secrets)
            .map(|(l, s)| {
                let lanes = logup::denominators(l.layer, &s.data, &ch);
                let mut helper = logup::helper(&lanes).ok_or(BundleError::Pole)?;
                s.data.cheat.helper(&mut helper);
                let rows = field_rows(&helper, self.row_bits);
                let blinds = random_scalars(rows.len())?;
                let commitments = commit_rows(self.public.generators, &rows, &blinds);
                Ok(Helper {
                    lanes,
                    helper,
                    blinds,
                    commitments,
                })
            })
            .collect::<Result<Vec<Helper>, BundleError>>()?;
        for h in &helpers {
            h.commitments
                .iter()
                .for_each(|p| transcript.absorb_point("helper row", p));
        }
        Ok(helpers)
    }

    /// Step 3: every layer's sumcheck and hidden conversation.
    fn reduce(
        &self,
        shared: &Shared,
        committed: &[Committed],
        helpers: &mut [Helper],
        transcript: &mut Transcript,
    ) -> Result<(Vec<Reduced>, Vec<Spoken>), BundleError> {
        let seeds = seeds(transcript, self.public);
        let shape = |l: usize| {
            let group = self.groups.iter().find(|(_, layers)| layers.contains(&l));
            &group.expect("every layer has a seal").0
        };
        let spoken: Vec<(Reduced, Spoken)> = self
            .public
            .layers
            .par_iter()
            .zip(helpers)
            .enumerate()
            .map(|(l, (p, helper))| {
                let secret = &self.secrets[l];
                let mask = committed[l].mask;
                reduce_layer(shape(l), p.layer, secret, shared, helper, mask, seeds[l])
            })
            .collect::<Result<_, _>>()?;
        Ok(spoken.into_iter().unzip())
    }

    /// Step 4: the Halo2 proofs.
    fn seal(&self, keys: &KeyStore, spoken: &[Spoken]) -> Result<Vec<Vec<u8>>, BundleError> {
        self.groups
            .iter()
            .map(|(shape, layers)| {
                let circuits: Vec<Spoken> = layers.iter().map(|l| spoken[*l].clone()).collect();
                let keys = keys.for_shape(shape)?;
                Ok(crate::seal::prove(&keys, &circuits, &mut fresh_rng()?)?)
            })
            .collect()
    }

    /// Step 5: the opening. The rows are in the order of [`RowMap`].
    fn open(
        &self,
        committed: &[Committed],
        helpers: &[Helper],
        multiplicities: &Rows,
        reduced: &[Reduced],
        chi: F,
        transcript: &mut Transcript,
    ) -> Result<OpeningProof, BundleError> {
        let map = RowMap::new(self.public, self.row_bits);
        let (functional, parts) = combined_functional(self.public, &map, reduced, chi)?;
        let chis = powers(chi, reduced.len());
        let mut data = DataRows::new(map.rows, self.row_bits);
        for (l, (c, h)) in committed.iter().zip(helpers).enumerate() {
            let secret = &self.secrets[l];
            data.extend(&c.witness_rows, &c.witness_blinds);
            data.extend(&field_rows(&h.helper, self.row_bits), &h.blinds);
            data.extend(
                &vector_rows(&secret.data.externals.vectors, self.row_bits),
                &secret.vector_blinds,
            );
            data.extend_folds(secret, &parts[l]);
        }
        for b in self.boundaries {
            data.extend(&wide_rows(b.values, self.row_bits), b.blinds);
        }
        data.extend(&multiplicities.rows, &multiplicities.blinds);
        let witness = OpeningWitness {
            rows: data.rows,
            blinds: data.blinds,
            functionals: functional.rows(map.rows, self.row_bits),
            value_blind: -committed
                .iter()
                .zip(&chis)
                .map(|(c, chi)| *chi * c.mask_blind)
                .sum::<F>(),
        };
        Ok(opening::prove(
            self.public.generators,
            witness,
            transcript,
            &mut fresh_rng()?,
        ))
    }
}

fn commit_layer(
    public: &BundlePublic,
    layer: &Layer,
    secret: &LayerSecret,
) -> Result<Committed, BundleError> {
    let generators = public.generators;
    let random = random_scalars(2)?;
    let witness_rows = witness_rows(layer, &secret.data);
    let witness_blinds = random_scalars(witness_rows.len())?;
    let witness_commitments = commit_rows(generators, &witness_rows, &witness_blinds);
    Ok(Committed {
        mask: random[0],
        mask_blind: random[1],
        mask_commitment: (generators.u * random[0] + generators.h * random[1]).into(),
        witness_rows,
        witness_blinds,
        witness_commitments,
    })
}

/// Cuts the witness into rows: small ones while they hold only keys.
fn witness_rows(layer: &Layer, data: &LayerData) -> Vec<RowData> {
    let size = 1 << layer.layout.row_bits;
    let len = layer.layout.witness_len;
    let mut rows: Vec<RowData> = (0..layer.layout.rows(len))
        .map(|r| {
            let range = r * size..((r + 1) * size).min(len);
            if range.end <= data.keys.len() {
                RowData::Small(data.keys[range].to_vec())
            } else {
                RowData::Wide(range.map(|x| data.witness(x)).collect())
            }
        })
        .collect();
    data.cheat.witness_rows(&mut rows, layer.layout.row_bits);
    rows
}

fn field_rows(values: &[F], row_bits: usize) -> Vec<RowData> {
    values
        .chunks(1 << row_bits)
        .map(|c| RowData::Field(c.to_vec()))
        .collect()
}

/// The bundle's rows as field elements, with their blinds.
struct DataRows {
    rows: Vec<Vec<F>>,
    blinds: Vec<F>,
    row_bits: usize,
}

impl DataRows {
    fn new(capacity: usize, row_bits: usize) -> Self {
        Self {
            rows: Vec::with_capacity(capacity),
            blinds: Vec::with_capacity(capacity),
            row_bits,
        }
    }

    fn extend(&mut self, rows: &[RowData], blinds: &[F]) {
        assert_eq!(rows.len(), blinds.len(), "every row has a blind");
        let len = 1 << self.row_bits;
        self.rows
            .par_extend(rows.par_iter().map(|r| r.to_field(len)));
        self.blinds.extend_from_slice(blinds);
    }

    /// The layer's folded weight rows.
    fn extend_folds(&mut self, secret: &LayerSecret, parts: &Combined) {
        for fold in &parts.folds {
            let (row, blind) = folded_row(secret, fold, self.row_bits);
            self.extend(&[RowData::Field(row)], &[blind]);
        }
    }
}

fn messages(c: &Committed, h: &Helper, r: &Reduced) -> LayerMessages {
    LayerMessages {
        mask: PointBytes::from(&c.mask_commitment),
        witness: c.witness_commitments.iter().map(PointBytes::from).collect(),
        helper: h.commitments.iter().map(PointBytes::from).collect(),
        round: r.round.iter().map(ScalarBytes::from).collect(),
        rho: ScalarBytes::from(&r.rho),
        masked: ScalarBytes::from(&r.masked),
    }
}

/// Σ L·row over the matrices of one fold, and the same of the blinds.
fn folded_row(secret: &LayerSecret, fold: &[(usize, Vec<F>)], row_bits: usize) -> (Vec<F>, F) {
    let mut row = vec![F::ZERO; 1 << row_bits];
    let mut blind = F::ZERO;
    for (matrix, coefs) in fold {
        let part = secret.data.fold_matrix(*matrix, coefs, row_bits);
        row.iter_mut().zip(part).for_each(|(r, p)| *r += p);
        blind += inner_product(coefs, &secret.matrix_blinds[*matrix]);
    }
    (row, blind)
}
