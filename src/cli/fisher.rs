//! `nanozk fisher`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::args::Fisher as Args;
use super::output::check_writable;
use super::plot::{Chart, Series, SeriesLabelPosition, draw};
use super::report::Report;
use super::{Failure, Outcome, store};
use crate::files;
use crate::layers::{Coverage, Covered, FisherLayer, FisherTable, SHUFFLES};
use crate::model::{Fisher, FisherModel, Precision};
use crate::proof::{LayerKind, Layers, Mode, OpenedModel, ProveOptions, Setup, container, prove};
use crate::store::Progress;

/// The positions at which proving is timed.
const COST_POSITIONS: usize = 16;

/// How often it is timed: the first time, keys of seals are derived.
const COST_RUNS: usize = 2;

/// The budgets between nothing and all at which coverage is told.
const BUDGETS: u32 = 20;

pub fn run(args: &Args, report: &Report) -> Result<Outcome, Failure> {
    if let Some(path) = &args.svg {
        check_writable(path)?;
    }
    let text =
        files::read_to_string(&args.text).map_err(|e| format!("{}: {e}", args.text.display()))?;
    let store = store(report);
    let checkpoint = store.checkpoint(args.model.name())?;
    let context = checkpoint.config.context;
    if args.ctx > context {
        return Err(format!(
            "a window of {} tokens exceeds the model's context of {context}: give a smaller --ctx",
            args.ctx
        )
        .into());
    }
    let tokens = checkpoint.tokenizer.encode(&text)?;
    let windows = windows(&tokens, args.ctx, args.tokens as usize);
    if windows.is_empty() {
        return Err(too_short(&args.text, tokens.len()).into());
    }

    let file = store.checkpoint_model(&checkpoint, args.model.headroom)?;
    let id = file.id();
    let prompt = &tokens[..tokens.len().min(COST_POSITIONS)];
    let (kinds, costs) = costs(store.setup(), &file.open()?, prompt, report)?;
    let precision = Precision::Single;
    let model = FisherModel::new(&checkpoint.config, &checkpoint.weights, precision)?;
    let name = checkpoint.name.clone();
    drop(checkpoint);
    let fisher = gradients(&model, &windows, report)?;

    let table = table(id.to_string(), args.ctx, &fisher, &kinds, &costs);
    let result = Findings::new(name, table);
    let json = result.to_json();
    let kept = store.keep_fisher_table(id, &format!("{json}\n"));
    if let Some(path) = &args.svg {
        container::write(path, result.plot().as_bytes(), false)?;
    }
    report.result(&json, &result.to_text(kept.as_ref()))?;
    Ok(Outcome::Success)
}

fn too_short(path: &Path, tokens: usize) -> String {
    format!(
        "{}: {tokens} tokens: predicting needs at least two, give a longer text",
        path.display()
    )
}

/// Windows of `ctx` tokens, evenly spread over the text, that predict `count` tokens together (or as
/// many as the text has): all tokens of a window but the first.
fn windows(tokens: &[u32], ctx: usize, count: usize) -> Vec<&[u32]> {
    let all: Vec<&[u32]> = tokens.chunks(ctx).filter(|w| w.len() > 1).collect();
    let taken = count.div_ceil(ctx - 1).min(all.len());
    let mut left = count;
    let window = |i: usize| {
        let window = all[i * all.len() / taken];
        let window = &window[..window.len().min(left + 1)];
        left -= window.len() - 1;
        window
    };
    (0..taken).map(window).collect()
}

/// The layers, and the seconds that each takes to prove on its own: the least of two times. Blocks
/// are of one shape, and have the median of theirs.
fn costs(
    setup: &Setup,
    model: &OpenedModel,
    prompt: &[u32],
    report: &Report,
) -> Result<(Vec<LayerKind>, Vec<f64>), Failure> {
    let options = ProveOptions {
        max_new_tokens: 1,
        mode: Mode::Separate,
        layers: Layers::All,
    };
    let (mut kinds, mut costs) = (Vec::new(), Vec::new());
    for run in 1..=COST_RUNS {
        let progress = |what: &str| {
            report.progress(&format!("timing proofs, {run} of {COST_RUNS}: {what}"));
        };
        let (_, summary) = prove(setup, model, prompt, &options, &progress)?;
        kinds = summary.layers.iter().map(|(kind, ..)| *kind).collect();
        costs.resize(kinds.len(), f64::INFINITY);
        for (least, (.., seconds)) in costs.iter_mut().zip(&summary.layers) {
            *least = least.min(*seconds);
        }
    }
    let last = costs.len() - 1;
    let blocks = &mut costs[1..last];
    blocks.sort_unstable_by(f64::total_cmp);
    let median = blocks[blocks.len() / 2];
    blocks.fill(median);
    Ok((kinds, costs))
}

fn gradients(model: &FisherModel, windows: &[&[u32]], report: &Report) -> Result<Fisher, Failure> {
    let count: usize = windows.iter().map(|w| w.len() - 1).sum();
    let mut fisher = Fisher::default();
    let mut begun = 0;
    let mut next = || {
        begun += 1;
        report.progress(&format!("gradient {begun} of {count}"));
    };
    for window in windows {
        for norms in model.squared_gradients(window, &mut next)? {
            fisher.add(&norms);
        }
    }
    Ok(fisher)
}

fn table(
    model_id: String,
    ctx: usize,
    fisher: &Fisher,
    kinds: &[LayerKind],
    costs: &[f64],
) -> FisherTable {
    let information: f64 = fisher.layers().map(|(value, _)| value).sum();
    let cost: f64 = costs.iter().sum();
    let values = fisher.layers().zip(kinds.iter().zip(costs));
    let mut layers = Vec::new();
    for ((fisher, standard_error), (kind, seconds)) in values {
        layers.push(FisherLayer {
            index: layers.len(),
            kind: kind.name().to_string(),
            fisher,
            standard_error,
            share: fisher / information,
            cost: seconds / cost,
        });
    }
    FisherTable {
        model_id,
        tokens: fisher.tokens,
        ctx,
        layers,
    }
}

/// What was found of a model.
struct Findings {
    model: String,
    table: FisherTable,
    /// Coverage at budgets from 0 to 1.
    curve: Vec<(f64, Covered)>,
    half: Covered,
    /// The same of the blocks among themselves.
    half_of_blocks: Covered,
}

impl Findings {
    fn new(model: String, table: FisherTable) -> Self {
        let coverage = Coverage::new(&table);
        let budgets = (0..=BUDGETS).map(|i| f64::from(i) / f64::from(BUDGETS));
        Self {
            curve: budgets.map(|b| (b, coverage.within(b))).collect(),
            half: coverage.within(0.5),
            half_of_blocks: Coverage::new(&table.of_kind("block")).within(0.5),
            model,
            table,
        }
    }

    fn to_json(&self) -> Value {
        let covered = |c: &Covered| {
            json!({
                "informed": c.informed,
                "random_mean": c.random,
                "random_interval": c.interval,
                "advantage": c.advantage(),
                "first": c.first,
                "middle": c.middle,
                "last": c.last,
            })
        };
        let at = |(budget, c): &(f64, Covered)| {
            let mut json = covered(c);
            json["cost"] = json!(budget);
            json
        };
        let mut json = json!({
            "model": self.model,
            "shuffles": SHUFFLES,
            "order": self.table.by_information(),
            "coverage_at_half_cost": self.half.informed,
            "random_mean_at_half_cost": self.half.random,
            "at_half_cost": covered(&self.half),
            "blocks_at_half_cost": covered(&self.half_of_blocks),
            "coverage": self.curve.iter().map(at).collect::<Vec<_>>(),
        });
        let Value::Object(table) = json!(self.table) else {
            unreachable!("a struct is an object")
        };
        json.as_object_mut().expect("an object").extend(table);
        json
    }

    fn to_text(&self, kept: Option<&PathBuf>) -> String {
        let (table, half) = (&self.table, &self.half);
        let mut text = format!(
            "half of the proving cost covers {:.1} % of the Fisher information, {:+.1} points over \
             a random order\n\n",
            100.0 * half.informed,
            100.0 * half.advantage(),
        );
        let w = &mut text;
        // Writing to a `String` cannot fail.
        let _ = writeln!(w, "model     {} ({})", table.model_id, self.model);
        let _ = writeln!(
            w,
            "tokens    {} predicted, in windows of up to {}",
            table.tokens, table.ctx
        );
        if let Some(path) = kept {
            let _ = writeln!(w, "kept in   {}", path.display());
        }
        self.layers_text(w);
        self.coverage_text(w);
        text
    }

    /// The layers, the most informative first.
    fn layers_text(&self, w: &mut String) {
        let _ = writeln!(
            w,
            "\nlayer        Fisher information         share    covered       cost    in total"
        );
        let (mut share, mut cost) = (0.0, 0.0);
        for layer in self.table.by_information() {
            let l = &self.table.layers[layer];
            share += l.share;
            cost += l.cost;
            let name = match l.kind.as_str() {
                "block" => format!("block {}", l.index - 1),
                kind => kind.to_string(),
            };
            let _ = writeln!(
                w,
                "{name:10} {:10.4e} ± {:8.2e}   {:6.2} %   {:6.2} %   {:6.2} %   {:6.2} %",
                l.fisher,
                l.standard_error,
                100.0 * l.share,
                100.0 * share,
                100.0 * l.cost,
                100.0 * cost,
            );
        }
    }

    /// Coverage in every order.
    fn coverage_text(&self, w: &mut String) {
        let _ = writeln!(
            w,
            "\ncovered within      informed     random      (95 % of {SHUFFLES})    first    middle      last"
        );
        let mut line = |name: &str, c: &Covered| {
            let percent =
                [c.informed, c.random, c.interval[0], c.interval[1]].map(|share| 100.0 * share);
            let [informed, random, low, high] = percent;
            let [first, middle, last] = [c.first, c.middle, c.last].map(|share| 100.0 * share);
            let _ = writeln!(
                w,
                "{name:17} {informed:8.1} % {random:8.1} %   {low:6.1} to {high:5.1} % {first:8.1} % \
                 {middle:7.1} % {last:7.1} %"
            );
        };
        for (budget, covered) in self.curve.iter().step_by(2) {
            line(&format!("{:.0} % of the cost", 100.0 * budget), covered);
        }
        line("half of the blocks", &self.half_of_blocks);
    }

    fn plot(&self) -> String {
        let layers = self.table.layers.iter();
        let shares = Series {
            name: "Fisher information",
            points: layers.map(|l| (l.index as f64, 100.0 * l.share)).collect(),
        };
        let series = |name, value: fn(&Covered) -> f64| Series {
            name,
            points: self
                .curve
                .iter()
                .map(|(budget, covered)| (100.0 * budget, 100.0 * value(covered)))
                .collect(),
        };
        draw(&[
            Chart {
                title: "share of each layer, %",
                x: "layer (0: embedding, last: head)",
                series: vec![shares],
                legend: None,
            },
            Chart {
                title: "covered, %",
                x: "% of the proving cost",
                series: vec![
                    series("informed", |c| c.informed),
                    series("random, mean", |c| c.random),
                    series("random, 2.5 %", |c| c.interval[0]),
                    series("random, 97.5 %", |c| c.interval[1]),
                ],
                legend: Some(SeriesLabelPosition::LowerRight),
            },
            Chart {
                title: "covered, %",
                x: "% of the proving cost",
                series: vec![
                    series("informed", |c| c.informed),
                    series("first", |c| c.first),
                    series("middle", |c| c.middle),
                    series("last", |c| c.last),
                ],
                legend: Some(SeriesLabelPosition::LowerRight),
            },
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That as many tokens are predicted as were asked for, each once, from all over the text.
    #[test]
    fn windows_are_spread_over_the_text() {
        let text: Vec<u32> = (0..103).collect();
        let starts = |windows: &[&[u32]]| windows.iter().map(|w| w[0]).collect::<Vec<_>>();
        let found = windows(&text, 10, 20);
        assert_eq!(starts(&found), [0, 30, 70]);
        assert_eq!(found.iter().map(|w| w.len() - 1).sum::<usize>(), 20);
        // All there is: 10 windows of 10 and one of 3.
        let found = windows(&text, 10, 1000);
        assert_eq!(found.iter().map(|w| w.len() - 1).sum::<usize>(), 92);
        assert_eq!(windows(&text[..101], 10, 1000).len(), 10);
        assert!(windows(&text[..1], 10, 5).is_empty());
    }
}
