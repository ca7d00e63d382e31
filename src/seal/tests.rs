use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use ff::PrimeField;
use halo2_proofs::circuit::{Layouter, SimpleFloorPlanner};
use halo2_proofs::dev::MockProver;
use halo2_proofs::plonk::{Circuit, ConstraintSystem, Error};
use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

use super::cells::{CellChannel, SealConfig};
use super::circuit::{cost, rows, smallest_k};
use super::faults::{Faults, Target};
use super::poseidon::ROWS;
use super::*;
use crate::argument::channel::{Channel, Native, Public, Recorder, Secret, Step};
use crate::argument::hidden::tests::{
    Cheat, block_shape, cheats, honest, moved, small_shape, with_values,
};
use crate::argument::hidden::{HiddenShape, converse, why};
use crate::transcript::hidden::WIDTH;

/// Reproducible randomness: Blake2b in counter mode.
struct TestRng(u64);

impl TryRng for TestRng {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        self.try_next_u64().map(|x| x as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        self.0 += 1;
        let hash = blake2b_simd::blake2b(&self.0.to_le_bytes());
        let word = hash.as_bytes()[..8].try_into().expect("8 bytes");
        Ok(u64::from_le_bytes(word))
    }

    fn try_fill_bytes(&mut self, dst: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in dst.chunks_mut(8) {
            let word = self.try_next_u64()?.to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}

/// R = 1, D = 2, K = 2: small enough to try every constraint.
fn tiny_shape() -> HiddenShape {
    HiddenShape::new(1, 2, vec![false, true], vec![vec![0, 1], vec![1]]).unwrap()
}

fn keys(shape: &HiddenShape) -> Arc<SealKeys> {
    SealKeys::for_shape(shape, None).unwrap()
}

/// Whether the mock prover accepts `circuit` with `instance`.
fn mock_accepts(circuit: &SealCircuit<'_>, instance: &HiddenInstance) -> bool {
    let k = smallest_k(circuit.shape);
    MockProver::run(k, circuit, vec![instance_column(circuit.shape, instance)])
        .expect("the rows suffice")
        .verify()
        .is_ok()
}

/// Proves without the native check and verifies.
fn really_accepts(shape: &HiddenShape, layers: &[(&HiddenInstance, &HiddenWitness)]) -> bool {
    let circuits: Vec<_> = layers
        .iter()
        .map(|(_, w)| SealCircuit::new(shape, Some(w)))
        .collect();
    let instances: Vec<_> = layers.iter().map(|(i, _)| (*i).clone()).collect();
    verifier_accepts(&circuits, &instances)
}

/// Proves with what these circuits assign and verifies with the keys of their shape.
fn verifier_accepts(circuits: &[SealCircuit<'_>], instances: &[HiddenInstance]) -> bool {
    let keys = keys(circuits[0].shape);
    let references: Vec<_> = instances.iter().collect();
    let proof = prove_circuits(&keys, circuits, &references, &mut TestRng(1)).unwrap();
    verify(&keys, instances, &proof).is_ok()
}

/// A small seal: keys, the layers' instances, the proof.
fn sealed(layers: usize, seed: u64) -> (Arc<SealKeys>, Vec<HiddenInstance>, Vec<u8>) {
    let keys = keys(&small_shape());
    let layers: Vec<_> = (0..layers)
        .map(|i| honest(keys.shape(), &format!("layer {i}")))
        .collect();
    let proof = prove(&keys, &layers, &mut TestRng(seed)).unwrap();
    (keys, layers.into_iter().map(|l| l.0).collect(), proof)
}

/// Completeness, for the mock prover and for real; and rows and sizes are pinned: 512 bytes for every
/// further layer.
#[test]
fn honest_seals_are_accepted() {
    let shapes = [
        (small_shape(), 205, 8, 1856),
        (block_shape(), 1433, 11, 2048),
    ];
    for (shape, filled, k, bytes) in shapes {
        let (instance, witness) = honest(&shape, "honest");
        let circuit = SealCircuit::new(&shape, Some(&witness));
        assert!(mock_accepts(&circuit, &instance));
        let keys = keys(&shape);
        let layer = (instance.clone(), witness);
        let proof = prove(&keys, std::slice::from_ref(&layer), &mut TestRng(1)).unwrap();
        assert_eq!((rows(&shape), keys.k(), proof.len()), (filled, k, bytes));
        verify(&keys, &[instance], &proof).unwrap();
        let proof = prove(&keys, &[layer.clone(), layer], &mut TestRng(1)).unwrap();
        assert_eq!(proof.len(), bytes + 512);
    }
}

/// Soundness of each check: every cheat of the conversation's table is refused by both provers.
#[test]
fn every_cheat_is_refused() {
    let shape = small_shape();
    for Cheat {
        name,
        instance,
        witness,
        ..
    } in cheats(&shape)
    {
        let circuit = SealCircuit::new(&shape, Some(&witness));
        assert!(!mock_accepts(&circuit, &instance), "mock prover: {name}");
        assert!(
            !really_accepts(&shape, &[(&instance, &witness)]),
            "verifier: {name}"
        );
        let keys = keys(&shape);
        let refused = prove(&keys, &[(instance, witness)], &mut TestRng(1));
        assert!(
            matches!(refused, Err(SealError::Conversation(_))),
            "prove: {name}"
        );
    }
}

/// The native channel, going on after a failed check.
struct Lenient<'a> {
    native: Native<'a>,
    failed: BTreeSet<&'static str>,
}

impl Channel for Lenient<'_> {
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
        self.native.absorb(label, x)
    }

    fn squeeze(&mut self, label: &'static str) -> Result<F, HiddenError> {
        self.native.squeeze(label)
    }

    fn assert_equal(&mut self, a: &F, b: &F, why: &'static str) -> Result<(), HiddenError> {
        if a != b {
            self.failed.insert(why);
        }
        Ok(())
    }
}

/// Each named check is needed: a circuit without it accepts exactly the cheats that break nothing
/// else, and for each check there is such a cheat.
#[test]
fn every_check_is_needed() {
    let shape = small_shape();
    let mut alone = BTreeSet::new();
    for Cheat {
        name,
        instance,
        witness,
        ..
    } in cheats(&shape)
    {
        let native = Native::new(&shape, &instance, &witness).unwrap();
        let failed = BTreeSet::new();
        let mut lenient = Lenient { native, failed };
        converse(&shape, &mut lenient).unwrap();
        for left_out in why::ALL {
            let mut circuit = SealCircuit::new(&shape, Some(&witness));
            circuit.faults.target = Some(Target::Assertion(left_out));
            let expected = lenient.failed.iter().all(|why| *why == left_out);
            assert_eq!(
                mock_accepts(&circuit, &instance),
                expected,
                "{name}; without: {left_out}"
            );
        }
        if lenient.failed.len() == 1 {
            alone.extend(lenient.failed);
        }
    }
    assert_eq!(alone, BTreeSet::from(why::ALL));
}

/// What a cheater makes of `circuit`'s fault: the public values for which all assertions hold. Challenges
/// and E are moved to what the circuit computes, c₀ to what the last sum asks for.
fn adapted(circuit: &SealCircuit<'_>, honest: &HiddenInstance) -> HiddenInstance {
    let shape = circuit.shape;
    let probes = |instance: &HiddenInstance| {
        circuit.faults.probes.lock().unwrap().clear();
        mock_accepts(circuit, instance);
        circuit.faults.probes.lock().unwrap().clone()
    };
    let first = probes(honest);
    let coefficient = Public::Coefficient(0);
    let second = probes(&moved(shape, honest, coefficient));
    let mut values = honest.values().to_vec();
    let mut round = 0;
    for (probe, other) in first.iter().zip(&second) {
        let difference = probe.left - probe.right;
        let slot = match probe.why {
            why::ROUND_CHALLENGE => {
                round += 1;
                Public::Point(round - 1)
            }
            why::CLAIMS_CHALLENGE => Public::Rho,
            why::FINAL_SUM => coefficient,
            _ => Public::Masked,
        };
        // Which side the public value is on, and with which factor.
        values[shape.index(slot)] += match probe.why {
            why::FINAL_SUM => difference * (other.right - probe.right).invert().unwrap(),
            _ => difference,
        };
    }
    with_values(honest, values)
}

/// Every copy, constant, public input, multiply-add gate and equation of a permutation's gates is
/// needed: without it a wrong value in that place is accepted (with public values to match), with it
/// both provers refuse. That holds for every cell of a permutation's rows, too.
#[test]
fn every_constraint_is_needed() {
    let shape = tiny_shape();
    let (instance, witness) = honest(&shape, "constraints");
    let circuit = SealCircuit::new(&shape, Some(&witness));
    assert!(mock_accepts(&circuit, &instance));
    assert!(really_accepts(&shape, &[(&instance, &witness)]));
    let met = *circuit.faults.last.lock().unwrap();
    let cost = cost(&shape);
    let computed = (ROWS - 1) * WIDTH;
    assert_eq!(met.gates, cost.operations);
    assert_eq!(met.words, computed * cost.permutations);
    // Operands, the permutations' first rows, constants and public values.
    let public = cost.constants.len() + shape.instance_len();
    assert_eq!(met.ties, 3 * met.gates + WIDTH * cost.permutations + public);

    let ties = (0..met.ties).map(Target::Tie);
    let gates = (0..met.gates).map(Target::Gate);
    let words = (0..met.words).flat_map(|n| [Target::Word(n), Target::Equation(n)]);
    for target in ties.chain(gates).chain(words) {
        let mut circuit = SealCircuit::new(&shape, Some(&witness));
        circuit.faults.target = Some(target);
        let cheat = adapted(&circuit, &instance);
        assert!(mock_accepts(&circuit, &cheat), "{target:?} left out");
        circuit.faults.constrained = true;
        assert!(!mock_accepts(&circuit, &cheat), "{target:?} in place");
        // All permutations have the same gates: for the verifier, which takes longer, one will do.
        let repeated = matches!(target, Target::Word(n) | Target::Equation(n) if n >= computed);
        if !repeated {
            let verdict = verifier_accepts(&[circuit], &[cheat]);
            assert!(!verdict, "{target:?} in place, for the verifier");
        }
    }
}

/// Bundles: three good layers are accepted; one bad, exchanged or missing layer, or two whose errors
/// cancel, spoil the whole.
#[test]
fn bundles_stand_and_fall_together() {
    let shape = small_shape();
    let layers: Vec<_> = (0..3)
        .map(|i| honest(&shape, &format!("layer {i}")))
        .collect();
    let accepts = |instances: [&HiddenInstance; 3]| {
        let pairs: Vec<_> = instances
            .into_iter()
            .zip(layers.iter().map(|l| &l.1))
            .collect();
        really_accepts(&shape, &pairs)
    };
    let [a, b, c] = [&layers[0].0, &layers[1].0, &layers[2].0];
    assert!(accepts([a, b, c]));
    let masked = shape.index(Public::Masked);
    let up = moved(&shape, b, Public::Masked);
    let mut down = c.values().to_vec();
    down[masked] -= F::ONE;
    let down = with_values(c, down);
    assert!(!accepts([a, &up, c]), "one bad layer");
    assert!(!accepts([a, &up, &down]), "errors that cancel");
    assert!(!accepts([b, a, c]), "exchanged layers");

    let (keys, instances, proof) = sealed(3, 1);
    verify(&keys, &instances, &proof).unwrap();
    assert!(
        verify(&keys, &instances[..2], &proof).is_err(),
        "a layer less"
    );
    let more = [instances.clone(), vec![instances[0].clone()]].concat();
    assert!(verify(&keys, &more, &proof).is_err(), "a layer more");
    let exchanged: Vec<_> = [1, 0, 2].map(|i| instances[i].clone()).into();
    assert!(
        verify(&keys, &exchanged, &proof).is_err(),
        "exchanged instances"
    );
    assert!(matches!(verify(&keys, &[], &proof), Err(SealError::Empty)));
    assert!(matches!(
        prove(&keys, &[], &mut TestRng(1)),
        Err(SealError::Empty)
    ));
}

/// A seal is about exactly its instance: every public value counts.
#[test]
fn every_public_value_is_bound() {
    let (keys, instances, proof) = sealed(1, 2);
    for i in 0..instances[0].values().len() {
        let mut values = instances[0].values().to_vec();
        values[i] += F::ONE;
        let other = with_values(&instances[0], values);
        assert!(verify(&keys, &[other], &proof).is_err(), "public value {i}");
    }
}

/// A seal cannot be read as one of another shape, even with the same public values.
#[test]
fn seals_do_not_change_shape() {
    let (keys, instances, proof) = sealed(1, 3);
    let small = small_shape();
    let mut products = small.products().to_vec();
    products[0] = vec![0, 1, 2];
    let other = HiddenShape::new(3, 3, small.offsets().to_vec(), products).unwrap();
    let other_keys = self::keys(&other);
    let refused = verify(&other_keys, &instances, &proof);
    assert!(matches!(
        refused,
        Err(SealError::Conversation(HiddenError::Shape(_)))
    ));
    let (foreign, _) = honest(&other, "other");
    let relabelled = with_values(&foreign, instances[0].values().to_vec());
    assert!(matches!(
        verify(&other_keys, &[relabelled], &proof),
        Err(SealError::Refused(_))
    ));
    verify(&keys, &instances, &proof).unwrap();
}

/// Hostile bytes: changed, cut, extended or invented ones are refused and nothing panics.
#[test]
fn damaged_seals_are_refused() {
    let (keys, instances, proof) = sealed(1, 4);
    let refused = |bytes: &[u8]| verify(&keys, &instances, bytes).is_err();
    for at in (0..proof.len()).step_by(5) {
        let mut bytes = proof.clone();
        bytes[at] ^= 1 << (at / 5 % 8);
        assert!(refused(&bytes), "byte {at}");
    }
    for at in (0..proof.len()).step_by(97) {
        assert!(refused(&proof[..at]), "cut at {at}");
    }
    for junk in [vec![], vec![0; proof.len()], vec![0xff; proof.len()]] {
        assert!(refused(&junk));
    }
    let mut longer = proof.clone();
    longer.push(0);
    let verdict = verify(&keys, &instances, &longer);
    assert!(matches!(verdict, Err(SealError::TrailingBytes(1))));
    for (a, b) in [(0, 1), (8, 9), (30, 31)] {
        let mut exchanged = proof.clone();
        let (left, right) = exchanged.split_at_mut(32 * b);
        left[32 * a..32 * a + 32].swap_with_slice(&mut right[..32]);
        assert!(refused(&exchanged), "elements {a} and {b} exchanged");
    }
}

/// Batches across shapes and sizes: accepted together, refused if one of them is false.
#[test]
fn batches_are_as_strict_as_single_proofs() {
    let (keys, instances, proof) = sealed(2, 5);
    let tiny = self::keys(&tiny_shape());
    let layer = honest(tiny.shape(), "tiny");
    let tiny_proof = prove(&tiny, std::slice::from_ref(&layer), &mut TestRng(6)).unwrap();
    let (_, _, again) = sealed(2, 7);
    let batch = || {
        let of = |instances: &[HiddenInstance], keys: &Arc<SealKeys>, proof| Sealed {
            keys: Arc::clone(keys),
            instances: instances.to_vec(),
            proof,
        };
        [
            of(&instances, &keys, &proof),
            of(std::slice::from_ref(&layer.0), &tiny, &tiny_proof),
            of(&instances, &keys, &again),
        ]
    };
    verify_batch(&batch(), &mut TestRng(8)).unwrap();
    for bad in 0..3 {
        let mut batch = batch();
        let keys = Arc::clone(&batch[bad].keys);
        let last = batch[bad].instances.last_mut().unwrap();
        *last = moved(keys.shape(), last, Public::Rho);
        let verdict = verify_batch(&batch, &mut TestRng(9));
        assert!(
            matches!(verdict, Err((culprit, SealError::Refused(_))) if culprit == bad),
            "proof {bad}"
        );
    }
    let mut longer = proof.clone();
    longer.push(1);
    let mut batch = batch();
    batch[2].proof = &longer;
    assert!(matches!(
        verify_batch(&batch, &mut TestRng(9)),
        Err((2, SealError::TrailingBytes(1)))
    ));
}

/// A proof's last scalar multiplies a generator that all share: errors of two proofs there would cancel
/// in a sum without random factors.
#[test]
fn errors_of_two_seals_do_not_cancel() {
    let (keys, instances, first) = sealed(1, 5);
    let (_, _, second) = sealed(1, 7);
    let shifted = |proof: &[u8], by: F| {
        let (rest, last) = proof.split_at(proof.len() - 32);
        let last = F::from_repr(last.try_into().unwrap()).unwrap() + by;
        [rest, &last.to_repr()].concat()
    };
    let [first, second] = [shifted(&first, F::ONE), shifted(&second, -F::ONE)];
    let [mut sum, other] = [&first, &second].map(|proof| reduce(&keys, &instances, proof).unwrap());
    assert!(!sum.clone().eval() && !other.clone().eval());
    sum.add_msm(&other);
    assert!(sum.eval(), "the errors are opposite");
    let batch = [&first, &second].map(|proof| Sealed {
        keys: Arc::clone(&keys),
        instances: instances.clone(),
        proof,
    });
    let verdict = verify_batch(&batch, &mut TestRng(9));
    assert!(matches!(verdict, Err((0, SealError::Refused(_)))));
}

/// [`SealCircuit`], recording the conversation.
#[derive(Clone)]
struct Recording<'a> {
    circuit: SealCircuit<'a>,
    steps: Arc<Mutex<Vec<Step>>>,
}

impl Circuit<F> for Recording<'_> {
    type Config = SealConfig;
    type FloorPlanner = SimpleFloorPlanner;

    fn without_witnesses(&self) -> Self {
        self.clone()
    }

    fn configure(meta: &mut ConstraintSystem<F>) -> SealConfig {
        SealConfig::configure(meta)
    }

    fn synthesize(&self, config: SealConfig, mut layouter: impl Layouter<F>) -> Result<(), Error> {
        let SealCircuit { shape, witness, .. } = self.circuit;
        let constants = cost(shape).constants;
        layouter.assign_region(
            || "recorded",
            |region| {
                let (config, faults) = (config.clone(), Faults::default());
                let cells = CellChannel::new(region, config, &constants, shape, witness, faults)?;
                let mut recorder = Recorder::new(cells);
                converse(shape, &mut recorder)?;
                *self.steps.lock().unwrap() = recorder.steps;
                Ok(())
            },
        )
    }
}

/// "Written once": the circuit walks the same (verb, label) sequence as the native verifier.
#[test]
fn circuit_and_native_walk_the_same_steps() {
    let shape = small_shape();
    let (instance, witness) = honest(&shape, "steps");
    let mut native = Recorder::new(Native::new(&shape, &instance, &witness).unwrap());
    converse(&shape, &mut native).unwrap();
    let recording = Recording {
        circuit: SealCircuit::new(&shape, Some(&witness)),
        steps: Arc::default(),
    };
    let instance = vec![instance_column(&shape, &instance)];
    MockProver::run(smallest_k(&shape), &recording, instance).unwrap();
    assert_eq!(*recording.steps.lock().unwrap(), native.steps);
}

/// k is the smallest that fits: for shapes of many permutations, of many operations, and for two that
/// differ by one row, of which only one fits a smaller k. So the count of rows is exact.
#[test]
fn k_is_the_smallest_that_fits() {
    let with_products = |rounds, n| HiddenShape::new(rounds, 2, vec![false], vec![vec![0]; n]);
    let edge = (1..9)
        .flat_map(|rounds| (1..400).map(move |n| [n, n + 1].map(|n| with_products(rounds, n))))
        .find(|pair| {
            let [a, b] = pair.each_ref().map(|s| s.as_ref().unwrap());
            rows(a) + 1 == rows(b) && smallest_k(a) < smallest_k(b)
        });
    let wide = vec![vec![0; 7]; 60];
    let shapes = (1..=9)
        .map(|rounds| HiddenShape::new(rounds, 3, vec![true; 5], vec![vec![0, 4]]))
        .chain([HiddenShape::new(1, 2, vec![true], wide), Ok(block_shape())])
        .chain(edge.expect("a shape on the edge"));
    for shape in shapes.map(Result::unwrap) {
        let (instance, witness) = honest(&shape, "rows");
        let circuit = SealCircuit::new(&shape, Some(&witness));
        let k = smallest_k(&shape);
        let run = |k| MockProver::run(k, &circuit, vec![instance_column(&shape, &instance)]);
        assert!(run(k).is_ok(), "{} rows in k = {k}", rows(&shape));
        let refused = run(k - 1).err();
        assert!(
            matches!(
                refused,
                Some(Error::NotEnoughRowsAvailable { .. } | Error::InstanceTooLarge)
            ),
            "{} rows in k = {}",
            rows(&shape),
            k - 1
        );
    }
}

#[test]
fn oversized_shapes_have_no_keys() {
    let shape = HiddenShape::new(400, 20, vec![false], vec![vec![0]]).unwrap();
    let refused = SealKeys::for_shape(&shape, None).err();
    assert!(matches!(refused, Some(SealError::TooLarge { k }) if k > MAX_K));
}

/// Zero knowledge, as far as a test can see: two seals of one conversation share no element.
#[test]
fn two_seals_share_nothing() {
    let (_, _, a) = sealed(1, 10);
    let (_, _, b) = sealed(1, 11);
    let elements: BTreeSet<_> = a.chunks(32).collect();
    assert!(b.chunks(32).all(|element| !elements.contains(element)));
}

/// Pins the circuit: old seals verify as long as this digest stays.
#[test]
fn verifying_key_is_pinned() {
    let keys = keys(&small_shape());
    let pinned = format!("{:?}", keys.verifying().pinned());
    let digest: String = Sha256::digest(pinned)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(
        digest,
        "617cdad77911e620dc85a39d9156848c00002c1d8ae93ebe1699ff20f46c386e"
    );
}
