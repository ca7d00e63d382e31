//! A small random model for tests.

use crate::ops::testing::Rng;
use crate::quant::testing::BIASED;
use crate::quant::{
    Activation, Architecture, Attending, Biases, BlockScales, BlockWeights, HeadNorm,
    HeadNormScale, HeadWeights, IntMatrix, IntegerModel, Manifest, NormKind, NormScale, Order,
    Provenance, Scales,
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
        norm1: Some(norm),
        lifts1: vec![],
        norm2: Some(NormScale {
            output: 10,
            root: 58,
        }),
        lifts2: vec![],
        attention_norm: None,
        feed_forward_norm: None,
        query_norm: None,
        key_norm: None,
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
            order: Order::Sequential,
            head_norm: None,
            learned_positions: true,
            kinds: vec![Attending {
                turns: vec![],
                window: None,
            }],
            kind_of: vec![0; shape.layers],
            biases: BIASED,
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
            gain: 16,
            final_norm: norm,
            final_lifts: vec![],
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
    (a.learned_positions, a.biases) = (false, Biases::default());
    a.kinds[0].turns = (0..a.head_lanes() as u64 / 2)
        .map(|m| u64::MAX / (7 + 3 * m))
        .collect();
    manifest
}

/// The same with the norms that the order and the heads have.
fn with_norms(mut manifest: Manifest) -> Manifest {
    let a = &manifest.architecture;
    let norm = NormScale {
        output: 10,
        root: 58,
    };
    let ([first, second], behind) = (a.order.before(), a.order.behind());
    let of_heads = a.head_norm.map(|_| HeadNormScale { input: 12, norm });
    for block in &mut manifest.scales.blocks {
        block.norm1 = first.then_some(norm);
        block.norm2 = second.then_some(norm);
        block.attention_norm = behind.then_some(norm);
        block.feed_forward_norm = behind.then_some(norm);
        (block.query_norm, block.key_norm) = (of_heads, of_heads);
    }
    manifest
}

/// The same with channels lifted by 0, 1 or 2 bits.
fn lifted(mut manifest: Manifest) -> Manifest {
    let lifts = |from| (from..from + manifest.architecture.width).map(|k| (k % 3) as u8);
    for block in &mut manifest.scales.blocks {
        (block.lifts1, block.lifts2) = (lifts(0).collect(), lifts(1).collect());
    }
    manifest.scales.final_lifts = lifts(2).collect();
    manifest
}

/// Manifests that together have every option of an [`Architecture`], one block each but where blocks differ. They are named
/// for the published models whose options they have.
pub fn decoders() -> Vec<(&'static str, Manifest)> {
    let decoder = |heads, layers, change: fn(&mut Architecture)| {
        let mut manifest = llama_manifest(heads, layers, 70);
        change(&mut manifest.architecture);
        with_norms(manifest)
    };
    let mut phi = decoder((2, 2, 80), 1, |a| {
        (a.width, a.hidden) = (100, 90);
        (a.norm, a.order, a.gated) = (NormKind::Layer, Order::Parallel, false);
        // A part of the lanes turns.
        a.kinds[0].turns[16..].fill(0);
    });
    phi.architecture.biases = Biases {
        head: true,
        ..BIASED
    };
    let mut neox = decoder((3, 3, 48), 1, |a| {
        (a.norm, a.order, a.gated) = (NormKind::Layer, Order::ParallelNorms, false);
    });
    neox.architecture.biases = BIASED;
    let olmo2 = decoder((4, 2, 32), 1, |a| {
        (a.order, a.head_norm) = (Order::Behind, Some(HeadNorm::Whole));
    });
    let gemma3 = decoder((2, 1, 256), 2, |a| {
        (a.width, a.order, a.head_norm) = (72, Order::Around, Some(HeadNorm::Heads));
        let mut local = a.kinds[0].clone();
        local.turns.reverse();
        local.window = Some(3);
        a.kinds.push(local);
        a.kind_of = vec![1, 0];
    });
    let qwen3 = decoder((2, 1, 128), 1, |a| {
        (a.width, a.head_norm) = (64, Some(HeadNorm::Heads));
    });
    // Blocks that rotate and blocks that do not, with and without norms of queries and keys.
    let smollm3 = decoder((3, 1, 64), 2, |a| {
        a.kinds.push(Attending {
            turns: vec![],
            window: Some(2),
        });
        a.kind_of = vec![0, 1];
        (a.biases.query, a.biases.key, a.biases.gate) = (true, true, true);
    });
    let still = |heads, head_norm: HeadNorm| {
        let mut manifest = decoder(heads, 1, |a| {
            a.kinds[0].turns.clear();
            a.head_norm = Some(HeadNorm::Heads);
        });
        manifest.architecture.head_norm = Some(head_norm);
        manifest
    };
    let whole = lifted(decoder((3, 1, 64), 1, |a| {
        a.head_norm = Some(HeadNorm::Whole)
    }));
    let loud = lifted(decoder((1, 1, 64), 1, |a| {
        (a.width, a.hidden, a.norm, a.gated) = (100, 64, NormKind::Layer, false);
    }));
    vec![
        ("loud channels and a mean", loud),
        ("norms of all heads, rotated", whole),
        ("Phi", phi),
        ("GPT-NeoX", neox),
        ("OLMo 2", olmo2),
        ("Gemma 3", gemma3),
        ("Qwen 3", qwen3),
        ("SmolLM3", smollm3),
        ("norms of heads, still", still((2, 2, 64), HeadNorm::Heads)),
        (
            "norms of wide heads, still",
            still((2, 1, 128), HeadNorm::Heads),
        ),
        (
            "norms of all heads, still",
            still((3, 1, 128), HeadNorm::Whole),
        ),
    ]
}

/// Random weights of a size at which activations stay in their formats.
pub fn model(shape: Shape, seed: u64) -> IntegerModel {
    model_of(manifest(shape), seed)
}

/// The same for any manifest.
pub fn model_of(manifest: Manifest, seed: u64) -> IntegerModel {
    let a = manifest.architecture.clone();
    let d = a.stream();
    let mut rng = Rng(seed);
    let blocks = (0..a.layers).map(|_| block(&mut rng, &a)).collect();
    let mut model = IntegerModel {
        tokens: rng.matrix(d, a.vocabulary, 1 << 16),
        positions: a
            .learned_positions
            .then(|| rng.matrix(d, a.context, 1 << 14)),
        blocks,
        head: HeadWeights {
            gain: rng.vector(d, 1 << 11),
            bias: rng.vector(if a.biases.final_norm { d } else { 0 }, 1 << 18),
            logit_bias: rng.vector(if a.biases.head { a.vocabulary } else { 0 }, 1 << 30),
            matrix: (!a.tied).then(|| rng.matrix(d, a.vocabulary, 1 << 16)),
        },
        manifest,
    };
    clear_filling(&mut model, &a);
    model
}

/// Sets to zero what only fills slabs up.
fn clear_filling(model: &mut IntegerModel, a: &Architecture) {
    // Lanes that turn stand at the beginning of both halves of a head, so that those are what is filled.
    let filled =
        |width: usize, lanes: usize| (0..lanes).map(|lane| lane < width).collect::<Vec<_>>();
    let (w, lanes) = (a.head_width, a.head_lanes());
    let head: Vec<bool> = (0..lanes).map(|lane| lane % (lanes / 2) < w / 2).collect();
    let (stream, hidden) = (
        filled(a.width, a.stream()),
        filled(a.hidden, a.hidden_lanes()),
    );
    let (queries, keys) = (head.repeat(a.heads), head.repeat(a.kv_heads));
    let all = vec![true; a.vocabulary.max(a.context)];
    clear(&mut model.tokens, &stream, &all);
    for matrix in model.positions.iter_mut().chain(&mut model.head.matrix) {
        clear(matrix, &stream, &all);
    }
    clear_vector(&mut model.head.gain, &stream);
    clear_vector(&mut model.head.bias, &stream);
    for block in &mut model.blocks {
        clear(&mut block.query, &stream, &queries);
        clear(&mut block.key, &stream, &keys);
        clear(&mut block.value, &stream, &keys);
        clear(&mut block.output, &queries, &stream);
        clear(&mut block.up, &stream, &hidden);
        clear(&mut block.down, &hidden, &stream);
        if let Some(gate) = &mut block.gate {
            clear(gate, &stream, &hidden);
        }
        let vectors = [
            (&mut block.query_bias, &queries),
            (&mut block.key_bias, &keys),
            (&mut block.value_bias, &keys),
            (&mut block.output_bias, &stream),
            (&mut block.gate_bias, &hidden),
            (&mut block.up_bias, &hidden),
            (&mut block.down_bias, &stream),
            (&mut block.query_gain, &queries),
            (&mut block.key_gain, &keys),
            (&mut block.attention_gain, &stream),
            (&mut block.feed_forward_gain, &stream),
        ];
        vectors
            .into_iter()
            .for_each(|(vector, live)| clear_vector(vector, live));
    }
}

fn clear(matrix: &mut IntMatrix, inputs: &[bool], outputs: &[bool]) {
    for (k, row) in matrix.data.chunks_mut(matrix.outputs).enumerate() {
        for (w, output) in row.iter_mut().zip(outputs) {
            *w *= i32::from(inputs[k] && *output);
        }
    }
}

fn clear_vector(vector: &mut [i64], live: &[bool]) {
    vector
        .iter_mut()
        .zip(live)
        .for_each(|(x, live)| *x *= i64::from(*live));
}

fn block(rng: &mut Rng, a: &Architecture) -> BlockWeights {
    let (d, hidden, queries, keys) = (a.stream(), a.hidden_lanes(), a.query_lanes(), a.key_lanes());
    let or_none = |there: bool, n: usize| if there { n } else { 0 };
    let gain = |heads| a.head_norm_size(heads).map_or(0, |size| size.lanes);
    let (biases, behind) = (a.biases, or_none(a.order.behind(), d));
    BlockWeights {
        query: rng.matrix(d, queries, 1 << 13),
        query_bias: rng.vector(or_none(biases.query, queries), 1 << 26),
        key: rng.matrix(d, keys, 1 << 14),
        key_bias: rng.vector(or_none(biases.key, keys), 1 << 26),
        value: rng.matrix(d, keys, 1 << 13),
        value_bias: rng.vector(or_none(biases.value, keys), 1 << 24),
        output: rng.matrix(queries, d, 1 << 13),
        output_bias: rng.vector(or_none(biases.output, d), 1 << 22),
        gate: a.gated.then(|| rng.matrix(d, hidden, 1 << 13)),
        gate_bias: rng.vector(or_none(biases.gate, hidden), 1 << 24),
        up: rng.matrix(d, hidden, 1 << 13),
        up_bias: rng.vector(or_none(biases.up, hidden), 1 << 24),
        down: rng.matrix(hidden, d, 1 << 12),
        down_bias: rng.vector(or_none(biases.down, d), 1 << 28),
        query_gain: rng.vector(gain(a.heads), 1 << 14),
        key_gain: rng.vector(gain(a.kv_heads), 1 << 15),
        attention_gain: rng.vector(behind, 1 << 15),
        feed_forward_gain: rng.vector(behind, 1 << 15),
    }
}
