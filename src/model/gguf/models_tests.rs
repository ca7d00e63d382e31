//! Files of every architecture, made of the stored checkpoints by the recipes of `tests/reference/gguf_models.py`, which has
//! its names from gguf-py and its orders of rows from what llama.cpp's converter does: the model that is read gives the
//! answers of `transformers` to the checkpoint.

use std::collections::BTreeSet;

use half::f16;
use safetensors::SafeTensors;
use serde_json::Value as Json;

use super::architecture::ARCHITECTURES;
use super::tests::open;
use super::write::{self, GgmlDType, QTensor, Value};
use crate::model::config::models_tests::compare;
use crate::model::config::table::{Effect, Row};
use crate::model::config::walk_tests::{json_of, stored, tokens};
use crate::model::{Checkpoint, CheckpointError, Config, FloatModel};

/// A file's whole keys with their values, and its tensors.
pub(super) struct File {
    pub architecture: String,
    pub metadata: Vec<(String, Value)>,
    pub tensors: Vec<(String, QTensor)>,
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

/// A stored value with its type.
pub(super) fn value(kind: &Json, value: &Json) -> Value {
    match kind.as_str().expect("a type") {
        "u32" => Value::U32(value.as_u64().expect("a number") as u32),
        "f32" => Value::F32(value.as_f64().expect("a number") as f32),
        "text" => text(value.as_str().expect("a text")),
        "flag" => Value::Bool(value.as_bool().expect("a flag")),
        other => panic!("type {other}"),
    }
}

/// The tensors of a recipe, of those of a checkpoint.
fn tensors(recipe: &Json, weights: &SafeTensors) -> Vec<(String, QTensor)> {
    let stored = |name: &Json| {
        let view = weights
            .tensor(name.as_str().expect("a name"))
            .expect("a tensor");
        let pairs = view.data().as_chunks::<2>().0.iter();
        let values: Vec<f32> = pairs.map(|b| f16::from_le_bytes(*b).to_f32()).collect();
        (view.shape().to_vec(), values)
    };
    let made = |(name, made): (&String, &Json)| {
        let (shape, mut values) = match made["from"].as_array() {
            None => {
                let values = numbers(&made["values"]);
                let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
                (vec![values.len()], values)
            }
            Some(names) => {
                let parts: Vec<_> = names.iter().map(stored).collect();
                let mut shape = parts[0].0.clone();
                shape[0] = parts.iter().map(|(shape, _)| shape[0]).sum();
                let values = parts.into_iter().flat_map(|(_, values)| values);
                (shape, values.collect())
            }
        };
        if let Some(rows) = made["rows"].as_array() {
            let columns: usize = shape[1..].iter().product();
            let row =
                |row: &Json| &values[row.as_u64().expect("a row") as usize * columns..][..columns];
            values = rows.iter().flat_map(row).copied().collect();
        }
        let added = made["add"].as_f64().unwrap_or_default() as f32;
        values.iter_mut().for_each(|value| *value += added);
        (name.clone(), write::tensor(&shape, values, GgmlDType::F32))
    };
    let recipe = recipe.as_object().expect("tensors");
    recipe.iter().map(made).collect()
}

fn numbers(value: &Json) -> Vec<f64> {
    serde_json::from_value(value.clone()).expect("numbers")
}

/// The file of an entry, whose tokens are characters.
pub(super) fn file(entry: &Json) -> File {
    let architecture = entry["architecture"].as_str().expect("a name").to_string();
    let letters = json_of(&stored("tokenizer.json"))["model"]["vocab"].clone();
    let letters: std::collections::BTreeMap<String, u32> =
        serde_json::from_value(letters).expect("ids of tokens");
    let mut letters: Vec<_> = letters.into_iter().collect();
    letters.sort_by_key(|(_, id)| *id);
    let mut metadata = vec![
        ("general.architecture".to_string(), text(&architecture)),
        ("tokenizer.ggml.model".into(), text("gpt2")),
        ("tokenizer.ggml.pre".into(), text("gpt-2")),
        (
            "tokenizer.ggml.tokens".into(),
            write::texts(letters.iter().map(|(letter, _)| letter)),
        ),
        ("tokenizer.ggml.merges".into(), write::texts([""; 0])),
        ("tokenizer.ggml.eos_token_id".into(), Value::U32(127)),
    ];
    let own = entry["metadata"].as_object().expect("metadata").iter();
    metadata.extend(own.map(|(key, stated)| {
        let value = value(&stated[0], &stated[1]);
        (format!("{architecture}.{key}"), value)
    }));
    let weights = entry["weights"].as_str().expect("a folder");
    let weights = stored(&format!("models/{weights}/model.safetensors"));
    let weights = SafeTensors::deserialize(&weights).expect("a file of tensors");
    File {
        architecture,
        metadata,
        tensors: tensors(&entry["tensors"], &weights),
    }
}

impl File {
    pub fn open(&self) -> Result<Checkpoint, CheckpointError> {
        let metadata = self.metadata.iter();
        let metadata: Vec<_> = metadata
            .map(|(key, value)| (&**key, value.clone()))
            .collect();
        Checkpoint::from_gguf("made", &write::file(&metadata, &self.tensors))
    }

    /// The file with another value, or none.
    fn with(&self, key: &str, value: Option<Value>) -> Result<Checkpoint, String> {
        let mut metadata = self.metadata.clone();
        metadata.retain(|(other, _)| other != key);
        metadata.extend(value.map(|value| (key.to_string(), value)));
        let metadata: Vec<_> = metadata
            .iter()
            .map(|(key, value)| (&**key, value.clone()))
            .collect();
        let file = write::file(&metadata, &self.tensors);
        Checkpoint::from_gguf("made", &file).map_err(|e| e.to_string())
    }
}

fn entries() -> serde_json::Map<String, Json> {
    let entries = json_of(&stored("gguf_models.json"));
    entries.as_object().expect("files").clone()
}

#[test]
fn files_of_every_architecture_give_the_answers_of_transformers() {
    let models = json_of(&stored("models.json"));
    let prompts = tokens(&models["prompts"]);
    let (mut read, mut refused) = (BTreeSet::new(), Vec::new());
    for (name, entry) in entries() {
        let file = file(&entry);
        let checkpoint = file.open().unwrap_or_else(|e| panic!("{name}: {e}"));
        let known = &models["models"][entry["config"].as_str().expect("a name")]["answers"];
        let answers = entry.get("answers").unwrap_or(known);
        let model =
            FloatModel::new(&checkpoint.config, &checkpoint.weights).expect("its own weights");
        for (index, prompt) in prompts.iter().enumerate() {
            if !compare(&name, &model, prompt, &answers[index]) {
                refused.push((name.clone(), index));
            }
        }
        read.insert(file.architecture);
    }
    // The walk over a GPT-2's metadata has its answers.
    let all = ARCHITECTURES.iter().map(|known| known.name.to_string());
    assert_eq!(read, all.filter(|name| name != "gpt2").collect());
    // Its long factors begin there.
    assert_eq!(refused, [("phi3".to_string(), 1)]);
}

/// Each tensor is needed, and in its shape.
#[test]
fn tensors_that_are_missing_or_of_other_shapes_are_refused_by_name() {
    for (name, entry) in entries() {
        let mut file = file(&entry);
        for index in 0..file.tensors.len() {
            let (stored, tensor) = file.tensors.remove(index);
            let message = match file.open() {
                // Then the head is tied, and the rotations are not scaled.
                Ok(_) if ["output.weight", "rope_freqs.weight"].contains(&&*stored) => {
                    file.tensors.insert(index, (stored, tensor));
                    continue;
                }
                Ok(_) => panic!("{name}: without {stored}"),
                Err(e) => e.to_string(),
            };
            assert!(message.contains("missing"), "{name}, {stored}: {message}");
            let shape: Vec<_> = tensor.shape().dims().iter().map(|rows| rows + 1).collect();
            let values = vec![0.0; shape.iter().product()];
            let other = write::tensor(&shape, values, GgmlDType::F32);
            file.tensors.insert(index, (stored.clone(), other));
            let message = file.open().expect_err(&stored).to_string();
            let expected = ["expected", "rope.dimension_count"].map(|part| message.contains(part));
            assert!(expected.contains(&true), "{name}, {stored}: {message}");
            file.tensors[index] = (stored, tensor);
        }
    }
}

/// A value beside the one that is stated.
fn another(value: &Value) -> Value {
    match value {
        Value::U32(number) => Value::U32(number + 2),
        Value::F32(number) => Value::F32(2.0 * number + 1e-3),
        Value::Bool(flag) => Value::Bool(!flag),
        _ => text("another"),
    }
}

/// Of two contexts of a Phi-3 the shorter one counts, and a Gemma may have blocks of one kind only.
fn without_effect(name: &str, key: &str) -> bool {
    let of_context = name.starts_with("phi3") && key.ends_with("context_length");
    of_context || name.starts_with("gemma3-") && key.contains("rope.freq_base")
}

/// What the file states counts: it is refused by name, or another model.
#[test]
fn every_key_of_a_file_counts() {
    for (name, entry) in entries() {
        let file = file(&entry);
        let original = file.open().expect("a good file");
        let prefix = format!("{}.", file.architecture);
        let own = file
            .metadata
            .iter()
            .filter(|(key, _)| key.starts_with(&prefix));
        for (key, value) in own {
            match file.with(key, Some(another(value))) {
                Ok(other) if other.config == original.config => {
                    assert!(without_effect(&name, key), "{name}: {key}")
                }
                Ok(_) => {}
                Err(message) => assert!(message.contains(key), "{name}, {key}: {message}"),
            }
            // Whatever these mean, they are no panic and take no memory.
            for hostile in [0, 1, u32::MAX].map(Value::U32) {
                let _ = file.with(key, Some(hostile));
            }
            for hostile in [f32::NAN, -1e30, f32::INFINITY].map(Value::F32) {
                let message = file.with(key, Some(hostile)).expect_err(key);
                assert!(message.contains(key), "{name}, {key}: {message}");
            }
            let wrong = file.with(key, Some(Value::Array(vec![Value::U32(1)])));
            let message = wrong
                .err()
                .unwrap_or_else(|| panic!("{name}: {key} as a list"));
            assert!(message.contains(key), "{name}, {key}: {message}");
        }
    }
}

/// Of each architecture's tables: what is accepted with some values only is refused with others, what has no effect has
/// none, and other keys are unknown.
#[test]
fn rows_of_the_tables_are_kept_to() {
    let entries = entries();
    for architecture in &ARCHITECTURES[1..] {
        let of = |entry: &&Json| entry["architecture"] == *architecture.name;
        let file = file(entries.values().find(of).expect("a file"));
        let original = file.open().expect("a good file");
        let rows = architecture.tables.into_iter().flatten();
        for row in rows.filter(|row| std::ptr::eq(*row, architecture.row(row.key).expect("a row")))
        {
            let key = architecture.key(row.key);
            let with = |value: &Json| file.with(&key, Some(of_json(value)));
            match row.effect {
                Effect::Only(values, _) => {
                    for value in values {
                        let read = with(&serde_json::from_str(value).expect("JSON"));
                        assert!(
                            read.is_ok_and(|read| read.config == original.config),
                            "{key} = {value}"
                        );
                    }
                    for value in [Json::from(5), 0.375.into(), false.into(), "x".into()] {
                        let message = with(&value).err();
                        let accepted = row.check(&value).is_ok();
                        assert!(
                            accepted || message.is_some_and(|m| m.contains(&key)),
                            "{key} = {value}"
                        );
                    }
                }
                Effect::Idle(_) => {
                    let read = with(&usual(row));
                    assert!(
                        read.is_ok_and(|read| read.config == original.config),
                        "{key}"
                    );
                }
                Effect::Read(_) | Effect::Alias(_) => {}
            }
        }
        for key in [
            "rope.dimension_sections",
            "expert_feed_forward_length",
            "unheard_of",
        ] {
            let key = architecture.key(key);
            let message = file.with(&key, Some(Value::U32(1))).expect_err(&key);
            assert!(
                message.contains(&key) && message.contains("unknown"),
                "{message}"
            );
        }
    }
}

/// What llama.cpp knows of these models beside their files: a SmolLM3's fourth blocks are without rotations, all but a
/// Gemma's sixth ones have a window, and its largest model has other scores.
#[test]
fn what_files_do_not_say_is_what_llama_cpp_has() {
    let entries = entries();
    let config = |name: &str, blocks: u32| {
        let mut file = file(&entries[name]);
        let key = format!("{}.block_count", file.architecture);
        file.metadata.retain(|(other, _)| *other != key);
        file.metadata.push((key, Value::U32(blocks)));
        let metadata = file.metadata.iter();
        let metadata: Vec<_> = metadata
            .map(|(key, value)| (&**key, value.clone()))
            .collect();
        let gguf = open(&write::file(&metadata, &file.tensors)).and_then(|gguf| gguf.config());
        Config::parse(&gguf.expect("a configuration")).expect("a good one")
    };
    let smollm3 = config("smollm3", 9);
    let rotates: Vec<_> = (0..9)
        .map(|block| smollm3.kind(block).rotation.is_some())
        .collect();
    let every_fourth: Vec<_> = (0..9).map(|block| block % 4 != 3).collect();
    assert_eq!(rotates, every_fourth);
    let gemma3 = config("gemma3-windows", 13);
    let slides: Vec<_> = (0..13)
        .map(|block| gemma3.kind(block).window.is_some())
        .collect();
    let every_sixth: Vec<_> = (0..13).map(|block| block % 6 != 5).collect();
    assert_eq!(slides, every_sixth);
    let score = |blocks| config("gemma3", blocks).multipliers.score;
    // One head of 256 lanes, in a model of width 16.
    assert_eq!([score(61), score(62)], [1.0 / 16.0, 0.25]);
}

/// Any even number of rotated lanes comes to be as many.
#[test]
fn rotated_lanes_are_as_many_as_stated() {
    let entries = entries();
    let mut file = file(&entries["gptneox"]);
    let sizes = ["gptneox.embedding_length", "gptneox.rope.dimension_count"];
    file.metadata.retain(|(key, _)| !sizes.contains(&&**key));
    for (width, lanes) in [(98, 2), (98, 46), (98, 98), (110, 38), (206, 2), (256, 64)] {
        let mut metadata = file.metadata.clone();
        metadata.push((sizes[0].to_string(), Value::U32(2 * width)));
        metadata.push((sizes[1].to_string(), Value::U32(lanes)));
        let metadata: Vec<_> = metadata
            .iter()
            .map(|(key, value)| (&**key, value.clone()))
            .collect();
        let gguf = open(&write::file(&metadata, &file.tensors)).and_then(|gguf| gguf.config());
        let config = Config::parse(&gguf.expect("a configuration")).expect("a good one");
        assert_eq!(
            (config.head_width, config.rotated),
            (width as usize, lanes as usize)
        );
    }
}

fn of_json(value: &Json) -> Value {
    match value {
        Json::Bool(flag) => Value::Bool(*flag),
        Json::String(other) => text(other),
        number if number.is_f64() => Value::F32(number.as_f64().unwrap_or_default() as f32),
        number => Value::U32(number.as_u64().unwrap_or_default() as u32),
    }
}

/// A value of a row's kind.
fn usual(row: &Row) -> Json {
    let values = [Json::from(7), true.into(), 7.5.into(), "x".into()];
    let found = values.into_iter().find(|value| row.check(value).is_ok());
    found.expect("a value")
}
