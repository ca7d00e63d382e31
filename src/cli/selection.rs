//! Which layers: `--layers`, and the tables of Fisher information.

use std::path::Path;
use std::str::FromStr;

use super::Failure;
use super::report::Report;
use crate::layers::FisherTable;
use crate::proof::{LayerKind, Layers, ModelId};
use crate::store::{Progress, Store};

/// The argument of `prove --layers`.
#[derive(Clone, Debug, PartialEq)]
pub enum LayersArg {
    All,
    Listed(Vec<LayerName>),
    /// A share of the proving cost.
    Fisher(f64),
    Audit(u32),
}

/// A layer as a user names it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LayerName {
    Index(u32),
    Head,
}

impl FromStr for LayersArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        if let Some(share) = text.strip_prefix("fisher:") {
            let percent = share.strip_suffix('%').and_then(|p| p.parse::<f64>().ok());
            let within = percent.filter(|p| *p > 0.0 && *p <= 100.0);
            let share = within.map(|p| Self::Fisher(p / 100.0));
            return share.ok_or_else(|| format!("{share:?} is no share of the cost", share = text));
        }
        if let Some(count) = text.strip_prefix("audit:") {
            let count = count.parse().ok().filter(|n| *n > 0);
            let count = count.map(Self::Audit);
            return count.ok_or_else(|| format!("{text:?} is no number of layers"));
        }
        let name = |name: &str| match name.trim() {
            "embedding" => Ok(LayerName::Index(0)),
            "head" => Ok(LayerName::Head),
            number => number.parse().map(LayerName::Index).map_err(|_| {
                format!("{number:?} is not a layer: give its index, `embedding` or `head`")
            }),
        };
        let names: Result<_, String> = text.split(',').map(name).collect();
        Ok(Self::Listed(names?))
    }
}

/// The layers of a model that an argument asks for.
pub fn resolve(
    arg: &LayersArg,
    blocks: usize,
    model: ModelId,
    store: &Store,
) -> Result<Layers, Failure> {
    let total = blocks + 2;
    match arg {
        LayersArg::All => Ok(Layers::All),
        LayersArg::Audit(count) => Ok(Layers::OwnDraw(*count)),
        LayersArg::Fisher(budget) => {
            let table = store.fisher_table(None, model, total)?;
            let layers = table.most_informative(*budget);
            if layers.is_empty() {
                let percent = 100.0 * budget;
                return Err(format!(
                    "the most informative layer alone costs more than {percent} % of proving all"
                )
                .into());
            }
            Ok(Layers::Listed(layers.iter().map(|l| *l as u32).collect()))
        }
        LayersArg::Listed(names) => {
            let index = |name: &LayerName| match name {
                LayerName::Index(index) => *index,
                LayerName::Head => total as u32 - 1,
            };
            let mut layers: Vec<u32> = names.iter().map(index).collect();
            layers.sort_unstable();
            layers.dedup();
            match layers.last().filter(|l| **l as usize >= total) {
                None => Ok(Layers::Listed(layers)),
                Some(layer) => Err(format!(
                    "there is no layer {layer}: 0 is the embedding, 1 to {blocks} are the blocks, {} \
                     is the head",
                    total - 1
                )
                .into()),
            }
        }
    }
}

/// The table to verify with. Without a file the one that is kept, if it can be used.
pub fn table_if_known(
    store: &Store,
    file: Option<&Path>,
    model: ModelId,
    total: usize,
    report: &Report,
) -> Result<Option<FisherTable>, Failure> {
    match (store.fisher_table(file, model, total), file) {
        (Ok(table), _) => Ok(Some(table)),
        (Err(e), Some(_)) => Err(e.into()),
        (Err(e), None) => {
            report.detail(&format!("Fisher share not known: {e}"));
            Ok(None)
        }
    }
}

/// A table's shares as the weights of a draw: in units of 2^-20, and none is 0, so that every layer
/// can be drawn.
pub fn weights(table: &FisherTable) -> Vec<u32> {
    let weight = |share: f64| ((share * f64::from(1 << 20)).round() as u32).max(1);
    table.layers.iter().map(|l| weight(l.share)).collect()
}

/// The layers with these indices, as a person reads them: "embedding, blocks 0, 3".
pub fn in_words(layers: &[LayerKind]) -> String {
    let blocks: Vec<String> = layers
        .iter()
        .filter_map(|kind| match kind {
            LayerKind::Block(block) => Some(block.to_string()),
            LayerKind::Embedding | LayerKind::Head => None,
        })
        .collect();
    let mut words = Vec::new();
    if layers.contains(&LayerKind::Embedding) {
        words.push("embedding".to_string());
    }
    match blocks.len() {
        0 => {}
        1 => words.push(format!("block {}", blocks[0])),
        _ => words.push(format!("blocks {}", blocks.join(", "))),
    }
    if layers.contains(&LayerKind::Head) {
        words.push("head".to_string());
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is no list of layers is refused as such, not read as something else.
    #[test]
    fn every_form_of_the_argument_is_read() {
        use LayerName::{Head, Index};
        for (text, expected) in [
            ("all", LayersArg::All),
            (
                "0,3,7",
                LayersArg::Listed(vec![Index(0), Index(3), Index(7)]),
            ),
            ("head, embedding", LayersArg::Listed(vec![Head, Index(0)])),
            ("fisher:50%", LayersArg::Fisher(0.5)),
            ("audit:4", LayersArg::Audit(4)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        let bad = "|,|1,|-1|1.5|tail|ALL|fisher:50|fisher:0%|fisher:101%|fisher:NaN%|fisher:|audit:0|audit:|audit:-1|4294967296";
        for text in bad.split('|') {
            assert!(text.parse::<LayersArg>().is_err(), "{text:?}");
        }
    }

    /// Whatever order a list is given in, and however often a layer stands in it.
    #[test]
    fn a_list_names_layers_of_the_model() {
        let layers = |text: &str| {
            let arg: LayersArg = text.parse().expect("a list");
            resolve(&arg, 4, ModelId([0; 32]), &Store::new(None, &()))
        };
        let listed = layers("head,2,0,2").expect("layers of the model");
        assert_eq!(listed, Layers::Listed(vec![0, 2, 5]));
        for (text, why) in [("6", "no layer 6"), ("fisher:50%", "run `nanozk fisher`")] {
            let error = layers(text).expect_err(text).to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn layers_in_words() {
        let all: Vec<LayerKind> = LayerKind::all(2).collect();
        assert_eq!(in_words(&all), "embedding, blocks 0, 1, head");
        assert_eq!(in_words(&all[1..2]), "block 0");
    }
}
