//! What can go wrong while quantizing, or while running a quantized model.

use std::fmt;

/// The part of a model that an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Embedding,
    Block(usize),
    Head,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedding => f.write_str("embedding"),
            Self::Block(index) => write!(f, "block {index}"),
            Self::Head => f.write_str("head"),
        }
    }
}

/// A model or a value that these scales cannot represent.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QuantError {
    #[error(
        "the architecture's {what} is {found}, which is unsupported ({expected}): use another checkpoint"
    )]
    Architecture {
        what: &'static str,
        found: String,
        expected: &'static str,
    },
    #[error(
        "{place}: {tensor} has {found} values instead of {expected}: the checkpoint is damaged or its config.json belongs to another model"
    )]
    Shape {
        place: Place,
        tensor: &'static str,
        expected: usize,
        found: usize,
    },
    #[error(
        "{place}: {tensor} holds {value} at index {index}, not a finite number: the checkpoint is damaged"
    )]
    NotFinite {
        place: Place,
        tensor: &'static str,
        index: usize,
        value: f64,
    },
    #[error(
        "{place}: {tensor} holds {value} at index {index} (normalization folded in), beyond the limit of {limit}: this checkpoint cannot be quantized, no option changes that"
    )]
    WeightRange {
        place: Place,
        tensor: &'static str,
        index: usize,
        value: f64,
        limit: f64,
    },
    #[error(
        "{place}: calibration saw no value of {tensor}: calibrate with at least one token of text"
    )]
    NotCalibrated { place: Place, tensor: &'static str },
    #[error(
        "{place}: {tensor} reached {value} in calibration, and with {headroom} bits of headroom the limit is {limit}: quantize with less headroom or calibrate on other text"
    )]
    CalibratedRange {
        place: Place,
        tensor: &'static str,
        value: f64,
        limit: f64,
        headroom: u32,
    },
    #[error(
        "{place}: queries up to {query} (with the factor 1/√w) and keys up to {key} leave the attention scores {fraction} fractional bits, and at least {needed} are needed: quantize with less headroom or calibrate on other text"
    )]
    ScoreScale {
        place: Place,
        query: f64,
        key: f64,
        fraction: u32,
        needed: u32,
    },
    #[error(
        "{place}: a few channels of {tensor} are so much larger than the others that behind the norm half of them stay below {median}, where at least {needed} is needed for {bits} bits of each: use another checkpoint"
    )]
    Faint {
        place: Place,
        tensor: &'static str,
        median: f64,
        needed: f64,
        bits: u32,
    },
    #[error(
        "{place}: {quantity} can reach 2^{log2:.1}, beyond 2^{limit}: the weights are too large for exact arithmetic, no option changes that"
    )]
    Bound {
        place: Place,
        quantity: &'static str,
        log2: f64,
        limit: u32,
    },
    #[error(
        "the manifest's scale of {what} is {found}, outside {low} to {high}: the file is damaged, or was written by another version; quantize again"
    )]
    Scale {
        what: &'static str,
        found: u32,
        low: u32,
        high: u32,
    },
    #[error(
        "the manifest's digest of the lookup tables is not that of the tables built here: the file is damaged, or was written by another version; quantize again"
    )]
    TableDigest,
}
