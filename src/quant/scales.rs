//! How scales follow from calibration.
//!
//! | tensor | scale |
//! | --- | --- |
//! | residual stream, branches | 12, or as many bits as the largest value leaves of 32 |
//! | output of a norm behind attention or feed-forward part | as the residual stream |
//! | queries and keys before their norm | as many bits as the largest value leaves of 32 |
//! | norm output z | 10, one less for each factor 4 in d from 1024 on: |z| ≤ √d, 16 bits |
//! | norm root R | z's + 32, or + 48 where that keeps too few bits of R in any block |
//! | q, k | as many bits as the largest value leaves of 16, while σ ≤ 16 and ⌊D·2^-σ⌋ fits its keys |
//! | activation key | 8 to 11, the same for all blocks |
//!
//! A norm's output has the same scale in all channels, but before a map or in the head, where quiet ones can be lifted
//! ([`super::lifts`]). Where a few are so large that half of the others would have fewer than five bits, though they would be of use, the
//! model is refused.
//!
//! where σ = f_q + f_k − 11 is the number of bits that an attention score loses on becoming the
//! key of the exp table.

use super::calibrate::{Extent, Spread};
use super::fixed::power_of_two;
use super::tables::{ACTIVATION_BITS, EXP_BITS, EXP_FRACTION, IS_ZERO_BITS};
use super::{
    Architecture, BlockCalibration, BlockScales, Calibration, Factors, HeadNorm, HeadNormScale,
    Lifts, NormKind, NormScale, NormSize, Place, QuantError, Scales,
};

/// The largest σ: the remainder of D has one limb.
pub(super) const MAX_SIGMA: u32 = 16;
/// The activation key's scales.
const ACTIVATION_KEYS: std::ops::RangeInclusive<u32> = 8..=11;
/// R must be at least 2^13 for the largest variance: its rounding then changes z by less than
/// 2^-13 of its size.
const ROOT_PRECISION: u32 = 13;

const RESIDUAL: u32 = 12;
const WEIGHT: u32 = 16;
const EXP: u32 = 20;
const ACTIVATION_VALUE: u32 = 14;
const OUTPUT_BIAS: u32 = 40;
const FINAL_GAIN: u32 = 10;
const GAIN: u32 = 16;
const NORM_OUTPUT: u32 = 10;
/// The most fractional bits of a gain.
pub(super) const MAX_GAIN: u32 = 24;
/// The most fractional bits of queries and keys before their norm.
pub(super) const MAX_HEAD_INPUT: u32 = 24;
/// How many bits half of a norm's outputs must have: with fewer, answers are other ones than in floating point.
const FAINT_BITS: u32 = 5;
pub(super) const STREAM: &str = "the residual stream";
/// How precise n = ⌊2^w/Z⌋ is at least, in bits.
const INVERSE_PRECISION: u32 = 14;

/// Choices of whoever quantizes a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bits by which values may exceed the largest seen in calibration.
    pub headroom: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { headroom: 1 }
    }
}

/// ⌈log₂ n⌉, for n ≥ 1.
pub fn ceil_log2(n: usize) -> u32 {
    n.next_power_of_two().ilog2()
}

/// The largest scale at which a norm's output, |z| ≤ √(d−1), fits in 16 signed bits, up to 10.
pub fn max_norm_output(width: usize) -> u32 {
    let halves = width.max(256).ilog2() - 8; // √d < 2^(4 + ⌊halves/2⌋ + 1)
    NORM_OUTPUT.saturating_sub(halves / 2)
}

/// The least σ: D < 2^31·`head_lanes`, and ⌊D·2^-σ⌋ must fit the keys u and v together.
pub fn min_sigma(head_lanes: usize) -> u32 {
    31 + ceil_log2(head_lanes) - EXP_BITS - IS_ZERO_BITS
}

impl NormKind {
    /// m, where the values whose squares are averaged are m times the real ones.
    pub fn multiple(self, width: usize) -> usize {
        match self {
            Self::Layer => width,
            Self::RootMeanSquare => 1,
        }
    }
}

impl Architecture {
    /// What the norms of the residual stream are taken of.
    pub fn norm_size(&self) -> NormSize {
        NormSize::new(self.norm, self.width)
    }

    /// What the norms of queries (of `heads` heads) or keys are taken of, if they are normalized.
    pub fn head_norm_size(&self, heads: usize) -> Option<NormSize> {
        let heads = match self.head_norm? {
            HeadNorm::Heads => 1,
            HeadNorm::Whole => heads,
        };
        Some(NormSize {
            kind: NormKind::RootMeanSquare,
            width: heads * self.head_width,
            lanes: heads * self.head_lanes(),
        })
    }
}

/// The scales of a model. `embedding_max` bounds |token embedding + position embedding|.
///
/// # Errors
/// [`QuantError::NotCalibrated`] where a tensor was never seen; [`QuantError::CalibratedRange`]
/// and [`QuantError::ScoreScale`] where its values are too large.
pub fn choose_scales(
    architecture: &Architecture,
    factors: &Factors,
    embedding_max: f64,
    calibration: &Calibration,
    options: Options,
) -> Result<Scales, QuantError> {
    if calibration.blocks.len() != architecture.layers {
        return Err(QuantError::Architecture {
            what: "number of calibrated blocks",
            found: calibration.blocks.len().to_string(),
            expected: "the number of the model's blocks",
        });
    }
    let residual = residual_scale(architecture, embedding_max, calibration, options)?;
    let mut blocks = calibration
        .blocks
        .iter()
        .enumerate()
        .map(|(index, block)| block_scales(architecture, residual, (index, block), options))
        .collect::<Result<Vec<_>, _>>()?;
    lengthen_roots(&mut blocks);
    // What the embedding is multiplied by, a tied head's gain is divided by.
    let lost = match architecture.tied {
        true => (0..16)
            .find(|n| factors.embedding <= f64::from(1 << n))
            .unwrap_or(16),
        false => 0,
    };
    Ok(Scales {
        residual,
        weight: WEIGHT,
        output_bias: OUTPUT_BIAS,
        exp: EXP,
        inverse: EXP + ceil_log2(architecture.context) + INVERSE_PRECISION,
        activation_key: activation_scale(calibration, options)?,
        activation_value: ACTIVATION_VALUE,
        final_gain: (FINAL_GAIN + lost).min(MAX_GAIN),
        gain: GAIN,
        final_norm: norm_scale(architecture.norm_size(), residual, &calibration.final_norm),
        final_lifts: Lifts::new(),
        blocks,
    })
}

/// The roots of a norm have as many bits in all blocks as in the one that needs most: blocks of one form are proved together.
fn lengthen_roots(blocks: &mut [BlockScales]) {
    let norms: [fn(&mut BlockScales) -> Option<&mut NormScale>; 6] = [
        |b| b.norm1.as_mut(),
        |b| b.norm2.as_mut(),
        |b| b.attention_norm.as_mut(),
        |b| b.feed_forward_norm.as_mut(),
        |b| b.query_norm.as_mut().map(|scale| &mut scale.norm),
        |b| b.key_norm.as_mut().map(|scale| &mut scale.norm),
    ];
    for norm in norms {
        let roots = blocks.iter_mut().filter_map(norm).map(|scale| scale.root);
        let Some(most) = roots.max() else { continue };
        for scale in blocks.iter_mut().filter_map(norm) {
            scale.root = most;
        }
    }
}

fn block_scales(
    architecture: &Architecture,
    residual: u32,
    (index, block): (usize, &BlockCalibration),
    options: Options,
) -> Result<BlockScales, QuantError> {
    let (place, size) = (Place::Block(index), architecture.norm_size());
    let norm = |spread: &Spread| norm_scale(size, residual, spread);
    let [first, second] = architecture.order.before();
    let behind = architecture.order.behind();
    let norm1 = first.then(|| norm(&block.input));
    let read = norm1.map_or(residual, |norm| norm.output) + WEIGHT;
    // Of queries or keys: what enters their norm, and its scale.
    let head_norm = |heads, tensor, spread: &Spread| {
        let size = architecture.head_norm_size(heads);
        let scale = |size| {
            let stored = Stored::new(place, tensor, &spread.extent, 32, options)?;
            // Beyond this, ε would be of more bits than a norm's constant may have.
            let input = stored.fit(0..=read.min(MAX_HEAD_INPUT))?;
            Ok(HeadNormScale {
                input,
                norm: audible((place, tensor), norm_scale(size, input, spread), spread)?,
            })
        };
        size.map(scale).transpose()
    };
    let query_norm = head_norm(
        architecture.heads,
        "query before its norm",
        &block.query_input,
    )?;
    let key_norm = head_norm(
        architecture.kv_heads,
        "key before its norm",
        &block.key_input,
    )?;
    let met = |norm: Option<HeadNormScale>| {
        norm.map_or(read, |scale| scale.norm.output + GAIN) + architecture.rotation(index)
    };
    let sides = (&block.query.extent(), &block.key.extent());
    let least = min_sigma(architecture.head_lanes());
    let (q, k) = score_scales(
        place,
        sides,
        met(query_norm).min(met(key_norm)),
        least,
        options,
    )?;
    let norm2 = second.then(|| norm(&block.middle));
    let norm = |tensor, spread: &Spread| {
        let scale = || audible((place, tensor), norm(spread), spread);
        behind.then(scale).transpose()
    };
    Ok(BlockScales {
        norm1,
        lifts1: Lifts::new(),
        norm2,
        lifts2: Lifts::new(),
        attention_norm: norm("the attention's output", &block.attention_output)?,
        feed_forward_norm: norm("the feed-forward output", &block.feed_forward_output)?,
        query_norm,
        key_norm,
        q,
        k,
    })
}

/// Whether more fractional bits of queries and keys would be of use than the largest of them leave.
pub fn scores_are_short(query: f64, key: f64, options: Options) -> bool {
    let fit = |max: f64| {
        let stored = Stored {
            place: Place::Head,
            tensor: "",
            max,
            bits: 16,
            headroom: options.headroom,
        };
        stored.fit(0..=MAX_SIGMA + EXP_FRACTION).unwrap_or(0)
    };
    fit(query) + fit(key) < MAX_SIGMA + EXP_FRACTION
}

/// A calibrated tensor and the number of bits in which its values are stored.
struct Stored {
    place: Place,
    tensor: &'static str,
    max: f64,
    bits: u32,
    headroom: u32,
}

impl Stored {
    fn new(
        place: Place,
        tensor: &'static str,
        extent: &Extent,
        bits: u32,
        options: Options,
    ) -> Result<Self, QuantError> {
        if extent.count == 0 {
            return Err(QuantError::NotCalibrated { place, tensor });
        }
        Ok(Self {
            place,
            tensor,
            max: extent.max,
            bits,
            headroom: options.headroom,
        })
    }

    /// The largest scale in `range` with round(max·2^(f + headroom)) < 2^(bits − 1).
    fn fit(&self, range: std::ops::RangeInclusive<u32>) -> Result<u32, QuantError> {
        let largest = power_of_two(i64::from(self.bits) - 1) - 1.0;
        // In floating point, no number of bits of headroom overflows.
        let factor = |f: u32| power_of_two(i64::from(f) + i64::from(self.headroom));
        range
            .clone()
            .rev()
            .find(|f| (self.max * factor(*f)).round() <= largest)
            .ok_or(QuantError::CalibratedRange {
                place: self.place,
                tensor: self.tensor,
                value: self.max,
                limit: largest / factor(*range.start()),
                headroom: self.headroom,
            })
    }
}

/// One scale for all that is added to the stream, and for what enters the norms behind.
fn residual_scale(
    architecture: &Architecture,
    embedding_max: f64,
    calibration: &Calibration,
    options: Options,
) -> Result<u32, QuantError> {
    let embeddings = Extent {
        max: embedding_max,
        count: 1,
    };
    let behind = architecture.order.behind();
    let blocks = calibration.blocks.iter().enumerate().flat_map(|(i, b)| {
        let place = Place::Block(i);
        let always = [
            (place, STREAM, &b.input.extent),
            (place, "the attention's output", &b.attention_branch),
            (place, STREAM, &b.middle.extent),
            (place, "the feed-forward output", &b.feed_forward_branch),
        ];
        let outputs = [
            (place, "the attention's output", &b.attention_output.extent),
            (
                place,
                "the feed-forward output",
                &b.feed_forward_output.extent,
            ),
        ];
        always
            .into_iter()
            .chain(outputs.into_iter().filter(move |_| behind))
    });
    let head = (Place::Head, STREAM, &calibration.final_norm.extent);
    blocks
        .chain([head, (Place::Embedding, "the embedding", &embeddings)])
        .try_fold(RESIDUAL, |scale, (place, tensor, extent)| {
            Stored::new(place, tensor, extent, 32, options)?.fit(0..=scale)
        })
}

/// The scales of a norm.
///
/// R ≈ 2^r / (m·2^f·σ): its smallest value seen must keep [`ROOT_PRECISION`] bits. That is
/// m²·2^(2f)·σ² ≤ 2^(2(r − 13)), without a logarithm or root: rounded once.
fn norm_scale(size: NormSize, input: u32, spread: &Spread) -> NormScale {
    let output = max_norm_output(size.width);
    let multiple = size.multiple() as f64;
    let power = |n: u32| power_of_two(2 * i64::from(n));
    let squares = multiple * multiple * power(input) * spread.variance_max;
    let root = if squares <= power(output + 32 - ROOT_PRECISION) {
        output + 32
    } else {
        output + 48
    };
    NormScale { output, root }
}

/// Refuses a norm without lifts half of whose outputs have fewer than [`FAINT_BITS`] bits.
fn audible(
    (place, tensor): (Place, &'static str),
    scale: NormScale,
    spread: &Spread,
) -> Result<NormScale, QuantError> {
    let needed = least_audible(scale.output, 0);
    match spread.median().filter(|median| *median < needed) {
        Some(median) => Err(faint((place, tensor), median, needed)),
        None => Ok(scale),
    }
}

/// What has [`FAINT_BITS`] bits behind a norm, in a channel that is lifted by `lift`.
pub fn least_audible(output: u32, lift: u8) -> f64 {
    power_of_two(i64::from(FAINT_BITS) - i64::from(output) - i64::from(lift))
}

/// That half of the channels have fewer.
pub fn faint((place, tensor): (Place, &'static str), median: f64, needed: f64) -> QuantError {
    QuantError::Faint {
        place,
        tensor,
        median,
        needed,
        bits: FAINT_BITS,
    }
}

/// The scales of q (with 1/√w in it) and k, both as they meet.
fn score_scales(
    place: Place,
    (query, key): (&Extent, &Extent),
    accumulator: u32,
    min_sigma: u32,
    options: Options,
) -> Result<(u32, u32), QuantError> {
    let query = Stored::new(place, "query", query, 16, options)?;
    let key = Stored::new(place, "key", key, 16, options)?;
    let (mut q, mut k) = (query.fit(0..=accumulator)?, key.fit(0..=accumulator)?);
    while q + k > MAX_SIGMA + EXP_FRACTION {
        if q >= k { q -= 1 } else { k -= 1 }
    }
    if q + k < min_sigma + EXP_FRACTION {
        return Err(QuantError::ScoreScale {
            place,
            query: query.max,
            key: key.max,
            fraction: q + k,
            needed: min_sigma + EXP_FRACTION,
        });
    }
    Ok((q, k))
}

fn activation_scale(calibration: &Calibration, options: Options) -> Result<u32, QuantError> {
    let (low, high) = ACTIVATION_KEYS.into_inner();
    calibration
        .blocks
        .iter()
        .enumerate()
        .try_fold(high, |scale, (index, block)| {
            Stored::new(
                Place::Block(index),
                "the activation's argument",
                &block.pre_activation,
                ACTIVATION_BITS,
                options,
            )?
            .fit(low..=scale)
        })
}

impl BlockScales {
    /// σ = f_q + f_k − 11: the bits that a score loses on becoming a key of the exp table.
    /// [`min_sigma`] ≤ σ ≤ 16 in a checked manifest.
    pub fn sigma(&self) -> u32 {
        self.q + self.k - EXP_FRACTION
    }
}

impl Scales {
    /// The fractional bits of what a block's attention reads.
    pub fn attention_input(&self, block: usize) -> u32 {
        self.blocks[block]
            .norm1
            .map_or(self.residual, |norm| norm.output)
    }

    /// The fractional bits of what a block's feed-forward part reads: its norm's, the only norm's, or the stream's.
    pub fn feed_forward_input(&self, block: usize) -> u32 {
        let block = &self.blocks[block];
        let norm = block.norm2.or(block.norm1);
        norm.map_or(self.residual, |norm| norm.output)
    }

    /// The fractional bits of the projections to q, k and v (which keeps them).
    pub fn attention_accumulator(&self, block: usize) -> u32 {
        self.attention_input(block) + self.weight
    }

    /// The fractional bits of Σ n·O·W_o.
    pub fn output_accumulator(&self, block: usize) -> u32 {
        self.inverse + self.attention_accumulator(block) + self.weight
    }

    /// The fractional bits of the up projection's accumulator.
    pub fn up_accumulator(&self, block: usize) -> u32 {
        self.feed_forward_input(block) + self.weight
    }

    /// The fractional bits of the down projection's accumulator; a gated activation has those of
    /// the exact up projection besides its own.
    pub fn down_accumulator(&self, architecture: &Architecture, block: usize) -> u32 {
        let gate = if architecture.gated {
            self.up_accumulator(block)
        } else {
            0
        };
        gate + self.activation_value + self.weight
    }

    /// The fractional bits of queries (`norm` theirs) or keys before they are rounded to 16 bits: projected or normalized,
    /// and rotated.
    pub fn score_accumulator(
        &self,
        architecture: &Architecture,
        block: usize,
        norm: Option<HeadNormScale>,
    ) -> u32 {
        let projected = self.attention_accumulator(block);
        norm.map_or(projected, |scale| scale.norm.output + self.gain) + architecture.rotation(block)
    }

    /// The fractional bits of γ·z + β before the head's matrix.
    pub fn head_input(&self) -> u32 {
        self.final_norm.output + self.final_gain
    }

    /// The fractional bits of the logits.
    pub fn logits(&self) -> u32 {
        self.head_input() + self.weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::testing::{architecture, factors, rows};
    use crate::quant::{Lanes, Tensor};

    /// Every tensor at a moderate size.
    fn calibration(layers: usize, width: usize) -> Calibration {
        let mut calibration = Calibration::new(layers, rows(NormKind::Layer, width));
        let row: Vec<f32> = (0..width)
            .map(|i| if i % 2 == 0 { 2.0 } else { -2.0 })
            .collect();
        for layer in 0..layers {
            calibration.observe(layer, Tensor::BlockInput, &row);
            calibration.observe(layer, Tensor::Middle, &row);
            calibration.observe(layer, Tensor::Query, &[1.5]);
            calibration.observe(layer, Tensor::Key, &[15.9]);
            calibration.observe(layer, Tensor::AttentionBranch, &[3.0]);
            calibration.observe(layer, Tensor::PreActivation, &[7.9]);
            calibration.observe(layer, Tensor::FeedForwardBranch, &[3.0]);
        }
        calibration.observe(layers, Tensor::FinalNormInput, &row);
        calibration
    }

    fn choose(calibration: &Calibration, headroom: u32) -> Result<Scales, QuantError> {
        choose_scales(
            &architecture(2, 1),
            &factors(64),
            1.0,
            calibration,
            Options { headroom },
        )
    }

    #[test]
    fn ordinary_values_get_the_default_scales() {
        let scales = choose(&calibration(2, 64), 1).unwrap();
        assert_eq!(scales.residual, 12);
        assert_eq!(scales.inverse, 20 + 5 + 14);
        // q is 1.5: 1.5·2^14 < 2^15 − 1 < 1.5·2^15, one bit of headroom.
        assert_eq!((scales.blocks[0].q, scales.blocks[0].k), (13, 10));
        assert_eq!(scales.blocks[0].sigma(), 12);
        assert_eq!(scales.activation_key, 11);
        assert_eq!(
            scales.final_norm,
            NormScale {
                output: 10,
                root: 42
            }
        );
    }

    #[test]
    fn each_bit_of_headroom_costs_a_bit_of_scale() {
        let calibration = calibration(2, 64);
        let (none, two) = (
            choose(&calibration, 0).unwrap(),
            choose(&calibration, 2).unwrap(),
        );
        assert_eq!((none.blocks[1].q, none.blocks[1].k), (14, 11));
        assert_eq!((two.blocks[1].q, two.blocks[1].k), (12, 9));
        assert_eq!(two.activation_key, 10);
        for absurd in [40, 5000, u32::MAX] {
            assert!(matches!(
                choose(&calibration, absurd),
                Err(QuantError::CalibratedRange { .. })
            ));
        }
    }

    #[test]
    fn one_block_with_large_arguments_sets_the_activation_scale_of_all() {
        let mut calibration = calibration(2, 64);
        calibration.observe(1, Tensor::PreActivation, &[-17.0]);
        assert_eq!(choose(&calibration, 1).unwrap().activation_key, 9);
        calibration.observe(0, Tensor::PreActivation, &[64.0]);
        let error = choose(&calibration, 1).unwrap_err().to_string();
        assert!(
            error.contains("block 0: the activation's argument reached 64"),
            "{error}"
        );
        assert_eq!(choose(&calibration, 0).unwrap().activation_key, 8);
    }

    #[test]
    fn small_scores_give_up_scale_so_that_one_limb_remains() {
        let mut small = calibration(1, 64);
        small.blocks[0].query.max = vec![0.01 / 8.0];
        small.blocks[0].key.max = vec![0.2];
        let (a, options) = (architecture(1, 1), Options::default());
        let scales = choose_scales(&a, &factors(64), 1.0, &small, options).unwrap();
        assert_eq!((scales.blocks[0].q, scales.blocks[0].k), (13, 14));
        assert_eq!(scales.blocks[0].sigma(), MAX_SIGMA);
    }

    #[test]
    fn large_scores_are_refused() {
        let mut large = calibration(2, 64);
        large.blocks[1].query.max = vec![31.0];
        large.blocks[1].key.max = vec![31.0];
        assert!(matches!(
            choose(&large, 1),
            Err(QuantError::ScoreScale {
                place: Place::Block(1),
                fraction: 18,
                needed: 19,
                ..
            })
        ));
        assert_eq!(choose(&large, 0).unwrap().blocks[1].sigma(), 9);
    }

    #[test]
    fn large_residuals_lower_the_residual_scale() {
        let mut calibration = calibration(2, 64);
        calibration.observe(1, Tensor::FeedForwardBranch, &[300_000.0]);
        assert_eq!(choose(&calibration, 1).unwrap().residual, 11);
        let (a, options) = (architecture(2, 1), Options::default());
        let by_embedding = choose_scales(&a, &factors(64), 2e6, &calibration, options).unwrap();
        assert_eq!(by_embedding.residual, 9);
    }

    #[test]
    fn large_variances_get_a_longer_root() {
        let mut wide = calibration(2, 64);
        // d·2^12·σ = 2^(6 + 12 + 11): R = 2^(42 − 29) just keeps 13 bits.
        wide.blocks[0].middle.variance_max = 2f64.powi(22);
        assert_eq!(choose(&wide, 1).unwrap().blocks[0].norm2.unwrap().root, 42);
        wide.blocks[0].middle.variance_max = 2f64.powi(23);
        let scales = choose(&wide, 1).unwrap();
        for block in &scales.blocks {
            assert_eq!(block.norm2.unwrap().root, 58, "as in all blocks");
            assert_eq!(block.norm1.unwrap().root, 42);
        }
    }

    #[test]
    fn a_norms_output_fits_16_bits_at_every_width() {
        for width in (64..=16384).step_by(64) {
            let f = max_norm_output(width);
            let largest = ((width - 1) as f64).sqrt() * f64::from(f).exp2();
            assert!(largest < 32767.5, "{width}");
            let next = (width as f64).sqrt() * f64::from(f + 1).exp2();
            assert!(f == 10 || next > 32767.0, "{width} wastes bits");
        }
        let known = [64, 768, 960, 1024, 2048, 4096].map(max_norm_output);
        assert_eq!(known, [10, 10, 10, 9, 9, 8]);
    }

    /// What a tied embedding is multiplied by, the gain of the head is divided by: it gets as many bits.
    #[test]
    fn the_final_gain_of_a_scaled_embedding_has_more_bits() {
        let mut scaled = factors(64);
        scaled.embedding = 25.3;
        let chosen = |tied| {
            let a = Architecture {
                tied,
                ..architecture(1, 1)
            };
            let seen = calibration(1, 64);
            choose_scales(&a, &scaled, 1.0, &seen, Options::default())
                .unwrap()
                .final_gain
        };
        assert_eq!((chosen(true), chosen(false)), (15, 10));
    }

    #[test]
    fn unseen_and_infinite_tensors_are_refused() {
        let mut missing = calibration(2, 64);
        missing.blocks[1].key = Lanes::default();
        assert!(matches!(
            choose(&missing, 1),
            Err(QuantError::NotCalibrated {
                place: Place::Block(1),
                tensor: "key"
            })
        ));
        let mut infinite = calibration(2, 64);
        infinite.observe(0, Tensor::BlockInput, &[f32::NAN; 64]);
        assert!(matches!(
            choose(&infinite, 1),
            Err(QuantError::CalibratedRange { .. })
        ));
        assert!(
            choose(&calibration(3, 64), 1).is_err(),
            "another model's calibration"
        );
    }
}
