//! The program that is tested, and packages for it. They share a target folder, which the tests' process does not use
//! otherwise, and the lock file of this workspace, so that they need no network.

#![allow(dead_code, reason = "a test uses what it needs of this")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_cargo-co-check");

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A folder of that name, empty but for the lock file.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("co-check").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("src")).unwrap();
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    folder
}

/// What the packages with tokio depend on. All have the same features of it, so that it is compiled once.
pub fn dependencies() -> String {
    format!(
        "[dependencies]\nco-wrapper = {{ path = {:?}, features = [\"coroutine\", \"file\", \"graph\"] }}\nasync-channel = \"2\"\n\
         async-trait = \"0.1\"\nfastrand = \"2\"\nfutures = \"0.3\"\nlibc = \"0.2\"\nsmol = \"2\"\ntempfile = \"3\"\n\
         tokio = {{ version = \"1\", features = [\"full\"] }}\n",
        root()
    )
}

/// The packages of `tests/cases`, copied, as a workspace.
pub fn package(name: &str) -> PathBuf {
    let folder = folder(name);
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"), &folder);
    let manifest = |name: &str, bins: &str| {
        format!("[package]\nname = {name:?}\nversion = \"0.1.0\"\nedition = \"2024\"\n{bins}{}", dependencies())
    };
    let bins = "autobins = false\n[[bin]]\nname = \"tuned\"\npath = \"src/tuned/main.rs\"\n[[bin]]\nname = \"held_out\"\npath = \"src/held_out/main.rs\"\n";
    fs::write(folder.join("Cargo.toml"), "[workspace]\nresolver = \"3\"\nmembers = [\"blk\", \"cases\"]\n").unwrap();
    fs::write(folder.join("blk/Cargo.toml"), manifest("blk", "")).unwrap();
    fs::write(folder.join("cases/Cargo.toml"), manifest("cases", bins) + "blk = { path = \"../blk\" }\n").unwrap();
    folder
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap().path();
        let to = to.join(entry.file_name().unwrap());
        if entry.is_dir() { copy(&entry, &to) } else { fs::copy(&entry, &to).map(drop).unwrap() }
    }
}

/// Where the packages are built.
pub fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("co-check-target")
}

/// Without what this process was given for the build that it is of.
pub fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target())
        .env("CARGO_NET_OFFLINE", "true")
        // Nobody debugs them.
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_TERM_COLOR", "never");
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS", "CARGO_BUILD_TARGET", "RUSTC_WRAPPER"]
    {
        command.env_remove(name);
    }
    command
}

/// What a binary of the package prints.
pub fn run(folder: &Path, bin: &str) -> String {
    let output = command(env!("CARGO"), folder).args(["run", "--quiet", "--bin", bin]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Both of what it printed.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// What `cargo co-check --json` finds there.
pub fn co_check(folder: &Path, arguments: &[&str]) -> Vec<serde_json::Value> {
    let output = command(PROGRAM, folder).args(["co-check", "--json"]).args(arguments).output().unwrap();
    assert!(output.status.success() || output.status.code() == Some(101), "{}", text(&output));
    assert!(text(&output).contains("co-check:"), "{}", text(&output));
    String::from_utf8_lossy(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
