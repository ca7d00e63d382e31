//! Vesta's endomorphism: φ(x, y) = (ζ·x, y) = λ·(x, y), with ζ and λ cube roots of one in the base
//! and the scalar field. A scalar k splits into k₁ + k₂·λ of half its length (Gallant, Lambert,
//! Vanstone, CRYPTO 2001), so that k·P = k₁·P + k₂·φ(P) takes half the doublings.
//!
//! The lattice of all (a, b) with a + b·λ = 0 has the short basis v₁ = (A₁, −B₁), v₂ = (B₁, B₂) of
//! determinant p = A₁·B₂ + B₁². With c₁ = k·B₂/p and c₂ = k·B₁/p rounded,
//!
//! ```text
//! (k₁, k₂) = (k, 0) − c₁·v₁ − c₂·v₂ = (k − c₁·A₁ − c₂·B₁,  c₁·B₁ − c₂·B₂).
//! ```
//!
//! c₁ and c₂ are read from k·G with G = B·2^256/p rounded: off by at most 1/2 + 2^254/2^257 = 5/8, so
//! |k₁| ≤ 5/8·(A₁ + B₁) and |k₂| ≤ 5/8·(B₁ + B₂), both below 2^128.

use ff::WithSmallOrderMulGroup;
use pasta_curves::Fq;

use super::affine::Xy;
use crate::algebra::{F, Limbs};

/// Bits of the magnitudes of k₁ and k₂.
pub const HALF_BITS: u32 = 128;

const A1: u128 = 0x49e6_9d16_40f0_4915_7fca_e1c7_0000_0000;
const B1: u128 = 0x49e6_9d16_40a8_9953_8cb1_2793_0000_0001;
const B2: u128 = 0x93cd_3a2c_8198_e269_0c7c_095a_0000_0001;
/// round(B₂·2^256/p) and round(B₁·2^256/p), limbs lowest first.
const G1: [u64; 3] = [0x31f0_2568_0000_0003, 0x4f34_e8b2_0663_89a4, 2];
const G2: [u64; 3] = [0x32c4_9e4c_0000_0003, 0x279a_7459_02a2_654e, 1];

impl Xy {
    /// φ of this point.
    #[inline]
    pub fn image(&self) -> Self {
        Self {
            x: self.x * Fq::ZETA,
            y: self.y,
        }
    }
}

/// (k₁, k₂) of a scalar, in two's complement of 192 bits.
pub fn split(k: &F) -> [[u64; 3]; 2] {
    let Limbs(k) = &Limbs::from(k);
    let (c1, c2) = (rounded_product(k, &G1), rounded_product(k, &G2));
    // All products are meant modulo 2^192, which leaves the true values: they are below 2^128.
    let k1 = sub(&sub(&[k[0], k[1], k[2]], &mul(c1, A1)), &mul(c2, B1));
    let k2 = sub(&mul(c1, B1), &mul(c2, B2));
    [k1, k2]
}

/// round(k·g/2^256), which is below 2^129.
fn rounded_product(k: &[u64; 4], g: &[u64; 3]) -> [u64; 3] {
    let mut product = [0u64; 7];
    for (i, x) in k.iter().enumerate() {
        let mut carry = 0;
        for (j, y) in g.iter().enumerate() {
            let t = u128::from(*x) * u128::from(*y) + u128::from(product[i + j]) + carry;
            (product[i + j], carry) = (t as u64, t >> 64);
        }
        product[i + 3] = carry as u64;
    }
    let half = product[3] >> 63;
    add(&[product[4], product[5], product[6]], &[half, 0, 0])
}

/// a·b modulo 2^192.
fn mul(a: [u64; 3], b: u128) -> [u64; 3] {
    let mut product = [0u64; 3];
    for (i, x) in a.iter().enumerate() {
        let mut carry = 0;
        for (j, y) in [b as u64, (b >> 64) as u64, 0][..3 - i].iter().enumerate() {
            let t = u128::from(*x) * u128::from(*y) + u128::from(product[i + j]) + carry;
            (product[i + j], carry) = (t as u64, t >> 64);
        }
    }
    product
}

/// a + b modulo 2^(64·L).
pub(super) fn add<const L: usize>(a: &[u64; L], b: &[u64; L]) -> [u64; L] {
    let mut carry = false;
    std::array::from_fn(|i| {
        let (t, c0) = a[i].overflowing_add(b[i]);
        let (t, c1) = t.overflowing_add(u64::from(carry));
        carry = c0 | c1;
        t
    })
}

/// a − b modulo 2^(64·L).
fn sub<const L: usize>(a: &[u64; L], b: &[u64; L]) -> [u64; L] {
    let mut borrow = false;
    std::array::from_fn(|i| {
        let (t, b0) = a[i].overflowing_sub(b[i]);
        let (t, b1) = t.overflowing_sub(u64::from(borrow));
        borrow = b0 | b1;
        t
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algebra::from_i128;
    use crate::curve::testing::{TestRng, points};
    use ff::{Field, PrimeField};

    /// The value of a 192-bit two's complement, and its magnitude's bits.
    fn value(x: &[u64; 3]) -> (F, u32) {
        let negative = x[2] >> 63 == 1;
        let magnitude = if negative { sub(&[0; 3], x) } else { *x };
        assert_eq!(magnitude[2], 0, "the magnitude is below 2^128");
        let m = u128::from(magnitude[1]) << 64 | u128::from(magnitude[0]);
        let f = F::from_u128(m);
        (if negative { -f } else { f }, 128 - m.leading_zeros())
    }

    fn check(k: F) {
        let [k1, k2] = split(&k);
        let ((k1, bits1), (k2, bits2)) = (value(&k1), value(&k2));
        assert_eq!(k1 + k2 * F::ZETA, k);
        assert!(bits1.max(bits2) <= HALF_BITS);
    }

    /// The basis lies in the lattice and spans it.
    #[test]
    fn the_basis_is_one() {
        let [a1, b1, b2] = [A1, B1, B2].map(F::from_u128);
        assert_eq!(a1, b1 * F::ZETA);
        assert_eq!(b1 + b2 * F::ZETA, F::ZERO);
        assert_eq!(a1 * b2 + b1.square(), F::ZERO, "a multiple of p");
    }

    #[test]
    fn scalars_are_split_exactly_and_in_half() {
        let mut rng = TestRng::new(4);
        for _ in 0..2000 {
            check(F::random(&mut rng));
        }
        for k in [0, 1, -1, 2, i128::MAX, i128::MIN] {
            check(from_i128(k));
        }
        // Where the rounding of c₁ and c₂ changes: multiples of the basis, and half of them.
        for (b, n) in [(B1, 3), (B2, 5), (A1, 7), (B1, u64::MAX), (B2, u64::MAX)] {
            let k = F::from_u128(b) * F::from(n);
            for near in [k, k * F::TWO_INV, k + F::ONE, k * F::ZETA, -k] {
                check(near);
            }
        }
    }

    #[test]
    fn the_image_is_the_multiple() {
        for p in points(4) {
            let image = Xy::new(&p).unwrap().image().to_point();
            assert_eq!(image, (p * F::ZETA).into());
        }
    }
}
