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

use crate::quant::{Architecture, LANES, ceil_log2};
use crate::system::{Bind, ColumnId, Live, System, VarId, View};

const LANE_BITS: usize = LANES.trailing_zeros() as usize;

/// Index bits of a slab variable, at least, even if there are fewer slabs. (A committed row of a weight matrix holds at most as many tiles of
/// 64 × 64 as there are slabs of inputs: `proof::row_bits`.)
const MIN_SLAB_BITS: usize = 2;

/// A feature dimension in one role: n features as (slab, lane).
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// The slab, or its upper bits where `part` is the lowest.
    pub slab: VarId,
    /// Where slabs come in twos or fours that some op tells apart: which of them.
    pub part: Option<VarId>,
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
        [self.slab_bind(), Bind::Var(token), Bind::Var(self.lane)]
    }

    /// What a dimension of slabs is bound to.
    pub fn slab_bind(&self) -> Bind {
        match self.part {
            None => Bind::Var(self.slab),
            Some(part) => Bind::Pair(part, self.slab),
        }
    }

    /// All its variables: what is summed over where features are contracted.
    pub fn vars(&self) -> Vec<VarId> {
        let part = self.part.into_iter();
        part.chain([self.slab, self.lane]).collect()
    }

    /// A vector of n values. Panics if slabs come in twos or fours.
    pub fn vector(&self, column: ColumnId) -> View {
        assert!(self.part.is_none(), "a vector's slab is one variable");
        View::new(column, &[Bind::Pair(self.lane, self.slab)])
    }

    /// The set of features that exist.
    pub fn live(&self) -> Live {
        if self.len.is_multiple_of(LANES) {
            Live {
                vars: self.part.into_iter().chain([self.slab]).collect(),
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
    /// The variables of a block: `wide` is the feed-forward width. `queries` is that of all heads of queries.
    pub fn block(
        system: &mut System,
        width: usize,
        (wide, queries): (usize, usize),
        tokens: usize,
    ) -> Self {
        let slabs = slab_bits(width).max(slab_bits(queries));
        let start = LANE_BITS + slabs.max(slab_bits(wide));
        Self::declare(system, (width, wide), tokens, (LANE_BITS + slabs, start))
    }

    /// The variables of an embedding or a head: `wide` is the vocabulary, whose slabs and the
    /// tokens never meet on one side, so that they share coordinates.
    pub fn end(system: &mut System, width: usize, wide: usize, tokens: usize) -> Self {
        let slab_end = LANE_BITS + slab_bits(width);
        Self::declare(system, (width, wide), tokens, (slab_end, slab_end))
    }

    /// `slab_end`: behind the coordinates of slabs and heads, which token j meets.
    fn declare(
        system: &mut System,
        (width, wide): (usize, usize),
        tokens: usize,
        (slab_end, token_start): (usize, usize),
    ) -> Self {
        assert!(tokens.is_power_of_two(), "a sequence is padded to 2^t");
        let t = tokens.trailing_zeros() as usize;
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
            part: None,
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
        part: None,
        lane: like.lane,
        len,
    }
}

/// Queries, or keys, for an op that works on them alone.
#[derive(Clone, Copy, Debug)]
pub struct HeadSide {
    /// The head: the slab, or its upper bits.
    pub head: VarId,
    pub slabs: usize,
}

/// A block's attention heads.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Queries and head sums; the slab variable is the head.
    pub queries: Features,
    /// The same as the result of a contraction.
    pub queries_output: Features,
    /// The keys and values that a query's head reads: on other coordinates than its own where heads
    /// share them, otherwise the same.
    pub keys: Features,
    /// Keys and values as the result of a contraction.
    pub keys_output: Features,
    /// Slabs per head.
    parts: usize,
}

impl Heads {
    /// The heads of a block with these variables.
    pub fn declare(system: &mut System, vars: &Vars, a: &Architecture) -> Self {
        let part_bits = (a.head_lanes() / LANES).trailing_zeros() as usize;
        let paired = part_bits > 0;
        let part = paired.then(|| system.var("part", LANE_BITS..LANE_BITS + part_bits));
        let len = a.query_lanes();
        // Heads that fill the stream's slabs stand where those do.
        let same = len == vars.input.len;
        let mut slabs = |name, first, len| system.var(name, first..LANE_BITS + slab_bits(len));
        let queries = Features {
            slab: match same && !paired {
                true => vars.input.slab,
                false => slabs("head", LANE_BITS + part_bits, len),
            },
            part,
            lane: vars.input.lane,
            len,
        };
        let queries_output = match same {
            true => vars.output,
            false => Features {
                slab: slabs("query_slab_out", LANE_BITS, len),
                len,
                ..vars.output
            },
        };
        if a.group() == 1 {
            return Self {
                queries,
                queries_output,
                keys: queries,
                keys_output: queries_output,
                parts: 1 << part_bits,
            };
        }
        let len = a.key_lanes();
        let keys_output = slabs("key_slab_out", LANE_BITS, len);
        let coords = vars.shared_coords(system, &queries, ceil_log2(a.kv_heads) as usize);
        let keys = Features {
            slab: system.var("key_head", coords),
            part,
            lane: vars.input.lane,
            len,
        };
        Self {
            queries,
            queries_output,
            keys,
            parts: 1 << part_bits,
            keys_output: Features {
                slab: keys_output,
                len,
                ..vars.output
            },
        }
    }

    /// The variable of the heads of `slabs` slabs where an op works on queries or keys alone: for keys another than
    /// [`Heads::keys`] has, which is summed over beside that of queries.
    pub fn side(&self, system: &mut System, name: &'static str, slabs: usize) -> HeadSide {
        let first = LANE_BITS + self.parts.trailing_zeros() as usize;
        let head = system.var(name, first..LANE_BITS + slab_bits(slabs * LANES));
        HeadSide { head, slabs }
    }

    /// The number of heads of queries.
    pub fn count(&self) -> usize {
        self.queries.slabs() / self.parts()
    }

    /// The number of heads of keys and values.
    pub fn key_count(&self) -> usize {
        self.keys.slabs() / self.parts()
    }

    /// Slabs per head.
    pub fn parts(&self) -> usize {
        self.parts
    }
}

impl Vars {
    /// Coordinates for a head of keys that is summed over beside the head of queries, the lanes and
    /// the token j: those of token i, and new ones.
    fn shared_coords(&self, system: &System, queries: &Features, bits: usize) -> Vec<usize> {
        let coords = |var: VarId| system.vars[var.0].coords.iter().copied();
        let input = queries.vars().into_iter().flat_map(coords);
        let taken: Vec<usize> = input
            .chain(coords(self.past))
            .chain(coords(self.token))
            .collect();
        let new = (0..).filter(|c| !taken.contains(c));
        coords(self.token).chain(new).take(bits).collect()
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
            let v = Vars::block(&mut system, width, (hidden, width), tokens);
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
        Vars::block(&mut system, 768, (3072, 768), 16);
        assert_eq!(system.coordinates(), 16);
    }
}
