//! What a thread's first call costs, and what a thread and a context hold.

use std::{
    fs,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use co_wrapper::AioContext;

use super::{Limit, Row, Run, Unit, tokio_current_thread, tokio_runtime};
use crate::alloc::held_by;
use co_wrapper_bench::{
    drivers::{bdrv_co_wakes, bdrv_wakes},
    measure::{Measured, Role, Side},
};

pub fn rows() -> Vec<Row> {
    vec![
        Row::time("first call on a thread", first_calls),
        Row::new("descriptors a thread that calls", Unit::Count, descriptors_of_threads).within(Limit::Value(0.0)),
        Row::new("bytes a thread that calls", Unit::Bytes, bytes_of_threads),
        Row::new("descriptors a context", Unit::Count, descriptors_of_contexts),
        Row::new("bytes a context", Unit::Bytes, bytes_of_contexts),
        Row::time("a context made and dropped", made),
    ]
}

fn first_calls(run: Run<'_>) -> Vec<Measured> {
    let runtime = tokio_runtime(1);
    let handle = runtime.handle();
    let first = |call: &(dyn Fn() + Sync)| {
        let timed = || {
            let start = Instant::now();
            call();
            start.elapsed()
        };
        thread::scope(|scope| scope.spawn(timed).join().expect("it does not panic"))
    };
    run.sides(vec![
        Side::each(Role::Ours, "ours", move || first(&|| bdrv_wakes(1))),
        Side::each(Role::Peer, "pollster", move || first(&|| pollster::block_on(bdrv_co_wakes(1)))),
        Side::each(Role::Peer, "futures-executor", move || first(&|| futures_executor::block_on(bdrv_co_wakes(1)))),
        Side::each(Role::Peer, "smol", move || first(&|| smol::block_on(bdrv_co_wakes(1)))),
        Side::each(Role::Peer, "tokio handle", move || first(&|| handle.block_on(bdrv_co_wakes(1)))),
        Side::each(Role::Peer, "Runtime per call", move || {
            first(&|| tokio_current_thread().block_on(bdrv_co_wakes(1)))
        }),
    ])
}

const MANY: usize = 16;

/// What `count` says of so many threads, each, that live after `call`.
fn of_threads(call: impl Fn() + Sync, count: impl Fn(&mut dyn FnMut()) -> f64) -> f64 {
    let [ready, go, called, end] = [(); 4].map(|()| Barrier::new(MANY + 1));
    thread::scope(|scope| {
        for _ in 0..MANY {
            scope.spawn(|| {
                ready.wait();
                go.wait();
                call();
                called.wait();
                end.wait();
            });
        }
        ready.wait();
        let counted = count(&mut || {
            go.wait();
            called.wait();
        });
        end.wait();
        counted / MANY as f64
    })
}

fn open_descriptors() -> f64 {
    fs::read_dir("/proc/self/fd").map_or(f64::NAN, |entries| entries.count() as f64)
}

fn new_descriptors(what: &mut dyn FnMut()) -> f64 {
    let before = open_descriptors();
    what();
    open_descriptors() - before
}

fn new_bytes(what: &mut dyn FnMut()) -> f64 {
    held_by(what) as f64
}

/// A runtime a thread is what does without us.
fn with_a_runtime() {
    let runtime = tokio_current_thread();
    runtime.block_on(bdrv_co_wakes(1));
    // Held as long as the thread.
    thread_local! { static HELD: std::cell::RefCell<Option<tokio::runtime::Runtime>> = const { std::cell::RefCell::new(None) } }
    HELD.set(Some(runtime));
}

fn descriptors_of_threads(run: Run<'_>) -> Vec<Measured> {
    bdrv_wakes(1);
    smol::block_on(bdrv_co_wakes(1));
    run.sides(vec![
        Side::counted(Role::Ours, "ours", || of_threads(|| bdrv_wakes(1), new_descriptors)),
        Side::counted(Role::Peer, "smol", || of_threads(|| smol::block_on(bdrv_co_wakes(1)), new_descriptors)),
        Side::counted(Role::Peer, "Runtime a thread", || of_threads(with_a_runtime, new_descriptors)),
    ])
}

fn bytes_of_threads(run: Run<'_>) -> Vec<Measured> {
    let runtime = tokio_runtime(1);
    let handle = runtime.handle();
    run.sides(vec![
        Side::counted(Role::Ours, "ours", || of_threads(|| bdrv_wakes(1), new_bytes)),
        Side::counted(Role::Peer, "pollster", || of_threads(|| pollster::block_on(bdrv_co_wakes(1)), new_bytes)),
        Side::counted(Role::Peer, "smol", || of_threads(|| smol::block_on(bdrv_co_wakes(1)), new_bytes)),
        Side::counted(Role::Peer, "tokio handle", || of_threads(|| handle.block_on(bdrv_co_wakes(1)), new_bytes)),
        Side::counted(Role::Peer, "Runtime a thread", || of_threads(with_a_runtime, new_bytes)),
    ])
}

/// What `count` says of so many, each, as they are made.
fn of_many<T>(make: impl Fn() -> T, count: impl Fn(&mut dyn FnMut()) -> f64) -> f64 {
    let mut held = Vec::with_capacity(MANY);
    count(&mut || held.extend((0..MANY).map(|_| make()))) / MANY as f64
}

fn context() -> AioContext {
    AioContext::new().expect("descriptors for the reactor")
}

fn descriptors_of_contexts(run: Run<'_>) -> Vec<Measured> {
    run.sides(vec![
        Side::counted(Role::Ours, "ours", || of_many(context, new_descriptors)),
        Side::counted(Role::Peer, "tokio current-thread", || of_many(tokio_current_thread, new_descriptors)),
    ])
}

fn bytes_of_contexts(run: Run<'_>) -> Vec<Measured> {
    run.sides(vec![
        Side::counted(Role::Ours, "ours", || of_many(context, new_bytes)),
        Side::counted(Role::Peer, "tokio current-thread", || of_many(tokio_current_thread, new_bytes)),
        Side::counted(Role::Peer, "smol LocalExecutor", || of_many(smol::LocalExecutor::<'static>::new, new_bytes)),
    ])
}

fn made(run: Run<'_>) -> Vec<Measured> {
    fn one<T>(make: impl Fn() -> T) -> Duration {
        let start = Instant::now();
        drop(make());
        start.elapsed()
    }
    run.sides(vec![
        Side::each(Role::Ours, "ours", || one(context)),
        Side::each(Role::Peer, "tokio current-thread", || one(tokio_current_thread)),
        Side::each(Role::Peer, "smol LocalExecutor", || one(smol::LocalExecutor::<'static>::new)),
    ])
}
