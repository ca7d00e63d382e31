//! The walks over the metadata of a GPT-2 and of a Llama, whose answers `tests/reference/gguf_walk.py` had from `transformers`. It passes
//! over much that llama.cpp, whose format this is, reads: that is read here too, or refused.

use half::f16;
use safetensors::SafeTensors;
use serde_json::{Value as Json, json};

use super::architecture::ARCHITECTURES;
use super::write::{self, GgmlDType, QTensor, Value};
use crate::model::Checkpoint;
use crate::model::config::walk_tests::{
    Answers, ask, compare_refused, json_of, reference, stored, tokens,
};

/// Names there and here.
const GPT2_NAMES: [(&str, &str); 11] = [
    ("transformer.", ""),
    ("wte", "token_embd"),
    ("wpe", "position_embd"),
    ("ln_f", "output_norm"),
    ("h.", "blk."),
    ("ln_1", "attn_norm"),
    ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"),
    ("ln_2", "ffn_norm"),
    ("mlp.c_fc", "ffn_up"),
    ("mlp.c_proj", "ffn_down"),
];
const LLAMA_NAMES: [(&str, &str); 13] = [
    ("model.embed_tokens", "token_embd"),
    ("model.norm", "output_norm"),
    ("lm_head", "output"),
    ("model.layers", "blk"),
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];
/// `transformers` reads neither of a GPT-2's file: they are its defaults, and the stored matrices are padded with zeros.
const GPT2_CONTEXT: usize = 1024;
const GPT2_HIDDEN: usize = 256;

/// A tensor of the stored GPT-2, whose matrices are `[inputs, outputs]`, in the layout of a GGUF file.
fn gpt2(name: &str, mut shape: Vec<usize>, mut values: Vec<f32>) -> (Vec<usize>, Vec<f32>) {
    let pad = |shape: &mut Vec<usize>, values: &mut Vec<f32>, rows: usize| {
        values.resize(values.len() / shape[0] * rows, 0.0);
        shape[0] = rows;
    };
    if name.contains("wpe") {
        pad(&mut shape, &mut values, GPT2_CONTEXT);
    }
    if name.ends_with("mlp.c_proj.weight") {
        pad(&mut shape, &mut values, GPT2_HIDDEN);
    }
    if shape.len() == 2 && !name.contains("wte") && !name.contains("wpe") {
        let (rows, columns) = (shape[0], shape[1]);
        let column = |c: usize| values[c..].iter().step_by(columns).copied();
        values = (0..columns).flat_map(column).collect();
        shape = vec![columns, rows];
    }
    if name.contains("mlp.c_fc") {
        pad(&mut shape, &mut values, GPT2_HIDDEN);
    }
    (shape, values)
}

/// A tensor of the stored Llama, which has one head, in the layout of a GGUF file.
fn llama(name: &str, shape: Vec<usize>, mut values: Vec<f32>) -> (Vec<usize>, Vec<f32>) {
    if name.contains("q_proj") || name.contains("k_proj") {
        let (half, width) = (shape[0] / 2, shape[1]);
        // Row 2m here is row m there, and row 2m + 1 is row m + half.
        let row = |i: usize| &values[(i / 2 + i % 2 * half) * width..][..width];
        values = (0..2 * half).flat_map(row).copied().collect();
    }
    (shape, values)
}

/// The tensors of the stored checkpoint of an architecture.
fn tensors(architecture: &str) -> Vec<(String, QTensor)> {
    type Layout = fn(&str, Vec<usize>, Vec<f32>) -> (Vec<usize>, Vec<f32>);
    let (names, layout): (&[(&str, &str)], Layout) = match architecture {
        "gpt2" => (&GPT2_NAMES, gpt2),
        _ => (&LLAMA_NAMES, llama),
    };
    let file = stored(&format!("{architecture}/model.safetensors"));
    let file = SafeTensors::deserialize(&file).expect("a file of tensors");
    let tensor = |(name, view): (String, safetensors::tensor::TensorView)| {
        let pairs = view.data().as_chunks::<2>().0.iter();
        let values = pairs.map(|b| f16::from_le_bytes(*b).to_f32()).collect();
        let (shape, values) = layout(&name, view.shape().to_vec(), values);
        let renamed = names
            .iter()
            .fold(name, |name, (there, here)| name.replace(there, here));
        (renamed, write::tensor(&shape, values, GgmlDType::F32))
    };
    file.tensors().into_iter().map(tensor).collect()
}

/// The unchanged file's metadata.
fn metadata(architecture: &str) -> Vec<(String, Value)> {
    let number = |key: &str, n| (format!("{architecture}.{key}"), Value::U32(n));
    let float = |key: &str, x| (format!("{architecture}.{key}"), Value::F32(x));
    let text = |key: &str, text: &str| (key.to_string(), Value::String(text.into()));
    let letters: Json = json_of(&stored("tokenizer.json"))["model"]["vocab"].clone();
    let mut letters: Vec<(String, u32)> = serde_json::from_value(letters)
        .map(|map: std::collections::BTreeMap<_, _>| map.into_iter().collect())
        .expect("ids of tokens");
    letters.sort_by_key(|(_, id)| *id);
    let mut metadata = vec![
        text("general.architecture", architecture),
        number("block_count", 2),
        number("embedding_length", 64),
        number("attention.head_count", 1),
        text("tokenizer.ggml.model", "gpt2"),
        text("tokenizer.ggml.pre", "llama-bpe"),
        (
            "tokenizer.ggml.tokens".into(),
            write::texts(letters.iter().map(|(letter, _)| letter)),
        ),
        ("tokenizer.ggml.merges".into(), write::texts([""; 0])),
        ("tokenizer.ggml.bos_token_id".into(), Value::U32(0)),
        ("tokenizer.ggml.eos_token_id".into(), Value::U32(127)),
    ];
    metadata.extend(match architecture {
        "gpt2" => vec![
            number("context_length", GPT2_CONTEXT as u32),
            number("feed_forward_length", GPT2_HIDDEN as u32),
            float("attention.layer_norm_epsilon", 1e-5),
        ],
        _ => vec![
            number("context_length", 64),
            number("feed_forward_length", 64),
            number("attention.head_count_kv", 1),
            float("attention.layer_norm_rms_epsilon", 1e-6),
            float("rope.freq_base", 10_000.0),
            number("rope.dimension_count", 64),
            number("vocab_size", 128),
        ],
    });
    metadata
}

/// The metadata with one value changed, or taken out.
fn changed(architecture: &str, key: &str, value: Option<Value>) -> Vec<(String, Value)> {
    let mut metadata = metadata(architecture);
    metadata.retain(|(other, _)| other != key);
    metadata.extend(value.map(|value| (key.to_string(), value)));
    metadata
}

/// What is answered to a file of this metadata. Checkpoints that are `known` are not asked again.
fn answers(
    metadata: &[(String, Value)],
    tensors: &[(String, QTensor)],
    prompts: &Answers,
    known: &mut Vec<(Checkpoint, [Answers; 2])>,
) -> Result<[Answers; 2], String> {
    let metadata: Vec<_> = metadata
        .iter()
        .map(|(key, value)| (&**key, value.clone()))
        .collect();
    let file = write::file(&metadata, tensors);
    let checkpoint = Checkpoint::from_gguf("walked", &file).map_err(|e| e.to_string())?;
    let same = |(other, _): &&(Checkpoint, [Answers; 2])| {
        other.config == checkpoint.config && other.weights == checkpoint.weights
    };
    if let Some((_, answers)) = known.iter().find(same) {
        return Ok(answers.clone());
    }
    let answers = ask(&checkpoint, prompts);
    known.push((checkpoint, answers.clone()));
    Ok(answers)
}

/// A stored value.
fn value(kind: &Json, value: &Json) -> Option<Value> {
    Some(match kind.as_str()? {
        "u32" => Value::U32(value.as_u64().expect("a number") as u32),
        "f32" => Value::F32(value.as_f64().expect("a number") as f32),
        "text" => Value::String(value.as_str().expect("a text").into()),
        "flag" => Value::Bool(value.as_bool().expect("a flag")),
        other => panic!("type {other}"),
    })
}

/// What llama.cpp makes of a key that `transformers` passes over (or, for the heads, reads without taking the rotary
/// pairs apart), as a change of the stored `config.json` whose answer the other walk knows.
fn llama_cpp(key: &str, value: &Json) -> Option<Json> {
    let linear = json!({"rope_scaling": {"rope_type": "linear", "factor": 4.0}});
    match (key, value.as_f64()) {
        ("llama.rope.scaling.factor" | "llama.rope.scale_linear", Some(4.0)) => Some(linear),
        ("llama.attention.head_count_kv", None) => Some(json!({})),
        _ => None,
    }
}

/// Walks over the cases of an architecture: `answered` of them are answered as by the reference, those that have an
/// answer there and are refused here are listed in `refused-gguf-ARCHITECTURE.json`.
fn walked(architecture: &str, answered: usize) {
    let walk = json_of(&stored("gguf.json"));
    let known = &walk[format!("{architecture} answers")];
    let (prompts, unchanged) = reference(architecture, &json!({}));
    assert_eq!(tokens(&known[0]), unchanged);
    let tensors = tensors(architecture);
    let (mut refused, mut equal, mut asked) = (Vec::new(), 0, Vec::new());
    let cases = walk[format!("{architecture} cases")].as_array();
    for case in cases.expect("cases") {
        let key = case[0].as_str().expect("a key");
        let name = format!("{key} {}", case[2]);
        let known = case[3].as_u64().map(|index| tokens(&known[index as usize]));
        let expected = match llama_cpp(key, &case[2]) {
            Some(change) => Some(reference(architecture, &change).1),
            None => known,
        };
        let metadata = changed(architecture, key, value(&case[1], &case[2]));
        match (answers(&metadata, &tensors, &prompts, &mut asked), expected) {
            (Ok(found), expected) => {
                let expected = expected.unwrap_or_else(|| panic!("{name}: transformers fails"));
                assert_eq!(found, [expected.clone(), expected], "{name}");
                equal += 1;
            }
            (Err(message), expected) => {
                assert!(message.contains(key), "{name}: {message}");
                refused.extend(expected.map(|_| name));
            }
        }
    }
    compare_refused(&format!("gguf-{architecture}"), &refused);
    assert_eq!(equal, answered);
}

#[test]
fn metadata_of_gpt2_means_what_it_means_to_transformers_or_llama_cpp() {
    walked("gpt2", 30);
}

#[test]
fn metadata_of_llama_means_what_it_means_to_transformers_or_llama_cpp() {
    walked("llama", 44);
}

#[test]
fn the_walks_cover_the_keys() {
    let walk = json_of(&stored("gguf.json"));
    for architecture in &ARCHITECTURES[..2] {
        let cases = walk[format!("{} cases", architecture.name)].as_array();
        let cases = cases.expect("cases");
        for row in architecture.tables.into_iter().flatten() {
            let key = architecture.key(row.key);
            assert!(cases.iter().any(|case| case[0] == *key), "{key}");
        }
    }
}
