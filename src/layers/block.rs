//! A transformer block.
//!
//! ```text
//! z₁ = norm(h);        q, k = round([rotate](z₁·W + b)),   v = z₁·W_v + b_v
//! a  = round(attention(q, k, v)·W_o + b_o)
//! z₂ = norm(h + a);    g = activation(round(z₂·W_up + b_up))
//!                 or   g = activation(round(z₂·W_gate)) ∘ (z₂·W_up)
//! b  = round(g·W_down + b_down)
//! h' = h + a + b
//! ```
//!
//! The norms' gains and biases are folded into the next linear layers. A gate's product is no
//! column: the down projection takes both factors.

use super::{LayerKind, LayerWeights, RunError};
use crate::algebra::{F, pow2};
use crate::ops::{
    Accumulator, Attention, AttentionScale, Digits, EXP_FRACTION, Features, Heads, Input, Linear,
    Norm, NormShape, Output, Overflow, Recorder, Rescale, Rescaled, Rotary, Site, Tables, Vars,
    accumulate, lookup, multiply,
};
use crate::quant::{Architecture, BlockScales, BlockWeights, Manifest, NormScale, Scales};
use crate::system::{ColumnId, Form, System};

/// The declared block.
#[derive(Clone, Debug)]
pub struct Block {
    index: usize,
    tokens: usize,
    /// By how many bits the output projection's bias is scaled up.
    bias_shift: u32,
    system: System,
    input: Input,
    norm1: Norm,
    query: ScoreSide,
    key: ScoreSide,
    rotary: Option<Rotary>,
    value: ColumnId,
    attention: Attention,
    projection: Rescaled,
    norm2: Norm,
    argument: Rescaled,
    activation: ColumnId,
    /// The up projection, exact, where it is not the activation's argument.
    up: Option<ColumnId>,
    down: Rescaled,
    output: Output,
}

/// Queries or keys.
#[derive(Clone, Debug)]
struct ScoreSide {
    /// The projection itself, where it is rotated.
    projected: Option<ColumnId>,
    rescaled: Rescaled,
}

/// The system of block `index` for T' tokens.
pub fn block_system(manifest: &Manifest, index: usize, tokens: usize) -> System {
    Block::new(manifest, index, tokens).system
}

/// The constants of a block's first or second norm, whose inputs have `summands` 32-bit parts.
pub(super) fn norm_shape(
    a: &Architecture,
    s: &Scales,
    scale: NormScale,
    summands: u32,
) -> Option<NormShape> {
    NormShape::new(
        (a.norm, a.width),
        30 + summands,
        s.residual,
        a.epsilon(),
        scale,
    )
}

/// σ = f_q + f_k − 11, if it is in 1 to 16.
pub(super) fn sigma(b: &BlockScales) -> Option<u32> {
    let sigma = b.q.checked_add(b.k)?.checked_sub(EXP_FRACTION)?;
    (1..=16).contains(&sigma).then_some(sigma)
}

/// Fractional bits of the output projection's accumulator: those of n, V and W_o.
pub(super) fn output_fraction(s: &Scales, b: &BlockScales) -> u32 {
    s.inverse + b.norm1.output + 2 * s.weight
}

/// A block's weights in the order of their numbers.
pub(super) fn weights(w: &BlockWeights) -> LayerWeights<'_> {
    let biases = [
        &w.query_bias,
        &w.key_bias,
        &w.value_bias,
        &w.output_bias,
        &w.up_bias,
        &w.down_bias,
    ];
    let matrices = [&w.query, &w.key, &w.value, &w.output, &w.up, &w.down];
    LayerWeights {
        vectors: biases
            .into_iter()
            .filter(|b| !b.is_empty())
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
    /// Matrices 0 to 5, and vectors where there are biases, are query, key, value, output, up, down;
    /// matrix 6 is the gate.
    pub fn new(manifest: &Manifest, index: usize, tokens: usize) -> Self {
        let a = &manifest.architecture;
        let mut system = System::default();
        let vars = Vars::block(&mut system, a.width, a.hidden, tokens);
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
        let norm1 = build.norm("norm 1", &h, build.scales.norm1, 1);
        let rotary = a
            .rotary()
            .map(|turns| Rotary::declare(&mut build.system, &vars, &heads, turns));
        let (query, q) = build.score_side(QUERY, &norm1, rotary.as_ref());
        let (key, k) = build.score_side(KEY, &norm1, rotary.as_ref());
        let value = build.value(&norm1);
        let attention = build.attention((&q, &k, value));
        let (projection, a) = build.projection(&attention);
        let middle = h.plus(a.form(&vars.input.binds(vars.token)));
        let norm2 = build.norm("norm 2", &middle, build.scales.norm2, 2);
        let (argument, activation) = build.activation(&norm2);
        let gated = manifest.architecture.gated;
        let up = gated.then(|| build.up(&norm2));
        let (down, b) = build.down(activation, up);
        let b = b.form(&vars.input.binds(vars.token));
        let output = Output::declare(&mut build.system, &vars, &[middle, b]);
        Self {
            index,
            tokens,
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
        let z = self.norm1.run(h, recorder)?;
        let acc = accumulate(&z, tokens, &w.query, &w.query_bias, 0)?;
        let q = self.score_side(&self.query, acc, recorder)?;
        let acc = accumulate(&z, tokens, &w.key, &w.key_bias, 0)?;
        let k = self.score_side(&self.key, acc, recorder)?;
        let v = accumulate(&z, tokens, &w.value, &w.value_bias, 0)?;
        recorder.exact(self.value, v.iter().copied());
        let heads = self.attention.run((&q, &k, &v), tokens, tables, recorder)?;
        let acc = accumulate(&heads, tokens, &w.output, &w.output_bias, self.bias_shift)?;
        let a = self.projection.run(&acc, recorder)?;

        let middle: Vec<i64> = h.iter().zip(&a).map(|(h, a)| h + a).collect();
        let z = self.norm2.run(&middle, recorder)?;
        let up = accumulate(&z, tokens, &w.up, &w.up_bias, 0)?;
        let acc = match (&w.gate, self.up) {
            (Some(gate), Some(column)) => {
                recorder.exact(column, up.iter().copied());
                let argument = multiply(&z, tokens, gate)?;
                let g = self.activate(&argument, tables, recorder)?;
                accumulate(&products(&g, &up)?, tokens, &w.down, &w.down_bias, 0)?
            }
            _ => {
                let g = self.activate(&up, tables, recorder)?;
                accumulate(&g, tokens, &w.down, &w.down_bias, 0)?
            }
        };
        let b = self.down.run(&acc, recorder)?;
        self.output.run(&[&middle, &b])
    }

    /// Queries or keys from their projection.
    fn score_side(
        &self,
        side: &ScoreSide,
        acc: Vec<i128>,
        recorder: &mut Recorder,
    ) -> Result<Vec<i64>, Overflow> {
        match (&self.rotary, side.projected) {
            (Some(rotary), Some(column)) => {
                recorder.exact(column, acc.iter().copied());
                side.rescaled.run(&rotary.run(&acc), recorder)
            }
            _ => side.rescaled.run(&acc, recorder),
        }
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

/// What queries and keys are called, and the numbers of their weights.
const QUERY: (&str, usize) = ("query", 0);
const KEY: (&str, usize) = ("key", 1);

impl Builder<'_> {
    fn norm(&mut self, name: &str, x: &Form, scale: NormScale, summands: u32) -> Norm {
        let (a, s) = (&self.manifest.architecture, &self.manifest.scales);
        let shape = norm_shape(a, s, scale, summands).expect("the manifest was checked");
        Norm::declare(&mut self.system, name, &self.vars, x, shape)
    }

    /// Declares weights and their product with one input, plus the bias.
    fn linear(
        &mut self,
        (name, number): (&str, usize),
        (from, to): (Features, Features),
        x: Form,
    ) -> Accumulator {
        let biased = self.manifest.architecture.biased();
        Linear::declare(&mut self.system, name, (number, biased), from, to).accumulator(
            &[],
            vec![x],
            F::one(),
        )
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

    /// A projection of z₁, rotated or not, to 16 bits.
    fn score_side(
        &mut self,
        side: (&'static str, usize),
        z: &Norm,
        rotary: Option<&Rotary>,
    ) -> (ScoreSide, Digits) {
        let (to, fraction) = if side == QUERY {
            (self.vars.output, self.scales.q)
        } else {
            (self.heads.keys_output, self.scales.k)
        };
        let name = side.0;
        let accumulator = self.linear(side, (self.vars.input, to), self.normed(z));
        let rotation = self.manifest.architecture.rotation();
        let shift = self.scales.norm1.output + self.manifest.scales.weight + rotation - fraction;
        let mut projected = None;
        let (accumulator, site) = match rotary {
            None => (accumulator, self.site(to)),
            Some(rotary) => {
                let token = (self.vars.token, self.vars.tokens);
                let exact = format!("{name} before rotation");
                let column = Linear::exact(&mut self.system, &exact, accumulator, to, token);
                projected = Some(column);
                let of = rotary.heads(&mut self.system, name, to.slabs());
                (rotary.accumulator(of, column), rotary.site(of))
            }
        };
        let (rescaled, quotient) = self.rescaled(name, 1, shift, accumulator, &site);
        (
            ScoreSide {
                projected,
                rescaled,
            },
            quotient,
        )
    }

    fn value(&mut self, z: &Norm) -> ColumnId {
        let to = self.heads.keys_output;
        let accumulator = self.linear(("value", 2), (self.vars.input, to), self.normed(z));
        let token = (self.vars.token, self.vars.tokens);
        Linear::exact(&mut self.system, "value", accumulator, to, token)
    }

    fn attention(&mut self, qkv: (&Digits, &Digits, ColumnId)) -> Attention {
        let s = &self.manifest.scales;
        let scale = AttentionScale {
            sigma: sigma(self.scales).expect("the manifest was checked"),
            exp: s.exp,
            inverse: s.inverse,
        };
        Attention::declare(&mut self.system, (&self.vars, &self.heads), qkv, scale)
    }

    /// By how many bits the output bias is scaled up to its accumulator.
    fn bias_shift(&self) -> u32 {
        let s = &self.manifest.scales;
        output_fraction(s, self.scales) - s.output_bias
    }

    /// The heads' sums, normalized, to the attention's output.
    fn projection(&mut self, attention: &Attention) -> (Rescaled, Digits) {
        let (from, to) = (self.heads.queries, self.vars.output);
        let biased = self.manifest.architecture.biased();
        let linear = Linear::declare(&mut self.system, "projection", (3, biased), from, to);
        let accumulator = linear.accumulator(
            &[self.vars.token],
            attention.output(&self.vars),
            pow2(self.bias_shift()),
        );
        let s = &self.manifest.scales;
        let shift = output_fraction(s, self.scales) - s.residual;
        self.rescaled("attention", 2, shift, accumulator, &self.site(to))
    }

    /// z₂ to the activation's key; also the column of its values.
    fn activation(&mut self, z: &Norm) -> (Rescaled, ColumnId) {
        let to = self.vars.wide_output;
        let sides = (self.vars.input, to);
        let accumulator = if self.manifest.architecture.gated {
            self.linear(("gate", 6), sides, self.normed(z))
        } else {
            self.linear(("up", 4), sides, self.normed(z))
        };
        let site = self.site(to);
        let name = "activation key";
        let (key, value) = Digits::activation_key(&mut self.system, name, "activation", &site.lens);
        let s = &self.manifest.scales;
        let shift = self.scales.norm2.output + s.weight - s.activation_key;
        let rescale = Rescale::new(shift);
        let rescaled = Rescaled::declare(&mut self.system, name, rescale, key, accumulator, &site);
        (rescaled, value)
    }

    /// The exact up projection of a gated activation.
    fn up(&mut self, z: &Norm) -> ColumnId {
        let to = self.vars.wide_output;
        let accumulator = self.linear(("up", 4), (self.vars.input, to), self.normed(z));
        let token = (self.vars.token, self.vars.tokens);
        Linear::exact(&mut self.system, "up", accumulator, to, token)
    }

    /// The activation's values, times `up` where they are gated, to the feed-forward output.
    fn down(&mut self, activation: ColumnId, up: Option<ColumnId>) -> (Rescaled, Digits) {
        let (from, to, token) = (self.vars.wide, self.vars.output, self.vars.token);
        let columns = [activation].into_iter().chain(up);
        let factors: Vec<Form> = columns.map(|c| Form::of(from.view(c, token))).collect();
        // A product of two activations is no multilinear extension at τ: the token is checked.
        let check: &[_] = if up.is_some() { &[token] } else { &[] };
        let biased = self.manifest.architecture.biased();
        let linear = Linear::declare(&mut self.system, "down", (5, biased), from, to);
        let accumulator = linear.accumulator(check, factors, F::one());
        let (a, s) = (&self.manifest.architecture, &self.manifest.scales);
        let shift = s.down_accumulator(a, self.index) - s.residual;
        self.rescaled("feed-forward", 2, shift, accumulator, &self.site(to))
    }
}
