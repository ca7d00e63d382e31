//! Which of a repository's files make a model.

use std::io::Read;
use std::path::Path;

use crate::files;
use crate::model::layout::{
    self, ADDED_TOKENS, CONFIG, GENERATION, MERGES, TEMPLATE, TOKENIZER, TOKENIZER_CONFIG,
    TOKENS_MAP, VOCABULARY,
};
use crate::model::shard_names;

/// The tokenizer, in the order in which it is looked for.
const TOKENIZERS: [&[&str]; 2] = [&[TOKENIZER], &[VOCABULARY, MERGES]];

/// The weights, in the order in which they are looked for: one file or the index of several, of each
/// suffix.
const WEIGHTS: [&[&str]; 4] = [
    &[layout::WEIGHTS[0][0]],
    &[layout::WEIGHTS[0][1]],
    &[layout::WEIGHTS[1][0]],
    &[layout::WEIGHTS[1][1]],
];

/// What a model may come without.
const OPTIONAL: [&str; 5] = [
    GENERATION,
    TOKENIZER_CONFIG,
    TOKENS_MAP,
    ADDED_TOKENS,
    TEMPLATE,
];

/// The longest index that is read, in bytes.
const MAX_INDEX: u64 = 1 << 24;

/// What to fetch: small files first.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    pub files: Vec<&'static str>,
    pub weights: Weights,
}

/// A file of weights, or the index of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    pub file: &'static str,
    /// The suffix of the files that an index names.
    shards: Option<&'static str>,
}

impl Weights {
    fn of(number: usize) -> Self {
        Self {
            file: WEIGHTS[number][0],
            shards: (number % 2 == 1).then_some(layout::WEIGHTS[number / 2][2]),
        }
    }

    /// The files that the index lists, none if it is none.
    ///
    /// # Errors
    /// The reason for which the index is refused.
    pub fn shards(&self, snapshot: &Path) -> Result<Vec<String>, String> {
        let Some(suffix) = self.shards else {
            return Ok(Vec::new());
        };
        let mut json = Vec::new();
        let file = files::open(&snapshot.join(self.file)).map_err(|e| e.to_string())?;
        let read = file.take(MAX_INDEX).read_to_end(&mut json);
        read.map_err(|e| e.to_string())?;
        let names = shard_names(&json, suffix)?;
        match names.iter().find(|name| !is_plain(name)) {
            Some(name) => Err(format!("{name:?} is not a plain file name")),
            None => Ok(names),
        }
    }
}

/// What to fetch of a repository whose files are told by `has`.
///
/// # Errors
/// The file that it lacks.
pub fn plan(has: &dyn Fn(&str) -> bool) -> Result<Plan, &'static str> {
    let absent = |file: &str| !has(file);
    if absent(CONFIG) {
        return Err(CONFIG);
    }
    let weights = Weights::of(first(&WEIGHTS, has, &absent)?);
    let tokenizer = TOKENIZERS[first(&TOKENIZERS, has, &absent)?];
    let mut files = vec![CONFIG];
    files.extend(tokenizer);
    files.extend(OPTIONAL.iter().filter(|file| has(file)));
    Ok(Plan { files, weights })
}

/// The first file that a snapshot lacks of a model in Hugging Face's layout. `absent` tells the files
/// that the repository is known not to have.
pub fn lacking(snapshot: &Path, absent: &dyn Fn(&str) -> bool) -> Option<String> {
    let has = |file: &str| snapshot.join(file).is_file();
    let lacks = |file: &str| !has(file) && !absent(file);
    if !has(CONFIG) {
        return Some(CONFIG.to_string());
    }
    let weights = match first(&WEIGHTS, &has, absent) {
        Ok(number) => Weights::of(number),
        Err(file) => return Some(file.to_string()),
    };
    if let Err(file) = first(&TOKENIZERS, &has, absent) {
        return Some(file.to_string());
    }
    if let Some(file) = OPTIONAL.iter().find(|file| lacks(file)) {
        return Some(file.to_string());
    }
    match weights.shards(snapshot) {
        Ok(shards) => shards.into_iter().find(|file| !has(file)),
        // It cannot be read: opening the model says why.
        Err(_) => None,
    }
}

/// The first of several sets of files that is there, if those before it are known not to be; otherwise
/// the file that has to be asked for.
fn first(
    sets: &[&[&'static str]],
    has: &dyn Fn(&str) -> bool,
    absent: &dyn Fn(&str) -> bool,
) -> Result<usize, &'static str> {
    for (number, set) in sets.iter().enumerate() {
        match set.iter().find(|file| !has(file)) {
            None => return Ok(number),
            Some(file) if !absent(file) => return Err(file),
            Some(_) => {}
        }
    }
    Err(sets[0][0])
}

/// Every file that is looked for by its name.
pub fn candidates() -> impl Iterator<Item = &'static str> {
    let sets = TOKENIZERS.iter().chain(&WEIGHTS);
    [CONFIG]
        .into_iter()
        .chain(sets.flat_map(|set| set.iter().copied()))
        .chain(OPTIONAL)
}

/// Whether a name is one of a file in its own directory, on every platform, and safe to show.
pub fn is_plain(name: &str) -> bool {
    let separates = |c: char| c.is_control() || "/\\:".contains(c);
    !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && !name.contains(separates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn plan_of(files: &str) -> Result<Plan, &'static str> {
        let files: Vec<&str> = files.split(' ').collect();
        plan(&|file| files.contains(&file))
    }

    /// Nothing is fetched that is not read, and safetensors before pickles, one file before several.
    #[test]
    fn only_the_files_that_are_needed() {
        let all = plan_of(
            "README.md config.json generation_config.json tokenizer.json vocab.json merges.txt \
             model.safetensors model.safetensors.index.json pytorch_model.bin flax_model.msgpack",
        )
        .expect("a model");
        let files = ["config.json", "tokenizer.json", "generation_config.json"];
        assert_eq!(all.files, files);
        assert_eq!(all.weights, Weights::of(0));

        let old = "config.json vocab.json merges.txt pytorch_model.bin.index.json";
        let old = plan_of(old).expect("a model");
        assert_eq!(old.files, ["config.json", "vocab.json", "merges.txt"]);
        assert_eq!(old.weights.file, "pytorch_model.bin.index.json");

        for (files, lacks) in [
            ("tokenizer.json model.safetensors", "config.json"),
            ("config.json tokenizer.json", "model.safetensors"),
            ("config.json vocab.json model.safetensors", "tokenizer.json"),
        ] {
            assert_eq!(plan_of(files), Err(lacks), "{files}");
        }
    }

    /// A snapshot that another program fetched in part is not taken for whole.
    #[test]
    fn what_a_snapshot_lacks() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("it");
        let unknown = |_: &str| false;
        let nothing_more = |_: &str| true;
        let lacks = |absent: &dyn Fn(&str) -> bool| lacking(dir.path(), absent);
        assert_eq!(lacks(&nothing_more).as_deref(), Some("config.json"));
        write("config.json", "{}");
        assert_eq!(lacks(&nothing_more).as_deref(), Some("model.safetensors"));
        let index = r#"{"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}"#;
        write("model.safetensors.index.json", index);
        // One file may be there, which would win.
        assert_eq!(lacks(&unknown).as_deref(), Some("model.safetensors"));
        assert_eq!(lacks(&nothing_more).as_deref(), Some("tokenizer.json"));
        write("tokenizer.json", "{}");
        assert_eq!(lacks(&nothing_more).as_deref(), Some("x-1.safetensors"));
        write("x-1.safetensors", "");
        assert_eq!(lacks(&nothing_more).as_deref(), Some("x-2.safetensors"));
        write("x-2.safetensors", "");
        assert_eq!(lacks(&nothing_more), None);
        let known = |file: &str| file != "generation_config.json";
        assert_eq!(lacks(&known).as_deref(), Some("generation_config.json"));
    }

    /// An index leads nowhere but into its own directory.
    #[test]
    fn names_from_elsewhere_are_plain() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in [
            "../x.safetensors",
            "/x.safetensors",
            "a/x.safetensors",
            "a\\\\x.safetensors",
            ".x.safetensors",
            "c:x.safetensors",
            "a\\u001b[1m.safetensors",
            "x.bin",
        ] {
            let index = format!(r#"{{"weight_map": {{"a": "{name}"}}}}"#);
            fs::write(dir.path().join(WEIGHTS[1][0]), index).expect("written");
            assert!(Weights::of(1).shards(dir.path()).is_err(), "{name}");
        }
        assert!(is_plain("model-00001-of-00002.safetensors"));
    }
}
