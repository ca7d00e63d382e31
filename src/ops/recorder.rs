//! Where ops put the values of their columns.

use crate::system::{ColumnId, System, Values, Witness};

/// Collects a layer's witness, or nothing where only the output is wanted.
#[derive(Debug, Default)]
pub struct Recorder(Option<Witness>);

impl Recorder {
    /// Records nothing: for running the model.
    pub fn off() -> Self {
        Self(None)
    }

    /// Records the columns of `system`: for proving a layer.
    pub fn on(system: &System) -> Self {
        Self(Some(Witness::new(system)))
    }

    /// Whether anything is recorded.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Sets a key column. Keys are 17-bit at most, which the caller has checked.
    pub fn keys<T: Into<i128>>(&mut self, column: ColumnId, keys: impl IntoIterator<Item = T>) {
        if let Some(witness) = &mut self.0 {
            let small = |k: T| i32::try_from(k.into()).expect("a key was checked to fit its table");
            let keys = keys.into_iter().map(small).collect();
            witness.set(column, Values::Small(keys));
        }
    }

    /// Sets an exact column.
    pub fn exact<T: Into<i128>>(&mut self, column: ColumnId, values: impl IntoIterator<Item = T>) {
        if let Some(witness) = &mut self.0 {
            let values = values.into_iter().map(Into::into).collect();
            witness.set(column, Values::Wide(values));
        }
    }

    /// The recorded witness. Panics if the recorder was off.
    pub fn into_witness(self) -> Witness {
        self.0.expect("the recorder is on")
    }
}
