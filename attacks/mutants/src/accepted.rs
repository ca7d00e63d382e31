//! Survivors that are accepted, each with its reason.
//!
//! ```text
//! # a comment
//! file src/a.rs
//! function Type::name
//! kind check removed
//! snippet a == b
//! reason why no test can notice it
//! ```
//!
//! Entries are apart by an empty line. `function`, `kind` and `snippet` may be missing: the entry then
//! speaks of all. Line numbers do not matter.

use anyhow::{Context, Result, bail};

use crate::scratch::Key;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    file: String,
    function: Option<String>,
    kind: Option<String>,
    snippet: Option<String>,
    pub reason: String,
}

pub fn parse(text: &str) -> Result<Vec<Accepted>> {
    let mut all = Vec::new();
    for block in text.split("\n\n") {
        let mut entry = Accepted::default();
        for line in block
            .lines()
            .filter(|l| !l.starts_with('#') && !l.is_empty())
        {
            let (name, value) = line.split_once(' ').with_context(|| line.to_string())?;
            let value = value.to_string();
            match name {
                "file" => entry.file = value,
                "function" => entry.function = Some(value),
                "kind" => entry.kind = Some(value),
                "snippet" => entry.snippet = Some(value),
                "reason" => entry.reason = value,
                _ => bail!("accepted: {line:?} begins with no known word"),
            }
        }
        if entry != Accepted::default() {
            if entry.file.is_empty() || entry.reason.is_empty() {
                bail!("accepted: an entry needs a file and a reason:\n{block}");
            }
            all.push(entry);
        }
    }
    Ok(all)
}

impl Accepted {
    pub fn covers(&self, key: &Key) -> bool {
        let same = |wanted: &Option<String>, is: &String| wanted.as_ref().is_none_or(|w| w == is);
        self.file == key.file
            && same(&self.function, &key.function)
            && same(&self.kind, &key.kind)
            && same(&self.snippet, &key.snippet)
    }
}

impl std::fmt::Display for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let any = || "*".to_string();
        let part = |p: &Option<String>| p.clone().unwrap_or_else(any);
        let (function, kind) = (part(&self.function), part(&self.kind));
        write!(
            f,
            "{} {function} {kind}: {}",
            self.file,
            part(&self.snippet)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An entry speaks of what it names and of nothing else.
    #[test]
    fn entries_cover_what_they_name() {
        let text =
            "# why\n\nfile a.rs\nfunction f\nsnippet x == y\nreason same\n\nfile b.rs\nreason all";
        let entries = parse(text).expect("well formed");
        let key = |file: &str, function: &str| Key {
            file: file.into(),
            function: function.into(),
            kind: "check removed".into(),
            snippet: "x == y".into(),
            occurrence: 0,
        };
        let covered = |k: Key| entries.iter().map(|e| e.covers(&k)).collect::<Vec<_>>();
        assert_eq!(covered(key("a.rs", "f")), [true, false]);
        assert_eq!(covered(key("a.rs", "g")), [false, false]);
        assert_eq!(covered(key("b.rs", "g")), [false, true]);
        assert!(parse("file a.rs\nfunction f").is_err());
        assert!(parse("file a.rs\nwhy so").is_err());
    }
}
