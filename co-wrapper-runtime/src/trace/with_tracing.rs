//! The spans and events, with the feature `tracing`.
//!
//! Subscribers are users' code. If one panics while it makes, enters, leaves or closes a call's span, the call's caller
//! gets the panic, unless the thread is already unwinding. An event only describes the work, so a panic in one is left
//! to the panic hook.

#[cfg(feature = "coroutine")]
use std::cell::RefCell;
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

/// The spans that a suspended coroutine has entered and not left, outermost first.
#[cfg(feature = "coroutine")]
pub struct Left(RefCell<Vec<tracing::Span>>);

#[cfg(feature = "coroutine")]
impl Left {
    /// None.
    pub fn new() -> Self {
        Self(RefCell::default())
    }

    /// Enters them again. Returns the span that was current before.
    pub fn enter_again(&self) -> tracing::Span {
        let outer = current();
        for span in self.0.take() {
            event(|| span.with_subscriber(|(id, dispatch)| dispatch.enter(id)).unwrap_or_default());
        }
        outer
    }

    /// Exits what was entered after `outer`.
    pub fn leave(&self, outer: tracing::Span) {
        let mut left = Vec::new();
        loop {
            let inner = current();
            // A subscriber that does not say which span is current, or does not let it be left, is left as it is.
            if inner == outer || inner.id().is_none() || left.last() == Some(&inner) {
                break;
            }
            event(|| inner.with_subscriber(|(id, dispatch)| dispatch.exit(id)).unwrap_or_default());
            left.push(inner);
        }
        left.reverse();
        self.0.replace(left);
    }
}

/// The span that is current, if the subscriber says so.
#[cfg(feature = "coroutine")]
fn current() -> tracing::Span {
    Payload::of(tracing::Span::current).unwrap_or_else(|_| tracing::Span::none())
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
