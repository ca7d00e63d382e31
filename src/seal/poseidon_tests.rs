use super::*;
use crate::argument::hidden::tests::scalars;
use crate::transcript::hidden::{RATE, permute};

/// The rows by the gates, from row 0.
fn rows(state: [F; WIDTH]) -> Vec<[F; WIDTH]> {
    let mut rows = vec![state];
    for row in 0..ROWS - 1 {
        let mut cells = rows[row].to_vec();
        for word in 0..WIDTH {
            cells.push(Gate::after(row).word(word, &cells, &constants(row)));
        }
        rows.push(cells[WIDTH..].try_into().unwrap());
    }
    rows
}

/// The rows by the rounds: the naive twin.
fn naive_rows(mut state: [F; WIDTH]) -> Vec<[F; WIDTH]> {
    let spec = HiddenSpec::cached();
    let (mut rows, mut inputs) = (Vec::new(), Vec::new());
    for (round, constants) in spec.rounds.iter().enumerate() {
        let partial = (HALF..HALF + PARTIAL).contains(&round);
        if !partial || round == HALF {
            rows.push(state);
        }
        for (word, c) in state.iter_mut().zip(constants) {
            *word += c;
        }
        if partial {
            inputs.push(state[0]);
            state[0] = HiddenSpec::sbox(state[0]);
        } else {
            state = state.map(HiddenSpec::sbox);
        }
        state = spec
            .mds
            .map(|row| row.iter().zip(state).map(|(m, x)| x * m).sum());
        if round == HALF + PARTIAL - 1 {
            rows.extend(inputs.chunks(WIDTH).map(|x| <[F; 4]>::try_from(x).unwrap()));
        }
    }
    rows.push(state);
    rows
}

fn states() -> Vec<[F; WIDTH]> {
    let random = scalars("states", 40);
    let random = random.chunks(WIDTH).map(|x| x.try_into().unwrap());
    let units = (0..WIDTH).map(|w| std::array::from_fn(|i| F::from(u64::from(i == w))));
    [[F::ZERO; WIDTH], [-F::ONE; WIDTH]]
        .into_iter()
        .chain(units)
        .chain(random)
        .collect()
}

/// Protects the coefficients: every row that the gates give is the one the rounds give, and the last is
/// the permutation of T1.
#[test]
fn gates_compute_the_permutation() {
    for state in states() {
        let rows = rows(state);
        assert_eq!(rows, naive_rows(state));
        let mut permuted = state;
        permute::<HiddenSpec, WIDTH, RATE>(&mut permuted);
        assert_eq!((rows.len(), rows[ROWS - 1]), (ROWS, permuted));
    }
}

/// Words 1 to 3 can be told from the S-box's next three inputs, in every group of four rounds; and the
/// coefficients, but for the constants, are the same in all of them.
#[test]
fn coefficients_do_not_depend_on_the_round() {
    let step = |i| {
        let states = four_rounds(i);
        solve_for_words(states[3][0], &three_inputs(i, &states))
    };
    for i in 0..PARTIAL - 3 {
        let form = step(i);
        let known = Coefficients::cached().step;
        assert_eq!((form.words, form.fifths), (known.words, known.fifths));
    }
}

/// The closed form of the step: its words' coefficients are those of the characteristic polynomial of A,
/// the matrix without row and column 0 (Cayley and Hamilton).
#[test]
fn step_follows_the_characteristic_polynomial() {
    let mds = HiddenSpec::cached().mds;
    let a: [[F; 3]; 3] = std::array::from_fn(|i| std::array::from_fn(|j| mds[i + 1][j + 1]));
    let minor = |i: usize, j: usize| a[i][i] * a[j][j] - a[i][j] * a[j][i];
    let trace = a[0][0] + a[1][1] + a[2][2];
    let minors = minor(0, 1) + minor(0, 2) + minor(1, 2);
    let determinant = a[0][0] * minor(1, 2) - a[0][1] * (a[1][0] * a[2][2] - a[1][2] * a[2][0])
        + a[0][2] * (a[1][0] * a[2][1] - a[1][1] * a[2][0]);
    let step = Coefficients::cached().step;
    assert_eq!(step.words, [determinant, -minors, trace]);
    assert_eq!(step.fifths[3], mds[0][0]);
}

/// A word of a row that differs moves the words after it: no gate ignores a cell.
#[test]
fn every_cell_of_a_gate_matters() {
    let state: [F; WIDTH] = scalars("cells", WIDTH).try_into().unwrap();
    let rows = rows(state);
    for row in 0..ROWS - 1 {
        let gate = Gate::after(row);
        let cells = [rows[row], rows[row + 1]].concat();
        for at in 0..WIDTH {
            let mut moved = cells[..WIDTH].to_vec();
            moved[at] += F::ONE;
            for word in 0..WIDTH {
                moved.push(gate.word(word, &moved, &constants(row)));
            }
            assert_ne!(moved[WIDTH..], cells[WIDTH..], "row {row}, word {at}");
        }
    }
}

/// A gate's equations are the statement that the next row consists of the gate's words, for cells of any
/// values: an equation fails alone if the words are moved by [`Gate::fault`], and only then.
#[test]
fn equations_are_about_the_words() {
    for gate in Gate::ALL {
        let values = scalars("equations", 3 * WIDTH);
        let (row, constants) = values.split_at(WIDTH);
        let (constants, errors) = constants.split_at(WIDTH);
        // The next row, in which equation j is wrong by errors[j].
        let mut cells = row.to_vec();
        for word in 0..WIDTH {
            let moved = (0..WIDTH).map(|j| errors[j] * gate.fault(j, word));
            cells.push(gate.word(word, &cells, constants) + moved.sum::<F>());
        }
        let wrong = gate.equations(&cells, constants);
        assert_eq!(wrong.map(|x| -x)[..], *errors, "{gate:?}");
        // Every next row is of this form: the faults are a basis.
        invert(std::array::from_fn::<_, WIDTH, _>(|word| {
            std::array::from_fn(|j| gate.fault(j, word))
        }));
    }
}

/// Also where a pivot is zero, as it is of no matrix that the permutation needs.
#[test]
fn matrices_are_inverted() {
    let f = F::from;
    let m = [[f(0), f(2), f(1)], [f(3), f(0), f(5)], [f(0), f(0), f(7)]];
    let inverse = invert(m);
    for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
        let entry: F = (0..3).map(|k| m[i][k] * inverse[k][j]).sum();
        assert_eq!(entry, f(u64::from(i == j)));
    }
}
