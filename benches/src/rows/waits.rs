//! Calls that wait: for themselves, and for another thread.

use std::{
    future::poll_fn,
    hint,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, Ordering},
    },
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use co_wrapper::{AioContext, co_wrapper};

use super::{Limit, Row, Run, ready, tokio_current_thread, tokio_runtime};
use co_wrapper_bench::{
    drivers::{bdrv_co_wakes, bdrv_wakes, poll_once},
    measure::{Measured, Role, Side, times},
};

pub fn rows() -> Vec<Row> {
    vec![
        Row::time("one self-wake inside a call", |run| self_wakes(run, |n| bdrv_wakes(n)))
            .within(Limit::Of(1.0, "pollster")),
        Row::time("one self-wake inside a call, in an entered context", |run| {
            let context = AioContext::new().expect("descriptors for the reactor");
            self_wakes(run, move |n| {
                let _guard = context.enter();
                bdrv_wakes(n);
            })
        })
        .within(Limit::Of(1.0, "pollster")),
        Row::time("one self-wake inside a call, without the tokio feature", |run| {
            ready::without_tokio(run, "self-wake")
        }),
        Row::time("a whole call with one self-wake", whole_calls),
        Row::time("completion by another thread within 20 µs, spinning", |run| {
            completed(run, Duration::from_micros(100), "spin loop")
        })
        .within(Limit::Value(1_000.0)),
        Row::time("completion by another thread within 20 µs, not spinning", |run| {
            completed(run, Duration::ZERO, "spin loop")
        })
        .within(Limit::OfBest(1.0)),
    ]
}

fn self_wakes(run: Run<'_>, ours: impl FnMut(u64)) -> Vec<Measured> {
    let runtime = tokio_runtime(1);
    let handle = runtime.handle();
    run.sides(vec![
        Side::repeated(Role::Ours, "ours", ours),
        Side::repeated(Role::Peer, "pollster", |n| pollster::block_on(bdrv_co_wakes(n))),
        Side::repeated(Role::Peer, "futures-executor", |n| futures_executor::block_on(bdrv_co_wakes(n))),
        Side::repeated(Role::Peer, "smol", |n| smol::block_on(bdrv_co_wakes(n))),
        Side::repeated(Role::Peer, "tokio handle", |n| handle.block_on(bdrv_co_wakes(n))),
    ])
}

fn whole_calls(run: Run<'_>) -> Vec<Measured> {
    let runtime = tokio_runtime(1);
    let handle = runtime.handle();
    run.sides(vec![
        Side::repeated(Role::Ours, "ours", |n| times(n, || bdrv_wakes(1))),
        Side::repeated(Role::Shown, "ours, entered", |n| {
            let context = AioContext::new().expect("descriptors for the reactor");
            let _guard = context.enter();
            times(n, || bdrv_wakes(1));
        }),
        Side::repeated(Role::Peer, "pollster", |n| times(n, || pollster::block_on(bdrv_co_wakes(1)))),
        Side::repeated(Role::Peer, "futures-executor", |n| times(n, || futures_executor::block_on(bdrv_co_wakes(1)))),
        Side::repeated(Role::Peer, "smol", |n| times(n, || smol::block_on(bdrv_co_wakes(1)))),
        Side::repeated(Role::Peer, "tokio handle", |n| times(n, || handle.block_on(bdrv_co_wakes(1)))),
    ])
}

/// An operation that another thread completes some 10 µs after it was begun.
#[derive(Default)]
struct Operation {
    stage: AtomicU8,
    shared: Mutex<(Option<Waker>, Option<Instant>)>,
}

const IDLE: u8 = 0;
const BEGUN: u8 = 1;
const DONE: u8 = 2;
const OVER: u8 = 3;

const TAKES: Duration = Duration::from_micros(10);

impl Operation {
    /// Completes one after the other until it is over. It spins, for a thread that sleeps would be late; of the times that
    /// are reported its own is left out.
    fn complete(&self) {
        loop {
            match self.stage.load(Ordering::Acquire) {
                OVER => return,
                BEGUN => {
                    let begun = Instant::now();
                    while begun.elapsed() < TAKES {
                        hint::spin_loop();
                    }
                    let mut shared = self.shared.lock().expect("nobody panics with it");
                    let waker = shared.0.take();
                    shared.1 = Some(Instant::now());
                    drop(shared);
                    self.stage.store(DONE, Ordering::Release);
                    waker.into_iter().for_each(Waker::wake);
                }
                _ => hint::spin_loop(),
            }
        }
    }

    async fn run(&self) {
        poll_fn(|cx| match self.stage.load(Ordering::Acquire) {
            DONE => Poll::Ready(()),
            stage => {
                self.shared.lock().expect("nobody panics with it").0 = Some(cx.waker().clone());
                if stage == IDLE {
                    self.stage.store(BEGUN, Ordering::Release);
                } else if self.stage.load(Ordering::Acquire) == DONE {
                    return Poll::Ready(());
                }
                Poll::Pending
            }
        })
        .await;
    }

    /// From the completion to the end of `wait`.
    fn latency(&self, wait: impl FnOnce(&Self)) -> Duration {
        wait(self);
        let end = Instant::now();
        let done = self.shared.lock().expect("nobody panics with it").1.take().expect("it is done");
        self.stage.store(IDLE, Ordering::Release);
        end - done
    }
}

#[co_wrapper(mixed)]
async fn bdrv_co_operate(operation: &Operation) {
    operation.run().await;
}

fn completed(run: Run<'_>, spin_max: Duration, floor: &str) -> Vec<Measured> {
    let operation = Arc::new(Operation::default());
    let completer = thread::spawn({
        let operation = Arc::clone(&operation);
        move || operation.complete()
    });
    let (runtime, current) = (tokio_runtime(1), tokio_current_thread());
    let handle = runtime.handle().clone();
    let context = AioContext::builder().spin_max(spin_max).build().expect("descriptors for the reactor");
    let of = &*operation;
    let measured = run.sides(vec![
        Side::each(Role::Ours, "ours", || {
            let _guard = context.enter();
            of.latency(bdrv_operate)
        })
        .of_this_thread(),
        Side::each(Role::Peer, "pollster", || of.latency(|of| pollster::block_on(of.run()))).of_this_thread(),
        Side::each(Role::Peer, "futures-executor", || of.latency(|of| futures_executor::block_on(of.run())))
            .of_this_thread(),
        Side::each(Role::Peer, "smol", || of.latency(|of| smol::block_on(of.run()))).of_this_thread(),
        Side::each(Role::Peer, "tokio handle", || of.latency(|of| handle.block_on(of.run()))).of_this_thread(),
        Side::each(Role::Peer, "tokio current-thread", || of.latency(|of| current.block_on(of.run()))).of_this_thread(),
        Side::each(Role::Floor, floor, || {
            of.latency(|of| {
                of.stage.store(BEGUN, Ordering::Release);
                while of.stage.load(Ordering::Acquire) != DONE {
                    hint::spin_loop();
                }
                poll_once(of.run());
            })
        })
        .of_this_thread(),
    ]);
    operation.stage.store(OVER, Ordering::Release);
    completer.join().expect("it does not panic");
    measured
}
