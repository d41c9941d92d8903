//! The cases below `tests/cases`: which of them are bad is found by running them, and what `cargo co-check` says of them is
//! compared with that. Two sets, of which one was written before the analysis and is not tuned on.

mod program;

use program::{co_check, package, run};
use std::{collections::BTreeMap, fmt::Write, path::Path};

/// What was found, against what is true.
#[derive(Default)]
struct Score {
    found: usize,
    missed: Vec<String>,
    wrong: Vec<String>,
}

impl Score {
    fn precision(&self) -> f64 {
        self.found as f64 / (self.found + self.wrong.len()) as f64
    }

    fn recall(&self) -> f64 {
        self.found as f64 / (self.found + self.missed.len()) as f64
    }
}

/// Whether each case is bad, by running it.
fn truth(folder: &Path, set: &str) -> BTreeMap<String, bool> {
    let output = run(folder, set);
    let truth: BTreeMap<String, bool> = output
        .lines()
        .map(|line| {
            let (name, truth) = line.split_once(' ').unwrap();
            assert!(name.starts_with(truth), "{name} is {truth}");
            (name.to_owned(), truth == "bad")
        })
        .collect();
    assert!(truth.len() > 40, "{output}");
    truth
}

/// Precision and recall of the findings of these levels; each case is a module, in which the root or the call is.
fn score(truth: &BTreeMap<String, bool>, findings: &[serde_json::Value], levels: &[&str]) -> Score {
    let of_level = findings.iter().filter(|finding| levels.contains(&finding["level"].as_str().unwrap()));
    let roots: Vec<&str> = of_level.map(|finding| finding["root"].as_str().unwrap()).collect();
    let mut score = Score::default();
    for (name, is_bad) in truth {
        // That one is in the library, which has its own root.
        let is_found = roots.iter().any(|root| {
            root.contains(&format!("::{name}::"))
                || name == "bad_library" && root.contains("blk::bad_in_library")
                || name == "bad_generic_of_library" && root.contains("blk::generic_async")
        });
        match (is_bad, is_found) {
            (true, true) => score.found += 1,
            (true, false) => score.missed.push(name.clone()),
            (false, true) => score.wrong.push(name.clone()),
            (false, false) => {}
        }
    }
    score
}

fn assert_scores(set: &str, least: [(&[&str], f64, f64); 2]) {
    let folder = package(set);
    let truth = truth(&folder, set);
    let findings = co_check(&folder, &["-p", "cases", "-p", "blk", "--bin", set, "--lib"]);
    let mut text = String::new();
    let mut is_enough = true;
    for (levels, precision, recall) in least {
        let score = score(&truth, &findings, levels);
        is_enough &= score.precision() >= precision && score.recall() >= recall;
        writeln!(
            text,
            "{set}, {levels:?}: precision {:.2}, recall {:.2}; wrong {:?}, missed {:?}",
            score.precision(),
            score.recall(),
            score.wrong,
            score.missed
        )
        .unwrap();
    }
    println!("{text}");
    assert!(is_enough, "{text}");
}

const ERRORS: &[&str] = &["error"];
const WITH_WARNINGS: &[&str] = &["error", "warning"];

/// Catches: a mistake that is no longer found, and code that is right and is reported.
#[test]
fn errors_of_the_cases_that_it_was_made_with_are_true_and_most_mistakes_are_found() {
    assert_scores("tuned", [(ERRORS, 1.0, 0.9), (WITH_WARNINGS, 0.97, 0.95)]);
}

/// Catches the same, for code that the analysis was not made for.
#[test]
fn errors_of_other_cases_are_true_and_most_mistakes_are_found() {
    assert_scores("held_out", [(ERRORS, 0.95, 0.8), (WITH_WARNINGS, 0.9, 0.93)]);
}

/// Catches: what is different in the IR for a Mac. Nothing is linked, so that no linker for it is needed.
#[test]
#[ignore = "needs the target aarch64-apple-darwin: `.ci/targets` runs it"]
fn a_mac_has_the_same_findings() {
    let folder = package("mac");
    let found = |target: &[&str]| {
        let arguments = [&["-p", "cases", "-p", "blk", "--bins", "--lib"], target].concat();
        let findings = co_check(&folder, &arguments);
        let lines =
            findings.iter().map(|finding| format!("{} {} {}", finding["level"], finding["root"], finding["place"]));
        lines.collect::<std::collections::BTreeSet<_>>()
    };
    let (here, there) = (found(&[]), found(&["--target", "aarch64-apple-darwin"]));
    assert!(here.len() > 60);
    assert_eq!(here, there);
}
