//! No relation wraps around the field: bounds computed from the systems themselves, not from what
//! their authors wrote down in `quant::bounds`.
//!
//! At a point of its free and checked variables a relation is an equation of sums of products of
//! column entries. The largest magnitude of an entry is
//! - of a key: what its lookup's table and offset allow, whoever chose it;
//! - of a function's value: the largest in the table;
//! - of a weight: 2^31 in a matrix, 2^63 in a vector; of a boundary: 2^31 on the left (its digits), on
//!   the right whatever the relation gives it;
//! - of any other column: what a relation in which it stands alone gives it.
//!
//! If the magnitudes of both sides add up to less than 2^253 < p/2, the equation in F is one of
//! integers.

use std::collections::BTreeMap;

use super::testing::{Shape, manifest};
use super::{LayerKind, Sequence, check, system};
use crate::algebra::F;
use crate::quant::{Manifest, NormScale, Tables, ceil_log2, max_norm_output};
use crate::system::{
    Bind, ColumnId, Form, Public, Relation, Rhs, Segment, System, Table, Term, View,
};
use ff::PrimeField;

const LIMIT: f64 = 253.0;

/// A column that any field element may fill: its relations hold in F and claim nothing of integers
/// (`docs/relations.md`, "The maximum").
const FREE: &str = "max choice";

/// A column that equals some entry of another by an argument, not by one relation: some j has
/// o_ij ≠ 0, hence D_ij = 0 and M_i = acc_ij.
const EQUAL: (&str, &str) = ("max score", "score");

/// Largest magnitudes of the columns' entries; `None` while unknown.
struct Magnitudes<'a> {
    system: &'a System,
    columns: Vec<Option<f64>>,
}

impl<'a> Magnitudes<'a> {
    fn new(system: &'a System, tables: &[Table]) -> Self {
        let mut all = Self {
            system,
            columns: vec![None; system.columns.len()],
        };
        for (c, column) in system.columns.iter().enumerate() {
            all.columns[c] = match column.segment {
                Segment::Matrix(_) => Some(31f64.exp2()),
                Segment::Vector(_) => Some(63f64.exp2()),
                Segment::BoundaryIn => Some(31f64.exp2()),
                Segment::BoundaryOut | Segment::Key | Segment::Exact => None,
            };
        }
        for lookup in &system.lookups {
            let table = tables.iter().find(|t| t.id == lookup.table);
            let table = table.expect("the model has the table");
            let first = table.first_key - lookup.offset;
            let last = first + table.len as i64 - 1;
            all.columns[lookup.key.0] = Some(first.abs().max(last.abs()) as f64);
            if let (Some(value), Some(values)) = (lookup.value, &table.values) {
                let largest = values.iter().map(|v| v.unsigned_abs()).max();
                all.columns[value.0] = Some(largest.expect("a table has rows") as f64);
            }
        }
        while all.derive_one() {}
        all
    }

    /// Bounds one more column by a relation in which it is the only unknown.
    fn derive_one(&mut self) -> bool {
        let name = |c: usize| self.system.columns[c].name.as_str();
        let find = |wanted| (0..self.columns.len()).find(|c| name(*c) == wanted);
        if let (Some(column), Some(like)) = (find(EQUAL.0), find(EQUAL.1))
            && self.columns[column].is_none()
            && self.columns[like].is_some()
        {
            self.columns[column] = self.columns[like];
            return true;
        }
        for relation in &self.system.relations {
            for (i, rhs) in relation.rhs.iter().enumerate() {
                // A sum of entries bounds none of them.
                let alone = |v: &&View| !v.binds.contains(&Bind::Ones);
                let Some(column) = rhs.view.as_ref().filter(alone).map(|v| v.column) else {
                    continue;
                };
                if self.columns[column.0].is_some() {
                    continue;
                }
                let others = relation.rhs.iter().enumerate().filter(|(j, _)| *j != i);
                let others = others.map(|(_, r)| self.rhs(r));
                let terms = relation.terms.iter().map(|t| self.term(t));
                let sum: Option<f64> = terms.chain(others).sum();
                if let Some(sum) = sum {
                    self.columns[column.0] = Some(sum / magnitude(rhs.coef));
                    return true;
                }
            }
        }
        false
    }

    fn view(&self, view: &View) -> Option<f64> {
        let lens = &self.system.columns[view.column.0].lens;
        let summed = lens.iter().zip(&view.binds);
        let entries: usize = summed
            .map(|(len, bind)| if *bind == Bind::Ones { *len } else { 1 })
            .product();
        Some(self.columns[view.column.0]? * entries as f64)
    }

    fn form(&self, form: &Form) -> Option<f64> {
        form.0
            .iter()
            .map(|(c, v)| Some(magnitude(*c) * self.view(v)?))
            .sum()
    }

    fn term(&self, term: &Term) -> Option<f64> {
        let picked = |public: &Public| match public {
            Public::OneHot { index, .. } => index.clone(),
            Public::Causal { .. } | Public::Acausal { .. } => Vec::new(),
        };
        let picked: Vec<_> = term.publics.iter().flat_map(picked).collect();
        let bits: usize = term
            .contract
            .iter()
            .filter(|v| !picked.contains(v))
            .map(|v| self.system.vars[v.0].bits())
            .sum();
        let factors: Option<f64> = term.factors.iter().map(|f| self.form(f)).product();
        Some(magnitude(term.coef) * (bits as f64).exp2() * factors?)
    }

    fn rhs(&self, rhs: &Rhs) -> Option<f64> {
        let view = rhs.view.as_ref().map_or(Some(1.0), |v| self.view(v));
        Some(magnitude(rhs.coef) * view?)
    }

    /// log₂ of the sum of both sides' magnitudes; `None` if it speaks of the free column.
    fn relation(&self, relation: &Relation) -> Option<f64> {
        let terms = relation.terms.iter().map(|t| self.term(t));
        let sum: Option<f64> = terms.chain(relation.rhs.iter().map(|r| self.rhs(r))).sum();
        Some(sum?.log2())
    }

    fn column(&self, column: ColumnId) -> &str {
        &self.system.columns[column.0].name
    }
}

/// |x| for x as the integer nearest to 0.
fn magnitude(x: F) -> f64 {
    let value = |x: F| {
        let bytes = x.to_repr();
        let byte = |sum: f64, b: &u8| sum * 256.0 + f64::from(*b);
        bytes.iter().rev().fold(0.0, byte)
    };
    value(x).min(value(-x))
}

/// The manifest of a model of this width and context, at the scales that quantization gives it.
pub fn large(width: usize, context: usize) -> Manifest {
    let mut manifest = manifest(Shape {
        width,
        layers: 1,
        vocabulary: 50_257,
        tied: true,
    });
    let output = max_norm_output(width);
    let norm = |dropped| NormScale {
        output,
        root: output + dropped,
    };
    let s = &mut manifest.scales;
    s.final_norm = norm(48);
    (s.blocks[0].norm1, s.blocks[0].norm2) = (norm(32), norm(48));
    s.inverse = 34 + ceil_log2(context);
    manifest.architecture.context = context;
    manifest.tables = Tables::new(&manifest.scales, manifest.architecture.activation).digest();
    manifest
}

/// Every relation's bound at a shape, by layer and name.
fn bounds(width: usize, context: usize) -> BTreeMap<String, Option<f64>> {
    let manifest = large(width, context);
    assert_eq!(check(&manifest), Ok(()));
    assert!(manifest.check().is_ok());
    let tables = Tables::new(&manifest.scales, manifest.architecture.activation);
    let prompt = vec![1; context];
    let sequence = Sequence::new(&prompt, &[2], &manifest.architecture).expect("it fits");
    let mut all = BTreeMap::new();
    for kind in LayerKind::all(1) {
        let system = system(&manifest, &sequence, kind);
        let magnitudes = Magnitudes::new(&system, tables.all());
        for (c, bound) in magnitudes.columns.iter().enumerate() {
            let name = magnitudes.column(ColumnId(c));
            assert_eq!(bound.is_none(), name == FREE, "{kind}: {name}: {bound:?}");
        }
        for relation in &system.relations {
            let bound = magnitudes.relation(relation);
            all.insert(format!("{kind}: {}", relation.name), bound);
        }
    }
    all
}

const SHAPES: [(usize, usize); 5] = [
    (64, 4),
    (768, 1024),
    (1600, 1024),
    (2048, 4096),
    (4096, 4096),
];

#[test]
fn no_relation_wraps_around_up_to_width_and_context_4096() {
    for (width, context) in SHAPES {
        for (relation, bound) in bounds(width, context) {
            assert!(
                bound.is_none_or(|b| b < LIMIT),
                "{relation} at d = {width}, T' = {context}: {bound:?}"
            );
        }
    }
}

/// The page shows what is computed here.
#[test]
fn the_documented_bounds_are_the_computed_ones() {
    let page = include_str!("../../docs/soundness.md");
    let (small, large) = (bounds(768, 1024), bounds(4096, 4096));
    let power = |b: f64| format!("2^{}", b.ceil());
    let show = |bound: Option<f64>| bound.map_or("any, in F".into(), power);
    let rows = small.iter().map(|(relation, bound)| {
        format!(
            "| {relation} | {} | {} |\n",
            show(*bound),
            show(large[relation])
        )
    });
    let missing: String = rows.filter(|row| !page.contains(row)).collect();
    assert!(missing.is_empty(), "docs/soundness.md lacks:\n{missing}");
}
