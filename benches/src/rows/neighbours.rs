//! What a tokio worker's neighbours feel while something blocks beside them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use co_wrapper::co_wrapper;
use tokio::{runtime::Runtime, task::block_in_place, time::sleep};

use super::{Row, Run, tokio_runtime};
use co_wrapper_bench::measure::{Measured, Role, Side};

pub fn rows() -> Vec<Row> {
    vec![Row::time("a neighbour's turn on tokio's workers while a task blocks beside it", neighbours)]
}

#[co_wrapper(mixed)]
async fn bdrv_co_wait() {
    sleep(Duration::from_millis(1)).await;
}

/// A runtime of two workers, on one of which something blocks for 1 ms again and again.
struct Host {
    runtime: Runtime,
    over: Arc<AtomicBool>,
}

impl Host {
    fn new(blocks: impl Fn() + Send + Sync + 'static) -> Self {
        let (runtime, over) = (tokio_runtime(2), Arc::new(AtomicBool::new(false)));
        let ends = Arc::clone(&over);
        runtime.spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                blocks();
                tokio::task::yield_now().await;
            }
        });
        Self { runtime, over }
    }

    /// From a task's spawning to its run, some time after the last one.
    fn turn(&self) -> Duration {
        self.runtime.block_on(async {
            sleep(Duration::from_micros(100)).await;
            let spawned = Instant::now();
            tokio::spawn(async move { spawned.elapsed() }).await.expect("it ends")
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn neighbours(run: Run<'_>) -> Vec<Measured> {
    let elsewhere = tokio_runtime(1);
    let handle = elsewhere.handle().clone();
    let ours = Host::new(bdrv_wait);
    let smols = Host::new(|| _ = smol::block_on(async_io::Timer::after(Duration::from_millis(1))));
    let in_place = Host::new(move || block_in_place(|| handle.block_on(bdrv_co_wait())));
    let idle = Host::new(|| std::thread::sleep(Duration::ZERO));
    idle.over.store(true, Ordering::Relaxed);
    run.sides(vec![
        Side::each(Role::Ours, "ours", || ours.turn()),
        Side::each(Role::Peer, "smol::block_on", || smols.turn()),
        Side::each(Role::Peer, "block_in_place", || in_place.turn()),
        Side::each(Role::Floor, "nobody blocks", || idle.turn()),
    ])
}
