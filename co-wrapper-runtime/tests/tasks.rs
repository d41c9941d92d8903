//! Tasks: those lines t of the contract that need no timers.

#![cfg(not(loom))]

mod common;

use std::{
    future::{pending, poll_fn},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Poll, Waker},
    thread,
};

use co_wrapper_runtime::{AioContext, IoThread, JoinHandle, reschedule_self};
use common::{panic_of, plain, sized, within_bounds};

/// Catches: woken tasks that overtake each other.
#[test]
fn t01_tasks_run_first_come_first_run() {
    let ctx = AioContext::new().unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..50)
        .map(|n| {
            let order = Arc::clone(&order);
            ctx.spawn(async move {
                for round in 0..3 {
                    order.lock().unwrap().push((round, n));
                    yield_now().await;
                }
            })
        })
        .collect();
    for task in tasks {
        ctx.block_on(task);
    }
    let expected: Vec<_> = (0..3).flat_map(|round| (0..50).map(move |n| (round, n))).collect();
    assert_eq!(*order.lock().unwrap(), expected);
}

/// Catches: a task bound to the thread that spawned it.
#[test]
fn t02_a_task_spawned_from_a_thread_that_ended_runs_at_home() {
    let ctx = AioContext::new().unwrap();
    let spawner = ctx.clone();
    let task = thread::spawn(move || spawner.spawn(async { thread::current().id() })).join().unwrap();
    let _home = ctx.enter();
    assert!(ctx.poll(false));
    assert_eq!(ctx.block_on(task), thread::current().id());
}

/// Catches: a wake that polls the woken task on the waker's stack.
#[test]
fn t03_two_tasks_that_wake_each_other_use_constant_stack() {
    common::on_stack_of(128 << 10, || {
        const ROUNDS: usize = sized(25_000, 500);
        let ctx = AioContext::new().unwrap();
        let wakers = Arc::new([Mutex::new(None::<Waker>), Mutex::new(None)]);
        let turns = Arc::new(AtomicUsize::new(0));
        let spawn = |me: usize| {
            let (wakers, turns) = (Arc::clone(&wakers), Arc::clone(&turns));
            ctx.spawn(poll_fn(move |cx| {
                *wakers[me].lock().unwrap() = Some(cx.waker().clone());
                let turn = turns.load(Ordering::Relaxed);
                if turn % 2 == me && turn < 2 * ROUNDS {
                    turns.store(turn + 1, Ordering::Relaxed);
                }
                if let Some(other) = &*wakers[1 - me].lock().unwrap() {
                    other.wake_by_ref();
                }
                if turns.load(Ordering::Relaxed) >= 2 * ROUNDS { Poll::Ready(()) } else { Poll::Pending }
            }))
        };
        let tasks = [spawn(0), spawn(1)];
        for task in tasks {
            ctx.block_on(task);
        }
        assert_eq!(turns.load(Ordering::Relaxed), 2 * ROUNDS);
    });
}

/// Catches: a handle whose drop cancels; a cancel that leaves the future where it is; a task's panic that takes its
/// context with it.
#[test]
fn t06_detach_cancel_and_panic() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let runs = Arc::new(AtomicUsize::new(0));

        let counter = Arc::clone(&runs);
        drop(ctx.spawn(async move { counter.fetch_add(1, Ordering::Relaxed) }));
        assert!(ctx.poll(false));
        assert_eq!(runs.load(Ordering::Relaxed), 1, "detached, not cancelled");

        struct DropsAtHome(thread::ThreadId, Arc<AtomicUsize>);
        impl Drop for DropsAtHome {
            fn drop(&mut self) {
                assert_eq!(thread::current().id(), self.0);
                self.1.fetch_add(1, Ordering::Relaxed);
            }
        }
        let held = DropsAtHome(thread::current().id(), Arc::clone(&runs));
        let never = ctx.spawn(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        ctx.poll(false);
        // The cancel comes from another thread and is not awaited; the drop is still at home.
        thread::spawn(move || drop(never.cancel())).join().unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        assert!(ctx.poll(false));
        assert_eq!(runs.load(Ordering::Relaxed), 2);

        let finished = ctx.spawn(async { 5 });
        ctx.poll(false);
        assert_eq!(ctx.block_on(finished.cancel()), Some(5), "a result that was there is not lost");

        let bad = ctx.spawn(async { panic!("of the task") });
        assert!(ctx.poll(false), "the context does not panic");
        assert_eq!(panic_of(|| ctx.block_on(bad)), "of the task");
        assert_eq!(ctx.block_on(ctx.spawn(async { 1 })), 1, "the context goes on");
    });
}

/// Catches: wakes that are counted, queued twice, or that touch a finished task.
#[test]
fn t07_wakes_too_many_or_too_late_are_harmless() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let polls = Arc::new(AtomicUsize::new(0));
        let waker = Arc::new(Mutex::new(None::<Waker>));
        let (counter, place) = (Arc::clone(&polls), Arc::clone(&waker));
        let task = ctx.spawn(poll_fn(move |cx| {
            *place.lock().unwrap() = Some(cx.waker().clone());
            // Twice while it runs: one more poll, not two, and none inside this one.
            cx.waker().wake_by_ref();
            cx.waker().wake_by_ref();
            if counter.fetch_add(1, Ordering::Relaxed) < 2 { Poll::Pending } else { Poll::Ready(()) }
        }));
        for polled in 1..=3 {
            assert!(ctx.poll(false));
            assert_eq!(polls.load(Ordering::Relaxed), polled);
        }
        ctx.block_on(task);
        let late = waker.lock().unwrap().take().unwrap();
        late.wake_by_ref();
        late.wake();
        assert!(!ctx.poll(false));
        assert_eq!(polls.load(Ordering::Relaxed), 3);

        // The same for a blocking call's waker: its slot serves the next call, which stays correct.
        let place = Arc::new(Mutex::new(None::<Waker>));
        common::plain(poll_fn(|cx| {
            *place.lock().unwrap() = Some(cx.waker().clone());
            Poll::Ready(())
        }));
        let late = place.lock().unwrap().take().unwrap();
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let pest = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                late.wake_by_ref();
            }
        });
        for n in 0..sized(200, 5) {
            let (tx, rx) = async_channel::bounded(1);
            let sender = thread::spawn(move || tx.send_blocking(n).unwrap());
            assert_eq!(common::plain(rx.recv()), Ok(n));
            sender.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        pest.join().unwrap();
    });
}

/// Pending once, woken at once.
fn yield_now() -> impl Future<Output = ()> {
    let mut yielded = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Catches: a task that is queued in two places, lost between them, or entered by the other thread before it has left.
#[test]
fn t04_t05_tasks_wander_between_five_contexts() {
    within_bounds(|| {
        use std::{
            sync::atomic::AtomicBool,
            time::{Duration, Instant},
        };

        use co_wrapper_runtime::{IoThread, reschedule_self};

        let threads: Arc<Vec<_>> = Arc::new((0..5).map(|n| IoThread::spawn(&format!("t04-{n}")).unwrap()).collect());
        // Both: on a busy machine there are few in a second.
        let end = Instant::now() + Duration::from_secs(1);
        const ENOUGH: usize = 20;
        let hops = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..20_u64)
            .map(|seed| {
                let (threads, hops) = (Arc::clone(&threads), Arc::clone(&hops));
                let running = AtomicBool::new(false);
                threads[0].context().clone().spawn(async move {
                    let mut random = seed + 1;
                    while Instant::now() < end || hops.load(Ordering::Relaxed) < ENOUGH {
                        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                        let io = &threads[(random >> 33) as usize % 5];
                        reschedule_self(io.context()).await;
                        assert!(!running.swap(true, Ordering::Acquire), "entered twice");
                        assert_eq!(
                            thread::current().name(),
                            Some(format!("t04-{}", (random >> 33) as usize % 5).as_str())
                        );
                        assert_eq!(AioContext::current(), *io.context());
                        // At home already: nothing happens.
                        reschedule_self(io.context()).await;
                        running.store(false, Ordering::Release);
                        if random & 1 == 0 {
                            io.context().sleep(Duration::from_micros(random >> 55)).await;
                        }
                        hops.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for task in tasks {
            AioContext::current().block_on(task);
        }
        assert_eq!(threads.iter().map(|io| io.context().stats().tasks_live).sum::<u64>(), 0);
    });
}

/// Catches: a move of what cannot move.
#[test]
fn t05_outside_a_send_task_a_panic_says_so() {
    use co_wrapper_runtime::reschedule_self;

    within_bounds(|| {
        let (ctx, target) = (AioContext::current(), AioContext::new().unwrap());
        let refused = |message: String| assert!(message.contains("AioContext::spawn"), "{message}");
        refused(panic_of(|| ctx.block_on(reschedule_self(&target))));
        refused(panic_of(|| futures::executor::block_on(reschedule_self(&target))));
        let elsewhere = target.clone();
        let local = ctx.spawn_local(async move { reschedule_self(&elsewhere).await });
        refused(panic_of(|| ctx.block_on(local)));
        let elsewhere = target.clone();
        let nested = ctx.spawn(async move { panic_of(|| common::mixed(reschedule_self(&elsewhere))) });
        refused(ctx.block_on(nested));
    });
}

/// Catches: a move that is asked for in one branch of a task and given, while another branch blocks, to the task that
/// the nested loop polls; or lost with that.
#[test]
fn t05_a_move_asked_for_below_a_nested_loop_is_the_asker_s() {
    within_bounds(|| {
        let (ctx, io) = (AioContext::current(), IoThread::spawn("t05-io").unwrap());
        let (here, there) = (thread::current().id(), io.context().clone());
        let (tx, rx) = async_channel::bounded(1);
        // Begun before the other blocks, and not at its end after.
        let stays = ctx.spawn_local(async move {
            yield_now().await;
            yield_now().await;
            tx.send(()).await.unwrap();
            yield_now().await;
            thread::current().id()
        });
        ctx.poll(false);
        let moves = ctx.spawn(async move {
            let blocks = async { common::mixed(rx.recv()).unwrap() };
            futures::future::join(reschedule_self(&there), blocks).await;
            thread::current().id()
        });
        let moved = ctx.block_on(moves);
        assert_eq!(ctx.block_on(stays), here);
        assert_ne!(moved, here);
    });
}

/// Catches: a task that moved and that the context it moved to forgets when it closes.
#[test]
fn t05_a_task_that_moved_goes_with_its_new_context() {
    use co_wrapper_runtime::reschedule_self;

    within_bounds(|| {
        let (ctx, target) = (AioContext::new().unwrap(), AioContext::new().unwrap());
        let elsewhere = target.clone();
        let task = ctx.spawn(async move {
            reschedule_self(&elsewhere).await;
            drop(elsewhere);
            std::future::pending::<()>().await;
        });
        ctx.poll(false);
        assert_eq!((ctx.stats().tasks_live, target.stats().tasks_live), (0, 1));
        target.poll(false);
        ctx.close();
        assert!(!task.is_finished());
        target.close();
        assert!(task.is_finished());
    });
}

/// Catches: a `!Send` future that is dropped by its last waker, on another thread.
#[test]
fn a_local_task_that_cannot_be_dropped_at_home_is_forgotten_and_counted() {
    use std::{cell::Cell, rc::Rc};

    /// Comes back as often as it is dropped.
    struct Again(AioContext, thread::ThreadId, Rc<Cell<bool>>);
    impl Drop for Again {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.1);
            let again = Self(self.0.clone(), self.1, Rc::clone(&self.2));
            if self.2.get() {
                std::mem::forget(again);
            } else {
                drop(self.0.clone().spawn_local(async move {
                    let _again = again;
                    std::future::pending::<()>().await;
                }));
            }
        }
    }
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let before = ctx.stats().tasks_leaked;
        let there = ctx.clone();
        thread::spawn(move || {
            let _home = there.enter();
            let again = Again(there.clone(), thread::current().id(), Rc::new(Cell::new(false)));
            drop(there.spawn_local(async move { drop(again) }));
            // Gives up after a second.
        })
        .join()
        .unwrap();
        // The next home finds it.
        while ctx.poll(false) {}
        ctx.close();
        assert!(ctx.stats().tasks_leaked > before);
    });
}

/// Catches: a closed context's task that is dropped inside a wake: on a thread that is not its home, and under the
/// waker's locks, which the task's destructor may take (async-channel's do).
#[test]
fn t06_a_wake_after_close_leaves_the_drop_to_the_home_thread() {
    within_bounds(|| {
        #[derive(Default)]
        struct Shared {
            waker: Mutex<Option<Waker>>,
            dropped_by: Mutex<Option<thread::ThreadId>>,
        }
        struct Task(Arc<Shared>);
        impl Drop for Task {
            fn drop(&mut self) {
                *self.0.dropped_by.lock().unwrap() = Some(thread::current().id());
            }
        }

        let io = IoThread::spawn("io").unwrap();
        let shared = Arc::new(Shared::default());
        let task = Task(Arc::clone(&shared));
        drop(io.context().spawn(poll_fn(move |cx| {
            *task.0.waker.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        })));
        let home = plain(io.context().spawn(async { thread::current().id() }));
        // It is busy while its context is closed and the task is woken.
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let (begun, begins) = std::sync::mpsc::channel();
        io.context().schedule_bh(move || {
            begun.send(()).unwrap();
            let _ = wait.recv();
        });
        begins.recv().unwrap();
        io.context().close();
        let waker = shared.waker.lock().unwrap().clone();
        waker.unwrap().wake();
        assert_eq!(*shared.dropped_by.lock().unwrap(), None, "dropped within the wake");
        drop(go_on);
        io.join();
        assert_eq!(*shared.dropped_by.lock().unwrap(), Some(home));
    });
}

/// Catches: a context without a home that is closed with a task whose wake is on its way, and keeps it.
#[test]
fn t06_tasks_woken_while_nobody_is_home_end_with_the_close() {
    within_bounds(|| {
        for _ in 0..sized(200, 5) {
            let ctx = AioContext::new().unwrap();
            let (waker, dropped) = (Arc::new(Mutex::new(None::<Waker>)), Arc::new(()));
            let (place, held) = (Arc::clone(&waker), Arc::clone(&dropped));
            drop(ctx.spawn(poll_fn(move |cx| {
                let _ = &held;
                *place.lock().unwrap() = Some(cx.waker().clone());
                Poll::<()>::Pending
            })));
            ctx.poll(false);
            let waker = waker.lock().unwrap().take().unwrap();
            let other = thread::spawn(move || waker.wake());
            ctx.close();
            other.join().unwrap();
            while Arc::strong_count(&dropped) > 1 {
                thread::yield_now();
            }
        }
    });
}

/// Catches: a task that is cancelled while it moves, and whose destructor wakes another one: that one moved in its place.
#[test]
fn t05_a_cancelled_move_moves_no_other_task() {
    within_bounds(|| {
        struct Wakes(Arc<Mutex<Option<Waker>>>);
        impl Drop for Wakes {
            fn drop(&mut self) {
                self.0.lock().unwrap().take().unwrap().wake();
            }
        }

        let io = IoThread::spawn("io").unwrap();
        let ctx = AioContext::new().unwrap();
        let waker = Arc::new(Mutex::new(None::<Waker>));
        let place = Arc::clone(&waker);
        let here = thread::current().id();
        let mut polls = 0;
        let other = ctx.spawn(poll_fn(move |cx| {
            assert_eq!(thread::current().id(), here);
            polls += 1;
            if polls == 2 {
                return Poll::Ready(());
            }
            *place.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        }));
        ctx.poll(false);
        let (there, wakes) = (io.context().clone(), Wakes(waker));
        let own = Arc::new(Mutex::new(None::<JoinHandle<()>>));
        let handle = Arc::clone(&own);
        let moving = ctx.spawn(async move {
            let _wakes = wakes;
            let own = handle.lock().unwrap().take().unwrap();
            drop(own.cancel());
            reschedule_self(&there).await;
        });
        *own.lock().unwrap() = Some(moving);
        ctx.block_on(other);
    });
}

/// Catches: a handle that no closure given to `catch_unwind` may use.
#[test]
fn w05_handles_may_be_used_across_a_caught_panic() {
    fn is_unwind_safe<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    is_unwind_safe::<AioContext>();
    is_unwind_safe::<IoThread>();
    is_unwind_safe::<co_wrapper_runtime::Sleep>();
    is_unwind_safe::<co_wrapper_runtime::BottomHalf>();
    is_unwind_safe::<JoinHandle<()>>();
}

/// Catches: a task from another thread that is in neither of the two counts that are added up, because the home thread
/// is just taking it over.
#[test]
fn stats_no_task_that_lives_goes_uncounted() {
    let io = IoThread::spawn("counted").unwrap();
    for n in 1..=sized(2_000, 20) as u64 {
        drop(io.context().spawn(pending::<()>()));
        for _ in 0..20 {
            assert!(io.context().stats().tasks_live >= n);
        }
    }
}

/// Catches: a task that a close drops, and that is counted out before its destructors have ended.
#[test]
fn stats_a_task_lives_until_it_is_dropped() {
    struct Looks(AioContext, mpsc::Sender<u64>);
    impl Drop for Looks {
        fn drop(&mut self) {
            self.1.send(self.0.stats().tasks_live).unwrap();
        }
    }

    let (seen, sees) = mpsc::channel();
    for closes in [true, false] {
        let ctx = AioContext::new().unwrap();
        let guard = ctx.enter();
        let looks = Looks(ctx.clone(), seen.clone());
        drop(ctx.spawn_local(async move {
            let _looks = looks;
            pending::<()>().await;
        }));
        ctx.poll(false);
        if closes {
            ctx.close();
        }
        drop(guard);
        assert_eq!((sees.recv().unwrap(), ctx.stats().tasks_live), (1, 0));
    }
}
