//! The parts that a `tokenizer.json` may be made of.
//!
//! The `tokenizers` crate panics on some files, already on one that is cut off in its decoder, and
//! parts in a row can make a text longer without limit. A tokenizer comes with a checkpoint or a
//! key from elsewhere, so a file is read here first: it must be JSON throughout, and made of the
//! parts that published BPE tokenizers have, with values that exclude both.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tokenizers::{NormalizedString, Normalizer as _, NormalizerWrapper};

use super::post_processor::{Around, PostProcessor};
use crate::lists::bounded;

/// Published chains have up to five parts.
const MAX_PARTS: usize = 8;

/// How many times as long, in bytes of UTF-8, normalizer and pre-tokenizer may leave a text, as counted by
/// [`Chain`]. Llama 2's count as 12.
pub(super) const MAX_GROWTH: usize = 80;

/// The longest text of a token in bytes. In published vocabularies it is a few hundred: 128 spaces or dashes,
/// two bytes each at byte level.
pub(super) const MAX_TOKEN: usize = 1 << 10;

/// Tokens and merges of a vocabulary, at most. Gemma 3, whose file is among the largest that are published, has
/// 262,144 tokens and about twice as many merges.
const MAX_TOKENS: usize = 1 << 20;
const MAX_MERGES: usize = 1 << 21;

/// The longest text of the unknown token in bytes: the crate writes it out wherever it stands in a text.
const MAX_UNKNOWN: usize = 1 << 6;

/// Added tokens, at most, and the bytes of one and of all together, as they are and as they are looked for: behind the
/// normalizer. The crate builds an automaton for them, of about 75 bytes for each byte, but of a thousand where they are
/// 100 or fewer. Published are up to 32,768 of two dozen bytes, and runs of spaces of 93.
const MAX_ADDED_TOKENS: usize = 1 << 16;
const MAX_ADDED_TOKEN: usize = 1 << 8;
const MAX_ADDED: usize = 1 << 20;

/// The longest normalizer, pre-tokenizer, post-processor or decoder in bytes of JSON, each of which is held as a tree of
/// dozens of times that size while it is read. Published ones have a few thousand, of post-processors.
const MAX_PART: usize = 1 << 16;

/// How Llama 3 splits a text into words.
pub(super) const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// How Qwen 2 does: each digit is a word.
pub(super) const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// How GPT-4o and Phi-4-mini do: a word begins where small letters are followed by a capital one.
pub(super) const O200K: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// How newer models of Mistral do.
pub(super) const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
);

/// The regular expressions that a text may be split by: others may take exponential time. In these, what may be tried
/// again is at most the letters, or the spaces, of one word.
const SPLITS: [&str; 4] = [LLAMA3, QWEN2, O200K, TEKKEN];

/// A `tokenizer.json`.
#[derive(Deserialize)]
struct File {
    #[serde(default, deserialize_with = "bounded::<MAX_ADDED_TOKENS, _, _>")]
    added_tokens: Vec<Added>,
    normalizer: Option<Part<Normalizer>>,
    pre_tokenizer: Option<Part<PreTokenizer>>,
    post_processor: Option<Part<PostProcessor>>,
    decoder: Option<Part<Decoder>>,
    model: Model,
}

/// A part with its JSON, of at most [`MAX_PART`] bytes.
struct Part<T> {
    part: T,
    json: Box<RawValue>,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(file: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(file)?;
        let bytes = json.get().len();
        if bytes > MAX_PART {
            return Err(D::Error::custom(format!(
                "a part of {bytes} bytes, more than the {MAX_PART} that one may have"
            )));
        }
        let part = serde_json::from_str(json.get()).map_err(D::Error::custom)?;
        let json = json.to_owned();
        Ok(Self { part, json })
    }
}

/// All that an added token has: the crate holds other fields, of any size, while it reads it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    content: String,
    lstrip: bool,
    rstrip: bool,
    #[serde(rename = "id")]
    _id: IgnoredAny,
    #[serde(rename = "single_word")]
    _single_word: bool,
    #[serde(rename = "normalized")]
    _normalized: bool,
    #[serde(rename = "special")]
    _special: bool,
}

/// BPE. GPT-2's own file leaves the type out. All that it has, as for [`Added`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Model {
    r#type: Option<String>,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(rename = "dropout")]
    _dropout: Option<f32>,
    #[serde(rename = "fuse_unk")]
    _fuse_unk: Option<bool>,
    #[serde(rename = "byte_fallback")]
    _byte_fallback: Option<bool>,
    #[serde(rename = "ignore_merges")]
    _ignore_merges: Option<bool>,
    #[serde(rename = "vocab")]
    _vocabulary: Vocabulary,
    #[serde(
        rename = "merges",
        deserialize_with = "bounded::<MAX_MERGES, Merge, _>"
    )]
    _merges: Vec<Merge>,
}

/// Two tokens: a list of them, or in older files their text with a space between.
struct Merge;

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(file: D) -> Result<Self, D::Error> {
        file.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Merge {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a merge of two tokens, of at most {MAX_TOKEN} bytes each"
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self, E> {
        match text.len() {
            length if length <= 2 * MAX_TOKEN + 1 => Ok(self),
            length => Err(E::invalid_length(length, &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self, A::Error> {
        for count in 0..2 {
            let token = seq.next_element::<Token>()?;
            token.ok_or_else(|| A::Error::invalid_length(count, &self))?;
        }
        Ok(self)
    }
}

/// A token's text, of at most [`MAX_TOKEN`] bytes.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Token;

impl TryFrom<String> for Token {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.len() {
            length if length <= MAX_TOKEN => Ok(Self),
            length => Err(format!(
                "a token of {length} bytes, more than the {MAX_TOKEN} that one may have"
            )),
        }
    }
}

/// At most [`MAX_TOKENS`] tokens with their ids.
struct Vocabulary;

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(file: D) -> Result<Self, D::Error> {
        file.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for Vocabulary {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX_TOKENS} tokens with their ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut count = 0;
        while map.next_entry::<Token, IgnoredAny>()?.is_some() {
            count += 1;
            if count > MAX_TOKENS {
                return Err(A::Error::invalid_length(count, &self));
            }
        }
        Ok(self)
    }
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
    Sequence {
        pretokenizers: Vec<PreTokenizer>,
    },
    ByteLevel {
        #[serde(default = "yes")]
        add_prefix_space: bool,
    },
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

fn yes() -> bool {
    true
}

/// What a file's parts do to a text.
pub(super) struct Parts {
    /// How many times as long, in bytes, normalizer and pre-tokenizer may leave it.
    pub growth: usize,
    pub around: Around,
}

/// Checks a file.
///
/// # Errors
/// What it is not to contain, or where it is not JSON.
pub(super) fn check(json: &[u8]) -> Result<Parts, String> {
    let file: File = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    file.model.check()?;
    let normalizer = chain(&file.normalizer, Normalizer::chain)?;
    let pre_tokenizer = chain(&file.pre_tokenizer, PreTokenizer::chain)?;
    let decoder = chain(&file.decoder, Decoder::chain)?;
    let encoding = normalizer.growth * pre_tokenizer.growth;
    let growth = encoding.max(decoder.growth);
    if growth > MAX_GROWTH {
        return Err(format!(
            "parts in a row that may leave a text {growth} times as long, more than {MAX_GROWTH}"
        ));
    }
    check_added(&file.added_tokens, file.normalizer.as_ref())?;
    let around = file.post_processor.map(|p| p.part.around());
    Ok(Parts {
        growth: encoding,
        around: around.transpose()?.unwrap_or_default(),
    })
}

/// A part's chain, which is none where there is no part, and not too long.
fn chain<T>(
    part: &Option<Part<T>>,
    of: impl FnOnce(&T) -> Result<Chain, String>,
) -> Result<Chain, String> {
    match part.as_ref().map_or(Ok(Chain::NONE), |p| of(&p.part))? {
        Chain { parts, .. } if parts > MAX_PARTS => {
            Err(format!("{parts} parts in a row, more than {MAX_PARTS}"))
        }
        chain => Ok(chain),
    }
}

/// Checks the added tokens as they are and as the normalizer, which is sound, leaves them: in both forms they may be
/// looked for.
///
/// One that takes the spaces around it must not be spaces itself. The crate looks for the next token where one ended
/// before it took spaces: another could lie within those, take the rest of them once more, and so on to the end of each
/// run, or end before it begins, at which the crate panics.
fn check_added(added: &[Added], normalizer: Option<&Part<Normalizer>>) -> Result<(), String> {
    let normalizer: Option<NormalizerWrapper> = normalizer
        .map(|n| serde_json::from_str(n.json.get()))
        .transpose()
        .map_err(|e| e.to_string())?;
    let mut total = 0;
    for token in added {
        // Short before the normalizer makes it longer.
        let mut normalized = NormalizedString::from(within(&token.content)?);
        if let Some(normalizer) = &normalizer {
            let done = normalizer.normalize(&mut normalized);
            done.map_err(|e| e.to_string())?;
        }
        let normalized = within(normalized.get())?;
        total += token.content.len().max(normalized.len());
        if total > MAX_ADDED {
            return Err(format!(
                "added tokens of more than {MAX_ADDED} bytes together"
            ));
        }
        let blank = |text: &str| text.chars().all(char::is_whitespace);
        if (token.lstrip || token.rstrip) && (blank(&token.content) || blank(normalized)) {
            return Err(format!(
                "the added token {:?} is of spaces and takes those around it",
                token.content
            ));
        }
    }
    Ok(())
}

/// The text of an added token, which is not too long.
fn within(text: &str) -> Result<&str, String> {
    match text.len() {
        length if length <= MAX_ADDED_TOKEN => Ok(text),
        length => Err(format!(
            "an added token of {length} bytes, more than the {MAX_ADDED_TOKEN} that one may have"
        )),
    }
}

impl Model {
    /// Prefixes make the crate panic; a suffix stands in the text of each piece's last token, or becomes a token for each
    /// of its bytes, so that a text's memory has no bound by its length.
    fn check(&self) -> Result<(), String> {
        let some = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        if self.r#type.as_ref().is_some_and(|kind| kind != "BPE") {
            return Err("the model is not BPE".into());
        }
        if some(&self.continuing_subword_prefix) {
            return Err("the model has a continuing_subword_prefix".into());
        }
        if some(&self.end_of_word_suffix) {
            return Err("the model has an end_of_word_suffix".into());
        }
        match self.unk_token.as_ref().map_or(0, String::len) {
            length if length <= MAX_UNKNOWN => Ok(()),
            length => Err(format!(
                "an unk_token of {length} bytes, more than the {MAX_UNKNOWN} that one may have"
            )),
        }
    }
}

/// Parts in a row.
#[derive(Clone, Copy)]
struct Chain {
    parts: usize,
    /// How many times as long, in bytes of UTF-8, they may leave a text.
    growth: usize,
}

impl Chain {
    const NONE: Self = Self {
        parts: 0,
        growth: 1,
    };

    /// A part that leaves n bytes of text at most `growth`·n.
    fn part(growth: usize) -> Self {
        Self { parts: 1, growth }
    }

    /// Chains one behind the other. A sequence counts as a part itself.
    fn sequence(chains: impl Iterator<Item = Result<Self, String>>) -> Result<Self, String> {
        let start = Self::part(1);
        let chain = chains.collect::<Result<Vec<_>, _>>()?;
        Ok(chain.iter().fold(start, |all, next| Self {
            parts: all.parts.saturating_add(next.parts),
            growth: all.growth.saturating_mul(next.growth),
        }))
    }
}

impl Normalizer {
    /// What this does to a text, all of it being sound. The growth of normal forms is Unicode's
    /// (UAX #15, table of maximum expansion factors).
    fn chain(&self) -> Result<Chain, String> {
        match self {
            Self::Sequence { normalizers } => Chain::sequence(normalizers.iter().map(Self::chain)),
            Self::Nfc => Ok(Chain::part(3)),
            Self::Nfkc => Ok(Chain::part(11)),
            // Before any text between two added tokens, be it one byte.
            Self::Prepend { prepend } => Ok(Chain::part(1 + one_character(prepend)?)),
            Self::Replace(replace) => replace.chain(),
        }
    }
}

impl PreTokenizer {
    fn chain(&self) -> Result<Chain, String> {
        match self {
            Self::Sequence { pretokenizers } => {
                Chain::sequence(pretokenizers.iter().map(Self::chain))
            }
            // A character of one or two bytes for each byte, and before each piece, be it one byte, a space.
            Self::ByteLevel { add_prefix_space } => {
                Ok(Chain::part(if *add_prefix_space { 4 } else { 2 }))
            }
            Self::Digits | Self::Punctuation => Ok(Chain::part(1)),
            // A character of up to four bytes for each space, or before a piece.
            Self::Metaspace => Ok(Chain::part(5)),
            Self::Split(split) => split.chain(),
        }
    }
}

impl Split {
    /// Other behaviours than these two leave out what the text is split at.
    fn chain(&self) -> Result<Chain, String> {
        let keeps = ["Isolated", "MergedWithPrevious"].contains(&self.behavior.as_str());
        match &self.pattern {
            SplitPattern::String(pattern) if keeps => {
                one_character(pattern).map(|_| Chain::part(1))
            }
            SplitPattern::Regex(pattern)
                if keeps && !self.invert && SPLITS.contains(&pattern.as_str()) =>
            {
                Ok(Chain::part(1))
            }
            _ => Err("a text is split in a way that no supported tokenizer has".into()),
        }
    }
}

impl Decoder {
    fn chain(&self) -> Result<Chain, String> {
        match self {
            Self::Sequence { decoders } => Chain::sequence(decoders.iter().map(Self::chain)),
            // Two bytes of text for a byte that is no UTF-8, for which three stand afterwards.
            Self::ByteLevel => Ok(Chain::part(2)),
            Self::ByteFallback | Self::Fuse | Self::Metaspace => Ok(Chain::part(1)),
            Self::Replace(replace) => replace.chain(),
            // The crate cuts at the end of a token without looking where it begins.
            Self::Strip { stop: 0 } => Ok(Chain::part(1)),
            Self::Strip { .. } => Err("a decoder strips the ends of tokens".into()),
        }
    }
}

impl Replace {
    fn chain(&self) -> Result<Chain, String> {
        match &self.pattern {
            Pattern::String(pattern) => {
                let (from, to) = (one_character(pattern)?, one_character(&self.content)?);
                Ok(Chain::part(to.div_ceil(from)))
            }
            Pattern::Regex(_) => Err("a regular expression is replaced".into()),
        }
    }
}

/// What is put in or exchanged is one character, so that a text grows by no more: its bytes.
fn one_character(text: &str) -> Result<usize, String> {
    match text.chars().count() {
        1 => Ok(text.len()),
        _ => Err("a part puts in or replaces more or less than one character".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Tokenizer, TokenizerError, synthetic};
    use super::{
        LLAMA3, MAX_ADDED, MAX_ADDED_TOKEN, MAX_ADDED_TOKENS, MAX_MERGES, MAX_PART, MAX_PARTS,
        MAX_TOKEN, MAX_TOKENS, MAX_UNKNOWN, check,
    };
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    /// The bytes' tokenizer with one of its parts exchanged.
    fn with(part: &str, value: &Value) -> Result<Tokenizer, TokenizerError> {
        let mut json: Value = serde_json::from_slice(&synthetic::tokenizer().to_json()).unwrap();
        *json.pointer_mut(part).expect("a part") = value.clone();
        Tokenizer::from_json(json.to_string().as_bytes())
    }

    fn growth(json: &[u8]) -> Result<usize, String> {
        check(json).map(|parts| parts.growth)
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
            growth(json.to_string().as_bytes())
        };
        assert_eq!(read("BPE"), Ok(1));
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
        let digits = json!({"type": "Digits", "individual_digits": true});
        let chain = |n| json!({"type": "Sequence", "pretokenizers": vec![&digits; n]});
        // The sequence is a part too.
        assert!(with("/pre_tokenizer", &chain(MAX_PARTS - 1)).is_ok());
        refused("/pre_tokenizer", &chain(MAX_PARTS));
    }

    /// A text becomes no longer than its tokenizer's growth says, whatever its characters and its pieces.
    #[test]
    fn texts_grow_no_more_than_is_counted() {
        let byte_level = |space: bool| json!({"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": true, "use_regex": true});
        let sequence =
            |kind: &str, list: &str, parts: &[&Value]| json!({"type": kind, list: parts});
        let replace = |a, b| json!({"type": "Replace", "pattern": {"String": a}, "content": b});
        let (nfkc, nfc) = (json!({"type": "NFKC"}), json!({"type": "NFC"}));
        let prepend = json!({"type": "Prepend", "prepend": "🦀"});
        let metaspace = json!({
            "type": "Metaspace", "replacement": "🦀", "prepend_scheme": "always", "split": true,
        });
        let (crab, split) = (
            replace("a", "🦀"),
            json!({"type": "Digits", "individual_digits": true}),
        );
        let normalizers: [(&[&Value], usize); 5] = [
            (&[], 1),
            (&[&nfkc], 11),
            (&[&nfc], 3),
            (&[&prepend], 5),
            (&[&nfc, &crab], 12),
        ];
        let pre_tokenizers: [(&[&Value], usize); 4] = [
            (&[&byte_level(false)], 2),
            (&[&split, &byte_level(true)], 4),
            (&[&split, &metaspace], 5),
            (&[&byte_level(false), &byte_level(false)], 4),
        ];
        let texts = [
            "a",
            " ",
            "1",
            "\u{1}",
            "a1",
            "1 ",
            "é",
            "\u{fdfa}",
            "\u{1d160}",
            "🦀",
            "<|endoftext|>1",
        ];
        for (normalizer, n) in normalizers {
            for (pre_tokenizer, p) in pre_tokenizers {
                let mut json: Value =
                    serde_json::from_slice(&synthetic::tokenizer().to_json()).unwrap();
                json["normalizer"] = sequence("Sequence", "normalizers", normalizer);
                json["pre_tokenizer"] = sequence("Sequence", "pretokenizers", pre_tokenizer);
                let json = json.to_string();
                assert_eq!(growth(json.as_bytes()), Ok(n * p));
                let inner = tokenizers::Tokenizer::from_bytes(json.as_bytes()).unwrap();
                for text in texts.map(|text| text.repeat(20)) {
                    assert!(longest(&inner, &text) <= n * p * text.len(), "{text:?}");
                }
            }
        }
    }

    /// The bytes that the model is given for a text without added tokens.
    fn longest(tokenizer: &tokenizers::Tokenizer, text: &str) -> usize {
        use tokenizers::{NormalizedString, Normalizer, OffsetReferential, OffsetType};
        use tokenizers::{PreTokenizedString, PreTokenizer};
        // Where an added token stands, the text is normalized in pieces.
        let pieces = text
            .split("<|endoftext|>")
            .filter(|piece| !piece.is_empty());
        pieces
            .map(|piece| {
                let mut piece = NormalizedString::from(piece);
                tokenizer
                    .get_normalizer()
                    .expect("one")
                    .normalize(&mut piece)
                    .unwrap();
                let mut pieces = PreTokenizedString::from(piece);
                tokenizer
                    .get_pre_tokenizer()
                    .expect("one")
                    .pre_tokenize(&mut pieces)
                    .unwrap();
                let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
                splits.iter().map(|(text, ..)| text.len()).sum::<usize>()
            })
            .sum()
    }

    /// What a verifier reads from elsewhere costs many times its length: a token's text in every place of a
    /// prompt where it stands, an added one in the automaton that looks for it.
    #[test]
    fn vocabularies_and_their_tokens_are_bounded() {
        let vocabulary = |token: String| json!({"a": 0, token: 1});
        assert!(with("/model/vocab", &vocabulary("b".repeat(MAX_TOKEN))).is_ok());
        refused("/model/vocab", &vocabulary("b".repeat(MAX_TOKEN + 1)));
        refused("/model/vocab", &vocabulary("é".repeat(MAX_TOKEN / 2 + 1)));
        let unknown = |length: usize| json!("u".repeat(length));
        assert!(with("/model/unk_token", &unknown(MAX_UNKNOWN)).is_ok());
        refused("/model/unk_token", &unknown(MAX_UNKNOWN + 1));

        // The counts: from the text alone, which is quicker than from a tokenizer.
        let read = |tokens: usize, merges: usize| {
            let tokens: String = (0..tokens).map(|i| format!(r#""{i}":{i},"#)).collect();
            let merges = r#""","#.repeat(merges);
            growth(
                format!(r#"{{"model": {{"vocab": {{{tokens}"":0}}, "merges": [{merges}""]}}}}"#)
                    .as_bytes(),
            )
        };
        assert_eq!(read(MAX_TOKENS - 1, MAX_MERGES - 1), Ok(1));
        assert!(read(MAX_TOKENS, 0).is_err_and(|e| e.contains("at most 1048576 tokens")));
        assert!(read(0, MAX_MERGES).is_err_and(|e| e.contains("at most 2097152 items")));
    }

    /// Added tokens with these texts, which take the spaces on neither side.
    fn added<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
        texts
            .into_iter()
            .map(|text| one_added(text, false, false))
            .collect()
    }

    fn one_added(text: &str, lstrip: bool, rstrip: bool) -> Value {
        json!({
            "id": 0, "content": text, "special": false, "normalized": true, "single_word": false,
            "lstrip": lstrip, "rstrip": rstrip,
        })
    }

    /// The crate makes an automaton of all added tokens, as the normalizer leaves them: here 33 bytes of one.
    #[test]
    fn added_tokens_are_bounded_behind_the_normalizer() {
        let read = |tokens: &Value, normalizer: &Value| {
            let vocabulary = json!({"vocab": {}, "merges": []});
            let json =
                json!({"added_tokens": tokens, "normalizer": normalizer, "model": vocabulary});
            check(json.to_string().as_bytes()).map(|_| ())
        };
        let longer = json!({"type": "Sequence", "normalizers": [
            {"type": "Replace", "pattern": {"String": "q"}, "content": "\u{fdfa}"}, {"type": "NFKC"},
        ]});
        let of = |letter: &str, bytes: usize| added([&*letter.repeat(bytes)]);
        let none = Value::Null;
        assert_eq!(read(&of("q", MAX_ADDED_TOKEN), &none), Ok(()));
        assert_eq!(read(&of("a", MAX_ADDED_TOKEN), &longer), Ok(()));
        let long = |bytes| {
            Err(format!(
                "an added token of {bytes} bytes, more than the 256 that one may have"
            ))
        };
        assert_eq!(read(&of("q", MAX_ADDED_TOKEN + 1), &none), long(257));
        assert_eq!(read(&of("q", 7), &longer), Ok(()));
        assert_eq!(read(&of("q", 8), &longer), long(264));

        let many = |text: String, count: usize| added(std::iter::repeat_n(&*text, count));
        let most = MAX_ADDED / MAX_ADDED_TOKEN;
        assert_eq!(
            read(&many("a".repeat(MAX_ADDED_TOKEN), most), &none),
            Ok(())
        );
        let together = Err("added tokens of more than 1048576 bytes together".into());
        assert_eq!(
            read(&many("a".repeat(MAX_ADDED_TOKEN), most + 1), &none),
            together
        );
        let most = MAX_ADDED / 231;
        assert_eq!(read(&many("q".repeat(7), most), &longer), Ok(()));
        assert_eq!(read(&many("q".repeat(7), most + 1), &longer), together);
        assert_eq!(read(&many("a".into(), MAX_ADDED_TOKENS), &none), Ok(()));
        let refused = read(&many("a".into(), MAX_ADDED_TOKENS + 1), &none);
        assert!(refused.is_err_and(|e| e.contains("at most 65536 items")));
    }

    /// A token of spaces that takes those around it makes the crate panic beside another that does, and fill the memory
    /// alone. Whatever else takes them gives tokens for any text.
    #[test]
    fn added_tokens_that_take_spaces_are_not_spaces() {
        let replace = json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "});
        let with_added = |tokens: &[Value], normalizer: bool| {
            let mut json: Value =
                serde_json::from_slice(&synthetic::tokenizer().to_json()).unwrap();
            json["added_tokens"] = tokens.into();
            json["normalizer"] = if normalizer {
                replace.clone()
            } else {
                Value::Null
            };
            Tokenizer::from_json(json.to_string().as_bytes())
        };
        let sides = [(false, false), (false, true), (true, false), (true, true)];
        for (lstrip, rstrip) in &sides[1..] {
            for (text, normalizer) in [(" ", false), (" \n", false), ("\u{a0}", false), ("▁", true)]
            {
                let token = one_added(text, *lstrip, *rstrip);
                let refused = with_added(&[token], normalizer).expect_err("refused");
                assert!(
                    refused.to_string().contains("is of spaces and takes"),
                    "{refused}"
                );
            }
            // As Phi-3's, and as a mask.
            assert!(with_added(&[one_added("<|end|>", *lstrip, *rstrip)], false).is_ok());
        }
        let letters = ["x", " ", "▁"];
        let longer = |texts: &[String]| -> Vec<String> {
            texts
                .iter()
                .flat_map(|t| letters.map(|l| format!("{t}{l}")))
                .collect()
        };
        let texts = std::iter::successors(Some(vec![String::new()]), |texts| Some(longer(texts)));
        let texts: Vec<String> = texts.take(6).flatten().collect();
        let tokens = ["x", " ", "  ", " x", "x ", "▁"]
            .into_iter()
            .flat_map(|text| sides.map(|(lstrip, rstrip)| one_added(text, lstrip, rstrip)));
        let tokens: Vec<Value> = tokens.collect();
        let mut read = 0;
        for (a, b) in tokens
            .iter()
            .flat_map(|a| tokens.iter().map(move |b| (a, b)))
        {
            let Ok(tokenizer) = with_added(&[a.clone(), b.clone()], true) else {
                continue;
            };
            read += 1;
            for text in &texts {
                let tokens = tokenizer.encode(text).unwrap();
                assert!(tokens.len() <= 2 * text.len(), "{text:?} with {a} and {b}");
            }
        }
        // Three of four of each of the three tokens of spaces are refused.
        assert_eq!(read, (4 + 4 + 4 + 3) * (4 + 4 + 4 + 3));
    }

    /// What stands behind a word's end is a token's text for each piece of a text, or a token for each of its bytes.
    #[test]
    fn a_suffix_is_refused() {
        for none in [json!(""), Value::Null] {
            assert!(with_field("end_of_word_suffix", none).is_ok());
        }
        let refused = with_field("end_of_word_suffix", json!("</w>"));
        assert_eq!(refused, Err("the model has an end_of_word_suffix".into()));
    }

    /// The check of a model with this field.
    fn with_field(field: &str, value: Value) -> Result<usize, String> {
        let mut model = json!({"vocab": {"a": 0, "b": 1, "ab": 2}, "merges": []});
        model[field] = value;
        growth(json!({"model": model}).to_string().as_bytes())
    }

    /// The crate holds whatever a file has in trees of dozens of times its size, before it looks whether it knows it.
    #[test]
    fn only_known_fields_of_moderate_size_are_read() {
        for merges in [json!([["a", "b"]]), json!(["a b"])] {
            assert_eq!(with_field("merges", merges), Ok(1));
        }
        let long = "a".repeat(2 * MAX_TOKEN + 2);
        for merge in [
            json!([]),
            json!(["a"]),
            json!(["a", "b", "c"]),
            json!([[], []]),
            json!(5),
            json!(long),
        ] {
            assert!(with_field("merges", json!([merge])).is_err(), "{merge}");
        }
        assert!(
            with_field("others", json!([[], []]))
                .is_err_and(|e| e.contains("unknown field `others`"))
        );
        let mut token = one_added("a", false, false);
        token["others"] = json!([[], []]);
        refused("/added_tokens", &json!([token]));
        let parts = ["normalizer", "pre_tokenizer", "post_processor", "decoder"];
        for (part, kind) in parts
            .into_iter()
            .zip(["NFC", "Digits", "ByteLevel", "Fuse"])
        {
            let of = |bytes: usize| {
                let spaced = format!(
                    r#"{{"type": "{kind}"{:spaces$}}}"#,
                    "",
                    spaces = bytes - 12 - kind.len()
                );
                assert_eq!(spaced.len(), bytes);
                check(
                    format!(r#"{{"{part}": {spaced}, "model": {{"vocab": {{}}, "merges": []}}}}"#)
                        .as_bytes(),
                )
            };
            assert!(of(MAX_PART).is_ok(), "{part}");
            let refused = of(MAX_PART + 1);
            assert!(
                refused.is_err_and(|e| e.contains("more than the 65536")),
                "{part}"
            );
        }
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

    /// As Llama 3's file, whose post-processor puts a token before the text.
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
            let tokens = tokenizer.encode_text(text).unwrap();
            assert_eq!(tokens.len(), text.len());
            assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
            assert_eq!(
                tokenizer.encode(text).unwrap(),
                [&[256], &tokens[..]].concat()
            );
        }
    }

    /// A template can have the text twice.
    #[test]
    fn a_post_processor_does_not_repeat_the_text() {
        let text = json!({"Sequence": {"id": "A", "type_id": 0}});
        let template = json!({
            "type": "TemplateProcessing", "pair": [], "single": [text, text],
            "special_tokens": {},
        });
        refused("/post_processor", &template);
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
