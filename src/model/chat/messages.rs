//! The messages of a chat, as they come in JSON: OpenAI's form.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::budget::Budget;
use super::fault::Fault;
use super::value::{Dict, Value};
use super::{ChatError, MAX_OUTPUT};

/// The most keys of an object: they are looked for one by one.
const MAX_KEYS: usize = 1 << 10;

/// JSON that keeps the order of an object's keys, as Python does. Of a key that stands twice, the last value
/// counts, in the first one's place.
#[derive(Clone, Debug, PartialEq)]
enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Int(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        let beyond = |_| E::custom(format!("the number {value} is beyond 64 bits"));
        i64::try_from(value).map(Json::Int).map_err(beyond)
    }

    /// Whole numbers beyond 64 bits come as floats, and so does -0: in Python they are others.
    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        match value {
            _ if value.abs() >= 2f64.powi(63) || value.to_bits() == (-0f64).to_bits() => Err(
                E::custom(format!("the number {value:?} is not read exactly")),
            ),
            _ => Ok(Json::Float(value)),
        }
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut entries: Vec<(String, Json)> = Vec::new();
        while let Some((key, value)) = map.next_entry::<String, Json>()? {
            if entries.len() == MAX_KEYS {
                let reason = format!("an object with more than {MAX_KEYS} keys");
                return Err(A::Error::custom(reason));
            }
            match entries.iter_mut().find(|(other, _)| *other == key) {
                Some((_, place)) => *place = value,
                None => entries.push((key, value)),
            }
        }
        Ok(Json::Object(entries))
    }
}

impl Json {
    fn to_value(&self, budget: &Budget) -> Result<Value, Fault> {
        Ok(match self {
            Self::Null => Value::None,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Text(text) => budget.text(text.as_str())?,
            Self::List(values) => {
                let values = values.iter().map(|value| value.to_value(budget));
                Value::list(values.collect::<Result<_, _>>()?, budget)?
            }
            Self::Object(entries) => dict(entries, budget)?,
        })
    }
}

impl Json {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::List(values) => values.iter().map(Self::bytes).sum(),
            Self::Object(entries) => entries.iter().map(|(k, v)| k.len() + v.bytes()).sum(),
            _ => 0,
        }
    }
}

fn dict(entries: &[(String, Json)], budget: &Budget) -> Result<Value, Fault> {
    let mut dict = Dict::default();
    for (key, value) in entries {
        let (key, value) = (budget.text(key.as_str())?, value.to_value(budget)?);
        dict.insert(key, value, budget)?;
    }
    Ok(Value::Dict(dict.into()))
}

/// A chat: at least one message, each an object with a role.
#[derive(Clone, Debug, PartialEq)]
pub struct Messages(Vec<Vec<(String, Json)>>);

impl Messages {
    /// A user's message, after one of the system if there is one.
    pub fn of_user(user: &str, system: Option<&str>) -> Self {
        let message = |role: &str, content: &str| {
            let entry = |key: &str, value: &str| (key.to_string(), Json::Text(value.to_string()));
            vec![entry("role", role), entry("content", content)]
        };
        let system = system.map(|content| message("system", content));
        Self(Vec::from_iter(
            system.into_iter().chain([message("user", user)]),
        ))
    }

    /// Reads a list of messages, or an object that has nothing but one under `messages`. A message is an object with
    /// a `role`; its `content` is a text, a list of `{"type": "text", "text": …}`, or absent. All other keys are the
    /// template's to read.
    ///
    /// # Errors
    /// [`ChatError::Messages`].
    pub fn from_json(json: &[u8]) -> Result<Self, ChatError> {
        let refused = |reason: String| Err(ChatError::Messages(reason));
        if json.len() > MAX_OUTPUT {
            return refused(format!("{} bytes, more than {MAX_OUTPUT}", json.len()));
        }
        let json = match serde_json::from_slice(json) {
            Ok(json) => json,
            Err(e) => return refused(e.to_string()),
        };
        let list = match json {
            Json::List(list) => list,
            Json::Object(mut entries) => {
                if let Some((key, _)) = entries.iter().find(|(key, _)| key != "messages") {
                    let reason = format!("\"{key}\" beside \"messages\" is not read: remove it");
                    return refused(reason);
                }
                match entries.pop() {
                    Some((_, Json::List(list))) => list,
                    _ => return refused("\"messages\" is not a list".into()),
                }
            }
            _ => return refused("neither a list of messages nor an object with one".into()),
        };
        if list.is_empty() {
            return refused("no message".into());
        }
        let messages = list.into_iter().enumerate();
        let messages = messages.map(|(i, message)| {
            checked(message).map_err(|reason| ChatError::Messages(format!("message {i}: {reason}")))
        });
        messages.collect::<Result<_, _>>().map(Self)
    }

    /// How many bytes all of its texts have.
    pub fn bytes(&self) -> usize {
        let entries = self.0.iter().flatten();
        entries.map(|(key, value)| key.len() + value.bytes()).sum()
    }

    /// What a template gets. Keys without a value are left out, and the older names of `reasoning_content` are filled
    /// in, as `transformers` does.
    pub(super) fn to_value(&self, budget: &Budget) -> Result<Value, Fault> {
        let messages = self.0.iter().map(|message| {
            let entries = message.iter().filter(|(_, value)| *value != Json::Null);
            dict(&with_reasoning(entries.cloned().collect()), budget)
        });
        Value::list(messages.collect::<Result<_, _>>()?, budget)
    }
}

/// `_alias_reasoning_fields` of transformers' `chat_template_utils.py`.
fn with_reasoning(mut message: Vec<(String, Json)>) -> Vec<(String, Json)> {
    let find = |message: &[(String, Json)], key: &str| message.iter().position(|(k, _)| k == key);
    let names = ["reasoning_content", "thinking", "reasoning"];
    let Some(at) = names.iter().find_map(|name| find(&message, name)) else {
        return message;
    };
    let reasoning = message[at].1.clone();
    // `{"thinking": reasoning, **message, "reasoning_content": reasoning}`
    let thinking = find(&message, "thinking").map(|at| message.remove(at).1);
    let thinking = thinking.unwrap_or_else(|| reasoning.clone());
    message.insert(0, ("thinking".to_string(), thinking));
    match find(&message, "reasoning_content") {
        Some(at) => message[at].1 = reasoning,
        None => message.push(("reasoning_content".to_string(), reasoning)),
    }
    message
}

/// A message that templates can be given.
fn checked(message: Json) -> Result<Vec<(String, Json)>, String> {
    let Json::Object(message) = message else {
        return Err("not an object".into());
    };
    let get = |key: &str| message.iter().find(|(k, _)| k == key).map(|(_, v)| v);
    if !matches!(get("role"), Some(Json::Text(_))) {
        return Err("its \"role\" is not a text".into());
    }
    match get("content") {
        None | Some(Json::Null | Json::Text(_)) => {}
        Some(Json::List(parts)) => {
            if let Some(part) = parts.iter().position(|part| !is_text(part)) {
                return Err(format!(
                    "part {part} of its content is not {{\"type\": \"text\", \"text\": …}}: nothing else is supported"
                ));
            }
        }
        Some(_) => return Err("its \"content\" is neither a text nor a list of texts".into()),
    }
    Ok(message)
}

fn is_text(part: &Json) -> bool {
    let Json::Object(entries) = part else {
        return false;
    };
    let get = |key: &str| entries.iter().find(|(k, _)| k == key).map(|(_, v)| v);
    matches!(get("type"), Some(Json::Text(kind)) if kind == "text")
        && matches!(get("text"), Some(Json::Text(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Messages, String> {
        Messages::from_json(json.as_bytes()).map_err(|e| e.to_string())
    }

    #[test]
    fn both_forms_of_a_list_are_the_same() {
        let bare =
            read(r#"[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]"#);
        let wrapped = read(
            r#"{"messages": [{"role":"system","content":"s"},{"role":"user","content":"u"}]}"#,
        );
        assert_eq!(bare, Ok(Messages::of_user("u", Some("s"))));
        assert_eq!(wrapped, bare);
    }

    /// What would be ignored, or read as something else than Python reads, is refused by its name.
    #[test]
    fn what_is_not_read_is_refused() {
        for (json, named) in [
            ("", "EOF"),
            ("[]", "no message"),
            ("3", "neither a list"),
            (r#"{"messages": 3}"#, "not a list"),
            (r#"{"messages": [], "tools": []}"#, "\"tools\""),
            (r#"["hello"]"#, "message 0: not an object"),
            (r#"[{"content": "x"}]"#, "\"role\""),
            (r#"[{"role": 1}]"#, "\"role\""),
            (r#"[{"role": "user", "content": 3}]"#, "\"content\""),
            (
                r#"[{"role": "u"}, {"role": "u", "content": [{"type": "image_url", "image_url": "x"}]}]"#,
                "message 1: part 0",
            ),
            (r#"[{"role": "u", "content": ["x"]}]"#, "part 0"),
            (
                r#"[{"role": "u", "n": 9223372036854775808}]"#,
                "beyond 64 bits",
            ),
            (
                r#"[{"role": "u", "n": 123456789012345678901}]"#,
                "not read exactly",
            ),
            (r#"[{"role": "u", "n": -0}]"#, "not read exactly"),
            (r#"[{"role": "u", "content": "\ud800"}]"#, "escape"),
            (r#"[{"role": "u"}] x"#, "trailing"),
        ] {
            let error = read(json).expect_err(json);
            assert!(error.contains(named), "{json}: {error}");
        }
        let deep = "[".repeat(100_000);
        assert!(read(&deep).is_err_and(|e| e.contains("recursion")));
        let long = format!(
            r#"[{{"role": "u", "content": "{}"}}]"#,
            "x".repeat(MAX_OUTPUT)
        );
        assert!(read(&long).is_err_and(|e| e.contains("more than")));
    }
}
