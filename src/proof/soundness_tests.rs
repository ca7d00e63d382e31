//! The statistical part of the error bound, for the shapes of real models: what remains after
//! Schwartz and Zippel if discrete logarithms are hard and hashes are random oracles. The terms are
//! those of `docs/soundness.md`, "Error bound".

use super::LayerKind;
use super::setup::ROW_BITS;
use super::systems;
use crate::argument::layout::LOOKUP_LANES;
use crate::layers::Sequence;
use crate::layers::wraparound_tests::large;
use crate::quant::Tables;

/// (name, log₂ of the numerator over p) for one bundle of all layers.
fn terms(width: usize, context: usize, blocks: usize) -> Vec<(&'static str, f64)> {
    let manifest = large(width, context);
    let sequence = Sequence::new(&vec![1; context], &[2], &manifest.architecture);
    let sequence = sequence.expect("it fits");
    let tables = Tables::new(&manifest.scales, manifest.architecture.activation);
    let table_rows: f64 = tables.all().iter().map(|t| t.len as f64).sum();
    let kinds: Vec<LayerKind> = LayerKind::all(1).collect();
    let layers = systems::layers(&manifest, &sequence, &kinds);
    // One block stands for all.
    let count = |kind: &LayerKind| match kind {
        LayerKind::Block(_) => blocks as f64,
        _ => 1.0,
    };
    let sum = |f: &dyn Fn(&crate::argument::claims::Layer) -> f64| -> f64 {
        let each = kinds.iter().zip(&layers);
        each.map(|(kind, layer)| count(kind) * f(layer)).sum()
    };
    let lookups = sum(&|l| (LOOKUP_LANES * l.layout.lane_len) as f64);
    let rows = sum(&|l| {
        let own = l.layout.rows(l.layout.witness_len) + l.layout.rows(l.layout.lane_len);
        (own + l.layout.rows(l.layout.vectors_len) + l.folds.len()) as f64
    });
    let boundaries = (blocks + 1) as f64 * (width * context) as f64 / f64::from(1 << ROW_BITS);
    let row_rounds = (rows + boundaries + table_rows).log2().ceil();
    let layer_count = blocks as f64 + 2.0;
    let numerators = [
        ("lookups, α", 2.0 * lookups * table_rows),
        ("lookups, β", 2.0 * lookups + table_rows),
        ("relations, τ", sum(&|l| l.plan.rounds as f64)),
        ("relations, λ", sum(&|l| l.plan.weights as f64 + 1.0)),
        (
            "sumcheck, r",
            sum(&|l| (l.plan.rounds * l.plan.degree) as f64),
        ),
        ("claims, ρ", sum(&|l| l.plan.claims.len() as f64 + 1.0)),
        ("layers, χ", layer_count),
        ("opening, row rounds and z", 2.0 * row_rounds + 2.0),
    ];
    numerators.map(|(name, n)| (name, n.log2())).to_vec()
}

#[test]
fn the_statistical_error_is_below_2_to_the_minus_190() {
    let page = include_str!("../../docs/soundness.md");
    let (small, large) = (terms(768, 1024, 12), terms(4096, 4096, 64));
    let rows = small.iter().zip(&large).map(|((name, a), (_, b))| {
        let (a, b) = (a.ceil() - 254.0, b.ceil() - 254.0);
        format!("| {name} | 2^{a} | 2^{b} |\n")
    });
    let missing: String = rows.filter(|row| !page.contains(row)).collect();
    assert!(missing.is_empty(), "docs/soundness.md lacks:\n{missing}");
    for terms in [small, large] {
        let total: f64 = terms.iter().map(|(_, n)| (n - 254.0).exp2()).sum();
        assert!(total.log2() < -190.0, "{terms:?}");
    }
}
