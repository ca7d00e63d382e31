//! Rotary positions: pairs of a head's lanes, turned by an angle that grows with the position.
//!
//! ```text
//! acc(i, m)       = cos_im·x(i, m) − sin_im·x(i, m + w/2)
//! acc(i, m + w/2) = sin_im·x(i, m) + cos_im·x(i, m + w/2)         m < w/2, w the head's width
//! ```
//!
//! with cosines and sines rounded to [`ROTATION_BITS`] bits: a linear map with public coefficients,
//! of an exact x, rescaled afterwards. (Su et al., *RoFormer*; pairs as in Hugging Face's files.)
//!
//! An index of a head is (pair m, half b): the relation checks i and m (and, where a half is a slab or two,
//! the head), sums over b and leaves the
//! result's half b' free, with the coefficients as a public factor on (b', b, m, i). Where queries and keys are
//! normalized, x is a norm's output, and its gain one more factor (see [`super::gain`]).
//!
//! | column | a cheating prover cannot choose it because |
//! | --- | --- |
//! | x | exact: the projection's accumulator |
//! | acc | no column: it is rescaled (see [`super::rescale`]) |
//!
//! Bounds: |acc| ≤ 2·2^14·max|x|.

use std::sync::{Mutex, PoisonError};

use super::rescale::{Accumulator, Site};
use super::{HeadSide, Heads, LANES, Vars};
use crate::algebra::F;
use crate::quant::{MAX_KINDS, rotation_entry};
use crate::system::{Bind, Form, Live, Public, System, Tensor, Term, VarId};

/// The rotation of T' positions, as a public factor.
#[derive(Clone, Debug)]
pub struct Rotary {
    token: VarId,
    tokens: usize,
    lane: VarId,
    /// m: the lanes, or half of them, or the lanes and which of two slabs.
    pair: VarId,
    low_part: Option<VarId>,
    /// b, and b' of the result.
    half: VarId,
    half_out: VarId,
    /// The slabs of a head.
    parts: usize,
    /// `[i][m][b][b']`.
    values: Tensor,
}

impl Rotary {
    /// Declares the variables of pairs and halves. `turns` has an entry for each pair.
    pub fn declare(system: &mut System, vars: &Vars, heads: &Heads, turns: &[u64]) -> Self {
        let lane_bits = LANES.trailing_zeros() as usize;
        // A head's lanes are coordinates 0 to `bits`: half is the last of them, pair the others.
        let bits = lane_bits + heads.parts().trailing_zeros() as usize;
        let mut half = |name| system.var(name, [bits - 1]);
        let (half, half_out) = (half("half"), half("half_out"));
        let (pair, low_part) = match heads.parts() {
            1 => (system.var("pair", 0..lane_bits - 1), None),
            2 => (vars.input.lane, None),
            _ => (
                vars.input.lane,
                Some(system.var("low_part", lane_bits..bits - 1)),
            ),
        };
        Self {
            token: vars.token,
            tokens: vars.tokens,
            lane: vars.input.lane,
            pair,
            low_part,
            half,
            half_out,
            parts: heads.parts(),
            values: LAST.table(turns, vars.tokens),
        }
    }

    /// The rotated `x`, `[slab][token][lane]`; lane by lane times a committed `gain`, of each head or of the `whole`, if
    /// there is one.
    pub fn accumulator(&self, of: HeadSide, x: Form, gain: Option<(Form, bool)>) -> Accumulator {
        let pair = [self.pair].into_iter().chain(self.low_part);
        let vars = [self.half_out, self.half].into_iter().chain(pair.clone());
        let table = Public::Table {
            vars: vars.chain([self.token]).collect(),
            values: self.values.clone(),
        };
        // A dimension is bound to one side: the head goes with the slab that is a half. And where two factors depend on it.
        let whole = gain.as_ref().is_some_and(|(_, whole)| *whole);
        let head = (self.parts > 1 || whole).then_some(of.head);
        let factors = gain.map(|(gain, _)| gain).into_iter().chain([x]).collect();
        Accumulator {
            check: [self.token].into_iter().chain(pair).chain(head).collect(),
            terms: vec![Term::new(F::one(), &[self.half], factors).public(table)],
            offsets: vec![],
        }
    }

    /// How a relation speaks of what is rotated, `[slab][token][lane]`.
    pub fn binds(&self, of: HeadSide) -> [Bind; 3] {
        self.binds_of(of, self.half)
    }

    /// How it speaks of a gain, `[slab][lane]`: that of each head, or of all.
    pub fn gain_binds(&self, of: HeadSide, whole: bool) -> [Bind; 2] {
        let [slab, _, lane] = self.binds(of);
        let within = match (self.parts, self.low_part) {
            _ if whole => slab,
            (1, _) => Bind::Fixed(0),
            (_, None) => Bind::Var(self.half),
            (_, Some(low)) => Bind::Pair(low, self.half),
        };
        [within, lane]
    }

    /// Where the result stands.
    pub fn site(&self, of: HeadSide) -> Site {
        let part = (self.parts > 1).then_some(self.half_out);
        Site {
            lens: [of.slabs, self.tokens, LANES],
            binds: self.binds_of(of, self.half_out),
            live: Live {
                vars: self
                    .low_part
                    .into_iter()
                    .chain(part)
                    .chain([of.head])
                    .collect(),
                len: of.slabs,
            },
        }
    }

    fn binds_of(&self, of: HeadSide, half: VarId) -> [Bind; 3] {
        let (head, token) = (of.head, Bind::Var(self.token));
        match (self.parts, self.low_part) {
            (1, _) => [Bind::Var(head), token, Bind::Pair(self.pair, half)],
            (_, None) => [Bind::Pair(half, head), token, Bind::Var(self.lane)],
            (_, Some(low)) => [Bind::Triple(low, half, head), token, Bind::Var(self.lane)],
        }
    }

    /// The accumulators for x, both `[slab][token][lane]`.
    pub fn run(&self, x: &[i128]) -> Vec<i128> {
        // The partner of an entry: half of a slab, or of a head's slabs, away.
        let slab = self.tokens * LANES;
        let pairs = self.values.len() / (4 * self.tokens);
        let place = |at: usize| {
            let (s, i, lane) = (at / slab, at / LANES % self.tokens, at % LANES);
            let lane = s % self.parts * LANES + lane;
            (i, lane % pairs, lane / pairs)
        };
        let step = match self.parts {
            1 => LANES / 2,
            parts => parts / 2 * slab,
        };
        (0..x.len())
            .map(|at| {
                let (i, m, half) = place(at);
                let entry = |from: usize| self.values[4 * (i * pairs + m) + 2 * from + half];
                let partner = if half == 0 { at + step } else { at - step };
                x[at] * i128::from(entry(half)) + x[partner] * i128::from(entry(1 - half))
            })
            .collect()
    }
}

/// The last tables of coefficients: the blocks of a model have a few in common, and they may be large. They are made
/// where they are first read.
static LAST: Last = Last(Mutex::new(Vec::new()));

/// Turns, T' and the table they make: as many as a model has kinds of blocks, the last used behind.
struct Last(Mutex<Vec<(Vec<u64>, usize, Tensor)>>);

impl Last {
    /// The table for T' positions.
    fn table(&self, turns: &[u64], tokens: usize) -> Tensor {
        // Whoever panicked with it left it as it was.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.iter().position(|(t, n, _)| t == turns && *n == tokens);
        let entry = known.map(|at| last.remove(at)).unwrap_or_else(|| {
            let all = turns.to_vec();
            let table = Tensor::new(4 * turns.len() * tokens, move || coefficients(&all, tokens));
            (turns.to_vec(), tokens, table)
        });
        let table = entry.2.clone();
        last.push(entry);
        let old = last.len().saturating_sub(MAX_KINDS);
        last.drain(..old);
        table
    }
}

/// `[i][m][b][b']`: what lane (m, b) contributes to lane (m, b') at position i.
fn coefficients(turns: &[u64], tokens: usize) -> Vec<i64> {
    (0..tokens as u64)
        .flat_map(|i| turns.iter().map(move |turn| turn.wrapping_mul(i)))
        .flat_map(|phase| {
            let (cos, sin) = rotation_entry(phase);
            [cos, sin, -sin, cos]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algebra::{from_i128, pow2};
    use crate::ops::testing::{Case, OwnedTables, Rng};
    use crate::ops::{Digits, Recorder, Rescale, Rescaled};
    use crate::quant::testing::llama;
    use crate::system::View;

    const TOKENS: usize = 4;

    /// A rotation of x alone: the system, and x with its rotation in floating point.
    struct Scene {
        system: System,
        witness: crate::system::Witness,
        x: Vec<i64>,
        q: Vec<i64>,
    }

    /// 2^64/(i + 3): no two pairs turn alike, and the first at more than a quarter a position.
    fn turns(pairs: usize) -> Vec<u64> {
        (0..pairs as u64).map(|m| u64::MAX / (m + 3)).collect()
    }

    fn scene(head_width: usize) -> Scene {
        let architecture = llama(1, 1, head_width);
        let mut system = System::default();
        let queries = architecture.query_lanes();
        let vars = Vars::block(&mut system, 192, (64, queries), TOKENS);
        let heads = Heads::declare(&mut system, &vars, &architecture);
        let rotary = Rotary::declare(&mut system, &vars, &heads, &turns(head_width / 2));
        let of = heads.side(&mut system, "query head", queries / LANES);
        let site = rotary.site(of);
        let column = system.exact("x", &site.lens);
        let quotient = Digits::signed(&mut system, "q", &site.lens, 1);
        let rescaled = Rescaled::declare(
            &mut system,
            "q",
            Rescale::new(14),
            quotient,
            rotary.accumulator(of, Form::of(View::new(column, &rotary.binds(of))), None),
            &site,
        );
        let x = Rng(8).vector(column_len(&site.lens), 20_000);
        let wide: Vec<i128> = x.iter().map(|x| i128::from(*x)).collect();
        let mut recorder = Recorder::on(&system);
        recorder.exact(column, wide.iter().copied());
        let q = rescaled
            .run(&rotary.run(&wide), &mut recorder)
            .expect("16-bit");
        Scene {
            system,
            witness: recorder.into_witness(),
            x,
            q,
        }
    }

    fn column_len(lens: &[usize]) -> usize {
        lens.iter().product()
    }

    /// Against the definition in floating point, at both head widths.
    #[test]
    fn rotations_are_those_of_the_paper() {
        for w in [64, 128] {
            let scene = scene(w);
            let at = |head: usize, i: usize, k: usize| {
                let feature = head * w + k;
                (feature / LANES * TOKENS + i) * LANES + feature % LANES
            };
            for (head, i, m) in [(0, 0, 5), (0, 1, 0), (1, 2, w / 2 - 1), (2, 3, 17)] {
                let turn = turns(w / 2)[m] as f64 / 2f64.powi(64);
                let (sin, cos) = (turn * i as f64 * std::f64::consts::TAU).sin_cos();
                let (low, high) = (at(head, i, m), at(head, i, m + w / 2));
                let (a, b) = (scene.x[low] as f64, scene.x[high] as f64);
                for (found, expected) in [
                    (scene.q[low], a * cos - b * sin),
                    (scene.q[high], a * sin + b * cos),
                ] {
                    // Half a unit of rounding, and two coefficients' errors of 2^-15.
                    assert!((found as f64 - expected).abs() < 2.0, "{w} {head} {i} {m}");
                }
            }
        }
    }

    /// A model of many blocks has one table in memory, and another T' or other turns another one.
    #[test]
    fn the_same_rotations_are_made_once() {
        let last = Last(Mutex::new(Vec::new()));
        let first = last.table(&turns(4), 8);
        assert!(std::ptr::eq(&*first, &*last.table(&turns(4), 8)));
        assert_eq!(*first, *coefficients(&turns(4), 8));
        for (turns, tokens) in [(turns(4), 4), (turns(5), 8), (vec![0; 4], 8)] {
            let other = last.table(&turns, tokens);
            assert_eq!(*other, *coefficients(&turns, tokens));
            assert!(other != first && format!("{other:?}") != format!("{first:?}"));
        }
        // Kinds of blocks in turns.
        for turns in [turns(4), vec![0; 4], turns(5)] {
            let [one, two] = [0; 2].map(|_| last.table(&turns, 8));
            assert!(std::ptr::eq(&*one, &*two));
        }
        assert!(std::ptr::eq(&*first, &*last.table(&turns(4), 8)));
        assert!(last.0.lock().unwrap().len() <= MAX_KINDS);
    }

    #[test]
    fn honest_rotations_hold_and_no_entry_is_free() {
        let tables = OwnedTables::build();
        for w in [64, 128, 256] {
            let scene = scene(w);
            let case = Case::new(&scene.system, &scene.witness, &tables, |_, _| vec![]);
            case.assert_holds();
            // The oracle takes a minute for the widest.
            if w < 256 {
                case.assert_every_column_is_bound(&[]);
            }
        }
    }

    /// The rotation of another position, of another pair, or backwards, with everything that
    /// follows as an honest prover would have it: the one relation tells.
    #[test]
    fn another_rotation_is_refused() {
        let tables = OwnedTables::build();
        let scene = scene(64);
        let (i, m) = (2, 3);
        let turn = turns(32)[m];
        for phase in [
            turn.wrapping_mul(3),
            turns(32)[4] * 2,
            turn.wrapping_mul(2).wrapping_neg(),
        ] {
            let mut case = Case::new(&scene.system, &scene.witness, &tables, |_, _| vec![]);
            let (cos, sin) = rotation_entry(phase);
            let (low, high) = (i * LANES + m, i * LANES + m + 32);
            let (a, b) = (scene.x[low], scene.x[high]);
            for (entry, acc) in [(low, cos * a - sin * b), (high, sin * a + cos * b)] {
                let rounded = acc + (1 << 13);
                case.set_integer("q", entry, from_i128((rounded >> 14).into()));
                let rest = i128::from(rounded & 0x3fff) << 2;
                case.set_integer("q rest", entry, from_i128(rest));
            }
            assert_eq!(case.failures(), ["q"]);
        }
    }

    /// A result off by one with the remainder adjusted is left to the remainder's range.
    #[test]
    fn a_wrong_result_is_left_to_the_range_check() {
        let tables = OwnedTables::build();
        let scene = scene(128);
        let mut case = Case::new(&scene.system, &scene.witness, &tables, |_, _| vec![]);
        let (q, rest) = (case.integer("q", 77), case.integer("q rest", 77));
        case.set_integer("q", 77, q + F::one());
        case.set_integer("q rest", 77, rest - pow2(16));
        assert_eq!(case.failures(), ["lookup of q rest[0]"]);
    }
}
