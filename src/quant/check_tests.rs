use super::*;
use crate::quant::testing::{architecture, llama, scales};
use crate::quant::{Attending, HeadNorm, Order, Provenance};

fn turning(pairs: usize) -> Attending {
    Attending {
        turns: vec![0; pairs],
        window: None,
    }
}

/// A Llama-class shape with so many rotations.
fn llama_turning(pairs: usize) -> Architecture {
    Architecture {
        kinds: vec![turning(pairs)],
        ..llama(1, 1, 64)
    }
}

#[test]
fn the_default_scales_pass() {
    let architecture = Architecture {
        context: 1024,
        ..architecture(2, 12)
    };
    architecture.check().unwrap();
    scales(2).check(&architecture).unwrap();
}

/// A hostile manifest must be refused before a shift by one of its scales panics.
#[test]
fn every_scale_out_of_range_is_refused() {
    let changes: [fn(&mut Scales, u32); 17] = [
        |s, x| s.residual = x,
        |s, x| s.weight = x,
        |s, x| s.output_bias = x,
        |s, x| s.exp = x,
        |s, x| s.inverse = x,
        |s, x| s.activation_key = x,
        |s, x| s.activation_value = x,
        |s, x| s.final_gain = x,
        |s, x| s.gain = x,
        |s, x| s.final_norm.output = x,
        |s, x| s.final_norm.root = x,
        |s, x| s.blocks[1].norm1.as_mut().unwrap().output = x,
        |s, x| s.blocks[1].norm1.as_mut().unwrap().root = x,
        |s, x| s.blocks[1].norm2.as_mut().unwrap().output = x,
        |s, x| s.blocks[1].norm2.as_mut().unwrap().root = x,
        |s, x| s.blocks[1].q = x,
        |s, x| s.blocks[1].k = x,
    ];
    let architecture = architecture(2, 1);
    for (index, change) in changes.iter().enumerate() {
        for x in [u32::MAX, 1 << 31, 200] {
            let mut changed = scales(2);
            change(&mut changed, x);
            assert!(changed.check(&architecture).is_err(), "scale {index} = {x}");
        }
    }
    assert!(scales(3).check(&architecture).is_err(), "too many blocks");
}

#[test]
fn unsupported_shapes_are_refused() {
    let changes: [fn(&mut Architecture); 27] = [
        |a| a.layers = 0,
        |a| a.width = 0,
        |a| a.width = usize::MAX,
        |a| a.heads = 0,
        |a| a.heads = usize::MAX,
        |a| a.head_width = 0,
        |a| a.head_width = 257,
        |a| a.kv_heads = 0,
        |a| a.kv_heads = 2,
        |a| a.biases.gate = true,
        |a| a.kinds.clear(),
        |a| a.kinds = vec![turning(0); 5],
        |a| a.kind_of.clear(),
        |a| a.kind_of = vec![0, 0],
        |a| a.kind_of = vec![1],
        |a| a.kinds[0].window = Some(0),
        |a| {
            *a = Architecture {
                kv_heads: 4,
                ..llama(1, 2, 64)
            }
        },
        |a| *a = llama_turning(31),
        |a| a.hidden = 0,
        |a| a.vocabulary = 0,
        |a| a.context = 1 << 60,
        |a| a.epsilon_bits = f64::NAN.to_bits(),
        |a| a.epsilon_bits = 0,
        |a| a.end_of_text = vec![97],
        |a| a.end_of_text = vec![3, 97],
        |a| a.end_of_text = vec![3, 4, 3],
        |a| (a.vocabulary, a.end_of_text) = (100, (0..65).collect()),
    ];
    let supported = [
        architecture(1, 1),
        llama(2, 3, 64),
        llama(1, 2, 128),
        llama(1, 2, 80),
        llama(1, 1, 256),
        Architecture {
            head_norm: Some(HeadNorm::Heads),
            order: Order::Around,
            hidden: 100,
            width: 100,
            ..llama(1, 1, 48)
        },
    ];
    for supported in supported {
        supported.check().unwrap();
        for ends in [vec![], vec![96, 0], (0..64).collect()] {
            let mut ending = supported.clone();
            ending.end_of_text = ends;
            ending.check().unwrap();
        }
    }
    for (index, change) in changes.iter().enumerate() {
        let mut changed = architecture(1, 1);
        change(&mut changed);
        assert!(changed.check().is_err(), "change {index}");
    }
}

/// Whether it is refused for the quantity `what`.
fn refuses(result: Result<(), QuantError>, what: &str) -> bool {
    match result {
        Err(QuantError::Scale { what: w, .. } | QuantError::Architecture { what: w, .. }) => {
            w == what
        }
        Err(other) => panic!("{other}"),
        Ok(()) => false,
    }
}

/// A quantity, how it is set, and the values that its own check accepts.
type Limit<T, X> = (&'static str, fn(&mut T, X), RangeInclusive<X>);

/// Both ends of every range of scales, with the default ones around: each by its own check.
#[test]
fn every_scale_has_its_own_range() {
    let ranges: [Limit<Scales, u32>; 15] = [
        ("the residual stream", |s, x| s.residual = x, 0..=16),
        ("the weights", |s, x| s.weight = x, 12..=20),
        ("exp", |s, x| s.exp = x, 8..=22),
        // exp and ⌈log2 T⌉ bits, and one.
        ("the inverse", |s, x| s.inverse = x, 26..=60),
        ("the activation's key", |s, x| s.activation_key = x, 4..=14),
        ("the activation", |s, x| s.activation_value = x, 11..=24),
        ("the final gain", |s, x| s.final_gain = x, 0..=24),
        ("the gains", |s, x| s.gain = x, 0..=24),
        ("a norm's output", |s, x| s.final_norm.output = x, 1..=10),
        (
            "a norm's output",
            |s, x| s.blocks[1].norm1.as_mut().unwrap().output = x,
            1..=10,
        ),
        (
            "a norm's output",
            |s, x| s.blocks[1].norm2.as_mut().unwrap().output = x,
            1..=10,
        ),
        // The accumulator's: z₁ and the weights.
        ("the queries", |s, x| s.blocks[1].q = x, 0..=26),
        ("the keys", |s, x| s.blocks[1].k = x, 0..=26),
        // 10 of the keys, and σ from 8 to 16.
        (
            "queries and keys together",
            |s, x| s.blocks[1].q = x,
            9..=17,
        ),
        // The accumulator's: z₁, the inverse and the weights twice.
        ("the output bias", |s, x| s.output_bias = x, 0..=86),
    ];
    let architecture = architecture(2, 1);
    for (what, set, range) in ranges {
        let refused = |x| {
            let mut changed = scales(2);
            set(&mut changed, x);
            refuses(changed.check(&architecture), what)
        };
        assert!(!refused(*range.start()) && !refused(*range.end()), "{what}");
        assert!(refused(range.end() + 1), "{what}");
        assert!(*range.start() == 0 || refused(range.start() - 1), "{what}");
    }
    // The activation's key has no more bits than the accumulator that it is cut from.
    let mut narrow = scales(2);
    (narrow.residual, narrow.weight, narrow.activation_key) = (0, 0, 4);
    for block in &mut narrow.blocks {
        (block.norm2, block.q) = (
            Some(NormScale {
                output: 4,
                root: 36,
            }),
            10,
        );
    }
    narrow.output_bias = 0;
    assert_eq!(narrow.check(&architecture), Ok(()));
    narrow.blocks[1].norm2 = Some(NormScale {
        output: 3,
        root: 35,
    });
    assert!(refuses(narrow.check(&architecture), "the activation's key"));
}

/// Both ends of every size, each by its own check.
#[test]
fn every_size_has_its_own_range() {
    let ranges: [Limit<Architecture, usize>; 5] = [
        ("number of layers", |a, x| a.layers = x, 1..=1024),
        ("width", |a, x| a.width = x, 1..=16384),
        ("hidden width", |a, x| a.hidden = x, 1..=65536),
        ("vocabulary", |a, x| a.vocabulary = x, 1..=1 << 20),
        ("context", |a, x| a.context = x, 1..=1 << 17),
    ];
    for (what, set, range) in ranges {
        let refused = |x| {
            let mut changed = architecture(1, 1);
            set(&mut changed, x);
            refuses(changed.check(), what)
        };
        assert!(!refused(*range.start()) && !refused(*range.end()), "{what}");
        assert!(
            refused(range.start() - 1) && refused(range.end() + 1),
            "{what}"
        );
    }
    // Rotations and norms are those that the shape has.
    let turned = Architecture {
        head_width: 32,
        kinds: vec![turning(16)],
        ..llama(1, 1, 64)
    };
    assert!(refuses(turned.check(), "number of rotations"));
}

/// Scales of norms that the architecture has not, or lacks.
#[test]
fn scales_have_the_norms_of_the_architecture() {
    use crate::quant::HeadNormScale;
    let norm = NormScale {
        output: 10,
        root: 42,
    };
    let of_heads = HeadNormScale { input: 12, norm };
    let changes: [fn(&mut BlockScales, NormScale, HeadNormScale); 6] = [
        |b, _, _| b.norm1 = None,
        |b, _, _| b.norm2 = None,
        |b, norm, _| b.attention_norm = Some(norm),
        |b, norm, _| b.feed_forward_norm = Some(norm),
        |b, _, norm| b.query_norm = Some(norm),
        |b, _, norm| b.key_norm = Some(norm),
    ];
    let plain = architecture(1, 1);
    for (index, change) in changes.iter().enumerate() {
        let mut changed = scales(1);
        change(&mut changed.blocks[0], norm, of_heads);
        assert!(changed.check(&plain).is_err(), "change {index}");
    }
    let around = Architecture {
        order: Order::Around,
        head_norm: Some(HeadNorm::Heads),
        ..architecture(1, 1)
    };
    assert!(scales(1).check(&around).is_err());
    let mut all = scales(1);
    for change in &changes[2..] {
        change(&mut all.blocks[0], norm, of_heads);
    }
    assert_eq!(all.check(&around), Ok(()));
    all.blocks[0].key_norm = Some(HeadNormScale { input: 25, norm });
    let what = "queries or keys before their norm";
    assert!(refuses(all.check(&around), what));
}

/// Every tensor has the shape that the manifest implies: inputs, outputs and values.
#[test]
fn every_tensor_has_its_shape() {
    use crate::layers::testing::model_of;
    fn matrices(m: &mut IntegerModel) -> Vec<(&'static str, &mut IntMatrix)> {
        let block = &mut m.blocks[0];
        let all = [
            ("tokens", Some(&mut m.tokens)),
            ("positions", m.positions.as_mut()),
            ("query", Some(&mut block.query)),
            ("key", Some(&mut block.key)),
            ("value", Some(&mut block.value)),
            ("output", Some(&mut block.output)),
            ("up", Some(&mut block.up)),
            ("down", Some(&mut block.down)),
            ("gate", block.gate.as_mut()),
            ("head", m.head.matrix.as_mut()),
        ];
        all.into_iter().filter_map(|(n, m)| Some((n, m?))).collect()
    }
    fn vectors(m: &mut IntegerModel) -> Vec<(&'static str, &mut Vec<i64>)> {
        let block = &mut m.blocks[0];
        vec![
            ("query", &mut block.query_bias),
            ("key", &mut block.key_bias),
            ("value", &mut block.value_bias),
            ("output", &mut block.output_bias),
            ("up", &mut block.up_bias),
            ("down", &mut block.down_bias),
            ("gate", &mut block.gate_bias),
            ("query gain", &mut block.query_gain),
            ("key gain", &mut block.key_gain),
            ("attention gain", &mut block.attention_gain),
            ("feed-forward gain", &mut block.feed_forward_gain),
            ("head bias", &mut m.head.logit_bias),
            ("final gain", &mut m.head.gain),
            ("final bias", &mut m.head.bias),
        ]
    }
    for mut architecture in [architecture(1, 1), llama(1, 1, 64)] {
        architecture.tied = architecture.learned_positions;
        let good = model_of(
            Manifest {
                scales: scales(1),
                tables: [0; 32],
                tokenizer: [0; 32],
                chat_template: None,
                provenance: Provenance {
                    files: vec![],
                    open: true,
                },
                architecture,
            },
            9,
        );
        assert_eq!(good.check(), Ok(()));
        let refused = |name: &str, change: &dyn Fn(&mut IntegerModel)| {
            let mut bad = good.clone();
            change(&mut bad);
            match bad.check() {
                Err(QuantError::Shape { tensor, .. }) => assert_eq!(tensor, name),
                other => panic!("{name}: {other:?}"),
            }
        };
        for (n, (name, _)) in matrices(&mut good.clone()).into_iter().enumerate() {
            refused(name, &|m| matrices(m)[n].1.inputs += 64);
            refused(name, &|m| matrices(m)[n].1.outputs += 64);
            refused(name, &|m| matrices(m)[n].1.data.push(0));
        }
        for (n, (name, _)) in vectors(&mut good.clone()).into_iter().enumerate() {
            refused(name, &|m| vectors(m)[n].1.push(0));
        }
        // Weights so large that a run would leave its integers.
        let mut large = good.clone();
        large.blocks[0].value.data.fill(i32::MAX);
        large.blocks[0].output.data.fill(i32::MAX);
        let error = large.check();
        assert!(matches!(error, Err(QuantError::Bound { .. })), "{error:?}");
        let mut other = good.clone();
        other.manifest.scales.exp = 7;
        assert!(refuses(other.check(), "exp"));
        let mut other = good;
        other.manifest.architecture.epsilon_bits = 0;
        assert!(refuses(other.check(), "epsilon"));
    }
}
