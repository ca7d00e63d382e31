//! The prover's side of the batched sumcheck.
//!
//! Claim: S₀ = Σ_{x ∈ {0,1}^n} Σ_groups g(x), each group a sum of products of multilinear tables
//! on some of the n coordinates. Round c binds coordinate c: the prover sends the polynomial
//! obtained by summing over all later coordinates, so that g(0) + g(1) is the previous sum S, as g₀ = g(0) and the
//! coefficients of q in
//!
//! ```text
//! g(X) = g₀ + X·(S − 2g₀ + (X − 1)·q(X)),      q_k = Σ_{j ≥ k+2} g_j.
//! ```
//!
//! A group that does not depend on coordinate c is constant in it. The sum over the full cube
//! would count it 2^extra times; `Running::scale` takes that out again, as the verifier does in
//! `Conversation::coefficients`.
//!
//! The verifier's side is `super::hidden`, written once for the native check and the circuit.

use std::ops::Range;

use ff::Field;
use rayon::prelude::*;

use crate::algebra::F;

/// A sum over a hypercube that the prover can fold one coordinate at a time.
pub trait Summand: Send + Sync {
    /// The coordinates it depends on, ascending.
    fn coords(&self) -> &[usize];
    /// The sum over the whole hypercube.
    fn sum(&self) -> F;
    /// The round polynomial in the lowest coordinate not yet bound, lowest coefficient first.
    fn round_polynomial(&self) -> Vec<F>;
    /// Binds that coordinate to `r`.
    fn bind(&mut self, r: F);
}

struct Running<'a> {
    summand: &'a mut dyn Summand,
    /// The sum over the summand's own unbound coordinates.
    sum: F,
    /// 2^-(coordinates passed that it does not depend on).
    scale: F,
}

/// Proves the sum of all `summands`, each with its own, over the coordinates `rounds`. `challenge` is
/// given each message
/// (`degree` coefficients: g₀, q₀, …, q_(degree−2)) and answers with the coordinate of the point.
/// Returns the point.
pub fn prove(
    summands: Vec<(F, &mut dyn Summand)>,
    rounds: Range<usize>,
    degree: usize,
    mut challenge: impl FnMut(&[F]) -> F,
) -> Vec<F> {
    let half = F::from(2).invert().expect("2 is not 0 in F");
    let mut running: Vec<Running> = summands
        .into_iter()
        .map(|(sum, summand)| Running {
            sum,
            scale: F::ONE,
            summand,
        })
        .collect();
    rounds
        .map(|c| {
            let polynomials: Vec<Option<Vec<F>>> = running
                .par_iter()
                .map(|g| {
                    g.summand
                        .coords()
                        .contains(&c)
                        .then(|| g.summand.round_polynomial())
                })
                .collect();
            let message = combine(&running, &polynomials, degree, half);
            let r = challenge(&message);
            running
                .par_iter_mut()
                .zip(polynomials)
                .for_each(|(g, polynomial)| match polynomial {
                    Some(p) => {
                        g.sum = evaluate(&p, r);
                        g.summand.bind(r);
                    }
                    None => g.scale *= half,
                });
            r
        })
        .collect()
}

/// The round's message: g₀ and q's coefficients, by division by X − 1.
fn combine(running: &[Running], polynomials: &[Option<Vec<F>>], degree: usize, half: F) -> Vec<F> {
    let mut total = vec![F::ZERO; degree + 1];
    for (g, polynomial) in running.iter().zip(polynomials) {
        match polynomial {
            Some(p) => {
                for (t, c) in total.iter_mut().zip(p) {
                    *t += g.scale * c;
                }
            }
            None => total[0] += g.scale * half * g.sum,
        }
    }
    total.remove(1);
    for k in (1..degree - 1).rev() {
        total[k] = total[k] + total[k + 1];
    }
    total
}

/// Σ coefficients[k]·x^k.
pub fn evaluate(coefficients: &[F], x: F) -> F {
    coefficients
        .iter()
        .rev()
        .fold(F::ZERO, |acc, c| acc * x + c)
}

/// The coefficients of the polynomial with the given values at 0, 1, 2, ….
pub fn interpolate(values: &[F]) -> Vec<F> {
    // Newton's form with equidistant nodes: divided differences d_k, then Σ d_k Π_{i<k} (X − i).
    let n = values.len();
    let mut d = values.to_vec();
    for k in 1..n {
        let inverse = F::from(k as u64)
            .invert()
            .expect("a small integer is not 0 in F");
        for i in (k..n).rev() {
            d[i] = (d[i] - d[i - 1]) * inverse;
        }
    }
    let mut coefficients = vec![F::ZERO; n];
    for k in (0..n).rev() {
        // coefficients ← coefficients · (X − k) + d_k
        for i in (1..n).rev() {
            coefficients[i] = coefficients[i - 1] - F::from(k as u64) * coefficients[i];
        }
        coefficients[0] = d[k] - F::from(k as u64) * coefficients[0];
    }
    coefficients
}

/// Halves a multilinear table in its lowest variable: t[x] ← t[2x] + r·(t[2x+1] − t[2x]). An odd
/// end is padded with zero.
pub fn bind_table(table: &mut Vec<F>, r: F) {
    let n = table.len().div_ceil(2);
    for x in 0..n {
        let low = table[2 * x];
        let high = table.get(2 * x + 1).copied().unwrap_or(F::ZERO);
        table[x] = low + r * (high - low);
    }
    table.truncate(n);
}

/// Products of dense tables on the same coordinates: Σ_x Σ_p coef_p · Π_{t ∈ p} table_t(x).
pub struct Products {
    pub coords: Vec<usize>,
    pub tables: Vec<Vec<F>>,
    pub products: Vec<(F, Vec<usize>)>,
}

/// Below this many entries a round is not worth splitting over threads.
const PARALLEL_ENTRIES: usize = 1 << 10;

impl Products {
    fn degree(&self) -> usize {
        self.products
            .iter()
            .map(|(_, t)| t.len())
            .max()
            .unwrap_or(0)
    }

    /// Adds the round polynomial's values at 0, 1, … for one pair of entries.
    fn accumulate(&self, x: usize, scratch: &mut [(F, F)], values: &mut [F]) {
        for (s, table) in scratch.iter_mut().zip(&self.tables) {
            *s = (table[2 * x], table[2 * x + 1] - table[2 * x]);
        }
        for (point, value) in values.iter_mut().enumerate() {
            if point > 0 {
                for (v, delta) in scratch.iter_mut() {
                    *v += *delta;
                }
            }
            for (coef, tables) in &self.products {
                *value += tables.iter().fold(*coef, |acc, t| acc * scratch[*t].0);
            }
        }
    }
}

impl Summand for Products {
    fn coords(&self) -> &[usize] {
        &self.coords
    }

    fn sum(&self) -> F {
        (0..self.tables[0].len())
            .into_par_iter()
            .with_min_len(PARALLEL_ENTRIES)
            .map(|x| -> F {
                self.products
                    .iter()
                    .map(|(coef, tables)| {
                        tables.iter().fold(*coef, |acc, t| acc * self.tables[*t][x])
                    })
                    .sum()
            })
            .sum()
    }

    fn round_polynomial(&self) -> Vec<F> {
        let n = self.degree() + 1;
        let values = (0..self.tables[0].len() / 2)
            .into_par_iter()
            .with_min_len(PARALLEL_ENTRIES)
            .fold(
                || {
                    (
                        vec![(F::ZERO, F::ZERO); self.tables.len()],
                        vec![F::ZERO; n],
                    )
                },
                |(mut scratch, mut values), x| {
                    self.accumulate(x, &mut scratch, &mut values);
                    (scratch, values)
                },
            )
            .map(|(_, values)| values)
            .reduce(|| vec![F::ZERO; n], add_vectors);
        interpolate(&values)
    }

    fn bind(&mut self, r: F) {
        self.tables.par_iter_mut().for_each(|t| bind_table(t, r));
    }
}

/// Element-wise sum.
pub fn add_vectors(mut a: Vec<F>, b: Vec<F>) -> Vec<F> {
    for (x, y) in a.iter_mut().zip(b) {
        *x += y;
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(seed: u64, bits: usize) -> Vec<F> {
        (0..1u64 << bits)
            .map(|i| F::from(seed * 1000 + i).square() + F::from(seed))
            .collect()
    }

    #[test]
    fn interpolation_recovers_coefficients() {
        let c: Vec<F> = [5u64, 0, 7, 11, 3].map(F::from).to_vec();
        let values: Vec<F> = (0..5u64).map(|x| evaluate(&c, F::from(x))).collect();
        assert_eq!(interpolate(&values), c);
    }

    /// Two groups on different coordinates: the messages must satisfy every round's check, and the
    /// last sum must be what the bound tables say.
    #[test]
    fn rounds_are_consistent_down_to_the_tables() {
        let mut a = Products {
            coords: vec![0, 2],
            tables: vec![table(1, 2), table(2, 2), table(3, 2)],
            products: vec![(F::from(3), vec![0, 1, 2]), (-F::ONE, vec![1, 1])],
        };
        let mut b = Products {
            coords: vec![1, 2, 3],
            tables: vec![table(4, 3), table(5, 3)],
            products: vec![(F::ONE, vec![0, 1])],
        };
        let sums = [a.sum(), b.sum()];
        let mut sum = sums[0] + sums[1];
        let mut challenges = (1..).map(|i: u64| F::from(12345 * i).square());
        let point = prove(
            vec![(sums[0], &mut a), (sums[1], &mut b)],
            0..4,
            3,
            |message| {
                let r = challenges.next().expect("endless");
                let q = evaluate(&message[1..], r);
                sum = message[0] + r * (sum - message[0].double() + (r - F::ONE) * q);
                r
            },
        );
        assert_eq!(point.len(), 4);
        let t = |p: &Products, i: usize| p.tables[i][0];
        let quarter = F::from(4).invert().unwrap();
        let half = F::from(2).invert().unwrap();
        let expected = quarter * (F::from(3) * t(&a, 0) * t(&a, 1) * t(&a, 2) - t(&a, 1).square())
            + half * t(&b, 0) * t(&b, 1);
        assert_eq!(sum, expected);
    }
}
