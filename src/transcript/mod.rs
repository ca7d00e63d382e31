//! The transcripts of the argument: what is absorbed, and which challenges come out.

pub mod hidden;
pub mod public;
#[cfg(test)]
pub(crate) mod tap;

pub use public::Transcript;
