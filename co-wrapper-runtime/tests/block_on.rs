//! `block_on`, a blocking call of any future. The table `called_from` says where it may be called.
#![cfg(not(loom))]

mod common;

use std::{
    future::{pending, ready},
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use co_wrapper_runtime::{AioContext, Elapsed, IoThread, block_on, block_on_timeout, hang, in_coroutine};
use common::*;

/// Catches: a context that is not served meanwhile; one that is needed.
#[test]
fn it_needs_no_context_and_serves_those_of_its_thread() {
    within_bounds(|| {
        assert_eq!(block_on(ready(7)), 7);
        let (tx, rx) = async_channel::bounded(1);
        let sender = thread::spawn(move || tx.send_blocking(8));
        assert_eq!(block_on(rx.recv()), Ok(8));
        sender.join().unwrap().unwrap();
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        assert_eq!(block_on(ctx.spawn(async { 9 })), 9);
    });
}

/// Catches: a refusal, or a future that is no coroutine.
#[test]
fn it_nests_in_coroutine_context_and_is_one() {
    within_bounds(|| {
        assert!(!in_coroutine());
        assert!(block_on(async { in_coroutine() && block_on(async { in_coroutine() }) }));
        // co-check: allow — the test is about the panic
        let refused = panic_of(|| block_on(async { plain(ready(())) }));
        assert!(refused.contains("coroutine context"), "{refused}");
        let ctx = AioContext::new().unwrap();
        let task = ctx.spawn(async { block_on(AioContext::current().sleep(Duration::from_millis(1))) });
        ctx.block_on(task);
    });
}

/// Catches: a report without its name, or with a place of ours.
#[test]
fn hang_reports_name_it_and_its_caller() {
    let line = line!() + 2;
    let (release, released) = async_channel::bounded::<()>(1);
    let thread = thread::Builder::new().name("blocked on".into()).spawn(move || block_on(released.recv())).unwrap();
    let call = within_bounds(|| {
        loop {
            let report = hang::report();
            if let Some(call) = report.calls().iter().find(|call| call.thread() == "`blocked on`") {
                break call.clone();
            }
            thread::sleep(Duration::from_millis(1));
        }
    });
    assert_eq!((call.name(), call.site().file(), call.site().line()), ("block_on", Location::caller().file(), line));
    drop(release);
    assert!(thread.join().unwrap().is_err());
}

/// Catches: a panic that leaves the call on the stack; a destructor that runs in the caller's absence.
#[test]
fn w05_a_panic_reaches_the_caller_and_leaves_nothing() {
    struct Sets(Arc<AtomicBool>);
    impl Drop for Sets {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    within_bounds(|| {
        let dropped = Arc::new(AtomicBool::new(false));
        let sets = Sets(Arc::clone(&dropped));
        let message = panic_of(|| {
            block_on(async {
                let _sets = sets;
                let panics = std::pin::pin!(async { panic!("on purpose") });
                futures::future::select(pending::<()>(), panics).await;
            });
        });
        assert_eq!(message, "on purpose");
        assert!(dropped.load(Ordering::Relaxed) && !in_coroutine());
        assert!(panic_of(deep).contains("block_on: called at"));
        assert_eq!(block_on(ready(7)), 7);
    });
}

/// Blocks in itself without end.
fn deep() {
    block_on(async { deep() });
}

/// Catches: a handle of another runtime, or one that goes.
#[cfg(feature = "tokio")]
#[test]
fn the_reactor_is_the_one_that_calls_enter_and_outlives_its_users() {
    let reactor = thread::spawn(co_wrapper_runtime::reactor).join().unwrap();
    assert_eq!(reactor.id(), block_on(async { tokio::runtime::Handle::current().id() }));
    let task = reactor.spawn(async { tokio::time::sleep(Duration::from_millis(1)).await });
    within_bounds(|| block_on(task).unwrap());
    assert_eq!(co_wrapper_runtime::reactor().id(), reactor.id());
    // Not inside a call, for it is no call: nothing is current afterwards.
    assert!(tokio::runtime::Handle::try_current().is_err());
}

/// Catches: a future that is dropped late, or by nobody; a call that is ready and yet too late; a name or place of ours.
#[test]
fn w10_a_block_on_that_timed_out_has_dropped_its_future() {
    struct Sets(Arc<AtomicBool>);
    impl Drop for Sets {
        fn drop(&mut self) {
            assert!(!in_coroutine(), "on the caller's behalf");
            self.0.store(true, Ordering::Relaxed);
        }
    }
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        type Way<'a> = &'a dyn Fn(Sets, Duration) -> Result<(), Elapsed>;
        let ways: [(&str, Way<'_>); 2] = [
            ("block_on_timeout", &|sets, timeout| block_on_timeout(waits_with(sets), timeout)),
            ("AioContext::block_on_timeout", &|sets, timeout| ctx.block_on_timeout(waits_with(sets), timeout)),
        ];
        async fn waits_with(sets: Sets) {
            pending::<()>().await;
            drop(sets);
        }
        for (name, way) in ways {
            for timeout in [Duration::ZERO, Duration::from_millis(1)] {
                let dropped = Arc::new(AtomicBool::new(false));
                let elapsed = way(Sets(Arc::clone(&dropped)), timeout).unwrap_err();
                assert!(dropped.load(Ordering::Relaxed), "{name}");
                assert_eq!(elapsed.to_string(), format!("the call took longer than {timeout:?}"), "{name}");
            }
        }
        assert_eq!(block_on_timeout(ready(7), Duration::ZERO), Ok(7));
        assert_eq!(ctx.block_on_timeout(ready(7), Duration::ZERO), Ok(7));
        assert_eq!(block_on_timeout(ready(7), Duration::MAX), Ok(7));
    });
}

/// Catches: a task that ends with the wait for it, or whose handle is of no use after that.
#[test]
fn t06_a_task_outlives_a_wait_for_it_that_timed_out() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let io = IoThread::spawn("io").unwrap();
        for context in [&ctx, io.context()] {
            let (tx, rx) = async_channel::bounded(1);
            let mut task = context.spawn(async move { rx.recv().await });
            for _ in 0..3 {
                assert!(ctx.block_on_timeout(&mut task, Duration::from_millis(1)).is_err());
            }
            assert!(!task.is_finished());
            tx.send_blocking(7).unwrap();
            assert_eq!(ctx.block_on_timeout(&mut task, Duration::MAX), Ok(Ok(7)));
        }
    });
}
