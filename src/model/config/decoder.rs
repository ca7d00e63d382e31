//! What the configurations of most model types say in the same way.

use serde_json::Value;

use super::rope::{Found, Rope};
use super::{
    Config, ConfigError, Keys, Kind, MAX_CONTEXT, MAX_HEAD_WIDTH, MAX_HEADS, MAX_HIDDEN,
    MAX_LAYERS, MAX_VOCABULARY, MAX_WIDTH, Multipliers,
};
use crate::quant::{Biases, NormKind, Order};

/// The keys of a decoder's sizes, where model types call them differently.
pub(super) struct Names {
    pub width: &'static str,
    pub layers: &'static str,
    pub heads: &'static str,
    pub hidden: &'static str,
    pub context: &'static str,
    pub activation: &'static str,
    /// Where there is none, `torch`'s 10⁻⁵.
    pub epsilon: Option<&'static str>,
}

pub(super) const USUAL: Names = Names {
    width: "hidden_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    hidden: "intermediate_size",
    context: "max_position_embeddings",
    activation: "hidden_act",
    epsilon: Some("rms_norm_eps"),
};

/// The names of model types with LayerNorm, but for ε.
pub(super) const LAYER_NORM: Names = Names {
    epsilon: Some("layer_norm_eps"),
    ..USUAL
};

const KV_HEADS: &str = "num_key_value_heads";
const HEAD_WIDTH: &str = "head_dim";

/// Sequential blocks with RMSNorm, without biases, rotations and a gate, of the sizes that the file states. Whether
/// heads share keys and may have a width of their own is what the table's keys say.
pub(super) fn read(keys: &Keys, names: &Names) -> Result<Config, ConfigError> {
    let width = keys.size(names.width, MAX_WIDTH)?;
    let heads = keys.size(names.heads, MAX_HEADS)?;
    let head_width = head_width(keys, names, width, heads)?;
    let kv_heads = keys.optional_size(KV_HEADS, heads)?.unwrap_or(heads);
    if !heads.is_multiple_of(kv_heads) {
        return keys.refuse(KV_HEADS, format!("a divisor of {} ({heads})", names.heads));
    }
    let layers = keys.size(names.layers, MAX_LAYERS)?;
    let vocabulary = keys.size("vocab_size", MAX_VOCABULARY)?;
    let hidden = match keys.get(names.hidden) {
        None if keys
            .row(names.hidden)
            .is_some_and(|row| row.default == "null") =>
        {
            4 * width
        }
        _ => keys.size(names.hidden, MAX_HIDDEN)?,
    };
    Ok(Config {
        layers,
        width,
        heads,
        kv_heads,
        head_width,
        hidden,
        vocabulary,
        context: keys.size(names.context, MAX_CONTEXT)?,
        norm: NormKind::RootMeanSquare,
        norm_biases: false,
        order: Order::Sequential,
        head_norm: None,
        positions: None,
        rotated: 0,
        kinds: vec![Kind::default()],
        kind_of: vec![0; layers],
        biases: Biases::default(),
        activation: keys.activation(names.activation)?,
        gated: false,
        multipliers: Multipliers {
            embedding: 1.0,
            score: (head_width as f64).sqrt().recip(),
            branch: 1.0,
            logit: 1.0,
        },
        epsilon: names.epsilon.map_or(Ok(1e-5), |key| keys.epsilon(key))?,
        tied: keys.flag("tie_word_embeddings"),
        end_of_text: keys.end_of_text(vocabulary)?,
        tensors: keys.model.tensors,
    })
}

fn head_width(
    keys: &Keys,
    names: &Names,
    width: usize,
    heads: usize,
) -> Result<usize, ConfigError> {
    if let Some(own) = keys.optional_size(HEAD_WIDTH, MAX_HEAD_WIDTH)? {
        return Ok(own);
    }
    if !width.is_multiple_of(heads) || width / heads > MAX_HEAD_WIDTH {
        let (width, heads) = (keys.name(names.width), keys.name(names.heads));
        let supported = format!(
            "a divisor of {width}, with heads of at most {MAX_HEAD_WIDTH} ({width} / {heads}),"
        );
        return keys.refuse(names.heads, supported);
    }
    Ok(width / heads)
}

impl Config {
    /// With LayerNorm, whose norms have biases.
    pub(super) fn with_layer_norm(self) -> Self {
        Self {
            norm: NormKind::Layer,
            norm_biases: true,
            ..self
        }
    }

    /// With biases of the four maps of the attention, and of those of the feed-forward part.
    pub(super) fn with_biases(self, attention: bool, feed_forward: bool) -> Self {
        Self {
            biases: Biases {
                query: attention,
                key: attention,
                value: attention,
                output: attention,
                gate: feed_forward && self.gated,
                up: feed_forward,
                down: feed_forward,
                ..self.biases
            },
            ..self
        }
    }

    /// With the rotations that the file states, in all blocks.
    pub(super) fn with_rotations(self, keys: &Keys) -> Result<Self, ConfigError> {
        let found = Rope::usual(keys, &self).read()?;
        Ok(self.with_found(found))
    }

    /// With the same rotation in all blocks, and its context.
    pub(super) fn with_found(self, found: Found) -> Self {
        let kind = Kind {
            rotation: Some(found.rotation),
            window: None,
        };
        let kinds = vec![kind; self.layers];
        let config = Self {
            rotated: found.rotated,
            context: found.context,
            ..self
        };
        config.with_kinds(kinds)
    }

    /// With a kind of attention for each block.
    pub(super) fn with_kinds(self, of_blocks: impl IntoIterator<Item = Kind>) -> Self {
        let (mut kinds, mut kind_of) = (Vec::new(), Vec::new());
        for mut kind in of_blocks {
            // A window over everything is none.
            kind.window = kind
                .window
                .filter(|window| (*window as usize) < self.context);
            let known = kinds.iter().position(|known| *known == kind);
            kind_of.push(known.unwrap_or(kinds.len()) as u8);
            if known.is_none() {
                kinds.push(kind);
            }
        }
        Self {
            kinds,
            kind_of,
            ..self
        }
    }

    /// With the window that the file states, if it does, in all blocks.
    pub(super) fn with_window(self, keys: &Keys) -> Result<Self, ConfigError> {
        let windows = vec![window(keys)?; self.layers];
        Ok(self.with_windows(&windows))
    }

    /// With windows in the blocks for which `windows` has one.
    pub(super) fn with_windows(self, windows: &[Option<u32>]) -> Self {
        let kinds = windows.iter().enumerate().map(|(block, window)| Kind {
            window: *window,
            ..self.kind(block).clone()
        });
        let kinds: Vec<_> = kinds.collect();
        self.with_kinds(kinds)
    }
}

/// How many tokens are seen where `sliding_window` is a number: with a window of 1, `transformers` keeps other keys than
/// it masks.
pub(super) fn window(keys: &Keys) -> Result<Option<u32>, ConfigError> {
    const KEY: &str = "sliding_window";
    match keys.optional_size(KEY, u32::MAX as usize)? {
        Some(1) => keys.refuse(KEY, "a window of 2 tokens or more".to_string()),
        window => Ok(window.map(|window| window as u32)),
    }
}

/// The window of each block by `layer_types`, or where the file has none by `slides`, which says it of a block.
pub(super) fn windows(
    keys: &Keys,
    layers: usize,
    window: Option<u32>,
    slides: impl Fn(usize) -> bool,
) -> Result<Vec<Option<u32>>, ConfigError> {
    const KEY: &str = "layer_types";
    let supported = || {
        format!(
            "a list of \"full_attention\" and \"sliding_attention\" for each of num_hidden_layers ({layers}), the second only \
             where sliding_window is a number that is used,"
        )
    };
    let Some(types) = keys.get(KEY) else {
        let of_block = |block| window.filter(|_| slides(block));
        return Ok((0..layers).map(of_block).collect());
    };
    let types = types.as_array().filter(|types| types.len() == layers);
    let Some(types) = types else {
        return keys.refuse(KEY, supported());
    };
    let of_type = |kind: &Value| match (kind.as_str(), window) {
        (Some("full_attention"), _) => Ok(None),
        (Some("sliding_attention"), Some(window)) => Ok(Some(window)),
        _ => keys.refuse(KEY, supported()),
    };
    types.iter().map(of_type).collect()
}
