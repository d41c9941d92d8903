//! The queues that one thread holds by value: those of the contexts that it is home to.
//!
//! A queue is either here, in the table of its home thread, or lies in its scheduler under a lock while the context has no
//! home. So nobody but the home thread reaches it, and it takes no lock to.
//!
//! While a queue is touched the table is taken from its place, and the thread looks as if it were home to nothing. So user
//! code never runs meanwhile: it could come back here.

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

/// The place of a thread's table. `ManuallyDrop`, so that a thread can be at home, and leave, in its thread-local
/// destructors: when it has left everything, [`free`] gives the memory back.
pub struct Held<S>(Cell<ManuallyDrop<Option<Box<Table<S>>>>>);

/// Behind one pointer, so that taking it and putting it back costs little.
struct Table<S>(Vec<Entry<S>>);

struct Entry<S> {
    /// Its address, by which it is found.
    address: *const S,
    /// Keeps the address from being another's.
    scheduler: Arc<S>,
    queue: Queue<S>,
}

impl<S> Held<S> {
    /// Without a table, which the first queue makes.
    pub const fn nothing() -> Self {
        Self(Cell::new(ManuallyDrop::new(None)))
    }
}

/// A thread's table, which goes back to its place when this is dropped.
struct Taken<S: 'static> {
    place: &'static LocalKey<Held<S>>,
    table: ManuallyDrop<Option<Box<Table<S>>>>,
}

impl<S> Taken<S> {
    #[inline]
    fn from(place: &'static LocalKey<Held<S>>) -> Self {
        Self { place, table: place.with(|held| held.0.replace(ManuallyDrop::new(None))) }
    }

    /// The queue of `scheduler`, if it is here.
    #[inline]
    fn find(&mut self, at: usize, scheduler: &S) -> Option<&mut Queue<S>> {
        let entry = self.table.as_mut()?.0.get_mut(at)?;
        if ptr::eq(entry.address, scheduler) { Some(&mut entry.queue) } else { None }
    }
}

impl<S> Drop for Taken<S> {
    #[inline]
    fn drop(&mut self) {
        let table = ManuallyDrop::new(self.table.take());
        let other = self.place.with(|held| held.0.replace(table));
        debug_assert!(other.is_none(), "a queue was touched while another was");
    }
}

/// Takes a queue in, and says at which index it is found.
pub fn put<S>(place: &'static LocalKey<Held<S>>, scheduler: &Arc<S>, queue: Queue<S>) -> usize {
    let entry = Entry { address: Arc::as_ptr(scheduler), scheduler: Arc::clone(scheduler), queue };
    let mut taken = Taken::from(place);
    let Table(entries) = &mut **taken.table.get_or_insert_with(|| Box::new(Table(Vec::new())));
    entries.push(entry);
    entries.len() - 1
}

/// Gives the queue of `scheduler` back, if it is here. Another one may be found at `at` from now on, which is told to it.
///
/// As everywhere here, `at` is the index that the last home of `scheduler` was given, which need not be this thread.
pub fn take<S>(place: &'static LocalKey<Held<S>>, at: usize, scheduler: &S, tell: impl FnOnce(&S)) -> Option<Queue<S>> {
    let mut taken = Taken::from(place);
    taken.find(at, scheduler)?;
    let Table(entries) = &mut **taken.table.as_mut()?;
    let entry = entries.swap_remove(at);
    if let Some(moved) = entries.get(at) {
        tell(&moved.scheduler);
    }
    drop(taken);
    Some(entry.queue)
}

/// Whether the queue of `scheduler` is here.
#[inline]
pub fn has<S>(place: &'static LocalKey<Held<S>>, at: usize, scheduler: &S) -> bool {
    Taken::from(place).find(at, scheduler).is_some()
}

/// Lets `touch` at the queue of `scheduler`, with `item`, which it gives back if the queue is not here.
#[inline]
pub fn with<S, T, R>(
    place: &'static LocalKey<Held<S>>,
    at: usize,
    scheduler: &S,
    item: T,
    touch: impl FnOnce(&mut Queue<S>, T) -> R,
) -> Result<R, T> {
    match Taken::from(place).find(at, scheduler) {
        Some(queue) => Ok(touch(queue, item)),
        None => Err(item),
    }
}

/// Gives the table's memory back, at the thread's end. What is still in it stays in it for good, for its thread did not leave.
pub fn free<S>(place: &'static LocalKey<Held<S>>) {
    let mut taken = Taken::from(place);
    if taken.table.as_ref().is_some_and(|table| table.0.is_empty()) {
        *taken.table = None;
    }
}

/// Forgets the queues, in a forked child: they are its parent's. Takes no lock, allocates nothing and frees nothing.
pub fn forget<S>(place: &'static LocalKey<Held<S>>) {
    mem::forget(Taken::from(place).table.take());
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::thread;

    use super::*;

    thread_local! { static HELD: Held<u8> = const { Held::nothing() } }

    /// How many items the queue that is found was given.
    fn found(at: usize, scheduler: &u8) -> Option<u64> {
        let found = with(&HELD, at, scheduler, (), |queue, ()| queue.last()).ok();
        assert_eq!(found.is_some(), has(&HELD, at, scheduler));
        found
    }

    /// A queue of so many items, by which it is told from others.
    fn queue(count: u64) -> Queue<u8> {
        let mut queue = Queue::default();
        (0..count).for_each(|_| queue.push_bottom_half(crate::tasks::bottom_half::Queued::once(|| {})));
        queue
    }

    /// Catches: a queue that is found by its index alone, another scheduler's or by another thread; an index that is not
    /// told to whom it moves; a table that loses the queues, or is kept when it is empty.
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
