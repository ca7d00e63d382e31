//! Lists of lists in a file.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

/// No honest list of lists has more: a boundary or a seal for each of at most 1,024 layers, a dozen
/// weight tensors for each.
const MAX_LISTS: usize = 1 << 14;

/// Reads a list of at most [`MAX_LISTS`] lists. An empty list takes one byte of a file and a vector in
/// memory, so a file of nothing else would take dozens of times its size.
pub fn lists<'de, T, D>(file: D) -> Result<Vec<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    file.deserialize_seq(Lists(PhantomData))
}

struct Lists<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Lists<T> {
    type Value = Vec<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX_LISTS} lists")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut lists = Vec::new();
        while let Some(list) = seq.next_element()? {
            if lists.len() == MAX_LISTS {
                return Err(A::Error::invalid_length(MAX_LISTS + 1, &self));
            }
            lists.push(list);
        }
        Ok(lists)
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
