//! Rows where no tokio is in the tree. `co-wrapper-bench` builds and runs it, because one build has one set of features:
//!
//! ```text
//! cargo run --release -p co-wrapper-bench --bin without-tokio --no-default-features --target-dir target/without-tokio -- \
//!     ready|entered|self-wake|threads|contexts [--quick]
//! ```
//!
//! Prints a line a side: whose, name, median, least, largest and CPU time, if it was taken, in ns.

use std::{hint::black_box, process::ExitCode};

use co_wrapper::AioContext;
use co_wrapper_bench::{
    drivers::{bdrv_co_ready, bdrv_co_wakes, bdrv_ready, bdrv_wakes, poll_once},
    measure::{Effort, Role, Side, interleaved, times},
    parallel::{cores, parallel},
};

fn main() -> ExitCode {
    if cfg!(feature = "peers") {
        eprintln!("without-tokio: built with tokio; build it with --no-default-features");
        return ExitCode::FAILURE;
    }
    let args: Vec<_> = std::env::args().skip(1).collect();
    let (group, quick) = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [group] => (group, false),
        [group, "--quick"] => (group, true),
        _ => ("", false),
    };
    let Some(sides) = sides(group) else {
        eprintln!("usage: without-tokio ready|entered|self-wake|threads|contexts [--quick]");
        return ExitCode::FAILURE;
    };
    for side in interleaved(if quick { Effort::QUICK } else { Effort::FULL }, sides, |_| ()) {
        let cpu = side.cpu.map_or(String::new(), |cpu| cpu.to_string());
        println!("{:?}\t{}\t{}\t{}\t{}\t{cpu}", side.role, side.name, side.median, side.min, side.max);
    }
    ExitCode::SUCCESS
}

fn sides(group: &str) -> Option<Vec<Side<'static>>> {
    let enter = || AioContext::new().expect("nothing to start without tokio").enter();
    let ready = || _ = black_box(bdrv_ready(black_box(7)));
    let sides = match group {
        "ready" => vec![
            Side::repeated(Role::Ours, "ours", move |n| times(n, ready)),
            Side::repeated(Role::Peer, "pollster", |n| times(n, || pollster::block_on(bdrv_co_ready(black_box(7))))),
            Side::repeated(Role::Floor, "bare poll", |n| times(n, || poll_once(bdrv_co_ready(black_box(7))))),
        ],
        "entered" => vec![
            Side::repeated(Role::Ours, "ours", move |n| {
                let _guard = enter();
                times(n, ready);
            }),
            Side::repeated(Role::Peer, "pollster", |n| times(n, || pollster::block_on(bdrv_co_ready(black_box(7))))),
            Side::repeated(Role::Floor, "bare poll", |n| times(n, || poll_once(bdrv_co_ready(black_box(7))))),
        ],
        "self-wake" => vec![
            Side::repeated(Role::Ours, "ours", |n| bdrv_wakes(n)),
            Side::repeated(Role::Peer, "pollster", |n| pollster::block_on(bdrv_co_wakes(n))),
        ],
        "threads" => vec![
            Side::counted(Role::Ours, "at the cores", move || parallel(cores(), || (), ready)),
            Side::counted(Role::Peer, "1 thread", move || parallel(1, || (), ready)),
        ],
        "contexts" => vec![
            Side::counted(Role::Ours, "at the cores", move || parallel(cores(), enter, ready)),
            Side::counted(Role::Peer, "1 context", move || parallel(1, enter, ready)),
            Side::counted(Role::Shown, "16 contexts", move || parallel(16, enter, ready)),
            Side::counted(Role::Shown, "64 contexts", move || parallel(64, enter, ready)),
        ],
        _ => return None,
    };
    Some(sides)
}
