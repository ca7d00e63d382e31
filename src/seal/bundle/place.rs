//! Where everything of a bundle lies in its data.
//!
//! ```text
//! segment 1   the multiplicities of each table that is read, in the order of tags
//!             the lanes of keys of each layer, in the bundle's order
//!             the exact columns of each layer
//! segment 2   the helpers of each layer
//! then        per layer its vectors' rows; per stack its folded rows; the boundaries
//! ```
//!
//! Both segments begin with a row; so does everything of what follows. Within a segment, `len` values of a layer begin at the next multiple of
//! [`step(len)`](step). What lies between is read by no functional.

use super::{BundlePublic, used_tables};
use crate::argument::claims::Bases;
use crate::argument::layout::step;
use crate::argument::stack::Conversation;

/// The bundle's data vector, in values.
pub struct RowMap {
    pub layers: Vec<Bases>,
    /// (index into the tables, offset).
    pub tables: Vec<(usize, usize)>,
    /// The rows of segments 1 and 2.
    pub witness_rows: usize,
    pub helper_rows: usize,
    /// Of each stack, one row per fold shape.
    pub folds: Vec<Vec<usize>>,
    /// All.
    pub rows: usize,
}

/// Places values one after the other.
struct Cursor {
    end: usize,
    row_bits: usize,
}

impl Cursor {
    /// `len` values.
    fn take(&mut self, len: usize) -> usize {
        let place = self.end.next_multiple_of(step(len));
        self.end = place + len;
        place
    }

    /// `rows` whole rows.
    fn take_rows(&mut self, rows: usize) -> usize {
        let place = self.end_row() << self.row_bits;
        self.end = place + (rows << self.row_bits);
        place
    }

    /// The first row behind all that was placed.
    fn end_row(&self) -> usize {
        self.end.div_ceil(1 << self.row_bits)
    }

    /// Goes on with the next whole row, and returns its number.
    fn next_row(&mut self) -> usize {
        self.end = self.end_row() << self.row_bits;
        self.end_row()
    }
}

impl RowMap {
    pub fn new(public: &BundlePublic, conversation: &Conversation, row_bits: usize) -> Self {
        let mut cursor = Cursor { end: 0, row_bits };
        let layouts = || public.layers.iter().map(|l| &l.layer.layout);
        let tables = used_tables(public);
        let tables = tables
            .into_iter()
            .map(|t| (t, cursor.take(public.tables[t].len)))
            .collect();
        let keys: Vec<usize> = layouts().map(|l| cursor.take(l.keys_len())).collect();
        let exact: Vec<usize> = layouts().map(|l| cursor.take(l.exact_len())).collect();
        let witness_rows = cursor.next_row();
        let helpers: Vec<usize> = layouts().map(|l| cursor.take(l.lane_len)).collect();
        let helper_rows = cursor.next_row() - witness_rows;
        let vectors: Vec<usize> = layouts()
            .map(|l| cursor.take_rows(l.rows(l.vectors_len)))
            .collect();
        let stacks = conversation.stacks.iter();
        let folds = stacks
            .map(|stack| {
                let folds = &public.layers[stack.layers[0]].layer.folds;
                folds.iter().map(|_| cursor.take_rows(1)).collect()
            })
            .collect();
        let boundaries = public.boundaries.iter();
        let boundaries: Vec<usize> = boundaries.map(|b| cursor.take_rows(b.len())).collect();
        let layers = public.layers.iter().enumerate().map(|(l, public)| Bases {
            keys: keys[l],
            exact: exact[l],
            helper: helpers[l],
            vectors: vectors[l],
            boundary_in: public.boundary_in.map_or(0, |b| boundaries[b]),
            boundary_out: public.boundary_out.map_or(0, |b| boundaries[b]),
        });
        Self {
            layers: layers.collect(),
            tables,
            witness_rows,
            helper_rows,
            folds,
            rows: cursor.end_row(),
        }
    }
}
