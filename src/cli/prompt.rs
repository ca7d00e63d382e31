//! How a prompt is given: as text, as tokens, or as the messages of a chat.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args as ClapArgs;

use super::Failure;
use crate::files;
use crate::model::{ChatError, ChatTemplate, Date, Messages, Tokenizer};
use crate::proof::{KeyError, OpenedModel};

/// The largest file of a prompt: longer than any context.
const MAX_FILE: u64 = 1 << 26;

/// One way to give a prompt.
#[derive(Debug, ClapArgs)]
pub struct PromptArgs {
    /// The prompt, as it is.
    #[arg(long, value_name = "TEXT", group = "source")]
    prompt: Option<String>,
    /// A file with the prompt, in UTF-8, to the last byte. - is the standard input.
    #[arg(long, value_name = "FILE", group = "source")]
    prompt_file: Option<PathBuf>,
    /// The prompt's token ids: 1,2,3. No tokenizer is asked.
    #[arg(long, value_name = "IDS", value_delimiter = ',', group = "source")]
    prompt_tokens: Option<Vec<u32>>,
    /// A user's message, of which the model's chat template makes the prompt.
    #[arg(long, value_name = "TEXT", group = "source")]
    user: Option<String>,
    /// The system's message before it.
    // clap waives `requires` where the required option conflicts with one that is given.
    #[arg(long, value_name = "TEXT", requires = "user", conflicts_with_all = ["prompt", "prompt_file", "prompt_tokens", "messages"])]
    system: Option<String>,
    /// A file with the messages of a chat in OpenAI's JSON, of which the model's chat template makes the prompt.
    /// - is the standard input.
    #[arg(long, value_name = "FILE", group = "source")]
    messages: Option<PathBuf>,
    /// The day that a chat template takes for today [default: today in UTC]. A verifier must give the prover's.
    #[arg(long, value_name = "YYYY-MM-DD", requires = "source", conflicts_with_all = ["prompt", "prompt_file", "prompt_tokens"])]
    date: Option<Date>,
}

/// A prompt as it was given.
pub enum Given {
    Text(String),
    Tokens(Vec<u32>),
    Chat(Messages, Date),
}

/// Where tokenizer and template are from, which are to make tokens of it.
pub struct Source<'a> {
    pub tokenizer: &'a Tokenizer,
    pub template: Result<Option<ChatTemplate>, KeyError>,
    /// Whether they are somebody else's, whose template may make much of little.
    pub foreign: bool,
}

impl<'a> Source<'a> {
    /// That of the model which is to answer.
    pub fn own(model: &OpenedModel, tokenizer: &'a Tokenizer) -> Self {
        Self {
            tokenizer,
            template: model.read_chat_template(),
            foreign: false,
        }
    }
}

/// A prompt's text and its tokens.
pub struct Prompt {
    pub text: String,
    pub tokens: Vec<u32>,
}

impl PromptArgs {
    /// What was given, if something was. Files are read.
    ///
    /// # Errors
    /// A file that cannot be read, and messages that are none.
    pub fn read(&self) -> Result<Option<Given>, Failure> {
        let chat = |messages| Given::Chat(messages, self.date.unwrap_or_else(Date::today));
        if let Some(prompt) = &self.prompt {
            return Ok(Some(Given::Text(prompt.clone())));
        }
        if let Some(path) = &self.prompt_file {
            let text = String::from_utf8(content(path)?);
            let text = text.map_err(|_| format!("{}: not UTF-8", path.display()))?;
            return Ok(Some(Given::Text(text)));
        }
        if let Some(tokens) = &self.prompt_tokens {
            return Ok(Some(Given::Tokens(tokens.clone())));
        }
        if let Some(user) = &self.user {
            let messages = Messages::of_user(user, self.system.as_deref());
            return Ok(Some(chat(messages)));
        }
        let Some(path) = &self.messages else {
            return Ok(None);
        };
        let messages = Messages::from_json(&content(path)?);
        let messages = messages.map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Some(chat(messages)))
    }
}

/// A file's content; `-` is the standard input.
fn content(path: &Path) -> Result<Vec<u8>, Failure> {
    let named = |e| format!("{}: {e}", path.display());
    let mut content = Vec::new();
    let read = if path == Path::new("-") {
        let stdin = std::io::stdin().lock();
        stdin.take(MAX_FILE + 1).read_to_end(&mut content)
    } else {
        let file = files::open(path).map_err(named)?;
        file.take(MAX_FILE + 1).read_to_end(&mut content)
    };
    read.map_err(named)?;
    match content.len() as u64 > MAX_FILE {
        true => Err(format!("{}: more than {MAX_FILE} bytes", path.display()).into()),
        false => Ok(content),
    }
}

impl Given {
    /// The prompt that it is for a model.
    ///
    /// # Errors
    /// Where there is no template for messages, or template or tokenizer refuse them.
    pub fn prompt(&self, source: Source) -> Result<Prompt, Failure> {
        let tokenizer = source.tokenizer;
        let (text, tokens) = match self {
            Self::Text(text) => (text.clone(), tokenizer.encode(text)?),
            Self::Tokens(tokens) => (tokenizer.decode(tokens)?, tokens.clone()),
            Self::Chat(messages, date) => {
                let template = source.template?.ok_or(ChatError::NoTemplate)?;
                let text = template.render(messages, *date)?;
                let tokens = match source.foreign {
                    true => tokenizer.encode_foreign(&text, messages.bytes())?,
                    false => tokenizer.encode_text(&text)?,
                };
                (text, tokens)
            }
        };
        Ok(Prompt { text, tokens })
    }
}
