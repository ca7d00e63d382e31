//! Chats as users have them: messages in, a prompt by the model's own template, and a verifier who has the messages.

mod common;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use common::{Ran, arg, base, command, directory, names, nanozk, read};
use nanozk::model::{Checkpoint, Messages};
use nanozk::proof::{KeyFile, Kind, container};
use serde_json::{Value, json};

const TEMPLATE: &str = "\
{%- if messages[0].role == 'critic' %}{{ raise_exception('no critics, please') }}{% endif %}
{{- bos_token ~ strftime_now('%d %b %Y') }}
{%- for message in messages %}
    {{- '\\n' ~ message.role | title ~ ': ' ~ message.content | trim }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '\\nAssistant:' }}{% endif %}";

const DAY: &str = "2025-07-06";

/// What the template makes of [`USER`] and [`SYSTEM`] on that day.
const PROMPT: &str =
    "<|endoftext|>06 Jul 2025\nSystem: Be brief.\nUser: Who is the king?\nAssistant:";
const USER: &str = " Who is the king? ";
const SYSTEM: &str = "Be brief.";

/// `models/tiny-gpt2` with this chat template.
fn model(template: &str, tokens: &Value) -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny-gpt2");
    let folder = directory();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(from.join(file), folder.path().join(file)).expect("copied");
    }
    let write =
        |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    write("chat_template.jinja", template);
    write("tokenizer_config.json", &tokens.to_string());
    folder
}

struct Scene {
    folder: tempfile::TempDir,
    proof: PathBuf,
    proved: Value,
}

/// A proof of the answer to the messages.
fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let folder = model(
            TEMPLATE,
            &json!({"bos_token": {"__type": "AddedToken", "content": "<|endoftext|>"}}),
        );
        let proof = base().join("chat.bin");
        let args = [
            "prove",
            "--model",
            arg(folder.path()),
            "--out",
            arg(&proof),
            "--json",
        ];
        let given = ["--user", USER, "--system", SYSTEM, "--date", DAY];
        let proved = nanozk(&[&args[..], &given, &["--max-new-tokens", "2"]].concat()).success();
        Scene {
            folder,
            proof,
            proved: proved.json().into(),
        }
    })
}

impl Scene {
    fn verify(&self, given: &[&str]) -> Ran {
        nanozk(&[&["verify", arg(&self.proof)], given].concat())
    }

    fn generate(&self, given: &[&str]) -> Ran {
        let args = [
            "generate",
            "--model",
            arg(self.folder.path()),
            "--max-new-tokens",
            "2",
        ];
        nanozk(&[&args, given].concat())
    }

    /// The ids of the proved prompt.
    fn ids(&self) -> String {
        let ids = self.proved["prompt_tokens"].as_array().expect("ids");
        ids.iter()
            .map(Value::to_string)
            .collect::<Vec<_>>()
            .join(",")
    }
}

/// A file of messages.
fn messages(name: &str, messages: &Value) -> PathBuf {
    let path = base().join(name);
    fs::write(&path, messages.to_string()).expect("written");
    path
}

fn message(role: &str, content: &str) -> Value {
    json!({"role": role, "content": content})
}

/// Runs `nanozk` with something on its standard input.
fn piped(args: &[&str], input: &str) -> Ran {
    let mut command = command(env!("CARGO_BIN_EXE_nanozk"), &base().join("home"));
    let command = command.args(args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    Ran {
        code: output.status.code().expect("not killed"),
        stdout: String::from_utf8(output.stdout).expect("UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

/// A verifier who has the messages sees that the proved prompt was made of them, and of no others.
#[test]
fn messages_of_a_proof_are_told_from_others() {
    let scene = scene();
    assert_eq!(scene.proved["prompt"], PROMPT);
    let (system, user) = (message("system", SYSTEM), message("user", USER));
    let same = messages("same.json", &json!([system, user]));
    let wrapped = messages("wrapped.json", &json!({"messages": [system, user]}));
    let text = base().join("prompt.txt");
    fs::write(&text, PROMPT).expect("written");
    for given in [
        &["--user", USER, "--system", SYSTEM, "--date", DAY][..],
        &["--user", USER.trim(), "--system", SYSTEM, "--date", DAY],
        &["--messages", arg(&same), "--date", DAY],
        &["--messages", arg(&wrapped), "--date", DAY],
        &["--prompt", PROMPT],
        &["--prompt-file", arg(&text)],
        &["--prompt-tokens", &scene.ids()],
    ] {
        scene.verify(given).success();
    }
    let others = [
        json!([user, system]),
        json!([system, message("assistant", USER)]),
        json!([system, message("user", "Who is the queen?")]),
        json!([system, user, message("user", "?")]),
        json!([user]),
    ];
    let others = others.iter().enumerate();
    let others = others.map(|(i, chat)| messages(&format!("other-{i}.json"), chat));
    for other in others.collect::<Vec<_>>() {
        let ran = scene.verify(&["--messages", arg(&other), "--date", DAY]);
        assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
        assert!(
            ran.stdout.starts_with("NOT VALID: its prompt is "),
            "{}",
            ran.stdout
        );
    }
    fs::write(&text, format!("{PROMPT}\n")).expect("written");
    let fewer = scene
        .ids()
        .rsplit_once(',')
        .expect("several ids")
        .0
        .to_string();
    for other in [
        &["--user", USER, "--date", DAY][..],
        &["--user", USER, "--system", "Be long.", "--date", DAY],
        &["--messages", arg(&same), "--date", "2025-07-07"],
        &["--prompt-file", arg(&text)],
        &["--prompt-tokens", &fewer],
    ] {
        assert_eq!(scene.verify(other).code, 1, "{other:?}");
    }
    // What a verifier's messages cannot be made into is no statement about the proof.
    let critic = messages("critic.json", &json!([message("critic", "Wrong!")]));
    scene
        .verify(&["--messages", arg(&critic)])
        .failed("no critics, please");
    scene
        .verify(&["--messages", "no-such.json"])
        .failed("no-such.json");
}

/// All ways to give one prompt give one answer, with the tokens that machines compare.
#[test]
fn every_way_gives_the_same_prompt() {
    let scene = scene();
    let chat = json!([message("system", SYSTEM), message("user", USER)]);
    let file = messages("chat.json", &chat);
    let text = base().join("exact.txt");
    fs::write(&text, PROMPT).expect("written");
    let ways = [
        &["--user", USER, "--system", SYSTEM, "--date", DAY][..],
        &["--messages", arg(&file), "--date", DAY],
        &["--prompt", PROMPT],
        &["--prompt-file", arg(&text)],
        &["--prompt-tokens", &scene.ids()],
    ];
    for way in ways {
        let json = scene
            .generate(&[way, &["--json"]].concat())
            .success()
            .json();
        for key in [
            "prompt",
            "output",
            "prompt_tokens",
            "output_tokens",
            "model_id",
        ] {
            assert_eq!(json[key], scene.proved[key], "{key} of {way:?}");
        }
    }
    let output = scene.proved["output"].as_str().expect("text").trim_end();
    for (way, before) in ways.iter().zip(["", "", PROMPT, PROMPT, PROMPT]) {
        let shown = scene.generate(way).success().stdout;
        assert_eq!(shown, format!("{before}{output}\n"), "{way:?}");
    }
    let generate = [
        "generate",
        "--model",
        arg(scene.folder.path()),
        "--json",
        "--max-new-tokens",
        "2",
    ];
    let piped_chat = [&generate[..], &["--messages", "-", "--date", DAY]].concat();
    let piped_text = [&generate[..], &["--prompt-file", "-"]].concat();
    for (args, input) in [
        (piped_chat, chat.to_string()),
        (piped_text, PROMPT.to_string()),
    ] {
        let json = piped(&args, &input).success().json();
        assert_eq!(json["prompt_tokens"], scene.proved["prompt_tokens"]);
    }
    // A commitment to the same run is about the same tokens.
    let out = base().join("run.commit");
    let args = [
        "commit",
        "--model",
        arg(scene.folder.path()),
        "--json",
        "--out",
        arg(&out),
    ];
    let given = [
        "--max-new-tokens",
        "2",
        "--messages",
        arg(&file),
        "--date",
        DAY,
    ];
    let committed = nanozk(&[&args[..], &given].concat()).success().json();
    for key in [
        "prompt",
        "output",
        "prompt_tokens",
        "output_tokens",
        "model_id",
    ] {
        assert_eq!(committed[key], scene.proved[key], "{key}");
    }
    let inspected = nanozk(&["inspect", "--json", arg(&scene.proof)])
        .success()
        .json();
    assert_eq!(inspected["prompt_tokens"], scene.proved["prompt_tokens"]);
    assert_eq!(inspected["output_tokens"], scene.proved["output_tokens"]);
}

/// A prompt is given in exactly one way, and what is given with another is refused, not passed over.
#[test]
fn there_is_one_way_at_a_time() {
    let scene = scene();
    let proof = arg(&scene.proof);
    for wrong in [
        &["generate"][..],
        &["prove"],
        &["commit"],
        &["generate", "--prompt", "a", "--user", "b"],
        &["generate", "--user", "a", "--messages", "b"],
        &["generate", "--prompt-file", "a", "--prompt-tokens", "1"],
        &["generate", "--prompt", "a", "--system", "b"],
        &["generate", "--messages", "a", "--system", "b"],
        &["generate", "--system", "b"],
        &["generate", "--prompt", "a", "--date", DAY],
        &["generate", "--user", "a", "--date", "yesterday"],
        &["generate", "--prompt-tokens", "1,x"],
        &["prove", "--commit", "a", "--challenge", "b", "--user", "c"],
        &[
            "prove",
            "--commit",
            "a",
            "--challenge",
            "b",
            "--system",
            "c",
        ],
        &["prove", "--commit", "a", "--challenge", "b", "--date", DAY],
        &["verify", proof, "--date", DAY],
        &["verify", proof, "--prompt", "a", "--user", "b"],
    ] {
        let ran = nanozk(wrong);
        assert_eq!(ran.code, 2, "{wrong:?}: {}", ran.stdout);
        assert!(
            ran.stderr.starts_with("error: ") && ran.stdout.is_empty(),
            "{}",
            ran.stderr
        );
    }
    // Ids are checked against the model's vocabulary, and no tokenizer is asked for them.
    scene
        .generate(&["--prompt-tokens", "1024"])
        .failed("token 1024 is not in the vocabulary of 1024");
}

/// Where there is no template, or where it does not take the messages, nothing is guessed and nothing written.
#[test]
fn what_cannot_be_rendered_is_said_and_nothing_is_written() {
    let folder = directory();
    let out = folder.path().join("proof.bin");
    let prove = |model: &[&str], given: &[&str]| {
        let args = ["prove", "--out", arg(&out)];
        nanozk(&[&args[..], model, given].concat())
    };
    let hello = ["--user", "Hello"];
    prove(&[], &hello).failed("no chat template: give the prompt itself, by --prompt");
    let scene = scene();
    let own = ["--model", arg(scene.folder.path())];
    let critic = messages("first-critic.json", &json!([message("critic", "Wrong!")]));
    let critic = ["--messages", arg(&critic)];
    prove(&own, &critic)
        .failed("chat template, line 1: the template refuses these messages: no critics, please");
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]);
    let image = messages("image.json", &image);
    prove(&own, &["--messages", arg(&image)]).failed("nothing else is supported");
    prove(&own, &["--prompt-file", arg(&scene.proof)]).failed("not UTF-8");
    let endless =
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}\n{% endfor %}";
    for (template, said) in [
        (endless, "it takes more than"),
        (
            "a\n{{ messages | shout }}",
            "chat template, line 2: the filter \"shout\": not supported",
        ),
    ] {
        let other = model(template, &json!({}));
        prove(&["--model", arg(other.path())], &hello).failed(said);
    }
    assert!(names(folder.path()).is_empty());
}

/// The files of a template are those that transformers reads, in its order.
#[test]
fn templates_are_found_where_transformers_finds_them() {
    let tokens = json!({"bos_token": "<|endoftext|>", "chat_template": "configured"});
    let folder = model("file\n", &tokens);
    let rendered = || {
        let template = Checkpoint::open(folder.path())
            .expect("a checkpoint")
            .chat_template?;
        let day = DAY.parse().expect("a day");
        Some(
            template
                .render(&Messages::of_user("", None), day)
                .expect("rendered"),
        )
    };
    let at = |name: &str| folder.path().join(name);
    assert_eq!(rendered().as_deref(), Some("file"));
    fs::create_dir(at("additional_chat_templates")).expect("a folder");
    fs::write(at("additional_chat_templates/tool_use.jinja"), "tools").expect("written");
    assert_eq!(rendered().as_deref(), Some("file"));
    fs::remove_file(at("chat_template.jinja")).expect("removed");
    assert_eq!(
        rendered(),
        None,
        "there are named ones, and none is the default"
    );
    fs::write(at("additional_chat_templates/default.jinja"), "additional").expect("written");
    assert_eq!(rendered().as_deref(), Some("additional"));
    fs::remove_dir_all(at("additional_chat_templates")).expect("removed");
    assert_eq!(rendered().as_deref(), Some("configured"));
    let checkpoint = Checkpoint::open(folder.path()).expect("a checkpoint");
    let named = checkpoint
        .files
        .iter()
        .any(|(name, _)| name == "tokenizer_config.json");
    assert!(named, "what was read is in the provenance");
    fs::write(at("tokenizer_config.json"), r#"{"chat_template": 3}"#).expect("written");
    let error = Checkpoint::open(folder.path())
        .expect_err("no template")
        .to_string();
    assert!(
        error.contains("tokenizer_config.json: \"chat_template\" is 3"),
        "{error}"
    );
}

/// The id covers the template: a key with another one, or without it, is not used.
#[test]
fn a_key_with_another_template_is_refused() {
    let scene = scene();
    let id = scene.proved["model_id"].as_str().expect("an id");
    let kept = base().join(format!("home/keys/{id}.vk"));
    let file = || -> KeyFile { container::read(Kind::VerifyingKey, &kept).expect("a key") };
    let template = file().chat_template.expect("a template");
    let other = {
        // Of the same length, so that it can still be read.
        let (from, to) = (b"Assistant:", b"Assistent:");
        let at = template.windows(from.len()).position(|w| w == from);
        let at = at.expect("the template has it");
        [&template[..at], to, &template[at + from.len()..]].concat()
    };
    assert_ne!(template, other);
    for template in [Some(other), Some(template[1..].to_vec()), None] {
        let mut file = file();
        file.chat_template = template;
        let path = base().join("other-template.vk");
        let bytes = container::encode(Kind::VerifyingKey, &file);
        container::write(&path, &bytes, false).expect("written");
        // Also where no messages are compared.
        for given in [
            &[][..],
            &["--user", USER, "--system", SYSTEM, "--date", DAY],
        ] {
            let ran = scene.verify(&[&["--vk", arg(&path)], given].concat());
            ran.failed("chat template is not the one its model was published with");
        }
    }
    assert_eq!(read(&scene.proof).statement.model_id.to_string(), id);
}
