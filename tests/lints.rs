//! The expansion is clean under every lint group that a user may deny. What more he may deny: `nothing_new.rs`.
//!
//! Here the lints only warn, so that what a later release finds breaks nobody's build. `rustc_finds_nothing` denies them,
//! with the releases that it knows.

#![warn(
    warnings,
    clippy::all,
    clippy::pedantic,
    clippy::nursery,
    missing_docs,
    future_incompatible,
    nonstandard_style,
    rust_2018_idioms,
    rust_2021_compatibility,
    rust_2024_compatibility,
    unused,
    keyword_idents,
    let_underscore,
    absolute_paths_not_starting_with_crate,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    ffi_unwind_calls,
    macro_use_extern_crate,
    meta_variable_misuse,
    missing_abi,
    missing_copy_implementations,
    missing_debug_implementations,
    non_ascii_idents,
    redundant_imports,
    redundant_lifetimes,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unsafe_code,
    unused_crate_dependencies,
    unused_extern_crates,
    unused_import_braces,
    unused_lifetimes,
    unused_macro_rules,
    unused_qualifications,
    unused_results,
    variant_size_differences
)]
#![forbid(unsafe_code)]
#![allow(clippy::future_not_send, reason = "a coroutine stays on its thread, and so does the twin that runs one")]
// This test has all that the others depend on.
#![allow(unused_crate_dependencies)]
#![cfg(all(feature = "graph", feature = "stream"))]

use co_wrapper::AioContext;
use co_wrapper::graph::GraphLock;
use std::fs;
use std::ops::RangeInclusive;
use std::time::Duration;

#[allow(unreachable_pub, unused_results, reason = "no expansion is in there")]
mod package;
#[path = "lints/shapes.rs"]
pub mod shapes;

use shapes::*;

const KNOWN: RangeInclusive<u32> = 88..=101;

#[test]
fn rustc_finds_nothing() {
    if !package::rustc_is_one_of(KNOWN) {
        return;
    }
    let folder = package::folder("denied");
    let lints = include_str!("lints.rs").split_once("#![warn(").and_then(|(_, rest)| rest.split_once(")]"));
    let (lints, _) = lints.expect("the list above");
    let source = format!("#![deny({lints})]\n#![forbid(unsafe_code)]\n{}", include_str!("lints/shapes.rs"));
    fs::write(folder.join("src/lib.rs"), source).unwrap();
    let manifest = format!(
        "[package]\nname = \"denied\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n{}",
        package::checked()
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let output = package::cargo("check", &folder).output().unwrap();
    let found = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && found.is_empty(), "{found}");
}

#[test]
fn all() {
    let mut disk = Disk::open_blocking("x");
    assert_eq!(disk.read_blocking(1, 2, (3, 4)), 9);
    disk.write_blocking(&[7], |buf| buf[0]).unwrap();
    assert_eq!(disk.0, 7);
    disk.unused_blocking(1);
    Disk::nothing_blocking();
    assert_eq!(disk.many_blocking(1, 2, 3, 4, 5, 6, 7), 28);
    assert_eq!(disk.sent_there(1, 0, (1, 1)).map(|x| *x).unwrap(), 10);
    disk.0 = 7;
    assert_eq!(disk.read_now(1, 2, (3, 4)), 15);
    assert_eq!(declared(&[1, 2, 3], 1, (1, 1)), [1, 2, 3]);
    assert_eq!(disk.itself_blocking(1).0, 7);
    let mut node = Node { graph: GraphLock::new() };
    assert_eq!(node.size(3), 3);
    assert_eq!(node.len((4, 0)), 4);
    assert_eq!(node.len_timeout((4, 0), Duration::from_secs(60)), Ok(4));
    assert_eq!(node.boxed(&5), &5);
    let main = AioContext::main();
    let _home = main.enter();
    let answers = main.block_on(async move { (node.co_attach("ab", 1).await, co_asked("", (6, 0)).await) });
    assert_eq!(answers, (3, Some(6)));
    assert_eq!(free(&[1, 2]), [1, 2]);
}
