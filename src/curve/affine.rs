//! Affine additions in batches: one inversion for many sums.
//!
//! A lone affine addition costs an inversion; shared among many by Montgomery's trick, it costs
//! 5 multiplications and 1 squaring, about half of a mixed Jacobian addition. The two additions
//! whose chord is not defined are told apart by their x: equal points take the tangent, opposite
//! points have no affine sum.

use ff::Field;
use pasta_curves::{
    EqAffine, Fq,
    arithmetic::{CurveAffine, VartimeField},
};

use super::msm::Kernel;

/// A point of Vesta other than the identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Xy {
    pub x: Fq,
    pub y: Fq,
}

impl Xy {
    /// `None` for the identity.
    #[inline]
    pub fn new(point: &EqAffine) -> Option<Self> {
        let c = Option::<pasta_curves::arithmetic::Coordinates<_>>::from(point.coordinates())?;
        Some(Self {
            x: *c.x(),
            y: *c.y(),
        })
    }

    #[inline]
    pub fn neg(self) -> Self {
        Self { y: -self.y, ..self }
    }

    /// The same point in the library's type.
    #[inline]
    pub fn to_point(self) -> EqAffine {
        EqAffine::from_xy_unchecked(self.x, self.y)
    }

    /// The denominator of the slope of the line through two points: of the chord, of the tangent
    /// if they are equal, and a placeholder 1 if they are opposite. Never zero (Vesta has no
    /// point with y = 0, its order being odd).
    #[inline]
    pub fn slope_denominator(&self, other: &Self) -> Fq {
        let run = other.x - self.x;
        if !run.is_zero_vartime() {
            run
        } else if self.y == other.y {
            self.y.double()
        } else {
            Fq::ONE
        }
    }

    /// self + other, given the inverse of their slope's denominator; `None` if it is the identity.
    ///
    /// ```text
    /// s = Δy/Δx (or 3x²/2y),   x₃ = s² − x₁ − x₂,   y₃ = s·(x₁ − x₃) − y₁
    /// ```
    #[inline]
    pub fn add(&self, other: &Self, inverse: &Fq) -> Option<Self> {
        // `==` is constant-time, which costs as much as a multiplication here.
        let rise = if !(other.x - self.x).is_zero_vartime() {
            other.y - self.y
        } else if self.y == other.y {
            let xx = self.x.square();
            xx.double() + xx
        } else {
            return None;
        };
        Some(self.line(other, rise * inverse))
    }

    /// self + self, given the inverse of 2y.
    #[inline]
    pub fn double(&self, inverse: &Fq) -> Self {
        let xx = self.x.square();
        self.line(self, (xx.double() + xx) * inverse)
    }

    /// The third point of the line of this slope through self and other, negated.
    #[inline]
    fn line(&self, other: &Self, slope: Fq) -> Self {
        let x = slope.square() - self.x - other.x;
        Self {
            x,
            y: slope * (self.x - x) - self.y,
        }
    }
}

/// Space that is kept between levels and windows.
#[derive(Default)]
pub(super) struct Scratch {
    slopes: Vec<Fq>,
    prefix: Vec<[Fq; 2]>,
}

/// One pair after the other: on every processor.
impl Kernel for Xy {
    type Scratch = Scratch;

    /// No point has y = 0.
    const IDENTITY: Self = Self {
        x: Fq::ZERO,
        y: Fq::ZERO,
    };

    fn is_identity(&self) -> bool {
        self.y.is_zero_vartime()
    }

    fn points(bases: &[EqAffine]) -> Vec<Self> {
        let points = bases.iter().map(Self::new);
        points.map(|p| p.unwrap_or(Self::IDENTITY)).collect()
    }

    fn images(points: &[Self]) -> Vec<Self> {
        points.iter().map(Self::image).collect()
    }

    fn neg(&self) -> Self {
        Self::neg(*self)
    }

    fn to_library(points: &[Self]) -> Vec<EqAffine> {
        points.iter().map(|p| p.to_point()).collect()
    }

    fn halve(points: &mut Vec<Self>, counts: &mut [usize], scratch: &mut Scratch) {
        scratch.slopes.clear();
        let mut read = 0;
        for n in counts.iter() {
            for pair in points[read..read + n].chunks_exact(2) {
                scratch.slopes.push(pair[0].slope_denominator(&pair[1]));
            }
            read += n;
        }
        invert_all(&mut scratch.slopes, &mut scratch.prefix);
        // Sums are written behind the reading position.
        let (mut read, mut write) = (0, 0);
        let mut inverses = scratch.slopes.iter();
        for n in counts.iter_mut() {
            let (first, end) = (write, read + *n);
            while end - read >= 2 {
                let inverse = inverses.next().expect("one inverse per pair");
                if let Some(sum) = points[read].add(&points[read + 1], inverse) {
                    points[write] = sum;
                    write += 1;
                }
                read += 2;
            }
            if read < end {
                points[write] = points[read];
                (read, write) = (read + 1, write + 1);
            }
            *n = write - first;
        }
        points.truncate(write);
    }
}

/// Inverts every element; none may be zero. `prefix` is scratch space.
///
/// Montgomery's trick on two interleaved chains (even and odd places), so that the processor has
/// two independent multiplications to work on.
pub(super) fn invert_all(values: &mut [Fq], prefix: &mut Vec<[Fq; 2]>) {
    prefix.clear();
    let (pairs, rest) = values.as_chunks_mut::<2>();
    let mut product = [Fq::ONE; 2];
    for pair in pairs.iter() {
        prefix.push(product);
        product[0] *= pair[0];
        product[1] *= pair[1];
    }
    let last = rest.first().copied().unwrap_or(Fq::ONE);
    let both = product[0] * product[1];
    let inverse = (both * last)
        .invert_vartime()
        .expect("slope denominators are not zero");
    if let Some(v) = rest.first_mut() {
        *v = inverse * both;
    }
    let inverse = inverse * last;
    let mut inverse = [inverse * product[1], inverse * product[0]];
    for (pair, before) in pairs.iter_mut().zip(prefix.iter()).rev() {
        let this = [inverse[0] * before[0], inverse[1] * before[1]];
        inverse[0] *= pair[0];
        inverse[1] *= pair[1];
        *pair = this;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::testing::points;
    use pasta_curves::group::Curve;

    #[test]
    fn sums_agree_with_the_library_in_every_case() {
        let p = points(2);
        let (a, b) = (Xy::new(&p[0]).unwrap(), Xy::new(&p[1]).unwrap());
        for (l, r) in [(a, b), (a, a), (a, a.neg())] {
            let mut inverse = [l.slope_denominator(&r)];
            invert_all(&mut inverse, &mut Vec::new());
            let sum = l.add(&r, &inverse[0]);
            let expected = (l.to_point() + r.to_point()).to_affine();
            assert_eq!(sum, Xy::new(&expected));
        }
    }

    /// The two chains must take care of odd lengths and of their ends.
    #[test]
    fn batches_of_any_length_are_inverted() {
        for n in 0..6 {
            let values: Vec<Fq> = (2..2 + n).map(Fq::from).collect();
            let mut inverses = values.clone();
            invert_all(&mut inverses, &mut Vec::new());
            let products = values.iter().zip(&inverses).map(|(v, i)| v * i);
            assert!(products.into_iter().all(|product| product == Fq::ONE));
        }
    }
}
