//! Annotates published packages of async storage code, and compares each with itself:
//!
//!     cargo run -p co-wrapper-field
//!
//! Each package is taken from the registry as it was published. A copy of it gets `#[co_wrapper(suffix = "_blocking")]` on
//! every block and free function that can have one (`annotate`). `cargo check` must find no warning in the copy that it does
//! not find in the original. Where a package brings tests that run anywhere, these are rewritten to call the twins
//! (`rewrite`), and must pass as before. A table of the functions and their twins is printed at the end.
//!
//! Nothing of these packages is kept: they are unpacked and built below `target/field`.

mod annotate;
mod packages;
mod rewrite;
mod workshop;

use packages::PACKAGES;
use std::{env, process::ExitCode};
use workshop::Workshop;

fn main() -> ExitCode {
    let chosen: Vec<String> = env::args().skip(1).collect();
    if let Some(unknown) = chosen.iter().find(|name| !PACKAGES.iter().any(|package| package.name == **name)) {
        eprintln!("no package `{unknown}` here; there are {:?}", PACKAGES.map(|package| package.name));
        return ExitCode::from(2);
    }
    let workshop = match Workshop::open() {
        Ok(workshop) => workshop,
        Err(error) => {
            eprintln!("cannot fetch the packages: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut rows = Vec::new();
    let mut all_well = true;
    for package in PACKAGES.iter().filter(|package| chosen.is_empty() || chosen.iter().any(|name| name == package.name))
    {
        println!("{} {}", package.name, package.version);
        match workshop.try_package(package) {
            Ok(row) => {
                all_well &= row.is_well();
                rows.push(row);
            }
            Err(error) => {
                println!("{error}");
                all_well = false;
            }
        }
    }
    println!("\n{:<14} {:>5} {:>6} {:>13}  tests through the twins", "package", "fns", "twins", "new warnings");
    for row in &rows {
        println!("{row}");
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
