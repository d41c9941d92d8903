//! Runs random tests round by round, each with its own seed, which a failure prints. `CO_WRAPPER_SEED` and
//! `CO_WRAPPER_ROUNDS` choose the rounds; otherwise random seeds are tried for two seconds.

use std::{
    env,
    panic::{catch_unwind, resume_unwind},
    time::{Duration, Instant, UNIX_EPOCH},
};

use co_wrapper_runtime::hang;

use super::common::within_bounds;

/// Each round is to end within a bound.
pub fn rounds(run: fn(u64)) {
    let number =
        |name| env::var(name).ok().map(|value| value.parse::<u64>().unwrap_or_else(|_| panic!("{name}={value}")));
    let rounds = number("CO_WRAPPER_ROUNDS");
    let first = number("CO_WRAPPER_SEED").unwrap_or_else(|| UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
    let until = Instant::now() + Duration::from_secs(2);
    let mut done = 0;
    while rounds.map_or_else(|| Instant::now() < until, |rounds| done < rounds) {
        let seed = first.wrapping_add(done);
        if let Err(payload) = catch_unwind(|| within_bounds(move || run(seed))) {
            eprintln!("CO_WRAPPER_SEED={seed} CO_WRAPPER_ROUNDS=1\n{}", hang::report());
            resume_unwind(payload);
        }
        done += 1;
    }
    println!("{done} rounds from seed {first}");
}
