//! Writes random signatures out of the grammar that the macros accept, compiles them, and runs every wrapper against its
//! async original. What fails is made smaller and printed with its seed:
//!
//!     cargo run --release -p co-wrapper-generator -- --functions 20000 --seed 1
//!
//! Function `i` of seed `s` is the only one of seed `s + i`. `shapes` holds the grammar's words, `function` what goes
//! together, `render` writes Rust, `cargo` builds and runs it.

mod cargo;
mod function;
mod render;
mod rng;
mod shapes;

use cargo::Workshop;
use function::Function;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, io};

/// Functions a build: three crates of this many altogether.
const BATCH: u64 = 900;

fn main() -> ExitCode {
    let (mut functions, mut seed, mut print) = (300, 1, false);
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut number = || args.next().and_then(|text| text.parse::<u64>().ok());
        match (&*arg, &mut functions, &mut seed) {
            ("--print", ..) => print = true,
            ("--functions", place, _) | ("--seed", _, place) => match number() {
                Some(value) => *place = value,
                None => return usage(),
            },
            _ => return usage(),
        }
    }
    if print {
        for i in 0..functions {
            println!("{}", render::module(&Function::random(seed.wrapping_add(i))));
        }
        return ExitCode::SUCCESS;
    }
    match run(functions, seed) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: co-wrapper-generator [--functions N] [--seed S] [--print]");
    ExitCode::FAILURE
}

fn run(functions: u64, seed: u64) -> io::Result<bool> {
    let workshop = Workshop::open()?;
    let start = Instant::now();
    let (mut failed, mut building) = (0, Duration::ZERO);
    // So that the first batch's time is its own.
    workshop.run(&[])?;
    for first in (0..functions).step_by(BATCH as usize) {
        let mut batch: Vec<Function> =
            (first..functions.min(first + BATCH)).map(|i| Function::random(seed.wrapping_add(i))).collect();
        // What does not compile keeps the others from running: without it, again.
        while !batch.is_empty() {
            let outcome = workshop.run(&batch)?;
            building += outcome.building;
            if outcome.failures.is_empty() {
                break;
            }
            failed += outcome.failures.len();
            let compiled = outcome.failures.values().all(|how| how.starts_with("differs"));
            for (seed, how) in &outcome.failures {
                report(&workshop, &Function::random(*seed), how)?;
            }
            if compiled {
                break;
            }
            batch.retain(|function| !outcome.failures.contains_key(&function.seed));
        }
    }
    let each = building.as_secs_f64() * 1000.0 / functions.max(1) as f64;
    println!(
        "{functions} functions of seed {seed}: {} as their originals, {failed} not; {each:.2} ms of build each, {:.0} s in all",
        functions - failed as u64,
        start.elapsed().as_secs_f64(),
    );
    Ok(failed == 0)
}

/// Prints what failed, and the smallest form of it that fails the same way.
fn report(workshop: &Workshop, function: &Function, how: &str) -> io::Result<()> {
    println!("seed {} {how}", function.seed);
    let kind = |how: &str| how.split(':').next().unwrap_or_default().to_owned();
    let smallest = function.clone().smallest(|candidate| {
        let outcome = workshop.run(std::slice::from_ref(candidate))?;
        Ok::<_, io::Error>(outcome.failures.get(&function.seed).is_some_and(|now| kind(now) == kind(how)))
    })?;
    println!("  in edition {}: {}", smallest.edition(), render::module(&smallest));
    println!("  again: --functions 1 --seed {}", function.seed);
    Ok(())
}
