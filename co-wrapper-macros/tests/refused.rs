//! What is refused, and how: the cases in the workspace's `tests/ui` (a link leads there), each of whose errors is ours. trybuild compares all that
//! rustc prints with the `.stderr` beside the case; it is the same with every rustc. `TRYBUILD=overwrite cargo test -p
//! co-wrapper-macros --test refused` writes it anew. And `tests/ui/pass` has programs of which nothing is refused, and which
//! run.
//!
//! This is a test of this package because trybuild builds all that its package depends on once more, and this one depends on
//! little. Cases whose errors rustc words are those of the workspace's `tests/ui.rs`.

use std::path::Path;

use trybuild::TestCases;

#[test]
fn our_errors_are_the_same_to_the_letter() {
    cases().compile_fail("tests/ui/*.rs");
}

#[test]
fn what_is_accepted_runs() {
    cases().pass("tests/ui/pass/*.rs");
}

fn cases() -> TestCases {
    assert!(
        Path::new("tests/ui").is_dir(),
        "tests/ui is a link to ../../tests/ui; check the repository out with links"
    );
    TestCases::new()
}
