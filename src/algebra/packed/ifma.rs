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
    // Words 2k and 2k + 1 of two rows each, then quarters of four rows, then of eight.
    let pairs: [[__m512i; 2]; 4] = std::array::from_fn(|i| {
        let (a, b) = (rows[2 * i], rows[2 * i + 1]);
        [_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b)]
    });
    let mut columns = [_mm512_setzero_si512(); 8];
    for odd in 0..2 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i: usize| pairs[i][odd]);
        let [low, high] = [
            [
                _mm512_shuffle_i64x2::<0x88>(a, b),
                _mm512_shuffle_i64x2::<0x88>(c, d),
            ],
            [
                _mm512_shuffle_i64x2::<0xdd>(a, b),
                _mm512_shuffle_i64x2::<0xdd>(c, d),
            ],
        ];
        columns[odd] = _mm512_shuffle_i64x2::<0x88>(low[0], low[1]);
        columns[4 + odd] = _mm512_shuffle_i64x2::<0xdd>(low[0], low[1]);
        columns[2 + odd] = _mm512_shuffle_i64x2::<0x88>(high[0], high[1]);
        columns[6 + odd] = _mm512_shuffle_i64x2::<0xdd>(high[0], high[1]);
    }
    columns
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
    const P: [u64; 5] = split(M::P);

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
        let p: [__m512i; 5] = Self::P.map(|limb| _mm512_set1_epi64(limb as i64));
        let inverse = _mm512_set1_epi64(const { negative_inverse(M::P[0]) } as i64);
        let a = &self.0;
        let mut t = [zero; 5];
        for b in other.0 {
            for (t, a) in t.iter_mut().zip(a) {
                *t = _mm512_madd52lo_epu64(*t, *a, b);
            }
            let m = _mm512_madd52lo_epu64(zero, t[0], inverse);
            for (i, t) in t.iter_mut().enumerate().filter(|(i, _)| Self::P[*i] != 0) {
                *t = _mm512_madd52lo_epu64(*t, m, p[i]);
            }
            let carry = _mm512_srli_epi64::<52>(t[0]);
            t = [_mm512_add_epi64(t[1], carry), t[2], t[3], t[4], zero];
            for (t, a) in t.iter_mut().zip(a) {
                *t = _mm512_madd52hi_epu64(*t, *a, b);
            }
            for (i, t) in t.iter_mut().enumerate().filter(|(i, _)| Self::P[*i] != 0) {
                *t = _mm512_madd52hi_epu64(*t, m, p[i]);
            }
        }
        Self(t, PhantomData).carried()
    }

    /// a − b + k·p, which must not be negative.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub fn sub<const K: u64>(&self, other: &Self) -> Self {
        let mut limbs = [_mm512_setzero_si512(); 5];
        for (i, limb) in limbs.iter_mut().enumerate() {
            let multiple = _mm512_set1_epi64((Self::P[i] * K) as i64);
            let difference = _mm512_sub_epi64(self.0[i], other.0[i]);
            *limb = _mm512_add_epi64(difference, multiple);
        }
        Self(limbs, PhantomData).carried()
    }

    /// The lanes that are k·p or more, less k·p.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    pub fn reduced<const K: u64>(&self) -> Self {
        let mut limbs = [_mm512_setzero_si512(); 5];
        for (i, limb) in limbs.iter_mut().enumerate() {
            let multiple = _mm512_set1_epi64((Self::P[i] * K) as i64);
            *limb = _mm512_sub_epi64(self.0[i], multiple);
        }
        let less = Self(limbs, PhantomData).carried();
        let negative = _mm512_cmplt_epi64_mask(less.0[4], _mm512_setzero_si512());
        let mut out = less.0;
        for (out, own) in out.iter_mut().zip(&self.0) {
            *out = _mm512_mask_blend_epi64(negative, *out, *own);
        }
        Self(out, PhantomData)
    }

    /// Limbs of 52 bits of signed ones; the highest keeps the sign.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn carried(self) -> Self {
        let mask = _mm512_set1_epi64(MASK as i64);
        let mut limbs = self.0;
        for i in 0..4 {
            limbs[i + 1] = _mm512_add_epi64(limbs[i + 1], _mm512_srai_epi64::<52>(limbs[i]));
            limbs[i] = _mm512_and_si512(limbs[i], mask);
        }
        Self(limbs, PhantomData)
    }
}

#[cfg(test)]
#[path = "ifma_tests.rs"]
mod tests;
