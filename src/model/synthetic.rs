//! Checkpoints of any shape, made from a seed: for tests, and for benchmarks without a download.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize};
use serde_json::{Value, json};

use super::config::BufferKind;
pub use super::gguf::write as gguf;
pub use super::pickle::write as pickle;
use super::{Checkpoint, Config, Part, Slot, Tokenizer, Weights};
use crate::quant::Activation;

/// A configuration of GPT-2's kind of the given size whose feed-forward part is four times as wide; token 256 of
/// [`tokenizer`] ends a text, so `vocabulary` is at least 257.
pub fn config(layers: usize, heads: usize, vocabulary: usize, context: usize) -> Config {
    parsed(&json!({
        "model_type": "gpt2", "n_layer": layers, "n_embd": 64 * heads, "n_head": heads,
        "vocab_size": vocabulary, "n_positions": context, "eos_token_id": END.min(vocabulary - 1),
    }))
}

/// A configuration of Llama's kind: `heads` heads of `head_width`, in groups that share `kv_heads`
/// heads of keys and values, and a feed-forward part 8/3 as wide, in whole slabs.
pub fn llama_config(
    layers: usize,
    (heads, kv_heads, head_width): (usize, usize, usize),
    vocabulary: usize,
    context: usize,
) -> Config {
    let width = heads * head_width;
    parsed(&json!({
        "model_type": "llama", "num_hidden_layers": layers, "hidden_size": width, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": head_width,
        "intermediate_size": (8 * width / 3).next_multiple_of(64), "rms_norm_eps": 1e-5,
        "vocab_size": vocabulary, "max_position_embeddings": context, "eos_token_id": END.min(vocabulary - 1),
        "tie_word_embeddings": true,
    }))
}

/// What ends a text of [`tokenizer`].
const END: usize = 256;

/// A configuration that is known to be one.
fn parsed(json: &Value) -> Config {
    Config::parse(json.to_string().as_bytes()).expect("a configuration")
}

/// A `config.json` that [`Config::parse`] reads back as this configuration of model_type `gpt2` or `llama`, without
/// scalings of rotations.
///
/// Panics on other model types.
pub fn config_json(config: &Config) -> Value {
    let activation = match config.activation {
        Activation::GeluTanh => "gelu_new",
        Activation::GeluErf => "gelu",
        Activation::Silu => "silu",
        Activation::Relu => "relu",
        Activation::QuickGelu => "quick_gelu",
    };
    let ends = match &config.end_of_text[..] {
        [] => Value::Null,
        ends => ends.into(),
    };
    match config.tensors.model_type {
        "gpt2" => json!({
            "model_type": "gpt2",
            "activation_function": activation,
            "vocab_size": config.vocabulary,
            "n_positions": config.context,
            "n_embd": config.width,
            "n_layer": config.layers,
            "n_head": config.heads,
            "n_inner": config.hidden,
            "layer_norm_epsilon": config.epsilon,
            "tie_word_embeddings": config.tied,
            "eos_token_id": ends,
        }),
        "llama" => json!({
            "model_type": "llama",
            "hidden_act": activation,
            "vocab_size": config.vocabulary,
            "max_position_embeddings": config.context,
            "hidden_size": config.width,
            "intermediate_size": config.hidden,
            "num_hidden_layers": config.layers,
            "num_attention_heads": config.heads,
            "num_key_value_heads": config.kv_heads,
            "head_dim": config.head_width,
            "rms_norm_eps": config.epsilon,
            "rope_theta": config.kinds[0].rotation.as_ref().map(|rotation| rotation.frequencies.theta),
            "attention_bias": config.biases.query,
            "mlp_bias": config.biases.up,
            "tie_word_embeddings": config.tied,
            "eos_token_id": ends,
        }),
        other => panic!("{other} is written by its own program"),
    }
}

/// Weights with the statistics of GPT-2's initialization, for any model_type: matrices N(0, 0.02²), those that write
/// to the residual stream divided by √(2·layers), gains about 1, biases small. The head has a
/// matrix of its own unless `config.tied`. The same on every machine.
pub fn weights(config: &Config, seed: u64) -> Weights {
    let mut random = Random(seed);
    let mut weights = Weights::empty(config);
    weights.lm_head = (!config.tied).then(Vec::new);
    let residual = (2.0 * config.layers as f64).sqrt().recip();
    for slot in weights.slots(config) {
        let gain = slot.shape.len() == 1 && slot.name.ends_with("weight");
        let (mean, deviation) = match slot.name.as_str() {
            _ if gain => (1.0, 0.05),
            name if writes_to_stream(config, name) => (0.0, 0.02 * residual),
            name if name.ends_with("weight") => (0.0, 0.02),
            _ => (0.0, 0.01),
        };
        let count: usize = slot.shape.iter().product();
        let values = (0..count).map(|_| (mean + deviation * random.normal()) as f32);
        *slot.values = values.collect();
    }
    weights
}

/// Whether a tensor is the matrix of a branch's last projection.
fn writes_to_stream(config: &Config, name: &str) -> bool {
    let last = |part: &Part| [Part::Output, Part::Down].contains(part);
    let mut table = config.tensors.blocks.iter().filter(|(part, _)| last(part));
    table.any(|(_, own)| name.ends_with(&format!(".{own}.weight")))
}

/// A checkpoint of that shape with the weights of a seed, as if it had been read.
pub fn checkpoint(config: Config, seed: u64) -> Checkpoint {
    Checkpoint {
        name: "synthetic".into(),
        weights: weights(&config, seed),
        config,
        tokenizer: tokenizer(),
        chat_template: None,
        files: Vec::new(),
        notes: Vec::new(),
    }
}

/// Every byte as a token, in the byte-level alphabet's order, and `<|endoftext|>` as token 256.
pub fn tokenizer() -> Tokenizer {
    let vocabulary = serde_json::to_vec(&byte_vocabulary()).expect("plain data");
    Tokenizer::from_vocabulary(&vocabulary, b"").expect("the bytes are a vocabulary")
}

pub(super) fn byte_vocabulary() -> BTreeMap<String, u32> {
    let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
    let mut tokens: Vec<String> = alphabet.into_iter().map(String::from).collect();
    tokens.sort();
    tokens.push("<|endoftext|>".to_string());
    tokens.into_iter().zip(0..).collect()
}

/// How a checkpoint is laid out on disk.
#[derive(Clone, Debug)]
pub struct Layout {
    /// `F32`, `F16` or `BF16`.
    pub dtype: Dtype,
    /// One `model.safetensors`, or this many shards with an index.
    pub shards: usize,
    /// Whether names begin with `transformer.`.
    pub prefix: bool,
    /// Whether a tied model stores its head all the same.
    pub repeat_head: bool,
    /// Whether the tokenizer is `vocab.json` and `merges.txt`.
    pub split_tokenizer: bool,
}

impl Default for Layout {
    /// What is on the hub for GPT-2.
    fn default() -> Self {
        Self {
            dtype: Dtype::F32,
            shards: 1,
            prefix: false,
            repeat_head: false,
            split_tokenizer: false,
        }
    }
}

/// One tensor as a file stores it.
#[derive(Clone, Debug)]
pub struct Stored {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// The tensors of a checkpoint under `layout`, the buffers of old checkpoints included.
pub fn stored(config: &Config, weights: &Weights, layout: &Layout) -> Vec<Stored> {
    let mut weights = weights.clone();
    if layout.repeat_head {
        weights.lm_head = Some(weights.head().to_vec());
    }
    let prefix = |name: &str| match name {
        "lm_head.weight" => name.to_string(),
        _ if layout.prefix && config.tensors.bare => format!("{}{name}", config.tensors.base),
        _ => name.to_string(),
    };
    let store = |slot: Slot| Stored {
        name: prefix(&slot.name),
        dtype: layout.dtype,
        bytes: encode(layout.dtype, slot.values),
        shape: slot.shape,
    };
    let mut tensors: Vec<Stored> = weights.slots(config).into_iter().map(store).collect();
    for layer in 0..config.layers {
        let buffers = config.tensors.buffers.iter();
        tensors.extend(buffers.filter_map(|(kind, name)| {
            let (dtype, shape, bytes) = buffer(*kind, config, layer)?;
            let name = prefix(&config.tensors.in_block(layer, name));
            Some(Stored {
                name,
                dtype,
                shape,
                bytes,
            })
        }));
    }
    tensors
}

/// A buffer of old checkpoints, if the block has it.
fn buffer(kind: BufferKind, config: &Config, layer: usize) -> Option<(Dtype, Vec<usize>, Vec<u8>)> {
    let n = config.context;
    Some(match kind {
        BufferKind::Mask => {
            let mask = (0..n * n).map(|i| u8::from(i % n <= i / n));
            (Dtype::U8, vec![1, 1, n, n], mask.collect())
        }
        BufferKind::MaskedScore => (Dtype::F32, vec![], (-1e4f32).to_le_bytes().to_vec()),
        BufferKind::Frequencies => {
            let rotation = config.kind(layer).rotation.as_ref()?;
            let radians = rotation.frequencies.radians(config.rotated).into_iter();
            let values: Vec<f32> = radians.map(|x| x as f32).collect();
            (Dtype::F32, vec![values.len()], encode(Dtype::F32, &values))
        }
    })
}

/// Writes a checkpoint into `directory`, which is made if need be: `config.json`, the weights and
/// [`tokenizer`].
///
/// # Errors
/// Those of the file system.
pub fn write(
    directory: &Path,
    config: &Config,
    weights: &Weights,
    layout: &Layout,
) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(
        directory.join("config.json"),
        config_json(config).to_string(),
    )?;
    write_tensors(directory, &stored(config, weights, layout), layout.shards)?;
    if layout.split_tokenizer {
        let vocabulary = json!(byte_vocabulary()).to_string();
        fs::write(directory.join("vocab.json"), vocabulary)?;
        return fs::write(directory.join("merges.txt"), "#version: 0.2\n");
    }
    fs::write(directory.join("tokenizer.json"), tokenizer().to_json())
}

/// Writes tensors as one safetensors file, or dealt out to several with an index.
///
/// # Errors
/// Those of the file system.
pub fn write_tensors(directory: &Path, tensors: &[Stored], shards: usize) -> io::Result<()> {
    let shards = shards.max(1);
    if shards == 1 {
        return fs::write(directory.join("model.safetensors"), file(tensors));
    }
    let mut map = BTreeMap::new();
    for shard in 0..shards {
        let name = format!("model-{:05}-of-{shards:05}.safetensors", shard + 1);
        let dealt = tensors.iter().skip(shard).step_by(shards);
        let dealt: Vec<Stored> = dealt.cloned().collect();
        map.extend(dealt.iter().map(|t| (t.name.clone(), name.clone())));
        fs::write(directory.join(&name), file(&dealt))?;
    }
    let index = json!({"metadata": {}, "weight_map": map}).to_string();
    fs::write(directory.join("model.safetensors.index.json"), index)
}

/// The bytes of a safetensors file.
pub fn file(tensors: &[Stored]) -> Vec<u8> {
    let views = tensors.iter().map(|t| {
        let view = TensorView::new(t.dtype, t.shape.clone(), &t.bytes);
        (t.name.as_str(), view.expect("the bytes fill the shape"))
    });
    serialize(views, None).expect("a small header")
}

/// Values in one of the types that checkpoints are read in.
pub fn encode(dtype: Dtype, values: &[f32]) -> Vec<u8> {
    let values = values.iter();
    match dtype {
        Dtype::F32 => values.flat_map(|v| v.to_le_bytes()).collect(),
        Dtype::F16 => values
            .flat_map(|v| f16::from_f32(*v).to_le_bytes())
            .collect(),
        Dtype::BF16 => values
            .flat_map(|v| bf16::from_f32(*v).to_le_bytes())
            .collect(),
        other => panic!("weights are written as F32, F16 or BF16, not {other:?}"),
    }
}

/// SplitMix64: seeded, the same on every machine, not for secrets.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// About N(0, 1), as the sum of twelve 16-bit uniform numbers: exact arithmetic, whereas
    /// logarithms and cosines differ between platforms. |x| < 6.
    fn normal(&mut self) -> f64 {
        let sixteens = |x: u64| (0..4).map(move |i| ((x >> (16 * i)) & 0xffff) as u32);
        let sum: u32 = (0..3).flat_map(|_| sixteens(self.next())).sum();
        (f64::from(sum) + 6.0) / 65536.0 - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The statistics that the documentation promises, and that two seeds give two models.
    #[test]
    fn weights_have_the_promised_statistics() {
        let config = config(3, 2, 300, 32);
        let weights = super::weights(&config, 1);
        assert_eq!(weights, super::weights(&config, 1));
        assert_ne!(weights, super::weights(&config, 2));
        assert_eq!(weights.lm_head, None);
        let moments = |values: &[f32]| {
            let n = values.len() as f64;
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            let square = values.iter().map(|v| (f64::from(*v) - mean).powi(2));
            (mean, (square.sum::<f64>() / n).sqrt())
        };
        let block = |part| {
            let mut tensors = weights.blocks[1].iter();
            &tensors
                .find(|tensor| tensor.part == part)
                .expect("one of GPT-2's")
                .weight
        };
        for (values, deviation) in [
            (weights.tokens(), 0.02),
            (&block(Part::QueryKeyValue)[..], 0.02),
            (&block(Part::Down)[..], 0.02 / 6f64.sqrt()),
        ] {
            let (mean, found) = moments(values);
            assert!(mean.abs() < deviation / 20.0, "{mean}");
            assert!(
                (found / deviation - 1.0).abs() < 0.03,
                "{found} {deviation}"
            );
        }
        let (mean, deviation) = moments(block(Part::Norm2));
        assert!((mean - 1.0).abs() < 0.02 && deviation < 0.1);
    }
}
