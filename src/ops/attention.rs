//! Causal attention, exactly, per head.
//!
//! ```text
//! acc_ij = Σ_k q_ik·k_jk                                at f_q + f_k fractional bits
//! D_ij   = 2^(16−σ)·[j ≤ i]·(M_i − acc_ij) = 2^16·u_ij + 2^31·v_ij + t_ij      σ = f_q + f_k − 11
//! Ê_ij   = [j ≤ i]·E_ij·w_ij,      (u, E) in the exp table, (v, w) in the is-zero table
//! o_ij·D_ij = 0,   [j > i]·o_ij = 0,   Σ_j o_ij = 1
//! Z_i    = Σ_j Ê_ij
//! n_i·Z_i = 2^w − rem_i,   Z_i − 1 − rem_i = slack_i
//! O_ik   = Σ_j Ê_ij·V_jk
//! ```
//!
//! The output projection takes n_i·O_ik, at w + f_V fractional bits: nothing is rounded before it.
//! Where heads share keys and values, head h reads those of head ⌊h/group⌋: a public factor.
//! With a window of n tokens, [j ≤ i] is [j ≤ i < j + n] throughout.
//!
//! | column | a cheating prover cannot choose it because |
//! | --- | --- |
//! | acc | exact, determined by q and k |
//! | u, v, t | the digits of D_ij ∈ [0, 2^45), in mixed radix |
//! | M | some causal D is 0 (see below), so it is one of the acc; and all D ≥ 0: the largest |
//! | o | it may be anything that the three relations allow: no output depends on it |
//! | E, w | the tables' values |
//! | Ê, Z, O | exact, determined |
//! | n, rem, slack | 0 ≤ rem < Z leaves one quotient |
//!
//! *The maximum.* As Σ_j o_ij = 1 and o vanishes beyond i, some j ≤ i has o_ij ≠ 0, hence D_ij = 0
//! and M_i = acc_ij, an integer. (o need not be Boolean for that.) Then every causal D_ij' is
//! 2^(16−σ)(acc_ij − acc_ij') as an integer, and being in range it is not negative. So Ê is 2^e at
//! the maximum, and 2^e ≤ Z_i ≤ T'·2^e.
//!
//! Bounds, for all values in the ranges of their digits and heads of at most 256: |acc| ≤ 256·2^30 =
//! 2^38; |D's two sides| < 2^54; E ≤ 2^e, so Z ≤ 2^(e+t) with T' = 2^t; n < 2^(w−e+17), n·Z < 2^(w+t+17);
//! |O| < 2^(e+t)·max|V|. With e + t ≤ 40 and w ≤ 60 all stay below 2^130.

use std::ops::Range;

use rayon::prelude::*;

use super::gemm::Matrix;
use super::product::{Limbs, exact, largest};
use super::{Digits, EXP_BITS, Heads, IS_ZERO_BITS, LANES, Overflow, Recorder, Tables, Vars};
use crate::algebra::{F, pow2};
use crate::system::{
    Bind, ColumnId, Form, Live, Public, Relation, Rhs, System, Table, TableId, Term, VarId, View,
    sees,
};

/// Fixed point of one attention, and how far it sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// σ = f_q + f_k − [`super::EXP_FRACTION`], in 1 to 16.
    pub sigma: u32,
    /// e, the fractional bits of the exp table's values.
    pub exp: u32,
    /// w: weights are normalized by ⌊2^w/Z⌋.
    pub inverse: u32,
    /// How many tokens are seen, the token itself among them, where it is not all that came before.
    pub window: Option<usize>,
}

impl AttentionShape {
    /// The first token that token i sees.
    fn first(&self, i: usize) -> usize {
        self.window.map_or(0, |n| (i + 1).saturating_sub(n))
    }
}

/// The columns of attention.
#[derive(Clone, Debug)]
pub struct Attention {
    heads: Heads,
    scale: AttentionShape,
    scores: ColumnId,
    max: ColumnId,
    exp_key: ColumnId,
    exp: ColumnId,
    zero_key: ColumnId,
    zero: ColumnId,
    rest: ColumnId,
    one_hot: ColumnId,
    weights: ColumnId,
    total: ColumnId,
    inverse: Digits,
    inverse_rest: Digits,
    inverse_slack: Digits,
    sums: ColumnId,
}

/// The names of a block's dimensions in attention.
struct Axes {
    heads: Heads,
    head: VarId,
    token: VarId,
    past: VarId,
    /// The heads that exist.
    live: Live,
    window: Option<usize>,
}

impl Axes {
    fn new(vars: &Vars, heads: &Heads, window: Option<usize>) -> Self {
        Self {
            window,
            heads: *heads,
            head: heads.queries.slab,
            token: vars.token,
            past: vars.past,
            live: Live {
                vars: vec![heads.queries.slab],
                len: heads.count(),
            },
        }
    }

    /// A term in which heads of queries (which it must check) meet the heads of keys that they
    /// read, over which it sums.
    fn meeting(&self, contract: &[VarId], factors: Vec<Form>) -> Term {
        let (head, key_head) = (self.head, self.heads.keys.slab);
        if key_head == head {
            return Term::new(F::one(), contract, factors);
        }
        // [head][key head], the latter padded.
        let key_heads = self.heads.key_count();
        let (row, group) = (
            key_heads.next_power_of_two(),
            self.heads.count() / key_heads,
        );
        let reads = |at: usize| i64::from(at % row == at / row / group);
        let values: Vec<i64> = (0..row * self.heads.count()).map(reads).collect();
        let contract = [contract, &[key_head]].concat();
        Term::new(F::one(), &contract, factors).public(Public::Table {
            vars: vec![key_head, head],
            values: values.into(),
        })
    }

    fn view(&self, column: ColumnId, vars: &[VarId]) -> View {
        let binds: Vec<Bind> = vars.iter().map(|v| Bind::Var(*v)).collect();
        View::new(column, &binds)
    }

    /// `[head][token][past]`.
    fn pair(&self, column: ColumnId) -> View {
        self.view(column, &[self.head, self.token, self.past])
    }

    /// `[head][token]`.
    fn row(&self, column: ColumnId) -> View {
        self.view(column, &[self.head, self.token])
    }

    fn row_binds(&self) -> [Bind; 2] {
        [Bind::Var(self.head), Bind::Var(self.token)]
    }

    fn causal(&self) -> Public {
        Public::Causal {
            row: self.token,
            col: self.past,
            window: self.window,
        }
    }

    fn acausal(&self) -> Public {
        Public::Acausal {
            row: self.token,
            col: self.past,
            window: self.window,
        }
    }
}

impl Attention {
    /// Declares attention on queries and keys (16-bit) and values (exact), all
    /// `[slab][token][lane]`.
    pub fn declare(
        system: &mut System,
        (vars, heads): (&Vars, &Heads),
        (q, k, v): (&Digits, &Digits, ColumnId),
        scale: AttentionShape,
    ) -> Self {
        let tokens = vars.tokens;
        // A window of all tokens is none.
        let window = scale.window.filter(|n| *n < tokens);
        let scale = AttentionShape { window, ..scale };
        let (pairs, rows) = ([heads.count(), tokens, tokens], [heads.count(), tokens]);
        let (exp_key, exp) = system.function("exp key", "exp", &pairs, TableId::Exp);
        let (zero_key, zero) = system.function("far key", "near", &pairs, TableId::IsZero);
        // Z ≤ 2^(e + t), so rem, slack < 2^(e + t); and n ≤ 2^(w − e).
        let rest_digits = (scale.exp + tokens.trailing_zeros()).div_ceil(16);
        let inverse_digits = (scale.inverse - scale.exp + 1).div_ceil(16);
        let this = Self {
            heads: *heads,
            scale,
            scores: system.exact("score", &pairs),
            max: system.exact("max score", &rows),
            exp_key,
            exp,
            zero_key,
            zero,
            rest: system.range("score rest", &pairs, 0),
            one_hot: system.exact("max choice", &pairs),
            weights: system.exact("weight", &pairs),
            total: system.exact("weight total", &rows),
            inverse: Digits::unsigned(system, "weight inverse", &rows, inverse_digits),
            inverse_rest: Digits::unsigned(system, "inverse rest", &rows, rest_digits),
            inverse_slack: Digits::unsigned(system, "inverse slack", &rows, rest_digits),
            sums: system.exact("head sum", &[heads.queries.slabs(), tokens, LANES]),
        };
        let axes = Axes::new(vars, heads, scale.window);
        this.relate_scores(system, &axes, q, k);
        this.relate_gaps(system, &axes);
        this.relate_choice(system, &axes);
        this.relate_inverse(system, &axes);
        this.relate_sums(system, &axes, v);
        this
    }

    /// The factors of the output projection: n(h, i) and O(h, i, lane).
    pub fn output(&self, vars: &Vars) -> Vec<Form> {
        let axes = Axes::new(vars, &self.heads, self.scale.window);
        vec![
            self.inverse.form(&axes.row_binds()),
            Form::of(self.heads.queries.view(self.sums, vars.token)),
        ]
    }

    /// acc = Σ_k q·k.
    fn relate_scores(&self, system: &mut System, axes: &Axes, q: &Digits, k: &Digits) {
        let (queries, keys) = (axes.heads.queries, axes.heads.keys);
        let factors = vec![
            q.form(&queries.binds(axes.token)),
            k.form(&keys.binds(axes.past)),
        ];
        let lanes: Vec<VarId> = queries.part.into_iter().chain([queries.lane]).collect();
        system.relate(Relation {
            name: "score".into(),
            check: vec![axes.head],
            terms: vec![axes.meeting(&lanes, factors)],
            rhs: vec![Rhs::of(F::one(), axes.pair(self.scores))],
        });
    }

    /// D = 2^16·u + 2^31·v + t.
    fn gap(&self, axes: &Axes) -> Form {
        Form(vec![
            (pow2(16), axes.pair(self.exp_key)),
            (pow2(16 + EXP_BITS), axes.pair(self.zero_key)),
            (F::one(), axes.pair(self.rest)),
        ])
    }

    /// D = 2^(16−σ)·causal·(M − acc) and Ê = causal·E·w.
    fn relate_gaps(&self, system: &mut System, axes: &Axes) {
        let check = vec![axes.head, axes.token, axes.past];
        let scale = pow2(16 - self.scale.sigma);
        let term = |coef, view| Term::new(coef, &[], vec![Form::of(view)]).public(axes.causal());
        system.relate(Relation {
            name: "score below the maximum".into(),
            check: check.clone(),
            terms: vec![
                term(scale, axes.row(self.max)),
                term(-scale, axes.pair(self.scores)),
            ],
            rhs: self.gap(axes).rhs(F::one()),
        });
        let factors = [self.exp, self.zero].map(|c| Form::of(axes.pair(c)));
        system.relate(Relation {
            name: "weight".into(),
            check,
            terms: vec![Term::new(F::one(), &[], factors.to_vec()).public(axes.causal())],
            rhs: vec![Rhs::of(F::one(), axes.pair(self.weights))],
        });
    }

    /// o·D = 0, acausal·o = 0 and Σ_j o = 1.
    fn relate_choice(&self, system: &mut System, axes: &Axes) {
        let check = vec![axes.head, axes.token, axes.past];
        let choice = Form::of(axes.pair(self.one_hot));
        system.relate(Relation {
            name: "the maximum is attained".into(),
            check: check.clone(),
            terms: vec![Term::new(
                F::one(),
                &[],
                vec![choice.clone(), self.gap(axes)],
            )],
            rhs: vec![],
        });
        system.relate(Relation {
            name: "the maximum is not in the future".into(),
            check,
            terms: vec![Term::new(F::one(), &[], vec![choice]).public(axes.acausal())],
            rhs: vec![],
        });
        system.relate(Relation {
            name: "the maximum exists".into(),
            check: vec![],
            terms: vec![],
            rhs: vec![
                Rhs::of(F::one(), self.total_over_past(axes, self.one_hot)),
                Rhs::constant(-F::one(), std::slice::from_ref(&axes.live)),
            ],
        });
    }

    /// Σ_j of a `[head][token][past]` column.
    fn total_over_past(&self, axes: &Axes, column: ColumnId) -> View {
        let [head, token] = axes.row_binds();
        View::new(column, &[head, token, Bind::Ones])
    }

    /// Z = Σ_j Ê, n·Z = 2^w − rem and Z − 1 − rem = slack.
    fn relate_inverse(&self, system: &mut System, axes: &Axes) {
        let (rows, total) = (axes.row_binds(), axes.row(self.total));
        system.relate(Relation {
            name: "weight total".into(),
            check: vec![],
            terms: vec![],
            rhs: vec![
                Rhs::of(F::one(), total.clone()),
                Rhs::of(-F::one(), self.total_over_past(axes, self.weights)),
            ],
        });
        let mut rhs = self.inverse_rest.rhs(-F::one(), &rows);
        rhs.push(Rhs::constant(
            pow2(self.scale.inverse),
            std::slice::from_ref(&axes.live),
        ));
        system.relate(Relation {
            name: "weight inverse".into(),
            check: vec![axes.head, axes.token],
            terms: vec![Term::new(
                F::one(),
                &[],
                vec![self.inverse.form(&rows), Form::of(total.clone())],
            )],
            rhs,
        });
        let mut rhs = self.inverse_slack.rhs(-F::one(), &rows);
        rhs.extend(self.inverse_rest.rhs(-F::one(), &rows));
        rhs.push(Rhs::of(F::one(), total));
        rhs.push(Rhs::constant(-F::one(), std::slice::from_ref(&axes.live)));
        system.relate(Relation {
            name: "inverse rest below the total".into(),
            check: vec![],
            terms: vec![],
            rhs,
        });
    }

    /// O = Σ_j Ê·V.
    fn relate_sums(&self, system: &mut System, axes: &Axes, v: ColumnId) {
        let (queries, keys) = (axes.heads.queries, axes.heads.keys);
        let factors = vec![
            Form::of(axes.pair(self.weights)),
            Form::of(keys.view(v, axes.past)),
        ];
        // A dimension is bound to one side, so the two slabs of a head go with the head.
        let check = queries.part.into_iter().chain([axes.head]).collect();
        system.relate(Relation {
            name: "head sum".into(),
            check,
            terms: vec![axes.meeting(&[axes.past], factors)],
            rhs: vec![Rhs::of(F::one(), queries.view(self.sums, axes.token))],
        });
    }

    /// n·O for every head, token and lane.
    pub fn run(
        &self,
        (q, k, v): (&[i64], &[i64], &[i128]),
        tokens: usize,
        tables: Tables,
        recorder: &mut Recorder,
    ) -> Result<Vec<i128>, Overflow> {
        let parts = self.heads.parts();
        let block = parts * tokens * LANES;
        let group = self.heads.count() / self.heads.key_count();
        let heads = q
            .par_chunks(block)
            .enumerate()
            .map(|(head, q)| {
                let keys = head / group * block..(head / group + 1) * block;
                let (k, v) = (&k[keys.clone()], &v[keys]);
                let [q, k] = [q, k].map(|x| rows(x, parts));
                let qkv = (&q[..], &k[..], &rows(v, parts)[..]);
                Head::run(qkv, (self.scale, parts), tables, recorder.is_on())
            })
            .collect::<Result<Vec<_>, _>>()?;
        if recorder.is_on() {
            self.record(&heads, tables, recorder)?;
        }
        let mut output = Vec::with_capacity(q.len());
        for head in &heads {
            for part in head.sums.chunks(tokens * LANES) {
                for (n, row) in head.inverse.iter().zip(part.chunks(LANES)) {
                    for sum in row {
                        output.push(n.checked_mul(*sum).ok_or_else(|| Overflow {
                            tensor: "a head's sum".into(),
                            value: *sum,
                            least: i128::MIN / n,
                            most: i128::MAX / n,
                        })?);
                    }
                }
            }
        }
        Ok(output)
    }

    fn record(
        &self,
        heads: &[Head],
        tables: Tables,
        recorder: &mut Recorder,
    ) -> Result<(), Overflow> {
        let scale = self.scale;
        let pairs = || heads.iter().flat_map(move |h| h.pairs(scale, tables));
        recorder.keys(self.rest, pairs().map(|p| p.rest()));
        recorder.keys(self.exp_key, pairs().map(|p| p.exp_key()));
        recorder.keys(self.zero_key, pairs().map(|p| p.zero_key()));
        recorder.exact(self.exp, pairs().map(|p| p.exp));
        recorder.exact(self.zero, pairs().map(|p| p.zero));
        recorder.exact(self.weights, pairs().map(|p| p.weight()));
        let narrow =
            |f: fn(&Head) -> &Vec<i64>| heads.iter().flat_map(move |h| f(h).iter().copied());
        recorder.exact(self.scores, narrow(|h| &h.scores));
        recorder.exact(self.max, narrow(|h| &h.max));
        recorder.exact(self.one_hot, heads.iter().flat_map(Head::choices));
        let wide =
            |f: fn(&Head) -> &Vec<i128>| heads.iter().flat_map(f).copied().collect::<Vec<_>>();
        recorder.exact(self.total, wide(|h| &h.total));
        recorder.exact(self.sums, wide(|h| &h.sums));
        self.inverse.put(recorder, &wide(|h| &h.inverse))?;
        let (inverse, total) = (wide(|h| &h.inverse), wide(|h| &h.total));
        let rests: Vec<i128> = inverse
            .iter()
            .zip(&total)
            .map(|(n, z)| (1 << self.scale.inverse) - n * z)
            .collect();
        let slacks: Vec<i128> = total.iter().zip(&rests).map(|(z, r)| z - 1 - r).collect();
        self.inverse_rest.put(recorder, &rests)?;
        self.inverse_slack.put(recorder, &slacks)
    }
}

/// A token and one at or before it, or after it (then D = 0 and Ê = 0).
struct Pair {
    causal: bool,
    /// D.
    gap: i64,
    exp: i64,
    zero: i64,
}

impl Pair {
    /// `below`: by how much the score is below the maximum.
    fn new(causal: bool, below: i64, scale: AttentionShape, tables: Tables) -> Self {
        let gap = if causal {
            below << (16 - scale.sigma)
        } else {
            0
        };
        let mut pair = Self {
            causal,
            gap,
            exp: 0,
            zero: 0,
        };
        pair.exp = lookup(tables.exp, pair.exp_key());
        pair.zero = lookup(tables.is_zero, pair.zero_key());
        pair
    }

    /// t.
    fn rest(&self) -> i64 {
        self.gap & ((1 << 16) - 1)
    }

    /// u.
    fn exp_key(&self) -> i64 {
        self.gap >> 16 & ((1 << EXP_BITS) - 1)
    }

    /// v.
    fn zero_key(&self) -> i64 {
        self.gap >> (16 + EXP_BITS)
    }

    /// Ê.
    fn weight(&self) -> i64 {
        if self.causal { self.exp * self.zero } else { 0 }
    }
}

/// One head's values: `[token][past]`, `[token]` and, for the sums, `[slab][token][lane]`.
struct Head {
    /// Kept only where they are recorded.
    scores: Vec<i64>,
    max: Vec<i64>,
    choice: Vec<usize>,
    total: Vec<i128>,
    inverse: Vec<i128>,
    sums: Vec<i128>,
}

/// Tokens whose scores and weights a head holds at once.
const TOKEN_BLOCK: usize = 64;

impl Head {
    /// One head of `parts` slabs on `[token][lane]` with all its lanes.
    fn run(
        (q, k, v): (&[i64], &[i64], &[i128]),
        (scale, parts): (AttentionShape, usize),
        tables: Tables,
        keep_scores: bool,
    ) -> Result<Self, Overflow> {
        let width = parts * LANES;
        let tokens = q.len() / width;
        let [q, k] = [q, k].map(|x| x.iter().map(|x| *x as f64).collect::<Vec<_>>());
        let [q, k] = [&q, &k].map(|x| Matrix::new(x, tokens, width));
        let values = Values::new(v, tokens);
        let mut head = Self {
            scores: Vec::new(),
            max: Vec::with_capacity(tokens),
            choice: Vec::with_capacity(tokens),
            total: Vec::with_capacity(tokens),
            inverse: Vec::with_capacity(tokens),
            sums: vec![0; tokens * width],
        };
        for first in (0..tokens).step_by(TOKEN_BLOCK) {
            let end = tokens.min(first + TOKEN_BLOCK);
            // What is recorded includes the scores of the future; the run needs none of them.
            let past = if keep_scores { tokens } else { end };
            let scores = scores(q, k, first..end, past);
            let mut weights = Vec::with_capacity((end - first) * end);
            for (row, i) in scores.chunks(past).zip(first..end) {
                head.weigh((&row[..=i], scale.first(i)), scale, tables, &mut weights)?;
                weights.resize(weights.len() + end - 1 - i, 0.0);
            }
            for (row, i) in values.sums(&weights, end).chunks(width).zip(first..end) {
                for (part, sums) in row.chunks(LANES).enumerate() {
                    head.sums[(part * tokens + i) * LANES..][..LANES].copy_from_slice(sums);
                }
            }
            if keep_scores {
                head.scores.extend(scores);
            }
        }
        Ok(head)
    }

    /// Adds a token's Ê for all causal scores, of which it sees those from `first` on, to `weights`, and what depends on
    /// that row alone.
    fn weigh(
        &mut self,
        (scores, first): (&[i64], usize),
        scale: AttentionShape,
        tables: Tables,
        weights: &mut Vec<f64>,
    ) -> Result<(), Overflow> {
        let (mut best, mut least) = (first, scores[first]);
        for (j, score) in scores.iter().enumerate().skip(first) {
            if *score > scores[best] {
                best = j;
            }
            least = least.min(*score);
        }
        weights.extend(std::iter::repeat_n(0.0, first));
        let max = scores[best];
        let widest = i128::from(max - least) << (16 - scale.sigma);
        let most = (1 << (16 + EXP_BITS + IS_ZERO_BITS)) - 1;
        Overflow::check("the spread of attention scores", [widest], 0, most)?;
        let mut total = 0;
        for score in &scores[first..] {
            let weight = Pair::new(true, max - score, scale, tables).weight();
            total += weight;
            weights.push(weight as f64);
        }
        self.max.push(max);
        self.choice.push(best);
        self.total.push(total.into());
        self.inverse.push((1 << scale.inverse) / i128::from(total));
        Ok(())
    }

    /// All pairs of tokens, row by row, from the kept scores.
    fn pairs(&self, scale: AttentionShape, tables: Tables) -> impl Iterator<Item = Pair> {
        let tokens = self.max.len();
        self.scores.iter().enumerate().map(move |(at, score)| {
            let (i, j) = (at / tokens, at % tokens);
            Pair::new(sees(i, j, scale.window), self.max[i] - score, scale, tables)
        })
    }

    /// o, row by row.
    fn choices(&self) -> impl Iterator<Item = i64> {
        let tokens = self.choice.len();
        self.choice
            .iter()
            .flat_map(move |c| (0..tokens).map(move |j| i64::from(j == *c)))
    }
}

/// `[token][lane]` with all lanes of a head, from its `parts` slabs.
fn rows<T: Copy>(slabs: &[T], parts: usize) -> Vec<T> {
    let slab = slabs.len() / parts;
    let row = |at: usize| slabs.chunks(slab).flat_map(move |s| &s[at..at + LANES]);
    (0..slab).step_by(LANES).flat_map(row).copied().collect()
}

/// q_i·k_j for the tokens i of `rows` and j < `past`: at most 2^38, so exact in `f64`.
fn scores(q: Matrix, k: Matrix, rows: Range<usize>, past: usize) -> Vec<i64> {
    let k = k.rows_from(0, past).transposed();
    let scores = q.rows_from(rows.start, rows.len()).times(k);
    scores.into_iter().map(|s| s as i64).collect()
}

/// V of one head in limbs, `[token][limb][lane]`.
struct Values {
    limbs: Limbs,
    tokens: usize,
    /// The lanes of a head.
    width: usize,
    cut: Vec<f64>,
}

impl Values {
    fn new(v: &[i128], tokens: usize) -> Self {
        let limbs = Limbs::new(largest(v));
        let mut cut = Vec::with_capacity(v.len() * limbs.count);
        let width = v.len() / tokens;
        for row in v.chunks(width) {
            for l in 0..limbs.count {
                cut.extend(row.iter().map(|v| limbs.cut(*v, l)));
            }
        }
        Self {
            limbs,
            tokens,
            width,
            cut,
        }
    }

    /// Σ_j Ê_ij·V_j over the first `past` tokens, for rows Ê_i.
    fn sums(&self, weights: &[f64], past: usize) -> Vec<i128> {
        let rows = weights.len() / past;
        let largest = weights.iter().fold(0.0f64, |m, w| m.max(*w)) as u64;
        let values = Matrix::new(&self.cut, self.tokens, self.limbs.count * self.width);
        let mut sums = vec![0i128; rows * self.width];
        exact(
            Matrix::new(weights, rows, past),
            values.rows_from(0, past),
            self.limbs.largest() * largest,
            |products| {
                let rows = products.chunks(self.limbs.count * self.width);
                for (sums, row) in sums.chunks_mut(self.width).zip(rows) {
                    for (l, products) in row.chunks(self.width).enumerate() {
                        for (sum, product) in sums.iter_mut().zip(products) {
                            *sum = sum.wrapping_add(self.limbs.part(*product, l));
                        }
                    }
                }
            },
        );
        sums
    }
}

/// The value of a table at a key. Panics beyond its keys.
pub fn lookup(table: &Table, key: i64) -> i64 {
    let values = table.values.as_ref().expect("a function table has values");
    values[usize::try_from(key - table.first_key).expect("a key of the table")]
}

#[cfg(test)]
mod tests {
    use ff::Field;

    use super::*;
    use crate::algebra::from_i128;
    use crate::ops::testing::{Case, OwnedTables, Rng};
    use crate::quant::Architecture;
    use crate::quant::testing::{architecture, llama};
    use crate::system::Witness;

    const TOKENS: usize = 4;
    const HEADS: usize = 3;
    const SCALE: AttentionShape = AttentionShape {
        sigma: 10,
        exp: 20,
        inverse: 44,
        window: None,
    };

    struct Scene {
        system: System,
        witness: Witness,
        tables: OwnedTables,
        v: Vec<i64>,
    }

    /// Attention alone, on random q, k and v whose scores are a few units apart.
    fn scene() -> Scene {
        scene_of(&architecture(1, HEADS))
    }

    fn scene_of(architecture: &Architecture) -> Scene {
        let mut system = System::default();
        let width = architecture.width;
        let vars = Vars::block(
            &mut system,
            width,
            (width, architecture.query_lanes()),
            TOKENS,
        );
        let heads = Heads::declare(&mut system, &vars, architecture);
        let lens = [heads.queries.slabs(), TOKENS, LANES];
        let key_lens = [heads.keys.slabs(), TOKENS, LANES];
        let q = Digits::signed(&mut system, "q", &lens, 1);
        let k = Digits::signed(&mut system, "k", &key_lens, 1);
        let v = system.exact("v", &key_lens);
        let attention = Attention::declare(&mut system, (&vars, &heads), (&q, &k, v), SCALE);
        let mut rng = Rng(11);
        let qs = rng.vector(lens.iter().product(), 700);
        let [ks, vs] = [700, 1 << 30].map(|b| rng.vector(key_lens.iter().product(), b));
        let mut recorder = Recorder::on(&system);
        q.put(&mut recorder, &qs).expect("16-bit");
        k.put(&mut recorder, &ks).expect("16-bit");
        recorder.exact(v, vs.iter().copied());
        let wide: Vec<i128> = vs.iter().map(|v| i128::from(*v)).collect();
        let tables = OwnedTables::build();
        attention
            .run((&qs, &ks, &wide), TOKENS, tables.get(), &mut recorder)
            .expect("it fits");
        Scene {
            system,
            witness: recorder.into_witness(),
            tables,
            v: vs,
        }
    }

    impl Scene {
        fn case(&self) -> Case<'_> {
            Case::new(&self.system, &self.witness, &self.tables, |_, _| vec![])
        }
    }

    /// What a cheater does to one row (head 1, token i), and then computes as the honest prover.
    struct Cheat<'a, 'b> {
        case: &'b mut Case<'a>,
        scene: &'a Scene,
        i: usize,
    }

    impl Cheat<'_, '_> {
        fn row(&self) -> usize {
            TOKENS + self.i
        }

        fn pair(&self, j: usize) -> usize {
            self.row() * TOKENS + j
        }

        fn get(&self, name: &str, entry: usize) -> F {
            self.case.values[self.case.column(name)][entry]
        }

        fn put(&mut self, name: &str, entry: usize, value: F) {
            let column = self.case.column(name);
            self.case.values[column][entry] = value;
        }

        /// Writes D and what the tables say of it.
        fn gap(&mut self, j: usize, gap: i64) {
            let pair = self.pair(j);
            let (u, v) = (gap >> 16 & 0x7fff, gap >> 31);
            let tables = self.scene.tables.get();
            let int = |x: i64| from_i128(x.into());
            self.put("score rest", pair, int(gap & 0xffff));
            self.put("exp key", pair, int(u));
            self.put("far key", pair, int(v));
            let (exp, near) = (lookup(tables.exp, u), lookup(tables.is_zero, v));
            self.put("exp", pair, int(exp));
            self.put("near", pair, int(near));
            if j <= self.i {
                self.put("weight", pair, int(exp * near));
            }
        }

        /// Z, n and O from whatever weights there are (below 2^40).
        fn normalize(&mut self) {
            let weights: Vec<F> = (0..TOKENS)
                .map(|j| self.get("weight", self.pair(j)))
                .collect();
            let small = |x: &F| {
                (0..1i128 << 22)
                    .find(|n| from_i128(*n) == *x)
                    .expect("a small weight")
            };
            let total: i128 = weights.iter().map(small).sum();
            let row = self.row();
            self.put("weight total", row, from_i128(total));
            let (n, rest) = ((1i128 << 44) / total, (1i128 << 44) % total);
            self.case.set_integer_digits("weight inverse", row, n);
            self.case.set_integer_digits("inverse rest", row, rest);
            self.case
                .set_integer_digits("inverse slack", row, total - 1 - rest);
            for lane in 0..LANES {
                let sum: F = weights
                    .iter()
                    .enumerate()
                    .map(|(j, w)| {
                        let v = self.scene.v[(TOKENS + j) * LANES + lane];
                        *w * from_i128(v.into())
                    })
                    .sum();
                self.put("head sum", row * LANES + lane, sum);
            }
        }
    }

    /// All D of a row grow by 2^(16−σ) if M does by one.
    fn raise_max(cheat: &mut Cheat, by: i64) {
        let row = cheat.row();
        let max = cheat.get("max score", row);
        cheat.put("max score", row, max + from_i128(by.into()));
        for j in 0..=cheat.i {
            let pair = cheat.pair(j);
            let score = cheat.get("score", pair);
            let difference = max + from_i128(by.into()) - score;
            let gap = (0..1i64 << 22)
                .find(|d| from_i128((*d).into()) == difference)
                .expect("scores are near each other");
            cheat.gap(j, gap << (16 - SCALE.sigma));
        }
        cheat.normalize();
    }

    /// The scene is worth attacking: weights differ and none is everything.
    #[test]
    fn honest_attention_holds_and_is_not_trivial() {
        let scene = scene();
        let case = scene.case();
        case.assert_holds();
        let weights = &case.values[case.column("weight")];
        let last_row = &weights[(TOKENS + 3) * TOKENS..][..TOKENS];
        let full = F::from(1 << 20);
        assert!(last_row.contains(&full));
        assert!(
            last_row
                .iter()
                .filter(|w| **w != full && **w != F::ZERO)
                .count()
                >= 2
        );
    }

    /// Heads of one and of two slabs that share keys and values or do not: all hold, no entry is free,
    /// and the head sums are those of the definition.
    #[test]
    fn shared_and_wide_heads_hold() {
        for (groups, head_width) in [(1, 64), (2, 64), (3, 64), (1, 128), (2, 128)] {
            let shape = llama(1, groups, head_width);
            let own = Architecture {
                kv_heads: shape.heads,
                ..shape.clone()
            };
            for architecture in [shape, own] {
                let scene = scene_of(&architecture);
                let case = scene.case();
                case.assert_holds();
                assert_sums(&scene, &architecture, &case);
                case.assert_every_column_is_bound(&[]);
            }
        }
    }

    /// O_ik = Σ_j Ê_ij·V_jk with head h reading the values of head ⌊h/group⌋.
    fn assert_sums(scene: &Scene, a: &Architecture, case: &Case) {
        let w = a.head_width;
        let at = |head: usize, i: usize, k: usize| {
            let feature = head * w + k;
            (feature / LANES * TOKENS + i) * LANES + feature % LANES
        };
        let [weights, sums] = ["weight", "head sum"].map(|c| &case.values[case.column(c)]);
        for (head, i, k) in [(0, 3, 1), (1, 2, w - 1), (a.heads - 1, 1, w / 2)] {
            let term = |j: usize| {
                let v = scene.v[at(head / a.group(), j, k)];
                weights[(head * TOKENS + i) * TOKENS + j] * from_i128(v.into())
            };
            let expected: F = (0..TOKENS).map(term).sum();
            assert_eq!(sums[at(head, i, k)], expected, "{head} {i} {k}");
        }
    }

    /// Reading the keys or values of another group, with everything that follows: the relation that
    /// pairs heads tells.
    #[test]
    fn keys_and_values_of_another_group_are_refused() {
        let architecture = llama(1, 2, 64);
        let scene = scene_of(&architecture);
        // Exchanging the two groups' keys leaves the scores of the old ones behind.
        for (column, relation) in [("k[0]", "score"), ("v", "head sum")] {
            let mut case = scene.case();
            let column = case.column(column);
            let half = case.values[column].len() / 2;
            case.values[column].rotate_left(half);
            assert_eq!(case.failures(), [relation]);
        }
    }

    /// A maximum that no score attains scales all weights down; everything else adds up.
    #[test]
    fn a_maximum_that_is_not_attained_is_refused() {
        let scene = scene();
        let mut case = scene.case();
        let cheat = &mut Cheat {
            case: &mut case,
            scene: &scene,
            i: 2,
        };
        raise_max(cheat, 1 << 10);
        assert_eq!(case.failures(), ["the maximum is attained"]);
    }

    /// The same, "attained" at a masked entry, where D is 0.
    #[test]
    fn a_maximum_in_the_future_is_refused() {
        let scene = scene();
        let mut case = scene.case();
        let cheat = &mut Cheat {
            case: &mut case,
            scene: &scene,
            i: 2,
        };
        raise_max(cheat, 1 << 10);
        for j in 0..TOKENS {
            let pair = cheat.pair(j);
            cheat.put("max choice", pair, if j == 3 { F::ONE } else { F::ZERO });
        }
        assert_eq!(case.failures(), ["the maximum is not in the future"]);
    }

    /// The same, attained nowhere.
    #[test]
    fn a_row_without_maximum_is_refused() {
        let scene = scene();
        let mut case = scene.case();
        let cheat = &mut Cheat {
            case: &mut case,
            scene: &scene,
            i: 2,
        };
        raise_max(cheat, 1 << 10);
        for j in 0..TOKENS {
            let pair = cheat.pair(j);
            cheat.put("max choice", pair, F::ZERO);
        }
        assert_eq!(case.failures(), ["the maximum exists"]);
    }

    /// A maximum below a score makes that score's D negative, whatever its digits.
    #[test]
    fn a_maximum_below_a_score_is_refused() {
        let scene = scene();
        let mut case = scene.case();
        let cheat = &mut Cheat {
            case: &mut case,
            scene: &scene,
            i: 3,
        };
        let scores: Vec<F> = (0..TOKENS)
            .map(|j| cheat.get("score", cheat.pair(j)))
            .collect();
        let (row, old) = (cheat.row(), cheat.get("max score", cheat.row()));
        // Some other score becomes "the maximum", and o moves there.
        let other = (0..TOKENS)
            .find(|j| scores[*j] != old)
            .expect("they differ");
        cheat.put("max score", row, scores[other]);
        for (j, score) in scores.iter().enumerate() {
            let pair = cheat.pair(j);
            cheat.put(
                "max choice",
                pair,
                if j == other { F::ONE } else { F::ZERO },
            );
            // D goes into the range digit as it is; keys and weights stay what they are.
            let gap = (scores[other] - score) * pow2(16 - SCALE.sigma);
            cheat.gap(j, 0);
            cheat.put("score rest", pair, gap);
        }
        cheat.normalize();
        assert_eq!(case.failures(), ["lookup of score rest"]);
    }

    /// Weight on a future token, normalized and summed like any other.
    #[test]
    fn weight_on_a_masked_entry_is_refused() {
        let scene = scene();
        let mut case = scene.case();
        let cheat = &mut Cheat {
            case: &mut case,
            scene: &scene,
            i: 1,
        };
        let pair = cheat.pair(3);
        cheat.put("weight", pair, F::from(12_345));
        cheat.normalize();
        assert_eq!(case.failures(), ["weight"]);
    }

    /// The total of another row, with its inverse.
    #[test]
    fn the_total_of_another_row_is_refused() {
        let scene = scene();
        let mut case = scene.case();
        let names = ["weight total", "weight inverse[0]", "weight inverse[1]"];
        let rests = [
            "inverse rest[0]",
            "inverse rest[1]",
            "inverse slack[0]",
            "inverse slack[1]",
        ];
        for name in names.into_iter().chain(rests) {
            let column = case.column(name);
            case.values[column].swap(TOKENS + 1, TOKENS + 2);
        }
        assert_eq!(case.failures(), ["weight total"]);
    }

    /// n off by one with the remainder adjusted: rem or slack leaves its range.
    #[test]
    fn a_wrong_inverse_is_left_to_the_range_checks() {
        let scene = scene();
        for off in [F::ONE, -F::ONE] {
            let mut case = scene.case();
            let row = TOKENS + 2;
            let total = case.values[case.column("weight total")][row];
            let n = case.integer("weight inverse", row) + off;
            let rest = pow2(44) - n * total;
            case.set_integer("weight inverse", row, n);
            case.set_integer("inverse rest", row, rest);
            case.set_integer("inverse slack", row, total - F::ONE - rest);
            let failures = case.failures();
            assert!(
                failures.iter().all(|f| f.starts_with("lookup of ")),
                "{failures:?}"
            );
            assert!(failures.iter().any(|f| f.contains("inverse")));
        }
    }

    /// Scores so far apart that v leaves its table stop the run.
    #[test]
    fn scores_too_far_apart_are_an_overflow() {
        let tables = OwnedTables::build();
        let mut q = vec![0; 2 * LANES];
        let mut k = vec![0; 2 * LANES];
        q[LANES..].fill(32_767);
        k[..LANES].fill(-32_768);
        k[LANES..].fill(32_767);
        let v = vec![0; 2 * LANES];
        let scale = AttentionShape { sigma: 2, ..SCALE };
        let overflow = Head::run((&q, &k, &v), (scale, 1), tables.get(), false)
            .err()
            .expect("too far");
        assert_eq!(overflow.tensor, "the spread of attention scores");
        assert!(
            Head::run(
                (&q, &k, &v),
                (AttentionShape { sigma: 16, ..SCALE }, 1),
                tables.get(),
                false
            )
            .is_ok()
        );
    }
}
