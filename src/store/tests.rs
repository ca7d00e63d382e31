//! What the cache tells apart, and what it says of itself.

use super::quantize::cache_key;
use super::*;
use crate::model::{ChatTemplate, synthetic};

/// A model that was quantized from other files, or otherwise, is not taken for this one.
#[test]
fn checkpoints_and_options_have_cache_keys_of_their_own() {
    let key = |headroom, files: &[(&str, [u8; 32])]| {
        let mut checkpoint = synthetic::checkpoint(synthetic::config(1, 1, 257, 8), 7);
        checkpoint.files = files.iter().map(|(n, d)| (n.to_string(), *d)).collect();
        cache_key(&checkpoint, &QuantizeOptions::new(headroom))
    };
    let a = [b'a'; 32];
    let files = [("", a), ("", a)];
    // The last one holds the same bytes as the first, with another end of the name.
    let longer_name = "a".repeat(32);
    let keys = [
        key(None, &files),
        key(Some(3), &files),
        key(None, &[("", a), ("", [b'b'; 32])]),
        key(None, &[("", a), ("b", a)]),
        key(None, &[("", a), ("c", a)]),
        key(None, &files[..1]),
        key(None, &[(&longer_name, a)]),
    ];
    for (i, one) in keys.iter().enumerate() {
        assert!(!keys[..i].contains(one), "number {i} is taken for another");
    }
    assert_eq!(keys[0], key(None, &files));
}

/// The same files with another template taken from them: named ones that are not read turn one off.
#[test]
fn another_template_of_the_same_files_has_a_key_of_its_own() {
    let mut checkpoint = synthetic::checkpoint(synthetic::config(1, 1, 257, 8), 7);
    let options = QuantizeOptions::new(None);
    let without = cache_key(&checkpoint, &options);
    checkpoint.chat_template =
        Some(ChatTemplate::new("{{ messages }}".into(), Default::default()).expect("a template"));
    assert_ne!(cache_key(&checkpoint, &options), without);
}

/// Folders are made as they are needed; what cannot be kept is told and is no failure.
#[test]
fn storing_tells_whether_it_could() {
    let store = Store::new(None, &());
    let home = tempfile::tempdir().expect("a directory");
    let path = home.path().join("models").join("m.nzk");
    assert!(store.keep(&path, b"kept", false));
    assert_eq!(std::fs::read(&path).expect("there"), b"kept");
    let in_a_file = path.join("n.nzk");
    assert!(!store.keep(&in_a_file, b"lost", false));
    let folder = home.path().join("models");
    assert!(!store.keep(&folder, b"lost", false));
}
