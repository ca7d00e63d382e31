use super::*;
use crate::algebra::packed::{BaseField, available};
use crate::curve::testing::TestRng;
use ff::Field;
use pasta_curves::Fq;
use rand_core::Rng;

const P: [u64; 4] = BaseField::P;

fn element(words: [u64; 4]) -> Fq {
    let radix = Fq::from(1 << 32).square();
    let words = words.iter().rev();
    words.fold(Fq::ZERO, |sum, word| sum * radix + Fq::from(*word))
}

/// Multiples of p, their neighbours, limbs of all ones; the rest is random.
fn samples(n: usize) -> Vec<[u64; 4]> {
    let twice = [P[0] << 1, P[1] << 1 | P[0] >> 63, P[1] >> 63, P[3] << 1];
    let mut all = vec![[0; 4], [1, 0, 0, 0], P, twice, [u64::MAX; 4]];
    all.extend([P, twice].map(|[a, rest @ ..]| [a - 1, rest[0], rest[1], rest[2]]));
    all.extend((0..4).map(|i| std::array::from_fn(|j| if i == j { u64::MAX } else { 0 })));
    all.extend((0..5).map(|i| {
        let limb = u128::from(MASK) << (52 * i % 64);
        let mut words = [0; 4];
        words[52 * i / 64] = limb as u64;
        if let Some(next) = words.get_mut(52 * i / 64 + 1) {
            *next = (limb >> 64) as u64;
        }
        words
    }));
    let mut rng = TestRng::new(n as u64);
    all.resize_with(n, || std::array::from_fn(|_| rng.next_u64()));
    all
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn load(words: &[[u64; 4]]) -> Packed<BaseField> {
    let row = |i: usize| Row(std::array::from_fn(|lane| words[lane][i]));
    Packed::from_words([0, 1, 2, 3].map(|i| row(i).load()))
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn store(x: Packed<BaseField>) -> [[u64; 4]; 8] {
    let mut rows = [Row([0; 8]); 4];
    for (row, words) in rows.iter_mut().zip(x.to_words()) {
        row.store(words);
    }
    std::array::from_fn(|lane| std::array::from_fn(|i| rows[i].0[lane]))
}

fn below(x: &[u64; 4], bound: &[u64; 4]) -> bool {
    x.iter().rev().lt(bound.iter().rev())
}

/// What each operation says of its result, against the library's field: a million products, and all pairs of the values on edges.
#[target_feature(enable = "avx512f,avx512ifma")]
fn check_operations() {
    let inverse = Fq::from(2).pow_vartime([260]).invert().unwrap();
    let twice = [P[0] << 1, P[1] << 1 | P[0] >> 63, P[1] >> 63, P[3] << 1];
    let values = samples(1 << 10);
    let small: Vec<[u64; 4]> = values
        .iter()
        .map(|x| [x[0], x[1], x[2], x[3] >> 2])
        .collect();
    for shift in 0..1 << 10 {
        let mut other = values.clone();
        other.rotate_left(shift);
        for (a, b) in values.chunks(8).zip(other.chunks(8)) {
            let product = store(load(a).mul(&load(b)));
            for (lane, product) in product.iter().enumerate() {
                assert!(below(product, &twice));
                assert_eq!(
                    element(*product),
                    element(a[lane]) * element(b[lane]) * inverse
                );
            }
        }
        if shift >= 32 {
            continue;
        }
        let mut other = small.clone();
        other.rotate_left(shift);
        // Below 2^254 < p, so that a difference and p is not negative.
        for (a, b) in small.chunks(8).zip(other.chunks(8)) {
            let difference = load(a).sub::<1>(&load(b));
            let reduced = store(difference.reduced::<1>());
            for (lane, (x, r)) in store(difference).iter().zip(&reduced).enumerate() {
                assert_eq!(element(*x), element(a[lane]) - element(b[lane]));
                assert_eq!(element(*x), element(*r));
                assert!(below(r, &P) && (*r == *x || !below(x, &P)));
            }
        }
    }
    let rows: [Row; 8] = std::array::from_fn(|i| Row(std::array::from_fn(|j| (8 * i + j) as u64)));
    let mut columns = rows;
    for (column, words) in columns
        .iter_mut()
        .zip(transpose(rows.map(|row| row.load())))
    {
        column.store(words);
    }
    for (i, j) in (0..8).flat_map(|i| (0..8).map(move |j| (i, j))) {
        assert_eq!(columns[j].0[i], rows[i].0[j]);
    }
}

#[test]
fn lanes_compute_in_the_field() {
    if available() {
        // SAFETY: the processor has been asked.
        #[allow(unsafe_code)]
        unsafe {
            check_operations();
        }
    }
}
