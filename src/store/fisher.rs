//! Tables of Fisher information, kept by the model's id.

use std::path::{Path, PathBuf};

use super::{Store, StoreError};
use crate::layers::FisherTable;
use crate::proof::ModelId;

impl Store<'_> {
    /// A table of this model with so many layers: a file's, or the one that is kept.
    ///
    /// # Errors
    /// There is none, it cannot be read, or it is another model's.
    pub fn fisher_table(
        &self,
        file: Option<&Path>,
        model: ModelId,
        total: usize,
    ) -> Result<FisherTable, StoreError> {
        if let Some(path) = file {
            return table_at(path, model, total);
        }
        let kept = self.home().map(|home| home.fisher(model));
        match kept.filter(|path| path.exists()) {
            Some(path) => table_at(&path, model, total),
            None => Err(StoreError::NoFisherTable(model)),
        }
    }

    /// Keeps a model's table, and says where if it could.
    pub fn keep_fisher_table(&self, model: ModelId, json: &str) -> Option<PathBuf> {
        let path = self.home()?.fisher(model);
        self.keep(&path, json.as_bytes(), false).then_some(path)
    }
}

fn table_at(path: &Path, model: ModelId, total: usize) -> Result<FisherTable, StoreError> {
    let table = FisherTable::read(path)?;
    if table.model_id != model.to_string() || table.layers.len() != total {
        return Err(StoreError::OtherFisherTable {
            path: path.to_path_buf(),
            layers: table.layers.len(),
            found: table.model_id,
            wanted: model,
            total,
        });
    }
    Ok(table)
}
