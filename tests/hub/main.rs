//! Models by the names of the hub's repositories, from a server on this machine that misbehaves where a
//! test asks for it.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Ran, arg, base, command, directory, names, nanozk, read, run};
use server::{Answer, COMMIT, Fault, Host, ID, Request, Server, git_sha1, sha256};

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

/// What was downloaded before an interruption is not sent again, in the next run or in the same.
#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let whole = files()[WEIGHTS].len();
    let half = whole / 2;
    let of_store = |r: &Request| r.is(Host::Store, "GET");
    // The first connection ends in the middle, the second without a byte.
    let fault: Fault = Box::new(move |request, before, answer| match before {
        0 if of_store(request) => answer.cut(half),
        1 if of_store(request) => answer.cut(0),
        _ => answer,
    });
    let (server, user) = (serve(fault), User::new());
    let ran = user.generate(&server.endpoint, "gpt2");
    ran.failed(&format!(
        "ended after {half} of {whole} bytes, which are kept"
    ));
    user.has_no_weights();
    let kept = fs::read(user.incomplete()).expect("kept");
    assert!(kept == files()[WEIGHTS][..half]);
    server.asked();

    let out = user.home.path().join("proof.bin");
    let prove = [
        "prove",
        "--model",
        "gpt2",
        "--prompt",
        "Hello",
        "--out",
        arg(&out),
    ];
    let resumed = serve(Box::new(move |request, before, answer| match before {
        0 if of_store(request) => answer.cut(1000),
        _ => answer,
    }));
    run(&mut user.command(&resumed.endpoint, &prove)).success();
    assert_eq!(read(&out).statement.output.len(), 1, "a whole proof");
    let asked = of(Host::Store, "GET", &resumed.asked());
    let ranges: Vec<_> = asked.iter().map(|r| r.headers["range"].clone()).collect();
    let expected = [half, half + 1000].map(|start| format!("bytes={start}-"));
    assert_eq!(ranges, expected);
    let sent: usize = asked.iter().map(|r| r.sent).sum();
    assert_eq!(sent, whole - half, "no byte is sent twice");
    assert!(!user.incomplete().exists());
}

/// A server that knows no ranges sends everything again; the beginning is not doubled.
#[test]
fn a_server_without_ranges_starts_again() {
    let content = files()[WEIGHTS].clone();
    let fault: Fault = Box::new(move |request, _, answer| match answer.status {
        206 if request.host == Host::Store => Answer::new(200, content.clone()),
        _ => answer,
    });
    let (server, user) = (serve(fault), User::new());
    fs::create_dir_all(user.blobs()).expect("a directory");
    fs::write(user.incomplete(), "other bytes").expect("written");
    user.generate(&server.endpoint, "gpt2").success();
}

/// A content of another length or digest than was promised never gets its name, and nothing of it is
/// left to go on with.
#[test]
fn what_was_not_promised_is_not_used() {
    let weights = |r: &Request| r.is(Host::Store, "GET");
    let flipped: Fault = Box::new(move |request, _, mut answer| {
        if weights(request) {
            answer.body[100_000] ^= 1;
        }
        answer
    });
    let shorter: Fault = Box::new(move |request, _, mut answer| {
        if weights(request) {
            answer.body.pop();
            answer.sent = answer.body.len();
        }
        answer
    });
    // Without a length in its head, an answer may go on and on.
    let longer: Fault = Box::new(move |request, _, mut answer| {
        if weights(request) {
            answer.body.extend([0; 100_000]);
            answer = Answer::new(200, answer.body).with("Content-Length", "");
        }
        answer
    });
    let elsewhere: Fault = Box::new(move |request, _, answer| match answer.status {
        206 if weights(request) => answer.with("Content-Range", "bytes 0-9/10"),
        _ => answer,
    });
    let (whole, digest) = (files()[WEIGHTS].len(), sha256(&files()[WEIGHTS]));
    for (fault, begun, reason) in [
        (flipped, false, format!("the hub promised {digest}")),
        (
            shorter,
            false,
            format!("{} bytes, {whole} were promised", whole - 1),
        ),
        (
            longer,
            false,
            format!("{} bytes, {whole} were promised", whole + 1),
        ),
        (
            elsewhere,
            true,
            "another part than was asked for".to_string(),
        ),
    ] {
        let (server, user) = (serve(fault), User::new());
        if begun {
            fs::create_dir_all(user.blobs()).expect("a directory");
            fs::write(user.incomplete(), &files()[WEIGHTS][..10]).expect("written");
        }
        user.generate(&server.endpoint, "gpt2").failed(&reason);
        user.has_no_weights();
        if !begun {
            assert!(!user.incomplete().exists(), "{reason}");
        }
        // The next run starts anew.
        let server = serve(honest());
        user.generate(&server.endpoint, "gpt2").success();
    }
}

/// Every refusal says what to do about it.
#[test]
fn refusals_have_their_remedies() {
    let all =
        |status: u16| -> Fault { Box::new(move |_, _, _| Answer::new(status, b"no".to_vec())) };
    let limited: Fault = Box::new(|_, _, _| Answer::new(429, Vec::new()).with("Retry-After", "17"));
    let one_file: Fault =
        Box::new(
            |request, _, answer| match request.path.ends_with("tokenizer.json") {
                true => Answer::new(404, Vec::new()),
                false => answer,
            },
        );
    let of_store = |status: u16| -> Fault {
        Box::new(move |request, _, answer| match request.host {
            Host::Store => Answer::new(status, Vec::new()),
            Host::Hub => answer,
        })
    };
    let nonsense: Fault = Box::new(|_, _, _| Answer::new(200, b"<html>".to_vec()));
    let page = format!("/{ID}");
    for (fault, model, words) in [
        (
            all(401),
            "gpt2",
            vec!["accept its terms at http", &page, "HF_TOKEN", "answers 401"],
        ),
        (
            all(403),
            "gpt2",
            vec!["accept its terms at http", &page, "HF_TOKEN", "answers 403"],
        ),
        (
            honest(),
            "no/such",
            vec!["has no repository \"no/such\"", "models/no/such"],
        ),
        (
            honest(),
            "gpt2@v2",
            vec!["has no revision \"v2\"", "a branch, a tag or a commit"],
        ),
        (one_file, "gpt2", vec!["no file \"tokenizer.json\"", COMMIT]),
        (limited, "gpt2", vec!["wait 17 seconds"]),
        (all(429), "gpt2", vec!["wait some minutes"]),
        (all(500), "gpt2", vec!["answers 500", "try again later"]),
        (all(503), "gpt2", vec!["answers 503", "try again later"]),
        (all(418), "gpt2", vec!["answers 418", "HF_ENDPOINT"]),
        (
            of_store(403),
            "gpt2",
            vec!["http://localhost", "answers 403", "no answer of a hub"],
        ),
        (
            of_store(404),
            "gpt2",
            vec!["http://localhost", "answers 404"],
        ),
        (
            nonsense,
            "gpt2",
            vec!["no listing of a repository", "HF_ENDPOINT"],
        ),
    ] {
        let (server, user) = (serve(fault), User::new());
        let ran = user.generate(&server.endpoint, model);
        for word in &words {
            assert!(
                ran.stderr.contains(word),
                "{word:?} is not in {:?}",
                ran.stderr
            );
        }
        ran.failed(words[0]);
        user.has_no_weights();
    }
}

/// The token stays with the endpoint, also where that sends its own routes elsewhere.
#[test]
fn the_token_is_for_the_endpoint_only() {
    let elsewhere = serve(honest());
    let target = elsewhere.endpoint.clone();
    let server = serve(Box::new(move |request, _, _| {
        Answer::new(307, Vec::new()).with("Location", &format!("{target}{}", request.path))
    }));
    let user = User::new();
    user.generate(&server.endpoint, "gpt2").success();
    let asked = elsewhere.asked();
    assert!(!asked.is_empty());
    assert!(
        asked
            .iter()
            .all(|r| !r.headers.contains_key("authorization"))
    );
    assert!(
        server
            .asked()
            .iter()
            .all(|r| r.headers.contains_key("authorization"))
    );

    let around = serve(Box::new(|request, _, _| {
        Answer::new(302, Vec::new()).with("Location", &request.path)
    }));
    let ran = User::new().generate(&around.endpoint, "gpt2");
    ran.failed("one redirect after another");
}

/// Without a network, what the cache has is used, and otherwise the reason is told.
#[test]
fn without_a_network() {
    let nowhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nowhere.local_addr().expect("an address");
    let nowhere = {
        drop(nowhere);
        format!("http://{address}")
    };
    let user = User::new();
    user.generate(&nowhere, "gpt2")
        .failed(&format!("cannot reach {nowhere}"));
    let offline = |user: &User, endpoint: &str| {
        let mut command = user.command(endpoint, &generating("gpt2"));
        run(command.env("HF_HUB_OFFLINE", "1"))
    };
    let server = serve(honest());
    offline(&user, &server.endpoint).failed("HF_HUB_OFFLINE is set");
    assert_eq!(server.asked().len(), 0);

    // As another program may have left it: what a model can do without was not asked for.
    user.generate(&server.endpoint, "gpt2").success();
    fs::remove_dir_all(user.repository().join(".no_exist")).expect("removed");
    for endpoint in [
        &nowhere,
        &serve(Box::new(|_, _, _| Answer::new(502, vec![]))).endpoint,
    ] {
        user.generate(endpoint, "gpt2").success();
    }
    offline(&user, &nowhere).success();
    server.asked();
    user.generate(&server.endpoint, "gpt2").success();
    assert_eq!(server.asked().len(), 1, "the listing says the rest");

    let snapshot = user.repository().join("snapshots").join(COMMIT);
    fs::remove_file(snapshot.join("tokenizer.json")).expect("removed");
    let ran = offline(&user, &server.endpoint);
    ran.failed("cache has no tokenizer.json of \"openai-community/gpt2\"");
}

/// What a server calls things leads nowhere outside the cache.
#[test]
fn a_hostile_server_names_no_paths() {
    let listing = |sha: &str| {
        let json = format!(r#"{{"sha": "{sha}", "siblings": []}}"#);
        Answer::new(200, json.into_bytes())
    };
    let commit: Fault = Box::new(move |_, _, _| listing("../../outside"));
    let etag: Fault = Box::new(|request, _, answer| match request.method.as_str() {
        "HEAD" => answer.with("X-Linked-Etag", "\"../../../outside\""),
        _ => answer,
    });
    for (fault, reason) in [(commit, "is no commit"), (etag, "no etag")] {
        let (server, user) = (serve(fault), User::new());
        user.generate(&server.endpoint, "gpt2").failed(reason);
        assert!(!user.home.path().join("outside").exists());
        assert!(!user.home.path().join("hub/outside").exists());
    }
    let mut index = files();
    index.remove(WEIGHTS);
    let shard = r#"{"weight_map": {"wte.weight": "../../outside.safetensors"}}"#;
    index.insert(format!("{WEIGHTS}.index.json"), shard.into());
    let server = Server::start(index, honest());
    let user = User::new();
    let ran = user.generate(&server.endpoint, "gpt2");
    ran.failed("is not the name of a .safetensors file in the same directory");
}

/// The files of an index, a lone GGUF file; of several GGUF files none is meant.
#[test]
fn other_forms_of_weights() {
    let (server, user) = {
        let mut sharded = files();
        let weights = sharded.remove(WEIGHTS).expect("there");
        let index =
            r#"{"weight_map": {"wte.weight": "a-2.safetensors", "wpe.weight": "a-1.safetensors"}}"#;
        sharded.insert("model.safetensors.index.json".into(), index.into());
        sharded.insert("a-1.safetensors".into(), weights.clone());
        sharded.insert("a-2.safetensors".into(), weights);
        (Server::start(sharded, honest()), User::new())
    };
    // Both hold every tensor, which the reader of checkpoints refuses.
    user.generate(&server.endpoint, "gpt2")
        .failed("a-2.safetensors");
    let snapshot = user.repository().join("snapshots").join(COMMIT);
    let found = names(&snapshot);
    for name in [
        "a-1.safetensors",
        "a-2.safetensors",
        "model.safetensors.index.json",
    ] {
        assert!(found.contains(name), "{name}");
    }

    let one = BTreeMap::from([("m.gguf".to_string(), b"none".to_vec())]);
    let (server, user) = (Server::start(one.clone(), honest()), User::new());
    user.generate(&server.endpoint, "gpt2")
        .failed(&format!("{COMMIT}/m.gguf"));
    let mut two = one;
    two.insert("n.gguf".into(), Vec::new());
    let server = Server::start(two, honest());
    User::new()
        .generate(&server.endpoint, "gpt2")
        .failed("2 GGUF files");
    let server = Server::start(BTreeMap::new(), honest());
    let ran = User::new().generate(&server.endpoint, "gpt2");
    ran.failed("holds no model that this program reads: no config.json");
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
