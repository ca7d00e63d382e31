//! What the cache shows of a repository, and what it leaves open.

use super::*;

const OPTIONAL: [&str; 5] = [
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "additional_chat_templates/default.jinja",
];

/// An address where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

fn offline(user: &User, args: &[&str]) -> Ran {
    run(user.command(&nowhere(), args).env("HF_HUB_OFFLINE", "1"))
}

impl User {
    fn snapshot(&self) -> PathBuf {
        self.repository().join("snapshots").join(COMMIT)
    }

    fn markers(&self) -> PathBuf {
        self.repository().join(".no_exist").join(COMMIT)
    }

    /// Lays the files into the cache as Python does that fetches them one by one, by no matter which links.
    fn fetch_by_hand(&self, files: &BTreeMap<String, Vec<u8>>) {
        let write = |path: PathBuf, content: &[u8]| {
            fs::create_dir_all(path.parent().expect("a folder")).expect("a directory");
            fs::write(path, content).expect("written");
        };
        for (name, content) in files {
            write(self.snapshot().join(name), content);
        }
        write(self.repository().join("refs/main"), COMMIT.as_bytes());
    }

    fn model_id(&self, endpoint: &str) -> String {
        let args = [&generating("gpt2")[..], &["--json"]].concat();
        let ran = run(&mut self.command(endpoint, &args)).success();
        ran.json()["model_id"].to_string()
    }
}

/// The model's id by a directory of its own.
fn id_of(files: &BTreeMap<String, Vec<u8>>) -> String {
    let folder = directory();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a directory");
        fs::write(path, content).expect("written");
    }
    let args = [&generating(arg(folder.path()))[..], &["--json"]].concat();
    nanozk(&args).success().json()["model_id"].to_string()
}

/// Wants one line on standard error which names these files, of all that may be there or not.
fn noted(ran: Ran, why: &str, unknown: &[&str]) -> Ran {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let (said, lines) = (&ran.stderr, ran.stderr.lines().count());
    assert!(said.starts_with("note: ") && lines == 1, "{said}");
    assert!(said.contains(why) && said.contains("another id"), "{said}");
    for file in OPTIONAL {
        assert_eq!(said.contains(file), unknown.contains(&file), "{file}");
    }
    ran
}

/// Without a network, what the cache has is used, and otherwise the reason is told.
#[test]
fn without_a_network() {
    let (nowhere, user) = (nowhere(), User::new());
    user.generate(&nowhere, "gpt2")
        .failed(&format!("cannot reach {nowhere}"));
    let server = serve(honest());
    let without = |user: &User| {
        let mut command = user.command(&server.endpoint, &generating("gpt2"));
        run(command.env("HF_HUB_OFFLINE", "1"))
    };
    without(&user).failed("HF_HUB_OFFLINE is set");
    assert_eq!(server.asked().len(), 0);

    user.generate(&server.endpoint, "gpt2").success();
    fs::remove_file(user.snapshot().join("tokenizer.json")).expect("removed");
    without(&user).failed("cache has no tokenizer.json of \"openai-community/gpt2\"");
}

/// What the cache of another program leaves open is never taken for settled without a word: with one file more it
/// would be another model.
#[test]
fn what_is_not_known_is_said() {
    let (server, user) = (serve(honest()), User::new());
    user.generate(&server.endpoint, "gpt2").success();
    fs::remove_dir_all(user.repository().join(".no_exist")).expect("removed");
    noted(
        user.generate(&nowhere(), "gpt2"),
        "could not be asked",
        &OPTIONAL,
    );
    for status in [401, 404, 418, 429, 502] {
        let refusing = serve(Box::new(move |_, _, _| Answer::new(status, vec![])));
        let ran = user.generate(&refusing.endpoint, "gpt2");
        noted(ran, "could not be asked", &OPTIONAL);
    }
    let why = "HF_HUB_OFFLINE is set";
    noted(offline(&user, &generating("gpt2")), why, &OPTIONAL);
    let json = [&generating("gpt2")[..], &["--json"]].concat();
    noted(offline(&user, &json), why, &OPTIONAL).json();
    let quiet = [&generating("gpt2")[..], &["--quiet"]].concat();
    noted(offline(&user, &quiet), why, &OPTIONAL);

    // As `transformers` leaves it that found no such files.
    fs::create_dir_all(user.markers()).expect("a directory");
    for name in &OPTIONAL[..4] {
        fs::write(user.markers().join(name), "").expect("written");
    }
    let ran = offline(&user, &generating("gpt2"));
    noted(ran, why, &OPTIONAL[4..]);
    server.asked();
    user.generate(&server.endpoint, "gpt2").success();
    assert_eq!(server.asked().len(), 1, "the listing says the rest");
    offline(&user, &generating("gpt2")).success();
}

/// Python's `hf download` keeps the list of a commit's files, which says as much as the hub.
#[test]
fn a_list_that_python_kept_is_enough() {
    let keep = |user: &User, files: &BTreeMap<String, Vec<u8>>| {
        let files: BTreeMap<_, _> = files
            .keys()
            .map(|name| (name, serde_json::json!({ "size": 1, "blob_id": "" })))
            .collect();
        let tree = serde_json::json!({ "format_version": 1, "files": files });
        let trees = user.repository().join("trees");
        fs::create_dir_all(&trees).expect("a directory");
        fs::write(trees.join(format!("{COMMIT}.json")), tree.to_string()).expect("written");
    };
    let (user, mut files) = (User::new(), files());
    user.fetch_by_hand(&files);
    keep(&user, &files);
    offline(&user, &generating("gpt2")).success();

    files.insert("generation_config.json".into(), b"{}".to_vec());
    keep(&user, &files);
    let ran = offline(&user, &generating("gpt2"));
    noted(ran, "HF_HUB_OFFLINE", &["generation_config.json"]);
    let tools = "additional_chat_templates/tool_use.jinja";
    files.remove("generation_config.json");
    files.insert(tools.into(), b"{}".to_vec());
    keep(&user, &files);
    let ran = noted(offline(&user, &generating("gpt2")), "HF_HUB_OFFLINE", &[]);
    assert!(ran.stderr.contains(tools), "{}", ran.stderr);
}

/// A repository with templates in their own folder is one model, whoever fetched it.
#[test]
fn named_templates_give_one_id() {
    let template = |text: &str| format!("{text}{{{{ messages[0]['content'] }}}}").into_bytes();
    let config = r#"{"chat_template": "config {{ messages[0]['content'] }}"}"#;
    let with = |names: &[&str]| {
        let mut files = files();
        files.insert("tokenizer_config.json".into(), config.into());
        for name in names {
            let path = format!("additional_chat_templates/{name}.jinja");
            files.insert(path, template(name));
        }
        files
    };
    let plain = id_of(&with(&[]));
    for (names, fetched, answers) in [
        (&["default", "tool_use"][..], &["default"][..], true),
        (&["rag", "tool_use"], &["rag"], false),
    ] {
        let files = with(names);
        let expected = id_of(&files);
        assert_ne!(expected, plain, "the template is part of the model");

        let (server, ours) = (Server::start(files.clone(), honest()), User::new());
        assert_eq!(ours.model_id(&server.endpoint), expected);
        let folder = ours.snapshot().join("additional_chat_templates");
        let found: Vec<_> = fetched.iter().map(|n| format!("{n}.jinja")).collect();
        assert_eq!(super::names(&folder), found.into_iter().collect());
        server.asked();
        assert_eq!(ours.model_id(&server.endpoint), expected);
        assert_eq!(server.asked().len(), 0, "it is known to be whole");

        let pythons = User::new();
        pythons.fetch_by_hand(&files);
        assert_eq!(pythons.model_id(&server.endpoint), expected);
        pythons.model_id(&nowhere());

        let chat = ["generate", "--model", "gpt2", "--user", "Hello"];
        let chat = [&chat[..], &["--max-new-tokens", "1"]].concat();
        let ran = run(&mut ours.command(&server.endpoint, &chat));
        match answers {
            true => drop(ran.success()),
            false => ran.failed("chat template"),
        }
    }

    // Only of the folder's files, and none by a name that leads elsewhere.
    let mut odd = with(&[]);
    let name = "additional_chat_templates/..\\..\\x.jinja";
    odd.insert(name.into(), template("x"));
    let server = Server::start(odd, honest());
    let ran = User::new().generate(&server.endpoint, "gpt2");
    ran.failed("is not a plain file name");
}
