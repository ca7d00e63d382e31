use pasta_curves::group::CurveAffine;

use super::*;
use crate::argument::claims::Layer;
use crate::commit::opening::{OpeningError, OpeningProof};
use crate::curve::GeneratorStore;
use crate::layers::testing::{Shape, manifest};
use crate::layers::{LayerKind, Sequence, system};
use crate::quant::{Manifest, Tables};
use crate::seal::bundle::LayerPublic;

/// A block of the smallest model, without a proof: its counts are right, its points are none.
struct Dummy {
    tables: Tables,
    layer: Layer,
    matrices: Vec<Vec<EqAffine>>,
    vectors: Vec<EqAffine>,
    boundaries: Vec<Vec<EqAffine>>,
    proof: BundleProof,
}

fn small() -> Manifest {
    manifest(Shape {
        width: 64,
        layers: 1,
        vocabulary: 70,
        tied: true,
    })
}

fn layer(kind: LayerKind) -> Layer {
    let manifest = small();
    let sequence = Sequence::new(&[1, 2], &[3], &manifest.architecture).expect("well formed");
    Layer::new(system(&manifest, &sequence, kind), 12)
}

const POINT: PointBytes = PointBytes([0xff; 32]);

impl Dummy {
    fn new() -> Self {
        let layer = layer(LayerKind::Block(0));
        let tables = Tables::new(&small().scales, small().architecture.activation);
        let points = |n: usize| vec![EqAffine::generator(); n];
        let layout = &layer.layout;
        let [input, output] = [layout.boundary_in_len, layout.boundary_out_len];
        let boundaries = vec![points(layout.rows(input)), points(layout.rows(output))];
        let matrices = layer.matrix_rows().into_iter().map(|(_, n)| points(n));
        let (matrices, vectors) = (matrices.collect(), points(layout.rows(layout.vectors_len)));
        let scalar = ScalarBytes::from(&F::ONE);
        let proof = BundleProof {
            mask: POINT,
            witness: Vec::new(),
            helper: Vec::new(),
            round: vec![scalar; layer.plan.rounds],
            rho: scalar,
            masked: scalar,
            seal: Vec::new(),
            opening: OpeningProof {
                row_rounds: Vec::new(),
                column_rounds: Vec::new(),
                commitment: POINT,
                data_response: scalar,
                blind_response: scalar,
            },
        };
        let mut dummy = Self {
            tables,
            layer,
            matrices,
            vectors,
            boundaries,
            proof,
        };
        let map = dummy.with_public(|public| RowMap::new(public, &public.conversation()));
        let rounds = map.rows.next_power_of_two().ilog2() as usize;
        dummy.proof.witness = vec![POINT; map.witness_rows];
        dummy.proof.helper = vec![POINT; map.helper_rows];
        dummy.proof.opening.row_rounds = vec![(POINT, POINT); rounds];
        dummy.proof.opening.column_rounds = vec![(POINT, POINT); map.row_bits];
        dummy
    }

    fn with_public<T>(&self, use_it: impl FnOnce(&BundlePublic) -> T) -> T {
        let layer = LayerPublic {
            layer: &self.layer,
            index: 1,
            matrices: self.matrices.iter().map(|m| &m[..]).collect(),
            vectors: &self.vectors,
            boundary_in: Some(0),
            boundary_out: Some(1),
        };
        use_it(&BundlePublic {
            generators: &GeneratorStore::default(),
            tables: self.tables.all(),
            layers: &[layer],
            boundaries: &self.boundaries,
        })
    }

    /// Why [`verify`] refuses it.
    fn refusal(&self) -> BundleError {
        let mut transcript = Transcript::new("test", &[1; 32]);
        let keys = KeyStore::new(None);
        self.with_public(|public| {
            let verified = verify(public, &self.proof, &keys, &mut transcript);
            verified.err().expect("its points are none")
        })
    }
}

/// Each count is compared with the shape's before a point is decoded, whether one is missing or left over.
#[test]
fn every_count_is_checked_first() {
    type Change = fn(&mut Dummy);
    fn less<T>(all: &mut Vec<T>) {
        all.pop().expect("there is one");
    }
    fn more<T: Clone>(all: &mut Vec<T>) {
        all.push(all[0].clone());
    }
    assert!(matches!(
        Dummy::new().refusal(),
        BundleError::Encoding { .. }
    ));
    let totals: [(&str, [Change; 2]); 3] = [
        (
            "witness rows",
            [
                |d| less(&mut d.proof.witness),
                |d| more(&mut d.proof.witness),
            ],
        ),
        (
            "helper rows",
            [|d| less(&mut d.proof.helper), |d| more(&mut d.proof.helper)],
        ),
        (
            "rounds",
            [|d| less(&mut d.proof.round), |d| more(&mut d.proof.round)],
        ),
    ];
    for (name, changes) in totals {
        for change in changes {
            let mut dummy = Dummy::new();
            change(&mut dummy);
            let refusal = dummy.refusal();
            assert!(matches!(refusal, BundleError::Total { what, .. } if what == name));
        }
    }
    let rounds: [(&str, [Change; 2]); 2] = [
        (
            "row",
            [
                |d| less(&mut d.proof.opening.row_rounds),
                |d| more(&mut d.proof.opening.row_rounds),
            ],
        ),
        (
            "column",
            [
                |d| less(&mut d.proof.opening.column_rounds),
                |d| more(&mut d.proof.opening.column_rounds),
            ],
        ),
    ];
    for (name, changes) in rounds {
        for change in changes {
            let mut dummy = Dummy::new();
            change(&mut dummy);
            let refusal = dummy.refusal();
            let named = matches!(
                refusal,
                BundleError::Opening(OpeningError::Rounds { kind, .. }) if kind == name
            );
            assert!(named, "{name}: {refusal}");
        }
    }
    let counts: [(&str, [Change; 2]); 4] = [
        (
            "vector rows",
            [|d| less(&mut d.vectors), |d| more(&mut d.vectors)],
        ),
        (
            "input rows",
            [
                |d| less(&mut d.boundaries[0]),
                |d| more(&mut d.boundaries[0]),
            ],
        ),
        (
            "output rows",
            [
                |d| less(&mut d.boundaries[1]),
                |d| more(&mut d.boundaries[1]),
            ],
        ),
        (
            "matrix rows",
            [|d| less(&mut d.matrices), |d| more(&mut d.matrices[5])],
        ),
    ];
    for (name, changes) in counts {
        for change in changes {
            let mut dummy = Dummy::new();
            change(&mut dummy);
            let refusal = dummy.refusal();
            let named =
                matches!(refusal, BundleError::Count { layer: 1, what, .. } if what == name);
            assert!(named, "{name}: {refusal}");
        }
    }
}

/// α depends on which layer of the model it is, and on its system.
#[test]
fn a_layer_is_absorbed_with_its_place_and_system() {
    let after = |index: u32, kind: LayerKind| {
        let layer = layer(kind);
        let public = LayerPublic {
            layer: &layer,
            index,
            matrices: Vec::new(),
            vectors: &[],
            boundary_in: None,
            boundary_out: None,
        };
        let public = BundlePublic {
            generators: &GeneratorStore::default(),
            tables: &[],
            layers: &[public],
            boundaries: &[],
        };
        let mut transcript = Transcript::new("test", &[1; 32]);
        absorb_headers(&mut transcript, &public);
        transcript.challenge("alpha")
    };
    let honest = after(1, LayerKind::Embedding);
    assert_ne!(after(2, LayerKind::Embedding), honest);
    assert_ne!(after(1, LayerKind::Head), honest);
}
