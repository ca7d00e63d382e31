//! A GGUF file, or the several that a model is split into, as the Hugging Face checkpoint that it was made from: a
//! `config.json`, a `tokenizer.json`, and tensors under that layout's names, in its shapes and as `f32`. So
//! [`Config`](super::Config), [`Tokenizer`](super::Tokenizer) and the list of
//! [`Slot`](super::Slot)s decide what is accepted, as for every checkpoint.

pub(super) mod architecture;
mod byte_level;
mod config;
mod header;
mod keys;
mod metadata;
mod sentence_piece;
mod split;
mod tensors;
mod tokenizer;
pub mod write;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod models_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tokenizer_tests;
#[cfg(test)]
mod walk_tests;

use std::collections::BTreeSet;
use std::io::Read;

use architecture::Model;
pub use header::GgufError;
use header::{Header, Info, Input};
pub(super) use split::PartName;
pub use split::one_model;

use super::chat::{ChatError, ChatTemplate};
use super::shard::{skip, take};
use super::wanted::{Wanted, check_shape};
use super::{ShardError, TensorError};
use tensors::Place;

/// One file of a model.
pub(super) struct Part<R> {
    pub name: String,
    pub reader: R,
    /// Its bytes.
    pub length: u64,
}

/// Files whose headers have been read.
pub(super) struct Gguf<R> {
    /// The metadata of the first, and the tensors of all, file by file in the order in which they lie there.
    header: Header,
    model: Model,
    parts: Vec<Opened<R>>,
}

struct Opened<R> {
    name: String,
    input: Input<R>,
    tensors: usize,
}

impl<R: Read> Gguf<R> {
    /// Reads the headers of a model's files, in order; most models have one.
    ///
    /// # Errors
    /// [`GgufError`], naming the key or tensor, and the file where it is not the first.
    pub fn open(files: impl IntoIterator<Item = Part<R>>) -> Result<Self, GgufError> {
        let (mut parts, mut headers) = (Vec::new(), Vec::new());
        for file in files {
            let mut input = Input::new(file.reader, file.length);
            let header = in_part(parts.len(), &file.name, input.header())?;
            parts.push(Opened {
                name: file.name,
                input,
                tensors: header.tensors.len(),
            });
            headers.push(header);
        }
        let all: Vec<&Header> = headers.iter().collect();
        if let Err((index, source)) = split::check(&all) {
            return in_part(index, &parts[index].name, Err(source));
        }
        let mut headers = headers.into_iter();
        let first = headers
            .next()
            .map(|first| Model::of(&first.metadata).map(|model| (model, first)));
        let (model, mut header) = match first {
            Some(first) => first?,
            None => return Err(GgufError::Split("a model of no files".to_string())),
        };
        header
            .tensors
            .extend(headers.flat_map(|header| header.tensors));
        let mut names = BTreeSet::new();
        match header
            .tensors
            .iter()
            .find(|info| !names.insert(&*info.name))
        {
            Some(twice) => Err(GgufError::Split(format!(
                "tensor {:?} is in two parts",
                twice.name
            ))),
            None => Ok(Self {
                header,
                model,
                parts,
            }),
        }
    }

    /// The tensors of factors of rotary frequencies that belong to the model, if one of them is there; the first counts.
    pub fn factors(&self) -> &'static [&'static str] {
        let names = self.model.architecture.factors;
        match names.iter().any(|name| self.header.has(name)) {
            true => names,
            false => &[],
        }
    }

    /// The `config.json`.
    pub fn config(&self) -> Result<Vec<u8>, GgufError> {
        let config = config::config(&self.header, self.model)?;
        Ok(config.to_string().into_bytes())
    }

    /// (key of the `config.json`, key of the metadata that says it).
    pub fn names(&self) -> Vec<(&'static str, String)> {
        config::names(&self.header.metadata, self.model)
    }

    /// The keys from which the shapes of tensors follow.
    pub fn sizes(&self) -> String {
        self.model.sizes()
    }

    /// The `tokenizer.json`.
    pub fn tokenizer(&self) -> Result<Vec<u8>, GgufError> {
        let json = tokenizer::json(&self.header.metadata, self.model.architecture)?;
        Ok(json.to_string().into_bytes())
    }

    /// The chat template, if there is one.
    pub fn chat_template(&self) -> Result<Option<Result<ChatTemplate, ChatError>>, GgufError> {
        tokenizer::chat_template(&self.header.metadata)
    }

    /// Reads the tensors, one at a time in the order in which they lie in their files, and returns each file's
    /// name and SHA-256.
    pub fn read(self, wanted: &mut Wanted) -> Result<Vec<(String, [u8; 32])>, ShardError> {
        let mut tensors = self.header.tensors.into_iter();
        let digest = |part: Opened<R>| {
            let Input {
                mut reader,
                mut position,
                ..
            } = part.input;
            for info in tensors.by_ref().take(part.tensors) {
                skip(&mut reader, info.start - position)?;
                position = info.start + info.bytes as u64;
                store(&self.model, &info, &mut reader, wanted)?;
            }
            std::io::copy(&mut reader, &mut std::io::sink())?;
            Ok((part.name, reader.digest()))
        };
        self.parts.into_iter().map(digest).collect()
    }
}

fn store(
    model: &Model,
    info: &Info,
    reader: &mut impl Read,
    wanted: &mut Wanted,
) -> Result<(), ShardError> {
    let Place { names, layout } = model.place(&info.name);
    let of = |e: TensorError| match &names[..] {
        [name] => e.of(name),
        _ => e.of(&info.name),
    };
    let shapes = names.iter().map(|name| wanted.shape(name));
    let shapes = shapes.collect::<Result<Vec<_>, _>>().map_err(of)?;
    let shape = layout.shape(&info.shape);
    check_shape(&shape, &together(&shapes)).map_err(of)?;
    let bytes = take(reader, info.bytes)?;
    let stored = tensors::dequantize(info, bytes).map_err(of)?;
    let mut values = layout.restore(stored, &shape).map_err(of)?;
    for (name, shape) in names.iter().zip(&shapes).rev() {
        let rest = values.len() - shape.iter().product::<usize>();
        *wanted.slot(name).map_err(of)?.values = values.split_off(rest);
    }
    Ok(())
}

/// The shape of tensors whose rows are side by side.
fn together(shapes: &[Vec<usize>]) -> Vec<usize> {
    let mut shape = shapes.first().cloned().unwrap_or_default();
    if let [rows, ..] = &mut shape[..] {
        *rows = shapes.iter().map(|shape| shape[0]).sum();
    }
    shape
}

/// An error in the file with this index and name; the first is what the user has named.
fn in_part<T>(index: usize, name: &str, result: Result<T, GgufError>) -> Result<T, GgufError> {
    match result {
        Err(source) if index > 0 => Err(GgufError::Part {
            part: name.to_string(),
            source: Box::new(source),
        }),
        result => result,
    }
}
