//! How large the integers of a norm get, whatever its input: what the digits of its columns and the bounds of its
//! relations follow from.
//!
//! ```text
//! V = Σ c² + K,   c = m·x − S1 (LayerNorm, m = d) or x (RMSNorm, m = 1),   K = d·⌈ε·m²·2^(2f)⌉
//! |x| ≤ 2^b in l lanes:   −d·l·(l − d)·2^(2b) + K ≤ V ≤ m²·l·2^(2b) + K,   R² ≤ d·2^(2r)/V,   δ ≤ (2R + 1)·V ≤ 2·√(d·2^(2r)·V) + V
//! ```

use ethnum::U256;

use super::fixed::power_of_two;
use super::{NormKind, NormScale, in_slabs};

/// What a norm is taken of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormSize {
    pub kind: NormKind,
    /// d, the number of values whose mean counts.
    pub width: usize,
    /// The lanes that hold them, in whole slabs. Those beyond the width are zero in an honest run, but no relation says so:
    /// a strange key's may be any, and the limits hold for them too.
    pub lanes: usize,
}

impl NormSize {
    /// That of `width` values in whole slabs.
    pub fn new(kind: NormKind, width: usize) -> Self {
        Self {
            kind,
            width,
            lanes: in_slabs(width),
        }
    }

    /// m, where the values whose squares are averaged are m times the real ones.
    pub fn multiple(self) -> usize {
        self.kind.multiple(self.width)
    }
}

/// The largest values of a norm's integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormLimits {
    /// K, which ε adds: at least 1, so that V never vanishes in an honest run.
    pub floor: i128,
    /// d·2^(2r).
    pub target: U256,
    /// |V|: what is below K only lanes beyond the width can bring about, where m²·Σx² − d·S1² has l of them.
    pub variance: U256,
    /// R.
    pub root: U256,
    /// δ₁ and δ₂.
    pub bracket: U256,
}

impl NormLimits {
    /// The limits of a norm of |x| ≤ 2^`input_bits` at `residual` fractional bits; `None` if they are beyond 256 bits, or
    /// ε is beyond sense.
    pub fn new(
        size: NormSize,
        input_bits: u32,
        residual: u32,
        epsilon: f64,
        scale: NormScale,
    ) -> Option<Self> {
        let (width, lanes) = (size.width, size.lanes);
        if width == 0
            || width > lanes
            || lanes > 1 << 14
            || residual > 40
            || input_bits > 32
            || scale.root > 96
        {
            return None;
        }
        let (d, m) = (width as i128, size.multiple() as i128);
        // m², 2^(2f) and the ceiling are exact in f64, so this is one correctly rounded product.
        let scaled = (epsilon * (m * m) as f64 * power_of_two(2 * i64::from(residual))).ceil();
        if !(1.0..power_of_two(80)).contains(&scaled) {
            return None;
        }
        let floor = d * scaled as i128;
        let lanes = lanes as i128;
        let least = match size.kind {
            NormKind::Layer => d * lanes * (lanes - d),
            NormKind::RootMeanSquare => 0,
        };
        let squares = (m * m * lanes)
            .max(least)
            .checked_mul(1 << (2 * input_bits))?;
        let variance = U256::from(squares.checked_add(floor)? as u128);
        let target = U256::from(width as u128) << (2 * scale.root);
        let product = target.checked_mul(variance)?;
        Some(Self {
            floor,
            target,
            variance,
            root: isqrt(target / U256::from(floor as u128)),
            bracket: (isqrt(product) + 1) * 2 + variance,
        })
    }
}

/// ⌊√n⌋, bit by bit.
pub fn isqrt(n: U256) -> U256 {
    let mut root = U256::ZERO;
    for bit in (0..128).rev() {
        let with = root | (U256::ONE << bit);
        if with * with <= n {
            root = with;
        }
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: NormScale = NormScale {
        output: 10,
        root: 42,
    };

    /// No input is beyond the limits, and the worst is near them: alternating signs for LayerNorm, equal ones for
    /// RMSNorm; the least V for R.
    #[test]
    fn limits_are_those_of_the_worst_inputs() {
        let d = 64i128;
        for bits in [31, 32] {
            for kind in [NormKind::Layer, NormKind::RootMeanSquare] {
                let limits =
                    NormLimits::new(NormSize::new(kind, 64), bits, 12, 1e-5, SCALE).expect("small");
                let m = kind.multiple(64) as i128;
                // c = m·x, as the sum of LayerNorm's is zero.
                let variance = d * (m << bits).pow(2) + limits.floor;
                assert_eq!(limits.variance, U256::from(variance as u128));
                let expected = (1e-5 * (m * m) as f64 * 24f64.exp2()).ceil() as i128;
                assert_eq!(limits.floor, d * expected);
                let root = |v: i128| isqrt(limits.target / U256::from(v as u128));
                assert_eq!(limits.root, root(limits.floor));
                for v in [limits.floor, limits.floor + 12_345, variance / 3, variance] {
                    let (r, v) = (root(v), U256::from(v as u128));
                    assert!(r <= limits.root);
                    let [below, above] = [r * r * v, (r + 1) * (r + 1) * v];
                    assert!(limits.target - below <= limits.bracket);
                    assert!(above - limits.target - 1 <= limits.bracket);
                }
            }
        }
    }

    #[test]
    fn limits_beyond_256_bits_or_sense_are_none() {
        let of = |width, residual, epsilon, root| {
            let scale = NormScale { output: 8, root };
            NormLimits::new(
                NormSize::new(NormKind::Layer, width),
                32,
                residual,
                epsilon,
                scale,
            )
        };
        assert!(of(64, 12, 1e-5, 40).is_some());
        assert!(of(0, 12, 1e-5, 40).is_none());
        assert!(of((1 << 14) + 1, 12, 1e-5, 40).is_none());
        assert!(of(64, 41, 1e-5, 40).is_none());
        assert!(of(64, 12, 1e-5, 97).is_none());
        assert!(of(1 << 14, 12, 1e-5, 96).is_none(), "2^206 times 2^106");
        for epsilon in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e30] {
            assert!(of(64, 12, epsilon, 40).is_none(), "{epsilon}");
        }
    }

    #[test]
    fn square_roots_are_floored() {
        for n in [0u128, 1, 2, 3, 4, 8, 9, (1 << 80) - 1, 1 << 80, u128::MAX] {
            let (n, root) = (U256::from(n), isqrt(U256::from(n)));
            assert!(root * root <= n && (root + 1) * (root + 1) > n, "{n}");
        }
    }
}
