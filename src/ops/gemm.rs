//! Matrix products in `f64` on slices: the crate `gemm` behind checked bounds.

/// A matrix within a slice.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    values: &'a [f64],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix that is stored row by row and fills `values`.
    pub fn new(values: &'a [f64], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "as many values as entries");
        Self {
            values,
            rows,
            columns,
            row_step: columns,
            column_step: 1,
        }
    }

    /// A matrix of `rows` by `columns` entries that are these steps apart, the first of `values` first.
    /// Panics where the last is beyond `values`.
    pub fn strided(
        values: &'a [f64],
        (rows, columns): (usize, usize),
        (row_step, column_step): (usize, usize),
    ) -> Self {
        let matrix = Self {
            values,
            rows,
            columns,
            row_step,
            column_step,
        };
        matrix.check();
        matrix
    }

    pub fn rows(self) -> usize {
        self.rows
    }

    /// The entries of a row. Panics if there is no such row.
    pub fn row(self, index: usize) -> impl Iterator<Item = f64> + 'a {
        assert!(index < self.rows, "a row of the matrix");
        let entry = move |column| self.values[index * self.row_step + column * self.column_step];
        (0..self.columns).map(entry)
    }

    pub fn columns(self) -> usize {
        self.columns
    }

    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }

    /// `len` rows from row `first` on.
    pub fn rows_from(self, first: usize, len: usize) -> Self {
        assert!(first + len <= self.rows, "rows of the matrix");
        let start = (first * self.row_step).min(self.values.len());
        Self {
            values: &self.values[start..],
            rows: len,
            ..self
        }
    }

    /// `len` columns from column `first` on.
    pub fn columns_from(self, first: usize, len: usize) -> Self {
        self.transposed().rows_from(first, len).transposed()
    }

    /// self · `other`, row by row, on this thread. Panics unless the sizes agree.
    pub fn times(self, other: Self) -> Vec<f64> {
        assert_eq!(self.columns, other.rows, "matrices of one inner size");
        let mut product = vec![0.0; self.rows * other.columns];
        self.check();
        other.check();
        // SAFETY: `gemm` reads a · b and writes the product at steps · indices below the sizes that it
        // is given. `check` has placed all such indices of both factors within their slices, the
        // product has rows · columns entries, and being new it overlaps neither factor.
        #[allow(unsafe_code)]
        unsafe {
            gemm::gemm(
                self.rows,
                other.columns,
                self.columns,
                product.as_mut_ptr(),
                1,
                other.columns as isize,
                false,
                self.values.as_ptr(),
                self.column_step as isize,
                self.row_step as isize,
                other.values.as_ptr(),
                other.column_step as isize,
                other.row_step as isize,
                0.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
        product
    }

    /// That the last entry, and with it every other, lies in the slice.
    fn check(self) {
        if self.rows > 0 && self.columns > 0 {
            let last = (self.rows - 1) * self.row_step + (self.columns - 1) * self.column_step;
            assert!(last < self.values.len(), "a matrix within its slice");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts and transposes of matrices, of sizes that take different kernels, against the definition.
    #[test]
    fn products_of_parts_match_the_definition() {
        let a: Vec<f64> = (0..40 * 50).map(|x| f64::from(x * 7 % 23 - 11)).collect();
        let b: Vec<f64> = (0..60 * 30).map(|x| f64::from(x * 5 % 19 - 9)).collect();
        for (rows, inner, columns) in [(1, 1, 1), (1, 29, 60), (37, 1, 2), (33, 30, 55), (0, 3, 4)]
        {
            let left = Matrix::new(&a, 40, 50)
                .rows_from(3, rows)
                .columns_from(20, inner);
            // The transpose of 60 x 30.
            let right = Matrix::new(&b, 60, 30).transposed();
            let right = right
                .rows_from(0, inner)
                .columns_from(60 - columns, columns);
            let product = left.times(right);
            assert_eq!(product.len(), rows * columns);
            for (at, entry) in product.iter().enumerate() {
                let (i, j) = (at / columns, at % columns);
                let left = |k| a[(3 + i) * 50 + 20 + k];
                let right = |k| b[(60 - columns + j) * 30 + k];
                let expected: f64 = (0..inner).map(|k| left(k) * right(k)).sum();
                assert_eq!(*entry, expected, "{rows}x{inner}x{columns} at {i}, {j}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "rows of the matrix")]
    fn rows_beyond_a_matrix_are_refused() {
        Matrix::new(&[0.0; 6], 2, 3).rows_from(1, 2);
    }
}
