//! Good files to start from: of a model of one block with random weights, made the same every time.

use std::borrow::Cow;
use std::ops::Neg;
use std::path::Path;

use nanozk::algebra::F;
use nanozk::curve::ScalarBytes;
use nanozk::layers::quantize_checkpoint;
use nanozk::model::synthetic::gguf::GgmlDType;
use nanozk::model::synthetic::{self, Layout, Stored};
use nanozk::model::{ChatTemplate, Checkpoint, Config, Tokenizer};
use nanozk::proof::{
    BlindingSeed, Challenge, KeyFile, Kind, Layers, Mode, ModelFile, ProveOptions, Setup, commit,
    container, prove,
};
use safetensors::Dtype;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::readers::{CONTENT, OTHER, WHOLE, smallest};

/// A model's files, made anew.
pub struct Files {
    pub model: Vec<u8>,
    pub key: Vec<u8>,
    /// Of one proof for all layers, and of one each.
    pub proofs: [Vec<u8>; 2],
    /// To a run, and a challenge to it.
    pub commitment: Vec<u8>,
    pub challenge: Vec<u8>,
}

/// Quantizes, commits and proves with the small model.
pub fn files(cache: &Path) -> Files {
    let setup = Setup::new(Some(cache));
    let config = Config {
        hidden: 64,
        ..synthetic::config(1, 1, 257, 8)
    };
    let weights = synthetic::file(&tensors(&config, Dtype::F32));
    let checkpoint = Checkpoint::from_parts(
        "small",
        synthetic::config_json(&config).to_string().as_bytes(),
        vec![("model.safetensors".into(), Cow::Owned(weights))],
        &synthetic::tokenizer().to_json(),
    );
    let checkpoint = checkpoint.expect("a good checkpoint");
    let model = quantize_checkpoint(&checkpoint, "what the scales are chosen for", 1, true);
    let mut model = model.expect("quantized").model;
    // One with few tokens: here its bytes are mostly in the way.
    let tokenizer = Tokenizer::from_json(TOKENIZERS[0].as_bytes()).expect("a tokenizer");
    model.manifest.tokenizer = tokenizer.digest();
    let tokenizer = tokenizer.to_json();
    let file = ModelFile::commit(model, BlindingSeed::OPEN, tokenizer, &setup, &|_, _| {});
    let key = container::encode(Kind::VerifyingKey, &file.key_file());
    let model = container::encode(Kind::Model, &file);
    let opened = file.open().expect("its own key");
    let proofs = [Mode::Bundled, Mode::Separate].map(|mode| {
        let options = ProveOptions {
            max_new_tokens: 2,
            mode,
            layers: Layers::All,
        };
        let (proof, _) = prove(&setup, &opened, &[72, 105], &options, &|_| {}).expect("proved");
        container::encode(Kind::Proof, &proof)
    });
    let (commit, _) = commit(&setup, &opened, &[72, 105], 2).expect("committed");
    let challenge = Challenge {
        commitment: commit.statement.commitment(),
        nonce: [7; 32],
        count: 2,
        weights: vec![1, 300, 1 << 20],
    };
    Files {
        model,
        key,
        proofs,
        commitment: container::encode(Kind::Commitment, &commit),
        challenge: container::encode(Kind::Challenge, &challenge),
    }
}

/// What a reader starts from.
pub struct Seed {
    pub reader: &'static str,
    pub input: Vec<u8>,
    /// Whether the reader accepts it.
    pub good: bool,
}

/// Good files of every form, and two that are refused late.
pub fn seeds(files: &Files) -> Vec<Seed> {
    let mut seeds = Vec::new();
    let mut add = |reader, parts: &[&[u8]]| {
        seeds.push(Seed {
            reader,
            input: parts.concat(),
            good: true,
        });
    };
    for proof in &files.proofs {
        add("proof", &[&[WHOLE], proof]);
        add("proof", &[&[CONTENT], &proof[16..]]);
    }
    for (reader, file) in [
        ("commitment", &files.commitment),
        ("challenge", &files.challenge),
    ] {
        add(reader, &[&[WHOLE], file]);
        add(reader, &[&[CONTENT], &file[16..]]);
    }
    // Verifying is slow: its fuzzer starts from the shorter proof alone.
    let [bundled, _] = &files.proofs;
    add("verify_proof", &[&[WHOLE], bundled]);
    add("verify_proof", &[&[OTHER], &bundled[16..]]);
    for mode in [CONTENT, OTHER] {
        let key = &files.key[16..];
        let length = u32::try_from(key.len()).expect("small").to_le_bytes();
        add("pair", &[&[mode], &length, key, &bundled[16..]]);
    }
    add("vk", &[&[WHOLE], &files.key]);
    add("vk", &[&[CONTENT], &files.key[16..]]);
    add("nzk", &[&[WHOLE], &files.model]);
    add(
        "config",
        &[synthetic::config_json(&smallest()).to_string().as_bytes()],
    );
    let llama = synthetic::config_json(&synthetic::llama_config(1, (4, 2, 64), 257, 8));
    add("config", &[llama.to_string().as_bytes()]);
    add(
        "config",
        &[include_bytes!("../../../models/tiny-gpt2/config.json")],
    );
    let weights = synthetic::file(&tensors(&smallest(), Dtype::BF16));
    add("safetensors", &[&[WHOLE], &weights]);
    let zeros = synthetic::file(&unbuffered(&tensors(&smallest(), Dtype::BF16)));
    add("safetensors", &[&[CONTENT], &zeroed(&zeros)]);
    add("safetensors", &[&[OTHER], index().as_bytes()]);
    add("safetensors", &[&[OTHER + 1], &halves(&smallest())]);
    let weights = tensors(&smallest(), Dtype::BF16);
    add("pickle", &[&[WHOLE], &synthetic::pickle::file(&weights)]);
    add("pickle", &[&[CONTENT], &sized(&weights)]);
    let weights = synthetic::weights(&smallest(), 7);
    for dtype in [GgmlDType::F32, GgmlDType::Q8_0] {
        let file = synthetic::gguf::gpt2(&smallest(), &weights, dtype);
        add("gguf", &[&[WHOLE], &file]);
        add("gguf", &[&[CONTENT, file[8], file[16]], &file[24..]]);
    }
    add("tokenizer", &[&[WHOLE], &synthetic::tokenizer().to_json()]);
    for other in TOKENIZERS {
        add("tokenizer", &[&[WHOLE], other.as_bytes()]);
    }
    let (vocabulary, merges) = (br#"{"h":0,"e":1,"he":2}"#, b"#version: 0.2\nh e\n");
    add("tokenizer", &[&[CONTENT], vocabulary, b"\xff", merges]);
    for template in TEMPLATES {
        add("chat", &[&[WHOLE], template.as_bytes()]);
        let template = ChatTemplate::new(template.into(), Default::default());
        let template = template.expect("a template").to_bytes();
        add("chat", &[&[CONTENT], &template]);
    }
    add("chat", &[&[OTHER], MESSAGES]);
    let key: KeyFile = decode(Kind::VerifyingKey, &files.key);
    add(
        "points",
        &[key
            .key
            .rows
            .iter()
            .flatten()
            .take(4)
            .map(|p| p.0)
            .collect::<Vec<_>>()
            .as_flattened()],
    );

    // The values at which encodings begin and end; a model without its matrices, which is short.
    let minus_one = ScalarBytes::from(&F::from(1).neg()).0;
    add("points", &[&[0; 32], &minus_one, &[0xff; 32]]);
    add("nzk", &[&[CONTENT], &hollow(&files.model)[16..]]);
    let refused = seeds.len() - 2;
    seeds[refused..]
        .iter_mut()
        .for_each(|seed| seed.good = false);
    seeds
}

/// Tokenizers in the other forms that are published, with hardly any tokens: GPT-2's own file, byte
/// level behind other splitting, and BPE over characters.
const TOKENIZERS: [&str; 3] = [
    r#"{"version": "1.0", "truncation": null, "padding": null, "normalizer": null, "added_tokens":
        [{"id": 3, "special": true, "content": "<|endoftext|>", "single_word": false,
          "lstrip": false, "rstrip": false, "normalized": true}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true},
        "model": {"dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false,
            "vocab": {"H": 0, "e": 1, "He": 2, "<|endoftext|>": 3}, "merges": ["H e"]}}"#,
    r#"{"version": "1.0", "truncation": null, "padding": null, "normalizer": {"type": "NFC"},
        "added_tokens": [], "post_processor": {"type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}], "special_tokens": {}},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
                "behavior": "Isolated", "invert": false},
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                "use_regex": false}]},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "fuse_unk": false,
            "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "byte_fallback": false, "ignore_merges": true,
            "vocab": {"H": 0, "e": 1, "l": 2, "o": 3, "He": 4}, "merges": [["H", "e"]]}}"#,
    r#"{"version": "1.0", "added_tokens": [{"id": 0, "special": true, "content": "<unk>",
            "single_word": false, "lstrip": true, "rstrip": true, "normalized": false}],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
            "vocab": {"<unk>": 0, "▁": 1, "a": 2, "H": 3, "▁H": 4}, "merges": ["▁ H"]}}"#,
];

/// The tensors of a checkpoint.
fn tensors(config: &Config, dtype: Dtype) -> Vec<Stored> {
    let layout = Layout {
        dtype,
        ..Layout::default()
    };
    synthetic::stored(config, &synthetic::weights(config, 7), &layout)
}

/// A file's header, before it the number of zeros that stand for the tensors.
fn zeroed(weights: &[u8]) -> Vec<u8> {
    let header = u64::from_le_bytes(*weights.first_chunk().expect("a length")) as usize;
    let zeros = u16::try_from(weights.len() - 8 - header).expect("small");
    [&zeros.to_le_bytes(), &weights[8..8 + header]].concat()
}

/// The tensors that may be full of zeros: no buffers.
fn unbuffered(tensors: &[Stored]) -> Vec<Stored> {
    let is_weight = |tensor: &&Stored| tensor.dtype == Dtype::BF16;
    tensors.iter().filter(is_weight).cloned().collect()
}

/// The pickle of these tensors, before it the number and the sizes of its storages.
fn sized(tensors: &[Stored]) -> Vec<u8> {
    let tensors = unbuffered(tensors);
    let size = |tensor: &Stored| u16::try_from(tensor.bytes.len()).expect("small");
    let sizes: Vec<u8> = tensors.iter().flat_map(|t| size(t).to_le_bytes()).collect();
    let count = u8::try_from(tensors.len()).expect("few");
    [&[count], &sizes[..], &synthetic::pickle::pickle(&tensors)].concat()
}

/// Two files with half of the tensors each, before them the length of the first.
fn halves(config: &Config) -> Vec<u8> {
    let tensors = tensors(config, Dtype::BF16);
    let [first, second] = [0, 1].map(|half| {
        let dealt = tensors.iter().skip(half).step_by(2).cloned();
        synthetic::file(&dealt.collect::<Vec<_>>())
    });
    let cut = u16::try_from(first.len()).expect("small");
    [&cut.to_le_bytes(), &first[..], &second].concat()
}

/// An index of two files.
fn index() -> String {
    let map = json!({"wte.weight": "1-of-2.safetensors", "wpe.weight": "2-of-2.safetensors"});
    json!({"metadata": {"total_size": 9}, "weight_map": map}).to_string()
}

/// The model without its matrices: short, so that what is around them is reached.
fn hollow(model: &[u8]) -> Vec<u8> {
    let mut file: ModelFile = decode(Kind::Model, model);
    let model = &mut file.model;
    let blocks = model.blocks.iter_mut().flat_map(|b| {
        [
            &mut b.query,
            &mut b.key,
            &mut b.value,
            &mut b.output,
            &mut b.up,
            &mut b.down,
        ]
    });
    let ends = [&mut model.tokens].into_iter().chain(&mut model.positions);
    for matrix in blocks.chain(ends) {
        matrix.data.clear();
    }
    container::encode(Kind::Model, &file)
}

fn decode<T: Serialize + DeserializeOwned>(kind: Kind, bytes: &[u8]) -> T {
    container::decode(kind, bytes, Path::new("seed")).expect("it was written by ourselves")
}

/// Templates with most of what they can have.
const TEMPLATES: [&str; 3] = [
    "{% for message in messages %}{{ '<|' + message.role + '|>\n' + message['content'] | trim }}{% endfor %}",
    "{%- macro part(text, end='.') %}{{ text.strip().split(' ')[-1] ~ end }}{% endmacro %}\n{%- set ns = namespace(n=0) %}\n\
     {% for key, value in messages[0].items() | list if loop is not defined %}{% set ns.n = ns.n + loop.index %}\n\
     {{ part(value, end='!') | upper }} {{ {'a': [key, none, 1.5]} | tojson(indent=2) }}{% else %}none{% endfor %}",
    "{% set x %}{% generation %}{{ strftime_now('%d %b %Y') }}{% endgeneration %}{% endset %}{{ x[::-1] }}\n\
     {{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(', ') }}\n\
     {% if messages | length > 9 or 'x' in x %}{{ raise_exception('no ' ~ x) }}{% elif not x %}{% endif %}",
];

const MESSAGES: &[u8] = br#"[{"role": "user", "content": [{"type": "text", "text": "Hi \u00e9"}], "n": [1, -2.5, true, null]}]"#;
