//! Selecting one column of a committed matrix per token: embeddings.
//!
//! ```text
//! acc(i, k) = Σ_v [v = target_i]·M(k, v)
//! ```
//!
//! The targets are public (they are the statement's tokens, or positions), so the one-hot matrix
//! is a public factor and no prover chooses anything; M is committed in the verifying key.

use super::{Features, LANES};
use crate::algebra::F;
use crate::system::{Bind, ColumnId, Form, Public, Segment, System, Term, VarId, View};

/// A committed matrix `[to, from]` of which one column is selected per token.
#[derive(Clone, Copy, Debug)]
pub struct Select {
    to: Features,
    from: Features,
    matrix: ColumnId,
}

impl Select {
    /// Declares matrix number `number` of the layer, with `to` rows and `from` columns.
    pub fn declare(
        system: &mut System,
        name: &str,
        number: usize,
        to: Features,
        from: Features,
    ) -> Self {
        let lens = [to.slabs(), LANES, from.slabs(), LANES];
        let matrix = system.column(name, Segment::Matrix(number), &lens);
        Self { to, from, matrix }
    }

    /// The term Σ_v [v = targets[i]]·M(·, v), token i and `to` free.
    pub fn term(&self, token: VarId, targets: Vec<usize>) -> Term {
        let index = vec![self.from.lane, self.from.slab];
        let binds = [
            Bind::Var(self.to.slab),
            Bind::Var(self.to.lane),
            Bind::Var(self.from.slab),
            Bind::Var(self.from.lane),
        ];
        let matrix = Form::of(View::new(self.matrix, &binds));
        Term::new(F::one(), &index, vec![matrix]).public(Public::OneHot {
            row: token,
            index: index.clone(),
            targets,
        })
    }
}
