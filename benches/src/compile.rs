//! What a wrapper costs the compiler and the binary: crates of a thousand async methods, once bare, once with our
//! wrappers and once with wrappers written by hand, checked and built beside each other.
//!
//!     cargo run --release -p co-wrapper-bench --bin compile

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, io};

const FUNCTIONS: usize = 1000;

/// The best of this many.
const ROUNDS: usize = 3;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Bare,
    Ours,
    /// What one would write: the future, blocked on.
    Hand,
}

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let folder = root.join("target/bench-compile");
    let kinds = [("bare", Kind::Bare), ("ours", Kind::Ours), ("hand", Kind::Hand)];
    for (name, kind) in kinds {
        fs::create_dir_all(folder.join(name).join("src"))?;
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
             [dependencies]\nco-wrapper = {{ path = {root:?} }}\n"
        );
        fs::write(folder.join(name).join("Cargo.toml"), manifest)?;
        fs::write(folder.join(name).join("src/main.rs"), source(kind))?;
    }
    let workspace = "[workspace]\nmembers = [\"bare\", \"ours\", \"hand\"]\nresolver = \"3\"\n\
                     [profile.dev]\ndebug = false\nincremental = false\n[profile.release]\ndebug = false\n";
    fs::write(folder.join("Cargo.toml"), workspace)?;
    fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;

    println!("of each of {FUNCTIONS} wrappers, over the bare async fns; the best of {ROUNDS}");
    println!("{:6} {:>12} {:>12} {:>14}", "", "check", "build", "release size");
    let mut bare = None;
    for (name, _) in kinds {
        let check = best(&folder, name, &["check"])?;
        let build = best(&folder, name, &["build"])?;
        cargo(&folder, name, &["build", "--release"])?;
        let size = fs::metadata(folder.join("target/release").join(name))?.len();
        let (check0, build0, size0) = *bare.get_or_insert((check, build, size));
        let each =
            |time: Duration, from: Duration| (time.as_secs_f64() - from.as_secs_f64()) * 1000.0 / FUNCTIONS as f64;
        println!(
            "{name:6} {:9.3} ms {:9.3} ms {:8.0} bytes",
            each(check, check0),
            each(build, build0),
            (size as f64 - size0 as f64) / FUNCTIONS as f64
        );
    }
    Ok(())
}

fn best(folder: &Path, name: &str, command: &[&str]) -> io::Result<Duration> {
    cargo(folder, name, command)?;
    let source: PathBuf = folder.join(name).join("src/main.rs");
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let text = fs::read(&source)?;
        fs::write(&source, text)?; // newer, and so compiled again
        let start = Instant::now();
        cargo(folder, name, command)?;
        best = best.min(start.elapsed());
    }
    Ok(best)
}

fn cargo(folder: &Path, name: &str, command: &[&str]) -> io::Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(command).args(["--quiet", "--offline", "-p", name]).current_dir(folder);
    let status = cargo.env_remove("CARGO_TARGET_DIR").status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("cargo {command:?} -p {name}: {status}"))) }
}

fn source(kind: Kind) -> String {
    let mut source = String::from("#![allow(dead_code)]\npub struct Disk(u64);\nimpl Disk {\n");
    for i in 0..FUNCTIONS {
        if kind == Kind::Ours {
            let _ = writeln!(source, "#[co_wrapper::co_wrapper]");
        }
        let _ = writeln!(
            source,
            "pub async fn bdrv_co_read_{i}(&self, off: u64, buf: &mut [u8]) -> std::io::Result<u64> {{ buf[0] = {i}usize as u8; std::future::ready(()).await; Ok(self.0 + off) }}"
        );
        if kind == Kind::Hand {
            let _ = writeln!(
                source,
                "pub fn bdrv_read_{i}(&self, off: u64, buf: &mut [u8]) -> std::io::Result<u64> {{ co_wrapper::AioContext::current().block_on(self.bdrv_co_read_{i}(off, buf)) }}"
            );
        }
    }
    source.push_str(
        "}\nfn main() {\nlet disk = Disk(std::process::id().into()); let mut buf = [0; 8]; let mut sum = 0;\n",
    );
    for i in 0..FUNCTIONS {
        if kind == Kind::Bare {
            let _ = writeln!(source, "sum += size_of_val(&disk.bdrv_co_read_{i}(1, &mut buf)) as u64;");
        } else {
            let _ = writeln!(source, "sum += disk.bdrv_read_{i}(1, &mut buf).unwrap();");
        }
    }
    source.push_str("println!(\"{sum}\");\n}\n");
    source
}
