//! The cases of `tests/reference/tokenization.py`.

use serde_json::{Value, json};

use super::{Files, TokenizerConfig};
use crate::model::Tokenizer;

fn reference() -> Value {
    serde_json::from_str(include_str!("../../../tests/reference/tokenization.json")).expect("JSON")
}

/// The tokenizer of a case, or why it is refused.
fn open(case: &Value, tokenizers: &Value) -> Result<Tokenizer, String> {
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
    let gpt2 = model["model_type"] == "gpt2";
    let default = if gpt2 {
        "GPT2Tokenizer"
    } else {
        "TokenizersBackend"
    };
    let read = TokenizerConfig::read(default, &model["tokenizer_class"], json.as_deref(), files);
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
    built.map_err(|e| e.to_string())
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

/// Either the ids of `transformers`, or a refusal that names a key: never others. What `transformers` fails at is
/// refused. Ids that make another text differ in spaces before added tokens, as `docs/models.md` says.
#[test]
fn texts_become_the_references_tokens_or_a_key_is_refused() {
    let reference = reference();
    let texts: Vec<String> = serde_json::from_value(reference["texts"].clone()).expect("texts");
    let (mut equal, mut refused, mut failing, mut spaced) = (0, 0, 0, 0);
    for case in reference["cases"].as_array().expect("cases") {
        let place = case["result"].as_u64().expect("a place") as usize;
        let expected = &reference["results"][place];
        let tokenizer = match open(case, &reference["tokenizers"]) {
            Ok(tokenizer) => tokenizer,
            Err(said) => {
                let named = names(case).iter().any(|name| said.contains(name));
                assert!(named, "{said}: {case}");
                match expected["error"].is_null() {
                    true => refused += 1,
                    false => failing += 1,
                }
                continue;
            }
        };
        for (at, text) in texts.iter().enumerate() {
            let ids = tokenizer.encode(text).expect("tokens");
            assert_eq!(json!(ids), expected["ids"][at], "{text:?}: {case}");
            let decoded = tokenizer.decode(&ids).expect("a text");
            let shown = expected["decoded"][at].as_str().expect("a text");
            assert_eq!(decoded.replace(' ', ""), shown.replace(' ', ""), "{case}");
            spaced += usize::from(decoded != shown);
        }
        equal += 1;
    }
    assert_eq!((equal, refused, failing, spaced), (913, 423, 268, 5));
}
