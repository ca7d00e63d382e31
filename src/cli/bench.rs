//! `nanozk bench`.

use std::fmt::Write;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::args::Bench;
use super::output::check_writable;
use super::plot::{Chart, Series, SeriesLabelPosition, draw};
use super::report::{Machine, Report, bytes, peak_rss_bytes, reset_peak_rss};
use super::{Failure, Outcome, store};
use crate::layers::quantize_checkpoint;
use crate::model::{Config, synthetic};
use crate::proof::{
    BlindingSeed, BlockCosts, Kind, Layers, Mode, ModelFile, OpenedModel, ProveOptions, Setup,
    container, measure_blocks, points_in_lanes, prove, verify,
};
use crate::store::Progress;

/// One line of the table: a width and a sequence length.
struct Row {
    config: Config,
    seq: usize,
    costs: BlockCosts,
    peak_rss: Option<u64>,
}

/// All of GPT-2 small's shape.
struct Full {
    seq: usize,
    new_tokens: usize,
    commit: f64,
    prove: f64,
    phases: Vec<(&'static str, f64)>,
    verify: f64,
    bytes: usize,
    peak_rss: Option<u64>,
}

pub fn run(args: &Bench, report: &Report) -> Result<Outcome, Failure> {
    for path in [&args.json, &args.svg].into_iter().flatten() {
        if path.as_os_str() != "-" {
            check_writable(path)?;
        }
    }
    let machine = Machine::now();
    let store = store(report);
    let setup = store.setup();
    let mut rows = Vec::new();
    for config in configs(args) {
        rows.extend(measure(&config, args, setup, report)?);
    }
    let full = args.full.then(|| measure_full(setup, report)).transpose()?;

    let json = to_json(&machine, args, &rows, full.as_ref());
    if let Some(path) = &args.svg {
        container::write(path, plot(&rows).as_bytes(), false)?;
    }
    match &args.json {
        Some(path) if path.as_os_str() == "-" => {
            report.result(&json, &json.to_string())?;
            return Ok(Outcome::Success);
        }
        Some(path) => container::write(path, format!("{json:#}\n").as_bytes(), false)?,
        None => {}
    }
    report.result(&json, &to_text(&machine, args, &rows, full.as_ref()))?;
    Ok(Outcome::Success)
}

/// A random model, quantized and committed to, and the seconds that committing took.
fn synthetic_model(
    config: Config,
    setup: &Setup,
    report: &Report,
) -> Result<(OpenedModel, f64), Failure> {
    report.progress(&format!("making a model of width {}", config.width));
    let checkpoint = synthetic::checkpoint(config, 7);
    let text = "Every byte is a token of this model. ".repeat(4);
    let model = quantize_checkpoint(&checkpoint, &text, 1, true)?.model;
    let tokenizer = checkpoint.tokenizer.to_json();
    drop(checkpoint);
    let start = Instant::now();
    let file = ModelFile::commit(model, BlindingSeed::OPEN, tokenizer, setup, &|done, of| {
        report.progress(&format!("committing to weights: tensor {done} of {of}"));
    });
    let seconds = start.elapsed().as_secs_f64();
    Ok((file.open()?, seconds))
}

/// Tokens that need no padding.
fn prompt(len: usize) -> Vec<u32> {
    (0..len as u32).map(|i| (65 + 7 * i) % 256).collect()
}

/// The models of which blocks are measured.
fn configs(args: &Bench) -> Vec<Config> {
    let layers = usize::from(args.blocks.max(args.bundle));
    let context = args.seq.0.iter().copied().max().unwrap_or(0).max(64);
    if args.shape.is_empty() {
        let gpt2 = |d: &usize| synthetic::config(layers, d / 64, 512, context);
        return args.dims.0.iter().map(gpt2).collect();
    }
    let shapes = args.shape.iter();
    shapes.map(|shape| shape.blocks(layers, context)).collect()
}

fn measure(
    config: &Config,
    args: &Bench,
    setup: &Setup,
    report: &Report,
) -> Result<Vec<Row>, Failure> {
    let [alone, bundle, repeat] = [args.blocks, args.bundle, args.repeat].map(usize::from);
    let d = config.width;
    let (model, _) = synthetic_model(config.clone(), setup, report)?;
    let measure = |seq: &usize| {
        report.progress(&format!("d = {d}, {seq} tokens"));
        reset_peak_rss();
        let costs = measure_blocks(setup, &model, &prompt(*seq), [alone, bundle, repeat])?;
        Ok(Row {
            config: config.clone(),
            seq: *seq,
            costs,
            peak_rss: peak_rss_bytes(),
        })
    };
    args.seq.0.iter().map(measure).collect()
}

fn measure_full(setup: &Setup, report: &Report) -> Result<Full, Failure> {
    let (seq, new_tokens) = (16, 1);
    let config = synthetic::config(12, 12, 50_257, 1024);
    let (model, commit) = synthetic_model(config, setup, report)?;
    let options = ProveOptions {
        max_new_tokens: new_tokens,
        mode: Mode::Bundled,
        layers: Layers::All,
    };
    reset_peak_rss();
    let progress = |phase: &str| report.progress(&format!("all of GPT-2 small: {phase}"));
    let (proof, summary) = prove(setup, &model, &prompt(seq), &options, &progress)?;
    let peak_rss = peak_rss_bytes();
    let start = Instant::now();
    verify(setup, &model.committed, &proof)?;
    Ok(Full {
        seq,
        new_tokens,
        commit,
        prove: summary.seconds,
        phases: summary.phases,
        verify: start.elapsed().as_secs_f64(),
        bytes: container::encode(Kind::Proof, &proof).len(),
        peak_rss,
    })
}

fn to_json(machine: &Machine, args: &Bench, rows: &[Row], full: Option<&Full>) -> Value {
    let mut json = json!({
        "machine": machine.to_string(),
        "load": machine.load,
        "threads": rayon::current_num_threads(),
        "version": env!("CARGO_PKG_VERSION"),
        "field_arithmetic": pasta_curves::BACKEND,
        "points": lanes(),
        "bundle": args.bundle,
        "repeat": args.repeat,
        "rows": rows.iter().map(|r| row_json(r, args)).collect::<Vec<_>>(),
    });
    if let Some(f) = full {
        json["full"] = json!({
            "seq": f.seq,
            "new_tokens": f.new_tokens,
            "commit_model_s": f.commit,
            "prove_s": f.prove,
            "phases": f.phases.iter().map(|(n, s)| (n.to_string(), json!(s))).collect::<Map<_, _>>(),
            "verify_s": f.verify,
            "proof_bytes": f.bytes,
            "peak_rss_bytes": f.peak_rss,
        });
    }
    json
}

fn row_json(row: &Row, args: &Bench) -> Value {
    let (c, costs) = (&row.config, &row.costs);
    let mut json = json!({
        "d": c.width, "heads": c.heads, "kv_heads": c.kv_heads, "d_ff": c.hidden, "seq": row.seq, "blocks": args.blocks,
        "prove_s": costs.prove,
        "prove_bundled_s_per_block": costs.bundled_prove,
        "verify_s": costs.verify,
        "verify_bundled_s_per_block": costs.bundled_verify,
        "proof_bytes": costs.bytes,
        "proof_bytes_bundled_per_block": costs.bundled_bytes,
        "peak_rss_bytes": row.peak_rss,
    });
    for (phase, seconds) in &costs.phases {
        json[format!("{phase}_s")] = json!(seconds);
    }
    json
}

/// How points are added up here.
fn lanes() -> &'static str {
    if points_in_lanes() {
        "in lanes of AVX-512"
    } else {
        "one by one"
    }
}

fn to_text(machine: &Machine, args: &Bench, rows: &[Row], full: Option<&Full>) -> String {
    let mut text = format!(
        "{machine}, {} threads, load {}, nanozk {}, {} field arithmetic, points {}\n",
        rayon::current_num_threads(),
        machine.load_text(),
        env!("CARGO_PKG_VERSION"),
        pasta_curves::BACKEND,
        lanes(),
    );
    let w = &mut text;
    // Writing to a `String` cannot fail.
    let _ = write!(w, "one block, seconds\n{:>5} {:>5}", "d", "seq");
    for (phase, _) in rows.first().map_or(&[][..], |r| &r.costs.phases) {
        let _ = write!(w, " {phase:>8}");
    }
    let heads = [
        "prove", "verify", "bytes", "bundled", "verify", "bytes", "peak",
    ];
    for head in heads {
        let _ = write!(w, " {head:>8}");
    }
    for r in rows {
        let c = &r.costs;
        let _ = write!(w, "\n{:>5} {:>5}", r.config.width, r.seq);
        let phases = c.phases.iter().map(|(_, s)| *s);
        for seconds in phases.chain([c.prove, c.verify]) {
            let _ = write!(w, " {seconds:>8.3}");
        }
        let peak = r.peak_rss.map_or("?".into(), |p| bytes(p as usize));
        let _ = write!(
            w,
            " {:>8} {:>8.3} {:>8.4} {:>8} {peak:>8}",
            c.bytes, c.bundled_prove, c.bundled_verify, c.bundled_bytes
        );
    }
    let _ = writeln!(
        w,
        "\nbundled: per block, {} blocks in one proof; medians of {}",
        args.bundle, args.repeat
    );
    per_token(w, rows);
    if let Some(f) = full {
        full_text(w, f);
    }
    text
}

/// What a token more costs, from the shortest to the longest sequence of each width.
fn per_token(w: &mut String, rows: &[Row]) {
    for group in rows.chunk_by(|a, b| a.config.width == b.config.width) {
        let (first, last) = (&group[0], &group[group.len() - 1]);
        if first.seq < last.seq {
            let slope = (last.costs.prove - first.costs.prove) / (last.seq - first.seq) as f64;
            let _ = writeln!(
                w,
                "d = {}: {slope:.4} s per added token, {} to {} tokens",
                first.config.width, first.seq, last.seq
            );
        }
    }
}

fn full_text(w: &mut String, f: &Full) {
    let phases: Vec<String> = f
        .phases
        .iter()
        .map(|(name, s)| format!("{name} {s:.2}"))
        .collect();
    let peak = f.peak_rss.map_or("?".into(), |p| bytes(p as usize));
    let _ = writeln!(
        w,
        "all of GPT-2 small, {} positions, {} new token: prove {:.2} s ({}), verify {:.3} s, {}, peak \
         {peak}; committing to the weights once {:.1} s",
        f.seq,
        f.new_tokens,
        f.prove,
        phases.join(", "),
        f.verify,
        bytes(f.bytes),
        f.commit,
    );
}

/// Time and size against the width, or against the sequence length where there is one width only.
fn plot(rows: &[Row]) -> String {
    let one_width = rows.iter().all(|r| r.config.width == rows[0].config.width);
    let x = |r: &Row| if one_width { r.seq } else { r.config.width } as f64;
    let x_name = if one_width { "tokens" } else { "d" };
    let series = |name: &'static str, y: &dyn Fn(&BlockCosts) -> f64| Series {
        name,
        points: rows.iter().map(|r| (x(r), y(&r.costs))).collect(),
    };
    draw(&[
        Chart {
            title: "seconds to prove a block",
            x: x_name,
            series: vec![
                series("alone", &|c| c.prove),
                series("bundled", &|c| c.bundled_prove),
            ],
            legend: Some(SeriesLabelPosition::MiddleRight),
        },
        Chart {
            title: "milliseconds to verify a block",
            x: x_name,
            series: vec![
                series("alone", &|c| 1e3 * c.verify),
                series("bundled", &|c| 1e3 * c.bundled_verify),
            ],
            legend: Some(SeriesLabelPosition::MiddleRight),
        },
        Chart {
            title: "proof bytes of a block",
            x: x_name,
            series: vec![
                series("alone", &|c| c.bytes as f64),
                series("bundled", &|c| c.bundled_bytes as f64),
            ],
            legend: Some(SeriesLabelPosition::MiddleRight),
        },
    ])
}
