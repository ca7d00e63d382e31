//! A checkpoint in Hugging Face's layout or as a GGUF file, read and checked completely.
//!
//! A directory holds `config.json`, perhaps `generation_config.json`, the weights as `model.safetensors` or as shards listed by
//! `model.safetensors.index.json`, else as `pytorch_model.bin` or as shards listed by
//! `pytorch_model.bin.index.json`, and `tokenizer.json` or `vocab.json` with `merges.txt`. A `.gguf`
//! file, or the parts of one, holds all of these; [`Gguf`] gives them in that layout.
//! Nothing in it is trusted: sizes are bounded, the shapes in the files must be those that the
//! configuration implies, every weight must be finite, and a tensor that the architecture does
//! not know is refused rather than ignored, since the model would be another function.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::files;

use super::chat::{self, ChatTemplate, SourceError, SpecialTokens};
use super::gguf::{self, Gguf, GgufError, PartName};
use super::layout::{
    ADDED_TOKENS, CONFIG, DEFAULT_TEMPLATE, GENERATION, MERGES, PICKLE, TEMPLATE, TEMPLATE_SUFFIX,
    TEMPLATES, TOKENIZER, TOKENIZER_CONFIG, TOKENS_MAP, VOCABULARY, WEIGHTS,
};
use super::tokenizer_config::{self, TokenizerConfig};
use super::wanted::{LM_HEAD, Wanted};
use super::{
    Config, ConfigError, ShardError, Slot, TensorError, Tokenizer, TokenizerError, Weights, pickle,
    shard,
};
use crate::quant::{PAIR_FACTORS, Scaling};

/// The largest JSON or text file that is read: above any tokenizer in use.
const MAX_TEXT: u64 = 1 << 26;
const MAX_SHARDS: usize = 1 << 10;

/// A checkpoint of one of the model types that are read.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// What the model is called: the repository's or the directory's name.
    pub name: String,
    /// `config.tied` says what the files hold: it is `weights.lm_head.is_none()`.
    pub config: Config,
    pub weights: Weights,
    pub tokenizer: Tokenizer,
    /// What makes a prompt of messages, if there is something.
    pub chat_template: Option<ChatTemplate>,
    /// (file name, SHA-256) of every file that was read, sorted by name.
    pub files: Vec<(String, [u8; 32])>,
    /// What the user should know: where the files contradict each other and one of them was followed.
    pub notes: Vec<String>,
}

/// Why a checkpoint is refused.
#[derive(Debug, Error)]
pub enum CheckpointError {
    #[error("{}: {source}", file.display())]
    Io {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{}: {length} bytes, more than the {MAX_TEXT} such a file may have", file.display())]
    TooLarge { file: PathBuf, length: u64 },
    #[error("{}: {source}", file.display())]
    Config {
        file: PathBuf,
        #[source]
        source: ConfigError,
    },
    #[error("{}: {source}", file.display())]
    Gguf {
        file: PathBuf,
        #[source]
        source: GgufError,
    },
    #[error("{}: {reason}", file.display())]
    Index { file: PathBuf, reason: String },
    #[error(
        "{}: none of {}, {}, {} and {}: convert the checkpoint to safetensors",
        .0.display(), WEIGHTS[0][0], WEIGHTS[0][1], WEIGHTS[1][0], WEIGHTS[1][1]
    )]
    NoWeights(PathBuf),
    #[error("{}: {source}", file.display())]
    Weights {
        file: PathBuf,
        #[source]
        source: ShardError,
    },
    #[error("{}: {source} (sizes are said by {sizes})", file.display())]
    GgufWeights {
        file: PathBuf,
        sizes: String,
        #[source]
        source: Box<ShardError>,
    },
    #[error(
        "{}: is missing: the model is in {count} files, all of which must lie in one directory; download it", file.display()
    )]
    NoPart { file: PathBuf, count: usize },
    #[error("{}: neither {TOKENIZER} nor {VOCABULARY} with {MERGES}", .0.display())]
    NoTokenizer(PathBuf),
    #[error("{}: {source}", file.display())]
    Tokenizer {
        file: PathBuf,
        #[source]
        source: TokenizerError,
    },
    #[error("{}: {source}", file.display())]
    ChatTemplate {
        file: PathBuf,
        #[source]
        source: SourceError,
    },
}

impl Checkpoint {
    /// Reads the checkpoint in a directory, or the one whose weights are the given
    /// `.safetensors` file and whose other files lie beside it, or the one in a `.gguf` file. Peak
    /// memory is the weights as `f32` and one tensor as stored.
    ///
    /// # Errors
    /// [`CheckpointError`], naming the file and, where one is to blame, the key or tensor with
    /// what was expected and found.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        if path.is_file() && has_suffix(path, "gguf") {
            return Self::open_gguf(path);
        }
        let single = path.extension().is_some_and(|e| e == "safetensors") && path.is_file();
        let directory = match path.parent() {
            Some(parent) if single => parent,
            _ => path,
        };
        let mut loader = Loader::new(directory.to_path_buf());
        let json = loader.read_text(CONFIG)?;
        let mut config = loader.config(CONFIG, &json)?;
        loader.find_generation(&mut config)?;
        let beside = loader.find_beside()?;
        let (tokenizer, tokens) = loader.find_tokenizer(&config, &json, &beside)?;
        loader.find_chat_template(&beside, tokens)?;
        let (shards, whole) = if single {
            let name = path.file_name().unwrap_or_default();
            let name = name.to_string_lossy().into_owned();
            (vec![name.clone()], name)
        } else {
            loader.find_shards()?
        };
        let sources = shards.into_iter().map(|name| Source::File {
            path: directory.join(&name),
            name,
        });
        let name = model_name(directory);
        loader.finish(name, config, tokenizer, sources.collect(), &whole)
    }

    fn open_gguf(path: &Path) -> Result<Self, CheckpointError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let (stem, names) = match PartName::parse(&name) {
            None => (&*stem, vec![name.to_string()]),
            Some(part) => {
                let names = part.all().map_err(|source| CheckpointError::Gguf {
                    file: path.to_path_buf(),
                    source,
                })?;
                (part.stem, names)
            }
        };
        let count = names.len();
        let part = |name: String| {
            let file = path.with_file_name(&name);
            let opened = files::open(&file).and_then(|file| Ok((file.metadata()?.len(), file)));
            match opened {
                Ok((length, file)) => Ok(gguf::Part {
                    name,
                    reader: Box::new(io::BufReader::with_capacity(1 << 16, file)) as Box<dyn Read>,
                    length,
                }),
                Err(e) if count > 1 && e.kind() == io::ErrorKind::NotFound => {
                    Err(CheckpointError::NoPart { file, count })
                }
                Err(source) => Err(CheckpointError::Io { file, source }),
            }
        };
        let parts = names.into_iter().map(part).collect::<Result<_, _>>()?;
        Self::read_gguf(stem, path, parts)
    }

    /// A checkpoint called `name` from the content of a GGUF file.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_gguf(name: &str, content: &[u8]) -> Result<Self, CheckpointError> {
        let file = PathBuf::from(format!("{name}.gguf"));
        let part = gguf::Part {
            name: format!("{name}.gguf"),
            reader: Box::new(content) as Box<dyn Read>,
            length: content.len() as u64,
        };
        Self::read_gguf(name, &file, vec![part])
    }

    fn read_gguf(
        name: &str,
        file: &Path,
        parts: Vec<gguf::Part<Box<dyn Read + '_>>>,
    ) -> Result<Self, CheckpointError> {
        let refused = |source| CheckpointError::Gguf {
            file: file.to_path_buf(),
            source,
        };
        let directory = file.parent().unwrap_or(Path::new(""));
        let mut loader = Loader::new(directory.to_path_buf());
        let file = file.file_name().unwrap_or_default().to_string_lossy();
        let gguf = Gguf::open(parts).map_err(refused)?;
        let config = Config::parse(&gguf.config().map_err(refused)?);
        let config = config.map_err(|e| CheckpointError::Config {
            file: loader.path(&file),
            source: e.renamed(&gguf.names()),
        })?;
        let json = gguf.tokenizer().map_err(refused)?;
        let tokenizer = loader.tokenizer(&file, Tokenizer::from_json(&json), &config)?;
        let template = gguf.chat_template().map_err(refused)?;
        loader.chat_template = template.transpose().map_err(|source| {
            let file = loader.path(&file);
            let source = source.into();
            CheckpointError::ChatTemplate { file, source }
        })?;
        let sources = vec![Source::Gguf(Box::new(gguf))];
        loader.finish(name.to_string(), config, tokenizer, sources, &file)
    }

    /// A checkpoint called `name` from the contents of its files: `config.json`, (name, content) of
    /// each file of weights, and `tokenizer.json`.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn from_parts(
        name: &str,
        config: &[u8],
        weights: Vec<(String, Cow<[u8]>)>,
        tokenizer: &[u8],
    ) -> Result<Self, CheckpointError> {
        let mut loader = Loader::new(PathBuf::from(name));
        loader.record(CONFIG, config);
        loader.record(TOKENIZER, tokenizer);
        let (json, tokenizer) = (without_mark(config), without_mark(tokenizer));
        let config = loader.config(CONFIG, json)?;
        let (tokenizer, _) = loader.built(&config, json, Some(tokenizer), &Beside::default())?;
        let whole = match &weights[..] {
            [(name, _)] => name.clone(),
            _ => WEIGHTS[0][1].to_string(),
        };
        let sources = weights.into_iter();
        let sources = sources.map(|(name, bytes)| Source::Bytes { name, bytes });
        loader.finish(
            name.to_string(),
            config,
            tokenizer,
            sources.collect(),
            &whole,
        )
    }
}

/// Where weights come from.
enum Source<'a> {
    File { name: String, path: PathBuf },
    Bytes { name: String, bytes: Cow<'a, [u8]> },
    Gguf(Box<Gguf<Box<dyn Read + 'a>>>),
}

impl Source<'_> {
    /// The file's name, if it is one.
    fn name(&self) -> Option<String> {
        match self {
            Self::File { name, .. } | Self::Bytes { name, .. } => Some(name.clone()),
            Self::Gguf(_) => None,
        }
    }

    fn read(self, wanted: &mut Wanted) -> Result<Vec<(String, [u8; 32])>, ShardError> {
        let (name, digest) = match self {
            Self::Gguf(gguf) => return gguf.read(wanted),
            Self::Bytes { name, bytes } => {
                let length = bytes.len() as u64;
                let digest = read_weights(wanted, &name, io::Cursor::new(bytes), length)?;
                (name, digest)
            }
            Self::File { name, path } => {
                let file = files::open(&path)?;
                let length = file.metadata()?.len();
                let reader = io::BufReader::with_capacity(1 << 20, file);
                let digest = read_weights(wanted, &name, reader, length)?;
                (name, digest)
            }
        };
        Ok(vec![(name, digest)])
    }
}

/// Reads a file of weights by the format that its name says.
fn read_weights(
    wanted: &mut Wanted,
    name: &str,
    reader: impl Read + Seek,
    length: u64,
) -> Result<[u8; 32], ShardError> {
    if name.ends_with(PICKLE) {
        pickle::read(wanted, reader, length)
    } else {
        shard::read(wanted, reader, length)
    }
}

/// `model.safetensors.index.json` or `pytorch_model.bin.index.json`: which file holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The files that an index names, sorted, all of them in its own directory and with that suffix.
///
/// # Errors
/// The reason for which the index is refused.
pub fn shard_names(index: &[u8], suffix: &str) -> Result<Vec<String>, String> {
    let index: Index = serde_json::from_slice(index)
        .map_err(|e| format!("not an index of files of weights: {e}"))?;
    let mut shards: Vec<String> = index.weight_map.into_values().collect();
    shards.sort();
    shards.dedup();
    if shards.is_empty() || shards.len() > MAX_SHARDS {
        let count = shards.len();
        return Err(format!("{count} files, expected 1 to {MAX_SHARDS}"));
    }
    match shards.iter().find(|name| !is_plain(name, suffix)) {
        Some(name) => Err(format!(
            "\"{name}\" is not the name of a {suffix} file in the same directory"
        )),
        None => Ok(shards),
    }
}

/// What is said beside a tokenizer, where the files are there.
#[derive(Default)]
struct Beside {
    config: Option<Vec<u8>>,
    tokens_map: Option<Vec<u8>>,
    added_tokens: Option<Vec<u8>>,
}

impl Beside {
    fn files(&self) -> tokenizer_config::Files<'_> {
        tokenizer_config::Files {
            config: self.config.as_deref(),
            tokens_map: self.tokens_map.as_deref(),
            added_tokens: self.added_tokens.as_deref(),
        }
    }
}

/// Reads a checkpoint's files, recording the digest of each.
struct Loader {
    directory: PathBuf,
    files: BTreeMap<String, [u8; 32]>,
    chat_template: Option<ChatTemplate>,
}

impl Loader {
    fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            files: BTreeMap::new(),
            chat_template: None,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn record(&mut self, name: &str, content: &[u8]) {
        let digest = Sha256::digest(content).into();
        self.files.insert(name.to_string(), digest);
    }

    /// Reads a small file; a byte-order mark is not part of its text.
    fn read_text(&mut self, name: &str) -> Result<Vec<u8>, CheckpointError> {
        let file = self.path(name);
        let mut content = Vec::new();
        let read = files::open(&file).and_then(|f| f.take(MAX_TEXT + 1).read_to_end(&mut content));
        if let Err(source) = read {
            return Err(CheckpointError::Io { file, source });
        }
        let length = content.len() as u64;
        if length > MAX_TEXT {
            return Err(CheckpointError::TooLarge { file, length });
        }
        self.record(name, &content);
        content.drain(..length as usize - without_mark(&content).len());
        Ok(content)
    }

    fn config(&self, name: &str, json: &[u8]) -> Result<Config, CheckpointError> {
        Config::parse(json).map_err(|source| CheckpointError::Config {
            file: self.path(name),
            source,
        })
    }

    /// Reads what a `generation_config.json` says of where answers end, if there is one.
    fn find_generation(&mut self, config: &mut Config) -> Result<(), CheckpointError> {
        if !self.path(GENERATION).exists() {
            return Ok(());
        }
        let json = self.read_text(GENERATION)?;
        config
            .read_generation(&json)
            .map_err(|source| CheckpointError::Config {
                file: self.path(GENERATION),
                source,
            })
    }

    /// Reads what is said beside a tokenizer.
    fn find_beside(&mut self) -> Result<Beside, CheckpointError> {
        let mut read = |name| match self.path(name).is_file() {
            true => self.read_text(name).map(Some),
            false => Ok(None),
        };
        Ok(Beside {
            config: read(TOKENIZER_CONFIG)?,
            tokens_map: read(TOKENS_MAP)?,
            added_tokens: read(ADDED_TOKENS)?,
        })
    }

    fn find_tokenizer(
        &mut self,
        config: &Config,
        json: &[u8],
        beside: &Beside,
    ) -> Result<(Tokenizer, SpecialTokens), CheckpointError> {
        if self.path(TOKENIZER).is_file() {
            let tokenizer = self.read_text(TOKENIZER)?;
            return self.built(config, json, Some(&tokenizer), beside);
        }
        if !(self.path(VOCABULARY).is_file() && self.path(MERGES).is_file()) {
            return Err(CheckpointError::NoTokenizer(self.directory.clone()));
        }
        self.built(config, json, None, beside)
    }

    /// The tokenizer that a `tokenizer.json`, or else `vocab.json` with `merges.txt`, becomes by what is said beside it;
    /// with its special tokens; `json` is the `config.json`.
    fn built(
        &mut self,
        config: &Config,
        json: &[u8],
        tokenizer: Option<&[u8]>,
        beside: &Beside,
    ) -> Result<(Tokenizer, SpecialTokens), CheckpointError> {
        let class = Config::tokenizer_class(json).map_err(|source| CheckpointError::Config {
            file: self.path(CONFIG),
            source,
        })?;
        let registered = config.tensors.tokenizer;
        let read = TokenizerConfig::read(registered, &class, tokenizer, beside.files());
        let read = read.map_err(|(file, source)| CheckpointError::Tokenizer {
            file: self.path(file),
            source,
        })?;
        let (name, plain) = match tokenizer {
            Some(json) => (TOKENIZER, Ok(Cow::Borrowed(json))),
            None => {
                let (vocabulary, merges) = (self.read_text(VOCABULARY)?, self.read_text(MERGES)?);
                let json = Tokenizer::vocabulary_json(&vocabulary, &merges);
                (VOCABULARY, json.map(Cow::Owned))
            }
        };
        let built = plain.and_then(|json| Tokenizer::from_json(&read.apply(&json)?));
        let tokenizer = self.tokenizer(name, built, config)?;
        Ok((tokenizer, read.special_tokens()))
    }

    /// Reads the chat template, if there is one: from the files that transformers takes it from, in their order. Where
    /// there are only templates with other names than "default", none is taken.
    fn find_chat_template(
        &mut self,
        beside: &Beside,
        tokens: SpecialTokens,
    ) -> Result<(), CheckpointError> {
        let others = std::fs::read_dir(self.path(TEMPLATES));
        let named = others.into_iter().flatten().flatten().any(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().ends_with(TEMPLATE_SUFFIX) && entry.path().is_file()
        });
        let name = match [DEFAULT_TEMPLATE, TEMPLATE]
            .into_iter()
            .find(|name| self.path(name).is_file())
        {
            None if named => return Ok(()),
            name => name,
        };
        let template = name.map(|name| self.read_text(name)).transpose()?;
        let template = name.zip(template.as_deref());
        let config = beside.config.as_deref();
        let config = config.map(|content| (TOKENIZER_CONFIG, content));
        let found = chat::find(template, config, tokens);
        self.chat_template = found.map_err(|(file, source)| CheckpointError::ChatTemplate {
            file: self.path(&file),
            source,
        })?;
        Ok(())
    }

    /// Checks that the model has an embedding for each of the tokenizer's tokens.
    fn tokenizer(
        &self,
        name: &str,
        tokenizer: Result<Tokenizer, TokenizerError>,
        config: &Config,
    ) -> Result<Tokenizer, CheckpointError> {
        let checked = tokenizer.and_then(|t| t.check_vocabulary(config.vocabulary).map(|()| t));
        checked.map_err(|source| CheckpointError::Tokenizer {
            file: self.path(name),
            source,
        })
    }

    /// The names of the files of weights, and of the file that says which they are. Safetensors come first, as in
    /// `transformers`.
    fn find_shards(&mut self) -> Result<(Vec<String>, String), CheckpointError> {
        for [single, index, suffix] in WEIGHTS {
            if self.path(single).is_file() {
                return Ok((vec![single.to_string()], single.to_string()));
            }
            if self.path(index).is_file() {
                let json = self.read_text(index)?;
                let names =
                    shard_names(&json, suffix).map_err(|reason| CheckpointError::Index {
                        file: self.path(index),
                        reason,
                    })?;
                return Ok((names, index.to_string()));
            }
        }
        Err(CheckpointError::NoWeights(self.directory.clone()))
    }

    /// Reads all weights. Whether the head is tied is settled by them: it is unless the files hold an
    /// `lm_head.weight` that differs from the token embedding in some bit.
    fn finish(
        mut self,
        name: String,
        mut config: Config,
        tokenizer: Tokenizer,
        sources: Vec<Source>,
        whole: &str,
    ) -> Result<Checkpoint, CheckpointError> {
        let mut weights = Weights::empty(&config);
        weights.lm_head = Some(Vec::new());
        // llama.cpp's converter has added it already.
        let converted = sources
            .iter()
            .any(|source| matches!(source, Source::Gguf(_)));
        let factors = self.fill(&config, &mut weights, sources, whole)?;
        let offset = config.tensors.gain_offset;
        if offset != 0.0 && !converted {
            weights.shift_gains(offset);
        }
        let mut notes = Vec::new();
        weights.lm_head = weights
            .lm_head
            .take()
            .filter(|head| !head.is_empty() && !same_bits(head, weights.tokens()));
        if config.tied && weights.lm_head.is_some() {
            notes.push(format!(
                "{}: {LM_HEAD} differs from the token embedding although tie_word_embeddings is true: it is used as it \
                 is, as transformers does; set tie_word_embeddings to false, or remove the tensor if it should be tied",
                self.path(whole).display()
            ));
        }
        config.tied = weights.lm_head.is_none();
        for rotation in config
            .kinds
            .iter_mut()
            .filter_map(|kind| kind.rotation.as_mut())
        {
            if let Some(factors) = &factors {
                rotation.frequencies.scaling = Scaling::Factors(factors.clone());
            }
        }
        Ok(Checkpoint {
            name,
            config,
            weights,
            tokenizer,
            chat_template: self.chat_template,
            files: self.files.into_iter().collect(),
            notes,
        })
    }

    /// Fills the weights from all files, and returns the factors of rotary frequencies, if these have some.
    fn fill(
        &mut self,
        config: &Config,
        weights: &mut Weights,
        sources: Vec<Source>,
        whole: &str,
    ) -> Result<Option<Vec<f32>>, CheckpointError> {
        let names = sources.iter().find_map(|source| match source {
            Source::Gguf(gguf) => Some(gguf.factors()),
            Source::File { .. } | Source::Bytes { .. } => None,
        });
        let names = names.unwrap_or_default();
        let mut factors = vec![Vec::new(); names.len()];
        let mut slots = weights.slots(config);
        slots.extend(names.iter().zip(&mut factors).map(|(name, values)| Slot {
            name: name.to_string(),
            shape: vec![config.rotated / 2],
            values,
        }));
        let mut wanted = Wanted::new(config, slots);
        let sizes = sources.iter().find_map(|source| match source {
            Source::Gguf(gguf) => Some(gguf.sizes()),
            Source::File { .. } | Source::Bytes { .. } => None,
        });
        let refused = |file: PathBuf| {
            let sizes = sizes.clone();
            move |source: ShardError| match (sizes, &source) {
                (Some(sizes), ShardError::Tensor { source: e, .. }) if e.is_of_sizes() => {
                    CheckpointError::GgufWeights {
                        file,
                        sizes,
                        source: Box::new(source),
                    }
                }
                _ => CheckpointError::Weights { file, source },
            }
        };
        for source in sources {
            let name = source.name().unwrap_or(whole.to_string());
            let file = self.path(&name);
            self.files
                .extend(source.read(&mut wanted).map_err(refused(file))?);
        }
        wanted
            .resolve_aliases()
            .map_err(refused(self.path(whole)))?;
        let mut missing = wanted
            .missing()
            .filter(|s| s.name != LM_HEAD || !config.tied);
        if let Some(slot) = missing.next() {
            let expected = slot.shape.clone();
            let error = TensorError::Missing { expected }.of(&slot.name);
            return Err(refused(self.path(whole))(error));
        }
        drop(missing);
        drop(wanted);
        for (name, factors) in names.iter().zip(&factors) {
            if let Some(index) = factors.iter().position(|f| !PAIR_FACTORS.contains(f)) {
                let value = factors[index];
                let error = TensorError::Factor { index, value }.of(name);
                return Err(refused(self.path(whole))(error));
            }
        }
        Ok(factors.into_iter().next())
    }
}

/// A text without the mark of its byte order, which Python refuses in JSON; it cannot mean anything else.
fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

fn has_suffix(path: &Path, suffix: &str) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case(suffix))
}

/// Equality by representation: 0 and −0 differ.
fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.iter()
        .map(|x| x.to_bits())
        .eq(b.iter().map(|x| x.to_bits()))
}

/// Whether a shard's name stays inside the checkpoint's directory.
fn is_plain(name: &str, suffix: &str) -> bool {
    let stem = name.strip_suffix(suffix).unwrap_or_default();
    !stem.is_empty() && !stem.starts_with('.') && !name.contains(['/', '\\', ':', '\0'])
}

/// `org/name` for a snapshot in the Hugging Face cache, otherwise the directory's name.
fn model_name(directory: &Path) -> String {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_path_buf());
    let mut parts: Vec<_> = absolute.iter().map(|p| p.to_string_lossy()).collect();
    let cached = parts.iter().rev().find_map(|p| p.strip_prefix("models--"));
    match cached {
        Some(repository) => repository.replace("--", "/"),
        None => parts.pop().unwrap_or_default().into_owned(),
    }
}
