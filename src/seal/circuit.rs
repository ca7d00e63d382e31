//! The seal's circuit: the hidden conversation of one layer, in Halo2 cells.

use std::convert::Infallible;

use halo2_proofs::circuit::{Layouter, SimpleFloorPlanner};
use halo2_proofs::plonk::{Circuit, ConstraintSystem, Error};

use super::cells::{CellChannel, INPUTS_PER_ROW, SealConfig};
use super::faults::Faults;
use super::poseidon;
use crate::algebra::F;
use crate::argument::channel::{Cost, Counter};
use crate::argument::hidden::{HiddenInstance, HiddenShape, HiddenWitness, converse};

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

    fn synthesize(&self, config: SealConfig, mut layouter: impl Layouter<F>) -> Result<(), Error> {
        let constants = cost(self.shape).constants;
        // The layouter calls this twice, to measure and to assign: it starts afresh every time.
        layouter.assign_region(
            || "seal",
            |region| {
                let (config, faults) = (config.clone(), self.faults.clone());
                let (shape, witness) = (self.shape, self.witness);
                let mut channel =
                    CellChannel::new(region, config, &constants, shape, witness, faults)?;
                converse(shape, &mut channel)
            },
        )
    }
}

/// What the conversation of `shape` costs.
pub fn cost(shape: &HiddenShape) -> Cost {
    let mut counter = Counter::default();
    let Ok::<(), Infallible>(()) = converse(shape, &mut counter);
    counter.cost
}

/// The instance column of `shape`: the constants that its conversation asks for, then the public
/// values. Both sides lay it out with this function.
pub fn instance_column(shape: &HiddenShape, instance: &HiddenInstance) -> Vec<F> {
    [&cost(shape).constants, instance.values()].concat()
}

/// Rows that the circuit of `shape` fills, by counting its conversation.
pub fn rows(shape: &HiddenShape) -> usize {
    let cost = cost(shape);
    let inputs = cost.inputs + cost.constants.len();
    let advice =
        poseidon::ROWS * cost.permutations + cost.operations + inputs.div_ceil(INPUTS_PER_ROW);
    advice.max(cost.constants.len() + shape.instance_len())
}

/// The smallest k whose 2^k rows hold the circuit and the rows that Halo2 reserves for blinding.
/// It depends on nothing but the shape.
pub fn smallest_k(shape: &HiddenShape) -> u32 {
    let mut meta = ConstraintSystem::default();
    SealConfig::configure(&mut meta);
    // The least conversation has three permutations, so Halo2's own minimum of rows does not matter.
    let needed = rows(shape) + meta.blinding_factors() + 1;
    needed.next_power_of_two().ilog2()
}
