//! What a system must obey before anything is proved with it.
//!
//! A relation is checked at one random τ. That means what it says only if both sides are
//! *multilinear* in τ and variables do not share randomness; an engine that did not insist would
//! prove (E·w)~(τ) = E~(τ)·w~(τ). The rules, with the error that each breaks into:
//!
//! 1. A free variable occurs in at most one factor of a term, its lives and one-hot rows
//!    counted, and once in a view ([`SystemError::Degree`]).
//! 2. The variables of one side (checked and contracted: r; free and checked: τ) share no
//!    coordinate ([`SystemError::SharedCoordinate`]).
//! 3. A view binds every dimension, to variables with room for it
//!    ([`SystemError::Unbound`], [`SystemError::TooShort`], [`SystemError::FixedOutside`]).
//! 4. A checked or contracted variable occurs in a factor or public factor: summing over one that
//!    does not is a factor 2^bits that nobody meant ([`SystemError::Idle`]). A variable may well
//!    be missing on the right-hand side, which is then constant in it, on the *whole* hypercube:
//!    constants on dimensions that are not full carry their live sets. That is not checked
//!    here: without it honest proofs fail.
//! 5. Dimensions but the first are powers of two, matrices are `[slabs, 64, slabs, 64]`, keys and
//!    only keys are in the key segment, each looked up exactly once, with the values the table has
//!    ([`SystemError::Shape`], [`SystemError::Lookup`], [`SystemError::Segment`]).
//! 6. The views of one form depend on the same summed variables, as they share a table of the
//!    sumcheck ([`SystemError::MixedForm`]), and a matrix has one side summed and the other at τ
//!    ([`SystemError::MatrixSides`]).
//! 7. Public factors stand on the side that they are defined on ([`SystemError::PublicSide`]).

use std::collections::BTreeSet;

use thiserror::Error;

use super::{
    Bind, ColumnId, Form, Live, Lookup, Public, Relation, Segment, System, TableId, Term, VarId,
    View,
};

/// How a system breaks the rules: a mistake in the code that built it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SystemError {
    #[error("relation {relation} names a variable or column that was not declared: declare it")]
    Unknown { relation: String },
    #[error("relation {relation}: variable {variable} occurs twice in a product: check it")]
    Degree {
        relation: String,
        variable: &'static str,
    },
    #[error("relation {relation}: {first} and {second} share a coordinate on one side: move one")]
    SharedCoordinate {
        relation: String,
        first: &'static str,
        second: &'static str,
    },
    #[error("relation {relation}: a view of {column} does not bind each of its dimensions once")]
    Unbound { relation: String, column: String },
    #[error("relation {relation}: dimension {dimension} of {column} exceeds its variables' bits")]
    TooShort {
        relation: String,
        column: String,
        dimension: usize,
    },
    #[error("relation {relation}: a fixed index lies outside dimension {dimension} of {column}")]
    FixedOutside {
        relation: String,
        column: String,
        dimension: usize,
    },
    #[error("relation {relation} sums over {variable}, on which nothing in the term depends")]
    Idle {
        relation: String,
        variable: &'static str,
    },
    #[error("relation {relation} has a term without factors: write a constant on the right")]
    NoFactor { relation: String },
    #[error("relation {relation}: a form's views depend on different summed variables: split it")]
    MixedForm { relation: String },
    #[error("relation {relation}: matrix {column} needs one side summed and the other at τ")]
    MatrixSides { relation: String, column: String },
    #[error("relation {relation}: a public factor or live set has {variable} on the wrong side")]
    PublicSide {
        relation: String,
        variable: &'static str,
    },
    #[error("relation {relation}: a live set or one-hot target exceeds its variables' bits")]
    PublicRange { relation: String },
    #[error("column {column} has a length that its segment does not allow")]
    Shape { column: String },
    #[error("column {column} is looked up {count} times; keys are looked up once, others never")]
    Lookup { column: String, count: usize },
    #[error("column {column} stands in a segment where it does not belong")]
    Segment { column: String },
}

impl System {
    /// Checks the rules of this module.
    pub fn validate(&self) -> Result<(), SystemError> {
        self.validate_columns()?;
        self.validate_lookups()?;
        self.relations
            .iter()
            .try_for_each(|r| Rules { system: self, r }.validate())
    }

    fn validate_columns(&self) -> Result<(), SystemError> {
        let mut segments = BTreeSet::new();
        let mut counts = [0; 2];
        for column in &self.columns {
            let column_name = || column.name.clone();
            let inner = column.lens.get(1..).unwrap_or(&[]);
            let shaped = match column.segment {
                Segment::Matrix(_) => {
                    !column.is_empty() && matches!(column.lens[..], [_, 64, _, 64])
                }
                _ => !column.is_empty() && inner.iter().all(|l| l.is_power_of_two()),
            };
            if !shaped || column.lens.is_empty() {
                return Err(SystemError::Shape {
                    column: column_name(),
                });
            }
            // One column a number, numbers without gaps, one column a boundary.
            let label = match column.segment {
                Segment::Key | Segment::Exact => continue,
                Segment::BoundaryIn => (0, 0),
                Segment::BoundaryOut => (1, 0),
                Segment::Vector(n) => (2, n),
                Segment::Matrix(n) => (3, n),
            };
            if let (kind @ 2.., _) = label {
                counts[kind - 2] += 1;
            }
            if !segments.insert(label) {
                return Err(SystemError::Segment {
                    column: column_name(),
                });
            }
        }
        let gap = |c: &&super::Column| match c.segment {
            Segment::Vector(n) => n >= counts[0],
            Segment::Matrix(n) => n >= counts[1],
            _ => false,
        };
        match self.columns.iter().find(gap) {
            Some(column) => Err(SystemError::Segment {
                column: column.name.clone(),
            }),
            None => Ok(()),
        }
    }

    fn validate_lookups(&self) -> Result<(), SystemError> {
        let mut counts = vec![0; self.columns.len()];
        for Lookup {
            table, key, value, ..
        } in &self.lookups
        {
            let column = &self.columns[key.0];
            counts[key.0] += 1;
            let valued = value.is_some() == (*table != TableId::Range16);
            let fits = value.is_none_or(|v| {
                let value = &self.columns[v.0];
                value.segment == Segment::Exact && value.lens == column.lens
            });
            if !valued || !fits {
                return Err(SystemError::Segment {
                    column: column.name.clone(),
                });
            }
        }
        for (column, count) in self.columns.iter().zip(counts) {
            if count != usize::from(column.segment == Segment::Key) {
                return Err(SystemError::Lookup {
                    column: column.name.clone(),
                    count,
                });
            }
        }
        Ok(())
    }
}

/// One relation under inspection.
struct Rules<'a> {
    system: &'a System,
    r: &'a Relation,
}

impl Rules<'_> {
    fn validate(&self) -> Result<(), SystemError> {
        self.known()?;
        let mut tau: BTreeSet<VarId> = self.r.check.iter().copied().collect();
        for term in &self.r.terms {
            self.term(term, &mut tau)?;
        }
        for rhs in &self.r.rhs {
            let mut used = Vec::new();
            if let Some(view) = &rhs.view {
                self.view(view, &[])?;
                used.extend(variables(view));
            }
            for live in &rhs.lives {
                self.live(live)?;
                used.extend(&live.vars);
            }
            self.distinct(&used)?;
            tau.extend(used);
        }
        self.disjoint(&tau.into_iter().collect::<Vec<_>>())
    }

    fn term(&self, term: &Term, tau: &mut BTreeSet<VarId>) -> Result<(), SystemError> {
        let relation = || self.r.name.clone();
        if term.factors.is_empty() {
            return Err(SystemError::NoFactor {
                relation: relation(),
            });
        }
        let summed: Vec<VarId> = self.r.check.iter().chain(&term.contract).copied().collect();
        self.disjoint(&summed)?;

        // The free variables, factor by factor: none may be there twice.
        let mut free = Vec::new();
        let mut used = BTreeSet::new();
        for form in &term.factors {
            let vars = self.form(form, &summed)?;
            free.extend(vars.iter().filter(|v| !summed.contains(v)));
            used.extend(vars);
        }
        for public in &term.publics {
            self.public(public, &summed, &mut free, &mut used)?;
        }
        for live in &term.lives {
            self.live(live)?;
            if let Some(var) = live.vars.iter().find(|v| summed.contains(v)) {
                return Err(self.public_side(*var));
            }
            free.extend(&live.vars);
        }
        self.distinct(&free)?;
        tau.extend(free);
        match term.contract.iter().find(|v| !used.contains(v)) {
            Some(var) => Err(self.idle(*var)),
            None => self.checked_somewhere(),
        }
    }

    /// Every checked variable occurs in some term.
    fn checked_somewhere(&self) -> Result<(), SystemError> {
        let used: BTreeSet<VarId> = self
            .r
            .terms
            .iter()
            .flat_map(|t| &t.factors)
            .flat_map(|f| &f.0)
            .flat_map(|(_, v)| variables(v))
            .collect();
        match self.r.check.iter().find(|v| !used.contains(v)) {
            Some(var) => Err(self.idle(*var)),
            None => Ok(()),
        }
    }

    /// The variables of a form.
    fn form(&self, form: &Form, summed: &[VarId]) -> Result<BTreeSet<VarId>, SystemError> {
        let mut all = BTreeSet::new();
        let mut first: Option<BTreeSet<VarId>> = None;
        for (_, view) in &form.0 {
            self.view(view, summed)?;
            let vars = variables(view);
            let on_r: BTreeSet<VarId> = vars
                .iter()
                .filter(|v| summed.contains(v))
                .copied()
                .collect();
            if *first.get_or_insert_with(|| on_r.clone()) != on_r {
                return Err(SystemError::MixedForm {
                    relation: self.r.name.clone(),
                });
            }
            all.extend(vars);
        }
        match first {
            Some(_) => Ok(all),
            None => Err(SystemError::NoFactor {
                relation: self.r.name.clone(),
            }),
        }
    }

    fn view(&self, view: &View, summed: &[VarId]) -> Result<(), SystemError> {
        let (relation, column) = (&self.r.name, &self.system.columns[view.column.0]);
        let unbound = || SystemError::Unbound {
            relation: relation.clone(),
            column: column.name.clone(),
        };
        if view.binds.len() != column.lens.len() {
            return Err(unbound());
        }
        self.distinct(&variables(view))?;
        for (dimension, (bind, len)) in view.binds.iter().zip(&column.lens).enumerate() {
            let room = match bind {
                Bind::Var(_) | Bind::Pair(..) | Bind::Triple(..) => {
                    let vars: Vec<VarId> = bind.vars().collect();
                    let sides = vars.iter().filter(|v| summed.contains(v)).count();
                    if sides != 0 && sides != vars.len() {
                        return Err(unbound());
                    }
                    self.room(&vars)
                }
                Bind::Ones => continue,
                Bind::Fixed(x) if x < len => continue,
                Bind::Fixed(_) => {
                    return Err(SystemError::FixedOutside {
                        relation: relation.clone(),
                        column: column.name.clone(),
                        dimension,
                    });
                }
            };
            if *len > room {
                return Err(SystemError::TooShort {
                    relation: relation.clone(),
                    column: column.name.clone(),
                    dimension,
                });
            }
        }
        if matches!(column.segment, Segment::Matrix(_)) {
            self.matrix(view, summed)?;
        }
        Ok(())
    }

    /// `[slab_in, lane_in, slab_out, lane_out]`: one pair summed, the other at τ.
    fn matrix(&self, view: &View, summed: &[VarId]) -> Result<(), SystemError> {
        let sides: Option<Vec<bool>> = view
            .binds
            .iter()
            // The variables of one dimension are on one side.
            .map(|bind| Some(summed.contains(&bind.vars().next()?)))
            .collect();
        match sides.as_deref() {
            Some([a, b, c, d]) if a == b && c == d && a != c => Ok(()),
            _ => Err(SystemError::MatrixSides {
                relation: self.r.name.clone(),
                column: self.system.columns[view.column.0].name.clone(),
            }),
        }
    }

    fn public(
        &self,
        public: &Public,
        summed: &[VarId],
        free: &mut Vec<VarId>,
        used: &mut BTreeSet<VarId>,
    ) -> Result<(), SystemError> {
        let on_r = |vars: &[VarId]| match vars.iter().find(|v| !summed.contains(v)) {
            Some(var) => Err(self.public_side(*var)),
            None => Ok(()),
        };
        match public {
            Public::Causal { row, col, .. } | Public::Acausal { row, col, .. } => {
                on_r(&[*row, *col])?;
                used.extend([row, col]);
                self.distinct(&[*row, *col])?;
                if self.room(&[*row]) != self.room(&[*col]) {
                    return Err(self.public_side(*col));
                }
            }
            Public::OneHot {
                row,
                index,
                targets,
            } => {
                on_r(index)?;
                self.distinct(index)?;
                if summed.contains(row) {
                    return Err(self.public_side(*row));
                }
                let (rows, columns) = (self.room(&[*row]), self.room(index));
                if targets.len() > rows || targets.iter().any(|t| *t >= columns) {
                    return Err(SystemError::PublicRange {
                        relation: self.r.name.clone(),
                    });
                }
                used.extend(index);
                free.push(*row);
            }
            Public::Table { vars, values } => {
                self.distinct(vars)?;
                if values.len() > self.room(vars) {
                    return Err(SystemError::PublicRange {
                        relation: self.r.name.clone(),
                    });
                }
                let (on_r, on_tau): (Vec<VarId>, Vec<VarId>) =
                    vars.iter().partition(|v| summed.contains(v));
                used.extend(on_r);
                free.extend(on_tau);
            }
        }
        Ok(())
    }

    fn live(&self, live: &Live) -> Result<(), SystemError> {
        if live.len > self.room(&live.vars) {
            return Err(SystemError::PublicRange {
                relation: self.r.name.clone(),
            });
        }
        Ok(())
    }

    /// Every identifier exists.
    fn known(&self) -> Result<(), SystemError> {
        let terms = self.r.terms.iter();
        let views = terms
            .clone()
            .flat_map(|t| t.factors.iter().flat_map(|f| f.0.iter().map(|(_, v)| v)))
            .chain(self.r.rhs.iter().filter_map(|r| r.view.as_ref()));
        let mut vars: Vec<VarId> = self.r.check.clone();
        let mut columns: Vec<ColumnId> = Vec::new();
        for view in views {
            columns.push(view.column);
            vars.extend(variables(view));
        }
        for term in terms {
            vars.extend(&term.contract);
            vars.extend(term.lives.iter().flat_map(|l| &l.vars));
            for public in &term.publics {
                match public {
                    Public::Causal { row, col, .. } | Public::Acausal { row, col, .. } => {
                        vars.extend([row, col]);
                    }
                    Public::OneHot { row, index, .. } => vars.extend(index.iter().chain([row])),
                    Public::Table { vars: own, .. } => vars.extend(own),
                }
            }
        }
        vars.extend(
            self.r
                .rhs
                .iter()
                .flat_map(|r| &r.lives)
                .flat_map(|l| &l.vars),
        );
        let known = vars.iter().all(|v| v.0 < self.system.vars.len())
            && columns.iter().all(|c| c.0 < self.system.columns.len());
        if known {
            Ok(())
        } else {
            Err(SystemError::Unknown {
                relation: self.r.name.clone(),
            })
        }
    }

    fn distinct(&self, vars: &[VarId]) -> Result<(), SystemError> {
        let mut seen = BTreeSet::new();
        match vars.iter().find(|v| !seen.insert(**v)) {
            Some(var) => Err(SystemError::Degree {
                relation: self.r.name.clone(),
                variable: self.name(*var),
            }),
            None => Ok(()),
        }
    }

    /// Different variables own different coordinates, and none owns one twice.
    fn disjoint(&self, vars: &[VarId]) -> Result<(), SystemError> {
        let mut owners = std::collections::BTreeMap::new();
        for var in vars {
            for coord in &self.system.vars[var.0].coords {
                if let Some(other) = owners.insert(*coord, *var) {
                    return Err(SystemError::SharedCoordinate {
                        relation: self.r.name.clone(),
                        first: self.name(other),
                        second: self.name(*var),
                    });
                }
            }
        }
        Ok(())
    }

    /// How many values the joint index of `vars` has, as far as they can be counted.
    fn room(&self, vars: &[VarId]) -> usize {
        let bits: usize = vars.iter().map(|v| self.system.vars[v.0].bits()).sum();
        1usize.checked_shl(bits as u32).unwrap_or(usize::MAX)
    }

    fn name(&self, var: VarId) -> &'static str {
        self.system.vars[var.0].name
    }

    fn idle(&self, var: VarId) -> SystemError {
        SystemError::Idle {
            relation: self.r.name.clone(),
            variable: self.name(var),
        }
    }

    fn public_side(&self, var: VarId) -> SystemError {
        SystemError::PublicSide {
            relation: self.r.name.clone(),
            variable: self.name(var),
        }
    }
}

/// The variables of a view, in the order of its dimensions.
fn variables(view: &View) -> Vec<VarId> {
    view.binds.iter().flat_map(Bind::vars).collect()
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
