//! The folder where the program keeps what it would have to make again.

use std::path::{Path, PathBuf};

use crate::proof::{ModelId, container};

/// The home folder: generators and seal keys (`setup/`), quantized models, verifying keys, unfinished
/// runs and tables of Fisher information. All of it can be removed; what is secret is readable by its
/// owner only.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// `$NANOZK_HOME`, or `nanozk` in the platform's cache directory. `None` if there is neither:
    /// nothing is kept then.
    pub fn from_environment() -> Option<Self> {
        let var = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        var("NANOZK_HOME")
            .or_else(|| var("XDG_CACHE_HOME").map(|c| c.join("nanozk")))
            .or_else(|| var("LOCALAPPDATA").map(|c| c.join("nanozk")))
            .or_else(|| var("HOME").map(|h| h.join(".cache/nanozk")))
            .map(Self::at)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a model is kept that was quantized from what `key` stands for.
    pub(super) fn model(&self, key: &str) -> PathBuf {
        self.root.join("models").join(format!("{key}.nzk"))
    }

    /// Where a model's verifying key is kept.
    pub(super) fn key(&self, id: ModelId) -> PathBuf {
        self.root.join("keys").join(format!("{id}.vk"))
    }

    /// Where the table of a model's Fisher information is kept.
    pub(super) fn fisher(&self, id: ModelId) -> PathBuf {
        self.root.join("fisher").join(format!("{id}.json"))
    }

    /// Where unfinished runs are kept.
    pub fn runs(&self) -> PathBuf {
        self.root.join("runs")
    }
}

/// Keeps a file, and says whether it could.
pub(super) fn keep(path: &Path, bytes: &[u8], secret: bool) -> bool {
    // Where this fails, so does writing.
    let _ = path.parent().map(std::fs::create_dir_all);
    container::write(path, bytes, secret).is_ok()
}
