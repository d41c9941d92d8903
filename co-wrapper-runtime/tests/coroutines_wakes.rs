//! What wakes a suspended coroutine, as tables: whoever polls it, wherever what it waits for comes from, and whatever else
//! waits on its thread.

#![cfg(all(feature = "coroutine", feature = "tokio", not(any(loom, miri))))]

mod common;

use std::{future::Future, pin::Pin, time::Duration};

use co_wrapper_runtime::{AioContext, Coroutine, block_on, block_on_timeout};
use common::{mixed, within_bounds};
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};

/// Only turns a hang into a failure that names its row.
const HANGS: Duration = Duration::from_secs(20);

/// A coroutine whose closure keeps the promise of `Coroutine::new`: it has no scope in a thread-local while a call waits.
#[track_caller]
fn coroutine<R>(f: impl FnOnce() -> R + 'static) -> Coroutine<R> {
    // SAFETY: as above.
    unsafe { Coroutine::new(f) }
}

/// What polls one coroutine on the test's thread.
type Host = (&'static str, fn(Pin<Box<dyn Future<Output = ()>>>));

/// Tasks of tokio's have a budget of operations, and keep back the wakes of a task that has used it up.
const HOSTS: &[Host] = &[
    ("our `block_on`", |future| block_on(future)),
    ("a local task of ours", |future| {
        let ctx = AioContext::current();
        ctx.block_on(ctx.spawn_local(future));
    }),
    ("a set of futures in our `block_on`", |future| {
        block_on(FuturesUnordered::from_iter([future]).collect::<()>());
    }),
    ("a task of a `LocalSet`", |future| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async { tokio::task::spawn_local(future).await.unwrap() });
    }),
    ("a `LocalSet`'s `block_on`, beside another future", |future| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async { futures::join!(async { tokio::task::yield_now().await }, future).1 });
    }),
    ("a current-thread runtime's `block_on`", |future| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
    }),
    ("a multi-thread runtime's `block_on`", |future| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(future);
    }),
    ("a call of ours in a task of a `LocalSet`", |future| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async { tokio::task::spawn_local(async { block_on(future) }).await.unwrap() });
    }),
];

/// Takes so many units of the budget of the tokio task that runs here, if one does.
async fn operations(many: u32) {
    for _ in 0..many {
        tokio::task::coop::cooperative(std::future::ready(())).await;
    }
}

/// Operations each of which has a waker of its own, so that only its own wake has it polled again.
async fn apart(many: usize) {
    let each: FuturesUnordered<_> = (0..many).map(|_| tokio::task::coop::cooperative(std::future::ready(()))).collect();
    each.collect::<()>().await;
}

/// A call that blocks its thread: it is made inside a future.
type Nested = (&'static str, fn());

const NESTED: &[Nested] = &[
    ("`block_on`", || block_on(apart(1))),
    ("`block_on` of many", || block_on(apart(200))),
    ("`block_on_timeout`", || block_on_timeout(apart(1), HANGS).expect("hangs")),
    ("`AioContext::block_on`", || AioContext::current().block_on(apart(1))),
    ("`AioContext::block_on` without a home", || AioContext::new().unwrap().block_on(apart(1))),
    ("a mixed wrapper", || mixed(apart(1))),
];

/// Catches: a coroutine that uses up the budget of the tokio task that polls it, after which tokio keeps back a wake for the
/// very scheduler that a call nested in the coroutine blocks; a task whose budget is another one afterwards.
#[test]
fn c01_c02_a_call_nested_in_a_coroutine_has_no_budget_of_operations() {
    for (host, polls) in HOSTS {
        for (nested, calls) in NESTED {
            // What takes the budget: the coroutine's outermost call or the host's task, none or all of it.
            for (call, task) in [(0, 0), (126, 0), (127, 0), (128, 0), (129, 0), (0, 128), (64, 64)] {
                within_bounds(move || {
                    eprintln!("{nested} after {call} operations in the call and {task} in {host}");
                    polls(Box::pin(async move {
                        // As many as `task`, but never waits: a budget that is used up stays so for this poll.
                        for _ in 0..task {
                            let _ = tokio::task::coop::cooperative(std::future::ready(())).now_or_never();
                        }
                        let before = tokio::task::coop::has_budget_remaining();
                        let code = coroutine(move || {
                            block_on(async {
                                operations(call).await;
                                calls();
                            });
                        });
                        code.await;
                        // Calls give the budget back as they found it.
                        assert_eq!(tokio::task::coop::has_budget_remaining(), before);
                    }));
                });
            }
        }
    }
}
