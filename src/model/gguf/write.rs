//! GGUF files for tests and fuzzing, by candle's writer: another's hand than the reader's.

use std::io::Cursor;

use candle_core::quantized::gguf_file;
pub use candle_core::quantized::gguf_file::Value;
pub use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::super::synthetic::byte_vocabulary;
use super::super::{Config, Slot, Weights};

/// A key of the metadata and its value.
pub type Entry = (&'static str, Value);

/// The bytes of a file.
pub fn file(metadata: &[(&str, Value)], tensors: &[(impl AsRef<str>, QTensor)]) -> Vec<u8> {
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors: Vec<_> = tensors.iter().map(|(name, t)| (name.as_ref(), t)).collect();
    let mut file = Cursor::new(Vec::new());
    gguf_file::write(&mut file, &metadata, &tensors).expect("memory takes any bytes");
    file.into_inner()
}

/// Values as `dtype`, whose blocks divide the rows.
pub fn tensor(shape: &[usize], values: Vec<f32>, dtype: GgmlDType) -> QTensor {
    let tensor = Tensor::from_vec(values, shape, &Device::Cpu).expect("the values fill the shape");
    QTensor::quantize(&tensor, dtype).expect("whole blocks")
}

pub fn texts<T: ToString>(texts: impl IntoIterator<Item = T>) -> Value {
    let texts = texts.into_iter();
    Value::Array(texts.map(|t| Value::String(t.to_string())).collect())
}

/// A GPT-2 model as llama.cpp's converter writes it, with the bytes as tokens (as many as the
/// vocabulary has room for); matrices as `dtype`, norms and biases as F32.
pub fn gpt2(config: &Config, weights: &Weights, dtype: GgmlDType) -> Vec<u8> {
    let mut weights = weights.clone();
    let slots = weights.slots(config).into_iter();
    let tensors = slots.map(|slot| (gpt2_name(&slot.name), gpt2_tensor(&slot, dtype)));
    file(&gpt2_metadata(config), &tensors.collect::<Vec<_>>())
}

/// The metadata of [`gpt2`].
pub fn gpt2_metadata(config: &Config) -> Vec<(&'static str, Value)> {
    let number = |n: usize| Value::U32(n as u32);
    let mut tokens: Vec<_> = byte_vocabulary().into_iter().collect();
    tokens.sort_by_key(|(_, id)| *id);
    tokens.truncate(config.vocabulary);
    let control = |token: &str| Value::I32(if token == "<|endoftext|>" { 3 } else { 1 });
    let types = tokens.iter().map(|(token, _)| control(token)).collect();
    vec![
        ("general.architecture", Value::String("gpt2".into())),
        ("gpt2.block_count", number(config.layers)),
        ("gpt2.context_length", number(config.context)),
        ("gpt2.vocab_size", number(config.vocabulary)),
        ("gpt2.embedding_length", number(config.width)),
        ("gpt2.feed_forward_length", number(config.hidden)),
        ("gpt2.attention.head_count", number(config.heads)),
        (
            "gpt2.attention.layer_norm_epsilon",
            Value::F32(config.epsilon as f32),
        ),
        ("tokenizer.ggml.model", Value::String("gpt2".into())),
        ("tokenizer.ggml.pre", Value::String("gpt-2".into())),
        (
            "tokenizer.ggml.tokens",
            texts(tokens.iter().map(|(token, _)| token)),
        ),
        ("tokenizer.ggml.token_type", Value::Array(types)),
        ("tokenizer.ggml.merges", texts([""; 0])),
        (
            "tokenizer.ggml.eos_token_id",
            Value::U32(config.end_of_text[0]),
        ),
    ]
}

/// A Llama as llama.cpp's converter writes it, with tokens as [`gpt2`]: metadata and tensors, matrices as F16. Where
/// there are factors of rotary frequencies, they are a tensor.
pub fn llama(
    config: &Config,
    weights: &Weights,
    factors: Option<&[f32]>,
) -> (Vec<Entry>, Vec<(String, QTensor)>) {
    let mut weights = weights.clone();
    let slots = weights.slots(config).into_iter();
    let mut tensors: Vec<_> = slots.map(|slot| llama_tensor(&slot, config)).collect();
    tensors.extend(factors.map(|factors| {
        let values = tensor(&[factors.len()], factors.to_vec(), GgmlDType::F32);
        ("rope_freqs.weight".to_string(), values)
    }));
    let number = |n: usize| Value::U32(n as u32);
    let mut metadata = gpt2_metadata(config);
    metadata.retain(|(key, _)| key.starts_with("tokenizer."));
    metadata.extend([
        ("general.architecture", Value::String("llama".into())),
        ("llama.block_count", number(config.layers)),
        ("llama.context_length", number(config.context)),
        ("llama.vocab_size", number(config.vocabulary)),
        ("llama.embedding_length", number(config.width)),
        ("llama.feed_forward_length", number(config.hidden)),
        ("llama.attention.head_count", number(config.heads)),
        ("llama.attention.head_count_kv", number(config.kv_heads)),
        ("llama.rope.dimension_count", number(config.head_width)),
        (
            "llama.attention.layer_norm_rms_epsilon",
            Value::F32(config.epsilon as f32),
        ),
    ]);
    if let Some(rotation) = &config.kind(0).rotation {
        let theta = Value::F32(rotation.frequencies.theta as f32);
        metadata.push(("llama.rope.freq_base", theta));
    }
    (metadata, tensors)
}

fn llama_tensor(slot: &Slot, config: &Config) -> (String, QTensor) {
    let name = match slot.name.as_str() {
        "model.embed_tokens.weight" => "token_embd.weight".to_string(),
        "model.norm.weight" => "output_norm.weight".to_string(),
        "lm_head.weight" => "output.weight".to_string(),
        name => [
            ("model.layers.", "blk."),
            ("input_layernorm", "attn_norm"),
            ("post_attention_layernorm", "ffn_norm"),
            ("self_attn.q_proj", "attn_q"),
            ("self_attn.k_proj", "attn_k"),
            ("self_attn.v_proj", "attn_v"),
            ("self_attn.o_proj", "attn_output"),
            ("mlp.gate_proj", "ffn_gate"),
            ("mlp.up_proj", "ffn_up"),
            ("mlp.down_proj", "ffn_down"),
        ]
        .iter()
        .fold(name.to_string(), |name, (from, to)| name.replace(from, to)),
    };
    let half = config.head_width / 2;
    let values = match slot.shape[..] {
        // The rows of a head in pairs: first, second, first, second.
        [rows, columns] if name.contains("attn_q") || name.contains("attn_k") => (0..rows)
            .map(|row| row - row % (2 * half) + row % (2 * half) / 2 + row % 2 * half)
            .flat_map(|row| &slot.values[row * columns..][..columns])
            .copied()
            .collect(),
        _ => slot.values.clone(),
    };
    let dtype = match slot.shape.len() {
        2 => GgmlDType::F16,
        _ => GgmlDType::F32,
    };
    (name, tensor(&slot.shape, values, dtype))
}

fn gpt2_name(name: &str) -> String {
    let name = match name {
        "wte.weight" => return "token_embd.weight".into(),
        "wpe.weight" => return "position_embd.weight".into(),
        "lm_head.weight" => return "output.weight".into(),
        name => name.replace("ln_f.", "output_norm."),
    };
    [
        ("h.", "blk."),
        ("ln_1", "attn_norm"),
        ("ln_2", "ffn_norm"),
        ("attn.c_attn", "attn_qkv"),
        ("attn.c_proj", "attn_output"),
        ("mlp.c_fc", "ffn_up"),
        ("mlp.c_proj", "ffn_down"),
    ]
    .iter()
    .fold(name, |name, (from, to)| name.replacen(from, to, 1))
}

fn gpt2_tensor(slot: &Slot, dtype: GgmlDType) -> QTensor {
    let values = slot.values.clone();
    match slot.shape[..] {
        [inputs, outputs] if slot.name.starts_with("h.") => {
            let column = |output| (0..inputs).map(move |input| input * outputs + output);
            let transposed = (0..outputs).flat_map(column).map(|i| values[i]);
            tensor(&[outputs, inputs], transposed.collect(), dtype)
        }
        [_, _] => tensor(&slot.shape, values, dtype),
        _ => tensor(&slot.shape, values, GgmlDType::F32),
    }
}
