//! One file into the cache.
//!
//! Its content grows in `blobs/ETAG.incomplete` and goes on from there, in this run or a later one. It
//! gets its name when its length and its digest are what the hub promised. Nothing of a content is held in
//! memory but what is on its way to the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::Body;
use ureq::http::{Response, StatusCode, header};

use super::cache::{Repository, at};
use super::client::{Client, Target};
use super::{HubError, is_inside};
use crate::store::Progress;

/// The bytes between two words of progress, and the size of the buffer.
const STEP: usize = 1 << 18;

/// Fetches files of one commit.
pub struct Fetch<'a> {
    pub client: &'a Client,
    pub cache: &'a Repository,
    pub repository: &'a str,
    pub commit: &'a str,
    pub progress: &'a dyn Progress,
}

impl Fetch<'_> {
    /// Makes a file part of the snapshot, unless it is.
    pub fn file(&self, file: &str) -> Result<(), HubError> {
        assert!(is_inside(file), "names are checked where they are read");
        if self.cache.has(self.commit, file) {
            return Ok(());
        }
        let target = Target {
            repository: self.repository,
            revision: self.commit,
            file: Some(file),
        };
        let content = self.client.metadata(target)?;
        let etag = &content.etag;
        let lock = self.cache.lock(etag, &|| {
            let what = format!("waiting for another process that downloads {file}");
            self.progress.progress(&what);
        })?;
        let blob = self.cache.blob(etag)?;
        // Another process may have fetched it meanwhile, or another commit has it too.
        if !blob.is_file() {
            let incomplete = blob.with_extension("incomplete");
            self.fill(&incomplete, file, target, content.size)?;
            check_digest(&incomplete, file, etag)?;
            at(&blob, fs::rename(&incomplete, &blob))?;
        }
        self.cache.link(etag, self.commit, file)?;
        drop(lock);
        Ok(())
    }

    /// Goes on with an incomplete content until it is whole.
    fn fill(
        &self,
        path: &Path,
        file: &str,
        target: Target,
        size: Option<u64>,
    ) -> Result<(), HubError> {
        let mut size = size;
        loop {
            let kept = fs::metadata(path).map_or(0, |m| m.len());
            // Of a length that is not known, nothing can be gone on with; and what is too long is not it.
            let have = match size {
                Some(size) if kept <= size => kept,
                _ => 0,
            };
            if size == Some(have) && path.is_file() {
                return Ok(());
            }
            let response = self.client.content(target, have)?;
            let (start, whole) = extent(&response, have, file, size)?;
            size = Some(whole);
            let end = self.append(path, file, response, start, whole)?;
            if end < whole && end <= have {
                return Err(HubError::Cut {
                    file: file.to_string(),
                    have: end,
                    size: whole,
                });
            }
        }
    }

    /// Writes an answer behind the first `start` bytes, as far as it comes, and returns the length.
    fn append(
        &self,
        path: &Path,
        file: &str,
        response: Response<Body>,
        start: u64,
        size: u64,
    ) -> Result<u64, HubError> {
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(false).open(path);
        let mut out = at(path, opened)?;
        at(path, out.set_len(start))?;
        at(path, out.seek(SeekFrom::Start(start)))?;
        // One byte more than there may be shows that something follows.
        let mut body = response
            .into_body()
            .into_reader()
            .take((size - start).saturating_add(1));
        let (mut buffer, mut end) = (vec![0; STEP], start);
        while let Ok(read @ 1..) = body.read(&mut buffer) {
            at(path, out.write_all(&buffer[..read]))?;
            end += read as u64;
            self.tell(file, end, size);
            if end > size {
                return Err(discard(path, file, size, end));
            }
        }
        at(path, out.sync_all())?;
        Ok(end)
    }

    fn tell(&self, file: &str, have: u64, size: u64) {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        self.progress.progress(&format!(
            "downloading {file} of {}: {:.1} of {:.1} MB",
            self.repository,
            megabytes(have),
            megabytes(size)
        ));
    }
}

/// Where an answer starts and how long the whole content is by it, if that agrees with what was asked
/// for and promised.
fn extent(
    response: &Response<Body>,
    have: u64,
    file: &str,
    promised: Option<u64>,
) -> Result<(u64, u64), HubError> {
    let header = |name| {
        let value = response.headers().get(name)?;
        value.to_str().ok()
    };
    let partial = response.status() == StatusCode::PARTIAL_CONTENT;
    let length = || header(header::CONTENT_LENGTH)?.parse::<u64>().ok();
    let (start, whole) = match partial {
        true => {
            let range = header(header::CONTENT_RANGE).and_then(content_range);
            let (start, whole) = range.unwrap_or((u64::MAX, 0));
            (start, Some(whole))
        }
        // The server does not know ranges, or there was none.
        false => (0, length()),
    };
    let file = || file.to_string();
    let odd = |what| HubError::Content { file: file(), what };
    match (promised, whole) {
        _ if partial && start != have => Err(odd("another part than was asked for")),
        (Some(expected), Some(found)) if found != expected => Err(HubError::Length {
            file: file(),
            expected,
            found,
        }),
        (Some(size), _) | (None, Some(size)) => Ok((start, size)),
        (None, None) => Err(odd(
            "no length, so that nobody could tell whether it is whole",
        )),
    }
}

/// `bytes 5-9/10` → (5, 10).
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, whole) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, whole.parse().ok()?))
}

/// What is not the promised content is no beginning of it either.
fn discard(path: &Path, file: &str, expected: u64, found: u64) -> HubError {
    let _ = fs::remove_file(path);
    HubError::Length {
        file: file.to_string(),
        expected,
        found,
    }
}

/// Compares a content with the digest that its etag is, if it is one: of large files the SHA-256, of others the SHA-1 by
/// which git knows them. Also a weak etag is compared: other bytes than git's are another file, whoever made them so.
fn check_digest(path: &Path, file: &str, etag: &str) -> Result<(), HubError> {
    let length = at(path, fs::metadata(path))?.len();
    let git = format!("blob {length}\0");
    let is_hex = etag.bytes().all(|b| b.is_ascii_hexdigit());
    let (digest, found) = match etag.len() {
        64 if is_hex => ("SHA-256", digest_of::<Sha256>(path, "")?),
        40 if is_hex => ("SHA-1 (git's)", digest_of::<Sha1>(path, &git)?),
        _ => return Ok(()),
    };
    let is_promised = |found: &str| found.eq_ignore_ascii_case(etag);
    // Mirrors that keep files by their plain SHA-1 have that for an etag.
    if is_promised(&found) || etag.len() == 40 && is_promised(&digest_of::<Sha1>(path, "")?) {
        return Ok(());
    }
    let _ = fs::remove_file(path);
    Err(HubError::Digest {
        file: file.to_string(),
        digest,
        expected: etag.to_string(),
        found,
    })
}

/// The digest of a file's content behind a prefix, in hexadecimal digits.
fn digest_of<D: Digest>(path: &Path, prefix: &str) -> Result<String, HubError> {
    let mut hash = D::new_with_prefix(prefix);
    let mut input = at(path, File::open(path))?;
    let mut buffer = vec![0; STEP];
    loop {
        match at(path, input.read(&mut buffer))? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    let digest = hash.finalize();
    Ok(digest.iter().map(|b| format!("{b:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 10)));
        for bad in [
            "",
            "bytes 5-9",
            "bytes 5/10",
            "bytes a-9/10",
            "5-9/10",
            "bytes 5-9/*",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
