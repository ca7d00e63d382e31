//! Queries and keys of about the same size, lane by lane.
//!
//! A score is Σ_m q_m·k_m, and lanes that turn together may be multiplied by 2^e in the queries and by 2^-e in the keys:
//! the function stays the same to the last bit. Some models have keys of hundreds in a few lanes; a 16-bit key would
//! then have few fractional bits in all of them.

use super::fixed::power_of_two;
use super::{Architecture, BlockCalibration, Calibration, HeadNorm};

/// The largest |e|: weights lose as many bits where they are divided.
const MOST: i32 = 8;

/// e for every lane of a block's keys, head by head: `[kv_heads · w]`.
pub type Balance = Vec<i32>;

/// The exponents that bring queries and keys closest to each other, after which the calibration is as if they had been
/// so; none where `is_short` says of the largest query and key that they do well as they are. The first `rotated` lanes
/// of a head turn in pairs (m, m + half of them).
pub fn balance(
    architecture: &Architecture,
    rotated: usize,
    calibration: &mut Calibration,
    is_short: impl Fn(f64, f64) -> bool,
) -> Vec<Balance> {
    let (w, group) = (architecture.head_width, architecture.group());
    let lanes = architecture.kv_heads * w;
    let shared = architecture.head_norm == Some(HeadNorm::Heads);
    // Lanes of one class have one exponent.
    let class = |lane: usize| {
        let (head, m) = (lane / w, lane % w);
        let pair = if m < rotated { m % (rotated / 2) } else { m };
        if shared { pair } else { head * w + pair }
    };
    let one = |block: &mut BlockCalibration| {
        let none = vec![0; lanes];
        let [query, key] = [&block.query, &block.key].map(|lanes| lanes.extent().max);
        if block.query.max.len() != lanes * group || !is_short(query, key) {
            return none;
        }
        let mut largest = vec![[0f64; 2]; lanes];
        for (lane, max) in block.key.max.iter().enumerate() {
            let [_, key] = &mut largest[class(lane)];
            *key = key.max(*max);
        }
        for (lane, max) in block.query.max.iter().enumerate() {
            let [query, _] = &mut largest[class(lane / w / group * w + lane % w)];
            *query = query.max(*max);
        }
        let exponents: Vec<i32> = (0..lanes)
            .map(|lane| exponent(largest[class(lane)]))
            .collect();
        for (lane, max) in block.key.max.iter_mut().enumerate() {
            *max *= power_of_two(i64::from(-exponents[lane]));
        }
        for (lane, max) in block.query.max.iter_mut().enumerate() {
            *max *= power_of_two(i64::from(exponents[lane / w / group * w + lane % w]));
        }
        exponents
    };
    calibration.blocks.iter_mut().map(one).collect()
}

/// e with 2^-e·key and 2^e·query within a factor of 2 of each other, or as near to it as may be.
fn exponent([query, key]: [f64; 2]) -> i32 {
    if !(query > 0.0 && key > 0.0 && query.is_finite() && key.is_finite()) {
        return 0;
    }
    let ratio = |e: i32| key / query * power_of_two(i64::from(-2 * e));
    let mut e = 0;
    while ratio(e) > 2.0 && e < MOST {
        e += 1;
    }
    while ratio(e) < 0.5 && e > -MOST {
        e -= 1;
    }
    e
}
