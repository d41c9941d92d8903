//! The command line: what is ours, and what `cargo check` is given.

use std::path::PathBuf;

pub const HELP: &str = "\
Finds plain blocking twins of co-wrapper that async code calls, before it runs

Usage: cargo co-check [OPTIONS] [OPTIONS OF `cargo check`]

Options:
      --all               Also what is only possible (notes), and what runs in tasks of other executors
      --deny <LEVEL>      Fail also for `warnings`, or for `notes` (with --all)
      --json              A line of JSON for each finding, instead of text
      --color <WHEN>      auto, always, never
  -h, --help              This text
  -V, --version           The version

All other options go to `cargo check`: -p, --workspace, --tests, --examples, --all-targets, --features, --release, --target,
--manifest-path, --offline, …. Comments `// co-check: allow — reason` at a call allow it.

Ends with 0 if no error was found, with 101 if one was or the code does not compile, with 1 for a wrong option.";

#[derive(Debug, Default, PartialEq, Clone, Copy)]
pub enum Deny {
    #[default]
    Errors,
    Warnings,
    Notes,
}

#[derive(Debug, Default, PartialEq)]
pub struct Arguments {
    pub all: bool,
    pub json: bool,
    pub deny: Deny,
    pub color: Option<String>,
    pub target_folder: Option<PathBuf>,
    /// For `cargo check`.
    pub check: Vec<String>,
    /// Those of them that `cargo metadata` is given too.
    pub metadata: Vec<String>,
    /// The platforms that are checked for; if none is named, this one.
    pub platforms: Vec<String>,
}

#[derive(Debug, PartialEq)]
pub enum Asked {
    Check(Arguments),
    Help,
    Version,
}

/// Reads what follows `cargo co-check`. The error is a sentence.
pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Asked, String> {
    let mut parsed = Arguments::default();
    let mut rest = arguments.into_iter();
    while let Some(argument) = rest.next() {
        let (name, given) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name.to_owned(), Some(value.to_owned())),
            _ => (argument.clone(), None),
        };
        let mut value = || given.clone().or_else(|| rest.next()).ok_or_else(|| format!("`{name}` needs a value"));
        match name.as_str() {
            "--all" => parsed.all = true,
            "--json" => parsed.json = true,
            "-h" | "--help" => return Ok(Asked::Help),
            "-V" | "--version" => return Ok(Asked::Version),
            "--deny" | "-D" => {
                let level = value()?;
                parsed.deny = match level.trim_end_matches('s') {
                    "warning" => Deny::Warnings,
                    "note" => Deny::Notes,
                    "error" => Deny::Errors,
                    _ => return Err(format!("`{level}` is no level; `--deny` takes `warnings` or `notes`")),
                };
            }
            "--color" => {
                let when = value()?;
                if !["auto", "always", "never"].contains(&when.as_str()) {
                    return Err(format!("`--color` takes auto, always or never, and not `{when}`"));
                }
                parsed.check.extend(["--color".into(), when.clone()]);
                parsed.color = Some(when);
            }
            "--target-dir" => parsed.target_folder = Some(value()?.into()),
            "--message-format" => return Err("`--message-format` is not passed on; take `--json`".into()),
            "--" => return Err("`cargo check` takes nothing after `--`".into()),
            "--manifest-path" | "--config" | "-Z" | "--lockfile-path" => {
                let pair = [name.clone(), value()?];
                parsed.check.extend(pair.clone());
                parsed.metadata.extend(pair);
            }
            "--target" => {
                let platform = value()?;
                parsed.check.extend([name.clone(), platform.clone()]);
                parsed.platforms.push(platform);
            }
            "--offline" | "--locked" | "--frozen" => {
                parsed.check.push(argument.clone());
                parsed.metadata.push(argument);
            }
            _ => parsed.check.push(argument),
        }
    }
    if parsed.deny == Deny::Notes && !parsed.all {
        return Err("`--deny notes` needs `--all`: without it notes are not looked for".into());
    }
    Ok(Asked::Check(parsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Asked, String> {
        parse(text.split(' ').filter(|word| !word.is_empty()).map(str::to_owned))
    }

    /// Catches: an option of ours that cargo gets, and one of cargo's that it does not get.
    #[test]
    fn ours_are_kept_and_the_rest_is_passed_on() {
        let Ok(Asked::Check(read)) =
            of("--all --deny=notes -p a --release --offline --manifest-path x/Cargo.toml --target-dir t --target=y")
        else {
            panic!("not read")
        };
        assert!(read.all && !read.json && read.deny == Deny::Notes);
        assert_eq!(
            read.check,
            ["-p", "a", "--release", "--offline", "--manifest-path", "x/Cargo.toml", "--target", "y"]
        );
        assert_eq!(read.platforms, ["y"]);
        assert_eq!(read.metadata, ["--offline", "--manifest-path", "x/Cargo.toml"]);
        assert_eq!(read.target_folder, Some("t".into()));
        for wrong in ["--deny", "--deny all", "--deny notes", "--color blue", "--message-format json", "-- -D warnings"]
        {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
