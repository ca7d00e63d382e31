//! Small checkpoints of every model_type, whose answers `tests/reference/models.py` had from `transformers`.

use std::collections::BTreeSet;

use rayon::prelude::*;
use serde_json::{Value, json};

use super::walk_tests::{by_integer, json_of, stored, tokens, with_class};
use super::{Config, MODEL_TYPES};
use crate::model::{Checkpoint, FloatError, FloatModel};

/// How far from `transformers`' float32 logits may be, in their standard deviations.
const NEAR: f64 = 1e-4;
/// From which margin on, in the same unit, the largest logit is the largest here too.
const CLEAR: f64 = 0.02;

fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).expect("numbers")
}

fn open(name: &str, weights: &str) -> Checkpoint {
    let config = with_class(&stored(&format!("models/{name}/config.json")));
    let weights = stored(&format!("models/{weights}/model.safetensors"));
    let weights = vec![("model.safetensors".to_string(), weights.into())];
    let checkpoint = Checkpoint::from_parts(name, &config, weights, &stored("tokenizer.json"));
    checkpoint.unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Compares one answer with the reference's, or finds the prompt refused as too long for the model's context.
pub(in crate::model) fn compare(
    name: &str,
    model: &FloatModel,
    prompt: &[u32],
    answer: &Value,
) -> bool {
    let expected = &tokens(&Value::Array(vec![answer["tokens"].clone()]))[0];
    let (margins, deviations) = (numbers(&answer["margins"]), numbers(&answer["deviations"]));
    let sequence = [prompt, expected].concat();
    let found = match model.forward(&sequence[..sequence.len() - 1], &mut ()) {
        Err(FloatError::TooLong { .. }) => return false,
        found => found.unwrap_or_else(|e| panic!("{name}: {e}")),
    };
    let vocabulary = found.len() / (sequence.len() - 1);
    let rows: Vec<_> = found
        .chunks_exact(vocabulary)
        .skip(prompt.len() - 1)
        .collect();
    for (logit, expected) in rows[0].iter().zip(numbers(&answer["logits"])) {
        let difference = (logit - expected).abs() / deviations[0];
        assert!(
            difference < NEAR,
            "{name}: {logit} {expected}, {difference} deviations"
        );
    }
    for (i, row) in rows.iter().enumerate() {
        if margins[i] >= CLEAR * deviations[i] {
            let found = crate::model::argmax(row);
            assert_eq!(found, expected[i], "{name}: token {i}");
        }
    }
    true
}

/// That each description is the model that `transformers` runs: names of tensors, orders of norms, rotations, windows and
/// factors, down to the logits.
#[test]
fn every_model_type_gives_the_answers_of_transformers() {
    let models = json_of(&stored("models.json"));
    let prompts = tokens(&models["prompts"]);
    let (mut types, mut refused) = (BTreeSet::new(), Vec::new());
    for (name, entry) in models["models"].as_object().expect("models") {
        let checkpoint = match name.as_str() {
            // Refused by name: see below.
            "gpt2" => continue,
            name => open(name, entry["weights"].as_str().expect("a folder")),
        };
        let config = &checkpoint.config;
        config
            .architecture()
            .check()
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        types.insert(config.tensors.model_type);
        let model = FloatModel::new(config, &checkpoint.weights).expect("its own weights");
        for (index, prompt) in prompts.iter().enumerate() {
            if !compare(name, &model, prompt, &entry["answers"][index]) {
                refused.push((name.as_str(), index));
            }
        }
    }
    let all: BTreeSet<_> = MODEL_TYPES
        .iter()
        .map(|model| model.tensors.model_type)
        .collect();
    assert_eq!(types, all);
    // Its long factors begin there.
    assert_eq!(refused, [("phi3", 1)]);
}

/// The same of the integer model, up to the first token that is not far from another one. The one that has none is named.
#[test]
fn the_integer_model_of_every_type_answers_likewise() {
    /// In deviations of the logits.
    const FAR: f64 = 0.1;
    let models = json_of(&stored("models.json"));
    let prompts = tokens(&models["prompts"]);
    let models = models["models"].as_object().expect("models");
    let models: Vec<_> = models.iter().collect();
    let faults = models.into_par_iter().filter_map(|(name, entry)| {
        if name == "gpt2" {
            return None;
        }
        let checkpoint = open(name, entry["weights"].as_str().expect("a folder"));
        let answer = &entry["answers"][0];
        let expected = &tokens(&Value::Array(vec![answer["tokens"].clone()]))[0];
        let (margins, deviations) = (numbers(&answer["margins"]), numbers(&answer["deviations"]));
        let clear = margins
            .iter()
            .zip(deviations)
            .take_while(|(m, d)| **m >= FAR * d)
            .count();
        match by_integer(&checkpoint, &prompts[..1].to_vec()) {
            Ok(found) => {
                let (found, expected) = (&found[0][..clear.min(8)], &expected[..clear.min(8)]);
                (found != expected).then(|| format!("{name}: {found:?} {expected:?}"))
            }
            Err(message) => Some(format!("{name}: {message}")),
        }
    });
    let faults: Vec<String> = faults.collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// A factor of each block's scores is not described.
#[test]
fn scores_divided_by_the_layers_number_are_refused() {
    let error = Config::parse(&stored("models/gpt2/config.json")).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("scale_attn_by_inverse_layer_idx"),
        "{message}"
    );
}

/// Each line is a configuration that is another function, on which `transformers` fails, or whose answers depend on more
/// than the model: the message names the key and what is supported.
#[test]
fn unsupported_values_are_refused_by_name() {
    let sliding = || json!(["sliding_attention", "full_attention"]);
    let cases = [
        ("phi", "qk_layernorm", json!(true), "false"),
        (
            "phi",
            "partial_rotary_factor",
            json!(0.08),
            "even number of rotated lanes",
        ),
        ("phi", "partial_rotary_factor", json!(null), "a number"),
        ("opt", "do_layer_norm_before", json!(false), "true"),
        ("opt", "_remove_final_layer_norm", json!(true), "false"),
        ("opt", "word_embed_proj_dim", json!(20), "hidden_size"),
        ("opt", "pad_token_id", json!(128), "vocabulary"),
        ("qwen2", "head_dim", json!(null), "whole number"),
        ("qwen2", "layer_types", sliding(), "sliding_window"),
        (
            "qwen2",
            "layer_types",
            json!(["full_attention"]),
            "num_hidden_layers (2)",
        ),
        (
            "qwen2",
            "rope_scaling",
            json!({"rope_type": "dynamic", "factor": 2.0}),
            "\"yarn\"",
        ),
        ("qwen3", "head_dim", json!(33), "even width"),
        ("qwen3", "num_key_value_heads", json!(3), "from 1 to 2"),
        ("mistral", "sliding_window", json!(0), "from 1 to"),
        // Its answers depend on what is cached.
        ("mistral", "sliding_window", json!(1), "2 tokens or more"),
        (
            "mistral",
            "num_key_value_heads",
            json!(null),
            "whole number",
        ),
        ("phi3", "head_dim", json!(24), "heads fill the width"),
        (
            "phi3",
            "rope_parameters",
            json!({"rope_type": "yarn", "factor": 4.0}),
            "\"longrope\"",
        ),
        (
            "phi3",
            "rope_parameters",
            json!({"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0], "partial_rotary_factor": 0.75}),
            "9 factors",
        ),
        ("gemma3_text", "attn_logit_softcapping", json!(50.0), "null"),
        (
            "gemma3_text",
            "final_logit_softcapping",
            json!(30.0),
            "null",
        ),
        (
            "gemma3_text",
            "use_bidirectional_attention",
            json!(true),
            "false",
        ),
        ("gemma3_text", "sliding_window", json!(null), "whole number"),
        (
            "gemma3_text",
            "num_attention_heads",
            json!(3),
            "a divisor of hidden_size",
        ),
        (
            "gemma3_text",
            "query_pre_attn_scalar",
            json!(0),
            "from 1 to",
        ),
        (
            "gemma3_text",
            "rope_parameters",
            json!({"rope_type": "default"}),
            "\"full_attention\"",
        ),
        (
            "gemma3_text",
            "sliding_window_pattern",
            json!(0),
            "from 1 to",
        ),
        (
            "gpt_neox",
            "rotary_pct",
            json!(1.5),
            "even number of rotated lanes",
        ),
        (
            "gpt_neox",
            "num_attention_heads",
            json!(5),
            "a divisor of hidden_size",
        ),
        (
            "smollm3",
            "no_rope_layers",
            json!([1]),
            "num_hidden_layers (2)",
        ),
        ("smollm3", "layer_types", sliding(), "sliding_window"),
        ("olmo2", "clip_qkv", json!(8.0), "null"),
        ("granite", "logits_scaling", json!(0.0), "10^-6"),
        ("granite", "residual_multiplier", json!(-0.5), "10^-6"),
        ("starcoder2", "norm_epsilon", json!(0.0), "positive"),
    ];
    for (name, key, value, supported) in cases {
        let mut config = json_of(&stored(&format!("models/{name}/config.json")));
        let beside = match key {
            "partial_rotary_factor" | "rotary_pct" | "rope_scaling" => "rope_parameters",
            "sliding_window_pattern" | "sliding_window" if name == "gemma3_text" => "layer_types",
            _ => "",
        };
        config.as_object_mut().expect("an object").remove(beside);
        config[key] = value.clone();
        let found = Config::parse(config.to_string().as_bytes());
        let message = found.expect_err(&format!("{name}: {key}")).to_string();
        for part in [key, supported, name] {
            assert!(message.contains(part), "{name}, {key} = {value}: {message}");
        }
    }
}

/// Other kinds of models are refused with the reason.
#[test]
fn other_kinds_of_models_are_refused_with_the_reason() {
    for (name, reason) in [
        ("mixtral", "experts"),
        ("bert", "encoders"),
        ("gpt_oss", "sinks"),
        ("gemma2", "caps"),
        ("mamba", "states"),
        ("gemma3", "text model"),
        ("unheard_of", "\"olmo2\""),
    ] {
        let message =
            Config::parse(json!({"model_type": name}).to_string().as_bytes()).unwrap_err();
        let message = message.to_string();
        assert!(
            message.contains(name) && message.contains(reason),
            "{message}"
        );
    }
}

/// A window over the whole context is none, and equal kinds of blocks are one.
#[test]
fn kinds_are_stated_once() {
    let kinds = |name: &str, key: &str, value: Value| {
        let mut config = json_of(&stored(&format!("models/{name}/config.json")));
        config[key] = value;
        let config = Config::parse(config.to_string().as_bytes()).expect("a configuration");
        (config.kinds.len(), config.kind_of)
    };
    assert_eq!(
        kinds("gemma3_text", "sliding_window", json!(16)),
        (2, vec![0, 1])
    );
    // Their rotations differ.
    assert_eq!(
        kinds("gemma3_text", "sliding_window", json!(64)),
        (2, vec![0, 1])
    );
    assert_eq!(
        kinds("qwen2-window", "sliding_window", json!(63)),
        (2, vec![0, 1])
    );
    assert_eq!(
        kinds("qwen2-window", "sliding_window", json!(64)),
        (1, vec![0, 0])
    );
    assert_eq!(
        kinds("smollm3", "no_rope_layers", json!([1, 0])),
        (2, vec![0, 1])
    );
    assert_eq!(
        kinds("smollm3", "no_rope_layers", json!([1, 1])),
        (1, vec![0, 0])
    );
}
