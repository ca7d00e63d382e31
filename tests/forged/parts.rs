//! The parts of a proof file, by name: what a splice takes from another file.

use nanozk::curve::{PointBytes, ScalarBytes};
use nanozk::proof::{LayerProofs, ProofFile};
use nanozk::seal::bundle::{BundleProof, LayerMessages};

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
pub const BUNDLE: [Part<BundleProof>; 11] = [
    ("masks", |b, c| of_layers(b, c, |l, m| l.mask = m.mask)),
    ("witness rows", |b, c| {
        of_layers(b, c, |l, m| l.witness.clone_from(&m.witness));
    }),
    ("helper rows", |b, c| {
        of_layers(b, c, |l, m| l.helper.clone_from(&m.helper));
    }),
    ("multiplicities", |b, c| {
        b.multiplicities.clone_from(&c.multiplicities)
    }),
    ("r", |b, c| {
        of_layers(b, c, |l, m| l.round.clone_from(&m.round))
    }),
    ("rho", |b, c| of_layers(b, c, |l, m| l.rho = m.rho)),
    ("E", |b, c| of_layers(b, c, |l, m| l.masked = m.masked)),
    ("seals", |b, c| b.seals.clone_from(&c.seals)),
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

fn of_layers(
    to: &mut BundleProof,
    from: &BundleProof,
    take: impl Fn(&mut LayerMessages, &LayerMessages),
) {
    for (l, m) in to.layers.iter_mut().zip(&from.layers) {
        take(l, m);
    }
}

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
        for l in &mut b.layers {
            points.push(&mut l.mask);
            points.extend(l.witness.iter_mut().chain(&mut l.helper));
        }
        points.extend(&mut b.multiplicities);
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
        for l in &mut b.layers {
            scalars.extend(l.round.iter_mut().chain([&mut l.rho, &mut l.masked]));
        }
        let o = &mut b.opening;
        scalars.extend([&mut o.data_response, &mut o.blind_response]);
    }
    scalars
}
