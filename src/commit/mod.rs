//! Commitments to rows of values, and the argument that opens linear functionals of them.

pub mod final_msm;
pub mod fold_point;
pub mod opening;
mod random;
pub mod rows;

pub use final_msm::FinalMsm;
pub use fold_point::FoldPoint;
pub use opening::{OpeningError, OpeningProof, OpeningWitness, ValueCommitment, prove, verify};
pub use random::{fresh_rng, random_scalars};
pub use rows::{RowData, commit_rows, fold_rows};
