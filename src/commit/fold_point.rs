//! The tensor of fold challenges.

use crate::algebra::F;

/// What an opening folds functionals with. Value `column` of row `row` has the weight
///
/// ```text
/// weight(row, column) = Π_b (columns[b] if bit b of column is set, else 1) · Π_b (rows[b] if bit b of row is set, else 1),
/// ```
///
/// lowest bit first. The folded functional is Σ weight(row, column)·B_row(column).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldPoint {
    /// c of them.
    pub columns: Vec<F>,
    pub rows: Vec<F>,
}

impl FoldPoint {
    /// One factor for each bit of the index `row·2^row_bits + column`, of rows that have 2^row_bits values of the
    /// opening's 2^c. Panics if there are more.
    pub fn factors(&self, row_bits: usize) -> Vec<F> {
        [&self.columns[..row_bits], &self.rows].concat()
    }
}

/// Π_b (factors[b] if bit b of x is set) for all x.
pub(super) fn tensor(factors: &[F]) -> Vec<F> {
    let mut table = Vec::with_capacity(1 << factors.len());
    table.push(F::one());
    for t in factors {
        for i in 0..table.len() {
            table.push(table[i] * t);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_has_the_product_of_the_set_bits_factors() {
        let factors: Vec<F> = (3..8).map(F::from).collect();
        let table = tensor(&factors);
        assert_eq!(table.len(), 32);
        for (x, w) in table.iter().enumerate() {
            let set = (0..5).filter(|b| x >> b & 1 == 1);
            assert_eq!(*w, set.map(|b| factors[b]).product());
        }
    }

    /// A value has one weight, however long the rows are in which it is counted.
    #[test]
    fn short_rows_have_the_weights_of_long_ones() {
        let point = FoldPoint {
            columns: (3..8).map(F::from).collect(),
            rows: (20..22).map(F::from).collect(),
        };
        let (short, long) = (tensor(&point.factors(2)), tensor(&point.factors(5)));
        for (row, column) in (0..4).flat_map(|row| (0..4).map(move |column| (row, column))) {
            assert_eq!(short[row << 2 | column], long[row << 5 | column]);
        }
    }
}
