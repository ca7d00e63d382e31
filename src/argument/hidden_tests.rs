use ff::FromUniformBytes;

use super::*;
use crate::argument::channel::{Channel, Counter, Recorder};

/// `n` field elements that depend on `seed` alone.
pub(crate) fn scalars(seed: &str, n: usize) -> Vec<F> {
    (0..n)
        .map(|i| {
            let hash = blake2b_simd::blake2b(format!("{seed}/{i}").as_bytes());
            F::from_uniform_bytes(hash.as_array())
        })
        .collect()
}

/// R = 3, D = 3, K = 4, two offsets, products of one to three factors with a repeated one.
pub(crate) fn small_shape() -> HiddenShape {
    let products = vec![vec![0, 1, 3], vec![2], vec![2, 2]];
    HiddenShape::new(3, 3, vec![false, true, false, true], products).unwrap()
}

/// R = 17, D = 6, K = 35: a transformer block's.
pub(crate) fn block_shape() -> HiddenShape {
    let products = (0..14)
        .map(|p| vec![p, p + 1, p + 20])
        .chain([vec![0, 1, 2, 3, 4, 5]]);
    HiddenShape::new(17, 6, (0..35).map(|j| j < 12).collect(), products.collect()).unwrap()
}

/// A conversation that holds: everything random but c_0, which is solved for.
pub(crate) fn honest(shape: &HiddenShape, seed: &str) -> (HiddenInstance, HiddenWitness) {
    let x = scalars(seed, 4);
    let mut prover = HiddenProver::new(shape, x[0], x[1], x[2], x[3]);
    let mut sum = x[3];
    for i in 0..shape.rounds() {
        let g = scalars(&format!("{seed}/round {i}"), shape.degree());
        let r = prover.round(&g);
        sum = round_value(sum, &g, r);
    }
    let claims = scalars(&format!("{seed}/claims"), shape.claims());
    prover.claims(&claims);
    let offsets = scalars(&format!("{seed}/offsets"), shape.flagged());
    let mut coefficients = scalars(&format!("{seed}/coefficients"), shape.products().len());
    let products = evaluate_products(shape, &claims, &offsets);
    let others: F = coefficients
        .iter()
        .zip(&products)
        .skip(1)
        .map(|(c, p)| *c * p)
        .sum();
    coefficients[0] = (sum - others) * products[0].invert().unwrap();
    prover
        .finish(&coefficients, &offsets)
        .expect("it holds by construction")
}

/// g(r) of a message, by the coefficients of g = g₀ + X·(S − 2g₀ + (X − 1)·q).
fn round_value(sum: F, message: &[F], r: F) -> F {
    let mut g = vec![F::ZERO; message.len() + 1];
    g[0] = message[0];
    g[1] = sum - message[0].double();
    for (k, q) in message[1..].iter().enumerate() {
        g[k + 2] += q;
        g[k + 1] -= q;
    }
    let value = |x: F| (0..).zip(&g).map(|(k, g)| *g * x.pow([k])).sum::<F>();
    assert_eq!(value(F::ZERO) + value(F::ONE), sum);
    value(r)
}

fn evaluate_products(shape: &HiddenShape, claims: &[F], offsets: &[F]) -> Vec<F> {
    let mut offsets = offsets.iter();
    let factors: Vec<F> = claims
        .iter()
        .zip(shape.offsets())
        .map(|(v, has)| {
            if *has {
                *v + offsets.next().unwrap()
            } else {
                *v
            }
        })
        .collect();
    let product = |p: &Vec<usize>| p.iter().map(|j| factors[*j]).product();
    shape.products().iter().map(product).collect()
}

/// The instance with the value at `slot` moved by one.
pub(crate) fn moved(
    shape: &HiddenShape,
    instance: &HiddenInstance,
    slot: Public,
) -> HiddenInstance {
    let mut other = instance.clone();
    other.values[shape.index(slot)] += F::ONE;
    other
}

/// Instance values exchanged.
pub(crate) fn swapped(instance: &HiddenInstance, a: usize, b: usize) -> HiddenInstance {
    let mut other = instance.clone();
    other.values.swap(a, b);
    other
}

/// The instance with `values` in its place.
pub(crate) fn with_values(instance: &HiddenInstance, values: Vec<F>) -> HiddenInstance {
    assert_eq!(values.len(), instance.values.len());
    HiddenInstance {
        values,
        shape: instance.shape.clone(),
    }
}

/// One way of cheating: the public and the secret part, and the check that must notice.
pub(crate) struct Cheat {
    pub name: &'static str,
    pub instance: HiddenInstance,
    pub witness: HiddenWitness,
    pub caught_by: &'static str,
}

/// Public parts recomputed by the cheater, who follows the transcript honestly from a changed witness
/// but cannot make the last check true.
fn reconverse(shape: &HiddenShape, old: &HiddenInstance, w: &HiddenWitness) -> HiddenInstance {
    let mut prover = HiddenProver::new(shape, old.get(Public::Digest), w.salt, w.mask, w.sum);
    let point: Vec<F> = w.messages.iter().map(|g| prover.round(g)).collect();
    let (rho, masked) = prover.claims(&w.claims);
    let mut values = old.values.clone();
    let at = shape.index(Public::Point(0));
    values[at..at + point.len()].copy_from_slice(&point);
    values[shape.index(Public::Rho)] = rho;
    values[shape.index(Public::Masked)] = masked;
    with_values(old, values)
}

/// Every cheat of the table: each breaks exactly the check it names (with those that come later in
/// the conversation recomputed where the cheater can).
pub(crate) fn cheats(shape: &HiddenShape) -> Vec<Cheat> {
    let (instance, witness) = honest(shape, "cheats");
    let mut table = Vec::new();
    let mut add = |name, instance: HiddenInstance, witness: HiddenWitness, caught_by| {
        table.push(Cheat {
            name,
            instance,
            witness,
            caught_by,
        });
    };
    let with = |change: &dyn Fn(&mut HiddenWitness)| {
        let mut other = witness.clone();
        change(&mut other);
        other
    };
    let public = |slot| moved(shape, &instance, slot);

    add(
        "wrong digest",
        public(Public::Digest),
        witness.clone(),
        why::ROUND_CHALLENGE,
    );
    add(
        "wrong first challenge",
        public(Public::Point(0)),
        witness.clone(),
        why::ROUND_CHALLENGE,
    );
    let last = Public::Point(shape.rounds() - 1);
    add(
        "wrong last challenge",
        public(last),
        witness.clone(),
        why::ROUND_CHALLENGE,
    );
    add(
        "wrong ρ",
        public(Public::Rho),
        witness.clone(),
        why::CLAIMS_CHALLENGE,
    );
    add(
        "wrong E",
        public(Public::Masked),
        witness.clone(),
        why::MASKED,
    );
    add(
        "wrong coefficient",
        public(Public::Coefficient(1)),
        witness.clone(),
        why::FINAL_SUM,
    );
    let flagged = shape
        .offsets()
        .iter()
        .position(|o| *o)
        .expect("a claim has an offset");
    add(
        "wrong offset",
        public(Public::Offset(flagged)),
        witness.clone(),
        why::FINAL_SUM,
    );
    let at = shape.index(Public::Point(0));
    add(
        "exchanged challenges",
        swapped(&instance, at, at + 1),
        witness.clone(),
        why::ROUND_CHALLENGE,
    );
    add(
        "exchanged coefficients",
        swapped(&instance, 1, 2),
        witness.clone(),
        why::FINAL_SUM,
    );
    let (rho, e) = (shape.index(Public::Rho), shape.index(Public::Masked));
    add(
        "exchanged ρ and E",
        swapped(&instance, rho, e),
        witness.clone(),
        why::CLAIMS_CHALLENGE,
    );

    type Change = fn(&mut HiddenWitness);
    let one_secret: [(&str, Change); 6] = [
        ("another salt", |w| w.salt += F::ONE),
        ("another mask", |w| w.mask += F::ONE),
        ("another sum", |w| w.sum += F::ONE),
        ("another constant coefficient", |w| {
            w.messages[1][0] += F::ONE
        }),
        ("another leading coefficient", |w| {
            *w.messages[0].last_mut().unwrap() += F::ONE
        }),
        ("exchanged coefficients of a message", |w| {
            w.messages[1].swap(0, 1)
        }),
    ];
    for (name, change) in one_secret {
        add(name, instance.clone(), with(&change), why::ROUND_CHALLENGE);
    }
    let claim = with(&|w| w.claims[2] += F::ONE);
    add(
        "another claim",
        instance.clone(),
        claim.clone(),
        why::CLAIMS_CHALLENGE,
    );
    let recomputed = reconverse(shape, &instance, &claim);
    add(
        "another claim, the rest recomputed",
        recomputed.clone(),
        claim,
        why::FINAL_SUM,
    );
    let sum = with(&|w| w.sum += F::ONE);
    add(
        "another sum, the rest recomputed",
        reconverse(shape, &instance, &sum),
        sum,
        why::FINAL_SUM,
    );
    let stale = recomputed.get(Public::Masked);
    let mut values = instance.values.clone();
    values[e] = stale;
    add(
        "E of other claims",
        with_values(&instance, values),
        witness.clone(),
        why::MASKED,
    );
    table
}

/// Protects completeness, and the prover's sequence: `finish` walks the generic conversation.
#[test]
fn honest_conversations_hold() {
    for (shape, seed) in [(small_shape(), "small"), (block_shape(), "block")] {
        let (instance, witness) = honest(&shape, seed);
        check(&shape, &instance, &witness).unwrap();
    }
    for degree in 2..=5 {
        let shape = HiddenShape::new(2, degree, vec![true], vec![vec![0]]).unwrap();
        let (instance, witness) = honest(&shape, "degree");
        check(&shape, &instance, &witness).unwrap();
    }
}

/// Protects E's definition against its Horner form.
#[test]
fn masked_combination_is_the_documented_sum() {
    let shape = small_shape();
    let (instance, w) = honest(&shape, "masked");
    let rho = instance.get(Public::Rho);
    let claims: F = (2..).zip(&w.claims).map(|(k, v)| *v * rho.pow([k])).sum();
    assert_eq!(instance.get(Public::Masked), w.mask + rho * w.sum + claims);
}

/// Protects every check: each cheat is refused, by the check that is meant to notice it.
#[test]
fn every_cheat_is_refused_by_its_check() {
    for shape in [small_shape(), block_shape()] {
        for cheat in cheats(&shape) {
            let verdict = check(&shape, &cheat.instance, &cheat.witness);
            assert_eq!(
                verdict,
                Err(HiddenError::Refused(cheat.caught_by)),
                "{}",
                cheat.name
            );
        }
    }
}

/// A prover whose sums do not add up must not get a seal's witness.
#[test]
fn prover_refuses_to_finish_a_false_sumcheck() {
    let shape = small_shape();
    let mut prover = HiddenProver::new(&shape, F::ONE, F::ONE, F::ONE, F::ONE);
    for i in 0..3 {
        prover.round(&scalars(&format!("false/{i}"), 3));
    }
    prover.claims(&scalars("false claims", 4));
    let verdict = prover.finish(&scalars("c", 3), &scalars("a", 2)).err();
    assert_eq!(verdict, Some(HiddenError::Refused(why::FINAL_SUM)));
}

/// Protects T1's shape binding: shapes that flatten to similar lists have different digests.
#[test]
fn shapes_have_different_digests() {
    let shape = |r, d, o: &[bool], p: &[&[usize]]| {
        let products = p.iter().map(|p| p.to_vec()).collect();
        HiddenShape::new(r, d, o.to_vec(), products).unwrap()
    };
    let shapes = [
        shape(3, 2, &[false, false], &[&[0], &[1]]),
        shape(2, 3, &[false, false], &[&[0], &[1]]),
        shape(3, 2, &[false, true], &[&[0], &[1]]),
        shape(3, 2, &[false, false], &[&[0, 1]]),
        shape(3, 2, &[false, false], &[&[1], &[0]]),
        shape(3, 2, &[false, false, false], &[&[0], &[1]]),
        shape(3, 2, &[false, false], &[&[0], &[0, 1]]),
        shape(3, 2, &[false, false], &[&[0, 0], &[1]]),
    ];
    for (i, a) in shapes.iter().enumerate() {
        for b in &shapes[..i] {
            assert_ne!(a.digest(), b.digest());
        }
    }
}

#[test]
fn impossible_shapes_and_lengths_are_refused() {
    let bad = [
        HiddenShape::new(0, 2, vec![false], vec![vec![0]]),
        HiddenShape::new(1, 1, vec![false], vec![vec![0]]),
        HiddenShape::new(1, 2, vec![], vec![vec![0]]),
        HiddenShape::new(1, 2, vec![false], vec![]),
        HiddenShape::new(1, 2, vec![false], vec![vec![]]),
        HiddenShape::new(1, 2, vec![false], vec![vec![1]]),
        HiddenShape::new(1, 2, vec![false], vec![vec![0; MAX_FACTORS + 1]]),
    ];
    assert!(bad.iter().all(|s| matches!(s, Err(HiddenError::Shape(_)))));
    assert!(HiddenShape::new(1, 2, vec![false], vec![vec![0; MAX_FACTORS]]).is_ok());

    let shape = small_shape();
    let x = F::ONE;
    let lengths = |c, a, r| {
        HiddenInstance::new(&shape, x, &vec![x; c], &vec![x; a], &vec![x; r], x, x).is_ok()
    };
    assert!(lengths(3, 2, 3));
    assert!(!lengths(2, 2, 3) && !lengths(3, 4, 3) && !lengths(3, 2, 4));
    let (instance, witness) = honest(&shape, "lengths");
    assert!(check(&block_shape(), &instance, &witness).is_err());
    type Spoil = fn(&mut HiddenWitness);
    let spoils: [(&str, Spoil); 3] = [
        ("messages", |w| w.messages.truncate(2)),
        ("message", |w| w.messages[1].truncate(1)),
        ("claims", |w| w.claims.truncate(1)),
    ];
    for (expected, spoil) in spoils {
        let mut witness = witness.clone();
        spoil(&mut witness);
        let refused = check(&shape, &instance, &witness);
        assert!(matches!(refused, Err(HiddenError::Length { what, .. }) if what == expected));
    }
}

/// The prover's own conversation is held over inputs of the shape's lengths, or not at all.
#[test]
fn conversations_have_the_lengths_of_their_shape() {
    let shape = small_shape();
    let (instance, witness) = honest(&shape, "lengths");
    let mut other = instance.clone();
    other.shape.degree += 1;
    assert!(Native::new(&shape, &other, &witness).is_err());
    let mut longer = witness.clone();
    longer.claims.push(F::ONE);
    assert!(Native::new(&shape, &instance, &longer).is_err());
    assert!(Native::new(&shape, &instance, &witness).is_ok());
}

/// Protects "written once": what is counted is what is checked. The circuit's walk is compared with
/// this one in `crate::seal`.
#[test]
fn native_and_counter_walk_the_same_steps() {
    let shape = small_shape();
    let (instance, witness) = honest(&shape, "steps");
    let mut native = Recorder::new(Native::new(&shape, &instance, &witness).unwrap());
    converse(&shape, &mut native).unwrap();
    let mut counter = Recorder::new(Counter::default());
    let Ok(()) = converse(&shape, &mut counter);
    assert_eq!(native.steps, counter.steps);
    let absorbed = native.steps.iter().filter(|s| s.0 == "absorb").count();
    assert_eq!(
        absorbed,
        5 + 3 * 3 + 4,
        "every secret, the shape and t₀ are absorbed, once"
    );
    let squeezed = native.steps.iter().filter(|s| s.0 == "squeeze").count();
    assert_eq!(squeezed, 3 + 1);
}

/// Pins the cost of a block's conversation, which decides the seal's k.
#[test]
fn block_conversation_takes_48_permutations() {
    let mut counter = Counter::default();
    let Ok(()) = converse(&block_shape(), &mut counter);
    assert_eq!(counter.cost.permutations, 48);
}

/// The native channel, over which T1 hears one value that was not said.
struct Misheard<'a> {
    native: Native<'a>,
    heard: usize,
    wrong: usize,
}

impl Channel for Misheard<'_> {
    type Value = F;
    type Error = HiddenError;

    fn constant(&mut self, c: F) -> Result<F, HiddenError> {
        self.native.constant(c)
    }

    fn secret(&mut self, slot: Secret) -> Result<F, HiddenError> {
        self.native.secret(slot)
    }

    fn public(&mut self, slot: Public) -> Result<F, HiddenError> {
        self.native.public(slot)
    }

    fn mul_add(&mut self, a: &F, b: &F, c: &F) -> Result<F, HiddenError> {
        self.native.mul_add(a, b, c)
    }

    fn absorb(&mut self, label: &'static str, x: &F) -> Result<(), HiddenError> {
        let wrong = F::from(u64::from(self.heard == self.wrong));
        self.heard += 1;
        self.native.absorb(label, &(*x + wrong))
    }

    fn squeeze(&mut self, label: &'static str) -> Result<F, HiddenError> {
        self.native.squeeze(label)
    }

    fn assert_equal(&mut self, a: &F, b: &F, why: &'static str) -> Result<(), HiddenError> {
        self.native.assert_equal(a, b, why)
    }
}

/// Every element that T1 absorbs, altered on the verifier's side alone, changes a challenge. A new one
/// is covered without being named.
#[test]
fn every_absorbed_element_decides() {
    let (mut tried, mut rejected) = (0, 0);
    for shape in [small_shape(), block_shape()] {
        let (instance, witness) = honest(&shape, "misheard");
        let absorbed = 5 + shape.rounds() * shape.degree() + shape.claims();
        for wrong in 0..=absorbed {
            let mut channel = Misheard {
                native: Native::new(&shape, &instance, &witness).unwrap(),
                heard: 0,
                wrong,
            };
            let verdict = converse(&shape, &mut channel);
            if wrong == absorbed {
                assert_eq!(verdict, Ok(()), "nothing was altered");
                assert_eq!(channel.heard, absorbed, "and there was nothing else");
                continue;
            }
            let challenge = if wrong < absorbed - shape.claims() {
                why::ROUND_CHALLENGE
            } else {
                why::CLAIMS_CHALLENGE
            };
            tried += 1;
            rejected += usize::from(verdict == Err(HiddenError::Refused(challenge)));
        }
    }
    println!("hidden transcript: {tried} absorbed elements altered, {rejected} rejected");
    assert_eq!(tried, rejected);
}

/// The order in which T1 absorbs and answers, as `docs/container.md` has it.
#[test]
fn challenges_are_drawn_after_what_they_must_depend_on() {
    let shape = small_shape();
    let mut recorder = Recorder::new(Counter::default());
    let Ok(()) = converse(&shape, &mut recorder);
    let talk = recorder.steps.iter();
    let talk = talk.filter(|(verb, _)| ["absorb", "squeeze"].contains(verb));
    let found: Vec<(&str, &str)> = talk.map(|(v, label)| (*v, label.as_str())).collect();

    let header = [
        "shape",
        "digest of the public transcript",
        "salt",
        "mask",
        "sum",
    ];
    let mut expected: Vec<(&str, &str)> = header.map(|label| ("absorb", label)).into();
    for _ in 0..shape.rounds() {
        expected.extend(vec![("absorb", "round message"); shape.degree()]);
        expected.push(("squeeze", "round challenge"));
    }
    expected.extend(vec![("absorb", "claim"); shape.claims()]);
    expected.push(("squeeze", "claims' challenge"));
    assert_eq!(found, expected);
}

/// Whoever knows the whole witness can compute the mask from E, but cannot confirm the witness by
/// replaying T1: the salt is missing, and it is all that is missing.
#[test]
fn a_known_witness_cannot_be_confirmed_without_the_salt() {
    let shape = block_shape();
    let (instance, w) = honest(&shape, "known");
    let rho = instance.get(Public::Rho);
    let said = [w.sum].into_iter().chain(w.claims.iter().copied());
    let said: F = (1..).zip(said).map(|(k, v)| v * rho.pow([k])).sum();
    let mask = instance.get(Public::Masked) - said;
    assert_eq!(mask, w.mask, "the mask follows from E");
    let confirms = |salt: F| {
        let mut replay = HiddenProver::new(&shape, instance.get(Public::Digest), salt, mask, w.sum);
        let mut points = w.messages.iter().map(|message| replay.round(message));
        points.any(|r| (0..shape.rounds()).any(|i| r == instance.get(Public::Point(i))))
    };
    assert!(confirms(w.salt), "with the salt, a guess can be confirmed");
    for guess in [F::ZERO, F::ONE, mask, w.sum, rho] {
        assert!(!confirms(guess));
    }
}
