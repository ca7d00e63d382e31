//! What the environment says of the hub, in the variables of Hugging Face's own library.

use std::env;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::files;

const ENDPOINT: &str = "https://huggingface.co";

/// The longest token file that is read, in bytes.
const MAX_TOKEN: u64 = 1 << 12;

/// Where the hub and its cache are, and who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The cache that is shared with Python, the directory of `models--…`. `None` where there is no home
    /// directory to have it in.
    pub cache: Option<PathBuf>,
    /// `https://huggingface.co` or a mirror, without a slash at its end.
    pub endpoint: String,
    pub token: Option<String>,
    /// Whether nothing is asked for over the network.
    pub offline: bool,
    /// Certificates of authorities that are trusted instead of Mozilla's, as of a company's proxy.
    pub certificates: Option<PathBuf>,
}

impl Settings {
    /// By `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME` and the home directory;
    /// `HF_ENDPOINT`; `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN` or the token file (`HF_TOKEN_PATH`,
    /// `$HF_HOME/token`), unless `HF_HUB_DISABLE_IMPLICIT_TOKEN` is set; `HF_HUB_OFFLINE` and
    /// `TRANSFORMERS_OFFLINE`; `SSL_CERT_FILE` and `REQUESTS_CA_BUNDLE`.
    pub fn from_environment() -> Self {
        Self::of(|name| env::var_os(name))
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).filter(|v| !v.is_empty());
        let path = |name| set(name).map(PathBuf::from);
        let text = |name| set(name).map(|v| v.to_string_lossy().trim().to_string());
        let yes = |name| text(name).is_some_and(|v| is_true(&v));

        let user = || path("HOME").or_else(|| path("USERPROFILE"));
        let caches = || path("XDG_CACHE_HOME").or_else(|| user().map(|h| h.join(".cache")));
        let home = path("HF_HOME").or_else(|| caches().map(|c| c.join("huggingface")));
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        let in_home = |name| home.as_ref().map(|h| h.join(name));

        let named = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN"));
        let token_file = path("HF_TOKEN_PATH").or_else(|| in_home("token"));
        let kept = || token_file.and_then(|path| read_token(&path));
        let token = match yes("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            true => None,
            false => named.or_else(kept).filter(|t| !t.is_empty()),
        };
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_string());
        Self {
            cache: cache.or_else(|| in_home("hub")),
            endpoint: endpoint.trim_end_matches('/').to_string(),
            token,
            offline: yes("HF_HUB_OFFLINE") || yes("TRANSFORMERS_OFFLINE"),
            certificates: path("SSL_CERT_FILE").or_else(|| path("REQUESTS_CA_BUNDLE")),
        }
    }
}

/// As Hugging Face's library reads flags.
fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"]
        .iter()
        .any(|word| value.eq_ignore_ascii_case(word))
}

/// That there is no such file is usual; what cannot be read is passed over, as Python does.
fn read_token(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = files::open(path).ok()?;
    file.take(MAX_TOKEN).read_to_string(&mut text).ok()?;
    Some(text.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Settings {
        Settings::of(|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_cache_follows_the_environment() {
        let all = [
            ("HF_HUB_CACHE", "/a", "/a"),
            ("HUGGINGFACE_HUB_CACHE", "/b", "/b"),
            ("HF_HOME", "/c", "/c/hub"),
            ("XDG_CACHE_HOME", "/d", "/d/huggingface/hub"),
            ("HOME", "/e", "/e/.cache/huggingface/hub"),
        ];
        for first in 0..all.len() {
            let set: Vec<_> = all[first..].iter().map(|(k, v, _)| (*k, *v)).collect();
            assert_eq!(of(&set).cache, Some(PathBuf::from(all[first].2)));
        }
        assert_eq!(of(&[]).cache, None);
        // An empty variable is as good as none.
        let empty = of(&[("HF_HOME", ""), ("HOME", "/e")]).cache;
        assert_eq!(empty, Some(PathBuf::from("/e/.cache/huggingface/hub")));
    }

    #[test]
    fn the_token_is_named_or_kept_in_a_file() {
        let home = tempfile::tempdir().expect("a directory");
        let at = home.path().to_str().expect("UTF-8");
        let other = home.path().join("other");
        std::fs::write(home.path().join("token"), "kept\n").expect("written");
        std::fs::write(&other, " other ").expect("written");
        let other = other.to_str().expect("UTF-8");
        for (variables, token) in [
            (&[("HF_HOME", at)][..], Some("kept")),
            (&[("HF_HOME", at), ("HF_TOKEN_PATH", other)], Some("other")),
            (&[("HF_HOME", at), ("HF_TOKEN", "named ")], Some("named")),
            (&[("HUGGING_FACE_HUB_TOKEN", "old")], Some("old")),
            (&[("HF_HOME", other)], None),
            (
                &[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"), ("HF_TOKEN", "t")],
                None,
            ),
        ] {
            assert_eq!(of(variables).token.as_deref(), token, "{variables:?}");
        }
    }

    #[test]
    fn flags_and_endpoints_are_read_as_python_does() {
        for (value, offline) in [("1", true), ("True", true), ("on", true), ("0", false)] {
            for name in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
                assert_eq!(of(&[(name, value)]).offline, offline, "{name}={value}");
            }
        }
        assert_eq!(of(&[]).endpoint, "https://huggingface.co");
        let mirror = of(&[("HF_ENDPOINT", "http://mirror:1/")]);
        assert_eq!(mirror.endpoint, "http://mirror:1");
    }
}
