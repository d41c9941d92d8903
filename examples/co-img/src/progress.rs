//! How far a long command has come, on stderr if that is a terminal: bytes or requests, their rate, the time left; or, where
//! `-p` asks for it, in percent on stdout, as qemu-img shows it.

use std::fmt;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

const BYTES: &str = "{prefix} {percent:>3}% [{bar:30}] {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left";
const REQUESTS: &str = "{prefix} {percent:>3}% [{bar:30}] {pos}/{len} requests, {rate}/s, {eta} left";

/// How far a command has come.
pub struct Progress {
    bar: ProgressBar,
    /// `-p`: as qemu-img shows it, on stdout.
    plain: Option<Plain>,
}

struct Plain {
    total: u64,
    done: AtomicU64,
    /// In percent.
    shown: AtomicU64,
}

impl Progress {
    /// So many bytes or requests more are done.
    pub fn inc(&self, more: u64) {
        let Some(plain) = &self.plain else { return self.bar.inc(more) };
        let done = plain.done.fetch_add(more, Relaxed) + more;
        if done.saturating_mul(100) / plain.total.max(1) > plain.shown.load(Relaxed) {
            plain.show(done);
        }
    }

    /// It has ended, well or not.
    pub fn finish_and_clear(&self) {
        match &self.plain {
            None => self.bar.finish_and_clear(),
            Some(_) => _ = writeln!(stdout()),
        }
    }
}

impl Plain {
    fn show(&self, done: u64) {
        let percent = if self.total == 0 { 100.0 } else { done as f64 * 100.0 / self.total as f64 };
        self.shown.store(percent as u64, Relaxed);
        let mut stdout = stdout().lock();
        let _ = write!(stdout, "    ({percent:.2}/100%)\r").and_then(|()| stdout.flush());
    }
}

/// Over so many bytes; `plain` is `-p`.
pub fn of_bytes(what: &'static str, total: u64, plain: bool) -> Progress {
    let plain = plain.then(|| Plain { total, done: 0.into(), shown: 0.into() });
    if let Some(plain) = &plain {
        plain.show(0);
    }
    Progress { bar: if plain.is_some() { ProgressBar::hidden() } else { bar(what, total, BYTES) }, plain }
}

/// Over so many requests.
pub fn of_requests(what: &'static str, total: u64) -> Progress {
    Progress { bar: bar(what, total, REQUESTS), plain: None }
}

fn bar(what: &'static str, total: u64, template: &str) -> ProgressBar {
    let target = if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(template)
        .expect("a template of this file")
        .with_key("rate", |state: &ProgressState, text: &mut dyn fmt::Write| _ = write!(text, "{:.0}", state.per_sec()))
        .progress_chars("=> ");
    ProgressBar::with_draw_target(Some(total), target).with_style(style).with_prefix(what)
}
