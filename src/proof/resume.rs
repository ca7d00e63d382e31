//! Keeping a run's finished layers, so that a run that was interrupted does not prove them again.
//!
//! A run's folder holds `run`, the seed of the boundaries' blinds; `layer-000` and so on, the proof
//! of a layer each; and `lock`. All of it is secret: with the seed, a guess at the activations can
//! be confirmed. The lock only saves work. Files are written whole, and none is used unchecked, so
//! whatever else writes into the folder or removes it costs a layer that is proved again, no more.
//!
//! *Why resuming reveals nothing.* All that two runs share is the boundaries' commitments and whole
//! proofs of layers. A layer that was not finished is proved again with fresh randomness: its mask,
//! its salt and every other blind are drawn anew, and nothing of the first attempt was ever shown.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::rngs::SysError;
use rayon::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::container::{self, Kind};
use super::models::OpenedModel;
use super::run::{Layers, Run};
use super::run_seed::{RunSeed, tagged_digest};
use super::setup::Setup;
use super::statement::ModelId;
use super::verifier::{Bundle, Check};
use crate::algebra::F;
use crate::layers::{Generation, LayerKind};
use crate::seal::bundle::BundleProof;

/// Runs that nobody resumed for so long are removed when another begins: they are secrets.
const FORGOTTEN: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The folder of one run, locked.
pub struct RunFolder<'a> {
    path: PathBuf,
    _lock: File,
    /// Told what is kept, what is used again and what could not be.
    say: &'a (dyn Fn(&str) + Sync),
}

impl<'a> RunFolder<'a> {
    /// The folder of this run in `runs`, made if it is not there.
    ///
    /// # Errors
    /// It cannot be made or locked. A run can do without.
    pub fn open(
        runs: &Path,
        model: ModelId,
        prompt: &[u32],
        max_new_tokens: usize,
        layers: &Layers,
        say: &'a (dyn Fn(&str) + Sync),
    ) -> io::Result<Self> {
        let path = runs.join(key(model, prompt, max_new_tokens, layers).to_string());
        private_directory(runs)?;
        private_directory(&path)?;
        remove_forgotten(runs, &path);
        let lock = lock_file(&path.join("lock"))?;
        lock.try_lock().map_err(|e| match e {
            fs::TryLockError::WouldBlock => io::Error::other("another process uses it"),
            fs::TryLockError::Error(e) => e,
        })?;
        Ok(Self {
            path,
            _lock: lock,
            say,
        })
    }

    /// Removes the folder, once what it is kept for is done.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_dir_all(&self.path)
    }

    /// The boundaries' row blinds for this answer: those of the kept run if it is the same, so that
    /// its layers fit; otherwise new ones, which are kept.
    pub(super) fn blinds(
        &self,
        (model, row_bits): (ModelId, usize),
        prompt: &[u32],
        answer: &Generation,
    ) -> Result<Vec<Vec<F>>, SysError> {
        let seed = match self.read::<RunSeed>(Kind::Run, "run") {
            Some(kept) if kept.is_of(model, prompt, answer) => kept,
            other => {
                if other.is_some() {
                    (self.say)("what was kept is of a run with other values: beginning anew");
                }
                let seed = RunSeed::draw(model, prompt, answer)?;
                self.write(Kind::Run, "run", &seed);
                seed
            }
        };
        Ok(seed.blinds(row_bits, answer))
    }

    /// The kept proofs of the given layers. Only what the verifier accepts is used: it tells what
    /// is damaged and what is of another layer or statement.
    pub(super) fn layers(
        &self,
        setup: &Setup,
        model: &OpenedModel,
        run: &Run,
        kinds: &[LayerKind],
    ) -> Vec<Option<BundleProof>> {
        let check = Check {
            setup,
            model: &model.committed,
            statement: &run.statement,
            sequence: &run.trace.sequence,
            boundaries: &run.commitments,
        };
        let blocks = model.model.manifest.architecture.layers;
        let layer = |kind: &LayerKind| {
            let name = layer_name(*kind, blocks);
            let proof: BundleProof = self.read(Kind::Layer, &name)?;
            let bundle = Bundle {
                kinds: &[*kind],
                proof: &proof,
            };
            match check.all(&[bundle]) {
                Ok(()) => {
                    (self.say)(&format!("{kind}: kept, not proved again"));
                    Some(proof)
                }
                Err(e) => {
                    (self.say)(&format!("not used: {name}: {e}"));
                    None
                }
            }
        };
        kinds.par_iter().map(layer).collect()
    }

    /// Keeps a finished layer.
    pub(super) fn keep(&self, kind: LayerKind, blocks: usize, proof: &BundleProof) {
        self.write(Kind::Layer, &layer_name(kind, blocks), proof);
    }

    /// What the folder holds under a name, if anything.
    fn read<T: Serialize + DeserializeOwned>(&self, kind: Kind, name: &str) -> Option<T> {
        let path = self.path.join(name);
        if !path.exists() {
            return None;
        }
        let read = container::read(kind, &path);
        read.map_err(|e| (self.say)(&format!("not used: {e}"))).ok()
    }

    /// That something cannot be kept is no reason to fail.
    fn write<T: Serialize>(&self, kind: Kind, name: &str, value: &T) {
        let bytes = container::encode(kind, value);
        if let Err(e) = container::write(&self.path.join(name), &bytes, true) {
            (self.say)(&format!("not kept: {e}"));
        }
    }
}

/// A folder that keeps nothing, as of a prompt that was refused, is not left behind.
impl Drop for RunFolder<'_> {
    fn drop(&mut self) {
        if !self.path.join("run").exists() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn layer_name(kind: LayerKind, blocks: usize) -> String {
    format!("layer-{:03}", kind.index(blocks))
}

/// The name of a run's folder: what a command asks of which program. A secret enters it nowhere.
fn key(model: ModelId, prompt: &[u32], max_new_tokens: usize, layers: &Layers) -> ModelId {
    let asked = (
        container::VERSION,
        env!("CARGO_PKG_VERSION"),
        model,
        prompt,
        max_new_tokens,
        layers,
    );
    ModelId(tagged_digest("nanozk/run-folder/v1", &asked))
}

/// Makes a directory that only its owner can read.
fn private_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    // One that was there may have another mode, or another owner, who would know the secrets.
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    Ok(())
}

fn lock_file(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Removes the folders in `runs` but `own` to which nothing was added for [`FORGOTTEN`].
fn remove_forgotten(runs: &Path, own: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let changed = entry.metadata().and_then(|m| m.modified()).ok();
        let age = changed.and_then(|t| t.elapsed().ok());
        if entry.path() != own && age.is_some_and(|age| age > FORGOTTEN) {
            // Another process may be doing the same.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
