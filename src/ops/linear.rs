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
//! output, a ≤ w + log₂ max|V| with w ≤ 60, where V is a product itself: `quant::bounds` has it for each kind of block. Weights are not range-checked: for a strange
//! verifying key the function is strange, but it is still one function, and the committed one.

use super::rescale::Accumulator;
use super::{Features, LANES, Overflow, multiply};
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
    /// Declares matrix number `matrix` of the layer and, if there is a bias, the vector of its number.
    pub fn declare(
        system: &mut System,
        name: &str,
        (matrix, bias): (usize, Option<usize>),
        from: Features,
        to: Features,
    ) -> Self {
        let lens = [from.slabs(), LANES, to.slabs(), LANES];
        let bias_name = format!("{name} bias");
        Self {
            from,
            to,
            matrix: system.column(format!("{name} weight"), Segment::Matrix(matrix), &lens),
            bias: bias.map(|n| system.column(bias_name, Segment::Vector(n), &[to.len])),
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
pub fn accumulate<T: Copy + Into<i128> + Sync>(
    x: &[T],
    tokens: usize,
    matrix: &IntMatrix,
    bias: &[i64],
    bias_shift: u32,
) -> Result<Vec<i128>, Overflow> {
    let mut acc = multiply(x, tokens, matrix)?;
    let bias = bias
        .iter()
        .map(|bias| scaled_bias(*bias, bias_shift))
        .collect::<Result<Vec<_>, _>>()?;
    for (slab, bias) in acc.chunks_mut(tokens * LANES).zip(bias.chunks(LANES)) {
        for row in slab.chunks_mut(LANES) {
            // Both are below 2^126.
            row.iter_mut().zip(bias).for_each(|(a, bias)| *a += bias);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_are_scaled_or_refused() {
        assert_eq!(scaled_bias(-5, 3), Ok(-40));
        assert_eq!(scaled_bias(i64::MIN, 63), Ok(-(1 << 126)));
        assert!(scaled_bias(i64::MIN, 64).is_err());
        assert!(scaled_bias(1, 127).is_err());
        assert_eq!(scaled_bias(0, 200), Ok(0));
    }
}
