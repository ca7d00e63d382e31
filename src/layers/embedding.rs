//! The embedding: tokens and positions to the residual stream.
//!
//! ```text
//! h₀(i, k) = round(2^-s · (wte(k, token_i) [+ wpe(k, i)])),   s = f_weight − f_residual
//! ```

use super::{LayerKind, RunError};
use crate::ops::{
    Accumulator, Digits, LANES, Output, Recorder, Rescale, Rescaled, Select, Vars, contracted,
};
use crate::quant::{IntegerModel, Manifest};
use crate::system::System;

/// The declared embedding.
#[derive(Clone, Debug)]
pub struct Embedding {
    system: System,
    rescaled: Rescaled,
    output: Output,
    tokens: Vec<u32>,
}

/// The embedding's system for T' padded tokens.
pub fn embedding_system(manifest: &Manifest, tokens: &[u32]) -> System {
    Embedding::new(manifest, tokens).system
}

impl Embedding {
    /// Declares the embedding of T' padded tokens, all in the vocabulary. Matrix 0 is wte; where
    /// positions are learned, 1 is wpe.
    pub fn new(manifest: &Manifest, tokens: &[u32]) -> Self {
        let (a, s) = (&manifest.architecture, &manifest.scales);
        let mut system = System::default();
        let vars = Vars::end(&mut system, a.stream(), a.vocabulary, tokens.len());
        let token_table = Select::declare(&mut system, "wte", 0, vars.output, vars.wide);
        let targets = tokens.iter().map(|t| *t as usize).collect();
        let mut terms = vec![token_table.term(vars.token, targets)];
        if a.learned_positions {
            let positions = contracted(&mut system, "position_slab", a.context, vars.wide);
            let table = Select::declare(&mut system, "wpe", 1, vars.output, positions);
            terms.push(table.term(vars.token, (0..tokens.len()).collect()));
        }
        let accumulator = Accumulator {
            check: vec![],
            terms,
            offsets: vec![],
        };
        let site = vars.output.site((vars.token, tokens.len()));
        let h = Digits::signed(&mut system, "h", &site.lens, 2);
        let output = Output::declare(&mut system, &vars, &[h.form(&vars.input.binds(vars.token))]);
        let rescaled = Rescaled::declare(
            &mut system,
            "embedding",
            Rescale::new(s.weight - s.residual),
            h,
            accumulator,
            &site,
        );
        Self {
            system,
            rescaled,
            output,
            tokens: tokens.to_vec(),
        }
    }

    /// The declared system.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// h₀.
    pub fn run(&self, model: &IntegerModel, recorder: &mut Recorder) -> Result<Vec<i64>, RunError> {
        let tokens = self.tokens.len();
        let mut acc = Vec::with_capacity(tokens * model.tokens.inputs);
        for slab in 0..model.tokens.inputs / LANES {
            for (i, token) in self.tokens.iter().enumerate() {
                acc.extend((slab * LANES..(slab + 1) * LANES).map(|k| {
                    let position = model.positions.as_ref().map_or(0, |p| p.row(k)[i]);
                    i128::from(model.tokens.row(k)[*token as usize]) + i128::from(position)
                }));
            }
        }
        let overflow = RunError::overflow(LayerKind::Embedding);
        let h = self.rescaled.run(&acc, recorder).map_err(&overflow)?;
        self.output.run(&[&h]).map_err(overflow)
    }
}
