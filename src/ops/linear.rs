//! Linear layers: a committed matrix and bias.
//!
//! ```text
//! acc(i, c) = Σ_k x(i, k)·W(k, c) [+ 2^b·bias(c)]
//! ```
//!
//! The relation contracts (slab, lane) of the input and leaves token i and the output's (slab,
//! lane) free: one claim on W, linear in it and therefore last, so that all matrices that are
//! applied to one x become one product. x may be a product of several factors if the token is
//! checked (attention's output, a gated activation).
//!
//! | column | a cheating prover cannot choose it because |
//! | --- | --- |
//! | W, bias | they are committed in the verifying key |
//! | acc | it is exact and determined, or it is rescaled: see [`super::rescale`] |
//!
//! Bounds: |x| < 2^a, |W| < 2^31, n inputs: |acc| < 2^(a + 31 + log₂ n). The widest is attention's
//! output, a ≤ 124 (n·O ≤ 2^w·max|V|, w ≤ 60, |V| < 2^64): acc < 2^167. Weights are not range-checked: for a strange
//! verifying key the function is strange, but it is still one function, and the committed one.

use rayon::prelude::*;

use super::rescale::Accumulator;
use super::{Features, LANES, Overflow};
use crate::algebra::F;
use crate::quant::IntMatrix;
use crate::system::{Bind, ColumnId, Form, Relation, Rhs, Segment, System, Term, VarId, View};

/// The weights of a linear layer, as columns.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    from: Features,
    to: Features,
    matrix: ColumnId,
    bias: Option<ColumnId>,
}

impl Linear {
    /// Declares matrix number `number` of the layer and, if `biased`, the vector of that number.
    pub fn declare(
        system: &mut System,
        name: &str,
        (number, biased): (usize, bool),
        from: Features,
        to: Features,
    ) -> Self {
        let lens = [from.slabs(), LANES, to.slabs(), LANES];
        let bias = format!("{name} bias");
        Self {
            from,
            to,
            matrix: system.column(format!("{name} weight"), Segment::Matrix(number), &lens),
            bias: biased.then(|| system.column(bias, Segment::Vector(number), &[to.len])),
        }
    }

    /// Σ_k Π factors(k) · W(k, ·), and `bias_scale`·bias if there is one.
    pub fn accumulator(
        &self,
        check: &[VarId],
        mut factors: Vec<Form>,
        bias_scale: F,
    ) -> Accumulator {
        let binds = [
            self.from.slab_bind(),
            Bind::Var(self.from.lane),
            Bind::Var(self.to.slab),
            Bind::Var(self.to.lane),
        ];
        factors.push(Form::of(View::new(self.matrix, &binds)));
        Accumulator {
            check: check.to_vec(),
            terms: vec![Term::new(F::one(), &self.from.vars(), factors)],
            offsets: self
                .bias
                .iter()
                .map(|bias| Rhs::of(-bias_scale, self.to.vector(*bias)))
                .collect(),
        }
    }

    /// Declares a column that *is* the accumulator, unrounded.
    pub fn exact(
        system: &mut System,
        name: &str,
        accumulator: Accumulator,
        features: Features,
        (token, tokens): (VarId, usize),
    ) -> ColumnId {
        let column = system.exact(name, &[features.slabs(), tokens, LANES]);
        let mut rhs = vec![Rhs::of(F::one(), features.view(column, token))];
        rhs.extend(accumulator.offsets);
        system.relate(Relation {
            name: name.into(),
            check: accumulator.check,
            terms: accumulator.terms,
            rhs,
        });
        column
    }
}

/// x·W + 2^`bias_shift`·bias for every token: `[slab][token][lane]` in and out. An empty bias is none.
pub fn accumulate<T: Copy + Into<i128>>(
    x: &[T],
    tokens: usize,
    matrix: &IntMatrix,
    bias: &[i64],
    bias_shift: u32,
) -> Result<Vec<i128>, Overflow> {
    let mut acc = multiply(x, tokens, matrix)?;
    for (slab, bias) in acc.chunks_mut(tokens * LANES).zip(bias.chunks(LANES)) {
        for (lane, bias) in bias.iter().enumerate() {
            let scaled = scaled_bias(*bias, bias_shift)?;
            for a in slab[lane..].iter_mut().step_by(LANES) {
                // Both are below 2^126.
                *a += scaled;
            }
        }
    }
    Ok(acc)
}

/// 2^`shift`·bias, below 2^126.
fn scaled_bias(bias: i64, shift: u32) -> Result<i128, Overflow> {
    let most = (1i128 << 126) >> shift.min(127);
    Overflow::check("a bias", [bias.into()], -most, most)?;
    Ok(i128::from(bias).checked_shl(shift).unwrap_or(0)) // Beyond 127 bits only 0 is left.
}

/// Tokens whose accumulators a kernel keeps in the first-level cache.
const TOKEN_BLOCK: usize = 16;

/// x·W for `tokens` rows x, `[slab][token][lane]` in and out. Lanes beyond the matrix's outputs are
/// zero.
///
/// Errors: a sum might leave `i128`.
pub fn multiply<T: Copy + Into<i128>>(
    x: &[T],
    tokens: usize,
    matrix: &IntMatrix,
) -> Result<Vec<i128>, Overflow> {
    assert_eq!(
        x.len(),
        matrix.inputs.next_multiple_of(LANES) * tokens,
        "one input a matrix row"
    );
    let x: Vec<i128> = x.iter().map(|v| (*v).into()).collect();
    let largest = x.iter().map(|v| v.unsigned_abs()).max().unwrap_or(0);
    let weight = matrix
        .data
        .par_iter()
        .map(|w| w.unsigned_abs())
        .max()
        .unwrap_or(0);
    let bound = largest
        .checked_mul(u128::from(weight))
        .and_then(|b| b.checked_mul(matrix.inputs as u128));
    match bound {
        Some(bound) if bound < 1 << 63 => {
            let narrow = |v: &i128| i64::try_from(*v).unwrap_or(0); // Only where all weights are 0.
            let x: Vec<i64> = x.iter().map(narrow).collect();
            let y = kernel(&x, tokens, matrix, |acc: &mut i64, x, w| {
                *acc += x * i64::from(w);
            });
            Ok(y.into_iter().map(i128::from).collect())
        }
        Some(bound) if bound < 1 << 126 => Ok(kernel(&x, tokens, matrix, |acc, x, w| {
            *acc += x * i128::from(w);
        })),
        _ => Err(Overflow {
            tensor: "the input of a matrix product".into(),
            value: i128::try_from(largest).unwrap_or(i128::MAX),
            least: -(1 << 80),
            most: 1 << 80,
        }),
    }
}

/// For every output slab and block of tokens, walks the inputs once.
fn kernel<T>(x: &[T], tokens: usize, w: &IntMatrix, mac: impl Fn(&mut T, T, i32) + Sync) -> Vec<T>
where
    T: Copy + Default + PartialEq + Send + Sync,
{
    let mut y = vec![T::default(); w.outputs.div_ceil(LANES) * tokens * LANES];
    y.par_chunks_mut(tokens * LANES)
        .enumerate()
        .for_each(|(slab, y)| {
            let first = slab * LANES;
            let last = (first + LANES).min(w.outputs);
            for (block, y) in y.chunks_mut(TOKEN_BLOCK * LANES).enumerate() {
                for k in 0..w.inputs {
                    let weights = &w.row(k)[first..last];
                    let x = &x[(k / LANES * tokens + block * TOKEN_BLOCK) * LANES + k % LANES..];
                    for (token, y) in y.chunks_mut(LANES).enumerate() {
                        let x = x[token * LANES];
                        if x != T::default() {
                            y.iter_mut().zip(weights).for_each(|(y, w)| mac(y, x, *w));
                        }
                    }
                }
            }
        });
    y
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(inputs: usize, outputs: usize) -> IntMatrix {
        let data = (0..inputs * outputs)
            .map(|i| (i as i32).wrapping_mul(2_654_435) >> 12)
            .collect();
        IntMatrix {
            inputs,
            outputs,
            data,
        }
    }

    /// Both kernels against the definition, on an output that does not fill its last slab and a
    /// number of tokens that does not fill its last block.
    #[test]
    fn products_match_the_definition() {
        let (tokens, m) = (19, matrix(128, 70));
        for scale in [1i128, 1 << 60] {
            let x: Vec<i128> = (0..128 * tokens as i128)
                .map(|i| (i * 37 % 1001 - 500) * scale)
                .collect();
            let y = multiply(&x, tokens, &m).expect("it fits");
            assert_eq!(y.len(), 2 * tokens * LANES);
            for t in 0..tokens {
                for c in 0..128 {
                    let expected: i128 = if c < 70 {
                        (0..128)
                            .map(|k| {
                                x[(k / 64 * tokens + t) * 64 + k % 64] * i128::from(m.row(k)[c])
                            })
                            .sum()
                    } else {
                        0
                    };
                    assert_eq!(y[(c / 64 * tokens + t) * 64 + c % 64], expected);
                }
            }
        }
    }

    #[test]
    fn sums_that_could_wrap_are_refused() {
        let x = vec![1i128 << 110; 64];
        assert!(multiply(&x, 1, &matrix(64, 64)).is_err());
    }

    #[test]
    fn biases_are_scaled_or_refused() {
        assert_eq!(scaled_bias(-5, 3), Ok(-40));
        assert_eq!(scaled_bias(i64::MIN, 63), Ok(-(1 << 126)));
        assert!(scaled_bias(i64::MIN, 64).is_err());
        assert!(scaled_bias(1, 127).is_err());
        assert_eq!(scaled_bias(0, 200), Ok(0));
    }
}
