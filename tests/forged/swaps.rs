//! Whole layers and boundaries in other places, and of other files.

use nanozk::proof::ProofFile;

use crate::parts::BUNDLE;
use crate::{Proofs, all_refused, bundle, bundle_of, layers, layers_of, scene};

/// Layers of the embedded model: embedding, four blocks, head.
const LAYERS: usize = 6;
const BOUNDARIES: usize = LAYERS - 1;

/// The files a layer can come from: itself, or one of the same or of another statement.
fn sources(proofs: &Proofs) -> [(&'static str, &ProofFile); 3] {
    [
        ("itself", &proofs.first),
        ("the same statement", &proofs.again),
        ("another prompt", &proofs.other_prompt),
    ]
}

/// Case `n` of every source, place and layer that is moved there.
fn moved(n: usize, proofs: &Proofs) -> ((&'static str, &ProofFile), usize, usize) {
    let (source, n) = (n / (LAYERS * LAYERS), n % (LAYERS * LAYERS));
    (sources(proofs)[source], n / LAYERS, n % LAYERS)
}

/// A row counts at its own place in its own bundle only: in the place of each row, the next one, and the same and the next of other
/// files.
#[test]
fn a_bundles_rows_cannot_be_moved() {
    let proofs = &scene().bundled;
    let rows = bundle_of(&proofs.first).witness.len();
    let helpers = bundle_of(&proofs.first).helper.len();
    all_refused("splice: rows in a bundle", 6 * (rows + helpers), |n| {
        let (name, source) = sources(proofs)[n % 3];
        let (step, to) = (n / 3 % 2, n / 6);
        let mut proof = proofs.first.clone();
        let (b, c) = (bundle(&mut proof), bundle_of(source));
        if to < rows {
            b.witness[to] = c.witness[(to + step) % rows];
        } else {
            let to = to - rows;
            b.helper[to] = c.helper[(to + step) % helpers];
        }
        (proof != proofs.first).then(|| (format!("{step} behind row {to} of {name}"), proof))
    });
}

/// A layer's own proof counts at its own place in its own file only. (Another prompt's are among the
/// edits.)
#[test]
fn a_separate_proof_cannot_be_moved() {
    let proofs = &scene().separate;
    all_refused("splice: separate proofs", 2 * LAYERS * LAYERS, |n| {
        let ((name, source), to, from) = moved(n, proofs);
        let mut proof = proofs.first.clone();
        layers(&mut proof)[to] = layers_of(source)[from].clone();
        (proof != proofs.first).then(|| (format!("layer {from} of {name} as {to}"), proof))
    });
}

/// The first file with the layers and the boundaries, with their links, of a set from the second.
fn exchanged(proofs: &Proofs, layer_set: usize, boundary_set: usize) -> ProofFile {
    let mut proof = proofs.first.clone();
    for l in (0..LAYERS).filter(|l| layer_set >> l & 1 == 1) {
        layers(&mut proof)[l] = layers_of(&proofs.again)[l].clone();
    }
    for b in (0..BOUNDARIES).filter(|b| boundary_set >> b & 1 == 1) {
        proof.boundaries[b].clone_from(&proofs.again.boundaries[b]);
        proof.statement.chain[b] = proofs.again.statement.chain[b];
    }
    proof
}

fn exchanged_are_refused(what: &str, sets: &[(usize, usize)]) {
    let proofs = &scene().separate;
    all_refused(&format!("splice: {what}"), sets.len(), |n| {
        let (layers, boundaries) = sets[n];
        let proof = exchanged(proofs, layers, boundaries);
        let untouched = proof == proofs.first || proof == proofs.again;
        let name = format!("layers {layers:06b}, boundaries {boundaries:05b}");
        (!untouched).then_some((name, proof))
    });
}

/// Of two proofs of one statement, each layer alone, with no boundary, with the ones it touches and
/// with all.
#[test]
fn separate_layers_of_one_statement_cannot_be_exchanged() {
    let sets: Vec<_> = (0..LAYERS)
        .flat_map(|l| {
            let touched = (0b11 << l >> 1) & ((1 << BOUNDARIES) - 1);
            [0, touched, (1 << BOUNDARIES) - 1].map(|boundaries| (1 << l, boundaries))
        })
        .collect();
    exchanged_are_refused("one separate layer", &sets);
}

/// Every set of layers with every set of boundaries.
#[test]
#[ignore = "exhaustive: 2046 combinations"]
fn no_exchange_of_separate_layers_is_accepted() {
    let sets: Vec<_> = (0..1 << LAYERS)
        .flat_map(|l| (0..1 << BOUNDARIES).map(move |b| (l, b)))
        .collect();
    exchanged_are_refused("separate layers, all sets", &sets);
}

/// Every set of boundaries, with their links, in a bundled file.
#[test]
fn boundaries_of_one_statement_cannot_be_exchanged() {
    let proofs = &scene().bundled;
    all_refused("splice: boundaries", 1 << BOUNDARIES, |set| {
        let mut proof = proofs.first.clone();
        for b in (0..BOUNDARIES).filter(|b| set >> b & 1 == 1) {
            proof.boundaries[b].clone_from(&proofs.again.boundaries[b]);
            proof.statement.chain[b] = proofs.again.statement.chain[b];
        }
        (set != 0).then(|| (format!("boundaries {set:05b}"), proof))
    });
}

/// The parts of one layer's proof taken from the other proof of its statement.
fn parts_are_refused(what: &str, layers_tried: &[usize], parts: &[usize]) {
    let proofs = &scene().separate;
    let count = layers_tried.len() * parts.len();
    all_refused(&format!("splice: {what}"), count, |n| {
        let (l, set) = (layers_tried[n / parts.len()], parts[n % parts.len()]);
        let mut proof = proofs.first.clone();
        let mut names = format!("layer {l}:");
        for (_, (name, take)) in BUNDLE.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1) {
            take(&mut layers(&mut proof)[l], &layers_of(&proofs.again)[l]);
            names = format!("{names} {name}");
        }
        Some((names, proof))
    });
}

/// Each part of a block's proof.
#[test]
fn parts_of_a_separate_proof_cannot_be_exchanged() {
    let single: Vec<usize> = (0..BUNDLE.len()).map(|i| 1 << i).collect();
    parts_are_refused("one part of a layer's proof", &[2], &single);
}

/// Every layer, every set of up to two parts from either proof.
#[test]
#[ignore = "exhaustive: 792 combinations"]
fn no_exchange_within_a_separate_proof_is_accepted() {
    let n = BUNDLE.len() as u32;
    let sets: Vec<usize> = (1..1 << n)
        .filter(|set: &usize| set.count_ones() <= 2 || n - set.count_ones() <= 2)
        .collect();
    parts_are_refused("parts of each layer's proof", &[0, 1, 2, 3, 4, 5], &sets);
}
