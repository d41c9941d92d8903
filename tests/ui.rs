//! What is refused, and how. There are three kinds of cases:
//!
//! - `tests/ui/*.rs`: each error is ours. The `.stderr` beside the case has the whole of what rustc prints, which is the
//!   same with every rustc. `co-wrapper-macros/tests/refused.rs` runs these with trybuild, and the programs of
//!   `tests/ui/pass`, of which nothing is refused.
//! - `tests/ui/rustc/*.rs`: errors that rustc words, differently with every release. The `.expect` beside the case has
//!   what we answer for: each error's code and place, and of its words the names that an expansion made. An error of
//!   ours among them is there in full. `UPDATE_EXPECT=1 cargo test --test ui` writes it anew.
//! - `tests/ui/user/*.rs`: nothing is wrong but the user's own code. Of that rustc says with our attributes what it
//!   says without.
//!
//! Types in the cases are their own, so that no error is about std's source, which only some machines have.

mod package;

use expect_test::expect_file;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::ops::RangeInclusive;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

/// A case whose error some releases of rustc tell of twice, and those that tell of it once.
const TOLD_ONCE_BY: (&str, RangeInclusive<u32>) = ("no_co_lifetime", 88..=100);

#[test]
fn rustc_s_errors_are_where_they_belong() {
    let cases = cases("tests/ui/rustc");
    let sources = cases.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect();
    let messages = compile("ui-rustc", &sources);
    let mut failed = Vec::new();
    for path in &cases {
        if name(path) == TOLD_ONCE_BY.0 && !package::rustc_is_one_of(TOLD_ONCE_BY.1) {
            continue;
        }
        let messages = &messages[&name(path)];
        let found = describe(messages, &sources[&name(path)]);
        let expected = expect_file![path.with_extension("expect")];
        // Each is compared, and with `UPDATE_EXPECT` written, before the test fails.
        if panic::catch_unwind(AssertUnwindSafe(|| expected.assert_eq(&found))).is_err() {
            let rendered: String = messages.iter().map(|message| &*message.rendered).collect();
            failed.push(format!("{}: rustc says\n{rendered}", path.display()));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The same messages at the same places, each as often.
#[test]
fn the_user_s_errors_are_told_once() {
    let cases = cases("tests/ui/user");
    let mut sources = BTreeMap::new();
    for path in &cases {
        let source = fs::read_to_string(path).unwrap();
        let unmarked =
            source.lines().map(|line| if line.contains("co_wrapper") { "\n".into() } else { format!("{line}\n") });
        sources.insert(format!("{}_unmarked", name(path)), unmarked.collect());
        sources.insert(name(path), source);
    }
    let messages = compile("ui-user", &sources);
    let mut differ = String::new();
    for path in &cases {
        let [marked, unmarked] = [name(path), format!("{}_unmarked", name(path))].map(|name| &messages[&name]);
        if said(marked) != said(unmarked) {
            let line = |said: &Said| format!("  {}:{} {}: {}\n", said.start.0, said.start.1, said.head(), said.text);
            let [marked, unmarked] =
                [marked, unmarked].map(|messages| said(messages).into_iter().map(line).collect::<String>());
            let _ = write!(differ, "{}, with the attributes:\n{marked}and without:\n{unmarked}", path.display());
        }
    }
    assert!(differ.is_empty(), "{differ}");
}

#[test]
fn every_expectation_has_its_case() {
    for (folder, end) in [("tests/ui", "stderr"), ("tests/ui/rustc", "expect"), ("tests/ui/user", "")] {
        for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let path = file.unwrap().path();
            let is_case = path.extension().is_some_and(|of| of == "rs");
            let is_expectation = path.extension().is_some_and(|of| of == end) && path.with_extension("rs").exists();
            assert!(path.is_dir() || is_case || is_expectation, "{} belongs to no case", path.display());
        }
    }
}

/// In the order of the source.
fn said(messages: &[Message]) -> Vec<&Said> {
    let mut said: Vec<&Said> = messages.iter().map(|message| &message.said).collect();
    said.sort();
    said
}

fn cases(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut cases: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "rs")).collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

fn name(case: &Path) -> String {
    case.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// An error or a warning.
struct Message {
    said: Said,
    /// Like `compile_error!` says something: no code, no label, no note.
    is_bare: bool,
    rendered: String,
}

/// What is compared, and ordered by: the place first. Lines and columns begin with 1.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    start: (u64, u64),
    end: (u64, u64),
    level: String,
    code: Option<String>,
    text: String,
}

impl Message {
    /// Not of what has no place, such as how many errors there were.
    fn new(message: &Value, name: &str) -> Option<Self> {
        let primary = message["spans"].as_array()?.iter().find(|span| span["is_primary"] == true)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let rendered = text(&message["rendered"])?;
        let file = Path::new(primary["file_name"].as_str()?);
        assert!(file.ends_with(format!("src/bin/{name}.rs")), "not told of the user's own code:\n{rendered}");
        let place = |line: &str, column: &str| Some((primary[line].as_u64()?, primary[column].as_u64()?));
        let said = Said {
            start: place("line_start", "column_start")?,
            end: place("line_end", "column_end")?,
            level: text(&message["level"])?,
            code: text(&message["code"]["code"]),
            text: text(&message["message"])?,
        };
        let has_notes = !primary["label"].is_null() || !message["children"].as_array()?.is_empty();
        Some(Message { is_bare: said.code.is_none() && !has_notes, said, rendered })
    }
}

impl Said {
    /// `error[E0277]`
    fn head(&self) -> String {
        self.code.as_ref().map_or(self.level.clone(), |code| format!("{}[{code}]", self.level))
    }
}

/// A package of these programs.
fn write(package: &str, sources: &BTreeMap<String, String>, dependencies: &str) -> PathBuf {
    let folder = package::folder(package);
    fs::create_dir(folder.join("src/bin")).unwrap();
    for (name, source) in sources {
        fs::write(folder.join(format!("src/bin/{name}.rs")), source).unwrap();
    }
    let manifest = format!(
        "[package]\nname = \"{package}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [lints.rust]\ndead_code = \"allow\"\n\n[dependencies]\n{dependencies}"
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    folder
}

/// What rustc says of each of these programs, by its name, in the order in which it says it; of none it says nothing.
fn compile(package: &str, sources: &BTreeMap<String, String>) -> BTreeMap<String, Vec<Message>> {
    let folder = write(package, sources, &package::checked());
    let mut cargo = package::cargo("check", &folder);
    let output = cargo.args(["--bins", "--keep-going", "--message-format=json"]).output().unwrap();

    let mut messages: BTreeMap<String, Vec<Message>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let Some(name) = line["target"]["name"].as_str().filter(|name| sources.contains_key(*name)) else { continue };
        let message = Message::new(&line["message"], name);
        messages.entry(name.to_owned()).or_default().extend(message);
    }
    for name in sources.keys() {
        let messages = messages.entry(name.clone()).or_default();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            messages.iter().any(|message| message.said.level == "error"),
            "no error in {name}; cargo says {stderr}"
        );
    }
    messages
}

/// The errors, in the order of the source, as an `.expect` file shows them.
fn describe(messages: &[Message], source: &str) -> String {
    let mut text = String::new();
    let mut errors: Vec<&Message> = messages.iter().filter(|message| message.said.level == "error").collect();
    errors.sort_by_key(|message| &message.said);
    for Message { said, is_bare, .. } in errors {
        let (line, column) = said.start;
        let _ = writeln!(text, "{line}:{column} {}", said.head());
        if *is_bare {
            let _ = writeln!(text, "says {}", said.text);
        }
        let quoted = said.code.iter().flat_map(|_| said.text.split('`').skip(1).step_by(2));
        for name in quoted.filter(|quoted| is_made(quoted, source)) {
            let _ = writeln!(text, "names `{name}`");
        }
        let shown = source.lines().nth(line as usize - 1).unwrap();
        let _ = writeln!(text, "| {shown}\n| {}^\n", " ".repeat(column as usize - 1));
    }
    text
}

/// Whether this is a name that the source does not have: so the expansion made it.
fn is_made(quoted: &str, source: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    quoted.chars().all(is_part) && !source.split(|c| !is_part(c)).any(|word| word == quoted)
}
