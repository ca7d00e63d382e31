//! GGUF files: factors of rotary frequencies, and models in several files.

use std::fs;
use std::path::Path;

use nanozk::model::synthetic::gguf;
use nanozk::model::{Checkpoint, Config, Located};
use sha2::{Digest, Sha256};

use super::{Model, read_json, reference, refused, stored};

fn llama_file(factors: Option<&[f32]>) -> (Config, Gguf) {
    let folder = stored("llama");
    let checkpoint = Checkpoint::open(folder.path()).expect("it is read");
    let file = gguf::llama(&checkpoint.config, &checkpoint.weights, factors);
    (checkpoint.config, file)
}

/// Changes the part with a number.
type Change<'a> = &'a dyn Fn(usize, &mut Gguf);

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
    let write = |folder: &Path, change: Change| {
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
    let cases: [(Change, &[&str]); 6] = [
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
                if i == 2 {
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
            &["layers.9.self_attn.q_proj.weight", "belong"],
        ),
    ];
    for (change, parts) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), change);
        let first = folder.path().join("small-00001-of-00003.gguf");
        refused(Checkpoint::open(&first), parts);
    }
}
