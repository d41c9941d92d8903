//! The queues that a thread holds by value: those of the contexts that it is home to.
//!
//! A context's queue is in the table of its home thread or, while the context has no home, under a lock in its scheduler
//! (`mod.rs`). Only the thread itself reaches its table, so it needs no lock. (The type of a scheduler is a parameter,
//! `S`, so that the test can do without one.)
//!
//! While a queue is touched, the table is out of its thread-local, and the thread looks as if it were home to nothing.
//! User code must not run meanwhile, because it could come back here.

#[cfg(not(loom))]
use std::thread::LocalKey;
use std::{
    cell::Cell,
    mem::{self, ManuallyDrop},
    ptr,
    sync::Arc,
};

#[cfg(loom)]
use loom::thread::LocalKey;

use crate::tasks::queue::Queue;

/// The thread-local that keeps a thread's table. It has no destructor (`ManuallyDrop`), so that a thread can become a
/// home, and leave, in its thread-local destructors. When the thread has left everything, [`free`] frees the memory.
pub struct Held<S>(Cell<ManuallyDrop<Option<Box<Table<S>>>>>);

/// Behind one pointer, so that taking it and putting it back costs little.
struct Table<S>(Vec<Entry<S>>);

struct Entry<S> {
    /// By its address the entry is found.
    scheduler: Arc<S>,
    queue: Queue<S>,
}

impl<S> Held<S> {
    /// Without a table. The first queue makes one.
    pub const fn nothing() -> Self {
        Self(Cell::new(ManuallyDrop::new(None)))
    }
}

/// A thread's table, taken out of its thread-local until this is dropped.
struct Taken<S: 'static> {
    local: &'static LocalKey<Held<S>>,
    table: ManuallyDrop<Option<Box<Table<S>>>>,
}

impl<S> Taken<S> {
    #[inline]
    fn from(local: &'static LocalKey<Held<S>>) -> Self {
        Self { local, table: local.with(|held| held.0.replace(ManuallyDrop::new(None))) }
    }

    /// The queue of `scheduler`, if this thread holds it.
    #[inline]
    fn find(&mut self, at: usize, scheduler: &S) -> Option<&mut Queue<S>> {
        let entry = self.table.as_mut()?.0.get_mut(at)?;
        if ptr::eq(Arc::as_ptr(&entry.scheduler), scheduler) { Some(&mut entry.queue) } else { None }
    }
}

impl<S> Drop for Taken<S> {
    #[inline]
    fn drop(&mut self) {
        let table = ManuallyDrop::new(self.table.take());
        let other = self.local.with(|held| held.0.replace(table));
        debug_assert!(other.is_none(), "a queue was touched while another was");
    }
}

/// Adds a queue to this thread's table. Returns the index at which it is found.
pub fn put<S>(local: &'static LocalKey<Held<S>>, scheduler: &Arc<S>, queue: Queue<S>) -> usize {
    let entry = Entry { scheduler: Arc::clone(scheduler), queue };
    let mut taken = Taken::from(local);
    let Table(entries) = &mut **taken.table.get_or_insert_with(|| Box::new(Table(Vec::new())));
    entries.push(entry);
    entries.len() - 1
}

/// Takes the queue of `scheduler` out of the table, if this thread holds it. That may move another queue to the index
/// `at`: then `tell` is called with that queue's scheduler.
///
/// As everywhere in this file, `at` is the index that the last home of `scheduler` was given. That need not be this
/// thread.
pub fn take<S>(local: &'static LocalKey<Held<S>>, at: usize, scheduler: &S, tell: impl FnOnce(&S)) -> Option<Queue<S>> {
    let mut taken = Taken::from(local);
    taken.find(at, scheduler)?;
    let Table(entries) = &mut **taken.table.as_mut()?;
    let entry = entries.swap_remove(at);
    if let Some(moved) = entries.get(at) {
        tell(&moved.scheduler);
    }
    drop(taken);
    Some(entry.queue)
}

/// Whether this thread holds the queue of `scheduler`.
#[inline]
pub fn has<S>(local: &'static LocalKey<Held<S>>, at: usize, scheduler: &S) -> bool {
    Taken::from(local).find(at, scheduler).is_some()
}

/// Calls `touch` with the queue of `scheduler` and `item`. Gives `item` back if this thread does not hold the queue.
#[inline]
pub fn with<S, T, R>(
    local: &'static LocalKey<Held<S>>,
    at: usize,
    scheduler: &S,
    item: T,
    touch: impl FnOnce(&mut Queue<S>, T) -> R,
) -> Result<R, T> {
    match Taken::from(local).find(at, scheduler) {
        Some(queue) => Ok(touch(queue, item)),
        None => Err(item),
    }
}

/// Frees the table at the thread's end. A table that still has queues is leaked, because the thread has not left their
/// contexts.
pub fn free<S>(local: &'static LocalKey<Held<S>>) {
    let mut taken = Taken::from(local);
    if taken.table.as_ref().is_some_and(|table| table.0.is_empty()) {
        *taken.table = None;
    }
}

/// Forgets the queues in a forked child, because they are its parent's. Takes no lock, allocates nothing and frees
/// nothing.
pub fn forget<S>(local: &'static LocalKey<Held<S>>) {
    mem::forget(Taken::from(local).table.take());
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use super::*;

    thread_local! { static HELD: Held<u8> = const { Held::nothing() } }

    /// How many items were pushed to the queue that is found.
    fn found(at: usize, scheduler: &u8) -> Option<u64> {
        let found = with(&HELD, at, scheduler, (), |queue, ()| queue.last()).ok();
        assert_eq!(found.is_some(), has(&HELD, at, scheduler));
        found
    }

    /// A queue of `count` items. The count tells it from other queues.
    fn queue(count: u64) -> Queue<u8> {
        let mut queue = Queue::default();
        (0..count).for_each(|_| queue.push_bottom_half(crate::tasks::bottom_half::Queued::once(|| {})));
        queue
    }

    /// Catches: a lookup by the index alone, which finds another scheduler's queue or another thread's; a queue whose
    /// scheduler does not learn its new index; a table that loses queues, or that is not freed when it is empty.
    #[test]
    fn a_thread_finds_the_queues_that_it_holds_and_no_other() {
        let schedulers = [1, 2, 3].map(Arc::new);
        let [first, second, last] = &schedulers;
        let at = [1, 2, 3].map(|count| put(&HELD, &schedulers[count as usize - 1], queue(count)));
        assert_eq!(at, [0, 1, 2]);
        for (at, scheduler) in at.into_iter().zip(&schedulers) {
            assert_eq!(found(at, scheduler), Some(u64::from(**scheduler)));
            assert_eq!(found(at + 1, scheduler), None);
            assert_eq!(take(&HELD, at + 1, scheduler, |_| unreachable!()).map(|_| ()), None);
        }
        thread::scope(|scope| {
            let elsewhere = scope.spawn(|| {
                assert_eq!(found(0, first), None);
                put(&HELD, last, queue(7));
                assert_eq!(found(0, first), None);
                assert_eq!(found(0, last), Some(7));
                drop(take(&HELD, 0, last, |_| unreachable!()));
                free(&HELD);
                assert!(HELD.with(|held| held.0.replace(ManuallyDrop::new(None))).is_none());
            });
            elsewhere.join().unwrap();
        });
        let mut moved = None;
        assert_eq!(take(&HELD, 0, first, |scheduler| moved = Some(*scheduler)).unwrap().last(), 1);
        assert_eq!(moved, Some(3));
        assert_eq!((found(0, first), found(0, last), found(1, second)), (None, Some(3), Some(2)));
        free(&HELD);
        assert_eq!(found(0, last), Some(3), "freed though it is not empty");
        forget(&HELD);
        assert_eq!((found(0, last), found(1, second)), (None, None));
    }
}
