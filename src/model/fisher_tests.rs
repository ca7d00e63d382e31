//! Fisher information against its definition, by finite differences, and in both precisions.

use candle_core::{DType, Device, Tensor};

use super::float::FloatModel;
use super::*;
use crate::quant::Activation;

/// Predicts four tokens; two of them are alike, whose gradients add up in the embedding.
const WINDOW: [u32; 5] = [3, 1, 3, 5, 2];

/// A model of any kind with a few hundred parameters: two blocks of width 4, six tokens.
fn tiny(config: Config, activation: Activation, tied: bool) -> (Config, Weights) {
    let gated = config.gated;
    let config = Config {
        width: 4,
        heads: 2,
        kv_heads: if gated { 1 } else { 2 },
        head_width: 2,
        rotated: config.rotated.min(2),
        hidden: 6,
        vocabulary: 6,
        context: 8,
        activation,
        tied,
        end_of_text: vec![0],
        ..config
    };
    let mut weights = synthetic::weights(&config, 5);
    // Matrices of an initialized model are so small that attention and activation are all but linear.
    for slot in weights.slots(&config) {
        if !slot.name.contains("ln") && !slot.name.contains("norm") {
            slot.values.iter_mut().for_each(|v| *v *= 25.0);
        }
    }
    (config, weights)
}

/// The configuration of a stored checkpoint.
fn stored(name: &str) -> Config {
    let path = format!(
        "{}/tests/reference/models/{name}/config.json",
        env!("CARGO_MANIFEST_DIR")
    );
    Config::parse(&std::fs::read(path).expect("a file")).expect("a configuration")
}

/// Between them they have every kind of parameter.
fn kinds() -> [(Config, Weights); 6] {
    let gpt2 = || synthetic::config(2, 2, 257, 8);
    let llama = synthetic::llama_config(2, (2, 1, 2), 257, 8);
    [
        tiny(gpt2(), Activation::GeluTanh, true),
        tiny(gpt2(), Activation::GeluErf, false),
        tiny(llama, Activation::Silu, false),
        tiny(stored("phi"), Activation::QuickGelu, false),
        tiny(stored("gemma3_text"), Activation::GeluTanh, true),
        tiny(stored("gpt_neox"), Activation::Silu, false),
    ]
}

/// ln p of every token of the window but the first, by the functions that perplexity uses.
fn log_likelihoods(model: &FloatModel, config: &Config) -> Vec<f64> {
    let logits = model.forward(&WINDOW, &mut ()).expect("it runs");
    let rows = logits.chunks_exact(config.vocabulary);
    let next = rows.zip(&WINDOW[1..]);
    next.map(|(row, next)| -negative_log_likelihood(row, *next))
        .collect()
}

/// The numbers of parameters that a layer of each kind has: embedding, block, head.
fn counts(config: &Config, weights: &Weights) -> [usize; 3] {
    let (d, matrix) = (config.width, config.vocabulary * config.width);
    let size = |tensor: &super::Tensor| tensor.weight.len() + tensor.bias.len();
    let positions = config.positions.map_or(0, |_| config.context * d);
    let block = weights.blocks[0].iter().map(size).sum();
    let head = size(weights.part(Part::FinalNorm)) + weights.head_bias.len();
    [matrix + positions, block, matrix + head]
}

/// A parameter with one entry moved by `by`.
fn moved(parameter: &Tensor, entry: usize, by: f64) -> Tensor {
    let flat = parameter.flatten_all().expect("flat");
    let mut values: Vec<f64> = flat.to_vec1().expect("f64");
    values[entry] += by;
    Tensor::from_vec(values, parameter.shape(), &Device::Cpu).expect("the same shape")
}

/// The derivative of every log-likelihood by one entry, by central differences.
fn differences(
    model: &mut FloatModel,
    config: &Config,
    [layer, parameter, entry]: [usize; 3],
) -> Vec<f64> {
    // The error is about STEP²·f'''/6 + 2^-52·|f|/STEP: 10^-9 for derivatives of the order of 1.
    const STEP: f64 = 3e-5;
    let original = model.parameters()[layer][parameter].clone();
    let mut at = |by| {
        *model.parameters()[layer][parameter] = moved(&original, entry, by);
        log_likelihoods(model, config)
    };
    let (above, below) = (at(STEP), at(-STEP));
    *model.parameters()[layer][parameter] = original;
    let pairs = above.iter().zip(below);
    pairs.map(|(a, b)| (a - b) / (2.0 * STEP)).collect()
}

/// That every parameter of every kind of tensor is differentiated, token by token, and counted once,
/// in its own layer: squared finite differences by all parameters, added up, are the layers' values.
/// Candle's derivatives of the GELUs have constants of six digits, hence a tolerance of 10⁻⁵.
#[test]
fn layers_have_the_sum_of_the_squared_derivatives_by_all_their_parameters() {
    for (config, weights) in kinds() {
        let fisher = FisherModel::new(&config, &weights, Precision::Double).expect("a model");
        let found = fisher.squared_gradients(&WINDOW, &mut || {}).expect("runs");
        assert_eq!(found.len(), WINDOW.len() - 1);

        let model = FloatModel::new(&config, &weights).expect("a model");
        // Variables, because a tied matrix has to be moved in one of its uses at a time.
        let mut model = model.differentiable(DType::F64).expect("variables");
        let sizes: Vec<Vec<usize>> = model
            .parameters()
            .iter()
            .map(|layer| layer.iter().map(|p| p.elem_count()).collect())
            .collect();
        let [embedding, block, head] = counts(&config, &weights);
        let totals: Vec<usize> = sizes.iter().map(|layer| layer.iter().sum()).collect();
        assert_eq!(totals, [embedding, block, block, head]);
        for (layer, parameters) in sizes.iter().enumerate() {
            let mut expected = vec![0.0; WINDOW.len() - 1];
            for (parameter, count) in parameters.iter().enumerate() {
                for entry in 0..*count {
                    let derivatives = differences(&mut model, &config, [layer, parameter, entry]);
                    for (sum, d) in expected.iter_mut().zip(derivatives) {
                        *sum += d * d;
                    }
                }
            }
            for (found, expected) in found.iter().zip(expected) {
                let found = found[layer];
                let error = (found / expected - 1.0).abs();
                assert!(error < 1e-5, "layer {layer}: {found} {expected}");
            }
        }
    }
}

/// The largest relative difference that single precision makes to a layer's value at any of `count`
/// tokens.
fn single_precision_error(checkpoint: &Checkpoint, count: usize) -> f64 {
    let tokens = checkpoint
        .tokenizer
        .encode("Once the king is dead, long live the king.");
    let tokens = &tokens.expect("text")[..=count];
    let [single, double] = [Precision::Single, Precision::Double].map(|precision| {
        let model = FisherModel::new(&checkpoint.config, &checkpoint.weights, precision);
        let found = model.and_then(|m| m.squared_gradients(tokens, &mut || {}));
        found.expect("it runs")
    });
    let pairs = single.iter().flatten().zip(double.iter().flatten());
    let errors = pairs.map(|(single, double)| (single / double - 1.0).abs());
    errors.fold(0.0, f64::max)
}

/// That single precision, in which the command computes, gives the values of double precision.
#[test]
fn single_precision_gives_the_values_of_double_precision() {
    let error = single_precision_error(&embedded::checkpoint().expect("the program's own"), 7);
    assert!(error < 1e-4, "{error}");
}

/// The same of a published model.
#[test]
#[ignore = "needs what models/smollm2/fetch downloads"]
fn single_precision_suffices_for_a_published_model() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/models/smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    );
    let checkpoint = Checkpoint::open(path.as_ref()).expect("fetched");
    let error = single_precision_error(&checkpoint, 6);
    assert!(error < 1e-3, "{error}");
}

/// That a layer's information is the mean over tokens, and its standard error that of a mean.
#[test]
fn fisher_is_the_mean_over_tokens() {
    let mut fisher = Fisher::default();
    for token in [[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]] {
        fisher.add(&token);
    }
    let layers: Vec<_> = fisher.layers().collect();
    // The sample's variance is (4 + 1 + 9) / 2 = 7.
    assert_eq!(layers[0].0, 3.0);
    assert!((layers[0].1 - (7.0 / 3.0f64).sqrt()).abs() < 1e-12);
    assert_eq!(layers[1], (5.0, 0.0));
}
