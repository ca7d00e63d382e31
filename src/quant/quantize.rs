//! From a floating-point checkpoint to integers.
//!
//! Norms' gains and biases, and the attention's 1/√64, are folded into the next linear map, in
//! `f64`, before anything is rounded:
//!
//! ```text
//! (z∘γ + β)·W + b = z·(diag(γ)·W) + (β·W + b)
//! ```
//!
//! The final norm is not folded: the head's matrix may be the token embedding, which the
//! embedding layer uses too.

use rayon::prelude::*;

use super::{
    Architecture, BlockWeights, Calibration, FloatBlock, FloatMap, FloatNorm, FloatWeights,
    HeadWeights, IntMatrix, IntVector, IntegerModel, Manifest, Options, Place, Provenance,
    QuantError, Rounding, Scales, Tables, choose_scales, score_factor,
};

/// Quantizes a model: chooses scales by `calibration`, folds, rounds, and checks that the result
/// can be run and proved. `tokenizer` and `chat_template` are the digests of the manifest.
///
/// # Errors
/// [`QuantError`], naming layer and tensor, where a shape is wrong, a weight is not finite or too
/// large, or calibration saw values that no scale can hold.
pub fn quantize(
    architecture: Architecture,
    weights: &FloatWeights,
    calibration: &Calibration,
    options: Options,
    provenance: Provenance,
    tokenizer: [u8; 32],
    chat_template: Option<[u8; 32]>,
) -> Result<IntegerModel, QuantError> {
    architecture.check()?;
    weights.check(&architecture)?;
    let scales = choose_scales(&architecture, weights.embedding_max(), calibration, options)?;
    let embedding = |tensor, values: &[f32]| {
        let rounding = Rounding {
            place: Place::Embedding,
            tensor,
            fraction: scales.weight,
        };
        transposed(rounding, values, architecture.width)
    };
    let tokens = embedding("tokens", weights.tokens)?;
    let positions = weights
        .positions
        .map(|p| embedding("positions", p))
        .transpose()?;
    let blocks = weights
        .blocks
        .par_iter()
        .enumerate()
        .map(|(index, block)| quantize_block(&architecture, &scales, index, block))
        .collect::<Result<_, _>>()?;
    let head = quantize_head(&architecture, &scales, weights)?;
    let model = IntegerModel {
        manifest: Manifest {
            tables: Tables::new(&scales, architecture.activation).digest(),
            architecture,
            scales,
            tokenizer,
            chat_template,
            provenance,
        },
        tokens,
        positions,
        blocks,
        head,
    };
    model.check()?;
    Ok(model)
}

fn quantize_head(
    architecture: &Architecture,
    scales: &Scales,
    weights: &FloatWeights,
) -> Result<HeadWeights, QuantError> {
    let rounding = |tensor, fraction| Rounding {
        place: Place::Head,
        tensor,
        fraction,
    };
    let matrix = weights
        .lm_head
        .map(|values| transposed(rounding("head", scales.weight), values, architecture.width))
        .transpose()?;
    Ok(HeadWeights {
        gain: vector(
            rounding("final gain", scales.final_gain),
            weights.final_norm.gain,
        )?,
        bias: vector(
            rounding("final bias", scales.head_input()),
            weights.final_norm.bias,
        )?,
        matrix,
    })
}

fn quantize_block(
    architecture: &Architecture,
    scales: &Scales,
    index: usize,
    block: &FloatBlock,
) -> Result<BlockWeights, QuantError> {
    let linear = |tensor, map, norm| Linear {
        place: Place::Block(index),
        tensor,
        map,
        norm,
        factor: 1.0,
    };
    let (norm1, norm2) = (Some(block.norm1), Some(block.norm2));
    let fraction = scales.attention_accumulator(index);
    let query = Linear {
        factor: score_factor(architecture.head_width),
        ..linear("query", block.query, norm1)
    };
    let (query, query_bias) = query.round(scales, fraction)?;
    let (key, key_bias) = linear("key", block.key, norm1).round(scales, fraction)?;
    let (value, value_bias) = linear("value", block.value, norm1).round(scales, fraction)?;
    let (output, output_bias) =
        linear("output", block.output, None).round(scales, scales.output_bias)?;
    let fraction = scales.up_accumulator(index);
    let gate = |map| linear("gate", map, norm2).round(scales, fraction);
    let gate = block.gate.map(gate).transpose()?;
    let (up, up_bias) = linear("up", block.up, norm2).round(scales, fraction)?;
    let fraction = scales.down_accumulator(architecture, index);
    let (down, down_bias) = linear("down", block.down, None).round(scales, fraction)?;
    Ok(BlockWeights {
        query,
        query_bias,
        key,
        key_bias,
        value,
        value_bias,
        output,
        output_bias,
        gate: gate.map(|(matrix, _)| matrix),
        up,
        up_bias,
        down,
        down_bias,
    })
}

/// A linear map, with what is folded into it.
struct Linear<'a> {
    place: Place,
    tensor: &'static str,
    map: FloatMap<'a>,
    /// The norm before it.
    norm: Option<FloatNorm<'a>>,
    factor: f64,
}

impl Linear<'_> {
    /// factor·diag(γ)·W and factor·(βW + b), rounded; the bias to `bias_fraction` bits.
    fn round(
        &self,
        scales: &Scales,
        bias_fraction: u32,
    ) -> Result<(IntMatrix, IntVector), QuantError> {
        let rounding = |fraction| Rounding {
            place: self.place,
            tensor: self.tensor,
            fraction,
        };
        let (weight_rounding, bias_rounding) = (rounding(scales.weight), rounding(bias_fraction));
        let (inputs, outputs) = (self.map.inputs, self.map.outputs);
        let mut data = Vec::with_capacity(inputs * outputs);
        // Empty where there is no bias: nor is there a β then.
        let mut sums: Vec<f64> = self.map.biases().iter().map(|b| f64::from(*b)).collect();
        for input in 0..inputs {
            let at = |values: &[f32], default| values.get(input).map_or(default, |v| f64::from(*v));
            let gain = self.norm.map_or(1.0, |norm| at(norm.gain, 1.0));
            let shift = self.norm.map_or(0.0, |norm| at(norm.bias, 0.0));
            let first = data.len();
            for w in self.map.row(input) {
                let w = f64::from(w);
                if let Some(sum) = sums.get_mut(data.len() - first) {
                    *sum += shift * w;
                }
                data.push(weight_rounding.narrow(gain * w * self.factor, data.len())?);
            }
        }
        let bias = sums
            .iter()
            .enumerate()
            .map(|(index, sum)| bias_rounding.wide(sum * self.factor, index))
            .collect::<Result<_, _>>()?;
        let matrix = IntMatrix {
            inputs,
            outputs,
            data,
        };
        Ok((matrix, bias))
    }
}

fn vector(rounding: Rounding, values: &[f32]) -> Result<IntVector, QuantError> {
    values
        .iter()
        .enumerate()
        .map(|(index, x)| rounding.wide(f64::from(*x), index))
        .collect()
}

/// The matrix `[width, n]` of the embedding `[n, width]`.
fn transposed(rounding: Rounding, values: &[f32], width: usize) -> Result<IntMatrix, QuantError> {
    /// Rows written at a time: 16 values are one cache line of the source.
    const BAND: usize = 16;
    let count = values.len() / width;
    let mut data = vec![0i32; values.len()];
    data.par_chunks_mut(BAND * count)
        .enumerate()
        .try_for_each(|(band, rows)| {
            let first = band * BAND;
            for column in 0..count {
                for (i, row) in rows.chunks_exact_mut(count).enumerate() {
                    let index = column * width + first + i;
                    row[column] = rounding.narrow(f64::from(values[index]), index)?;
                }
            }
            Ok(())
        })?;
    Ok(IntMatrix {
        inputs: width,
        outputs: count,
        data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::Tensor;
    use crate::quant::testing::{Random, architecture};

    /// Random weights of a model, owned.
    struct Owned {
        tokens: Vec<f32>,
        positions: Vec<f32>,
        blocks: Vec<[Vec<f32>; 12]>,
        gain: Vec<f32>,
        bias: Vec<f32>,
        head: Option<Vec<f32>>,
    }

    impl Owned {
        fn random(a: &Architecture, seed: u64) -> Self {
            let mut random = Random::new(seed);
            let (d, hidden) = (a.width, a.hidden);
            let mut floats = |count, scale| random.floats(count, scale);
            Self {
                tokens: floats(a.vocabulary * d, 0.5),
                positions: floats(a.context * d, 0.2),
                blocks: (0..a.layers)
                    .map(|_| {
                        [
                            floats(d, 2.0),
                            floats(d, 0.5),
                            floats(3 * d * d, 0.3),
                            floats(3 * d, 0.3),
                            floats(d * d, 0.3),
                            floats(d, 0.3),
                            floats(d, 2.0),
                            floats(d, 0.5),
                            floats(d * hidden, 0.3),
                            floats(hidden, 0.3),
                            floats(hidden * d, 0.3),
                            floats(d, 0.3),
                        ]
                    })
                    .collect(),
                gain: floats(d, 2.0),
                bias: floats(d, 0.5),
                head: (!a.tied).then(|| floats(a.vocabulary * d, 0.5)),
            }
        }

        fn borrow(&self) -> FloatWeights<'_> {
            FloatWeights {
                tokens: &self.tokens,
                positions: Some(&self.positions),
                blocks: self
                    .blocks
                    .iter()
                    .map(|tensors| {
                        let [
                            ln1_gain,
                            ln1_bias,
                            attn_w,
                            attn_b,
                            proj_w,
                            proj_b,
                            ln2_gain,
                            ln2_bias,
                            up_w,
                            up_b,
                            down_w,
                            down_b,
                        ] = tensors.each_ref().map(Vec::as_slice);
                        let (d, hidden) = (64, 256);
                        let attention = FloatMap::whole(attn_w, attn_b, d, 3 * d);
                        FloatBlock {
                            norm1: FloatNorm {
                                gain: ln1_gain,
                                bias: ln1_bias,
                            },
                            query: attention.part(0, d),
                            key: attention.part(d, d),
                            value: attention.part(2 * d, d),
                            output: FloatMap::whole(proj_w, proj_b, d, d),
                            norm2: FloatNorm {
                                gain: ln2_gain,
                                bias: ln2_bias,
                            },
                            gate: None,
                            up: FloatMap::whole(up_w, up_b, d, hidden),
                            down: FloatMap::whole(down_w, down_b, hidden, d),
                        }
                    })
                    .collect(),
                final_norm: FloatNorm {
                    gain: &self.gain,
                    bias: &self.bias,
                },
                lm_head: self.head.as_deref(),
            }
        }
    }

    fn calibration(a: &Architecture) -> Calibration {
        let mut calibration = Calibration::new(a.layers, a.width, a.norm);
        let row = Random::new(9).floats(a.width, 8.0);
        for layer in 0..a.layers {
            for tensor in [
                Tensor::Norm1Input,
                Tensor::Query,
                Tensor::Key,
                Tensor::AttentionBranch,
                Tensor::Norm2Input,
                Tensor::PreActivation,
                Tensor::FeedForwardBranch,
                Tensor::FinalNormInput,
            ] {
                calibration.observe(layer, tensor, &row);
            }
        }
        calibration
    }

    fn provenance() -> Provenance {
        Provenance {
            files: vec![],
            open: false,
        }
    }

    fn quantized(a: &Architecture, weights: &FloatWeights) -> Result<IntegerModel, QuantError> {
        quantize(
            a.clone(),
            weights,
            &calibration(a),
            Options::default(),
            provenance(),
            [7; 32],
            None,
        )
    }

    /// x·W + b for the columns of a float map, the norm's gain and bias applied to z first.
    fn float_linear(z: &[f64], norm: (&[f32], &[f32]), w: &[f32], b: &[f32]) -> Vec<f64> {
        (0..b.len())
            .map(|j| {
                let sum: f64 = (0..z.len())
                    .map(|i| {
                        let x = z[i] * f64::from(norm.0[i]) + f64::from(norm.1[i]);
                        x * f64::from(w[i * b.len() + j])
                    })
                    .sum();
                sum + f64::from(b[j])
            })
            .collect()
    }

    /// The integer map's exact value.
    fn integer_linear(z: &[i32], matrix: &IntMatrix, bias: &[i64], fraction: u32) -> Vec<f64> {
        (0..matrix.outputs)
            .map(|j| {
                let sum: i128 = z
                    .iter()
                    .enumerate()
                    .map(|(i, z)| i128::from(*z) * i128::from(matrix.row(i)[j]))
                    .sum();
                (sum + i128::from(bias[j])) as f64 * (-f64::from(fraction)).exp2()
            })
            .collect()
    }

    /// Both accumulate d weights' rounding errors of at most 2^-17, times |z| ≤ 4, and a bias's.
    fn assert_close(integer: &[f64], float: &[f64], inputs: usize) {
        assert_eq!(integer.len(), float.len());
        let tolerance = (inputs as f64 * 4.0 + 1.0) * 2f64.powi(-17);
        for (i, f) in integer.iter().zip(float) {
            assert!((i - f).abs() < tolerance, "{i} {f}");
        }
    }

    /// Folding must not change the function: integer maps of z agree with the checkpoint's maps
    /// of γ∘z + β.
    #[test]
    fn folded_integer_maps_agree_with_the_checkpoint() {
        let a = architecture(2, 1);
        let owned = Owned::random(&a, 4);
        let weights = owned.borrow();
        let model = quantized(&a, &weights).unwrap();
        let mut random = Random::new(5);
        for (float, block) in weights.blocks.iter().zip(&model.blocks) {
            let z: Vec<i32> = (0..64)
                .map(|_| (random.float(4.0) * 1024.0) as i32)
                .collect();
            let real: Vec<f64> = z.iter().map(|z| f64::from(*z) / 1024.0).collect();

            let norm1 = (float.norm1.gain, float.norm1.bias);
            let attention = float.query;
            let mut all = float_linear(&real, norm1, attention.weight, attention.bias);
            all[..64].iter_mut().for_each(|q| *q /= 8.0);
            for (part, matrix, bias) in [
                (0, &block.query, &block.query_bias),
                (1, &block.key, &block.key_bias),
                (2, &block.value, &block.value_bias),
            ] {
                let integer = integer_linear(&z, matrix, bias, 26);
                assert_close(&integer, &all[64 * part..][..64], 64);
            }
            let norm2 = (float.norm2.gain, float.norm2.bias);
            let up = float_linear(&real, norm2, float.up.weight, float.up.bias);
            assert_close(&integer_linear(&z, &block.up, &block.up_bias, 26), &up, 64);

            let identity = (vec![1f32; 256], vec![0f32; 256]);
            let identity = (&identity.0[..], &identity.1[..]);
            let output = float_linear(&real, identity, float.output.weight, float.output.bias);
            // An input at f = 24 brings the accumulator to the bias's 40.
            let z24: Vec<i32> = z.iter().map(|z| z << 14).collect();
            let integer = integer_linear(&z24, &block.output, &block.output_bias, 40);
            assert_close(&integer, &output, 64);

            let g: Vec<i32> = (0..256)
                .map(|_| (random.float(4.0) * 16384.0) as i32)
                .collect();
            let real: Vec<f64> = g.iter().map(|g| f64::from(*g) / 16384.0).collect();
            let down = float_linear(&real, identity, float.down.weight, float.down.bias);
            assert_close(
                &integer_linear(&g, &block.down, &block.down_bias, 30),
                &down,
                256,
            );
        }
    }

    #[test]
    fn embeddings_are_transposed_and_rounded_to_nearest() {
        let a = architecture(1, 1);
        let owned = Owned::random(&a, 6);
        let model = quantized(&a, &owned.borrow()).unwrap();
        assert_eq!((model.tokens.inputs, model.tokens.outputs), (64, 97));
        assert_eq!(model.positions.map(|p| p.outputs), Some(32));
        for (token, channel) in [(0, 0), (96, 63), (13, 17), (50, 48)] {
            let stored = f64::from(model.tokens.row(channel)[token]) / 65536.0;
            let exact = f64::from(owned.tokens[token * 64 + channel]);
            assert!((stored - exact).abs() <= 2f64.powi(-17));
        }
        assert_eq!(model.head.matrix, None);
        let gain = f64::from(owned.gain[5]);
        assert!((model.head.gain[5] as f64 / 1024.0 - gain).abs() <= 2f64.powi(-11));
        let bias = f64::from(owned.bias[5]);
        assert!((model.head.bias[5] as f64 * 2f64.powi(-20) - bias).abs() <= 2f64.powi(-21));
    }

    #[test]
    fn an_untied_head_has_its_own_matrix() {
        let mut a = architecture(1, 1);
        a.tied = false;
        let owned = Owned::random(&a, 7);
        let model = quantized(&a, &owned.borrow()).unwrap();
        let matrix = model.head.matrix.as_ref().unwrap();
        let exact = f64::from(owned.head.as_ref().unwrap()[96 * 64 + 1]);
        let stored = f64::from(matrix.row(1)[96]) / 65536.0;
        assert!((stored - exact).abs() <= 2f64.powi(-17));

        let mut missing = owned.borrow();
        missing.lm_head = None;
        assert!(matches!(
            quantized(&a, &missing),
            Err(QuantError::Architecture { what: "head", .. })
        ));
    }

    #[test]
    fn quantizing_twice_gives_the_same_bytes_and_they_round_trip() {
        let a = architecture(2, 1);
        let owned = Owned::random(&a, 8);
        let [one, two] = [0; 2].map(|_| quantized(&a, &owned.borrow()).unwrap());
        let bytes = postcard::to_stdvec(&one).unwrap();
        assert_eq!(bytes, postcard::to_stdvec(&two).unwrap());
        assert_eq!(postcard::from_bytes::<IntegerModel>(&bytes).unwrap(), one);
        one.manifest.check().unwrap();
        let tables = one.manifest.build_tables().unwrap();
        assert_eq!(tables.digest(), one.manifest.tables);
    }

    #[test]
    fn every_tensor_of_a_wrong_length_is_refused() {
        let a = architecture(1, 1);
        for tensor in 0..12 {
            let mut owned = Owned::random(&a, 10);
            owned.blocks[0][tensor].pop();
            let error = quantized(&a, &owned.borrow()).unwrap_err();
            let expected = Owned::random(&a, 10).blocks[0][tensor].len();
            assert!(
                matches!(error, QuantError::Shape { place: Place::Block(0), expected: e, found, .. }
                    if e == expected && found == e - 1),
                "{error}"
            );
        }
        for spoil in [
            |o: &mut Owned| o.tokens.push(0.0),
            |o: &mut Owned| o.positions.clear(),
            |o: &mut Owned| o.gain.push(0.0),
            |o: &mut Owned| o.bias.push(0.0),
        ] {
            let mut owned = Owned::random(&a, 10);
            spoil(&mut owned);
            let error = quantized(&a, &owned.borrow()).unwrap_err();
            assert!(matches!(error, QuantError::Shape { .. }), "{error}");
        }
        let mut owned = Owned::random(&a, 10);
        owned.blocks.clear();
        assert!(quantized(&a, &owned.borrow()).is_err());
    }

    #[test]
    fn every_weight_that_is_not_a_number_is_refused() {
        let a = architecture(1, 1);
        for tensor in 0..12 {
            for bad in [f32::NAN, f32::INFINITY] {
                let mut owned = Owned::random(&a, 11);
                owned.blocks[0][tensor][3] = bad;
                let error = quantized(&a, &owned.borrow()).unwrap_err();
                assert!(
                    matches!(
                        error,
                        QuantError::NotFinite {
                            place: Place::Block(0),
                            ..
                        }
                    ),
                    "tensor {tensor}: {error}"
                );
            }
        }
        let mut owned = Owned::random(&a, 11);
        owned.tokens[5] = f32::NAN;
        assert!(quantized(&a, &owned.borrow()).is_err());
    }

    #[test]
    fn weights_too_large_once_folded_are_refused() {
        let a = architecture(1, 1);
        let mut owned = Owned::random(&a, 12);
        owned.blocks[0][6][0] = 1e4; // the second norm's gain
        owned.blocks[0][8][0] = 1e3; // up
        let error = quantized(&a, &owned.borrow()).unwrap_err();
        assert!(
            matches!(
                error,
                QuantError::WeightRange { tensor: "up", index: 0, value, .. } if value == 1e7
            ),
            "{error}"
        );
    }

    #[test]
    fn a_model_read_from_a_damaged_file_is_refused() {
        let a = architecture(1, 1);
        let model = quantized(&a, &Owned::random(&a, 13).borrow()).unwrap();
        let changes: [fn(&mut IntegerModel); 11] = [
            |m| m.tokens.data.truncate(3),
            |m| m.positions = None,
            |m| m.blocks.clear(),
            |m| m.blocks[0].key.inputs -= 1,
            |m| m.blocks[0].up_bias.truncate(1),
            |m| m.blocks[0].up_bias.clear(),
            |m| m.blocks[0].gate = Some(m.blocks[0].up.clone()),
            |m| m.blocks[0].down.data.push(0),
            |m| m.head.gain.push(0),
            |m| m.head.matrix = Some(m.tokens.clone()),
            |m| m.manifest.scales.exp = 99,
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut changed = model.clone();
            change(&mut changed);
            assert!(changed.check().is_err(), "change {index}");
        }
        let mut manifest = model.manifest.clone();
        manifest.tables[0] ^= 1;
        assert!(matches!(
            manifest.build_tables(),
            Err(QuantError::TableDigest)
        ));
        // The checks above are not vacuous.
        model.check().unwrap();
    }
}
