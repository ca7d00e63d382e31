//! `docs/models.md` has the tables, in this order.

use std::fs;

use super::table::{Effect, Row};
use super::{MODEL_TYPES, common, generation, rope};
use crate::model::gguf::architecture::ARCHITECTURES;
use crate::model::tokenizer_config;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/models.md");

/// A row of the document.
fn line(row: &Row) -> String {
    let kinds: Vec<_> = row.kinds.iter().map(|kind| kind.name()).collect();
    let (values, text) = match row.effect {
        Effect::Read(text) => (kinds.join(", "), text.to_string()),
        Effect::Idle(why) => (kinds.join(", "), format!("nothing ({why})")),
        Effect::Only([], why) => ("none".to_string(), why.to_string()),
        Effect::Only(values, why) => (format!("`{}`", values.join("`, `")), why.to_string()),
        Effect::Alias(of) => (
            kinds.join(", "),
            format!("another name of `{of}`, which wins over it"),
        ),
    };
    let default = match row.default {
        "" => String::new(),
        default => format!("`{default}`"),
    };
    format!("| `{}` | {values} | {default} | {text} |\n", row.key)
}

fn table(rows: &[Row]) -> String {
    let head = "| key | accepted | default | what it does |\n| --- | --- | --- | --- |\n";
    head.to_string() + &rows.iter().map(line).collect::<String>()
}

/// What is written between the heading and the next one, but for the table, is free.
#[test]
fn the_document_has_the_tables() {
    let mut document = fs::read_to_string(DOCUMENT).expect("docs/models.md");
    let own = MODEL_TYPES
        .iter()
        .map(|model| (format!("`{}`", model.tensors.model_type), model.tables[0]));
    let sections = own.chain([
        ("Rotations".to_string(), rope::KEYS),
        ("Every model_type".to_string(), common::KEYS),
        ("Options of `generate`".to_string(), generation::KEYS),
        (
            "`tokenizer_config.json`".to_string(),
            tokenizer_config::KEYS,
        ),
    ]);
    let architectures = ARCHITECTURES
        .iter()
        .map(|architecture| (format!("`{}.*`", architecture.name), architecture.tables[0]));
    let [_, rotations, shared] = ARCHITECTURES[1].tables;
    let several = [
        ("Rotations of a GGUF file".to_string(), rotations),
        ("Every architecture".to_string(), shared),
    ];
    let sections = sections.chain(architectures).chain(several);
    for (title, rows) in sections {
        let heading = format!("### {title}\n");
        let start = document
            .find(&heading)
            .unwrap_or_else(|| panic!("no heading {heading}"));
        let start = start + document[start..].find("| key |").expect("a table");
        let end = document[start..]
            .find("\n\n")
            .map_or(document.len(), |at| start + at + 1);
        document.replace_range(start..end, &table(rows));
    }
    if std::env::var_os("NANOZK_REGENERATE").is_some() {
        fs::write(DOCUMENT, &document).expect("a writable folder");
    }
    let found = fs::read_to_string(DOCUMENT).expect("docs/models.md");
    assert!(
        found == document,
        "NANOZK_REGENERATE=1 cargo test the_document_has_the_tables"
    );
}
