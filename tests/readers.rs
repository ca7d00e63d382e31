//! Every reader of a foreign file, against damaged and hostile ones: it returns, whatever the bytes,
//! and allocates little. The same readers run for hours under `attacks/fuzz/run`; here are a few
//! thousand inputs that are the same every time.

#[path = "../attacks/fuzz/src/readers.rs"]
mod readers;
#[path = "../attacks/fuzz/src/seeds.rs"]
mod seeds;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use nanozk::proof::{KeyError, KeyFile, Kind, ProofFile, container};
use nanozk::quant::Activation;
use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use readers::{CONTENT, READERS, Verifier, WHOLE};
use seeds::{Files, Seed};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

struct Scene {
    files: Files,
    seeds: Vec<Seed>,
    verifier: Verifier,
}

/// One test at a time, because the memory that is counted is the whole program's.
fn scene() -> MutexGuard<'static, Scene> {
    static SCENE: OnceLock<Mutex<Scene>> = OnceLock::new();
    let scene = SCENE.get_or_init(|| {
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("setup");
        let files = seeds::files(&cache);
        Mutex::new(Scene {
            seeds: seeds::seeds(&files),
            verifier: Verifier::new(&cache, &files.key, &files.proofs[0]),
            files,
        })
    });
    scene.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Scene {
    /// Whether a reader accepts an input.
    fn read(&self, reader: &str, input: &[u8]) -> bool {
        match READERS.iter().find(|(name, _)| *name == reader) {
            Some((_, read)) => read(input),
            None if reader == "pair" => self.verifier.pair(input),
            None => self.verifier.read(input),
        }
    }
}

/// Numbers that a length must not be believed to be: 2^63, 2^32 − 1, 2^20 and 0, as postcard
/// writes them, and with a redundant byte.
const LENGTHS: [&[u8]; 5] = [
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x40],
    &[0x00],
    &[0x81, 0x00],
];

/// One change of an input.
#[derive(Clone, Debug)]
enum Edit {
    Flip(Index, u8),
    Set(Index, u8),
    Truncate(Index),
    /// Copies from one place to another, over what is there or between.
    Splice(Index, Index, u8, bool),
    /// Puts one of [`LENGTHS`] over what is there or between.
    Length(Index, usize, bool),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let at = any::<Index>;
    let edit = prop_oneof![
        (at(), 0..8u8).prop_map(|(i, bit)| Edit::Flip(i, bit)),
        (at(), any::<u8>()).prop_map(|(i, byte)| Edit::Set(i, byte)),
        at().prop_map(Edit::Truncate),
        (at(), at(), any::<u8>(), any::<bool>())
            .prop_map(|(from, to, len, over)| Edit::Splice(from, to, len, over)),
        (at(), 0..LENGTHS.len(), any::<bool>())
            .prop_map(|(i, which, over)| Edit::Length(i, which, over)),
    ];
    prop::collection::vec(edit, 1..4)
}

/// `bytes` put into `input` at `at`, over what is there or between.
fn put(input: &mut Vec<u8>, at: usize, bytes: &[u8], over: bool) {
    let end = if over {
        (at + bytes.len()).min(input.len())
    } else {
        at
    };
    input.splice(at..end, bytes.iter().copied());
}

fn apply(mut input: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        if input.is_empty() {
            break;
        }
        let len = input.len();
        match edit {
            Edit::Flip(i, bit) => input[i.index(len)] ^= 1 << bit,
            Edit::Set(i, byte) => input[i.index(len)] = *byte,
            Edit::Truncate(i) => input.truncate(i.index(len)),
            Edit::Splice(from, to, count, over) => {
                let from = from.index(len);
                let copied = input[from..(from + usize::from(*count)).min(len)].to_vec();
                put(&mut input, to.index(len), &copied, *over);
            }
            Edit::Length(i, which, over) => put(&mut input, i.index(len), LENGTHS[*which], *over),
        }
    }
    input
}

/// Runs the same `cases` inputs every time; the smallest one that fails is shown.
fn run<S: Strategy>(cases: u32, inputs: &S, read: impl Fn(S::Value)) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let result = runner.run(inputs, |input| {
        read(input);
        Ok(())
    });
    result.unwrap_or_else(|e| panic!("{e}"));
}

/// Without this the tests below would show nothing but that headers are checked.
#[test]
fn the_files_that_edits_start_from_are_read() {
    let scene = scene();
    for seed in &scene.seeds {
        assert_eq!(
            scene.read(seed.reader, &seed.input),
            seed.good,
            "{}",
            seed.reader
        );
    }
}

/// What a damaged file may do is in the readers' assertions: be refused, or mean something else
/// in the one encoding that this has. A changed proof is never valid.
#[test]
fn edited_files_are_refused_or_read_and_never_panic() {
    let scene = scene();
    for seed in &scene.seeds {
        let cases = match seed.reader {
            "verify_proof" => 25,
            "pair" => 500,
            "nzk" => 100,
            _ => 1000,
        };
        run(cases, &edits(), |edits| {
            scene.read(seed.reader, &apply(seed.input.clone(), &edits));
        });
    }
}

/// Nothing of a file need be right.
#[test]
fn random_bytes_are_read_without_panic() {
    let scene = scene();
    for (name, _) in READERS {
        run(1000, &prop::collection::vec(any::<u8>(), 0..300), |bytes| {
            scene.read(name, &bytes);
        });
    }
}

/// A file cut off anywhere is refused, also with a header that fits what is left.
#[test]
fn a_file_cut_off_at_any_length_is_refused() {
    let scene = scene();
    for seed in scene.seeds.iter().filter(|s| s.input.len() < 1 << 16) {
        let whole_format =
            ["proof", "commitment", "challenge", "vk", "nzk", "gguf"].contains(&seed.reader);
        let header = usize::from(seed.input[0] == WHOLE) * 16;
        if !whole_format {
            continue;
        }
        for len in 1..seed.input.len() {
            let cut = &seed.input[..len];
            assert!(
                !scene.read(seed.reader, cut),
                "{} cut to {len}",
                seed.reader
            );
        }
        assert!(seed.input.len() > header);
    }
}

/// How far above what is in use the memory rises while `read` runs.
fn peak(read: impl FnOnce()) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    read();
    MEMORY.peak_usage().saturating_sub(before)
}

/// At every place of a file, a length that is not true, alone or with such lengths nested in it
/// to the end: no reader allocates for them what it has not seen.
#[test]
fn hostile_lengths_allocate_little() {
    const LIMIT: usize = 10 << 20;
    let scene = scene();
    let formats = |s: &&Seed| {
        s.input[0] == CONTENT
            && ["proof", "commitment", "challenge", "vk", "nzk"].contains(&s.reader)
    };
    let mut tried = 0;
    for seed in scene.seeds.iter().filter(formats) {
        for at in 1..seed.input.len() {
            for length in &LENGTHS[..3] {
                let mut one = seed.input.clone();
                put(&mut one, at, length, false);
                let nested = [&seed.input[..at], &length.repeat(40)].concat();
                for input in [one, nested] {
                    let peak = peak(|| {
                        scene.read(seed.reader, &input);
                    });
                    assert!(peak < LIMIT, "{} at {at}: {peak} bytes", seed.reader);
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 10_000, "{tried}");
}

/// The same for a safetensors header that promises more than there is, by its length or its shapes.
#[test]
fn a_safetensors_header_allocates_no_more_than_the_file_has() {
    let scene = scene();
    for length in [u64::MAX, 1 << 40, 1 << 24, 100] {
        let file = [&[WHOLE], &length.to_le_bytes()[..], b"{}"].concat();
        let peak = peak(|| assert!(!scene.read("safetensors", &file)));
        assert!(peak < 1 << 20, "a header of {length} bytes: {peak}");
    }
    let huge = 1u64 << 40;
    let header = format!(
        r#"{{"wte.weight":{{"dtype":"F32","shape":[{huge},4],"data_offsets":[0,{}]}}}}"#,
        16 * huge
    );
    let file = [&[CONTENT, 0, 0], header.as_bytes()].concat();
    let peak = peak(|| assert!(!scene.read("safetensors", &file)));
    assert!(peak < 1 << 20, "{peak}");
}

/// And for a GGUF header: counts, lengths of strings and lists, and dimensions.
#[test]
fn a_gguf_header_allocates_no_more_than_the_file_has() {
    let scene = scene();
    let good = scene
        .seeds
        .iter()
        .find(|s| s.reader == "gguf" && s.input[0] == WHOLE);
    let good = &good.expect("a seed").input;
    let mut tried = 0;
    for at in (1..good.len() - 8).take(1500) {
        for length in [u64::MAX, 1 << 40, 1 << 20] {
            let mut file = good.clone();
            put(&mut file, at, &length.to_le_bytes(), true);
            let peak = peak(|| {
                scene.read("gguf", &file);
            });
            assert!(peak < 4 << 20, "{length} at {at}: {peak} bytes");
            tried += 1;
        }
    }
    assert!(tried > 3000, "{tried}");
}

/// For a pickle within its archive: lengths of texts and numbers, sizes, places and counts of the directory; and for
/// the instructions that make most of a byte.
#[test]
fn a_pickle_allocates_little() {
    const LIMIT: usize = 4 << 20;
    let scene = scene();
    let mut tried = 0;
    for good in scene.seeds.iter().filter(|s| s.reader == "pickle") {
        let places = good.input.len();
        // The pickle, and the directory at the end.
        // Not what the reader itself makes storages of.
        let from = match good.input[0] {
            CONTENT => 2 + 2 * usize::from(good.input[1]),
            _ => 1,
        };
        let (first, last) = (from..from + 700, places.max(1500) - 1500..places);
        for at in first.chain(last).step_by(2) {
            for length in [u64::MAX, 1 << 40, 1 << 30] {
                let mut file = good.input.clone();
                put(&mut file, at, &length.to_le_bytes(), true);
                let peak = peak(|| {
                    scene.read("pickle", &file);
                });
                assert!(peak < LIMIT, "{length} at {at}: {peak} bytes");
                tried += 1;
            }
        }
    }
    assert!(tried > 5000, "{tried}");
    // Tuples, dictionaries, marks, numbers, texts; tuples of tuples; each half of the tuple before, twice.
    let doubled = b")q\0h\0h\0\x86q\0";
    for step in [&b")"[..], b"}", b"(", b"N", b"X\0\0\0\0", b"\x85", doubled] {
        let steps = step.iter().copied().cycle().take(2 << 20);
        let pickle: Vec<u8> = b"\x80\x02)".iter().copied().chain(steps).collect();
        let file = [&[CONTENT, 0], &pickle[..]].concat();
        let peak = peak(|| assert!(!scene.read("pickle", &file)));
        println!("{:?}: {peak} bytes for {}", step[0] as char, file.len());
        assert!(peak < 64 << 20, "{:?}: {peak}", step[0] as char);
    }
}

/// An empty list takes a byte of the file and many more in memory, so lists of lists end early; so do lists of
/// numbers, which a short one makes longer.
#[test]
fn a_file_of_tiny_elements_costs_a_small_multiple_of_its_size() {
    let count = 1usize << 20;
    let scene = scene();
    let path = Path::new("good");
    let proof: ProofFile =
        container::decode(Kind::Proof, &scene.files.proofs[0], path).expect("good");
    let mut key: KeyFile =
        container::decode(Kind::VerifyingKey, &scene.files.key, path).expect("good");
    let statement = postcard::to_stdvec(&proof.statement).expect("plain data");
    let boundaries = postcard::to_stdvec(&proof.boundaries).expect("plain data");
    // No layers and no multiplicities before a bundle's seals.
    let seals = [&statement[..], &boundaries, &[0, 0, 0]].concat();
    (key.key.rows, key.tokenizer) = (Vec::new(), Vec::new());
    let mut rows = postcard::to_stdvec(&key).expect("plain data");
    rows.truncate(rows.len() - 2);
    let fields = [
        ("proof", "prompt", statement[..32].to_vec()),
        ("proof", "boundaries", statement),
        ("proof", "seals", seals),
        ("vk", "rows", rows),
    ];
    for (reader, field, before) in fields {
        let mut file = [&[CONTENT], &before[..], LENGTHS[2]].concat();
        let start = file.len();
        file.resize(start + count, 0);
        let peak = peak(|| assert!(!scene.read(reader, &file)));
        println!("{reader} {field}: {peak} bytes for {}", file.len());
        assert!((1 << 18..4 * count).contains(&peak), "{field}: {peak}");
    }
}

/// A file may have a bundle for each layer, and a bundle no more seals than layers: two lists in one another.
#[test]
fn many_bundles_of_empty_seals_cost_a_small_multiple_of_their_size() {
    let scene = scene();
    let path = Path::new("good");
    let proof: ProofFile =
        container::decode(Kind::Proof, &scene.files.proofs[0], path).expect("good");
    let statement = postcard::to_stdvec(&proof.statement).expect("plain data");
    let boundaries = postcard::to_stdvec(&proof.boundaries).expect("plain data");
    let (bundles, seals) = (64u32, 1u32 << 14);
    let varint = |n: u32| postcard::to_stdvec(&n).expect("plain data");
    // No layers and no multiplicities before the seals, and behind them an opening without a round.
    let nothing = vec![0; seals as usize + 2 + 3 * 32];
    let bundle = [&[0, 0][..], &varint(seals), &nothing].concat();
    let bundles = [&[1][..], &varint(bundles), &bundle.repeat(bundles as usize)].concat();
    let file = [&[CONTENT], &statement[..], &boundaries, &bundles].concat();
    let peak = peak(|| assert!(!scene.read("proof", &file)));
    println!("{peak} bytes for {}", file.len());
    assert!((1 << 18..2 * file.len()).contains(&peak), "{peak}");
}

/// The tables that a key's scales ask for are built wherever these are in range, and are not
/// those that the manifest names by their digest.
#[test]
fn tables_are_built_at_the_ends_of_the_scales_ranges() {
    let scene = scene();
    let path = Path::new("good");
    let file: KeyFile =
        container::decode(Kind::VerifyingKey, &scene.files.key, path).expect("good");
    let scales = file.key.manifest.scales.clone();
    for (exp, key, value) in [(8, 10, 10), (22, 10, 24), (20, 11, 24), (20, 9, 14)] {
        for activation in [Activation::GeluTanh, Activation::GeluErf] {
            let mut changed = file.key.clone();
            let manifest = &mut changed.manifest;
            manifest.architecture.activation = activation;
            (manifest.scales.exp, manifest.scales.activation_key) = (exp, key);
            manifest.scales.activation_value = value;
            if manifest.scales == scales && activation == Activation::GeluTanh {
                continue;
            }
            let decoded = changed.decode().map(|_| ());
            assert!(
                matches!(decoded, Err(KeyError::Tables)),
                "{exp} {key} {value}: {decoded:?}"
            );
        }
    }
}
