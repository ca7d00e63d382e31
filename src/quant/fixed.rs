//! Fixed point: x ≈ X·2^-f for an integer X, and the roundings between scales.
//!
//! Every rounding is to the nearest integer. From floating point, ties go to the even integer;
//! between scales they go up, which is what the proved equation says.

use super::{Place, QuantError};

/// Bits of one limb: a range lookup bounds 16 bits.
pub const LIMB_BITS: u32 = 16;

/// The most limbs that a rescale's remainder can have.
pub const MAX_LIMBS: usize = 7;

/// 2^n, exactly, for −1022 ≤ n ≤ 1023; beyond, 0 or infinity. The platform's `exp2` need not be exact.
pub fn power_of_two(n: i64) -> f64 {
    match n {
        ..-1022 => 0.0,
        -1022..=1023 => f64::from_bits(((n + 1023) as u64) << 52),
        1024.. => f64::INFINITY,
    }
}

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
        let rounded = (x * power_of_two(fraction.into())).round_ties_even();
        let limit = power_of_two(i64::from(bits) - 1);
        if rounded.abs() >= limit {
            return Err(QuantError::WeightRange {
                place,
                tensor,
                index,
                value: x,
                limit: limit * power_of_two(-i64::from(fraction)),
            });
        }
        Ok(rounded as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_exact() {
        for n in [-1022i64, -64, -1, 0, 1, 62, 1023] {
            let power = power_of_two(n);
            let halves = power_of_two(n / 2) * power_of_two(n - n / 2);
            assert!(power == halves && power.is_normal(), "{n}");
        }
        assert_eq!(
            [-1, 0, 1, 62].map(power_of_two),
            [0.5, 1.0, 2.0, (1u64 << 62) as f64]
        );
        assert_eq!([-1023, i64::MIN].map(power_of_two), [0.0; 2]);
        assert_eq!([1024, i64::MAX].map(power_of_two), [f64::INFINITY; 2]);
    }

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
