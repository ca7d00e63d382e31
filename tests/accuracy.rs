//! The integer model against the floating-point reference on text that the checkpoint has not seen.

use nanozk::layers::{logits, quantize_checkpoint};
use nanozk::model::{FloatModel, embedded, negative_log_likelihood};
use nanozk::ops::Tables as OpTables;
use nanozk::quant::Tables;

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
    let checkpoint = embedded::checkpoint().expect("the embedded checkpoint");
    let model = quantize_checkpoint(&checkpoint, CALIBRATION, 1, true).expect("quantized");
    let float = FloatModel::new(&checkpoint.config, &checkpoint.weights).expect("loaded");
    let tables = Tables::new(
        &model.manifest.scales,
        model.manifest.architecture.activation,
    );
    let op_tables = OpTables {
        exp: &tables.exp,
        is_zero: &tables.is_zero,
        activation: &tables.activation,
    };
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
