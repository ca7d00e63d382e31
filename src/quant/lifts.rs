//! Which channels of a norm's output are lifted, and by how much.
//!
//! In some models a few channels of the residual stream are hundreds of times as large as the others; behind a norm they
//! are all that is left in 16 bits of the same scale, though gains may make up for it. There z_k has f_z + t_k fractional
//! bits, and the gain is γ_k/2^(t_k).
//!
//! ```text
//! max|z_k|·2^(f_z + t_k + headroom) < 2^15          what is stored fits
//! 4^(t_k)·m_k·2^(f_z − f_W) ≤ g_k                   before a map whose weights have f_W fractional bits
//! ```
//!
//! with m_k the mean of |z_k| in calibration and g_k the root mean square of the weights γ_k·W(k, ·) that read it: rounding z_k
//! changes a result by g_k·2^(−f_z−t_k−1), and rounding weights that are divided by 2^(t_k) by m_k·2^(t_k−f_W−1). t_k is the
//! largest at which the former is no less than the latter.

use super::fixed::power_of_two;
use super::scales::MAX_GAIN;
use super::{
    Calibration, FloatBlock, FloatMap, FloatNorm, FloatWeights, Lifts, MAX_LIFT, Options, Scales,
    Spread,
};

/// Behind a norm half of the channels are below this where a few drown them. (0.67 is usual.)
const DROWNED: f64 = 0.125;

/// Lifts the channels of the norms before attention, feed-forward part and head, where there is need.
pub fn lift(
    weights: &FloatWeights,
    calibration: &Calibration,
    options: Options,
    scales: &mut Scales,
) {
    let weight = scales.weight;
    let one = |spread: &Spread, output: u32, norm: FloatNorm, maps: &[FloatMap]| {
        let read = |k: usize| {
            let gain = norm.gain.get(k).map_or(1.0, |gain| f64::from(*gain));
            gain.abs() * root_mean_square(maps, k)
        };
        let fits = |k: usize, mean: f64, t: u8| {
            let rounded = power_of_two(2 * i64::from(t) + i64::from(output) - i64::from(weight));
            mean * rounded <= read(k)
        };
        lifts(spread, output, MAX_LIFT, options, fits)
    };
    for ((block, seen), scales) in weights
        .blocks
        .iter()
        .zip(&calibration.blocks)
        .zip(&mut scales.blocks)
    {
        let [first, second] = readers(block);
        if let (Some(norm), Some(scale)) = (block.norm1, scales.norm1) {
            scales.lifts1 = one(&seen.input, scale.output, norm, &first);
        }
        if let (Some(norm), Some(scale)) = (block.norm2, scales.norm2) {
            scales.lifts2 = one(&seen.middle, scale.output, norm, &second);
        }
    }
    // The final gain is a vector of its own, which gets as many bits as it loses.
    let most = (MAX_GAIN - scales.final_gain).min(MAX_LIFT.into()) as u8;
    let (seen, output) = (&calibration.final_norm, scales.final_norm.output);
    scales.final_lifts = lifts(seen, output, most, options, |_, _, _| true);
    scales.final_gain += u32::from(scales.final_lifts.iter().copied().max().unwrap_or(0));
}

/// What the gain of channel k is multiplied by.
pub fn lowered(lifts: &[u8], k: usize) -> f64 {
    power_of_two(-lifts.get(k).map_or(0, |t| i64::from(*t)))
}

/// The maps that read a block's norms: the second's, where there is none, read the first.
fn readers<'a>(block: &FloatBlock<'a>) -> [Vec<FloatMap<'a>>; 2] {
    let mut attention = vec![block.query, block.key, block.value];
    let feed_forward: Vec<FloatMap> = block.gate.into_iter().chain([block.up]).collect();
    if block.norm2.is_none() {
        attention.extend(&feed_forward);
    }
    [attention, feed_forward]
}

/// √(mean of W(k, ·)²) over all outputs of all maps.
fn root_mean_square(maps: &[FloatMap], k: usize) -> f64 {
    let weights = || maps.iter().flat_map(|map| map.row(k));
    let squares: f64 = weights().map(|w| f64::from(w) * f64::from(w)).sum();
    (squares / weights().count().max(1) as f64).sqrt()
}

/// t_k of each channel; none where no channel drowns another.
fn lifts(
    spread: &Spread,
    output: u32,
    most: u8,
    options: Options,
    fits: impl Fn(usize, f64, u8) -> bool,
) -> Lifts {
    if spread.median().is_none_or(|median| median >= DROWNED) {
        return vec![];
    }
    let one = |(k, [largest, mean]): (usize, [f64; 2])| {
        let stored = |t: u8| {
            let bits = i64::from(output) + i64::from(t) + i64::from(options.headroom);
            largest * power_of_two(bits) < 32_767.0
        };
        let within = |t: &u8| stored(*t) && fits(k, mean, *t);
        (1..=most).take_while(within).last().unwrap_or(0)
    };
    let lifts: Lifts = spread.channels().enumerate().map(one).collect();
    if lifts.iter().all(|t| *t == 0) {
        return vec![];
    }
    lifts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::{NormKind, Rows, Tensor};

    /// What is seen of a norm whose last channel is `loud`, the others ±1.
    fn seen(loud: f32) -> Spread {
        let rows = Rows {
            norm: NormKind::RootMeanSquare,
            width: 4,
            heads: [1, 1],
            head_width: 1,
            head_norm: None,
        };
        let mut calibration = Calibration::new(0, rows);
        let values = [1.0, -1.0, 1.0, loud, -1.0, -1.0, 1.0, loud];
        calibration.observe(0, Tensor::FinalNormInput, &values);
        calibration.final_norm
    }

    /// 1/500 behind the norm, of 2: 1/500·2^(10 + 1 + t) < 2^15 up to t = 12, 2·2^(10 + 1 + t) up to 2.
    #[test]
    fn quiet_channels_get_what_16_bits_leave() {
        let options = Options { headroom: 1 };
        let of = |loud, most| lifts(&seen(loud), 10, most, options, |_, _, _| true);
        assert_eq!(of(1000.0, MAX_LIFT), [12, 12, 12, 2]);
        assert_eq!(of(1000.0, 5), [5, 5, 5, 2]);
        assert_eq!(of(100.0, MAX_LIFT), [9, 9, 9, 3]);
        assert!(of(10.0, MAX_LIFT).is_empty(), "0.2 is not drowned");
        assert!(of(1000.0, 0).is_empty());
        let more = lifts(&seen(100.0), 10, 12, Options { headroom: 3 }, |_, _, _| {
            true
        });
        assert_eq!(more, [7, 7, 7, 1]);
    }

    /// Weights are not divided until their rounding counts for more than that of what they multiply.
    #[test]
    fn weights_keep_their_bits() {
        let fits = |k: usize, mean: f64, t: u8| {
            let gain = [1.0, 1000.0, 0.0, 1.0][k];
            mean * power_of_two(2 * i64::from(t) - 6) <= gain * 0.1
        };
        let lifts = lifts(&seen(1000.0), 10, 12, Options { headroom: 1 }, fits);
        // 4^t/500 ≤ 64·0.1, and for a gain of 1000.
        assert_eq!(lifts, [5, 10, 0, 0]);
    }
}
