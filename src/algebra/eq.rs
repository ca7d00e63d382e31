//! The multilinear extension of equality, and of "index < n".
//!
//! A point of n coordinates lists the *lowest* index bit first, everywhere in this crate.

use ff::Field;

use super::F;

/// eq(point, x) = Π_b (x_b·point_b + (1 − x_b)(1 − point_b)) for the Boolean index `x`.
/// Panics unless `x` is below 2^point.len(): its upper bits would be taken for another index.
pub fn eq_at(point: &[F], x: usize) -> F {
    assert!(point.len() >= usize::BITS as usize || x >> point.len() == 0);
    point
        .iter()
        .enumerate()
        .map(|(b, p)| if x >> b & 1 == 1 { *p } else { F::ONE - p })
        .product()
}

/// All 2^n values eq(point, ·), times `scale`.
pub fn eq_table(point: &[F], scale: F) -> Vec<F> {
    let mut table = vec![F::ZERO; 1 << point.len()];
    table[0] = scale;
    for (b, p) in point.iter().enumerate() {
        let (low, high) = table[..2 << b].split_at_mut(1 << b);
        for (l, h) in low.iter_mut().zip(high) {
            *h = *l * p;
            *l -= *h;
        }
    }
    table
}

/// Σ_{x < n} eq(point, x): the multilinear extension of the set {0, …, n − 1} at `point`.
/// `n` may be anything from 0 to 2^point.len().
pub fn prefix_at(point: &[F], n: usize) -> F {
    assert!(
        n <= 1 << point.len(),
        "a prefix cannot exceed its hypercube"
    );
    if n == 1 << point.len() {
        return F::ONE;
    }
    // From the highest bit down: where bit b of n is set, the indices that agree with n above b
    // and have a 0 at b are all below n.
    let (mut below, mut agree) = (F::ZERO, F::ONE);
    for (b, p) in point.iter().enumerate().rev() {
        if n >> b & 1 == 1 {
            below += agree * (F::ONE - p);
            agree *= p;
        } else {
            agree *= F::ONE - p;
        }
    }
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point() -> Vec<F> {
        (0..5u64).map(|i| F::from(1000 + 77 * i).square()).collect()
    }

    #[test]
    fn table_and_single_evaluations_agree() {
        let table = eq_table(&point(), F::ONE);
        for (x, value) in table.iter().enumerate() {
            assert_eq!(*value, eq_at(&point(), x));
        }
        assert_eq!(table.iter().sum::<F>(), F::ONE);
    }

    #[test]
    fn prefixes_are_partial_sums_of_eq() {
        let table = eq_table(&point(), F::ONE);
        for n in 0..=32 {
            assert_eq!(prefix_at(&point(), n), table[..n].iter().sum::<F>());
        }
    }
}
