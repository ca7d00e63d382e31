//! The models of this machine's user: found by their names, quantized once, kept, opened to prove with;
//! and the keys to verify with.
//!
//! Nothing is printed here: whoever uses a [`Store`] is told through [`Progress`] and by
//! [`StoreError`]. All that is kept lies in the [`Home`] folder.

mod error;
mod find;
mod fisher;
mod home;
mod hub;
mod keys;
mod progress;
mod quantize;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::OnceLock;

pub use error::StoreError;
pub use find::{FindError, Place, Revision};
pub use home::Home;
pub use hub::HubError;
pub use progress::Progress;
pub use quantize::{QuantizeOptions, Recomputed};

use find::Found;
use hub::{Hub, Settings};

use crate::model::{Checkpoint, Located, Tokenizer, embedded};
use crate::proof::{Kind, ModelFile, OpenedModel, Setup, container};

/// The directory of models that are called by their name, in the working directory.
const MODELS: &str = "models";

/// Where models come from and where what is made of them is kept.
pub struct Store<'a> {
    home: Option<Home>,
    setup: OnceLock<Setup>,
    progress: &'a dyn Progress,
}

/// A model to prove with, and the tokenizer for its prompts. Its chat template is read by
/// [`OpenedModel::read_chat_template`].
pub struct ProvableModel {
    pub model: OpenedModel,
    pub tokenizer: Tokenizer,
}

impl<'a> Store<'a> {
    /// A store that keeps things in `home`, or nowhere.
    pub fn new(home: Option<Home>, progress: &'a dyn Progress) -> Self {
        Self {
            home,
            setup: OnceLock::new(),
            progress,
        }
    }

    pub fn home(&self) -> Option<&Home> {
        self.home.as_ref()
    }

    /// Generators and seal keys, loaded or derived when they are first asked for.
    pub fn setup(&self) -> &Setup {
        self.setup.get_or_init(|| {
            self.progress.progress("loading generators");
            Setup::new(self.home().map(Home::root))
        })
    }

    /// The model to prove with: read from a `.nzk` file, or quantized with this headroom or that of the
    /// default (once; then it is kept). The embedded one if there is no name.
    ///
    /// # Errors
    /// [`StoreError`]; headroom is of a checkpoint, a `.nzk` file is refused with it.
    pub fn open(
        &self,
        name: Option<&str>,
        headroom: Option<u32>,
    ) -> Result<ProvableModel, StoreError> {
        let model = self.model_file(name, headroom)?.open()?;
        let tokenizer = Tokenizer::from_json(&model.tokenizer)?;
        Ok(ProvableModel { model, tokenizer })
    }

    fn model_file(
        &self,
        name: Option<&str>,
        headroom: Option<u32>,
    ) -> Result<ModelFile, StoreError> {
        let found = self.find(name)?;
        match (found.as_ref().map(|f| &f.located), headroom) {
            (Some(Located::Quantized(path)), None) => Ok(container::read(Kind::Model, path)?),
            (located, _) => self.checkpoint_model(&self.read_checkpoint(located)?, headroom),
        }
    }

    /// The checkpoint itself, the embedded one if there is no name.
    ///
    /// # Errors
    /// [`StoreError`], also for a quantized model.
    pub fn checkpoint(&self, name: Option<&str>) -> Result<Checkpoint, StoreError> {
        let found = self.find(name)?;
        self.read_checkpoint(found.as_ref().map(|f| &f.located))
    }

    /// The model of this name, downloaded if it is nowhere else; the embedded one has none.
    fn find(&self, name: Option<&str>) -> Result<Option<Found>, StoreError> {
        let Some(name) = name else {
            return Ok(None);
        };
        let hub = Hub {
            settings: Settings::from_environment(),
            progress: self.progress,
        };
        let found = find::find(name, Path::new(MODELS), &hub)?;
        if let Some(revision) = &found.revision {
            self.progress.detail(&format!("using {revision}"));
        }
        Ok(Some(found))
    }

    /// The checkpoint that lies there, the embedded one if it lies nowhere. What its files leave to be said is said.
    fn read_checkpoint(&self, located: Option<&Located>) -> Result<Checkpoint, StoreError> {
        let checkpoint = match located {
            None => embedded::checkpoint()?,
            Some(Located::Directory(path) | Located::Gguf(path)) => Checkpoint::open(path)?,
            Some(Located::Quantized(path)) => {
                return Err(StoreError::AlreadyQuantized(path.clone()));
            }
        };
        let notes = checkpoint.notes.iter();
        notes.for_each(|note| self.progress.note(note));
        Ok(checkpoint)
    }

    /// Keeps a file, and says whether it could. That it cannot be kept is no reason to fail.
    fn keep(&self, path: &Path, bytes: &[u8], secret: bool) -> bool {
        let kept = home::keep(path, bytes, secret);
        if !kept {
            let what = format!("could not cache {}", path.display());
            self.progress.detail(&what);
        }
        kept
    }
}
