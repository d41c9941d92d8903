//! The ready call where no tokio is in the tree. `co-wrapper-bench` builds and runs it, because one build has one set of
//! features:
//!
//!     cargo run --release -p co-wrapper-bench --bin without-tokio --no-default-features --target-dir target/without-tokio
//!
//! Prints a line a side: whose, name, median, least, largest and CPU time in ns.

use std::{hint::black_box, process::ExitCode};

use co_wrapper::AioContext;
use co_wrapper_bench::drivers::{bdrv_co_ready, bdrv_co_wakes, bdrv_ready, bdrv_wakes, poll_once};
use co_wrapper_bench::measure::{Effort, Role, Side, interleaved, times};

fn main() -> ExitCode {
    if cfg!(feature = "peers") {
        eprintln!("without-tokio: built with tokio; build it with --no-default-features");
        return ExitCode::FAILURE;
    }
    let quick = std::env::args().any(|arg| arg == "--quick");
    let effort = if quick { Effort::QUICK } else { Effort::FULL };
    let ready = vec![
        Side::repeated(Role::Ours, "ready", |n| times(n, || bdrv_ready(black_box(7)))),
        Side::repeated(Role::Ours, "ready, entered", |n| {
            let context = AioContext::new().expect("nothing to start without tokio");
            let _guard = context.enter();
            times(n, || bdrv_ready(black_box(7)));
        }),
        Side::repeated(Role::Ours, "self-wake", |n| bdrv_wakes(n)),
        Side::repeated(Role::Peer, "pollster", |n| times(n, || pollster::block_on(bdrv_co_ready(black_box(7))))),
        Side::repeated(Role::Peer, "pollster, self-wake", |n| pollster::block_on(bdrv_co_wakes(n))),
        Side::repeated(Role::Floor, "bare poll", |n| times(n, || poll_once(bdrv_co_ready(black_box(7))))),
    ];
    for side in interleaved(effort, ready, |_| ()) {
        println!(
            "{:?}\t{}\t{}\t{}\t{}\t{}",
            side.role,
            side.name,
            side.median,
            side.min,
            side.max,
            side.cpu.unwrap_or_default()
        );
    }
    ExitCode::SUCCESS
}
