//! What cargo runs as `RUSTC_WRAPPER`. It has rustc write the IR of the packages that can know twins, without optimisation, and no
//! machine code.
//!
//! Flags that are appended win over those of profiles and `RUSTFLAGS`. What is linked, build scripts and macros, is
//! built as it would be without us.

use crate::tables::RUNTIME;
use std::{env, ffi::OsString, path::Path, process::Command};

/// The folders of the packages whose IR is asked for, a line each. That it is there says that this process is the
/// wrapper.
pub const PACKAGES: &str = "CO_CHECK_PACKAGES";
/// The caller's own wrapper.
pub const CHAINED: &str = "CO_CHECK_RUSTC_WRAPPER";

/// From opt-level 1 on functions are inlined where they are called, and no twin is found any more; generic functions of
/// dependencies already where those are compiled. What unwinding drops shows which guards are alive.
const ALL: [&str; 3] = ["-Csymbol-mangling-version=v0", "-Copt-level=0", "-Cpanic=unwind"];
const CHECKED: [&str; 7] = [
    "--emit=llvm-ir",
    "-Ccodegen-units=1",
    "-Cdebuginfo=1",
    "-Cno-prepopulate-passes",
    // Private functions that nobody calls are checked too.
    "-Clink-dead-code",
    "-Clto=off",
    "-Cembed-bitcode=yes",
];
/// rustc then keeps the bodies of generic functions, which are compiled in the packages that use them.
const OTHERS: &str = if cfg!(windows) { "--emit=mir=NUL" } else { "--emit=mir=/dev/null" };

/// The exit code of rustc, which is called as cargo asked for with what has to be added.
pub fn run(arguments: &[OsString]) -> u8 {
    let packages = env::var(PACKAGES).unwrap_or_default();
    let package = env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let mut command = match env::var_os(CHAINED).filter(|wrapper| !wrapper.is_empty()) {
        Some(wrapper) => {
            let mut command = Command::new(wrapper);
            command.args(arguments);
            command
        }
        None => {
            let mut command = Command::new(&arguments[0]);
            command.args(&arguments[1..]);
            command
        }
    };
    let is_checked = packages.lines().any(|line| Path::new(line) == Path::new(&package));
    command.args(added(arguments, is_checked && !is_runtime(arguments)));
    // A program that rustc or a wrapper starts is not ours.
    command.env_remove(PACKAGES);
    match command.status() {
        Ok(status) => status.code().unwrap_or(101) as u8,
        Err(error) => {
            eprintln!("co-check: cannot start {}: {error}", command.get_program().display());
            101
        }
    }
}

/// Whether this is the runtime's crate, its unit tests included, whose IR nobody reads: its functions are known by name. It
/// is the largest of all. Other targets of its package, such as integration tests, are checked.
fn is_runtime(arguments: &[OsString]) -> bool {
    arguments.windows(2).any(|pair| pair[0] == "--crate-name" && pair[1] == RUNTIME)
}

fn added(arguments: &[OsString], is_checked: bool) -> Vec<&'static str> {
    let is_check = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .any(|argument| argument.starts_with("--emit=") && argument.contains("metadata") && !argument.contains("link"));
    match (is_check, is_checked) {
        (false, _) => Vec::new(),
        (true, true) => ALL.into_iter().chain(CHECKED).collect(),
        (true, false) => ALL.into_iter().chain([OTHERS]).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: flags for what is linked or only asked for its version, and none for what is checked.
    #[test]
    fn only_what_is_checked_gets_flags() {
        let added = |text: &str, checked| added(&text.split(' ').map(Into::into).collect::<Vec<_>>(), checked).len();
        assert_eq!(added("rustc -vV", true), 0);
        assert_eq!(added("rustc --crate-type proc-macro --emit=dep-info,link", true), 0);
        assert_eq!(added("rustc --crate-type lib --emit=dep-info,metadata", true), ALL.len() + CHECKED.len());
        assert_eq!(added("rustc --crate-type lib --emit=dep-info,metadata", false), ALL.len() + 1);
    }

    /// Catches: IR of a test of the runtime that is not written.
    #[test]
    fn of_the_runtime_only_its_library_is_not_read() {
        let is_runtime =
            |name: &str| is_runtime(&["rustc", "--crate-name", name, "--edition=2024"].map(OsString::from));
        assert!(is_runtime("co_wrapper_runtime"));
        assert!(!is_runtime("calls") && !is_runtime("co_wrapper"));
    }
}
