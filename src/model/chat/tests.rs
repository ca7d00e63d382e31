//! Chats against `transformers`: `tests/reference/chat.py` made what is compared with.

use serde::Deserialize;
use serde_json::Value as Json;

use super::*;
use crate::model::Tokenizer;

#[derive(Deserialize)]
struct Reference {
    special: Vec<String>,
    date: String,
    bos_token: String,
    eos_token: String,
    templates: BTreeMap<String, String>,
    chats: BTreeMap<String, String>,
    cases: Vec<Case>,
    expression_chat: String,
    expressions: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    #[serde(default)]
    chat: String,
    text: Option<String>,
    #[serde(default)]
    ids: Vec<u32>,
    error: Option<String>,
    message: Option<String>,
}

fn reference() -> Reference {
    let stored = include_str!("../../../tests/reference/chat.json");
    serde_json::from_str(stored).expect("a reference")
}

impl Reference {
    fn tokens(&self) -> BTreeMap<String, Option<String>> {
        let mut tokens: BTreeMap<_, _> = SPECIAL_TOKENS.map(|n| (n.to_string(), None)).into();
        tokens.insert("bos_token".into(), Some(self.bos_token.clone()));
        tokens.insert("eos_token".into(), Some(self.eos_token.clone()));
        tokens
    }

    fn render(&self, template: &str, chat: &str) -> Result<String, ChatError> {
        let template = ChatTemplate::new(template.into(), self.tokens())?;
        let template = ChatTemplate::from_bytes(&template.to_bytes())?;
        let messages = Messages::from_json(chat.as_bytes())?;
        template.render(&messages, self.date.parse().expect("a day"))
    }

    /// tiny-gpt2's tokenizer with the special tokens at the end, as the reference has it.
    fn tokenizer(&self) -> Tokenizer {
        let json = include_bytes!("../../../models/tiny-gpt2/tokenizer.json");
        let mut json: Json = serde_json::from_slice(json).expect("JSON");
        let known = json["model"]["vocab"]
            .as_object()
            .expect("a vocabulary")
            .len();
        let added = json["added_tokens"].as_array_mut().expect("a list");
        for (i, token) in self.special.iter().enumerate() {
            added.push(serde_json::json!({
                "id": known + i, "content": token, "special": true, "normalized": false,
                "single_word": false, "lstrip": false, "rstrip": false,
            }));
        }
        Tokenizer::from_json(json.to_string().as_bytes()).expect("a tokenizer")
    }
}

/// What is wrong with a result, if something is: it must be the reference's text, an error where it has one, or
/// refused by a name that is listed.
fn judged(
    case: &Case,
    ours: &Result<String, ChatError>,
    refused: &[(&str, &str)],
) -> Option<String> {
    let listed = refused
        .iter()
        .find(|(template, _)| *template == case.template);
    let wrong = |what: &str| {
        Some(format!(
            "{what}\n  {}\n  {:?}\n  {:?}",
            case.template, case.text, ours
        ))
    };
    match (ours, &case.text, listed) {
        (Ok(ours), Some(text), None) if ours == text => None,
        (
            Err(ChatError::Render {
                reason: Reason::Unsupported(what),
                ..
            }),
            Some(_),
            Some((_, name)),
        ) => match what.contains(name) {
            true => None,
            false => wrong("refused by another name"),
        },
        (Err(_), None, None) => None,
        (Ok(_), None, _) => wrong("the reference has an error"),
        (_, _, Some(_)) => wrong("listed as refused"),
        _ => wrong("not the same"),
    }
}

/// Text by text and token by token, as special tokens of the text are.
#[test]
fn chats_are_rendered_as_transformers_does() {
    let reference = reference();
    let tokenizer = reference.tokenizer();
    let mut wrong = Vec::new();
    for case in &reference.cases {
        let chat = &reference.chats[&case.chat];
        let ours = reference.render(&reference.templates[&case.template], chat);
        wrong.extend(judged(case, &ours, &[]));
        if let Ok(text) = ours {
            let ids = tokenizer.encode(&text).expect("every byte has a token");
            assert_eq!(ids, case.ids, "{}, {}", case.template, case.chat);
        }
    }
    assert_eq!(reference.cases.len(), 55);
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What Jinja renders and this program refuses, of the expressions of the reference, with the name of it.
const REFUSED: [(&str, &str); 3] = [
    (
        "{{ messages[1].items.a }}",
        "the attribute a of a builtin_function_or_method",
    ),
    ("{{ ''.__class__ }}", "the attribute __class__"),
    ("{{ messages[0].__class__ }}", "the attribute __class__"),
];

#[test]
fn expressions_are_pythons() {
    let reference = reference();
    let mut wrong = Vec::new();
    for case in &reference.expressions {
        let template = case.template.replace('⏎', "\n");
        let ours = reference.render(&template, &reference.expression_chat);
        wrong.extend(judged(case, &ours, &REFUSED));
    }
    assert!(reference.expressions.len() > 190);
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
