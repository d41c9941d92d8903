//! The reactor's shape without the feature `tokio`: nothing to start, nothing above.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
};

use super::Below;

pub fn ensure() -> io::Result<()> {
    Ok(())
}

/// Wakes `waker` after `duration`, if a thread can be had.
#[cfg(all(feature = "graph", not(loom)))]
pub fn wake_after(duration: std::time::Duration, waker: std::task::Waker) {
    let timer = std::thread::Builder::new().name("co-wrapper-timer".to_owned()).spawn(move || {
        std::thread::sleep(duration);
        waker.wake();
    });
    drop(timer);
}

/// No scheduler's task that we know of.
#[cfg(feature = "graph")]
#[inline]
pub fn in_a_task() -> bool {
    false
}

/// A call in flight; nothing is entered.
#[derive(Debug)]
pub struct Entered;

/// Nothing to keep.
#[derive(Debug)]
pub struct Guard;

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

    pub fn above(&self) -> Above {
        Above
    }

    pub fn is_after_tokio(&self) -> bool {
        false
    }

    pub fn below(&self, below: Below) -> Below {
        below
    }
}

/// What stands above a call that is about to block: nobody that we know of.
#[derive(Clone, Copy, Debug)]
pub struct Above;

impl Above {
    pub fn defers_wakes(self) -> bool {
        false
    }

    pub fn below(self) -> Below {
        Below::Nothing
    }
}

/// Nobody is there to answer.
pub fn ask(_: Arc<AtomicBool>) -> bool {
    false
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

pub fn prepare_thread() {}

pub fn gate<R>(_: Above, block: impl FnOnce() -> R) -> R {
    block()
}

pub fn unconstrained<R>(polls: impl FnOnce() -> R) -> R {
    polls()
}
