//! The claims of a layer as functionals of the committed data: what the verifier evaluates and
//! the prover writes out. Both call this file; neither has a version of its own.

use std::fmt::{self, Write};

use ff::Field;

use super::challenges::Challenges;
use super::functional::{DimWeights, Functional};
use super::layout::{KeyRun, Layout, Tiling};
use super::plan::{Claim, Coord, DimPoint, Plan, PointView};
use crate::algebra::{F, eq_at, from_i128, powers};
use crate::system::{Column, Segment, System, TableId};

/// Text that is hashed as it is written.
struct Hashed<'a>(&'a mut sha2::Sha256);

impl fmt::Write for Hashed<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        sha2::Digest::update(self.0, text);
        Ok(())
    }
}

/// A system with everything that follows from it.
#[derive(Clone, Debug)]
pub struct Layer {
    pub system: System,
    pub layout: Layout,
    pub plan: Plan,
    pub folds: Vec<FoldShape>,
}

/// The weight rows that are folded into one: those whose functional has the same inner part R.
/// Coordinates of R, lowest index bit first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldShape(pub Vec<Coord>);

/// Where a layer's segments begin in the bundle's data vector, in values.
#[derive(Clone, Debug, Default)]
pub struct Bases {
    pub witness: usize,
    pub helper: usize,
    pub vectors: usize,
    /// One row per fold shape.
    pub folds: Vec<usize>,
    pub boundary_in: usize,
    pub boundary_out: usize,
}

/// A layer's claims, combined by the powers of ρ.
#[derive(Clone, Debug, Default)]
pub struct Combined {
    pub functional: Functional,
    /// The public part of ρ·S₀.
    pub constant: F,
    /// Per fold shape: (matrix, coefficient of each of its rows).
    pub folds: Vec<Vec<(usize, Vec<F>)>>,
}

impl Layer {
    /// Derives layout and plan. Panics if the system breaks the engine's rules: that is a mistake
    /// in the model's code, not in anybody's input.
    pub fn new(system: System, row_bits: usize) -> Self {
        if let Err(e) = system.validate() {
            panic!("the system is malformed: {e}");
        }
        let layout = Layout::new(&system, row_bits);
        let plan = Plan::new(&system, &layout);
        let folds = fold_shapes(&system, &plan, row_bits);
        Self {
            system,
            layout,
            plan,
            folds,
        }
    }

    /// Gives layers that are proved together one number of rounds, the largest, so that their seals
    /// can have one shape. Nothing depends on a round that a layer did not have.
    pub fn align_rounds(layers: &mut [Self]) {
        let rounds = layers.iter().map(|l| l.plan.rounds).max().unwrap_or(0);
        layers.iter_mut().for_each(|l| l.plan.rounds = rounds);
    }

    /// SHA-256 of the system and its layout: shape, scales and public tokens.
    pub fn digest(&self) -> [u8; 32] {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        hash.update(b"nanozk/system/v1");
        // The derived `Debug` form names every field of this plain data, in order. It is hashed as it is written:
        // that of a head with many outputs is long.
        write!(Hashed(&mut hash), "{:?}{:?}", self.system, self.layout)
            .expect("a hash takes any text");
        hash.finalize().into()
    }

    /// The public offset of each claim: β − tag − α·offset for the lanes, on live entries.
    pub fn offsets(&self, ch: &Challenges, round: &[F]) -> Vec<Option<F>> {
        self.plan
            .claims
            .iter()
            .map(|claim| match claim {
                Claim::Lane(i) => Some(self.lane_offset(*i, ch, round)),
                _ => None,
            })
            .collect()
    }

    /// The coefficient of each product in the final check.
    pub fn coefficients(&self, ch: &Challenges, round: &[F]) -> Vec<F> {
        let half = F::from(2).invert().expect("2 is not 0 in F");
        self.plan
            .products
            .iter()
            .map(|p| {
                let publics: F = p.publics.iter().map(|p| ch.public(p, round)).product();
                // A product on fewer variables is constant in the others; this scale makes its
                // sum over all of them the sum over its own.
                let extra = self.plan.rounds - p.coords.len();
                ch.weight(&p.weight) * publics * half.pow_vartime([extra as u64])
            })
            .collect()
    }

    /// ρ·S₀ + Σ_j ρ^(j+2)·v_j as one functional (and S₀'s constants).
    pub fn combine(&self, ch: &Challenges, round: &[F], rho: F, bases: &Bases) -> Combined {
        let mut out = Combined {
            folds: vec![Vec::new(); self.folds.len()],
            ..Combined::default()
        };
        for (scalar, view) in &self.plan.rhs {
            let coef = rho * ch.scalar(scalar);
            match view {
                Some(view) => self.add_view(view, coef, ch, round, bases, &mut out),
                None => out.constant += coef,
            }
        }
        let rhos = powers(rho, self.plan.claims.len() + 2);
        for (claim, rho) in self.plan.claims.iter().zip(&rhos[2..]) {
            match claim {
                Claim::Helper => {
                    let point = &round[..self.layout.helper_bits()];
                    out.functional
                        .add_run(bases.helper, 0, self.layout.lane_len, point, *rho);
                }
                Claim::Lane(i) => self.add_lane(*i, *rho, ch, round, bases, &mut out.functional),
                Claim::Form(parts) => {
                    for (weight, form) in parts {
                        let weight = *rho * ch.weight(weight);
                        for (coef, view) in form {
                            self.add_view(view, weight * coef, ch, round, bases, &mut out);
                        }
                    }
                }
            }
        }
        out
    }

    fn add_view(
        &self,
        view: &PointView,
        coef: F,
        ch: &Challenges,
        round: &[F],
        bases: &Bases,
        out: &mut Combined,
    ) {
        let column = &self.system.columns[view.column.0];
        let dims: Vec<DimWeights> = view
            .dims
            .iter()
            .map(|d| dim_weights(d, ch, round))
            .collect();
        let base = match column.segment {
            Segment::Key | Segment::Exact => bases.witness,
            Segment::BoundaryIn => bases.boundary_in,
            Segment::BoundaryOut => bases.boundary_out,
            Segment::Vector(_) => bases.vectors,
            Segment::Matrix(n) => return self.add_matrix(n, view, &dims, coef, out),
        };
        let offset = base + self.layout.offset(view.column);
        out.functional.add_column(offset, &column.lens, &dims, coef);
    }

    /// A claim on a matrix is an outer product L ⊗ R; only L is added here, to the coefficients
    /// with which the matrix's rows are folded.
    fn add_matrix(
        &self,
        n: usize,
        view: &PointView,
        dims: &[DimWeights],
        coef: F,
        out: &mut Combined,
    ) {
        let shape = fold_shape(view, self.layout.row_bits);
        let fold = self
            .folds
            .iter()
            .position(|f| *f == shape)
            .expect("every fold shape is listed");
        let lens = &self.system.columns[view.column.0].lens;
        let tiling = Tiling::new(lens[0] * lens[1], lens[2] * lens[3], self.layout.row_bits);
        let point = |d: &DimWeights| match d {
            DimWeights::Eq(p) => p.clone(),
            _ => panic!("a matrix is bound to points only"),
        };
        let (slab_in, slab_out) = (point(&dims[0]), point(&dims[2]));
        let row_slabs = &slab_in[tiling.slab_bits..];
        let entries = &mut out.folds[fold];
        let index = entries
            .iter()
            .position(|(m, _)| *m == n)
            .unwrap_or_else(|| {
                entries.push((n, vec![F::ZERO; tiling.rows()]));
                entries.len() - 1
            });
        for (row, l) in entries[index].1.iter_mut().enumerate() {
            *l += coef
                * eq_at(row_slabs, row / tiling.slabs_out)
                * eq_at(&slab_out, row % tiling.slabs_out);
        }
    }

    /// Lane i's share of a run of keys: (first helper index, first witness index, length).
    fn lane_share(&self, i: usize, run: &KeyRun) -> Option<(usize, usize, usize)> {
        let n = self.layout.lane_len;
        let (start, end) = (run.start.max(i * n), (run.start + run.len).min((i + 1) * n));
        (start < end).then(|| (start - i * n, start, end - start))
    }

    /// The committed part of d_i: −α·key − α²·value.
    fn add_lane(
        &self,
        i: usize,
        coef: F,
        ch: &Challenges,
        round: &[F],
        bases: &Bases,
        out: &mut Functional,
    ) {
        let point = &round[..self.layout.helper_bits()];
        let n = self.layout.lane_len;
        out.add_run(bases.witness + i * n, 0, n, point, -coef * ch.alpha);
        for run in &self.layout.runs {
            if let (Some(value), Some((y, start, len))) = (run.value, self.lane_share(i, run)) {
                let value = bases.witness + value + (start - run.start);
                out.add_run(value, y, len, point, -coef * ch.alpha.square());
            }
        }
    }

    /// The public part of d_i: Σ_runs (β − tag − α·offset) on the run's entries.
    pub fn lane_offset(&self, i: usize, ch: &Challenges, round: &[F]) -> F {
        let point = &round[..self.layout.helper_bits()];
        self.layout
            .runs
            .iter()
            .filter_map(|run| self.lane_share(i, run).map(|share| (run, share)))
            .map(|(run, (y, _, len))| {
                let on_run =
                    crate::algebra::prefix_at(point, y + len) - crate::algebra::prefix_at(point, y);
                on_run * public_denominator(run, ch)
            })
            .sum()
    }

    /// The index ranges of lane i and the public parts of their denominators.
    pub fn lane_runs(&self, i: usize) -> impl Iterator<Item = (&KeyRun, usize, usize, usize)> {
        self.layout.runs.iter().filter_map(move |run| {
            self.lane_share(i, run)
                .map(|(y, start, len)| (run, y, start, len))
        })
    }

    /// The number of committed rows of each of the layer's matrices, by number.
    pub fn matrix_rows(&self) -> Vec<(usize, usize)> {
        let rows = |c: &Column| match c.segment {
            Segment::Matrix(n) => {
                let (inputs, outputs) = (c.lens[0] * c.lens[1], c.lens[2] * c.lens[3]);
                Some((n, Tiling::new(inputs, outputs, self.layout.row_bits).rows()))
            }
            _ => None,
        };
        self.system.columns.iter().filter_map(rows).collect()
    }

    /// The tables that the layer's lookups read, in tag order.
    pub fn tables(&self) -> Vec<TableId> {
        let used = |t: &TableId| self.layout.runs.iter().any(|r| r.table == *t);
        TableId::ALL.into_iter().filter(used).collect()
    }
}

/// β − tag − α·offset: the part of a denominator that is public.
pub fn public_denominator(run: &KeyRun, ch: &Challenges) -> F {
    ch.beta - F::from(run.table.tag()) - ch.alpha * from_i128(i128::from(run.offset))
}

/// A dimension's weights at the challenges.
pub fn dim_weights(dim: &DimPoint, ch: &Challenges, round: &[F]) -> DimWeights {
    match dim {
        DimPoint::At(coords) => {
            DimWeights::Eq(coords.iter().map(|c| ch.coord(*c, round)).collect())
        }
        DimPoint::Ones => DimWeights::Ones,
        DimPoint::Fixed(x) => DimWeights::Fixed(*x),
    }
}

/// R's coordinates for a matrix view: lane_out, lane_in, and the low bits of slab_in.
fn fold_shape(view: &PointView, row_bits: usize) -> FoldShape {
    let coords = |d: usize| match &view.dims[d] {
        DimPoint::At(coords) => coords.clone(),
        _ => panic!("a matrix is bound to variables only"),
    };
    let tile = [coords(3), coords(1)].concat();
    let slabs = coords(0);
    FoldShape(
        tile.iter()
            .chain(&slabs[..row_bits - tile.len()])
            .copied()
            .collect(),
    )
}

fn fold_shapes(system: &System, plan: &Plan, row_bits: usize) -> Vec<FoldShape> {
    let mut shapes = Vec::new();
    for claim in &plan.claims {
        let Claim::Form(parts) = claim else { continue };
        for (_, view) in parts.iter().flat_map(|(_, form)| form) {
            if matches!(system.columns[view.column.0].segment, Segment::Matrix(_)) {
                let shape = fold_shape(view, row_bits);
                if !shapes.contains(&shape) {
                    shapes.push(shape);
                }
            }
        }
    }
    shapes
}

/// The functional R of a folded weight row.
pub fn fold_functional(
    shape: &FoldShape,
    ch: &Challenges,
    round: &[F],
    base: usize,
    coef: F,
) -> Functional {
    let point: Vec<F> = shape.0.iter().map(|c| ch.coord(*c, round)).collect();
    let mut f = Functional::default();
    f.add_run(base, 0, 1 << point.len(), &point, coef);
    f
}
