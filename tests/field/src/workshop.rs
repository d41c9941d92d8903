//! Fetches, copies and builds the packages, and compares what cargo says of a copy with what it says of the original.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fmt, fs, io,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{annotate::Found, packages::Package, rewrite::rewrite};

/// The folder that everything is done in.
pub struct Workshop {
    folder: PathBuf,
    /// Where the published sources are, by name.
    sources: BTreeMap<String, PathBuf>,
}

/// What became of a package.
pub struct Row {
    name: &'static str,
    functions: usize,
    twins: usize,
    new_warnings: usize,
    /// Tests that passed, those before, and how many calls in them were rewritten.
    tests: Option<(usize, usize, usize)>,
}

impl Row {
    pub fn is_well(&self) -> bool {
        let Self { twins, new_warnings, tests, .. } = *self;
        twins > 0 && new_warnings == 0 && tests.is_none_or(|(passed, before, calls)| passed == before && calls > 0)
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, functions, twins, new_warnings, tests } = self;
        write!(f, "{name:<14} {functions:>5} {twins:>6} {new_warnings:>13}  ")?;
        match tests {
            Some((passed, before, calls)) => write!(f, "{passed} passed of {before}, {calls} calls rewritten"),
            None => write!(f, "–"),
        }
    }
}

impl Workshop {
    /// Has cargo fetch all packages.
    pub fn open() -> io::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let folder = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("field");
        let fetch = folder.join("fetch");
        fs::create_dir_all(&fetch)?;
        fs::write(fetch.join("lib.rs"), "")?;
        let mut manifest =
            "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\n\n[lib]\npath = \"lib.rs\"\n\n[workspace]\n\n\
                            [dependencies]\n"
                .to_owned();
        for Package { name, version, .. } in &crate::PACKAGES {
            manifest += &format!("{name} = \"={version}\"\n");
        }
        fs::write(fetch.join("Cargo.toml"), manifest)?;
        let output = cargo(&fetch, &["metadata", "--format-version=1"]).output()?;
        let metadata: Value = serde_json::from_slice(&succeeded(output)?.stdout)?;
        let sources = metadata["packages"].as_array().into_iter().flatten().filter_map(|package| {
            let name = package["name"].as_str()?;
            let chosen = crate::PACKAGES.iter().find(|chosen| chosen.name == name)?;
            let manifest = Path::new(package["manifest_path"].as_str()?);
            (package["version"] == chosen.version).then(|| Some((name.to_owned(), manifest.parent()?.to_owned())))?
        });
        Ok(Self { sources: sources.collect(), folder })
    }

    /// Copies, annotates, checks and tests a package.
    pub fn try_package(&self, package: &Package) -> io::Result<Row> {
        let plain = self.copy(package, "plain")?;
        let marked = self.copy(package, "marked")?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let mut manifest = fs::read_to_string(marked.join("Cargo.toml"))?;
        manifest += &format!("\n[dependencies.co-wrapper]\npath = {root:?}\n");
        fs::write(marked.join("Cargo.toml"), manifest)?;

        let mut files = Vec::new();
        rust_files(&marked.join("src"), &mut files)?;
        let mut found = Found::default();
        let mut parsed = Vec::new();
        for path in files {
            let text = fs::read_to_string(&path)?;
            // What is no Rust that syn knows is left as it is.
            if let Ok(file) = syn::parse_file(&text) {
                found.look_for_traits(&file);
                parsed.push((path, text, file));
            }
        }
        for (path, text, file) in &parsed {
            fs::write(path, found.annotate(text, file))?;
        }
        let before = warnings(&check(&plain, package, &[])?);
        let after = warnings(&check(&marked, package, &[])?);
        let new: Vec<_> = after.difference(&before).collect();
        for text in &new {
            println!("{text}");
        }

        let mut row = Row {
            name: package.name,
            functions: found.functions,
            twins: found.marked,
            new_warnings: new.len(),
            tests: None,
        };
        if package.tests {
            let before = self.passed(&plain, package)?;
            let mut calls = 0;
            for (path, ..) in &parsed {
                let text = fs::read_to_string(path)?;
                let file = syn::parse_file(&text).map_err(io::Error::other)?;
                let (text, rewritten) = rewrite(&text, &file, &found);
                calls += rewritten;
                fs::write(path, text)?;
            }
            let after = self.passed(&marked, package)?;
            row.tests = Some((after, before, calls));
        }
        Ok(row)
    }

    /// Builds and runs the tests in a package's sources: how many passed.
    fn passed(&self, folder: &Path, package: &Package) -> io::Result<usize> {
        let built =
            cargo(folder, &["test", "--lib", "--no-run", "--message-format=json"]).args(features(package)).output()?;
        let program = json_lines(&succeeded(built)?.stdout)?
            .iter()
            .find_map(|message| message["executable"].as_str().map(str::to_owned))
            .ok_or_else(|| io::Error::other("cargo built no test program"))?;
        let log = self.folder.join("tests.log");
        let file = fs::File::create(&log)?;
        let mut tests = Command::new(program);
        tests.current_dir(folder).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        // One that hangs says where.
        let mut tests = tests.env("CO_WRAPPER_HANG_SECS", "30").spawn()?;
        let start = Instant::now();
        let status = loop {
            match tests.try_wait()? {
                Some(status) => break status,
                None if start.elapsed() < MOST => thread::sleep(Duration::from_millis(50)),
                None => {
                    tests.kill()?;
                    break tests.wait()?;
                }
            }
        };
        let said = String::from_utf8_lossy(&fs::read(log)?).into_owned();
        if !status.success() {
            return Err(io::Error::other(format!(
                "its tests: {status} after {:.0?}\n{}",
                start.elapsed(),
                tail(&said)
            )));
        }
        let counts = said.lines().filter_map(|line| {
            let (count, _) = line.strip_prefix("test result: ok. ")?.split_once(" passed")?;
            count.parse::<usize>().ok()
        });
        Ok(counts.sum())
    }

    /// A copy of what was published, as a workspace of its own that any toolchain builds.
    fn copy(&self, package: &Package, kind: &str) -> io::Result<PathBuf> {
        let from = self.sources.get(package.name).ok_or_else(|| io::Error::other("cargo did not fetch it"))?;
        let to = self.folder.join(package.name).join(kind);
        if to.exists() {
            fs::remove_dir_all(&to)?;
        }
        copy_folder(from, &to)?;
        for file in ["rust-toolchain.toml", "rust-toolchain", "Cargo.lock"] {
            match fs::remove_file(to.join(file)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let manifest = fs::read_to_string(to.join("Cargo.toml"))?;
        fs::write(to.join("Cargo.toml"), manifest + "\n[workspace]\n")?;
        Ok(to)
    }
}

/// How long a package's tests may take, which are done in seconds.
const MOST: Duration = Duration::from_secs(600);

/// This cargo in that folder, with one target folder for all.
fn cargo(folder: &Path, arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(arguments).current_dir(folder).env("CARGO_TARGET_DIR", folder.join("../../build"));
    cargo.stdin(Stdio::null());
    cargo
}

fn features(package: &Package) -> [String; 1] {
    [format!("--features={}", package.features)]
}

/// Every message of `cargo check` on the package itself.
fn check(folder: &Path, package: &Package, more: &[&str]) -> io::Result<Vec<Value>> {
    // Checked anew each time: cargo repeats the messages of what it has checked, and those of the dependencies are not asked
    // for.
    let output = cargo(folder, &["check", "--message-format=json"]).args(features(package)).args(more).output()?;
    let messages = json_lines(&succeeded(output)?.stdout)?;
    Ok(messages.into_iter().filter(|message| message["reason"] == "compiler-message").collect())
}

fn json_lines(text: &[u8]) -> io::Result<Vec<Value>> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok(lines.map(serde_json::from_slice::<Value>).collect::<Result<Vec<_>, _>>()?)
}

/// Each warning by its lint, text and line. Marks are written into lines that there are, so lines stay. What is found in a
/// signature is told of once or twice at one place, for the twin repeats it.
fn warnings(messages: &[Value]) -> BTreeSet<String> {
    let mut warnings = BTreeSet::new();
    for message in messages {
        let message = &message["message"];
        let text = message["message"].as_str().unwrap_or_default();
        let code = message["code"]["code"].as_str().unwrap_or_default();
        let span = message["spans"].as_array().into_iter().flatten().find(|span| span["is_primary"] == true);
        // One without a place counts the others.
        if let Some(span) = span {
            warnings.insert(format!(
                "{}:{}: {code}: {text}",
                span["file_name"].as_str().unwrap_or_default(),
                span["line_start"]
            ));
        }
    }
    warnings
}

fn succeeded(output: Output) -> io::Result<Output> {
    if output.status.success() {
        return Ok(output);
    }
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let rendered = stdout.lines().filter_map(|line| {
        let message = serde_json::from_str::<Value>(line).ok()?;
        message["message"]["rendered"].as_str().map(str::to_owned)
    });
    let rendered: String = rendered.filter(|text| text.starts_with("error")).take(20).collect();
    Err(io::Error::other(format!("{}\n{rendered}\n{stderr}\n{}", output.status, tail(&stdout))))
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('{')).collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            // Without the registry's permissions, which forbid writing.
            fs::write(to, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}
