//! Calls under tokio's schedulers, ours and foreign ones: cases that the table `called_from` does not cover.
#![cfg(all(not(loom), feature = "tokio"))]
#![allow(clippy::async_yields_async, reason = "a task is spawned in one call and joined in another")]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::Poll,
    thread,
    time::Duration,
};

use co_wrapper_runtime::{AioContext, in_coroutine};
use common::*;

/// Catches: a frame that stays on the stack when tokio panics over the order of its guards.
#[test]
fn frame_leak_by_a_foreign_guard() {
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let h = rt.handle().clone();
    within_bounds(move || {
        let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            std::mem::forget(plain(async { h.enter() }));
        }));
        assert!(r.is_err(), "tokio's own panic");
        assert!(!in_coroutine());
        let ctx = AioContext::new().unwrap();
        ctx.block_on(ctx.spawn(async {}));
        assert_eq!(ctx.stats().deepest_nesting, 1, "the frame is off the stack");
    });
}
/// Catches: the reactor's default limit of 512 threads, at which blocked tasks would stop it for good.
#[test]
fn six_hundred_blocking_calls_on_our_reactor() {
    within_bounds(|| {
        const CALLS: usize = 600;
        let (arrived, arrives) = async_channel::unbounded();
        let (release, released) = async_channel::bounded::<()>(1);
        let call = |_| {
            let (arrived, released) = (arrived.clone(), released.clone());
            tokio::spawn(async move {
                plain(async {
                    arrived.send(()).await.unwrap();
                    assert!(released.recv().await.is_err());
                });
            })
        };
        let calls: Vec<_> = plain(async { (0..CALLS).map(call).collect() });
        for _ in 0..CALLS {
            plain(arrives.recv()).unwrap();
        }
        // By a task of the same reactor.
        plain(async { tokio::spawn(async move { drop(release) }).await }).unwrap();
        for call in calls {
            plain(call).unwrap();
        }
    });
}
/// A way to block until told to end, by std's means.
type Blocks = fn(mpsc::Receiver<()>);

const WAYS_TO_BLOCK: [(&str, Blocks); 3] = [
    ("a channel", |ends| ends.recv().unwrap()),
    ("sleep", |ends| {
        while ends.try_recv().is_err() {
            thread::sleep(ms(1));
        }
    }),
    ("a lock", |ends| {
        let locked = Arc::new(std::sync::Mutex::new(()));
        let (holds, (holding, held)) = (Arc::clone(&locked), mpsc::channel());
        let holder = thread::spawn(move || {
            let _guard = holds.lock().unwrap();
            holding.send(()).unwrap();
            ends.recv().unwrap();
        });
        held.recv().unwrap();
        drop(locked.lock().unwrap());
        holder.join().unwrap();
    }),
];

/// A timer, a socket and a task of our reactor, from a thread that has to do with nobody.
async fn uses_our_reactor() {
    tokio::time::sleep(ms(2)).await;
    let (a, b) = tokio::net::UnixStream::pair().unwrap();
    a.writable().await.unwrap();
    drop(a);
    b.readable().await.unwrap();
    tokio::spawn(async { tokio::time::sleep(ms(2)).await }).await.unwrap();
}

/// Catches: a reactor that one task, or three, stop by blocking, and with it the timers and sockets of all threads.
#[test]
fn tasks_that_block_our_reactor_do_not_stop_it() {
    for (name, blocks) in WAYS_TO_BLOCK {
        for count in 1..=3 {
            within_bounds(move || {
                println!("{count} × {name}");
                let (begun, begins) = mpsc::channel();
                let blocked: Vec<_> = (0..count)
                    .map(|_| {
                        let (end, ends) = mpsc::channel();
                        let begun = begun.clone();
                        let task = async move {
                            begun.send(()).unwrap();
                            blocks(ends);
                        };
                        let task = plain(async { tokio::spawn(task) });
                        begins.recv().unwrap();
                        (end, task)
                    })
                    .collect();
                plain(uses_our_reactor());
                for (end, task) in blocked {
                    // By a task of the same reactor.
                    plain(async { tokio::spawn(async move { end.send(()) }).await }).unwrap().unwrap();
                    plain(task).unwrap();
                }
            });
        }
    }
}

/// Catches: polls unasked that start the patience over.
#[test]
fn under_a_foreign_scheduler_with_a_pending_task() {
    within_bounds(|| {
        let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        rt.block_on(async {
            tokio::spawn(async {
                let ctx = AioContext::new().unwrap();
                let _g = ctx.enter();
                drop(ctx.spawn(std::future::pending::<()>()));
                ctx.poll(false);
                let c = ctx.clone();
                let t = ctx.spawn(async move { mixed(c.spawn(async { 1 })) });
                assert_eq!(ctx.block_on(t), 1);
            })
            .await
            .unwrap()
        });
    });
}
/// Catches: handing a worker on where a `LocalSet` forbids it.
#[test]
fn a_local_set_in_block_in_place_on_our_worker() {
    within_bounds(|| {
        let h = plain(async {
            tokio::spawn(async {
                tokio::task::block_in_place(|| {
                    tokio::runtime::Handle::current().block_on(tokio::task::LocalSet::new().run_until(async {
                        tokio::task::spawn_local(async {
                            plain(tokio::time::sleep(ms(2)));
                            plain(tokio::task::yield_now());
                        })
                        .await
                        .unwrap()
                    }))
                });
            })
        });
        plain(h).unwrap();
    });
}

/// Catches: a reactor that turns only while our loop has nothing to do.
#[test]
fn t08_tokio_spawned_work_goes_on_while_our_tasks_keep_the_context_busy() {
    within_bounds(|| {
        let ctx = AioContext::current();
        let done = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&done);
        let busy = ctx.spawn(async move {
            while !flag.load(Ordering::Acquire) {
                let mut yielded = false;
                std::future::poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
        });
        ctx.block_on(async move {
            tokio::spawn(async move {
                for _ in 0..20 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                done.store(true, Ordering::Release);
            });
            busy.await;
        });
    });
}

/// Some hundred tokio operations at once, each with a waker of its own.
///
/// Catches: a first poll that uses up the task's budget, after which tokio keeps wakes for the scheduler that we block.
#[test]
fn more_operations_than_a_tasks_budget_in_a_call_that_polls_them_apart() {
    use futures::{StreamExt, stream};

    async fn operations() -> usize {
        // Each takes one unit of the budget, ready or not.
        let each = stream::iter(0..400).map(|_| tokio::task::coop::cooperative(std::future::ready(())));
        each.buffer_unordered(64).count().await
    }

    within_bounds(|| {
        let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(one.block_on(async { mixed(operations()) }), 400);
        let many = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        assert_eq!(many.block_on(many.spawn(async { mixed(operations()) })).unwrap(), 400);
        // On our own reactor.
        assert_eq!(plain(async { tokio::spawn(async { mixed(operations()) }).await }).unwrap(), 400);
    });
}
