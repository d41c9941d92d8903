//! The spans and events, with the feature `tracing`.
//!
//! Subscribers are users' code. If one panics while it makes, enters, leaves or closes a call's span, the call's caller
//! gets the panic, unless the thread is already unwinding. An event only describes the work, so a panic in one is left
//! to the panic hook.

use std::{panic::Location, time::Duration};

use tracing::span;

use crate::sys::panics::{Guarded, Payload};

const TARGET: &str = "co_wrapper";

/// A blocking call's span.
#[derive(Clone, Debug)]
pub struct Span(Guarded<tracing::Span>);

impl Span {
    pub fn call(name: &'static str, site: &'static Location<'static>) -> Self {
        Self(Guarded::new(tracing::debug_span!(
            target: TARGET,
            "call",
            wrapper = name,
            file = site.file(),
            line = site.line()
        )))
    }

    /// Makes the span current until the guard is dropped.
    #[inline]
    pub fn enter(&self) -> Guarded<span::Entered<'_>> {
        Guarded::new(self.0.enter())
    }
}

fn event(tell: impl FnOnce()) {
    drop(Payload::of(tell));
}

/// The thread is about to sleep.
pub fn park() {
    event(|| tracing::trace!(target: TARGET, "park"));
}

/// A call starts to wait while outer calls on its stack wait too.
pub fn nested(name: &'static str, depth: usize) {
    event(|| tracing::debug!(target: TARGET, wrapper = name, depth, "nested"));
}

/// The watchdog reports a call.
pub fn stall(name: &'static str, site: &'static Location<'static>, waited: Duration) {
    let (file, line) = (site.file(), site.line());
    event(|| tracing::warn!(target: TARGET, wrapper = name, file, line, waited = ?waited, "stall"));
}
