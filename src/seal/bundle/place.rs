//! Where everything of a bundle lies in its data.
//!
//! ```text
//! own rows      segment 1   the multiplicities of each table that is read, in the order of tags
//!                           the lanes of keys of each layer, in the bundle's order
//!                           the exact columns of each layer
//!               segment 2   the helpers of each layer
//! model's rows  per layer its vectors' rows; per stack its folded rows; the boundaries
//! ```
//!
//! Both segments begin with a row; so does everything of what follows. Within a segment, `len` values of a layer begin at the next multiple of
//! [`step(len)`](step). What lies between is read by no functional.
//!
//! The own rows have 2^c values, by the amount of data ([`row_bits`]); the model's rows are as long as they were committed to, and no longer.

use std::ops::Range;

use super::{BundlePublic, used_tables};
use crate::argument::claims::Bases;
use crate::argument::layout::step;
use crate::argument::stack::Conversation;
use crate::curve::MAX_LOG_LEN;

/// The bundle's data.
pub struct RowMap {
    pub layers: Vec<Bases>,
    /// (index into the tables, offset).
    pub tables: Vec<(usize, usize)>,
    /// c: log2 of the length of an own row.
    pub row_bits: usize,
    /// The same of a model's row: at most c.
    pub model_row_bits: usize,
    /// The rows of segments 1 and 2.
    pub witness_rows: usize,
    pub helper_rows: usize,
    /// Of each stack, one row per fold shape.
    pub folds: Vec<Vec<usize>>,
    /// All.
    pub rows: usize,
}

/// c for so many values of the bundle's own, in rows no shorter than the model's and than 2^14: the least for which they fill at most 2^c/128 rows, so that 2^c is at
/// least √(128·values).
///
/// A row more costs 32 bytes, twice the length costs the verifier 2^c points more: rows are made longer as long as that saves a byte or more for each
/// eight points.
pub fn row_bits(values: usize, model_row_bits: usize) -> usize {
    let fits = |c: &usize| values.div_ceil(1 << c) <= 1 << (c - ROWS_SHIFT);
    let mut lengths = model_row_bits.max(SHORTEST)..MAX_LOG_LEN;
    lengths.find(fits).unwrap_or(MAX_LOG_LEN)
}

/// Of a verifier's time for so few points a seal takes the most, and every bundle has the multiplicities of 180,000 rows of tables.
const SHORTEST: usize = 14;

const ROWS_SHIFT: usize = 7;

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
    pub fn new(public: &BundlePublic, conversation: &Conversation) -> Self {
        let layouts = || public.layers.iter().map(|l| &l.layer.layout);
        let tables = used_tables(public);
        let of_tables = tables.iter().map(|t| public.tables[*t].len);
        let of_layers = layouts().map(|l| l.witness_len + l.lane_len);
        // A bundle has a layer.
        let model_row_bits = public.layers[0].layer.layout.row_bits;
        let row_bits = row_bits(of_tables.chain(of_layers).sum(), model_row_bits);

        let mut own = Cursor { end: 0, row_bits };
        let tables = tables
            .into_iter()
            .map(|t| (t, own.take(public.tables[t].len)))
            .collect();
        let keys: Vec<usize> = layouts().map(|l| own.take(l.keys_len())).collect();
        let exact: Vec<usize> = layouts().map(|l| own.take(l.exact_len())).collect();
        let witness_rows = own.next_row();
        let helpers: Vec<usize> = layouts().map(|l| own.take(l.lane_len)).collect();
        let own_rows = own.end_row();

        let mut model = Cursor {
            end: own_rows << model_row_bits,
            row_bits: model_row_bits,
        };
        let vectors: Vec<usize> = layouts()
            .map(|l| model.take_rows(l.rows(l.vectors_len)))
            .collect();
        let stacks = conversation.stacks.iter();
        let folds = stacks
            .map(|stack| {
                let folds = &public.layers[stack.layers[0]].layer.folds;
                folds.iter().map(|_| model.take_rows(1)).collect()
            })
            .collect();
        let boundaries = public.boundaries.iter();
        let boundaries: Vec<usize> = boundaries.map(|b| model.take_rows(b.len())).collect();
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
            row_bits,
            model_row_bits,
            witness_rows,
            helper_rows: own_rows - witness_rows,
            folds,
            rows: model.end_row(),
        }
    }

    /// The rows of segments 1 and 2.
    pub fn own_rows(&self) -> usize {
        self.witness_rows + self.helper_rows
    }

    /// The rows behind them.
    pub fn model_rows(&self) -> Range<usize> {
        self.own_rows()..self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule of `docs/protocol.md`, at its edges.
    #[test]
    fn rows_are_longer_the_more_there_is_to_commit_to() {
        for c in SHORTEST..MAX_LOG_LEN {
            let most = 1 << (2 * c - ROWS_SHIFT);
            assert_eq!([row_bits(most, 12), row_bits(most + 1, 12)], [c, c + 1]);
        }
        assert_eq!(row_bits(usize::MAX, 12), MAX_LOG_LEN);
        assert_eq!(row_bits(1, 12), SHORTEST);
        assert_eq!(row_bits(1, 16), 16, "no shorter than the model's");
    }
}
