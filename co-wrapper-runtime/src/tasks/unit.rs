//! Task ids. The graph lock uses them to tell which task holds a guard.
//!
//! Bottom halves, and code outside any task, belong to the thread and have no id.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

thread_local! {
    /// The next id to give on this thread, and the end of the thread's supply.
    static SUPPLY: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// A task's id. Never reused, so that a guard that outlives its task is not attributed to another task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Unit(u64);

impl Unit {
    /// The id that stands for no task.
    pub const NONE: Self = Self(0);

    #[inline]
    pub fn new() -> Self {
        const BATCH: u64 = 1024;
        static NEXT: AtomicU64 = AtomicU64::new(1);

        let (mut next, mut end) = SUPPLY.get();
        if next == end {
            next = NEXT.fetch_add(BATCH, Ordering::Relaxed);
            end = next + BATCH;
        }
        SUPPLY.set((next + 1, end));
        Self(next)
    }

    /// The id as a number; 0 for no task.
    #[inline]
    pub fn number(self) -> u64 {
        self.0
    }
}
