//! The channel of the hidden conversation in Halo2 cells.
//!
//! Everything stands in four advice columns, in one region with its own count of rows:
//! - an *operation* is a row with the gate `a₀·a₁ + a₂ = a₃`;
//! - a *permutation* is the rows of [`super::poseidon`], with its gates;
//! - *inputs* (secrets, public values and constants) are single cells, four to a row without a gate.
//!
//! A value is assigned where it is made (an input or the result of a gate) and *copied* wherever it
//! is used: every other assignment carries its copy constraint. [`Source`] is the only way into a
//! cell that no gate determines, but for secrets.
//!
//! Constants are public values as well, at the head of the instance column
//! ([`super::circuit::instance_column`]), so that no fixed column takes part in copies.

use halo2_proofs::circuit::{AssignedCell, Region, Value};
use halo2_proofs::plonk::{
    Advice, Column, ConstraintSystem, Constraints, Error, Fixed, Instance, Selector,
};
use halo2_proofs::poly::Rotation;

use super::faults::{Fault, Faults};
use super::poseidon::{self, Gate};
use crate::algebra::F;
use crate::argument::channel::{Channel, Public, Secret};
use crate::argument::hidden::{HiddenShape, HiddenWitness};
use crate::transcript::hidden::{Duplex, SpongeOps, WIDTH, domain};

/// A cell that holds a field element.
pub type Cell = AssignedCell<F, F>;

/// Inputs that share a row.
pub const INPUTS_PER_ROW: usize = WIDTH;

/// The columns and gates of the seal. They do not depend on the shape.
#[derive(Clone, Debug)]
pub struct SealConfig {
    words: [Column<Advice>; WIDTH],
    /// The constants of a permutation's rows.
    constants: [Column<Fixed>; WIDTH],
    instance: Column<Instance>,
    operation: Selector,
    /// In the order of [`Gate::ALL`].
    rounds: [Selector; 4],
}

impl SealConfig {
    /// Declares columns and gates.
    pub fn configure(meta: &mut ConstraintSystem<F>) -> Self {
        let words: [Column<Advice>; WIDTH] = std::array::from_fn(|_| meta.advice_column());
        let constants: [Column<Fixed>; WIDTH] = std::array::from_fn(|_| meta.fixed_column());
        let instance = meta.instance_column();
        words
            .iter()
            .for_each(|column| meta.enable_equality(*column));
        meta.enable_equality(instance);
        // One grand product of the permutation argument takes two columns less than the degree:
        // with 7, all five that take part in copies, so that there is one. The gates have degree 6,
        // and two of their selectors share a fixed column at degree 7. The quotient is computed on
        // the same domain, 8 times the rows, for all degrees from 6 to 9.
        meta.set_minimum_degree(words.len() + 1 + 2);

        let operation = meta.selector();
        meta.create_gate("a₀·a₁ + a₂ = a₃", |meta| {
            let selector = meta.query_selector(operation);
            let [a, b, c, result] = words.map(|w| meta.query_advice(w, Rotation::cur()));
            Constraints::with_selector(selector, [a * b + c - result])
        });
        let rounds = Gate::ALL.map(|gate| {
            let round = meta.selector();
            meta.create_gate(gate.name(), |meta| {
                let selector = meta.query_selector(round);
                let constants = constants.map(|c| meta.query_fixed(c));
                let cells: Vec<_> = [Rotation::cur(), Rotation::next()]
                    .into_iter()
                    .flat_map(|at| words.map(|w| (w, at)))
                    .map(|(word, at)| meta.query_advice(word, at))
                    .collect();
                Constraints::with_selector(selector, gate.equations(&cells, &constants))
            });
            round
        });
        Self {
            words,
            constants,
            instance,
            operation,
            rounds,
        }
    }
}

/// What a cell is tied to.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// A cell that has the value already.
    Cell(&'a Cell),
    /// A row of the instance column.
    Instance(Column<Instance>, usize),
}

impl Source<'_> {
    /// Assigns `column` at `row` and ties it to this source.
    pub fn bring(
        self,
        region: &mut Region<'_, F>,
        column: Column<Advice>,
        row: usize,
        fault: Option<Fault>,
    ) -> Result<Cell, Error> {
        if let Some(fault) = fault {
            return fault.bring(self, region, column, row);
        }
        match self {
            Source::Cell(cell) => cell.copy_advice(|| "copy", region, column, row),
            Source::Instance(instance, at) => {
                region.assign_advice_from_instance(|| "public", instance, at, column, row)
            }
        }
    }
}

/// The rows, being filled.
struct Rows<'r> {
    region: Region<'r, F>,
    config: SealConfig,
    /// The first row that is not in use.
    free: usize,
    /// The row of inputs that is being filled, and how many it has.
    inputs: (usize, usize),
    /// The constants at the head of the instance column, and their cells if they have been asked for.
    constants: Vec<(F, Option<Cell>)>,
    faults: Faults,
}

impl Rows<'_> {
    fn take(&mut self, rows: usize) -> usize {
        self.free += rows;
        self.free - rows
    }

    /// A cell for an input.
    fn input_place(&mut self) -> (Column<Advice>, usize) {
        if self.inputs.1 == INPUTS_PER_ROW {
            self.inputs = (self.take(1), 0);
        }
        let (row, used) = self.inputs;
        self.inputs.1 += 1;
        (self.config.words[used], row)
    }

    /// An input cell tied to `at` in the instance column.
    fn public(&mut self, at: usize) -> Result<Cell, Error> {
        let (column, row) = self.input_place();
        self.bring(Source::Instance(self.config.instance, at), column, row)
    }

    fn constant(&mut self, c: F) -> Result<Cell, Error> {
        let at = self.constants.iter().position(|(known, _)| *known == c);
        let at = at.expect("the shape's constants have been counted");
        if let Some(cell) = &self.constants[at].1 {
            return Ok(cell.clone());
        }
        let cell = self.public(at)?;
        self.constants[at].1 = Some(cell.clone());
        Ok(cell)
    }

    fn secret(&mut self, value: Value<F>) -> Result<Cell, Error> {
        let (column, row) = self.input_place();
        self.region
            .assign_advice(|| "secret", column, row, || value)
    }

    fn bring(
        &mut self,
        source: Source<'_>,
        column: Column<Advice>,
        row: usize,
    ) -> Result<Cell, Error> {
        let fault = self.faults.next_tie();
        source.bring(&mut self.region, column, row, fault)
    }

    fn mul_add(&mut self, a: &Cell, b: &Cell, c: &Cell) -> Result<Cell, Error> {
        let row = self.take(1);
        let [x, y, z, result] = self.config.words;
        let a = self.bring(Source::Cell(a), x, row)?;
        let b = self.bring(Source::Cell(b), y, row)?;
        let c = self.bring(Source::Cell(c), z, row)?;
        let operands = a.value().zip(b.value()).zip(c.value());
        let mut value = operands.map(|((a, b), c)| *a * b + c);
        let fault = self.faults.next_gate();
        if let Some(fault) = fault {
            value = fault.shift(value);
        }
        if !fault.is_some_and(Fault::leaves_out) {
            self.config.operation.enable(&mut self.region, row)?;
        }
        self.region
            .assign_advice(|| "result", result, row, || value)
    }

    /// The gate of a permutation's `row`, at `place`, which holds `cells`: the next row's cells.
    fn round(&mut self, row: usize, place: usize, cells: &[Cell]) -> Result<Vec<Cell>, Error> {
        let (gate, constants) = (Gate::after(row), poseidon::constants(row));
        for (column, c) in self.config.constants.into_iter().zip(constants) {
            self.region
                .assign_fixed(|| "constant", column, place, || Value::known(c))?;
        }
        let mut known: Value<Vec<F>> = cells.iter().map(|cell| cell.value().copied()).collect();
        let mut next = Vec::with_capacity(WIDTH);
        let mut complete = true;
        for (word, column) in self.config.words.into_iter().enumerate() {
            let mut value = known.as_ref().map(|x| gate.word(word, x, &constants));
            if let Some(fault) = self.faults.next_word(gate, word) {
                value = fault.shift(value);
                complete &= !fault.leaves_out();
            }
            known = known.zip(value).map(|(known, x)| [known, vec![x]].concat());
            let cell = self
                .region
                .assign_advice(|| "word", column, place + 1, || value)?;
            next.push(cell);
        }
        if complete {
            self.config.rounds[gate as usize].enable(&mut self.region, place)?;
        }
        Ok(next)
    }
}

impl SpongeOps<WIDTH> for Rows<'_> {
    type Word = Cell;
    type Error = Error;

    fn permute(&mut self, state: [Cell; WIDTH]) -> Result<[Cell; WIDTH], Error> {
        let first = self.take(poseidon::ROWS);
        let mut cells = Vec::with_capacity(WIDTH);
        for (cell, column) in state.iter().zip(self.config.words) {
            cells.push(self.bring(Source::Cell(cell), column, first)?);
        }
        for row in 0..poseidon::ROWS - 1 {
            cells = self.round(row, first + row, &cells)?;
        }
        Ok(cells.try_into().expect("four words"))
    }
}

/// The channel: the conversation's verbs as cells and constraints.
pub struct CellChannel<'a, 'r> {
    rows: Rows<'r>,
    duplex: Duplex<Cell, WIDTH>,
    shape: &'a HiddenShape,
    witness: Option<&'a HiddenWitness>,
}

impl<'a, 'r> CellChannel<'a, 'r> {
    /// A channel that fills `region`. `constants` are those that the conversation asks for. Without
    /// a witness its secrets are unknown.
    ///
    /// # Errors
    /// The region's, if the rows do not suffice.
    pub fn new(
        region: Region<'r, F>,
        config: SealConfig,
        constants: &[F],
        shape: &'a HiddenShape,
        witness: Option<&'a HiddenWitness>,
        faults: Faults,
    ) -> Result<Self, Error> {
        let mut rows = Rows {
            region,
            config,
            free: 0,
            inputs: (0, INPUTS_PER_ROW),
            constants: constants.iter().map(|c| (*c, None)).collect(),
            faults,
        };
        let zero = rows.constant(F::from(0))?;
        let domain = rows.constant(domain())?;
        Ok(Self {
            rows,
            duplex: Duplex::new(zero, domain),
            shape,
            witness,
        })
    }
}

impl Channel for CellChannel<'_, '_> {
    type Value = Cell;
    type Error = Error;

    fn constant(&mut self, c: F) -> Result<Cell, Error> {
        self.rows.constant(c)
    }

    fn secret(&mut self, slot: Secret) -> Result<Cell, Error> {
        let value = self
            .witness
            .map_or(Value::unknown(), |w| Value::known(w.get(slot)));
        self.rows.secret(value)
    }

    fn public(&mut self, slot: Public) -> Result<Cell, Error> {
        let at = self.rows.constants.len() + self.shape.index(slot);
        self.rows.public(at)
    }

    fn mul_add(&mut self, a: &Cell, b: &Cell, c: &Cell) -> Result<Cell, Error> {
        self.rows.mul_add(a, b, c)
    }

    fn absorb(&mut self, _: &'static str, x: &Cell) -> Result<(), Error> {
        self.duplex.absorb(&mut self.rows, x)
    }

    fn squeeze(&mut self, _: &'static str) -> Result<Cell, Error> {
        self.duplex.squeeze(&mut self.rows)
    }

    fn assert_equal(&mut self, a: &Cell, b: &Cell, why: &'static str) -> Result<(), Error> {
        if self.rows.faults.leaves_out(why, a, b) {
            return Ok(());
        }
        self.rows.region.constrain_equal(a.cell(), b.cell())
    }
}
