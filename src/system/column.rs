//! Columns, their values, and the lookups that bound them.

use serde::Serialize;

use super::VarId;

/// Identifies a column of a [`super::System`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ColumnId(pub usize);

/// Where a column's commitment lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Segment {
    /// The witness, among the keys of lookups (17-bit signed integers at most).
    Key,
    /// The witness, among the values that no lookup reads as a key.
    Exact,
    /// The activations that enter the layer: one column, `[slab, token, lane]`.
    BoundaryIn,
    /// The activations that leave it.
    BoundaryOut,
    /// The model's vector number n of this layer (biases, gains).
    Vector(usize),
    /// The model's matrix number n of this layer: `[slab_in, 64, slab_out, 64]`, committed in
    /// tiles (see `commit`), the only columns whose dimensions are not contiguous.
    Matrix(usize),
}

/// A committed integer tensor. Values lie in row-major order, the last dimension innermost; every
/// dimension but the first is a power of two, so a column is one contiguous run.
#[derive(Clone, Debug, Serialize)]
pub struct Column {
    pub name: String,
    pub segment: Segment,
    pub lens: Vec<usize>,
}

impl Column {
    /// The number of values.
    pub fn len(&self) -> usize {
        self.lens.iter().product()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of values under one index of the first dimension: a power of two, to which the
    /// column's place in the witness is aligned.
    pub fn block(&self) -> usize {
        self.lens[1..].iter().product()
    }
}

/// A column's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Values {
    /// Keys of lookups.
    Small(Vec<i32>),
    /// Exact values of any width below 2^127.
    Wide(Vec<i128>),
}

/// What one dimension of a column is bound to in a [`View`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Bind {
    /// A variable: at r where the term sums over it, at τ otherwise.
    Var(VarId),
    /// Two variables that together index one dimension: (low bits, high bits).
    Pair(VarId, VarId),
    /// Three of them, lowest bits first.
    Triple(VarId, VarId, VarId),
    /// Summed over the dimension with weight one.
    Ones,
    /// One index.
    Fixed(usize),
}

impl Bind {
    /// Its variables, lowest bits first.
    pub fn vars(&self) -> impl Iterator<Item = VarId> + use<> {
        let [a, b, c] = match *self {
            Self::Var(v) => [Some(v), None, None],
            Self::Pair(low, high) => [Some(low), Some(high), None],
            Self::Triple(low, middle, high) => [Some(low), Some(middle), Some(high)],
            Self::Ones | Self::Fixed(_) => [None; 3],
        };
        [a, b, c].into_iter().flatten()
    }
}

/// A column with every dimension bound, outermost first: a linear functional of its values.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct View {
    pub column: ColumnId,
    pub binds: Vec<Bind>,
}

impl View {
    pub fn new(column: ColumnId, binds: &[Bind]) -> Self {
        Self {
            column,
            binds: binds.to_vec(),
        }
    }
}

/// The lookup tables of the model. Each has its own tag in LogUp, so a row of one cannot pass for
/// a row of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum TableId {
    /// `[0, 2^16)`, no value.
    Range16,
    /// exp(−u·2^-11) at a scale of the model's choice.
    Exp,
    /// (v, [v = 0]).
    IsZero,
    /// The model's activation function.
    Activation,
}

impl TableId {
    /// All tables, in the order of their tags.
    pub const ALL: [TableId; 4] = [Self::Range16, Self::Exp, Self::IsZero, Self::Activation];

    /// The table's tag in LogUp denominators: non-zero and distinct.
    pub fn tag(self) -> u64 {
        Self::ALL
            .iter()
            .position(|t| *t == self)
            .expect("every table is listed in ALL") as u64
            + 1
    }
}

/// A public table: rows (first_key + j, values[j]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    pub id: TableId,
    pub first_key: i64,
    pub len: usize,
    /// The function's values, or `None` for a pure range.
    pub values: Option<Vec<i64>>,
}

/// Every entry of `key`, plus `offset`, is a key of `table`, and `value` is that row's value.
#[derive(Clone, Debug, Serialize)]
pub struct Lookup {
    pub table: TableId,
    pub key: ColumnId,
    pub offset: i64,
    pub value: Option<ColumnId>,
}
