//! A C program against the header and the library, and the header against the library's sources.

#![cfg(unix)]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use co_wrapper_test_support::run;

/// Builds the library, because `cargo test` builds none that it does not link. Returns its file.
fn library() -> PathBuf {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--offline", "--message-format=json", "--profile", profile, "--lib"]);
    cargo.arg("--target-dir").arg(Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap());
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    let messages = str::from_utf8(&output.stdout).unwrap().lines();
    let messages = messages.map(|message| serde_json::from_str::<serde_json::Value>(message).unwrap());
    let mut ours = messages.filter(|message| message["target"]["name"] == "codisk");
    ours.find_map(|message| Some(message["filenames"][0].as_str()?.into())).expect("a library")
}

/// Catches: a function that is not exported, or that has another signature in C; a wrong errno, a wrong byte, a panic that gets
/// to C.
#[test]
fn a_c_program_uses_every_function() {
    let (library, folder) = (library(), tempfile::tempdir().unwrap());
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (program, image) = (folder.path().join("use"), folder.path().join("disk.img"));
    let mut cc = Command::new(env::var_os("CC").unwrap_or("cc".into()));
    cc.args(["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wmissing-prototypes", "-g", "-o"])
        .arg(&program);
    cc.arg("-I").arg(here).arg(here.join("tests/use.c")).arg(&library).arg("-pthread");
    let compiled = run(cc.arg(format!("-Wl,-rpath,{}", library.parent().unwrap().display())));
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));

    let bytes: Vec<u8> = (0..1_000_003_u32).map(|at| (at / 3 * 7) as u8).collect();
    fs::write(&image, bytes).unwrap();
    let output = run(Command::new(&program).arg(&image));
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{}: {err}", output.status);
    assert_eq!(out, "all is as expected\n");
    // The one bug that the program has on purpose.
    assert!(err.contains("size_blocking: blocking call in coroutine context"), "{err}");
}

/// The prototypes in the header: each function's result and parameters' types.
fn in_header(header: &str) -> BTreeMap<String, String> {
    let code: String = header.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join(" ");
    let code: String = code.split("/*").map(|part| part.split_once("*/").map_or(part, |(_, code)| code)).collect();
    let prototypes = code.split(';').map(str::trim).filter(|one| !one.is_empty() && !one.starts_with("typedef"));
    let parsed = prototypes.map(|prototype| {
        let (head, parameters) = prototype.trim_end_matches(')').split_once('(').unwrap();
        let (result, name) = head.rsplit_once(' ').unwrap();
        let types = parameters.split(',').map(|parameter| {
            // All but the name, which comes last.
            let parameter = parameter.trim();
            parameter.trim_end_matches(|char: char| char.is_alphanumeric() || char == '_').replace(' ', "")
        });
        (name.to_owned(), format!("{} {}", types.collect::<Vec<_>>().join(","), result))
    });
    parsed.collect()
}

/// The same of the functions that the sources export, as C has their types.
fn in_sources(sources: &str) -> BTreeMap<String, String> {
    let exported = sources.split("#[unsafe(no_mangle)]").skip(1);
    let parsed = exported.map(|function| {
        let head = function.split_once(" {\n").unwrap().0.trim();
        let (name, rest) = head.strip_prefix("pub unsafe extern \"C\" fn ").unwrap().split_once('(').unwrap();
        let (parameters, result) = rest.rsplit_once(')').unwrap();
        let parameters = parameters.split(',').map(str::trim).filter(|parameter| !parameter.is_empty());
        let types: Vec<_> = parameters.map(|parameter| as_c(parameter.split_once(": ").unwrap().1)).collect();
        let result = result.trim().strip_prefix("-> ").map_or("void".to_owned(), as_c);
        (name.to_owned(), format!("{} {result}", types.join(",")))
    });
    parsed.collect()
}

/// A Rust type in C, without spaces.
fn as_c(ty: &str) -> String {
    if let Some(to) = ty.strip_prefix("*mut ") {
        return as_c(to) + "*";
    }
    if let Some(to) = ty.strip_prefix("*const ") {
        return format!("const{}*", as_c(to));
    }
    match ty {
        "c_int" => "int",
        "c_char" => "char",
        "c_void" => "void",
        "u8" => "uint8_t",
        "u64" => "uint64_t",
        "usize" => "size_t",
        "Disk" => "Disk",
        "Option<DiskVisit>" => "DiskVisit",
        other => panic!("no type of C is known for `{other}`"),
    }
    .to_owned()
}

/// Catches: a prototype that was forgotten, or that says other types than the function has.
#[test]
fn the_header_says_what_the_library_exports() {
    let read = |path| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let (header, sources) = (in_header(&read("disk.h")), in_sources(&read("src/lib.rs")));
    assert_eq!(header.len(), 7);
    assert_eq!(header, sources);
}
