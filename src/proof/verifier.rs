//! Verifying a proof file.

use pasta_curves::EqAffine;
use rayon::prelude::*;

use super::error::VerifyError;
use super::key::CommittedModel;
use super::setup::{ROW_BITS, Setup};
use super::statement::{Statement, StatementError, link};
use super::{LayerKind, LayerProofs, ProofFile, systems};
use crate::commit::{FinalMsm, fresh_rng};
use crate::curve::decode_points;
use crate::layers::Sequence;
use crate::seal::bundle::{self, BundleError, BundleProof, BundlePublic};
use crate::seal::{Sealed, verify_batch};
use crate::transcript::Transcript;

/// What a valid proof file shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The layers that were proved: those of the statement, which every proof's transcript hashes.
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

/// Checks everything a proof file claims, but not that an answer to a challenge is one: that takes
/// the challenge ([`super::Challenge::check`]). Every failure is an error with its reason.
pub fn verify(
    setup: &Setup,
    model: &CommittedModel,
    proof: &ProofFile,
) -> Result<Verified, VerifyError> {
    let statement = &proof.statement;
    let a = &model.manifest.architecture;
    if statement.model_id != model.id {
        return Err(VerifyError::Model {
            claimed: statement.model_id,
            given: model.id,
        });
    }
    let sequence = statement.validate(a)?;
    let boundaries = decode_boundaries(model, proof)?;
    let kinds = statement.kinds(a.layers);
    let check = Check {
        setup,
        model,
        statement,
        sequence: &sequence,
        boundaries: &boundaries,
    };

    let bundles: Vec<Bundle> = match &proof.proofs {
        LayerProofs::Bundled(proof) => vec![Bundle {
            kinds: &kinds,
            proof,
        }],
        LayerProofs::Separate(proofs) => {
            if proofs.len() != kinds.len() {
                return Err(VerifyError::Layers {
                    expected: kinds.len(),
                    found: proofs.len(),
                });
            }
            let layers = kinds.chunks(1).zip(proofs);
            layers
                .map(|(kinds, proof)| Bundle { kinds, proof })
                .collect()
        }
    };
    check.all(&bundles)?;
    Ok(Verified {
        total: a.layers + 2,
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
    /// The statement's tokens, validated.
    pub sequence: &'a Sequence,
    pub boundaries: &'a [Vec<EqAffine>],
}

/// A bundle to be checked: layers and their proof.
pub(super) struct Bundle<'a> {
    pub kinds: &'a [LayerKind],
    pub proof: &'a BundleProof,
}

impl Bundle<'_> {
    fn error(&self, source: BundleError) -> VerifyError {
        match (source, self.kinds) {
            // This machine's failure says nothing about the proof.
            (BundleError::Randomness(e), _) => VerifyError::Randomness(e),
            (source, [layer]) => VerifyError::Layer {
                layer: *layer,
                source,
            },
            (source, _) => VerifyError::Bundle(source),
        }
    }
}

impl Check<'_> {
    /// Checks all bundles in parallel; their seals and their group equations together.
    pub(super) fn all(&self, bundles: &[Bundle]) -> Result<(), VerifyError> {
        let checked = bundles
            .par_iter()
            .map(|b| {
                let mut msm = FinalMsm::new(&self.setup.generators, &mut fresh_rng()?);
                let seals = self.bundle(b, &mut msm).map_err(|e| b.error(e))?;
                Ok((msm, seals))
            })
            .collect::<Result<Vec<_>, VerifyError>>()?;
        settle(bundles, checked)
    }

    /// Checks a bundle up to its group equations, which are added to `msm`, and its seals.
    fn bundle<'p>(
        &self,
        bundle: &Bundle<'p>,
        msm: &mut FinalMsm,
    ) -> Result<Vec<Sealed<'p>>, BundleError> {
        let mut transcript = systems::transcript(self.model, self.statement, bundle.kinds);
        self.continue_from(&mut transcript, bundle, msm)
    }

    /// [`Self::bundle`] from its transcript on, which tests replace.
    pub(super) fn continue_from<'p>(
        &self,
        transcript: &mut Transcript,
        bundle: &Bundle<'p>,
        msm: &mut FinalMsm,
    ) -> Result<Vec<Sealed<'p>>, BundleError> {
        let blocks = self.model.manifest.architecture.layers;
        let touched = systems::touched_boundaries(bundle.kinds, blocks);
        let boundaries: Vec<Vec<EqAffine>> = touched
            .keys()
            .map(|b| self.boundaries[*b].clone())
            .collect();
        let layers = systems::layers(&self.model.manifest, self.sequence, bundle.kinds);
        let publics = systems::publics(self.model, bundle.kinds, &layers);
        let public = BundlePublic {
            generators: &self.setup.generators,
            tables: self.model.tables.all(),
            layers: &publics,
            boundaries: &boundaries,
        };
        bundle::verify(&public, bundle.proof, &self.setup.keys, transcript, msm)
    }
}

/// The last checks of all bundles: their group equations, and their seals, each in one sum.
fn settle(bundles: &[Bundle], checked: Vec<(FinalMsm, Vec<Sealed>)>) -> Result<(), VerifyError> {
    let (msms, seals): (Vec<FinalMsm>, Vec<Vec<Sealed>>) = checked.into_iter().unzip();
    let (owners, seals): (Vec<&Bundle>, Vec<Sealed>) = bundles
        .iter()
        .zip(seals)
        .flat_map(|(b, seals)| seals.into_iter().map(move |s| (b, s)))
        .unzip();
    let mut rng = fresh_rng()?;
    let (sealed, opened) = rayon::join(
        || verify_batch(&seals, &mut rng),
        || {
            let sum = msms.into_iter().reduce(|mut sum, msm| {
                sum.merge(msm);
                sum
            });
            sum.is_none_or(FinalMsm::check)
        },
    );
    sealed.map_err(|(i, e)| owners[i].error(BundleError::Seal(e)))?;
    if opened {
        Ok(())
    } else {
        Err(VerifyError::Opening)
    }
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
