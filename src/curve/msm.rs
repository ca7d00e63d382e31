//! Multi-scalar multiplication Σ kᵢ·Pᵢ, by the width of the scalars.
//!
//! One algorithm (Pippenger's) serves all widths. Scalars are cut into signed digits of w bits,
//!
//! ```text
//! k = Σ_j d_j·2^(w·j),   −2^(w−1) ≤ d_j < 2^(w−1),
//! ```
//!
//! which are the plain w-bit digits of k + Σ_j 2^(w−1)·2^(w·j), each less 2^(w−1): no carries. Each window
//! sums its points by |d| into buckets, then Σ_d d·bucket_d by running sums; the windows are
//! joined by doublings. Buckets are summed in affine coordinates, pairwise and level by level, so
//! that a level's additions share one inversion: eight at a time where the processor can ([`Kernel`]). Zero digits cost nothing.
//!
//! Variable time: the prover's secrets are exposed to whoever can time it.

use pasta_curves::{Eq, EqAffine, group::Group};
use rayon::prelude::*;

use super::affine::Xy;
use super::endomorphism::{HALF_BITS, add, split};
use crate::algebra::F;

/// Points in the form in which they are added up.
pub(super) trait Kernel: Copy + Send + Sync {
    /// Space that is kept between levels and windows.
    type Scratch: Default;

    const IDENTITY: Self;

    fn is_identity(&self) -> bool;

    fn points(bases: &[EqAffine]) -> Vec<Self>;

    /// φ of each point.
    fn images(points: &[Self]) -> Vec<Self>;

    /// −self, of a point that is not the identity.
    fn neg(&self) -> Self;

    /// In the library's form, of points that are not the identity.
    fn to_library(points: &[Self]) -> Vec<EqAffine>;

    /// Adds the points of every bucket in pairs, of which `counts` has the number; a pair of opposite points vanishes. None is the identity.
    fn halve(points: &mut Vec<Self>, counts: &mut [usize], scratch: &mut Self::Scratch);
}

/// `K::halve` by another kernel.
#[cfg(target_arch = "x86_64")]
pub(super) fn halve_with<K: Kernel, Own: Kernel>(points: &mut Vec<Own>, counts: &mut [usize]) {
    let mut others = K::points(&Own::to_library(points));
    K::halve(&mut others, counts, &mut K::Scratch::default());
    *points = Own::points(&K::to_library(&others));
}

/// A sum of windows, by the kernel of this processor.
fn sum_here<const L: usize>(
    windows: &Windows<L>,
    bases: &[EqAffine],
    halves: bool,
    parallel: bool,
) -> Eq {
    #[cfg(target_arch = "x86_64")]
    if crate::algebra::packed::available() {
        return windows.sum::<super::packed::PackedPoint>(bases, halves, parallel);
    }
    windows.sum::<Xy>(bases, halves, parallel)
}

/// `Σ scalars[i]·bases[i]` for small integers, on the calling thread. Up to 17 bits of magnitude it
/// takes two windows. Panics if there are more scalars than bases.
pub fn msm_small(bases: &[EqAffine], scalars: &[i32]) -> Eq {
    let bits = scalars
        .iter()
        .map(|k| 32 - k.unsigned_abs().leading_zeros())
        .max();
    let scalars: Vec<[u64; 1]> = scalars.iter().map(|k| [i64::from(*k) as u64]).collect();
    let windows = Windows::new(bits.unwrap_or(0), &scalars);
    sum_here(&windows, first(bases, scalars.len()), false, false)
}

/// The first `n` bases. Panics if there are fewer.
fn first(bases: &[EqAffine], n: usize) -> &[EqAffine] {
    assert!(n <= bases.len(), "every scalar has its base");
    &bases[..n]
}

/// `Σ scalars[i]·bases[i]` for wide integers, on the calling thread; the cost grows with the widest
/// of them. Panics if there are more scalars than bases.
pub fn msm_wide(bases: &[EqAffine], scalars: &[i128]) -> Eq {
    let bits = scalars
        .iter()
        .map(|k| 128 - k.unsigned_abs().leading_zeros())
        .max();
    let scalars: Vec<[u64; 3]> = scalars
        .iter()
        .map(|k| [*k as u64, (*k >> 64) as u64, (*k >> 127) as u64])
        .collect();
    let windows = Windows::new(bits.unwrap_or(0), &scalars);
    sum_here(&windows, first(bases, scalars.len()), false, false)
}

/// `Σ scalars[i]·bases[i]`, windows in parallel. Panics if there are more scalars than bases.
///
/// Every scalar is split by the endomorphism: twice the points, half the windows, and so half the
/// work on buckets.
pub fn msm_field(bases: &[EqAffine], scalars: &[F]) -> Eq {
    let bases = first(bases, scalars.len());
    let parts = bases.chunks(FIELD_POINTS).zip(scalars.chunks(FIELD_POINTS));
    let sums = parts.map(|(bases, scalars)| msm_of_halves(bases, scalars));
    sums.fold(Eq::identity(), |sum, part| sum + part)
}

/// More points than these are multiplied in parts: their buckets are as full as the widest window's get, and take no more memory.
const FIELD_POINTS: usize = 1 << 16;

fn msm_of_halves(bases: &[EqAffine], scalars: &[F]) -> Eq {
    let halves: Vec<[[u64; 3]; 2]> = scalars.iter().map(split).collect();
    let scalars: Vec<[u64; 3]> = (0..2)
        .flat_map(|h| halves.iter().map(move |k| k[h]))
        .collect();
    sum_here(&Windows::new(HALF_BITS, &scalars), bases, true, true)
}

/// Scalars recoded into signed digits: L limbs hold k plus the bias, which is not negative.
struct Windows<const L: usize> {
    recoded: Vec<[u64; L]>,
    width: u32,
    count: u32,
}

impl<const L: usize> Windows<L> {
    /// `scalars` in two's complement, of magnitude below 2^bits (at most 2^bits if negative);
    /// bits + 2 + [the widest window] must fit in L limbs.
    fn new(bits: u32, scalars: &[[u64; L]]) -> Self {
        // One bit for the sign, and one because digits reach only to 2^(w−1) − 1.
        let bits = bits + 2;
        let live = scalars.iter().filter(|k| **k != [0; L]).count();
        let width = window_width(bits, live);
        let count = bits.div_ceil(width);
        let mut bias = [0; L];
        for j in 0..count {
            let bit = width * j + width - 1;
            bias[(bit / 64) as usize] |= 1 << (bit % 64);
        }
        let recoded = scalars.iter().map(|k| add(k, &bias)).collect();
        Self {
            recoded,
            width,
            count,
        }
    }

    /// Digit `window` of scalar `i`.
    #[inline]
    fn digit(&self, i: usize, window: u32) -> i32 {
        let bit = self.width * window;
        let (limb, shift) = ((bit / 64) as usize, bit % 64);
        let mut word = self.recoded[i][limb] >> shift;
        if shift + self.width > 64 && limb + 1 < L {
            word |= self.recoded[i][limb + 1] << (64 - shift);
        }
        (word & ((1 << self.width) - 1)) as i32 - (1 << (self.width - 1))
    }

    /// `Σ k·P` over these bases and, with `halves`, their images.
    fn sum<K: Kernel>(&self, bases: &[EqAffine], halves: bool, parallel: bool) -> Eq {
        let mut points = K::points(bases);
        if halves {
            points.extend(K::images(&points));
        }
        let windows: Vec<Eq> = if parallel {
            let windows = (0..self.count).into_par_iter();
            let sum = |buckets: &mut Buckets<K>, j| self.window_sum(&points, j, buckets);
            windows.map_init(Buckets::default, sum).collect()
        } else {
            let mut buckets = Buckets::default();
            let sum = |j| self.window_sum(&points, j, &mut buckets);
            (0..self.count).map(sum).collect()
        };
        self.join(&windows)
    }

    /// Σ_j 2^(w·j)·windows[j].
    fn join(&self, windows: &[Eq]) -> Eq {
        windows.iter().rev().fold(Eq::identity(), |mut sum, w| {
            for _ in 0..self.width {
                sum = sum.double();
            }
            sum + w
        })
    }

    /// Σ_i digit(i, window)·bases[i].
    fn window_sum<K: Kernel>(&self, bases: &[K], window: u32, buckets: &mut Buckets<K>) -> Eq {
        buckets.digits.clear();
        buckets
            .digits
            .extend((0..self.recoded.len()).map(|i| self.digit(i, window)));
        buckets.fill(bases, 1 << (self.width - 1));
        buckets.settle();
        buckets.weighted_sum()
    }
}

/// The cheapest window for `n` scalars of `bits` bits, counted in multiplications: 6 for an
/// affine addition, of which a bucket takes two, and 27 for a bucket in a running sum.
fn window_width(bits: u32, n: usize) -> u32 {
    let cost = |w: u32| {
        let sums = (12 << (w - 1)) + 27 * (grid(1 << (w - 1)) + (1 << w.div_ceil(2)));
        u64::from(bits.div_ceil(w)) * (6 * n + sums) as u64
    };
    (2..=14)
        .min_by_key(|w| cost(*w))
        .expect("the range is not empty")
}

/// How many columns a grid of `buckets` buckets has: about as many as rows, a power of two.
fn grid(buckets: usize) -> usize {
    1 << (buckets.ilog2() / 2)
}

/// The points of one window, sorted by bucket; bucket b (of digit b + 1) holds `counts[b]` of
/// them. Scratch space is kept between windows.
struct Buckets<K: Kernel> {
    digits: Vec<i32>,
    points: Vec<K>,
    counts: Vec<usize>,
    scratch: K::Scratch,
}

impl<K: Kernel> Default for Buckets<K> {
    fn default() -> Self {
        Self {
            digits: Vec::new(),
            points: Vec::new(),
            counts: Vec::new(),
            scratch: K::Scratch::default(),
        }
    }
}

impl<K: Kernel> Buckets<K> {
    /// Sorts ±bases into buckets by the digit's magnitude (counting sort).
    fn fill(&mut self, bases: &[K], buckets: usize) {
        self.counts.clear();
        self.counts.resize(buckets, 0);
        for (d, base) in self.digits.iter_mut().zip(bases) {
            if base.is_identity() {
                *d = 0;
            }
            if *d != 0 {
                self.counts[d.unsigned_abs() as usize - 1] += 1;
            }
        }
        let mut next = Vec::with_capacity(buckets);
        let mut total = 0;
        for n in &self.counts {
            next.push(total);
            total += n;
        }
        self.points.clear();
        self.points.resize(total, K::IDENTITY);
        for (d, base) in self.digits.iter().zip(bases) {
            if *d != 0 {
                let place = &mut next[d.unsigned_abs() as usize - 1];
                self.points[*place] = if *d < 0 { base.neg() } else { *base };
                *place += 1;
            }
        }
    }

    /// Adds until no bucket holds more than one point.
    fn settle(&mut self) {
        while self.counts.iter().any(|n| *n > 1) {
            K::halve(&mut self.points, &mut self.counts, &mut self.scratch);
        }
    }

    /// Σ_b (b + 1)·bucket_b of settled buckets. They are laid out as a grid of S columns, b = S·row +
    /// column, whose rows and columns are summed in affine coordinates:
    ///
    /// ```text
    /// Σ_b (b + 1)·bucket_b = S·Σ_row row·(sum of the row) + Σ_column (column + 1)·(sum of the column)
    /// ```
    fn weighted_sum(&mut self) -> Eq {
        let columns = grid(self.counts.len());
        let rows = self.counts.len() / columns;
        let mut lines = Self {
            scratch: std::mem::take(&mut self.scratch),
            ..Self::default()
        };
        // The columns first: `places[b]` is where bucket b's point stands, if it has one.
        let places: Vec<usize> = self
            .counts
            .iter()
            .scan(0, |next, n| {
                *next += n;
                Some(*next - n)
            })
            .collect();
        for column in 0..columns {
            let before = lines.points.len();
            for b in (column..self.counts.len()).step_by(columns) {
                if self.counts[b] == 1 {
                    lines.points.push(self.points[places[b]]);
                }
            }
            lines.counts.push(lines.points.len() - before);
        }
        lines.settle();
        let by_columns = lines.running_sum();

        lines.counts = self
            .counts
            .chunks(columns)
            .map(|row| row.iter().sum())
            .collect();
        std::mem::swap(&mut lines.points, &mut self.points);
        lines.settle();
        // Row 0 has weight 0.
        let (first, points) = (lines.counts.remove(0), &mut lines.points);
        points.drain(..first);
        let mut by_rows = lines.running_sum();
        for _ in 0..columns.ilog2() {
            by_rows = by_rows.double();
        }
        assert_eq!(rows, lines.counts.len() + 1);
        self.scratch = lines.scratch;
        by_columns + by_rows
    }

    /// Σ_b (b + 1)·bucket_b of settled buckets, from the top: the running sum, summed.
    fn running_sum(&self) -> Eq {
        let (mut running, mut total) = (Eq::identity(), Eq::identity());
        let mut points = K::to_library(&self.points).into_iter().rev();
        for n in self.counts.iter().rev() {
            if *n == 1 {
                running += points.next().expect("one point per full bucket");
            }
            total += running;
        }
        total
    }
}

/// The oracle of the kernels above: one multiplication after the other.
#[cfg(test)]
pub(crate) fn msm_naive(bases: &[EqAffine], scalars: &[F]) -> EqAffine {
    use pasta_curves::group::Curve;
    bases
        .iter()
        .zip(scalars)
        .map(|(p, k)| p * k)
        .sum::<Eq>()
        .to_affine()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        algebra::from_i128,
        curve::testing::{TestRng, points},
    };
    use ff::{Field, PrimeField, WithSmallOrderMulGroup};
    use pasta_curves::group::Curve;
    use rand_core::Rng;

    fn check_small(bases: &[EqAffine], scalars: &[i32]) {
        let field: Vec<F> = scalars.iter().map(|k| from_i128((*k).into())).collect();
        let expected = msm_naive(bases, &field);
        assert_eq!(msm_small(bases, scalars).to_affine(), expected);
        let wide: Vec<i128> = scalars.iter().map(|k| (*k).into()).collect();
        assert_eq!(msm_wide(bases, &wide).to_affine(), expected);
        assert_eq!(msm_field(bases, &field).to_affine(), expected);
    }

    /// Many buckets, few and full ones: the same point by every kernel.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn kernels_agree_with_each_other() {
        if !crate::algebra::packed::available() {
            return;
        }
        let bases = points(3000);
        let mut rng = TestRng::new(5);
        for bits in [1, 2, 5, 16] {
            let scalars: Vec<[u64; 1]> = (0..bases.len())
                .map(|_| [(rng.next_u64() & ((1 << bits) - 1)).wrapping_sub(1 << (bits - 1))])
                .collect();
            let windows = Windows::new(bits, &scalars);
            let sums = [false, true].map(|halves| {
                let scalars = [&scalars[..], &scalars[..]].concat();
                let both = Windows::new(bits, &scalars);
                let windows = if halves { &both } else { &windows };
                let portable = windows.sum::<Xy>(&bases, halves, false);
                (
                    portable,
                    windows.sum::<super::super::packed::PackedPoint>(&bases, halves, false),
                )
            });
            for (portable, packed) in sums {
                assert_eq!(portable, packed, "{bits} bits");
            }
        }
    }

    #[test]
    fn kernels_agree_with_the_naive_sum_at_every_width() {
        let bases = points(60);
        let mut rng = TestRng::new(1);
        for bits in 0..=31 {
            let scalars: Vec<i32> = (0..50)
                .map(|_| (rng.next_u32() as i32) >> (31 - bits))
                .collect();
            check_small(&bases, &scalars);
        }
        for bits in (0..=127).step_by(9).chain([126, 127]) {
            let scalars: Vec<i128> = (0..20)
                .map(|_| {
                    let k = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
                    (k as i128) >> (127 - bits)
                })
                .collect();
            let field: Vec<F> = scalars.iter().map(|k| from_i128(*k)).collect();
            assert_eq!(
                msm_wide(&bases, &scalars).to_affine(),
                msm_naive(&bases, &field)
            );
        }
        let scalars: Vec<F> = (0..60).map(|_| F::random(&mut rng)).collect();
        assert_eq!(
            msm_field(&bases, &scalars).to_affine(),
            msm_naive(&bases, &scalars)
        );
    }

    #[test]
    fn extreme_scalars_are_recoded_exactly() {
        let bases = points(6);
        check_small(&bases, &[i32::MIN, i32::MAX, 0, -1, 1, 1 << 16]);
        check_small(
            &bases,
            &[-(1 << 16), (1 << 16) - 1, 65535, -32768, 32767, 1],
        );
        check_small(&bases, &[]);
        check_small(&bases, &[0, 0, 0]);
        let wide = [i128::MIN, i128::MAX, i128::MIN + 1, -1, 1, 0];
        let field: Vec<F> = wide.iter().map(|k| from_i128(*k)).collect();
        assert_eq!(
            msm_wide(&bases, &wide).to_affine(),
            msm_naive(&bases, &field)
        );
        let ends = [-F::ONE, F::ONE, F::ZERO, -F::from(2), F::ZETA, F::TWO_INV];
        assert_eq!(
            msm_field(&bases, &ends).to_affine(),
            msm_naive(&bases, &ends)
        );
    }

    /// Equal points in one bucket must be doubled, opposite ones must vanish, and the identity
    /// must not be mistaken for a point.
    #[test]
    fn exceptional_additions_in_buckets_are_handled() {
        let p = points(2);
        let identity = EqAffine::default();
        let bases = [
            p[0], p[0], p[0], p[0], -p[0], p[1], -p[1], p[1], identity, identity,
        ];
        check_small(&bases, &[1; 10]);
        check_small(&bases, &[5, 5, 5, 5, 5, 7, 7, -7, 5, 0]);
        check_small(&bases, &[5, -5, 5, -5, 0, 7, 7, 0, 1, -1]);
        check_small(&bases, &[3, 3, 0, 0, 6, 0, 0, 0, 0, 0]);
    }

    #[test]
    #[should_panic(expected = "every scalar has its base")]
    fn more_scalars_than_bases_are_refused() {
        msm_small(&points(1), &[1, 2]);
    }
}
