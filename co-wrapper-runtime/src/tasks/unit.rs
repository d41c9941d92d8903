//! Task ids, and which outer tasks on a thread's stack wait until the current code returns. The graph lock uses both to
//! tell which task holds a guard.
//!
//! Bottom halves, and code outside any task, belong to the thread and have no id.

use std::{
    cell::{Cell, RefCell},
    sync::atomic::{AtomicU64, Ordering},
};

thread_local! {
    /// The next id to give on this thread, and the end of the thread's supply.
    static SUPPLY: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// A task's id. Never reused, so that a guard that outlives its task is not attributed to another task.
#[derive(Clone, Copy)]
pub struct Unit(u64);

impl Unit {
    /// The id that stands for no task.
    pub const NONE: Self = Self(0);

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

/// The outer tasks on one thread's stack that wait until the current code has returned: the id of each, and how many
/// calls were on the stack when it began to wait.
#[derive(Default)]
pub struct Suspended(RefCell<Vec<(u64, usize)>>);

impl Suspended {
    /// Records that something is dispatched inside the task `outer`, or inside none, with `depth` calls on the stack,
    /// until the guard is dropped.
    pub fn dispatch(&self, outer: Unit, depth: usize) -> Dispatched<'_> {
        if outer.0 != 0 {
            self.0.borrow_mut().push((outer.0, depth));
        }
        Dispatched { suspended: self, outer }
    }

    /// Whether `task` began to wait with at most `calls` calls on the stack.
    pub fn contains(&self, task: u64, calls: usize) -> bool {
        self.0.borrow().iter().any(|(suspended, depth)| *suspended == task && *depth <= calls)
    }
}

/// Ends the wait of the outer task when it is dropped.
pub struct Dispatched<'a> {
    suspended: &'a Suspended,
    outer: Unit,
}

impl Drop for Dispatched<'_> {
    fn drop(&mut self) {
        if self.outer.0 != 0 {
            self.suspended.0.borrow_mut().pop();
        }
    }
}
