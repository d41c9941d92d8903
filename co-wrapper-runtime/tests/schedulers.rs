//! Calls under tokio's schedulers, ours and others': what the table of `called_from` does not show.
#![cfg(all(not(loom), feature = "tokio"))]
#![allow(clippy::async_yields_async, reason = "a task is spawned in one call and joined in another")]
mod common;
use co_wrapper_runtime::AioContext;
use common::*;
use std::time::{Duration, Instant};
fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Catches: a frame that stays on the stack when tokio panics over the order of its guards.
#[test]
fn frame_leak_by_a_foreign_guard() {
    let rt = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let h = rt.handle().clone();
    within_bounds(move || {
        let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            std::mem::forget(plain(async { h.enter() }));
        }));
        eprintln!("{:?}", r.as_ref().map_err(|p| message_of(&**p).to_owned()));
        // Is the frame gone? A top-level wait may begin fresh tasks at once.
        let t = Instant::now();
        for _ in 0..10 {
            let c = AioContext::current();
            c.block_on(c.spawn(async {}));
        }
        assert!(t.elapsed() < ms(30), "the frame is still on the stack: 10 joins took {:?}", t.elapsed());
    });
}
/// Catches: the reactor's default limit of 512 threads, at which blocked tasks would stop it for good.
#[test]
fn six_hundred_blocking_calls_on_our_reactor() {
    within_bounds(|| {
        let handles: Vec<_> =
            plain(async { (0..600).map(|_| tokio::spawn(async { plain(tokio::time::sleep(ms(50))) })).collect() });
        for h in handles {
            plain(h).unwrap();
        }
    });
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
