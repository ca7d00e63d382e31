//! The lookup tables. They are public and derived from the manifest alone; the same bytes are
//! built on every machine, and their digest is part of the manifest.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::elementary::{Gate, exp_entry, gate_entries};
use super::{Activation, Scales};
use crate::system::{Table, TableId};

/// Bits of the exp table's keys: with [`EXP_FRACTION`] its domain is [0, 16), and exp(−16)·2^e
/// rounds to 0 for e ≤ 22.
pub const EXP_BITS: u32 = 15;
/// Fractional bits of the exp table's keys.
pub const EXP_FRACTION: u32 = 11;
/// Bits of the keys of the table v ↦ [v = 0].
pub const IS_ZERO_BITS: u32 = 14;
/// Bits of the activation table's signed keys.
pub const ACTIVATION_BITS: u32 = 16;

/// A model's lookup tables, in the order of [`TableId::ALL`]:
///
/// ```text
/// Range16      [0, 2^16), no values
/// Exp          u ∈ [0, 2^15) ↦ round(2^e·exp(−u·2^-11))
/// IsZero       v ∈ [0, 2^14) ↦ [v = 0]
/// Activation   q ∈ [−2^15, 2^15) ↦ round(2^f'·g(q·2^-f)), g the activation
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables([Table; TableId::ALL.len()]);

impl Tables {
    /// Builds all tables. `scales` must come from a checked manifest (see
    /// [`super::Manifest::check`]).
    pub fn new(scales: &Scales, activation: Activation) -> Self {
        Self(TableId::ALL.map(|id| match id {
            TableId::Range16 => Table {
                id,
                first_key: 0,
                len: 1 << 16,
                values: None,
            },
            TableId::Exp => exp_table(scales.exp),
            TableId::IsZero => is_zero_table(),
            TableId::Activation => {
                activation_table(activation, scales.activation_key, scales.activation_value)
            }
        }))
    }

    pub fn get(&self, id: TableId) -> &Table {
        let [range, exp, is_zero, activation] = &self.0;
        match id {
            TableId::Range16 => range,
            TableId::Exp => exp,
            TableId::IsZero => is_zero,
            TableId::Activation => activation,
        }
    }

    /// All of them, in order.
    pub fn all(&self) -> &[Table] {
        &self.0
    }

    /// The exp table's value at `u`, which must be below 2^15.
    pub fn exp(&self, u: i32) -> i64 {
        value(self.get(TableId::Exp), u)
    }

    /// [v = 0], for `v` below 2^14.
    pub fn is_zero(&self, v: i32) -> i64 {
        value(self.get(TableId::IsZero), v)
    }

    /// The activation's value at the 16-bit signed key `q`.
    pub fn activation(&self, q: i32) -> i64 {
        value(self.get(TableId::Activation), q)
    }

    /// SHA-256 over every table's tag, first key, length and values.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"nanozk/tables/v1");
        for id in TableId::ALL {
            hash.update(table_digest(self.get(id)));
        }
        hash.finalize().into()
    }
}

/// SHA-256 of one table: tag, first key, length, whether it has values, values; little-endian.
pub fn table_digest(table: &Table) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"nanozk/table/v1");
    hash.update(table.id.tag().to_le_bytes());
    hash.update(table.first_key.to_le_bytes());
    hash.update((table.len as u64).to_le_bytes());
    hash.update([u8::from(table.values.is_some())]);
    for value in table.values.iter().flatten() {
        hash.update(value.to_le_bytes());
    }
    hash.finalize().into()
}

fn value(table: &Table, key: i32) -> i64 {
    let values = table.values.as_ref().expect("a function table has values");
    let index = i64::from(key) - table.first_key;
    values[usize::try_from(index).expect("the run checks that a key is in its table")]
}

fn exp_table(fraction: u32) -> Table {
    let values: Vec<i64> = (0..1u32 << EXP_BITS)
        .into_par_iter()
        .map(|u| exp_entry(u, EXP_FRACTION, fraction))
        .collect();
    Table {
        id: TableId::Exp,
        first_key: 0,
        len: values.len(),
        values: Some(values),
    }
}

fn is_zero_table() -> Table {
    let values: Vec<i64> = (0..1 << IS_ZERO_BITS).map(|v| i64::from(v == 0)).collect();
    Table {
        id: TableId::IsZero,
        first_key: 0,
        len: values.len(),
        values: Some(values),
    }
}

fn activation_table(activation: Activation, key_fraction: u32, value_fraction: u32) -> Table {
    let form = match activation {
        Activation::GeluTanh => Gate::Tanh,
        Activation::GeluErf => Gate::Erf,
        Activation::Silu => Gate::Logistic,
        Activation::Relu => Gate::Step,
        Activation::QuickGelu => Gate::Quick,
    };
    let values = gate_entries(form, key_fraction, value_fraction);
    Table {
        id: TableId::Activation,
        first_key: -(1 << (ACTIVATION_BITS - 1)),
        len: values.len(),
        values: Some(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: [u8; 32]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// erf by its positive series, in floating point.
    fn erf(z: f64) -> f64 {
        if z.abs() > 6.0 {
            return z.signum();
        }
        let (mut sum, mut term, mut k) = (0.0, z, 1.0);
        while term.abs() > 1e-18 * f64::abs(sum) {
            sum += term;
            term *= 2.0 * z * z / (2.0 * k + 1.0);
            k += 1.0;
        }
        2.0 / std::f64::consts::PI.sqrt() * (-z * z).exp() * sum
    }

    #[test]
    fn exp_agrees_with_floating_point_and_ends_in_zero() {
        let table = exp_table(20);
        for (u, value) in table.values.as_ref().unwrap().iter().enumerate() {
            let expected = (-(u as f64) / 2048.0).exp() * (1 << 20) as f64;
            assert!((*value as f64 - expected).abs() < 0.5 + 1e-6, "{u}");
        }
        let values = table.values.unwrap();
        assert_eq!(values[0], 1 << 20, "the maximum has weight exactly 2^e");
        assert_eq!(
            values[values.len() - 1],
            0,
            "nothing is lost beyond the table"
        );
    }

    #[test]
    fn activations_agree_with_floating_point() {
        for key in [9, 10, 11] {
            for activation in [
                Activation::GeluTanh,
                Activation::GeluErf,
                Activation::Silu,
                Activation::Relu,
                Activation::QuickGelu,
            ] {
                let table = activation_table(activation, key, 14);
                for (j, value) in table.values.unwrap().iter().enumerate() {
                    let x = (j as f64 - 32768.0) * (-f64::from(key)).exp2();
                    let gate = match activation {
                        Activation::GeluTanh => {
                            let cubic = x + 0.044715 * x * x * x;
                            ((2.0 / std::f64::consts::PI).sqrt() * cubic).tanh()
                        }
                        Activation::GeluErf => erf(x / 2f64.sqrt()),
                        Activation::Silu => (x / 2.0).tanh(),
                        Activation::Relu => x.signum(),
                        Activation::QuickGelu => (0.851 * x).tanh(),
                    };
                    let expected = 0.5 * x * (1.0 + gate) * 16384.0;
                    assert!(
                        (*value as f64 - expected).abs() < 0.5 + 1e-5,
                        "{activation:?} f={key} x={x}: {value}, {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn lookups_find_the_row_of_their_key() {
        let tables = Tables::new(&crate::quant::testing::scales(1), Activation::GeluTanh);
        assert_eq!(tables.exp(0), 1 << 20);
        assert_eq!(tables.exp(2048), 385_750); // 2^20/e = 385749.6…
        assert_eq!((tables.is_zero(0), tables.is_zero(1)), (1, 0));
        assert_eq!(tables.activation(0), 0);
        assert_eq!(tables.activation(-32768), 0);
        assert_eq!(tables.activation(32767), 32767 << 3);
        for id in TableId::ALL {
            assert_eq!(tables.get(id).id, id);
        }
    }

    /// A change of these digests changes every model id and invalidates every proof. They were
    /// obtained a second time by decimal arithmetic of 50 digits, in another language.
    #[test]
    fn tables_are_pinned() {
        let pins = [
            (
                exp_table(20),
                "380630ce8308bea9c86588fd3ca0d2539ff601cd471bb9e7f2bbcf6d72b21908",
            ),
            (
                is_zero_table(),
                "b62ce4a0d3dbec22621bf0b7c86926da536899ed20d119ce894f48069766bb93",
            ),
            (
                activation_table(Activation::GeluTanh, 11, 14),
                "f3f24e860b802451ee894cdd70b45e7b7fc1f72a04158085404f3656dbd3a1a2",
            ),
            (
                activation_table(Activation::GeluTanh, 10, 14),
                "580561bd059e1f6c8f0372d479b9c02ddcef6d477b8604de85c7481eb899213b",
            ),
            (
                activation_table(Activation::GeluTanh, 9, 14),
                "d687914e62e6c738a9a809e7d7ae7bb3ee953d5ef321095b26aa051b8b1e0b91",
            ),
            (
                activation_table(Activation::GeluErf, 11, 14),
                "ed8d62641d3d052b9e7112a79e2ea04b1298b81561328c9ce7fff3034f812887",
            ),
            (
                activation_table(Activation::GeluErf, 10, 14),
                "4c2cdc31e5cd516cedddd7e0c8be9fb71d5617813a9a64cd37023cc7fadca211",
            ),
            (
                activation_table(Activation::GeluErf, 9, 14),
                "083599c83fb49f68e6617b17cc6ef226db72cfe9af28fb9d10d990d24f9fc958",
            ),
        ];
        let silu = [
            "8aa1f3467df1881a7b5f4654f4a1af9dd411db95913f7f829a58a8a89c05f3cc",
            "408ae795c7cb4523eb3e9d08a23dc089bae0a21bb3a3f7d7ad89d93b84bbca98",
            "3f45df9aa12b97889ad46b9a99482cc609ebe31c07504c32a49c2bc4fc636e33",
            "f10eb509959c88fbacd5f64b7b73a55f2eac8102a25ce2feb4099d4645c4f25f",
        ];
        let silu = [11, 10, 9, 8]
            .map(|key| activation_table(Activation::Silu, key, 14))
            .into_iter()
            .zip(silu);
        let pins: Vec<(Table, &str)> = pins.into_iter().chain(silu).collect();
        let found: Vec<String> = pins.iter().map(|(t, _)| hex(table_digest(t))).collect();
        let expected: Vec<&str> = pins.iter().map(|(_, pin)| *pin).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_digest_depends_on_every_table() {
        let tables = Tables::new(&crate::quant::testing::scales(1), Activation::GeluTanh);
        let digest = tables.digest();
        let mut range = tables.clone();
        range.0[0].len -= 1;
        let mut shifted = tables.clone();
        shifted.0[3].first_key += 1;
        let mut exp = tables.clone();
        exp.0[1].values.as_mut().unwrap()[777] += 1;
        let mut zero = tables.clone();
        zero.0[2].values.as_mut().unwrap()[1] = 1;
        for changed in [range, shifted, exp, zero] {
            assert_ne!(changed.digest(), digest);
        }
    }
}
