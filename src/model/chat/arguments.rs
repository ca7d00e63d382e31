//! The arguments of a call.

use super::budget::Budget;
use super::fault::{Fault, failed};
use super::value::Value;

/// Positional and named arguments.
#[derive(Clone, Default)]
pub(super) struct Arguments {
    pub positional: Vec<Value>,
    pub named: Vec<(String, Value)>,
}

impl Arguments {
    /// The arguments of a function whose parameters have these names, in their order. A parameter without a name
    /// takes positional ones only.
    ///
    /// # Errors
    /// Where there are too many, one is given twice, or no parameter has the name.
    pub fn bind<const N: usize>(
        self,
        function: &str,
        parameters: [&str; N],
    ) -> Result<[Option<Value>; N], Fault> {
        let mut bound = [const { None }; N];
        if self.positional.len() > N {
            let count = self.positional.len();
            let reason = format!("{function}() takes at most {N} arguments ({count} given)");
            return Err(failed(reason));
        }
        for (place, value) in bound.iter_mut().zip(self.positional) {
            *place = Some(value);
        }
        for (name, value) in self.named {
            let at = parameters.iter().position(|p| *p == name);
            match at.map(|at| &mut bound[at]) {
                Some(place @ None) => *place = Some(value),
                Some(_) => {
                    let reason = format!("{function}() got multiple values for argument '{name}'");
                    return Err(failed(reason));
                }
                None => {
                    let reason =
                        format!("{function}() got an unexpected keyword argument '{name}'");
                    return Err(failed(reason));
                }
            }
        }
        Ok(bound)
    }
}

/// An argument that must be there.
///
/// # Errors
/// Where it is not.
pub(super) fn required(function: &str, value: Option<Value>) -> Result<Value, Fault> {
    value.ok_or_else(|| failed(format!("{function}() is missing an argument")))
}

impl Arguments {
    /// Adds a named argument.
    ///
    /// # Errors
    /// Where the name is given already, or the budget is spent.
    pub fn name(&mut self, name: &str, value: Value, budget: &Budget) -> Result<(), Fault> {
        budget.elements(1)?;
        budget.bytes(name.len(), 0)?;
        // It is compared with those that there are.
        budget.steps(self.named.len())?;
        if self.named.iter().any(|(other, _)| other == name) {
            let reason = format!("got multiple values for keyword argument '{name}'");
            return Err(failed(reason));
        }
        self.named.push((name.to_string(), value));
        Ok(())
    }
}
