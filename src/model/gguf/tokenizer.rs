//! A GGUF file's tokenizer as a `tokenizer.json`.
//!
//! Where `tokenizer.ggml.add_bos_token` is absent, SentencePiece's tokenizers and Llama 3's put their first token before
//! a prompt, and no others, as llama.cpp has it (`llama_vocab::impl::load`) and the checkpoints of which such files are
//! made.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::super::chat::{ChatError, ChatTemplate};
use super::super::pipeline::LLAMA3;
use super::header::GgufError;
use super::metadata::{Architecture, Metadata};

/// Longer than any published token, Llama 3's 128 spaces: a token of n bytes is looked at n times.
const MAX_TOKEN: usize = 1 << 9;

const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";
const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const TEMPLATE: &str = "tokenizer.chat_template";
const EOS: &str = "tokenizer.ggml.eos_token_id";
/// What Llama 3's way to split texts is called.
const LLAMA3_PRE: &str = "llama-bpe";
const SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";

/// The types of tokens that mean something here.
const NORMAL: i64 = 1;
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

pub(super) fn json(metadata: &Metadata, architecture: Architecture) -> Result<Json, GgufError> {
    let vocabulary = Vocabulary::read(metadata)?;
    let kind = Metadata::required(metadata.text(MODEL)?, MODEL)?;
    let begins = kind == "llama" || metadata.text(PRE)? == Some(LLAMA3_PRE);
    let mut json = match kind {
        "gpt2" => byte_level(metadata, &vocabulary, architecture)?,
        "llama" => sentence_piece(metadata, &vocabulary)?,
        _ => return Err(metadata.unsupported(MODEL, "\"gpt2\" or \"llama\"")),
    };
    json["version"] = "1.0".into();
    json["added_tokens"] = vocabulary.added();
    json["post_processor"] = post_processor(metadata, &vocabulary, begins)?;
    Ok(json)
}

/// The chat template with the special tokens that the file names.
pub(super) fn chat_template(
    metadata: &Metadata,
) -> Result<Option<Result<ChatTemplate, ChatError>>, GgufError> {
    let Some(source) = metadata.text(TEMPLATE)? else {
        return Ok(None);
    };
    let tokens = Metadata::required(metadata.texts(TOKENS)?, TOKENS)?;
    let mut named = BTreeMap::new();
    for (name, key) in [
        ("bos_token", BOS),
        ("eos_token", EOS),
        ("unk_token", "tokenizer.ggml.unknown_token_id"),
        ("pad_token", "tokenizer.ggml.padding_token_id"),
    ] {
        if let Some(id) = metadata.integer(key)? {
            let token = usize::try_from(id).ok().and_then(|id| tokens.get(id));
            let token = token.ok_or_else(|| malformed(key, "not a token"))?;
            named.insert(name.to_string(), Some(token.clone()));
        }
    }
    Ok(Some(ChatTemplate::new(source.to_string(), named)))
}

/// The template that puts tokens around a prompt; `begins`: whether one before it, if the file does not say.
fn post_processor(
    metadata: &Metadata,
    vocabulary: &Vocabulary,
    begins: bool,
) -> Result<Json, GgufError> {
    let mut special = BTreeMap::new();
    let mut token = |add: bool, key: &str| -> Result<Option<Json>, GgufError> {
        if !add {
            return Ok(None);
        }
        let id = Metadata::required(metadata.integer(key)?, key)?;
        let text = usize::try_from(id)
            .ok()
            .and_then(|id| vocabulary.tokens.get(id));
        let text = text.ok_or_else(|| malformed(key, "not a token"))?;
        special.insert(text, json!({"id": text, "ids": [id], "tokens": [text]}));
        Ok(Some(json!({"SpecialToken": {"id": text, "type_id": 0}})))
    };
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let before = token(metadata.flag(ADD_BOS)?.unwrap_or(begins), BOS)?;
    let behind = token(metadata.flag(ADD_EOS)? == Some(true), EOS)?;
    if before.is_none() && behind.is_none() {
        return Ok(Json::Null);
    }
    let single: Vec<Json> = before.into_iter().chain([text]).chain(behind).collect();
    let mut pair = single.clone();
    pair.push(json!({"Sequence": {"id": "B", "type_id": 1}}));
    Ok(json!({
        "type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special,
    }))
}

struct Vocabulary<'a> {
    tokens: &'a [String],
    ids: BTreeMap<&'a str, usize>,
    types: Option<&'a [i64]>,
}

impl<'a> Vocabulary<'a> {
    fn read(metadata: &'a Metadata) -> Result<Self, GgufError> {
        let tokens = Metadata::required(metadata.texts(TOKENS)?, TOKENS)?;
        let mut ids = BTreeMap::new();
        for (id, token) in tokens.iter().enumerate() {
            if token.len() > MAX_TOKEN {
                let length = token.len();
                return Err(malformed(TOKENS, &format!("token {id} has {length} bytes")));
            }
            if let Some(first) = ids.insert(token.as_str(), id) {
                return Err(malformed(TOKENS, &format!("{first} and {id} are the same")));
            }
        }
        let types = metadata.integers(TYPES)?;
        if types.is_some_and(|types| types.len() != tokens.len()) {
            return Err(malformed(TYPES, "not as many as tokens"));
        }
        Ok(Self { tokens, ids, types })
    }

    fn kind(&self, id: usize) -> i64 {
        self.types.map_or(NORMAL, |types| types[id])
    }

    /// The tokens that are looked for in a text before it is split.
    fn added(&self) -> Json {
        let ids = 0..self.tokens.len();
        let kinds = [UNKNOWN, CONTROL, USER_DEFINED];
        let added = ids.filter(|id| kinds.contains(&self.kind(*id))).map(|id| {
            json!({
                "id": id, "content": self.tokens[id], "special": self.kind(id) != USER_DEFINED,
                "normalized": false, "single_word": false, "lstrip": false, "rstrip": false,
            })
        });
        added.collect()
    }
}

fn malformed(key: &str, reason: &str) -> GgufError {
    GgufError::Malformed(format!("metadata {key:?}: {reason}"))
}

/// BPE over bytes, as GPT-2, SmolLM and Llama 3 have it.
fn byte_level(
    metadata: &Metadata,
    vocabulary: &Vocabulary,
    architecture: Architecture,
) -> Result<Json, GgufError> {
    if metadata.flag(SPACE_PREFIX)? == Some(true) {
        return Err(metadata.unsupported(SPACE_PREFIX, "false"));
    }
    let byte_level = |use_regex: bool| {
        json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": use_regex,
        })
    };
    let after = |first: Json, use_regex| {
        let pretokenizers = [first, byte_level(use_regex)];
        json!({"type": "Sequence", "pretokenizers": pretokenizers})
    };
    let pre = metadata.text(PRE)?;
    let pre_tokenizer = match pre {
        Some("gpt-2") => byte_level(true),
        // Elsewhere the name was left out of files of any tokenizer.
        None | Some("default") if architecture == Architecture::Gpt2 => byte_level(true),
        Some("smollm") => after(json!({"type": "Digits", "individual_digits": true}), true),
        Some(LLAMA3_PRE) => after(
            json!({
                "type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated",
                "invert": false,
            }),
            false,
        ),
        _ => return Err(metadata.unsupported(PRE, "\"gpt-2\", \"smollm\" or \"llama-bpe\"")),
    };
    let merges = Metadata::required(metadata.texts(MERGES)?, MERGES)?;
    let merges = merges.iter().enumerate().map(|(i, merge)| {
        let parts = merge.split_once(' ');
        parts.ok_or_else(|| malformed(MERGES, &format!("merge {i} is not two tokens")))
    });
    let merges = merges.collect::<Result<Vec<_>, _>>()?;
    Ok(json!({
        "pre_tokenizer": pre_tokenizer,
        "decoder": byte_level(true),
        "model": {
            "type": "BPE", "vocab": vocabulary.ids, "merges": merges,
            "ignore_merges": pre == Some(LLAMA3_PRE),
        },
    }))
}

/// SentencePiece's BPE over characters, as Llama 2 has it: spaces are written `▁`, and characters
/// without a token as their bytes.
fn sentence_piece(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Json, GgufError> {
    let (trimmed, mapped) = (
        "tokenizer.ggml.remove_extra_whitespaces",
        "tokenizer.ggml.precompiled_charsmap",
    );
    if metadata.flag(trimmed)? == Some(true) {
        return Err(metadata.unsupported(trimmed, "false"));
    }
    if metadata.has(mapped) {
        return Err(metadata.unsupported(mapped, "a tokenizer without it"));
    }
    let unknown = (0..vocabulary.tokens.len()).find(|id| vocabulary.kind(*id) == UNKNOWN);
    let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let mut normalizers = vec![replace(" ", "▁")];
    let mut decoders = vec![
        replace("▁", " "),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if metadata.flag(SPACE_PREFIX)? != Some(false) {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    Ok(json!({
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {
            "type": "BPE", "vocab": vocabulary.ids, "merges": merges(metadata, vocabulary)?,
            "unk_token": unknown.map(|id| &vocabulary.tokens[id]), "fuse_unk": true,
            "byte_fallback": true,
        },
    }))
}

/// SentencePiece merges the neighbours whose union has the highest score; a `tokenizer.json` lists
/// the pairs in the order of their preference. Equal scores are ordered as `transformers` does.
fn merges<'a>(
    metadata: &Metadata,
    vocabulary: &Vocabulary<'a>,
) -> Result<Vec<(&'a str, &'a str)>, GgufError> {
    let scores = Metadata::required(metadata.floats(SCORES)?, SCORES)?;
    if scores.len() != vocabulary.tokens.len() {
        return Err(malformed(SCORES, "not as many as tokens"));
    }
    let mut merges = Vec::new();
    for (id, token) in vocabulary.tokens.iter().enumerate() {
        if vocabulary.kind(id) != NORMAL {
            continue;
        }
        let splits = token.char_indices().skip(1).filter_map(|(at, _)| {
            let (left, right) = token.split_at(at);
            let ids = [*vocabulary.ids.get(left)?, *vocabulary.ids.get(right)?];
            let kinds = ids.map(|id| vocabulary.kind(id));
            (kinds == [NORMAL; 2]).then_some((scores[id], left, right))
        });
        merges.extend(splits);
    }
    let length = |text: &str| text.chars().count();
    // What is equal by all of these stays in the order of the tokens.
    merges.sort_by(|(score, left, right), (other, left2, right2)| {
        let lengths = (length(left2), length(right2)).cmp(&(length(left), length(right)));
        other.total_cmp(score).then(lengths)
    });
    Ok(merges
        .into_iter()
        .map(|(_, left, right)| (left, right))
        .collect())
}
