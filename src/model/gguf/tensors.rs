//! Names, layouts and types of a GGUF file's tensors.

use std::borrow::Cow;

use candle_core::CpuStorage;
use candle_core::quantized::GgmlDType;
use safetensors::Dtype;

use super::super::TensorError;
use super::super::shard::{decode, finite};
use super::architecture::Model;
use super::header::Info;
use crate::model::config::{HEAD, Part};

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
    /// All queries, all keys, all values, where GPT-NeoX has those of the first head, of the second, and so on.
    SideBySide { heads: u64 },
}

/// What a tensor is in a Hugging Face checkpoint.
#[derive(Debug, PartialEq)]
pub(super) struct Place {
    /// Its name; several where its rows are those of several tensors, side by side.
    pub names: Vec<String>,
    pub layout: Layout,
}

/// Outside of blocks, but for the head.
const MODEL: [(&str, Part); 3] = [
    ("token_embd", Part::Tokens),
    ("position_embd", Part::Positions),
    ("output_norm", Part::FinalNorm),
];
/// Within a block: which of these parts a model has.
const BLOCK: [(&str, &[Part]); 14] = [
    ("attn_norm", &[Part::Norm1]),
    ("attn_q", &[Part::Query]),
    ("attn_k", &[Part::Key]),
    ("attn_v", &[Part::Value]),
    ("attn_qkv", &[Part::QueryKeyValue, Part::HeadByHead]),
    ("attn_q_norm", &[Part::QueryNorm]),
    ("attn_k_norm", &[Part::KeyNorm]),
    ("attn_output", &[Part::Output]),
    ("post_attention_norm", &[Part::AttentionNorm]),
    ("ffn_norm", &[Part::Norm2]),
    ("ffn_gate", &[Part::Gate]),
    ("ffn_up", &[Part::Up, Part::GateUp]),
    ("ffn_down", &[Part::Down]),
    ("post_ffw_norm", &[Part::FeedForwardNorm]),
];
/// Of older files, side by side: one tensor for what are three in the checkpoint.
const FUSED: (&str, [Part; 3]) = ("attn_qkv", [Part::Query, Part::Key, Part::Value]);

impl Model {
    /// Where a tensor belongs. A name that is not known stays what it is: no checkpoint has a tensor of this name.
    pub fn place(&self, name: &str) -> Place {
        self.known(name).unwrap_or_else(|| Place {
            names: vec![name.to_string()],
            layout: Layout::Same,
        })
    }

    fn known(&self, name: &str) -> Option<Place> {
        let tensors = self.architecture.tensors();
        let (stem, kind) = name.rsplit_once('.')?;
        let whole = |name: &str| format!("{name}.{kind}");
        if stem == "output" {
            let (names, layout) = (vec![whole(HEAD)], Layout::Same);
            return Some(Place { names, layout });
        }
        if let Some((_, part)) = MODEL.iter().find(|(here, _)| *here == stem) {
            let (_, there) = tensors.model.iter().find(|(of, _)| of == part)?;
            let (names, layout) = (vec![whole(&tensors.in_model(there))], Layout::Same);
            return Some(Place { names, layout });
        }
        let (number, stem) = stem.strip_prefix("blk.")?.split_once('.')?;
        let index: usize = number.parse().ok()?;
        if index.to_string() != number {
            return None;
        }
        let there = |part: &Part| {
            let (_, name) = tensors.blocks.iter().find(|(of, _)| of == part)?;
            Some((*part, whole(&tensors.in_block(index, name))))
        };
        let (_, parts) = BLOCK.iter().find(|(here, _)| *here == stem)?;
        if let Some((part, name)) = parts.iter().find_map(there) {
            let (names, layout) = (vec![name], self.layout(part, kind));
            return Some(Place { names, layout });
        }
        let fused = FUSED.1.iter().filter(|_| stem == FUSED.0).map(there);
        let fused: Option<Vec<_>> = fused.collect();
        let names: Vec<_> = fused?.into_iter().map(|(_, name)| name).collect();
        let layout = Layout::Same;
        (!names.is_empty() && !self.architecture.paired).then_some(Place { names, layout })
    }

    fn layout(&self, part: Part, kind: &str) -> Layout {
        let Self {
            architecture,
            heads,
            kv_heads,
        } = *self;
        match part {
            Part::Query if architecture.paired => Layout::Paired { heads },
            Part::Key if architecture.paired => Layout::Paired { heads: kv_heads },
            Part::HeadByHead => Layout::SideBySide { heads },
            Part::Norm1 | Part::Norm2 => Layout::Same,
            _ if architecture.tensors().inputs_first && kind == "weight" => Layout::Transposed,
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
            (Self::Paired { heads }, _) => {
                let half = width(shape, heads, 2)?;
                Ok(reordered(values, shape, |row| unpaired(row, half)))
            }
            (Self::SideBySide { heads }, _) => {
                let width = width(shape, heads, 3)?;
                let all = shape[0] / 3;
                let stored = |row: usize| {
                    let (head, within) = (row / (3 * width), row % (3 * width));
                    within / width * all + head * width + within % width
                };
                Ok(reordered(values, shape, stored))
            }
            _ => Ok(values),
        }
    }
}

/// How many rows each of `parts` has in each of `heads`.
fn width(shape: &[usize], heads: u64, parts: usize) -> Result<usize, TensorError> {
    let rows = *shape.first().unwrap_or(&0);
    let all = usize::try_from(heads)
        .ok()
        .and_then(|h| h.checked_mul(parts));
    let width = all.filter(|n| rows.is_multiple_of(*n)).map(|n| rows / n);
    width.ok_or(TensorError::Heads { rows, heads })
}

/// Rows in another order: each comes from where `stored` says.
fn reordered(values: Vec<f32>, shape: &[usize], stored: impl Fn(usize) -> usize) -> Vec<f32> {
    let columns: usize = shape.iter().skip(1).product();
    let rows = (0..shape.first().copied().unwrap_or(0)).map(stored);
    rows.flat_map(|row| &values[row * columns..][..columns])
        .copied()
        .collect()
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
