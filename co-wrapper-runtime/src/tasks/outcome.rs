//! How a task ended, and how async-task keeps that until the task is joined.
//!
//! Invariant: dropping an [`Output`] does not panic, because async-task would end the process.

use std::mem::ManuallyDrop;

use crate::sys::panics::{self, Payload};

/// How a task ended.
pub enum Outcome<T> {
    /// With its output.
    Done(T),
    /// With its panic.
    Panicked(Payload),
    /// It was aborted before.
    Aborted,
}

/// An [`Outcome`], as async-task keeps it. If nobody joins the task, async-task drops it.
pub struct Output<T>(ManuallyDrop<Outcome<T>>);

impl<T> Output<T> {
    pub fn new(outcome: Outcome<T>) -> Self {
        Self(ManuallyDrop::new(outcome))
    }

    pub fn into_inner(self) -> Outcome<T> {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: taken once, because `this` is not dropped.
        unsafe { ManuallyDrop::take(&mut this.0) }
    }
}

impl<T> Drop for Output<T> {
    fn drop(&mut self) {
        // SAFETY: dropped here only: `into_inner` takes it out of a value that is never dropped.
        panics::discard(unsafe { ManuallyDrop::take(&mut self.0) });
    }
}
