//! BPE over bytes, as GPT-2, Llama 3 and Qwen have it.

use serde_json::{Value as Json, json};

use super::super::pipeline::{LLAMA3, O200K, QWEN2, TEKKEN};
use super::super::tokenizer_parts::{byte_level, pre_tokenizers, split};
use super::architecture::Architecture;
use super::header::GgufError;
use super::metadata::Metadata;
use super::tokenizer::{SPACE_PREFIX, Vocabulary, malformed};

const PRE: &str = "tokenizer.ggml.pre";
const MERGES: &str = "tokenizer.ggml.merges";

/// What byte-level BPE does with a text before it merges, by `tokenizer.ggml.pre`.
pub(super) struct Pre {
    names: &'static [&'static str],
    split: Split,
    /// Whether the text is normalized before, which the checkpoints' own tokenizers do and llama.cpp leaves out.
    normalized: bool,
    /// Whether a word that is a token is one, whatever is merged.
    whole_words: bool,
    /// Whether a token stands before a prompt, if the file does not say.
    pub begins: bool,
}

/// How a text is split into words.
#[derive(Clone, Copy)]
enum Split {
    /// As GPT-2 does.
    Words,
    /// The same behind the digits, each of which is a word.
    Digits,
    Regex(&'static str),
}

const fn pre(names: &'static [&'static str], split: Split) -> Pre {
    Pre {
        names,
        split,
        normalized: false,
        whole_words: false,
        begins: false,
    }
}

/// By llama.cpp's `llama_vocab::impl::load` and `llm_tokenizer_bpe`.
const PRES: [Pre; 8] = [
    pre(&["gpt-2", "phi-2"], Split::Words),
    pre(&["smollm", "starcoder", "refact"], Split::Digits),
    pre(&["dbrx", "smaug-bpe"], Split::Regex(LLAMA3)),
    pre(&["gpt-4o"], Split::Regex(O200K)),
    Pre {
        whole_words: true,
        begins: true,
        ..pre(&["llama-bpe", "llama3", "llama-v3"], Split::Regex(LLAMA3))
    },
    Pre {
        whole_words: true,
        begins: true,
        ..pre(&["tekken"], Split::Regex(TEKKEN))
    },
    Pre {
        normalized: true,
        ..pre(&["qwen2"], Split::Regex(QWEN2))
    },
    // Of GPT-NeoX and OLMo.
    Pre {
        normalized: true,
        ..pre(&["olmo"], Split::Words)
    },
];

impl Pre {
    pub fn find(
        metadata: &Metadata,
        architecture: &Architecture,
    ) -> Result<&'static Self, GgufError> {
        let name = match metadata.text(PRE)? {
            // Elsewhere the name was left out of files of any tokenizer.
            None | Some("default") if architecture.name == "gpt2" => "gpt-2",
            name => name.unwrap_or_default(),
        };
        let found = PRES.iter().find(|pre| pre.names.contains(&name));
        found.ok_or_else(|| {
            let names: Vec<_> = PRES.iter().flat_map(|pre| pre.names).copied().collect();
            metadata.unsupported(PRE, &format!("one of {}", names.join(", ")))
        })
    }

    /// The normalizer and the pre-tokenizer.
    fn parts(&self) -> [Json; 2] {
        let after = |first, words| pre_tokenizers([first, byte_level(false, words)]);
        let pre_tokenizer = match self.split {
            Split::Words => byte_level(false, true),
            Split::Digits => after(json!({"type": "Digits", "individual_digits": true}), true),
            Split::Regex(regex) => after(split(regex), false),
        };
        let normalizer = match self.normalized {
            true => json!({"type": "NFC"}),
            false => Json::Null,
        };
        [normalizer, pre_tokenizer]
    }
}

/// The `tokenizer.json` but for what all kinds have.
pub(super) fn json(
    metadata: &Metadata,
    vocabulary: &Vocabulary,
    pre: &Pre,
) -> Result<Json, GgufError> {
    if metadata.flag(SPACE_PREFIX)? == Some(true) {
        return Err(metadata.unsupported(SPACE_PREFIX, "false"));
    }
    let merges = Metadata::required(metadata.texts(MERGES)?, MERGES)?;
    let merges = merges.iter().enumerate().map(|(i, merge)| {
        let parts = merge.split_once(' ');
        parts.ok_or_else(|| malformed(MERGES, &format!("merge {i} is not two tokens")))
    });
    let merges = merges.collect::<Result<Vec<_>, _>>()?;
    let [normalizer, pre_tokenizer] = pre.parts();
    Ok(json!({
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "decoder": byte_level(false, true),
        "model": {
            "type": "BPE", "vocab": vocabulary.ids, "merges": merges,
            "ignore_merges": pre.whole_words,
        },
    }))
}
