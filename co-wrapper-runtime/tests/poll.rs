//! Bottom halves, `poll`, `notify` and homes: those lines b, p and x of the contract that need no timers.

#![cfg(not(loom))]

mod common;
#[path = "common/waiting.rs"]
mod waiting;

use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use co_wrapper_runtime::AioContext;
use common::{panic_of, plain, within_bounds};
use waiting::sleeps;

/// Catches: a `push_bottom_half` that does not ring the home thread.
#[test]
fn b01_scheduling_from_any_thread_wakes_a_parked_context() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let (asleep, other) = (sleeps(&ctx), ctx.clone());
        let scheduler = thread::spawn(move || {
            asleep();
            other.schedule_bh(|| ());
        });
        assert!(ctx.poll(true));
        scheduler.join().unwrap();
    });
}

/// Catches: a queue that gives the youngest first.
#[test]
fn b02_bottom_halves_run_first_come_first_run() {
    let ctx = AioContext::new().unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    for n in 0..100 {
        let order = Arc::clone(&order);
        ctx.schedule_bh(move || order.lock().unwrap().push(n));
    }
    assert!(ctx.poll(false));
    assert_eq!(*order.lock().unwrap(), (0..100).collect::<Vec<_>>());
}

/// Catches: a poll that runs until its queue is empty, and one that blocks though something is queued.
#[test]
fn b03_b04_what_a_bottom_half_schedules_runs_in_the_next_poll() {
    fn again(ctx: AioContext, left: usize, runs: Arc<AtomicUsize>) {
        runs.fetch_add(1, Ordering::Relaxed);
        if left > 0 {
            let next = ctx.clone();
            ctx.schedule_bh(move || again(next, left - 1, runs));
        }
    }
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let (first, counter) = (ctx.clone(), Arc::clone(&runs));
        ctx.schedule_bh(move || again(first, 9, counter));
        for polled in 1..=10 {
            assert!(ctx.poll(true));
            assert_eq!(runs.load(Ordering::Relaxed), polled);
        }
        assert!(!ctx.poll(false));
    });
}

/// Catches: a batch kept in the outer poll's hands, where the nested one cannot run its rest.
#[test]
fn b06_a_nested_poll_runs_the_rest_of_the_outer_batch_first() {
    let ctx = AioContext::new().unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let (inner, log) = (ctx.clone(), Arc::clone(&order));
    ctx.schedule_bh(move || {
        let later = Arc::clone(&log);
        inner.schedule_bh(move || later.lock().unwrap().push("scheduled inside"));
        log.lock().unwrap().push("outer starts");
        assert!(inner.poll(false));
        log.lock().unwrap().push("outer ends");
    });
    let log = Arc::clone(&order);
    ctx.schedule_bh(move || log.lock().unwrap().push("rest of the outer batch"));
    assert!(ctx.poll(false));
    assert_eq!(*order.lock().unwrap(), ["outer starts", "rest of the outer batch", "scheduled inside", "outer ends"]);
    assert!(!ctx.poll(false));
}

/// Catches: a `poll(false)` that parks, and a kick that is not kept.
#[test]
fn p01_p02_a_bare_notify_ends_a_blocking_poll_and_is_no_progress() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        assert!(!ctx.poll(false));
        ctx.notify();
        assert!(!ctx.poll(true), "before");

        let (asleep, notifier) = (sleeps(&ctx), ctx.clone());
        let thread = thread::spawn(move || {
            asleep();
            notifier.notify();
        });
        assert!(!ctx.poll(true), "during");
        thread.join().unwrap();
    });
}

/// Catches: a wake that is lost between the last look and the sleep. The loom model covers every order of one round;
/// this covers many rounds on real threads.
#[test]
fn p04_no_notify_is_lost_in_many_rounds() {
    within_bounds(|| {
        const ROUNDS: usize = 20_000;
        let (there, back) = (AioContext::new().unwrap(), AioContext::new().unwrap());
        let (a, b) = (there.clone(), back.clone());
        let other = thread::spawn(move || {
            for _ in 0..ROUNDS {
                assert!(!a.poll(true));
                b.notify();
            }
        });
        for _ in 0..ROUNDS {
            there.notify();
            assert!(!back.poll(true));
        }
        other.join().unwrap();
    });
}

/// Catches: an `enter` or `poll` that lets a second thread in.
#[test]
fn p03_another_threads_poll_is_a_panic_that_names_both() {
    let ctx = AioContext::new().unwrap();
    let _home = ctx.enter();
    let other = ctx.clone();
    let messages = thread::Builder::new()
        .name("intruder".into())
        .spawn(move || {
            [
                panic_of(|| other.poll(false)),
                panic_of(|| other.block_on(async {})),
                panic_of(|| other.enter()),
                panic_of(|| other.spawn_local(async {})),
            ]
        })
        .unwrap()
        .join()
        .unwrap();
    let home = thread::current().name().unwrap().to_owned();
    for (message, caller) in messages.iter().zip(["poll", "block_on", "enter", "spawn_local"]) {
        assert!(message.contains(&format!("AioContext::{caller}")), "{message}");
    }
    for message in &messages[..3] {
        assert!(message.contains("`intruder`") && message.contains(&home), "{message}");
    }
    // The refused thread left nothing behind.
    ctx.schedule_bh(|| ());
    assert!(ctx.poll(false));
}

/// Catches: a nested poll that runs the outer bottom half or task again.
#[test]
fn p05_a_nested_poll_does_not_reenter_what_runs() {
    let ctx = AioContext::new().unwrap();
    let _home = ctx.enter();
    let depth = Rc::new(Cell::new(0));
    let (inner, entered) = (ctx.clone(), Rc::clone(&depth));
    let task = ctx.spawn_local(async move {
        std::future::poll_fn(|cx| {
            entered.set(entered.get() + 1);
            assert_eq!(entered.get(), 1, "entered while it runs");
            // Woken while it runs: queued only when it has returned.
            cx.waker().wake_by_ref();
            while inner.poll(false) {}
            entered.set(entered.get() - 1);
            std::task::Poll::Ready(())
        })
        .await;
    });
    while ctx.poll(false) {}
    assert!(task.is_finished());
}

/// Catches: a nested loop that forgets to mark what it runs as no coroutine, or to restore the mark.
#[test]
fn a_bottom_half_is_no_coroutine_also_when_a_nested_loop_runs_it() {
    within_bounds(|| {
        let ctx = AioContext::current();
        let scheduler = ctx.clone();
        ctx.block_on(async move {
            let (tx, rx) = async_channel::bounded(1);
            scheduler.schedule_bh(move || {
                assert!(!co_wrapper_runtime::in_coroutine());
                plain(async { tx.send(1).await }).unwrap();
            });
            assert_eq!(common::mixed(rx.recv()), Ok(1));
            assert!(co_wrapper_runtime::in_coroutine());
        });
        assert!(!co_wrapper_runtime::in_coroutine());
    });
}

/// Catches: a thread's end that does not leave home, so that nobody else could move in.
#[test]
fn x06_a_threads_end_leaves_home_also_with_a_forgotten_guard() {
    let ctx = AioContext::new().unwrap();
    let dropped = Arc::new(AtomicBool::new(false));
    struct SetOnDrop(Arc<AtomicBool>, thread::ThreadId);
    impl Drop for SetOnDrop {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.1, "a local task is dropped on its thread");
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (inside, flag) = (ctx.clone(), Arc::clone(&dropped));
    thread::spawn(move || {
        std::mem::forget(inside.enter());
        let held = (SetOnDrop(flag, thread::current().id()), Rc::new(()));
        drop(inside.spawn_local(async move {
            std::future::pending::<()>().await;
            drop(held);
        }));
        inside.poll(false);
    })
    .join()
    .unwrap();
    assert!(dropped.load(Ordering::Relaxed), "the local task is gone with its thread");
    // The next home.
    ctx.schedule_bh(|| ());
    assert!(ctx.poll(false));
}

/// Catches: leaving that drops the tasks which any thread may run.
#[test]
fn x06_leaving_drops_local_tasks_and_keeps_the_others() {
    let ctx = AioContext::new().unwrap();
    let alive = Arc::new(());
    let guard = ctx.enter();
    let held = Arc::clone(&alive);
    let local = ctx.spawn_local(async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    let other = ctx.spawn(async { 7 });
    assert_eq!(Arc::strong_count(&alive), 2);
    drop(guard);
    assert_eq!(Arc::strong_count(&alive), 1);
    assert_eq!(ctx.block_on(other), 7);
    assert!(panic_of(|| ctx.block_on(local)).contains("dropped before it finished"));
}

/// Catches: leaving home under a call that still waits there.
#[test]
fn x06_leaving_inside_a_waiting_call_is_a_panic() {
    let ctx = AioContext::new().unwrap();
    let guard = ctx.enter();
    let message = panic_of(|| plain(async move { drop(guard) }));
    assert!(message.contains("EnterGuard") && message.contains("drop the guard where it was made"), "{message}");
}

/// Catches: tasks that keep their context alive, and with it whatever they hold, when nobody can poll it any longer.
#[test]
fn a_dropped_context_drops_what_waits_in_it() {
    let alive = Arc::new(());
    let ctx = AioContext::new().unwrap();
    let waker = Arc::new(Mutex::new(None));
    let (held, queued, place) = (Arc::clone(&alive), Arc::clone(&alive), Arc::clone(&waker));
    drop(ctx.spawn(async move {
        let _held = held;
        std::future::poll_fn(|cx| {
            *place.lock().unwrap() = Some(cx.waker().clone());
            std::task::Poll::<()>::Pending
        })
        .await;
    }));
    ctx.poll(false);
    ctx.schedule_bh(move || drop(queued));
    assert_eq!(Arc::strong_count(&alive), 3);
    drop(ctx);
    assert_eq!(Arc::strong_count(&alive), 1);
    // A waker may outlive the context.
    waker.lock().unwrap().take().unwrap().wake();
}
