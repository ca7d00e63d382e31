//! Matrix products in `f64` that are the same on every machine.
//!
//! Each entry is ((a₀·b₀ + a₁·b₁) + a₂·b₂) + …, in this order, every product and every sum rounded by
//! itself. IEEE 754 fixes all of these roundings: neither fused operations, nor the length of
//! vectors, nor the number of threads enters. Only whole entries are computed side by side.

use rayon::prelude::*;

use super::gemm::Matrix;

/// The rows and columns of entries that are computed side by side: their sums fit the registers of
/// every x86-64 and AArch64 processor.
const ROWS: usize = 2;
const COLUMNS: usize = 8;

type Tile = [[f64; COLUMNS]; ROWS];

/// a · b, row by row. Panics unless the sizes agree.
pub fn product(a: Matrix, b: Matrix) -> Vec<f64> {
    assert_eq!(a.columns(), b.rows(), "matrices of one inner size");
    let (rows, columns) = (a.rows(), b.columns());
    let bands: Vec<_> = (0..rows)
        .step_by(ROWS)
        .map(|i| packed::<ROWS>(a, i))
        .collect();
    let panels: Vec<Vec<Tile>> = (0..columns.div_ceil(COLUMNS))
        .into_par_iter()
        .map(|panel| {
            let panel = packed(b.transposed(), panel * COLUMNS);
            bands.iter().map(|band| tile(band, &panel)).collect()
        })
        .collect();
    let entry = |i: usize, j: usize| panels[j / COLUMNS][i / ROWS][i % ROWS][j % COLUMNS];
    let row = |i: usize| (0..columns).map(move |j| entry(i, j));
    (0..rows).flat_map(row).collect()
}

/// N rows of a matrix from row `first` on, column by column; 0 beyond the last row.
fn packed<const N: usize>(matrix: Matrix, first: usize) -> Vec<[f64; N]> {
    let rows = N.min(matrix.rows() - first);
    let mut packed = vec![[0.0; N]; matrix.columns()];
    for row in 0..rows {
        let entries = packed.iter_mut().zip(matrix.row(first + row));
        entries.for_each(|(column, entry)| column[row] = entry);
    }
    packed
}

fn tile(band: &[[f64; ROWS]], panel: &[[f64; COLUMNS]]) -> Tile {
    let mut tile = [[0.0; COLUMNS]; ROWS];
    for (a, b) in band.iter().zip(panel) {
        for (sums, a) in tile.iter_mut().zip(a) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum += a * b;
            }
        }
    }
    tile
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers whose sums are rounded, and differently in another order or with fused operations.
    fn values(count: usize, seed: u64) -> Vec<f64> {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 11) as f64 / 2f64.powi(52) - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    fn in_order(a: impl Iterator<Item = f64>, b: impl Iterator<Item = f64>) -> f64 {
        a.zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
    }

    /// To the last bit the definition, whole tiles or not, stored either way.
    #[test]
    fn every_entry_is_one_sum_in_order() {
        for (rows, inner, columns) in [(1, 1, 1), (4, 300, 8), (5, 77, 9), (13, 64, 31), (0, 3, 2)]
        {
            let (a, b) = (values(rows * inner, 1), values(inner * columns, 2));
            let matrices = [
                (
                    Matrix::new(&a, rows, inner),
                    Matrix::new(&b, inner, columns),
                ),
                (
                    Matrix::new(&a, inner, rows).transposed(),
                    Matrix::new(&b, columns, inner).transposed(),
                ),
            ];
            for (a, b) in matrices {
                let found = product(a, b);
                assert_eq!(found.len(), rows * columns);
                for (at, found) in found.iter().enumerate() {
                    let (i, j) = (at / columns, at % columns);
                    let expected = in_order(a.row(i), b.transposed().row(j));
                    assert_eq!(
                        found.to_bits(),
                        expected.to_bits(),
                        "{rows} {inner} {columns}"
                    );
                }
            }
        }
    }

    /// The values above would show another order or a fused operation.
    #[test]
    fn the_order_shows_in_the_last_bits() {
        let (a, b) = (values(300, 1), values(300, 2));
        let forward = in_order(a.iter().copied(), b.iter().copied());
        let backward = in_order(a.iter().rev().copied(), b.iter().rev().copied());
        let fused = a.iter().zip(&b).fold(0.0, |sum, (a, b)| a.mul_add(*b, sum));
        assert!(forward != backward && forward != fused);
    }

    #[test]
    #[should_panic(expected = "one inner size")]
    fn sizes_must_agree() {
        product(Matrix::new(&[1.0; 6], 2, 3), Matrix::new(&[1.0; 6], 2, 3));
    }
}
