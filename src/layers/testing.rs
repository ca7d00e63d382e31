//! A small random model for tests.

use crate::ops::testing::Rng;
use crate::quant::{
    Activation, Architecture, BlockScales, BlockWeights, HeadWeights, IntegerModel, Manifest,
    NormKind, NormScale, Positions, Provenance, Scales,
};

/// The shape of a test model.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub width: usize,
    pub layers: usize,
    pub vocabulary: usize,
    pub tied: bool,
}

pub fn manifest(shape: Shape) -> Manifest {
    let norm = NormScale {
        output: 10,
        root: 42,
    };
    let block = BlockScales {
        norm1: norm,
        norm2: NormScale {
            output: 10,
            root: 58,
        },
        q: 11,
        k: 10,
    };
    Manifest {
        architecture: Architecture {
            layers: shape.layers,
            width: shape.width,
            heads: shape.width / 64,
            kv_heads: shape.width / 64,
            head_width: 64,
            hidden: 4 * shape.width,
            vocabulary: shape.vocabulary,
            context: 20,
            tied: shape.tied,
            norm: NormKind::Layer,
            positions: Positions::Learned,
            activation: Activation::GeluTanh,
            gated: false,
            epsilon_bits: 1e-5f64.to_bits(),
            end_of_text: vec![shape.vocabulary as u32 - 1],
        },
        scales: Scales {
            residual: 12,
            weight: 16,
            output_bias: 24,
            exp: 20,
            inverse: 44,
            activation_key: 11,
            activation_value: 14,
            final_gain: 10,
            final_norm: norm,
            blocks: vec![block; shape.layers],
        },
        tables: [0; 32],
        tokenizer: [0; 32],
        chat_template: None,
        provenance: Provenance {
            files: vec![],
            open: true,
        },
    }
}

/// A manifest of Llama's kind with the vocabulary and layers of `shape`: `heads` heads of `head_width`
/// that share `kv_heads` heads of keys, tied.
pub fn llama_manifest(
    (heads, kv_heads, head_width): (usize, usize, usize),
    layers: usize,
    vocabulary: usize,
) -> Manifest {
    let mut manifest = manifest(Shape {
        width: heads * head_width,
        layers,
        vocabulary,
        tied: true,
    });
    let a = &mut manifest.architecture;
    (a.heads, a.kv_heads, a.head_width) = (heads, kv_heads, head_width);
    (a.norm, a.gated) = (NormKind::RootMeanSquare, true);
    a.activation = Activation::Silu;
    a.hidden = 2 * a.width + 64;
    a.positions = Positions::Rotary {
        turns: (0..head_width as u64 / 2)
            .map(|m| u64::MAX / (7 + 3 * m))
            .collect(),
    };
    manifest
}

/// Random weights of a size at which activations stay in their formats.
pub fn model(shape: Shape, seed: u64) -> IntegerModel {
    model_of(manifest(shape), seed)
}

/// The same for any manifest.
pub fn model_of(manifest: Manifest, seed: u64) -> IntegerModel {
    let a = manifest.architecture.clone();
    let d = a.width;
    let mut rng = Rng(seed);
    let blocks = (0..a.layers).map(|_| block(&mut rng, &a)).collect();
    let learned = a.rotary().is_none();
    IntegerModel {
        tokens: rng.matrix(d, a.vocabulary, 1 << 16),
        positions: learned.then(|| rng.matrix(d, a.context, 1 << 14)),
        blocks,
        head: HeadWeights {
            gain: rng.vector(d, 1 << 11),
            bias: rng.vector(if a.biased() { d } else { 0 }, 1 << 18),
            matrix: (!a.tied).then(|| rng.matrix(d, a.vocabulary, 1 << 16)),
        },
        manifest,
    }
}

fn block(rng: &mut Rng, a: &Architecture) -> BlockWeights {
    let (d, kv, hidden) = (a.width, a.kv_width(), a.hidden);
    let biases = |n: usize| if a.biased() { n } else { 0 };
    BlockWeights {
        query: rng.matrix(d, d, 1 << 13),
        query_bias: rng.vector(biases(d), 1 << 26),
        key: rng.matrix(d, kv, 1 << 14),
        key_bias: rng.vector(biases(kv), 1 << 26),
        value: rng.matrix(d, kv, 1 << 13),
        value_bias: rng.vector(biases(kv), 1 << 24),
        output: rng.matrix(d, d, 1 << 13),
        output_bias: rng.vector(biases(d), 1 << 22),
        gate: a.gated.then(|| rng.matrix(d, hidden, 1 << 13)),
        up: rng.matrix(d, hidden, 1 << 13),
        up_bias: rng.vector(biases(hidden), 1 << 24),
        down: rng.matrix(hidden, d, 1 << 12),
        down_bias: rng.vector(biases(d), 1 << 28),
    }
}
