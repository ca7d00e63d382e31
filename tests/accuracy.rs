//! The integer model against the floating-point reference on text that the checkpoint has not seen.

use std::collections::HashMap;

use nanozk::layers::{LayerKind, Sequence, logits, quantize_checkpoint, run, system, witness};
use nanozk::model::{Checkpoint, FloatModel, Stage, embedded, negative_log_likelihood};
use nanozk::ops::{LANES, Tables as OpTables};
use nanozk::quant::{IntegerModel, Tables};
use nanozk::system::{System, Values, Witness};

const HELD_OUT: &str = include_str!("../models/tiny-gpt2/heldout.txt");
const CALIBRATION: &str = include_str!("../src/cli/calibration.txt");

/// Tokens per window: the checkpoint's context.
const WINDOW: usize = 256;
/// Windows, i.e. 4,096 tokens.
const WINDOWS: usize = 16;

fn argmax(values: impl Iterator<Item = f64>) -> usize {
    let (index, _) = values
        .enumerate()
        .fold((0, f64::NEG_INFINITY), |best, (i, v)| {
            if v > best.1 { (i, v) } else { best }
        });
    index
}

/// Perplexity within 0.02 %, greedy tokens equal on at least 99.5 % of positions.
#[test]
fn integer_and_floating_point_models_agree_on_held_out_text() {
    let (checkpoint, model) = quantized();
    let float = FloatModel::new(&checkpoint.config, &checkpoint.weights).expect("loaded");
    let tables = Tables::new(
        &model.manifest.scales,
        model.manifest.architecture.activation,
    );
    let op_tables = OpTables::from(&tables);
    let vocabulary = model.manifest.architecture.vocabulary;
    let s = &model.manifest.scales;
    let unit = f64::powi(0.5, (s.final_norm.output + s.final_gain + s.weight) as i32);

    let tokens = checkpoint.tokenizer.encode(HELD_OUT).expect("tokens");
    let (mut float_loss, mut integer_loss, mut agree, mut positions) = (0.0, 0.0, 0, 0);
    for window in tokens.chunks_exact(WINDOW).take(WINDOWS) {
        let reference = float.forward(window, &mut ()).expect("runs");
        logits(&model, op_tables, window, |p, exact| {
            let Some(next) = window.get(p + 1) else {
                return;
            };
            let exact: Vec<f64> = exact.iter().map(|l| *l as f64 * unit).collect();
            let reference = &reference[p * vocabulary..][..vocabulary];
            float_loss += negative_log_likelihood(reference, *next);
            integer_loss += negative_log_likelihood(&exact, *next);
            let same = argmax(exact.iter().copied()) == argmax(reference.iter().copied());
            agree += usize::from(same);
            positions += 1;
        })
        .expect("fits its scales");
    }
    let n = f64::from(positions);
    let (float, integer) = ((float_loss / n).exp(), (integer_loss / n).exp());
    let difference = integer / float - 1.0;
    let agreement = agree as f64 / n;
    println!(
        "{positions} positions: perplexity {float:.5} (float), {integer:.5} (integer), {:+.4} %, greedy {:.3} %",
        100.0 * difference,
        100.0 * agreement
    );
    assert!(positions > 2000);
    assert!(
        difference.abs() < 2e-4,
        "perplexity differs by {difference}"
    );
    assert!(agreement >= 0.995, "greedy tokens agree on {agreement}");
}

/// A witness column, or the number that its digits `name[0]`, `name[1]`, … are, in row-major order.
fn column(system: &System, witness: &Witness, name: &str) -> Vec<f64> {
    let values = |name: &str| -> Option<Vec<f64>> {
        let c = system.columns.iter().position(|c| c.name == name)?;
        Some(match witness.values[c].as_ref()? {
            Values::Small(v) => v.iter().map(|x| f64::from(*x)).collect(),
            Values::Wide(v) => v.iter().map(|x| *x as f64).collect(),
        })
    };
    if let Some(exact) = values(name) {
        return exact;
    }
    let digits = (0..).map_while(|l| Some((l, values(&format!("{name}[{l}]"))?)));
    let sum = |mut total: Vec<f64>, (l, digit): (i32, Vec<f64>)| {
        total.resize(digit.len(), 0.0);
        total
            .iter_mut()
            .zip(digit)
            .for_each(|(t, d)| *t += d * f64::powi(2.0, 16 * l));
        total
    };
    let number = digits.fold(Vec::new(), sum);
    assert!(!number.is_empty(), "no column {name}");
    number
}

/// `[slab][token][lane]` at `fraction` bits as the reference's `[token][feature]`.
fn as_rows(tensor: &[f64], tokens: usize, fraction: u32) -> Vec<f64> {
    let width = tensor.len() / tokens;
    let at = |i: usize, k: usize| tensor[(k / LANES * tokens + i) * LANES + k % LANES];
    let unit = f64::powi(0.5, fraction as i32);
    (0..tokens)
        .flat_map(|i| (0..width).map(move |k| (i, k)))
        .map(|(i, k)| at(i, k) * unit)
        .collect()
}

/// The largest difference, relative to the reference's largest value.
fn relative_error(integer: &[f64], reference: &[f64]) -> f64 {
    assert_eq!(integer.len(), reference.len());
    let largest = reference.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    integer
        .iter()
        .zip(reference)
        .map(|(x, y)| (x - y).abs())
        .fold(0.0, f64::max)
        / largest
}

/// The attention's normalized head sums, n·O at w + the values' bits.
fn head_outputs(system: &System, witness: &Witness) -> Vec<f64> {
    let inverse = column(system, witness, "weight inverse");
    let sums = column(system, witness, "head sum");
    sums.iter()
        .enumerate()
        .map(|(x, o)| o * inverse[x / LANES])
        .collect()
}

/// What each op of a block computes, at its fractional bits, and what it approximates.
fn op_tensors(m: &IntegerModel, b: usize, s: &System, w: &Witness) -> Vec<(Stage, Vec<f64>, u32)> {
    let (scales, block) = (&m.manifest.scales, &m.manifest.scales.blocks[b]);
    let accumulator = block.norm1.output + scales.weight;
    vec![
        (Stage::BlockInput, column(s, w, "h"), scales.residual),
        (
            Stage::Norm1,
            column(s, w, "norm 1 output"),
            block.norm1.output,
        ),
        (Stage::Query, column(s, w, "query"), block.q),
        (Stage::Key, column(s, w, "key"), block.k),
        (Stage::Value, column(s, w, "value"), accumulator),
        (
            Stage::HeadOutput,
            head_outputs(s, w),
            scales.inverse + accumulator,
        ),
        (
            Stage::AttentionBranch,
            column(s, w, "attention"),
            scales.residual,
        ),
        (
            Stage::Norm2,
            column(s, w, "norm 2 output"),
            block.norm2.output,
        ),
        (
            Stage::PreActivation,
            column(s, w, "activation key"),
            scales.activation_key,
        ),
        (
            Stage::Activated,
            column(s, w, "activation"),
            scales.activation_value,
        ),
        (
            Stage::FeedForwardBranch,
            column(s, w, "feed-forward"),
            scales.residual,
        ),
    ]
}

fn quantized() -> (Checkpoint, IntegerModel) {
    let checkpoint = embedded::checkpoint().expect("the embedded checkpoint");
    let model = quantize_checkpoint(&checkpoint, CALIBRATION, 1, true).expect("quantized");
    (checkpoint, model)
}

/// Every op of every block within 0.5 % of its tensor's largest value, errors of all earlier
/// layers included.
#[test]
fn every_op_of_every_block_follows_the_reference() {
    let (checkpoint, model) = quantized();
    let tables = Tables::new(
        &model.manifest.scales,
        model.manifest.architecture.activation,
    );
    let op_tables = OpTables::from(&tables);
    let tokens = checkpoint.tokenizer.encode(HELD_OUT).expect("tokens")[..64].to_vec();
    let mut reference: HashMap<(usize, Stage), Vec<f64>> = HashMap::new();
    let float = FloatModel::new(&checkpoint.config, &checkpoint.weights).expect("loaded");
    let mut keep = |block: Option<usize>, stage: Stage, values: &[f64]| {
        reference.insert((block.unwrap_or(usize::MAX), stage), values.to_vec());
    };
    float.forward(&tokens, &mut keep).expect("runs");

    let architecture = &model.manifest.architecture;
    let next = nanozk::layers::generate(&model, op_tables, &tokens, 1)
        .expect("runs")
        .output;
    let sequence = Sequence::new(&tokens, &next, architecture).expect("fits");
    let trace = run(&model, op_tables, sequence).expect("runs");
    for b in 0..architecture.layers {
        let kind = LayerKind::Block(b);
        let system = system(&model.manifest, &trace.sequence, kind);
        let witness = witness(&model, op_tables, &trace, kind).expect("runs");
        for (stage, tensor, fraction) in op_tensors(&model, b, &system, &witness) {
            let integer = as_rows(&tensor, tokens.len(), fraction);
            let error = relative_error(&integer, &reference[&(b, stage)]);
            println!("block {b} {stage:?}: {:.4} %", 100.0 * error);
            assert!(error < 5e-3, "block {b} {stage:?} is off by {error}");
        }
    }
}
