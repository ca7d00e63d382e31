//! What the tests of ops and layers share: seeded values, tables, and the harness that spoils a
//! witness column by column.

use ff::{Field, PrimeField};

use super::{EXP_BITS, EXP_FRACTION, IS_ZERO_BITS, Tables};
use crate::algebra::{F, from_i128};
use crate::quant::IntMatrix;
use crate::system::{
    Assignment, Relation, Segment, System, Table, TableId, Values, Witness, lookup_holds,
    relation_holds,
};

/// SplitMix64: seeded, and good enough to pick test values.
pub struct Rng(pub u64);

impl Rng {
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ x >> 31
    }

    /// Uniform in [−bound, bound].
    pub fn signed(&mut self, bound: i64) -> i64 {
        (self.draw() % (2 * bound as u64 + 1)) as i64 - bound
    }

    pub fn vector(&mut self, len: usize, bound: i64) -> Vec<i64> {
        (0..len).map(|_| self.signed(bound)).collect()
    }

    pub fn matrix(&mut self, inputs: usize, outputs: usize, bound: i64) -> IntMatrix {
        let mut entry = || self.signed(bound) as i32;
        IntMatrix {
            inputs,
            outputs,
            data: (0..inputs * outputs).map(|_| entry()).collect(),
        }
    }

    pub fn field(&mut self) -> F {
        (0..4).fold(F::ZERO, |x, _| {
            x * F::from_u128(1 << 64) + F::from(self.draw())
        })
    }
}

/// Tables at e = 20, activation key 11 and value 14 fractional bits. The activation is a ramp: its
/// values matter to nobody here.
pub struct OwnedTables(Vec<Table>);

impl OwnedTables {
    pub fn build() -> Self {
        let table = |id, first_key, values: Vec<i64>| Table {
            id,
            first_key,
            len: values.len(),
            values: Some(values),
        };
        let exp = (0..1u32 << EXP_BITS)
            .map(|u| {
                let x = -f64::from(u) / f64::from(1u32 << EXP_FRACTION);
                (x.exp() * f64::from(1 << 20)).round() as i64
            })
            .collect();
        let is_zero = (0..1 << IS_ZERO_BITS).map(|v| i64::from(v == 0)).collect();
        let activation = (-(1 << 15)..1 << 15).map(|q: i64| q.max(0) * 8).collect();
        Self(vec![
            Table {
                id: TableId::Range16,
                first_key: 0,
                len: 1 << 16,
                values: None,
            },
            table(TableId::Exp, 0, exp),
            table(TableId::IsZero, 0, is_zero),
            table(TableId::Activation, -(1 << 15), activation),
        ])
    }

    pub fn get(&self) -> Tables<'_> {
        Tables {
            exp: &self.0[1],
            is_zero: &self.0[2],
            activation: &self.0[3],
        }
    }

    fn all(&self) -> Vec<&Table> {
        self.0.iter().collect()
    }
}

/// A matrix as its column has it: padded to whole slabs.
pub fn padded_matrix(m: &IntMatrix, lens: &[usize]) -> Vec<F> {
    let (rows, columns) = (lens[0] * lens[1], lens[2] * lens[3]);
    let mut out = vec![F::ZERO; rows * columns];
    for k in 0..m.inputs {
        for (c, w) in m.row(k).iter().enumerate() {
            out[k * columns + c] = from_i128(i128::from(*w));
        }
    }
    out
}

fn field(values: &[i64]) -> Vec<F> {
    values.iter().map(|v| from_i128(i128::from(*v))).collect()
}

/// A system with all its values.
#[derive(Clone)]
pub struct Case<'a> {
    pub system: &'a System,
    pub values: Assignment,
    tables: Vec<&'a Table>,
    tau: Vec<F>,
}

impl<'a> Case<'a> {
    /// `external` gives what is not in the witness.
    pub fn new(
        system: &'a System,
        witness: &Witness,
        tables: &'a OwnedTables,
        external: impl Fn(Segment, &[usize]) -> Vec<F>,
    ) -> Self {
        assert_eq!(system.validate(), Ok(()));
        let values = system
            .columns
            .iter()
            .zip(&witness.values)
            .map(|(column, values)| {
                let values = match values {
                    Some(Values::Small(v)) => v.iter().map(|v| from_i128((*v).into())).collect(),
                    Some(Values::Wide(v)) => v.iter().map(|v| from_i128(*v)).collect(),
                    None => external(column.segment, &column.lens),
                };
                assert_eq!(values.len(), column.len(), "{}", column.name);
                values
            })
            .collect();
        let mut rng = Rng(7);
        let tau = (0..system.coordinates()).map(|_| rng.field()).collect();
        Self {
            system,
            values,
            tables: tables.all(),
            tau,
        }
    }

    /// The same with other tables.
    pub fn with_tables(mut self, tables: &'a [Table]) -> Self {
        self.tables = tables.iter().collect();
        self
    }

    /// The case of a layer with these weights and boundaries.
    pub fn layer(
        system: &'a System,
        witness: &Witness,
        tables: &'a OwnedTables,
        weights: &crate::layers::LayerWeights,
        (boundary_in, boundary_out): (&[i64], &[i64]),
    ) -> Self {
        Self::new(system, witness, tables, |segment, lens| match segment {
            Segment::BoundaryIn => field(boundary_in),
            Segment::BoundaryOut => field(boundary_out),
            Segment::Vector(n) => field(weights.vectors[n]),
            Segment::Matrix(n) => padded_matrix(weights.matrices[n], lens),
            Segment::Key | Segment::Exact => panic!("a witness column has values"),
        })
    }

    pub fn column(&self, name: &str) -> usize {
        let place = self.system.columns.iter().position(|c| c.name == name);
        place.unwrap_or_else(|| panic!("no column {name}"))
    }

    /// Overwrites a column, digits included: a cheating prover may put anything into a cell.
    pub fn set(&mut self, name: &str, values: Vec<F>) {
        let column = self.column(name);
        assert_eq!(values.len(), self.values[column].len(), "{name}");
        self.values[column] = values;
    }

    /// Overwrites one entry of the integer with the digits `name[0]`, `name[1]`, …: the whole of
    /// it goes into the lowest digit. Relations cannot tell; only range checks can.
    pub fn set_integer(&mut self, name: &str, entry: usize, value: F) {
        for column in 0..self.values.len() {
            let digit = &self.system.columns[column].name;
            if digit.strip_prefix(name).is_some_and(|d| d.starts_with('[')) {
                self.values[column][entry] = F::ZERO;
            }
        }
        let lowest = self.column(&format!("{name}[0]"));
        self.values[lowest][entry] = value;
    }

    /// Overwrites one entry of an integer, digit by digit.
    pub fn set_integer_digits(&mut self, name: &str, entry: usize, value: i128) {
        for l in 0.. {
            let digit = format!("{name}[{l}]");
            let Some(column) = self.system.columns.iter().position(|c| c.name == digit) else {
                return;
            };
            self.values[column][entry] = from_i128(value >> (16 * l) & 0xffff);
        }
    }

    /// One entry of the integer with the digits `name[0]`, `name[1]`, ….
    pub fn integer(&self, name: &str, entry: usize) -> F {
        (0..)
            .map_while(|l| {
                let digit = format!("{name}[{l}]");
                let column = self.system.columns.iter().position(|c| c.name == digit)?;
                Some(self.values[column][entry] * crate::algebra::pow2(16 * l))
            })
            .sum()
    }

    /// The names of the relations and lookups that fail.
    pub fn failures(&self) -> Vec<String> {
        let all: Vec<usize> = (0..self.values.len()).collect();
        self.failures_about(&all)
    }

    /// The same of those that mention one of these columns.
    pub fn failures_about(&self, columns: &[usize]) -> Vec<String> {
        let mentions = |r: &&Relation| {
            let terms = r.terms.iter().flat_map(|t| &t.factors).flat_map(|f| &f.0);
            let views = terms
                .map(|(_, v)| v)
                .chain(r.rhs.iter().filter_map(|r| r.view.as_ref()));
            views.into_iter().any(|v| columns.contains(&v.column.0))
        };
        let relations = self.system.relations.iter().filter(mentions);
        let lookups = self.system.lookups.iter().filter(|l| {
            let value = l.value.is_some_and(|v| columns.contains(&v.0));
            value || columns.contains(&l.key.0)
        });
        let relations = relations.filter(|r| !self.holds(r));
        let lookups = lookups.filter(|l| !lookup_holds(l, &self.values, &self.tables));
        relations
            .map(|r| r.name.clone())
            .chain(lookups.map(|l| format!("lookup of {}", self.system.columns[l.key.0].name)))
            .collect()
    }

    pub fn assert_holds(&self) {
        assert_eq!(self.failures(), Vec::<String>::new());
    }

    fn holds(&self, relation: &Relation) -> bool {
        relation_holds(self.system, relation, &self.values, &self.tau)
    }

    /// Changes the first, a middle and the last entry of every column (weights and boundaries
    /// included), by 1, −1 and a large number in turn: something must notice. Weights that no token of
    /// the statement touches are the exception, listed by name in `untouched`.
    pub fn assert_every_column_is_bound(mut self, untouched: &[&str]) {
        let changes = [F::ONE, -F::ONE, F::from_u128(1 << 100).square()];
        for column in 0..self.values.len() {
            let name = self.system.columns[column].name.clone();
            let len = self.values[column].len();
            if untouched.contains(&&*name) {
                continue;
            }
            for (at, entry) in [0, len / 2 + len / 7, len - 1].into_iter().enumerate() {
                let change = changes[(column + at) % changes.len()];
                self.values[column][entry] += change;
                let noticed = !self.failures_about(&[column]).is_empty();
                assert!(noticed, "{name}[{entry}] is free");
                self.values[column][entry] -= change;
            }
        }
    }
}
