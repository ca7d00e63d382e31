//! Faults: constraints that tests leave out, to show that each of them is needed.
//!
//! This is the file of the product, where there is no such thing: [`Fault`] has no values, so the
//! code that would handle one cannot run. Tests have `faults_test.rs` in its place.

use halo2_proofs::circuit::{Region, Value};
use halo2_proofs::plonk::{Advice, Column, Error};

use crate::algebra::F;
use crate::seal::cells::{Cell, Source};
use crate::seal::poseidon::Gate;

/// A fault, of which there is none.
#[derive(Clone, Copy)]
pub enum Fault {}

impl Fault {
    pub fn bring(
        self,
        _: Source<'_>,
        _: &mut Region<'_, F>,
        _: Column<Advice>,
        _: usize,
    ) -> Result<Cell, Error> {
        match self {}
    }

    pub fn shift(self, _: Value<F>) -> Value<F> {
        match self {}
    }

    pub fn leaves_out(self) -> bool {
        match self {}
    }
}

/// The faults of a circuit: none.
#[derive(Clone, Default)]
pub struct Faults(());

impl Faults {
    pub fn next_tie(&mut self) -> Option<Fault> {
        None
    }

    pub fn next_gate(&mut self) -> Option<Fault> {
        None
    }

    pub fn next_word(&mut self, _: Gate, _: usize) -> Option<Fault> {
        None
    }

    pub fn leaves_out(&mut self, _: &'static str, _: &Cell, _: &Cell) -> bool {
        false
    }
}
