//! What a proof file must not show, as far as a test can see it.

use std::collections::HashSet;

use ff::{Field, PrimeField};

use super::container::{Kind, encode};
use super::run::commit_boundary;
use super::testing::{PROMPT, proof, tiny_model};
use super::{LayerKind, Mode, Setup};
use crate::algebra::F;
use crate::curve::PointBytes;
use crate::layers;
use crate::system::Values;

/// Whether 16 bytes in a row are the upper half of a small integer's encoding in F, or of its
/// negative's: all integers of the witness are below 2^120.
fn shows_an_integer(bytes: &[u8]) -> bool {
    let upper = |x: F| x.to_repr()[16..].to_vec();
    let uppers = [upper(F::ONE), upper(-F::ONE)];
    bytes
        .windows(16)
        .any(|w| uppers.iter().any(|u| u.as_slice() == w))
}

/// The places where 8 bytes are one of `values`.
fn shows_a_value(bytes: &[u8], values: &HashSet<[u8; 8]>) -> bool {
    bytes
        .windows(8)
        .any(|w| values.contains(<&[u8; 8]>::try_from(w).expect("8 bytes")))
}

/// A file shows no activation and no value of a layer's witness, neither as a field element nor as an
/// integer, and no commitment to an activation without a blind, which a guess would confirm.
#[test]
fn a_proof_shows_no_witness_value() {
    let setup = Setup::new(None);
    let model = tiny_model(&setup);
    let file = proof(&setup, &model, Mode::Separate);
    let header = 16;
    let bytes = &encode(Kind::Proof, &file)[header..];

    // Greedy generation is deterministic: this is the run that was proved.
    let answer = layers::generate(&model.model, model.op_tables(), &PROMPT, 2).expect("it runs");
    let trace = answer.trace;
    let mut values: HashSet<[u8; 8]> = HashSet::new();
    values.extend(trace.boundaries.iter().flatten().map(|x| x.to_le_bytes()));
    for kind in LayerKind::all(1) {
        let witness = layers::witness(&model.model, model.op_tables(), &trace, kind);
        for column in witness.expect("it runs").values.iter().flatten() {
            match column {
                Values::Small(v) => values.extend(v.iter().map(|x| i64::from(*x).to_le_bytes())),
                Values::Wide(v) => values.extend(v.iter().map(|x| (*x as i64).to_le_bytes())),
            }
        }
    }
    assert!(values.len() > 1000, "a run has many values");
    assert!(!shows_a_value(bytes, &values));
    assert!(!shows_an_integer(bytes));
    for value in values.iter().take(100) {
        let x = crate::algebra::from_i128(i128::from(i64::from_le_bytes(*value)));
        assert!(
            shows_an_integer(&[bytes, &x.to_repr()].concat()),
            "it would be found"
        );
        assert!(
            shows_a_value(&[bytes, value].concat(), &values),
            "and so would this"
        );
    }

    for (h, committed) in trace.boundaries.iter().zip(&file.boundaries) {
        let generators = setup.generators.get(model.row_bits());
        let bare = commit_boundary(&generators, h, &vec![F::ZERO; committed.len()]);
        for point in bare.iter().map(PointBytes::from) {
            assert!(!bytes.windows(32).any(|w| w == point.0));
        }
    }
}
