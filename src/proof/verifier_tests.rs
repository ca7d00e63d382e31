use std::sync::Arc;

use ff::Field;
use pasta_curves::group::CurveAffine;

use super::*;
use crate::algebra::F;
use crate::argument::hidden::{HiddenInstance, HiddenShape};
use crate::commit::OpeningProof;
use crate::curve::{GeneratorStore, Generators, PointBytes, ScalarBytes};
use crate::layers::testing::{Shape, manifest};
use crate::proof::statement::{ModelId, Selection, Stop};
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
        layers: vec![0, 1, 2],
        selection: Selection::Chosen,
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
        generators: GeneratorStore::default(),
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
    let fewer = refusal(|p| p.statement.layers.truncate(1));
    assert!(
        matches!(
            fewer,
            Layers {
                expected: 1,
                found: 0
            }
        ),
        "{fewer}"
    );
    let none = refusal(|p| p.statement.layers.clear());
    assert!(
        matches!(none, Statement(StatementError::Layers { .. })),
        "{none}"
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
    let unlinked = refusal(|p| {
        p.proofs = counted();
        p.statement.chain[1][0] ^= 1;
    });
    assert!(matches!(unlinked, Statement(Link(1))), "{unlinked}");
    let broken = refusal(|p| {
        p.proofs = counted();
        p.boundaries[1][0] = PointBytes([0xff; 32]);
    });
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

/// A seal that was false from the start is in the transcript as it is, and each bundle has equations of its
/// own: the sums over all are the only place where either shows.
#[test]
fn a_false_seal_or_equation_of_any_bundle_is_refused() {
    let keys = KeyStore::new(None);
    let shape = HiddenShape::new(1, 2, vec![false], vec![vec![0]]).expect("a good shape");
    let instance = HiddenInstance::new(&shape, F::ONE, &[F::ONE], &[], &[F::ONE], F::ONE, F::ONE);
    let instance = instance.expect("of the shape's lengths");
    let sealed = || Sealed {
        keys: keys.for_shape(&shape).expect("small"),
        instances: vec![instance.clone()],
        proof: b"no proof",
    };
    let generators = Arc::new(Generators::derive(3));
    let proof = no_proof();
    let kinds: Vec<LayerKind> = LayerKind::all(1).collect();
    let bundles: Vec<Bundle> = kinds
        .chunks(1)
        .map(|kinds| Bundle {
            kinds,
            proof: &proof,
        })
        .collect();
    let settled = |false_equation: Option<usize>, false_seal: Option<usize>| {
        let rest = (0..3).map(|i| {
            let mut msm = FinalMsm::new(generators.clone(), &mut fresh_rng().expect("randomness"));
            if false_equation == Some(i) {
                msm.equation().point(F::ONE, EqAffine::generator());
            }
            let seals = (false_seal == Some(i)).then(sealed);
            (msm, seals.into_iter().map(|s| (i, s)).collect())
        });
        settle(&bundles, rest.reduce(merge).expect("three"))
    };
    assert!(settled(None, None).is_ok());
    for (i, kind) in kinds.iter().enumerate() {
        assert!(matches!(settled(Some(i), None), Err(VerifyError::Opening)));
        match settled(None, Some(i)) {
            Err(VerifyError::Layer { layer, source }) => {
                assert!(layer == *kind && matches!(source, BundleError::Seal(_)));
            }
            other => panic!("seal {i}: {other:?}"),
        }
    }
}

/// A proof for each of three layers, with nothing in it.
fn counted() -> LayerProofs {
    LayerProofs::Separate(vec![no_proof(); 3])
}

/// A bundle's proof with nothing in it.
fn no_proof() -> BundleProof {
    let scalar = ScalarBytes::from(&F::ONE);
    BundleProof {
        mask: PointBytes([0xff; 32]),
        witness: Vec::new(),
        helper: Vec::new(),
        round: Vec::new(),
        rho: scalar,
        masked: scalar,
        seal: Vec::new(),
        opening: OpeningProof {
            row_rounds: Vec::new(),
            column_rounds: Vec::new(),
            commitment: PointBytes([0xff; 32]),
            data_response: scalar,
            blind_response: scalar,
        },
    }
}

#[test]
fn a_file_is_complete_with_all_layers() {
    let of = |n: usize| Verified {
        layers: LayerKind::all(1).take(n).collect(),
        total: 3,
    };
    assert!(of(3).complete() && !of(2).complete());
}
