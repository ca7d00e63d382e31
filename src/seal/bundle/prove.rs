//! Proving a bundle, step by step.

use std::ops::Range;
use std::sync::Arc;

use ff::Field;
use pasta_curves::EqAffine;
use rayon::prelude::*;

use super::{
    BoundarySecret, BundleError, BundleProof, BundlePublic, Fold, LayerSecret, Opened, Reduced,
    RowMap, absorb_headers, absorb_reduced, draw_tau, seed, vector_rows, wide_rows,
};
use crate::algebra::{F, inner_product};
use crate::argument::challenges::Challenges;
use crate::argument::claims::DataFunctional;
use crate::argument::hidden::{HiddenInstance, HiddenProver, HiddenShape, HiddenWitness};
use crate::argument::logup;
use crate::argument::reduce::{self, Reduction};
use crate::argument::stack::Conversation;
use crate::commit::{
    OpeningProof, OpeningWitness, RowData, commit_rows, fresh_rng, opening, random_scalars,
};
use crate::curve::{Generators, PointBytes, ScalarBytes};
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
    let conversation = public.conversation();
    let map = RowMap::new(public, &conversation);
    let prover = Prover {
        public,
        secrets,
        boundaries,
        generators: public.generators.get(map.row_bits),
        shape: conversation.shape()?,
        conversation,
        map,
    };
    phase(PHASES[0]);
    let mask = Mask::draw(&prover.generators, secrets)?;
    let witness = prover.commit(&mask, transcript)?;
    let (alpha, beta) = (transcript.challenge("alpha"), transcript.challenge("beta"));
    phase(PHASES[1]);
    let (helpers, helper_rows) = prover.lookups(alpha, beta, transcript)?;
    let (tau, lambda) = draw_tau(transcript, prover.conversation.rounds());
    phase(PHASES[2]);
    let challenges = prover.conversation.challenges([alpha, beta, lambda], &tau);
    let (reduced, spoken) = prover.reduce(challenges, helpers, mask.said, seed(transcript))?;
    phase(PHASES[3]);
    let keys = keys.for_shape(&prover.shape)?;
    let seal = crate::seal::prove(&keys, &[spoken], &mut fresh_rng()?)?;
    absorb_reduced(transcript, &reduced, &seal);
    let chi = transcript.challenge("chi");
    phase(PHASES[4]);
    let opening = prover.open(&mask, [&witness, &helper_rows], &reduced, chi, transcript)?;
    let points = |rows: &Rows| rows.commitments.iter().map(PointBytes::from).collect();
    Ok(BundleProof {
        mask: PointBytes::from(&mask.commitment),
        witness: points(&witness),
        helper: points(&helper_rows),
        round: reduced.round.iter().map(ScalarBytes::from).collect(),
        rho: ScalarBytes::from(&reduced.rho),
        masked: ScalarBytes::from(&reduced.masked),
        seal,
        opening,
    })
}

struct Prover<'a> {
    public: &'a BundlePublic<'a>,
    secrets: &'a [LayerSecret<'a>],
    boundaries: &'a [BoundarySecret<'a>],
    conversation: Conversation<'a>,
    shape: HiddenShape,
    map: RowMap,
    generators: Arc<Generators>,
}

/// m, and what it is said to be: the same, but in tests.
struct Mask {
    said: F,
    blind: F,
    commitment: EqAffine,
}

impl Mask {
    fn draw(generators: &Generators, secrets: &[LayerSecret]) -> Result<Self, BundleError> {
        let random = random_scalars(2)?;
        let said = secrets.iter().map(|s| &s.data.cheat);
        Ok(Self {
            said: said.fold(random[0], |mask, cheat| cheat.mask(mask)),
            blind: random[1],
            commitment: (generators.u * random[0] + generators.h * random[1]).into(),
        })
    }
}

/// Rows with their blinds and commitments.
struct Rows {
    rows: Vec<RowData>,
    blinds: Vec<F>,
    commitments: Vec<EqAffine>,
}

/// LogUp's columns of a layer.
struct Helper {
    lanes: Vec<Vec<F>>,
    helper: Vec<F>,
}

/// Some of a segment's values, and where they begin.
enum Piece<'a> {
    Small(usize, &'a [i32]),
    Wide(usize, &'a [i128]),
}

/// A hidden conversation.
type Spoken = (HiddenInstance, HiddenWitness);

impl Prover<'_> {
    /// Step 1: mask, rows of multiplicities and witnesses.
    fn commit(&self, mask: &Mask, transcript: &mut Transcript) -> Result<Rows, BundleError> {
        let counts = self.multiplicities()?;
        let tables = counts.iter().zip(&self.map.tables);
        let mut pieces: Vec<Piece> = tables
            .map(|(counts, (_, offset))| Piece::Small(*offset, counts))
            .collect();
        let data = || self.secrets.iter().map(|s| &s.data);
        let layers = || data().zip(&self.map.layers);
        pieces.extend(layers().map(|(data, at)| Piece::Small(at.keys, &data.keys)));
        pieces.extend(layers().map(|(data, at)| Piece::Wide(at.exact, &data.exact)));
        let rows = (0..self.map.witness_rows).into_par_iter();
        let mut rows: Vec<RowData> = rows
            .map(|row| {
                row_of(
                    row << self.map.row_bits..(row + 1) << self.map.row_bits,
                    &pieces,
                )
            })
            .collect();
        let first = self.map.tables.first().map_or(0, |(_, offset)| *offset);
        for (data, at) in layers() {
            let keys = data.keys.len();
            let place = |index: usize| match index < keys {
                true => at.keys + index,
                false => at.exact + index - keys,
            };
            let witness = data.cheat.witness_edits().map(|(at, by)| (place(at), by));
            let counts = data.cheat.multiplicity_edits();
            edit_rows(
                witness.chain(counts.map(|(at, by)| (first + at, by))),
                &mut rows,
                self.map.row_bits,
            );
        }
        let rows = self.committed(rows)?;
        absorb_headers(transcript, self.public);
        transcript.absorb_point("mask", &mask.commitment);
        for point in &rows.commitments {
            transcript.absorb_point("witness row", point);
        }
        Ok(rows)
    }

    /// How often each row of each table that is read is looked up.
    fn multiplicities(&self) -> Result<Vec<Vec<i32>>, BundleError> {
        let count = |(t, _): &(usize, usize)| {
            let table = &self.public.tables[*t];
            let mut counts = vec![0; table.len];
            for (l, s) in self.public.layers.iter().zip(self.secrets) {
                let counted = logup::count(l.layer, &s.data, table, &mut counts);
                counted.ok_or(BundleError::Lookups(table.id))?;
            }
            Ok(counts)
        };
        self.map.tables.iter().map(count).collect()
    }

    fn committed(&self, rows: Vec<RowData>) -> Result<Rows, BundleError> {
        let blinds = random_scalars(rows.len())?;
        let commitments = commit_rows(&self.generators, &rows, &blinds);
        Ok(Rows {
            rows,
            blinds,
            commitments,
        })
    }

    /// Step 2: rows of helpers.
    fn lookups(
        &self,
        alpha: F,
        beta: F,
        transcript: &mut Transcript,
    ) -> Result<(Vec<Helper>, Rows), BundleError> {
        let ch = Challenges {
            alpha,
            beta,
            tau: Vec::new(),
            lambdas: Vec::new(),
        };
        let layers = self.public.layers.par_iter().zip(self.secrets);
        let helpers = layers
            .map(|(l, s)| {
                let lanes = logup::denominators(l.layer, &s.data, &ch);
                let mut helper = logup::helper(&lanes).ok_or(BundleError::Pole)?;
                s.data.cheat.helper(&mut helper);
                Ok(Helper { lanes, helper })
            })
            .collect::<Result<Vec<Helper>, BundleError>>()?;
        let start = self.map.witness_rows << self.map.row_bits;
        let mut values = vec![F::ZERO; self.map.helper_rows << self.map.row_bits];
        for (h, at) in helpers.iter().zip(&self.map.layers) {
            values[at.helper - start..][..h.helper.len()].copy_from_slice(&h.helper);
        }
        let rows = values.chunks(1 << self.map.row_bits);
        let rows = rows.map(|row| RowData::Field(row.to_vec())).collect();
        let rows = self.committed(rows)?;
        for point in &rows.commitments {
            transcript.absorb_point("helper row", point);
        }
        Ok((helpers, rows))
    }

    /// Step 3: the sumcheck of all layers, with T1 as the other side.
    fn reduce(
        &self,
        challenges: Vec<Challenges>,
        helpers: Vec<Helper>,
        mask: F,
        seed: F,
    ) -> Result<(Reduced, Spoken), BundleError> {
        let conversation = &self.conversation;
        let shares = conversation.layer_shares(&challenges[0].tau);
        let layers = self.public.layers.par_iter().zip(self.secrets);
        let reductions: Vec<Reduction> = layers
            .zip(helpers)
            .zip(&shares)
            .map(|(((public, secret), helper), (stack, share))| {
                let (ch, data) = (&challenges[*stack], &secret.data);
                Reduction::new(public.layer, data, ch, *share, helper.helper, helper.lanes)
            })
            .collect();
        let salt = random_scalars(1)?[0];
        let sum = reduce::sum(&reductions);
        let mut hidden = HiddenProver::new(&self.shape, seed, salt, mask, sum);
        let degree = self.shape.degree();
        let answer = |message: &[F]| hidden.round(message);
        let end = reduce::run(conversation, &challenges, reductions, degree, answer);
        let (rho, masked) = hidden.claims(&end.claims);
        let coefficients = conversation.coefficients(&challenges, &end.weights, &end.round);
        let offsets = conversation.offsets(&challenges, &end.round);
        let spoken = hidden.finish(&coefficients, &offsets)?;
        let reduced = Reduced {
            challenges,
            round: end.round,
            rho,
            masked,
        };
        Ok((reduced, spoken))
    }

    /// Step 5: the opening. The rows are in the order of [`RowMap`].
    fn open(
        &self,
        mask: &Mask,
        segments: [&Rows; 2],
        reduced: &Reduced,
        chi: F,
        transcript: &mut Transcript,
    ) -> Result<OpeningProof, BundleError> {
        let opened = Opened::new(self.public, &self.conversation, &self.map, reduced, chi)?;
        let RowMap {
            row_bits,
            model_row_bits,
            rows,
            ..
        } = self.map;
        let mut data = DataRows {
            rows: Vec::with_capacity(rows),
            blinds: Vec::with_capacity(rows),
        };
        for segment in segments {
            data.extend(&segment.rows, &segment.blinds, row_bits);
        }
        for secret in self.secrets {
            let rows = vector_rows(&secret.data.externals.vectors, model_row_bits);
            data.extend(&rows, &secret.vector_blinds, model_row_bits);
        }
        for fold in &opened.folds {
            let (row, blind) = self.folded_row(fold);
            data.extend(&[RowData::Field(row)], &[blind], model_row_bits);
        }
        for b in self.boundaries {
            let rows = wide_rows(b.values, model_row_bits);
            data.extend(&rows, b.blinds, model_row_bits);
        }
        let DataFunctional { own, model } = &opened.functional;
        let mut functionals = own.rows(0..self.map.own_rows(), row_bits);
        functionals.extend(model.rows(self.map.model_rows(), model_row_bits));
        let witness = OpeningWitness {
            rows: data.rows,
            blinds: data.blinds,
            functionals,
            value_blind: -mask.blind,
        };
        Ok(opening::prove(
            &self.generators,
            witness,
            transcript,
            &mut fresh_rng()?,
        ))
    }

    /// Σ L·row over the matrices of one fold, and the same of the blinds.
    fn folded_row(&self, fold: &Fold) -> (Vec<F>, F) {
        let row_bits = self.map.model_row_bits;
        let mut row = vec![F::ZERO; 1 << row_bits];
        let mut blind = F::ZERO;
        for (layer, matrix, coefs) in fold {
            let secret = &self.secrets[*layer];
            let part = secret.data.fold_matrix(*matrix, coefs, row_bits);
            row.iter_mut().zip(part).for_each(|(r, p)| *r += p);
            blind += inner_product(coefs, &secret.matrix_blinds[*matrix]);
        }
        (row, blind)
    }
}

/// What of the pieces lies in a range of a segment: a row of small values where they all are.
fn row_of(range: Range<usize>, pieces: &[Piece]) -> RowData {
    /// Puts what lies in the range where it belongs.
    fn put<T: Copy, U>(
        row: &mut [U],
        range: &Range<usize>,
        (offset, values): (usize, &[T]),
        to: impl Fn(T) -> U,
    ) {
        let from = range.start.max(offset);
        let end = range.end.min(offset + values.len());
        for at in from..end {
            row[at - range.start] = to(values[at - offset]);
        }
    }
    let meets = |offset: usize, len: usize| offset < range.end && range.start < offset + len;
    let (mut small, mut wide) = (Vec::new(), Vec::new());
    for piece in pieces {
        match piece {
            Piece::Small(at, values) if meets(*at, values.len()) => small.push((*at, *values)),
            Piece::Wide(at, values) if meets(*at, values.len()) => wide.push((*at, *values)),
            _ => {}
        }
    }
    if wide.is_empty() {
        let mut row = vec![0; range.len()];
        for piece in small {
            put(&mut row, &range, piece, |x| x);
        }
        return RowData::Small(row);
    }
    let mut row = vec![0; range.len()];
    for piece in small {
        put(&mut row, &range, piece, i128::from);
    }
    for piece in wide {
        put(&mut row, &range, piece, |x| x);
    }
    RowData::Wide(row)
}

/// Adds to values of a segment: what tests do.
fn edit_rows(edits: impl Iterator<Item = (usize, F)>, rows: &mut [RowData], row_bits: usize) {
    for (at, by) in edits {
        let row = &mut rows[at >> row_bits];
        let mut values = row.to_field(1 << row_bits);
        values[at & ((1 << row_bits) - 1)] += by;
        *row = RowData::Field(values);
    }
}

/// The bundle's rows as field elements, with their blinds.
struct DataRows {
    rows: Vec<Vec<F>>,
    blinds: Vec<F>,
}

impl DataRows {
    /// Rows of 2^row_bits values.
    fn extend(&mut self, rows: &[RowData], blinds: &[F], row_bits: usize) {
        assert_eq!(rows.len(), blinds.len(), "every row has a blind");
        let len = 1 << row_bits;
        self.rows
            .par_extend(rows.par_iter().map(|r| r.to_field(len)));
        self.blinds.extend_from_slice(blinds);
    }
}
