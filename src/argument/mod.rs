//! The layer argument: an engine that proves a [`crate::system::System`] and knows nothing of
//! what the system means.

pub mod challenges;
pub mod channel;
#[cfg_attr(test, path = "cheat_test.rs")]
pub mod cheat;
pub mod claims;
pub mod data;
pub mod functional;
pub mod hidden;
pub mod layout;
pub mod logup;
pub mod plan;
pub mod reduce;
pub mod stack;
pub mod sumcheck;
