//! The variables of a layer, and features as pairs of them.
//!
//! Which coordinates variables share is a matter of economy: claims on weight matrices fold into
//! one row if their low coordinates agree, and the number of sumcheck rounds is the number of
//! coordinates. Variables that meet on one side of a relation must not share any:
//!
//! ```text
//! coordinate   0 … 5      6 … 6+s     … 6+max(s, w)   then
//!              lane       slab                        token    (token j: what slab and token leave free)
//!              lane_out   slab_out
//!                         wide slab ────────────┘
//! ```
//!
//! Contracted features come in as (slab, lane) and leave as (slab_out, lane_out) on the same
//! coordinates, the former at r, the latter at τ.

use crate::system::{Bind, ColumnId, Live, System, VarId, View};

/// The width of a slab, and of an attention head.
pub const LANES: usize = 64;

const LANE_BITS: usize = LANES.trailing_zeros() as usize;

/// Index bits of a slab variable, at least: a committed row of a weight matrix holds 2^14 values,
/// four tiles of 64 × 64, even if the matrix has fewer.
const MIN_SLAB_BITS: usize = 2;

/// A feature dimension in one role: n features as (slab, lane).
#[derive(Clone, Copy, Debug)]
pub struct Features {
    pub slab: VarId,
    pub lane: VarId,
    /// n. Where a tensor is `[slab][token][lane]` a multiple of [`LANES`].
    pub len: usize,
}

impl Features {
    /// The number of slabs that exist.
    pub fn slabs(&self) -> usize {
        self.len.div_ceil(LANES)
    }

    /// `[slab][token][lane]` of a column.
    pub fn view(&self, column: ColumnId, token: VarId) -> View {
        View::new(column, &self.binds(token))
    }

    /// The binds of a tensor `[slab][token][lane]`.
    pub fn binds(&self, token: VarId) -> [Bind; 3] {
        [Bind::Var(self.slab), Bind::Var(token), Bind::Var(self.lane)]
    }

    /// A vector of n values.
    pub fn vector(&self, column: ColumnId) -> View {
        View::new(column, &[Bind::Pair(self.lane, self.slab)])
    }

    /// The set of features that exist.
    pub fn live(&self) -> Live {
        if self.len.is_multiple_of(LANES) {
            Live {
                vars: vec![self.slab],
                len: self.slabs(),
            }
        } else {
            self.prefix(self.len)
        }
    }

    /// The set of features below `len`.
    pub fn prefix(&self, len: usize) -> Live {
        Live {
            vars: vec![self.lane, self.slab],
            len,
        }
    }
}

/// The variables of a layer.
#[derive(Clone, Copy, Debug)]
pub struct Vars {
    /// The model's width as what is contracted, or what an op works on.
    pub input: Features,
    /// The model's width as the result of a contraction.
    pub output: Features,
    /// The layer's second dimension (feed-forward width, vocabulary) as what is contracted.
    pub wide: Features,
    /// The same as the result of a contraction.
    pub wide_output: Features,
    /// Token i.
    pub token: VarId,
    /// Token j, to which i attends.
    pub past: VarId,
    /// T', a power of two.
    pub tokens: usize,
}

impl Vars {
    /// The variables of a block: `wide` is the feed-forward width.
    pub fn block(system: &mut System, width: usize, wide: usize, tokens: usize) -> Self {
        let start = LANE_BITS + slab_bits(width).max(slab_bits(wide));
        Self::declare(system, width, wide, tokens, start)
    }

    /// The variables of an embedding or a head: `wide` is the vocabulary, whose slabs and the
    /// tokens never meet on one side, so that they share coordinates.
    pub fn end(system: &mut System, width: usize, wide: usize, tokens: usize) -> Self {
        Self::declare(system, width, wide, tokens, LANE_BITS + slab_bits(width))
    }

    fn declare(
        system: &mut System,
        width: usize,
        wide: usize,
        tokens: usize,
        token_start: usize,
    ) -> Self {
        assert!(tokens.is_power_of_two(), "a sequence is padded to 2^t");
        let t = tokens.trailing_zeros() as usize;
        let slab_end = LANE_BITS + slab_bits(width);
        let token_coords = token_start..token_start + t;
        let past = (0..)
            .filter(|c| !(LANE_BITS..slab_end).contains(c) && !token_coords.contains(c))
            .take(t);
        let (lane, lane_out) = (
            system.var("lane", 0..LANE_BITS),
            system.var("lane_out", 0..LANE_BITS),
        );
        let mut features = |name, lane, len| Features {
            slab: system.var(name, LANE_BITS..LANE_BITS + slab_bits(len)),
            lane,
            len,
        };
        Self {
            input: features("slab", lane, width),
            output: features("slab_out", lane_out, width),
            wide: features("wide_slab", lane, wide),
            wide_output: features("wide_slab_out", lane_out, wide),
            token: system.var("token", token_coords.clone()),
            past: system.var("past", past),
            tokens,
        }
    }
}

/// Index bits of the slabs of n features.
pub fn slab_bits(n: usize) -> usize {
    let slabs = n.div_ceil(LANES).next_power_of_two();
    (slabs.trailing_zeros() as usize).max(MIN_SLAB_BITS)
}

/// Declares one more feature dimension that is contracted, on the lane of `like`.
pub fn contracted(system: &mut System, name: &'static str, len: usize, like: Features) -> Features {
    Features {
        slab: system.var(name, LANE_BITS..LANE_BITS + slab_bits(len)),
        lane: like.lane,
        len,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coords(system: &System, var: VarId) -> &[usize] {
        &system.vars[var.0].coords
    }

    /// Slab, token i and token j meet at τ and at r in attention; the wide slab and the token in
    /// the feed-forward part.
    #[test]
    fn variables_that_meet_are_disjoint() {
        for (width, hidden, tokens) in [
            (64, 256, 4),
            (768, 3072, 16),
            (192, 768, 8),
            (768, 3072, 1024),
        ] {
            let mut system = System::default();
            let v = Vars::block(&mut system, width, hidden, tokens);
            let mut all: Vec<usize> = [v.input.slab, v.token, v.past]
                .iter()
                .flat_map(|x| coords(&system, *x))
                .copied()
                .collect();
            all.sort_unstable();
            let n = all.len();
            all.dedup();
            assert_eq!(all.len(), n, "{width} {tokens}");
            let wide = coords(&system, v.wide.slab);
            assert!(
                coords(&system, v.token).iter().all(|c| !wide.contains(c)),
                "{width}"
            );
        }
    }

    #[test]
    fn gpt2_at_16_tokens_takes_16_rounds() {
        let mut system = System::default();
        Vars::block(&mut system, 768, 3072, 16);
        assert_eq!(system.coordinates(), 16);
    }
}
