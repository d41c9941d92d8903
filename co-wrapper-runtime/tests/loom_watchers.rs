//! Models of coroutines that wait for a context (`scheduler/watchers.rs`), over the production code.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p co-wrapper-runtime --no-default-features --features coroutine --release --test
//! loom_watchers`
//!
//! Each model runs through all orders in which its threads can take their steps. A lost wake shows as a deadlock.

#![cfg(all(loom, feature = "coroutine"))]

#[path = "common/model.rs"]
mod model;

use std::{sync::Arc, task::Waker};

use co_wrapper_runtime::__model::{Home, Parker, Scheduler, Seen, WakeSlot, here};
use loom::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};
use model::model;

fn home(parker: &Parker) -> Home {
    Home { thread: here(), thread_name: String::new(), unparker: parker.unparker(), call: None }
}

/// A coroutine that waits for a context, resumed by the thread that it runs on when its slot is woken.
struct Coroutine {
    slot: Arc<WakeSlot>,
    watches: Option<u64>,
    /// What it had seen of the context before it last evaluated its condition.
    seen: Option<Seen>,
}

impl Coroutine {
    fn new(parker: &Parker) -> Self {
        Self { slot: Arc::new(WakeSlot::new(parker.unparker())), watches: None, seen: None }
    }

    /// Watches the context, as a coroutine does before it looks whether it has to wait.
    fn watch(&mut self, scheduler: &Scheduler) {
        self.watches = Some(scheduler.watchers().add(Waker::from(Arc::clone(&self.slot))));
    }

    /// Like [`watch`](Self::watch), as a call does that the context's close gives up.
    fn watch_close(&mut self, scheduler: &Scheduler) {
        self.watches = Some(scheduler.watchers().add_until_closed(Waker::from(Arc::clone(&self.slot))));
    }

    fn unwatch(&mut self, scheduler: &Scheduler) {
        self.watches.take().into_iter().for_each(|number| _ = scheduler.watchers().remove(number));
    }
}

/// The coroutines of one thread wait for a condition with `poll_while`, until each of the other threads has done something
/// and notified the context.
///
/// Catches: a notification that is counted after the coroutines were woken, and one that only the first coroutine learns
/// of; a count that is added or read with `Relaxed`; a coroutine that begins to wait while others are woken, and is
/// forgotten by the next wake; a notification and a coroutine that miss each other because both read before they see
/// what the other one has written (`wake` or `add` without its fence).
#[test]
fn c01_a_notification_is_never_lost_by_a_coroutine() {
    for [coroutines, notifiers] in [[1, 2], [2, 1]] {
        model(move || {
            let scheduler = Arc::new(Scheduler::new());
            let parker = Parker::new();
            assert!(scheduler.move_in(home(&parker)).is_ok());
            let left = Arc::new(AtomicUsize::new(notifiers));
            let notify = |_| {
                let (scheduler, left) = (Arc::clone(&scheduler), Arc::clone(&left));
                thread::spawn(move || {
                    // `Relaxed`: it is the notification that carries it over.
                    left.fetch_sub(1, Ordering::Relaxed);
                    scheduler.notify();
                })
            };
            let threads: Vec<_> = (0..notifiers).map(notify).collect();
            let mut waiting: Vec<_> = (0..coroutines).map(|_| Coroutine::new(&parker)).collect();
            waiting.retain_mut(|coroutine| resume(&scheduler, coroutine, &left));
            while !waiting.is_empty() {
                let mut resumed = false;
                waiting.retain_mut(|coroutine| {
                    let woken = coroutine.slot.take_woken();
                    resumed |= woken;
                    !woken || resume(&scheduler, coroutine, &left)
                });
                if !resumed {
                    parker.park(None);
                }
            }
            scheduler.move_out();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}

/// What such a coroutine does each time it is resumed (`poll_while_suspended` and `suspend::until_ran`). Returns whether
/// it waits again.
fn resume(scheduler: &Scheduler, coroutine: &mut Coroutine, left: &AtomicUsize) -> bool {
    coroutine.unwatch(scheduler);
    loop {
        if let Some(seen) = coroutine.seen {
            coroutine.watch(scheduler);
            if scheduler.watchers().seen() == seen {
                return true;
            }
            coroutine.unwatch(scheduler);
        }
        coroutine.seen = Some(scheduler.watchers().seen());
        if left.load(Ordering::Relaxed) == 0 {
            return false;
        }
    }
}

/// Two threads' coroutines call into a context that a third thread closes. One of the calls is done before that.
///
/// Catches: a close that wakes no coroutine, or wakes them before they can see that it is closed; a coroutine that goes
/// on and takes another one's waker with it; a close and a coroutine that each miss the other.
#[test]
fn c01_w06_a_close_wakes_the_coroutines_that_wait_there() {
    model(|| {
        let scheduler = Arc::new(Scheduler::new());
        let there = Arc::clone(&scheduler);
        let other = thread::spawn(move || {
            let mut coroutine = Coroutine::new(&Parker::new());
            coroutine.watch_close(&there);
            coroutine.unwatch(&there);
        });
        let closed = Arc::clone(&scheduler);
        let closer = thread::spawn(move || closed.close());
        let parker = Parker::new();
        let mut coroutine = Coroutine::new(&parker);
        loop {
            coroutine.watch_close(&scheduler);
            if scheduler.is_closed() {
                break;
            }
            while !coroutine.slot.take_woken() {
                parker.park(None);
            }
            coroutine.unwatch(&scheduler);
        }
        coroutine.unwatch(&scheduler);
        [other, closer].into_iter().for_each(|thread| thread.join().unwrap());
    });
}
