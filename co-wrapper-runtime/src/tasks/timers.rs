//! A context's timers: wakers and their deadlines. The poll loop fires them and never sleeps past the next one.
//!
//! Wakers are users' code. They are cloned, woken and dropped outside the mutex. Due timers are taken out one by one,
//! because a waker's code may wait for another timer that is due by then.

use std::{collections::BTreeMap, task::Waker, time::Instant};

use crate::sys::{
    panics::Guarded,
    sync::{AtomicUsize, Mutex, Ordering, lock},
};

/// A timer's key: when it is due, and a number that orders timers due at the same time.
pub type Key = (Instant, u64);

pub struct Timers {
    /// How many there are, so that a loop without any takes no lock.
    len: AtomicUsize,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    wakers: BTreeMap<Key, Timer>,
}

pub struct Timer {
    pub waker: Guarded<Waker>,
    /// Whether a poll that fires it counts as having done something; false for timers of our own.
    pub counts: bool,
}

impl Timers {
    pub fn new() -> Self {
        Self { len: AtomicUsize::new(0), waiting: Mutex::new(Waiting::default()) }
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len.load(Ordering::Acquire) == 0
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        if self.is_empty() {
            return None;
        }
        lock(&self.waiting).wakers.keys().next().map(|key| key.0)
    }

    /// The current time, if a timer is due.
    pub fn due(&self) -> Option<Instant> {
        let next = self.next()?;
        Some(Instant::now()).filter(|now| next <= *now)
    }

    /// Removes the first timer that was due at `now`. Returns its waker, and whether firing it counts.
    pub fn pop(&self, now: Instant) -> Option<(Waker, bool)> {
        let mut waiting = lock(&self.waiting);
        let first = waiting.wakers.first_entry().filter(|timer| timer.key().0 <= now)?;
        let Timer { waker, counts } = first.remove();
        self.len.store(waiting.wakers.len(), Ordering::Release);
        Some((waker.into_inner(), counts))
    }

    /// Adds a timer. Returns whether it is now the first; then a sleeping home must be woken.
    pub fn insert(&self, deadline: Instant, timer: Timer) -> (Key, bool) {
        let mut waiting = lock(&self.waiting);
        waiting.next += 1;
        let key = (deadline, waiting.next);
        waiting.wakers.insert(key, timer);
        self.len.store(waiting.wakers.len(), Ordering::Release);
        let first = waiting.wakers.keys().next() == Some(&key);
        (key, first)
    }

    /// Replaces the waker of a timer that waits; false if it fired.
    pub fn update(&self, key: Key, waker: &Waker) -> bool {
        match lock(&self.waiting).wakers.get(&key) {
            None => return false,
            Some(timer) if timer.waker.will_wake(waker) => return true,
            Some(_) => {}
        }
        // Cloned and dropped outside the mutex, because that runs users' code.
        let new = Guarded::new(waker.clone());
        let mut waiting = lock(&self.waiting);
        let Some(timer) = waiting.wakers.get_mut(&key) else { return false };
        let old = std::mem::replace(&mut timer.waker, new);
        drop(waiting);
        drop(old);
        true
    }

    pub fn remove(&self, key: Key) {
        let mut waiting = lock(&self.waiting);
        let removed = waiting.wakers.remove(&key);
        self.len.store(waiting.wakers.len(), Ordering::Release);
        drop(waiting);
        drop(removed);
    }
}
