//! Whether a call costs the same with more of everything around it.

use std::{future::pending, hint::black_box};

use co_wrapper::{AioContext, co_wrapper};

use super::{Limit, Row, Run, ready::without_tokio, tokio_runtime};
use co_wrapper_bench::{
    drivers::{bdrv_co_ready, bdrv_ready, bdrv_wakes},
    measure::{Measured, Role, Side, times},
    parallel::{cores, parallel},
};

/// How much more it may cost.
const FLAT: f64 = 1.5;

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        Row::time("ready calls of as many threads as cores, without the tokio feature", |run| {
            without_tokio(run, "threads")
        })
        .within(Limit::OfBest(FLAT)),
        // All of them touch the count of tokio's one handle: what may be asked of them is in the rows that follow.
        Row::time("ready calls of as many threads as cores", threads_at_the_cores),
    ];
    rows.extend([1, 2, 4, 16, 64].map(|count| {
        Row::time(format!("ready calls of {count} threads on one object"), move |run| threads(run, count))
            .within(Limit::Of(1.0, "tokio handle"))
    }));
    rows.extend([
        Row::time("ready calls 128 deep", |run| nested(run, || _ = bdrv_ready(black_box(7))))
            .within(Limit::OfBest(FLAT)),
        Row::time("self-waking calls 128 deep", |run| nested(run, || bdrv_wakes(10))).within(Limit::OfBest(FLAT)),
        Row::time("self-waking calls beside 10⁶ idle tasks", idle_tasks).within(Limit::OfBest(FLAT)),
        Row::time("ready calls of as many contexts as cores, a thread each, without the tokio feature", |run| {
            without_tokio(run, "contexts")
        })
        .within(Limit::OfBest(FLAT)),
        Row::time("ready calls of as many contexts as cores, a thread each", contexts)
            .within(Limit::Of(1.0, "tokio handle")),
        Row::time("ready calls of a thread that is home to 64 contexts", |run| {
            homes(run, || _ = bdrv_ready(black_box(7)))
        })
        .within(Limit::OfBest(FLAT)),
        Row::time("self-waking calls of a thread that is home to 64 contexts", |run| homes(run, || bdrv_wakes(10))),
    ]);
    rows
}

/// An object that all call into.
struct Object(u64);

impl Object {
    #[co_wrapper]
    async fn bdrv_co_get(&self) -> u64 {
        self.0
    }
}

fn threads(run: Run<'_>, count: usize) -> Vec<Measured> {
    let (object, runtime) = (Object(black_box(7)), tokio_runtime(1));
    let handle = runtime.handle();
    run.sides(vec![
        Side::counted(Role::Ours, "ours", || parallel(count, || (), || _ = black_box(object.bdrv_get()))),
        Side::counted(Role::Peer, "tokio handle", || {
            parallel(count, || (), || _ = black_box(handle.block_on(object.bdrv_co_get())))
        }),
        Side::counted(Role::Peer, "pollster", || {
            parallel(count, || (), || _ = black_box(pollster::block_on(object.bdrv_co_get())))
        }),
    ])
}

fn threads_at_the_cores(run: Run<'_>) -> Vec<Measured> {
    let object = Object(black_box(7));
    run.sides(vec![
        Side::counted(Role::Ours, "at the cores", || parallel(cores(), || (), || _ = black_box(object.bdrv_get()))),
        Side::counted(Role::Peer, "1 thread", || parallel(1, || (), || _ = black_box(object.bdrv_get()))),
    ])
}

fn contexts(run: Run<'_>) -> Vec<Measured> {
    let runtime = tokio_runtime(1);
    let handle = runtime.handle();
    let at = |count| {
        // Each thread enters a context of its own; guards stay on their threads.
        let enter = || AioContext::new().expect("descriptors for the reactor").enter();
        move || parallel(count, enter, || _ = black_box(bdrv_ready(black_box(7))))
    };
    run.sides(vec![
        Side::counted(Role::Ours, "at the cores", at(cores())),
        Side::counted(Role::Peer, "tokio handle", || {
            parallel(cores(), || (), || _ = black_box(handle.block_on(bdrv_co_ready(black_box(7)))))
        }),
        Side::counted(Role::Shown, "1 context", at(1)),
        Side::counted(Role::Shown, "16 contexts", at(16)),
        Side::counted(Role::Shown, "64 contexts", at(64)),
    ])
}

#[co_wrapper(mixed)]
async fn bdrv_co_nest(depth: usize, inner: &mut (dyn FnMut() + Send)) {
    if depth > 1 { bdrv_nest(depth - 1, inner) } else { inner() }
}

/// `call` at the top of so many others.
fn nested(run: Run<'_>, call: impl Fn() + Copy + Send + Sync) -> Vec<Measured> {
    let at = |depth: usize| {
        move |n| {
            let mut inner = || times(n, call);
            if depth > 1 { bdrv_nest(depth - 1, &mut inner) } else { inner() }
        }
    };
    run.sides(vec![
        Side::repeated(Role::Ours, "128 deep", at(128)),
        Side::repeated(Role::Peer, "1 deep", at(1)),
        Side::repeated(Role::Shown, "16 deep", at(16)),
    ])
}

fn idle_tasks(run: Run<'_>) -> Vec<Measured> {
    let contexts = [1, 1_000, 1_000_000].map(|tasks| {
        let context = AioContext::new().expect("descriptors for the reactor");
        (0..tasks).for_each(|_| drop(context.spawn(pending::<()>())));
        context.poll(false);
        context
    });
    let [one, thousand, million] = &contexts;
    let calls = |context: &AioContext, n| {
        let _guard = context.enter();
        times(n, || bdrv_wakes(10));
    };
    let measured = run.sides(vec![
        Side::repeated(Role::Ours, "10⁶ tasks", |n| calls(million, n)),
        Side::repeated(Role::Peer, "1 task", |n| calls(one, n)),
        Side::repeated(Role::Shown, "10³ tasks", |n| calls(thousand, n)),
    ]);
    contexts.iter().for_each(AioContext::close);
    measured
}

/// One thread that has entered so many contexts, and serves them all while it waits.
fn homes(run: Run<'_>, call: impl Fn() + Copy) -> Vec<Measured> {
    let contexts: Vec<_> = (0..64).map(|_| AioContext::new().expect("descriptors for the reactor")).collect();
    let at = |count| {
        let contexts = &contexts;
        move |n| {
            // Left in reverse order.
            fn entered(contexts: &[AioContext], then: &mut dyn FnMut()) {
                match contexts {
                    [] => then(),
                    [first, rest @ ..] => {
                        let _guard = first.enter();
                        entered(rest, then);
                    }
                }
            }
            entered(&contexts[..count], &mut || times(n, call));
        }
    };
    run.sides(vec![
        Side::repeated(Role::Ours, "64 contexts", at(64)),
        Side::repeated(Role::Peer, "1 context", at(1)),
        Side::repeated(Role::Shown, "8 contexts", at(8)),
    ])
}
