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
    /// max(x, 0), "relu".
    Relu,
    /// x·σ(1.702·x), "quick_gelu".
    QuickGelu,
}

/// How vectors are normalized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NormKind {
    /// LayerNorm.
    Layer,
    /// RMSNorm.
    RootMeanSquare,
}

/// What the two parts of a block read, and where norms stand; h is the residual stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// h' = h + attention(norm1(h)), then h' + feed_forward(norm2(h')).
    Sequential,
    /// h + attention(norm1(h)) + feed_forward(norm1(h)).
    Parallel,
    /// h + attention(norm1(h)) + feed_forward(norm2(h)).
    ParallelNorms,
    /// h' = h + attention_norm(attention(h)), then h' + feed_forward_norm(feed_forward(h')).
    Behind,
    /// h' = h + attention_norm(attention(norm1(h))), then h' + feed_forward_norm(feed_forward(norm2(h'))).
    Around,
}

impl Order {
    /// Whether there are norms before attention and feed-forward part of their own: norm1, norm2.
    pub fn before(self) -> [bool; 2] {
        match self {
            Self::Sequential | Self::ParallelNorms | Self::Around => [true, true],
            Self::Parallel => [true, false],
            Self::Behind => [false, false],
        }
    }

    /// Whether there are norms behind both.
    pub fn behind(self) -> bool {
        matches!(self, Self::Behind | Self::Around)
    }

    /// Whether the feed-forward part reads the same stream as the attention.
    pub fn parallel(self) -> bool {
        matches!(self, Self::Parallel | Self::ParallelNorms)
    }
}

/// Over what queries and keys are normalized, by RMSNorm, before they are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeadNorm {
    /// Each head alone, with one gain for all heads.
    Heads,
    /// All heads together.
    Whole,
}

/// How blocks of one kind attend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attending {
    /// Pair m of a head's lanes, (m, m + l/2) of l, turns at position i by i·turns\[m\]·2^-64 of a full circle;
    /// empty where nothing is rotated.
    // As many as heads of 256 have.
    #[serde(deserialize_with = "bounded::<128, _, _>")]
    pub turns: Vec<u64>,
    /// How many tokens are seen, the token itself among them; all that came before where there is none.
    pub window: Option<u32>,
}

/// Which linear maps and norms have biases. A map behind a norm with a bias has one, as the norm's is folded into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Biases {
    pub query: bool,
    pub key: bool,
    pub value: bool,
    pub output: bool,
    pub gate: bool,
    pub up: bool,
    pub down: bool,
    pub final_norm: bool,
    /// Of the head's matrix: one for each token of the vocabulary.
    pub head: bool,
}

/// The width of a slab: lanes come in whole ones, the last filled up with zeros.
pub const LANES: usize = 64;
/// The most kinds of attention that the blocks of a model have.
pub const MAX_KINDS: usize = 4;

/// The shape of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Architecture {
    pub layers: usize,
    /// d.
    pub width: usize,
    pub heads: usize,
    /// Heads of keys and values, each read by `heads / kv_heads` consecutive heads of queries.
    pub kv_heads: usize,
    /// The width of a head, at most 256.
    pub head_width: usize,
    /// The feed-forward width.
    pub hidden: usize,
    pub vocabulary: usize,
    /// The largest number of positions.
    pub context: usize,
    /// Whether the head's matrix is the token embedding.
    pub tied: bool,
    pub norm: NormKind,
    pub order: Order,
    /// How queries and keys are normalized, if they are.
    pub head_norm: Option<HeadNorm>,
    /// Whether a committed vector for each position is added to the token's.
    pub learned_positions: bool,
    /// How blocks attend.
    #[serde(deserialize_with = "bounded::<MAX_KINDS, _, _>")]
    pub kinds: Vec<Attending>,
    /// Which of the kinds each block is.
    #[serde(deserialize_with = "bounded::<MAX_BLOCKS, _, _>")]
    pub kind_of: Vec<u8>,
    pub activation: Activation,
    /// Whether the activation's value is multiplied by a second projection, lane by lane.
    pub gated: bool,
    pub biases: Biases,
    /// ε of the norms, as the bits of an `f64` (so that the manifest has one encoding).
    pub epsilon_bits: u64,
    /// The tokens that end a text, each once: any of them stops generation. Without one, only the requested length
    /// does.
    #[serde(deserialize_with = "bounded::<MAX_ENDS, _, _>")]
    pub end_of_text: Vec<u32>,
}

/// n lanes in whole slabs.
pub fn in_slabs(n: usize) -> usize {
    n.next_multiple_of(LANES)
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

    /// The lanes of the residual stream: d in whole slabs.
    pub fn stream(&self) -> usize {
        in_slabs(self.width)
    }

    /// The lanes of the feed-forward part.
    pub fn hidden_lanes(&self) -> usize {
        in_slabs(self.hidden)
    }

    /// The lanes of a head: its width in one, two or four slabs.
    pub fn head_lanes(&self) -> usize {
        in_slabs(self.head_width).next_power_of_two()
    }

    /// Where the lanes of `heads` heads stand if none of them turns.
    pub fn head_places(&self, heads: usize) -> Vec<usize> {
        let (w, lanes) = (self.head_width, self.head_lanes());
        (0..heads * w).map(|at| at / w * lanes + at % w).collect()
    }

    /// The lanes of all queries.
    pub fn query_lanes(&self) -> usize {
        self.heads * self.head_lanes()
    }

    /// The lanes of all keys, and of all values.
    pub fn key_lanes(&self) -> usize {
        self.kv_heads * self.head_lanes()
    }

    /// How many heads read the same keys and values.
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// How a block attends.
    pub fn attending(&self, block: usize) -> &Attending {
        &self.kinds[usize::from(self.kind_of[block])]
    }

    /// How far each pair of a head's lanes turns per position in a block, where it rotates.
    pub fn rotary(&self, block: usize) -> Option<&[u64]> {
        let turns = &*self.attending(block).turns;
        (!turns.is_empty()).then_some(turns)
    }

    /// The fractional bits that rotating adds to queries and keys of a block.
    pub fn rotation(&self, block: usize) -> u32 {
        self.rotary(block).map_or(0, |_| ROTATION_BITS)
    }
}

/// Fixed point of one norm: its output z has `output` fractional bits, and its inverse root R
/// carries `root` of them (`root − output` is 32 or 48).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NormScale {
    pub output: u32,
    pub root: u32,
}

/// Fixed point of queries or keys that are normalized: `input` fractional bits where they enter the norm (32-bit signed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadNormScale {
    pub input: u32,
    pub norm: NormScale,
}

/// The most bits by which a channel of a norm's output is lifted.
pub const MAX_LIFT: u8 = 12;
/// No norm has more channels.
const MAX_LIFTED: usize = 1 << 13;

/// t_k of each of the d channels of a norm's output, which has `output + t_k` fractional bits there; empty where all are
/// alike. Channels that stay small behind the norm have more, so that a few loud ones do not drown them.
pub type Lifts = Vec<u8>;

/// Fractional bits of one block's tensors. Norms are those of its [`Order`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockScales {
    /// Before the attention.
    pub norm1: Option<NormScale>,
    /// Its channels.
    #[serde(deserialize_with = "bounded::<MAX_LIFTED, _, _>")]
    pub lifts1: Lifts,
    /// Before the feed-forward part.
    pub norm2: Option<NormScale>,
    #[serde(deserialize_with = "bounded::<MAX_LIFTED, _, _>")]
    pub lifts2: Lifts,
    /// Behind the attention.
    pub attention_norm: Option<NormScale>,
    /// Behind the feed-forward part.
    pub feed_forward_norm: Option<NormScale>,
    pub query_norm: Option<HeadNormScale>,
    pub key_norm: Option<HeadNormScale>,
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
    /// γ of the norms of queries and keys, and of those behind attention and feed-forward part.
    pub gain: u32,
    pub final_norm: NormScale,
    /// Its channels.
    #[serde(deserialize_with = "bounded::<MAX_LIFTED, _, _>")]
    pub final_lifts: Lifts,
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
        let changes: [fn(&mut Manifest); 31] = [
            |m| m.architecture.layers += 1,
            |m| m.architecture.context += 1,
            |m| m.architecture.tied = false,
            |m| m.architecture.kv_heads += 1,
            |m| m.architecture.head_width *= 2,
            |m| m.architecture.norm = NormKind::RootMeanSquare,
            |m| m.architecture.order = Order::Parallel,
            |m| m.architecture.head_norm = Some(HeadNorm::Whole),
            |m| m.architecture.learned_positions = false,
            |m| m.architecture.kinds[0].turns = vec![1],
            |m| m.architecture.kinds[0].window = Some(5),
            |m| m.architecture.kind_of[0] = 1,
            |m| m.architecture.biases.head = true,
            |m| m.architecture.gated = true,
            |m| m.architecture.activation = Activation::GeluErf,
            |m| m.architecture.epsilon_bits += 1,
            |m| m.architecture.end_of_text.push(1),
            |m| m.scales.residual += 1,
            |m| m.scales.inverse += 1,
            |m| m.scales.final_norm.root += 16,
            |m| m.scales.final_lifts = vec![1],
            |m| m.scales.blocks[0].norm2 = None,
            |m| m.scales.blocks[0].lifts1 = vec![1],
            |m| m.scales.blocks[0].lifts2 = vec![1],
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
            kinds: vec![Attending {
                turns,
                window: Some(300),
            }],
            head_norm: Some(HeadNorm::Whole),
            order: Order::Around,
            ..testing::llama(7, 1, 128)
        };
        let turned = [&[1, 2, 5][..], &[0x80; 9], &[1, 1, 0xac, 2]].concat();
        for (a, kinds, head_norm) in [(gpt2, vec![1, 0, 0], vec![0]), (llama, turned, vec![1, 1])] {
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
                ("order", vec![a.order as u8]),
                ("head_norm", head_norm),
                ("learned_positions", vec![a.learned_positions.into()]),
                ("kinds", kinds),
                ("kind_of", [vec![7], a.kind_of.clone()].concat()),
                ("activation", vec![a.activation as u8]),
                ("gated", vec![a.gated.into()]),
                ("biases", biases(a.biases)),
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

    /// A byte for each.
    fn biases(b: Biases) -> Vec<u8> {
        let maps = [b.query, b.key, b.value, b.output, b.gate, b.up, b.down];
        maps.into_iter()
            .chain([b.final_norm, b.head])
            .map(u8::from)
            .collect()
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
            let kind = Attending {
                turns,
                window: None,
            };
            let bytes = postcard::to_stdvec(&kind).expect("plain data");
            postcard::from_bytes::<Attending>(&bytes).is_ok()
        };
        assert!(read(0) && read(128) && !read(129) && !read(1 << 16));
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
