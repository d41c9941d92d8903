//! Which task of ours runs on this thread, by a number, and which ones further down its stack wait for it to return. The
//! graph lock asks, to tell who holds what.
//!
//! Bottom halves, and what runs in no task, are the thread's own: they have no number.

use std::{
    cell::{Cell, RefCell},
    sync::atomic::{AtomicU64, Ordering},
};

thread_local! {
    /// The task that is being polled here, 0 for none.
    static CURRENT: Cell<u64> = const { Cell::new(0) };
    /// The next number to give here, and the end of this thread's supply.
    static SUPPLY: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// A task's number. Never given twice, so that what outlives a task is not taken for another's.
#[derive(Clone, Copy)]
pub struct Unit(u64);

impl Unit {
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

    /// The task is being polled until the guard is dropped.
    pub fn run(self) -> Running {
        Running(CURRENT.replace(self.0))
    }
}

/// A task is being polled.
pub struct Running(u64);

impl Drop for Running {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// The number of the task that is being polled here, 0 for none.
pub fn current() -> u64 {
    CURRENT.get()
}

/// The tasks of one thread that wait, further down its stack, until what runs now has returned.
#[derive(Default)]
pub struct Suspended {
    tasks: RefCell<Vec<u64>>,
    /// How many blocking calls were on the stack when what runs now was dispatched.
    depth: Cell<usize>,
}

impl Suspended {
    /// A loop, with `depth` blocking calls on the stack, dispatches something, until the guard is dropped.
    pub fn dispatch(&self, depth: usize) -> Dispatched<'_> {
        let outer = CURRENT.replace(0);
        if outer != 0 {
            self.tasks.borrow_mut().push(outer);
        }
        Dispatched { suspended: self, outer, depth: self.depth.replace(depth) }
    }

    /// Whether `task` is among them.
    pub fn contains(&self, task: u64) -> bool {
        self.tasks.borrow().contains(&task)
    }

    /// How many blocking calls were on the stack when what runs now was dispatched.
    pub fn depth(&self) -> usize {
        self.depth.get()
    }
}

/// Something was dispatched by a loop.
pub struct Dispatched<'a> {
    suspended: &'a Suspended,
    outer: u64,
    depth: usize,
}

impl Drop for Dispatched<'_> {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
        self.suspended.depth.set(self.depth);
        if self.outer != 0 {
            self.suspended.tasks.borrow_mut().pop();
        }
    }
}
