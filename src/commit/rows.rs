//! Rows of values and their Pedersen commitments.

use ff::Field;
use pasta_curves::{Eq, EqAffine};
use rayon::prelude::*;

use crate::{
    algebra::{F, Limbs, SmallAccumulator, from_i128},
    curve::{Generators, generators::normalize, msm_field, msm_small, msm_wide},
};

/// The values of one committed row, at most 2^c; a shorter row is padded with zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowData {
    Small(Vec<i32>),
    Wide(Vec<i128>),
    Field(Vec<F>),
}

impl RowData {
    /// The number of values, before padding.
    fn len(&self) -> usize {
        match self {
            Self::Small(values) => values.len(),
            Self::Wide(values) => values.len(),
            Self::Field(values) => values.len(),
        }
    }

    /// The values in F, padded to `len`. Panics if there are more.
    pub fn to_field(&self, len: usize) -> Vec<F> {
        assert!(self.len() <= len, "a row holds at most 2^c values");
        let mut values: Vec<F> = match self {
            Self::Small(values) => values.iter().map(|v| from_i128((*v).into())).collect(),
            Self::Wide(values) => values.iter().map(|v| from_i128(*v)).collect(),
            Self::Field(values) => values.clone(),
        };
        values.resize(len, F::ZERO);
        values
    }

    /// ⟨values, G⟩ + blind·H. Panics if there are more values than G's.
    pub fn commit(&self, generators: &Generators, blind: &F) -> Eq {
        let g = &generators.g;
        let values = match self {
            Self::Small(values) => msm_small(g, values),
            Self::Wide(values) => msm_wide(g, values),
            Self::Field(values) => msm_field(g, values),
        };
        values + generators.h * blind
    }
}

/// The commitments of many rows, in parallel. Panics if there is not one blind per row.
pub fn commit_rows(generators: &Generators, rows: &[RowData], blinds: &[F]) -> Vec<EqAffine> {
    assert_eq!(rows.len(), blinds.len(), "every row has its blind");
    let commitments: Vec<Eq> = rows
        .par_iter()
        .zip(blinds)
        .with_max_len(1)
        .map(|(row, blind)| row.commit(generators, blind))
        .collect();
    normalize(&commitments)
}

/// Columns folded at a time: their accumulators stay in the first-level cache.
const FOLD_COLUMNS: usize = 256;

/// `Σ_r coefs[r]·rows[r]`, as long as the longest row, reduced once per entry. At most 2^32 rows.
pub fn fold_rows(rows: &[&[i32]], coefs: &[F]) -> Vec<F> {
    assert_eq!(rows.len(), coefs.len(), "every row has its coefficient");
    let len = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let coefs: Vec<Limbs> = coefs.iter().map(Limbs::from).collect();
    let starts: Vec<usize> = (0..len).step_by(FOLD_COLUMNS).collect();
    let folded = starts.into_par_iter().flat_map_iter(|start| {
        let end = len.min(start + FOLD_COLUMNS);
        let mut sums = vec![SmallAccumulator::default(); end - start];
        for (row, coef) in rows.iter().zip(&coefs) {
            let values = row.get(start..end.min(row.len())).unwrap_or(&[]);
            for (sum, x) in sums.iter_mut().zip(values) {
                sum.add(*x, coef);
            }
        }
        sums.into_iter().map(|sum| sum.reduce())
    });
    folded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::{msm::msm_naive, testing::TestRng};
    use rand_core::Rng;

    fn rows(rng: &mut TestRng) -> Vec<RowData> {
        vec![
            RowData::Small((0..16).map(|_| rng.next_u32() as i16 as i32).collect()),
            RowData::Small(vec![-3, 65535, 0, 1]),
            RowData::Small(vec![]),
            RowData::Small(vec![0; 16]),
            RowData::Wide((0..16).map(|_| i128::from(rng.next_u64()) << 40).collect()),
            RowData::Wide(vec![-1, i128::MAX]),
            RowData::Field((0..16).map(|_| F::random(rng)).collect()),
            RowData::Field(vec![-F::ONE]),
        ]
    }

    /// Every kind of row commits to the field elements it stands for, under its own blind.
    #[test]
    fn commitments_are_pedersen_commitments_of_the_padded_values() {
        let gens = Generators::derive(4);
        let mut rng = TestRng::new(1);
        let rows = rows(&mut rng);
        let blinds: Vec<F> = rows.iter().map(|_| F::random(&mut rng)).collect();
        let commitments = commit_rows(&gens, &rows, &blinds);
        let mut bases = gens.g.clone();
        bases.push(gens.h);
        for ((row, blind), commitment) in rows.iter().zip(&blinds).zip(&commitments) {
            let mut scalars = row.to_field(16);
            scalars.push(*blind);
            assert_eq!(*commitment, msm_naive(&bases, &scalars));
        }
    }

    #[test]
    fn padding_keeps_values_and_adds_zeros() {
        let row = RowData::Small(vec![-3, 7]).to_field(4);
        assert_eq!(row, [-F::from(3), F::from(7), F::ZERO, F::ZERO]);
    }

    #[test]
    #[should_panic(expected = "a row holds at most 2^c values")]
    fn overlong_rows_are_refused() {
        RowData::Wide(vec![1; 5]).to_field(4);
    }

    #[test]
    fn folded_rows_are_the_linear_combination() {
        let mut rng = TestRng::new(2);
        let lens = [FOLD_COLUMNS + 5, 3, 0, FOLD_COLUMNS, 2 * FOLD_COLUMNS + 1];
        let rows: Vec<Vec<i32>> = lens
            .iter()
            .map(|n| (0..*n).map(|_| rng.next_u32() as i32).collect())
            .collect();
        let coefs: Vec<F> = rows.iter().map(|_| F::random(&mut rng)).collect();
        let mut expected = vec![F::ZERO; 2 * FOLD_COLUMNS + 1];
        for (row, coef) in rows.iter().zip(&coefs) {
            for (sum, x) in expected.iter_mut().zip(row) {
                *sum += *coef * from_i128((*x).into());
            }
        }
        let views: Vec<&[i32]> = rows.iter().map(Vec::as_slice).collect();
        assert_eq!(fold_rows(&views, &coefs), expected);
        assert!(fold_rows(&[], &[]).is_empty());
    }
}
