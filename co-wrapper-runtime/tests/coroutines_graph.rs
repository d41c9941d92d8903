//! Stackful coroutines and the block graph: drained sections, changes and requests, all of one thread, all blocking code. The
//! lines c06 and c09 of the contract.

#![cfg(all(feature = "coroutine", feature = "graph", feature = "tokio", not(any(loom, miri))))]

mod common;

use std::{
    future::Future,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use co_wrapper_runtime::{
    __private::{Wrapper, poll_co, read_lock, read_lock_mixed},
    AioContext, Coroutine, block_on,
    graph::{self, Drain, GraphLock},
};
use common::{main_loop::*, message_of, mixed, ms, panic_of, plain};
use futures::FutureExt;

/// A coroutine whose closure keeps the promise of `Coroutine::new`: it has no scope in a thread-local while a call waits.
#[track_caller]
fn coroutine<R>(f: impl FnOnce() -> R + 'static) -> Coroutine<R> {
    // SAFETY: as above.
    unsafe { Coroutine::new(f) }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    future.poll_unpin(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn c09_drained_sections_changes_and_requests_of_one_thread_end() {
    on_main(|main| {
        let lock = GraphLock::new();
        let nodes: Rc<Vec<Drain>> = Rc::new((0..3).map(|_| Drain::new()).collect());
        let (requests, sections, changes) =
            (Rc::new(AtomicUsize::new(0)), Rc::new(AtomicUsize::new(0)), Rc::new(AtomicUsize::new(0)));
        let mut all = Vec::new();
        for n in 0..60_usize {
            let (lock, nodes) = (lock.clone(), nodes.clone());
            let counter = [&requests, &sections, &changes, &requests][n % 4].clone();
            all.push(main.spawn_local(coroutine(move || {
                for round in 0..5 {
                    let node = &nodes[(n + round) % nodes.len()];
                    match n % 4 {
                        // A request, which waits in the middle, with the lock held.
                        0 | 3 => {
                            let _request = block_on(node.begin());
                            let _graph = block_on(lock.read());
                            plain(AioContext::current().sleep(ms(round as u64 % 2)));
                        }
                        // A drained section.
                        1 => {
                            let _drained = node.drained();
                            assert_eq!(node.in_flight(), 0);
                            mixed(AioContext::current().sleep(ms(1)));
                            assert_eq!(node.in_flight(), 0);
                        }
                        // A change of the graph: of the drained node.
                        _ => {
                            node.drained_begin();
                            {
                                let _changing = lock.write();
                                plain(AioContext::current().sleep(ms(1)));
                            }
                            node.drained_end();
                        }
                    }
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })));
        }
        all.into_iter().for_each(|task| main.block_on(task));
        let counts = [&requests, &sections, &changes].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts, [150, 75, 75]);
    });
}

/// Catches: calls that nest. The request's call would return only after the section's, which waits for the request.
#[test]
fn c09_a_section_waits_for_a_request_that_began_to_wait_first() {
    on_main(|main| {
        let node = Rc::new(Drain::new());
        let (tx, rx) = async_channel::bounded::<()>(1);
        let drains = Rc::new(std::cell::Cell::new(false));
        let (of_request, of_section, begins) = (node.clone(), node.clone(), drains.clone());
        let request = main.spawn_local(coroutine(move || {
            let _request = block_on(of_request.begin());
            assert!(plain(rx.recv()).is_err());
        }));
        let section = main.spawn_local(coroutine(move || {
            begins.set(true);
            drop(of_section.drained());
        }));
        let ends = main.spawn_local(async move {
            while !drains.get() {
                AioContext::current().sleep(ms(1)).await;
            }
            drop(tx);
        });
        [request, section, ends].into_iter().for_each(|task| main.block_on(task));
        assert_eq!(node.in_flight(), 0);
    });
}

/// Who holds the lock, while it polls a coroutine once. The guard is dropped then.
type Holds = (&'static str, fn(&GraphLock, &mut dyn FnMut()));

const HOLDS: &[Holds] = &[
    ("a thread that writes", |lock, polls| {
        let _graph = lock.write();
        polls();
    }),
    ("a thread that reads", |lock, polls| {
        let _graph = plain(lock.read());
        polls();
    }),
    ("a call that reads", |lock, polls| {
        plain(async {
            let _graph = lock.read().await;
            polls();
        });
    }),
    ("a coroutine that writes", |lock, polls| in_coroutine(lock, polls, true)),
    ("a coroutine that reads", |lock, polls| in_coroutine(lock, polls, false)),
];

/// Runs `polls` with that guard held, in a coroutine of its own.
fn in_coroutine(lock: &GraphLock, polls: &mut dyn FnMut(), writes: bool) {
    struct Polls<'a>(&'a mut dyn FnMut());
    let (lock, polls) = (lock.clone(), Polls(polls));
    // SAFETY: the coroutine has ended before `polls` ends.
    let polls: Polls<'static> = unsafe { std::mem::transmute(polls) };
    let holder = coroutine(move || {
        let polls = polls;
        if writes {
            let _graph = lock.write();
            (polls.0)();
        } else {
            let _graph = block_on(lock.read());
            (polls.0)();
        }
    });
    block_on(holder);
}

/// What the coroutine waits in.
type Wait = (&'static str, fn(&GraphLock));

const WAITS: &[Wait] = &[
    ("a write", |lock| drop(lock.write())),
    ("a write with a deadline", |lock| drop(lock.write_timeout(ms(1_000_000)).unwrap())),
    ("a read in a plain wrapper", |lock| drop(plain(lock.read()))),
    ("a read in a mixed wrapper", |lock| drop(mixed(lock.read()))),
    ("a read in `block_on`", |lock| drop(block_on(lock.read()))),
    ("a change in the main loop", |lock| block_on(change(lock, |_| ()))),
    ("a drained section", |_| drop(Drain::new().drained())),
];

/// A coroutine that waits keeps nobody's stack: so it may wait for a guard of the code that polls it, and gets the lock when
/// that drops it.
///
/// Catches: coroutines that are taken for blocking code and are refused (`Stack::is_at_root` that is always false).
#[test]
fn c09_a_coroutine_waits_for_the_guard_of_whoever_polls_it() {
    for &(holder, holds) in HOLDS {
        for &(wait, waits) in WAITS {
            on_main(move |main| {
                let lock = GraphLock::new();
                let own = lock.clone();
                let mut waiter = coroutine(move || waits(&own));
                let mut ended = false;
                let mut refused = None;
                holds(&lock, &mut || {
                    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut waiter)));
                    match polled {
                        Ok(polled) => ended = polled.is_ready(),
                        Err(payload) => refused = Some(message_of(&*payload).to_owned()),
                    }
                });
                assert_eq!(refused, None, "{wait}, polled by {holder}");
                if !ended {
                    main.block_on(waiter);
                }
            });
        }
    }
}

#[test]
fn c06_graph_guards_belong_to_their_coroutine() {
    on_main(|main| {
        let lock = GraphLock::new();
        let (tx, go) = async_channel::bounded::<()>(1);
        // A reader that is suspended with its guard.
        let (reads, held) = (lock.clone(), go.clone());
        let mut reader = coroutine(move || {
            let _graph = block_on(reads.read());
            assert!(plain(held.recv()).is_err());
        });
        assert!(poll(&mut reader).is_pending());
        let reader = main.spawn_local(reader);
        // Another coroutine writes, and the thread too: neither holds that guard, so both wait for it.
        let writes = lock.clone();
        let writer = main.spawn_local(coroutine(move || drop(writes.write())));
        main.schedule_bh(move || drop(tx));
        drop(lock.write());
        main.block_on(reader);
        main.block_on(writer);

        // A writer that is suspended with its guard. The thread's own call waits for it, and so does a reader.
        let (tx, go) = async_channel::bounded::<()>(1);
        let writes = lock.clone();
        let mut writer = coroutine(move || {
            let _graph = writes.write();
            assert!(plain(go.recv()).is_err());
        });
        assert!(poll(&mut writer).is_pending());
        let writer = main.spawn_local(writer);
        main.schedule_bh(move || drop(tx));
        let reads = lock.clone();
        let reader = main.spawn_local(coroutine(move || drop(block_on(reads.read()))));
        drop(plain(lock.read()));
        main.block_on(reader);
        main.block_on(writer);

        // A drained section beside a suspended writer is not inside its section.
        let (tx, go) = async_channel::bounded::<()>(1);
        let writes = lock.clone();
        let mut writer = coroutine(move || {
            let _graph = writes.write();
            assert!(plain(go.recv()).is_err());
        });
        assert!(poll(&mut writer).is_pending());
        drop(Drain::new().drained());
        drop(tx);
        main.block_on(writer);
    });
}

#[test]
fn c06_a_coroutine_that_would_wait_for_itself_panics() {
    on_main(|main| {
        let lock = GraphLock::new();
        let own = lock.clone();
        let messages = coroutine(move || {
            let read = block_on(own.read());
            let write_below_read = panic_of(|| own.write());
            drop(read);
            let _write = own.write();
            plain(AioContext::current().sleep(ms(1)));
            let read_below_write = panic_of(|| block_on(own.read()));
            let write_below_write = panic_of(|| own.write());
            let node = Drain::new();
            let drain_below_write = panic_of(|| node.drained());
            [write_below_read, read_below_write, write_below_write, drain_below_write]
        });
        let messages = main.block_on(messages);
        for (message, says) in
            messages.iter().zip(["the read guard taken at", "write-locked at", "write-locked at", "write-locked at"])
        {
            assert!(message.contains(says), "{messages:#?}");
        }
        drop(lock.write());
    });
}

/// As in QEMU: a mixed wrapper with the read lock shares its caller's in a coroutine, and takes it elsewhere.
#[test]
fn c06_a_mixed_wrapper_shares_the_lock_of_its_coroutine() {
    static RDLOCK: Wrapper = Wrapper { name: "bdrv_x", target: "bdrv_co_x", mixed: true };
    let call = |lock: &GraphLock, mixed: bool| {
        let guard = if mixed { read_lock_mixed("bdrv_x", lock) } else { read_lock("bdrv_x", lock) };
        poll_co(&RDLOCK, guard, |guard| async move {
            let _graph = guard.read().await;
            AioContext::current().sleep(ms(1)).await;
            7
        })
    };
    on_main(move |main| {
        let lock = GraphLock::new();
        let own = lock.clone();
        let calls = main.spawn_local(coroutine(move || {
            let message = panic_of(|| call(&own, true));
            assert!(message.contains("nobody holds the read lock"), "{message}");
            assert_eq!(call(&own, false), 7);
            let _graph = block_on(own.read());
            assert_eq!((call(&own, true), call(&own, false)), (7, 7));
        }));
        main.block_on(calls);
    });
}

/// A bottom half that changes the graph for a coroutine, which holds nothing.
#[test]
fn c09_a_change_in_the_main_loop_is_awaited_in_a_coroutine() {
    on_main(|main| {
        let lock = GraphLock::new();
        let changed = Arc::new(AtomicUsize::new(0));
        let all: Vec<_> = (0..20)
            .map(|n| {
                let (lock, changed) = (lock.clone(), changed.clone());
                main.spawn_local(coroutine(move || {
                    if n % 2 == 0 {
                        block_on(change(&lock, move |_| _ = changed.fetch_add(1, Ordering::Relaxed)));
                    } else {
                        let _graph = block_on(lock.read());
                        plain(AioContext::current().sleep(ms(1)));
                    }
                }))
            })
            .collect();
        all.into_iter().for_each(|task| main.block_on(task));
        assert_eq!(changed.load(Ordering::Relaxed), 10);
        drop(graph::read());
    });
}
