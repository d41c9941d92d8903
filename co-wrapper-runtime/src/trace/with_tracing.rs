//! The spans and events, with the feature `tracing`.
//!
//! Subscribers are users' code. What one panics with while it makes, enters, leaves or closes a call's span goes to that
//! call's caller; a destructor of ours that the thread's unwinding runs does not add a second panic to the first. An event is
//! about what goes on, and is no part of it: its panic is left to the panic hook.

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

    /// The span is current until the guard is dropped.
    #[inline]
    pub fn enter(&self) -> Guarded<span::Entered<'_>> {
        Guarded::new(self.0.enter())
    }
}

fn event(tell: impl FnOnce()) {
    drop(Payload::of(tell));
}

/// A thread goes to sleep.
pub fn park() {
    event(|| tracing::trace!(target: TARGET, "park"));
}

/// A call waits with others below it.
pub fn nested(name: &'static str, depth: usize) {
    event(|| tracing::debug!(target: TARGET, wrapper = name, depth, "nested"));
}

/// The watchdog reports a call.
pub fn stall(name: &'static str, site: &'static Location<'static>, waited: Duration) {
    let (file, line) = (site.file(), site.line());
    event(|| tracing::warn!(target: TARGET, wrapper = name, file, line, waited = ?waited, "stall"));
}
