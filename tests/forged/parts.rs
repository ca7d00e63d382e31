//! The parts of a proof file, by name: what a splice takes from another file.

use nanozk::curve::{PointBytes, ScalarBytes};
use nanozk::proof::{LayerProofs, ProofFile};
use nanozk::seal::bundle::BundleProof;

/// Takes a part of the second proof into the first.
pub type Part<T> = (&'static str, fn(&mut T, &T));

/// What is outside of the layers' proofs. T' and the reason for stopping are the same in all files of
/// one shape here.
pub const FRAME: [Part<ProofFile>; 5] = [
    ("model id", |p, q| {
        p.statement.model_id = q.statement.model_id
    }),
    ("prompt", |p, q| {
        p.statement.prompt.clone_from(&q.statement.prompt)
    }),
    ("output", |p, q| {
        p.statement.output.clone_from(&q.statement.output)
    }),
    ("chain", |p, q| {
        p.statement.chain.clone_from(&q.statement.chain)
    }),
    ("boundaries", |p, q| p.boundaries.clone_from(&q.boundaries)),
];

/// What a bundle is made of.
pub const BUNDLE: [Part<BundleProof>; 10] = [
    ("mask", |b, c| b.mask = c.mask),
    ("witness rows", |b, c| b.witness.clone_from(&c.witness)),
    ("helper rows", |b, c| b.helper.clone_from(&c.helper)),
    ("r", |b, c| b.round.clone_from(&c.round)),
    ("rho", |b, c| b.rho = c.rho),
    ("E", |b, c| b.masked = c.masked),
    ("seal", |b, c| b.seal.clone_from(&c.seal)),
    ("row rounds", |b, c| {
        b.opening.row_rounds.clone_from(&c.opening.row_rounds);
    }),
    ("column rounds", |b, c| {
        b.opening.column_rounds.clone_from(&c.opening.column_rounds);
    }),
    ("opening's end", |b, c| {
        b.opening.commitment = c.opening.commitment;
        b.opening.data_response = c.opening.data_response;
        b.opening.blind_response = c.opening.blind_response;
    }),
];

/// The bundles of a file: one, or one per layer.
pub fn bundles(proof: &mut ProofFile) -> &mut [BundleProof] {
    match &mut proof.proofs {
        LayerProofs::Bundled(b) => std::slice::from_mut(b.as_mut()),
        LayerProofs::Separate(p) => p,
    }
}

/// Every point of a file.
pub fn points(proof: &mut ProofFile) -> Vec<&mut PointBytes> {
    let mut points = Vec::new();
    let bundles = match &mut proof.proofs {
        LayerProofs::Bundled(b) => std::slice::from_mut(b.as_mut()),
        LayerProofs::Separate(p) => p,
    };
    points.extend(proof.boundaries.iter_mut().flatten());
    for b in bundles {
        points.push(&mut b.mask);
        points.extend(b.witness.iter_mut().chain(&mut b.helper));
        let o = &mut b.opening;
        for (l, r) in o.row_rounds.iter_mut().chain(&mut o.column_rounds) {
            points.extend([l, r]);
        }
        points.push(&mut o.commitment);
    }
    points
}

/// Every scalar of a file.
pub fn scalars(proof: &mut ProofFile) -> Vec<&mut ScalarBytes> {
    let mut scalars = Vec::new();
    for b in bundles(proof) {
        scalars.extend(b.round.iter_mut().chain([&mut b.rho, &mut b.masked]));
        let o = &mut b.opening;
        scalars.extend([&mut o.data_response, &mut o.blind_response]);
    }
    scalars
}
