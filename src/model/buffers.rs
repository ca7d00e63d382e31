//! What older versions of `transformers` stored beside the weights although the configuration gives it: the causal
//! mask and the rotations' frequencies. Today's ignore it in a file; those of their time loaded it. So it is compared.

use safetensors::Dtype;

use super::config::BufferKind;
use super::shard::numbers;
use super::{Config, TensorError};
use crate::quant::Frequencies;

/// −10⁴ as bf16 rounds it: what masked scores were set to, or lower.
const MASKED: f64 = -9984.0;

/// One such tensor.
pub(super) enum Buffer<'a> {
    /// GPT-2's `h.N.attn.bias`, `[1, 1, n, n]`: 1 where a position sees another, else 0.
    Mask,
    /// GPT-2's `h.N.attn.masked_bias`, `[]`: the score of what is not seen.
    MaskedScore,
    /// Llama's `layers.N.self_attn.rotary_emb.inv_freq` or `rotary_emb.inv_freq`, a number for each pair of the rotated
    /// lanes: radians per position.
    Frequencies {
        frequencies: &'a Frequencies,
        rotated: usize,
    },
}

impl<'a> Buffer<'a> {
    /// The buffer that a name without prefix belongs to, if it is one in a model of this shape.
    pub fn named(rest: &str, config: &'a Config) -> Option<Self> {
        let frequencies = |block: usize| {
            let rotation = config.kind(block).rotation.as_ref()?;
            Some(Self::Frequencies {
                frequencies: &rotation.frequencies,
                rotated: config.rotated,
            })
        };
        if rest == "rotary_emb.inv_freq" && config.kinds.len() == 1 {
            return frequencies(0);
        }
        let (number, name) = rest.strip_prefix(config.tensors.block)?.split_once('.')?;
        let block = number.parse::<usize>().ok()?;
        if block >= config.layers || block.to_string() != number {
            return None;
        }
        let mut known = config.tensors.buffers.iter();
        let (kind, _) = known.find(|(_, known)| *known == name)?;
        match kind {
            BufferKind::Mask => Some(Self::Mask),
            BufferKind::MaskedScore => Some(Self::MaskedScore),
            BufferKind::Frequencies => frequencies(block),
        }
    }

    /// Refuses another shape than such a buffer has, before its bytes are read.
    pub fn check_shape(&self, shape: &[usize]) -> Result<(), TensorError> {
        let refuse = |expected: &[usize]| {
            Err(TensorError::Shape {
                expected: expected.to_vec(),
                found: shape.to_vec(),
            })
        };
        match (self, shape) {
            (Self::Mask, [1, 1, rows, columns]) if rows == columns => Ok(()),
            (Self::Mask, [.., rows, _]) => refuse(&[1, 1, *rows, *rows]),
            (Self::Mask, _) => refuse(&[1, 1, 1, 1]),
            (Self::MaskedScore, [] | [1]) => Ok(()),
            (Self::MaskedScore, _) => refuse(&[]),
            (Self::Frequencies { rotated, .. }, [pairs]) if pairs * 2 == *rotated => Ok(()),
            (Self::Frequencies { rotated, .. }, _) => refuse(&[rotated / 2]),
        }
    }

    /// Compares stored numbers, whose shape [`Buffer::check_shape`] has accepted, with what they must be.
    ///
    /// # Errors
    /// [`TensorError::Buffer`] with the first that is another.
    pub fn check(&self, shape: &[usize], dtype: Dtype, bytes: &[u8]) -> Result<(), TensorError> {
        let mut values = numbers(dtype, bytes)?.enumerate();
        let refuse = |(index, found), expected| {
            Err(TensorError::Buffer {
                index,
                found,
                expected,
            })
        };
        match self {
            Self::Mask => {
                let side = shape.last().copied().unwrap_or(1).max(1);
                let seen = |index: usize| f64::from(u8::from(index % side <= index / side));
                match values.find(|(index, value)| *value != seen(*index)) {
                    Some(other) => refuse(other, format!("{} (a causal mask)", seen(other.0))),
                    None => Ok(()),
                }
            }
            Self::MaskedScore => {
                match values.find(|(_, value)| value.is_nan() || *value > MASKED) {
                    Some(other) => refuse(other, "-10000 or less".to_string()),
                    None => Ok(()),
                }
            }
            Self::Frequencies {
                frequencies,
                rotated,
            } => {
                let expected = |frequencies: &Frequencies| frequencies.radians(*rotated);
                // With linear scaling it was the positions that were scaled, not this buffer.
                let unscaled = Frequencies::unscaled(frequencies.theta);
                let mut of_each = expected(frequencies).into_iter().zip(expected(&unscaled));
                let other = values.find_map(|(index, value)| {
                    let (scaled, unscaled) = of_each.next()?;
                    let fits = near(value, scaled, dtype) || near(value, unscaled, dtype);
                    (!fits).then_some(((index, value), scaled))
                });
                match other {
                    Some((other, expected)) => {
                        refuse(other, format!("{expected} by the configuration"))
                    }
                    None => Ok(()),
                }
            }
        }
    }
}

/// Whether a stored frequency is the expected one: powers in `f32` are wrong by some units of the 20th digit for the
/// bases in use, and the stored type rounds.
fn near(found: f64, expected: f64, dtype: Dtype) -> bool {
    let (relative, absolute) = match dtype {
        Dtype::F16 => (2f64.powi(-10), 2f64.powi(-24)),
        Dtype::BF16 => (2f64.powi(-7), 0.0),
        _ => (2f64.powi(-17), 0.0),
    };
    (found - expected).abs() <= relative * expected + absolute
}
