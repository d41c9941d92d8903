//! How many instructions the fast paths take: repeatable on a busy machine, where times are not.
//!
//!     cargo bench -p co-wrapper-bench --no-default-features --features peers --bench instructions
//!
//! Needs valgrind and gungraun-runner. Fails where one takes over 5 % more than is written here. Write the new number where it
//! takes less.

#![allow(missing_docs)] // gungraun's macros make items without

use std::hint::black_box;

use co_wrapper::{AioContext, BottomHalf, EnterGuard, block_on, blocking::Iter};
use co_wrapper_bench::{
    drivers::{bdrv_co_ready, bdrv_ready, bdrv_wakes},
    measure::times,
};
use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};

/// Of each, so that what surrounds them counts for nothing.
const TIMES: u64 = 1000;

/// At most 5 % above what one took when this was written.
fn limit(instructions: u64) -> LibraryBenchmarkConfig {
    let most = instructions * TIMES * 105 / 100;
    LibraryBenchmarkConfig::default().tool(Callgrind::default().hard_limits([(EventKind::Ir, most)])).clone()
}

/// A thread that has made its first calls, ready and not.
fn warm() {
    bdrv_ready(1);
    bdrv_wakes(1);
}

/// The same, in a context.
fn entered() -> EnterGuard {
    let guard = AioContext::new().expect("descriptors for the reactor").enter();
    warm();
    guard
}

#[library_benchmark(config = limit(267), setup = warm)]
#[bench::plain()]
fn ready_call(_warm: ()) {
    times(TIMES, || bdrv_ready(black_box(7)));
}

#[library_benchmark(config = limit(262), setup = warm)]
#[bench::plain()]
fn ready_block_on(_warm: ()) {
    times(TIMES, || block_on(bdrv_co_ready(black_box(7))));
}

#[library_benchmark(config = limit(265), setup = warm)]
#[bench::plain()]
fn ready_item(_warm: ()) {
    let mut items = Iter::new(smol::stream::repeat(7));
    times(TIMES, || black_box(&mut items).next());
}

#[library_benchmark(config = limit(154), setup = entered)]
#[bench::entered()]
fn ready_call_entered(guard: EnterGuard) -> EnterGuard {
    times(TIMES, || bdrv_ready(black_box(7)));
    guard
}

#[library_benchmark(config = limit(166), setup = entered)]
#[bench::entered()]
fn self_wake(guard: EnterGuard) -> EnterGuard {
    bdrv_wakes(TIMES);
    guard
}

#[library_benchmark(config = limit(733), setup = entered)]
#[bench::entered()]
fn call_with_a_self_wake(guard: EnterGuard) -> EnterGuard {
    times(TIMES, || bdrv_wakes(1));
    guard
}

/// So many wait at once.
const BATCH: u64 = 50;

/// A queue that has grown to its size.
fn grown() -> (EnterGuard, AioContext) {
    let guard = entered();
    let context = AioContext::current();
    spawned_and_run(&context);
    (guard, context)
}

fn spawned_and_run(context: &AioContext) {
    (0..BATCH).for_each(|_| drop(context.spawn_local(async {})));
    context.poll(false);
}

#[library_benchmark(config = limit(1091), setup = grown)]
#[bench::local()]
fn spawn((guard, context): (EnterGuard, AioContext)) -> EnterGuard {
    times(TIMES / BATCH, || spawned_and_run(&context));
    guard
}

fn bottom_halves() -> (EnterGuard, AioContext, Vec<BottomHalf>) {
    let (guard, context) = grown();
    let all: Vec<_> = (0..BATCH).map(|n| context.bh(move || _ = black_box(n))).collect();
    scheduled_and_run(&context, &all);
    (guard, context, all)
}

fn scheduled_and_run(context: &AioContext, all: &[BottomHalf]) {
    all.iter().for_each(BottomHalf::schedule);
    context.poll(false);
}

#[library_benchmark(config = limit(402), setup = bottom_halves)]
#[bench::reusable()]
fn bottom_half((guard, context, all): (EnterGuard, AioContext, Vec<BottomHalf>)) -> (EnterGuard, Vec<BottomHalf>) {
    times(TIMES / BATCH, || scheduled_and_run(&context, &all));
    (guard, all)
}

#[cfg(feature = "coroutine")]
mod coroutine_paths {
    use super::*;
    use co_wrapper_bench::drivers::{coroutine, made_and_run_in, suspended_in};

    /// A thread that has run a coroutine, in a context.
    fn pooled() -> EnterGuard {
        let guard = entered();
        block_on(made_and_run_in(1));
        guard
    }

    #[library_benchmark(config = limit(601), setup = pooled)]
    #[bench::entered()]
    fn coroutine_with_a_ready_call(guard: EnterGuard) -> EnterGuard {
        block_on(made_and_run_in(TIMES));
        guard
    }

    #[library_benchmark(config = limit(571), setup = pooled)]
    #[bench::entered()]
    fn coroutine_suspended_by_a_call(guard: EnterGuard) -> EnterGuard {
        block_on(suspended_in(TIMES));
        guard
    }

    #[library_benchmark(config = limit(154), setup = pooled)]
    #[bench::entered()]
    fn ready_call_in_a_coroutine(guard: EnterGuard) -> EnterGuard {
        block_on(coroutine(|| times(TIMES, || bdrv_ready(black_box(7)))));
        guard
    }

    library_benchmark_group!(
        name = coroutines;
        benchmarks = ready_call_in_a_coroutine, coroutine_with_a_ready_call, coroutine_suspended_by_a_call
    );
}

library_benchmark_group!(
    name = fast_paths;
    benchmarks = ready_call, ready_block_on, ready_item, ready_call_entered, self_wake, call_with_a_self_wake, spawn, bottom_half
);

#[cfg(feature = "coroutine")]
use coroutine_paths::coroutines;

#[cfg(not(feature = "coroutine"))]
main!(library_benchmark_groups = fast_paths);
#[cfg(feature = "coroutine")]
main!(library_benchmark_groups = fast_paths, coroutines);
