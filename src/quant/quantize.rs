//! From a floating-point checkpoint to integers.
//!
//! Norms' gains and biases before linear maps, the score's factor, and whatever else a model multiplies by
//! ([`Factors`]) are folded into weights, in `f64`, before anything is rounded:
//!
//! ```text
//! (z∘γ + β)·W + b = z·(diag(γ)·W) + (β·W + b)
//! ```
//!
//! Where a norm's channels are lifted, γ is divided by their powers of two.
//!
//! The final norm is not folded: the head's matrix may be the token embedding, which the
//! embedding layer uses too. If that is multiplied there, the final gain is divided.
//!
//! Lanes come in whole slabs, filled up with zeros; a head's stand so that those that turn together are half of its lanes
//! apart (see [`Heads`]): q·k does not change.

use rayon::prelude::*;

use super::balance::{self, Balance};
use super::fixed::power_of_two;
use super::headroom::headroom;
use super::lifts::{lift, lowered};
use super::scales::scores_are_short;
use super::{
    Architecture, BlockWeights, Calibration, Factors, FloatBlock, FloatMap, FloatNorm,
    FloatWeights, HeadNorm, HeadWeights, Headroom, IntMatrix, IntVector, IntegerModel, Manifest,
    Options, Place, Provenance, QuantError, Rounding, Scales, Tables, choose_scales, in_slabs,
};

/// Quantizes a model: chooses scales by `calibration`, folds, rounds, and checks that the result
/// can be run and proved. Also the room that the scales leave above what calibration saw. `tokenizer` and `chat_template`
/// are the digests of the manifest.
///
/// # Errors
/// [`QuantError`], naming layer and tensor, where a shape is wrong, a weight is not finite or too
/// large, or calibration saw values that no scale can hold.
pub fn quantize(
    architecture: Architecture,
    weights: &FloatWeights,
    mut calibration: Calibration,
    options: Options,
    provenance: Provenance,
    tokenizer: [u8; 32],
    chat_template: Option<[u8; 32]>,
) -> Result<(IntegerModel, Vec<Headroom>), QuantError> {
    architecture.check()?;
    weights.check(&architecture)?;
    let factors = &weights.factors;
    let is_short = |query, key| scores_are_short(query, key, options);
    let balances = balance::balance(&architecture, factors.rotated, &mut calibration, is_short);
    let largest = weights.embedding_max();
    let mut scales = choose_scales(&architecture, factors, largest, &calibration, options)?;
    lift(weights, &calibration, options, &mut scales)?;
    let width = architecture.width;
    let embedding = |tensor, values: &[f32], factor| {
        let rounding = Rounding {
            place: Place::Embedding,
            tensor,
            fraction: scales.weight,
        };
        transposed(rounding, values, width, factor)
    };
    let tokens = embedding("tokens", weights.tokens, factors.embedding)?;
    let positions = weights
        .positions
        .map(|p| embedding("positions", p, 1.0))
        .transpose()?;
    let blocks = weights
        .blocks
        .par_iter()
        .zip(&balances)
        .enumerate()
        .map(|(index, (block, balance))| {
            let at = Quantizer {
                architecture: &architecture,
                factors,
                scales: &scales,
                index,
            };
            at.block(block, balance)
        })
        .collect::<Result<_, _>>()?;
    let head = quantize_head(&architecture, &scales, weights)?;
    let headroom = headroom(&calibration, &scales);
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
    Ok((model, headroom))
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
    let (width, factors) = (architecture.width, &weights.factors);
    let matrix = weights
        .lm_head
        .map(|values| transposed(rounding("head", scales.weight), values, width, 1.0))
        .transpose()?;
    // A tied matrix was multiplied for the embedding.
    let multiplied = if architecture.tied {
        factors.embedding
    } else {
        1.0
    };
    let factor = factors.logit / multiplied;
    let lanes: Vec<usize> = (0..width).collect();
    let vector = |rounding, values: &[f32], lifts: &[u8], len: usize| {
        let values = values.iter().enumerate();
        let values = values.map(|(k, v)| f64::from(*v) * factor * lowered(lifts, k));
        spread(rounding, values, &lanes, len)
    };
    let stream = |values: &[f32]| {
        if values.is_empty() {
            0
        } else {
            architecture.stream()
        }
    };
    let norm = weights.final_norm;
    let (gain, bias) = (
        rounding("final gain", scales.final_gain),
        rounding("final bias", scales.head_input()),
    );
    let logit_bias = rounding("head bias", scales.logits());
    Ok(HeadWeights {
        gain: vector(gain, norm.gain, &scales.final_lifts, stream(norm.gain))?,
        bias: vector(bias, norm.bias, &[], stream(norm.bias))?,
        matrix,
        logit_bias: weights
            .logit_bias
            .iter()
            .enumerate()
            .map(|(index, x)| logit_bias.wide(f64::from(*x) * factors.logit, index))
            .collect::<Result<_, _>>()?,
    })
}

/// Where lanes of heads stand.
struct Heads<'a> {
    architecture: &'a Architecture,
    /// How many lanes of a head turn, in pairs (m, m + half of them).
    rotated: usize,
}

impl Heads<'_> {
    /// The places of the lanes of queries or keys, of `heads` heads: those that turn where the rotation has them, (m, m +
    /// half of the head's places); the others in the places that are left, in order.
    fn turned(&self, heads: usize) -> Vec<usize> {
        let (w, places) = (self.architecture.head_width, self.architecture.head_lanes());
        let (pairs, half) = (self.rotated / 2, places / 2);
        let mut left = (pairs..half).chain(half + pairs..places);
        let head: Vec<usize> = (0..w)
            .map(|m| match m {
                m if m < pairs => m,
                m if m < 2 * pairs => half + m - pairs,
                _ => left.next().expect("as many places as lanes"),
            })
            .collect();
        (0..heads)
            .flat_map(|h| head.iter().map(move |p| h * places + p))
            .collect()
    }
}

/// Where quantizing a block happens.
struct Quantizer<'a> {
    architecture: &'a Architecture,
    factors: &'a Factors,
    scales: &'a Scales,
    index: usize,
}

/// One side of a linear map: the place of each of its lanes, and how many places there are.
#[derive(Clone, Copy)]
struct Side<'a> {
    places: &'a [usize],
    len: usize,
}

impl Quantizer<'_> {
    fn block(&self, block: &FloatBlock, balance: &Balance) -> Result<BlockWeights, QuantError> {
        let (a, scales, index) = (self.architecture, self.scales, self.index);
        let heads = Heads {
            architecture: a,
            rotated: self.factors.rotated,
        };
        let (every, wide): (Vec<usize>, Vec<usize>) =
            ((0..a.width).collect(), (0..a.hidden).collect());
        let stream = Side {
            places: &every,
            len: a.stream(),
        };
        let hidden = Side {
            places: &wide,
            len: a.hidden_lanes(),
        };
        let [turned_queries, turned_keys] = [a.heads, a.kv_heads].map(|n| heads.turned(n));
        let [straight_queries, straight_keys] = [a.heads, a.kv_heads].map(|n| a.head_places(n));
        let queries = |places| Side {
            places,
            len: a.query_lanes(),
        };
        let keys = |places| Side {
            places,
            len: a.key_lanes(),
        };

        let [query_factors, key_factors] = self.score_factors(balance);
        let linear = |tensor, map, norm, from, to| Linear {
            place: Place::Block(index),
            tensor,
            map,
            norm,
            from,
            to,
            factors: &[1.0],
        };
        let norms = &scales.blocks[index];
        let norm1 = block.norm1.map(|norm| (norm, &*norms.lifts1));
        let norm2 = block.norm2.map(|norm| (norm, &*norms.lifts2));
        // Where queries and keys are normalized, their gains take the factors.
        let plain = a.head_norm.is_none();
        let score = |factors| if plain { factors } else { &[1.0][..] };
        let fraction = scales.attention_accumulator(index);
        let query = Linear {
            factors: score(&query_factors),
            ..linear(
                "query",
                block.query,
                norm1,
                stream,
                queries(&turned_queries),
            )
        };
        let (query, query_bias) = query.round(scales, fraction, a.biases.query)?;
        let key = Linear {
            factors: score(&key_factors),
            ..linear("key", block.key, norm1, stream, keys(&turned_keys))
        };
        let (key, key_bias) = key.round(scales, fraction, a.biases.key)?;
        let value = linear("value", block.value, norm1, stream, keys(&straight_keys));
        let (value, value_bias) = value.round(scales, fraction, a.biases.value)?;
        // A branch is multiplied where it is not normalized again.
        let branch = [if a.order.behind() {
            1.0
        } else {
            self.factors.branch
        }];
        let output = Linear {
            factors: &branch,
            ..linear(
                "output",
                block.output,
                None,
                queries(&straight_queries),
                stream,
            )
        };
        let (output, output_bias) = output.round(scales, scales.output_bias, a.biases.output)?;
        let read = norm2.or(norm1);
        let fraction = scales.up_accumulator(index);
        let gate = block.gate.map(|map| {
            linear("gate", map, read, stream, hidden).round(scales, fraction, a.biases.gate)
        });
        let (gate, gate_bias) = gate.transpose()?.unzip();
        let up = linear("up", block.up, read, stream, hidden);
        let (up, up_bias) = up.round(scales, fraction, a.biases.up)?;
        let fraction = scales.down_accumulator(a, index);
        let down = Linear {
            factors: &branch,
            ..linear("down", block.down, None, hidden, stream)
        };
        let (down, down_bias) = down.round(scales, fraction, a.biases.down)?;
        let [query_gain, key_gain] = [
            ("query gain", block.query_norm, query_factors, a.heads),
            ("key gain", block.key_norm, key_factors, a.kv_heads),
        ]
        .map(|(tensor, norm, factors, count)| {
            self.head_gain(tensor, norm, &factors, count, &heads)
        });
        let [attention_gain, feed_forward_gain] = [
            ("attention gain", block.attention_norm),
            ("feed-forward gain", block.feed_forward_norm),
        ]
        .map(|(tensor, norm)| self.branch_gain(tensor, norm, stream));
        Ok(BlockWeights {
            query,
            query_bias,
            key,
            key_bias,
            value,
            value_bias,
            output,
            output_bias,
            gate,
            gate_bias: gate_bias.unwrap_or_default(),
            up,
            up_bias,
            down,
            down_bias,
            query_gain: query_gain?,
            key_gain: key_gain?,
            attention_gain: attention_gain?,
            feed_forward_gain: feed_forward_gain?,
        })
    }

    /// What the lanes of queries and of keys are multiplied by, head by head: the score's factor, that of rotated lanes,
    /// and the powers of two that balance them.
    fn score_factors(&self, balance: &Balance) -> [Vec<f64>; 2] {
        let a = self.architecture;
        let (w, group) = (a.head_width, a.group());
        let kind = usize::from(a.kind_of[self.index]);
        let rotation = self.factors.rotation.get(kind).copied().unwrap_or(1.0);
        let lane = |m: usize| {
            if m < self.factors.rotated {
                rotation
            } else {
                1.0
            }
        };
        let power = |lane: usize, sign: i64| power_of_two(sign * i64::from(balance[lane]));
        let query = |at: usize| {
            let shared = at / w / group * w + at % w;
            self.factors.score * lane(at % w) * power(shared, 1)
        };
        let key = |at: usize| lane(at % w) * power(at, -1);
        [
            (0..a.heads * w).map(query).collect(),
            (0..a.kv_heads * w).map(key).collect(),
        ]
    }

    /// γ of the norm of queries or keys, of `count` heads.
    fn head_gain(
        &self,
        tensor: &'static str,
        norm: Option<FloatNorm>,
        factors: &[f64],
        count: usize,
        heads: &Heads,
    ) -> Result<IntVector, QuantError> {
        let Some(norm) = norm else {
            return Ok(IntVector::new());
        };
        let count = match self.architecture.head_norm {
            Some(HeadNorm::Whole) => count,
            _ => 1,
        };
        let gains = norm
            .gain
            .iter()
            .zip(factors)
            .map(|(gain, factor)| f64::from(*gain) * factor);
        let len = count * self.architecture.head_lanes();
        spread(self.gain(tensor), gains, &heads.turned(count), len)
    }

    /// γ of a norm behind attention or feed-forward part.
    fn branch_gain(
        &self,
        tensor: &'static str,
        norm: Option<FloatNorm>,
        stream: Side,
    ) -> Result<IntVector, QuantError> {
        let Some(norm) = norm else {
            return Ok(IntVector::new());
        };
        let gains = norm
            .gain
            .iter()
            .map(|gain| f64::from(*gain) * self.factors.branch);
        spread(self.gain(tensor), gains, stream.places, stream.len)
    }

    fn gain(&self, tensor: &'static str) -> Rounding {
        Rounding {
            place: Place::Block(self.index),
            tensor,
            fraction: self.scales.gain,
        }
    }
}

/// A linear map, with what is folded into it.
struct Linear<'a> {
    place: Place,
    tensor: &'static str,
    map: FloatMap<'a>,
    /// The norm before it, and its lifts.
    norm: Option<(FloatNorm<'a>, &'a [u8])>,
    from: Side<'a>,
    to: Side<'a>,
    /// Of each output, or one for all.
    factors: &'a [f64],
}

impl Linear<'_> {
    /// diag(γ/2^t)·W·diag(factors) and factors∘(βW + b), rounded; the bias, if there is to be one, to `bias_fraction` bits.
    fn round(
        &self,
        scales: &Scales,
        bias_fraction: u32,
        biased: bool,
    ) -> Result<(IntMatrix, IntVector), QuantError> {
        let rounding = |fraction| Rounding {
            place: self.place,
            tensor: self.tensor,
            fraction,
        };
        let (weight_rounding, bias_rounding) = (rounding(scales.weight), rounding(bias_fraction));
        let factor = |output: usize| self.factors[output.min(self.factors.len() - 1)];
        let (inputs, outputs) = (self.from.len, self.to.len);
        let mut data = vec![0; inputs * outputs];
        let mut sums: Vec<f64> = self.map.biases().iter().map(|b| f64::from(*b)).collect();
        sums.resize(self.map.outputs, 0.0);
        for (input, place) in self.from.places.iter().enumerate() {
            let at = |values: &[f32], default| values.get(input).map_or(default, |v| f64::from(*v));
            let (gain, shift) = self.norm.map_or((1.0, 0.0), |(norm, lifts)| {
                let gain = at(norm.gain, 1.0) * lowered(lifts, input);
                (gain, at(norm.bias, 0.0))
            });
            let row = &mut data[place * outputs..][..outputs];
            for (output, w) in self.map.row(input).enumerate() {
                let w = f64::from(w);
                sums[output] += shift * w;
                let index = input * self.map.outputs + output;
                row[self.to.places[output]] =
                    weight_rounding.narrow(gain * w * factor(output), index)?;
            }
        }
        let matrix = IntMatrix {
            inputs,
            outputs,
            data,
        };
        let sums = sums
            .iter()
            .enumerate()
            .map(|(output, sum)| sum * factor(output));
        if biased {
            let bias = spread(bias_rounding, sums, self.to.places, outputs)?;
            return Ok((matrix, bias));
        }
        assert!(
            sums.into_iter().all(|sum| sum == 0.0),
            "{}: a map without a bias",
            self.tensor
        );
        Ok((matrix, IntVector::new()))
    }
}

/// Rounded values in their places among `len`, the others zero.
fn spread(
    rounding: Rounding,
    values: impl Iterator<Item = f64>,
    places: &[usize],
    len: usize,
) -> Result<IntVector, QuantError> {
    let mut vector = vec![0; len];
    for (index, (value, place)) in values.zip(places).enumerate() {
        vector[*place] = rounding.wide(value, index)?;
    }
    Ok(vector)
}

/// The matrix `[width in slabs, n]` of the embedding `[n, width]`, times `factor`.
fn transposed(
    rounding: Rounding,
    values: &[f32],
    width: usize,
    factor: f64,
) -> Result<IntMatrix, QuantError> {
    /// Rows written at a time: 16 values are one cache line of the source.
    const BAND: usize = 16;
    let count = values.len() / width;
    let mut data = vec![0i32; count * in_slabs(width)];
    data.par_chunks_mut(BAND * count)
        .enumerate()
        .try_for_each(|(band, rows)| {
            let first = band * BAND;
            for column in 0..count {
                let live = rows
                    .chunks_exact_mut(count)
                    .take(width.saturating_sub(first));
                for (i, row) in live.enumerate() {
                    let index = column * width + first + i;
                    row[column] = rounding.narrow(f64::from(values[index]) * factor, index)?;
                }
            }
            Ok(())
        })?;
    Ok(IntMatrix {
        inputs: in_slabs(width),
        outputs: count,
        data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::testing::{Random, architecture, factors};
    use crate::quant::{Rows, Tensor};

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
                            norm1: Some(FloatNorm {
                                gain: ln1_gain,
                                bias: ln1_bias,
                            }),
                            query_norm: None,
                            key_norm: None,
                            attention_norm: None,
                            feed_forward_norm: None,
                            query: attention.part(0, d),
                            key: attention.part(d, d),
                            value: attention.part(2 * d, d),
                            output: FloatMap::whole(proj_w, proj_b, d, d),
                            norm2: Some(FloatNorm {
                                gain: ln2_gain,
                                bias: ln2_bias,
                            }),
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
                logit_bias: &[],
                factors: factors(64),
            }
        }
    }

    fn calibration(a: &Architecture) -> Calibration {
        let rows = Rows {
            norm: a.norm,
            width: a.width,
            heads: [a.width, a.width],
            head_width: 64,
            head_norm: None,
        };
        let mut calibration = Calibration::new(a.layers, rows);
        let row = Random::new(9).floats(a.width, 8.0);
        for layer in 0..a.layers {
            for tensor in [
                Tensor::BlockInput,
                Tensor::Query,
                Tensor::Key,
                Tensor::AttentionBranch,
                Tensor::Middle,
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
            calibration(a),
            Options::default(),
            provenance(),
            [7; 32],
            None,
        )
        .map(|(model, _)| model)
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

            let norm1 = float.norm1.map(|norm| (norm.gain, norm.bias)).unwrap();
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
            let norm2 = float.norm2.map(|norm| (norm.gain, norm.bias)).unwrap();
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
