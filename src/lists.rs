//! Lists in a file that take more room in memory than in the file.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// No honest list of lists has more: a boundary or a seal for each of at most 1,026 layers, a dozen
/// weight tensors for each.
const MAX_LISTS: usize = 1 << 14;

/// Reads a list of at most [`MAX_LISTS`] lists. An empty list takes one byte of a file and a vector in
/// memory, so a file of nothing else would take dozens of times its size.
pub fn lists<'de, T, D>(file: D) -> Result<Vec<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    bounded::<MAX_LISTS, Vec<T>, D>(file)
}

/// Reads a list of at most MAX items.
pub fn bounded<'de, const MAX: usize, T, D>(file: D) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    file.deserialize_seq(Bounded::<MAX, T>(PhantomData))
}

struct Bounded<const MAX: usize, T>(PhantomData<T>);

impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for Bounded<MAX, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} items")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == MAX {
                return Err(A::Error::invalid_length(MAX + 1, &self));
            }
            items.push(item);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct File(#[serde(deserialize_with = "lists")] Vec<Vec<u8>>);

    /// Lists are read as they were written, up to the limit.
    #[test]
    fn no_more_lists_are_read_than_an_honest_file_has() {
        let read = |count: usize| {
            let file = File((0..count).map(|n| vec![7; n % 3]).collect());
            let bytes = postcard::to_stdvec(&file).expect("plain data");
            let read = postcard::from_bytes::<File>(&bytes);
            read.map(|again| assert_eq!(again.0, file.0))
        };
        assert_eq!(read(0), Ok(()));
        assert_eq!(read(MAX_LISTS), Ok(()));
        assert!(read(MAX_LISTS + 1).is_err());
    }
}
