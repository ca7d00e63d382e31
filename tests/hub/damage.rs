//! Downloads that break off, and contents that are not what was promised.

use sha1::Digest;

use super::*;

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

/// One command from nothing to a proof, over a network that breaks off in a small file and in the large one; the next
/// needs no network.
#[test]
fn one_command_is_enough() {
    let half = files()[WEIGHTS].len() / 2;
    let fault: Fault = Box::new(move |request, before, answer| {
        match (request.host, &*request.method, before) {
            (Host::Store, "GET", 0) => answer.cut(half),
            // After the listing.
            (Host::Hub, "GET", 1) => answer.cut(100),
            _ => answer,
        }
    });
    let (server, user) = (serve(fault), User::new());
    let outs = ["first.bin", "second.bin"].map(|name| user.home.path().join(name));
    let prove = |out| {
        [
            "prove",
            "--model",
            "gpt2",
            "--prompt",
            "Hello",
            "--out",
            arg(out),
        ]
    };
    run(&mut user.command(&server.endpoint, &prove(&outs[0]))).success();
    let asked = server.asked();
    let content = |r: &&Request| r.host == Host::Store || r.path.ends_with(".json");
    let resumed = |r: &&Request| r.headers.contains_key("range");
    let resumed = asked.iter().filter(content).filter(resumed);
    assert_eq!(resumed.count(), 2, "both went on");

    let mut offline = user.command(&server.endpoint, &prove(&outs[1]));
    run(offline.env("HF_HUB_OFFLINE", "1")).success();
    assert_eq!(server.asked().len(), 0);
    for out in &outs {
        nanozk(&["verify", "--prompt", "Hello", arg(out)]).success();
    }
    let [first, second] = outs.map(|out| read(&out).statement.model_id);
    assert_eq!(first, second);
}

/// A small file is compared with what git calls it, or with the plain SHA-1 by which some mirrors do. Of an etag of
/// another form nothing is known.
#[test]
fn small_files_have_digests_too() {
    let is =
        |r: &Request, method: &str| r.is(Host::Hub, method) && r.path.ends_with("tokenizer.json");
    let flipped: Fault = Box::new(move |request, _, mut answer| {
        if is(request, "GET") {
            answer.body[1000] ^= 1;
        }
        answer
    });
    let content = files()["tokenizer.json"].clone();
    let etag = git_sha1(&content);
    let (server, user) = (serve(flipped), User::new());
    user.generate(&server.endpoint, "gpt2")
        .failed(&format!("the hub promised {etag}"));
    assert!(!user.blobs().join(&etag).exists(), "it has no name");
    let incomplete = user.blobs().join(format!("{etag}.incomplete"));
    assert!(!incomplete.exists(), "nothing is gone on with");
    let honest = serve(honest());
    user.generate(&honest.endpoint, "gpt2").success();

    let plain = hex(&sha1::Sha1::digest(&content));
    let md5 = "0123456789abcdef0123456789abcdef".to_string();
    for etag in [plain, format!("W/\"{etag}\""), md5] {
        let server = serve(Box::new(move |request, _, answer| {
            match is(request, "HEAD") {
                true => answer.with("ETag", &etag),
                false => answer,
            }
        }));
        User::new().generate(&server.endpoint, "gpt2").success();
    }
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
