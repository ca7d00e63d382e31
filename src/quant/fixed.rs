//! Fixed point: x ≈ X·2^-f for an integer X, and the roundings between scales.
//!
//! Every rounding is to the nearest integer. From floating point, ties go to the even integer;
//! between scales they go up, which is what the proved equation says.

use super::{Place, QuantError};

/// Bits of one limb: a range lookup bounds 16 bits.
pub const LIMB_BITS: u32 = 16;

/// The most limbs that a rescale's remainder can have.
pub const MAX_LIMBS: usize = 7;

/// Rounds floating-point weights of one tensor to `fraction` fractional bits, ties to even.
#[derive(Clone, Copy, Debug)]
pub struct Rounding {
    pub place: Place,
    pub tensor: &'static str,
    pub fraction: u32,
}

impl Rounding {
    /// Bits of a bias or gain: far more than any needs, and sums of two still fit in an `i64`.
    pub const WIDE_BITS: u32 = 63;

    /// The integer nearest to x·2^fraction, where it fits in an `i32`.
    ///
    /// # Errors
    /// [`QuantError::NotFinite`] or [`QuantError::WeightRange`], naming `index`.
    pub fn narrow(&self, x: f64, index: usize) -> Result<i32, QuantError> {
        Ok(self.round(x, index, i32::BITS)? as i32)
    }

    /// The same where it fits in 63 bits.
    pub fn wide(&self, x: f64, index: usize) -> Result<i64, QuantError> {
        self.round(x, index, Self::WIDE_BITS)
    }

    fn round(&self, x: f64, index: usize, bits: u32) -> Result<i64, QuantError> {
        let Self {
            place,
            tensor,
            fraction,
        } = *self;
        if !x.is_finite() {
            return Err(QuantError::NotFinite {
                place,
                tensor,
                index,
                value: x,
            });
        }
        // Scaling by a power of two is exact, so this is one correct rounding.
        let rounded = (x * f64::from(fraction).exp2()).round_ties_even();
        let limit = f64::from(bits - 1).exp2();
        if rounded.abs() >= limit {
            return Err(QuantError::WeightRange {
                place,
                tensor,
                index,
                value: x,
                limit: limit * (-f64::from(fraction)).exp2(),
            });
        }
        Ok(rounded as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The equation that is proved, on accumulators small enough to scale up in an `i128`.
    #[test]
    fn weights_round_to_nearest_ties_to_even() {
        let rounding = Rounding {
            place: Place::Head,
            tensor: "gain",
            fraction: 1,
        };
        let rounded: Vec<i32> = [0.25, 0.75, 1.25, -0.25, -0.75, 0.26, -0.74]
            .iter()
            .map(|x| rounding.narrow(*x, 0).unwrap())
            .collect();
        assert_eq!(rounded, [0, 2, 2, 0, -2, 1, -1]);
    }

    #[test]
    fn weights_beyond_their_width_and_non_numbers_are_refused() {
        let rounding = Rounding {
            place: Place::Block(0),
            tensor: "up",
            fraction: 16,
        };
        assert_eq!(rounding.narrow(32767.99998, 0).unwrap(), i32::MAX);
        for x in [32768.0, -32768.0, 32767.999999] {
            assert!(matches!(
                rounding.narrow(x, 7),
                Err(QuantError::WeightRange { index: 7, .. })
            ));
            assert!(rounding.wide(x, 7).is_ok());
        }
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(matches!(
                rounding.wide(x, 9),
                Err(QuantError::NotFinite { index: 9, .. })
            ));
        }
        assert!(rounding.wide(1e14, 0).is_err());
    }
}
