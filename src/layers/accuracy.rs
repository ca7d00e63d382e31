//! The integer model beside the floating-point reference: how well they predict the same tokens, and
//! how far each op's tensor is from what it stands for.

use std::collections::HashMap;
use std::ops::AddAssign;
use std::time::{Duration, Instant};

use super::{LayerKind, RunError, Trace, generate, logits, system, witness};
use crate::model::{FloatError, FloatModel, Stage, argmax, negative_log_likelihood};
use crate::ops::{self, LANES, Tables};
use crate::quant::{IntegerModel, Manifest};
use crate::system::{System, Values, Witness};

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
                let integer = columns.rows(&tensor, tokens.len(), fraction);
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
                columns.get("final norm output"),
                s.final_norm.output,
            ),
        ];
    };
    let block = &s.blocks[index];
    let (z1, z2) = (block.norm1.output, block.norm2.output);
    let value = z1 + s.weight;
    let mut all = vec![(Stage::HeadOutput, columns.head_outputs(), s.inverse + value)];
    let columns_of_stages = [
        (Stage::BlockInput, "h", s.residual),
        (Stage::Norm1, "norm 1 output", z1),
        (Stage::Query, "query", block.q),
        (Stage::Key, "key", block.k),
        (Stage::Value, "value", value),
        (Stage::AttentionBranch, "attention", s.residual),
        (Stage::Norm2, "norm 2 output", z2),
        (Stage::PreActivation, "activation key", s.activation_key),
        (Stage::Activated, "activation", s.activation_value),
        (Stage::FeedForwardBranch, "feed-forward", s.residual),
    ];
    all.extend(columns_of_stages.map(|(stage, name, bits)| (stage, columns.get(name), bits)));
    if m.architecture.gated {
        all.push((Stage::Up, columns.get("up"), z2 + s.weight));
    }
    all.sort_by_key(|(stage, ..)| *stage);
    all
}

/// A layer's witness by name.
struct Columns {
    system: System,
    witness: Witness,
    /// T', the padded tokens.
    tokens: usize,
}

impl Columns {
    fn of(models: &Models, trace: &Trace, layer: LayerKind) -> Result<Self, RunError> {
        Ok(Self {
            system: system(&models.integer.manifest, &trace.sequence, layer),
            witness: witness(models.integer, models.tables, trace, layer)?,
            tokens: trace.sequence.tokens().len(),
        })
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

    /// The first `used` tokens of `[slab][token][lane]`, at `fraction` bits, as the reference's
    /// `[token][feature]`.
    fn rows(&self, tensor: &[f64], used: usize, fraction: u32) -> Vec<f64> {
        let unit = power_of_half(fraction);
        let row = |i: usize| {
            let rows = tensor.chunks(LANES).skip(i).step_by(self.tokens);
            rows.flatten().map(move |x| x * unit)
        };
        (0..used).flat_map(row).collect()
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
