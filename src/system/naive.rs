//! The oracle: relations and lookups straight from their definitions.
//!
//! Claim checked: for a given τ, both sides of a relation as the module documentation of
//! [`crate::system`] writes them, by summing over every point of the hypercube and every entry of
//! every column. It shares no code with the argument, whose fast prover and whose verifier are
//! tested against it, and is far too slow for anything else.

use ff::{Field, PrimeField};

use super::{
    Bind, Column, Form, Live, Lookup, Public, Relation, System, Table, Term, VarId, View, sees,
};
use crate::algebra::{F, eq_at, eq_table, from_i128};

/// The values of all columns of a system in row-major order, indexed by column: also of
/// boundaries, vectors and (padded to whole slabs) matrices.
pub type Assignment = Vec<Vec<F>>;

/// Both sides of `relation` at τ, which has an entry for every coordinate of the system.
pub fn evaluate(system: &System, relation: &Relation, values: &Assignment, tau: &[F]) -> (F, F) {
    let at = Evaluator {
        system,
        values,
        tau,
    };
    let left = relation
        .terms
        .iter()
        .map(|t| at.term(t, &relation.check))
        .sum();
    let right = relation
        .rhs
        .iter()
        .map(|r| {
            let view = r.view.as_ref().map_or(F::ONE, |v| at.view(v, &[]).at(&[]));
            r.coef * at.lives(&r.lives) * view
        })
        .sum();
    (left, right)
}

/// Whether `relation` holds at τ.
pub fn relation_holds(
    system: &System,
    relation: &Relation,
    values: &Assignment,
    tau: &[F],
) -> bool {
    let (left, right) = evaluate(system, relation, values, tau);
    left == right
}

/// Whether every entry of the lookup's key, with its value, is a row of the table. Panics if
/// `tables` lacks the lookup's table.
pub fn lookup_holds(lookup: &Lookup, values: &Assignment, tables: &[&Table]) -> bool {
    let table = tables
        .iter()
        .find(|t| t.id == lookup.table)
        .expect("the caller brings every table of the system");
    let shift = from_i128(i128::from(lookup.offset) - i128::from(table.first_key));
    values[lookup.key.0].iter().enumerate().all(|(x, key)| {
        let Some(row) = small(*key + shift).filter(|row| *row < table.len) else {
            return false;
        };
        match (&lookup.value, &table.values) {
            (Some(column), Some(list)) => values[column.0][x] == from_i128(i128::from(list[row])),
            (None, None) => true,
            _ => false,
        }
    })
}

/// `x` as an index, if it is below 2^32.
fn small(x: F) -> Option<usize> {
    let bytes = x.to_repr();
    bytes[4..]
        .iter()
        .all(|b| *b == 0)
        .then(|| u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")) as usize)
}

struct Evaluator<'a> {
    system: &'a System,
    values: &'a Assignment,
    tau: &'a [F],
}

/// One dimension of a view.
enum Dim {
    /// Summed with these weights.
    Weighted(Vec<F>),
    /// The index that the listed summed variables (positions in the point) spell, low bits first,
    /// with their numbers of bits.
    Pinned(Vec<(usize, usize)>),
}

struct BoundView<'a> {
    column: &'a Column,
    values: &'a [F],
    dims: Vec<Dim>,
}

impl<'a> Evaluator<'a> {
    /// coef · Π lives · Σ_x eq(τ_checked, x_checked) · Π publics · Π factors.
    fn term(&self, term: &Term, check: &[VarId]) -> F {
        let summed: Vec<VarId> = check.iter().chain(&term.contract).copied().collect();
        let factors: Vec<Vec<(F, BoundView)>> =
            term.factors.iter().map(|f| self.form(f, &summed)).collect();
        let bits: usize = summed.iter().map(|v| self.bits(*v)).sum();
        let mut sum = F::ZERO;
        for index in 0..1usize << bits {
            let point = self.split(index, &summed);
            let mut product: F = check
                .iter()
                .zip(&point)
                .map(|(v, x)| eq_at(&self.tau_of(*v), *x))
                .product();
            for public in &term.publics {
                product *= self.public(public, &summed, &point);
            }
            for factor in &factors {
                if product == F::ZERO {
                    break;
                }
                product *= factor.iter().map(|(c, v)| *c * v.at(&point)).sum::<F>();
            }
            sum += product;
        }
        term.coef * self.lives(&term.lives) * sum
    }

    fn bits(&self, var: VarId) -> usize {
        self.system.vars[var.0].bits()
    }

    fn tau_of(&self, var: VarId) -> Vec<F> {
        let coords = &self.system.vars[var.0].coords;
        coords.iter().map(|c| self.tau[*c]).collect()
    }

    fn joint_tau(&self, vars: &[VarId]) -> Vec<F> {
        vars.iter().flat_map(|v| self.tau_of(*v)).collect()
    }

    /// The value of each variable at a joint index.
    fn split(&self, mut index: usize, vars: &[VarId]) -> Vec<usize> {
        vars.iter()
            .map(|v| {
                let x = index & ((1 << self.bits(*v)) - 1);
                index >>= self.bits(*v);
                x
            })
            .collect()
    }

    /// Π Σ_{x < len} eq(τ, x).
    fn lives(&self, lives: &[Live]) -> F {
        lives
            .iter()
            .map(|live| {
                let table = eq_table(&self.joint_tau(&live.vars), F::ONE);
                table[..live.len].iter().sum::<F>()
            })
            .product()
    }

    fn public(&self, public: &Public, summed: &[VarId], point: &[usize]) -> F {
        let value_at = |var: &VarId| {
            let place = summed.iter().position(|v| v == var);
            point[place.expect("a public factor's variable is summed")]
        };
        let indicator = |holds: bool| if holds { F::ONE } else { F::ZERO };
        match public {
            Public::Causal { row, col, window } => {
                indicator(sees(value_at(row), value_at(col), *window))
            }
            Public::Acausal { row, col, window } => {
                indicator(!sees(value_at(row), value_at(col), *window))
            }
            Public::OneHot {
                row,
                index,
                targets,
            } => {
                let (mut joint, mut shift) = (0, 0);
                for var in index {
                    joint |= value_at(var) << shift;
                    shift += self.bits(*var);
                }
                let row = self.tau_of(*row);
                let hits = targets.iter().enumerate().filter(|(_, t)| **t == joint);
                hits.map(|(i, _)| eq_at(&row, i)).sum()
            }
            Public::Table { vars, values } => {
                let entry = |(x, value): (usize, &i64)| {
                    let weights = vars.iter().zip(self.split(x, vars)).map(|(v, x)| {
                        if summed.contains(v) {
                            indicator(value_at(v) == x)
                        } else {
                            eq_at(&self.tau_of(*v), x)
                        }
                    });
                    weights.product::<F>() * from_i128((*value).into())
                };
                values.iter().enumerate().map(entry).sum()
            }
        }
    }

    fn form<'f>(&'f self, form: &Form, summed: &[VarId]) -> Vec<(F, BoundView<'f>)> {
        form.0
            .iter()
            .map(|(c, v)| (*c, self.view(v, summed)))
            .collect()
    }

    fn view(&self, view: &View, summed: &[VarId]) -> BoundView<'_> {
        let column = &self.system.columns[view.column.0];
        let dims = view
            .binds
            .iter()
            .zip(&column.lens)
            .map(|(bind, len)| match bind {
                Bind::Var(_) | Bind::Pair(..) | Bind::Triple(..) => {
                    self.dim(&bind.vars().collect::<Vec<_>>(), summed)
                }
                Bind::Ones => Dim::Weighted(vec![F::ONE; *len]),
                Bind::Fixed(x) => {
                    let mut weights = vec![F::ZERO; *len];
                    weights[*x] = F::ONE;
                    Dim::Weighted(weights)
                }
            })
            .collect();
        BoundView {
            column,
            values: &self.values[view.column.0],
            dims,
        }
    }

    fn dim(&self, vars: &[VarId], summed: &[VarId]) -> Dim {
        let places: Option<Vec<(usize, usize)>> = vars
            .iter()
            .map(|v| {
                let place = summed.iter().position(|s| s == v)?;
                Some((place, self.bits(*v)))
            })
            .collect();
        match places {
            Some(places) => Dim::Pinned(places),
            None => Dim::Weighted(eq_table(&self.joint_tau(vars), F::ONE)),
        }
    }
}

impl BoundView<'_> {
    /// The view's value where the summed variables are at `point`.
    fn at(&self, point: &[usize]) -> F {
        sum(self.values, &self.column.lens, &self.dims, point)
    }
}

fn sum(values: &[F], lens: &[usize], dims: &[Dim], point: &[usize]) -> F {
    let Some((dim, inner)) = dims.split_first() else {
        return values[0];
    };
    let block: usize = lens[1..].iter().product();
    let at = |x: usize| sum(&values[x * block..][..block], &lens[1..], inner, point);
    match dim {
        Dim::Weighted(weights) => (0..lens[0])
            .filter(|x| weights[*x] != F::ZERO)
            .map(|x| weights[x] * at(x))
            .sum(),
        Dim::Pinned(places) => {
            let (mut index, mut shift) = (0, 0);
            for (place, bits) in places {
                index |= point[*place] << shift;
                shift += bits;
            }
            // What is beyond the column's length does not exist: it is zero. (A key may have something there in a
            // weight's row, which the argument would read: see `docs/soundness.md`, section 4.)
            if index < lens[0] { at(index) } else { F::ZERO }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::{Rhs, TableId};

    fn f(x: i128) -> F {
        from_i128(x)
    }

    fn tau(n: usize) -> Vec<F> {
        (0..n as u64)
            .map(|i| F::from(91 + 13 * i).square())
            .collect()
    }

    /// A 3 × 4 matrix times a vector: the oracle must agree with the schoolbook product, on a
    /// dimension (3) that does not fill its hypercube.
    #[test]
    fn matrix_times_vector_by_hand() {
        let mut system = System::default();
        let row = system.var("row", 0..2);
        let col = system.var("col", 0..2);
        let a = system.exact("a", &[3, 4]);
        let x = system.exact("x", &[4]);
        let y = system.exact("y", &[3]);
        let relation = Relation {
            name: "y = a x + 5".into(),
            check: vec![],
            terms: vec![Term::new(
                F::ONE,
                &[col],
                vec![
                    Form::of(View::new(x, &[Bind::Var(col)])),
                    Form::of(View::new(a, &[Bind::Var(row), Bind::Var(col)])),
                ],
            )],
            rhs: vec![
                Rhs::of(F::ONE, View::new(y, &[Bind::Var(row)])),
                Rhs::constant(
                    -f(5),
                    &[Live {
                        vars: vec![row],
                        len: 3,
                    }],
                ),
            ],
        };
        let av: Vec<i128> = (1..=12).collect();
        let xv = [7, -1, 0, 2];
        let yv: Vec<F> = (0..3)
            .map(|r| f((0..4).map(|c| av[4 * r + c] * xv[c]).sum::<i128>() + 5))
            .collect();
        let mut values: Assignment = vec![
            av.iter().map(|v| f(*v)).collect(),
            xv.iter().map(|v| f(*v)).collect(),
            yv,
        ];
        assert!(relation_holds(&system, &relation, &values, &tau(2)));
        values[2][2] += F::ONE;
        assert!(!relation_holds(&system, &relation, &values, &tau(2)));
    }

    /// A checked product holds entry by entry; E~(τ)·w~(τ) would accept other columns.
    #[test]
    fn checked_products_hold_entry_by_entry() {
        let mut system = System::default();
        let i = system.var("i", 0..2);
        let ids = ["e", "w", "p"].map(|n| system.exact(n, &[4]));
        let view = |c: usize| View::new(ids[c], &[Bind::Var(i)]);
        let relation = Relation {
            name: "e·w = p".into(),
            check: vec![i],
            terms: vec![Term::new(
                F::ONE,
                &[],
                vec![Form::of(view(0)), Form::of(view(1))],
            )],
            rhs: vec![Rhs::of(F::ONE, view(2))],
        };
        let column = |v: [i128; 4]| v.map(f).to_vec();
        let mut values = vec![
            column([1, 2, 3, 4]),
            column([5, 6, 7, 8]),
            column([5, 12, 21, 32]),
        ];
        assert!(relation_holds(&system, &relation, &values, &tau(2)));
        values[2][0] = F::ZERO;
        assert!(!relation_holds(&system, &relation, &values, &tau(2)));
    }

    #[test]
    fn lookups_refuse_keys_and_values_outside_the_table() {
        let mut system = System::default();
        let key = system.range("key", &[2], 3);
        let table = Table {
            id: TableId::Range16,
            first_key: 0,
            len: 1 << 16,
            values: None,
        };
        let holds = |x: i128| {
            let values = vec![vec![f(0), f(x)]];
            lookup_holds(&system.lookups[0], &values, &[&table])
        };
        assert_eq!(key.0, 0);
        assert!(holds(-3) && holds((1 << 16) - 4));
        assert!(!holds(-4) && !holds((1 << 16) - 3) && !holds(1 << 40));

        let mut system = System::default();
        system.function("k", "v", &[1], TableId::Exp);
        let table = Table {
            id: TableId::Exp,
            first_key: -1,
            len: 2,
            values: Some(vec![10, -20]),
        };
        let holds = |k: i128, v: i128| {
            lookup_holds(&system.lookups[0], &vec![vec![f(k)], vec![f(v)]], &[&table])
        };
        assert!(holds(-1, 10) && holds(0, -20));
        assert!(!holds(-1, -20) && !holds(0, 10) && !holds(1, 0) && !holds(-2, 0));
    }
}
