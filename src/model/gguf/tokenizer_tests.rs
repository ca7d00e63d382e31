//! The tokenizers that a file may hold.

use super::super::{Tokenizer, synthetic};
use super::tests::{llama, open, text};
use super::write::{self, GgmlDType, Value};

/// As in `tokenizer.json` of SmolLM, digits are single whatever is merged; and as in Llama 3's, a word
/// that is a token is one without merges.
#[test]
fn byte_level_tokenizers_split_as_their_names_say() {
    let tokenizer = |pre: &str| {
        let mut tokens: Vec<_> = synthetic::byte_vocabulary().into_iter().collect();
        tokens.sort_by_key(|(_, id)| *id);
        let tokens = tokens.into_iter().map(|(token, _)| token);
        let tokens: Vec<_> = tokens
            .chain(["12", "Ġ1", "whole", "'S"].map(String::from))
            .collect();
        let mut metadata = llama();
        metadata.retain(|(key, _)| !key.starts_with("tokenizer"));
        metadata.push(("tokenizer.ggml.model", text("gpt2")));
        metadata.push(("tokenizer.ggml.pre", text(pre)));
        metadata.push(("tokenizer.ggml.tokens", write::texts(tokens)));
        metadata.push(("tokenizer.ggml.merges", write::texts(["Ġ 1", "1 2", "' S"])));
        let file = write::file(
            &metadata,
            &[(
                "output_norm.weight",
                write::tensor(&[1], vec![1.0], GgmlDType::F32),
            )],
        );
        let json = open(&file).unwrap().tokenizer().unwrap();
        Tokenizer::from_json(&json).unwrap()
    };
    let [one, two, space] = ["1", "2", "Ġ"].map(|c| synthetic::byte_vocabulary()[c]);
    let (twelve, space_one, whole, possessive) = (257, 258, 259, 260);
    for (pre, text, expected) in [
        ("gpt-2", "12 12", vec![twelve, space_one, two]),
        ("smollm", "12 12", vec![one, two, space, one, two]),
        ("llama-bpe", "12 12", vec![twelve, space, twelve]),
        ("llama-bpe", "whole'S", vec![whole, possessive]),
    ] {
        let tokenizer = tokenizer(pre);
        assert_eq!(tokenizer.encode(text).unwrap(), expected, "{pre}: {text}");
        for text in ["It's 2024:  two\n\n\tlines — 東京 🦀.", " ", ""] {
            let tokens = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&tokens).unwrap(), text, "{pre}");
        }
    }
    assert_eq!(tokenizer("smollm").encode("whole").unwrap().len(), 5);
}

/// SentencePiece by its scores, with a space before the text, bytes for what has no token, and
/// control tokens that are met in a text but are no parts of words.
#[test]
fn sentence_piece_merges_by_score() {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    tokens.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    let pieces = ["▁", "a", "b", "c", "bc", "ab", "abc", "▁a"];
    tokens.extend(pieces.map(String::from));
    let types = (0..tokens.len()).map(|id| match id {
        0 => 2,
        1 | 2 => 3,
        3..259 => 6,
        _ => 1,
    });
    let types = types.map(Value::I32).collect();
    let scores = |id: usize| Value::F32(if id < 263 { 0.0 } else { 262.0 - id as f32 });
    let scores = (0..tokens.len()).map(scores).collect();
    let make = |prefix: bool| {
        let mut metadata = llama();
        metadata.push(("tokenizer.ggml.tokens", write::texts(&tokens)));
        metadata.push((
            "tokenizer.ggml.token_type",
            Value::Array(Clone::clone(&types)),
        ));
        metadata.push(("tokenizer.ggml.scores", Value::Array(Clone::clone(&scores))));
        metadata.push(("tokenizer.ggml.add_space_prefix", Value::Bool(prefix)));
        let file = write::file(
            &metadata,
            &[(
                "output_norm.weight",
                write::tensor(&[1], vec![1.0], GgmlDType::F32),
            )],
        );
        let json = open(&file).unwrap().tokenizer().unwrap();
        Tokenizer::from_json(&json).unwrap()
    };
    let id = |token: &str| tokens.iter().position(|t| t == token).unwrap() as u32;
    let ids = |tokens: &[&str]| tokens.iter().map(|t| id(t)).collect::<Vec<_>>();
    let tokenizer = make(true);
    // Each of bc, ab, abc and ▁a scores above the next: whose turn it is decides who gets the a.
    assert_eq!(tokenizer.encode("abc").unwrap(), ids(&["▁", "abc"]));
    assert_eq!(
        tokenizer.encode("ac ab").unwrap(),
        ids(&["▁a", "c", "▁", "ab"])
    );
    assert_eq!(tokenizer.encode("<s>a").unwrap(), ids(&["<s>", "▁a"]));
    assert_eq!(
        tokenizer.encode("é").unwrap(),
        ids(&["▁", "<0xC3>", "<0xA9>"])
    );
    assert_eq!(make(false).encode("abc").unwrap(), ids(&["abc"]));
    for tokenizer in [tokenizer, make(false)] {
        for text in ["a cab", "  two\n\tlines — 東京 🦀", "ab ", ""] {
            let tokens = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
        }
    }
}
