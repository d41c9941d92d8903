//! Futures that borrow from themselves across an await, at every place of ours that polls or drops a future.
//!
//! Such a future holds a unique reference into itself, so no other reference to the whole may be made while it waits.
//! Only Miri detects a violation; without Miri these tests show that the values arrive.

mod common;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use co_wrapper_runtime::{
    __private::{Wrapper, poll_co_in, poll_co_in_timeout, poll_co_timeout},
    AioContext, Elapsed, IoThread, reschedule_self,
};
use common::{mixed, panic_of, plain, within_bounds};

static REMOTE: Wrapper = Wrapper { name: "remote", target: "co_remote", mixed: true };

/// How a future waits between two uses of what it borrows.
#[derive(Clone, Copy, Debug)]
enum Waits {
    /// It is woken by itself.
    Woken,
    /// By a task that it spawns in the current context, so that the caller sleeps.
    ForATask,
    /// By a timer of the current context.
    ForATimer,
}

const WAYS: [Waits; 3] = [Waits::Woken, Waits::ForATask, Waits::ForATimer];

/// Pending once, and woken at once.
async fn yield_now() {
    let mut polled = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Writes, across awaits, through a reference to what it owns itself; drops it through that too, if it is dropped. Its
/// result is 3.
async fn borrows(waits: Waits, dropped: &AtomicUsize) -> u32 {
    struct Sum<'a>(&'a mut u32, &'a AtomicUsize);
    impl Drop for Sum<'_> {
        fn drop(&mut self) {
            *self.0 += 1;
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }
    let mut own = 0;
    {
        let sum = Sum(&mut own, dropped);
        for _ in 0..2 {
            match waits {
                Waits::Woken => yield_now().await,
                Waits::ForATask => AioContext::current().spawn(yield_now()).await,
                Waits::ForATimer => AioContext::current().sleep(Duration::from_micros(50)).await,
            }
            *sum.0 += 1;
        }
    }
    own
}

/// The same, and never ready.
async fn borrows_for_ever(dropped: &AtomicUsize) -> u32 {
    let mut own = [0_u32; 2];
    let _at_the_end = Counts(&mut own, dropped);
    borrows(Waits::Woken, dropped).await;
    std::future::pending().await
}

/// Uses what it borrows, when it is dropped.
struct Counts<'a>(&'a mut [u32], &'a AtomicUsize);

impl Drop for Counts<'_> {
    fn drop(&mut self) {
        self.0[1] += 1;
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Catches: any reference taken to the future of a call in another context while it waits.
#[test]
fn x02_a_call_elsewhere_may_borrow_from_itself_across_an_await() {
    within_bounds(|| {
        let io = IoThread::spawn("io").unwrap();
        for waits in WAYS {
            let dropped = AtomicUsize::new(0);
            let call = |dropped| async move { borrows(waits, dropped).await };
            assert_eq!(poll_co_in(&REMOTE, io.context(), &dropped, call), 3, "{waits:?}");
            let within = poll_co_in_timeout(&REMOTE, io.context(), Duration::from_secs(60), &dropped, call);
            assert_eq!(within.unwrap(), 3, "{waits:?}");
            assert_eq!(dropped.into_inner(), 2, "{waits:?}");
        }
    });
}

/// Catches: the same where the call is dropped before its end, however that comes about, and where it panics.
#[test]
fn w06_w10_a_call_elsewhere_that_borrows_from_itself_is_dropped_before_its_end() {
    within_bounds(|| {
        let dropped = AtomicUsize::new(0);
        let call = |dropped| async move { borrows_for_ever(dropped).await };
        let io = IoThread::spawn("io").unwrap();
        // The shortest in which the call begins, also where a thread waits for its turn.
        for time in (0..).map(|doubled| Duration::from_millis(5 << doubled)) {
            let expired = poll_co_in_timeout(&REMOTE, io.context(), time, &dropped, call);
            assert!(matches!(expired, Err(Elapsed { .. })));
            if dropped.load(Ordering::Relaxed) > 1 {
                break;
            }
        }
        let message = panic_of(|| {
            poll_co_in(&REMOTE, io.context(), &dropped, |dropped| async move {
                borrows(Waits::Woken, dropped).await;
                let mut counted = [0; 2];
                let _lent = Counts(&mut counted, dropped);
                yield_now().await;
                panic!("in the call")
            })
        });
        assert_eq!(message, "in the call");
        let before = dropped.load(Ordering::Relaxed);
        let (ctx, closer) = (io.context().clone(), io.context().clone());
        let message = panic_of(|| {
            poll_co_in(&REMOTE, &ctx, &dropped, |dropped| async move {
                closer.schedule_bh({
                    let ctx = closer.clone();
                    move || ctx.close()
                });
                borrows_for_ever(dropped).await
            })
        });
        assert!(message.contains("was closed"), "{message}");
        assert_eq!(dropped.load(Ordering::Relaxed), before + 2);
    });
}

/// Catches: any reference taken to the future of a call on its own thread.
#[test]
fn w02_a_call_here_may_borrow_from_itself_across_an_await() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let dropped = AtomicUsize::new(0);
        for waits in WAYS {
            let future = || borrows(waits, &dropped);
            let answers = [
                plain(future()),
                mixed(future()),
                mixed(async { mixed(future()) }),
                ctx.block_on(future()),
                poll_co_timeout(&REMOTE, Duration::from_secs(60), (), |()| future()).unwrap(),
                poll_co_in(&REMOTE, &ctx, (), |()| future()),
                poll_co_in_timeout(&REMOTE, &ctx, Duration::from_secs(60), (), |()| future()).unwrap(),
            ];
            assert_eq!(answers, [3; 7], "{waits:?}");
        }
        let expired = poll_co_timeout(&REMOTE, Duration::from_millis(5), (), |()| borrows_for_ever(&dropped));
        assert!(expired.is_err());
    });
}

/// Catches: any reference taken to a task's future while it waits, moves, is cancelled or dropped with its context.
#[test]
fn t01_a_task_may_borrow_from_itself_across_an_await() {
    within_bounds(|| {
        let (io, ctx) = (IoThread::spawn("io").unwrap(), AioContext::new().unwrap());
        let _home = ctx.enter();
        let dropped = Arc::new(AtomicUsize::new(0));
        for waits in WAYS {
            let here = || {
                let dropped = Arc::clone(&dropped);
                async move { borrows(waits, &dropped).await }
            };
            assert_eq!(ctx.block_on(ctx.spawn(here())), 3, "{waits:?}");
            assert_eq!(ctx.block_on(ctx.spawn_local(here())), 3, "{waits:?}");
            assert_eq!(ctx.block_on(io.context().spawn(here())), 3, "{waits:?}");
            let there = io.context().clone();
            let dropped = Arc::clone(&dropped);
            let moves = ctx.spawn(async move {
                let mut own = 1;
                let lent = &mut own;
                reschedule_self(&there).await;
                *lent += borrows(waits, &dropped).await;
                own
            });
            assert_eq!(ctx.block_on(moves), 4, "{waits:?}");
        }
        let before = dropped.load(Ordering::Relaxed);
        let for_ever = || {
            let dropped = Arc::clone(&dropped);
            async move { borrows_for_ever(&dropped).await }
        };
        let (cancelled, local, closed) =
            (ctx.spawn(for_ever()), ctx.spawn_local(for_ever()), io.context().spawn(for_ever()));
        while dropped.load(Ordering::Relaxed) < before + 3 {
            ctx.poll(false);
            std::thread::yield_now();
        }
        assert_eq!(ctx.block_on(cancelled.cancel()), None);
        assert_eq!(ctx.block_on(local.cancel()), None);
        io.context().close();
        io.join();
        drop(closed);
        // Each in its loop, and at its end.
        while dropped.load(Ordering::Relaxed) < before + 6 {
            std::thread::yield_now();
        }
    });
}

/// Catches: the same of what a caller merely pins and polls.
#[test]
fn t06_a_join_handle_may_be_borrowed_across_an_await() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let mut task = pin!(async {
            let mut handle = AioContext::current().spawn(yield_now());
            let lent = &mut handle;
            lent.await;
            7
        });
        while poll_once(task.as_mut()).is_pending() {
            ctx.poll(false);
        }
    });
}
