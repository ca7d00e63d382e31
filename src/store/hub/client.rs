//! The hub's routes.
//!
//! ```text
//! GET  /api/models/ID/revision/REVISION    the commit and the names of its files, JSON
//! HEAD /ID/resolve/COMMIT/FILE             etag (or x-linked-etag, x-linked-size of a large file)
//! GET  /ID/resolve/COMMIT/FILE             the content, mostly from another host by a redirect
//! ```
//!
//! Hugging Face's own crate, `hf-hub`, is not used: its current version (1.0) stands on `reqwest` and
//! `tokio`, and the one with a blocking client (0.5) checks neither lengths nor digests of what it
//! downloads. `ureq` asks and answers; redirects are followed here, since the token must stay with the
//! endpoint.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{HeaderMap, Response, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::cache::is_commit;
use super::{HubError, Settings};

const MAX_REDIRECTS: usize = 5;

/// The longest listing of a repository that is read, in bytes: some hundred thousand files.
pub const MAX_LISTING: u64 = 1 << 25;

const CONNECTING: Duration = Duration::from_secs(20);
/// How long nothing may arrive before a connection counts as cut.
const SILENCE: Duration = Duration::from_secs(30);

/// What is asked for: a repository at a revision, or one of its files.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub repository: &'a str,
    pub revision: &'a str,
    pub file: Option<&'a str>,
}

/// A commit and its files.
#[derive(Debug)]
pub struct Listing {
    pub commit: String,
    pub files: Vec<String>,
}

/// What the hub says of a file before it is fetched.
#[derive(Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What names the content: its SHA-256 for a large file, git's SHA-1 of it otherwise.
    pub etag: String,
    pub size: Option<u64>,
}

/// Asks one endpoint.
pub struct Client {
    agent: Agent,
    endpoint: String,
    origin: Origin,
    token: Option<String>,
}

impl Client {
    /// # Errors
    /// Where the settings cannot be used. Nothing is asked yet.
    pub fn new(settings: &Settings) -> Result<Self, HubError> {
        let wrong = || HubError::Endpoint(settings.endpoint.clone());
        let uri: Uri = settings.endpoint.parse().map_err(|_| wrong())?;
        let origin = Origin::of(&uri).ok_or_else(wrong)?;
        if let Some(token) = &settings.token
            && !token.bytes().all(|b| b.is_ascii_graphic())
        {
            return Err(HubError::Token);
        }
        let tls = TlsConfig::builder().root_certs(roots(settings)?).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("nanozk/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .timeout_resolve(Some(CONNECTING))
            .timeout_connect(Some(CONNECTING))
            .timeout_per_read(Some(SILENCE))
            .build();
        Ok(Self {
            agent: config.into(),
            endpoint: settings.endpoint.clone(),
            origin,
            token: settings.token.clone(),
        })
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The commit that a revision is, and its files.
    pub fn listing(&self, repository: &str, revision: &str) -> Result<Listing, HubError> {
        #[derive(Deserialize)]
        struct Answer {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let target = Target {
            repository,
            revision,
            file: None,
        };
        let endpoint = &self.endpoint;
        let revision = quoted(revision);
        let url = format!("{endpoint}/api/models/{repository}/revision/{revision}");
        let mut response = self.ask(Method::Get { from: 0 }, url, target)?;
        let body = response.body_mut().with_config().limit(MAX_LISTING);
        let answer = |reason: String| HubError::Answer {
            host: self.origin.to_string(),
            reason,
        };
        let json = body.read_to_vec().map_err(|e| match e {
            ureq::Error::BodyExceedsLimit(_) => answer(e.to_string()),
            cut => HubError::Unreachable {
                host: self.origin.to_string(),
                reason: cut.to_string(),
            },
        })?;
        let listing: Answer = serde_json::from_slice(&json)
            .map_err(|e| answer(format!("no listing of a repository: {e}")))?;
        if !is_commit(&listing.sha) {
            return Err(answer(format!("{:?} is no commit", listing.sha)));
        }
        if is_commit(target.revision) && listing.sha != target.revision.to_ascii_lowercase() {
            let (asked, sha) = (target.revision, &listing.sha);
            return Err(answer(format!("commit {sha} for commit {asked}")));
        }
        let names = listing.siblings.into_iter().map(|s| s.rfilename);
        Ok(Listing {
            commit: listing.sha,
            files: names.collect(),
        })
    }

    /// What the hub says of a file.
    pub fn metadata(&self, target: Target) -> Result<Metadata, HubError> {
        let response = self.ask(Method::Head, self.resolve(target), target)?;
        let headers = response.headers();
        let linked = text(headers, LINKED_ETAG);
        let size = match linked {
            Some(_) => number(headers, "x-linked-size"),
            None => number(headers, header::CONTENT_LENGTH.as_str()),
        };
        let etag = linked.or_else(|| text(headers, header::ETAG.as_str()));
        let etag = etag.and_then(plain_etag).ok_or_else(|| HubError::Answer {
            host: self.origin.to_string(),
            reason: "no etag that could name a file's content".to_string(),
        })?;
        Ok(Metadata { etag, size })
    }

    /// A file's content from byte `from` on, or all of it if the server does not know ranges (status
    /// 200 instead of 206).
    pub fn content(&self, target: Target, from: u64) -> Result<Response<Body>, HubError> {
        let response = self.ask(Method::Get { from }, self.resolve(target), target)?;
        match text(response.headers(), header::CONTENT_ENCODING.as_str()) {
            None | Some("identity") => Ok(response),
            Some(encoding) => Err(HubError::Answer {
                host: self.origin.to_string(),
                reason: format!("a file encoded as {encoding:?}, which was not asked for"),
            }),
        }
    }

    fn resolve(&self, target: Target) -> String {
        let file = target.file.unwrap_or_default().split('/').map(quoted);
        let file = file.collect::<Vec<_>>().join("/");
        let (endpoint, repository) = (&self.endpoint, target.repository);
        format!(
            "{endpoint}/{repository}/resolve/{}/{file}",
            quoted(target.revision)
        )
    }

    /// Asks, and follows redirects to the answer.
    fn ask(&self, method: Method, url: String, target: Target) -> Result<Response<Body>, HubError> {
        let mut uri: Uri = url.parse().map_err(|_| HubError::Endpoint(url))?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.ask_once(method, &uri)?;
            let described =
                matches!(method, Method::Head) && response.headers().contains_key(LINKED_ETAG);
            let status = response.status();
            if status.is_success() || (described && status.is_redirection()) {
                return Ok(response);
            }
            if !status.is_redirection() {
                return Err(self.refusal(&uri, &response, target));
            }
            let location = text(response.headers(), header::LOCATION.as_str());
            let next = location.and_then(|location| joined(&uri, location));
            uri = next.ok_or_else(|| HubError::Answer {
                host: host_of(&uri),
                reason: "a redirect to nowhere, or from https to http".to_string(),
            })?;
        }
        Err(HubError::Answer {
            host: host_of(&uri),
            reason: "one redirect after another".to_string(),
        })
    }

    fn ask_once(&self, method: Method, uri: &Uri) -> Result<Response<Body>, HubError> {
        let mut request = match method {
            Method::Head => self.agent.head(uri),
            Method::Get { .. } => self.agent.get(uri),
        };
        // Another encoding would have another length and another digest.
        request = request.header(header::ACCEPT_ENCODING, "identity");
        if let Method::Get { from: from @ 1.. } = method {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        if let Some(token) = &self.token
            && Origin::of(uri).is_some_and(|origin| origin == self.origin)
        {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.call().map_err(|e| HubError::Unreachable {
            host: host_of(uri),
            reason: e.to_string(),
        })
    }

    /// What a status that is no success means.
    fn refusal(&self, uri: &Uri, response: &Response<Body>, target: Target) -> HubError {
        let (host, status) = (host_of(uri), response.status().as_u16());
        let headers = response.headers();
        let repository = target.repository.to_string();
        let page = format!("{}/{repository}", self.endpoint);
        let with_token = self.token.is_some();
        // What a host that keeps contents for the hub refuses says nothing of the repository.
        let of_hub = Origin::of(uri).is_some_and(|origin| origin == self.origin);
        match (status, text(headers, "x-error-code")) {
            (429, _) => HubError::RateLimited {
                host,
                seconds: number(headers, header::RETRY_AFTER.as_str())
                    .and_then(|seconds| u32::try_from(seconds).ok()),
            },
            (500..=599, _) => HubError::Server { host, status },
            _ if !of_hub => HubError::Status { host, status },
            (401 | 403, Some("GatedRepo")) => HubError::Gated {
                page,
                repository,
                host,
                status,
                with_token,
            },
            (401 | 403, _) => HubError::Denied {
                page,
                repository,
                host,
                status,
                with_token,
            },
            (404, Some("RevisionNotFound")) => HubError::NoRevision {
                repository,
                revision: target.revision.to_string(),
            },
            (404, _) => match target.file {
                Some(file) => HubError::NoFile {
                    repository,
                    commit: target.revision.to_string(),
                    file: file.to_string(),
                },
                None => HubError::NoRepository { repository, host },
            },
            _ => HubError::Status { host, status },
        }
    }
}

#[derive(Clone, Copy)]
enum Method {
    Head,
    Get { from: u64 },
}

const LINKED_ETAG: &str = "x-linked-etag";

/// Scheme, host and port: who gets the token.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    https: bool,
    host: String,
    port: u16,
}

impl Origin {
    fn of(uri: &Uri) -> Option<Self> {
        let https = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?;
        Some(Self {
            https,
            host: host.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(if https { 443 } else { 80 }),
        })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        let usual = if self.https { 443 } else { 80 };
        match self.port == usual {
            true => write!(f, "{scheme}://{}", self.host),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

/// For messages: without path and query, which may hold a signature.
fn host_of(uri: &Uri) -> String {
    Origin::of(uri).map_or_else(String::new, |origin| origin.to_string())
}

/// Where a redirect leads; never from https to http.
fn joined(from: &Uri, location: &str) -> Option<Uri> {
    let origin = Origin::of(from)?;
    let absolute = if location.starts_with("//") {
        format!("{}:{location}", from.scheme_str()?)
    } else if location.starts_with('/') {
        format!("{origin}{location}")
    } else {
        location.to_string()
    };
    let next: Uri = absolute.parse().ok()?;
    let https = Origin::of(&next)?.https;
    (https || !origin.https).then_some(next)
}

/// Whom to trust: Mozilla's list, or what the environment says instead.
fn roots(settings: &Settings) -> Result<RootCerts, HubError> {
    let Some(path) = &settings.certificates else {
        return Ok(RootCerts::WebPki);
    };
    let wrong = |reason: String| HubError::Certificates {
        path: path.clone(),
        reason,
    };
    let pem = fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<_> = certificates.collect();
    if certificates.is_empty() {
        return Err(wrong("there are none in it".to_string()));
    }
    Ok(RootCerts::Specific(Arc::new(certificates)))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

/// `W/"abc"` → `abc`, if that can be a file's name: letters, digits and dashes.
fn plain_etag(etag: &str) -> Option<String> {
    let etag = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    let valid = (1..=128).contains(&etag.len()) && etag.bytes().all(plain);
    valid.then(|| etag.to_string())
}

/// A part of a path, with everything that has a meaning in addresses as %XX.
fn quoted(part: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    part.bytes().fold(String::new(), |mut text, b| {
        match plain(b) {
            true => text.push(b.into()),
            false => text += &format!("%{b:02X}"),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().expect("an address")
    }

    /// The token is for one scheme, host and port.
    #[test]
    fn origins_are_told_apart() {
        let hub = Origin::of(&uri("https://huggingface.co")).expect("one");
        for same in ["https://huggingface.co/a?b", "https://HuggingFace.co:443/"] {
            assert_eq!(Origin::of(&uri(same)).as_ref(), Some(&hub), "{same}");
        }
        for other in [
            "http://huggingface.co/",
            "https://huggingface.co:444/",
            "https://huggingface.co.evil.org/",
            "https://huggingface.co@evil.org/",
            "https://cdn.huggingface.co/",
        ] {
            assert_ne!(Origin::of(&uri(other)).as_ref(), Some(&hub), "{other}");
        }
    }

    #[test]
    fn redirects_are_joined_and_never_lose_encryption() {
        let from = uri("https://hub:8/a/b?c");
        for (location, to) in [
            ("/x?y", Some("https://hub:8/x?y")),
            ("//cdn/x", Some("https://cdn/x")),
            ("https://cdn/x", Some("https://cdn/x")),
            ("http://hub:8/x", None),
            ("x", None),
            ("file:///etc/passwd", None),
            ("", None),
        ] {
            let found = joined(&from, location).map(|uri| uri.to_string());
            assert_eq!(found.as_deref(), to, "{location}");
        }
        let plain = uri("http://hub/");
        assert_eq!(joined(&plain, "https://cdn/"), Some(uri("https://cdn/")));
    }

    /// An etag becomes a file's name.
    #[test]
    fn etags_are_plain_names() {
        assert_eq!(plain_etag("\"ab-1\"").as_deref(), Some("ab-1"));
        assert_eq!(plain_etag("W/\"ab\"").as_deref(), Some("ab"));
        let long = "a".repeat(129);
        for etag in [
            "", "\"\"", "\"../x\"", "\"a/b\"", "a.b", "a\\b", "a b", &long,
        ] {
            assert_eq!(plain_etag(etag), None, "{etag}");
        }
    }

    #[test]
    fn parts_of_paths_are_quoted() {
        assert_eq!(quoted("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(quoted("a b%?#é"), "a%20b%25%3F%23%C3%A9");
        assert_eq!(quoted("model-1.safetensors"), "model-1.safetensors");
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused() {
        let good = Settings {
            cache: None,
            endpoint: "http://127.0.0.1:1".into(),
            token: None,
            offline: false,
            certificates: None,
        };
        assert!(Client::new(&good).is_ok());
        for endpoint in ["", "huggingface.co", "ftp://hub", "https://", "/hub"] {
            let settings = Settings {
                endpoint: endpoint.into(),
                ..good.clone()
            };
            let refused = Client::new(&settings).err();
            assert!(matches!(refused, Some(HubError::Endpoint(_))), "{endpoint}");
        }
        let token = Some("a\r\nx: y".to_string());
        let refused = Client::new(&Settings {
            token,
            ..good.clone()
        })
        .err();
        assert!(matches!(refused, Some(HubError::Token)));
        let file = tempfile::NamedTempFile::new().expect("a file");
        let certificates = Some(file.path().to_path_buf());
        let settings = Settings {
            certificates,
            ..good
        };
        let refused = Client::new(&settings).err();
        assert!(matches!(refused, Some(HubError::Certificates { .. })));
    }
}
