//! Why rendering stops.

use thiserror::Error;

use super::{FUEL, MAX_OUTPUT};

/// What is the matter.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Reason {
    #[error(
        "{0}: not supported. `transformers` may render it; this program would have to guess: give the prompt \
         itself, by --prompt or --prompt-file"
    )]
    Unsupported(String),
    #[error("{0}")]
    Failed(String),
    #[error("the template refuses these messages: {0}")]
    Raised(String),
    #[error(
        "it takes more than {FUEL} steps: shorten the messages, or give the prompt itself by --prompt-file"
    )]
    Exhausted,
    #[error("a text of more than {MAX_OUTPUT} bytes: shorten the messages")]
    TooLong,
    #[error("calls or values are nested too deeply")]
    TooDeep,
}

/// A reason, and the template's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub line: Option<u32>,
    pub reason: Reason,
}

impl Fault {
    pub fn new(reason: Reason) -> Self {
        Self { line: None, reason }
    }

    pub fn too_deep() -> Self {
        Self::new(Reason::TooDeep)
    }

    /// With a line, unless a narrower place has one already.
    pub fn at(self, line: u32) -> Self {
        Self {
            line: self.line.or(Some(line)),
            ..self
        }
    }
}

/// What Jinja renders and this program does not.
pub(super) fn unsupported(what: impl Into<String>) -> Fault {
    Fault::new(Reason::Unsupported(what.into()))
}

/// What Jinja fails at, too.
pub(super) fn failed(why: impl AsRef<str>) -> Fault {
    Fault::new(Reason::Failed(why.as_ref().into()))
}
