//! Seeded randomness and small models for tests.

use super::{
    Activation, Architecture, Attending, Biases, BlockScales, Factors, NormKind, NormScale, Order,
    Rows, Scales, in_slabs,
};

/// What is observed of a model of this width, with one head of one lane.
pub fn rows(norm: NormKind, width: usize) -> Rows {
    Rows {
        norm,
        width,
        heads: [1, 1],
        head_width: 1,
        head_norm: None,
    }
}

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Uniform in [−scale, scale).
    pub fn float(&mut self, scale: f64) -> f64 {
        ((self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0) * scale
    }

    pub fn floats(&mut self, count: usize, scale: f64) -> Vec<f32> {
        (0..count).map(|_| self.float(scale) as f32).collect()
    }
}

/// The biases of GPT-2.
pub const BIASED: Biases = Biases {
    query: true,
    key: true,
    value: true,
    output: true,
    gate: false,
    up: true,
    down: true,
    final_norm: true,
    head: false,
};

/// A small architecture: `heads` heads of 64.
pub fn architecture(layers: usize, heads: usize) -> Architecture {
    Architecture {
        layers,
        width: 64 * heads,
        heads,
        kv_heads: heads,
        head_width: 64,
        hidden: 256 * heads,
        vocabulary: 97,
        context: 32,
        tied: true,
        norm: NormKind::Layer,
        order: Order::Sequential,
        head_norm: None,
        learned_positions: true,
        kinds: vec![Attending {
            turns: vec![],
            window: None,
        }],
        kind_of: vec![0; layers],
        biases: BIASED,
        activation: Activation::GeluTanh,
        gated: false,
        epsilon_bits: 1e-5f64.to_bits(),
        end_of_text: vec![96],
    }
}

/// A small architecture of Llama's kind: `groups` times 3 heads of `head_width` that share keys and values.
pub fn llama(layers: usize, groups: usize, head_width: usize) -> Architecture {
    Architecture {
        width: 3 * groups * head_width,
        heads: 3 * groups,
        kv_heads: groups,
        head_width,
        norm: NormKind::RootMeanSquare,
        learned_positions: false,
        kinds: vec![Attending {
            turns: (0..in_slabs(head_width).next_power_of_two() as u64 / 2)
                .map(|m| 1 << (61 - m % 32))
                .collect(),
            window: None,
        }],
        biases: Biases::default(),
        activation: Activation::Silu,
        gated: true,
        ..architecture(layers, 1)
    }
}

/// The factors of a model with heads of this width.
pub fn factors(head_width: usize) -> Factors {
    Factors {
        embedding: 1.0,
        score: (head_width as f64).sqrt().recip(),
        branch: 1.0,
        logit: 1.0,
        rotated: head_width,
        rotation: vec![],
    }
}

/// The default scales, for a context of 1024.
pub fn scales(layers: usize) -> Scales {
    let norm = NormScale {
        output: 10,
        root: 42,
    };
    let block = BlockScales {
        norm1: Some(norm),
        lifts1: vec![],
        norm2: Some(norm),
        lifts2: vec![],
        attention_norm: None,
        feed_forward_norm: None,
        query_norm: None,
        key_norm: None,
        q: 13,
        k: 10,
    };
    Scales {
        residual: 12,
        weight: 16,
        output_bias: 40,
        exp: 20,
        inverse: 44,
        activation_key: 11,
        activation_value: 14,
        final_gain: 10,
        gain: 16,
        final_norm: norm,
        final_lifts: vec![],
        blocks: vec![block; layers],
    }
}
