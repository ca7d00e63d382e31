//! Where the towers meet: statements, files, proving and verifying.

pub mod audit;
pub mod container;
#[cfg(test)]
mod engine_tests;
mod error;
mod key;
mod measure;
mod models;
mod prover;
mod resume;
mod rows;
mod run;
mod run_seed;
#[cfg(test)]
mod secrecy_tests;
mod setup;
#[cfg(test)]
mod soundness_tests;
pub mod statement;
mod systems;
#[cfg(test)]
mod testing;
mod texts;
#[cfg(test)]
mod transcript_tests;
mod verifier;

pub use audit::{AuditError, Challenge, CommitFile};
pub use container::{FileError, Kind};
pub use error::{ProveError, VerifyError};
pub use key::{BlindingSeed, CommittedModel, KeyError, VerifyingKey, commit_model};
pub use measure::{BlockCosts, MeasureError, measure_blocks};
pub use models::{KeyFile, ModelFile, OpenedModel};
pub use prover::{
    Mode, ProveOptions, ProveSummary, commit, prove, prove_challenged, prove_resumable,
};
pub use resume::RunFolder;
pub use rows::row_bits;
pub use run::Layers;
pub use run_seed::RunSeed;
pub use setup::{Setup, points_in_lanes};
pub use statement::{ModelId, Selection, Statement, StatementError, Stop};
pub use texts::Texts;
pub use verifier::{Verified, verify};

use serde::{Deserialize, Serialize};

pub use crate::layers::LayerKind;

use crate::curve::PointBytes;
use crate::lists::{bounded, lists};
use crate::seal::bundle::BundleProof;
use statement::MAX_LAYERS;

/// A proof file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofFile {
    pub statement: Statement,
    /// The row commitments of every boundary, h₀ … h_L.
    #[serde(deserialize_with = "lists")]
    pub boundaries: Vec<Vec<PointBytes>>,
    pub proofs: LayerProofs,
}

/// The proofs of the layers that the statement lists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayerProofs {
    /// One proof for all.
    Bundled(Box<BundleProof>),
    /// One each, in order.
    Separate(#[serde(deserialize_with = "bounded::<MAX_LAYERS, _, _>")] Vec<BundleProof>),
}
