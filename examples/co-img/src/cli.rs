//! The command line: qemu-img's commands and options, as far as they go.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{bench, check, commit, compare, convert, create, info, map, resize};
use crate::driver::Cache;
use crate::error::{Doing, Error, Result, refused};
use crate::name::parse_size;
use crate::open::ImageFormat;

/// Disk images: what is in them, and from one format to another.
///
/// Images are named by path, file:PATH, nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH, nbd:HOST:PORT[:exportname=
/// EXPORT], nbd:unix:PATH[:exportname=EXPORT], null-co://SIZE or json:{...}. Formats are raw and qcow2. Sizes take the suffixes k, M, G, T, P and E.
#[derive(Parser)]
#[command(name = "co-img", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tells what an image is
    Info(info::Options),
    /// Copies an image into another format
    Convert(convert::Options),
    /// Tells whether two images have the same content: exit code 0 if so, 1 if not, more on errors
    Compare(compare::Options),
    /// Measures reads or writes
    Bench(bench::Options),
    /// Makes an empty image
    Create(create::Options),
    /// Tells where an image has data
    Map(map::Options),
    /// Makes an image longer or shorter
    Resize(resize::Options),
    /// Tells whether an image is consistent: exit code 0 if so, 2 if not, 3 if it only wastes room
    Check(check::Options),
    /// Writes what an image has into what it is based on
    Commit(commit::Options),
}

/// The exit code of failures, but for `compare`, where 1 is an answer.
const FAILED: u8 = 1;

/// Runs the program with these arguments, of which the first is its name; prints what it has to say, and returns its exit
/// code.
///
/// ```
/// let size = 3 << 30;
/// co_img::run(["co-img", "info", &format!("null-co://{size}")].map(Into::into).into_iter());
/// ```
pub fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let comparing = args.get(1).is_some_and(|command| command == "compare");
    let failed = ExitCode::from(if comparing { 2 } else { FAILED });
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            // What is wrong, without the lines that explain how it would be right.
            let text = error.render().to_string();
            let text = text.split("\n\n").next().unwrap_or_default().trim_start_matches("error: ");
            let words: Vec<_> = text.split_whitespace().collect();
            let _ = writeln!(io::stderr(), "co-img: {}; see --help", words.join(" ").replace(char::is_control, " "));
            return failed;
        }
        Err(help) => {
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    let done = match cli.command {
        Command::Info(options) => info::run(&options).map(|()| 0),
        Command::Convert(options) => convert::run(&options).map(|()| 0),
        Command::Compare(options) => compare::run(&options),
        Command::Bench(options) => bench::run(&options).map(|()| 0),
        Command::Create(options) => create::run(&options).map(|()| 0),
        Command::Map(options) => map::run(&options).map(|()| 0),
        Command::Resize(options) => resize::run(&options).map(|()| 0),
        Command::Check(options) => check::run(&options),
        Command::Commit(options) => commit::run(&options).map(|()| 0),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        // Who does not want to read on is nobody to complain to.
        Err(error) if error.doing == Doing::Print && error.cause.kind() == io::ErrorKind::BrokenPipe => failed,
        Err(error) => {
            let _ = writeln!(io::stderr(), "co-img: {error}");
            match error.doing {
                Doing::Map if comparing => ExitCode::from(3),
                Doing::Read if comparing => ExitCode::from(4),
                _ => failed,
            }
        }
    }
}

/// Puts a command's result on stdout.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::at(Doing::Print, "stdout"))
}

/// A format's name, for clap.
pub(crate) fn format(text: &str) -> std::result::Result<ImageFormat, String> {
    ImageFormat::parse(text).map_err(|error| error.to_string())
}

/// A cache mode's name, for clap.
pub(crate) fn cache(text: &str) -> std::result::Result<Cache, String> {
    Cache::parse(text).map_err(|error| error.to_string())
}

/// How a result is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Output {
    Human,
    Json,
}

/// An output's name, for clap.
pub(crate) fn output(text: &str) -> std::result::Result<Output, String> {
    match text {
        "human" => Ok(Output::Human),
        "json" => Ok(Output::Json),
        _ => Err("not human or json".into()),
    }
}

/// What `-o` asks for: `cluster_size=N`, the only one there is.
pub(crate) fn cluster_size(options: &[String], format: ImageFormat) -> Result<Option<u64>> {
    let mut size = None;
    for option in options.iter().flat_map(|list| list.split(',')) {
        let bad = |why: String| Error::new(Doing::Parse, option, refused(why));
        match option.split_once('=') {
            Some(("cluster_size", value)) if format == ImageFormat::Qcow2 => {
                size = Some(parse_size(value).map_err(|error| bad(error.to_string()))?);
            }
            _ => return Err(bad(format!("the format {} has no such option", format.name()))),
        }
    }
    match size {
        Some(size) if !size.is_power_of_two() || !(512..=2 << 20).contains(&size) => Err(Error::new(
            Doing::Parse,
            format!("cluster_size={size}"),
            refused("clusters are a power of two from 512 to 2M"),
        )),
        size => Ok(size),
    }
}

/// Bytes for people, as qemu-img writes them.
pub(crate) fn human(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    let digits = 2 - (value.max(1.0).log10() as usize).min(2);
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {unit}")
}

#[cfg(test)]
mod tests {
    use super::human;

    #[test]
    fn bytes_for_people() {
        let cases = [(0, "0 B"), (999, "999 B"), (1000, "0.98 KiB"), (196 << 10, "196 KiB"), (64 << 20, "64 MiB")];
        for (bytes, text) in cases.into_iter().chain([(3 << 29, "1.5 GiB"), (10_000, "9.77 KiB")]) {
            assert_eq!(human(bytes), text);
        }
    }
}
