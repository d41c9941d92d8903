//! The stackful coroutines that wait for a context: until something has run in it, or it is notified or closed. (A
//! thread that waits for this polls the context instead.)
//!
//! Such a coroutine is resumed by a round of the context, and often waits again at once. If its own resumption counted
//! as something that ran, it would be woken after every round for ever. So [`Watchers::round_ends`] counts what ran
//! without the coroutines that wait again.
//!
//! No wake is lost: a coroutine is added before it looks whether it has to wait, and what it waits for is written before
//! [`Watchers::wake`] looks whether there are any. A fence on either side, between the write and the look, sees to it that
//! one of the two sees what the other has written (`tests/loom_watchers.rs`).

use std::task::Waker;

use crate::sys::{
    fork, panics,
    sync::{AtomicU64, AtomicUsize, Mutex, Ordering, fence, lock},
};

#[derive(Default)]
pub struct Watchers {
    /// How many there are, so that a round without any takes no lock.
    len: AtomicUsize,
    waiting: Mutex<Waiting>,
    /// How many rounds have run something that any of them waits for, and how often the context was notified.
    rounds: AtomicU64,
    notifies: AtomicU64,
    /// Which of these notifications has ended a coroutine's blocking `poll`. Written by the home thread.
    taken: AtomicU64,
    /// How many of them have begun to wait in the present round.
    again: AtomicUsize,
}

/// What has happened in a context.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// How many rounds have run something.
    pub rounds: u64,
    /// How often it was notified.
    pub notifies: u64,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    wakers: Vec<(u64, Waker)>,
}

impl Watchers {
    /// Adds one, and returns its number. It looks only after this whether it has to wait.
    pub fn add(&self, waker: Waker) -> u64 {
        let mut waiting = lock(&self.waiting);
        waiting.next += 1;
        let number = waiting.next;
        waiting.wakers.push((number, waker));
        self.len.store(waiting.wakers.len(), Ordering::Relaxed);
        drop(waiting);
        fence(Ordering::SeqCst);
        number
    }

    /// Removes one, if it was not woken.
    pub fn remove(&self, number: u64) {
        if fork::is_child() {
            return;
        }
        let mut waiting = lock(&self.waiting);
        let at = waiting.wakers.iter().position(|waker| waker.0 == number);
        let removed = at.map(|at| waiting.wakers.swap_remove(at));
        self.len.store(waiting.wakers.len(), Ordering::Relaxed);
        drop(waiting);
        drop(removed);
    }

    /// Wakes all. What they wait for was written before this.
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.len.load(Ordering::Relaxed) == 0 || fork::is_child() {
            return;
        }
        let mut waiting = lock(&self.waiting);
        let woken = std::mem::take(&mut waiting.wakers);
        self.len.store(0, Ordering::Relaxed);
        drop(waiting);
        panics::wake_all(woken.into_iter().map(|waker| waker.1));
    }

    /// What has happened so far.
    pub fn seen(&self) -> Seen {
        Seen { rounds: self.rounds.load(Ordering::Relaxed), notifies: self.notifies.load(Ordering::Acquire) }
    }

    /// What a coroutine's blocking `poll` has seen when it begins: a notification that came before ends it. A thread's
    /// `poll` takes no notification from coroutines, nor these from it.
    pub fn seen_by_polls(&self) -> Seen {
        Seen { notifies: self.taken.load(Ordering::Relaxed), ..self.seen() }
    }

    /// A coroutine's blocking `poll` ends, which has seen this. For the home thread.
    pub fn poll_ends(&self, seen: Seen) {
        self.taken.store(seen.notifies, Ordering::Relaxed);
    }

    /// The context was notified. From any thread.
    pub fn notified(&self) {
        // All see it, while a flag would be for the first alone.
        self.notifies.fetch_add(1, Ordering::Release);
        self.wake();
    }

    /// One of them waits again. For the home thread.
    pub fn waits_again(&self) {
        self.again.store(self.again.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// A round begins. For the home thread.
    #[inline]
    pub fn round_begins(&self) {
        self.again.store(0, Ordering::Relaxed);
    }

    /// The current round has run `ran` items and ends. For the home thread.
    #[inline]
    pub fn round_ends(&self, ran: usize) {
        if ran > self.again.load(Ordering::Relaxed) && self.len.load(Ordering::Relaxed) > 0 {
            self.rounds.store(self.rounds.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            self.wake();
        }
    }
}
