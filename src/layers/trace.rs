//! Running a whole model: the boundaries first, which is cheap; each layer's witness later, from
//! its boundary, so that layers can be proved in parallel and their witnesses need not all be in
//! memory.

use super::sequence::{Sequence, padded};
use super::{Block, Embedding, Head, LayerKind, RunError, visit_logits};
use crate::ops::{Recorder, Tables, argmax};
use crate::quant::IntegerModel;
use crate::system::Witness;

/// A model's run on a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    pub sequence: Sequence,
    /// h₀, …, h_L, `[slab][token][lane]` each.
    pub boundaries: Vec<Vec<i64>>,
}

impl Trace {
    /// The activations that enter a layer: none for the embedding.
    pub fn boundary_in(&self, layer: LayerKind) -> &[i64] {
        match layer {
            LayerKind::Embedding => &[],
            LayerKind::Block(i) => &self.boundaries[i],
            LayerKind::Head => &self.boundaries[self.boundaries.len() - 1],
        }
    }

    /// The activations that leave a layer: none for the head.
    pub fn boundary_out(&self, layer: LayerKind) -> &[i64] {
        match layer {
            LayerKind::Embedding => &self.boundaries[0],
            LayerKind::Block(i) => &self.boundaries[i + 1],
            LayerKind::Head => &[],
        }
    }
}

/// Runs a model, whose manifest [`super::check`] accepts, on a sequence, and checks that its
/// outputs are the greedy choices.
pub fn run(model: &IntegerModel, tables: Tables, sequence: Sequence) -> Result<Trace, RunError> {
    let boundaries = boundaries(model, tables, sequence.tokens())?;
    let outputs = sequence.outputs();
    let positions: Vec<usize> = outputs.iter().map(|(p, _)| *p).collect();
    let mut greedy = Vec::new();
    visit_logits(model, last(&boundaries), &positions, |_, logits| {
        greedy.push(argmax(logits));
    })?;
    for (index, ((_, token), greedy)) in outputs.iter().zip(greedy).enumerate() {
        if *token != greedy {
            return Err(RunError::NotGreedy {
                index,
                token: *token as u32,
                greedy: greedy as u32,
            });
        }
    }
    Ok(Trace {
        sequence,
        boundaries,
    })
}

/// The witness of one layer of a run.
pub fn witness(
    model: &IntegerModel,
    tables: Tables,
    trace: &Trace,
    layer: LayerKind,
) -> Result<Witness, RunError> {
    let (manifest, tokens) = (&model.manifest, trace.sequence.tokens());
    let h = trace.boundary_in(layer);
    let recorder = match layer {
        LayerKind::Embedding => {
            let embedding = Embedding::new(manifest, tokens);
            let mut recorder = Recorder::on(embedding.system());
            embedding.run(model, &mut recorder)?;
            recorder
        }
        LayerKind::Block(i) => {
            let block = Block::new(manifest, i, tokens.len());
            let mut recorder = Recorder::on(block.system());
            block.run(&model.blocks[i], tables, h, &mut recorder)?;
            recorder
        }
        LayerKind::Head => {
            let head = Head::new(manifest, tokens.len(), &trace.sequence.outputs());
            let mut recorder = Recorder::on(head.system());
            head.run(model, h, &mut recorder)?;
            recorder
        }
    };
    Ok(recorder.into_witness())
}

/// h₀, …, h_L for T' padded tokens.
fn boundaries(
    model: &IntegerModel,
    tables: Tables,
    tokens: &[u32],
) -> Result<Vec<Vec<i64>>, RunError> {
    let mut off = Recorder::off();
    let mut all = vec![Embedding::new(&model.manifest, tokens).run(model, &mut off)?];
    for (i, weights) in model.blocks.iter().enumerate() {
        let block = Block::new(&model.manifest, i, tokens.len());
        all.push(block.run(weights, tables, last(&all), &mut off)?);
    }
    Ok(all)
}

fn last(boundaries: &[Vec<i64>]) -> &[i64] {
    boundaries.last().expect("there is an embedding")
}

/// What a model said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The run that gave the last token. Causality makes it the run of the whole answer: what a
    /// longer sequence adds does not change what comes before it.
    pub trace: Trace,
    /// The new tokens; the last is an end-of-text token if that is what stopped it.
    pub output: Vec<u32>,
    /// Whether it stopped at end-of-text, rather than at the requested length.
    pub stopped: bool,
}

/// Greedy decoding of at most `max_new` tokens.
pub fn generate(
    model: &IntegerModel,
    tables: Tables,
    prompt: &[u32],
    max_new: usize,
) -> Result<Generation, RunError> {
    generate_telling(model, tables, prompt, max_new, |_| ())
}

/// [`generate`], with `told` called with all tokens so far after each new one.
pub fn generate_telling(
    model: &IntegerModel,
    tables: Tables,
    prompt: &[u32],
    max_new: usize,
    mut told: impl FnMut(&[u32]),
) -> Result<Generation, RunError> {
    if max_new == 0 {
        return Err(RunError::EmptyOutput);
    }
    let architecture = &model.manifest.architecture;
    let mut all = prompt.to_vec();
    let mut stopped = false;
    let mut boundaries = Vec::new();
    while all.len() < prompt.len().saturating_add(max_new) && !stopped {
        let (tokens, used) = padded(&all, architecture)?;
        boundaries = self::boundaries(model, tables, &tokens)?;
        let mut next = 0;
        visit_logits(model, last(&boundaries), &[used - 1], |_, logits| {
            next = argmax(logits) as u32;
        })?;
        all.push(next);
        told(&all[prompt.len()..]);
        stopped = architecture.ends(next);
    }
    let output = all.split_off(prompt.len());
    let sequence = Sequence::new(prompt, &output, architecture)?;
    Ok(Generation {
        trace: Trace {
            sequence,
            boundaries,
        },
        output,
        stopped,
    })
}

/// Calls `visit` with the integer logits at every position of `tokens`, in order: what accuracy is
/// measured on. Their scale is that of [`visit_logits`].
pub fn logits(
    model: &IntegerModel,
    tables: Tables,
    tokens: &[u32],
    visit: impl FnMut(usize, &[i128]),
) -> Result<(), RunError> {
    let (padded, used) = padded(tokens, &model.manifest.architecture)?;
    let boundaries = boundaries(model, tables, &padded)?;
    let positions: Vec<usize> = (0..used).collect();
    visit_logits(model, last(&boundaries), &positions, visit)
}
