//! A GGUF file as the Hugging Face checkpoint that it was made from: a `config.json`, a
//! `tokenizer.json`, and tensors under that layout's names, in its shapes and as `f32`. So
//! [`Config`](super::Config), [`Tokenizer`](super::Tokenizer) and the list of
//! [`Slot`](super::Slot)s decide what is accepted, as for every checkpoint.

mod header;
pub(super) mod keys;
mod metadata;
mod tensors;
mod tokenizer;
pub mod write;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tokenizer_tests;
#[cfg(test)]
mod walk_tests;

use std::io::Read;

pub use header::GgufError;
use header::{Header, Input};
use metadata::Architecture;

use super::ShardError;
use super::shard::{Wanted, check_shape, skip, take};

/// A file whose header has been read.
pub(super) struct Gguf<R> {
    input: Input<R>,
    header: Header,
    architecture: Architecture,
}

impl<R: Read> Gguf<R> {
    /// Reads the header of a file of `length` bytes.
    ///
    /// # Errors
    /// [`GgufError`], naming the key or tensor.
    pub fn open(reader: R, length: u64) -> Result<Self, GgufError> {
        let mut input = Input::new(reader, length);
        let header = input.header()?;
        let architecture = Architecture::of(&header.metadata)?;
        Ok(Self {
            input,
            header,
            architecture,
        })
    }

    /// The `config.json`.
    pub fn config(&self) -> Result<Vec<u8>, GgufError> {
        let config = metadata::config(&self.header, self.architecture)?;
        Ok(config.to_string().into_bytes())
    }

    /// The `tokenizer.json`.
    pub fn tokenizer(&self) -> Result<Vec<u8>, GgufError> {
        let json = tokenizer::json(&self.header.metadata, self.architecture)?;
        Ok(json.to_string().into_bytes())
    }

    /// Reads the tensors, one at a time in the order in which they lie in the file, and returns the
    /// whole file's SHA-256.
    pub fn read(self, wanted: &mut Wanted) -> Result<[u8; 32], ShardError> {
        let Input {
            mut reader,
            mut position,
            ..
        } = self.input;
        for info in self.header.tensors {
            skip(&mut reader, info.start - position)?;
            position = info.start + info.bytes as u64;
            let (name, layout) = self.architecture.place(&info.name);
            let slot = wanted.claim(&name).map_err(|e| e.of(&name))?;
            let Some(slot) = slot else {
                skip(&mut reader, info.bytes as u64)?;
                continue;
            };
            let shape = layout.shape(&info.shape);
            check_shape(&shape, &slot.shape).map_err(|e| e.of(&name))?;
            let bytes = take(&mut reader, info.bytes)?;
            let stored = tensors::dequantize(&info, bytes).map_err(|e| e.of(&name))?;
            let restored = layout.restore(stored, &shape);
            *slot.values = restored.map_err(|e| e.of(&name))?;
        }
        std::io::copy(&mut reader, &mut std::io::sink())?;
        Ok(reader.digest())
    }
}
