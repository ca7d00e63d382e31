//! The ops of the integer model. Each file holds one op: its equation, how it is run, the columns
//! and relations that prove it, and the bounds under which an equation in F is one of integers.
//!
//! An op is *declared* on a system (which fixes its columns and relations and depends on shapes
//! and scales alone) and then *run* on integers. Running computes the op's output exactly and, if
//! the [`Recorder`] is on, fills the op's columns.
//!
//! `product` multiplies matrices of integers, exactly, by way of `gemm`; `ordered` those of the
//! floating-point reference, rounded in one order.
//!
//! Tensors are `[slab][token][lane]`: features are cut into slabs of [`LANES`], the last filled up with zeros; an attention
//! head is one slab, or two or four consecutive ones.

mod attention;
mod digits;
mod gain;
pub(crate) mod gemm;
mod greedy;
mod linear;
mod norm;
pub(crate) mod ordered;
mod product;
mod recorder;
mod rescale;
mod residual;
mod rotary;
mod select;
mod vars;

pub use crate::quant::{EXP_BITS, EXP_FRACTION, IS_ZERO_BITS, LANES};
pub use attention::{Attention, AttentionShape, lookup};
pub use digits::Digits;
pub use gain::{Gain, gained, multiply_gain};
pub use greedy::{Greedy, argmax, scores};
pub use linear::{Linear, accumulate};
pub use norm::{Norm, NormShape, NormSite, Normalized};
pub use product::multiply;
pub use recorder::Recorder;
pub use rescale::{Accumulator, Rescale, Rescaled, Site};
pub use residual::{Input, Output};
pub use rotary::Rotary;
pub use select::Select;
pub use vars::{Features, HeadSide, Heads, Vars, contracted};

use thiserror::Error;

use crate::system::{Table, TableId};

/// The function tables that running a model reads, by key: value(k) = `values[k − first_key]`.
#[derive(Clone, Copy, Debug)]
pub struct Tables<'a> {
    /// [`crate::system::TableId::Exp`]: 2^[`EXP_BITS`] keys from 0.
    pub exp: &'a Table,
    /// [`crate::system::TableId::IsZero`]: 2^[`IS_ZERO_BITS`] keys from 0.
    pub is_zero: &'a Table,
    /// [`crate::system::TableId::Activation`]: keys in [−2^15, 2^15).
    pub activation: &'a Table,
}

impl<'a> From<&'a crate::quant::Tables> for Tables<'a> {
    fn from(tables: &'a crate::quant::Tables) -> Self {
        Self {
            exp: tables.get(TableId::Exp),
            is_zero: tables.get(TableId::IsZero),
            activation: tables.get(TableId::Activation),
        }
    }
}

/// A value that does not fit where the model keeps it: at these scales this input cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{tensor} reaches {value}, outside its limits {least} to {most}")]
pub struct Overflow {
    pub tensor: String,
    pub value: i128,
    pub least: i128,
    pub most: i128,
}

impl Overflow {
    /// Checks that all `values` lie in `least..=most`.
    pub fn check(
        tensor: &str,
        values: impl IntoIterator<Item = i128>,
        least: i128,
        most: i128,
    ) -> Result<(), Self> {
        match values.into_iter().find(|v| *v < least || *v > most) {
            Some(value) => Err(Self {
                tensor: tensor.into(),
                value,
                least,
                most,
            }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
pub mod testing;
