//! Text to token ids and back.

use std::collections::BTreeMap;

use serde_json::json;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokenizers::{ModelWrapper, PostProcessorWrapper};

use super::chat::SourceError;
use super::config::Shown;
use super::pipeline::{self, Parts};
use super::post_processor::Around;
use super::tokenizer_config::TokenizerConfig;
use super::tokenizer_parts::byte_level;

/// The largest file of a tokenizer. Gemma 3's, among the largest published, has 33 MB.
const MAX_FILE: usize = 1 << 26;

/// How many bytes a foreign text may take as the model is given it, in all of its pieces, where a verifier encodes it
/// again: at most about 170 bytes of memory each (`tests/costs.rs`).
const MAX_ENCODED: usize = 1 << 19;

/// What any tokenizer counts as. A piece takes more memory than its bytes do: where it may be a single byte of the
/// text, nothing that makes the text longer keeps the pieces fewer than [`MAX_ENCODED`].
const LEAST_GROWTH: usize = 2;

/// A tokenizer, held in canonical form: without truncation and padding, serialized as compact
/// JSON by the `tokenizers` crate. Reading that JSON gives the same tokenizer and the same bytes.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    json: Vec<u8>,
    /// How many times as long a text may become before the model is given it.
    growth: usize,
    /// What is put around a prompt.
    around: Around,
}

/// Why a tokenizer is refused, or cannot do its work.
#[derive(Debug, Error)]
pub enum TokenizerError {
    #[error(
        "not a BPE tokenizer of supported parts ({0}): download the file again, or use a model with another tokenizer"
    )]
    Unreadable(String),
    #[error(
        "{0} bytes are more than the {MAX_FILE} that the largest published tokenizers stay below: use a model with \
         another tokenizer"
    )]
    TooLarge(usize),
    #[error("merges.txt, line {line}: expected two tokens separated by a space")]
    Merge { line: usize },
    #[error("BPE dropout {0} makes the encoding random: remove \"dropout\" from the tokenizer")]
    Dropout(f32),
    #[error(
        "token \"{token}\" has id {id}, but the model's vocabulary ends at {vocabulary}: the tokenizer belongs to another model"
    )]
    BeyondVocabulary {
        token: String,
        id: u32,
        vocabulary: usize,
    },
    #[error(
        "a text of {bytes} bytes, made of {of}: its tokens would cost too much memory to be looked for. Compare the \
         prompt's tokens themselves, by --prompt-tokens"
    )]
    TooLong { bytes: usize, of: usize },
    #[error(
        "\"{key}\" is {value}, but only {supported} is supported: prompts would have other tokens"
    )]
    Key {
        key: String,
        value: Shown,
        supported: String,
    },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("the text cannot be encoded: {0}")]
    Encode(String),
    #[error("the tokens cannot be decoded: {0}")]
    Decode(String),
}

impl Tokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError::Unreadable`], [`TokenizerError::TooLarge`] or [`TokenizerError::Dropout`].
    pub fn from_json(json: &[u8]) -> Result<Self, TokenizerError> {
        if json.len() > MAX_FILE {
            return Err(TokenizerError::TooLarge(json.len()));
        }
        let Parts { growth, around } = pipeline::check(json).map_err(TokenizerError::Unreadable)?;
        let growth = growth.max(LEAST_GROWTH);
        let unreadable = |e: tokenizers::Error| TokenizerError::Unreadable(e.to_string());
        let mut inner = tokenizers::Tokenizer::from_bytes(json).map_err(unreadable)?;
        inner.with_truncation(None).map_err(unreadable)?;
        inner.with_padding(None);
        // A model without its type may be read as another that has the same fields and more.
        let ModelWrapper::BPE(bpe) = inner.get_model() else {
            return Err(TokenizerError::Unreadable("the model is not BPE".into()));
        };
        if let Some(dropout) = bpe.dropout.filter(|p| *p != 0.0) {
            return Err(TokenizerError::Dropout(dropout));
        }
        if !ids_are_contiguous(&inner) {
            let reason = "the ids of n tokens are not 0 to n - 1, each once";
            return Err(TokenizerError::Unreadable(reason.into()));
        }
        let json = inner.to_string(false).map_err(unreadable)?.into_bytes();
        // What it does to offsets and tokens is not asked for: `around` has it.
        inner.with_post_processor(None::<PostProcessorWrapper>);
        Ok(Self {
            inner,
            json,
            growth,
            around,
        })
    }

    /// Reads GPT-2's older pair of files, `vocab.json` and `merges.txt`: byte-level BPE.
    ///
    /// # Errors
    /// [`TokenizerError::Unreadable`] or [`TokenizerError::Merge`].
    pub fn from_vocabulary(vocabulary: &[u8], merges: &[u8]) -> Result<Self, TokenizerError> {
        let json = Self::vocabulary_json(vocabulary, merges)?;
        Self::from_json(&TokenizerConfig::gpt2().apply(&json)?)
    }

    /// The same pair as a `tokenizer.json` with a decoder, to which the class adds the rest.
    pub(super) fn vocabulary_json(
        vocabulary: &[u8],
        merges: &[u8],
    ) -> Result<Vec<u8>, TokenizerError> {
        let unreadable = |e: &dyn std::fmt::Display| TokenizerError::Unreadable(e.to_string());
        let vocabulary: BTreeMap<String, u32> =
            serde_json::from_slice(vocabulary).map_err(|e| unreadable(&e))?;
        let merges = std::str::from_utf8(merges).map_err(|e| unreadable(&e))?;
        let merges = parse_merges(merges)?;
        let decoder = byte_level(false, true);
        let model = json!({"type": "BPE", "vocab": vocabulary, "merges": merges});
        let json = json!({"version": "1.0", "decoder": decoder, "model": model});
        Ok(json.to_string().into_bytes())
    }

    /// The token ids of a prompt: of its text, and around them those that the tokenizer puts around every text, as
    /// `<s>`.
    ///
    /// # Errors
    /// As [`Self::encode_text`].
    pub fn encode(&self, prompt: &str) -> Result<Vec<u32>, TokenizerError> {
        let Around { before, behind } = &self.around;
        Ok([&before[..], &self.encode_text(prompt)?, behind].concat())
    }

    /// The token ids of `text` alone, which may name special tokens.
    ///
    /// # Errors
    /// [`TokenizerError::Encode`] where the text has a character the vocabulary cannot express.
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.inner.encode_fast(text, false);
        let encoding = encoding.map_err(|e| TokenizerError::Encode(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// [`Self::encode_text`] of a text that somebody else made of `of` bytes: at most twice as long, or short enough to be
    /// encoded at a moderate cost.
    ///
    /// # Errors
    /// [`TokenizerError::TooLong`], and as there.
    pub fn encode_foreign(&self, text: &str, of: usize) -> Result<Vec<u32>, TokenizerError> {
        let bytes = text.len();
        match self.is_affordable(bytes) || bytes <= of.saturating_mul(2) {
            true => self.encode_text(text),
            false => Err(TokenizerError::TooLong { bytes, of }),
        }
    }

    /// Whether a verifier encodes a text of that length, whoever it is from.
    fn is_affordable(&self, bytes: usize) -> bool {
        bytes.saturating_mul(self.growth) <= MAX_ENCODED
    }

    /// The text of `tokens`, special tokens included. A token that the tokenizer does not know
    /// (a model's vocabulary may be padded) appears as `<|token N|>`; bytes that are not UTF-8 as
    /// U+FFFD.
    ///
    /// # Errors
    /// [`TokenizerError::Decode`] where the `tokenizers` crate fails.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TokenizerError> {
        let known = |token: &u32| self.inner.id_to_token(*token).is_some();
        let mut text = String::new();
        for run in tokens.chunk_by(|a, b| known(a) && known(b)) {
            if known(&run[0]) {
                let decoded = self.inner.decode(run, false);
                text += &decoded.map_err(|e| TokenizerError::Decode(e.to_string()))?;
            } else {
                text += &unknown(run[0]);
            }
        }
        Ok(text)
    }

    /// [`Self::decode`] for tokens that somebody else chose, and whether [`Self::encode_text`] makes the same tokens of their
    /// text. (Others may have the same text: the letters of a word, where the vocabulary has the word.) `None` where the
    /// text is too long to be read at a moderate cost: a token may have a long text, and stand in every place.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn read(&self, tokens: &[u32]) -> Result<Option<(String, bool)>, TokenizerError> {
        let stored = |token: &u32| match self.inner.id_to_token(*token) {
            Some(text) => text.len(),
            None => unknown(*token).len(),
        };
        if !self.is_affordable(tokens.iter().map(stored).sum()) {
            return Ok(None);
        }
        let text = self.decode(tokens)?;
        if !self.is_affordable(text.len()) {
            return Ok(None);
        }
        // The text names the tokens that were put around it.
        let own = self.encode_text(&text).is_ok_and(|again| again == tokens);
        Ok(Some((text, own)))
    }

    /// The number of tokens.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Checks that every token id is below `vocabulary`, the model's number of embeddings.
    ///
    /// # Errors
    /// [`TokenizerError::BeyondVocabulary`], naming the largest id.
    pub fn check_vocabulary(&self, vocabulary: usize) -> Result<(), TokenizerError> {
        let around = self.around.before.iter().chain(&self.around.behind);
        let around = around.map(|id| (unknown(*id), *id));
        let tokens = self.inner.get_vocab(true).into_iter().chain(around);
        match tokens.max_by_key(|(_, id)| *id) {
            Some((token, id)) if id as usize >= vocabulary => {
                Err(TokenizerError::BeyondVocabulary {
                    token,
                    id,
                    vocabulary,
                })
            }
            _ => Ok(()),
        }
    }

    /// The canonical JSON, which [`Tokenizer::from_json`] reads.
    pub fn to_json(&self) -> Vec<u8> {
        self.json.clone()
    }

    /// SHA-256 of the canonical JSON.
    pub fn digest(&self) -> [u8; 32] {
        Self::digest_of(&self.json)
    }

    /// What [`Self::digest`] is of a tokenizer whose canonical JSON this is.
    pub fn digest_of(json: &[u8]) -> [u8; 32] {
        Sha256::digest(json).into()
    }
}

/// What stands for a token that the tokenizer does not know.
fn unknown(token: u32) -> String {
    format!("<|token {token}|>")
}

/// Whether the model's tokens have the ids from 0 on, each once. The crate writes one token per id: a
/// second would be lost, and for an absent one it complains on the standard output.
fn ids_are_contiguous(tokenizer: &tokenizers::Tokenizer) -> bool {
    let vocabulary = tokenizer.get_vocab(false);
    let mut seen = vec![false; vocabulary.len()];
    vocabulary.values().all(|id| {
        let place = seen.get_mut(*id as usize);
        place.is_some_and(|seen| !std::mem::replace(seen, true))
    })
}

/// The pairs of a `merges.txt`, of which lines that begin with `#version` are none, wherever they are.
fn parse_merges(text: &str) -> Result<Vec<(&str, &str)>, TokenizerError> {
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with("#version"))
        .map(|(i, line)| match line.split_once(' ') {
            Some((a, b)) if !a.is_empty() && !b.is_empty() && !b.contains(' ') => Ok((a, b)),
            _ => Err(TokenizerError::Merge { line: i + 1 }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::synthetic;

    const END_OF_TEXT: &str = "<|endoftext|>";

    /// "hello" from the bytes up, so that merging has something to do.
    fn hello() -> (String, &'static str) {
        let mut vocabulary = synthetic::byte_vocabulary();
        for (i, token) in ["he", "ll", "hell", "hello", "Ġhello"].iter().enumerate() {
            vocabulary.insert(token.to_string(), 257 + i as u32);
        }
        let merges = "#version: 0.2\nh e\nl l\nhe ll\nhell o\nĠ hello\n";
        (serde_json::to_string(&vocabulary).unwrap(), merges)
    }

    fn tokenizer() -> Tokenizer {
        let (vocabulary, merges) = hello();
        Tokenizer::from_vocabulary(vocabulary.as_bytes(), merges.as_bytes()).unwrap()
    }

    #[test]
    fn merges_apply_and_no_space_is_put_before_the_text() {
        let tokenizer = tokenizer();
        assert_eq!(tokenizer.encode("hello").unwrap(), [260]);
        assert_eq!(tokenizer.encode("hello hello").unwrap(), [260, 261]);
        assert_eq!(tokenizer.encode("").unwrap(), [] as [u32; 0]);
        assert_eq!(tokenizer.encode(END_OF_TEXT).unwrap(), [256]);
        assert_eq!(tokenizer.vocab_size(), 262);
    }

    /// Around a prompt, not around a text that names them itself; and they count as tokens of the vocabulary.
    #[test]
    fn a_post_processor_puts_tokens_around_a_prompt() {
        let plain = tokenizer();
        let mut json: serde_json::Value = serde_json::from_slice(&plain.to_json()).unwrap();
        let [text, end] = [
            json!({"Sequence": {"id": "A", "type_id": 0}}),
            json!({"SpecialToken": {"id": END_OF_TEXT, "type_id": 0}}),
        ];
        json["post_processor"] = json!({
            "type": "TemplateProcessing", "single": [end, text, end], "pair": [text, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {END_OF_TEXT: {"id": END_OF_TEXT, "ids": [256, 999], "tokens": [END_OF_TEXT, "x"]}},
        });
        let around = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
        assert_eq!(around.encode("hello").unwrap(), [256, 999, 260, 256, 999]);
        assert_eq!(around.encode("").unwrap(), [256, 999, 256, 999]);
        assert_eq!(around.encode_text("hello").unwrap(), [260]);
        assert!(around.check_vocabulary(1000).is_ok());
        let beyond = around.check_vocabulary(999).unwrap_err().to_string();
        assert!(beyond.contains("999"), "{beyond}");
        // It is part of what the id binds, and survives being written.
        let again = Tokenizer::from_json(&around.to_json()).unwrap();
        assert_eq!(
            again.encode("hello").unwrap(),
            around.encode("hello").unwrap()
        );
        assert_ne!(around.digest(), plain.digest());
        // As a verifier sees it: the text names the token.
        json["post_processor"]["special_tokens"][END_OF_TEXT] =
            json!({"id": END_OF_TEXT, "ids": [256], "tokens": [END_OF_TEXT]});
        let around = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
        let tokens = around.encode("hello").unwrap();
        let text = format!("{END_OF_TEXT}hello{END_OF_TEXT}");
        assert_eq!(around.read(&tokens).unwrap(), Some((text, true)));
    }

    /// Any text survives the round trip: the vocabulary has every byte.
    #[test]
    fn decoding_inverts_encoding() {
        let tokenizer = tokenizer();
        for text in [
            "hello",
            "  two  spaces\n\ttab ",
            "naïve — 東京 🦀\u{0}\u{7f}",
            END_OF_TEXT,
        ] {
            let tokens = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
        }
    }

    /// A verifier shows the proved tokens as text: none may vanish from it.
    #[test]
    fn unknown_tokens_and_broken_utf8_are_shown() {
        let tokenizer = tokenizer();
        assert_eq!(
            tokenizer.decode(&[260, 999, 1000, 261]).unwrap(),
            "hello<|token 999|><|token 1000|> hello"
        );
        let crab = tokenizer.encode("🦀").unwrap();
        assert!(tokenizer.decode(&crab[..2]).unwrap().contains('\u{fffd}'));
    }

    #[test]
    fn the_canonical_form_is_a_fixed_point() {
        let tokenizer = tokenizer();
        let again = Tokenizer::from_json(&tokenizer.to_json()).unwrap();
        assert_eq!(again.to_json(), tokenizer.to_json());
        assert_eq!(again.digest(), tokenizer.digest());
        let other = synthetic::tokenizer();
        assert_ne!(other.digest(), tokenizer.digest());
    }

    /// A tokenizer.json saved with truncation or padding would silently change prompts.
    #[test]
    fn truncation_and_padding_are_dropped() {
        let plain = tokenizer();
        let mut json: serde_json::Value = serde_json::from_slice(&plain.to_json()).unwrap();
        json["truncation"] = json!({
            "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0,
        });
        json["padding"] = json!({
            "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "!",
        });
        let changed = Tokenizer::from_json(json.to_string().as_bytes()).unwrap();
        assert_eq!(changed.digest(), plain.digest());
        assert_eq!(changed.encode("hello hello hello").unwrap().len(), 3);
    }

    /// A word in one token has the text of its letters, but only the one is what the text encodes to.
    #[test]
    fn a_texts_own_encoding_is_told_from_others() {
        let tokenizer = tokenizer();
        let letters = synthetic::tokenizer().encode("hello").unwrap();
        assert_eq!(tokenizer.decode(&letters).unwrap(), "hello");
        for (tokens, own) in [
            (&[260][..], true),
            (&[260, 261], true),
            (&[], true),
            (&letters[..], false),
            (&[259, letters[4]], false),
            (&[999], false),
        ] {
            let text = tokenizer.decode(tokens).unwrap();
            assert_eq!(
                tokenizer.read(tokens).unwrap(),
                Some((text, own)),
                "{tokens:?}"
            );
        }
    }

    /// A thousand places of a token of a thousand bytes are a text that nobody wants to read, and that would take a
    /// hundred times its length in memory. What counts is the length before and after decoding.
    #[test]
    fn a_text_of_long_tokens_is_not_read() {
        let mut vocabulary = synthetic::byte_vocabulary();
        vocabulary.insert("a".repeat(1 << 10), 257);
        // A byte that begins a character of two: alone it is none, and three bytes stand for it.
        let broken = vocabulary["Ã"];
        let vocabulary = serde_json::to_string(&vocabulary).unwrap();
        let tokenizer = Tokenizer::from_vocabulary(vocabulary.as_bytes(), b"").unwrap();
        let most = (MAX_ENCODED / 2) >> 10;
        let read = |tokens: &[u32]| tokenizer.read(tokens).unwrap().map(|(text, _)| text.len());
        assert_eq!(read(&vec![257; most]), Some(most << 10));
        assert_eq!(read(&vec![257; most + 1]), None);
        let unknown = MAX_ENCODED / 2 / "<|token 1000|>".len();
        assert!(read(&vec![1000; unknown]).is_some());
        assert_eq!(read(&vec![1000; unknown + 1]), None);
        let broken = vec![broken; MAX_ENCODED / 2 / 3 + 1];
        assert!(tokenizer.decode(&broken).unwrap().len() > MAX_ENCODED / 2);
        assert_eq!(read(&broken), None);
    }

    /// A merge left out or read as another would change the encoding of every text that has it.
    #[test]
    fn merges_are_two_tokens_a_line() {
        assert_eq!(
            parse_merges("h e\n\nl l\n\n").unwrap(),
            [("h", "e"), ("l", "l")]
        );
        // As in the `tokenizers` crate, with which Python reads the file.
        let text = "#version: 0.2\nh e\n#version x\n# x\n";
        assert_eq!(parse_merges(text).unwrap(), [("h", "e"), ("#", "x")]);
        for bad in ["ab", " b", "a ", " ", "a b c", "a  b", "a b "] {
            let text = format!("h e\n{bad}\n");
            let found = parse_merges(&text);
            assert!(
                matches!(found, Err(TokenizerError::Merge { line: 2 })),
                "{bad:?}: {found:?}"
            );
        }
    }

    #[test]
    fn malformed_files_are_refused() {
        let (vocabulary, _) = hello();
        let with =
            |merges: &str| Tokenizer::from_vocabulary(vocabulary.as_bytes(), merges.as_bytes());
        assert!(matches!(
            with("#version: 0.2\nh e\nhello\n"),
            Err(TokenizerError::Merge { line: 3 })
        ));
        // A merge whose parts are not in the vocabulary.
        assert!(matches!(
            with("xx yy\n"),
            Err(TokenizerError::Unreadable(_))
        ));
        assert!(matches!(
            Tokenizer::from_vocabulary(b"[1, 2]", b""),
            Err(TokenizerError::Unreadable(_))
        ));
        assert!(matches!(
            Tokenizer::from_vocabulary(b"{\"a\": -1}", b""),
            Err(TokenizerError::Unreadable(_))
        ));
        for json in [&b""[..], b"{}", b"null", b"\xff"] {
            assert!(matches!(
                Tokenizer::from_json(json),
                Err(TokenizerError::Unreadable(_))
            ));
        }
        let large = vec![b' '; MAX_FILE + 1];
        assert!(matches!(
            Tokenizer::from_json(&large),
            Err(TokenizerError::TooLarge(_))
        ));
        let mut random: serde_json::Value = serde_json::from_slice(&tokenizer().to_json()).unwrap();
        random["model"]["dropout"] = json!(0.5);
        assert!(matches!(
            Tokenizer::from_json(random.to_string().as_bytes()),
            Err(TokenizerError::Dropout(_))
        ));
    }

    /// A file with a repeated id could not be read again once it was written; a large one alone would
    /// be looked for from 0 on.
    #[test]
    fn ids_that_are_repeated_or_absent_are_refused() {
        for vocabulary in [
            r#"{"a": 0, "b": 0}"#,
            r#"{"a": 0, "b": 2}"#,
            r#"{"a": 4294967295}"#,
        ] {
            let read = Tokenizer::from_vocabulary(vocabulary.as_bytes(), b"");
            assert!(
                matches!(read, Err(TokenizerError::Unreadable(_))),
                "{vocabulary}"
            );
        }
    }

    #[test]
    fn ids_beyond_the_models_vocabulary_are_refused() {
        let tokenizer = tokenizer();
        assert!(tokenizer.check_vocabulary(262).is_ok());
        assert!(matches!(
            tokenizer.check_vocabulary(261),
            Err(TokenizerError::BeyondVocabulary { id: 261, .. })
        ));
    }
}
