//! What a proof file claims, and the chain that links its layers.

use pasta_curves::EqAffine;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::audit::own_draw;
use super::run_seed::tagged_digest;
use crate::curve::PointBytes;
use crate::layers::{LayerKind, RunError, Sequence};
use crate::lists::bounded;
use crate::quant::Architecture;

/// No model's context is longer, and so no prompt or output.
const MAX_TOKENS: usize = 1 << 17;

/// More layers than any model has: the embedding, 1,024 blocks and the head are fewer.
pub const MAX_LAYERS: usize = 1 << 11;

/// SHA-256 of a verifying key: a model's public name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ModelId(pub [u8; 32]);

impl std::fmt::Display for ModelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl std::fmt::Debug for ModelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ModelId({self})")
    }
}

impl std::str::FromStr for ModelId {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        let digits: Vec<u8> = s
            .chars()
            .map(|c| c.to_digit(16).map(|d| d as u8))
            .collect::<Option<_>>()
            .filter(|d: &Vec<u8>| d.len() == 64)
            .ok_or_else(|| "a model id is 64 hexadecimal digits".to_string())?;
        Ok(Self(std::array::from_fn(|i| {
            digits[2 * i] << 4 | digits[2 * i + 1]
        })))
    }
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stop {
    /// The last output token is one that ends a text; no other is.
    EndOfText,
    /// The requested number of tokens was reached.
    Length,
}

impl Stop {
    /// The token that ended an answer, if one did.
    pub fn end(self, answer: &[u32]) -> Option<u32> {
        match self {
            Self::EndOfText => answer.last().copied(),
            Self::Length => None,
        }
    }
}

/// What a proof file claims: this model turned this prompt into this output, greedily.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    pub model_id: ModelId,
    #[serde(deserialize_with = "bounded::<MAX_TOKENS, _, _>")]
    pub prompt: Vec<u32>,
    #[serde(deserialize_with = "bounded::<MAX_TOKENS, _, _>")]
    pub output: Vec<u32>,
    pub stop: Stop,
    /// T', the padded number of positions. Derived; kept so that it is hashed with the rest.
    pub padded: u32,
    /// c₀ … c_L.
    #[serde(deserialize_with = "bounded::<MAX_LAYERS, _, _>")]
    pub chain: Vec<[u8; 32]>,
    /// The layers that are proved: ascending indices, 0 the embedding, 1 to L the blocks, L + 1 the
    /// head. Nothing is claimed of the others.
    #[serde(deserialize_with = "bounded::<MAX_LAYERS, _, _>")]
    pub layers: Vec<u32>,
    pub selection: Selection,
}

/// How the layers that are proved were selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// By the prover, as it liked.
    Chosen,
    /// By a hash of the prover's own commitments, which it can make anew until the draw suits it.
    OwnDraw,
    /// By the challenge with this digest. Only who has the challenge can tell.
    Challenge([u8; 32]),
}

/// Why a statement is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    #[error(transparent)]
    Sequence(#[from] RunError),
    #[error("the statement pads to {found} positions, its tokens to {expected}")]
    Padding { expected: usize, found: usize },
    #[error("the chain has {found} links, the model {expected}")]
    Chain { expected: usize, found: usize },
    #[error("the output says it stopped at {0:?}, its tokens say otherwise")]
    Stop(Stop),
    #[error(
        "the {count} layers that are proved are not one or more of the model's 0 to {last} in ascending \
         order"
    )]
    Layers { count: usize, last: usize },
    #[error("the layers are not those that the statement's own commitments draw")]
    OwnDraw,
    #[error("link {0} of the chain is not the digest of its activation commitments")]
    Link(usize),
}

impl Statement {
    /// Checks everything that follows from the model's shape, and returns the sequence of tokens
    /// that was run.
    pub fn validate(&self, a: &Architecture) -> Result<Sequence, StatementError> {
        let sequence = Sequence::new(&self.prompt, &self.output, a)?;
        let expected = sequence.tokens().len();
        if self.padded as usize != expected {
            return Err(StatementError::Padding {
                expected,
                found: self.padded as usize,
            });
        }
        if self.chain.len() != a.layers + 1 {
            return Err(StatementError::Chain {
                expected: a.layers + 1,
                found: self.chain.len(),
            });
        }
        self.validate_layers(a.layers + 2)?;
        let end = self.output.iter().position(|t| a.ends(*t));
        let expected = match end {
            None => Stop::Length,
            Some(p) if p + 1 == self.output.len() => Stop::EndOfText,
            Some(_) => return Err(StatementError::Stop(self.stop)),
        };
        if self.stop == expected {
            Ok(sequence)
        } else {
            Err(StatementError::Stop(self.stop))
        }
    }

    fn validate_layers(&self, total: usize) -> Result<(), StatementError> {
        let ascending = self.layers.is_sorted_by(|a, b| a < b);
        let last = self.layers.last();
        if !ascending || last.is_none_or(|last| *last as usize >= total) {
            return Err(StatementError::Layers {
                count: self.layers.len(),
                last: total - 1,
            });
        }
        let count = self.layers.len() as u32;
        if self.selection == Selection::OwnDraw
            && own_draw(self.commitment(), count, total) != Ok(self.layers.clone())
        {
            return Err(StatementError::OwnDraw);
        }
        Ok(())
    }

    /// The layers that are proved, of a model of so many blocks.
    pub fn kinds(&self, blocks: usize) -> Vec<LayerKind> {
        let proved = |index: u32| self.layers.binary_search(&index).is_ok();
        (0..)
            .zip(LayerKind::all(blocks))
            .filter_map(|(index, kind)| proved(index).then_some(kind))
            .collect()
    }

    /// SHA-256 of all but the selection of layers: what a prover commits to before layers are drawn.
    pub fn commitment(&self) -> [u8; 32] {
        let unselected = (
            &self.model_id,
            &self.prompt,
            &self.output,
            &self.stop,
            &self.padded,
            &self.chain,
        );
        tagged_digest("nanozk/commitment/v1", &unselected)
    }

    /// SHA-256 of the statement, with which every transcript begins.
    pub fn digest(&self) -> [u8; 32] {
        tagged_digest("nanozk/statement/v1", self)
    }
}

/// c_ℓ = SHA-256("nanozk/activation/v1" ‖ ℓ ‖ T' ‖ d ‖ commitments to h_ℓ).
pub fn link(index: usize, padded: usize, width: usize, commitments: &[EqAffine]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"nanozk/activation/v1");
    for n in [index, padded, width, commitments.len()] {
        hash.update((n as u64).to_le_bytes());
    }
    for c in commitments {
        hash.update(PointBytes::from(c).0);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use pasta_curves::group::CurveAffine;

    use super::*;
    use crate::quant::testing::architecture;

    fn sha(parts: &[&[u8]]) -> [u8; 32] {
        Sha256::digest(parts.concat()).into()
    }

    /// A link is the hash that `docs/container.md` writes down: its domain, each number, each commitment.
    #[test]
    fn a_link_is_the_documented_hash() {
        let g = EqAffine::generator();
        let n = |n: u64| n.to_le_bytes();
        let numbers = [n(3), n(16), n(64), n(2)].concat();
        let points = [PointBytes::from(&g).0, PointBytes::from(&-g).0].concat();
        let expected = sha(&[b"nanozk/activation/v1", &numbers, &points]);
        assert_eq!(link(3, 16, 64, &[g, -g]), expected);
    }

    /// So is the statement's digest, with which every transcript begins.
    #[test]
    fn the_digest_is_the_documented_hash() {
        let statement = Statement {
            model_id: ModelId([7; 32]),
            prompt: vec![1, 300],
            output: vec![2],
            stop: Stop::Length,
            padded: 16,
            chain: vec![[9; 32]],
            layers: vec![0, 300],
            selection: Selection::Challenge([8; 32]),
        };
        let committed = [&[2, 1, 0xac, 2, 1, 2, 1, 16, 1][..], &[9; 32]].concat();
        let expected = sha(&[b"nanozk/commitment/v1", &[7; 32], &committed]);
        assert_eq!(statement.commitment(), expected);
        let tail = [&committed[..], &[2, 0, 0xac, 2, 2], &[8; 32]].concat();
        let expected = sha(&[b"nanozk/statement/v1", &[7; 32], &tail]);
        assert_eq!(statement.digest(), expected);
    }

    /// A model id is read from 64 hexadecimal digits and from nothing else.
    #[test]
    fn a_model_id_is_64_digits() {
        let id = ModelId(std::array::from_fn(|i| i as u8));
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64)] {
            assert!(wrong.parse::<ModelId>().is_err(), "{wrong:?}");
        }
    }

    /// What a statement says twice must agree: T', the length of the chain and why generation ended
    /// follow from the tokens and the model's shape.
    #[test]
    fn what_does_not_follow_from_the_tokens_is_refused() {
        let a = architecture(2, 1);
        let ended = |output: &[u32], stop| Statement {
            model_id: ModelId([7; 32]),
            prompt: vec![1, 2, 3, 4],
            output: output.to_vec(),
            stop,
            padded: 8,
            chain: vec![[9; 32]; 3],
            layers: vec![0, 1, 2, 3],
            selection: Selection::Chosen,
        };
        let good = ended(&[5, 6], Stop::Length);
        assert_eq!(good.validate(&a).expect("good").tokens().len(), 8);
        for padded in [0, 4, 7, 16] {
            let error = Statement {
                padded,
                ..good.clone()
            }
            .validate(&a);
            let found = padded as usize;
            assert_eq!(error, Err(StatementError::Padding { expected: 8, found }));
        }
        for found in [0, 2, 4] {
            let chain = vec![[9; 32]; found];
            let error = Statement {
                chain,
                ..good.clone()
            }
            .validate(&a);
            assert_eq!(error, Err(StatementError::Chain { expected: 3, found }));
        }
        let end = a.end_of_text[0];
        assert!(ended(&[5, end], Stop::EndOfText).validate(&a).is_ok());
        for (output, stop) in [
            ([5, 6], Stop::EndOfText),
            ([5, end], Stop::Length),
            ([end, 6], Stop::EndOfText),
            ([end, 6], Stop::Length),
            ([end, end], Stop::EndOfText),
        ] {
            let error = ended(&output, stop).validate(&a);
            assert_eq!(error, Err(StatementError::Stop(stop)), "{output:?}");
        }
    }

    /// The list of layers has one form and names at least one layer, so that its length says how many
    /// are proved; and what claims to be drawn from the commitments is.
    #[test]
    fn layers_are_a_set_of_the_models() {
        let a = architecture(2, 1);
        let of = |layers: &[u32], selection| Statement {
            model_id: ModelId([7; 32]),
            prompt: vec![1, 2, 3, 4],
            output: vec![5],
            stop: Stop::Length,
            padded: 4,
            chain: vec![[9; 32]; 3],
            layers: layers.to_vec(),
            selection,
        };
        for good in [&[0, 1, 2, 3][..], &[3], &[0, 2]] {
            let statement = of(good, Selection::Chosen);
            assert!(statement.validate(&a).is_ok(), "{good:?}");
            let kinds = statement.kinds(2).into_iter();
            let indices: Vec<u32> = kinds.map(|k| k.index(2) as u32).collect();
            assert_eq!(indices, good);
        }
        for bad in [
            &[][..],
            &[4],
            &[0, u32::MAX],
            &[1, 1],
            &[2, 1],
            &[0, 1, 2, 3, 3],
        ] {
            let error = of(bad, Selection::Chosen).validate(&a);
            let count = bad.len();
            assert_eq!(error, Err(StatementError::Layers { count, last: 3 }));
        }
        // What is said of a hostile file is short.
        let long = of(&[1; 1 << 20], Selection::Chosen).validate(&a);
        assert!(long.expect_err("not distinct").to_string().len() < 200);
        let drawn = own_draw(of(&[], Selection::OwnDraw).commitment(), 2, 4).expect("two of four");
        let pairs = (0..4u32).flat_map(|a| (a + 1..4).map(move |b| vec![a, b]));
        for pair in pairs {
            let accepted = of(&pair, Selection::OwnDraw).validate(&a);
            assert_eq!(accepted.is_ok(), pair == drawn, "{pair:?}");
        }
    }
}
