//! What is known of a model's layers when some are to be chosen: the Fisher information of each and
//! its share of the proving cost. A table is kept as JSON beside the model.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::files;

/// No honest table is larger.
const MAX_BYTES: u64 = 1 << 22;

/// By how much shares may miss one: they are read from decimal numbers.
const ROUNDING: f64 = 1e-9;

/// One layer of a [`FisherTable`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FisherLayer {
    /// From the embedding, 0, to the head.
    pub index: usize,
    /// `embedding`, `block` or `head`.
    pub kind: String,
    /// The empirical Fisher information.
    pub fisher: f64,
    /// Its standard error: tokens differ.
    pub standard_error: f64,
    /// `fisher` as a share of the sum over the layers.
    pub share: f64,
    /// The proving cost as a share of the sum over the layers.
    pub cost: f64,
}

/// The layers of one model, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FisherTable {
    pub model_id: String,
    /// How many tokens' gradients were taken.
    pub tokens: usize,
    /// The tokens of a window: the longest context of a gradient and the token it predicts.
    pub ctx: usize,
    pub layers: Vec<FisherLayer>,
}

/// Why a table cannot be used.
#[derive(Debug, Error)]
pub enum FisherTableError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: more than {MAX_BYTES} bytes: not a table that `nanozk fisher` wrote", path.display())]
    TooLarge { path: PathBuf },
    #[error("{}: not a table that `nanozk fisher` wrote: {source}", path.display())]
    Malformed {
        path: PathBuf,
        source: serde_json::Error,
    },
    #[error("{}: {what}: it was edited; run `nanozk fisher` again", path.display())]
    Inconsistent { path: PathBuf, what: &'static str },
}

impl FisherTable {
    /// Reads and checks the JSON that `nanozk fisher` writes; what else it says is passed over.
    ///
    /// # Errors
    /// [`FisherTableError`] where there is no such file, or not one with a table.
    pub fn read(path: &Path) -> Result<Self, FisherTableError> {
        let io = |source| FisherTableError::Io {
            path: path.to_path_buf(),
            source,
        };
        let file = files::open(path).map_err(io)?;
        let mut text = Vec::new();
        let read = file.take(MAX_BYTES + 1).read_to_end(&mut text);
        if read.map_err(io)? as u64 > MAX_BYTES {
            let path = path.to_path_buf();
            return Err(FisherTableError::TooLarge { path });
        }
        let table: Self =
            serde_json::from_slice(&text).map_err(|source| FisherTableError::Malformed {
                path: path.to_path_buf(),
                source,
            })?;
        match table.inconsistency() {
            None => Ok(table),
            Some(what) => Err(FisherTableError::Inconsistent {
                path: path.to_path_buf(),
                what,
            }),
        }
    }

    /// The layers of one kind, with shares of what they have together.
    pub fn of_kind(&self, kind: &str) -> Self {
        let layers = self.layers.iter().filter(|l| l.kind == kind);
        let mut layers: Vec<FisherLayer> = layers.cloned().collect();
        let total = |value: fn(&FisherLayer) -> f64| layers.iter().map(value).sum::<f64>();
        let (share, cost) = (total(|l| l.share), total(|l| l.cost));
        for layer in &mut layers {
            layer.share /= share;
            layer.cost /= cost;
        }
        Self {
            layers,
            ..self.clone()
        }
    }

    /// The layers that are taken within `budget`, a share of the proving cost, in the order of
    /// information: each as long as it still fits as a whole, and none after the first that does
    /// not. In ascending order of their indices.
    pub fn most_informative(&self, budget: f64) -> Vec<usize> {
        let order = self.by_information();
        let mut taken = order[..self.within(&order, budget)].to_vec();
        taken.sort_unstable();
        taken
    }

    /// All layers, the most informative first (the first of equals).
    pub fn by_information(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.layers.len()).collect();
        order.sort_by(|a, b| self.layers[*b].share.total_cmp(&self.layers[*a].share));
        order
    }

    /// How many layers of `order`, from its first on, fit into `budget`.
    pub fn within(&self, order: &[usize], budget: f64) -> usize {
        let mut cost = 0.0;
        let fits = |layer: &&usize| {
            cost += self.layers[**layer].cost;
            // Half of the layers of a model of equals is half of its cost, however it is rounded.
            cost <= budget + ROUNDING
        };
        order.iter().take_while(fits).count()
    }

    /// What contradicts itself, if anything does.
    fn inconsistency(&self) -> Option<&'static str> {
        let sums_to_one = |value: fn(&FisherLayer) -> f64| {
            let sum: f64 = self.layers.iter().map(value).sum();
            let proper = self.layers.iter().map(value).all(|v| v >= 0.0);
            proper && (sum - 1.0).abs() <= ROUNDING
        };
        let mut indices = self.layers.iter().map(|l| l.index).enumerate();
        if !indices.all(|(at, index)| at == index) {
            Some("the layers are not numbered from 0")
        } else if !sums_to_one(|l| l.share) {
            Some("the shares of Fisher information do not add up to 1")
        } else if !sums_to_one(|l| l.cost) {
            Some("the shares of the proving cost do not add up to 1")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(layers: &[(f64, f64)]) -> FisherTable {
        let layer = |(index, (share, cost)): (usize, &(f64, f64))| FisherLayer {
            index,
            kind: "block".into(),
            fisher: 7.0 * share,
            standard_error: 0.1,
            share: *share,
            cost: *cost,
        };
        FisherTable {
            model_id: "00".into(),
            tokens: 3,
            ctx: 4,
            layers: layers.iter().enumerate().map(layer).collect(),
        }
    }

    fn read_back(text: &str) -> Result<FisherTable, FisherTableError> {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), text).expect("written");
        FisherTable::read(file.path())
    }

    /// That layers are taken by information alone, whole, and none after the first that is too much.
    #[test]
    fn layers_are_taken_in_the_order_of_information_while_they_fit() {
        let table = table(&[(0.2, 0.1), (0.1, 0.2), (0.4, 0.3), (0.3, 0.4)]);
        assert_eq!(table.by_information(), [2, 3, 0, 1]);
        assert_eq!(table.most_informative(0.29), [0; 0]);
        assert_eq!(table.most_informative(0.69), [2]);
        assert_eq!(table.most_informative(0.7), [2, 3]);
        assert_eq!(table.most_informative(0.85), [0, 2, 3]);
        assert_eq!(table.most_informative(1.0), [0, 1, 2, 3]);
    }

    /// That a table is read as it was written, whatever stands beside it, and that an edited one is not.
    #[test]
    fn a_table_is_read_as_written_and_an_edited_one_refused() {
        let table = table(&[(0.25, 0.5), (0.75, 0.5)]);
        let mut json = serde_json::to_value(&table).expect("a table is JSON");
        json["coverage_at_half_cost"] = 0.75.into();
        assert_eq!(read_back(&json.to_string()).expect("as written"), table);
        for (key, value, complaint) in [
            ("share", 0.26, "Fisher information do not add up"),
            ("share", -0.75, "Fisher information do not add up"),
            ("cost", 0.49, "proving cost do not add up"),
            ("index", 3.0, "not a table"),
        ] {
            let mut edited = json.clone();
            edited["layers"][0][key] = value.into();
            let error = read_back(&edited.to_string()).expect_err(key).to_string();
            assert!(error.contains(complaint), "{key}: {error}");
        }
        let error = read_back("{}").expect_err("no table");
        assert!(matches!(error, FisherTableError::Malformed { .. }));
    }
}
