//! From a checkpoint to an integer model: calibration by the floating-point reference.

use crate::model::{
    ChatTemplate, Checkpoint, FloatError, FloatModel, Observer, Stage, TokenizerError,
};
use crate::quant::{
    Calibration, Headroom, IntegerModel, Options, Provenance, QuantError, Rows, Tensor, quantize,
};

/// The tokens of one calibration window.
const WINDOW: usize = 256;
/// Calibration reads at most this many windows.
const WINDOWS: usize = 16;

/// Why a checkpoint could not be quantized.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Float(#[from] FloatError),
    #[error(transparent)]
    Quant(#[from] QuantError),
    #[error("the calibration text has no tokens")]
    NoText,
}

struct Collector(Calibration);

impl Observer for Collector {
    fn observe(&mut self, block: Option<usize>, stage: Stage, values: &[f64]) {
        let tensor = match stage {
            Stage::BlockInput => Tensor::BlockInput,
            Stage::QueryInput => Tensor::QueryInput,
            Stage::KeyInput => Tensor::KeyInput,
            Stage::Query => Tensor::Query,
            Stage::Key => Tensor::Key,
            Stage::AttentionOutput => Tensor::AttentionOutput,
            Stage::AttentionBranch => Tensor::AttentionBranch,
            Stage::Middle => Tensor::Middle,
            Stage::PreActivation => Tensor::PreActivation,
            Stage::FeedForwardOutput => Tensor::FeedForwardOutput,
            Stage::FeedForwardBranch => Tensor::FeedForwardBranch,
            Stage::FinalInput => Tensor::FinalNormInput,
            _ => return,
        };
        let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        // The final norm's input belongs to no block.
        self.0.observe(block.unwrap_or(0), tensor, &values);
    }
}

/// What quantizing a checkpoint gives.
#[derive(Clone, Debug)]
pub struct Quantized {
    pub model: IntegerModel,
    /// The room that the scales leave above what calibration saw.
    pub headroom: Vec<Headroom>,
}

/// Calibrates a checkpoint on `text` (its first 4,096 tokens in windows of 256, each ended by
/// padding as proofs are) and quantizes it. `open` says that the weights are public. The same on every
/// machine, as the reference is: scales and weights of an open model must be found again.
pub fn quantize_checkpoint(
    checkpoint: &Checkpoint,
    text: &str,
    headroom: u32,
    open: bool,
) -> Result<Quantized, QuantizeError> {
    let config = &checkpoint.config;
    let architecture = config.architecture();
    let weights = checkpoint.weights.view(config);
    let float = FloatModel::new(config, &checkpoint.weights)?;
    let (heads, w) = ([config.heads, config.kv_heads], config.head_width);
    let rows = Rows {
        norm: architecture.norm,
        width: config.width,
        heads: heads.map(|heads| heads * w),
        head_width: w,
        head_norm: architecture.head_norm,
    };
    let calibration = Calibration::new(config.layers, rows);
    let mut collector = Collector(calibration);
    let tokens = checkpoint.tokenizer.encode(text)?;
    if tokens.is_empty() {
        return Err(QuantizeError::NoText);
    }
    let window = WINDOW.min(config.context);
    for chunk in tokens.chunks(window).take(WINDOWS) {
        float.observe(chunk, &mut collector)?;
    }
    // Padding runs through every op like any other token.
    let padded = [
        &tokens[..tokens.len().min(window / 2)],
        &vec![architecture.padding(); window / 2],
    ]
    .concat();
    float.observe(&padded, &mut collector)?;

    // A private model's files are not named: their digests would confirm a guess at the weights.
    let files = if open {
        checkpoint.files.clone()
    } else {
        Vec::new()
    };
    let provenance = Provenance { files, open };
    let (model, headroom) = quantize(
        architecture,
        &weights,
        collector.0,
        Options { headroom },
        provenance,
        checkpoint.tokenizer.digest(),
        checkpoint.chat_template.as_ref().map(ChatTemplate::digest),
    )?;
    Ok(Quantized { model, headroom })
}
