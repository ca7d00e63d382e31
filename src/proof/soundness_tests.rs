//! The statistical part of the error bound, for the shapes of real models: what remains after
//! Schwartz and Zippel if discrete logarithms are hard and hashes are random oracles. The terms are
//! those of `docs/soundness.md`, "Error bound".

use super::LayerKind;
use super::systems;
use crate::argument::claims::Layer;
use crate::argument::layout::{LOOKUP_LANES, Tiling};
use crate::argument::stack::Conversation;
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
    let all = systems::layers(&manifest, &sequence, &kinds);
    let [embedding, block, head] = &all[..] else {
        panic!("three kinds of layers")
    };
    // One block stands for all.
    let blocks_of = std::iter::repeat_n(block, blocks);
    let layers: Vec<&Layer> = std::iter::once(embedding)
        .chain(blocks_of)
        .chain([head])
        .collect();
    let sum = |f: &dyn Fn(&Layer) -> usize| layers.iter().map(|l| f(l)).sum::<usize>() as f64;
    let lookups = sum(&|l| LOOKUP_LANES * l.layout.lane_len);
    let conversation = Conversation::new(layers.clone());
    let forms = || {
        conversation
            .stacks
            .iter()
            .map(|s| &layers[s.layers[0]].plan)
    };
    let rounds = conversation.rounds() as f64;
    let shape = conversation.shape().expect("it is proved");
    // In the shortest rows that there are.
    let rows = sum(&|l| {
        let values = [
            l.layout.witness_len,
            l.layout.lane_len,
            l.layout.vectors_len,
        ];
        let rows = values.map(|len| len.div_ceil(1 << Tiling::MIN_ROW_BITS));
        rows.iter().sum::<usize>() + l.folds.len()
    });
    let boundaries = (blocks + 1) as f64 * (width * context) as f64;
    let shortest = f64::from(1 << Tiling::MIN_ROW_BITS);
    let row_rounds = (rows + (boundaries + table_rows) / shortest).log2().ceil();
    let numerators = [
        ("lookups, α", 2.0 * lookups * table_rows),
        ("lookups, β", 2.0 * lookups + table_rows),
        ("relations, τ", rounds),
        (
            "relations, λ",
            forms().map(|p| p.weights).sum::<usize>() as f64,
        ),
        ("sumcheck, r", rounds * shape.degree() as f64),
        ("claims, ρ", shape.claims() as f64 + 1.0),
        ("balance, χ", 1.0),
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
