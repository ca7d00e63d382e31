//! A run that is committed to, and the selection of the layers that are proved of it.

use pasta_curves::EqAffine;
use rand::rngs::SysError;
use rayon::prelude::*;
use serde::Serialize;

use super::audit::{Challenge, own_draw};
use super::error::ProveError;
use super::models::OpenedModel;
use super::setup::Setup;
use super::statement::{Selection, Statement, Stop, link};
use super::{LayerKind, LayerProofs, ProofFile};
use crate::algebra::F;
use crate::commit::{commit_rows, random_scalars};
use crate::curve::{Generators, PointBytes};
use crate::layers::{self, Generation, Trace};
use crate::seal::bundle::wide_rows;
use crate::system::Witness;

/// Which layers to prove.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
pub enum Layers {
    #[default]
    All,
    /// These, by index, in ascending order.
    Listed(Vec<u32>),
    /// So many, drawn by the hash of the prover's own commitments: for one's own checks. It shows
    /// nothing to others, as a prover can commit anew until the draw suits it.
    OwnDraw(u32),
    /// Those that a verifier has drawn.
    Challenged(Challenge),
}

/// A run, ready to be proved.
pub(super) struct Run {
    pub(super) statement: Statement,
    /// The layers to be proved.
    pub(super) kinds: Vec<LayerKind>,
    pub(super) trace: Trace,
    /// The boundaries' row blinds and row commitments, of all layers.
    pub(super) blinds: Vec<Vec<F>>,
    pub(super) commitments: Vec<Vec<EqAffine>>,
    /// Per layer of `kinds`.
    pub(super) witnesses: Vec<Witness>,
}

/// The boundaries' row commitments, as files have them.
pub(super) fn encoded_boundaries(commitments: &[Vec<EqAffine>]) -> Vec<Vec<PointBytes>> {
    let encode = |c: &Vec<EqAffine>| c.iter().map(PointBytes::from).collect();
    commitments.iter().map(encode).collect()
}

impl Run {
    /// The file that carries the proofs of this run.
    pub(super) fn into_file(self, proofs: LayerProofs) -> ProofFile {
        ProofFile {
            boundaries: encoded_boundaries(&self.commitments),
            statement: self.statement,
            proofs,
        }
    }

    /// Selects the layers to be proved and computes their witnesses.
    pub(super) fn select(
        mut self,
        model: &OpenedModel,
        layers: &Layers,
    ) -> Result<Self, ProveError> {
        let architecture = &model.model.manifest.architecture;
        let (blocks, total) = (architecture.layers, architecture.layers + 2);
        let statement = &mut self.statement;
        let commitment = statement.commitment();
        (statement.layers, statement.selection) = match layers {
            Layers::All => ((0..total as u32).collect(), Selection::Chosen),
            Layers::Listed(layers) => (layers.clone(), Selection::Chosen),
            Layers::OwnDraw(count) => {
                let layers = own_draw(commitment, *count, total)?;
                (layers, Selection::OwnDraw)
            }
            Layers::Challenged(challenge) => {
                let selection = Selection::Challenge(challenge.digest());
                (challenge.layers()?, selection)
            }
        };
        statement.validate(architecture)?;
        if let Layers::Challenged(challenge) = layers {
            challenge.check(statement)?;
        }
        self.kinds = statement.kinds(blocks);
        let witness =
            |kind: &LayerKind| layers::witness(&model.model, model.op_tables(), &self.trace, *kind);
        self.witnesses = self
            .kinds
            .par_iter()
            .map(witness)
            .collect::<Result<_, _>>()?;
        Ok(self)
    }
}

/// The answer to a prompt, with all that the model computed.
pub(super) fn generate(
    model: &OpenedModel,
    prompt: &[u32],
    new: usize,
) -> Result<Generation, ProveError> {
    Ok(layers::generate(
        &model.model,
        model.op_tables(),
        prompt,
        new,
    )?)
}

/// Commits to every boundary of the run that gave the answer, and computes every layer's witness.
pub(super) fn commit_run(
    setup: &Setup,
    model: &OpenedModel,
    prompt: &[u32],
    answer: Generation,
) -> Result<Run, ProveError> {
    let blinds = fresh_blinds(model.row_bits(), &answer)?;
    commit_run_with(setup, model, prompt, answer, blinds).select(model, &Layers::All)
}

/// Blinds of the boundaries' rows of 2^row_bits values, that nobody can derive again.
pub(super) fn fresh_blinds(row_bits: usize, answer: &Generation) -> Result<Vec<Vec<F>>, SysError> {
    let boundaries = answer.trace.boundaries.iter();
    boundaries
        .map(|values| random_scalars(values.len().div_ceil(1 << row_bits)))
        .collect()
}

/// Commits to every boundary of the run that gave the answer. No layer is selected yet.
pub(super) fn commit_run_with(
    setup: &Setup,
    model: &OpenedModel,
    prompt: &[u32],
    answer: Generation,
    blinds: Vec<Vec<F>>,
) -> Run {
    let width = model.model.manifest.architecture.stream();
    let generators = setup.generators.get(model.row_bits());
    let trace = answer.trace;
    let mut statement = Statement {
        model_id: model.committed.id,
        prompt: prompt.to_vec(),
        padded: trace.sequence.tokens().len() as u32,
        output: answer.output,
        stop: if answer.stopped {
            Stop::EndOfText
        } else {
            Stop::Length
        },
        chain: Vec::new(),
        layers: Vec::new(),
        selection: Selection::Chosen,
    };
    let commitments: Vec<Vec<EqAffine>> = trace
        .boundaries
        .par_iter()
        .zip(&blinds)
        .map(|(h, blinds)| commit_boundary(&generators, h, blinds))
        .collect();
    statement.chain = commitments
        .iter()
        .enumerate()
        .map(|(i, c)| link(i, statement.padded as usize, width, c))
        .collect();
    Run {
        statement,
        kinds: Vec::new(),
        trace,
        blinds,
        commitments,
        witnesses: Vec::new(),
    }
}

/// The row commitments of a boundary, in rows as long as there are generators.
pub(super) fn commit_boundary(
    generators: &Generators,
    values: &[i64],
    blinds: &[F],
) -> Vec<EqAffine> {
    commit_rows(generators, &wide_rows(values, generators.log_len()), blinds)
}
