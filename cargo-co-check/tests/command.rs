//! The command as a user has it: whatever the package's profile, flags, wrappers and layout are, the mistake is found, and
//! nothing else.

#![cfg(unix)]

mod program;

use program::{PROGRAM, command, folder, root, text};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

const MISTAKE: &str = r#"
//! A mistake in its library.
use co_wrapper::co_wrapper;

#[co_wrapper]
pub async fn co_flush(x: u32) -> u32 {
    x
}

fn helper() -> u32 {
    flush(1)
}

pub async fn outer() -> u32 {
    helper()
}
"#;

/// A package of that name with this library.
fn package(name: &str, lib: &str) -> PathBuf {
    let folder = folder(name);
    write_package(&folder, name, lib);
    append(&folder.join("Cargo.toml"), "[workspace]\n");
    folder
}

fn write_package(folder: &Path, name: &str, lib: &str) {
    fs::create_dir_all(folder.join("src")).unwrap();
    // Without tokio, of which nothing is needed here.
    let manifest = format!(
        "[package]\nname = {name:?}\nversion = \"0.1.0\"\nedition = \"2024\"\n[features]\nbad = []\n[dependencies]\n\
         co-wrapper = {{ path = {:?}, default-features = false, features = [\"graph\"] }}\n",
        root()
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("src/lib.rs"), lib).unwrap();
}

fn append(file: &Path, text: &str) {
    let before = fs::read_to_string(file).unwrap_or_default();
    fs::write(file, before + text).unwrap();
}

fn script(file: &Path, text: &str) {
    fs::write(file, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

fn check(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    command(PROGRAM, folder).arg("co-check").args(arguments).envs(variables.iter().copied()).output().unwrap()
}

/// The platform that rustc compiles for here.
fn host() -> String {
    let text = text(&Command::new("rustc").arg("-vV").output().unwrap());
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

#[track_caller]
fn assert_ends(output: &Output, code: i32, parts: &[&str]) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in:\n{text}");
    }
}

/// Asserts that the mistake of `MISTAKE` is found in the package of that name, and no other.
#[track_caller]
fn assert_found(name: &str, output: &Output) {
    let error = format!(
        "error: plain blocking twin `flush` is called in coroutine context\n  --> src/lib.rs:15:5  in async fn `{name}::outer`\n"
    );
    let step = format!("calls `{name}::helper`, which goes on at src/lib.rs:11:5\n");
    let help = "help: there `co_flush(…).await`, or mark `co_flush` #[co_wrapper(mixed)]; \
                if it is meant, `// co-check: allow — reason`";
    assert_ends(output, 101, &[&error, &step, help, "co-check: 1 errors, 0 warnings, 0 notes"]);
}

/// Catches: settings of the user's that win over what the IR must be like, so that no twin is found.
#[test]
fn a_mistake_is_found_whatever_the_settings_are() {
    let folder = package("settings", MISTAKE);
    assert_found("settings", &check(&folder, &["--all-targets"], &[]));
    assert_found("settings", &check(&folder, &["--lib", "-p", "settings", "--offline"], &[]));
    append(
        &folder.join("Cargo.toml"),
        "[profile.release]\nopt-level = 3\nlto = \"fat\"\ncodegen-units = 16\nincremental = true\ndebug = 0\n\
         panic = \"abort\"\nstrip = true\n",
    );
    fs::create_dir(folder.join(".cargo")).unwrap();
    fs::write(folder.join(".cargo/config.toml"), "[build]\nrustflags = [\"-Copt-level=2\"]\nincremental = true\n")
        .unwrap();
    // For a target that is named, flags are not for the macros, which take long to optimize.
    let arguments = ["--release", "--target", &host()];
    assert_found("settings", &check(&folder, &arguments, &[]));
    let flags = "-Copt-level=3 -Cdebuginfo=0 -Ccodegen-units=4 -Dwarnings";
    assert_found("settings", &check(&folder, &arguments, &[("RUSTFLAGS", flags), ("CARGO_INCREMENTAL", "1")]));
}

/// Catches: a wrapper of the user's that is left out, and one whose flags make all twins vanish, called "all good".
#[test]
fn wrappers_of_the_user_are_called_and_may_not_hide_the_twins() {
    let folder = package("wrappers", MISTAKE);
    let log = folder.join("log");
    let logs = |name: &str, more: &str| {
        let file = folder.join(name);
        script(&file, &format!("echo {name} >> '{}'\nexec \"$@\" {more}", log.display()));
        file.display().to_string()
    };
    let (outer, workspace) = (logs("outer", ""), logs("workspace", ""));
    let logged = || fs::read_to_string(&log).unwrap_or_default();

    let output = check(&folder, &[], &[("RUSTC_WRAPPER", &outer), ("RUSTC_WORKSPACE_WRAPPER", &workspace)]);
    assert_found("wrappers", &output);
    assert!(logged().contains("outer") && logged().contains("workspace"), "{}", logged());

    fs::remove_file(&log).unwrap();
    fs::create_dir(folder.join(".cargo")).unwrap();
    fs::write(folder.join(".cargo/config.toml"), format!("[build]\nrustc-wrapper = {outer:?}\n")).unwrap();
    append(&folder.join("src/lib.rs"), "// Changed.\n");
    assert_found("wrappers", &check(&folder, &[], &[]));
    assert!(logged().contains("outer"), "{}", logged());

    // What this one does with our flags: twins are inlined where they are called, or nothing is left of them.
    script(
        &folder.join("optimizes"),
        "case \"$*\" in *--crate-name*) exec \"$@\" -Copt-level=3;; *) exec \"$@\";; esac",
    );
    let optimizes = folder.join("optimizes").display().to_string();
    append(&folder.join("src/lib.rs"), "// Changed again.\n");
    let output = check(&folder, &[], &[("RUSTC_WRAPPER", &optimizes)]);
    assert_ends(&output, 101, &["error: "]);
    script(
        &folder.join("hides"),
        "case \"$*\" in *--crate-name*) exec \"$@\" -Cpasses=internalize,globaldce;; *) exec \"$@\";; esac",
    );
    let hides = folder.join("hides").display().to_string();
    append(&folder.join("src/lib.rs"), "// Changed once more.\n");
    let output = check(&folder, &[], &[("RUSTC_WRAPPER", &hides)]);
    assert_ends(
        &output,
        101,
        &["crate `wrappers` uses co-wrapper's macros, and no twin was found", "nothing was checked"],
    );
}

/// Catches: packages, targets or features that are not looked at, and such as were not asked for.
#[test]
fn what_is_checked_is_what_cargo_check_would_check() {
    let folder = folder("work space");
    fs::write(folder.join("Cargo.toml"), "[workspace]\nresolver = \"3\"\nmembers = [\"one\", \"two\", \"without\"]\n")
        .unwrap();
    let good = MISTAKE.replace("helper()\n}", "if cfg!(feature = \"bad\") { helper() } else { co_flush(1).await }\n}");
    write_package(&folder.join("one"), "one", &good);
    write_package(&folder.join("two"), "two", MISTAKE);
    write_package(&folder.join("without"), "without", "");
    fs::write(
        folder.join("without/Cargo.toml"),
        "[package]\nname = \"without\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
    )
    .unwrap();
    for (kind, file) in [("in_test", "tests/a.rs"), ("in_example", "examples/b.rs"), ("in_bin", "src/bin/c.rs")] {
        let file = folder.join("one").join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, format!("pub async fn {kind}() -> u32 {{ one::flush(1) }}\nfn main() {{ let _ = {kind}; }}\n"))
            .unwrap();
    }
    let errors = |arguments: &[&str]| {
        let output = check(&folder, arguments, &[]);
        let text = text(&output);
        let found: Vec<&str> = ["in_test", "in_example", "in_bin", "one::outer", "two::outer"]
            .into_iter()
            .filter(|name| text.lines().any(|line| line.contains("-->") && line.contains(&format!("{name}`"))))
            .collect();
        (output.status.code().unwrap(), found.join(" "), text)
    };
    for (arguments, code, expected) in [
        (&["-p", "one", "--lib"][..], 0, ""),
        (&["-p", "one", "--lib", "--features", "bad"], 101, "one::outer"),
        (&["-p", "one", "--bins"], 101, "in_bin"),
        (&["-p", "one", "--examples"], 101, "in_example"),
        (&["-p", "one", "--tests"], 101, "in_test in_bin"),
        (&["-p", "two"], 101, "two::outer"),
        (&["--workspace", "--exclude", "two", "--lib"], 0, ""),
        (&["--workspace", "--all-targets"], 101, "in_test in_example in_bin two::outer"),
        (&["--manifest-path", "two/Cargo.toml"], 101, "two::outer"),
        (&["-p", "without"], 0, ""),
    ] {
        let (ended, found, text) = errors(arguments);
        assert_eq!((ended, found.as_str()), (code, expected), "{arguments:?}\n{text}");
    }
    assert!(errors(&["-p", "without"]).2.contains("nothing that was checked depends on co-wrapper"));
}

/// Catches: IR of a source that was changed since, or that is gone.
#[test]
fn a_mistake_that_was_mended_is_gone_and_lost_ir_comes_back() {
    let folder = package("mended", MISTAKE);
    assert_found("mended", &check(&folder, &[], &[]));
    // Again, with nothing to build.
    assert_found("mended", &check(&folder, &[], &[]));
    for file in ir_files() {
        fs::remove_file(file).unwrap();
    }
    assert_found("mended", &check(&folder, &[], &[]));
    fs::write(folder.join("src/lib.rs"), MISTAKE.replace("    helper()", "    co_flush(1).await")).unwrap();
    assert_ends(&check(&folder, &[], &[]), 0, &["co-check: 0 errors"]);
    fs::write(folder.join("src/lib.rs"), "compile_error!(\"no\");").unwrap();
    assert_ends(&check(&folder, &[], &[]), 101, &["error: no"]);
}

/// Of the package `mended`, in a folder that the tests share, wherever cargo puts them there.
fn ir_files() -> Vec<PathBuf> {
    let (mut folders, mut found) = (vec![program::target().join("co-check")], Vec::new());
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(folder).unwrap() {
            let file = file.unwrap().path();
            let name = file.file_name().unwrap().to_str().unwrap();
            if file.is_dir() {
                folders.push(file);
            } else if name.starts_with("mended-") && name.ends_with(".ll") {
                found.push(file);
            }
        }
    }
    assert!(!found.is_empty(), "no IR of `mended`");
    found
}

/// Catches: a comment that allows too much or nothing, and options that do not do what the help says.
#[test]
fn comments_options_and_exit_codes() {
    let allowed = MISTAKE.replace("    flush(1)", "    // co-check: allow — it is for a test\n    flush(1)");
    let folder = package("allowed", &allowed);
    assert_ends(&check(&folder, &[], &[]), 0, &["co-check: 0 errors"]);
    fs::write(folder.join("src/lib.rs"), MISTAKE.replace("    flush(1)", "    flush(1) // co-check: allow")).unwrap();
    assert_ends(
        &check(&folder, &[], &[]),
        101,
        &["src/lib.rs:11: `co-check: allow` gives no reason, and allows nothing", "1 errors"],
    );

    let warned = MISTAKE.replace("    helper()", "    std::hint::black_box(helper as fn() -> u32)()");
    fs::write(folder.join("src/lib.rs"), warned).unwrap();
    assert_ends(
        &check(&folder, &[], &[]),
        0,
        &[
            "warning: plain blocking twin `flush` is handed on",
            "hands on, through std or a dependency, `allowed::helper`",
        ],
    );
    assert_ends(&check(&folder, &["--deny", "warnings"], &[]), 101, &["warning: plain"]);
    assert_ends(&check(&folder, &["--color=always"], &[]), 0, &["\x1b[1;33mwarning\x1b[0m"]);

    let noted = MISTAKE.replace(
        "pub async fn outer() -> u32 {\n    helper()",
        "pub fn made() -> fn() -> u32 {\n    helper\n}\npub async fn outer(f: fn() -> u32) -> u32 {\n    f()",
    );
    fs::write(folder.join("src/lib.rs"), noted).unwrap();
    assert_ends(&check(&folder, &[], &[]), 0, &["co-check: 0 errors, 0 warnings, 0 notes"]);
    assert_ends(
        &check(&folder, &["--all"], &[]),
        0,
        &["note: plain blocking twin `flush` may be what a pointer or `dyn` calls"],
    );
    assert_ends(&check(&folder, &["--all", "--deny=notes"], &[]), 101, &["1 notes"]);
    assert_ends(&check(&folder, &["--deny", "all"], &[]), 1, &["`all` is no level"]);
    assert_ends(&check(&folder, &["--help"], &[]), 0, &["Usage: cargo co-check"]);

    // As cargo calls it.
    fs::write(folder.join("src/lib.rs"), MISTAKE).unwrap();
    let path = format!("{}:{}", Path::new(PROGRAM).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let output = command(env!("CARGO"), &folder).args(["co-check", "--json"]).env("PATH", path).output().unwrap();
    let line = String::from_utf8(output.stdout).unwrap();
    let found: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
    assert_eq!(output.status.code(), Some(101));
    assert_eq!(found["level"], "error");
    assert_eq!((&found["place"]["file"], &found["place"]["line"]), (&"src/lib.rs".into(), &15.into()));
    assert_eq!(found["chain"][0]["function"], "allowed::helper");
}

/// Catches: a guard that is taken for alive after it was dropped or moved, and one that is not seen to be.
#[test]
fn guards_that_are_alive_across_a_call() {
    let folder = package(
        "guards",
        r#"
use co_wrapper::{co_wrapper, graph, no_co_wrapper};
use std::sync::Mutex;

#[no_co_wrapper(bdrv_wrlock)]
pub fn bdrv_replace(x: u32) -> u32 {
    x
}

#[co_wrapper(mixed)]
pub async fn co_len(x: u32) -> u32 {
    x
}

pub async fn held() {
    let _guard = graph::read().await;
    bdrv_co_replace(1).await;
}

pub async fn held_in_a_helper() {
    let _guard = graph::read().await;
    change().await;
}

async fn change() {
    bdrv_co_replace(2).await;
}

pub async fn dropped() {
    let guard = graph::read().await;
    drop(guard);
    bdrv_co_replace(1).await;
}

pub async fn dropped_on_one_way(one: bool) {
    if one {
        let guard = graph::read().await;
        if co_len(1).await == 1 {
            drop(guard);
            bdrv_co_replace(1).await;
        }
    }
}

pub async fn lock_of_std(list: &Mutex<Vec<u32>>) {
    let mut list = list.lock().unwrap();
    list.push(len(1));
}

pub async fn lock_of_std_dropped(list: &Mutex<Vec<u32>>) {
    let len = len(1);
    list.lock().unwrap().push(len);
    list.lock().unwrap().clear();
    self::len(2);
}

pub async fn writes() {
    drop(graph::write());
}
"#,
    );
    let output = check(&folder, &["--all"], &[]);
    let text = text(&output);
    let mut found: Vec<(&str, &str)> = Vec::new();
    for pair in text.lines().collect::<Vec<_>>().windows(2) {
        if let Some((_, root)) = pair[1].split_once("in async fn `guards::") {
            found.push((pair[0].split(':').next().unwrap(), root.trim_end_matches('`')));
        }
    }
    let expected = [("error", "writes"), ("warning", "held"), ("warning", "held_in_a_helper"), ("note", "lock_of_std")];
    assert_eq!(found, expected, "{text}");

    // Without the error, the exit code is up to the guards.
    let lib = fs::read_to_string(folder.join("src/lib.rs")).unwrap();
    fs::write(folder.join("src/lib.rs"), lib.replace("drop(graph::write());", "")).unwrap();
    for (arguments, code, counts) in [
        (&[][..], 0, "0 errors, 2 warnings, 0 notes"),
        (&["--deny", "warnings"], 101, "0 errors, 2 warnings, 0 notes"),
        (&["--all", "--deny", "notes"], 101, "0 errors, 2 warnings, 1 notes"),
    ] {
        assert_ends(&check(&folder, arguments, &[]), code, &[counts]);
    }
    let lib = lib.replace("drop(graph::write());", "").replace("bdrv_co_replace(1).await", "co_len(1).await");
    fs::write(folder.join("src/lib.rs"), lib.replace("bdrv_co_replace(2).await", "co_len(1).await")).unwrap();
    assert_ends(&check(&folder, &["--all", "--deny", "warnings"], &[]), 0, &["0 errors, 0 warnings, 1 notes"]);
    assert_ends(&check(&folder, &["--all", "--deny", "notes"], &[]), 101, &["0 errors, 0 warnings, 1 notes"]);
}

/// The condition is code of its caller, and in coroutine context as its caller is. What a loop runs meanwhile is not.
///
/// Catches: a condition that is not followed, because the runtime calls it through a `dyn`; one that is followed from a caller
/// outside coroutine context.
#[test]
fn the_condition_of_poll_while_is_its_callers_code() {
    let folder = package(
        "conditions",
        r#"
use co_wrapper::{AioContext, co_wrapper};
use std::time::Duration;

#[co_wrapper]
pub async fn co_len(x: u32) -> u32 {
    x
}

fn is_long(x: u32) -> bool {
    len(x) > 3
}

pub async fn directly() {
    AioContext::current().poll_while(|| len(1) > 3);
}

pub async fn by_name(x: u32) {
    AioContext::current().poll_while(|| is_long(x));
}

pub async fn with_a_timeout(x: u32) {
    let _ = AioContext::current().poll_while_timeout(|| is_long(x), Duration::ZERO);
}

pub async fn of_something_else(x: u32) {
    let mut left = x;
    AioContext::current().poll_while(|| {
        left = left.saturating_sub(1);
        left > 0
    });
}

pub fn outside() {
    AioContext::current().poll_while(|| is_long(1));
}
"#,
    );
    let output = check(&folder, &["--all"], &[]);
    let text = text(&output);
    // Releases of rustc place a chained call at its beginning or at its name.
    for (root, line) in [("directly", 15), ("by_name", 19), ("with_a_timeout", 23)] {
        let is_told = |told: &str| told.contains(&format!("--> src/lib.rs:{line}:"));
        let is_root = |told: &str| told.ends_with(&format!("in async fn `conditions::{root}`"));
        assert!(text.lines().any(|told| is_told(told) && is_root(told)), "{root}\n{text}");
    }
    assert!(text.contains("co-check: 3 errors, 0 warnings, 0 notes"), "{text}");
}
