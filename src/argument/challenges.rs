//! The public challenges of a layer, and the public factors evaluated at them.

use ff::Field;

use super::plan::{Coord, LiveAt, PublicAt, Scalar, Weight};
use crate::algebra::{F, eq_at, eq_table, from_i128, prefix_at};

/// Everything random that a layer's claims depend on.
#[derive(Clone, Debug)]
pub struct Challenges {
    /// LogUp: the denominator of a lookup is β − (tag + α·key + α²·value).
    pub alpha: F,
    pub beta: F,
    /// τ, one coordinate per coordinate of the system (and of the helper index).
    pub tau: Vec<F>,
    /// λ, λ², …: entry k weighs relation k.
    pub lambdas: Vec<F>,
}

impl Challenges {
    pub fn weight(&self, weight: &Weight) -> F {
        match weight {
            Weight::One => F::ONE,
            Weight::Sum(scalars) => scalars.iter().map(|s| self.scalar(s)).sum(),
        }
    }

    pub fn scalar(&self, s: &Scalar) -> F {
        let lives: F = s.lives.iter().map(|l| self.live(l)).product();
        s.coef * lives * self.lambdas[s.relation]
    }

    pub fn live(&self, live: &LiveAt) -> F {
        prefix_at(&pick(&self.tau, &live.coords), live.len)
    }

    /// The value of a public factor at the sumcheck's point.
    pub fn public(&self, public: &PublicAt, round: &[F]) -> F {
        match public {
            PublicAt::Eq(coords) => coords
                .iter()
                .map(|c| eq_bit(self.tau[*c], round[*c]))
                .product(),
            PublicAt::EqPrefix { bits, len } => {
                eq_prefix(&self.tau[..*bits], &round[..*bits], *len)
            }
            PublicAt::Causal {
                row,
                col,
                window,
                complement,
            } => {
                let (row, col) = (pick(round, row), pick(round, col));
                // Of all that came before, those are not seen that came before the window.
                let far = window.map_or(F::ZERO, |n| far_at(&row, &col, n));
                let causal = causal_at(&row, &col) - far;
                if *complement { F::ONE - causal } else { causal }
            }
            PublicAt::OneHot {
                row,
                index,
                targets,
            } => {
                let (row, index) = (pick(&self.tau, row), pick(round, index));
                targets
                    .iter()
                    .enumerate()
                    .map(|(i, t)| eq_at(&row, i) * eq_at(&index, *t))
                    .sum()
            }
            PublicAt::Table { at, values } => {
                let point: Vec<F> = at.iter().map(|c| self.coord(*c, round)).collect();
                table_at(&point, values)
            }
        }
    }

    /// The coordinate of either point.
    pub fn coord(&self, coord: Coord, round: &[F]) -> F {
        match coord {
            Coord::Tau(c) => self.tau[c],
            Coord::Round(c) => round[c],
        }
    }
}

/// The listed coordinates of a point.
pub fn pick(point: &[F], coords: &[usize]) -> Vec<F> {
    coords.iter().map(|c| point[*c]).collect()
}

/// Σ_x eq(point, x)·values[x]: row by row, so that the weights take the room of a row and a column instead of a table of
/// four times the size of the values.
fn table_at(point: &[F], values: &[i64]) -> F {
    assert!(
        values.len() <= 1 << point.len(),
        "a table has room for its values"
    );
    let (column, row) = point.split_at(point.len() / 2);
    let weights = eq_table(column, F::ONE);
    let rows = values.chunks(weights.len()).map(|values| {
        let terms = weights.iter().zip(values);
        terms.map(|(w, v)| *w * from_i128((*v).into())).sum::<F>()
    });
    let weighted = rows.zip(eq_table(row, F::ONE)).map(|(sum, w)| sum * w);
    weighted.sum()
}

/// eq of one coordinate each: a·b + (1 − a)(1 − b).
fn eq_bit(a: F, b: F) -> F {
    let ab = a * b;
    ab.double() - a - b + F::ONE
}

/// Σ_{x < len} eq(a, x)·eq(b, x).
fn eq_prefix(a: &[F], b: &[F], len: usize) -> F {
    if len == 1 << a.len() {
        return a.iter().zip(b).map(|(a, b)| eq_bit(*a, *b)).product();
    }
    // As in `prefix_at`, from the highest bit down; `full` is the sum over all lower bits.
    let mut full = vec![F::ONE];
    for (a, b) in a.iter().zip(b) {
        full.push(full[full.len() - 1] * eq_bit(*a, *b));
    }
    let (mut below, mut agree) = (F::ZERO, F::ONE);
    for i in (0..a.len()).rev() {
        let (zero, one) = ((F::ONE - a[i]) * (F::ONE - b[i]), a[i] * b[i]);
        if len >> i & 1 == 1 {
            below += agree * zero * full[i];
            agree *= one;
        } else {
            agree *= zero;
        }
    }
    below
}

/// Σ_{col ≤ row} eq(r, row)·eq(c, col): the multilinear extension of [col ≤ row].
fn causal_at(r: &[F], c: &[F]) -> F {
    // From the lowest bit up, `le` is the extension of [col ≤ row] on the bits so far: a higher
    // bit decides unless it is equal.
    let mut le = F::ONE;
    for (r, c) in r.iter().zip(c) {
        le = *r * (F::ONE - c) + eq_bit(*r, *c) * le;
    }
    le
}

/// Σ_{col + n ≤ row} eq(r, row)·eq(c, col): the multilinear extension of [col + n ≤ row].
fn far_at(r: &[F], c: &[F], n: usize) -> F {
    if r.len() < usize::BITS as usize && n >> r.len() != 0 {
        return F::ZERO;
    }
    // From the lowest bit up: the extension, on the bits so far, of "col + n carries k" and "its digits are at most row's",
    // as [k][0: no, 1: yes]. What carries beyond the last bit is larger than any row.
    let mut state = [[F::ZERO, F::ONE], [F::ZERO, F::ZERO]];
    for (bit, (r, c)) in r.iter().zip(c).enumerate() {
        let mut next = [[F::ZERO; 2]; 2];
        for (carry, at_most) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            for (row, weight_r) in [(0, F::ONE - r), (1, *r)] {
                for (col, weight_c) in [(0, F::ONE - c), (1, *c)] {
                    let sum = col + (n >> bit & 1) + carry;
                    let holds = match (sum & 1).cmp(&row) {
                        std::cmp::Ordering::Less => 1,
                        std::cmp::Ordering::Equal => at_most,
                        std::cmp::Ordering::Greater => 0,
                    };
                    next[sum >> 1][holds] += state[carry][at_most] * weight_r * weight_c;
                }
            }
        }
        state = next;
    }
    state[0][1]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(seed: u64, n: usize) -> Vec<F> {
        (0..n as u64)
            .map(|i| F::from(seed + 31 * i).square() - F::from(3))
            .collect()
    }

    /// Whether or not they fill their rows, or more than one.
    #[test]
    fn tables_equal_their_sums() {
        for bits in 0..6 {
            let point = point(3, bits);
            for len in 0..=1 << bits {
                let values: Vec<i64> = (0..len as i64).map(|i| 5 * i * i - 40).collect();
                let weights = eq_table(&point, F::ONE);
                let terms = weights.iter().zip(&values);
                let plain: F = terms.map(|(w, v)| *w * from_i128((*v).into())).sum();
                assert_eq!(table_at(&point, &values), plain, "{len} of 2^{bits}");
            }
        }
    }

    #[test]
    fn structured_publics_equal_their_sums() {
        let (a, b) = (point(2, 4), point(50, 4));
        let (ta, tb) = (eq_table(&a, F::ONE), eq_table(&b, F::ONE));
        for len in 0..=16 {
            let plain: F = (0..len).map(|x| ta[x] * tb[x]).sum();
            assert_eq!(eq_prefix(&a, &b, len), plain);
        }
        let mut causal = F::ZERO;
        for (i, x) in ta.iter().enumerate() {
            causal += tb[..=i].iter().map(|y| *x * y).sum::<F>();
        }
        assert_eq!(causal_at(&a, &b), causal);
        for n in 0..20 {
            let mut far = F::ZERO;
            for (i, x) in ta.iter().enumerate() {
                let seen = tb.iter().enumerate().filter(|(j, _)| j + n <= i);
                far += seen.map(|(_, y)| *x * y).sum::<F>();
            }
            assert_eq!(far_at(&a, &b, n), far, "{n}");
        }
    }
}
