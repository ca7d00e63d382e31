//! The parts that a `tokenizer.json` may be made of.
//!
//! The `tokenizers` crate panics on some files, already on one that is cut off in its decoder, and
//! parts in a row can make a text longer without limit. A tokenizer comes with a checkpoint or a
//! key from elsewhere, so a file is read here first: it must be JSON throughout, and made of the
//! parts that published BPE tokenizers have, with values that exclude both.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// A byte-level part may double a text's length; published chains have up to five parts.
const MAX_PARTS: usize = 8;

/// How Llama 3 splits a text into words.
pub(super) const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// The regular expressions that a text may be split by: others may take exponential time.
const SPLITS: [&str; 1] = [LLAMA3];

/// A `tokenizer.json`. Post-processors are not listed: the crate parses them, none is applied.
#[derive(Deserialize)]
struct File {
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<PreTokenizer>,
    decoder: Option<Decoder>,
    model: Model,
}

/// BPE. GPT-2's own file leaves the type out.
#[derive(Deserialize)]
struct Model {
    r#type: Option<String>,
    continuing_subword_prefix: Option<String>,
    #[serde(rename = "merges")]
    _merges: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Normalizer {
    Sequence {
        normalizers: Vec<Normalizer>,
    },
    #[serde(rename = "NFC")]
    Nfc,
    #[serde(rename = "NFKC")]
    Nfkc,
    Prepend {
        prepend: String,
    },
    Replace(Replace),
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum PreTokenizer {
    Sequence { pretokenizers: Vec<PreTokenizer> },
    ByteLevel,
    Digits,
    Metaspace,
    Punctuation,
    Split(Split),
}

#[derive(Deserialize)]
struct Split {
    pattern: SplitPattern,
    behavior: String,
    invert: bool,
}

#[derive(Deserialize)]
enum SplitPattern {
    String(String),
    Regex(String),
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Decoder {
    Sequence { decoders: Vec<Decoder> },
    ByteFallback,
    ByteLevel,
    Fuse,
    Metaspace,
    Replace(Replace),
    Strip { stop: usize },
}

#[derive(Deserialize)]
struct Replace {
    pattern: Pattern,
    content: String,
}

#[derive(Deserialize)]
enum Pattern {
    String(String),
    Regex(IgnoredAny),
}

/// Checks a file.
///
/// # Errors
/// What it is not to contain, or where it is not JSON.
pub(super) fn check(json: &[u8]) -> Result<(), String> {
    let file: File = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    let model = &file.model;
    if model.r#type.as_ref().is_some_and(|kind| kind != "BPE") {
        return Err("the model is not BPE".into());
    }
    if model
        .continuing_subword_prefix
        .as_ref()
        .is_some_and(|prefix| !prefix.is_empty())
    {
        return Err("the model has a continuing_subword_prefix".into());
    }
    let parts = [
        file.normalizer.map_or(Ok(0), |n| n.parts())?,
        file.pre_tokenizer.map_or(Ok(0), |p| p.parts())?,
        file.decoder.map_or(Ok(0), |d| d.parts())?,
    ];
    match parts.iter().find(|count| **count > MAX_PARTS) {
        Some(count) => Err(format!("{count} parts in a row, more than {MAX_PARTS}")),
        None => Ok(()),
    }
}

impl Normalizer {
    /// How many parts this is made of, all of them being sound.
    fn parts(&self) -> Result<usize, String> {
        match self {
            Self::Sequence { normalizers } => total(normalizers.iter().map(Self::parts)),
            Self::Nfc | Self::Nfkc => Ok(1),
            Self::Prepend { prepend } => one_character(prepend),
            Self::Replace(replace) => replace.parts(),
        }
    }
}

impl PreTokenizer {
    fn parts(&self) -> Result<usize, String> {
        match self {
            Self::Sequence { pretokenizers } => total(pretokenizers.iter().map(Self::parts)),
            Self::ByteLevel | Self::Digits | Self::Metaspace | Self::Punctuation => Ok(1),
            Self::Split(split) => split.parts(),
        }
    }
}

impl Split {
    /// Other behaviours than these two leave out what the text is split at.
    fn parts(&self) -> Result<usize, String> {
        let keeps = ["Isolated", "MergedWithPrevious"].contains(&self.behavior.as_str());
        match &self.pattern {
            SplitPattern::String(pattern) if keeps => one_character(pattern),
            SplitPattern::Regex(pattern)
                if keeps && !self.invert && SPLITS.contains(&pattern.as_str()) =>
            {
                Ok(1)
            }
            _ => Err("a text is split in a way that no supported tokenizer has".into()),
        }
    }
}

impl Decoder {
    fn parts(&self) -> Result<usize, String> {
        match self {
            Self::Sequence { decoders } => total(decoders.iter().map(Self::parts)),
            Self::ByteFallback | Self::ByteLevel | Self::Fuse | Self::Metaspace => Ok(1),
            Self::Replace(replace) => replace.parts(),
            // The crate cuts at the end of a token without looking where it begins.
            Self::Strip { stop: 0 } => Ok(1),
            Self::Strip { .. } => Err("a decoder strips the ends of tokens".into()),
        }
    }
}

impl Replace {
    fn parts(&self) -> Result<usize, String> {
        match &self.pattern {
            Pattern::String(pattern) => one_character(pattern).and(one_character(&self.content)),
            Pattern::Regex(_) => Err("a regular expression is replaced".into()),
        }
    }
}

/// What is put in or exchanged is one character, so that a text grows by no more.
fn one_character(text: &str) -> Result<usize, String> {
    match text.chars().count() {
        1 => Ok(1),
        _ => Err("a part puts in or replaces more or less than one character".into()),
    }
}

/// A sequence counts as a part itself.
fn total(parts: impl Iterator<Item = Result<usize, String>>) -> Result<usize, String> {
    parts.sum::<Result<usize, String>>().map(|sum| sum + 1)
}

#[cfg(test)]
mod tests {
    use super::super::{Tokenizer, TokenizerError, synthetic};
    use super::{LLAMA3, MAX_PARTS, check};
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    /// The bytes' tokenizer with one of its parts exchanged.
    fn with(part: &str, value: &Value) -> Result<Tokenizer, TokenizerError> {
        let mut json: Value = serde_json::from_slice(&synthetic::tokenizer().to_json()).unwrap();
        *json.pointer_mut(part).expect("a part") = value.clone();
        Tokenizer::from_json(json.to_string().as_bytes())
    }

    fn refused(part: &str, value: &Value) {
        let result = with(part, value);
        assert!(
            matches!(result, Err(TokenizerError::Unreadable(_))),
            "{value}: {result:?}"
        );
    }

    /// The crate panics on each of these, when it reads the file or when it uses it.
    #[test]
    fn parts_that_panic_are_refused() {
        refused("/normalizer", &json!({"type": "Precompiled"}));
        refused(
            "/pre_tokenizer",
            &json!({"type": "FixedLength", "length": 0}),
        );
        let strip = json!({"type": "Strip", "content": "a", "start": 0, "stop": 9});
        refused("/decoder", &strip);
        refused(
            "/decoder",
            &json!({"type": "Sequence", "decoders": [strip]}),
        );
        refused("/model/continuing_subword_prefix", &json!("##"));
        refused("/decoder", &json!("no object"));
    }

    /// Before the crate reads them: its readers of other models are not known to be safe.
    #[test]
    fn models_of_other_types_are_refused() {
        let read = |kind: &str| {
            let model = json!({"type": kind, "vocab": {"a": 0}, "merges": [], "unk_token": "a"});
            let json = json!({"version": "1.0", "added_tokens": [], "model": model});
            check(json.to_string().as_bytes())
        };
        assert_eq!(read("BPE"), Ok(()));
        for kind in ["WordPiece", "WordLevel", "Unigram", "bpe", ""] {
            assert_eq!(read(kind), Err("the model is not BPE".into()), "{kind}");
        }
    }

    /// What is not quite BPE would be read as the first model that it fits.
    #[test]
    fn an_untyped_model_that_is_not_bpe_is_refused() {
        let vocabulary = json!({"a": 0, "b": 1});
        let read = |merges: Value| {
            let model = json!({"vocab": vocabulary, "merges": merges, "unk_token": "a"});
            let json = json!({"version": "1.0", "added_tokens": [], "model": model});
            Tokenizer::from_json(json.to_string().as_bytes())
        };
        assert!(read(json!([])).is_ok());
        let other = read(json!(5));
        assert!(
            matches!(other, Err(TokenizerError::Unreadable(_))),
            "{other:?}"
        );
    }

    /// It panics also where a file ends within the decoder.
    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        let json = synthetic::tokenizer().to_json();
        let step = json.len() / 2000 + 1;
        for len in (0..json.len())
            .step_by(step)
            .chain(json.len() - 100..json.len())
        {
            let read = Tokenizer::from_json(&json[..len]);
            assert!(matches!(read, Err(TokenizerError::Unreadable(_))), "{len}");
        }
    }

    /// Forty replacements of "a" by "aa" would make 2^40 characters of one.
    #[test]
    fn parts_that_lengthen_a_text_without_limit_are_refused() {
        let doubling = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
        refused("/normalizer", &doubling);
        refused("/decoder", &doubling);
        let everywhere = json!({"type": "Replace", "pattern": {"Regex": ""}, "content": "a"});
        refused("/normalizer", &everywhere);
        refused("/normalizer", &json!({"type": "Prepend", "prepend": "aa"}));
        let byte_level = json!({
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
        });
        let chain = |n| json!({"type": "Sequence", "pretokenizers": vec![&byte_level; n]});
        refused("/pre_tokenizer", &chain(40));
        assert!(with("/pre_tokenizer", &chain(2)).is_ok());
        // The sequence is a part too.
        assert!(with("/pre_tokenizer", &chain(MAX_PARTS - 1)).is_ok());
        refused("/pre_tokenizer", &chain(MAX_PARTS));
    }

    /// An expression from elsewhere could take exponential time, and other behaviours lose text.
    #[test]
    fn texts_are_split_as_published_or_not_at_all() {
        let split = |pattern: Value, behavior: &str, invert: bool| json!({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert});
        let regex = |regex: &str| json!({"Regex": regex});
        let isolated = |pattern: Value| split(pattern, "Isolated", false);
        for bad in [
            isolated(regex("(a+)+$")),
            isolated(regex(&LLAMA3[1..])),
            isolated(json!({"String": "ab"})),
            isolated(json!({"String": ""})),
            split(regex(LLAMA3), "Removed", false),
            split(regex(LLAMA3), "Isolated", true),
            split(json!({"String": " "}), "Removed", false),
            json!({"type": "Split"}),
        ] {
            refused("/pre_tokenizer", &bad);
            let inside = json!({"type": "Sequence", "pretokenizers": [bad]});
            refused("/pre_tokenizer", &inside);
        }
        let space = split(json!({"String": " "}), "MergedWithPrevious", false);
        assert!(with("/pre_tokenizer", &space).is_ok());
    }

    /// As Llama 3's file: its post-processor would put a token before the text, and none is put.
    #[test]
    fn llama3s_parts_give_back_any_text_and_add_nothing() {
        let byte_level = |use_regex: bool| {
            json!({
                "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
                "use_regex": use_regex,
            })
        };
        let mut json: Value = serde_json::from_slice(&synthetic::tokenizer().to_json()).unwrap();
        json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": false},
            byte_level(false),
        ]});
        json["post_processor"] = json!({"type": "Sequence", "processors": [byte_level(true), {
            "type": "TemplateProcessing", "pair": [],
            "single": [
                {"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "special_tokens": {"<|endoftext|>": {
                "id": "<|endoftext|>", "ids": [256], "tokens": ["<|endoftext|>"],
            }},
        }]});
        json["model"]["ignore_merges"] = true.into();
        let tokenizer = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
        for text in ["I'LL pay 12345 — \r\n\n  in 東京 🦀 ", "x", ""] {
            let tokens = tokenizer.encode(text).unwrap();
            assert_eq!(tokens.len(), text.len());
            assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
        }
    }

    /// A template can have the text twice: what is proved is the text once.
    #[test]
    fn a_post_processor_does_not_repeat_the_text() {
        let text = json!({"Sequence": {"id": "A", "type_id": 0}});
        let template = json!({
            "type": "TemplateProcessing", "pair": [], "single": [text, text],
            "special_tokens": {},
        });
        let tokenizer = with("/post_processor", &template).unwrap();
        assert_eq!(tokenizer.encode("ab").unwrap().len(), 2);
    }

    /// The expressions look ahead behind spaces. Where one gave up, the crate would end the text there.
    #[test]
    fn a_long_run_of_spaces_is_not_cut_off() {
        let llama3 = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
        ]});
        let llama3 = with("/pre_tokenizer", &llama3).unwrap();
        for tokenizer in [synthetic::tokenizer(), llama3] {
            for count in [1 << 16, 1 << 21] {
                let text = " ".repeat(count) + "x";
                assert_eq!(tokenizer.encode(&text).unwrap().len(), text.len());
            }
        }
    }

    /// As TinyLlama's file, and as newer exports write the same: `▁` for spaces, bytes for the rest.
    #[test]
    fn llama2s_parts_give_back_any_text_and_add_nothing() {
        let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
        tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
        tokens.extend(["▁", "a", "b", "▁a", "ab"].map(String::from));
        let vocabulary: BTreeMap<&str, usize> = tokens.iter().map(|t| &**t).zip(0..).collect();
        let special = (0..3).map(|id| {
            json!({
                "id": id, "content": tokens[id], "special": true, "normalized": false,
                "single_word": false, "lstrip": false, "rstrip": false,
            })
        });
        let replace = |a, b| json!({"type": "Replace", "pattern": {"String": a}, "content": b});
        let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
        let older = (
            json!({"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": "▁"}, replace(" ", "▁"),
            ]}),
            Value::Null,
        );
        let newer = (
            Value::Null,
            json!({
                "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first",
                "split": false,
            }),
        );
        for (normalizer, pre_tokenizer) in [older, newer] {
            let json = json!({
                "version": "1.0", "added_tokens": special.clone().collect::<Vec<_>>(),
                "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": null,
                "decoder": {"type": "Sequence", "decoders": [
                    replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}, strip,
                ]},
                "model": {
                    "type": "BPE", "dropout": null, "unk_token": "<unk>", "fuse_unk": true,
                    "byte_fallback": true, "ignore_merges": false, "vocab": vocabulary,
                    "merges": [["▁", "a"], ["a", "b"]],
                },
            });
            let tokenizer = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
            assert_eq!(tokenizer.encode("ab ab").unwrap(), [262, 261, 262, 261]);
            // Not " a": the newer form takes a text's own first space for the one it puts there.
            for text in ["ab  a\n", "é 東京 🦀", ""] {
                let tokens = tokenizer.encode(text).unwrap();
                assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
            }
        }
    }

    /// The chains of SentencePiece's BPE and of byte-level BPE behind other splitting.
    #[test]
    fn published_parts_are_read() {
        let replace = |a, b| json!({"type": "Replace", "pattern": {"String": a}, "content": b});
        let prepend = json!({"type": "Prepend", "prepend": "▁"});
        let normalizers = json!([prepend, replace(" ", "▁"), {"type": "NFC"}]);
        let normalizer = json!({"type": "Sequence", "normalizers": normalizers});
        assert!(with("/normalizer", &normalizer).is_ok());
        let strip = json!({"type": "Strip", "content": " ", "start": 1, "stop": 0});
        let decoders =
            json!([replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}, strip]);
        assert!(
            with(
                "/decoder",
                &json!({"type": "Sequence", "decoders": decoders})
            )
            .is_ok()
        );
        let split = json!({
            "type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated",
            "invert": false,
        });
        let digits = json!({"type": "Digits", "individual_digits": true});
        let pretokenizers = json!([split, digits]);
        let pre_tokenizer = json!({"type": "Sequence", "pretokenizers": pretokenizers});
        assert!(with("/pre_tokenizer", &pre_tokenizer).is_ok());
    }
}
