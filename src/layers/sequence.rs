//! The tokens that a statement fixes: what is run, and where its outputs are read.

use super::RunError;
use crate::quant::Architecture;

/// The shortest padded sequence.
pub const MIN_TOKENS: usize = 4;

/// The most outputs of one proof. The head declares a system of some kilobytes for each, before anything of
/// the proof is looked at.
pub const MAX_OUTPUTS: usize = 1 << 12;

/// The proved sequence: prompt ‖ output without its last token, T tokens, padded at the end with
/// an end-of-text token to T' = the next power of two. Causality keeps the padding from touching
/// what comes before it. Everything here is derived from the statement, by both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    tokens: Vec<u32>,
    used: usize,
    output: Vec<u32>,
}

impl Sequence {
    /// The sequence of a prompt and its output, of n ≥ 1 tokens each.
    ///
    /// Errors: nothing to run, more than [`MAX_OUTPUTS`] outputs, an unknown token, or T' positions exceed the
    /// context.
    pub fn new(prompt: &[u32], output: &[u32], model: &Architecture) -> Result<Self, RunError> {
        let Some((last, fed_back)) = output.split_last() else {
            return Err(RunError::EmptyOutput);
        };
        if output.len() > MAX_OUTPUTS {
            return Err(RunError::TooManyOutputs(output.len()));
        }
        check_token(*last, model)?;
        let (tokens, used) = padded(&[prompt, fed_back].concat(), model)?;
        if prompt.is_empty() {
            return Err(RunError::EmptyPrompt);
        }
        Ok(Self {
            tokens,
            used,
            output: output.to_vec(),
        })
    }

    /// The T' tokens that are run.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// (position, token) of every output: the last n of the T positions.
    pub fn outputs(&self) -> Vec<(usize, usize)> {
        let first = self.used - self.output.len();
        self.output
            .iter()
            .enumerate()
            .map(|(p, token)| (first + p, *token as usize))
            .collect()
    }
}

fn check_token(token: u32, model: &Architecture) -> Result<(), RunError> {
    if (token as usize) < model.vocabulary {
        Ok(())
    } else {
        Err(RunError::UnknownToken {
            token,
            vocabulary: model.vocabulary,
        })
    }
}

/// The padded tokens, and how many were given.
pub fn padded(tokens: &[u32], model: &Architecture) -> Result<(Vec<u32>, usize), RunError> {
    if tokens.is_empty() {
        return Err(RunError::EmptyPrompt);
    }
    let length = tokens.len().next_power_of_two().max(MIN_TOKENS);
    if length > model.context {
        return Err(RunError::TooLong {
            tokens: tokens.len(),
            padded: length,
            context: model.context,
        });
    }
    tokens.iter().try_for_each(|t| check_token(*t, model))?;
    let mut all = tokens.to_vec();
    all.resize(length, model.padding());
    Ok((all, tokens.len()))
}
