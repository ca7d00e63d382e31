use pasta_curves::group::CurveAffine;

use super::*;
use crate::curve::{Generators, PointBytes};
use crate::layers::testing::{Shape, manifest};
use crate::proof::statement::{ModelId, Stop};
use crate::seal::KeyStore;

/// A file whose statement is right and whose boundaries are the chain's, without proofs, and the model
/// it speaks of.
fn unproved() -> (CommittedModel, ProofFile) {
    let shape = Shape {
        width: 64,
        layers: 1,
        vocabulary: 70,
        tied: true,
    };
    let model = CommittedModel::without_rows(manifest(shape), ModelId([3; 32]));
    let points = [EqAffine::generator()];
    let statement = Statement {
        model_id: model.id,
        prompt: vec![1, 2],
        output: vec![3],
        stop: Stop::Length,
        padded: 4,
        chain: (0..2).map(|i| link(i, 4, 64, &points)).collect(),
    };
    let proof = ProofFile {
        statement,
        boundaries: vec![vec![PointBytes::from(&points[0])]; 2],
        proofs: LayerProofs::Separate(Vec::new()),
    };
    (model, proof)
}

fn refusal(change: impl FnOnce(&mut ProofFile)) -> VerifyError {
    let setup = Setup {
        generators: Generators::derive(3),
        keys: KeyStore::new(None),
    };
    let (model, mut proof) = unproved();
    change(&mut proof);
    verify(&setup, &model, &proof).expect_err("it has no proofs")
}

/// Whoever proves a false statement of this kind from the start hashes it into the transcript, so that
/// these checks are all there is against it.
#[test]
fn what_is_wrong_before_any_proof_is_refused_as_such() {
    use StatementError::{Chain, Link, Padding};
    use VerifyError::{Boundary, BoundaryPoint, Layers, Model, Statement};
    let honest = refusal(|_| ());
    assert!(
        matches!(
            honest,
            Layers {
                expected: 3,
                found: 0
            }
        ),
        "{honest}"
    );
    let other = refusal(|p| p.statement.model_id = ModelId([4; 32]));
    assert!(matches!(other, Model { .. }), "{other}");
    let padded = refusal(|p| p.statement.padded = 8);
    assert!(
        matches!(
            padded,
            Statement(Padding {
                expected: 4,
                found: 8
            })
        ),
        "{padded}"
    );
    let missing = refusal(|p| drop(p.boundaries.pop()));
    assert!(
        matches!(
            missing,
            Statement(Chain {
                expected: 2,
                found: 1
            })
        ),
        "{missing}"
    );
    let unlinked = refusal(|p| p.statement.chain[1][0] ^= 1);
    assert!(matches!(unlinked, Statement(Link(1))), "{unlinked}");
    let broken = refusal(|p| p.boundaries[1][0] = PointBytes([0xff; 32]));
    assert!(matches!(broken, BoundaryPoint { index: 1, .. }), "{broken}");
    // A further row, of which the chain is made as well.
    let longer = refusal(|p| {
        let points = [EqAffine::generator(); 2];
        p.boundaries[0] = vec![PointBytes::from(&points[0]); 2];
        p.statement.chain[0] = link(0, 4, 64, &points);
    });
    assert!(
        matches!(
            longer,
            Boundary {
                index: 0,
                expected: 1,
                found: 2
            }
        ),
        "{longer}"
    );
}

#[test]
fn a_file_is_complete_with_all_layers() {
    let of = |n: usize| Verified {
        layers: LayerKind::all(1).take(n).collect(),
        total: 3,
    };
    assert!(of(3).complete() && !of(2).complete());
}
