use std::sync::Arc;

use super::*;
use crate::{
    commit::{RowData, commit_rows},
    curve::{msm::msm_naive, testing::TestRng},
};
use pasta_curves::group::Group;

const LOG_LEN: usize = 3;
const LEN: usize = 1 << LOG_LEN;
const SHAPES: [usize; 5] = [1, 2, 3, 4, 5];

fn random_run(rng: &mut TestRng) -> Vec<F> {
    (0..LEN).map(|_| F::random(rng)).collect()
}

fn transcript() -> Transcript {
    Transcript::new("opening test", &[3; 32])
}

/// A statement as its verifier has it, and the prover's witness.
#[derive(Clone)]
struct Case {
    generators: Generators,
    witness: OpeningWitness,
    commitments: Vec<EqAffine>,
    functionals: Vec<Vec<F>>,
    value: ValueCommitment,
}

impl Case {
    fn new(rows: usize) -> Self {
        let mut rng = TestRng::new(rows as u64);
        let generators = Generators::derive(LOG_LEN);
        let witness = OpeningWitness {
            rows: (0..rows).map(|_| random_run(&mut rng)).collect(),
            blinds: (0..rows).map(|_| F::random(&mut rng)).collect(),
            functionals: (0..rows).map(|_| random_run(&mut rng)).collect(),
            value_blind: F::random(&mut rng),
        };
        let mut case = Self {
            generators,
            commitments: Vec::new(),
            functionals: witness.functionals.clone(),
            value: ValueCommitment::default(),
            witness,
        };
        case.commit(F::random(&mut rng));
        case
    }

    fn true_value(&self) -> F {
        let pairs = self.witness.rows.iter().zip(&self.witness.functionals);
        pairs.map(|(row, b)| dot(row, b)).sum()
    }

    /// Commits to the rows, and to the value as (value + mask)·U − M, M = mask·U − blind·H.
    fn commit(&mut self, mask: F) {
        let Generators { u, h, .. } = &self.generators;
        let rows: Vec<RowData> = self
            .witness
            .rows
            .iter()
            .cloned()
            .map(RowData::Field)
            .collect();
        self.commitments = commit_rows(&self.generators, &rows, &self.witness.blinds);
        let masking = (u * mask - h * self.witness.value_blind).to_affine();
        self.value = ValueCommitment {
            value: self.true_value() + mask,
            terms: vec![(-F::ONE, masking)],
        };
    }

    fn prove(&self) -> OpeningProof {
        let rng = &mut TestRng::new(77);
        prove(
            &self.generators,
            self.witness.clone(),
            &mut transcript(),
            rng,
        )
    }

    fn verify(&self, proof: &OpeningProof) -> Result<bool, OpeningError> {
        let mut msm = FinalMsm::new(Arc::new(self.generators.clone()), &mut TestRng::new(99));
        verify(
            proof,
            self.commitments.len(),
            &self.value,
            |weights| self.data_terms(weights),
            |point| self.fold_functionals(point),
            &mut transcript(),
            &mut msm,
        )?;
        Ok(msm.check())
    }

    fn data_terms(&self, weights: &[F]) -> Vec<(F, EqAffine)> {
        let terms = weights
            .iter()
            .copied()
            .zip(self.commitments.iter().copied());
        terms.collect()
    }

    fn fold_functionals(&self, point: &FoldPoint) -> F {
        let (columns, rows) = (tensor(&point.columns), tensor(&point.rows));
        let rows = self.functionals.iter().zip(rows);
        rows.map(|(b, weight)| weight * dot(b, &columns)).sum()
    }

    /// The verifier of a broken protocol in which V is merged with C from the start: z = 1.
    fn verify_merged(&self, proof: &OpeningProof) -> bool {
        let mut msm = FinalMsm::new(Arc::new(self.generators.clone()), &mut TestRng::new(99));
        let rows = self.commitments.len();
        let decoded = proof.decode(rows, LOG_LEN).unwrap();
        let mut challenges = proof.challenges(rows, LOG_LEN, &mut transcript());
        challenges.z = F::ONE;
        let data = self.data_terms(&tensor(&challenges.rows.inverses)[..rows]);
        let b = self.fold_functionals(&challenges.fold_point());
        push_equation(&decoded, &challenges, data, &self.value, b, &mut msm);
        msm.check()
    }
}

/// Rows and functionals shorter than the generators go on with zeros; what a row has beyond its functional is not read, and
/// what it has in it is.
#[test]
fn rows_may_be_shorter_than_the_generators() {
    let mut case = Case::new(5);
    for (row, len) in [(1, 4), (2, 1), (4, 2)] {
        case.witness.rows[row].truncate(len);
        case.witness.functionals[row].truncate(len);
    }
    // Longer than its functional, and shorter.
    case.witness.functionals[0].truncate(2);
    case.witness.rows[3].truncate(2);
    case.functionals = case.witness.functionals.clone();
    case.commit(F::from(3));
    assert_eq!(case.verify(&case.prove()), Ok(true));
    for (row, at, read) in [(0, 5, false), (0, 1, true), (2, 0, true)] {
        let mut cheat = case.clone();
        cheat.witness.rows[row][at] += F::ONE;
        let value = cheat.value.clone();
        cheat.commit(F::from(3));
        cheat.value = value;
        assert_eq!(cheat.verify(&cheat.prove()), Ok(!read), "row {row}, {at}");
    }
}

#[test]
fn honest_openings_are_accepted_for_every_number_of_rows() {
    for rows in SHAPES {
        let case = Case::new(rows);
        let proof = case.prove();
        assert_eq!(case.verify(&proof), Ok(true), "{rows} rows");
        assert_eq!(proof.row_rounds.len(), row_rounds(rows));
        let bytes = postcard::to_stdvec(&proof).unwrap();
        assert_eq!(postcard::from_bytes(&bytes), Ok(proof));
    }
}

/// Empty runs stand for zeros, and a claim about nothing but zeros is a claim too.
#[test]
fn zero_rows_and_zero_functionals_may_be_left_out() {
    let mut case = Case::new(5);
    case.witness.rows[1].clear();
    case.witness.rows[4].clear();
    for r in [0, 4] {
        case.witness.functionals[r].clear();
        case.functionals[r] = vec![F::ZERO; LEN];
    }
    case.commit(F::ONE);
    assert_eq!(case.verify(&case.prove()), Ok(true));
    let mut case = Case::new(2);
    case.witness.functionals = vec![Vec::new(); 2];
    case.functionals = vec![vec![F::ZERO; LEN]; 2];
    case.commit(F::ONE);
    assert_eq!(case.verify(&case.prove()), Ok(true));
    let mut case = Case::new(2);
    case.witness.rows = vec![Vec::new(); 2];
    case.commit(F::ONE);
    assert_eq!(case.verify(&case.prove()), Ok(true));
}

/// Each part of the statement, changed on the verifier's side alone.
#[test]
fn every_part_of_the_statement_is_bound() {
    type Change = fn(&mut Case);
    let changes: [(&str, Change); 7] = [
        ("value", |c| c.value.value += F::ONE),
        ("value commitment", |c| c.value.terms[0].0 = F::ONE),
        ("value commitment left out", |c| c.value.terms.clear()),
        ("functional's first entry", |c| {
            c.functionals[0][0] += F::ONE
        }),
        ("functional's last entry", |c| {
            *c.functionals.last_mut().unwrap().last_mut().unwrap() += F::ONE;
        }),
        ("first commitment", |c| c.commitments[0] = -c.commitments[0]),
        ("last commitment", |c| {
            *c.commitments.last_mut().unwrap() = c.generators.h;
        }),
    ];
    for rows in SHAPES {
        let case = Case::new(rows);
        let proof = case.prove();
        for (what, change) in changes {
            let mut changed = case.clone();
            change(&mut changed);
            assert_eq!(changed.verify(&proof), Ok(false), "{what}, {rows} rows");
        }
    }
    let mut swapped = Case::new(3);
    let proof = swapped.prove();
    swapped.commitments.swap(0, 2);
    assert_eq!(swapped.verify(&proof), Ok(false));
}

/// A different number of rows is another statement even where the rounds are as many.
#[test]
fn the_number_of_rows_is_bound() {
    let mut case = Case::new(3);
    let proof = case.prove();
    case.commitments.push(case.generators.h);
    case.functionals.push(vec![F::ZERO; LEN]);
    assert_eq!(case.verify(&proof), Ok(false));
}

#[test]
fn the_transcript_before_the_opening_is_bound() {
    let case = Case::new(2);
    let mut other = transcript();
    other.absorb_bytes("statement", b"another");
    let rng = &mut TestRng::new(1);
    let proof = prove(&case.generators, case.witness.clone(), &mut other, rng);
    assert_eq!(case.verify(&proof), Ok(false));
}

/// Every message of the proof, replaced by another valid one.
#[test]
fn every_message_of_the_proof_matters() {
    type Change = fn(&mut OpeningProof);
    let changes: [(&str, Change); 9] = [
        ("row L and R swapped", |p| {
            let (l, r) = &mut p.row_rounds[1];
            std::mem::swap(l, r);
        }),
        ("column L and R swapped", |p| {
            let (l, r) = &mut p.column_rounds[1];
            std::mem::swap(l, r);
        }),
        ("row rounds exchanged", |p| p.row_rounds.swap(0, 1)),
        ("column rounds exchanged", |p| p.column_rounds.swap(0, 2)),
        ("row L negated", |p| p.row_rounds[0].0.0[31] ^= 0x80),
        ("column R negated", |p| p.column_rounds[0].1.0[31] ^= 0x80),
        ("commitment negated", |p| p.commitment.0[31] ^= 0x80),
        ("data response", |p| p.data_response.0[0] ^= 1),
        ("blind response", |p| p.blind_response.0[0] ^= 1),
    ];
    let case = Case::new(4);
    let proof = case.prove();
    for (what, change) in changes {
        let mut changed = proof.clone();
        change(&mut changed);
        assert_eq!(case.verify(&changed), Ok(false), "{what}");
    }
}

#[test]
fn missing_and_additional_rounds_are_refused() {
    type Change = fn(&mut OpeningProof);
    let changes: [(Change, &str, usize, usize); 6] = [
        (|p| p.row_rounds.truncate(1), "row", 2, 1),
        (|p| p.row_rounds.push(p.column_rounds[0]), "row", 2, 3),
        (|p| p.row_rounds.clear(), "row", 2, 0),
        (|p| p.column_rounds.truncate(2), "column", 3, 2),
        (|p| p.column_rounds.push(p.row_rounds[0]), "column", 3, 4),
        (|p| p.column_rounds.clear(), "column", 3, 0),
    ];
    let case = Case::new(4);
    let proof = case.prove();
    for (change, kind, expected, found) in changes {
        let mut changed = proof.clone();
        change(&mut changed);
        let refused = OpeningError::Rounds {
            kind,
            expected,
            found,
        };
        assert_eq!(case.verify(&changed), Err(refused));
    }
}

#[test]
fn invalid_points_and_scalars_are_refused() {
    type Change = fn(&mut OpeningProof);
    let changes: [(Change, EncodingError); 6] = [
        (|p| p.row_rounds[0].0.0 = [0; 32], EncodingError::Identity),
        (
            |p| p.column_rounds[2].1.0 = [0; 32],
            EncodingError::Identity,
        ),
        (|p| p.commitment.0 = [0; 32], EncodingError::Identity),
        (|p| p.row_rounds[1].1.0 = [0xff; 32], EncodingError::Point),
        (|p| p.data_response.0 = [0xff; 32], EncodingError::Scalar),
        (|p| p.blind_response.0 = [0xff; 32], EncodingError::Scalar),
    ];
    let case = Case::new(4);
    let proof = case.prove();
    for (change, error) in changes {
        let mut changed = proof.clone();
        change(&mut changed);
        assert_eq!(case.verify(&changed), Err(error.into()));
    }
}

/// Two proofs of one statement share no bytes but by their randomness's fault.
#[test]
fn proofs_are_randomized() {
    let case = Case::new(2);
    let rng = &mut TestRng::new(5);
    let mut proofs = [(), ()].map(|()| {
        prove(
            &case.generators,
            case.witness.clone(),
            &mut transcript(),
            rng,
        )
    });
    let [a, b] = &mut proofs;
    assert_ne!(a.row_rounds, b.row_rounds);
    assert_ne!(a.column_rounds, b.column_rounds);
    assert_ne!(a.commitment, b.commitment);
    assert_ne!(a.data_response, b.data_response);
    assert_ne!(a.blind_response, b.blind_response);
}

/// A group element by its coordinates in the generators, which a prover knows of all it makes.
#[derive(Clone)]
struct Known {
    g: Vec<F>,
    u: F,
    h: F,
}

impl Known {
    fn zero() -> Self {
        Self {
            g: vec![F::ZERO; LEN],
            u: F::ZERO,
            h: F::ZERO,
        }
    }

    fn add(&mut self, scale: F, other: &Self) {
        fold(&mut self.g, &other.g, &scale);
        self.u += scale * other.u;
        self.h += scale * other.h;
    }

    fn point(&self, generators: &Generators) -> EqAffine {
        let bases = [&generators.g[..], &[generators.u, generators.h]].concat();
        let scalars = [&self.g[..], &[self.u, self.h]].concat();
        msm_naive(&bases, &scalars)
    }
}

/// A prover written out plainly, which may commit to anything and hide anything in its messages.
/// Once P is formed it does the best it can: it opens P's true G-part.
struct Cheater {
    rows: Vec<Known>,
    value: Known,
    /// The data that the cross terms of the row rounds are computed from.
    pretended: Vec<Vec<F>>,
    functionals: Vec<Vec<F>>,
    /// Added to the first row round's L and R.
    hidden: [Known; 2],
    /// Used instead of the transcript's z.
    z: Option<F>,
}

impl Cheater {
    fn honest(case: &Case) -> Self {
        let witness = case.witness.clone();
        let rows = witness
            .rows
            .iter()
            .zip(&witness.blinds)
            .map(|(g, h)| Known {
                g: g.clone(),
                u: F::ZERO,
                h: *h,
            });
        let mut value = Known::zero();
        (value.u, value.h) = (case.true_value(), witness.value_blind);
        Self {
            rows: rows.collect(),
            value,
            pretended: witness.rows,
            functionals: witness.functionals,
            hidden: [Known::zero(), Known::zero()],
            z: None,
        }
    }

    /// The statement that the cheater makes: what it committed to, and its value commitment.
    fn statement(&self, case: &Case) -> Case {
        let mut case = case.clone();
        let point = |k: &Known| k.point(&case.generators);
        case.commitments = self.rows.iter().map(point).collect();
        let mut hidden = self.value.clone();
        hidden.u = F::ZERO;
        case.value = ValueCommitment {
            value: self.value.u,
            terms: vec![(F::ONE, hidden.point(&case.generators))],
        };
        case
    }

    fn prove(mut self, generators: &Generators) -> OpeningProof {
        let (mut transcript, mut rng) = (transcript(), TestRng::new(11));
        absorb_shape(&mut transcript, self.rows.len(), LOG_LEN);
        let mut row_rounds = Vec::new();
        while self.rows.len() > 1 {
            row_rounds.push(self.row_round(generators, &mut transcript, &mut rng));
        }
        let drawn = transcript.challenge(Z);
        let z = self.z.unwrap_or(drawn);
        let mut p = self.rows.remove(0);
        p.add(z, &self.value);
        let mut columns = ColumnFolding {
            generators,
            g: generators.g.clone(),
            row: Row {
                data: p.g,
                functional: self.functionals.remove(0),
                blind: p.h,
            },
            z,
        };
        let column_rounds = columns.rounds(&mut transcript, &mut rng);
        columns.finish(row_rounds, column_rounds, &mut transcript, &mut rng)
    }

    fn row_round(
        &mut self,
        generators: &Generators,
        transcript: &mut Transcript,
        rng: &mut TestRng,
    ) -> CrossTerms {
        let half = self.rows.len().next_power_of_two() / 2;
        let rows = self.rows.split_off(half);
        let pretended = self.pretended.split_off(half);
        let functionals = self.functionals.split_off(half);
        let [mut l, mut r] = std::mem::replace(&mut self.hidden, [Known::zero(), Known::zero()]);
        for i in 0..rows.len() {
            l.u += dot(&pretended[i], &self.functionals[i]);
            r.u += dot(&self.pretended[i], &functionals[i]);
        }
        (l.h, r.h) = (F::random(rng), F::random(rng));
        let terms = encode_terms(l.point(generators).into(), r.point(generators).into());
        absorb_round(transcript, ROWS, &terms);
        let t = transcript.challenge(ROWS);
        let t_inv = invert(&t);
        for i in 0..rows.len() {
            self.rows[i].add(t_inv, &rows[i]);
            fold(&mut self.pretended[i], &pretended[i], &t_inv);
            fold(&mut self.functionals[i], &functionals[i], &t);
        }
        self.value.add(t_inv, &l);
        self.value.add(t, &r);
        terms
    }
}

/// The plain prover is the oracle of the fast one: without cheating it convinces the verifier.
#[test]
fn the_written_out_prover_is_accepted_when_honest() {
    for rows in SHAPES {
        let case = Case::new(rows);
        let prover = Cheater::honest(&case);
        let case = prover.statement(&case);
        assert_eq!(case.verify(&prover.prove(&case.generators)), Ok(true));
    }
}

/// A false value with nothing hidden.
#[test]
fn a_false_value_is_rejected() {
    for rows in SHAPES {
        let case = Case::new(rows);
        let mut prover = Cheater::honest(&case);
        prover.value.u += F::ONE;
        let case = prover.statement(&case);
        assert_eq!(case.verify(&prover.prove(&case.generators)), Ok(false));
    }
}

/// Makes a false claim with `cheat`, which gets the amount by which the claim is false, and
/// expects that it works where V is merged with C, and only there.
fn expect_only_merged_is_fooled(rows: usize, cheat: impl Fn(&mut Cheater, F)) {
    let error = F::from(1000);
    let case = Case::new(rows);
    let cheater = |z| {
        let mut cheater = Cheater::honest(&case);
        cheater.z = z;
        cheat(&mut cheater, error);
        let statement = cheater.statement(&case);
        assert_eq!(
            statement.value.value,
            case.true_value() + error,
            "the claim is false"
        );
        (statement, cheater)
    };
    let (statement, merged) = cheater(Some(F::ONE));
    let proof = merged.prove(&statement.generators);
    assert!(
        statement.verify_merged(&proof),
        "the attack works where nothing stops it"
    );
    assert_eq!(statement.verify(&proof), Ok(false));
    let (statement, separate) = cheater(None);
    let proof = separate.prove(&statement.generators);
    assert_eq!(statement.verify(&proof), Ok(false));
}

/// δ with ⟨δ, b⟩ = error.
fn shift(b: &[F], error: F) -> Known {
    let mut shift = Known::zero();
    shift.g[0] = error * invert(&b[0]);
    shift
}

/// δ hidden in L adds itself to the upper row, and the cross terms are made for that row.
#[test]
fn a_g_part_hidden_in_a_row_rounds_l_is_rejected() {
    expect_only_merged_is_fooled(2, |cheater, error| {
        let delta = shift(&cheater.functionals[1], error);
        fold(&mut cheater.pretended[1], &delta.g, &F::ONE);
        cheater.hidden[0] = delta;
        cheater.value.u += error;
    });
    expect_only_merged_is_fooled(4, |cheater, error| {
        // δ in the first round's L lands on row 2, the upper partner of row 0.
        let delta = shift(&cheater.functionals[2], error);
        fold(&mut cheater.pretended[2], &delta.g, &F::ONE);
        cheater.hidden[0] = delta;
        cheater.value.u += error;
    });
}

/// δ hidden in R comes with weight t, which no row has: it does not even help where V is merged.
#[test]
fn a_g_part_hidden_in_a_row_rounds_r_is_rejected() {
    for z in [None, Some(F::ONE)] {
        for pretend in [0, 1] {
            let case = Case::new(2);
            let mut cheater = Cheater::honest(&case);
            let delta = shift(&cheater.functionals[pretend], F::ONE);
            fold(&mut cheater.pretended[pretend], &delta.g, &F::ONE);
            cheater.hidden[1] = delta;
            cheater.value.u += F::ONE;
            cheater.z = z;
            let case = cheater.statement(&case);
            assert_eq!(case.verify(&cheater.prove(&case.generators)), Ok(false));
        }
    }
}

#[test]
fn a_u_part_hidden_in_a_row_commitment_is_rejected() {
    for rows in SHAPES {
        // P's U-part must become right: the row brings what the value has too much.
        expect_only_merged_is_fooled(rows, |cheater, error| {
            cheater.value.u += error;
            cheater.rows[0].u -= error;
        });
    }
}

#[test]
fn a_g_part_hidden_in_the_value_commitment_is_rejected() {
    expect_only_merged_is_fooled(1, |cheater, error| {
        cheater
            .value
            .add(F::ONE, &shift(&cheater.functionals[0], error));
        cheater.value.u += error;
    });
    // Among several rows it adds itself to the lowest, whose cross terms can be made for it.
    expect_only_merged_is_fooled(4, |cheater, error| {
        let delta = shift(&cheater.functionals[0], error);
        fold(&mut cheater.pretended[0], &delta.g, &F::ONE);
        cheater.value.add(F::ONE, &delta);
        cheater.value.u += error;
    });
}

/// A prover that picks its own z is rejected even with a true claim.
#[test]
fn z_is_the_transcripts() {
    let case = Case::new(2);
    let mut prover = Cheater::honest(&case);
    prover.z = Some(F::from(5));
    let case = prover.statement(&case);
    assert_eq!(case.verify(&prover.prove(&case.generators)), Ok(false));
}

/// One false opening among true ones fails the shared check.
#[test]
fn openings_share_one_group_check() {
    for (false_at, expected) in [(None, true), (Some(0), false), (Some(2), false)] {
        let generators = Arc::new(Generators::derive(LOG_LEN));
        let mut msm = FinalMsm::new(generators, &mut TestRng::new(4));
        for rows in 1..4 {
            let mut case = Case::new(rows);
            let proof = case.prove();
            if false_at == Some(rows - 1) {
                case.value.value += F::ONE;
            }
            verify(
                &proof,
                rows,
                &case.value,
                |weights| case.data_terms(weights),
                |point| case.fold_functionals(point),
                &mut transcript(),
                &mut msm,
            )
            .unwrap();
        }
        assert_eq!(msm.check(), expected);
    }
}

/// Rows with nothing but blinds: the honest prover sends no identity, which a decoder refuses.
#[test]
fn points_of_an_all_zero_opening_are_not_the_identity() {
    let mut case = Case::new(2);
    case.witness.rows = vec![vec![F::ZERO; LEN]; 2];
    case.commit(F::ZERO);
    assert!(
        case.commitments
            .iter()
            .all(|c| !bool::from(Eq::from(c).is_identity()))
    );
    assert_eq!(case.verify(&case.prove()), Ok(true));
}

/// Every challenge of an opening, in the order in which they are drawn.
fn drawn(proof: &OpeningProof, rows: usize, log_len: usize) -> Vec<F> {
    let c = proof.challenges(rows, log_len, &mut transcript());
    let (rows, columns) = (c.rows.t.into_iter().rev(), c.columns.t.into_iter().rev());
    rows.chain([c.z]).chain(columns).chain([c.e]).collect()
}

/// What is left out of the transcript on both sides leaves honest proofs valid, so challenges are looked
/// at themselves: each depends on the shape and on all that was sent before it, on nothing else.
#[test]
fn challenges_depend_on_all_that_was_sent_before_them() {
    let point = |i: u8| PointBytes([i; 32]);
    let rounds = |from: u8| {
        (0..3)
            .map(|i| (point(from + i), point(from + i + 10)))
            .collect()
    };
    let honest = OpeningProof {
        row_rounds: rounds(0),
        column_rounds: rounds(30),
        commitment: point(60),
        data_response: ScalarBytes::from(&F::ONE),
        blind_response: ScalarBytes::from(&F::ONE),
    };
    let challenges = drawn(&honest, 8, LOG_LEN);
    let differ_from = |first: usize, others: Vec<F>, what: &str| {
        let differ: Vec<bool> = others
            .iter()
            .zip(&challenges)
            .map(|(a, b)| a != b)
            .collect();
        let expected: Vec<bool> = (0..challenges.len()).map(|i| i >= first).collect();
        assert_eq!(differ, expected, "{what}");
    };
    differ_from(0, drawn(&honest, 7, LOG_LEN), "rows");
    differ_from(0, drawn(&honest, 8, LOG_LEN + 1), "columns");
    for i in 0..3 {
        let changed = |change: &dyn Fn(&mut OpeningProof)| {
            let mut proof = honest.clone();
            change(&mut proof);
            drawn(&proof, 8, LOG_LEN)
        };
        differ_from(i, changed(&|p| p.row_rounds[i].0 = point(99)), "row L");
        differ_from(i, changed(&|p| p.row_rounds[i].1 = point(99)), "row R");
        // z is drawn between the two kinds of rounds.
        let column = 4 + i;
        differ_from(
            column,
            changed(&|p| p.column_rounds[i].0 = point(99)),
            "column L",
        );
        differ_from(
            column,
            changed(&|p| p.column_rounds[i].1 = point(99)),
            "column R",
        );
        differ_from(7, changed(&|p| p.commitment = point(99)), "A");
    }
}
