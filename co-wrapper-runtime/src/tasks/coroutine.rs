//! The mark of coroutine context: whether what runs on this thread is the polling of a task of ours or of a blocking
//! call's future. Whoever polls one sets it for as long, whoever runs something else in between clears it.
//!
//! A future that is dropped unfinished is not polled: its destructors run outside, and may block.

use std::cell::Cell;

/// What runs on a thread.
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

thread_local! {
    // One byte, for a call sets and restores all of it.
    static MARK: Cell<Mark> = const { Cell::new(Mark::NONE) };
}

/// Whether this is coroutine context.
#[inline]
pub fn is_marked() -> bool {
    MARK.get().has(Mark::COROUTINE)
}

/// Whether what runs is the body of a task that may move to another thread.
pub fn may_move() -> bool {
    MARK.get().has(Mark::SEND_TASK)
}

/// Sets the mark and returns what it was, to be set again.
#[inline]
pub fn mark(mark: Mark) -> Mark {
    MARK.replace(mark)
}

/// The task that was marked as dispatched is polled, from now on. Returns what the mark was.
pub fn mark_polled() -> Mark {
    let dispatched = MARK.get();
    mark(Mark(dispatched.0 | Mark::COROUTINE.0))
}
