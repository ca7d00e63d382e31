//! A transformer block.
//!
//! ```text
//! x  = norm1(h) or h;          q, k = round([rotate][norm](x·W [+ b])),   v = x·W_v [+ b_v]
//! a  = [norm](round(attention(q, k, v)·W_o [+ b_o]))
//! y  = norm2(h + a), or norm2(h), x, h + a as the model's order says
//! g  = activation(round(y·W_up [+ b_up]))   or   activation(round(y·W_gate [+ b])) ∘ (y·W_up [+ b_up])
//! b  = [norm](round(g·W_down [+ b_down]))
//! h' = h + a + b
//! ```
//!
//! Gains and biases of norms 1 and 2 are folded into the linear maps that follow. A gate's product is no
//! column: the down projection takes both factors.

mod branch;
mod side;

use branch::Branch;
use side::ScoreSide;

use super::{LayerKind, LayerWeights, RunError};
use crate::algebra::{F, pow2};
use crate::ops::{
    Accumulator, Attention, AttentionShape, Digits, EXP_FRACTION, Features, Heads, Input, Linear,
    Norm, NormShape, NormSite, Output, Overflow, Recorder, Rescale, Rescaled, Rotary, Site, Tables,
    Vars, accumulate, lookup,
};
use crate::quant::{
    Architecture, BlockScales, BlockWeights, HeadNormScale, Manifest, NormScale, NormSize, Scales,
};
use crate::system::{ColumnId, Form, System};

/// The declared block.
#[derive(Clone, Debug)]
pub struct Block {
    index: usize,
    tokens: usize,
    /// Whether the feed-forward part reads the same stream as the attention.
    parallel: bool,
    /// By how many bits the output projection's bias is scaled up.
    bias_shift: u32,
    system: System,
    input: Input,
    norm1: Option<Norm>,
    query: ScoreSide,
    key: ScoreSide,
    rotary: Option<Rotary>,
    value: ColumnId,
    attention: Attention,
    projection: Branch,
    norm2: Option<Norm>,
    argument: Rescaled,
    activation: ColumnId,
    /// The up projection, exact, where it is not the activation's argument.
    up: Option<ColumnId>,
    down: Branch,
    output: Output,
}

/// The system of block `index` for T' tokens.
pub fn block_system(manifest: &Manifest, index: usize, tokens: usize) -> System {
    Block::new(manifest, index, tokens).system
}

/// The constants of a norm of the residual stream, or of what is added to it, whose inputs have `summands` 32-bit parts.
pub(super) fn norm_shape(
    a: &Architecture,
    s: &Scales,
    scale: NormScale,
    summands: u32,
) -> Option<NormShape> {
    NormShape::new(a.norm_size(), 30 + summands, s.residual, a.epsilon(), scale)
}

/// The constants of a norm of queries or keys.
pub(super) fn head_norm_shape(
    a: &Architecture,
    size: NormSize,
    scale: HeadNormScale,
) -> Option<NormShape> {
    NormShape::new(size, 31, scale.input, a.epsilon(), scale.norm)
}

/// How many 32-bit parts the second norm's inputs have.
pub(super) fn middle_summands(a: &Architecture) -> u32 {
    if a.order.parallel() { 1 } else { 2 }
}

/// σ = f_q + f_k − 11, if it is in 1 to 16.
pub(super) fn sigma(b: &BlockScales) -> Option<u32> {
    let sigma = b.q.checked_add(b.k)?.checked_sub(EXP_FRACTION)?;
    (1..=16).contains(&sigma).then_some(sigma)
}

/// A vector of a block, in the order in which those that a model has are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vector {
    QueryBias,
    KeyBias,
    ValueBias,
    OutputBias,
    GateBias,
    UpBias,
    DownBias,
    QueryGain,
    KeyGain,
    AttentionGain,
    FeedForwardGain,
}

impl Vector {
    const ALL: [Self; 11] = [
        Self::QueryBias,
        Self::KeyBias,
        Self::ValueBias,
        Self::OutputBias,
        Self::GateBias,
        Self::UpBias,
        Self::DownBias,
        Self::QueryGain,
        Self::KeyGain,
        Self::AttentionGain,
        Self::FeedForwardGain,
    ];

    /// Its length, 0 where the model has it not.
    fn len(self, a: &Architecture) -> usize {
        let (b, stream, hidden) = (a.biases, a.stream(), a.hidden_lanes());
        let gain = |heads| a.head_norm_size(heads).map_or(0, |size| size.lanes);
        let (there, len) = match self {
            Self::QueryBias => (b.query, a.query_lanes()),
            Self::KeyBias => (b.key, a.key_lanes()),
            Self::ValueBias => (b.value, a.key_lanes()),
            Self::OutputBias => (b.output, stream),
            Self::GateBias => (b.gate, hidden),
            Self::UpBias => (b.up, hidden),
            Self::DownBias => (b.down, stream),
            Self::QueryGain => (true, gain(a.heads)),
            Self::KeyGain => (true, gain(a.kv_heads)),
            Self::AttentionGain | Self::FeedForwardGain => (a.order.behind(), stream),
        };
        if there { len } else { 0 }
    }

    /// Its number among those that the model has, if it has it.
    pub(super) fn number(self, a: &Architecture) -> Option<usize> {
        let there = |vector: &Self| vector.len(a) > 0;
        let mut all = Self::ALL.into_iter().filter(there);
        all.position(|vector| vector == self)
    }
}

/// The lengths of a block's vectors in the order of their numbers.
pub(super) fn vector_lens(a: &Architecture) -> Vec<usize> {
    let lens = Vector::ALL.into_iter().map(|vector| vector.len(a));
    lens.filter(|len| *len > 0).collect()
}

/// The shapes, (inputs, outputs), of a block's matrices in the order of their numbers.
pub(super) fn matrix_shapes(a: &Architecture) -> Vec<(usize, usize)> {
    let (d, hidden, queries, keys) = (a.stream(), a.hidden_lanes(), a.query_lanes(), a.key_lanes());
    let maps = [
        (d, queries),
        (d, keys),
        (d, keys),
        (queries, d),
        (d, hidden),
        (hidden, d),
    ];
    let gate = a.gated.then_some((d, hidden));
    maps.into_iter().chain(gate).collect()
}

/// A block's weights in the order of their numbers.
pub(super) fn weights(w: &BlockWeights) -> LayerWeights<'_> {
    let vectors = Vector::ALL.map(|vector| match vector {
        Vector::QueryBias => &w.query_bias,
        Vector::KeyBias => &w.key_bias,
        Vector::ValueBias => &w.value_bias,
        Vector::OutputBias => &w.output_bias,
        Vector::GateBias => &w.gate_bias,
        Vector::UpBias => &w.up_bias,
        Vector::DownBias => &w.down_bias,
        Vector::QueryGain => &w.query_gain,
        Vector::KeyGain => &w.key_gain,
        Vector::AttentionGain => &w.attention_gain,
        Vector::FeedForwardGain => &w.feed_forward_gain,
    });
    let matrices = [&w.query, &w.key, &w.value, &w.output, &w.up, &w.down];
    LayerWeights {
        vectors: vectors
            .into_iter()
            .filter(|v| !v.is_empty())
            .map(Vec::as_slice)
            .collect(),
        matrices: matrices.into_iter().chain(&w.gate).collect(),
    }
}

/// A block under construction.
struct Builder<'a> {
    system: System,
    vars: Vars,
    heads: Heads,
    manifest: &'a Manifest,
    index: usize,
    scales: &'a BlockScales,
}

impl Block {
    /// Declares block `index` of a manifest that [`super::check`] accepts, for T' tokens.
    /// Matrices 0 to 5 are query, key, value, output, up, down; matrix 6 is the gate.
    pub fn new(manifest: &Manifest, index: usize, tokens: usize) -> Self {
        let a = &manifest.architecture;
        let mut system = System::default();
        let wide = (a.hidden_lanes(), a.query_lanes());
        let vars = Vars::block(&mut system, a.stream(), wide, tokens);
        let heads = Heads::declare(&mut system, &vars, a);
        let mut build = Builder {
            system,
            vars,
            heads,
            manifest,
            index,
            scales: &manifest.scales.blocks[index],
        };
        let input = Input::declare(&mut build.system, &vars);
        let h = input.form(&vars);
        let scales = build.scales;
        let (scale, lifts) = (scales.norm1, &scales.lifts1);
        let norm1 = scale.map(|scale| build.norm("norm 1", &h, (scale, lifts), 1));
        let x = norm1.as_ref().map_or(h.clone(), |norm| build.normed(norm));
        let rotary = a
            .rotary(index)
            .map(|turns| Rotary::declare(&mut build.system, &vars, &heads, turns));
        let (query, q) = build.score_side(side::QUERY, &x, rotary.as_ref());
        let (key, k) = build.score_side(side::KEY, &x, rotary.as_ref());
        let value = build.value(&x);
        let attention = build.attention((&q, &k, value));
        let projection = build.projection(&attention);
        let middle = h.clone().plus(projection.output(&vars));
        let read = if a.order.parallel() {
            h
        } else {
            middle.clone()
        };
        let (scale, lifts) = (scales.norm2, &scales.lifts2);
        let summands = middle_summands(a);
        let norm2 = scale.map(|scale| build.norm("norm 2", &read, (scale, lifts), summands));
        let y = match (&norm2, &norm1) {
            (Some(norm), _) | (None, Some(norm)) => build.normed(norm),
            (None, None) => read,
        };
        let (argument, activation) = build.activation(&y);
        let up = a.gated.then(|| build.up(&y));
        let down = build.down(activation, up);
        let parts = [middle, down.output(&vars)];
        let output = Output::declare(&mut build.system, &vars, &parts);
        Self {
            index,
            tokens,
            parallel: a.order.parallel(),
            bias_shift: build.bias_shift(),
            system: build.system,
            input,
            norm1,
            query,
            key,
            rotary,
            value,
            attention,
            projection,
            norm2,
            argument,
            activation,
            up,
            down,
            output,
        }
    }

    /// The declared system.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// h' for h.
    pub fn run(
        &self,
        weights: &BlockWeights,
        tables: Tables,
        h: &[i64],
        recorder: &mut Recorder,
    ) -> Result<Vec<i64>, RunError> {
        self.forward(weights, tables, h, recorder)
            .map_err(RunError::overflow(LayerKind::Block(self.index)))
    }

    fn forward(
        &self,
        w: &BlockWeights,
        tables: Tables,
        h: &[i64],
        recorder: &mut Recorder,
    ) -> Result<Vec<i64>, Overflow> {
        let tokens = self.tokens;
        self.input.run(h, recorder)?;
        let normed = self.norm1.as_ref().map(|norm| norm.run(h, recorder));
        let normed = normed.transpose()?;
        let x = normed.as_deref().unwrap_or(h);
        let rotary = self.rotary.as_ref();
        let acc = accumulate(x, tokens, &w.query, &w.query_bias, 0)?;
        let q = self
            .query
            .run(acc, (&w.query_gain, tokens), rotary, recorder)?;
        let acc = accumulate(x, tokens, &w.key, &w.key_bias, 0)?;
        let k = self.key.run(acc, (&w.key_gain, tokens), rotary, recorder)?;
        let v = accumulate(x, tokens, &w.value, &w.value_bias, 0)?;
        recorder.exact(self.value, v.iter().copied());
        let heads = self.attention.run((&q, &k, &v), tokens, tables, recorder)?;
        let acc = accumulate(&heads, tokens, &w.output, &w.output_bias, self.bias_shift)?;
        let a = self
            .projection
            .run(&acc, &w.attention_gain, tokens, recorder)?;

        let middle: Vec<i64> = h.iter().zip(&a).map(|(h, a)| h + a).collect();
        let read = if self.parallel { h } else { &middle };
        let own = self.norm2.as_ref().map(|norm| norm.run(read, recorder));
        let own = own.transpose()?;
        let y = own.as_deref().or(normed.as_deref()).unwrap_or(read);
        let acc = self.feed_forward(w, tables, y, recorder)?;
        let b = self
            .down
            .run(&acc, &w.feed_forward_gain, tokens, recorder)?;
        self.output.run(&[&middle, &b])
    }

    /// The accumulator of the down projection.
    fn feed_forward(
        &self,
        w: &BlockWeights,
        tables: Tables,
        y: &[i64],
        recorder: &mut Recorder,
    ) -> Result<Vec<i128>, Overflow> {
        let tokens = self.tokens;
        let up = accumulate(y, tokens, &w.up, &w.up_bias, 0)?;
        let (Some(gate), Some(column)) = (&w.gate, self.up) else {
            let g = self.activate(&up, tables, recorder)?;
            return accumulate(&g, tokens, &w.down, &w.down_bias, 0);
        };
        recorder.exact(column, up.iter().copied());
        let argument = accumulate(y, tokens, gate, &w.gate_bias, 0)?;
        let g = self.activate(&argument, tables, recorder)?;
        accumulate(&products(&g, &up)?, tokens, &w.down, &w.down_bias, 0)
    }

    /// The activation's values at its rounded arguments.
    fn activate(
        &self,
        argument: &[i128],
        tables: Tables,
        recorder: &mut Recorder,
    ) -> Result<Vec<i64>, Overflow> {
        let keys = self.argument.run(argument, recorder)?;
        let g: Vec<i64> = keys.iter().map(|k| lookup(tables.activation, *k)).collect();
        recorder.exact(self.activation, g.iter().copied());
        Ok(g)
    }
}

/// g∘up.
fn products(g: &[i64], up: &[i128]) -> Result<Vec<i128>, Overflow> {
    let product = |(g, up): (&i64, &i128)| {
        up.checked_mul(i128::from(*g)).ok_or_else(|| Overflow {
            tensor: "the gated activation".into(),
            value: *up,
            least: i128::MIN >> 64,
            most: i128::MAX >> 64,
        })
    };
    g.iter().zip(up).map(product).collect()
}

/// A linear map of a block: what it is called, its matrix's number, its bias.
type Map = (&'static str, usize, Vector);

impl Builder<'_> {
    fn norm(
        &mut self,
        name: &str,
        x: &Form,
        (scale, lifts): (NormScale, &[u8]),
        summands: u32,
    ) -> Norm {
        let (a, s) = (&self.manifest.architecture, &self.manifest.scales);
        let shape = norm_shape(a, s, scale, summands).expect("the manifest was checked");
        let shape = shape.lifted(lifts);
        let site = NormSite::stream(&self.vars, a.width);
        Norm::declare(&mut self.system, name, &site, x, shape)
    }

    /// Declares a map's weights.
    fn weights(&mut self, (name, matrix, bias): Map, from: Features, to: Features) -> Linear {
        let bias = bias.number(&self.manifest.architecture);
        Linear::declare(&mut self.system, name, (matrix, bias), from, to)
    }

    /// Declares weights and their product with one input, plus the bias.
    fn linear(&mut self, map: Map, (from, to): (Features, Features), x: &Form) -> Accumulator {
        let linear = self.weights(map, from, to);
        linear.accumulator(&[], vec![x.clone()], F::one())
    }

    /// A tensor of the block's tokens.
    fn site(&self, features: Features) -> Site {
        features.site((self.vars.token, self.vars.tokens))
    }

    /// An accumulator rounded to `digits` digits.
    fn rescaled(
        &mut self,
        name: &str,
        digits: u32,
        shift: u32,
        accumulator: Accumulator,
        site: &Site,
    ) -> (Rescaled, Digits) {
        let quotient = Digits::signed(&mut self.system, name, &site.lens, digits);
        let rescaled = Rescaled::declare(
            &mut self.system,
            name,
            Rescale::new(shift),
            quotient.clone(),
            accumulator,
            site,
        );
        (rescaled, quotient)
    }

    /// A norm's output as what a linear layer contracts.
    fn normed(&self, z: &Norm) -> Form {
        z.output().form(&self.vars.input.binds(self.vars.token))
    }

    /// An exact projection.
    fn exact(&mut self, name: &str, accumulator: Accumulator, to: Features) -> ColumnId {
        let token = (self.vars.token, self.vars.tokens);
        Linear::exact(&mut self.system, name, accumulator, to, token)
    }

    fn value(&mut self, x: &Form) -> ColumnId {
        let to = self.heads.keys_output;
        let map = ("value", 2, Vector::ValueBias);
        let accumulator = self.linear(map, (self.vars.input, to), x);
        self.exact("value", accumulator, to)
    }

    fn attention(&mut self, qkv: (&Digits, &Digits, ColumnId)) -> Attention {
        let s = &self.manifest.scales;
        let window = self.manifest.architecture.attending(self.index).window;
        let shape = AttentionShape {
            sigma: sigma(self.scales).expect("the manifest was checked"),
            exp: s.exp,
            inverse: s.inverse,
            window: window.map(|n| n as usize),
        };
        Attention::declare(&mut self.system, (&self.vars, &self.heads), qkv, shape)
    }

    /// By how many bits the output bias is scaled up to its accumulator.
    fn bias_shift(&self) -> u32 {
        let s = &self.manifest.scales;
        s.output_accumulator(self.index) - s.output_bias
    }

    /// The heads' sums, normalized, to the attention's output.
    fn projection(&mut self, attention: &Attention) -> Branch {
        let (from, to) = (self.heads.queries, self.vars.output);
        let linear = self.weights(("projection", 3, Vector::OutputBias), from, to);
        let accumulator = linear.accumulator(
            &[self.vars.token],
            attention.output(&self.vars),
            pow2(self.bias_shift()),
        );
        let s = &self.manifest.scales;
        let shift = s.output_accumulator(self.index) - s.residual;
        let norm = self.scales.attention_norm;
        self.branch(
            "attention",
            (accumulator, shift),
            (norm, Vector::AttentionGain),
        )
    }

    /// What the feed-forward part reads to the activation's key; also the column of its values.
    fn activation(&mut self, y: &Form) -> (Rescaled, ColumnId) {
        let to = self.vars.wide_output;
        let map = match self.manifest.architecture.gated {
            true => ("gate", 6, Vector::GateBias),
            false => UP,
        };
        let accumulator = self.linear(map, (self.vars.input, to), y);
        let site = self.site(to);
        let name = "activation key";
        let (key, value) = Digits::activation_key(&mut self.system, name, "activation", &site.lens);
        let s = &self.manifest.scales;
        let shift = s.up_accumulator(self.index) - s.activation_key;
        let rescale = Rescale::new(shift);
        let rescaled = Rescaled::declare(&mut self.system, name, rescale, key, accumulator, &site);
        (rescaled, value)
    }

    /// The exact up projection of a gated activation.
    fn up(&mut self, y: &Form) -> ColumnId {
        let to = self.vars.wide_output;
        let accumulator = self.linear(UP, (self.vars.input, to), y);
        self.exact("up", accumulator, to)
    }

    /// The activation's values, times `up` where they are gated, to the feed-forward output.
    fn down(&mut self, activation: ColumnId, up: Option<ColumnId>) -> Branch {
        let (from, to, token) = (self.vars.wide, self.vars.output, self.vars.token);
        let columns = [activation].into_iter().chain(up);
        let factors: Vec<Form> = columns.map(|c| Form::of(from.view(c, token))).collect();
        // A product of two activations is no multilinear extension at τ: the token is checked.
        let check: &[_] = if up.is_some() { &[token] } else { &[] };
        let linear = self.weights(("down", 5, Vector::DownBias), from, to);
        let accumulator = linear.accumulator(check, factors, F::one());
        let (a, s) = (&self.manifest.architecture, &self.manifest.scales);
        let shift = s.down_accumulator(a, self.index) - s.residual;
        let norm = self.scales.feed_forward_norm;
        self.branch(
            "feed-forward",
            (accumulator, shift),
            (norm, Vector::FeedForwardGain),
        )
    }
}

const UP: Map = ("up", 4, Vector::UpBias);
