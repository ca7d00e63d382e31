//! Changes that tests make to what a prover has committed to or says (in the place of `cheat.rs`,
//! with the same names). An edit (i, x) adds x to the i-th value; the prover then follows the
//! protocol with the changed values.

use crate::algebra::F;

/// The lies of one layer. Values that fit its integers are changed there instead, where the
/// prover counts them among the lookups.
#[derive(Clone, Debug, Default)]
pub struct Cheat {
    /// By index of the committed witness.
    pub witness: Vec<(usize, F)>,
    /// By helper index.
    pub helper: Vec<(usize, F)>,
    /// By index of the multiplicities of all tables.
    pub multiplicities: Vec<(usize, F)>,
    /// The conversation's mask is this much more than the committed one.
    pub mask: F,
}

/// The lies about a column that begins at an index of the witness.
#[derive(Clone, Copy)]
pub struct Shift<'a> {
    edits: &'a [(usize, F)],
    start: usize,
}

fn edited(edits: &[(usize, F)], index: usize, value: F) -> F {
    let here = edits.iter().filter(|(at, _)| *at == index);
    here.fold(value, |value, (_, by)| value + by)
}

impl Cheat {
    pub fn witness(&self, index: usize, value: F) -> F {
        edited(&self.witness, index, value)
    }

    pub fn shift(&self, start: usize) -> Shift<'_> {
        Shift {
            edits: &self.witness,
            start,
        }
    }

    pub fn witness_edits(&self) -> impl Iterator<Item = (usize, F)> {
        self.witness.iter().copied()
    }

    pub fn helper(&self, helper: &mut [F]) {
        for (at, by) in &self.helper {
            helper[*at] += by;
        }
    }

    pub fn multiplicity_edits(&self) -> impl Iterator<Item = (usize, F)> {
        self.multiplicities.iter().copied()
    }

    pub fn mask(&self, mask: F) -> F {
        mask + self.mask
    }
}

impl Shift<'_> {
    pub fn apply(self, index: usize, value: F) -> F {
        edited(self.edits, self.start + index, value)
    }
}
