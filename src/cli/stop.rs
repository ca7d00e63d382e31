//! What ended an answer, as all commands say it.

use serde_json::{Value, json};

/// For machines: the token that ended the answer, or `"length"` where it is as long as was asked for.
pub fn to_json(end: Option<u32>) -> Value {
    match end {
        Some(token) => json!(token),
        None => json!("length"),
    }
}

/// For people.
pub fn in_words(end: Option<u32>) -> String {
    match end {
        Some(token) => format!("stopped by token {token}, which ends a text"),
        None => "stopped by length: no token ended the text".to_string(),
    }
}
