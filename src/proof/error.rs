//! What can go wrong while proving and verifying.

use super::LayerKind;
use super::audit::AuditError;
use super::key::KeyError;
use super::statement::{ModelId, StatementError};
use crate::curve::EncodingError;
use crate::layers::RunError;
use crate::seal::bundle::BundleError;

/// Why nothing was proved.
#[derive(Debug, thiserror::Error)]
pub enum ProveError {
    #[error(transparent)]
    Statement(#[from] StatementError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("{layer}: {source}")]
    Layer { layer: String, source: BundleError },
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("the commitment is about model {claimed}, not {given}: prove with its model")]
    CommittedModel { claimed: ModelId, given: ModelId },
    #[error(
        "the run's secret is not of this commitment: they do not belong together, or another \
             program made them"
    )]
    Secret,
    #[error("the operating system gave no randomness: {0}")]
    Randomness(#[from] rand::rngs::SysError),
}

/// Why a proof is not valid.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// What is wrong with the key says nothing about the proof.
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the proof is about model {claimed}, the key is of {given}")]
    Model { claimed: ModelId, given: ModelId },
    #[error("statement: {0}")]
    Statement(#[from] StatementError),
    #[error("boundary {index} has {found} row commitments, its shape implies {expected}")]
    Boundary {
        index: usize,
        expected: usize,
        found: usize,
    },
    #[error("boundary {index}: {source}")]
    BoundaryPoint { index: usize, source: EncodingError },
    #[error("the file has {found} layer proofs, its statement lists {expected} layers")]
    Layers { expected: usize, found: usize },
    #[error("{layer}: {source}")]
    Layer {
        layer: LayerKind,
        source: BundleError,
    },
    #[error("{0}")]
    Bundle(BundleError),
    #[error("the group equations of the openings do not hold")]
    Opening,
    #[error("the operating system gave no randomness: {0}")]
    Randomness(#[from] rand::rngs::SysError),
}
