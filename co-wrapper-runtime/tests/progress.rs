//! A nested wait gets what it waits for, whatever else runs: the line w11 of the contract and related cases.

#![cfg(not(loom))]

mod common;

use async_io::Timer;
use co_wrapper_runtime::AioContext;
use common::*;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::Poll,
};
/// Catches: a patience that anything which moves starts over.
#[test]
fn a_nested_wait_for_a_fresh_task_ends_while_a_begun_task_ticks() {
    within_bounds(|| {
        let ctx = AioContext::current();
        drop(ctx.spawn(async {
            loop {
                Timer::after(ms(1)).await;
            }
        }));
        ctx.poll(false);
        let c = ctx.clone();
        let t = ctx.spawn(async move { mixed(c.spawn(async { 1 })) });
        assert_eq!(ctx.block_on(t), 1);
    });
}
/// Catches: the same, where the waiting future itself ticks.
#[test]
fn a_nested_wait_that_ticks_itself() {
    within_bounds(|| {
        let ctx = AioContext::current();
        let c = ctx.clone();
        let t = ctx.spawn(async move {
            let task = c.spawn(async { 1 });
            mixed(async {
                let tick = async {
                    loop {
                        Timer::after(ms(2)).await;
                    }
                };
                futures::pin_mut!(tick);
                match futures::future::select(task, tick).await {
                    futures::future::Either::Left((n, _)) => n,
                    _ => 0,
                }
            })
        });
        assert_eq!(ctx.block_on(t), 1);
    });
}
/// Catches: the same inside a bottom half.
#[test]
fn a_bottom_half() {
    within_bounds(|| {
        let ctx = AioContext::current();
        drop(ctx.spawn(async {
            loop {
                Timer::after(ms(1)).await;
            }
        }));
        ctx.poll(false);
        let c = ctx.clone();
        let (tx, rx) = mpsc::channel();
        ctx.schedule_bh(move || tx.send(plain(c.spawn(async { 1 }))).unwrap());
        while rx.try_recv().is_err() {
            ctx.poll(true);
        }
    });
}
/// Catches: a patience before each held-back item, of which what is waited for may be the last: it would not end in time.
#[test]
fn behind_many_quick_tasks() {
    within_bounds(|| {
        let ctx = AioContext::current();
        let c = ctx.clone();
        let n = Arc::new(AtomicUsize::new(0));
        ctx.schedule_bh(move || {
            for _ in 0..sized(80_000, 100) {
                let n = n.clone();
                drop(c.spawn(async move {
                    n.fetch_add(1, Ordering::Relaxed);
                }));
            }
            plain(c.spawn(async {}));
        });
        ctx.poll(false);
    });
}

/// Catches: a loop that never looks at what it holds back while something is always ready.
#[test]
fn a_nested_wait_ends_while_a_begun_task_wakes_itself_on_and_on() {
    within_bounds(|| {
        let ctx = AioContext::current();
        drop(ctx.spawn(async {
            loop {
                let mut yielded = false;
                std::future::poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
        }));
        ctx.poll(false);
        let c = ctx.clone();
        let task = ctx.spawn(async move { mixed(c.spawn(async { 1 })) });
        assert_eq!(ctx.block_on(task), 1);
    });
}
