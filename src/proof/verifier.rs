//! Verifying a proof file.

use pasta_curves::EqAffine;
use rayon::prelude::*;

use super::error::VerifyError;
use super::key::{CommittedModel, VerifyingKey};
use super::rows::row_bits;
use super::setup::Setup;
use super::statement::{Statement, StatementError, link};
use super::{LayerKind, LayerProofs, ProofFile, systems};
use crate::commit::{FinalMsm, fresh_rng};
use crate::curve::decode_points;
use crate::layers::Sequence;
use crate::quant::Manifest;
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

impl VerifyingKey {
    /// Decodes a key to verify this proof with, after all checks of either that cost next to nothing.
    ///
    /// # Errors
    /// [`VerifyError::Key`], and what [`check_counts`] finds.
    pub fn decode_for(&self, proof: &ProofFile) -> Result<CommittedModel, VerifyError> {
        self.check()?;
        check_counts(&self.manifest, proof)?;
        Ok(self.decode()?)
    }
}

/// Checks what follows from manifest and tokens alone: the statement, and how many boundaries, rows of them and layers'
/// proofs there are. It takes no longer than to read the proof, and none of the key's points, so it comes before all
/// that does. `manifest` is one that [`layers::check`](crate::layers::check) accepts.
///
/// Returns the sequence of tokens that was run.
///
/// # Errors
/// As [`verify`].
fn check_counts(manifest: &Manifest, proof: &ProofFile) -> Result<Sequence, VerifyError> {
    let (a, statement) = (&manifest.architecture, &proof.statement);
    let sequence = statement.validate(a)?;
    if proof.boundaries.len() != statement.chain.len() {
        let (expected, found) = (statement.chain.len(), proof.boundaries.len());
        return Err(StatementError::Chain { expected, found }.into());
    }
    let expected = (sequence.tokens().len() * a.stream()).div_ceil(1 << row_bits(a));
    let rows = proof.boundaries.iter().map(Vec::len).enumerate();
    for (index, found) in rows {
        if found != expected {
            return Err(VerifyError::Boundary {
                index,
                expected,
                found,
            });
        }
    }
    bundles(&statement.kinds(a.layers), &proof.proofs)?;
    Ok(sequence)
}

/// The bundles of a file, with the layers of each.
fn bundles<'a>(
    kinds: &'a [LayerKind],
    proofs: &'a LayerProofs,
) -> Result<Vec<Bundle<'a>>, VerifyError> {
    match proofs {
        LayerProofs::Bundled(proof) => Ok(vec![Bundle { kinds, proof }]),
        LayerProofs::Separate(proofs) if proofs.len() == kinds.len() => {
            let layers = kinds.chunks(1).zip(proofs);
            Ok(layers
                .map(|(kinds, proof)| Bundle { kinds, proof })
                .collect())
        }
        LayerProofs::Separate(proofs) => Err(VerifyError::Layers {
            expected: kinds.len(),
            found: proofs.len(),
        }),
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
    let sequence = check_counts(&model.manifest, proof)?;
    let boundaries = decode_boundaries(model, proof)?;
    let kinds = statement.kinds(a.layers);
    let check = Check {
        setup,
        model,
        statement,
        sequence: &sequence,
        boundaries: &boundaries,
    };

    check.all(&bundles(&kinds, &proof.proofs)?)?;
    Ok(Verified {
        total: a.layers + 2,
        layers: kinds,
    })
}

/// Decodes the boundary commitments, whose counts have been checked, and checks that the chain is made of them.
fn decode_boundaries(
    model: &CommittedModel,
    proof: &ProofFile,
) -> Result<Vec<Vec<EqAffine>>, VerifyError> {
    let (width, statement) = (model.manifest.architecture.stream(), &proof.statement);
    let padded = statement.padded as usize;
    let links = proof.boundaries.iter().zip(&statement.chain).enumerate();
    links
        .map(|(index, (points, expected))| {
            let points = decode_points(points)
                .map_err(|source| VerifyError::BoundaryPoint { index, source })?;
            if link(index, padded, width, &points) != *expected {
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

/// What is left of bundles when all else is checked: their group equations in one sum, and their seals, each
/// with the place of its bundle.
type Rest<'a> = (FinalMsm, Vec<(usize, Sealed<'a>)>);

impl Check<'_> {
    /// Checks all bundles in parallel; their seals and their group equations together. The equations are added up
    /// as bundles are done with: a sum has a scalar for each generator.
    pub(super) fn all(&self, bundles: &[Bundle]) -> Result<(), VerifyError> {
        let rest: Option<Result<Rest, VerifyError>> = bundles
            .par_iter()
            .enumerate()
            .map(|(place, b)| {
                let (msm, seal) = self.bundle(b).map_err(|e| b.error(e))?;
                Ok((msm, vec![(place, seal)]))
            })
            .try_reduce_with(|a, b| Ok(merge(a, b)));
        rest.map_or(Ok(()), |rest| settle(bundles, rest?))
    }

    /// Checks a bundle up to its group equations and its seal.
    fn bundle<'p>(&self, bundle: &Bundle<'p>) -> Result<(FinalMsm, Sealed<'p>), BundleError> {
        let mut transcript = systems::transcript(self.model, self.statement, bundle.kinds);
        self.continue_from(&mut transcript, bundle)
    }

    /// [`Self::bundle`] from its transcript on, which tests replace.
    pub(super) fn continue_from<'p>(
        &self,
        transcript: &mut Transcript,
        bundle: &Bundle<'p>,
    ) -> Result<(FinalMsm, Sealed<'p>), BundleError> {
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
        bundle::verify(&public, bundle.proof, &self.setup.keys, transcript)
    }
}

/// What is left of two parts of the bundles together.
fn merge<'a>((mut sum, mut seals): Rest<'a>, other: Rest<'a>) -> Rest<'a> {
    sum.merge(other.0);
    seals.extend(other.1);
    (sum, seals)
}

/// The last checks of all bundles: their group equations, and their seals, each in one sum.
fn settle(bundles: &[Bundle], (sum, seals): Rest) -> Result<(), VerifyError> {
    let (owners, seals): (Vec<usize>, Vec<Sealed>) = seals.into_iter().unzip();
    let mut rng = fresh_rng()?;
    let (sealed, opened) = rayon::join(|| verify_batch(&seals, &mut rng), || sum.check());
    sealed.map_err(|(i, e)| bundles[owners[i]].error(BundleError::Seal(e)))?;
    if opened {
        Ok(())
    } else {
        Err(VerifyError::Opening)
    }
}

#[cfg(test)]
#[path = "verifier_tests.rs"]
mod tests;
