//! Finding, quantizing and caching models.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Failure;
use super::args::{ModelArgs, Verify};
use super::report::Report;
use crate::files;
use crate::layers::{Quantized, quantize_checkpoint};
use crate::model::{Checkpoint, Located, Tokenizer, embedded, locate};
use crate::proof::{
    BlindingSeed, KeyFile, Kind, ModelFile, ModelId, OpenedModel, Setup, container,
};
use crate::quant::{Headroom, IntegerModel, Options, QUANTIZER_VERSION};

/// The text that scales are calibrated on where the user gives none.
const CALIBRATION_TEXT: &str = include_str!("calibration.txt");

/// How a checkpoint is quantized.
#[derive(Clone, Debug)]
pub struct QuantizeOptions {
    pub calibrate: Option<PathBuf>,
    pub headroom: u32,
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

/// `$NANOZK_HOME`, or `nanozk` in the platform's cache directory. `None` if there is neither:
/// nothing is cached then.
pub fn home() -> Option<PathBuf> {
    let var = |name| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    var("NANOZK_HOME")
        .or_else(|| var("XDG_CACHE_HOME").map(|c| c.join("nanozk")))
        .or_else(|| var("LOCALAPPDATA").map(|c| c.join("nanozk")))
        .or_else(|| var("HOME").map(|h| h.join(".cache/nanozk")))
}

/// Refuses an output path that cannot be written, before long work is begun. What stands there is
/// replaced by renaming, which would not ask whether it is a device or write-protected.
pub fn check_writable(out: &Path) -> Result<(), Failure> {
    if let Ok(there) = std::fs::metadata(out) {
        let obstacle = if !there.is_file() {
            "not a file"
        } else if there.permissions().readonly() {
            "write-protected"
        } else {
            ""
        };
        if !obstacle.is_empty() {
            return Err(format!("{}: cannot write there: it is {obstacle}", out.display()).into());
        }
    }
    let parent = match out.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    // An unnamed file tells now what renaming would tell after the work.
    match tempfile::tempfile_in(parent) {
        Ok(_) => Ok(()),
        Err(e) => Err(format!("{}: cannot write there: {e}", out.display()).into()),
    }
}

/// The model to prove with: read from a `.nzk` file, or quantized (once; then from the cache).
fn prover_model(
    args: &ModelArgs,
    home: Option<&Path>,
    setup: &Setup,
    report: &Report,
) -> Result<ModelFile, Failure> {
    if let Some(path) = quantized_path(args)? {
        return Ok(container::read(Kind::Model, &path)?);
    }
    let checkpoint = open_checkpoint(args.model.as_deref(), report)?;
    checkpoint_model(&checkpoint, args.headroom, home, setup, report)
}

/// What a run needs: the generators, the model of [`prover_model`] opened, and its tokenizer.
pub fn opened_model(
    args: &ModelArgs,
    home: Option<&Path>,
    report: &Report,
) -> Result<(Setup, OpenedModel, Tokenizer), Failure> {
    report.progress("loading generators");
    let setup = Setup::load(home);
    let model = prover_model(args, home, &setup, report)?.open()?;
    let tokenizer = tokenizer(&model.tokenizer)?;
    Ok((setup, model, tokenizer))
}

/// Where the model lies, if it is a quantized one.
fn quantized_path(args: &ModelArgs) -> Result<Option<PathBuf>, Failure> {
    let located = args.model.as_deref().map(locate).transpose()?;
    Ok(match (located, args.headroom) {
        (Some(Located::Quantized(path)), None) => Some(path),
        // Headroom is of a checkpoint: [`open_checkpoint`] refuses anything else.
        _ => None,
    })
}

/// A checkpoint, quantized with the default options but for the headroom (once; then from the
/// cache).
pub fn checkpoint_model(
    checkpoint: &Checkpoint,
    headroom: Option<u32>,
    home: Option<&Path>,
    setup: &Setup,
    report: &Report,
) -> Result<ModelFile, Failure> {
    let options = QuantizeOptions::new(headroom);
    let cached = home.map(|h| {
        h.join("models")
            .join(format!("{}.nzk", cache_key(checkpoint, &options)))
    });
    if let Some(path) = &cached
        && let Ok(file) = container::read::<ModelFile>(Kind::Model, path)
    {
        report.detail(&format!("using {}", path.display()));
        return Ok(file);
    }
    let (file, _) = quantize_opened(checkpoint, &options, setup, report)?;
    if let Some(path) = cached {
        store(&path, &container::encode(Kind::Model, &file), true, report);
    }
    if let Some(path) = home.map(|h| key_path(h, file.id())) {
        store(
            &path,
            &container::encode(Kind::VerifyingKey, &file.key_file()),
            false,
            report,
        );
    }
    Ok(file)
}

/// The model with its commitments computed now, whatever a cache or the file itself says: what an
/// id that is to be compared must come from.
pub fn recomputed_model(
    args: &ModelArgs,
    setup: &Setup,
    report: &Report,
) -> Result<ModelFile, Failure> {
    if let Some(path) = quantized_path(args)? {
        let file: ModelFile = container::read(Kind::Model, &path)?;
        file.model.check()?;
        return Ok(committed(
            file.model,
            file.seed,
            file.tokenizer,
            setup,
            report,
        ));
    }
    let options = QuantizeOptions::new(args.headroom);
    let (file, _) = quantize(args.model.as_deref(), &options, setup, report)?;
    Ok(file)
}

fn committed(
    model: IntegerModel,
    seed: BlindingSeed,
    tokenizer: Vec<u8>,
    setup: &Setup,
    report: &Report,
) -> ModelFile {
    ModelFile::commit(model, seed, tokenizer, setup, &|done, of| {
        report.progress(&format!("committing to weights: tensor {done} of {of}"));
    })
}

/// Quantizes and commits, without looking into the cache. Also the room that the scales leave.
pub fn quantize(
    name: Option<&str>,
    options: &QuantizeOptions,
    setup: &Setup,
    report: &Report,
) -> Result<(ModelFile, Vec<Headroom>), Failure> {
    quantize_opened(&open_checkpoint(name, report)?, options, setup, report)
}

/// The checkpoint itself, the embedded one if there is no name. What its files leave to be said is said.
pub fn open_checkpoint(name: Option<&str>, report: &Report) -> Result<Checkpoint, Failure> {
    let Some(name) = name else {
        return Ok(embedded::checkpoint()?);
    };
    let checkpoint = match locate(name)? {
        Located::Directory(path) | Located::Gguf(path) => Checkpoint::open(&path)?,
        Located::Quantized(path) => {
            let path = path.display();
            return Err(format!(
                "{path}: already quantized, without floating-point weights: give the checkpoint itself"
            )
            .into());
        }
    };
    checkpoint.notes.iter().for_each(|note| report.note(note));
    Ok(checkpoint)
}

/// A checkpoint and how it is quantized (calibrated on the program's own text, open), as a file name.
fn cache_key(checkpoint: &Checkpoint, options: &QuantizeOptions) -> String {
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
    ModelId(hash.finalize().into()).to_string()
}

fn quantize_opened(
    checkpoint: &Checkpoint,
    options: &QuantizeOptions,
    setup: &Setup,
    report: &Report,
) -> Result<(ModelFile, Vec<Headroom>), Failure> {
    let text = match &options.calibrate {
        Some(path) => {
            files::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?
        }
        None => CALIBRATION_TEXT.to_string(),
    };
    report.progress("calibrating and quantizing");
    let Quantized { model, headroom } =
        quantize_checkpoint(checkpoint, &text, options.headroom, !options.private)?;
    let seed = if options.private {
        BlindingSeed::random()?
    } else {
        BlindingSeed::OPEN
    };
    let tokenizer = checkpoint.tokenizer.to_json();
    let file = committed(model, seed, tokenizer, setup, report);
    Ok((file, headroom))
}

/// Keeps a file in the cache, and says whether it could. A cache that cannot be written is no reason
/// to fail.
pub fn store(path: &Path, bytes: &[u8], secret: bool, report: &Report) -> bool {
    // Where this fails, so does writing.
    let _ = path.parent().map(std::fs::create_dir_all);
    let stored = container::write(path, bytes, secret).is_ok();
    if !stored {
        report.detail(&format!("could not cache {}", path.display()));
    }
    stored
}

/// Where the table of a model's Fisher information is kept.
pub fn fisher_path(home: &Path, id: ModelId) -> PathBuf {
    home.join("fisher").join(format!("{id}.json"))
}

fn key_path(home: &Path, id: ModelId) -> PathBuf {
    home.join("keys").join(format!("{id}.vk"))
}

/// The key of the model `id`: from `--vk`, beside the proof, from the cache, or, if it is the
/// embedded model's, recomputed. A key of another id is refused (`--vk`) or passed over.
pub fn verifying_key(
    id: ModelId,
    args: &Verify,
    home: Option<&Path>,
    setup: &Setup,
    report: &Report,
) -> Result<KeyFile, Failure> {
    if let Some(path) = &args.vk {
        let file: KeyFile = container::read(Kind::VerifyingKey, path)?;
        let found = file.key.id();
        if found != id {
            let path = path.display();
            return Err(format!(
                "{path}: this is the key of model {found}; the proof is about model {id}"
            )
            .into());
        }
        return Ok(file);
    }
    let beside = [
        args.proof.with_extension("vk"),
        args.proof.with_file_name(format!("{id}.vk")),
    ];
    for path in beside.into_iter().chain(home.map(|h| key_path(h, id))) {
        if let Ok(file) = container::read::<KeyFile>(Kind::VerifyingKey, &path)
            && file.key.id() == id
        {
            report.detail(&format!("using {}", path.display()));
            return Ok(file);
        }
    }
    let embedded = prover_model(&ModelArgs::default(), home, setup, report)?;
    if embedded.id() == id {
        return Ok(embedded.key_file());
    }
    Err(format!(
        "no verifying key for model {id}: get it from the model's publisher and pass it with --vk"
    )
    .into())
}

pub fn tokenizer(json: &[u8]) -> Result<Tokenizer, Failure> {
    Ok(Tokenizer::from_json(json)?)
}

#[cfg(test)]
mod tests;
