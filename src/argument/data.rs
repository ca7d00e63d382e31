//! The prover's view of a layer's values, and the tables of the factors.

use ff::Field;
use rayon::prelude::*;

use super::challenges::Challenges;
use super::cheat::{Cheat, Shift};
use super::claims::{Layer, dim_weights};
use super::functional::DimWeights;
use super::layout::{LOOKUP_LANES, Tiling};
use super::plan::{Coord, DimPoint, PointForm, PointView, round_coords};
use crate::algebra::{F, Limbs, SmallAccumulator, from_i128, small_inner_product};
use crate::commit::fold_rows;
use crate::system::{ColumnId, Segment, Values, Witness};

/// A weight matrix `[inputs, outputs]`, row-major.
#[derive(Clone, Copy, Debug)]
pub struct MatrixRef<'a> {
    pub inputs: usize,
    pub outputs: usize,
    pub data: &'a [i32],
}

/// What a layer has besides its witness.
#[derive(Clone, Debug, Default)]
pub struct Externals<'a> {
    pub boundary_in: &'a [i64],
    pub boundary_out: &'a [i64],
    /// In the order of `Segment::Vector(n)` and `Segment::Matrix(n)`.
    pub vectors: Vec<&'a [i64]>,
    pub matrices: Vec<MatrixRef<'a>>,
}

/// All of a layer's values, the witness in the order in which it is committed.
#[derive(Clone, Debug)]
pub struct LayerData<'a> {
    /// The lookup lanes.
    pub keys: Vec<i32>,
    /// What follows them.
    pub exact: Vec<i128>,
    pub externals: Externals<'a>,
    /// Nothing, except where a test cheats.
    pub cheat: Cheat,
}

#[derive(Clone, Copy)]
enum Slice<'a> {
    I32(&'a [i32], Shift<'a>),
    I64(&'a [i64]),
    I128(&'a [i128], Shift<'a>),
}

impl Slice<'_> {
    fn get(&self, i: usize) -> F {
        match self {
            Self::I32(v, shift) => shift.apply(i, from_i128(v[i].into())),
            Self::I64(v) => from_i128(v[i].into()),
            Self::I128(v, shift) => shift.apply(i, from_i128(v[i])),
        }
    }
}

impl<'a> LayerData<'a> {
    /// Places the witness's columns. Panics if a column is missing or has another length than the
    /// system says.
    pub fn new(layer: &Layer, witness: &Witness, externals: Externals<'a>) -> Self {
        let lanes = LOOKUP_LANES * layer.layout.lane_len;
        let mut keys = vec![0; lanes];
        let mut exact = vec![0; layer.layout.witness_len - lanes];
        for (c, column) in layer.system.columns.iter().enumerate() {
            let offset = layer.layout.offset(ColumnId(c));
            match (column.segment, &witness.values[c]) {
                (Segment::Key, Some(Values::Small(v))) => {
                    assert_eq!(v.len(), column.len(), "{} has its length", column.name);
                    keys[offset..][..v.len()].copy_from_slice(v);
                }
                (Segment::Exact, Some(Values::Wide(v))) => {
                    assert_eq!(v.len(), column.len(), "{} has its length", column.name);
                    exact[offset - lanes..][..v.len()].copy_from_slice(v);
                }
                (Segment::Key | Segment::Exact, _) => {
                    panic!("column {} has no values", column.name)
                }
                (_, values) => assert!(values.is_none(), "{} is not in the witness", column.name),
            }
        }
        Self {
            keys,
            exact,
            externals,
            cheat: Cheat::default(),
        }
    }

    /// The witness value at an index of the committed vector.
    pub fn witness(&self, index: usize) -> i128 {
        match self.keys.get(index) {
            Some(key) => i128::from(*key),
            None => self.exact[index - self.keys.len()],
        }
    }

    /// The same, in the field.
    pub fn witness_field(&self, index: usize) -> F {
        self.cheat.witness(index, from_i128(self.witness(index)))
    }

    fn column(&self, layer: &Layer, column: ColumnId) -> Slice<'_> {
        let c = &layer.system.columns[column.0];
        let offset = layer.layout.offset(column);
        let shift = self.cheat.shift(offset);
        match c.segment {
            Segment::Key => Slice::I32(&self.keys[offset..][..c.len()], shift),
            Segment::Exact => {
                Slice::I128(&self.exact[offset - self.keys.len()..][..c.len()], shift)
            }
            Segment::BoundaryIn => Slice::I64(self.externals.boundary_in),
            Segment::BoundaryOut => Slice::I64(self.externals.boundary_out),
            Segment::Vector(n) => Slice::I64(self.externals.vectors[n]),
            Segment::Matrix(_) => panic!("matrices are not stored as columns"),
        }
    }

    /// The table of `scale · form` over the form's round coordinates (ascending).
    pub fn form_table(&self, layer: &Layer, form: &PointForm, scale: F, ch: &Challenges) -> Vec<F> {
        let coords = round_coords(form);
        let mut table = vec![F::ZERO; 1 << coords.len()];
        for (coef, view) in form {
            match layer.system.columns[view.column.0].segment {
                Segment::Matrix(n) => {
                    self.add_matrix(
                        self.externals.matrices[n],
                        view,
                        scale * coef,
                        ch,
                        &coords,
                        &mut table,
                    );
                }
                _ => self.add_column(layer, view, scale * coef, ch, &coords, &mut table),
            }
        }
        table
    }

    fn add_column(
        &self,
        layer: &Layer,
        view: &PointView,
        scale: F,
        ch: &Challenges,
        coords: &[usize],
        table: &mut [F],
    ) {
        let lens = &layer.system.columns[view.column.0].lens;
        let dims: Vec<Dim> = lens
            .iter()
            .zip(&view.dims)
            .map(|(l, d)| Dim::new(*l, d, ch, coords))
            .collect();
        add_dims(self.column(layer, view.column), &dims, 0, 0, scale, table);
    }

    fn add_matrix(
        &self,
        m: MatrixRef,
        view: &PointView,
        scale: F,
        ch: &Challenges,
        coords: &[usize],
        table: &mut [F],
    ) {
        let joint = |low: &DimPoint, high: &DimPoint| match (low, high) {
            (DimPoint::At(l), DimPoint::At(h)) => DimPoint::At([l.as_slice(), h].concat()),
            _ => panic!("a matrix is bound to variables only"),
        };
        let rows = Dim::new(m.inputs, &joint(&view.dims[1], &view.dims[0]), ch, coords);
        let cols = Dim::new(m.outputs, &joint(&view.dims[3], &view.dims[2]), ch, coords);
        let (index, sums) = match (&rows, &cols) {
            (Dim::Kept(index), Dim::Weighted(w)) => (index, matrix_times_vector(m, w)),
            (Dim::Weighted(w), Dim::Kept(index)) => (index, vector_times_matrix(m, w)),
            _ => panic!("a matrix has one side contracted and one at τ"),
        };
        for (i, s) in index.iter().zip(sums) {
            table[*i] += scale * s;
        }
    }

    /// Folds the rows of matrix n with `coefs` (in the order of its tiling): Σ_row L_row·row.
    pub fn fold_matrix(&self, n: usize, coefs: &[F], row_bits: usize) -> Vec<F> {
        let m = self.externals.matrices[n];
        let tiling = Tiling::new(m.inputs, m.outputs, row_bits);
        let coefs: Vec<Limbs> = coefs.iter().map(Limbs::from).collect();
        (0..1usize << (row_bits - 6))
            .into_par_iter()
            .flat_map_iter(|high| {
                // Entry (slab_low, lane_in, lane_out) of the folded row; `high` holds the first two.
                let mut acc = [SmallAccumulator::default(); 64];
                let (slab_low, lane_in) = (high >> 6, high & 63);
                for slab_in in (slab_low..tiling.slabs_in).step_by(1 << tiling.slab_bits) {
                    let input = slab_in * 64 + lane_in;
                    if input >= m.inputs {
                        continue;
                    }
                    let row = &m.data[input * m.outputs..][..m.outputs];
                    for (slab_out, lanes) in row.chunks(64).enumerate() {
                        let l = &coefs[tiling.row(slab_in, slab_out)];
                        for (a, x) in acc.iter_mut().zip(lanes) {
                            a.add(*x, l);
                        }
                    }
                }
                acc.map(|a| a.reduce())
            })
            .collect()
    }
}

/// Σ_c m[k, c]·w[c] for every row k.
fn matrix_times_vector(m: MatrixRef, w: &[F]) -> Vec<F> {
    let limbs: Vec<Limbs> = w[..m.outputs].iter().map(Limbs::from).collect();
    m.data
        .par_chunks(m.outputs)
        .map(|row| small_inner_product(row, &limbs))
        .collect()
}

/// Σ_k w[k]·m[k, c] for every column c.
fn vector_times_matrix(m: MatrixRef, w: &[F]) -> Vec<F> {
    let rows: Vec<&[i32]> = m.data.chunks(m.outputs).collect();
    fold_rows(&rows, &w[..m.inputs])
}

/// A dimension as the table builder sees it.
enum Dim {
    /// Bound to round coordinates: where each index stands in the table.
    Kept(Vec<usize>),
    /// Bound to something known: the weight of each index.
    Weighted(Vec<F>),
}

impl Dim {
    fn new(len: usize, dim: &DimPoint, ch: &Challenges, coords: &[usize]) -> Self {
        if let DimPoint::At(at) = dim
            && at.iter().any(|c| matches!(c, Coord::Round(_)))
        {
            let positions: Vec<usize> = at
                .iter()
                .map(|c| match c {
                    Coord::Round(c) => coords
                        .iter()
                        .position(|x| x == c)
                        .expect("a coordinate of the form"),
                    Coord::Tau(_) => panic!("a dimension is bound to one side"),
                })
                .collect();
            return Self::Kept((0..len).map(|x| spread(x, &positions)).collect());
        }
        let weights: DimWeights = dim_weights(dim, ch, &[]);
        Self::Weighted(weights.table(len))
    }

    fn len(&self) -> usize {
        match self {
            Self::Kept(i) => i.len(),
            Self::Weighted(w) => w.len(),
        }
    }
}

/// Moves bit b of `x` to bit positions[b].
pub fn spread(x: usize, positions: &[usize]) -> usize {
    positions
        .iter()
        .enumerate()
        .map(|(b, p)| (x >> b & 1) << p)
        .sum()
}

/// Adds scale · Σ over the weighted dimensions to the table, dimension by dimension.
fn add_dims(values: Slice, dims: &[Dim], start: usize, at: usize, scale: F, table: &mut [F]) {
    let (dim, inner) = dims.split_first().expect("a column has a dimension");
    if inner.is_empty() {
        match dim {
            Dim::Kept(index) => {
                for (x, i) in index.iter().enumerate() {
                    table[at + i] += scale * values.get(start + x);
                }
            }
            Dim::Weighted(w) => {
                let sum: F = w
                    .iter()
                    .enumerate()
                    .map(|(x, w)| *w * values.get(start + x))
                    .sum();
                table[at] += scale * sum;
            }
        }
        return;
    }
    let block: usize = inner.iter().map(Dim::len).product();
    for x in 0..dim.len() {
        let start = start + x * block;
        match dim {
            Dim::Kept(index) => add_dims(values, inner, start, at + index[x], scale, table),
            Dim::Weighted(w) if w[x] == F::ZERO => {}
            Dim::Weighted(w) => add_dims(values, inner, start, at, scale * w[x], table),
        }
    }
}
