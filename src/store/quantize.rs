//! From a checkpoint to a committed integer model, once.

use std::borrow::Cow;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::{Revision, Store, StoreError};
use crate::files;
use crate::layers::{Quantized, quantize_checkpoint};
use crate::model::{ChatTemplate, Checkpoint, Located};
use crate::proof::{BlindingSeed, Kind, ModelFile, ModelId, container};
use crate::quant::{Headroom, IntegerModel, Options, QUANTIZER_VERSION};

/// The text that scales are calibrated on where the user gives none.
const CALIBRATION_TEXT: &str = include_str!("calibration.txt");

/// How a checkpoint is quantized.
#[derive(Clone, Debug)]
pub struct QuantizeOptions {
    /// A text to calibrate the scales on instead of the program's own.
    pub calibrate: Option<PathBuf>,
    /// Bits by which values may exceed the largest that calibration saw.
    pub headroom: u32,
    /// Whether the id cannot be recomputed from the weights.
    pub private: bool,
}

impl QuantizeOptions {
    /// Those of a checkpoint that is named directly, with this headroom or that of the default.
    pub fn new(headroom: Option<u32>) -> Self {
        Self {
            calibrate: None,
            headroom: headroom.unwrap_or(Options::default().headroom),
            private: false,
        }
    }
}

/// A model whose id was computed from what it was read from.
pub struct Recomputed {
    pub file: ModelFile,
    /// The commit that it was read from, if it came from a repository. The id does not depend on it:
    /// the same files from elsewhere are the same model.
    pub revision: Option<Revision>,
}

impl Store<'_> {
    /// A checkpoint, quantized with the default options but for the headroom (once; then it is kept).
    ///
    /// # Errors
    /// [`StoreError::Quantize`].
    pub fn checkpoint_model(
        &self,
        checkpoint: &Checkpoint,
        headroom: Option<u32>,
    ) -> Result<ModelFile, StoreError> {
        let options = QuantizeOptions::new(headroom);
        let home = self.home();
        let cached = home.map(|h| h.model(&cache_key(checkpoint, &options)));
        if let Some(path) = &cached
            && let Ok(file) = container::read::<ModelFile>(Kind::Model, path)
        {
            self.progress.detail(&format!("using {}", path.display()));
            return Ok(file);
        }
        let (file, _) = self.quantize_opened(checkpoint, &options)?;
        if let Some(path) = cached {
            self.keep(&path, &container::encode(Kind::Model, &file), true);
        }
        if let Some(path) = home.map(|h| h.key(file.id())) {
            let key = container::encode(Kind::VerifyingKey, &file.key_file());
            self.keep(&path, &key, false);
        }
        Ok(file)
    }

    /// The model with its commitments computed now, whatever is kept or the file itself says: what an
    /// id that is to be compared must come from.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn recompute(
        &self,
        name: Option<&str>,
        headroom: Option<u32>,
    ) -> Result<Recomputed, StoreError> {
        let found = self.find(name)?;
        let file = match (found.as_ref().map(|f| &f.located), headroom) {
            (Some(Located::Quantized(path)), None) => {
                let file: ModelFile = container::read(Kind::Model, path)?;
                file.model.check()?;
                let committed = self.committed(file.model, file.seed, file.tokenizer);
                committed.with_chat_template(file.chat_template)
            }
            (located, _) => {
                let options = QuantizeOptions::new(headroom);
                self.quantize_opened(&self.read_checkpoint(located)?, &options)?
                    .0
            }
        };
        Ok(Recomputed {
            file,
            revision: found.and_then(|f| f.revision),
        })
    }

    /// Quantizes and commits, whatever is kept. Also the room that the scales leave.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn quantize(
        &self,
        name: Option<&str>,
        options: &QuantizeOptions,
    ) -> Result<(ModelFile, Vec<Headroom>), StoreError> {
        self.quantize_opened(&self.checkpoint(name)?, options)
    }

    fn quantize_opened(
        &self,
        checkpoint: &Checkpoint,
        options: &QuantizeOptions,
    ) -> Result<(ModelFile, Vec<Headroom>), StoreError> {
        let text = match &options.calibrate {
            Some(path) => {
                let read = files::read_to_string(path);
                Cow::Owned(read.map_err(|source| StoreError::CalibrationText {
                    path: path.clone(),
                    source,
                })?)
            }
            None => Cow::Borrowed(CALIBRATION_TEXT),
        };
        self.progress.progress("calibrating and quantizing");
        let Quantized { model, headroom } =
            quantize_checkpoint(checkpoint, &text, options.headroom, !options.private)?;
        let seed = if options.private {
            BlindingSeed::random()?
        } else {
            BlindingSeed::OPEN
        };
        let template = checkpoint.chat_template.as_ref();
        let file = self
            .committed(model, seed, checkpoint.tokenizer.to_json())
            .with_chat_template(template.map(ChatTemplate::to_bytes));
        Ok((file, headroom))
    }

    fn committed(&self, model: IntegerModel, seed: BlindingSeed, tokenizer: Vec<u8>) -> ModelFile {
        ModelFile::commit(model, seed, tokenizer, self.setup(), &|done, of| {
            let what = format!("committing to weights: tensor {done} of {of}");
            self.progress.progress(&what);
        })
    }
}

/// A checkpoint and how it is quantized (calibrated on the program's own text, open), as a file name.
pub(super) fn cache_key(checkpoint: &Checkpoint, options: &QuantizeOptions) -> String {
    let mut hash = Sha256::new();
    hash.update(b"nanozk/cache/v1");
    hash.update([container::VERSION, QUANTIZER_VERSION]);
    hash.update(env!("CARGO_PKG_VERSION"));
    hash.update(CALIBRATION_TEXT);
    hash.update(options.headroom.to_le_bytes());
    for (name, digest) in &checkpoint.files {
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        hash.update(digest);
    }
    // Which of the files count may depend on what stands beside them unread.
    hash.update(checkpoint.tokenizer.digest());
    if let Some(template) = &checkpoint.chat_template {
        hash.update(template.digest());
    }
    ModelId(hash.finalize().into()).to_string()
}
