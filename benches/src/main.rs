//! What the wrappers cost, beside everything else that blocks on a future: all in one process, in turn.
//!
//!     cargo run --release -p co-wrapper-bench -- [--quick] [--qemu] [--only SUBSTRING] [--json FILE] [--svg FILE]
//!
//! Nothing here is a test: times depend on the machine and on what else it does. Rows where we lose are in the table
//! like all others.

mod alloc;
mod json;
mod rows;
mod svg;
mod table;

use std::{
    env, fs,
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use co_wrapper_bench::measure::Effort;
use table::Entry;

struct Options {
    effort: Effort,
    /// co-img beside qemu-img, instead of the other rows.
    qemu: bool,
    only: String,
    json: Option<String>,
    svg: Option<String>,
}

const USAGE: &str = "usage: co-wrapper-bench [--quick] [--qemu] [--only SUBSTRING] [--json FILE] [--svg FILE]";

fn options() -> Result<Options, String> {
    let mut options = Options { effort: Effort::FULL, qemu: false, only: String::new(), json: None, svg: None };
    let mut args = env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg} takes a value\n{USAGE}"));
        match arg.as_str() {
            "--quick" => options.effort = Effort::QUICK,
            "--qemu" => options.qemu = true,
            "--only" => options.only = value()?.to_lowercase(),
            "--json" => options.json = Some(value()?),
            "--svg" => options.svg = Some(value()?),
            _ => return Err(USAGE.to_owned()),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    let done = options().and_then(|options| run(&options).map_err(|error| error.to_string()));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let mut rows = if options.qemu { rows::beside_qemu() } else { rows::all() };
    rows.retain(|row| row.name.to_lowercase().contains(&options.only));
    if rows.is_empty() {
        return Err(io::Error::other(format!("no row's name contains {:?}", options.only)));
    }
    let (rounds, count) = (options.effort.rounds, rows.len());
    println!(
        "medians of {rounds} rounds, least – largest, of CPU time where nobody waits; p99 of single latencies; CPU time for \
         one. {} processors\n",
        std::thread::available_parallelism().map_or(0, usize::from)
    );
    let mut entries = Vec::new();
    for (index, row) in rows.into_iter().enumerate() {
        let line = format!("{}/{count} {}", index + 1, row.name);
        let sides =
            row.measure(options.effort, &mut |round| progress(&format!("{line}: round {}/{rounds}", round + 1)));
        progress("");
        let entry = Entry::new(row, sides);
        println!("{}", entry.text());
        entries.push(entry);
    }
    let (met, missed): (Vec<_>, Vec<_>) =
        entries.iter().filter(|entry| entry.met().is_some()).partition(|entry| entry.met() == Some(true));
    println!("{} of {} goals met", met.len(), met.len() + missed.len());
    missed.iter().for_each(|entry| println!("  missed: {}", entry.name));
    if let Some(file) = &options.json {
        fs::write(file, json::of(&entries))?;
    }
    if let Some(file) = &options.svg {
        fs::write(file, svg::of(&entries))?;
    }
    Ok(())
}

/// One line, written over the last one.
fn progress(line: &str) {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush());
    }
}
