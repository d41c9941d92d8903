//! Coroutines that suspend: made and run, suspended and resumed, many at once, and their memory.

use std::{
    fs,
    hint::black_box,
    pin::Pin,
    task::{Context, Waker},
    thread,
    time::Duration,
};

use co_wrapper::{AioContext, block_on};
use corosensei::{CoroutineResult, stack::DefaultStack};
use futures_util::future::join_all;

use super::{Limit, Row, Run, Unit, tokio_runtime};
use co_wrapper_bench::{
    drivers::{coroutine, made_and_run_in, suspended_in},
    measure::{Measured, Role, Side, times},
};

/// How many wait at once.
const MANY: usize = 1_000;
const WAITS: u64 = 10;
const WAIT: Duration = Duration::from_millis(2);

pub fn rows() -> Vec<Row> {
    vec![
        Row::time("a coroutine made, run and ended with one ready call, in an entered context", made_and_run)
            .within(Limit::Value(80.0)),
        Row::time("a coroutine suspended and resumed by a call, in an entered context", suspended)
            .within(Limit::Value(55.0)),
        Row::time("1,000 coroutines of one thread, each with 10 waits of 2 ms", at_once)
            .within(Limit::Of(2.0, "one coroutine")),
        Row::new("memory a suspended coroutine that touched 1 KiB of its stack", Unit::Bytes, memory),
    ]
}

fn made_and_run(run: Run<'_>) -> Vec<Measured> {
    let runtime = tokio_runtime(1);
    let mut stack = Some(DefaultStack::new(256 << 10).expect("a stack"));
    run.sides(vec![
        Side::repeated(Role::Ours, "ours", |n| {
            let context = AioContext::new().expect("descriptors for the reactor");
            let _guard = context.enter();
            block_on(made_and_run_in(n));
        }),
        Side::repeated(Role::Shown, "corosensei bare, without the call", move |n| {
            times(n, || {
                let bare = stack.take().expect("given back below");
                let mut bare = corosensei::Coroutine::<(), (), u64, _>::with_stack(bare, |_, ()| black_box(7));
                let ended = matches!(bare.resume(()), CoroutineResult::Return(7));
                stack = Some(bare.into_stack());
                ended
            });
        }),
        Side::repeated(Role::Peer, "tokio spawn_blocking", move |n| {
            runtime.block_on(async {
                for _ in 0..n {
                    let task = tokio::task::spawn_blocking(|| black_box(7));
                    black_box(task.await.expect("it does not panic"));
                }
            });
        }),
        Side::repeated(Role::Peer, "a thread", |n| {
            times(n, || thread::spawn(|| black_box(7)).join().expect("it does not panic"));
        }),
    ])
}

fn suspended(run: Run<'_>) -> Vec<Measured> {
    run.sides(vec![
        Side::repeated(Role::Ours, "ours", |n| {
            let context = AioContext::new().expect("descriptors for the reactor");
            let _guard = context.enter();
            block_on(suspended_in(n));
        }),
        Side::repeated(Role::Shown, "corosensei bare", |n| {
            let mut bare =
                corosensei::Coroutine::<(), (), (), _>::new(move |yielder, ()| times(n, || yielder.suspend(())));
            while matches!(bare.resume(()), CoroutineResult::Yield(())) {}
        }),
    ])
}

fn waits() {
    for _ in 0..WAITS {
        block_on(AioContext::current().sleep(WAIT));
    }
}

fn at_once(run: Run<'_>) -> Vec<Measured> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(MANY)
        .build()
        .expect("threads for a runtime");
    run.sides(vec![
        Side::timed(Role::Ours, "ours", || {
            block_on(join_all((0..MANY).map(|_| coroutine(waits))));
        }),
        Side::timed(Role::Peer, "one coroutine", || block_on(coroutine(waits))),
        Side::timed(Role::Peer, "tokio spawn_blocking", move || {
            let all: Vec<_> =
                (0..MANY).map(|_| runtime.spawn_blocking(|| times(WAITS, || thread::sleep(WAIT)))).collect();
            runtime.block_on(join_all(all));
        }),
        Side::timed(Role::Peer, "a thread a call", || {
            let all: Vec<_> = (0..MANY).map(|_| thread::spawn(|| times(WAITS, || thread::sleep(WAIT)))).collect();
            all.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
        }),
    ])
}

/// The memory of this process, in bytes.
fn resident() -> f64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<f64>().ok());
    pages.unwrap_or(0.0) * 4096.0
}

fn memory(run: Run<'_>) -> Vec<Measured> {
    run.sides(vec![Side::counted(Role::Ours, "ours", || {
        let before = resident();
        let mut all: Vec<_> = (0..MANY)
            .map(|_| {
                coroutine(|| {
                    black_box([1_u8; 1 << 10]);
                    block_on(std::future::pending::<()>());
                })
            })
            .collect();
        let mut cx = Context::from_waker(Waker::noop());
        all.iter_mut().for_each(|waits| assert!(Pin::new(waits).poll(&mut cx).is_pending()));
        (resident() - before) / MANY as f64
    })])
}
