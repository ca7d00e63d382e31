//! The files of a model: the prover's `.nzk` and the public `.vk`.

use serde::{Deserialize, Serialize};

use super::key::{
    BlindingSeed, CommittedModel, KeyError, VerifyingKey, WeightBlinds, commit_model,
};
use super::rows::row_bits;
use super::setup::Setup;
use super::statement::ModelId;
use crate::ops;
use crate::quant::IntegerModel;

/// The prover's model. Secret unless the model is open: weights and blinding seed.
#[derive(Serialize, Deserialize)]
pub struct ModelFile {
    pub model: IntegerModel,
    pub seed: BlindingSeed,
    /// tokenizer.json, whose digest the manifest holds.
    pub tokenizer: Vec<u8>,
    /// The chat template's canonical bytes, whose digest the manifest holds.
    pub chat_template: Option<Vec<u8>>,
    pub key: VerifyingKey,
}

/// The public key file: the key, and tokenizer and chat template so that a verifier can read what was proved, and tell
/// whether a prompt was made of these messages.
#[derive(Serialize, Deserialize)]
pub struct KeyFile {
    pub key: VerifyingKey,
    pub tokenizer: Vec<u8>,
    pub chat_template: Option<Vec<u8>>,
}

/// A model ready to prove with.
pub struct OpenedModel {
    pub model: IntegerModel,
    pub committed: CommittedModel,
    pub blinds: WeightBlinds,
    pub tokenizer: Vec<u8>,
    pub chat_template: Option<Vec<u8>>,
}

impl OpenedModel {
    /// log2 of the length of its committed rows, and of the boundaries'.
    pub fn row_bits(&self) -> usize {
        row_bits(&self.model.manifest.architecture)
    }

    /// The function tables, as the ops read them.
    pub fn op_tables(&self) -> ops::Tables<'_> {
        (&self.committed.tables).into()
    }
}

impl ModelFile {
    /// Commits to a quantized model. [`Self::with_chat_template`] puts the template beside it that its manifest names.
    pub fn commit(
        model: IntegerModel,
        seed: BlindingSeed,
        tokenizer: Vec<u8>,
        setup: &Setup,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Self {
        let key = commit_model(&model, &seed, &setup.generators, progress);
        Self {
            model,
            seed,
            tokenizer,
            chat_template: None,
            key,
        }
    }

    pub fn with_chat_template(self, template: Option<Vec<u8>>) -> Self {
        Self {
            chat_template: template,
            ..self
        }
    }

    pub fn id(&self) -> ModelId {
        self.key.id()
    }

    /// The public part.
    pub fn key_file(&self) -> KeyFile {
        KeyFile {
            key: self.key.clone(),
            tokenizer: self.tokenizer.clone(),
            chat_template: self.chat_template.clone(),
        }
    }

    /// Derives what proving needs.
    pub fn open(self) -> Result<OpenedModel, KeyError> {
        let committed = self.key.decode()?;
        let manifest = &self.model.manifest;
        self.model
            .check()
            .map_err(|e| KeyError::Manifest(e.to_string()))?;
        if *manifest != committed.manifest {
            return Err(KeyError::Manifest("the key is not this model's".into()));
        }
        Ok(OpenedModel {
            blinds: WeightBlinds::new(manifest, &self.seed),
            committed,
            model: self.model,
            tokenizer: self.tokenizer,
            chat_template: self.chat_template,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::testing::tiny;

    /// A model's file holds the key of its own model, or nothing is proved with it.
    #[test]
    fn a_model_comes_with_its_own_key() {
        let setup = Setup::new(None);
        let file = |change: fn(&mut ModelFile)| {
            let mut file =
                ModelFile::commit(tiny(), BlindingSeed::OPEN, vec![], &setup, &|_, _| {});
            change(&mut file);
            file.open().err().map(|e| e.to_string())
        };
        assert_eq!(file(|_| ()), None);
        let other = file(|f| f.model.manifest.provenance.open ^= true);
        assert!(other.is_some_and(|e| e.contains("the key is not this model's")));
        let misshapen = file(|f| f.model.blocks[0].up.data.truncate(5));
        assert!(misshapen.is_some());
    }
}
