//! Constraints that tests leave out, to show that each of them is needed (in the place of
//! `faults.rs`, with the same names).

use std::sync::{Arc, Mutex};

use halo2_proofs::circuit::{Layouter, Region, Value};
use halo2_proofs::plonk::{Advice, Column, Error, Selector};

use crate::algebra::F;
use crate::seal::cells::{Cell, Source};

/// What a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// All equalities of this name are left out.
    Assertion(&'static str),
    /// The n-th tie (copy, constant, public input): the cell gets its source's value plus one.
    Tie(usize),
    /// The n-th multiply-add: the result is one too large.
    Gate(usize),
}

/// A shifted value; with `constrained`, the constraint that forbids it is kept.
#[derive(Clone, Copy)]
pub struct Fault {
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
        let value = match source {
            Source::Cell(cell) => cell.value().copied(),
            Source::Constant(c) => Value::known(c),
            Source::Instance(instance, at) => region.instance_value(instance, at)?,
        };
        let value = value.map(|v| v + F::from(1));
        let cell = region.assign_advice(|| "shifted", column, row, || value)?;
        match source {
            _ if !self.constrained => {}
            Source::Cell(original) => region.constrain_equal(original.cell(), cell.cell())?,
            Source::Constant(c) => region.constrain_constant(cell.cell(), c)?,
            Source::Instance(..) => {} // by tie_instance, outside the region
        }
        Ok(cell)
    }

    pub fn tie_instance(
        self,
        layouter: &mut impl Layouter<F>,
        source: Source<'_>,
        cell: &Cell,
    ) -> Result<(), Error> {
        match source {
            Source::Instance(instance, at) if self.constrained => {
                layouter.constrain_instance(cell.cell(), instance, at)
            }
            _ => Ok(()),
        }
    }

    pub fn gate(
        self,
        region: &mut Region<'_, F>,
        gate: Selector,
        acc: Column<Advice>,
        result: Value<F>,
    ) -> Result<Cell, Error> {
        if self.constrained {
            gate.enable(region, 0)?;
        }
        region.assign_advice(|| "shifted", acc, 1, || result.map(|v| v + F::from(1)))
    }
}

/// Both sides of an assertion, as the circuit computed them.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    pub why: &'static str,
    pub left: F,
    pub right: F,
}

/// At most one fault in a circuit, and what the assertions saw.
#[derive(Clone, Default)]
pub struct Faults {
    pub target: Option<Target>,
    pub constrained: bool,
    pub probes: Arc<Mutex<Vec<Probe>>>,
    /// Ties and gates met so far in this synthesis.
    pub ties: usize,
    pub gates: usize,
    /// The same, left behind by the last synthesis.
    pub met: Arc<Mutex<(usize, usize)>>,
}

impl Faults {
    pub fn next_tie(&mut self) -> Option<Fault> {
        self.ties += 1;
        self.fault_at(Target::Tie(self.ties - 1))
    }

    pub fn next_gate(&mut self) -> Option<Fault> {
        self.gates += 1;
        self.fault_at(Target::Gate(self.gates - 1))
    }

    fn fault_at(&mut self, here: Target) -> Option<Fault> {
        *self.met.lock().unwrap() = (self.ties, self.gates);
        let constrained = self.constrained;
        (self.target == Some(here)).then_some(Fault { constrained })
    }

    pub fn leaves_out(&mut self, why: &'static str, a: &Cell, b: &Cell) -> bool {
        a.value().zip(b.value()).map(|(left, right)| {
            let (left, right) = (*left, *right);
            self.probes.lock().unwrap().push(Probe { why, left, right });
        });
        self.target == Some(Target::Assertion(why))
    }
}
