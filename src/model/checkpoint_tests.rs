//! Checkpoints in every layout that is supported, and every way in which one can be wrong.

use std::fs;
use std::path::Path;

use half::{bf16, f16};
use safetensors::Dtype;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::synthetic::{self, Layout, Stored};
use super::*;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

fn tiny() -> Config {
    synthetic::config(2, 1, 260, 8)
}

fn write(config: &Config, layout: &Layout) -> (TempDir, Weights) {
    let directory = tempfile::tempdir().unwrap();
    let weights = synthetic::weights(config, 7);
    synthetic::write(directory.path(), config, &weights, layout).unwrap();
    (directory, weights)
}

/// The values that remain after storing them as `dtype`.
fn rounded(weights: &Weights, config: &Config, dtype: Dtype) -> Weights {
    let mut weights = weights.clone();
    for slot in weights.slots(config) {
        for value in slot.values.iter_mut() {
            *value = match dtype {
                Dtype::F16 => f16::from_f32(*value).to_f32(),
                Dtype::BF16 => bf16::from_f32(*value).to_f32(),
                _ => *value,
            };
        }
    }
    weights
}

/// Writes a tiny checkpoint whose tensors `change` has altered, and opens it.
fn altered(change: impl FnOnce(&mut Vec<Stored>)) -> Result<Checkpoint, CheckpointError> {
    let config = tiny();
    let (directory, weights) = write(&config, &Layout::default());
    let mut tensors = synthetic::stored(&config, &weights, &Layout::default());
    change(&mut tensors);
    synthetic::write_tensors(directory.path(), &tensors, 1).unwrap();
    Checkpoint::open(directory.path())
}

fn find<'a>(tensors: &'a mut [Stored], name: &str) -> &'a mut Stored {
    tensors.iter_mut().find(|t| t.name == name).unwrap()
}

/// Writes a tiny checkpoint, lets `change` alter its directory, and opens it.
fn damaged(layout: &Layout, change: impl FnOnce(&Path)) -> Result<Checkpoint, CheckpointError> {
    let (directory, _) = write(&tiny(), layout);
    change(directory.path());
    Checkpoint::open(directory.path())
}

fn sharded() -> Layout {
    Layout {
        shards: 3,
        ..Layout::default()
    }
}

/// The error of tensor `name`, whose message must name the file and the tensor.
#[track_caller]
fn tensor_error(result: Result<Checkpoint, CheckpointError>, name: &str) -> TensorError {
    let error = result.unwrap_err();
    let message = error.to_string();
    assert!(message.contains(".safetensors"), "{message}");
    assert!(message.contains(&format!("\"{name}\"")), "{message}");
    match error {
        CheckpointError::Weights {
            source: ShardError::Tensor { source, .. },
            ..
        } => source,
        other => panic!("another error: {other}"),
    }
}

#[test]
fn every_layout_gives_the_weights_that_were_written() {
    for tied in [true, false] {
        let config = Config { tied, ..tiny() };
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            for (shards, prefix, split_tokenizer) in [
                (1, false, false),
                (1, true, true),
                (3, false, true),
                (4, true, false),
            ] {
                let layout = Layout {
                    dtype,
                    shards,
                    prefix,
                    split_tokenizer,
                    ..Layout::default()
                };
                let (directory, weights) = write(&config, &layout);
                let opened = Checkpoint::open(directory.path()).unwrap();
                assert_eq!(opened.config, config, "{layout:?}");
                assert!(
                    opened.weights == rounded(&weights, &config, dtype),
                    "{layout:?}"
                );
                let expected = synthetic::tokenizer().digest();
                assert_eq!(opened.tokenizer.digest(), expected, "{layout:?}");
            }
        }
    }
}

/// A checkpoint of Llama's kind, whose old buffers are passed over, at both head widths.
#[test]
fn llama_checkpoints_are_read() {
    for heads in [(4, 2, 64), (2, 1, 128)] {
        for tied in [true, false] {
            let config = Config {
                tied,
                ..synthetic::llama_config(2, heads, 260, 8)
            };
            let (directory, weights) = write(&config, &sharded());
            let opened = Checkpoint::open(directory.path()).unwrap();
            assert_eq!(opened.config, config);
            assert!(opened.weights == weights);
        }
    }
}

/// The files decide whether the head is tied; a head that repeats the embedding bit by bit is.
#[test]
fn a_repeated_head_is_tied_and_a_different_one_is_not() {
    for tied in [true, false] {
        let layout = Layout {
            repeat_head: true,
            ..Layout::default()
        };
        let config = Config { tied, ..tiny() };
        let directory = tempfile::tempdir().unwrap();
        let weights = synthetic::weights(&tiny(), 7);
        synthetic::write(directory.path(), &config, &weights, &layout).unwrap();
        let opened = Checkpoint::open(directory.path()).unwrap();
        assert_eq!((opened.config.tied, opened.weights.lm_head), (true, None));
    }
    let opened = altered(|tensors| {
        let mut head = find(tensors, "wte.weight").clone();
        head.name = "lm_head.weight".to_string();
        head.bytes[0] ^= 1;
        tensors.push(head);
    })
    .unwrap();
    assert!(!opened.config.tied);
    assert_eq!(opened.weights.head().len(), 260 * 64);
    assert_ne!(opened.weights.head(), opened.weights.tokens());
}

/// The digests are those of the files as they lie on disk, and all of them.
#[test]
fn every_file_read_is_recorded_with_its_digest() {
    for (layout, count) in [(Layout::default(), 3), (sharded(), 6)] {
        let (directory, _) = write(&tiny(), &layout);
        let opened = Checkpoint::open(directory.path()).unwrap();
        assert_eq!(opened.files.len(), count);
        assert!(opened.files.is_sorted());
        for (name, digest) in &opened.files {
            let content = fs::read(directory.path().join(name)).unwrap();
            assert_eq!(digest[..], Sha256::digest(content)[..], "{name}");
        }
    }
}

/// A directory, its weights' file and its files' contents are the same checkpoint.
#[test]
fn a_checkpoint_opens_by_directory_by_file_and_from_memory() {
    let (directory, _) = write(&tiny(), &Layout::default());
    let read = |name: &str| fs::read(directory.path().join(name)).unwrap();
    let by_directory = Checkpoint::open(directory.path()).unwrap();
    let by_file = Checkpoint::open(&directory.path().join(SINGLE)).unwrap();
    let (config, weights) = (read("config.json"), read(SINGLE));
    let in_memory = Checkpoint::from_parts(
        "tiny",
        &config,
        vec![(SINGLE.to_string(), weights.into())],
        &read("tokenizer.json"),
    )
    .unwrap();
    for other in [by_file, in_memory] {
        assert!(other.weights == by_directory.weights);
        assert_eq!(other.files, by_directory.files);
    }
}

/// A directory may be called as a file is; another file than these two kinds is no checkpoint, whatever
/// it holds.
#[test]
fn files_and_directories_are_told_apart() {
    let root = tempfile::tempdir().unwrap();
    let config = tiny();
    let weights = synthetic::weights(&config, 7);
    for name in ["model.gguf", "model.safetensors"] {
        let directory = root.path().join(name);
        synthetic::write(&directory, &config, &weights, &Layout::default()).unwrap();
        assert_eq!(Checkpoint::open(&directory).unwrap().name, name);
        let copy = directory.join("weights.bin");
        fs::copy(directory.join(SINGLE), &copy).unwrap();
        let result = Checkpoint::open(&copy);
        assert!(matches!(result, Err(CheckpointError::Io { .. })), "{name}");
    }
}

#[test]
fn a_snapshot_of_the_hugging_face_cache_is_called_by_its_repository() {
    let root = tempfile::tempdir().unwrap();
    let snapshot = root
        .path()
        .join("models--org--some-model/snapshots/0123abcd");
    let config = tiny();
    let weights = synthetic::weights(&config, 7);
    synthetic::write(&snapshot, &config, &weights, &Layout::default()).unwrap();
    assert_eq!(Checkpoint::open(&snapshot).unwrap().name, "org/some-model");
    let plain = root.path().join("plain");
    fs::rename(snapshot, &plain).unwrap();
    assert_eq!(Checkpoint::open(&plain).unwrap().name, "plain");
}

/// Whichever tensor is left out, in one file or several.
#[test]
fn every_missing_tensor_is_noticed() {
    let config = Config {
        tied: false,
        ..tiny()
    };
    let (directory, weights) = write(&config, &Layout::default());
    let all = synthetic::stored(&config, &weights, &Layout::default());
    let needed = |t: &&Stored| !t.name.ends_with(".attn.bias") && !t.name.contains("masked");
    for name in all.iter().filter(needed).map(|t| &t.name) {
        let rest: Vec<Stored> = all.iter().filter(|t| t.name != *name).cloned().collect();
        synthetic::write_tensors(directory.path(), &rest, 1).unwrap();
        let error = tensor_error(Checkpoint::open(directory.path()), name);
        assert!(matches!(error, TensorError::Missing { .. }), "{error}");
    }
    let layout = Layout {
        prefix: true,
        ..sharded()
    };
    let result = damaged(&layout, |path| {
        let mut index: Value =
            serde_json::from_slice(&fs::read(path.join(INDEX)).unwrap()).unwrap();
        let map = index["weight_map"].as_object_mut().unwrap();
        map.retain(|_, file| !file.as_str().unwrap().contains("00002"));
        fs::write(path.join(INDEX), index.to_string()).unwrap();
    });
    assert!(result.unwrap_err().to_string().contains(INDEX));
}

#[test]
fn tensors_of_another_model_are_refused() {
    for name in [
        "h.2.ln_1.weight",
        "h.0.attn.q.weight",
        "adapter",
        "h..attn.bias",
        "h.x.attn.bias",
        "h.0.1.attn.masked_bias",
        "model.layers.x.self_attn.rotary_emb.inv_freq",
        "",
    ] {
        let error = tensor_error(
            altered(|tensors| {
                let mut extra = find(tensors, "ln_f.bias").clone();
                extra.name = name.to_string();
                tensors.push(extra);
            }),
            name,
        );
        assert!(
            matches!(error, TensorError::Unexpected { model: "GPT-2", .. }),
            "{error}"
        );
    }
}

#[test]
fn wrong_shapes_and_types_are_refused_with_both_sides() {
    let error = tensor_error(
        altered(|tensors| find(tensors, "h.1.attn.c_attn.weight").shape = vec![192, 64]),
        "h.1.attn.c_attn.weight",
    );
    let expected = TensorError::Shape {
        expected: vec![64, 192],
        found: vec![192, 64],
    };
    assert_eq!(error, expected);
    let flat = altered(|tensors| find(tensors, "wpe.weight").shape = vec![8 * 64]);
    assert!(matches!(
        tensor_error(flat, "wpe.weight"),
        TensorError::Shape { .. }
    ));

    for (dtype, width) in [
        (Dtype::I64, 8),
        (Dtype::I8, 1),
        (Dtype::F8_E4M3, 1),
        (Dtype::I32, 4),
    ] {
        let error = tensor_error(
            altered(|tensors| {
                let tensor = find(tensors, "ln_f.weight");
                tensor.dtype = dtype;
                tensor.bytes = vec![0; 64 * width];
            }),
            "ln_f.weight",
        );
        assert_eq!(error, TensorError::Dtype { found: dtype });
    }
}

/// NaN and both infinities, in every type, wherever they stand.
#[test]
fn numbers_that_are_not_finite_are_refused() {
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16] {
            for at in [0, 17, 63] {
                let mut values = [0.5; 64];
                values[at] = bad;
                let result = altered(|tensors| {
                    let tensor = find(tensors, "h.1.ln_2.bias");
                    tensor.dtype = dtype;
                    tensor.bytes = synthetic::encode(dtype, &values);
                });
                let error = tensor_error(result, "h.1.ln_2.bias");
                assert!(matches!(error, TensorError::NotFinite { index, .. } if index == at));
            }
        }
    }
}

/// A configuration must describe the files beside it.
#[test]
fn a_config_that_lies_about_a_shape_is_refused() {
    let lies: [(&str, Value); 6] = [
        ("n_layer", json!(1)),
        ("n_layer", json!(3)),
        ("vocab_size", json!(259)),
        ("n_positions", json!(1024)),
        ("n_inner", json!(320)),
        ("tie_word_embeddings", json!(false)),
    ];
    for (key, value) in lies {
        let result = damaged(&Layout::default(), |path| {
            let mut json = synthetic::config_json(&tiny());
            json[key] = value.clone();
            fs::write(path.join("config.json"), json.to_string()).unwrap();
        });
        let error = result.expect_err(key);
        assert!(
            matches!(error, CheckpointError::Weights { .. }),
            "{key}: {error}"
        );
    }
    let wider = damaged(&Layout::default(), |path| {
        let config = synthetic::config_json(&synthetic::config(2, 2, 260, 8)).to_string();
        fs::write(path.join("config.json"), config).unwrap();
    });
    assert!(matches!(wider, Err(CheckpointError::Weights { .. })));
}

#[test]
fn an_unsupported_config_names_file_key_and_value() {
    let error = damaged(&Layout::default(), |path| {
        let mut json = synthetic::config_json(&tiny());
        json["model_type"] = json!("unheard_of");
        fs::write(path.join("config.json"), json.to_string()).unwrap();
    })
    .unwrap_err()
    .to_string();
    for part in ["config.json", "model_type", "unheard_of", "gpt2"] {
        assert!(error.contains(part), "{error}");
    }
}

/// By an error that says what is missing: of two that go together, both, and of alternatives, all.
#[test]
fn each_missing_file_is_named() {
    let split = || Layout {
        split_tokenizer: true,
        ..Layout::default()
    };
    let tokenizer = "neither tokenizer.json nor vocab.json with merges.txt";
    let weights = "none of model.safetensors, model.safetensors.index.json, pytorch_model.bin";
    for (layout, file, part) in [
        (Layout::default(), "config.json", "os error 2"),
        (Layout::default(), "tokenizer.json", tokenizer),
        (split(), "vocab.json", tokenizer),
        (split(), "merges.txt", tokenizer),
        (Layout::default(), SINGLE, weights),
        (sharded(), INDEX, weights),
        (
            sharded(),
            "model-00003-of-00003.safetensors",
            "cannot be read",
        ),
    ] {
        let result = damaged(&layout, |path| fs::remove_file(path.join(file)).unwrap());
        let message = result.unwrap_err().to_string();
        for part in [file, part] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    assert!(Checkpoint::open(Path::new("/nowhere/at/all")).is_err());
}

/// Cut anywhere: within the length, the header, the data.
#[test]
fn truncated_and_extended_files_are_refused() {
    let (directory, _) = write(&tiny(), &Layout::default());
    let path = directory.path().join(SINGLE);
    let whole = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    for length in [
        0,
        1,
        7,
        8,
        9,
        8 + header / 2,
        8 + header,
        whole.len() / 2,
        whole.len() - 1,
    ] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = Checkpoint::open(directory.path()).unwrap_err();
        assert!(
            matches!(error, CheckpointError::Weights { .. }),
            "{length}: {error}"
        );
    }
    fs::write(&path, [&whole[..], b"\0"].concat()).unwrap();
    let error = Checkpoint::open(directory.path()).unwrap_err().to_string();
    assert!(error.contains("bytes") && error.contains(SINGLE), "{error}");
}

/// A safetensors file with the given header and data.
fn raw(length: u64, header: &str, data: usize) -> Vec<u8> {
    let mut file = length.to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.extend(vec![0; data]);
    file
}

/// Headers that lie about lengths, offsets and shapes are refused before anything is allocated
/// for them.
#[test]
fn hostile_headers_are_refused() {
    let tensor = |shape: &str, from: &str, to: &str| {
        format!(
            r#"{{"wte.weight":{{"dtype":"F32","shape":{shape},"data_offsets":[{from},{to}]}}}}"#
        )
    };
    let max = &u64::MAX.to_string();
    let huge = &(u64::MAX / 4 * 4).to_string();
    let headers = [
        tensor("[260,64]", "0", max),
        tensor("[4611686018427387903]", "0", huge),
        tensor("[18446744073709551615,18446744073709551615]", "0", "64"),
        tensor("[4]", "16", "32"),
        tensor("[4]", "16", "0"),
        tensor("[-4]", "0", "16"),
        tensor("[8]", "0", "16"),
        r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}}"#.to_string(),
        r#"{"wte.weight":{"dtype":"F31","shape":[4],"data_offsets":[0,16]}}"#.to_string(),
        "[]".to_string(),
        "null".to_string(),
        "[".repeat(100_000),
        r#"{"__metadata__":7}"#.to_string(),
    ];
    let files = headers.iter().map(|h| raw(h.len() as u64, h, 16)).chain([
        raw(u64::MAX, "{}", 0),
        raw(1 << 63, "{}", 0),
        raw(3, "{}", 0),
        raw(0, "", 0),
        raw(1 << 25, &" ".repeat(1 << 10), 0),
    ]);
    let (directory, _) = write(&tiny(), &Layout::default());
    for (case, file) in files.enumerate() {
        fs::write(directory.path().join(SINGLE), file).unwrap();
        let error = Checkpoint::open(directory.path()).unwrap_err();
        assert!(
            matches!(error, CheckpointError::Weights { .. }),
            "{case}: {error}"
        );
    }
}

/// Whatever byte of a header is changed, the reader answers and never panics; a change that it
/// accepts has not changed a shape.
#[test]
fn no_flipped_byte_in_a_header_causes_a_panic() {
    let config = synthetic::config(1, 1, 257, 4);
    let weights = synthetic::weights(&config, 7);
    let mut file = synthetic::file(&synthetic::stored(&config, &weights, &Layout::default()));
    let header = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let (json, tokenizer) = (
        synthetic::config_json(&config).to_string(),
        synthetic::tokenizer().to_json(),
    );
    let mut refused = 0;
    for at in 0..header {
        for mask in [1, 0x80] {
            file[at] ^= mask;
            let parts = vec![(SINGLE.to_string(), (&file[..]).into())];
            match Checkpoint::from_parts("flipped", json.as_bytes(), parts, &tokenizer) {
                Ok(opened) => assert_eq!(opened.weights.tokens().len(), 257 * 64),
                Err(_) => refused += 1,
            }
            file[at] ^= mask;
        }
    }
    assert!(refused > header, "{refused} of {}", 2 * header);
}

#[test]
fn an_index_cannot_point_outside_its_directory() {
    for name in [
        "../model.safetensors",
        "/etc/model.safetensors",
        "a/b.safetensors",
        "..\\model.safetensors",
        "C:model.safetensors",
        "..safetensors",
        ".safetensors",
        "model.bin",
        "",
    ] {
        let result = damaged(&sharded(), |path| {
            let index = json!({"weight_map": {"wte.weight": name}}).to_string();
            fs::write(path.join(INDEX), index).unwrap();
        });
        let error = result.unwrap_err();
        assert!(
            matches!(error, CheckpointError::Index { .. }),
            "{name}: {error}"
        );
    }
    let many = |count| {
        let entry = |i: usize| (i.to_string(), json!(format!("{i}.safetensors")));
        let map: serde_json::Map<_, _> = (0..count).map(entry).collect();
        json!({"weight_map": map})
    };
    let most = shard_names(many(1024).to_string().as_bytes(), ".safetensors");
    assert_eq!(most.unwrap().len(), 1024);
    for index in [json!({}), json!({"weight_map": {}}), json!([1]), many(1025)] {
        let result = damaged(&sharded(), |path| {
            fs::write(path.join(INDEX), index.to_string()).unwrap();
        });
        assert!(
            matches!(result, Err(CheckpointError::Index { .. })),
            "{index:.80}"
        );
    }
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let result = damaged(&Layout::default(), |path| {
        let mut json: Value = serde_json::from_slice(&synthetic::tokenizer().to_json()).unwrap();
        for (token, id) in [("aa", 257), ("bb", 258), ("cc", 259), ("beyond", 260)] {
            json["model"]["vocab"][token] = json!(id);
        }
        fs::write(path.join("tokenizer.json"), json.to_string()).unwrap();
    });
    let message = result.unwrap_err().to_string();
    for part in ["tokenizer.json", "beyond", "260"] {
        assert!(message.contains(part), "{message}");
    }
    let result = damaged(&Layout::default(), |path| {
        fs::write(path.join("tokenizer.json"), b"\xff\xfe").unwrap();
    });
    assert!(matches!(result, Err(CheckpointError::Tokenizer { .. })));
}

/// A file without end is not read to its end.
#[test]
fn a_text_file_has_a_largest_size() {
    let largest = 1 << 26;
    for length in [largest, largest + 1] {
        let result = damaged(&Layout::default(), |path| {
            let file = fs::File::create(path.join("config.json")).unwrap();
            file.set_len(length).unwrap();
        });
        match result.unwrap_err() {
            // Then it is too large for a configuration.
            CheckpointError::Config { .. } => assert_eq!(length, largest),
            CheckpointError::TooLarge { length: found, .. } => {
                assert_eq!((found, length), (length, largest + 1));
            }
            other => panic!("another error: {other}"),
        }
    }
}
