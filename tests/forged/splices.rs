//! Splices: parts of two valid proofs in one file, in every combination. Only the two proofs
//! themselves are accepted.

use nanozk::proof::ProofFile;

use crate::parts::{BUNDLE, FRAME, bundles};
use crate::{Proofs, Verdict, all_refused, scene, verdict};

/// Two proofs, and the names of the parts in which they differ.
struct Pair<'a> {
    first: &'a ProofFile,
    second: &'a ProofFile,
    parts: Vec<&'static str>,
}

impl<'a> Pair<'a> {
    fn new(first: &'a ProofFile, second: &'a ProofFile) -> Self {
        let names = FRAME.iter().map(|p| p.0).chain(BUNDLE.iter().map(|p| p.0));
        let differs = |name: &&str| {
            let mut changed = first.clone();
            take(&mut changed, second, name);
            changed != *first
        };
        let pair = Self {
            first,
            second,
            parts: names.filter(differs).collect(),
        };
        let all = pair.splice((1 << pair.parts.len()) - 1);
        assert!(all == *second, "the parts are all that the files differ in");
        assert_eq!(verdict(first), Verdict::Accepted);
        assert_eq!(verdict(second), Verdict::Accepted);
        pair
    }

    /// The first proof with the parts of the second whose bits are set.
    fn splice(&self, set: usize) -> ProofFile {
        let mut spliced = self.first.clone();
        for (bit, name) in self.parts.iter().enumerate() {
            if set >> bit & 1 == 1 {
                take(&mut spliced, self.second, name);
            }
        }
        spliced
    }

    /// The parts of a set.
    fn names(&self, set: usize) -> String {
        let bits = self.parts.iter().enumerate();
        let names: Vec<_> = bits
            .filter(|(bit, _)| set >> bit & 1 == 1)
            .map(|(_, name)| *name)
            .collect();
        names.join(", ")
    }

    /// Every set of parts, but none and all, of at most `size` parts from either proof: each is refused.
    fn refused_up_to(&self, size: u32, what: &str) {
        let parts = self.parts.len() as u32;
        let sets: Vec<usize> = (1..(1 << parts) - 1usize)
            .filter(|set| set.count_ones() <= size || parts - set.count_ones() <= size)
            .collect();
        all_refused(&format!("splice: {what}"), sets.len(), |n| {
            Some((self.names(sets[n]), self.splice(sets[n])))
        });
    }
}

/// Takes the part of a name, in every bundle of the file.
fn take(proof: &mut ProofFile, other: &ProofFile, name: &str) {
    if let Some((_, part)) = FRAME.iter().find(|p| p.0 == name) {
        return part(proof, other);
    }
    let part = BUNDLE
        .iter()
        .find(|p| p.0 == name)
        .expect("a part's name")
        .1;
    let mut other = other.clone();
    for (b, c) in bundles(proof).iter_mut().zip(bundles(&mut other)) {
        part(b, c);
    }
}

/// The same statement: only randomness tells the two proofs apart.
fn same_statement(proofs: &Proofs) -> Pair<'_> {
    let pair = Pair::new(&proofs.first, &proofs.again);
    assert_eq!(
        pair.parts.len(),
        2 + BUNDLE.len(),
        "chain, boundaries, bundle"
    );
    pair
}

fn other_prompt(proofs: &Proofs) -> Pair<'_> {
    let pair = Pair::new(&proofs.first, &proofs.other_prompt);
    assert_eq!(pair.parts.len(), 4 + BUNDLE.len(), "and the tokens");
    pair
}

fn other_model(proofs: &Proofs) -> Pair<'_> {
    let pair = Pair::new(&proofs.first, &proofs.other_model);
    assert!(pair.parts.contains(&"model id"));
    pair
}

/// One part from either of two proofs of one statement.
#[test]
fn two_proofs_of_one_statement_cannot_be_spliced() {
    same_statement(&scene().bundled).refused_up_to(1, "same statement, one part");
}

#[test]
fn proofs_of_two_prompts_cannot_be_spliced() {
    other_prompt(&scene().bundled).refused_up_to(1, "another prompt, one part");
}

#[test]
fn proofs_of_two_models_cannot_be_spliced() {
    other_model(&scene().bundled).refused_up_to(1, "another model, one part");
}

#[test]
fn files_of_separate_layers_cannot_be_spliced() {
    same_statement(&scene().separate).refused_up_to(1, "separate layers, one part");
}

/// All combinations: `cargo test --release --test forged -- --ignored --nocapture splice`.
#[test]
#[ignore = "exhaustive: 8190 combinations"]
fn no_splice_of_one_statements_proofs_is_accepted() {
    same_statement(&scene().bundled).refused_up_to(u32::MAX, "same statement, all");
}

#[test]
#[ignore = "exhaustive: 32766 combinations"]
fn no_splice_of_two_prompts_proofs_is_accepted() {
    other_prompt(&scene().bundled).refused_up_to(u32::MAX, "another prompt, all");
}

#[test]
#[ignore = "exhaustive: 16382 combinations"]
fn no_splice_of_two_models_proofs_is_accepted() {
    other_model(&scene().bundled).refused_up_to(u32::MAX, "another model, all");
}
