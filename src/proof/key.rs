//! The committed model: the verifying key everybody has, and the blinds its owner keeps.
//!
//! Weights are committed once, in rows (see `argument::layout::Tiling` for matrices). The model id
//! is the SHA-256 of the encoded key.

use ff::FromUniformBytes;
use pasta_curves::EqAffine;
use rand::TryRng;
use rand::rngs::SysRng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::rows::{owns_matrices, row_bits};
use super::statement::ModelId;
use crate::algebra::F;
use crate::argument::layout::{Tiling, vector_offsets};
use crate::commit::{RowData, commit_rows};
use crate::curve::{EncodingError, GeneratorStore, PointBytes, decode_points};
use crate::layers::{self, LayerKind};
use crate::lists::lists;
use crate::model::{ChatError, TokenizerError};
use crate::quant::{IntMatrix, IntegerModel, Manifest, Tables};
use crate::seal::bundle::vector_rows;

/// The seed from which a model's blinds are derived. All zero for an open model, so that anyone
/// can recompute its id.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlindingSeed(pub [u8; 32]);

impl BlindingSeed {
    /// A secret seed from the operating system.
    pub fn random() -> Result<Self, rand::rngs::SysError> {
        let mut seed = [0; 32];
        SysRng.try_fill_bytes(&mut seed)?;
        Ok(Self(seed))
    }

    /// The public seed of open models.
    pub const OPEN: Self = Self([0; 32]);

    /// Blind `row` of the weight tensor number `tensor`. Only weights get their blinds here.
    fn weight_blind(&self, manifest: &[u8; 32], tensor: usize, row: usize) -> F {
        derived_blind(&self.0, b"nanozk-weightsv2", manifest, [tensor, row])
    }
}

/// The blind of `row` of `tensor` as a PRF of (seed, context, tensor, row). Each use has its own
/// `personal`.
pub(super) fn derived_blind(
    seed: &[u8; 32],
    personal: &[u8; 16],
    context: &[u8; 32],
    [tensor, row]: [usize; 2],
) -> F {
    let mut hash = blake2b_simd::Params::new();
    let mut hash = hash.hash_length(64).key(seed).personal(personal).to_state();
    hash.update(context);
    hash.update(&(tensor as u64).to_le_bytes());
    hash.update(&(row as u64).to_le_bytes());
    F::from_uniform_bytes(hash.finalize().as_array())
}

/// What a verifier knows of a model: its manifest and the row commitments of its weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyingKey {
    pub manifest: Manifest,
    /// Tensor by tensor in the order of [`tensors`].
    #[serde(deserialize_with = "lists")]
    pub rows: Vec<Vec<PointBytes>>,
}

/// A verifying key with its points decoded, its id and its lookup tables.
pub struct CommittedModel {
    pub manifest: Manifest,
    pub id: ModelId,
    pub tables: Tables,
    rows: Vec<Vec<EqAffine>>,
}

/// Why a verifying key is refused.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("the verifying key has {found} weight tensors, its manifest implies {expected}")]
    Tensors { expected: usize, found: usize },
    #[error("weight tensor {tensor} has {found} row commitments, its shape implies {expected}")]
    Rows {
        tensor: usize,
        expected: usize,
        found: usize,
    },
    #[error("weight tensor {tensor}: {source}")]
    Point {
        tensor: usize,
        source: EncodingError,
    },
    #[error("the manifest is not one this program can use: {0}")]
    Manifest(String),
    #[error(
        "the lookup tables that this program builds for the manifest's scales are not those it names"
    )]
    Tables,
    #[error("the key file's tokenizer is not the one its model was published with")]
    OtherTokenizer,
    #[error("the key file's tokenizer: {0}")]
    Tokenizer(#[from] TokenizerError),
    #[error("the key file's chat template is not the one its model was published with")]
    OtherChatTemplate,
    #[error("the key file: {0}")]
    ChatTemplate(#[from] ChatError),
}

/// A weight tensor of the model: a matrix or the vectors of one layer.
enum Tensor<'a> {
    Matrix(&'a IntMatrix),
    Vectors(Vec<&'a [i64]>),
}

/// All weight tensors, layer by layer in order. Each layer's matrices precede its vectors, but for the
/// head's.
fn tensors(model: &IntegerModel) -> Vec<Tensor<'_>> {
    let a = &model.manifest.architecture;
    let mut all = Vec::new();
    for kind in LayerKind::all(a.layers) {
        let weights = layers::weights(model, kind);
        let owned = owns_matrices(a, kind);
        let matrices = weights.matrices.into_iter().filter(|_| owned);
        let matrices: Vec<Tensor> = matrices.map(Tensor::Matrix).collect();
        let vectors = (!weights.vectors.is_empty()).then_some(Tensor::Vectors(weights.vectors));
        all.extend(in_order(kind, matrices, vectors));
    }
    all
}

/// A layer's tensors as the key lists them.
fn in_order<T>(kind: LayerKind, matrices: Vec<T>, vectors: Option<T>) -> Vec<T> {
    if kind == LayerKind::Head {
        vectors.into_iter().chain(matrices).collect()
    } else {
        matrices.into_iter().chain(vectors).collect()
    }
}

/// The number of rows of each tensor, from the manifest alone.
fn row_counts(m: &Manifest) -> Vec<usize> {
    let a = &m.architecture;
    let row_bits = row_bits(a);
    let mut counts = Vec::new();
    for kind in LayerKind::all(a.layers) {
        let shapes = layers::weight_shapes(a, kind);
        let owned = owns_matrices(a, kind);
        let matrices = shapes.matrices.into_iter().filter(|_| owned);
        let rows = |(inputs, outputs)| Tiling::new(inputs, outputs, row_bits).rows();
        let vectors = (!shapes.vectors.is_empty())
            .then(|| vector_offsets(&shapes.vectors).1.div_ceil(1 << row_bits));
        counts.extend(in_order(kind, matrices.map(rows).collect(), vectors));
    }
    counts
}

/// A matrix's rows in its tiling.
fn matrix_rows(m: &IntMatrix, row_bits: usize) -> Vec<RowData> {
    let tiling = Tiling::new(m.inputs, m.outputs, row_bits);
    (0..tiling.rows())
        .into_par_iter()
        .map(|r| {
            let (block, slab_out) = (r / tiling.slabs_out, r % tiling.slabs_out);
            let mut row = vec![0i32; 1 << row_bits];
            for (x, tile_row) in row.chunks_mut(64).enumerate() {
                let (slab_low, lane_in) = (x >> 6, x & 63);
                let input = ((block << tiling.slab_bits) + slab_low) * 64 + lane_in;
                if input < m.inputs {
                    let from = &m.row(input)[slab_out * 64..m.outputs.min(slab_out * 64 + 64)];
                    tile_row[..from.len()].copy_from_slice(from);
                }
            }
            RowData::Small(row)
        })
        .collect()
}

/// Every weight row's blind, tensor by tensor.
pub fn weight_blinds(manifest: &Manifest, seed: &BlindingSeed) -> Vec<Vec<F>> {
    let digest = manifest.digest();
    row_counts(manifest)
        .iter()
        .enumerate()
        .map(|(t, rows)| {
            (0..*rows)
                .map(|r| seed.weight_blind(&digest, t, r))
                .collect()
        })
        .collect()
}

/// Commits to a model. `progress` is told of each tensor that is done, out of how many.
pub fn commit_model(
    model: &IntegerModel,
    seed: &BlindingSeed,
    generators: &GeneratorStore,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> VerifyingKey {
    let row_bits = row_bits(&model.manifest.architecture);
    let generators = generators.get(row_bits);
    let blinds = weight_blinds(&model.manifest, seed);
    let tensors = tensors(model);
    let rows = tensors
        .iter()
        .zip(&blinds)
        .enumerate()
        .map(|(t, (tensor, blinds))| {
            let rows = match tensor {
                Tensor::Matrix(m) => matrix_rows(m, row_bits),
                Tensor::Vectors(v) => vector_rows(v, row_bits),
            };
            let points = commit_rows(&generators, &rows, blinds);
            progress(t + 1, tensors.len());
            points.iter().map(PointBytes::from).collect()
        })
        .collect();
    VerifyingKey {
        manifest: model.manifest.clone(),
        rows,
    }
}

impl VerifyingKey {
    /// SHA-256 over the encoded key, domain-separated.
    pub fn id(&self) -> ModelId {
        let bytes = postcard::to_stdvec(self).expect("in-memory values always encode");
        let mut hash = Sha256::new();
        hash.update(b"nanozk/model/v1");
        hash.update(bytes);
        ModelId(hash.finalize().into())
    }

    /// Checks the manifest, and that the key has the tensors and rows that it implies: what can be told without
    /// decoding a point or building a table.
    pub fn check(&self) -> Result<(), KeyError> {
        layers::check(&self.manifest).map_err(|e| KeyError::Manifest(e.to_string()))?;
        let counts = row_counts(&self.manifest);
        if counts.len() != self.rows.len() {
            return Err(KeyError::Tensors {
                expected: counts.len(),
                found: self.rows.len(),
            });
        }
        for (tensor, (expected, rows)) in counts.iter().zip(&self.rows).enumerate() {
            if *expected != rows.len() {
                return Err(KeyError::Rows {
                    tensor,
                    expected: *expected,
                    found: rows.len(),
                });
            }
        }
        Ok(())
    }

    /// Checks the key ([`Self::check`]), decodes its points and builds its tables.
    pub fn decode(&self) -> Result<CommittedModel, KeyError> {
        self.check()?;
        let decode = |(tensor, rows): (usize, &Vec<PointBytes>)| {
            decode_points(rows).map_err(|source| KeyError::Point { tensor, source })
        };
        let rows = self
            .rows
            .par_iter()
            .enumerate()
            .map(decode)
            .collect::<Result<_, _>>()?;
        let tables = self.manifest.build_tables();
        Ok(CommittedModel {
            manifest: self.manifest.clone(),
            id: self.id(),
            tables: tables.map_err(|_| KeyError::Tables)?,
            rows,
        })
    }
}

/// Where a layer's tensors stand: the indices of its matrices, and of its vectors if it has any.
fn layer_tensors(manifest: &Manifest, wanted: LayerKind) -> (Vec<usize>, Option<usize>) {
    let a = &manifest.architecture;
    let mut next = 0;
    for kind in LayerKind::all(a.layers) {
        let shapes = layers::weight_shapes(a, kind);
        let count = if owns_matrices(a, kind) {
            shapes.matrices.len()
        } else {
            0
        };
        let vectors = usize::from(!shapes.vectors.is_empty());
        if kind == wanted {
            let (first, at) = match kind {
                LayerKind::Head => (next + vectors, next),
                _ => (next, next + count),
            };
            let matrices = match count {
                0 => vec![0], // the token embedding's
                _ => (first..first + count).collect(),
            };
            return (matrices, (vectors == 1).then_some(at));
        }
        next += count + vectors;
    }
    panic!("{wanted} is not a layer of the model")
}

impl CommittedModel {
    /// The row commitments of a layer's matrices, and of its vectors.
    pub fn layer(&self, kind: LayerKind) -> (Vec<&[EqAffine]>, &[EqAffine]) {
        let (matrices, vectors) = layer_tensors(&self.manifest, kind);
        let rows = |t: usize| self.rows[t].as_slice();
        (
            matrices.into_iter().map(rows).collect(),
            vectors.map_or(&[], rows),
        )
    }
}

/// The blinds of every weight row.
pub struct WeightBlinds(Vec<Vec<F>>);

impl WeightBlinds {
    pub fn new(manifest: &Manifest, seed: &BlindingSeed) -> Self {
        Self(weight_blinds(manifest, seed))
    }

    /// The blinds of a layer's matrices, and of its vectors.
    pub fn layer(&self, manifest: &Manifest, kind: LayerKind) -> (Vec<Vec<F>>, Vec<F>) {
        let (matrices, vectors) = layer_tensors(manifest, kind);
        let rows = |t: usize| self.0[t].clone();
        (
            matrices.into_iter().map(rows).collect(),
            vectors.map_or(Vec::new(), rows),
        )
    }
}

#[cfg(test)]
impl CommittedModel {
    /// Enough of a model for checks that come before its weights.
    pub(super) fn without_rows(manifest: Manifest, id: ModelId) -> Self {
        Self {
            tables: Tables::new(&manifest.scales, manifest.architecture.activation),
            rows: Vec::new(),
            manifest,
            id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::testing::{Shape, manifest};
    use crate::proof::testing::tiny;

    /// A key whose tensors or rows are not as many as its manifest implies is refused before a point of
    /// it is decoded.
    #[test]
    fn a_key_has_the_rows_of_its_manifest() {
        let shape = Shape {
            width: 64,
            layers: 1,
            vocabulary: 131,
            tied: false,
        };
        let manifest = manifest(shape);
        let counts = row_counts(&manifest);
        let rows: Vec<_> = counts
            .iter()
            .map(|n| vec![PointBytes([0xff; 32]); *n])
            .collect();
        let refused = |rows: &[Vec<PointBytes>]| {
            let (manifest, rows) = (manifest.clone(), rows.to_vec());
            let key = VerifyingKey { manifest, rows };
            key.decode().err().expect("no point of it is one")
        };
        assert!(matches!(refused(&rows), KeyError::Point { .. }));
        let fewer = &rows[..rows.len() - 1];
        let more = [&rows[..], &rows[..1]].concat();
        for rows in [fewer, &more] {
            assert!(matches!(refused(rows), KeyError::Tensors { .. }));
        }
        for tensor in 0..rows.len() {
            let mut longer = rows.clone();
            longer[tensor].push(rows[tensor][0]);
            let mut shorter = rows.clone();
            shorter[tensor].pop();
            for rows in [longer, shorter] {
                let error = refused(&rows);
                assert!(matches!(error, KeyError::Rows { tensor: t, .. } if t == tensor));
            }
        }
    }

    /// A tied head's matrix is committed to once, as the embedding's; another's own is its own.
    #[test]
    fn a_tied_head_has_the_embeddings_rows() {
        let shape = |tied| Shape {
            width: 64,
            layers: 1,
            vocabulary: 131,
            tied,
        };
        let [own, tied] = [false, true].map(|tied| manifest(shape(tied)));
        assert_eq!(row_counts(&own).len(), row_counts(&tied).len() + 1);
        let matrices = |m: &Manifest, kind| layer_tensors(m, kind).0;
        let embedding = LayerKind::Embedding;
        assert_eq!(
            matrices(&tied, LayerKind::Head)[0],
            matrices(&tied, embedding)[0]
        );
        assert!(!matrices(&own, embedding).contains(&matrices(&own, LayerKind::Head)[0]));
    }

    /// A manifest that the layers cannot be declared for is refused before anything is made of it: shapes and
    /// fields by its own check, scales by the layers'.
    #[test]
    fn a_key_has_a_manifest_that_can_be_used() {
        use pasta_curves::group::CurveAffine;
        let refused = |change: fn(&mut Manifest)| {
            let mut manifest = tiny().manifest;
            change(&mut manifest);
            let rows = row_counts(&manifest)
                .iter()
                .map(|n| vec![PointBytes::from(&EqAffine::generator()); *n])
                .collect();
            VerifyingKey { manifest, rows }.decode().err()
        };
        assert!(refused(|_| ()).is_none(), "any points are commitments");
        assert!(matches!(
            refused(|m| m.tables[0] ^= 1),
            Some(KeyError::Tables)
        ));
        let changes: [fn(&mut Manifest); 3] = [
            |m| m.architecture.context = 3,
            |m| m.scales.residual = m.scales.weight,
            |m| m.scales.blocks.clear(),
        ];
        for change in changes {
            assert!(matches!(refused(change), Some(KeyError::Manifest(_))));
        }
    }

    /// Whoever has the key, or the seed, computes these from docs/container.md.
    #[test]
    fn ids_and_blinds_are_the_documented_hashes() {
        let shape = Shape {
            width: 64,
            layers: 1,
            vocabulary: 131,
            tied: true,
        };
        let rows = vec![vec![PointBytes([7; 32])]];
        let manifest = manifest(shape);
        let key = VerifyingKey { manifest, rows };
        let encoded = postcard::to_stdvec(&key).expect("plain data");
        let id = Sha256::digest([&b"nanozk/model/v1"[..], &encoded].concat());
        assert_eq!(key.id().0[..], id[..]);

        let (tensor, row) = (5u64.to_le_bytes(), 300u64.to_le_bytes());
        let bytes = [&[9; 32][..], &tensor, &row].concat();
        let mut hash = blake2b_simd::Params::new();
        hash.hash_length(64)
            .key(&[1; 32])
            .personal(b"nanozk-weightsv2");
        let blind = F::from_uniform_bytes(hash.hash(&bytes).as_array());
        let seed = BlindingSeed([1; 32]);
        assert_eq!(seed.weight_blind(&[9; 32], 5, 300), blind);
    }

    /// Under the public seed, or one that two models share, commitments would hide nothing.
    #[test]
    fn secret_seeds_are_drawn() {
        let draw = || BlindingSeed::random().expect("randomness").0;
        let (first, second) = (draw(), draw());
        assert!(first != BlindingSeed::OPEN.0 && first != second);
    }
}
