//! How much room the scales leave above the largest values that calibration saw.

use super::{Calibration, Extent, NormScale, Place, Scales, Spread};

/// One tensor's room.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Headroom {
    pub place: Place,
    pub tensor: &'static str,
    /// Fractional bits of its integers.
    pub fraction: u32,
    /// The largest magnitude seen.
    pub largest: f64,
    /// The largest that fits.
    pub limit: f64,
}

impl Headroom {
    /// Bits by which values may exceed the largest seen; infinite where only zeros were.
    pub fn bits(&self) -> f64 {
        (self.limit / self.largest).log2()
    }
}

/// The room of every tensor that is stored in a fixed number of bits and may outgrow them, in the model's order; behind them that of
/// norms whose channels are lifted, of the channel that has the least.
pub fn headroom(calibration: &Calibration, scales: &Scales) -> Vec<Headroom> {
    let room = |place, tensor, extent: &Extent, fraction: u32, bits: u32| Headroom {
        place,
        tensor,
        fraction,
        largest: extent.max,
        limit: (f64::from(bits - 1).exp2() - 1.0) * (-f64::from(fraction)).exp2(),
    };
    let residual = scales.residual;
    let blocks = calibration.blocks.iter().zip(&scales.blocks).enumerate();
    let blocks = blocks.flat_map(|(index, (seen, block))| {
        let place = Place::Block(index);
        [
            room(place, "residual stream", &seen.input.extent, residual, 32),
            room(place, "query", &seen.query.extent(), block.q, 16),
            room(place, "key", &seen.key.extent(), block.k, 16),
            room(
                place,
                "attention's output",
                &seen.attention_branch,
                residual,
                32,
            ),
            room(place, "residual stream", &seen.middle.extent, residual, 32),
            room(
                place,
                "activation's argument",
                &seen.pre_activation,
                scales.activation_key,
                16,
            ),
            room(
                place,
                "feed-forward output",
                &seen.feed_forward_branch,
                residual,
                32,
            ),
        ]
    });
    let last = &calibration.final_norm.extent;
    let lifted = |place, seen: &Spread, scale: Option<NormScale>, lifts: &[u8]| {
        let channels = seen.channels().zip(lifts);
        let largest = channels.map(|([largest, _], t)| largest * f64::from(1 << t));
        let extent = Extent {
            max: largest.fold(0.0, f64::max),
            count: 1,
        };
        let scale = scale.filter(|_| !lifts.is_empty())?;
        Some(room(
            place,
            "lifted norm's output",
            &extent,
            scale.output,
            16,
        ))
    };
    let norms = calibration.blocks.iter().zip(&scales.blocks).enumerate();
    let norms = norms.flat_map(|(index, (seen, block))| {
        let place = Place::Block(index);
        [
            lifted(place, &seen.input, block.norm1, &block.lifts1),
            lifted(place, &seen.middle, block.norm2, &block.lifts2),
        ]
    });
    let (seen, scale) = (&calibration.final_norm, Some(scales.final_norm));
    let norms = norms.chain([lifted(Place::Head, seen, scale, &scales.final_lifts)]);
    blocks
        .chain([room(Place::Head, "residual stream", last, residual, 32)])
        .chain(norms.flatten())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::testing::{rows, scales};
    use crate::quant::{NormKind, Tensor};

    /// Bits of room are those that the scale leaves: 1.5 at 13 bits of 15 leaves log₂(4/1.5).
    #[test]
    fn rooms_are_what_scales_leave() {
        let mut calibration = Calibration::new(1, rows(NormKind::Layer, 64));
        calibration.observe(0, Tensor::Query, &[1.5]);
        let rooms = headroom(&calibration, &scales(1));
        assert_eq!(rooms.len(), 8);
        let query = rooms.iter().find(|r| r.tensor == "query").unwrap();
        assert_eq!((query.place, query.fraction), (Place::Block(0), 13));
        assert!((query.bits() - (4.0f64 / 1.5).log2()).abs() < 1e-3);
        let unseen = rooms.iter().find(|r| r.tensor == "key").unwrap();
        assert_eq!(unseen.bits(), f64::INFINITY);
    }
}
