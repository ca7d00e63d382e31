//! `nanozk generate`.

use serde_json::json;

use super::args::Generate;
use super::prompt::{Given, Source};
use super::report::Report;
use super::{Failure, Outcome, stop, store};
use crate::layers;
use crate::model::Tokenizer;
use crate::store::{Progress, ProvableModel};

pub fn run(args: &Generate, report: &Report) -> Result<Outcome, Failure> {
    let given = args.prompt.read()?.expect("one way is required");
    let opened = store(report).open(args.model.name(), args.model.headroom)?;
    let ProvableModel { model, tokenizer } = opened;
    let prompt = given.prompt(Source::own(&model, &tokenizer))?;
    report.progress("generating");

    let mut shown = Shown {
        // An answer to messages stands alone.
        before: match given {
            Given::Chat(..) => "",
            Given::Text(_) | Given::Tokens(_) => &prompt.text,
        },
        printed: String::new(),
        tokenizer: &tokenizer,
        report,
    };
    let (integers, new) = (&model.model, args.max_new_tokens as usize);
    let told = |tokens: &[u32]| shown.show(tokens);
    let answer = layers::generate_telling(integers, model.op_tables(), &prompt.tokens, new, told);
    let answer = answer.inspect_err(|_| shown.end(""))?;
    let end = answer.output.last().copied().filter(|_| answer.stopped);
    let answer = answer.output;
    let output = tokenizer.decode(&answer)?;
    let json = json!({
        "model_id": model.committed.id.to_string(),
        "prompt": prompt.text,
        "output": output,
        "prompt_tokens": prompt.tokens,
        "output_tokens": answer,
        "stop": stop::to_json(end),
        "tokens_in": prompt.tokens.len(),
        "tokens_out": answer.len(),
    });
    let human = format!("{}{output}", shown.before);
    if shown.printed.is_empty() {
        report.result(&json, &human)?;
    } else {
        shown.end(&human);
    }
    report.detail(&stop::in_words(end));
    Ok(Outcome::Success)
}

/// An answer that is shown as it grows, where a person reads it.
struct Shown<'a> {
    /// What it is the continuation of.
    before: &'a str,
    printed: String,
    tokenizer: &'a Tokenizer,
    report: &'a Report,
}

impl Shown<'_> {
    /// Shows what is new in the answer, up to what may still change: a character of which some bytes are missing, and
    /// whitespace, with which it may end.
    fn show(&mut self, answer: &[u32]) {
        let Ok(text) = self.tokenizer.decode(answer) else {
            return;
        };
        let text = format!("{}{text}", self.before);
        let settled = text.trim_end_matches(|c: char| c == '\u{fffd}' || c.is_whitespace());
        if let Some(new) = settled.strip_prefix(&*self.printed)
            && self.report.piece(new)
        {
            self.printed += new;
        }
    }

    /// Shows the rest of a whole text, and ends the line.
    fn end(&self, text: &str) {
        if !self.printed.is_empty() {
            let rest = text.trim_end().strip_prefix(&*self.printed);
            self.report
                .piece(&format!("{}\n", rest.unwrap_or_default()));
        }
    }
}
