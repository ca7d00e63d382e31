//! The greedy choice: a token is the lowest index of the largest logit.
//!
//! For output p, read at position pos_p, with the head's own gain γ and bias β (kept apart from
//! the matrix W, which may be the token embedding):
//!
//! ```text
//! logit_p(v) = Σ_k (γ_k·z(pos_p, k) [+ β_k])·W(k, v) [+ b(v)]
//! logit_p(v) = A_p − [v < token_p] − D_p(v)   for every entry v of the vocabulary
//! 0 = D_p(token_p)
//! ```
//!
//! with D_p in four digits, so D ≥ 0: no logit exceeds A_p = logit_p(token_p), and those before
//! token_p are smaller. Positions and tokens are the statement's.
//!
//! | column | a cheating prover cannot choose it because |
//! | --- | --- |
//! | A | D at token_p is 0, so A_p is that token's logit |
//! | D | a difference of what is determined |
//!
//! Bounds: γ, β and b below 2^63, |z| ≤ 2^15 and |W| < 2^31, so |logit| < 2^(110 + log₂ d), and that
//! D_p(v) is in [0, 2^64) is a statement about integers. Entries beyond the vocabulary do not exist: D_p
//! has none, and every constant carries its live set.

use super::{Digits, Features, LANES, Overflow, Recorder, Vars, multiply};
use crate::algebra::F;
use crate::quant::IntMatrix;
use crate::system::{Bind, ColumnId, Form, Relation, Rhs, Segment, System, Term, View};

const GAP_DIGITS: u32 = 4;

/// The columns of a head's outputs.
#[derive(Clone, Debug)]
pub struct Greedy {
    best: ColumnId,
    gaps: Vec<Digits>,
    outputs: Vec<(usize, usize)>,
}

/// The committed weights.
struct Weights {
    gain: Form,
    bias: Option<Form>,
    matrix: Form,
    logit_bias: Option<View>,
}

impl Greedy {
    /// Declares gain and, if `biased`, bias of the norm and bias of the logits (vectors in this order) and matrix (0), and
    /// the `outputs` (position, token), each read from `z` at its position. The vocabulary is `vars.wide_output`.
    pub fn declare(
        system: &mut System,
        vars: &Vars,
        (z, biased): (&Digits, [bool; 2]),
        outputs: &[(usize, usize)],
    ) -> Self {
        let (from, to) = (vars.input, vars.wide_output);
        let gain = system.column("gain", Segment::Vector(0), &[from.len]);
        let [norm, logits] = biased;
        let bias = norm.then(|| system.column("bias", Segment::Vector(1), &[from.len]));
        let number = 1 + usize::from(norm);
        let logit_bias =
            logits.then(|| system.column("logit bias", Segment::Vector(number), &[to.len]));
        let lens = [from.slabs(), LANES, to.slabs(), LANES];
        let matrix = system.column("vocabulary", Segment::Matrix(0), &lens);
        let binds = [from.slab, from.lane, to.slab, to.lane].map(Bind::Var);
        let weights = Weights {
            gain: Form::of(from.vector(gain)),
            bias: bias.map(|bias| Form::of(from.vector(bias))),
            matrix: Form::of(View::new(matrix, &binds)),
            logit_bias: logit_bias.map(|bias| to.vector(bias)),
        };
        let best = system.exact("best logit", &[outputs.len()]);
        let gaps = outputs
            .iter()
            .enumerate()
            .map(|(p, (position, token))| {
                let name = format!("gap {p}");
                let gap = Digits::unsigned(system, &name, &[to.len], GAP_DIGITS);
                let z = z.form(&[
                    Bind::Var(from.slab),
                    Bind::Fixed(*position),
                    Bind::Var(from.lane),
                ]);
                let best = View::new(best, &[Bind::Fixed(p)]);
                weights.relate(system, (from, to), z, best, &gap, *token);
                gap
            })
            .collect();
        Self {
            best,
            gaps,
            outputs: outputs.to_vec(),
        }
    }

    /// Records the gaps below the best logits. `logits` are as [`scores`] returns them, one row an
    /// output. A token that is not the greedy choice is an overflow: its gaps are not in range.
    pub fn run(&self, logits: &[Vec<i128>], recorder: &mut Recorder) -> Result<(), Overflow> {
        let mut bests = Vec::new();
        for ((gap, (_, token)), logits) in self.gaps.iter().zip(&self.outputs).zip(logits) {
            let best = logits[*token];
            let gaps: Vec<i128> = logits
                .iter()
                .enumerate()
                .map(|(v, logit)| best - logit - i128::from(v < *token))
                .collect();
            gap.put(recorder, &gaps)?;
            bests.push(best);
        }
        recorder.exact(self.best, bests);
        Ok(())
    }
}

impl Weights {
    fn relate(
        &self,
        system: &mut System,
        (from, to): (Features, Features),
        z: Form,
        best: View,
        gap: &Digits,
        token: usize,
    ) {
        let contract = [from.slab, from.lane];
        let entry = [Bind::Pair(to.lane, to.slab)];
        let mut rhs = gap.rhs(-F::one(), &entry);
        rhs.push(Rhs::of(F::one(), best).live(to.live()));
        rhs.extend(
            self.logit_bias
                .iter()
                .map(|bias| Rhs::of(-F::one(), bias.clone())),
        );
        if token > 0 {
            rhs.push(Rhs::constant(-F::one(), &[to.prefix(token)]));
        }
        let product = |mut factors: Vec<Form>| {
            factors.insert(1, self.matrix.clone());
            Term::new(F::one(), &contract, factors)
        };
        let bias = self.bias.iter().map(|bias| product(vec![bias.clone()]));
        let terms = std::iter::once(product(vec![self.gain.clone(), z])).chain(bias);
        system.relate(Relation {
            name: format!("logits below that of token {token}"),
            check: vec![],
            terms: terms.collect(),
            rhs,
        });
        system.relate(Relation {
            name: format!("no gap at token {token}"),
            check: vec![],
            terms: vec![],
            rhs: gap.rhs(F::one(), &[Bind::Fixed(token)]),
        });
    }
}

/// The logits of rows z, `[slab][row][lane]`: one vector of `vocabulary` logits a row. Empty biases, of the norm and of
/// the logits, are none.
pub fn scores(
    z: &[i64],
    rows: usize,
    gain: &[i64],
    [bias, logit_bias]: [&[i64]; 2],
    matrix: &IntMatrix,
) -> Result<Vec<Vec<i128>>, Overflow> {
    let scaled: Vec<i128> = z
        .iter()
        .enumerate()
        .map(|(x, z)| {
            let k = x / (rows * LANES) * LANES + x % LANES;
            let bias = bias.get(k).copied().unwrap_or(0);
            i128::from(gain[k]) * i128::from(*z) + i128::from(bias)
        })
        .collect();
    let logits = multiply(&scaled, rows, matrix)?;
    let logit = |row: usize, v: usize| {
        let bias = logit_bias.get(v).copied().unwrap_or(0);
        logits[(v / LANES * rows + row) * LANES + v % LANES] + i128::from(bias)
    };
    Ok((0..rows)
        .map(|row| (0..matrix.outputs).map(|v| logit(row, v)).collect())
        .collect())
}

/// The lowest index of the largest value. Panics on an empty slice.
pub fn argmax(logits: &[i128]) -> usize {
    let mut best = 0;
    for (v, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = v;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lowest_index() {
        assert_eq!(argmax(&[3, 7, 7, 1]), 1);
        assert_eq!(argmax(&[-5]), 0);
    }
}
