//! A number for each task of ours, and which tasks further down a thread's stack wait for what runs there to return. The
//! graph lock asks, to tell who holds what.
//!
//! Bottom halves, and what runs in no task, are the thread's own: they have no number.

use std::{
    cell::{Cell, RefCell},
    sync::atomic::{AtomicU64, Ordering},
};

thread_local! {
    /// The next number to give here, and the end of this thread's supply.
    static SUPPLY: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// A task's number. Never given twice, so that what outlives a task is not taken for another's.
#[derive(Clone, Copy)]
pub struct Unit(u64);

impl Unit {
    /// No task's.
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

    /// The number, 0 for no task.
    #[inline]
    pub fn number(self) -> u64 {
        self.0
    }
}

/// The tasks of one thread that wait, further down its stack, until what runs now has returned. Of each its number, and how
/// many calls were on the stack when it began to.
#[derive(Default)]
pub struct Suspended(RefCell<Vec<(u64, usize)>>);

impl Suspended {
    /// Something is dispatched above the task `outer`, or above none, with `depth` calls on the stack, until the guard is
    /// dropped.
    pub fn dispatch(&self, outer: Unit, depth: usize) -> Dispatched<'_> {
        if outer.0 != 0 {
            self.0.borrow_mut().push((outer.0, depth));
        }
        Dispatched { suspended: self, outer }
    }

    /// Whether `task` is among those that began to wait with at most so many calls on the stack.
    pub fn contains(&self, task: u64, calls: usize) -> bool {
        self.0.borrow().iter().any(|(suspended, depth)| *suspended == task && *depth <= calls)
    }
}

/// Something was dispatched by a loop.
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
