//! The reactor's shape without the feature `tokio`: nothing to start, nothing above.

use std::io;

use super::below::Below;
#[cfg(all(feature = "graph", not(loom)))]
use crate::sys::panics::Payload;

pub fn ensure() -> io::Result<()> {
    Ok(())
}

/// Wakes `waker` after `duration`, if a thread can be had.
#[cfg(all(feature = "graph", not(loom)))]
pub fn wake_after(duration: std::time::Duration, waker: std::task::Waker) {
    let timer = std::thread::Builder::new().name("co-wrapper-timer".to_owned()).spawn(move || {
        std::thread::sleep(duration);
        // Nobody hears of what it panics with.
        drop(Payload::of(|| waker.wake()));
    });
    drop(timer);
}

/// No scheduler's task that we know of.
#[cfg(feature = "graph")]
#[inline]
pub fn task_id() -> Option<u64> {
    None
}

/// A call in flight; nothing is entered.
#[derive(Debug)]
pub struct Entered;

/// Nothing to keep.
#[derive(Debug)]
pub struct Guard;

/// Nothing either.
#[derive(Debug)]
pub struct KeptGuard;

impl KeptGuard {
    pub fn new(_: bool) -> Self {
        Self
    }
}

impl Entered {
    #[inline]
    pub fn look(_: &str) -> Self {
        Self
    }

    #[inline]
    pub fn needs_guard(&self) -> bool {
        false
    }

    #[inline]
    pub fn guard() -> Guard {
        Guard
    }

    #[inline]
    pub fn may_be_in_a_foreign_task(&self) -> bool {
        false
    }

    pub fn gate<R>(&self, block: impl FnOnce(Below, Below) -> R) -> R {
        block(Below::Nothing, Below::Nothing)
    }

    pub fn is_after_tokio(&self) -> bool {
        false
    }
}

/// Nobody is there to ask.
pub enum Question {}

impl Question {
    pub fn ask() -> Option<Self> {
        None
    }

    pub fn is_answered(&self) -> bool {
        match *self {}
    }
}

/// Has a thread call `look` in such intervals, as long as that says to go on.
pub fn every(interval: std::time::Duration, look: impl Fn() -> bool + Send + 'static) {
    let timer = std::thread::Builder::new().name("co-wrapper-timer".to_owned()).spawn(move || {
        loop {
            std::thread::sleep(interval);
            if !look() {
                return;
            }
        }
    });
    drop(timer);
}

pub fn unconstrained<R>(polls: impl FnOnce() -> R) -> R {
    polls()
}
