//! The layers of a bundle as one conversation: stacks of layers of one form.
//!
//! With k_s the number of powers of λ before stack s, D_k,ℓ what relation k of layer ℓ makes zero, and τ_L, r_L the
//! coordinates of the layers:
//!
//! ```text
//! Σ_s Σ_k λ^(k_s+k+1) Σ_{ℓ < L_s} eq(τ_L, ℓ)·D_k,ℓ(τ) = 0
//! ```
//!
//! The sumcheck binds the layers' own coordinates first, R of them, all layers at once; then b more, over ℓ. It ends at (r, r_L) in
//!
//! ```text
//! Σ_s Σ_products ½^(constant coordinates)·eq(τ_L, r_L)·ũ(r_L)·Π_j (v_j + a_j),   ũ(r_L) = Σ_ℓ eq(r_L, ℓ)·u_ℓ(τ, r)
//! ```
//!
//! with u_ℓ the product's weight and public factors in layer ℓ, v_j = Σ_ℓ eq(r_L, ℓ)·(claim j of layer ℓ at (τ, r)), and a_j the
//! lanes' offset times Σ_ℓ eq(r_L, ℓ). LogUp's u is the same for all layers and stands before the sum: in the layers' rounds its products
//! have a factor less, and where there is no layer all their factors are zero. Soundness: `docs/stacks.md`.

use ff::Field;
use rayon::prelude::*;

use super::challenges::Challenges;
use super::claims::{Layer, Shares};
use super::functional::index_bits;
use super::hidden::{HiddenError, HiddenShape};
use super::plan::{Claim, PublicAt};
use crate::algebra::{F, eq_table, powers};

/// Layers of one form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// Which of the bundle's, in order.
    pub layers: Vec<usize>,
    /// The number of its layer coordinates.
    pub bits: usize,
    /// Its first claim among those of the conversation.
    pub first_claim: usize,
    /// How many powers of λ come before its own.
    pub first_weight: usize,
}

/// The conversation of a bundle's layers.
#[derive(Clone, Debug)]
pub struct Conversation<'a> {
    pub layers: Vec<&'a Layer>,
    pub stacks: Vec<Stack>,
    /// R: the coordinates of the layers' own.
    pub own_rounds: usize,
    /// b: those of the layers themselves.
    bits: usize,
}

impl<'a> Conversation<'a> {
    /// Each layer joins the first stack of its form. Panics if there is none.
    pub fn new(layers: Vec<&'a Layer>) -> Self {
        let mut stacks: Vec<Stack> = Vec::new();
        for (l, layer) in layers.iter().enumerate() {
            let of_form = |stack: &&mut Stack| layers[stack.layers[0]].has_form_of(layer);
            match stacks.iter_mut().find(of_form) {
                Some(stack) => stack.layers.push(l),
                None => stacks.push(Stack {
                    layers: vec![l],
                    bits: 0,
                    first_claim: 0,
                    first_weight: 0,
                }),
            }
        }
        let (mut claims, mut weights) = (0, 0);
        for stack in &mut stacks {
            stack.bits = index_bits(stack.layers.len());
            (stack.first_claim, stack.first_weight) = (claims, weights);
            let plan = &layers[stack.layers[0]].plan;
            claims += plan.claims.len();
            weights += plan.weights;
        }
        Self {
            own_rounds: layers.iter().map(|l| l.plan.rounds).max().expect("a layer"),
            bits: stacks.iter().map(|s| s.bits).max().expect("a stack"),
            layers,
            stacks,
        }
    }

    /// The number of rounds, R + b.
    pub fn rounds(&self) -> usize {
        self.own_rounds + self.bits
    }

    /// The layer that has a stack's form.
    fn form(&self, stack: &Stack) -> &'a Layer {
        self.layers[stack.layers[0]]
    }

    /// The challenges of each stack.
    pub fn challenges(&self, [alpha, beta, lambda]: [F; 3], tau: &[F]) -> Vec<Challenges> {
        let count = |stack: &Stack| self.form(stack).plan.weights;
        let all = powers(lambda, self.stacks.iter().map(count).sum::<usize>() + 1);
        let of_stack = |stack: &Stack| Challenges {
            alpha,
            beta,
            tau: tau.to_vec(),
            lambdas: all[stack.first_weight + 1..][..count(stack)].to_vec(),
        };
        self.stacks.iter().map(of_stack).collect()
    }

    /// eq(point, ℓ) of a stack's layers, where `point` has all coordinates; zero beyond them.
    pub fn shares(&self, stack: &Stack, point: &[F]) -> Vec<F> {
        let mut all = eq_table(&point[self.own_rounds..][..stack.bits], F::ONE);
        all[stack.layers.len()..].fill(F::ZERO);
        all
    }

    /// ½ for each of the layers' coordinates in which a product on `coords` of them is constant: that makes its sum over all of
    /// them the sum over its own.
    pub fn constant_in(&self, coords: usize) -> F {
        halves(self.own_rounds - coords)
    }

    /// What is said in the conversation.
    ///
    /// # Errors
    /// [`HiddenError::Shape`] for products of too many claims.
    pub fn shape(&self) -> Result<HiddenShape, HiddenError> {
        let plans = || self.stacks.iter().map(|stack| &self.form(stack).plan);
        let lane = |claim: &Claim| matches!(claim, Claim::Lane(_));
        let offsets = plans().flat_map(|p| &p.claims).map(lane).collect();
        let products = self.stacks.iter().flat_map(|stack| self.products(stack));
        let degree = self.stacks.iter().map(|stack| self.degree(stack)).max();
        HiddenShape::new(
            self.rounds(),
            degree.expect("a stack"),
            offsets,
            products.collect(),
        )
    }

    /// The degree of a stack's round polynomials. Over its layers, a relation's product has two factors besides its claims, LogUp's one.
    fn degree(&self, stack: &Stack) -> usize {
        // The public factors, which count over the layers' own coordinates, may be others in each layer.
        let own = stack.layers.iter().map(|l| self.layers[*l].plan.degree);
        let own = own.max().expect("a stack has a layer");
        if stack.bits == 0 {
            return own;
        }
        let (relations, logup) = self.form(stack).plan.split_products();
        let relations = relations.iter().map(|p| p.claims.len() + 2);
        let logup = logup.iter().map(|p| p.claims.len() + 1);
        relations.chain(logup).fold(own, usize::max)
    }

    /// The claims that products of a stack multiply, each list once, by number in the conversation.
    fn products(&self, stack: &Stack) -> Vec<Vec<usize>> {
        let mut lists: Vec<Vec<usize>> = Vec::new();
        for product in &self.form(stack).plan.products {
            let claims = product.claims.iter().map(|j| stack.first_claim + j);
            let claims: Vec<usize> = claims.collect();
            if !lists.contains(&claims) {
                lists.push(claims);
            }
        }
        lists
    }

    /// [`Layer::weights`] of each of the bundle's layers, at a point of which only their own coordinates count.
    pub fn layer_weights(&self, challenges: &[Challenges], round: &[F]) -> Vec<Vec<F>> {
        let of_stack = |(stack, ch): (&Stack, &Challenges)| -> Vec<Vec<F>> {
            let layers = stack.layers.par_iter().map(|l| self.layers[*l]);
            layers.map(|layer| layer.weights(ch, round)).collect()
        };
        self.by_layer(self.stacks.iter().zip(challenges).map(of_stack))
    }

    /// The coefficient of each of the shape's products in the final check. `weights` are those of all layers.
    pub fn coefficients(
        &self,
        challenges: &[Challenges],
        weights: &[Vec<F>],
        round: &[F],
    ) -> Vec<F> {
        let of_stack = |(stack, ch): (&Stack, &Challenges)| {
            let weights = self.stack_weights(stack, ch, weights, round);
            let lists = self.products(stack);
            let mut sums = vec![F::ZERO; lists.len()];
            for (product, weight) in self.form(stack).plan.products.iter().zip(weights) {
                let claims = product.claims.iter().map(|j| stack.first_claim + j);
                let place = lists
                    .iter()
                    .position(|l| claims.clone().eq(l.iter().copied()));
                sums[place.expect("every list is there")] +=
                    weight * self.constant_in(product.coords.len());
            }
            sums
        };
        let stacks = self.stacks.iter().zip(challenges);
        stacks.flat_map(of_stack).collect()
    }

    /// ½^(…)·eq(τ_L, r_L)·ũ(r_L) of each product of a stack, but for what it has of constant coordinates of the layers' own.
    fn stack_weights(
        &self,
        stack: &Stack,
        ch: &Challenges,
        weights: &[Vec<F>],
        round: &[F],
    ) -> Vec<F> {
        let at_round = self.shares(stack, round);
        // What eq(τ_L, ℓ) is where there is no layer does not matter: the other factors are zero.
        let coords = self.own_rounds..self.own_rounds + stack.bits;
        let eq = ch.public(&PublicAt::Eq(coords.collect()), round);
        let scale = eq * halves(self.bits - stack.bits);
        let plan = &self.form(stack).plan;
        let relations = plan.split_products().0.len();
        let at_layers = |p: usize| -> F {
            let weights = stack.layers.iter().map(|l| weights[*l][p]);
            weights.zip(&at_round).map(|(u, share)| u * share).sum()
        };
        (0..plan.products.len())
            .map(|p| match p < relations {
                true => scale * at_layers(p),
                false => scale * weights[stack.layers[0]][p],
            })
            .collect()
    }

    /// The public offset of each claim of a stack: that of lanes, on the layers that there are.
    pub fn offsets_of(&self, stack: &Stack, ch: &Challenges, round: &[F]) -> Vec<Option<F>> {
        let layer = self.form(stack);
        let live: F = self.shares(stack, round).iter().sum();
        let offset = |claim: &Claim| match claim {
            Claim::Lane(i) => Some(live * layer.lane_offset(*i, ch, round)),
            _ => None,
        };
        layer.plan.claims.iter().map(offset).collect()
    }

    /// The offsets of all claims that have one.
    pub fn offsets(&self, challenges: &[Challenges], round: &[F]) -> Vec<F> {
        let stacks = self.stacks.iter().zip(challenges);
        stacks
            .flat_map(|(stack, ch)| self.offsets_of(stack, ch, round))
            .flatten()
            .collect()
    }

    /// (stack, eq(point, ℓ)) of each of the bundle's layers.
    pub fn layer_shares(&self, point: &[F]) -> Vec<(usize, F)> {
        let of_stack = |(s, stack): (usize, &Stack)| {
            let shares = self.shares(stack, point).into_iter();
            shares.map(|share| (s, share)).collect()
        };
        self.by_layer(self.stacks.iter().enumerate().map(of_stack))
    }

    /// (stack, what right-hand sides and claims are multiplied by) of each of the bundle's layers.
    pub fn combination(&self, tau: &[F], round: &[F], rho: F) -> Vec<(usize, Shares)> {
        let count = |stack: &Stack| self.form(stack).plan.claims.len();
        let rhos = powers(rho, self.stacks.iter().map(count).sum::<usize>() + 2);
        let shares = self.layer_shares(tau).into_iter();
        shares
            .zip(self.layer_shares(round))
            .map(|((s, at_tau), (_, at_round))| {
                let stack = &self.stacks[s];
                let rhos = &rhos[stack.first_claim + 2..][..count(stack)];
                let shares = Shares {
                    rhs: rho * at_tau,
                    claims: rhos.iter().map(|rho| at_round * rho).collect(),
                };
                (s, shares)
            })
            .collect()
    }

    /// What each stack has of its layers, in the bundle's order.
    fn by_layer<T>(&self, values: impl Iterator<Item = Vec<T>>) -> Vec<T> {
        let stacks = self.stacks.iter().zip(values);
        let mut all: Vec<(&usize, T)> = stacks
            .flat_map(|(stack, values)| stack.layers.iter().zip(values))
            .collect();
        all.sort_by_key(|(l, _)| **l);
        all.into_iter().map(|(_, value)| value).collect()
    }
}

/// ½^n.
fn halves(n: usize) -> F {
    let half = F::from(2).invert().expect("2 is not 0 in F");
    half.pow_vartime([n as u64])
}
