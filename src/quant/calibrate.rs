//! What a floating-point run on ordinary text says about the tensors that are stored in a fixed
//! number of bits.

use super::{HeadNorm, NormKind};

/// A tensor of the floating-point model whose size decides a scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tensor {
    /// The residual stream where it enters the block, rows of `width` values.
    BlockInput,
    /// Queries where they enter their norm, rows of all heads.
    QueryInput,
    /// Keys, likewise.
    KeyInput,
    /// Queries as they meet keys: with the score's factor, and rotated where the model rotates. Rows of all heads.
    Query,
    /// Keys, likewise.
    Key,
    /// The attention's output where it enters the norm behind it, rows of `width` values.
    AttentionOutput,
    /// What the attention adds to the residual stream.
    AttentionBranch,
    /// The residual stream that the feed-forward part reads, or its norm: rows of `width` values.
    Middle,
    /// The argument of the activation function.
    PreActivation,
    /// The feed-forward part's output where it enters the norm behind it, rows of `width` values.
    FeedForwardOutput,
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
}

/// The magnitudes and the variances (mean squares, for RMSNorm) per row of a norm's input.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    pub extent: Extent,
    pub variance_min: f64,
    pub variance_max: f64,
    /// The sum of the rows' median magnitudes behind the norm, and the number of rows, but for constant ones.
    medians: (f64, u64),
    /// Of each channel behind the norm, over the same rows: the largest magnitude, and the sum of all.
    channels: Vec<[f64; 2]>,
}

impl Default for Spread {
    fn default() -> Self {
        Self {
            extent: Extent::default(),
            variance_min: f64::INFINITY,
            variance_max: 0.0,
            medians: (0.0, 0),
            channels: Vec::new(),
        }
    }
}

impl Spread {
    /// How large half of the values are behind the norm, in the mean over rows; `None` where no row varies. (Of normally
    /// distributed values it is 0.67; where some channels are much larger than the others, it is small.)
    pub fn median(&self) -> Option<f64> {
        let (sum, rows) = self.medians;
        (rows > 0).then(|| sum / rows as f64)
    }

    /// The largest and the mean magnitude of each channel behind the norm; empty where no row varies.
    pub fn channels(&self) -> impl Iterator<Item = [f64; 2]> {
        let rows = self.medians.1 as f64;
        let channels = self.channels.iter();
        channels.map(move |[largest, sum]| [*largest, sum / rows])
    }

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
            if variance > 0.0 {
                let deviation = variance.sqrt();
                let size = |v: &f32| (f64::from(*v) - mean).abs() / deviation;
                let mut sizes: Vec<f64> = row.iter().map(size).collect();
                self.channels.resize(width, [0.0; 2]);
                for ([largest, sum], size) in self.channels.iter_mut().zip(&sizes) {
                    *largest = largest.max(*size);
                    *sum += size;
                }
                let (_, median, _) = sizes.select_nth_unstable_by(width / 2, f64::total_cmp);
                self.medians.0 += *median;
                self.medians.1 += 1;
            }
        }
    }
}

/// The largest magnitude in each lane of a tensor with rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lanes {
    pub max: Vec<f64>,
    pub count: u64,
}

impl Lanes {
    fn observe(&mut self, values: &[f32], width: usize) {
        assert_eq!(
            values.len() % width,
            0,
            "queries and keys come in whole rows"
        );
        self.count += values.len() as u64;
        self.max.resize(width, 0.0);
        for row in values.chunks_exact(width) {
            for (max, value) in self.max.iter_mut().zip(row) {
                let mut one = Extent {
                    max: *max,
                    count: 0,
                };
                one.observe(std::slice::from_ref(value));
                *max = one.max;
            }
        }
    }

    /// The largest of all lanes.
    pub fn extent(&self) -> Extent {
        Extent {
            max: self.max.iter().copied().fold(0.0, f64::max),
            count: self.count,
        }
    }
}

/// One block's statistics. Of norms that it has not, nothing was observed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BlockCalibration {
    pub input: Spread,
    pub query_input: Spread,
    pub key_input: Spread,
    pub query: Lanes,
    pub key: Lanes,
    pub attention_output: Spread,
    pub attention_branch: Extent,
    pub middle: Spread,
    pub pre_activation: Extent,
    pub feed_forward_output: Spread,
    pub feed_forward_branch: Extent,
}

/// The sizes of the rows that are observed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rows {
    pub norm: NormKind,
    /// d.
    pub width: usize,
    /// Of all queries, of all keys.
    pub heads: [usize; 2],
    pub head_width: usize,
    pub head_norm: Option<HeadNorm>,
}

/// The statistics of a whole model.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    rows: Rows,
    pub blocks: Vec<BlockCalibration>,
    pub final_norm: Spread,
}

impl Calibration {
    /// No observations yet, for a model of `layers` blocks.
    pub fn new(layers: usize, rows: Rows) -> Self {
        assert!(rows.width > 0, "a model has a positive width");
        Self {
            rows,
            blocks: vec![BlockCalibration::default(); layers],
            final_norm: Spread::default(),
        }
    }

    /// Takes account of `values` of a tensor of block `layer` (ignored for the final norm). May
    /// be called any number of times with any number of values, whole rows where there are rows.
    pub fn observe(&mut self, layer: usize, tensor: Tensor, values: &[f32]) {
        let rows = self.rows;
        let (width, norm) = (rows.width, rows.norm);
        if tensor == Tensor::FinalNormInput {
            return self.final_norm.observe(values, width, norm);
        }
        // What one norm of queries or keys is over.
        let normed = |side: usize| match rows.head_norm {
            Some(HeadNorm::Whole) => rows.heads[side],
            _ => rows.head_width,
        };
        let root_mean_square = NormKind::RootMeanSquare;
        let block = &mut self.blocks[layer];
        match tensor {
            Tensor::BlockInput => block.input.observe(values, width, norm),
            Tensor::QueryInput => block
                .query_input
                .observe(values, normed(0), root_mean_square),
            Tensor::KeyInput => block.key_input.observe(values, normed(1), root_mean_square),
            Tensor::Query => block.query.observe(values, rows.heads[0]),
            Tensor::Key => block.key.observe(values, rows.heads[1]),
            Tensor::AttentionOutput => block.attention_output.observe(values, width, norm),
            Tensor::AttentionBranch => block.attention_branch.observe(values),
            Tensor::Middle => block.middle.observe(values, width, norm),
            Tensor::PreActivation => block.pre_activation.observe(values),
            Tensor::FeedForwardOutput => block.feed_forward_output.observe(values, width, norm),
            Tensor::FeedForwardBranch => block.feed_forward_branch.observe(values),
            Tensor::FinalNormInput => unreachable!("handled above"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(norm: NormKind, width: usize) -> Rows {
        Rows {
            norm,
            width,
            heads: [4, 2],
            head_width: 2,
            head_norm: None,
        }
    }

    #[test]
    fn observations_accumulate_maxima_and_variances_per_row() {
        let mut calibration = Calibration::new(2, rows(NormKind::Layer, 2));
        calibration.observe(1, Tensor::Query, &[1.0, -3.0, 0.0, 0.0]);
        calibration.observe(1, Tensor::Query, &[2.0, 0.0, 0.0, 0.5]);
        let query = &calibration.blocks[1].query;
        assert_eq!(
            (&query.max[..], query.count),
            (&[2.0, 3.0, 0.0, 0.5][..], 8)
        );
        assert_eq!(query.extent(), Extent { max: 3.0, count: 8 });
        assert_eq!(calibration.blocks[0], BlockCalibration::default());

        calibration.observe(0, Tensor::BlockInput, &[1.0, 3.0, -7.0, 1.0]);
        let spread = &calibration.blocks[0].input;
        assert_eq!((spread.variance_min, spread.variance_max), (1.0, 16.0));
        assert_eq!(spread.extent.max, 7.0);
    }

    /// One channel that is much larger than the others is most of the variance.
    #[test]
    fn a_loud_channel_leaves_the_others_faint() {
        let mut calibration = Calibration::new(1, rows(NormKind::RootMeanSquare, 4));
        calibration.observe(0, Tensor::BlockInput, &[0.0; 4]);
        assert_eq!(calibration.blocks[0].input.median(), None);
        calibration.observe(0, Tensor::BlockInput, &[1.0, -1.0, 1.0, -1.0]);
        assert_eq!(calibration.blocks[0].input.median(), Some(1.0));
        calibration.observe(0, Tensor::BlockInput, &[1.0, 1000.0, 1.0, -1.0]);
        let median = calibration.blocks[0].input.median().expect("two rows");
        assert!((median - 0.501).abs() < 1e-5, "{median}");
    }

    /// RMSNorm divides by the mean square: a row that is far from 0 but constant is large.
    #[test]
    fn rms_norms_do_not_subtract_the_mean() {
        let mut calibration = Calibration::new(1, rows(NormKind::RootMeanSquare, 2));
        calibration.observe(0, Tensor::BlockInput, &[3.0, 3.0]);
        assert_eq!(calibration.blocks[0].input.variance_max, 9.0);
    }

    #[test]
    fn a_nan_is_not_lost_among_maxima() {
        let mut calibration = Calibration::new(1, rows(NormKind::Layer, 1));
        calibration.observe(0, Tensor::Key, &[1.0, f32::NAN]);
        calibration.observe(0, Tensor::Key, &[5.0, 2.0]);
        assert_eq!(calibration.blocks[0].key.max, [5.0, f64::INFINITY]);
        calibration.observe(0, Tensor::PreActivation, &[1.0, f32::NAN, 2.0]);
        assert_eq!(calibration.blocks[0].pre_activation.max, f64::INFINITY);
    }

    /// A norm of each head has a row for each, one of all heads together has one.
    #[test]
    fn norms_of_heads_have_their_own_rows() {
        for (head_norm, most) in [(HeadNorm::Heads, 9.0), (HeadNorm::Whole, 5.0)] {
            let rows = Rows {
                head_norm: Some(head_norm),
                ..rows(NormKind::Layer, 1)
            };
            let mut calibration = Calibration::new(1, rows);
            calibration.observe(0, Tensor::QueryInput, &[1.0, 1.0, 3.0, 3.0]);
            assert_eq!(calibration.blocks[0].query_input.variance_max, most);
        }
    }
}
