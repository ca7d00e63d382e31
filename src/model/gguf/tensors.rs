//! Names, layouts and types of a GGUF file's tensors.

use std::borrow::Cow;

use candle_core::CpuStorage;
use candle_core::quantized::GgmlDType;
use safetensors::Dtype;

use super::super::TensorError;
use super::super::shard::{decode, finite};
use super::header::Info;
use super::metadata::Architecture;

/// How a tensor lies in a GGUF file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// As in a Hugging Face checkpoint.
    Same,
    /// `[outputs, inputs]`, where GPT-2's `Conv1D` has `[inputs, outputs]`.
    Transposed,
    /// Rows of each head with the two numbers of a rotary pair beside each other, where Hugging
    /// Face's have all first numbers before all second ones.
    Paired { heads: u64 },
}

const GPT2: [(&str, &str); 5] = [
    ("token_embd.weight", "wte.weight"),
    ("position_embd.weight", "wpe.weight"),
    ("output_norm.weight", "ln_f.weight"),
    ("output_norm.bias", "ln_f.bias"),
    ("output.weight", "lm_head.weight"),
];
/// Within `blk.N.` and `h.N.`.
const GPT2_BLOCK: [(&str, &str); 6] = [
    ("attn_norm", "ln_1"),
    ("attn_qkv", "attn.c_attn"),
    ("attn_output", "attn.c_proj"),
    ("ffn_norm", "ln_2"),
    ("ffn_up", "mlp.c_fc"),
    ("ffn_down", "mlp.c_proj"),
];
const LLAMA: [(&str, &str); 3] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];
/// Within `blk.N.` and `model.layers.N.`; there are no biases.
const LLAMA_BLOCK: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

impl Architecture {
    /// The name of a tensor in a Hugging Face checkpoint, and how it lies here. A name that is not
    /// known stays what it is: no checkpoint has a tensor of this name.
    pub fn place(self, name: &str) -> (String, Layout) {
        let (outer, inner, prefix) = match self {
            Self::Gpt2 => (&GPT2[..], &GPT2_BLOCK[..], "h"),
            Self::Llama { .. } => (&LLAMA[..], &LLAMA_BLOCK[..], "model.layers"),
        };
        if let Some((_, known)) = outer.iter().find(|(here, _)| *here == name) {
            return (known.to_string(), Layout::Same);
        }
        let in_block = name.strip_prefix("blk.").and_then(|rest| {
            let (layer, rest) = rest.split_once('.')?;
            let (here, kind) = rest.split_once('.')?;
            let (_, known) = inner.iter().find(|(name, _)| *name == here)?;
            Some((
                format!("{prefix}.{layer}.{known}.{kind}"),
                self.layout(here, kind),
            ))
        });
        in_block.unwrap_or_else(|| (name.to_string(), Layout::Same))
    }

    fn layout(self, name: &str, kind: &str) -> Layout {
        match (self, name, kind) {
            (Self::Gpt2, "attn_norm" | "ffn_norm", _) => Layout::Same,
            (Self::Gpt2, _, "weight") => Layout::Transposed,
            (Self::Llama { heads, .. }, "attn_q", _) => Layout::Paired { heads },
            (
                Self::Llama {
                    key_value_heads, ..
                },
                "attn_k",
                _,
            ) => Layout::Paired {
                heads: key_value_heads,
            },
            _ => Layout::Same,
        }
    }
}

impl Layout {
    /// The shape in a Hugging Face checkpoint of a tensor that has the shape `stored` here.
    pub fn shape(self, stored: &[usize]) -> Vec<usize> {
        let mut shape = stored.to_vec();
        if self == Self::Transposed {
            shape.reverse();
        }
        shape
    }

    /// The values of a tensor of `shape` as a Hugging Face checkpoint has them.
    pub fn restore(self, values: Vec<f32>, shape: &[usize]) -> Result<Vec<f32>, TensorError> {
        match (self, shape) {
            (Self::Transposed, [inputs, outputs]) => Ok((0..*inputs)
                .flat_map(|input| (0..*outputs).map(move |output| output * inputs + input))
                .map(|index| values[index])
                .collect()),
            (Self::Paired { heads }, [rows, columns]) => {
                let pairs = usize::try_from(heads).ok().and_then(|h| h.checked_mul(2));
                let half = pairs.filter(|n| rows.is_multiple_of(*n)).map(|n| rows / n);
                let half = half.ok_or(TensorError::Heads { rows: *rows, heads })?;
                Ok((0..*rows)
                    .map(|row| unpaired(row, half))
                    .flat_map(|row| &values[row * columns..][..*columns])
                    .copied()
                    .collect())
            }
            _ => Ok(values),
        }
    }
}

/// Where the row that comes to be at `row` lies among pairs, in heads of twice `half` rows.
fn unpaired(row: usize, half: usize) -> usize {
    let within = row % (2 * half);
    row - within + 2 * (within % half) + within / half
}

/// The stored bytes of a tensor as numbers, all of them finite.
pub(super) fn dequantize(info: &Info, bytes: Vec<u8>) -> Result<Vec<f32>, TensorError> {
    match info.dtype {
        GgmlDType::F32 => decode(Dtype::F32, &bytes),
        GgmlDType::F16 => decode(Dtype::F16, &bytes),
        GgmlDType::BF16 => decode(Dtype::BF16, &bytes),
        quantized => {
            let count = info.shape.iter().product();
            let blocks = quantized.from_data(Cow::Owned(bytes));
            match blocks.dequantize(count) {
                Ok(CpuStorage::F32(values)) => finite(values),
                other => unreachable!("whole blocks give f32: {:?}", other.err()),
            }
        }
    }
}
