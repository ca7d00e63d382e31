//! The waist between models and argument: a *system* is data only.
//!
//! A layer's system lists its committed integer **columns**, the **lookups** that bound them, and
//! the **relations** they satisfy. Each op of the model adds to it; the argument proves it without
//! knowing what it means. The naive checker, the fast prover, the native verifier and the circuit
//! all walk the same lists.
//!
//! # Variables and the two sides
//! A *variable* (a lane, a slab, a token, …) owns some coordinates. Two random points are drawn
//! over the coordinates: τ before the sumcheck and r by the sumcheck. In a relation a variable is
//! - *contracted* by a term: summed over its hypercube, bound to r in that term's factors;
//! - *checked*: the relation holds for each of its values. The engine multiplies every term by
//!   eq(τ_v, x_v) and sums, so factors are bound to r, and to τ in the right-hand side;
//! - *free* (everything else): evaluated at τ on both sides.
//!
//! The relation is the statement, for τ drawn after all columns are committed,
//!
//! ```text
//! Σ_terms Σ_{x ∈ checked ∪ contracted(term)} coef · Π lives(τ) · eq(τ_checked, x_checked) · Π publics(x; τ) · Π factors(x; τ)
//!       = Σ_rhs coef · Π lives(τ) · view(τ)
//! ```
//!
//! A free variable may occur in at most one factor of a term: (E·w)~(τ) is not E~(τ)·w~(τ).
//! [`System::validate`] refuses a relation that breaks this, or one in which two variables that
//! stand on the same side share a coordinate.

mod column;
mod naive;
mod relation;
mod validate;

use serde::Serialize;

pub use column::{Bind, Column, ColumnId, Lookup, Segment, Table, TableId, Values, View};
pub use naive::{Assignment, evaluate, lookup_holds, relation_holds};
pub use relation::{Form, Live, Public, Relation, Rhs, Tensor, Term, sees};
pub use validate::SystemError;

/// Identifies a variable of a [`System`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct VarId(pub usize);

/// A relation variable: a name and the coordinates it occupies, lowest index bit first.
#[derive(Clone, Debug, Serialize)]
pub struct Var {
    pub name: &'static str,
    pub coords: Vec<usize>,
}

impl Var {
    /// The number of index bits.
    pub fn bits(&self) -> usize {
        self.coords.len()
    }
}

/// One layer's columns, lookups and relations.
#[derive(Clone, Debug, Default, Serialize)]
pub struct System {
    pub vars: Vec<Var>,
    pub columns: Vec<Column>,
    pub lookups: Vec<Lookup>,
    pub relations: Vec<Relation>,
}

/// The values of a layer's witness columns, one entry per column of its [`System`] (`None` for
/// columns that are not in the witness segment: boundaries, vectors and matrices).
#[derive(Clone, Debug, Default)]
pub struct Witness {
    pub values: Vec<Option<Values>>,
}

impl System {
    /// Declares a variable on the given coordinates, lowest index bit first.
    pub fn var(&mut self, name: &'static str, coords: impl IntoIterator<Item = usize>) -> VarId {
        self.vars.push(Var {
            name,
            coords: coords.into_iter().collect(),
        });
        VarId(self.vars.len() - 1)
    }

    /// Adds a committed column that no lookup bounds: its value follows from relations.
    /// `lens` lists the outermost dimension first; all but the first must be powers of two.
    pub fn exact(&mut self, name: impl Into<String>, lens: &[usize]) -> ColumnId {
        self.column(name, Segment::Exact, lens)
    }

    /// Adds a committed column with `key + offset ∈ [0, 2^16)`, by a lookup in the range table.
    pub fn range(&mut self, name: impl Into<String>, lens: &[usize], offset: i64) -> ColumnId {
        let key = self.column(name, Segment::Key, lens);
        self.lookups.push(Lookup {
            table: TableId::Range16,
            key,
            offset,
            value: None,
        });
        key
    }

    /// Adds a pair of committed columns (key, value) that are a row of `table`.
    pub fn function(
        &mut self,
        name: impl Into<String>,
        value_name: impl Into<String>,
        lens: &[usize],
        table: TableId,
    ) -> (ColumnId, ColumnId) {
        let key = self.column(name, Segment::Key, lens);
        let value = self.column(value_name, Segment::Exact, lens);
        self.lookups.push(Lookup {
            table,
            key,
            offset: 0,
            value: Some(value),
        });
        (key, value)
    }

    /// Adds a column of any segment.
    pub fn column(
        &mut self,
        name: impl Into<String>,
        segment: Segment,
        lens: &[usize],
    ) -> ColumnId {
        self.columns.push(Column {
            name: name.into(),
            segment,
            lens: lens.to_vec(),
        });
        ColumnId(self.columns.len() - 1)
    }

    pub fn relate(&mut self, relation: Relation) {
        self.relations.push(relation);
    }

    /// The number of coordinates that any variable uses.
    pub fn coordinates(&self) -> usize {
        self.vars
            .iter()
            .flat_map(|v| &v.coords)
            .max()
            .map_or(0, |c| c + 1)
    }
}

impl Witness {
    /// An empty witness for `system`.
    pub fn new(system: &System) -> Self {
        Self {
            values: vec![None; system.columns.len()],
        }
    }

    /// Sets a column's values in row-major order. Panics if the column is set twice.
    pub fn set(&mut self, column: ColumnId, values: Values) {
        assert!(
            self.values[column.0].replace(values).is_none(),
            "a witness column is set once"
        );
    }
}
