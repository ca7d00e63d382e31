//! The walk over the keys of configurations, whose answers `tests/reference/walk.py` had from `transformers`: each
//! change of a key gives the same tokens here, or is refused by the name of the key.

use std::fs;

use serde_json::{Map, Value, json};

use super::table::Row;
use super::{Config, MODEL_TYPES, generation, rope};
use crate::layers::{generate, quantize_checkpoint};
use crate::model::{Checkpoint, FloatModel};
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
    // Each of 95 characters after each of some others.
    let text: String = (0..600u32)
        .map(|i| char::from((32 + i * (1 + i / 95) % 95) as u8))
        .collect();
    let integer = quantize_checkpoint(checkpoint, &text, 1, false).expect("quantized");
    let float = FloatModel::new(&checkpoint.config, &checkpoint.weights).expect("its own weights");
    let scales = &integer.model.manifest.scales;
    let tables = Tables::new(scales, checkpoint.config.activation);
    let by_float = |prompt: &Vec<u32>| float.generate(prompt, 8).expect("tokens it knows");
    let by_integer = |prompt: &Vec<u32>| {
        let generated = generate(&integer.model, (&tables).into(), prompt, 8);
        generated.expect("within its range").output
    };
    let prompts = || prompts.iter();
    [
        prompts().map(by_float).collect(),
        prompts().map(by_integer).collect(),
    ]
}

/// What is answered with the stored weights of `model` under `config`, or why the checkpoint is refused.
fn answers(model: &str, config: &[u8], prompts: &Answers) -> Result<[Answers; 2], String> {
    let weights = stored(&format!("{model}/model.safetensors"));
    let weights = vec![("model.safetensors".to_string(), weights.into())];
    let checkpoint = Checkpoint::from_parts(model, config, weights, &stored("tokenizer.json"));
    checkpoint
        .map(|checkpoint| ask(&checkpoint, prompts))
        .map_err(|e| e.to_string())
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

/// A case of the walk: what is changed in a configuration, and what `transformers` makes of it.
struct Case {
    change: Map<String, Value>,
    /// `None` where it fails.
    reference: Option<Answers>,
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
    };
    (tokens(prompts), cases.iter().map(case).collect())
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

/// Walks over the cases of a model_type. Each is refused by name where `transformers` fails, and otherwise answered in
/// the same way, or refused. Those last ones are listed in `refused-MODEL.json` (written again under
/// `NANOZK_REGENERATE`): all others must be answered, in number `answered`.
fn walked(model: &str, answered: usize) {
    let (prompts, cases) = walk(model);
    let config = json_of(&stored(&format!("{model}/config.json")));
    let mut known: Vec<(Config, Result<[Answers; 2], String>)> = Vec::new();
    let (mut refused, mut equal, mut wrong) = (Vec::new(), 0, Vec::new());
    for case in &cases {
        let bytes = case.config(&config);
        let found = Config::parse(&bytes).map_err(|e| e.to_string());
        let found = found.and_then(|config| {
            let index = known.iter().position(|(known, _)| *known == config);
            let index = index.unwrap_or_else(|| {
                known.push((config, answers(model, &bytes, &prompts)));
                known.len() - 1
            });
            known[index].1.clone()
        });
        let name = case.name();
        match (found, &case.reference) {
            (Ok([float, integer]), Some(reference)) => {
                equal += 1;
                if float != *reference {
                    wrong.push(format!("{name}: another answer of the reference"));
                } else if integer != *reference {
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
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    compare_refused(model, &refused);
    assert_eq!(equal, answered);
}

#[test]
fn keys_of_gpt2_mean_what_they_mean_to_transformers() {
    walked("gpt2", 279);
}

#[test]
fn keys_of_llama_mean_what_they_mean_to_transformers() {
    walked("llama", 185);
}

/// The tables' defaults are those of `transformers`.
#[test]
fn absent_keys_mean_what_they_mean_to_transformers() {
    let walk = json_of(&stored("walk.json"));
    for model in &MODEL_TYPES {
        let defaults = walk[format!("{} defaults", model.name)].as_array();
        let mut compared = 0;
        for pair in defaults.expect("pairs") {
            let key = pair[0].as_str().expect("a key");
            let mut rows = model.tables.iter().copied().flatten();
            let row = rows.find(|row| row.key == key);
            let row = row.unwrap_or_else(|| panic!("{key} is in no table"));
            if !row.default.is_empty() {
                assert_eq!(row.default(), pair[1], "{}: {key}", model.name);
                compared += 1;
            }
        }
        assert!(compared > 50, "{}: {compared}", model.name);
    }
}

/// No key of a table is left out of the walk, but that which is walked over with generation_config.json.
#[test]
fn the_walk_covers_the_tables() {
    for model in &MODEL_TYPES {
        let (_, cases) = walk(model.name);
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
        let tables = match model.name {
            "gpt2" => &model.tables[..],
            // `generate` is the same whatever the model_type,
            "llama" => &model.tables[..2],
            // and so is what every configuration may have.
            _ => &model.tables[..1],
        };
        let missing: Vec<_> = tables.iter().copied().flatten().filter(missing).collect();
        assert!(missing.is_empty(), "{}: {missing:?}", model.name);
        if model.name == "llama" {
            let missing: Vec<_> = rope::KEYS.iter().filter(|row| !within(row.key)).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
        assert!(std::ptr::eq(model.tables[2], generation::KEYS));
    }
}
