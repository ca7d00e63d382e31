//! The integer model beside the floating-point reference: how well they predict the same tokens, and
//! how far each op's tensor is from what it stands for.

use std::collections::HashMap;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use super::{LayerKind, RunError, Trace, generate, logits, system, witness};
use crate::model::{FloatError, FloatModel, Stage, argmax, negative_log_likelihood};
use crate::ops::{self, LANES, Tables};
use crate::quant::{Architecture, IntegerModel, Manifest, lowered};
use crate::system::{System, Values, Witness, sees};

/// Why two models could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum AccuracyError {
    #[error(transparent)]
    Float(#[from] FloatError),
    #[error(transparent)]
    Run(#[from] RunError),
}

/// A checkpoint and its integer model.
#[derive(Clone, Copy, Debug)]
pub struct Models<'a> {
    pub float: &'a FloatModel,
    pub integer: &'a IntegerModel,
    pub tables: Tables<'a>,
}

/// How both models predict the tokens of some windows, each token from those before it in its window.
#[derive(Clone, Copy, Debug, Default)]
pub struct Predictions {
    /// Predicted tokens.
    pub positions: usize,
    /// Negative log-likelihoods, added up.
    float_loss: f64,
    integer_loss: f64,
    /// Positions where both models would choose the same token.
    pub equal: usize,
    /// The largest difference of two logits.
    pub logit_difference: f64,
    /// Tokens that both models were run on, and how long that took.
    pub tokens: usize,
    pub float_time: Duration,
    pub integer_time: Duration,
}

impl Predictions {
    /// exp of the mean negative log-likelihood; not a number if nothing was predicted.
    pub fn float_perplexity(&self) -> f64 {
        (self.float_loss / self.positions as f64).exp()
    }

    /// The same of the integer model.
    pub fn integer_perplexity(&self) -> f64 {
        (self.integer_loss / self.positions as f64).exp()
    }

    /// The integer model's perplexity relative to the reference's, less 1.
    pub fn difference(&self) -> f64 {
        self.integer_perplexity() / self.float_perplexity() - 1.0
    }

    /// The part of positions at which greedy tokens are equal.
    pub fn agreement(&self) -> f64 {
        self.equal as f64 / self.positions as f64
    }
}

impl AddAssign for Predictions {
    fn add_assign(&mut self, other: Self) {
        self.positions += other.positions;
        self.float_loss += other.float_loss;
        self.integer_loss += other.integer_loss;
        self.equal += other.equal;
        self.logit_difference = self.logit_difference.max(other.logit_difference);
        self.tokens += other.tokens;
        self.float_time += other.float_time;
        self.integer_time += other.integer_time;
    }
}

/// How far one layer's tensor is from the reference's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorError {
    pub layer: LayerKind,
    pub stage: Stage,
    /// The largest difference of two entries.
    pub absolute: f64,
    /// The same relative to the reference's largest entry.
    pub relative: f64,
}

impl Models<'_> {
    /// Predicts every token of a window but the first.
    pub fn predict(&self, window: &[u32]) -> Result<Predictions, AccuracyError> {
        let start = Instant::now();
        let reference = self.float.forward(window, &mut ())?;
        let mut sum = Predictions {
            tokens: window.len(),
            float_time: start.elapsed(),
            ..Predictions::default()
        };
        let vocabulary = self.integer.manifest.architecture.vocabulary;
        let s = &self.integer.manifest.scales;
        let unit = power_of_half(s.final_norm.output + s.final_gain + s.weight);
        let start = Instant::now();
        let mut comparing = Duration::ZERO;
        logits(self.integer, self.tables, window, |p, exact| {
            let Some(next) = window.get(p + 1) else {
                return;
            };
            let start = Instant::now();
            let reference = &reference[p * vocabulary..][..vocabulary];
            let integer: Vec<f64> = exact.iter().map(|l| *l as f64 * unit).collect();
            sum.float_loss += negative_log_likelihood(reference, *next);
            sum.integer_loss += negative_log_likelihood(&integer, *next);
            sum.equal += usize::from(ops::argmax(exact) == argmax(reference) as usize);
            sum.logit_difference = sum.logit_difference.max(differences(&integer, reference).0);
            sum.positions += 1;
            comparing += start.elapsed();
        })?;
        sum.integer_time = start.elapsed() - comparing;
        Ok(sum)
    }

    /// Compares the tensors of all blocks and of the head, layer by layer, the errors of earlier
    /// layers included. Holds all of them in memory: for a few tokens.
    pub fn tensor_errors(&self, tokens: &[u32]) -> Result<Vec<TensorError>, AccuracyError> {
        let mut reference: HashMap<(LayerKind, Stage), Vec<f64>> = HashMap::new();
        let mut keep = |block: Option<usize>, stage: Stage, values: &[f64]| {
            let layer = block.map_or(LayerKind::Head, LayerKind::Block);
            reference.insert((layer, stage), values.to_vec());
        };
        self.float.forward(tokens, &mut keep)?;
        // One new token: its run is on `tokens`, padded.
        let trace = generate(self.integer, self.tables, tokens, 1)?.trace;
        let mut errors = Vec::new();
        for layer in LayerKind::all(self.integer.blocks.len()).skip(1) {
            let columns = Columns::of(self, &trace, layer)?;
            for (stage, tensor, fraction) in tensors(&self.integer.manifest, layer, &columns) {
                let unit = power_of_half(fraction);
                let integer: Vec<f64> = columns
                    .rows(
                        &self.integer.manifest.architecture,
                        stage,
                        &tensor,
                        tokens.len(),
                    )
                    .into_iter()
                    .map(|x| x * unit)
                    .collect();
                let (absolute, relative) = differences(&integer, &reference[&(layer, stage)]);
                errors.push(TensorError {
                    layer,
                    stage,
                    absolute,
                    relative,
                });
            }
        }
        Ok(errors)
    }
}

/// What a layer's columns stand for: a stage of the reference, the tensor and its fractional bits.
fn tensors(m: &Manifest, layer: LayerKind, columns: &Columns) -> Vec<(Stage, Vec<f64>, u32)> {
    let s = &m.scales;
    let LayerKind::Block(index) = layer else {
        return vec![
            (Stage::FinalInput, columns.get("h"), s.residual),
            (
                Stage::FinalNorm,
                columns.normed("final norm output", &s.final_lifts),
                s.final_norm.output,
            ),
        ];
    };
    let block = &s.blocks[index];
    let value = s.attention_accumulator(index);
    let norms = [
        (Stage::Norm1, "norm 1 output", block.norm1, &block.lifts1),
        (Stage::Norm2, "norm 2 output", block.norm2, &block.lifts2),
    ];
    let norms = norms.into_iter().filter_map(|(stage, name, norm, lifts)| {
        let output = norm?.output;
        Some((stage, columns.normed(name, lifts), output))
    });
    let up = (Stage::Up, "up", s.up_accumulator(index));
    let columns_of_stages = [
        (Stage::BlockInput, "h", s.residual),
        (Stage::Value, "value", value),
        (Stage::AttentionBranch, "attention", s.residual),
        (Stage::PreActivation, "activation key", s.activation_key),
        (Stage::Activated, "activation", s.activation_value),
        (Stage::FeedForwardBranch, "feed-forward", s.residual),
    ];
    let columns_of_stages = columns_of_stages.into_iter();
    let columns_of_stages = columns_of_stages.chain(m.architecture.gated.then_some(up));
    let mut all: Vec<_> = columns_of_stages
        .map(|(stage, name, bits)| (stage, columns.get(name), bits))
        .chain(norms)
        .collect();
    all.push((Stage::HeadOutput, columns.head_outputs(), s.inverse + value));
    // Queries and keys may be balanced, and their lanes in another order: what they give is compared.
    all.push((Stage::ScoreGap, columns.score_gaps(), block.q + block.k));
    all.sort_by_key(|(stage, ..)| *stage);
    all
}

/// A layer's witness by name.
struct Columns {
    system: System,
    witness: Witness,
    /// T', the padded tokens.
    tokens: usize,
    window: Option<usize>,
}

impl Columns {
    fn of(models: &Models, trace: &Trace, layer: LayerKind) -> Result<Self, RunError> {
        Ok(Self {
            system: system(&models.integer.manifest, &trace.sequence, layer),
            witness: witness(models.integer, models.tables, trace, layer)?,
            tokens: trace.sequence.tokens().len(),
            window: match layer {
                LayerKind::Block(index) => {
                    let attending = models.integer.manifest.architecture.attending(index);
                    attending.window.map(|n| n as usize)
                }
                _ => None,
            },
        })
    }

    /// A norm's output, all channels with the same scale.
    fn normed(&self, name: &str, lifts: &[u8]) -> Vec<f64> {
        let one = |(at, z): (usize, f64)| {
            let channel = at / (self.tokens * LANES) * LANES + at % LANES;
            z * lowered(lifts, channel)
        };
        self.get(name).into_iter().enumerate().map(one).collect()
    }

    /// A column, or the number that its digits `name[0]`, `name[1]`, … are. Panics if there is none.
    fn get(&self, name: &str) -> Vec<f64> {
        if let Some(exact) = self.column(name) {
            return exact;
        }
        let digits = (0..).map_while(|l| Some((l, self.column(&format!("{name}[{l}]"))?)));
        let number = digits.fold(Vec::new(), |mut sum: Vec<f64>, (l, digit): (i32, _)| {
            sum.resize(digit.len(), 0.0);
            let place = f64::powi(2.0, 16 * l);
            sum.iter_mut().zip(digit).for_each(|(s, d)| *s += d * place);
            sum
        });
        assert!(!number.is_empty(), "no column {name}");
        number
    }

    fn column(&self, name: &str) -> Option<Vec<f64>> {
        let index = self.system.columns.iter().position(|c| c.name == name)?;
        Some(match self.witness.values[index].as_ref()? {
            Values::Small(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Values::Wide(v) => v.iter().map(|x| *x as f64).collect(),
        })
    }

    /// The attention's normalized head sums, n·O.
    fn head_outputs(&self) -> Vec<f64> {
        let inverse = self.get("weight inverse");
        let sums = self.get("head sum");
        // A head's slabs share its normalizers, one a token.
        let parts = sums.len() / LANES / inverse.len();
        let heads = inverse.chunks(self.tokens);
        let inverses = heads.flat_map(|head| head.iter().cycle().take(parts * self.tokens));
        let rows = sums.chunks(LANES).zip(inverses);
        rows.flat_map(|(row, n)| row.iter().map(move |o| o * n))
            .collect()
    }

    /// max score − score, `[head][token][past]`.
    fn score_gaps(&self) -> Vec<f64> {
        let (scores, max) = (self.get("score"), self.get("max score"));
        let rows = scores.chunks(self.tokens).zip(max);
        rows.flat_map(|(row, max)| row.iter().map(move |score| max - score))
            .collect()
    }

    /// The first `used` tokens of a tensor, without what only fills slabs up, as the reference has them: `[token][feature]`
    /// of `[slab][token][lane]`.
    fn rows(&self, a: &Architecture, stage: Stage, tensor: &[f64], used: usize) -> Vec<f64> {
        let features: Vec<usize> = match stage {
            Stage::ScoreGap => return self.gap_rows(a, tensor, used),
            Stage::PreActivation | Stage::Activated | Stage::Up => (0..a.hidden).collect(),
            Stage::Value => a.head_places(a.kv_heads),
            Stage::HeadOutput => a.head_places(a.heads),
            _ => (0..a.width).collect(),
        };
        let place = |i: usize, k: usize| (k / LANES * self.tokens + i) * LANES + k % LANES;
        (0..used)
            .flat_map(|i| features.iter().map(move |k| tensor[place(i, *k)]))
            .collect()
    }

    /// `[head][token][past]` of the first `used` tokens, 0 where a token does not see another.
    fn gap_rows(&self, a: &Architecture, tensor: &[f64], used: usize) -> Vec<f64> {
        let entry = |at: usize| {
            let (head, i, j) = (at / used / used, at / used % used, at % used);
            if sees(i, j, self.window) {
                tensor[(head * self.tokens + i) * self.tokens + j]
            } else {
                0.0
            }
        };
        (0..a.heads * used * used).map(entry).collect()
    }
}

/// The largest difference, absolute and relative to the reference's largest value.
fn differences(integer: &[f64], reference: &[f64]) -> (f64, f64) {
    assert_eq!(integer.len(), reference.len(), "the same tensor");
    let largest =
        |values: &mut dyn Iterator<Item = f64>| values.fold(0.0f64, |m, x| m.max(x.abs()));
    let absolute = largest(&mut integer.iter().zip(reference).map(|(x, y)| x - y));
    match absolute {
        0.0 => (0.0, 0.0),
        _ => (absolute, absolute / largest(&mut reference.iter().copied())),
    }
}

fn power_of_half(bits: u32) -> f64 {
    f64::powi(0.5, bits as i32)
}
