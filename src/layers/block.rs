//! A transformer block.
//!
//! ```text
//! z₁ = norm(h);        q, k = round(z₁·W + b),   v = z₁·W_v + b_v
//! a  = round(attention(q, k, v)·W_o + b_o)
//! z₂ = norm(h + a);    g = activation(round(z₂·W_up + b_up))
//! b  = round(g·W_down + b_down)
//! h' = h + a + b
//! ```
//!
//! The norms' gains and biases are folded into the next linear layers.

use super::{LayerKind, LayerWeights, RunError};
use crate::algebra::{F, pow2};
use crate::ops::{
    Accumulator, Attention, AttentionScale, Digits, EXP_FRACTION, Features, Input, LANES, Linear,
    Norm, NormShape, Output, Overflow, Recorder, Rescale, Rescaled, Tables, Vars, accumulate,
    lookup,
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
    query: Rescaled,
    key: Rescaled,
    value: ColumnId,
    attention: Attention,
    projection: Rescaled,
    norm2: Norm,
    up: Rescaled,
    activation: ColumnId,
    down: Rescaled,
    output: Output,
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
    NormShape::new(a.width, 30 + summands, s.residual, a.epsilon(), scale)
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
    LayerWeights {
        vectors: vec![
            &w.query_bias,
            &w.key_bias,
            &w.value_bias,
            &w.output_bias,
            &w.up_bias,
            &w.down_bias,
        ],
        matrices: vec![&w.query, &w.key, &w.value, &w.output, &w.up, &w.down],
    }
}

/// A block under construction.
struct Builder<'a> {
    system: System,
    vars: Vars,
    manifest: &'a Manifest,
    scales: &'a BlockScales,
}

impl Block {
    /// Declares block `index` of a manifest that [`super::check`] accepts, for T' tokens.
    /// Vectors and matrices 0 to 5 are query, key, value, output, up, down.
    pub fn new(manifest: &Manifest, index: usize, tokens: usize) -> Self {
        let a = &manifest.architecture;
        let mut system = System::default();
        let vars = Vars::block(&mut system, a.width, a.hidden, tokens);
        let mut build = Builder {
            system,
            vars,
            manifest,
            scales: &manifest.scales.blocks[index],
        };
        let input = Input::declare(&mut build.system, &vars);
        let h = input.form(&vars);
        let norm1 = build.norm("norm 1", &h, build.scales.norm1, 1);
        let (query, q) = build.score_side("query", 0, &norm1, build.scales.q);
        let (key, k) = build.score_side("key", 1, &norm1, build.scales.k);
        let value = build.value(&norm1);
        let attention = build.attention((&q, &k, value));
        let (projection, a) = build.projection(&attention);
        let middle = h.plus(a.form(&vars.input.binds(vars.token)));
        let norm2 = build.norm("norm 2", &middle, build.scales.norm2, 2);
        let (up, activation) = build.up(&norm2);
        let (down, b) = build.down(activation);
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
            value,
            attention,
            projection,
            norm2,
            up,
            activation,
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
        let q = self.query.run(&acc, recorder)?;
        let acc = accumulate(&z, tokens, &w.key, &w.key_bias, 0)?;
        let k = self.key.run(&acc, recorder)?;
        let v = accumulate(&z, tokens, &w.value, &w.value_bias, 0)?;
        recorder.exact(self.value, v.iter().copied());
        let heads = self.attention.run((&q, &k, &v), tokens, tables, recorder)?;
        let acc = accumulate(&heads, tokens, &w.output, &w.output_bias, self.bias_shift)?;
        let a = self.projection.run(&acc, recorder)?;

        let middle: Vec<i64> = h.iter().zip(&a).map(|(h, a)| h + a).collect();
        let z = self.norm2.run(&middle, recorder)?;
        let acc = accumulate(&z, tokens, &w.up, &w.up_bias, 0)?;
        let keys = self.up.run(&acc, recorder)?;
        let g: Vec<i64> = keys.iter().map(|k| lookup(tables.activation, *k)).collect();
        recorder.exact(self.activation, g.iter().copied());
        let acc = accumulate(&g, tokens, &w.down, &w.down_bias, 0)?;
        let b = self.down.run(&acc, recorder)?;
        self.output.run(&[&middle, &b])
    }
}

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
        Linear::declare(&mut self.system, name, number, from, to).accumulator(
            &[],
            vec![x],
            F::one(),
        )
    }

    /// An accumulator rounded to `digits` digits.
    fn rescaled(
        &mut self,
        name: &str,
        digits: u32,
        shift: u32,
        accumulator: Accumulator,
    ) -> (Rescaled, Digits) {
        let (to, tokens) = (self.vars.output, self.vars.tokens);
        let lens = [to.slabs(), tokens, LANES];
        let quotient = Digits::signed(&mut self.system, name, &lens, digits);
        let rescaled = Rescaled::declare(
            &mut self.system,
            name,
            Rescale::new(shift),
            quotient.clone(),
            accumulator,
            to,
            (self.vars.token, tokens),
        );
        (rescaled, quotient)
    }

    /// A norm's output as what a linear layer contracts.
    fn normed(&self, z: &Norm) -> Form {
        z.output().form(&self.vars.input.binds(self.vars.token))
    }

    /// A projection of z₁ to 16 bits at `fraction` fractional bits.
    fn score_side(
        &mut self,
        name: &str,
        number: usize,
        z: &Norm,
        fraction: u32,
    ) -> (Rescaled, Digits) {
        let sides = (self.vars.input, self.vars.output);
        let accumulator = self.linear((name, number), sides, self.normed(z));
        let shift = self.scales.norm1.output + self.manifest.scales.weight - fraction;
        self.rescaled(name, 1, shift, accumulator)
    }

    fn value(&mut self, z: &Norm) -> ColumnId {
        let to = self.vars.output;
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
        Attention::declare(&mut self.system, &self.vars, qkv, scale)
    }

    /// By how many bits the output bias is scaled up to its accumulator.
    fn bias_shift(&self) -> u32 {
        let s = &self.manifest.scales;
        output_fraction(s, self.scales) - s.output_bias
    }

    /// The heads' sums, normalized, to the attention's output.
    fn projection(&mut self, attention: &Attention) -> (Rescaled, Digits) {
        let (from, to) = (self.vars.input, self.vars.output);
        let linear = Linear::declare(&mut self.system, "projection", 3, from, to);
        let accumulator = linear.accumulator(
            &[self.vars.token],
            attention.output(&self.vars),
            pow2(self.bias_shift()),
        );
        let s = &self.manifest.scales;
        let shift = output_fraction(s, self.scales) - s.residual;
        self.rescaled("attention", 2, shift, accumulator)
    }

    /// z₂ to the activation's key; also the column of its values.
    fn up(&mut self, z: &Norm) -> (Rescaled, ColumnId) {
        let to = self.vars.wide_output;
        let accumulator = self.linear(("up", 4), (self.vars.input, to), self.normed(z));
        let lens = [to.slabs(), self.vars.tokens, LANES];
        let (key, value) =
            Digits::activation_key(&mut self.system, "activation key", "activation", &lens);
        let s = &self.manifest.scales;
        let rescaled = Rescaled::declare(
            &mut self.system,
            "activation key",
            Rescale::new(self.scales.norm2.output + s.weight - s.activation_key),
            key,
            accumulator,
            to,
            (self.vars.token, self.vars.tokens),
        );
        (rescaled, value)
    }

    fn down(&mut self, activation: ColumnId) -> (Rescaled, Digits) {
        let (from, to) = (self.vars.wide, self.vars.output);
        let g = Form::of(from.view(activation, self.vars.token));
        let accumulator = self.linear(("down", 5), (from, to), g);
        let s = &self.manifest.scales;
        let shift = s.activation_value + s.weight - s.residual;
        self.rescaled("feed-forward", 2, shift, accumulator)
    }
}
