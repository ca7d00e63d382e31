//! Turns against values of 60 digits, and what their rounding depends on.

use super::*;

/// Written by `known_turns.py`.
const KNOWN: &str = include_str!("known_turns.txt");

const LLAMA3: Scaling = Scaling::Llama3 {
    factor: 8.0,
    low: 1.0,
    high: 4.0,
    original: 8192.0,
};

fn yarn(truncate: bool) -> Scaling {
    Scaling::Yarn {
        factor: 4.0,
        fast: 32.0,
        slow: 1.0,
        original: 32_768.0,
        truncate,
    }
}

/// The bases and scalings of the file, with the turns of a head of 128 lanes.
fn known() -> Vec<(Frequencies, Vec<u64>)> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let theta = words.next().expect("a base").parse().expect("a number");
        let scaling = match words.next().expect("a scaling") {
            "unscaled" => Scaling::None,
            "linear" => Scaling::Linear { factor: 4.0 },
            "llama3" => LLAMA3,
            "yarn" => yarn(true),
            "yarn-ramp" => yarn(false),
            other => {
                let bits = other.strip_prefix("factors:").expect("factors").split(',');
                let factor = |bits| f32::from_bits(u32::from_str_radix(bits, 16).expect("bits"));
                Scaling::Factors(bits.map(factor).collect())
            }
        };
        let turns = words.map(|w| u64::from_str_radix(w, 16).expect("hexadecimal"));
        (Frequencies { theta, scaling }, turns.collect())
    };
    KNOWN.lines().map(line).collect()
}

/// The id of a rotating model hashes these bits: another implementation must find the same ones.
#[test]
fn turns_are_the_nearest_integers() {
    let known = known();
    assert_eq!(known.len(), 5 * 3 + 1 + 2 * 2);
    for (mut frequencies, turns) in known {
        assert_eq!(turns.len(), 64);
        assert_eq!(frequencies.turns(128), turns, "{frequencies:?}");
        if let Scaling::Yarn { .. } = frequencies.scaling {
            continue;
        }
        if let Scaling::Factors(factors) = &mut frequencies.scaling {
            *factors = factors.iter().copied().step_by(2).collect();
        }
        let every_second: Vec<u64> = turns.into_iter().step_by(2).collect();
        assert_eq!(frequencies.turns(64), every_second, "{frequencies:?}");
    }
}

/// With errors below 2^-44, a value at least 2^-20 from every tie is correctly rounded.
#[test]
fn no_turn_is_near_enough_to_a_tie_to_be_rounded_wrongly() {
    const FRACTION: u32 = 2 * BITS - 64;
    for (frequencies, _) in known() {
        for x in frequencies.scaled(128) {
            let fraction = x & ((U256::ONE << FRACTION) - 1);
            let half = U256::ONE << (FRACTION - 1);
            let distance = if fraction > half {
                fraction - half
            } else {
                half - fraction
            };
            assert!(distance >> (FRACTION - 20) != 0, "{frequencies:?}");
        }
    }
}

/// A base between two integers is taken exactly: the next `f64` turns otherwise.
#[test]
fn every_bit_of_the_base_counts() {
    let turns = |bits: u64| Frequencies::unscaled(f64::from_bits(bits)).turns(64);
    let bits = 10_000.3f64.to_bits();
    let (turns, next) = (turns(bits), turns(bits + 1));
    // θ^0 does not depend on it, slow pairs too little to show.
    assert_eq!(turns[0], next[0]);
    assert!(turns[1] > next[1] && turns[31] == next[31]);
}

/// Fast pairs keep their frequency, slow ones lose the factor, and the blend joins them.
#[test]
fn llama3_scaling_goes_from_one_to_the_factor() {
    let scaled = |scaling| {
        Frequencies {
            theta: 500_000.0,
            scaling,
        }
        .turns(128)
    };
    let (plain, blended) = (scaled(Scaling::None), scaled(LLAMA3));
    let divided = scaled(Scaling::Linear { factor: 8.0 });
    assert_eq!((blended[0], blended[63]), (plain[0], divided[63]));
    let between: Vec<usize> = (0..64)
        .filter(|m| blended[*m] != plain[*m] && blended[*m] != divided[*m])
        .collect();
    // 8192 positions make 8192·p turns: between 1 and 4 the two are blended.
    let count = |m: usize| 8192.0 * plain[m] as f64 / 2f64.powi(64);
    let expected: Vec<usize> = (0..64)
        .filter(|m| (1.0..4.0).contains(&count(*m)))
        .collect();
    assert!(!between.is_empty());
    assert_eq!(between, expected);
}

/// Factors that were computed in `f32` are the formula but for their last bits: these are two models.
#[test]
fn llama3_scaling_by_factors_is_the_formula_but_for_rounding() {
    let known = known();
    let of = |scaling: fn(&Scaling) -> bool| {
        let mut lines = known.iter();
        let found = lines.find(|(f, _)| f.theta == 500_000.0 && scaling(&f.scaling));
        &found.expect("a line").1
    };
    let formula = of(|s| matches!(s, Scaling::Llama3 { .. }));
    let factors = of(|s| matches!(s, Scaling::Factors(_)));
    assert_ne!(formula, factors);
    for (a, b) in formula.iter().zip(factors) {
        assert!(a.abs_diff(*b) <= a >> 24);
    }
}

#[test]
#[should_panic(expected = "a factor for each pair")]
fn there_is_a_factor_for_each_pair() {
    let frequencies = Frequencies {
        theta: 1e4,
        scaling: Scaling::Factors(vec![1.0; 31]),
    };
    frequencies.turns(64);
}

#[test]
#[should_panic(expected = "0.24 is in range")]
fn a_factor_below_a_quarter_is_refused() {
    let mut factors = vec![1.0; 32];
    (factors[0], factors[1]) = (0.25, 0.24);
    let frequencies = Frequencies {
        theta: 1e4,
        scaling: Scaling::Factors(factors),
    };
    frequencies.turns(64);
}

/// The extremes that a configuration may have, against floating point.
#[test]
fn the_extremes_are_computed() {
    for theta in [1.0, 1.0 + f64::EPSILON, MAX_THETA] {
        for (scaling, factor) in [
            (Scaling::None, 1.0),
            (Scaling::Linear { factor: MAX_THETA }, MAX_THETA),
        ] {
            let turns = Frequencies { theta, scaling }.turns(128);
            for (m, turn) in turns.iter().enumerate() {
                let frequency = theta.powf(-(m as f64) / 64.0) / factor;
                let expected = frequency / std::f64::consts::TAU * 2f64.powi(64);
                assert!((*turn as f64 - expected).abs() <= 0.5 + expected * 1e-14);
            }
        }
    }
    let tiny = Scaling::Llama3 {
        factor: 1.0,
        low: f64::MIN_POSITIVE,
        high: MAX_THETA,
        original: MAX_THETA,
    };
    let frequencies = Frequencies {
        theta: 1e4,
        scaling: tiny,
    };
    let unscaled = Frequencies::unscaled(1e4);
    for (a, b) in frequencies.turns(64).iter().zip(unscaled.turns(64)) {
        assert!(a.abs_diff(b) <= 1, "a factor of 1 changes nothing");
    }
}

#[test]
#[should_panic(expected = "from 1 to 10^9")]
fn a_base_below_one_is_refused() {
    Frequencies::unscaled(0.999).turns(64);
}

/// As `transformers` computes it in `f64`: bounds beyond the first and the last pair, equal ones, and the other way round.
#[test]
fn yarn_has_the_ramp_of_transformers_whatever_its_bounds() {
    let ramp =
        |width: f64, theta: f64, original: f64, [fast, slow]: [f64; 2], truncate: bool, m: f64| {
            let pair = |turns: f64| {
                width * (original / (turns * std::f64::consts::TAU)).ln() / (2.0 * theta.ln())
            };
            let (mut low, mut high) = (pair(fast), pair(slow));
            if truncate {
                (low, high) = (low.floor(), high.ceil());
            }
            (low, high) = (low.max(0.0), high.min(width - 1.0));
            if low == high {
                high += 0.001;
            }
            ((m - low) / (high - low)).clamp(0.0, 1.0)
        };
    for (theta, original, bounds) in [
        (10_000.0, 16.0, [32.0, 1.0]),
        (10_000.0, 4.0, [32.0, 1.0]),
        (2.0, 1e9, [32.0, 1.0]),
        (1e6, 4096.0, [3.0, 3.0]),
        (1e6, 4096.0, [1.5, 400.0]),
        (1e9, 1.0, [1.0, 1.0]),
    ] {
        for truncate in [true, false] {
            let [fast, slow] = bounds;
            let scaling = Scaling::Yarn {
                factor: 8.0,
                fast,
                slow,
                original,
                truncate,
            };
            let scaled = Frequencies { theta, scaling }.turns(32);
            let plain = Frequencies::unscaled(theta).turns(32);
            for (m, (scaled, plain)) in scaled.iter().zip(&plain).enumerate() {
                let kept =
                    1.0 - ramp(32.0, theta, original, bounds, truncate, m as f64) * 7.0 / 8.0;
                let found = *scaled as f64 / *plain as f64;
                assert!(
                    (found - kept).abs() < 1e-9,
                    "{theta} {original} {bounds:?} {truncate} {m}: {found} {kept}"
                );
            }
        }
    }
}
