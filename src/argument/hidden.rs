//! The hidden conversation: the sumcheck's verifier over the transcript T1.
//!
//! # Claim
//! The prover knows a salt s, a mask m, a sum S₀, R round messages and K claims v_j such that the
//! sumcheck that starts from S₀ and takes its challenges from T1 ends, at the public point r⃗, in
//! the public combination of products of the claims, and E is their masked combination.
//!
//! # Symbols
//! t₀ digest of the public transcript, the layers' numbers included · R rounds · D degree ·
//! g⁽ⁱ⁾ round polynomials · r_i challenges · c_p coefficients of the products · a_j public offsets
//! of some claims · ρ the claims' challenge · E the masked combination.
//!
//! # Steps
//! 1. T1 absorbs the shape's digest, t₀, s, m, S₀.
//! 2. For i = 0 … R−1: T1 absorbs g₀, q₀, …, q_(D−2) and gives r_i. With Sᵢ the sum before the round,
//!    g⁽ⁱ⁾(X) = g₀ + X·(Sᵢ − 2g₀ + (X − 1)·q(X)): any polynomial of degree D with g(0) + g(1) = Sᵢ, and none other.
//!    Sᵢ₊₁ = g(r_i).
//! 3. T1 absorbs v₀ … v_{K−1} and gives ρ.
//! 4. S_R = Σ_p c_p · Π_{j∈p} (v_j + a_j), where a claim without an offset has a_j = 0.
//! 5. E = m + ρ·S₀ + Σ_j ρ^(j+2)·v_j.
//!
//! # Soundness
//! Every message is absorbed before the challenge it must not know; T1 is a random oracle of
//! 254-bit outputs, so a false S₀ survives with probability at most D·R/p per hash query. The
//! exponents of ρ start at 1: the mask, absorbed before ρ, cannot absorb a difference of claims.
//!
//! # What the caller must check
//! That t₀ commits to everything public (columns, points, coefficients' origin), that c_p and
//! a_j are the deterministic functions of r⃗ that the layer prescribes, and that E opens.

use ff::Field;

use super::channel::{Channel, Native, Public, Secret};
use crate::algebra::F;
use crate::transcript::hidden::HiddenTranscript;

/// The checks by name: the native error and the tests use these.
pub mod why {
    /// r_i is the challenge that T1 gives.
    pub const ROUND_CHALLENGE: &str = "the round challenge is the transcript's";
    /// ρ is the challenge that T1 gives.
    pub const CLAIMS_CHALLENGE: &str = "the claims' challenge is the transcript's";
    /// The last sum is the combination of the claims' products.
    pub const FINAL_SUM: &str = "the last sum is the combination of the claims";
    /// E is the masked combination of S₀ and the claims.
    pub const MASKED: &str = "E masks the combination of the claims";
    /// All of them.
    pub const ALL: [&str; 4] = [ROUND_CHALLENGE, CLAIMS_CHALLENGE, FINAL_SUM, MASKED];
}

/// What can be wrong with a conversation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HiddenError {
    /// A shape that no conversation can have.
    #[error("the conversation's shape is impossible: {0}")]
    Shape(&'static str),
    /// A vector of the wrong length.
    #[error("{what}: expected {expected} values, got {got}; build it for this shape")]
    Length {
        /// Which vector.
        what: &'static str,
        /// Its length by the shape.
        expected: usize,
        /// Its length.
        got: usize,
    },
    /// A check failed; the text is one of [`why`].
    #[error("the conversation was refused: it is not true that {0}")]
    Refused(&'static str),
}

/// Most factors of one product.
pub const MAX_FACTORS: usize = 7;

/// The shape of a conversation: everything that its sequence of steps depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HiddenShape {
    rounds: usize,
    degree: usize,
    offsets: Vec<bool>,
    products: Vec<Vec<usize>>,
}

impl HiddenShape {
    /// `rounds` R ≥ 1, each of degree `degree` D ≥ 2; one entry of `offsets` per claim, true if the
    /// claim has a public offset; `products` lists the 1 to [`MAX_FACTORS`] claims that each product
    /// multiplies (an index may repeat).
    ///
    /// # Errors
    /// [`HiddenError::Shape`] if one of these bounds is broken.
    pub fn new(
        rounds: usize,
        degree: usize,
        offsets: Vec<bool>,
        products: Vec<Vec<usize>>,
    ) -> Result<Self, HiddenError> {
        let complaint = if rounds == 0 || degree < 2 {
            Some("it needs at least one round, of degree at least two")
        } else if products.is_empty() {
            Some("it needs at least one product")
        } else if products
            .iter()
            .any(|p| p.is_empty() || p.len() > MAX_FACTORS)
        {
            Some("a product has 1 to 7 factors")
        } else if products.iter().flatten().any(|j| *j >= offsets.len()) {
            Some("a product names a claim that does not exist")
        } else {
            None
        };
        match complaint {
            Some(text) => Err(HiddenError::Shape(text)),
            None => Ok(Self {
                rounds,
                degree,
                offsets,
                products,
            }),
        }
    }

    /// R.
    pub fn rounds(&self) -> usize {
        self.rounds
    }

    /// D: also the number of coefficients sent per round.
    pub fn degree(&self) -> usize {
        self.degree
    }

    /// K.
    pub fn claims(&self) -> usize {
        self.offsets.len()
    }

    /// Which claims have a public offset.
    pub fn offsets(&self) -> &[bool] {
        &self.offsets
    }

    /// The claims that each product multiplies.
    pub fn products(&self) -> &[Vec<usize>] {
        &self.products
    }

    /// A field element that no other shape has (short of a Blake2b collision). T1 absorbs it first.
    pub fn digest(&self) -> F {
        use ff::FromUniformBytes;
        let mut words = vec![self.rounds, self.degree, self.offsets.len()];
        words.extend(self.offsets.iter().map(|o| usize::from(*o)));
        words.push(self.products.len());
        for product in &self.products {
            words.push(product.len());
            words.extend(product);
        }
        let mut hash = blake2b_simd::Params::new()
            .hash_length(64)
            .personal(b"nanozk/shape/v1")
            .to_state();
        for word in words {
            hash.update(&(word as u64).to_le_bytes());
        }
        F::from_uniform_bytes(hash.finalize().as_array())
    }

    /// The number of public values.
    pub fn instance_len(&self) -> usize {
        3 + self.products.len() + self.flagged() + self.rounds
    }

    /// Where a public value stands in [`HiddenInstance::to_vec`] and in the seal's instance column.
    ///
    /// The order is t₀, c_0 …, the a_j of the claims that have one, r_0 …, ρ, E.
    pub fn index(&self, slot: Public) -> usize {
        let coefficients = 1;
        let offsets = coefficients + self.products.len();
        let point = offsets + self.flagged();
        let rho = point + self.rounds;
        match slot {
            Public::Digest => 0,
            Public::Coefficient(p) => coefficients + p,
            Public::Offset(j) => offsets + self.offsets[..j].iter().filter(|o| **o).count(),
            Public::Point(i) => point + i,
            Public::Rho => rho,
            Public::Masked => rho + 1,
        }
    }

    fn flagged(&self) -> usize {
        self.offsets.iter().filter(|o| **o).count()
    }
}

fn check_length(what: &'static str, expected: usize, got: usize) -> Result<(), HiddenError> {
    if expected == got {
        Ok(())
    } else {
        Err(HiddenError::Length {
            what,
            expected,
            got,
        })
    }
}

/// What both sides know, in the order of [`HiddenShape::index`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HiddenInstance {
    values: Vec<F>,
    shape: HiddenShape,
}

impl HiddenInstance {
    /// Lays the public values out: t₀, one c_p per product, one a_j per claim with an offset (in
    /// the order of the claims), the point r⃗, ρ, E.
    ///
    /// # Errors
    /// [`HiddenError::Length`] if a vector does not fit the shape.
    pub fn new(
        shape: &HiddenShape,
        digest: F,
        coefficients: &[F],
        offsets: &[F],
        point: &[F],
        rho: F,
        masked: F,
    ) -> Result<Self, HiddenError> {
        check_length("coefficients", shape.products.len(), coefficients.len())?;
        check_length("offsets", shape.flagged(), offsets.len())?;
        check_length("point", shape.rounds, point.len())?;
        let values = [&[digest], coefficients, offsets, point, &[rho, masked]].concat();
        Ok(Self {
            values,
            shape: shape.clone(),
        })
    }

    /// All values, in order.
    pub fn values(&self) -> &[F] {
        &self.values
    }

    /// One value.
    pub fn get(&self, slot: Public) -> F {
        self.values[self.shape.index(slot)]
    }

    /// Whether the instance belongs to `shape`.
    ///
    /// # Errors
    /// [`HiddenError::Shape`] if it does not.
    pub fn check(&self, shape: &HiddenShape) -> Result<(), HiddenError> {
        if self.shape == *shape {
            Ok(())
        } else {
            Err(HiddenError::Shape("the instance belongs to another shape"))
        }
    }
}

/// What only the prover knows. No `Debug`: it must not reach a log.
#[derive(Clone)]
pub struct HiddenWitness {
    /// s.
    pub salt: F,
    /// m.
    pub mask: F,
    /// S₀.
    pub sum: F,
    /// R messages of D coefficients each: g₀, q₀, …, q_(D−2).
    pub messages: Vec<Vec<F>>,
    /// v_0 … v_{K−1}.
    pub claims: Vec<F>,
}

impl HiddenWitness {
    /// One value.
    pub fn get(&self, slot: Secret) -> F {
        match slot {
            Secret::Salt => self.salt,
            Secret::Mask => self.mask,
            Secret::Sum => self.sum,
            Secret::Message { round, place } => self.messages[round][place],
            Secret::Claim(j) => self.claims[j],
        }
    }

    /// Whether the lengths are the shape's.
    ///
    /// # Errors
    /// [`HiddenError::Length`] if they are not.
    pub fn check(&self, shape: &HiddenShape) -> Result<(), HiddenError> {
        check_length("messages", shape.rounds, self.messages.len())?;
        for message in &self.messages {
            check_length("message", shape.degree, message.len())?;
        }
        check_length("claims", shape.claims(), self.claims.len())
    }
}

/// Labels of the absorptions and challenges.
mod label {
    pub const SHAPE: &str = "shape";
    pub const DIGEST: &str = "digest of the public transcript";
    pub const SALT: &str = "salt";
    pub const MASK: &str = "mask";
    pub const SUM: &str = "sum";
    pub const MESSAGE: &str = "round message";
    pub const ROUND: &str = "round challenge";
    pub const CLAIM: &str = "claim";
    pub const RHO: &str = "claims' challenge";
}

/// The conversation, over any channel.
///
/// # Errors
/// Whatever the channel refuses; natively, [`HiddenError::Refused`] with one of [`why`].
pub fn converse<C: Channel>(shape: &HiddenShape, channel: &mut C) -> Result<(), C::Error> {
    let digest = channel.constant(shape.digest())?;
    channel.absorb(label::SHAPE, &digest)?;
    let digest = channel.public(Public::Digest)?;
    channel.absorb(label::DIGEST, &digest)?;
    let salt = channel.secret(Secret::Salt)?;
    channel.absorb(label::SALT, &salt)?;
    let mask = channel.secret(Secret::Mask)?;
    channel.absorb(label::MASK, &mask)?;
    let sum = channel.secret(Secret::Sum)?;
    channel.absorb(label::SUM, &sum)?;

    let last = (0..shape.rounds).try_fold(sum.clone(), |s, i| one_round(shape, channel, i, &s))?;

    let claims = (0..shape.claims())
        .map(|j| {
            let claim = channel.secret(Secret::Claim(j))?;
            channel.absorb(label::CLAIM, &claim)?;
            Ok(claim)
        })
        .collect::<Result<Vec<_>, C::Error>>()?;
    let rho = channel.squeeze(label::RHO)?;
    let public = channel.public(Public::Rho)?;
    channel.assert_equal(&rho, &public, why::CLAIMS_CHALLENGE)?;

    let combination = combine_products(shape, channel, &claims)?;
    channel.assert_equal(&last, &combination, why::FINAL_SUM)?;

    // E = m + ρ·(S₀ + ρ·(v₀ + ρ·(v₁ + …)))
    let terms: Vec<_> = [&mask, &sum].into_iter().chain(&claims).collect();
    let combined = horner(channel, &terms, &rho)?;
    let masked = channel.public(Public::Masked)?;
    channel.assert_equal(&combined, &masked, why::MASKED)
}

/// Round `i`: from the sum before it, Sᵢ, to g(r_i).
fn one_round<C: Channel>(
    shape: &HiddenShape,
    channel: &mut C,
    round: usize,
    sum: &C::Value,
) -> Result<C::Value, C::Error> {
    let sent = (0..shape.degree)
        .map(|place| {
            let coefficient = channel.secret(Secret::Message { round, place })?;
            channel.absorb(label::MESSAGE, &coefficient)?;
            Ok(coefficient)
        })
        .collect::<Result<Vec<_>, C::Error>>()?;
    let r = channel.squeeze(label::ROUND)?;
    let public = channel.public(Public::Point(round))?;
    channel.assert_equal(&r, &public, why::ROUND_CHALLENGE)?;

    // g(r) = g₀ + r·(S − 2g₀ + (r − 1)·q(r))
    let (first, q) = (&sent[0], sent[1..].iter().collect::<Vec<_>>());
    let q = horner(channel, &q, &r)?;
    let [minus_two, minus_one] = [2, 1].map(|c| -F::from(c));
    let minus_two = channel.constant(minus_two)?;
    let rise = channel.mul_add(first, &minus_two, sum)?;
    let minus_one = channel.constant(minus_one)?;
    let less_one = channel.add(&r, &minus_one)?;
    let slope = channel.mul_add(&less_one, &q, &rise)?;
    channel.mul_add(&r, &slope, first)
}

/// Σ_p c_p · Π_{j∈p} (v_j + a_j).
fn combine_products<C: Channel>(
    shape: &HiddenShape,
    channel: &mut C,
    claims: &[C::Value],
) -> Result<C::Value, C::Error> {
    let mut factors = claims.to_vec();
    for (j, _) in shape.offsets.iter().enumerate().filter(|(_, o)| **o) {
        let offset = channel.public(Public::Offset(j))?;
        factors[j] = channel.add(&claims[j], &offset)?;
    }
    let mut total = channel.constant(F::ZERO)?;
    for (p, product) in shape.products.iter().enumerate() {
        let (last, others) = product.split_last().expect("a product has a factor");
        let coefficient = channel.public(Public::Coefficient(p))?;
        let partial = others
            .iter()
            .try_fold(coefficient, |acc, j| channel.mul(&acc, &factors[*j]))?;
        total = channel.mul_add(&partial, &factors[*last], &total)?;
    }
    Ok(total)
}

/// Σ_k coefficients_k · x^k.
fn horner<C: Channel>(
    channel: &mut C,
    coefficients: &[&C::Value],
    x: &C::Value,
) -> Result<C::Value, C::Error> {
    let (leading, others) = coefficients
        .split_last()
        .expect("a polynomial has a coefficient");
    others
        .iter()
        .rev()
        .try_fold((*leading).clone(), |acc, c| channel.mul_add(&acc, x, c))
}

/// The prover's side, which needs T1's challenges one by one.
///
/// It holds no second definition of the protocol that could drift: [`HiddenProver::finish`] walks
/// [`converse`] over what was said and refuses to hand out anything that is not accepted.
pub struct HiddenProver {
    shape: HiddenShape,
    transcript: HiddenTranscript,
    digest: F,
    witness: HiddenWitness,
    point: Vec<F>,
    answer: Option<(F, F)>,
}

impl HiddenProver {
    /// Opens the conversation: `digest` is t₀, `salt` and `mask` are fresh randomness, used nowhere
    /// else except that the mask has been committed to, and `sum` is S₀.
    pub fn new(shape: &HiddenShape, digest: F, salt: F, mask: F, sum: F) -> Self {
        let mut transcript = HiddenTranscript::default();
        for x in [shape.digest(), digest, salt, mask, sum] {
            transcript.absorb(x);
        }
        let witness = HiddenWitness {
            salt,
            mask,
            sum,
            messages: Vec::with_capacity(shape.rounds),
            claims: Vec::new(),
        };
        Self {
            shape: shape.clone(),
            transcript,
            digest,
            witness,
            point: Vec::with_capacity(shape.rounds),
            answer: None,
        }
    }

    /// Says the next round's message g₀, q₀, …, q_(D−2) and returns the challenge r_i.
    ///
    /// # Panics
    /// If it does not have D coefficients, or all rounds are over.
    pub fn round(&mut self, coefficients: &[F]) -> F {
        assert_eq!(
            coefficients.len(),
            self.shape.degree,
            "D coefficients a round"
        );
        assert!(self.point.len() < self.shape.rounds, "R rounds, not more");
        coefficients.iter().for_each(|g| self.transcript.absorb(*g));
        let r = self.transcript.squeeze();
        self.witness.messages.push(coefficients.to_vec());
        self.point.push(r);
        r
    }

    /// Says the claims and returns (ρ, E).
    ///
    /// # Panics
    /// If there are not K claims, or the rounds are not over, or it is called twice.
    pub fn claims(&mut self, claims: &[F]) -> (F, F) {
        assert_eq!(claims.len(), self.shape.claims(), "K claims");
        assert_eq!(
            self.point.len(),
            self.shape.rounds,
            "claims follow the rounds"
        );
        assert!(self.answer.is_none(), "claims are said once");
        claims.iter().for_each(|v| self.transcript.absorb(*v));
        let rho = self.transcript.squeeze();
        self.witness.claims = claims.to_vec();
        let terms = [self.witness.mask, self.witness.sum];
        let masked = terms
            .iter()
            .chain(claims)
            .rev()
            .fold(F::ZERO, |acc, x| acc * rho + x);
        self.answer = Some((rho, masked));
        (rho, masked)
    }

    /// Closes the conversation: the public part for the products' `coefficients` and the claims'
    /// `offsets`, and the witness of the seal.
    ///
    /// # Errors
    /// What [`converse`] refuses, natively; above all [`why::FINAL_SUM`], which means that the sumcheck
    /// was run on a false sum.
    ///
    /// # Panics
    /// If the claims have not been said.
    pub fn finish(
        self,
        coefficients: &[F],
        offsets: &[F],
    ) -> Result<(HiddenInstance, HiddenWitness), HiddenError> {
        let (rho, masked) = self.answer.expect("the claims are said before the end");
        let instance = HiddenInstance::new(
            &self.shape,
            self.digest,
            coefficients,
            offsets,
            &self.point,
            rho,
            masked,
        )?;
        check(&self.shape, &instance, &self.witness)?;
        Ok((instance, self.witness))
    }
}

/// Holds the conversation natively.
///
/// # Errors
/// [`HiddenError::Refused`] with the failed check, or a length or shape that does not fit.
pub fn check(
    shape: &HiddenShape,
    instance: &HiddenInstance,
    witness: &HiddenWitness,
) -> Result<(), HiddenError> {
    converse(shape, &mut Native::new(shape, instance, witness)?)
}

#[cfg(test)]
#[path = "hidden_tests.rs"]
pub(crate) mod tests;
