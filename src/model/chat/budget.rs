//! What rendering may cost: steps, and with them memory.

use std::cell::Cell;
use std::rc::Rc;

use super::fault::{Fault, Reason};
use super::value::Value;
use super::{FUEL, MAX_OUTPUT};

/// How many bytes of text are made or read for a step.
pub(super) const BYTES_PER_STEP: usize = 8;
/// How many steps an element of a list costs: it takes up to 64 bytes.
const STEPS_PER_ELEMENT: usize = 8;

/// What is left of [`FUEL`].
pub(super) struct Budget(Cell<u64>);

impl Budget {
    pub fn new() -> Self {
        Self(Cell::new(FUEL))
    }

    /// # Errors
    /// [`Reason::Exhausted`].
    pub fn steps(&self, count: usize) -> Result<(), Fault> {
        match self.0.get().checked_sub(count as u64) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => Err(Fault::new(Reason::Exhausted)),
        }
    }

    /// Pays for as many elements.
    ///
    /// # Errors
    /// [`Reason::Exhausted`].
    pub fn elements(&self, count: usize) -> Result<(), Fault> {
        self.steps(count.saturating_mul(STEPS_PER_ELEMENT))
    }

    /// Pays for as many bytes of a text that has `length` in all.
    ///
    /// # Errors
    /// [`Reason::Exhausted`] and [`Reason::TooLong`].
    pub fn bytes(&self, count: usize, length: usize) -> Result<(), Fault> {
        if length > MAX_OUTPUT {
            return Err(Fault::new(Reason::TooLong));
        }
        self.steps(1 + count / BYTES_PER_STEP)
    }

    /// A text that was made.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub fn text(&self, text: impl Into<Rc<str>>) -> Result<Value, Fault> {
        let text = text.into();
        self.bytes(text.len(), text.len())?;
        Ok(Value::Text(text))
    }

    /// Appends to a text.
    ///
    /// # Errors
    /// As [`Self::bytes`].
    pub fn append(&self, text: &mut String, more: &str) -> Result<(), Fault> {
        self.bytes(more.len(), text.len() + more.len())?;
        text.push_str(more);
        Ok(())
    }
}
