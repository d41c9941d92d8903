//! Bottom halves: scheduled and run.

use std::{collections::VecDeque, hint::black_box, sync::Mutex};

use co_wrapper::AioContext;

use super::{Limit, Row, Run};
use co_wrapper_bench::measure::{Measured, Role, Side, times};

pub fn rows() -> Vec<Row> {
    vec![
        Row::time("bottom half scheduled and run", reusable).within(Limit::Value(30.0)),
        Row::time("one-shot bottom half scheduled and run", one_shot).within(Limit::Value(30.0)),
        Row::time("bottom half scheduled and run, one a poll", one_a_poll),
    ]
}

/// So many are scheduled before they are run.
const BATCH: usize = 64;

fn batches(n: u64, mut batch: impl FnMut()) {
    times(n.div_ceil(BATCH as u64), &mut batch);
}

/// The nearest thing elsewhere: a task for each, or a queue by hand.
fn others<'a>() -> Vec<Side<'a>> {
    let executor = smol::LocalExecutor::new();
    let queue = Mutex::new(VecDeque::<Box<dyn FnOnce() + Send>>::new());
    vec![
        Side::repeated(Role::Peer, "smol task", move |n| {
            batches(n, || {
                (0..BATCH).for_each(|n| executor.spawn(async move { _ = black_box(n) }).detach());
                while executor.try_tick() {}
            });
        }),
        Side::repeated(Role::Floor, "queue of boxes", move |n| {
            batches(n, || {
                let locked = || queue.lock().expect("nobody panics with it");
                (0..BATCH).for_each(|n| locked().push_back(Box::new(move || _ = black_box(n))));
                loop {
                    let next = locked().pop_front();
                    let Some(next) = next else { break };
                    next();
                }
            });
        }),
    ]
}

fn reusable(run: Run<'_>) -> Vec<Measured> {
    let context = AioContext::new().expect("descriptors for the reactor");
    let all: Vec<_> = (0..BATCH).map(|n| context.bh(move || _ = black_box(n))).collect();
    let mut sides = vec![Side::repeated(Role::Ours, "ours", |n| {
        let _guard = context.enter();
        batches(n, || {
            all.iter().for_each(co_wrapper::BottomHalf::schedule);
            context.poll(false);
        });
    })];
    sides.extend(others());
    run.sides(sides)
}

fn one_shot(run: Run<'_>) -> Vec<Measured> {
    let context = AioContext::new().expect("descriptors for the reactor");
    let mut sides = vec![Side::repeated(Role::Ours, "ours", |n| {
        let _guard = context.enter();
        batches(n, || {
            (0..BATCH).for_each(|n| context.schedule_bh(move || _ = black_box(n)));
            context.poll(false);
        });
    })];
    sides.extend(others());
    run.sides(sides)
}

fn one_a_poll(run: Run<'_>) -> Vec<Measured> {
    let context = AioContext::new().expect("descriptors for the reactor");
    let one = context.bh(|| ());
    run.sides(vec![
        Side::repeated(Role::Ours, "ours", |n| {
            let _guard = context.enter();
            times(n, || {
                one.schedule();
                context.poll(false)
            });
        }),
        Side::repeated(Role::Shown, "an empty poll", |n| {
            let _guard = context.enter();
            times(n, || context.poll(false));
        }),
    ])
}
