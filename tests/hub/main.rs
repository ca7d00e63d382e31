//! Models by the names of the hub's repositories, from a server on this machine that misbehaves where a
//! test asks for it.
#![cfg(unix)]

mod cached;
#[path = "../common/mod.rs"]
mod common;
mod damage;
mod forms;
mod refusals;
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Ran, arg, base, command, directory, names, nanozk, read, run};
use server::{Answer, COMMIT, Fault, Host, ID, Request, Server, git_sha1, hex, sha256};

const WEIGHTS: &str = "model.safetensors";

/// The checkpoint that the program carries, as a repository.
fn files() -> BTreeMap<String, Vec<u8>> {
    let folder = checkpoint();
    let file = |name: &str| {
        let content = fs::read(folder.join(name)).expect("a file of this repository");
        (name.to_string(), content)
    };
    let mut files: BTreeMap<_, _> = ["config.json", "tokenizer.json", WEIGHTS].map(file).into();
    files.insert("README.md".into(), b"# GPT-2".to_vec());
    files.insert("pytorch_model.bin".into(), b"not asked for".to_vec());
    files
}

fn checkpoint() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny-gpt2")
}

fn honest() -> Fault {
    Box::new(|_, _, answer| answer)
}

fn serve(fault: Fault) -> Server {
    Server::start(files(), fault)
}

/// Someone with a cache of Hugging Face's.
struct User {
    home: tempfile::TempDir,
}

impl User {
    fn new() -> Self {
        Self { home: directory() }
    }

    /// `nanozk`, whose own cache is that of all tests here.
    fn command(&self, endpoint: &str, args: &[&str]) -> Command {
        let mut command = command(env!("CARGO_BIN_EXE_nanozk"), &base().join("home"));
        for name in [
            "HF_HUB_OFFLINE",
            "HF_HUB_CACHE",
            "HUGGINGFACE_HUB_CACHE",
            "HF_TOKEN_PATH",
            "HUGGING_FACE_HUB_TOKEN",
            "TRANSFORMERS_OFFLINE",
            "HTTP_PROXY",
            "http_proxy",
            "ALL_PROXY",
            "all_proxy",
            "SSL_CERT_FILE",
            "REQUESTS_CA_BUNDLE",
        ] {
            command.env_remove(name);
        }
        command
            .env("HF_HOME", self.home.path())
            .env("HF_TOKEN", "hf_secret")
            .env("HF_ENDPOINT", endpoint)
            .args(args);
        command
    }

    fn generate(&self, endpoint: &str, model: &str) -> Ran {
        run(&mut self.command(endpoint, &generating(model)))
    }

    /// The folder of the repository in the cache.
    fn repository(&self) -> PathBuf {
        self.home.path().join("hub/models--openai-community--gpt2")
    }

    fn blobs(&self) -> PathBuf {
        self.repository().join("blobs")
    }

    /// The content of the weights while it is downloaded.
    fn incomplete(&self) -> PathBuf {
        let etag = sha256(&files()[WEIGHTS]);
        self.blobs().join(format!("{etag}.incomplete"))
    }

    /// Nothing half-written stands under a final name.
    fn has_no_weights(&self) {
        let snapshot = self.repository().join("snapshots").join(COMMIT);
        assert!(!snapshot.join(WEIGHTS).exists());
        assert!(!self.incomplete().with_extension("").exists());
        assert!(!self.repository().join("refs/main").exists());
    }
}

fn generating(model: &str) -> Vec<&str> {
    let tokens = ["--max-new-tokens", "1"];
    [
        &["generate", "--prompt", "Hello", "--model", model],
        &tokens[..],
    ]
    .concat()
}

/// What was asked of a host.
fn of(host: Host, method: &str, asked: &[Request]) -> Vec<Request> {
    let found = asked.iter().filter(|r| r.is(host, method));
    found.cloned().collect()
}

/// A name is all it takes: the model is downloaded into the cache that is shared with Python, once, and
/// the token goes to the hub alone.
#[test]
fn a_name_is_downloaded_once() {
    let (server, user) = (serve(honest()), User::new());
    let out = user.home.path().join("proof.bin");
    let prove = ["prove", "--model", "gpt2", "--prompt", "Hello"];
    let prove = [&prove, &["--out", arg(&out)][..]].concat();
    run(&mut user.command(&server.endpoint, &prove)).success();
    let verify = ["verify", "--prompt", "Hello", arg(&out)];
    nanozk(&verify).success();

    let asked = server.asked();
    for request in &asked {
        let token = request.headers.get("authorization").map(String::as_str);
        let expected = (request.host == Host::Hub).then_some("Bearer hf_secret");
        assert_eq!(token, expected, "{request:?}");
        let encoding = &request.headers["accept-encoding"];
        assert_eq!(encoding, "identity", "what is sent is what is checked");
    }
    let store = of(Host::Store, "GET", &asked);
    assert_eq!(store.len(), 1);
    assert_eq!(store[0].path, format!("/{WEIGHTS}?signature=x"));
    for file in ["README.md", "pytorch_model.bin"] {
        assert!(asked.iter().all(|r| !r.path.contains(file)), "{file}");
    }

    let snapshot = user.repository().join("snapshots").join(COMMIT);
    let expected = ["config.json", "tokenizer.json", WEIGHTS].map(String::from);
    assert_eq!(names(&snapshot), expected.into());
    for (name, content) in files() {
        if !snapshot.join(&name).exists() {
            continue;
        }
        assert_eq!(fs::read(snapshot.join(&name)).expect("there"), content);
        let etag = match name == WEIGHTS {
            true => sha256(&content),
            false => git_sha1(&content),
        };
        let link = fs::read_link(snapshot.join(&name)).expect("a link");
        assert_eq!(link, Path::new("../../blobs").join(etag));
    }
    let main = fs::read_to_string(user.repository().join("refs/main"));
    assert_eq!(main.expect("there"), COMMIT);
    let absent = names(&user.repository().join(".no_exist").join(COMMIT));
    assert!(absent.contains("generation_config.json") && !absent.contains("pytorch_model.bin"));

    // Everything is there: nothing is asked, with a network and without.
    for name in ["gpt2", ID, &format!("{ID}@{COMMIT}"), "gpt2@main"] {
        user.generate(&server.endpoint, name).success();
    }
    for variable in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
        let mut command = user.command(&server.endpoint, &generating("gpt2"));
        run(command.env(variable, "1")).success();
    }
    assert_eq!(server.asked().len(), 0);
}

/// The same files are the same model, wherever they come from; the commit is told beside the id.
#[test]
fn the_id_does_not_depend_on_where_the_files_are() {
    let (server, user) = (serve(honest()), User::new());
    let name = format!("{ID}@v1");
    let args = ["model-id", "--json", "--model", &name];
    let mut here = nanozk(&["model-id", "--json", "--model", arg(&checkpoint())])
        .success()
        .json();
    let hub = run(&mut user.command(&server.endpoint, &args))
        .success()
        .json();
    assert_eq!(
        (&hub["repository"], &hub["commit"]),
        (&ID.into(), &COMMIT.into())
    );
    here.insert("repository".into(), ID.into());
    here.insert("commit".into(), COMMIT.into());
    assert_eq!(hub, here);
    let tag = fs::read_to_string(user.repository().join("refs/v1"));
    assert_eq!(tag.expect("there"), COMMIT);
    assert!(!user.repository().join("refs/main").exists());

    let args = [&["--verbose"], &generating(&name)[..]].concat();
    let said = run(&mut user.command(&server.endpoint, &args)).stderr;
    assert!(
        said.contains(&format!("using {ID} at commit {COMMIT}")),
        "{said}"
    );
}

/// Two at once fetch the weights once, and both have them.
#[test]
fn two_processes_share_a_download() {
    let fault: Fault = Box::new(|request, before, answer| {
        // Slow enough for the other to come.
        if request.is(Host::Store, "GET") && before == 0 {
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        answer
    });
    let (server, user) = (serve(fault), User::new());
    let begin = || {
        let mut command = user.command(&server.endpoint, &generating("gpt2"));
        command.stdout(Stdio::null()).spawn().expect("it starts")
    };
    for mut child in [begin(), begin()] {
        assert!(child.wait().expect("it ends").success());
    }
    assert_eq!(of(Host::Store, "GET", &server.asked()).len(), 1);
    assert!(!user.incomplete().exists());
}
