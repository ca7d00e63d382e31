//! Whole layers against the oracle.

use super::testing::{Shape, decoders, llama_manifest, manifest, model, model_of};
use super::*;
use crate::ops::testing::{Case, OwnedTables, Rng};
use crate::quant::{HeadNorm, IntMatrix, IntegerModel, Manifest, NormKind, NormScale, Order};
use crate::system::{Segment, Witness};

const SHAPES: [Shape; 3] = [
    Shape {
        width: 64,
        layers: 2,
        vocabulary: 70,
        tied: true,
    },
    Shape {
        width: 128,
        layers: 1,
        vocabulary: 100,
        tied: false,
    },
    Shape {
        width: 192,
        layers: 1,
        vocabulary: 130,
        tied: true,
    },
];

/// Models of Llama's kind: three heads sharing one of keys, as SmolLM2's do; groups of two; heads of
/// two slabs, with keys of their own and shared.
fn llamas() -> [Manifest; 4] {
    [(3, 1, 64), (4, 2, 64), (2, 2, 128), (2, 1, 128)].map(|heads| llama_manifest(heads, 1, 70))
}

/// A model, its tables and a run of it.
struct Scene {
    model: IntegerModel,
    tables: OwnedTables,
    trace: Trace,
}

impl Scene {
    fn new(shape: Shape, prompt_len: usize, new: usize) -> Self {
        Self::of(manifest(shape), prompt_len, new)
    }

    fn of(manifest: Manifest, prompt_len: usize, new: usize) -> Self {
        let seed = 5 + manifest.architecture.width as u64;
        let (model, tables) = (model_of(manifest, seed), OwnedTables::build());
        check(&model.manifest).expect("the test model is well formed");
        model.manifest.check().expect("by both checks");
        let mut rng = Rng(3);
        let vocabulary = model.manifest.architecture.vocabulary as u64;
        let prompt: Vec<u32> = (0..prompt_len)
            .map(|_| (rng.draw() % vocabulary) as u32)
            .collect();
        let generated =
            generate(&model, tables.get(), &prompt, new).expect("the test model generates");
        let sequence = Sequence::new(&prompt, &generated.output, &model.manifest.architecture)
            .expect("the sequence is well formed");
        let trace = run(&model, tables.get(), sequence).expect("the test model runs");
        assert_eq!(
            generated.trace, trace,
            "the last token's run is the whole answer's"
        );
        Self {
            model,
            tables,
            trace,
        }
    }

    fn layers(&self) -> impl Iterator<Item = (LayerKind, System, Witness)> {
        LayerKind::all(self.model.blocks.len()).map(|layer| {
            let system = system(&self.model.manifest, &self.trace.sequence, layer);
            let witness = witness(&self.model, self.tables.get(), &self.trace, layer)
                .expect("a layer that ran has a witness");
            (layer, system, witness)
        })
    }

    fn assert_holds(&self) {
        for (layer, system, witness) in self.layers() {
            self.case(layer, &system, &witness).assert_holds();
        }
    }

    fn case<'a>(&'a self, layer: LayerKind, system: &'a System, witness: &Witness) -> Case<'a> {
        let boundaries = (
            self.trace.boundary_in(layer),
            self.trace.boundary_out(layer),
        );
        let weights = weights(&self.model, layer);
        Case::layer(system, witness, &self.tables, &weights, boundaries)
    }
}

/// Honest witnesses satisfy every relation and lookup: one slab, three slabs of four, vocabularies
/// that end inside a slab, tied and untied, sequences that are padded, full and of one token.
#[test]
fn honest_layers_hold() {
    for (shape, prompt, new) in [
        (SHAPES[0], 1, 1),
        (SHAPES[0], 5, 4),
        (SHAPES[1], 4, 1),
        (SHAPES[2], 3, 2),
    ] {
        Scene::new(shape, prompt, new).assert_holds();
    }
    for manifest in llamas() {
        for (prompt, new) in [(1, 1), (5, 4)] {
            Scene::of(manifest.clone(), prompt, new).assert_holds();
        }
    }
}

/// Every option of an architecture, in sequences that are longer than windows.
#[test]
fn honest_layers_of_every_kind_hold() {
    for (_, manifest) in decoders() {
        Scene::of(manifest, 4, 2).assert_holds();
    }
}

/// No entry of any column is free in any kind of block.
#[test]
#[ignore = "the slow oracle on wide heads: minutes"]
fn every_column_of_every_kind_is_bound() {
    for (name, manifest) in decoders() {
        println!("{name}");
        let a = &manifest.architecture;
        let filled = a.head_width != a.head_lanes() || a.width != a.stream();
        let scene = Scene::of(manifest, 3, 2);
        for (layer, system, witness) in scene.layers() {
            if layer == LayerKind::Embedding {
                continue;
            }
            assert_eq!(system.validate(), Ok(()), "{layer}");
            // Weights of lanes that only fill slabs up meet zeros: whatever they are, the key fixes them.
            let filling = system
                .columns
                .iter()
                .filter(|column| matches!(column.segment, Segment::Matrix(_) | Segment::Vector(_)));
            let filling: Vec<&str> = filling.map(|column| &*column.name).collect();
            // An activation that is 0 at all tokens meets any weight.
            let untouched = if filled {
                &filling[..]
            } else {
                &["down weight"]
            };
            let case = scene.case(layer, &system, &witness);
            case.assert_every_column_is_bound(untouched);
        }
    }
}

/// What a key's manifest implies of its weights is what a model has.
#[test]
fn weights_have_the_shapes_that_manifests_imply() {
    let decoders = decoders().into_iter().map(|(_, manifest)| manifest);
    for manifest in SHAPES
        .map(manifest)
        .into_iter()
        .chain(llamas())
        .chain(decoders)
    {
        let model = model_of(manifest, 4);
        for layer in LayerKind::all(model.blocks.len()) {
            let shapes = weight_shapes(&model.manifest.architecture, layer);
            let weights = weights(&model, layer);
            let vectors: Vec<usize> = weights.vectors.iter().map(|v| v.len()).collect();
            let matrices: Vec<_> = weights
                .matrices
                .iter()
                .map(|m| (m.inputs, m.outputs))
                .collect();
            assert_eq!(
                (vectors, matrices),
                (shapes.vectors, shapes.matrices),
                "{layer}"
            );
        }
    }
}

/// No entry of any column is free, at one slab and at three of four.
#[test]
fn every_column_of_every_layer_is_bound() {
    let shapes = [SHAPES[0], SHAPES[2]].map(manifest);
    let [shared, _, _, wide] = llamas();
    for manifest in shapes.into_iter().chain([shared, wide]) {
        let scene = Scene::of(manifest, 3, 2);
        for (layer, system, witness) in scene.layers() {
            if layer == LayerKind::Block(1) {
                continue;
            }
            // The embedding opens the tables only where the statement points.
            scene
                .case(layer, &system, &witness)
                .assert_every_column_is_bound(&["wte", "wpe"]);
        }
    }
}

/// The same function in floating point, from the integers' real values: every scale and bias must
/// be where the formulas say. What fills slabs up is zero.
struct Reference<'a> {
    model: &'a IntegerModel,
    a: &'a Architecture,
}

fn weight(m: &IntMatrix, k: usize, c: usize) -> f64 {
    f64::from(m.row(k)[c]) / 65536.0
}

fn scaled(b: &[i64], bits: u32) -> Vec<f64> {
    b.iter()
        .map(|b| *b as f64 / 2f64.powi(bits as i32))
        .collect()
}

fn linear(x: &[f64], m: &IntMatrix, bias: &[f64]) -> Vec<f64> {
    let sum = |c: usize| (0..m.inputs).map(|k| x[k] * weight(m, k, c)).sum::<f64>();
    (0..m.outputs)
        .map(|c| bias.get(c).unwrap_or(&0.0) + sum(c))
        .collect()
}

/// x / √(mean x² + ε), where `width` of the lanes count.
fn root_mean_square(x: &[f64], width: usize) -> Vec<f64> {
    let square = x.iter().map(|v| v * v).sum::<f64>() / width as f64;
    x.iter().map(|v| v / (square + 1e-5).sqrt()).collect()
}

fn times(gain: &[f64], x: &[f64]) -> Vec<f64> {
    x.iter()
        .zip(gain.iter().cycle())
        .map(|(x, g)| x * g)
        .collect()
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

impl Reference<'_> {
    /// The logits at every position.
    fn logits(&self, tokens: &[u32]) -> Vec<Vec<f64>> {
        let (model, d) = (self.model, self.a.stream());
        let embed = |(i, t): (usize, &u32)| {
            let position = |k| model.positions.as_ref().map_or(0.0, |p| weight(p, k, i));
            (0..d)
                .map(|k| weight(&model.tokens, k, *t as usize) + position(k))
                .collect()
        };
        let mut h: Vec<Vec<f64>> = tokens.iter().enumerate().map(embed).collect();
        for index in 0..model.blocks.len() {
            self.block(index, &mut h);
        }
        let s = &model.manifest.scales;
        let (gain, bias) = (
            scaled(&model.head.gain, s.final_gain),
            scaled(&model.head.bias, s.head_input()),
        );
        let matrix = model.head.matrix.as_ref().unwrap_or(&model.tokens);
        let logit_bias = scaled(&model.head.logit_bias, s.logits());
        h.iter()
            .map(|x| {
                let mut y = times(&gain, &self.lifted_norm(x, &s.final_lifts));
                add(&mut y, &bias);
                linear(&y, matrix, &logit_bias)
            })
            .collect()
    }

    /// Without gain and bias.
    fn norm(&self, x: &[f64]) -> Vec<f64> {
        let width = self.a.width;
        if self.a.norm == NormKind::RootMeanSquare {
            return root_mean_square(x, width);
        }
        let mean = x.iter().sum::<f64>() / width as f64;
        let centred: Vec<f64> = x[..width].iter().map(|v| v - mean).collect();
        let mut z = root_mean_square(&centred, width);
        z.resize(x.len(), 0.0);
        z
    }

    /// That of a norm whose channels are lifted, at the scale that is none's.
    fn lifted_norm(&self, x: &[f64], lifts: &[u8]) -> Vec<f64> {
        let mut z = self.norm(x);
        for (z, t) in z.iter_mut().zip(lifts) {
            *z *= f64::from(1 << t);
        }
        z
    }

    fn block(&self, index: usize, h: &mut [Vec<f64>]) {
        let (a, s, w) = (
            self.a,
            &self.model.manifest.scales,
            &self.model.blocks[index],
        );
        let before = |norm: bool, x: &Vec<f64>, lifts: &[u8]| match norm {
            true => self.lifted_norm(x, lifts),
            false => x.clone(),
        };
        let scales = &s.blocks[index];
        let [first, second] = a.order.before();
        let behind = |x: Vec<f64>, gain: &[i64]| match a.order.behind() {
            true => times(&scaled(gain, s.gain), &self.norm(&x)),
            false => x,
        };
        let x: Vec<Vec<f64>> = h.iter().map(|x| before(first, x, &scales.lifts1)).collect();
        let heads = self.attend(index, &x);
        for (i, h) in h.iter_mut().enumerate() {
            let bias = scaled(&w.output_bias, s.output_bias);
            let branch = behind(linear(&heads[i], &w.output, &bias), &w.attention_gain);
            let y = match a.order {
                Order::Parallel => x[i].clone(),
                Order::ParallelNorms => self.lifted_norm(h, &scales.lifts2),
                _ => {
                    let mut middle = h.clone();
                    add(&mut middle, &branch);
                    before(second, &middle, &scales.lifts2)
                }
            };
            let bits = s.up_accumulator(index);
            let up = linear(&y, &w.up, &scaled(&w.up_bias, bits));
            let ramp = |x: &f64| x.max(0.0);
            let g: Vec<f64> = match &w.gate {
                None => up.iter().map(ramp).collect(),
                Some(gate) => {
                    let gate = linear(&y, gate, &scaled(&w.gate_bias, bits));
                    gate.iter().zip(up).map(|(x, up)| ramp(x) * up).collect()
                }
            };
            let bias = scaled(&w.down_bias, s.down_accumulator(a, index));
            let b = behind(linear(&g, &w.down, &bias), &w.feed_forward_gain);
            add(h, &branch);
            add(h, &b);
        }
    }

    /// The heads' weighted sums of values.
    fn attend(&self, index: usize, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let (a, s, w) = (
            self.a,
            &self.model.manifest.scales,
            &self.model.blocks[index],
        );
        let (lanes, bits) = (a.head_lanes(), s.attention_accumulator(index));
        let project = |m, bias: &[i64]| -> Vec<Vec<f64>> {
            x.iter()
                .map(|x| linear(x, m, &scaled(bias, bits)))
                .collect()
        };
        let normed = |mut rows: Vec<Vec<f64>>, gain: &[i64], heads: usize| {
            if let Some(head_norm) = a.head_norm {
                let (lanes, width) = match head_norm {
                    HeadNorm::Heads => (lanes, a.head_width),
                    HeadNorm::Whole => (heads * lanes, heads * a.head_width),
                };
                for row in &mut rows {
                    let normed = row
                        .chunks(lanes)
                        .flat_map(|head| root_mean_square(head, width));
                    *row = times(&scaled(gain, s.gain), &normed.collect::<Vec<_>>());
                }
            }
            if let Some(turns) = a.rotary(index) {
                let rows = rows.iter_mut().enumerate();
                rows.for_each(|(i, row)| rotate(row, i, turns));
            }
            rows
        };
        let q = normed(project(&w.query, &w.query_bias), &w.query_gain, a.heads);
        let k = normed(project(&w.key, &w.key_bias), &w.key_gain, a.kv_heads);
        let v = project(&w.value, &w.value_bias);
        let window = a.attending(index).window.map_or(x.len(), |n| n as usize);
        (0..x.len())
            .map(|i| {
                let mut heads = vec![0.0; a.query_lanes()];
                for (head, out) in heads.chunks_mut(lanes).enumerate() {
                    let (own, shared) = (head * lanes, head / a.group() * lanes);
                    let dot = |j: usize| {
                        (0..lanes)
                            .map(|l| q[i][own + l] * k[j][shared + l])
                            .sum::<f64>()
                    };
                    let seen = (i + 1).saturating_sub(window)..=i;
                    let weights: Vec<(usize, f64)> = seen.map(|j| (j, dot(j).exp())).collect();
                    let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
                    for (j, weight) in weights {
                        for (l, o) in out.iter_mut().enumerate() {
                            *o += weight / total * v[j][shared + l];
                        }
                    }
                }
                heads
            })
            .collect()
    }
}

/// Turns each head's pairs (m, m + w/2) by i times their angle.
fn rotate(row: &mut [f64], i: usize, turns: &[u64]) {
    let half = turns.len();
    for head in row.chunks_mut(2 * half) {
        for (m, turn) in turns.iter().enumerate() {
            let angle = *turn as f64 / 2f64.powi(64) * i as f64 * std::f64::consts::TAU;
            let (sin, cos) = angle.sin_cos();
            let (a, b) = (head[m], head[m + half]);
            (head[m], head[m + half]) = (a * cos - b * sin, a * sin + b * cos);
        }
    }
}

/// Integer logits are the float model's to within fixed point's rounding, at every position.
#[test]
fn logits_match_the_same_model_in_floating_point() {
    let decoders = decoders().into_iter().map(|(_, manifest)| manifest);
    for manifest in SHAPES
        .map(manifest)
        .into_iter()
        .chain(llamas())
        .chain(decoders)
    {
        let (model, tables) = (model_of(manifest, 21), OwnedTables::build());
        let tokens = [3, 60, 17, 17, 5, 44];
        let a = &model.manifest.architecture;
        let expected = Reference { model: &model, a }.logits(&tokens);
        let mut seen = 0;
        logits(&model, tables.get(), &tokens, |position, logits| {
            assert_eq!(position, seen);
            seen += 1;
            let largest = expected[position].iter().fold(0f64, |m, x| m.max(x.abs()));
            // A gate multiplies the rounding of its argument by another projection.
            let gated = model.manifest.architecture.gated;
            let tolerance = if gated { 0.01 } else { 0.005 };
            for (logit, expected) in logits.iter().zip(&expected[position]) {
                let difference = (*logit as f64 / 2f64.powi(36) - expected).abs();
                assert!(
                    difference < tolerance * largest,
                    "{:?} {position}: off by {difference} of {largest}",
                    model.manifest.architecture
                );
            }
        })
        .expect("the test model runs");
        assert_eq!(seen, tokens.len());
    }
}

/// Padding is causal: it does not change what comes before it, nor does a longer sequence.
#[test]
fn padding_does_not_touch_earlier_positions() {
    let scene = Scene::new(SHAPES[0], 5, 1);
    let short = Sequence::new(
        &scene.trace.sequence.tokens()[..4],
        &[0],
        &scene.model.manifest.architecture,
    )
    .expect("four tokens");
    assert_eq!(
        (short.tokens().len(), scene.trace.sequence.tokens().len()),
        (4, 8)
    );
    let mut first = Vec::new();
    let mut visit = |_, logits: &[i128]| first.push(logits.to_vec());
    logits(&scene.model, scene.tables.get(), short.tokens(), &mut visit).expect("it runs");
    let mut all = Vec::new();
    let tokens = scene.trace.sequence.tokens();
    let mut visit = |_, logits: &[i128]| all.push(logits.to_vec());
    logits(&scene.model, scene.tables.get(), tokens, &mut visit).expect("it runs");
    assert_eq!(first, all[..4]);
}

/// Only the greedy token passes the run; a cheater who declares another is left with a gap out
/// of range, and so is one who declares the higher of two equal logits.
#[test]
fn only_the_greedy_token_can_be_proved() {
    let scene = Scene::new(SHAPES[0], 4, 1);
    let (position, token) = scene.trace.sequence.outputs()[0];
    let other = (token + 1) % 70;
    let sequence = Sequence::new(
        scene.trace.sequence.tokens(),
        &[other as u32],
        &scene.model.manifest.architecture,
    )
    .expect("well formed");
    assert_eq!(
        run(&scene.model, scene.tables.get(), sequence).err(),
        Some(RunError::NotGreedy {
            index: 0,
            token: other as u32,
            greedy: token as u32
        })
    );

    let h = scene.trace.boundary_in(LayerKind::Head);
    let mut twin = scene.model.clone();
    let upper = token.max(other);
    for k in 0..64 {
        let row = &mut twin.tokens.data[k * 70..][..70];
        row[upper] = row[token];
        row[token.min(other)] = row[token];
    }
    for (model, claimed) in [(&scene.model, other), (&twin, upper)] {
        let system = head_system(&model.manifest, 4, &[(position, claimed)]);
        // The witness of the true token, then the columns that depend on the claim.
        let mut logits_at = Vec::new();
        visit_logits(model, h, &[position], |_, l| logits_at = l.to_vec()).expect("it fits");
        let greedy = crate::ops::argmax(&logits_at);
        let head = Head::new(&model.manifest, 4, &[(position, greedy)]);
        let mut recorder = crate::ops::Recorder::on(head.system());
        head.run(model, h, &mut recorder).expect("the greedy token");
        let weights = weights(model, LayerKind::Head);
        let witness = recorder.into_witness();
        let mut case = Case::layer(&system, &witness, &scene.tables, &weights, (h, &[]));
        case.set(
            "best logit",
            vec![crate::algebra::from_i128(logits_at[claimed])],
        );
        for (v, logit) in logits_at.iter().enumerate() {
            let gap = logits_at[claimed] - logit - i128::from(v < claimed);
            case.set_integer("gap 0", v, crate::algebra::from_i128(gap));
        }
        assert_eq!(case.failures(), ["lookup of gap 0[0]"]);
    }
}

/// A value that does not fit is refused by name, with the remedy.
#[test]
fn overflow_names_layer_tensor_and_remedy() {
    let tables = OwnedTables::build();
    let mut model = model(SHAPES[0], 9);
    model.blocks[1].query_bias[5] = 1 << 40;
    let sequence = Sequence::new(&[1, 2], &[3], &model.manifest.architecture).expect("well formed");
    let error = run(&model, tables.get(), sequence).expect_err("17 bits");
    assert!(matches!(
        &error,
        RunError::Overflow { layer: LayerKind::Block(1), source } if source.tensor == "query"
    ));
    let message = error.to_string();
    for part in ["block 1", "query", "32767", "--headroom"] {
        assert!(message.contains(part), "{message}");
    }
}

/// T = |prompt| + n − 1 positions, the outputs at the last n; padded to a power of two.
#[test]
fn sequences_are_derived_from_the_statement() {
    let a = manifest(SHAPES[0]).architecture;
    let s = Sequence::new(&[1, 2, 3], &[7, 8, 9], &a).expect("five tokens");
    assert_eq!(s.tokens(), [1, 2, 3, 7, 8, 69, 69, 69]);
    assert_eq!(s.outputs(), [(2, 7), (3, 8), (4, 9)]);
    let s = Sequence::new(&[1], &[7], &a).expect("one token");
    assert_eq!(
        (s.tokens(), s.outputs()),
        (&[1, 69, 69, 69][..], vec![(0, 7)])
    );

    let refused =
        |prompt: &[u32], output: &[u32]| Sequence::new(prompt, output, &a).expect_err("malformed");
    assert_eq!(refused(&[], &[1]), RunError::EmptyPrompt);
    assert_eq!(refused(&[], &[1, 2]), RunError::EmptyPrompt);
    assert_eq!(refused(&[1], &[]), RunError::EmptyOutput);
    assert!(matches!(
        refused(&[70], &[1]),
        RunError::UnknownToken { token: 70, .. }
    ));
    assert!(matches!(
        refused(&[1], &[70]),
        RunError::UnknownToken { token: 70, .. }
    ));
    // Before anything else of them is looked at.
    assert_eq!(
        refused(&[1], &[70; MAX_OUTPUTS + 1]),
        RunError::TooManyOutputs(MAX_OUTPUTS + 1)
    );
    assert!(matches!(
        refused(&[1], &[1; MAX_OUTPUTS]),
        RunError::TooLong { .. }
    ));
    // 17 tokens pad to 32, beyond the context of 20.
    assert_eq!(
        refused(&[1; 17], &[1]),
        RunError::TooLong {
            tokens: 17,
            padded: 32,
            context: 20
        }
    );
}

/// A hostile manifest is refused before anything is declared from it.
#[test]
fn hostile_manifests_are_refused() {
    let good = manifest(SHAPES[2]);
    assert_eq!(check(&good), Ok(()));
    let spoils: [fn(&mut Manifest); 28] = [
        |m| m.architecture.width = 0,
        |m| m.architecture.width = 5000,
        |m| m.architecture.width = usize::MAX - 63,
        |m| m.architecture.heads = 200,
        |m| m.architecture.kv_heads = 2,
        |m| m.architecture.kind_of = vec![3],
        |m| m.architecture.hidden = 0,
        |m| m.architecture.hidden = 1 << 40,
        |m| m.architecture.layers = 2,
        |m| m.architecture.layers = 0,
        |m| m.architecture.vocabulary = 0,
        |m| m.architecture.vocabulary = usize::MAX,
        |m| m.architecture.context = 0,
        |m| m.architecture.context = usize::MAX,
        |m| m.architecture.end_of_text = vec![130],
        |m| m.architecture.epsilon_bits = f64::NAN.to_bits(),
        |m| m.scales.residual = 16,
        |m| m.scales.weight = u32::MAX,
        |m| m.scales.exp = 40,
        |m| m.scales.inverse = 20,
        |m| m.scales.inverse = 100,
        |m| m.scales.activation_value = u32::MAX,
        |m| m.scales.activation_key = 26,
        |m| m.scales.output_bias = 87,
        |m| m.scales.final_norm.root = 43,
        |m| m.scales.blocks[0].norm1.as_mut().unwrap().output = u32::MAX,
        |m| m.scales.blocks[0].q = u32::MAX,
        |m| m.scales.blocks[0].k = 17,
    ];
    for (i, spoil) in spoils.iter().enumerate() {
        let mut manifest = good.clone();
        spoil(&mut manifest);
        let error = check(&manifest).expect_err("hostile");
        assert!(!error.to_string().is_empty(), "{i}");
    }
}

/// What declaring needs beyond the manifest's own check, each limit from both sides.
#[test]
fn declaring_has_limits_of_its_own() {
    // Accumulators of 14 fractional bits.
    fn narrow(m: &mut Manifest) {
        m.scales.weight = 13;
        let norm = NormScale {
            output: 1,
            root: 33,
        };
        (m.scales.blocks[0].norm1, m.scales.blocks[0].norm2) = (Some(norm), Some(norm));
    }
    type Change = fn(&mut Manifest, usize);
    let limits: [(&str, usize, usize, Change); 7] = [
        ("the width", 4096, 4160, |m, x| {
            let a = &mut m.architecture;
            (a.width, a.heads, a.kv_heads) = (x, x / 64, x / 64);
            let norm = NormScale {
                output: 8,
                root: 40,
            };
            (m.scales.final_norm, m.scales.blocks[0].norm1) = (norm, Some(norm));
            m.scales.blocks[0].norm2 = Some(norm);
        }),
        ("the feed-forward width", 1 << 15, (1 << 15) + 64, |m, x| {
            m.architecture.hidden = x;
        }),
        ("the context", 4, 3, |m, x| m.architecture.context = x),
        ("the residual stream", 15, 16, |m, x| {
            m.scales.residual = x as u32
        }),
        ("the queries", 13, 14, |m, x| {
            narrow(m);
            (m.scales.blocks[0].q, m.scales.blocks[0].k) = (x as u32, 10);
        }),
        ("the keys", 13, 14, |m, x| {
            narrow(m);
            (m.scales.blocks[0].q, m.scales.blocks[0].k) = (10, x as u32);
        }),
        ("the activation's key", 13, 14, |m, x| {
            narrow(m);
            (m.scales.activation_key, m.scales.activation_value) = (x as u32, 14);
        }),
    ];
    for (what, good, bad, change) in limits {
        let checked = |x| {
            let mut manifest = manifest(SHAPES[2]);
            manifest.scales.weight = 16;
            change(&mut manifest, x);
            check(&manifest)
        };
        assert_eq!(checked(good), Ok(()), "{what}");
        match checked(bad) {
            Err(ManifestError::Size { what: w, .. } | ManifestError::Scale { what: w, .. }) => {
                assert_eq!(w, what);
            }
            other => panic!("{what}: {other:?}"),
        }
    }
}

/// Extremes that the check admits can be declared: no panic is left to a hostile manifest.
#[test]
fn admitted_extremes_can_be_declared() {
    type Stretch = fn(&mut Manifest);
    let stretches: [Stretch; 8] = [
        |m| m.architecture.context = 1 << 17,
        |m| m.architecture.vocabulary = 1 << 20,
        |m| m.architecture.hidden = 1 << 15,
        |m| m.scales.exp = 22,
        |m| m.scales.inverse = 60,
        |m| m.scales.output_bias = 24,
        // The largest shift: of the attention's output.
        |m| {
            (m.scales.residual, m.scales.weight, m.scales.inverse) = (0, 20, 60);
            m.scales.output_bias = 0;
        },
        |m| (m.scales.activation_key, m.scales.activation_value) = (4, 24),
    ];
    for (i, stretch) in stretches.iter().enumerate() {
        let mut manifest = manifest(SHAPES[2]);
        stretch(&mut manifest);
        assert_eq!(check(&manifest), Ok(()), "{i}");
        let sequence = Sequence::new(&[1, 2], &[3], &manifest.architecture).expect("well formed");
        for layer in LayerKind::all(1) {
            let system = system(&manifest, &sequence, layer);
            assert_eq!(system.validate(), Ok(()), "{i}, {layer}");
        }
    }
}
