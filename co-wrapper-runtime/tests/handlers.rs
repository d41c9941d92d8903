//! Descriptor handlers: the lines p02 and p08 of the contract. The table in `descriptors.rs` says which event makes a
//! handler run; `handlers_held_back.rs` tests handlers in nested waits.

#![cfg(all(not(loom), feature = "tokio"))]

mod common;
#[path = "common/waiting.rs"]
mod waiting;

use std::{
    fs,
    io::{self, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use co_wrapper_runtime::{AioContext, FdHandler, Interest, IoThread};
use common::{panic_of, plain, within_bounds};
use waiting::{readable, sleeps};

/// Returns when the reactor has seen whatever happened before.
fn reactor_has_seen() {
    for _ in 0..2 {
        let (ours, _theirs) = readable();
        ours.set_nonblocking(true).unwrap();
        plain(async { tokio::net::UnixStream::from_std(ours).unwrap().readable().await }).unwrap();
    }
}

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
            let (asleep, mut writer) = (sleeps(&ctx), theirs.try_clone().unwrap());
            let thread = thread::spawn(move || {
                asleep();
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
        let (watched, home) = (ours.try_clone().unwrap(), ctx.clone());
        let _handler = ctx.fd_handler(&watched, Interest::READABLE, move || {
            let mut byte = [0];
            ours.read_exact(&mut byte).unwrap();
            assert!(!co_wrapper_runtime::in_coroutine());
            // It may block, and is not entered again meanwhile.
            let (asleep, (end, ended)) = (sleeps(&home), async_channel::bounded::<()>(1));
            thread::spawn(move || {
                asleep();
                drop(end);
            });
            assert!(plain(ended.recv()).is_err());
            tx.try_send(byte[0]).unwrap();
        });
        let asleep = sleeps(&ctx);
        let writer = thread::spawn(move || {
            asleep();
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

/// Catches: a handler that panics again and again, because its descriptor stays ready.
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

/// Catches: a handler that is called though another has read what was there, and then blocks; one that is not called when
/// there is something again.
#[test]
fn p08_two_handlers_of_one_descriptor_share_what_comes() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let _handlers = [(); 2].map(|()| {
            let (mut reads, runs) = (ours.try_clone().unwrap(), Arc::clone(&runs));
            ctx.fd_handler(&ours, Interest::READABLE, move || {
                reads.read_exact(&mut [0]).unwrap();
                runs.fetch_add(1, Ordering::Relaxed);
            })
        });
        for n in 1..100 {
            (&theirs).write_all(b"x").unwrap();
            assert!(ctx.poll(true));
            assert_eq!(runs.load(Ordering::Relaxed), n);
            assert!(!ctx.poll(false));
        }
    });
}

/// Catches: one that is always ready and takes every turn, where its runs wake the call that waits.
#[test]
fn p08_handlers_that_are_always_ready_starve_nobody() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let (ours, _theirs) = readable();
        let (tx, rx) = async_channel::unbounded();
        let _first = ctx.fd_handler(&ours, Interest::READABLE, move || tx.try_send(()).unwrap());
        let others = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
        let up = |count: &Arc<AtomicUsize>| {
            let count = Arc::clone(count);
            move || _ = count.fetch_add(1, Ordering::Relaxed)
        };
        let _second = ctx.fd_handler(&ours, Interest::READABLE, up(&others[0]));
        let (again, run) = (ctx.clone(), up(&others[1]));
        fn schedule(ctx: AioContext, run: impl Fn() + Send + Clone + 'static) {
            ctx.clone().schedule_bh(move || {
                run();
                schedule(ctx, run);
            });
        }
        schedule(again, run);
        let run = up(&others[2]);
        drop(ctx.spawn(async move {
            loop {
                run();
                tokio::task::yield_now().await;
            }
        }));
        plain(async {
            for _ in 0..300 {
                rx.recv().await.unwrap();
                // So that each poll waits for a run of the first.
                while rx.try_recv().is_ok() {}
            }
        });
        for count in &others {
            assert!(count.load(Ordering::Relaxed) > 50, "{others:?}");
        }
        // The context holds a bottom half that holds it.
        ctx.close();
    });
}

/// Catches: a hang-up that is remembered after it is over, as by the reactor: a FIFO that somebody opens again hangs up no
/// more.
#[test]
#[cfg(target_os = "linux")]
fn p08_a_hang_up_that_is_over_makes_nothing_ready() {
    use std::os::unix::fs::OpenOptionsExt;

    within_bounds(|| {
        let path = std::env::temp_dir().join(format!("co-wrapper-fifo-{}", std::process::id()));
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a string that ends with 0.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let mut reader = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let open = || fs::OpenOptions::new().write(true).open(&path).unwrap();
        let writer = open();
        let ctx = AioContext::new().unwrap();
        let runs = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&runs);
        let _handler = ctx.fd_handler(&reader, Interest::READABLE, move || _ = counter.fetch_add(1, Ordering::Relaxed));
        drop(writer);
        reactor_has_seen();
        assert!(ctx.poll(true), "nobody has it open");
        let mut writer = open();
        fs::remove_file(&path).unwrap();
        assert!(!ctx.poll(false), "somebody has");
        let asleep = sleeps(&ctx);
        let elsewhere = thread::spawn(move || {
            asleep();
            writer.write_all(b"x").unwrap();
            writer
        });
        let before = ctx.stats().polls;
        assert!(ctx.poll(true));
        assert!(ctx.stats().polls - before < 20, "it slept");
        assert_eq!((reader.read(&mut [0; 2]).unwrap(), runs.load(Ordering::Relaxed)), (1, 2));
        elsewhere.join().unwrap();
    });
}

/// Catches: a hang-up that keeps a nested wait from its sleep.
#[test]
fn p08_a_peer_that_hung_up_does_not_hold_up_nested_waits() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let _handler = ctx.fd_handler(&ours, Interest::READABLE, || ());
        drop(theirs);
        reactor_has_seen();
        let c = ctx.clone();
        ctx.schedule_bh(move || {
            let inner = c.clone();
            c.block_on(async { inner.block_on(inner.sleep(Duration::from_millis(1))) });
        });
        assert!(ctx.poll(true));
    });
}

/// Catches: a descriptor that stays open in the sleep of a thread which watched it, so that its peer sees no end.
#[test]
fn p08_a_handler_that_is_removed_while_its_home_sleeps_closes_its_descriptor() {
    within_bounds(|| {
        let io = IoThread::spawn("io").unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        // Once it has slept, it sleeps again only when it has seen the handler.
        while io.context().stats().parks == 0 {
            thread::yield_now();
        }
        let asleep = sleeps(io.context());
        let handler = io.context().fd_handler(&ours, Interest::READABLE, || ());
        drop(ours);
        asleep();
        drop(handler);
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
    });
}

/// Catches: a sleep that watches the descriptors of one context only.
#[test]
fn p08_a_thread_watches_for_all_its_contexts() {
    within_bounds(|| {
        let contexts = [(); 3].map(|()| AioContext::new().unwrap());
        let _homes = contexts.each_ref().map(AioContext::enter);
        let (tx, rx) = async_channel::unbounded();
        let pairs = [(); 3].map(|()| UnixStream::pair().unwrap());
        let mut handlers = Vec::new();
        for (n, (ctx, (ours, _))) in contexts.iter().zip(&pairs).enumerate() {
            let (tx, mut reads) = (tx.clone(), ours.try_clone().unwrap());
            handlers.push(ctx.fd_handler(ours, Interest::READABLE, move || {
                reads.read_exact(&mut [0]).unwrap();
                tx.try_send(n).unwrap();
            }));
        }
        for (n, (_, theirs)) in pairs.iter().enumerate() {
            // The innermost is the one that counts.
            let (asleep, mut writes) = (sleeps(&contexts[2]), theirs.try_clone().unwrap());
            let elsewhere = thread::spawn(move || {
                asleep();
                writes.write_all(b"x").unwrap();
            });
            assert_eq!(plain(rx.recv()), Ok(n));
            elsewhere.join().unwrap();
        }
    });
}

/// Catches: a wake that does not reach a thread which sleeps over descriptors.
#[test]
fn p08_a_thread_that_watches_descriptors_loses_no_wake() {
    const TURNS: usize = 5_000;
    within_bounds(|| {
        let ((to, from), (back, forth)) = (async_channel::bounded(1), async_channel::bounded(1));
        let play = |to: async_channel::Sender<usize>, from: async_channel::Receiver<usize>| {
            let ctx = AioContext::new().unwrap();
            let _home = ctx.enter();
            let (ours, _theirs) = UnixStream::pair().unwrap();
            let _handler = ctx.fd_handler(&ours, Interest::READABLE, || unreachable!("nothing comes"));
            while let Ok(n) = plain(from.recv()) {
                if to.try_send(n + 1).is_err() || n >= TURNS {
                    break;
                }
            }
        };
        to.try_send(0).unwrap();
        let other = thread::spawn(move || play(back, from));
        play(to, forth);
        other.join().unwrap();
    });
}

/// Catches: a sleep that does not end, or a loop that does not sleep, because a peer closes just when its thread goes to
/// sleep.
#[test]
fn p08_peers_that_close_as_a_thread_goes_to_sleep_are_all_seen() {
    const CLOSES: usize = 4_000;
    within_bounds(|| {
        let io = IoThread::spawn("io").unwrap();
        let (tells, told) = mpsc::channel();
        let before = io.context().stats().polls;
        for n in 0..CLOSES {
            let (ours, theirs): (OwnedFd, OwnedFd) = if n % 2 == 0 {
                UnixStream::pair().map(|(ours, theirs)| (ours.into(), theirs.into())).unwrap()
            } else {
                io::pipe().map(|(reader, writer)| (reader.into(), writer.into())).unwrap()
            };
            let itself: Arc<Mutex<Option<FdHandler>>> = Arc::default();
            let (place, tells) = (Arc::clone(&itself), tells.clone());
            let mut removed = itself.lock().unwrap();
            *removed = Some(io.context().fd_handler(&ours, Interest::READABLE, move || {
                drop(place.lock().unwrap().take());
                tells.send(n).unwrap();
            }));
            drop(removed);
            // It was woken for the handler, and goes to sleep about now.
            (0..fastrand::usize(..2_000)).for_each(|_| std::hint::spin_loop());
            drop(theirs);
            assert_eq!(told.recv(), Ok(n));
        }
        let polls = io.context().stats().polls - before;
        assert!(polls < 100 * CLOSES as u64, "{polls} polls for {CLOSES} closes: the thread did not sleep");
    });
}

/// Catches: a handler that keeps its context, or runs, after that was closed; a closed one's descriptor that keeps its home
/// thread awake.
#[test]
fn closing_a_context_removes_its_handlers() {
    within_bounds(|| {
        for before in [true, false] {
            let ctx = AioContext::new().unwrap();
            let (ours, _theirs) = readable();
            let runs = Arc::new(AtomicUsize::new(0));
            if !before {
                ctx.close();
            }
            let (counter, keeps) = (Arc::clone(&runs), ctx.clone());
            let handler = ctx.fd_handler(&ours, Interest::READABLE, move || {
                counter.fetch_add(1, Ordering::Relaxed);
                keeps.notify();
            });
            ctx.close();
            assert_eq!(Arc::strong_count(&runs), 1, "the callback was dropped");
            assert!(!ctx.poll(false));
            ctx.notify();
            assert!(!ctx.poll(true));
            drop(handler);
            assert_eq!(runs.load(Ordering::Relaxed), 0);
        }
    });
}

/// Catches: a descriptor that cannot be watched, and so would be ready for ever.
#[test]
#[cfg(target_os = "linux")]
fn a_descriptor_that_cannot_be_polled_is_refused() {
    use std::os::unix::fs::OpenOptionsExt;

    let ctx = AioContext::new().unwrap();
    let path = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH).open("/").unwrap();
    let message = panic_of(|| ctx.fd_handler(&path, Interest::READABLE, || ()));
    assert!(message.contains("cannot watch the descriptor"), "{message}");
}
