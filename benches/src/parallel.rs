//! Many threads that call at once.

use std::{
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use crate::measure::times;

/// How many threads run at once.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The time of one call, in ns, by the processor, when `threads` make calls at once: `start` is done by each before.
///
/// # Panics
///
/// If one of them does.
pub fn parallel<G>(threads: usize, start: impl Fn() -> G + Sync, call: impl Fn() + Sync) -> f64 {
    const CALLS: u64 = 20_000;
    let barrier = Barrier::new(threads + 1);
    let took = thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let _guard = start();
                    call();
                    barrier.wait();
                    let start = Instant::now();
                    times(CALLS, &call);
                    (start, Instant::now())
                })
            })
            .collect();
        barrier.wait();
        let spans: Vec<_> = all.into_iter().map(|thread| thread.join().expect("it does not panic")).collect();
        let first = spans.iter().map(|span| span.0).min().expect("a thread");
        spans.iter().map(|span| span.1).max().map_or(Duration::ZERO, |last| last - first)
    });
    took.as_nanos() as f64 * threads.min(cores()) as f64 / (CALLS * threads as u64) as f64
}
