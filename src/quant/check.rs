//! What a manifest or a model read from a file must obey before anything is computed with it.

use std::ops::RangeInclusive;

use super::bounds::{self, Regime};
use super::scales::{MAX_GAIN, MAX_HEAD_INPUT, MAX_SIGMA, ceil_log2, max_norm_output, min_sigma};
use super::tables::EXP_FRACTION;
use super::{
    Architecture, BlockScales, BlockWeights, HeadNormScale, IntMatrix, IntegerModel, LIMB_BITS,
    MAX_BLOCKS, MAX_ENDS, MAX_KINDS, MAX_LIFT, MAX_LIMBS, Manifest, NormScale, Place, QuantError,
    Scales, Tables,
};

/// The widest head: four slabs.
const MAX_HEAD_WIDTH: usize = 256;

impl Architecture {
    /// Checks that the shape is one that this crate supports and that nothing sized by it
    /// overflows.
    ///
    /// # Errors
    /// [`QuantError::Architecture`], naming the field.
    pub fn check(&self) -> Result<(), QuantError> {
        let sized = |what, value: usize, range: RangeInclusive<usize>, expected| {
            if range.contains(&value) {
                Ok(())
            } else {
                Err(unsupported(what, value, expected))
            }
        };
        sized("number of layers", self.layers, 1..=MAX_BLOCKS, "1 to 1024")?;
        sized("width", self.width, 1..=16384, "1 to 16384")?;
        sized("hidden width", self.hidden, 1..=65536, "1 to 65536")?;
        sized("vocabulary", self.vocabulary, 1..=1 << 20, "1 to 2^20")?;
        sized("context", self.context, 1..=1 << 17, "1 to 2^17")?;
        self.check_heads()?;
        self.check_kinds()?;
        if self.biases.gate && !self.gated {
            return Err(unsupported(
                "bias of the gate",
                "one",
                "none where there is no gate",
            ));
        }
        if !(1e-12..=1.0).contains(&self.epsilon()) {
            return Err(unsupported("epsilon", self.epsilon(), "10^-12 to 1"));
        }
        self.check_ends()
    }
}

impl Architecture {
    /// The tokens that end a text are a set of the vocabulary's.
    fn check_ends(&self) -> Result<(), QuantError> {
        let (what, ends) = ("end-of-text token", &self.end_of_text);
        if ends.len() > MAX_ENDS {
            return Err(unsupported(
                "number of end-of-text tokens",
                ends.len(),
                "0 to 64",
            ));
        }
        for (i, token) in ends.iter().enumerate() {
            if *token as usize >= self.vocabulary {
                return Err(unsupported(what, token, "a token of the vocabulary"));
            }
            if ends[..i].contains(token) {
                return Err(unsupported(what, token, "each token once"));
            }
        }
        Ok(())
    }

    fn check_heads(&self) -> Result<(), QuantError> {
        if !(1..=MAX_HEAD_WIDTH).contains(&self.head_width) {
            return Err(unsupported("head width", self.head_width, "1 to 256"));
        }
        if !(1..=1 << 10).contains(&self.heads) {
            return Err(unsupported("number of heads", self.heads, "1 to 1024"));
        }
        // 0 divides no number of heads.
        if !self.heads.is_multiple_of(self.kv_heads) {
            let expected = "a divisor of the number of heads";
            return Err(unsupported("number of key heads", self.kv_heads, expected));
        }
        Ok(())
    }

    /// Each block is of some kind, and kinds rotate all pairs of a head's lanes or none.
    fn check_kinds(&self) -> Result<(), QuantError> {
        let kinds = self.kinds.len();
        if !(1..=MAX_KINDS).contains(&kinds) {
            return Err(unsupported("number of kinds of attention", kinds, "1 to 4"));
        }
        let known = |kind: &u8| usize::from(*kind) < kinds;
        if self.kind_of.len() != self.layers || !self.kind_of.iter().all(known) {
            let expected = "one for each block";
            return Err(unsupported(
                "kinds of the blocks' attention",
                "others",
                expected,
            ));
        }
        for kind in &self.kinds {
            if ![0, self.head_lanes() / 2].contains(&kind.turns.len()) {
                let expected = "one for each pair of a head's lanes, or none";
                return Err(unsupported(
                    "number of rotations",
                    kind.turns.len(),
                    expected,
                ));
            }
            if kind.window == Some(0) {
                return Err(unsupported("window", 0, "1 or more"));
            }
        }
        Ok(())
    }
}

fn unsupported(what: &'static str, found: impl ToString, expected: &'static str) -> QuantError {
    QuantError::Architecture {
        what,
        found: found.to_string(),
        expected,
    }
}

fn within(what: &'static str, found: u32, range: RangeInclusive<u32>) -> Result<(), QuantError> {
    if range.contains(&found) {
        Ok(())
    } else {
        Err(QuantError::Scale {
            what,
            found,
            low: *range.start(),
            high: *range.end(),
        })
    }
}

impl Scales {
    /// Checks every scale, such that no shift, table or limb count derived from them overflows.
    ///
    /// # Errors
    /// [`QuantError::Scale`], naming the scale.
    pub fn check(&self, architecture: &Architecture) -> Result<(), QuantError> {
        let normalizer = self.exp.saturating_add(ceil_log2(architecture.context));
        within("the residual stream", self.residual, 0..=16)?;
        within("the weights", self.weight, self.residual..=20)?;
        within("exp", self.exp, 8..=22)?;
        within("the inverse", self.inverse, normalizer + 1..=60)?;
        within("the activation's key", self.activation_key, 4..=14)?;
        within(
            "the activation",
            self.activation_value,
            self.activation_key..=24,
        )?;
        within("the final gain", self.final_gain, 0..=MAX_GAIN)?;
        within("the gains", self.gain, 0..=MAX_GAIN)?;
        check_norm(&self.final_norm, architecture.width)?;
        check_lifts(&self.final_lifts, architecture.width)?;
        if self.blocks.len() != architecture.layers {
            let expected = "the number of layers";
            return Err(unsupported(
                "number of blocks' scales",
                self.blocks.len(),
                expected,
            ));
        }
        self.blocks
            .iter()
            .enumerate()
            .try_for_each(|(index, block)| self.check_block(index, block, architecture))
    }

    fn check_block(
        &self,
        index: usize,
        block: &BlockScales,
        architecture: &Architecture,
    ) -> Result<(), QuantError> {
        self.check_norms(block, architecture)?;
        let sides = [
            ("the queries", block.q, block.query_norm, architecture.heads),
            ("the keys", block.k, block.key_norm, architecture.kv_heads),
        ];
        for (what, scale, norm, heads) in sides {
            check_head_norm(architecture, heads, norm, self.attention_accumulator(index))?;
            let accumulator = self.score_accumulator(architecture, index, norm);
            within(what, scale, 0..=accumulator)?;
        }
        let least = min_sigma(architecture.head_lanes());
        let sum = least + EXP_FRACTION..=MAX_SIGMA + EXP_FRACTION;
        within("queries and keys together", block.q + block.k, sum)?;
        let up = self.up_accumulator(index);
        within("the activation's key", self.activation_key, 0..=up)?;
        let output = self.output_accumulator(index);
        let most = self.residual + LIMB_BITS * MAX_LIMBS as u32;
        within("the output bias", self.output_bias, 0..=output)?;
        within("the attention's output", output, self.residual..=most)
    }
}

impl Scales {
    /// A block has the norms of its order.
    fn check_norms(
        &self,
        block: &BlockScales,
        architecture: &Architecture,
    ) -> Result<(), QuantError> {
        let ([first, second], behind) = (architecture.order.before(), architecture.order.behind());
        let norms = [
            (block.norm1, first),
            (block.norm2, second),
            (block.attention_norm, behind),
            (block.feed_forward_norm, behind),
        ];
        for (norm, expected) in norms {
            if norm.is_some() != expected {
                return Err(unsupported(
                    "norms of a block",
                    "others",
                    "those of its order",
                ));
            }
            norm.map_or(Ok(()), |norm| check_norm(&norm, architecture.width))?;
        }
        for (lifts, there) in [(&block.lifts1, first), (&block.lifts2, second)] {
            check_lifts(lifts, if there { architecture.width } else { 0 })?;
        }
        Ok(())
    }
}

/// The norm of queries or keys is there where the architecture has one.
fn check_head_norm(
    architecture: &Architecture,
    heads: usize,
    scale: Option<HeadNormScale>,
    projected: u32,
) -> Result<(), QuantError> {
    match (scale, architecture.head_norm_size(heads)) {
        (None, None) => Ok(()),
        (Some(scale), Some(size)) => {
            let most = projected.min(MAX_HEAD_INPUT);
            within("queries or keys before their norm", scale.input, 0..=most)?;
            check_norm(&scale.norm, size.width)
        }
        _ => Err(unsupported(
            "norms of queries and keys",
            "others",
            "as the architecture says",
        )),
    }
}

fn check_norm(norm: &NormScale, width: usize) -> Result<(), QuantError> {
    within("a norm's output", norm.output, 1..=max_norm_output(width))?;
    let (short, long) = (norm.output + 32, norm.output + 48);
    if norm.root == short {
        return Ok(());
    }
    within("a norm's root", norm.root, long..=long)
}

/// Lifts are of all channels, of which some is lifted, or there are none.
fn check_lifts(lifts: &[u8], width: usize) -> Result<(), QuantError> {
    if lifts.is_empty() {
        return Ok(());
    }
    if lifts.len() != width || lifts.iter().all(|t| *t == 0) {
        let expected = "one of each of the norm's channels, not all 0";
        return Err(unsupported("lifts of a norm", lifts.len(), expected));
    }
    let largest = lifts.iter().copied().max().unwrap_or(0);
    within("a channel's lift", largest.into(), 0..=MAX_LIFT.into())
}

impl Manifest {
    /// Checks shape and scales, and that no relation can wrap around the field at them. Every
    /// function of this crate that takes an architecture or scales presumes this check.
    ///
    /// # Errors
    /// [`QuantError`], naming what is out of range.
    pub fn check(&self) -> Result<(), QuantError> {
        self.architecture.check()?;
        self.scales.check(&self.architecture)?;
        bounds::check_field(&self.architecture, &self.scales)
    }

    /// Builds the lookup tables of a checked manifest.
    ///
    /// # Errors
    /// [`QuantError::TableDigest`] where they are not the ones the manifest names.
    pub fn build_tables(&self) -> Result<Tables, QuantError> {
        let tables = Tables::new(&self.scales, self.architecture.activation);
        if tables.digest() == self.tables {
            Ok(tables)
        } else {
            Err(QuantError::TableDigest)
        }
    }
}

impl IntegerModel {
    /// Checks the manifest, every weight's shape, and that a run fits in 128 bits.
    ///
    /// # Errors
    /// [`QuantError`], naming the tensor or the quantity.
    pub fn check(&self) -> Result<(), QuantError> {
        self.manifest.check()?;
        let architecture = &self.manifest.architecture;
        let scales = &self.manifest.scales;
        let (d, vocabulary) = (architecture.stream(), architecture.vocabulary);
        check_matrix(Place::Embedding, "tokens", &self.tokens, d, vocabulary)?;
        let context = architecture.context;
        if self.positions.is_some() != architecture.learned_positions {
            let expected = "stored exactly where they are learned";
            return Err(unsupported("positions", "inconsistent", expected));
        }
        if let Some(positions) = &self.positions {
            check_matrix(Place::Embedding, "positions", positions, d, context)?;
        }
        if self.blocks.len() != architecture.layers {
            let expected = "the number of layers";
            return Err(unsupported("number of blocks", self.blocks.len(), expected));
        }
        for (index, block) in self.blocks.iter().enumerate() {
            block.check(Place::Block(index), architecture)?;
            let size = bounds::BlockSize::of(block);
            let bounds = bounds::block(architecture, scales, index, &size, Regime::Run);
            bounds::check(Place::Block(index), Regime::Run, &bounds)?;
        }
        let head = &self.head;
        let or_none = |there: bool, len: usize| if there { len } else { 0 };
        let bias = or_none(architecture.biases.final_norm, d);
        let logits = or_none(architecture.biases.head, vocabulary);
        check_len(Place::Head, "final gain", head.gain.len(), d)?;
        check_len(Place::Head, "final bias", head.bias.len(), bias)?;
        check_len(Place::Head, "head bias", head.logit_bias.len(), logits)?;
        if self.head.matrix.is_none() != architecture.tied {
            let expected = "of its own exactly where it is not tied to the embedding";
            return Err(unsupported("head", "inconsistent", expected));
        }
        if let Some(matrix) = &self.head.matrix {
            check_matrix(Place::Head, "head", matrix, d, vocabulary)?;
        }
        let size = bounds::HeadSize::of(&self.head, &self.tokens);
        let bounds = bounds::head(architecture, scales, &size, Regime::Run);
        bounds::check(Place::Head, Regime::Run, &bounds)
    }
}

impl BlockWeights {
    fn check(&self, place: Place, architecture: &Architecture) -> Result<(), QuantError> {
        let a = architecture;
        let (d, hidden) = (a.stream(), a.hidden_lanes());
        let (queries, keys) = (a.query_lanes(), a.key_lanes());
        let (biases, gate) = (a.biases, self.gate.as_ref());
        let maps = [
            (
                "query",
                Some(&self.query),
                &self.query_bias,
                biases.query,
                d,
                queries,
            ),
            ("key", Some(&self.key), &self.key_bias, biases.key, d, keys),
            (
                "value",
                Some(&self.value),
                &self.value_bias,
                biases.value,
                d,
                keys,
            ),
            (
                "output",
                Some(&self.output),
                &self.output_bias,
                biases.output,
                queries,
                d,
            ),
            ("gate", gate, &self.gate_bias, biases.gate, d, hidden),
            ("up", Some(&self.up), &self.up_bias, biases.up, d, hidden),
            (
                "down",
                Some(&self.down),
                &self.down_bias,
                biases.down,
                hidden,
                d,
            ),
        ];
        if gate.is_some() != a.gated {
            let expected = "present exactly where the activation is gated";
            return Err(unsupported("gate", "inconsistent", expected));
        }
        for (tensor, matrix, bias, biased, inputs, outputs) in maps {
            matrix.map_or(Ok(()), |m| check_matrix(place, tensor, m, inputs, outputs))?;
            check_len(place, tensor, bias.len(), if biased { outputs } else { 0 })?;
        }
        let behind = if a.order.behind() { d } else { 0 };
        let of_heads = |heads| a.head_norm_size(heads).map_or(0, |size| size.lanes);
        let gains = [
            ("query gain", &self.query_gain, of_heads(a.heads)),
            ("key gain", &self.key_gain, of_heads(a.kv_heads)),
            ("attention gain", &self.attention_gain, behind),
            ("feed-forward gain", &self.feed_forward_gain, behind),
        ];
        gains
            .into_iter()
            .try_for_each(|(tensor, gain, len)| check_len(place, tensor, gain.len(), len))
    }
}

fn check_matrix(
    place: Place,
    tensor: &'static str,
    matrix: &IntMatrix,
    inputs: usize,
    outputs: usize,
) -> Result<(), QuantError> {
    check_len(place, tensor, matrix.inputs, inputs)?;
    check_len(place, tensor, matrix.outputs, outputs)?;
    check_len(place, tensor, matrix.data.len(), inputs * outputs)
}

fn check_len(
    place: Place,
    tensor: &'static str,
    found: usize,
    expected: usize,
) -> Result<(), QuantError> {
    if found == expected {
        Ok(())
    } else {
        Err(QuantError::Shape {
            place,
            tensor,
            expected,
            found,
        })
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
