//! A call into another thread's context and back.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use co_wrapper::{AioContext, IoThread, co_wrapper};

use super::{Limit, Row, Run, tokio_runtime};
use co_wrapper_bench::measure::{Measured, Role, Side};

pub fn rows() -> Vec<Row> {
    vec![
        Row::time("call into an IoThread and back, busy", |run| calls(run, Duration::ZERO))
            .within(Limit::Value(3_000.0)),
        Row::time("call into an IoThread and back, idle", |run| calls(run, Duration::from_micros(300)))
            .within(Limit::OfBest(1.0)),
    ]
}

/// A node whose context is another thread's.
struct Node {
    context: AioContext,
}

impl Node {
    #[co_wrapper(ctx = self.context)]
    async fn bdrv_co_ready_there(&self, n: u64) -> u64 {
        n ^ 1
    }
}

/// One after the other, with a pause of `idle` before each.
fn calls(run: Run<'_>, idle: Duration) -> Vec<Measured> {
    let io = IoThread::spawn("bench").expect("a thread");
    let node = Node { context: io.context().clone() };
    // Who calls without a pause may spin for the answer.
    let spin_max = if idle.is_zero() { Duration::from_micros(100) } else { Duration::ZERO };
    let context = AioContext::builder().spin_max(spin_max).build().expect("descriptors for the reactor");
    let _guard = context.enter();

    let runtime = tokio_runtime(1);
    let handle = runtime.handle().clone();

    let executor = smol::Executor::new();
    let (stop, stopped) = smol::channel::bounded::<()>(1);
    let (to, from) = mpsc::channel::<(u64, mpsc::Sender<u64>)>();
    let paused = |call: &mut dyn FnMut()| {
        if !idle.is_zero() {
            thread::sleep(idle);
        }
        let start = Instant::now();
        call();
        start.elapsed()
    };
    thread::scope(|scope| {
        let executor = &executor;
        scope.spawn(move || smol::block_on(executor.run(stopped.recv())));
        scope.spawn(move || from.iter().for_each(|(n, back)| _ = back.send(n ^ 1)));
        let measured = run.sides(vec![
            Side::each(Role::Ours, "ours", || paused(&mut || _ = node.bdrv_ready_there(7))),
            Side::each(Role::Peer, "tokio spawn + block_on", || {
                paused(&mut || _ = handle.block_on(handle.spawn(async { 7_u64 ^ 1 })))
            }),
            Side::each(Role::Peer, "smol spawn + block_on", || {
                paused(&mut || _ = smol::block_on(executor.spawn(async { 7_u64 ^ 1 })))
            }),
            Side::each(Role::Peer, "std channels", || {
                paused(&mut || {
                    let (back, answer) = mpsc::channel();
                    to.send((7, back)).expect("it is received");
                    _ = answer.recv();
                })
            }),
        ]);
        drop((stop, to));
        measured
    })
}
