//! Points and scalars as bytes, one encoding each.
//!
//! A point is its x-coordinate, 32 bytes little-endian, with the parity of y in the top bit. A
//! scalar is its canonical representative, 32 bytes little-endian. Everything else is refused:
//! x or scalars not below the modulus, x off the curve, and the identity, which no honest
//! commitment is.

use ff::PrimeField;
use pasta_curves::{
    EqAffine,
    group::{CurveAffine, GroupEncoding},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::algebra::F;

/// Why bytes are not a point or a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum EncodingError {
    #[error(
        "a point is not on the curve or not canonically encoded: the file is damaged or forged"
    )]
    Point,
    #[error("a point is the identity where none is allowed: the file is damaged or forged")]
    Identity,
    #[error("a scalar is not below the modulus: the file is damaged or forged")]
    Scalar,
}

/// A compressed point as it stands in a file: not yet known to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PointBytes(pub [u8; 32]);

impl From<&EqAffine> for PointBytes {
    fn from(point: &EqAffine) -> Self {
        Self(point.to_bytes())
    }
}

impl PointBytes {
    /// The point, which is not the identity.
    pub fn decode(&self) -> Result<EqAffine, EncodingError> {
        let point = Option::<EqAffine>::from(EqAffine::from_bytes(&self.0));
        let point = point.ok_or(EncodingError::Point)?;
        if bool::from(point.is_identity()) {
            return Err(EncodingError::Identity);
        }
        Ok(point)
    }
}

/// Decodes many points in parallel; the first error in order is reported.
pub fn decode_points(bytes: &[PointBytes]) -> Result<Vec<EqAffine>, EncodingError> {
    let decoded: Vec<_> = bytes.par_iter().map(PointBytes::decode).collect();
    decoded.into_iter().collect()
}

/// A scalar as it stands in a file: not yet known to be canonical.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ScalarBytes(pub [u8; 32]);

impl From<&F> for ScalarBytes {
    fn from(scalar: &F) -> Self {
        Self(scalar.to_repr())
    }
}

impl ScalarBytes {
    /// The scalar.
    pub fn decode(&self) -> Result<F, EncodingError> {
        Option::from(F::from_repr(self.0)).ok_or(EncodingError::Scalar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::testing::points;
    use ff::Field;
    use pasta_curves::Fq;

    #[test]
    fn points_and_scalars_survive_the_round_trip() {
        let points = points(20);
        let bytes: Vec<PointBytes> = points.iter().map(PointBytes::from).collect();
        assert_eq!(decode_points(&bytes), Ok(points));
        for s in [F::ZERO, F::ONE, -F::ONE] {
            assert_eq!(ScalarBytes::from(&s).decode(), Ok(s));
        }
    }

    /// x + q, where it fits into 255 bits, would be a second encoding of x.
    #[test]
    fn second_encodings_are_refused() {
        let mut above = (-Fq::ONE).to_repr();
        above[0] += 1; // the modulus itself
        assert_eq!(PointBytes(above).decode(), Err(EncodingError::Point));
        assert_eq!(PointBytes([0xff; 32]).decode(), Err(EncodingError::Point));
        let mut modulus = (-F::ONE).to_repr();
        modulus[0] += 1;
        assert_eq!(ScalarBytes(modulus).decode(), Err(EncodingError::Scalar));
        assert_eq!(ScalarBytes([0xff; 32]).decode(), Err(EncodingError::Scalar));
    }

    #[test]
    fn the_identity_and_points_off_the_curve_are_refused() {
        assert_eq!(PointBytes([0; 32]).decode(), Err(EncodingError::Identity));
        let mut signed_identity = [0; 32];
        signed_identity[31] = 0x80;
        assert_eq!(
            PointBytes(signed_identity).decode(),
            Err(EncodingError::Point)
        );
        let refused = (1..50u8)
            .filter(|x| {
                let mut bytes = [0; 32];
                bytes[0] = *x;
                PointBytes(bytes).decode() == Err(EncodingError::Point)
            })
            .count();
        assert!(
            (10..40).contains(&refused),
            "about half of all x are on no point"
        );
    }

    #[test]
    fn the_sign_bit_changes_the_point() {
        let point = points(1)[0];
        let mut bytes = PointBytes::from(&point);
        bytes.0[31] ^= 0x80;
        assert_eq!(bytes.decode(), Ok(-point));
    }

    /// One bad point among good ones fails the batch.
    #[test]
    fn a_batch_with_a_bad_point_is_refused() {
        let mut bytes: Vec<PointBytes> = points(5).iter().map(PointBytes::from).collect();
        bytes[3] = PointBytes([0; 32]);
        assert_eq!(decode_points(&bytes), Err(EncodingError::Identity));
    }
}
