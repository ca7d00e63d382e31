//! Integers wider than a lookup, in base 2^16.
//!
//! ```text
//! x = Σ_l 2^(16·l) · x_l,     x_l ∈ [0, 2^16), range-checked
//! ```
//!
//! with, for signed integers, the highest digit in [−2^15, 2^15). Relations use x as a linear
//! form of the digits; there is no column for x itself. The digits of x are unique as long as
//! n digits do not exceed F, and x lies in [0, 2^(16n)) or [−2^(16n−1), 2^(16n−1)): this is how
//! everything in the model that is "small" or "not negative" is proved to be so.

use super::{Overflow, Recorder};
use crate::algebra::{F, pow2};
use crate::system::{Bind, ColumnId, Form, Rhs, System, TableId, View};

const BITS: u32 = 16;

/// Digits per integer at most: values are `i128`.
const MAX_DIGITS: u32 = 8;

/// Range-checked columns that are the digits of one tensor, lowest first.
#[derive(Clone, Debug)]
pub struct Digits {
    name: String,
    columns: Vec<ColumnId>,
    signed: bool,
}

impl Digits {
    /// Declares a tensor of integers in [0, 2^(16·count)).
    pub fn unsigned(system: &mut System, name: &str, lens: &[usize], count: u32) -> Self {
        Self::declare(system, name, lens, count, false)
    }

    /// Declares a tensor of integers in [−2^(16·count − 1), 2^(16·count − 1)).
    pub fn signed(system: &mut System, name: &str, lens: &[usize], count: u32) -> Self {
        Self::declare(system, name, lens, count, true)
    }

    /// A 16-bit tensor that is the key of the activation table, with the column of its values.
    pub fn activation_key(
        system: &mut System,
        name: &str,
        value_name: &str,
        lens: &[usize],
    ) -> (Self, ColumnId) {
        let (key, value) = system.function(name, value_name, lens, TableId::Activation);
        let digits = Self {
            name: name.into(),
            columns: vec![key],
            signed: true,
        };
        (digits, value)
    }

    fn declare(system: &mut System, name: &str, lens: &[usize], count: u32, signed: bool) -> Self {
        assert!(
            (1..=MAX_DIGITS).contains(&count),
            "an integer has 1 to 8 digits"
        );
        let columns = (0..count)
            .map(|l| {
                let offset = if signed && l + 1 == count { 1 << 15 } else { 0 };
                system.range(format!("{name}[{l}]"), lens, offset)
            })
            .collect();
        Self {
            name: name.into(),
            columns,
            signed,
        }
    }

    /// The number of digits that hold every integer in [0, max].
    pub fn count_for(max: ethnum::U256) -> u32 {
        (256 - max.leading_zeros()).div_ceil(BITS).max(1)
    }

    /// The bound 2^(16·count) as a power of two.
    pub fn bits(&self) -> u32 {
        BITS * self.columns.len() as u32
    }

    /// The least and the largest integer that fits.
    pub fn limits(&self) -> (i128, i128) {
        match (self.signed, self.bits()) {
            (true, bits) => (i128::MIN >> (128 - bits), i128::MAX >> (128 - bits)),
            (false, 128) => (0, i128::MAX),
            (false, bits) => (0, (1 << bits) - 1),
        }
    }

    /// The integer as a linear form.
    pub fn form(&self, binds: &[Bind]) -> Form {
        let digit = |(l, c): (usize, &ColumnId)| (pow2(BITS * l as u32), View::new(*c, binds));
        Form(self.columns.iter().enumerate().map(digit).collect())
    }

    /// coef · the integer, on a right-hand side.
    pub fn rhs(&self, coef: F, binds: &[Bind]) -> Vec<Rhs> {
        self.form(binds).rhs(coef)
    }

    /// Checks that the values fit, and records their digits.
    pub fn put<T: Copy + Into<i128>>(
        &self,
        recorder: &mut Recorder,
        values: &[T],
    ) -> Result<(), Overflow> {
        let (least, most) = self.limits();
        Overflow::check(&self.name, values.iter().map(|v| (*v).into()), least, most)?;
        for (l, column) in self.columns.iter().enumerate() {
            let top = self.signed && l + 1 == self.columns.len();
            let mask = if top { -1 } else { (1 << BITS) - 1 };
            recorder.keys(
                *column,
                values.iter().map(|v| {
                    let v: i128 = (*v).into();
                    v >> (BITS as usize * l) & mask
                }),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Values;

    fn digits_of(signed: bool, count: u32, value: i128) -> Result<Vec<i32>, Overflow> {
        let mut system = System::default();
        let digits = Digits::declare(&mut system, "x", &[1], count, signed);
        let mut recorder = Recorder::on(&system);
        digits.put(&mut recorder, &[value])?;
        let values = recorder.into_witness().values;
        Ok(values
            .into_iter()
            .map(|v| match v {
                Some(Values::Small(v)) => v[0],
                _ => panic!("a digit is a key"),
            })
            .collect())
    }

    /// Digits are in their ranges and add up to the value, at both ends of the range; what lies
    /// beyond is refused.
    #[test]
    fn digits_recompose_and_overflow_is_refused() {
        for (signed, count) in [(false, 1), (true, 1), (false, 3), (true, 2), (true, 7)] {
            let bits = 16 * count;
            let (least, most): (i128, i128) = if signed {
                (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
            } else {
                (0, (1 << bits) - 1)
            };
            for value in [least, most, 0, 1, most / 3, least / 3] {
                let digits = digits_of(signed, count, value).expect("it fits");
                let sum: i128 = digits
                    .iter()
                    .enumerate()
                    .map(|(l, d)| i128::from(*d) << (16 * l))
                    .sum();
                assert_eq!(sum, value);
                let (top, rest) = digits.split_last().expect("a digit");
                assert!(rest.iter().all(|d| (0..1 << 16).contains(d)));
                let offset = if signed { 1 << 15 } else { 0 };
                assert!((0..1 << 16).contains(&(top + offset)));
            }
            for value in [least - 1, most + 1] {
                let overflow = digits_of(signed, count, value).expect_err("too large");
                assert_eq!((overflow.least, overflow.most), (least, most));
                assert_eq!(overflow.value, value);
            }
        }
    }

    #[test]
    fn counts_cover_the_maximum() {
        let count = |x: u128| Digits::count_for(x.into());
        assert_eq!((count(0), count(1), count(0xffff)), (1, 1, 1));
        assert_eq!(
            (count(1 << 16), count((1 << 32) - 1), count(1 << 32)),
            (2, 2, 3)
        );
    }
}
