//! What is refused, and the exact message. `TRYBUILD=overwrite cargo test --test ui` writes the messages anew.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[test]
fn ui() {
    let tests = trybuild::TestCases::new();
    tests.pass("tests/ui/pass/*.rs");
    tests.compile_fail("tests/ui/*.rs");
    tests.compile_fail("tests/ui/user/*.rs");
}

/// In `tests/ui/user` nothing is wrong but the user's own code, and of that rustc says with our attributes what it says
/// without: the same messages at the same places, each once.
#[test]
fn the_user_s_errors_are_told_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui/user");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "rs")).collect();
    assert!(!files.is_empty());
    for path in files {
        let marked = fs::read_to_string(path.with_extension("stderr")).unwrap();
        assert_eq!(messages(&marked), messages(&unmarked(&path)), "{}", path.display());
    }
}

/// What rustc says of the file without its lines that name us.
fn unmarked(path: &Path) -> String {
    let source = fs::read_to_string(path).unwrap();
    let lines = source.lines().map(|line| if line.contains("co_wrapper") { "" } else { line });
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain.rs");
    fs::write(&plain, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    // As trybuild has it compiled.
    let arguments =
        ["--edition=2024", "--emit=metadata", "--crate-type=bin", "-Adead_code", "--color=never", "--out-dir"];
    let output = Command::new(rustc).args(arguments).arg(folder.path()).arg(&plain).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

/// The heads of all messages, and the line and column of each.
fn messages(text: &str) -> Vec<(String, String)> {
    let is_head = |line: &&str| line.starts_with("error") || line.starts_with("warning");
    let mut messages = Vec::new();
    let mut lines = text.lines();
    while let Some(head) = lines.find(is_head) {
        // Without a place, it is how many there were.
        if let Some((_, place)) =
            lines.next().and_then(|line| line.trim_start().strip_prefix("--> ")?.split_once(".rs:"))
        {
            messages.push((head.to_owned(), place.to_owned()));
        }
    }
    messages.sort();
    assert!(!messages.is_empty(), "{text}");
    messages
}
