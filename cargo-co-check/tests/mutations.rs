//! Mistakes sown in programs that have none: every `mixed` twin is made plain, and where an async body awaits the async fn of a
//! twin, it calls the twin instead. Each of these places is to be found, and nothing was found before.

mod program;

use program::{co_check, copy, dependencies, folder, root};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The async fns under a `#[co_wrapper(…)]` of their own, whose twins take the same arguments.
fn wrapped(source: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in source.match_indices("#[co_wrapper") {
        let (mark, rest) = source[at..].split_once(']').unwrap();
        // With the lock's witness the twin has another parameter less.
        if mark.contains("bdrv_rdlock") {
            continue;
        }
        let item = rest.lines().find(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//")).unwrap();
        if let Some((_, name)) = item.split_once("async fn ") {
            names.insert(name.split(['(', '<']).next().unwrap().to_owned());
        }
    }
    names
}

/// Where the parenthesis that is open there ends.
fn closed(text: &str) -> usize {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    panic!("no end of the arguments")
}

/// With mistakes, and their lines. `names` says in which module each async fn is.
fn sown(source: &str, names: &BTreeMap<String, String>) -> (String, Vec<u32>) {
    let plain =
        source.replace("#[co_wrapper(mixed)]", "#[co_wrapper]").replace("#[co_wrapper(mixed, ", "#[co_wrapper(");
    let mut text = String::new();
    let mut lines = Vec::new();
    let mut rest = plain.as_str();
    'places: while !rest.is_empty() {
        let next =
            names.iter().filter_map(|(name, module)| Some((rest.find(&format!("{name}("))?, name, module))).min();
        let Some((at, name, module)) = next else { break };
        let end = at + name.len();
        let is_call = !rest[..at].ends_with("fn ") && !rest[..at].ends_with(|c: char| c == '_' || c.is_alphanumeric());
        if is_call {
            let arguments = end + closed(&rest[end..]);
            if let Some(after) = rest[arguments..].trim_start().strip_prefix(".await") {
                text += &rest[..at];
                lines.push(text.matches('\n').count() as u32 + 1);
                if !rest[..at].ends_with('.') {
                    text += module;
                }
                text += &name.replacen("co_", "", 1);
                text += &rest[end..arguments];
                rest = after;
                continue 'places;
            }
        }
        text += &rest[..end];
        rest = &rest[end..];
    }
    (text + rest, lines)
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

fn errors(folder: &Path) -> BTreeSet<(String, u32)> {
    let findings = co_check(folder, &[]);
    let errors = findings.iter().filter(|finding| finding["level"] == "error");
    let places = errors.flat_map(|finding| {
        let chain = finding["chain"].as_array().unwrap().iter().map(|step| &step["goes_on_at"]);
        chain.chain([&finding["place"]]).cloned().collect::<Vec<_>>()
    });
    places.map(|place| (place["file"].as_str().unwrap().to_owned(), place["line"].as_u64().unwrap() as u32)).collect()
}

/// `crate::a::` for `src/a.rs`.
fn module(sources: &Path, file: &Path) -> String {
    let file = file.strip_prefix(sources).unwrap().with_extension("");
    let parts = file.iter().map(|part| part.to_str().unwrap()).filter(|part| !["main", "lib", "mod"].contains(part));
    ["crate"].into_iter().chain(parts).map(|part| format!("{part}::")).collect()
}

/// Sows mistakes in that package and counts which are found: of how many.
fn found(name: &str, folder: &Path) -> (usize, usize) {
    assert_eq!(errors(folder), BTreeSet::new(), "{name}, before");
    let mut files = Vec::new();
    sources(&folder.join("src"), &mut files);
    let texts: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let names: BTreeMap<String, String> = files
        .iter()
        .zip(&texts)
        .flat_map(|(file, text)| wrapped(text).into_iter().map(|name| (name, module(&folder.join("src"), file))))
        .collect();
    let mut sown_at = Vec::new();
    for (file, text) in files.iter().zip(texts) {
        let (text, lines) = sown(&text, &names);
        fs::write(file, text).unwrap();
        let file = file.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
        sown_at.extend(lines.into_iter().map(|line| (file.clone(), line)));
    }
    let errors = errors(folder);
    let missed: Vec<_> = sown_at.iter().filter(|place| !errors.contains(place)).collect();
    println!("{name}: {} of {} found; missed {missed:?}", sown_at.len() - missed.len(), sown_at.len());
    (sown_at.len() - missed.len(), sown_at.len())
}

/// Catches: ways of real programs from async code to twins that the analysis loses.
#[test]
fn mistakes_sown_in_the_examples_are_found() {
    let tool = folder("co-img");
    let from = root().join("examples/co-img");
    copy(&from.join("src"), &tool.join("src"));
    let manifest = fs::read_to_string(from.join("Cargo.toml")).unwrap();
    let (manifest, _) = manifest.split_once("[dev-dependencies]").unwrap();
    let manifest = manifest
        .replace("rust-version.workspace = true\n", "")
        .replace("version.workspace = true", "version = \"0.1.0\"")
        .replace("edition.workspace = true", "edition = \"2024\"")
        .replace("license.workspace = true\n", "");
    let (package, own) = manifest.split_once("[dependencies]\n").unwrap();
    let shared = dependencies();
    let is_shared = |line: &str| line.split_once(" =").is_some_and(|(name, _)| shared.contains(&format!("\n{name} =")));
    let own: String = own.lines().filter(|line| !is_shared(line)).map(|line| format!("{line}\n")).collect();
    let manifest = format!("{package}{shared}{own}");
    fs::write(tool.join("Cargo.toml"), manifest + "[workspace]\n").unwrap();

    let graph = folder("blockgraph");
    fs::copy(root().join("examples/blockgraph.rs"), graph.join("src/main.rs")).unwrap();
    copy(&root().join("examples/long_run"), &graph.join("src/long_run"));
    let manifest = format!(
        "[package]\nname = \"blockgraph\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[workspace]\n{}",
        dependencies()
    );
    fs::write(graph.join("Cargo.toml"), manifest).unwrap();

    let counts = [found("blockgraph", &graph), found("co-img", &tool)];
    let (found, sown) = counts.into_iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    assert!(sown >= 12 && found == sown, "{found} of {sown}");
}
