//! The reference against plain loops, and what observers are shown.

use std::collections::BTreeMap;

use super::*;
use crate::quant::Activation;

/// Rows of a matrix.
type Rows = Vec<Vec<f64>>;

/// GPT-2 written out in loops, from the definition, sharing nothing with the reference.
struct Loops<'a> {
    config: &'a Config,
    weights: &'a Weights,
}

fn affine(x: &[f64], (weight, bias): (&[f32], &[f32])) -> Vec<f64> {
    let outputs = bias.len();
    let column = |o: usize| (0..x.len()).map(move |i| x[i] * f64::from(weight[i * outputs + o]));
    (0..outputs)
        .map(|o| f64::from(bias[o]) + column(o).sum::<f64>())
        .collect()
}

fn layer_norm(x: &[f64], (gain, bias): (&[f32], &[f32]), epsilon: f64) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    (0..x.len())
        .map(|i| {
            (x[i] - mean) / (variance + epsilon).sqrt() * f64::from(gain[i]) + f64::from(bias[i])
        })
        .collect()
}

/// erf by its Taylor series, which is accurate enough for |x| < 3.
fn erf(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for n in 1..100 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

fn gelu(activation: Activation, x: f64) -> f64 {
    let inner = match activation {
        Activation::GeluTanh => {
            ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh()
        }
        Activation::GeluErf => erf(x / 2f64.sqrt()),
        Activation::Silu => (x / 2.0).tanh(),
        Activation::Relu => x.signum(),
        Activation::QuickGelu => (0.851 * x).tanh(),
    };
    0.5 * x * (1.0 + inner)
}

impl Loops<'_> {
    fn attention(&self, qkv: &Rows, i: usize) -> Vec<f64> {
        let d = self.config.width;
        let mut output = vec![0.0; d];
        for head in 0..self.config.heads {
            let at = |row: usize, part: usize, lane: usize| qkv[row][part * d + head * 64 + lane];
            let score = |j: usize| (0..64).map(|l| at(i, 0, l) * at(j, 1, l)).sum::<f64>() / 8.0;
            let weights: Vec<f64> = (0..=i).map(|j| score(j).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for lane in 0..64 {
                let values = (0..=i).map(|j| weights[j] / sum * at(j, 2, lane));
                output[head * 64 + lane] = values.sum();
            }
        }
        output
    }

    fn block(&self, h: &mut Rows, block: &[super::Tensor]) {
        let of = |part| {
            let found = block.iter().find(|tensor| tensor.part == part);
            let found = found.expect("one of GPT-2's");
            (&found.weight[..], &found.bias[..])
        };
        let norm = |x: &[f64], part| layer_norm(x, of(part), self.config.epsilon);
        let map = |x: &[f64], part| affine(x, of(part));
        let qkv = |x: &Vec<f64>| map(&norm(x, Part::Norm1), Part::QueryKeyValue);
        let qkv: Rows = h.iter().map(qkv).collect();
        for (i, row) in h.iter_mut().enumerate() {
            let branch = map(&self.attention(&qkv, i), Part::Output);
            row.iter_mut().zip(branch).for_each(|(x, y)| *x += y);
            let hidden = map(&norm(row, Part::Norm2), Part::Up);
            let hidden: Vec<f64> = hidden
                .iter()
                .map(|x| gelu(self.config.activation, *x))
                .collect();
            let branch = map(&hidden, Part::Down);
            row.iter_mut().zip(branch).for_each(|(x, y)| *x += y);
        }
    }

    fn logits(&self, tokens: &[u32]) -> Vec<f64> {
        let (w, d) = (self.weights, self.config.width);
        let entry = |values: &[f32], row: usize, i: usize| f64::from(values[row * d + i]);
        let embed = |(position, token): (usize, &u32)| -> Vec<f64> {
            let positions = &w.part(Part::Positions).weight;
            let sum = |i| entry(w.tokens(), *token as usize, i) + entry(positions, position, i);
            (0..d).map(sum).collect()
        };
        let mut h: Rows = tokens.iter().enumerate().map(embed).collect();
        for block in &w.blocks {
            self.block(&mut h, block);
        }
        let mut logits = Vec::new();
        for row in &h {
            let norm = w.part(Part::FinalNorm);
            let z = layer_norm(row, (&norm.weight, &norm.bias), self.config.epsilon);
            for word in 0..self.config.vocabulary {
                logits.push((0..d).map(|i| z[i] * entry(w.head(), word, i)).sum());
            }
        }
        logits
    }
}

/// Weights large enough for every part to matter: at initialization the branches and the scores
/// are so small that leaving one out would hardly show.
fn strong(config: &Config, seed: u64) -> Weights {
    let mut weights = synthetic::weights(config, seed);
    for slot in weights.slots(config) {
        if slot.shape.len() == 2 {
            slot.values.iter_mut().for_each(|v| *v *= 6.0);
        }
    }
    weights
}

fn assert_close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    let scale = b.iter().fold(0f64, |m, v| m.max(v.abs()));
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= tolerance * scale, "at {i}: {x} and {y}");
    }
}

fn configurations() -> impl Iterator<Item = Config> {
    let choices = [
        (Activation::GeluTanh, true, 1e-5),
        (Activation::GeluErf, false, 1e-2),
    ];
    choices
        .into_iter()
        .map(|(activation, tied, epsilon)| Config {
            activation,
            tied,
            epsilon,
            ..synthetic::config(2, 2, 300, 16)
        })
}

const TOKENS: [u32; 9] = [3, 141, 59, 26, 256, 53, 58, 299, 3];

#[test]
fn the_reference_agrees_with_plain_loops() {
    for config in configurations() {
        let weights = strong(&config, 11);
        let model = FloatModel::new(&config, &weights).unwrap();
        let loops = Loops {
            config: &config,
            weights: &weights,
        };
        for length in [1, 2, 9] {
            let tokens = &TOKENS[..length];
            let found = model.forward(tokens, &mut ()).unwrap();
            assert_close(&found, &loops.logits(tokens), 1e-12);
        }
    }
}

/// Everything an observer was shown.
type Shown = BTreeMap<(Option<usize>, Stage), Vec<f64>>;

fn watch(model: &FloatModel, tokens: &[u32]) -> Shown {
    let mut shown = Shown::new();
    let mut collect = |block: Option<usize>, stage: Stage, values: &[f64]| {
        let twice = shown.insert((block, stage), values.to_vec());
        assert!(twice.is_none(), "{block:?} {stage:?} is shown twice");
    };
    model.forward(tokens, &mut collect).unwrap();
    shown
}

/// Calibration and comparisons rely on each tensor being shown once, in its shape.
#[test]
fn observers_are_shown_every_tensor_once() {
    let config = synthetic::config(2, 2, 300, 16);
    let model = FloatModel::new(&config, &strong(&config, 12)).unwrap();
    let shown = watch(&model, &TOKENS);
    let (t, d) = (TOKENS.len(), config.width);
    for block in 0..2 {
        for (stage, count) in [
            (Stage::BlockInput, t * d),
            (Stage::Norm1Variance, t),
            (Stage::Norm1, t * d),
            (Stage::Query, t * d),
            (Stage::Key, t * d),
            (Stage::Value, t * d),
            (Stage::ScoreGap, config.heads * t * t),
            (Stage::HeadOutput, t * d),
            (Stage::AttentionBranch, t * d),
            (Stage::Middle, t * d),
            (Stage::Norm2Variance, t),
            (Stage::Norm2, t * d),
            (Stage::PreActivation, t * config.hidden),
            (Stage::Activated, t * config.hidden),
            (Stage::FeedForwardBranch, t * d),
        ] {
            assert_eq!(shown[&(Some(block), stage)].len(), count, "{stage:?}");
        }
    }
    for (stage, count) in [
        (Stage::FinalInput, t * d),
        (Stage::FinalVariance, t),
        (Stage::FinalNorm, t * d),
        (Stage::FinalOutput, t * d),
    ] {
        assert_eq!(shown[&(None, stage)].len(), count, "{stage:?}");
    }
    assert_eq!(shown.len(), 2 * 15 + 4);
}

/// What is shown is what the names say: each identity ties two or more of the tensors together.
#[test]
fn observed_tensors_satisfy_the_models_equations() {
    let config = synthetic::config(2, 2, 300, 16);
    let weights = strong(&config, 13);
    let shown = watch(&FloatModel::new(&config, &weights).unwrap(), &TOKENS);
    let (t, d) = (TOKENS.len(), config.width);
    let get = |stage| &shown[&(Some(0), stage)];
    let sum = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(x, y)| x + y).collect() };
    let middle = sum(get(Stage::BlockInput), get(Stage::AttentionBranch));
    assert_close(&middle, get(Stage::Middle), 1e-14);
    let output = sum(get(Stage::Middle), get(Stage::FeedForwardBranch));
    assert_close(&output, &shown[&(Some(1), Stage::BlockInput)], 1e-14);

    for row in 0..t {
        let z = &get(Stage::Norm1)[row * d..][..d];
        let square = z.iter().map(|x| x * x).sum::<f64>() / d as f64;
        let variance = get(Stage::Norm1Variance)[row];
        assert!((square - variance / (variance + config.epsilon)).abs() < 1e-12);
        assert!(z.iter().sum::<f64>().abs() < 1e-9);
    }
    // Scores from the queries and keys as shown: 1/√64 is in the queries already.
    for (head, i) in [(0, 0), (0, 5), (1, 8)] {
        let lanes = |stage, row: usize| &get(stage)[row * d + head * 64..][..64];
        let (query, key) = (lanes(Stage::Query, i), |j| lanes(Stage::Key, j));
        let score = |j| query.iter().zip(key(j)).map(|(x, y)| x * y).sum::<f64>();
        let scores: Vec<f64> = (0..=i).map(score).collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let gaps = &get(Stage::ScoreGap)[(head * t + i) * t..][..t];
        for (j, gap) in gaps.iter().enumerate() {
            let expected = scores.get(j).map_or(0.0, |s| max - s);
            assert!((gap - expected).abs() < 1e-11, "{head} {i} {j}");
        }
        let weights: Vec<f64> = gaps[..=i].iter().map(|g| (-g).exp()).collect();
        let mix = |l: usize| {
            (0..=i)
                .map(|j| weights[j] * lanes(Stage::Value, j)[l])
                .sum::<f64>()
        };
        let mixed: Vec<f64> = (0..64)
            .map(|l| mix(l) / weights.iter().sum::<f64>())
            .collect();
        assert_close(&mixed, lanes(Stage::HeadOutput, i), 1e-12);
    }
    let activated: Vec<f64> = get(Stage::PreActivation)
        .iter()
        .map(|x| gelu(config.activation, *x))
        .collect();
    assert_close(&activated, get(Stage::Activated), 1e-14);
}

/// A later token changes nothing before it: padding at the end is harmless.
#[test]
fn attention_is_causal() {
    let config = synthetic::config(2, 1, 300, 16);
    let model = FloatModel::new(&config, &strong(&config, 14)).unwrap();
    let whole = model.forward(&TOKENS, &mut ()).unwrap();
    let part = model.forward(&TOKENS[..4], &mut ()).unwrap();
    assert_close(&whole[..part.len()], &part, 1e-13);
}

#[test]
fn greedy_generation_takes_the_largest_logit_and_stops_at_end_of_text() {
    let mut config = synthetic::config(1, 1, 300, 16);
    let weights = strong(&config, 15);
    let model = FloatModel::new(&config, &weights).unwrap();
    let output = model.generate(&TOKENS, 4).unwrap();
    assert_eq!(output.len(), 4);
    let all = [&TOKENS[..], &output].concat();
    let logits = model.forward(&all, &mut ()).unwrap();
    for (i, token) in output.iter().enumerate() {
        let row = &logits[(TOKENS.len() + i - 1) * config.vocabulary..][..config.vocabulary];
        assert!(row.iter().all(|logit| *logit <= row[*token as usize]));
    }

    let first = output.iter().position(|t| *t == output[2]).unwrap();
    config.end_of_text = vec![299, output[2]];
    let stopping = FloatModel::new(&config, &weights).unwrap();
    assert_eq!(stopping.generate(&TOKENS, 4).unwrap(), output[..=first]);
    // The context holds 16: nine of the prompt and all but the last of eight new ones.
    let end = [256, 299]
        .into_iter()
        .find(|t| !output.contains(t))
        .unwrap();
    config.end_of_text = vec![end];
    let model = FloatModel::new(&config, &weights).unwrap();
    assert!(matches!(
        model.generate(&TOKENS, 9),
        Err(FloatError::TooLong {
            length: 17,
            context: 16
        })
    ));
}

/// On equal logits the lowest token wins, as in the integer model.
#[test]
fn ties_go_to_the_lowest_token() {
    let config = synthetic::config(1, 1, 300, 16);
    let mut weights = strong(&config, 16);
    let row = |token: usize| token * config.width..(token + 1) * config.width;
    let model = FloatModel::new(&config, &weights).unwrap();
    let best = model.generate(&[5], 1).unwrap()[0] as usize;
    assert!(
        best > 0 && best != 5,
        "the seed gives a case that can be tied"
    );
    let copy = weights.tokens()[row(best)].to_vec();
    weights.tokens_mut()[row(0)].copy_from_slice(&copy);
    let model = FloatModel::new(&config, &weights).unwrap();
    assert_eq!(model.generate(&[5], 1).unwrap(), [0]);
}

#[test]
fn perplexity_is_the_exponential_of_the_mean_loss() {
    let config = synthetic::config(1, 1, 300, 16);
    let model = FloatModel::new(&config, &strong(&config, 17)).unwrap();
    let loss = |part: &[u32]| {
        let logits = model.forward(&part[..part.len() - 1], &mut ()).unwrap();
        mean_negative_log_likelihood(&logits, &part[1..])
    };
    let found = model.perplexity(&TOKENS, 16).unwrap();
    assert!((found / loss(&TOKENS).exp() - 1.0).abs() < 1e-12);
    // Windows of 4, 4 and 1: the last has nothing to predict.
    let mean = (loss(&TOKENS[..4]) + loss(&TOKENS[4..8])) / 2.0;
    assert!((model.perplexity(&TOKENS, 4).unwrap() / mean.exp() - 1.0).abs() < 1e-12);
    // A uniform distribution has the vocabulary's size as its perplexity.
    assert!((mean_negative_log_likelihood(&[7.0; 20], &[3, 4]).exp() - 10.0).abs() < 1e-12);
}

#[test]
fn tokens_that_cannot_be_run_are_refused() {
    let config = synthetic::config(1, 1, 300, 16);
    let model = FloatModel::new(&config, &strong(&config, 18)).unwrap();
    let run = |tokens: &[u32]| model.forward(tokens, &mut ()).unwrap_err();
    assert!(matches!(run(&[]), FloatError::Empty));
    assert!(matches!(
        run(&[0; 17]),
        FloatError::TooLong {
            length: 17,
            context: 16
        }
    ));
    let expected = run(&[1, 300]);
    assert!(matches!(
        expected,
        FloatError::Token {
            token: 300,
            position: 1,
            vocabulary: 300
        }
    ));
    assert!(matches!(
        model.perplexity(&[1], 16),
        Err(FloatError::TooShort { .. })
    ));
    assert!(matches!(
        model.perplexity(&TOKENS, 1),
        Err(FloatError::TooShort { .. })
    ));
}

/// The embedded model is a trained one, and the reference runs it as it was trained: on English
/// like its training text it is far from the 1,024 of a uniform guess.
#[test]
fn the_embedded_model_predicts_english() {
    let checkpoint = embedded::checkpoint().unwrap();
    assert_eq!(checkpoint.name, embedded::NAME);
    let text = "What say you, my lord? The king is come to speak with thee, and I shall not \
                be there to hear the matter of his heart.";
    let tokens = checkpoint.tokenizer.encode(text).unwrap();
    assert_eq!(checkpoint.tokenizer.decode(&tokens).unwrap(), text);
    let model = FloatModel::new(&checkpoint.config, &checkpoint.weights).unwrap();
    let perplexity = model.perplexity(&tokens, 256).unwrap();
    assert!(perplexity < 100.0, "{perplexity}");
}
