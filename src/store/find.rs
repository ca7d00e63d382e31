//! What `--model NAME` means.

use std::fmt::{self, Write};
use std::path::{Path, PathBuf};

use super::hub::{Hub, HubError, MAIN};
use crate::model::Located;

/// A model that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub located: Located,
    /// Where it comes from, if it is a repository's.
    pub revision: Option<Revision>,
}

/// A commit of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// `owner/name`.
    pub repository: String,
    pub commit: String,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at commit {}", self.repository, self.commit)
    }
}

impl Found {
    pub(super) fn local(located: Located) -> Self {
        Self {
            located,
            revision: None,
        }
    }
}

/// Why no model was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    #[error("the model's name is empty: give a path or a name such as \"gpt2\"")]
    Empty,
    #[error("no model {name:?} in any of these places:\n{}{}", lines(places), advice(hub.as_deref()))]
    NotFound {
        name: String,
        places: Vec<Place>,
        /// What the hub says, if the name may be a repository's.
        hub: Option<Box<HubError>>,
    },
    #[error(transparent)]
    Hub(Box<HubError>),
}

/// Somewhere a model was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub path: PathBuf,
    /// Whether something that is not a model lies there.
    pub exists: bool,
}

/// Resolves a model's name: a path (a directory, or a file by its suffix); `models/NAME`; or a
/// repository, NAME or NAME@REVISION, in Hugging Face's cache or else on the hub. In this order.
///
/// # Errors
/// [`FindError::NotFound`] with every place that was looked in, and how to get the model.
pub fn find(name: &str, models: &Path, hub: &Hub) -> Result<Found, FindError> {
    if name.is_empty() {
        return Err(FindError::Empty);
    }
    let mut candidates = vec![PathBuf::from(name), models.join(name)];
    candidates.dedup();
    if let Some(located) = candidates.iter().find_map(|path| Located::at(path)) {
        return Ok(Found::local(located));
    }
    let (names, revision) = repositories(name);
    let hub_says = match names.is_empty() {
        true => None,
        false => match hub.find(&names, revision) {
            Ok(found) => return Ok(found),
            Err(e) if e.leaves_existence_open() => Some(Box::new(e)),
            Err(e) => return Err(FindError::Hub(Box::new(e))),
        },
    };
    candidates.extend(names.iter().filter_map(|id| hub.place(id, revision)));
    let places = candidates.into_iter().map(|path| Place {
        exists: path.exists(),
        path,
    });
    Err(FindError::NotFound {
        name: name.to_string(),
        places: places.collect(),
        hub: hub_says,
    })
}

/// The repositories that a name may mean, and the revision: the name itself, and for the first models,
/// which once had no owner, the owner they have now.
fn repositories(name: &str) -> (Vec<String>, &str) {
    let (name, revision) = name.split_once('@').unwrap_or((name, MAIN));
    if !is_repository(name) || !is_revision(revision) {
        return (Vec::new(), revision);
    }
    let owner = match name {
        "gpt2" | "gpt2-medium" | "gpt2-large" | "gpt2-xl" => Some("openai-community"),
        "distilgpt2" => Some("distilbert"),
        _ => None,
    };
    let owned = owner.map(|owner| format!("{owner}/{name}"));
    (
        [name.to_string()].into_iter().chain(owned).collect(),
        revision,
    )
}

/// Whether `name` has the form `name` or `owner/name` of a repository on the hub, and not that of a
/// file's path.
fn is_repository(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let valid = |part: &str| {
        (1..=96).contains(&part.len()) && !part.starts_with('.') && part.chars().all(allowed)
    };
    !Located::is_file_name(name)
        && name.split('/').count() <= 2
        && name.split('/').all(valid)
        && !name.contains("--")
}

/// Whether a branch, a tag or a commit can be called so. It becomes a path below `refs/`.
fn is_revision(revision: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    let valid =
        |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed);
    revision.len() <= 128 && revision.split('/').all(valid)
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

fn advice(hub: Option<&HubError>) -> String {
    match hub {
        Some(error) => error.to_string(),
        None => {
            "give the path of a directory with config.json, model.safetensors and tokenizer.json, \
                 of a .gguf file or of an .nzk file, or the name of a repository on the hub \
                 (owner/name or owner/name@revision)"
                .to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::hub::Settings;
    use std::fs;
    use tempfile::TempDir;

    const REVISION: &str = "607a30d783dfa663caf39e06633721c8d4cfcd7e";

    fn touch(path: PathBuf, content: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A directory with `models/` and a cache, without a network.
    struct Setting {
        root: TempDir,
        hub: Hub<'static>,
    }

    impl Setting {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let settings = Settings {
                cache: Some(root.path().join("hub")),
                endpoint: "http://127.0.0.1:1".into(),
                token: None,
                offline: true,
                certificates: None,
            };
            let hub = Hub {
                settings,
                progress: &(),
            };
            Self { root, hub }
        }

        fn models(&self) -> PathBuf {
            self.root.path().join("models")
        }

        fn find(&self, name: &str) -> Result<Found, FindError> {
            find(name, &self.models(), &self.hub)
        }

        fn located(&self, name: &str) -> Located {
            self.find(name).unwrap().located
        }

        /// A cached snapshot of a model's least files, at `refs/main`.
        fn cache(&self, repository: &str) -> PathBuf {
            let repository = self.root.path().join("hub").join(repository);
            touch(repository.join("refs/main"), &format!("{REVISION}\n"));
            let snapshot = repository.join("snapshots").join(REVISION);
            for file in ["config.json", "tokenizer.json", "model.safetensors"] {
                touch(snapshot.join(file), "{}");
            }
            snapshot
        }
    }

    /// A name means the nearest model: `models/` before the cache.
    #[test]
    fn names_are_looked_up_in_order() {
        let setting = Setting::new();
        let cached = setting.cache("models--openai-community--gpt2");
        let found = setting.find("gpt2").unwrap();
        assert_eq!(found.located, Located::Directory(cached.clone()));
        let revision = found.revision.unwrap().to_string();
        assert_eq!(
            revision,
            format!("openai-community/gpt2 at commit {REVISION}")
        );
        for name in ["openai-community/gpt2", &format!("gpt2@{REVISION}")] {
            assert_eq!(setting.located(name), Located::Directory(cached.clone()));
        }

        let plain = setting.cache("models--gpt2");
        assert_eq!(setting.located("gpt2"), Located::Directory(plain));

        let nearest = setting.models().join("gpt2");
        touch(nearest.join("config.json"), "{}");
        assert_eq!(setting.located("gpt2"), Located::Directory(nearest));
    }

    /// A branch is what the cache says of it, and nothing else is taken for it.
    #[test]
    fn a_revision_is_that_revision() {
        let setting = Setting::new();
        let cached = setting.cache("models--x");
        touch(
            setting.root.path().join("hub/models--x/refs/refs/pr/1"),
            REVISION,
        );
        let found = setting.located("x@refs/pr/1");
        assert_eq!(found, Located::Directory(cached));
        let other = REVISION.replace('6', "7");
        for revision in ["v1", "refs/pr/2", &other] {
            assert!(setting.find(&format!("x@{revision}")).is_err());
        }
    }

    #[test]
    fn a_missing_model_is_reported_with_every_place_and_the_remedy() {
        let setting = Setting::new();
        fs::create_dir_all(setting.models().join("org/name")).unwrap();
        let message = setting.find("org/name").unwrap_err().to_string();
        for part in [
            "\"org/name\"",
            "models/org/name (exists, but holds no model)",
            "models--org--name",
            "HF_HUB_OFFLINE is set",
        ] {
            assert!(message.contains(part), "{part}: {message}");
        }
        for name in ["some/where/model", "model.nzk", "owner/name.gguf"] {
            let message = setting.find(name).unwrap_err().to_string();
            assert!(
                message.contains("give the path of a directory"),
                "{message}"
            );
        }
        assert!(matches!(setting.find(""), Err(FindError::Empty)));
    }

    /// Without a revision, as where files were put by hand, the repository's directory itself.
    #[test]
    fn a_repository_without_a_revision_is_its_own_directory() {
        let setting = Setting::new();
        let repository = setting.root.path().join("hub/models--x");
        touch(repository.join("config.json"), "{}");
        let expected = Located::Directory(repository.clone());
        assert_eq!(setting.located("x"), expected);
        touch(repository.join("refs/main"), "\n");
        assert_eq!(setting.located("x"), expected);
        assert!(setting.find("x@v1").is_err());
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
            "é", "a--b", "a/b--c", "a.nzk", "a/b.GGUF",
        ] {
            assert!(!is_repository(name), "{name}");
        }
        for revision in ["main", "v1.0", "refs/pr/1", "a+b", REVISION] {
            assert!(is_revision(revision), "{revision}");
        }
        for revision in [
            "", "..", "a/../b", "/a", "a/", "a//b", ".a", "a b", "a\\b", "a:b", "a@b",
        ] {
            assert!(!is_revision(revision), "{revision}");
        }
    }

    /// An absolute path is the same in every directory.
    #[test]
    fn no_place_is_listed_twice() {
        let setting = Setting::new();
        let name = setting.root.path().join("nothing").display().to_string();
        let Err(FindError::NotFound { places, .. }) = setting.find(&name) else {
            panic!("there is nothing");
        };
        let paths: Vec<_> = places.into_iter().map(|place| place.path).collect();
        assert_eq!(paths, [PathBuf::from(name)]);
    }
}
