//! Stackful coroutines and the contexts that their threads are home to: leaving home, and the thread's end, while a
//! coroutine is suspended in a call that keeps the thread there; the guards that coroutines take, and where they are
//! dropped. Parts of the lines c02, c06, c10 and x06 of the contract.

#![cfg(all(feature = "coroutine", feature = "tokio", not(any(loom, miri))))]

mod common;

use std::{
    any::Any,
    cell::{Cell, RefCell},
    future::{Future, pending, poll_fn},
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

use async_channel::{Receiver, Sender};
use co_wrapper_runtime::{
    __private::{Wrapper, poll_co_in},
    AioContext, Coroutine, EnterGuard, block_on,
};
use common::{in_child, panic_of, run, test_in_child, within_bounds};
use futures::FutureExt;

static REMOTE: Wrapper = Wrapper { name: "remote", target: "co_remote", mixed: true };

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3_600);

/// A coroutine whose closure keeps the promise of `Coroutine::new`: it has no scope in a thread-local while a call waits.
#[track_caller]
fn coroutine<R>(f: impl FnOnce() -> R + 'static) -> Coroutine<R> {
    // SAFETY: as above.
    unsafe { Coroutine::new(f) }
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    future.poll_unpin(&mut Context::from_waker(Waker::noop()))
}

/// Whether no thread is home to `ctx`: another one may enter.
fn is_free(ctx: &AioContext) -> bool {
    let ctx = ctx.clone();
    thread::spawn(move || drop(ctx.enter())).join().is_ok()
}

/// Counts its drops.
#[derive(Clone, Default)]
struct Counts(Arc<AtomicUsize>);

impl Counts {
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
        // It blocks, and then the count is made.
        block_on(async { tokio::task::yield_now().await });
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

type Wait = (&'static str, fn(&AioContext));

/// Calls that make the thread a home of the context for their length, and never end.
const WAITS: &[Wait] = &[
    ("block_on", |_| block_on(pending::<()>())),
    ("AioContext::block_on", |ctx| ctx.block_on(pending())),
    ("AioContext::block_on_timeout", |ctx| _ = ctx.block_on_timeout(pending::<()>(), LONG)),
    ("AioContext::block_on_interruptible", |ctx| _ = ctx.block_on_interruptible(pending::<()>())),
    ("poll_while", |ctx| ctx.poll_while(|| true)),
    ("poll_while_timeout", |ctx| _ = ctx.poll_while_timeout(|| true, LONG)),
    ("poll_while, whose condition waits", |ctx| {
        let inner = ctx.clone();
        ctx.poll_while(move || {
            inner.block_on(pending::<()>());
            true
        });
    }),
    ("poll", |ctx| {
        while !ctx.poll(true) {}
        pends(ctx);
    }),
    ("a call with ctx", |ctx| poll_co_in(&REMOTE, ctx, (), |()| pending())),
    ("a coroutine in a call", |ctx| {
        let inner = ctx.clone();
        ctx.block_on(coroutine(move || inner.poll_while(|| true)));
    }),
    ("two coroutines in a call", |ctx| {
        let both = [ctx.clone(), ctx.clone()].map(|ctx| coroutine(move || ctx.block_on(pending::<()>())));
        block_on(futures::future::join_all(both));
    }),
];

fn pends(ctx: &AioContext) {
    ctx.block_on(pending())
}

/// How a coroutine of that code gets into a context as a local task.
type Spawns = (&'static str, fn(&AioContext, fn(&AioContext), One));

const SPAWNS: &[Spawns] = &[
    ("spawn_coroutine", |ctx, wait, one| {
        let inner = ctx.clone();
        let code = move || {
            let _one = one;
            wait(&inner);
        };
        // SAFETY: it has no scope in a thread-local.
        drop(unsafe { ctx.spawn_coroutine(code) });
    }),
    ("spawn_local", |ctx, wait, one| {
        let inner = ctx.clone();
        let code = move || {
            let _one = one;
            wait(&inner);
        };
        drop(ctx.spawn_local(async move { coroutine(code).await }));
    }),
    ("two at once", |ctx, wait, one| {
        let one = Rc::new(one);
        let both = [ctx.clone(), ctx.clone()].map(|ctx| {
            let one = Rc::clone(&one);
            coroutine(move || {
                let _one = one;
                wait(&ctx);
            })
        });
        drop(one);
        drop(ctx.spawn_local(futures::future::join_all(both).map(drop)));
    }),
    ("beside one that ends", |ctx, wait, one| {
        let (inner, other) = (ctx.clone(), ctx.clone());
        let code = move || {
            let _one = one;
            wait(&inner);
        };
        let both = async move {
            futures::join!(coroutine(code), coroutine(move || other.block_on(async { tokio::task::yield_now().await })))
        };
        drop(ctx.spawn_local(both.map(drop)));
    }),
];

/// Runs what is in the context until that waits.
fn settle(ctx: &AioContext) {
    for _ in 0..8 {
        ctx.poll(false);
    }
}

thread_local! { static KEPT: RefCell<Vec<EnterGuard>> = const { RefCell::new(Vec::new()) } }

/// How the thread leaves a context, in which there is what `fill` puts there.
type Leaves = (&'static str, fn(&AioContext, &dyn Fn(&AioContext)));

const LEAVES: &[Leaves] = &[
    ("the guard is dropped", |ctx, fill| {
        let _home = ctx.enter();
        fill(ctx);
        settle(ctx);
    }),
    ("the inner guard is dropped, and then the outer one", |ctx, fill| {
        let _outer = ctx.enter();
        let _inner = ctx.enter();
        fill(ctx);
        settle(ctx);
    }),
    ("the outer guard is dropped, and then the inner one", |ctx, fill| {
        let outer = ctx.enter();
        let _inner = ctx.enter();
        fill(ctx);
        settle(ctx);
        drop(outer);
        settle(ctx);
    }),
    ("a call ends that was the home", |ctx, fill| {
        ctx.block_on(async {
            fill(ctx);
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
        });
    }),
    ("a poll_while ends that was the home", |ctx, fill| {
        let mut polls = 0;
        ctx.poll_while(|| {
            if polls == 0 {
                fill(ctx);
            }
            polls += 1;
            ctx.notify();
            polls < 8
        });
    }),
    ("a guard is dropped that was taken in a call", |ctx, fill| {
        let home = ctx.block_on(async { ctx.enter() });
        fill(ctx);
        settle(ctx);
        drop(home);
    }),
];

/// Catches: a suspended coroutine's own call that keeps its thread home, when nobody polls the context any more; one
/// that is not unwound, or has lost its place in the books, so that leaving panics or happens too early.
#[test]
fn c10_a_suspended_coroutines_call_keeps_no_home() {
    within_bounds(|| {
        for (left, leave) in LEAVES {
            for (spawned, spawn) in SPAWNS {
                for (waits, wait) in WAITS {
                    let row = format!("{left}; {spawned}; {waits}");
                    let (ctx, ends) = (AioContext::new().unwrap(), Counts::default());
                    for round in 1..=2 {
                        leave(&ctx, &|ctx| spawn(ctx, *wait, ends.one()));
                        assert_eq!(ends.get(), round, "{row}: unwound");
                        assert!(is_free(&ctx), "{row}");
                    }
                }
            }
        }
    });
}

/// How a thread, or the process, ends that is home to a context with suspended coroutines.
type Ends = (&'static str, fn(&dyn Fn(&AioContext)));

const ENDS: &[Ends] = &[
    ("the thread's own context", |fill| {
        let own = AioContext::current();
        fill(&own);
        settle(&own);
    }),
    ("a forgotten guard", |fill| {
        let ctx = AioContext::new().unwrap();
        mem::forget(ctx.enter());
        fill(&ctx);
        settle(&ctx);
    }),
    ("a kept guard", |fill| {
        let ctx = AioContext::new().unwrap();
        let guard = ctx.enter();
        KEPT.with(|kept| kept.borrow_mut().push(guard));
        fill(&ctx);
        settle(&ctx);
    }),
    ("a guard that was kept before there was anything of ours", |fill| {
        KEPT.with(|_| ());
        let ctx = AioContext::new().unwrap();
        let guard = ctx.enter();
        KEPT.with(|kept| kept.borrow_mut().push(guard));
        fill(&ctx);
        settle(&ctx);
    }),
    ("several contexts", |fill| {
        let all = [AioContext::current(), AioContext::new().unwrap(), AioContext::new().unwrap()];
        for ctx in &all {
            mem::forget(ctx.enter());
            fill(ctx);
        }
        all.iter().for_each(settle);
    }),
];

/// What a thread may leave in a context at its end.
type Fills = Arc<dyn Fn(&AioContext, One) + Send + Sync>;

/// The coroutines above, those that belong to nothing in the context, and tasks that have entered it.
fn each_kind(mut row: impl FnMut(String, Fills)) {
    for (spawned, spawn) in SPAWNS {
        for (waits, wait) in WAITS {
            row(format!("{spawned}; {waits}"), Arc::new(|ctx, one| spawn(ctx, *wait, one)));
        }
    }
    let local = |ctx: &AioContext, one: One| {
        let inner = ctx.clone();
        drop(ctx.spawn_local(async move {
            let _one = one;
            let _guards = [inner.enter(), inner.enter()];
            pending::<()>().await;
        }));
    };
    row("a local task that has entered".to_owned(), Arc::new(local));
    let entered = |ctx: &AioContext, one: One| {
        let inner = ctx.clone();
        drop(ctx.spawn_local(coroutine(move || {
            let _one = one;
            let _guards = [inner.enter(), inner.enter()];
            inner.poll_while(|| true);
        })));
    };
    row("a coroutine that has entered".to_owned(), Arc::new(entered));
    let elsewhere = |ctx: &AioContext, one: One| {
        let (own, inner) = (AioContext::current(), ctx.clone());
        drop(own.spawn_local(coroutine(move || {
            let _one = one;
            inner.poll_while(|| true);
        })));
        settle(&own);
    };
    row("a coroutine of another context".to_owned(), Arc::new(elsewhere));
}

#[test]
#[ignore = "a child's part"]
fn child_ends_threads() {
    within_bounds(|| {
        for (ended, end) in ENDS {
            each_kind(|kind, fill| {
                eprintln!("{ended}; {kind}");
                let (made, ends) = (Counts::default(), Counts::default());
                let (counts, one) = (made.clone(), ends.clone());
                let thread = thread::spawn(move || {
                    end(&|ctx| {
                        counts.0.fetch_add(1, Ordering::Relaxed);
                        fill(ctx, one.one());
                    });
                });
                thread.join().unwrap();
                assert_eq!(ends.get(), made.get(), "{ended}; {kind}: unwound");
            });
        }
    });
}

/// A row that fails may abort the process, so they have one of their own.
///
/// Catches: a count of calls and guards that the thread's end overwrites, so that it wraps when they end after it.
#[test]
fn x06_a_thread_ends_with_suspended_coroutines() {
    let stderr = in_child("child_ends_threads", &[]);
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
#[ignore = "a child's part"]
fn child_exits() {
    struct Tells;
    impl Drop for Tells {
        fn drop(&mut self) {
            eprintln!("unwound");
        }
    }
    within_bounds(|| {
        let (ctx, inner) = (AioContext::current(), AioContext::current());
        drop(ctx.spawn_local(coroutine(move || {
            let _tells = Tells;
            inner.poll_while(|| true);
        })));
        settle(&ctx);
        process::exit(0);
    });
}

/// `exit` ends what belongs to the thread that calls it, the main thread as a rule.
#[test]
fn x06_a_process_exits_with_a_suspended_coroutine() {
    let output = run(&mut test_in_child("child_exits"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    assert!(stderr.contains("unwound") && !stderr.contains("panicked"), "{stderr}");
}

/// Who polls a coroutine that waits in a context, so that the wait is needed there although no guard is left.
type Polls = (&'static str, fn(&AioContext, &AioContext, Coroutine<u8>) -> Box<dyn FnOnce() -> u8>);

/// They get the thread's own context and the one in which the coroutine waits.
const POLLS: &[Polls] = &[
    ("a call", |_, _, mut coroutine| {
        assert!(poll_once(&mut coroutine).is_pending());
        Box::new(|| block_on(coroutine))
    }),
    ("a task of another context", |own, _, coroutine| {
        let (own, task) = (own.clone(), own.spawn_local(coroutine));
        settle(&own);
        Box::new(move || own.block_on(task))
    }),
    ("tokio's LocalSet", |_, _, coroutine| {
        let set = tokio::task::LocalSet::new();
        let mut task = set.spawn_local(coroutine);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(set.run_until(poll_fn(|cx| {
            assert!(task.poll_unpin(cx).is_pending());
            Poll::Ready(())
        })));
        runtime.block_on(set.run_until(async { tokio::task::yield_now().await }));
        Box::new(move || runtime.block_on(set.run_until(task)).unwrap())
    }),
    ("a local task of the context, and then somebody else", |_, ctx, coroutine| {
        let slot = Rc::new(RefCell::new(coroutine));
        let first = Rc::clone(&slot);
        drop(ctx.spawn_local(async move {
            assert!(poll_once(&mut *first.borrow_mut()).is_pending());
        }));
        settle(ctx);
        Box::new(move || block_on(poll_fn(|cx| slot.borrow_mut().poll_unpin(cx))))
    }),
];

/// Catches: a thread that leaves although a coroutine that is no task of the context waits for what is there.
#[test]
fn c10_a_coroutine_from_elsewhere_keeps_the_home_that_its_call_needs() {
    within_bounds(|| {
        for (polled, poll) in POLLS {
            for has_guard in [true, false] {
                for begins_first in [true, false] {
                    let row = format!("{polled}, a guard: {has_guard}, first: {begins_first}");
                    let (own, ctx) = (AioContext::current(), AioContext::new().unwrap());
                    let home = (has_guard || polled.contains("the context")).then(|| ctx.enter());
                    let (tx, rx) = async_channel::bounded(1);
                    let inner = ctx.clone();
                    // A task of its own there, which leaving would drop. (It does so if the coroutine was taken out of a
                    // task, although the home is kept for the coroutine.)
                    let spawns = !polled.contains("the context");
                    let waits = coroutine(move || {
                        let received = async move { rx.recv().await.unwrap() };
                        if spawns {
                            inner.block_on(async { inner.spawn_local(received).await })
                        } else {
                            inner.block_on(received)
                        }
                    });
                    let goes_on = poll(&own, &ctx, waits);
                    if begins_first {
                        // Another call comes and goes.
                        ctx.block_on(async { tokio::task::yield_now().await });
                    }
                    drop(home);
                    assert!(!is_free(&ctx), "{row}");
                    tx.send_blocking(7).unwrap();
                    assert_eq!(goes_on(), 7, "{row}");
                    assert!(is_free(&ctx), "{row}");
                }
            }
        }
    });
}

/// The coroutine's call is not the one that finishes what the thread has started for others.
///
/// Catches: a thread that leaves and waits, in the unwound coroutine, for a call that it has already taken out.
#[test]
fn c10_leaving_waits_for_no_call_that_it_drops() {
    within_bounds(|| {
        for coroutine_first in [true, false] {
            let (ctx, ends) = (AioContext::new().unwrap(), Counts::default());
            let home = ctx.enter();
            let fill = || SPAWNS[0].1(&ctx, |ctx| ctx.block_on(pending()), ends.one());
            if coroutine_first {
                fill();
                settle(&ctx);
            }
            let (there, (tx, rx)) = (ctx.clone(), async_channel::bounded::<()>(1));
            let caller = thread::spawn(move || {
                panic_of(|| {
                    poll_co_in(&REMOTE, &there, tx, |tx| async move {
                        tx.send(()).await.unwrap();
                        pending::<()>().await;
                    })
                })
            });
            ctx.block_on(rx.recv()).unwrap();
            if !coroutine_first {
                fill();
                settle(&ctx);
            }
            drop(home);
            assert_eq!(ends.get(), 1);
            assert!(caller.join().unwrap().contains("left it"));
            assert!(is_free(&ctx));
        }
    });
}

/// Catches: a local task that drops the last guard but for a suspended coroutine's call, and whose own thread then leaves
/// while the task runs.
#[test]
fn c10_a_suspended_coroutine_is_no_reason_to_leave_in_a_local_task() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let home = ctx.enter();
        SPAWNS[0].1(&ctx, |ctx| ctx.block_on(pending()), Counts::default().one());
        settle(&ctx);
        let refused = Rc::new(Cell::new(false));
        let told = Rc::clone(&refused);
        drop(ctx.spawn_local(
            async move { told.set(panic_of(|| drop(home)).contains("drop the guard where it was made")) },
        ));
        // Not through a call that would be a home too.
        block_on(async { tokio::task::yield_now().await });
        while !refused.get() {
            block_on(async { tokio::task::yield_now().await });
        }
    });
}

/// How a guard gets out of a coroutine; and what of the coroutine is to be kept for as long as the guard.
type Gets = (&'static str, fn(&AioContext) -> (EnterGuard, Box<dyn Any>));

/// A coroutine that puts a guard into the slot and is suspended then. Afterwards it says which context is current.
fn puts(ctx: &AioContext, slot: &Rc<RefCell<Option<EnterGuard>>>) -> Coroutine<AioContext> {
    let (ctx, slot) = (ctx.clone(), Rc::clone(slot));
    coroutine(move || {
        slot.replace(Some(ctx.enter()));
        block_on(tokio::task::yield_now());
        AioContext::current()
    })
}

fn took(ctx: &AioContext, then: fn(Coroutine<AioContext>) -> Box<dyn Any>) -> (EnterGuard, Box<dyn Any>) {
    let slot = Rc::default();
    let mut suspended = puts(ctx, &slot);
    assert!(poll_once(&mut suspended).is_pending());
    (slot.take().unwrap(), then(suspended))
}

const GETS: &[Gets] = &[
    ("the result", |ctx| {
        let ctx = ctx.clone();
        (block_on(coroutine(move || ctx.enter())), Box::new(()))
    }),
    ("the result, after it was suspended", |ctx| {
        let ctx = ctx.clone();
        let waits = coroutine(move || {
            let guard = ctx.enter();
            (0..3).for_each(|_| block_on(tokio::task::yield_now()));
            guard
        });
        (block_on(waits), Box::new(()))
    }),
    ("the result of a call", |ctx| {
        let ctx = ctx.clone();
        (block_on(coroutine(move || block_on(async { ctx.enter() }))), Box::new(()))
    }),
    ("the result of a coroutine in a coroutine", |ctx| {
        let ctx = ctx.clone();
        let outer = coroutine(move || {
            let guard = block_on(coroutine(move || {
                let guard = ctx.enter();
                block_on(tokio::task::yield_now());
                guard
            }));
            block_on(tokio::task::yield_now());
            guard
        });
        (block_on(outer), Box::new(()))
    }),
    ("the result of a task", |ctx| {
        let (own, ctx) = (AioContext::current(), ctx.clone());
        let task = own.spawn_local(coroutine(move || ctx.enter()));
        (own.block_on(task), Box::new(()))
    }),
    ("the result in another executor", |ctx| {
        let ctx = ctx.clone();
        let waits = coroutine(move || {
            let guard = ctx.enter();
            block_on(tokio::task::yield_now());
            guard
        });
        (futures::executor::block_on(waits), Box::new(()))
    }),
    ("a slot, and it is suspended", |ctx| took(ctx, |suspended| Box::new(suspended))),
    ("a slot, and it was dropped", |ctx| {
        took(ctx, |suspended| {
            drop(suspended);
            Box::new(())
        })
    }),
    ("a slot, and it was forgotten", |ctx| {
        took(ctx, |suspended| {
            mem::forget(suspended);
            Box::new(())
        })
    }),
    ("a slot, and it has ended", |ctx| took(ctx, |suspended| Box::new(block_on(suspended)))),
];

/// Catches: a guard that no longer counts when the coroutine that took it is gone or suspended.
#[test]
fn c06_a_guard_from_a_coroutine_leaves_its_context_when_it_is_dropped() {
    within_bounds(|| {
        let own = AioContext::current();
        for (got, get) in GETS {
            for held in [false, true] {
                let row = format!("{got}, another guard: {held}");
                let ctx = AioContext::new().unwrap();
                let other = held.then(|| ctx.enter());
                let (guard, rest) = get(&ctx);
                assert!(!is_free(&ctx), "{row}");
                drop(other);
                assert!(!is_free(&ctx), "{row}");
                drop(guard);
                assert!(is_free(&ctx), "{row}");
                assert_eq!(AioContext::current(), own, "{row}");
                drop(rest);
                assert!(is_free(&ctx), "{row}");
                // And the next one is at home there as long as it should.
                let home = ctx.enter();
                assert!(!is_free(&ctx), "{row}");
                drop(home);
                assert!(is_free(&ctx), "{row}");
            }
        }
        // In the frame that awaited the coroutine.
        let ctx = AioContext::new().unwrap();
        let inner = ctx.clone();
        block_on(async { drop(coroutine(move || inner.enter()).await) });
        assert!(is_free(&ctx));
    });
}

/// Catches: an entry that comes back, with a coroutine that goes on, although its guard was dropped meanwhile.
#[test]
fn c06_a_context_that_was_left_meanwhile_is_current_in_no_coroutine() {
    within_bounds(|| {
        let (own, ctx) = (AioContext::current(), AioContext::new().unwrap());
        for drops in [true, false] {
            let slot = Rc::default();
            let mut suspended = puts(&ctx, &slot);
            assert!(poll_once(&mut suspended).is_pending());
            assert_eq!(AioContext::current(), own);
            let guard = slot.take().filter(|_| !drops);
            let current = block_on(suspended);
            assert_eq!(current, if drops { own.clone() } else { ctx.clone() });
            assert_eq!((AioContext::current(), is_free(&ctx)), (own.clone(), drops));
            drop(guard);
            assert!(is_free(&ctx));
        }
    });
}

/// Who else enters a context while a nested loop on a coroutine's stack runs it, until the receiver gets something.
type Enters = (&'static str, fn(&AioContext, Sender<()>, Receiver<()>));

const ENTERS: &[Enters] = &[
    ("a local task", |ctx, entered, rx| {
        let inner = ctx.clone();
        drop(AioContext::current().spawn_local(async move {
            let _guard = inner.enter();
            entered.try_send(()).unwrap();
            rx.recv().await.unwrap();
        }));
    }),
    ("a local task that calls", |ctx, entered, rx| {
        let inner = ctx.clone();
        drop(AioContext::current().spawn_local(async move {
            let _guard = block_on(async { inner.enter() });
            entered.try_send(()).unwrap();
            rx.recv().await.unwrap();
        }));
    }),
    ("another coroutine", |ctx, entered, rx| {
        let inner = ctx.clone();
        drop(AioContext::current().spawn_local(coroutine(move || {
            let _guard = inner.enter();
            entered.try_send(()).unwrap();
            block_on(rx.recv()).unwrap();
        })));
    }),
    ("another coroutine, with a call", |ctx, entered, rx| {
        let inner = ctx.clone();
        drop(AioContext::current().spawn_local(coroutine(move || {
            inner.block_on(async {
                entered.try_send(()).unwrap();
                rx.recv().await.unwrap();
            });
        })));
    }),
    ("a local task, into a slot", |ctx, entered, rx| {
        let (inner, slot) = (ctx.clone(), Rc::new(RefCell::new(None)));
        drop(AioContext::current().spawn_local(async move {
            slot.replace(Some(inner.enter()));
            entered.try_send(()).unwrap();
            rx.recv().await.unwrap();
            drop(slot.take());
        }));
    }),
];

/// Catches: an entry of other code's, which a coroutine takes for its own because it was made while the coroutine ran.
#[test]
fn c06_what_a_loop_on_its_stack_enters_is_not_a_coroutines() {
    within_bounds(|| {
        let own = AioContext::current();
        for (who, enters) in ENTERS {
            for suspended_then in [true, false] {
                let row = format!("{who}, suspended when it leaves: {suspended_then}");
                let ctx = AioContext::new().unwrap();
                let (leave, leaves) = async_channel::bounded(1);
                let (go_on, goes_on) = async_channel::bounded::<()>(1);
                let inner = ctx.clone();
                let mut runs = coroutine(move || {
                    // Nested in a future, so this loop is on the coroutine's stack.
                    block_on(async move {
                        let (enter, entered) = async_channel::bounded(1);
                        enters(&inner, enter, leaves);
                        block_on(entered.recv()).unwrap();
                        assert!(!is_free(&inner));
                    });
                    block_on(goes_on.recv()).unwrap();
                });
                assert!(poll_once(&mut runs).is_pending(), "{row}");
                assert!(!is_free(&ctx), "{row}");
                if !suspended_then {
                    go_on.send_blocking(()).unwrap();
                    block_on(&mut runs);
                }
                leave.send_blocking(()).unwrap();
                settle(&own);
                assert!(is_free(&ctx), "{row}");
                assert_eq!(AioContext::current(), own, "{row}");
                if suspended_then {
                    go_on.send_blocking(()).unwrap();
                    block_on(runs);
                }
                assert!(is_free(&ctx), "{row}");
                assert_eq!(AioContext::current(), own, "{row}");
            }
        }
    });
}

/// What has entered another runtime on a coroutine's stack, and then a context of ours, which makes our handle current
/// again. It calls what it is given. Whether it blocks on that runtime, which it may not do inside another one.
type Between = (&'static str, bool, fn(&dyn Fn()));

/// Never dropped, which a `LocalSet` forbids.
fn runtime() -> &'static tokio::runtime::Runtime {
    Box::leak(Box::new(tokio::runtime::Builder::new_current_thread().build().unwrap()))
}

const BETWEEN: &[Between] = &[
    ("`block_on`, `enter`", true, |call| {
        runtime().block_on(async {
            let ctx = AioContext::new().unwrap();
            let _entered = ctx.enter();
            call();
        });
    }),
    ("a multi-thread runtime's `block_on`, `enter`", true, |call| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(async {
            let ctx = AioContext::new().unwrap();
            let _entered = ctx.enter();
            call();
        });
    }),
    ("a `LocalSet`, `enter`", true, |call| {
        tokio::task::LocalSet::new().block_on(runtime(), async {
            let _entered = AioContext::current().enter();
            call();
        });
    }),
    ("another handle, `enter`", false, |call| {
        let runtime = runtime();
        let _theirs = runtime.enter();
        let ctx = AioContext::new().unwrap();
        let _entered = ctx.enter();
        call();
    }),
    ("another handle, `enter` twice", false, |call| {
        let runtime = runtime();
        let _theirs = runtime.enter();
        let ctx = AioContext::new().unwrap();
        let _entered = ctx.enter();
        drop(ctx.enter());
        let _again = ctx.enter();
        call();
    }),
    ("two handles, `enter` in each", false, |call| {
        let (first, second) = (runtime(), runtime());
        let ctx = AioContext::new().unwrap();
        let _first = first.enter();
        let _entered = ctx.enter();
        {
            let _second = second.enter();
            let _entered = ctx.enter();
            call();
        }
        call();
    }),
    ("another handle, the condition of poll_while", false, |call| {
        let runtime = runtime();
        let _theirs = runtime.enter();
        AioContext::new().unwrap().poll_while(|| {
            call();
            false
        });
    }),
    ("another handle, `enter`, and a panic that is caught", false, |call| {
        let runtime = runtime();
        let _theirs = runtime.enter();
        let ctx = AioContext::new().unwrap();
        let _entered = ctx.enter();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _entered = ctx.enter();
            resume_unwind(Box::new(()));
        }));
        assert!(caught.is_err());
        call();
    }),
];

type Runs = (&'static str, fn(Vec<Coroutine<()>>));

const RUNS: &[Runs] = &[
    ("a call", |coroutines| _ = block_on(futures::future::join_all(coroutines))),
    ("another executor", |coroutines| _ = futures::executor::block_on(futures::future::join_all(coroutines))),
    ("tasks", |coroutines| {
        let own = AioContext::current();
        let tasks: Vec<_> = coroutines.into_iter().map(|coroutine| own.spawn_local(coroutine)).collect();
        block_on(futures::future::join_all(tasks));
    }),
    ("a LocalSet", |coroutines| {
        let set = tokio::task::LocalSet::new();
        let tasks: Vec<_> = coroutines.into_iter().map(|coroutine| set.spawn_local(coroutine)).collect();
        set.block_on(runtime(), async { futures::future::join_all(tasks).await.into_iter().for_each(Result::unwrap) });
    }),
];

/// Tokio requires that its runtimes and handles are left in reverse order, on one thread.
///
/// Catches: a call that suspends across another runtime because our handle is current again; a coroutine that does not
/// suspend afterwards.
#[test]
fn c02_nothing_is_suspended_across_another_runtime_below_a_guard_of_ours() {
    within_bounds(|| {
        for (between, blocks, makes) in BETWEEN {
            // A loop on a coroutine's stack runs other tasks, and a LocalSet is a runtime itself.
            for (runs, run) in &RUNS[..if *blocks { 2 } else { RUNS.len() }] {
                for count in [1, 2, 3] {
                    let row = format!("{between}; {runs}; {count}");
                    let (inside, after) = (Rc::new(RefCell::new(Vec::new())), Rc::new(Cell::new(0)));
                    let coroutines = (0..count).map(|n| {
                        let (inside, after, row) = (inside.clone(), after.clone(), row.clone());
                        coroutine(move || {
                            block_on(tokio::task::yield_now());
                            makes(&|| {
                                inside.borrow_mut().push(n);
                                (0..=n).for_each(|_| block_on(tokio::task::yield_now()));
                                // Others may have run nested, as in a task.
                                assert_eq!(inside.borrow_mut().pop(), Some(n), "{row}: suspended across it");
                            });
                            after.set(after.get() + 1);
                            // Afterwards it suspends again, or this hangs.
                            block_on(poll_fn(|cx| {
                                cx.waker().wake_by_ref();
                                if after.get() == count { Poll::Ready(()) } else { Poll::Pending }
                            }));
                        })
                    });
                    run(coroutines.collect());
                    assert_eq!(after.get(), count, "{row}");
                }
            }
        }
    });
}
