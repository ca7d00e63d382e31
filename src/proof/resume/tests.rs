//! Who uses a run's folder, and for how long; which blinds its seed gives.

use super::*;
use crate::algebra::F;
use crate::layers::testing::{Shape, manifest};
use crate::layers::{Sequence, Trace};
use crate::proof::run_seed::run_digest;

fn open(runs: &Path, max_new_tokens: usize) -> io::Result<RunFolder<'static>> {
    let id = ModelId([1; 32]);
    RunFolder::open(runs, id, &[2, 3], max_new_tokens, &Layers::All, &|_| {})
}

fn keep_something(folder: &RunFolder) {
    let (seed, digest) = ([4; 32], [5; 32]);
    folder.write(Kind::Run, "run", &RunSeed { seed, digest });
    assert!(folder.path.join("run").exists());
}

fn folders(runs: &Path) -> usize {
    fs::read_dir(runs).expect("a directory").count()
}

/// Two processes never keep layers in one folder; it outlives its process if it keeps anything.
#[test]
fn a_folder_has_one_user_at_a_time() {
    let runs = tempfile::tempdir().expect("a directory");
    let first = open(runs.path(), 1).expect("the first");
    assert!(open(runs.path(), 1).is_err(), "its lock is held");
    let other = open(runs.path(), 2).expect("another run");
    keep_something(&first);
    drop((first, other));
    assert_eq!(folders(runs.path()), 1, "the other one keeps nothing");
    let again = open(runs.path(), 1).expect("the lock is free");
    assert!(again.read::<RunSeed>(Kind::Run, "run").is_some());
    again.remove().expect("removed");
    assert_eq!(folders(runs.path()), 0);
}

/// What is kept are secrets: others may not read them, also where the folders were there before and
/// were open to everybody.
#[cfg(unix)]
#[test]
fn only_the_owner_can_read_what_is_kept() {
    use std::os::unix::fs::PermissionsExt;
    let home = tempfile::tempdir().expect("a directory");
    let mode = |path: &Path| {
        let permissions = fs::metadata(path).expect("there").permissions();
        permissions.mode() & 0o777
    };
    let runs = home.path().join("new").join("runs");
    let own = open(&runs, 1).expect("opened").path.clone();
    fs::create_dir(&own).expect("removed, as it kept nothing");
    for path in [&runs, &own] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its owner may");
    }
    let folder = open(&runs, 1).expect("opened again");
    keep_something(&folder);
    for path in [&runs, &own] {
        assert_eq!(mode(path), 0o700, "{}", path.display());
    }
    for name in ["lock", "run"] {
        assert_eq!(mode(&own.join(name)), 0o600, "{name}");
    }
    // Nobody can step in between making a folder and closing it.
    assert_eq!(mode(&home.path().join("new")), 0o700);
}

/// A layer that nothing is kept of is not worth a word; one that cannot be read is.
#[test]
fn only_what_is_there_is_told_of() {
    let runs = tempfile::tempdir().expect("a directory");
    let said = std::sync::Mutex::new(Vec::new());
    let say = |what: &str| said.lock().expect("one thread").push(what.to_string());
    let id = ModelId([1; 32]);
    let folder = RunFolder::open(runs.path(), id, &[2], 1, &Layers::All, &say).expect("opened");
    let read = || folder.read::<RunSeed>(Kind::Run, "run");
    assert!(read().is_none());
    assert_eq!(*said.lock().expect("one thread"), [] as [String; 0]);
    fs::write(folder.path.join("run"), b"damaged").expect("written");
    assert!(read().is_none());
    assert_eq!(said.lock().expect("one thread").len(), 1);
}

/// Secrets do not lie around for ever, and what may still be resumed stays.
#[cfg(unix)]
#[test]
fn only_forgotten_runs_are_removed() {
    let runs = tempfile::tempdir().expect("a directory");
    for max_new_tokens in 0..3 {
        keep_something(&open(runs.path(), max_new_tokens).expect("opened"));
    }
    let second = Duration::from_secs(1);
    let aged = [
        FORGOTTEN + second,
        FORGOTTEN - 60 * second,
        FORGOTTEN + second,
    ];
    let paths: Vec<PathBuf> = (0..3)
        .map(|n| {
            runs.path()
                .join(key(ModelId([1; 32]), &[2, 3], n, &Layers::All).to_string())
        })
        .collect();
    for (path, age) in paths.iter().zip(aged) {
        let changed = std::time::SystemTime::now() - age;
        let folder = File::open(path).expect("a directory");
        folder.set_modified(changed).expect("its owner may");
    }
    let own = open(runs.path(), 2).expect("opened");
    assert!(own.path.join("run").exists(), "the run that is resumed");
    assert_eq!(
        paths.iter().map(|p| p.exists()).collect::<Vec<_>>(),
        [false, true, true]
    );
}

const PROMPT: [u32; 2] = [2, 3];

/// An answer whose first boundary holds `value`.
fn answer(value: i64) -> Generation {
    let shape = Shape {
        width: 64,
        layers: 1,
        vocabulary: 70,
        tied: true,
    };
    let architecture = manifest(shape).architecture;
    Generation {
        trace: Trace {
            sequence: Sequence::new(&PROMPT, &[4], &architecture).expect("it fits"),
            boundaries: vec![vec![value; 3], vec![6; (1 << 12) + 1]],
        },
        output: vec![4],
        stopped: false,
    }
}

/// Two runs under one blind would give away the difference of their activations.
#[test]
fn only_the_same_run_gets_the_same_blinds() {
    let runs = tempfile::tempdir().expect("a directory");
    let folder = open(runs.path(), 1).expect("opened");
    let mut seen = Vec::new();
    let mut fresh = |blinds: Vec<Vec<F>>| {
        let rows: Vec<usize> = blinds.iter().map(Vec::len).collect();
        assert_eq!(rows, [1, 2]);
        for blind in blinds.into_iter().flatten() {
            assert!(!seen.contains(&blind), "a blind serves twice");
            seen.push(blind);
        }
    };
    let id = ModelId([1; 32]);
    let blinds = |value| {
        folder
            .blinds((id, 12), &PROMPT, &answer(value))
            .expect("random")
    };
    let first = blinds(1);
    assert_eq!(first, blinds(1), "the same run again");
    fresh(first);
    fresh(blinds(2));
    fresh(blinds(1));

    let mut kept: RunSeed = folder.read(Kind::Run, "run").expect("kept");
    kept.digest = run_digest(&kept.seed, id, &PROMPT, &answer(3));
    folder.write(Kind::Run, "run", &kept);
    fresh(blinds(3));
    kept.seed[0] ^= 1;
    folder.write(Kind::Run, "run", &kept);
    fresh(blinds(3));
}
