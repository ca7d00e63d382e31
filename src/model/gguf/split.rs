//! Models in several files, `NAME-00001-of-00003.gguf` and so on: which files these are, and that they are one model's.

use super::header::{GgufError, Header};
use super::metadata::Value;

/// The largest published models have some dozens.
const MAX_PARTS: usize = 1 << 8;

/// A file's name as that of one of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartName<'a> {
    /// What the names of all parts begin with.
    pub stem: &'a str,
    /// From 1 on.
    pub number: usize,
    pub count: usize,
    suffix: &'a str,
}

impl<'a> PartName<'a> {
    /// `None` for the name of a whole model.
    pub fn parse(name: &'a str) -> Option<Self> {
        let (rest, suffix) = name.split_at_checked(name.len().checked_sub(5)?)?;
        let (rest, count) = rest.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let five = |digits: &str| {
            let all = digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit());
            all.then(|| digits.parse::<usize>().ok()).flatten()
        };
        let (number, count) = (five(number)?, five(count)?);
        let is_part = suffix.eq_ignore_ascii_case(".gguf") && (1..=count).contains(&number);
        is_part.then_some(Self {
            stem,
            number,
            count,
            suffix,
        })
    }

    /// The name of the part with another number.
    pub fn with(&self, number: usize) -> String {
        format!(
            "{}-{number:05}-of-{:05}{}",
            self.stem, self.count, self.suffix
        )
    }

    /// The names of all parts.
    ///
    /// # Errors
    /// Where this is not the first, or there are too many.
    pub fn all(&self) -> Result<Vec<String>, GgufError> {
        if self.number != 1 {
            return Err(GgufError::Split(format!(
                "this is part {} of {}: name the first, {}",
                self.number,
                self.count,
                self.with(1)
            )));
        }
        if self.count > MAX_PARTS {
            let count = self.count;
            return Err(GgufError::Split(format!(
                "{count} parts, more than {MAX_PARTS}"
            )));
        }
        Ok((1..=self.count).map(|number| self.with(number)).collect())
    }
}

/// The names of all files of the one model that these GGUF files are of, in order. `None` where they are of several, which
/// mostly are the same model in other types.
pub fn one_model(names: &[&str]) -> Option<Vec<String>> {
    let first = names.first()?;
    let Some(part) = PartName::parse(first) else {
        return (names.len() == 1).then(|| vec![first.to_string()]);
    };
    let one = names
        .iter()
        .all(|name| PartName::parse(name).is_some_and(|other| other.with(part.number) == *first));
    let all = || (1..=part.count).map(|number| part.with(number));
    (one && part.count <= MAX_PARTS).then(|| all().collect())
}

/// Refuses headers that are not those of the parts of one model, in order.
pub fn check(headers: &[&Header]) -> Result<(), (usize, GgufError)> {
    let count = headers.len() as u64;
    for (index, header) in headers.iter().enumerate() {
        check_part(headers, header, index as u64, count).map_err(|e| (index, e))?;
    }
    Ok(())
}

fn check_part(
    headers: &[&Header],
    header: &Header,
    index: u64,
    count: u64,
) -> Result<(), GgufError> {
    let number = |key: &str| header.metadata.integer(key);
    // 0 is what merging leaves.
    let stated = number("split.count")?.unwrap_or(0).max(1);
    if stated != count {
        return Err(GgufError::Split(format!(
            "split.count is {stated}, but {count} file(s) are read: name the first part, \
             NAME-00001-of-{stated:05}.gguf, with the others beside it"
        )));
    }
    if count == 1 {
        return Ok(());
    }
    let own = number("split.no")?.unwrap_or(0);
    if own != index {
        return Err(GgufError::Split(format!(
            "split.no is {own}, expected {index}: the files are not called by what they hold"
        )));
    }
    let tensors: u64 = headers
        .iter()
        .map(|header| header.tensors.len() as u64)
        .sum();
    if let Some(stated) = number("split.tensors.count")?.filter(|stated| *stated != tensors) {
        return Err(GgufError::Split(format!(
            "split.tensors.count is {stated}, but all parts together have {tensors} tensors: a part is of another model"
        )));
    }
    let first = &headers[0].metadata;
    let other = header.metadata.iter().find(|(key, value)| {
        let same = |other: &Value| other == *value;
        !key.starts_with("split.") && !first.get_any(key).is_some_and(same)
    });
    match other {
        None => Ok(()),
        Some((key, _)) => Err(GgufError::Split(format!(
            "metadata {key:?} is another than in the first part: this is a part of another model"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_are_told_from_others() {
        let part = PartName::parse("a-b-00002-of-00003.GGUF").expect("a part");
        assert_eq!((part.stem, part.number, part.count), ("a-b", 2, 3));
        assert_eq!(part.with(3), "a-b-00003-of-00003.GGUF");
        for name in [
            "model.gguf",
            "a-00000-of-00003.gguf",
            "a-00004-of-00003.gguf",
            "a-0001-of-0003.gguf",
            "a-00001-of-00003.bin",
            "a-0000x-of-00003.gguf",
            "00001-of-00003.gguf",
            "é.gguf",
            "",
        ] {
            assert_eq!(PartName::parse(name), None, "{name}");
        }
        let names = PartName::parse("m-00001-of-00002.gguf").map(|part| part.all().ok());
        let expected = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"];
        assert_eq!(names, Some(Some(expected.map(String::from).to_vec())));
        let error = part.all().expect_err("not the first").to_string();
        assert!(error.contains("a-b-00001-of-00003.GGUF"), "{error}");
        let many = PartName::parse("m-00001-of-00257.gguf").map(|part| part.all().is_err());
        assert_eq!(many, Some(true));
    }

    /// Parts are one model, whichever of them are there; others are never taken for one.
    #[test]
    fn the_files_of_one_model_are_told() {
        assert_eq!(one_model(&["a.gguf"]), Some(vec!["a.gguf".to_string()]));
        let parts = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"];
        for found in [&parts[..], &parts[1..]] {
            assert_eq!(one_model(found), Some(parts.map(String::from).to_vec()));
        }
        for several in [
            &[][..],
            &["a.gguf", "b.gguf"],
            &["m-00001-of-00002.gguf", "a.gguf"],
            &["m-00001-of-00002.gguf", "n-00002-of-00002.gguf"],
            &["m-00001-of-00002.gguf", "m-00002-of-00003.gguf"],
            &["m-00001-of-00002.gguf", "m-00002-of-00002.GGUF"],
            &["m-00001-of-00257.gguf"],
        ] {
            assert_eq!(one_model(several), None, "{several:?}");
        }
    }
}
