//! Points of Vesta whose sums are computed in lanes ([`crate::algebra::packed`]): eight pairs at a time, as [`super::affine`] has it for one.

use std::arch::x86_64::__m512i;
use std::sync::LazyLock;

use ff::{Field, PrimeField, WithSmallOrderMulGroup};
use pasta_curves::{EqAffine, Fq};

use super::affine::{Xy, invert_all};
use super::msm::{Kernel, halve_with};
use crate::algebra::packed::{self, BaseField, Modulus, Row, transpose};

type Packed = packed::Packed<BaseField>;

/// Groups of eight pairs that share an inversion: what they leave behind for the second pass fits the second-level cache.
const GROUPS: usize = 128;

/// x and y in four words each, both times 2^260 and below 2p. Zeros for the identity.
#[derive(Clone, Copy, Debug)]
pub struct PackedPoint(Row);

/// The words of an element, below p.
fn words(x: &Fq) -> [u64; 4] {
    let bytes = x.to_repr();
    std::array::from_fn(|i| {
        let word = bytes[8 * i..8 * i + 8].try_into();
        u64::from_le_bytes(word.expect("eight bytes"))
    })
}

/// The element of these words, which are below p.
fn element(words: [u64; 4]) -> Fq {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.chunks_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    Option::from(Fq::from_repr(bytes)).expect("words below p")
}

/// What elements are multiplied by on the way into the lanes' form.
struct Radix {
    /// 2^260: 1 in that form.
    one: [u64; 4],
    /// 2^520: brings a plain element into it.
    square: [u64; 4],
    /// 2^520.
    square_element: Fq,
    /// ζ in that form.
    zeta: [u64; 4],
}

static RADIX: LazyLock<Radix> = LazyLock::new(|| {
    let one = Fq::from(2).pow_vartime([260]);
    Radix {
        one: words(&one),
        square: words(&one.square()),
        square_element: one.square(),
        zeta: words(&(Fq::ZETA * one)),
    }
});

/// x − y; `None` if that is negative.
fn less_p(x: [u64; 4], y: [u64; 4]) -> Option<[u64; 4]> {
    let mut borrow = false;
    let difference = std::array::from_fn(|i| {
        let (a, first) = x[i].overflowing_sub(y[i]);
        let (a, second) = a.overflowing_sub(u64::from(borrow));
        borrow = first | second;
        a
    });
    (!borrow).then_some(difference)
}

/// 2p.
const TWICE_P: [u64; 4] = {
    let p = BaseField::P;
    [
        p[0] << 1,
        p[1] << 1 | p[0] >> 63,
        p[2] << 1 | p[1] >> 63,
        p[3] << 1 | p[2] >> 63,
    ]
};

impl Kernel for PackedPoint {
    type Scratch = Scratch;

    const IDENTITY: Self = Self(Row([0; 8]));

    fn is_identity(&self) -> bool {
        // Word by word, `==` is a call.
        self.0.0.iter().fold(0, |all, word| all | word) == 0
    }

    fn points(bases: &[EqAffine]) -> Vec<Self> {
        let canonical = bases.iter().map(|point| match Xy::new(point) {
            None => Self::IDENTITY,
            Some(Xy { x, y }) => {
                let (x, y) = (words(&x), words(&y));
                Self(Row([x[0], x[1], x[2], x[3], y[0], y[1], y[2], y[3]]))
            }
        });
        let mut points: Vec<Self> = canonical.collect();
        // x·2^520/2^260.
        multiply(&mut points, [RADIX.square; 2]);
        points
    }

    fn images(points: &[Self]) -> Vec<Self> {
        let mut images = points.to_vec();
        multiply(&mut images, [RADIX.zeta, RADIX.one]);
        images
    }

    fn neg(&self) -> Self {
        let mut row = self.0.0;
        let y = std::array::from_fn(|i| row[4 + i]);
        let negated = less_p(TWICE_P, y).expect("coordinates are below 2p");
        row[4..].copy_from_slice(&negated);
        Self(Row(row))
    }

    fn to_library(points: &[Self]) -> Vec<EqAffine> {
        let mut points = points.to_vec();
        // x·2^260·1/2^260.
        multiply(&mut points, [[1, 0, 0, 0]; 2]);
        let point = |Self(Row(row)): &Self| {
            let [x, y] = [0, 4].map(|at| {
                let words = std::array::from_fn(|i| row[at + i]);
                element(less_p(words, BaseField::P).unwrap_or(words))
            });
            EqAffine::from_xy_unchecked(x, y)
        };
        points.iter().map(point).collect()
    }

    fn halve(points: &mut Vec<Self>, counts: &mut [usize], scratch: &mut Scratch) {
        scratch.pairs.clear();
        scratch.sums.clear();
        let (mut read, mut write) = (0u32, 0u32);
        let left = counts.iter().map(|n| n.div_ceil(2)).sum();
        scratch.sums.resize(left, Self::IDENTITY);
        for n in counts.iter() {
            for _ in 0..n / 2 {
                scratch.pairs.push([read, write]);
                (read, write) = (read + 2, write + 1);
            }
            if n % 2 == 1 {
                scratch.sums[write as usize] = points[read as usize];
                (read, write) = (read + 1, write + 1);
            }
        }
        // SAFETY: who chose this kernel has seen that the processor has what it takes.
        #[allow(unsafe_code)]
        let added = unsafe { scratch.add_pairs(points) };
        if added {
            counts.iter_mut().for_each(|n| *n = n.div_ceil(2));
            std::mem::swap(points, &mut scratch.sums);
        } else {
            halve_with::<Xy, Self>(points, counts);
        }
    }
}

/// Multiplies the coordinates of all points by these two factors, and divides them by 2^260.
fn multiply(points: &mut [PackedPoint], factors: [[u64; 4]; 2]) {
    // SAFETY: who chose this kernel has seen that the processor has what it takes.
    #[allow(unsafe_code)]
    unsafe {
        multiply_in_lanes(points, factors);
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn multiply_in_lanes(points: &mut [PackedPoint], factors: [[u64; 4]; 2]) {
    let factors = factors.map(|words| Packed::splat(words));
    for group in points.chunks_mut(8) {
        let rows = std::array::from_fn(|i| group[i.min(group.len() - 1)].0.load());
        let coordinates = Coordinates::of(rows);
        let [x, y] = [
            coordinates.x.mul(&factors[0]),
            coordinates.y.mul(&factors[1]),
        ];
        for (point, row) in group.iter_mut().zip((Coordinates { x, y }).rows()) {
            point.0.store(row);
        }
    }
}

/// The coordinates of eight points.
struct Coordinates {
    x: Packed,
    y: Packed,
}

impl Coordinates {
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn of(rows: [__m512i; 8]) -> Self {
        let words = transpose(rows);
        Self {
            x: Packed::from_words([words[0], words[1], words[2], words[3]]),
            y: Packed::from_words([words[4], words[5], words[6], words[7]]),
        }
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn rows(&self) -> [__m512i; 8] {
        let (x, y) = (self.x.to_words(), self.y.to_words());
        transpose([x[0], x[1], x[2], x[3], y[0], y[1], y[2], y[3]])
    }
}

/// Space that is kept between levels and windows.
#[derive(Default)]
pub struct Scratch {
    /// Where the first of a pair stands, and where its sum goes.
    pairs: Vec<[u32; 2]>,
    sums: Vec<PackedPoint>,
    /// Of each group: Δx, and the product of those before it of the same parity.
    passed: Vec<[Packed; 2]>,
}

impl Scratch {
    /// Adds all pairs. False, with nothing said of the sums, if some pair has one x: such have no chord.
    ///
    /// ```text
    /// s = Δy/Δx,   x₃ = s² − x₁ − x₂,   y₃ = s·(x₁ − x₃) − y₁
    /// ```
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn add_pairs(&mut self, points: &[PackedPoint]) -> bool {
        let Self {
            pairs,
            sums,
            passed,
        } = self;
        let one = Packed::splat(RADIX.one);
        for chunk in pairs.chunks(8 * GROUPS) {
            passed.clear();
            let mut products = [one; 2];
            for (g, group) in chunk.chunks(8).enumerate() {
                let [first, second] = load(points, group);
                // Below 4p, as all x are below 2p.
                let run = second.x.sub::<2>(&first.x);
                passed.push([run, products[g % 2]]);
                products[g % 2] = products[g % 2].mul(&run);
            }
            let Some(inverse) = inverse(&products[0].mul(&products[1])) else {
                return false;
            };
            let mut inverses = [inverse.mul(&products[1]), inverse.mul(&products[0])];
            for (g, group) in chunk.chunks(8).enumerate().rev() {
                let [run, before] = &passed[g];
                let this = inverses[g % 2].mul(before);
                inverses[g % 2] = inverses[g % 2].mul(run);
                let [first, second] = load(points, group);
                let slope = second.y.sub::<2>(&first.y).mul(&this);
                // s² < 2p, so that x₃ + 4p lies between 0 and 6p.
                let x = slope.mul(&slope).sub::<2>(&first.x).sub::<2>(&second.x);
                let x = x.reduced::<4>().reduced::<2>();
                let y = slope.mul(&first.x.sub::<2>(&x)).sub::<2>(&first.y);
                let sum = Coordinates {
                    x,
                    y: y.reduced::<2>(),
                };
                for ([_, write], row) in group.iter().zip(sum.rows()) {
                    sums[*write as usize].0.store(row);
                }
            }
        }
        true
    }
}

/// Eight pairs, the last again where there are fewer.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn load(points: &[PackedPoint], group: &[[u32; 2]]) -> [Coordinates; 2] {
    [0, 1].map(|which| {
        let at = |i: usize| group[i.min(group.len() - 1)][0] as usize + which;
        Coordinates::of(std::array::from_fn(|i| points[at(i)].0.load()))
    })
}

/// 1/x in every lane; `None` if one is zero.
#[target_feature(enable = "avx512f,avx512ifma")]
fn inverse(x: &Packed) -> Option<Packed> {
    let mut rows = [Row([0; 8]); 4];
    for (row, words) in rows.iter_mut().zip(x.reduced::<1>().to_words()) {
        row.store(words);
    }
    // x·2^260 each.
    let mut lanes: [Fq; 8] =
        std::array::from_fn(|lane| element(std::array::from_fn(|word| rows[word].0[lane])));
    if lanes.iter().any(Field::is_zero_vartime) {
        return None;
    }
    invert_all(&mut lanes, &mut Vec::new());
    // 1/x·2^-260·2^520.
    for (lane, x) in lanes.iter().enumerate() {
        for (row, word) in rows.iter_mut().zip(words(&(*x * RADIX.square_element))) {
            row.0[lane] = word;
        }
    }
    Some(Packed::from_words(rows.map(|row| row.load())))
}
