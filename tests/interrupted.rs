//! Proving that is interrupted and disks that are full: what is left behind, and what the next run
//! makes of it.
#![cfg(unix)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::Duration;

use common::{Ran, arg, base, command, directory, names, nanozk, nanozk_at, read, run};
use nanozk::proof::{Kind, LayerProofs, container};
use nanozk::seal::bundle::BundleProof;

const NANOZK: &str = env!("CARGO_BIN_EXE_nanozk");

/// 4 tokens, hence the fewest positions.
const PROMPT: &str = "Hello there";

/// The layers of the embedded model: embedding, four blocks, head.
const LAYERS: usize = 6;

/// A proof that was made with the tests' own cache, which is full then, and the seconds it took.
fn honest_proof() -> (&'static Path, f64) {
    static PROOF: OnceLock<(PathBuf, f64)> = OnceLock::new();
    let (path, seconds) = PROOF.get_or_init(|| {
        let out = base().join("honest.bin");
        let ran = nanozk(&["prove", "--json", "--prompt", PROMPT, "--out", arg(&out)]);
        let seconds = ran.success().json()["seconds"].as_f64();
        (out, seconds.expect("a number"))
    });
    (path, *seconds)
}

/// A cache with everything but the runs of other tests.
fn home() -> tempfile::TempDir {
    honest_proof();
    let home = directory();
    for name in ["setup", "models", "keys"] {
        let shared = base().join("home").join(name);
        symlink(shared, home.path().join(name)).expect("linked");
    }
    home
}

/// The folders of unfinished runs.
fn runs(home: &tempfile::TempDir) -> Vec<PathBuf> {
    let runs = home.path().join("runs");
    let entries = fs::read_dir(runs).into_iter().flatten();
    entries.map(|e| e.expect("an entry").path()).collect()
}

/// The kept layers of a run, by index.
fn kept_layers(folder: &Path) -> BTreeMap<usize, PathBuf> {
    let names = names(folder);
    let layers = names.iter().filter_map(|name| {
        let index = name.strip_prefix("layer-")?.parse();
        Some((index.expect("a number"), folder.join(name)))
    });
    layers.collect()
}

/// `nanozk prove`, begun.
fn begin(home: &tempfile::TempDir, args: &[&str]) -> Child {
    let mut command = command(NANOZK, home.path());
    command.args(args).stdout(Stdio::null());
    command.spawn().expect("the program starts")
}

fn kill(mut child: Child) {
    child.kill().expect("our own process");
    child.wait().expect("it ends");
}

fn verifies(proof: &Path) {
    let ran = nanozk(&["verify", arg(proof)]).success();
    assert!(ran.stdout.starts_with("valid:"), "{}", ran.stdout);
}

/// Runs `nanozk` where a file cannot grow beyond so many blocks of 512 bytes, which to the program
/// is a full disk.
fn limited(blocks: usize, home: &Path, args: &[&str]) -> Ran {
    let script = "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"";
    let blocks = blocks.to_string();
    run(command("sh", home)
        .args(["-c", script, &blocks, NANOZK])
        .args(args))
}

/// Kills `prove` at moments spread over the time that it takes, early, late and between; `more` are
/// its further options. What stood under the output's name stays, or a whole proof replaces it.
fn killed_at_any_time(more: &[&str]) {
    let (home, dir) = (home(), directory());
    let out = dir.path().join("p.bin");
    let args = ["prove", "--prompt", PROMPT, "--out", arg(&out)];
    let args = [&args[..], more].concat();
    let (_, seconds) = honest_proof();
    for part in [0.03, 0.3, 0.6, 0.9] {
        fs::write(&out, "kept").expect("written");
        let child = begin(&home, &args);
        sleep(Duration::from_secs_f64(seconds * part));
        kill(child);
        if fs::read(&out).expect("a file") != b"kept" {
            verifies(&out);
        }
        for name in names(dir.path()) {
            let temporary = name.starts_with(".nanozk-") && name.ends_with(".tmp");
            assert!(name == "p.bin" || temporary, "{name} is left behind");
        }
    }
    nanozk_at(home.path(), &args).success();
    verifies(&out);
    assert_eq!(runs(&home), [] as [PathBuf; 0], "done, nothing is kept");
}

/// A proof is there or is not.
#[test]
fn a_killed_prover_leaves_no_half_written_proof() {
    killed_at_any_time(&[]);
}

/// The same where finished layers are kept, and the next run goes on from them.
#[test]
fn a_killed_prover_of_separate_layers_leaves_no_half_written_proof() {
    killed_at_any_time(&["--separate"]);
}

/// Proves layer by layer, and kills the prover when it has finished at least one.
fn interrupted(home: &tempfile::TempDir, args: &[&str]) -> PathBuf {
    for _ in 0..5 {
        let mut child = begin(home, args);
        let finished = || {
            let found = |folder: &PathBuf| !kept_layers(folder).is_empty();
            runs(home).into_iter().find(found)
        };
        while child.try_wait().expect("our own process").is_none() && finished().is_none() {
            sleep(Duration::from_millis(5));
        }
        kill(child);
        if let Some(folder) = finished() {
            return folder;
        }
    }
    panic!("five runs ended before they could be interrupted");
}

/// Resuming, which is what long runs need: finished layers go into the proof as they are, under
/// the same boundary commitments, and their secrets are gone afterwards.
#[test]
fn finished_layers_are_not_proved_again() {
    let (home, dir) = (home(), directory());
    let out = dir.path().join("p.bin");
    let args = ["prove", "--separate", "--json", "--prompt", PROMPT, "--out"];
    let args = [&args[..], &[arg(&out)]].concat();
    let folder = interrupted(&home, &args);

    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&home.path().join("runs")), 0o700);
    assert_eq!(mode(&folder), 0o700);
    for name in names(&folder) {
        assert_eq!(mode(&folder.join(&name)), 0o600, "{name}");
    }
    let read_layer = |(index, path): (usize, PathBuf)| {
        let layer: BundleProof = container::read(Kind::Layer, &path).expect("a whole layer");
        (index, layer)
    };
    let layers: Vec<(usize, BundleProof)> =
        kept_layers(&folder).into_iter().map(read_layer).collect();

    let resumed = nanozk_at(home.path(), &args).success().json();
    assert_eq!(resumed["layers_resumed"], layers.len());
    verifies(&out);
    let LayerProofs::Separate(proofs) = read(&out).proofs else {
        panic!("proved separately");
    };
    assert_eq!(proofs.len(), LAYERS);
    for (index, layer) in layers {
        assert!(proofs[index] == layer, "layer {index} was proved again");
    }
    assert_eq!(names(dir.path()), ["p.bin".to_string()].into());
    assert_eq!(runs(&home), [] as [PathBuf; 0], "the secrets are removed");
}

/// Some layers are resumed as well, and what is kept of them stays out of a proof of all: it says
/// something else.
#[test]
fn layers_of_a_partial_proof_stay_in_it() {
    let (home, dir) = (home(), directory());
    let out = dir.path().join("p.bin");
    let args = ["prove", "--separate", "--json", "--prompt", PROMPT, "--out"];
    let all = [&args[..], &[arg(&out)]].concat();
    let some = [&all[..], &["--layers", "0,1,2,3,4"]].concat();
    let folder = interrupted(&home, &some);
    let kept = kept_layers(&folder).len();
    assert!((1..LAYERS).contains(&kept));
    let complete = nanozk_at(home.path(), &all).success().json();
    assert_eq!(complete["layers_resumed"], 0);
    verifies(&out);
    assert_eq!(runs(&home), [folder], "the partial run is still there");
    let resumed = nanozk_at(home.path(), &some).success().json();
    assert_eq!(resumed["layers_resumed"], kept);
    assert_eq!(nanozk(&["verify", arg(&out)]).code, 3);
    assert_eq!(runs(&home), [] as [PathBuf; 0]);
}

/// The disk is full when all layers are proved: nothing is lost. What is then damaged, of another
/// layer or of another prompt is proved again, and a proof that verifies comes out.
#[test]
fn only_good_layers_are_used_again() {
    let (home, dir) = (home(), directory());
    let out = dir.path().join("p.bin");
    fs::write(&out, "kept").expect("written");
    let args = ["prove", "--separate", "--out", arg(&out), "--prompt"];
    let args = |prompt, more| [&args[..], &[prompt, more]].concat();
    let theirs = interrupted(&home, &args("Hello again", "--quiet"));
    // 10 KB hold a layer, and not the proof.
    let on_full_disk = || {
        let ran = limited(20, home.path(), &args(PROMPT, "--verbose"));
        assert_eq!(ran.code, 2, "{}{}", ran.stdout, ran.stderr);
        let why = ran.stderr.lines().last().expect("an error");
        assert!(
            why.starts_with("error: ") && why.contains(arg(&out)),
            "{why}"
        );
        assert_eq!(fs::read(&out).expect("there"), b"kept");
        assert_eq!(names(dir.path()), ["p.bin".to_string()].into());
        ran.stderr.matches("kept, not proved again").count()
    };
    assert_eq!(on_full_disk(), 0, "nothing is kept of this prompt yet");
    assert_eq!(on_full_disk(), LAYERS);
    let ours = runs(&home).into_iter().find(|r| *r != theirs);
    let layers = kept_layers(&ours.expect("a folder of its own"));
    assert_eq!(layers.len(), LAYERS);

    let (foreign, their_layer) = kept_layers(&theirs).pop_first().expect("a layer");
    fs::copy(their_layer, &layers[&foreign]).expect("another prompt's proof");
    let mut blocks = (1..=4).filter(|index| *index != foreign);
    let [good, moved, flipped] = [(); 3].map(|()| &layers[&blocks.next().expect("three blocks")]);
    fs::copy(good, moved).expect("another block's proof");
    let mut bytes = fs::read(flipped).expect("a layer");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(flipped, &bytes).expect("written");
    let truncated = &layers[&(if foreign == 0 { LAYERS - 1 } else { 0 })];
    fs::write(truncated, &bytes[..middle]).expect("written");

    let ran = nanozk_at(home.path(), &args(PROMPT, "--json")).success();
    assert_eq!(ran.json()["layers_resumed"], LAYERS - 4);
    verifies(&out);
    assert_eq!(runs(&home), [theirs], "another run's folder is left alone");
}

/// Where nothing can be cached or kept, proofs are made all the same.
#[test]
fn a_cache_that_cannot_be_written_is_no_reason_to_fail() {
    let dir = directory();
    let out = dir.path().join("p.bin");
    let file = dir.path().join("file");
    fs::write(&file, "").expect("written");
    let args = ["prove", "--separate", "--verbose", "--prompt", "a", "--out"];
    let ran = nanozk_at(&file.join("home"), &[&args[..], &[arg(&out)]].concat());
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    for said in ["could not cache", "no layers are kept"] {
        assert!(ran.stderr.contains(said), "{said:?}: {}", ran.stderr);
    }
    honest_proof();
    verifies(&out);
}

/// What stood under a name is there until all of its successor is.
#[test]
fn a_full_disk_replaces_no_file() {
    let (home, dir) = (home(), directory());
    let files = ["p.bin", "m.nzk", "m.vk", "b.json"].map(|name| dir.path().join(name));
    for file in &files {
        fs::write(file, "kept").expect("written");
    }
    let [proof, model, _, json] = &files;
    let before = names(dir.path());
    let bench = "bench --dims 64 --seq 4 --blocks 1 --bundle 1 --repeat 1 --json";
    for (args, out) in [
        (vec!["prove", "--prompt", PROMPT, "--out"], proof),
        (vec!["quantize", "--out"], model),
        (bench.split(' ').collect(), json),
    ] {
        limited(0, home.path(), &[&args[..], &[arg(out)]].concat()).failed(arg(out));
        assert_eq!(names(dir.path()), before);
        for file in &files {
            assert_eq!(
                fs::read(file).expect("there"),
                b"kept",
                "{}",
                file.display()
            );
        }
    }
}

/// Quantizing on a disk with room for the model but not for its key, and writing to one that is
/// read-only. Mounting takes rights that not every machine gives.
#[cfg(target_os = "linux")]
#[test]
fn a_model_is_not_replaced_without_its_key() {
    const SCRIPT: &str = r#"
        mount -t tmpfs -o size="$0" none "$1" || exit 77
        cd "$1"; echo old model > m.nzk; echo old key > m.vk
        "$2" quantize --out m.nzk; echo "code $?"; ls -A; cat m.nzk m.vk
        mount -o remount,ro "$1"
        "$2" prove --prompt a --out p.bin; echo "code $?""#;
    let (home, dir) = (home(), directory());
    let models = home.path().join("models");
    let model = names(&models).into_iter().next().expect("a cached model");
    let len = fs::metadata(models.join(model)).expect("there").len();
    // The new model, both old files and a little, in pages; the key has more than three.
    let size = (len.div_ceil(4096) + 2 + 3) * 4096;
    let (size, dir) = (size.to_string(), arg(dir.path()));
    let mut unshare = command("unshare", home.path());
    let args = ["--map-root-user", "--mount", "sh", "-c", SCRIPT, &size, dir];
    let ran = match unshare.args(args).arg(NANOZK).output() {
        Ok(output) if ![Some(1), Some(77)].contains(&output.status.code()) => output,
        refused => return println!("skipped, nothing can be mounted here: {refused:?}"),
    };
    let stdout = String::from_utf8(ran.stdout).expect("UTF-8");
    assert_eq!(stdout, "code 2\nm.nzk\nm.vk\nold model\nold key\ncode 2\n");
    let stderr = String::from_utf8(ran.stderr).expect("UTF-8");
    let errors: Vec<&str> = stderr.lines().collect();
    assert_eq!(errors.len(), 2, "{stderr}");
    assert!(errors[0].starts_with("error: m.vk: "), "{stderr}");
    assert!(
        errors[1].starts_with("error: p.bin: cannot write there"),
        "{stderr}"
    );
}

/// A verdict that cannot be delivered is not a success, and no place to complain is no crash.
#[cfg(target_os = "linux")]
#[test]
fn full_standard_streams_are_neither_success_nor_crash() {
    let full = || {
        fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("there")
    };
    let mut inspect = command(NANOZK, &base().join("home"));
    inspect
        .args(["inspect", arg(honest_proof().0)])
        .stdout(full());
    run(&mut inspect).failed("standard output");
    let mut verify = command(NANOZK, &base().join("home"));
    verify.args(["verify", "no-such-file"]).stderr(full());
    assert_eq!(run(&mut verify).code, 2);
}
