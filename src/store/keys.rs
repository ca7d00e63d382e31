//! Finding the key that a proof is verified with.

use std::path::Path;

use super::{Store, StoreError};
use crate::proof::{KeyFile, Kind, ModelId, container};

impl Store<'_> {
    /// The key of the model `id`: the given file, or beside the proof, among the kept ones, or, if it is
    /// the embedded model's, recomputed. A key of another id is refused if it is the given one, and
    /// otherwise passed over.
    ///
    /// # Errors
    /// [`StoreError::NoKey`], [`StoreError::OtherKey`], and where the given file cannot be read.
    pub fn verifying_key(
        &self,
        id: ModelId,
        given: Option<&Path>,
        proof: &Path,
    ) -> Result<KeyFile, StoreError> {
        if let Some(path) = given {
            let file: KeyFile = container::read(Kind::VerifyingKey, path)?;
            let found = file.key.id();
            if found != id {
                return Err(StoreError::OtherKey {
                    path: path.to_path_buf(),
                    found,
                    wanted: id,
                });
            }
            return Ok(file);
        }
        let beside = [
            proof.with_extension("vk"),
            proof.with_file_name(format!("{id}.vk")),
        ];
        let kept = self.home().map(|home| home.key(id));
        for path in beside.into_iter().chain(kept) {
            if let Ok(file) = container::read::<KeyFile>(Kind::VerifyingKey, &path)
                && file.key.id() == id
            {
                self.progress.detail(&format!("using {}", path.display()));
                return Ok(file);
            }
        }
        let embedded = self.model_file(None, None)?;
        if embedded.id() == id {
            return Ok(embedded.key_file());
        }
        Err(StoreError::NoKey(id))
    }
}
