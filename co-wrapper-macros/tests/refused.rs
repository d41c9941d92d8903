//! What is refused, and how: the cases in the workspace's `tests/ui` (a link leads there), each of whose errors is ours. trybuild compares all that
//! rustc prints with the `.stderr` beside the case; it is the same with every rustc. `TRYBUILD=overwrite cargo test -p
//! co-wrapper-macros --test refused` writes it anew. And `tests/ui/pass` has programs of which nothing is refused, and which
//! run.
//!
//! This is a test of this package because trybuild builds all that its package depends on once more, and this one depends on
//! little. Cases whose errors rustc words are those of the workspace's `tests/ui.rs`.

#[test]
fn our_errors_are_the_same_to_the_letter_and_what_is_accepted_runs() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
