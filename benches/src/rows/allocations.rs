//! What a call allocates.

use std::future::Future;

use co_wrapper::{AioContext, IoThread, co_wrapper};

use super::{Limit, Row, Run, Unit, tokio_runtime};
use crate::alloc::allocations_of;
use co_wrapper_bench::{
    drivers::{bdrv_co_ready, bdrv_co_wakes, bdrv_ready, bdrv_wakes},
    measure::{Measured, Role, Side, times},
};

pub fn rows() -> Vec<Row> {
    vec![
        Row::new("allocations a ready call", Unit::Count, ready).within(Limit::Value(0.0)),
        Row::new("allocations a call that waits", Unit::Count, waiting).within(Limit::Value(0.0)),
        Row::new("allocations a call in another context", Unit::Count, elsewhere).within(Limit::Value(1.0)),
    ]
}

/// The average, after some to warm up; a growing queue's allocations are spread over many.
fn each(mut call: impl FnMut()) -> f64 {
    const CALLS: u64 = 1000;
    times(CALLS, &mut call);
    let counted = allocations_of(|| times(CALLS, &mut call));
    counted as f64 / CALLS as f64
}

fn compared<'a, F: Future>(ours: impl Fn() + 'a, future: impl Fn() -> F + Copy + 'a) -> Vec<Side<'a>> {
    let runtime = tokio_runtime(1);
    vec![
        Side::counted(Role::Ours, "ours", move || each(&ours)),
        Side::counted(Role::Peer, "pollster", move || each(|| _ = pollster::block_on(future()))),
        Side::counted(Role::Peer, "futures-executor", move || each(|| _ = futures_executor::block_on(future()))),
        Side::counted(Role::Peer, "smol", move || each(|| _ = smol::block_on(future()))),
        Side::counted(Role::Peer, "tokio handle", move || each(|| _ = runtime.handle().block_on(future()))),
    ]
}

fn ready(run: Run<'_>) -> Vec<Measured> {
    run.sides(compared(|| _ = bdrv_ready(7), || bdrv_co_ready(7)))
}

fn waiting(run: Run<'_>) -> Vec<Measured> {
    run.sides(compared(|| bdrv_wakes(3), || bdrv_co_wakes(3)))
}

#[co_wrapper(ctx = context)]
async fn bdrv_co_ready_in(context: &AioContext, n: u64) -> u64 {
    _ = context;
    n ^ 1
}

fn elsewhere(run: Run<'_>) -> Vec<Measured> {
    let io = IoThread::spawn("bench").expect("a thread");
    let runtime = tokio_runtime(1);
    let handle = runtime.handle();
    run.sides(vec![
        Side::counted(Role::Ours, "ours", || each(|| _ = bdrv_ready_in(io.context(), 7))),
        Side::counted(Role::Peer, "tokio spawn + block_on", || {
            each(|| _ = handle.block_on(handle.spawn(async { 7_u64 ^ 1 })))
        }),
    ])
}
