//! Queries or keys: projected, perhaps normalized, perhaps rotated, and rounded to 16 bits.

use super::{Builder, Map, Vector, head_norm_shape};
use crate::ops::{
    Accumulator, Digits, Features, Gain, HeadSide, Norm, NormSite, Overflow, Recorder, Rescaled,
    Rotary, Site, gained, multiply_gain,
};
use crate::quant::{HeadNorm, HeadNormScale};
use crate::system::{Bind, ColumnId, Form, VarId};

/// Queries or keys.
#[derive(Clone, Debug)]
pub struct ScoreSide {
    before: Before,
    rescaled: Rescaled,
}

/// What is between the projection and the rounding.
#[derive(Clone, Debug)]
enum Before {
    /// Nothing.
    Projection,
    /// The projection, exact, where it is rotated.
    Exact(ColumnId),
    /// The projection, rounded to 32 bits, and its norm.
    Normed(Box<(Rescaled, Norm)>),
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Which {
    map: Map,
    gain: Vector,
    is_query: bool,
}

pub(super) const QUERY: Which = Which {
    map: ("query", 0, Vector::QueryBias),
    gain: Vector::QueryGain,
    is_query: true,
};
pub(super) const KEY: Which = Which {
    map: ("key", 1, Vector::KeyBias),
    gain: Vector::KeyGain,
    is_query: false,
};

impl ScoreSide {
    /// Queries or keys from their projection, `[slab][token][lane]`.
    pub fn run(
        &self,
        projection: Vec<i128>,
        (gain, tokens): (&[i64], usize),
        rotary: Option<&Rotary>,
        recorder: &mut Recorder,
    ) -> Result<Vec<i64>, Overflow> {
        let turned = |x: Vec<i128>| match rotary {
            Some(rotary) => rotary.run(&x),
            None => x,
        };
        let accumulator = match &self.before {
            Before::Projection => projection,
            Before::Exact(column) => {
                recorder.exact(*column, projection.iter().copied());
                turned(projection)
            }
            Before::Normed(parts) => {
                let (rounded, norm) = &**parts;
                let x = rounded.run(&projection, recorder)?;
                let z = norm.run(&x, recorder)?;
                turned(multiply_gain(gain, &z, tokens))
            }
        };
        self.rescaled.run(&accumulator, recorder)
    }
}

impl Builder<'_> {
    /// Queries or keys of x.
    pub(super) fn score_side(
        &mut self,
        which: Which,
        x: &Form,
        rotary: Option<&Rotary>,
    ) -> (ScoreSide, Digits) {
        let (to, fraction, norm) = match which.is_query {
            true => (
                self.heads.queries_output,
                self.scales.q,
                self.scales.query_norm,
            ),
            false => (self.heads.keys_output, self.scales.k, self.scales.key_norm),
        };
        let name = which.map.0;
        let projection = self.linear(which.map, (self.vars.input, to), x);
        let (a, s) = (&self.manifest.architecture, &self.manifest.scales);
        let shift = s.score_accumulator(a, self.index, norm) - fraction;
        let (before, accumulator, site) = match (norm, rotary) {
            (Some(scale), _) => self.normed_side(which, (projection, to), scale, rotary),
            (None, None) => (Before::Projection, projection, self.site(to)),
            (None, Some(rotary)) => {
                let column = self.exact(&format!("{name} before rotation"), projection, to);
                let of = self.heads.side(&mut self.system, name, to.slabs());
                let x = Form::of(crate::system::View::new(column, &rotary.binds(of)));
                (
                    Before::Exact(column),
                    rotary.accumulator(of, x, None),
                    rotary.site(of),
                )
            }
        };
        let (rescaled, quotient) = self.rescaled(name, 1, shift, accumulator, &site);
        (ScoreSide { before, rescaled }, quotient)
    }

    /// The projection rounded to 32 bits and normalized; then its norm times the gain, rotated if they are.
    fn normed_side(
        &mut self,
        which: Which,
        (projection, to): (Accumulator, Features),
        scale: HeadNormScale,
        rotary: Option<&Rotary>,
    ) -> (Before, Accumulator, Site) {
        let (a, s) = (&self.manifest.architecture, &self.manifest.scales);
        let name = which.map.0;
        let shift = s.attention_accumulator(self.index) - scale.input;
        let whole = a.head_norm == Some(HeadNorm::Whole);
        let heads = if which.is_query { a.heads } else { a.kv_heads };
        let size = a.head_norm_size(heads).expect("they are normalized");
        let shape = head_norm_shape(a, size, scale).expect("the manifest was checked");
        let number = which.gain.number(a).expect("their norm has a gain");

        let before = format!("{name} before its norm");
        let site = self.site(to);
        let (rounded, digits) = self.rescaled(&before, 2, shift, projection, &site);
        let of = self.heads.side(&mut self.system, name, to.slabs());
        let site = NormSite::heads(&self.vars, &self.heads, of, whole);
        let tensor = site.tensor();
        let x = digits.form(&tensor.binds);
        let norm = Norm::declare(&mut self.system, &format!("{name} norm"), &site, &x, shape);
        let slabs = size.lanes / crate::ops::LANES;
        let gain = Gain::declare(&mut self.system, &format!("{name} gain"), number, slabs);
        let (accumulator, site) = match rotary {
            Some(rotary) => {
                let gain = gain.form(rotary.gain_binds(of, whole));
                let z = norm.output().form(&rotary.binds(of));
                (
                    rotary.accumulator(of, z, Some((gain, whole))),
                    rotary.site(of),
                )
            }
            None => {
                let (checked, binds) = self.gain_site(of, whole);
                let z = norm.output().form(&tensor.binds);
                (gained(checked, gain.form(binds), z), tensor)
            }
        };
        (Before::Normed(Box::new((rounded, norm))), accumulator, site)
    }

    /// What is checked where queries or keys are multiplied by a gain, and how the relation speaks of that.
    fn gain_site(&self, of: HeadSide, whole: bool) -> (Vec<VarId>, [Bind; 2]) {
        let (part, lane) = (self.heads.queries.part, self.vars.input.lane);
        let (slab, head) = match (whole, part) {
            (true, None) => (Bind::Var(of.head), Some(of.head)),
            (true, Some(part)) => (Bind::Pair(part, of.head), Some(of.head)),
            (false, None) => (Bind::Fixed(0), None),
            // The variables of one dimension are on one side: the head goes with its part.
            (false, Some(part)) => (Bind::Var(part), Some(of.head)),
        };
        let checked = [lane].into_iter().chain(part).chain(head).collect();
        (checked, [slab, Bind::Var(lane)])
    }
}
