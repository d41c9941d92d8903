//! The fork rule. Every test forks in a process of its own, so that the test harness's threads and locks play no part.

#![cfg(all(unix, not(loom)))]

mod common;

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use co_wrapper_runtime::{
    __private::{Wrapper, poll_co_in},
    AioContext, IoThread, block_on, block_on_interruptible, hang, interrupt,
};
#[cfg(feature = "tokio")]
use common::sleeps;
use common::{BOUND, in_child, message_of, mixed, panic_of, plain, until_other_threads_sleep};

/// Forks. 0 in the child, which is ended by a signal if it hangs.
fn fork() -> i32 {
    // SAFETY: the child allocates and takes locks, which the C library makes fit for use after a fork; std's own, of
    // stderr, are free, for no other thread prints.
    let id = unsafe { libc::fork() };
    assert!(id >= 0);
    if id == 0 {
        // SAFETY: sets a timer.
        unsafe { libc::alarm(BOUND.as_secs() as u32) };
    }
    id
}

/// Ends the child without running what belongs to its parent.
fn exit(status: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(status) }
}

/// The status with which that child ended.
fn status_of(id: i32) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is there to be written.
    assert_eq!(unsafe { libc::waitpid(id, &mut status, 0) }, id);
    status
}

/// Forks, runs `child` there and returns the status with which it ended: 0 if it came to its end.
fn forked(child: impl FnOnce()) -> i32 {
    match fork() {
        0 => exit(i32::from(catch_unwind(AssertUnwindSafe(child)).is_err())),
        id => status_of(id),
    }
}

/// A call that waits for another thread.
#[track_caller]
fn wait() {
    let (tx, rx) = async_channel::bounded(1);
    let sender = thread::spawn(move || {
        thread::sleep(Duration::from_millis(2));
        tx.send_blocking(())
    });
    plain(rx.recv()).unwrap();
    sender.join().unwrap().unwrap();
}

/// What says that it is for the fork.
#[track_caller]
fn says_fork<T>(what: &str, call: impl FnOnce() -> T) {
    let message = panic_of(call);
    assert!(message.contains("fork"), "{what}: {message}");
}

#[test]
#[ignore = "a child's part"]
fn forks_after_use() {
    let ctx = AioContext::new().unwrap();
    let io = IoThread::spawn("io").unwrap();
    let mut guard = Some(ctx.enter());
    wait();
    // The child starts a thread.
    until_other_threads_sleep();
    let handle = interrupt::Handle::current();
    let status = forked(|| {
        // More often than a pipe has room for: nobody reads it here.
        for _ in 0..100_000 {
            handle.interrupt();
        }
        assert!(handle.is_pending());
        says_fork("interrupt::Handle::current", interrupt::Handle::current);
        says_fork("interrupt::take", interrupt::take);
        says_fork("block_on_interruptible", || block_on_interruptible(async {}));
        says_fork("a ready call", || plain(async {}));
        says_fork("a call that waits", wait);
        says_fork("a call in another context", || {
            let wrapper = &Wrapper { name: "remote", target: "co_remote", mixed: false };
            poll_co_in(wrapper, io.context(), (), |()| async {});
        });
        says_fork("poll", || ctx.poll(false));
        says_fork("poll_while", || ctx.poll_while(|| true));
        says_fork("block_on", || ctx.block_on(async {}));
        says_fork("block_on without a context", || block_on(async {}));
        #[cfg(feature = "tokio")]
        says_fork("reactor", co_wrapper_runtime::reactor);
        says_fork("enter", || drop(ctx.enter()));
        says_fork("current", AioContext::current);
        says_fork("spawn", || ctx.spawn(async {}));
        says_fork("schedule_bh", || ctx.schedule_bh(|| ()));
        assert!(AioContext::new().unwrap_err().to_string().contains("fork"));
        assert!(IoThread::spawn("none").unwrap_err().to_string().contains("fork"));
        assert!(hang::report().calls().is_empty());
        // In silence.
        drop(guard.take());
        drop(io);
        drop(ctx);
        says_fork("a thread of the child", || plain(async {}));
        says_fork("another thread", || match thread::spawn(|| plain(async {})).join() {
            Ok(()) => (),
            Err(payload) => std::panic::resume_unwind(payload),
        });
    });
    assert_eq!(status, 0);
    wait();
}

/// Catches: a child that uses what its parent's threads serve, or waits for them.
#[test]
fn fork_in_a_child_whatever_blocks_panics_and_says_so() {
    in_child("forks_after_use", &[]);
}

#[test]
#[ignore = "a child's part"]
fn forks_before_use() {
    let status = forked(|| {
        wait();
        let io = IoThread::spawn("io").unwrap();
        assert_eq!(AioContext::current().block_on(io.context().spawn(async { 42 })), 42);
    });
    assert_eq!(status, 0);
    wait();
}

/// Catches: a child refused though its parent had used nothing.
#[test]
fn fork_before_the_first_use_is_legal() {
    in_child("forks_before_use", &[]);
}

#[test]
#[ignore = "a child's part"]
fn forks_within_calls() {
    // co-check: allow — the test is about the panic
    let ready = plain(async { forked(|| says_fork("a nested call", || plain(async {}))) });
    assert_eq!(ready, 0);

    let mut id = None;
    let first_poll = |cx: &mut Context<'_>| {
        if id.is_some() {
            return Poll::Ready(());
        }
        let parent = std::process::id();
        // The child has the closure too, but its contexts are the parent's.
        AioContext::current().schedule_bh(move || {
            if std::process::id() != parent {
                exit(2);
            }
        });
        id = Some(fork());
        // The child's wake would not come.
        if id != Some(0) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    };
    let waited = catch_unwind(AssertUnwindSafe(|| plain(poll_fn(first_poll))));
    told_in_the_child(id.unwrap(), waited);

    let (tx, rx) = async_channel::bounded(1);
    AioContext::current().schedule_bh(move || match fork() {
        0 => std::mem::forget(tx),
        id => tx.try_send(id).unwrap(),
    });
    let parent = std::process::id();
    // The rest of the batch, which the child's copy of the queue has too.
    AioContext::current().schedule_bh(move || {
        if std::process::id() != parent {
            exit(2);
        }
    });
    let mut id = 0;
    let waited = catch_unwind(AssertUnwindSafe(|| id = plain(rx.recv()).unwrap()));
    told_in_the_child(id, waited);
}

fn told_in_the_child(id: i32, waited: thread::Result<()>) {
    if id == 0 {
        exit(i32::from(!waited.is_err_and(|payload| message_of(&*payload).contains("fork"))));
    }
    waited.unwrap();
    assert_eq!(status_of(id), 0);
}

/// Catches: a child that goes on waiting in a call of its parent's, or runs what its parent has queued.
#[test]
fn fork_within_a_call_its_wait_ends_in_the_child() {
    in_child("forks_within_calls", &[]);
}

#[test]
#[ignore = "a child's part"]
fn forks_while_locks_are_held() {
    let ctx = AioContext::new().unwrap();
    let bottom_half = ctx.bh(|| ());
    let stop = Arc::new(AtomicBool::new(false));
    // A context's locks are held most of the time.
    let busy = [true, true, false].map(|stats| {
        let (ctx, stop) = (ctx.clone(), Arc::clone(&stop));
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if stats { _ = ctx.stats() } else { drop(format!("{ctx:?}")) }
            }
        })
    });
    for _ in 0..100 {
        let (gives, waker) = mpsc::channel();
        let task = ctx.spawn(poll_fn::<(), _>(move |cx| {
            gives.send(cx.waker().clone()).unwrap();
            Poll::Pending
        }));
        ctx.poll(false);
        let waker = waker.recv().unwrap();
        // It sleeps, so that the next to notify it rings.
        ctx.block_on(ctx.sleep(Duration::from_millis(1)));
        let status = forked(|| {
            ctx.notify();
            bottom_half.schedule();
            bottom_half.cancel();
            waker.wake();
            drop(task.cancel());
            let _ = (ctx.stats(), format!("{ctx:?}"));
            ctx.close();
        });
        assert_eq!(status, 0);
    }
    stop.store(true, Ordering::Relaxed);
    busy.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Catches: a child that waits for a lock which a thread held that it does not have.
#[test]
fn fork_a_child_that_notifies_wakes_cancels_and_closes_waits_for_no_lock() {
    in_child("forks_while_locks_are_held", &[]);
}

#[test]
#[ignore = "a child's part"]
fn forks_in_tasks_while_locks_are_held() {
    let ctx = AioContext::new().unwrap();
    let _guard = ctx.enter();
    let stop = Arc::new(AtomicBool::new(false));
    let busy = [true, true, false].map(|stats| {
        let (ctx, stop) = (ctx.clone(), Arc::clone(&stop));
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                if stats {
                    ctx.stats();
                } else {
                    // The timers' lock.
                    let mut timer = Box::pin(ctx.sleep(Duration::from_secs(60)));
                    assert!(timer.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                }
            }
        })
    });
    for round in 0..100 {
        let here = ctx.clone();
        let task = ctx.spawn(async move {
            let timer = Box::pin(here.sleep(Duration::from_secs(60)));
            let mut timer = Some(timer);
            poll_fn(|cx| Poll::Ready(timer.as_mut().unwrap().as_mut().poll(cx).is_pending())).await;
            let id = fork();
            drop(timer.take());
            if id == 0 && round % 2 == 0 {
                // Its loop looks for more.
                std::future::pending::<()>().await;
            }
            id
        });
        let mut id = 0;
        // For the child's loop to find.
        drop(ctx.spawn(async {}));
        let waited = catch_unwind(AssertUnwindSafe(|| {
            // A nested call holds them back, and asks whether there are any.
            id = if round % 4 < 2 { plain(task) } else { plain(async { mixed(task) }) };
        }));
        // In the child the task's end is not told, or is, and then the next call says it.
        let waited = waited.and_then(|()| {
            catch_unwind(AssertUnwindSafe(|| {
                if id == 0 {
                    plain(async {})
                }
            }))
        });
        if waited.is_err() {
            id = 0;
        }
        told_in_the_child(id, waited);
    }
    stop.store(true, Ordering::Relaxed);
    busy.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Catches: a child that ends its task, or looks for more, under a lock that a thread held which it does not have.
#[test]
fn fork_a_child_within_a_task_waits_for_no_lock() {
    in_child("forks_in_tasks_while_locks_are_held", &[]);
}

#[cfg(feature = "tokio")]
mod shared_epoll {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
        sync::atomic::AtomicUsize,
    };

    use co_wrapper_runtime::Interest;

    use super::*;

    #[test]
    #[ignore = "a child's part"]
    fn forks_with_descriptors_watched() {
        static RUN: AtomicUsize = AtomicUsize::new(0);
        let ctx = AioContext::new().unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let watched = ours.try_clone().unwrap();
        let mut handler = Some(ctx.fd_handler(&watched, Interest::READABLE, move || {
            ours.read_exact(&mut [0; 5]).unwrap();
            RUN.fetch_add(1, Ordering::Relaxed);
        }));
        let hello = || {
            let ran = RUN.load(Ordering::Relaxed);
            let (mut theirs, asleep) = (theirs.try_clone().unwrap(), sleeps(&ctx));
            let sender = thread::spawn(move || {
                asleep();
                theirs.write_all(b"hello").unwrap();
            });
            ctx.poll_while(|| RUN.load(Ordering::Relaxed) == ran);
            sender.join().unwrap();
        };
        hello();
        for _ in 0..3 {
            let (ctx, handler) = (ctx.clone(), &mut handler);
            let status = forked(move || {
                drop(handler.take());
                says_fork("fd_handler", || ctx.fd_handler(std::io::stdin(), Interest::READABLE, || ()));
                drop(ctx);
            });
            assert_eq!(status, 0);
            hello();
            plain(async { tokio::time::sleep(Duration::from_millis(1)).await });
        }
    }

    /// Catches: a child that takes a descriptor out of the epoll set that it shares with its parent.
    #[test]
    fn fork_the_parents_reactor_goes_on() {
        in_child("shared_epoll::forks_with_descriptors_watched", &[]);
    }
}

#[cfg(feature = "graph")]
#[test]
#[ignore = "a child's part"]
fn forks_with_a_graph_in_use() {
    use std::pin::{Pin, pin};

    use co_wrapper_runtime::{
        __private::{arg, no_co_write},
        graph::{Drain, GraphLock},
    };

    fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }
    static CHANGE: Wrapper = Wrapper { name: "bdrv_co_change", target: "bdrv_change", mixed: false };

    let main = AioContext::main();
    let _home = main.enter();
    let (lock, free, node) = (GraphLock::new(), GraphLock::new(), Drain::new());
    let (guard, request) = main.block_on(async { (lock.read().await.hand_over(), node.begin().await) });
    drop(main.block_on(free.read()));
    // Queued: a writer, and behind it a reader; a section, and behind it a request.
    let mut change = Box::pin(no_co_write(&CHANGE, lock.clone(), (), |(), _| arg(())));
    assert!(poll_once(change.as_mut()).is_pending());
    main.poll(false);
    let (mut reader, mut section, mut queued) =
        (Box::pin(lock.read()), Box::pin(node.co_drained()), Box::pin(node.begin()));
    assert!(poll_once(reader.as_mut()).is_pending());
    assert!(poll_once(section.as_mut()).is_pending() && poll_once(queued.as_mut()).is_pending());
    let child = fork();
    if child == 0 {
        let ended = catch_unwind(AssertUnwindSafe(|| {
            says_fork("read", || poll_once(pin!(free.read())).is_ready());
            says_fork("read behind a writer", || poll_once(pin!(lock.read())).is_ready());
            says_fork("share", || lock.share());
            says_fork("write", || free.write());
            says_fork("drained", || node.drained());
            says_fork("co_drained", || poll_once(pin!(node.co_drained())).is_ready());
            says_fork("begin", || poll_once(pin!(node.begin())).is_ready());
            says_fork("what waited to read", || poll_once(reader.as_mut()).is_ready());
            says_fork("what waited to write", || poll_once(change.as_mut()).is_ready());
            says_fork("what waited to drain", || poll_once(section.as_mut()).is_ready());
            says_fork("what waited to begin", || poll_once(queued.as_mut()).is_ready());
            // In silence.
            drop((reader, change, section, queued));
            drop((request, guard));
            drop(free);
        }));
        exit(i32::from(ended.is_err()));
    }
    // The parent goes on as if nothing had been.
    assert_eq!(status_of(child), 0);
    drop((reader, section, guard, request));
    main.block_on(change);
    drop(main.block_on(queued));
}

#[cfg(feature = "graph")]
#[test]
fn fork_in_a_child_the_graph_is_left_alone() {
    in_child("forks_with_a_graph_in_use", &[]);
}
