//! Eight elements of a prime field at a time, in the lanes of AVX-512 with its multiply-adds of 52 bits (IFMA).
//!
//! Where the processor has none ([`available`]), the callers have a way of their own with the same results: nothing that is written or
//! sent depends on which was taken. `NANOZK_CPU=portable` takes the other one everywhere.

#[cfg(target_arch = "x86_64")]
mod ifma;

#[cfg(target_arch = "x86_64")]
pub use ifma::{Packed, Row, transpose};

/// A prime that the lanes compute with: 63 times it is below 2^260, which the bounds of [`Packed`] rest on, and its bits 156 to 207 are zero.
pub trait Modulus {
    /// 64-bit limbs, lowest first.
    const P: [u64; 4];
}

/// The base field of Vesta, in which its points have their coordinates.
#[derive(Clone, Copy, Debug)]
pub struct BaseField;

impl Modulus for BaseField {
    const P: [u64; 4] = [0x8c46_eb21_0000_0001, 0x2246_98fc_0994_a8dd, 0, 1 << 62];
}

/// Whether this processor computes in lanes, and is allowed to.
pub fn available() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use std::sync::OnceLock;
        static AVAILABLE: OnceLock<bool> = OnceLock::new();
        *AVAILABLE.get_or_init(|| {
            let portable = std::env::var_os("NANOZK_CPU").is_some_and(|cpu| cpu == "portable");
            !portable
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512ifma")
        })
    }
    #[cfg(not(target_arch = "x86_64"))]
    false
}
