//! Provers with another model than the committed one, who say all the same that it is the committed
//! one; and verifiers with another key. The id is forced, so that the argument itself must refuse.

use nanozk::proof::BlindingSeed;
use nanozk::proof::{Layers, Mode, OpenedModel, ProveOptions, VerifyingKey, commit_model, prove};
use nanozk::quant::{IntMatrix, IntegerModel};
use rayon::prelude::*;

use crate::{PROMPTS, Verdict, open, scene, verdict, verdict_by};

type Change = fn(&mut IntegerModel);

/// What the honest verifier says to a proof of `model` that names the honest model.
fn relabelled(model: &OpenedModel) -> Verdict {
    let options = ProveOptions {
        max_new_tokens: 2,
        mode: Mode::Bundled,
        layers: Layers::All,
    };
    let setup = &scene().setup;
    match prove(setup, model, &PROMPTS[0], &options, &|_| {}) {
        Ok((proof, _)) => verdict(&proof),
        Err(e) => panic!("not proved: {e}"),
    }
}

fn assert_refused(name: &str, verdict: &Verdict) {
    assert!(
        matches!(verdict, Verdict::Refused(_)),
        "{name}: {verdict:?}"
    );
    println!("{name}: {verdict:?}");
}

/// Other weights behind the honest commitments and blinds: everything else is computed from them as it
/// should be.
#[test]
fn a_prover_with_other_weights_is_refused() {
    let honest = &scene().model.model;
    let changes: [(&str, Change); 4] = [
        // The values of one block need not fit the other's scales: those of this matrix do.
        ("a matrix of two blocks exchanged", |m| {
            let (first, second) = m.blocks.split_at_mut(2);
            std::mem::swap(&mut first[1].down, &mut second[0].down);
        }),
        ("a weight", |m| m.blocks[3].down.data[100] -= 1),
        ("a token's embedding", |m| m.tokens.data[65] += 1),
        ("the last gain", |m| m.head.gain[5] += 1),
    ];
    for (name, change) in changes {
        let mut cheat = open(&scene().setup, honest.clone());
        change(&mut cheat.model);
        assert_refused(name, &relabelled(&cheat));
    }
}

/// Another shape, proved as it is, with the honest model's id: the largest logit over fewer tokens;
/// another end of text.
#[test]
fn a_prover_with_another_shape_is_refused() {
    let honest = &scene().model;
    let changes: [(&str, Change); 3] = [
        ("a shorter vocabulary", |m| {
            let (all, fewer) = (m.tokens.outputs, m.tokens.outputs - 100);
            let rows = m.tokens.data.chunks(all);
            m.tokens = IntMatrix {
                inputs: m.tokens.inputs,
                outputs: fewer,
                data: rows.flat_map(|row| &row[..fewer]).copied().collect(),
            };
            m.manifest.architecture.vocabulary = fewer;
        }),
        ("another end of text", |m| {
            m.manifest.architecture.end_of_text = vec![1];
        }),
        ("one more end of text", |m| {
            m.manifest.architecture.end_of_text.push(1);
        }),
    ];
    for (name, change) in changes {
        let mut model = honest.model.clone();
        change(&mut model);
        let mut cheat = open(&scene().setup, model);
        cheat.committed.id = honest.committed.id;
        assert_refused(name, &relabelled(&cheat));
    }
}

/// A proof of the model without a block, filled up with copies of another layer's messages.
#[test]
fn a_missing_layer_cannot_be_filled_up() {
    let honest = &scene().model;
    let mut model = honest.model.clone();
    model.blocks.remove(2);
    model.manifest.scales.blocks.remove(2);
    model.manifest.architecture.layers -= 1;
    model.manifest.architecture.kind_of.pop();
    let mut cheat = open(&scene().setup, model);
    cheat.committed.id = honest.committed.id;
    let options = ProveOptions {
        max_new_tokens: 2,
        mode: Mode::Separate,
        layers: Layers::All,
    };
    let (mut proof, _) =
        prove(&scene().setup, &cheat, &PROMPTS[0], &options, &|_| {}).expect("proved");
    assert_refused("a layer less", &verdict(&proof));
    let block = crate::layers(&mut proof)[2].clone();
    crate::layers(&mut proof).insert(2, block);
    assert_refused("a layer twice", &verdict(&proof));
    let link = proof.statement.chain[2];
    proof.statement.chain.insert(2, link);
    let rows = proof.boundaries[2].clone();
    proof.boundaries.insert(2, rows);
    assert_refused("its boundary twice", &verdict(&proof));
    let width = honest.model.manifest.architecture.width;
    let padded = proof.statement.padded as usize;
    for (i, rows) in proof.boundaries.iter().enumerate() {
        let rows: Vec<_> = rows.iter().map(|p| p.decode().expect("a point")).collect();
        proof.statement.chain[i] = nanozk::proof::statement::link(i, padded, width, &rows);
    }
    assert_refused("and linked", &verdict(&proof));
}

/// Each row of the committed weights decides: the verifier's key has another point in its place.
#[test]
fn every_weight_tensor_of_the_key_is_used() {
    let honest = &scene().model;
    let key: VerifyingKey = commit_model(
        &honest.model,
        &BlindingSeed::OPEN,
        &scene().setup.generators,
        &|_, _| {},
    );
    assert_eq!(key.id(), honest.committed.id);
    let passed: Vec<_> = (0..key.rows.len())
        .into_par_iter()
        .filter_map(|tensor| {
            let mut other = key.clone();
            crate::negate(other.rows[tensor].last_mut().expect("a row"));
            let mut other = other.decode().expect("a well-formed key");
            assert_ne!(
                other.id, honest.committed.id,
                "the id covers tensor {tensor}"
            );
            other.id = honest.committed.id;
            let verdict = verdict_by(&other, &scene().bundled.first);
            (!matches!(verdict, Verdict::Refused(_))).then_some((tensor, verdict))
        })
        .collect();
    println!(
        "key: {} tensors altered, {} rejected",
        key.rows.len(),
        key.rows.len() - passed.len()
    );
    assert!(passed.is_empty(), "{passed:?}");
}
