//! How large the exact quantities of a layer can get.
//!
//! Two questions are answered, each with its own [`Regime`]:
//! - *Run*: what can an honest run meet, given the actual weights? Below 2^126 it computes in
//!   `i128` without overflow. Softmax weights obey Σ_j Ê_ij ≤ Z_i and n_i·Z_i ≤ 2^w there.
//! - *Field*: what can *any* witness reach whose range-checked values are in range, honest or
//!   not? Below 2^253 < p/2 no relation can wrap around the field, so an equation in F is one in
//!   the integers. Exact columns follow from relations, so they obey the same bounds.
//!
//! Bounds are magnitudes in `f64` (its exponent reaches 2^1023); its rounding is a relative
//! 2^-50, irrelevant next to the limits' distance.
//!
//! Weights are not range-checked in a proof, as they belong to the verifying key: whoever commits
//! to weights beyond 32 bits gets a function that is strange, but still one function.

use super::fixed::power_of_two;
use super::{
    Architecture, BlockWeights, HeadNormScale, HeadWeights, IntMatrix, NormKind, NormLimits,
    NormScale, NormSize, Place, QuantError, Scales,
};

/// Everything in a run fits in an `i128` with room for one more addition.
pub const RUN_BITS: u32 = 126;
/// |x| < 2^253 < p/2 determines an integer from its residue.
pub const FIELD_BITS: u32 = 253;

/// A 16-bit signed key.
const KEY: f64 = 32_768.0;
/// A 32-bit signed value.
const STREAM: f64 = 2_147_483_648.0;
const STREAM_BITS: u32 = 31;
/// Relations multiply an accumulator by up to 2^16 when they rescale it.
const RESCALED: f64 = 65_536.0;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regime {
    Run,
    Field,
}

impl Regime {
    /// The number of bits that every quantity must stay below.
    pub fn limit(self) -> u32 {
        match self {
            Self::Run => RUN_BITS,
            Self::Field => FIELD_BITS,
        }
    }

    /// The factor of an accumulator where it is rescaled: in the run it is not scaled up.
    fn rescaled(self) -> f64 {
        match self {
            Self::Run => 1.0,
            Self::Field => RESCALED,
        }
    }
}

/// An upper bound on one quantity's magnitude.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    pub quantity: &'static str,
    pub magnitude: f64,
}

impl Bound {
    pub fn log2(&self) -> f64 {
        self.magnitude.log2()
    }
}

/// Refuses the first bound beyond the regime's limit.
///
/// # Errors
/// [`QuantError::Bound`], naming the quantity.
pub fn check(place: Place, regime: Regime, bounds: &[Bound]) -> Result<(), QuantError> {
    let limit = regime.limit();
    let too_large = power_of_two(limit.into());
    match bounds.iter().find(|b| b.magnitude >= too_large) {
        None => Ok(()),
        Some(bound) => Err(QuantError::Bound {
            place,
            quantity: bound.quantity,
            log2: bound.log2(),
            limit,
        }),
    }
}

/// The size of an affine map: |x·W + b| ≤ max|x| · `column` + `bias`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// The largest Σ_i |W_ij| of a column j.
    pub column: f64,
    /// The largest |b_j|.
    pub bias: f64,
}

impl Affine {
    /// The largest that stored integers allow.
    pub fn worst(inputs: usize) -> Self {
        Self {
            column: inputs as f64 * STREAM,
            bias: power_of_two(63),
        }
    }

    /// That of actual weights.
    pub fn of(matrix: &IntMatrix, bias: &[i64]) -> Self {
        Self {
            column: column_norm(matrix) as f64,
            bias: bias.iter().map(|b| b.unsigned_abs()).max().unwrap_or(0) as f64,
        }
    }

    fn apply(&self, input: f64) -> f64 {
        input * self.column + self.bias
    }
}

/// The largest Σ_i |W_ij| of a column j. At most 2^32 inputs of 32 bits: no overflow.
fn column_norm(matrix: &IntMatrix) -> u64 {
    let mut sums = vec![0u64; matrix.outputs];
    for row in matrix.data.chunks_exact(matrix.outputs.max(1)) {
        for (sum, w) in sums.iter_mut().zip(row) {
            *sum += u64::from(w.unsigned_abs());
        }
    }
    sums.into_iter().max().unwrap_or(0)
}

/// The sizes of a block's affine maps, and its largest gains (0 where there is none).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockSize {
    pub query: Affine,
    pub key: Affine,
    pub value: Affine,
    pub output: Affine,
    /// Only where the activation is gated.
    pub gate: Option<Affine>,
    pub up: Affine,
    pub down: Affine,
    /// Of the norms of queries and keys.
    pub head_gains: [f64; 2],
    /// Of the norms behind attention and feed-forward part.
    pub branch_gains: [f64; 2],
}

impl BlockSize {
    /// The largest that stored integers allow.
    pub fn worst(architecture: &Architecture) -> Self {
        let from_stream = Affine::worst(architecture.stream());
        let gains = [power_of_two(63); 2];
        Self {
            query: from_stream,
            key: from_stream,
            value: from_stream,
            output: Affine::worst(architecture.query_lanes()),
            gate: architecture.gated.then_some(from_stream),
            up: from_stream,
            down: Affine::worst(architecture.hidden_lanes()),
            head_gains: gains,
            branch_gains: gains,
        }
    }

    /// Those of actual weights.
    pub fn of(block: &BlockWeights) -> Self {
        let gate = block.gate.as_ref();
        Self {
            query: Affine::of(&block.query, &block.query_bias),
            key: Affine::of(&block.key, &block.key_bias),
            value: Affine::of(&block.value, &block.value_bias),
            output: Affine::of(&block.output, &block.output_bias),
            gate: gate.map(|gate| Affine::of(gate, &block.gate_bias)),
            up: Affine::of(&block.up, &block.up_bias),
            down: Affine::of(&block.down, &block.down_bias),
            head_gains: [&block.query_gain, &block.key_gain].map(|gain| largest(gain)),
            branch_gains: [&block.attention_gain, &block.feed_forward_gain]
                .map(|gain| largest(gain)),
        }
    }
}

/// The largest magnitude of some integers.
fn largest(values: &[i64]) -> f64 {
    values.iter().map(|x| x.unsigned_abs()).max().unwrap_or(0) as f64
}

/// The quantities of block `index`.
pub fn block(
    architecture: &Architecture,
    scales: &Scales,
    index: usize,
    size: &BlockSize,
    regime: Regime,
) -> Vec<Bound> {
    let (block, order) = (&scales.blocks[index], architecture.order);
    let of_stream = |scale: Option<NormScale>, lifts: &[u8], input_bits: u32| {
        let stream = (architecture.norm_size(), scales.residual, input_bits);
        let epsilon = architecture.epsilon();
        scale.map(|scale| norm(stream, epsilon, (scale, lifts), regime))
    };
    // h and the attention's branch, not yet rounded to the stream's format together.
    let middle_bits = if order.parallel() {
        STREAM_BITS
    } else {
        STREAM_BITS + 1
    };
    let norms = [
        of_stream(block.norm1, &block.lifts1, STREAM_BITS),
        of_stream(block.norm2, &block.lifts2, middle_bits),
        of_stream(block.attention_norm, &[], STREAM_BITS),
        of_stream(block.feed_forward_norm, &[], STREAM_BITS),
    ];
    let mut bounds: Vec<Bound> = norms.into_iter().flatten().flatten().collect();
    if order.behind() {
        bounds.extend(size.branch_gains.map(|gain| Bound {
            quantity: "a normalized branch",
            magnitude: KEY * gain * regime.rescaled(),
        }));
    }
    bounds.extend(attention(architecture, scales, index, size, regime));
    bounds.extend(feed_forward(architecture, scales, size, regime));
    bounds
}

fn feed_forward(
    architecture: &Architecture,
    scales: &Scales,
    size: &BlockSize,
    regime: Regime,
) -> [Bound; 3] {
    // z, or h and the attention's normalized branch.
    let read = match architecture.order.before() {
        [false, _] => 2.0 * STREAM,
        [true, _] => KEY,
    };
    // |g(x)| ≤ |x|, at the value's scale.
    let activation = KEY * power_of_two((scales.activation_value - scales.activation_key).into());
    let up = size.up.apply(read);
    let (argument, activated) = match &size.gate {
        Some(gate) => (gate.apply(read), activation * up),
        None => (up, activation),
    };
    [
        Bound {
            quantity: "the activation's argument",
            magnitude: argument * regime.rescaled(),
        },
        Bound {
            quantity: "the up projection",
            magnitude: up * regime.rescaled(),
        },
        Bound {
            quantity: "the down projection",
            magnitude: size.down.apply(activated) * regime.rescaled(),
        },
    ]
}

/// V, (R + 1)²·V and c·R of a norm, for any input of |x| ≤ 2^`input_bits`: by [`NormLimits`], which an op's digits
/// follow from as well. Where there are none, no bound holds.
///
/// ```text
/// |c_i| ≤ (m [+ l])·2^b,   in a run: R²·V ≤ d·2^(2r),   (R + 1)²·V ≤ (√(d·2^(2r)) + √V)²,   |c_i|·R ≤ √(d·2^(2r))
/// ```
///
/// and c_i·R is multiplied by 2^t where its channel is lifted.
fn norm(
    (size, fraction, input_bits): (NormSize, u32, u32),
    epsilon: f64,
    (scale, lifts): (NormScale, &[u8]),
    regime: Regime,
) -> [Bound; 3] {
    let limits = NormLimits::new(size, input_bits, fraction, epsilon, scale);
    let lift = lifts.iter().copied().max().unwrap_or(0);
    let [variance, target, root] = match limits {
        Some(limits) => [limits.variance, limits.target, limits.root].map(ethnum::U256::as_f64),
        None => [f64::INFINITY; 3],
    };
    let (bracket, scaled) = match regime {
        Regime::Run => ((target.sqrt() + variance.sqrt()).powi(2), target.sqrt()),
        Regime::Field => {
            let root = whole_limbs(root);
            let most = match size.kind {
                NormKind::Layer => size.multiple() + size.lanes,
                NormKind::RootMeanSquare => 1,
            };
            let centred = most as f64 * power_of_two(input_bits.into());
            ((root + 1.0).powi(2) * variance, centred * root)
        }
    };
    [
        Bound {
            quantity: "a norm's variance",
            magnitude: variance,
        },
        Bound {
            quantity: "a norm's root bracket",
            magnitude: bracket + target,
        },
        Bound {
            quantity: "a norm's scaled input",
            magnitude: scaled * power_of_two(lift.into()) * regime.rescaled(),
        },
    ]
}

fn attention(
    architecture: &Architecture,
    scales: &Scales,
    index: usize,
    size: &BlockSize,
    regime: Regime,
) -> Vec<Bound> {
    // z, or h itself.
    let read = match architecture.order.before() {
        [true, _] => KEY,
        [false, _] => STREAM,
    };
    let value = size.value.apply(read);
    let weights = architecture.context as f64 * power_of_two(scales.exp.into()); // Σ_j Ê_ij
    let inverse_unit = power_of_two(scales.inverse.into());
    let (inverse, normalized) = match regime {
        Regime::Run => (
            power_of_two((scales.inverse - scales.exp).into()),
            inverse_unit * value,
        ),
        Regime::Field => {
            let inverse = whole_limbs(power_of_two((scales.inverse - scales.exp).into()));
            (inverse, inverse * weights * value)
        }
    };
    let shift = scales.output_accumulator(index) - scales.output_bias;
    let bias = size.output.bias * power_of_two(shift.into());
    // D < l·2^31, scaled by up to 2^(16−σ) ≤ 2^8.
    let score = architecture.head_lanes() as f64 * STREAM;
    let block = &scales.blocks[index];
    let sides = [
        (
            QUERIES,
            block.query_norm,
            size.query.apply(read),
            architecture.heads,
        ),
        (
            KEYS,
            block.key_norm,
            size.key.apply(read),
            architecture.kv_heads,
        ),
    ];
    let sides = sides.into_iter().zip(size.head_gains);
    let sides = sides.flat_map(|((names, norm, projected, heads), gain)| {
        score_side(
            names,
            (architecture, index, heads),
            norm,
            (projected, gain),
            regime,
        )
    });
    let rest = [
        Bound {
            quantity: "an attention score",
            magnitude: score * regime.rescaled(),
        },
        Bound {
            quantity: "a normalizer's bracket",
            magnitude: inverse * weights + inverse_unit,
        },
        Bound {
            quantity: "a head's sum",
            magnitude: weights * value,
        },
        Bound {
            quantity: "the attention's output",
            magnitude: (normalized * size.output.column + bias) * regime.rescaled(),
        },
    ];
    sides.chain(rest).collect()
}

/// What is said of queries and of keys: as they are projected, and as they are normalized.
const QUERIES: [&str; 2] = ["the query projection", "the normalized queries"];
const KEYS: [&str; 2] = ["the key projection", "the normalized keys"];

/// Queries or keys, of `heads` heads: as projected, and as they are normalized and rotated.
fn score_side(
    [projected_name, normalized_name]: [&'static str; 2],
    (architecture, index, heads): (&Architecture, usize, usize),
    scale: Option<HeadNormScale>,
    (projected, gain): (f64, f64),
    regime: Regime,
) -> Vec<Bound> {
    // A rotated lane is the sum of two, each times a cosine or sine.
    let rotated = match architecture.rotation(index) {
        0 => 1.0,
        bits => 2.0 * power_of_two(bits.into()),
    };
    let projection = |magnitude| Bound {
        quantity: projected_name,
        magnitude: magnitude * regime.rescaled(),
    };
    match (scale, architecture.head_norm_size(heads)) {
        (Some(scale), Some(size)) => {
            let of = (size, scale.input, STREAM_BITS);
            let norm_scale = (scale.norm, &[][..]);
            let mut bounds = norm(of, architecture.epsilon(), norm_scale, regime).to_vec();
            bounds.push(projection(projected));
            bounds.push(Bound {
                quantity: normalized_name,
                magnitude: KEY * gain * rotated * regime.rescaled(),
            });
            bounds
        }
        _ => vec![projection(projected * rotated)],
    }
}

/// The sizes of the head: of γ·z + β, of its matrix, and of what is added to a logit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeadSize {
    pub gain: f64,
    pub bias: f64,
    pub column: f64,
    pub logit_bias: f64,
}

impl HeadSize {
    /// The largest that stored integers allow.
    pub fn worst(architecture: &Architecture) -> Self {
        let wide = power_of_two(63);
        Self {
            gain: wide,
            bias: wide,
            column: Affine::worst(architecture.stream()).column,
            logit_bias: wide,
        }
    }

    /// Those of actual weights; `tokens` serves where the head has no matrix of its own.
    pub fn of(head: &HeadWeights, tokens: &IntMatrix) -> Self {
        Self {
            gain: largest(&head.gain),
            bias: largest(&head.bias),
            column: column_norm(head.matrix.as_ref().unwrap_or(tokens)) as f64,
            logit_bias: largest(&head.logit_bias),
        }
    }
}

/// The quantities of the head.
pub fn head(
    architecture: &Architecture,
    scales: &Scales,
    size: &HeadSize,
    regime: Regime,
) -> Vec<Bound> {
    let stream = (architecture.norm_size(), scales.residual, STREAM_BITS);
    let scale = (scales.final_norm, &*scales.final_lifts);
    let mut bounds = norm(stream, architecture.epsilon(), scale, regime).to_vec();
    bounds.push(Bound {
        quantity: "a logit",
        magnitude: (KEY * size.gain + size.bias) * size.column + size.logit_bias,
    });
    bounds
}

/// The number of bits of the largest logit difference: what its range check must cover.
pub fn logit_difference_bits(architecture: &Architecture, scales: &Scales, size: &HeadSize) -> u32 {
    let bounds = head(architecture, scales, size, Regime::Run);
    let logit = bounds.last().expect("the logit is the last bound");
    floor_log2(2.0 * logit.magnitude) + 1
}

/// The least power of 2^16 above `x`: what limbs that hold every value up to x also hold.
fn whole_limbs(x: f64) -> f64 {
    let x = x.max(1.0);
    let floor = floor_log2(x);
    let ceil = floor + u32::from(power_of_two(floor.into()) < x);
    power_of_two((16 * (ceil + 1).div_ceil(16)).into())
}

/// ⌊log₂ x⌋, the exponent of a number; 0 for those below 1.
fn floor_log2(x: f64) -> u32 {
    (x.max(1.0).to_bits() >> 52) as u32 - 1023
}

/// Refuses a manifest at whose scales some in-range witness could wrap around the field, whatever
/// its 32-bit weights.
///
/// # Errors
/// [`QuantError::Bound`].
pub fn check_field(architecture: &Architecture, scales: &Scales) -> Result<(), QuantError> {
    let size = BlockSize::worst(architecture);
    for index in 0..scales.blocks.len() {
        let bounds = block(architecture, scales, index, &size, Regime::Field);
        check(Place::Block(index), Regime::Field, &bounds)?;
    }
    let size = HeadSize::worst(architecture);
    let bounds = head(architecture, scales, &size, Regime::Field);
    check(Place::Head, Regime::Field, &bounds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::testing::{self, Random};
    use crate::quant::{ceil_log2, max_norm_output};

    fn shape(width: usize, context: usize, long_root: bool) -> (Architecture, Scales) {
        let mut architecture = testing::architecture(1, width / 64);
        architecture.context = context;
        let mut scales = testing::scales(1);
        let output = max_norm_output(width);
        let root = output + if long_root { 48 } else { 32 };
        let norm = NormScale { output, root };
        scales.final_norm = norm;
        scales.blocks[0].norm1 = Some(norm);
        scales.blocks[0].norm2 = Some(norm);
        scales.inverse = 34 + ceil_log2(context);
        (architecture, scales)
    }

    /// The claim on which every relation rests: nothing wraps around, whatever the weights.
    #[test]
    fn no_witness_in_range_wraps_around_the_field_up_to_4096() {
        for width in [64, 192, 768, 1024, 4096] {
            for context in [1, 1024, 4096] {
                for long_root in [false, true] {
                    let (architecture, scales) = shape(width, context, long_root);
                    check_field(&architecture, &scales).unwrap();
                }
            }
        }
    }

    /// With weights as a trained model has them (|w| ≤ 2, L1 norms to match), a run is in `i128`.
    #[test]
    fn a_run_with_ordinary_weights_stays_in_128_bits_up_to_4096() {
        let (architecture, scales) = shape(4096, 4096, true);
        let affine = Affine {
            column: 4096.0 * 16f64.exp2() * 0.1,
            bias: 45f64.exp2(),
        };
        let size = BlockSize {
            query: affine,
            key: affine,
            value: affine,
            output: affine,
            gate: None,
            up: affine,
            down: affine,
            head_gains: [0.0; 2],
            branch_gains: [0.0; 2],
        };
        let bounds = block(&architecture, &scales, 0, &size, Regime::Run);
        check(Place::Block(0), Regime::Run, &bounds).unwrap();
        for bound in bounds {
            assert!(bound.log2() > 8.0, "{bound:?} is a bound on something");
        }
    }

    /// A quantity without a bound would be one that may overflow.
    #[test]
    fn every_quantity_has_a_bound() {
        let (architecture, scales) = shape(64, 32, false);
        let names = |bounds: Vec<Bound>| Vec::from_iter(bounds.iter().map(|b| b.quantity));
        let size = BlockSize::worst(&architecture);
        let norm = [
            "a norm's variance",
            "a norm's root bracket",
            "a norm's scaled input",
        ];
        let rest = [
            "the query projection",
            "the key projection",
            "an attention score",
            "a normalizer's bracket",
            "a head's sum",
            "the attention's output",
            "the activation's argument",
            "the up projection",
            "the down projection",
        ];
        let found = names(block(&architecture, &scales, 0, &size, Regime::Run));
        assert_eq!(found, [&norm[..], &norm, &rest].concat());
        let size = HeadSize::worst(&architecture);
        let found = names(head(&architecture, &scales, &size, Regime::Run));
        assert_eq!(found, [&norm[..], &["a logit"]].concat());
    }

    /// The norms of heads and behind, and their gains, have bounds of their own; a block without norms before reads the
    /// stream itself.
    #[test]
    fn every_kind_of_block_has_bounds_for_what_it_has() {
        use crate::quant::{HeadNorm, Order};
        let (mut architecture, mut scales) = shape(64, 32, false);
        let plain = block(
            &architecture,
            &scales,
            0,
            &BlockSize::worst(&architecture),
            Regime::Field,
        );
        architecture.order = Order::Behind;
        architecture.head_norm = Some(HeadNorm::Heads);
        let b = &mut scales.blocks[0];
        let norm = b.norm1.take();
        b.norm2 = None;
        (b.attention_norm, b.feed_forward_norm) = (norm, norm);
        let of_heads = norm.map(|norm| HeadNormScale { input: 12, norm });
        (b.query_norm, b.key_norm) = (of_heads, of_heads);
        let size = BlockSize::worst(&architecture);
        let bounds = block(&architecture, &scales, 0, &size, Regime::Field);
        let count = |bounds: &[Bound], what: &str| {
            bounds.iter().filter(|bound| bound.quantity == what).count()
        };
        assert_eq!(count(&bounds, "a norm's variance"), 4);
        assert_eq!(count(&bounds, "a normalized branch"), 2);
        for name in [QUERIES[1], KEYS[1]] {
            assert_eq!((count(&bounds, name), count(&plain, name)), (1, 0));
        }
        let of = |bounds: &[Bound], what: &str| {
            bounds
                .iter()
                .find(|bound| bound.quantity == what)
                .expect("it has a bound")
                .magnitude
        };
        for what in [QUERIES[0], "the up projection"] {
            assert!(of(&bounds, what) > 10.0 * of(&plain, what), "{what}");
        }
    }

    /// The limit itself is beyond the limit.
    #[test]
    fn bounds_stay_below_their_limit() {
        let at = |magnitude| {
            let quantity = "it";
            check(
                Place::Head,
                Regime::Run,
                &[Bound {
                    quantity,
                    magnitude,
                }],
            )
        };
        let limit = f64::from(RUN_BITS).exp2();
        assert_eq!(at(limit / 2.0), Ok(()));
        assert!(at(limit).is_err());
    }

    #[test]
    fn weights_that_overflow_a_run_are_refused_by_name() {
        let (architecture, scales) = shape(4096, 4096, false);
        let size = BlockSize::worst(&architecture);
        let bounds = block(&architecture, &scales, 0, &size, Regime::Run);
        let error = check(Place::Block(5), Regime::Run, &bounds).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("block 5: the attention's output can reach 2^"),
            "{error}"
        );
    }

    #[test]
    fn actual_weights_never_exceed_their_bound() {
        let mut random = Random::new(3);
        let matrix = IntMatrix {
            inputs: 64,
            outputs: 8,
            data: (0..512).map(|_| random.next() as i32).collect(),
        };
        let bias: Vec<i64> = (0..8).map(|_| random.next() as i64 >> 8).collect();
        let affine = Affine::of(&matrix, &bias);
        let mut largest = 0f64;
        for (column, b) in bias.iter().enumerate() {
            // The worst input of a column has its signs.
            let sum: i128 = (0..64)
                .map(|i| {
                    let w = i128::from(matrix.row(i)[column]);
                    w * if w < 0 { -32768 } else { 32768 }
                })
                .sum();
            largest = largest.max((sum + i128::from(*b).abs()) as f64);
        }
        assert!(largest <= affine.apply(KEY));
        assert!(
            largest > 0.9 * affine.apply(KEY),
            "and the bound is not idle"
        );
    }

    /// The second norm's input is a sum of two values of 32 bits, whose squares are four times as large.
    #[test]
    fn the_second_norm_has_a_sum_to_normalize() {
        let (architecture, scales) = shape(768, 1024, true);
        let size = BlockSize::worst(&architecture);
        for regime in [Regime::Run, Regime::Field] {
            let bounds = block(&architecture, &scales, 0, &size, regime);
            let [first, second] = [bounds[0], bounds[3]];
            assert_eq!(first.quantity, second.quantity);
            let input = |bits: f64| 768f64.powi(3) * (2.0 * bits).exp2();
            assert!((input(31.0)..input(31.1)).contains(&first.magnitude));
            assert!((input(32.0)..input(32.1)).contains(&second.magnitude));
        }
    }

    /// What no limits are computed for is refused.
    #[test]
    fn norms_without_limits_are_refused() {
        let (mut architecture, scales) = shape(64, 64, false);
        architecture.epsilon_bits = 1e30f64.to_bits();
        for regime in [Regime::Run, Regime::Field] {
            let stream = (architecture.norm_size(), 12, 31);
            let scale = (scales.final_norm, &[][..]);
            let bounds = norm(stream, architecture.epsilon(), scale, regime);
            assert!(check(Place::Head, regime, &bounds).is_err());
        }
    }

    /// The bracket's and the scaled input's bounds, against exact roots of extreme variances.
    #[test]
    fn norm_quantities_never_exceed_their_bounds() {
        let (architecture, scales) = shape(64, 64, false);
        let scale = scales.final_norm;
        let stream = (architecture.norm_size(), 12, 31);
        let [variance, bracket, _] =
            norm(stream, architecture.epsilon(), (scale, &[]), Regime::Run);
        let target = 64u128 << (2 * scale.root);
        let smallest = 64 * (1e-5 * 4096.0 * 24f64.exp2()).ceil() as u128;
        let alternating = 64u128.pow(3) << 62; // h = ±2^31
        for v in [smallest, smallest + 12345, 1 << 60, alternating] {
            assert!(v as f64 <= variance.magnitude);
            let root = (target / v).isqrt();
            assert!(root * root * v <= target && (root + 1).pow(2) * v > target);
            assert!(((root + 1).pow(2) * v) as f64 <= bracket.magnitude);
        }
    }

    #[test]
    fn logit_differences_of_a_trained_head_fit_four_limbs() {
        let (architecture, scales) = shape(768, 1024, false);
        let size = HeadSize {
            gain: 10.0 * 1024.0,
            bias: 20f64.exp2(),
            column: 768.0 * 0.2 * 65536.0,
            logit_bias: 0.0,
        };
        let bits = logit_difference_bits(&architecture, &scales, &size);
        assert!((40..=63).contains(&bits), "{bits}");
    }
}
