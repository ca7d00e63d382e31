//! The lanes themselves.
//!
//! An element x is x·2^260 mod p (Montgomery's form), as five limbs of 52 bits, below a small multiple of p: what is said of
//! bounds is in multiples of p. With a < α·p and b < β·p, α·β ≤ 63, a product is below 2p:
//!
//! ```text
//! (a·b + m·p)/2^260 < 63·p²/2^260 + p < 2·p,      as m < 2^260 and 63·p < 2^260.
//! ```

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::Modulus;

const MASK: u64 = (1 << 52) - 1;

/// Eight lanes of a field.
#[derive(Clone, Copy, Debug)]
pub struct Packed<M>([__m512i; 5], PhantomData<M>);

/// Eight words of 64 bits that are read and written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Row(pub [u64; 8]);

impl Row {
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub fn load(&self) -> __m512i {
        // SAFETY: a row is 64 bytes, aligned to as many, and all bit patterns are integers.
        #[allow(unsafe_code)]
        unsafe {
            _mm512_load_si512(self.0.as_ptr().cast())
        }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub fn store(&mut self, words: __m512i) {
        // SAFETY: as above, and the row is borrowed for writing.
        #[allow(unsafe_code)]
        unsafe {
            _mm512_store_si512(self.0.as_mut_ptr().cast(), words);
        }
    }
}

/// Word j of row i becomes word i of row j.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
pub fn transpose(rows: [__m512i; 8]) -> [__m512i; 8] {
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
    // Of two rows each, then of four, then of eight.
    let low = |a, b| _mm512_unpacklo_epi64(a, b);
    let high = |a, b| _mm512_unpackhi_epi64(a, b);
    let even = |a, b| _mm512_shuffle_i64x2::<0x88>(a, b);
    let odd = |a, b| _mm512_shuffle_i64x2::<0xdd>(a, b);
    let [a0, b0, c0, d0] = [low(r0, r1), low(r2, r3), low(r4, r5), low(r6, r7)];
    let [a1, b1, c1, d1] = [high(r0, r1), high(r2, r3), high(r4, r5), high(r6, r7)];
    let ([e0, f0], [g0, h0]) = ([even(a0, b0), even(c0, d0)], [odd(a0, b0), odd(c0, d0)]);
    let ([e1, f1], [g1, h1]) = ([even(a1, b1), even(c1, d1)], [odd(a1, b1), odd(c1, d1)]);
    [
        even(e0, f0),
        even(e1, f1),
        even(g0, h0),
        even(g1, h1),
        odd(e0, f0),
        odd(e1, f1),
        odd(g0, h0),
        odd(g1, h1),
    ]
}

/// Limbs of 52 bits of four of 64.
const fn split(x: [u64; 4]) -> [u64; 5] {
    [
        x[0] & MASK,
        (x[0] >> 52 | x[1] << 12) & MASK,
        (x[1] >> 40 | x[2] << 24) & MASK,
        (x[2] >> 28 | x[3] << 36) & MASK,
        x[3] >> 16,
    ]
}

/// −p⁻¹ mod 2^52, by Newton's iteration, which doubles the digits that are right.
const fn negative_inverse(p: u64) -> u64 {
    let mut inverse = 1u64;
    let mut i = 0;
    while i < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(p.wrapping_mul(inverse)));
        i += 1;
    }
    inverse.wrapping_neg() & MASK
}

impl<M: Modulus> Packed<M> {
    const P: [u64; 5] = {
        let limbs = split(M::P);
        assert!(limbs[3] == 0, "which spares its products");
        limbs
    };

    /// The same four words in all lanes: below 2^256.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub fn splat(words: [u64; 4]) -> Self {
        Self(
            split(words).map(|limb| _mm512_set1_epi64(limb as i64)),
            PhantomData,
        )
    }

    /// Lanes of four words of 64 bits, lowest first.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub fn from_words(x: [__m512i; 4]) -> Self {
        let mask = _mm512_set1_epi64(MASK as i64);
        let low = |v| _mm512_and_si512(v, mask);
        Self(
            [
                low(x[0]),
                low(_mm512_or_si512(
                    _mm512_srli_epi64::<52>(x[0]),
                    _mm512_slli_epi64::<12>(x[1]),
                )),
                low(_mm512_or_si512(
                    _mm512_srli_epi64::<40>(x[1]),
                    _mm512_slli_epi64::<24>(x[2]),
                )),
                low(_mm512_or_si512(
                    _mm512_srli_epi64::<28>(x[2]),
                    _mm512_slli_epi64::<36>(x[3]),
                )),
                _mm512_srli_epi64::<16>(x[3]),
            ],
            PhantomData,
        )
    }

    /// The four words of each lane, which must be below 2^256.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub fn to_words(&self) -> [__m512i; 4] {
        let [a, b, c, d, e] = self.0;
        [
            _mm512_or_si512(a, _mm512_slli_epi64::<52>(b)),
            _mm512_or_si512(_mm512_srli_epi64::<12>(b), _mm512_slli_epi64::<40>(c)),
            _mm512_or_si512(_mm512_srli_epi64::<24>(c), _mm512_slli_epi64::<28>(d)),
            _mm512_or_si512(_mm512_srli_epi64::<36>(d), _mm512_slli_epi64::<16>(e)),
        ]
    }

    /// a·b/2^260, below 2p if the bounds' product is 63 at most.
    ///
    /// Limb by limb of b: t ← (t + a·b_i + m·p)/2^52, with m = −t₀·p⁻¹ mod 2^52. A limb of t is a sum of at most 4·5 halves of products below
    /// 2^52 and a carry: it fits its 64 bits.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub fn mul(&self, other: &Self) -> Self {
        let zero = _mm512_setzero_si512();
        let inverse = _mm512_set1_epi64(const { negative_inverse(M::P[0]) } as i64);
        let limb = |i: usize| _mm512_set1_epi64(Self::P[i] as i64);
        let (p0, p1, p2, p4) = (limb(0), limb(1), limb(2), limb(4));
        let [a0, a1, a2, a3, a4] = self.0;
        let [b0, b1, b2, b3, b4] = other.0;
        let low = |t, a, b| _mm512_madd52lo_epu64(t, a, b);
        let high = |t, a, b| _mm512_madd52hi_epu64(t, a, b);
        // Written out, as the compiler keeps loops over limbs in memory.
        let step = |[t0, t1, t2, t3, t4]: [__m512i; 5], b| {
            let t0 = low(t0, a0, b);
            let m = low(zero, t0, inverse);
            let carry = _mm512_srli_epi64::<52>(low(t0, m, p0));
            let t1 = _mm512_add_epi64(low(low(t1, a1, b), m, p1), carry);
            let t2 = low(low(t2, a2, b), m, p2);
            let t3 = low(t3, a3, b);
            let t4 = low(low(t4, a4, b), m, p4);
            [
                high(high(t1, a0, b), m, p0),
                high(high(t2, a1, b), m, p1),
                high(high(t3, a2, b), m, p2),
                high(t4, a3, b),
                high(high(zero, a4, b), m, p4),
            ]
        };
        let t = step(step(step([zero; 5], b0), b1), b2);
        Self(step(step(t, b3), b4), PhantomData).carried()
    }

    /// a − b + k·p, which must not be negative.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub fn sub<const K: u64>(&self, other: &Self) -> Self {
        let ([a0, a1, a2, a3, a4], [b0, b1, b2, b3, b4]) = (self.0, other.0);
        let limb = |i: usize, a, b| {
            let multiple = _mm512_set1_epi64((Self::P[i] * K) as i64);
            _mm512_add_epi64(_mm512_sub_epi64(a, b), multiple)
        };
        let limbs = [
            limb(0, a0, b0),
            limb(1, a1, b1),
            limb(2, a2, b2),
            limb(3, a3, b3),
            limb(4, a4, b4),
        ];
        Self(limbs, PhantomData).carried()
    }

    /// The lanes that are k·p or more, less k·p.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub fn reduced<const K: u64>(&self) -> Self {
        let [a0, a1, a2, a3, a4] = self.0;
        let limb = |i: usize, a| {
            let multiple = _mm512_set1_epi64((Self::P[i] * K) as i64);
            _mm512_sub_epi64(a, multiple)
        };
        let less = [
            limb(0, a0),
            limb(1, a1),
            limb(2, a2),
            limb(3, a3),
            limb(4, a4),
        ];
        let [b0, b1, b2, b3, b4] = Self(less, PhantomData).carried().0;
        let negative = _mm512_cmplt_epi64_mask(b4, _mm512_setzero_si512());
        let pick = |less, own| _mm512_mask_blend_epi64(negative, less, own);
        let limbs = [
            pick(b0, a0),
            pick(b1, a1),
            pick(b2, a2),
            pick(b3, a3),
            pick(b4, a4),
        ];
        Self(limbs, PhantomData)
    }

    /// Limbs of 52 bits of signed ones; the highest keeps the sign.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn carried(self) -> Self {
        let mask = _mm512_set1_epi64(MASK as i64);
        let low = |limb| _mm512_and_si512(limb, mask);
        let carry = |limb, before| _mm512_add_epi64(limb, _mm512_srai_epi64::<52>(before));
        let [a, b, c, d, e] = self.0;
        let b = carry(b, a);
        let c = carry(c, b);
        let d = carry(d, c);
        let e = carry(e, d);
        Self([low(a), low(b), low(c), low(d), e], PhantomData)
    }
}

#[cfg(test)]
#[path = "ifma_tests.rs"]
mod tests;
