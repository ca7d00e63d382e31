//! The command as its users meet it: exit codes, what is printed where, which files are written.

mod common;
#[path = "cli/refused.rs"]
mod refused;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use common::{arg, base, directory, names, nanozk, nanozk_at, read};
use nanozk::curve::PointBytes;
use nanozk::layers::FisherTable;
use nanozk::model::Tokenizer;
use nanozk::model::synthetic::{self, Layout};
use nanozk::proof::{
    KeyFile, Kind, LayerProofs, Layers, Mode, ModelFile, ProofFile, ProveOptions, Setup, container,
    prove,
};
use nanozk::quant::Frequencies;
use serde_json::{Map, Value};

/// 9 tokens, hence 16 positions.
const PROMPT: &str = "The capital of France is";

/// What was proved once for all tests.
struct Scene {
    /// The human words of the first proof.
    words: String,
    first: PathBuf,
    /// The same statement again.
    second: PathBuf,
    second_json: Map<String, Value>,
    separate: PathBuf,
    separate_json: Map<String, Value>,
    /// A private model with its key and a proof by it, in directories of their own.
    private: PathBuf,
    private_json: Map<String, Value>,
    private_proof: PathBuf,
}

impl Scene {
    fn id(&self) -> &str {
        self.second_json["model_id"].as_str().expect("an id")
    }

    fn private_id(&self) -> &str {
        self.private_json["model_id"].as_str().expect("an id")
    }
}

fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let [first, second, separate] =
            ["first.bin", "second.bin", "separate.bin"].map(|name| base().join(name));
        let prove = |out: &Path, more: &[&str]| {
            let args = ["prove", "--prompt", PROMPT, "--out", arg(out)];
            nanozk(&[&args, more].concat()).success()
        };
        fs::create_dir(base().join("private")).expect("a directory");
        let private = base().join("private/model.nzk");
        let args = ["quantize", "--private", "--json", "--out", arg(&private)];
        let private_json = nanozk(&args).success().json();
        let private_proof = base().join("private.bin");
        prove(&private_proof, &["--model", arg(&private)]);
        Scene {
            words: prove(&first, &[]).stdout,
            second_json: prove(&second, &["--json"]).json(),
            separate_json: prove(&separate, &["--json", "--separate"]).json(),
            first,
            second,
            separate,
            private,
            private_json,
            private_proof,
        }
    })
}

/// Every listed key is there.
#[track_caller]
fn has_keys(object: &Map<String, Value>, keys: &[&str]) {
    for key in keys {
        assert!(object.contains_key(*key), "no {key:?} in {object:?}");
    }
}

/// The everyday path: a person proves and verifies, and reads what was proved.
#[test]
fn a_proof_verifies_and_says_what_was_proved() {
    let scene = scene();
    assert!(scene.words.starts_with("proved: model "), "{}", scene.words);
    assert!(scene.words.contains(PROMPT));
    let output = scene.second_json["output"].as_str().expect("text");
    for proof in [&scene.first, &scene.separate] {
        let ran = nanozk(&["verify", arg(proof)]).success();
        let line = ran.stdout.lines().next().expect("a verdict");
        assert!(line.starts_with("valid:"), "{line}");
        for said in [scene.id(), PROMPT, &format!("{output:?}")] {
            assert!(line.contains(said), "{said:?} is not in {line:?}");
        }
        let quiet = nanozk(&["verify", "--quiet", arg(proof)]).success();
        assert_eq!(quiet.stdout, format!("{line}\n"));
    }
    let shown = nanozk(&["inspect", arg(&scene.first)]).success().stdout;
    assert!(shown.starts_with("not verified"), "{shown}");
}

/// Which token ended an answer, or that none did: alike by every command.
#[test]
fn what_ended_an_answer_is_said_alike() {
    let folder = directory();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny-gpt2");
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(from.join(file), folder.path().join(file)).expect("copied");
    }
    // The fourth token of this answer (tests/reference/ends.json).
    let end = folder.path().join("generation_config.json");
    fs::write(end, r#"{"eos_token_id": [7, 344]}"#).expect("written");
    let out = folder.path().join("proof.bin");
    let asked = |new| {
        let model = [
            "--model",
            arg(folder.path()),
            "--prompt-tokens",
            "10,20,30,40",
        ];
        [&model[..], &["--max-new-tokens", new]].concat()
    };
    for (new, stop, said) in [
        (
            "4",
            Value::from(344),
            "stopped by token 344, which ends a text",
        ),
        ("3", "length".into(), "stopped by length"),
    ] {
        let asked = asked(new);
        let generate = [&["generate"][..], &asked].concat();
        let prove = [&["prove", "--out", arg(&out)][..], &asked].concat();
        let (verify, inspect) = (vec!["verify", arg(&out)], vec!["inspect", arg(&out)]);
        for args in [&prove, &verify, &inspect] {
            let words = nanozk(args).success().stdout;
            assert!(words.contains(said), "{words}");
        }
        for args in [generate, prove, verify, inspect] {
            let json = nanozk(&[&args[..], &["--json"]].concat()).success().json();
            assert_eq!(json["stop"], stop, "{args:?}");
        }
    }
}

/// The keys that scripts rely on.
#[test]
fn json_of_prove_and_verify_has_the_promised_keys() {
    let scene = scene();
    for (json, mode) in [(&scene.second_json, 1), (&scene.separate_json, 2)] {
        let keys = "model_id prompt output tokens_in tokens_out layers layers_resumed proof_bytes \
                    seconds phases threads peak_rss_bytes out";
        has_keys(json, &keys.split_whitespace().collect::<Vec<_>>());
        let layers = json["layers"].as_array().expect("a list");
        assert_eq!(
            layers.len(),
            6,
            "embedding, four blocks, head (mode {mode})"
        );
        for (index, layer) in layers.iter().enumerate() {
            let layer = layer.as_object().expect("an object");
            has_keys(layer, &["index", "kind", "bytes", "seconds"]);
            assert_eq!(layer["index"], index);
        }
        let phases = json["phases"].as_object().expect("an object");
        assert!(phases.values().all(Value::is_number) && !phases.is_empty());
        let size = fs::metadata(json["out"].as_str().expect("a path")).expect("a file");
        assert_eq!(json["proof_bytes"], size.len());
        assert_eq!(json["prompt"], PROMPT);
    }
    let verified = nanozk(&["verify", "--json", arg(&scene.second)]).success();
    let verified = verified.json();
    let keys = "valid layers_valid model_id prompt output prompt_tokens output_tokens prompt_is_tokenizers \
                layers_proved layers_total seconds";
    has_keys(&verified, &keys.split_whitespace().collect::<Vec<_>>());
    assert_eq!(verified["valid"], true);
    assert_eq!(verified["layers_valid"], true);
    assert_eq!(verified["prompt_is_tokenizers"], true);
    assert_eq!(verified["layers_proved"], 6);
    for key in ["model_id", "prompt", "output"] {
        assert_eq!(verified[key], scene.second_json[key]);
    }
}

/// One object each from the other commands too, from failures, and whatever `--quiet` and
/// `--verbose` say.
#[test]
fn json_is_one_object_whatever_happens() {
    let scene = scene();
    let inspected = nanozk(&["--json", "inspect", arg(&scene.first)]).success();
    let keys = "verified model_id prompt_tokens output_tokens stop positions mode layers chain \
                proof_bytes";
    has_keys(
        &inspected.json(),
        &keys.split_whitespace().collect::<Vec<_>>(),
    );
    assert_eq!(inspected.json()["verified"], false);
    let args = ["generate", "--prompt", PROMPT, "--max-new-tokens", "1"];
    let generated = nanozk(&[&args[..], &["--json", "-v"]].concat())
        .success()
        .json();
    has_keys(
        &generated,
        &["model_id", "prompt", "output", "tokens_in", "tokens_out"],
    );
    assert_eq!(
        generated["output"], scene.second_json["output"],
        "what was proved"
    );
    has_keys(
        &scene.private_json,
        &["model_id", "out", "vk", "model_bytes", "vk_bytes"],
    );
    let id = nanozk(&["model-id", "--json", "--quiet"]).success().json();
    assert_eq!(id["model_id"], scene.id());

    let failed = nanozk(&["verify", "--json", "no-such-file"]);
    assert_eq!(failed.code, 2);
    has_keys(&failed.json(), &["error"]);
    let invalid = nanozk(&[
        "verify",
        "--json",
        "--model-id",
        scene.private_id(),
        arg(&scene.first),
    ]);
    assert_eq!(invalid.code, 1);
    has_keys(
        &invalid.json(),
        &["valid", "layers_valid", "reason", "model_id"],
    );
    assert_eq!(invalid.json()["valid"], false);
}

/// Pinning the model: the only thing that stops a proof about a model of the prover's own making.
#[test]
fn a_pinned_model_id_decides() {
    let scene = scene();
    let pin = |id: &str| nanozk(&["verify", arg(&scene.first), "--model-id", id]);
    assert!(pin(scene.id()).success().stdout.starts_with("valid:"));
    pin(&scene.id().to_uppercase()).success();
    for wrong in [scene.private_id(), &"0".repeat(64)] {
        let ran = pin(wrong);
        assert_eq!(ran.code, 1);
        let line = ran.stdout.lines().next().expect("a verdict");
        assert!(
            line.starts_with("NOT VALID") && line.contains(wrong),
            "{line}"
        );
    }
    pin(&scene.id()[1..]).failed("64 hexadecimal digits");
    pin("").failed("64 hexadecimal digits");
}

/// A tampered proof is "not valid", exit code 1: the file was read, its claim is false.
#[test]
fn a_tampered_proof_is_not_valid() {
    let mut proof = read(&scene().first);
    proof.statement.output[0] ^= 1;
    let path = base().join("tampered.bin");
    container::write(&path, &container::encode(Kind::Proof, &proof), false).expect("written");
    let ran = nanozk(&["verify", arg(&path)]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.starts_with("NOT VALID: "), "{}", ran.stdout);
    assert!(!ran.stdout.contains("valid:"));
}

/// Keys are found by the proof's model id: given, beside the proof or in the cache; another
/// model's key is never used.
#[test]
fn only_the_right_verifying_key_verifies() {
    let scene = scene();
    let key = scene.private.with_extension("vk");
    let empty = directory();
    let (key, proof) = (arg(&key), arg(&scene.private_proof));

    nanozk(&["verify", arg(&scene.first), "--vk", key]).failed("the proof is about model");
    nanozk(&["verify", proof, "--vk", "no-such.vk"]).failed("no-such.vk");
    nanozk(&["verify", proof, "--vk", proof]).failed("not a nanozk verifying key");
    nanozk(&["verify", proof, "--vk", arg(&scene.private)]).failed("not a nanozk verifying key");

    nanozk_at(empty.path(), &["verify", proof]).failed("no verifying key for model");
    nanozk_at(empty.path(), &["verify", proof, "--vk", key]).success();

    let beside = directory();
    let copy = beside.path().join("p.bin");
    fs::copy(proof, &copy).expect("copied");
    fs::copy(key, beside.path().join("p.vk")).expect("copied");
    nanozk_at(empty.path(), &["verify", arg(&copy)]).success();
    let named = beside.path().join(format!("{}.vk", scene.private_id()));
    fs::rename(beside.path().join("p.vk"), &named).expect("renamed");
    nanozk_at(empty.path(), &["verify", arg(&copy)]).success();

    // Another model's key under this one's name is passed over.
    let other = beside.path().join("other.nzk");
    nanozk(&["quantize", "--private", "--out", arg(&other)]).success();
    fs::copy(other.with_extension("vk"), &named).expect("copied");
    nanozk_at(empty.path(), &["verify", arg(&copy)]).failed("no verifying key for model");
}

/// The id does not cover the tokenizer's bytes but their digest: with others, another text would be shown.
#[test]
fn a_key_with_another_tokenizer_is_refused() {
    let scene = scene();
    let key = scene.private.with_extension("vk");
    let mut file: KeyFile = container::read(Kind::VerifyingKey, &key).expect("a key");
    let tokenizer = String::from_utf8(file.tokenizer).expect("JSON");
    let other = tokenizer.replace("\"#\":3,", "\"#\":4,");
    let other = other.replace("\"$\":4,", "\"$\":3,");
    assert_ne!(tokenizer, other);
    file.tokenizer = Tokenizer::from_json(other.as_bytes())
        .expect("another tokenizer")
        .to_json();
    let path = base().join("other-tokenizer.vk");
    let bytes = container::encode(Kind::VerifyingKey, &file);
    container::write(&path, &bytes, false).expect("written");
    let ran = nanozk(&["verify", arg(&scene.private_proof), "--vk", arg(&path)]);
    ran.failed("not the one its model was published with");
}

/// Tokens that are not the tokenizer's own for their text may have another answer: a prover who picks them
/// picks among answers. `verify` says so in its first line, and `--prompt` refuses them.
#[test]
fn unusual_tokens_of_a_prompt_are_told() {
    let scene = scene();
    let file: ModelFile = container::read(Kind::Model, &scene.private).expect("a model");
    let tokenizer = Tokenizer::from_json(&file.tokenizer).expect("its tokenizer");
    let own = tokenizer.encode("The").expect("tokens");
    let spelled: Vec<u32> = ["T", "h", "e"]
        .iter()
        .flat_map(|c| tokenizer.encode(c).expect("a token"))
        .collect();
    assert_ne!(own, spelled);
    let options = ProveOptions {
        max_new_tokens: 1,
        mode: Mode::Bundled,
        layers: Layers::All,
    };
    let (setup, model) = (Setup::new(None), file.open().expect("its own key"));
    for (tokens, usual) in [(own, true), (spelled, false)] {
        let (proof, _) = prove(&setup, &model, &tokens, &options, &|_| {}).expect("proved");
        let path = base().join(format!("tokens-{usual}.bin"));
        container::write(&path, &container::encode(Kind::Proof, &proof), false).expect("written");
        let key = scene.private.with_extension("vk");
        let verify = |more: &[&str]| {
            let args = ["verify", arg(&path), "--vk", arg(&key)];
            nanozk(&[&args, more].concat())
        };
        let words = verify(&[]).success().stdout;
        let first = if usual {
            "valid: model "
        } else {
            "valid for unusual tokens: model "
        };
        assert!(
            words.starts_with(first) && words.contains(" to \"The\""),
            "{words}"
        );
        let json = verify(&["--json"]).success().json();
        assert_eq!(json["prompt"], "The");
        assert_eq!(json["prompt_tokens"], serde_json::json!(tokens));
        assert_eq!(json["prompt_is_tokenizers"], usual);
        let pinned = verify(&["--prompt", "The"]);
        assert_eq!(pinned.code, i32::from(!usual), "{}", pinned.stdout);
        let other = verify(&["--prompt", "The "]);
        assert_eq!(other.code, 1);
        assert!(
            other.stdout.starts_with("NOT VALID: its prompt is \"The\""),
            "{}",
            other.stdout
        );
    }
}

/// What is not a whole proof file is refused as such, with exit code 2.
#[test]
fn files_that_are_no_proofs_are_refused() {
    let scene = scene();
    let good = fs::read(&scene.first).expect("a proof");
    let dir = directory();
    let path = dir.path().join("p.bin");
    let check = |bytes: &[u8], reason: &str| {
        fs::write(&path, bytes).expect("written");
        for command in ["verify", "inspect"] {
            nanozk(&[command, arg(&path)]).failed(reason);
        }
    };
    for len in [16, 17, 100, good.len() / 2, good.len() - 1] {
        check(&good[..len], "truncated or damaged");
    }
    for len in [0, 1, 15] {
        check(&good[..len], "not a nanozk proof");
    }
    check(
        b"The quick brown fox jumps over the lazy dog",
        "not a nanozk proof",
    );
    check(&[&good[..], b"\n"].concat(), "truncated or damaged");
    let mut relabelled = [&good[..], b"\n"].concat();
    let len = relabelled.len() as u64 - 16;
    relabelled[8..16].copy_from_slice(&len.to_le_bytes());
    check(&relabelled, "1 bytes after the end");
    let mut newer = good.clone();
    newer[7] += 1;
    check(&newer, "format version");
    let mut huge = good.clone();
    huge[16 + 32..][..8].fill(0xff);
    check(&huge, "malformed");
    check(
        &fs::read(&scene.private).expect("a model"),
        "not a nanozk proof",
    );

    nanozk(&["verify", "no-such-file"]).failed("no-such-file");
    nanozk(&["inspect", "no-such-file"]).failed("no-such-file");
    nanozk(&["verify", arg(dir.path())]).failed(arg(dir.path()));
}

/// A FIFO that nobody writes to is not waited for, whichever file it stands for; what the shell has opened is read.
#[cfg(unix)]
#[test]
fn only_what_is_sure_to_end_is_read() {
    let scene = scene();
    let dir = directory();
    let fifo = dir.path().join("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.expect("mkfifo runs").success());
    let (first, fifo) = (arg(&scene.first), arg(&fifo));
    let within_a_minute = |args: &[&str]| {
        let mut command = common::command("timeout", &base().join("home"));
        common::run(
            command
                .args(["60", env!("CARGO_BIN_EXE_nanozk")])
                .args(args),
        )
    };
    let texts = ["eval", "--text", fifo];
    for args in [
        &["verify", fifo][..],
        &["inspect", fifo],
        &["verify", first, "--vk", fifo],
        &["verify", first, "--challenge", fifo],
        &["verify", first, "--fisher", fifo],
        &["challenge", fifo, "--layers", "1", "--out", "challenge"],
        &["quantize", "--calibrate", fifo, "--out", "m.nzk"],
        &texts,
        &["verify", "/dev/zero"],
    ] {
        within_a_minute(args).failed("not a regular file");
    }
    let mut piped = common::command("sh", &base().join("home"));
    let script = r#"cat "$1" | "$0" verify /dev/stdin"#;
    let ran = common::run(piped.args(["-c", script, env!("CARGO_BIN_EXE_nanozk"), first]));
    assert!(ran.success().stdout.starts_with("valid: model "));
}

/// Arguments that make no sense, and what must be said about them.
const BAD_USAGE: &[(&[&str], &str)] = &[
    (&["prove", "--prompt", ""], "the prompt is empty"),
    (&["generate", "--prompt", ""], "the prompt is empty"),
    (
        &["prove", "--prompt", "a", "--max-new-tokens", "257"],
        "context of 256",
    ),
    (
        &["prove", "--prompt", "a", "--max-new-tokens", "4294967295"],
        "context of 256",
    ),
    (
        &["generate", "--prompt", "a", "--max-new-tokens", "0"],
        "--max-new-tokens",
    ),
    (
        &["prove", "--prompt", "a", "--max-new-tokens", "0"],
        "--max-new-tokens",
    ),
    (
        &["prove", "--prompt", "a", "--max-new-tokens", "-1"],
        "unexpected argument",
    ),
    (
        &["prove", "--prompt", "a", "--max-new-tokens", "1.5"],
        "--max-new-tokens",
    ),
    (
        &[
            "generate",
            "--prompt",
            "a",
            "--max-new-tokens",
            "18446744073709551615",
        ],
        "--max-new-tokens",
    ),
    (
        &["prove", "--prompt", "a", "--model", "no-such"],
        "no model \"no-such\"",
    ),
    (&["prove", "--prompt", "a", "--threads", "0"], "--threads"),
    (
        &["prove", "--prompt", "a", "--threads", "1000000"],
        "--threads",
    ),
    (
        &["prove", "--prompt", "a", "--no-such-flag"],
        "--no-such-flag",
    ),
    (&["prove"], "--prompt"),
    (&["verify"], "<PROOF>"),
    (&["no-such-command"], "no-such-command"),
    (
        &["quantize", "--out", "m.nzk", "--headroom", "9"],
        "--headroom",
    ),
    (
        &["quantize", "--out", "m.nzk", "--calibrate", "no-such"],
        "no-such",
    ),
    (&["prove", "--prompt", "a", "--headroom", "5"], "--headroom"),
    (&["quantize", "--out", "m.vk"], "must end in .nzk"),
    (&["quantize", "--out", "m"], "must end in .nzk"),
    (&["quantize"], "--out"),
];

/// Every usage that makes no sense is refused with the reason, and before anything is written.
#[test]
fn bad_usage_is_explained() {
    let long = "word ".repeat(300);
    for command in ["prove", "generate"] {
        nanozk(&[command, "--prompt", &long]).failed("exceed the model's context of 256");
    }
    for (args, reason) in BAD_USAGE {
        nanozk(args).failed(reason);
    }
    for left in ["proof.bin", "m.nzk", "m.vk", "m"] {
        assert!(!base().join(left).exists(), "{left} was written");
    }
}

/// The longest run: as many positions as the model's context has, one of them without a token of its own.
#[test]
fn a_full_context_is_proved() {
    let (model, out) = (base().join("short"), base().join("full.bin"));
    let config = synthetic::config(1, 1, 257, 32);
    let weights = synthetic::weights(&config, 3);
    synthetic::write(&model, &config, &weights, &Layout::default()).expect("written");
    let prove = ["prove", "--model", arg(&model), "--out", arg(&out)];
    let prompt = ["--prompt", "a", "--max-new-tokens", "32"];
    nanozk(&[&prove[..], &prompt].concat()).success();
    let statement = read(&out).statement;
    assert_eq!((statement.padded, statement.output.len()), (32, 32));
    nanozk(&["verify", arg(&out)]).success();
}

/// A prompt must be text.
#[cfg(unix)]
#[test]
fn a_prompt_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let prompt = OsStr::from_bytes(&[b'a', 0xff, 0xfe]);
    nanozk(&[OsStr::new("generate"), OsStr::new("--prompt"), prompt]).failed("UTF-8");
}

/// An output that cannot be written is refused at once, and nothing is left behind.
#[test]
fn outputs_that_cannot_be_written_are_refused() {
    let dir = directory();
    let locked = dir.path().join("locked.nzk");
    fs::write(&locked, "kept").expect("written");
    let mut permissions = fs::metadata(&locked).expect("there").permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&locked, permissions).expect("locked");
    fs::create_dir(dir.path().join("folder.nzk")).expect("a directory");
    // The place of a model's key matters as much as the model's.
    fs::create_dir(dir.path().join("model.vk")).expect("a directory");
    let before = names(dir.path());

    let no_dir = dir.path().join("no/such/dir/out.nzk");
    let folder = dir.path().join("folder.nzk");
    let under_file = locked.join("out.nzk");
    for out in [&no_dir, &locked, &folder, &under_file] {
        nanozk(&["prove", "--prompt", PROMPT, "--out", arg(out)]).failed("cannot write there");
        nanozk(&["quantize", "--out", arg(out)]).failed("cannot write there");
    }
    let model = dir.path().join("model.nzk");
    nanozk(&["quantize", "--out", arg(&model)]).failed("cannot write there");
    assert_eq!(names(dir.path()), before);
    assert_eq!(fs::read(&locked).expect("there"), b"kept");
}

/// A device is not replaced by a file.
#[cfg(target_os = "linux")]
#[test]
fn a_device_is_not_overwritten() {
    // Through a link, so that a failure costs the link and not the machine's device.
    let dir = directory();
    let link = dir.path().join("null.nzk");
    std::os::unix::fs::symlink("/dev/null", &link).expect("linked");
    for args in [&["prove", "--prompt", PROMPT][..], &["quantize"]] {
        nanozk(&[args, &["--out", arg(&link)]].concat()).failed("not a file");
    }
    assert!(link.is_symlink());
}

/// Weights and blinding seeds are readable by their owner only, also in the cache; what is public
/// can be handed out.
#[cfg(unix)]
#[test]
fn secrets_are_readable_by_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let scene = scene();
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&scene.private), 0o600);
    assert_eq!(mode(&scene.private.with_extension("vk")), 0o644);
    assert_eq!(mode(&scene.first), 0o644);
    let models = base().join("home/models");
    let cached: Vec<_> = names(&models).into_iter().collect();
    assert!(!cached.is_empty());
    for name in cached {
        assert_eq!(mode(&models.join(&name)), 0o600, "{name}");
    }
}

/// An open model's id can be recomputed by anyone; a private one's says nothing about its weights.
#[test]
fn only_open_models_have_reproducible_ids() {
    let scene = scene();
    let dir = directory();
    let id = |name: &str, more: &[&str]| {
        let out = dir.path().join(name);
        let args = ["quantize", "--json", "--out", arg(&out)];
        let json = nanozk_at(&dir.path().join("home"), &[&args, more].concat()).success();
        json.json()["model_id"].as_str().expect("an id").to_string()
    };
    assert_eq!(
        id("open.nzk", &[]),
        scene.id(),
        "quantized anew, without a cache"
    );
    assert_eq!(
        id("open.nzk", &[]),
        scene.id(),
        "and again, over the old file"
    );
    let private = id("private.nzk", &["--private"]);
    assert_ne!(private, scene.id());
    assert_ne!(private, scene.private_id());
    assert_eq!(
        names(dir.path()),
        ["open.nzk", "open.vk", "private.nzk", "private.vk", "home"]
            .map(String::from)
            .into()
    );
    // The id is not that of a model that nobody could run.
    let path = dir.path().join("private.nzk");
    let mut file: ModelFile = container::read(Kind::Model, &path).expect("a model");
    file.model.blocks[0].up.data.pop();
    container::write(&path, &container::encode(Kind::Model, &file), true).expect("written");
    nanozk(&["model-id", "--model", arg(&path)]).failed("block 0: up has");
    let printed = nanozk(&["model-id"]).success().stdout;
    assert_eq!(printed.lines().next(), Some(scene.id()));
}

/// What anybody must find who recomputes the id of an open model, whatever the machine. The second is
/// of Llama's kind, with heads of 128 lanes and θ = 8·10⁶, where the C library's `pow` depends on the processor.
const PINNED_IDS: [&str; 2] = [
    "068278743c3b21c9adb931a4bde1825d74c518021a601abfb5d0885a6d2fe4ca",
    "257cf15f193aac3e8a05ae66eebf1a8ab1b432e70249c779bd8275ee89db3009",
];

/// An id neither depends on the instructions that the C library may use, nor on the number of
/// threads, and stays what it was: a verifier on another machine finds the same.
#[test]
fn the_ids_of_open_models_are_the_same_everywhere() {
    let llama = base().join("llama");
    write_llama(&llama);
    let home = directory();
    let models = [&[][..], &["--model", arg(&llama)]];
    for (model, pinned) in models.into_iter().zip(PINNED_IDS) {
        for (threads, disabled) in [
            ("1", ""),
            ("2", ""),
            ("2", "-FMA,-FMA4"),
            ("3", "-FMA,-FMA4,-AVX2,-AVX,-AVX512F"),
        ] {
            let mut command = common::command(env!("CARGO_BIN_EXE_nanozk"), home.path());
            command
                .args(["model-id", "--quiet", "--threads", threads])
                .args(model);
            command.env("GLIBC_TUNABLES", format!("glibc.cpu.hwcaps={disabled}"));
            let id = common::run(&mut command).success().stdout;
            assert_eq!(id.trim_end(), pinned, "{threads} threads, {disabled}");
        }
    }
}

/// A small model with rotary positions, whose branches and scores are large enough to matter.
fn write_llama(directory: &Path) {
    let mut config = synthetic::llama_config(2, (1, 1, 128), 257, 64);
    let rotation = config.kinds[0].rotation.as_mut().expect("it rotates");
    rotation.frequencies = Frequencies::unscaled(8e6);
    let mut weights = synthetic::weights(&config, 8);
    for slot in weights.slots(&config) {
        if slot.shape.len() == 2 {
            slot.values.iter_mut().for_each(|v| *v *= 4.0);
        }
    }
    let layout = Layout::default();
    synthetic::write(directory, &config, &weights, &layout).expect("written");
}

/// The size that is promised per layer: at most 6.9 KB where each layer stands alone.
#[test]
fn separate_layers_keep_to_their_size() {
    let json = &scene().separate_json;
    assert_eq!(read(&scene().separate).statement.padded, 16);
    for layer in json["layers"].as_array().expect("a list") {
        let bytes = layer["bytes"].as_u64().expect("a size");
        assert!((1..=7065).contains(&bytes), "{layer}");
    }
}

/// Every commitment of a proof, and every masked value E and opening response.
fn random_parts(proof: &ProofFile) -> (Vec<PointBytes>, Vec<[u8; 32]>) {
    let bundles = match &proof.proofs {
        LayerProofs::Bundled(b) => std::slice::from_ref(b.as_ref()),
        LayerProofs::Separate(p) => p.as_slice(),
    };
    let mut points: Vec<PointBytes> = proof.boundaries.iter().flatten().copied().collect();
    let mut scalars = Vec::new();
    for b in bundles {
        points.push(b.mask);
        points.extend(b.witness.iter().chain(&b.helper));
        scalars.extend(b.round.iter().chain([&b.rho, &b.masked]).map(|s| s.0));
        let o = &b.opening;
        for (l, r) in o.row_rounds.iter().chain(&o.column_rounds) {
            points.extend([*l, *r]);
        }
        points.push(o.commitment);
        scalars.extend([o.data_response.0, o.blind_response.0]);
    }
    (points, scalars)
}

/// Zero knowledge, as far as a test can see it: two proofs of one statement by one model have
/// nothing in common but the statement, and no value repeats within a proof.
#[test]
fn two_proofs_of_a_statement_share_nothing() {
    let scene = scene();
    let files = [&scene.first, &scene.second, &scene.separate].map(|p| read(p));
    let mut points = HashSet::new();
    let mut scalars = HashSet::new();
    let mut seals = HashSet::new();
    for file in &files {
        assert_eq!(file.statement.prompt, files[0].statement.prompt);
        assert_eq!(file.statement.output, files[0].statement.output);
        let (p, s) = random_parts(file);
        for point in p {
            assert!(points.insert(point), "a commitment repeats");
        }
        for scalar in s {
            assert!(scalars.insert(scalar), "a scalar repeats");
        }
        let bundles = match &file.proofs {
            LayerProofs::Bundled(b) => std::slice::from_ref(b.as_ref()),
            LayerProofs::Separate(p) => p.as_slice(),
        };
        for chunk in bundles.iter().flat_map(|b| b.seal.chunks(32)) {
            assert!(seals.insert(chunk.to_vec()), "32 bytes of a seal repeat");
        }
        for link in &file.statement.chain {
            assert!(seals.insert(link.to_vec()), "a link of the chain repeats");
        }
    }
}

/// Help names every command and every command's options, and is no error.
#[test]
fn help_is_complete() {
    let help = nanozk(&["--help"]).success().stdout;
    assert!(help.contains("Exit codes:") && help.contains("NANOZK_HOME"));
    let commands: &[(&str, &[&str])] = &[
        (
            "quantize",
            &["--model", "--calibrate", "--headroom", "--private", "--out"],
        ),
        (
            "prove",
            &[
                "--model",
                "--prompt",
                "--max-new-tokens",
                "--separate",
                "--layers",
                "--commit",
                "--challenge",
                "--out",
            ],
        ),
        (
            "verify",
            &[
                "<PROOF>",
                "--model-id",
                "--vk",
                "--allow-partial",
                "--challenge",
                "--commit",
                "--fisher",
            ],
        ),
        (
            "commit",
            &["--model", "--prompt", "--max-new-tokens", "--out"],
        ),
        ("challenge", &["<COMMIT>", "--layers", "--fisher", "--out"]),
        ("inspect", &["<PROOF>"]),
        ("model-id", &["--model"]),
        ("generate", &["--model", "--prompt", "--max-new-tokens"]),
        ("bench", &["--dims", "--seq", "--blocks", "--full", "--svg"]),
    ];
    for (command, options) in commands {
        assert!(help.contains(command), "{command} is not in the help");
        let text = nanozk(&[command, "--help"]).success().stdout;
        for option in [
            options,
            &["--json", "--threads", "--quiet", "--verbose"][..],
        ]
        .concat()
        {
            assert!(text.contains(option), "{command} --help says no {option}");
        }
    }
    let version = nanozk(&["--version"]).success().stdout;
    assert_eq!(version, concat!("nanozk ", env!("CARGO_PKG_VERSION"), "\n"));
}

/// The keys that scripts read, a table that a person reads, a plot; no figure is checked.
#[test]
fn bench_measures_and_writes_its_files() {
    let dir = tempfile::tempdir().expect("a directory");
    let (json, svg) = (dir.path().join("b.json"), dir.path().join("b.svg"));
    let args = "bench --dims 64 --seq 4,8 --bundle 1 --repeat 1".split(' ');
    let args: Vec<&str> = args
        .chain(["--json", arg(&json), "--svg", arg(&svg)])
        .collect();
    let text = nanozk(&args).success().stdout;
    assert!(text.contains("per added token, 4 to 8 tokens"), "{text}");

    let text = fs::read_to_string(&json).expect("written");
    let json: Map<String, Value> = serde_json::from_str(&text).expect("an object");
    has_keys(&json, &["machine", "threads", "version", "rows"]);
    let rows = json["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 2);
    let keys = "d heads d_ff seq blocks run_s commit_s sumcheck_s opening_s seal_s prove_s \
                prove_bundled_s_per_block verify_s verify_bundled_s_per_block proof_bytes \
                proof_bytes_bundled_per_block peak_rss_bytes";
    for row in rows {
        let row = row.as_object().expect("an object");
        has_keys(row, &keys.split_whitespace().collect::<Vec<_>>());
        assert_eq!(
            (row["d"].as_u64(), row["d_ff"].as_u64()),
            (Some(64), Some(256))
        );
    }
    let svg = fs::read_to_string(&svg).expect("written");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));

    nanozk(&["bench", "--dims", "65"]).failed("multiple of 64");
    nanozk(&["bench", "--seq", "5"]).failed("power of two");
    nanozk(&["bench", "--dims", "70..100"]).failed("lies in");
}

/// `nanozk inspect | head -1` is no error.
#[cfg(unix)]
#[test]
fn a_closed_pipe_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_nanozk"))
        .args(["inspect", arg(&scene().first)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

/// More headroom is another model, with more room in every tensor; a model that is quantized already is
/// not quantized again.
#[test]
fn headroom_makes_another_model_with_more_room() {
    let out = base().join("roomy.nzk");
    let args = ["quantize", "--json", "--headroom", "2", "--out", arg(&out)];
    let roomy = nanozk(&args).success().json();
    assert_ne!(roomy["model_id"], scene().id());
    let rooms = roomy["headroom"].as_array().expect("a list");
    // Seven tensors of each of four blocks, and the head's.
    assert_eq!(rooms.len(), 29);
    for room in rooms {
        let number = |name: &str| room[name].as_f64().expect("a number");
        assert!(number("headroom_bits") >= 2.0, "{room}");
        let bits = (number("limit") / number("largest")).log2();
        assert!((bits - number("headroom_bits")).abs() < 1e-9, "{room}");
    }
    let generate = ["generate", "--prompt", PROMPT, "--headroom", "2"];
    let generated = nanozk(&[&generate[..], &["--json"]].concat())
        .success()
        .json();
    assert_eq!(generated["model_id"], roomy["model_id"]);
    nanozk(&[&generate[..], &["--model", arg(&out)]].concat()).failed("already quantized");
}

/// What `eval` says of the embedded model agrees with itself, and what it cannot evaluate is refused
/// by name.
#[test]
fn eval_compares_both_models_on_a_text() {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny-gpt2/heldout.txt");
    let eval = |more: &[&str]| nanozk(&[&["eval", "--text", arg(&text)], more].concat());
    let json = eval(&["--json", "--tokens", "300", "--ctx", "128"])
        .success()
        .json();
    let count = |name: &str| json[name].as_u64().expect(name);
    let number = |name: &str| json[name].as_f64().expect(name);
    assert_eq!(json["model_id"], scene().id());
    assert_eq!(
        ["ctx", "windows", "tokens", "positions"].map(count),
        [128, 3, 300, 297]
    );
    let ratio = number("perplexity_integer") / number("perplexity_float") - 1.0;
    assert!((ratio - number("relative_difference")).abs() < 1e-12);
    assert!(ratio.abs() < 1e-2 && number("perplexity_float") > 1.0);
    let agreement = count("greedy_equal") as f64 / count("positions") as f64;
    assert!((agreement - number("greedy_agreement")).abs() < 1e-12 && agreement > 0.9);
    for side in ["float", "integer"] {
        assert!(number(&format!("tokens_per_second_{side}")) > 0.0);
    }
    let tensors = json["tensors"].as_array().expect("a list");
    assert_eq!((tensors.len(), count("tensor_tokens")), (12, 64));
    for tensor in tensors {
        let relative = tensor["largest_relative_error"].as_f64().expect("a number");
        assert!(relative > 0.0 && relative < 0.01, "{tensor}");
    }

    let short = base().join("short.txt");
    fs::write(&short, "a").expect("written");
    let nowhere = base().join("nowhere.txt");
    nanozk(&["eval", "--text", arg(&short)]).failed("short.txt: 1 tokens");
    nanozk(&["eval", "--text", arg(&nowhere)]).failed("nowhere.txt");
    eval(&["--ctx", "257"]).failed("context of 256: give a smaller --ctx");
    eval(&["--model", arg(&scene().private)]).failed("without floating-point weights");
}

/// What `fisher` says of the embedded model agrees with itself and is kept by the model's id; what it
/// cannot do is refused.
#[test]
fn fisher_tells_how_much_each_layer_matters() {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny-gpt2/heldout.txt");
    let fisher = |more: &[&str]| nanozk(&[&["fisher", "--text", arg(&text)], more].concat());
    let svg = base().join("fisher.svg");
    let options = ["--json", "--tokens", "10", "--ctx", "8", "--svg", arg(&svg)];
    let json = fisher(&options).success().json();
    assert_eq!(json["model_id"], scene().id());
    assert_eq!(json["tokens"], 10);
    let layers = json["layers"].as_array().expect("a list");
    let kinds: Vec<&Value> = layers.iter().map(|l| &l["kind"]).collect();
    let block = "block";
    assert_eq!(kinds, ["embedding", block, block, block, block, "head"]);
    let values = |list: &Value, key: &str| -> Vec<f64> {
        let list = list.as_array().expect("a list").iter();
        list.map(|entry| entry[key].as_f64().expect("a number"))
            .collect()
    };
    for key in ["share", "cost"] {
        let shares = values(&json["layers"], key);
        assert!(shares.iter().all(|share| *share > 0.0));
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
    for order in ["informed", "random_mean", "first", "middle", "last"] {
        let curve = values(&json["coverage"], order);
        assert!(curve.is_sorted() && curve[0] == 0.0, "{order}: {curve:?}");
        assert!((curve.last().expect("a point") - 1.0).abs() < 1e-9);
    }
    assert_eq!(
        json["coverage_at_half_cost"],
        json["at_half_cost"]["informed"]
    );
    assert_eq!(
        json["random_mean_at_half_cost"],
        json["at_half_cost"]["random_mean"]
    );

    let kept = base().join(format!("home/fisher/{}.json", scene().id()));
    let table = FisherTable::read(&kept).expect("kept");
    assert_eq!(table.tokens, 10);
    let kept: Value = serde_json::from_slice(&fs::read(kept).expect("a file")).expect("JSON");
    assert_eq!(kept, Value::Object(json));
    assert!(fs::read_to_string(svg).expect("a plot").contains("</svg>"));

    let short = base().join("one.txt");
    fs::write(&short, "a").expect("written");
    nanozk(&["fisher", "--text", arg(&short)]).failed("one.txt: 1 tokens");
    fisher(&["--ctx", "257"]).failed("context of 256: give a smaller --ctx");
    fisher(&["--tokens", "0"]).failed("--tokens");
}
