//! What a manifest must say for its layers to be declared: shapes that fit the protocol and scales
//! under which the bounds of all ops hold. A manifest comes from a file, so this is where a hostile
//! one is stopped.

use thiserror::Error;

use super::sequence::MIN_TOKENS;
use super::{block, head};
use crate::quant::{Architecture, BlockScales, Manifest, NormScale, QuantError, Scales};

/// Why a manifest describes no model that can be proved.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum ManifestError {
    #[error("{what} is {value}, outside {least} to {most}: quantize a supported model")]
    Size {
        what: &'static str,
        value: usize,
        least: usize,
        most: usize,
    },
    #[error(transparent)]
    Quantization(#[from] QuantError),
    #[error("{layer}: the scales of {what} cannot be proved: quantize the model again")]
    Scale { layer: String, what: &'static str },
}

/// Checks everything that declaring a layer relies on: [`Manifest::check`], and what running a model in
/// integers does not need. With both, every rescale is by 1 to 112 bits: the ranges of the scales leave
/// no more, and fewer than 1 only where it is looked for here.
pub fn check(manifest: &Manifest) -> Result<(), ManifestError> {
    manifest.check()?;
    let (a, s) = (&manifest.architecture, &manifest.scales);
    size("the width", a.width, 1, 1 << 12)?;
    size("the width of all heads", a.query_lanes(), 1, 1 << 13)?;
    size("the feed-forward width", a.hidden, 1, 1 << 15)?;
    size("the context", a.context, MIN_TOKENS, 1 << 17)?;
    scale(s.weight > s.residual, "embedding", "the residual stream")?;
    s.blocks
        .iter()
        .enumerate()
        .try_for_each(|(i, b)| check_block(a, s, (i, b), &format!("block {i}")))?;
    scale(head::norm_shape(a, s).is_some(), "head", "the final norm")
}

fn size(what: &'static str, value: usize, least: usize, most: usize) -> Result<(), ManifestError> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(ManifestError::Size {
            what,
            value,
            least,
            most,
        })
    }
}

fn scale(holds: bool, layer: &str, what: &'static str) -> Result<(), ManifestError> {
    if holds {
        Ok(())
    } else {
        let layer = layer.to_string();
        Err(ManifestError::Scale { layer, what })
    }
}

fn check_block(
    a: &Architecture,
    s: &Scales,
    (index, b): (usize, &BlockScales),
    block: &str,
) -> Result<(), ManifestError> {
    let norms = [
        (b.norm1, 1, false, "the first norm"),
        (b.norm2, block::middle_summands(a), false, "the second norm"),
        (b.attention_norm, 1, true, "the attention's norm"),
        (b.feed_forward_norm, 1, true, "the feed-forward norm"),
    ];
    for (norm, summands, behind, what) in norms {
        let holds = |scale| block::norm_shape(a, s, scale, summands).is_some();
        scale(norm.is_none_or(holds), block, what)?;
        // What a norm behind gives is rounded to the stream, at least by a bit.
        let above = |scale: NormScale| scale.output + s.gain > s.residual;
        scale(!behind || norm.is_none_or(above), block, what)?;
    }
    let projected = s.attention_accumulator(index);
    let sides = [
        (b.q, b.query_norm, a.heads, "the queries"),
        (b.k, b.key_norm, a.kv_heads, "the keys"),
    ];
    for (fraction, norm, heads, what) in sides {
        scale(s.score_accumulator(a, index, norm) > fraction, block, what)?;
        if let (Some(norm), Some(size)) = (norm, a.head_norm_size(heads)) {
            scale(block::head_norm_shape(a, size, norm).is_some(), block, what)?;
            scale(projected > norm.input, block, what)?;
        }
    }
    let up = s.up_accumulator(index);
    scale(up > s.activation_key, block, "the activation's key")?;
    scale(
        s.down_accumulator(a, index) > s.residual,
        block,
        "the feed-forward output",
    )
}
