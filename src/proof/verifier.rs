//! Verifying a proof file.

use pasta_curves::EqAffine;
use rayon::prelude::*;

use super::error::VerifyError;
use super::key::CommittedModel;
use super::setup::{ROW_BITS, Setup};
use super::statement::{Statement, StatementError, link};
use super::{LayerKind, LayerProofs, ProofFile, systems};
use crate::argument::claims::Layer;
use crate::commit::{FinalMsm, fresh_rng};
use crate::curve::decode_points;
use crate::seal::bundle::{self, BundleError, BundleProof, BundlePublic};

/// What a valid proof file shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The layers that were proved.
    pub layers: Vec<LayerKind>,
    /// How many the model has.
    pub total: usize,
}

impl Verified {
    /// Whether every layer of the model was proved.
    pub fn complete(&self) -> bool {
        self.layers.len() == self.total
    }
}

/// Checks everything a proof file claims. Every failure is an error with its reason.
pub fn verify(
    setup: &Setup,
    model: &CommittedModel,
    proof: &ProofFile,
) -> Result<Verified, VerifyError> {
    let (manifest, statement) = (&model.manifest, &proof.statement);
    let a = &manifest.architecture;
    if statement.model_id != model.id {
        return Err(VerifyError::Model {
            claimed: statement.model_id,
            given: model.id,
        });
    }
    let sequence = statement.validate(a)?;
    let boundaries = decode_boundaries(model, proof)?;
    let kinds: Vec<LayerKind> = LayerKind::all(a.layers).collect();
    let layers: Vec<Layer> = kinds
        .par_iter()
        .map(|kind| systems::layer(manifest, &sequence, *kind))
        .collect();
    let check = Check {
        setup,
        model,
        statement,
        boundaries: &boundaries,
    };

    let mut rng = fresh_rng()?;
    let mut msm = FinalMsm::new(&setup.generators, &mut rng);
    match &proof.proofs {
        LayerProofs::Bundled(bundle) => {
            check
                .bundle(&kinds, &layers, bundle, &mut msm)
                .map_err(|e| VerifyError::of_bundle(e, VerifyError::Bundle))?;
        }
        LayerProofs::Separate(proofs) => {
            if proofs.len() != kinds.len() {
                return Err(VerifyError::Layers {
                    expected: kinds.len(),
                    found: proofs.len(),
                });
            }
            for ((kind, layer), proof) in kinds.iter().zip(&layers).zip(proofs) {
                check
                    .bundle(&[*kind], std::slice::from_ref(layer), proof, &mut msm)
                    .map_err(|e| {
                        let layer = *kind;
                        VerifyError::of_bundle(e, |source| VerifyError::Layer { layer, source })
                    })?;
            }
        }
    }
    if !msm.check() {
        return Err(VerifyError::Opening);
    }
    Ok(Verified {
        total: kinds.len(),
        layers: kinds,
    })
}

/// Decodes the boundary commitments and checks that the chain is made of them.
fn decode_boundaries(
    model: &CommittedModel,
    proof: &ProofFile,
) -> Result<Vec<Vec<EqAffine>>, VerifyError> {
    let (a, statement) = (&model.manifest.architecture, &proof.statement);
    if proof.boundaries.len() != statement.chain.len() {
        let (expected, found) = (statement.chain.len(), proof.boundaries.len());
        return Err(StatementError::Chain { expected, found }.into());
    }
    let padded = statement.padded as usize;
    let expected = (padded * a.width).div_ceil(1 << ROW_BITS);
    proof
        .boundaries
        .iter()
        .enumerate()
        .map(|(index, points)| {
            if points.len() != expected {
                return Err(VerifyError::Boundary {
                    index,
                    expected,
                    found: points.len(),
                });
            }
            let points = decode_points(points)
                .map_err(|source| VerifyError::BoundaryPoint { index, source })?;
            if link(index, padded, a.width, &points) != statement.chain[index] {
                return Err(StatementError::Link(index).into());
            }
            Ok(points)
        })
        .collect()
}

/// What every bundle of a file is checked against.
pub(super) struct Check<'a> {
    pub setup: &'a Setup,
    pub model: &'a CommittedModel,
    pub statement: &'a Statement,
    pub boundaries: &'a [Vec<EqAffine>],
}

impl Check<'_> {
    /// Checks the given layers' bundle up to its group equations, which are added to `msm`.
    pub(super) fn bundle(
        &self,
        kinds: &[LayerKind],
        layers: &[Layer],
        proof: &BundleProof,
        msm: &mut FinalMsm,
    ) -> Result<(), BundleError> {
        let blocks = self.model.manifest.architecture.layers;
        let touched = systems::touched_boundaries(kinds, blocks);
        let boundaries: Vec<Vec<EqAffine>> = touched
            .keys()
            .map(|b| self.boundaries[*b].clone())
            .collect();
        let publics = systems::publics(self.model, kinds, layers);
        let public = BundlePublic {
            generators: &self.setup.generators,
            tables: self.model.tables.all(),
            layers: &publics,
            boundaries: &boundaries,
        };
        let mut transcript = systems::transcript(self.model, self.statement, kinds);
        bundle::verify(&public, proof, &self.setup.keys, &mut transcript, msm)
    }
}
