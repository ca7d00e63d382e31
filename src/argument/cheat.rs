//! Lies: changes that tests make to what a prover has committed to or says.
//!
//! This is the file of the product, where there is no such thing: a [`Cheat`] has no content and
//! its methods change nothing. Tests have `cheat_test.rs` in its place.

use std::marker::PhantomData;

use crate::algebra::F;

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

    /// (index of the committed witness, what is added to it).
    pub fn witness_edits(&self) -> impl Iterator<Item = (usize, F)> {
        std::iter::empty()
    }

    pub fn helper(&self, _: &mut [F]) {}

    /// (index of the multiplicities of all tables, what is added to it).
    pub fn multiplicity_edits(&self) -> impl Iterator<Item = (usize, F)> {
        std::iter::empty()
    }

    pub fn mask(&self, mask: F) -> F {
        mask
    }
}

impl Shift<'_> {
    pub fn apply(self, _: usize, value: F) -> F {
        value
    }
}
