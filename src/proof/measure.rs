//! Measuring: blocks of a model proved alone and in a bundle, with everything loaded that does not
//! depend on the prompt.

use std::time::Instant;

use rayon::prelude::*;

use super::LayerKind;
use super::error::{ProveError, VerifyError};
use super::models::OpenedModel;
use super::prover::{PhaseClock, encoded_len, prove_bundle};
use super::run::{Run, commit_boundary, commit_run};
use super::setup::Setup;
use super::verifier::{Bundle, Check};
use crate::curve::PointBytes;
use crate::layers;
use crate::seal::bundle::BundleProof;

/// Costs of a block: medians, in seconds and bytes.
#[derive(Clone, Debug, Default)]
pub struct BlockCosts {
    /// The phases of proving one block alone, in order: run, commit, lookups, sumcheck, seal, opening.
    pub phases: Vec<(&'static str, f64)>,
    /// Proving one block alone: the sum of the phases, as measured.
    pub prove: f64,
    /// Verifying it.
    pub verify: f64,
    /// Its proof, the commitments to the boundary it writes, and its link in the chain.
    pub bytes: usize,
    /// The same per block of a bundle.
    pub bundled_prove: f64,
    pub bundled_verify: f64,
    pub bundled_bytes: usize,
}

/// Why a measurement failed.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    #[error(transparent)]
    Prove(#[from] ProveError),
    #[error("a proof that was just made is not valid: {0}")]
    Verify(#[from] VerifyError),
}

/// Proves and verifies blocks `0..alone` one by one and blocks `0..bundle` in one bundle, `repeat`
/// times each, on a run of the model over `prompt` and one new token. A first proof and its
/// verification, which derive the seals' keys, are not counted.
pub fn measure_blocks(
    setup: &Setup,
    model: &OpenedModel,
    prompt: &[u32],
    [alone, bundle, repeat]: [usize; 3],
) -> Result<BlockCosts, MeasureError> {
    let answer =
        layers::generate(&model.model, model.op_tables(), prompt, 1).map_err(ProveError::from)?;
    let run = commit_run(setup, model, prompt, answer)?;
    let bench = Bench { setup, model, run };

    let first = [LayerKind::Block(0)];
    let (proof, ..) = bench.prove(&first)?;
    bench.verify(&first, &proof)?;
    let (points, link) = (&bench.run.commitments[1], &bench.run.statement.chain[1]);
    let boundary = points.len() * size_of::<PointBytes>() + size_of_val(link);
    let mut costs = BlockCosts {
        bytes: encoded_len(&proof) + boundary,
        ..BlockCosts::default()
    };

    let (mut proving, mut verifying, mut phases) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..alone * repeat {
        let kinds = [LayerKind::Block(i % alone)];
        let (proof, seconds, of_phases) = bench.prove(&kinds)?;
        proving.push(seconds);
        phases.push(of_phases);
        verifying.push(bench.verify(&kinds, &proof)?);
    }
    costs.prove = median(proving);
    costs.verify = median(verifying);
    costs.phases = (0..phases[0].len())
        .map(|p| {
            (
                phases[0][p].0,
                median(phases.iter().map(|x| x[p].1).collect()),
            )
        })
        .collect();

    let kinds: Vec<LayerKind> = (0..bundle).map(LayerKind::Block).collect();
    let (mut proving, mut verifying) = (Vec::new(), Vec::new());
    for _ in 0..repeat {
        let (proof, seconds, _) = bench.prove(&kinds)?;
        proving.push(seconds / bundle as f64);
        verifying.push(bench.verify(&kinds, &proof)? / bundle as f64);
        costs.bundled_bytes = encoded_len(&proof) / bundle + boundary;
    }
    costs.bundled_prove = median(proving);
    costs.bundled_verify = median(verifying);
    Ok(costs)
}

struct Bench<'a> {
    setup: &'a Setup,
    model: &'a OpenedModel,
    run: Run,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

type Phases = Vec<(&'static str, f64)>;

impl Bench<'_> {
    /// Proves blocks from the activations that enter them. The layers' witnesses and the boundaries'
    /// commitments are computed again, so that they are counted.
    fn prove(&self, kinds: &[LayerKind]) -> Result<(BundleProof, f64, Phases), ProveError> {
        let clock = PhaseClock::new();
        clock.begin(Some("run"));
        let (model, trace) = (&self.model.model, &self.run.trace);
        kinds.par_iter().try_for_each(|kind| {
            layers::witness(model, self.model.op_tables(), trace, *kind).map(|_| ())
        })?;
        clock.begin(Some("commit"));
        let blocks = model.manifest.architecture.layers;
        let generators = self.setup.generators.get(self.model.row_bits());
        kinds.par_iter().for_each(|kind| {
            let b = kind.index(blocks);
            commit_boundary(&generators, &trace.boundaries[b], &self.run.blinds[b]);
        });
        let begin = |phase: &'static str| clock.begin(Some(phase));
        let proof = prove_bundle(self.setup, self.model, &self.run, kinds, &begin)?;
        let (phases, seconds) = clock.finish();
        Ok((proof, seconds, phases))
    }

    /// Verifies blocks, and says how long that took.
    fn verify(&self, kinds: &[LayerKind], proof: &BundleProof) -> Result<f64, VerifyError> {
        let start = Instant::now();
        let manifest = &self.model.committed.manifest;
        let sequence = self.run.statement.validate(&manifest.architecture)?;
        let check = Check {
            setup: self.setup,
            model: &self.model.committed,
            statement: &self.run.statement,
            sequence: &sequence,
            boundaries: &self.run.commitments,
        };
        check.all(&[Bundle { kinds, proof }])?;
        Ok(start.elapsed().as_secs_f64())
    }
}
