//! Timers: when a short sleep ends.

use std::time::Duration;

use async_io::Timer;
use co_wrapper::AioContext;

use super::{Limit, Row, Run, tokio_current_thread};
use co_wrapper_bench::measure::{Measured, Role, Side};

pub fn rows() -> Vec<Row> {
    vec![Row::time("a sleep of 50 µs", sleeps).within(Limit::Value(150_000.0))]
}

const SLEEP: Duration = Duration::from_micros(50);

fn sleeps(run: Run<'_>) -> Vec<Measured> {
    let context = AioContext::new().expect("descriptors for the reactor");
    let current = tokio_current_thread();
    run.sides(vec![
        Side::timed(Role::Ours, "ours", || context.block_on(context.sleep(SLEEP))),
        Side::timed(Role::Peer, "tokio", || current.block_on(async { tokio::time::sleep(SLEEP).await })),
        Side::timed(Role::Peer, "smol", || _ = smol::block_on(Timer::after(SLEEP))),
        Side::timed(Role::Floor, "std sleep", || std::thread::sleep(SLEEP)),
    ])
}
