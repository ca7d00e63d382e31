//! The walk over the keys of configurations, whose answers `tests/reference/walk.py` had from `transformers`: each
//! change of a key gives the same tokens here, or is refused by the name of the key.

use std::fs;

use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::table::Row;
use super::{Config, MODEL_TYPES, generation, rope};
use crate::layers::{generate, quantize_checkpoint};
use crate::model::{Checkpoint, FloatError, FloatModel};
use crate::quant::Tables;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference");
/// A key that is taken out of the file.
const ABSENT: &str = "(absent)";

/// The new tokens after each prompt.
pub(in crate::model) type Answers = Vec<Vec<u32>>;

pub(in crate::model) fn stored(name: &str) -> Vec<u8> {
    let path = format!("{FOLDER}/{name}");
    fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

pub(in crate::model) fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("stored JSON")
}

pub(in crate::model) fn tokens(value: &Value) -> Answers {
    serde_json::from_value(value.clone()).expect("lists of tokens")
}

/// What a checkpoint of this folder answers, as the floating-point reference and as the integer model.
pub(in crate::model) fn ask(checkpoint: &Checkpoint, prompts: &Answers) -> [Answers; 2] {
    let float = by_float(checkpoint, prompts).into_iter();
    let float: Option<Answers> = float.collect();
    [
        float.expect("prompts that fit"),
        by_integer(checkpoint, prompts).expect("within its range"),
    ]
}

/// What the floating-point reference answers; nothing where the prompt is too long for the model.
fn by_float(checkpoint: &Checkpoint, prompts: &Answers) -> Vec<Option<Vec<u32>>> {
    let float = FloatModel::new(&checkpoint.config, &checkpoint.weights).expect("its own weights");
    let answer = |prompt: &Vec<u32>| match float.generate(prompt, 8) {
        Err(FloatError::TooLong { .. }) => None,
        answer => Some(answer.expect("tokens it knows")),
    };
    prompts.iter().map(answer).collect()
}

/// What the integer model answers, or why there is none.
pub(super) fn by_integer(checkpoint: &Checkpoint, prompts: &Answers) -> Result<Answers, String> {
    // Each of 95 characters after each of some others.
    let text: String = (0..600u32)
        .map(|i| char::from((32 + i * (1 + i / 95) % 95) as u8))
        .collect();
    let quantized = quantize_checkpoint(checkpoint, &text, 1, false);
    let integer = quantized.map_err(|e| e.to_string())?.model;
    let tables = Tables::new(&integer.manifest.scales, checkpoint.config.activation);
    let answer = |prompt: &Vec<u32>| {
        let generated = generate(&integer, (&tables).into(), prompt, 8);
        generated
            .map(|generated| generated.output)
            .map_err(|e| e.to_string())
    };
    prompts.iter().map(answer).collect()
}

/// Answers to the prompts that fit, and to all of them by the integer model, if they do and it is asked.
#[derive(Clone)]
struct Found {
    float: Vec<Option<Vec<u32>>>,
    integer: Option<Answers>,
}

/// A configuration that names the class of the stored tokenizer unless it names one: those of some model types make of
/// a tokenizer.json what is not read.
pub(in crate::model) fn with_class(config: &[u8]) -> Vec<u8> {
    let mut config = json_of(config);
    let object = config.as_object_mut().expect("a configuration");
    let class = || json!("PreTrainedTokenizerFast");
    object.entry("tokenizer_class").or_insert_with(class);
    config.to_string().into_bytes()
}

/// What is answered with the stored weights of `walked` under `config`, or why the checkpoint is refused.
fn answers(walked: &Walked, config: &[u8], prompts: &Answers) -> Result<Found, String> {
    let weights = stored(&format!("{}/model.safetensors", walked.weights));
    let weights = vec![("model.safetensors".to_string(), weights.into())];
    let (tokenizer, config) = (stored("tokenizer.json"), with_class(config));
    let checkpoint = Checkpoint::from_parts(walked.name, &config, weights, &tokenizer);
    let checkpoint = checkpoint.map_err(|e| e.to_string())?;
    let float = by_float(&checkpoint, prompts);
    let whole = walked.integer && float.iter().all(Option::is_some);
    let integer = whole.then(|| by_integer(&checkpoint, prompts));
    let integer = integer.transpose().expect("within its range");
    Ok(Found { float, integer })
}

/// The prompts, and what `transformers` answers to the stored checkpoint `model` after `change`.
pub(in crate::model) fn reference(model: &str, change: &Value) -> (Answers, Answers) {
    let (prompts, cases) = walk(model);
    let mut cases = cases.into_iter();
    let case = cases.find(|case| Value::Object(case.change.clone()) == *change);
    let answers = case.and_then(|case| case.reference);
    (prompts, answers.expect("a case of the walk"))
}

/// Compares a list of what is refused although `transformers` has an answer with the stored one.
pub(in crate::model) fn compare_refused(model: &str, refused: &[String]) {
    let name = format!("refused-{model}.json");
    if std::env::var_os("NANOZK_REGENERATE").is_some() {
        let list = serde_json::to_string_pretty(refused).expect("texts");
        fs::write(format!("{FOLDER}/{name}"), list + "\n").expect("a writable folder");
    }
    assert_eq!(json!(refused), json_of(&stored(&name)));
}

/// Below this margin of a token's logit over the next, rounding in `f32` may decide.
const CLOSE: f64 = 1e-3;

/// A case of the walk: what is changed in a configuration, and what `transformers` makes of it.
struct Case {
    change: Map<String, Value>,
    /// `None` where it fails.
    reference: Option<Answers>,
    /// The least margin of its tokens.
    margin: f64,
}

/// The prompts and the cases of a checkpoint: those in `models/` are asked longer ones.
fn walk(model: &str) -> (Answers, Vec<Case>) {
    let walk = json_of(&stored("walk.json"));
    let prompts = match model {
        "gpt2" | "llama" => &walk["prompts"],
        _ => &walk["long prompts"],
    };
    let known = &walk[format!("{model} answers")];
    let cases = walk[format!("{model} cases")].as_array().expect("cases");
    let case = |case: &Value| Case {
        change: case[0].as_object().expect("a change").clone(),
        reference: case[1].as_u64().map(|index| tokens(&known[index as usize])),
        margin: case[2].as_f64().unwrap_or_default(),
    };
    (tokens(prompts), cases.iter().map(case).collect())
}

/// A checkpoint whose keys are walked over.
struct Walked {
    name: &'static str,
    /// The folders of its configuration and of its weights.
    folder: String,
    weights: String,
    /// Whether the integer model is asked, too.
    integer: bool,
}

impl Walked {
    /// One of those beside `models/`.
    fn beside(name: &'static str) -> Self {
        Self {
            name,
            folder: name.to_string(),
            weights: name.to_string(),
            integer: true,
        }
    }

    /// One of those in `models/`.
    fn among_models(name: &'static str) -> Self {
        let folder = if name == "llama-shared" {
            "llama"
        } else {
            name
        };
        let models = json_of(&stored("models.json"));
        let weights = models["models"][folder]["weights"]
            .as_str()
            .expect("a folder");
        Self {
            name,
            folder: format!("models/{folder}"),
            weights: format!("models/{weights}"),
            integer: false,
        }
    }
}

impl Case {
    fn config(&self, stored: &Value) -> Vec<u8> {
        let mut config = stored.as_object().expect("a configuration").clone();
        config.extend(self.change.clone());
        config.retain(|_, value| value != ABSENT);
        Value::Object(config).to_string().into_bytes()
    }

    /// As it is written in lists of cases.
    fn name(&self) -> String {
        let change = Value::Object(self.change.clone()).to_string();
        change[1..change.len() - 1].chars().take(60).collect()
    }

    /// Whether a message says what is to blame: a key, or the tensor whose shape is not what the key says.
    fn is_named(&self, message: &str) -> bool {
        message.contains("tensor \"") || self.change.keys().any(|key| message.contains(key))
    }
}

/// Walks over the cases of a checkpoint. Each is refused by name where `transformers` fails, and otherwise answered in
/// the same way, or refused. Those last ones are listed in `refused-NAME.json` (written again under
/// `NANOZK_REGENERATE`): all others must be answered, in number `answered`.
fn walk_over(walked: &Walked, answered: usize) -> Result<(), String> {
    let (prompts, cases) = walk(walked.name);
    let config = json_of(&stored(&format!("{}/config.json", walked.folder)));
    let mut known: Vec<(Config, Result<Found, String>)> = Vec::new();
    let (mut refused, mut equal, mut wrong) = (Vec::new(), 0, Vec::new());
    for case in &cases {
        let bytes = case.config(&config);
        let found = Config::parse(&bytes).map_err(|e| e.to_string());
        let found = found.and_then(|config| {
            let index = known.iter().position(|(known, _)| *known == config);
            let index = index.unwrap_or_else(|| {
                known.push((config, answers(walked, &bytes, &prompts)));
                known.len() - 1
            });
            known[index].1.clone()
        });
        let name = case.name();
        match (found, &case.reference) {
            (Ok(found), Some(reference)) => {
                let whole = found.float.iter().all(Option::is_some);
                if whole {
                    equal += 1;
                } else {
                    refused.push(name.clone());
                }
                let mut pairs = found.float.iter().zip(reference);
                if pairs.any(|(found, reference)| found.as_ref().is_some_and(|f| f != reference)) {
                    if case.margin >= CLOSE {
                        wrong.push(format!("{name}: another answer of the reference"));
                    }
                } else if found.integer.is_some_and(|found| found != *reference) {
                    wrong.push(format!("{name}: another answer of the integer model"));
                }
            }
            (Ok(_), None) => wrong.push(format!("{name}: answered, but transformers fails")),
            (Err(message), _) if !case.is_named(&message) => {
                wrong.push(format!("{name}: not named: {message}"));
            }
            (Err(_), reference) => refused.extend(reference.as_ref().map(|_| name)),
        }
    }
    let name = walked.name;
    if !wrong.is_empty() {
        return Err(format!("{name}:\n{}", wrong.join("\n")));
    }
    compare_refused(name, &refused);
    match equal == answered {
        true => Ok(()),
        false => Err(format!("{name}: {equal} instead of {answered} answered")),
    }
}

#[test]
fn keys_of_gpt2_mean_what_they_mean_to_transformers() {
    walk_over(&Walked::beside("gpt2"), 285).expect("the same answers");
}

#[test]
fn keys_of_llama_mean_what_they_mean_to_transformers() {
    walk_over(&Walked::beside("llama"), 197).expect("the same answers");
}

/// The same of the other model types, as far as the floating-point reference goes.
#[test]
fn keys_of_other_model_types_mean_what_they_mean_to_transformers() {
    let answered = [
        ("llama-shared", 42),
        ("phi", 84),
        ("opt", 57),
        ("qwen2", 81),
        ("qwen3", 83),
        ("mistral", 60),
        ("phi3", 17),
        ("gemma3_text", 90),
        ("gpt_neox", 87),
        ("smollm3", 95),
        ("olmo2", 58),
        ("granite", 71),
        ("starcoder2", 84),
    ];
    let walk = |(name, answered)| walk_over(&Walked::among_models(name), answered).err();
    let faults: Vec<String> = answered.into_par_iter().filter_map(walk).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The tables' defaults are those of `transformers`.
#[test]
fn absent_keys_mean_what_they_mean_to_transformers() {
    let walk = json_of(&stored("walk.json"));
    for model in &MODEL_TYPES {
        let defaults = walk[format!("{} defaults", model.tensors.model_type)].as_array();
        let mut compared = 0;
        for pair in defaults.expect("pairs") {
            let key = pair[0].as_str().expect("a key");
            let mut rows = model.tables.iter().copied().flatten();
            let row = rows.find(|row| row.key == key);
            let row = row.unwrap_or_else(|| panic!("{key} is in no table"));
            if !row.default.is_empty() {
                assert_eq!(
                    row.default(),
                    pair[1],
                    "{}: {key}",
                    model.tensors.model_type
                );
                compared += 1;
            }
        }
        assert!(compared > 50, "{}: {compared}", model.tensors.model_type);
    }
}

/// No key of a table is left out of the walk, but that which is walked over with generation_config.json.
#[test]
fn the_walk_covers_the_tables() {
    for model in &MODEL_TYPES {
        let (_, cases) = walk(model.tensors.model_type);
        let walked = |key: &str| cases.iter().any(|case| case.change.contains_key(key));
        let within = |key: &str| {
            let mut values = cases.iter().flat_map(|case| case.change.values());
            values.any(|value| {
                value
                    .as_object()
                    .is_some_and(|object| object.contains_key(key))
            })
        };
        let missing = |row: &&Row| row.key != "eos_token_id" && !walked(row.key);
        let tables = match model.tensors.model_type {
            "gpt2" => &model.tables[..],
            // `generate` is the same whatever the model_type,
            "llama" => &model.tables[..2],
            // and so is what every configuration may have.
            _ => &model.tables[..1],
        };
        let missing: Vec<_> = tables.iter().copied().flatten().filter(missing).collect();
        assert!(
            missing.is_empty(),
            "{}: {missing:?}",
            model.tensors.model_type
        );
        if model.tensors.model_type == "llama" {
            let missing: Vec<_> = rope::KEYS.iter().filter(|row| !within(row.key)).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
        let options = model.tables[2].iter().map(|row| row.key);
        assert!(options.eq(generation::KEYS.iter().map(|row| row.key)));
    }
}
