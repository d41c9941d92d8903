//! Drained sections: a node's requests, and the sections that wait for them to end.

#![cfg(feature = "graph")]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use co_wrapper_runtime::{
    IoThread,
    graph::{Drain, GraphLock},
};
use common::{
    main_loop::{at, on_main, poll_once},
    panic_of,
};

#[test]
fn drain_waits_by_polling_until_nothing_is_in_flight() {
    on_main(|main| {
        let node = Arc::new(Drain::new());
        let ended = Arc::new(AtomicUsize::new(0));
        let io = IoThread::spawn("io").unwrap();
        let mut tasks = Vec::new();
        for ctx in [&main, io.context()] {
            for n in 1..5 {
                let (node, ended, ctx2) = (Arc::clone(&node), Arc::clone(&ended), ctx.clone());
                tasks.push(ctx.spawn(async move {
                    let _request = node.begin().await;
                    ctx2.sleep(Duration::from_millis(5 * n)).await;
                    ended.fetch_add(1, Ordering::SeqCst);
                }));
            }
        }
        while node.in_flight() < 8 && ended.load(Ordering::SeqCst) == 0 {
            main.poll(false);
        }
        let section = node.drained();
        let before = ended.load(Ordering::SeqCst);
        assert_eq!(node.in_flight(), 0);
        drop(section);
        for task in tasks {
            main.block_on(task);
        }
        assert!(before > 0 && ended.load(Ordering::SeqCst) == 8);
    });
}

#[test]
fn drain_queues_requests_and_the_last_end_lets_them_go_on_without_polling() {
    on_main(|main| {
        let node = Arc::new(Drain::new());
        node.drained_begin();
        let nested = node.drained();
        let queued = Arc::clone(&node);
        let task = main.spawn(async move {
            let _request = queued.begin().await;
        });
        let mut cancelled = Box::pin(node.begin());
        assert!(poll_once(cancelled.as_mut()).is_pending());
        drop(cancelled);
        main.poll(false);
        drop(nested);
        main.poll(false);
        assert!(!task.is_finished() && node.in_flight() == 0, "a section is still drained");
        let polled = Arc::new(AtomicBool::new(false));
        let bottom_half = Arc::clone(&polled);
        main.schedule_bh(move || bottom_half.store(true, Ordering::Relaxed));
        node.drained_end();
        assert!(!polled.load(Ordering::Relaxed) && !task.is_finished(), "an end that polls");
        main.block_on(task);
        assert!(panic_of(|| node.drained_end()).contains("no section is drained"));
        drop(node.drained());
    });
}

#[test]
fn drain_in_a_coroutine_yields() {
    on_main(|main| {
        let node = Arc::new(Drain::new());
        let (reading, draining) = (Arc::clone(&node), Arc::clone(&node));
        let (ends, may_end) = async_channel::bounded(1);
        let request = main.spawn(async move {
            let _request = reading.begin().await;
            may_end.recv().await.unwrap();
        });
        main.poll(false);
        let drainer = main.spawn(async move {
            // co-check: allow — the test is about the panic
            let refused = panic_of(|| draining.drained());
            let _section = draining.co_drained().await;
            (refused, draining.in_flight())
        });
        main.poll(false);
        assert!(!drainer.is_finished());
        ends.try_send(()).unwrap();
        let (refused, in_flight) = main.block_on(drainer);
        assert!(refused.contains("co_drained"), "{refused}");
        assert_eq!(in_flight, 0);
        main.block_on(request);
        // Taken back before it began, it leaves no section.
        let held = main.block_on(node.begin());
        let mut cancelled = Box::pin(node.co_drained());
        assert!(poll_once(cancelled.as_mut()).is_pending());
        drop(cancelled);
        drop((main.block_on(node.begin()), held));
    });
}

#[test]
fn drain_within_a_write_locked_section_the_place_named_is_that_of_a_write_guard_which_lives() {
    on_main(|_| {
        let (lock, other, node) = (GraphLock::new(), GraphLock::new(), Drain::new());
        let writer = line!() + 1;
        let guard = lock.write();
        drop(other.write());
        let message = panic_of(|| node.drained());
        assert!(message.contains(&at(writer)), "{message}");
        drop(guard);
        drop(node.drained());
    });
}

#[test]
fn drain_within_a_write_locked_section_is_refused_with_both_places() {
    on_main(|main| {
        let (lock, node) = (GraphLock::new(), Drain::new());
        let writer = line!() + 1;
        let guard = lock.write();
        let drainer = line!() + 1;
        let message = panic_of(|| node.drained());
        assert!(message.contains(&at(writer)) && message.contains(&at(drainer)), "{message}");
        let message = panic_of(|| main.block_on(node.co_drained()));
        assert!(message.contains(&at(writer)), "{message}");
        drop(guard);
        // The other way round is how it is meant.
        let section = node.drained();
        drop((lock.write(), section));
    });
}
