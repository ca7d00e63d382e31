//! What the challenges of a bundle depend on: the list in `docs/container.md`, item by item.

use pasta_curves::EqAffine;
use rayon::prelude::*;

use super::statement::{ModelId, Selection, Statement, Stop, link};
use super::testing::{SHAPE, proof, tiny_model};
use super::verifier::{Bundle, Check};
use super::{CommittedModel, LayerKind, LayerProofs, Mode, OpenedModel, ProofFile, Setup, systems};
use crate::argument::claims::Layer;
use crate::commit::fresh_rng;
use crate::curve::decode_points;
use crate::curve::testing::points;
use crate::layers::testing::manifest;
use crate::layers::{self, Sequence};
use crate::quant::{Activation, Manifest, NormScale, Tables};
use crate::seal::bundle::BundleProof;
use crate::seal::verify_batch;
use crate::transcript::Transcript;
use crate::transcript::public::Kind;

/// Who refuses a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Accepted,
    /// A seal does not fit what the verifier computes.
    Seal,
    /// The seals do, the opening does not.
    Opening,
}

/// The verifier of one bundle of a file.
struct Verifier<'a> {
    setup: &'a Setup,
    model: &'a OpenedModel,
    file: &'a ProofFile,
    kinds: Vec<LayerKind>,
    proof: &'a BundleProof,
}

impl<'a> Verifier<'a> {
    /// Of a file's layer `n`, or of the bundle of all.
    fn new(setup: &'a Setup, model: &'a OpenedModel, file: &'a ProofFile, n: usize) -> Self {
        let all: Vec<LayerKind> = LayerKind::all(SHAPE.layers).collect();
        let (kinds, proof) = match &file.proofs {
            LayerProofs::Bundled(proof) => (all, proof.as_ref()),
            LayerProofs::Separate(proofs) => (vec![all[n]], &proofs[n]),
        };
        Self {
            setup,
            model,
            file,
            kinds,
            proof,
        }
    }

    fn transcript(&self) -> Transcript {
        systems::transcript(&self.model.committed, &self.file.statement, &self.kinds)
    }

    /// Verifies the bundle in `transcript`, which is left as the verifier leaves it.
    fn verdict(&self, transcript: &mut Transcript) -> Verdict {
        let statement = &self.file.statement;
        let architecture = &self.model.committed.manifest.architecture;
        let sequence = statement.validate(architecture).expect("valid");
        let boundaries = self.file.boundaries.iter();
        let boundaries: Vec<_> = boundaries
            .map(|b| decode_points(b).expect("points"))
            .collect();
        let check = Check {
            setup: self.setup,
            model: &self.model.committed,
            statement,
            sequence: &sequence,
            boundaries: &boundaries,
        };
        let bundle = Bundle {
            kinds: &self.kinds,
            proof: self.proof,
        };
        let mut rng = fresh_rng().expect("randomness");
        let (msm, seal) = check
            .continue_from(transcript, &bundle)
            .expect("well formed");
        if verify_batch(&[seal], &mut rng).is_err() {
            Verdict::Seal
        } else if msm.check() {
            Verdict::Accepted
        } else {
            Verdict::Opening
        }
    }
}

/// A conversation in words: what is absorbed, "3 r" for three times the label r, and after an arrow
/// what is drawn.
fn in_words(transcript: &Transcript) -> Vec<String> {
    let mut runs: Vec<(bool, &str, usize)> = Vec::new();
    for item in transcript.items() {
        let drawn = item.kind == Kind::Challenge;
        match runs.last_mut() {
            Some((d, label, times)) if (*d, *label) == (drawn, item.label.as_str()) => *times += 1,
            _ => runs.push((drawn, &item.label, 1)),
        }
    }
    let word = |(drawn, label, times): &(bool, &str, usize)| {
        let times = match times {
            1 => String::new(),
            n => format!("{n} "),
        };
        let arrow = if *drawn { "-> " } else { "" };
        format!("{arrow}{times}{label}")
    };
    runs.iter().map(word).collect()
}

/// Everything that T0 absorbs is altered in turn, on the verifier's side alone: an honest proof is
/// refused each time, by the seal if it is absorbed before t₀ is drawn, else by the opening. A new item
/// is covered without being named.
#[test]
fn every_absorbed_item_decides() {
    let setup = Setup::new(None);
    let model = tiny_model(&setup);
    let file = proof(&setup, &model, Mode::Bundled);
    let verifier = Verifier::new(&setup, &model, &file, 0);
    let mut honest = verifier.transcript();
    assert_eq!(verifier.verdict(&mut honest), Verdict::Accepted);

    let items = honest.items();
    let seeded = items
        .iter()
        .position(|i| i.label == "hidden transcript seed")
        .expect("t₀ is drawn");
    let said: Vec<usize> = (0..items.len())
        .filter(|n| items[*n].kind != Kind::Challenge)
        .collect();
    let passed: Vec<_> = said
        .par_iter()
        .map(|n| (*n, verifier.verdict(&mut verifier.transcript().altered(*n))))
        .filter(|(n, verdict)| {
            let expected = if *n < seeded {
                Verdict::Seal
            } else {
                Verdict::Opening
            };
            *verdict != expected
        })
        .map(|(n, verdict)| (n, &items[n].label, verdict))
        .collect();
    let rejected = said.len() - passed.len();
    println!(
        "transcript: {} absorbed items altered, {rejected} rejected",
        said.len()
    );
    assert!(passed.is_empty(), "{passed:?}");
}

/// The documented conversation, in the words of [`in_words`], of `layers` layers with `rows` rows of multiplicities and witnesses, and
/// of helpers, in `rounds` rounds.
fn documented(layers: usize, rows: [usize; 2], rounds: usize, opening: [usize; 2]) -> Vec<String> {
    let times = |n: usize, label: &str| match n {
        1 => label.to_string(),
        _ => format!("{n} {label}"),
    };
    let drawn = |n: usize, label: &str| format!("-> {}", times(n, label));
    let mut talk: Vec<String> = ["nanozk/bundle/v2", "tables", "layers"]
        .map(String::from)
        .into();
    for _ in 0..layers {
        talk.extend(["layer index", "system"].map(String::from));
    }
    talk.extend(["mask".to_string(), times(rows[0], "witness row")]);
    talk.extend(["alpha", "beta"].map(|c| drawn(1, c)));
    talk.push(times(rows[1], "helper row"));
    talk.extend([drawn(rounds, "tau"), drawn(1, "lambda")]);
    talk.push(drawn(1, "hidden transcript seed"));
    talk.extend([times(rounds, "r"), "rho".to_string(), "E".to_string()]);
    talk.extend(["seal".to_string(), drawn(1, "chi")]);
    talk.extend(["opening/rows", "opening/columns"].map(String::from));
    for (rounds, label) in opening.into_iter().zip(["opening/rows", "opening/columns"]) {
        for _ in 0..rounds {
            talk.extend([times(2, label), drawn(1, label)]);
        }
        if label == "opening/rows" {
            talk.push(drawn(1, "opening/z"));
        }
    }
    talk.extend(["opening/end".to_string(), drawn(1, "opening/end")]);
    talk
}

/// The order of T0 in `docs/container.md`: a bundle's, and a layer's that stands alone.
#[test]
fn challenges_are_drawn_after_what_they_must_depend_on() {
    let setup = Setup::new(None);
    let model = tiny_model(&setup);
    let heard = |file: &ProofFile, layer: usize| {
        let verifier = Verifier::new(&setup, &model, file, layer);
        let mut transcript = verifier.transcript();
        assert_eq!(verifier.verdict(&mut transcript), Verdict::Accepted);
        said_is_absorbed(verifier.proof, &transcript);
        in_words(&transcript)
    };
    let bundled = proof(&setup, &model, Mode::Bundled);
    assert_eq!(heard(&bundled, 0), documented(3, [12, 1], 12, [5, 14]));
    let separate = proof(&setup, &model, Mode::Separate);
    assert_eq!(heard(&separate, 2), documented(1, [5, 1], 10, [4, 14]));
}

/// Everything in a bundle's proof is absorbed, as it stands in the file, but for lengths and the
/// opening's two responses, after which nothing is drawn. A new field is covered without being named.
fn said_is_absorbed(proof: &BundleProof, transcript: &Transcript) {
    let mut left = postcard::to_stdvec(proof).expect("it encodes");
    for item in transcript.items() {
        let at = left
            .windows(item.data.len().max(1))
            .position(|w| w == item.data);
        // The statement, systems, indices: not in the bundle.
        if let Some(at) = at.filter(|_| item.data.len() >= 32) {
            left.drain(at..at + item.data.len());
        }
    }
    let seal_length = if proof.seal.len() < 128 { 1 } else { 2 };
    // Of the rows of both segments, of r, of the seal, of the opening's rounds.
    let lengths = 3 + seal_length + 2;
    assert_eq!(left.len(), lengths + 64);
    let responses = [
        proof.opening.data_response.0,
        proof.opening.blind_response.0,
    ]
    .concat();
    assert!(left.ends_with(&responses));
}

type Change<T> = fn(&mut T);

/// The first item is the digest of the whole statement, with the model id and the chain.
#[test]
fn the_statements_digest_depends_on_every_field() {
    let statement = Statement {
        model_id: ModelId([1; 32]),
        prompt: vec![1, 2, 3],
        output: vec![4, 5],
        stop: Stop::Length,
        padded: 4,
        chain: vec![[6; 32], [7; 32]],
        layers: vec![0, 2],
        selection: Selection::Chosen,
    };
    let changes: [Change<Statement>; 17] = [
        |s| s.model_id.0[31] ^= 1,
        |s| s.prompt[1] ^= 1,
        |s| s.prompt.swap(0, 1),
        |s| s.prompt.push(4),
        |s| {
            let token = s.output.remove(0);
            s.prompt.push(token);
        },
        |s| s.output[1] ^= 1,
        |s| s.output.truncate(1),
        |s| s.stop = Stop::EndOfText,
        |s| s.padded = 8,
        |s| s.chain[0][0] ^= 1,
        |s| s.chain.swap(0, 1),
        |s| s.chain.truncate(1),
        |s| s.layers[1] = 1,
        |s| s.layers.push(3),
        |s| s.layers.truncate(1),
        |s| s.selection = Selection::OwnDraw,
        |s| s.selection = Selection::Challenge([8; 32]),
    ];
    all_differ(&statement, &changes, Statement::digest);
}

/// The first challenge of a bundle depends on which layers it is about.
#[test]
fn a_bundles_transcript_depends_on_its_layers() {
    let model = CommittedModel::without_rows(manifest(SHAPE), ModelId([1; 32]));
    let statement = Statement {
        model_id: model.id,
        prompt: vec![1],
        output: vec![2],
        stop: Stop::Length,
        padded: 2,
        chain: Vec::new(),
        layers: vec![0, 1, 2],
        selection: Selection::Chosen,
    };
    let kinds: Vec<LayerKind> = LayerKind::all(SHAPE.layers).collect();
    let changes: [Change<Vec<LayerKind>>; 3] = [
        |k| k.swap(0, 1),
        |k| k.truncate(2),
        |k| k[1] = LayerKind::Block(1),
    ];
    all_differ(&kinds, &changes, |kinds| {
        systems::transcript(&model, &statement, kinds).challenge("alpha")
    });
}

/// A link of the chain is the digest of a boundary's commitments, of its place and its shape.
#[test]
fn a_link_depends_on_every_part() {
    type Boundary = (usize, usize, usize, Vec<EqAffine>);
    let boundary: Boundary = (1, 4, 64, points(3));
    let changes: [Change<Boundary>; 6] = [
        |b| b.0 = 2,
        |b| b.1 = 8,
        |b| b.2 = 128,
        |b| b.3[2] = -b.3[2],
        |b| b.3.swap(0, 1),
        |b| b.3.truncate(2),
    ];
    all_differ(&boundary, &changes, |(index, padded, width, points)| {
        link(*index, *padded, *width, points)
    });
}

/// Every scale, every figure of the shape and every token, a generated one that is fed back included, is
/// in the system of a layer or in a table, whose digests are absorbed; so the argument depends on them, and
/// not only on the model id. The one exception changes nothing in the integer function: it says in which
/// unit logits are to be read.
#[test]
fn systems_and_tables_depend_on_every_scale() {
    type Run = (Manifest, Vec<u32>);
    let changes: [(&str, Change<Run>); 25] = [
        ("residual", |(m, _)| m.scales.residual += 1),
        ("weight", |(m, _)| m.scales.weight += 1),
        ("output bias", |(m, _)| m.scales.output_bias += 1),
        ("exp", |(m, _)| m.scales.exp -= 1),
        ("inverse", |(m, _)| m.scales.inverse += 1),
        ("activation's key", |(m, _)| m.scales.activation_key -= 1),
        ("activation's value", |(m, _)| {
            m.scales.activation_value -= 1;
        }),
        ("final gain", |(m, _)| m.scales.final_gain += 1),
        ("final norm", |(m, _)| finer(&mut m.scales.final_norm)),
        ("final root", |(m, _)| m.scales.final_norm.root += 16),
        ("norm 1", |(m, _)| {
            finer(m.scales.blocks[0].norm1.as_mut().unwrap())
        }),
        ("root 1", |(m, _)| {
            m.scales.blocks[0].norm1.as_mut().unwrap().root += 16
        }),
        ("norm 2", |(m, _)| {
            finer(m.scales.blocks[0].norm2.as_mut().unwrap())
        }),
        ("root 2", |(m, _)| {
            m.scales.blocks[0].norm2.as_mut().unwrap().root -= 16
        }),
        ("lifts 1", |(m, _)| m.scales.blocks[0].lifts1 = lifts(m)),
        ("lifts 2", |(m, _)| m.scales.blocks[0].lifts2 = lifts(m)),
        ("final lifts", |(m, _)| m.scales.final_lifts = lifts(m)),
        ("q", |(m, _)| m.scales.blocks[0].q -= 1),
        ("k", |(m, _)| m.scales.blocks[0].k -= 1),
        ("activation", |(m, _)| {
            m.architecture.activation = Activation::GeluErf;
        }),
        ("epsilon", |(m, _)| {
            m.architecture.epsilon_bits = 2e-5f64.to_bits();
        }),
        ("vocabulary", |(m, _)| m.architecture.vocabulary += 1),
        ("prompt", |(_, tokens)| tokens[1] += 1),
        ("token fed back", |(_, tokens)| tokens[3] += 1),
        ("last token", |(_, tokens)| tokens[4] += 1),
    ];
    let absorbed = |(manifest, tokens): &Run| {
        let a = &manifest.architecture;
        // A key with such a manifest is refused.
        layers::check(manifest).ok()?;
        let sequence = Sequence::new(&tokens[..3], &tokens[3..], a).expect("well formed");
        let kinds: Vec<LayerKind> = LayerKind::all(a.layers).collect();
        let layers = systems::layers(manifest, &sequence, &kinds);
        let mut digests: Vec<[u8; 32]> = layers.iter().map(Layer::digest).collect();
        digests.push(Tables::new(&manifest.scales, a.activation).digest());
        Some(digests)
    };
    let mut manifest = manifest(SHAPE);
    manifest.architecture.context = 16;
    manifest.scales.output_bias = 40;
    let run: Run = (manifest, vec![3, 1, 4, 15, 9]);
    let honest = absorbed(&run).expect("a manifest that can be used");
    let (mut same, mut refused) = (Vec::new(), Vec::new());
    for (name, change) in changes {
        let mut changed = run.clone();
        change(&mut changed);
        match absorbed(&changed) {
            None => refused.push(name),
            Some(digests) if digests == honest => same.push(name),
            Some(_) => {}
        }
    }
    println!("no key can have: {refused:?}");
    assert!(
        refused.len() < changes.len() / 2,
        "most changes are possible"
    );
    assert_eq!(same, ["final gain"]);
}

/// The first channel of a norm lifted by a bit.
fn lifts(manifest: &Manifest) -> Vec<u8> {
    let mut lifts = vec![0; manifest.architecture.width];
    lifts[0] = 1;
    lifts
}

/// One bit more for a norm's output and its root.
fn finer(norm: &mut NormScale) {
    norm.output += 1;
    norm.root += 1;
}

/// The digest of a value and of each of its changed forms: no two are equal.
fn all_differ<T: Clone, D: PartialEq>(value: &T, changes: &[Change<T>], digest: impl Fn(&T) -> D) {
    let mut digests = vec![digest(value)];
    for (n, change) in changes.iter().enumerate() {
        let mut changed = value.clone();
        change(&mut changed);
        let next = digest(&changed);
        assert!(!digests.contains(&next), "change {n} has an earlier digest");
        digests.push(next);
    }
}

/// The encoding of systems does not depend on the compiler, nor on how anything is printed.
#[test]
fn systems_have_known_digests() {
    let manifest = manifest(SHAPE);
    let sequence =
        Sequence::new(&[3, 1, 4], &[15, 9], &manifest.architecture).expect("well formed");
    let digests = LayerKind::all(SHAPE.layers).map(|kind| {
        let digest = systems::layer(&manifest, &sequence, kind).digest();
        digest
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>()
    });
    let known = [
        "45801fd560ce3361b41dc9d9377e7c4aa7f8db7b06f62c7fbb8cde3a0b6e7f24",
        "0a40ba5980059c9481033d4d7b70dee585290b6bfba47f7737b1eb63b530928d",
        "5bb1df1702cc190ee218fe9dbd4b0d39a2e40f4a24d763b22e97d92f8375faed",
    ];
    assert_eq!(digests.collect::<Vec<_>>(), known);
}
