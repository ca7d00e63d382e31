//! What lies at a path.

use std::fs;
use std::path::{Path, PathBuf};

use super::gguf::one_model;
use super::layout::CONFIG;

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

impl Located {
    /// What lies at `path`, if it is a model.
    pub fn at(path: &Path) -> Option<Self> {
        let found = path.to_path_buf();
        if path.is_dir() {
            let is_checkpoint = path.join(CONFIG).is_file();
            return if is_checkpoint {
                Some(Located::Directory(found))
            } else {
                gguf_in(path).map(Located::Gguf)
            };
        }
        let kind = of_suffix(path)?;
        path.is_file().then(|| kind(found))
    }

    /// Whether a file of this name is a model.
    pub fn is_file_name(name: &str) -> bool {
        of_suffix(Path::new(name)).is_some()
    }
}

/// What a file is by its suffix.
fn of_suffix(path: &Path) -> Option<fn(PathBuf) -> Located> {
    match &*path.extension()?.to_str()?.to_ascii_lowercase() {
        "nzk" => Some(Located::Quantized),
        "gguf" => Some(Located::Gguf),
        "safetensors" => Some(Located::Directory),
        _ => None,
    }
}

/// The `.gguf` file in a directory, if there is one and only one, or the first of those that are there if all are parts
/// of one model.
pub fn gguf_in(directory: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?.flatten();
    let mut files = entries.map(|entry| entry.path()).filter(|path| {
        let suffix = path.extension().unwrap_or_default();
        suffix.eq_ignore_ascii_case("gguf") && path.is_file()
    });
    let mut found: Vec<PathBuf> = files.by_ref().take(MAX_FILES).collect();
    found.sort();
    let names: Option<Vec<&str>> = found
        .iter()
        .map(|path| path.file_name().unwrap_or_default().to_str())
        .collect();
    one_model(&names?)?;
    Some(found.swap_remove(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: PathBuf) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn paths_are_told_apart_by_suffix_and_content() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for file in ["a.nzk", "b.GGUF", "c/config.json", "c/model.safetensors"] {
            touch(at(file));
        }
        let find = |name: &str| Located::at(&at(name)).unwrap();
        assert_eq!(find("a.nzk"), Located::Quantized(at("a.nzk")));
        assert_eq!(find("b.GGUF"), Located::Gguf(at("b.GGUF")));
        assert_eq!(find("c"), Located::Directory(at("c")));
        let weights = "c/model.safetensors";
        assert_eq!(find(weights), Located::Directory(at(weights)));
    }

    /// A directory of one GGUF file is that file; of several none is meant.
    #[test]
    fn a_directory_with_one_gguf_file_is_that_file() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("small");
        let file = directory.join("model.Q8_0.gguf");
        touch(file.clone());
        touch(directory.join("README.md"));
        fs::create_dir(directory.join("parts.gguf")).unwrap();
        assert_eq!(Located::at(&directory), Some(Located::Gguf(file)));
        touch(directory.join("model.Q4_0.gguf"));
        assert_eq!(Located::at(&directory), None);
        for part in 1..=3 {
            touch(
                root.path()
                    .join(format!("parts/model-0000{part}-of-00003.gguf")),
            );
        }
        let parts = root.path().join("parts");
        let first = parts.join("model-00001-of-00003.gguf");
        assert_eq!(Located::at(&parts), Some(Located::Gguf(first)));
        touch(parts.join("model-00001-of-00002.gguf"));
        assert_eq!(Located::at(&parts), None);
    }
}
