//! Lies: changes that tests make to what a prover has committed to or says.
//!
//! This is the file of the product, where there is no such thing: a [`Cheat`] has no content and
//! its methods change nothing. Tests have `cheat_test.rs` in its place.

use std::marker::PhantomData;

use ff::Field;

use crate::algebra::F;
use crate::commit::RowData;

/// The lies of one layer: none.
#[derive(Clone, Debug, Default)]
pub struct Cheat(());

/// The lies about one column: none.
#[derive(Clone, Copy)]
pub struct Shift<'a>(PhantomData<&'a Cheat>);

impl Cheat {
    pub fn witness(&self, _: usize, value: F) -> F {
        value
    }

    pub fn shift(&self, _: usize) -> Shift<'_> {
        Shift(PhantomData)
    }

    pub fn witness_rows(&self, _: &mut [RowData], _: usize) {}

    pub fn helper(&self, _: &mut [F]) {}

    pub fn multiplicities(&self, _: &mut [RowData], _: usize) {}

    pub fn mask(&self, mask: F) -> F {
        mask
    }

    /// What the conversation says of claims that only other layers of the seal have.
    pub fn padding(&self) -> F {
        F::ZERO
    }
}

impl Shift<'_> {
    pub fn apply(self, _: usize, value: F) -> F {
        value
    }
}
