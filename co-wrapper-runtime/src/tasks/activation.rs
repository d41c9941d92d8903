//! What runs on this thread now, unlike what waits further down its stack: whether that is a coroutine, of which task it is
//! a part, and where that task lives. Whoever runs something else in between sets it and sets it back.
//!
//! A future that is dropped unfinished is not polled: its destructors run outside coroutine context, and may block.

use std::{cell::Cell, ptr};

use super::unit::Unit;

/// Whether a coroutine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u8);

impl Mark {
    /// No coroutine: the thread's own code, a bottom half, a handler, a destructor.
    pub const NONE: Self = Self(0);
    /// A coroutine that stays on its thread.
    pub const COROUTINE: Self = Self(1);
    /// A task that may move to another thread, which is polled if it is a coroutine too, else dropped.
    pub const SEND_TASK: Self = Self(2);

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// What runs on a thread.
#[derive(Clone, Copy)]
pub struct Activation {
    mark: Mark,
    task: Unit,
    /// The address of the queue in which the innermost task on the stack lives, null for none. Compared, never followed.
    place: *const (),
}

struct Now {
    // One byte, for a call sets and restores all of it, and nothing else.
    mark: Cell<Mark>,
    task: Cell<Unit>,
    place: Cell<*const ()>,
}

thread_local! {
    static NOW: Now =
        const { Now { mark: Cell::new(Mark::NONE), task: Cell::new(Unit::NONE), place: Cell::new(ptr::null()) } };
}

/// Whether this is coroutine context.
#[inline]
pub fn is_coroutine() -> bool {
    NOW.with(|now| now.mark.get()).has(Mark::COROUTINE)
}

/// Whether what runs is the body of a task that may move to another thread.
pub fn may_move() -> bool {
    NOW.with(|now| now.mark.get()).has(Mark::SEND_TASK)
}

/// Sets the mark and returns what it was, to be set again.
#[inline]
pub fn mark(mark: Mark) -> Mark {
    NOW.with(|now| now.mark.replace(mark))
}

/// The number of the task that is being polled here, 0 for none.
#[cfg(feature = "graph")]
#[inline]
pub fn task() -> u64 {
    NOW.with(|now| now.task.get()).number()
}

/// Whether the innermost task on the stack lives in the queue at that address.
pub fn runs_in<T>(place: *const T) -> bool {
    NOW.with(|now| ptr::eq(now.place.get(), place.cast()))
}

impl Activation {
    /// What runs now.
    #[inline]
    pub fn current() -> Self {
        NOW.with(|now| Self { mark: now.mark.get(), task: now.task.get(), place: now.place.get() })
    }

    /// This runs from now on.
    #[inline]
    pub fn set(self) {
        NOW.with(|now| {
            now.mark.set(self.mark);
            now.task.set(self.task);
            now.place.set(self.place);
        });
    }

    /// The same with another mark.
    #[inline]
    pub fn marked(self, mark: Mark) -> Self {
        Self { mark, ..self }
    }

    /// The poll of what was dispatched: of the task `task` that lives in the queue at `place`.
    #[inline]
    pub fn polled<T>(self, task: Unit, place: *const T) -> Self {
        Self { mark: Mark(self.mark.0 | Mark::COROUTINE.0), task, place: place.cast() }
    }

    /// The task.
    #[inline]
    pub fn task(self) -> Unit {
        self.task
    }
}

/// A loop runs something above what ran, as part of no task until it is a task that is polled, until the guard is dropped.
#[inline]
pub fn dispatch(mark: Mark) -> Dispatched {
    NOW.with(|now| Dispatched { mark: now.mark.replace(mark), task: now.task.replace(Unit::NONE) })
}

/// A loop runs something.
pub struct Dispatched {
    mark: Mark,
    task: Unit,
}

impl Dispatched {
    /// The task below.
    #[inline]
    pub fn outer(&self) -> Unit {
        self.task
    }
}

impl Drop for Dispatched {
    #[inline]
    fn drop(&mut self) {
        NOW.with(|now| {
            now.mark.set(self.mark);
            now.task.set(self.task);
        });
    }
}
