//! The engine against the oracle, on the model's own layers: the sumcheck's sum is what the
//! relations say by definition, and every claim is the functional of the data that the verifier
//! computes.

use ff::Field;

use super::prover::matrix_ref;
use crate::algebra::{F, from_i128, inner_product, powers};
use crate::argument::challenges::Challenges;
use crate::argument::claims::{Bases, DataFunctional, Layer, Shares, fold_functional};
use crate::argument::data::{Externals, LayerData};
use crate::argument::logup;
use crate::argument::reduce::{self, Reduction};
use crate::argument::stack::Conversation;
use crate::layers::testing::{Shape, llama_manifest, manifest, model_of};
use crate::layers::{LayerKind, Sequence, generate, run, system, weights, witness};
use crate::ops::testing::{Case, OwnedTables, Rng};
use crate::system::{ColumnId, Segment, evaluate};

const ROW_BITS: usize = 14;

/// A layer with its values in the places where a bundle would have them.
struct Placed<'a> {
    layer: Layer,
    data: LayerData<'a>,
    helper: Vec<F>,
    bases: Bases,
    folds: Vec<usize>,
    /// Of the bundle's own rows, and of those of weights and boundaries.
    values: [Vec<F>; 2],
}

impl<'a> Placed<'a> {
    fn new(layer: Layer, data: LayerData<'a>, helper: Vec<F>, columns: &[Vec<F>]) -> Self {
        let mut ends = [0; 2];
        let mut take = |kind: usize, len: usize| {
            let base = ends[kind];
            ends[kind] += len.next_multiple_of(1 << ROW_BITS);
            base
        };
        let layout = &layer.layout;
        let bases = Bases {
            keys: take(0, layout.keys_len()),
            exact: take(0, layout.exact_len()),
            helper: take(0, layout.lane_len),
            vectors: take(1, layout.vectors_len),
            boundary_in: take(1, layout.boundary_in_len),
            boundary_out: take(1, layout.boundary_out_len),
        };
        let folds = layer.folds.iter().map(|_| take(1, 1)).collect();
        let [mut own, mut model] = ends.map(|end| vec![F::ZERO; end]);
        let keys = layout.keys_len();
        for x in 0..layout.witness_len {
            let exact = || bases.exact + layout.exact_index(x);
            let at = if x < keys { bases.keys + x } else { exact() };
            own[at] = from_i128(data.witness(x));
        }
        own[bases.helper..][..helper.len()].copy_from_slice(&helper);
        for (c, column) in layer.system.columns.iter().enumerate() {
            let base = match column.segment {
                Segment::Vector(_) => bases.vectors,
                Segment::BoundaryIn => bases.boundary_in,
                Segment::BoundaryOut => bases.boundary_out,
                Segment::Key | Segment::Exact | Segment::Matrix(_) => continue,
            };
            let at = base + layer.layout.offset(ColumnId(c));
            model[at..at + column.len()].copy_from_slice(&columns[c]);
        }
        Self {
            layer,
            data,
            helper,
            bases,
            folds,
            values: [own, model],
        }
    }

    /// ρ·S₀ + Σ ρ^(j+2)·v_j by the verifier's functionals.
    fn combined(mut self, ch: &Challenges, round: &[F], rho: F) -> F {
        let rhos = powers(rho, self.layer.plan.claims.len() + 2);
        let shares = Shares {
            rhs: rho,
            claims: rhos[2..].to_vec(),
        };
        let mut combined = self.layer.combine(ch, round, &shares, &self.bases);
        for (fold, (shape, base)) in self.layer.folds.iter().zip(&self.folds).enumerate() {
            for (matrix, coefs) in &combined.folds[fold] {
                let row = self.data.fold_matrix(*matrix, coefs, ROW_BITS);
                for (v, x) in self.values[1][*base..].iter_mut().zip(row) {
                    *v += x;
                }
            }
            let r = fold_functional(shape, ch, round, *base, F::ONE);
            r.add_scaled_to(F::ONE, &mut combined.functional.model);
        }
        let DataFunctional { own, model } = &combined.functional;
        let parts = [own, model].into_iter().zip(&self.values);
        let value = parts.map(|(functional, values)| {
            let written = functional.rows(0..values.len() >> ROW_BITS, ROW_BITS);
            inner_product(&written.concat(), values)
        });
        value.sum::<F>() + combined.constant
    }
}

fn check(kind: LayerKind, layer: Layer, case: &Case, data: LayerData) {
    let mut rng = Rng(17);
    let coordinates = layer.plan.rounds;
    let ch = Challenges {
        alpha: rng.field(),
        beta: rng.field(),
        tau: (0..coordinates).map(|_| rng.field()).collect(),
        lambdas: powers(rng.field(), layer.plan.weights + 1)[1..].to_vec(),
    };
    let lanes = logup::denominators(&layer, &data, &ch);
    let helper = logup::helper(&lanes).expect("no pole");
    let conversation = Conversation::new(vec![&layer]);
    let reduction = Reduction::new(&layer, &data, &ch, F::ONE, helper.clone(), lanes);
    let relations = layer.system.relations.iter().zip(&ch.lambdas);
    let expected: F = relations
        .map(|(r, lambda)| *lambda * evaluate(&layer.system, r, &case.values, &ch.tau).0)
        .sum();
    let reductions = vec![reduction];
    assert_eq!(
        reduce::sum(&reductions),
        expected,
        "{kind}: the sumcheck's sum"
    );

    let (challenges, degree) = (std::slice::from_ref(&ch), layer.plan.degree);
    let answer = |_: &[F]| rng.field();
    let reduced = reduce::run(&conversation, challenges, reductions, degree, answer);
    let rho = rng.field();
    let weights = powers(rho, reduced.claims.len() + 2);
    let claimed = rho * expected + inner_product(&reduced.claims, &weights[2..]);
    let placed = Placed::new(layer, data, helper, &case.values);
    assert_eq!(placed.helper.len(), placed.layer.layout.lane_len);
    let functional = placed.combined(&ch, &reduced.round, rho);
    assert_eq!(functional, claimed, "{kind}: the claims");
}

/// One slab and three of four, tied and untied heads, full and padded sequences; heads that share keys,
/// of one slab and of two.
#[test]
fn sums_and_claims_are_what_the_definitions_say() {
    let plain = |width, layers, vocabulary, tied| {
        manifest(Shape {
            width,
            layers,
            vocabulary,
            tied,
        })
    };
    for (manifest, prompt) in [
        (plain(64, 2, 70, true), 3),
        (plain(192, 1, 100, false), 5),
        (llama_manifest((6, 2, 64), 1, 70), 3),
        (llama_manifest((4, 2, 128), 1, 70), 5),
    ] {
        let layers = manifest.architecture.layers;
        let (model, tables) = (model_of(manifest, 11), OwnedTables::build());
        let prompt: Vec<u32> = (0..prompt).map(|i| (i * i + 1) % 70).collect();
        let output = generate(&model, tables.get(), &prompt, 2)
            .expect("it runs")
            .output;
        let architecture = &model.manifest.architecture;
        let sequence = Sequence::new(&prompt, &output, architecture).expect("well formed");
        let trace = run(&model, tables.get(), sequence).expect("it runs");
        for kind in LayerKind::all(layers) {
            let system = system(&model.manifest, &trace.sequence, kind);
            let witness = witness(&model, tables.get(), &trace, kind).expect("it runs");
            let weights = weights(&model, kind);
            let boundaries = (trace.boundary_in(kind), trace.boundary_out(kind));
            let case = Case::layer(&system, &witness, &tables, &weights, boundaries);
            let layer = Layer::new(system.clone(), ROW_BITS);
            let externals = Externals {
                boundary_in: boundaries.0,
                boundary_out: boundaries.1,
                vectors: weights.vectors.clone(),
                matrices: weights.matrices.iter().map(|m| matrix_ref(m)).collect(),
            };
            let data = LayerData::new(&layer, &witness, externals);
            check(kind, layer, &case, data);
        }
    }
}
