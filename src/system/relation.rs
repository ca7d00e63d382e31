//! Relations as data.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

use ff::PrimeField;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::{VarId, View};
use crate::algebra::F;

/// The multilinear extension at τ of {0, …, len − 1} over the joint index of `vars` (low bits
/// first): what a constant or a broadcast must carry where a dimension is not full.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Live {
    pub vars: Vec<VarId>,
    pub len: usize,
}

/// A linear form of columns: a factor of a term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form(pub Vec<(F, View)>);

/// A coefficient's 32 bytes, little-endian.
fn canonical<S: Serializer>(coef: &F, to: S) -> Result<S::Ok, S::Error> {
    coef.to_repr().serialize(to)
}

impl Serialize for Form {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.0.iter().map(|(coef, view)| (coef.to_repr(), view)))
    }
}

impl Form {
    /// The form `1 · view`.
    pub fn of(view: View) -> Self {
        Self(vec![(F::one(), view)])
    }

    /// The sum of two forms.
    pub fn plus(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The form as right-hand sides, times `coef`.
    pub fn rhs(&self, coef: F) -> Vec<Rhs> {
        let rhs = |(c, view): &(F, View)| Rhs::of(coef * c, view.clone());
        self.0.iter().map(rhs).collect()
    }
}

/// Whether token i sees token j: itself and those before it, with a window of n the last n of them.
pub fn sees(i: usize, j: usize, window: Option<usize>) -> bool {
    j <= i && window.is_none_or(|n| i - j < n)
}

/// A public multilinear factor over the term's summed variables.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Public {
    /// [col ≤ row], or with a window n [col ≤ row < col + n].
    Causal {
        row: VarId,
        col: VarId,
        window: Option<usize>,
    },
    /// 1 less that.
    Acausal {
        row: VarId,
        col: VarId,
        window: Option<usize>,
    },
    /// Σ_i eq(τ_row, i)·[index = targets[i]] over the joint index of `index` (low bits first):
    /// selects one row per token. `row` is free, the `index` variables are contracted.
    OneHot {
        row: VarId,
        index: Vec<VarId>,
        targets: Vec<usize>,
    },
    /// Any public tensor: `values` over the joint index of `vars` (low bits first), zero beyond
    /// its end. A variable that the term sums over stands at r, any other at τ.
    Table { vars: Vec<VarId>, values: Tensor },
}

/// The integers of a public factor, made where they are first read: a system can be declared, and its columns
/// counted, before. Clones share them, and they are compared and written by their digest: a system is hashed for every
/// layer, and rotations have an entry for each position and lane.
#[derive(Clone)]
pub struct Tensor(Arc<Entries>);

struct Entries {
    len: usize,
    /// With their digest.
    made: LazyLock<(Vec<i64>, [u8; 32]), Maker>,
}

type Maker = Box<dyn FnOnce() -> (Vec<i64>, [u8; 32]) + Send>;

impl Tensor {
    /// The `len` integers that `make` makes. It must not wait for the thread pool, which may be waiting for it.
    pub fn new(len: usize, make: impl FnOnce() -> Vec<i64> + Send + 'static) -> Self {
        let made = move || {
            let values = make();
            assert_eq!(values.len(), len, "as many as were announced");
            let mut hash = Sha256::new();
            values.iter().for_each(|v| hash.update(v.to_le_bytes()));
            (values, hash.finalize().into())
        };
        Self(Arc::new(Entries {
            len,
            made: LazyLock::new(Box::new(made)),
        }))
    }

    /// The number of integers, without making them.
    pub fn len(&self) -> usize {
        self.0.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    fn digest(&self) -> &[u8; 32] {
        &self.0.made.1
    }
}

impl From<Vec<i64>> for Tensor {
    fn from(values: Vec<i64>) -> Self {
        Self::new(values.len(), move || values)
    }
}

impl Deref for Tensor {
    type Target = [i64];

    fn deref(&self) -> &[i64] {
        &self.0.made.0
    }
}

impl PartialEq for Tensor {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.digest() == other.digest()
    }
}

impl Eq for Tensor {}

impl Hash for Tensor {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest().hash(state);
    }
}

/// Length and SHA-256 of the entries: what stands for them where a system is hashed.
impl Serialize for Tensor {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (self.len(), self.digest()).serialize(to)
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({}, {:?})", self.len(), self.digest())
    }
}

/// coef · Π lives · Π publics · Π factors, summed over the relation's checked variables and the
/// term's contracted ones.
#[derive(Clone, Debug, Serialize)]
pub struct Term {
    #[serde(serialize_with = "canonical")]
    pub coef: F,
    pub lives: Vec<Live>,
    pub contract: Vec<VarId>,
    pub publics: Vec<Public>,
    /// Terms that differ in the *last* factor only are merged into one product by the engine: put
    /// the factor that enters linearly (a weight matrix) last.
    pub factors: Vec<Form>,
}

impl Term {
    /// coef · Σ_contract Π factors.
    pub fn new(coef: F, contract: &[VarId], factors: Vec<Form>) -> Self {
        Self {
            coef,
            lives: Vec::new(),
            contract: contract.to_vec(),
            publics: Vec::new(),
            factors,
        }
    }

    /// The term with one more public factor.
    pub fn public(mut self, public: Public) -> Self {
        self.publics.push(public);
        self
    }

    /// The term on a live set only.
    pub fn live(mut self, live: Live) -> Self {
        self.lives.push(live);
        self
    }
}

/// coef · Π lives · view, all at τ; a constant where there is no view.
#[derive(Clone, Debug, Serialize)]
pub struct Rhs {
    #[serde(serialize_with = "canonical")]
    pub coef: F,
    pub lives: Vec<Live>,
    pub view: Option<View>,
}

impl Rhs {
    /// coef · view.
    pub fn of(coef: F, view: View) -> Self {
        Self {
            coef,
            lives: Vec::new(),
            view: Some(view),
        }
    }

    /// The constant `coef` on the joint live set of `lives`.
    pub fn constant(coef: F, lives: &[Live]) -> Self {
        Self {
            coef,
            lives: lives.to_vec(),
            view: None,
        }
    }

    /// The same on a live set only.
    pub fn live(mut self, live: Live) -> Self {
        self.lives.push(live);
        self
    }
}

/// See the module documentation of [`crate::system`] for the equation.
#[derive(Clone, Debug, Serialize)]
pub struct Relation {
    pub name: String,
    pub check: Vec<VarId>,
    pub terms: Vec<Term>,
    pub rhs: Vec<Rhs>,
}
