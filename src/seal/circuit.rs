//! The seal's circuit: the hidden conversation of one layer, in Halo2 cells.

use std::convert::Infallible;

use halo2_proofs::circuit::{Layouter, SimpleFloorPlanner};
use halo2_proofs::plonk::{Circuit, ConstraintSystem, Error};

use super::cells::{CellChannel, OPERATION_ROWS, PERMUTATION_ROWS, SealConfig};
use super::faults::Faults;
use crate::algebra::F;
use crate::argument::channel::Counter;
use crate::argument::hidden::{HiddenShape, HiddenWitness, converse};

/// One layer's circuit. Without a witness it serves key generation.
#[derive(Clone)]
pub struct SealCircuit<'a> {
    pub(super) shape: &'a HiddenShape,
    pub(super) witness: Option<&'a HiddenWitness>,
    pub(super) faults: Faults,
}

impl<'a> SealCircuit<'a> {
    /// The circuit of `shape`, whose `witness` has been checked against it.
    pub fn new(shape: &'a HiddenShape, witness: Option<&'a HiddenWitness>) -> Self {
        Self {
            shape,
            witness,
            faults: Faults::default(),
        }
    }
}

impl Circuit<F> for SealCircuit<'_> {
    type Config = SealConfig;
    type FloorPlanner = SimpleFloorPlanner;

    fn without_witnesses(&self) -> Self {
        Self {
            witness: None,
            ..self.clone()
        }
    }

    fn configure(meta: &mut ConstraintSystem<F>) -> SealConfig {
        SealConfig::configure(meta)
    }

    fn synthesize(&self, config: SealConfig, layouter: impl Layouter<F>) -> Result<(), Error> {
        let faults = self.faults.clone();
        let mut channel = CellChannel::new(layouter, config, self.shape, self.witness, faults)?;
        converse(self.shape, &mut channel)
    }
}

/// Rows that the circuit of `shape` fills, by counting its conversation.
pub fn rows(shape: &HiddenShape) -> usize {
    let mut counter = Counter::default();
    let Ok::<(), Infallible>(()) = converse(shape, &mut counter);
    let cost = counter.cost;
    // A constant takes a row of the chip's columns (its fixed cell) and one of the arithmetic lane.
    let constants = cost.constants.len();
    let poseidon = PERMUTATION_ROWS * cost.permutations + constants;
    let arithmetic = OPERATION_ROWS * cost.operations + cost.inputs + constants;
    poseidon.max(arithmetic).max(shape.instance_len())
}

/// The smallest k whose 2^k rows hold the circuit and the rows that Halo2 reserves for blinding.
/// It depends on nothing but the shape.
pub fn smallest_k(shape: &HiddenShape) -> u32 {
    let mut meta = ConstraintSystem::default();
    SealConfig::configure(&mut meta);
    let needed = rows(shape) + meta.blinding_factors() + 1;
    needed.next_power_of_two().ilog2().max(MIN_K)
}

/// Below this, Halo2's own minimum of rows and the permutation argument's need for them intervene.
const MIN_K: u32 = 5;
