//! Fixed point: the manifest that fixes a model's integer function, its integer weights, its
//! lookup tables, and how they are derived from a floating-point checkpoint.

/// Raised when the same checkpoint would be quantized differently: caches are keyed by it.
pub const QUANTIZER_VERSION: u8 = 6;

mod balance;
pub mod bounds;
mod calibrate;
mod check;
mod elementary;
mod error;
mod fixed;
mod frequencies;
mod headroom;
mod lifts;
mod manifest;
mod norm;
mod quantize;
mod scales;
mod source;
mod tables;
mod weights;

#[cfg(test)]
pub(crate) mod testing;

pub use balance::Balance;
pub use calibrate::{BlockCalibration, Calibration, Extent, Lanes, Rows, Spread, Tensor};
pub use elementary::{ROTATION_BITS, rotation_entry};
pub use error::{Place, QuantError};
pub use fixed::{LIMB_BITS, MAX_LIMBS, Rounding};
pub use frequencies::{Frequencies, MAX_THETA, PAIR_FACTORS, Scaling};
pub use headroom::Headroom;
pub use lifts::lowered;
pub use manifest::{
    Activation, Architecture, Attending, Biases, BlockScales, HeadNorm, HeadNormScale, LANES,
    Lifts, MAX_BLOCKS, MAX_ENDS, MAX_KINDS, MAX_LIFT, Manifest, NormKind, NormScale, Order,
    Provenance, Scales, in_slabs,
};
pub use norm::{NormLimits, NormSize, isqrt};
pub use quantize::quantize;
pub use scales::{Options, ceil_log2, choose_scales, max_norm_output, min_sigma};
pub use source::{Factors, FloatBlock, FloatMap, FloatNorm, FloatWeights};
pub use tables::{ACTIVATION_BITS, EXP_BITS, EXP_FRACTION, IS_ZERO_BITS, Tables, table_digest};
pub use weights::{BlockWeights, HeadWeights, IntMatrix, IntVector, IntegerModel};
