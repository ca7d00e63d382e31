//! Checkpoints in every layout of files that is read: each gives the greedy tokens that `transformers` gives (stored, with the
//! script that made them, under `tests/reference/`), in floating point and in integers, or is refused by name.

mod gguf;
mod names;
mod values;

use std::fs;
use std::path::{Path, PathBuf};

use nanozk::layers::{generate, quantize_checkpoint};
use nanozk::model::synthetic::{self, Stored, pickle};
use nanozk::model::{Checkpoint, CheckpointError, FloatModel};
use nanozk::ops::Tables as OpTables;
use nanozk::quant::Tables;
use safetensors::Dtype;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Letters and digits that both tokenizers have.
const TEXT: &str =
    "PACKMYBOXWITHFIVEDOZENLIQUORJUGS0123456789THEQUICKBROWNFOXJUMPSOVERTHELAZYDOG9876543210";

fn reference(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/reference/files")
        .join(path)
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

/// A model's configuration and tensors, as they are stored, with the names that `transformers` gives them.
struct Model {
    name: &'static str,
    config: Value,
    tensors: Vec<Stored>,
    rows: Value,
}

impl Model {
    fn gpt2() -> Self {
        Self::new("gpt2")
    }

    fn llama() -> Self {
        Self::new("llama")
    }

    fn new(name: &'static str) -> Self {
        let folder = stored(name);
        let Checkpoint {
            mut weights,
            config,
            ..
        } = Checkpoint::open(folder.path()).expect("it is read");
        weights.lm_head = Some(weights.head().to_vec());
        let slots = weights.slots(&config).into_iter();
        let own_name = |name: &str| match name {
            "lm_head.weight" => name.to_string(),
            _ if config.tensors.bare => format!("{}{name}", config.tensors.base),
            _ => name.to_string(),
        };
        let tensors = slots.map(|slot| Stored {
            name: own_name(&slot.name),
            dtype: Dtype::F16,
            bytes: synthetic::encode(Dtype::F16, slot.values),
            shape: slot.shape,
        });
        Self {
            name,
            tensors: tensors.collect(),
            config: read_json(&reference(name).join("config.json")),
            rows: read_json(&reference("results.json"))[name].take(),
        }
    }

    /// The tensors with other names, or without those for which there is none.
    fn renamed(&self, name: impl Fn(&str) -> Option<String>) -> Vec<Stored> {
        let tensors = self.tensors.iter().cloned();
        let renamed = tensors.filter_map(|t| {
            Some(Stored {
                name: name(&t.name)?,
                ..t
            })
        });
        renamed.collect()
    }

    /// With `prefix` before all names.
    fn prefixed(&self, prefix: &str) -> Vec<Stored> {
        self.renamed(|name| Some(format!("{prefix}{name}")))
    }

    /// Without the base model's prefix.
    fn bare(&self) -> Vec<Stored> {
        let base = ["transformer.", "model."];
        self.renamed(|name| {
            let inner = base.iter().find_map(|base| name.strip_prefix(base));
            Some(inner.unwrap_or(name).to_string())
        })
    }

    /// Without these tensors.
    fn without(&self, names: &[&str]) -> Vec<Stored> {
        self.renamed(|name| (!names.contains(&name)).then(|| name.to_string()))
    }

    fn with(&self, extra: impl IntoIterator<Item = Stored>) -> Vec<Stored> {
        self.tensors.iter().cloned().chain(extra).collect()
    }

    fn find(&self, name: &str) -> &Stored {
        let found = self.tensors.iter().find(|t| t.name == name);
        found.expect("a tensor of the model")
    }

    /// Opens a folder with the configuration and what `write` writes.
    fn open(&self, write: impl FnOnce(&Path)) -> Result<Checkpoint, CheckpointError> {
        let folder = self.folder();
        write(folder.path());
        Checkpoint::open(folder.path())
    }

    fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let config = folder.path().join("config.json");
        fs::write(config, self.config.to_string()).expect("written");
        let tokenizer = folder.path().join("tokenizer.json");
        fs::copy(reference("tokenizer.json"), tokenizer).expect("copied");
        folder
    }

    /// The same with other tensors in one safetensors file.
    fn open_with(&self, tensors: &[Stored]) -> Result<Checkpoint, CheckpointError> {
        self.open(|folder| write_tensors(folder, tensors))
    }

    /// `transformers`' tokens in this row, by the floating-point reference and by the integer model.
    #[track_caller]
    fn check(&self, row: &str, opened: Result<Checkpoint, CheckpointError>) {
        let checkpoint = opened.unwrap_or_else(|e| panic!("{row}: {e}"));
        let runs = self.rows[row]["runs"]
            .as_array()
            .expect("a row of the results");
        assert_eq!(runs.len(), 3);
        let float = FloatModel::new(&checkpoint.config, &checkpoint.weights).expect("loaded");
        let integer = quantize_checkpoint(&checkpoint, TEXT, 2, true)
            .expect("quantized")
            .model;
        let tables = Tables::new(
            &integer.manifest.scales,
            integer.manifest.architecture.activation,
        );
        for run in runs {
            let tokens = |key: &str| -> Vec<u32> {
                serde_json::from_value(run[key].clone()).expect("tokens")
            };
            let (prompt, output) = (tokens("prompt"), tokens("output"));
            let found = float.generate(&prompt, output.len()).expect("it runs");
            assert_eq!(found, output, "{} {row}, floating point", self.name);
            let found = generate(&integer, OpTables::from(&tables), &prompt, output.len());
            let found = found.expect("it runs").output;
            assert_eq!(found, output, "{} {row}, integers", self.name);
        }
    }
}

/// A folder of a stored model, with the tokenizer.
fn stored(name: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for entry in fs::read_dir(reference(name)).expect("stored") {
        let entry = entry.expect("a file");
        fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("copied");
    }
    let tokenizer = folder.path().join("tokenizer.json");
    fs::copy(reference("tokenizer.json"), tokenizer).expect("copied");
    folder
}

fn write_tensors(folder: &Path, tensors: &[Stored]) {
    synthetic::write_tensors(folder, tensors, 1).expect("written");
}

fn numbers(name: &str, shape: &[usize], values: &[f32]) -> Stored {
    Stored {
        name: name.to_string(),
        dtype: Dtype::F32,
        shape: shape.to_vec(),
        bytes: synthetic::encode(Dtype::F32, values),
    }
}

#[track_caller]
fn refused(result: Result<Checkpoint, CheckpointError>, parts: &[&str]) {
    let message = result.expect_err("it is refused").to_string();
    for part in parts {
        assert!(message.contains(part), "{part}: {message}");
    }
}

/// Files that `torch.save` and `save_file` have written themselves.
#[test]
fn stored_files_give_the_reference_tokens() {
    for (name, row, files) in [("gpt2", "bin", 3), ("llama", "safetensors", 3)] {
        let folder = stored(name);
        let checkpoint = Checkpoint::open(folder.path()).expect("it is read");
        assert_eq!(checkpoint.files.len(), files);
        for (file, digest) in &checkpoint.files {
            let content = fs::read(folder.path().join(file)).expect("a file");
            assert_eq!(digest[..], Sha256::digest(content)[..], "{file}");
        }
        assert_eq!(checkpoint.notes, [""; 0]);
        assert_eq!(checkpoint.config.tied, name == "gpt2");
        Model::new(name).check(row, Ok(checkpoint));
    }
}

/// Of several files, and where there are safetensors too: these are read, and the others not.
#[test]
fn pickled_weights_are_read_as_the_reference_does() {
    let model = Model::gpt2();
    let halves = |folder: &Path| {
        let mut map = serde_json::Map::new();
        for part in 0..2 {
            let file = format!("pytorch_model-0000{}-of-00002.bin", part + 1);
            let half: Vec<Stored> = model
                .tensors
                .iter()
                .skip(part)
                .step_by(2)
                .cloned()
                .collect();
            map.extend(half.iter().map(|t| (t.name.clone(), json!(file))));
            fs::write(folder.join(file), pickle::file(&half)).expect("written");
        }
        let index = json!({"metadata": {}, "weight_map": map}).to_string();
        fs::write(folder.join("pytorch_model.bin.index.json"), index).expect("written");
    };
    let opened = model.open(halves).expect("it is read");
    assert_eq!(opened.files.len(), 5);
    model.check("bin in two files", Ok(opened));
    let both = |folder: &Path| {
        write_tensors(folder, &model.tensors);
        fs::write(folder.join("pytorch_model.bin"), "anything").expect("written");
    };
    let opened = model.open(both).expect("it is read");
    assert!(!opened.files.iter().any(|(name, _)| name.ends_with(".bin")));
    model.check("bin beside safetensors", Ok(opened));
    let llama = Model::llama();
    let pickled = |folder: &Path| {
        let file = pickle::file(&llama.tensors);
        fs::write(folder.join("pytorch_model.bin"), file).expect("written");
    };
    llama.check("bin", llama.open(pickled));
}

/// `transformers` 5 takes the file's head then, and warns; so do we.
#[test]
fn a_head_that_contradicts_the_configuration_is_noted() {
    let mut gpt2 = Model::gpt2();
    let head = gpt2.find("lm_head.weight");
    let row = head.bytes.len() / head.shape[0];
    let reversed = Stored {
        bytes: head.bytes.chunks(row).rev().flatten().copied().collect(),
        ..head.clone()
    };
    let mut tensors = gpt2.without(&["lm_head.weight"]);
    tensors.push(reversed);
    let opened = gpt2.open_with(&tensors).expect("it is read");
    let [note] = &opened.notes[..] else {
        panic!("one note: {:?}", opened.notes);
    };
    for part in ["model.safetensors", "lm_head.weight", "tie_word_embeddings"] {
        assert!(note.contains(part), "{note}");
    }
    gpt2.check("another head", Ok(opened));
    let mut llama = Model::llama();
    llama.config["tie_word_embeddings"] = json!(true);
    let opened = llama.open_with(&llama.tensors).expect("it is read");
    assert_eq!(opened.notes.len(), 1);
    llama.check("another head", Ok(opened));
    // Said to be its own, it needs no word.
    gpt2.config["tie_word_embeddings"] = json!(false);
    assert_eq!(gpt2.open_with(&tensors).expect("it is read").notes, [""; 0]);
}

/// What `transformers` passes over, with a warning, may be a part of the model that the configuration does not know of.
#[test]
fn tensors_of_another_model_are_refused_with_what_they_may_be() {
    for (model, name, part) in [
        (
            Model::llama(),
            "model.layers.0.self_attn.q_proj.bias",
            "no such bias",
        ),
        (
            Model::llama(),
            "model.layers.0.self_attn.q_norm.weight",
            "not normalized",
        ),
        (
            Model::llama(),
            "model.layers.0.self_attn.q_proj.qweight",
            "quantized",
        ),
        (
            Model::llama(),
            "model.layers.0.self_attn.q_proj.g_idx",
            "quantized",
        ),
        (
            Model::llama(),
            "model.layers.0.self_attn.q_proj.lora_A.weight",
            "merge",
        ),
        (
            Model::llama(),
            "model.layers.2.input_layernorm.weight",
            "another function",
        ),
        (Model::gpt2(), "score.weight", "classifier"),
        (
            Model::gpt2(),
            "transformer.h.0.crossattention.bias",
            "no such bias",
        ),
    ] {
        let family = if model.name == "gpt2" {
            "GPT-2"
        } else {
            "Llama"
        };
        let tensors = model.with([numbers(name, &[1], &[1.0])]);
        refused(
            model.open_with(&tensors),
            &[name, part, family, "model.safetensors"],
        );
    }
}

/// Python's `json` refuses it; no other text can be meant.
#[test]
fn a_byte_order_mark_is_no_part_of_a_text() {
    let model = Model::gpt2();
    let folder = model.folder();
    synthetic::write_tensors(folder.path(), &model.tensors, 2).expect("written");
    for file in [
        "config.json",
        "tokenizer.json",
        "model.safetensors.index.json",
    ] {
        let path = folder.path().join(file);
        let text = fs::read(&path).expect("a file");
        fs::write(&path, [b"\xef\xbb\xbf", &text[..]].concat()).expect("written");
    }
    let opened = Checkpoint::open(folder.path()).expect("it is read");
    for (name, digest) in &opened.files {
        let content = fs::read(folder.path().join(name)).expect("a file");
        assert_eq!(
            digest[..],
            Sha256::digest(content)[..],
            "the file as it is: {name}"
        );
    }
    model.check("transformer.", Ok(opened));
}
