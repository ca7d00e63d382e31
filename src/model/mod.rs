//! Checkpoints as they are published: recognizing them, reading and checking their files, and
//! running them in floating point.
//!
//! [`Located`] says what lies at a path; [`Checkpoint`] reads it (a [`Config`], the [`Weights`], a
//! [`Tokenizer`], and the digest of every file);
//! [`FloatModel`] is the reference to which the integer model is compared. [`synthetic`] makes
//! checkpoints of any shape for tests and benchmarks.

mod buffers;
pub mod chat;
mod checkpoint;
mod config;
pub mod embedded;
mod fisher;
mod float;
mod gguf;
pub mod layout;
mod locate;
mod pickle;
mod pipeline;
mod post_processor;
mod reproducible;
mod shard;
pub mod synthetic;
mod tokenizer;
mod tokenizer_config;
mod tokenizer_parts;
mod wanted;
mod weights;

#[cfg(test)]
mod checkpoint_tests;
#[cfg(test)]
mod fisher_tests;
#[cfg(test)]
mod float_tests;
#[cfg(test)]
mod shard_tests;

pub use chat::{ChatError, ChatTemplate, Date, DateError, Messages, SourceError};
pub use checkpoint::{Checkpoint, CheckpointError, shard_names};
pub use config::{Config, ConfigError, Kind, Multipliers, Part, Rotation, Tensors};
pub use fisher::{Fisher, FisherModel, Precision};
pub use float::{
    FloatError, FloatModel, Observer, Stage, argmax, mean_negative_log_likelihood,
    negative_log_likelihood,
};
pub use gguf::{GgufError, one_model};
pub use locate::{Located, gguf_in};
pub use pickle::{ArchiveError, PickleError};
pub use shard::ShardError;
pub use tokenizer::{Tokenizer, TokenizerError};
pub use wanted::TensorError;
pub use weights::{Slot, Tensor, Weights};
