//! The channel of the hidden conversation in Halo2 cells.
//!
//! Two lanes stand side by side, so that their rows overlap:
//! - *Poseidon*: the columns of the library's Pow5 chip, 37 rows a permutation;
//! - *arithmetic*: three columns and one gate, `acc·x + y = acc'` with acc' one row below acc. An
//!   operation is a region of two rows; an input or a constant is one cell of column y.
//!
//! A value is assigned where it is made (an input or the result of a gate) and *copied* wherever it
//! is used: every other assignment carries its copy constraint. [`Source`] is the only way into a
//! cell that the gate does not determine.

use halo2_gadgets::poseidon::{PoseidonInstructions, Pow5Chip, Pow5Config, StateWord};
use halo2_proofs::circuit::{AssignedCell, Layouter, Region, Value};
use halo2_proofs::plonk::{
    Advice, Column, ConstraintSystem, Constraints, Error, Fixed, Instance, Selector,
};
use halo2_proofs::poly::Rotation;

use super::faults::{Fault, Faults};
use crate::algebra::F;
use crate::argument::channel::{Channel, Public, Secret};
use crate::argument::hidden::{HiddenShape, HiddenWitness};
use crate::transcript::hidden::{Duplex, HiddenSpec, RATE, SpongeOps, WIDTH, domain};

/// A cell that holds a field element.
pub type Cell = AssignedCell<F, F>;

/// Rows that the Pow5 chip takes for a permutation: one per full round, one per two partial
/// rounds, one for the result.
pub const PERMUTATION_ROWS: usize = 8 + 56 / 2 + 1;
/// Rows of the arithmetic lane that an operation takes.
pub const OPERATION_ROWS: usize = 2;

/// The columns and gates of the seal. They do not depend on the shape.
#[derive(Clone, Debug)]
pub struct SealConfig {
    poseidon: Pow5Config<F, WIDTH, RATE>,
    acc: Column<Advice>,
    x: Column<Advice>,
    y: Column<Advice>,
    mul_add: Selector,
    instance: Column<Instance>,
}

impl SealConfig {
    /// Declares columns and gates.
    pub fn configure(meta: &mut ConstraintSystem<F>) -> Self {
        let state: [Column<Advice>; WIDTH] = std::array::from_fn(|_| meta.advice_column());
        let partial_sbox = meta.advice_column();
        let rc_a: [Column<Fixed>; WIDTH] = std::array::from_fn(|_| meta.fixed_column());
        let rc_b: [Column<Fixed>; WIDTH] = std::array::from_fn(|_| meta.fixed_column());
        // Constants go where the chip has no round constants.
        meta.enable_constant(rc_b[0]);
        let poseidon = Pow5Chip::configure::<HiddenSpec>(meta, state, partial_sbox, rc_a, rc_b);

        let [acc, x, y] = std::array::from_fn(|_| meta.advice_column());
        for column in [acc, x, y] {
            meta.enable_equality(column);
        }
        let instance = meta.instance_column();
        meta.enable_equality(instance);
        let mul_add = meta.selector();
        meta.create_gate("acc·x + y = acc'", |meta| {
            let selector = meta.query_selector(mul_add);
            let cur = meta.query_advice(acc, Rotation::cur());
            let next = meta.query_advice(acc, Rotation::next());
            let x = meta.query_advice(x, Rotation::cur());
            let y = meta.query_advice(y, Rotation::cur());
            Constraints::with_selector(selector, [cur * x + y - next])
        });
        Self {
            poseidon,
            acc,
            x,
            y,
            mul_add,
            instance,
        }
    }
}

/// What a cell is tied to.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// A cell that has the value already.
    Cell(&'a Cell),
    /// A constant of the circuit.
    Constant(F),
    /// A row of the instance column.
    Instance(Column<Instance>, usize),
}

impl Source<'_> {
    /// Assigns `column` at `row` and ties it to this source.
    fn bring(
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
            Source::Constant(c) => {
                region.assign_advice_from_constant(|| "constant", column, row, c)
            }
            Source::Instance(instance, at) => {
                region.assign_advice_from_instance(|| "public", instance, at, column, row)
            }
        }
    }
}

/// The two lanes, being filled.
struct Lanes<L> {
    layouter: L,
    config: SealConfig,
    chip: Pow5Chip<F, WIDTH, RATE>,
    /// The constants that have a cell.
    constants: Vec<(F, Cell)>,
    faults: Faults,
}

impl<L: Layouter<F>> Lanes<L> {
    /// A cell of column y tied to `source`.
    fn input(&mut self, source: Source<'_>) -> Result<Cell, Error> {
        let (y, fault) = (self.config.y, self.faults.next_tie());
        let cell = self.layouter.assign_region(
            || "input",
            |mut region| source.bring(&mut region, y, 0, fault),
        )?;
        if let Some(fault) = fault {
            fault.tie_instance(&mut self.layouter, source, &cell)?;
        }
        Ok(cell)
    }

    fn constant(&mut self, c: F) -> Result<Cell, Error> {
        if let Some((_, cell)) = self.constants.iter().find(|(known, _)| *known == c) {
            return Ok(cell.clone());
        }
        let cell = self.input(Source::Constant(c))?;
        self.constants.push((c, cell.clone()));
        Ok(cell)
    }

    fn witness(&mut self, value: Value<F>) -> Result<Cell, Error> {
        let y = self.config.y;
        self.layouter.assign_region(
            || "witness",
            |mut region| region.assign_advice(|| "witness", y, 0, || value),
        )
    }

    fn mul_add(&mut self, a: &Cell, b: &Cell, c: &Cell) -> Result<Cell, Error> {
        let SealConfig { acc, x, y, .. } = self.config;
        let gate = self.config.mul_add;
        let ties = [a, b, c].map(|cell| (Source::Cell(cell), self.faults.next_tie()));
        let gate_fault = self.faults.next_gate();
        self.layouter.assign_region(
            || "acc·x + y",
            |mut region| {
                let mut operands = ties
                    .iter()
                    .zip([acc, x, y])
                    .map(|((source, fault), column)| source.bring(&mut region, column, 0, *fault));
                let mut operand = || operands.next().expect("three operands");
                let (a, b, c) = (operand()?, operand()?, operand()?);
                let result = a.value().zip(b.value()).zip(c.value());
                let result = result.map(|((a, b), c)| *a * b + c);
                if let Some(fault) = gate_fault {
                    return fault.gate(&mut region, gate, acc, result);
                }
                gate.enable(&mut region, 0)?;
                region.assign_advice(|| "result", acc, 1, || result)
            },
        )
    }
}

impl<L: Layouter<F>> SpongeOps<WIDTH> for Lanes<L> {
    type Word = Cell;
    type Error = Error;

    fn add(&mut self, a: &Cell, b: &Cell) -> Result<Cell, Error> {
        let one = self.constant(F::from(1))?;
        self.mul_add(a, &one, b)
    }

    fn permute(&mut self, state: [Cell; WIDTH]) -> Result<[Cell; WIDTH], Error> {
        let state = state.map(StateWord::from);
        let permuted = PoseidonInstructions::<F, HiddenSpec, WIDTH, RATE>::permute(
            &self.chip,
            &mut self.layouter,
            &state,
        )?;
        Ok(permuted.map(Cell::from))
    }
}

/// The channel: the conversation's verbs as cells and constraints.
pub struct CellChannel<'a, L> {
    lanes: Lanes<L>,
    duplex: Duplex<Cell, WIDTH>,
    shape: &'a HiddenShape,
    witness: Option<&'a HiddenWitness>,
}

impl<'a, L: Layouter<F>> CellChannel<'a, L> {
    /// A channel that fills `layouter`. Without a witness its secrets are unknown.
    ///
    /// # Errors
    /// The layouter's, if the rows do not suffice.
    pub fn new(
        layouter: L,
        config: SealConfig,
        shape: &'a HiddenShape,
        witness: Option<&'a HiddenWitness>,
        faults: Faults,
    ) -> Result<Self, Error> {
        let chip = Pow5Chip::construct(config.poseidon.clone());
        let mut lanes = Lanes {
            layouter,
            config,
            chip,
            constants: Vec::new(),
            faults,
        };
        let zero = lanes.constant(F::from(0))?;
        let domain = lanes.constant(domain())?;
        Ok(Self {
            lanes,
            duplex: Duplex::new(zero, domain),
            shape,
            witness,
        })
    }
}

impl<L: Layouter<F>> Channel for CellChannel<'_, L> {
    type Value = Cell;
    type Error = Error;

    fn constant(&mut self, c: F) -> Result<Cell, Error> {
        self.lanes.constant(c)
    }

    fn secret(&mut self, slot: Secret) -> Result<Cell, Error> {
        let value = self
            .witness
            .map_or(Value::unknown(), |w| Value::known(w.get(slot)));
        self.lanes.witness(value)
    }

    fn public(&mut self, slot: Public) -> Result<Cell, Error> {
        let row = self.shape.index(slot);
        self.lanes
            .input(Source::Instance(self.lanes.config.instance, row))
    }

    fn mul_add(&mut self, a: &Cell, b: &Cell, c: &Cell) -> Result<Cell, Error> {
        self.lanes.mul_add(a, b, c)
    }

    fn absorb(&mut self, _: &'static str, x: &Cell) -> Result<(), Error> {
        self.duplex.absorb(&mut self.lanes, x)
    }

    fn squeeze(&mut self, _: &'static str) -> Result<Cell, Error> {
        self.duplex.squeeze(&mut self.lanes)
    }

    fn assert_equal(&mut self, a: &Cell, b: &Cell, why: &'static str) -> Result<(), Error> {
        if self.lanes.faults.leaves_out(why, a, b) {
            return Ok(());
        }
        self.lanes.layouter.assign_region(
            || why,
            |mut region| region.constrain_equal(a.cell(), b.cell()),
        )
    }
}
