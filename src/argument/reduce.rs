//! The prover's reduction of a bundle's layers: from their data to the sum S₀, the sumcheck's point and the
//! claims. What is said aloud about it is the caller's business: see [`super::hidden`].

use std::collections::{BTreeMap, HashMap};

use ff::Field;
use rayon::prelude::*;

use super::challenges::{Challenges, pick};
use super::claims::Layer;
use super::data::{LayerData, spread};
use super::logup::LogUp;
use super::plan::{Claim, Coord, Product, PublicAt, round_coords};
use super::stack::{Conversation, Stack};
use super::sumcheck::{self, Products, Summand};
use crate::algebra::{F, eq_table, from_i128};
use crate::system::sees;

/// All tables of a layer's relations, ready to be folded over the layer's own coordinates.
pub struct Reduction<'a> {
    layer: &'a Layer,
    groups: Vec<Products>,
    logup: LogUp,
    /// Where each form claim's table stands: (group, table).
    places: HashMap<usize, (usize, usize)>,
    /// The sums of LogUp and of each group.
    sums: Vec<F>,
}

/// What the sumcheck ends in.
pub struct Reduced {
    /// (r, r_L).
    pub round: Vec<F>,
    /// Of all stacks.
    pub claims: Vec<F>,
    /// [`Conversation::layer_weights`].
    pub weights: Vec<Vec<F>>,
}

impl<'a> Reduction<'a> {
    /// Computes the tables of every factor. `share` is what the layer's sum is multiplied by, eq(τ_L, ℓ); `helper` and
    /// `lanes` are LogUp's.
    pub fn new(
        layer: &'a Layer,
        data: &LayerData,
        ch: &Challenges,
        share: F,
        helper: Vec<F>,
        lanes: Vec<Vec<F>>,
    ) -> Self {
        let (relations, logup) = layer.plan.split_products();
        let bits = layer.layout.helper_bits();
        let scale = share * ch.weight(&logup[0].weight);
        let logup = LogUp::new(bits, scale, &ch.tau, helper, lanes);

        let mut by_coords: BTreeMap<&[usize], Vec<&Product>> = BTreeMap::new();
        for product in relations {
            by_coords.entry(&product.coords).or_default().push(product);
        }
        let built: Vec<(Products, Vec<(usize, usize)>)> = by_coords
            .into_par_iter()
            .map(|(coords, products)| build_group(layer, data, ch, share, coords, &products))
            .collect();
        let mut places = HashMap::new();
        let mut groups = Vec::new();
        for (g, (group, claims)) in built.into_iter().enumerate() {
            places.extend(claims.into_iter().map(|(claim, table)| (claim, (g, table))));
            groups.push(group);
        }
        let sums = std::iter::once(logup.sum())
            .chain(groups.iter().map(Summand::sum))
            .collect();
        Self {
            layer,
            groups,
            logup,
            places,
            sums,
        }
    }

    /// The sum of all relations' left-hand sides, weighted by λ and the layer's share.
    fn sum(&self) -> F {
        self.sums.iter().sum()
    }

    fn summands(&mut self) -> impl Iterator<Item = (F, &mut dyn Summand)> {
        let groups = self.groups.iter_mut().map(|g| g as &mut dyn Summand);
        let all = std::iter::once(&mut self.logup as &mut dyn Summand).chain(groups);
        self.sums.iter().copied().zip(all)
    }

    /// The factors' values at r, those of lanes with their public offsets, by claim.
    fn factors(&self) -> Vec<F> {
        let claims = self.layer.plan.claims.iter().enumerate();
        claims
            .map(|(j, claim)| match claim {
                Claim::Helper => self.logup.helper[0],
                Claim::Lane(i) => self.logup.lanes[*i][0],
                Claim::Form(_) => {
                    let (group, table) = self.places[&j];
                    self.groups[group].tables[table][0]
                }
            })
            .collect()
    }
}

/// S₀: the sum of all layers.
pub fn sum(layers: &[Reduction]) -> F {
    layers.iter().map(Reduction::sum).sum()
}

/// Runs the sumcheck of all layers, in the bundle's order, with messages of `degree` coefficients, at least the
/// conversation's; `challenge` answers each with a coordinate.
pub fn run(
    conversation: &Conversation,
    challenges: &[Challenges],
    mut layers: Vec<Reduction>,
    degree: usize,
    mut challenge: impl FnMut(&[F]) -> F,
) -> Reduced {
    let summands = layers.iter_mut().flat_map(Reduction::summands).collect();
    let own = conversation.own_rounds;
    let mut round = sumcheck::prove(summands, 0..own, degree, &mut challenge);
    let weights = conversation.layer_weights(challenges, &round);
    let stacks = || conversation.stacks.iter().zip(challenges);
    let mut over_layers: Vec<Products> = stacks()
        .map(|(stack, ch)| over_layers(conversation, (stack, ch), &layers, &weights))
        .collect();
    let sums: Vec<F> = over_layers.iter().map(Summand::sum).collect();
    let summands = over_layers.iter_mut().map(|s| s as &mut dyn Summand);
    let summands = sums.into_iter().zip(summands).collect();
    round.extend(sumcheck::prove(
        summands,
        own..conversation.rounds(),
        degree,
        &mut challenge,
    ));
    let mut claims = Vec::new();
    for ((stack, ch), products) in stacks().zip(&over_layers) {
        let offsets = conversation.offsets_of(stack, ch, &round);
        let values = products.tables.iter().map(|table| table[0]);
        claims.extend(
            values
                .zip(offsets)
                .map(|(x, offset)| x - offset.unwrap_or(F::ZERO)),
        );
    }
    Reduced {
        round,
        claims,
        weights,
    }
}

/// A stack's products as a sum over its layers, at the point r of their own coordinates: eq(τ_L, ℓ)·u(ℓ)·Π f(ℓ). The factors' tables
/// come first, by claim; `weights` are u, by layer of the bundle.
fn over_layers(
    conversation: &Conversation,
    (stack, ch): (&Stack, &Challenges),
    layers: &[Reduction],
    weights: &[Vec<F>],
) -> Products {
    let size = 1 << stack.bits;
    let table = |values: &mut dyn Iterator<Item = F>| {
        let mut table: Vec<F> = values.collect();
        table.resize(size, F::ZERO);
        table
    };
    let members = stack.layers.iter().map(|l| layers[*l].factors());
    let factors: Vec<Vec<F>> = members.collect();
    let claims = factors[0].len();
    let mut tables: Vec<Vec<F>> = (0..claims)
        .map(|j| table(&mut factors.iter().map(|f| f[j])))
        .collect();
    let own = conversation.own_rounds;
    tables.push(eq_table(&ch.tau[own..][..stack.bits], F::ONE));
    let first = stack.layers[0];
    let plan = &layers[first].layer.plan;
    let relations = plan.split_products().0.len();
    let products = plan.products.iter().enumerate();
    let products = products
        .map(|(p, product)| {
            let half = conversation.constant_in(product.coords.len());
            let mut list: Vec<usize> = product.claims.iter().copied().chain([claims]).collect();
            // LogUp's weight is the same for all layers.
            if p >= relations {
                return (half * weights[first][p], list);
            }
            list.push(tables.len());
            tables.push(table(&mut stack.layers.iter().map(|l| weights[*l][p])));
            (half, list)
        })
        .collect();
    Products {
        coords: (own..own + stack.bits).collect(),
        tables,
        products,
    }
}

/// The tables of all products on one set of coordinates, and which claim each table belongs to.
fn build_group(
    layer: &Layer,
    data: &LayerData,
    ch: &Challenges,
    share: F,
    coords: &[usize],
    products: &[&Product],
) -> (Products, Vec<(usize, usize)>) {
    let mut claims: Vec<usize> = products
        .iter()
        .flat_map(|p| p.claims.iter().copied())
        .collect();
    claims.sort_unstable();
    claims.dedup();
    // One table per public factor: the product of two multilinear extensions is not multilinear.
    let mut publics: Vec<&PublicAt> = Vec::new();
    for public in products.iter().flat_map(|p| &p.publics) {
        if !publics.contains(&public) {
            publics.push(public);
        }
    }
    let mut tables: Vec<Vec<F>> = claims
        .par_iter()
        .map(|j| claim_table(layer, data, ch, *j, coords))
        .collect();
    tables.extend(
        publics
            .par_iter()
            .map(|p| public_table(p, ch, coords))
            .collect::<Vec<_>>(),
    );
    let products = products
        .iter()
        .map(|p| {
            let claim = |j| claims.binary_search(j).expect("listed above");
            let public = |f| publics.iter().position(|x| *x == f).expect("listed above");
            let factors = p.claims.iter().map(claim);
            let list = factors
                .chain(p.publics.iter().map(|f| claims.len() + public(f)))
                .collect();
            (share * ch.weight(&p.weight), list)
        })
        .collect();
    let places = claims
        .into_iter()
        .enumerate()
        .map(|(table, claim)| (claim, table))
        .collect();
    (
        Products {
            coords: coords.to_vec(),
            tables,
            products,
        },
        places,
    )
}

/// The table of a form claim over `coords`, constant in those it does not depend on.
fn claim_table(
    layer: &Layer,
    data: &LayerData,
    ch: &Challenges,
    claim: usize,
    coords: &[usize],
) -> Vec<F> {
    let Claim::Form(parts) = &layer.plan.claims[claim] else {
        panic!("only LogUp's products have LogUp's claims")
    };
    let mut table = vec![F::ZERO; 1 << coords.len()];
    for (weight, form) in parts {
        let own = data.form_table(layer, form, ch.weight(weight), ch);
        let own_coords = round_coords(form);
        if own_coords == coords {
            table.iter_mut().zip(own).for_each(|(t, v)| *t += v);
        } else {
            let index = gather(coords, &own_coords);
            table
                .iter_mut()
                .enumerate()
                .for_each(|(x, t)| *t += own[index(x)]);
        }
    }
    table
}

/// Maps an index over `coords` to the index over a subset of them.
fn gather<'c>(coords: &'c [usize], subset: &'c [usize]) -> impl Fn(usize) -> usize + 'c {
    let positions: Vec<usize> = subset
        .iter()
        .map(|c| {
            coords
                .iter()
                .position(|x| x == c)
                .expect("a subset of the coordinates")
        })
        .collect();
    move |x| {
        positions
            .iter()
            .enumerate()
            .map(|(b, p)| (x >> p & 1) << b)
            .sum()
    }
}

fn public_table(public: &PublicAt, ch: &Challenges, coords: &[usize]) -> Vec<F> {
    let size = 1 << coords.len();
    match public {
        PublicAt::Eq(own) => {
            let values = eq_table(&pick(&ch.tau, own), F::ONE);
            let index = gather(coords, own);
            (0..size).map(|x| values[index(x)]).collect()
        }
        PublicAt::Causal {
            row,
            col,
            window,
            complement,
        } => {
            let (row, col) = (gather(coords, row), gather(coords, col));
            (0..size)
                .map(|x| {
                    if sees(row(x), col(x), *window) != *complement {
                        F::ONE
                    } else {
                        F::ZERO
                    }
                })
                .collect()
        }
        PublicAt::OneHot {
            row,
            index,
            targets,
        } => {
            let weights = eq_table(&pick(&ch.tau, row), F::ONE);
            let positions: Vec<usize> = index
                .iter()
                .map(|c| {
                    coords
                        .iter()
                        .position(|x| x == c)
                        .expect("a summed coordinate")
                })
                .collect();
            assert_eq!(
                positions.len(),
                coords.len(),
                "a one-hot factor spans its whole term"
            );
            let mut table = vec![F::ZERO; size];
            for (t, w) in targets.iter().zip(&weights) {
                table[spread(*t, &positions)] += w;
            }
            table
        }
        PublicAt::Table { at, values } => {
            let (own, table) = table_at_tau(at, values, ch);
            let index = gather(coords, &own);
            (0..size).map(|x| table[index(x)]).collect()
        }
        PublicAt::EqPrefix { .. } => panic!("only LogUp's products are restricted to a prefix"),
    }
}

/// A public tensor with its coordinates of τ bound: its round coordinates, and its values on them.
fn table_at_tau(at: &[Coord], values: &[i64], ch: &Challenges) -> (Vec<usize>, Vec<F>) {
    let (mut own, mut own_bits) = (Vec::new(), Vec::new());
    let (mut tau, mut tau_bits) = (Vec::new(), Vec::new());
    for (bit, coord) in at.iter().enumerate() {
        match coord {
            Coord::Round(c) => {
                own.push(*c);
                own_bits.push(bit);
            }
            Coord::Tau(c) => {
                tau.push(*c);
                tau_bits.push(bit);
            }
        }
    }
    let weights = eq_table(&pick(&ch.tau, &tau), F::ONE);
    let select = |x: usize, bits: &[usize]| -> usize {
        bits.iter()
            .enumerate()
            .map(|(b, from)| (x >> from & 1) << b)
            .sum()
    };
    let mut table = vec![F::ZERO; 1 << own.len()];
    for (x, value) in values.iter().enumerate() {
        table[select(x, &own_bits)] +=
            weights[select(x, &tau_bits)] * from_i128(i128::from(*value));
    }
    (own, table)
}
