//! `nanozk` proves, in zero knowledge, that a committed language model turned a prompt into an
//! output. See `docs/` for the protocol and `ARCHITECTURE.md` for the map of this crate.
//!
//! Two towers stand on one waist. A module imports only lower floors of its own tower,
//! [`system`] and [`algebra`]; [`proof`] joins the towers. A [`store`] finds and keeps the models; [`cli`]
//! is the command.

#![deny(unsafe_code)]

pub mod algebra;
mod files;
mod lists;
pub mod system;

// The argument's tower, ground floor first.
pub mod argument;
pub mod commit;
pub mod curve;
pub mod seal;
pub mod transcript;

// The model's tower, ground floor first.
pub mod layers;
pub mod model;
pub mod ops;
pub mod quant;

// What joins them, and what stands on it.
pub mod cli;
pub mod proof;
pub mod store;
