//! Hugging Face's cache, in the layout that Python's `huggingface_hub` reads and writes.
//!
//! ```text
//! models--OWNER--NAME/
//!   blobs/ETAG                   a file's content; ETAG.incomplete while it is downloaded
//!   refs/REVISION                the commit that a branch or a tag was when it was last asked for
//!   snapshots/COMMIT/FILE        a link to ../../blobs/ETAG
//!   .no_exist/COMMIT/FILE        empty: the commit has no such file
//!   trees/COMMIT.json            all files of the commit, which `hf download` keeps and we only read
//! .locks/models--OWNER--NAME/ETAG.lock
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::HubError;
use super::client::MAX_LISTING;
use crate::files;

/// A repository in the cache.
pub struct Repository {
    path: PathBuf,
    locks: PathBuf,
}

impl Repository {
    /// The repository `id` in a cache, whether there is anything of it or not.
    pub fn new(cache: &Path, id: &str) -> Self {
        let folder = format!("models--{}", id.replace('/', "--"));
        Self {
            path: cache.join(&folder),
            locks: cache.join(".locks").join(folder),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The commit that a revision is, as far as the cache knows: what `refs/` says or the commit itself.
    pub fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_string());
        }
        let mut text = String::new();
        let file = files::open(&self.path.join("refs").join(revision)).ok()?;
        file.take(64).read_to_string(&mut text).ok()?;
        let commit = text.trim();
        is_commit(commit).then(|| commit.to_string())
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.path.join("snapshots").join(commit)
    }

    pub fn has(&self, commit: &str, file: &str) -> bool {
        self.snapshot(commit).join(file).is_file()
    }

    /// Whether the commit is known to have no such file.
    pub fn is_absent(&self, commit: &str, file: &str) -> bool {
        self.absent(commit).join(file).is_file()
    }

    fn absent(&self, commit: &str) -> PathBuf {
        self.path.join(".no_exist").join(commit)
    }

    /// The commit's files, if Python kept the list.
    pub fn listing(&self, commit: &str) -> Option<Vec<String>> {
        #[derive(Deserialize)]
        struct Tree {
            format_version: u32,
            files: BTreeMap<String, IgnoredAny>,
        }
        let mut json = Vec::new();
        let path = self.path.join("trees").join(format!("{commit}.json"));
        let file = files::open(&path).ok()?;
        file.take(MAX_LISTING).read_to_end(&mut json).ok()?;
        let tree: Tree = serde_json::from_slice(&json).ok()?;
        (tree.format_version == 1).then(|| tree.files.into_keys().collect())
    }

    pub fn mark_absent(&self, commit: &str, file: &str) -> Result<(), HubError> {
        let path = self.absent(commit).join(file);
        write_whole(&path, "")
    }

    pub fn set_revision(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        write_whole(&self.path.join("refs").join(revision), commit)
    }

    /// Where a file's content is; its directory is made.
    pub fn blob(&self, etag: &str) -> Result<PathBuf, HubError> {
        let path = self.path.join("blobs").join(etag);
        make_parent(&path)?;
        Ok(path)
    }

    /// Waits until no other process, Python's included, downloads this content; `waiting` is called
    /// before. The lock ends with the file. It saves work and bandwidth: what two processes mixed
    /// up would not have the promised digest.
    pub fn lock(&self, etag: &str, waiting: &dyn Fn()) -> Result<File, HubError> {
        let path = self.locks.join(format!("{etag}.lock"));
        make_parent(&path)?;
        let file = at(&path, File::create(&path))?;
        let locked = match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => {
                waiting();
                file.lock()
            }
            Err(TryLockError::Error(e)) => Err(e),
        };
        match locked {
            // Some network file systems have no locks.
            Err(e) if e.kind() != io::ErrorKind::Unsupported => Err(io_error(&path, e)),
            _ => Ok(file),
        }
    }

    /// Makes a content a file of the commit. The caller holds its lock.
    pub fn link(&self, etag: &str, commit: &str, file: &str) -> Result<(), HubError> {
        let path = self.snapshot(commit).join(file);
        if path.is_file() {
            return Ok(());
        }
        make_parent(&path)?;
        // A link to what is no longer there.
        let _ = fs::remove_file(&path);
        let depth = 2 + file.matches('/').count();
        let target = PathBuf::from("../".repeat(depth)).join("blobs").join(etag);
        match symlink(&target, &path) {
            Ok(()) => Ok(()),
            // Where there are no links, as for most users of Windows, the file itself lies there.
            Err(_) => {
                let blob = self.path.join("blobs").join(etag);
                at(&path, fs::rename(blob, &path))
            }
        }
    }
}

#[cfg(unix)]
fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(windows)]
fn symlink(target: &Path, path: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, path)
}

/// Whether a text is a commit: the 40 hexadecimal digits of its SHA-1.
pub fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn make_parent(path: &Path) -> Result<(), HubError> {
    let parent = path.parent().expect("a path in the cache");
    at(parent, fs::create_dir_all(parent))
}

/// Writes a small file under another name and renames it.
fn write_whole(path: &Path, text: &str) -> Result<(), HubError> {
    make_parent(path)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    at(&temporary, fs::write(&temporary, text))?;
    at(path, fs::rename(&temporary, path))
}

/// Adds the path to an error.
pub fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, HubError> {
    result.map_err(|source| io_error(path, source))
}

fn io_error(path: &Path, source: io::Error) -> HubError {
    HubError::Io {
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "607a30d783dfa663caf39e06633721c8d4cfcd7e";

    /// A revision is a commit's hash: nothing else in `refs/main` leads anywhere.
    #[test]
    fn a_revision_cannot_point_outside_the_cache() {
        let cache = tempfile::tempdir().expect("a directory");
        let repository = Repository::new(cache.path(), "x");
        assert_eq!(repository.commit("main"), None);
        for (text, commit) in [
            (COMMIT, Some(COMMIT)),
            (&format!("{COMMIT}\n"), Some(COMMIT)),
            ("../../elsewhere", None),
            ("", None),
            (&COMMIT[1..], None),
        ] {
            write_whole(&cache.path().join("models--x/refs/main"), text).expect("written");
            assert_eq!(repository.commit("main").as_deref(), commit, "{text:?}");
        }
        assert_eq!(repository.commit(COMMIT).as_deref(), Some(COMMIT));
    }

    /// What Python would find: a link to a content, the branch's commit, the files that are not there.
    #[test]
    fn a_file_is_written_as_python_does() {
        let cache = tempfile::tempdir().expect("a directory");
        let repository = Repository::new(cache.path(), "owner/name");
        let blob = repository.blob("abc").expect("a place");
        fs::write(&blob, "content").expect("written");
        let lock = repository.lock("abc", &|| ()).expect("nobody has it");
        repository.link("abc", COMMIT, "config.json").expect("it");
        repository
            .link("abc", COMMIT, "config.json")
            .expect("again");
        drop(lock);
        repository.set_revision("main", COMMIT).expect("it");
        repository.set_revision("refs/pr/1", COMMIT).expect("it");
        repository.mark_absent(COMMIT, "merges.txt").expect("it");
        repository.link("abc", COMMIT, "a/b.jinja").expect("it");

        let root = cache.path().join("models--owner--name");
        let read = |path: String| fs::read_to_string(root.join(path)).expect("there");
        assert_eq!(read(format!("snapshots/{COMMIT}/config.json")), "content");
        assert_eq!(read(format!("snapshots/{COMMIT}/a/b.jinja")), "content");
        assert_eq!(read("refs/main".into()), COMMIT);
        assert_eq!(read("refs/refs/pr/1".into()), COMMIT);
        assert_eq!(read(format!(".no_exist/{COMMIT}/merges.txt")), "");
        let locks = cache.path().join(".locks/models--owner--name");
        assert!(locks.join("abc.lock").is_file());
        #[cfg(unix)]
        {
            let link = fs::read_link(root.join(format!("snapshots/{COMMIT}/config.json")));
            assert_eq!(link.expect("a link"), Path::new("../../blobs/abc"));
            let link = fs::read_link(root.join(format!("snapshots/{COMMIT}/a/b.jinja")));
            assert_eq!(link.expect("a link"), Path::new("../../../blobs/abc"));
        }
        assert!(
            repository.has(COMMIT, "config.json") && repository.is_absent(COMMIT, "merges.txt")
        );
        assert!(!repository.has(COMMIT, "merges.txt"));
    }

    /// A list in another form than is known says nothing.
    #[test]
    fn the_list_of_a_commit_is_read_as_python_keeps_it() {
        let cache = tempfile::tempdir().expect("a directory");
        let repository = Repository::new(cache.path(), "x");
        assert_eq!(repository.listing(COMMIT), None);
        let path = cache.path().join(format!("models--x/trees/{COMMIT}.json"));
        let files = r#""files": {"b": {"size": 1, "blob_id": "c"}, "a/d": {"lfs_size": 2}}}"#;
        let read = |text: &str| {
            write_whole(&path, text).expect("written");
            repository.listing(COMMIT)
        };
        let expected = ["a/d", "b"].map(String::from).to_vec();
        assert_eq!(
            read(&format!(r#"{{"format_version": 1, {files}"#)),
            Some(expected)
        );
        assert_eq!(read(&format!(r#"{{"format_version": 2, {files}"#)), None);
        assert_eq!(read(&format!("{{{files}")), None);
        assert_eq!(read(""), None);
    }

    /// A link whose content was removed is no file, and is replaced.
    #[test]
    fn a_link_to_nothing_is_replaced() {
        let cache = tempfile::tempdir().expect("a directory");
        let repository = Repository::new(cache.path(), "x");
        for etag in ["old", "new"] {
            let blob = repository.blob(etag).expect("a place");
            fs::write(&blob, etag).expect("written");
            repository.link(etag, COMMIT, "f").expect("linked");
            fs::remove_file(blob).expect("removed");
            assert!(!repository.has(COMMIT, "f"));
        }
    }
}
