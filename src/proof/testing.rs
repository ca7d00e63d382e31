//! A tiny committed model for tests of whole proofs.

use super::{
    BlindingSeed, Layers, Mode, ModelFile, OpenedModel, ProofFile, ProveOptions, Setup, prove,
};
use crate::layers::testing::{Shape, llama_manifest, model, model_of};
use crate::quant::{IntMatrix, IntegerModel, Manifest, Tables};

pub const SHAPE: Shape = Shape {
    width: 64,
    layers: 1,
    vocabulary: 70,
    tied: true,
};
/// Positions of the model, a power of two as of every committed matrix's sides here.
const CONTEXT: usize = 16;
pub const PROMPT: [u32; 3] = [3, 1, 4];

/// Committed to under a secret seed.
pub fn tiny_model(setup: &Setup) -> OpenedModel {
    committed(tiny(), setup)
}

/// Not yet committed to.
pub fn tiny() -> IntegerModel {
    tiny_form(model(SHAPE, 5))
}

/// Any model of that width, likewise.
pub fn tiny_of(model: IntegerModel, setup: &Setup) -> OpenedModel {
    committed(tiny_form(model), setup)
}

fn tiny_form(mut model: IntegerModel) -> IntegerModel {
    let m = &mut model.manifest;
    m.architecture.context = CONTEXT;
    m.scales.output_bias = 40;
    m.tables = Tables::new(&m.scales, m.architecture.activation).digest();
    model.positions = model.positions.map(|positions| IntMatrix {
        inputs: SHAPE.width,
        outputs: CONTEXT,
        data: (0..SHAPE.width)
            .flat_map(|k| &positions.row(k)[..CONTEXT])
            .copied()
            .collect(),
    });
    model
}

/// The same of Llama's kind: four heads in two groups, and a matrix of the head's own.
pub fn tiny_llama(setup: &Setup) -> OpenedModel {
    let mut manifest = llama_manifest((4, 2, 64), SHAPE.layers, SHAPE.vocabulary);
    manifest.architecture.context = CONTEXT;
    manifest.architecture.hidden = 128;
    manifest.architecture.tied = false;
    manifest.scales.output_bias = 40;
    manifest.tables = Tables::new(&manifest.scales, manifest.architecture.activation).digest();
    committed(model_of(manifest, 6), setup)
}

/// A decoder of any kind.
pub fn tiny_decoder(mut manifest: Manifest, setup: &Setup) -> OpenedModel {
    manifest.architecture.context = CONTEXT;
    manifest.scales.output_bias = 40;
    manifest.tables = Tables::new(&manifest.scales, manifest.architecture.activation).digest();
    committed(model_of(manifest, 6), setup)
}

fn committed(model: IntegerModel, setup: &Setup) -> OpenedModel {
    let file = ModelFile::commit(model, BlindingSeed([7; 32]), Vec::new(), setup, &|_, _| {});
    file.open().expect("its own key")
}

/// A proof of two tokens after [`PROMPT`].
pub fn proof(setup: &Setup, model: &OpenedModel, mode: Mode) -> ProofFile {
    let options = ProveOptions {
        max_new_tokens: 2,
        mode,
        layers: Layers::All,
    };
    let (file, _) = prove(setup, model, &PROMPT, &options, &|_| {}).expect("proved");
    file
}
