//! The spans and events, with the feature `tracing`.

use std::{panic::Location, time::Duration};

use tracing::span::Entered;

const TARGET: &str = "co_wrapper";

/// A blocking call's span.
#[derive(Clone, Debug)]
pub struct Span(tracing::Span);

impl Span {
    pub fn call(name: &'static str, site: &'static Location<'static>) -> Self {
        Self(tracing::debug_span!(
            target: TARGET,
            "call",
            wrapper = name,
            file = site.file(),
            line = site.line()
        ))
    }

    /// The span is current until the guard is dropped.
    #[inline]
    pub fn enter(&self) -> Entered<'_> {
        self.0.enter()
    }
}

/// A thread goes to sleep.
pub fn park() {
    tracing::trace!(target: TARGET, "park");
}

/// A call waits with others below it.
pub fn nested(name: &'static str, depth: usize) {
    tracing::debug!(target: TARGET, wrapper = name, depth, "nested");
}

/// The watchdog reports a call.
pub fn stall(name: &'static str, site: &'static Location<'static>, waited: Duration) {
    let (file, line) = (site.file(), site.line());
    tracing::warn!(target: TARGET, wrapper = name, file, line, waited = ?waited, "stall");
}
