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

use std::path::PathBuf;

pub use error::HubError;
pub use settings::Settings;

use cache::Repository;
use client::{Client, Listing};
use download::Fetch;
use plan::is_plain;

use super::Progress;
use super::find::{Found, Revision};
use crate::model::Located;
use crate::model::layout::CONFIG;

/// The revision that is meant where none is named.
pub const MAIN: &str = "main";

/// The hub and its cache.
pub struct Hub<'a> {
    pub settings: Settings,
    pub progress: &'a dyn Progress,
}

/// Without `generation_config.json`, say, it would be another model.
const AS_IT_IS: &str =
    "the hub is not asked: what the cache does not have is taken not to be in the repository";

impl Hub<'_> {
    /// The model at a revision of the repository that has one of these names, the last of which is
    /// downloaded if the cache holds none of them.
    ///
    /// # Errors
    /// [`HubError`], with nothing half-written under its final name.
    pub fn find(&self, names: &[String], revision: &str) -> Result<Found, HubError> {
        if let Ok(whole) = self.first_cached(names, revision, false) {
            return Ok(whole);
        }
        let name = names.last().expect("a name");
        let as_it_is = || self.first_cached(names, revision, true);
        if self.settings.offline {
            let found = as_it_is().map_err(|lacks| HubError::Offline {
                repository: name.clone(),
                revision: revision.to_string(),
                lacks,
            })?;
            self.progress.detail(AS_IT_IS);
            return Ok(found);
        }
        match self.download(name, revision) {
            Err(e) if e.is_unreachable() => {
                let found = as_it_is().map_err(|_| e)?;
                self.progress.detail(AS_IT_IS);
                Ok(found)
            }
            result => result,
        }
    }

    /// The first of these that the cache has, or what it lacks of the last.
    fn first_cached(
        &self,
        names: &[String],
        revision: &str,
        as_it_is: bool,
    ) -> Result<Found, String> {
        let mut lacks = String::new();
        for name in names {
            match self.cached(name, revision, as_it_is) {
                Ok(found) => return Ok(found),
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

    /// The model in the cache, or the first file that it lacks. `as_it_is`: what is not there is taken not
    /// to be in the repository either, if a model can do without.
    fn cached(&self, id: &str, revision: &str, as_it_is: bool) -> Result<Found, String> {
        let nothing = || CONFIG.to_string();
        let cache = self.settings.cache.as_ref().ok_or_else(nothing)?;
        let repository = Repository::new(cache, id);
        let Some(commit) = repository.commit(revision) else {
            // Files that were put there by hand.
            let by_hand = Located::at(repository.path()).filter(|_| revision == MAIN);
            return by_hand.map(Found::local).ok_or_else(nothing);
        };
        let snapshot = repository.snapshot(&commit);
        let located = Located::at(&snapshot).ok_or_else(nothing)?;
        if let Located::Directory(_) = located {
            let absent = |file: &str| as_it_is || repository.is_absent(&commit, file);
            if let Some(file) = plan::lacking(&snapshot, &absent) {
                return Err(file);
            }
        }
        Ok(found(id, commit, located))
    }

    /// Fetches what the cache lacks.
    fn download(&self, id: &str, revision: &str) -> Result<Found, HubError> {
        let cache = self.settings.cache.as_ref().ok_or(HubError::NoCache)?;
        let client = Client::new(&self.settings)?;
        let what = format!("asking {} for {id}", client.endpoint());
        self.progress.progress(&what);
        let Listing { commit, files } = client.listing(id, revision)?;
        let repository = Repository::new(cache, id);
        let fetch = Fetch {
            client: &client,
            cache: &repository,
            repository: id,
            commit: &commit,
            progress: self.progress,
        };
        let located = fetch_model(&fetch, &files)?;
        repository.set_revision(revision, &commit)?;
        let endpoint = client.endpoint();
        let what = format!("downloaded {id} at commit {commit} from {endpoint}");
        self.progress.detail(&what);
        Ok(found(id, commit, located))
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
    let snapshot = fetch.cache.snapshot(fetch.commit);
    let plan = match plan::plan(&has) {
        Ok(plan) => plan,
        Err(lacks) => {
            let gguf = only_gguf(files).map_err(|count| HubError::NoModel {
                repository: fetch.repository.to_string(),
                lacks: lacks.to_string(),
                gguf: count,
            })?;
            fetch.file(gguf)?;
            return Ok(Located::Gguf(snapshot.join(gguf)));
        }
    };
    for file in &plan.files {
        fetch.file(file)?;
    }
    fetch.file(plan.weights.file)?;
    let shards = plan.weights.shards(&snapshot);
    let shards = shards.map_err(|reason| HubError::Index {
        repository: fetch.repository.to_string(),
        file: plan.weights.file.to_string(),
        reason,
    })?;
    for file in &shards {
        fetch.file(file)?;
    }
    // So that the next run knows that nothing is left to ask for.
    for file in plan::candidates().filter(|file| !has(file)) {
        fetch.cache.mark_absent(fetch.commit, file)?;
    }
    Ok(Located::Directory(snapshot))
}

/// The GGUF file of a repository, if it has one and only one; otherwise how many.
fn only_gguf(files: &[String]) -> Result<&str, usize> {
    let is_gguf = |file: &&String| is_plain(file) && file.to_ascii_lowercase().ends_with(".gguf");
    let found: Vec<&String> = files.iter().filter(is_gguf).collect();
    match found[..] {
        [file] => Ok(file),
        _ => Err(found.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_may_hold_one_gguf_file() {
        let files = |names: &str| names.split(' ').map(String::from).collect::<Vec<_>>();
        let of = |names| only_gguf(&files(names)).map(String::from);
        assert_eq!(of("README.md a.GGUF b/c.gguf"), Ok("a.GGUF".to_string()));
        assert_eq!(of("a.gguf b.gguf"), Err(2));
        assert_eq!(of("../a.gguf README.md"), Err(0));
    }
}
