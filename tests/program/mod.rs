//! The examples as child processes, for the driver's test programs.

#![allow(dead_code, reason = "each test program uses its part")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use co_wrapper_test_support::run;

static BLOCKDEV: LazyLock<PathBuf> = LazyLock::new(|| built("blockdev"));

/// Builds an example, because `cargo test --test nbd` builds none: into the test's target folder, in a profile like the
/// test's. The whole workspace is named, because its packages decide together on the features of what they depend on: after
/// `cargo test --workspace` nothing of that is built once more.
pub fn built(example: &str) -> PathBuf {
    // Not from the name of a folder around the test program: newer cargos have others there.
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--offline", "--workspace", "--message-format=json"]);
    cargo.args(["--profile", profile, "--example", example]);
    cargo.arg("--target-dir").arg(Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap());
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    // Where that is depends on cargo's configuration, and cargo says it.
    let messages = str::from_utf8(&output.stdout).unwrap().lines();
    let messages = messages.map(|message| serde_json::from_str::<serde_json::Value>(message).unwrap());
    let mut ours = messages.filter(|message| message["target"]["name"] == example);
    ours.find_map(|message| Some(message["executable"].as_str()?.into())).expect("an executable")
}

/// What the example `blockdev`, run with `args`, says: whether it succeeded, its stdout, its stderr.
pub fn example(args: &[&str]) -> (bool, String, String) {
    said(&BLOCKDEV, args)
}

/// What a program, run with `args`, says.
pub fn said(program: &Path, args: &[&str]) -> (bool, String, String) {
    let output = run(Command::new(program).args(args));
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.success(), out, err)
}

/// The contract for bad input: nothing on stdout, one line on stderr that names the thing and the cause, failure.
pub fn assert_one_line(url: &str, cause: &str) {
    let (success, out, err) = example(&[url]);
    assert!(!success && out.is_empty(), "{url}: {out}{err}");
    assert!(err.ends_with('\n') && err.lines().count() == 1, "{url}: {err}");
    assert!(err.starts_with(&format!("blockdev: {url}: ")) && err.contains(cause), "{url}: {err} lacks {cause:?}");
}
