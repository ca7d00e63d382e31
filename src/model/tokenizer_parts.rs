//! The parts of a `tokenizer.json` that are made here, of a class or of a GGUF file's metadata.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Bytes as characters: behind a `space`, if there is none, and split into words as GPT-2 does, or not. As a decoder it
/// is the same with all settings.
pub(super) fn byte_level(space: bool, words: bool) -> Value {
    json!({
        "type": "ByteLevel", "add_prefix_space": space, "trim_offsets": true, "use_regex": words,
    })
}

/// A text split into the words that `regex` finds, and what is between them.
pub(super) fn split(regex: &str) -> Value {
    json!({
        "type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false,
    })
}

/// One pre-tokenizer behind the other.
pub(super) fn pre_tokenizers(parts: [Value; 2]) -> Value {
    json!({"type": "Sequence", "pretokenizers": parts})
}

/// As a normalizer or a decoder.
pub(super) fn replace(from: &str, to: &str) -> Value {
    json!({"type": "Replace", "pattern": {"String": from}, "content": to})
}

/// SentencePiece's decoder: `▁` is a space, and what has no token is in bytes. `strips`: without a first space.
pub(super) fn pieces(strips: bool) -> Value {
    let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
    let parts = [
        replace("▁", " "),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    let parts: Vec<_> = parts.into_iter().chain(strips.then_some(strip)).collect();
    json!({"type": "Sequence", "decoders": parts})
}

/// The post-processor that puts tokens, with their ids, before and behind a text; `null` where there are none.
pub(super) fn around(tokens: [Option<(&str, Value)>; 2]) -> Value {
    let mut special = BTreeMap::new();
    let [before, behind] = tokens.map(|token| {
        token.map(|(text, id)| {
            special.insert(text, json!({"id": text, "ids": [id], "tokens": [text]}));
            json!({"SpecialToken": {"id": text, "type_id": 0}})
        })
    });
    if special.is_empty() {
        return Value::Null;
    }
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let single: Vec<_> = before.into_iter().chain([text]).chain(behind).collect();
    let mut pair = single.clone();
    pair.push(json!({"Sequence": {"id": "B", "type_id": 1}}));
    json!({
        "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special,
    })
}
