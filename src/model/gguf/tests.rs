//! Files of every type and of both architectures, and every way in which one can be wrong.

use std::fs;
use std::path::Path;

use candle_core::Device;
use half::f16;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::super::shard::Wanted;
use super::super::synthetic::{self, Layout};
use super::super::{Checkpoint, CheckpointError, Config, Slot, Tokenizer};
use super::Gguf;
use super::write::{self, GgmlDType, QTensor, Value};

const TYPES: [GgmlDType; 13] = [
    GgmlDType::F32,
    GgmlDType::F16,
    GgmlDType::BF16,
    GgmlDType::Q4_0,
    GgmlDType::Q4_1,
    GgmlDType::Q5_0,
    GgmlDType::Q5_1,
    GgmlDType::Q8_0,
    GgmlDType::Q2K,
    GgmlDType::Q3K,
    GgmlDType::Q4K,
    GgmlDType::Q5K,
    GgmlDType::Q6K,
];

fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn number(n: u32) -> Value {
    Value::U32(n)
}

/// Numbers that are not the same anywhere.
fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.37).sin()).collect()
}

/// The metadata of a Llama with two heads of width 4 that share one of keys and values.
fn llama() -> Vec<(&'static str, Value)> {
    vec![
        ("general.architecture", text("llama")),
        ("general.name", text("small")),
        ("llama.block_count", number(1)),
        ("llama.context_length", number(32)),
        ("llama.embedding_length", number(8)),
        ("llama.feed_forward_length", number(12)),
        ("llama.attention.head_count", number(2)),
        ("llama.attention.head_count_kv", number(1)),
        ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
        ("llama.rope.freq_base", Value::F32(500_000.0)),
        ("llama.rope.dimension_count", number(4)),
        ("tokenizer.ggml.model", text("llama")),
        ("tokenizer.ggml.bos_token_id", number(1)),
        ("tokenizer.ggml.eos_token_id", number(2)),
    ]
}

fn open(file: &[u8]) -> Result<Gguf<&[u8]>, super::GgufError> {
    Gguf::open(file, file.len() as u64)
}

/// The one tensor of a file, under the name and in the shape of a Hugging Face checkpoint.
fn read_one(
    metadata: &[(&str, Value)],
    stored: (&str, QTensor),
    name: &str,
    shape: &[usize],
) -> Vec<f32> {
    let file = write::file(metadata, &[stored]);
    let mut values = Vec::new();
    let mut wanted = Wanted::new(vec![Slot {
        name: name.to_string(),
        shape: shape.to_vec(),
        values: &mut values,
    }]);
    let digest = open(&file).unwrap().read(&mut wanted).unwrap();
    assert_eq!(digest[..], Sha256::digest(&file)[..]);
    assert_eq!(wanted.missing().count(), 0);
    values
}

/// Whatever the type, in the order of the rows and with every byte in its place.
#[test]
fn every_type_is_dequantized_as_candle_does() {
    for dtype in TYPES {
        let make = || write::tensor(&[3, 256], wave(768), dtype);
        let expected = make().dequantize(&Device::Cpu).unwrap();
        let expected: Vec<f32> = expected.flatten_all().unwrap().to_vec1().unwrap();
        let found = read_one(
            &llama(),
            ("token_embd.weight", make()),
            "model.embed_tokens.weight",
            &[3, 256],
        );
        assert_eq!(found, expected, "{dtype:?}");
    }
}

/// By the format's own words: a scale (and a minimum) for 32 numbers, of which the second half lies in
/// the high halves of the bytes.
#[test]
fn blocks_of_32_mean_what_the_format_says() {
    let [scale, least] = [0.5, -3.0].map(|x| f16::from_f32(x).to_le_bytes());
    let bytes: Vec<u8> = (0..16).map(|i| i | (15 - i) << 4).collect();
    let nibbles = || (0..16).chain((0..16).rev()).map(|i| i as f32);
    let cases: [(GgmlDType, Vec<u8>, Vec<f32>); 3] = [
        (
            GgmlDType::Q4_0,
            [&scale[..], &bytes].concat(),
            nibbles().map(|q| 0.5 * (q - 8.0)).collect(),
        ),
        (
            GgmlDType::Q4_1,
            [&scale[..], &least, &bytes].concat(),
            nibbles().map(|q| 0.5 * q - 3.0).collect(),
        ),
        (
            GgmlDType::Q8_0,
            [
                &scale[..],
                &(0..32)
                    .map(|i| i - 16)
                    .map(|i: i8| i as u8)
                    .collect::<Vec<_>>(),
            ]
            .concat(),
            (-16..16).map(|q| 0.5 * q as f32).collect(),
        ),
    ];
    for (dtype, block, expected) in cases {
        let info = super::header::Info {
            name: String::new(),
            shape: vec![1, 32],
            dtype,
            start: 0,
            bytes: block.len(),
        };
        let found = super::tensors::dequantize(&info, block).unwrap();
        assert_eq!(found, expected, "{dtype:?}");
    }
}

/// A head's rows (a₀, b₀, a₁, b₁) become (a₀, a₁, b₀, b₁); other matrices stay as they are.
#[test]
fn rotary_pairs_are_taken_apart() {
    let numbered = |rows: usize| (0..rows * 8).map(|i| (i / 8) as f32).collect();
    for (stored, name, rows) in [
        ("attn_q", "q_proj", vec![0, 2, 1, 3, 4, 6, 5, 7]),
        ("attn_k", "k_proj", vec![0, 2, 1, 3]),
        ("attn_v", "v_proj", vec![0, 1, 2, 3]),
        ("attn_output", "o_proj", vec![0, 1, 2, 3, 4, 5, 6, 7]),
    ] {
        let tensor = write::tensor(&[rows.len(), 8], numbered(rows.len()), GgmlDType::F32);
        let found = read_one(
            &llama(),
            (&format!("blk.0.{stored}.weight"), tensor),
            &format!("model.layers.0.self_attn.{name}.weight"),
            &[rows.len(), 8],
        );
        let expected: Vec<f32> = rows.iter().flat_map(|row| [*row as f32; 8]).collect();
        assert_eq!(found, expected, "{stored}");
    }
}

/// The number of heads comes from the metadata and the rows from the tensor: nothing makes them fit.
#[test]
fn rows_that_are_not_whole_heads_are_refused() {
    for (heads, rows) in [(0, 3), (3, 8), (5, 3), (1, 1), (u32::MAX, 1), (8, 8)] {
        let mut metadata = llama();
        metadata.retain(|(key, _)| !key.contains("head_count"));
        metadata.push(("llama.attention.head_count", number(heads)));
        let tensor = write::tensor(&[rows, 2], wave(2 * rows), GgmlDType::F32);
        let file = write::file(&metadata, &[("blk.0.attn_q.weight", tensor)]);
        let mut values = Vec::new();
        let mut wanted = Wanted::new(vec![Slot {
            name: "model.layers.0.self_attn.q_proj.weight".into(),
            shape: vec![rows, 2],
            values: &mut values,
        }]);
        let error = open(&file).unwrap().read(&mut wanted).unwrap_err();
        assert!(error.to_string().contains("heads"), "{error}");
    }
}

#[test]
fn a_llamas_metadata_is_its_config() {
    let embedding = || write::tensor(&[11, 8], wave(88), GgmlDType::F32);
    let config = |metadata: &[(&str, Value)], head: bool| -> Json {
        let mut tensors = vec![("token_embd.weight", embedding())];
        tensors.extend(head.then(|| ("output.weight", embedding())));
        let file = write::file(metadata, &tensors);
        serde_json::from_slice(&open(&file).unwrap().config().unwrap()).unwrap()
    };
    let mut expected = json!({
        "model_type": "llama", "hidden_act": "silu", "hidden_size": 8, "intermediate_size": 12,
        "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
        "max_position_embeddings": 32, "rms_norm_eps": 1e-5, "rope_theta": 500_000.0,
        "rope_scaling": null, "vocab_size": 11, "tie_word_embeddings": true,
        "attention_bias": false, "mlp_bias": false, "bos_token_id": 1, "eos_token_id": 2,
    });
    assert_eq!(config(&llama(), false), expected);
    let mut metadata = llama();
    metadata.push(("llama.rope.scaling.type", text("linear")));
    metadata.push(("llama.rope.scaling.factor", Value::F32(2.0)));
    metadata.push(("llama.vocab_size", number(12)));
    expected["tie_word_embeddings"] = false.into();
    expected["vocab_size"] = 12.into();
    expected["rope_scaling"] = json!({"rope_type": "linear", "factor": 2.0});
    assert_eq!(config(&metadata, true), expected);
}

fn tiny() -> Config {
    synthetic::config(2, 1, 260, 8)
}

/// The same checkpoint by both formats, with and without a head of its own.
#[test]
fn a_gpt2_opens_as_from_safetensors() {
    for tied in [true, false] {
        let config = Config { tied, ..tiny() };
        let weights = synthetic::gpt2(&config, 7);
        let directory = tempfile::tempdir().unwrap();
        synthetic::write(directory.path(), &config, &weights, &Layout::default()).unwrap();
        let expected = Checkpoint::open(directory.path()).unwrap();
        let path = directory.path().join("tiny.GGUF");
        let file = write::gpt2(&config, &weights, GgmlDType::F32);
        fs::write(&path, &file).unwrap();
        let found = Checkpoint::open(&path).unwrap();
        assert_eq!(found.config, expected.config);
        assert!(found.weights == expected.weights);
        assert_eq!(found.tokenizer.digest(), expected.tokenizer.digest());
        assert_eq!(found.name, "tiny");
        let digest: [u8; 32] = Sha256::digest(&file).into();
        assert_eq!(found.files, [("tiny.GGUF".to_string(), digest)]);
    }
}

/// Quantization is all that is lost: each weight is near the original's.
#[test]
fn a_quantized_gpt2_is_near_the_original() {
    let weights = synthetic::gpt2(&tiny(), 7);
    let file = write::gpt2(&tiny(), &weights, GgmlDType::Q8_0);
    let mut found = Checkpoint::from_gguf("tiny", &file).unwrap().weights;
    let mut weights = weights;
    for (slot, original) in found.slots(&tiny()).iter().zip(weights.slots(&tiny())) {
        let largest = original.values.iter().fold(0f32, |m, x| m.max(x.abs()));
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= largest / 250.0;
        assert!(
            slot.values.iter().zip(&*original.values).all(near),
            "{}",
            slot.name
        );
    }
}

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
        ("general.quantization_version", number(1), "is 1"),
        ("split.count", number(2), "one file"),
        ("gpt2.attention.scale", Value::F32(2.0), "is 2"),
        ("gpt2.block_count", text("two"), "two"),
        ("gpt2.block_count", Value::I32(-1), "-1"),
        ("tokenizer.ggml.model", text("bert"), "bert"),
        ("tokenizer.ggml.pre", text("qwen2"), "qwen2"),
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
        "tokenizer.ggml.model",
        "tokenizer.ggml.tokens",
    ] {
        let file = with_metadata(|metadata| metadata.retain(|(k, _)| *k != key));
        refused(&file, &[key, "missing"]);
    }
    // The rest of a configuration is missed where every configuration is read.
    let file = with_metadata(|metadata| metadata.retain(|(k, _)| *k != "gpt2.block_count"));
    refused(&file, &["n_layer"]);
    let scaled = write::tensor(&[2], vec![1.0, 8.0], GgmlDType::F32);
    let file = write::file(&llama(), &[("rope_freqs.weight", scaled)]);
    let error = open(&file).unwrap().config().unwrap_err().to_string();
    assert!(error.contains("rope_freqs.weight"), "{error}");
}

#[test]
fn tensors_that_do_not_belong_are_refused_by_name() {
    let weights = synthetic::gpt2(&tiny(), 7);
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

/// As in `tokenizer.json` of SmolLM, digits are single whatever is merged; and as in Llama 3's, a word
/// that is a token is one without merges.
#[test]
fn byte_level_tokenizers_split_as_their_names_say() {
    let tokenizer = |pre: &str| {
        let mut tokens: Vec<_> = synthetic::byte_vocabulary().into_iter().collect();
        tokens.sort_by_key(|(_, id)| *id);
        let tokens = tokens.into_iter().map(|(token, _)| token);
        let tokens: Vec<_> = tokens
            .chain(["12", "Ġ1", "whole", "'S"].map(String::from))
            .collect();
        let mut metadata = llama();
        metadata.retain(|(key, _)| !key.starts_with("tokenizer"));
        metadata.push(("tokenizer.ggml.model", text("gpt2")));
        metadata.push(("tokenizer.ggml.pre", text(pre)));
        metadata.push(("tokenizer.ggml.tokens", write::texts(tokens)));
        metadata.push(("tokenizer.ggml.merges", write::texts(["Ġ 1", "1 2", "' S"])));
        let file = write::file(
            &metadata,
            &[(
                "output_norm.weight",
                write::tensor(&[1], vec![1.0], GgmlDType::F32),
            )],
        );
        let json = open(&file).unwrap().tokenizer().unwrap();
        Tokenizer::from_json(&json).unwrap()
    };
    let [one, two, space] = ["1", "2", "Ġ"].map(|c| synthetic::byte_vocabulary()[c]);
    let (twelve, space_one, whole, possessive) = (257, 258, 259, 260);
    for (pre, text, expected) in [
        ("gpt-2", "12 12", vec![twelve, space_one, two]),
        ("smollm", "12 12", vec![one, two, space, one, two]),
        ("llama-bpe", "12 12", vec![twelve, space, twelve]),
        ("llama-bpe", "whole'S", vec![whole, possessive]),
    ] {
        let tokenizer = tokenizer(pre);
        assert_eq!(tokenizer.encode(text).unwrap(), expected, "{pre}: {text}");
        for text in ["It's 2024:  two\n\n\tlines — 東京 🦀.", " ", ""] {
            let tokens = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&tokens).unwrap(), text, "{pre}");
        }
    }
    assert_eq!(tokenizer("smollm").encode("whole").unwrap().len(), 5);
}

/// SentencePiece by its scores, with a space before the text, bytes for what has no token, and
/// control tokens that are met in a text but are no parts of words.
#[test]
fn sentence_piece_merges_by_score() {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    let pieces = ["▁", "a", "b", "c", "bc", "ab", "abc", "▁a"];
    tokens.extend(pieces.map(String::from));
    let types = (0..tokens.len()).map(|id| match id {
        0 => 2,
        1 | 2 => 3,
        3..259 => 6,
        _ => 1,
    });
    let types = types.map(Value::I32).collect();
    let scores = |id: usize| Value::F32(if id < 263 { 0.0 } else { 262.0 - id as f32 });
    let scores = (0..tokens.len()).map(scores).collect();
    let make = |prefix: bool| {
        let mut metadata = llama();
        metadata.push(("tokenizer.ggml.tokens", write::texts(&tokens)));
        metadata.push((
            "tokenizer.ggml.token_type",
            Value::Array(Clone::clone(&types)),
        ));
        metadata.push(("tokenizer.ggml.scores", Value::Array(Clone::clone(&scores))));
        metadata.push(("tokenizer.ggml.add_space_prefix", Value::Bool(prefix)));
        let file = write::file(
            &metadata,
            &[(
                "output_norm.weight",
                write::tensor(&[1], vec![1.0], GgmlDType::F32),
            )],
        );
        let json = open(&file).unwrap().tokenizer().unwrap();
        Tokenizer::from_json(&json).unwrap()
    };
    let id = |token: &str| tokens.iter().position(|t| t == token).unwrap() as u32;
    let ids = |tokens: &[&str]| tokens.iter().map(|t| id(t)).collect::<Vec<_>>();
    let tokenizer = make(true);
    // Each of bc, ab, abc and ▁a scores above the next: whose turn it is decides who gets the a.
    assert_eq!(tokenizer.encode("abc").unwrap(), ids(&["▁", "abc"]));
    assert_eq!(
        tokenizer.encode("ac ab").unwrap(),
        ids(&["▁a", "c", "▁", "ab"])
    );
    assert_eq!(tokenizer.encode("<s>a").unwrap(), ids(&["<s>", "▁a"]));
    assert_eq!(
        tokenizer.encode("é").unwrap(),
        ids(&["▁", "<0xC3>", "<0xA9>"])
    );
    assert_eq!(make(false).encode("abc").unwrap(), ids(&["abc"]));
    for tokenizer in [tokenizer, make(false)] {
        for text in ["a cab", "  two\n\tlines — 東京 🦀", "ab ", ""] {
            let tokens = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
        }
    }
}

/// A published model: its configuration and tensors as its repository has them, and tokens as its own
/// tokenizer gives them.
#[test]
#[ignore = "needs what models/smollm2/fetch downloads"]
fn smollm2_is_read_completely() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let file = fs::read(root.join("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap();
    let gguf = open(&file).unwrap();
    let config: Json = serde_json::from_slice(&gguf.config().unwrap()).unwrap();
    let expected = json!({
        "model_type": "llama", "hidden_act": "silu", "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
        "head_dim": 64, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5,
        "rope_theta": 100_000.0, "rope_scaling": null, "vocab_size": 49152,
        "tie_word_embeddings": true, "attention_bias": false, "mlp_bias": false,
        "bos_token_id": 1, "eos_token_id": 2,
    });
    assert_eq!(config, expected);

    let tokenizer = Tokenizer::from_json(&gguf.tokenizer().unwrap()).unwrap();
    let encode = |text: &str| tokenizer.encode(text).unwrap();
    assert_eq!(
        encode("The capital of France is"),
        [504, 3575, 282, 4649, 314]
    );
    let chat =
        "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n";
    let published = [
        1, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 47, 2, 198, 1, 520, 9531, 198,
    ];
    assert_eq!(encode(chat), published);
    let page = fs::read_to_string(root.join("tiny-gpt2/heldout.txt")).unwrap();
    assert_eq!(tokenizer.decode(&encode(&page)).unwrap(), page);

    let mut tensors = smollm2_shapes().map(|(name, shape)| (name, shape, Vec::new()));
    let mut tensors: Vec<_> = tensors.by_ref().collect();
    assert_eq!(tensors.len(), gguf.header.tensors.len());
    let slots = tensors.iter_mut().map(|(name, shape, values)| Slot {
        name: name.clone(),
        shape: shape.clone(),
        values,
    });
    let mut wanted = Wanted::new(slots.collect());
    gguf.read(&mut wanted).unwrap();
    assert_eq!(wanted.missing().count(), 0);
    for (name, shape, values) in &tensors {
        assert_eq!(values.len(), shape.iter().product::<usize>(), "{name}");
    }
    assert!(matches!(
        Checkpoint::from_gguf("cut", &file[..file.len() - 1]),
        Err(CheckpointError::Gguf { .. })
    ));
}

/// The tensors of SmolLM2-135M's repository.
fn smollm2_shapes() -> impl Iterator<Item = (String, Vec<usize>)> {
    let block = |layer| {
        [
            ("input_layernorm", vec![576]),
            ("self_attn.q_proj", vec![576, 576]),
            ("self_attn.k_proj", vec![192, 576]),
            ("self_attn.v_proj", vec![192, 576]),
            ("self_attn.o_proj", vec![576, 576]),
            ("post_attention_layernorm", vec![576]),
            ("mlp.gate_proj", vec![1536, 576]),
            ("mlp.up_proj", vec![1536, 576]),
            ("mlp.down_proj", vec![576, 1536]),
        ]
        .map(|(name, shape)| (format!("model.layers.{layer}.{name}.weight"), shape))
    };
    let outer = [
        ("model.embed_tokens.weight".to_string(), vec![49152, 576]),
        ("model.norm.weight".to_string(), vec![576]),
    ];
    (0..30).flat_map(block).chain(outer)
}
