//! Blocking calls in tasks of foreign multi-thread runtimes. The call may wait for work that only the blocked worker
//! would run, so the worker is handed on.
#![cfg(all(not(loom), feature = "tokio"))]

mod common;

use std::{
    cell::Cell,
    future::poll_fn,
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
    time::Duration,
};

use co_wrapper_runtime::{
    __private::{Wrapper, poll_co_in, poll_co_in_timeout, poll_co_timeout},
    AioContext, IoThread, hang,
};
use common::*;
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::{JoinHandle, JoinSet, LocalSet, block_in_place},
};

const WRAPPER: &Wrapper = &Wrapper { name: "remote", target: "co_remote", mixed: true };
const LONG: Duration = Duration::from_secs(1_000);

thread_local! {
    /// Set on each thread that the host starts.
    static HOSTS_THREAD: Cell<bool> = const { Cell::new(false) };
}

fn host(workers: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .on_thread_start(|| HOSTS_THREAD.set(true))
        .enable_all()
        .build()
        .unwrap()
}

/// A task of the host, in which this is called, that was woken last: so it lies where only this worker looks.
fn hosts_task() -> JoinHandle<u32> {
    let task = hosts_task_anywhere();
    tokio::spawn(async {
        assert!(HOSTS_THREAD.get(), "the host's tasks stay on the host's threads");
        task.await.unwrap()
    })
}

/// The same where tokio itself moves the host's worker to the threads of the runtime that was entered last.
fn hosts_task_anywhere() -> JoinHandle<u32> {
    tokio::spawn(async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        tokio::task::yield_now().await;
        7
    })
}

/// A way of waiting for a task of the host. Called in another one.
type Waits = fn() -> u32;

const WAYS: &[(&str, Waits)] = &[
    ("plain", || plain(hosts_task()).unwrap()),
    ("mixed", || mixed(hosts_task()).unwrap()),
    ("for a task that the call spawns", || {
        let host = Handle::current();
        plain(async move { host.spawn(async { 7 }).await }).unwrap()
    }),
    ("for a task that never sleeps", || plain(tokio::spawn(async { 7 })).unwrap()),
    ("for the answer of a task", || {
        let (ask, asked) = async_channel::unbounded::<async_channel::Sender<u32>>();
        tokio::spawn(async move {
            while let Ok(asker) = asked.recv().await {
                asker.send(7).await.unwrap();
            }
        });
        let (tx, rx) = async_channel::bounded(1);
        plain(async move {
            ask.send(tx).await.unwrap();
            rx.recv().await.unwrap()
        })
    }),
    ("twice", || {
        assert_eq!(plain(hosts_task()).unwrap(), 7);
        plain(hosts_task()).unwrap()
    }),
    ("in a wrapper's future", || {
        let task = hosts_task();
        plain(async { mixed(task) }).unwrap()
    }),
    ("in a wrapper's future that waited", || {
        let task = hosts_task();
        plain(async {
            assert_eq!(hosts_tasks_of(&Handle::current()).await, 7);
            mixed(task)
        })
        .unwrap()
    }),
    ("for the host's timer", || {
        let timer = tokio::time::sleep(Duration::from_millis(1));
        plain(timer);
        7
    }),
    ("with a timeout", || poll_co_timeout(WRAPPER, LONG, hosts_task(), |task| task).unwrap().unwrap()),
    ("AioContext::block_on", || AioContext::new().unwrap().block_on(hosts_task()).unwrap()),
    ("our task, which waits for it", || {
        let ctx = AioContext::new().unwrap();
        ctx.block_on(ctx.spawn(hosts_task())).unwrap()
    }),
    ("our task, which blocks for it", || {
        let (ctx, task) = (AioContext::new().unwrap(), hosts_task());
        ctx.block_on(ctx.spawn(async { mixed(task) })).unwrap()
    }),
    ("AioContext::poll", || {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let scheduler = ctx.clone();
        tokio::spawn(async move { scheduler.schedule_bh(|| ()) });
        assert!(ctx.poll(true));
        7
    }),
    ("AioContext::poll_while", || {
        let (ctx, done) = (AioContext::new().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (notifier, task, finishes) = (ctx.clone(), hosts_task(), Arc::clone(&done));
        tokio::spawn(async move {
            finishes.store(7, Ordering::Release);
            notifier.notify();
        });
        ctx.poll_while(|| done.load(Ordering::Acquire) == 0);
        plain(task).unwrap()
    }),
    ("a call into an IoThread", || {
        let io = IoThread::spawn("hosts").unwrap();
        poll_co_in(WRAPPER, io.context(), hosts_task(), |task| task).unwrap()
    }),
    ("a call into an IoThread, with a timeout", || {
        let io = IoThread::spawn("hosts").unwrap();
        poll_co_in_timeout(WRAPPER, io.context(), LONG, hosts_task(), |task| task).unwrap().unwrap()
    }),
    ("a JoinHandle of ours", || {
        let io = IoThread::spawn("hosts").unwrap();
        plain(io.context().spawn(hosts_task())).unwrap()
    }),
    ("IoThread::join", || {
        let (io, task) = (IoThread::spawn("hosts").unwrap(), hosts_task());
        let (tx, rx) = std::sync::mpsc::channel();
        io.context().schedule_bh(move || tx.send(plain(task).unwrap()).unwrap());
        io.join();
        rx.recv().unwrap_or(7)
    }),
    ("IoThread's drop", || {
        let (io, task) = (IoThread::spawn("hosts").unwrap(), hosts_task());
        let (started, starts) = std::sync::mpsc::channel();
        let (tx, rx) = std::sync::mpsc::channel();
        io.context().schedule_bh(move || {
            started.send(()).unwrap();
            tx.send(plain(task).unwrap()).unwrap();
        });
        starts.recv().unwrap();
        drop(io);
        rx.recv().unwrap()
    }),
    ("an IoThread whose thread-locals' destructors wait for it", || {
        struct Waits(Cell<Option<JoinHandle<u32>>>);
        impl Drop for Waits {
            fn drop(&mut self) {
                // By std's means: tokio's thread-locals may be gone.
                while !self.0.get_mut().as_ref().unwrap().is_finished() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
        thread_local! { static LAST: Cell<Option<Waits>> = const { Cell::new(None) } }
        let io = IoThread::spawn("hosts").unwrap();
        let task = hosts_task();
        poll_co_in(WRAPPER, io.context(), task, |task| async { LAST.set(Some(Waits(Cell::new(Some(task))))) });
        io.join();
        7
    }),
    ("in a foreign block_in_place", || block_in_place(|| plain(hosts_task()).unwrap())),
    ("around a foreign block_in_place", || {
        let task = hosts_task_anywhere();
        plain(async { block_in_place(|| mixed(task)) }).unwrap()
    }),
    ("in a foreign block_on", || block_in_place(|| Handle::current().block_on(async { plain(hosts_task()).unwrap() }))),
    ("in a foreign LocalSet", || {
        let local = || async { tokio::task::spawn_local(async { plain(hosts_task()).unwrap() }).await.unwrap() };
        block_in_place(|| Handle::current().block_on(LocalSet::new().run_until(local())))
    }),
    ("around a foreign block_on", || {
        let host = Handle::current();
        let blocks = async { block_in_place(|| host.block_on(async { hosts_task_anywhere().await.unwrap() })) };
        plain(blocks)
    }),
    ("around a task of the host that blocks", || {
        let host = Handle::current();
        plain(async move { host.spawn(async { plain(hosts_task()).unwrap() }).await }).unwrap()
    }),
    ("in a FuturesUnordered", || {
        let each = (0..3).map(|_| async { plain(hosts_task()).unwrap() });
        let all: FuturesUnordered<_> = each.collect();
        let all = block_in_place(|| Handle::current().block_on(all.collect::<Vec<_>>()));
        all[2]
    }),
    ("around a FuturesUnordered", || {
        let all: FuturesUnordered<_> = (0..3).map(|_| hosts_task()).collect();
        plain(all.map(Result::unwrap).collect::<Vec<_>>())[2]
    }),
    ("around a select", || {
        let (never, task) = (std::future::pending::<()>(), hosts_task());
        match plain(futures::future::select(std::pin::pin!(never), task)) {
            futures::future::Either::Right((seven, _)) => seven.unwrap(),
            futures::future::Either::Left(_) => unreachable!("pending for ever"),
        }
    }),
    ("around a JoinSet", || {
        let mut set = JoinSet::new();
        (0..3).for_each(|_| _ = set.spawn(async { plain(hosts_task()).unwrap() }));
        plain(set.join_all())[2]
    }),
    ("for a thread that blocks for it", || {
        let (tx, rx) = async_channel::bounded(1);
        let task = hosts_task();
        std::thread::spawn(move || tx.send_blocking(plain(task).unwrap()));
        plain(rx.recv()).unwrap()
    }),
    ("for spawn_blocking", || {
        let task = hosts_task();
        plain(tokio::task::spawn_blocking(move || plain(task).unwrap())).unwrap()
    }),
    ("under another runtime's handle", || {
        let (other, task) = (Builder::new_multi_thread().worker_threads(1).build().unwrap(), hosts_task_anywhere());
        let seven = {
            let _entered = other.enter();
            plain(task).unwrap()
        };
        // Its pool has nothing of the host's, for which this would wait.
        block_in_place(|| drop(other));
        seven
    }),
    ("under our reactor's handle", || {
        let (reactor, task) = (plain(async { Handle::current() }), hosts_task_anywhere());
        let _entered = reactor.enter();
        plain(task).unwrap()
    }),
    ("in a task of another runtime", || {
        let (other, task) = (host(1), hosts_task());
        let seven = plain(other.spawn(async { plain(task).unwrap() })).unwrap();
        block_in_place(|| drop(other));
        seven
    }),
    ("in another runtime's block_on", || {
        let (other, task) = (host(1), hosts_task());
        let seven = block_in_place(|| other.block_on(async { plain(task).unwrap() }));
        block_in_place(|| drop(other));
        seven
    }),
    ("in a current-thread runtime's block_on", || {
        let (other, task) = (Builder::new_current_thread().build().unwrap(), hosts_task());
        block_in_place(move || other.block_on(async { plain(task).unwrap() }))
    }),
    #[cfg(feature = "graph")]
    ("a drained section", || {
        use co_wrapper_runtime::graph::Drain;
        let node = Arc::new(Drain::default());
        let (begun, begins) = std::sync::mpsc::channel();
        let requested = Arc::clone(&node);
        let task = tokio::spawn(async move {
            let _request = requested.begin().await;
            begun.send(()).unwrap();
            hosts_task().await.unwrap()
        });
        block_in_place(|| begins.recv().unwrap());
        drop(node.drained());
        plain(task).unwrap()
    }),
];

async fn hosts_tasks_of(host: &Handle) -> u32 {
    host.spawn(async { 7 }).await.unwrap()
}

/// Runs `case` with each name, side by side, and says which fail or hang.
fn each<T: Copy + Send + 'static>(names: Vec<(String, T)>, case: fn(T)) {
    let run = |of| thread::spawn(move || within_bounds(move || case(of)));
    let running: Vec<_> = names.into_iter().map(|(name, of)| (name, run(of))).collect();
    let failed: Vec<_> = running.into_iter().filter_map(|(name, case)| case.join().is_err().then_some(name)).collect();
    assert!(failed.is_empty(), "these fail: {failed:#?}");
}

/// Catches: a worker that is not handed on, or on another runtime's threads; a trace that is left in the thread.
#[test]
fn whatever_blocks_in_a_hosts_task_lets_the_host_go_on() {
    let cases = [1, 2].into_iter().flat_map(|workers| {
        WAYS.iter().map(move |(name, way)| (format!("{name}, {workers} worker(s)"), (workers, *way)))
    });
    each(cases.collect(), |(workers, way)| {
        let runtime = host(workers);
        let task = runtime.spawn(async move {
            let before = (Handle::current().id(), tokio::task::id());
            assert_eq!(way(), 7);
            assert_eq!((Handle::current().id(), tokio::task::id()), before, "w09");
            // And it can still be awaited there.
            hosts_task_anywhere().await.unwrap()
        });
        assert_eq!(runtime.block_on(task).unwrap(), 7);
    });
}

/// So many calls at once, each of them waiting for what the last task of the host does.
fn all_wait(workers: usize, calls: usize) {
    let runtime = host(workers);
    runtime.block_on(async {
        let (arrived, arrives) = async_channel::unbounded();
        let (release, released) = async_channel::bounded::<()>(1);
        let call = |_| {
            let (arrived, released) = (arrived.clone(), released.clone());
            tokio::spawn(async move {
                plain(async {
                    arrived.send(()).await.unwrap();
                    assert!(released.recv().await.is_err(), "closed, for all at once");
                });
                hosts_task_anywhere().await.unwrap()
            })
        };
        let all: Vec<_> = (0..calls).map(call).collect();
        for _ in 0..calls {
            arrives.recv().await.unwrap();
        }
        tokio::spawn(async move { drop(release) }).await.unwrap();
        for call in all {
            assert_eq!(call.await.unwrap(), 7);
        }
    });
}

/// Catches: a host that stands still when all its workers wait; one that does at its limit of threads.
#[test]
fn more_calls_wait_than_the_host_has_workers() {
    within_bounds(|| all_wait(1, 2));
    within_bounds(|| all_wait(2, 16));
    // So many that other hosts' workers go on on our threads meanwhile, which other tests here forbid.
    in_child("six_hundred_wait", &[]);
}

#[test]
#[ignore = "a child's part"]
fn six_hundred_wait() {
    // 512 is the limit of a runtime for which none is set.
    within_bounds(|| all_wait(1, 600));
}

#[test]
fn sixteen_tasks_each_wait_for_a_task_that_they_spawned() {
    within_bounds(|| {
        host(4).block_on(async {
            let tasks: Vec<_> = (0..16).map(|_| tokio::spawn(async { plain(hosts_task()).unwrap() })).collect();
            for task in tasks {
                assert_eq!(task.await.unwrap(), 7);
            }
        });
    });
}

/// Catches: a budget that is used up in a call, or before it, and is missing in the task afterwards.
#[test]
fn the_budget_of_the_hosts_task_is_as_it_was() {
    within_bounds(|| {
        let ready = || tokio::task::coop::cooperative(std::future::ready(()));
        let task = async move {
            for _ in 0..100 {
                ready().await;
            }
            plain(hosts_task()).unwrap();
            plain(async {
                for _ in 0..1_000 {
                    ready().await;
                }
            });
            // tokio gives a task 128 operations.
            for _ in 0..27 {
                assert!(tokio::task::coop::has_budget_remaining());
                ready().await;
            }
            plain(hosts_task()).unwrap()
        };
        let runtime = host(1);
        assert_eq!(runtime.block_on(runtime.spawn(task)).unwrap(), 7);
    });
}

/// Waits, at most until the receiver is closed.
type WaitsUntil = fn(async_channel::Receiver<()>);

/// What a call waits for while its host is shut down, and what it gets then.
const WHILE_IT_ENDS: &[(&str, WaitsUntil)] = &[
    ("something else", |released| assert!(plain(released.recv()).is_err())),
    ("a task on our reactor", |released| {
        assert!(plain(async { tokio::spawn(async move { released.recv().await }).await }).unwrap().is_err());
    }),
    ("a task", |_| assert!(plain(tokio::spawn(std::future::pending::<()>())).unwrap_err().is_cancelled())),
    ("a timer", |released| {
        let timer = tokio::time::sleep(LONG);
        assert!(panic_of(|| plain(timer)).contains("shutdown"));
        drop(released);
    }),
    ("twice", |released| {
        let _cancelled = plain(tokio::spawn(std::future::pending::<()>()));
        let _cancelled = plain(tokio::spawn(async {}));
        assert!(plain(released.recv()).is_err());
    }),
];

type Ends = fn(Runtime);

/// Catches: an abort, or a call that waits for ever for a task that ended with its runtime.
#[test]
fn the_host_ends_while_calls_wait() {
    const ENDS: [(&str, Ends); 3] = [
        ("dropped", |runtime| drop(runtime)),
        ("shut down in the background", Runtime::shutdown_background),
        ("shut down with a timeout", |runtime| runtime.shutdown_timeout(Duration::from_millis(50))),
    ];
    let mut cases = Vec::new();
    for workers in [1, 2] {
        for (end, ends) in ENDS {
            for (waits, wait) in WHILE_IT_ENDS {
                cases.push((format!("{end}, {workers} worker(s), waiting for {waits}"), (workers, ends, *wait)));
            }
        }
    }
    each(cases, |(workers, ends, wait)| {
        static CASES: AtomicUsize = AtomicUsize::new(0);
        let name = format!("host{}", CASES.fetch_add(1, Ordering::Relaxed));
        let runtime =
            Builder::new_multi_thread().worker_threads(workers).thread_name(&name).enable_all().build().unwrap();
        let (release, released) = async_channel::bounded(1);
        let (done, all_done) = std::sync::mpsc::channel();
        for _ in 0..3 {
            let (done, released) = (done.clone(), released.clone());
            runtime.spawn(async move {
                wait(released);
                done.send(()).unwrap();
            });
        }
        let thread = format!("`{name}`");
        let waits = |call: &hang::Call| call.thread() == thread && call.state() == hang::State::Parked;
        while hang::report().calls().iter().filter(|call| waits(call)).count() < 3 {
            thread::sleep(Duration::from_millis(1));
        }
        // Beside the shutdown, which waits for the calls where it is not told otherwise. Nothing tells that it has begun.
        let released = thread::spawn(move || {
            thread::sleep(Duration::from_millis(300));
            drop(release);
        });
        ends(runtime);
        drop(done);
        (0..3).for_each(|_| all_done.recv().unwrap());
        released.join().unwrap();
    });
}

/// Calls thrice, each time waiting: for a poll without a wake, as there is none as long as the thread has something to do.
fn three_calls() {
    for _ in 0..3 {
        let mut polled = false;
        plain(poll_fn(|_| if mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }));
    }
}

/// Where `block_in_place` is illegal though a multi-thread runtime's handle is current, and whether tokio is asked in vain.
const ILLEGAL: &[(&str, bool, fn())] = &[
    ("a handle in a current-thread block_on", false, || {
        let (other, one) = (host(1), Builder::new_current_thread().build().unwrap());
        one.block_on(async {
            let _entered = other.enter();
            three_calls();
        });
    }),
    ("our handle in a current-thread block_on", false, || {
        let (ours, one) = (plain(async { Handle::current() }), Builder::new_current_thread().build().unwrap());
        one.block_on(async {
            let _entered = ours.enter();
            three_calls();
        });
    }),
    ("a handle in a current-thread task", true, || {
        let (other, one) = (host(1).handle().clone(), Builder::new_current_thread().build().unwrap());
        let task = async move {
            let _entered = other.enter();
            three_calls();
        };
        one.block_on(one.spawn(task)).unwrap();
    }),
    ("our handle in a current-thread LocalSet", true, || {
        let (ours, one) = (plain(async { Handle::current() }), Builder::new_current_thread().build().unwrap());
        let local = async move {
            let _entered = ours.enter();
            three_calls();
        };
        one.block_on(LocalSet::new().run_until(async { tokio::task::spawn_local(local).await })).unwrap();
    }),
];

#[test]
#[ignore = "run by where_the_worker_cannot_be_handed_on_the_call_goes_on"]
fn illegal() {
    let case: usize = std::env::var("CASE").unwrap().parse().unwrap();
    (ILLEGAL[case].2)();
}

/// Catches: tokio's panic that reaches the caller, or is asked for where it can be told before, or more than once a task.
#[test]
fn where_the_worker_cannot_be_handed_on_the_call_goes_on() {
    for (case, (name, in_vain, _)) in ILLEGAL.iter().enumerate() {
        let stderr = in_child("illegal", &[("CASE", &case.to_string())]);
        assert_eq!(stderr.matches("warning: a blocking call waits").count(), 1, "{name}: {stderr}");
        assert_eq!(stderr.matches("panicked").count(), usize::from(*in_vain), "{name}: {stderr}");
    }
}
