//! The gain of a norm that no linear map follows at once: a committed vector, lane by lane.
//!
//! ```text
//! acc(i, k) = γ_k·z(i, k)
//! ```
//!
//! k stands in two factors, so it is checked. Where a rotation follows, γ is a factor of that (see [`super::rotary`]).
//!
//! | column | a cheating prover cannot choose it because |
//! | --- | --- |
//! | γ | it is committed in the verifying key |
//! | acc | no column: it is rescaled (see [`super::rescale`]) |
//!
//! Bounds: |γ| < 2^63 and |z| ≤ 2^15: |acc| < 2^78. γ is not range-checked: see [`super::linear`].

use super::LANES;
use super::rescale::Accumulator;
use crate::algebra::F;
use crate::system::{Bind, ColumnId, Form, Segment, System, Term, VarId, View};

/// A committed gain, `[slab][lane]`.
#[derive(Clone, Copy, Debug)]
pub struct Gain {
    column: ColumnId,
}

impl Gain {
    /// Declares vector number `number` of the layer, in as many slabs.
    pub fn declare(system: &mut System, name: &str, number: usize, slabs: usize) -> Self {
        let lens = [slabs, LANES];
        Self {
            column: system.column(name, Segment::Vector(number), &lens),
        }
    }

    /// γ as a factor, its slab and lane bound.
    pub fn form(&self, binds: [Bind; 2]) -> Form {
        Form::of(View::new(self.column, &binds))
    }
}

/// γ∘z, both forms on the variables `checked`.
pub fn gained(checked: Vec<VarId>, gain: Form, z: Form) -> Accumulator {
    Accumulator {
        check: checked,
        terms: vec![Term::new(F::one(), &[], vec![gain, z])],
        offsets: vec![],
    }
}

/// γ∘z for z `[slab][token][lane]`; a gain of fewer slabs is that of each head.
pub fn multiply_gain(gain: &[i64], z: &[i64], tokens: usize) -> Vec<i128> {
    let gains = gain.chunks(LANES).cycle();
    let slabs = z.chunks(tokens * LANES).zip(gains);
    let product = |(z, gain): (&i64, &i64)| i128::from(*z) * i128::from(*gain);
    slabs
        .flat_map(|(z, gain)| z.iter().zip(gain.iter().cycle()).map(product))
        .collect()
}
