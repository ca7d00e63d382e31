//! Rescaling: an exact accumulator, rounded to fewer fractional bits.
//!
//! ```text
//! 2^(16ℓ−s)·acc + 2^(16ℓ−1) = q·2^(16ℓ) + t,     ℓ = ⌈s/16⌉,  0 ≤ t < 2^(16ℓ)
//! ```
//!
//! that is q = ⌊acc/2^s + ½⌋: round half up.
//!
//! | column | a cheating prover cannot choose it because |
//! | --- | --- |
//! | q | t < 2^(16ℓ) leaves one quotient, and q is range-checked (or a table's key) |
//! | t | it is the remainder of that one quotient, in ℓ digits |
//!
//! Bounds: with |acc| < 2^a, everything is below 2^(16ℓ + max(a − s, 64) + 1), which the ops that
//! rescale keep below 2^250.

use rayon::prelude::*;

use super::{Digits, Features, Overflow, Recorder};
use crate::algebra::{F, pow2};
use crate::system::{Bind, Live, Relation, Rhs, System, Term, VarId};

/// A right shift by s bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rescale {
    shift: u32,
}

impl Rescale {
    /// The largest shift.
    pub const MAX_SHIFT: u32 = 112;

    /// A shift by `shift` bits. Panics unless it is in 1 to [`Self::MAX_SHIFT`]: manifests are
    /// checked before anything is declared.
    pub fn new(shift: u32) -> Self {
        assert!(
            (1..=Self::MAX_SHIFT).contains(&shift),
            "a rescale drops 1 to 112 bits"
        );
        Self { shift }
    }

    /// ℓ, the number of digits of a remainder.
    pub fn digits(self) -> u32 {
        self.shift.div_ceil(16)
    }

    /// 16ℓ.
    fn bits(self) -> u32 {
        16 * self.digits()
    }

    /// 2^(16ℓ−s), by which the accumulator is multiplied.
    pub fn scale(self) -> F {
        pow2(self.bits() - self.shift)
    }

    /// (q, t).
    pub fn divide(self, acc: i128) -> Option<(i128, i128)> {
        // X = 2^(16ℓ−s)·(acc + 2^(s−1)): shift by s first, so that the product need not fit.
        let rounded = acc.checked_add(1 << (self.shift - 1))?;
        let quotient = rounded >> self.shift;
        let remainder = rounded - (quotient << self.shift);
        Some((quotient, remainder << (self.bits() - self.shift)))
    }
}

/// A rescaled tensor `[slab][token][lane]`.
#[derive(Clone, Debug)]
pub struct Rescaled {
    name: String,
    rescale: Rescale,
    quotient: Digits,
    remainder: Digits,
}

/// How a relation speaks of a tensor `[slab][token][lane]`.
#[derive(Clone, Debug)]
pub struct Site {
    pub lens: [usize; 3],
    pub binds: [Bind; 3],
    /// The slabs that exist.
    pub live: Live,
}

impl Features {
    /// The tensor of these features, token by token.
    pub fn site(&self, (token, tokens): (VarId, usize)) -> Site {
        Site {
            lens: [self.slabs(), tokens, super::LANES],
            binds: self.binds(token),
            live: self.live(),
        }
    }
}

/// An accumulator as a relation says it: Σ terms = the accumulator + Σ `offsets`.
pub struct Accumulator {
    pub check: Vec<VarId>,
    pub terms: Vec<Term>,
    /// Already on the right: minus the bias.
    pub offsets: Vec<Rhs>,
}

impl Rescaled {
    /// Declares the remainder of `accumulator` and relates it to `quotient`, both at `site`.
    pub fn declare(
        system: &mut System,
        name: &str,
        rescale: Rescale,
        quotient: Digits,
        accumulator: Accumulator,
        site: &Site,
    ) -> Self {
        let rest = format!("{name} rest");
        let remainder = Digits::unsigned(system, &rest, &site.lens, rescale.digits());
        let this = Self {
            name: name.into(),
            rescale,
            quotient,
            remainder,
        };
        this.relate(system, accumulator, &site.binds, site.live.clone());
        this
    }

    /// 2^(16ℓ−s)·Σ terms = 2^(16ℓ)·q + t − 2^(16ℓ−1)·live + 2^(16ℓ−s)·Σ offsets.
    fn relate(&self, system: &mut System, acc: Accumulator, binds: &[Bind], live: Live) {
        let (scale, bits) = (self.rescale.scale(), self.rescale.bits());
        let terms = acc
            .terms
            .into_iter()
            .map(|t| Term {
                coef: t.coef * scale,
                ..t
            })
            .collect();
        let mut rhs = self.quotient.rhs(pow2(bits), binds);
        rhs.extend(self.remainder.rhs(F::one(), binds));
        rhs.push(Rhs::constant(-pow2(bits - 1), &[live]));
        rhs.extend(acc.offsets.into_iter().map(|r| Rhs {
            coef: r.coef * scale,
            ..r
        }));
        system.relate(Relation {
            name: self.name.clone(),
            check: acc.check,
            terms,
            rhs,
        });
    }

    /// The quotients of exact accumulators.
    pub fn run(&self, acc: &[i128], recorder: &mut Recorder) -> Result<Vec<i64>, Overflow> {
        let (least, most) = self.quotient.limits();
        let divide = |acc: &i128| {
            self.rescale.divide(*acc).ok_or_else(|| Overflow {
                tensor: format!("the accumulator of {}", self.name),
                value: *acc,
                least,
                most,
            })
        };
        let quotients: Vec<i128> = acc
            .par_iter()
            .map(|acc| Ok(divide(acc)?.0))
            .collect::<Result<_, _>>()?;
        self.quotient.put(recorder, &quotients)?;
        if recorder.is_on() {
            let remainders: Vec<i128> = acc
                .par_iter()
                .map(|acc| Ok(divide(acc)?.1))
                .collect::<Result<_, _>>()?;
            self.remainder.put(recorder, &remainders)?;
        }
        let narrow = |q: &i128| i64::try_from(*q).expect("a quotient of at most 32 bits");
        Ok(quotients.iter().map(narrow).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The division is the equation's only solution with a remainder in range.
    #[test]
    fn division_solves_the_equation() {
        for shift in [1, 4, 15, 16, 17, 42, 74] {
            let r = Rescale::new(shift);
            let bits = 16 * r.digits();
            for acc in [0, 1, -1, 12345, -98765, (1 << 46) + 77, -(1 << 46) - 1] {
                let (q, t) = r.divide(acc).expect("it fits");
                assert!((0..1i128 << bits).contains(&t));
                let left = (acc << (bits - shift)) + (1i128 << (bits - 1));
                assert_eq!(left, (q << bits) + t, "{acc} >> {shift}");
            }
        }
    }

    /// A quotient off by one with the remainder adjusted satisfies the relation; the remainder's
    /// range refuses it.
    #[test]
    fn a_wrong_quotient_is_left_to_the_range_check() {
        use crate::algebra::from_i128;
        use crate::ops::Vars;
        use crate::ops::testing::{Case, OwnedTables, Rng};

        let mut system = System::default();
        let vars = Vars::block(&mut system, 192, (192, 192), 4);
        let acc = system.exact("acc", &[3, 4, 64]);
        let quotient = Digits::signed(&mut system, "q", &[3, 4, 64], 1);
        let accumulator = Accumulator {
            check: vec![],
            terms: vec![],
            offsets: vec![Rhs::of(-F::one(), vars.output.view(acc, vars.token))],
        };
        let rescaled = Rescaled::declare(
            &mut system,
            "q",
            Rescale::new(20),
            quotient,
            accumulator,
            &vars.output.site((vars.token, 4)),
        );
        let values: Vec<i128> = Rng(4)
            .vector(768, 1 << 34)
            .iter()
            .map(|v| i128::from(*v))
            .collect();
        let mut recorder = Recorder::on(&system);
        recorder.exact(acc, values.iter().copied());
        rescaled.run(&values, &mut recorder).expect("it fits");
        let witness = recorder.into_witness();
        let tables = OwnedTables::build();
        Case::new(&system, &witness, &tables, |_, _| vec![]).assert_holds();
        for off in [1, -1] {
            let mut case = Case::new(&system, &witness, &tables, |_, _| vec![]);
            let off = from_i128(off);
            let (q, t) = (case.integer("q", 300), case.integer("q rest", 300));
            case.set_integer("q", 300, q + off);
            case.set_integer("q rest", 300, t - off * pow2(32));
            assert_eq!(case.failures(), ["lookup of q rest[0]"]);
        }
    }

    #[test]
    fn quotients_beyond_their_column_are_refused() {
        let overflow = Overflow::check("q", [40_000], -32_768, 32_767).expect_err("17 bits");
        assert_eq!(
            overflow.to_string(),
            "q reaches 40000, outside its limits -32768 to 32767"
        );
        assert_eq!(Rescale::new(4).divide(i128::MAX), None);
    }

    #[test]
    fn halves_round_up() {
        let q = |acc| Rescale::new(4).divide(acc).expect("it fits").0;
        assert_eq!((q(8), q(7), q(-8), q(-9), q(24)), (1, 0, 0, -1, 2));
    }
}
