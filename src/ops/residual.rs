//! The residual stream: what enters a layer, and what leaves it.
//!
//! ```text
//! input:   h = h₀ + 2^16·h₁ = boundary in        h₀ ∈ [0, 2^16), h₁ ∈ [−2^15, 2^15)
//! output:  Σ parts = boundary out
//! ```
//!
//! A layer range-checks what it reads, so that its own bounds do not depend on its neighbour's
//! proof; what it writes is an exact sum of range-checked parts.
//!
//! | column | a cheating prover cannot choose it because |
//! | --- | --- |
//! | h₀, h₁ | the digits of a committed 32-bit value are unique |
//! | boundary out | it is a sum |

use super::{Digits, LANES, Overflow, Recorder, Vars};
use crate::algebra::F;
use crate::system::{Form, Relation, Rhs, Segment, System};

/// The residual stream's width in bits.
pub const RESIDUAL_BITS: u32 = 32;

/// What enters a layer, as a 32-bit tensor.
#[derive(Clone, Debug)]
pub struct Input {
    digits: Digits,
}

impl Input {
    /// Declares the boundary and its digits.
    pub fn declare(system: &mut System, vars: &Vars) -> Self {
        let lens = [vars.input.slabs(), vars.tokens, LANES];
        let boundary = system.column("h in", Segment::BoundaryIn, &lens);
        let digits = Digits::signed(system, "h", &lens, RESIDUAL_BITS / 16);
        let mut rhs = digits.rhs(F::one(), &vars.input.binds(vars.token));
        rhs.push(Rhs::of(-F::one(), vars.input.view(boundary, vars.token)));
        system.relate(Relation {
            name: "h in".into(),
            check: vec![],
            terms: vec![],
            rhs,
        });
        Self { digits }
    }

    /// h as a form on (slab, token, lane).
    pub fn form(&self, vars: &Vars) -> Form {
        self.digits.form(&vars.input.binds(vars.token))
    }

    /// Records h.
    pub fn run(&self, h: &[i64], recorder: &mut Recorder) -> Result<(), Overflow> {
        self.digits.put(recorder, h)
    }
}

/// What leaves a layer: the boundary alone, which is no witness column.
#[derive(Clone, Copy, Debug)]
pub struct Output;

impl Output {
    /// Declares the boundary as the sum of `parts`, forms on (slab, token, lane) that are at τ.
    pub fn declare(system: &mut System, vars: &Vars, parts: &[Form]) -> Self {
        let lens = [vars.input.slabs(), vars.tokens, LANES];
        let boundary = system.column("h out", Segment::BoundaryOut, &lens);
        let mut rhs: Vec<Rhs> = parts.iter().flat_map(|p| p.rhs(F::one())).collect();
        rhs.push(Rhs::of(-F::one(), vars.input.view(boundary, vars.token)));
        system.relate(Relation {
            name: "h out".into(),
            check: vec![],
            terms: vec![],
            rhs,
        });
        Self
    }

    /// The sum of the parts, which must be 32-bit: the next layer will read it.
    pub fn run(self, parts: &[&[i64]]) -> Result<Vec<i64>, Overflow> {
        let sum: Vec<i64> = (0..parts[0].len())
            .map(|x| parts.iter().map(|p| p[x]).sum())
            .collect();
        let limit = 1i128 << (RESIDUAL_BITS - 1);
        let values = sum.iter().map(|v| i128::from(*v));
        Overflow::check("the residual stream", values, -limit, limit - 1)?;
        Ok(sum)
    }
}
