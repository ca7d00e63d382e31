//! Where each column of a system lies in the committed vectors.
//!
//! The keys of all lookups come first, in g equal *lanes* of N values, so that the i-th lookup of
//! helper entry y is simply witness value i·N + y (see [`super::logup`]). What is left between
//! them and of the last lane is filled with zeros that are looked up in the range table like any
//! other key, so no entry of a lane is free. The exact columns follow. Which rows exist depends on the shape alone.

use serde::Serialize;

use super::functional::index_bits;
use crate::system::{Column, Segment, System, TableId};

/// g: lookups per helper entry. Larger groups mean fewer full-width helper values and longer
/// sumcheck messages.
pub const LOOKUP_LANES: usize = 4;

/// A run of keys that are looked up in one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyRun {
    /// The run's first witness index, and its length.
    pub start: usize,
    pub len: usize,
    pub table: TableId,
    pub offset: i64,
    /// The witness index of the first value, where the table has values.
    pub value: Option<usize>,
}

/// The placement of one system's columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Layout {
    /// log2 of the number of values in a row of weights or of a boundary.
    pub row_bits: usize,
    /// N, the length of a lookup lane and of the helper column.
    pub lane_len: usize,
    /// All of `[0, LOOKUP_LANES · N)`, in order.
    pub runs: Vec<KeyRun>,
    /// The number of witness values.
    pub witness_len: usize,
    /// The number of values of the vectors' segment.
    pub vectors_len: usize,
    /// The number of values at each boundary (0 where there is none).
    pub boundary_in_len: usize,
    pub boundary_out_len: usize,
    offsets: Vec<usize>,
}

impl Layout {
    /// Places the columns of `system`.
    pub fn new(system: &System, row_bits: usize) -> Self {
        let mut offsets = vec![0; system.columns.len()];
        let keys_len = place(system, &mut offsets, |c| c.segment == Segment::Key);
        let lane_len = lane_len(keys_len);
        let exact_start = LOOKUP_LANES * lane_len;
        // From 0 on, so that they stay aligned wherever they are put.
        let exact = |c: &Column| c.segment == Segment::Exact;
        let witness_len = exact_start + place(system, &mut offsets, exact);
        let columns = system.columns.iter().zip(&mut offsets);
        columns
            .filter(|(c, _)| exact(c))
            .for_each(|(_, offset)| *offset += exact_start);
        let vectors_len = place_vectors(system, &mut offsets);
        let boundary = |segment| {
            system
                .columns
                .iter()
                .find(|c| c.segment == segment)
                .map_or(0, Column::len)
        };
        Self {
            row_bits,
            lane_len,
            runs: key_runs(system, &offsets, keys_len, exact_start),
            witness_len,
            vectors_len,
            boundary_in_len: boundary(Segment::BoundaryIn),
            boundary_out_len: boundary(Segment::BoundaryOut),
            offsets,
        }
    }

    /// A column's first index within its segment.
    pub fn offset(&self, column: crate::system::ColumnId) -> usize {
        self.offsets[column.0]
    }

    /// The number of keys, which come first.
    pub fn keys_len(&self) -> usize {
        LOOKUP_LANES * self.lane_len
    }

    /// The number of exact values, which follow them.
    pub fn exact_len(&self) -> usize {
        self.witness_len - self.keys_len()
    }

    /// The place of a witness index among the exact values.
    pub fn exact_index(&self, index: usize) -> usize {
        index - self.keys_len()
    }

    /// The number of bits of a helper index.
    pub fn helper_bits(&self) -> usize {
        index_bits(self.lane_len)
    }

    /// The number of rows for `len` values of weights or of a boundary.
    pub fn rows(&self, len: usize) -> usize {
        len.div_ceil(1 << self.row_bits)
    }
}

/// N for a given number of keys: at most about 1/32 more than needed, and a multiple of a large
/// power of two so that a lane is a sum of few tensors.
fn lane_len(keys: usize) -> usize {
    let least = keys.div_ceil(LOOKUP_LANES).max(1);
    least.next_multiple_of(step(least))
}

/// What `len` values in a row of many begin at a multiple of: a 64th of their number, a power of two.
pub fn step(len: usize) -> usize {
    (len.next_power_of_two() / 64).max(1)
}

/// What a column's offset is a multiple of: its inner block, and a sixteenth of its length rounded
/// down to a power of two, so that its functionals are sums of few tensors whatever its length.
fn alignment(column: &Column) -> usize {
    let sixteenth = column.len().max(1).ilog2().saturating_sub(4);
    column.block().max(1 << sixteenth)
}

/// Places the columns that `select` picks, largest alignment first. Returns the end.
fn place(system: &System, offsets: &mut [usize], select: impl Fn(&Column) -> bool) -> usize {
    let mut chosen: Vec<usize> = (0..offsets.len())
        .filter(|c| select(&system.columns[*c]))
        .collect();
    chosen.sort_by_key(|c| std::cmp::Reverse(alignment(&system.columns[*c])));
    let mut end = 0usize;
    for c in chosen {
        let column = &system.columns[c];
        offsets[c] = end.next_multiple_of(alignment(column));
        end = offsets[c] + column.len();
    }
    end
}

/// The offsets of vectors of the given lengths in the vectors' segment, and the segment's length.
/// Each is aligned to the largest power of two that divides its length.
pub fn vector_offsets(lens: &[usize]) -> (Vec<usize>, usize) {
    let mut end = 0usize;
    let offsets = lens
        .iter()
        .map(|len| {
            let offset = end.next_multiple_of(1 << len.trailing_zeros());
            end = offset + len;
            offset
        })
        .collect();
    (offsets, end)
}

fn place_vectors(system: &System, offsets: &mut [usize]) -> usize {
    let mut vectors: Vec<(usize, usize)> = Vec::new();
    for (c, column) in system.columns.iter().enumerate() {
        if let Segment::Vector(n) = column.segment {
            vectors.push((n, c));
        }
    }
    vectors.sort_unstable();
    let lens: Vec<usize> = vectors
        .iter()
        .map(|(_, c)| system.columns[*c].len())
        .collect();
    let (starts, end) = vector_offsets(&lens);
    for ((_, c), start) in vectors.iter().zip(starts) {
        offsets[*c] = start;
    }
    end
}

fn key_runs(system: &System, offsets: &[usize], keys_len: usize, end: usize) -> Vec<KeyRun> {
    let zeros = |start: usize, end: usize| KeyRun {
        start,
        len: end - start,
        table: TableId::Range16,
        offset: 0,
        value: None,
    };
    let mut looked_up: Vec<KeyRun> = system
        .lookups
        .iter()
        .map(|l| KeyRun {
            start: offsets[l.key.0],
            len: system.columns[l.key.0].len(),
            table: l.table,
            offset: l.offset,
            value: l.value.map(|v| offsets[v.0]),
        })
        .collect();
    looked_up.sort_by_key(|r| r.start);
    let (mut runs, mut covered) = (Vec::new(), 0);
    for run in looked_up {
        assert!(run.start >= covered, "every key is looked up exactly once");
        if covered < run.start {
            runs.push(zeros(covered, run.start));
        }
        covered = run.start + run.len;
        runs.push(run);
    }
    assert_eq!(covered, keys_len, "every key is looked up");
    if keys_len < end {
        runs.push(zeros(keys_len, end));
    }
    runs
}

/// How a weight matrix `[inputs, outputs]` is cut into committed rows: a row holds 2^(c − 12)
/// consecutive input slabs of one output slab, value (input, output) at
/// `(slab_in mod 2^(c−12))·2^12 + lane_in·2^6 + lane_out`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    pub slabs_in: usize,
    pub slabs_out: usize,
    /// c − 12: log2 of the number of input slabs in a row.
    pub slab_bits: usize,
}

impl Tiling {
    /// Of a tile, the least of which a row consists: 64 × 64 values.
    pub const SIDE: usize = 1 << Self::SIDE_BITS;
    const SIDE_BITS: usize = 6;
    /// log2 of the length of a row of one tile.
    pub const MIN_ROW_BITS: usize = 2 * Self::SIDE_BITS;

    /// The tiling of an `inputs × outputs` matrix in rows of 2^row_bits. Panics if a row is
    /// smaller than a tile.
    pub fn new(inputs: usize, outputs: usize, row_bits: usize) -> Self {
        assert!(
            row_bits >= Self::MIN_ROW_BITS,
            "a row holds at least one tile"
        );
        Self {
            slabs_in: inputs.div_ceil(Self::SIDE),
            slabs_out: outputs.div_ceil(Self::SIDE),
            slab_bits: row_bits - Self::MIN_ROW_BITS,
        }
    }

    pub fn rows(&self) -> usize {
        self.slabs_in.div_ceil(1 << self.slab_bits) * self.slabs_out
    }

    /// The row that holds the tile (slab_in, slab_out).
    pub fn row(&self, slab_in: usize, slab_out: usize) -> usize {
        (slab_in >> self.slab_bits) * self.slabs_out + slab_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_disjoint_and_every_key_is_looked_up() {
        let mut system = System::default();
        let a = system.range("a", &[3, 4, 8], 0);
        let (b, bv) = system.function("b", "bv", &[5, 16], TableId::Exp);
        let c = system.range("c", &[7], 1 << 15);
        let d = system.exact("d", &[3, 32]);
        let layout = Layout::new(&system, 6);
        let exact = |id| layout.exact_index(layout.offset(id));
        for (place, id) in [a, b, c]
            .map(|id| (layout.offset(id), id))
            .into_iter()
            .chain([d, bv].map(|id| (exact(id), id)))
        {
            assert_eq!(place % system.columns[id.0].block(), 0);
        }
        assert_eq!(
            (layout.offset(a), layout.offset(b), layout.offset(c)),
            (0, 96, 176)
        );
        assert_eq!(layout.lane_len, 46);
        assert_eq!((layout.keys_len(), exact(d), exact(bv)), (184, 0, 96));
        assert_eq!(layout.witness_len, 184 + 96 + 80);
        let padding = layout.runs.last().expect("runs");
        assert_eq!(
            (padding.start, padding.len, padding.table),
            (183, 1, TableId::Range16)
        );
    }

    /// A vocabulary of odd length: four digits, each well aligned, with looked-up zeros between.
    #[test]
    fn long_columns_of_odd_length_are_aligned() {
        let mut system = System::default();
        let digits: Vec<_> = (0..4)
            .map(|i| system.range(format!("{i}"), &[50_257], 0))
            .collect();
        let layout = Layout::new(&system, 14);
        let offsets: Vec<usize> = digits.iter().map(|d| layout.offset(*d)).collect();
        assert_eq!(offsets, [0, 51_200, 102_400, 153_600]);
        let mut next = 0;
        for run in &layout.runs {
            assert_eq!((run.start, run.table), (next, TableId::Range16));
            next += run.len;
        }
        assert_eq!(next, LOOKUP_LANES * layout.lane_len);
        assert_eq!(layout.runs.len(), 8);
    }

    /// The vectors' segment is committed to in the order of the numbers, whatever that of the declarations.
    #[test]
    fn vectors_stand_in_the_order_of_their_numbers() {
        let mut system = System::default();
        let [third, first, second] = [(2, 64), (0, 64), (1, 128)]
            .map(|(n, len)| system.column("", Segment::Vector(n), &[len]));
        let layout = Layout::new(&system, 14);
        let offsets = [first, second, third].map(|v| layout.offset(v));
        assert_eq!((offsets, layout.vectors_len), ([0, 128, 256], 320));
    }

    /// Boundaries have segments of their own, each as long as its column.
    #[test]
    fn boundaries_are_as_long_as_their_columns() {
        let mut system = System::default();
        system.exact("x", &[64]);
        assert_eq!(Layout::new(&system, 14).boundary_in_len, 0);
        system.column("h in", Segment::BoundaryIn, &[2, 4, 64]);
        system.column("h out", Segment::BoundaryOut, &[4, 64]);
        let layout = Layout::new(&system, 14);
        assert_eq!(
            (layout.boundary_in_len, layout.boundary_out_len),
            (512, 256)
        );
    }

    /// Keys that fill the lanes leave no zeros to be looked up.
    #[test]
    fn full_lanes_have_no_zeros() {
        let mut system = System::default();
        system.range("a", &[64 * LOOKUP_LANES], 0);
        let layout = Layout::new(&system, 14);
        let runs: Vec<_> = layout.runs.iter().map(|r| (r.start, r.len)).collect();
        assert_eq!(runs, [(0, LOOKUP_LANES * layout.lane_len)]);
    }

    #[test]
    fn tilings_cover_matrices_of_any_width() {
        let t = Tiling::new(768, 3072, 14);
        assert_eq!((t.rows(), t.row(11, 47)), (3 * 48, 2 * 48 + 47));
        let t = Tiling::new(64, 50257, 14);
        assert_eq!((t.rows(), t.row(0, 785)), (786, 785));
    }
}
