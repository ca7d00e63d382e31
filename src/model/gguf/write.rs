//! GGUF files for tests and fuzzing, by candle's writer: another's hand than the reader's.

use std::io::Cursor;

use candle_core::quantized::gguf_file;
pub use candle_core::quantized::gguf_file::Value;
pub use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::super::synthetic::byte_vocabulary;
use super::super::{Config, Slot, Weights};

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
