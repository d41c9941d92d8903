//! Models of waits that another thread's wait, or a whole context, has to end, over the production code: threads that
//! wait for each other (`context/wait_cycle.rs`), and coroutines that wait for a context (`scheduler/watchers.rs`).
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p co-wrapper-runtime --no-default-features --features coroutine --release --test
//! loom_waits`
//!
//! Each model runs through all orders in which its threads can take their steps. A lost wake shows as a deadlock.

#![cfg(all(loom, feature = "coroutine"))]

#[path = "common/model.rs"]
mod model;

use std::{
    future::Future,
    panic::Location,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
};

use co_wrapper_runtime::__model::{
    Allowed, Home, Packed, Parker, Scheduler, Seen, Span, WaitsFor, WakeSlot, Work, here, pop_waited_for, run, send,
    spawn,
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
    let Work::Task(task) = work else { unreachable!("only tasks and calls are queued") };
    run(task);
}

/// What a nested call waits for in another context.
#[derive(Clone, Copy)]
enum For {
    /// A task that it has spawned there. The `JoinHandle` publishes the wait.
    Task,
    /// A call that it has sent there.
    Call,
}

/// A thread that is home to `mine`, and whose nested call waits for something in `theirs`. Like such a call, it runs
/// only what is waited for. When it has got what it waits for, it runs everything, until `mine` has answered.
fn wait_nested(mine: &Arc<Scheduler>, theirs: &Arc<Scheduler>, what: For, answered: [Arc<AtomicUsize>; 2]) {
    let [answers_mine, answers_theirs] = answered;
    let parker = Parker::new();
    assert!(mine.move_in(home(&parker)).is_ok());
    let slot = Arc::new(WakeSlot::new(parker.unparker()));
    let answer = async move |answers: Arc<AtomicUsize>| answers.store(1, Ordering::Relaxed);
    match what {
        For::Task => {
            let mut task = pin!(spawn(theirs, answer(answers_theirs)));
            wait_for(mine, &parker, &slot, |cx| task.as_mut().poll(cx).is_ready());
        }
        For::Call => {
            let packed = Packed::new(answers_theirs, answer);
            // SAFETY: it stays where it is until it is done.
            let mut sent = unsafe { send(theirs, &packed, &slot, Span::call("call", Location::caller())) };
            let _waits = WaitsFor::new(theirs, None);
            wait_for(mine, &parker, &slot, |cx| sent.poll(cx).is_ready());
        }
    }
    while answers_mine.load(Ordering::Relaxed) == 0 {
        match mine.pop(mine.batch_end(), Allowed::ALL) {
            Some(work) => run_task(work),
            None if mine.take_notified() => {}
            None => parker.park(None),
        }
    }
    mine.move_out();
}

fn wait_for(
    mine: &Arc<Scheduler>,
    parker: &Parker,
    slot: &Arc<WakeSlot>,
    mut poll: impl FnMut(&mut Context<'_>) -> bool,
) {
    let waker = Waker::from(Arc::clone(slot));
    let mut is_ready = || poll(&mut Context::from_waker(&waker));
    let mut ready = is_ready();
    while !ready {
        if run_waited_for(mine) {
        } else if slot.take_woken() {
            ready = is_ready();
        } else if !mine.take_notified() {
            parker.park(None);
        }
    }
}

/// Two threads wait for each other, each for a call or a task that the other one holds back.
///
/// Catches: a wait that looks for a cycle before it is published, or in another critical section; one that closes a
/// cycle and rings nobody, or only its own thread. (Cycles of three have a test in `wait_cycle.rs`.)
#[test]
fn x07_two_threads_that_wait_for_each_other_go_on() {
    for what in [[For::Call, For::Call], [For::Task, For::Task], [For::Call, For::Task]] {
        model(move || {
            let schedulers = [(); 2].map(|()| Arc::new(Scheduler::new()));
            let answers = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
            let [ours, theirs] = schedulers.clone();
            let [answers_ours, answers_theirs] = answers.clone();
            let other = thread::spawn(move || wait_nested(&theirs, &ours, what[1], [answers_theirs, answers_ours]));
            wait_nested(&schedulers[0], &schedulers[1], what[0], answers);
            other.join().unwrap();
        });
    }
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

    fn unwatch(&mut self, scheduler: &Scheduler) {
        self.watches.take().into_iter().for_each(|number| scheduler.watchers().remove(number));
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
            if scheduler.watchers().seen() == seen && !scheduler.take_kick() {
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
            coroutine.watch(&there);
            coroutine.unwatch(&there);
        });
        let closed = Arc::clone(&scheduler);
        let closer = thread::spawn(move || closed.close());
        let parker = Parker::new();
        let mut coroutine = Coroutine::new(&parker);
        loop {
            coroutine.watch(&scheduler);
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
