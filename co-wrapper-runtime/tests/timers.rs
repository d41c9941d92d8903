//! Timers, spinning and statistics: the lines p01, p02, p06 and p07 of the contract.

#![cfg(not(loom))]

mod common;
#[path = "common/waiting.rs"]
mod waiting;

use std::{
    pin::pin,
    ptr,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, RawWaker, RawWakerVTable, Waker},
    thread,
    time::{Duration, Instant},
};

use co_wrapper_runtime::{AioContext, IoThread};
use common::{mixed, ms, plain, within_bounds};
use waiting::sleeps;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3_600);

/// Catches: a sleep past the next timer; a timer that is no progress.
#[test]
fn p01_p02_a_blocking_poll_honours_the_next_timer() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let start = Instant::now();
        let sleep = ctx.clone();
        let task = ctx.spawn(async move { sleep.sleep(ms(500)).await });
        assert!(ctx.poll(true), "the task begins");
        assert!(!ctx.poll(false), "nothing is due");
        while !task.is_finished() {
            assert!(ctx.poll(true));
        }
        assert!(start.elapsed() >= ms(500));
        // Also one that wakes no task of the context.
        let mut sleep = std::pin::pin!(ctx.sleep(ms(500)));
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        assert!(sleep.as_mut().poll(cx).is_pending());
        assert!(ctx.poll(true));
        assert!(sleep.poll(cx).is_ready());
    });
}

/// Catches: a timer entered from elsewhere that a sleeping home does not hear of.
#[test]
fn p01_a_sooner_timer_from_another_thread_is_heard_of() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let long = ctx.clone();
        drop(ctx.spawn(async move { long.sleep(LONG).await }));
        ctx.poll(false);
        let (asleep, other) = (sleeps(&ctx), ctx.clone());
        let done = Arc::new(AtomicBool::new(false));
        let is_done = Arc::clone(&done);
        let sleeper = thread::spawn(move || {
            asleep();
            // Waits here, on a timer there: the shortest that is not over at once.
            for doubled in 0.. {
                let mut sleep = pin!(other.sleep(ms(5 << doubled)));
                if sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
                    plain(sleep);
                    break;
                }
            }
            // The poll that fires the timer may be the one that this ends.
            done.store(true, Ordering::Release);
            other.notify();
        });
        // Not a `poll_while`, which the watchdog of a debug build ends too.
        while !is_done.load(Ordering::Acquire) {
            ctx.poll(true);
        }
        sleeper.join().unwrap();
    });
}

/// Catches: timers of one time that fire as they like; sleepers woken in the order of their making.
#[test]
fn p07_timers_fire_in_order_and_equal_ones_first_come_first_served() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let order = Arc::new(Mutex::new(Vec::new()));
        // So far from each other that they are in order also where making one takes long.
        let tasks: Vec<_> = [900, 300, 600, 300, 900]
            .into_iter()
            .enumerate()
            .map(|(n, after)| {
                let order = Arc::clone(&order);
                let sleep = ctx.sleep(ms(after));
                ctx.spawn(async move {
                    sleep.await;
                    order.lock().unwrap().push((after, n));
                })
            })
            .collect();
        for task in tasks {
            ctx.block_on(task);
        }
        assert_eq!(*order.lock().unwrap(), [(300, 1), (300, 3), (600, 2), (900, 0), (900, 4)]);
    });
}

/// Catches: a dropped sleep that stays in the list, or fires.
#[test]
fn a_dropped_sleep_is_gone() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let (long, short) = (ctx.sleep(ms(20)), ctx.sleep(ms(1)));
        ctx.block_on(async move {
            futures::pin_mut!(long, short);
            futures::future::select(long, short).await;
            // Both are dropped.
        });
        thread::sleep(ms(30));
        assert!(!ctx.poll(false), "nothing fires");
        // For ever is for ever, and no overflow.
        let forever = ctx.sleep(Duration::MAX);
        let soon = ctx.sleep(ms(1));
        ctx.block_on(async move {
            futures::pin_mut!(forever, soon);
            let first = futures::future::select(forever, soon).await;
            assert!(matches!(first, futures::future::Either::Right(_)));
        });
    });
}

/// Catches: a nested wait that does not fire its thread's timers.
#[test]
fn w02_timers_go_on_while_a_nested_call_waits() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let inner = ctx.clone();
        let task = ctx.spawn(async move {
            mixed(inner.sleep(ms(2)));
            inner.sleep(ms(2)).await;
            mixed(inner.sleep(ms(2)));
        });
        ctx.block_on(task);
    });
}

/// Catches: spinning past the next timer, or where it is off; a budget that does not learn.
#[test]
fn p06_spinning_learns_and_is_off_unless_asked() {
    within_bounds(|| {
        let quiet = AioContext::new().unwrap();
        let eager = AioContext::builder().spin_max(ms(200)).build().unwrap();
        // Answers after a moment, from another thread.
        let (ask, asked) = mpsc::channel::<async_channel::Sender<()>>();
        thread::spawn(move || {
            for reply in asked {
                thread::sleep(ms(3));
                reply.try_send(()).unwrap();
            }
        });
        let round_trips = |ctx: &AioContext| {
            for _ in 0..40 {
                let (tx, rx) = async_channel::bounded(1);
                ask.send(tx).unwrap();
                ctx.block_on(rx.recv()).unwrap();
            }
        };
        round_trips(&quiet);
        assert_eq!((quiet.stats().spins_paid, quiet.stats().spin_budget), (0, 0));
        assert!(quiet.stats().parks > 0);
        if thread::available_parallelism().unwrap().get() > 1 {
            // It learns from waits of 3 ms. One answer that takes long, on a busy machine, and it starts from nothing.
            let learned = |eager: &AioContext| {
                round_trips(eager);
                let stats = eager.stats();
                (stats.spins_paid > 0 && stats.spin_budget > 1_000_000).then_some(stats)
            };
            let before = loop {
                if let Some(stats) = learned(&eager) {
                    break stats;
                }
            };
            // A timer within the budget: the thread sleeps until it is due. On a busy machine it may be due before the
            // thread would sleep, but not each time.
            while eager.stats().parks == before.parks {
                eager.block_on(eager.sleep(Duration::from_nanos(before.spin_budget / 2)));
                assert_eq!(eager.stats().spins, before.spins);
            }
        }
        assert_eq!(IoThread::spawn("p06").unwrap().context().stats().tasks_live, 0);
    });
}

/// Catches: counters that nobody counts.
#[test]
fn statistics_count() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let pending = ctx.spawn(std::future::pending::<()>());
        assert_eq!(ctx.stats().tasks_live, 1);
        let (end, ended) = async_channel::bounded::<()>(1);
        let asleep = sleeps(&ctx);
        thread::spawn(move || {
            asleep();
            drop(end);
        });
        ctx.block_on(async move { assert!(mixed(ended.recv()).is_err()) });
        let stats = ctx.stats();
        assert!(stats.polls > 0 && stats.parks > 0, "{stats:?}");
        assert_eq!(stats.deepest_nesting, 2);
        drop(pending.cancel());
        ctx.poll(false);
        assert_eq!(ctx.stats().tasks_live, 0);
        assert_eq!(stats.tasks_leaked, 0);
    });
}

/// Catches: a waker that is cloned or dropped under the timers' mutex.
#[test]
fn a_sleeps_waker_is_cloned_and_dropped_where_it_may_use_timers() {
    static USED: LazyLock<AioContext> = LazyLock::new(|| AioContext::new().unwrap());
    static CLONES: AtomicUsize = AtomicUsize::new(0);
    fn use_timers() {
        let sleep = pin!(USED.sleep(ms(60_000)));
        assert!(sleep.poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    fn clone(_: *const ()) -> RawWaker {
        CLONES.fetch_add(1, Ordering::Relaxed);
        use_timers();
        RawWaker::new(ptr::null(), &VTABLE)
    }
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, |_| use_timers(), |_| use_timers(), |_| use_timers());
    within_bounds(|| {
        // SAFETY: the functions of the table take no data.
        let waker = unsafe { Waker::from_raw(RawWaker::new(ptr::null(), &VTABLE)) };
        let mut sleep = pin!(USED.sleep(ms(60_000)));
        assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        for clones in 1..3 {
            assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!(CLONES.load(Ordering::Relaxed), clones.min(1), "one that is the same is kept");
        }
    });
}
