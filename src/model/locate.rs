//! What `--model NAME` means.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::gguf::PartName;

/// No model has more files than this, and no directory is looked through for more.
const MAX_FILES: usize = 1 << 10;

/// A model on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Located {
    /// A quantized model, `.nzk`.
    Quantized(PathBuf),
    /// A directory in Hugging Face's layout, or one `.safetensors` file in such a directory: what
    /// [`Checkpoint::open`](super::Checkpoint::open) takes.
    Directory(PathBuf),
    /// A `.gguf` file.
    Gguf(PathBuf),
}

/// Why no model was found.
#[derive(Debug, Error)]
pub enum LocateError {
    #[error("the model's name is empty: give a path or a name such as \"gpt2\"")]
    Empty,
    #[error(
        "no model \"{name}\" in any of these places:\n{}{}",
        lines(places),
        hint(name)
    )]
    NotFound { name: String, places: Vec<Place> },
}

/// Somewhere a model was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    /// Whether something that is not a model lies there.
    pub exists: bool,
}

/// The places where names are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The directory of models called by their name.
    pub models: PathBuf,
    /// The Hugging Face cache, the directory of `models--…`.
    pub hub: Option<PathBuf>,
}

impl Places {
    /// `models/` in the working directory, and the Hugging Face cache as `HF_HUB_CACHE`, `HF_HOME`,
    /// `XDG_CACHE_HOME` and the home directory give it.
    pub fn from_environment() -> Self {
        Self {
            models: PathBuf::from("models"),
            hub: hub(|name| {
                env::var_os(name)
                    .filter(|v| !v.is_empty())
                    .map(PathBuf::from)
            }),
        }
    }
}

/// The Hugging Face cache under the given environment variables.
fn hub(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    let home = || variable("HOME").or_else(|| variable("USERPROFILE"));
    let cache = || variable("XDG_CACHE_HOME").or_else(|| home().map(|h| h.join(".cache")));
    variable("HF_HUB_CACHE").or_else(|| {
        let huggingface = || cache().map(|c| c.join("huggingface"));
        variable("HF_HOME")
            .or_else(huggingface)
            .map(|h| h.join("hub"))
    })
}

/// Resolves a model's name by [`locate_in`] in the places that the environment gives.
///
/// # Errors
/// As [`locate_in`].
pub fn locate(name: &str) -> Result<Located, LocateError> {
    locate_in(&Places::from_environment(), name)
}

/// Resolves a model's name: a path (a directory, or a file by its suffix), `models/NAME`, or a
/// repository in the local Hugging Face cache, in this order.
///
/// # Errors
/// [`LocateError::NotFound`] with every place that was looked in, and how to get the model.
pub fn locate_in(places: &Places, name: &str) -> Result<Located, LocateError> {
    if name.is_empty() {
        return Err(LocateError::Empty);
    }
    let mut candidates = vec![PathBuf::from(name), places.models.join(name)];
    candidates.dedup();
    if let Some(hub) = &places.hub {
        candidates.extend(repositories(name).map(|id| snapshot(hub, &id)));
    }
    match candidates.iter().find_map(|path| recognize(path)) {
        Some(located) => Ok(located),
        None => Err(LocateError::NotFound {
            name: name.to_string(),
            places: candidates
                .into_iter()
                .map(|path| Place {
                    exists: path.exists(),
                    path,
                })
                .collect(),
        }),
    }
}

/// What lies at `path`, if it is a model.
fn recognize(path: &Path) -> Option<Located> {
    let found = path.to_path_buf();
    if path.is_dir() {
        let is_checkpoint = path.join("config.json").is_file();
        return if is_checkpoint {
            Some(Located::Directory(found))
        } else {
            only_gguf(path).map(Located::Gguf)
        };
    }
    let suffix = path.extension()?.to_str()?.to_ascii_lowercase();
    match suffix.as_str() {
        _ if !path.is_file() => None,
        "nzk" => Some(Located::Quantized(found)),
        "gguf" => Some(Located::Gguf(found)),
        "safetensors" => Some(Located::Directory(found)),
        _ => None,
    }
}

/// The `.gguf` file in a directory, if there is one and only one, or the first if all are parts of one model: others
/// are the same model in other types.
fn only_gguf(directory: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?.flatten();
    let mut files = entries.map(|entry| entry.path()).filter(|path| {
        let suffix = path.extension().unwrap_or_default();
        suffix.eq_ignore_ascii_case("gguf") && path.is_file()
    });
    let mut found: Vec<PathBuf> = files.by_ref().take(MAX_FILES).collect();
    found.sort();
    let mut names = found
        .iter()
        .map(|path| path.file_name().unwrap_or_default().to_str());
    let first = PartName::parse(names.next()??);
    let same = |other: PartName| {
        first.is_some_and(|first| first.with(other.number) == other.with(other.number))
    };
    let one = names.all(|name| name.and_then(PartName::parse).is_some_and(same));
    one.then(|| found.swap_remove(0))
}

/// The repositories that a name may mean: itself, and for the first models, which once had no
/// owner, the owner they have now.
fn repositories(name: &str) -> impl Iterator<Item = String> {
    let owner = match name {
        "gpt2" | "gpt2-medium" | "gpt2-large" | "gpt2-xl" => Some("openai-community"),
        "distilgpt2" => Some("distilbert"),
        _ => None,
    };
    let itself = is_repository(name).then(|| name.to_string());
    itself
        .into_iter()
        .chain(owner.map(|owner| format!("{owner}/{name}")))
}

/// Whether `name` has the form `name` or `owner/name` of a repository on the hub.
fn is_repository(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let valid =
        |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed);
    name.split('/').count() <= 2 && name.split('/').all(valid) && !name.contains("--")
}

/// The directory of the revision that a cached repository's `refs/main` names (the directory of
/// the repository itself if it has none).
fn snapshot(hub: &Path, id: &str) -> PathBuf {
    let repository = hub.join(format!("models--{}", id.replace('/', "--")));
    let revision = fs::read_to_string(repository.join("refs/main")).unwrap_or_default();
    let revision = revision.trim();
    if revision.is_empty() || !revision.bytes().all(|b| b.is_ascii_hexdigit()) {
        return repository;
    }
    repository.join("snapshots").join(revision)
}

/// One line per place.
fn lines(places: &[Place]) -> String {
    places.iter().fold(String::new(), |mut text, place| {
        let remark = if place.exists {
            " (exists, but holds no model)"
        } else {
            ""
        };
        writeln!(text, "  {}{remark}", place.path.display()).expect("a string takes any text");
        text
    })
}

fn hint(name: &str) -> String {
    if is_repository(name) {
        format!("download it with `hf download {name}`, or give the path of a checkpoint")
    } else {
        "give the path of a directory with config.json, model.safetensors and tokenizer.json, \
         of a .gguf file or of an .nzk file"
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    const REVISION: &str = "607a30d783dfa663caf39e06633721c8d4cfcd7e";

    fn touch(path: PathBuf, content: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn setting() -> (TempDir, Places) {
        let root = tempfile::tempdir().unwrap();
        let places = Places {
            models: root.path().join("models"),
            hub: Some(root.path().join("hub")),
        };
        (root, places)
    }

    fn cache(places: &Places, repository: &str) -> PathBuf {
        let repository = places.hub.as_ref().unwrap().join(repository);
        touch(repository.join("refs/main"), &format!("{REVISION}\n"));
        let snapshot = repository.join("snapshots").join(REVISION);
        touch(snapshot.join("config.json"), "{}");
        snapshot
    }

    #[test]
    fn paths_are_told_apart_by_suffix_and_content() {
        let (root, places) = setting();
        let at = |name: &str| root.path().join(name);
        for file in ["a.nzk", "b.GGUF", "c/config.json", "c/model.safetensors"] {
            touch(at(file), "");
        }
        let find = |name: &str| locate_in(&places, at(name).to_str().unwrap()).unwrap();
        assert_eq!(find("a.nzk"), Located::Quantized(at("a.nzk")));
        assert_eq!(find("b.GGUF"), Located::Gguf(at("b.GGUF")));
        assert_eq!(find("c"), Located::Directory(at("c")));
        let weights = "c/model.safetensors";
        assert_eq!(find(weights), Located::Directory(at(weights)));
    }

    /// A directory of one GGUF file is called by its name; of several none is meant.
    #[test]
    fn a_directory_with_one_gguf_file_is_that_file() {
        let (_root, places) = setting();
        let file = places.models.join("small/model.Q8_0.gguf");
        touch(file.clone(), "");
        touch(places.models.join("small/README.md"), "");
        fs::create_dir(places.models.join("small/parts.gguf")).unwrap();
        assert_eq!(locate_in(&places, "small").unwrap(), Located::Gguf(file));
        touch(places.models.join("small/model.Q4_0.gguf"), "");
        assert!(locate_in(&places, "small").is_err());
        for part in 1..=3 {
            let name = format!("parts/model-0000{part}-of-00003.gguf");
            touch(places.models.join(name), "");
        }
        let first = places.models.join("parts/model-00001-of-00003.gguf");
        assert_eq!(locate_in(&places, "parts").unwrap(), Located::Gguf(first));
        touch(places.models.join("parts/model-00001-of-00002.gguf"), "");
        assert!(locate_in(&places, "parts").is_err());
    }

    /// A name means the nearest model: `models/` before the cache.
    #[test]
    fn names_are_looked_up_in_order() {
        let (_root, places) = setting();
        let cached = cache(&places, "models--openai-community--gpt2");
        let found = locate_in(&places, "gpt2").unwrap();
        assert_eq!(found, Located::Directory(cached.clone()));
        let found = locate_in(&places, "openai-community/gpt2").unwrap();
        assert_eq!(found, Located::Directory(cached));

        let plain = cache(&places, "models--gpt2");
        let found = locate_in(&places, "gpt2").unwrap();
        assert_eq!(found, Located::Directory(plain));

        touch(places.models.join("gpt2/config.json"), "{}");
        let found = locate_in(&places, "gpt2").unwrap();
        assert_eq!(found, Located::Directory(places.models.join("gpt2")));
    }

    #[test]
    fn a_missing_model_is_reported_with_every_place_and_the_remedy() {
        let (_root, places) = setting();
        fs::create_dir_all(places.models.join("org/name")).unwrap();
        let message = locate_in(&places, "org/name").unwrap_err().to_string();
        for part in [
            "\"org/name\"",
            "models/org/name (exists, but holds no model)",
            "models--org--name",
            "hf download org/name",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        let message = locate_in(&places, "some/where/model.nzk").unwrap_err();
        let message = message.to_string();
        assert!(!message.contains("hf download"), "{message}");
        assert!(matches!(locate_in(&places, ""), Err(LocateError::Empty)));
    }

    /// A revision is a hash: nothing else in `refs/main` leads anywhere.
    #[test]
    fn a_revision_cannot_point_outside_the_cache() {
        let (_root, places) = setting();
        let hub = places.hub.clone().unwrap();
        touch(hub.join("models--x/refs/main"), "../../elsewhere");
        fs::create_dir(hub.join("models--x/snapshots")).unwrap();
        touch(hub.join("models--x/elsewhere/config.json"), "{}");
        touch(hub.join("elsewhere/config.json"), "{}");
        assert!(locate_in(&places, "x").is_err());
    }

    /// Without a revision, as where files were downloaded by hand, the repository's directory itself.
    #[test]
    fn a_repository_without_a_revision_is_its_own_directory() {
        let (_root, places) = setting();
        let repository = places.hub.clone().unwrap().join("models--x");
        touch(repository.join("config.json"), "{}");
        let expected = Located::Directory(repository.clone());
        assert_eq!(locate_in(&places, "x").unwrap(), expected);
        touch(repository.join("refs/main"), "\n");
        assert_eq!(locate_in(&places, "x").unwrap(), expected);
    }

    /// What is no name of the hub is not looked up there: a place outside the cache could be meant, or
    /// two names be one (`--` stands for `/` there).
    #[test]
    fn repositories_are_told_from_paths() {
        for name in ["gpt2", "a/b", "Org-1/some_model.v2"] {
            assert!(is_repository(name), "{name}");
        }
        for name in [
            "", "/", "a/", "/b", "a/b/c", ".", "..", "../b", "a/..", "a/.b", "a b", "a\\b", "a:b",
            "é", "a--b", "a/b--c",
        ] {
            assert!(!is_repository(name), "{name}");
        }
    }

    /// An absolute path is the same in every directory.
    #[test]
    fn no_place_is_listed_twice() {
        let (root, places) = setting();
        let name = root.path().join("nothing").display().to_string();
        let Err(LocateError::NotFound { places, .. }) = locate_in(&places, &name) else {
            panic!("there is nothing");
        };
        let paths: Vec<_> = places.into_iter().map(|place| place.path).collect();
        assert_eq!(paths, [PathBuf::from(name)]);
    }

    #[test]
    fn the_cache_follows_the_environment() {
        let all = [
            ("HF_HUB_CACHE", "/a", "/a"),
            ("HF_HOME", "/b", "/b/hub"),
            ("XDG_CACHE_HOME", "/c", "/c/huggingface/hub"),
            ("HOME", "/d", "/d/.cache/huggingface/hub"),
        ];
        for first in 0..all.len() {
            let set = |name: &str| {
                let found = all[first..].iter().find(|(key, ..)| *key == name);
                found.map(|(_, value, _)| PathBuf::from(value))
            };
            assert_eq!(hub(set), Some(PathBuf::from(all[first].2)));
        }
        assert_eq!(hub(|_| None), None);
    }
}
