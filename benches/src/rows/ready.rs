//! A call whose future is ready at once: what the wrapper itself costs.

use std::{hint::black_box, path::Path, process::Command, sync::mpsc};

use co_wrapper::{AioContext, IoThread};
use tokio::runtime::Handle;

use super::{Limit, Row, Run, tokio_current_thread, tokio_runtime};
use co_wrapper_bench::{
    drivers::{bdrv_co_ready, bdrv_ready, poll_once},
    measure::{Effort, Measured, Role, Side, times},
};

pub fn rows() -> Vec<Row> {
    vec![
        Row::time("ready call, nothing entered", plain)
            .within(Limit::Value(30.0))
            .within(Limit::Of(1.0, "tokio handle")),
        Row::time("ready call, in an entered context", entered).within(Limit::Value(10.0)),
        Row::time("ready call, in an IoThread", in_io_thread).within(Limit::Value(10.0)),
        Row::time("ready call without the tokio feature", |run| without_tokio(run, "ready"))
            .within(Limit::Of(1.7, "pollster")),
        Row::time("ready call without the tokio feature, entered", |run| without_tokio(run, "entered"))
            .within(Limit::Of(1.7, "pollster")),
    ]
}

/// Those who need nothing around them, and the bare poll.
fn small<'a>() -> Vec<Side<'a>> {
    vec![
        Side::repeated(Role::Peer, "pollster", |n| times(n, || pollster::block_on(bdrv_co_ready(black_box(7))))),
        Side::repeated(Role::Peer, "futures-executor", |n| {
            times(n, || futures_executor::block_on(bdrv_co_ready(black_box(7))));
        }),
        Side::repeated(Role::Floor, "bare poll", |n| times(n, || poll_once(bdrv_co_ready(black_box(7))))),
    ]
}

fn plain(run: Run<'_>) -> Vec<Measured> {
    let (runtime, current) = (tokio_runtime(1), tokio_current_thread());
    let handle = runtime.handle().clone();
    let mut sides = vec![Side::repeated(Role::Ours, "ours", |n| times(n, || bdrv_ready(black_box(7))))];
    sides.extend(small());
    sides.extend([
        Side::repeated(Role::Peer, "smol", |n| times(n, || smol::block_on(bdrv_co_ready(black_box(7))))),
        Side::repeated(Role::Peer, "tokio handle", |n| times(n, || handle.block_on(bdrv_co_ready(black_box(7))))),
        Side::repeated(Role::Peer, "tokio runtime", |n| times(n, || runtime.block_on(bdrv_co_ready(black_box(7))))),
        Side::repeated(Role::Peer, "tokio current-thread", |n| {
            times(n, || current.block_on(bdrv_co_ready(black_box(7))));
        }),
        Side::repeated(Role::Peer, "Runtime per call", |n| {
            // As `block_on_proc` writes it.
            let one = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            times(n, || one().block_on(bdrv_co_ready(black_box(7))));
        }),
    ]);
    run.sides(sides)
}

fn entered(run: Run<'_>) -> Vec<Measured> {
    let context = AioContext::new().expect("descriptors for the reactor");
    let runtime = tokio_runtime(1);
    let id = runtime.handle().id();
    let mut sides = vec![
        Side::repeated(Role::Ours, "ours", |n| {
            let _guard = context.enter();
            times(n, || bdrv_ready(black_box(7)));
        }),
        // What each of ours does among the rest.
        Side::repeated(Role::Shown, "tokio asked whose handle", |n| {
            let _guard = runtime.enter();
            times(n, || Handle::try_current().is_ok_and(|current| current.id() == black_box(id)));
        }),
    ];
    sides.extend(small());
    run.sides(sides)
}

fn in_io_thread(run: Run<'_>) -> Vec<Measured> {
    let io = IoThread::spawn("bench").expect("a thread");
    let (done, is_done) = mpsc::channel();
    let mut sides = vec![Side::repeated(Role::Ours, "ours", |n| {
        let done = done.clone();
        io.context().schedule_bh(move || {
            times(n, || bdrv_ready(black_box(7)));
            done.send(()).expect("it is waited for");
        });
        is_done.recv().expect("it is sent");
    })];
    sides.extend(small());
    run.sides(sides)
}

/// What a build without the feature measures in `group`: another build of this package, for one build has one set of
/// features.
pub fn without_tokio(run: Run<'_>, group: &str) -> Vec<Measured> {
    (run.progress)(0);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--release", "--quiet", "--package", "co-wrapper-bench", "--bin", "without-tokio"]);
    cargo.args(["--no-default-features", "--target-dir"]).arg(target.join("without-tokio")).current_dir(root);
    cargo.args(["--", group]);
    if run.effort.rounds <= Effort::QUICK.rounds {
        cargo.arg("--quick");
    }
    let output = cargo.output().expect("cargo is there, for it built this");
    assert!(output.status.success(), "without-tokio: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let sides = text.lines().map(|line| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().expect("six fields a line");
        let role = match next() {
            "Ours" => Role::Ours,
            "Peer" => Role::Peer,
            "Floor" => Role::Floor,
            _ => Role::Shown,
        };
        let name = next().to_owned();
        let mut number = || next().parse().ok();
        let mut reading = || number().expect("three readings a line");
        let (median, min, max) = (reading(), reading(), reading());
        Measured { name, role, median, min, max, p99: None, cpu: number() }
    });
    sides.collect()
}
