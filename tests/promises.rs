//! Holds docs/contract.md to the tests: each promise ends with links to the files whose tests bear its number, no promise is
//! without one, and no test bears a number that is not promised. `CO_WRAPPER_BLESS=1 cargo test --test promises` writes
//! the links anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

/// Where tests are, from the repository's root.
const FOLDERS: [&str; 5] =
    ["tests", "co-wrapper-runtime/src", "co-wrapper-runtime/tests", "examples", "co-wrapper-macros/src"];

/// Files that show what is not compiled as a test.
const NOT_TESTS: [&str; 3] = ["tests/ui/", "tests/expand/", "tests/lints/"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below `folder`, in order, named from the root with `/`.
fn rust_files(folder: &Path, found: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let parts = path.strip_prefix(root()).unwrap().iter().map(|part| part.to_str().unwrap());
            found.push(parts.collect::<Vec<_>>().join("/"));
        }
    }
}

/// The numbers with which a test's name begins: `x02` and `w06` of `x02_w06_a_call_that…`.
fn numbers(name: &str) -> Vec<&str> {
    let is_number = |part: &&str| {
        let mut bytes = part.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_lowercase())
            && part.len() == 3
            && bytes.all(|byte| byte.is_ascii_digit())
    };
    name.split('_').take_while(is_number).collect()
}

/// The names of the tests in a source file that run without being asked for.
fn tests(source: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut is_test, mut is_ignored) = (false, false);
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[") {
            is_test |= line == "#[test]";
            is_ignored |= line.starts_with("#[ignore");
        } else if let Some(rest) = line.strip_prefix("fn ") {
            if is_test && !is_ignored {
                found.push(rest.split_once(['(', '<']).unwrap().0);
            }
            (is_test, is_ignored) = (false, false);
        } else if !line.starts_with("//") {
            (is_test, is_ignored) = (false, false);
        }
    }
    found
}

/// For each number, the files with tests of it.
fn held_by() -> BTreeMap<String, BTreeSet<String>> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        rust_files(&root().join(folder), &mut files);
    }
    let mut held = BTreeMap::<String, BTreeSet<String>>::new();
    for file in files.iter().filter(|file| !NOT_TESTS.iter().any(|folder| file.starts_with(folder))) {
        for name in tests(&fs::read_to_string(root().join(file)).unwrap()) {
            for number in numbers(name) {
                held.entry(number.to_owned()).or_default().insert(file.clone());
            }
        }
    }
    held
}

/// The number of a promise's first line: `b02` of `- **b02** Bottom halves…`.
fn promised(line: &str) -> Option<&str> {
    line.strip_prefix("- **")?.split_once("**").map(|(number, _)| number)
}

/// The line with links that ends a promise.
fn links(files: &BTreeSet<String>) -> String {
    let links = files.iter().map(|file| {
        let name = file.rsplit('/').next().unwrap().trim_end_matches(".rs");
        format!("[{name}](../{file})")
    });
    format!("  → {}", links.collect::<Vec<_>>().join(", "))
}

/// The page with all links as they should be.
fn with_links(page: &str, held: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut written = String::new();
    let mut open: Option<&str> = None;
    for line in page.lines().filter(|line| !line.starts_with("  → ")).chain([""]) {
        // A promise's further lines are indented.
        if let Some(number) = open
            && !line.starts_with("  ")
        {
            let files =
                held.get(number).unwrap_or_else(|| panic!("{number} is promised, and no test bears its number"));
            written += &(links(files) + "\n");
            open = None;
        }
        if let Some(number) = promised(line) {
            open = Some(number);
        }
        written += &format!("{line}\n");
    }
    written.trim_end().to_owned() + "\n"
}

#[test]
fn every_promise_is_linked_to_its_tests() {
    let path = root().join("docs/contract.md");
    let page = fs::read_to_string(&path).unwrap();
    let held = held_by();

    let promises: BTreeSet<&str> = page.lines().filter_map(promised).collect();
    let strangers: Vec<_> = held.iter().filter(|(number, _)| !promises.contains(number.as_str())).collect();
    assert!(strangers.is_empty(), "tests bear numbers that docs/contract.md does not have: {strangers:?}");

    let right = with_links(&page, &held);
    if env::var_os("CO_WRAPPER_BLESS").is_some() {
        fs::write(path, right).unwrap();
    } else if page != right {
        let wrong = page.lines().zip(right.lines()).find(|(is, should)| is != should);
        panic!(
            "docs/contract.md links to other files than bear the numbers, first where {wrong:?}; run \
             CO_WRAPPER_BLESS=1 cargo test --test promises"
        );
    }
}

#[test]
fn the_numbers_of_a_test_are_read_from_its_name() {
    assert_eq!(numbers("x02_w06_a_call"), ["x02", "w06"]);
    assert!(numbers("a_call_of_x02").is_empty());
    let source =
        "#[test]\n#[cfg(unix)]\nfn a01_one() {}\n#[test]\n#[ignore = \"child\"]\nfn a02_two() {}\nfn a03_three() {}\n";
    assert_eq!(tests(source), ["a01_one"]);
}

#[test]
#[should_panic(expected = "b99 is promised, and no test bears its number")]
fn a_promise_without_a_test_is_found() {
    with_links("- **b99** It flies.\n", &held_by());
}
