//! Changes that tests make to what a prover has committed to or says (in the place of `cheat.rs`,
//! with the same names). An edit (i, x) adds x to the i-th value; the prover then follows the
//! protocol with the changed values.

use crate::algebra::F;
use crate::commit::RowData;

/// The lies of one layer. Values that fit its integers are changed there instead, where the
/// prover counts them among the lookups.
#[derive(Clone, Debug, Default)]
pub struct Cheat {
    /// By index of the committed witness.
    pub witness: Vec<(usize, F)>,
    /// By helper index.
    pub helper: Vec<(usize, F)>,
    /// By index of the bundle's multiplicity rows.
    pub multiplicities: Vec<(usize, F)>,
    /// The conversation's mask is this much more than the committed one.
    pub mask: F,
    /// Said of claims that only other layers of the seal have.
    pub padding: F,
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

fn edit_rows(edits: &[(usize, F)], rows: &mut [RowData], row_bits: usize) {
    for (at, by) in edits {
        let row = &mut rows[at >> row_bits];
        let mut values = row.to_field(1 << row_bits);
        values[at & ((1 << row_bits) - 1)] += by;
        *row = RowData::Field(values);
    }
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

    pub fn witness_rows(&self, rows: &mut [RowData], row_bits: usize) {
        edit_rows(&self.witness, rows, row_bits);
    }

    pub fn helper(&self, helper: &mut [F]) {
        for (at, by) in &self.helper {
            helper[*at] += by;
        }
    }

    pub fn multiplicities(&self, rows: &mut [RowData], row_bits: usize) {
        edit_rows(&self.multiplicities, rows, row_bits);
    }

    pub fn mask(&self, mask: F) -> F {
        mask + self.mask
    }

    pub fn padding(&self) -> F {
        self.padding
    }
}

impl Shift<'_> {
    pub fn apply(self, index: usize, value: F) -> F {
        edited(self.edits, self.start + index, value)
    }
}
