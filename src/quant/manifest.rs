//! The public description of a quantized model: everything but the weights.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::elementary::ROTATION_BITS;
use crate::lists::bounded;

/// The most tokens that end a text. Published models have a handful.
pub const MAX_ENDS: usize = 1 << 6;

/// The most blocks of a model.
pub const MAX_BLOCKS: usize = 1 << 10;

/// The activation function of the feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Activation {
    /// GELU by tanh, "gelu_new" / "gelu_pytorch_tanh".
    GeluTanh,
    /// GELU by erf, "gelu".
    GeluErf,
    /// x·σ(x), "silu".
    Silu,
}

/// How the residual stream is normalized before each branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NormKind {
    /// LayerNorm, with gain and bias. Such a model's linear maps have biases.
    Layer,
    /// RMSNorm, with a gain. Such a model's linear maps have no biases.
    RootMeanSquare,
}

/// How a model knows where a token stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Positions {
    /// A committed vector for each position is added to the token's.
    Learned,
    /// Queries and keys are rotated. Pair m of a head's lanes, (m, m + w/2) of w, turns at position
    /// i by i·turns\[m\]·2^-64 of a full circle.
    Rotary {
        // As many as heads of 128 have.
        #[serde(deserialize_with = "bounded::<64, _, _>")]
        turns: Vec<u64>,
    },
}

/// The shape of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Architecture {
    pub layers: usize,
    /// d, a multiple of 64.
    pub width: usize,
    pub heads: usize,
    /// Heads of keys and values, each read by `heads / kv_heads` consecutive heads of queries.
    pub kv_heads: usize,
    /// 64 or 128; `heads · head_width = width`.
    pub head_width: usize,
    /// The feed-forward width, a multiple of 64.
    pub hidden: usize,
    pub vocabulary: usize,
    /// The largest number of positions.
    pub context: usize,
    /// Whether the head's matrix is the token embedding.
    pub tied: bool,
    pub norm: NormKind,
    pub positions: Positions,
    pub activation: Activation,
    /// Whether the activation's value is multiplied by a second projection, lane by lane.
    pub gated: bool,
    /// ε of the norms, as the bits of an `f64` (so that the manifest has one encoding).
    pub epsilon_bits: u64,
    /// The tokens that end a text, each once: any of them stops generation. Without one, only the requested length
    /// does.
    #[serde(deserialize_with = "bounded::<MAX_ENDS, _, _>")]
    pub end_of_text: Vec<u32>,
}

impl Architecture {
    /// Whether a token ends the text.
    pub fn ends(&self, token: u32) -> bool {
        self.end_of_text.contains(&token)
    }

    /// The token that fills a sequence up: any would do, as nothing that is claimed depends on it.
    pub fn padding(&self) -> u32 {
        self.end_of_text.first().copied().unwrap_or(0)
    }

    pub fn epsilon(&self) -> f64 {
        f64::from_bits(self.epsilon_bits)
    }

    /// The width of all keys, and of all values.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_width
    }

    /// How many heads read the same keys and values.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Whether linear maps have biases.
    pub fn biased(&self) -> bool {
        self.norm == NormKind::Layer
    }

    /// How far each pair of a head's lanes turns per position, where the model rotates.
    pub fn rotary(&self) -> Option<&[u64]> {
        match &self.positions {
            Positions::Learned => None,
            Positions::Rotary { turns } => Some(turns),
        }
    }

    /// The fractional bits that rotating adds to queries and keys.
    pub fn rotation(&self) -> u32 {
        self.rotary().map_or(0, |_| ROTATION_BITS)
    }
}

/// Fixed point of one norm: its output z has `output` fractional bits, and its inverse root R
/// carries `root` of them (`root − output` is 32 or 48).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NormScale {
    pub output: u32,
    pub root: u32,
}

/// Fractional bits of one block's tensors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockScales {
    pub norm1: NormScale,
    pub norm2: NormScale,
    pub q: u32,
    pub k: u32,
}

/// Fractional bits of a model's tensors: x ≈ X·2^-f.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scales {
    /// The residual stream and the branches' outputs (32-bit signed).
    pub residual: u32,
    /// Every weight matrix, embeddings included.
    pub weight: u32,
    /// The bias of the attention's output projection. (Every other bias has its accumulator's.)
    pub output_bias: u32,
    /// The values of the exp table, e.
    pub exp: u32,
    /// w: attention weights are normalized by ⌊2^w / Z⌋.
    pub inverse: u32,
    /// Key and value of the activation table.
    pub activation_key: u32,
    pub activation_value: u32,
    /// γ of the final norm (β has `final_norm.output + final_gain`).
    pub final_gain: u32,
    pub final_norm: NormScale,
    #[serde(deserialize_with = "bounded::<MAX_BLOCKS, _, _>")]
    pub blocks: Vec<BlockScales>,
}

/// Where the weights came from, as far as the publisher says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// (file name, SHA-256) of every checkpoint file that was read, sorted by name: what names an
    /// open model. Empty for a private one, whose weights nobody must be able to guess and confirm.
    pub files: Vec<(String, [u8; 32])>,
    /// Whether the weights' blinds come from the public zero seed, so that the id can be
    /// recomputed from the checkpoint.
    pub open: bool,
}

/// Everything public about a quantized model but its commitments; hashed into the model id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub architecture: Architecture,
    pub scales: Scales,
    /// SHA-256 over the bytes of all lookup tables.
    pub tables: [u8; 32],
    /// SHA-256 of the tokenizer's canonical JSON.
    pub tokenizer: [u8; 32],
    /// SHA-256 of the chat template with its special tokens, in canonical bytes, if the checkpoint has one.
    pub chat_template: Option<[u8; 32]>,
    pub provenance: Provenance,
}

impl Manifest {
    /// SHA-256 of the manifest's canonical (postcard) encoding, under a domain of its own.
    pub fn digest(&self) -> [u8; 32] {
        let bytes = postcard::to_stdvec(self).expect("a manifest is plain data");
        let mut hash = Sha256::new();
        hash.update(b"nanozk/manifest/v1");
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quant::testing;

    fn manifest() -> Manifest {
        Manifest {
            architecture: testing::architecture(1, 1),
            scales: testing::scales(1),
            tables: [1; 32],
            tokenizer: [2; 32],
            chat_template: None,
            provenance: Provenance {
                files: vec![("model.safetensors".into(), [3; 32])],
                open: true,
            },
        }
    }

    /// Whatever part of the manifest changes, so does the model id that hashes it.
    #[test]
    fn the_digest_depends_on_every_field() {
        let changes: [fn(&mut Manifest); 22] = [
            |m| m.architecture.layers += 1,
            |m| m.architecture.context += 1,
            |m| m.architecture.tied = false,
            |m| m.architecture.kv_heads += 1,
            |m| m.architecture.head_width *= 2,
            |m| m.architecture.norm = NormKind::RootMeanSquare,
            |m| m.architecture.positions = Positions::Rotary { turns: vec![1] },
            |m| m.architecture.gated = true,
            |m| m.architecture.activation = Activation::GeluErf,
            |m| m.architecture.epsilon_bits += 1,
            |m| m.architecture.end_of_text.push(1),
            |m| m.scales.residual += 1,
            |m| m.scales.inverse += 1,
            |m| m.scales.final_norm.root += 16,
            |m| m.scales.blocks[0].norm2.output -= 1,
            |m| m.scales.blocks[0].q -= 1,
            |m| m.tables[31] ^= 1,
            |m| m.tokenizer[0] ^= 1,
            |m| m.chat_template = Some([2; 32]),
            |m| m.provenance.files.push(("x".into(), [0; 32])),
            |m| m.provenance.files[0].1[5] ^= 1,
            |m| m.provenance.open = false,
        ];
        let mut digests = vec![manifest().digest()];
        for change in changes {
            let mut changed = manifest();
            change(&mut changed);
            digests.push(changed.digest());
        }
        let count = digests.len();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), count);
    }

    /// The bytes that the id hashes are those of `docs/container.md`, for both kinds of models.
    #[test]
    fn the_encoding_is_the_documented_one() {
        let gpt2 = Architecture {
            context: 300,
            ..testing::architecture(7, 2)
        };
        let turns = vec![5, 1 << 63];
        let llama = Architecture {
            positions: Positions::Rotary { turns },
            ..testing::llama(7, 1, 128)
        };
        let turned = [&[1, 2, 5][..], &[0x80; 9], &[1]].concat();
        for (a, positions) in [(gpt2, vec![0]), (llama, turned)] {
            let (names, bytes): (Vec<&str>, Vec<Vec<u8>>) = [
                ("layers", leb128(a.layers)),
                ("width", leb128(a.width)),
                ("heads", leb128(a.heads)),
                ("kv_heads", leb128(a.kv_heads)),
                ("head_width", leb128(a.head_width)),
                ("hidden", leb128(a.hidden)),
                ("vocabulary", leb128(a.vocabulary)),
                ("context", leb128(a.context)),
                ("tied", vec![a.tied.into()]),
                ("norm", vec![a.norm as u8]),
                ("positions", positions),
                ("activation", vec![a.activation as u8]),
                ("gated", vec![a.gated.into()]),
                ("epsilon_bits", leb128(a.epsilon_bits as usize)),
                (
                    "end_of_text",
                    [
                        vec![a.end_of_text.len() as u8],
                        a.end_of_text
                            .iter()
                            .flat_map(|t| leb128(*t as usize))
                            .collect(),
                    ]
                    .concat(),
                ),
            ]
            .into_iter()
            .unzip();
            assert_eq!(postcard::to_stdvec(&a).expect("plain data"), bytes.concat());
            let page = include_str!("../../docs/container.md");
            let row = "| key.manifest.architecture | ";
            let row = page.lines().find_map(|l| l.strip_prefix(row));
            // Types and values stand in brackets after the names.
            let fields = row.expect("a row").split(", ");
            let fields = fields.filter(|f| !f.starts_with(|c: char| c.is_ascii_digit()));
            let fields = fields.filter_map(|f| f.split(' ').next());
            assert_eq!(fields.collect::<Vec<_>>(), names);
        }
    }

    /// What the blinds of weights depend on.
    #[test]
    fn the_digest_is_the_documented_hash() {
        let bytes = postcard::to_stdvec(&manifest()).expect("plain data");
        let len = (bytes.len() as u64).to_le_bytes();
        let hash = Sha256::digest([b"nanozk/manifest/v1", &len[..], &bytes].concat());
        assert_eq!(manifest().digest()[..], hash[..]);
    }

    /// A varint.
    fn leb128(mut n: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while n > 127 {
            bytes.push(n as u8 | 0x80);
            n >>= 7;
        }
        bytes.push(n as u8);
        bytes
    }

    /// A key cannot make its reader hold more turns than a head has.
    #[test]
    fn no_more_turns_are_read_than_a_head_has() {
        let read = |count: usize| {
            let turns = vec![1; count];
            let bytes = postcard::to_stdvec(&Positions::Rotary { turns }).expect("plain data");
            postcard::from_bytes::<Positions>(&bytes).is_ok()
        };
        assert!(read(0) && read(64) && !read(65) && !read(1 << 16));
    }

    #[test]
    fn the_encoding_round_trips() {
        let bytes = postcard::to_stdvec(&manifest()).unwrap();
        assert_eq!(
            postcard::from_bytes::<Manifest>(&bytes).unwrap(),
            manifest()
        );
    }
}
