//! What a floating-point run on ordinary text says about the tensors that are stored in a fixed
//! number of bits.

use super::NormKind;

/// A tensor of the floating-point model whose size decides a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tensor {
    /// The residual stream where it enters the attention's norm, rows of `width` values.
    Norm1Input,
    /// Queries as they meet keys: with the factor 1/√w, and rotated where the model rotates.
    Query,
    /// Keys, likewise.
    Key,
    /// What the attention adds to the residual stream.
    AttentionBranch,
    /// The residual stream where it enters the feed-forward part's norm, rows of `width` values.
    Norm2Input,
    /// The argument of the activation function.
    PreActivation,
    /// What the feed-forward part adds to the residual stream.
    FeedForwardBranch,
    /// The residual stream where it enters the final norm, rows of `width` values.
    FinalNormInput,
}

/// The largest magnitude among the values seen. A value that is not a number counts as infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Extent {
    pub max: f64,
    /// How many values were seen.
    pub count: u64,
}

impl Extent {
    fn observe(&mut self, values: &[f32]) {
        self.count += values.len() as u64;
        self.max = values.iter().fold(self.max, |max, v| {
            let magnitude = f64::from(*v).abs();
            if magnitude.is_nan() {
                f64::INFINITY
            } else {
                max.max(magnitude)
            }
        });
    }

    fn merge(&mut self, other: &Self) {
        self.max = self.max.max(other.max);
        self.count += other.count;
    }
}

/// The magnitudes and the variances (mean squares, for RMSNorm) per row of a norm's input.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub extent: Extent,
    pub variance_min: f64,
    pub variance_max: f64,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            extent: Extent::default(),
            variance_min: f64::INFINITY,
            variance_max: 0.0,
        }
    }
}

impl Spread {
    fn observe(&mut self, values: &[f32], width: usize, norm: NormKind) {
        assert_eq!(values.len() % width, 0, "a norm's input has whole rows");
        self.extent.observe(values);
        for row in values.chunks_exact(width) {
            let mean = match norm {
                NormKind::Layer => row.iter().map(|v| f64::from(*v)).sum::<f64>() / width as f64,
                NormKind::RootMeanSquare => 0.0,
            };
            let variance = row
                .iter()
                .map(|v| (f64::from(*v) - mean).powi(2))
                .sum::<f64>()
                / width as f64;
            self.variance_min = self.variance_min.min(variance);
            self.variance_max = self.variance_max.max(variance);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.extent.merge(&other.extent);
        self.variance_min = self.variance_min.min(other.variance_min);
        self.variance_max = self.variance_max.max(other.variance_max);
    }
}

/// One block's statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BlockCalibration {
    pub norm1: Spread,
    pub query: Extent,
    pub key: Extent,
    pub attention_branch: Extent,
    pub norm2: Spread,
    pub pre_activation: Extent,
    pub feed_forward_branch: Extent,
}

/// The statistics of a whole model.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    width: usize,
    norm: NormKind,
    pub blocks: Vec<BlockCalibration>,
    pub final_norm: Spread,
}

impl Calibration {
    /// No observations yet, for a model of `layers` blocks, the given width and kind of norm.
    pub fn new(layers: usize, width: usize, norm: NormKind) -> Self {
        assert!(width > 0, "a model has a positive width");
        Self {
            width,
            norm,
            blocks: vec![BlockCalibration::default(); layers],
            final_norm: Spread::default(),
        }
    }

    /// Takes account of `values` of a tensor of block `layer` (ignored for the final norm). May
    /// be called any number of times with any number of values, whole rows for a norm's input.
    pub fn observe(&mut self, layer: usize, tensor: Tensor, values: &[f32]) {
        if tensor == Tensor::FinalNormInput {
            return self.final_norm.observe(values, self.width, self.norm);
        }
        let (width, norm) = (self.width, self.norm);
        let block = &mut self.blocks[layer];
        match tensor {
            Tensor::Norm1Input => block.norm1.observe(values, width, norm),
            Tensor::Query => block.query.observe(values),
            Tensor::Key => block.key.observe(values),
            Tensor::AttentionBranch => block.attention_branch.observe(values),
            Tensor::Norm2Input => block.norm2.observe(values, width, norm),
            Tensor::PreActivation => block.pre_activation.observe(values),
            Tensor::FeedForwardBranch => block.feed_forward_branch.observe(values),
            Tensor::FinalNormInput => unreachable!("handled above"),
        }
    }

    /// Adds another run's observations of the same model.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(
            (self.width, self.norm, self.blocks.len()),
            (other.width, other.norm, other.blocks.len()),
            "only calibrations of one model are merged"
        );
        for (block, other) in self.blocks.iter_mut().zip(&other.blocks) {
            block.norm1.merge(&other.norm1);
            block.query.merge(&other.query);
            block.key.merge(&other.key);
            block.attention_branch.merge(&other.attention_branch);
            block.norm2.merge(&other.norm2);
            block.pre_activation.merge(&other.pre_activation);
            block.feed_forward_branch.merge(&other.feed_forward_branch);
        }
        self.final_norm.merge(&other.final_norm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_accumulate_maxima_and_variances_per_row() {
        let mut calibration = Calibration::new(2, 2, NormKind::Layer);
        calibration.observe(1, Tensor::Query, &[1.0, -3.0]);
        calibration.observe(1, Tensor::Query, &[2.0]);
        assert_eq!(calibration.blocks[1].query, Extent { max: 3.0, count: 3 });
        assert_eq!(calibration.blocks[0], BlockCalibration::default());

        calibration.observe(0, Tensor::Norm1Input, &[1.0, 3.0, -7.0, 1.0]);
        let spread = calibration.blocks[0].norm1;
        assert_eq!((spread.variance_min, spread.variance_max), (1.0, 16.0));
        assert_eq!(spread.extent.max, 7.0);
    }

    /// RMSNorm divides by the mean square: a row that is far from 0 but constant is large.
    #[test]
    fn rms_norms_do_not_subtract_the_mean() {
        let mut calibration = Calibration::new(1, 2, NormKind::RootMeanSquare);
        calibration.observe(0, Tensor::Norm1Input, &[3.0, 3.0]);
        assert_eq!(calibration.blocks[0].norm1.variance_max, 9.0);
    }

    #[test]
    fn a_nan_is_not_lost_among_maxima() {
        let mut calibration = Calibration::new(1, 1, NormKind::Layer);
        calibration.observe(0, Tensor::Key, &[1.0, f32::NAN, 2.0]);
        calibration.observe(0, Tensor::Key, &[5.0]);
        assert_eq!(calibration.blocks[0].key.max, f64::INFINITY);
    }

    #[test]
    fn merging_equals_observing_everything_at_once() {
        let all = [
            Tensor::Norm1Input,
            Tensor::Query,
            Tensor::Key,
            Tensor::AttentionBranch,
            Tensor::Norm2Input,
            Tensor::PreActivation,
            Tensor::FeedForwardBranch,
            Tensor::FinalNormInput,
        ];
        let mut random = crate::quant::testing::Random::new(2);
        let (mut whole, mut left, mut right) = (
            Calibration::new(1, 4, NormKind::Layer),
            Calibration::new(1, 4, NormKind::Layer),
            Calibration::new(1, 4, NormKind::Layer),
        );
        for tensor in all {
            for side in [&mut left, &mut right] {
                let values = random.floats(8, 9.0);
                side.observe(0, tensor, &values);
                whole.observe(0, tensor, &values);
            }
        }
        left.merge(&right);
        assert_eq!(left, whole);
    }
}
