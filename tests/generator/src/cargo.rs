//! Crates of generated functions: one an edition, in a workspace of their own, built and run.

use crate::function::{EDITIONS, Function};
use crate::render;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs, io};

/// What a batch came to: how each function that failed did, by its seed.
pub struct Outcome {
    pub failures: BTreeMap<u64, String>,
    pub building: Duration,
}

pub struct Workshop {
    folder: PathBuf,
}

impl Workshop {
    pub fn open() -> io::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let folder = root.join(env::var_os("CO_WRAPPER_GENERATOR_DIR").unwrap_or("target/generator".into()));
        for edition in EDITIONS {
            fs::create_dir_all(folder.join(edition).join("src"))?;
            let manifest = format!(
                "[package]\nname = \"e{edition}\"\nversion = \"0.0.0\"\nedition = \"{edition}\"\n\n\
                 [dependencies]\nasync-trait = \"0.1\"\nfutures-core = \"0.3\"\n\
                 co-wrapper = {{ path = {root:?}, features = [\"stream\"] }}\n"
            );
            fs::write(folder.join(edition).join("Cargo.toml"), manifest)?;
        }
        let members = "[workspace]\nmembers = [\"2018\", \"2021\", \"2024\"]\nresolver = \"2\"\n\
                       [profile.dev]\ndebug = false\nincremental = false\n";
        fs::write(folder.join("Cargo.toml"), members)?;
        fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
        Ok(Workshop { folder })
    }

    pub fn run(&self, functions: &[Function]) -> io::Result<Outcome> {
        let mut failures = BTreeMap::new();
        for edition in EDITIONS {
            let functions: Vec<&Function> = functions.iter().filter(|f| f.edition() == edition).collect();
            fs::write(self.folder.join(edition).join("src/main.rs"), source(&functions))?;
        }
        let start = Instant::now();
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["build", "--quiet", "--offline", "--keep-going", "--message-format", "short"]);
        let output = cargo.current_dir(&self.folder).env_remove("CARGO_TARGET_DIR").output()?;
        let building = start.elapsed();
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            for line in text.lines() {
                if let Some((seed, message)) = self.blame(line) {
                    failures.entry(seed).or_insert_with(|| format!("does not compile: {message}"));
                }
            }
            if failures.is_empty() {
                return Err(io::Error::other(format!("cargo build failed:\n{text}")));
            }
            return Ok(Outcome { failures, building });
        }
        for edition in EDITIONS {
            let output = Command::new(self.folder.join(format!("target/debug/e{edition}"))).output()?;
            let text = String::from_utf8_lossy(&output.stdout);
            for line in text.lines().filter_map(|line| line.strip_prefix("DIFFERS ")) {
                if let Some((seed, message)) = line.split_once(": ") {
                    failures.insert(seed.parse().unwrap_or_default(), format!("differs: {message}"));
                }
            }
            if !output.status.success() || !text.ends_with("done\n") {
                let stderr = String::from_utf8_lossy(&output.stderr);
                return Err(io::Error::other(format!(
                    "the program of {edition} broke off: {}\n{stderr}",
                    output.status
                )));
            }
        }
        Ok(Outcome { failures, building })
    }

    /// `2021/src/main.rs:120:5: error…`: each function stands on lines of its own, after a comment with its seed.
    fn blame(&self, line: &str) -> Option<(u64, String)> {
        let (place, message) = line.split_once(": ").filter(|(_, message)| message.starts_with("error"))?;
        let mut place = place.split(':');
        let (file, line) = (place.next()?, place.next()?.parse::<usize>().ok()?);
        let text = fs::read_to_string(self.folder.join(file)).ok()?;
        let before: Vec<&str> = text.lines().take(line).collect();
        let seed = before.iter().rev().find_map(|line| line.strip_prefix("// seed "))?;
        Some((seed.parse().ok()?, message.to_owned()))
    }
}

fn source(functions: &[&Function]) -> String {
    let mut source = include_str!("../support.rs").to_owned();
    for function in functions {
        let _ = write!(source, "\n// seed {}\n{}\n", function.seed, render::module(function));
    }
    source.push_str("\nfn main() {\n");
    for function in functions {
        let _ = writeln!(source, "    f{}::run();", function.seed);
    }
    source.push_str("    println!(\"done\");\n}\n");
    source
}
