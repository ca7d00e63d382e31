//! What tests see of a conversation, and the one item of it that they change.

use super::public::Kind;

/// One item, as it was given to the transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub kind: Kind,
    pub label: String,
    pub data: Vec<u8>,
}

/// Records every item; at most one is absorbed with a bit changed.
#[derive(Clone, Debug, Default)]
pub struct Tap {
    pub items: Vec<Item>,
    altered: Option<usize>,
}

impl Tap {
    /// Will change a bit of item `n`.
    pub fn altering(n: usize) -> Self {
        Self {
            items: Vec::new(),
            altered: Some(n),
        }
    }

    /// Records an item and returns what is absorbed of it.
    pub fn pass(&mut self, kind: Kind, label: &str, data: &[u8]) -> Vec<u8> {
        let mut absorbed = data.to_vec();
        if self.altered == Some(self.items.len()) {
            absorbed[0] ^= 1;
        }
        self.items.push(Item {
            kind,
            label: label.to_string(),
            data: data.to_vec(),
        });
        absorbed
    }
}
