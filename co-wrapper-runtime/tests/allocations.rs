//! Contract w01: what a call allocates, and what a thread leaves allocated. A test binary of its own, for its allocator counts.

#![cfg(not(loom))]

mod common;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    thread,
};

use co_wrapper_runtime::AioContext;
use common::{mixed, plain};

/// Counts the allocations of each thread, and how many bytes are allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

thread_local! { static ALLOCATIONS: Cell<usize> = const { Cell::new(0) } }

// SAFETY: everything is `System`'s; counting touches a thread-local without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations_of(call: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    call();
    ALLOCATIONS.get() - before
}

/// Wakes the waiting call from another thread.
#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Bell {
    fn ring(&self) {
        loop {
            let waker = self.waker.lock().unwrap().take();
            if let Some(waker) = waker {
                self.rung.store(true, Ordering::Release);
                return waker.wake();
            }
            thread::yield_now();
        }
    }

    async fn wait(&self) {
        poll_fn(|cx| {
            if self.rung.swap(false, Ordering::Acquire) {
                return Poll::Ready(());
            }
            *self.waker.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

/// Catches: any allocation on the ready path, and on the waiting one after a thread's first call at that depth.
#[test]
fn w01_a_call_allocates_nothing() {
    let bell = Bell::default();
    thread::scope(|scope| {
        let ringer = scope.spawn(|| (0..40).for_each(|_| bell.ring()));
        let nested = || {
            plain(async {
                bell.wait().await;
                mixed(bell.wait());
            });
        };
        plain(async {});
        assert_eq!(allocations_of(|| plain(async {})), 0, "a ready call, from the thread's second on");
        nested();
        for _ in 0..19 {
            assert_eq!(allocations_of(nested), 0, "calls that wait, at depths that the thread has seen");
        }
        ringer.join().unwrap();
    });
}

/// Catches: an allocation that a call in a coroutine makes and one outside does not, ready or woken at once; one for each
/// coroutine after those before have ended.
#[cfg(feature = "coroutine")]
#[cfg(not(miri))]
#[test]
fn c11_a_call_in_a_coroutine_allocates_what_one_outside_does() {
    use co_wrapper_runtime::{Coroutine, block_on};

    fn woken_at_once() {
        let mut woken = false;
        mixed(poll_fn(|cx| {
            if std::mem::replace(&mut woken, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
    }

    let _home = AioContext::new().unwrap().enter();
    let calls = || {
        // SAFETY: it has no scope in a thread-local while a call waits.
        unsafe {
            Coroutine::new(|| {
                woken_at_once();
                assert_eq!(allocations_of(|| plain(async {})), 0, "a ready plain call");
                assert_eq!(allocations_of(|| mixed(async {})), 0, "a ready mixed call");
                assert_eq!(allocations_of(woken_at_once), 0, "a call that suspends");
            })
        }
    };
    block_on(calls());
    assert_eq!(allocations_of(|| block_on(calls())), 0, "a coroutine, from the thread's second on");
}

/// Catches: an entry in the queue for each time that a bottom half is scheduled and cancelled, until somebody polls.
#[test]
fn b05_scheduled_and_cancelled_on_and_on_it_takes_no_room() {
    let ctx = AioContext::new().unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&runs);
    let bottom_half = ctx.bh(move || {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let cycle = || {
        bottom_half.schedule();
        bottom_half.cancel();
    };
    cycle();
    assert_eq!(allocations_of(|| (0..1_000).for_each(|_| cycle())), 0);
    bottom_half.schedule();
    assert!(ctx.poll(false));
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert!(!ctx.poll(false));
}

/// A thread that ends while it is home to a context, or made its own.
///
/// Catches: the table in which a thread holds the queues, kept when it ends.
#[test]
fn a_thread_that_was_home_leaves_nothing_behind() {
    let rows: [(&str, fn()); 3] = [
        ("enters and leaves", || drop(AioContext::new().unwrap().enter())),
        ("ends in its own", || drop(AioContext::current())),
        ("leaves it when its thread-locals are dropped", || {
            thread_local! { static LATE: Late = const { Late } }
            struct Late;
            impl Drop for Late {
                fn drop(&mut self) {
                    drop(AioContext::new().unwrap().enter());
                }
            }
            LATE.with(|_| {});
        }),
    ];
    for (row, home) in rows {
        const THREADS: usize = 256;
        let run = || thread::spawn(home).join().unwrap();
        // What the process makes once.
        run();
        let before = ALLOCATED.load(Ordering::Relaxed);
        (0..THREADS).for_each(|_| run());
        let more = ALLOCATED.load(Ordering::Relaxed).saturating_sub(before);
        // What the other tests have just now is far less.
        assert!(more < THREADS * 256, "{row}: {more} bytes are left of {THREADS} threads");
    }
}
