//! The opening: one inner-product argument for a linear functional of many committed rows.
//!
//! # Claim
//! For rows R_0, …, R_{n−1} of at most 2^c values with commitments C_r = ⟨R_r, G⟩ + (blind)·H, public
//! functionals B_r and a value commitment V = v·U + (blind)·H:
//!
//! ```text
//! Σ_r ⟨R_r, B_r⟩ = v.
//! ```
//!
//! n counts as the next power of two; the rows beyond are zero, their commitments the identity. What a row has less than 2^c
//! values is zero, too.
//!
//! # Steps
//! Both kinds of rounds halve an index, highest bit first, with one challenge t for that bit:
//!
//! ```text
//! B ← B_lo + t·B_hi,    R ← R_lo + t⁻¹·R_hi,
//! ⟨R, B⟩ ← ⟨R, B⟩ + t⁻¹·⟨R_hi, B_lo⟩ + t·⟨R_lo, B_hi⟩.
//! ```
//!
//! 1. ⌈log₂ n⌉ *row rounds*. The prover sends L = ⟨R_hi, B_lo⟩·U + …H and R = ⟨R_lo, B_hi⟩·U + …H,
//!    sums over the pairs of rows; V ← V + t⁻¹·L + t·R, and C ← C_lo + t⁻¹·C_hi is the verifier's
//!    own computation.
//! 2. z is drawn; P = C + z·V = ⟨R, G⟩ + z·⟨R, B⟩·U + …H.
//! 3. c *column rounds*, L = ⟨R_hi, G_lo⟩ + z·⟨R_hi, B_lo⟩·U + …H and R likewise;
//!    P ← P + t⁻¹·L + t·R and G ← G_lo + t·G_hi. Here t is short (128 bits), which makes folding G
//!    four times cheaper.
//! 4. P = a·(G + z·b·U) + r·H with one a, b, G left: Schnorr's proof of knowledge of (a, r),
//!    A = α·(G + z·b·U) + ρ·H, e, (α + e·a, ρ + e·r).
//!
//! Each entry of a functional thus ends with the weight Π_b t_b^{x_b} over the bits of its column and row ([`FoldPoint`]), and row r of
//! the data with Π_b t_b^{−r_b} over the row bits.
//!
//! # Soundness
//! From 3 and 4 an opening of P in the bases G, U, H is extracted (special soundness; the
//! challenges' 128 bits bound the error by 2^-126 per round), and its U-part is z·⟨a⃗, B⟩ for its
//! G-part a⃗. C and V are fixed before z. With G-parts a⃗_C, a⃗_V and U-parts u_C, v of what they
//! commit to, a random z forces
//!
//! ```text
//! u_C + z·v = z·⟨a⃗_C + z·a⃗_V, B⟩   ⇒   u_C = 0,  v = ⟨a⃗_C, B⟩,  ⟨a⃗_V, B⟩ = 0:
//! ```
//!
//! whatever G-part an L, an R or V hides, and whatever U-part a row hides, is harmless. So V must
//! not be merged with C before z: all rows share the generators G, and a G-part in L would add
//! itself to the upper half of the data after the challenges are known. a⃗_C is fixed by the
//! rows' commitments and the challenges alone, so the row rounds are Schwartz–Zippel in each t.
//!
//! # Zero knowledge
//! Every L, R and A carries a fresh blind; the responses are masked by α and ρ.
//!
//! # The caller must
//! have absorbed into the transcript everything that determines the claim: the rows' commitments,
//! what the functionals are made of, the value commitment (the generators are constants, for which the
//! transcript's domain stands); draw nothing from it afterwards, as the responses are not absorbed; and check the [`FinalMsm`] in the
//! end: [`verify`] only adds its equation.

use ff::Field;
use pasta_curves::{Eq, EqAffine, group::Curve};
use rand_core::CryptoRng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    final_msm::FinalMsm,
    fold_point::{FoldPoint, tensor},
};
use crate::{
    algebra::{F, batch_invert, inner_product},
    curve::{
        EncodingError, Generators, PointBytes, ScalarBytes, ShortChallenge, decode_points,
        fold_bases, generators::normalize, msm_field,
    },
    transcript::Transcript,
};

/// The two cross terms L, R of a round.
pub type CrossTerms = (PointBytes, PointBytes);

/// A proof that committed rows have the claimed functional. 64 bytes a round and 96.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpeningProof {
    pub row_rounds: Vec<CrossTerms>,
    pub column_rounds: Vec<CrossTerms>,
    /// A = α·(G + z·b·U) + ρ·H.
    pub commitment: PointBytes,
    /// α + e·a.
    pub data_response: ScalarBytes,
    /// ρ + e·r.
    pub blind_response: ScalarBytes,
}

/// Why an opening is refused before its group equation is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpeningError {
    #[error(
        "the opening has {found} {kind} rounds where the statement's shape needs {expected}: \
         the proof belongs to another statement"
    )]
    Rounds {
        kind: &'static str,
        expected: usize,
        found: usize,
    },
    #[error("in the opening, {0}")]
    Encoding(#[from] EncodingError),
}

/// What the prover knows. Row r and functional r have 2^c entries each, or fewer: the rest is zero.
#[derive(Clone, Debug)]
pub struct OpeningWitness {
    pub rows: Vec<Vec<F>>,
    /// The blinds of the rows' commitments.
    pub blinds: Vec<F>,
    pub functionals: Vec<Vec<F>>,
    /// The blind of the value commitment.
    pub value_blind: F,
}

/// V = value·U + Σ coef·point, as the verifier knows it.
#[derive(Clone, Debug, Default)]
pub struct ValueCommitment {
    pub value: F,
    pub terms: Vec<(F, EqAffine)>,
}

/// Proves `Σ_r ⟨rows[r], functionals[r]⟩ = value`, whatever the value is: if it is not the one that
/// was committed to, the proof does not verify. Panics if the witness's lengths do not match.
pub fn prove<R: CryptoRng>(
    generators: &Generators,
    witness: OpeningWitness,
    transcript: &mut Transcript,
    rng: &mut R,
) -> OpeningProof {
    absorb_shape(transcript, witness.rows.len(), generators.log_len());
    let mut rows = RowFolding::new(generators, witness);
    let row_rounds = rows.rounds(transcript, rng);
    let z = transcript.challenge(Z);
    let mut columns = rows.into_columns(z);
    let column_rounds = columns.rounds(transcript, rng);
    columns.finish(row_rounds, column_rounds, transcript, rng)
}

/// Checks everything but the group equation, which it adds to `msm`.
///
/// - `rows`: n; c is the size of `msm`'s generators;
/// - `commitments(weights)`: `Σ_r weights[r]·C_r` as terms, for the n weights given;
/// - `functional(point)`: Σ weight(r, column)·B_r(column).
pub fn verify(
    proof: &OpeningProof,
    rows: usize,
    value: &ValueCommitment,
    commitments: impl FnOnce(&[F]) -> Vec<(F, EqAffine)>,
    functional: impl FnOnce(&FoldPoint) -> F,
    transcript: &mut Transcript,
    msm: &mut FinalMsm,
) -> Result<(), OpeningError> {
    let log_len = msm.generators().log_len();
    let decoded = proof.decode(rows, log_len)?;
    let challenges = proof.challenges(rows, log_len, transcript);
    let data = commitments(&tensor(&challenges.rows.inverses)[..rows]);
    let b = functional(&challenges.fold_point());
    push_equation(&decoded, &challenges, data, value, b, msm);
    Ok(())
}

const ROWS: &str = "opening/rows";
const COLUMNS: &str = "opening/columns";
const Z: &str = "opening/z";
const END: &str = "opening/end";

fn row_rounds(rows: usize) -> usize {
    rows.next_power_of_two().trailing_zeros() as usize
}

fn absorb_shape(transcript: &mut Transcript, rows: usize, log_len: usize) {
    transcript.absorb_bytes(ROWS, &(rows as u64).to_le_bytes());
    transcript.absorb_bytes(COLUMNS, &(log_len as u64).to_le_bytes());
}

fn absorb_round(transcript: &mut Transcript, label: &'static str, (l, r): &CrossTerms) {
    transcript.absorb_point_bytes(label, l);
    transcript.absorb_point_bytes(label, r);
}

fn short_challenge(transcript: &mut Transcript) -> ShortChallenge {
    loop {
        if let Some(t) = ShortChallenge::from_challenge(&transcript.challenge(COLUMNS)) {
            return t;
        }
    }
}

fn invert(t: &F) -> F {
    t.invert().expect("challenges are not zero")
}

/// lo + t·hi, in place; the shorter run goes on with zeros.
fn fold(lo: &mut Vec<F>, hi: &[F], t: &F) {
    if lo.len() < hi.len() {
        lo.resize(hi.len(), F::ZERO);
    }
    for (lo, hi) in lo.iter_mut().zip(hi) {
        *lo += *t * hi;
    }
}

/// ⟨a, b⟩; the shorter run goes on with zeros.
fn dot(a: &[F], b: &[F]) -> F {
    let len = a.len().min(b.len());
    inner_product(&a[..len], &b[..len])
}

/// The prover's state in the row rounds.
struct RowFolding<'g> {
    generators: &'g Generators,
    rows: Vec<Row>,
    value_blind: F,
}

/// A row of data, its functional and the blind of its commitment.
struct Row {
    data: Vec<F>,
    functional: Vec<F>,
    blind: F,
}

impl<'g> RowFolding<'g> {
    fn new(generators: &'g Generators, witness: OpeningWitness) -> Self {
        let (n, len) = (witness.rows.len(), generators.g.len());
        assert!(
            n > 0 && witness.blinds.len() == n && witness.functionals.len() == n,
            "every row has its blind and its functional"
        );
        let mut runs = witness.rows.iter().chain(&witness.functionals);
        assert!(
            runs.all(|run| run.len() <= len),
            "a row and a functional have 2^c entries at most"
        );
        let parts = witness.rows.into_iter().zip(witness.functionals);
        let rows = parts
            .zip(witness.blinds)
            .map(|((data, functional), blind)| Row {
                data,
                functional,
                blind,
            })
            .collect();
        Self {
            generators,
            rows,
            value_blind: witness.value_blind,
        }
    }

    fn rounds<R: CryptoRng>(
        &mut self,
        transcript: &mut Transcript,
        rng: &mut R,
    ) -> Vec<CrossTerms> {
        let mut rounds = Vec::new();
        while self.rows.len() > 1 {
            let upper = self.rows.split_off(self.rows.len().next_power_of_two() / 2);
            let blinds = [F::random(rng), F::random(rng)];
            let terms = self.cross_terms(&upper, blinds);
            absorb_round(transcript, ROWS, &terms);
            let t = transcript.challenge(ROWS);
            let t_inv = invert(&t);
            self.rows
                .par_iter_mut()
                .zip(upper)
                .for_each(|(lo, hi)| lo.fold(&hi, &t, &t_inv));
            self.value_blind += t_inv * blinds[0] + t * blinds[1];
            rounds.push(terms);
        }
        rounds
    }

    fn cross_terms(&self, upper: &[Row], blinds: [F; 2]) -> CrossTerms {
        let [l, r] = self
            .rows
            .par_iter()
            .zip(upper)
            .map(|(lo, hi)| [dot(&hi.data, &lo.functional), dot(&lo.data, &hi.functional)])
            .reduce(|| [F::ZERO; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
        let Generators { u, h, .. } = self.generators;
        encode_terms(u * l + h * blinds[0], u * r + h * blinds[1])
    }

    fn into_columns(mut self, z: F) -> ColumnFolding<'g> {
        let mut row = self.rows.pop().expect("one row is left");
        row.data.resize(self.generators.g.len(), F::ZERO);
        row.functional.resize(self.generators.g.len(), F::ZERO);
        row.blind += z * self.value_blind;
        ColumnFolding {
            generators: self.generators,
            g: self.generators.g.clone(),
            row,
            z,
        }
    }
}

impl Row {
    fn fold(&mut self, hi: &Row, t: &F, t_inv: &F) {
        fold(&mut self.data, &hi.data, t_inv);
        fold(&mut self.functional, &hi.functional, t);
        self.blind += *t_inv * hi.blind;
    }
}

fn encode_terms(l: Eq, r: Eq) -> CrossTerms {
    let points = normalize(&[l, r]);
    (PointBytes::from(&points[0]), PointBytes::from(&points[1]))
}

/// The prover's state in the column rounds: P = ⟨data, g⟩ + z·⟨data, functional⟩·U + blind·H.
struct ColumnFolding<'g> {
    generators: &'g Generators,
    g: Vec<EqAffine>,
    row: Row,
    z: F,
}

impl ColumnFolding<'_> {
    fn rounds<R: CryptoRng>(
        &mut self,
        transcript: &mut Transcript,
        rng: &mut R,
    ) -> Vec<CrossTerms> {
        let mut rounds = Vec::new();
        while self.g.len() > 1 {
            let half = self.g.len() / 2;
            let blinds = [F::random(rng), F::random(rng)];
            let terms = self.cross_terms(half, blinds);
            absorb_round(transcript, COLUMNS, &terms);
            let short = short_challenge(transcript);
            let t = short.to_field();
            let t_inv = invert(&t);
            let hi = Row {
                data: self.row.data.split_off(half),
                functional: self.row.functional.split_off(half),
                blind: F::ZERO,
            };
            self.row.fold(&hi, &t, &t_inv);
            self.row.blind += t_inv * blinds[0] + t * blinds[1];
            self.g = fold_bases(&self.g[..half], &self.g[half..], &short);
            rounds.push(terms);
        }
        rounds
    }

    fn cross_terms(&self, half: usize, blinds: [F; 2]) -> CrossTerms {
        let (data_lo, data_hi) = self.row.data.split_at(half);
        let (b_lo, b_hi) = self.row.functional.split_at(half);
        let (g_lo, g_hi) = self.g.split_at(half);
        let term = |g: &[EqAffine], data: &[F], b: &[F], blind: F| {
            let value = self.z * inner_product(data, b);
            msm_field(g, data) + self.generators.u * value + self.generators.h * blind
        };
        let (l, r) = rayon::join(
            || term(g_lo, data_hi, b_lo, blinds[0]),
            || term(g_hi, data_lo, b_hi, blinds[1]),
        );
        encode_terms(l, r)
    }

    fn finish<R: CryptoRng>(
        self,
        row_rounds: Vec<CrossTerms>,
        column_rounds: Vec<CrossTerms>,
        transcript: &mut Transcript,
        rng: &mut R,
    ) -> OpeningProof {
        let (a, b) = (self.row.data[0], self.row.functional[0]);
        let (alpha, rho) = (F::random(rng), F::random(rng));
        let Generators { u, h, .. } = self.generators;
        let commitment = self.g[0] * alpha + u * (alpha * self.z * b) + h * rho;
        let commitment = PointBytes::from(&commitment.to_affine());
        transcript.absorb_point_bytes(END, &commitment);
        let e = transcript.challenge(END);
        OpeningProof {
            row_rounds,
            column_rounds,
            commitment,
            data_response: ScalarBytes::from(&(alpha + e * a)),
            blind_response: ScalarBytes::from(&(rho + e * self.row.blind)),
        }
    }
}

/// A proof's points and scalars.
struct Decoded {
    row_rounds: Vec<(EqAffine, EqAffine)>,
    column_rounds: Vec<(EqAffine, EqAffine)>,
    commitment: EqAffine,
    data_response: F,
    blind_response: F,
}

/// Everything that the verifier draws.
struct Challenges {
    rows: Factors,
    columns: Factors,
    z: F,
    e: F,
}

/// The challenges of one kind of rounds and their inverses, lowest bit (that is, last round) first.
struct Factors {
    t: Vec<F>,
    inverses: Vec<F>,
}

impl Factors {
    fn of_rounds(t: impl DoubleEndedIterator<Item = F>) -> Self {
        let t: Vec<F> = t.rev().collect();
        let mut inverses = t.clone();
        assert!(batch_invert(&mut inverses), "challenges are not zero");
        Self { t, inverses }
    }
}

impl OpeningProof {
    /// Checks that the rounds are as many as they must be for so many rows of 2^`log_len`.
    ///
    /// # Errors
    /// [`OpeningError::Rounds`].
    pub fn check_rounds(&self, rows: usize, log_len: usize) -> Result<(), OpeningError> {
        let counts = [
            ("row", row_rounds(rows), self.row_rounds.len()),
            ("column", log_len, self.column_rounds.len()),
        ];
        for (kind, expected, found) in counts {
            if expected != found {
                return Err(OpeningError::Rounds {
                    kind,
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }

    /// Decodes the points and scalars, after checking that the rounds are as many as they must.
    fn decode(&self, rows: usize, log_len: usize) -> Result<Decoded, OpeningError> {
        self.check_rounds(rows, log_len)?;
        let rounds = self.row_rounds.iter().chain(&self.column_rounds);
        let mut bytes: Vec<PointBytes> = rounds.flat_map(|(l, r)| [*l, *r]).collect();
        bytes.push(self.commitment);
        let points = decode_points(&bytes)?;
        let mut pairs = points.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        Ok(Decoded {
            row_rounds: pairs.by_ref().take(self.row_rounds.len()).collect(),
            column_rounds: pairs.collect(),
            commitment: points[points.len() - 1],
            data_response: self.data_response.decode()?,
            blind_response: self.blind_response.decode()?,
        })
    }

    /// Replays the conversation.
    fn challenges(&self, rows: usize, log_len: usize, transcript: &mut Transcript) -> Challenges {
        absorb_shape(transcript, rows, log_len);
        let mut rows = Vec::new();
        for terms in &self.row_rounds {
            absorb_round(transcript, ROWS, terms);
            rows.push(transcript.challenge(ROWS));
        }
        let z = transcript.challenge(Z);
        let mut columns = Vec::new();
        for terms in &self.column_rounds {
            absorb_round(transcript, COLUMNS, terms);
            columns.push(short_challenge(transcript).to_field());
        }
        transcript.absorb_point_bytes(END, &self.commitment);
        let e = transcript.challenge(END);
        Challenges {
            rows: Factors::of_rounds(rows.into_iter()),
            columns: Factors::of_rounds(columns.into_iter()),
            z,
            e,
        }
    }
}

impl Challenges {
    fn fold_point(&self) -> FoldPoint {
        FoldPoint {
            columns: self.columns.t.clone(),
            rows: self.rows.t.clone(),
        }
    }
}

/// Adds e·P + A − (α + e·a)·(G + z·b·U) − (ρ + e·r)·H = 0, where
///
/// ```text
/// P = C + z·(V + Σ_rows (t⁻¹·L + t·R)) + Σ_columns (t⁻¹·L + t·R).
/// ```
fn push_equation(
    proof: &Decoded,
    challenges: &Challenges,
    data: Vec<(F, EqAffine)>,
    value: &ValueCommitment,
    b: F,
    msm: &mut FinalMsm,
) {
    let Challenges {
        rows,
        columns,
        z,
        e,
    } = challenges;
    let mut equation = msm.equation();
    for (coef, point) in data {
        equation.point(*e * coef, point);
    }
    equation.u(*e * z * value.value);
    for (coef, point) in &value.terms {
        equation.point(*e * z * coef, *point);
    }
    let kinds = [
        (&proof.row_rounds, rows, *e * z),
        (&proof.column_rounds, columns, *e),
    ];
    for (rounds, factors, scale) in kinds {
        let factors = factors.t.iter().zip(&factors.inverses);
        for ((l, r), (t, t_inv)) in rounds.iter().rev().zip(factors) {
            equation.point(scale * t_inv, *l);
            equation.point(scale * t, *r);
        }
    }
    equation.point(F::ONE, proof.commitment);
    equation.g(-proof.data_response, &tensor(&columns.t));
    equation.u(-proof.data_response * z * b);
    equation.h(-proof.blind_response);
}

#[cfg(test)]
mod tests;
