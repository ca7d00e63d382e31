//! Proving a prompt's answer.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use pasta_curves::EqAffine;
use rayon::prelude::*;

use super::audit::{Challenge, CommitFile};
use super::error::ProveError;
use super::models::OpenedModel;
use super::resume::RunFolder;
use super::run::{Layers, Run, commit_run_with, encoded_boundaries, fresh_blinds, generate};
use super::run_seed::RunSeed;
use super::setup::Setup;
use super::{LayerKind, LayerProofs, ProofFile, systems};
use crate::argument::claims::Layer;
use crate::argument::data::{Externals, LayerData, MatrixRef};
use crate::layers;
use crate::quant::IntMatrix;
use crate::seal::bundle::{
    self, BoundarySecret, BundleError, BundleProof, BundlePublic, LayerSecret,
};

/// Whether layers share one proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// One proof for all layers: smallest and fastest.
    #[default]
    Bundled,
    /// A proof per layer, each standing alone.
    Separate,
}

/// What to prove.
#[derive(Clone, Debug)]
pub struct ProveOptions {
    pub max_new_tokens: usize,
    pub mode: Mode,
    pub layers: Layers,
}

/// What proving took.
#[derive(Clone, Debug, Default)]
pub struct ProveSummary {
    /// Seconds per phase, in the order in which the phases first began. With separate proofs the
    /// phases of all layers are added up over the threads that prove them.
    pub phases: Vec<(&'static str, f64)>,
    /// (kind, bytes, seconds) per layer; a bundled layer has an equal share of both. A layer that was kept took no time.
    pub layers: Vec<(LayerKind, usize, f64)>,
    /// How many of the layers were not proved but kept of an interrupted run.
    pub resumed: usize,
    pub seconds: f64,
}

/// The phase that is running and when it began; the seconds of all phases so far.
type Phases = (Option<(&'static str, Instant)>, Vec<(&'static str, f64)>);

/// Adds up the time between calls of `begin` under each phase's name.
pub(super) struct PhaseClock {
    start: Instant,
    state: Mutex<Phases>,
}

impl PhaseClock {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            state: Mutex::new((None, Vec::new())),
        }
    }

    pub(super) fn begin(&self, name: Option<&'static str>) {
        let mut state = self.state.lock().expect("no holder of the clock panics");
        let now = Instant::now();
        if let Some((old, since)) = state.0.take() {
            let seconds = (now - since).as_secs_f64();
            match state.1.iter_mut().find(|(n, _)| *n == old) {
                Some((_, total)) => *total += seconds,
                None => state.1.push((old, seconds)),
            }
        }
        state.0 = name.map(|n| (n, now));
    }

    pub(super) fn finish(&self) -> (Vec<(&'static str, f64)>, f64) {
        self.begin(None);
        let state = self.state.lock().expect("no holder of the clock panics");
        (state.1.clone(), self.start.elapsed().as_secs_f64())
    }
}

/// Answers a prompt (token ids) greedily and proves the answer. `progress` is told the name of
/// each phase as it begins, and how many layers are done where each is proved on its own.
pub fn prove(
    setup: &Setup,
    model: &OpenedModel,
    prompt: &[u32],
    options: &ProveOptions,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<(ProofFile, ProveSummary), ProveError> {
    prove_keeping(setup, model, prompt, options, None, progress)
}

/// [`prove`] with [`Mode::Separate`]. Finished layers are kept in `folder`, and those that are kept
/// there of an interrupted run are not proved again. The caller removes the folder when the proof
/// is safe.
pub fn prove_resumable(
    setup: &Setup,
    model: &OpenedModel,
    prompt: &[u32],
    options: &ProveOptions,
    folder: &RunFolder,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<(ProofFile, ProveSummary), ProveError> {
    let options = ProveOptions {
        mode: Mode::Separate,
        ..options.clone()
    };
    prove_keeping(setup, model, prompt, &options, Some(folder), progress)
}

fn prove_keeping(
    setup: &Setup,
    model: &OpenedModel,
    prompt: &[u32],
    options: &ProveOptions,
    folder: Option<&RunFolder>,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<(ProofFile, ProveSummary), ProveError> {
    let clock = PhaseClock::new();
    clock.begin(Some("run"));
    progress("run");
    let answer = generate(model, prompt, options.max_new_tokens)?;
    let blinds = match folder {
        None => fresh_blinds(model.row_bits(), &answer)?,
        Some(folder) => {
            let id = model.committed.id;
            folder.blinds((id, model.row_bits()), prompt, &answer)?
        }
    };
    let run = commit_run_with(setup, model, prompt, answer, blinds);
    let run = run.select(model, &options.layers)?;
    prove_run(setup, model, run, options.mode, folder, (&clock, progress))
}

/// Answers a prompt greedily and commits to the run: what is published before layers are drawn, and the
/// secret with which it is proved afterwards.
pub fn commit(
    setup: &Setup,
    model: &OpenedModel,
    prompt: &[u32],
    max_new_tokens: usize,
) -> Result<(CommitFile, RunSeed), ProveError> {
    let answer = generate(model, prompt, max_new_tokens)?;
    let seed = RunSeed::draw(model.committed.id, prompt, &answer)?;
    let blinds = seed.blinds(model.row_bits(), &answer);
    let run = commit_run_with(setup, model, prompt, answer, blinds);
    let file = CommitFile {
        statement: run.statement,
        boundaries: encoded_boundaries(&run.commitments),
    };
    Ok((file, seed))
}

/// Proves the layers that a challenge draws of a run that was committed to.
pub fn prove_challenged(
    setup: &Setup,
    model: &OpenedModel,
    (commit, seed): (&CommitFile, &RunSeed),
    challenge: &Challenge,
    mode: Mode,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<(ProofFile, ProveSummary), ProveError> {
    let (committed, id) = (&commit.statement, model.committed.id);
    if committed.model_id != id {
        let claimed = committed.model_id;
        return Err(ProveError::CommittedModel { claimed, given: id });
    }
    commit.layers()?;
    let clock = PhaseClock::new();
    clock.begin(Some("run"));
    progress("run");
    let answer = generate(model, &committed.prompt, committed.output.len())?;
    if !seed.is_of(id, &committed.prompt, &answer) {
        return Err(ProveError::Secret);
    }
    let blinds = seed.blinds(model.row_bits(), &answer);
    let run = commit_run_with(setup, model, &committed.prompt, answer, blinds);
    if commit.check(&run.statement).is_err() {
        return Err(ProveError::Secret);
    }
    let run = run.select(model, &Layers::Challenged(challenge.clone()))?;
    prove_run(setup, model, run, mode, None, (&clock, progress))
}

/// Proves the layers that were selected.
fn prove_run(
    setup: &Setup,
    model: &OpenedModel,
    run: Run,
    mode: Mode,
    folder: Option<&RunFolder>,
    (clock, progress): (&PhaseClock, &(dyn Fn(&str) + Sync)),
) -> Result<(ProofFile, ProveSummary), ProveError> {
    let phase = |name: &'static str| {
        clock.begin(Some(name));
        progress(name);
    };
    let (proofs, layers, resumed) = match mode {
        Mode::Bundled => {
            let proof = prove_bundle(setup, model, &run, &run.kinds, &phase)?;
            // Layers that are proved together have no bytes of their own.
            let layers = run.kinds.len();
            let costs: LayerCosts = vec![(encoded_len(&proof) / layers, None); layers];
            (LayerProofs::Bundled(Box::new(proof)), costs, 0)
        }
        Mode::Separate => {
            phase("layers");
            prove_separately(setup, model, &run, folder, progress)?
        }
    };
    let (phases, seconds) = clock.finish();
    let layers = run
        .kinds
        .iter()
        .zip(layers)
        .map(|(k, (bytes, s))| (*k, bytes, s.unwrap_or(seconds / run.kinds.len() as f64)))
        .collect();
    let summary = ProveSummary {
        phases,
        layers,
        resumed,
        seconds,
    };
    Ok((run.into_file(proofs), summary))
}

type LayerCosts = Vec<(usize, Option<f64>)>;

/// Proves each layer on its own, but for those that `folder` has. Returns also how many it had.
fn prove_separately(
    setup: &Setup,
    model: &OpenedModel,
    run: &Run,
    folder: Option<&RunFolder>,
    progress: &(dyn Fn(&str) + Sync),
) -> Result<(LayerProofs, LayerCosts, usize), ProveError> {
    let blocks = model.model.manifest.architecture.layers;
    let kept = match folder {
        Some(folder) => folder.layers(setup, model, run, &run.kinds),
        None => vec![None; run.kinds.len()],
    };
    let resumed = kept.iter().flatten().count();
    let done = AtomicUsize::new(resumed);
    let proofs: Vec<(BundleProof, f64)> = run
        .kinds
        .par_iter()
        .zip(kept)
        .map(|(kind, kept)| {
            let start = Instant::now();
            if let Some(proof) = kept {
                return Ok((proof, 0.0));
            }
            let proof = prove_bundle(setup, model, run, &[*kind], &|_| {})?;
            if let Some(folder) = folder {
                folder.keep(*kind, blocks, &proof);
            }
            let done = done.fetch_add(1, Relaxed) + 1;
            progress(&format!("{done} of {} layers are done", run.kinds.len()));
            Ok((proof, start.elapsed().as_secs_f64()))
        })
        .collect::<Result<_, ProveError>>()?;
    let costs = proofs
        .iter()
        .map(|(p, s)| (encoded_len(p), Some(*s)))
        .collect();
    let proofs = proofs.into_iter().map(|(p, _)| p).collect();
    Ok((LayerProofs::Separate(proofs), costs, resumed))
}

pub(super) fn encoded_len<T: serde::Serialize>(value: &T) -> usize {
    postcard::to_stdvec(value)
        .expect("in-memory values always encode")
        .len()
}

/// Proves the given layers as one bundle.
pub(super) fn prove_bundle(
    setup: &Setup,
    model: &OpenedModel,
    run: &Run,
    kinds: &[LayerKind],
    phase: &(dyn Fn(&'static str) + Sync),
) -> Result<BundleProof, ProveError> {
    prove_spoiled(setup, model, run, kinds, phase, |_, _| {})
}

/// As [`prove_bundle`], after `spoil` has changed what the prover knows: that is for tests, which
/// cheat.
fn prove_spoiled<'a>(
    setup: &Setup,
    model: &'a OpenedModel,
    run: &'a Run,
    kinds: &[LayerKind],
    phase: &(dyn Fn(&'static str) + Sync),
    spoil: impl FnOnce(&mut [LayerSecret<'a>], &mut [BoundarySecret<'a>]),
) -> Result<BundleProof, ProveError> {
    phase("witness");
    let manifest = &model.model.manifest;
    let touched = systems::touched_boundaries(kinds, manifest.architecture.layers);
    let layers = systems::layers(manifest, &run.trace.sequence, kinds);
    let mut secrets: Vec<LayerSecret> = kinds
        .par_iter()
        .zip(&layers)
        .map(|(kind, layer)| layer_secret(model, run, *kind, layer))
        .collect();
    let publics = systems::publics(&model.committed, kinds, &layers);
    let commitments: Vec<Vec<EqAffine>> = touched
        .keys()
        .map(|b| run.commitments[*b].clone())
        .collect();
    let mut boundaries: Vec<BoundarySecret> = touched
        .keys()
        .map(|b| BoundarySecret {
            values: &run.trace.boundaries[*b],
            blinds: &run.blinds[*b],
        })
        .collect();
    spoil(&mut secrets, &mut boundaries);
    let public = BundlePublic {
        generators: &setup.generators,
        tables: model.committed.tables.all(),
        layers: &publics,
        boundaries: &commitments,
    };
    let mut transcript = systems::transcript(&model.committed, &run.statement, kinds);
    bundle::prove(
        &public,
        &secrets,
        &boundaries,
        &setup.keys,
        &mut transcript,
        phase,
    )
    .map_err(|source| layer_error(kinds, source))
}

fn layer_error(kinds: &[LayerKind], source: BundleError) -> ProveError {
    let layer = match kinds {
        [kind] => kind.to_string(),
        _ => "the bundle".to_string(),
    };
    ProveError::Layer { layer, source }
}

pub(super) fn matrix_ref(m: &IntMatrix) -> MatrixRef<'_> {
    MatrixRef {
        inputs: m.inputs,
        outputs: m.outputs,
        data: &m.data,
    }
}

fn layer_secret<'a>(
    model: &'a OpenedModel,
    run: &'a Run,
    kind: LayerKind,
    layer: &Layer,
) -> LayerSecret<'a> {
    let manifest = &model.model.manifest;
    let weights = layers::weights(&model.model, kind);
    let (matrix_blinds, vector_blinds) = model.blinds.layer(manifest, kind);
    let externals = Externals {
        boundary_in: run.trace.boundary_in(kind),
        boundary_out: run.trace.boundary_out(kind),
        vectors: weights.vectors,
        matrices: weights.matrices.into_iter().map(matrix_ref).collect(),
    };
    let place = run.kinds.iter().position(|k| *k == kind);
    let witness = &run.witnesses[place.expect("only selected layers are proved")];
    LayerSecret {
        data: LayerData::new(layer, witness, externals),
        matrix_blinds,
        vector_blinds,
    }
}

#[cfg(test)]
mod stack_tests;
#[cfg(test)]
mod tamper;
#[cfg(test)]
mod tests;
