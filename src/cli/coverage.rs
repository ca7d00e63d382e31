//! What a proof of some layers covers, in words and for machines.

use std::fmt::{self, Display, Formatter};

use serde_json::{Value, json};

use super::selection::in_words;
use crate::layers::FisherTable;
use crate::proof::audit::{catching, missing_draws};
use crate::proof::{Challenge, LayerKind, Selection, Statement, Verified};

/// So many numbers of cheated layers are shown.
const SHOWN: usize = 8;

/// How likely a challenge catches a provider who cheated in 1, 2, … layers.
pub struct Odds {
    weighted: bool,
    catching: Vec<f64>,
}

impl Odds {
    pub fn of(challenge: &Challenge) -> Self {
        let (weights, count) = (&challenge.weights, challenge.count as usize);
        let cheated = 1..=weights.len().min(SHOWN);
        Self {
            weighted: !challenge.uniform(),
            catching: cheated.map(|j| catching(weights, count, j)).collect(),
        }
    }

    /// The probabilities for 1, 2, … layers.
    pub fn to_json(&self) -> Value {
        json!(self.catching)
    }
}

impl Display for Odds {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let draw = if self.weighted {
            "weighted by Fisher information: at least, for the layers least likely to be drawn"
        } else {
            "uniform"
        };
        write!(
            f,
            "  a draw like this catches who cheated in j layers ({draw})\n  "
        )?;
        // Rounded down: a bound must not be overstated.
        let down = |p: f64| (1000.0 * p + 1e-9).floor() / 1000.0;
        for (j, p) in (1..).zip(&self.catching) {
            write!(f, "  j={j}: {:.3}", down(*p))?;
        }
        Ok(())
    }
}

/// What was verified of a file.
pub struct Coverage<'a> {
    pub statement: &'a Statement,
    pub verified: &'a Verified,
    /// The challenge that the proof answers, if the verifier gave it.
    pub challenge: Option<&'a Challenge>,
    /// The verifier's own table.
    pub table: Option<&'a FisherTable>,
}

impl Coverage<'_> {
    /// The beginning of the first line.
    pub fn verdict(&self) -> String {
        if self.verified.complete() {
            return "valid".into();
        }
        let is_block = |k: &&LayerKind| matches!(k, LayerKind::Block(_));
        let proved = self.verified.layers.iter().filter(is_block).count();
        let blocks = self.verified.total - 2;
        let draw = match (self.statement.selection, self.challenge) {
            (Selection::OwnDraw, _) => ", drawn by the prover",
            (Selection::Challenge(_), None) => ", by a challenge that was NOT CHECKED",
            _ => "",
        };
        format!("partial: {proved} of {blocks} blocks{draw}")
    }

    /// The share of the Fisher information that the proved layers have.
    pub fn fisher_share(&self) -> Option<f64> {
        let shares = |t: &FisherTable| {
            let proved = self.statement.layers.iter();
            proved.map(|l| t.layers[*l as usize].share).sum()
        };
        self.table.map(shares)
    }

    /// The lines after the first.
    pub fn words(&self, seconds: f64) -> String {
        let Verified { layers, total } = self.verified;
        let mut lines = Vec::new();
        if self.verified.complete() {
            lines.push(format!("  all {total} layers, {seconds:.3} s"));
        } else {
            let proved = in_words(layers);
            lines.push(format!(
                "  {} of {total} layers, {seconds:.3} s: {proved}",
                layers.len()
            ));
            let others = LayerKind::all(total - 2).filter(|k| !layers.contains(k));
            let others: Vec<LayerKind> = others.collect();
            lines.push(format!(
                "  nothing is proved of: {}; so the output need not be this model's",
                in_words(&others)
            ));
        }
        if let Some(share) = self.fisher_share() {
            lines.push(format!(
                "  {:.1} % of the Fisher information, by your table: a measure, no guarantee",
                100.0 * share
            ));
        }
        lines.extend(self.draw());
        lines.join("\n")
    }

    /// What the selection of the layers is worth.
    fn draw(&self) -> Option<String> {
        match (self.statement.selection, self.challenge) {
            (Selection::Chosen, _) => None,
            (Selection::OwnDraw, _) => Some(own_draw_warning(
                self.verified.total,
                self.verified.layers.len(),
            )),
            (Selection::Challenge(_), None) => Some(
                "  the file says that a challenge drew these layers. THAT WAS NOT CHECKED: pass your \
                 copy of it as --challenge"
                    .into(),
            ),
            (Selection::Challenge(_), Some(challenge)) => {
                let odds = Odds::of(challenge);
                Some(format!("  these are the layers that your challenge draws\n{odds}"))
            }
        }
    }
}

/// How the layers were selected, by the file's own words, for machines.
pub fn selection_name(selection: Selection) -> &'static str {
    match selection {
        Selection::Chosen => "chosen",
        Selection::OwnDraw => "own draw",
        Selection::Challenge(_) => "challenge",
    }
}

/// Why a draw by the prover itself shows nothing, with the number of attempts.
pub fn own_draw_warning(total: usize, drawn: usize) -> String {
    if drawn == total {
        return "  drawn by the prover itself: all layers".into();
    }
    let attempts = missing_draws(total, drawn, 1);
    format!(
        "  drawn by the prover itself. That PROVES NOTHING against a prover who commits again until the \
         draw suits it:\n  to miss one layer takes {attempts:.1} attempts on average. For an audit use \
         `nanozk commit` and `nanozk challenge`"
    )
}
