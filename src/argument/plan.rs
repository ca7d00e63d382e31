//! From a system's relations to the list of claims and products that the sumcheck ends in.
//!
//! The plan is symbolic: it knows which coordinates a factor is bound to, not their values. It
//! depends on the shape alone, and everybody derives from it: the prover its tables, the verifier
//! its functionals and coefficients, the circuit its final check.
//!
//! After the sumcheck at r, with λ the batching challenge, the last sum must be
//!
//! ```text
//! Σ_products  weight(λ, τ) · public(τ, r) · Π_j (claim_j + offset_j)
//! ```
//!
//! Relation k (from 0) is weighted by λ^(k+1), LogUp by the next power. Products that differ only
//! in their last factor are merged: Σ_k λ^k·c_k·f_k is one claim, not several.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ff::Field;

use super::layout::{LOOKUP_LANES, Layout};
use crate::algebra::F;
use crate::system::{
    Bind, ColumnId, Form, Live, Public, Relation, Rhs, System, Tensor, Term, VarId, View,
};

/// A coordinate of one of the two random points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coord {
    Tau(usize),
    Round(usize),
}

/// What a column's dimension is bound to, coordinates lowest index bit first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DimPoint {
    At(Vec<Coord>),
    Ones,
    Fixed(usize),
}

/// A view with its variables resolved to coordinates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PointView {
    pub column: ColumnId,
    pub dims: Vec<DimPoint>,
}

/// A linear form of resolved views.
pub type PointForm = Vec<(F, PointView)>;

/// λ^(relation+1) · coef · Π lives(τ).
#[derive(Clone, Debug)]
pub struct Scalar {
    pub relation: usize,
    pub coef: F,
    pub lives: Vec<LiveAt>,
}

/// Σ_{x < len} eq(τ at coords, x).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LiveAt {
    pub coords: Vec<usize>,
    pub len: usize,
}

/// A scalar that the challenges before the sumcheck determine.
#[derive(Clone, Debug)]
pub enum Weight {
    One,
    Sum(Vec<Scalar>),
}

/// A public multilinear factor over round coordinates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PublicAt {
    /// eq(τ, r) on these coordinates.
    Eq(Vec<usize>),
    /// eq(τ, r) on the first `bits` coordinates, restricted to indices below `len`.
    EqPrefix { bits: usize, len: usize },
    /// [col ≤ row], with a window n [col ≤ row < col + n]; or its complement.
    Causal {
        row: Vec<usize>,
        col: Vec<usize>,
        window: Option<usize>,
        complement: bool,
    },
    /// Σ_i eq(τ_row, i)·[index = targets[i]].
    OneHot {
        row: Vec<usize>,
        index: Vec<usize>,
        targets: Vec<usize>,
    },
    /// The multilinear extension of `values` at these coordinates of both points.
    Table { at: Vec<Coord>, values: Tensor },
}

/// One value the sumcheck ends in, a public functional of the committed data.
#[derive(Clone, Debug)]
pub enum Claim {
    /// The LogUp helper column.
    Helper,
    /// The committed part of the LogUp denominators of one lane; the rest is its public offset.
    Lane(usize),
    /// Σ weight · form.
    Form(Vec<(Weight, PointForm)>),
}

/// weight · Π publics · Π claims, summed over the hypercube on `coords`.
#[derive(Clone, Debug)]
pub struct Product {
    pub weight: Weight,
    pub publics: Vec<PublicAt>,
    pub claims: Vec<usize>,
    /// The round coordinates it depends on, ascending.
    pub coords: Vec<usize>,
}

/// The whole of a layer's reduction.
#[derive(Clone, Debug)]
pub struct Plan {
    pub claims: Vec<Claim>,
    /// The system's products; those of LogUp come last, `LOOKUP_LANES + 1` of them.
    pub products: Vec<Product>,
    /// Right-hand sides: (scalar, view), a constant where there is no view.
    pub rhs: Vec<(Scalar, Option<PointView>)>,
    /// The number of rounds.
    pub rounds: usize,
    /// The degree of every round polynomial.
    pub degree: usize,
    /// The number of powers of λ.
    pub weights: usize,
}

impl Plan {
    /// Plans the reduction of `system`, which must have been validated.
    pub fn new(system: &System, layout: &Layout) -> Self {
        let mut builder = Builder {
            system,
            claims: Vec::new(),
            index: HashMap::new(),
        };
        // LogUp's claims come first: they are all layers' first claims, whatever else a layer has.
        let logup = builder.logup_products(layout);
        let mut products = builder.relation_products();
        products.extend(logup);
        let rhs = system
            .relations
            .iter()
            .enumerate()
            .flat_map(|(k, r)| r.rhs.iter().map(move |t| (k, t)))
            .map(|(k, t)| builder.rhs(k, t))
            .collect();
        Self {
            rounds: system.coordinates().max(layout.helper_bits()),
            degree: products
                .iter()
                .map(|p| p.claims.len() + p.publics.len())
                .max()
                .unwrap_or(1),
            weights: system.relations.len() + 1,
            claims: builder.claims,
            products,
            rhs,
        }
    }

    /// The products of the system's own relations, and those of LogUp.
    pub fn split_products(&self) -> (&[Product], &[Product]) {
        self.products
            .split_at(self.products.len() - LOOKUP_LANES - 1)
    }
}

/// What two terms must share to be merged: everything but the weight and the last factor.
#[derive(PartialEq, Eq, Hash)]
struct GroupKey {
    publics: Vec<PublicAt>,
    coords: Vec<usize>,
    heads: Vec<FormKey>,
}

/// A form as a map key (field elements by their canonical bytes).
type FormKey = Vec<([u8; 32], PointView)>;

struct Group {
    key: GroupKey,
    heads: Vec<PointForm>,
    /// Distinct last factors, with the scalars of each.
    tails: Vec<(Vec<Scalar>, PointForm)>,
    /// Where each of them is in `tails`: a head has one per output.
    places: HashMap<FormKey, usize>,
}

struct Builder<'a> {
    system: &'a System,
    claims: Vec<Claim>,
    index: HashMap<FormKey, usize>,
}

impl Builder<'_> {
    fn relation_products(&mut self) -> Vec<Product> {
        let mut groups: Vec<Group> = Vec::new();
        for (k, relation) in self.system.relations.iter().enumerate() {
            for term in &relation.terms {
                self.add_term(k, relation, term, &mut groups);
            }
        }
        // A tail may be merged only if no other product needs it as a claim of its own.
        let mut uses: HashMap<FormKey, usize> = HashMap::new();
        for group in &groups {
            for form in group.heads.iter().chain(group.tails.iter().map(|t| &t.1)) {
                *uses.entry(form_key(form)).or_default() += 1;
            }
        }
        groups
            .into_iter()
            .flat_map(|g| self.group_products(g, &uses))
            .collect()
    }

    fn add_term(&self, k: usize, relation: &Relation, term: &Term, groups: &mut Vec<Group>) {
        let summed: Vec<VarId> = relation
            .check
            .iter()
            .chain(&term.contract)
            .copied()
            .collect();
        let mut coords: Vec<usize> = summed.iter().flat_map(|v| self.coords(*v)).collect();
        coords.sort_unstable();
        let mut publics: Vec<PublicAt> = term
            .publics
            .iter()
            .map(|p| self.public(p, &summed))
            .collect();
        if !relation.check.is_empty() {
            publics.push(PublicAt::Eq(
                relation
                    .check
                    .iter()
                    .flat_map(|v| self.coords(*v))
                    .collect(),
            ));
        }
        let mut forms: Vec<PointForm> =
            term.factors.iter().map(|f| self.form(f, &summed)).collect();
        let tail = forms.pop().expect("a term has a factor");
        let key = GroupKey {
            publics,
            coords,
            heads: forms.iter().map(form_key).collect(),
        };
        let scalar = self.scalar(k, term.coef, &term.lives);
        let group = match groups.iter().position(|g| g.key == key) {
            Some(g) => &mut groups[g],
            None => {
                groups.push(Group {
                    key,
                    heads: forms,
                    tails: Vec::new(),
                    places: HashMap::new(),
                });
                groups.last_mut().expect("just pushed")
            }
        };
        match group.places.entry(form_key(&tail)) {
            Entry::Occupied(place) => group.tails[*place.get()].0.push(scalar),
            Entry::Vacant(place) => {
                place.insert(group.tails.len());
                group.tails.push((vec![scalar], tail));
            }
        }
    }

    fn group_products(&mut self, group: Group, uses: &HashMap<FormKey, usize>) -> Vec<Product> {
        let heads: Vec<usize> = group.heads.into_iter().map(|f| self.claim(f)).collect();
        let product = |weight, tail| Product {
            weight,
            publics: group.key.publics.clone(),
            claims: heads.iter().copied().chain([tail]).collect(),
            coords: group.key.coords.clone(),
        };
        let (merged, single): (Vec<_>, Vec<_>) = group
            .tails
            .into_iter()
            .partition(|(_, form)| uses[&form_key(form)] == 1);
        let mut products: Vec<Product> = Vec::new();
        if merged.len() > 1 {
            let parts = merged
                .into_iter()
                .map(|(s, form)| (Weight::Sum(s), form))
                .collect();
            self.claims.push(Claim::Form(parts));
            products.push(product(Weight::One, self.claims.len() - 1));
        } else {
            products.extend(
                merged
                    .into_iter()
                    .map(|(s, f)| product(Weight::Sum(s), self.claim(f))),
            );
        }
        products.extend(
            single
                .into_iter()
                .map(|(s, f)| product(Weight::Sum(s), self.claim(f))),
        );
        products
    }

    /// h·Π dᵢ − Σᵢ Π_{j≠i} dⱼ, with eq(τ, ·) on the live helper entries.
    fn logup_products(&mut self, layout: &Layout) -> Vec<Product> {
        let helper = self.claims.len();
        self.claims.push(Claim::Helper);
        self.claims.extend((0..LOOKUP_LANES).map(Claim::Lane));
        let lanes: Vec<usize> = (helper + 1..=helper + LOOKUP_LANES).collect();
        let bits = layout.helper_bits();
        let product = |coef: F, claims: Vec<usize>| Product {
            weight: Weight::Sum(vec![Scalar {
                relation: self.system.relations.len(),
                coef,
                lives: Vec::new(),
            }]),
            publics: vec![PublicAt::EqPrefix {
                bits,
                len: layout.lane_len,
            }],
            claims,
            coords: (0..bits).collect(),
        };
        let all = std::iter::once(helper)
            .chain(lanes.iter().copied())
            .collect();
        std::iter::once(product(F::ONE, all))
            .chain(
                lanes
                    .iter()
                    .map(|i| product(-F::ONE, lanes.iter().copied().filter(|j| j != i).collect())),
            )
            .collect()
    }

    /// The claim for a form, shared by all products in which the same form stands.
    fn claim(&mut self, form: PointForm) -> usize {
        let next = self.claims.len();
        let index = *self.index.entry(form_key(&form)).or_insert(next);
        if index == next {
            self.claims.push(Claim::Form(vec![(Weight::One, form)]));
        }
        index
    }

    fn rhs(&self, relation: usize, rhs: &Rhs) -> (Scalar, Option<PointView>) {
        let view = rhs.view.as_ref().map(|v| self.view(v, &[]));
        (self.scalar(relation, rhs.coef, &rhs.lives), view)
    }

    fn scalar(&self, relation: usize, coef: F, lives: &[Live]) -> Scalar {
        let lives = lives
            .iter()
            .map(|l| LiveAt {
                coords: self.joint(&l.vars),
                len: l.len,
            })
            .collect();
        Scalar {
            relation,
            coef,
            lives,
        }
    }

    fn public(&self, public: &Public, summed: &[VarId]) -> PublicAt {
        match public {
            Public::Causal { row, col, window } => PublicAt::Causal {
                row: self.coords(*row),
                col: self.coords(*col),
                window: *window,
                complement: false,
            },
            Public::Acausal { row, col, window } => PublicAt::Causal {
                row: self.coords(*row),
                col: self.coords(*col),
                window: *window,
                complement: true,
            },
            Public::OneHot {
                row,
                index,
                targets,
            } => PublicAt::OneHot {
                row: self.coords(*row),
                index: self.joint(index),
                targets: targets.clone(),
            },
            Public::Table { vars, values } => PublicAt::Table {
                at: vars.iter().flat_map(|v| self.at(*v, summed)).collect(),
                values: values.clone(),
            },
        }
    }

    fn form(&self, form: &Form, summed: &[VarId]) -> PointForm {
        form.0
            .iter()
            .map(|(c, v)| (*c, self.view(v, summed)))
            .collect()
    }

    fn view(&self, view: &View, summed: &[VarId]) -> PointView {
        let at = |var: VarId| self.at(var, summed);
        let dims = view.binds.iter().map(|bind| match bind {
            Bind::Var(_) | Bind::Pair(..) | Bind::Triple(..) => {
                DimPoint::At(bind.vars().flat_map(at).collect())
            }
            Bind::Ones => DimPoint::Ones,
            Bind::Fixed(x) => DimPoint::Fixed(*x),
        });
        PointView {
            column: view.column,
            dims: dims.collect(),
        }
    }

    /// A variable's coordinates: of r if it is summed, of τ otherwise.
    fn at(&self, var: VarId, summed: &[VarId]) -> Vec<Coord> {
        let side = if summed.contains(&var) {
            Coord::Round
        } else {
            Coord::Tau
        };
        self.coords(var).into_iter().map(side).collect()
    }

    fn coords(&self, var: VarId) -> Vec<usize> {
        self.system.vars[var.0].coords.clone()
    }

    fn joint(&self, vars: &[VarId]) -> Vec<usize> {
        vars.iter().flat_map(|v| self.coords(*v)).collect()
    }
}

fn form_key(form: &PointForm) -> FormKey {
    use ff::PrimeField;
    form.iter().map(|(c, v)| (c.to_repr(), v.clone())).collect()
}

/// The round coordinates that any view of the form is bound to, ascending.
pub fn round_coords(form: &PointForm) -> Vec<usize> {
    let mut coords: Vec<usize> = form
        .iter()
        .flat_map(|(_, v)| &v.dims)
        .flat_map(|d| match d {
            DimPoint::At(coords) => coords.as_slice(),
            _ => &[],
        })
        .filter_map(|c| match c {
            Coord::Round(c) => Some(*c),
            Coord::Tau(_) => None,
        })
        .collect();
    coords.sort_unstable();
    coords.dedup();
    coords
}
