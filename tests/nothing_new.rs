//! Expansions add nothing to what the lints named in `lints/lints.txt` find in the same code without them: clippy goes over
//! `lints/shapes.rs` and `lints/odd.rs` with the marks and without. Of which releases those lints are, and `EXCEPTED` is all
//! that is found, says `KNOWN`; with another there is nothing to say.

mod package;

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Command;

const KNOWN: RangeInclusive<u32> = 95..=95;

/// Lints that an expansion may add, and why a twin written by hand has them too.
const EXCEPTED: &[(&str, &str)] = &[
    (
        "clippy::missing_inline_in_public_items",
        "`#[inline]` is for the async fn: what the twin calls is inlined into it as it is",
    ),
    (
        "clippy::arbitrary_source_item_ordering",
        "the twin stands beside its async fn, and a declaration where it is written",
    ),
    ("clippy::future_not_send", "a coroutine stays on its thread, and so does the twin that runs one"),
    ("clippy::inherent_to_string", "of the twin's name"),
    ("clippy::iter_not_returning_iterator", "of the twin's name"),
    ("clippy::len_without_is_empty", "of the twin's name"),
    ("clippy::new_ret_no_self", "of the twin's name"),
    ("clippy::same_name_method", "of the twin's name"),
    ("clippy::single_call_fn", "the twin does call the async fn, and perhaps nothing else does so by its path"),
    ("clippy::should_implement_trait", "of the twin's name"),
];

/// Where in a package each lint finds something, by line and column. What is found twice at one place, in a signature that
/// the twin repeats, rustc tells of once or twice, as it compiles incrementally or not.
fn lint(folder: &Path, package: &str) -> BTreeSet<(String, usize, usize)> {
    let mut cargo = package::cargo("clippy", folder);
    cargo.args(["--message-format=json", "-p", package, "--"]);
    let lints = include_str!("lints/lints.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    cargo.args(lints.flat_map(|lint| ["--warn", lint]));
    let output = cargo.output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let errors: Vec<_> = stdout.lines().filter(|line| line.contains(r#""level":"error""#)).collect();
    assert!(output.status.success(), "{errors:?}{}", String::from_utf8_lossy(&output.stderr));
    let mut found = BTreeSet::new();
    for message in stdout.lines().filter(|line| line.contains(r#""reason":"compiler-message""#)) {
        // `"code":{"code":"clippy::…"`, and in the text ` --> lints-2024/src/lib.rs:6:3`; what is said of all is of line 0.
        let Some((_, lint)) = message.rsplit_once(r#""code":{"code":""#) else { continue };
        let lint = lint.split('"').next().unwrap().to_owned();
        let place = message.split_once("--> ").map(|(_, place)| place.split([':', '\\']).skip(1));
        let mut place = place.into_iter().flatten().map(|number| number.parse().unwrap());
        found.insert((lint, place.next().unwrap_or(0), place.next().unwrap_or(0)));
    }
    found
}

/// The same lines, but for those of our marks.
fn without_marks(source: &str) -> String {
    let mut declared = false;
    let lines = source.lines().map(|line| {
        declared |= line.starts_with("co_wrapper::declare!");
        let ours = ["#[co_wrapper", "#[no_co_wrapper", "#[derive(co_wrapper"]
            .iter()
            .any(|mark| line.trim_start().starts_with(mark));
        let kept = if declared || ours { "//" } else { line };
        declared &= line != "}";
        format!("{kept}\n")
    });
    lines.collect()
}

/// A toolchain may lack it, which is said; with `CO_WRAPPER_REQUIRE_CLIPPY=1` it may not.
fn clippy_is_here() -> bool {
    let version = Command::new(env!("CARGO")).args(["clippy", "--version"]).output().unwrap();
    let required = std::env::var("CO_WRAPPER_REQUIRE_CLIPPY").as_deref() == Ok("1");
    assert!(version.status.success() || !required, "{}", String::from_utf8_lossy(&version.stderr));
    if !version.status.success() {
        eprintln!("not tested: no clippy; `rustup component add clippy`");
    }
    version.status.success()
}

#[test]
fn nothing_new() {
    if !clippy_is_here() || !package::rustc_is_one_of(KNOWN) {
        return;
    }
    let folder = package::folder("lints");
    let source = concat!(include_str!("lints/shapes.rs"), "\n", include_str!("lints/odd.rs"));
    for (name, edition) in [("lints-2018", "2018"), ("lints-2024", "2024")] {
        for (package, source) in [(format!("{name}-bare"), without_marks(source)), (name.to_owned(), source.to_owned())]
        {
            fs::create_dir_all(folder.join(&package).join("src")).unwrap();
            fs::write(folder.join(&package).join("src/lib.rs"), source).unwrap();
            let manifest = format!(
                "[package]\nname = \"{package}\"\nversion = \"0.0.0\"\nedition = \"{edition}\"\n\n\
                 [dependencies]\n{}",
                package::checked()
            );
            fs::write(folder.join(&package).join("Cargo.toml"), manifest).unwrap();
        }
    }
    fs::write(folder.join("Cargo.toml"), "[workspace]\nmembers = [\"lints-*\"]\nresolver = \"3\"\n").unwrap();

    let mut new = String::new();
    let mut excepted: Vec<&str> = EXCEPTED.iter().map(|(lint, _)| *lint).collect();
    for package in ["lints-2018", "lints-2024"] {
        let bare = lint(&folder, &format!("{package}-bare"));
        // What is common in the shapes themselves is found: the lints are on.
        assert!(bare.iter().any(|(lint, ..)| lint == "clippy::implicit_return"), "{bare:?}");
        for (lint, line, _) in lint(&folder, package).difference(&bare) {
            excepted.retain(|excepted| excepted != lint);
            if !EXCEPTED.iter().any(|(excepted, _)| excepted == lint) {
                let text = source.lines().nth(line.wrapping_sub(1)).unwrap_or_default();
                new += &format!("{package}: {lint} at {line}: {text}\n");
            }
        }
    }
    assert!(new.is_empty(), "{new}");
    assert!(excepted.is_empty(), "nothing to except any more: {excepted:?}");
}
