//! The one field of the argument and the conversions into it.

use ff::{Field, PrimeField};
use pasta_curves::deferred::DeferredField;

/// The scalar field of Vesta, which is the base field of Pallas: commitments are on Vesta, and
/// the Halo2 circuit computes in this field natively. Its modulus p is a little above 2^254.
pub type F = pasta_curves::Fp;

/// `x` as a field element, negative numbers as `p − |x|`.
pub fn from_i128(x: i128) -> F {
    let magnitude = F::from_u128(x.unsigned_abs());
    if x < 0 { -magnitude } else { magnitude }
}

/// 2^n in the field, for any `n` (it wraps around p beyond 254: the caller states its bound).
pub fn pow2(n: u32) -> F {
    F::from(2).pow_vartime([u64::from(n)])
}

/// `1, x, x², …`, `n` of them.
pub fn powers(x: F, n: usize) -> Vec<F> {
    std::iter::successors(Some(F::ONE), |p| Some(p * x))
        .take(n)
        .collect()
}

/// Σ aᵢ·bᵢ with one modular reduction for the whole sum. Panics if the lengths differ.
pub fn inner_product(a: &[F], b: &[F]) -> F {
    assert_eq!(
        a.len(),
        b.len(),
        "an inner product needs two vectors of one length"
    );
    let mut acc = <F as DeferredField>::Accumulator::default();
    for (x, y) in a.iter().zip(b) {
        F::mul_accumulate(&mut acc, x, y);
    }
    F::reduce(acc)
}

/// Inverts every element in place at the price of one inversion (Montgomery's trick). Returns
/// `false`, leaving the values unspecified, if one of them is zero.
#[must_use]
pub fn batch_invert(values: &mut [F]) -> bool {
    let mut prefix = Vec::with_capacity(values.len());
    let mut product = F::ONE;
    for v in values.iter() {
        prefix.push(product);
        product *= v;
    }
    let Some(mut inverse) = Option::<F>::from(product.invert()) else {
        return false;
    };
    for (v, before) in values.iter_mut().zip(prefix).rev() {
        let this = inverse * before;
        inverse *= *v;
        *v = this;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_integers_keep_their_sums() {
        assert_eq!(from_i128(-5) + from_i128(7), F::from(2));
        assert_eq!(from_i128(i128::MIN) + pow2(127), F::ZERO);
    }

    #[test]
    fn inner_product_matches_the_plain_sum() {
        let a: Vec<F> = (1..50u64).map(|i| -F::from(i * i)).collect();
        let b: Vec<F> = (1..50u64).map(|i| F::from(7 * i) - F::from(300)).collect();
        let plain: F = a.iter().zip(&b).map(|(x, y)| x * y).sum();
        assert_eq!(inner_product(&a, &b), plain);
    }

    #[test]
    fn batch_inversion_inverts_and_refuses_zero() {
        let mut v: Vec<F> = (1..20u64).map(F::from).collect();
        let original = v.clone();
        assert!(batch_invert(&mut v));
        assert!(v.iter().zip(&original).all(|(i, x)| i * x == F::ONE));
        assert!(!batch_invert(&mut [F::ONE, F::ZERO]));
    }
}
