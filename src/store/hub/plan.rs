//! Which of a repository's files make a model.

use std::io::Read;
use std::path::Path;

use crate::files;
use crate::model::layout::{
    self, ADDED_TOKENS, CONFIG, DEFAULT_TEMPLATE, GENERATION, MERGES, TEMPLATE, TEMPLATE_SUFFIX,
    TEMPLATES, TOKENIZER, TOKENIZER_CONFIG, TOKENS_MAP, VOCABULARY,
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
const OPTIONAL: [&str; 6] = [
    GENERATION,
    TOKENIZER_CONFIG,
    TOKENS_MAP,
    ADDED_TOKENS,
    TEMPLATE,
    DEFAULT_TEMPLATE,
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

    /// The first file that the index names and the snapshot lacks. Of an index that cannot be read, opening the
    /// model says why.
    pub fn lacking(&self, snapshot: &Path) -> Option<String> {
        let names = self.shards(snapshot).unwrap_or_default();
        names
            .into_iter()
            .find(|file| !snapshot.join(file).is_file())
    }
}

/// What to fetch of a repository whose files are told by `has`.
///
/// # Errors
/// The file that it lacks.
pub fn plan(has: &dyn Fn(&str) -> bool) -> Result<Plan, &'static str> {
    if !has(CONFIG) {
        return Err(CONFIG);
    }
    let weights = first(&WEIGHTS, has).ok_or(WEIGHTS[0][0])?;
    let tokenizer = first(&TOKENIZERS, has).ok_or(TOKENIZERS[0][0])?;
    let mut files = vec![CONFIG];
    files.extend(TOKENIZERS[tokenizer]);
    files.extend(OPTIONAL.iter().filter(|file| has(file)));
    Ok(Plan {
        files,
        weights: Weights::of(weights),
    })
}

/// A template with a name, where there are no others: `transformers` then does not look into [`TOKENIZER_CONFIG`]. Nothing
/// else is read of them, so one stands for all.
pub fn named_template(files: &[String]) -> Option<&str> {
    if files.iter().any(|f| f == TEMPLATE || f == DEFAULT_TEMPLATE) {
        return None;
    }
    let is_named = |file: &&str| {
        let name = file.strip_prefix(TEMPLATES);
        let name = name.and_then(|rest| rest.strip_prefix('/'));
        name.is_some_and(|name| name.ends_with(TEMPLATE_SUFFIX) && !name.contains('/'))
    };
    let named = files.iter().map(String::as_str).filter(is_named);
    // One that cannot be fetched comes last, and is refused.
    named.min_by_key(|file| !is_inside(file))
}

/// The files that would go before or beside those of a snapshot in Hugging Face's layout, if the repository
/// has them: `absent` tells those that it is known not to have.
pub fn unknown(has: &dyn Fn(&str) -> bool, absent: &dyn Fn(&str) -> bool) -> Vec<String> {
    let before = |sets: &'static [&[&'static str]]| {
        let sets = &sets[..first(sets, has).unwrap_or(sets.len())];
        sets.iter().copied().flatten().copied()
    };
    let all = before(&WEIGHTS).chain(before(&TOKENIZERS)).chain(OPTIONAL);
    let open = all.filter(|file| !has(file) && !absent(file));
    open.map(String::from).collect()
}

/// The first of several sets of files that is there.
fn first(sets: &[&[&str]], has: &dyn Fn(&str) -> bool) -> Option<usize> {
    sets.iter().position(|set| set.iter().all(|file| has(file)))
}

/// Every file that is looked for by its name.
pub fn candidates() -> impl Iterator<Item = &'static str> {
    let sets = TOKENIZERS.iter().chain(&WEIGHTS);
    [CONFIG]
        .into_iter()
        .chain(sets.flat_map(|set| set.iter().copied()))
        .chain(OPTIONAL)
}

/// Whether a path leads to a file in a directory or in one below it.
pub fn is_inside(path: &str) -> bool {
    path.split('/').all(is_plain)
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

    /// What a snapshot that another program fetched leaves open: what would be read too, and what before that which
    /// is there.
    #[test]
    fn what_a_snapshot_leaves_open() {
        let of = |files: &'static str, known: &'static str| -> Vec<String> {
            let among = |files: &'static str| move |file: &str| files.split(' ').any(|f| f == file);
            unknown(&among(files), &among(known))
        };
        let least = "config.json tokenizer.json model.safetensors";
        assert_eq!(of(least, ""), OPTIONAL);
        let known = "tokenizer_config.json special_tokens_map.json added_tokens.json \
                     additional_chat_templates/default.jinja";
        let open = ["generation_config.json", "chat_template.jinja"];
        assert_eq!(of(least, known), open);
        let old = "config.json vocab.json merges.txt pytorch_model.bin generation_config.json chat_template.jinja";
        let before = [
            "model.safetensors",
            "model.safetensors.index.json",
            "tokenizer.json",
        ];
        assert_eq!(of(old, known), before);
    }

    /// A shard that is not there is seen.
    #[test]
    fn what_an_index_lacks() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("it");
        let index = r#"{"weight_map": {"a": "x-1.safetensors", "b": "x-2.safetensors"}}"#;
        write(WEIGHTS[1][0], index);
        for name in ["x-1.safetensors", "x-2.safetensors"] {
            let lacking = Weights::of(1).lacking(dir.path());
            assert_eq!(lacking.as_deref(), Some(name));
            write(name, "");
        }
        assert_eq!(Weights::of(1).lacking(dir.path()), None);
    }

    /// One of the templates with names, where it changes what is read; a name that leads elsewhere only if
    /// there is no other.
    #[test]
    fn one_named_template_is_enough() {
        let of = |names: &str| {
            let files: Vec<String> = names.split(' ').map(String::from).collect();
            named_template(&files).map(String::from)
        };
        let folder = |name: &str| format!("additional_chat_templates/{name}");
        let (rag, tools, odd) = (
            folder("rag.jinja"),
            folder("tools.jinja"),
            folder("..\\x.jinja"),
        );
        assert_eq!(of(&format!("{odd} {tools} {rag}")), Some(tools.clone()));
        assert_eq!(of(&odd), Some(odd.clone()));
        assert!(!is_inside(&odd) && is_inside(&tools) && is_inside(DEFAULT_TEMPLATE));
        for other in [TEMPLATE, DEFAULT_TEMPLATE] {
            assert_eq!(of(&format!("{tools} {other}")), None);
        }
        let none = "a.jinja additional_chat_templates/a/b.jinja additional_chat_templates/a.JINJA \
                    additional_chat_templates.jinja";
        assert_eq!(of(none), None);
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
