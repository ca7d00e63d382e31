//! Which files of a repository are fetched.

use super::*;

/// The files of an index; nothing where there is no model.
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

    let server = Server::start(BTreeMap::new(), honest());
    let ran = User::new().generate(&server.endpoint, "gpt2");
    ran.failed("holds no model that this program reads: no config.json");
}

fn repository(names: &[&str]) -> Server {
    let files = names
        .iter()
        .map(|name| (name.to_string(), b"none".to_vec()));
    Server::start(files.collect(), honest())
}

/// A repository's only GGUF model is fetched, with all its parts; where there are several, the message names them and
/// what to do.
#[test]
fn gguf_files_of_a_repository() {
    let config = "config.json";
    let two = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"];
    for (names, first) in [(&["m.gguf", config][..], "m.gguf"), (&two, two[0])] {
        let (server, user) = (repository(names), User::new());
        let there = format!("{COMMIT}/{first}");
        user.generate(&server.endpoint, "gpt2").failed(&there);
        let snapshot = user.repository().join("snapshots").join(COMMIT);
        let expected = names.iter().filter(|n| **n != config);
        let expected = expected.map(|n| n.to_string()).collect();
        assert_eq!(super::names(&snapshot), expected);
        server.asked();
        user.generate(&server.endpoint, "gpt2").failed(&there);
        assert_eq!(server.asked().len(), 0, "it is known to be whole");

        // A part that is lacking is fetched, also of a commit that was begun by another program.
        fs::remove_file(snapshot.join(names[0])).expect("removed");
        let model = format!("{ID}@{COMMIT}");
        user.generate(&server.endpoint, &model).failed(&there);
        assert!(snapshot.join(names[0]).is_file());
    }

    for (names, words) in [
        (
            &["m.gguf", "n.gguf"][..],
            [
                "\"m.gguf\", \"n.gguf\":",
                "hf download openai-community/gpt2 \"m.gguf\"",
            ],
        ),
        (
            &["q4/m.gguf"],
            ["GGUF files: \"q4/m.gguf\":", "--model PATH"],
        ),
        (&two[1..], ["m-00002-of-00002.gguf", "all its parts"]),
    ] {
        let ran = User::new().generate(&repository(names).endpoint, "gpt2");
        assert!(ran.stderr.contains(words[1]), "{}", ran.stderr);
        ran.failed(words[0]);
    }
    let many: Vec<String> = (0..100).map(|i| format!("{i}\u{1b}[1m.gguf")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let ran = User::new().generate(&repository(&many).endpoint, "gpt2");
    ran.failed("and 88 more");
}

/// Of several GGUF files, the one that the user has fetched; but not in the place of a model that goes before it.
#[test]
fn a_gguf_file_in_the_cache() {
    let begin = |user: &User| {
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().expect("a folder")).expect("a directory");
            fs::write(path, text).expect("written");
        };
        let snapshot = user.repository().join("snapshots").join(COMMIT);
        write(snapshot.join("n.gguf"), "none");
        write(user.repository().join("refs/main"), COMMIT);
    };
    let chosen = format!("{COMMIT}/n.gguf");
    let (server, user) = (repository(&["m.gguf", "n.gguf"]), User::new());
    begin(&user);
    user.generate(&server.endpoint, "gpt2").failed(&chosen);
    server.asked();
    user.generate(&server.endpoint, "gpt2").failed(&chosen);
    assert_eq!(server.asked().len(), 0);

    let user = User::new();
    begin(&user);
    let mut offline = user.command("http://localhost:1", &generating("gpt2"));
    let ran = run(offline.env("HF_HUB_OFFLINE", "1"));
    assert!(
        ran.stderr.contains("also has model.safetensors, "),
        "{}",
        ran.stderr
    );
    user.generate(&serve(honest()).endpoint, "gpt2").success();
}
