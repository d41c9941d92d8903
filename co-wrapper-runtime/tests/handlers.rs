//! Descriptor handlers: what line p02 of the contract says of them.

#![cfg(all(not(loom), feature = "tokio"))]

mod common;

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use co_wrapper_runtime::{AioContext, FdHandler, Interest};
use common::{panic_of, plain, within_bounds};

/// Catches: readiness taken from the reactor, which lags: right after a write it misses.
#[test]
fn p02_a_descriptor_made_ready_just_before_is_seen_by_poll_false() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let read = Arc::new(AtomicUsize::new(0));
        let (watched, counter) = (ours.try_clone().unwrap(), Arc::clone(&read));
        let _handler = ctx.fd_handler(&watched, Interest::READABLE, move || {
            ours.read_exact(&mut [0]).unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
        });
        for n in 0..200 {
            assert!(!ctx.poll(false), "nothing is ready");
            theirs.write_all(&[0]).unwrap();
            assert!(ctx.poll(false), "ready, and seen");
            assert_eq!(read.load(Ordering::Relaxed), n + 1);
        }
    });
}

/// Catches: an edge-triggered handler; a sleep that readiness does not end, or that only a first one does.
#[test]
fn p02_handlers_are_level_triggered_and_end_a_sleep() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let watched = ours.try_clone().unwrap();
        let _handler = ctx.fd_handler(&watched, Interest::READABLE, move || {
            // One byte a time, though more are there.
            ours.read_exact(&mut [0]).unwrap();
        });
        theirs.write_all(&[0; 3]).unwrap();
        for _ in 0..3 {
            assert!(ctx.poll(true));
        }
        assert!(!ctx.poll(false));
        for _ in 0..20 {
            let mut writer = theirs.try_clone().unwrap();
            let thread = thread::spawn(move || {
                thread::sleep(Duration::from_millis(2));
                writer.write_all(&[0]).unwrap();
            });
            assert!(ctx.poll(true));
            thread.join().unwrap();
        }
    });
}

/// Catches: a handler that a waiting call does not run, or runs as a coroutine.
#[test]
fn a_waiting_call_runs_handlers_as_callbacks() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let (tx, rx) = async_channel::bounded(1);
        let watched = ours.try_clone().unwrap();
        let _handler = ctx.fd_handler(&watched, Interest::READABLE, move || {
            let mut byte = [0];
            ours.read_exact(&mut byte).unwrap();
            assert!(!co_wrapper_runtime::in_coroutine());
            // It may block, and is not entered again meanwhile.
            plain(async_io::Timer::after(Duration::from_millis(2)));
            tx.try_send(byte[0]).unwrap();
        });
        let writer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            theirs.write_all(&[7]).unwrap();
            theirs
        });
        assert_eq!(plain(rx.recv()), Ok(7));
        writer.join().unwrap();
    });
}

/// Catches: a handler that outlives its guard, or that cannot be dropped by its own callback.
#[test]
fn a_dropped_handler_runs_no_more() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let itself: Arc<Mutex<Option<FdHandler>>> = Arc::default();
        let (place, runs) = (Arc::clone(&itself), Arc::new(AtomicUsize::new(0)));
        let counter = Arc::clone(&runs);
        let handler = ctx.fd_handler(&ours, Interest::READABLE, move || {
            counter.fetch_add(1, Ordering::Relaxed);
            drop(place.lock().unwrap().take());
        });
        *itself.lock().unwrap() = Some(handler);
        theirs.write_all(&[0]).unwrap();
        assert!(ctx.poll(false));
        assert!(!ctx.poll(false), "still readable, but nobody watches");
        assert_eq!((runs.load(Ordering::Relaxed), Arc::strong_count(&runs)), (1, 1));
    });
}

/// Catches: a handler whose panic comes back for ever, for its descriptor stays ready.
#[test]
fn a_handler_that_panics_is_removed() {
    let ctx = AioContext::new().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let _handler = ctx.fd_handler(&ours, Interest::READABLE, || panic!("of the handler"));
    theirs.write_all(&[0]).unwrap();
    assert_eq!(panic_of(|| ctx.poll(false)), "of the handler");
    assert!(!ctx.poll(false));
}

/// Catches: a regular file, which the kernel refuses to watch, taken for an error.
#[test]
fn a_regular_file_is_always_ready() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let file = fs::File::open(file!().rsplit('/').next().map(|name| format!("tests/{name}")).unwrap()).unwrap();
        let _handler = ctx.fd_handler(&file, Interest::READABLE, || ());
        assert!(ctx.poll(true));
        assert!(ctx.poll(true));
    });
}
