//! Folding generators: lo + t·hi for many points and one short scalar t.
//!
//! With Vesta's endomorphism φ (`endomorphism`), a short challenge is t = a + b·λ with 64-bit a and
//! b, so that t·P = a·P + b·φ(P) takes 64 doublings instead of 255. The scalar being common to all points, they walk through the same doublings and
//! additions, which are done in affine coordinates with shared inversions.

use ff::{Field, PrimeField, WithSmallOrderMulGroup};
use pasta_curves::{Eq, EqAffine, Fq, group::Curve};
use rayon::prelude::*;

use super::affine::{Xy, invert_all};
use crate::algebra::F;

/// A challenge t = a + b·λ of 128 random bits. The map (a, b) → t is injective: a difference (a, b)
/// with a + b·λ = 0 has p | a² − ab + b², as λ² + λ + 1 = 0, but |a|, |b| < 2^64 keep that below
/// 2^130, so it is zero and a = b = 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortChallenge {
    a: u64,
    b: u64,
}

/// Digits of the window method are odd and below 2^WINDOW in magnitude.
const WINDOW: u32 = 4;
/// Points that share an inversion.
const CHUNK: usize = 256;

impl ShortChallenge {
    /// The low 128 bits of a full-width challenge; `None` if they are zero.
    pub fn from_challenge(challenge: &F) -> Option<Self> {
        let bytes = challenge.to_repr();
        let word = |i: usize| u64::from_le_bytes(bytes[i..i + 8].try_into().expect("eight bytes"));
        let (a, b) = (word(0), word(8));
        (a != 0 || b != 0).then_some(Self { a, b })
    }

    /// t as a field element: never zero.
    pub fn to_field(&self) -> F {
        F::from(self.a) + F::from(self.b) * F::ZETA
    }
}

/// `lo[i] + t·hi[i]` for every i, in parallel. Panics if the lengths differ.
pub fn fold_bases(lo: &[EqAffine], hi: &[EqAffine], t: &ShortChallenge) -> Vec<EqAffine> {
    assert_eq!(lo.len(), hi.len(), "halves are of one length");
    let digits = [signed_digits(t.a), signed_digits(t.b)];
    lo.par_chunks(CHUNK)
        .zip(hi.par_chunks(CHUNK))
        .flat_map_iter(|(lo, hi)| {
            fold_chunk(lo, hi, &digits).unwrap_or_else(|| fold_plainly(lo, hi, t))
        })
        .collect()
}

/// The same by the library's arithmetic: for the chunks, if ever there is one, in which an
/// addition has no chord.
fn fold_plainly(lo: &[EqAffine], hi: &[EqAffine], t: &ShortChallenge) -> Vec<EqAffine> {
    let t = t.to_field();
    let sums: Vec<Eq> = lo.iter().zip(hi).map(|(l, h)| h * t + l).collect();
    let mut folded = vec![EqAffine::default(); sums.len()];
    Eq::batch_normalize(&sums, &mut folded);
    folded
}

/// Width-w non-adjacent form, lowest digit first: Σ d_i·2^i = k, each d_i zero or odd with
/// |d_i| < 2^(w−1).
fn signed_digits(k: u64) -> Vec<i32> {
    let (mut k, mut digits) = (i128::from(k), Vec::new());
    while k != 0 {
        let mut d = 0;
        if k & 1 == 1 {
            d = k & ((1 << WINDOW) - 1);
            if d >= 1 << (WINDOW - 1) {
                d -= 1 << WINDOW;
            }
            k -= d;
        }
        digits.push(d as i32);
        k >>= 1;
    }
    digits
}

fn fold_chunk(lo: &[EqAffine], hi: &[EqAffine], digits: &[Vec<i32>; 2]) -> Option<Vec<EqAffine>> {
    let lo: Vec<Xy> = lo.iter().map(Xy::new).collect::<Option<_>>()?;
    let hi: Vec<Xy> = hi.iter().map(Xy::new).collect::<Option<_>>()?;
    let mut batch = Batch::default();
    // tables[0][k] = (2k + 1)·hi; tables[1][k] = φ of it.
    let mut twice = hi.clone();
    batch.double(&mut twice);
    let mut odd = vec![hi];
    for k in 1..1 << (WINDOW - 2) {
        let mut next: Vec<Xy> = odd[k - 1].clone();
        batch.add(&mut next, twice.iter().copied())?;
        odd.push(next);
    }
    let images = odd
        .iter()
        .map(|m| m.iter().map(Xy::image).collect())
        .collect();
    let tables: [Vec<Vec<Xy>>; 2] = [odd, images];

    let mut acc: Option<Vec<Xy>> = None;
    for i in (0..digits[0].len().max(digits[1].len())).rev() {
        if let Some(acc) = &mut acc {
            batch.double(acc);
        }
        for (digits, table) in digits.iter().zip(&tables) {
            let d = digits.get(i).copied().unwrap_or(0);
            if d == 0 {
                continue;
            }
            let multiple = &table[d.unsigned_abs() as usize / 2];
            let signed = multiple.iter().map(|p| if d < 0 { p.neg() } else { *p });
            match &mut acc {
                None => acc = Some(signed.collect()),
                Some(acc) => batch.add(acc, signed)?,
            }
        }
    }
    let mut sum = acc.expect("a short challenge is not zero");
    batch.add(&mut sum, lo.into_iter())?;
    Some(sum.into_iter().map(Xy::to_point).collect())
}

/// Element-wise affine operations with one inversion each, and their scratch space.
#[derive(Default)]
struct Batch {
    slopes: Vec<Fq>,
    prefix: Vec<[Fq; 2]>,
}

impl Batch {
    fn double(&mut self, points: &mut [Xy]) {
        self.slopes.clear();
        self.slopes.extend(points.iter().map(|p| p.y.double()));
        invert_all(&mut self.slopes, &mut self.prefix);
        for (p, inverse) in points.iter_mut().zip(&self.slopes) {
            *p = p.double(inverse);
        }
    }

    /// `None` if some sum has no chord.
    fn add(&mut self, points: &mut [Xy], others: impl Iterator<Item = Xy> + Clone) -> Option<()> {
        self.slopes.clear();
        self.slopes
            .extend(points.iter().zip(others.clone()).map(|(p, q)| q.x - p.x));
        if self.slopes.iter().any(Field::is_zero_vartime) {
            return None;
        }
        invert_all(&mut self.slopes, &mut self.prefix);
        for ((p, q), inverse) in points.iter_mut().zip(others).zip(&self.slopes) {
            *p = p.add(&q, inverse).expect("the points' x differ");
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::testing::{TestRng, points};
    use pasta_curves::{arithmetic::CurveExt, group::Group};

    fn naive(lo: &[EqAffine], hi: &[EqAffine], t: &ShortChallenge) -> Vec<EqAffine> {
        lo.iter()
            .zip(hi)
            .map(|(l, h)| (h * t.to_field() + l).to_affine())
            .collect()
    }

    /// The field's and the curve's cube roots of one must belong together.
    #[test]
    fn the_endomorphism_multiplies_by_lambda() {
        let p = Eq::generator();
        assert_eq!(p.endo(), p * F::ZETA);
    }

    #[test]
    fn folding_agrees_with_plain_arithmetic() {
        let p = points(2 * (CHUNK + 3));
        let (lo, hi) = p.split_at(CHUNK + 3);
        let mut rng = TestRng::new(2);
        for _ in 0..3 {
            let t = ShortChallenge::from_challenge(&F::random(&mut rng)).unwrap();
            assert_eq!(fold_bases(lo, hi, &t), naive(lo, hi, &t));
        }
        let edge = [0, 1, 7, 8, 9, u64::MAX, 1 << 63];
        for a in edge {
            for b in edge.into_iter().filter(|b| a != 0 || *b != 0) {
                let t = ShortChallenge { a, b };
                assert_eq!(
                    fold_bases(&lo[..2], &hi[..2], &t),
                    naive(&lo[..2], &hi[..2], &t)
                );
            }
        }
    }

    /// lo = ±t·hi has no chord, and the identity no coordinates.
    #[test]
    fn exceptional_points_are_folded_too() {
        let p = points(2);
        let t = ShortChallenge { a: 3, b: 5 };
        let multiple = (p[0] * t.to_field()).to_affine();
        let lo = [multiple, -multiple, p[1], EqAffine::default()];
        let hi = [p[0], p[0], EqAffine::default(), p[1]];
        assert_eq!(fold_bases(&lo, &hi, &t), naive(&lo, &hi, &t));
    }

    #[test]
    fn zero_is_no_challenge() {
        assert_eq!(ShortChallenge::from_challenge(&F::ZERO), None);
    }
}
