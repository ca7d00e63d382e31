//! Audits: a provider commits to a run, a verifier draws layers, the provider proves those.
//!
//! The draw is worth something only because it depends on a nonce that the provider did not know
//! when it committed: a draw that it can compute beforehand, it can make anew until it suits it.

mod draw;
mod odds;

pub use draw::{AuditError, Challenge, own_draw};
pub use odds::{catching, missing_draws};

use serde::{Deserialize, Serialize};

use super::statement::{Selection, Statement};
use crate::curve::PointBytes;
use crate::lists::lists;

/// What a provider publishes before layers are drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitFile {
    /// The statement with no layer selected: it claims nothing yet.
    pub statement: Statement,
    /// The row commitments of every boundary, h₀ … h_L, of which the chain is made.
    #[serde(deserialize_with = "lists")]
    pub boundaries: Vec<Vec<PointBytes>>,
}

impl CommitFile {
    /// How many layers the model has, as the chain says, if the file is one of this kind at all.
    pub fn layers(&self) -> Result<usize, AuditError> {
        let s = &self.statement;
        let unselected = s.layers.is_empty() && s.selection == Selection::Chosen;
        if unselected && !s.chain.is_empty() && s.chain.len() == self.boundaries.len() {
            Ok(s.chain.len() + 1)
        } else {
            Err(AuditError::CommitFile)
        }
    }

    /// Refuses a statement about another run, or about the same one with other commitments.
    pub fn check(&self, statement: &Statement) -> Result<(), AuditError> {
        if self.statement.commitment() == statement.commitment() {
            Ok(())
        } else {
            Err(AuditError::Commitment)
        }
    }
}

#[cfg(test)]
mod tests;
