//! The layers of a statement as the argument sees them. Prover and verifier both start here.

use sha2::{Digest, Sha256};

use super::LayerKind;
use super::key::CommittedModel;
use super::setup::ROW_BITS;
use super::statement::Statement;
use crate::argument::claims::Layer;
use crate::layers::{self, Sequence};
use crate::quant::Manifest;
use crate::seal::bundle::LayerPublic;
use crate::transcript::Transcript;

/// The system of one layer, with layout and plan: a function of the manifest and the statement.
pub fn layer(manifest: &Manifest, sequence: &Sequence, kind: LayerKind) -> Layer {
    Layer::new(layers::system(manifest, sequence, kind), ROW_BITS)
}

/// A layer with the commitments of its weights. `boundaries` says which of the bundle's
/// boundaries it touches.
pub fn public<'a>(
    model: &'a CommittedModel,
    layer: &'a Layer,
    kind: LayerKind,
    boundaries: (Option<usize>, Option<usize>),
) -> LayerPublic<'a> {
    let (matrices, vectors) = model.layer(kind);
    let index = kind.index(model.manifest.architecture.layers);
    LayerPublic {
        layer,
        index: index as u32,
        matrices,
        vectors,
        boundary_in: boundaries.0,
        boundary_out: boundaries.1,
    }
}

/// The transcript of a bundle: it has absorbed the whole statement (and with it the model id and
/// the chain, which binds every boundary commitment), the tables, and which layers it is about.
pub fn transcript(
    model: &CommittedModel,
    statement: &Statement,
    kinds: &[LayerKind],
) -> Transcript {
    let mut transcript = Transcript::new("nanozk/bundle/v1", &statement.digest());
    transcript.absorb_bytes("tables", &model.manifest.tables);
    let mut hash = Sha256::new();
    for kind in kinds {
        hash.update(format!("{kind:?};"));
    }
    transcript.absorb_bytes("layers", &hash.finalize());
    transcript
}
