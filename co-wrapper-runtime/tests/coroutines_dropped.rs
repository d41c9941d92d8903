//! Stackful coroutines that do not run to their end: dropped, cancelled or forgotten. The line c04 of the contract; those that
//! run off their stacks are in `coroutines_stacks.rs`.

#![cfg(all(feature = "coroutine", feature = "tokio", not(any(loom, miri))))]

mod common;

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending},
    hint::black_box,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
};

use co_wrapper_runtime::{
    __private::{Wrapper, poll_co_in, poll_co_timeout},
    AioContext, Coroutine, IoThread, block_on, hang, in_coroutine,
};
use common::{ms, panic_of, plain, within_bounds};
use futures::FutureExt;

static REMOTE: Wrapper = Wrapper { name: "remote", target: "co_remote", mixed: true };
static TIMED: Wrapper = Wrapper { name: "timed", target: "co_timed", mixed: true };

/// A coroutine whose closure keeps the promise of `Coroutine::new`: it has no scope in a thread-local while a call waits.
#[track_caller]
fn coroutine<R>(f: impl FnOnce() -> R + 'static) -> Coroutine<R> {
    // SAFETY: as above.
    unsafe { Coroutine::new(f) }
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    future.poll_unpin(&mut Context::from_waker(Waker::noop()))
}

/// Counts its drops.
#[derive(Clone)]
struct Counts(Arc<AtomicUsize>);

impl Counts {
    fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(0)))
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn one(&self) -> One {
        One(self.0.clone())
    }
}

struct One(Arc<AtomicUsize>);

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A destructor that makes blocking calls, which wait.
struct Blocks(Counts);

impl Drop for Blocks {
    fn drop(&mut self) {
        let (tx, rx) = async_channel::bounded(1);
        thread::spawn(move || {
            thread::sleep(ms(1));
            tx.send_blocking(()).unwrap();
        });
        plain(async { rx.recv().await.unwrap() });
        block_on(AioContext::current().sleep(ms(1)));
        assert!(poll_co_timeout(&TIMED, ms(1), (), |()| pending::<()>()).is_err());
        assert!(in_coroutine(), "it runs in the coroutine");
        self.0.one();
    }
}

type Wait = (&'static str, fn(&IoThread, One));

/// What it is suspended in for ever; the future has a destructor too.
const WAITS: &[Wait] = &[
    ("a plain wrapper", |_, one| {
        plain(async move {
            let _one = one;
            pending::<()>().await;
        })
    }),
    ("a wrapper with a timeout", |_, one| {
        _ = poll_co_timeout(&TIMED, ms(1_000_000), one, |one| async move {
            let _one = one;
            pending::<()>().await;
        });
    }),
    ("a wrapper in another context", |io, one| {
        poll_co_in(&REMOTE, io.context(), one, |one| async move {
            let _one = one;
            pending::<()>().await;
        });
    }),
    ("a wrapper in the thread's context", |_, one| {
        poll_co_in(&REMOTE, &AioContext::current(), one, |one| async move {
            let _one = one;
            pending::<()>().await;
        });
    }),
    ("a wrapper in a context without a home", |_, one| {
        poll_co_in(&REMOTE, &AioContext::new().unwrap(), one, |one| async move {
            let _one = one;
            pending::<()>().await;
        });
    }),
    ("`AioContext::block_on`", |_, one| {
        AioContext::new().unwrap().block_on(async move {
            let _one = one;
            pending::<()>().await;
        });
    }),
    ("`poll_while`", |_, one| {
        let _one = one;
        AioContext::new().unwrap().poll_while(|| true);
    }),
    ("a coroutine within it", |_, one| {
        block_on(coroutine(move || {
            let _one = one;
            plain(pending::<()>());
        }));
    }),
];

type Ends = (&'static str, fn(Coroutine<()>));

/// How it ends, after it was polled.
const ENDS: &[Ends] = &[
    ("dropped", drop),
    ("dropped in a future of a call", |coroutine| {
        block_on(async move {
            let mut coroutine = coroutine;
            assert!(poll_once(&mut coroutine).is_pending());
            drop(coroutine);
        });
    }),
    ("dropped while its owner unwinds", |coroutine| {
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            let _coroutine = coroutine;
            std::panic::resume_unwind(Box::new(7_u8));
        }));
        assert_eq!(unwound.unwrap_err().downcast_ref(), Some(&7_u8));
    }),
    ("a task that is cancelled", |coroutine| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let task = ctx.spawn_local(coroutine);
        while ctx.poll(false) {}
        assert_eq!(ctx.block_on(task.cancel()), None);
    }),
    ("a task that is aborted", |coroutine| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let task = ctx.spawn_local(coroutine);
        ctx.poll(false);
        let abort = task.abort_handle();
        thread::spawn(move || abort.abort()).join().unwrap();
        assert!(panic_of(|| ctx.block_on(task)).contains("aborted"));
    }),
    ("a call with a timeout", |coroutine| {
        assert!(poll_co_timeout(&TIMED, ms(2), coroutine, |coroutine| coroutine).is_err());
    }),
    ("dropped inside another coroutine", |dropped| {
        block_on(coroutine(move || {
            plain(AioContext::current().sleep(ms(1)));
            drop(dropped);
            plain(AioContext::current().sleep(ms(1)));
        }));
    }),
    ("dropped when its thread ends", |coroutine| {
        thread_local! { static LAST: RefCell<Option<Coroutine<()>>> = const { RefCell::new(None) } }
        LAST.set(Some(coroutine));
    }),
];

#[test]
fn c04_one_that_is_dropped_while_it_is_suspended_is_unwound_there() {
    for ends in ENDS {
        for wait in WAITS {
            let (own, futures) = (Counts::new(), Counts::new());
            let (own_one, futures_one) = (own.clone(), futures.one());
            let at = format!("{}: {}", ends.0, wait.0);
            within_bounds(move || {
                let io = Rc::new(IoThread::spawn("io").unwrap());
                let waits = io.clone();
                let mut coroutine = coroutine(move || {
                    let _one = own_one.one();
                    let _blocks = Blocks(own_one);
                    let _home = AioContext::new().unwrap().enter();
                    (wait.1)(&waits, futures_one);
                    unreachable!("it waits for ever");
                });
                let polled = poll_once(&mut coroutine);
                assert!(polled.is_pending());
                (ends.1)(coroutine);
                assert!(!in_coroutine() && AioContext::current() == AioContext::current());
                plain(async {});
                if ends.0 != "dropped when its thread ends" {
                    assert_eq!(Rc::strong_count(&io), 1, "its captures are dropped");
                }
            });
            assert_eq!((own.get(), futures.get()), (2, 1), "{at}");
        }
    }
}

#[test]
fn c04_one_that_never_ran_drops_its_closure() {
    within_bounds(|| {
        let counts = Counts::new();
        let (one, blocks) = (counts.one(), Blocks(counts.clone()));
        drop(coroutine(move || drop((one, blocks))));
        assert_eq!(counts.get(), 2);
        // A panic of that destructor is raised by the drop.
        struct Panics;
        impl Drop for Panics {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        let panics = Panics;
        let unpolled = coroutine(move || drop(panics));
        assert_eq!(panic_of(|| drop(unpolled)), "dropped");
        assert_eq!(block_on(coroutine(|| 7)), 7);
    });
}

#[test]
fn c04_code_that_catches_the_unwinding_goes_on_and_blocks() {
    within_bounds(|| {
        let caught = Rc::new(Cell::new(0));
        let count = caught.clone();
        let (tx, rx) = async_channel::bounded::<()>(1);
        let mut catches = coroutine(move || {
            assert!(catch_unwind(AssertUnwindSafe(|| plain(rx.recv()))).is_err());
            count.set(1);
            // Its thread blocks from now on.
            thread::spawn(move || {
                thread::sleep(ms(2));
                drop(tx);
            });
            assert!(plain(rx.recv()).is_err());
            count.set(2);
            "a result that nobody takes".to_owned()
        });
        assert!(poll_once(&mut catches).is_pending());
        drop(catches);
        assert_eq!(caught.get(), 2);
        // A panic that replaces it is raised by the drop.
        let mut replaces = coroutine(|| {
            assert!(catch_unwind(AssertUnwindSafe(|| plain(pending::<()>()))).is_err());
            panic!("another panic");
        });
        assert!(poll_once(&mut replaces).is_pending());
        assert_eq!(panic_of(|| drop(replaces)), "another panic");
    });
}

/// What a call in another context borrows is used there until the call is done, however the coroutine ends.
#[test]
fn c04_what_is_lent_to_another_context_lasts_as_long_as_it_is_used() {
    within_bounds(|| {
        let io = IoThread::spawn("io").unwrap();
        for forgets in [false, true] {
            let ctx = io.context().clone();
            let (begun, begins) = std::sync::mpsc::channel();
            let (go, goes) = async_channel::bounded::<()>(1);
            let (done, is_done) = std::sync::mpsc::channel();
            let mut lends = coroutine(move || {
                let buffer = [7_u8; 4096];
                poll_co_in(&REMOTE, &ctx, &buffer, |buffer: &[u8; 4096]| async move {
                    begun.send(()).unwrap();
                    _ = goes.recv().await;
                    done.send(buffer.iter().all(|byte| *byte == 7)).unwrap();
                });
            });
            assert!(poll_once(&mut lends).is_pending());
            begins.recv().unwrap();
            if forgets {
                std::mem::forget(lends);
                // Other coroutines use other stacks.
                (0..10).for_each(|_| {
                    block_on(coroutine(|| _ = black_box([1_u8; 64 << 10])));
                });
                drop(go);
                assert_eq!(is_done.recv(), Ok(true));
            } else {
                drop(lends);
                assert!(is_done.recv().is_err(), "its future was dropped first");
                drop(go);
            }
        }
    });
}

#[test]
#[ignore = "a child's part"]
fn child_counts_stacks() {
    let counts = Counts::new();
    let in_use = || {
        let stacks = Coroutine::stacks();
        stacks.made - stacks.freed - stacks.pooled - stacks.kept
    };
    let suspended = || {
        let one = counts.one();
        let mut waits = coroutine(move || {
            let _one = one;
            plain(pending::<()>());
        });
        assert!(poll_once(&mut waits).is_pending());
        waits
    };
    let mut all: Vec<_> = (0..100).map(|_| suspended()).collect();
    assert_eq!((Coroutine::stacks().made, in_use()), (100, 100));
    std::mem::forget(all.pop());
    drop(all);
    assert_eq!(counts.get(), 99, "one was forgotten");
    let stacks = Coroutine::stacks();
    assert_eq!((stacks.made, in_use(), stacks.kept), (100, 1, 0), "{stacks:?}");
    assert!(stacks.pooled <= 64 && stacks.pooled > 0, "{stacks:?}");
    // It is reported for ever.
    assert_eq!(hang::report().calls().len(), 1);
    // Those that are pooled are used again.
    block_on(async { futures::future::join_all((0..stacks.pooled).map(|_| coroutine(|| ()))).await });
    assert_eq!(Coroutine::stacks(), stacks);
    // Other sizes are not pooled; and a thread's are freed with it.
    thread::spawn(move || {
        // SAFETY: it has no scope in a thread-local.
        let sized = unsafe { Coroutine::builder().stack_size(2 << 20).build(|| black_box([0_u8; 300 << 10]).len()) };
        assert_eq!(block_on(sized.unwrap()), 300 << 10);
        block_on(coroutine(|| ()));
        assert_eq!(Coroutine::stacks().pooled, stacks.pooled + 1);
    })
    .join()
    .unwrap();
    let last = Coroutine::stacks();
    assert_eq!((last.made, last.pooled, last.freed), (102, stacks.pooled, stacks.freed + 2));
    // SAFETY: it is never run.
    let error = unsafe { Coroutine::builder().stack_size(1 << 60).build(|| ()) }.unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
}

#[test]
fn c04_a_forgotten_one_keeps_its_stack_and_the_others_are_counted() {
    common::in_child("child_counts_stacks", &[]);
}
