//! Partial proofs and audits under attack, on the tiny model: embedding, one block, head.

use std::sync::OnceLock;

use super::*;
use crate::layers::{self, LayerKind};
use crate::proof::prover::prove_bundle;
use crate::proof::run::{Run, commit_run_with, fresh_blinds};
use crate::proof::statement::StatementError;
use crate::proof::testing::{PROMPT, tiny_model};
use crate::proof::{
    LayerProofs, Layers, Mode, OpenedModel, ProofFile, ProveError, ProveOptions, RunSeed, Setup,
    VerifyError, commit, prove, prove_challenged, verify,
};
use crate::seal::bundle::BundleProof;

const LAYERS: usize = 3;
/// The layer in which the cheating provider cheats.
const BAD: u32 = 1;

struct Scene {
    setup: Setup,
    model: OpenedModel,
    commit: CommitFile,
    seed: RunSeed,
    /// Of the first two layers and its answer, bundled.
    challenge: Challenge,
    answer: ProofFile,
}

fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let setup = Setup::new(None);
        let model = tiny_model(&setup);
        let (commit, seed) = commit(&setup, &model, &PROMPT, 2).expect("committed");
        let challenge = challenge_to(&commit, 2, |layers| layers == [0, 1]);
        let (answer, _) = prove_challenged(
            &setup,
            &model,
            (&commit, &seed),
            &challenge,
            Mode::Bundled,
            &|_| {},
        )
        .expect("proved");
        Scene {
            setup,
            model,
            commit,
            seed,
            challenge,
            answer,
        }
    })
}

/// The first of a verifier's uniform challenges of `count` layers that draws what is wanted.
fn challenge_to(commit: &CommitFile, count: u32, wanted: fn(&[u32]) -> bool) -> Challenge {
    let commitment = commit.statement.commitment();
    let draw = || Challenge::new(commitment, count, vec![1; LAYERS]).expect("randomness");
    let suits = |c: &Challenge| wanted(&c.layers().expect("it can be drawn"));
    std::iter::repeat_with(draw).find(suits).expect("endless")
}

fn proved(layers: Layers, mode: Mode) -> ProofFile {
    let Scene { setup, model, .. } = scene();
    let options = ProveOptions {
        max_new_tokens: 2,
        mode,
        layers,
    };
    let (file, _) = prove(setup, model, &PROMPT, &options, &|_| {}).expect("proved");
    file
}

/// Whether the verifier accepts a file, and as what: how many layers of how many.
fn verdict(file: &ProofFile) -> Result<(usize, bool), VerifyError> {
    let Scene { setup, model, .. } = scene();
    let verified = verify(setup, &model.committed, file)?;
    assert_eq!(verified.total, LAYERS);
    Ok((verified.layers.len(), verified.complete()))
}

/// Every selection is proved in both modes, checked against the whole chain, and counted as what it is.
#[test]
fn every_subset_is_proved_and_none_is_complete() {
    let subsets: [&[u32]; 4] = [&[0], &[1], &[0, 2], &[1, 2]];
    for (layers, mode) in
        subsets
            .iter()
            .zip([Mode::Bundled, Mode::Separate, Mode::Bundled, Mode::Separate])
    {
        let mut file = proved(Layers::Listed(layers.to_vec()), mode);
        assert_eq!(file.boundaries.len(), LAYERS - 1, "of every layer");
        let accepted = verdict(&file).expect("honest");
        assert_eq!(accepted, (layers.len(), false));
        // Also of a boundary that no proved layer touches.
        for boundary in 0..LAYERS - 1 {
            file.boundaries[boundary][0].0[31] ^= 0x80;
            let refused = verdict(&file).expect_err("another commitment");
            assert!(
                matches!(refused, VerifyError::Statement(StatementError::Link(b)) if b == boundary),
                "{refused}"
            );
            file.boundaries[boundary][0].0[31] ^= 0x80;
        }
    }
    for wrong in [&[][..], &[3], &[1, 0], &[1, 1]] {
        let Scene { setup, model, .. } = scene();
        let options = ProveOptions {
            max_new_tokens: 1,
            mode: Mode::Bundled,
            layers: Layers::Listed(wrong.to_vec()),
        };
        let refused = prove(setup, model, &PROMPT, &options, &|_| {});
        assert!(
            matches!(
                refused,
                Err(ProveError::Statement(StatementError::Layers { .. }))
            ),
            "{wrong:?}"
        );
    }
}

/// The list of layers edited, with and without proofs that would fit it; proofs dropped and moved.
#[test]
fn a_partial_proof_cannot_be_relabelled() {
    let bundled = proved(Layers::Listed(vec![0, 2]), Mode::Bundled);
    for layers in [&[0, 1, 2][..], &[0, 1], &[1, 2], &[0], &[2]] {
        let mut file = bundled.clone();
        file.statement.layers = layers.to_vec();
        assert!(verdict(&file).is_err(), "{layers:?}");
    }
    let mut file = bundled.clone();
    file.statement.selection = Selection::Challenge([0; 32]);
    assert!(verdict(&file).is_err(), "what was chosen is not an answer");

    // As good as a forger gets: the run is the same, and so are blinds, commitments and chain.
    let Scene { setup, model, .. } = scene();
    let run = |layers: Layers| {
        let run = run_of(|_| {}, Some(&scene().seed));
        run.select(model, &layers).expect("well formed")
    };
    let separate = |layers: &[u32]| {
        let run = run(Layers::Listed(layers.to_vec()));
        let prove =
            |kind: &LayerKind| prove_bundle(setup, model, &run, &[*kind], &|_| {}).expect("proved");
        let proofs = run.kinds.iter().map(prove).collect();
        run.into_file(LayerProofs::Separate(proofs))
    };
    let (all, part) = (separate(&[0, 1, 2]), separate(&[0, 2]));
    assert_eq!(all.boundaries, part.boundaries);
    assert_eq!(verdict(&all).expect("honest"), (3, true));
    assert_eq!(verdict(&part).expect("honest"), (2, false));
    let (of_all, of_part) = (layers_of(&all), layers_of(&part));
    let forge = |statement: &ProofFile, proofs: &[&BundleProof]| {
        let mut file = statement.clone();
        file.proofs = LayerProofs::Separate(proofs.iter().copied().cloned().collect());
        verdict(&file)
    };
    let forgeries: [(&str, &ProofFile, Vec<&BundleProof>); 5] = [
        ("proofs dropped", &all, vec![&of_all[0], &of_all[2]]),
        ("relabelled", &all, of_part.iter().collect()),
        (
            "a layer moved",
            &all,
            vec![&of_part[0], &of_all[1], &of_all[2]],
        ),
        ("a layer moved back", &part, vec![&of_all[0], &of_part[1]]),
        ("more than is listed", &part, of_all.iter().collect()),
    ];
    for (name, statement, proofs) in forgeries {
        assert!(forge(statement, &proofs).is_err(), "{name}");
    }
}

fn layers_of(file: &ProofFile) -> &[BundleProof] {
    match &file.proofs {
        LayerProofs::Separate(proofs) => proofs,
        LayerProofs::Bundled(_) => unreachable!("proved separately"),
    }
}

/// The honest answer, and every way to answer with something else.
#[test]
fn only_what_a_challenge_draws_answers_it() {
    let s = scene();
    assert_eq!(verdict(&s.answer).expect("honest"), (2, false));
    assert_eq!(s.challenge.check(&s.answer.statement), Ok(()));
    assert_eq!(s.commit.check(&s.answer.statement), Ok(()));

    // The nonce ignored or replaced, the weights changed: another challenge than the verifier's.
    let changes: [fn(&mut Challenge); 4] = [
        |c| c.nonce[0] ^= 1,
        |c| c.nonce = [0; 32],
        |c| c.weights[0] = 2,
        |c| c.count = 1,
    ];
    for change in changes {
        let mut other = s.challenge.clone();
        change(&mut other);
        let refused = other.check(&s.answer.statement);
        assert_eq!(refused, Err(AuditError::OtherChallenge));
    }
    let mut longer = s.challenge.clone();
    longer.weights.push(1);
    let refused = longer.check(&s.answer.statement);
    assert!(matches!(
        refused,
        Err(AuditError::Layers {
            expected: 3,
            found: 4
        })
    ));

    // Selections of the prover's own, however good the proof.
    for own in [Layers::Listed(vec![0, 1]), Layers::OwnDraw(2)] {
        let file = run_of(|_| {}, Some(&s.seed)).select(&s.model, &own);
        let statement = file.expect("well formed").statement;
        assert_eq!(statement.commitment(), s.challenge.commitment);
        assert_eq!(s.challenge.check(&statement), Err(AuditError::NoAnswer));
    }
    // Another selection under the challenge's name, proved as such.
    let mut run = run_of(|_| {}, Some(&s.seed))
        .select(&s.model, &Layers::Listed(vec![0, 2]))
        .expect("well formed");
    run.statement.selection = Selection::Challenge(s.challenge.digest());
    let proof = prove_bundle(&s.setup, &s.model, &run, &run.kinds, &|_| {}).expect("proved");
    let file = run.into_file(LayerProofs::Bundled(Box::new(proof)));
    assert_eq!(verdict(&file).expect("a proof of two layers"), (2, false));
    let refused = s.challenge.check(&file.statement);
    assert!(
        matches!(refused, Err(AuditError::Selection { .. })),
        "{refused:?}"
    );
}

/// Another blind is another commitment, to the same values even: the answer of a provider who changed
/// its commitments after the challenge is refused, and the honest prover does not make it.
#[test]
fn commitments_cannot_change_after_the_challenge() {
    let s = scene();
    let (other, seed) = commit(&s.setup, &s.model, &PROMPT, 2).expect("committed");
    assert_eq!(other.statement.output, s.commit.statement.output);
    let answer = |commit: &CommitFile, seed: &RunSeed, challenge: &Challenge| {
        let mode = Mode::Bundled;
        prove_challenged(&s.setup, &s.model, (commit, seed), challenge, mode, &|_| {})
    };
    let refused = answer(&other, &seed, &s.challenge);
    assert!(matches!(
        refused,
        Err(ProveError::Audit(AuditError::Commitment))
    ));
    let refused = answer(&s.commit, &seed, &s.challenge);
    assert!(matches!(refused, Err(ProveError::Secret)), "of another run");

    // A provider who does not care, and moves the challenge over.
    let mut moved = s.challenge.clone();
    moved.commitment = other.statement.commitment();
    let (mut file, _) = answer(&other, &seed, &moved).expect("proved");
    assert!(verdict(&file).is_ok());
    assert_eq!(
        s.challenge.check(&file.statement),
        Err(AuditError::Commitment)
    );
    assert_eq!(s.commit.check(&file.statement), Err(AuditError::Commitment));
    file.statement.selection = s.answer.statement.selection;
    assert!(verdict(&file).is_err(), "the selection is hashed");
}

/// A run with changed boundaries, committed to under `seed` or under fresh blinds.
fn run_of(change: impl Fn(&mut Vec<Vec<i64>>), seed: Option<&RunSeed>) -> Run {
    let Scene { setup, model, .. } = scene();
    let tables = model.op_tables();
    let mut answer = layers::generate(&model.model, tables, &PROMPT, 2).expect("it runs");
    let blinds = match seed {
        Some(seed) => seed.blinds(model.row_bits(), &answer),
        None => fresh_blinds(model.row_bits(), &answer).expect("randomness"),
    };
    change(&mut answer.trace.boundaries);
    commit_run_with(setup, model, &PROMPT, answer, blinds)
}

/// Commits to a block's output that is not its output; everything after it is computed from that.
fn cheat() -> Run {
    run_of(|boundaries| boundaries[BAD as usize][5] += 1, None)
}

fn prove_selected(run: Run, layers: &Layers) -> Option<ProofFile> {
    let Scene { setup, model, .. } = scene();
    let run = run.select(model, layers).expect("well formed");
    let proof = prove_bundle(setup, model, &run, &run.kinds, &|_| {}).ok()?;
    Some(run.into_file(LayerProofs::Bundled(Box::new(proof))))
}

/// Grinding. A provider who cheated commits again until its own draw misses the bad layer: that proof
/// is valid, which is why `audit:N` shows nothing. Against a challenge the same provider fails: the
/// draw comes after the commitment, and to commit again is to leave the challenge.
#[test]
fn grinding_beats_a_draw_of_ones_own_and_no_challenge() {
    let misses = |run: &Run| {
        let drawn = own_draw(run.statement.commitment(), 2, LAYERS);
        !drawn.expect("two of three").contains(&BAD)
    };
    let mut attempts = std::iter::repeat_with(cheat).take(200);
    let ground = attempts.find(misses);
    let ground = ground.expect("one of three draws misses it: 200 attempts fail once in 10^35");
    let file = prove_selected(ground, &Layers::OwnDraw(2)).expect("proved");
    assert_eq!(verdict(&file).expect("the forgery passes"), (2, false));

    // The same cheating, committed to first.
    let run = cheat();
    let commit = CommitFile {
        statement: run.statement.clone(),
        boundaries: Vec::new(),
    };
    let caught = challenge_to(&commit, 2, |layers| layers.contains(&BAD));
    let answered = prove_selected(run, &Layers::Challenged(caught.clone()));
    let accepted = answered.is_some_and(|file| verdict(&file).is_ok());
    assert!(!accepted, "the bad layer is drawn, and cannot be proved");
    assert_eq!(caught.check(&file.statement), Err(AuditError::Commitment));
    let mut ground_again = file.statement.clone();
    ground_again.selection = Selection::Challenge(caught.digest());
    assert_eq!(caught.check(&ground_again), Err(AuditError::Commitment));

    // That the draw can miss is why its probability is reported.
    let run = cheat();
    let commit = CommitFile {
        statement: run.statement.clone(),
        boundaries: Vec::new(),
    };
    let missed = challenge_to(&commit, 2, |layers| !layers.contains(&BAD));
    let file = prove_selected(run, &Layers::Challenged(missed.clone())).expect("proved");
    assert!(verdict(&file).is_ok() && missed.check(&file.statement).is_ok());
}

/// A commit file that already selects, or that has not a boundary for each link, is none. That they are the
/// links' own, the proof shows: the challenge binds the chain.
#[test]
fn a_commitment_selects_nothing() {
    let good = &scene().commit;
    assert_eq!(good.layers(), Ok(LAYERS));
    let changes: [fn(&mut CommitFile); 4] = [
        |c| c.statement.layers = vec![0],
        |c| c.statement.selection = Selection::OwnDraw,
        |c| drop(c.boundaries.pop()),
        |c| {
            c.statement.chain.clear();
            c.boundaries.clear();
        },
    ];
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(bad.layers(), Err(AuditError::CommitFile));
    }
}
