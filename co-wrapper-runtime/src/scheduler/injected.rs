//! What other threads have queued in a context since its home thread last looked.
//!
//! The home thread moves it to the queue before it looks there and before it queues something itself, so earlier work
//! runs first. After a context was closed, nothing new is accepted; what was accepted before may still come in.
//!
//! Users' code never runs under the lock: what is refused is given back, and the caller drops it. Nothing here wakes
//! the home thread. Whoever has injected something rings it afterwards. (The type of a scheduler is a parameter, `S`,
//! as in `held.rs`.)

use std::mem;

use crate::{
    sys::sync::{AtomicUsize, Mutex, Ordering, lock},
    tasks::{bottom_half::Queued, queue::Queue, task::Runnable},
};

pub struct Injected<S> {
    state: Mutex<State<S>>,
    /// How many items there are, so that a check need not take the lock. Relaxed, because it orders nothing: that an
    /// item is seen in time is up to the ring that follows, or to the user's own synchronization.
    len: AtomicUsize,
}

struct State<S> {
    closed: bool,
    items: Vec<Item<S>>,
    /// How many of the items are tasks that are not yet in the queue's list.
    new: usize,
    /// How many threads have yet to take out everything that is queued; see [`Injected::begin_to_clear`].
    clearing: usize,
}

enum Item<S> {
    BottomHalf(Queued),
    Task(Runnable<S>),
    /// A task that ended on a thread that is not the home: its key in the list, and whether it had an owner.
    Ended(usize, bool),
}

impl<S> Injected<S> {
    /// Nothing, in an open context.
    pub fn new() -> Self {
        let state = State { closed: false, items: Vec::new(), new: 0, clearing: 0 };
        Self { state: Mutex::new(state), len: AtomicUsize::new(0) }
    }

    /// Whether there is nothing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    fn put(&self, state: &mut State<S>, item: Item<S>) {
        state.items.push(item);
        self.len.store(state.items.len(), Ordering::Relaxed);
    }

    /// Injects a bottom half. Gives it back if the context is closed.
    pub fn push_bottom_half(&self, bottom_half: Queued) -> Result<(), Queued> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(bottom_half);
        }
        self.put(&mut state, Item::BottomHalf(bottom_half));
        Ok(())
    }

    /// Injects a task. If the context is closed, gives back one that may be refused. Returns whether the task was
    /// accepted although the context is closed and no thread is about to clear it out: a thread that is the home, or
    /// becomes it, drops the task, but if there is none, nobody else will.
    pub fn push_task(&self, runnable: Runnable<S>) -> Result<bool, Runnable<S>> {
        let mut state = lock(&self.state);
        if state.closed && runnable.metadata().may_be_refused() {
            return Err(runnable);
        }
        state.new += usize::from(runnable.metadata().key().is_none());
        self.put(&mut state, Item::Task(runnable));
        Ok(state.closed && state.clearing == 0)
    }

    /// Injects that the task with this key in the list of live tasks has ended. `owned`: it had an owner.
    pub fn push_ended(&self, key: usize, owned: bool) {
        self.put(&mut lock(&self.state), Item::Ended(key, owned));
    }

    /// Moves everything to `queue`. `live` is the number of tasks in its list, for [`live`](Self::live).
    #[cold]
    pub fn take_into(&self, queue: &mut Queue<S>, live: &AtomicUsize) {
        let mut state = lock(&self.state);
        // Both under the lock, because `live` adds the two.
        live.store(queue.live() + mem::take(&mut state.new), Ordering::Relaxed);
        self.len.store(0, Ordering::Relaxed);
        for item in state.items.drain(..) {
            match item {
                Item::BottomHalf(bottom_half) => queue.push_bottom_half(bottom_half),
                Item::Task(runnable) => queue.push_task(runnable),
                Item::Ended(key, owned) => queue.remove(key, owned),
            }
        }
    }

    /// How many tasks and calls live in the context: those in the queue's list, which are `listed`, and those here.
    pub fn live(&self, listed: &AtomicUsize) -> usize {
        let state = lock(&self.state);
        listed.load(Ordering::Relaxed) + state.new
    }

    /// Closes the context: no new item is accepted from now on.
    pub fn close(&self) {
        lock(&self.state).closed = true;
    }

    /// A thread is about to take out everything that is queued, after [`end_to_clear`](Self::end_to_clear). So whoever
    /// injects a task before that need not see to it that the task is dropped.
    pub fn begin_to_clear(&self) {
        lock(&self.state).clearing += 1;
    }

    /// That thread looks a last time after this.
    pub fn end_to_clear(&self) {
        lock(&self.state).clearing -= 1;
    }
}
