//! Waits with a deadline besides those of calls: `poll_while`, `IoThread::join`, drained sections, the graph's write lock.
//! What one that gave up leaves behind is nothing, but for a thread that was asked to end.
#![cfg(not(loom))]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use co_wrapper_runtime::{AioContext, IoThread, block_on, hang};
use common::*;

const SHORT: [Duration; 2] = [Duration::ZERO, Duration::from_millis(1)];

/// Catches: a condition that is too late although it is false; one that is not evaluated at the end; a context that is
/// never done and so keeps the caller.
#[test]
fn poll_while_ends_with_its_condition_or_its_time() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        for home in [None, Some(ctx.enter())] {
            for timeout in SHORT {
                assert_eq!(ctx.poll_while_timeout(|| false, timeout), Ok(()));
                let elapsed = ctx.poll_while_timeout(|| true, timeout).unwrap_err();
                assert_eq!(elapsed.to_string(), format!("the call took longer than {timeout:?}"));
            }
            assert_eq!(ctx.poll_while_timeout(|| false, Duration::MAX), Ok(()));
            // What is ready is run, even in no time.
            let (runs, has_run) = mpsc::channel();
            ctx.schedule_bh(move || runs.send(()).unwrap());
            assert_eq!(ctx.poll_while_timeout(|| has_run.try_recv().is_err(), Duration::ZERO), Ok(()));
            // What is polled goes on.
            let (tx, rx) = async_channel::bounded::<u8>(1);
            let task = ctx.spawn(async move { rx.recv().await });
            assert!(ctx.poll_while_timeout(|| !task.is_finished(), Duration::from_millis(1)).is_err());
            tx.send_blocking(7).unwrap();
            assert_eq!(ctx.poll_while_timeout(|| !task.is_finished(), Duration::MAX), Ok(()));
            assert_eq!(ctx.block_on(task), Ok(7));
            // The condition has become false in the same poll in which the time was up.
            let (runs, has_run) = mpsc::channel();
            ctx.schedule_bh(move || {
                thread::sleep(Duration::from_millis(5));
                runs.send(()).unwrap();
            });
            assert_eq!(ctx.poll_while_timeout(|| has_run.try_recv().is_err(), Duration::from_millis(1)), Ok(()));
            drop(home);
        }
    });
}

/// Catches: a deadline that is looked at only when there is nothing to do.
#[test]
fn poll_while_gives_up_in_a_context_that_is_never_done() {
    fn again(ctx: AioContext, runs: Arc<AtomicUsize>) {
        let next = ctx.clone();
        ctx.schedule_bh(move || {
            runs.fetch_add(1, Ordering::Relaxed);
            again(next, runs);
        });
    }
    within_bounds(|| {
        let (ctx, runs) = (AioContext::new().unwrap(), Arc::new(AtomicUsize::new(0)));
        let _home = ctx.enter();
        again(ctx.clone(), Arc::clone(&runs));
        assert!(ctx.poll_while_timeout(|| true, Duration::from_millis(1)).is_err());
        assert!(runs.load(Ordering::Relaxed) > 0);
        // Nor when it is another context of the thread that is never done.
        let idle = AioContext::new().unwrap();
        let _idle = idle.enter();
        assert!(idle.poll_while_timeout(|| true, Duration::from_millis(1)).is_err());
    });
}

/// Catches: a nested wait that gives up with its outer call's deadline, or the other way round.
#[test]
fn poll_while_gives_up_within_calls_and_callbacks() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let (told, tells) = mpsc::channel();
        let nested = ctx.clone();
        ctx.schedule_bh(move || {
            told.send(nested.poll_while_timeout(|| true, Duration::from_millis(1)).is_err()).unwrap();
        });
        assert!(ctx.poll(true));
        assert!(tells.recv().unwrap());
        let task = ctx.spawn(async { AioContext::current().poll_while_timeout(|| true, Duration::ZERO).is_err() });
        assert!(ctx.block_on(task));
        // The call's time is up first; its wait ends when that of the callback has.
        let nested = ctx.clone();
        let evaluated = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&evaluated);
        ctx.schedule_bh(move || {
            let start = std::time::Instant::now();
            // Waits once at least, also if the machine had no time for it until then.
            let waits = || counts.fetch_add(1, Ordering::Relaxed) == 0 || start.elapsed() < Duration::from_millis(5);
            while nested.poll_while_timeout(waits, Duration::from_millis(1)).is_err() {}
        });
        assert!(ctx.block_on_timeout(std::future::pending::<()>(), Duration::from_millis(1)).is_err());
        assert!(evaluated.load(Ordering::Relaxed) > 1);
    });
}

/// Catches: a refusal that names another function.
#[test]
fn p03_polling_for_a_while_is_for_the_home_thread() {
    within_bounds(|| {
        let io = IoThread::spawn("its own").unwrap();
        let refused = panic_of(|| io.context().poll_while_timeout(|| true, Duration::ZERO));
        assert!(refused.starts_with("AioContext::poll_while_timeout: "), "{refused}");
    });
}

/// Catches: a join that waits on, or that cannot be repeated; a thread that goes on for ever, or is forgotten.
#[test]
fn x01_a_join_that_gave_up_can_be_made_again() {
    within_bounds(|| {
        let io = IoThread::spawn("busy").unwrap();
        let (entered, is_inside) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let pending = io.context().spawn(std::future::pending::<()>());
        io.context().schedule_bh(move || {
            entered.send(()).unwrap();
            let _ = may_go_on.recv();
        });
        is_inside.recv().unwrap();
        for _ in 0..50 {
            assert!(io.join_timeout(Duration::ZERO).is_err());
        }
        let elapsed = io.join_timeout(Duration::from_millis(1)).unwrap_err();
        assert_eq!(elapsed.to_string(), "the call took longer than 1ms");
        assert!(!pending.is_finished());
        thread::scope(|scope| {
            // One that waits on is not disturbed by one that gives up.
            let named = |name: &str| thread::Builder::new().name(name.to_owned());
            let joining = named("joining").spawn_scoped(scope, || io.join()).unwrap();
            let joining_for_a_while =
                named("joining for a while").spawn_scoped(scope, || io.join_timeout(Duration::MAX)).unwrap();
            for thread in ["`joining`", "`joining for a while`"] {
                while !hang::report().calls().iter().any(|call| call.thread() == thread) {
                    thread::yield_now();
                }
            }
            assert!(io.join_timeout(Duration::from_millis(1)).is_err());
            assert!(!joining.is_finished() && !joining_for_a_while.is_finished());
            drop(go_on);
            joining.join().unwrap();
            assert_eq!(joining_for_a_while.join().unwrap(), Ok(()));
        });
        assert!(pending.is_finished(), "what was pending is dropped");
        for timeout in SHORT {
            assert_eq!(io.join_timeout(timeout), Ok(()));
        }
        io.join();

        let io = Arc::new(IoThread::spawn("itself").unwrap());
        let inside = Arc::clone(&io);
        let refused = io.context().spawn(async move { panic_of(|| inside.join_timeout(Duration::ZERO)) });
        let refused = block_on(refused);
        assert!(
            refused.starts_with("IoThread::join_timeout: ") && refused.contains("on the thread itself"),
            "{refused}"
        );
    });
}

/// Catches: a caller's own context that stands still meanwhile.
#[test]
fn x01_the_callers_context_is_served_while_it_joins() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let io = IoThread::spawn("waits for its joiner").unwrap();
        let (tx, rx) = async_channel::bounded::<()>(1);
        let (entered, is_inside) = mpsc::channel();
        io.context().schedule_bh(move || {
            entered.send(()).unwrap();
            let _ = rx.recv_blocking();
        });
        is_inside.recv().unwrap();
        let task = ctx.spawn(async move { tx.send(()).await });
        assert_eq!(io.join_timeout(Duration::MAX), Ok(()));
        assert_eq!(ctx.block_on(task), Ok(()));
    });
}

#[cfg(feature = "graph")]
mod graph {
    use co_wrapper_runtime::{
        Elapsed,
        graph::{Drain, GraphLock},
    };
    use common::main_loop::{at, change, on_main, poll_once};

    use super::*;

    /// How a section is begun for a while, and ended if that went well.
    type Begins = fn(&Drain, Duration) -> Result<(), Elapsed>;

    const WAYS: [(&str, Begins); 2] = [
        ("drained_timeout", |node, timeout| node.drained_timeout(timeout).map(drop)),
        ("drained_begin_timeout", |node, timeout| node.drained_begin_timeout(timeout).map(|()| node.drained_end())),
    ];

    /// A request that is in flight until the sender is dropped, and which ends by counting up.
    fn request(ctx: &AioContext, node: &Arc<Drain>, ended: &Arc<AtomicUsize>) -> async_channel::Sender<()> {
        let (end, may_end) = async_channel::bounded::<()>(1);
        let (node, ended) = (Arc::clone(node), Arc::clone(ended));
        ctx.spawn(async move {
            let request = node.begin().await;
            let _ = may_end.recv().await;
            // Not in flight any more when it counts as ended.
            drop(request);
            ended.fetch_add(1, Ordering::Relaxed);
        });
        end
    }

    /// Catches: a section that stays drained after its drainer gave up, or one that was drained before and is so no more;
    /// a request that is lost; a waker that stays behind.
    #[test]
    fn w10_a_drain_that_gave_up_is_undone() {
        on_main(|main| {
            for (name, begin) in WAYS {
                for timeout in SHORT {
                    let io = IoThread::spawn("io").unwrap();
                    for ctx in [&main, io.context()] {
                        let (node, ended) = (Arc::new(Drain::new()), Arc::new(AtomicUsize::new(0)));
                        assert_eq!(begin(&node, timeout), Ok(()), "{name}: nothing is in flight");
                        let in_flight = request(ctx, &node, &ended);
                        main.poll_while(|| {
                            main.notify();
                            node.in_flight() == 0
                        });
                        // It begins while the section is waited for, and waits for its end.
                        let held_back = request(&main, &node, &ended);
                        assert!(begin(&node, timeout).is_err(), "{name}");
                        drop(held_back);
                        main.poll_while(|| {
                            main.notify();
                            ended.load(Ordering::Relaxed) == 0
                        });
                        assert_eq!(node.in_flight(), 1, "{name}: the first goes on");
                        // Given up within a section of somebody else's, which stays.
                        let mut other = Box::pin(node.co_drained());
                        assert!(poll_once(other.as_mut()).is_pending());
                        assert!(begin(&node, timeout).is_err(), "{name}");
                        let mut held_back = Box::pin(node.begin());
                        assert!(poll_once(held_back.as_mut()).is_pending(), "{name}: it got past the other section");
                        drop(other);
                        assert!(poll_once(held_back.as_mut()).is_ready(), "{name}");
                        drop(in_flight);
                        main.poll_while(|| {
                            main.notify();
                            ended.load(Ordering::Relaxed) < 2
                        });
                        assert_eq!((node.in_flight(), begin(&node, timeout)), (0, Ok(())), "{name}");
                        assert!(format!("{node:?}").contains("drained: false"), "{node:?}");
                    }
                }
            }
        });
    }

    /// Catches: a drain that ends in time and says that it did not, or does not hold requests back.
    #[test]
    fn w10_a_drain_that_ended_in_time_is_one() {
        on_main(|main| {
            let (node, ended) = (Arc::new(Drain::new()), Arc::new(AtomicUsize::new(0)));
            let end = request(&main, &node, &ended);
            main.poll(false);
            let ender = main.clone();
            main.spawn(async move {
                ender.sleep(Duration::from_millis(1)).await;
                drop(end);
            });
            let section = node.drained_timeout(Duration::MAX).unwrap();
            assert_eq!((node.in_flight(), ended.load(Ordering::Relaxed)), (0, 1));
            let waits = request(&main, &node, &ended);
            main.poll(false);
            assert_eq!(node.in_flight(), 0);
            drop(section);
            main.poll(false);
            assert_eq!(node.in_flight(), 1);
            drop(waits);
            main.poll_while(|| node.in_flight() > 0);
        });
    }

    /// Catches: a refusal that is forgotten, or names another function; a section that a panic leaves behind.
    #[test]
    fn w03_a_drain_with_a_deadline_is_refused_where_another_is() {
        on_main(|main| {
            for (name, begin) in WAYS {
                let (node, lock) = (Arc::new(Drain::new()), GraphLock::new());
                let refused = main.block_on(async { panic_of(|| begin(&node, Duration::ZERO)) });
                assert!(
                    refused.starts_with(&format!("Drain::{name}: blocking call in coroutine context")),
                    "{refused}"
                );
                let writer = line!() + 1;
                let guard = lock.write();
                let refused = panic_of(|| begin(&node, Duration::ZERO));
                assert!(refused.starts_with(&format!("Drain::{name}: ")) && refused.contains(&at(writer)), "{refused}");
                drop(guard);
                let held = block_on(node.begin());
                main.schedule_bh(|| panic!("in a bottom half"));
                assert_eq!(panic_of(|| begin(&node, Duration::from_millis(1))), "in a bottom half", "{name}");
                drop(block_on(node.begin()));
                drop(held);
                assert_eq!(begin(&node, Duration::ZERO), Ok(()));
            }
        });
    }

    /// Catches: readers that stay held back for a writer that has gone; a lock that is locked for nobody; a later writer
    /// that the one before keeps out.
    #[test]
    fn w10_a_write_that_gave_up_is_undone() {
        on_main(|main| {
            for timeout in SHORT {
                let io = IoThread::spawn("io").unwrap();
                for ctx in [&main, io.context()] {
                    let lock = GraphLock::new();
                    drop(lock.write_timeout(timeout).expect("nobody reads"));
                    let (end, may_end) = async_channel::bounded::<()>(1);
                    let (reads, is_reading) = async_channel::bounded::<()>(1);
                    let first = ctx.spawn({
                        let lock = lock.clone();
                        async move {
                            let _reading = lock.read().await;
                            reads.send(()).await.unwrap();
                            let _ = may_end.recv().await;
                        }
                    });
                    main.block_on(is_reading.recv()).unwrap();
                    let again = lock.clone();
                    let second = main.spawn(async move { drop(again.read().await) });
                    assert!(lock.write_timeout(timeout).is_err());
                    main.block_on(second);
                    // Others go in and out as before.
                    main.block_on(async { drop(lock.read().await) });
                    let writes = main.spawn(change(&lock, |_| 7));
                    main.poll(false);
                    assert!(!writes.is_finished() && lock.write_timeout(timeout).is_err());
                    drop(end);
                    main.block_on(first);
                    assert_eq!(main.block_on(writes), 7);
                    drop(lock.write_timeout(Duration::MAX).unwrap());
                }
            }
        });
    }

    /// Catches: a lock that is taken by a call that has given up.
    #[test]
    fn w10_a_write_that_waits_for_its_reader_has_the_lock() {
        on_main(|main| {
            let lock = GraphLock::new();
            let (readers, timer) = (lock.clone(), main.clone());
            let reader = main.spawn(async move {
                let _reading = readers.read().await;
                timer.sleep(Duration::from_millis(1)).await;
            });
            main.poll(false);
            let guard = lock.write_timeout(Duration::MAX).unwrap();
            assert!(reader.is_finished());
            let refused = panic_of(|| main.block_on(async { drop(lock.read().await) }));
            assert!(refused.contains("write-locked"), "{refused}");
            drop(guard);
            main.block_on(reader);
        });
    }

    /// Catches: a refusal that names another function.
    #[test]
    fn g03_a_write_with_a_deadline_is_refused_where_another_is() {
        on_main(|main| {
            let lock = GraphLock::new();
            let refusals = [
                main.block_on(async { panic_of(|| lock.write_timeout(Duration::ZERO)) }),
                {
                    let _guard = lock.write();
                    panic_of(|| lock.write_timeout(Duration::ZERO))
                },
                {
                    let _reading = block_on(lock.read());
                    panic_of(|| lock.write_timeout(Duration::ZERO))
                },
                thread::scope(|scope| scope.spawn(|| panic_of(|| lock.write_timeout(Duration::ZERO))).join().unwrap()),
            ];
            for (refused, why) in
                refusals.iter().zip(["coroutine context", "write-locked", "read guard", "main loop's alone"])
            {
                assert!(refused.starts_with("GraphLock::write_timeout: ") && refused.contains(why), "{refused}");
            }
            drop(lock.write_timeout(Duration::ZERO).unwrap());
        });
    }
}
