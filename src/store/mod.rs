//! The models of this machine's user: found by their names, quantized once, kept, opened to prove with;
//! and the keys to verify with.
//!
//! Nothing is printed here: whoever uses a [`Store`] is told through [`Progress`] and by
//! [`StoreError`]. All that is kept lies in the [`Home`] folder.

mod error;
mod fisher;
mod home;
mod keys;
mod progress;
mod quantize;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::OnceLock;

pub use error::StoreError;
pub use home::Home;
pub use progress::Progress;
pub use quantize::QuantizeOptions;

use crate::model::{Checkpoint, Located, Tokenizer, embedded, locate};
use crate::proof::{Kind, ModelFile, OpenedModel, Setup, container};

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
            Setup::load(self.home().map(Home::root))
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
        match (self.locate(name)?, headroom) {
            (Some(Located::Quantized(path)), None) => Ok(container::read(Kind::Model, &path)?),
            (located, _) => self.checkpoint_model(&read_checkpoint(located)?, headroom),
        }
    }

    /// The checkpoint itself, the embedded one if there is no name.
    ///
    /// # Errors
    /// [`StoreError`], also for a quantized model.
    pub fn checkpoint(&self, name: Option<&str>) -> Result<Checkpoint, StoreError> {
        read_checkpoint(self.locate(name)?)
    }

    /// Where the model of this name lies; the embedded one lies nowhere.
    fn locate(&self, name: Option<&str>) -> Result<Option<Located>, StoreError> {
        Ok(name.map(locate).transpose()?)
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

/// The checkpoint that lies there, the embedded one if it lies nowhere.
fn read_checkpoint(located: Option<Located>) -> Result<Checkpoint, StoreError> {
    match located {
        None => Ok(embedded::checkpoint()?),
        Some(Located::Directory(path) | Located::Gguf(path)) => Ok(Checkpoint::open(&path)?),
        Some(Located::Quantized(path)) => Err(StoreError::AlreadyQuantized(path)),
    }
}
