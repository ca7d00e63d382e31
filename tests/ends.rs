//! Where answers end, and what tokens a prompt becomes, as transformers has it: the cases of `tests/reference/ends.py`.

use std::fs;
use std::path::Path;

use nanozk::layers::{self, quantize_checkpoint};
use nanozk::model::{Checkpoint, FloatModel};
use nanozk::quant::Tables;
use serde_json::{Value, json};
use tempfile::TempDir;

fn reference() -> Value {
    serde_json::from_str(include_str!("reference/ends.json")).expect("JSON")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn tokens(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).expect("token ids")
}

/// `models/tiny-gpt2` with other keys in one of its files, and with other files.
fn changed(name: &str, keys: &Value, more: &[(&str, &Value)]) -> TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny-gpt2");
    let folder = tempfile::tempdir().expect("a folder");
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(from.join(file), folder.path().join(file)).expect("copied");
    }
    let path = folder.path().join(name);
    let mut content: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
    for (key, value) in keys.as_object().into_iter().flatten() {
        content[key] = value.clone();
    }
    fs::write(&path, content.to_string()).expect("written");
    for (name, content) in more.iter().filter(|(_, content)| !content.is_null()) {
        fs::write(folder.path().join(name), content.to_string()).expect("written");
    }
    folder
}

/// Any of several tokens ends an answer, a `generation_config.json` replaces what the configuration says, and what
/// would change a greedy answer is refused by key.
#[test]
fn answers_end_where_the_references_end() {
    let reference = reference();
    let (prompt, new) = (tokens(&reference["prompt"]), 12);
    assert_eq!(reference["new"], new);
    let open = |case: &Value| {
        let generation = ("generation_config.json", &case["generation"]);
        let folder = changed("config.json", &case["config"], &[generation]);
        Checkpoint::open(folder.path())
    };
    let cases = list(&reference["answers"]);
    let plain = open(&cases[0]).expect("a checkpoint");
    let mut integer = quantize_checkpoint(&plain, "The king and the queen", 1, true)
        .expect("quantized")
        .model;
    let tables = Tables::new(
        &integer.manifest.scales,
        integer.manifest.architecture.activation,
    );
    let (mut equal, mut refused) = (0, 0);
    for case in cases {
        let checkpoint = match open(case) {
            Ok(checkpoint) => checkpoint,
            Err(e) => {
                let said = e.to_string();
                let keys = case["generation"].as_object().expect("keys");
                let named = |key: &String| said.contains(&format!("\"{key}\""));
                assert!(keys.keys().any(named) && said.contains("greedy"), "{said}");
                refused += 1;
                continue;
            }
        };
        let float = FloatModel::new(&checkpoint.config, &checkpoint.weights).expect("a model");
        let output = tokens(&case["output"]);
        assert_eq!(
            float.generate(&prompt, new).expect("an answer"),
            output,
            "{case}"
        );
        integer.manifest.architecture.end_of_text = checkpoint.config.end_of_text.clone();
        let generated =
            layers::generate(&integer, (&tables).into(), &prompt, new).expect("an answer");
        assert_eq!(generated.output, output, "{case}");
        assert_eq!(generated.stopped, output.len() < new);
        equal += 1;
    }
    assert_eq!((equal, refused), (11, 6));
}

/// What `tokenizer.json` puts around a prompt, whatever `tokenizer_config.json` says.
#[test]
fn prompts_begin_and_end_as_the_references() {
    let reference = reference();
    for case in list(&reference["prompts"]) {
        let processor = json!({"post_processor": case["post_processor"]});
        let config = ("tokenizer_config.json", &case["tokenizer_config"]);
        let folder = changed("tokenizer.json", &processor, &[config]);
        let tokenizer = Checkpoint::open(folder.path())
            .expect("a checkpoint")
            .tokenizer;
        for (text, expected) in list(&reference["texts"]).iter().zip(list(&case["tokens"])) {
            let text = text.as_str().expect("a text");
            assert_eq!(
                tokenizer.encode(text).expect("tokens"),
                tokens(expected),
                "{text:?}: {case}"
            );
        }
    }
}

/// Without a `tokenizer.json`, `tokenizer_config.json` says what is put around a prompt; and it names the class, which is
/// refused by name where its parts are not known.
#[test]
fn the_files_beside_a_tokenizer_are_read() {
    let folder = changed("config.json", &json!({}), &[]);
    let write = |name: &str, content: &str| {
        fs::write(folder.path().join(name), content).expect("written");
    };
    let own = folder.path().join("tokenizer.json");
    let tokenizer: Value = serde_json::from_slice(&fs::read(&own).expect("read")).expect("JSON");
    let model = &tokenizer["model"];
    let merges = list(&model["merges"]).iter().map(|merge| match merge {
        Value::Array(pair) => format!(
            "{} {}\n",
            pair[0].as_str().expect("a token"),
            pair[1].as_str().expect("a token")
        ),
        merge => format!("{}\n", merge.as_str().expect("two tokens")),
    });
    write("vocab.json", &model["vocab"].to_string());
    write("merges.txt", &merges.collect::<String>());
    let encoded = || {
        let checkpoint = Checkpoint::open(folder.path()).map_err(|e| e.to_string())?;
        Ok::<_, String>(checkpoint.tokenizer.encode("The king").expect("tokens"))
    };
    let begins = json!({"add_bos_token": true, "bos_token": "<|endoftext|>"});
    write("tokenizer_config.json", &begins.to_string());
    assert_eq!(encoded(), Ok(vec![344, 630]));
    fs::remove_file(&own).expect("it was there");
    assert_eq!(encoded(), Ok(vec![0, 344, 630]));
    write(
        "tokenizer_config.json",
        r#"{"tokenizer_class": "T5Tokenizer"}"#,
    );
    let said = encoded().expect_err("another class");
    assert!(
        said.contains("tokenizer_config.json: \"tokenizer_class\" is \"T5Tokenizer\""),
        "{said}"
    );
}
