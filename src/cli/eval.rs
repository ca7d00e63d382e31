//! `nanozk eval`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use super::args::Eval;
use super::report::Report;
use super::{Failure, Outcome, store};
use crate::files;
use crate::layers::{MIN_TOKENS, Models, Predictions, TensorError};
use crate::model::{FloatModel, Stage, Tokenizer};
use crate::store::Progress;

/// The window where the user gives none, if the context holds it.
const WINDOW: usize = 1024;

/// Tokens whose tensors are compared: all of them are in memory.
const TENSOR_TOKENS: usize = 64;

/// What was found.
struct Evaluation {
    model_id: String,
    window: usize,
    windows: usize,
    predictions: Predictions,
    tensor_tokens: usize,
    /// The worst of every kind over all layers.
    tensors: Vec<TensorError>,
}

pub fn run(args: &Eval, report: &Report) -> Result<Outcome, Failure> {
    let text =
        files::read_to_string(&args.text).map_err(|e| format!("{}: {e}", args.text.display()))?;
    let store = store(report);
    let checkpoint = store.checkpoint(args.model.name())?;
    let window = window(args.ctx, checkpoint.config.context)?;
    let tokens = tokens(&checkpoint.tokenizer, &text, args)?;

    let file = store.checkpoint_model(&checkpoint, args.model.headroom)?;
    let model = file.open()?;
    let float = FloatModel::new(&checkpoint.config, &checkpoint.weights)?;
    drop(checkpoint);
    let models = Models {
        float: &float,
        integer: &model.model,
        tables: model.op_tables(),
    };

    // A window of one token predicts nothing.
    let windows: Vec<&[u32]> = tokens.chunks(window).filter(|w| w.len() > 1).collect();
    let mut predictions = Predictions::default();
    for (number, tokens) in windows.iter().enumerate() {
        report.progress(&format!("window {} of {}", number + 1, windows.len()));
        predictions += models.predict(tokens)?;
    }
    report.progress("comparing tensors");
    let first = &windows[0][..windows[0].len().min(TENSOR_TOKENS)];
    let evaluation = Evaluation {
        model_id: model.committed.id.to_string(),
        window,
        windows: windows.len(),
        predictions,
        tensor_tokens: first.len(),
        tensors: worst(models.tensor_errors(first)?),
    };
    report.result(&evaluation.to_json(), &evaluation.to_text())?;
    Ok(Outcome::Success)
}

/// Tokens per window: what was asked for, if it fits when it is padded to a power of two.
fn window(asked: Option<usize>, context: usize) -> Result<usize, Failure> {
    let fits = |window: usize| window.next_power_of_two().max(MIN_TOKENS) <= context;
    let largest = (1..=WINDOW.ilog2())
        .map(|bits| 1 << bits)
        .rfind(|w| fits(*w));
    match (asked, largest) {
        (Some(asked), _) if fits(asked) => Ok(asked),
        (None, Some(largest)) => Ok(largest),
        _ => Err(format!(
            "a window of {} tokens, padded to a power of two, exceeds the model's context of {context}: \
             give a smaller --ctx",
            asked.unwrap_or(MIN_TOKENS)
        )
        .into()),
    }
}

/// The tokens of the text, no more than asked for.
fn tokens(tokenizer: &Tokenizer, text: &str, args: &Eval) -> Result<Vec<u32>, Failure> {
    let mut tokens = tokenizer.encode(text)?;
    if tokens.len() < 2 {
        return Err(too_short(&args.text, tokens.len()).into());
    }
    if let Some(most) = args.tokens {
        tokens.truncate(most);
    }
    Ok(tokens)
}

fn too_short(path: &Path, tokens: usize) -> String {
    format!(
        "{}: {tokens} tokens: perplexity needs at least two, give a longer text",
        path.display()
    )
}

/// The largest errors of every kind of tensor; the layer is that of the largest relative one.
fn worst(errors: Vec<TensorError>) -> Vec<TensorError> {
    let mut worst: BTreeMap<Stage, TensorError> = BTreeMap::new();
    for error in errors {
        let entry = worst.entry(error.stage).or_insert(error);
        let absolute = entry.absolute.max(error.absolute);
        if error.relative > entry.relative {
            *entry = error;
        }
        entry.absolute = absolute;
    }
    worst.into_values().collect()
}

/// `HeadOutput` → "head output".
fn name(stage: Stage) -> String {
    let mut name = String::new();
    for c in format!("{stage:?}").chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push(' ');
        }
        name.extend(c.to_lowercase());
    }
    name
}

impl Evaluation {
    /// Tokens per second: the reference's and the integer model's.
    fn speeds(&self) -> [f64; 2] {
        let p = &self.predictions;
        [p.float_time, p.integer_time].map(|time| p.tokens as f64 / time.as_secs_f64())
    }

    fn to_json(&self) -> Value {
        let (p, [float, integer]) = (&self.predictions, self.speeds());
        let tensor = |e: &TensorError| {
            json!({
                "tensor": name(e.stage),
                "largest_absolute_error": e.absolute,
                "largest_relative_error": e.relative,
                "worst_layer": e.layer.to_string(),
            })
        };
        json!({
            "model_id": self.model_id,
            "ctx": self.window,
            "windows": self.windows,
            "tokens": p.tokens,
            "positions": p.positions,
            "perplexity_float": p.float_perplexity(),
            "perplexity_integer": p.integer_perplexity(),
            "relative_difference": p.difference(),
            "greedy_equal": p.equal,
            "greedy_agreement": p.agreement(),
            "max_abs_logit_difference": p.logit_difference,
            "tokens_per_second_float": float,
            "tokens_per_second_integer": integer,
            "tensor_tokens": self.tensor_tokens,
            "tensors": self.tensors.iter().map(tensor).collect::<Vec<_>>(),
        })
    }

    fn to_text(&self) -> String {
        let (p, [float, integer]) = (&self.predictions, self.speeds());
        let mut text = format!(
            "perplexity {:.4} in floating point, {:.4} in integers ({:+.4} %); greedy tokens equal at \
             {:.2} % of {} positions\n\n",
            p.float_perplexity(),
            p.integer_perplexity(),
            100.0 * p.difference(),
            100.0 * p.agreement(),
            p.positions
        );
        let mut line = |line: std::fmt::Arguments| {
            text.write_fmt(line).expect("a string takes all");
            text.push('\n');
        };
        line(format_args!("model     {}", self.model_id));
        line(format_args!(
            "text      {} tokens in {} windows of up to {}",
            p.tokens, self.windows, self.window
        ));
        line(format_args!(
            "logits    at most {:.3} apart",
            p.logit_difference
        ));
        line(format_args!(
            "speed     {float:.1} tokens/s in floating point, {integer:.1} in integers\n"
        ));
        line(format_args!(
            "largest error over {:3} tokens   absolute   relative   in",
            self.tensor_tokens
        ));
        for e in &self.tensors {
            line(format_args!(
                "{:29}   {:8.2e}   {:6.4} %   {}",
                name(e.stage),
                e.absolute,
                100.0 * e.relative,
                e.layer
            ));
        }
        text
    }
}
