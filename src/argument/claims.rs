//! The claims of a layer as functionals of the committed data: what the verifier evaluates and
//! the prover writes out. Both call this file; neither has a version of its own.

use std::io;

use ff::Field;

use super::challenges::Challenges;
use super::functional::{DimWeights, Functional};
use super::layout::{KeyRun, Layout, Tiling};
use super::plan::{Claim, Coord, DimPoint, Plan, PointView, Product};
use crate::algebra::{F, eq_at, from_i128};
use crate::system::{Column, Segment, System, TableId};

/// Bytes that are hashed as they are written.
struct Hashed<'a>(&'a mut sha2::Sha256);

impl io::Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        sha2::Digest::update(self.0, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
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

/// Where a layer's segments begin in the bundle's data, in values: in its own rows, and in those of weights and boundaries.
#[derive(Clone, Debug, Default)]
pub struct Bases {
    /// The lanes of keys, in the bundle's own rows.
    pub keys: usize,
    /// The exact columns, there too.
    pub exact: usize,
    /// There too.
    pub helper: usize,
    /// In the model's rows, as what follows.
    pub vectors: usize,
    pub boundary_in: usize,
    pub boundary_out: usize,
}

/// What the right-hand sides and the claims of a layer are multiplied by.
#[derive(Clone, Debug)]
pub struct Shares {
    /// ρ·eq(τ_L, ℓ).
    pub rhs: F,
    /// ρ^(j+2)·eq(r_L, ℓ) of each of its claims, j among those of the conversation.
    pub claims: Vec<F>,
}

/// A functional of all data of a bundle: of its own rows, and of those of weights and boundaries, which have a length of
/// their own.
#[derive(Clone, Debug, Default)]
pub struct DataFunctional {
    pub own: Functional,
    pub model: Functional,
}

/// A layer's part of the functional that E opens to.
#[derive(Clone, Debug, Default)]
pub struct Combined {
    pub functional: DataFunctional,
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

    /// Whether another layer is the same system with other numbers: of the same layout, with the same claims, products and
    /// folded rows. (Coefficients, live sets and the values of public factors may be others.)
    pub fn has_form_of(&self, other: &Self) -> bool {
        let kinds = |plan: &Plan| -> Vec<Option<usize>> {
            let kind = |claim: &Claim| match claim {
                Claim::Helper => Some(0),
                Claim::Lane(i) => Some(i + 1),
                Claim::Form(_) => None,
            };
            plan.claims.iter().map(kind).collect()
        };
        let (plan, others) = (&self.plan, &other.plan);
        let mut products = plan.products.iter().zip(&others.products);
        self.layout == other.layout
            && self.folds == other.folds
            && (plan.rounds, plan.weights) == (others.rounds, others.weights)
            && kinds(plan) == kinds(others)
            && plan.products.len() == others.products.len()
            && products.all(|(a, b)| a.claims == b.claims && a.coords == b.coords)
    }

    /// SHA-256 of the system and its layout in postcard's encoding: shape, scales and public tokens.
    pub fn digest(&self) -> [u8; 32] {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        hash.update(b"nanozk/system/v2");
        // Hashed as it is written: the system of a head with many outputs is long.
        let to = Hashed(&mut hash);
        postcard::to_io(&(&self.system, &self.layout), to).expect("plain data");
        hash.finalize().into()
    }

    /// What each product is multiplied by at the sumcheck's point: its weight and its public factors.
    pub fn weights(&self, ch: &Challenges, round: &[F]) -> Vec<F> {
        let weight = |p: &Product| {
            let publics: F = p.publics.iter().map(|p| ch.public(p, round)).product();
            ch.weight(&p.weight) * publics
        };
        self.plan.products.iter().map(weight).collect()
    }

    /// The layer's share of ρ·S₀ + Σ_j ρ^(j+2)·v_j as one functional (and S₀'s constants).
    pub fn combine(
        &self,
        ch: &Challenges,
        round: &[F],
        shares: &Shares,
        bases: &Bases,
    ) -> Combined {
        let mut out = Combined {
            folds: vec![Vec::new(); self.folds.len()],
            ..Combined::default()
        };
        for (scalar, view) in &self.plan.rhs {
            let coef = shares.rhs * ch.scalar(scalar);
            match view {
                Some(view) => self.add_view(view, coef, ch, round, bases, &mut out),
                None => out.constant += coef,
            }
        }
        for (claim, rho) in self.plan.claims.iter().zip(&shares.claims) {
            match claim {
                Claim::Helper => {
                    let point = &round[..self.layout.helper_bits()];
                    let helper = &mut out.functional.own;
                    helper.add_run(bases.helper, 0, self.layout.lane_len, point, *rho);
                }
                Claim::Lane(i) => {
                    self.add_lane(*i, *rho, ch, round, bases, &mut out.functional.own);
                }
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
        let offset = self.layout.offset(view.column);
        let DataFunctional { own, model } = &mut out.functional;
        let (functional, place) = match column.segment {
            Segment::Key => (own, bases.keys + offset),
            Segment::Exact => (own, bases.exact + self.layout.exact_index(offset)),
            Segment::BoundaryIn => (model, bases.boundary_in + offset),
            Segment::BoundaryOut => (model, bases.boundary_out + offset),
            Segment::Vector(_) => (model, bases.vectors + offset),
            Segment::Matrix(n) => return self.add_matrix(n, view, &dims, coef, out),
        };
        functional.add_column(place, &column.lens, &dims, coef);
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
        out.add_run(bases.keys + i * n, 0, n, point, -coef * ch.alpha);
        for run in &self.layout.runs {
            if let (Some(value), Some((y, start, len))) = (run.value, self.lane_share(i, run)) {
                let value = bases.exact + self.layout.exact_index(value) + (start - run.start);
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
