//! Inner products of small integers with field elements, reduced once at the end.

use ff::{Field, PrimeField};

use super::field::{F, from_i128};

/// Field elements as canonical 64-bit limbs, lowest first: the form in which they are multiplied
/// by small integers.
#[derive(Clone, Copy, Debug)]
pub struct Limbs(pub [u64; 4]);

impl From<&F> for Limbs {
    fn from(x: &F) -> Self {
        let bytes = x.to_repr();
        let limb =
            |i: usize| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().expect("eight bytes"));
        Self([limb(0), limb(1), limb(2), limb(3)])
    }
}

/// Σ xᵢ·wᵢ for 32-bit integers xᵢ, one signed 128-bit accumulator per limb of w.
///
/// Bound: |xᵢ·limb| < 2^31·2^64 = 2^95, so 2^32 products fit in an `i128`.
#[derive(Clone, Copy, Debug, Default)]
pub struct SmallAccumulator([i128; 4]);

impl SmallAccumulator {
    #[inline]
    pub fn add(&mut self, x: i32, w: &Limbs) {
        for (acc, limb) in self.0.iter_mut().zip(w.0) {
            *acc += i128::from(x) * i128::from(limb);
        }
    }

    /// The sum in F.
    pub fn reduce(&self) -> F {
        let radix = F::from_u128(1 << 64);
        let limbs = self.0.iter().rev();
        limbs.fold(F::ZERO, |sum, limb| sum * radix + from_i128(*limb))
    }
}

/// Σ xᵢ·wᵢ.
pub fn small_inner_product(xs: &[i32], ws: &[Limbs]) -> F {
    assert_eq!(
        xs.len(),
        ws.len(),
        "an inner product needs two vectors of one length"
    );
    let mut acc = SmallAccumulator::default();
    for (x, w) in xs.iter().zip(ws) {
        acc.add(*x, w);
    }
    acc.reduce()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_field_arithmetic_at_the_extremes() {
        let ws = [-F::ONE, F::ZERO, F::from(3).invert().unwrap(), -F::from(2)];
        let xs = [i32::MIN, 5, i32::MAX, -1];
        let expected: F = xs
            .iter()
            .zip(&ws)
            .map(|(x, w)| from_i128(i128::from(*x)) * w)
            .sum();
        let limbs: Vec<Limbs> = ws.iter().map(Limbs::from).collect();
        assert_eq!(small_inner_product(&xs, &limbs), expected);
    }
}
