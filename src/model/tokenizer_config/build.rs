//! The `tokenizer.json` that the class and the tokens make.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::keys::refusal;
use super::{Class, Token, TokenizerConfig};
use crate::model::TokenizerError;
use crate::model::chat::SPECIAL_TOKENS;
use crate::model::pipeline::QWEN2;
use crate::model::tokenizer_parts::{around, byte_level, pieces, pre_tokenizers, replace, split};

/// The place of `unk_token` in [`SPECIAL_TOKENS`].
const UNKNOWN: usize = 2;

/// A part of a file, as it stands there or another in its place.
#[derive(Serialize)]
#[serde(untagged)]
enum Part<'a> {
    Kept(&'a RawValue),
    Own(Value),
    Object(BTreeMap<String, Part<'a>>),
}

impl TokenizerConfig {
    /// The `tokenizer.json` of what `transformers` builds of a tokenizer with this one.
    ///
    /// # Errors
    /// [`TokenizerError::Unreadable`]; [`TokenizerError::Key`] for tokens whose ids or places are not clear.
    pub fn apply<'a>(&self, json: &'a [u8]) -> Result<Cow<'a, [u8]>, TokenizerError> {
        type Object<'a> = BTreeMap<String, &'a RawValue>;
        let file: Object = serde_json::from_slice(json).map_err(unreadable)?;
        let part = |name, absent| file.get(name).map_or(absent, |part| part.get());
        let own: Vec<Map<String, Value>> =
            serde_json::from_str(part("added_tokens", "[]")).map_err(unreadable)?;
        let own = own.into_iter().map(placed).collect::<Result<Vec<_>, _>>()?;
        let kept = if self.class == Class::Any {
            &own[..]
        } else {
            &[]
        };
        let wanted = self.wanted(kept, &own);
        if self.class == Class::Any && wanted.is_empty() {
            return Ok(json.into());
        }
        let model: Object = serde_json::from_str(part("model", "null")).map_err(unreadable)?;
        let vocabulary = model.get("vocab").map_or("null", |part| part.get());
        let mut added = Added::new(serde_json::from_str(vocabulary).map_err(unreadable)?);
        for (_, token) in kept {
            added.add(token.clone());
        }
        self.check_order(&wanted, &added)?;
        for token in wanted {
            added.add(token.settled());
        }
        if self.class == Class::Qwen2 {
            // It adds the special tokens once more, by their texts alone.
            for token in self.special().chain(&self.extra) {
                added.add(Token::special(&token.content).settled());
            }
        }

        let keep = |object: Object<'a>| -> BTreeMap<String, Part<'a>> {
            let parts = object.into_iter();
            parts.map(|(name, part)| (name, Part::Kept(part))).collect()
        };
        let (mut file, mut model) = (keep(file), keep(model));
        let own = |(name, part): (&str, Value)| (name.to_string(), Part::Own(part));
        let decoder = file.get("decoder").is_some_and(is_byte_level);
        let parts = self.parts().into_iter();
        let parts =
            parts.filter(|(name, _)| !(*name == "decoder" && self.class.is_of_bytes() && decoder));
        file.extend(parts.map(own));
        model.extend(self.model().into_iter().map(own));
        let around = self.post_processor(&added)?;
        file.extend(around.map(|part| ("post_processor", part)).map(own));
        file.insert("added_tokens".into(), Part::Own(added.json()));
        file.insert("model".into(), Part::Object(model));
        Ok(serde_json::to_vec(&file).map_err(unreadable)?.into())
    }

    /// The tokens to add to those that are kept, in their order; `own` are those of the file with their ids.
    fn wanted(&self, kept: &[(u64, Token)], own: &[(u64, Token)]) -> Vec<Token> {
        let listed = self.listed.clone().unwrap_or_else(|| {
            let mut tokens = self.older.clone();
            tokens.extend(own.iter().cloned());
            tokens
        });
        let is_kept = |token: &Token| {
            let settled = token.clone().settled();
            kept.iter().any(|(_, kept)| *kept == settled)
        };
        let mut wanted: Vec<Token> = listed.into_values().filter(|t| !is_kept(t)).collect();
        let kept = kept.iter().map(|(_, token)| token);
        let mut known: HashSet<String> = kept.chain(&wanted).map(|t| t.content.clone()).collect();
        let named = self.special();
        for token in named.clone().chain(&self.extra) {
            if known.insert(token.content.clone()) {
                wanted.push(token.clone());
            }
        }
        let named: HashSet<&str> = named.map(|token| token.content.as_str()).collect();
        for token in &mut wanted {
            token.special |= named.contains(token.content.as_str());
        }
        wanted
    }

    /// The special tokens with names.
    fn special(&self) -> impl Iterator<Item = &Token> + Clone {
        let others = self.others.iter().map(|(_, token)| token);
        self.named.iter().flatten().chain(others)
    }

    /// Refuses new tokens whose order is not known here: their ids follow from it.
    fn check_order(&self, wanted: &[Token], added: &Added) -> Result<(), TokenizerError> {
        let others: HashSet<&str> = self
            .others
            .iter()
            .map(|(_, t)| t.content.as_str())
            .collect();
        let new = wanted
            .iter()
            .filter(|token| added.id(&token.content).is_none());
        match new
            .map(|token| &token.content)
            .find(|content| others.contains(content.as_str()))
        {
            Some(content) => Err(refusal(
                "…_token",
                &json!(content),
                "a token of the tokenizer",
            )),
            None => Ok(()),
        }
    }

    /// The parts that the class has of its own: normalizer, pre-tokenizer and decoder.
    fn parts(&self) -> Vec<(&'static str, Value)> {
        let space = self.space == Some(true);
        let nfc = json!({"type": "NFC"});
        let bytes = byte_level(true, true);
        let (normalizer, pre_tokenizer, decoder) = match self.class {
            Class::Any => return Vec::new(),
            Class::Gpt2 => (Value::Null, byte_level(space, true), bytes),
            Class::NeoX => (nfc, byte_level(space, true), bytes),
            Class::Qwen2 => {
                let parts = [split(QWEN2), byte_level(space, false)];
                (nfc, pre_tokenizers(parts), bytes)
            }
            Class::Llama => {
                let space = self.space != Some(false);
                let scheme = match self.legacy {
                    _ if !space => "never",
                    true => "always",
                    false => "first",
                };
                let metaspace = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
                (Value::Null, metaspace, pieces(space))
            }
            Class::Gemma => {
                let split = json!({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false});
                (replace(" ", "▁"), split, pieces(false))
            }
        };
        vec![
            ("normalizer", normalizer),
            ("pre_tokenizer", pre_tokenizer),
            ("decoder", decoder),
        ]
    }

    /// What the class has of its own in the model beside vocabulary and merges.
    fn model(&self) -> Vec<(&'static str, Value)> {
        let unknown = match (self.class, &self.named[UNKNOWN]) {
            (Class::Any, _) => return Vec::new(),
            (Class::Gemma, Some(token)) => json!(token.content),
            // Python's text of a token that there is not.
            (Class::Gemma, None) => json!("None"),
            _ => Value::Null,
        };
        let pieces = !self.class.is_of_bytes();
        vec![
            ("unk_token", unknown),
            ("fuse_unk", pieces.into()),
            ("byte_fallback", pieces.into()),
            ("ignore_merges", false.into()),
        ]
    }

    /// What puts tokens around a prompt, where it is not what a `tokenizer.json` says: GPT-NeoX's class never asks it.
    fn post_processor(&self, added: &Added) -> Result<Option<Value>, TokenizerError> {
        let mut tokens = [None, None];
        for at in [0, 1] {
            let Some(Token { content, .. }) = self.named[at].as_ref().filter(|_| self.around[at])
            else {
                continue;
            };
            // It stands in a text with a grammar.
            if content.contains([' ', ':', '$']) {
                return Err(refusal(
                    SPECIAL_TOKENS[at],
                    &json!(content),
                    "a token without spaces, : and $",
                ));
            }
            tokens[at] = Some((content.as_str(), json!(added.id(content))));
        }
        Ok(match around(tokens) {
            Value::Null if self.class != Class::NeoX => None,
            part => Some(part),
        })
    }
}

/// The added tokens of a tokenizer, as they become more.
struct Added<'a> {
    vocabulary: HashMap<Cow<'a, str>, u32>,
    ids: HashMap<String, u32>,
    tokens: BTreeMap<u32, Token>,
}

impl<'a> Added<'a> {
    fn new(vocabulary: HashMap<Cow<'a, str>, u32>) -> Self {
        let (ids, tokens) = (HashMap::new(), BTreeMap::new());
        Self {
            vocabulary,
            ids,
            tokens,
        }
    }

    fn id(&self, content: &str) -> Option<u32> {
        let id = self.ids.get(content);
        id.or_else(|| self.vocabulary.get(content)).copied()
    }

    /// Adds a token under the id that its text has, or else under the next one behind all.
    fn add(&mut self, token: Token) {
        if token.content.is_empty() {
            return;
        }
        let behind = |id: u32| id.saturating_add(1);
        let next = self
            .tokens
            .last_key_value()
            .map_or(0, |(id, _)| behind(*id));
        let next = next.max(self.vocabulary.len() as u32);
        let id = self.id(&token.content).unwrap_or(next);
        self.ids.insert(token.content.clone(), id);
        self.tokens.insert(id, token);
    }

    fn json(&self) -> Value {
        let tokens = self.tokens.iter().map(|(id, token)| {
            let mut token = json!(token);
            token["id"] = (*id).into();
            token
        });
        tokens.collect()
    }
}

/// Whether a decoder is that of bytes, which is the same with all settings.
fn is_byte_level(decoder: &Part) -> bool {
    let part = match decoder {
        Part::Kept(json) => serde_json::from_str(json.get()).unwrap_or_default(),
        _ => Value::Null,
    };
    part["type"] == "ByteLevel"
}

fn unreadable(error: serde_json::Error) -> TokenizerError {
    TokenizerError::Unreadable(error.to_string())
}

/// An added token of a `tokenizer.json` with its id.
fn placed(mut fields: Map<String, Value>) -> Result<(u64, Token), TokenizerError> {
    let id = fields.remove("id").and_then(|id| id.as_u64());
    let token = serde_json::from_value::<Token>(fields.into()).map_err(unreadable)?;
    let id = id.ok_or_else(|| TokenizerError::Unreadable("an added token without an id".into()))?;
    Ok((id, token.settled()))
}
