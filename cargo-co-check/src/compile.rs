//! Has cargo check what was asked for, with us around rustc, and finds the IR of what is up to date.
//!
//! All of it lies in `co-check` below the target folder, so that cargo keeps what it has there, and what it builds otherwise
//! stays as it is. What a version of ours left that compiled otherwise is removed, and IR that nobody asked for in a week.

use crate::{arguments::Arguments, wrapper};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    env,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// A crate that was compiled, and where its IR is.
#[derive(Debug)]
pub struct Compiled {
    pub krate: String,
    pub ir: PathBuf,
}

/// Why there is nothing to look at.
pub enum Failed {
    /// Cargo or rustc has said why.
    Told,
    Because(String),
}

const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The crates, of those which can know twins.
pub fn compile(arguments: &Arguments) -> Result<Vec<Compiled>, Failed> {
    let metadata = metadata(arguments)?;
    let packages = packages(&metadata);
    if packages.is_empty() {
        return Ok(Vec::new());
    }
    let target = arguments.target_folder.clone().or_else(|| metadata["target_directory"].as_str().map(PathBuf::from));
    let target =
        target.ok_or_else(|| Failed::Because("cargo metadata names no target folder".into()))?.join("co-check");
    renew(&target);
    let workspace = PathBuf::from(metadata["workspace_root"].as_str().unwrap_or("."));
    for _ in 0..2 {
        let compiled = check(arguments, &packages, &target, &workspace)?;
        let lost: Vec<&Compiled> = compiled.iter().filter(|compiled| !compiled.ir.exists()).collect();
        if lost.is_empty() {
            sweep(&target, &compiled);
            return Ok(compiled);
        }
        // Without this file cargo compiles it anew.
        for compiled in lost {
            let _ = fs::remove_file(metadata_file(&compiled.ir));
        }
    }
    Err(Failed::Because(format!(
        "rustc writes no LLVM IR into {}: a wrapper or flag of yours may keep it from that",
        target.display()
    )))
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

fn metadata(arguments: &Arguments) -> Result<Value, Failed> {
    // Without a platform, `cargo metadata` needs the packages of all platforms, which a build has not fetched.
    let platforms = if arguments.platforms.is_empty() { vec![host()?] } else { arguments.platforms.clone() };
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--all-features"])
        .args(platforms.iter().flat_map(|platform| ["--filter-platform", platform]))
        .args(&arguments.metadata)
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| Failed::Because(format!("cannot start cargo: {error}")))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        return Err(Failed::Told);
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Failed::Because(format!("cargo metadata is not understood: {error}")))
}

/// The platform that rustc compiles for unless it is told another.
fn host() -> Result<String, Failed> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output();
    let output = output.map_err(|error| Failed::Because(format!("cannot start rustc: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failed::Because("`rustc -vV` names no host".into()))
}

/// Of those that depend on the runtime: their folders, and their ids.
fn packages(metadata: &Value) -> BTreeMap<String, PathBuf> {
    let array = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut users: HashMap<String, Vec<String>> = HashMap::new();
    for node in array(&metadata["resolve"]["nodes"]) {
        for dependency in array(&node["dependencies"]) {
            users
                .entry(dependency.as_str().unwrap_or("").into())
                .or_default()
                .push(node["id"].as_str().unwrap_or("").into());
        }
    }
    let all = array(&metadata["packages"]);
    let id = |package: &Value| package["id"].as_str().unwrap_or("").to_owned();
    let mut open: Vec<String> = all.iter().filter(|package| package["name"] == "co-wrapper-runtime").map(id).collect();
    let mut seen: HashSet<String> = open.iter().cloned().collect();
    while let Some(at) = open.pop() {
        for user in users.get(&at).into_iter().flatten() {
            if seen.insert(user.clone()) {
                open.push(user.clone());
            }
        }
    }
    let folder = |package: &Value| Some(Path::new(package["manifest_path"].as_str()?).parent()?.to_owned());
    all.iter()
        .filter(|package| seen.contains(&id(package)))
        .filter_map(|package| Some((id(package), folder(package)?)))
        .collect()
}

fn check(
    arguments: &Arguments,
    packages: &BTreeMap<String, PathBuf>,
    target: &Path,
    workspace: &Path,
) -> Result<Vec<Compiled>, Failed> {
    let folders: Vec<String> = packages.values().map(|folder| folder.display().to_string()).collect();
    let us = env::current_exe().map_err(|error| Failed::Because(format!("where this program is: {error}")))?;
    let mut command = cargo();
    command
        .args(["check", "--message-format=json-render-diagnostics", "--target-dir"])
        .arg(target)
        .args(&arguments.check)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // Of incremental builds the IR is in pieces.
        .env("CARGO_INCREMENTAL", "0")
        .env(wrapper::CHAINED, callers_wrapper(workspace).unwrap_or_default())
        .env("RUSTC_WRAPPER", us)
        .env(wrapper::PACKAGES, folders.join("\n"));
    let mut child = command.spawn().map_err(|error| Failed::Because(format!("cannot start cargo: {error}")))?;
    let mut compiled = Vec::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
            if message["reason"] == "compiler-artifact"
                && packages.contains_key(message["package_id"].as_str().unwrap_or(""))
            {
                compiled.extend(artifact(&message));
            }
        }
    }
    match child.wait() {
        Ok(status) if status.success() => Ok(compiled),
        _ => Err(Failed::Told),
    }
}

fn artifact(message: &Value) -> Option<Compiled> {
    let krate = message["target"]["name"].as_str()?.replace('-', "_");
    // Its own functions are known by name.
    if krate == crate::tables::RUNTIME {
        return None;
    }
    let mut files = message["filenames"].as_array()?.iter().filter_map(Value::as_str);
    let file = PathBuf::from(files.find(|file| file.ends_with(".rmeta"))?);
    let stem = file.file_stem()?.to_str()?;
    Some(Compiled { krate, ir: file.with_file_name(format!("{}.ll", stem.strip_prefix("lib").unwrap_or(stem))) })
}

fn metadata_file(ir: &Path) -> PathBuf {
    let stem = ir.file_stem().and_then(|stem| stem.to_str()).unwrap_or("");
    ir.with_file_name(format!("lib{stem}.rmeta"))
}

/// Empties the folder if another version of ours filled it.
fn renew(target: &Path) {
    let version = target.join("version");
    let ours = concat!(env!("CARGO_PKG_VERSION"), " 1\n");
    match fs::read_to_string(&version) {
        Ok(found) if found == ours => return,
        Ok(_) => drop(fs::remove_dir_all(target)),
        Err(_) => {}
    }
    if fs::create_dir_all(target).is_ok() {
        let _ = fs::write(version, ours);
    }
}

/// Removes IR that was not asked for in a while, with the file for which cargo would think it is there.
fn sweep(target: &Path, used: &[Compiled]) {
    let used_files: BTreeSet<&Path> = used.iter().map(|compiled| compiled.ir.as_path()).collect();
    let folders: BTreeSet<&Path> =
        used_files.iter().filter_map(|file| file.parent()).filter(|folder| folder.starts_with(target)).collect();
    for folder in folders {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|end| end != "ll") {
                continue;
            }
            if used_files.contains(path.as_path()) {
                // Its age is that of its last use.
                let _ = fs::File::options()
                    .append(true)
                    .open(&path)
                    .and_then(|file| file.set_modified(std::time::SystemTime::now()));
                continue;
            }
            let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
            if age.is_some_and(|age| age > KEPT) {
                let _ = fs::remove_file(metadata_file(&path));
                let _ = fs::remove_file(&path);
            }
        }
    }
}

/// The wrapper of rustc that cargo would call without us: of the environment, or of a `config.toml`.
fn callers_wrapper(workspace: &Path) -> Option<OsString> {
    let environment = ["RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER"].into_iter().find_map(env::var_os);
    if environment.is_some() {
        return environment;
    }
    let here = env::current_dir().unwrap_or_else(|_| workspace.to_owned());
    let folders = here.ancestors().map(|folder| folder.join(".cargo"));
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    folders.chain(home).flat_map(|folder| [folder.join("config.toml"), folder.join("config")]).find_map(|file| {
        let wrapper = configured_wrapper(&fs::read_to_string(&file).ok()?)?;
        // One with a separator is relative to where the folder `.cargo` is.
        let is_path = wrapper.contains(['/', '\\']);
        Some(if is_path { file.parent()?.parent()?.join(wrapper).into() } else { wrapper.into() })
    })
}

/// `build.rustc-wrapper` of a configuration.
fn configured_wrapper(text: &str) -> Option<String> {
    let mut table = "";
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']).trim();
        } else if let Some((key, value)) = line.split_once('=') {
            let key = key.trim();
            if table == "build" && key == "rustc-wrapper" || table.is_empty() && key == "build.rustc-wrapper" {
                let value = value.trim();
                let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
                return value[1..].split(quote).next().map(str::to_owned);
            }
        }
    }
    None
}

/// Whether the sources of the crate use a macro that writes twins: then there must be some.
pub fn uses_macros(compiled: &Compiled) -> bool {
    let list = fs::read_to_string(compiled.ir.with_extension("d")).unwrap_or_default();
    let mut sources = list.lines().filter_map(|line| line.strip_suffix(':')).filter(|file| file.ends_with(".rs"));
    sources.any(|file| {
        let text = fs::read_to_string(file.replace("\\ ", " ")).unwrap_or_default();
        let mut lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
        lines.any(|line| {
            line.starts_with("#[") && line.contains("co_wrapper") && !line.contains("no_co_wrapper")
                || line.starts_with("declare!")
                || line.starts_with("co_wrapper::declare!")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catches: a wrapper of another table, and one that is not read with single quotes or a dotted key.
    #[test]
    fn the_configured_wrapper_is_that_of_the_table_build() {
        assert_eq!(configured_wrapper("[build]\njobs = 2\nrustc-wrapper = \"sccache\"\n").unwrap(), "sccache");
        assert_eq!(configured_wrapper("build.rustc-wrapper = '/a b/c'").unwrap(), "/a b/c");
        assert_eq!(configured_wrapper("[env]\nrustc-wrapper = \"x\"\n"), None);
    }
}
