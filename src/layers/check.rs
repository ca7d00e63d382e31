//! What a manifest must say for its layers to be declared: shapes that fit the protocol and scales
//! under which the bounds of all ops hold. A manifest comes from a file, so this is where a hostile
//! one is stopped.

use thiserror::Error;

use super::sequence::MIN_TOKENS;
use super::{block, head};
use crate::quant::{Architecture, BlockScales, Manifest, QuantError, Scales};

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
    size("the feed-forward width", a.hidden, 1, 1 << 15)?;
    size("the context", a.context, MIN_TOKENS, 1 << 17)?;
    scale(s.weight > s.residual, "embedding", "the residual stream")?;
    s.blocks
        .iter()
        .enumerate()
        .try_for_each(|(i, b)| check_block(a, s, b, &format!("block {i}")))?;
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
    b: &BlockScales,
    block: &str,
) -> Result<(), ManifestError> {
    let [norm1, norm2] = [(b.norm1, 1), (b.norm2, 2)]
        .map(|(norm, summands)| block::norm_shape(a, s, norm, summands).is_some());
    scale(norm1, block, "the first norm")?;
    scale(norm2, block, "the second norm")?;
    let projected = b.norm1.output + s.weight + a.rotation();
    scale(projected > b.q, block, "the queries")?;
    scale(projected > b.k, block, "the keys")?;
    let up = b.norm2.output + s.weight;
    scale(up > s.activation_key, block, "the activation's key")
}
