use ff::PrimeField as _;
use halo2_gadgets::poseidon::primitives::{ConstantLength, Hash};

use super::*;

fn words(n: u64) -> Vec<F> {
    (1..=n).map(|i| F::from(i).invert().unwrap()).collect()
}

/// The library's one-way sponge, built on our permutation: capacity L·2^64, output word 0.
fn constant_length<S: CachedSpec<W, R>, const W: usize, const R: usize>(message: &[F]) -> F {
    let mut state = [F::ZERO; W];
    state[R] = F::from_u128((message.len() as u128) << 64);
    for chunk in message.chunks(R) {
        for (word, x) in state.iter_mut().zip(chunk) {
            *word += x;
        }
        permute::<S, W, R>(&mut state);
    }
    state[0]
}

/// Protects the native permutation: it must be the library's.
#[test]
fn permutation_is_the_librarys() {
    let m: [F; 6] = words(6).try_into().unwrap();
    let theirs = Hash::<F, P128Pow5T3, ConstantLength<6>, 3, 2>::init().hash(m);
    assert_eq!(constant_length::<P128Pow5T3, 3, 2>(&m), theirs);
    let theirs = Hash::<F, Pow5Width4, ConstantLength<6>, 4, 3>::init().hash(m);
    assert_eq!(constant_length::<Pow5Width4, 4, 3>(&m), theirs);
}

/// Protects the schedule: the challenges of a mixed sequence, written out by hand.
#[test]
fn duplex_follows_its_schedule() {
    let x = words(5);
    let mut t = HiddenTranscript::default();
    let mut state = [F::ZERO; WIDTH];
    state[RATE] = domain();
    let mut permuted = |words: &[F]| {
        state[..words.len()].copy_from_slice(words);
        permute::<HiddenSpec, WIDTH, RATE>(&mut state);
        state[0]
    };

    x[..RATE].iter().for_each(|x| t.absorb(*x));
    assert_eq!(
        t.squeeze(),
        permuted(&x[..RATE]),
        "a full rate has been permuted already"
    );
    assert_eq!(t.squeeze(), permuted(&[]), "a second squeeze permutes");
    t.absorb(x[4]);
    assert_eq!(
        t.squeeze(),
        permuted(&x[4..]),
        "absorbing starts at word 0 again"
    );
    x[..RATE].iter().for_each(|x| t.absorb(*x));
    t.absorb(x[4]);
    permuted(&x[..RATE]);
    assert_eq!(t.squeeze(), permuted(&x[4..]));
}

/// A challenge must depend on every absorbed word and on their order.
#[test]
fn challenge_depends_on_each_word() {
    let challenge = |w: &[F]| {
        let mut t = HiddenTranscript::default();
        w.iter().for_each(|x| t.absorb(*x));
        t.squeeze()
    };
    let base = words(8);
    for i in 0..base.len() {
        let mut other = base.clone();
        other[i] += F::ONE;
        assert_ne!(challenge(&other), challenge(&base), "word {i}");
    }
    let mut swapped = base.clone();
    swapped.swap(1, 6);
    assert_ne!(challenge(&swapped), challenge(&base));
}

/// Smallest R_P that the bounds of the module's text allow beside `full` full rounds.
fn minimal_partial_rounds(t: usize, full: usize) -> usize {
    let (m, bits) = (128f64, 254f64);
    let log5_2 = 2f64.ln() / 5f64.ln();
    let log5_t = ((t as f64).ln() / 5f64.ln()).ceil();
    assert!(
        m <= (bits - 2.0).floor() * (t as f64 + 1.0) && full >= 6,
        "statistical bound"
    );
    let full = full as f64;
    let (tf, gb2) = (t as f64, log5_2 * (m / (t as f64 + 1.0)).min(bits / 2.0));
    [
        1.0 + (m * log5_2).ceil() + log5_t - full,
        m * log5_2 - full,
        tf - 1.0 + gb2 - full,
        tf - 2.0 + m * log5_2 / 2.0 - (tf - 1.0) * full,
    ]
    .into_iter()
    .fold(0.0, f64::max)
    .ceil() as usize
}

/// Protects the round numbers: the paper's minimum plus its margin, nothing below.
#[test]
fn round_numbers_have_the_papers_margin() {
    for (t, full, partial) in [
        (
            3,
            <P128Pow5T3 as Spec<F, 3, 2>>::full_rounds(),
            <P128Pow5T3 as Spec<F, 3, 2>>::partial_rounds(),
        ),
        (4, Pow5Width4::full_rounds(), Pow5Width4::partial_rounds()),
    ] {
        let minimal = minimal_partial_rounds(t, full - 2);
        assert_eq!(minimal, 52);
        assert_eq!(partial, (minimal as f64 * 1.075).ceil() as usize);
        // eprint 2023/537: 2·log₂ C(over, under) ≥ 128.
        let r = t / 3;
        let under = r * full / 2 + partial + 5;
        let over = (full - 1) * t + partial + r + under;
        let log2_binomial: f64 = (1..=under)
            .map(|i| ((over - under + i) as f64 / i as f64).log2())
            .sum();
        assert!(2.0 * log2_binomial >= 128.0);
    }
}

type Matrix = [[F; 4]; 4];

fn product(a: &Matrix, b: &Matrix) -> Matrix {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..4).map(|k| a[i][k] * b[k][j]).sum()))
}

/// Whether elimination finds four pivots.
fn invertible(mut m: Matrix) -> bool {
    for col in 0..4 {
        let Some(pivot) = (col..4).find(|r| m[*r][col] != F::ZERO) else {
            return false;
        };
        m.swap(col, pivot);
        for row in col + 1..4 {
            let factor = m[row][col] * m[col][col].invert().unwrap();
            (col..4).for_each(|j| {
                let x = m[col][j];
                m[row][j] -= factor * x;
            });
        }
    }
    true
}

/// Protects the choice of matrix. A subspace trail of period r that avoids the S-boxes of the
/// partial rounds for ever needs a proper subspace that Mʳ leaves invariant and that lies in
/// {x₀ = 0} (the S-box inactive) or contains e₀ (active). There is none iff e₀ᵀ, e₀ᵀMʳ, e₀ᵀM²ʳ,
/// e₀ᵀM³ʳ and e₀, Mʳe₀, M²ʳe₀, M³ʳe₀ are bases. The reference looks at periods up to 4t.
#[test]
fn matrix_has_no_infinite_subspace_trail() {
    let m = &Pow5Width4::cached().mds;
    let mut power = *m;
    for period in 1..=16 {
        let squared = product(&power, &power);
        let powers = [power, squared, product(&squared, &power)];
        let e0 = [F::ONE, F::ZERO, F::ZERO, F::ZERO];
        let [rows, columns] = [
            [e0, powers[0][0], powers[1][0], powers[2][0]],
            [
                e0,
                powers[0].map(|r| r[0]),
                powers[1].map(|r| r[0]),
                powers[2].map(|r| r[0]),
            ],
        ];
        assert!(invertible(rows) && invertible(columns), "period {period}");
        power = product(&power, m);
    }
    let diagonal: Matrix = std::array::from_fn(|i| {
        std::array::from_fn(|j| F::from((i + 1) as u64 * u64::from(i == j)))
    });
    assert!(
        !invertible([diagonal[0], diagonal[0], diagonal[1], diagonal[2]]),
        "the check can fail"
    );
}
