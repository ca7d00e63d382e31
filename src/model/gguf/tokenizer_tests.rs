//! The tokenizers that a file may hold.

use serde_json::{Value as Json, json};

use super::super::{Messages, Tokenizer, synthetic};
use super::tests::{llama, open, text};
use super::write::{self, GgmlDType, Value};
use super::{Gguf, GgufError};

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
        metadata.push(("tokenizer.ggml.bos_token_id", Value::U32(1)));
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
        ("olmo", "12 12", vec![twelve, space_one, two]),
        ("phi-2", "12 12", vec![twelve, space_one, two]),
        ("smollm", "12 12", vec![one, two, space, one, two]),
        ("starcoder", "12 12", vec![one, two, space, one, two]),
        ("refact", "12 12", vec![one, two, space, one, two]),
        ("qwen2", "12 12", vec![one, two, space, one, two]),
        ("qwen2", "'S", vec![possessive]),
        ("dbrx", "12 12", vec![twelve, space, twelve]),
        ("smaug-bpe", "'S", vec![possessive]),
        ("gpt-4o", "12 12", vec![twelve, space, twelve]),
        ("tekken", "12", vec![one, two]),
        ("tekken", "whole", vec![whole]),
        ("llama-bpe", "12 12", vec![twelve, space, twelve]),
        ("llama-bpe", "whole'S", vec![whole, possessive]),
    ] {
        let tokenizer = tokenizer(pre);
        assert_eq!(
            tokenizer.encode_text(text).unwrap(),
            expected,
            "{pre}: {text}"
        );
        let begun = [&[1][..], &expected].concat();
        let prompt = if ["llama-bpe", "tekken"].contains(&pre) {
            begun
        } else {
            expected
        };
        assert_eq!(tokenizer.encode(text).unwrap(), prompt, "{pre}: {text}");
        for text in ["It's 2024:  two\n\n\tlines — 東京 🦀.", " ", ""] {
            let tokens = tokenizer.encode_text(text).unwrap();
            assert_eq!(tokenizer.decode(&tokens).unwrap(), text, "{pre}");
        }
    }
    for pre in ["smollm", "dbrx", "smaug-bpe", "gpt-4o", "qwen2"] {
        assert_eq!(tokenizer(pre).encode("whole").unwrap().len(), 5, "{pre}");
    }
    // Some are of a text's normal form.
    let (composed, apart) = ("\u{e9}", "e\u{301}");
    for (pre, normalized) in [
        ("qwen2", true),
        ("olmo", true),
        ("gpt-2", false),
        ("llama-bpe", false),
    ] {
        let [composed, apart] = [composed, apart].map(|text| tokenizer(pre).encode(text).unwrap());
        assert_eq!(composed == apart, normalized, "{pre}");
    }
}

/// The metadata of another architecture's file with SentencePiece's (token, type, score).
fn of_architecture(name: &str, tokens: &[(&str, i32, f32)]) -> Vec<(&'static str, Value)> {
    let mut metadata = sentence_piece(tokens);
    metadata.retain(|(key, _)| !key.starts_with("general"));
    metadata.push(("general.architecture", text(name)));
    let heads = match name {
        "gemma3" => "gemma3.attention.head_count",
        _ => "phi3.attention.head_count",
    };
    metadata.push((heads, Value::U32(1)));
    metadata
}

/// In the order of its tokens, whatever their scores are, and runs of spaces like other tokens: as its `tokenizer.json`
/// has it.
#[test]
fn gemmas_tokens_merge_in_their_order() {
    let tokens = [
        ("<unk>", 2, 0.0),
        ("<bos>", 3, 0.0),
        ("<eos>", 3, 0.0),
        ("  ", 4, 0.0),
        ("    ", 4, 0.0),
        ("bc", 1, -9.0),
        ("ab", 1, -1.0),
        ("▁a", 1, -2.0),
        ("▁", 1, -3.0),
        ("a", 1, -4.0),
        ("b", 1, -5.0),
        ("c", 1, -6.0),
    ];
    let mut metadata = of_architecture("gemma3", &tokens);
    metadata.push(("tokenizer.ggml.add_space_prefix", Value::Bool(false)));
    let tokenizer = json(&metadata).unwrap().to_string();
    let tokenizer = Tokenizer::from_json(tokenizer.as_bytes()).unwrap();
    let encode = |text: &str| tokenizer.encode_text(text).unwrap();
    assert_eq!(encode("abc"), [9, 5]);
    assert_eq!(encode("b    ab"), [10, 4, 6]);
    assert_eq!(encode("      a"), [4, 3, 9]);
    assert_eq!(encode("c a"), [11, 7]);
    for text in ["a    b ca  b", "   ", ""] {
        assert_eq!(tokenizer.decode(&encode(text)).unwrap(), text);
    }
}

/// What its name alone says.
#[test]
fn phi3s_special_tokens_take_the_spaces_behind_them() {
    let tokens = [
        ("<unk>", 2, 0.0),
        ("<s>", 3, 0.0),
        ("<|user|>", 3, 0.0),
        ("▁", 1, 0.0),
        ("▁a", 1, 0.0),
        ("a", 1, 0.0),
    ];
    let named = |name: Option<&str>| {
        let mut metadata = of_architecture("phi3", &tokens);
        metadata.extend(name.map(|name| ("general.name", text(name))));
        json(&metadata)
    };
    for name in ["Phi3", "Phi-3-mini-4k-instruct", "Phi 3.5 Mini Instruct"] {
        let json = named(Some(name)).unwrap().to_string();
        let tokenizer = Tokenizer::from_json(json.as_bytes()).unwrap();
        let encode = |text: &str| tokenizer.encode_text(text).unwrap();
        assert_eq!(encode("<|user|>  a"), [2, 4], "{name}");
        assert_eq!(encode("<|user|>a"), [2, 4], "{name}");
        assert_eq!(encode("<s> a"), [1, 3, 4], "{name}");
    }
    for name in [None, Some("another")] {
        let message = named(name).unwrap_err().to_string();
        assert!(message.contains("general.name"), "{message}");
    }
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
    assert_eq!(tokenizer.encode_text("abc").unwrap(), ids(&["▁", "abc"]));
    assert_eq!(
        tokenizer.encode_text("ac ab").unwrap(),
        ids(&["▁a", "c", "▁", "ab"])
    );
    assert_eq!(tokenizer.encode_text("<s>a").unwrap(), ids(&["<s>", "▁a"]));
    assert_eq!(
        tokenizer.encode_text("é").unwrap(),
        ids(&["▁", "<0xC3>", "<0xA9>"])
    );
    assert_eq!(make(false).encode_text("abc").unwrap(), ids(&["abc"]));
    for tokenizer in [tokenizer, make(false)] {
        for text in ["a cab", "  two\n\tlines — 東京 🦀", "ab ", ""] {
            let tokens = tokenizer.encode_text(text).unwrap();
            assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
        }
    }
}

/// The `tokenizer.json` of a file with this metadata.
fn json(metadata: &[(&str, Value)]) -> Result<Json, GgufError> {
    let norm = write::tensor(&[1], vec![1.0], GgmlDType::F32);
    let file = write::file(metadata, &[("output_norm.weight", norm)]);
    let json = open(&file).and_then(|gguf: Gguf<_>| gguf.tokenizer())?;
    Ok(serde_json::from_slice(&json).unwrap())
}

/// Where the file does not say, SentencePiece's tokenizers begin with a token; what it says counts.
#[test]
fn tokens_are_put_around_a_prompt_as_the_file_says() {
    let tokens = [
        ("<unk>", 2, 0.0),
        ("<s>", 3, 0.0),
        ("</s>", 3, 0.0),
        ("▁a", 1, 0.0),
        ("▁", 1, 0.0),
        ("a", 1, 0.0),
    ];
    let flag = |key, value| (key, Value::Bool(value));
    let (bos, eos) = (
        "tokenizer.ggml.add_bos_token",
        "tokenizer.ggml.add_eos_token",
    );
    for (flags, expected) in [
        (vec![], vec![1, 3]),
        (vec![flag(bos, true)], vec![1, 3]),
        (vec![flag(bos, false)], vec![3]),
        (vec![flag(eos, true)], vec![1, 3, 2]),
        (vec![flag(eos, true), flag(bos, false)], vec![3, 2]),
        (vec![flag(eos, false)], vec![1, 3]),
    ] {
        let mut metadata = sentence_piece(&tokens);
        metadata.extend(flags.clone());
        let json = json(&metadata).unwrap().to_string();
        let tokenizer = Tokenizer::from_json(json.as_bytes()).unwrap();
        assert_eq!(
            tokenizer.encode("a").unwrap_or_default(),
            expected,
            "{flags:?}"
        );
    }
    let with = |key: &str, value: Option<Value>| {
        let mut metadata = sentence_piece(&tokens);
        metadata.retain(|(found, _)| *found != key);
        let value = value.map(|value| ("tokenizer.ggml.bos_token_id", value));
        metadata.extend(value);
        json(&metadata).unwrap_err().to_string()
    };
    let bos = "tokenizer.ggml.bos_token_id";
    assert!(with(bos, None).contains(bos));
    for value in [Value::U32(6), Value::String("<s>".into())] {
        assert!(with(bos, Some(value)).contains(bos));
    }
    assert!(json(&[&sentence_piece(&tokens)[..], &[(eos, Value::U32(1))]].concat()).is_err());
}

/// A Llama's metadata with SentencePiece's (token, type, score) for each token.
fn sentence_piece(tokens: &[(&str, i32, f32)]) -> Vec<(&'static str, Value)> {
    let mut metadata = llama();
    let types = tokens.iter().map(|(_, kind, _)| Value::I32(*kind));
    let scores = tokens.iter().map(|(.., score)| Value::F32(*score));
    let texts = write::texts(tokens.iter().map(|(token, ..)| token));
    metadata.push(("tokenizer.ggml.tokens", texts));
    metadata.push(("tokenizer.ggml.token_type", Value::Array(types.collect())));
    metadata.push(("tokenizer.ggml.scores", Value::Array(scores.collect())));
    metadata
}

/// Files of any tokenizer were once written without a name for how a text is split. GPT-2's are split
/// as GPT-2 does; of another model it would be a guess.
#[test]
fn only_a_gpt2_may_leave_out_how_a_text_is_split() {
    let unnamed = |architecture: &str, pre: Option<&str>| {
        let mut metadata = llama();
        metadata.retain(|(key, _)| !["general.architecture", "tokenizer.ggml.model"].contains(key));
        metadata.push(("general.architecture", text(architecture)));
        metadata.push(("tokenizer.ggml.model", text("gpt2")));
        metadata.push(("tokenizer.ggml.tokens", write::texts(["a"])));
        metadata.push(("tokenizer.ggml.merges", write::texts([""; 0])));
        metadata.extend(pre.map(|pre| ("tokenizer.ggml.pre", text(pre))));
        json(&metadata)
    };
    for pre in [None, Some("default")] {
        let gpt2 = unnamed("gpt2", pre).unwrap();
        assert_eq!(gpt2["pre_tokenizer"]["type"], "ByteLevel");
        let message = unnamed("llama", pre).unwrap_err().to_string();
        assert!(message.contains("tokenizer.ggml.pre"), "{message}");
    }
}

/// Each of these would give other tokens than the file's own tokenizer.
#[test]
fn other_kinds_of_sentence_piece_are_refused_by_name() {
    let tokens = [("<unk>", 2, 0.0), ("▁", 1, 0.0), ("a", 1, -1.0)];
    let with = |key: &'static str, value: Value| {
        let mut metadata = sentence_piece(&tokens);
        metadata.retain(|(k, _)| *k != key);
        metadata.push((key, value));
        json(&metadata)
    };
    let trimmed = "tokenizer.ggml.remove_extra_whitespaces";
    assert!(with(trimmed, Value::Bool(false)).is_ok());
    let scores = |count| Value::Array(vec![Value::F32(0.0); count]);
    for (key, value, part) in [
        (trimmed, Value::Bool(true), "false"),
        (
            "tokenizer.ggml.precompiled_charsmap",
            Value::Array(vec![Value::U8(0)]),
            "without it",
        ),
        ("tokenizer.ggml.scores", scores(2), "not as many"),
        ("tokenizer.ggml.scores", scores(4), "not as many"),
    ] {
        let message = with(key, value).unwrap_err().to_string();
        for part in [key, part] {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}

/// Where the vocabulary has no bytes, a character without a token becomes the one that is meant for it,
/// wherever that stands.
#[test]
fn characters_without_a_token_become_the_unknown_one() {
    let tokens = [("<s>", 3, 0.0), ("a", 1, 0.0), ("<unk>", 2, 0.0)];
    let mut metadata = sentence_piece(&tokens);
    metadata.push(("tokenizer.ggml.add_space_prefix", Value::Bool(false)));
    let json = json(&metadata).unwrap().to_string();
    let tokenizer = Tokenizer::from_json(json.as_bytes()).unwrap();
    assert_eq!(tokenizer.encode_text("aéa").unwrap(), [1, 2, 1]);
}

/// As `transformers` orders them: by score, not by the tokens' order; then longer parts first, then in
/// the tokens' order.
#[test]
fn merges_are_listed_by_score_then_by_length() {
    let merges = sentence_piece(&[
        ("a", 1, 0.0),
        ("b", 1, 0.0),
        ("ab", 1, -2.0),
        ("ba", 1, -1.0),
        ("aba", 1, -1.0),
        ("bab", 1, -3.0),
        ("bb", 1, -1.0),
    ]);
    let expected = json!([
        ["ab", "a"],
        ["a", "ba"],
        ["b", "a"],
        ["b", "b"],
        ["a", "b"],
        ["ba", "b"],
        ["b", "ab"],
    ]);
    assert_eq!(json(&merges).unwrap()["model"]["merges"], expected);
}

/// The chat template with the tokens that the ids of the metadata mean; other special tokens are not known.
#[test]
fn a_chat_template_comes_with_its_tokens() {
    let read = |more: &[(&'static str, Value)]| {
        let mut metadata = llama();
        metadata.retain(|(key, _)| !key.starts_with("tokenizer"));
        metadata.push((
            "tokenizer.ggml.tokens",
            write::texts(["<unk>", "<s>", "</s>"]),
        ));
        metadata.extend(more.to_vec());
        let norm = write::tensor(&[1], vec![1.0], GgmlDType::F32);
        let file = write::file(&metadata, &[("output_norm.weight", norm)]);
        open(&file).unwrap().chat_template()
    };
    assert!(matches!(read(&[]), Ok(None)));
    let template = (
        "tokenizer.chat_template",
        text("{{ bos_token }}{{ eos_token }}"),
    );
    let id = |key, id| (key, Value::U32(id));
    let bos = id("tokenizer.ggml.bos_token_id", 1);
    let found = read(&[
        template.clone(),
        bos.clone(),
        id("tokenizer.ggml.eos_token_id", 2),
    ]);
    let found = found.unwrap().unwrap().unwrap();
    let messages = Messages::of_user("x", None);
    let day = "2025-07-06".parse().unwrap();
    assert_eq!(found.render(&messages, day).unwrap(), "<s></s>");
    let found = read(&[template.clone(), bos]).unwrap().unwrap().unwrap();
    let error = found.render(&messages, day).unwrap_err().to_string();
    assert!(
        error.contains("eos_token, which the checkpoint does not state"),
        "{error}"
    );
    let beyond = read(&[template, id("tokenizer.ggml.padding_token_id", 3)]);
    assert!(
        matches!(beyond, Err(GgufError::Malformed(reason)) if reason.contains("padding_token_id"))
    );
}
