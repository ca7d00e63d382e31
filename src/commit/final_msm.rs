//! All group equations of a proof file, checked by one multi-scalar multiplication.
//!
//! Every equation says that a linear combination of G's, U, H and points of the proof is the
//! identity. Equation i is multiplied by ω^i for a random ω of the verifier's own, drawn where
//! the prover cannot see it: if one equation fails, so does the sum, except for at most as many ω
//! as there are equations, out of 2^254.

use std::sync::Arc;

use ff::Field;
use pasta_curves::{EqAffine, group::Group};
use rand_core::CryptoRng;

use crate::{
    algebra::F,
    curve::{Generators, msm_field},
};

/// The accumulated equations.
#[derive(Debug)]
pub struct FinalMsm {
    generators: Arc<Generators>,
    omega: F,
    weight: F,
    g: Vec<F>,
    u: F,
    h: F,
    scalars: Vec<F>,
    points: Vec<EqAffine>,
}

/// One equation under construction: the terms added to it must sum to the identity.
#[derive(Debug)]
pub struct Equation<'m> {
    msm: &'m mut FinalMsm,
}

impl FinalMsm {
    /// No equations yet. `rng` must be the operating system's: whoever can predict ω can make
    /// false equations cancel.
    pub fn new<R: CryptoRng>(generators: Arc<Generators>, rng: &mut R) -> Self {
        Self {
            omega: F::random(rng),
            weight: F::ONE,
            g: vec![F::ZERO; generators.g.len()],
            generators,
            u: F::ZERO,
            h: F::ZERO,
            scalars: Vec::new(),
            points: Vec::new(),
        }
    }

    pub fn generators(&self) -> &Generators {
        &self.generators
    }

    /// Begins an equation.
    pub fn equation(&mut self) -> Equation<'_> {
        self.weight *= self.omega;
        Equation { msm: self }
    }

    /// Adds the equations of another sum, which may have more generators or fewer: those of one size begin with those of
    /// any smaller one.
    pub fn merge(&mut self, other: Self) {
        if other.g.len() > self.g.len() {
            self.g.resize(other.g.len(), F::ZERO);
            self.generators = other.generators;
        }
        self.weight *= self.omega;
        let weight = self.weight;
        for (sum, g) in self.g.iter_mut().zip(other.g) {
            *sum += weight * g;
        }
        self.u += weight * other.u;
        self.h += weight * other.h;
        self.scalars
            .extend(other.scalars.into_iter().map(|s| weight * s));
        self.points.extend(other.points);
    }

    /// Do all equations hold?
    pub fn check(mut self) -> bool {
        self.points.extend([self.generators.u, self.generators.h]);
        self.scalars.extend([self.u, self.h]);
        let (generators, points) = rayon::join(
            || msm_field(&self.generators.g, &self.g),
            || msm_field(&self.points, &self.scalars),
        );
        (generators + points).is_identity().into()
    }
}

impl Equation<'_> {
    /// Adds `scale · ⟨coefs, G⟩`. Panics if there are more coefficients than G's.
    pub fn g(&mut self, scale: F, coefs: &[F]) {
        assert!(
            coefs.len() <= self.msm.g.len(),
            "every coefficient has its G"
        );
        let scale = scale * self.msm.weight;
        for (sum, coef) in self.msm.g.iter_mut().zip(coefs) {
            *sum += scale * coef;
        }
    }

    /// Adds `coef · U`.
    pub fn u(&mut self, coef: F) {
        self.msm.u += coef * self.msm.weight;
    }

    /// Adds `coef · H`.
    pub fn h(&mut self, coef: F) {
        self.msm.h += coef * self.msm.weight;
    }

    /// Adds `coef · point`.
    pub fn point(&mut self, coef: F, point: EqAffine) {
        self.msm.scalars.push(coef * self.msm.weight);
        self.msm.points.push(point);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::testing::{TestRng, points};
    use pasta_curves::group::Curve;

    /// ⟨coefs, G⟩ + 5U + 7H + 3P − Q, with Q right or off by `error`·U.
    fn add_equation(msm: &mut FinalMsm, error: F) {
        let gens = msm.generators().clone();
        let coefs = [F::from(2), F::ZERO, -F::ONE];
        let p = points(1)[0];
        let q = gens.g[0] * F::from(4) - gens.g[2] * F::from(2)
            + gens.u * (F::from(5) + error)
            + gens.h * F::from(7)
            + p * F::from(3);
        let mut equation = msm.equation();
        equation.g(F::from(2), &coefs);
        equation.u(F::from(5));
        equation.h(F::from(7));
        equation.point(F::from(3), p);
        equation.point(-F::ONE, q.to_affine());
    }

    #[test]
    fn true_equations_pass_and_a_false_one_fails() {
        let gens = Arc::new(Generators::derive(2));
        let mut rng = TestRng::new(1);
        for (errors, expected) in [
            (vec![], true),
            (vec![0], true),
            (vec![0, 0, 0], true),
            (vec![1], false),
            (vec![0, 1, 0], false),
        ] {
            let mut msm = FinalMsm::new(gens.clone(), &mut rng);
            for e in errors {
                add_equation(&mut msm, F::from(e));
            }
            assert_eq!(msm.check(), expected);
        }
    }

    /// Sums that were made apart are as strict together.
    #[test]
    fn merged_sums_pass_if_all_of_them_do() {
        let gens = Arc::new(Generators::derive(2));
        let mut rng = TestRng::new(3);
        for (errors, expected) in [([0, 0, 0], true), ([0, 1, 0], false), ([1, 0, 0], false)] {
            let mut parts = errors.map(|e| {
                let mut msm = FinalMsm::new(gens.clone(), &mut rng);
                add_equation(&mut msm, F::ZERO);
                add_equation(&mut msm, F::from(e));
                Some(msm)
            });
            let mut all = parts[0].take().expect("the first");
            parts.into_iter().flatten().for_each(|part| all.merge(part));
            assert_eq!(all.check(), expected);
        }
        let mut opposite = FinalMsm::new(gens.clone(), &mut rng);
        add_equation(&mut opposite, F::ONE);
        let mut other = FinalMsm::new(gens.clone(), &mut rng);
        add_equation(&mut other, -F::ONE);
        opposite.merge(other);
        assert!(!opposite.check(), "errors of two sums do not cancel");
    }

    /// A sum over fewer generators is one over more, whichever takes up the other.
    #[test]
    fn sums_over_different_sizes_are_merged() {
        let sizes = [1, 3].map(|log_len| Arc::new(Generators::derive(log_len)));
        let sum = |size: usize, error: F| {
            let mut msm = FinalMsm::new(sizes[size].clone(), &mut TestRng::new(size as u64));
            let last = *sizes[size].g.last().expect("there are some");
            let len = sizes[size].g.len();
            let mut equation = msm.equation();
            equation.g(F::ONE, &[vec![F::ZERO; len - 1], vec![F::from(9)]].concat());
            equation.point(-(F::from(9) + error), last);
            msm
        };
        for (first, second) in [(0, 1), (1, 0)] {
            for errors in [[0, 0], [0, 1], [1, 0]] {
                let mut all = sum(first, F::from(errors[0]));
                all.merge(sum(second, F::from(errors[1])));
                assert_eq!(all.check(), errors == [0, 0], "{first} takes up {second}");
            }
        }
    }

    /// Without the random weights these two would pass together.
    #[test]
    fn errors_of_two_equations_do_not_cancel() {
        let gens = Arc::new(Generators::derive(2));
        let mut msm = FinalMsm::new(gens.clone(), &mut TestRng::new(2));
        add_equation(&mut msm, F::ONE);
        add_equation(&mut msm, -F::ONE);
        assert!(!msm.check());
    }
}
