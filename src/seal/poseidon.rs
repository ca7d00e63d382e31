//! The permutation of T1 in rows of four cells.
//!
//! # Layout
//! A permutation is [`ROWS`] rows; between two of them stands a gate.
//!
//! | rows | content | gate to the next row |
//! | --- | --- | --- |
//! | 0 … 3 | the state before each of the first four full rounds | [`Gate::Full`] |
//! | 4 | the state before the first partial round | [`Gate::Enter`] |
//! | 5 … 17 | the S-box's inputs in the partial rounds, x₀ … x₅₁, four a row | [`Gate::Step`] |
//! | 18 | x₅₂ … x₅₅ | [`Gate::Leave`] |
//! | 19 … 22 | the state before each of the last four full rounds | [`Gate::Full`] |
//! | 23 | the state after the last | none |
//!
//! # Partial rounds without their states
//! Partial round i takes (s₀, v), v = (s₁, s₂, s₃), to M·(fᵢ, v + c_v), where xᵢ = s₀ + c₀ and
//! fᵢ = xᵢ⁵. Everything in it but fᵢ is linear, so with v the words before round i, all that rounds
//! i … i+3 compute is a *linear form* in (v, fᵢ … fᵢ₊₃, 1); only its constant depends on i. The forms
//! of xᵢ₊₁, xᵢ₊₂, xᵢ₊₃ can be solved for v (`solve_for_words`), and then the state
//! after the four rounds, and so xᵢ₊₄, is a linear form in (xᵢ₊₁, xᵢ₊₂, xᵢ₊₃, fᵢ … fᵢ₊₃, 1). The
//! coefficients are computed here from the matrix and the round constants, by walking the four rounds
//! with forms for values.
//!
//! # Why the gates force the permutation
//! [`Gate::word`] gives every word of the next row as a polynomial of the row and of the words before
//! it. A gate's four equations ([`Gate::equations`]) hold just if the next row consists of these words:
//! `Enter` and `Step` say so word by word; `Full` and `Leave` say it after multiplication by an
//! invertible matrix, which leaves one fifth power in each equation instead of four. So row 0 leaves no
//! choice in rows 1 … 23: there is one assignment, and the permutation's own values (for which the forms
//! were derived) are one. Row 0 is copied.

use std::iter::Sum;
use std::ops::{Add, Mul};
use std::sync::OnceLock;

use ff::Field;
use halo2_gadgets::poseidon::primitives::Spec;

use crate::algebra::F;
use crate::transcript::hidden::{CachedSpec, HiddenSpec, WIDTH};

/// Rows of a permutation.
pub const ROWS: usize = 24;
/// Full rounds before, and after, the partial ones.
const HALF: usize = 4;
/// Partial rounds.
const PARTIAL: usize = 56;
/// The row of the first S-box inputs.
const INPUTS: usize = HALF + 1;
/// The row of the last S-box inputs.
const LAST_INPUTS: usize = HALF + PARTIAL / WIDTH;

/// What ties a row to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// State to state, by a full round.
    Full,
    /// State to x₀ … x₃.
    Enter,
    /// xᵢ … xᵢ₊₃ to xᵢ₊₄ … xᵢ₊₇.
    Step,
    /// x₅₂ … x₅₅ to the state after the partial rounds.
    Leave,
}

impl Gate {
    /// All gates, in the order of their values.
    pub const ALL: [Self; 4] = [Self::Full, Self::Enter, Self::Step, Self::Leave];

    /// What the mock prover calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full round",
            Self::Enter => "into the partial rounds",
            Self::Step => "partial rounds",
            Self::Leave => "out of the partial rounds",
        }
    }

    /// The gate between `row` and the next.
    pub fn after(row: usize) -> Self {
        match row {
            HALF => Self::Enter,
            INPUTS..LAST_INPUTS => Self::Step,
            LAST_INPUTS => Self::Leave,
            _ => Self::Full,
        }
    }

    /// Word `word` of the next row. `cells` are the row's four words, then those of the next row
    /// before `word`; `constants` belong to the row ([`constants`]).
    pub fn word<T: Value>(self, word: usize, cells: &[T], constants: &[T]) -> T {
        let known = Coefficients::cached();
        let constant = || constants[word].clone();
        match self {
            Self::Full => {
                let row = cells.iter().zip(constants).take(WIDTH);
                let row = row.map(|(x, c)| fifth(x.clone() + c.clone()));
                dot(&known.full[word], row)
            }
            Self::Enter if word == 0 => cells[0].clone() + constant(),
            Self::Enter => {
                let inputs = cells[WIDTH..].iter().cloned().map(fifth);
                let Form { words, fifths, .. } = known.enter[word - 1];
                let words = dot(&words, cells[1..WIDTH].iter().cloned());
                words + dot(&fifths[..word], inputs) + constant()
            }
            Self::Step => {
                let inputs = cells[word..].iter().cloned();
                let words = dot(&known.step.words, inputs.clone().skip(1));
                words + dot(&known.step.fifths, inputs.map(fifth)) + constant()
            }
            Self::Leave => {
                let row = cells.iter().zip(constants).take(WIDTH);
                let row = row.map(|(x, c)| fifth(x.clone()) + c.clone());
                let Form { words, fifths, .. } = known.leave[word];
                let words = dot(&words, cells[1..].iter().cloned());
                words + dot(&fifths, row)
            }
        }
    }

    /// What is zero, all four, just if the next row consists of [`Gate::word`]s. `cells` are the row's
    /// words, then the next row's.
    pub fn equations<T: Value>(self, cells: &[T], constants: &[T]) -> [T; WIDTH] {
        let known = Coefficients::cached();
        let (row, next) = cells.split_at(WIDTH);
        std::array::from_fn(|j| match self {
            Self::Full => {
                let power = fifth(row[j].clone() + constants[j].clone());
                power + dot(&known.full_solved[j], next.iter().cloned())
            }
            Self::Leave => {
                let power = fifth(row[j].clone()) + constants[j].clone();
                power + dot(&known.leave_solved[j], cells[1..].iter().cloned())
            }
            Self::Enter | Self::Step => {
                self.word(j, &cells[..WIDTH + j], constants) + next[j].clone() * -F::ONE
            }
        })
    }

    /// What must be added to word `word`, and to the others alike, so that equation `equation` alone
    /// is wrong.
    #[cfg(test)]
    pub fn fault(self, equation: usize, word: usize) -> F {
        match self {
            Self::Full => Coefficients::cached().full[word][equation],
            Self::Leave => Coefficients::cached().leave[word].fifths[equation],
            Self::Enter | Self::Step => F::from(u64::from(word == equation)),
        }
    }
}

/// The constants of `row`'s gate, one per word of the row.
pub fn constants(row: usize) -> [F; WIDTH] {
    Coefficients::cached().constants[row]
}

/// A field element, or an expression that stands for one.
pub trait Value: Clone + Add<Output = Self> + Mul<Output = Self> + Mul<F, Output = Self> {}

impl<T: Clone + Add<Output = T> + Mul<Output = T> + Mul<F, Output = T>> Value for T {}

fn fifth<T: Value>(x: T) -> T {
    let square = x.clone() * x.clone();
    square.clone() * square * x
}

/// Σ coefficient · value, without the coefficients that are zero.
fn dot<T: Value>(coefficients: &[F], values: impl Iterator<Item = T>) -> T {
    let terms = coefficients
        .iter()
        .zip(values)
        .filter(|(c, _)| **c != F::ZERO);
    let terms = terms.map(|(c, x)| x * *c);
    terms.reduce(Add::add).expect("not all are zero")
}

/// A linear form: three coefficients of *words*, four of fifth powers, the constant.
#[derive(Clone, Copy)]
struct Form {
    words: [F; 3],
    fifths: [F; 4],
    constant: F,
}

impl Form {
    const ZERO: Self = Self {
        words: [F::ZERO; 3],
        fifths: [F::ZERO; 4],
        constant: F::ZERO,
    };

    fn of_word(i: usize) -> Self {
        let mut form = Self::ZERO;
        form.words[i] = F::ONE;
        form
    }

    fn of_fifth(i: usize) -> Self {
        let mut form = Self::ZERO;
        form.fifths[i] = F::ONE;
        form
    }

    fn plus(mut self, constant: F) -> Self {
        self.constant += constant;
        self
    }
}

impl Add for Form {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            words: std::array::from_fn(|i| self.words[i] + other.words[i]),
            fifths: std::array::from_fn(|i| self.fifths[i] + other.fifths[i]),
            constant: self.constant + other.constant,
        }
    }
}

impl Mul<F> for Form {
    type Output = Self;

    fn mul(self, by: F) -> Self {
        Self {
            words: self.words.map(|c| c * by),
            fifths: self.fifths.map(|c| c * by),
            constant: self.constant * by,
        }
    }
}

impl Sum for Form {
    fn sum<I: Iterator<Item = Self>>(forms: I) -> Self {
        forms.fold(Self::ZERO, Add::add)
    }
}

/// The states after partial rounds `first` … `first` + 3, as forms in words 1 to 3 before `first`.
fn four_rounds(first: usize) -> [[Form; WIDTH]; 4] {
    let spec = HiddenSpec::cached();
    let mut state: [Form; WIDTH] = std::array::from_fn(|w| match w {
        0 => Form::ZERO, // known through its S-box alone
        w => Form::of_word(w - 1),
    });
    std::array::from_fn(|j| {
        let constants = &spec.rounds[HALF + first + j];
        let after_sbox: [Form; WIDTH] = std::array::from_fn(|w| match w {
            0 => Form::of_fifth(j),
            w => state[w].plus(constants[w]),
        });
        state = spec
            .mds
            .map(|row| after_sbox.iter().zip(row).map(|(x, m)| *x * m).sum());
        state
    })
}

/// The S-box's inputs in partial rounds `first` + 1 … `first` + 3.
fn three_inputs(first: usize, states: &[[Form; WIDTH]; 4]) -> [Form; 3] {
    std::array::from_fn(|j| states[j][0].plus(input_constant(first + j + 1)))
}

/// What partial round `i` adds to word 0.
fn input_constant(i: usize) -> F {
    HiddenSpec::cached().rounds[HALF + i][0]
}

/// `form`, whose words are solved for: `inputs` are three forms in the same words, and the result
/// has the values of those three for words.
fn solve_for_words(form: Form, inputs: &[Form; 3]) -> Form {
    let inverse = invert(inputs.map(|x| x.words));
    // word_k = Σ_j inverse_kj·(input_j − what is no word in it)
    let word = |k: usize| -> Form {
        let terms = inputs.iter().enumerate().map(|(j, input)| {
            let rest = Form {
                words: [F::ZERO; 3],
                ..*input
            };
            (Form::of_word(j) + rest * -F::ONE) * inverse[k][j]
        });
        terms.sum()
    };
    let rest = Form {
        words: [F::ZERO; 3],
        ..form
    };
    rest + (0..3).map(|k| word(k) * form.words[k]).sum()
}

/// The inverse of a matrix, by Gauss and Jordan.
fn invert<const N: usize>(mut m: [[F; N]; N]) -> [[F; N]; N] {
    let mut inverse: [[F; N]; N] =
        std::array::from_fn(|i| std::array::from_fn(|j| F::from(u64::from(i == j))));
    for column in 0..N {
        let pivot = (column..N)
            .find(|row| m[*row][column] != F::ZERO)
            .expect("an invertible matrix");
        m.swap(column, pivot);
        inverse.swap(column, pivot);
        let scale = m[column][column].invert().expect("not zero");
        m[column] = m[column].map(|x| x * scale);
        inverse[column] = inverse[column].map(|x| x * scale);
        for row in (0..N).filter(|row| *row != column) {
            let factor = m[row][column];
            let (a, b) = (m[column], inverse[column]);
            m[row] = std::array::from_fn(|j| m[row][j] - factor * a[j]);
            inverse[row] = std::array::from_fn(|j| inverse[row][j] - factor * b[j]);
        }
    }
    inverse
}

/// The gates' coefficients.
struct Coefficients {
    /// The matrix, and the equations' coefficients of the next row.
    full: [[F; WIDTH]; WIDTH],
    full_solved: [[F; WIDTH]; WIDTH],
    /// x₁, x₂, x₃ in words 1 to 3 of the state and f₀ … f₂.
    enter: [Form; 3],
    /// xᵢ₊₄ in xᵢ₊₁ … xᵢ₊₃ and fᵢ … fᵢ₊₃.
    step: Form,
    /// The state after the partial rounds in x₅₃ … x₅₅ and f₅₂ … f₅₅, and the equations'
    /// coefficients of x₅₃ … x₅₅ and that state.
    leave: [Form; WIDTH],
    leave_solved: [[F; 3 + WIDTH]; WIDTH],
    /// Per row.
    constants: [[F; WIDTH]; ROWS],
}

impl Coefficients {
    fn cached() -> &'static Self {
        static CACHE: OnceLock<Coefficients> = OnceLock::new();
        CACHE.get_or_init(Self::compute)
    }

    fn compute() -> Self {
        assert_eq!(HiddenSpec::full_rounds(), 2 * HALF);
        assert_eq!(HiddenSpec::partial_rounds(), PARTIAL);
        let spec = HiddenSpec::cached();
        let full = spec.mds;
        let full_solved = invert(full).map(|row| row.map(|m| -m));

        let enter = three_inputs(0, &four_rounds(0));
        let step = |i: usize| {
            let states = four_rounds(i);
            let next = states[3][0].plus(input_constant(i + 4));
            solve_for_words(next, &three_inputs(i, &states))
        };

        let last = PARTIAL - 4;
        let states = four_rounds(last);
        let leave = states[3].map(|form| solve_for_words(form, &three_inputs(last, &states)));
        // state = P·f + words + constants, solved for f:  f + P⁻¹·constants = P⁻¹·(state − words)
        let inverse = invert(leave.map(|form| form.fifths));
        let solve = |row: [F; WIDTH], part: &dyn Fn(&Form) -> F| -> F {
            row.iter()
                .zip(&leave)
                .map(|(m, form)| *m * part(form))
                .sum()
        };
        let leave_solved = inverse.map(|row| {
            std::array::from_fn(|at| match at {
                0..3 => solve(row, &|form| form.words[at]),
                _ => -row[at - 3],
            })
        });
        let leave_constants = inverse.map(|row| solve(row, &|form| form.constant));

        let constants = std::array::from_fn(|row| match row {
            0..HALF => spec.rounds[row],
            HALF => {
                let [a, b, c] = enter.map(|form| form.constant);
                [input_constant(0), a, b, c]
            }
            INPUTS..LAST_INPUTS => {
                std::array::from_fn(|w| step(WIDTH * (row - INPUTS) + w).constant)
            }
            LAST_INPUTS => leave_constants,
            row => {
                let round = HALF + PARTIAL + row - LAST_INPUTS - 1;
                // The last row has no gate.
                spec.rounds.get(round).copied().unwrap_or([F::ZERO; WIDTH])
            }
        });
        Self {
            full,
            full_solved,
            enter,
            step: step(0),
            leave,
            leave_solved,
            constants,
        }
    }
}

#[cfg(test)]
#[path = "poseidon_tests.rs"]
mod tests;
