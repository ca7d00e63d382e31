//! Which mutant is on. This file is copied into the instrumented sources as `crate::mutant`.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// At least as many as there are mutants.
const ROOM: usize = 1 << 14;

struct State {
    active: Option<usize>,
    reach: Option<File>,
    seen: Box<[AtomicBool]>,
}

/// Whether mutant `n` is on. Where coverage is asked for, notes that it was reached.
pub fn on(n: usize) -> bool {
    static STATE: OnceLock<State> = OnceLock::new();
    let state = STATE.get_or_init(|| State {
        active: std::env::var("NANOZK_MUTANT")
            .ok()
            .map(|n| n.parse().expect("a number")),
        reach: std::env::var_os("NANOZK_MUTANT_REACH").map(|path| {
            let mut options = OpenOptions::new();
            let file = options.create(true).append(true).open(path);
            file.expect("the coverage file opens")
        }),
        seen: (0..ROOM).map(|_| AtomicBool::new(false)).collect(),
    });
    if let Some(mut file) = state.reach.as_ref()
        && !state.seen[n].load(Relaxed)
        && !state.seen[n].swap(true, Relaxed)
    {
        // A test may forbid its process to write. It then counts as not reaching the mutant.
        let _ = file.write_all(format!("{n}\n").as_bytes());
    }
    state.active == Some(n)
}

// A bound's mutant differs for equal numbers only, and is asked for only there.

/// `a < b`, and with mutant `n` its neighbour.
pub fn lt<A: PartialOrd<B> + ?Sized, B: ?Sized>(n: usize, a: &A, b: &B) -> bool {
    a < b || a <= b && on(n)
}

/// `a <= b`, and with mutant `n` its neighbour.
pub fn le<A: PartialOrd<B> + ?Sized, B: ?Sized>(n: usize, a: &A, b: &B) -> bool {
    a <= b && (a < b || !on(n))
}

/// `a > b`, and with mutant `n` its neighbour.
pub fn gt<A: PartialOrd<B> + ?Sized, B: ?Sized>(n: usize, a: &A, b: &B) -> bool {
    a > b || a >= b && on(n)
}

/// `a >= b`, and with mutant `n` its neighbour.
pub fn ge<A: PartialOrd<B> + ?Sized, B: ?Sized>(n: usize, a: &A, b: &B) -> bool {
    a >= b && (a > b || !on(n))
}
