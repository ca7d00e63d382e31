//! What hostile files can cost a verifier, row by row of the table in `docs/threat-model.md`: memory is asserted, and
//! printed with the time.
//!
//!     cargo test --release --test costs -- --nocapture
//!     cargo test --release --test costs -- --nocapture --ignored     # the largest, minutes

mod forge;

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use nanozk::layers::FisherTable;
use nanozk::model::{ChatTemplate, Config, Messages, Tokenizer, synthetic};
use nanozk::proof::{Challenge, KeyFile, Kind, Mode, ProofFile, Setup, Texts, container, verify};
use nanozk::quant::{Architecture, Attending, Manifest};
use peak_alloc::PeakAlloc;
use serde_json::{Value, json};

use forge::Claim;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MB: usize = 1 << 20;

/// The generators, of all sizes. One test at a time, because the memory that is counted is the whole program's.
fn setup() -> MutexGuard<'static, Setup> {
    static SETUP: OnceLock<Mutex<Setup>> = OnceLock::new();
    let setup = SETUP.get_or_init(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("setup");
        let setup = Setup::new(Some(&cache));
        (12..=18).for_each(|size| drop(setup.generators.get(size)));
        Mutex::new(setup)
    });
    setup.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What `read` returns, and how far above what is in use the memory rises meanwhile, which is below `most`. Only who
/// has the generators may measure: other tests' memory would be counted.
fn within<T>(_alone: &Setup, most: usize, row: &str, read: impl FnOnce() -> T) -> T {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let start = Instant::now();
    let value = read();
    let seconds = start.elapsed().as_secs_f64();
    let peak = MEMORY.peak_usage().saturating_sub(before);
    println!("{row}: {:.1} MB, {seconds:.3} s", peak as f64 / MB as f64);
    assert!(peak < most, "{row}: {peak} bytes");
    value
}

/// What `nanozk verify` does with a key and a proof, as bytes of files.
fn verified(setup: &Setup, key: &[u8], proof: &[u8]) -> Result<Texts, String> {
    let path = Path::new("hostile");
    let said = |e: &dyn std::error::Error| e.to_string();
    let proof: ProofFile = container::decode(Kind::Proof, proof, path).map_err(|e| said(&e))?;
    let key: KeyFile = container::decode(Kind::VerifyingKey, key, path).map_err(|e| said(&e))?;
    let model = key.key.decode_for(&proof).map_err(|e| said(&e))?;
    verify(setup, &model, &proof).map_err(|e| said(&e))?;
    let tokenizer = key.read_tokenizer().map_err(|e| said(&e))?;
    Texts::new(&tokenizer, &proof.statement, None).map_err(|e| said(&e))
}

/// A byte-level tokenizer, in its canonical form, whose token 257 has this text.
fn tokenizer_with(token: &str) -> Vec<u8> {
    let json = String::from_utf8(synthetic::tokenizer().to_json()).expect("UTF-8");
    let last = r#""<|endoftext|>":256}"#;
    assert_eq!(json.matches(last).count(), 1, "the vocabulary's last token");
    let more = format!(r#""<|endoftext|>":256,"{token}":257}}"#);
    json.replace(last, &more).into_bytes()
}

/// A token of many bytes in the key, which the proof has in every place: the text is a product of two lengths in
/// two files. Version 0.1.0 took 3.1 GB and 27 s for the first of these.
#[test]
fn long_tokens_in_many_places() {
    let setup = setup();
    let config = synthetic::config(1, 1, 300, 2048);
    for (bytes, places) in [
        (20_000, 1000),
        (100_000, 2000),
        (1024, 2000),
        (256, 1025),
        (256, 1024),
    ] {
        let tokenizer = tokenizer_with(&"a".repeat(bytes));
        let file = forge::model(&config, &tokenizer, &setup);
        let [key, proof] = forge::honest(file, &vec![257; places], &setup);
        let files = key.len() + proof.len();
        let row = format!("{places} places of a token of {bytes} bytes, {files} bytes of files");
        match within(&setup, 100 * MB, &row, || verified(&setup, &key, &proof)) {
            // The token is refused where the tokenizer is read.
            Err(reason) => assert!(bytes > 1024 && reason.contains("a token of"), "{reason}"),
            Ok(texts) => {
                // GPT-2's parts may double a text.
                let readable = 2 * bytes * places <= 1 << 19;
                assert_eq!(texts.prompt.is_some(), readable, "{row}");
                // No merge makes the token of its letters.
                assert_eq!(texts.own_tokens, readable.then_some(false));
                assert!(bytes <= 1024 && texts.output.is_some());
            }
        }
    }
}

/// The same with the program itself, which has 400 MB of address space: version 0.1.0 aborted.
#[cfg(target_os = "linux")]
#[test]
fn long_tokens_within_a_limit_of_memory() {
    let setup = setup();
    let config = synthetic::config(1, 1, 300, 2048);
    let dir = tempfile::tempdir().expect("a directory");
    let [key, proof] = ["hostile.vk", "hostile.bin"].map(|name| dir.path().join(name));
    for (bytes, places, code) in [(20_000, 1000, 2), (1024, 2000, 0)] {
        let tokenizer = tokenizer_with(&"a".repeat(bytes));
        let file = forge::model(&config, &tokenizer, &setup);
        let files = forge::honest(file, &vec![257; places], &setup);
        for (path, content) in [&key, &proof].into_iter().zip(files) {
            std::fs::write(path, content).expect("written");
        }
        let output = Command::new("sh")
            .args([
                "-c",
                r#"ulimit -v 409600 && exec "$0" "$@""#,
                env!("CARGO_BIN_EXE_nanozk"),
            ])
            .args([
                "verify",
                "--json",
                "--allow-partial",
                "--threads",
                "2",
                "--vk",
            ])
            .args([&key, &proof])
            .env("NANOZK_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")))
            .env("MALLOC_ARENA_MAX", "1")
            .output()
            .expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        if code == 0 {
            let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            assert_eq!(
                (&json["prompt"], &json["prompt_is_tokenizers"]),
                (&Value::Null, &Value::Null)
            );
            assert_eq!(json["prompt_tokens"], json!(vec![257; places]));
            assert!(json["output"].is_string());
        } else {
            assert!(
                said.contains("a token of 20000 bytes, more than the 1024"),
                "{said}"
            );
        }
    }
}

/// The bytes' tokenizer with some of its parts exchanged. Ids are given in the vocabulary's order.
fn tokenizer(parts: &[(&str, Value)]) -> Tokenizer {
    let mut json: Value = serde_json::from_slice(&synthetic::tokenizer().to_json()).expect("JSON");
    for (part, value) in parts {
        *json.pointer_mut(part).expect("a part") = value.clone();
    }
    Tokenizer::from_json(json.to_string().as_bytes()).expect("a tokenizer")
}

fn added_token(text: &str, strip: bool) -> Value {
    json!({
        "id": 0, "content": text, "special": false, "normalized": false, "single_word": false,
        "lstrip": strip, "rstrip": strip,
    })
}

/// The texts that take most memory for each byte that is counted: a piece for each byte or for every other; and parts
/// that make a text as long as may be.
#[test]
fn texts_that_are_expensive_to_encode() {
    let alone = setup();
    let read = |parts: &[(&str, Value)], growth: usize, text: &str| {
        let tokenizer = tokenizer(parts);
        let text = text.repeat((1 << 19) / growth / text.len());
        let tokens = tokenizer.encode(&text).expect("any text has tokens");
        // A longer one is not read. (What a normalizer made longer is not this text again.)
        if growth == 2 {
            let more = tokenizer.encode(&(text.clone() + "aa")).expect("as before");
            assert!(tokenizer.read(&more).expect("tokens").is_none());
        }
        let row = format!("text of {} bytes, in {} tokens", text.len(), tokens.len());
        within(&alone, 100 * MB, &row, || {
            tokenizer.encode(&text).expect("as before")
        });
    };
    let normalizer = |part: Value| [("/normalizer", part)];
    read(&[], 2, "a");
    read(&[], 2, "a ");
    read(&normalizer(json!({"type": "NFKC"})), 22, "\u{fdfa}");
    let crab = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "🦀"});
    read(&normalizer(crab), 8, "a");
    let crab = json!({"type": "Prepend", "prepend": "🦀"});
    read(&normalizer(crab), 10, "a<|endoftext|>");

    // Nothing that makes the text longer counts as twice its length.
    let plain = ("/pre_tokenizer", Value::Null);
    let digits = json!({"type": "Digits", "individual_digits": true});
    read(&[("/pre_tokenizer", digits.clone())], 2, "1");
    let added = |tokens: &[Value]| ("/added_tokens", Value::from(tokens));
    read(&[plain.clone(), added(&[added_token("a", false)])], 2, "a");
    let spaces = added(&[added_token("a", true), added_token(" ", false)]);
    read(&[plain.clone(), spaces.clone()], 2, " ");
    read(&[plain.clone(), spaces], 2, "a  ");

    // A token of 64 bytes for each unknown character; a token for each of its bytes.
    let unknown = "u".repeat(64);
    let mut bytes = json!({&unknown: 256});
    for byte in 0..256usize {
        bytes[format!("<0x{byte:02X}>")] = byte.into();
    }
    let foreign = |split: &Value, vocabulary: &Value, text: &str| {
        let model = json!({
            "type": "BPE", "vocab": vocabulary, "merges": [], "unk_token": unknown,
            "byte_fallback": true,
        });
        let (split, none) = (
            ("/pre_tokenizer", split.clone()),
            ("/added_tokens", json!([])),
        );
        let tokenizer = tokenizer(&[split, none, ("/model", model)]);
        let text = text.repeat((1 << 18) / text.len());
        let row = format!("text of {} bytes, of unknown characters", text.len());
        let tokens = within(&alone, 100 * MB, &row, || tokenizer.encode(&text));
        assert_eq!(tokens.expect("a token for each byte").len(), text.len());
    };
    let letter = json!({"a": 0, &unknown: 1});
    foreign(&Value::Null, &letter, "1");
    foreign(&digits, &letter, "1");
    foreign(&Value::Null, &bytes, "🦀");
}

/// The verifier's own prompt is encoded however long it is: here of as many bytes as Linux takes for an argument, each of
/// which becomes 66.
#[test]
#[ignore = "a gigabyte: see above"]
fn a_prompt_of_the_verifiers_own() {
    let alone = setup();
    let longer = json!({"type": "Sequence", "normalizers": [
        {"type": "Replace", "pattern": {"String": "q"}, "content": "\u{fdfa}"}, {"type": "NFKC"},
    ]});
    let tokenizer = tokenizer(&[("/normalizer", longer)]);
    let prompt = "q".repeat(1 << 17);
    let row = format!("a prompt of {} bytes", prompt.len());
    let tokens = within(&alone, 1024 * MB, &row, || tokenizer.encode(&prompt));
    assert_eq!(tokens.expect("tokens").len(), 33 << 17);
}

/// A tokenizer's file of so many tokens and merges, and of added tokens of 250 bytes.
fn large_tokenizer(tokens: usize, merges: usize, added: usize) -> Vec<u8> {
    let token = |id: usize| format!(r#""{id:x}":{id},"#);
    let vocabulary: String = (0..tokens - 1).map(token).collect();
    // Each is a merge of its own: of a token with a digit to a token.
    let pairs = (1..tokens / 16 - 1).flat_map(|a| (0..16usize).map(move |b| (a, b)));
    let merges: Vec<String> = (pairs.cycle().take(merges))
        .map(|(a, b)| format!(r#""{a:x} {b:x}""#))
        .collect();
    let added = (0..added).map(|i| {
        let id = tokens + i;
        format!(
            r#"{{"id":{id},"content":"{i:q<250}","special":true,"normalized":false,"single_word":false,"lstrip":false,"rstrip":false}}"#
        )
    });
    let (added, merges) = (added.collect::<Vec<_>>().join(","), merges.join(","));
    format!(
        r#"{{"version":"1.0","added_tokens":[{added}],"normalizer":null,"pre_tokenizer":null,"post_processor":null,"decoder":null,"model":{{"type":"BPE","vocab":{{{vocabulary}"g":{last}}},"merges":[{merges}]}}}}"#,
        last = tokens - 1
    )
    .into_bytes()
}

fn tokenizer_within(alone: &Setup, most: usize, tokens: usize, merges: usize, added: usize) {
    let file = large_tokenizer(tokens, merges, added);
    let bytes = file.len();
    let row =
        format!("tokenizer of {tokens} tokens, {merges} merges, {added} added: {bytes} bytes");
    within(alone, most, &row, || {
        Tokenizer::from_json(&file).expect("a tokenizer")
    });
}

#[test]
fn large_tokenizers() {
    let alone = setup();
    tokenizer_within(&alone, 24 * MB, 1 << 16, 0, 0);
    tokenizer_within(&alone, 64 * MB, 1 << 16, 1 << 17, 0);
    tokenizer_within(&alone, 96 * MB, 1 << 10, 0, 1 << 12);
}

/// The crate makes a table of a thousand bytes for each byte of added tokens where they are few, and holds many small
/// ones in several maps.
#[test]
fn many_added_tokens() {
    let alone = setup();
    let text = |seed: usize, bytes: usize| -> String {
        let letter = |i| char::from_u32(0x400 + (seed * 131 + i * i * 7 + i * seed) as u32 % 0x400);
        (0..bytes / 2)
            .map(|i| letter(i).expect("a letter"))
            .collect()
    };
    let read = |most: usize, count: usize, bytes: usize| {
        let added: Value = (0..count)
            .map(|i| added_token(&format!("{i:x}{}", text(i, bytes - 6)), false))
            .collect();
        let mut json: Value =
            serde_json::from_slice(&synthetic::tokenizer().to_json()).expect("JSON");
        json["added_tokens"] = added;
        let file = json.to_string();
        let row = format!(
            "{count} added tokens of {bytes} bytes, {} bytes",
            file.len()
        );
        let read = within(&alone, most, &row, || Tokenizer::from_json(file.as_bytes()));
        assert_eq!(read.expect("a tokenizer").vocab_size(), 257 + count);
    };
    read(24 * MB, 100, 256);
    read(96 * MB, 1 << 12, 256);
    read(96 * MB, 1 << 16, 16);
}

#[test]
#[ignore = "a gigabyte: see above"]
fn the_largest_tokenizers() {
    let alone = setup();
    tokenizer_within(&alone, 1024 * MB, 1 << 20, 1 << 21, 1 << 12);
}

/// What a key's chat template can cost who gives it messages, by the way that costs most memory.
#[test]
fn chat_templates() {
    let alone = setup();
    let day = "2025-07-06".parse().expect("a day");
    let rendered = |most, row: &str, template: String| {
        let template = ChatTemplate::new(template, Default::default()).expect("a template");
        let messages = Messages::of_user("Hello", None);
        within(&alone, most, row, || {
            template.render(&messages, day).map(drop)
        })
    };
    let each = "{% set n = namespace(x=[]) %}{% for a in range(99999) %}";
    let held = |value: &str| format!("{each}{{% set n.x = n.x + [{value}] %}}{{% endfor %}}");
    let texts = "{% set x = 'x' * 1048576 %}{% set n = namespace(a=0) %}".to_string();
    let texts = (0..80).fold(texts, |all, i| all + &format!("{{% set x{i} = x[1:] %}}"));
    for (row, template) in [
        ("template: long texts held", texts),
        ("template: a growing list", held("a")),
        (
            "template: macros with what is around them",
            format!(
                "{each}{{% with b = 1 %}}{{% macro f() %}}{{% endmacro %}}{{% endwith %}}{{% endfor %}}"
            ),
        ),
        (
            "template: long keys",
            format!("{{% set k = 'x' * 1048576 %}}{}", held("dict(**{k: 1})")),
        ),
        (
            "template: long names of what is not there",
            format!(
                "{{% set k = 'x' * 1048576 %}}{{% set d = {{}} %}}{}",
                held("d[k]")
            ),
        ),
        ("template: lists in a list", held("[a, a, a, a]")),
        (
            "template: steps",
            format!("{each}{each}{{% endfor %}}{{% endfor %}}"),
        ),
        (
            "template: 2^18 bytes of tags",
            "{{a}}".repeat((1 << 18) / 5),
        ),
        ("template: 2^18 bytes of one text", "x".repeat(1 << 18)),
    ] {
        let _ = rendered(160 * MB, row, template);
    }
}

/// Verifies a forgery, which is refused for the reason given.
fn forged(most: usize, row: &str, setup: &Setup, key: &KeyFile, proof: &ProofFile, reason: &str) {
    let key = container::encode(Kind::VerifyingKey, key);
    let proof = container::encode(Kind::Proof, proof);
    let row = format!(
        "{row}, key of {} and proof of {} bytes",
        key.len(),
        proof.len()
    );
    let refused =
        within(setup, most, &row, || verified(setup, &key, &proof)).expect_err("a forgery");
    assert!(refused.contains(reason), "{refused}");
}

/// A model of GPT-2's kind with hardly any tokens, and one that rotates.
fn models(setup: &Setup) -> [Manifest; 2] {
    let llama = synthetic::llama_config(1, (2, 1, 128), 300, 64);
    let manifest = |config: &Config| forge::model(config, b"", setup).key.manifest;
    [&synthetic::config(1, 1, 300, 64), &llama].map(manifest)
}

fn few_tokens(a: &mut Architecture) {
    (a.vocabulary, a.end_of_text) = (3, vec![0]);
}

/// A head has columns and relations for each output, which the verifier declares before it can tell how many rows
/// the proof must have. Version 0.1.0 took 498 MB and 4 s for 65,536 of them.
#[test]
fn many_outputs() {
    let setup = setup();
    let [gpt2, _] = models(&setup);
    let key = forge::key(gpt2, |a| {
        few_tokens(a);
        a.context = 1 << 17;
    });
    let claim = |output, layers: &[u32]| Claim {
        prompt: 1,
        output,
        layers: layers.to_vec(),
        mode: Mode::Bundled,
    };
    let head = claim(4096, &[2]);
    let proof = forge::proof(&key, &head, &setup);
    let row = "4,096 outputs of a head";
    forged(80 * MB, row, &setup, &key, &proof, "the seal was refused");
    let proof = forge::unfitted(&key, &claim(1 << 16, &[2]));
    let row = "65,536 outputs of a head";
    forged(8 * MB, row, &setup, &key, &proof, "more than the 4096");
    let proof = forge::proof(&key, &claim(4096, &[0, 1, 2]), &setup);
    let row = "4,096 outputs of a model of a block";
    forged(90 * MB, row, &setup, &key, &proof, "the seal was refused");
}

/// A column of 31·2^s − 1 values is a sum of dozens of aligned pieces, and of an output's four columns half begin where
/// they must be cut so. If the pieces were kept, they would take 270 MB (computed).
#[test]
fn many_outputs_of_a_vocabulary_that_is_cut_often() {
    let setup = setup();
    let [gpt2, _] = models(&setup);
    let key = forge::key(gpt2, |a| {
        (a.vocabulary, a.end_of_text) = (31 * 512 - 1, vec![0]);
        a.context = 1 << 17;
    });
    let claim = Claim {
        prompt: 1,
        output: 4096,
        layers: vec![2],
        mode: Mode::Bundled,
    };
    let proof = forge::proof(&key, &claim, &setup);
    let row = "4,096 outputs of a vocabulary of 15,871";
    forged(90 * MB, row, &setup, &key, &proof, "the seal was refused");
}

/// A table of rotations has an entry for each position and lane. Version 0.1.0 made it before it counted, in 376 MB and 8 s.
#[test]
fn many_positions() {
    let setup = setup();
    let [gpt2, llama] = models(&setup);
    let long = |a: &mut Architecture| {
        few_tokens(a);
        a.context = 1 << 17;
    };
    let claim = |layers: &[u32]| Claim {
        prompt: 1 << 17,
        output: 1,
        layers: layers.to_vec(),
        mode: Mode::Bundled,
    };
    let key = forge::key(llama.clone(), long);
    let proof = forge::unfitted(&key, &claim(&[1]));
    let row = "131,072 positions of a block that rotates";
    forged(16 * MB, row, &setup, &key, &proof, "its layers need");
    let one = |mode| Claim {
        prompt: 1 << 12,
        output: 1,
        layers: vec![1],
        mode,
    };
    let proof = forge::proof(&key, &one(Mode::Bundled), &setup);
    let row = "4,096 positions of a block that rotates, with right counts";
    forged(80 * MB, row, &setup, &key, &proof, "the seal was refused");
    // A table for each kind of block, not for each block.
    let key = forge::key(llama, |a| {
        long(a);
        (a.layers, a.head_width) = (8, 256);
        let kind = |turn| Attending {
            turns: vec![turn; 128],
            window: None,
        };
        a.kinds = (1..=4).map(kind).collect();
    });
    let all = Claim {
        layers: (1..=8).collect(),
        ..one(Mode::Bundled)
    };
    let proof = forge::proof(&key, &all, &setup);
    let row = "4,096 positions of 8 blocks of 4 kinds, with right counts";
    forged(80 * MB, row, &setup, &key, &proof, "the seal was refused");
    let key = forge::key(gpt2, long);
    let proof = forge::proof(&key, &claim(&[0, 2]), &setup);
    let row = "131,072 positions of an embedding and a head";
    forged(80 * MB, row, &setup, &key, &proof, "the seal was refused");
}

/// Embedding, so many blocks with a feed-forward layer of this width, and head.
fn blocks_within(most: usize, (blocks, hidden): (usize, usize), mode: Mode) {
    let setup = setup();
    let [gpt2, _] = models(&setup);
    let key = forge::key(gpt2, |a| {
        few_tokens(a);
        (a.layers, a.hidden) = (blocks, hidden);
    });
    let layers = (0..blocks as u32 + 2).collect();
    let claim = Claim {
        prompt: 4,
        output: 1,
        layers,
        mode,
    };
    let proof = forge::proof(&key, &claim, &setup);
    let row = format!("{blocks} blocks, feed-forward {hidden}, {mode:?}");
    forged(most, &row, &setup, &key, &proof, "the seal was refused");
}

/// Each bundle has weights for all tables and a scalar for each generator, which are not kept. In version 0.1.0 that
/// was half a megabyte for each layer: 83 MB here.
#[test]
fn many_layers() {
    blocks_within(64 * MB, (128, 64), Mode::Bundled);
    blocks_within(40 * MB, (128, 64), Mode::Separate);
}

/// As [`many_outputs_of_a_vocabulary_that_is_cut_often`].
#[test]
fn many_layers_that_are_cut_often() {
    blocks_within(40 * MB, (16, 64 * (31 * 16 - 1)), Mode::Bundled);
}

#[test]
#[ignore = "half a minute"]
fn the_most_layers() {
    blocks_within(256 * MB, (1024, 64), Mode::Bundled);
    blocks_within(128 * MB, (1024, 64), Mode::Separate);
    blocks_within(400 * MB, (1024, 64 * (31 * 2 - 1)), Mode::Bundled);
}

/// The largest challenge, which draws all of its layers one after the other, and the largest table of information.
#[test]
fn challenges() {
    let alone = setup();
    let challenge = Challenge {
        commitment: [1; 32],
        nonce: [2; 32],
        count: 1 << 11,
        weights: vec![u32::MAX; 1 << 11],
    };
    let file = container::encode(Kind::Challenge, &challenge);
    let row = format!("a challenge of {} bytes", file.len());
    let layers = within(&alone, MB, &row, || {
        let path = Path::new("hostile");
        let challenge: Challenge = container::decode(Kind::Challenge, &file, path).expect("one");
        challenge.layers()
    });
    assert_eq!(layers.map(|l| l.len()), Ok(1 << 11));

    let layer = r#"{"index":0,"kind":"b","fisher":1,"standard_error":0,"share":1,"cost":1},"#;
    let layers = layer.repeat((1 << 22) / layer.len() - 10);
    let layers = layers.trim_end_matches(',');
    let table = format!(r#"{{"model_id":"m","tokens":1,"ctx":2,"layers":[{layers}]}}"#);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("table.json");
    std::fs::write(&path, &table).expect("written");
    let row = format!("a Fisher table of {} bytes", table.len());
    let read = within(&alone, 8 * table.len(), &row, || FisherTable::read(&path));
    assert!(read.is_err(), "not one of any model");
}

/// Points and the scalars of rounds are most of honest files: a small multiple of their size.
#[test]
fn many_points() {
    let setup = setup();
    let [gpt2, _] = models(&setup);
    let wide = forge::key(gpt2, |a| a.vocabulary = 1 << 20);
    let file = container::encode(Kind::VerifyingKey, &wide);
    let path = Path::new("hostile");
    let row = format!("reading a key of {} bytes", file.len());
    let key: KeyFile = within(&setup, 3 * file.len(), &row, || {
        container::decode(Kind::VerifyingKey, &file, path).expect("a key")
    });
    let row = format!("decoding the {} points of a key", file.len() / 32);
    let refused = within(&setup, 4 * file.len() + 16 * MB, &row, || {
        key.key.decode().err()
    });
    assert!(refused.is_none(), "tables are those of the scales");
    let claim = Claim {
        prompt: 4,
        output: 1,
        layers: vec![0],
        mode: Mode::Bundled,
    };
    // A list grows by doubling: one point more than fits is the worst.
    let mut proof = forge::unfitted(&wide, &claim);
    let points = vec![proof.boundaries[0][0]; (1 << 18) + 1];
    proof.boundaries[0] = points;
    let file = container::encode(Kind::Proof, &proof);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("proof.bin");
    std::fs::write(&path, &file).expect("written");
    let row = format!("reading a proof of {} bytes", file.len());
    within(&setup, 9 * file.len() / 2, &row, || {
        container::read::<ProofFile>(Kind::Proof, &path).expect("a proof")
    });
}
