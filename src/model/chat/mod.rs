//! Chats: a checkpoint's own template turns messages into a prompt, as `apply_chat_template` of `transformers` 5 does
//! with `add_generation_prompt=True` and no tools or documents.
//!
//! A template is a program in Jinja's language, with Python's values. The grammar is that of `minijinja`; its values
//! are not Python's in all corners (it iterates over `None`, orders what has no order, prints other texts), so what
//! is parsed is run here: each operation, filter, test and method does what Python does, or is refused by its name. What
//! Jinja would render is never rendered otherwise. docs/chat.md lists what there is.
//!
//! A template comes with a checkpoint or a key from elsewhere: its size, steps, memory and depth are bounded.

mod arguments;
mod budget;
mod checks;
mod compare;
mod date;
mod expressions;
mod fault;
mod filters;
mod json;
mod messages;
mod methods;
mod operators;
mod printed;
mod run;
mod source;
mod syntax;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use budget::Budget;
pub use date::{Date, DateError};
use fault::Fault;
pub use fault::Reason;
pub use messages::Messages;
use run::Run;
pub use source::SourceError;
pub(super) use source::find;
pub(in crate::model) use source::json_object;
use value::Value;

/// The largest template. The longest published ones have 25 KB.
pub const MAX_TEMPLATE: usize = 1 << 18;

/// The most bytes of messages, of a prompt and of each text that is made on the way.
pub const MAX_OUTPUT: usize = 1 << 20;

/// How many steps rendering may take. A step is an operation, eight bytes of text made or read, or an eighth of an
/// element of 64 bytes: what is counted and held is at most 64 MB. tests/costs.rs asserts what it is with all else.
const FUEL: u64 = 1 << 23;

/// For a depth of calls and values that is bounded.
const STACK: usize = 1 << 26;

/// The variables that a template is given beside special tokens.
const GIVEN: [&str; 4] = ["messages", "tools", "documents", "add_generation_prompt"];

/// The special tokens that every tokenizer may have, as `SPECIAL_TOKENS_ATTRIBUTES` of `transformers`.
pub const SPECIAL_TOKENS: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// Special tokens by their names: [`SPECIAL_TOKENS`], and others that a tokenizer calls its own. `None`: there is none, so
/// that the name is undefined.
pub type SpecialTokens = BTreeMap<String, Option<String>>;

/// A template and the special tokens that it may name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatTemplate {
    source: String,
    /// Of one of [`SPECIAL_TOKENS`] that is absent the checkpoint says nothing: a template that reads it is refused.
    tokens: SpecialTokens,
}

/// Why there is no prompt.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChatError {
    #[error(
        "the chat template has {0} bytes, more than {MAX_TEMPLATE}: use a model with another one"
    )]
    TooLarge(usize),
    #[error("the chat template is malformed: {0}")]
    Malformed(String),
    #[error("messages: {0}")]
    Messages(String),
    #[error("chat template{}: {reason}", place(line))]
    Render { line: Option<u32>, reason: Reason },
    #[error("the model has no chat template: give the prompt itself, by --prompt or --prompt-file")]
    NoTemplate,
    #[error("no thread for the chat template: {0}")]
    Thread(String),
}

fn place(line: &Option<u32>) -> String {
    line.map_or_else(String::new, |line| format!(", line {line}"))
}

impl From<Fault> for ChatError {
    fn from(Fault { line, reason }: Fault) -> Self {
        Self::Render { line, reason }
    }
}

impl ChatTemplate {
    /// # Errors
    /// [`ChatError::TooLarge`], and [`ChatError::Malformed`] for a name that is no variable, or another one.
    pub fn new(source: String, tokens: SpecialTokens) -> Result<Self, ChatError> {
        let tokens_length = tokens
            .iter()
            .map(|(name, token)| name.len() + token.as_ref().map_or(0, String::len));
        let length = source.len().saturating_add(tokens_length.sum());
        if length > MAX_TEMPLATE {
            return Err(ChatError::TooLarge(length));
        }
        let is_name = |name: &str| {
            let within = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.bytes().all(within)
                && !GIVEN.contains(&name)
        };
        match tokens.keys().find(|name| !is_name(name)) {
            Some(name) => Err(ChatError::Malformed(format!(
                "{name:?} names no special token"
            ))),
            None => Ok(Self { source, tokens }),
        }
    }

    /// The canonical bytes: postcard of the source and of the tokens, in the order of their names.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("a template is plain data")
    }

    /// Reads [`Self::to_bytes`].
    ///
    /// # Errors
    /// Bytes that are not canonical, and as [`Self::new`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ChatError> {
        // Names and lengths take a few bytes more.
        if bytes.len() > MAX_TEMPLATE + (1 << 7) {
            return Err(ChatError::TooLarge(bytes.len()));
        }
        let read: Self =
            postcard::from_bytes(bytes).map_err(|e| ChatError::Malformed(e.to_string()))?;
        let template = Self::new(read.source, read.tokens)?;
        match template.to_bytes() == bytes {
            true => Ok(template),
            false => Err(ChatError::Malformed("not in its canonical encoding".into())),
        }
    }

    /// SHA-256 of the canonical bytes.
    pub fn digest(&self) -> [u8; 32] {
        Self::digest_of(&self.to_bytes())
    }

    /// What [`Self::digest`] is of a template whose canonical bytes these are.
    pub fn digest_of(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    /// The prompt that the template makes of messages, on that day. Special tokens stand in it as text.
    ///
    /// # Errors
    /// [`ChatError::Render`], naming the template's line where it is known.
    pub fn render(&self, messages: &Messages, date: Date) -> Result<String, ChatError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(STACK);
            let rendered = thread.spawn_scoped(scope, || self.run(messages, date));
            let rendered = rendered.map_err(|e| ChatError::Thread(e.to_string()))?;
            match rendered.join() {
                Ok(result) => result.map_err(ChatError::from),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    fn run(&self, messages: &Messages, date: Date) -> Result<String, Fault> {
        let budget = Budget::new();
        let source = syntax::prepared(&self.source)?;
        let template = syntax::parsed(&source)?;
        let values = [
            messages.to_value(&budget)?,
            Value::None,
            Value::None,
            Value::Bool(true),
        ];
        let mut context = BTreeMap::from_iter(GIVEN.into_iter().zip(values));
        for (name, token) in &self.tokens {
            if let Some(token) = token {
                context.insert(name, Value::text(token));
            }
        }
        let stated = |name: &&str| self.tokens.contains_key(*name);
        let unknown = SPECIAL_TOKENS.into_iter().filter(|name| !stated(name));
        Run::new(budget, date, context, unknown.collect()).render(&template)
    }
}
