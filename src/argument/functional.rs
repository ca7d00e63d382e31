//! Linear functionals of the committed data, as sums of tensors.
//!
//! The data of a bundle are two long vectors, cut into rows of 2^c. A claim ⟨data, b⟩ has a `b` that
//! is a sum of *runs*, and a run a short sum of *pieces*: on an aligned run of 2^k entries, a constant
//! times a tensor of k two-vectors. The prover writes `b` out; the verifier evaluates it against the
//! tensor of fold challenges in O(k) a piece. Both get it from the same code. Pieces are not kept: there
//! can be dozens to a run, and runs are as many as a file asks for.

use std::ops::Range;
use std::sync::Arc;

use ff::Field;
use rayon::prelude::*;

use crate::algebra::F;

/// The weights of an index bit: `[if 0, if 1]`.
pub type BitWeights = [F; 2];

/// `coef · Π_b bits[b][bit b of index + x]` on the entries `offset + x`, x < len.
#[derive(Clone, Debug)]
pub struct Run {
    offset: usize,
    index: usize,
    len: usize,
    coef: F,
    bits: Arc<[BitWeights]>,
}

/// `coef · ⊗ bits` on `[offset, offset + 2^bits.len())`; `offset` is a multiple of the length.
struct Piece<'a> {
    offset: usize,
    coef: F,
    bits: &'a [BitWeights],
}

/// A sum of runs with structure and of explicit ones.
#[derive(Clone, Debug, Default)]
pub struct Functional {
    runs: Vec<Run>,
    /// (offset, coefficient, values): for public tables, which have no structure.
    pub dense: Vec<(usize, F, Arc<Vec<F>>)>,
}

/// One dimension's weights.
#[derive(Clone, Debug)]
pub enum DimWeights {
    /// eq(point, ·), lowest bit first.
    Eq(Vec<F>),
    Ones,
    Fixed(usize),
}

impl DimWeights {
    /// Weights per index bit, `n` bits; what a longer point says of the bits above n (which are
    /// zero in every index) is the second value.
    fn bit_weights(&self, n: usize) -> (Vec<BitWeights>, F) {
        match self {
            Self::Eq(point) => {
                assert!(
                    point.len() >= n,
                    "a point has a coordinate for every index bit"
                );
                let bits = point[..n].iter().map(|p| [F::ONE - p, *p]).collect();
                (bits, point[n..].iter().map(|p| F::ONE - p).product())
            }
            Self::Ones => (vec![[F::ONE, F::ONE]; n], F::ONE),
            Self::Fixed(x) => {
                let bits = (0..n).map(|b| {
                    if x >> b & 1 == 1 {
                        [F::ZERO, F::ONE]
                    } else {
                        [F::ONE, F::ZERO]
                    }
                });
                (bits.collect(), F::ONE)
            }
        }
    }

    /// The weights of the indices below `len`.
    pub fn table(&self, len: usize) -> Vec<F> {
        match self {
            Self::Eq(point) => {
                let mut table = crate::algebra::eq_table(point, F::ONE);
                table.truncate(len);
                table
            }
            Self::Ones => vec![F::ONE; len],
            Self::Fixed(x) => (0..len)
                .map(|i| if i == *x { F::ONE } else { F::ZERO })
                .collect(),
        }
    }
}

/// The number of bits an index below `len` needs.
pub fn index_bits(len: usize) -> usize {
    len.next_power_of_two().trailing_zeros() as usize
}

/// Cuts `[0, len)` into runs `(x, k)` of 2^k indices such that both `base + x` and `index + x` are
/// multiples of 2^k.
fn dyadic_runs(base: usize, index: usize, len: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let x = next;
        let fits = (len - x).checked_ilog2()? as usize;
        let k = fits
            .min((base + x).trailing_zeros() as usize)
            .min((index + x).trailing_zeros() as usize);
        next += 1 << k;
        Some((x, k))
    })
}

impl Run {
    /// The run as a sum of pieces, without those that are zero.
    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let pieces = dyadic_runs(self.offset, self.index, self.len).map(|(x, k)| {
            let high = self.bits.iter().enumerate().skip(k);
            let coef = high.fold(self.coef, |c, (b, w)| c * w[(self.index + x) >> b & 1]);
            Piece {
                offset: self.offset + x,
                coef,
                bits: &self.bits[..k],
            }
        });
        pieces.filter(|piece| piece.coef != F::ZERO)
    }
}

impl Piece<'_> {
    /// Adds the part that lies in the row that begins at `start` to it.
    fn add_to_row(&self, start: usize, row: &mut [F]) {
        let row_bits = row.len().ilog2() as usize;
        let (low, high) = self.bits.split_at(self.bits.len().min(row_bits));
        // A piece longer than a row is aligned to it: its high bits are the same in all of the row.
        let high = high.iter().enumerate();
        let coef = high.fold(self.coef, |c, (b, w)| c * w[start >> (row_bits + b) & 1]);
        let from = self.offset.saturating_sub(start);
        for (t, v) in row[from..].iter_mut().zip(tensor_table(coef, low)) {
            *t += v;
        }
    }
}

impl Functional {
    /// Adds `coef · ⊗ dims` on the column that begins at `offset` and has the given dimensions,
    /// outermost first; all but the first are powers of two. The better `offset` is aligned, the
    /// fewer pieces it takes.
    pub fn add_column(&mut self, offset: usize, lens: &[usize], dims: &[DimWeights], coef: F) {
        assert_eq!(lens.len(), dims.len(), "every dimension has its weights");
        let (mut bits, mut coef) = (Vec::new(), coef);
        for (len, dim) in lens.iter().zip(dims).rev() {
            let (own, rest) = dim.bit_weights(index_bits(*len));
            bits.extend(own);
            coef *= rest;
        }
        self.add_bits(offset, 0, lens.iter().product(), &bits, coef);
    }

    /// Adds `coef · eq(point, index + x)` on the entries `offset + x`, x < len.
    pub fn add_run(&mut self, offset: usize, index: usize, len: usize, point: &[F], coef: F) {
        let point = DimWeights::Eq(point.to_vec());
        let (bits, rest) = point.bit_weights(index_bits(index + len));
        self.add_bits(offset, index, len, &bits, coef * rest);
    }

    /// Adds a [`Run`].
    fn add_bits(&mut self, offset: usize, index: usize, len: usize, bits: &[BitWeights], coef: F) {
        // The digits of a tensor follow one another and have the same weights: ten times the size of a run.
        let last = self.runs.last().filter(|last| *last.bits == *bits);
        let bits = last.map_or_else(|| bits.into(), |last| last.bits.clone());
        self.runs.push(Run {
            offset,
            index,
            len,
            coef,
            bits,
        });
    }

    fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        self.runs.iter().flat_map(Run::pieces)
    }

    /// Multiplies everything by `scale` and adds it to `into`.
    pub fn add_scaled_to(self, scale: F, into: &mut Self) {
        into.runs.extend(self.runs.into_iter().map(|run| Run {
            coef: run.coef * scale,
            ..run
        }));
        into.dense
            .extend(self.dense.into_iter().map(|(o, c, v)| (o, c * scale, v)));
    }

    /// These rows of the functional written out, 2^row_bits entries each, in parallel. Panics if a
    /// part lies outside.
    pub fn rows(&self, rows: Range<usize>, row_bits: usize) -> Vec<Vec<F>> {
        let all: Vec<Piece> = self.pieces().collect();
        let mut pieces: Vec<Vec<&Piece>> = vec![Vec::new(); rows.len()];
        for piece in &all {
            let last = piece.offset + (1 << piece.bits.len()) - 1;
            for row in piece.offset >> row_bits..=last >> row_bits {
                pieces[row - rows.start].push(piece);
            }
        }
        let mut dense: Vec<Vec<(usize, F, &[F])>> = vec![Vec::new(); rows.len()];
        for (offset, coef, values) in &self.dense {
            let (mut at, mut rest) = (*offset, values.as_slice());
            while !rest.is_empty() {
                let column = at & ((1 << row_bits) - 1);
                let (here, next) = rest.split_at(rest.len().min((1 << row_bits) - column));
                dense[(at >> row_bits) - rows.start].push((column, *coef, here));
                (at, rest) = (at + here.len(), next);
            }
        }
        (pieces, dense)
            .into_par_iter()
            .zip(rows)
            .map(|((pieces, dense), row)| {
                let mut target = vec![F::ZERO; 1 << row_bits];
                for piece in pieces {
                    piece.add_to_row(row << row_bits, &mut target);
                }
                for (column, coef, values) in dense {
                    for (t, v) in target[column..].iter_mut().zip(values) {
                        *t += coef * v;
                    }
                }
                target
            })
            .collect()
    }

    /// Σ_x b(x) · Π_b (factors[b] if bit b of x is set): the functional against a tensor that is 1
    /// at index 0.
    pub fn evaluate(&self, factors: &[F]) -> F {
        let of_run = |run: &Run| -> F {
            let of_piece = |p: Piece| {
                let inside: F = p
                    .bits
                    .iter()
                    .zip(factors)
                    .map(|([a, b], t)| *a + *b * t)
                    .product();
                p.coef * inside * high_weight(factors, p.offset, p.bits.len())
            };
            run.pieces().map(of_piece).sum()
        };
        let runs = || self.runs.par_iter().with_min_len(64).map(of_run).sum();
        let dense = self.dense.par_iter();
        let dense = || {
            dense
                .map(|(o, c, v)| *c * evaluate_dense(factors, *o, v))
                .sum()
        };
        let (runs, dense): (F, F) = rayon::join(runs, dense);
        runs + dense
    }
}

/// All entries of `scale · ⊗ bits`.
fn tensor_table(scale: F, bits: &[BitWeights]) -> Vec<F> {
    let mut table = vec![scale; 1 << bits.len()];
    for (b, [zero, one]) in bits.iter().enumerate() {
        let (low, high) = table[..2 << b].split_at_mut(1 << b);
        if *zero == F::ONE && *one == F::ONE {
            high.copy_from_slice(low);
        } else if *zero + one == F::ONE {
            for (l, h) in low.iter_mut().zip(high) {
                *h = *l * one;
                *l -= *h;
            }
        } else {
            for (l, h) in low.iter_mut().zip(high) {
                *h = *l * one;
                *l *= zero;
            }
        }
    }
    table
}

/// Π factors[b] over the set bits b ≥ `from` of `index`. Panics if there is no factor for a bit.
fn high_weight(factors: &[F], index: usize, from: usize) -> F {
    assert!(factors.len() >= usize::BITS as usize || index >> factors.len() == 0);
    factors
        .iter()
        .enumerate()
        .skip(from)
        .filter(|(b, _)| index >> b & 1 == 1)
        .map(|(_, t)| *t)
        .product()
}

/// Σ_j values[j] · weight(offset + j), run by aligned run, folding each bit by bit.
fn evaluate_dense(factors: &[F], offset: usize, values: &[F]) -> F {
    let aligned = 1usize << offset.trailing_zeros().min(index_bits(values.len()) as u32);
    values
        .chunks(aligned)
        .enumerate()
        .map(|(n, chunk)| {
            let bits = index_bits(chunk.len());
            let folded = factors[..bits].iter().fold(chunk.to_vec(), |folded, t| {
                let pair = |p: &[F]| if p.len() == 2 { p[0] + *t * p[1] } else { p[0] };
                folded.chunks(2).map(pair).collect()
            });
            folded[0] * high_weight(factors, offset + n * aligned, bits)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(seed: u64, n: usize) -> Vec<F> {
        (0..n as u64)
            .map(|i| F::from(seed + 17 * i).square() + F::from(i))
            .collect()
    }

    /// Every way of using a functional must agree with the plain definition on the written-out
    /// vector.
    fn check(f: &Functional, bits: usize, expected: &dyn Fn(usize) -> F) {
        // However it is cut into rows.
        let dense = f.rows(0..1, bits).concat();
        for row_bits in 1..bits {
            let rows = 1 << (bits - row_bits);
            assert_eq!(f.rows(0..rows, row_bits).concat(), dense);
        }
        for (x, v) in dense.iter().enumerate() {
            assert_eq!(*v, expected(x), "entry {x}");
        }
        let factors = points(99, bits);
        let weighted: F = dense
            .iter()
            .enumerate()
            .map(|(x, v)| *v * high_weight(&factors, x, 0))
            .sum();
        assert_eq!(f.evaluate(&factors), weighted);
    }

    /// Rows may be counted from any: what lies in the upper half, as its rows alone and as those of the whole.
    #[test]
    fn rows_are_those_that_are_asked_for() {
        let mut f = Functional::default();
        f.add_run(37, 5, 20, &points(3, 6), F::from(7));
        f.dense.push((60, F::from(11), Arc::new(points(5, 4))));
        let whole = f.rows(0..8, 3);
        assert_eq!(f.rows(4..8, 3), whole[4..]);
        assert!(whole[..4].iter().flatten().all(|v| *v == F::ZERO));
        assert!(whole[4..].iter().flatten().any(|v| *v != F::ZERO));
    }

    /// With weights for which there is a shortcut, nearly such ones, and others.
    #[test]
    fn tensor_tables_are_products() {
        let (zero, one, a, b) = (F::ZERO, F::ONE, F::from(5), F::from(7));
        let bits: [BitWeights; 7] = [
            [one, one],
            [one, zero],
            [zero, one],
            [one, b],
            [a, one],
            [a, one - a],
            [a, b],
        ];
        for (x, entry) in tensor_table(F::from(3), &bits).into_iter().enumerate() {
            let weights = bits.iter().enumerate().map(|(i, w)| w[x >> i & 1]);
            assert_eq!(entry, F::from(3) * weights.product::<F>(), "entry {x}");
        }
    }

    #[test]
    fn columns_of_odd_length_at_odd_places() {
        let (slab, token) = (points(3, 4), points(5, 2));
        for (base, len) in [(0, 16), (3, 5), (4, 12), (1, 1)] {
            let mut f = Functional::default();
            f.add_column(
                base * 4,
                &[len, 4],
                &[DimWeights::Eq(slab.clone()), DimWeights::Eq(token.clone())],
                F::from(7),
            );
            check(&f, 7, &|x| {
                if (base * 4..(base + len) * 4).contains(&x) {
                    let (s, t) = ((x / 4) - base, x % 4);
                    F::from(7) * crate::algebra::eq_at(&slab, s) * crate::algebra::eq_at(&token, t)
                } else {
                    F::ZERO
                }
            });
        }
    }

    /// A column may begin anywhere: its inner block can be larger than a row.
    #[test]
    fn columns_need_no_alignment() {
        let (outer, inner) = (points(3, 2), points(5, 3));
        let mut f = Functional::default();
        let dims = [DimWeights::Eq(outer.clone()), DimWeights::Eq(inner.clone())];
        f.add_column(6, &[3, 8], &dims, F::ONE);
        check(&f, 5, &|x| {
            if (6..30).contains(&x) {
                let (o, i) = ((x - 6) / 8, (x - 6) % 8);
                crate::algebra::eq_at(&outer, o) * crate::algebra::eq_at(&inner, i)
            } else {
                F::ZERO
            }
        });
    }

    #[test]
    fn ones_fixed_and_dense_parts() {
        let mut f = Functional::default();
        f.add_column(
            8,
            &[3, 2],
            &[DimWeights::Fixed(2), DimWeights::Ones],
            F::from(5),
        );
        f.dense
            .push((16, F::from(2), Arc::new((0..8u64).map(F::from).collect())));
        check(&f, 5, &|x| match x {
            12 | 13 => F::from(5),
            16..24 => F::from(2 * (x as u64 - 16)),
            _ => F::ZERO,
        });
    }

    #[test]
    fn dense_runs_need_no_alignment() {
        let mut f = Functional::default();
        f.dense
            .push((12, F::ONE, Arc::new((1..=9u64).map(F::from).collect())));
        check(&f, 5, &|x| {
            if (12..21).contains(&x) {
                F::from(x as u64 - 11)
            } else {
                F::ZERO
            }
        });
    }

    #[test]
    fn runs_with_an_index_offset() {
        let point = points(11, 5);
        let mut f = Functional::default();
        f.add_run(6, 9, 13, &point, F::ONE);
        check(&f, 5, &|x| {
            if (6..19).contains(&x) {
                crate::algebra::eq_at(&point, x - 6 + 9)
            } else {
                F::ZERO
            }
        });
    }
}
