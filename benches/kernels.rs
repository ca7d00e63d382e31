//! The kernels that proving spends its time in: `cargo bench --bench kernels`. All cores, except
//! where a name says otherwise; compare ratios of one run.

use std::hint::black_box;
use std::sync::Arc;

use divan::Bencher;
use ff::Field;
use nanozk::algebra::F;
use nanozk::argument::hidden::{HiddenInstance, HiddenProver, HiddenShape, HiddenWitness};
use nanozk::argument::logup::{self, LogUp};
use nanozk::argument::sumcheck::{Products, Summand, evaluate};
use nanozk::commit::{
    FinalMsm, FoldPoint, OpeningWitness, ValueCommitment, fold_rows, fresh_rng, opening,
};
use nanozk::curve::{Generators, ShortChallenge, fold_bases, msm_field, msm_small, msm_wide};
use nanozk::ops::multiply;
use nanozk::quant::IntMatrix;
use nanozk::seal::{self, KeyStore};
use nanozk::transcript::Transcript;
use rayon::prelude::*;

/// Values of a row, 2^14.
const ROW: usize = 1 << 14;

fn main() {
    divan::main();
}

/// A walk through the field that is neither random nor structured.
fn field(n: usize, seed: u64) -> Vec<F> {
    let step = F::from(seed).square() + F::from(0x9e37_79b9_7f4a_7c15);
    std::iter::successors(Some(step.square().square()), |x| Some(x.square() + step))
        .take(n)
        .collect()
}

/// Signed integers of the given width.
fn integers(n: usize, bits: u32) -> Vec<i64> {
    let words = field(n, u64::from(bits)).into_iter().map(|x| {
        let bytes = blake2b_simd::blake2b(format!("{x:?}").as_bytes());
        i64::from_le_bytes(bytes.as_array()[..8].try_into().expect("eight bytes"))
    });
    words.map(|x| x >> (64 - bits)).collect()
}

/// The sides of a product of the integer model: inputs, outputs, tokens and the inputs' bits.
const PRODUCTS: [(usize, usize, usize, u32); 4] = [
    (768, 3072, 1, 16),
    (768, 3072, 16, 16),
    (768, 3072, 256, 16),
    (768, 768, 16, 90),
];

fn product(inputs: usize, outputs: usize, tokens: usize, bits: u32) -> (Vec<i128>, IntMatrix) {
    let x = integers(inputs * tokens, bits.min(64));
    let wide = |x: i64| i128::from(x) << (bits - bits.min(64));
    // A row again and again: weights of 17 bits.
    let row = integers(outputs, 17);
    let matrix = IntMatrix {
        inputs,
        outputs,
        data: row
            .iter()
            .map(|w| *w as i32)
            .cycle()
            .take(inputs * outputs)
            .collect(),
    };
    (x.into_iter().map(wide).collect(), matrix)
}

#[divan::bench(args = PRODUCTS)]
fn integer_product(bencher: Bencher, (inputs, outputs, tokens, bits): (usize, usize, usize, u32)) {
    let (x, matrix) = product(inputs, outputs, tokens, bits);
    bencher.bench_local(|| multiply(&x, tokens, &matrix));
}

/// What `integer_product` is compared with: the same in integer registers.
#[divan::bench(args = PRODUCTS)]
fn integer_product_by_scalars(
    bencher: Bencher,
    (inputs, outputs, tokens, bits): (usize, usize, usize, u32),
) {
    let (x, matrix) = product(inputs, outputs, tokens, bits);
    if bits < 32 {
        let x: Vec<i64> = x.iter().map(|x| *x as i64).collect();
        bencher.bench_local(|| by_scalars(&x, tokens, &matrix, |y, x, w| *y += x * i64::from(w)));
    } else {
        bencher.bench_local(|| by_scalars(&x, tokens, &matrix, |y, x, w| *y += x * i128::from(w)));
    }
}

/// Slabs of 64 outputs on all cores, tokens in blocks of 16: what the first-level cache holds.
fn by_scalars<T>(
    x: &[T],
    tokens: usize,
    w: &IntMatrix,
    mac: impl Fn(&mut T, T, i32) + Sync,
) -> Vec<T>
where
    T: Copy + Default + Send + Sync,
{
    let mut y = vec![T::default(); w.outputs * tokens];
    y.par_chunks_mut(tokens * 64)
        .enumerate()
        .for_each(|(slab, y)| {
            for (block, y) in y.chunks_mut(16 * 64).enumerate() {
                for k in 0..w.inputs {
                    let weights = &w.row(k)[slab * 64..][..64];
                    let x = &x[(k / 64 * tokens + block * 16) * 64 + k % 64..];
                    for (token, y) in y.chunks_mut(64).enumerate() {
                        y.iter_mut()
                            .zip(weights)
                            .for_each(|(y, w)| mac(y, x[token * 64], *w));
                    }
                }
            }
        });
    y
}

fn generators() -> &'static Arc<Generators> {
    static GENERATORS: std::sync::OnceLock<Arc<Generators>> = std::sync::OnceLock::new();
    GENERATORS.get_or_init(|| Arc::new(Generators::derive(14)))
}

#[divan::bench(args = [16, 17, 24])]
fn msm_of_small_integers_one_core(bencher: Bencher, bits: u32) {
    let scalars: Vec<i32> = integers(ROW, bits).iter().map(|x| *x as i32).collect();
    let bases = &generators().g;
    bencher.bench_local(|| msm_small(bases, &scalars));
}

#[divan::bench(args = [40, 64])]
fn msm_of_wide_integers_one_core(bencher: Bencher, bits: u32) {
    let scalars: Vec<i128> = integers(ROW, bits).iter().map(|x| (*x).into()).collect();
    let bases = &generators().g;
    bencher.bench_local(|| msm_wide(bases, &scalars));
}

#[divan::bench]
fn msm_of_field_elements(bencher: Bencher) {
    let (bases, scalars) = (&generators().g, field(ROW, 1));
    bencher.bench_local(|| msm_field(bases, &scalars));
}

#[divan::bench]
fn fold_generators_in_half(bencher: Bencher) {
    let (lo, hi) = generators().g.split_at(ROW / 2);
    let t = ShortChallenge::from_challenge(&field(1, 2)[0]).expect("not zero");
    bencher.bench_local(|| fold_bases(lo, hi, &t));
}

/// The weights of a GPT-2 small block have 432 rows.
#[divan::bench]
fn fold_432_weight_rows(bencher: Bencher) {
    let row: Vec<i32> = integers(ROW, 16).iter().map(|x| *x as i32).collect();
    let (rows, coefs) = (vec![row.as_slice(); 432], field(432, 3));
    bencher.bench_local(|| fold_rows(&rows, &coefs));
}

/// The entries of a GPT-2 small block's helper column at 16 positions.
const HELPER: usize = 98_304;

#[divan::bench]
fn logup_helper(bencher: Bencher) {
    let lanes: Vec<Vec<F>> = (0..4).map(|i| field(HELPER, 10 + i)).collect();
    bencher.bench_local(|| logup::helper(&lanes).expect("no zero"));
}

#[divan::bench]
fn sumcheck_first_round_of_logup(bencher: Bencher) {
    let lanes = (0..4).map(|i| field(HELPER, 10 + i)).collect();
    let logup = LogUp::new(17, F::ONE, &field(17, 5), field(HELPER, 6), lanes);
    bencher.bench_local(|| logup.round_polynomial());
}

#[divan::bench]
fn sumcheck_first_round_of_products(bencher: Bencher) {
    let group = Products {
        coords: (0..15).collect(),
        tables: (0..3).map(|i| field(1 << 15, 20 + i)).collect(),
        products: vec![(F::ONE, vec![0, 1, 2]), (F::from(2), vec![0, 2])],
    };
    bencher.bench_local(|| group.round_polynomial());
}

fn transcript() -> Transcript {
    Transcript::new("bench", &[0; 32])
}

fn opening_witness(rows: usize) -> OpeningWitness {
    OpeningWitness {
        rows: (0..rows as u64).map(|r| field(ROW, r)).collect(),
        blinds: field(rows, 1),
        functionals: (0..rows as u64).map(|r| field(ROW, 1000 + r)).collect(),
        value_blind: F::ONE,
    }
}

/// 48 rows: about a GPT-2 small block.
#[divan::bench(args = [1, 48], sample_count = 10)]
fn opening_prove(bencher: Bencher, rows: usize) {
    let witness = opening_witness(rows);
    bencher
        .with_inputs(|| (witness.clone(), fresh_rng().expect("randomness")))
        .bench_local_values(|(witness, mut rng)| {
            opening::prove(generators(), witness, &mut transcript(), &mut rng)
        });
}

#[divan::bench(sample_count = 20)]
fn opening_verify_with_its_final_sum(bencher: Bencher) {
    let mut rng = fresh_rng().expect("randomness");
    let proof = opening::prove(
        generators(),
        opening_witness(48),
        &mut transcript(),
        &mut rng,
    );
    bencher.bench_local(|| {
        let mut msm = FinalMsm::new(generators().clone(), &mut fresh_rng().expect("randomness"));
        let value = ValueCommitment::default();
        let rows = |weights: &[F]| weights.iter().map(|w| (*w, generators().h)).collect();
        let functional = |_: &FoldPoint| F::ONE;
        opening::verify(
            &proof,
            48,
            &value,
            rows,
            functional,
            &mut transcript(),
            &mut msm,
        )
        .expect("well formed");
        // The statement is made up, so the answer is no; the work is the same.
        black_box(msm.check())
    });
}

/// The hidden conversation of a usual block: 17 rounds of degree 6, 35 claims.
fn shape() -> HiddenShape {
    let pairs = (0..14).map(|i| vec![i, i + 1, i + 20]);
    let products = pairs.chain([(0..6).collect()]).collect();
    let offsets = (0..35).map(|j| j < 12).collect();
    HiddenShape::new(17, 6, offsets, products).expect("a good shape")
}

/// A conversation that ends well: the last product's coefficient is what makes it so.
fn conversation(shape: &HiddenShape, seed: u64) -> (HiddenInstance, HiddenWitness) {
    let start = field(4, seed);
    let mut prover = HiddenProver::new(shape, start[0], start[1], start[2], start[3]);
    let mut sum = start[3];
    for round in 0..shape.rounds() as u64 {
        let message = field(shape.degree(), 100 * seed + round);
        let r = prover.round(&message);
        let q = evaluate(&message[1..], r);
        sum = message[0] + r * (sum - message[0].double() + (r - F::ONE) * q);
    }
    let claims = field(shape.claims(), seed + 1);
    prover.claims(&claims);
    let offsets = field(12, seed + 2);
    let factor = |j: usize| claims[j] + offsets.get(j).copied().unwrap_or(F::ZERO);
    let product = |p: &Vec<usize>| p.iter().map(|j| factor(*j)).product::<F>();
    let (last, others) = shape.products().split_last().expect("a product");
    let mut coefficients = field(others.len(), seed + 3);
    let known: F = others
        .iter()
        .zip(&coefficients)
        .map(|(p, c)| product(p) * c)
        .sum();
    let inverse = product(last).invert().expect("not zero");
    coefficients.push((sum - known) * inverse);
    prover
        .finish(&coefficients, &offsets)
        .expect("a true conversation")
}

#[divan::bench(args = [1, 12], sample_count = 5)]
fn seal_prove(bencher: Bencher, layers: u64) {
    let keys = KeyStore::default()
        .for_shape(&shape())
        .expect("a small shape");
    keys.proving().expect("a proving key");
    let spoken: Vec<_> = (0..layers)
        .map(|l| conversation(keys.shape(), 7 + l))
        .collect();
    bencher.bench_local(|| seal::prove(&keys, &spoken, &mut fresh_rng().expect("randomness")));
}

#[divan::bench(args = [1, 12], sample_count = 20)]
fn seal_verify(bencher: Bencher, layers: u64) {
    let keys = KeyStore::default()
        .for_shape(&shape())
        .expect("a small shape");
    let spoken: Vec<_> = (0..layers)
        .map(|l| conversation(keys.shape(), 7 + l))
        .collect();
    let rng = &mut fresh_rng().expect("randomness");
    let proof = seal::prove(&keys, &spoken, rng).expect("proved");
    let instances: Vec<_> = spoken.into_iter().map(|(instance, _)| instance).collect();
    bencher.bench_local(|| seal::verify(&keys, &instances, &proof).expect("valid"));
}
