//! SentencePiece's BPE over characters, as Llama 2 has it: spaces are written `▁`, and characters without a token as
//! their bytes.

use std::borrow::Cow;

use serde_json::{Value as Json, json};

use super::super::tokenizer_parts::{pieces, replace};
use super::architecture::Architecture;
use super::header::GgufError;
use super::metadata::Metadata;
use super::tokenizer::{NORMAL, SPACE_PREFIX, UNKNOWN, Vocabulary, malformed};

const SCORES: &str = "tokenizer.ggml.scores";
const NAME: &str = "general.name";

/// What a file does not say, by its architecture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Flavour {
    Llama,
    /// Merges are in the order of the tokens, and runs of spaces, which the file has as they are, are merged like
    /// others: as in the checkpoints' `tokenizer.json`, and as `transformers` reads such files.
    Gemma,
    /// Behind special tokens, but for those in [`KEEPING`], spaces are left out.
    Phi3,
}

/// Special tokens of Phi-3 behind which spaces stay.
pub(super) const KEEPING: [&str; 3] = ["<unk>", "<s>", "<|endoftext|>"];

impl Flavour {
    /// Of Phi-3's files none says that spaces are left out: llama.cpp goes by the model's name, as is done here.
    pub fn of(metadata: &Metadata, architecture: &Architecture) -> Result<Self, GgufError> {
        match architecture.name {
            "gemma3" => Ok(Self::Gemma),
            "phi3" => {
                let name = metadata.text(NAME)?.unwrap_or_default();
                let letters = name.chars().filter(|c| c.is_ascii_alphanumeric());
                let letters: String = letters.map(|c| c.to_ascii_lowercase()).collect();
                match letters.contains("phi3") {
                    true => Ok(Self::Phi3),
                    false => {
                        let supported =
                            "a name with \"phi-3\", which says how its tokens take spaces,";
                        Err(metadata.unsupported(NAME, supported))
                    }
                }
            }
            _ => Ok(Self::Llama),
        }
    }

    /// Whether a token is spelled with `▁` for its spaces in the `tokenizer.json`.
    fn respells(self, token: &str) -> bool {
        self == Self::Gemma && token.len() > 1 && token.bytes().all(|byte| byte == b' ')
    }

    /// Tokens as the `tokenizer.json` spells them, and their types.
    pub fn spelled<'a>(
        self,
        tokens: &'a [String],
        types: Option<&'a [i64]>,
    ) -> (Cow<'a, [String]>, Option<Cow<'a, [i64]>>) {
        let mut spelled = (Cow::Borrowed(tokens), types.map(Cow::Borrowed));
        for (id, token) in tokens.iter().enumerate() {
            if self.respells(token) {
                spelled.0.to_mut()[id] = "▁".repeat(token.len());
                if let Some(kind) = spelled
                    .1
                    .as_mut()
                    .and_then(|types| types.to_mut().get_mut(id))
                {
                    *kind = NORMAL;
                }
            }
        }
        spelled
    }
}

/// The `tokenizer.json` but for what all kinds have.
pub(super) fn json(
    metadata: &Metadata,
    vocabulary: &Vocabulary,
    flavour: Flavour,
) -> Result<Json, GgufError> {
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
    let mut normalizers = vec![replace(" ", "▁")];
    let prefixed = metadata.flag(SPACE_PREFIX)? != Some(false);
    if prefixed {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
    }
    Ok(json!({
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "decoder": pieces(prefixed),
        "model": {
            "type": "BPE", "vocab": vocabulary.ids, "merges": merges(metadata, vocabulary, flavour)?,
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
    flavour: Flavour,
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
            let score = match flavour {
                Flavour::Gemma => -(id as f64),
                _ => scores[id],
            };
            (kinds == [NORMAL; 2]).then_some((score, left, right))
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
