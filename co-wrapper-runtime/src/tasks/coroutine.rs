//! The mark of coroutine context: whether what runs on this thread is the polling of a task of ours or of a blocking
//! call's future. Whoever polls one sets it for as long, whoever runs something else in between clears it.
//!
//! A future that is dropped unfinished is not polled: its destructors run outside, and may block.

use std::cell::Cell;

thread_local! {
    static IN_COROUTINE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the mark is set.
#[inline]
pub fn is_marked() -> bool {
    IN_COROUTINE.get()
}

/// Sets or clears the mark and returns what it was, to be set again.
#[inline]
pub fn mark(in_coroutine: bool) -> bool {
    IN_COROUTINE.replace(in_coroutine)
}
