//! What a blocking call stops while it waits: the outer scheduler, whose frames are outside the call's on the stack.

use std::{panic::Location, sync::Once};

/// Warns, once per process, that the call of `name` at `site` blocks a current-thread runtime.
pub fn warn_of_current_thread(stopped: Stopped, name: &str, site: &Location<'_>) {
    static ONCE: Once = Once::new();
    if stopped == Stopped::CurrentThread {
        ONCE.call_once(|| {
            eprintln!(
                "co_wrapper: warning: a blocking call waits on the thread of a tokio current_thread runtime: {name}, called at \
                 {site}; the runtime stands still meanwhile, its own sockets and timers with it, so await the async function \
                 there, or make the call in spawn_blocking (said once)"
            );
        });
    }
}

/// What a waiting call stops, for hang reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stopped {
    /// Nothing that we know of.
    Nothing,
    /// A current-thread tokio runtime, which only this thread drives.
    CurrentThread,
    /// A worker of a multi-thread runtime that cannot be handed on: the call is made by a waker that the worker's
    /// driver calls.
    Worker,
    /// Nothing, but the handle of a current-thread runtime, which this thread does not drive, is entered.
    Undriven,
    /// Nothing that we know of; the entered handle of a multi-thread runtime may mean a `LocalSet` or a `block_on` of
    /// it.
    LocalSet,
    /// Nothing, but the thread is ending and tokio's thread-locals are gone.
    Ended,
}

impl Stopped {
    /// The inverse of `as u8`.
    pub fn from_u8(value: u8) -> Self {
        [Self::CurrentThread, Self::Worker, Self::Undriven, Self::LocalSet, Self::Ended]
            .into_iter()
            .find(|stopped| *stopped as u8 == value)
            .unwrap_or(Self::Nothing)
    }
}
