//! The tokens that a tokenizer puts around every prompt, such as `<s>`: the `post_processor` of a `tokenizer.json`.
//!
//! What the `tokenizers` crate would do to one text is read here and done by [`Tokenizer`](super::Tokenizer): its own
//! templates may repeat the text, or have tokens by the million.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The most tokens around a prompt. Published tokenizers put one or two.
const MAX_AROUND: usize = 16;

/// The token ids before and behind every prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Around {
    pub before: Vec<u32>,
    pub behind: Vec<u32>,
}

/// A post-processor of a kind that published BPE tokenizers have.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum PostProcessor {
    Sequence {
        processors: Vec<PostProcessor>,
    },
    /// Changes offsets only, which nobody asks for.
    ByteLevel {},
    TemplateProcessing {
        single: Vec<Piece>,
        special_tokens: BTreeMap<String, Special>,
    },
}

/// What a template for one text consists of.
#[derive(Deserialize)]
pub(super) enum Piece {
    Sequence { id: String },
    SpecialToken { id: String },
}

/// The tokens that a name in a template stands for.
#[derive(Deserialize)]
pub(super) struct Special {
    ids: Vec<u32>,
    #[serde(rename = "tokens")]
    _tokens: IgnoredAny,
}

impl PostProcessor {
    /// The tokens that it puts around one text.
    ///
    /// # Errors
    /// The text is not there exactly once, a token has no ids, or there are too many.
    pub fn around(&self) -> Result<Around, String> {
        let mut around = Around::default();
        self.collect(&mut around)?;
        match around.before.len() + around.behind.len() {
            count if count <= MAX_AROUND => Ok(around),
            count => Err(format!(
                "{count} tokens are put around every text, more than {MAX_AROUND}"
            )),
        }
    }

    fn collect(&self, around: &mut Around) -> Result<(), String> {
        match self {
            Self::ByteLevel {} => Ok(()),
            Self::Sequence { processors } => processors.iter().try_for_each(|p| p.collect(around)),
            Self::TemplateProcessing {
                single,
                special_tokens,
            } => {
                let Around { before, behind } = template(single, special_tokens)?;
                // One behind another puts its tokens around those of the first.
                around.before.splice(..0, before);
                around.behind.extend(behind);
                Ok(())
            }
        }
    }
}

fn template(single: &[Piece], special: &BTreeMap<String, Special>) -> Result<Around, String> {
    let is_text = |piece: &Piece| matches!(piece, Piece::Sequence { id } if id == "A");
    let ids = |pieces: &[Piece]| -> Result<Vec<u32>, String> {
        let mut all = Vec::new();
        for piece in pieces.iter().take(MAX_AROUND + 1) {
            let Piece::SpecialToken { id } = piece else {
                return Err("a post-processor repeats the text".into());
            };
            let token = special.get(id).filter(|token| !token.ids.is_empty());
            let token = token.ok_or("a post-processor puts in a token without an id")?;
            all.extend(token.ids.iter().take(MAX_AROUND + 1));
        }
        Ok(all)
    };
    match single.iter().position(is_text) {
        Some(text) => Ok(Around {
            before: ids(&single[..text])?,
            behind: ids(&single[text + 1..])?,
        }),
        None => Err("a post-processor leaves out the text".into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn around(json: Value) -> Result<(Vec<u32>, Vec<u32>), String> {
        let read: PostProcessor = serde_json::from_value(json).map_err(|e| e.to_string())?;
        read.around().map(|a| (a.before, a.behind))
    }

    fn token(id: &str) -> Value {
        json!({"SpecialToken": {"id": id, "type_id": 0}})
    }

    fn text() -> Value {
        json!({"Sequence": {"id": "A", "type_id": 0}})
    }

    fn template(single: &[Value]) -> Value {
        let special = |name: &str, ids: &[u32]| json!({"id": name, "ids": ids, "tokens": [name]});
        json!({
            "type": "TemplateProcessing", "single": single, "pair": [],
            "special_tokens": {
                "<s>": special("<s>", &[1]), "</s>": special("</s>", &[2]), "none": special("none", &[]),
                "many": special("many", &[3; 17]),
            },
        })
    }

    #[test]
    fn tokens_are_put_around_the_text() {
        let begun = template(&[token("<s>"), text()]);
        let both = template(&[token("<s>"), text(), token("</s>"), token("<s>")]);
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true});
        // Llama 3's.
        let sequence = json!({"type": "Sequence", "processors": [bytes, begun]});
        assert_eq!(around(bytes), Ok((vec![], vec![])));
        assert_eq!(around(template(&[text()])), Ok((vec![], vec![])));
        assert_eq!(around(begun.clone()), Ok((vec![1], vec![])));
        assert_eq!(around(both.clone()), Ok((vec![1], vec![2, 1])));
        assert_eq!(around(sequence), Ok((vec![1], vec![])));
        let twice = json!({"type": "Sequence", "processors": [both, begun]});
        assert_eq!(around(twice), Ok((vec![1, 1], vec![2, 1])));
    }

    /// Each would change, drop or multiply the text, or means something that is not known here.
    #[test]
    fn other_post_processors_are_refused() {
        let second = json!({"Sequence": {"id": "B", "type_id": 0}});
        for json in [
            template(&[]),
            template(&[token("<s>")]),
            template(&[text(), text()]),
            template(std::slice::from_ref(&second)),
            template(&[second, text()]),
            template(&[token("unknown"), text()]),
            template(&[token("none"), text()]),
            template(&[token("many"), text()]),
            template(&[vec![token("<s>"); 17], vec![text()]].concat()),
            json!({"type": "RobertaProcessing", "sep": ["a", 1], "cls": ["b", 2], "trim_offsets": true, "add_prefix_space": true}),
            json!({"type": "BertProcessing", "sep": ["a", 1], "cls": ["b", 2]}),
        ] {
            assert!(around(json.clone()).is_err(), "{json}");
        }
    }
}
