//! What a manifest or a model read from a file must obey before anything is computed with it.

use std::ops::RangeInclusive;

use super::bounds::{self, Regime};
use super::scales::{MAX_SIGMA, ceil_log2, max_norm_output, min_sigma};
use super::tables::EXP_FRACTION;
use super::{
    Architecture, BlockScales, BlockWeights, IntMatrix, IntegerModel, LIMB_BITS, MAX_BLOCKS,
    MAX_ENDS, MAX_LIMBS, Manifest, NormKind, NormScale, Place, QuantError, Scales, Tables,
};

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
        sized("width", self.width, 64..=16384, "64 to 16384")?;
        sized("hidden width", self.hidden, 64..=65536, "64 to 65536")?;
        sized("vocabulary", self.vocabulary, 1..=1 << 20, "1 to 2^20")?;
        sized("context", self.context, 1..=1 << 17, "1 to 2^17")?;
        self.check_heads()?;
        if !self.hidden.is_multiple_of(64) {
            return Err(unsupported("hidden width", self.hidden, "a multiple of 64"));
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

    /// Heads, and that they, the norm, the positions and the gate are those of one kind of model.
    fn check_heads(&self) -> Result<(), QuantError> {
        if ![64, 128].contains(&self.head_width) {
            return Err(unsupported("head width", self.head_width, "64 or 128"));
        }
        if self.heads.checked_mul(self.head_width) != Some(self.width) {
            let expected = "the width divided by the head width";
            return Err(unsupported("number of heads", self.heads, expected));
        }
        // 0 divides no number of heads.
        if !self.heads.is_multiple_of(self.kv_heads) {
            let expected = "a divisor of the number of heads";
            return Err(unsupported("number of key heads", self.kv_heads, expected));
        }
        let pairs = self.rotary().map(<[u64]>::len);
        let consistent = match self.norm {
            NormKind::Layer => {
                let plain = self.kv_heads == self.heads && self.head_width == 64;
                plain && pairs.is_none() && !self.gated
            }
            NormKind::RootMeanSquare => pairs == Some(self.head_width / 2) && self.gated,
        };
        if consistent {
            return Ok(());
        }
        let expected = "LayerNorm with learned positions, plain heads of 64 and no gate, or RMSNorm \
                        with one rotation for each pair of a head's lanes and a gate";
        Err(unsupported("kind of block", "another", expected))
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
        within("the final gain", self.final_gain, 0..=24)?;
        check_norm(&self.final_norm, architecture.width)?;
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
        check_norm(&block.norm1, architecture.width)?;
        check_norm(&block.norm2, architecture.width)?;
        let accumulator = self.attention_accumulator(index) + architecture.rotation();
        within("the queries", block.q, 0..=accumulator)?;
        within("the keys", block.k, 0..=accumulator)?;
        let least = min_sigma(architecture.head_width);
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

fn check_norm(norm: &NormScale, width: usize) -> Result<(), QuantError> {
    within("a norm's output", norm.output, 1..=max_norm_output(width))?;
    let (short, long) = (norm.output + 32, norm.output + 48);
    if norm.root == short {
        return Ok(());
    }
    within("a norm's root", norm.root, long..=long)
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
        let (d, vocabulary) = (architecture.width, architecture.vocabulary);
        check_matrix(Place::Embedding, "tokens", &self.tokens, d, vocabulary)?;
        let context = architecture.context;
        match (&self.positions, architecture.rotary()) {
            (Some(positions), None) => {
                check_matrix(Place::Embedding, "positions", positions, d, context)?;
            }
            (None, Some(_)) => {}
            _ => {
                let expected = "stored exactly where they are learned";
                return Err(unsupported("positions", "inconsistent", expected));
            }
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
        check_len(Place::Head, "final gain", self.head.gain.len(), d)?;
        let biases = if architecture.biased() { d } else { 0 };
        check_len(Place::Head, "final bias", self.head.bias.len(), biases)?;
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
        let (d, kv, hidden) = (
            architecture.width,
            architecture.kv_width(),
            architecture.hidden,
        );
        let maps = [
            ("query", &self.query, &self.query_bias, d, d),
            ("key", &self.key, &self.key_bias, d, kv),
            ("value", &self.value, &self.value_bias, d, kv),
            ("output", &self.output, &self.output_bias, d, d),
            ("up", &self.up, &self.up_bias, d, hidden),
            ("down", &self.down, &self.down_bias, hidden, d),
        ];
        for (tensor, matrix, bias, inputs, outputs) in maps {
            check_matrix(place, tensor, matrix, inputs, outputs)?;
            let biases = if architecture.biased() { outputs } else { 0 };
            check_len(place, tensor, bias.len(), biases)?;
        }
        match &self.gate {
            Some(gate) if architecture.gated => check_matrix(place, "gate", gate, d, hidden),
            None if !architecture.gated => Ok(()),
            _ => {
                let expected = "present exactly where the activation is gated";
                Err(unsupported("gate", "inconsistent", expected))
            }
        }
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
