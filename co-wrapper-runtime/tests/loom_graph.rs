//! Models of the graph lock and of drained sections, over the production code.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p co-wrapper-runtime --no-default-features --features graph --release --test
//! loom_graph`
//!
//! Each thread has its own stripe, as far as the two there are suffice. A lost wake shows as a deadlock; a failure of
//! mutual exclusion shows as two threads in one cell.

#![cfg(all(loom, feature = "graph"))]

#[path = "common/model.rs"]
mod model;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use co_wrapper_runtime::{
    __model::{Parker, WakeSlot, end_grace, let_through, set_index, take_read, take_write, try_share},
    graph::{Drain, GraphLock},
};
use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};
use model::model;

/// Sleeps until the future is ready, as a blocking call does.
fn block_on<F: Future>(future: F) -> F::Output {
    let parker = Parker::new();
    let slot = Arc::new(WakeSlot::new(parker.unparker()));
    let waker = Waker::from(Arc::clone(&slot));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while !slot.take_woken() {
            parker.park(None);
        }
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// What the lock guards.
#[derive(Default)]
struct Graph(UnsafeCell<usize>);

// SAFETY: the lock sees to it, or loom complains.
unsafe impl Sync for Graph {}
// SAFETY: as above.
unsafe impl Send for Graph {}

impl Graph {
    fn look(&self) -> usize {
        // SAFETY: as above.
        self.0.with(|value| unsafe { *value })
    }

    fn change(&self) {
        // SAFETY: as above.
        self.0.with_mut(|value| unsafe { *value += 1 });
    }
}

/// A writer among readers on two stripes.
///
/// Catches: `try_enter` without a look at the bit; entering, leaving or opening the way by `Relaxed`; the writer's look at
/// the counts by `Relaxed`, or before it sets the bit; a reader that leaves past the mutex though the bit is set, or leaves
/// without waking the writer; a writer that leaves without waking the reader.
#[test]
fn g01_g02_readers_and_a_writer_exclude_each_other_and_wake() {
    model(|| {
        let (lock, graph) = (GraphLock::new(), Arc::new(Graph::default()));
        set_index(0);
        let (theirs, seen) = (lock.clone(), Arc::clone(&graph));
        let reader = thread::spawn(move || {
            set_index(1);
            let guard = block_on(theirs.read());
            seen.look();
            drop(guard);
        });
        let guard = block_on(take_write(&lock));
        graph.change();
        drop(guard);
        let guard = block_on(lock.read());
        assert_eq!(graph.look(), 1);
        drop(guard);
        reader.join().unwrap();
    });
}

/// A reader in waits for another, which a writer holds back until the time is up.
///
/// Catches: letting through those that are waiting without counting them, or without waking them; one that lets them in
/// beside a writer that is in.
#[test]
fn g01_readers_held_back_get_through() {
    model(|| {
        let (lock, graph) = (GraphLock::new(), Arc::new(Graph::default()));
        set_index(0);
        let (theirs, seen) = (lock.clone(), Arc::clone(&graph));
        let outer = block_on(lock.read());
        let reader = thread::spawn(move || {
            set_index(1);
            let guard = block_on(theirs.read());
            seen.look();
            drop(guard);
        });
        let mut writer = Box::pin(take_write(&lock));
        assert!(poll_once(writer.as_mut()).is_pending());
        // It waits by now, and is let in; or it came before the writer; or it comes after all this.
        let_through(&lock);
        drop(outer);
        let guard = block_on(writer);
        let_through(&lock);
        graph.change();
        drop(guard);
        reader.join().unwrap();
    });
}

/// A guard that is dropped on another thread than the one that took it, while a writer waits.
///
/// Catches: leaving past the mutex though the bit is set; giving the count back by `Relaxed`, or without waking the writer.
#[test]
fn g02_a_guard_dropped_elsewhere_wakes_the_writer() {
    model(|| {
        let (lock, graph) = (GraphLock::new(), Arc::new(Graph::default()));
        set_index(0);
        let guard = block_on(lock.read());
        let seen = Arc::clone(&graph);
        let dropper = thread::spawn(move || {
            set_index(1);
            seen.look();
            drop(guard);
        });
        let guard = block_on(take_write(&lock));
        graph.change();
        drop(guard);
        dropper.join().unwrap();
    });
}

/// A writer gives up while a reader waits behind it; a reader gives up while it is let in.
///
/// Catches: a cancelled writer that leaves the bit or the reader behind; a cancelled reader that keeps its count.
#[test]
fn g04_cancelled_ones_leave_the_queue_intact() {
    model(|| {
        let lock = GraphLock::new();
        set_index(0);
        let guard = block_on(lock.read());
        let mut writer = Box::pin(take_write(&lock));
        assert!(poll_once(writer.as_mut()).is_pending());
        let theirs = lock.clone();
        let reader = thread::spawn(move || {
            set_index(1);
            let mut gives_up = Box::pin(take_read(&theirs));
            drop(poll_once(gives_up.as_mut()));
            drop(gives_up);
            drop(block_on(theirs.read()));
        });
        drop(writer);
        drop(guard);
        reader.join().unwrap();
        drop(block_on(take_write(&lock)));
    });
}

/// Two writers, one after the other.
///
/// Catches: a writer that leaves without waking the next one; two that are in at once.
#[test]
fn g01_one_writer_after_the_other() {
    model(|| {
        let (lock, graph) = (GraphLock::new(), Arc::new(Graph::default()));
        let (theirs, changed) = (lock.clone(), Arc::clone(&graph));
        let another = thread::spawn(move || {
            let guard = block_on(take_write(&theirs));
            changed.change();
            drop(guard);
        });
        let guard = block_on(take_write(&lock));
        graph.change();
        drop(guard);
        another.join().unwrap();
        let guard = block_on(lock.read());
        assert_eq!(graph.look(), 2);
        drop(guard);
    });
}

/// A reader that waits behind a writer is let in when that leaves, and nobody polls it; the next writer waits.
///
/// Catches: a reader that is counted when it is let in; an end of the grace that wakes no writer.
#[test]
fn g07_a_reader_let_in_that_is_not_polled_bars_no_writer() {
    model(|| {
        let (lock, graph) = (GraphLock::new(), Arc::new(Graph::default()));
        set_index(0);
        let guard = block_on(take_write(&lock));
        let mut kept = Box::pin(take_read(&lock));
        assert!(poll_once(kept.as_mut()).is_pending());
        drop(guard);
        let theirs = lock.clone();
        let timer = thread::spawn(move || end_grace(&theirs));
        let guard = block_on(take_write(&lock));
        graph.change();
        // It was let in, and comes too late.
        assert!(poll_once(kept.as_mut()).is_pending());
        drop(guard);
        timer.join().unwrap();
        let guard = block_on(kept);
        assert_eq!(graph.look(), 1);
        drop(guard);
    });
}

/// A reader that waits behind a writer and is let in when that leaves; the next writer, which need not wait for it, may be
/// there first.
///
/// Catches: one that was let in and comes in beside a writer; one that was let in, came too late, and is not woken again.
#[test]
fn g07_a_reader_let_in_that_comes_too_late_waits_again() {
    model(|| {
        let (lock, graph) = (GraphLock::new(), Arc::new(Graph::default()));
        set_index(0);
        let guard = block_on(take_write(&lock));
        let (theirs, seen) = (lock.clone(), Arc::clone(&graph));
        let reader = thread::spawn(move || {
            set_index(1);
            let guard = block_on(take_read(&theirs));
            seen.look();
            drop(guard);
        });
        graph.change();
        drop(guard);
        end_grace(&lock);
        let guard = block_on(take_write(&lock));
        graph.change();
        drop(guard);
        reader.join().unwrap();
    });
}

/// The same where the next writer waits for it.
///
/// Catches: a reader that came in, or gave up, and that the writer goes on waiting for.
#[test]
fn g07_the_next_writer_waits_until_those_let_in_have_come_and_gone() {
    model(|| {
        let (lock, graph) = (GraphLock::new(), Arc::new(Graph::default()));
        set_index(0);
        let guard = block_on(take_write(&lock));
        let mut gives_up = Box::pin(take_read(&lock));
        assert!(poll_once(gives_up.as_mut()).is_pending());
        let (theirs, seen) = (lock.clone(), Arc::clone(&graph));
        let reader = thread::spawn(move || {
            set_index(1);
            let guard = block_on(take_read(&theirs));
            seen.look();
            drop(guard);
        });
        drop(guard);
        let mut writer = Box::pin(take_write(&lock));
        assert!(poll_once(writer.as_mut()).is_pending(), "one was let in");
        drop(gives_up);
        let guard = block_on(writer);
        graph.change();
        drop(guard);
        reader.join().unwrap();
    });
}

/// A reader reads again while a writer waits, and gives back the first lock before the second.
///
/// Catches: a second lock that waits for the writer; one that is not counted, or counted where the writer need not see it.
#[test]
fn g07_who_reads_again_gets_past_a_writer_and_keeps_it_out() {
    model(|| {
        let (lock, graph) = (GraphLock::new(), Arc::new(Graph::default()));
        set_index(0);
        let (theirs, seen) = (lock.clone(), Arc::clone(&graph));
        let reader = thread::spawn(move || {
            set_index(1);
            let outer = block_on(theirs.read());
            let Poll::Ready(inner) = poll_once(Box::pin(theirs.read()).as_mut()) else { panic!("it reads already") };
            drop(outer);
            seen.look();
            drop(inner);
        });
        let guard = block_on(take_write(&lock));
        graph.change();
        drop(guard);
        reader.join().unwrap();
    });
}

/// A reader that waits behind a writer is let in when that leaves, and gives up before it knows; the next writer waits.
///
/// Catches: a reader that gives up and keeps its count, or wakes no writer.
#[test]
fn g04_a_reader_let_in_that_gives_up_wakes_the_writer() {
    model(|| {
        let lock = GraphLock::new();
        set_index(0);
        let guard = block_on(take_write(&lock));
        let theirs = lock.clone();
        let reader = thread::spawn(move || {
            set_index(1);
            let mut gives_up = Box::pin(take_read(&theirs));
            drop(poll_once(gives_up.as_mut()));
        });
        drop(guard);
        drop(block_on(take_write(&lock)));
        reader.join().unwrap();
    });
}

/// A share beside a guard of another stripe that may go at any time, and a writer that waits for both.
///
/// Catches: a share counted where no reader is in, or counted as one reads: the writer need not see it.
#[test]
fn g06_a_share_keeps_the_writer_out() {
    model(|| {
        let (lock, graph) = (GraphLock::new(), Arc::new(Graph::default()));
        set_index(0);
        let guard = block_on(lock.read());
        let (theirs, seen) = (lock.clone(), Arc::clone(&graph));
        let sharer = thread::spawn(move || {
            set_index(1);
            if let Some(share) = try_share(&theirs) {
                seen.look();
                drop(share);
            }
        });
        drop(guard);
        let guard = block_on(take_write(&lock));
        graph.change();
        drop(guard);
        sharer.join().unwrap();
    });
}

/// The last handle goes while a reader is in, on another thread.
///
/// Catches: a stripe that goes with the lock, before its reader does.
#[test]
fn g01_a_guard_may_outlive_the_lock() {
    model(|| {
        let lock = GraphLock::new();
        set_index(0);
        let guard = block_on(lock.read());
        let dropper = thread::spawn(move || drop(guard));
        drop(lock);
        dropper.join().unwrap();
    });
}

/// A request against a drained section: it is over before the section has begun, or begins after its end.
///
/// Catches: a section that checks the count before it sets the bit; a request's end that does not check the bit; a
/// request that queues without a second check under the mutex.
#[test]
fn drain_waits_for_requests_and_they_for_its_end() {
    model(|| {
        let (node, state) = (Arc::new(Drain::new()), Arc::new(Graph::default()));
        let done = Arc::new(AtomicUsize::new(0));
        let (theirs, seen, counter) = (Arc::clone(&node), Arc::clone(&state), Arc::clone(&done));
        let requester = thread::spawn(move || {
            let request = block_on(theirs.begin());
            seen.look();
            counter.fetch_add(1, Ordering::Relaxed);
            drop(request);
        });
        let section = block_on(node.co_drained());
        state.change();
        drop(section);
        requester.join().unwrap();
        assert_eq!(done.load(Ordering::Relaxed), 1);
    });
}
