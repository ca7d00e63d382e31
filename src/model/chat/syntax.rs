//! A template's text, made ready for the parser of `minijinja`.
//!
//! That parser reads Jinja's language but for a few corners, in which its tokens tell what is refused here. And it
//! calls itself for each `not`, `-`, `elif` and the like, so there are at most so many of them.

use std::ops::Range;

use minijinja::machinery::{Token, ast, parse, tokenize};
use minijinja::syntax::SyntaxConfig;

use super::fault::{Fault, Reason, failed, unsupported};

/// The most tokens within one tag.
const MAX_TAG: usize = 1 << 12;
/// The most `elif` of a template.
const MAX_BRANCHES: usize = 500;

/// The tags that begin something, with those that end it. (`set` may have no end.)
const BEGINNINGS: [(&str, &str); 6] = [
    ("for", "endfor"),
    ("if", "endif"),
    ("set", "endset"),
    ("with", "endwith"),
    ("macro", "endmacro"),
    ("generation", "endgeneration"),
];
const OTHERS: [&str; 4] = ["else", "elif", "break", "continue"];

/// How `transformers` has its environment.
fn configuration() -> SyntaxConfig {
    let mut builder = SyntaxConfig::builder();
    let builder = builder.trim_blocks(true).lstrip_blocks(true);
    builder.build().expect("the usual delimiters")
}

/// Brings a template into the form that [`parsed`] takes: with newlines as Jinja reads them, and `with` in the place of
/// `generation`, which marks the parts that are to be learned and else means no more than a scope.
///
/// # Errors
/// What would be read otherwise than Jinja reads it.
pub(super) fn prepared(template: &str) -> Result<String, Fault> {
    let template = template.replace("\r\n", "\n").replace('\r', "\n");
    if let Some(c) = template.chars().find(|c| ('\u{1c}'..='\u{1f}').contains(c)) {
        return Err(unsupported(format!("the character {c:?}")));
    }
    let mut marks = Vec::new();
    let mut tags = Tags::default();
    let mut before = None;
    for token in tokenize(&template, false, configuration()) {
        let (token, span) = token.map_err(|e| syntax(&e))?;
        let place = span.start_offset as usize..span.end_offset as usize;
        let read = tags.read(&token, before.as_ref(), &template[place.clone()]);
        read.map_err(|fault| fault.at(span.start_line.into()))?;
        if let (Some(Token::BlockStart), Token::Ident("generation" | "endgeneration")) =
            (&before, &token)
        {
            marks.push(place);
        }
        before = Some(token);
    }
    raw(&template)?;
    tags.end()?;
    Ok(with_scopes(&template, &marks))
}

/// The text with `with` and `endwith` in these places.
fn with_scopes(template: &str, marks: &[Range<usize>]) -> String {
    let mut text = String::with_capacity(template.len());
    let mut from = 0;
    for mark in marks {
        text += &template[from..mark.start];
        text += template[mark.clone()]
            .strip_suffix("generation")
            .unwrap_or_default();
        text += "with";
        from = mark.end;
    }
    text + &template[from..]
}

/// Parses what [`prepared`] made.
///
/// # Errors
/// Where it is not in Jinja's language.
pub(super) fn parsed(prepared: &str) -> Result<ast::Stmt<'_>, Fault> {
    parse(prepared, "template", configuration()).map_err(|e| syntax(&e))
}

fn syntax(error: &minijinja::Error) -> Fault {
    let reason = error
        .detail()
        .map_or_else(|| error.to_string(), str::to_string);
    let line = error.line().and_then(|line| u32::try_from(line).ok());
    Fault {
        line,
        reason: Reason::Failed(reason),
    }
}

/// Jinja keeps the newline after `{% raw %}`.
fn raw(template: &str) -> Result<(), Fault> {
    let begins = |(at, _): (usize, &str)| {
        let rest = template[at + 2..]
            .trim_start_matches(['-', '+'])
            .trim_start();
        rest.strip_prefix("raw").is_some_and(|rest| {
            let rest = rest.trim_start();
            rest.strip_prefix('-').unwrap_or(rest).starts_with("%}")
        })
    };
    match template.match_indices("{%").any(begins) {
        true => Err(unsupported("the tag \"raw\"")),
        false => Ok(()),
    }
}

/// What has been seen of a template's tags.
#[derive(Default)]
struct Tags {
    /// What is to end, innermost last.
    open: Vec<&'static str>,
    branches: usize,
    /// Of the tag that is being read.
    tokens: usize,
    parentheses: usize,
    /// Within a `set` in which there was no `=` yet: it has an end.
    set: bool,
}

impl Tags {
    fn read(&mut self, token: &Token, before: Option<&Token>, text: &str) -> Result<(), Fault> {
        self.tokens += 1;
        if self.tokens > MAX_TAG {
            return Err(unsupported(format!("a tag of more than {MAX_TAG} tokens")));
        }
        match token {
            Token::BlockStart | Token::VariableStart | Token::TemplateData(_) => {
                self.tokens = 0;
                self.set = false;
            }
            Token::ParenOpen => self.parentheses += 1,
            Token::ParenClose => self.parentheses = self.parentheses.saturating_sub(1),
            Token::Assign if self.parentheses == 0 => self.set = false,
            Token::BlockEnd if std::mem::take(&mut self.set) => self.open.push("endset"),
            Token::String(_) => escapes(text)?,
            Token::Ident(name) if matches!(before, Some(Token::BlockStart)) => self.tag(name)?,
            _ => {}
        }
        Ok(())
    }

    fn tag(&mut self, name: &str) -> Result<(), Fault> {
        let beginning = BEGINNINGS.iter().find(|(begin, _)| *begin == name);
        match (name, beginning) {
            ("set", _) => self.set = true,
            (_, Some((_, end))) => self.open.push(end),
            _ if self.open.last() == Some(&name) => {
                self.open.pop();
            }
            _ if BEGINNINGS.iter().any(|(_, end)| *end == name) => {
                return Err(failed(format!("unexpected \"{name}\"")));
            }
            ("elif", _) => {
                self.branches += 1;
                if self.branches > MAX_BRANCHES {
                    return Err(unsupported(format!("more than {MAX_BRANCHES} elif")));
                }
            }
            ("break" | "continue", _) if self.leaves_generation() => {
                return Err(failed(format!("\"{name}\" within \"generation\"")));
            }
            _ if OTHERS.contains(&name) => {}
            _ => return Err(unsupported(format!("the tag \"{name}\""))),
        }
        Ok(())
    }

    /// Whether the innermost loop is not within the innermost `generation`.
    fn leaves_generation(&self) -> bool {
        let mut open = self.open.iter().rev();
        open.find(|end| ["endfor", "endgeneration"].contains(end)) == Some(&"endgeneration")
    }

    fn end(&self) -> Result<(), Fault> {
        match self.open.last() {
            Some(end) => Err(failed(format!("it ends without \"{end}\""))),
            None => Ok(()),
        }
    }
}

/// Refuses escapes that Python reads as another text than the parser.
fn escapes(text: &str) -> Result<(), Fault> {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            continue;
        }
        let escaped = chars.next().unwrap_or('\\');
        let surrogate = || {
            let mut digits = chars.as_str().chars();
            let first = digits.next().is_some_and(|c| c.eq_ignore_ascii_case(&'d'));
            first && digits.next().is_some_and(|c| !('0'..='7').contains(&c))
        };
        let other = "avNU/\n".contains(escaped) || !escaped.is_ascii();
        if other || escaped == 'u' && surrogate() {
            return Err(unsupported(format!("the escape \\{escaped} in a text")));
        }
    }
    Ok(())
}
