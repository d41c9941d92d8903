//! Callbacks and futures, and payloads whose own drop panics.

use super::*;

/// Queues a bottom half that panics between two that count.
fn middle_panics(ctx: &AioContext) -> Arc<AtomicUsize> {
    let runs = Arc::new(AtomicUsize::new(0));
    for at in 0..3 {
        let runs = Arc::clone(&runs);
        ctx.schedule_bh(move || {
            assert!(at != 1, "of the callback");
            runs.fetch_add(1, Ordering::Relaxed);
        });
    }
    runs
}

/// Queues so many bottom halves that count themselves and panic.
fn each_panics(count: usize, ctx: &AioContext) -> Arc<AtomicUsize> {
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..count {
        let ran = Arc::clone(&ran);
        ctx.schedule_bh(move || {
            ran.fetch_add(1, Ordering::Relaxed);
            panic_any(Bomb);
        });
    }
    ran
}

pub fn callbacks() -> Vec<Row> {
    const CALLBACK: &[&str] = &["of the callback"];
    vec![
        in_context("bottom half, polled", NOTHING, |ctx| {
            let runs = middle_panics(ctx);
            assert_eq!(polls(ctx), CALLBACK);
            assert_eq!(runs.load(Ordering::Relaxed), 2);
        }),
        in_context("bottom half, under a call", CALLBACK, |ctx| {
            let runs = middle_panics(ctx);
            let heard = heard_of(|| plain(rounds_until(|| runs.load(Ordering::Relaxed) == 2)));
            assert_eq!(runs.load(Ordering::Relaxed), 2);
            raise(heard);
        }),
        in_context("bottom half, under a call elsewhere", CALLBACK, |ctx| {
            let io = IoThread::spawn("io").unwrap();
            let runs = middle_panics(ctx);
            let ran = Arc::clone(&runs);
            let heard = heard_of(|| {
                poll_co_in(WRAPPER, io.context(), (), |()| rounds_until(move || ran.load(Ordering::Relaxed) == 2));
            });
            assert_eq!(runs.load(Ordering::Relaxed), 2);
            raise(heard);
        }),
        in_context("bottom half, in the context of a call elsewhere", NOTHING, |_| {
            let io = IoThread::spawn("io").unwrap();
            let there = io.context().clone();
            let runs = poll_co_in(WRAPPER, io.context(), (), |()| async move {
                let runs = middle_panics(&there);
                rounds_until(|| runs.load(Ordering::Relaxed) == 2).await;
                runs
            });
            assert_eq!(runs.load(Ordering::Relaxed), 2);
        }),
        in_context("bottom half, in an IoThread", NOTHING, |_| {
            let io = IoThread::spawn("io").unwrap();
            let runs = middle_panics(io.context());
            assert_eq!(plain(io.context().spawn(async { 1 })), 1);
            assert_eq!(runs.load(Ordering::Relaxed), 2);
        }),
        in_context("reusable bottom half, scheduled again", NOTHING, |ctx| {
            let mut runs = 0;
            let bottom_half = ctx.bh(move || {
                runs += 1;
                assert!(runs > 1, "of the callback");
            });
            for expected in [CALLBACK, NOTHING] {
                bottom_half.schedule();
                assert_eq!(polls(ctx), expected);
            }
        }),
        in_context("handler, beside others", NOTHING, |ctx| {
            let sockets = [(); 3].map(|()| std::os::unix::net::UnixStream::pair().unwrap());
            let runs = Arc::new(AtomicUsize::new(0));
            let _handlers: Vec<_> = (sockets.iter().enumerate())
                .map(|(at, (socket, other))| {
                    std::io::Write::write_all(&mut &*other, b"x").unwrap();
                    let runs = Arc::clone(&runs);
                    ctx.fd_handler(socket, co_wrapper_runtime::Interest::READABLE, move || {
                        assert!(at != 1, "of the callback");
                        runs.fetch_or(1 << at, Ordering::Relaxed);
                    })
                })
                .collect();
            assert_eq!(polls(ctx), CALLBACK);
            assert_eq!(runs.load(Ordering::Relaxed), 0b101);
        }),
        in_context("poll_while's condition", &["of the condition"], |_| {
            let ctx = AioContext::new().unwrap();
            ctx.poll_while(|| panic!("of the condition"));
        }),
        in_context("poll_while's condition, later", &["of the condition"], |ctx| {
            let mut first = true;
            ctx.notify();
            ctx.poll_while(|| mem::take(&mut first) || panic!("of the condition"));
        }),
        in_context("task", &["of the task"], |ctx| {
            let task = ctx.spawn(async { panic!("of the task") });
            assert_eq!(polls(ctx), NOTHING);
            plain(task);
        }),
        in_context("future of a call elsewhere", &["of the call"], |_| {
            let io = IoThread::spawn("io").unwrap();
            let heard = heard_of(|| poll_co_in(WRAPPER, io.context(), (), |()| async { panic!("of the call") }));
            assert_eq!(plain(io.context().spawn(async { 1 })), 1);
            raise(heard);
        }),
        row("no_co body", || {
            let main = AioContext::main();
            let _home = main.enter();
            let mut call =
                Box::pin(no_co(WRAPPER, (), |()| -> co_wrapper_runtime::__private::Sent<()> { panic!("of the body") }));
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(polls(&main), NOTHING);
            assert_eq!(heard_of(|| plain(call)), ["of the body"]);
            is_well(&main);
        }),
    ]
}

/// Catches: a callback that takes the rest of its batch with it, or a call in flight, or a thread.
#[test]
fn w13_callbacks() {
    check(callbacks);
}

pub fn payloads() -> Vec<Row> {
    vec![
        in_context("payload, of a detached task", NOTHING, |ctx| {
            drop(ctx.spawn(async { panic_any(Bomb) }));
            ctx.poll(false);
        }),
        in_context("payload, of a joined task", &["a payload"], |ctx| plain(ctx.spawn(async { panic_any(Bomb) }))),
        in_context("payload, of a task whose handle is dropped", NOTHING, |ctx| {
            let task = ctx.spawn(async { panic_any(Bomb) });
            ctx.poll(false);
            drop(task);
        }),
        in_context("payload, of a cancelled task", NOTHING, |ctx| {
            let task = ctx.spawn(async { panic_any(Bomb) });
            ctx.poll(false);
            drop(task.cancel());
        }),
        in_context("payload, in an IoThread", NOTHING, |_| {
            let io = IoThread::spawn("io").unwrap();
            (0..3).for_each(|_| io.context().schedule_bh(|| panic_any(Bomb)));
            assert_eq!(plain(io.context().spawn(async { 1 })), 1);
            io.join();
        }),
        in_context("payload, of a destructor at an IoThread's end", NOTHING, |_| {
            struct Worse;
            impl Drop for Worse {
                fn drop(&mut self) {
                    panic_any(Bomb);
                }
            }
            let (io, go) = busy();
            for worse in [Worse, Worse] {
                io.context().schedule_bh(move || mem::forget(worse));
            }
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(later());
                    go();
                });
                io.join();
            });
        }),
        in_context("payload, of the second to panic under a call", &["a payload"], |ctx| {
            let ran = each_panics(3, ctx);
            plain(rounds_until(|| ran.load(Ordering::Relaxed) == 3));
        }),
        in_context("payload, under a call that panics itself", &["of the call"], |ctx| {
            let ran = each_panics(1, ctx);
            plain(async {
                rounds_until(|| ran.load(Ordering::Relaxed) == 1).await;
                panic!("of the call");
            });
        }),
        in_context("payload, under a call elsewhere that panics itself", &["a payload"], |ctx| {
            let io = IoThread::spawn("io").unwrap();
            let ran = each_panics(2, ctx);
            poll_co_in(WRAPPER, io.context(), (), |()| async move {
                rounds_until(|| ran.load(Ordering::Relaxed) == 2).await;
                panic_any(Bomb)
            });
        }),
        in_context("payload, of a call elsewhere", &["a payload"], |_| {
            let io = IoThread::spawn("io").unwrap();
            let heard = heard_of(|| poll_co_in(WRAPPER, io.context(), (), |()| async { panic_any(Bomb) }));
            assert_eq!(plain(io.context().spawn(async { 1 })), 1);
            assert_eq!(heard, ["a payload"]);
            panic_any(1_u8);
        }),
        in_context("payload, under a call while unwinding", NOTHING, |ctx| {
            let ran = each_panics(2, ctx);
            while_unwinding(|| plain(rounds_until(|| ran.load(Ordering::Relaxed) == 2)));
        }),
    ]
}

/// Catches: a payload that is dropped where a panic ends the process, a thread, or a call in flight.
#[test]
fn w13_payloads() {
    check(payloads);
}
