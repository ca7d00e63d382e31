//! Proofs of some layers and audits, as their users meet them: no partial proof looks like a whole one.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use common::{Ran, arg, base, directory, names, nanozk, nanozk_at, read};
use nanozk::proof::{Challenge, CommitFile, Kind, container};
use serde_json::{Value, json};

const PROMPT: &str = "Hello there";

/// A commitment, a uniform challenge to it and its answer, made once for all tests.
struct Scene {
    id: String,
    commit: PathBuf,
    challenge: PathBuf,
    challenge_json: Value,
    answer: PathBuf,
}

fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let [commit, challenge, answer] =
            ["run.commit", "challenge", "answer.bin"].map(|name| base().join(name));
        let ran = nanozk(&[
            "commit",
            "--prompt",
            PROMPT,
            "--json",
            "--out",
            arg(&commit),
        ]);
        let committed = ran.success().json();
        let challenge_json = challenged(&commit, &challenge, &[]);
        assert_eq!(challenge_json["commitment"], committed["commitment"]);
        answered(&commit, &challenge, &answer).success();
        Scene {
            id: committed["model_id"].as_str().expect("an id").to_string(),
            commit,
            challenge,
            challenge_json,
            answer,
        }
    })
}

/// `nanozk challenge` of two layers.
fn challenged(commit: &Path, out: &Path, more: &[&str]) -> Value {
    let args = ["challenge", arg(commit), "--layers", "2", "--json", "--out"];
    let ran = nanozk(&[&args[..], &[arg(out)], more].concat());
    Value::Object(ran.success().json())
}

fn answered(commit: &Path, challenge: &Path, out: &Path) -> Ran {
    let (commit, challenge) = (arg(commit), arg(challenge));
    let args = ["prove", "--commit", commit, "--challenge", challenge];
    nanozk(&[&args[..], &["--out", arg(out)]].concat())
}

fn verify(proof: &Path, more: &[&str]) -> Ran {
    nanozk(&[&["verify", arg(proof)], more].concat())
}

/// `nanozk prove --layers`.
fn proved(layers: &str, name: &str, more: &[&str]) -> (PathBuf, Ran) {
    let out = base().join(name);
    let args = ["prove", "--prompt", PROMPT, "--layers", layers, "--out"];
    let ran = nanozk(&[&args[..], &[arg(&out)], more].concat());
    (out, ran)
}

/// Wants a proof to be called partial, by the exit code, the words and the JSON.
#[track_caller]
fn is_partial(proof: &Path, more: &[&str], first_line: &str) -> String {
    let ran = verify(proof, more);
    assert_eq!((ran.code, &*ran.stderr), (3, ""), "{}", ran.stdout);
    let line = ran.stdout.lines().next().expect("a verdict");
    assert!(line.starts_with(first_line), "{line}");
    assert!(!ran.stdout.contains("valid"), "{}", ran.stdout);
    assert_eq!(
        verify(proof, &[&["--allow-partial"], more].concat()).code,
        0
    );
    ran.stdout
}

/// A list of layers, in any order and by name, bundled and separate.
#[test]
fn a_proof_of_some_layers_is_called_partial() {
    scene();
    for (name, more) in [("listed.bin", &[][..]), ("alone.bin", &["--separate"])] {
        let (out, ran) = proved("head,2,embedding", name, more);
        let said = ran.success().stdout;
        assert!(said.starts_with("proved in 3 of 6 layers: "), "{said}");
        let words = is_partial(&out, &[], "partial: 1 of 4 blocks: model ");
        assert!(words.contains("3 of 6 layers"), "{words}");
        assert!(words.contains(": embedding, block 1, head\n"), "{words}");
        assert!(
            words.contains("nothing is proved of: blocks 0, 2, 3;"),
            "{words}"
        );
        let json = verify(&out, &["--json"]).json();
        assert_eq!(json["valid"], false);
        assert_eq!(json["layers_valid"], true);
        assert_eq!(
            (&json["layers_proved"], &json["layers_total"]),
            (&json!(3), &json!(6))
        );
        assert_eq!(json["layers"], json!([0, 2, 5]));
        assert!(!json.contains_key("fisher_share"), "no table is known");
        let inspected = nanozk(&["inspect", arg(&out)]).success().stdout;
        assert!(
            inspected.contains("3 of 6: embedding, block 1, head"),
            "{inspected}"
        );
    }
    let (out, ran) = proved("0,1,2,3,4,5", "all.bin", &[]);
    assert!(ran.success().stdout.starts_with("proved: model "));
    let words = verify(&out, &[]).success().stdout;
    assert!(
        words.starts_with("valid: model ") && words.contains("all 6 layers"),
        "{words}"
    );

    for (layers, why) in [
        ("6", "no layer 6"),
        ("", "not a layer"),
        ("tail", "not a layer"),
        ("audit:7", "7 of 6 layers cannot be drawn"),
        ("audit:0", "--layers"),
        ("fisher:0%", "--layers"),
        ("fisher:50%", "run `nanozk fisher` first"),
    ] {
        proved(layers, "none.bin", &[]).1.failed(why);
    }
    assert!(!base().join("none.bin").exists());
}

/// A draw of one's own is no audit, and both sides are told.
#[test]
fn a_draw_of_ones_own_says_that_it_proves_nothing() {
    let (out, ran) = proved("audit:2", "own.bin", &[]);
    assert!(ran.success().stdout.contains("PROVES NOTHING"));
    let words = is_partial(&out, &[], "partial: ");
    assert!(words.contains("PROVES NOTHING"), "{words}");
    let ran = verify(&out, &["--challenge", arg(&scene().challenge)]);
    assert_eq!(ran.code, 1, "nor does it answer a challenge");
}

/// The three steps, and a verifier who is given the challenge, or not, or another one.
#[test]
fn an_audit_proves_what_the_challenge_draws() {
    let s = scene();
    let drawn = &s.challenge_json["layers"];
    let statement = read(&s.answer).statement;
    assert_eq!(json!(statement.layers), *drawn);

    let checked = ["--challenge", arg(&s.challenge), "--commit", arg(&s.commit)];
    let words = is_partial(&s.answer, &checked, "partial: ");
    assert!(words.contains("that your challenge draws"), "{words}");
    // 1 − C(6−j, 2)/C(6, 2)
    let odds = "j=1: 0.333  j=2: 0.600  j=3: 0.800  j=4: 0.933  j=5: 1.000  j=6: 1.000";
    assert!(words.contains(odds), "{words}");
    let words = is_partial(&s.answer, &[], "partial: ");
    assert!(words.contains("NOT CHECKED"), "{words}");

    let draw_checked = |more: &[&str]| {
        let json = verify(&s.answer, &[&["--json"], more].concat()).json();
        assert_eq!(json["selection"], "challenge");
        (json["draw_checked"].clone(), json.contains_key("catching"))
    };
    assert_eq!(draw_checked(&checked), (json!(true), true));
    assert_eq!(draw_checked(&[]), (json!(false), false));

    let other = base().join("other.challenge");
    challenged(&s.commit, &other, &[]);
    let ran = verify(&s.answer, &["--challenge", arg(&other)]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.starts_with("NOT VALID: "), "{}", ran.stdout);
    assert!(ran.stdout.contains("another challenge"), "{}", ran.stdout);

    // A commitment that was made anew after the challenge.
    let again = base().join("again.commit");
    nanozk(&["commit", "--prompt", PROMPT, "--out", arg(&again)]).success();
    let ran = verify(&s.answer, &["--commit", arg(&again)]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    // A file that selects layers already is no commitment, which says nothing of the proof.
    let selecting = base().join("selecting.commit");
    let mut file: CommitFile = container::read(Kind::Commitment, &s.commit).expect("a commitment");
    file.statement.layers = vec![0];
    container::write(
        &selecting,
        &container::encode(Kind::Commitment, &file),
        false,
    )
    .expect("written");
    verify(&s.answer, &["--commit", arg(&selecting)]).failed("commitment");
    let out = base().join("none.bin");
    answered(&again, &s.challenge, &out).failed("changed after the draw");
    fs::remove_file(again.with_extension("commit.secret")).expect("a secret");
    answered(&again, &s.challenge, &out).failed("again.commit.secret");
    answered(&s.answer, &s.challenge, &out).failed("not a nanozk commitment to a run");
    let (commit, challenge) = (arg(&s.commit), arg(&s.challenge));
    for (args, why) in [
        (
            &["--prompt", PROMPT, "--challenge", challenge][..],
            "cannot be used with",
        ),
        (
            &["--prompt", PROMPT, "--commit", commit],
            "cannot be used with",
        ),
        (&["--challenge", challenge], "--commit"),
        (&["--commit", commit], "--challenge"),
        (
            &[
                "--commit",
                commit,
                "--challenge",
                challenge,
                "--layers",
                "0",
            ],
            "cannot be used with",
        ),
    ] {
        nanozk(&[&["prove", "--out", arg(&out)], args].concat()).failed(why);
    }
    let args = [
        "challenge",
        arg(&s.commit),
        "--layers",
        "7",
        "--out",
        arg(&out),
    ];
    nanozk(&args).failed("7 of 6 layers cannot be drawn");
    assert!(!out.exists());
}

/// The secret of a commitment is its owner's, and neither file is ever there without the other.
#[cfg(unix)]
#[test]
fn the_secret_of_a_commitment_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    let commit = &scene().commit;
    assert_eq!(mode(commit), 0o644);
    assert_eq!(mode(&commit.with_extension("commit.secret")), 0o600);

    let dir = directory();
    fs::create_dir(dir.path().join("c.secret")).expect("a directory");
    let out = dir.path().join("c");
    nanozk(&["commit", "--prompt", PROMPT, "--out", arg(&out)]).failed("cannot write there");
    assert_eq!(names(dir.path()), ["c.secret".to_string()].into());
}

/// A table of Fisher information, with equal costs.
fn table(name: &str, shares: [f64; 6]) -> PathBuf {
    let layer = |(index, share): (usize, f64)| {
        json!({"index": index, "kind": "block", "fisher": share, "standard_error": 0.0,
               "share": share, "cost": 1.0 / 6.0})
    };
    let layers: Vec<Value> = shares.into_iter().enumerate().map(layer).collect();
    let table = json!({"model_id": scene().id, "tokens": 3, "ctx": 4, "layers": layers});
    let path = base().join(name);
    fs::write(&path, table.to_string()).expect("written");
    path
}

/// A cache like the tests' own, with this table of Fisher information.
fn home_with(table: &Path) -> tempfile::TempDir {
    let home = directory();
    let fisher = home.path().join("fisher");
    fs::create_dir(&fisher).expect("a directory");
    fs::copy(table, fisher.join(format!("{}.json", scene().id))).expect("copied");
    home
}

/// The share is the verifier's own table's, whatever the prover chose by; and a weighted draw by other
/// weights than this table's is another draw.
#[test]
fn fisher_shares_and_weights_are_the_verifiers_own() {
    let s = scene();
    let honest = table("fisher.json", [0.05, 0.3, 0.05, 0.4, 0.1, 0.1]);
    let altered = table("altered.json", [0.3, 0.05, 0.4, 0.05, 0.1, 0.1]);
    let home = home_with(&altered);
    let out = base().join("fisher.bin");
    let args = [
        "prove",
        "--prompt",
        PROMPT,
        "--layers",
        "fisher:40%",
        "--out",
        arg(&out),
    ];
    nanozk_at(home.path(), &args).success();
    assert_eq!(
        read(&out).statement.layers,
        [0, 2],
        "the two best of the prover's table"
    );
    let share = |more: &[&str]| {
        let json = verify(&out, &[&["--json"], more].concat()).json();
        json.get("fisher_share")
            .map(|s| s.as_f64().expect("a number"))
    };
    assert_eq!(share(&[]), None);
    let own = share(&["--fisher", arg(&honest)]).expect("known");
    assert!((own - 0.1).abs() < 1e-12, "{own}");

    let [challenge, answer] = ["weighted", "weighted.bin"].map(|name| base().join(name));
    let drawn = challenged(&s.commit, &challenge, &["--fisher", arg(&honest)]);
    assert_eq!(drawn["weighted"], true);
    answered(&s.commit, &challenge, &answer).success();
    let check = |table: &Path| {
        verify(
            &answer,
            &["--challenge", arg(&challenge), "--fisher", arg(table)],
        )
    };
    let ran = check(&honest);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert!(
        ran.stdout
            .contains("weighted by Fisher information: at least"),
        "{}",
        ran.stdout
    );
    let ran = check(&altered);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(ran.stdout.contains("other weights"), "{}", ran.stdout);

    // The prover's challenge: the same commitment and nonce, weights that suit it.
    let path = base().join("reweighted");
    let mut suited: Challenge = container::read(Kind::Challenge, &challenge).expect("a challenge");
    suited.weights = vec![1; 6];
    let encoded = container::encode(Kind::Challenge, &suited);
    container::write(&path, &encoded, false).expect("written");
    answered(&s.commit, &path, &answer).success();
    // A uniform challenge was drawn by no table, whichever the verifier has.
    let uniform = ["--challenge", arg(&path), "--fisher", arg(&honest)];
    assert_eq!(verify(&answer, &uniform).code, 3);
    let ran = verify(&answer, &["--challenge", arg(&challenge)]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);

    let foreign = base().join("foreign.json");
    let text = fs::read_to_string(&honest).expect("a table");
    fs::write(&foreign, text.replace(&s.id, &"0".repeat(64))).expect("written");
    verify(&out, &["--fisher", arg(&foreign)]).failed("the table is of model 0000");
    verify(&out, &["--fisher", "no-such.json"]).failed("no-such.json");
}
