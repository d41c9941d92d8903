//! How far a long command has come, on stderr if that is a terminal: bytes or requests, their rate, the time left.

use std::fmt::Write;
use std::io::{IsTerminal, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

const BYTES: &str = "{prefix} {percent:>3}% [{bar:30}] {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
const REQUESTS: &str = "{prefix} {percent:>3}% [{bar:30}] {pos}/{len} requests, {rate}/s, {eta} left";

/// A bar over so many bytes.
pub fn of_bytes(what: &'static str, total: u64) -> ProgressBar {
    bar(what, total, BYTES)
}

/// A bar over so many requests.
pub fn of_requests(what: &'static str, total: u64) -> ProgressBar {
    bar(what, total, REQUESTS)
}

fn bar(what: &'static str, total: u64, template: &str) -> ProgressBar {
    let target = if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(template)
        .expect("a template of this file")
        .with_key("rate", |state: &ProgressState, text: &mut dyn Write| _ = write!(text, "{:.0}", state.per_sec()))
        .progress_chars("=> ");
    ProgressBar::with_draw_target(Some(total), target).with_style(style).with_prefix(what)
}
