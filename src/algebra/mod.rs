//! The field, small integers in it, multilinear extensions and batch inversion.

pub mod eq;
pub mod field;
pub(crate) mod packed;
pub mod small;

pub use eq::{eq_at, eq_table, prefix_at};
pub use field::{F, batch_invert, from_i128, inner_product, pow2, powers};
pub use small::{Limbs, SmallAccumulator, small_inner_product};
