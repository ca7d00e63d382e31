//! A small random model for tests.

use crate::ops::testing::Rng;
use crate::quant::{
    Activation, Architecture, BlockScales, BlockWeights, HeadWeights, IntegerModel, Manifest,
    NormScale, Provenance, Scales,
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
            hidden: 4 * shape.width,
            vocabulary: shape.vocabulary,
            context: 20,
            tied: shape.tied,
            activation: Activation::GeluTanh,
            epsilon_bits: 1e-5f64.to_bits(),
            end_of_text: shape.vocabulary as u32 - 1,
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
        provenance: Provenance {
            files: vec![],
            open: true,
        },
    }
}

/// Random weights of a size at which activations stay in their formats.
pub fn model(shape: Shape, seed: u64) -> IntegerModel {
    let (d, hidden) = (shape.width, 4 * shape.width);
    let mut rng = Rng(seed);
    let manifest = manifest(shape);
    let blocks = (0..shape.layers)
        .map(|_| block(&mut rng, d, hidden))
        .collect();
    let context = manifest.architecture.context;
    IntegerModel {
        tokens: rng.matrix(d, shape.vocabulary, 1 << 16),
        positions: rng.matrix(d, context, 1 << 14),
        blocks,
        head: HeadWeights {
            gain: rng.vector(d, 1 << 11),
            bias: rng.vector(d, 1 << 18),
            matrix: (!shape.tied).then(|| rng.matrix(d, shape.vocabulary, 1 << 16)),
        },
        manifest,
    }
}

fn block(rng: &mut Rng, d: usize, hidden: usize) -> BlockWeights {
    BlockWeights {
        query: rng.matrix(d, d, 1 << 13),
        query_bias: rng.vector(d, 1 << 26),
        key: rng.matrix(d, d, 1 << 14),
        key_bias: rng.vector(d, 1 << 26),
        value: rng.matrix(d, d, 1 << 13),
        value_bias: rng.vector(d, 1 << 24),
        output: rng.matrix(d, d, 1 << 13),
        output_bias: rng.vector(d, 1 << 22),
        up: rng.matrix(d, hidden, 1 << 13),
        up_bias: rng.vector(hidden, 1 << 24),
        down: rng.matrix(hidden, d, 1 << 12),
        down_bias: rng.vector(d, 1 << 28),
    }
}
