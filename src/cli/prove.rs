//! `nanozk prove`.

use std::fmt::Write;

use serde_json::{Map, json};

use super::args::Prove;
use super::commit::secret_path;
use super::coverage::{own_draw_warning, selection_name};
use super::output::check_writable;
use super::prompt::Source;
use super::report::{Report, bytes, peak_rss_bytes};
use super::{Failure, Outcome, selection, stop, store};
use crate::proof::{
    Challenge, CommitFile, Kind, Mode, OpenedModel, ProofFile, ProveOptions, ProveSummary,
    RunFolder, RunSeed, Selection, container, prove, prove_challenged, prove_resumable,
};
use crate::store::{Home, Progress, ProvableModel};

pub fn run(args: &Prove, report: &Report) -> Result<Outcome, Failure> {
    check_writable(&args.out)?;
    let audit = Audit::read(args)?;
    let given = args.prompt.read()?;
    let store = store(report);
    let ProvableModel { model, tokenizer } = store.open(args.model.name(), args.model.headroom)?;
    let setup = store.setup();
    let progress = |what: &str| report.progress(&format!("proving: {what}"));
    let mode = if args.separate {
        Mode::Separate
    } else {
        Mode::Bundled
    };
    let say = |what: &str| report.detail(what);
    let (folder, (proof, summary)) = match &audit {
        Some(Audit {
            commit,
            secret,
            challenge,
        }) => {
            let run = (commit, secret);
            let proved = prove_challenged(setup, &model, run, challenge, mode, &progress)?;
            (None, proved)
        }
        None => {
            let given = given.expect("required without --commit");
            let prompt = given.prompt(Source::own(&model, &tokenizer))?.tokens;
            let (blocks, id) = (model.model.manifest.architecture.layers, model.committed.id);
            let options = ProveOptions {
                max_new_tokens: args.max_new_tokens as usize,
                mode,
                layers: selection::resolve(&args.layers, blocks, id, &store)?,
            };
            let folder = store
                .home()
                .filter(|_| args.separate)
                .and_then(|home| run_folder(home, &model, &prompt, &options, &say));
            let proved = match &folder {
                None => prove(setup, &model, &prompt, &options, &progress)?,
                Some(f) => prove_resumable(setup, &model, &prompt, &options, f, &progress)?,
            };
            (folder, proved)
        }
    };
    let encoded = container::encode(Kind::Proof, &proof);
    container::write(&args.out, &encoded, false)?;
    if let Some(Err(e)) = folder.map(RunFolder::remove) {
        report.detail(&format!("the kept layers could not be removed: {e}"));
    }

    let said = Said {
        prompt: tokenizer.decode(&proof.statement.prompt)?,
        output: tokenizer.decode(&proof.statement.output)?,
        proof: &proof,
        summary: &summary,
        len: encoded.len(),
        out: args.out.display().to_string(),
    };
    report.result(&said.to_json(), &said.to_text())?;
    Ok(Outcome::Success)
}

/// What is proved in the third step of an audit.
struct Audit {
    commit: CommitFile,
    secret: RunSeed,
    challenge: Challenge,
}

impl Audit {
    fn read(args: &Prove) -> Result<Option<Self>, Failure> {
        let (Some(commit), Some(challenge)) = (&args.commit, &args.challenge) else {
            return Ok(None);
        };
        Ok(Some(Self {
            commit: container::read(Kind::Commitment, commit)?,
            secret: container::read(Kind::Run, &secret_path(commit))?,
            challenge: container::read(Kind::Challenge, challenge)?,
        }))
    }
}

/// Where this run keeps its finished layers. That there is no such place is no reason to fail.
fn run_folder<'a>(
    home: &Home,
    model: &OpenedModel,
    prompt: &[u32],
    options: &ProveOptions,
    say: &'a (dyn Fn(&str) + Sync),
) -> Option<RunFolder<'a>> {
    let (runs, id) = (home.runs(), model.committed.id);
    let (max, layers) = (options.max_new_tokens, &options.layers);
    let opened = RunFolder::open(&runs, id, prompt, max, layers, say);
    let why = |e| say(&format!("no layers are kept: {}: {e}", runs.display()));
    opened.map_err(why).ok()
}

/// What is said of a proof that was made.
struct Said<'a> {
    prompt: String,
    output: String,
    proof: &'a ProofFile,
    summary: &'a ProveSummary,
    /// Bytes of the file.
    len: usize,
    out: String,
}

impl Said<'_> {
    /// The layers of the model.
    fn total(&self) -> usize {
        self.proof.statement.chain.len() + 1
    }

    fn to_json(&self) -> serde_json::Value {
        let (statement, summary) = (&self.proof.statement, self.summary);
        let layers: Vec<_> = statement
            .layers
            .iter()
            .zip(&summary.layers)
            .map(|(index, (kind, bytes, seconds))| {
                json!({ "index": index, "kind": kind.name(), "bytes": bytes, "seconds": seconds })
            })
            .collect();
        let phases: Map<String, serde_json::Value> = summary
            .phases
            .iter()
            .map(|(name, s)| (name.to_string(), json!(s)))
            .collect();
        json!({
            "model_id": statement.model_id.to_string(),
            "prompt": self.prompt,
            "output": self.output,
            "prompt_tokens": statement.prompt,
            "output_tokens": statement.output,
            "stop": stop::to_json(statement.stop.end(&statement.output)),
            "tokens_in": statement.prompt.len(),
            "tokens_out": statement.output.len(),
            "layers": layers,
            "layers_total": self.total(),
            "layers_resumed": summary.resumed,
            "selection": selection_name(statement.selection),
            "proof_bytes": self.len,
            "seconds": summary.seconds,
            "phases": phases,
            "threads": rayon::current_num_threads(),
            "peak_rss_bytes": peak_rss_bytes(),
            "out": self.out,
        })
    }

    /// The first lines: what was proved, and how much of it.
    fn headline(&self) -> String {
        let (s, summary) = (&self.proof.statement, self.summary);
        let (proved, total) = (s.layers.len(), self.total());
        let (what, of) = if proved == total {
            ("proved".to_string(), String::new())
        } else {
            (
                format!("proved in {proved} of {total} layers"),
                format!(" of {total}"),
            )
        };
        let own = match s.selection {
            Selection::OwnDraw => own_draw_warning(total, proved) + "\n",
            Selection::Chosen | Selection::Challenge(_) => String::new(),
        };
        format!(
            "{what}: model {} answered {:?} to {:?}\n{own}  {} + {} tokens, {} positions, {proved}{of} \
             layers, {:.2} s on {} threads\n  {}\n",
            s.model_id,
            self.output,
            self.prompt,
            s.prompt.len(),
            s.output.len(),
            s.padded,
            summary.seconds,
            rayon::current_num_threads(),
            stop::in_words(s.stop.end(&s.output)),
        )
    }

    fn to_text(&self) -> String {
        let summary = self.summary;
        let mut text = self.headline();
        let w = &mut text;
        // Writing to a `String` cannot fail.
        if summary.resumed > 0 {
            let _ = writeln!(w, "  {} layers kept of an interrupted run", summary.resumed);
        }
        for (name, seconds) in &summary.phases {
            let _ = writeln!(w, "  {name:<10} {seconds:>8.2} s");
        }
        for (kind, n, seconds) in &summary.layers {
            let _ = writeln!(
                w,
                "  {:<10} {:>10}   {seconds:>6.2} s",
                kind.to_string(),
                bytes(*n)
            );
        }
        let _ = writeln!(w, "  {}: {}", self.out, bytes(self.len));
        if let Some(peak) = peak_rss_bytes() {
            let _ = writeln!(w, "  peak memory {}", bytes(peak as usize));
        }
        text
    }
}
