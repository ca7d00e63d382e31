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

use std::collections::{BTreeMap, BTreeSet};

use super::testing::{Shape, llama_manifest, manifest};
use super::{LayerKind, Sequence, check, system};
use crate::algebra::F;
use crate::quant::testing::BIASED;
use crate::quant::{
    Architecture, Biases, HeadNorm, HeadNormScale, MAX_LIFT, Manifest, NormKind, NormScale, Order,
    Tables, ceil_log2, max_norm_output,
};
use crate::system::{
    Bind, ColumnId, Form, Public, Relation, Rhs, Segment, System, Table, Term, VarId, View,
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
        // A public factor over some contracted variables, summed over them: a one-hot picks one.
        let mut picked = Vec::new();
        let mut publics = 1.0;
        for public in &term.publics {
            match public {
                Public::OneHot { index, .. } => picked.extend(index.iter().copied()),
                Public::Table { vars, values } => {
                    let summed = |v: &&VarId| term.contract.contains(v);
                    picked.extend(vars.iter().filter(summed).copied());
                    publics *= self.table(vars, values, &term.contract);
                }
                Public::Causal { .. } | Public::Acausal { .. } => {}
            }
        }
        let bits: usize = term
            .contract
            .iter()
            .filter(|v| !picked.contains(v))
            .map(|v| self.system.vars[v.0].bits())
            .sum();
        let factors: Option<f64> = term.factors.iter().map(|f| self.form(f)).product();
        Some(magnitude(term.coef) * publics * (bits as f64).exp2() * factors?)
    }

    /// The largest sum of a table's magnitudes over its contracted variables, the others fixed.
    fn table(&self, vars: &[VarId], values: &[i64], contract: &[VarId]) -> f64 {
        let mut sums: BTreeMap<usize, f64> = BTreeMap::new();
        for (x, value) in values.iter().enumerate() {
            let (mut fixed, mut shift) = (0, 0);
            for var in vars {
                let bits = self.system.vars[var.0].bits();
                if !contract.contains(var) {
                    fixed |= x & (((1 << bits) - 1) << shift);
                }
                shift += bits;
            }
            *sums.entry(fixed).or_default() += value.unsigned_abs() as f64;
        }
        sums.into_values().fold(0.0, f64::max)
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
    let shape = Shape {
        width,
        layers: 1,
        vocabulary: 50_257,
        tied: true,
    };
    scaled(manifest(shape), context)
}

/// The same of Llama's kind, with a feed-forward part four times as wide.
fn large_llama(heads: (usize, usize, usize), context: usize) -> Manifest {
    let mut manifest = llama_manifest(heads, 1, 128_256);
    manifest.architecture.hidden = 4 * manifest.architecture.width;
    let block = &mut manifest.scales.blocks[0];
    // 16 bits of scores at σ = 16: the widest remainder and the least scaling up, and the reverse.
    (block.q, block.k) = if heads.2 == 64 { (14, 13) } else { (10, 10) };
    scaled(manifest, context)
}

/// Others, with the sizes that are published: (width, heads, feed-forward width).
fn other(
    (width, heads, hidden): (usize, (usize, usize, usize), usize),
    context: usize,
    change: fn(&mut Architecture),
) -> Manifest {
    let mut manifest = llama_manifest(heads, 1, 128_256);
    let a = &mut manifest.architecture;
    (a.width, a.hidden) = (width, hidden);
    change(a);
    let block = &mut manifest.scales.blocks[0];
    (block.q, block.k) = (11, 11);
    scaled(manifest, context)
}

fn scaled(mut manifest: Manifest, context: usize) -> Manifest {
    let a = &manifest.architecture;
    let of = |width, dropped| {
        let output = max_norm_output(width);
        NormScale {
            output,
            root: output + dropped,
        }
    };
    let norm = |dropped| of(a.width, dropped);
    let head_norm = |heads| {
        let size = a.head_norm_size(heads)?;
        Some(HeadNormScale {
            input: 16,
            norm: of(size.width, 48),
        })
    };
    let ([first, second], behind) = (a.order.before(), a.order.behind());
    let s = &mut manifest.scales;
    s.final_norm = norm(48);
    // All channels lifted as far as they may be.
    let lifts = |there| {
        if there {
            vec![MAX_LIFT; a.width]
        } else {
            vec![]
        }
    };
    s.final_lifts = lifts(true);
    let block = &mut s.blocks[0];
    (block.lifts1, block.lifts2) = (lifts(first), lifts(second));
    block.norm1 = first.then(|| norm(32));
    block.norm2 = second.then(|| norm(48));
    block.attention_norm = behind.then(|| norm(32));
    block.feed_forward_norm = behind.then(|| norm(48));
    (block.query_norm, block.key_norm) = (head_norm(a.heads), head_norm(a.kv_heads));
    s.inverse = 34 + ceil_log2(context);
    manifest.architecture.context = context;
    manifest.tables = Tables::new(&manifest.scales, manifest.architecture.activation).digest();
    manifest
}

/// Every relation's bound at a shape, by layer and name.
fn bounds(manifest: &Manifest) -> BTreeMap<String, Option<f64>> {
    let context = manifest.architecture.context;
    assert_eq!(check(manifest), Ok(()));
    assert!(manifest.check().is_ok());
    let tables = Tables::new(&manifest.scales, manifest.architecture.activation);
    let prompt = vec![1; context];
    let sequence = Sequence::new(&prompt, &[2], &manifest.architecture).expect("it fits");
    let mut all = BTreeMap::new();
    for kind in LayerKind::all(1) {
        let system = system(manifest, &sequence, kind);
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

/// SmolLM2's, TinyLlama's and Llama 3's heads.
fn llamas() -> [Manifest; 3] {
    [
        large_llama((9, 3, 64), 2048),
        large_llama((32, 4, 64), 2048),
        large_llama((32, 8, 128), 4096),
    ]
}

/// Gemma 3 1B, OLMo 2 7B, Qwen 3 8B and Phi-2.
fn others() -> [Manifest; 4] {
    let around = |a: &mut Architecture| {
        (a.order, a.head_norm) = (Order::Around, Some(HeadNorm::Heads));
        a.kinds[0].window = Some(512);
    };
    let behind = |a: &mut Architecture| {
        (a.order, a.head_norm) = (Order::Behind, Some(HeadNorm::Whole));
    };
    let normed = |a: &mut Architecture| a.head_norm = Some(HeadNorm::Heads);
    let parallel = |a: &mut Architecture| {
        (a.norm, a.order, a.gated) = (NormKind::Layer, Order::Parallel, false);
        a.biases = Biases {
            head: true,
            ..BIASED
        };
    };
    [
        other((1152, (4, 1, 256), 6912), 4096, around),
        other((4096, (32, 32, 128), 11_008), 4096, behind),
        other((4096, (32, 8, 128), 12_288), 4096, normed),
        other((2560, (32, 32, 80), 10_240), 2048, parallel),
    ]
}

#[test]
fn no_relation_wraps_around_up_to_width_and_context_4096() {
    let plain = SHAPES.map(|(width, context)| large(width, context));
    for manifest in plain.into_iter().chain(llamas()).chain(others()) {
        for (relation, bound) in bounds(&manifest) {
            assert!(
                bound.is_none_or(|b| b < LIMIT),
                "{relation}: {bound:?} at {:?}",
                manifest.architecture
            );
        }
    }
}

/// The page shows what is computed here.
#[test]
fn the_documented_bounds_are_the_computed_ones() {
    let page = include_str!("../../docs/soundness.md");
    let [smollm2, _, llama3] = llamas();
    let shapes = ["d = 768, T' = 1024", "d = T' = 4096"];
    let llama_shapes = ["SmolLM2-135M, T' = 2048", "Llama 3 8B, T' = 4096"];
    let [gemma3, olmo2, ..] = others();
    let other_shapes = ["Gemma 3 1B, T' = 4096", "OLMo 2 7B, T' = 4096"];
    for table in [
        table(other_shapes, &gemma3, &olmo2),
        table(shapes, &large(768, 1024), &large(4096, 4096)),
        table(llama_shapes, &smollm2, &llama3),
    ] {
        assert!(page.contains(&table), "docs/soundness.md lacks:\n{table}");
    }
}

/// The bounds of two manifests side by side.
fn table([small_name, large_name]: [&str; 2], small: &Manifest, large: &Manifest) -> String {
    let (small, large) = (bounds(small), bounds(large));
    let power = |b: f64| format!("2^{}", b.ceil());
    let show = |bound: Option<&Option<f64>>| match bound {
        None => "–".to_string(),
        Some(bound) => bound.map_or("any, in F".into(), power),
    };
    let relations: BTreeSet<&String> = small.keys().chain(large.keys()).collect();
    let rows = relations.into_iter().map(|relation| {
        let [small, large] = [&small, &large].map(|bounds| show(bounds.get(relation)));
        format!("| {relation} | {small} | {large} |\n")
    });
    let head = format!("| relation | {small_name} | {large_name} |\n| --- | --- | --- |\n");
    std::iter::once(head).chain(rows).collect()
}
