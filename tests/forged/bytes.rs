//! A proof file byte by byte: no bit of it is free, and no other length or encoding is read.

use std::panic::catch_unwind;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use nanozk::curve::{PointBytes, ScalarBytes};
use nanozk::layers::quantize_checkpoint;
use nanozk::model::{Config, synthetic};
use nanozk::proof::{CommittedModel, FileError, Kind, Mode, OpenedModel, ProofFile, container};
use rayon::prelude::*;

use crate::parts::{points, scalars};
use crate::{
    CALIBRATION, IDENTITY, NO_POINT, Verdict, all_refused, negate, open, proved, scene, verdict_by,
};

fn file() -> Vec<u8> {
    container::encode(Kind::Proof, &scene().bundled.first)
}

/// A proof of a model of one block with random weights: shorter than the scene's and quicker to verify, by the
/// same code.
struct Small {
    model: OpenedModel,
    file: Vec<u8>,
}

fn small() -> &'static Small {
    static SMALL: OnceLock<Small> = OnceLock::new();
    SMALL.get_or_init(|| {
        let config = Config {
            hidden: 64,
            ..synthetic::config(1, 1, 257, 8)
        };
        let checkpoint = synthetic::checkpoint(config, 7);
        let model = quantize_checkpoint(&checkpoint, CALIBRATION, 1, true);
        let model = open(&scene().setup, model.expect("quantized").model);
        let proof = proved(&scene().setup, &model, &[72, 105], Mode::Bundled);
        let file = container::encode(Kind::Proof, &proof);
        Small { model, file }
    })
}

fn decode(bytes: &[u8]) -> Result<ProofFile, FileError> {
    container::decode(Kind::Proof, bytes, Path::new("proof"))
}

/// Whether a file is refused, when it is decoded or when it is verified.
fn refused(key: &CommittedModel, bytes: &[u8]) -> Result<(), &'static str> {
    match catch_unwind(|| decode(bytes)) {
        Err(_) => Err("PANICKED while decoding"),
        Ok(Err(_)) => Ok(()),
        Ok(Ok(proof)) => match verdict_by(key, &proof) {
            Verdict::Refused(_) => Ok(()),
            Verdict::Accepted => Err("ACCEPTED"),
            Verdict::Panicked => Err("PANICKED"),
        },
    }
}

/// Flips the bits of `mask` in each of the bytes: every one of these files must be refused.
fn flips_are_refused(
    (file, model): (&[u8], &OpenedModel),
    positions: impl IntoIterator<Item = usize>,
    mask: impl Fn(usize) -> u8 + Sync,
) {
    let positions: Vec<usize> = positions.into_iter().collect();
    let done = AtomicUsize::new(0);
    let failures: Vec<_> = positions
        .par_iter()
        .filter_map(|position| {
            let mut flipped = file.to_vec();
            flipped[*position] ^= mask(*position);
            let verdict = refused(&model.committed, &flipped);
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            if done.is_multiple_of(1000) {
                println!("file: {done} of {} byte flips", positions.len());
            }
            verdict.err().map(|what| (*position, what))
        })
        .collect();
    let (tried, failed) = (positions.len(), failures.len());
    println!(
        "file: {tried} byte flips tried, {} rejected",
        tried - failed
    );
    assert!(tried > 0 && failures.is_empty(), "{failures:?}");
}

/// The header, the statement and the chain, byte by byte: no byte of what a reader believes is free.
#[test]
fn every_flipped_byte_of_the_statement_is_refused() {
    let header = 16;
    let Small { model, file } = small();
    let statement = decode(file).expect("a proof").statement;
    let statement = postcard::to_stdvec(&statement).expect("plain data").len();
    flips_are_refused((file, model), 0..header + statement, |position| {
        1 << (position % 8)
    });
}

/// A sample over the whole file, all eight bits in turn. The exhaustive runs are the next tests.
#[test]
fn a_sample_of_flipped_bytes_is_refused() {
    let stride = 83;
    let Small { model, file } = small();
    let positions = (5..file.len()).step_by(stride);
    flips_are_refused((file, model), positions, |position| {
        1 << (position / stride % 8)
    });
}

/// `cargo test --release --test forged -- --ignored --nocapture flipped`.
#[test]
#[ignore = "exhaustive: verifies the proof once per byte of its file"]
fn every_flipped_lowest_bit_is_refused() {
    let Small { model, file } = small();
    flips_are_refused((file, model), 0..file.len(), |_| 0x01);
}

#[test]
#[ignore = "exhaustive: verifies the proof once per byte of its file"]
fn every_flipped_highest_bit_is_refused() {
    let Small { model, file } = small();
    flips_are_refused((file, model), 0..file.len(), |_| 0x80);
}

/// A file cut off anywhere, or continued, is not decoded; nor does it panic.
#[test]
fn truncated_and_continued_files_are_refused() {
    let file = file();
    let relabelled = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let len = bytes.len() as u64 - 16;
        bytes[8..16].copy_from_slice(&len.to_le_bytes());
        bytes
    };
    for len in 0..file.len() {
        assert!(decode(&file[..len]).is_err(), "cut to {len} bytes");
        // With a header that fits what is left.
        if len >= 16 {
            let cut = relabelled(&file[..len]);
            assert!(decode(&cut).is_err(), "cut to {len} bytes and relabelled");
        }
    }
    for more in [1, 8, 1000] {
        for byte in [0, 0xff] {
            let longer = [&file[..], &vec![byte; more]].concat();
            assert!(decode(&longer).is_err(), "{more} bytes too many");
            assert!(decode(&relabelled(&longer)).is_err(), "and relabelled");
        }
    }
    println!("file: {} lengths tried, all rejected", file.len() + 6);
    assert_eq!(decode(&file).expect("untouched"), scene().bundled.first);
}

/// x or a scalar plus the modulus, whose bytes are given: a second encoding that fits in 256 bits.
fn plus(bytes: &mut [u8; 32], modulus: &[u8; 32]) {
    let mut carry = 0;
    for (b, m) in bytes.iter_mut().zip(modulus) {
        let sum = u16::from(*b) + u16::from(*m) + carry;
        *b = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0, "both are below 2^255");
}

/// The largest canonical value and one more: the modulus.
fn modulus(minus_one: [u8; 32]) -> [u8; 32] {
    let mut modulus = minus_one;
    plus(&mut modulus, &std::array::from_fn(|i| u8::from(i == 0)));
    modulus
}

type Damage<T> = (&'static str, fn(&mut T));

/// Each point of the file outside of the seals, in four ways. In the seals, which Halo2 reads, the
/// flipped bytes do the same.
#[test]
fn every_point_is_checked() {
    let damages: [Damage<PointBytes>; 4] = [
        ("the identity", |p| *p = IDENTITY),
        ("no field element", |p| *p = NO_POINT),
        ("off the curve", |p| {
            while p.decode().is_ok() {
                p.0[1] = p.0[1].wrapping_add(1);
            }
        }),
        ("a second encoding of x", |p| {
            use ff::{Field, PrimeField};
            let sign = p.0[31] & 0x80;
            p.0[31] ^= sign;
            plus(&mut p.0, &modulus((-pasta_curves::Fq::ONE).to_repr()));
            p.0[31] |= sign;
        }),
    ];
    refused_each("point", &damages, |proof, n, damage| {
        let mut points = points(proof);
        points.get_mut(n).map(|p| damage(p)).is_some()
    });
}

/// Each scalar outside of the seals: the modulus added, which is the same number in another encoding.
#[test]
fn every_scalar_is_canonical() {
    let damages: [Damage<ScalarBytes>; 1] = [("plus the modulus", |s| {
        use ff::{Field, PrimeField};
        plus(&mut s.0, &modulus((-pasta_curves::Fp::ONE).to_repr()));
    })];
    refused_each("scalar", &damages, |proof, n, damage| {
        let mut scalars = scalars(proof);
        scalars.get_mut(n).map(|s| damage(s)).is_some()
    });
}

/// −P for each point P: the sign bit must change the verdict.
#[test]
fn the_sign_of_every_point_counts() {
    refused_each("point", &[("negated", negate)], |proof, n, damage| {
        let mut points = points(proof);
        points.get_mut(n).map(|p| damage(p)).is_some()
    });
}

/// Does each damage to each item: `damage(proof, n, how)` says whether there is an n-th.
fn refused_each<T>(
    item: &str,
    damages: &[Damage<T>],
    damage: impl Fn(&mut ProofFile, usize, fn(&mut T)) -> bool + Sync,
) {
    let first = &scene().bundled.first;
    let count = (0..)
        .take_while(|n| damage(&mut first.clone(), *n, |_| ()))
        .count();
    assert!(count > 10, "a proof has many {item}s");
    for (name, how) in damages {
        all_refused(&format!("file: {item}, {name}"), count, |n| {
            let mut proof = first.clone();
            damage(&mut proof, n, *how);
            assert!(proof != *first, "{item} {n}, {name}: changes nothing");
            Some((format!("{item} {n}"), proof))
        });
    }
}
