//! exp, ln, GELU, SiLU, sine and cosine by integer arithmetic, so that every machine builds the same
//! tables.
//!
//! Reals are held as integers over 2^120. The errors stated below are far smaller than the
//! distance of any table's value from a tie, which a test checks for the default scales.

use ethnum::U256;
use rayon::prelude::*;

/// Fractional bits of intermediate results.
pub(super) const BITS: u32 = 120;
pub(super) const ONE: u128 = 1 << BITS;

/// ln 2, over 2^120.
const LN_2: u128 = 0x00b1_7217_f7d1_cf79_abc9_e3b3_9803_f2f7;
/// 1/√(2π) = ½·√(2/π), over 2^120.
const INV_SQRT_TAU: u128 = 0x0066_2114_cf50_d942_343f_2cf1_402e_ae39;

/// round(2^fraction · exp(−u·2^-key_fraction)), for fraction ≤ 24.
pub fn exp_entry(u: u32, key_fraction: u32, fraction: u32) -> i64 {
    let t = U256::from(u) << (BITS - key_fraction);
    let (mantissa, exponent) = exp_neg(t);
    let shift = BITS + exponent - fraction;
    if shift >= 127 {
        return 0; // below 2^-6
    }
    ((mantissa + (1 << (shift - 1))) >> shift) as i64
}

/// Which form of max(0, x).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// x·σ(2·√(2/π)·(x + 0.044715·x³)), that is ½x(1 + tanh(√(2/π)(x + 0.044715x³))).
    Tanh,
    /// x·Φ(x), that is ½x(1 + erf(x/√2)).
    Erf,
    /// x·σ(x).
    Logistic,
    /// x·σ(1.702·x).
    Quick,
    /// max(0, x) itself.
    Step,
}

/// round(2^value_fraction · g(q·2^-fraction)) for −2^15 ≤ q < 2^15 in order, 4 ≤ fraction ≤ 14 and
/// fraction ≤ value_fraction ≤ 24.
///
/// All forms are g(x) = x·Φ(x) with Φ(−x) = 1 − Φ(x), so g(−x) = g(x) − x, where x itself is
/// exact at `value_fraction`: negative arguments need no computation of their own.
pub fn gate_entries(form: Gate, fraction: u32, value_fraction: u32) -> Vec<i64> {
    let half = 1u32 << 15;
    let rounded = |q| {
        let scaled = scaled_gate(form, q, fraction, value_fraction);
        ((scaled + (U256::ONE << (BITS - 1))) >> BITS).as_i64()
    };
    let positive: Vec<i64> = (0..=half).into_par_iter().map(rounded).collect();
    let negative = (1..=half)
        .rev()
        .map(|q| positive[q as usize] - (i64::from(q) << (value_fraction - fraction)));
    negative
        .chain(positive[..half as usize].iter().copied())
        .collect()
}

/// 2^value_fraction · g(q·2^-fraction) over 2^120, for q ≥ 0.
fn scaled_gate(form: Gate, q: u32, fraction: u32, value_fraction: u32) -> U256 {
    let phi = match form {
        Gate::Tanh => logistic(tanh_argument(q, fraction)),
        Gate::Erf => normal_cdf(q, fraction),
        Gate::Logistic => logistic(U256::from(q) << (BITS - fraction)),
        Gate::Quick => {
            logistic((U256::from(1702 * u64::from(q)) << (BITS - fraction)) / U256::from(1000u32))
        }
        Gate::Step => ONE,
    };
    (U256::from(phi) * U256::from(q)) << (value_fraction - fraction)
}

/// 2√(2/π)·(x + 0.044715·x³) over 2^120, for x = q·2^-f ≥ 0:
/// with the rational 44715/10^6, 4/√(2π) · q·(10^6·2^(2f) + 44715·q²) / (10^6·2^(3f)).
fn tanh_argument(q: u32, fraction: u32) -> U256 {
    const MILLION: u128 = 1_000_000;
    let q = u128::from(q);
    let numerator = q * ((MILLION << (2 * fraction)) + 44_715 * q * q); // below 2^64
    let denominator = MILLION << (3 * fraction); // below 2^62
    U256::from(INV_SQRT_TAU) * U256::from(4 * numerator) / U256::from(denominator)
}

/// 1/(1 + exp(−t)) over 2^120, for t ≥ 0.
fn logistic(t: U256) -> u128 {
    let (mantissa, exponent) = exp_neg(t);
    let exp = mantissa.checked_shr(exponent).unwrap_or(0);
    ((U256::ONE << (2 * BITS)) / U256::from(ONE + exp)).as_u128()
}

/// The distribution function of the normal law at x = q·2^-f ≥ 0, over 2^120:
///
/// ```text
/// Φ(x) = ½ + φ(x)·Σ_k x^(2k+1)/(2k+1)!!,   φ(x) = exp(−x²/2)/√(2π)
/// ```
///
/// All terms are positive and below 1 once φ(x) is multiplied in; they are held over 2^220,
/// because φ(x) may be as small as 2^-105.
fn normal_cdf(q: u32, fraction: u32) -> u128 {
    const TERM_BITS: u32 = 220;
    if q >> fraction >= 12 {
        return ONE; // 1 − Φ(12) < 2^-108
    }
    let square = U256::from(u64::from(q) * u64::from(q)); // at most 2^30
    let (mantissa, exponent) = exp_neg(square << (BITS - 2 * fraction - 1));
    let density =
        (U256::from(mantissa) * U256::from(INV_SQRT_TAU)) >> (2 * BITS - TERM_BITS + exponent);
    let mut term = (density * U256::from(q)) >> fraction;
    let mut sum = U256::ZERO;
    let mut odd = 1u32;
    // Terms rise, then fall faster than geometrically: the rest is below the last one.
    while term >> (TERM_BITS - BITS) != 0 {
        sum += term;
        odd += 2;
        term = ((term * square) >> (2 * fraction)) / U256::from(odd);
    }
    ONE / 2 + (sum >> (TERM_BITS - BITS)).as_u128()
}

/// exp(−t) for t ≥ 0 over 2^120, as (m, n) with exp(−t) = m·2^(−120−n) and ½ ≤ m·2^-120 ≤ 1.
///
/// n = ⌊t/ln 2⌋ and exp(−r), r = t − n·ln 2, by its Taylor series in Horner's form. The relative
/// error is below (n + 40)·2^-120.
pub(super) fn exp_neg(t: U256) -> (u128, u32) {
    const TERMS: u128 = 32; // 0.694^33/33! < 2^-139
    let exponent = (t / U256::from(LN_2)).as_u32();
    let rest = t - U256::from(LN_2) * U256::from(exponent);
    let sum = (1..=TERMS).rev().fold(ONE, |sum, k| {
        ONE - ((rest * U256::from(sum)) >> BITS).as_u128() / k
    });
    (sum, exponent)
}

/// ln x over 2^120, for x·2^-120 from 1 to 2^31. The error is below 128·2^-120.
///
/// With x = 2^k·y, 1 ≤ y < 2: k·ln 2 + 2·artanh z, z = (y − 1)/(y + 1) < 1/3, by its series
/// z + z³/3 + z⁵/5 + …
///
/// In units of 2^-120, k·ln 2 is wrong by at most k/2 < 16 and z by 1. Each of the 39 terms that
/// are not 0 is then wrong by at most 1 for its division and 2/(2j + 1) for its power: by 48
/// together, doubled 96.
pub(super) fn ln(x: U256) -> u128 {
    let k = 255 - x.leading_zeros() - BITS;
    let y = (x >> k).as_u128(); // exact for an f64, which has 53 digits
    let z = ((U256::from(y - ONE) << BITS) / U256::from(y + ONE)).as_u128();
    let product = |a: u128, b: u128| ((U256::from(a) * U256::from(b)) >> BITS).as_u128();
    let square = product(z, z);
    let powers = std::iter::successors(Some(z), |power| Some(product(*power, square)));
    let terms = powers.take_while(|power| *power != 0).zip(0u128..);
    let artanh: u128 = terms.map(|(power, j)| power / (2 * j + 1)).sum();
    LN_2 * u128::from(k) + 2 * artanh
}

/// 2π, over 2^120.
pub(super) const TAU: u128 = 0x0648_7ed5_110b_4611_a626_3314_5c06_e0e7;

/// Fractional bits of a rotation's cosines and sines.
pub const ROTATION_BITS: u32 = 14;

/// 2^14·(cos, sin) of `phase`·2^-64 of a full circle, each rounded to the nearest integer.
pub fn rotation_entry(phase: u64) -> (i64, i64) {
    // The angle is a whole number of quarter turns and a rest in [−1/8, 1/8] of the circle.
    let quarter = (phase.wrapping_add(1 << 61)) >> 62;
    let rest = phase.wrapping_sub(quarter << 62) as i64;
    let angle = ((U256::from(rest.unsigned_abs()) * U256::from(TAU)) >> 64u32).as_u128();
    let (cos, sin) = (round_trig(taylor(angle, 0)), round_trig(taylor(angle, 1)));
    let sin = if rest < 0 { -sin } else { sin };
    match quarter {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}

/// cos (`first` 0) or sin (`first` 1) of an angle in [0, π/4] over 2^120, by its Taylor series in
/// Horner's form: x^first·(1 − x²/((first+1)(first+2))·(1 − …)).
fn taylor(angle: u128, first: u128) -> u128 {
    const TERMS: u128 = 18; // 0.786^36/36! < 2^-140
    let square = ((U256::from(angle) * U256::from(angle)) >> BITS).as_u128();
    let sum = (1..=TERMS).rev().fold(ONE, |sum, k| {
        let divisor = (2 * k - 1 + first) * (2 * k + first);
        ONE - ((U256::from(square) * U256::from(sum)) >> BITS).as_u128() / divisor
    });
    if first == 0 {
        sum
    } else {
        ((U256::from(angle) * U256::from(sum)) >> BITS).as_u128()
    }
}

fn round_trig(x: u128) -> i64 {
    const SHIFT: u32 = BITS - ROTATION_BITS;
    ((x + (1 << (SHIFT - 1))) >> SHIFT) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ln 2 = Σ 1/(k·2^k), and 1/√(2π) from Machin's π: the constants are what they claim to be.
    #[test]
    fn the_constants_follow_from_their_series() {
        let extra = 40; // guard bits
        let one = U256::ONE << (BITS + extra);
        let ln_2: U256 = (1u32..200)
            .map(|k| (one >> k) / U256::from(k))
            .fold(U256::ZERO, |a, b| a + b);
        assert_eq!(
            ((ln_2 + (U256::ONE << (extra - 1))) >> extra).as_u128(),
            LN_2
        );

        let arctan_inverse = |n: u32| {
            let (mut sum, mut power) = (U256::ZERO, one / U256::from(n));
            for k in 0..120u32 {
                let term = power / U256::from(2 * k + 1);
                sum = if k % 2 == 0 { sum + term } else { sum - term };
                power /= U256::from(n * n);
            }
            sum
        };
        let pi = (arctan_inverse(5) * U256::from(16u32) - arctan_inverse(239) * U256::from(4u32))
            >> extra;
        let tau = (pi * U256::from(2u32)).as_u128();
        assert!(tau.abs_diff(TAU) <= 1, "{tau:#x}");
        // c is the nearest: 2π·(c ± ½)² brackets 1. With C = 2c ± 1 over 2^121.
        let tau_square = |c: u128| {
            let square = (U256::from(c) * U256::from(c)) >> (BITS + 2);
            (square * pi * U256::from(2u32)) >> BITS
        };
        assert!(tau_square(2 * INV_SQRT_TAU - 1) < U256::from(ONE));
        assert!(tau_square(2 * INV_SQRT_TAU + 1) >= U256::from(ONE));
    }

    #[test]
    fn exp_is_multiplicative_and_agrees_with_floating_point() {
        for (a, b) in [(1u32, 2u32), (700, 1300), (2048, 2048), (9999, 12345)] {
            let exp = |u: u32| {
                let (mantissa, exponent) = exp_neg(U256::from(u) << (BITS - 11));
                mantissa as f64 * (-f64::from(BITS + exponent)).exp2()
            };
            let (sum, product) = (exp(a + b), exp(a) * exp(b));
            assert!((sum / product - 1.0).abs() < 1e-14);
            assert!((exp(a) / (-f64::from(a) / 2048.0).exp() - 1.0).abs() < 1e-14);
        }
    }

    /// ln(2^k) = k·ln 2, ln(a·b) = ln a + ln b, and both against floating point.
    #[test]
    fn ln_is_additive_and_agrees_with_floating_point() {
        let ln = |n: u32| ln(U256::from(n) << BITS);
        assert_eq!((ln(1), ln(1 << 30)), (0, 30 * LN_2));
        for (a, b) in [(3u32, 5u32), (10_000, 99_999), (7, 99_999_989)] {
            assert!(ln(a * b).abs_diff(ln(a) + ln(b)) < 3 * 128);
            let found = ln(a) as f64 / ONE as f64;
            assert!((found / f64::from(a).ln() - 1.0).abs() < 1e-14);
        }
    }

    /// The distance of v over 2^120 from the nearest tie, as a power of two.
    fn distance_from_tie(v: U256) -> f64 {
        let fraction = (v & U256::from(ONE - 1)).as_u128();
        (fraction.abs_diff(ONE / 2) as f64).log2() - f64::from(BITS)
    }

    /// With errors below 2^-90, a value at least 2^-40 from every tie is correctly rounded.
    #[test]
    fn no_activation_is_near_enough_to_a_tie_to_be_rounded_wrongly() {
        for form in [Gate::Tanh, Gate::Erf, Gate::Logistic, Gate::Quick] {
            for fraction in [8, 9, 11] {
                let nearest = (0..=1 << 15)
                    .map(|q| distance_from_tie(scaled_gate(form, q, fraction, 14)))
                    .fold(0.0, f64::min);
                assert!(nearest > -40.0, "{form:?} at {fraction}: 2^{nearest}");
            }
        }
    }

    /// gelu(−x) = gelu(x) − x must also hold where it is not how the value was computed.
    #[test]
    fn negative_arguments_agree_with_floating_point() {
        let entries = gate_entries(Gate::Tanh, 11, 14);
        for q in [-1, -17, -2048, -6000, -10_000, -32768] {
            let x = f64::from(q) / 2048.0;
            let y = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            let expected = 0.5 * x * (1.0 + y.tanh()) * 16384.0;
            let found = entries[(q + 32768) as usize] as f64;
            assert!(
                (found - expected).abs() < 0.5 + 1e-6,
                "{q}: {found} {expected}"
            );
        }
    }

    /// Cosines and sines against floating point, all around the circle and at its corners.
    #[test]
    fn rotations_agree_with_floating_point() {
        let odd = 0x9e37_79b9_7f4a_7c15u64;
        let phases = (0..2000u64).map(|i| i.wrapping_mul(odd));
        let corners = (0..8u64).flat_map(|e| [e << 61, (e << 61).wrapping_sub(1), (e << 61) + 1]);
        for phase in phases.chain(corners) {
            let angle = phase as f64 / 2f64.powi(64) * std::f64::consts::TAU;
            let (cos, sin) = rotation_entry(phase);
            for (found, expected) in [(cos, angle.cos()), (sin, angle.sin())] {
                let difference = (found as f64 - 16384.0 * expected).abs();
                assert!(difference < 0.5 + 1e-6, "{phase:#x}: {found}");
            }
        }
        assert_eq!(rotation_entry(0), (16384, 0));
        assert_eq!(rotation_entry(1 << 62), (0, 16384));
        assert_eq!(rotation_entry(1 << 63), (-16384, 0));
        assert_eq!(rotation_entry(3 << 62), (0, -16384));
    }
}
