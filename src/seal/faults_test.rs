//! Constraints that tests leave out, to show that each of them is needed (in the place of
//! `faults.rs`, with the same names).

use std::sync::{Arc, Mutex};

use halo2_proofs::circuit::{Region, Value};
use halo2_proofs::plonk::{Advice, Column, Error};

use crate::algebra::F;
use crate::seal::cells::{Cell, Source};
use crate::seal::poseidon::Gate;
use crate::transcript::hidden::WIDTH;

/// What a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All equalities of this name are left out.
    Assertion(&'static str),
    /// The n-th tie (copy, constant, public input): the cell gets its source's value plus one.
    Tie(usize),
    /// The n-th multiply-add: the result is one too large.
    Gate(usize),
    /// The n-th word that a gate of the permutation computes: it is one too large.
    Word(usize),
    /// The n-th equation of a gate of the permutation: the words are those that break it alone.
    Equation(usize),
}

/// A shifted value; with `constrained`, the constraint that forbids it is kept.
#[derive(Clone, Copy)]
pub struct Fault {
    by: F,
    constrained: bool,
}

impl Fault {
    pub fn bring(
        self,
        source: Source<'_>,
        region: &mut Region<'_, F>,
        column: Column<Advice>,
        row: usize,
    ) -> Result<Cell, Error> {
        if self.constrained {
            source.bring(region, column, row, None)?;
        }
        let value = match source {
            Source::Cell(cell) => cell.value().copied(),
            Source::Instance(instance, at) => region.instance_value(instance, at)?,
        };
        region.assign_advice(|| "shifted", column, row, || self.shift(value))
    }

    pub fn shift(self, value: Value<F>) -> Value<F> {
        value.map(|v| v + self.by)
    }

    pub fn leaves_out(self) -> bool {
        !self.constrained
    }
}

/// Both sides of an assertion, as the circuit computed them.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    pub why: &'static str,
    pub left: F,
    pub right: F,
}

/// Places where a fault can be, counted in a synthesis.
#[derive(Clone, Copy, Debug, Default)]
pub struct Met {
    pub ties: usize,
    pub gates: usize,
    pub words: usize,
}

/// At most one fault in a circuit, and what the assertions saw.
#[derive(Clone, Default)]
pub struct Faults {
    pub target: Option<Target>,
    pub constrained: bool,
    pub probes: Arc<Mutex<Vec<Probe>>>,
    /// What this synthesis has met so far.
    met: Met,
    /// What the last synthesis met.
    pub last: Arc<Mutex<Met>>,
}

impl Faults {
    pub fn next_tie(&mut self) -> Option<Fault> {
        self.count(|met| &mut met.ties);
        self.fault_at(Target::Tie(self.met.ties - 1))
    }

    pub fn next_gate(&mut self) -> Option<Fault> {
        self.count(|met| &mut met.gates);
        self.fault_at(Target::Gate(self.met.gates - 1))
    }

    pub fn next_word(&mut self, gate: Gate, word: usize) -> Option<Fault> {
        self.count(|met| &mut met.words);
        let here = self.met.words - 1;
        match self.target {
            Some(Target::Equation(n)) if n / WIDTH == here / WIDTH => Some(Fault {
                by: gate.fault(n % WIDTH, word),
                constrained: self.constrained,
            }),
            _ => self.fault_at(Target::Word(here)),
        }
    }

    fn count(&mut self, place: impl Fn(&mut Met) -> &mut usize) {
        *place(&mut self.met) += 1;
        *self.last.lock().unwrap() = self.met;
    }

    fn fault_at(&self, here: Target) -> Option<Fault> {
        (self.target == Some(here)).then_some(Fault {
            by: F::from(1),
            constrained: self.constrained,
        })
    }

    pub fn leaves_out(&mut self, why: &'static str, a: &Cell, b: &Cell) -> bool {
        a.value().zip(b.value()).map(|(left, right)| {
            let (left, right) = (*left, *right);
            self.probes.lock().unwrap().push(Probe { why, left, right });
        });
        self.target == Some(Target::Assertion(why))
    }
}
