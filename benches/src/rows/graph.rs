//! The graph lock: taken to read and given back, while nobody writes.

use std::{
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use co_wrapper::graph::GraphLock;

use super::{Limit, Row, Run};
use co_wrapper_bench::measure::{Measured, Role, Side, times};

pub fn rows() -> Vec<Row> {
    vec![Row::time("graph lock read and unlocked", reads).within(Limit::Value(20.0))]
}

/// What is ready at once.
fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nobody writes"),
    }
}

fn reads(run: Run<'_>) -> Vec<Measured> {
    let ours = GraphLock::new();
    let (tokio, smol, std) = (tokio::sync::RwLock::new(()), smol::lock::RwLock::new(()), std::sync::RwLock::new(()));
    run.sides(vec![
        Side::repeated(Role::Ours, "ours", |n| times(n, || drop(black_box(now(ours.read()))))),
        Side::repeated(Role::Peer, "tokio RwLock", |n| times(n, || drop(black_box(now(tokio.read()))))),
        Side::repeated(Role::Peer, "smol RwLock", |n| times(n, || drop(black_box(now(smol.read()))))),
        Side::repeated(Role::Floor, "std RwLock", |n| {
            times(n, || drop(black_box(std.read().expect("nobody panics with it"))));
        }),
    ])
}
