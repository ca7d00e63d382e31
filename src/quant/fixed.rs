//! Fixed point: x ≈ X·2^-f for an integer X, and the roundings between scales.
//!
//! Every rounding is to the nearest integer. From floating point, ties go to the even integer;
//! between scales they go up, which is what the proved equation says.

use super::{Place, QuantError};

/// Bits of one limb: a range lookup bounds 16 bits.
pub const LIMB_BITS: u32 = 16;

/// The most limbs that a rescale's remainder can have.
pub const MAX_LIMBS: usize = 7;

/// The rounding of an exact accumulator at f_acc to a value at f_out, s = f_acc − f_out ≥ 0:
///
/// ```text
/// 2^(16ℓ−s) · acc + 2^(16ℓ−1) = q · 2^(16ℓ) + t,   0 ≤ t < 2^(16ℓ),   ℓ = max(1, ⌈s/16⌉)
/// ```
///
/// so q = ⌊acc·2^-s + ½⌋. The equation determines q and t; t is proved by one range lookup a limb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rescale {
    /// s, the number of fractional bits that are dropped.
    pub shift: u32,
    /// ℓ, the number of the remainder's limbs.
    pub limbs: u32,
}

impl Rescale {
    /// The rescale that drops `shift` ≤ 112 bits.
    pub fn new(shift: u32) -> Self {
        let limbs = shift.div_ceil(LIMB_BITS).max(1);
        assert!(
            limbs as usize <= MAX_LIMBS,
            "a checked manifest never drops more than 112 bits at once"
        );
        Self { shift, limbs }
    }

    /// The rescale from `from` fractional bits to `to` ≤ `from`.
    pub fn between(from: u32, to: u32) -> Self {
        Self::new(
            from.checked_sub(to)
                .expect("an accumulator has at least as many fractional bits as its rounding"),
        )
    }

    /// 16ℓ: the quotient's weight in the equation is 2^this.
    pub fn quotient_bits(&self) -> u32 {
        LIMB_BITS * self.limbs
    }

    /// 16ℓ − s: the accumulator's weight in the equation is 2^this.
    pub fn accumulator_bits(&self) -> u32 {
        self.quotient_bits() - self.shift
    }

    /// Rounds `acc`, |acc| < 2^126: the quotient q, and the remainder t in limbs of 16 bits,
    /// lowest first, of which the first ℓ count.
    pub fn apply(&self, acc: i128) -> (i128, [i32; MAX_LIMBS]) {
        let half = if self.shift == 0 {
            0
        } else {
            1i128 << (self.shift - 1)
        };
        let sum = acc
            .checked_add(half)
            .expect("bounds keep accumulators below 2^126");
        let quotient = sum >> self.shift;
        let dropped = (sum - (quotient << self.shift)) as u128;
        // With nothing to drop, half a unit of the limb is left over.
        let remainder = match self.shift {
            0 => 1 << (LIMB_BITS - 1),
            _ => dropped << self.accumulator_bits(),
        };
        (quotient, limbs(remainder))
    }
}

/// The limbs of 16 bits of an integer below 2^112, lowest first.
pub fn limbs<const N: usize>(value: u128) -> [i32; N] {
    std::array::from_fn(|i| (value >> (LIMB_BITS * i as u32) & 0xffff) as i32)
}

/// A 32-bit signed value in two limbs: low + 2^16·high, low ∈ [0, 2^16), high ∈ [−2^15, 2^15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halves {
    pub low: i32,
    pub high: i32,
}

impl From<i32> for Halves {
    fn from(value: i32) -> Self {
        Self {
            low: value & 0xffff,
            high: value >> LIMB_BITS,
        }
    }
}

impl Halves {
    pub fn value(self) -> i32 {
        self.low | self.high << LIMB_BITS
    }
}

/// `value` as a signed integer of `bits` ≤ 32 bits. `fraction` is its number of fractional bits,
/// by which the error states the value and its limit.
///
/// # Errors
/// [`QuantError::OutOfRange`] where it does not fit.
pub fn fit(
    value: i128,
    bits: u32,
    fraction: u32,
    place: Place,
    tensor: &'static str,
) -> Result<i32, QuantError> {
    let limit = 1i128 << (bits - 1);
    if (-limit..limit).contains(&value) {
        Ok(value as i32)
    } else {
        let unit = (-f64::from(fraction)).exp2();
        Err(QuantError::OutOfRange {
            place,
            tensor,
            value: value as f64 * unit,
            limit: (limit - 1) as f64 * unit,
        })
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
    use crate::quant::testing::Random;

    /// The equation that is proved, on accumulators small enough to scale up in an `i128`.
    fn assert_equation(rescale: Rescale, acc: i128) {
        let (quotient, limbs) = rescale.apply(acc);
        assert!(limbs.iter().all(|l| (0..1 << 16).contains(l)));
        assert!(limbs[rescale.limbs as usize..].iter().all(|l| *l == 0));
        let remainder: i128 = (0..rescale.limbs as usize)
            .map(|i| i128::from(limbs[i]) << (16 * i))
            .sum();
        let bits = rescale.quotient_bits();
        assert_eq!(
            (acc << rescale.accumulator_bits()) + (1 << (bits - 1)),
            (quotient << bits) + remainder,
            "shift {}, acc {acc}",
            rescale.shift
        );
    }

    #[test]
    fn rescaling_satisfies_its_equation_for_every_shift_ties_and_signs() {
        let mut random = Random::new(1);
        for shift in 0..=96 {
            let rescale = Rescale::new(shift);
            let unit = 1i128 << shift;
            for acc in [0, 1, -1, unit, -unit, unit / 2, -unit / 2, unit / 2 - 1] {
                assert_equation(rescale, acc);
            }
            for _ in 0..100 {
                let acc = i128::from(random.next() as i64) << 45 | i128::from(random.next() >> 20);
                assert_equation(rescale, acc);
            }
        }
    }

    #[test]
    fn rescaling_rounds_to_nearest_and_ties_up() {
        let four = Rescale::new(2);
        let rounded: Vec<i128> = (-7..=7).map(|acc| four.apply(acc).0).collect();
        assert_eq!(rounded, [-2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2]);
    }

    #[test]
    fn rescaling_reaches_the_ends_of_its_range() {
        let rescale = Rescale::new(112);
        assert_eq!(rescale.limbs, 7);
        let extreme = (1i128 << 126) - 1;
        assert_eq!(rescale.apply(extreme).0, 1 << 14);
        assert_eq!(rescale.apply(-extreme).0, -(1 << 14));
        assert_eq!(Rescale::new(0).limbs, 1);
        assert_eq!(
            Rescale::new(0).apply(-extreme),
            (-extreme, limbs(1 << 15)),
            "nothing is dropped"
        );
        assert_eq!((Rescale::new(16).limbs, Rescale::new(17).limbs), (1, 2));
    }

    #[test]
    fn halves_are_in_range_and_add_up() {
        for value in [0, 1, -1, 65535, 65536, -65536, -65537, i32::MAX, i32::MIN] {
            let halves = Halves::from(value);
            assert!((0..1 << 16).contains(&halves.low));
            assert!((-(1 << 15)..1 << 15).contains(&halves.high));
            assert_eq!(
                i64::from(halves.low) + (i64::from(halves.high) << 16),
                i64::from(value)
            );
            assert_eq!(halves.value(), value);
        }
    }

    #[test]
    fn values_that_do_not_fit_are_refused_by_name() {
        let place = Place::Block(3);
        assert_eq!(fit(32767, 16, 10, place, "key").unwrap(), 32767);
        assert_eq!(fit(-32768, 16, 10, place, "key").unwrap(), -32768);
        assert!(fit(32768, 16, 10, place, "key").is_err());
        let error = fit(-40960, 16, 10, place, "key").unwrap_err().to_string();
        assert!(
            error.contains("block 3: key is -40, and its limit at this model's scales is 31.99"),
            "{error}"
        );
        assert!(error.contains("headroom"), "{error}");
    }

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
