//! What the programs that run under load for a while have in common: their command line, and the descriptors in use.

use std::{env, fs, process::ExitCode, time::UNIX_EPOCH};

/// `[--seconds N] [--seed S]`: for how long to run, and what random numbers begin with, which else is the clock's. What is
/// wrong is told on stderr.
pub fn arguments(program: &str) -> Result<(u64, u64), ExitCode> {
    parse().map_err(|error| {
        eprintln!("{program}: {error}\nusage: {program} [--seconds N] [--seed S]");
        ExitCode::from(2)
    })
}

fn parse() -> Result<(u64, u64), String> {
    let clock = UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos() as u64);
    let (mut seconds, mut seed) = (10, clock);
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let value = match arg.as_str() {
            "--seconds" => &mut seconds,
            "--seed" => &mut seed,
            _ => return Err(format!("{arg}: not an option")),
        };
        let given = args.next().ok_or_else(|| format!("{arg}: a number is missing"))?;
        *value = given.parse().map_err(|error| format!("{arg} {given}: {error}"))?;
    }
    Ok((seconds, seed))
}

pub fn fds() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc").count()
}
