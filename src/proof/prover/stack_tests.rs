//! A stack of three blocks, beside a layer that does not exist: what changes in one of them, what is exchanged between two, and what
//! would cancel in their sum is refused by the real verifier.

use ff::Field;

use super::tests::{Scene, honest_run, verify_bundle};
use super::*;
use crate::algebra::F;
use crate::argument::stack::Conversation;
use crate::layers::testing::{Shape, model};
use crate::proof::testing::{SHAPE, tiny_of};
use crate::system::{ColumnId, Segment};

const BLOCKS: usize = 3;

fn stack_scene() -> &'static Scene {
    static SCENE: std::sync::OnceLock<Scene> = std::sync::OnceLock::new();
    SCENE.get_or_init(|| {
        let setup = Setup::new(None);
        let shape = Shape {
            layers: BLOCKS,
            ..SHAPE
        };
        Scene {
            model: tiny_of(model(shape, 5), &setup),
            setup,
        }
    })
}

fn kinds() -> Vec<LayerKind> {
    LayerKind::all(BLOCKS).collect()
}

/// Blocks among [`kinds`].
const A: usize = 1;
const B: usize = 2;
const C: usize = 3;

type Lie<'l> = dyn Fn(&mut [LayerSecret], &mut [BoundarySecret]) + 'l;

/// What the verifier says of a bundle of all layers whose prover lies.
fn verdict(run: &Run, lie: &Lie) -> Result<(), String> {
    let scene = stack_scene();
    let proof = prove_spoiled(
        &scene.setup,
        &scene.model,
        run,
        &kinds(),
        &|_| {},
        |s, b| lie(s, b),
    );
    verify_bundle(scene, run, &kinds(), &proof.expect("proved"))
}

fn refused(what: &str, lie: &Lie) {
    let verdict = verdict(&honest_run(stack_scene()), lie);
    let refusal = verdict.expect_err(what);
    assert!(refusal.starts_with("refused"), "{what}: {refusal}");
}

/// The blocks are one stack, the embedding and the head two others.
#[test]
fn blocks_of_one_form_are_one_stack() {
    let run = honest_run(stack_scene());
    let manifest = &stack_scene().model.model.manifest;
    let layers = systems::layers(manifest, &run.trace.sequence, &kinds());
    let conversation = Conversation::new(layers.iter().collect());
    let stacks = conversation.stacks.iter();
    let stacks: Vec<&[usize]> = stacks.map(|stack| &stack.layers[..]).collect();
    assert_eq!(stacks, [&[0][..], &[A, B, C], &[4]]);
    assert_eq!(conversation.rounds(), conversation.own_rounds + 2);
    assert_eq!(verdict(&run, &|_, _| {}), Ok(()));
}

/// A sample of the columns of every block: one entry of every fifth, at another place in each block.
#[test]
fn columns_of_every_layer_of_a_stack_are_bound() {
    let run = honest_run(stack_scene());
    let manifest = &stack_scene().model.model.manifest;
    let layer = systems::layer(manifest, &run.trace.sequence, LayerKind::Block(0));
    let columns = layer.system.columns.iter().enumerate();
    let columns: Vec<(usize, usize, &str)> = columns
        .filter(|(_, c)| matches!(c.segment, Segment::Key | Segment::Exact))
        .map(|(n, c)| (layer.layout.offset(ColumnId(n)), c.len(), c.name.as_str()))
        .collect();
    let keys = layer.layout.keys_len();
    for (block, from) in [(A, 0), (B, 2), (C, 4)] {
        for (offset, len, name) in columns.iter().skip(from).step_by(6) {
            let at = offset + (len * block / 4).min(len - 1);
            refused(&format!("{name} of layer {block}"), &|secrets, _| {
                let data = &mut secrets[block].data;
                if at < keys {
                    data.keys[at] += 1;
                } else {
                    data.exact[at - keys] += 1;
                }
            });
        }
    }
}

/// What two layers of a stack have in common is their form, and nothing else.
#[test]
fn nothing_can_be_exchanged_between_the_layers_of_a_stack() {
    refused("witnesses exchanged", &|secrets, _| {
        let [a, b] = secrets[A..=B].as_mut() else {
            unreachable!("two layers")
        };
        std::mem::swap(&mut a.data.keys, &mut b.data.keys);
        std::mem::swap(&mut a.data.exact, &mut b.data.exact);
    });
    refused("a witness twice", &|secrets, _| {
        secrets[B].data = secrets[A].data.clone();
    });
    refused("matrices exchanged", &|secrets, _| {
        let [a, b] = secrets[B..=C].as_mut() else {
            unreachable!("two layers")
        };
        std::mem::swap(
            &mut a.data.externals.matrices,
            &mut b.data.externals.matrices,
        );
    });
    refused("vectors exchanged", &|secrets, _| {
        let [a, b] = secrets[A..=B].as_mut() else {
            unreachable!("two layers")
        };
        std::mem::swap(&mut a.data.externals.vectors, &mut b.data.externals.vectors);
    });
    refused("boundaries exchanged", &|secrets, boundaries| {
        boundaries.swap(1, 2);
        for secret in &mut secrets[A..=C] {
            let data = &mut secret.data.externals;
            std::mem::swap(&mut data.boundary_in, &mut data.boundary_out);
        }
    });
}

/// Errors of two layers, and of a layer and its lookups' counts, that would cancel if layers weighed alike.
#[test]
fn errors_of_two_layers_do_not_cancel() {
    let run = honest_run(stack_scene());
    let manifest = &stack_scene().model.model.manifest;
    let layer = systems::layer(manifest, &run.trace.sequence, LayerKind::Block(0));
    let named = |name: &str| {
        let columns = layer.system.columns.iter();
        let place = columns.clone().position(|c| c.name == name);
        let place = place.unwrap_or_else(|| panic!("no column {name}"));
        layer.layout.offset(ColumnId(place))
    };
    let keys = layer.layout.keys_len();
    let (value, key) = (named("value") - keys, named("norm 1 output[0]"));
    for (a, b) in [(A, B), (A, C), (B, C)] {
        refused("exact values", &|secrets, _| {
            secrets[a].data.exact[value] += 1;
            secrets[b].data.exact[value] -= 1;
        });
        refused("keys", &|secrets, _| {
            secrets[a].data.keys[key] += 1;
            secrets[b].data.keys[key] -= 1;
        });
        refused("helpers", &|secrets, _| {
            secrets[a].data.cheat.helper.push((0, F::ONE));
            secrets[b].data.cheat.helper.push((0, -F::ONE));
        });
    }
}

/// The relations of a block are those of its own scales: a block that ran with another's is refused, though its form is the same.
#[test]
fn a_layer_cannot_be_proved_with_the_numbers_of_another() {
    let scene = stack_scene();
    let mut other = scene.model.model.manifest.clone();
    let block = &mut other.scales.blocks[1];
    (block.q, block.k) = (block.q - 1, block.k + 1);
    other.check().expect("a good manifest");
    let run = honest_run(scene);
    let layers = |manifest| systems::layers(manifest, &run.trace.sequence, &kinds());
    let [honest, changed] = [layers(&scene.model.model.manifest), layers(&other)];
    assert!(changed[B].has_form_of(&honest[A]), "the same form");
    let mut lying = honest_run(scene);
    let model = &mut scene.model.model.clone();
    model.manifest = other;
    lying.witnesses[B] =
        layers::witness(model, scene.model.op_tables(), &run.trace, kinds()[B]).expect("it runs");
    let shown = |run: &Run| format!("{:?}", run.witnesses[B].values);
    assert_ne!(shown(&lying), shown(&run));
    assert!(verdict(&lying, &|_, _| {}).is_err());
}
