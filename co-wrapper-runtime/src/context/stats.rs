//! The counters of a context, and the statistics that users read.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters. Only the home thread writes them, so counting needs no locked instruction.
#[derive(Debug, Default)]
pub struct Counters {
    pub polls: Counter,
    pub parks: Counter,
    pub spins: Counter,
    pub spins_paid: Counter,
    pub deepest: Counter,
    pub held_back_runs: Counter,
}

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn count(&self) {
        self.0.store(self.get() + 1, Ordering::Relaxed);
    }

    pub fn at_least(&self, value: u64) {
        if self.get() < value {
            self.0.store(value, Ordering::Relaxed);
        }
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a context has done so far. Returned by [`AioContext::stats`](crate::AioContext::stats).
///
/// # Examples
///
/// ```
/// let ctx = co_wrapper::AioContext::new()?;
/// let before = ctx.stats().polls;
/// ctx.poll(false);
/// assert_eq!(ctx.stats().polls, before + 1);
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Rounds of the poll loop while this context was current. A round looks for work once, in `poll` or in a blocking
    /// call that waits.
    pub polls: u64,
    /// How often its home thread went to sleep.
    pub parks: u64,
    /// How often it spun before going to sleep.
    pub spins: u64,
    /// How often work came while it spun, so that it need not sleep.
    pub spins_paid: u64,
    /// The most blocking calls that were on its home thread's stack at once while one waited in this context.
    pub deepest_nesting: u64,
    /// How often a nested wait ran something that it had held back, because nothing else had moved for some milliseconds.
    pub held_back_runs: u64,
    /// Tasks and received calls that have not finished.
    pub tasks_live: u64,
    /// `!Send` tasks, of the whole process, that were leaked because only a thread that has ended could have dropped
    /// them.
    pub tasks_leaked: u64,
    /// How long its home thread currently spins before it sleeps, in ns.
    pub spin_budget: u64,
}
