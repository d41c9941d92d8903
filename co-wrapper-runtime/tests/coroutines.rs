//! Stackful coroutines: where they suspend and where they nest, who resumes them, and what is their own. The lines c01 to
//! c03, c05, c06, c08, c10 and c11 of the contract; `coroutines_dropped.rs` and `coroutines_graph.rs` have the others.

#![cfg(all(feature = "coroutine", feature = "tokio", not(any(loom, miri))))]

mod common;

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use async_channel::Receiver;
use co_wrapper_runtime::{
    __private::{Wrapper, arg, no_co, poll_co_in, poll_co_in_timeout, poll_co_timeout},
    AioContext, Coroutine, IoThread, block_on,
    hang::{self, State},
    in_coroutine,
};
use common::{mixed, ms, panic_of, plain, within_bounds};
use futures::{FutureExt, executor::LocalPool, stream::FuturesUnordered, task::LocalSpawnExt};

static REMOTE: Wrapper = Wrapper { name: "remote", target: "co_remote", mixed: true };
static TIMED: Wrapper = Wrapper { name: "timed", target: "co_timed", mixed: true };
static NO_CO: Wrapper = Wrapper { name: "co_body", target: "body", mixed: false };

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3_600);

/// A coroutine whose closure keeps the promise of `Coroutine::new`: it has no scope in a thread-local while a call waits.
#[track_caller]
fn coroutine<R>(f: impl FnOnce() -> R + 'static) -> Coroutine<R> {
    // SAFETY: as above.
    unsafe { Coroutine::new(f) }
}

/// The same, as a task of `ctx`.
#[track_caller]
fn spawn<R: Send + 'static>(
    ctx: &AioContext,
    f: impl FnOnce() -> R + Send + 'static,
) -> co_wrapper_runtime::JoinHandle<R> {
    // SAFETY: as above.
    unsafe { ctx.spawn_coroutine(f) }
}

async fn yields() {
    let mut woken = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut woken, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    future.poll_unpin(&mut Context::from_waker(Waker::noop()))
}

/// Blocks until `go` is closed.
type Wait = (&'static str, fn(&IoThread, Receiver<()>));

async fn closed(go: Receiver<()>) {
    assert!(go.recv().await.is_err());
}

/// Every way of ours to block.
const WAITS: &[Wait] = &[
    ("a plain wrapper", |_, go| plain(closed(go))),
    ("a mixed wrapper", |_, go| mixed(closed(go))),
    ("a wrapper with a timeout", |_, go| poll_co_timeout(&TIMED, LONG, go, closed).unwrap()),
    ("a wrapper in another context", |io, go| poll_co_in(&REMOTE, io.context(), go, closed)),
    ("a wrapper in another context, with a timeout", |io, go| {
        poll_co_in_timeout(&REMOTE, io.context(), LONG, go, closed).unwrap();
    }),
    ("a wrapper in the thread's own context", |_, go| poll_co_in(&REMOTE, &AioContext::current(), go, closed)),
    ("a wrapper in a context without a home", |_, go| {
        poll_co_in(&REMOTE, &AioContext::new().unwrap(), go, closed);
    }),
    ("a plain wrapper whose future is large", |_, go| {
        plain(async {
            // Under ThreadSanitizer all of its copies are on the coroutine's stack: see `sys/big_stack`.
            let large = [1_u8; if cfg!(co_wrapper_tsan) { 4 << 10 } else { 64 << 10 }];
            closed(go).await;
            assert_eq!(large[large.len() - 1], 1);
        });
    }),
    ("`block_on`", |_, go| block_on(closed(go))),
    ("`AioContext::block_on`", |_, go| AioContext::current().block_on(closed(go))),
    ("`AioContext::block_on` without a home", |_, go| AioContext::new().unwrap().block_on(closed(go))),
    ("a blocking function of a coroutine", |_, go| {
        block_on(closed(go));
        // It runs in the main context, whose home is the thread of the test.
        block_on(no_co(&NO_CO, (), |()| arg(())));
    }),
    ("a joined task", |io, go| block_on(io.context().spawn(closed(go)))),
    ("a joined coroutine", |io, go| block_on(spawn(io.context(), || plain(closed(go))))),
    ("a coroutine within it", |_, go| block_on(coroutine(|| plain(closed(go))))),
    ("`poll_while`", |_, go| {
        let ctx = AioContext::current();
        let (done, waits) = (Arc::new(AtomicBool::new(false)), ctx.clone());
        let setter = done.clone();
        ctx.spawn(async move {
            closed(go).await;
            setter.store(true, Ordering::Relaxed);
        });
        waits.poll_while(|| !done.load(Ordering::Relaxed));
    }),
    ("`poll_while`, notified by another thread", |io, go| {
        let ctx = AioContext::current();
        let done = Arc::new(AtomicBool::new(false));
        let (setter, notifies) = (done.clone(), ctx.clone());
        io.context().spawn(async move {
            closed(go).await;
            setter.store(true, Ordering::Relaxed);
            notifies.notify();
        });
        ctx.poll_while(|| !done.load(Ordering::Relaxed));
    }),
    ("a blocking `poll`", |io, go| {
        let ctx = AioContext::new().unwrap();
        let notifies = ctx.clone();
        io.context().spawn(async move {
            closed(go).await;
            notifies.notify();
        });
        assert!(!ctx.poll(true), "nothing has run");
    }),
    ("the end of an IOThread", |_, go| {
        let io = IoThread::spawn("ends").unwrap();
        // Until it ends, so must the join.
        let begun = block_on({
            let (tx, rx) = async_channel::bounded(1);
            let go = go.clone();
            io.context().schedule_bh(move || {
                tx.try_send(()).unwrap();
                assert!(go.recv_blocking().is_err());
            });
            async move { rx.recv().await }
        });
        assert_eq!(begun, Ok(()));
        io.join();
    }),
];

/// What polls coroutines on one thread. Each is given them all, and what is to end them when all are suspended.
type Host = (&'static str, fn(Vec<Coroutine<()>>, std::pin::Pin<Box<dyn Future<Output = ()>>>));

const HOSTS: &[Host] = &[
    ("our context", |coroutines, ends| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let all: Vec<_> = coroutines.into_iter().map(|coroutine| ctx.spawn_local(coroutine)).collect();
        let ends = ctx.spawn_local(ends);
        all.into_iter().for_each(|task| ctx.block_on(task));
        ctx.block_on(ends);
    }),
    ("`block_on`", |coroutines, ends| {
        block_on(async {
            futures::join!(futures::future::join_all(coroutines), ends);
        });
    }),
    ("a task of ours", |coroutines, ends| {
        let all = async { futures::join!(futures::future::join_all(coroutines), ends) };
        AioContext::current().block_on(AioContext::current().spawn_local(all));
    }),
    ("a `LocalSet`", |coroutines, ends| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let all: Vec<_> = coroutines.into_iter().map(tokio::task::spawn_local).collect();
            ends.await;
            for task in all {
                task.await.unwrap();
            }
        });
    }),
    ("a multi-thread runtime's `block_on`", |coroutines, ends| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async { futures::join!(futures::future::join_all(coroutines), ends) });
    }),
    ("smol's `block_on`", |coroutines, ends| {
        async_io::block_on(async { futures::join!(futures::future::join_all(coroutines), ends) });
    }),
    ("futures' `block_on`", |coroutines, ends| {
        futures::executor::block_on(async { futures::join!(futures::future::join_all(coroutines), ends) });
    }),
    ("futures' local executor", |coroutines, ends| {
        let mut pool = LocalPool::new();
        coroutines.into_iter().for_each(|coroutine| pool.spawner().spawn_local(coroutine).unwrap());
        pool.spawner().spawn_local(ends).unwrap();
        pool.run();
    }),
];

/// Runs `many` coroutines with `code`, each of which counts itself before it waits, and checks that all of them wait
/// before `go` is closed.
fn all_wait(host: Host, name: &str, many: usize, code: impl Fn(usize, Receiver<()>) + Clone + 'static) {
    let begun = Rc::new(Cell::new(0));
    let ended = Rc::new(Cell::new(0));
    let (tx, go) = async_channel::bounded::<()>(1);
    let coroutines = (0..many).map(|n| {
        let (begun, ended, go, code) = (begun.clone(), ended.clone(), go.clone(), code.clone());
        coroutine(move || {
            begun.set(begun.get() + 1);
            assert!(in_coroutine());
            code(n, go);
            assert!(in_coroutine());
            ended.set(ended.get() + 1);
        })
    });
    let coroutines = coroutines.collect();
    let (all, none) = (begun.clone(), ended.clone());
    let ends = async move {
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if all.get() == many { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert_eq!(none.get(), 0, "all wait");
        drop(tx);
    };
    (host.1)(coroutines, Box::pin(ends));
    assert_eq!(ended.get(), many, "{name} in {}", host.0);
    assert!(!in_coroutine());
}

#[test]
fn c01_a_thousand_of_one_thread_are_suspended_before_the_first_is_woken() {
    for host in HOSTS {
        within_bounds(|| {
            all_wait(*host, "a wrapper", 1_000, |n, go| if n % 2 == 0 { plain(closed(go)) } else { mixed(closed(go)) })
        });
    }
}

#[test]
fn c01_whatever_blocks_suspends_in_whatever_polls_it() {
    let main_loop = AioContext::main();
    within_bounds(move || {
        let _home = main_loop.enter();
        let io = Rc::new(IoThread::spawn("io").unwrap());
        for host in HOSTS {
            for wait in WAITS {
                let io = io.clone();
                all_wait(*host, wait.0, 3, move |_, go| (wait.1)(&io, go));
            }
        }
    });
}

/// Our own timers fire in any executor, though it knows nothing of the context that has them.
#[test]
fn c01_sleeps_of_ours_and_of_tokio_end_in_whatever_polls_it() {
    for host in HOSTS {
        within_bounds(|| {
            let coroutines = (0..50).map(|_| {
                coroutine(|| {
                    for _ in 0..3 {
                        block_on(AioContext::current().sleep(ms(2)));
                        plain(async { tokio::time::sleep(ms(1)).await });
                        assert!(poll_co_timeout(&TIMED, ms(1), (), |()| std::future::pending::<()>()).is_err());
                    }
                })
            });
            (host.1)(coroutines.collect(), Box::pin(async {}));
        });
    }
}

/// What another executor's thread puts into its own context is run there, while a coroutine waits.
#[test]
fn c01_a_suspended_call_leaves_the_contexts_of_its_thread_served() {
    for host in HOSTS {
        for elsewhere in [false, true] {
            within_bounds(move || {
                let (tx, rx) = async_channel::bounded(1);
                let waits = coroutine(move || plain(async move { rx.recv().await.unwrap() }));
                let ctx = AioContext::current();
                let puts = move || {
                    let sender = ctx.clone();
                    ctx.schedule_bh(move || drop(sender.spawn(async move { tx.send(()).await.unwrap() })));
                };
                let ends = async move {
                    // The coroutine is suspended first, in most executors.
                    yields().await;
                    if elsewhere { thread::spawn(puts).join().unwrap() } else { puts() }
                };
                (host.1)(vec![waits], Box::pin(ends));
            });
        }
    }
}

/// What the coroutines of a host wait for with handlers of descriptors, and what the host runs beside them. A home of theirs is
/// entered by the thread, beside its own context.
#[cfg(unix)]
type Watches = (&'static str, fn(AioContext) -> (Vec<Coroutine<()>>, std::pin::Pin<Box<dyn Future<Output = ()>>>));

#[cfg(unix)]
mod watches {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
        pin::Pin,
        sync::{Mutex, mpsc},
    };

    use co_wrapper_runtime::{FdHandler, Interest};

    use super::*;

    /// A handler that reads a byte each time it runs, and sends it to the receiver.
    fn reads(ctx: &AioContext, stream: UnixStream) -> (FdHandler, Receiver<u8>) {
        let (tx, rx) = async_channel::unbounded();
        let fd = stream.try_clone().unwrap();
        let read = move || {
            let mut byte = [0];
            (&stream).read_exact(&mut byte).unwrap();
            tx.try_send(byte[0]).unwrap();
        };
        (ctx.fd_handler(&fd, Interest::READABLE, read), rx)
    }

    fn nothing() -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async {})
    }

    pub const ALL: &[Watches] = &[
        ("data that is there already", |ctx| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(b"x").unwrap();
            let waits = coroutine(move || {
                let (_handler, rx) = reads(&ctx, ours);
                assert_eq!(plain(rx.recv()), Ok(b'x'));
            });
            (vec![waits], nothing())
        }),
        ("data again and again, each after the last was read", |ctx| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let (tx, next) = mpsc::channel();
            thread::spawn(move || {
                for n in next {
                    theirs.write_all(&[n]).unwrap();
                }
            });
            let waits = coroutine(move || {
                let (_handler, rx) = reads(&ctx, ours);
                for n in 0..100 {
                    tx.send(n).unwrap();
                    assert_eq!(plain(rx.recv()), Ok(n));
                }
            });
            (vec![waits], nothing())
        }),
        ("data of several handlers and coroutines", |ctx| {
            let own = AioContext::current();
            let all = (0..5_u8).map(|n| {
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                let (tx, next) = mpsc::channel::<()>();
                let ctx = if n % 2 == 0 { ctx.clone() } else { own.clone() };
                thread::spawn(move || {
                    for () in next {
                        theirs.write_all(&[n]).unwrap();
                    }
                });
                coroutine(move || {
                    let (_handler, rx) = reads(&ctx, ours);
                    for _ in 0..20 {
                        tx.send(()).unwrap();
                        assert_eq!(mixed(rx.recv()), Ok(n));
                    }
                })
            });
            (all.collect(), nothing())
        }),
        ("a handler that is made while it waits, by the executor", |ctx| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let (tx, rx) = async_channel::bounded(1);
            let waits = coroutine(move || assert_eq!(plain(rx.recv()), Ok(b'x')));
            let makes = async move {
                yields().await;
                let (handler, bytes) = reads(&ctx, ours);
                thread::spawn(move || {
                    thread::sleep(ms(2));
                    theirs.write_all(b"x").unwrap();
                });
                tx.send(bytes.recv().await.unwrap()).await.unwrap();
                drop(handler);
            };
            (vec![waits], Box::pin(makes))
        }),
        ("a handler that is made while it waits, on another thread", |ctx| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let (tx, rx) = async_channel::bounded(1);
            let waits = coroutine(move || assert_eq!(plain(rx.recv()), Ok(b'x')));
            thread::spawn(move || {
                thread::sleep(ms(2));
                let (_handler, bytes) = reads(&ctx, ours);
                thread::sleep(ms(2));
                theirs.write_all(b"x").unwrap();
                tx.send_blocking(bytes.recv_blocking().unwrap()).unwrap();
            });
            (vec![waits], nothing())
        }),
        ("room", |ctx| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            while (&ours).write(&[0; 4096]).is_ok() {}
            let (ended, has_ended) = mpsc::channel::<()>();
            let waits = coroutine(move || {
                let (tx, rx) = async_channel::bounded(1);
                let handler = Arc::new(Mutex::new(None::<FdHandler>));
                let removes = handler.clone();
                let has_room = move || {
                    removes.lock().unwrap().take();
                    _ = tx.try_send(());
                };
                *handler.lock().unwrap() = Some(ctx.fd_handler(&ours, Interest::WRITABLE, has_room));
                assert_eq!(plain(rx.recv()), Ok(()));
                drop(ended);
            });
            thread::spawn(move || {
                thread::sleep(ms(2));
                theirs.set_nonblocking(true).unwrap();
                while theirs.read(&mut [0; 4096]).is_ok() {}
                // Open until the coroutine has ended: it would be told of a hang-up too.
                assert!(has_ended.recv().is_err());
            });
            (vec![waits], nothing())
        }),
        ("the end of a handler, which closes its descriptor", |ctx| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let (tx, rx) = async_channel::bounded(1);
            thread::spawn(move || {
                // Nobody writes: this ends when the last copy of the descriptor is closed.
                tx.send_blocking(theirs.read(&mut [0]).unwrap()).unwrap();
            });
            let waits = coroutine(move || assert_eq!(plain(rx.recv()), Ok(0)));
            let (handler, _) = reads(&ctx, ours);
            let ends = async move {
                yields().await;
                yields().await;
                drop(handler);
            };
            (vec![waits], Box::pin(ends))
        }),
    ];
}

/// Catches: a descriptor that is looked at only when the executor polls a coroutine, which it has no reason to; one that is
/// watched no more after it was ready once, or that stays open.
#[cfg(unix)]
#[test]
fn c01_descriptor_handlers_run_in_whatever_polls_it() {
    for host in HOSTS {
        for &(what, watches) in watches::ALL {
            within_bounds(move || {
                let ctx = AioContext::new().unwrap();
                let _home = ctx.enter();
                eprintln!("{what} in {}", host.0);
                let (coroutines, ends) = watches(ctx.clone());
                (host.1)(coroutines, ends);
            });
        }
    }
}

/// Counts its wakes.
#[cfg(unix)]
#[derive(Default)]
struct CountedWakes(AtomicUsize);

#[cfg(unix)]
impl std::task::Wake for CountedWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A blocking call sleeps while a coroutine is suspended in another executor. What wakes it may be more than the call takes
/// with it. Catches: a wake that ended the call's sleep, and does not reach the coroutine after it.
#[cfg(unix)]
#[test]
fn c01_what_a_call_leaves_in_a_context_wakes_the_coroutine() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        // With a handler the thread sleeps with its descriptors.
        let (idle, _other_end) = std::os::unix::net::UnixStream::pair().unwrap();
        let _handler = ctx.fd_handler(&idle, co_wrapper_runtime::Interest::READABLE, || {});
        let (end, ends) = async_channel::bounded(1);
        let mut suspended = coroutine(move || plain(ends.recv()).unwrap());
        let wakes = Arc::new(CountedWakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        for round in 0..2_000 {
            let before = wakes.0.load(Ordering::Relaxed);
            assert!(suspended.poll_unpin(&mut cx).is_pending());
            let ran = Arc::new(AtomicUsize::new(0));
            let (answer, call) = async_channel::bounded(1);
            let (there, counts) = (ctx.clone(), Arc::clone(&ran));
            let other = thread::spawn(move || {
                let schedule = || {
                    let counts = Arc::clone(&counts);
                    there.schedule_bh(move || _ = counts.fetch_add(1, Ordering::Relaxed));
                };
                schedule();
                answer.send_blocking(()).unwrap();
                schedule();
                schedule();
            });
            plain(call.recv()).unwrap();
            other.join().unwrap();
            let left = 3 - ran.load(Ordering::Relaxed);
            assert!(
                left == 0 || wakes.0.load(Ordering::Relaxed) > before,
                "round {round}: {left} are left, and nobody woken"
            );
        }
        end.try_send(()).unwrap();
        assert!(suspended.poll_unpin(&mut cx).is_ready());
    });
}

/// Who polls a coroutine, with the handle of another runtime entered right around the poll; whether the coroutine finds that
/// one current, or ours.
type Polls = (&'static str, bool, fn(&tokio::runtime::Handle, Coroutine<tokio::runtime::Id>) -> tokio::runtime::Id);

/// A future that polls the coroutine with the waker that it is polled with, with `other` entered.
async fn polled_in(other: tokio::runtime::Handle, mut coroutine: Coroutine<tokio::runtime::Id>) -> tokio::runtime::Id {
    poll_fn(|cx| {
        let _entered = other.enter();
        coroutine.poll_unpin(cx)
    })
    .await
}

const POLLS: &[Polls] = &[
    ("`block_on`", true, |other, coroutine| block_on(polled_in(other.clone(), coroutine))),
    ("a plain wrapper", true, |other, coroutine| plain(polled_in(other.clone(), coroutine))),
    ("`AioContext::block_on` without a home", true, |other, coroutine| {
        AioContext::new().unwrap().block_on(polled_in(other.clone(), coroutine))
    }),
    ("a call of another coroutine", true, |other, inner| {
        let other = other.clone();
        block_on(coroutine(move || block_on(polled_in(other, inner))))
    }),
    ("a call, with another waker than its own", false, |other, mut coroutine| {
        block_on(async {
            loop {
                let _entered = other.enter();
                if let Poll::Ready(seen) = poll_once(&mut coroutine) {
                    return seen;
                }
            }
        })
    }),
    ("futures' local executor", false, |other, coroutine| {
        futures::executor::block_on(polled_in(other.clone(), coroutine))
    }),
    ("the other runtime", false, |other, coroutine| other.block_on(polled_in(other.clone(), coroutine))),
];

/// Catches: a guard of the reactor's that is taken in each poll, also where a call polls the coroutine with its own waker and
/// has entered the reactor (`Own::is_polled_by_call` that is always false): it costs as much as the switch. Or the reverse,
/// one that is never taken.
#[test]
fn c02_one_that_a_call_polls_takes_no_guard_of_the_reactor() {
    for &(who, finds_other, polls) in POLLS {
        for waits in [false, true] {
            within_bounds(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let looks = coroutine(move || {
                    if waits {
                        mixed(yields());
                    }
                    tokio::runtime::Handle::current().id()
                });
                let seen = polls(runtime.handle(), looks);
                assert_eq!(seen == runtime.handle().id(), finds_other, "{who}, waits: {waits}");
            });
        }
    }
}

/// Where a call nests on a coroutine's stack: what it is made in, which is given the call.
type Inside = (&'static str, fn(&dyn Fn()));

const NESTS: &[Inside] = &[
    ("the future of a wrapper", |call| mixed(async { call() })),
    ("the future of a wrapper, after it waited", |call| {
        mixed(async {
            AioContext::current().sleep(ms(1)).await;
            call();
        });
    }),
    ("`block_on`", |call| block_on(async { call() })),
    ("a tokio runtime's `block_on`", |call| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { call() });
    }),
    ("a multi-thread runtime's `block_on`", |call| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async { call() });
    }),
    ("a `LocalSet`", |call| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async { call() });
    }),
    ("where another runtime's handle is entered", |call| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        call();
    }),
    ("the condition of `poll_while`, in a call", |call| {
        block_on(async {
            AioContext::current().poll_while(|| {
                call();
                false
            });
        });
    }),
    ("a destructor, while it unwinds", |call| {
        struct Calls<'a>(&'a dyn Fn());
        impl Drop for Calls<'_> {
            fn drop(&mut self) {
                (self.0)();
            }
        }
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _calls = Calls(call);
            std::panic::resume_unwind(Box::new(()));
        }));
        assert!(unwound.is_err());
    }),
    ("a bottom half that a poll of its runs", |call| {
        let ctx = AioContext::new().unwrap();
        // SAFETY: it has run when `poll` returns.
        let call: &'static dyn Fn() = unsafe { std::mem::transmute::<&dyn Fn(), &'static dyn Fn()>(call) };
        struct Sends(&'static dyn Fn());
        // SAFETY: it is run and dropped on this thread.
        unsafe impl Send for Sends {}
        let sends = Sends(call);
        ctx.schedule_bh(move || ({ &sends }.0)());
        assert!(ctx.poll(false));
    }),
];

/// The thread does not go on meanwhile: another task of the executor does not run.
#[test]
fn c02_inside_a_future_or_another_executor_on_its_stack_a_call_blocks() {
    for inside in NESTS {
        within_bounds(move || {
            let (tx, rx) = async_channel::bounded(1);
            // How often another task of the executor has run.
            let ticks = Rc::new(Cell::new(0));
            let (ticking, ended) = (ticks.clone(), Rc::new(Cell::new(false)));
            let ends = ended.clone();
            let mut pool = LocalPool::new();
            let nests = coroutine(move || {
                (inside.1)(&|| {
                    let (mut sender, mut received) = (Some(tx.clone()), std::pin::pin!(rx.recv()));
                    let before = ticks.get();
                    mixed(poll_fn(|cx| {
                        let polled = received.as_mut().poll(cx);
                        // It waits once, whoever is faster.
                        if let Some(sender) = sender.take() {
                            assert!(polled.is_pending());
                            thread::spawn(move || sender.send_blocking(()).unwrap());
                        }
                        polled.map(Result::unwrap)
                    }));
                    assert_eq!(ticks.get(), before, "{}: suspended across it", inside.0);
                });
                let before = ticks.get();
                // Afterwards it suspends again. The other task's turn is before its own.
                plain(yields());
                assert!(ticks.get() > before, "{}: blocked the thread after it", inside.0);
                ends.set(true);
            });
            pool.spawner().spawn_local(nests).unwrap();
            let ticks = async move {
                while !ended.get() {
                    ticking.set(ticking.get() + 1);
                    yields().await;
                }
            };
            pool.spawner().spawn_local(ticks).unwrap();
            pool.run();
        });
    }
}

#[test]
fn c02_the_condition_of_poll_while_is_its_callers_code() {
    within_bounds(|| {
        let (tx, rx) = async_channel::unbounded();
        let mut waits = coroutine(move || {
            let mut left = 3;
            AioContext::current().poll_while(|| {
                plain(rx.recv()).unwrap();
                AioContext::current().notify();
                left -= 1;
                left > 0
            });
        });
        for _ in 0..3 {
            assert!(poll_once(&mut waits).is_pending());
            tx.try_send(()).unwrap();
        }
        block_on(waits);
    });
}

#[test]
fn c02_a_plain_wrapper_inside_a_future_is_refused_as_in_a_task() {
    within_bounds(|| {
        // co-check: allow — the test is about the panic
        let message = block_on(coroutine(|| panic_of(|| block_on(async { plain(async {}) }))));
        assert!(message.contains("plain: blocking call in coroutine context"), "{message}");
        // Also after the coroutine was suspended in that call.
        let message = block_on(coroutine(|| {
            block_on(async {
                AioContext::current().sleep(ms(1)).await;
                // co-check: allow — the test is about the panic
                panic_of(|| plain(async {}))
            })
        }));
        assert!(message.contains("plain: blocking call in coroutine context"), "{message}");
    });
}

#[test]
fn c03_it_stays_on_its_thread_whoever_wakes_it() {
    within_bounds(|| {
        let io = IoThread::spawn("home").unwrap();
        let (tx, rx) = async_channel::bounded(1);
        let task = spawn(io.context(), move || {
            let home = thread::current().id();
            for n in 0..100 {
                assert_eq!(block_on(rx.recv()), Ok(n));
                assert_eq!(thread::current().id(), home);
            }
            thread::current().name().map(str::to_owned)
        });
        let senders: Vec<_> = (0..4)
            .map(|part| {
                let tx = tx.clone();
                move |n| {
                    if n % 4 == part {
                        tx.send_blocking(n).unwrap();
                    }
                }
            })
            .collect();
        for n in 0..100 {
            // Each from another thread.
            for sender in &senders {
                thread::scope(|scope| _ = scope.spawn(|| sender(n)));
            }
        }
        assert_eq!(block_on(task).as_deref(), Some("home"));
    });
}

/// How a future wakes: given the waker that it is polled with.
type Wakes = (&'static str, fn(&Waker));

const WAKES: &[Wakes] = &[
    ("the waker itself", Waker::wake_by_ref),
    ("the waker itself, on another thread", |waker| thread::scope(|scope| _ = scope.spawn(|| waker.wake_by_ref()))),
    ("a clone", |waker| {
        let clone = waker.clone();
        clone.wake();
    }),
    ("a clone, by reference", |waker| waker.clone().wake_by_ref()),
    ("a clone, on another thread", |waker| {
        let clone = waker.clone();
        thread::spawn(move || clone.wake()).join().unwrap();
    }),
    ("a clone of a clone", |waker| Waker::clone(&waker.clone()).wake()),
];

/// How a coroutine waits for that future.
type Calls = (&'static str, fn(Signals));

const CALLS: &[Calls] = &[
    ("a plain wrapper", plain),
    ("a mixed wrapper", mixed),
    ("`block_on`", block_on),
    ("`AioContext::block_on`", |signals| AioContext::current().block_on(signals)),
    ("a wrapper with a timeout", |signals| poll_co_timeout(&TIMED, LONG, signals, |signals| signals).unwrap()),
    ("a wrapper after a wait", |signals| {
        block_on(yields());
        plain(signals);
    }),
    ("a coroutine within it", |signals| block_on(coroutine(|| plain(signals)))),
];

/// Wakes with `wake`, in its first poll or when its waker is taken from `kept`, and is ready in its second poll.
struct Signals {
    wake: fn(&Waker),
    kept: Option<Rc<RefCell<Option<Waker>>>>,
    is_polled: bool,
}

impl Future for Signals {
    type Output = ();

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.is_polled, true) {
            return Poll::Ready(());
        }
        match &self.kept {
            Some(kept) => _ = kept.replace(Some(cx.waker().clone())),
            None => (self.wake)(cx.waker()),
        }
        Poll::Pending
    }
}

/// Fails at once where the others only hang.
///
/// Catches: wakes that go nowhere, be it the lent waker's or its clones'; a waker of an earlier poll that is woken instead.
#[test]
fn c03_a_wake_reaches_whoever_polled_it_last() {
    #[derive(Default)]
    struct Counts(AtomicUsize);
    impl std::task::Wake for Counts {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    within_bounds(|| {
        for &(how, wake) in WAKES {
            for &(call, waits) in CALLS {
                for later in [false, true] {
                    let kept = later.then(Rc::default);
                    let signals = Signals { wake, kept: kept.clone(), is_polled: false };
                    let mut waits = coroutine(move || waits(signals));
                    // Each at an address of its own.
                    let mut wakers = Vec::<Box<Waker>>::new();
                    for polls in 0.. {
                        let counts = Arc::<Counts>::default();
                        wakers.push(Box::new(Waker::from(counts.clone())));
                        if waits.poll_unpin(&mut Context::from_waker(&wakers[polls])).is_ready() {
                            break;
                        }
                        if let Some(waker) = kept.as_ref().and_then(|kept| kept.take()) {
                            wake(&waker);
                        }
                        let woken = counts.0.load(Ordering::Relaxed);
                        assert!(woken > 0 && polls < 5, "{call}, {how}, later: {later}: woken {woken} times");
                    }
                }
            }
        }
    });
}

/// Catches: a waker of the executor that polled it first, kept when another one polls it.
#[test]
fn c03_the_executor_that_polled_it_last_is_woken() {
    within_bounds(|| {
        let (tx, rx) = async_channel::bounded(1);
        let mut moves = coroutine(move || (plain(rx.recv()), mixed(rx.recv())));
        assert!(poll_once(&mut moves).is_pending());
        assert!(block_on(poll_fn(|cx| Poll::Ready(moves.poll_unpin(cx)))).is_pending());
        let sender = thread::spawn(move || {
            for n in 0..2 {
                thread::sleep(ms(2));
                tx.send_blocking(n).unwrap();
            }
        });
        assert_eq!(futures::executor::block_on(moves), (Ok(0), Ok(1)));
        sender.join().unwrap();
    });
}

#[test]
fn c05_a_panic_goes_to_whoever_awaits_or_joins() {
    within_bounds(|| {
        let waits_then_panics = |rx: Receiver<()>| {
            move || -> u8 {
                assert!(plain(rx.recv()).is_err());
                panic!("out of the coroutine")
            }
        };
        let (_, rx) = async_channel::bounded(1);
        assert_eq!(panic_of(|| block_on(coroutine(waits_then_panics(rx.clone())))), "out of the coroutine");
        let ctx = AioContext::new().unwrap();
        assert_eq!(panic_of(|| ctx.block_on(spawn(&ctx, waits_then_panics(rx.clone())))), "out of the coroutine");
        // A call's panic is its caller's, in the coroutine.
        let caught = coroutine(|| panic_of(|| plain(async { panic!("out of the future") })));
        assert_eq!(block_on(caught), "out of the future");
        // The context and the thread stay usable.
        assert_eq!(ctx.block_on(spawn(&ctx, || plain(async { 7 }))), 7);
        let mut ended = coroutine(|| ());
        block_on(&mut ended);
        let message = panic_of(|| poll_once(&mut ended));
        assert!(message.contains("Coroutine: made at") && message.contains("awaited again"), "{message}");
    });
}

#[test]
#[ignore = "a child's part"]
fn child_has_its_own_marks() {
    within_bounds(|| {
        let (outer, own) = (AioContext::current(), AioContext::new().unwrap());
        let entered = own.clone();
        let (tx, rx) = async_channel::bounded::<()>(1);
        let mut first = coroutine(move || {
            let _home = entered.enter();
            let _long = hang::expect_long();
            assert_eq!(AioContext::current(), entered);
            assert!(plain(rx.recv()).is_ok());
            assert_eq!(AioContext::current(), entered);
            assert!(plain(rx.recv()).is_err());
            assert_eq!(AioContext::current(), entered);
        });
        let looks = || {
            assert!(!in_coroutine());
            assert_eq!(AioContext::current(), outer);
            let report = hang::report();
            let [call] = report.calls() else { panic!("{report}") };
            assert!(call.is_expected_long());
            plain(async {});
        };
        assert!(poll_once(&mut first).is_pending());
        looks();
        // A second one runs and ends meanwhile, and the first is resumed inside more calls than it was suspended in.
        let outer = outer.clone();
        block_on(coroutine(move || {
            assert_eq!(AioContext::current(), outer);
            block_on(AioContext::current().sleep(ms(1)));
        }));
        let other = AioContext::new().unwrap();
        let _home = other.enter();
        mixed(async {
            mixed(async {
                tx.send(()).await.unwrap();
                assert!(poll_once(&mut first).is_pending());
                assert_eq!(AioContext::current(), other);
            });
        });
        drop(tx);
        assert!(poll_once(&mut first).is_ready());
        assert_eq!(AioContext::current(), other);
        assert!(!hang::report().calls().iter().any(|call| call.is_expected_long()));
    });
}

#[test]
fn c06_no_other_code_sees_its_marks_while_it_is_suspended() {
    common::in_child("child_has_its_own_marks", &[]);
}

/// Catches: what a coroutine keeps while it is suspended, and is left behind where it ends with a guard that it returns or
/// forgets, in the room of the next coroutine.
#[test]
fn c06_an_entered_context_that_one_returns_is_not_the_next_ones() {
    within_bounds(|| {
        let (own, other) = (AioContext::new().unwrap(), AioContext::new().unwrap());
        let _home = own.enter();
        let is_current = |ctx: &AioContext| {
            let ctx = ctx.clone();
            block_on(coroutine(move || AioContext::current() == ctx))
        };
        for forgets in [false, true] {
            let entered = other.clone();
            let guard = block_on(coroutine(move || {
                let guard = Box::leak(Box::new(entered.clone())).enter();
                if forgets {
                    std::mem::forget(guard);
                    return None;
                }
                Some(guard)
            }));
            assert!(is_current(&own) && !is_current(&other), "forgets: {forgets}");
            drop(guard);
            assert!(is_current(&own) && AioContext::current() == own, "forgets: {forgets}");
        }
    });
}

/// Catches: a slot, a depth or a level that is not the coroutine's own when it goes on, by calls that nest on both sides of
/// each switch.
#[test]
fn c06_calls_nest_on_both_sides_of_a_switch() {
    fn nested(depth: u64, rx: &Receiver<u64>) -> u64 {
        match depth {
            0 => mixed(async { rx.recv().await.unwrap() }),
            // co-check: allow — the test is about the panic
            _ => mixed(async { nested(depth - 1, rx) }) + plain(rx.recv()).unwrap_or(0),
        }
    }
    within_bounds(|| {
        let mut seed = fastrand::Rng::with_seed(7);
        let (tx, rx) = async_channel::unbounded();
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let all: Vec<_> = (0..30)
            .map(|n| {
                let rx = rx.clone();
                let mut own = fastrand::Rng::with_seed(n);
                ctx.spawn_local(coroutine(move || {
                    (0..10).for_each(|_| {
                        plain(rx.recv()).unwrap();
                        mixed(async { block_on(async { mixed(AioContext::current().sleep(ms(own.u64(0..2)))) }) });
                    });
                }))
            })
            .collect();
        let feeds = ctx.spawn_local(async move {
            for _ in 0..300 {
                tx.send(seed.u64(..)).await.unwrap();
                if seed.bool() {
                    AioContext::current().sleep(ms(0)).await;
                }
            }
        });
        ctx.block_on(feeds);
        all.into_iter().for_each(|task| ctx.block_on(task));
        let (tx, rx) = async_channel::unbounded();
        (0..20).for_each(|n| tx.try_send(n).unwrap());
        drop(tx);
        let message = panic_of(|| block_on(coroutine(move || nested(3, &rx))));
        assert!(message.contains("plain"), "inside the future of a mixed one: {message}");
    });
}

#[test]
#[ignore = "a child's part"]
fn child_reports() {
    let (tx, rx) = async_channel::bounded::<()>(1);
    let mut waits: Vec<_> = (0..3)
        .map(|n| {
            let rx = rx.clone();
            coroutine(move || match n {
                0 => drop(plain(rx.recv())),
                1 => drop(poll_co_timeout(&TIMED, LONG, rx, |rx| async move { rx.recv().await })),
                _ => drop(block_on(rx.recv())),
            })
        })
        .collect();
    waits.iter_mut().for_each(|coroutine| assert!(poll_once(coroutine).is_pending()));
    let places = |report: &hang::Report| -> Vec<(&str, u32)> {
        report.calls().iter().map(|call| (call.name(), call.site().line())).collect()
    };
    let first = hang::report();
    thread::sleep(ms(20));
    let report = hang::report();
    let mut shown = places(&report);
    shown.sort_unstable();
    assert_eq!(shown.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["block_on", "plain", "timed"], "{report}");
    assert_eq!(first.calls().len(), 3);
    for call in report.calls() {
        assert_eq!((call.state(), call.depth()), (State::Suspended, 1), "{report}");
        assert!(call.site().file().ends_with("coroutines.rs") && call.waited() >= ms(15), "{report}");
        assert!(call.suspects().is_empty(), "{report}");
    }
    assert!(report.to_string().contains("its coroutine is suspended"), "{report}");
    // One that runs is a call of its thread's stack, and so is one that nests on a coroutine's stack.
    let nested = coroutine(|| {
        mixed(async {
            let (tx, rx) = async_channel::bounded::<()>(1);
            let looks = thread::spawn(move || {
                let report = loop {
                    let report = hang::report();
                    if report.calls().iter().any(|call| call.depth() == 3 && call.state() == State::Parked) {
                        break report;
                    }
                    thread::yield_now();
                };
                drop(tx);
                report
            });
            assert!(mixed(rx.recv()).is_err());
            looks.join().unwrap()
        })
    });
    let report = block_on(nested);
    let stack: Vec<_> = report.calls().iter().filter(|call| call.state() != State::Suspended).collect();
    let stack: Vec<_> = stack.iter().map(|call| (call.name(), call.depth())).collect();
    assert_eq!(stack, [("block_on", 1), ("mixed", 2), ("mixed", 3)], "{report}");
    drop(tx);
    waits.iter_mut().for_each(|coroutine| assert!(poll_once(coroutine).is_ready()));
    assert!(hang::report().calls().is_empty());
    // A blocked first poll is found in a coroutine too.
    let (tx, rx) = std::sync::mpsc::channel::<()>();
    let looks = thread::spawn(move || {
        let report = loop {
            let report = hang::report();
            if report.to_string().contains("has not returned") {
                break report;
            }
            thread::sleep(ms(1));
        };
        drop(tx);
        report.to_string()
    });
    block_on(coroutine(move || plain(async move { assert!(rx.recv().is_err()) })));
    let report = looks.join().unwrap();
    assert!(report.contains("plain, called at"), "{report}");
}

#[test]
fn c08_the_hang_report_shows_suspended_calls() {
    common::in_child("child_reports", &[]);
}

#[test]
#[ignore = "a child's part"]
fn child_is_watched() {
    let (_tx, rx) = async_channel::bounded::<()>(1);
    let ctx = AioContext::new().unwrap();
    let waits = spawn(&ctx, move || plain(rx.recv()));
    let _home = ctx.enter();
    let lasts = ms(std::env::var("LASTS_MS").unwrap().parse().unwrap());
    poll_co_timeout(&TIMED, lasts, (), |()| std::future::pending::<()>()).unwrap_err();
    drop(waits);
}

#[test]
fn c08_the_watchdog_prints_suspended_calls() {
    // The shortest in which the watchdog has its turn, on a machine that does much else.
    let mut stderr = String::new();
    for lasts in ["1000", "10000", "60000"] {
        stderr = common::in_child("child_is_watched", &[("CO_WRAPPER_HANG_SECS", "0.1"), ("LASTS_MS", lasts)]);
        if let Some(line) = stderr.lines().find(|line| line.contains("plain, called at")) {
            assert!(line.contains("coroutines.rs") && line.contains("suspended"), "{stderr}");
            return;
        }
    }
    panic!("{stderr}");
}

#[test]
fn c10_leaving_home_and_closing_drop_them_as_local_tasks() {
    struct Drops(Arc<AtomicUsize>, thread::ThreadId);
    impl Drop for Drops {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.1, "on its home thread");
            // It blocks, and then the count is made.
            plain(async { tokio::task::yield_now().await });
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    for closes in [false, true] {
        for begun in [false, true] {
            within_bounds(move || {
                let dropped = Arc::new(AtomicUsize::new(0));
                let ctx = AioContext::new().unwrap();
                let home = ctx.enter();
                let drops = Drops(dropped.clone(), thread::current().id());
                let task = spawn(&ctx, move || {
                    let _drops = drops;
                    plain(std::future::pending::<()>());
                });
                if begun {
                    while ctx.poll(false) {}
                }
                if closes {
                    ctx.close();
                } else {
                    drop(home);
                    if !begun {
                        // Not begun, it is still anyone's, and waits for the next home.
                        assert_eq!((dropped.load(Ordering::Relaxed), task.is_finished()), (0, false));
                        let _home = ctx.enter();
                        while ctx.poll(false) {}
                    }
                }
                assert_eq!(dropped.load(Ordering::Relaxed), 1, "closes: {closes}, begun: {begun}");
                assert!(task.is_finished());
                assert!(panic_of(|| block_on(task)).contains("dropped before it finished"));
            });
        }
    }
}

/// A context that is closed ends the calls that were made there, also those that suspend a coroutine.
#[test]
fn c10_a_call_in_a_context_that_is_closed_panics_in_its_coroutine() {
    // The report is of all threads, on which other tests make calls of other names.
    static CLOSED: Wrapper = Wrapper { name: "closed", target: "co_closed", mixed: true };
    within_bounds(|| {
        for home_is_here in [true, false] {
            let io = IoThread::spawn("io").unwrap();
            let ctx = if home_is_here { AioContext::new().unwrap() } else { io.context().clone() };
            let _home = home_is_here.then(|| ctx.enter());
            let (called, closes) = (ctx.clone(), ctx.clone());
            let calls =
                coroutine(move || panic_of(|| poll_co_in(&CLOSED, &called, (), |()| std::future::pending::<()>())));
            // Not in that context, or it would be dropped with it.
            let closer = thread::spawn(move || {
                while hang::report().calls().iter().all(|call| call.name() != "closed") {
                    thread::yield_now();
                }
                closes.close();
            });
            let message = block_on(calls);
            assert!(message.contains("was closed"), "{message}");
            closer.join().unwrap();
        }
    });
}

#[test]
fn c11_ready_calls_inside_do_what_they_do_outside() {
    within_bounds(|| {
        let polls = Rc::new(Cell::new(0));
        let counted = polls.clone();
        let mut ready = coroutine(move || {
            for n in 0..100 {
                let count = async {
                    counted.set(counted.get() + 1);
                    n
                };
                assert_eq!(if n % 2 == 0 { plain(count) } else { mixed(count) }, n);
            }
            assert!(poll_co_timeout(&TIMED, Duration::ZERO, (), |()| async { 1 }).is_ok());
        });
        assert!(poll_once(&mut ready).is_ready(), "suspended once");
        assert_eq!(polls.get(), 100);
    });
}

/// Coroutines wait for each other: made by each other, awaited by each other, many at once.
#[test]
fn c01_coroutines_wait_for_each_other() {
    fn tree(depth: u32) -> u32 {
        if depth == 0 {
            plain(AioContext::current().sleep(ms(1)));
            return 1;
        }
        let (left, right) = (coroutine(move || tree(depth - 1)), coroutine(move || tree(depth - 1)));
        let (left, right) = block_on(async { futures::join!(left, right) });
        left + right
    }
    within_bounds(|| {
        assert_eq!(block_on(coroutine(|| tree(4))), 16);
        let ctx = AioContext::new().unwrap();
        assert_eq!(ctx.block_on(spawn(&ctx, || tree(4))), 16);
        let list = Rc::new(RefCell::new(Vec::new()));
        let all: FuturesUnordered<_> = (0..100)
            .map(|n| {
                let list = list.clone();
                coroutine(move || {
                    plain(AioContext::current().sleep(ms(n % 3)));
                    list.borrow_mut().push(n);
                })
            })
            .collect();
        block_on(futures::StreamExt::collect::<Vec<()>>(all));
        assert_eq!(list.borrow().len(), 100);
    });
}
