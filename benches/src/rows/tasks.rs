//! Tasks: spawned and run, and what one that waits weighs.

use std::future::pending;

use co_wrapper::AioContext;
use futures_executor::LocalPool;
use futures_task::LocalSpawn;

use super::{Limit, Row, Run, Unit, tokio_current_thread};
use crate::alloc;
use co_wrapper_bench::measure::{Measured, Role, Side};

pub fn rows() -> Vec<Row> {
    let both = |row: Row| row.within(Limit::Of(1.0, "tokio LocalSet")).within(Limit::Of(1.0, "smol LocalExecutor"));
    vec![
        both(Row::time("a local task spawned and run", local)),
        Row::time("a Send task spawned and run", send),
        both(Row::new("bytes a task", Unit::Bytes, bytes)),
    ]
}

/// So many are spawned and then run: the last one is awaited, and they run in order.
const BATCH: u64 = 64;

fn batches(n: u64, mut batch: impl FnMut(u64)) {
    let mut left = n;
    while left > 0 {
        let size = left.min(BATCH);
        batch(size);
        left -= size;
    }
}

fn local(run: Run<'_>) -> Vec<Measured> {
    let context = AioContext::new().expect("descriptors for the reactor");
    let (runtime, set) = (tokio_current_thread(), tokio::task::LocalSet::new());
    let executor = smol::LocalExecutor::new();
    run.sides(vec![
        Side::repeated(Role::Ours, "ours", |n| {
            let _guard = context.enter();
            batches(n, |size| {
                (1..size).for_each(|_| drop(context.spawn_local(async {})));
                context.block_on(context.spawn_local(async {}));
            });
        }),
        Side::repeated(Role::Peer, "tokio LocalSet", |n| {
            set.block_on(&runtime, async {
                let mut left = n;
                while left > 0 {
                    let size = left.min(BATCH);
                    (1..size).for_each(|_| drop(tokio::task::spawn_local(async {})));
                    tokio::task::spawn_local(async {}).await.expect("it ends");
                    left -= size;
                }
            });
        }),
        Side::repeated(Role::Peer, "smol LocalExecutor", |n| {
            batches(n, |size| {
                (1..size).for_each(|_| executor.spawn(async {}).detach());
                smol::block_on(executor.run(executor.spawn(async {})));
            });
        }),
        Side::repeated(Role::Peer, "futures LocalPool", |n| {
            let mut pool = LocalPool::new();
            let spawner = pool.spawner();
            batches(n, |size| {
                (0..size).for_each(|_| spawner.spawn_local_obj(Box::new(async {}).into()).expect("the pool is there"));
                pool.run();
            });
        }),
    ])
}

fn send(run: Run<'_>) -> Vec<Measured> {
    let context = AioContext::new().expect("descriptors for the reactor");
    let runtime = tokio_current_thread();
    let executor = smol::Executor::new();
    run.sides(vec![
        Side::repeated(Role::Ours, "ours", |n| {
            let _guard = context.enter();
            batches(n, |size| {
                (1..size).for_each(|_| drop(context.spawn(async {})));
                context.block_on(context.spawn(async {}));
            });
        }),
        Side::repeated(Role::Peer, "tokio current-thread", |n| {
            runtime.block_on(async {
                let mut left = n;
                while left > 0 {
                    let size = left.min(BATCH);
                    (1..size).for_each(|_| drop(tokio::spawn(async {})));
                    tokio::spawn(async {}).await.expect("it ends");
                    left -= size;
                }
            });
        }),
        Side::repeated(Role::Peer, "smol Executor", |n| {
            batches(n, |size| {
                (1..size).for_each(|_| executor.spawn(async {}).detach());
                smol::block_on(executor.run(executor.spawn(async {})));
            });
        }),
    ])
}

fn bytes(run: Run<'_>) -> Vec<Measured> {
    const TASKS: usize = 4096;
    let context = AioContext::new().expect("descriptors for the reactor");
    let (runtime, set) = (tokio_current_thread(), tokio::task::LocalSet::new());
    let executor = smol::LocalExecutor::new();
    run.sides(vec![
        Side::counted(Role::Ours, "ours", || {
            let _guard = context.enter();
            let mut handles = Vec::with_capacity(TASKS);
            let held = alloc::held_by(|| {
                handles.extend((0..TASKS).map(|_| context.spawn_local(pending::<()>())));
                context.poll(false);
            });
            handles.into_iter().for_each(|handle| _ = context.block_on(handle.cancel()));
            held as f64 / TASKS as f64
        }),
        Side::counted(Role::Peer, "tokio LocalSet", || {
            let mut handles = Vec::with_capacity(TASKS);
            let held = alloc::held_by(|| {
                handles.extend((0..TASKS).map(|_| set.spawn_local(pending::<()>())));
                // A tick runs 61 of them.
                (0..TASKS / 32).for_each(|_| set.block_on(&runtime, tokio::task::yield_now()));
            });
            handles.iter().for_each(tokio::task::JoinHandle::abort);
            handles.into_iter().for_each(|handle| _ = set.block_on(&runtime, handle));
            held as f64 / TASKS as f64
        }),
        Side::counted(Role::Peer, "smol LocalExecutor", || {
            let mut handles = Vec::with_capacity(TASKS);
            let held = alloc::held_by(|| {
                handles.extend((0..TASKS).map(|_| executor.spawn(pending::<()>())));
                while executor.try_tick() {}
            });
            drop(handles);
            while executor.try_tick() {}
            held as f64 / TASKS as f64
        }),
    ])
}
