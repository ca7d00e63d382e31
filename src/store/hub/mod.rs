//! Models from Hugging Face's hub, by way of the cache that is shared with Python.
//!
//! As `transformers` does, but for one thing: a revision that the cache holds whole is used without
//! asking whether the branch has moved since. Nothing of the hub is trusted: the model's id, by the
//! digests of its files, says which model it is.

mod cache;
mod client;
mod download;
mod error;
mod plan;
mod settings;

use std::path::{Path, PathBuf};

pub use error::HubError;
pub use settings::Settings;

use cache::Repository;
use client::{Client, Listing};
use download::Fetch;
use plan::{Plan, is_inside, is_plain};

use super::Progress;
use super::find::{Found, Revision};
use crate::model::layout::CONFIG;
use crate::model::{Located, gguf_in, one_model};

/// The revision that is meant where none is named.
pub const MAIN: &str = "main";

/// The hub and its cache.
pub struct Hub<'a> {
    pub settings: Settings,
    pub progress: &'a dyn Progress,
}

/// A model as the cache has it.
struct Cached {
    found: Found,
    /// The files that may be in the repository too, as far as the cache shows: with them it would be another model.
    unknown: Vec<String>,
}

/// What the hub answers, and where what it has comes to lie.
struct Asked {
    client: Client,
    cache: Repository,
    listing: Listing,
}

impl Hub<'_> {
    /// The model at a revision of the repository that has one of these names, the last of which is
    /// downloaded if the cache holds none of them whole. What is used although it may not be whole is said.
    ///
    /// # Errors
    /// [`HubError`], with nothing half-written under its final name.
    pub fn find(&self, names: &[String], revision: &str) -> Result<Found, HubError> {
        if let Some(found) = self.whole(names, revision) {
            return Ok(found);
        }
        let name = names.last().expect("a name");
        if self.settings.offline {
            let offline = |lacks| HubError::Offline {
                repository: name.clone(),
                revision: revision.to_string(),
                lacks,
            };
            let why = "HF_HUB_OFFLINE is set";
            return self.as_it_is(names, revision, why).map_err(offline);
        }
        let asked = self.ask(name, revision);
        let answered = asked.is_ok();
        match asked.and_then(|asked| self.fetch(name, revision, &asked)) {
            // Of several GGUF files, the one that was put into the cache.
            Err(e @ HubError::NoModel { .. }) => self.whole(names, revision).ok_or(e),
            Err(e) if !answered || e.is_unreachable() => {
                let why = "the hub could not be asked (--verbose says why)";
                let found = self.as_it_is(names, revision, why);
                if found.is_ok() {
                    self.progress.detail(&e.to_string());
                }
                found.map_err(|_| e)
            }
            result => result,
        }
    }

    /// The first of these of which the cache shows that nothing is left to ask for.
    fn whole(&self, names: &[String], revision: &str) -> Option<Found> {
        let mut cached = names.iter().filter_map(|name| {
            let cached = self.cached(name, revision).ok()?;
            cached.unknown.is_empty().then_some(cached.found)
        });
        cached.next()
    }

    /// The first of these with which something can be done, or what the cache lacks of the last.
    fn as_it_is(&self, names: &[String], revision: &str, why: &str) -> Result<Found, String> {
        let mut lacks = String::new();
        for name in names {
            match self.cached(name, revision) {
                Ok(Cached { found, unknown }) => {
                    let also = unknown.join(" or ");
                    self.progress.note(&format!(
                        "{name} is used as the cache has it, since {why}: if the repository also has {also}, a download of it \
                         is another model, with another id; run the command once with a network to settle it"
                    ));
                    return Ok(found);
                }
                Err(file) => lacks = file,
            }
        }
        Err(lacks)
    }

    /// Where a repository's revision is or would be in the cache.
    pub fn place(&self, id: &str, revision: &str) -> Option<PathBuf> {
        let repository = Repository::new(self.settings.cache.as_ref()?, id);
        Some(match repository.commit(revision) {
            Some(commit) => repository.snapshot(&commit),
            None => repository.path().to_path_buf(),
        })
    }

    /// The model in the cache, or the first file that it lacks.
    fn cached(&self, id: &str, revision: &str) -> Result<Cached, String> {
        let nothing = || CONFIG.to_string();
        let cache = self.settings.cache.as_ref().ok_or_else(nothing)?;
        let repository = Repository::new(cache, id);
        let Some(commit) = repository.commit(revision) else {
            // Files that were put there by hand.
            let by_hand = Located::at(repository.path()).filter(|_| revision == MAIN);
            let found = by_hand.map(Found::local).ok_or_else(nothing)?;
            let unknown = Vec::new();
            return Ok(Cached { found, unknown });
        };
        let snapshot = repository.snapshot(&commit);
        let listing = repository.listing(&commit);
        let has = |file: &str| repository.has(&commit, file);
        let absent = |file: &str| match &listing {
            Some(files) => !files.iter().any(|f| f == file),
            None => repository.is_absent(&commit, file),
        };
        let (located, unknown) = match plan::plan(&has) {
            Ok(plan) => {
                if let Some(shard) = plan.weights.lacking(&snapshot) {
                    return Err(shard);
                }
                let named = listing.as_deref().and_then(plan::named_template);
                let mut unknown = plan::unknown(&has, &absent);
                unknown.extend(named.filter(|file| !has(file)).map(String::from));
                (Located::Directory(snapshot), unknown)
            }
            Err(file) => {
                let gguf = whole_gguf(&snapshot).ok_or(file)??;
                // In its place, that would be fetched.
                let other = plan::plan(&|file| !absent(file)).ok();
                let unknown = other.map(|plan| plan.weights.file.to_string());
                (Located::Gguf(gguf), unknown.into_iter().collect())
            }
        };
        let found = found(id, commit, located);
        Ok(Cached { found, unknown })
    }

    /// Asks which files the repository has.
    fn ask(&self, id: &str, revision: &str) -> Result<Asked, HubError> {
        let cache = self.settings.cache.as_ref().ok_or(HubError::NoCache)?;
        let client = Client::new(&self.settings)?;
        let what = format!("asking {} for {id}", client.endpoint());
        self.progress.progress(&what);
        Ok(Asked {
            listing: client.listing(id, revision)?,
            cache: Repository::new(cache, id),
            client,
        })
    }

    /// Fetches what the cache lacks of them.
    fn fetch(&self, id: &str, revision: &str, asked: &Asked) -> Result<Found, HubError> {
        let Asked {
            client,
            cache,
            listing: Listing { commit, files },
        } = asked;
        let fetch = Fetch {
            client,
            cache,
            repository: id,
            commit,
            progress: self.progress,
        };
        let located = fetch_model(&fetch, files)?;
        cache.set_revision(revision, commit)?;
        let endpoint = client.endpoint();
        let what = format!("downloaded {id} at commit {commit} from {endpoint}");
        self.progress.detail(&what);
        Ok(found(id, commit.clone(), located))
    }
}

fn found(id: &str, commit: String, located: Located) -> Found {
    Found {
        located,
        revision: Some(Revision {
            repository: id.to_string(),
            commit,
        }),
    }
}

/// Fetches the files of a model among those of a commit.
fn fetch_model(fetch: &Fetch, files: &[String]) -> Result<Located, HubError> {
    let has = |file: &str| files.iter().any(|f| f == file);
    let fetched = match plan::plan(&has) {
        Ok(plan) => fetch_planned(fetch, &plan, plan::named_template(files)),
        Err(lacks) => fetch_gguf(fetch, files, lacks),
    };
    if matches!(fetched, Ok(_) | Err(HubError::NoModel { .. })) {
        // So that the next run knows that nothing is left to ask for. Python asks for none of the templates with
        // names before it has seen them listed: that one is marked says that the listing was read.
        for file in plan::candidates().filter(|file| !has(file)) {
            fetch.cache.mark_absent(fetch.commit, file)?;
        }
    }
    fetched
}

/// Fetches a model in Hugging Face's layout.
fn fetch_planned(fetch: &Fetch, plan: &Plan, named: Option<&str>) -> Result<Located, HubError> {
    let refused = |file: &str, reason: String| HubError::Index {
        repository: fetch.repository.to_string(),
        file: file.to_string(),
        reason,
    };
    if let Some(file) = named {
        if !is_inside(file) {
            return Err(refused(file, "it is not a plain file name".to_string()));
        }
        fetch.file(file)?;
    }
    for file in plan.files.iter().chain([&plan.weights.file]) {
        fetch.file(file)?;
    }
    let snapshot = fetch.cache.snapshot(fetch.commit);
    let shards = plan.weights.shards(&snapshot);
    for file in shards.map_err(|reason| refused(plan.weights.file, reason))? {
        fetch.file(&file)?;
    }
    Ok(Located::Directory(snapshot))
}

/// Fetches a repository's only GGUF file, or all parts of its only one in several.
fn fetch_gguf(fetch: &Fetch, files: &[String], lacks: &str) -> Result<Located, HubError> {
    let parts = gguf_files(files).map_err(|found| HubError::NoModel {
        repository: fetch.repository.to_string(),
        lacks: lacks.to_string(),
        gguf: found.into_iter().map(String::from).collect(),
    })?;
    for file in &parts {
        fetch.file(file)?;
    }
    let snapshot = fetch.cache.snapshot(fetch.commit);
    Ok(Located::Gguf(snapshot.join(&parts[0])))
}

/// The files of a repository's GGUF model, if it has only one outside of folders; otherwise all GGUF files that it has.
fn gguf_files(files: &[String]) -> Result<Vec<String>, Vec<&str>> {
    let is_gguf = |file: &&str| file.to_ascii_lowercase().ends_with(".gguf");
    let all: Vec<&str> = files.iter().map(String::as_str).filter(is_gguf).collect();
    let here: Vec<&str> = all.iter().copied().filter(|file| is_plain(file)).collect();
    let parts = one_model(&here).filter(|parts| parts.iter().all(|p| files.contains(p)));
    parts.ok_or(all)
}

/// The GGUF model of a snapshot that has only one, or the part of it that is lacking.
fn whole_gguf(snapshot: &Path) -> Option<Result<PathBuf, String>> {
    let found = gguf_in(snapshot)?;
    let parts = one_model(&[found.file_name()?.to_str()?])?;
    Some(match parts.iter().find(|p| !snapshot.join(p).is_file()) {
        Some(part) => Err(part.clone()),
        None => Ok(snapshot.join(&parts[0])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_may_hold_one_gguf_model() {
        let of = |names: &str| {
            let files: Vec<String> = names.split(' ').map(String::from).collect();
            let join = |names: &[&str]| names.join(" ");
            match gguf_files(&files) {
                Ok(parts) => Ok(parts.join(" ")),
                Err(found) => Err(join(&found)),
            }
        };
        assert_eq!(of("README.md a.GGUF b/c.gguf"), Ok("a.GGUF".to_string()));
        let parts = "a-00001-of-00002.gguf a-00002-of-00002.gguf";
        assert_eq!(of(parts), Ok(parts.to_string()));
        for several in [
            "a.gguf b.gguf",
            "a-00001-of-00002.gguf",
            "../a.gguf",
            "b/a.gguf",
        ] {
            assert_eq!(of(several), Err(several.to_string()));
        }
    }
}
