//! Calls into other contexts, IoThreads, timeouts and closing: the lines x and w06, w10 of the contract.

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
        mpsc,
    },
    task::Poll,
    thread,
    time::{Duration, Instant},
};

use co_wrapper_runtime::{
    __private::{Wrapper, poll_co_in, poll_co_in_timeout, poll_co_timeout},
    AioContext, IoThread, hang,
};
use common::{BOUND, mixed, ms, panic_of, plain, sized, within_bounds};
use waiting::sleeps;

static REMOTE: Wrapper = Wrapper { name: "remote", target: "co_remote", mixed: true };

/// Calls as a mixed wrapper `remote` of `co_remote` with `ctx = ctx`.
#[track_caller]
fn remote<S, E, Fut>(ctx: &AioContext, args: S, entry: E) -> Fut::Output
where
    S: Send,
    E: FnOnce(S) -> Fut + Send,
    Fut: Future<Output: Send>,
{
    poll_co_in(&REMOTE, ctx, args, entry)
}

/// Catches: a spawn that returns before the context runs; a join that hangs the second time, keeps what is pending, or
/// does not wake those that wait for it.
#[test]
fn x01_an_iothread_runs_when_spawned_and_is_joined_once_for_all() {
    within_bounds(|| {
        let io = IoThread::spawn("x01").unwrap();
        let ctx = io.context().clone();
        let refused = panic_of(|| ctx.poll(false));
        assert!(refused.contains("`x01`"), "its home is the thread: {refused}");
        assert_eq!(plain(ctx.spawn(async { thread::current().name().map(str::to_owned) })).as_deref(), Some("x01"));

        let alive = Arc::new(());
        let held = Arc::clone(&alive);
        let pending = ctx.spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        let (waits, is_waiting) = mpsc::channel();
        let waiter = thread::spawn(move || {
            waits.send(()).unwrap();
            panic_of(|| plain(pending))
        });
        is_waiting.recv().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| io.join());
            io.join();
        });
        io.join();
        assert_eq!(Arc::strong_count(&alive), 1, "what was pending is dropped");
        assert!(waiter.join().unwrap().contains("dropped before it finished"));
        drop(io);

        // A drop joins, and an IoThread dropped on itself ends all the same.
        let io = Arc::new(IoThread::spawn("x01b").unwrap());
        let (itself, ctx) = (Arc::clone(&io), io.context().clone());
        let (go, goes) = mpsc::channel::<()>();
        let (done, is_done) = mpsc::channel();
        ctx.schedule_bh(move || {
            goes.recv().unwrap();
            let message = panic_of(|| itself.join());
            drop(itself);
            done.send(message).unwrap();
        });
        drop(io);
        go.send(()).unwrap();
        assert!(is_done.recv().unwrap().contains("IoThread::join"));
    });
}

/// Catches: a future made on the caller's thread; arguments that are cloned or must live for ever; a caller that only
/// waits.
#[test]
#[cfg_attr(miri, ignore = "Miri lacks the timerfd of async-io's timers")]
fn x02_a_call_is_made_and_polled_there_with_borrowed_arguments() {
    within_bounds(|| {
        let io = IoThread::spawn("x02").unwrap();
        let caller = thread::current().id();
        let own = AioContext::current();
        let ran = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ran);
        drop(own.spawn(async move { flag.store(true, Ordering::Release) }));

        let data = vec![1_u8, 2, 3];
        let mut sum = 0;
        let there = remote(io.context(), (&data, &mut sum, &ran), |(data, sum, ran)| async move {
            // Not `Send`, and lives across an await.
            let local = Rc::new(Cell::new(0_u32));
            while !ran.load(Ordering::Acquire) {
                async_io::Timer::after(ms(1)).await;
            }
            for byte in data {
                local.set(local.get() + u32::from(*byte));
                async_io::Timer::after(ms(1)).await;
            }
            *sum = local.get();
            thread::current().id()
        });
        assert_ne!(there, caller);
        assert_eq!(sum, 6);
        assert!(ran.load(Ordering::Acquire), "the caller's own task ran meanwhile");
        // At home it is a plain call.
        let ctx = io.context().clone();
        let nested = remote(io.context(), ctx, |ctx| async move {
            remote(&ctx, (), |()| async { thread::current().name().map(str::to_owned) })
        });
        assert_eq!(nested.as_deref(), Some("x02"));
    });
}

/// Catches: a waiting caller that serves no calls.
#[test]
fn x03_two_threads_that_call_each_other_at_once_both_finish() {
    within_bounds(|| {
        let io = IoThread::spawn("x03").unwrap();
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        for round in 0..sized(200, 5) {
            let (back, done) = async_channel::bounded(1);
            let here = ctx.clone();
            io.context().schedule_bh(move || {
                let result = remote(&here, round, |round| async move { round + 1 });
                back.try_send(result).unwrap();
            });
            assert_eq!(remote(io.context(), round, |round| async move { round * 2 }), round * 2);
            assert_eq!(plain(done.recv()), Ok(round + 1));
        }
    });
}

/// Catches: a wake lost between contexts.
#[test]
fn x04_a_mutexed_counter_over_five_iothreads_loses_nothing() {
    within_bounds(|| {
        const EACH: usize = sized(500, 5);
        let threads: Vec<_> = (0..5).map(|n| IoThread::spawn(&format!("x04-{n}")).unwrap()).collect();
        let counter = Arc::new(async_lock());
        let tasks: Vec<_> = threads
            .iter()
            .map(|io| {
                let counter = Arc::clone(&counter);
                io.context().spawn(async move {
                    for _ in 0..EACH {
                        let (lock, unlock) = &*counter;
                        let value = unlock.recv().await.unwrap();
                        futures::future::ready(()).await;
                        lock.send(value + 1).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            plain(task);
        }
        assert_eq!(counter.1.try_recv(), Ok(5 * EACH));
    });
}

/// A mutex made of a channel of one: waiting for it needs wakes across threads.
fn async_lock() -> (async_channel::Sender<usize>, async_channel::Receiver<usize>) {
    let (tx, rx) = async_channel::bounded(1);
    tx.try_send(0).unwrap();
    (tx, rx)
}

/// Catches: a caller that waits for a home when no thread becomes one; a temporary home that starts other callers'
/// calls, or that leaves without waking the next caller.
#[test]
#[cfg_attr(miri, ignore = "Miri lacks the timerfd of async-io's timers")]
fn x05_callers_of_a_context_without_a_home_serve_it_themselves() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        assert_eq!(remote(&ctx, (), |()| async { thread::current().id() }), thread::current().id());
        // Many at once: one is home, the others wait for their turn, each call runs on its caller's thread.
        thread::scope(|scope| {
            for n in 0..8 {
                let ctx = &ctx;
                scope.spawn(move || {
                    for _ in 0..20 {
                        let (there, got) = remote(ctx, n, |n| async move {
                            async_io::Timer::after(Duration::from_micros(200)).await;
                            (thread::current().id(), n)
                        });
                        assert_eq!((there, got), (thread::current().id(), n));
                    }
                });
            }
        });
        // And a task waits for the next home.
        let task = ctx.spawn(async { 9 });
        assert_eq!(ctx.block_on(task), 9);
    });
}

/// Catches: a call that outlives its context, a caller that is not told, a future that is dropped elsewhere.
#[test]
fn w06_a_context_closed_under_a_call_wakes_the_caller_and_drops_the_call() {
    struct DropsThere(Arc<Mutex<Option<thread::ThreadId>>>);
    impl Drop for DropsThere {
        fn drop(&mut self) {
            *self.0.lock().unwrap() = Some(thread::current().id());
        }
    }
    within_bounds(|| {
        let io = IoThread::spawn("w06").unwrap();
        let ctx = io.context().clone();
        let home = plain(ctx.spawn(async { thread::current().id() }));
        let dropped = Arc::new(Mutex::new(None));
        let (begun, has_begun) = mpsc::channel();
        let closer = {
            let ctx = ctx.clone();
            thread::spawn(move || {
                has_begun.recv().unwrap();
                ctx.close();
            })
        };
        let line = line!() + 2;
        let message = panic_of(|| {
            remote(&ctx, (&dropped, begun), |(dropped, begun)| async move {
                let _held = (DropsThere(Arc::clone(dropped)), Rc::new(()));
                begun.send(()).unwrap();
                std::future::pending::<()>().await;
            })
        });
        closer.join().unwrap();
        for part in ["remote:", "`w06`", "was closed", &format!("{}:{line}:", file!())] {
            assert!(message.contains(part), "{part} is missing in: {message}");
        }
        assert_eq!(*dropped.lock().unwrap(), Some(home), "the future is dropped where it was polled");
        // Calling into it now is the same panic at once; so is what is spawned.
        assert!(panic_of(|| remote(&ctx, (), |()| async {})).contains("was closed"));
        assert!(ctx.spawn(async {}).is_finished());
    });
}

/// Catches: a home thread that leaves with calls in it; each of them would wait for ever.
#[test]
fn x06_leaving_home_drops_the_calls_received() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let home = ctx.enter();
        let (begun, has_begun) = mpsc::channel();
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let (ctx, begun) = (ctx.clone(), begun.clone());
                thread::spawn(move || {
                    panic_of(|| {
                        remote(&ctx, begun, |begun| async move {
                            begun.send(()).unwrap();
                            std::future::pending::<()>().await;
                        })
                    })
                })
            })
            .collect();
        let mut count = 0;
        while count < 3 {
            ctx.poll(true);
            count += has_begun.try_iter().count();
        }
        // And a call that was not started.
        let (late, begun) = (ctx.clone(), begun);
        let unstarted =
            thread::spawn(move || panic_of(|| remote(&late, begun, |begun| async move { begun.send(()).unwrap() })));
        while ctx.stats().tasks_live < 4 {
            thread::yield_now();
        }
        drop(home);
        for caller in callers.into_iter().chain([unstarted]) {
            assert!(caller.join().unwrap().contains("left it"));
        }
    });
}

/// Catches: a panic that stays in the other context, or takes it along.
#[test]
fn w05_a_panic_in_a_call_travels_to_the_caller() {
    within_bounds(|| {
        let io = IoThread::spawn("w05").unwrap();
        assert_eq!(panic_of(|| remote(io.context(), (), |()| async { panic!("over there") })), "over there");
        assert_eq!(
            panic_of(|| remote(io.context(), (), |()| -> std::future::Ready<()> { panic!("at once") })),
            "at once"
        );
        assert_eq!(remote(io.context(), 1, |n| async move { n }), 1);
    });
}

/// Catches: a caller that leaves its frame by the panic of what it ran meanwhile, with the call still in flight.
#[test]
fn w05_a_panic_in_what_the_caller_serves_waits_for_the_call() {
    within_bounds(|| {
        let io = IoThread::spawn("w05b").unwrap();
        let own = AioContext::current();
        let done = AtomicBool::new(false);
        let (panicked, has_panicked) = async_channel::bounded(1);
        own.schedule_bh(|| panic!("of the bottom half"));
        own.schedule_bh(move || panicked.try_send(()).unwrap());
        let message = panic_of(|| {
            remote(io.context(), (&done, has_panicked), |(done, has_panicked)| async move {
                has_panicked.recv().await.unwrap();
                done.store(true, Ordering::Release);
            })
        });
        assert_eq!(message, "of the bottom half");
        assert!(done.load(Ordering::Acquire));
    });
}

/// Catches: an error that comes back before the future is gone; a call that goes on in the other context.
#[test]
#[cfg_attr(miri, ignore = "Miri lacks the timerfd of async-io's timers")]
fn w10_on_expiry_the_future_has_been_dropped() {
    static TIMED: Wrapper = Wrapper { name: "timed", target: "co_timed", mixed: false };
    within_bounds(|| {
        let held = Arc::new(());
        let future = |held: Arc<()>| async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        let elapsed = poll_co_timeout(&TIMED, ms(5), Arc::clone(&held), future).unwrap_err();
        assert_eq!(elapsed.to_string(), "the call took longer than 5ms");
        assert_eq!(Arc::strong_count(&held), 1);
        // Its destructors may block as the caller may.
        struct Flushes;
        impl Drop for Flushes {
            fn drop(&mut self) {
                plain(async_io::Timer::after(Duration::from_micros(100)));
            }
        }
        let flushing = |()| async {
            let _flushes = Flushes;
            std::future::pending::<()>().await;
        };
        assert!(poll_co_timeout(&TIMED, ms(1), (), flushing).is_err());

        let io = IoThread::spawn("w10").unwrap();
        let start = Instant::now();
        assert!(poll_co_in_timeout(&TIMED, io.context(), ms(5), Arc::clone(&held), future).is_err());
        assert_eq!(Arc::strong_count(&held), 1);
        assert!(start.elapsed() >= ms(5), "it gave up too early");
        // In time, and ready at once with no time at all.
        assert_eq!(
            poll_co_timeout(&TIMED, BOUND, (), |()| async {
                async_io::Timer::after(ms(1)).await;
                3
            }),
            Ok(3)
        );
        assert_eq!(poll_co_timeout(&TIMED, Duration::ZERO, (), |()| async { 4 }), Ok(4));
        assert_eq!(poll_co_in_timeout(&TIMED, io.context(), BOUND, 5, |n| async move { n }), Ok(5));
        // A call that was not started is cancelled too. It gives up before it sleeps, and so before its context goes on.
        let (block, blocked) = mpsc::channel::<()>();
        io.context().schedule_bh(move || _ = blocked.recv());
        let own = AioContext::current();
        let _home = own.enter();
        let caller_sleeps = sleeps(&own);
        let unblocker = thread::spawn(move || {
            caller_sleeps();
            drop(block);
        });
        let began = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&began);
        let late = poll_co_in_timeout(&TIMED, io.context(), Duration::ZERO, counts, |began| async move {
            began.fetch_add(1, Ordering::Relaxed);
        });
        unblocker.join().unwrap();
        assert!(late.is_err());
        assert_eq!(began.load(Ordering::Relaxed), 0);
        plain(io.context().spawn(async {}));
        assert_eq!(began.load(Ordering::Relaxed), 0);
    });
}

/// Catches: closing that spares what the home thread is yet to run.
#[test]
fn a_closed_context_drops_what_waits_on_its_home_thread() {
    within_bounds(|| {
        let io = IoThread::spawn("closing").unwrap();
        let ctx = io.context().clone();
        let home = plain(ctx.spawn(async { thread::current().id() }));
        let dropped = Arc::new(Mutex::new(None));
        struct DropsThere(Arc<Mutex<Option<thread::ThreadId>>>);
        impl Drop for DropsThere {
            fn drop(&mut self) {
                *self.0.lock().unwrap() = Some(thread::current().id());
            }
        }
        let held = DropsThere(Arc::clone(&dropped));
        let local = ctx.clone();
        plain(ctx.spawn(async move {
            drop(local.spawn_local(async move {
                let _held = (held, Rc::new(()));
                std::future::pending::<()>().await;
            }));
        }));
        ctx.close();
        io.join();
        assert_eq!(*dropped.lock().unwrap(), Some(home));
        assert_eq!(mixed(async { 1 }), 1);
    });
}

/// Catches: a `!Send` task that is forgotten, because a wake from elsewhere met the closed queue before its home thread did.
#[test]
fn a_local_task_that_is_woken_elsewhere_while_its_context_closes_is_dropped_at_home() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let alive = Arc::new(());
        let waker = Arc::new(Mutex::new(None::<std::task::Waker>));
        let (held, place) = ((Arc::clone(&alive), Rc::new(())), Arc::clone(&waker));
        let task = ctx.spawn_local(async move {
            let _held = held;
            std::future::poll_fn(|cx| {
                *place.lock().unwrap() = Some(cx.waker().clone());
                std::task::Poll::<()>::Pending
            })
            .await;
        });
        ctx.poll(false);
        let closing = ctx.clone();
        thread::spawn(move || {
            closing.close();
            waker.lock().unwrap().take().unwrap().wake();
        })
        .join()
        .unwrap();
        assert_eq!(Arc::strong_count(&alive), 2, "not dropped there");
        ctx.poll(false);
        assert_eq!(Arc::strong_count(&alive), 1);
        assert!(task.is_finished());
    });
}

/// A call waits for its turn in a context without a home. A nested call of the same thread becomes the home before the
/// outer call notices, and starts what the outer call sent.
///
/// Catches: a nested call that drops the outer call when it leaves home; one that leaves it started, where the next
/// home would find it.
#[test]
fn x05_a_nested_call_leaves_the_outer_one_that_it_began() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let (leave, leaves) = async_channel::bounded::<()>(1);
        let (at_home, is_at_home) = mpsc::channel();
        let (left, has_left) = mpsc::channel();
        let first = ctx.clone();
        let other = thread::spawn(move || {
            first.block_on(async {
                at_home.send(()).unwrap();
                leaves.recv().await.unwrap();
            });
            left.send(()).unwrap();
        });
        is_at_home.recv().unwrap();

        let (begun, has_begun) = async_channel::bounded(1);
        let (end, ends) = async_channel::bounded(1);
        let nested = ctx.clone();
        AioContext::current().schedule_bh(move || {
            leave.send_blocking(()).unwrap();
            has_left.recv().unwrap();
            // Held back in a nested wait, and taken after a while.
            nested.block_on(has_begun.recv()).unwrap();
            end.try_send(()).unwrap();
        });
        let answer = remote(&ctx, (), |()| async move {
            begun.send(()).await.unwrap();
            ends.recv().await.unwrap();
            AioContext::current().sleep(ms(1)).await;
            thread::current().id()
        });
        assert_eq!(answer, thread::current().id());
        other.join().unwrap();
        // And it has left after it.
        thread::scope(|scope| scope.spawn(|| ctx.block_on(async {})).join().unwrap());
    });
}

/// A temporary home leaves while the next one starts its call and a third thread closes the context.
///
/// Catches: a home that, while leaving, drops what only the next one may touch; tests/loom.rs tries all orders.
#[test]
fn w06_x05_leaving_while_the_next_moves_in_and_another_closes() {
    within_bounds(|| {
        for round in 0..sized(2_000, 10) {
            let ctx = AioContext::new().unwrap();
            let start = std::sync::Barrier::new(3);
            thread::scope(|scope| {
                scope.spawn(|| {
                    ctx.block_on(async { start.wait() });
                });
                scope.spawn(|| {
                    start.wait();
                    panic_of(|| remote(&ctx, (), |()| std::future::pending::<()>()))
                });
                scope.spawn(|| {
                    start.wait();
                    (0..round % 100 * 20).for_each(|_| std::hint::spin_loop());
                    ctx.close();
                });
            });
        }
    });
}

/// A caller that serves the context itself panics when the context is closed, like any other.
///
/// Catches: a call in a context without a home, or in the caller's own, that goes on after the close, or begins after it.
#[test]
fn w06_a_context_closed_under_a_call_that_serves_itself() {
    within_bounds(|| {
        for resident in [false, true] {
            let ctx = AioContext::new().unwrap();
            let (begun, has_begun) = mpsc::channel();
            let closed = ctx.clone();
            let closer = thread::spawn(move || {
                has_begun.recv().unwrap();
                closed.close();
            });
            let _guard = resident.then(|| ctx.enter());
            let dropped = Arc::new(());
            let held = Arc::clone(&dropped);
            let message = panic_of(|| {
                remote(&ctx, held, |held| async move {
                    begun.send(()).unwrap();
                    std::future::pending::<()>().await;
                    drop(held);
                })
            });
            assert!(message.contains("was closed") && message.contains("calls.rs"), "{message}");
            assert_eq!(Arc::strong_count(&dropped), 1, "the call was dropped");
            closer.join().unwrap();
            let message = panic_of(|| remote(&ctx, (), |()| async { unreachable!("the context is closed") }));
            assert!(message.contains("was closed"), "{message}");
        }
    });
}

/// Makes a temporary home. It leaves when the returned function is called, which returns after that.
fn somebody_at_home(ctx: &AioContext) -> impl FnOnce() + Send + 'static {
    let (leave, leaves) = async_channel::bounded::<()>(1);
    let (at_home, is_at_home) = mpsc::channel();
    let ctx = ctx.clone();
    let other = thread::spawn(move || {
        ctx.block_on(async {
            at_home.send(()).unwrap();
            leaves.recv().await.unwrap();
        });
    });
    is_at_home.recv().unwrap();
    move || {
        leave.send_blocking(()).unwrap();
        other.join().unwrap();
    }
}

/// Ends when a call into the context of that name has gone to sleep.
fn until_parked(context: &str) {
    let is_parked = |call: &hang::Call| {
        call.name() == "remote" && call.context() == Some(context) && call.state() == hang::State::Parked
    };
    while !hang::report().calls().iter().any(is_parked) {
        thread::sleep(ms(1));
    }
}

/// When the home leaves, the caller that has waited longest is in a nested wait, which does not check that caller's
/// slot.
///
/// Catches: a home that wakes only the first caller; then all callers wait for ever.
#[test]
fn x05_a_home_that_leaves_wakes_whoever_can_be_the_next() {
    within_bounds(|| {
        for same_thread in [true, false] {
            let ctx = AioContext::builder().name("left by its home").build().unwrap();
            let leave = somebody_at_home(&ctx);
            let (inner, mut leave) = (ctx.clone(), Some(leave));
            // Made inside the wait of the next call.
            AioContext::current().schedule_bh(move || {
                let leave = leave.take().unwrap();
                // The outer call waits already.
                let leaver = thread::spawn(move || {
                    until_parked("left by its home");
                    leave();
                });
                let call = || assert_eq!(remote(&inner, (), |()| async { 3 }), 3);
                if same_thread {
                    call();
                } else {
                    let (done, is_done) = async_channel::bounded(1);
                    let (waits, is_waiting) = mpsc::channel();
                    thread::scope(|scope| {
                        let call = &call;
                        scope.spawn(move || {
                            is_waiting.recv().unwrap();
                            call();
                            done.send_blocking(()).unwrap();
                        });
                        // Serves its own context, not that one.
                        mixed(async {
                            waits.send(()).unwrap();
                            is_done.recv().await.unwrap();
                        });
                    });
                }
                leaver.join().unwrap();
            });
            assert_eq!(remote(&ctx, (), |()| async { 1 }), 1);
        }
    });
}

/// The same in a nested call, but the outer call, which the nested one starts, blocks on its context itself before its
/// own frame notices.
///
/// Catches: a guard made in it that counts as the last one that keeps the thread at home.
#[test]
fn x05_an_outer_call_begun_in_a_nested_one_may_block() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let leave = somebody_at_home(&ctx);
        let (begun, has_begun) = async_channel::bounded(1);
        let nested = ctx.clone();
        AioContext::current().schedule_bh(move || {
            leave();
            nested.block_on(has_begun.recv()).unwrap();
        });
        let inner = ctx.clone();
        let answer = remote(&ctx, inner, |inner| async move {
            begun.send(()).await.unwrap();
            // Some of them in the nested wait, the next before the frame is asked, the rest after.
            for _ in 0..5 {
                let mut yielded = false;
                std::future::poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
                inner.block_on(async {});
            }
            7
        });
        assert_eq!(answer, 7);
        // And it has left after it.
        thread::scope(|scope| scope.spawn(|| ctx.block_on(async {})).join().unwrap());
    });
}

/// A nested call leaves home, and only then a destructor's wait starts the outer call.
///
/// Catches: leaving home that drops what was started meanwhile; that leaves it to a thread that may not touch it; that
/// waits a second for it.
#[test]
fn x05_an_outer_call_begun_by_a_destructor_while_its_thread_leaves() {
    struct BlocksOn(AioContext, async_channel::Receiver<()>);
    impl Drop for BlocksOn {
        fn drop(&mut self) {
            // Held back in a nested wait, and taken after a while.
            self.0.block_on(self.1.recv()).unwrap();
        }
    }
    within_bounds(|| {
        let mut shortest = [Duration::MAX; 2];
        for round in 0..sized(60, 2) {
            let (resident, start) = (round % 2 == 1, Instant::now());
            let ctx = AioContext::builder().name("left by a destructor").build().unwrap();
            let leave = somebody_at_home(&ctx);
            let (begun, has_begun) = async_channel::bounded(1);
            let (end, ends) = async_channel::bounded(1);
            let (end_next, next_ends) = async_channel::bounded::<()>(1);
            let (next, nested) = (ctx.clone(), ctx.clone());
            let (waiting, is_waiting) = mpsc::channel();
            AioContext::current().schedule_bh(move || {
                leave();
                {
                    let _guard = resident.then(|| nested.enter());
                    let blocks = BlocksOn(nested.clone(), has_begun);
                    nested.block_on(async {
                        drop(nested.spawn_local(async move {
                            let _blocks = blocks;
                            std::future::pending::<()>().await;
                        }));
                    });
                }
                // A caller that finds no home now would serve the started call.
                let waits = thread::spawn(move || remote(&next, next_ends, |ends| async move { ends.recv().await }));
                until_parked("left by a destructor");
                waiting.send(waits).unwrap();
                end.try_send(()).unwrap();
            });
            let answer = remote(&ctx, (), |()| async move {
                begun.send(()).await.unwrap();
                ends.recv().await.unwrap();
                9
            });
            assert_eq!(answer, 9);
            drop(end_next);
            assert!(is_waiting.recv().unwrap().join().unwrap().is_err());
            shortest[round % 2] = start.elapsed().min(shortest[round % 2]);
        }
        // A wait of a second would be part of each round, on however slow a machine.
        let quick = shortest.iter().all(|round| *round < Duration::from_secs(1));
        assert!(quick || cfg!(miri), "the shortest rounds: {shortest:?}");
    });
}

/// Catches: a call that is given up and stays queued because a temporary home never starts another caller's call; one
/// that is started nevertheless.
#[test]
fn w10_a_call_is_taken_back_from_a_home_that_begins_none() {
    static TIMED: Wrapper = Wrapper { name: "timed", target: "co_timed", mixed: false };
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let (at_home, is_at_home) = mpsc::channel();
        let (release, released) = async_channel::bounded::<()>(1);
        let passes = ctx.clone();
        let temporary = thread::spawn(move || {
            remote(&passes, released, move |released| async move {
                at_home.send(()).unwrap();
                assert!(released.recv().await.is_err());
            });
        });
        is_at_home.recv().unwrap();
        let (held, began) = (Arc::new(()), AtomicBool::new(false));
        let late = poll_co_in_timeout(&TIMED, &ctx, ms(5), (Arc::clone(&held), &began), |(_held, began)| async move {
            began.store(true, Ordering::Relaxed);
        });
        assert!(late.is_err());
        assert_eq!((Arc::strong_count(&held), began.load(Ordering::Relaxed)), (1, false));
        drop(release);
        temporary.join().unwrap();
    });
}

/// Catches: threads that wait for each other, each a temporary home of the context that the next one calls into.
#[test]
#[cfg_attr(miri, ignore = "Miri lacks the timerfd of async-io's timers")]
fn x05_callers_that_are_home_to_each_other_all_go_on() {
    within_bounds(|| {
        for count in [2, 3, 5] {
            let contexts: Vec<_> = (0..count).map(|_| AioContext::new().unwrap()).collect();
            let all_home = std::sync::Barrier::new(count);
            thread::scope(|scope| {
                let calls: Vec<_> = (0..count)
                    .map(|at| {
                        let (home, next, all_home) = (&contexts[at], &contexts[(at + 1) % count], &all_home);
                        scope.spawn(move || {
                            remote(home, (), move |()| async move {
                                all_home.wait();
                                remote(next, at, |at| async move {
                                    async_io::Timer::after(ms(1)).await;
                                    at + 1
                                })
                            })
                        })
                    })
                    .collect();
                let answers: Vec<_> = calls.into_iter().map(|call| call.join().unwrap()).collect();
                assert_eq!(answers, (1..=count).collect::<Vec<_>>());
            });
            assert!(contexts.iter().all(|context| context.stats().tasks_live == 0));
        }
    });
}

/// Two callers are home to each other's contexts; what the one began for the other goes on when its own call is given up.
///
/// Catches: a home that leaves with a call in hand which it began to break a circle.
#[test]
fn x05_who_breaks_a_circle_stays_until_it_is_done() {
    static TIMED: Wrapper = Wrapper { name: "timed", target: "co_timed", mixed: true };
    within_bounds(|| {
        // On a busy machine a call may be given up before its home begins the other one. Then it gets more time.
        let began_it = [50, 500, 5_000, 50_000].into_iter().any(|timeout| {
            let [a, b] = [0, 1].map(|_| AioContext::new().unwrap());
            let both_home = std::sync::Barrier::new(2);
            let (begun, is_begun) = mpsc::channel();
            let (give_up, given_up) = async_channel::bounded::<()>(1);
            thread::scope(|scope| {
                let (a, b, both_home) = (&a, &b, &both_home);
                let gives_up = scope.spawn(move || {
                    remote(a, give_up, move |give_up| async move {
                        both_home.wait();
                        let pending = |()| std::future::pending::<()>();
                        let late = poll_co_in_timeout(&TIMED, b, ms(timeout), (), pending).is_err();
                        drop(give_up);
                        late
                    })
                });
                let waits = scope.spawn(move || {
                    remote(b, (), move |()| async move {
                        both_home.wait();
                        remote(a, (begun, given_up), |(begun, given_up)| async move {
                            begun.send(thread::current().id()).unwrap();
                            assert!(given_up.recv().await.is_err());
                            7
                        })
                    })
                });
                let breaker = gives_up.thread().id();
                assert_eq!((gives_up.join().unwrap(), waits.join().unwrap()), (true, 7));
                is_begun.recv().unwrap() == breaker
            })
        });
        assert!(began_it, "no home breaks the circle");
    });
}
