//! Tensors of every type, and checkpoints of both architectures.

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

pub(super) fn text(text: &str) -> Value {
    Value::String(text.into())
}

pub(super) fn number(n: u32) -> Value {
    Value::U32(n)
}

/// Numbers that are not the same anywhere.
pub(super) fn wave(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.37).sin()).collect()
}

/// The metadata of a Llama with two heads of width 4 that share one of keys and values.
pub(super) fn llama() -> Vec<(&'static str, Value)> {
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

pub(super) fn open(file: &[u8]) -> Result<Gguf<&[u8]>, super::GgufError> {
    Gguf::open(file, file.len() as u64)
}

/// A tensor of a file, the only one that is wanted, under the name and in the shape of a Hugging Face
/// checkpoint.
fn read_one(
    metadata: &[(&str, Value)],
    stored: &[(&str, QTensor)],
    name: &str,
    shape: &[usize],
) -> Vec<f32> {
    let file = write::file(metadata, stored);
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
            &[("token_embd.weight", make())],
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
            &[(&format!("blk.0.{stored}.weight"), tensor)],
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

/// A buffer of an old checkpoint is passed over with all its bytes, so the next tensor is its own.
#[test]
fn buffers_are_passed_over() {
    let buffer = write::tensor(&[8], vec![9.0; 8], GgmlDType::F32);
    let norm = write::tensor(&[8], wave(8), GgmlDType::F32);
    let name = "model.layers.0.self_attn.rotary_emb.inv_freq";
    let stored = [(name, buffer), ("output_norm.weight", norm)];
    let values = read_one(&llama(), &stored, "model.norm.weight", &[8]);
    assert_eq!(values, wave(8));
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
        "attention_bias": false, "mlp_bias": false, "bos_token_id": 1, "eos_token_id": [2],
    });
    assert_eq!(config(&llama(), false), expected);
    let mut metadata = llama();
    metadata.push(("llama.rope.scaling.type", text("linear")));
    metadata.push(("llama.rope.scaling.factor", Value::F32(2.0)));
    metadata.push(("llama.vocab_size", number(12)));
    expected["tie_word_embeddings"] = false.into();
    expected["vocab_size"] = 12.into();
    expected["rope_scaling"] = json!({"rope_type": "linear", "factor": 2.0});
    metadata.push(("tokenizer.ggml.eot_token_id", number(9)));
    metadata.push(("tokenizer.ggml.eom_token_id", number(10)));
    expected["eos_token_id"] = json!([2, 9, 10]);
    assert_eq!(config(&metadata, true), expected);
}

pub(super) fn tiny() -> Config {
    synthetic::config(2, 1, 260, 8)
}

/// The same checkpoint by both formats, with and without a head of its own.
#[test]
fn a_gpt2_opens_as_from_safetensors() {
    for tied in [true, false] {
        let config = Config { tied, ..tiny() };
        let weights = synthetic::weights(&config, 7);
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
    let weights = synthetic::weights(&tiny(), 7);
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
        "bos_token_id": 1, "eos_token_id": [2],
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
