//! Bad input through the program: one message that names file and cause, exit code 2, and nothing is written.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use nanozk::model::Checkpoint;
use nanozk::model::synthetic::{gguf, pickle};
use serde_json::{Value, json};

use super::common::{arg, directory, nanozk_at};

/// Lays out bad input in a folder and returns what is to be opened.
type Write = fn(&Path) -> PathBuf;

/// What is refused, how it is laid out, and what the message says.
const CASES: [(&str, Write, &[&str]); 9] = [
    (
        "a pickle that would run a command",
        |folder| pickled(folder, b"cos\nsystem\n(S'touch ran'\ntR."),
        &["pytorch_model.bin: ", "os.system"],
    ),
    (
        "a pickle that would read a file",
        |folder| {
            pickled(
                folder,
                b"\x80\x02c__builtin__\neval\n(X\x04\x00\x00\x001+11tR.",
            )
        },
        &["pytorch_model.bin: ", "eval"],
    ),
    (
        "a tokenizer with an id beyond the vocabulary",
        |folder| {
            let token = json!({
                "id": 1024, "content": "<beyond>", "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true,
            });
            let push = |file: &mut Value| {
                file["added_tokens"]
                    .as_array_mut()
                    .expect("a list")
                    .push(token)
            };
            changed(tiny(folder), "tokenizer.json", push)
        },
        &["tokenizer.json: ", "<beyond>", "1024"],
    ),
    (
        "a configuration of more parameters than there are",
        |folder| {
            let sizes =
                json!({"n_layer": 1024, "n_embd": 16384, "n_head": 256, "n_inner": 131_072});
            changed(tiny(folder), "config.json", |file| set(file, &sizes))
        },
        &["config.json: ", "parameters"],
    ),
    (
        "a configuration of more memory than there is",
        |folder| {
            let sizes = json!({"n_layer": 100, "n_embd": 16384, "n_head": 256, "n_inner": 65536});
            changed(tiny(folder), "config.json", |file| set(file, &sizes))
        },
        &["model.safetensors: ", "has shape"],
    ),
    (
        "metadata of more parameters than there are",
        |folder| {
            let sizes = [
                ("llama.block_count", 1024),
                ("llama.embedding_length", 16384),
                ("llama.attention.head_count", 256),
                ("llama.feed_forward_length", 131_072),
            ];
            with_sizes(folder, &sizes)
        },
        &["small.gguf: ", "parameters"],
    ),
    (
        "metadata of more memory than there is",
        |folder| with_sizes(folder, &[("llama.feed_forward_length", 131_072)]),
        &["small.gguf: ", "has shape", "llama.feed_forward_length"],
    ),
    (
        "metadata of heads that no width has",
        |folder| with_sizes(folder, &[("llama.attention.head_count", 3)]),
        &["small.gguf: ", "llama.attention.head_count"],
    ),
    (
        "a tensor whose sizes overflow",
        |folder| {
            let path = with_sizes(folder, &[]);
            let mut file = fs::read(&path).expect("a file");
            let name = b"token_embd.weight";
            let found = file.windows(name.len()).rposition(|bytes| bytes == name);
            // Behind the name: the number of dimensions, and each.
            let sizes = found.expect("the tensor") + name.len() + 4;
            for size in file[sizes..][..16].as_chunks_mut::<8>().0 {
                *size = (1u64 << 40).to_le_bytes();
            }
            fs::write(&path, file).expect("written");
            path
        },
        &["small.gguf: ", "token_embd.weight"],
    ),
];

/// `models/tiny-gpt2` in a folder.
fn tiny(folder: &Path) -> &Path {
    copy(
        "models/tiny-gpt2",
        folder,
        &["config.json", "tokenizer.json", "model.safetensors"],
    );
    folder
}

fn copy(from: &str, to: &Path, names: &[&str]) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(from);
    for name in names {
        fs::copy(from.join(name), to.join(name)).expect("copied");
    }
}

fn set(file: &mut Value, keys: &Value) {
    for (key, value) in keys.as_object().into_iter().flatten() {
        file[key] = value.clone();
    }
}

fn changed(folder: &Path, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
    let path = folder.join(name);
    let mut content = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    change(&mut content);
    fs::write(&path, content.to_string()).expect("written");
    folder.to_path_buf()
}

/// `models/tiny-gpt2` with a pickle in place of its weights.
fn pickled(folder: &Path, program: &[u8]) -> PathBuf {
    fs::remove_file(tiny(folder).join("model.safetensors")).expect("it was there");
    let entries = [("data.pkl", program), ("byteorder", b"little")];
    let file = pickle::archive("archive", &entries);
    fs::write(folder.join("pytorch_model.bin"), file).expect("written");
    folder.to_path_buf()
}

/// The stored Llama as `small.gguf`, with other sizes in its metadata.
fn with_sizes(folder: &Path, sizes: &[(&str, u32)]) -> PathBuf {
    copy(
        "tests/reference/files/llama",
        folder,
        &["config.json", "model.safetensors"],
    );
    copy("tests/reference/files", folder, &["tokenizer.json"]);
    let Checkpoint {
        config, weights, ..
    } = Checkpoint::open(folder).expect("it is read");
    let (mut metadata, tensors) = gguf::llama(&config, &weights, None);
    for (key, value) in &mut metadata {
        if let Some((_, size)) = sizes.iter().find(|(name, _)| name == key) {
            *value = gguf::Value::U32(*size);
        }
    }
    let path = folder.join("small.gguf");
    fs::write(&path, gguf::file(&metadata, &tensors)).expect("written");
    path
}

/// All files and folders below one.
fn tree(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        found.extend(tree(&path));
        found.insert(path);
    }
    found
}

/// Runs a command that is refused.
#[track_caller]
fn refused(home: &Path, work: &Path, args: &[&str], said: &[&str]) {
    let before = [home, work].map(tree);
    let ran = nanozk_at(home, args);
    assert_eq!(
        [home, work].map(tree),
        before,
        "{said:?}: something was written"
    );
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    let message = ran.stderr.clone();
    ran.failed("");
    for part in said {
        assert!(message.contains(part), "no {part:?} in {message}");
    }
}

#[test]
fn bad_checkpoints_are_refused_and_nothing_is_written() {
    for (name, write, said) in CASES {
        let (folder, home) = (directory(), directory());
        let input = folder.path().join("input");
        fs::create_dir(&input).expect("a directory");
        let input = write(&input);
        let out = folder.path().join("out.nzk");
        println!("{name}");
        for command in [&["quantize"][..], &["prove", "--prompt", "a"]] {
            let args = [command, &["--model", arg(&input), "--out", arg(&out)]].concat();
            refused(home.path(), folder.path(), &args, said);
        }
    }
}

/// A template is reached after the model has been opened, which is kept: the program has a model file here.
#[test]
fn templates_without_end_are_refused_and_nothing_is_written() {
    let nested = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    let recursive = "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}";
    let growing = "{% set ns = namespace(t='a') %}{% for a in range(99) %}{% set ns.t = ns.t + ns.t %}{% endfor %}";
    for (template, said) in [(nested, "steps"), (recursive, "nested"), (growing, "bytes")] {
        let (folder, home) = (directory(), directory());
        let input = folder.path().join("input");
        fs::create_dir(&input).expect("a directory");
        fs::write(tiny(&input).join("chat_template.jinja"), template).expect("written");
        let model = folder.path().join("model.nzk");
        nanozk_at(
            home.path(),
            &["quantize", "--model", arg(&input), "--out", arg(&model)],
        )
        .success();
        let out = folder.path().join("out.nzk");
        let args = [
            "prove",
            "--model",
            arg(&model),
            "--user",
            "a",
            "--out",
            arg(&out),
        ];
        refused(home.path(), folder.path(), &args, &["chat template", said]);
    }
}
