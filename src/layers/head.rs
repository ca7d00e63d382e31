//! The head: the final norm, the logits at the output positions and the greedy choice.

use super::{LayerKind, RunError, block};
use crate::ops::{
    Greedy, Input, LANES, Norm, NormShape, NormSite, Overflow, Recorder, Vars, argmax, scores,
};
use crate::quant::{Architecture, IntMatrix, IntegerModel, Manifest, Scales};
use crate::system::System;

/// The declared head.
#[derive(Clone, Debug)]
pub struct Head {
    system: System,
    input: Input,
    norm: Norm,
    greedy: Greedy,
    outputs: Vec<(usize, usize)>,
}

/// The head's system for T' tokens and the outputs (position, token).
pub fn head_system(manifest: &Manifest, tokens: usize, outputs: &[(usize, usize)]) -> System {
    Head::new(manifest, tokens, outputs).system
}

/// The constants of the final norm.
pub(super) fn norm_shape(a: &Architecture, s: &Scales) -> Option<NormShape> {
    block::norm_shape(a, s, s.final_norm, 1).map(|shape| shape.lifted(&s.final_lifts))
}

/// The matrix of the head: its own, or the token embedding.
pub(super) fn matrix(model: &IntegerModel) -> &IntMatrix {
    model.head.matrix.as_ref().unwrap_or(&model.tokens)
}

impl Head {
    /// Declares the head of a manifest that [`super::check`] accepts, for T' tokens and at least
    /// one output, all in range. Vectors are the norm's gain and, where there are, its bias and that of the logits; matrix
    /// 0 is the vocabulary's.
    pub fn new(manifest: &Manifest, tokens: usize, outputs: &[(usize, usize)]) -> Self {
        let (a, s) = (&manifest.architecture, &manifest.scales);
        let mut system = System::default();
        let vars = Vars::end(&mut system, a.stream(), a.vocabulary, tokens);
        let input = Input::declare(&mut system, &vars);
        let shape = norm_shape(a, s).expect("the manifest was checked");
        let h = input.form(&vars);
        let site = NormSite::stream(&vars, a.width);
        let norm = Norm::declare(&mut system, "final norm", &site, &h, shape);
        let z = (norm.output(), [a.biases.final_norm, a.biases.head]);
        let greedy = Greedy::declare(&mut system, &vars, z, outputs);
        Self {
            system,
            input,
            norm,
            greedy,
            outputs: outputs.to_vec(),
        }
    }

    /// The declared system.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// Checks that the outputs are the greedy choices, and records why.
    pub fn run(
        &self,
        model: &IntegerModel,
        h: &[i64],
        recorder: &mut Recorder,
    ) -> Result<(), RunError> {
        let overflow = RunError::overflow(LayerKind::Head);
        self.input.run(h, recorder).map_err(&overflow)?;
        let z = self.norm.run(h, recorder).map_err(&overflow)?;
        let tokens = h.len() / model.manifest.architecture.stream();
        let positions: Vec<usize> = self.outputs.iter().map(|(p, _)| *p).collect();
        let logits = logits_of(model, &z, tokens, &positions).map_err(&overflow)?;
        for (index, ((_, token), logits)) in self.outputs.iter().zip(&logits).enumerate() {
            let greedy = argmax(logits);
            if greedy != *token {
                return Err(RunError::NotGreedy {
                    index,
                    token: *token as u32,
                    greedy: greedy as u32,
                });
            }
        }
        self.greedy.run(&logits, recorder).map_err(overflow)
    }
}

/// The logits at some positions of z, `[slab][token][lane]`.
fn logits_of(
    model: &IntegerModel,
    z: &[i64],
    tokens: usize,
    positions: &[usize],
) -> Result<Vec<Vec<i128>>, Overflow> {
    let rows: Vec<i64> = z
        .chunks(tokens * LANES)
        .flat_map(|slab| {
            positions
                .iter()
                .flat_map(|p| slab[p * LANES..][..LANES].iter().copied())
        })
        .collect();
    let head = &model.head;
    scores(
        &rows,
        positions.len(),
        &head.gain,
        [&head.bias, &head.logit_bias],
        matrix(model),
    )
}

/// Positions whose logits are held at once.
const LOGIT_ROWS: usize = 64;

/// Calls `visit` with the integer logits at every position of `positions`, in order, of the last
/// boundary `h`; they have `final_norm.output + final_gain + weight` fractional bits.
pub fn visit_logits(
    model: &IntegerModel,
    h: &[i64],
    positions: &[usize],
    mut visit: impl FnMut(usize, &[i128]),
) -> Result<(), RunError> {
    let (a, s) = (&model.manifest.architecture, &model.manifest.scales);
    let tokens = h.len() / a.stream();
    let shape = norm_shape(a, s).expect("the manifest was checked");
    let overflow = RunError::overflow(LayerKind::Head);
    let z = shape.normalize(h, tokens).map_err(overflow)?.outputs;
    for chunk in positions.chunks(LOGIT_ROWS) {
        let logits =
            logits_of(model, &z, tokens, chunk).map_err(RunError::overflow(LayerKind::Head))?;
        for (position, logits) in chunk.iter().zip(&logits) {
            visit(*position, logits);
        }
    }
    Ok(())
}
