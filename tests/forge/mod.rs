//! Files whose counts are right and whose content is not: how far a verifier goes for them. The counts are found as a
//! forger would, by asking the verifier.

use std::borrow::Cow;

use nanozk::commit::{OpeningError, OpeningProof};
use nanozk::curve::{Generators, PointBytes, ScalarBytes};
use nanozk::layers::{MIN_TOKENS, quantize_checkpoint};
use nanozk::model::{Checkpoint, Config, Tokenizer, synthetic};
use nanozk::proof::{
    BlindingSeed, KeyError, KeyFile, Kind, LayerProofs, Layers, Mode, ModelFile, ProofFile,
    ProveOptions, Selection, Setup, Statement, Stop, VerifyError, container, prove, row_bits,
    statement, verify,
};
use nanozk::quant::{Architecture, Manifest};
use nanozk::seal::bundle::{BundleError, BundleProof};

/// A random model of one block with this tokenizer, whether it is one or not.
pub fn model(config: &Config, tokenizer: &[u8], setup: &Setup) -> ModelFile {
    let weights = synthetic::weights(config, 7);
    let stored = synthetic::stored(config, &weights, &synthetic::Layout::default());
    let checkpoint = Checkpoint::from_parts(
        "small",
        synthetic::config_json(config).to_string().as_bytes(),
        vec![(
            "model.safetensors".into(),
            Cow::Owned(synthetic::file(&stored)),
        )],
        &synthetic::tokenizer().to_json(),
    );
    let checkpoint = checkpoint.expect("a good checkpoint");
    let quantized = quantize_checkpoint(&checkpoint, "what the scales are chosen for", 1, true);
    let mut model = quantized.expect("quantized").model;
    model.manifest.tokenizer = Tokenizer::digest_of(tokenizer);
    ModelFile::commit(
        model,
        BlindingSeed::OPEN,
        tokenizer.to_vec(),
        setup,
        &|_, _| {},
    )
}

/// A key, and a valid proof of the embedding for this prompt and one token.
pub fn honest(file: ModelFile, prompt: &[u32], setup: &Setup) -> [Vec<u8>; 2] {
    let key = container::encode(Kind::VerifyingKey, &file.key_file());
    let options = ProveOptions {
        max_new_tokens: 1,
        mode: Mode::Bundled,
        layers: Layers::Listed(vec![0]),
    };
    let opened = file.open().expect("its own key");
    let (proof, _) = prove(setup, &opened, prompt, &options, &|_| {}).expect("proved");
    [key, container::encode(Kind::Proof, &proof)]
}

/// A key of this architecture without any weights behind it.
pub fn key(mut manifest: Manifest, change: impl FnOnce(&mut Architecture)) -> KeyFile {
    change(&mut manifest.architecture);
    let (a, scales) = (&mut manifest.architecture, &mut manifest.scales);
    // Kinds of blocks in turns.
    a.kind_of = (0..a.layers)
        .map(|block| (block % a.kinds.len()) as u8)
        .collect();
    scales.blocks = vec![scales.blocks[0].clone(); a.layers];
    let tokenizer = Vec::new();
    let rows = Vec::new();
    let key = nanozk::proof::VerifyingKey { manifest, rows };
    let mut file = KeyFile {
        key,
        tokenizer,
        chat_template: None,
    };
    loop {
        let checked = file.key.check();
        let rows = &mut file.key.rows;
        match checked {
            Ok(()) => return file,
            Err(KeyError::Tensors { expected, .. }) => rows.resize(expected, Vec::new()),
            Err(KeyError::Rows {
                tensor, expected, ..
            }) => rows[tensor].resize(expected, point()),
            Err(other) => panic!("{other}"),
        }
    }
}

fn point() -> PointBytes {
    PointBytes::from(&Generators::derive(1).g[0])
}

/// What a forged proof is about.
pub struct Claim {
    pub prompt: usize,
    pub output: usize,
    /// The layers that it lists.
    pub layers: Vec<u32>,
    pub mode: Mode,
}

/// A proof of a claim by the model of this key, in which nothing is right but the statement and the counts.
pub fn proof(key: &KeyFile, claim: &Claim, setup: &Setup) -> ProofFile {
    let mut proof = unfitted(key, claim);
    let blocks = key.key.manifest.architecture.layers;
    if blocks > 1 && claim.layers.len() == blocks + 2 && claim.mode == Mode::Separate {
        let one = self::key(key.key.manifest.clone(), |a| a.layers = 1);
        let layers = vec![0, 1, 2];
        let one = self::proof(&one, &Claim { layers, ..*claim }, setup);
        proof.proofs = repeated(one.proofs, blocks);
    }
    loop {
        let checked = key.key.decode_for(&proof);
        let refused = checked.and_then(|model| verify(setup, &model, &proof));
        let refused = refused.expect_err("a forgery is accepted");
        if !fit(&mut proof, refused, blocks) {
            return proof;
        }
    }
}

/// The proofs of embedding, a block and the head, with as many blocks. All are alike.
fn repeated(proofs: LayerProofs, blocks: usize) -> LayerProofs {
    let LayerProofs::Separate(layers) = proofs else {
        panic!("each has its own")
    };
    let blocks = vec![layers[1].clone(); blocks];
    LayerProofs::Separate([&layers[..1], &blocks, &layers[2..]].concat())
}

/// The statement with its boundaries, before layers' proofs without a row.
pub fn unfitted(key: &KeyFile, claim: &Claim) -> ProofFile {
    let a = &key.key.manifest.architecture;
    let (prompt, output) = (vec![1; claim.prompt], vec![2; claim.output]);
    // All but the last output are run.
    let padded = (claim.prompt + claim.output - 1)
        .next_power_of_two()
        .max(MIN_TOKENS);
    let boundary = vec![point(); (padded * a.width).div_ceil(1 << row_bits(a))];
    let points = nanozk::curve::decode_points(&boundary).expect("points");
    let link = |l| statement::link(l, padded, a.width, &points);
    let bundles = match claim.mode {
        Mode::Bundled => 1,
        Mode::Separate => claim.layers.len(),
    };
    let mut bundles = vec![bundle(); bundles];
    ProofFile {
        statement: Statement {
            model_id: key.key.id(),
            prompt,
            output,
            stop: Stop::Length,
            padded: padded as u32,
            chain: (0..=a.layers).map(link).collect(),
            layers: claim.layers.clone(),
            selection: Selection::Chosen,
        },
        boundaries: vec![boundary; a.layers + 1],
        proofs: match claim.mode {
            Mode::Bundled => LayerProofs::Bundled(Box::new(bundles.remove(0))),
            Mode::Separate => LayerProofs::Separate(bundles),
        },
    }
}

fn bundle() -> BundleProof {
    let scalar = ScalarBytes([1; 32]);
    BundleProof {
        mask: point(),
        witness: Vec::new(),
        helper: Vec::new(),
        round: Vec::new(),
        rho: scalar,
        masked: scalar,
        seal: Vec::new(),
        opening: OpeningProof {
            row_rounds: Vec::new(),
            column_rounds: Vec::new(),
            commitment: point(),
            data_response: scalar,
            blind_response: scalar,
        },
    }
}

/// Gives a proof the count that it is refused for; false if it is refused for something else. All blocks are alike.
fn fit(proof: &mut ProofFile, refused: VerifyError, blocks: usize) -> bool {
    let listed = proof.statement.layers.clone();
    let (place, error) = match refused {
        VerifyError::Layer { layer, source } => (Some(layer.index(blocks) as u32), source),
        VerifyError::Bundle(source) => (None, source),
        _ => return false,
    };
    let like = |a: u32, b: u32| a == b || [a, b].iter().all(|l| (1..=blocks as u32).contains(l));
    let bundles = match &mut proof.proofs {
        LayerProofs::Bundled(bundle) => vec![(listed.clone(), &mut **bundle)],
        LayerProofs::Separate(all) => {
            let layers = listed.iter().map(|l| vec![*l]);
            layers.zip(all).collect()
        }
    };
    for (layers, bundle) in bundles {
        if place.is_some_and(|place| !like(place, layers[0])) {
            continue;
        }
        match &error {
            BundleError::Total { what, expected, .. } => match *what {
                "witness rows" => bundle.witness.resize(*expected, point()),
                "helper rows" => bundle.helper.resize(*expected, point()),
                "rounds" => bundle.round.resize(*expected, ScalarBytes([1; 32])),
                _ => return false,
            },
            BundleError::Opening(OpeningError::Rounds { kind, expected, .. }) => {
                let opening = &mut bundle.opening;
                let rounds = match *kind {
                    "row" => &mut opening.row_rounds,
                    _ => &mut opening.column_rounds,
                };
                rounds.resize(*expected, (point(), point()));
            }
            _ => return false,
        }
    }
    true
}
