//! What is refused, and the exact message. `TRYBUILD=overwrite cargo test --test ui` writes the messages anew.

#[test]
fn ui() {
    let tests = trybuild::TestCases::new();
    tests.pass("tests/ui/pass/*.rs");
    tests.compile_fail("tests/ui/*.rs");
}
