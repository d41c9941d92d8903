//! Reusable bottom halves: the lines b of the contract.

#![cfg(not(loom))]

mod common;

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use co_wrapper_runtime::{AioContext, BottomHalf};
use common::{panic_of, sized, sleeps, within_bounds};

/// A context, a bottom half in it, and how often that ran.
fn counting() -> (AioContext, BottomHalf, Arc<AtomicUsize>) {
    let ctx = AioContext::new().unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    // It keeps state of its own, so it needs `FnMut`.
    let mut mine = 0;
    let bh = ctx.bh(move || {
        mine += 1;
        assert_eq!(counter.fetch_add(1, Ordering::Relaxed) + 1, mine);
    });
    (ctx, bh, runs)
}

/// Catches: one run for each `schedule`; a schedule from elsewhere that wakes nobody.
#[test]
fn b01_scheduling_a_pending_one_coalesces() {
    within_bounds(|| {
        let (ctx, bh, runs) = counting();
        for _ in 0..6 {
            bh.schedule();
        }
        assert!(ctx.poll(false));
        assert!(!ctx.poll(false));
        assert_eq!(runs.load(Ordering::Relaxed), 1);

        let asleep = sleeps(&ctx);
        thread::scope(|scope| {
            scope.spawn(|| {
                asleep();
                bh.schedule();
            });
            assert!(ctx.poll(true));
        });
        assert_eq!(runs.load(Ordering::Relaxed), 2);
    });
}

/// Catches: cancelled ones that run or count as progress; a second run for one that was cancelled and scheduled again.
#[test]
fn b05_a_cancelled_or_dropped_one_never_runs_and_is_no_progress() {
    let (ctx, bh, runs) = counting();
    bh.schedule();
    bh.cancel();
    assert!(!ctx.poll(false));
    bh.schedule();
    drop(bh);
    assert!(!ctx.poll(false));
    assert_eq!(runs.load(Ordering::Relaxed), 0);

    // Cancelled and scheduled again it keeps its turn, as in QEMU, and runs once.
    let order = Arc::new(Mutex::new(Vec::new()));
    let logging = |name| {
        let order = Arc::clone(&order);
        ctx.bh(move || order.lock().unwrap().push(name))
    };
    let (a, b) = (logging("a"), logging("b"));
    a.schedule();
    b.schedule();
    a.cancel();
    a.schedule();
    assert!(ctx.poll(false));
    assert_eq!(*order.lock().unwrap(), ["a", "b"]);
    assert!(!ctx.poll(false));
}

/// Catches: a lock held over the callback; a closure freed while it runs.
#[test]
fn b05_one_may_drop_itself_while_running() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let itself: Arc<Mutex<Option<BottomHalf>>> = Arc::default();
        let (place, dropped) = (Arc::clone(&itself), Arc::new(()));
        let held = Arc::clone(&dropped);
        let bh = ctx.bh(move || {
            drop(place.lock().unwrap().take());
            assert_eq!(Arc::strong_count(&held), 2, "what it holds is there until it returns");
        });
        bh.schedule();
        *itself.lock().unwrap() = Some(bh);
        assert!(ctx.poll(false));
        assert_eq!(Arc::strong_count(&dropped), 1);
        assert!(!ctx.poll(false));
    });
}

/// Catches: one scheduled while it runs that is entered twice, or forgotten.
#[test]
fn b06_one_scheduled_while_it_runs_runs_again_after_it() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let itself: Arc<OnceLock<BottomHalf>> = Arc::default();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (place, order, inner) = (Arc::clone(&itself), Arc::clone(&log), ctx.clone());
        let mut left = 2;
        let bh = ctx.bh(move || {
            order.lock().unwrap().push("enters");
            if left > 0 {
                left -= 1;
                place.get().unwrap().schedule();
                // Its turn comes in the nested poll, which cannot enter it.
                assert!(!inner.poll(false));
            }
            order.lock().unwrap().push("leaves");
        });
        itself.set(bh).unwrap();
        itself.get().unwrap().schedule();
        while ctx.poll(false) {}
        assert_eq!(*log.lock().unwrap(), ["enters", "leaves"].repeat(3));
    });
}

/// Catches: a panic that loses the callback, or that `poll` swallows.
#[test]
fn a_panic_goes_to_the_poller_and_the_bottom_half_stays() {
    let ctx = AioContext::new().unwrap();
    let mut runs = 0;
    let bh = ctx.bh(move || {
        runs += 1;
        assert!(runs > 1, "the first run");
    });
    bh.schedule();
    ctx.schedule_bh(|| ());
    assert!(panic_of(|| ctx.poll(false)).contains("the first run"));
    assert!(ctx.poll(false), "the rest of the batch stayed");
    bh.schedule();
    assert!(ctx.poll(false));
}

/// Catches: a cancel or drop elsewhere that meets the bottom half on its way from the queue, and is taken for a run, or
/// for a panic.
#[test]
fn b05_cancelling_and_dropping_elsewhere_races_the_run() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        for round in 0..sized(3_000, 10) {
            let counter = Arc::clone(&runs);
            let bh = ctx.bh(move || _ = counter.fetch_add(1, Ordering::Relaxed));
            thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..4 {
                        bh.schedule();
                        bh.cancel();
                    }
                });
                for _ in 0..4 {
                    ctx.poll(false);
                }
            });
            // Whatever came of that, it can be scheduled.
            while ctx.poll(false) {}
            let before = runs.load(Ordering::Relaxed);
            bh.schedule();
            if round % 2 == 0 {
                assert!(ctx.poll(false));
                assert_eq!(runs.load(Ordering::Relaxed), before + 1);
            } else {
                thread::scope(|scope| {
                    scope.spawn(move || drop(bh));
                    ctx.poll(false);
                });
                while ctx.poll(false) {}
                assert!(runs.load(Ordering::Relaxed) <= before + 1);
            }
        }
    });
}

/// Catches: a cell in it that makes it unfit for `catch_unwind`.
#[test]
fn a_bottom_half_may_be_used_across_a_caught_panic() {
    fn is_unwind_safe<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>(_: &T) {}
    is_unwind_safe(&AioContext::current().bh(|| ()));
}
