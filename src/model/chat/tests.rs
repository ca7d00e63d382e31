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
}

fn reference() -> Reference {
    let stored = include_str!("../../../tests/reference/chat.json");
    serde_json::from_str(stored).expect("a reference")
}

impl Reference {
    fn tokens(&self) -> SpecialTokens {
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
const REFUSED: [(&str, &str); 4] = [
    (
        "{% macro f() %}{{ tools is none }}{% endmacro %}{{ f() }}{% set tools = 1 %}{{ f() }}",
        "setting tools after a macro has read it",
    ),
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

fn render(template: &str) -> Result<String, ChatError> {
    let day = "2025-07-06".parse().expect("a day");
    let template = ChatTemplate::new(template.into(), BTreeMap::new())?;
    template.render(&Messages::of_user("Hello", None), day)
}

/// Why a template has no text, and in which line.
fn refusal(template: &str) -> (Option<u32>, Reason) {
    match render(template) {
        Err(ChatError::Render { line, reason }) => (line, reason),
        other => panic!("{template}: {other:?}"),
    }
}

/// A template is somebody else's program: whatever it does, it comes to an end soon, and with little memory.
#[test]
fn a_template_without_end_is_ended() {
    let nested = |open: &str, close: &str, count: usize| {
        format!("{{{{ {}1{} }}}}", open.repeat(count), close.repeat(count))
    };
    let each = "{% for a in range(99999) %}";
    for template in [
        format!("{each}{each}{{% endfor %}}{{% endfor %}}"),
        format!("{{% set x = 'x' * 1000000 %}}{each}{{% set y = x ~ 'y' %}}{{% endfor %}}"),
        format!("{{% set x = 'x' * 1000000 %}}{each}{{% set y = x.upper() %}}{{% endfor %}}"),
        format!("{{% set x = 'x' * 1000000 %}}{each}{{% set y = 'y' in x %}}{{% endfor %}}"),
        format!("{{% set x = range(99999) | list %}}{each}{{% set y = x + x %}}{{% endfor %}}"),
        format!("{{% set x = range(99999) | list %}}{each}{{% set y = x | sort %}}{{% endfor %}}"),
        format!("{{% set x = range(99999) | list %}}{each}{{% set y = x == x %}}{{% endfor %}}"),
        format!(
            "{each}{{% macro f() %}}{{% endmacro %}}{{{{ f() }}}}{each}{{% endfor %}}{{% endfor %}}"
        ),
    ] {
        assert_eq!(refusal(&template).1, Reason::Exhausted, "{template}");
    }
    let namespace = "{% set n = namespace(x=[]) %}";
    for template in [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".to_string(),
        "{% macro f(a=f()) %}{% endmacro %}{{ f() }}".to_string(),
        format!("{namespace}{each}{{% set n.x = [n.x] %}}{{% endfor %}}"),
        format!("{namespace}{each}{{% set n.x = {{'a': n.x}} %}}{{% endfor %}}"),
        format!("{namespace}{each}{{% set n.x = [n.x] | select %}}{{% endfor %}}"),
        format!("{{{{ 1{} }}}}", " ~ 1".repeat(1500)),
        format!("{{{{ 1{} }}}}", " | abs".repeat(1500)),
        format!("{{{{ {}1 }}}}", "not ".repeat(3000)),
        format!("{{{{ {}1 }}}}", "- ".repeat(3000)),
    ] {
        assert_eq!(refusal(&template).1, Reason::TooDeep, "{template}");
    }
    for template in [
        format!("{each}0123456789ABCDEF{{% endfor %}}"),
        "{% set x = 'x' * 1048577 %}".to_string(),
        format!("{{% set n = namespace(x='x') %}}{each}{{% set n.x = n.x ~ n.x %}}{{% endfor %}}"),
        format!(
            "{{% set n = namespace(x='x') %}}{each}{{% set n.x = n.x | replace('x', 'xx') %}}{{% endfor %}}"
        ),
        "{% set n = namespace(x=[0]) %}{% for i in range(40) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}".to_string(),
        "{% set n = namespace(x=[0]) %}{% for i in range(40) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x | tojson }}".to_string(),
    ] {
        let reason = refusal(&template).1;
        assert!(
            matches!(reason, Reason::TooLong | Reason::Exhausted),
            "{template}: {reason:?}"
        );
    }
    let chain = format!("{namespace}{each}{{% set n.x = namespace(x=n.x) %}}{{% endfor %}}");
    for (template, named) in [
        (chain, "namespaces"),
        (nested("(", ")", 5000), "tokens"),
        (format!("{{{{ {}1 }}}}", "not ".repeat(60_000)), "tokens"),
        (format!("{{{{ {}1 }}}}", "-".repeat(200_000)), "tokens"),
        (
            format!("{{{{ 1{} }}}}", " if 1 else 1".repeat(5000)),
            "tokens",
        ),
        (
            format!("{{% if 1 %}}{}{{% endif %}}", "{% elif 1 %}".repeat(20_000)),
            "elif",
        ),
    ] {
        let reason = refusal(&template).1;
        let named = matches!(&reason, Reason::Unsupported(what) if what.contains(named));
        assert!(named, "{reason:?}");
    }
    for template in [
        nested("(", ")", 300),
        nested("[", "]", 300),
        "{% if 1 %}".repeat(1000),
        "{% for (((((((((".repeat(20),
    ] {
        assert!(
            matches!(refusal(&template).1, Reason::Failed(_)),
            "{template}"
        );
    }
}

/// A tuple that holds one tuple twice, and so on, is a key like any other.
#[test]
fn a_key_of_shared_tuples_is_looked_at_once() {
    let deep = |key: &str| {
        format!(
            "{{% set n = namespace(t={key}) %}}{{% for i in range(60) %}}{{% set n.t = (n.t, n.t) %}}{{% endfor %}}\
             {{% set d = {{}} %}}{{% if d[n.t] %}}a{{% else %}}b{{% endif %}}"
        )
    };
    assert_eq!(render(&deep("(1, 1)")).as_deref(), Ok("b"));
    let Reason::Failed(why) = refusal(&deep("([], 1)")).1 else {
        panic!("a list is no key");
    };
    assert!(why.contains("unhashable"), "{why}");
}

/// A chain of values is as long as it is deep: dropping it takes a stack.
#[test]
fn no_chain_of_values_is_long() {
    let each = "{% set n = namespace(x=[]) %}{% for i in range(99999) %}";
    for body in [
        "{% set n.x = loop %}",
        "{% set n.x = [loop] %}",
        "{% set n.x = {'a': loop} %}",
        "{% set y = loop.changed(loop) %}",
        "{% set y = dict(a=loop) %}",
    ] {
        let reason = refusal(&format!("{each}{body}{{% endfor %}}")).1;
        let named = matches!(&reason, Reason::Unsupported(what) if what.contains("\"loop\""));
        assert!(named, "{body}: {reason:?}");
    }
    for body in [
        "{% set y = loop.changed(n.x) %}{% set n.x = [n.x] %}",
        "{% set n.x = [n.x.copy] %}",
        "{% set n.x = {'a': n.x.items}.copy().items() %}{% set n.x = {'a': n.x} %}",
    ] {
        let reason = refusal(&format!("{each}{body}{{% endfor %}}")).1;
        assert_eq!(reason, Reason::TooDeep, "{body}");
    }
    // A macro may be given it.
    let given =
        "{% macro f(l) %}{{ l.index }}{% endmacro %}{% for a in 'bc' %}{{ f(loop) }}{% endfor %}";
    assert_eq!(render(given).as_deref(), Ok("12"));
}

/// The library's sort may panic where what it is given has no order.
#[test]
fn what_has_no_order_is_not_sorted() {
    let many = |element: &str| format!("[{}]", vec![element; 100].join(", "));
    for (list, said) in [
        ("[3, 'a', 1]".to_string(), "not supported between"),
        (many("3, 'a', 1, 'b', 2"), "not supported between"),
        (many("2, none, 1"), "not supported between"),
        (many("2, a, 1"), "'a' is undefined"),
        (many("[2], [1]"), "the order of lists"),
        (many("3, big - big, 1"), "NaN"),
        (many("big - big, 'a'"), "not supported between"),
    ] {
        let big = "{% set big = 1e308 * 10 %}";
        for sorted in ["| sort", "| reverse | sort"] {
            let error = render(&format!("{big}{{{{ {list} {sorted} }}}}")).expect_err("no order");
            assert!(error.to_string().contains(said), "{list}: {error}");
        }
    }
    let keys = "{{ {2: 0, 'a': 1, 1: 2, 'b': 3} | tojson(sort_keys=true) }}";
    assert!(matches!(refusal(keys).1, Reason::Failed(_)));
    for (sorted, text) in [
        ("[2.5, true, 3, 0.5, 1] | sort", "[0.5, True, 1, 2.5, 3]"),
        ("['b', 'C', 'a', 'c'] | sort", "['a', 'b', 'C', 'c']"),
        (
            "['b', 'C', 'a', 'c'] | sort(reverse=true)",
            "['C', 'c', 'b', 'a']",
        ),
        ("[none] | sort", "[None]"),
        ("[big - big] | sort | length", "1"),
    ] {
        let template = format!("{{% set big = 1e308 * 10 %}}{{{{ {sorted} }}}}");
        assert_eq!(render(&template).as_deref(), Ok(text), "{sorted}");
    }
}

/// What walks through megabytes is paid for by the byte, however few steps the operation is.
#[test]
fn long_texts_are_paid_for() {
    let texts =
        "{% set x = 'x' * 1000000 %}{% set y = ('x' * 999999) ~ 'y' %}{% set many = (x,) %}";
    let each = "{% for i in range(99999) %}";
    for operation in [
        "x.strip('x')",
        "'y'.strip(x)",
        "x | trim('x')",
        "'y' | trim(x)",
        "'y'.find(x)",
        "'y'.rfind(x)",
        "'y'.count(x)",
        "'y'.partition(x)",
        "'y'.split(x)",
        "'y'.replace(x, '')",
        "'y' | replace(x, '')",
        "x in 'y'",
        "x < y",
        "x == y",
        "x | length",
        "x is lower",
        "x | int",
        "x.startswith((y, y, y))",
        "[] | map(attribute=x) | list",
    ] {
        let template = format!("{texts}{each}{{% set z = {operation} %}}{{% endfor %}}");
        assert_eq!(refusal(&template).1, Reason::Exhausted, "{operation}");
    }
    for operation in [
        "[] | join(attribute='a.' * 99)",
        "[{}] | map(attribute='a.' * 64)",
    ] {
        let reason = refusal(&format!("{{{{ {operation} }}}}")).1;
        let named = matches!(&reason, Reason::Unsupported(what) if what.contains("64 parts"));
        assert!(named, "{operation}: {reason:?}");
    }
    let name = "a".repeat(100_000);
    for used in [
        format!("{{% set z = {name} %}}"),
        format!("{{% set z = {{}}.{name} %}}"),
        format!("{{% set n.{name} = 1 %}}"),
    ] {
        let template = format!("{{% set n = namespace() %}}{each}{used}{{% endfor %}}");
        assert_eq!(refusal(&template).1, Reason::Exhausted);
    }
    for (template, text) in [
        (
            "{{ [1, 2, 3] == [1, 2] }} {{ (1, 2) == (1, 2) }} {{ {'a': 1} == {} }}",
            "False True False",
        ),
        (
            "{{ 'xyxaxy'.strip('yx') }} {{ 'xyxaxy'.lstrip('yx') }}",
            "a axy",
        ),
        ("{{ [{'a': {'b': 1}}] | map(attribute='a.b') | join }}", "1"),
    ] {
        assert_eq!(render(template).as_deref(), Ok(text), "{template}");
    }
}

/// What is kept is paid for, eight bytes for a step. (tests/costs.rs measures the memory.)
#[test]
fn what_is_kept_is_paid_for() {
    let start = "{% set k = 'x' * 1000000 %}{% set n = namespace(x=[]) %}";
    let each = "{% for i in range(99999) %}";
    let name = "a".repeat(100_000);
    for kept in [
        "{% set n.x = n.x + [dict(**{k: 1})] %}",
        "{% macro f() %}{% endmacro %}",
        "{% with a = 1 %}{% with b = 2 %}{% macro f() %}{% endmacro %}{% endwith %}{% endwith %}",
        &format!("{{% set n.x = [{name}] %}}"),
        &format!("{{% set n.x = dict({name}=1) %}}"),
    ] {
        let template = format!("{start}{each}{kept}{{% endfor %}}");
        assert_eq!(refusal(&template).1, Reason::Exhausted);
    }
    let long = "{% set d = {} %}{{ d['x' * 1000000].y }}";
    let Reason::Failed(why) = refusal(long).1 else {
        panic!("there is no such attribute");
    };
    let said = format!("'dict object' has no attribute '{}'", "x".repeat(100));
    assert_eq!(why, said);
}

/// What the user is told: the reason with the template's line, and the template's own words.
#[test]
fn refusals_name_the_line_and_the_reason() {
    for (template, line, said) in [
        (
            "a\n{{ raise_exception('Only one ' ~ 'turn!') }}",
            2,
            "refuses these messages: Only one turn!",
        ),
        (
            "\n\n{{ messages[0].content | shout }}",
            3,
            "the filter \"shout\": not supported",
        ),
        (
            "{{ messages is shouted }}",
            1,
            "the test \"shouted\": not supported",
        ),
        ("{{ shout(1) }}", 1, "'shout' is undefined"),
        (
            "{{ messages[0].content.shout() }}",
            1,
            "'str object' has no attribute 'shout'",
        ),
        (
            "{{ messages[0].content.encode() }}",
            1,
            "the method encode of a text: not supported",
        ),
        (
            "{{ '%s' % 1 }}",
            1,
            "% as the formatting of a text: not supported",
        ),
        (
            "{{ bos_token }}",
            1,
            "bos_token, which the checkpoint does not state",
        ),
        ("{{ strftime_now('%H:%M') }}", 1, "strftime_now with \"%H\""),
        (
            "{{ messages[0].keys }}",
            1,
            "printing a builtin_function_or_method: not supported",
        ),
        (
            "{{ messages | map('upper') }}",
            1,
            "printing a generator: not supported",
        ),
        ("{{ lipsum() }}", 1, "\"lipsum\": not supported"),
        ("{{ 9223372036854775807 + 1 }}", 1, "beyond 64 bits"),
        (
            "a\n{% include 'b' %}",
            2,
            "the tag \"include\": not supported",
        ),
        (
            "{% raw %}\n{% endraw %}",
            0,
            "the tag \"raw\": not supported",
        ),
        ("{{ '\\N{DASH}' }}", 1, "the escape \\N"),
        ("{{ '\\ud83e\\udd80' }}", 1, "the escape \\u"),
        ("a\n{% if true %}\nb", 0, "ends without \"endif\""),
        ("a\n{{ 1 + }}", 2, "unexpected"),
        ("{{ 'a }}", 1, "unexpected end of string"),
        ("{# a", 1, "unexpected end of comment"),
    ] {
        let (found, reason) = refusal(template);
        assert_eq!(found.unwrap_or(0), line, "{template}");
        let error = ChatError::Render {
            line: found,
            reason,
        }
        .to_string();
        assert!(
            error.starts_with("chat template") && error.contains(said),
            "{template}: {error}"
        );
    }
    // Only what is reached counts.
    assert_eq!(
        render("{% if false %}{{ 1 | shout }}{{ bos_token }}{% endif %}x").as_deref(),
        Ok("x")
    );
}

/// A template's bytes come with a key: nothing else is read than what was written.
#[test]
fn only_canonical_bytes_are_a_template() {
    let tokens = BTreeMap::from([("bos_token".to_string(), Some("<s>".to_string()))]);
    let template = ChatTemplate::new("{{ bos_token }}".into(), tokens).expect("a template");
    let bytes = template.to_bytes();
    assert_eq!(ChatTemplate::from_bytes(&bytes), Ok(template.clone()));
    assert_eq!(ChatTemplate::digest_of(&bytes), template.digest());
    for cut in 0..bytes.len() {
        assert!(ChatTemplate::from_bytes(&bytes[..cut]).is_err());
    }
    assert!(ChatTemplate::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    for (source, name) in [("", "tools"), ("", "bos token"), ("", "")] {
        let tokens = BTreeMap::from([(name.to_string(), None)]);
        let named = ChatTemplate {
            source: source.into(),
            tokens,
        };
        assert!(matches!(
            ChatTemplate::from_bytes(&named.to_bytes()),
            Err(ChatError::Malformed(_))
        ));
    }
    let long = ChatTemplate {
        source: "x".repeat(MAX_TEMPLATE + 1),
        ..template
    };
    assert!(matches!(
        ChatTemplate::from_bytes(&long.to_bytes()),
        Err(ChatError::TooLarge(_))
    ));
}
