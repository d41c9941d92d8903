//! A model of threads that wait for each other (`context/wait_cycle.rs`), over the production code.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p co-wrapper-runtime --no-default-features --release --test loom_wait_cycle`
//!
//! Runs through all orders in which its threads can take their steps. A lost wake shows as a deadlock.

#![cfg(loom)]

#[path = "common/model.rs"]
mod model;

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
};

use co_wrapper_runtime::__model::{
    Home, Parker, Scheduler, WaitsFor, WakeSlot, Work, here, pop_waited_for, run, spawn,
};
use loom::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};
use model::model;

fn home(parker: &Parker) -> Home {
    Home { thread: here(), thread_name: String::new(), unparker: parker.unparker(), call: None }
}

/// Runs the oldest item of `scheduler` for which a thread waits that this one waits for, and what has to run before it.
fn run_waited_for(scheduler: &Arc<Scheduler>) -> bool {
    if !scheduler.may_be_waited_for(true) {
        return false;
    }
    let Some((work, through)) = pop_waited_for(scheduler, true) else { return false };
    let mut next = Some(work);
    while let Some(work) = next {
        run_task(work);
        next = scheduler.pop_through(through);
    }
    true
}

fn run_task(work: Work<Scheduler>) {
    let Work::Task(task) = work else { unreachable!("only tasks are queued") };
    run(task);
}

/// A nested call waits for something in another thread's context, and so runs only what is waited for. The other thread
/// awaits a task that it has spawned in the first thread's context. The task rings the first thread, which may look before
/// the second thread's wait is published, and then finds nothing that it may run.
///
/// Catches: a wait that closes a cycle and rings nobody, or only its own thread; one that looks for a cycle before it is
/// published, in another critical section. (Cycles of three have a test in `wait_cycle.rs`.)
#[test]
fn x07_a_wait_that_closes_a_cycle_makes_the_other_thread_look_again() {
    model(|| {
        let [ours, theirs] = [(); 2].map(|()| Arc::new(Scheduler::new()));
        let parker = Parker::new();
        assert!(ours.move_in(home(&parker)).is_ok());
        let ran = Arc::new(AtomicUsize::new(0));
        let (here, there, runs) = (Arc::clone(&ours), Arc::clone(&theirs), Arc::clone(&ran));
        let other = thread::spawn(move || {
            let parker = Parker::new();
            assert!(there.move_in(home(&parker)).is_ok());
            let slot = Arc::new(WakeSlot::new(parker.unparker()));
            let waker = Waker::from(Arc::clone(&slot));
            let mut task = pin!(spawn(&here, async move { runs.store(1, Ordering::Relaxed) }));
            // Its first poll that is pending publishes the wait.
            while task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                while !slot.take_woken() {
                    parker.park(None);
                }
            }
            there.move_out();
        });
        let waits = WaitsFor::new(&theirs, None);
        while ran.load(Ordering::Relaxed) == 0 {
            if !run_waited_for(&ours) && !ours.take_notified() {
                parker.park(None);
            }
        }
        drop(waits);
        other.join().unwrap();
        ours.move_out();
    });
}
