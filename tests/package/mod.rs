//! Packages that a test writes and has cargo compile. Cargo is the one that runs the test, so their rustc is its rustc, and
//! it needs no network. They share a target folder of their own, below that of this package, wherever that is: what one
//! builds of this crate serves the next.

#![allow(dead_code, reason = "a test uses what it needs of this")]

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// What is given for this package, and would change what is compiled in theirs, or where the results lie.
const NOT_FOR_THEM: &[&str] = &["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET"];

/// The folder of the package, or workspace, of that name, empty but for this workspace's lock file.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    folder
}

/// The lines of a manifest's `[dependencies]` for a package that is only checked. All have the same features of the same
/// dependencies, so that these are compiled once.
pub fn checked() -> String {
    let features = "default-features = false, features = [\"coroutine\", \"graph\", \"stream\"]";
    format!("co-wrapper = {{ path = {:?}, {features} }}\nfutures = \"0.3\"\n", env!("CARGO_MANIFEST_DIR"))
}

/// The same for one that is run.
pub fn run() -> String {
    format!(
        "co-wrapper = {{ path = {:?}, features = [\"graph\"] }}\nasync-channel = \"2\"\nfutures = \"0.3\"\nlibc = \"0.2\"\n\
         tokio = {{ version = \"1\", features = [\"full\"] }}\n",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// A cargo command for the package there.
pub fn cargo(command: &str, folder: &Path) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([command, "--quiet", "--offline", "--target-dir"]).arg(target()).current_dir(folder);
    // Compiling incrementally rustc tells twice of what is wrong in a signature that is there twice.
    cargo.env("CARGO_INCREMENTAL", "0");
    // Nobody debugs them.
    cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
    for name in NOT_FOR_THEM {
        cargo.env_remove(name);
    }
    cargo
}

/// Where cargo puts what it makes.
pub fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages")
}

/// Whether rustc 1.x is one of those that a test is written for. Elsewhere the test says that it is not run.
pub fn rustc_is_one_of(known: RangeInclusive<u32>) -> bool {
    let output = Command::new(env!("CARGO")).arg("--version").output().unwrap();
    // `cargo 1.88.0 (873a06493 2025-05-10)`; it is released with the rustc of that number.
    let text = String::from_utf8(output.stdout).unwrap();
    let minor = text.split('.').nth(1).and_then(|minor| minor.parse().ok());
    let minor: u32 = minor.unwrap_or_else(|| panic!("cargo's version is `{text}`"));
    if !known.contains(&minor) {
        eprintln!("not tested: written for rustc 1.{} to 1.{}, and this is 1.{minor}", known.start(), known.end());
    }
    known.contains(&minor)
}
