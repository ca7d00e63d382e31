//! The public transcript T0: Blake2b-512 over everything said so far.
//!
//! Every item is absorbed as
//!
//! ```text
//! kind (1 byte) ‖ len(label) ‖ label ‖ len(data) ‖ data          lengths: 8 bytes little-endian
//! ```
//!
//! which no other sequence of items encodes to. A challenge absorbs its own label, so that two
//! squeezes in a row differ, and is the hash of the whole conversation reduced from 512 bits: its
//! distance from uniform is below 2^-250.
//!
//! The caller absorbs a quantity before drawing the first challenge that it must not depend on.

use blake2b_simd::{Params, State};
use ff::{Field, FromUniformBytes, PrimeField};
use pasta_curves::{EqAffine, group::GroupEncoding};

#[cfg(test)]
use super::tap::{Item, Tap};
use crate::{algebra::F, curve::PointBytes};

const PERSONALIZATION: &[u8; 16] = b"nanozk/T0/v1\0\0\0\0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Domain,
    Bytes,
    Scalar,
    Point,
    Challenge,
}

/// A state that has absorbed nothing.
fn blank() -> State {
    Params::new()
        .hash_length(64)
        .personal(PERSONALIZATION)
        .to_state()
}

/// A running conversation with the verifier.
#[derive(Clone, Debug)]
pub struct Transcript {
    state: State,
    #[cfg(test)]
    tap: Tap,
}

impl Transcript {
    /// A conversation about one statement, in one protocol (`domain`).
    pub fn new(domain: &'static str, statement_digest: &[u8; 32]) -> Self {
        let mut transcript = Self {
            state: blank(),
            #[cfg(test)]
            tap: Tap::default(),
        };
        transcript.absorb(Kind::Domain, domain, statement_digest);
        transcript
    }

    pub fn absorb_bytes(&mut self, label: &'static str, bytes: &[u8]) {
        self.absorb(Kind::Bytes, label, bytes);
    }

    pub fn absorb_scalar(&mut self, label: &'static str, scalar: &F) {
        self.absorb(Kind::Scalar, label, scalar.to_repr().as_ref());
    }

    /// Absorbs the point's compressed encoding.
    pub fn absorb_point(&mut self, label: &'static str, point: &EqAffine) {
        self.absorb(Kind::Point, label, &point.to_bytes());
    }

    /// Absorbs a point as it stands in a proof: the same as [`Self::absorb_point`] of what it
    /// decodes to. The caller refuses bytes that do not decode.
    pub fn absorb_point_bytes(&mut self, label: &'static str, point: &PointBytes) {
        self.absorb(Kind::Point, label, &point.0);
    }

    /// A non-zero challenge that depends on everything absorbed and squeezed so far.
    pub fn challenge(&mut self, label: &'static str) -> F {
        loop {
            self.absorb(Kind::Challenge, label, &[]);
            let challenge = F::from_uniform_bytes(self.state.finalize().as_array());
            if !challenge.is_zero_vartime() {
                return challenge;
            }
        }
    }

    /// `n` challenges.
    pub fn challenges(&mut self, label: &'static str, n: usize) -> Vec<F> {
        (0..n).map(|_| self.challenge(label)).collect()
    }

    fn absorb(&mut self, kind: Kind, label: &str, data: &[u8]) {
        #[cfg(test)]
        let data = &*self.tap.pass(kind, label, data);
        self.state
            .update(&[kind as u8])
            .update(&(label.len() as u64).to_le_bytes())
            .update(label.as_bytes())
            .update(&(data.len() as u64).to_le_bytes())
            .update(data);
    }
}

#[cfg(test)]
impl Transcript {
    /// All items so far.
    pub(crate) fn items(&self) -> &[Item] {
        &self.tap.items
    }

    /// The same conversation with a bit of item `n` changed, which may be yet to come. This is bound
    /// to the value and not to a thread, as the verifier works on many.
    pub(crate) fn altered(&self, n: usize) -> Self {
        let mut altered = Self {
            state: blank(),
            tap: Tap::altering(n),
        };
        for item in self.items() {
            altered.absorb(item.kind, &item.label, &item.data);
        }
        altered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::testing::points;

    const STATEMENT: [u8; 32] = [7; 32];

    /// The challenge after a conversation.
    fn after(talk: impl FnOnce(&mut Transcript)) -> F {
        let mut t = Transcript::new("test", &STATEMENT);
        talk(&mut t);
        t.challenge("end")
    }

    /// Each conversation says something else, if only by a label, an order or a boundary; all
    /// challenges must differ.
    #[test]
    fn different_conversations_end_in_different_challenges() {
        let p = points(1)[0];
        let mut ends = vec![
            Transcript::new("other", &STATEMENT).challenge("end"),
            Transcript::new("test", &[8; 32]).challenge("end"),
            Transcript::new("test", &STATEMENT).challenge("END"),
            after(|_| ()),
            after(|t| t.absorb_bytes("a", b"xy")),
            after(|t| t.absorb_bytes("b", b"xy")),
            after(|t| t.absorb_bytes("a", b"xz")),
            after(|t| t.absorb_bytes("ax", b"y")),
            after(|t| t.absorb_bytes("a", b"")),
            after(|t| {
                t.absorb_bytes("a", b"x");
                t.absorb_bytes("a", b"y");
            }),
            after(|t| {
                t.absorb_bytes("a", b"y");
                t.absorb_bytes("a", b"x");
            }),
            after(|t| {
                t.challenge("end");
            }),
            after(|t| {
                t.challenge("a");
            }),
            after(|t| t.absorb_scalar("a", &F::ONE)),
            after(|t| t.absorb_scalar("a", &-F::ONE)),
            after(|t| t.absorb_bytes("a", F::ONE.to_repr().as_ref())),
            after(|t| t.absorb_point("a", &p)),
            after(|t| t.absorb_point("a", &-p)),
            after(|t| t.absorb_bytes("a", &p.to_bytes())),
        ];
        let n = ends.len();
        ends.sort();
        ends.dedup();
        assert_eq!(ends.len(), n);
    }

    #[test]
    fn a_point_and_its_bytes_are_one_message() {
        let p = points(1)[0];
        assert_eq!(
            after(|t| t.absorb_point("a", &p)),
            after(|t| t.absorb_point_bytes("a", &PointBytes::from(&p)))
        );
    }

    #[test]
    fn successive_challenges_differ_and_are_reproducible() {
        let draw = || Transcript::new("test", &STATEMENT).challenges("c", 3);
        let c = draw();
        assert!(c[0] != c[1] && c[1] != c[2] && c[0] != c[2]);
        assert_eq!(c, draw());
    }

    /// Proofs written to disk must still verify: the transcript cannot move.
    #[test]
    fn known_answer() {
        let end = after(|t| {
            t.absorb_bytes("bytes", b"abc");
            t.absorb_scalar("scalar", &F::from(5));
            t.absorb_point("point", &points(1)[0]);
        });
        let hex: String = end.to_repr().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(
            hex,
            "4bf7f4a593a06fab4b8035e24b93558e9d146a95c7a99c2232f6f65e653bc338"
        );
    }
}
