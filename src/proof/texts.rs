//! A statement's tokens as text, for people to read.
//!
//! The statement is about tokens; their text is the tokenizer's. Both files come from elsewhere, and the text's length is
//! a product of a length in each, so it is read only where that is affordable ([`Tokenizer::read`]).

use super::key::KeyError;
use super::models::{KeyFile, OpenedModel};
use super::statement::Statement;
use crate::model::{ChatTemplate, Tokenizer, TokenizerError};

/// Prompt and output as text, and whether the prompt's tokens are those of its text. `None` where a text is too
/// long to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    pub prompt: Option<String>,
    pub output: Option<String>,
    pub own_tokens: Option<bool>,
}

impl KeyFile {
    /// The tokenizer, if it is the one that the manifest names: its bytes are, before they are read, and its canonical
    /// form is.
    ///
    /// # Errors
    /// [`KeyError::OtherTokenizer`] and [`KeyError::Tokenizer`].
    pub fn read_tokenizer(&self) -> Result<Tokenizer, KeyError> {
        let named = self.key.manifest.tokenizer;
        if Tokenizer::digest_of(&self.tokenizer) != named {
            return Err(KeyError::OtherTokenizer);
        }
        let tokenizer = Tokenizer::from_json(&self.tokenizer)?;
        match tokenizer.digest() == named {
            true => Ok(tokenizer),
            false => Err(KeyError::OtherTokenizer),
        }
    }

    /// The chat template, if the model has one and this is the one that the manifest names.
    ///
    /// # Errors
    /// [`KeyError::OtherChatTemplate`] and [`KeyError::ChatTemplate`].
    pub fn read_chat_template(&self) -> Result<Option<ChatTemplate>, KeyError> {
        read_chat_template(
            self.key.manifest.chat_template,
            self.chat_template.as_deref(),
        )
    }
}

impl OpenedModel {
    /// As [`KeyFile::read_chat_template`].
    ///
    /// # Errors
    /// As there.
    pub fn read_chat_template(&self) -> Result<Option<ChatTemplate>, KeyError> {
        let manifest = &self.committed.manifest;
        read_chat_template(manifest.chat_template, self.chat_template.as_deref())
    }
}

fn read_chat_template(
    named: Option<[u8; 32]>,
    bytes: Option<&[u8]>,
) -> Result<Option<ChatTemplate>, KeyError> {
    if bytes.map(ChatTemplate::digest_of) != named {
        return Err(KeyError::OtherChatTemplate);
    }
    Ok(bytes.map(ChatTemplate::from_bytes).transpose()?)
}

impl Texts {
    /// The texts of a statement. A prompt whose tokens are `wanted` has the tokenizer's own, however long it is.
    ///
    /// # Errors
    /// As [`Tokenizer::read`].
    pub fn new(
        tokenizer: &Tokenizer,
        statement: &Statement,
        wanted: Option<&[u32]>,
    ) -> Result<Self, TokenizerError> {
        let (prompt, own) = tokenizer.read(&statement.prompt)?.unzip();
        let output = tokenizer.read(&statement.output)?;
        let wanted = wanted.filter(|tokens| *tokens == statement.prompt);
        Ok(Self {
            prompt,
            output: output.map(|(text, _)| text),
            own_tokens: wanted.map(|_| true).or(own),
        })
    }
}
