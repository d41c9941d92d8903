//! Calls with a deadline that suspend a coroutine, as a table: the time is up, or what they wait for comes first, or the
//! coroutine is dropped meanwhile, alone or with the context whose task it is.

#![cfg(all(feature = "coroutine", feature = "tokio", feature = "graph", not(any(loom, miri))))]

mod common;

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_channel::Receiver;
use co_wrapper_runtime::{
    __private::{Wrapper, poll_co_in_timeout, poll_co_timeout},
    AioContext, Coroutine, IoThread, block_on, block_on_timeout,
    graph::{Drain, GraphLock},
};
use common::{main_loop::on_main, ms};

static TIMED: Wrapper = Wrapper { name: "timed", target: "co_timed", mixed: false };

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3_600);

async fn closed(go: Receiver<()>) {
    assert!(go.recv().await.is_err());
}

/// Runs `holds` as a task until it is pending, in the thread's current context.
fn hold(holds: impl Future<Output = ()> + 'static) {
    let begun = Rc::new(Cell::new(false));
    let begins = begun.clone();
    drop(AioContext::current().spawn_local(async move {
        let mut holds = Box::pin(holds);
        poll_fn(|cx| {
            let held = holds.as_mut().poll(cx);
            begins.set(true);
            held
        })
        .await;
    }));
    AioContext::current().poll_while(|| !begun.get());
}

/// Waits until `go` is closed, for the given time at most. Returns whether it was in time.
type Wait = (&'static str, fn(Receiver<()>, Duration) -> bool);

const WAITS: &[Wait] = &[
    ("`block_on_timeout`", |go, timeout| block_on_timeout(closed(go), timeout).is_ok()),
    ("`AioContext::block_on_timeout`", |go, timeout| {
        AioContext::current().block_on_timeout(closed(go), timeout).is_ok()
    }),
    ("a wrapper's `_timeout`", |go, timeout| poll_co_timeout(&TIMED, timeout, go, closed).is_ok()),
    ("a wrapper's `_timeout` in another context", |go, timeout| {
        let io = IoThread::spawn("io").unwrap();
        let in_time = poll_co_in_timeout(&TIMED, io.context(), timeout, go, closed).is_ok();
        io.join();
        in_time
    }),
    ("`AioContext::poll_while_timeout`", |go, timeout| {
        let open = Rc::new(Cell::new(true));
        let closes = open.clone();
        hold(async move {
            closed(go).await;
            closes.set(false);
        });
        AioContext::current().poll_while_timeout(|| open.get(), timeout).is_ok()
    }),
    ("`poll_while_timeout` of a context that another thread notifies", |go, timeout| {
        let context = AioContext::current();
        let (notified, open) = (context.clone(), go.clone());
        std::thread::spawn(move || {
            assert!(go.recv_blocking().is_err());
            notified.notify();
        });
        context.poll_while_timeout(|| !open.is_closed(), timeout).is_ok()
    }),
    ("`Drain::drained_timeout`", |go, timeout| {
        let drain = Rc::new(Drain::new());
        let requests = drain.clone();
        hold(async move {
            let _request = requests.begin().await;
            closed(go).await;
        });
        drain.drained_timeout(timeout).is_ok()
    }),
    ("`GraphLock::write_timeout`", |go, timeout| {
        let lock = Rc::new(GraphLock::new());
        let reads = lock.clone();
        hold(async move {
            let _read = reads.read().await;
            closed(go).await;
        });
        lock.write_timeout(timeout).is_ok()
    }),
    ("`IoThread::join_timeout`", |go, timeout| {
        /// Lets the thread end, also where its join was given up.
        struct Detached(Option<IoThread>);
        impl Drop for Detached {
            fn drop(&mut self) {
                // What it runs ends only when `go` is closed, which is after this.
                let io = self.0.take();
                std::thread::spawn(move || drop(io));
            }
        }
        let io = Detached(Some(IoThread::spawn("io").unwrap()));
        let thread = io.0.as_ref().unwrap();
        let (begins, begun) = std::sync::mpsc::channel();
        thread.context().schedule_bh(move || {
            begins.send(()).unwrap();
            assert!(go.recv_blocking().is_err());
        });
        // Blocks this thread for a moment, so that the first wait is the join.
        begun.recv().unwrap();
        thread.join_timeout(timeout).is_ok()
    }),
];

/// A coroutine whose closure keeps the promise of `Coroutine::new`: it has no scope in a thread-local while a call waits.
fn coroutine<R>(f: impl FnOnce() -> R + 'static) -> Coroutine<R> {
    // SAFETY: as above.
    unsafe { Coroutine::new(f) }
}

/// Polls until the coroutine has begun the call of which `begins` tells, and is suspended in it.
async fn until_suspended<R>(waits: &mut Coroutine<R>, begun: &Cell<bool>) {
    poll_fn(|cx| {
        assert!(Pin::new(&mut *waits).poll(cx).is_pending());
        if begun.get() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Every wait, each on a thread that is the main context's home, as the write lock wants it.
fn each(test: impl Fn(Wait) + Copy + Send + 'static) {
    for wait in WAITS {
        on_main(move |_| test(*wait));
    }
}

#[test]
fn c01_a_call_whose_time_is_up_ends_and_another_task_has_run_meanwhile() {
    each(|(name, wait)| {
        // The shortest in which another task runs; on a machine that does much else, none need have in a few milliseconds.
        for timeout in [0, 5, 50, 500, 5_000].map(ms) {
            let (tx, go) = async_channel::bounded::<()>(1);
            let ticks = Rc::new(Cell::new(0));
            let counts = ticks.clone();
            let waits = coroutine(move || {
                let before = counts.get();
                (wait(go, timeout), counts.get() - before)
            });
            let ticking = async {
                loop {
                    ticks.set(ticks.get() + 1);
                    AioContext::current().sleep(ms(1)).await;
                }
            };
            let (in_time, ticked) = block_on(async {
                futures::select_biased! {
                    ended = futures::FutureExt::fuse(waits) => ended,
                    () = futures::FutureExt::fuse(Box::pin(ticking)) => unreachable!(),
                }
            });
            assert!(!in_time, "{name} for {timeout:?}");
            drop(tx);
            if ticked > 0 && !timeout.is_zero() {
                return;
            }
        }
        panic!("{name}: blocked its thread");
    });
}

#[test]
fn c01_a_call_that_is_done_in_time_is_not_too_late() {
    each(|(name, wait)| {
        let (tx, go) = async_channel::bounded::<()>(1);
        let others = Rc::new(Cell::new(0));
        let waits: Vec<_> = (0..3).map(|_| (go.clone(), others.clone())).collect();
        let waits = waits.into_iter().map(|(go, others)| {
            coroutine(move || {
                others.set(others.get() + 1);
                wait(go, LONG)
            })
        });
        let ends = async {
            while others.get() < 3 {
                AioContext::current().sleep(ms(1)).await;
            }
            drop(tx);
        };
        let (in_time, ()) = block_on(async { futures::join!(futures::future::join_all(waits), ends) });
        assert_eq!(in_time, [true; 3], "{name}");
    });
}

/// A call in its coroutine counts itself when its frame is left.
struct Leaves(Arc<AtomicUsize>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn c04_one_that_is_dropped_in_a_call_with_a_deadline_is_unwound_there() {
    each(|(name, wait)| {
        let (tx, go) = async_channel::bounded::<()>(1);
        let (left, begun) = (Arc::new(AtomicUsize::new(0)), Rc::new(Cell::new(false)));
        let (leaves, begins) = (Leaves(left.clone()), begun.clone());
        let mut waits = coroutine(move || {
            let _leaves = leaves;
            begins.set(true);
            wait(go, LONG)
        });
        block_on(until_suspended(&mut waits, &begun));
        // A few rounds more, so that it is in the call itself.
        (0..20).for_each(|_| {
            AioContext::current().poll(false);
            assert!(Pin::new(&mut waits).poll(&mut Context::from_waker(Waker::noop())).is_pending(), "{name}");
        });
        assert_eq!(left.load(Ordering::Relaxed), 0, "{name}");
        drop(tx);
        drop(waits);
        assert_eq!(left.load(Ordering::Relaxed), 1, "{name}");
        // Nothing is left that would wake it.
        AioContext::current().poll(false);
        assert!(block_on(coroutine(move || block_on_timeout(std::future::pending::<()>(), ms(1)))).is_err());
    });
}

#[test]
fn c10_closing_its_context_ends_a_call_with_a_deadline() {
    each(|(name, wait)| {
        let (tx, go) = async_channel::bounded::<()>(1);
        let left = Arc::new(AtomicUsize::new(0));
        let (leaves, context) = (Leaves(left.clone()), AioContext::new().unwrap());
        let home = context.enter();
        // SAFETY: it has no scope in a thread-local while a call waits.
        let task = unsafe {
            context.spawn_coroutine(move || {
                let _leaves = leaves;
                wait(go, LONG)
            })
        };
        (0..20).for_each(|_| _ = context.poll(false));
        assert_eq!((left.load(Ordering::Relaxed), task.is_finished()), (0, false), "{name}");
        // What an IoThread runs ends.
        drop(tx);
        context.close();
        assert_eq!((left.load(Ordering::Relaxed), task.is_finished()), (1, true), "{name}");
        drop(home);
    });
}
