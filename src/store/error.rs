//! Why a model, a key or a table could not be had.

use std::io;
use std::path::PathBuf;

use crate::layers::{FisherTableError, QuantizeError};
use crate::model::{CheckpointError, LocateError, TokenizerError};
use crate::proof::{FileError, KeyError, ModelId};
use crate::quant::QuantError;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Locate(#[from] LocateError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Model(#[from] QuantError),
    #[error(transparent)]
    Quantize(#[from] QuantizeError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Randomness(#[from] rand::rngs::SysError),
    #[error("{}: already quantized, without floating-point weights: give the checkpoint itself", .0.display())]
    AlreadyQuantized(PathBuf),
    #[error("{}: {source}", path.display())]
    CalibrationText { path: PathBuf, source: io::Error },
    #[error("{}: this is the key of model {found}; the proof is about model {wanted}", path.display())]
    OtherKey {
        path: PathBuf,
        found: ModelId,
        wanted: ModelId,
    },
    #[error(
        "no verifying key for model {0}: get it from the model's publisher and pass it with --vk"
    )]
    NoKey(ModelId),
    #[error(transparent)]
    Fisher(#[from] FisherTableError),
    #[error("no table of Fisher information for model {0}: run `nanozk fisher` first")]
    NoFisherTable(ModelId),
    #[error(
        "{}: the table is of model {found} with {layers} layers, not of model {wanted} with {total}",
        path.display()
    )]
    OtherFisherTable {
        path: PathBuf,
        found: String,
        layers: usize,
        wanted: ModelId,
        total: usize,
    },
}
