//! Every way in which a file can be wrong.

use half::f16;

use super::super::Checkpoint;
use super::super::synthetic;
use super::tests::{llama, number, open, open_as, text, tiny, wave};
use super::write::{self, GgmlDType, Value};

/// Every message names the file and what is wrong in it.
#[track_caller]
fn refused(file: &[u8], parts: &[&str]) {
    let error = Checkpoint::from_gguf("hostile", file).unwrap_err();
    let message = error.to_string();
    for part in parts.iter().chain(&["hostile.gguf"]) {
        assert!(message.contains(part), "{part}: {message}");
    }
}

/// A good file with `change` made to its metadata.
fn with_metadata(change: impl FnOnce(&mut Vec<(&'static str, Value)>)) -> Vec<u8> {
    let mut metadata = write::gpt2_metadata(&tiny());
    change(&mut metadata);
    write::file(
        &metadata,
        &[(
            "token_embd.weight",
            write::tensor(&[1], vec![1.0], GgmlDType::F32),
        )],
    )
}

fn set(key: &'static str, value: Value) -> Vec<u8> {
    with_metadata(|metadata| {
        metadata.retain(|(k, _)| *k != key);
        metadata.push((key, value));
    })
}

/// What would be another function or another text than the file's.
#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (key, value, part) in [
        ("general.architecture", text("mamba"), "mamba"),
        ("general.architecture", number(3), "a text"),
        ("general.alignment", number(0), "is 0"),
        ("general.alignment", number(24), "power of two"),
        ("general.alignment", number(1 << 17), "up to 65536"),
        ("general.quantization_version", number(1), "is 1"),
        ("split.count", number(2), "00001-of-00002"),
        ("gpt2.attention.scale", Value::F32(2.0), "is 2"),
        ("gpt2.attention.head_count_kv", number(7), "as many"),
        ("gpt2.block_count", text("two"), "two"),
        ("gpt2.block_count", Value::I32(-1), "-1"),
        ("tokenizer.ggml.model", text("bert"), "bert"),
        ("tokenizer.ggml.pre", text("deepseek-llm"), "deepseek-llm"),
        ("tokenizer.ggml.tokens", number(7), "list of texts"),
        (
            "tokenizer.ggml.tokens",
            write::texts(["a", "b", "a"]),
            "0 and 2",
        ),
        (
            "tokenizer.ggml.tokens",
            write::texts(["a".repeat(1000)]),
            "1000 bytes",
        ),
        (
            "tokenizer.ggml.token_type",
            Value::Array(vec![Value::I32(1)]),
            "as many",
        ),
        ("tokenizer.ggml.merges", write::texts(["ab"]), "merge 0"),
        ("tokenizer.ggml.add_space_prefix", Value::Bool(true), "true"),
        (
            "tokenizer.ggml.eos_token_id",
            Value::Array(vec![number(1)]),
            "a list",
        ),
    ] {
        refused(&set(key, value), &[key, part]);
    }
    for key in [
        "general.architecture",
        "gpt2.block_count",
        "gpt2.embedding_length",
        "gpt2.feed_forward_length",
        "gpt2.context_length",
        "gpt2.attention.head_count",
        "gpt2.attention.layer_norm_epsilon",
        "tokenizer.ggml.model",
        "tokenizer.ggml.tokens",
    ] {
        let file = with_metadata(|metadata| metadata.retain(|(k, _)| *k != key));
        refused(&file, &[key, "missing"]);
    }
    let mut metadata = llama();
    metadata.push(("llama.rope.scaling.type", text("linear")));
    let scaled = write::tensor(&[2], vec![1.0, 8.0], GgmlDType::F32);
    let file = write::file(&metadata, &[("rope_freqs.weight", scaled)]);
    let error = open(&file).unwrap().config().unwrap_err().to_string();
    assert!(error.contains("rope_freqs.weight"), "{error}");
    // A factor alone scales linearly.
    let mut metadata = llama();
    metadata.push(("llama.rope.scaling.factor", Value::F32(2.0)));
    let scaled = write::tensor(&[2], vec![1.0, 8.0], GgmlDType::F32);
    let file = write::file(&metadata, &[("rope_freqs.weight", scaled)]);
    let error = open(&file).unwrap().config().unwrap_err().to_string();
    assert!(
        error.contains("rope.scaling.factor") && error.contains("rope_freqs.weight"),
        "{error}"
    );
}

/// What would make a Llama another function than its `config.json` can say.
#[test]
fn what_is_not_supported_in_a_llama_is_refused_by_name() {
    let config = |key, value| {
        let mut metadata = llama();
        metadata.push(("llama.vocab_size", number(12)));
        metadata.retain(|(k, _)| *k != key);
        metadata.push((key, value));
        let norm = write::tensor(&[8], wave(8), GgmlDType::F32);
        let file = write::file(&metadata, &[("output_norm.weight", norm)]);
        open(&file).unwrap().config()
    };
    let head = "the width of a head";
    // Of each key a value that changes nothing and one that does.
    for (key, usual, other, part) in [
        ("llama.expert_count", number(0), number(8), "experts"),
        ("llama.expert_used_count", number(0), number(2), "experts"),
        (
            "llama.tensor_data_layout",
            text("Meta AI original pth"),
            text("another"),
            "rotary pairs",
        ),
        ("llama.rope.dimension_count", number(4), number(2), head),
        ("llama.attention.value_length", number(4), number(8), head),
        // The width of keys is that of a head, which the number of rotated lanes does not follow here.
        ("llama.attention.key_length", number(4), number(8), head),
        (
            "llama.rope.scaling.type",
            text("none"),
            text("longrope"),
            "linear",
        ),
    ] {
        if let Err(e) = config(key, usual) {
            panic!("{key}: {e}");
        }
        let message = config(key, other).unwrap_err().to_string();
        assert!(message.contains(part), "{key}: {message}");
    }
    let window = config("llama.attention.sliding_window", number(8));
    let message = window.unwrap_err().to_string();
    assert!(message.contains("sliding_window"), "{message}");
}

/// As converters write it for some GPT-2s.
#[test]
fn a_gpt2_may_state_that_no_head_is_shared() {
    let heads = number(tiny().heads as u32);
    let file = set("gpt2.attention.head_count_kv", heads);
    assert!(open(&file).unwrap().config().is_ok());
}

/// A token of the largest length that is read, and one longer by a byte.
#[test]
fn the_longest_token_is_read() {
    for length in [512, 513] {
        let file = with_metadata(|metadata| {
            metadata.retain(|(k, _)| {
                !["tokenizer.ggml.tokens", "tokenizer.ggml.token_type"].contains(k)
            });
            metadata.push(("tokenizer.ggml.tokens", write::texts(["a".repeat(length)])));
        });
        match open(&file).unwrap().tokenizer() {
            Ok(_) => assert_eq!(length, 512),
            Err(e) => assert!(e.to_string().contains("has 513 bytes"), "{e}"),
        }
    }
}

#[test]
fn tensors_that_do_not_belong_are_refused_by_name() {
    let weights = synthetic::weights(&tiny(), 7);
    let metadata = write::gpt2_metadata(&tiny());
    let with = |name: &str, shape: &[usize], value: f32| {
        let values = vec![value; shape.iter().product()];
        let tensor = write::tensor(shape, values, GgmlDType::F32);
        write::file(&metadata, &[(name, tensor)])
    };
    refused(
        &with("blk.0.attn_q.weight", &[1], 0.0),
        &["blk.0.attn_q.weight", "belong"],
    );
    refused(
        &with("blk.9.attn_qkv.bias", &[192], 0.0),
        &["h.9.attn.c_attn.bias", "belong"],
    );
    refused(
        &with("blk.0.attn_qkv.bias", &[64], 0.0),
        &["h.0.attn.c_attn.bias", "[192]"],
    );
    let one = "h.1.ln_2.weight";
    refused(
        &with("blk.1.ffn_norm.weight", &[64], f32::NAN),
        &[one, "NaN", "index 0"],
    );
    refused(&with("blk.1.ffn_norm.weight", &[64], 1.0), &["missing"]);
    // An infinite scale makes a whole block infinite.
    let mut file = write::gpt2(&tiny(), &weights, GgmlDType::Q8_0);
    let gguf = open(&file).unwrap();
    let info = gguf
        .header
        .tensors
        .iter()
        .find(|t| t.name == "blk.0.ffn_up.weight");
    let start = info.unwrap().start as usize;
    file[start..start + 2].copy_from_slice(&f16::INFINITY.to_le_bytes());
    refused(&file, &["h.0.mlp.c_fc.weight", "finite"]);
}

/// Wherever a file ends, the message says within what.
#[test]
fn a_file_cut_off_anywhere_is_refused() {
    let norm = write::tensor(&[8], wave(8), GgmlDType::F32);
    let file = write::file(
        &write::gpt2_metadata(&tiny()),
        &[("output_norm.weight", norm)],
    );
    assert!(open(&file).is_ok());
    for length in 0..file.len() {
        let error = open(&file[..length]).err().expect("cut off").to_string();
        assert!(error.contains("ends within"), "{length}: {error}");
    }
    let longer = [&file[..], &[0]].concat();
    let error = open(&longer).err().expect("too long").to_string();
    assert!(error.contains("describes"), "{error}");
}

/// A header from its parts: metadata and tensors as they are written, with their numbers.
fn raw(keys: u64, metadata: &[u8], tensors: u64, infos: &[u8]) -> Vec<u8> {
    let counts = [tensors.to_le_bytes(), keys.to_le_bytes()].concat();
    let head = [b"GGUF", &3u32.to_le_bytes()[..], &counts].concat();
    let mut file = [&head, metadata, infos].concat();
    file.resize(file.len().next_multiple_of(32) + 256, 0);
    file
}

fn string(text: &[u8]) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text].concat()
}

fn info(name: &[u8], dims: &[u64], dtype: u32, offset: u64) -> Vec<u8> {
    let mut bytes = string(name);
    bytes.extend((dims.len() as u32).to_le_bytes());
    dims.iter().for_each(|dim| bytes.extend(dim.to_le_bytes()));
    bytes.extend(dtype.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

fn key(name: &[u8], kind: u32, value: &[u8]) -> Vec<u8> {
    [&string(name)[..], &kind.to_le_bytes(), value].concat()
}

/// None of these takes memory for what it promises, nor time.
#[test]
fn hostile_headers_are_refused_by_what_is_wrong() {
    let huge = u64::MAX.to_le_bytes();
    let list = |kind: u32, count: u64| [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat();
    let nested = [&list(9, 1)[..], &list(9, 1)].concat();
    let twice = [key(b"k", 4, &[0; 4]), key(b"k", 4, &[0; 4])].concat();
    let long = [b'k'; 300];
    for (keys, metadata, part) in [
        (u64::MAX, vec![], "keys"),
        (1, huge.to_vec(), "a key of 18446744073709551615 bytes"),
        (1, string(&long), "a key of 300 bytes"),
        (1, string(b"\xff"), "UTF-8"),
        (1, key(b"k", 8, &huge), "\"k\""),
        (1, key(b"k", 8, &string(b"\xc3")), "UTF-8"),
        (
            1,
            key(b"k", 8, &(1u64 << 20).to_le_bytes()),
            "ends within metadata \"k\"",
        ),
        (1, key(b"k", 7, &[2]), "truth"),
        (1, key(b"k", 13, &[]), "unknown type 13"),
        (1, key(b"k", 10, &huge), "2^63"),
        (
            1,
            key(b"k", 9, &list(4, u64::MAX)),
            "ends within metadata \"k\"",
        ),
        (
            1,
            key(b"k", 9, &list(4, 1 << 40)),
            "ends within metadata \"k\"",
        ),
        (1, key(b"k", 9, &nested), "unknown type 9"),
        (2, twice, "occurs twice"),
        (
            1,
            key(b"general.alignment", 4, &[0; 4]),
            "general.alignment",
        ),
    ] {
        refused(&raw(keys, &metadata, 0, &[]), &[part]);
    }
    for (tensors, infos, part) in [
        (u64::MAX, vec![], "tensors"),
        (1, info(&[b'n'; 65], &[], 0, 0), "65 bytes"),
        (1, info(b"t", &[1; 5], 0, 0), "5 dimensions"),
        (
            1,
            info(b"t", &[u64::MAX, u64::MAX], 0, 0),
            "more than the file holds",
        ),
        (
            1,
            info(b"t", &[1 << 32, 1 << 32], 0, 0),
            "more than the file holds",
        ),
        (1, info(b"t", &[1 << 40], 0, 0), "more than the file holds"),
        (1, info(b"t", &[33], 8, 0), "whole blocks"),
        (1, info(b"t", &[4], 16, 0), "the type of tensor \"t\" is 16"),
        (1, info(b"t", &[4], 0, 32), "expected 0"),
        (1, info(b"t", &[4], 0, u64::MAX), "expected 0"),
        (
            2,
            [info(b"t", &[4], 0, 0), info(b"u", &[4], 0, 0)].concat(),
            "expected 32",
        ),
        (
            2,
            [info(b"t", &[4], 0, 0), info(b"t", &[4], 0, 32)].concat(),
            "occurs twice",
        ),
        (1, info(b"t", &[70], 0, 0), "ends within tensor \"t\""),
    ] {
        refused(&raw(0, &[], tensors, &infos), &[part]);
    }
    refused(b"GGML\x03\0\0\0", &["not a GGUF file"]);
    refused(b"GGUF\x01\0\0\0", &["version 1"]);
}

/// A count or length on its limit is read, so the file is refused for what comes after; one beyond is
/// refused for itself.
#[test]
fn limits_of_a_header_are_exact() {
    let number = |n: u32| n.to_le_bytes();
    let whole = raw(0, &[], 1, &info(b"t", &[1], 0, 0)).len() as u64;
    for (at, beyond, reason, part) in [
        (
            raw(1 << 12, &[], 0, &[]),
            raw((1 << 12) + 1, &[], 0, &[]),
            "occurs twice",
            "4097 keys",
        ),
        (
            raw(0, &[], 1 << 16, &[]),
            raw(0, &[], (1 << 16) + 1, &[]),
            "occurs twice",
            "65537 tensors",
        ),
        (
            raw(1, &key(&[b'k'; 256], 4, &number(0)), 0, &[]),
            raw(1, &key(&[b'k'; 257], 4, &number(0)), 0, &[]),
            "describes",
            "a key of 257 bytes",
        ),
        (
            raw(0, &[], 1, &info(&[b'n'; 64], &[1], 0, 0)),
            raw(0, &[], 1, &info(&[b'n'; 65], &[1], 0, 0)),
            "describes",
            "a name of 65 bytes",
        ),
        (
            raw(0, &[], 1, &info(b"t", &[1; 4], 0, 0)),
            raw(0, &[], 1, &info(b"t", &[1; 5], 0, 0)),
            "describes",
            "5 dimensions",
        ),
        // As large as the file, but the header is in the file too.
        (
            raw(0, &[], 1, &info(b"t", &[whole / 4], 0, 0)),
            raw(0, &[], 1, &info(b"t", &[whole / 4 + 1], 0, 0)),
            "ends within tensor \"t\"",
            "more than the file holds",
        ),
        (
            raw(1, &key(b"general.alignment", 4, &number(1 << 16)), 0, &[]),
            raw(1, &key(b"general.alignment", 4, &number(1 << 17)), 0, &[]),
            "\"general.architecture\" is missing",
            "up to 65536",
        ),
    ] {
        refused(&at, &[reason]);
        refused(&beyond, &[part]);
    }
}

/// In a file that may be large enough, the size of the header is what limits a text and a list. What
/// is promised within it is looked for, in vain; what is promised beyond it is not.
#[test]
fn a_header_has_a_largest_size() {
    // Where the text and the values of the list begin: behind the file's head, the key and its type,
    // and the length, or the list's type and length.
    let (text, list) = (24 + 9 + 4 + 8, 24 + 9 + 4 + 4 + 8);
    let open = |metadata: &[u8]| {
        let file = raw(1, metadata, 0, &[]);
        let error = open_as(&file, 1 << 40).err();
        error.expect("no such text or list").to_string()
    };
    for (excess, part) in [(0, "cannot be read"), (1, "beyond 33554432 bytes")] {
        let length = (1u64 << 25) - text + excess;
        let message = open(&key(b"k", 8, &length.to_le_bytes()));
        assert!(message.contains(part), "{message}");
        let count = (1u64 << 25) - list + excess;
        let values = [&0u32.to_le_bytes()[..], &count.to_le_bytes()].concat();
        let message = open(&key(b"k", 9, &values));
        assert!(message.contains(part), "{message}");
    }
}

/// The list of tensors may have any order. An empty tensor lies where the next begins.
#[test]
fn tensors_are_read_in_the_order_in_which_they_lie() {
    let gpt2 = key(b"general.architecture", 8, &string(b"gpt2"));
    let infos = [
        info(b"last", &[4], 0, 32),
        info(b"first", &[4], 0, 0),
        info(b"empty", &[0], 0, 0),
    ];
    let mut file = raw(1, &gpt2, 3, &infos.concat());
    let data = file.len() as u64 - 256;
    file.truncate(file.len() - 256 + 48);
    let gguf = open(&file).unwrap();
    let tensors = gguf.header.tensors.iter();
    let places: Vec<_> = tensors.map(|t| (&*t.name, t.start - data)).collect();
    assert_eq!(places, [("empty", 0), ("first", 0), ("last", 32)]);
}
