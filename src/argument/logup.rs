//! Lookups as a sum of logarithmic derivatives (LogUp; Haböck, eprint 2022/1530).
//!
//! Claim: every key of every lane, with its value, is a row of its table.
//!
//! ```text
//! d_i(y)  = β − (tag + α·(key_i(y) + offset) + α²·value_i(y))         lookup i of helper entry y
//! t_j     = tag + α·key_j + α²·value_j                                row j of a table
//! h(y)    = Σ_i 1/d_i(y)                                               committed
//! (1)  Σ_{y < N} eq(τ, y)·( h·Π_i d_i − Σ_i Π_{j≠i} d_j )(y) = 0      a product of the sumcheck
//! (2)  Σ_layers Σ_{y < N} h(y) − Σ_tables Σ_j mult_j/(β − t_j) = 0     a functional of the data
//! ```
//!
//! Soundness: keys, values and multiplicities are committed before α and β are drawn, so (2) as an
//! identity of rational functions in β forces the multisets to agree: a pole of the left sum that
//! is no table row cannot be cancelled (the multiplicities are arbitrary field elements, but they
//! stand only at table rows; fewer than p lookups, so a count cannot wrap around). (1) fixes h
//! wherever no d_i is 0, which fails with probability at most (number of lookups)/p. Tags keep the
//! tables apart, as α is drawn after the keys.

use std::sync::Arc;

use ff::Field;
use pasta_curves::deferred::DeferredField;
use rayon::prelude::*;

use super::challenges::Challenges;
use super::claims::{Layer, public_denominator};
use super::data::LayerData;
use super::functional::Functional;
use super::layout::LOOKUP_LANES;
use super::sumcheck::{Summand, add_vectors, bind_table, interpolate};
use crate::algebra::{F, batch_invert, eq_table, from_i128};
use crate::system::Table;

/// The denominators of every lane, N values each.
pub fn denominators(layer: &Layer, data: &LayerData, ch: &Challenges) -> Vec<Vec<F>> {
    let alpha2 = ch.alpha.square();
    (0..LOOKUP_LANES)
        .into_par_iter()
        .map(|i| {
            let mut d = vec![F::ZERO; layer.layout.lane_len];
            for (run, y, start, len) in layer.lane_runs(i) {
                let public = public_denominator(run, ch);
                for (x, d) in d[y..y + len].iter_mut().enumerate() {
                    *d = public - ch.alpha * data.witness_field(start + x);
                    if let Some(value) = run.value {
                        *d -= alpha2 * data.witness_field(value + (start - run.start) + x);
                    }
                }
            }
            d
        })
        .collect()
}

/// h(y) = Σ_i 1/d_i(y). `None` if a denominator is zero, which happens with probability about
/// 2^-230: draw again.
pub fn helper(denominators: &[Vec<F>]) -> Option<Vec<F>> {
    const CHUNK: usize = 1 << 12;
    let n = denominators[0].len();
    let chunks: Option<Vec<Vec<F>>> = (0..n.div_ceil(CHUNK))
        .into_par_iter()
        .map(|c| {
            let range = c * CHUNK..((c + 1) * CHUNK).min(n);
            let mut all: Vec<F> = denominators
                .iter()
                .flat_map(|d| &d[range.clone()])
                .copied()
                .collect();
            batch_invert(&mut all).then(|| {
                let len = range.len();
                (0..len)
                    .map(|y| all.iter().skip(y).step_by(len).sum())
                    .collect()
            })
        })
        .collect();
    chunks.map(|c| c.concat())
}

/// Adds how often each row of `table` is looked up by this layer. A key outside the table counts
/// nowhere: the proof will not verify. `None` where a row is looked up 2^31 times or more, which is more
/// than a count holds.
pub fn count(
    layer: &Layer,
    data: &LayerData,
    table: &Table,
    multiplicities: &mut [i32],
) -> Option<()> {
    for run in layer.layout.runs.iter().filter(|r| r.table == table.id) {
        for x in run.start..run.start + run.len {
            let row = data.witness(x) + i128::from(run.offset - table.first_key);
            if let Some(m) = usize::try_from(row)
                .ok()
                .and_then(|r| multiplicities.get_mut(r))
            {
                *m = m.checked_add(1)?;
            }
        }
    }
    Some(())
}

/// 1/(β − t_j) for every row of the table, negated: the functional of its multiplicities in (2).
/// `None` if β is a row, which happens with probability about 2^-238.
pub fn table_weights(table: &Table, alpha: F, beta: F) -> Option<Vec<F>> {
    const CHUNK: usize = 1 << 12;
    let square = alpha.square();
    let fill = |(chunk, weights): (usize, &mut [F])| {
        let start = chunk * CHUNK;
        let key = from_i128(i128::from(table.first_key) + start as i128);
        // tag + α·key − β: one α more from row to row.
        let mut without_value = F::from(table.id.tag()) + alpha * key - beta;
        for (j, weight) in weights.iter_mut().enumerate() {
            *weight = without_value;
            if let Some(values) = &table.values {
                *weight += square * from_i128(i128::from(values[start + j]));
            }
            without_value += alpha;
        }
        batch_invert(weights)
    };
    let mut weights = vec![F::ZERO; table.len];
    let chunks = weights.par_chunks_mut(CHUNK).enumerate();
    chunks.map(fill).all(|inverted| inverted).then_some(weights)
}

/// (2): Σ h over every layer's helper rows, and the tables' weights on the multiplicities.
/// `helpers` are (offset, N), `tables` are (offset, weights).
pub fn balance(helpers: &[(usize, usize)], tables: &[(usize, Arc<Vec<F>>)]) -> Functional {
    let mut f = Functional::default();
    for (offset, len) in helpers {
        f.add_column(
            *offset,
            &[*len],
            &[super::functional::DimWeights::Ones],
            F::ONE,
        );
    }
    f.dense.extend(
        tables
            .iter()
            .map(|(offset, w)| (*offset, F::ONE, w.clone())),
    );
    f
}

/// (1) as the prover folds it.
///
/// In every round the sum over the pairs of entries is l(X)·q(X), l(X) = (1 − τ)(1 − X) + τ·X the
/// round's own factor of eq (Gruen, eprint 2024/108), so that q has one degree less than the round's
/// polynomial. Only the last pair has another factor, where N or an earlier number of entries was
/// odd: a missing entry counts as zero.
pub struct LogUp {
    coords: Vec<usize>,
    tau: Vec<F>,
    /// scale · eq(τ, y) on y < N, with the coordinates bound so far.
    eq: Vec<F>,
    pub helper: Vec<F>,
    pub lanes: Vec<Vec<F>>,
}

impl LogUp {
    /// `bits` is the number of bits of a helper index; `scale` is LogUp's power of λ.
    pub fn new(bits: usize, scale: F, tau: &[F], helper: Vec<F>, lanes: Vec<Vec<F>>) -> Self {
        let mut eq = eq_table(&tau[..bits], scale);
        eq.truncate(helper.len());
        Self {
            coords: (0..bits).collect(),
            tau: tau[..bits].to_vec(),
            eq,
            helper,
            lanes,
        }
    }

    /// τ of the coordinate that is bound next.
    fn tau(&self) -> F {
        let unbound = self.eq.len().next_power_of_two().ilog2() as usize;
        self.tau[self.tau.len() - unbound]
    }

    /// (value at 0, value at 1 − value at 0) of an entry pair.
    fn pair(table: &[F], x: usize) -> (F, F) {
        let high = table.get(2 * x + 1).copied().unwrap_or(F::ZERO);
        (table[2 * x], high - table[2 * x])
    }

    /// Adds weight · (h·Π d − Σ_i Π_{j≠i} d_j) of entry pair `x`, as a polynomial.
    fn accumulate(&self, x: usize, weight: F, sums: &mut FractionSums) {
        let (h, dh) = Self::pair(&self.helper, x);
        let d: [(F, F); LOOKUP_LANES] = std::array::from_fn(|i| Self::pair(&self.lanes[i], x));
        sums.add(weight, (h, dh), &d);
    }
}

/// Degree of h·Π d.
const DEGREE: usize = LOOKUP_LANES + 1;

type Accumulator = <F as DeferredField>::Accumulator;

/// A sum of weighted fraction identities: its values at 0, 1, …, DEGREE − 1 and its leading
/// coefficient.
#[derive(Clone, Default)]
struct FractionSums([Accumulator; DEGREE + 1]);

// The identity is written out for two pairs of lanes.
const _: () = assert!(LOOKUP_LANES == 4);

/// The product of two linear polynomials, walked from 0 upwards.
struct Quadratic {
    value: F,
    difference: F,
    second_difference: F,
}

impl Quadratic {
    fn new((a, da): (F, F), (b, db): (F, F)) -> (Self, F) {
        let (value, leading) = (a * b, da * db);
        let this = Self {
            value,
            difference: (a + da) * (b + db) - value,
            second_difference: leading.double(),
        };
        (this, leading)
    }

    fn step(&mut self) {
        self.value += self.difference;
        self.difference += self.second_difference;
    }
}

impl FractionSums {
    #[inline]
    fn add(&mut self, weight: F, (mut h, dh): (F, F), d: &[(F, F); LOOKUP_LANES]) {
        let (mut p, p_leading) = Quadratic::new(d[0], d[1]);
        let (mut q, q_leading) = Quadratic::new(d[2], d[3]);
        // Minus the sums of each pair of lanes.
        let (mut s, ds) = (-(d[0].0 + d[1].0), d[0].1 + d[1].1);
        let (mut t, dt) = (-(d[2].0 + d[3].0), d[2].1 + d[3].1);
        let (last, values) = self
            .0
            .split_last_mut()
            .expect("there is a leading coefficient");
        for value in values {
            // h·p·q − (d₀ + d₁)·q − (d₂ + d₃)·p, where p = d₀·d₁ and q = d₂·d₃
            let identity = (h * p.value + s) * q.value + t * p.value;
            F::mul_accumulate(value, &weight, &identity);
            h += dh;
            s -= ds;
            t -= dt;
            p.step();
            q.step();
        }
        F::mul_accumulate(last, &weight, &(dh * p_leading * q_leading));
    }

    /// The coefficients, lowest first.
    fn coefficients(self) -> Vec<F> {
        let mut values = self.0.map(F::reduce);
        let leading = values[DEGREE];
        for (x, value) in values[..DEGREE].iter_mut().enumerate() {
            *value -= leading * F::from(x as u64).pow_vartime([DEGREE as u64]);
        }
        let mut coefficients = interpolate(&values[..DEGREE]);
        coefficients.push(leading);
        coefficients
    }
}

/// h·Π d − Σ_i Π_{j≠i} d_j.
#[inline]
fn fraction_identity(h: F, d: &[F; LOOKUP_LANES]) -> F {
    let (p, q) = (d[0] * d[1], d[2] * d[3]);
    (h * p - (d[0] + d[1])) * q - (d[2] + d[3]) * p
}

impl Summand for LogUp {
    fn coords(&self) -> &[usize] {
        &self.coords
    }

    fn sum(&self) -> F {
        // Zero for an honest helper; computed all the same, so that a cheating one is carried
        // through to the verifier rather than repaired here.
        (0..self.eq.len())
            .into_par_iter()
            .map(|y| {
                self.eq[y]
                    * fraction_identity(self.helper[y], &std::array::from_fn(|i| self.lanes[i][y]))
            })
            .sum()
    }

    fn round_polynomial(&self) -> Vec<F> {
        let last = self.eq.len().div_ceil(2) - 1;
        let inner = (0..last)
            .into_par_iter()
            .with_min_len(1 << 9)
            .fold(FractionSums::default, |mut sums, x| {
                // (1 − τ)·e + τ·e, the pair's entries of eq, less its factor l.
                self.accumulate(x, self.eq[2 * x] + self.eq[2 * x + 1], &mut sums);
                sums
            })
            .map(FractionSums::coefficients)
            .reduce(|| vec![F::ZERO; DEGREE + 1], add_vectors);
        let tau = self.tau();
        let polynomial = times_linear(&inner, [F::ONE - tau, tau.double() - F::ONE]);
        let mut end = FractionSums::default();
        self.accumulate(last, F::ONE, &mut end);
        let (e, de) = Self::pair(&self.eq, last);
        add_vectors(polynomial, times_linear(&end.coefficients(), [e, de]))
    }

    fn bind(&mut self, r: F) {
        let tables = [&mut self.eq, &mut self.helper];
        tables
            .into_par_iter()
            .chain(&mut self.lanes)
            .for_each(|t| bind_table(t, r));
    }
}

/// (a₀ + a₁·X) · Σ coefficients[k]·X^k.
fn times_linear(coefficients: &[F], [a0, a1]: [F; 2]) -> Vec<F> {
    let mut product = vec![F::ZERO; coefficients.len() + 1];
    for (k, c) in coefficients.iter().enumerate() {
        product[k] += a0 * c;
        product[k + 1] += a1 * c;
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::argument::data::Externals;
    use crate::argument::sumcheck::{Products, prove};
    use crate::system::{System, TableId, Values, Witness};

    fn table(seed: u64, n: usize) -> Vec<F> {
        (0..n as u64)
            .map(|i| F::from(seed * 1000 + i).square() + F::from(seed))
            .collect()
    }

    /// The kernel against the same identity as plain products of padded tables, at a length that
    /// is not a power of two and for a helper that is wrong.
    #[test]
    fn kernel_equals_the_plain_products() {
        let n = 11;
        let tau = table(9, 4);
        let lanes: Vec<Vec<F>> = (1..=LOOKUP_LANES as u64).map(|i| table(i, n)).collect();
        let mut fast = LogUp::new(4, F::from(5), &tau, table(20, n), lanes.clone());
        let pad = |mut t: Vec<F>| {
            t.resize(16, F::ZERO);
            t
        };
        let mut tables = vec![pad(fast.eq.clone()), pad(fast.helper.clone())];
        tables.extend(lanes.into_iter().map(pad));
        let all: Vec<usize> = (0..LOOKUP_LANES).map(|i| i + 2).collect();
        let mut products = vec![(F::ONE, [vec![0, 1], all.clone()].concat())];
        for i in &all {
            products.push((
                -F::ONE,
                std::iter::once(0)
                    .chain(all.iter().copied().filter(|j| j != i))
                    .collect(),
            ));
        }
        let mut naive = Products {
            coords: (0..4).collect(),
            tables,
            products,
        };
        let run = |s: &mut dyn Summand| {
            let mut log = vec![s.sum()];
            let mut next = 100u64;
            prove(vec![(log[0], s)], 0..4, LOOKUP_LANES + 2, |m| {
                log.extend(m);
                next += 1;
                F::from(next).square()
            });
            log
        };
        assert_eq!(run(&mut fast), run(&mut naive));
        assert_eq!(fast.helper, naive.tables[1]);
    }

    /// A count that would wrap is told: the proof would not verify.
    #[test]
    fn counts_end_at_31_bits() {
        let mut system = System::default();
        let key = system.range("key", &[8], 0);
        let layer = Layer::new(system, 14);
        let mut witness = Witness::new(&layer.system);
        witness.set(key, Values::Small(vec![3; 8]));
        let data = LayerData::new(&layer, &witness, Externals::default());
        let table = Table {
            id: TableId::Range16,
            first_key: 0,
            len: 1 << 16,
            values: None,
        };
        let mut counts = vec![0; table.len];
        counts[3] = i32::MAX - 8;
        assert_eq!(count(&layer, &data, &table, &mut counts), Some(()));
        assert_eq!((counts[3], counts[2]), (i32::MAX, 0));
        counts[3] = i32::MAX - 7;
        assert_eq!(count(&layer, &data, &table, &mut counts), None);
    }

    #[test]
    fn helper_is_the_sum_of_inverses_and_zero_is_noticed() {
        let lanes: Vec<Vec<F>> = (1..=LOOKUP_LANES as u64).map(|i| table(i, 5)).collect();
        let h = helper(&lanes).expect("no zero");
        for (y, h) in h.iter().enumerate() {
            assert_eq!(*h, lanes.iter().map(|l| l[y].invert().unwrap()).sum::<F>());
        }
        let mut zero = lanes;
        zero[2][3] = F::ZERO;
        assert!(helper(&zero).is_none());
    }
}
