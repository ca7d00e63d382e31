//! How much of a model's Fisher information is covered by the layers that a share of the proving
//! cost pays for, in one order or another.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::FisherTable;

/// Over so many random orders means and intervals are taken.
pub const SHUFFLES: usize = 1000;

/// The orders in which a table's layers are taken.
#[derive(Clone, Debug)]
pub struct Coverage<'a> {
    table: &'a FisherTable,
    informed: Vec<usize>,
    first: Vec<usize>,
    middle: Vec<usize>,
    last: Vec<usize>,
    random: Vec<Vec<usize>>,
}

/// Shares of the Fisher information that are covered within one budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Covered {
    /// The most informative layers first.
    pub informed: f64,
    /// From the embedding on.
    pub first: f64,
    /// From the middle outwards.
    pub middle: f64,
    /// From the head back.
    pub last: f64,
    /// The mean over random orders.
    pub random: f64,
    /// Between which 95 % of the random orders lie.
    pub interval: [f64; 2],
}

impl<'a> Coverage<'a> {
    /// The random orders are the same in every run.
    pub fn new(table: &'a FisherTable) -> Self {
        let n = table.layers.len();
        let first: Vec<usize> = (0..n).collect();
        let mut middle = first.clone();
        middle.sort_by_key(|layer| (2 * layer + 1).abs_diff(n));
        let mut rng = StdRng::seed_from_u64(1);
        let mut shuffled = || {
            let mut order = first.clone();
            order.shuffle(&mut rng);
            order
        };
        Self {
            random: (0..SHUFFLES).map(|_| shuffled()).collect(),
            informed: table.by_information(),
            last: first.iter().rev().copied().collect(),
            first,
            middle,
            table,
        }
    }

    /// What is covered within `budget`, a share of the proving cost.
    pub fn within(&self, budget: f64) -> Covered {
        let covered = |order: &Vec<usize>| {
            let taken = &order[..self.table.within(order, budget)];
            let shares = taken.iter().map(|l| self.table.layers[*l].share);
            // The sum of nothing is −0, which would be printed so.
            shares.fold(0.0, |sum, share| sum + share)
        };
        let mut random: Vec<f64> = self.random.iter().map(covered).collect();
        random.sort_unstable_by(f64::total_cmp);
        Covered {
            informed: covered(&self.informed),
            first: covered(&self.first),
            middle: covered(&self.middle),
            last: covered(&self.last),
            random: random.iter().sum::<f64>() / SHUFFLES as f64,
            interval: [SHUFFLES / 40, SHUFFLES - 1 - SHUFFLES / 40].map(|at| random[at]),
        }
    }
}

impl Covered {
    /// By how much the order of information covers more than a random one.
    pub fn advantage(&self) -> f64 {
        self.informed - self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::FisherLayer;

    /// Layers of equal cost.
    fn table(shares: &[f64]) -> FisherTable {
        let layer = |(index, share): (usize, &f64)| FisherLayer {
            index,
            kind: "block".into(),
            fisher: *share,
            standard_error: 0.0,
            share: *share,
            cost: 1.0 / shares.len() as f64,
        };
        FisherTable {
            model_id: String::new(),
            tokens: 1,
            ctx: 2,
            layers: shares.iter().enumerate().map(layer).collect(),
        }
    }

    /// That every order takes the layers that its name says, and that what a budget pays for is counted.
    #[test]
    fn each_order_covers_its_layers() {
        let table = table(&[0.1, 0.05, 0.2, 0.25, 0.1, 0.3]);
        let coverage = Coverage::new(&table);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        let third = coverage.within(0.4);
        close(third.informed, 0.55);
        close(third.first, 0.15);
        close(third.middle, 0.45);
        close(third.last, 0.4);
        // 15 pairs of layers, equally likely: their mean is a third, the least 0.15, the most 0.55.
        assert!((third.random - 1.0 / 3.0).abs() < 0.02, "{}", third.random);
        close(third.interval[0], 0.15);
        close(third.interval[1], 0.55);
        let (none, all) = (coverage.within(0.0), coverage.within(1.0));
        for (none, all) in [(none.informed, all.informed), (none.random, all.random)] {
            assert_eq!(none, 0.0);
            close(all, 1.0);
        }
    }

    /// That a larger budget never covers less, in any order.
    #[test]
    fn coverage_grows_with_the_budget() {
        let table = table(&[0.4, 0.05, 0.15, 0.1, 0.3]);
        let coverage = Coverage::new(&table);
        let values = |c: Covered| [c.informed, c.first, c.middle, c.last, c.random];
        let steps: Vec<_> = (0..=20).map(|i| f64::from(i) / 20.0).collect();
        for pair in steps.windows(2) {
            let [less, more] = [pair[0], pair[1]].map(|b| values(coverage.within(b)));
            assert!(less.iter().zip(more).all(|(l, m)| *l <= m), "{pair:?}");
        }
    }
}
