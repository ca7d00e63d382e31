//! The raw arguments.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args as ClapArgs, Parser, Subcommand};

use super::prompt::PromptArgs;
use super::selection::LayersArg;
use super::shapes::{self, Shape};
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
platform's cache directory); downloaded checkpoints in Hugging Face's cache\n($HF_HOME).\n\nNANOZK_CPU=portable computes without the vector instructions of this processor."
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    json: Json,
}

impl Args {
    /// Whether the result is to be one JSON object on standard output.
    pub fn json(&self) -> bool {
        let of_command = match &self.command {
            Command::Quantize(a) => a.json.json,
            Command::Prove(a) => a.json.json,
            Command::Commit(a) => a.json.json,
            Command::Challenge(a) => a.json.json,
            Command::Verify(a) => a.json.json,
            Command::Inspect(a) => a.json.json,
            Command::ModelId(a) => a.json.json,
            Command::Generate(a) => a.json.json,
            Command::Eval(a) => a.json.json,
            Command::Fisher(a) => a.json.json,
            // Its own option of this name takes a file.
            Command::Bench(_) => false,
        };
        self.json.json || of_command
    }
}

/// Not a global argument, because `bench` has another meaning for it.
#[derive(Debug, ClapArgs)]
pub struct Json {
    /// Print one JSON object on standard output and nothing else.
    #[arg(long)]
    json: bool,
}

/// What every command takes.
#[derive(Debug, ClapArgs)]
pub struct Common {
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
    /// First step of an audit, the prover's: answer a prompt and commit to every layer's activations.
    Commit(Commit),
    /// Second step, the verifier's: draw layers that the prover is to prove.
    Challenge(ChallengeArgs),
    /// Show what a proof file claims, without verifying it.
    Inspect(Inspect),
    /// Print a model's id: the digest of its public verifying key.
    ModelId(ModelIdArgs),
    /// Answer a prompt with the integer model, without a proof.
    Generate(Generate),
    /// Compare the integer model with the checkpoint in floating point, on a text.
    Eval(Eval),
    /// Tell how much each layer matters for what the model says, on a text.
    Fisher(Fisher),
    /// Measure proving and verifying on synthetic models.
    Bench(Bench),
}

/// Which model.
#[derive(Debug, ClapArgs)]
pub struct ModelArgs {
    /// A .nzk file, a directory in Hugging Face layout, a .gguf file, a name under models/, or a
    /// repository of Hugging Face's hub: NAME, OWNER/NAME or OWNER/NAME@REVISION. That is read from the
    /// cache that is shared with Python, and downloaded into it if it is not there [default: the
    /// embedded tiny-gpt2].
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Bits by which values may exceed the largest that calibration saw, where a checkpoint is
    /// quantized: more for prompts that do not fit, less for more precise scales. Another number is
    /// another model, with its own id [default: 1].
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u32).range(0..=4))]
    pub headroom: Option<u32>,
}

impl ModelArgs {
    pub fn name(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

#[derive(Debug, ClapArgs)]
pub struct Quantize {
    #[command(flatten)]
    json: Json,
    #[command(flatten)]
    pub model: ModelArgs,
    /// A text to calibrate the scales on [default: a text that the program carries].
    #[arg(long, value_name = "FILE")]
    pub calibrate: Option<PathBuf>,
    /// Draw a secret blinding seed, so that the id cannot be recomputed from the weights. For
    /// weights that are not public.
    #[arg(long)]
    pub private: bool,
    /// Where to write the model, a .nzk file; its verifying key goes beside it as .vk.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("source").required(true))]
pub struct Prove {
    #[command(flatten)]
    json: Json,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// How many tokens to generate at most.
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "commit", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_new_tokens: u32,
    /// Which layers to prove; nothing is proved of the others (docs/partial.md). `all`; a list such as
    /// `embedding,3,head` (0 is the embedding, 1 to L are the blocks, L + 1 is the head); `fisher:50%`,
    /// the most informative layers within so much of the proving cost, after `nanozk fisher`; or
    /// `audit:4`, so many layers drawn by the commitments' own hash. That draw is for your own checks: it
    /// proves nothing against a prover who draws again until it suits. Use `commit` and `challenge`.
    #[arg(
        long,
        value_name = "LAYERS",
        default_value = "all",
        conflicts_with = "commit"
    )]
    pub layers: LayersArg,
    /// Third step of an audit: prove a run that `nanozk commit` has committed to. Its secret is read
    /// beside it, from FILE.secret.
    #[arg(long, value_name = "FILE", group = "source", requires = "challenge", conflicts_with_all = ["system", "date"])]
    pub commit: Option<PathBuf>,
    /// The layers that the verifier's challenge draws, and no others.
    // clap waives `requires` where the required option conflicts with one that is given.
    #[arg(long, value_name = "FILE", requires = "commit", conflicts_with_all = ["prompt", "prompt_file", "prompt_tokens", "user", "messages", "layers", "max_new_tokens"])]
    pub challenge: Option<PathBuf>,
    /// Prove each layer on its own instead of all in one bundle: larger and slower, but each
    /// layer's proof stands alone, and the same command after an interruption does not prove
    /// finished layers again. They are kept in $NANOZK_HOME/runs until the proof is written. A
    /// bundle is proved from the start, and so is an answer to a challenge.
    #[arg(long)]
    pub separate: bool,
    /// Where to write the proof.
    #[arg(long, value_name = "FILE", default_value = "proof.bin")]
    pub out: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct Verify {
    #[command(flatten)]
    json: Json,
    /// The proof file.
    pub proof: PathBuf,
    /// Accept only this model: 64 hexadecimal digits.
    #[arg(long, value_name = "HEX")]
    pub model_id: Option<ModelId>,
    /// Accept only this prompt: the tokens that the model's tokenizer makes of the text. Others may have the
    /// same text. Of messages, the model's own chat template makes the text.
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// The model's verifying key [default: looked up by the proof's model id, beside the proof and
    /// in the cache].
    #[arg(long, value_name = "FILE")]
    pub vk: Option<PathBuf>,
    /// Exit with 0 instead of 3 if the proof is valid but of only some layers.
    #[arg(long)]
    pub allow_partial: bool,
    /// The challenge that the proof is to answer: your own copy, not one that came with the proof.
    #[arg(long, value_name = "FILE")]
    pub challenge: Option<PathBuf>,
    /// The commitment that the challenge was made for: the proof must be about it.
    #[arg(long, value_name = "FILE")]
    pub commit: Option<PathBuf>,
    /// Your table of the layers' Fisher information, for the share that is covered and for a weighted
    /// challenge [default: the one of this model in the cache, if there is one].
    #[arg(long, value_name = "FILE")]
    pub fisher: Option<PathBuf>,
}

/// Runs the model and publishes the answer, the chain and the commitments to all activations that pass
/// between layers. No layer is proved. The run's secret, with which the drawn layers are proved later, is
/// written beside the file, as FILE.secret: keep it to yourself, and delete it after the audit.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("source").required(true))]
pub struct Commit {
    #[command(flatten)]
    json: Json,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// How many tokens to generate at most.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_new_tokens: u32,
    /// Where to write the commitment.
    #[arg(long, value_name = "FILE", default_value = "run.commit")]
    pub out: PathBuf,
}

/// Draws layers with a fresh nonce from the operating system. The draw binds the commitment: one that is
/// changed afterwards is refused. Keep your copy of the challenge for `verify`.
#[derive(Debug, ClapArgs)]
pub struct ChallengeArgs {
    #[command(flatten)]
    json: Json,
    /// The prover's commitment, from `nanozk commit`.
    pub commit: PathBuf,
    /// How many layers to draw.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub layers: u32,
    /// Draw in proportion to the layers' Fisher information instead of uniformly, by this table
    /// [default without FILE: the one of this model in the cache].
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    pub fisher: Option<Option<PathBuf>>,
    /// Where to write the challenge.
    #[arg(long, value_name = "FILE", default_value = "challenge")]
    pub out: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct Inspect {
    #[command(flatten)]
    json: Json,
    /// The proof file.
    pub proof: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct ModelIdArgs {
    #[command(flatten)]
    json: Json,
    #[command(flatten)]
    pub model: ModelArgs,
}

#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("source").required(true))]
pub struct Generate {
    #[command(flatten)]
    json: Json,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// How many tokens to generate at most.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    pub max_new_tokens: u32,
}

/// Both models predict the same tokens, each from those before it in its window: perplexities, and at
/// how many positions both would choose the same token. Then the tensors of every layer are compared
/// over the first 64 tokens at most, because all of them are held in memory.
#[derive(Debug, ClapArgs)]
pub struct Eval {
    #[command(flatten)]
    json: Json,
    // A .nzk file has no floating-point weights, which the command says.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The text, in UTF-8.
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// The tokens of a window, which the integer model pads to a power of two [default: 1024, or what
    /// the model's context holds].
    #[arg(long, value_name = "N", value_parser = at_least_two)]
    pub ctx: Option<usize>,
    /// Stop after so many tokens [default: all of the text].
    #[arg(long, value_name = "N", value_parser = at_least_two)]
    pub tokens: Option<usize>,
}

/// The empirical Fisher information of every layer: the squared gradient of the next token's
/// log-likelihood by the layer's parameters, in the mean over tokens, in floating point. And how much
/// of it the layers cover that a share of the proving cost pays for, the most informative first. Costs
/// are measured: the model is proved twice, layer by layer, at 16 positions. The table is kept in
/// $NANOZK_HOME/fisher, by the model's id.
#[derive(Debug, ClapArgs)]
pub struct Fisher {
    #[command(flatten)]
    json: Json,
    // A .nzk file has no floating-point weights, which the command says.
    #[command(flatten)]
    pub model: ModelArgs,
    /// The text, in UTF-8.
    #[arg(long, value_name = "FILE")]
    pub text: PathBuf,
    /// How many tokens to predict, in windows spread over the text. Each takes a backward pass.
    #[arg(long, value_name = "N", default_value_t = 248, value_parser = clap::value_parser!(u32).range(1..))]
    pub tokens: u32,
    /// The tokens of a window. Each but the first is predicted from those before it.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_two)]
    pub ctx: usize,
    /// Plot the layers' shares, and coverage against cost.
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// GPT-2's block at every width: heads of 64, a feed-forward part four times as wide; or the blocks
/// of published models. Random weights with the statistics of GPT-2's initialization.
#[derive(Debug, ClapArgs)]
#[command(
    after_help = "Figures are medians over --blocks × --repeat proofs, with all keys and \
generators loaded. \nBusy machines give slow figures: the load is printed with them."
)]
pub struct Bench {
    /// Widths: one (768), several (64,768), or all of 64, 128, 256, 512, 768 in a range (64..768).
    #[arg(long, value_name = "DIMS", default_value = "64..768", value_parser = widths)]
    pub dims: Numbers,
    /// Blocks of these models' shapes instead, with their heads and feed-forward widths.
    #[arg(
        long,
        value_name = "MODELS",
        value_parser = PossibleValuesParser::new(shapes::names()).try_map(|name| shapes::named(&name)),
        value_delimiter = ',',
        conflicts_with = "dims"
    )]
    pub shape: Vec<Shape>,
    /// Sequence lengths: one, several, or all powers of two in a range (16..256).
    #[arg(long, value_name = "TOKENS", default_value = "16", value_parser = lengths)]
    pub seq: Numbers,
    /// How many blocks to prove on their own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=48))]
    pub blocks: u16,
    /// How many blocks to prove in one bundle.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u16).range(1..=48))]
    pub bundle: u16,
    /// How often to repeat each measurement.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub repeat: u16,
    /// Also prove all of a model of GPT-2 small's size: 12 blocks, vocabulary of 50,257, one new
    /// token. Takes about a minute and 3 GB of memory.
    #[arg(long)]
    pub full: bool,
    /// Write all figures to a JSON file; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Plot time and size against the width (or, for one width, the sequence length).
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// A list of numbers, as one argument.
#[derive(Clone, Debug)]
pub struct Numbers(pub Vec<usize>);

fn at_least_two(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n >= 2 => Ok(n),
        _ => Err("not a number from 2 up".into()),
    }
}

fn widths(text: &str) -> Result<Numbers, String> {
    let all = numbers(text, &[64, 128, 256, 512, 768])?;
    match all.iter().find(|d| **d == 0 || **d % 64 != 0 || **d > 4096) {
        Some(d) => Err(format!("{d} is not a multiple of 64 up to 4096")),
        None => Ok(Numbers(all)),
    }
}

fn lengths(text: &str) -> Result<Numbers, String> {
    let powers: Vec<usize> = (2..=10).map(|b| 1 << b).collect();
    let all = numbers(text, &powers)?;
    match all.iter().find(|t| !powers.contains(t)) {
        Some(t) => Err(format!(
            "{t} is not a power of two from 4 to 1024, as proofs are padded to"
        )),
        None => Ok(Numbers(all)),
    }
}

/// `a`, `a,b,c`, or the members of `ladder` from a to b for `a..b`.
fn numbers(text: &str, ladder: &[usize]) -> Result<Vec<usize>, String> {
    let number = |t: &str| {
        t.trim()
            .parse::<usize>()
            .map_err(|_| format!("{t:?} is not a number"))
    };
    let Some((from, to)) = text.split_once("..") else {
        return text.split(',').map(number).collect();
    };
    let range = number(from)?..=number(to)?;
    let all: Vec<usize> = ladder
        .iter()
        .copied()
        .filter(|n| range.contains(n))
        .collect();
    if all.is_empty() {
        return Err(format!("none of {ladder:?} lies in {text}"));
    }
    Ok(all)
}
