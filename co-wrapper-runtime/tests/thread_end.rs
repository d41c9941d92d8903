//! Handles kept in a thread-local beyond the end of the thread or the process. Each kind of handle is destroyed before
//! and after our own and tokio's thread-locals, on the main thread and on another. Each row is a process of its own,
//! because a panic in such a destructor ends the process.
//!
//! The harness is off, because it never runs tests on the main thread.

#[cfg(all(unix, feature = "tokio", feature = "graph", not(loom), not(miri)))]
mod rows {
    use std::{
        any::Any,
        cell::RefCell,
        env,
        future::Future,
        os::unix::net::UnixStream,
        pin::Pin,
        process::Command,
        task::{Context, Waker},
        thread,
        time::Duration,
    };

    use co_wrapper_runtime::{
        __private::{Wrapper, poll_co, poll_co_in},
        AioContext, Interest, IoThread,
        graph::{self, Drain},
    };

    thread_local! {
        static KEPT: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
    }

    /// Calls when it is dropped.
    struct OnDrop<F: FnMut()>(F);

    impl<F: FnMut()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            self.0();
        }
    }

    fn plain<F: Future>(future: F) -> F::Output {
        poll_co(&Wrapper { name: "plain", target: "co_plain", mixed: false }, future, |future| future)
    }

    /// What is kept, and how it is made.
    type Kind = (&'static str, fn() -> Box<dyn Any>);

    const KINDS: &[Kind] = &[
        ("EnterGuard", || Box::new(AioContext::new().unwrap().enter())),
        ("EnterGuards, out of order", || {
            let guards = [(); 3].map(|()| AioContext::new().unwrap().enter());
            let [first, second, third] = guards;
            Box::new((second, first, third))
        }),
        ("EnterGuard of the thread's own context", || Box::new(AioContext::current().enter())),
        ("EnterGuard, with a local task", || {
            let ctx = AioContext::new().unwrap();
            let guard = ctx.enter();
            let flush = OnDrop(|| println!("dropped"));
            drop(ctx.spawn_local(async move {
                let _flush = flush;
                std::future::pending::<()>().await;
            }));
            ctx.poll(false);
            Box::new((guard, ctx))
        }),
        ("EnterGuard, closed context", || {
            let ctx = AioContext::new().unwrap();
            let guard = ctx.enter();
            ctx.schedule_bh(|| ());
            ctx.close();
            Box::new(guard)
        }),
        ("AioContext", || {
            let ctx = AioContext::new().unwrap();
            ctx.schedule_bh(|| ());
            drop(ctx.spawn(async {}));
            Box::new(ctx)
        }),
        ("JoinHandle, pending", || {
            let ctx = AioContext::new().unwrap();
            let mut task = Box::pin(ctx.spawn(std::future::pending::<()>()));
            assert!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            Box::new((task, ctx))
        }),
        ("JoinHandle, finished, and AbortHandle", || {
            let ctx = AioContext::new().unwrap();
            let task = ctx.spawn(async { "result".to_owned() });
            ctx.poll(false);
            Box::new((task.abort_handle(), task, ctx))
        }),
        ("JoinHandle of a local task, which is cancelled", || {
            let ctx = AioContext::current();
            let task = ctx.spawn_local(std::future::pending::<()>());
            ctx.poll(false);
            let mut task = Some(task);
            Box::new(OnDrop(move || drop(task.take().map(|task| task.cancel()))))
        }),
        ("IoThread", || Box::new(IoThread::spawn("io").unwrap())),
        ("IoThread, busy", || {
            let io = IoThread::spawn("io").unwrap();
            drop(io.context().spawn(async {
                loop {
                    plain_yield().await
                }
            }));
            Box::new(io)
        }),
        ("BottomHalf", || {
            let bottom_half = AioContext::current().bh(|| ());
            bottom_half.schedule();
            Box::new(bottom_half)
        }),
        ("FdHandler", || {
            let (socket, other) = UnixStream::pair().unwrap();
            let handler = AioContext::current().fd_handler(&socket, Interest::READABLE, || ());
            Box::new((handler, socket, other))
        }),
        ("FdHandler of another context", || {
            let (socket, other) = UnixStream::pair().unwrap();
            let ctx = AioContext::new().unwrap();
            let handler = ctx.fd_handler(&socket, Interest::READABLE.add(Interest::WRITABLE), || ());
            Box::new((handler, socket, other, ctx))
        }),
        ("Sleep", || {
            let mut sleep = Box::pin(AioContext::current().sleep(Duration::from_secs(1)));
            assert!(sleep.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            Box::new(sleep)
        }),
        ("GraphRead", || Box::new(plain(graph::read()))),
        ("GraphRead, waiting", || {
            let mut waits: Pin<Box<dyn Future<Output = _>>> = Box::pin(async {
                let guard = graph::read().await;
                std::future::pending::<()>().await;
                drop(guard);
            });
            assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            Box::new(waits)
        }),
        ("GraphWrite", || {
            let guard = AioContext::main().enter();
            Box::new((graph::write(), guard))
        }),
        ("Drain's request", || {
            let node: &'static Drain = Box::leak(Box::default());
            Box::new((plain(node.begin()), ()))
        }),
        ("Drained", || {
            let node: &'static Drain = Box::leak(Box::default());
            Box::new(node.drained())
        }),
        ("what makes a ready call", || Box::new(OnDrop(|| plain(async {})))),
        ("what enters", || Box::new(OnDrop(|| drop(AioContext::new().unwrap().enter())))),
        ("what joins a task by a ctx call", || {
            let io = IoThread::spawn("io").unwrap();
            Box::new(OnDrop(move || {
                let wrapper = &Wrapper { name: "there", target: "co_there", mixed: false };
                poll_co_in(wrapper, io.context(), (), |()| tokio::time::sleep(Duration::from_millis(1)));
            }))
        }),
        ("a panic of a local task's destructor", || {
            let ctx = AioContext::new().unwrap();
            let guard = ctx.enter();
            let bomb = OnDrop(|| panic!("of the destructor"));
            drop(ctx.spawn_local(async move {
                let _bomb = bomb;
                std::future::pending::<()>().await;
            }));
            ctx.poll(false);
            Box::new((guard, ctx))
        }),
        ("a panic of a bottom half's destructor", || {
            let ctx = AioContext::new().unwrap();
            let guard = ctx.enter();
            let bomb = OnDrop(|| panic!("of the destructor"));
            ctx.schedule_bh(move || std::mem::forget(bomb));
            ctx.close_later();
            Box::new((guard, ctx))
        }),
    ];

    trait CloseLater {
        fn close_later(&self);
    }

    impl CloseLater for AioContext {
        /// Closed by another thread, it is left to its home to be cleared out.
        fn close_later(&self) {
            thread::scope(|scope| scope.spawn(|| self.close()).join().unwrap());
        }
    }

    async fn plain_yield() {
        tokio::task::yield_now().await;
    }

    /// Which thread-locals there are when ours comes to be: they are destroyed after it.
    const ORDERS: &[(&str, fn())] = &[
        ("none", || ()),
        ("co_wrapper's", || drop(AioContext::current())),
        ("tokio's", || drop(tokio::runtime::Handle::try_current())),
        ("tokio's, co_wrapper's", || {
            drop(tokio::runtime::Handle::try_current());
            drop(AioContext::current());
        }),
        ("all, in use", || plain(async { tokio::time::sleep(Duration::from_millis(1)).await })),
    ];

    fn keep(kind: fn() -> Box<dyn Any>, order: fn()) {
        order();
        KEPT.with_borrow_mut(|kept| *kept = Some(kind()));
    }

    /// The child's part.
    fn row(row: &str) {
        let mut names = row.split('/');
        let mut next = || names.next().unwrap();
        let (thread, order, kind) = (next(), next(), next());
        let order = ORDERS.iter().find(|(name, _)| *name == order).unwrap().1;
        let kind = KINDS.iter().find(|(name, _)| *name == kind).unwrap().1;
        match thread {
            "main" => keep(kind, order),
            "another" => thread::spawn(move || keep(kind, order)).join().unwrap(),
            "another, at exit" => {
                let (tx, rx) = std::sync::mpsc::channel();
                thread::spawn(move || {
                    keep(kind, order);
                    tx.send(()).unwrap();
                    thread::park();
                });
                rx.recv().unwrap();
            }
            other => unreachable!("{other}"),
        }
    }

    /// What went wrong with a row.
    fn failure(row: &str) -> Option<String> {
        let mut command = Command::new(env::current_exe().unwrap());
        let output = co_wrapper_test_support::run(command.env("CO_WRAPPER_ROW", row).env("RUST_BACKTRACE", "0"));
        let said = String::from_utf8_lossy(&output.stderr);
        (!output.status.success()).then(|| format!("{row}: {}\n{said}", output.status))
    }

    /// Catches: a handle that aborts the process, or hangs, when it is dropped as its thread ends.
    pub fn run() {
        if let Ok(name) = env::var("CO_WRAPPER_ROW") {
            return row(&name);
        }
        let mut rows = Vec::new();
        for thread in ["main", "another", "another, at exit"] {
            for (order, _) in ORDERS {
                rows.extend(KINDS.iter().map(|(kind, _)| format!("{thread}/{order}/{kind}")));
            }
        }
        let (next, failed) = (std::sync::atomic::AtomicUsize::new(0), std::sync::Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(row) = rows.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                        failed.lock().unwrap().extend(failure(row));
                    }
                });
            }
        });
        let failed = failed.into_inner().unwrap();
        println!("thread_end: {} of {} rows failed", failed.len(), rows.len());
        assert!(failed.is_empty(), "{}", failed.join("\n"));
    }
}

fn main() {
    #[cfg(all(unix, feature = "tokio", feature = "graph", not(loom), not(miri)))]
    rows::run();
}
