//! The tensor of fold challenges.

use crate::algebra::F;

/// What an opening folds a functional with. Entry x of the data (value `x mod 2^c` of row
/// `x >> c`) has the weight
///
/// ```text
/// weight(x) = Π_b (factors[b] if bit b of x is set, else 1),
/// ```
///
/// lowest bit first: the c column bits, then the row bits. The folded functional is
/// Σ_x weight(x)·b(x).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldPoint {
    pub factors: Vec<F>,
}

impl FoldPoint {
    /// The weight of one entry. Panics if the index has more bits than there are factors.
    pub fn weight(&self, index: usize) -> F {
        assert!(
            self.factors.len() >= usize::BITS as usize || index >> self.factors.len() == 0,
            "an entry's index fits the opening's shape"
        );
        self.factors
            .iter()
            .enumerate()
            .filter(|(b, _)| index >> b & 1 == 1)
            .map(|(_, t)| t)
            .product()
    }

    /// The weights of all entries: 2^factors.len() of them.
    pub fn table(&self) -> Vec<F> {
        tensor(&self.factors)
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
    fn the_table_lists_the_weights() {
        let point = FoldPoint {
            factors: (3..8).map(F::from).collect(),
        };
        let table = point.table();
        assert_eq!(table.len(), 32);
        for (x, w) in table.iter().enumerate() {
            assert_eq!(*w, point.weight(x));
        }
        assert_eq!(table[0b10010], F::from(4 * 7));
    }
}
