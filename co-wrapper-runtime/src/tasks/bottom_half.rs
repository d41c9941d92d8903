//! Bottom halves: callbacks that run on the home thread, outside any coroutine. Nothing here knows what queues and runs
//! them.
//!
//! Invariants of a [`Reusable`]: it has at most one entry in the queue, and its callback is never entered while it
//! runs. The bits of one atomic byte say which thread may use the callback.

use std::{mem, panic::RefUnwindSafe, sync::Arc};

use crate::sys::{
    panics,
    sync::{AtomicU8, Mutex, Ordering, lock},
};

/// A bottom half in a context's queue.
pub enum Queued {
    /// Runs once.
    Once(Box<dyn FnOnce() + Send>),
    /// Runs if it is scheduled when its turn comes.
    Again(Arc<Reusable>),
    /// Runs once, and code of a thread awaits what it does.
    Awaited(Box<Awaited>),
}

/// In a box of its own, so that the other bottom halves stay small.
pub struct Awaited {
    by: u64,
    callback: Box<dyn FnOnce() + Send>,
}

impl Queued {
    /// A bottom half that runs `callback` once.
    pub fn once(callback: impl FnOnce() + Send + 'static) -> Self {
        Self::Once(Box::new(callback))
    }

    /// Like [`once`](Self::once), for code of the thread `by`, which awaits what it does.
    pub fn awaited(by: u64, callback: impl FnOnce() + Send + 'static) -> Self {
        Self::Awaited(Box::new(Awaited { by, callback: Box::new(callback) }))
    }

    /// The thread whose code awaits what it does, if that is known.
    pub fn awaited_by(&self) -> Option<u64> {
        match self {
            Self::Awaited(awaited) => Some(awaited.by),
            Self::Once(_) | Self::Again(_) => None,
        }
    }

    /// Called for an entry taken from the queue. Returns whether it is to run now, that is, whether it was not
    /// cancelled and is not running in an outer frame. Then it must be run.
    #[inline]
    pub fn settle(&self) -> bool {
        match self {
            Self::Once(_) | Self::Awaited(_) => true,
            Self::Again(reusable) => reusable.begin(),
        }
    }

    /// Runs it. If its turn came again meanwhile, it is passed to `requeue` afterwards, even if it panics.
    #[inline]
    pub fn run(self, requeue: impl Fn(Self)) {
        match self {
            Self::Once(callback) => callback(),
            Self::Awaited(awaited) => (awaited.callback)(),
            Self::Again(reusable) => reusable.run(requeue),
        }
    }
}

/// It is to run.
const SCHEDULED: u8 = 1;
/// It has an entry in the queue: at most one, however often it is scheduled and cancelled between polls.
const QUEUED: u8 = 2;
/// It runs. An `FnMut` cannot be entered twice, so if its turn comes meanwhile, it stays scheduled, and gets another
/// turn afterwards.
const RUNNING: u8 = 4;
/// It was deleted.
const GONE: u8 = 8;

/// A callback that may be scheduled and run repeatedly.
pub struct Reusable {
    state: AtomicU8,
    /// Called on the home thread when its turn comes; if it returns false, the turn is skipped.
    condition: Option<Box<dyn Fn() -> bool + Send + Sync>>,
    /// Locked only by a thread that set `RUNNING`, until it clears that bit, or else by a thread that set `GONE`. So
    /// nobody waits for the lock, although it is held while the callback runs.
    callback: Mutex<Option<Box<dyn FnMut() + Send>>>,
}

// A callback that panicked may be run again: nothing says that it is broken.
impl RefUnwindSafe for Reusable {}

/// Ends a run or a skipped turn, even if it panics.
struct End<'a, F: Fn(Queued)> {
    reusable: &'a Arc<Reusable>,
    requeue: F,
}

impl<F: Fn(Queued)> Drop for End<'_, F> {
    fn drop(&mut self) {
        let before = self.reusable.state.fetch_and(!RUNNING, Ordering::AcqRel);
        if before & GONE != 0 {
            // The thread that set `GONE` saw `RUNNING`, and so left the callback to this one.
            self.reusable.drop_callback();
        } else if before & SCHEDULED != 0 && self.reusable.has_to_be_queued(0) {
            // Its turn came while it ran: it is scheduled, but was no longer queued.
            (self.requeue)(Queued::Again(Arc::clone(self.reusable)));
        }
    }
}

impl Reusable {
    /// A bottom half that runs `callback` if `condition` holds when its turn comes.
    pub fn new(condition: Option<Box<dyn Fn() -> bool + Send + Sync>>, callback: Box<dyn FnMut() + Send>) -> Arc<Self> {
        Arc::new(Self { state: AtomicU8::new(0), condition, callback: Mutex::new(Some(callback)) })
    }

    /// Schedules it. Returns whether it must be queued. This writes even if it is scheduled already: the write orders
    /// what the caller did before the run that clears the bit, which a load would not.
    #[must_use]
    pub fn schedule(&self) -> bool {
        self.has_to_be_queued(SCHEDULED)
    }

    fn has_to_be_queued(&self, set: u8) -> bool {
        self.state.fetch_or(set | QUEUED, Ordering::AcqRel) & QUEUED == 0
    }

    /// Whether it is scheduled, for messages.
    pub fn is_scheduled(&self) -> bool {
        self.state.load(Ordering::Relaxed) & SCHEDULED != 0
    }

    /// Whether it is neither scheduled nor running, and not deleted.
    #[cfg(all(feature = "tokio", unix))]
    pub fn is_idle(&self) -> bool {
        self.state.load(Ordering::Acquire) == 0
    }

    /// Cancels a scheduled run.
    pub fn unschedule(&self) {
        self.state.fetch_and(!SCHEDULED, Ordering::AcqRel);
    }

    /// Called when its turn has come. Returns whether it is to run; then it counts as running, and may be scheduled
    /// again.
    #[inline]
    fn begin(self: &Arc<Self>) -> bool {
        let runs = |state: u8| state & (SCHEDULED | RUNNING | GONE) == SCHEDULED;
        let turn = |state: u8| if runs(state) { state & !(SCHEDULED | QUEUED) | RUNNING } else { state & !QUEUED };
        let mut before = self.state.load(Ordering::Relaxed);
        while let Err(now) = self.state.compare_exchange_weak(before, turn(before), Ordering::AcqRel, Ordering::Relaxed)
        {
            before = now;
        }
        if !runs(before) {
            return false;
        }
        let Some(condition) = &self.condition else { return true };
        // The condition cannot have caused another turn, so there is nothing to requeue.
        let end = End { reusable: self, requeue: drop };
        let runs = condition();
        if runs {
            mem::forget(end);
        }
        runs
    }

    fn run(self: Arc<Self>, requeue: impl Fn(Queued)) {
        let _end = End { reusable: &self, requeue };
        if let Some(callback) = &mut *lock(&self.callback) {
            callback();
        }
    }

    fn drop_callback(&self) {
        let callback = lock(&self.callback).take();
        panics::drop_one(callback);
    }

    /// Prevents further runs, and drops the callback, now or when the current run has returned.
    pub fn delete(&self) {
        // If it is running, the end of the run drops the callback.
        if self.state.fetch_or(GONE, Ordering::AcqRel) & RUNNING == 0 {
            self.drop_callback();
        }
    }
}
