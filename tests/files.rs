//! Checkpoints in every layout of files that is read: each gives the greedy tokens that `transformers` gives (stored, with the
//! script that made them, under `tests/reference/`), in floating point and in integers, or is refused by name.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use nanozk::layers::{generate, quantize_checkpoint};
use nanozk::model::synthetic::{self, Stored, gguf, pickle};
use nanozk::model::{Checkpoint, CheckpointError, Config, FloatModel, Located};
use nanozk::ops::Tables as OpTables;
use nanozk::quant::Tables;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
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
        weights.lm_head.get_or_insert(weights.tokens.clone());
        let slots = weights.slots(&config).into_iter();
        let own_name = |name: &str| match (name, &config.family) {
            ("lm_head.weight", _) => name.to_string(),
            (_, nanozk::model::Family::Gpt2) => format!("transformer.{name}"),
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

#[test]
fn prefixes_that_all_tensors_share_are_read() {
    for (model, row) in [
        (Model::gpt2(), "without prefix"),
        (Model::llama(), "without prefix"),
    ] {
        model.check(row, model.open_with(&model.bare()));
        // What `transformers` does not undo, but training tools do: the names say what is meant.
        for prefix in ["module.", "_orig_mod.", "module._orig_mod.", "model."] {
            for tensors in [model.prefixed(prefix), {
                let bare = Model {
                    tensors: model.bare(),
                    ..Model::new(model.name)
                };
                bare.prefixed(prefix)
            }] {
                let opened = model.open_with(&tensors).expect(prefix);
                assert!(opened.weights == model.open_with(&model.tensors).expect("read").weights);
            }
        }
    }
    let model = Model::gpt2();
    model.check(
        "transformer.",
        model.open_with(&model.without(&["lm_head.weight"])),
    );
}

/// Whether two names are one model's then is a guess.
#[test]
fn names_that_do_not_begin_alike_are_refused() {
    for (model, from, to) in [
        (
            Model::gpt2(),
            "transformer.h.1.ln_1.weight",
            "h.1.ln_1.weight",
        ),
        (
            Model::gpt2(),
            "transformer.h.1.ln_1.weight",
            "module.transformer.h.1.ln_1.weight",
        ),
        (Model::gpt2(), "lm_head.weight", "module.lm_head.weight"),
        (Model::llama(), "model.norm.weight", "norm.weight"),
        (Model::llama(), "lm_head.weight", "_orig_mod.lm_head.weight"),
    ] {
        let renamed = |name: &str| Some(if name == from { to } else { name }.to_string());
        refused(
            model.open_with(&model.renamed(renamed)),
            &["prefix", "model.safetensors"],
        );
        // Another word than those that are known is part of the name.
        let renamed = |name: &str| {
            Some(if name == from {
                format!("net.{name}")
            } else {
                name.to_string()
            })
        };
        let refusal = model.open_with(&model.renamed(renamed));
        refused(refusal, &["net.", "does not belong to the"]);
    }
}

/// One matrix for embedding and head, under the one name or the other.
#[test]
fn tied_matrices_are_read_under_either_name() {
    let gpt2 = Model::gpt2();
    let opened = gpt2.open_with(&gpt2.without(&["transformer.wte.weight"]));
    gpt2.check("head instead of embedding", opened);
    // The same without a word in the configuration: the matrix is missing.
    let llama = Model::llama();
    let rest = llama.without(&["lm_head.weight"]);
    refused(llama.open_with(&rest), &["lm_head.weight", "missing"]);
    let rest = llama.without(&["model.embed_tokens.weight"]);
    refused(
        llama.open_with(&rest),
        &["model.embed_tokens.weight", "missing"],
    );
    // What `safetensors.torch.save_model` notes of a tensor that it leaves out.
    for (name, other) in [
        ("lm_head.weight", "model.embed_tokens.weight"),
        ("model.embed_tokens.weight", "lm_head.weight"),
    ] {
        let embedding = llama.find("model.embed_tokens.weight").clone();
        let kept = Stored {
            name: other.to_string(),
            ..embedding
        };
        let mut tensors = llama.without(&[name, other]);
        tensors.push(kept);
        let write = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter().map(|(a, b)| (a.to_string(), b.to_string()));
            let metadata: HashMap<String, String> = pairs.collect();
            let views = tensors.iter().map(|t| {
                let view = TensorView::new(t.dtype, t.shape.clone(), &t.bytes);
                (t.name.as_str(), view.expect("the bytes fill the shape"))
            });
            let file = serialize(views, Some(metadata)).expect("serialized");
            move |folder: &Path| fs::write(folder.join("model.safetensors"), file).expect("written")
        };
        let opened = llama.open(write(&[("format", "pt"), (name, other)]));
        llama.check("aliases", opened);
        // An alias of nothing that is there fills nothing.
        for pair in [(name, "model.norm"), ("format", other), (name, name)] {
            refused(llama.open(write(&[pair])), &[name, "missing"]);
        }
        // One of another shape is no alias, and one of a tensor that is there contradicts it.
        refused(
            llama.open(write(&[(name, "model.norm.weight")])),
            &[name, "shape [64]"],
        );
        let pairs = [(name, other), ("model.norm.weight", other)];
        refused(
            llama.open(write(&pairs)),
            &["model.norm.weight", "more than once"],
        );
    }
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

/// Rounded to the nearest `f32`, ties to even.
#[test]
fn numbers_of_64_bits_are_rounded_as_the_reference_does() {
    let model = Model::gpt2();
    let doubles = |change: &dyn Fn(&str, f64) -> f64| -> Vec<Stored> {
        let widen = |t: Stored| {
            let halves = t.bytes.as_chunks::<2>().0.iter();
            let values = halves.map(|b| change(&t.name, half::f16::from_le_bytes(*b).to_f64()));
            Stored {
                dtype: Dtype::F64,
                bytes: values.flat_map(f64::to_le_bytes).collect(),
                ..t
            }
        };
        model.bare().into_iter().map(widen).collect()
    };
    let opened = model.open_with(&doubles(&|_, v| v + 1e-9));
    model.check("float64", opened);
    let ulp = f64::from(f32::EPSILON);
    for (stored, expected) in [
        (1.0 + 0.5 * ulp, 1.0),
        (1.0 + 1.5 * ulp, 1.0 + 2.0 * ulp),
        (1.0 + 0.500001 * ulp, 1.0 + ulp),
        (f64::from(f32::MAX), f64::from(f32::MAX)),
        (1e-300, 0.0),
    ] {
        let tensors = doubles(&|name, v| if name == "ln_f.bias" { stored } else { v });
        let opened = model.open_with(&tensors).expect("it is read");
        assert_eq!(f64::from(opened.weights.final_bias[7]), expected);
    }
    for beyond in [3.5e38, -1e300, f64::INFINITY, f64::NAN] {
        let tensors = doubles(&|name, v| if name == "ln_f.bias" { beyond } else { v });
        refused(
            model.open_with(&tensors),
            &["ln_f.bias", &beyond.to_string(), "32 bits"],
        );
    }
}

/// `bias` and `masked_bias` of a GPT-2, and `inv_freq` of a Llama.
#[test]
fn buffers_are_compared_with_what_they_must_be() {
    let mask = |n: usize| -> Vec<f32> {
        (0..n * n)
            .map(|i| f32::from(u8::from(i % n <= i / n)))
            .collect()
    };
    let gpt2 = Model::gpt2();
    let (bias, masked) = (
        "transformer.h.1.attn.bias",
        "transformer.h.0.attn.masked_bias",
    );
    let usual = [
        numbers(bias, &[1, 1, 16, 16], &mask(16)),
        numbers(masked, &[], &[-1e4]),
    ];
    gpt2.check("buffers", gpt2.open_with(&gpt2.with(usual)));
    for value in [-1e9, f32::MIN, f32::NEG_INFINITY] {
        let opened = gpt2.open_with(&gpt2.with([numbers(masked, &[1], &[value])]));
        assert!(opened.is_ok(), "{value}");
    }
    let bytes = |dtype: Dtype| Stored {
        dtype,
        bytes: mask(16).iter().map(|v| *v as u8).collect(),
        ..numbers(bias, &[1, 1, 16, 16], &[])
    };
    for dtype in [Dtype::U8, Dtype::BOOL] {
        assert!(
            gpt2.open_with(&gpt2.with([bytes(dtype)])).is_ok(),
            "{dtype:?}"
        );
    }
    let ones = vec![1.0; 256];
    let mut window = mask(16);
    window[15 * 16] = 0.0;
    for (buffer, part) in [
        (numbers(bias, &[1, 1, 16, 16], &ones), "causal mask"),
        (
            numbers(bias, &[1, 1, 16, 16], &window),
            "holds 0 at index 240",
        ),
        (numbers(bias, &[16, 16], &mask(16)), "shape"),
        (numbers(bias, &[1, 1, 16, 8], &mask(16)[..128]), "shape"),
        (numbers(masked, &[], &[-100.0]), "-10000 or less"),
        (numbers(masked, &[], &[f32::NAN]), "-10000 or less"),
        (numbers(masked, &[2], &[-1e4, -1e4]), "shape"),
        (
            numbers("transformer.h.2.attn.bias", &[1, 1, 1, 1], &[1.0]),
            "does not belong",
        ),
        (
            numbers("transformer.h.01.attn.bias", &[1, 1, 1, 1], &[1.0]),
            "does not belong",
        ),
        (numbers("h.1.attn.bias", &[1, 1, 1, 1], &[1.0]), "prefix"),
        (
            Stored {
                dtype: Dtype::I8,
                ..bytes(Dtype::U8)
            },
            "I8",
        ),
    ] {
        let name = buffer.name.clone();
        refused(gpt2.open_with(&gpt2.with([buffer])), &[&name, part]);
    }

    let llama = Model::llama();
    let frequency = |m: usize| 10_000f64.powf(-(m as f64) / 32.0) as f32;
    let usual: Vec<f32> = (0..32).map(frequency).collect();
    let name = "model.layers.1.self_attn.rotary_emb.inv_freq";
    llama.check(
        "buffers",
        llama.open_with(&llama.with([numbers(name, &[32], &usual)])),
    );
    for dtype in [Dtype::F16, Dtype::BF16] {
        let stored = Stored {
            dtype,
            bytes: synthetic::encode(dtype, &usual),
            ..numbers(name, &[32], &[])
        };
        assert!(llama.open_with(&llama.with([stored])).is_ok(), "{dtype:?}");
    }
    let other: Vec<f32> = usual.iter().map(|f| f * 1.001).collect();
    refused(
        llama.open_with(&llama.with([numbers(name, &[32], &other)])),
        &[name, "index 0"],
    );
    refused(
        llama.open_with(&llama.with([numbers(name, &[16], &usual[..16])])),
        &[name, "shape"],
    );
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

fn llama_file(factors: Option<&[f32]>) -> (Config, Gguf) {
    let folder = stored("llama");
    let checkpoint = Checkpoint::open(folder.path()).expect("it is read");
    let file = gguf::llama(&checkpoint.config, &checkpoint.weights, factors);
    (checkpoint.config, file)
}

type Gguf = (
    Vec<(&'static str, gguf::Value)>,
    Vec<(String, gguf::QTensor)>,
);

/// Llama 3.1's scaling, which a `config.json` gives as a formula and a GGUF file as factors in float32.
#[test]
fn factors_of_rotary_frequencies_give_the_tokens_of_the_formula() {
    let results = read_json(&reference("results.json"));
    let factors: Vec<f32> = serde_json::from_value(results["factors"].clone()).expect("numbers");
    let open = |factors: Option<&[f32]>| {
        let (_, (metadata, tensors)) = llama_file(factors);
        Checkpoint::from_gguf("llama", &gguf::file(&metadata, &tensors))
    };
    let llama = Model::llama();
    llama.check("safetensors", open(None));
    llama.check("llama3", open(Some(&factors)));
    for (index, bad) in [
        (0, 0.0),
        (31, -1.0),
        (5, f32::NAN),
        (7, f32::INFINITY),
        (7, 0.2),
    ] {
        let mut factors = factors.clone();
        factors[index] = bad;
        refused(open(Some(&factors)), &["rope_freqs.weight", "llama.gguf"]);
    }
    refused(
        open(Some(&factors[..16])),
        &["rope_freqs.weight", "shape [16]", "[32]"],
    );
}

/// A model in three files, as llama.cpp's `gguf-split` and `gguf`'s writer leave it: all metadata in the first.
#[test]
fn parts_of_a_gguf_are_one_model() {
    let write = |folder: &Path, change: &dyn Fn(usize, &mut Gguf)| {
        let (_, (metadata, tensors)) = llama_file(None);
        let total = tensors.len() as i32;
        let mut parts: Vec<Gguf> = (0..3).map(|_| (Vec::new(), Vec::new())).collect();
        parts[0].0 = metadata;
        for (index, tensor) in tensors.into_iter().enumerate() {
            parts[index % 3].1.push(tensor);
        }
        for (index, mut part) in parts.into_iter().enumerate() {
            part.0.push(("split.no", gguf::Value::U16(index as u16)));
            part.0.push(("split.count", gguf::Value::U16(3)));
            part.0
                .push(("split.tensors.count", gguf::Value::I32(total)));
            change(index, &mut part);
            let name = format!("small-0000{}-of-00003.gguf", index + 1);
            fs::write(folder.join(name), gguf::file(&part.0, &part.1)).expect("written");
        }
    };
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), &|_, _| {});
    let first = folder.path().join("small-00001-of-00003.gguf");
    let opened = Checkpoint::open(&first).expect("it is read");
    assert_eq!((opened.name.as_str(), opened.files.len()), ("small", 3));
    for (name, digest) in &opened.files {
        let content = fs::read(folder.path().join(name)).expect("a file");
        assert_eq!(digest[..], Sha256::digest(content)[..], "{name}");
    }
    Model::llama().check("safetensors", Ok(opened));
    let found = || Located::at(folder.path());
    assert_eq!(found(), Some(Located::Gguf(first.clone())));

    let second = folder.path().join("small-00002-of-00003.gguf");
    refused(
        Checkpoint::open(&second),
        &["part 2 of 3", "small-00001-of-00003.gguf"],
    );
    let renamed = folder.path().join("whole.gguf");
    fs::copy(&first, &renamed).expect("copied");
    refused(Checkpoint::open(&renamed), &["split.count is 3"]);
    fs::remove_file(&renamed).expect("removed");
    fs::remove_file(&second).expect("removed");
    refused(
        Checkpoint::open(&first),
        &["small-00002-of-00003.gguf", "missing", "3 files"],
    );
    // Then the folder is still meant to be this model.
    assert_eq!(found(), Some(Located::Gguf(first.clone())));
    fs::copy(&first, folder.path().join("other-00001-of-00003.gguf")).expect("copied");
    assert_eq!(found(), None);

    let set = |part: &mut Gguf, key: &'static str, value: gguf::Value| {
        part.0.retain(|(known, _)| *known != key);
        part.0.push((key, value));
    };
    let twice = || {
        (
            "output_norm.weight".to_string(),
            gguf::tensor(&[64], vec![1.0; 64], gguf::GgmlDType::F32),
        )
    };
    let cases: [(&dyn Fn(usize, &mut Gguf), &[&str]); 6] = [
        (
            &|i, p| {
                if i == 1 {
                    set(p, "split.no", gguf::Value::U16(2))
                }
            },
            &["00002-of-00003", "split.no is 2"],
        ),
        (
            &|i, p| {
                if i == 2 {
                    set(p, "split.count", gguf::Value::U16(4))
                }
            },
            &["00003-of-00003", "split.count is 4"],
        ),
        (
            &|i, p| {
                if i == 2 {
                    set(p, "split.tensors.count", gguf::Value::I32(9))
                }
            },
            &["00003-of-00003", "split.tensors.count is 9"],
        ),
        (
            &|i, p| {
                if i == 1 {
                    set(
                        p,
                        "general.architecture",
                        gguf::Value::String("gpt2".into()),
                    )
                }
            },
            &["00002-of-00003", "general.architecture"],
        ),
        (
            &|i, p| {
                if i == 1 {
                    p.1.pop();
                    p.1.push(twice())
                }
            },
            &["output_norm.weight", "two parts"],
        ),
        (
            &|i, p| {
                if i == 1 {
                    p.1.pop();
                    p.1.push(("blk.9.attn_q.weight".into(), twice().1))
                }
            },
            &["blk.9.attn_q.weight", "belong"],
        ),
    ];
    for (change, parts) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), change);
        let first = folder.path().join("small-00001-of-00003.gguf");
        refused(Checkpoint::open(&first), parts);
    }
}
