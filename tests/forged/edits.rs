//! Named edits of a proof file: what a forger would change by hand, and the reason for each refusal.

use nanozk::curve::{PointBytes, ScalarBytes};
use nanozk::proof::statement::link;
use nanozk::proof::{LayerProofs, ProofFile, Stop};

use crate::{
    IDENTITY, NO_POINT, NO_SCALAR, Proofs, all_refused, bundle, bundle_of, layers, layers_of,
    negate, nudge, scene,
};

/// Changes a proof; the second is a valid proof of another prompt, to take parts from.
type Edit = fn(&mut ProofFile, &ProofFile);
type Case = (&'static str, Edit);

/// Applies every edit, each to a fresh copy of the first proof, and wants every result refused.
fn edits_are_refused(cases: &[Case], proofs: &Proofs) {
    all_refused("edit", cases.len(), |n| {
        let (name, edit) = cases[n];
        let mut edited = proofs.first.clone();
        edit(&mut edited, &proofs.other_prompt);
        assert!(edited != proofs.first, "{name}: changes nothing");
        Some((name.to_string(), edited))
    });
}

/// A point of the curve that stands elsewhere in the proof.
fn another_point(proof: &ProofFile) -> PointBytes {
    bundle_of(proof).opening.column_rounds[3].0
}

/// Recomputes a link of the chain from the boundary commitments that the file now has, as a
/// forger would.
fn relink(proof: &mut ProofFile, index: usize) {
    let width = scene().model.model.manifest.architecture.width;
    let points: Vec<_> = proof.boundaries[index]
        .iter()
        .map(|p| p.decode().expect("a point"))
        .collect();
    let padded = proof.statement.padded as usize;
    proof.statement.chain[index] = link(index, padded, width, &points);
}

const STATEMENT: &[Case] = &[
    ("another last output token", |p, _| {
        p.statement.output[1] ^= 1;
    }),
    ("another first output token", |p, _| {
        p.statement.output[0] ^= 1;
    }),
    ("another output", |p, _| {
        p.statement.output = vec![7, 8];
    }),
    ("an output token beyond the vocabulary", |p, _| {
        p.statement.output[1] = u32::MAX;
    }),
    ("the last output token dropped", |p, _| {
        p.statement.output.pop();
    }),
    ("all output tokens dropped", |p, _| {
        p.statement.output.clear();
    }),
    ("an output token added", |p, _| {
        p.statement.output.push(5);
    }),
    ("an output token added to the prompt's padding", |p, _| {
        p.statement.output.insert(0, 0);
    }),
    ("a true statement that was not proved", |p, _| {
        let first = p.statement.output.remove(0);
        p.statement.prompt.push(first);
    }),
    ("the prompt's end claimed as output", |p, _| {
        let last = p.statement.prompt.pop().expect("a token");
        p.statement.output.insert(0, last);
    }),
    ("another prompt token", |p, _| p.statement.prompt[1] ^= 1),
    ("prompt tokens exchanged", |p, _| {
        p.statement.prompt.swap(0, 1);
    }),
    ("a prompt token beyond the vocabulary", |p, _| {
        p.statement.prompt[0] = u32::MAX;
    }),
    ("no prompt", |p, _| p.statement.prompt.clear()),
    ("a prompt longer than the context", |p, _| {
        p.statement.prompt = vec![1; 1000];
    }),
    ("another prompt's proof", |p, other| {
        p.statement.prompt.clone_from(&other.statement.prompt);
    }),
    ("another statement with its chain", |p, other| {
        p.statement = other.statement.clone();
    }),
    ("another statement with its boundaries", |p, other| {
        p.statement = other.statement.clone();
        p.boundaries.clone_from(&other.boundaries);
    }),
    ("stop flipped", |p, _| {
        p.statement.stop = Stop::EndOfText;
    }),
    ("padded doubled", |p, _| p.statement.padded *= 2),
    ("padded halved", |p, _| p.statement.padded /= 2),
    ("padded 0", |p, _| p.statement.padded = 0),
    ("padded 2^32 - 1", |p, _| p.statement.padded = u32::MAX),
    ("another model", |p, _| p.statement.model_id.0[31] ^= 1),
];

const CHAIN: &[Case] = &[
    ("the first link changed", |p, _| {
        p.statement.chain[0][0] ^= 1;
    }),
    ("the last link changed", |p, _| {
        p.statement.chain.last_mut().expect("a link")[31] ^= 0x80;
    }),
    ("links exchanged", |p, _| p.statement.chain.swap(1, 2)),
    ("links and boundaries exchanged", |p, _| {
        p.statement.chain.swap(1, 2);
        p.boundaries.swap(1, 2);
    }),
    ("a link dropped", |p, _| {
        p.statement.chain.pop();
    }),
    ("a link and its boundary dropped", |p, _| {
        p.statement.chain.pop();
        p.boundaries.pop();
    }),
    ("a link and a boundary added", |p, _| {
        p.statement.chain.push([0; 32]);
        let last = p.boundaries.last().expect("a boundary").clone();
        p.boundaries.push(last);
    }),
    ("boundaries exchanged", |p, _| p.boundaries.swap(1, 2)),
    ("boundaries exchanged and linked", |p, _| {
        p.boundaries.swap(1, 2);
        relink(p, 1);
        relink(p, 2);
    }),
    ("a boundary replaced by another point", |p, _| {
        p.boundaries[1][0] = another_point(p);
    }),
    ("a boundary replaced by another point and linked", |p, _| {
        p.boundaries[1][0] = another_point(p);
        relink(p, 1);
    }),
    ("the last boundary replaced and linked", |p, _| {
        let last = p.boundaries.len() - 1;
        p.boundaries[last][0] = another_point(p);
        relink(p, last);
    }),
    ("a boundary negated and linked", |p, _| {
        negate(&mut p.boundaries[0][0]);
        relink(p, 0);
    }),
    ("another proof's boundary and link", |p, other| {
        p.boundaries[2].clone_from(&other.boundaries[2]);
        p.statement.chain[2] = other.statement.chain[2];
    }),
    ("a boundary is the identity", |p, _| {
        p.boundaries[1][0] = IDENTITY;
    }),
    ("a boundary is no point", |p, _| {
        p.boundaries[1][0] = NO_POINT;
    }),
    ("a boundary without rows", |p, _| p.boundaries[1].clear()),
    ("a boundary with a row too many", |p, _| {
        let row = p.boundaries[1][0];
        p.boundaries[1].push(row);
    }),
    ("a boundary dropped", |p, _| {
        p.boundaries.pop();
    }),
];

const COMMITMENTS: &[Case] = &[
    ("a mask replaced", |p, _| {
        bundle(p).mask = another_point(p);
    }),
    ("a mask negated", |p, _| {
        negate(&mut bundle(p).mask);
    }),
    ("a mask is the identity", |p, _| {
        bundle(p).mask = IDENTITY;
    }),
    ("a mask is no point", |p, _| {
        bundle(p).mask = NO_POINT;
    }),
    ("a witness row replaced", |p, _| {
        bundle(p).witness[0] = another_point(p);
    }),
    ("the last witness row negated", |p, _| {
        negate(bundle(p).witness.last_mut().expect("a row"));
    }),
    ("witness and helper rows exchanged", |p, _| {
        let b = bundle(p);
        std::mem::swap(&mut b.witness[0], &mut b.helper[0]);
    }),
    ("witness rows exchanged", |p, _| {
        let rows = &mut bundle(p).witness;
        let last = rows.len() - 1;
        rows.swap(0, last);
    }),
    ("a witness row dropped", |p, _| {
        bundle(p).witness.pop();
    }),
    ("a witness row added", |p, _| {
        let extra = another_point(p);
        bundle(p).witness.push(extra);
    }),
    ("another proof's witness", |p, other| {
        let witness = &bundle_of(other).witness;
        bundle(p).witness.clone_from(witness);
    }),
    ("a helper row replaced", |p, _| {
        bundle(p).helper[0] = another_point(p);
    }),
    ("a helper row is the identity", |p, _| {
        bundle(p).helper[0] = IDENTITY;
    }),
    ("a helper row dropped", |p, _| {
        bundle(p).helper.pop();
    }),
];

const LAYERS: &[Case] = &[
    ("all layers of another proof", |p, other| {
        p.proofs = other.proofs.clone();
    }),
    ("a bundle relabelled as separate", |p, _| {
        p.proofs = LayerProofs::Separate(vec![bundle_of(p).clone()]);
    }),
    ("a bundle as every separate layer", |p, _| {
        p.proofs = LayerProofs::Separate(vec![bundle_of(p).clone(); p.statement.layers.len()]);
    }),
    ("no separate layers", |p, _| {
        p.proofs = LayerProofs::Separate(Vec::new());
    }),
];

const SCALARS: &[Case] = &[
    ("r changed", |p, _| nudge(&mut bundle(p).round[0])),
    ("the last r changed", |p, _| {
        nudge(bundle(p).round.last_mut().expect("a round"));
    }),
    ("r beyond the modulus", |p, _| {
        bundle(p).round[0] = NO_SCALAR;
    }),
    ("r exchanged", |p, _| bundle(p).round.swap(0, 1)),
    ("r dropped", |p, _| {
        bundle(p).round.pop();
    }),
    ("r added", |p, _| {
        bundle(p).round.push(ScalarBytes([0; 32]));
    }),
    ("rho changed", |p, _| nudge(&mut bundle(p).rho)),
    ("rho 0", |p, _| {
        bundle(p).rho = ScalarBytes([0; 32]);
    }),
    ("rho beyond the modulus", |p, _| {
        bundle(p).rho = NO_SCALAR;
    }),
    ("E changed", |p, _| nudge(&mut bundle(p).masked)),
    ("E 0", |p, _| {
        bundle(p).masked = ScalarBytes([0; 32]);
    }),
    ("E beyond the modulus", |p, _| {
        bundle(p).masked = NO_SCALAR;
    }),
];

const SEALS: &[Case] = &[
    ("a seal's first byte", |p, _| bundle(p).seal[0] ^= 1),
    ("a byte inside a seal", |p, _| {
        let seal = &mut bundle(p).seal;
        let middle = seal.len() / 2;
        seal[middle] ^= 4;
    }),
    ("a seal's last byte", |p, _| {
        *bundle(p).seal.last_mut().expect("a byte") ^= 1;
    }),
    ("a seal's last byte dropped", |p, _| {
        bundle(p).seal.pop();
    }),
    ("a byte after a seal", |p, _| bundle(p).seal.push(0)),
    ("a second seal after a seal", |p, _| {
        let again = bundle(p).seal.clone();
        bundle(p).seal.extend(again);
    }),
    ("an empty seal", |p, _| bundle(p).seal.clear()),
    ("a seal of zeros", |p, _| bundle(p).seal.fill(0)),
    ("a seal's halves exchanged", |p, _| {
        let seal = &mut bundle(p).seal;
        let half = seal.len() / 2;
        seal.rotate_left(half);
    }),
    ("another proof's seal", |p, other| {
        bundle(p).seal.clone_from(&bundle_of(other).seal);
    }),
];

const OPENING: &[Case] = &[
    ("L and R of a row round exchanged", |p, _| {
        let (l, r) = &mut bundle(p).opening.row_rounds[0];
        std::mem::swap(l, r);
    }),
    ("L and R of the last column round exchanged", |p, _| {
        let round = bundle(p).opening.column_rounds.last_mut();
        let (l, r) = round.expect("a round");
        std::mem::swap(l, r);
    }),
    ("row rounds exchanged", |p, _| {
        bundle(p).opening.row_rounds.swap(0, 1);
    }),
    ("column rounds exchanged", |p, _| {
        bundle(p).opening.column_rounds.swap(0, 1);
    }),
    ("a row round dropped", |p, _| {
        bundle(p).opening.row_rounds.pop();
    }),
    ("a column round dropped", |p, _| {
        bundle(p).opening.column_rounds.pop();
    }),
    ("a row round moved to the columns", |p, _| {
        let opening = &mut bundle(p).opening;
        let round = opening.row_rounds.pop().expect("a round");
        opening.column_rounds.insert(0, round);
    }),
    ("a column round added", |p, _| {
        let opening = &mut bundle(p).opening;
        let round = opening.column_rounds[0];
        opening.column_rounds.push(round);
    }),
    ("L of a row round replaced", |p, _| {
        bundle(p).opening.row_rounds[0].0 = another_point(p);
    }),
    ("R of a column round negated", |p, _| {
        negate(&mut bundle(p).opening.column_rounds[1].1);
    }),
    ("R of a column round is no point", |p, _| {
        bundle(p).opening.column_rounds[1].1 = NO_POINT;
    }),
    ("the opening's commitment replaced", |p, _| {
        bundle(p).opening.commitment = another_point(p);
    }),
    ("the data response changed", |p, _| {
        nudge(&mut bundle(p).opening.data_response);
    }),
    ("the blind response changed", |p, _| {
        nudge(&mut bundle(p).opening.blind_response);
    }),
    ("the responses exchanged", |p, _| {
        let o = &mut bundle(p).opening;
        std::mem::swap(&mut o.data_response, &mut o.blind_response);
    }),
    ("a response beyond the modulus", |p, _| {
        bundle(p).opening.data_response = NO_SCALAR;
    }),
    ("another proof's opening", |p, other| {
        bundle(p).opening = bundle_of(other).opening.clone();
    }),
];

const SEPARATE: &[Case] = &[
    ("two blocks exchanged", |p, _| layers(p).swap(1, 2)),
    ("embedding and head exchanged", |p, _| {
        let last = layers(p).len() - 1;
        layers(p).swap(0, last);
    }),
    ("two blocks' seals exchanged", |p, _| {
        let [_, a, b, ..] = layers(p).as_mut_slice() else {
            panic!("there are blocks")
        };
        std::mem::swap(&mut a.seal, &mut b.seal);
    }),
    ("the head dropped", |p, _| {
        layers(p).pop();
    }),
    ("a block dropped", |p, _| {
        layers(p).remove(2);
    }),
    ("a block proved twice in the place of another", |p, _| {
        layers(p)[2] = layers(p)[1].clone();
    }),
    ("a block too many", |p, _| {
        let block = layers(p)[1].clone();
        layers(p).insert(1, block);
    }),
    ("another prompt's embedding", |p, other| {
        layers(p)[0] = layers_of(other)[0].clone();
    }),
    ("another prompt's block", |p, other| {
        layers(p)[1] = layers_of(other)[1].clone();
    }),
    ("another prompt's head", |p, other| {
        let last = layers(p).len() - 1;
        layers(p)[last] = layers_of(other)[last].clone();
    }),
    ("another prompt's block with its boundaries", |p, other| {
        layers(p)[1] = layers_of(other)[1].clone();
        for boundary in [0, 1] {
            p.boundaries[boundary].clone_from(&other.boundaries[boundary]);
            p.statement.chain[boundary] = other.statement.chain[boundary];
        }
    }),
    ("a layer's proof as the whole bundle", |p, _| {
        p.proofs = LayerProofs::Bundled(Box::new(layers_of(p)[0].clone()));
    }),
    ("all layers' rows in one bundle", |p, _| {
        let mut all = layers_of(p)[0].clone();
        for layer in &layers_of(p)[1..] {
            all.witness.extend(layer.witness.clone());
            all.helper.extend(layer.helper.clone());
        }
        p.proofs = LayerProofs::Bundled(Box::new(all));
    }),
    ("two layers' openings exchanged", |p, _| {
        let [a, b] = &mut layers(p)[1..3] else {
            unreachable!("two blocks")
        };
        std::mem::swap(&mut a.opening, &mut b.opening);
    }),
    ("one layer's last response changed", |p, _| {
        nudge(&mut layers(p)[3].opening.blind_response);
    }),
    ("a byte after a layer's seal", |p, _| {
        layers(p)[1].seal.push(0);
    }),
];

/// A proof says nothing about any statement but its own, not even about a true one.
#[test]
fn an_edited_statement_is_refused() {
    edits_are_refused(STATEMENT, &scene().bundled);
}

/// The chain binds every boundary, in its place.
#[test]
fn an_edited_chain_or_boundary_is_refused() {
    edits_are_refused(CHAIN, &scene().bundled);
}

/// Every commitment is bound to its layer and its role, and is a point other than the identity.
#[test]
fn exchanged_or_replaced_commitments_are_refused() {
    edits_are_refused(COMMITMENTS, &scene().bundled);
}

/// Layers of a bundle cannot be moved, left out, repeated or taken from another proof.
#[test]
fn rearranged_layers_of_a_bundle_are_refused() {
    edits_are_refused(LAYERS, &scene().bundled);
}

/// The scalars that close a layer's conversation are bound and canonical.
#[test]
fn changed_scalars_are_refused() {
    edits_are_refused(SCALARS, &scene().bundled);
}

/// Seals are bound byte by byte; nothing may follow them unread.
#[test]
fn changed_seals_are_refused() {
    edits_are_refused(SEALS, &scene().bundled);
}

/// No part of the opening can be changed, moved or left out.
#[test]
fn a_changed_opening_is_refused() {
    edits_are_refused(OPENING, &scene().bundled);
}

/// A layer's own proof holds at its place in its own file only.
#[test]
fn rearranged_separate_proofs_are_refused() {
    edits_are_refused(SEPARATE, &scene().separate);
}
