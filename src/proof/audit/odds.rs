//! How likely a draw catches a provider who cheated, and how long one must grind who draws by itself.

/// Intervals of the integral below: its error is at most the inverse.
const STEPS: usize = 1 << 12;

/// The probability that a draw of `count` layers by these weights hits at least one of `cheated`
/// layers, wherever they are: exact if the weights are equal; otherwise a lower bound, at most 1/4096
/// below the exact value, for the worst choice of the layers, which is that of the smallest weights.
///
/// A draw without replacement in proportion to weights is a race: layer i arrives after an exponential
/// time of rate w_i, and the first `count` layers are drawn. With W the weights of the cheated ones, the
/// first of them arrives at a time t with u = e^(−Wt) uniform in [0, 1]; by then each other layer has
/// arrived with probability 1 − u^(w_i/W). The draw misses them all if `count` others have arrived:
/// a probability that falls as u grows, so the sum of its values at the intervals' lower ends is an upper
/// bound. A smaller W, and larger weights of the others, make it larger: hence the worst choice.
pub fn catching(weights: &[u32], count: usize, cheated: usize) -> f64 {
    if cheated == 0 {
        return 0.0;
    }
    if count + cheated > weights.len() {
        return 1.0;
    }
    let mut sorted = weights.to_vec();
    sorted.sort_unstable();
    if sorted.first() == sorted.last() {
        return 1.0 - 1.0 / missing_draws(weights.len(), count, cheated);
    }
    let (cheated, others) = sorted.split_at(cheated);
    let sum: f64 = cheated.iter().map(|w| f64::from(*w)).sum();
    let rates: Vec<f64> = others.iter().map(|w| f64::from(*w) / sum).collect();
    let missed = (0..STEPS).map(|step| at_least(&rates, count, step as f64 / STEPS as f64));
    (1.0 - missed.sum::<f64>() / STEPS as f64).max(0.0)
}

/// How many uniform draws of `count` of `total` layers it takes on average until one misses all
/// `cheated` ones: C(total, count) / C(total − cheated, count). So often must a prover who draws by
/// itself blind its commitments anew.
pub fn missing_draws(total: usize, count: usize, cheated: usize) -> f64 {
    let hit = (0..count).map(|i| (total - i) as f64 / (total - cheated).saturating_sub(i) as f64);
    hit.product()
}

/// The probability that at least `count` of the layers have arrived, each with 1 − u^rate.
fn at_least(rates: &[f64], count: usize, u: f64) -> f64 {
    // Of exactly 0, 1, … count − 1 arrivals.
    let mut exactly = vec![0.0; count];
    exactly[0] = 1.0;
    for rate in rates {
        let absent = u.powf(*rate);
        for n in (0..count).rev() {
            let before = if n == 0 { 0.0 } else { exactly[n - 1] };
            exactly[n] = exactly[n] * absent + before * (1.0 - absent);
        }
    }
    1.0 - exactly.iter().sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sets of `count` of the weights' indices that miss the `cheated` first ones, by definition.
    fn missed(left: &[(usize, f64)], count: usize, cheated: usize) -> f64 {
        if count == 0 {
            return 1.0;
        }
        let sum: f64 = left.iter().map(|(_, w)| w).sum();
        let good = left.iter().filter(|(i, _)| *i >= cheated);
        good.map(|(hit, w)| {
            let rest: Vec<_> = left.iter().copied().filter(|(i, _)| i != hit).collect();
            w / sum * missed(&rest, count - 1, cheated)
        })
        .sum()
    }

    /// Against the sum over all orders in which layers can be drawn; never above it.
    #[test]
    fn weighted_odds_are_a_bound_near_the_exact_value() {
        let weights = [40, 3, 7, 1, 8, 2, 5];
        for (count, cheated) in [(1, 1), (2, 1), (3, 2), (4, 3), (5, 1)] {
            let mut sorted: Vec<f64> = weights.iter().map(|w| f64::from(*w)).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            let left: Vec<_> = sorted.into_iter().enumerate().collect();
            let exact = 1.0 - missed(&left, count, cheated);
            let bound = catching(&weights, count, cheated);
            assert!(bound <= exact + 1e-9, "{count} {cheated}: {bound} {exact}");
            assert!(
                exact - bound < 1.0 / 4096.0 + 1e-9,
                "{count} {cheated}: {bound} {exact}"
            );
        }
    }

    /// No choice of layers is caught less often than that of the smallest weights.
    #[test]
    fn the_smallest_weights_are_the_worst_choice() {
        let weights = [6.0, 1.0, 3.0, 2.0, 9.0];
        let odds = |first: usize, second: usize| {
            let rest = (0..5).filter(|i| ![first, second].contains(i));
            let order = [first, second].into_iter().chain(rest);
            let left: Vec<_> = order.map(|i| weights[i]).enumerate().collect();
            1.0 - missed(&left, 2, 2)
        };
        let worst = odds(1, 3);
        for (a, b) in (0..5).flat_map(|a| (0..a).map(move |b| (a, b))) {
            assert!(odds(a, b) >= worst - 1e-12, "{a} {b}");
        }
    }

    /// 1 − C(n−j, k)/C(n, k), and its ends.
    #[test]
    fn uniform_odds_are_exact() {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
        assert!(near(catching(&[7; 12], 4, 1), 4.0 / 12.0));
        assert!(near(catching(&[1; 12], 4, 2), 1.0 - 28.0 / 66.0));
        assert!(near(catching(&[1; 12], 12, 1), 1.0));
        assert!(near(catching(&[1; 12], 5, 8), 1.0));
        assert!(near(catching(&[1; 12], 5, 0), 0.0));
        assert_eq!(catching(&[1, 2, 3], 2, 0), 0.0);
        assert_eq!(catching(&[1, 2, 3], 2, 4), 1.0);
        assert!(near(missing_draws(12, 1, 1), 12.0 / 11.0));
        assert!(near(missing_draws(14, 4, 1), 1.4));
        assert_eq!(missing_draws(6, 4, 3), f64::INFINITY);
    }
}
