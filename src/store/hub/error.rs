//! Why a model could not be had from the hub.

use std::io;
use std::path::PathBuf;

/// The most files that a message names.
const MAX_SHOWN: usize = 12;

/// Names, revisions and file names in messages come from users and servers: they are shown quoted.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error(
        "HF_ENDPOINT is {0:?}, expected http:// or https:// and a host: unset it for huggingface.co"
    )]
    Endpoint(String),
    #[error(
        "there is no place for Hugging Face's cache: set HF_HOME to a directory, or HOME to yours"
    )]
    NoCache,
    #[error(
        "the token in HF_TOKEN or in the token file holds characters that no token has: copy it again from \
         https://huggingface.co/settings/tokens"
    )]
    Token,
    #[error(
        "{}: no certificates to trust the hub by: {reason}: give a PEM file, or unset SSL_CERT_FILE and REQUESTS_CA_BUNDLE",
        path.display()
    )]
    Certificates { path: PathBuf, reason: String },
    #[error(
        "HF_HUB_OFFLINE is set, and Hugging Face's cache has no {lacks} of {repository:?} at revision {revision:?}: \
         unset it to download the file"
    )]
    Offline {
        repository: String,
        revision: String,
        lacks: String,
    },
    #[error(
        "cannot reach {host}: {reason}: check the network (HTTPS_PROXY names a proxy, HF_ENDPOINT a mirror), or \
         copy the model here and give its path"
    )]
    Unreachable { host: String, reason: String },
    #[error(
        "{host} answers {status}, a fault of its own: try again later; what was downloaded is kept"
    )]
    Server { host: String, status: u16 },
    #[error(
        "{repository:?} is not for everyone to read, or there is none ({host} answers {status}): check its name; accept \
         its terms at {page} if it asks for that, and {}", token_advice(*with_token)
    )]
    Denied {
        repository: String,
        host: String,
        page: String,
        status: u16,
        with_token: bool,
    },
    #[error(
        "{repository:?} is for those who have accepted its terms ({host} answers {status}): accept them at {page}, and {}",
        token_advice(*with_token)
    )]
    Gated {
        repository: String,
        host: String,
        page: String,
        status: u16,
        with_token: bool,
    },
    #[error("{host} has no repository {repository:?}: check its name (owner/name)")]
    NoRepository { repository: String, host: String },
    #[error(
        "{repository:?} has no revision {revision:?}: give a branch, a tag or a commit of it after the @"
    )]
    NoRevision {
        repository: String,
        revision: String,
    },
    #[error(
        "{repository:?} has no file {file:?} at commit {commit}: its index or its listing names one that is not there"
    )]
    NoFile {
        repository: String,
        commit: String,
        file: String,
    },
    #[error(
        "{host} limits how often it is asked (429): wait {}, then run the same command again; a token (HF_TOKEN) raises \
         the limit", waiting(*seconds)
    )]
    RateLimited { host: String, seconds: Option<u32> },
    #[error(
        "{host} answers {status}, which is no answer of a hub: check HF_ENDPOINT and the proxy's settings"
    )]
    Status { host: String, status: u16 },
    #[error(
        "{host} answers what no hub does: {reason}: check HF_ENDPOINT and the proxy's settings"
    )]
    Answer { host: String, reason: String },
    #[error(
        "{repository:?} holds no model that this program reads: no {lacks}{}",
        several(repository, gguf)
    )]
    NoModel {
        repository: String,
        lacks: String,
        /// The GGUF files that it has, of which none is meant.
        gguf: Vec<String>,
    },
    #[error("{file:?} of {repository:?}: {reason}")]
    Index {
        repository: String,
        file: String,
        reason: String,
    },
    #[error("{file:?}: the server sends {what}: check HF_ENDPOINT and the proxy's settings")]
    Content { file: String, what: &'static str },
    #[error(
        "{file:?}: the connection ended after {have} of {size} bytes, which are kept: run the same command again to go on"
    )]
    Cut { file: String, have: u64, size: u64 },
    #[error(
        "{file:?}: {found} bytes, {expected} were promised: it was damaged on its way, or the server changed it; nothing \
         of it is used: run the same command again, from another network if it fails again"
    )]
    Length {
        file: String,
        expected: u64,
        found: u64,
    },
    #[error(
        "{file:?}: its {digest} is {found}, the hub promised {expected}: it was damaged on its way; nothing of it is used: run \
         the same command again, from another network if it fails again"
    )]
    Digest {
        file: String,
        /// Which digest.
        digest: &'static str,
        expected: String,
        found: String,
    },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl HubError {
    /// Whether the hub could not be asked, so that what is in the cache is the best there is.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Server { .. })
    }

    /// Whether it leaves open if there is such a repository at all.
    pub(in crate::store) fn leaves_existence_open(&self) -> bool {
        matches!(
            self,
            Self::NoCache
                | Self::Offline { .. }
                | Self::Unreachable { .. }
                | Self::Denied { .. }
                | Self::NoRepository { .. }
        )
    }
}

fn token_advice(with_token: bool) -> &'static str {
    match with_token {
        true => {
            "give a token (HF_TOKEN) of an account that was let in: the one that was sent was not accepted"
        }
        false => "set HF_TOKEN to a token of yours, or run `hf auth login`",
    }
}

fn waiting(seconds: Option<u32>) -> String {
    match seconds {
        Some(seconds) => format!("{seconds} seconds"),
        None => "some minutes".to_string(),
    }
}

/// What to do with GGUF files of which none is meant.
fn several(repository: &str, gguf: &[String]) -> String {
    let Some(one) = gguf.first() else {
        return String::new();
    };
    let shown: Vec<String> = gguf
        .iter()
        .take(MAX_SHOWN)
        .map(|f| format!("{f:?}"))
        .collect();
    let more = match gguf.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        ", but GGUF files: {}{more}: download the one that you mean, with all its parts if it has several, as by \
         `hf download {repository} {one:?}`, and give the path of it: --model PATH",
        shown.join(", ")
    )
}
