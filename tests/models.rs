//! The small checkpoints of `tests/reference/models.py`, one or more of each `model_type`: how near integers are to floating
//! point, and that they are proved whole.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::{arg, directory, nanozk_at};
use nanozk::layers::{Models, Predictions, quantize_checkpoint};
use nanozk::model::{Checkpoint, FloatModel};
use nanozk::ops::Tables as OpTables;
use nanozk::quant::Tables;
use serde_json::{Value, json};

/// Tokens per window: the context of all of them.
const WINDOW: usize = 64;
/// Their tokenizer's tokens with texts.
const TOKENS: usize = 95;

fn stored(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("tests/reference").join(name)
}

fn json_of(path: &Path) -> Value {
    let json = fs::read(path).expect("a stored file");
    serde_json::from_slice(&json).expect("JSON")
}

/// The models by name, with the folders of their weights and the answers of `transformers`; and the prompts.
fn models() -> (BTreeMap<String, Value>, Vec<Vec<u32>>) {
    let mut all = json_of(&stored("models.json"));
    let mut models: BTreeMap<String, Value> =
        serde_json::from_value(all["models"].take()).expect("models");
    // Refused by name.
    models.remove("gpt2").expect("it scales scores by layer");
    let prompts = serde_json::from_value(all["prompts"].take()).expect("prompts");
    (models, prompts)
}

/// A folder of files as a checkpoint of that name has them; its tokenizer is read as it is, where the model_type allows.
fn folder(name: &str, entry: &Value) -> tempfile::TempDir {
    let folder = directory();
    let mut config = json_of(&stored(&format!("models/{name}/config.json")));
    let class = || json!("PreTrainedTokenizerFast");
    let object = config.as_object_mut().expect("a configuration");
    object.entry("tokenizer_class").or_insert_with(class);
    let path = |file| folder.path().join(file);
    fs::write(path("config.json"), config.to_string()).expect("written");
    let weights = entry["weights"].as_str().expect("a folder");
    for (from, to) in [
        (
            format!("models/{weights}/model.safetensors"),
            "model.safetensors",
        ),
        ("tokenizer.json".to_string(), "tokenizer.json"),
    ] {
        fs::copy(stored(&from), path(to)).expect("copied");
    }
    folder
}

/// Each character of the tokenizer after each of some others.
fn calibration() -> String {
    (0..600u32)
        .map(|i| char::from((32 + i * (1 + i / 95) % 95) as u8))
        .collect()
}

/// So many windows of tokens.
fn windows(count: usize) -> Vec<Vec<u32>> {
    let token = |i: usize| ((i * i * (i + 7) + 11 * i) / 3 % TOKENS) as u32;
    let window = |w: usize| (0..WINDOW).map(|i| token(w * WINDOW + i)).collect();
    (0..count).map(window).collect()
}

/// Perplexity within 0.05 % on 2,000 positions, whatever the order of a block's parts, its norms, rotations, windows,
/// widths and factors.
#[test]
fn integers_of_every_model_type_predict_as_floating_point_does() {
    let (models, _) = models();
    let mut faults = Vec::new();
    for (name, entry) in &models {
        let folder = folder(name, entry);
        let checkpoint = Checkpoint::open(folder.path()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let integer = match quantize_checkpoint(&checkpoint, &calibration(), 1, false) {
            Ok(quantized) => quantized.model,
            Err(error) => {
                faults.push(format!("{name}: {error}"));
                continue;
            }
        };
        let manifest = &integer.manifest;
        let tables = Tables::new(&manifest.scales, manifest.architecture.activation);
        let float = FloatModel::new(&checkpoint.config, &checkpoint.weights).expect("loaded");
        let models = Models {
            float: &float,
            integer: &integer,
            tables: OpTables::from(&tables),
        };
        let length = WINDOW.min(manifest.architecture.context);
        let mut all = Predictions::default();
        for window in windows(32) {
            match models.predict(&window[..length]) {
                Ok(predictions) => all += predictions,
                Err(error) => faults.push(format!("{name}: {error}")),
            }
        }
        let difference = all.difference();
        println!(
            "{name}: {} positions, perplexity {:.4}, {:+.4} %, greedy {:.2} %",
            all.positions,
            all.float_perplexity(),
            100.0 * difference,
            100.0 * all.agreement()
        );
        if difference.abs() >= 5e-4 {
            faults.push(format!("{name}: perplexity differs by {difference}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The caches of provers and of verifiers.
fn homes() -> &'static [tempfile::TempDir; 2] {
    static HOMES: OnceLock<[tempfile::TempDir; 2]> = OnceLock::new();
    HOMES.get_or_init(|| [directory(), directory()])
}

/// The answer to the first prompt is proved and verified: by a private model in one home, and its key alone in another.
#[track_caller]
fn proved_whole(name: &str, entry: &Value, prompt: &[u32], tokens: usize) -> Value {
    let (folder, [home, other]) = (folder(name, entry), homes());
    let [text, model, key, proof] =
        ["text", "model.nzk", "model.vk", "proof.bin"].map(|file| folder.path().join(file));
    fs::write(&text, calibration()).expect("written");
    let folder = arg(folder.path());
    let quantize = [
        "quantize",
        "--private",
        "--model",
        folder,
        "--calibrate",
        arg(&text),
    ];
    let quantize = [&quantize[..], &["--out", arg(&model), "--json"]].concat();
    let id = nanozk_at(home.path(), &quantize).success().json()["model_id"].clone();
    let prompt: Vec<String> = prompt.iter().map(u32::to_string).collect();
    let (prompt, tokens) = (prompt.join(","), tokens.to_string());
    let prove = [
        "prove",
        "--model",
        arg(&model),
        "--out",
        arg(&proof),
        "--json",
    ];
    let asked = ["--prompt-tokens", &prompt, "--max-new-tokens", &tokens];
    nanozk_at(home.path(), &[&prove[..], &asked].concat()).success();
    let id = id.as_str().expect("an id");
    let verify = [
        "verify",
        arg(&proof),
        "--vk",
        arg(&key),
        "--model-id",
        id,
        "--json",
    ];
    let verified = nanozk_at(other.path(), &verify).success().json();
    assert_eq!(verified["valid"], true, "{name}");
    verified["output_tokens"].clone()
}

/// One checkpoint of each order of a block's parts, and one with lifted channels. All of them: below.
#[test]
fn a_model_of_each_order_is_proved_and_verified_elsewhere() {
    let (models, prompts) = models();
    for name in ["phi", "gpt_neox", "gemma3_text", "olmo2", "llama-outlier"] {
        proved_whole(name, &models[name], &prompts[0], 2);
    }
}

/// Twelve tokens of each checkpoint: those of `transformers`, up to the first whose logit is not far from another one.
#[test]
#[ignore = "some minutes"]
fn twelve_tokens_of_every_checkpoint_are_proved() {
    /// In deviations of the logits.
    const FAR: f64 = 0.02;
    let (models, prompts) = models();
    for (name, entry) in &models {
        let answer = &entry["answers"][0];
        let output = proved_whole(name, entry, &prompts[0], 12);
        let numbers = |key: &str| -> Vec<f64> {
            serde_json::from_value(answer[key].clone()).expect("numbers")
        };
        let (margins, deviations) = (numbers("margins"), numbers("deviations"));
        let far = margins.iter().zip(deviations);
        let clear = far.take_while(|(margin, d)| **margin >= FAR * d).count();
        let tokens = |of: &Value| -> Vec<u32> {
            let tokens: Vec<u32> = serde_json::from_value(of.clone()).expect("tokens");
            tokens.into_iter().take(clear).collect()
        };
        println!("{name}: {clear} tokens of {} compared", margins.len());
        assert_eq!(tokens(&output), tokens(&answer["tokens"]), "{name}");
    }
}
