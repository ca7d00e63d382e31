//! Every committed column of every kind of layer, changed in every way the table below lists, by a
//! prover that otherwise follows the protocol; the real verifier must refuse each.
//!
//! | what | changed at | by |
//! | --- | --- | --- |
//! | witness columns, from the system's own list | first, second, middle, last, what a relation names | 1, −1, 2^200 |
//! | pairs of witness columns in one relation | one of these | so that the relation still holds |
//! | zeros between the columns of keys | first, last | 2^200 |
//! | helper and multiplicity rows | first, second, middle, last | 1, −1, 2^200 |
//! | weights and boundaries (not what is committed) | the same | 1, −1, 2^30 |
//! | the mask | | 1 |
//!
//! The oracle (`system::naive`) tells which relations and lookups a change breaks. One that is never
//! broken would be one that nothing needs.

use std::collections::{BTreeMap, BTreeSet};

use super::tests::{Scene, decoder_scene, honest_run, llama_scene, scene, verify_bundle};
use super::*;
use ff::{Field, PrimeField};

use crate::algebra::{F, pow2};
use crate::argument::layout::{LOOKUP_LANES, step};
use crate::ops::testing::{Case, OwnedTables};
use crate::system::{Bind, ColumnId, Relation, Segment, View};

/// Where a change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Entry of a witness column.
    Column(usize, usize),
    /// Entry of the data of a column that is committed to elsewhere.
    External(usize, usize),
    /// Index of the witness that belongs to no column.
    Hole(usize),
    Helper(usize),
    Multiplicity(usize),
    Mask,
}

/// Changes that a prover makes at once.
struct Mutation {
    name: String,
    edits: Vec<(Place, F)>,
}

/// A layer of the scene under attack.
struct Target<'a> {
    scene: &'a Scene,
    run: &'a Run,
    kind: LayerKind,
    layer: Layer,
}

impl<'a> Target<'a> {
    fn new(scene: &'a Scene, run: &'a Run, kind: LayerKind) -> Self {
        Self {
            scene,
            run,
            kind,
            layer: systems::layer(&scene.model.model.manifest, &run.trace.sequence, kind),
        }
    }

    fn index(&self) -> usize {
        self.kind.index(self.scene.blocks())
    }

    /// The length of a column's data where it is not in the witness.
    fn external_len(&self, column: usize) -> usize {
        let weights = layers::weights(&self.scene.model.model, self.kind);
        match self.layer.system.columns[column].segment {
            Segment::Vector(n) => weights.vectors[n].len(),
            Segment::Matrix(n) => weights.matrices[n].data.len(),
            _ => self.layer.system.columns[column].len(),
        }
    }

    /// Every single change of the module's table, by committed column.
    fn singles(&self) -> Vec<Vec<Mutation>> {
        let mut all = Vec::new();
        let mut add = |what: &str, at: &[usize], large: F, place: &dyn Fn(usize) -> Place| {
            let mutation = |at, by| Mutation {
                name: format!("{what}[{at}] {}", show(by)),
                edits: vec![(place(at), by)],
            };
            let changes = at
                .iter()
                .flat_map(|at| [F::ONE, -F::ONE, large].map(|by| mutation(*at, by)));
            all.push(changes.collect());
        };
        let field = pow2(200);
        for (c, column) in self.layer.system.columns.iter().enumerate() {
            match column.segment {
                Segment::Key | Segment::Exact => {
                    let mut entries = positions(column.len());
                    entries.extend(self.read_alone(c));
                    entries.sort_unstable();
                    entries.dedup();
                    add(&column.name, &entries, field, &|at| Place::Column(c, at));
                }
                _ => {
                    let entries = positions(self.external_len(c));
                    add(&column.name, &entries, pow2(30), &|at| {
                        Place::External(c, at)
                    });
                }
            }
        }
        let layout = &self.layer.layout;
        add("helper", &positions(layout.lane_len), field, &Place::Helper);
        let tables = self.scene.model.committed.tables.all();
        let mut start = 0usize;
        for id in self.layer.tables() {
            let table = tables.iter().find(|t| t.id == id).expect("a table");
            start = start.next_multiple_of(step(table.len));
            add(
                &format!("multiplicity of {id:?}"),
                &positions(table.len),
                field,
                &|at| Place::Multiplicity(start + at),
            );
            start += table.len;
        }
        let alone = |name: &str, place, by| Mutation {
            name: name.into(),
            edits: vec![(place, by)],
        };
        all.push(vec![alone("mask + 1", Place::Mask, F::ONE)]);
        let holes = self.holes().into_iter();
        all.push(
            holes
                .map(|at| alone("a zero between keys", Place::Hole(at), field))
                .collect(),
        );
        all.retain(|group| !group.is_empty());
        all
    }

    /// The entries of a column that a relation names: nothing else of the column is in it.
    fn read_alone(&self, column: usize) -> impl Iterator<Item = usize> {
        let system = &self.layer.system;
        let views = system.relations.iter().flat_map(views).map(|(v, _)| v);
        views
            .filter(move |view| view.column.0 == column)
            .filter_map(move |view| {
                let mut dims = view.binds.iter().zip(&system.columns[column].lens);
                dims.try_fold(0, |at, (bind, len)| match bind {
                    Bind::Fixed(x) => Some(at * len + x),
                    _ => None,
                })
            })
    }

    /// Indices among the keys that no column has: the first and the last.
    fn holes(&self) -> Vec<usize> {
        let mut free = vec![true; LOOKUP_LANES * self.layer.layout.lane_len];
        for (c, column) in self.layer.system.columns.iter().enumerate() {
            if column.segment == Segment::Key {
                let start = self.layer.layout.offset(ColumnId(c));
                free[start..start + column.len()].fill(false);
            }
        }
        let mut holes: Vec<usize> = (0..free.len()).filter(|i| free[*i]).collect();
        holes.drain(1.min(holes.len())..holes.len().saturating_sub(1));
        holes
    }

    /// Changes of two columns that keep one relation true, where both stand in it with the same
    /// variables: a quotient off by one with its remainder adjusted, a digit with its carry.
    fn pairs(&self) -> Vec<Mutation> {
        let mut pairs: Vec<Mutation> = Vec::new();
        for relation in &self.layer.system.relations {
            for (a, by) in views(relation) {
                for (b, other) in views(relation) {
                    let (c, d) = (a.column.0, b.column.0);
                    if c == d || a.binds != b.binds || !self.witness(c) || !self.witness(d) {
                        continue;
                    }
                    // by·1 + other·x = 0
                    let x = -by * other.invert().expect("no view has coefficient 0");
                    pairs.extend(self.pair(relation, (c, F::ONE), (d, x)));
                }
            }
        }
        pairs
    }

    /// Both changes at one position.
    fn pair(&self, relation: &Relation, a: (usize, F), b: (usize, F)) -> Option<Mutation> {
        let columns = &self.layer.system.columns;
        let (first, second) = (&columns[a.0], &columns[b.0]);
        if first.lens != second.lens {
            return None;
        }
        let positions = positions(first.len());
        let at = positions[(a.0 + b.0) % positions.len()];
        Some(Mutation {
            name: format!(
                "{}[{at}] {} and {}[{at}] {}, which keeps \"{}\"",
                first.name,
                show(a.1),
                second.name,
                show(b.1),
                relation.name
            ),
            edits: vec![(Place::Column(a.0, at), a.1), (Place::Column(b.0, at), b.1)],
        })
    }

    fn witness(&self, column: usize) -> bool {
        matches!(
            self.layer.system.columns[column].segment,
            Segment::Key | Segment::Exact
        )
    }

    /// The layer's honest values, for the oracle.
    fn case<'c>(&'c self, tables: &'c OwnedTables) -> Case<'c> {
        let model = &self.scene.model;
        let witness = &self.run.witnesses[self.index()];
        let weights = layers::weights(&model.model, self.kind);
        let trace = &self.run.trace;
        let boundaries = (trace.boundary_in(self.kind), trace.boundary_out(self.kind));
        let system = &self.layer.system;
        Case::layer(system, witness, tables, &weights, boundaries)
            .with_tables(model.committed.tables.all())
    }

    /// The relations and lookups that the change breaks.
    fn broken(&self, honest: &Case, mutation: &Mutation) -> Vec<String> {
        let mut case = honest.clone();
        let mut columns = Vec::new();
        for (place, by) in &mutation.edits {
            match place {
                Place::Column(c, at) => {
                    case.values[*c][*at] += by;
                    columns.push(*c);
                }
                Place::External(..) => return vec!["commitment".into()],
                Place::Hole(_) | Place::Helper(_) | Place::Multiplicity(_) => {
                    return vec!["balance of lookups".into()];
                }
                Place::Mask => return vec!["mask".into()],
            }
        }
        case.failures_about(&columns)
    }

    /// What the verifier says to a prover that makes these changes. `Err` if it accepts, or if
    /// nothing was proved.
    fn refusal(&self, mutation: &Mutation) -> Result<String, String> {
        let weights = layers::weights(&self.scene.model.model, self.kind);
        let mut vectors: Vec<Vec<i64>> = weights.vectors.iter().map(|v| v.to_vec()).collect();
        let mut matrices: Vec<Vec<i32>> = weights.matrices.iter().map(|m| m.data.clone()).collect();
        let mut input = self.run.trace.boundary_in(self.kind).to_vec();
        let mut output = self.run.trace.boundary_out(self.kind).to_vec();
        for (place, by) in &mutation.edits {
            let Place::External(column, at) = place else {
                continue;
            };
            let by = small(*by).expect("a small change") as i64;
            match self.layer.system.columns[*column].segment {
                Segment::Vector(n) => vectors[n][*at] += by,
                Segment::Matrix(n) => matrices[n][*at] += by as i32,
                Segment::BoundaryIn => input[*at] += by,
                Segment::BoundaryOut => output[*at] += by,
                Segment::Key | Segment::Exact => unreachable!("in the witness"),
            }
        }
        let proof = prove_spoiled(
            &self.scene.setup,
            &self.scene.model,
            self.run,
            &[self.kind],
            &|_| {},
            |secrets, boundaries| {
                let data = &mut secrets[0].data;
                data.externals.vectors = vectors.iter().map(Vec::as_slice).collect();
                for (m, values) in data.externals.matrices.iter_mut().zip(&matrices) {
                    m.data = values;
                }
                (data.externals.boundary_in, data.externals.boundary_out) = (&input, &output);
                let values = [&input, &output].into_iter().filter(|v| !v.is_empty());
                for (boundary, values) in boundaries.iter_mut().zip(values) {
                    boundary.values = values;
                }
                self.lie(data, mutation);
            },
        );
        let proof = proof.map_err(|e| format!("not proved: {e}"))?;
        match verify_bundle(self.scene, self.run, &[self.kind], &proof) {
            Ok(()) => Err("ACCEPTED".into()),
            Err(why) => Ok(why),
        }
    }
    /// Changes what is not external: integers where they stay integers of their column's width, so
    /// that lookups are counted as they now are; the rest in the field.
    fn lie(&self, data: &mut LayerData, mutation: &Mutation) {
        let keys = data.keys.len();
        for (place, by) in &mutation.edits {
            let at = match place {
                Place::Column(c, at) => self.layer.layout.offset(ColumnId(*c)) + at,
                Place::Hole(at) => *at,
                Place::Helper(at) => {
                    data.cheat.helper.push((*at, *by));
                    continue;
                }
                Place::Multiplicity(at) => {
                    data.cheat.multiplicities.push((*at, *by));
                    continue;
                }
                Place::Mask => {
                    data.cheat.mask = *by;
                    continue;
                }
                Place::External(..) => continue,
            };
            match small(*by) {
                Some(by) if at >= keys => data.exact[at - keys] += by,
                Some(by) if by.abs() < 1 << 30 => data.keys[at] += by as i32,
                _ => data.cheat.witness.push((at, *by)),
            }
        }
    }
}

/// First, second, middle and last of `len`. The second entry of a table of tokens and the tokens they see
/// is of the future; the others need not be.
fn positions(len: usize) -> Vec<usize> {
    let mut all = vec![0, 1.min(len - 1), len / 2 + len / 7, len - 1];
    all.sort_unstable();
    all.dedup();
    all
}

/// `x` as an integer, if it is one below 2^100.
fn small(x: F) -> Option<i128> {
    let unsigned = |x: F| {
        let bytes = x.to_repr();
        let (low, high) = bytes.split_at(16);
        let value = i128::from_le_bytes(low.try_into().expect("sixteen bytes"));
        (high.iter().all(|b| *b == 0) && (0..1 << 100).contains(&value)).then_some(value)
    };
    unsigned(x).or_else(|| unsigned(-x).map(|x| -x))
}

fn show(by: F) -> String {
    match small(by) {
        Some(by) => format!("{by:+}"),
        None => "+ a large field element".into(),
    }
}

/// The columns that stand alone in a relation, with their coefficients.
fn views(relation: &Relation) -> impl Iterator<Item = (&View, F)> {
    let right = relation.rhs.iter();
    right.filter_map(|r| r.view.as_ref().map(|v| (v, r.coef)))
}

/// How often each relation and lookup was broken, and how often it alone.
type Catches = BTreeMap<String, (usize, usize)>;

/// Proves every mutation and wants it refused; counts what it breaks.
fn all_refused(target: &Target, mutations: &[Mutation]) -> Catches {
    let tables = OwnedTables::build();
    let honest = target.case(&tables);
    honest.assert_holds();
    let verdicts: Vec<_> = mutations
        .par_iter()
        .map(|m| (m, target.broken(&honest, m), target.refusal(m)))
        .collect();
    let mut catches = Catches::new();
    let mut failures = Vec::new();
    for (m, broken, verdict) in verdicts {
        if broken.is_empty() {
            failures.push(format!("{}: {}: breaks nothing", target.kind, m.name));
        }
        for name in &broken {
            let entry = catches.entry(name.clone()).or_default();
            entry.0 += 1;
            entry.1 += usize::from(broken.len() == 1);
        }
        if let Err(why) = verdict {
            failures.push(format!("{}: {}: {why}", target.kind, m.name));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
    catches
}

/// How much of the table is tried.
#[derive(Clone, Copy, PartialEq)]
enum Effort {
    /// One change, another for each column; of the digits of a number only the first. One pair of each twenty.
    Sample,
    /// The same without pairs.
    Singles,
    All,
}

fn attack(scene: &Scene, kind: LayerKind, effort: Effort) {
    attack_columns(scene, kind, effort, |_| true);
}

/// The same on some of the columns, by their names.
fn attack_columns(scene: &Scene, kind: LayerKind, effort: Effort, chosen: impl Fn(&str) -> bool) {
    let run = honest_run(scene);
    let target = Target::new(scene, &run, kind);
    let honest = Mutation {
        name: "nothing".into(),
        edits: Vec::new(),
    };
    assert_eq!(target.refusal(&honest), Err("ACCEPTED".into()));

    let mut groups = target.singles();
    groups.retain(|group| chosen(column_of(&group[0])));
    if effort != Effort::All {
        groups.retain(|group| !is_further_digit(column_of(&group[0])));
    }
    let columns = groups.len();
    let one = |(n, mut group): (usize, Vec<Mutation>)| group.swap_remove(n % group.len());
    let mut tried: Vec<Mutation> = match effort {
        Effort::All => groups.into_iter().flatten().collect(),
        Effort::Sample | Effort::Singles => groups.into_iter().enumerate().map(one).collect(),
    };
    let pairs: Vec<Mutation> = match effort {
        Effort::All => target.pairs(),
        Effort::Sample => target.pairs().into_iter().step_by(20).collect(),
        Effort::Singles => Vec::new(),
    };
    let (singles, of_pairs) = (tried.len(), pairs.len());
    tried.extend(pairs);
    let catches = all_refused(&target, &tried);
    let a = &scene.model.model.manifest.architecture;
    let family = format!("{:?} {:?}", a.norm, a.order);
    println!(
        "columns: {family} {kind}: {columns} committed columns, {singles} single changes and {of_pairs} of pairs tried, {} rejected",
        tried.len()
    );
    if effort == Effort::All {
        every_check_catches(&target, &catches);
    }
}

/// The name of the column that a change is made in.
fn column_of(mutation: &Mutation) -> &str {
    let name = mutation.name.rsplit_once('[');
    name.map_or(&mutation.name, |(column, _)| column)
}

/// Whether a column has a digit of a number other than the first.
fn is_further_digit(column: &str) -> bool {
    column.ends_with(']') && !column.ends_with("[0]")
}

/// A relation or lookup that nothing breaks would be a finding.
fn every_check_catches(target: &Target, catches: &Catches) {
    for (name, (all, alone)) in catches {
        println!("caught: {}: {name}: {all}, alone {alone}", target.kind);
    }
    all_broken(target, |name| catches.contains_key(name));
}

fn all_broken(target: &Target, broken: impl Fn(&String) -> bool) {
    let system = &target.layer.system;
    let lookups = system
        .lookups
        .iter()
        .map(|l| format!("lookup of {}", system.columns[l.key.0].name));
    let relations = system.relations.iter().map(|r| r.name.clone());
    let idle: Vec<String> = relations.chain(lookups).filter(|n| !broken(n)).collect();
    assert!(idle.is_empty(), "{}: nothing breaks {idle:?}", target.kind);
}

/// The table leaves no relation and no lookup out, and each of its changes breaks one, whatever the column: by the oracle
/// alone, which takes a second where the proofs take many minutes, and with the large changes, which lookups do not bear.
#[test]
fn every_relation_and_lookup_is_tried() {
    let tables = OwnedTables::build();
    for scene in [scene(), llama_scene()] {
        let run = honest_run(scene);
        for kind in LayerKind::all(1) {
            let target = Target::new(scene, &run, kind);
            let honest = target.case(&tables);
            let mut changes: Vec<Mutation> = target.singles().into_iter().flatten().collect();
            changes.retain(|m| m.edits.iter().all(|(_, by)| small(*by).is_none()));
            let broken = changes.par_iter().flat_map_iter(|m| {
                let broken = target.broken(&honest, m);
                assert!(!broken.is_empty(), "{kind}: {}: breaks nothing", m.name);
                broken
            });
            let broken: BTreeSet<String> = broken.collect();
            all_broken(&target, |name| broken.contains(name));
        }
    }
}

#[test]
fn every_column_of_the_embedding_is_bound() {
    attack(scene(), LayerKind::Embedding, Effort::Sample);
}

#[test]
fn every_column_of_a_block_is_bound() {
    attack(scene(), LayerKind::Block(0), Effort::Sample);
}

#[test]
fn every_column_of_the_head_is_bound() {
    attack(scene(), LayerKind::Head, Effort::Sample);
}

/// What other decoders have beside the columns of those two: norms of queries and keys with their gains, norms behind the
/// branches, the bias of logits; and the outputs of norms whose channels are lifted, which another relation binds.
#[test]
fn every_column_that_other_decoders_add_is_bound() {
    let cases = [
        (
            "OLMo 2",
            LayerKind::Block(0),
            &[
                "its norm",
                "query norm",
                "key norm",
                "gain",
                "attention norm",
            ][..],
        ),
        ("Phi", LayerKind::Head, &["logit bias"]),
        (
            "loud channels and a mean",
            LayerKind::Block(0),
            &["norm 1 output", "norm 2 rest"],
        ),
    ];
    for (name, kind, parts) in cases {
        let chosen = |column: &str| parts.iter().any(|part| column.contains(part));
        attack_columns(&decoder_scene(name), kind, Effort::Singles, chosen);
    }
}

/// What a block of Llama's kind has beside the columns of GPT-2's: rotations, roots of mean squares, the gate.
#[test]
fn every_column_that_a_llamas_block_adds_is_bound() {
    let kind = LayerKind::Block(0);
    let run = honest_run(scene());
    let known = Target::new(scene(), &run, kind);
    let known: BTreeSet<&str> = known
        .layer
        .system
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    attack_columns(llama_scene(), kind, Effort::Sample, |name| {
        !known.contains(name)
    });
}

#[test]
#[ignore = "exhaustive: some minutes"]
fn every_change_of_every_column_of_the_embedding_is_refused() {
    attack(scene(), LayerKind::Embedding, Effort::All);
}

#[test]
#[ignore = "exhaustive: many minutes"]
fn every_change_of_every_column_of_a_block_is_refused() {
    attack(scene(), LayerKind::Block(0), Effort::All);
}

#[test]
#[ignore = "exhaustive: some minutes"]
fn every_change_of_every_column_of_the_head_is_refused() {
    attack(scene(), LayerKind::Head, Effort::All);
}

#[test]
#[ignore = "exhaustive: hours"]
fn every_change_of_every_column_of_other_decoders_is_refused() {
    for (name, manifest) in crate::layers::testing::decoders() {
        println!("{name}");
        let scene = decoder_scene(name);
        for kind in LayerKind::all(manifest.architecture.layers).skip(1) {
            attack(&scene, kind, Effort::All);
        }
    }
}

#[test]
#[ignore = "exhaustive: many minutes"]
fn every_change_of_every_column_of_a_llama_is_refused() {
    for kind in LayerKind::all(1) {
        attack(llama_scene(), kind, Effort::All);
    }
}
