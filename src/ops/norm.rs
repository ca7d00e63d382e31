//! LayerNorm and RMSNorm, exactly, per token.
//!
//! With d the width, x the row, and for LayerNorm m = d, S1 = Σ x_k and c_k = d·x_k − S1 (so
//! Σ c_k = 0), for RMSNorm m = 1 and c_k = x_k:
//!
//! ```text
//! V = Σ c_k² + K = m²·Σ x_k² [− d·S1²] + K,      K = d·⌈ε·m²·2^(2f)⌉
//! R = ⌊√(d·2^(2r)/V)⌋:   R²·V + δ₁ = d·2^(2r)
//!                         (R+1)²·V = 1 + d·2^(2r) + δ₂
//! R·c_k + 2^(r−f_z−1) = z_k·2^(r−f_z) + rem_k
//! ```
//!
//! so c_k·R·2^-r ≈ c_k/√(V/d) is the normalized value and z_k has f_z fractional bits; gain and
//! bias are the next linear layer's. Where channels are lifted, c_k·2^(t_k) stands in the last line for c_k, 0 in the lanes
//! beyond d: a public factor on the channel, so that channels are checked as well, and z_k has f_z + t_k fractional bits.
//!
//! | column | a cheating prover cannot choose it because |
//! | --- | --- |
//! | S1 (LayerNorm's only), V | exact, determined by x |
//! | R | δ₁, δ₂ ≥ 0 leave one integer, and its digits make it one (R ± ½ mod p would do otherwise) |
//! | δ₁, δ₂ | differences of what is determined |
//! | z, rem | rem < 2^(r−f_z) leaves one quotient, range-checked |
//!
//! A row is the residual stream at a token, or a head's queries or keys, or those of all heads. It has l lanes, d in whole
//! slabs: those beyond are zero, as their weights are, and no mean counts them. (If a strange key has others there, V is
//! still one number, and if it is not positive, no R exists.)
//!
//! Bounds, for any x in the range that its digits allow, |x| ≤ 2^b: |V| is at most the larger of m²·l·2^(2b) and, for
//! LayerNorm, d·l·(l − d)·2^(2b), plus K ([`NormLimits`]). R ≤ √(d·2^(2r)/K) gives R's digits, and δ₁, δ₂ ≤ (2R+1)·V ≤ 2√(d·2^(2r)·V) + V
//! the brackets'. R²·V < 2^252 for all digits of R ([`NormShape::new`] insists), so brackets are
//! equations of integers. |c_k|·R ≤ √d·2^r, hence |z| ≤ √d·2^f_z, which its 16 bits hold; a lifted channel's may outgrow
//! them, and then the run stops.

use ethnum::U256;
use rayon::prelude::*;

use super::{Digits, HeadSide, Heads, LANES, Overflow, Recorder, Site, Vars};
use crate::algebra::{F, from_i128, pow2};
use crate::quant::{Lifts, NormKind, NormLimits, NormScale, NormSize, isqrt};
use crate::system::{
    Bind, ColumnId, Form, Live, Public, Relation, Rhs, System, Tensor, Term, VarId, View,
};

/// A norm's constants, which follow from width and scales.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NormShape {
    size: NormSize,
    scale: NormScale,
    /// K.
    floor: i128,
    /// d·2^(2r).
    target: U256,
    root_digits: u32,
    bracket_digits: u32,
    /// t_k of each of the d channels, or none.
    lifts: Lifts,
}

impl NormShape {
    /// The constants of a norm of |x| ≤ 2^`input_bits` at `fraction`
    /// fractional bits; `None` if z might outgrow 16 bits or anything F or `i128`, or if rounding
    /// drops anything but 32 or 48 bits.
    pub fn new(
        size: NormSize,
        input_bits: u32,
        fraction: u32,
        epsilon: f64,
        scale: NormScale,
    ) -> Option<Self> {
        let dropped = scale.root.checked_sub(scale.output)?;
        let output_fits = (size.width as f64).sqrt() * 2f64.powi(scale.output as i32) < 32767.0;
        if size.lanes >= 1 << 13 || !output_fits || (dropped != 32 && dropped != 48) {
            return None;
        }
        let limits = NormLimits::new(size, input_bits, fraction, epsilon, scale)?;
        let bits = |x: U256| 256 - x.leading_zeros();
        let root_digits = Digits::count_for(limits.root);
        let bracket_digits = Digits::count_for(limits.bracket);
        let fits = bits(limits.bracket) < 127 && 32 * root_digits + bits(limits.variance) < 252;
        fits.then_some(Self {
            size,
            scale,
            floor: limits.floor,
            target: limits.target,
            root_digits,
            bracket_digits,
            lifts: vec![],
        })
    }

    /// The same with lifted channels: as many as the width, or none.
    pub fn lifted(self, lifts: &[u8]) -> Self {
        assert!(lifts.is_empty() || lifts.len() == self.size.width);
        let lifts = lifts.to_vec();
        Self { lifts, ..self }
    }

    /// 2^(t_k) of every lane, 0 beyond the width; `None` where no channel is lifted.
    fn lift_factors(&self) -> Option<Vec<i64>> {
        let factors = self.lifts.iter().map(|t| 1 << t);
        let filling = self.size.lanes - self.size.width;
        (!self.lifts.is_empty()).then(|| factors.chain(vec![0; filling]).collect())
    }

    /// m.
    fn multiple(&self) -> i128 {
        self.size.multiple() as i128
    }

    /// r − f_z.
    fn dropped(&self) -> u32 {
        self.scale.root - self.scale.output
    }

    /// The norms of x, `[slab][token][lane]`: of as many slabs together as the norm has.
    ///
    /// Errors: lanes beyond the width leave no positive variance, or are so large (a strange key's), or a channel is lifted so
    /// far, that an output outgrows its 16 bits.
    pub fn normalize(&self, x: &[i64], tokens: usize) -> Result<Normalized, Overflow> {
        let (m, dropped) = (self.multiple(), self.dropped());
        let slabs = self.size.lanes / LANES;
        let group = slabs * tokens * LANES;
        let rows = x
            .par_chunks(group)
            .flat_map(|x| {
                (0..tokens)
                    .into_par_iter()
                    .map(|token| Row::new(self, x, token, tokens))
            })
            .collect::<Result<Vec<Row>, Overflow>>()?;
        let lifts = self.lift_factors();
        let (outputs, rests) = x
            .par_iter()
            .enumerate()
            .map(|(index, x)| {
                let row = &rows[index / group * tokens + index / LANES % tokens];
                let lane = index % group / (tokens * LANES) * LANES + index % LANES;
                // RMSNorm has no mean, and lanes beyond the width are no part of it.
                let mean = if lane < self.size.width { row.sum } else { 0 };
                let lift = lifts.as_ref().map_or(1, |lifts| lifts[lane]);
                let centred = (m * i128::from(*x) - mean) * i128::from(lift);
                let scaled = centred * row.root + (1 << (dropped - 1));
                let output = scaled >> dropped;
                Overflow::check("a norm's output", [output], -(1 << 15), (1 << 15) - 1)?;
                Ok((output as i64, scaled & ((1 << dropped) - 1)))
            })
            .collect::<Result<Vec<_>, Overflow>>()?
            .into_iter()
            .unzip();
        Ok(Normalized {
            rows,
            outputs,
            rests,
        })
    }

    /// R for a given V.
    fn root(&self, v: i128) -> i128 {
        isqrt(self.target / U256::from(v.unsigned_abs())).as_i128()
    }
}

/// What of a tensor `[slab][token][lane]` is normalized together, and how relations speak of it.
#[derive(Clone, Debug)]
pub struct NormSite {
    lens: [usize; 3],
    binds: [Bind; 3],
    /// The variables of a row, with the number of their values, outermost first.
    rows: Vec<(VarId, usize)>,
    /// What is summed over in a row.
    features: Vec<VarId>,
    /// Those of them that the slab's dimension shares with a row's variables: they are on its side.
    part: Option<VarId>,
    /// The features that count in LayerNorm's mean.
    counted: Live,
    /// The slabs that exist.
    slabs: Live,
    /// The rows that exist, where their variables have more room.
    existing: Vec<Live>,
}

impl NormSite {
    /// The residual stream, of `width` values, at each token.
    pub fn stream(vars: &Vars, width: usize) -> Self {
        let stream = vars.input;
        Self {
            lens: [stream.slabs(), vars.tokens, LANES],
            binds: stream.binds(vars.token),
            rows: vec![(vars.token, vars.tokens)],
            features: vec![stream.slab, stream.lane],
            part: None,
            counted: if width == stream.len {
                stream.live()
            } else {
                stream.prefix(width)
            },
            slabs: stream.live(),
            existing: vec![],
        }
    }

    /// Queries or keys at each token: of each head, or of all heads together.
    pub fn heads(vars: &Vars, heads: &Heads, side: HeadSide, whole: bool) -> Self {
        let HeadSide { head, slabs } = side;
        let (part, lane) = (heads.queries.part, vars.input.lane);
        let slab = match part {
            None => Bind::Var(head),
            Some(part) => Bind::Pair(part, head),
        };
        let of_slabs: Vec<VarId> = part.into_iter().chain([head]).collect();
        let count = slabs / heads.parts();
        let token = (vars.token, vars.tokens);
        let live = Live {
            vars: of_slabs.clone(),
            len: slabs,
        };
        Self {
            lens: [slabs, vars.tokens, LANES],
            binds: [slab, Bind::Var(vars.token), Bind::Var(lane)],
            rows: if whole {
                vec![token]
            } else {
                vec![(head, count), token]
            },
            features: match whole {
                true => of_slabs.into_iter().chain([lane]).collect(),
                false => part.into_iter().chain([lane]).collect(),
            },
            part: part.filter(|_| !whole),
            counted: live.clone(),
            slabs: live,
            existing: match whole {
                true => vec![],
                false => vec![Live {
                    vars: vec![head],
                    len: count,
                }],
            },
        }
    }

    /// What is normalized, as a tensor.
    pub fn tensor(&self) -> Site {
        Site {
            lens: self.lens,
            binds: self.binds,
            live: self.slabs.clone(),
        }
    }

    /// The variables of a row's channels, lowest first.
    fn channels(&self) -> Vec<VarId> {
        self.features.iter().rev().copied().collect()
    }

    fn row_vars(&self) -> Vec<VarId> {
        self.rows.iter().map(|(var, _)| *var).collect()
    }

    fn row_binds(&self) -> Vec<Bind> {
        self.rows.iter().map(|(var, _)| Bind::Var(*var)).collect()
    }
}

/// A norm's columns.
#[derive(Clone, Debug)]
pub struct Norm {
    shape: NormShape,
    tokens: usize,
    sum: Option<ColumnId>,
    variance: ColumnId,
    root: Digits,
    below: Digits,
    above: Digits,
    output: Digits,
    rest: Digits,
}

impl Norm {
    /// Declares the norm of `x`, a form of what `site` says. Panics if LayerNorm is to be taken of each head.
    pub fn declare(
        system: &mut System,
        name: &str,
        site: &NormSite,
        x: &Form,
        shape: NormShape,
    ) -> Self {
        let per_row: Vec<usize> = site.rows.iter().map(|(_, len)| *len).collect();
        let mut digits = |part: &str, lens: &[usize], count| {
            Digits::unsigned(system, &format!("{name} {part}"), lens, count)
        };
        let root = digits("root", &per_row, shape.root_digits);
        let below = digits("below", &per_row, shape.bracket_digits);
        let above = digits("above", &per_row, shape.bracket_digits);
        let rest = digits("rest", &site.lens, shape.dropped() / 16);
        let has_mean = shape.size.kind == NormKind::Layer;
        let this = Self {
            shape,
            tokens: site.lens[1],
            sum: has_mean.then(|| system.exact(format!("{name} sum"), &per_row)),
            variance: system.exact(format!("{name} variance"), &per_row),
            root,
            below,
            above,
            output: Digits::signed(system, &format!("{name} output"), &site.lens, 1),
            rest,
        };
        this.relate_moments(system, name, site, x);
        this.relate_root(system, name, site);
        this.relate_output(system, name, site, x);
        this
    }

    /// The output z.
    pub fn output(&self) -> &Digits {
        &self.output
    }

    /// V = m²·Σ x² [− d·S1²] + K.
    fn relate_moments(&self, system: &mut System, name: &str, site: &NormSite, x: &Form) {
        let m = F::from(self.shape.size.multiple() as u64);
        let mut terms = vec![Term::new(m * m, &site.features, vec![x.clone(), x.clone()])];
        if let Some(sum) = self.sum {
            self.relate_sum(system, name, site, x);
            let sum = Form::of(View::new(sum, &site.row_binds()));
            let d = F::from(self.shape.size.width as u64);
            terms.push(Term::new(-d, &[], vec![sum.clone(), sum]));
        }
        system.relate(Relation {
            name: format!("{name} variance"),
            check: site.row_vars(),
            terms,
            rhs: vec![
                Rhs::of(F::one(), View::new(self.variance, &site.row_binds())),
                Rhs::constant(-from_i128(self.shape.floor), &site.existing),
            ],
        });
    }

    /// S1 = Σ x.
    fn relate_sum(&self, system: &mut System, name: &str, site: &NormSite, x: &Form) {
        assert!(
            site.existing.is_empty(),
            "LayerNorm is of all slabs together"
        );
        let sum = View::new(self.sum.expect("LayerNorm's"), &site.row_binds());
        let [_, token, _] = site.binds;
        let summed = [Bind::Ones, token, Bind::Ones];
        let mut rhs = vec![Rhs::of(F::one(), sum)];
        for (coef, view) in &x.0 {
            rhs.push(Rhs::of(-*coef, View::new(view.column, &summed)));
        }
        system.relate(Relation {
            name: format!("{name} sum"),
            check: vec![],
            terms: vec![],
            rhs,
        });
    }

    /// R²·V = d·2^(2r) − δ₁ and R²·V + 2R·V + V = 1 + d·2^(2r) + δ₂.
    fn relate_root(&self, system: &mut System, name: &str, site: &NormSite) {
        let row = site.row_binds();
        let root = self.root.form(&row);
        let variance = Form::of(View::new(self.variance, &row));
        let target = F::from(self.shape.size.width as u64) * pow2(2 * self.shape.scale.root);
        let square = Term::new(
            F::one(),
            &[],
            vec![root.clone(), root.clone(), variance.clone()],
        );
        let mut rhs = self.below.rhs(-F::one(), &row);
        rhs.push(Rhs::constant(target, &site.existing));
        system.relate(Relation {
            name: format!("{name} root from below"),
            check: site.row_vars(),
            terms: vec![square.clone()],
            rhs,
        });
        let mut rhs = self.above.rhs(F::one(), &row);
        rhs.push(Rhs::constant(F::one() + target, &site.existing));
        system.relate(Relation {
            name: format!("{name} root from above"),
            check: site.row_vars(),
            terms: vec![
                square,
                Term::new(F::from(2), &[], vec![root, variance.clone()]),
                Term::new(F::one(), &[], vec![variance]),
            ],
            rhs,
        });
    }

    /// R·(m·x_k [− S1])[·2^(t_k)] + half = z_k·2^(r−f_z) + rem_k.
    fn relate_output(&self, system: &mut System, name: &str, site: &NormSite, x: &Form) {
        let dropped = self.shape.dropped();
        let root = self.root.form(&site.row_binds());
        let m = F::from(self.shape.size.multiple() as u64);
        let lifts = self.shape.lift_factors().map(|factors| {
            let values = Tensor::new(factors.len(), move || factors);
            let vars = site.channels();
            Public::Table { vars, values }
        });
        let mut terms = vec![Term::new(m, &[], vec![root.clone(), x.clone()])];
        if let Some(sum) = self.sum {
            let sum = Form::of(View::new(sum, &site.row_binds()));
            let mean = Term::new(-F::one(), &[], vec![root, sum]);
            // Lifts are zero where nothing counts.
            let counted = site.counted.clone();
            terms.push(if lifts.is_some() {
                mean
            } else {
                mean.live(counted)
            });
        }
        let mut check: Vec<VarId> = site.row_vars().into_iter().chain(site.part).collect();
        if let Some(table) = lifts {
            terms = terms.into_iter().map(|t| t.public(table.clone())).collect();
            check.extend(site.channels());
        }
        let mut rhs = self.output.rhs(pow2(dropped), &site.binds);
        rhs.extend(self.rest.rhs(F::one(), &site.binds));
        rhs.push(Rhs::constant(
            -pow2(dropped - 1),
            std::slice::from_ref(&site.slabs),
        ));
        system.relate(Relation {
            name: format!("{name} output"),
            check,
            terms,
            rhs,
        });
    }

    /// z for x, both `[slab][token][lane]`.
    pub fn run(&self, x: &[i64], recorder: &mut Recorder) -> Result<Vec<i64>, Overflow> {
        let values = self.shape.normalize(x, self.tokens)?;
        let column = |f: fn(&Row) -> i128| values.rows.iter().map(f).collect::<Vec<_>>();
        if let Some(sum) = self.sum {
            recorder.exact(sum, column(|r| r.sum));
        }
        recorder.exact(self.variance, column(|r| r.variance));
        self.root.put(recorder, &column(|r| r.root))?;
        self.below.put(recorder, &column(|r| r.below))?;
        self.above.put(recorder, &column(|r| r.above))?;
        self.output.put(recorder, &values.outputs)?;
        self.rest.put(recorder, &values.rests)?;
        Ok(values.outputs)
    }
}

/// What a norm computes.
pub struct Normalized {
    rows: Vec<Row>,
    /// z, `[slab][token][lane]`.
    pub outputs: Vec<i64>,
    rests: Vec<i128>,
}

/// One token's values.
struct Row {
    /// S1, or 0.
    sum: i128,
    variance: i128,
    root: i128,
    below: i128,
    above: i128,
}

impl Row {
    fn new(shape: &NormShape, x: &[i64], token: usize, tokens: usize) -> Result<Self, Overflow> {
        let m = shape.multiple();
        let row = || {
            x.chunks(LANES)
                .skip(token)
                .step_by(tokens)
                .flatten()
                .map(|x| i128::from(*x))
        };
        let sum: i128 = match shape.size.kind {
            NormKind::Layer => row().sum(),
            NormKind::RootMeanSquare => 0,
        };
        let squares = row().map(|x| x * x).sum::<i128>();
        let variance = m * m * squares - shape.size.width as i128 * sum * sum + shape.floor;
        Overflow::check("a norm's variance", [variance], 1, i128::MAX)?;
        let root = shape.root(variance);
        let square = |r: i128| U256::from(r as u128) * U256::from(r as u128);
        let variance_wide = U256::from(variance as u128);
        let below = shape.target - square(root) * variance_wide;
        let above = square(root + 1) * variance_wide - 1 - shape.target;
        Ok(Self {
            sum,
            variance,
            root,
            below: below.as_i128(),
            above: above.as_i128(),
        })
    }
}

#[cfg(test)]
mod tests {
    use ff::Field;

    use super::*;
    use crate::ops::testing::{Case, OwnedTables, Rng};
    use crate::ops::{Input, Vars};
    use crate::quant::in_slabs;

    const SCALE: NormScale = NormScale {
        output: 10,
        root: 42,
    };

    const LAYER: NormKind = NormKind::Layer;

    /// A system with one norm of a layer's input.
    fn declare(width: usize, tokens: usize) -> (System, Input, Norm) {
        declare_kind(LAYER, width, tokens)
    }

    fn shape(kind: NormKind, width: usize) -> NormShape {
        let size = NormSize::new(kind, width);
        NormShape::new(size, 31, 12, 1e-5, SCALE).expect("provable")
    }

    fn declare_kind(kind: NormKind, width: usize, tokens: usize) -> (System, Input, Norm) {
        declare_shape(shape(kind, width), tokens)
    }

    fn declare_shape(shape: NormShape, tokens: usize) -> (System, Input, Norm) {
        let width = shape.size.width;
        let mut system = System::default();
        let lanes = in_slabs(width);
        let vars = Vars::block(&mut system, lanes, (lanes, lanes), tokens);
        let input = Input::declare(&mut system, &vars);
        let site = NormSite::stream(&vars, width);
        let norm = Norm::declare(&mut system, "norm", &site, &input.form(&vars), shape);
        (system, input, norm)
    }

    fn case<'a>(
        (system, input, norm): &'a (System, Input, Norm),
        tables: &'a OwnedTables,
        x: &[i64],
    ) -> Case<'a> {
        let mut recorder = Recorder::on(system);
        input.run(x, &mut recorder).expect("32-bit");
        norm.run(x, &mut recorder).expect("a norm never overflows");
        let witness = recorder.into_witness();
        Case::new(system, &witness, tables, |_, _| {
            x.iter().map(|v| from_i128((*v).into())).collect()
        })
    }

    /// Ordinary rows, constant ones (V = K), and the largest that 32 bits hold.
    #[test]
    fn honest_norms_hold_at_the_extremes() {
        let tables = OwnedTables::build();
        let kinds = [LAYER, NormKind::RootMeanSquare];
        for (width, kind) in [64, 192].into_iter().flat_map(|w| kinds.map(|k| (w, k))) {
            let declared = declare_kind(kind, width, 4);
            let (low, high) = (-(1i64 << 31), (1i64 << 31) - 1);
            let rows: [&dyn Fn(usize) -> i64; 4] = [
                &|k| (k as i64 * 977 % 4001) - 2000,
                &|_| high,
                &|k| if k % 2 == 0 { low } else { high },
                &|k| if k == 0 { low } else { 0 },
            ];
            let x: Vec<i64> = (0..width * 4)
                .map(|index| {
                    let (slab, token, lane) = (index / 256, index / 64 % 4, index % 64);
                    rows[token](slab * 64 + lane)
                })
                .collect();
            case(&declared, &tables, &x).assert_holds();
        }
    }

    /// z·2^-10 is the normalized row to within its rounding.
    #[test]
    fn outputs_are_normalized_values() {
        let (width, mut rng) = (192, Rng(1));
        let x = rng.vector(width, 50_000);
        let z = shape(LAYER, width)
            .normalize(&x, 1)
            .expect("ordinary")
            .outputs;
        let real: Vec<f64> = x.iter().map(|v| *v as f64 / 4096.0).collect();
        let mean = real.iter().sum::<f64>() / width as f64;
        let variance = real.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / width as f64;
        for (z, x) in z.iter().zip(real) {
            let expected = (x - mean) / (variance + 1e-5).sqrt();
            assert!((*z as f64 / 1024.0 - expected).abs() < 0.51 / 1024.0 + 1e-6);
        }
    }

    /// Lifted channels have more fractional bits, and no other number of them: with and without a mean, and in a slab that
    /// is filled up, where whatever stands there gives 0.
    #[test]
    fn lifted_channels_have_more_bits() {
        let tables = OwnedTables::build();
        for (width, kind) in [(100, LAYER), (192, NormKind::RootMeanSquare)] {
            let lifts: Vec<u8> = (0..width).map(|k| (k % 4) as u8).collect();
            let plain = shape(kind, width);
            let lifted = plain.clone().lifted(&lifts);
            let declared = declare_shape(lifted.clone(), 4);
            let mut x = Rng(5).vector(in_slabs(width) * 4, 50_000);
            let channel = |at: usize| at / 256 * 64 + at % 64;
            for (at, x) in x.iter_mut().enumerate() {
                if channel(at) >= width {
                    *x = i64::from(at == 256 + 63);
                }
            }
            let [z, more] = [plain, lifted].map(|s| s.normalize(&x, 4).expect("ordinary"));
            for (at, (z, more)) in z.outputs.iter().zip(&more.outputs).enumerate() {
                match lifts.get(channel(at)) {
                    Some(t) => assert!(((more >> t) - z).abs() <= 1, "{at}"),
                    None => assert_eq!(*more, 0),
                }
            }
            let honest = || case(&declared, &tables, &x);
            honest().assert_every_column_is_bound(&[]);
            // The output of a norm without lifts, or with another channel's.
            for (at, shift) in [(1, 1), (3, 3), (2, 1)] {
                let mut case = honest();
                let wrong = more.outputs[at] >> shift;
                assert_ne!(wrong, more.outputs[at]);
                case.set_integer("norm output", at, from_i128(wrong.into()));
                assert_eq!(case.failures(), ["norm output"], "{at}");
            }
        }
    }

    /// A lift that makes a channel outgrow its 16 bits stops the run.
    #[test]
    fn a_lift_that_is_too_large_is_an_overflow() {
        let lifted = shape(LAYER, 64).lifted(&[8; 64]);
        let (system, input, norm) = declare_shape(lifted, 4);
        let mut recorder = Recorder::on(&system);
        let x = Rng(5).vector(256, 50_000);
        input.run(&x, &mut recorder).expect("32-bit");
        let overflow = norm.run(&x, &mut recorder).expect_err("2^10·2^8·1.7");
        assert_eq!(overflow.tensor, "a norm's output");
    }

    /// What a strange model has in lanes that only fill a slab up may leave no variance: it is not run.
    #[test]
    fn a_variance_that_is_not_positive_is_an_overflow() {
        let size = NormSize::new(LAYER, 32);
        let shape = NormShape::new(size, 31, 12, 1e-5, SCALE).expect("provable");
        // Σx² = 32·l², (Σx)² = (64·l)²: d²·Σx² < d·(Σx)².
        let overflow = shape
            .normalize(&[1 << 20; 64], 1)
            .map(|_| ())
            .expect_err("V < 0");
        assert!(overflow.value < 0, "{overflow}");
    }

    /// RMSNorm's z·2^-10 is x/√(mean x² + ε), and no entry of its columns is free.
    #[test]
    fn rms_norms_divide_by_the_root_mean_square() {
        let (width, mut rng) = (192, Rng(1));
        let x: Vec<i64> = rng
            .vector(width * 4, 50_000)
            .iter()
            .map(|x| x + 9000)
            .collect();
        let z = shape(NormKind::RootMeanSquare, width)
            .normalize(&x, 4)
            .expect("ordinary")
            .outputs;
        for token in 0..4 {
            let entries: Vec<usize> = (0..width)
                .map(|k| (k / LANES * 4 + token) * LANES + k % LANES)
                .collect();
            let real = |at: &usize| x[*at] as f64 / 4096.0;
            let square = entries.iter().map(|at| real(at).powi(2)).sum::<f64>() / width as f64;
            for at in &entries {
                let expected = real(at) / (square + 1e-5).sqrt();
                assert!((z[*at] as f64 / 1024.0 - expected).abs() < 0.51 / 1024.0 + 1e-6);
            }
        }
        let tables = OwnedTables::build();
        let declared = declare_kind(NormKind::RootMeanSquare, width, 4);
        let case = case(&declared, &tables, &x);
        assert!(declared.0.columns.iter().all(|c| c.name != "norm sum"));
        case.assert_every_column_is_bound(&[]);
    }

    /// Another root, or a fraction of the field, satisfies every relation once the differences
    /// and remainders are adjusted: the range checks alone refuse it.
    #[test]
    fn wrong_roots_are_left_to_the_range_checks() {
        let tables = OwnedTables::build();
        let declared = declare(64, 4);
        let x = Rng(2).vector(256, 30_000);
        let half = Option::<F>::from(F::from(2).invert()).expect("2 is not 0 in F");
        for change in [F::one(), -F::one(), half, -half] {
            let mut case = case(&declared, &tables, &x);
            let (token, d) = (1, F::from(64));
            let root = case.integer("norm root", token) + change;
            let v = case.values[case.column("norm variance")][token];
            let sum = case.values[case.column("norm sum")][token];
            let target = d * pow2(84);
            case.set_integer("norm root", token, root);
            case.set_integer("norm below", token, target - root * root * v);
            let next = root + F::one();
            case.set_integer("norm above", token, next * next * v - F::one() - target);
            for lane in 0..64 {
                let entry = token * 64 + lane;
                let z = case.integer("norm output", entry);
                let c = d * case.integer("h", entry) - sum;
                let rest = root * c + pow2(31) - z * pow2(32);
                case.set_integer("norm rest", entry, rest);
            }
            let failures = case.failures();
            assert!(!failures.is_empty());
            assert!(
                failures.iter().all(|f| f.starts_with("lookup of norm")),
                "{failures:?}"
            );
            let brackets = ["root", "below", "above"].map(|p| format!("lookup of norm {p}[0]"));
            assert!(
                failures.iter().any(|f| brackets.contains(f)),
                "{failures:?}"
            );
        }
    }

    /// A row of d features, normalized with a mean or a variance over the next power of
    /// two, and everything else as it follows: each time the one relation that defines it tells.
    #[test]
    fn a_mean_or_variance_over_a_padded_width_is_refused() {
        let tables = OwnedTables::build();
        for width in [192, 320, 576, 768] {
            let declared = declare(width, 4);
            let shape = shape(LAYER, width);
            let (d, padded) = (width as i128, width.next_power_of_two() as i128);
            // Half of the features are 2^13, the others nothing: S1·d/d' is an integer.
            let x: Vec<i64> = (0..width as i64 * 4).map(|i| (i % 2) << 13).collect();
            let (sum, squares) = (d << 12, d << 25);
            let over = |d: i128, sum: i128| d * d * squares - d * sum * sum + shape.floor;
            let shrunk = sum * d / padded;
            assert_eq!(shrunk * padded, sum * d);
            let cheats = [
                ("norm sum", shrunk, over(d, shrunk)),
                ("norm variance", sum, over(padded, sum)),
            ];
            for (relation, sum, variance) in cheats {
                let mut case = case(&declared, &tables, &x);
                follow(&mut case, &shape, &x, sum, variance);
                assert_eq!(case.failures(), [relation], "d = {width}");
            }
            let mut honest = case(&declared, &tables, &x);
            follow(&mut honest, &shape, &x, sum, over(d, sum));
            honest.assert_holds();
        }
    }

    /// Sets what follows from S1 and V, for the first of four tokens.
    fn follow(case: &mut Case, shape: &NormShape, x: &[i64], sum: i128, variance: i128) {
        let (d, dropped) = (shape.size.width as i128, shape.dropped());
        let root = shape.root(variance);
        let wide = |x: i128| U256::from(x as u128);
        let below = shape.target - wide(root * root) * wide(variance);
        let above = wide((root + 1) * (root + 1)) * wide(variance) - 1 - shape.target;
        let (s, v) = (case.column("norm sum"), case.column("norm variance"));
        (case.values[s][0], case.values[v][0]) = (from_i128(sum), from_i128(variance));
        case.set_integer_digits("norm root", 0, root);
        case.set_integer_digits("norm below", 0, below.as_i128());
        case.set_integer_digits("norm above", 0, above.as_i128());
        for slab in 0..shape.size.width / LANES {
            for lane in 0..LANES {
                let entry = slab * 4 * LANES + lane;
                let scaled = (d * i128::from(x[entry]) - sum) * root + (1 << (dropped - 1));
                case.set_integer("norm output", entry, from_i128(scaled >> dropped));
                case.set_integer_digits("norm rest", entry, scaled & ((1 << dropped) - 1));
            }
        }
    }

    /// A constant added to all of x leaves z as it is, so x itself must be bound: by S1.
    #[test]
    fn shifted_inputs_are_noticed() {
        let tables = OwnedTables::build();
        let declared = declare(64, 4);
        let x = Rng(2).vector(256, 30_000);
        let mut case = case(&declared, &tables, &x);
        for entry in 0..64 {
            let shifted = case.integer("h", entry) + F::one();
            case.set_integer("h", entry, shifted);
        }
        let failures = case.failures();
        for relation in ["h in", "norm sum"] {
            assert!(failures.iter().any(|f| f == relation), "{failures:?}");
        }
    }

    /// Manifests that no bound covers are refused.
    #[test]
    fn unprovable_shapes_are_refused() {
        let new = |width, epsilon, output, root| {
            NormShape::new(
                NormSize::new(LAYER, width),
                31,
                12,
                epsilon,
                NormScale { output, root },
            )
        };
        assert!(new(768, 1e-5, 10, 58).is_some());
        assert_eq!(new(768, 1e-5, 11, 43), None); // z beyond 16 bits
        assert_eq!(new(768, 1e-5, 10, 50), None); // 40 bits dropped
        assert_eq!(new(768, 1e-5, 10, 9), None);
        assert_eq!(new(768, 0.0, 10, 42), None);
        assert_eq!(new(768, -1.0, 10, 42), None);
        assert_eq!(new(768, f64::NAN, 10, 42), None);
        assert_eq!(new(768, f64::INFINITY, 10, 42), None);
        assert_eq!(new(768, 1e-5, u32::MAX, u32::MAX), None);
        assert_eq!(new(0, 1e-5, 10, 42), None);
    }
}
