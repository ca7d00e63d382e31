//! Every reader of a foreign file, as a function of bytes that says whether it accepts them. It
//! panics only where an assertion below shows that it has accepted what it must not.
//!
//! The first byte of an input says how the rest is meant, so that a fuzzer need not guess lengths
//! that we can write for it: see each function.

use std::borrow::Cow;
use std::path::Path;

use nanozk::curve::{EncodingError, PointBytes, ScalarBytes, decode_points};
use nanozk::model::{
    ChatTemplate, Checkpoint, Config, Messages, Tokenizer, chat, shard_names, synthetic,
};
use nanozk::proof::container::{self, VERSION};
use nanozk::proof::statement;
use nanozk::proof::{
    Challenge, CommitFile, CommittedModel, KeyError, KeyFile, Kind, LayerProofs, ModelFile,
    ProofFile, Setup, Texts, VerifyingKey, verify,
};
use serde::{Serialize, de::DeserializeOwned};

/// A reader, by the name of its target.
pub type Reader = (&'static str, fn(&[u8]) -> bool);

/// All readers that need nothing but bytes.
pub const READERS: [Reader; 12] = [
    ("proof", proof),
    ("commitment", commitment),
    ("challenge", challenge),
    ("vk", vk),
    ("nzk", nzk),
    ("config", config),
    ("safetensors", safetensors),
    ("pickle", pickle),
    ("gguf", gguf),
    ("tokenizer", tokenizer),
    ("chat", chat),
    ("points", points),
];

/// The rest of the input is a whole file.
pub const WHOLE: u8 = 0;
/// The rest is what follows the file's header or length, which are written for it.
pub const CONTENT: u8 = 1;
/// The rest is of the other form that a reader knows.
pub const OTHER: u8 = 2;

/// The mode, and the rest.
fn split(data: &[u8]) -> (u8, &[u8]) {
    data.split_first()
        .map_or((WHOLE, data), |(m, rest)| (m % 4, rest))
}

/// A file in our format: the input itself, or as content behind a header that fits it.
fn file(kind: Kind, data: &[u8]) -> Cow<'_, [u8]> {
    let (mode, rest) = split(data);
    if mode == WHOLE {
        rest.into()
    } else {
        with_header(kind, rest).into()
    }
}

/// Content behind a header that fits it.
fn with_header(kind: Kind, content: &[u8]) -> Vec<u8> {
    let mut file = b"nanozk".to_vec();
    file.extend([kind as u8, VERSION]);
    file.extend((content.len() as u64).to_le_bytes());
    file.extend(content);
    file
}

fn decode<T: Serialize + DeserializeOwned>(kind: Kind, bytes: &[u8]) -> Option<T> {
    container::decode(kind, bytes, Path::new("fuzzed")).ok()
}

/// What a file holds that is read whole. It has one encoding.
fn read<T: Serialize + DeserializeOwned>(kind: Kind, data: &[u8]) -> Option<T> {
    let bytes = file(kind, data);
    let content = decode::<T>(kind, &bytes)?;
    assert_eq!(container::encode(kind, &content), *bytes);
    Some(content)
}

/// A proof file, as `inspect` reads it.
pub fn proof(data: &[u8]) -> bool {
    let Some(proof) = read::<ProofFile>(Kind::Proof, data) else {
        return false;
    };
    let (machine, human) = nanozk::cli::describe(&proof);
    assert_eq!(machine["verified"], false);
    assert!(human.starts_with("not verified"));
    true
}

/// A commitment to a run, as `nanozk challenge` reads it. It selects no layer.
pub fn commitment(data: &[u8]) -> bool {
    let Some(commit) = read::<CommitFile>(Kind::Commitment, data) else {
        return false;
    };
    let Ok(total) = commit.layers() else {
        return false;
    };
    assert_eq!(total, commit.boundaries.len() + 1);
    assert!(commit.statement.layers.is_empty());
    assert_eq!(commit.check(&commit.statement), Ok(()));
    true
}

/// A challenge: what is accepted draws as many distinct layers as it says.
pub fn challenge(data: &[u8]) -> bool {
    let Some(challenge) = read::<Challenge>(Kind::Challenge, data) else {
        return false;
    };
    let Ok(layers) = challenge.layers() else {
        return false;
    };
    assert_eq!(layers.len(), challenge.count as usize);
    assert!(layers.is_sorted_by(|a, b| a < b));
    assert!((layers[layers.len() - 1] as usize) < challenge.weights.len());
    true
}

/// A verifying key: its manifest, but not its points and tables. Tables take milliseconds to build,
/// and they depend on a few small numbers alone; `tests/readers.rs` builds them, and `points` reads
/// points. A tensor is taken away, so that decoding the key ends before it comes to them.
pub fn vk(data: &[u8]) -> bool {
    let Some(mut file) = read::<KeyFile>(Kind::VerifyingKey, data) else {
        return false;
    };
    file.key.rows.pop();
    matches!(
        file.key.decode(),
        Err(KeyError::Tensors { expected, found }) if expected == found + 1
    )
}

/// A quantized model, checked on its own and as far as [`vk`] with its key.
pub fn nzk(data: &[u8]) -> bool {
    let bytes = file(Kind::Model, data);
    let Some(mut file) = decode::<ModelFile>(Kind::Model, &bytes) else {
        return false;
    };
    file.key.rows.clear();
    let checked = file.model.check().is_ok();
    assert!(file.open().is_err(), "the key is empty");
    checked
}

/// A chat template as text or as a key holds it, rendered; or messages, given to a template that prints all of them.
pub fn chat(data: &[u8]) -> bool {
    let (mode, rest) = split(data);
    let tokens = [("bos_token".to_string(), Some("<s>".to_string()))];
    let of_text = |text: &str| ChatTemplate::new(text.into(), tokens.into());
    let (template, messages) = match mode {
        OTHER => (
            of_text("{{ messages | tojson }}"),
            Messages::from_json(rest),
        ),
        CONTENT => (
            ChatTemplate::from_bytes(rest),
            Ok(Messages::of_user("Hi", Some("Be brief."))),
        ),
        _ => {
            let text = std::str::from_utf8(rest).unwrap_or_default();
            (
                of_text(text),
                Ok(Messages::of_user("Hi", Some("Be brief."))),
            )
        }
    };
    let (Ok(template), Ok(messages)) = (template, messages) else {
        return false;
    };
    assert_eq!(
        ChatTemplate::from_bytes(&template.to_bytes()),
        Ok(template.clone())
    );
    let day = "2025-07-06".parse().expect("a day");
    let rendered = template.render(&messages, day);
    rendered.is_ok_and(|prompt| {
        assert!(prompt.len() <= chat::MAX_OUTPUT);
        true
    })
}

/// A `config.json`: what is accepted keeps what [`Config`] promises, and can be described to the manifest.
pub fn config(data: &[u8]) -> bool {
    let Ok(config) = Config::parse(data) else {
        return false;
    };
    let sizes = [config.layers, config.heads, config.hidden, config.context];
    assert!(sizes.iter().all(|size| (1..=1 << 20).contains(size)));
    assert!((1..=256).contains(&config.head_width) && config.heads.is_multiple_of(config.kv_heads));
    assert!(config.rotated <= config.head_width && config.rotated.is_multiple_of(2));
    assert!(config.epsilon > 0.0 && config.epsilon <= 0.1);
    let ends = config.end_of_text.iter();
    assert!(
        ends.clone()
            .all(|token| (*token as usize) < config.vocabulary)
    );
    let architecture = config.architecture();
    assert_eq!(architecture.kind_of.len(), config.layers);
    assert!((0..config.layers).all(|block| {
        let turns = architecture.attending(block).turns.len();
        turns == 0 || turns == architecture.head_lanes() / 2
    }));
    true
}

/// The configuration that [`safetensors`] reads weights for: the smallest that there is.
pub fn smallest() -> Config {
    Config {
        hidden: 64,
        end_of_text: vec![0],
        ..synthetic::config(1, 1, 2, 4)
    }
}

const SMALLEST_TOKENIZER: &[u8] = br#"{"version": "1.0", "added_tokens": [],
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
    "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
    "model": {"type": "BPE", "vocab": {"a": 0, "<|endoftext|>": 1}, "merges": []}}"#;

/// Weights: a whole file; a header, behind a length that fits it and before as many zeros as two
/// bytes say; the index of several files; or two files, cut where two bytes say.
pub fn safetensors(data: &[u8]) -> bool {
    let (mode, rest) = split(data);
    if mode == OTHER {
        let names = shard_names(rest, ".safetensors").unwrap_or_default();
        let plain = |name: &String| Path::new(name).file_name() == Some(name.as_ref());
        assert!(names.iter().all(plain), "{names:?}");
        return !names.is_empty();
    }
    let files: Vec<Cow<[u8]>> = match (mode, rest.split_first_chunk::<2>()) {
        (WHOLE, _) | (_, None) => vec![rest.into()],
        (CONTENT, Some((zeros, header))) => {
            let mut file = (header.len() as u64).to_le_bytes().to_vec();
            file.extend(header);
            file.resize(file.len() + usize::from(u16::from_le_bytes(*zeros)), 0);
            vec![file.into()]
        }
        (_, Some((cut, files))) => {
            let cut = usize::from(u16::from_le_bytes(*cut)).min(files.len());
            vec![files[..cut].into(), files[cut..].into()]
        }
    };
    let files = ["1.safetensors", "2.safetensors"]
        .map(String::from)
        .into_iter()
        .zip(files);
    from_weights(files.collect())
}

/// Whether these are the weights of [`smallest`].
fn from_weights(files: Vec<(String, Cow<[u8]>)>) -> bool {
    let config = synthetic::config_json(&smallest()).to_string();
    let read = Checkpoint::from_parts("fuzzed", config.as_bytes(), files, SMALLEST_TOKENIZER);
    read.is_ok_and(complete)
}

/// Weights as `torch.save` writes them: a whole file; or a pickle, before it the number of its storages in a byte and
/// the size of each, which is full of zeros, in two.
pub fn pickle(data: &[u8]) -> bool {
    let (mode, rest) = split(data);
    let sizes = rest
        .split_first()
        .and_then(|(count, rest)| rest.split_at_checked(2 * usize::from(*count)));
    let file: Cow<[u8]> = match sizes {
        Some((sizes, pickle)) if mode != WHOLE => {
            let sizes = sizes
                .as_chunks::<2>()
                .0
                .iter()
                .copied()
                .map(u16::from_le_bytes);
            let storages = sizes.map(|size| vec![0; usize::from(size)]);
            let storages: Vec<_> = (0..).map(|i| format!("data/{i}")).zip(storages).collect();
            let mut entries = vec![("data.pkl", pickle)];
            entries.extend(storages.iter().map(|(name, zeros)| (&**name, &zeros[..])));
            synthetic::pickle::archive("fuzzed", &entries).into()
        }
        _ => rest.into(),
    };
    from_weights(vec![("pytorch_model.bin".to_string(), file)])
}

/// A GGUF file: whole, or what follows its magic, version and counts of tensors and keys, which are
/// one byte each then.
pub fn gguf(data: &[u8]) -> bool {
    let (mode, rest) = split(data);
    let file: Cow<[u8]> = match (mode, rest.split_first_chunk::<2>()) {
        (WHOLE, _) | (_, None) => rest.into(),
        (_, Some(([tensors, keys], rest))) => {
            let counts = [*tensors, *keys].map(|count| u64::from(count).to_le_bytes());
            let head = [b"GGUF", &3u32.to_le_bytes()[..], counts.as_flattened()].concat();
            [&head[..], rest].concat().into()
        }
    };
    Checkpoint::from_gguf("fuzzed", &file).is_ok_and(complete)
}

/// What an accepted checkpoint keeps: every tensor has its shape and finite values.
fn complete(mut checkpoint: Checkpoint) -> bool {
    for slot in checkpoint.weights.slots(&checkpoint.config) {
        assert_eq!(slot.values.len(), slot.shape.iter().product::<usize>());
        assert!(slot.values.iter().all(|v| v.is_finite()), "{}", slot.name);
    }
    true
}

/// A tokenizer: `tokenizer.json`, or `vocab.json` and `merges.txt` with a byte 255 between them,
/// which neither can hold. What is accepted works, and its canonical form is its own.
pub fn tokenizer(data: &[u8]) -> bool {
    let (mode, rest) = split(data);
    let read = if mode == WHOLE {
        Tokenizer::from_json(rest)
    } else {
        let mut parts = rest.splitn(2, |b| *b == 0xff);
        let mut part = || parts.next().unwrap_or_default();
        Tokenizer::from_vocabulary(part(), part())
    };
    let Ok(tokenizer) = read else {
        return false;
    };
    for text in ["Hello, tokens  of\n 2³² words🦀!", "a", ""] {
        if let Ok(tokens) = tokenizer.encode(text) {
            assert!(tokens.len() <= 8 * text.len(), "{tokens:?}");
            let _ = tokenizer.decode(&tokens);
        }
    }
    let _ = tokenizer.decode(&[0, 1, 2, 3, 255, 256, u32::MAX]);
    let again = Tokenizer::from_json(&tokenizer.to_json()).expect("it was written by ourselves");
    assert_eq!(again.to_json(), tokenizer.to_json());
    true
}

/// Points and scalars: each has one encoding, and no point is the identity.
pub fn points(data: &[u8]) -> bool {
    let chunks = || data.as_chunks::<32>().0.iter();
    let mut bad = false;
    for bytes in chunks() {
        match PointBytes(*bytes).decode() {
            Ok(point) => assert_eq!(PointBytes::from(&point).0, *bytes),
            Err(e) => {
                assert_eq!(e == EncodingError::Identity, *bytes == [0; 32]);
                bad = true;
            }
        }
        if let Ok(scalar) = ScalarBytes(*bytes).decode() {
            assert_eq!(ScalarBytes::from(&scalar).0, *bytes);
        }
    }
    let batch: Vec<PointBytes> = chunks().map(|b| PointBytes(*b)).collect();
    assert_eq!(decode_points(&batch).is_err(), bad);
    !bad
}

/// Verifying against a model of which one proof is known.
pub struct Verifier {
    setup: Setup,
    key: VerifyingKey,
    model: CommittedModel,
    honest: Vec<u8>,
}

/// One in so many pairs is verified to the end: group equations take a tenth of a second, whatever is in the files.
const TO_THE_END: u64 = 256;

impl Verifier {
    /// From the bytes of a good key file and of a good proof file of its model.
    pub fn new(cache: &Path, key: &[u8], honest: &[u8]) -> Self {
        let key: KeyFile = decode(Kind::VerifyingKey, key).expect("a key file of this version");
        let model = key.key.decode().expect("a good key");
        let verifier = Self {
            setup: Setup::new(Some(cache)),
            key: key.key,
            model,
            honest: honest.to_vec(),
        };
        let proof: ProofFile = decode(Kind::Proof, honest).expect("a proof of this version");
        verify(&verifier.setup, &verifier.model, &proof).expect("a valid proof");
        verifier
    }

    /// A proof file; in the third and fourth mode with the model id and the chain that a forger
    /// would fill in. None but the known one is valid.
    pub fn read(&self, data: &[u8]) -> bool {
        let bytes = file(Kind::Proof, data);
        let Some(mut proof) = decode::<ProofFile>(Kind::Proof, &bytes) else {
            return false;
        };
        if split(data).0 >= OTHER {
            relink(&mut proof, &self.key);
        }
        let verified = verify(&self.setup, &self.model, &proof).is_ok();
        assert!(!verified || self.is_known(&proof), "a forgery is accepted");
        verified
    }

    fn is_known(&self, proof: &ProofFile) -> bool {
        container::encode(Kind::Proof, proof) == self.honest
    }

    /// A key and a proof, the contents of their files one behind the other, before them the length of the first in four
    /// bytes; in the third and fourth mode with the digests that a forger would fill in. They are verified as
    /// `nanozk verify` does, and their texts read whatever else is wrong. None but the known ones are valid.
    ///
    /// Most are verified up to the last of the checks that compare counts only, or, where the key is another, up to its
    /// points.
    pub fn pair(&self, data: &[u8]) -> bool {
        let (mode, rest) = split(data);
        let Some((cut, files)) = rest.split_first_chunk::<4>() else {
            return false;
        };
        let (key, proof) = files.split_at(files.len().min(u32::from_le_bytes(*cut) as usize));
        let key = decode::<KeyFile>(Kind::VerifyingKey, &with_header(Kind::VerifyingKey, key));
        let proof = decode::<ProofFile>(Kind::Proof, &with_header(Kind::Proof, proof));
        let (Some(mut key), Some(mut proof)) = (key, proof) else {
            return false;
        };
        if mode >= OTHER {
            key.key.manifest.tokenizer = Tokenizer::digest_of(&key.tokenizer);
            relink(&mut proof, &key.key);
        }
        let tokenizer = key.read_tokenizer();
        let texts = tokenizer.is_ok_and(|t| Texts::new(&t, &proof.statement, None).is_ok());
        let sum = data.iter().fold(0u64, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(*byte))
        });
        let (own_key, known) = (key.key == self.key, self.is_known(&proof));
        let verified = if own_key && known || sum % TO_THE_END == 0 {
            let model = key.key.decode_for(&proof);
            model
                .and_then(|model| verify(&self.setup, &model, &proof))
                .is_ok()
        } else if own_key {
            without_last_round(&mut proof);
            verify(&self.setup, &self.model, &proof).is_ok()
        } else {
            let first = key.key.rows.iter_mut().flatten().next();
            if let Some(point) = first {
                *point = PointBytes([0xff; 32]);
            }
            key.key.decode_for(&proof).is_ok()
        };
        assert!(!verified || own_key && known, "a forgery is accepted");
        verified && texts
    }
}

/// Takes away of each opening a round, which is the last that is counted.
fn without_last_round(proof: &mut ProofFile) {
    let bundles = match &mut proof.proofs {
        LayerProofs::Bundled(bundle) => std::slice::from_mut(&mut **bundle),
        LayerProofs::Separate(bundles) => bundles,
    };
    for bundle in bundles {
        bundle.opening.column_rounds.pop();
    }
}

/// Gives a proof the model id of this key, and the links of its own boundaries.
fn relink(proof: &mut ProofFile, key: &VerifyingKey) {
    let statement = &mut proof.statement;
    statement.model_id = key.id();
    let (width, padded) = (key.manifest.architecture.width, statement.padded as usize);
    let links = statement.chain.iter_mut().zip(&proof.boundaries);
    for (index, (link, points)) in links.enumerate() {
        if let Ok(points) = decode_points(points) {
            *link = statement::link(index, padded, width, &points);
        }
    }
}
