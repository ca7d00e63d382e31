//! Exact integer matrix products by floating-point ones.
//!
//! A sum of integers is exact in `f64`, in any order and with fused multiply-adds or without, as long
//! as the magnitudes of its summands add up to at most 2^53. So wide integers are cut into limbs,
//!
//! ```text
//! x = Σ_l 2^(b·l)·x_l,     |x_l| ≤ 2^(b−1),   b ≤ 23
//! ```
//!
//! and contracted limb by limb, over as many inputs at a time as 2^53 allows: at least one, since
//! 2^22 · |W| ≤ 2^53; for the weights of a real model, all of them.

use std::ops::Range;

use rayon::prelude::*;

use super::gemm::Matrix;
use super::{LANES, Overflow};
use crate::quant::IntMatrix;

/// Tokens whose limbs are held at once.
const TOKEN_BLOCK: usize = 256;

/// Output slabs that one task computes: their weights, as `f64`, stay in the second-level cache.
const PANEL: usize = 2;

/// The largest exact integer.
const EXACT: u64 = 1 << 53;

/// How integers are cut.
#[derive(Clone, Copy, Debug)]
pub struct Limbs {
    /// b.
    bits: u32,
    pub count: usize,
}

impl Limbs {
    /// b at most: 2^(b−1) times any weight is exact.
    const MOST_BITS: u32 = 23;

    /// The fewest limbs for integers of magnitude up to `largest`, all of one width.
    pub fn new(largest: u128) -> Self {
        let signed_bits = 129 - largest.leading_zeros();
        let count = signed_bits.div_ceil(Self::MOST_BITS);
        Self {
            bits: signed_bits.div_ceil(count),
            count: count as usize,
        }
    }

    /// The largest magnitude of a limb.
    pub fn largest(self) -> u64 {
        1 << (self.bits - 1)
    }

    /// x_l. Rounding half a limb up at every cut makes all limbs but the highest signed.
    pub fn cut(self, x: i128, l: usize) -> f64 {
        if self.count == 1 {
            return x as f64;
        }
        let half = 1i128 << (self.bits - 1);
        let halves = (0..self.count - 1).fold(0, |sum, l| sum + (half << self.shift(l)));
        let shifted = x.wrapping_add(halves) >> self.shift(l);
        let limb = if l + 1 == self.count {
            shifted
        } else {
            (shifted & (2 * half - 1)) - half
        };
        limb as i64 as f64
    }

    /// The part of a sum that limb l contributes: wrapping, because only the whole is known to fit.
    pub fn part(self, product: f64, l: usize) -> i128 {
        i128::from(product as i64).wrapping_shl(self.shift(l))
    }

    fn shift(self, l: usize) -> u32 {
        self.bits * l as u32
    }
}

/// The largest magnitude.
pub fn largest<T: Copy + Into<i128>>(values: &[T]) -> u128 {
    let magnitude = |v: &T| Into::<i128>::into(*v).unsigned_abs();
    values.iter().map(magnitude).max().unwrap_or(0)
}

/// Calls `add` with matrices whose sum is a·b, row by row: each is exact if no product of an entry
/// of a with one of b exceeds `largest` ≤ 2^53.
pub fn exact(a: Matrix, b: Matrix, largest: u64, mut add: impl FnMut(&[f64])) {
    assert!(largest <= EXACT, "a single product must be exact");
    let inputs = a.columns();
    let most = usize::try_from(EXACT / largest.max(1)).unwrap_or(usize::MAX);
    for first in (0..inputs).step_by(most) {
        let len = most.min(inputs - first);
        add(&a.columns_from(first, len).times(b.rows_from(first, len)));
    }
}

/// x·W for `tokens` rows x, `[slab][token][lane]` in and out. Lanes beyond the matrix's outputs are
/// zero.
///
/// Errors: a sum might leave `i128`.
pub fn multiply<T: Copy + Into<i128> + Sync>(
    x: &[T],
    tokens: usize,
    matrix: &IntMatrix,
) -> Result<Vec<i128>, Overflow> {
    assert_eq!(
        x.len(),
        matrix.inputs.next_multiple_of(LANES) * tokens,
        "one input a matrix row"
    );
    let largest = largest(x);
    let limbs = Limbs::new(largest);
    let mut y = vec![0; matrix.outputs.div_ceil(LANES) * tokens * LANES];
    for first in (0..tokens).step_by(TOKEN_BLOCK) {
        let block = first..tokens.min(first + TOKEN_BLOCK);
        let rows = limb_rows(x, tokens, block.clone(), matrix.inputs, limbs);
        let rows = Matrix::new(&rows, limbs.count * block.len(), matrix.inputs);
        y.par_chunks_mut(PANEL * tokens * LANES)
            .enumerate()
            .try_for_each(|(panel, y)| {
                let panel = Panel::new(matrix, panel * PANEL * LANES);
                panel.check(largest)?;
                panel.multiply(rows, limbs, block.clone(), tokens, y);
                Ok(())
            })?;
    }
    Ok(y)
}

/// The limbs of some tokens, `[limb][token][input]`: a matrix of limbs · tokens rows.
fn limb_rows<T: Copy + Into<i128> + Sync>(
    x: &[T],
    tokens: usize,
    block: Range<usize>,
    inputs: usize,
    limbs: Limbs,
) -> Vec<f64> {
    let mut values = vec![0.0; limbs.count * block.len() * inputs];
    let row = |(row, values): (usize, &mut [f64])| {
        let (l, token) = (row / block.len(), block.start + row % block.len());
        for (slab, values) in values.chunks_mut(LANES).enumerate() {
            let lanes = &x[(slab * tokens + token) * LANES..];
            for (value, x) in values.iter_mut().zip(lanes) {
                *value = limbs.cut((*x).into(), l);
            }
        }
    };
    values
        .par_chunks_mut(inputs.max(1))
        .enumerate()
        .for_each(row);
    values
}

/// Some columns of a matrix, as `f64`.
struct Panel {
    weights: Vec<f64>,
    inputs: usize,
    outputs: usize,
    largest: u32,
}

impl Panel {
    /// At most [`PANEL`] slabs of outputs, from output `first` on.
    fn new(matrix: &IntMatrix, first: usize) -> Self {
        let outputs = (PANEL * LANES).min(matrix.outputs - first);
        let mut weights = Vec::with_capacity(matrix.inputs * outputs);
        let (mut least, mut most) = (0, 0);
        for k in 0..matrix.inputs {
            let row = &matrix.row(k)[first..][..outputs];
            for w in row {
                (least, most) = (least.min(*w), most.max(*w));
            }
            weights.extend(row.iter().map(|w| f64::from(*w)));
        }
        Self {
            weights,
            inputs: matrix.inputs,
            outputs,
            largest: least.unsigned_abs().max(most.unsigned_abs()),
        }
    }

    /// That sums of products with integers up to `largest` stay below 2^126.
    fn check(&self, largest: u128) -> Result<(), Overflow> {
        let bound = largest
            .checked_mul(self.largest.into())
            .and_then(|b| b.checked_mul(self.inputs as u128));
        match bound {
            Some(bound) if bound < 1 << 126 => Ok(()),
            _ => Err(Overflow {
                tensor: "the input of a matrix product".into(),
                value: i128::try_from(largest).unwrap_or(i128::MAX),
                least: -(1 << 80),
                most: 1 << 80,
            }),
        }
    }

    /// Adds the products of limb rows to `y`, `[slab][token][lane]` for all `tokens`.
    fn multiply(
        &self,
        rows: Matrix,
        limbs: Limbs,
        block: Range<usize>,
        tokens: usize,
        y: &mut [i128],
    ) {
        let largest = limbs.largest() * u64::from(self.largest);
        let weights = Matrix::new(&self.weights, self.inputs, self.outputs);
        exact(rows, weights, largest, |products| {
            for (row, products) in products.chunks(self.outputs).enumerate() {
                let (l, token) = (row / block.len(), block.start + row % block.len());
                for (slab, products) in products.chunks(LANES).enumerate() {
                    let y = &mut y[(slab * tokens + token) * LANES..];
                    for (y, product) in y.iter_mut().zip(products) {
                        *y = y.wrapping_add(limbs.part(*product, l));
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ops::testing::Rng;

    /// x·W by its definition, in `i128`.
    fn defined(x: &[i128], tokens: usize, m: &IntMatrix) -> Vec<i128> {
        let mut y = vec![0; m.outputs.div_ceil(LANES) * tokens * LANES];
        for token in 0..tokens {
            for c in 0..m.outputs {
                let x = |k: usize| x[(k / LANES * tokens + token) * LANES + k % LANES];
                let products = (0..m.inputs).map(|k| x(k) * i128::from(m.row(k)[c]));
                y[(c / LANES * tokens + token) * LANES + c % LANES] = products.sum();
            }
        }
        y
    }

    /// Integers of up to `bits` bits of which a few are the extremes.
    fn integers(rng: &mut Rng, len: usize, bits: u32) -> Vec<i128> {
        let most = (1i128 << bits) - 1;
        let mut draw = || match rng.draw() % 8 {
            0 => most,
            1 => -most,
            2 => 0,
            _ => {
                let wide = i128::from(rng.draw() as i64) << 64 | i128::from(rng.draw());
                wide >> (127 - bits)
            }
        };
        (0..len).map(|_| draw()).collect()
    }

    fn weights(rng: &mut Rng, inputs: usize, outputs: usize, bits: u32) -> IntMatrix {
        let entries = integers(rng, inputs * outputs, bits);
        IntMatrix {
            inputs,
            outputs,
            data: entries.into_iter().map(|w| w as i32).collect(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Products are those of the definition for all shapes and magnitudes that fit: outputs and
        /// inputs that fill no slab, weights so large that only a few products can be added in `f64`.
        #[test]
        fn products_match_the_definition(
            seed: u64,
            (inputs, outputs) in (1usize..200, 1usize..300),
            tokens in 1usize..20,
            (x_bits, weight_bits) in (0u32..87, 0u32..32),
        ) {
            let mut rng = Rng(seed);
            let x = integers(&mut rng, inputs.next_multiple_of(LANES) * tokens, x_bits);
            let m = weights(&mut rng, inputs, outputs, weight_bits.min(31));
            prop_assert_eq!(multiply(&x, tokens, &m), Ok(defined(&x, tokens, &m)));
        }

        /// Limbs are in their range and add up to the integer, up to the widest.
        #[test]
        fn limbs_recompose(x: i128, drop in 0u32..127) {
            let x = x >> 1 >> drop;
            let limbs = Limbs::new(x.unsigned_abs());
            let cut: Vec<f64> = (0..limbs.count).map(|l| limbs.cut(x, l)).collect();
            prop_assert!(cut.iter().all(|l| l.abs() <= limbs.largest() as f64));
            let sum = |sum: i128, (l, limb): (usize, &f64)| sum.wrapping_add(limbs.part(*limb, l));
            prop_assert_eq!(cut.iter().enumerate().fold(0, sum), x);
        }
    }

    /// The largest weights and inputs up to the limit, more tokens than a block; beyond the limit,
    /// and at the ends of `i128`, an error.
    #[test]
    fn sums_are_exact_up_to_the_limit_and_refused_beyond() {
        let (inputs, tokens) = (128, TOKEN_BLOCK + 3);
        let m = IntMatrix {
            inputs,
            outputs: 3,
            data: [i32::MIN, i32::MAX, -1].repeat(inputs),
        };
        let limit = 1i128 << (126 - 31 - 7);
        for most in [limit - 1, 1 - limit] {
            let x = vec![most; inputs * tokens];
            assert_eq!(multiply(&x, tokens, &m), Ok(defined(&x, tokens, &m)));
        }
        for beyond in [limit, -limit, i128::MAX, i128::MIN] {
            let mut x = vec![0; inputs * tokens];
            x[inputs * tokens - 1] = beyond;
            assert!(multiply(&x, tokens, &m).is_err(), "{beyond}");
        }
    }

    /// No weight, no bound to break.
    #[test]
    fn nothing_times_the_largest_is_nothing() {
        let m = IntMatrix {
            inputs: 64,
            outputs: 1,
            data: vec![0; 64],
        };
        assert_eq!(multiply(&[i128::MIN; 64], 1, &m), Ok(vec![0; LANES]));
    }
}
