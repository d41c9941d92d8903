//! The reactor's interface without the feature `tokio`: there is no runtime to start and no outer scheduler.

use std::io;
#[cfg(any(feature = "coroutine", all(feature = "graph", not(loom))))]
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    thread::{self, Thread},
    time::{Duration, Instant},
};

use super::stopped::Stopped;
#[cfg(any(feature = "coroutine", all(feature = "graph", not(loom))))]
use crate::sys::panics::Payload;

pub fn ensure() -> io::Result<()> {
    Ok(())
}

/// A thread that is a timer. Dropping this ends it.
#[cfg(any(feature = "coroutine", all(feature = "graph", not(loom))))]
pub struct Alarm(Option<(Arc<AtomicBool>, Thread)>);

#[cfg(any(feature = "coroutine", all(feature = "graph", not(loom))))]
impl Alarm {
    /// Wakes `waker` after `duration`, if a thread can be started.
    pub fn new(duration: Duration, waker: Waker) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (ends, begun) = (Arc::clone(&ended), Instant::now());
        let timer = thread::Builder::new().name("co-wrapper-timer".to_owned()).spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let Some(left) = duration.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else {
                    // Nobody is left to raise the waker's panic to.
                    return drop(Payload::of(|| waker.wake()));
                };
                thread::park_timeout(left);
            }
        });
        Self(timer.ok().map(|timer| (ended, timer.thread().clone())))
    }
}

#[cfg(any(feature = "coroutine", all(feature = "graph", not(loom))))]
impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some((ended, thread)) = &self.0 {
            ended.store(true, Ordering::Relaxed);
            thread.unpark();
        }
    }
}

/// No tokio task exists.
#[cfg(feature = "graph")]
#[inline]
pub fn task_id() -> Option<u64> {
    None
}

/// Stands for a call in flight; nothing is entered.
#[derive(Debug)]
pub struct Entered;

/// An empty guard.
#[derive(Debug)]
pub struct Guard;

/// An empty guard.
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

    #[cfg(feature = "coroutine")]
    #[inline]
    pub fn is_ours(&self) -> bool {
        true
    }

    #[inline]
    pub fn guard() -> Guard {
        Guard
    }

    #[inline]
    pub fn may_be_in_a_foreign_task(&self) -> bool {
        false
    }

    pub fn gate<R>(&self, block: impl FnOnce(Stopped, Stopped) -> R) -> R {
        block(Stopped::Nothing, Stopped::Nothing)
    }

    pub fn is_after_tokio(&self) -> bool {
        false
    }
}

/// Never made: there is no reactor to ask.
pub enum Question {}

impl Question {
    pub fn ask() -> Option<Self> {
        None
    }

    pub fn is_answered(&self) -> bool {
        match *self {}
    }
}

/// Has a thread call `look` at this interval until it returns false.
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
