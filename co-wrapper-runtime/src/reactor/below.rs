//! What stands still below a blocking call.

use std::{panic::Location, sync::Once};

/// Warns, once a process, of a call of the function `name` at `site` that blocks what is `below`, if that is all that drives a
/// runtime.
pub fn warn_of_current_thread(below: Below, name: &str, site: &Location<'_>) {
    static ONCE: Once = Once::new();
    if below == Below::CurrentThread {
        ONCE.call_once(|| {
            eprintln!(
                "co_wrapper: warning: a blocking call waits on the thread of a tokio current_thread runtime: {name}, called at \
                 {site}; the runtime stands still meanwhile, its own sockets and timers with it, so await the async function \
                 there, or make the call in spawn_blocking (said once)"
            );
        });
    }
}

/// What stands still below a call that waits, for hang reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Below {
    /// Nothing that we know of.
    Nothing,
    /// A tokio runtime that this thread alone drives.
    CurrentThread,
    /// A worker of a multi-thread runtime that cannot be handed on: it is inside its driver, which calls a waker that blocks.
    Worker,
    /// Nothing, but the handle of a current-thread runtime is entered, which this thread does not drive.
    Undriven,
    /// Nothing, or a `LocalSet` or the root of a multi-thread runtime, whose handle is entered.
    LocalSet,
    /// Nothing, and the thread is ending: tokio's part of it is gone.
    Ended,
}

impl Below {
    /// The inverse of `as u8`.
    pub fn from_u8(value: u8) -> Self {
        [Self::CurrentThread, Self::Worker, Self::Undriven, Self::LocalSet, Self::Ended]
            .into_iter()
            .find(|below| *below as u8 == value)
            .unwrap_or(Self::Nothing)
    }
}
