//! What a manifest must say for its layers to be declared: shapes that fit the protocol and scales
//! under which the bounds of all ops hold. A manifest comes from a file, so this is where a hostile
//! one is stopped.

use thiserror::Error;

use super::sequence::MIN_TOKENS;
use super::{block, head};
use crate::ops::{LANES, Rescale};
use crate::quant::{Architecture, BlockScales, Manifest, Scales};

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
    #[error("{what} is {value}, not a multiple of {LANES}: quantize a model of head width {LANES}")]
    NotSlabs { what: &'static str, value: usize },
    #[error(transparent)]
    Architecture(#[from] crate::quant::QuantError),
    #[error("{blocks} blocks have scales, but there are {layers}: quantize the model again")]
    Blocks { blocks: usize, layers: usize },
    #[error("{layer}: the scales of {what} cannot be proved: quantize the model again")]
    Scale { layer: String, what: &'static str },
}

/// Checks everything that declaring a layer relies on.
pub fn check(manifest: &Manifest) -> Result<(), ManifestError> {
    let (a, s) = (&manifest.architecture, &manifest.scales);
    check_shape(a)?;
    if s.blocks.len() != a.layers {
        return Err(ManifestError::Blocks {
            blocks: s.blocks.len(),
            layers: a.layers,
        });
    }
    check_scales(a, s)?;
    s.blocks
        .iter()
        .enumerate()
        .try_for_each(|(i, b)| check_block(a, s, b, i))
}

fn check_shape(a: &Architecture) -> Result<(), ManifestError> {
    let size = |what, value: usize, least, most| {
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
    };
    size("the number of blocks", a.layers, 1, 1 << 10)?;
    size("the width", a.width, LANES, 1 << 12)?;
    size("the feed-forward width", a.hidden, LANES, 1 << 15)?;
    size("the vocabulary", a.vocabulary, 1, 1 << 20)?;
    size("the context", a.context, MIN_TOKENS, 1 << 17)?;
    size(
        "the end-of-text token",
        a.end_of_text as usize,
        0,
        a.vocabulary - 1,
    )?;
    for (what, value) in [("the width", a.width), ("the feed-forward width", a.hidden)] {
        if !value.is_multiple_of(LANES) {
            return Err(ManifestError::NotSlabs { what, value });
        }
    }
    Ok(a.check()?)
}

/// The scales that all layers share.
fn check_scales(a: &Architecture, s: &Scales) -> Result<(), ManifestError> {
    let context_bits = a.context.next_power_of_two().trailing_zeros();
    let require = |holds: bool, layer: &str, what| {
        if holds {
            Ok(())
        } else {
            Err(ManifestError::Scale {
                layer: layer.into(),
                what,
            })
        }
    };
    // Sums of fractional bits below are sums of small numbers.
    let small = [
        s.residual,
        s.weight,
        s.output_bias,
        s.exp,
        s.inverse,
        s.activation_key,
        s.activation_value,
        s.final_gain,
    ];
    require(small.iter().all(|f| *f <= 80), "model", "a tensor")?;
    let shift = |from: u32, to: u32| from > to && from - to <= Rescale::MAX_SHIFT;
    require(
        shift(s.weight, s.residual),
        "embedding",
        "the residual stream",
    )?;
    require(
        (1..=30).contains(&s.exp) && s.exp + context_bits <= 40,
        "model",
        "the exp table",
    )?;
    require(
        s.inverse >= s.exp + context_bits && s.inverse <= 64,
        "model",
        "the attention weights' inverse",
    )?;
    require(head::norm_shape(a, s).is_some(), "head", "the final norm")
}

fn check_block(
    a: &Architecture,
    s: &Scales,
    b: &BlockScales,
    index: usize,
) -> Result<(), ManifestError> {
    let require = |holds: bool, what| {
        if holds {
            Ok(())
        } else {
            Err(ManifestError::Scale {
                layer: format!("block {index}"),
                what,
            })
        }
    };
    require(
        block::norm_shape(a, s, b.norm1, 1).is_some(),
        "the first norm",
    )?;
    require(
        block::norm_shape(a, s, b.norm2, 2).is_some(),
        "the second norm",
    )?;
    let shift = |from: u32, to: u32| from > to && from - to <= Rescale::MAX_SHIFT;
    let projected = b.norm1.output + s.weight + a.rotation();
    require(b.q <= 80 && shift(projected, b.q), "the queries")?;
    require(b.k <= 80 && shift(projected, b.k), "the keys")?;
    require(
        block::sigma(b).is_some(),
        "the attention scores (queries and keys together)",
    )?;
    let output = block::output_fraction(s, b);
    require(
        shift(output, s.residual) && s.output_bias <= output,
        "the attention's output",
    )?;
    require(
        shift(b.norm2.output + s.weight, s.activation_key),
        "the activation's key",
    )?;
    require(
        shift(s.down_accumulator(a, index), s.residual),
        "the activation's value",
    )
}
