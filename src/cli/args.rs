//! The raw arguments.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::proof::ModelId;

/// Prove that a language model gave an answer, and verify such proofs.
///
/// `prove` runs a model on a prompt in exact integer arithmetic and writes a zero-knowledge proof
/// that this model, identified by a commitment, turned this prompt into this output. `verify`
/// checks it without the weights.
#[derive(Debug, Parser)]
#[command(name = "nanozk", version, propagate_version = true)]
#[command(
    after_help = "Exit codes: 0 success, 1 the proof is not valid, 2 the command could not do \
its work,\n3 a valid proof of only some layers.\n\nCaches live in $NANOZK_HOME (default: the \
platform's cache directory)."
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub common: Common,
}

/// What every command takes.
#[derive(Debug, ClapArgs)]
pub struct Common {
    /// Print one JSON object on standard output and nothing else.
    #[arg(long, global = true)]
    pub json: bool,
    /// The number of threads [default: all cores].
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// No progress, no summary: results and errors only.
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more about what is done.
    #[arg(long, short, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Turn a checkpoint into an integer model and commit to its weights.
    Quantize(Quantize),
    /// Answer a prompt and prove the answer.
    Prove(Prove),
    /// Verify a proof file.
    Verify(Verify),
    /// Show what a proof file claims, without verifying it.
    Inspect(Inspect),
    /// Print a model's id: the digest of its public verifying key.
    ModelId(ModelIdArgs),
    /// Answer a prompt with the integer model, without a proof.
    Generate(Generate),
}

/// Which model.
#[derive(Debug, ClapArgs)]
pub struct ModelArgs {
    /// A .nzk file, a directory in Hugging Face layout, a name under models/, or a repository in
    /// the local Hugging Face cache [default: the embedded tiny-gpt2].
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub struct Quantize {
    #[command(flatten)]
    pub model: ModelArgs,
    /// A text to calibrate the scales on [default: a text that the program carries].
    #[arg(long, value_name = "FILE")]
    pub calibrate: Option<PathBuf>,
    /// Extra bits of headroom in the calibrated scales, for prompts that do not fit.
    #[arg(long, value_name = "BITS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=4))]
    pub headroom: u32,
    /// Draw a secret blinding seed, so that the id cannot be recomputed from the weights. For
    /// weights that are not public.
    #[arg(long)]
    pub private: bool,
    /// Where to write the model, a .nzk file; its verifying key goes beside it as .vk.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct Prove {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The prompt.
    #[arg(long, value_name = "TEXT")]
    pub prompt: String,
    /// How many tokens to generate at most.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_new_tokens: u32,
    /// Prove each layer on its own instead of all in one bundle: larger and slower, but each
    /// layer's proof stands alone.
    #[arg(long)]
    pub separate: bool,
    /// Where to write the proof.
    #[arg(long, value_name = "FILE", default_value = "proof.bin")]
    pub out: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct Verify {
    /// The proof file.
    pub proof: PathBuf,
    /// Accept only this model: 64 hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    pub model_id: Option<ModelId>,
    /// The model's verifying key [default: looked up by the proof's model id, beside the proof and
    /// in the cache].
    #[arg(long, value_name = "FILE")]
    pub vk: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct Inspect {
    /// The proof file.
    pub proof: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct ModelIdArgs {
    #[command(flatten)]
    pub model: ModelArgs,
}

#[derive(Debug, ClapArgs)]
pub struct Generate {
    #[command(flatten)]
    pub model: ModelArgs,
    /// The prompt.
    #[arg(long, value_name = "TEXT")]
    pub prompt: String,
    /// How many tokens to generate at most.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_new_tokens: u32,
}
