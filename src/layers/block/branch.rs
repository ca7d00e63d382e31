//! What a block adds to the residual stream: an accumulator rounded to the stream's format, or the norm of that, times
//! its gain.

use super::{Builder, Vector, norm_shape};
use crate::ops::{
    Accumulator, Digits, Gain, Norm, NormSite, Overflow, Recorder, Rescaled, Vars, gained,
    multiply_gain,
};
use crate::quant::NormScale;
use crate::system::{Bind, Form};

/// One of the two branches.
#[derive(Clone, Debug)]
pub struct Branch {
    rounded: Rescaled,
    /// The norm behind, and what it gives times its gain.
    behind: Option<(Norm, Rescaled)>,
    output: Digits,
}

impl Branch {
    /// What is added, as a form on (slab, token, lane).
    pub fn output(&self, vars: &Vars) -> Form {
        self.output.form(&vars.input.binds(vars.token))
    }

    /// What is added, from its accumulator, `[slab][token][lane]`.
    pub fn run(
        &self,
        accumulator: &[i128],
        gain: &[i64],
        tokens: usize,
        recorder: &mut Recorder,
    ) -> Result<Vec<i64>, Overflow> {
        let rounded = self.rounded.run(accumulator, recorder)?;
        let Some((norm, rescaled)) = &self.behind else {
            return Ok(rounded);
        };
        let z = norm.run(&rounded, recorder)?;
        rescaled.run(&multiply_gain(gain, &z, tokens), recorder)
    }
}

impl Builder<'_> {
    /// Declares a branch: its accumulator and by how many bits that is above the stream, and the norm behind it.
    pub(super) fn branch(
        &mut self,
        name: &str,
        (accumulator, shift): (Accumulator, u32),
        (norm, gain): (Option<NormScale>, Vector),
    ) -> Branch {
        let site = self.site(self.vars.output);
        let Some(scale) = norm else {
            let (rounded, output) = self.rescaled(name, 2, shift, accumulator, &site);
            return Branch {
                rounded,
                behind: None,
                output,
            };
        };
        let before = format!("{name} before its norm");
        let (rounded, digits) = self.rescaled(&before, 2, shift, accumulator, &site);
        let (a, s) = (&self.manifest.architecture, &self.manifest.scales);
        let shape = norm_shape(a, s, scale, 1).expect("the manifest was checked");
        let number = gain.number(a).expect("a norm behind has a gain");
        let shift = scale.output + s.gain - s.residual;
        let stream = NormSite::stream(&self.vars, a.width);
        let binds = self.vars.input.binds(self.vars.token);
        let norm_name = format!("{name} norm");
        let norm = Norm::declare(
            &mut self.system,
            &norm_name,
            &stream,
            &digits.form(&binds),
            shape,
        );
        let slabs = self.vars.input.slabs();
        let gain = Gain::declare(&mut self.system, &format!("{name} gain"), number, slabs);
        let [slab, lane] = [self.vars.input.slab, self.vars.input.lane];
        let gain = gain.form([Bind::Var(slab), Bind::Var(lane)]);
        let accumulator = gained(vec![slab, lane], gain, norm.output().form(&binds));
        let site = self.site(self.vars.input);
        let (rescaled, output) = self.rescaled(name, 2, shift, accumulator, &site);
        Branch {
            rounded,
            behind: Some((norm, rescaled)),
            output,
        }
    }
}
