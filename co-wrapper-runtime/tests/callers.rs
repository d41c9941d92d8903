//! Random calls, with or without timeouts and nested, among threads that are temporary or permanent homes of each
//! other's contexts. Every call ends, and nothing is left behind.
//!
//! `CO_WRAPPER_SEED=7 CO_WRAPPER_ROUNDS=1000 cargo test -p co-wrapper-runtime --test callers`

#![cfg(not(loom))]

mod common;
#[path = "common/rounds.rs"]
mod rounds;

use std::{
    future::{pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use co_wrapper_runtime::{
    __private::{Wrapper, poll_co_in, poll_co_in_timeout},
    AioContext,
};
use common::message_of;
use fastrand::Rng;
use rounds::rounds;

static CALL: Wrapper = Wrapper { name: "call", target: "co_call", mixed: true };

/// The refusal of a call in a context whose home is elsewhere or has left.
fn refused_at_most(act: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(act)) {
        let message = message_of(&*payload);
        let foreseen = ["is polled by thread", "or its home thread left it"];
        assert!(foreseen.iter().any(|part| message.contains(part)), "{message}");
    }
}

/// A future that is pending so many times, and is woken at once or by another thread.
async fn wait(mut times: usize, wakers: &Mutex<Vec<Waker>>) {
    poll_fn(move |cx| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        if times.is_multiple_of(2) {
            cx.waker().wake_by_ref();
        } else {
            wakers.lock().unwrap().push(cx.waker().clone());
        }
        Poll::Pending
    })
    .await;
}

/// A call in a context, which may make another in another.
fn call(contexts: &[AioContext], wakers: &Mutex<Vec<Waker>>, mut rng: Rng) {
    let context = &contexts[rng.usize(..contexts.len())];
    let deadline = Duration::from_micros(rng.u64(..3000));
    let waits = rng.usize(..4);
    let _ = poll_co_in_timeout(&CALL, context, deadline, rng, |mut rng| async move {
        wait(waits, wakers).await;
        if rng.bool() {
            let other = &contexts[rng.usize(..contexts.len())];
            if rng.bool() {
                poll_co_in(&CALL, other, (), |()| async {});
            } else {
                let _ = poll_co_in_timeout(&CALL, other, Duration::from_micros(200), (), |()| async {});
            }
        }
    });
}

fn run(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let contexts: Vec<_> = (0..2 + rng.usize(..2)).map(|_| AioContext::new().unwrap()).collect();
    let wakers = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for mut rng in (0..4).map(|_| rng.fork()).collect::<Vec<_>>() {
            let (contexts, wakers) = (&contexts, &wakers);
            scope.spawn(move || {
                for _ in 0..20 {
                    let context = &contexts[rng.usize(..contexts.len())];
                    match rng.usize(..6) {
                        0..3 => refused_at_most(|| call(contexts, wakers, rng.fork())),
                        3 => {
                            let come_by = std::mem::take(&mut *wakers.lock().unwrap());
                            come_by.into_iter().for_each(Waker::wake);
                        }
                        4 => refused_at_most(|| _ = context.poll(false)),
                        _ => refused_at_most(|| {
                            let _guard = context.enter();
                            drop(context.spawn_local(pending::<()>()));
                            context.poll(false);
                        }),
                    }
                }
            });
        }
    });
    for context in &contexts {
        context.close();
        assert_eq!((context.stats().tasks_live, context.stats().tasks_leaked), (0, 0), "{context}");
    }
}

#[test]
fn random_calls_among_homes_that_come_and_go_all_end() {
    rounds(run);
}
