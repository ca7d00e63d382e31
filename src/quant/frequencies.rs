//! How far a rotating model's pairs of lanes turn from one position to the next, by integer
//! arithmetic: the manifest holds all 64 bits, so every machine must find the same ones.
//!
//! ```text
//! turn(m) = round(2^64 · s(p)·p),   p = θ^(−2m/w) / 2π circles,   for pair m of a head's w lanes
//!
//! s = 1                             unscaled
//!     1/factor                      linear
//!     κ + (1 − κ)/factor            llama3, κ = (original·p − low)/(high − low), held in [0, 1]
//!     1/factor(m)                   factors, as `rope_freqs.weight` of a GGUF file has them
//!     (1 − ρ) + ρ/factor            yarn, ρ = (m − low)/(high − low), held in [0, 1];
//!                                   low, high = w·ln(original/(2π·fast)) / (2·ln θ), of slow; held in [0, w − 1]
//! ```
//!
//! What is rounded is this real number, where θ and the numbers of the scaling are exactly the `f64`
//! values that the configuration was read as, and a pair's own factors the file's `f32` values. It is never a tie (π is transcendental), so there is one nearest integer.
//!
//! Reals are held over 2^120 as in [`super::elementary`]. In units of 2^-120, ln θ is wrong by less
//! than 128 and its multiple by 129; exp adds at most 70, relative to its value; dividing by 2π, which
//! makes it less than 1/6, leaves p wrong by less than 199·p + 2 < 36, and a factor adds at most p < 1;
//! a pair's own of 1/4 makes this four times as much. A turn is therefore found to 2^-48 before it is rounded: it is the nearest integer unless the real
//! number is that near to a tie, which a test excludes for the bases in use. A blend adds
//! high/(high − low)·(199·high/original + 3) units: together with the above the error is below 2^-44
//! while high ≥ 1.1·low and high ≤ original. The bounds of yarn are found to 2^-90, and are whole pairs where they are
//! truncated: a ramp of at least a thousandth of a pair is found to 2^-80.

use std::ops::RangeInclusive;

use ethnum::U256;

use super::elementary::{BITS, ONE, TAU, exp_neg, ln};

/// The largest θ, factor, bound of turns or original context.
pub const MAX_THETA: f64 = 1e9;

/// The base θ and how frequencies are scaled.
#[derive(Clone, Debug, PartialEq)]
pub struct Frequencies {
    /// From 1 to [`MAX_THETA`].
    pub theta: f64,
    pub scaling: Scaling,
}

/// Fractional bits of the bounds of yarn's ramp, which are below 2^12.
const RAMP_BITS: u32 = 100;

/// The least and the largest factor of a pair of its own.
pub const PAIR_FACTORS: RangeInclusive<f32> = 0.25..=1e9;

/// What a frequency is multiplied by. Factors and `original` are from 1 to [`MAX_THETA`].
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    None,
    Linear {
        factor: f64,
    },
    /// Llama 3's: slow rotations (fewer than `low` turns in the original context) are divided by the
    /// factor, fast ones (more than `high`) kept, those between blended. 0 < `low` < `high`.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        original: f64,
    },
    /// Yarn's: pairs that turn more than `fast` times in the original context are kept, those that turn less than `slow`
    /// times divided by the factor, those between blended; `truncate` makes the bounds whole pairs. `fast` and `slow`
    /// are from 1, θ from 2.
    Yarn {
        factor: f64,
        fast: f64,
        slow: f64,
        original: f64,
        truncate: bool,
    },
    /// Each pair's frequency is divided by its own factor, in [`PAIR_FACTORS`].
    Factors(Vec<f32>),
}

impl Frequencies {
    pub fn unscaled(theta: f64) -> Self {
        Self {
            theta,
            scaling: Scaling::None,
        }
    }

    /// The turns per position of each pair of a head's `width` lanes, over 2^64.
    ///
    /// Panics where a number is out of its range, or there are not as many factors as pairs.
    pub fn turns(&self, width: usize) -> Vec<u64> {
        const SHIFT: u32 = 2 * BITS - 64;
        let half = U256::ONE << (SHIFT - 1);
        let scaled = self.scaled(width);
        scaled.map(|x| ((x + half) >> SHIFT).as_u64()).collect()
    }

    /// The same in radians per position, to the precision of an `f64`.
    pub fn radians(&self, width: usize) -> Vec<f64> {
        let turns = self.turns(width).into_iter();
        turns
            .map(|turn| turn as f64 * 0.5f64.powi(64) * std::f64::consts::TAU)
            .collect()
    }

    /// s(p)·p of each pair, over 2^240.
    fn scaled(&self, width: usize) -> impl Iterator<Item = U256> {
        let pairs = width / 2;
        if let Scaling::Factors(factors) = &self.scaling {
            assert_eq!(factors.len(), pairs, "a factor for each pair");
        }
        let ln_theta = U256::from(ln(fixed(from_1(self.theta), BITS)));
        let ramp = self.scaling.ramp(width, ln_theta);
        (0..pairs).map(move |m| {
            let part = ln_theta * U256::from(m as u64) / U256::from(pairs as u64);
            let (mantissa, exponent) = exp_neg(part);
            let p = ((U256::from(mantissa) << BITS) >> exponent) / U256::from(TAU);
            p * U256::from(self.scaling.weight(m, p, ramp))
        })
    }
}

impl Scaling {
    /// The bounds of yarn's ramp, in pairs over 2^100.
    fn ramp(&self, width: usize, ln_theta: U256) -> [i128; 2] {
        let Self::Yarn {
            fast,
            slow,
            original,
            truncate,
            ..
        } = *self
        else {
            return [0, 0];
        };
        assert!(ln_theta > U256::from(ONE / 2), "a base from 2 on");
        let log = |x: f64| ln(fixed(from_1(x), BITS)) as i128;
        let tau = ln(U256::from(TAU)) as i128;
        // The pair that turns so many times.
        let pair = |turns: f64| {
            let log = log(original) - log(turns) - tau;
            let size = U256::from(log.unsigned_abs()) * U256::from(width as u64);
            let pair = ((size << RAMP_BITS) / (ln_theta * U256::from(2u32))).as_i128();
            pair * log.signum()
        };
        let [mut low, mut high] = [pair(fast), pair(slow)];
        if truncate {
            low = low >> RAMP_BITS << RAMP_BITS;
            high = -(-high >> RAMP_BITS << RAMP_BITS);
        }
        low = low.max(0);
        high = high.min((width as i128 - 1) << RAMP_BITS);
        if low == high {
            high += (1 << RAMP_BITS) / 1000;
        }
        [low, high]
    }

    /// s(p) over 2^120, of p over 2^120 of pair `m`, where yarn's ramp is between these bounds.
    fn weight(&self, m: usize, p: U256, [low, high]: [i128; 2]) -> u128 {
        match *self {
            Self::None => ONE,
            Self::Linear { factor } => divided(ONE, from_1(factor)),
            Self::Factors(ref factors) => {
                let factor = factors[m];
                assert!(PAIR_FACTORS.contains(&factor), "{factor} is in range");
                divided(ONE, factor.into())
            }
            Self::Yarn { factor, .. } => {
                let (at, length) = ((m as i128) << RAMP_BITS, high - low);
                // Where the bounds are the other way round, so is what is between them.
                let [n, d] = [(at - low) * length.signum(), length.abs()];
                let divided_part = match n {
                    ..=0 => 0,
                    n if n >= d => ONE,
                    n => ratio(U256::from(n as u128), U256::from(d as u128)),
                };
                ONE - divided_part + divided(divided_part, from_1(factor))
            }
            Self::Llama3 {
                factor,
                low,
                high,
                original,
            } => {
                assert!(
                    0.0 < low && low < high && high <= MAX_THETA,
                    "ordered bounds"
                );
                // 82 bits at most, times 118: p < 1/6.
                let turns = (fixed(from_1(original), 52) * p) >> 52u32;
                let (low, high) = (fixed(low, BITS), fixed(high, BITS));
                let kept = if turns <= low {
                    0
                } else if turns >= high {
                    ONE
                } else {
                    ratio(turns - low, high - low)
                };
                kept + divided(ONE - kept, from_1(factor))
            }
        }
    }
}

/// x/`factor` over 2^120, for x ≤ 1 and a factor of at least 1/4.
fn divided(x: u128, factor: f64) -> u128 {
    ((U256::from(x) << BITS) / fixed(factor, BITS)).as_u128()
}

/// n/d over 2^120, digit by digit: for n < d < 2^255.
fn ratio(n: U256, d: U256) -> u128 {
    let digit = |(rest, quotient): (U256, u128), _| {
        let (rest, quotient) = (rest << 1u32, quotient << 1);
        if rest >= d {
            (rest - d, quotient | 1)
        } else {
            (rest, quotient)
        }
    };
    (0..BITS).fold((n, 0), digit).1
}

/// x over 2^`bits`, for x from 2^-1022 to 2^30: exact if x ≥ 2^(52 − bits), else rounded down.
fn fixed(x: f64, bits: u32) -> U256 {
    let exponent = (x.to_bits() >> 52) as i32 - 1075;
    let mantissa = U256::from((x.to_bits() & ((1 << 52) - 1)) | (1 << 52));
    match exponent + bits as i32 {
        up @ 0.. => mantissa << up as u32,
        down => mantissa
            .checked_shr(down.unsigned_abs())
            .unwrap_or(U256::ZERO),
    }
}

fn from_1(x: f64) -> f64 {
    assert!((1.0..=MAX_THETA).contains(&x), "{x} is from 1 to 10^9");
    x
}

#[cfg(test)]
#[path = "frequencies_tests.rs"]
mod tests;
