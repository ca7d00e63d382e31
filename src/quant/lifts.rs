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
//! largest at which the former is no less than the latter. A channel that was zero in calibration is not lifted. Where half of the
//! channels have fewer than five bits, and more would be of use, the model is refused.

use super::fixed::power_of_two;
use super::scales::{self, MAX_GAIN, STREAM, least_audible};
use super::{
    Calibration, FloatBlock, FloatMap, FloatNorm, FloatWeights, Lifts, MAX_LIFT, NormScale,
    Options, Place, QuantError, Scales, Spread,
};

/// Behind a norm half of the channels are below this where a few drown them. (0.67 is usual.)
const DROWNED: f64 = 0.125;

/// Lifts the channels of the norms before attention, feed-forward part and head, where there is need.
///
/// # Errors
/// [`QuantError::Faint`] where that is not enough.
pub fn lift(
    weights: &FloatWeights,
    calibration: &Calibration,
    options: Options,
    scales: &mut Scales,
) -> Result<(), QuantError> {
    let weight = scales.weight;
    let one = |place, spread: &Spread, scale: NormScale, norm: FloatNorm, maps: &[FloatMap]| {
        let output = scale.output;
        let read = |k: usize| {
            let gain = norm.gain.get(k).map_or(1.0, |gain| f64::from(*gain));
            gain.abs() * root_mean_square(maps, k)
        };
        let of_use = |k: usize, mean: f64, t: u8| {
            let rounded = power_of_two(2 * i64::from(t) + i64::from(output) - i64::from(weight));
            mean * rounded <= read(k)
        };
        lifts(place, spread, (output, MAX_LIFT), options, of_use)
    };
    let blocks = weights.blocks.iter().zip(&calibration.blocks);
    for (index, ((block, seen), scales)) in blocks.zip(&mut scales.blocks).enumerate() {
        let place = Place::Block(index);
        let [first, second] = readers(block);
        if let (Some(norm), Some(scale)) = (block.norm1, scales.norm1) {
            scales.lifts1 = one(place, &seen.input, scale, norm, &first)?;
        }
        if let (Some(norm), Some(scale)) = (block.norm2, scales.norm2) {
            scales.lifts2 = one(place, &seen.middle, scale, norm, &second)?;
        }
    }
    // The final gain is a vector of its own, which gets as many bits as it loses.
    let most = (MAX_GAIN - scales.final_gain).min(MAX_LIFT.into()) as u8;
    let (seen, output) = (&calibration.final_norm, scales.final_norm.output);
    scales.final_lifts = lifts(Place::Head, seen, (output, most), options, |_, _, _| true)?;
    scales.final_gain += u32::from(scales.final_lifts.iter().copied().max().unwrap_or(0));
    Ok(())
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

/// t_k of each channel, `most` at most; none where no channel drowns another. `of_use(k, m_k, t)` says whether t bits more are
/// no worse for what reads the channel than t − 1.
fn lifts(
    place: Place,
    spread: &Spread,
    (output, most): (u32, u8),
    options: Options,
    of_use: impl Fn(usize, f64, u8) -> bool,
) -> Result<Lifts, QuantError> {
    let Some(median) = spread.median().filter(|median| *median < DROWNED) else {
        return Ok(vec![]);
    };
    let mut faint = 0;
    let one = |(k, [largest, mean]): (usize, [f64; 2])| {
        let stored = |t: u8| {
            let bits = i64::from(output) + i64::from(t) + i64::from(options.headroom);
            largest * power_of_two(bits) < 32_767.0
        };
        let useful = |t: u8| mean > 0.0 && of_use(k, mean, t);
        let chosen = (1..=most).take_while(|t| stored(*t) && useful(*t));
        let chosen = chosen.last().unwrap_or(0);
        faint += usize::from(mean < least_audible(output, chosen) && useful(chosen + 1));
        chosen
    };
    let lifts: Lifts = spread.channels().enumerate().map(one).collect();
    if 2 * faint > lifts.len() {
        let needed = least_audible(output, most);
        return Err(scales::faint((place, STREAM), median, needed));
    }
    if lifts.iter().all(|t| *t == 0) {
        return Ok(vec![]);
    }
    Ok(lifts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::testing::rows;
    use crate::quant::{NormKind, Tensor};

    const HEAD: Place = Place::Head;

    fn empty() -> Calibration {
        Calibration::new(0, rows(NormKind::RootMeanSquare, 4))
    }

    /// What is seen of a norm whose last channel is `loud`, the others ±1.
    fn seen(loud: f32) -> Spread {
        let mut calibration = empty();
        let values = [1.0, -1.0, 1.0, loud, -1.0, -1.0, 1.0, loud];
        calibration.observe(0, Tensor::FinalNormInput, &values);
        calibration.final_norm
    }

    /// 1/500 behind the norm, of 2: 1/500·2^(10 + 1 + t) < 2^15 up to t = 12, 2·2^(10 + 1 + t) up to 2.
    #[test]
    fn quiet_channels_get_what_16_bits_leave() {
        let options = Options { headroom: 1 };
        let of = |loud, most| {
            lifts(HEAD, &seen(loud), (10, most), options, |_, _, _| true).expect("audible")
        };
        assert_eq!(of(1000.0, MAX_LIFT), [12, 12, 12, 2]);
        assert_eq!(of(1000.0, 5), [5, 5, 5, 2]);
        assert_eq!(of(100.0, MAX_LIFT), [9, 9, 9, 3]);
        assert!(of(10.0, MAX_LIFT).is_empty(), "0.2 is not drowned");
        let more = Options { headroom: 3 };
        let more = lifts(HEAD, &seen(100.0), (10, 12), more, |_, _, _| true);
        assert_eq!(more, Ok(vec![7, 7, 7, 1]));
    }

    /// Channels that would need more than they are given are too faint; those of no use are not.
    #[test]
    fn what_stays_faint_is_refused() {
        let options = Options { headroom: 1 };
        let of = |loud, most, of_use: bool| {
            lifts(HEAD, &seen(loud), (10, most), options, |_, _, _| of_use)
        };
        // 2^-9·2^10 is 1 bit, with 5 more 6.
        assert_eq!(of(1000.0, 5, true), Ok(vec![5, 5, 5, 2]));
        for (loud, most) in [(1000.0, 2), (1e6, 12)] {
            let Err(QuantError::Faint { place, .. }) = of(loud, most, true) else {
                panic!("{loud} with {most} bits");
            };
            assert_eq!(place, HEAD);
        }
        assert_eq!(of(1e6, 12, false), Ok(vec![]));
    }

    /// A channel that calibration never saw has no lift: nothing says how large it may be.
    #[test]
    fn channels_that_were_zero_are_not_lifted() {
        let mut calibration = empty();
        calibration.observe(0, Tensor::FinalNormInput, &[1.0, 0.0, -1.0, 1000.0]);
        let (seen, options) = (&calibration.final_norm, Options { headroom: 1 });
        let lifts = lifts(HEAD, seen, (10, 12), options, |_, _, _| true);
        assert_eq!(lifts, Ok(vec![12, 0, 12, 2]));
    }

    /// Weights are not divided until their rounding counts for more than that of what they multiply.
    #[test]
    fn weights_keep_their_bits() {
        let fits = |k: usize, mean: f64, t: u8| {
            let gain = [1.0, 1000.0, 0.0, 1.0][k];
            mean * power_of_two(2 * i64::from(t) - 6) <= gain * 0.1
        };
        let options = Options { headroom: 1 };
        let lifts = lifts(HEAD, &seen(1000.0), (10, 12), options, fits);
        // 4^t/500 ≤ 64·0.1, and for a gain of 1000.
        assert_eq!(lifts, Ok(vec![5, 10, 0, 0]));
    }
}
