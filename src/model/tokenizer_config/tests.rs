//! The cases of `tests/reference/tokenization.py`.

use serde_json::{Value, json};

use super::{Files, TokenizerConfig};
use crate::model::Tokenizer;
use crate::model::config::model_type;

fn reference() -> Value {
    serde_json::from_str(include_str!("../../../tests/reference/tokenization.json")).expect("JSON")
}

/// The tokenizer of a case and its special tokens, or why it is refused.
fn open(case: &Value, tokenizers: &Value) -> Result<(Tokenizer, Value), String> {
    let file = |name: &str| {
        case["files"]
            .get(name)
            .map(|file| file.to_string().into_bytes())
    };
    let [config, tokens_map, added_tokens] = [
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
    ]
    .map(file);
    let files = Files {
        config: config.as_deref(),
        tokens_map: tokens_map.as_deref(),
        added_tokens: added_tokens.as_deref(),
    };
    let model = &case["files"]["config.json"];
    let name = case["tokenizer"].as_str();
    let json = name.map(|name| tokenizers[name].to_string().into_bytes());
    let registered = model_type(&model["model_type"]).expect("a model_type");
    let registered = registered.tensors.tokenizer;
    let read = TokenizerConfig::read(
        registered,
        &model["tokenizer_class"],
        json.as_deref(),
        files,
    );
    let read = read.map_err(|(file, e)| format!("{file}: {e}"))?;
    let json = json.unwrap_or_else(|| {
        let model = &tokenizers["gpt2"]["model"];
        let merges = model["merges"].as_array().expect("a list").iter();
        let merges: Vec<_> = merges
            .map(|merge| merge.as_str().expect("a text"))
            .collect();
        let vocabulary = model["vocab"].to_string();
        Tokenizer::vocabulary_json(vocabulary.as_bytes(), merges.join("\n").as_bytes())
            .expect("two files")
    });
    let built = read
        .apply(&json)
        .and_then(|json| Tokenizer::from_json(&json));
    let mut tokens = read.special_tokens();
    tokens.retain(|_, token| token.is_some());
    let built = built.map_err(|e| e.to_string())?;
    Ok((built, json!(tokens)))
}

/// The files, keys and values of a case, of which a refusal names one.
fn names(case: &Value) -> Vec<String> {
    let files = case["files"].as_object().expect("files").values();
    let keys = files.flat_map(|file| file.as_object().into_iter().flatten());
    let names = keys.flat_map(|(key, value)| match value {
        Value::String(text) => vec![key.clone(), text.clone()],
        _ => vec![key.clone()],
    });
    names
        .chain(["tokenizer_class".into()])
        .filter(|name| !name.is_empty())
        .collect()
}

/// What became of a case beside what `transformers` makes of it.
enum Outcome {
    /// All is equal, but for the spaces in so many texts of tokens.
    Equal(usize),
    Refused,
    /// There too.
    Failing,
}

fn compare(case: &Value, reference: &Value, texts: &[String]) -> Result<Outcome, String> {
    let place = case["result"].as_u64().expect("a place") as usize;
    let expected = &reference["results"][place];
    let (tokenizer, tokens) = match open(case, &reference["tokenizers"]) {
        Ok(opened) => opened,
        Err(said) if !names(case).iter().any(|name| said.contains(name)) => return Err(said),
        Err(_) if expected["error"].is_null() => return Ok(Outcome::Refused),
        Err(_) => return Ok(Outcome::Failing),
    };
    let ids: Result<Vec<_>, _> = texts.iter().map(|text| tokenizer.encode(text)).collect();
    let ids = match ids {
        // A character that a vocabulary of another class does not express.
        Err(_) if expected["error"].is_string() => return Ok(Outcome::Failing),
        ids => ids.map_err(|e| e.to_string())?,
    };
    for (what, found) in [("special", json!(tokens)), ("ids", json!(ids))] {
        if found != expected[what] {
            return Err(format!("{what}: {found} for {}", expected[what]));
        }
    }
    let mut spaced = 0;
    for (at, ids) in ids.iter().enumerate() {
        let decoded = tokenizer.decode(ids).map_err(|e| e.to_string())?;
        let shown = expected["decoded"][at].as_str().expect("a text");
        if decoded.replace(' ', "") != shown.replace(' ', "") {
            return Err(format!("{decoded:?} for {shown:?}"));
        }
        spaced += usize::from(decoded != shown);
    }
    Ok(Outcome::Equal(spaced))
}

/// Either the ids of `transformers`, or a refusal that names a key: never others. What `transformers` fails at is
/// refused. Ids that make another text differ in spaces before added tokens, as `docs/models.md` says.
#[test]
fn texts_become_the_references_tokens_or_a_key_is_refused() {
    let reference = reference();
    let texts: Vec<String> = serde_json::from_value(reference["texts"].clone()).expect("texts");
    let (mut equal, mut refused, mut failing, mut spaced) = (0, 0, 0, 0);
    let mut faults = Vec::new();
    for case in reference["cases"].as_array().expect("cases") {
        match compare(case, &reference, &texts) {
            Ok(Outcome::Equal(texts)) => (equal, spaced) = (equal + 1, spaced + texts),
            Ok(Outcome::Refused) => refused += 1,
            Ok(Outcome::Failing) => failing += 1,
            Err(fault) => faults.push(format!("{fault}: {case}")),
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert_eq!((equal, refused, failing, spaced), (2702, 643, 527, 5));
}
