//! What is not to be had, and what a server may not do.

use super::*;

/// Every refusal says what to do about it.
#[test]
fn refusals_have_their_remedies() {
    let all =
        |status: u16| -> Fault { Box::new(move |_, _, _| Answer::new(status, b"no".to_vec())) };
    let limited: Fault = Box::new(|_, _, _| Answer::new(429, Vec::new()).with("Retry-After", "17"));
    let gated: Fault =
        Box::new(|_, _, _| Answer::new(403, Vec::new()).with("X-Error-Code", "GatedRepo"));
    // In the middle of the listing.
    let cut: Fault = Box::new(|_, _, answer| answer.cut(20));
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
            gated,
            "gpt2",
            vec!["accepted its terms", &page, "HF_TOKEN", "answers 403"],
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
        (cut, "gpt2", vec!["cannot reach http", "check the network"]),
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
