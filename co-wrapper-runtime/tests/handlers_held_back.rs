//! Nested waits hold descriptor handlers back: the line p08 of the contract.

#![cfg(all(not(loom), feature = "tokio"))]

mod common;
#[path = "common/waiting.rs"]
mod waiting;

use std::{
    future::poll_fn,
    io::{self, Read, Write},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
};

use co_wrapper_runtime::{AioContext, Interest};
use common::{mixed, within_bounds};
use waiting::{DEEP, below, readable, rounds};

/// Waits for a few rounds, so that the handler which counts its `runs` is held back. Where the machine keeps this thread
/// waiting for longer than the loop's patience the handler runs, and `again` makes its descriptor ready again.
fn hold_back(runs: &AtomicUsize, again: impl Fn()) {
    for _ in 0..1_000 {
        mixed(rounds(3));
        if runs.swap(0, Ordering::Relaxed) == 0 {
            return;
        }
        again();
    }
    panic!("it is not held back");
}

/// Catches: a handler that a nested wait neither runs nor takes when its patience ends.
#[test]
fn p08_a_call_waits_for_a_handler_at_any_depth() {
    for calls in [0, 1, 14, 15, 16, 17, 40] {
        within_bounds(move || {
            let ctx = AioContext::new().unwrap();
            let _home = ctx.enter();
            let (mut ours, theirs) = readable();
            let (tx, rx) = async_channel::bounded(1);
            let watched = ours.try_clone().unwrap();
            let _handler = ctx.fd_handler(&watched, Interest::READABLE, move || {
                let mut byte = [0];
                ours.read_exact(&mut byte).unwrap();
                tx.try_send(byte[0]).unwrap();
            });
            below(calls, &mut || assert_eq!(mixed(rx.recv()), Ok(b'x')));
            drop(theirs);
        });
    }
}

/// Catches: handlers that are taken before or after everything else that was held back, whatever came first.
#[test]
fn p08_what_is_held_back_is_taken_in_the_order_in_which_it_came() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let order: Arc<Mutex<Vec<&str>>> = Arc::default();
        let says = |what| {
            let order = Arc::clone(&order);
            move || order.lock().unwrap().push(what)
        };
        let (mut ours, theirs) = readable();
        let watched = ours.try_clone().unwrap();
        let run = says("handler");
        let mut handler = None;
        let (tx, rx) = async_channel::bounded::<()>(1);
        below(DEEP, &mut || {
            ctx.schedule_bh(says("before"));
            let (mut ours, run) = (ours.try_clone().unwrap(), run.clone());
            handler = Some(ctx.fd_handler(&watched, Interest::READABLE, move || {
                ours.read_exact(&mut [0]).unwrap();
                run();
            }));
            let (tx, after) = (tx.clone(), says("after"));
            let mut polls = 0;
            mixed(poll_fn(|cx| {
                polls += 1;
                match polls {
                    // A round comes between two polls.
                    1 | 2 => cx.waker().wake_by_ref(),
                    3 => {
                        let (tx, after) = (tx.clone(), after.clone());
                        ctx.schedule_bh(move || {
                            after();
                            tx.try_send(()).unwrap();
                        });
                        cx.waker().wake_by_ref();
                    }
                    _ => return Poll::Ready(()),
                }
                Poll::Pending
            }));
            mixed(rx.recv()).unwrap();
        });
        assert_eq!(*order.lock().unwrap(), ["before", "handler", "after"]);
        ours.set_nonblocking(true).unwrap();
        assert_eq!(ours.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(theirs);
    });
}

/// Catches: a loop that burns a processor because a handler which it holds back is ready again each time that it is taken.
#[test]
fn p08_a_handler_that_stays_ready_is_held_back_anew() {
    const RUNS: usize = 20;
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let (ours, _theirs) = readable();
        // Alone, and where another is held back meanwhile and each run moves something.
        for (count, message_every) in [(1, RUNS), (2, 1)] {
            let (tx, rx) = async_channel::unbounded();
            let handler = || {
                let (tx, mut runs) = (tx.clone(), 0);
                ctx.fd_handler(&ours, Interest::READABLE, move || {
                    runs += 1;
                    if runs % message_every == 0 {
                        tx.try_send(()).unwrap();
                    }
                })
            };
            let _handlers: Vec<_> = std::iter::repeat_with(handler).take(count).collect();
            let before = ctx.stats();
            below(DEEP, &mut || {
                mixed(async {
                    for _ in 0..RUNS / message_every {
                        rx.recv().await.unwrap();
                    }
                });
            });
            let after = ctx.stats();
            let (parks, polls) = (after.parks - before.parks, after.polls - before.polls);
            // One or two, if it did not sleep before each run; one less for each that a busy machine makes it wait for.
            assert!(parks > 4, "{parks} sleeps for {RUNS} runs");
            assert!(polls < 40 * RUNS as u64, "{polls} polls for {RUNS} runs");
        }
    });
}

/// Catches: a handler that is forgotten when the wait that held it back ends before it was taken, also where the next to
/// poll is another thread.
#[test]
fn p08_a_handler_outlives_the_wait_that_held_it_back() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let home = ctx.enter();
        let (mut ours, theirs) = readable();
        let watched = ours.try_clone().unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&runs);
        let handler = ctx.fd_handler(&watched, Interest::READABLE, move || {
            ours.read_exact(&mut [0]).unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
        });
        below(DEEP, &mut || hold_back(&runs, || (&theirs).write_all(b"x").unwrap()));
        drop(home);
        let there = ctx.clone();
        assert!(thread::spawn(move || there.poll(false)).join().unwrap());
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        // And it watches as before.
        assert!(!ctx.poll(false));
        (&theirs).write_all(b"y").unwrap();
        assert!(ctx.poll(true));
        assert_eq!(runs.load(Ordering::Relaxed), 2);
        drop(handler);
    });
}

/// Catches: a handler that is called, and blocks, when its turn comes at last, though what it was held back with was read
/// meanwhile.
#[test]
fn p08_a_held_back_handler_is_not_called_for_what_was_read_meanwhile() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let (ours, theirs) = readable();
        let runs = Arc::new(AtomicUsize::new(0));
        let (counter, mut reads) = (Arc::clone(&runs), ours.try_clone().unwrap());
        let _handler = ctx.fd_handler(&ours, Interest::READABLE, move || {
            reads.read_exact(&mut [0]).unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let (tx, rx) = async_channel::bounded(1);
        below(DEEP, &mut || {
            hold_back(&runs, || (&theirs).write_all(b"x").unwrap());
            (&ours).read_exact(&mut [0]).unwrap();
            // Its turn comes after the handler's.
            let tx = tx.clone();
            ctx.schedule_bh(move || tx.try_send(()).unwrap());
            mixed(rx.recv()).unwrap();
        });
        assert_eq!(runs.load(Ordering::Relaxed), 0);
        (&theirs).write_all(b"y").unwrap();
        assert!(ctx.poll(true));
        assert_eq!(runs.load(Ordering::Relaxed), 1);
    });
}
