//! What wakes a suspended coroutine, as tables: whoever polls it, wherever what it waits for comes from, and whatever else
//! waits on its thread.

#![cfg(all(feature = "coroutine", feature = "tokio", not(any(loom, miri))))]

mod common;

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    thread,
    time::Duration,
};

use co_wrapper_runtime::{
    __private::{Wrapper, poll_co_in},
    AioContext, Coroutine, block_on, block_on_interruptible, block_on_timeout, interrupt,
};
use common::{in_child, mixed, ms, within_bounds};
use futures::{FutureExt, StreamExt, executor::LocalPool, stream::FuturesUnordered, task::LocalSpawnExt};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3_600);

/// Only turns a hang into a failure that names its row.
const HANGS: Duration = Duration::from_secs(20);

/// A coroutine whose closure keeps the promise of `Coroutine::new`: it has no scope in a thread-local while a call waits.
#[track_caller]
fn coroutine<R>(f: impl FnOnce() -> R + 'static) -> Coroutine<R> {
    // SAFETY: as above.
    unsafe { Coroutine::new(f) }
}

/// Is ready when it is polled for the second time, at once.
async fn yields() {
    let mut polled = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What polls one coroutine on the test's thread.
type Host = (&'static str, fn(Pin<Box<dyn Future<Output = ()>>>));

/// Tasks of tokio's have a budget of operations, and keep back the wakes of a task that has used it up.
const HOSTS: &[Host] = &[
    ("our `block_on`", |future| block_on(future)),
    ("a local task of ours", |future| {
        let ctx = AioContext::current();
        ctx.block_on(ctx.spawn_local(future));
    }),
    ("a set of futures in our `block_on`", |future| {
        block_on(FuturesUnordered::from_iter([future]).collect::<()>());
    }),
    ("a task of a `LocalSet`", |future| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async { tokio::task::spawn_local(future).await.unwrap() });
    }),
    ("a `LocalSet`'s `block_on`, beside another future", |future| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async { futures::join!(async { tokio::task::yield_now().await }, future).1 });
    }),
    ("a current-thread runtime's `block_on`", |future| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
    }),
    ("a multi-thread runtime's `block_on`", |future| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(future);
    }),
    ("a call of ours in a task of a `LocalSet`", |future| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async { tokio::task::spawn_local(async { block_on(future) }).await.unwrap() });
    }),
];

/// Takes so many units of the budget of the tokio task that runs here, if one does.
async fn operations(many: u32) {
    for _ in 0..many {
        tokio::task::coop::cooperative(std::future::ready(())).await;
    }
}

/// Operations each of which has a waker of its own, so that only its own wake has it polled again.
async fn apart(many: usize) {
    let each: FuturesUnordered<_> = (0..many).map(|_| tokio::task::coop::cooperative(std::future::ready(()))).collect();
    each.collect::<()>().await;
}

/// A call that blocks its thread: it is made inside a future.
type Nested = (&'static str, fn());

const NESTED: &[Nested] = &[
    ("`block_on`", || block_on(apart(1))),
    ("`block_on` of many", || block_on(apart(200))),
    ("`block_on_timeout`", || block_on_timeout(apart(1), HANGS).expect("hangs")),
    ("`AioContext::block_on`", || AioContext::current().block_on(apart(1))),
    ("`AioContext::block_on` without a home", || AioContext::new().unwrap().block_on(apart(1))),
    ("a mixed wrapper", || mixed(apart(1))),
];

/// Catches: a coroutine that uses up the budget of the tokio task that polls it, after which tokio keeps back a wake for the
/// very scheduler that a call nested in the coroutine blocks; a task whose budget is another one afterwards.
#[test]
fn c01_c02_a_call_nested_in_a_coroutine_has_no_budget_of_operations() {
    for (host, polls) in HOSTS {
        for (nested, calls) in NESTED {
            // What takes the budget: the coroutine's outermost call or the host's task, none or all of it.
            for (call, task) in [(0, 0), (126, 0), (127, 0), (128, 0), (129, 0), (0, 128), (64, 64)] {
                within_bounds(move || {
                    eprintln!("{nested} after {call} operations in the call and {task} in {host}");
                    polls(Box::pin(async move {
                        // As many as `task`, but never waits: a budget that is used up stays so for this poll.
                        for _ in 0..task {
                            let _ = tokio::task::coop::cooperative(std::future::ready(())).now_or_never();
                        }
                        let before = tokio::task::coop::has_budget_remaining();
                        let code = coroutine(move || {
                            block_on(async {
                                operations(call).await;
                                calls();
                            });
                        });
                        code.await;
                        // Calls give the budget back as they found it.
                        assert_eq!(tokio::task::coop::has_budget_remaining(), before);
                    }));
                });
            }
        }
    }
}

/// Blocks for the given time at most, and returns whether it was that which ended it.
type Timed = (&'static str, fn(Duration) -> bool);

thread_local! { static ASKED: Cell<u32> = const { Cell::new(0) } }

const TIMED: &[Timed] = &[
    ("`block_on_timeout`", |time| block_on_timeout(pending::<()>(), time).is_err()),
    ("`AioContext::block_on_timeout`", |time| AioContext::current().block_on_timeout(pending::<()>(), time).is_err()),
    ("`block_on_timeout` in a context without a home", |time| {
        AioContext::new().unwrap().block_on_timeout(pending::<()>(), time).is_err()
    }),
    ("`poll_while_timeout`", |time| AioContext::current().poll_while_timeout(|| true, time).is_err()),
    ("`poll_while_timeout` of a context without a home", |time| {
        AioContext::new().unwrap().poll_while_timeout(|| true, time).is_err()
    }),
    ("the hook of an interruptible call", |_| {
        // It is asked before the call is suspended, and then again and again.
        interrupt::set_hook(Some(|| ASKED.replace(ASKED.get() + 1) > 0));
        block_on_interruptible(pending::<()>()).is_err()
    }),
];

/// Polls a coroutine once.
type First = (&'static str, fn(&mut Coroutine<bool>) -> Poll<bool>);

fn once(coroutine: &mut Coroutine<bool>) -> impl Future<Output = Poll<bool>> {
    poll_fn(|cx| Poll::Ready(coroutine.poll_unpin(cx)))
}

const FIRST: &[First] = &[
    ("no context of its own", |coroutine| block_on(once(coroutine))),
    ("a context for the length of a call", |coroutine| AioContext::new().unwrap().block_on(once(coroutine))),
    ("a context that the thread enters", |coroutine| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        block_on(once(coroutine))
    }),
    ("two contexts", |coroutine| {
        let (outer, inner) = (AioContext::new().unwrap(), AioContext::new().unwrap());
        let _outer = outer.enter();
        inner.block_on(once(coroutine))
    }),
    ("another executor", |coroutine| futures::executor::block_on(once(coroutine))),
    ("another executor, in a context that the thread enters", |coroutine| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        futures::executor::block_on(once(coroutine))
    }),
];

/// Awaits the coroutine.
type Then = (&'static str, fn(Coroutine<bool>) -> bool);

const THEN: &[Then] = &[
    ("`block_on`", |coroutine| block_on(coroutine)),
    ("`AioContext::block_on` of another context", |coroutine| AioContext::new().unwrap().block_on(coroutine)),
    ("a task of another context, which alone is polled", |coroutine| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let task = ctx.spawn_local(coroutine);
        while !task.is_finished() {
            ctx.poll(false);
        }
        block_on(task)
    }),
    ("futures' `block_on`", |coroutine| futures::executor::block_on(coroutine)),
    ("a task of a `LocalSet`", |coroutine| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async { tokio::task::spawn_local(coroutine).await.unwrap() })
    }),
];

/// Catches: a deadline whose timer is in a context that the thread has left, or that nobody polls any more.
#[test]
fn c01_w10_a_deadline_ends_a_call_wherever_its_coroutine_is_polled() {
    for (timed, waits) in TIMED {
        for (first, begins) in FIRST {
            for (then, ends) in THEN {
                within_bounds(move || {
                    eprintln!("{timed}, first polled in {first}, then in {then}");
                    // The shortest time that is not over when the call begins to wait.
                    for time in [1, 10, 100, 1_000, 10_000] {
                        ASKED.set(0);
                        let mut coroutine = coroutine(move || waits(ms(time)));
                        if let Poll::Ready(over) = begins(&mut coroutine) {
                            assert!(over);
                        } else {
                            return assert!(ends(coroutine));
                        }
                    }
                });
            }
        }
    }
}

/// Polls a coroutine with a deadline, and again when the thread has ended its use of contexts.
///
/// Catches: a deadline in a thread-local destructor, whose timer is in a context that nobody serves.
#[test]
fn c01_w10_a_deadline_ends_a_call_in_a_thread_local_destructor() {
    struct Late(Option<Coroutine<bool>>, fn(Coroutine<bool>) -> bool);

    impl Drop for Late {
        fn drop(&mut self) {
            assert!((self.1)(self.0.take().unwrap_or_else(|| coroutine(|| TIMED[0].1(ms(10))))));
        }
    }

    for (timed, waits) in &TIMED[..2] {
        for made_late in [false, true] {
            for (host, polls) in [THEN[0], THEN[3]] {
                within_bounds(move || {
                    eprintln!("{timed} in {host}, {}", if made_late { "made late" } else { "made early" });
                    thread::spawn(move || {
                        thread_local! { static LATE: RefCell<Option<Late>> = const { RefCell::new(None) } }
                        // Before this crate's own thread-local, so that it is destroyed after that.
                        LATE.with(|_| ());
                        AioContext::current();
                        let early = (!made_late).then(|| coroutine(move || waits(ms(10))));
                        LATE.set(Some(Late(early, polls)));
                    })
                    .join()
                    .unwrap();
                });
            }
        }
    }
}

/// Puts something into a context that calls `ends`.
type Puts = (&'static str, fn(&AioContext, Box<dyn FnOnce() + Send>));

const PUTS: &[Puts] = &[
    ("a bottom half", |ctx, ends| ctx.schedule_bh(ends)),
    ("a task", |ctx, ends| drop(ctx.spawn(async { ends() }))),
    ("a task that sleeps", |ctx, ends| {
        let sleep = ctx.sleep(ms(5));
        drop(ctx.spawn(async {
            sleep.await;
            ends();
        }));
    }),
    ("a bottom half of another thread", |ctx, ends| {
        let ctx = ctx.clone();
        thread::spawn(move || ctx.schedule_bh(ends)).join().unwrap();
    }),
];

/// Makes the thread the home of a context, which it passes to `puts` before or after that or both, and stays until the
/// future is ready.
type Enters = (
    &'static str,
    fn(&dyn Fn(&AioContext), Pin<Box<dyn Future<Output = ()>>>) -> Pin<Box<dyn Future<Output = ()> + '_>>,
);

const ENTERS: &[Enters] = &[
    ("the thread's own context, first used now", |puts, until| {
        Box::pin(async move {
            puts(&AioContext::current());
            until.await;
        })
    }),
    ("a context that is entered before", |puts, until| {
        Box::pin(async move {
            let ctx = AioContext::new().unwrap();
            let _home = ctx.enter();
            puts(&ctx);
            until.await;
        })
    }),
    ("a context that is entered afterwards", |puts, until| {
        Box::pin(async move {
            let ctx = AioContext::new().unwrap();
            puts(&ctx);
            let _home = ctx.enter();
            until.await;
        })
    }),
    ("one of three contexts, entered one by one", |puts, until| {
        Box::pin(async move {
            let all = [(); 3].map(|()| AioContext::new().unwrap());
            puts(&all[1]);
            let mut homes = Vec::new();
            for ctx in &all {
                homes.push(ctx.enter());
                yields().await;
            }
            until.await;
        })
    }),
    ("a context that was another thread's", |puts, until| {
        Box::pin(async move {
            let ctx = AioContext::new().unwrap();
            let other = ctx.clone();
            thread::spawn(move || drop(other.enter())).join().unwrap();
            puts(&ctx);
            let _home = ctx.enter();
            until.await;
        })
    }),
    ("a context that another coroutine enters", |puts, until| {
        Box::pin(async move {
            let ctx = AioContext::new().unwrap();
            puts(&ctx);
            coroutine(move || {
                let _home = ctx.enter();
                block_on(until);
            })
            .await;
        })
    }),
];

/// Runs a future and what is spawned beside it.
type Outside = (&'static str, fn(Coroutine<()>, Pin<Box<dyn Future<Output = ()>>>));

const OUTSIDE: &[Outside] = &[
    ("a `LocalSet`", |waits, rest| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let waits = tokio::task::spawn_local(waits);
            rest.await;
            waits.await.unwrap();
        });
    }),
    ("futures' local executor", |waits, rest| {
        let mut pool = LocalPool::new();
        pool.spawner().spawn_local(waits).unwrap();
        pool.spawner().spawn_local(rest).unwrap();
        pool.run();
    }),
    ("smol's `block_on`", |waits, rest| {
        async_io::block_on(async { futures::join!(waits, rest).1 });
    }),
];

/// Catches: a context that gets its home when a coroutine is suspended there already, by an executor that knows nothing of
/// it: then what comes into that context woke nobody.
#[test]
fn c01_a_context_that_is_entered_while_a_coroutine_is_suspended_is_served() {
    for (outside, runs) in OUTSIDE {
        for (enters, home) in ENTERS {
            for (puts, put) in PUTS {
                for used in [false, true] {
                    within_bounds(move || {
                        eprintln!("{puts} in {enters}, in {outside}, contexts used before: {used}");
                        if used {
                            AioContext::current();
                        }
                        let (tx, rx) = async_channel::bounded::<()>(1);
                        let begun = Rc::new(Cell::new(false));
                        let (begins, waited) = (begun.clone(), rx.clone());
                        let waits = coroutine(move || {
                            begins.set(true);
                            block_on(async { waited.recv().await.unwrap_err() });
                        });
                        let rest = async move {
                            while !begun.get() {
                                yields().await;
                            }
                            let until = Box::pin(async move { rx.recv().await.map_or((), |()| unreachable!()) });
                            let tx = Cell::new(Some(tx));
                            let ends = |ctx: &AioContext| {
                                let tx = tx.take().unwrap();
                                put(ctx, Box::new(move || drop(tx)));
                            };
                            home(&ends, until).await;
                        };
                        runs(waits, Box::pin(rest));
                    });
                }
            }
        }
    }
}

/// Waits until the flag is set, of which the context is notified.
type Waits = (&'static str, fn(&AioContext, &AtomicBool));

const WAITS: &[Waits] = &[
    ("`poll_while`", |ctx, flag| ctx.poll_while(|| !flag.load(Ordering::Relaxed))),
    ("`poll_while_timeout`", |ctx, flag| {
        ctx.poll_while_timeout(|| !flag.load(Ordering::Relaxed), HANGS).expect("hangs");
    }),
    ("`poll`, again and again", |ctx, flag| {
        while !flag.load(Ordering::Relaxed) {
            ctx.poll(true);
        }
    }),
];

/// Sets the flag and notifies the context `there`, from another context, `here`, of the same thread, or from elsewhere.
type Notifies = (&'static str, fn(&AioContext, &AioContext, Arc<AtomicBool>));

fn set(ctx: &AioContext, flag: &AtomicBool) {
    flag.store(true, Ordering::Relaxed);
    ctx.notify();
}

const NOTIFIES: &[Notifies] = &[
    ("a bottom half of another context", |here, there, flag| {
        let there = there.clone();
        here.schedule_bh(move || set(&there, &flag));
    }),
    ("a task of another context that sleeps", |here, there, flag| {
        let there = there.clone();
        let sleep = here.sleep(ms(5));
        drop(here.spawn(async move {
            sleep.await;
            set(&there, &flag);
        }));
    }),
    ("another thread", |_, there, flag| {
        let there = there.clone();
        thread::spawn(move || set(&there, &flag));
    }),
];

/// Catches: a notification that the first of those who wait for it takes from the others.
#[test]
fn c01_p04_a_notification_ends_the_waits_of_coroutines_and_of_the_thread() {
    for (of_thread, thread_waits) in WAITS {
        for (of_coroutine, coroutine_waits) in WAITS {
            for (notifies, notify) in NOTIFIES {
                // How many coroutines there are, in which of the contexts they are tasks, and whether that is so before the
                // notification is begun.
                for (many, task_there, before) in
                    [(0, false, false), (1, false, false), (1, true, false), (2, false, true), (3, true, true)]
                {
                    within_bounds(move || {
                        eprintln!(
                            "{of_thread} and {of_coroutine} of {many} coroutines, {task_there}, {before}: {notifies}"
                        );
                        let (there, here) = (AioContext::new().unwrap(), AioContext::new().unwrap());
                        let _homes = (there.enter(), here.enter());
                        let flag = Arc::new(AtomicBool::new(false));
                        if !before {
                            notify(&here, &there, flag.clone());
                        }
                        let ctx = if task_there { &there } else { &here };
                        let tasks: Vec<_> = (0..many)
                            .map(|_| {
                                let (there, flag) = (there.clone(), flag.clone());
                                // SAFETY: as for `coroutine`.
                                unsafe { ctx.spawn_coroutine(move || coroutine_waits(&there, &flag)) }
                            })
                            .collect();
                        if before {
                            notify(&here, &there, flag.clone());
                        }
                        thread_waits(&there, &flag);
                        tasks.into_iter().for_each(block_on);
                    });
                }
            }
        }
    }
}

/// A coroutine that waits for something else looks at the same notification.
///
/// Catches: a notification that a coroutine takes from the thread although it does not end the coroutine's own wait.
#[test]
fn c01_p04_a_coroutine_that_waits_on_takes_no_notification_from_the_thread() {
    for (of_thread, thread_waits) in WAITS {
        for (of_coroutine, coroutine_waits) in WAITS {
            for (notifies, notify) in NOTIFIES {
                within_bounds(move || {
                    eprintln!("{of_thread} beside {of_coroutine}: {notifies}");
                    let (there, here) = (AioContext::new().unwrap(), AioContext::new().unwrap());
                    let _homes = (there.enter(), here.enter());
                    let [first, second] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
                    notify(&here, &there, first.clone());
                    let (waits_there, waits_for) = (there.clone(), second.clone());
                    // SAFETY: as for `coroutine`.
                    let waits = unsafe { here.spawn_coroutine(move || coroutine_waits(&waits_there, &waits_for)) };
                    thread_waits(&there, &first);
                    notify(&here, &there, second);
                    block_on(waits);
                });
            }
        }
    }
}

type Flag = Arc<AtomicBool>;

fn flags<const N: usize>() -> [Flag; N] {
    [(); N].map(|()| Flag::default())
}

/// A coroutine that waits until `flag` is set in `ctx`, without a notification.
fn until(ctx: &AioContext, flag: &Flag) -> Coroutine<()> {
    let (ctx, flag) = (ctx.clone(), flag.clone());
    coroutine(move || ctx.poll_while(|| !flag.load(Ordering::Relaxed)))
}

/// Ends when what a coroutine waits for in the context, which is entered, has happened there.
type Happens = (&'static str, fn(&AioContext));

const HAPPENS: &[Happens] = &[
    ("a bottom half, after a nested wait in it that also polls the coroutine", |ctx| {
        let [flag] = flags();
        let (first, polled) = async_channel::unbounded::<()>();
        let (second, ends) = async_channel::bounded::<()>(1);
        drop(ctx.spawn(async move { while polled.recv().await.is_ok() {} }));
        let sets = flag.clone();
        let ticks = first.clone();
        ctx.poll(false);
        ctx.schedule_bh(move || {
            thread::spawn(move || {
                ticks.send_blocking(()).unwrap();
                second.send_blocking(()).unwrap();
            });
            block_on(async { ends.recv().await.unwrap() });
            sets.store(true, Ordering::Relaxed);
        });
        ctx.block_on(until(ctx, &flag));
        drop(first);
    }),
    ("a bottom half, beside a task with two coroutines that wait again", |ctx| {
        let [flag] = flags();
        let (tx, rx) = async_channel::bounded::<()>(1);
        let (a, b) = (until(ctx, &flag), until(ctx, &flag));
        let task = ctx.spawn_local(async { futures::join!(a, b, async move { rx.recv().await.unwrap() }) });
        ctx.poll(false);
        ctx.poll(false);
        tx.try_send(()).unwrap();
        ctx.schedule_bh(move || flag.store(true, Ordering::Relaxed));
        ctx.block_on(task);
    }),
    ("a timer, beside `poll`", |ctx| {
        let polls = ctx.clone();
        // So long that it is not over when it is first polled.
        assert!(ctx.block_on(async { futures::join!(coroutine(move || polls.poll(true)), ctx.sleep(ms(500))).0 }));
    }),
    ("a timer that is the last thing before the call is polled", |ctx| {
        let [flag] = flags();
        let waits = until(ctx, &flag);
        ctx.block_on(async {
            futures::join!(waits, async {
                ctx.sleep(ms(10)).await;
                flag.store(true, Ordering::Relaxed);
            });
        });
    }),
    ("another future of its task, woken by a bottom half", |ctx| {
        let [flag] = flags();
        let (tx, rx) = async_channel::bounded::<()>(1);
        let waits = until(ctx, &flag);
        let sets = async move {
            rx.recv().await.unwrap();
            flag.store(true, Ordering::Relaxed);
        };
        let task = ctx.spawn_local(async { futures::join!(waits, sets) });
        ctx.poll(false);
        ctx.schedule_bh(move || tx.try_send(()).unwrap());
        ctx.block_on(task);
    }),
    ("another future of its task, woken by another thread", |ctx| {
        let [flag] = flags();
        let (tx, rx) = async_channel::bounded::<()>(1);
        let waits = until(ctx, &flag);
        let sets = async move {
            rx.recv().await.unwrap();
            flag.store(true, Ordering::Relaxed);
        };
        let task = ctx.spawn_local(async { futures::join!(waits, sets) });
        ctx.poll(false);
        thread::spawn(move || tx.try_send(()).unwrap());
        ctx.block_on(task);
    }),
    ("another future of its call, woken by another thread", |ctx| {
        let [flag] = flags();
        let (tx, rx) = async_channel::bounded::<()>(1);
        let waits = until(ctx, &flag);
        let sets = async move {
            rx.recv().await.unwrap();
            flag.store(true, Ordering::Relaxed);
        };
        thread::spawn(move || tx.try_send(()).unwrap());
        ctx.block_on(async { futures::join!(waits, sets) });
    }),
    ("another future of its call, in the first poll", |ctx| {
        let [flag] = flags();
        let waits = until(ctx, &flag);
        ctx.block_on(async { futures::join!(waits, async { flag.store(true, Ordering::Relaxed) }) });
    }),
    ("coroutines that wait for each other in turn", |ctx| {
        const TURNS: usize = 20;
        let turn = Arc::new(AtomicUsize::new(0));
        let players: Vec<_> = (0..3)
            .map(|player| {
                let (ctx, turn) = (ctx.clone(), turn.clone());
                // SAFETY: as for `coroutine`.
                unsafe {
                    ctx.clone().spawn_coroutine(move || {
                        for n in (player..TURNS).step_by(3) {
                            ctx.poll_while(|| turn.load(Ordering::Relaxed) != n);
                            turn.store(n + 1, Ordering::Relaxed);
                        }
                        ctx.poll_while(|| turn.load(Ordering::Relaxed) != TURNS);
                    })
                }
            })
            .collect();
        players.into_iter().for_each(block_on);
    }),
    ("a bottom half before one that panics", |ctx| {
        let [flag] = flags();
        let task = ctx.spawn_local(until(ctx, &flag));
        ctx.poll(false);
        ctx.poll(false);
        ctx.schedule_bh(move || flag.store(true, Ordering::Relaxed));
        ctx.schedule_bh(|| std::panic::resume_unwind(Box::new("of the bottom half")));
        assert!(catch_unwind(AssertUnwindSafe(|| ctx.poll(false))).is_err());
        ctx.block_on(task);
    }),
    ("a bottom half that panics", |ctx| {
        let [flag] = flags();
        let task = ctx.spawn_local(until(ctx, &flag));
        ctx.poll(false);
        ctx.poll(false);
        ctx.schedule_bh(move || {
            flag.store(true, Ordering::Relaxed);
            std::panic::resume_unwind(Box::new("of the bottom half"));
        });
        assert!(catch_unwind(AssertUnwindSafe(|| ctx.poll(false))).is_err());
        ctx.block_on(task);
    }),
    ("a bottom half that a nested wait holds back", |ctx| {
        let [flag] = flags();
        let waits = until(ctx, &flag);
        let nested = ctx.clone();
        ctx.schedule_bh(move || {
            let [sets] = [flag.clone()];
            // Held back, as a bottom half waits.
            nested.schedule_bh(move || sets.store(true, Ordering::Relaxed));
            nested.block_on(until(&nested, &flag));
        });
        ctx.block_on(waits);
    }),
    ("a task that a nested wait holds back", |ctx| {
        let [flag] = flags();
        let nested = ctx.clone();
        block_on(ctx.spawn_local(async move {
            let sets = flag.clone();
            drop(nested.spawn(async move { sets.store(true, Ordering::Relaxed) }));
            mixed(until(&nested, &flag));
        }));
    }),
    ("an outer call, while a nested wait waits for the coroutine", |ctx| {
        let [flag] = flags();
        let (tx, rx) = async_channel::bounded::<()>(1);
        let (ends, sets) = (flag.clone(), flag.clone());
        let nested = ctx.clone();
        ctx.schedule_bh(move || {
            let waits = until(&nested, &flag);
            thread::spawn(move || tx.try_send(()).unwrap());
            block_on(waits);
        });
        block_on(async move {
            rx.recv().await.unwrap();
            sets.store(true, Ordering::Relaxed);
        });
        ctx.poll_while(|| !ends.load(Ordering::Relaxed));
    }),
    ("a bottom half, while the condition itself waits", |ctx| {
        let [flag] = flags();
        let (tx, rx) = async_channel::bounded::<()>(1);
        let (looks, looked) = (flag.clone(), Cell::new(false));
        let waits_in = ctx.clone();
        let waits = coroutine(move || {
            waits_in.poll_while(|| {
                let unset = !looks.load(Ordering::Relaxed);
                if !looked.replace(true) {
                    block_on(async { rx.recv().await.unwrap() });
                }
                unset
            });
        });
        let task = ctx.spawn_local(waits);
        ctx.poll(false);
        ctx.schedule_bh(move || flag.store(true, Ordering::Relaxed));
        ctx.poll(false);
        thread::spawn(move || tx.try_send(()).unwrap());
        ctx.block_on(task);
    }),
    ("the last of many coroutines ends", |ctx| {
        let flags: [Flag; 20] = flags();
        // The first waits for the second, and so on, and a bottom half ends the last.
        let tasks: Vec<_> = flags
            .windows(2)
            .map(|pair| {
                let (waits, sets) = (until(ctx, &pair[1]), pair[0].clone());
                ctx.spawn_local(async move {
                    waits.await;
                    sets.store(true, Ordering::Relaxed);
                })
            })
            .collect();
        ctx.poll(false);
        let last = flags[19].clone();
        ctx.schedule_bh(move || last.store(true, Ordering::Relaxed));
        tasks.into_iter().for_each(|task| ctx.block_on(task));
    }),
];

/// Catches: something that runs in a context and is not counted, because as many coroutines have begun to wait again in that
/// round, or a coroutine that does something more before it waits, or another future of its task; a round that ends at a
/// timer, or with a panic, or is that of a nested wait.
#[test]
fn c01_c09_p01_whatever_runs_in_a_context_ends_a_coroutines_wait_for_it() {
    for (happens, ends) in HAPPENS {
        within_bounds(move || {
            eprintln!("{happens}");
            let ctx = AioContext::new().unwrap();
            let _home = ctx.enter();
            ends(&ctx);
        });
    }
}

/// Polls coroutines that wait in a context, and what ends them.
type Idle = (&'static str, fn(&AioContext, Vec<Coroutine<()>>, Pin<Box<dyn Future<Output = ()>>>));

const IDLE: &[Idle] = &[
    ("tasks", |ctx, waits, ends| {
        let tasks: Vec<_> = waits.into_iter().map(|waits| ctx.spawn_local(waits)).collect();
        ctx.block_on(ends);
        tasks.into_iter().for_each(|task| ctx.block_on(task));
    }),
    ("one task", |ctx, waits, ends| {
        let task = ctx.spawn_local(futures::future::join_all(waits));
        ctx.block_on(ends);
        ctx.block_on(task);
    }),
    ("a call", |ctx, waits, ends| {
        ctx.block_on(futures::future::join(futures::future::join_all(waits), ends));
    }),
    ("another executor", |_, waits, ends| {
        futures::executor::block_on(futures::future::join(futures::future::join_all(waits), ends));
    }),
    ("a coroutine", |ctx, waits, ends| {
        let task = ctx.spawn_local(coroutine(move || _ = block_on(futures::future::join_all(waits))));
        ctx.block_on(ends);
        ctx.block_on(task);
    }),
];

/// Catches: coroutines that wake each other, or themselves, while nothing happens.
#[test]
fn c01_coroutines_that_wait_for_a_context_leave_the_thread_idle() {
    for (name, idle) in IDLE {
        for many in [1, 3] {
            for polls in [false, true] {
                within_bounds(move || {
                    let ctx = AioContext::new().unwrap();
                    let _home = ctx.enter();
                    let (looks, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(false)));
                    let waits = (0..many)
                        .map(|_| {
                            let (ctx, looks, done) = (ctx.clone(), looks.clone(), done.clone());
                            coroutine(move || {
                                let condition = || {
                                    looks.set(looks.get() + 1);
                                    !done.get()
                                };
                                if polls {
                                    while condition() {
                                        ctx.poll(true);
                                    }
                                } else {
                                    ctx.poll_while(condition);
                                }
                            })
                        })
                        .collect();
                    // Some things happen, and then nothing for a while, in which a loop without end would look often.
                    let sleeps = ctx.clone();
                    let ends = async move {
                        for _ in 0..5 {
                            sleeps.sleep(ms(1)).await;
                        }
                        sleeps.sleep(ms(30)).await;
                        done.set(true);
                        sleeps.notify();
                    };
                    idle(&ctx, waits, Box::pin(ends));
                    eprintln!("{many} in {name}, `poll`: {polls}: {} looks", looks.get());
                    assert!(looks.get() <= 200 * many, "{} looks", looks.get());
                });
            }
        }
    }
}

/// Runs coroutines in an executor of another's, so often.
type Repeats = (&'static str, fn(u32));

const TIMERS: &[Repeats] = &[
    ("short timers while a long one waits", |times| {
        let mut pool = LocalPool::new();
        pool.spawner().spawn_local(coroutine(|| _ = block_on_timeout(pending::<()>(), LONG))).unwrap();
        let short = coroutine(move || (0..times).for_each(|_| block_on(AioContext::current().sleep(ms(1)))));
        pool.run_until(short);
    }),
    ("each timer earlier than the last", |times| {
        let mut pool = LocalPool::new();
        for n in 0..times {
            let time = LONG - Duration::from_secs(n.into());
            pool.spawner().spawn_local(coroutine(move || _ = block_on_timeout(pending::<()>(), time))).unwrap();
            pool.run_until_stalled();
        }
    }),
    ("coroutines that are dropped", |times| {
        for n in 0..times {
            let time = LONG - Duration::from_secs(n.into());
            let mut waits = coroutine(move || block_on_timeout(pending::<()>(), time).is_ok());
            assert!(futures::executor::block_on(once(&mut waits)).is_pending());
        }
    }),
    ("threads that end", |times| {
        for _ in 0..times {
            thread::spawn(|| {
                let mut waits = coroutine(|| block_on_timeout(pending::<()>(), LONG).is_ok());
                assert!(futures::executor::block_on(once(&mut waits)).is_pending());
            })
            .join()
            .unwrap();
        }
    }),
    ("a `LocalSet`", |times| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let long = tokio::task::spawn_local(coroutine(|| _ = block_on_timeout(pending::<()>(), LONG)));
            for _ in 0..times {
                coroutine(|| block_on(AioContext::current().sleep(ms(1)))).await;
            }
            long.abort();
        });
    }),
];

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn child_has_few_timers() {
    for (name, repeats) in TIMERS {
        repeats(50);
        eprintln!("{name}: {} timers", co_wrapper_runtime::reactor().metrics().num_alive_tasks());
        // Of this thread's. One that was ended is gone when the reactor has come to it.
        while co_wrapper_runtime::reactor().metrics().num_alive_tasks() > 2 {
            thread::yield_now();
        }
    }
}

/// Catches: a timer of the reactor's that nobody waits for any more, and that stays there until it is due.
#[test]
fn c01_timers_for_suspended_coroutines_do_not_pile_up() {
    in_child("child_has_few_timers", &[]);
}

/// An entered context, and what counts looks at a condition that something sets after a while in which nothing happens.
struct Idling {
    ctx: AioContext,
    looks: Rc<Cell<usize>>,
    done: Rc<Cell<bool>>,
}

impl Idling {
    fn new() -> Self {
        let ctx = AioContext::new().unwrap();
        std::mem::forget(ctx.enter());
        Self { ctx, looks: Rc::default(), done: Rc::default() }
    }

    fn waits(&self) -> Coroutine<()> {
        let (ctx, looks, done) = (self.ctx.clone(), self.looks.clone(), self.done.clone());
        coroutine(move || {
            ctx.poll_while(|| {
                looks.set(looks.get() + 1);
                !done.get()
            });
        })
    }

    fn ends(&self) -> impl Future<Output = ()> + 'static {
        let (ctx, done) = (self.ctx.clone(), self.done.clone());
        async move {
            ctx.sleep(ms(60)).await;
            done.set(true);
            ctx.notify();
        }
    }

    /// A loop without end looks thousands of times.
    fn has_idled(&self, what: &str) {
        assert!(self.looks.get() < 300, "{what}: {} looks", self.looks.get());
    }
}

/// Catches: coroutines in different places that wake each other in turns.
#[test]
fn c01_coroutines_in_a_task_and_in_a_call_leave_the_thread_idle() {
    for in_tasks in 0..3 {
        within_bounds(move || {
            let idling = Idling::new();
            let tasks: Vec<_> = (0..in_tasks).map(|_| idling.ctx.spawn_local(idling.waits())).collect();
            let here = (in_tasks..2).map(|_| idling.waits());
            idling.ctx.block_on(futures::future::join(futures::future::join_all(here), idling.ends()));
            tasks.into_iter().for_each(|task| idling.ctx.block_on(task));
            idling.has_idled(&format!("{in_tasks} in tasks"));
        });
    }
}

/// Catches: a call into the coroutine's own context that each poll of the coroutine's task has polled again.
#[test]
fn c01_w06_a_call_in_the_coroutine_s_own_context_leaves_the_thread_idle() {
    static CALL: Wrapper = Wrapper { name: "call", target: "co_call", mixed: false };
    within_bounds(|| {
        static LOOKS: AtomicUsize = AtomicUsize::new(0);
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let there = ctx.clone();
        let calls = coroutine(move || {
            poll_co_in(&CALL, &there, (), |()| {
                let mut sleeps = Box::pin(there.sleep(ms(60)));
                poll_fn(move |cx| {
                    LOOKS.fetch_add(1, Ordering::Relaxed);
                    sleeps.as_mut().poll(cx)
                })
            });
        });
        ctx.block_on(ctx.spawn_local(calls));
        assert!(LOOKS.load(Ordering::Relaxed) < 300, "{LOOKS:?} polls");
    });
}

/// Catches: a coroutine's own entry into a context that wakes the coroutine.
#[test]
fn c01_a_coroutine_that_enters_a_context_in_each_poll_leaves_the_thread_idle() {
    within_bounds(|| {
        let (inner, polls) = (AioContext::new().unwrap(), Rc::new(Cell::new(0)));
        let (done, is_done) = futures::channel::oneshot::channel::<()>();
        let (wakes, mut woken) = futures::channel::oneshot::channel::<()>();
        let mut is_done = is_done.fuse();
        let counts = polls.clone();
        let enters = coroutine(move || {
            block_on(poll_fn(move |cx| {
                let _home = inner.enter();
                counts.set(counts.get() + 1);
                _ = Pin::new(&mut woken).poll(cx);
                is_done.poll_unpin(cx).map(|_| ())
            }));
        });
        thread::spawn(move || {
            thread::sleep(ms(10));
            drop(wakes);
            thread::sleep(ms(60));
            drop(done);
        });
        futures::executor::block_on(enters);
        assert!(polls.get() < 300, "{} polls", polls.get());
    });
}

/// Catches: a change that a coroutine makes when it is woken once more, and of which those that looked before it never hear.
#[test]
fn c01_a_change_by_a_coroutine_that_was_woken_once_more_is_seen() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let [go, flag] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let (c, f) = (ctx.clone(), flag.clone());
        let waits = ctx.spawn_local(coroutine(move || c.poll_while(|| !f.load(Ordering::Relaxed))));
        let (c, f, g) = (ctx.clone(), flag, go.clone());
        let sets = ctx.spawn_local(coroutine(move || {
            c.poll_while(|| !g.load(Ordering::Relaxed));
            c.poll(true);
            f.store(true, Ordering::Relaxed);
            c.poll(true);
        }));
        let c = ctx.clone();
        thread::spawn(move || {
            // When both wait, as a rule.
            thread::sleep(ms(20));
            c.schedule_bh(move || go.store(true, Ordering::Relaxed));
        });
        assert!(ctx.block_on_timeout(waits, HANGS).is_ok(), "hangs");
        drop(sets);
    });
}

/// Catches: a coroutine's waker whose panic ends the call that waits in the context.
#[test]
fn c01_w13_a_waker_that_panics_ends_no_call_in_flight() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("of the waker");
        }
    }
    for with_callback in [false, true] {
        within_bounds(move || {
            let ctx = AioContext::new().unwrap();
            let _home = ctx.enter();
            let there = ctx.clone();
            let mut waits = coroutine(move || there.poll_while(|| true));
            let waker = Arc::new(Panics).into();
            assert!(Pin::new(&mut waits).poll(&mut std::task::Context::from_waker(&waker)).is_pending());
            if with_callback {
                ctx.schedule_bh(|| ());
            }
            let ended = Rc::new(Cell::new(false));
            let (ends, there) = (ended.clone(), ctx.clone());
            let call = async move {
                there.sleep(ms(5)).await;
                ends.set(true);
            };
            _ = catch_unwind(AssertUnwindSafe(|| ctx.block_on(call)));
            assert!(ended.get(), "the call was given up");
        });
    }
}

/// Catches: a coroutine that is resumed in a destructor's wait, while the thread unwinds, and blocks the thread in its next
/// wait, for what comes after that.
#[test]
fn c01_c04_a_coroutine_is_suspended_again_while_another_panic_unwinds_the_thread() {
    /// Waits, in which the coroutine is resumed, and waits again.
    struct Waits(AioContext);
    impl Drop for Waits {
        fn drop(&mut self) {
            assert!(thread::panicking());
            self.0.notify();
            self.0.schedule_bh(|| ());
            self.0.block_on(self.0.sleep(ms(5)));
        }
    }
    /// What waits in a coroutine until it is told.
    type Until = fn(&AioContext, async_channel::Receiver<()>);
    let untils: [(&str, Until); 3] = [
        ("poll_while", |ctx, told| ctx.poll_while(|| !told.is_closed())),
        ("poll", |ctx, told| {
            while !told.is_closed() {
                ctx.poll(true);
            }
        }),
        ("calls", |ctx, told| {
            while !told.is_closed() {
                _ = block_on_timeout(told.recv(), ms(1));
                ctx.block_on(yields());
            }
        }),
    ];
    /// What unwinds.
    type Unwinds = fn(&AioContext);
    let unwinds: [(&str, Unwinds); 3] = [
        ("the thread's own code", |ctx| {
            let waits = Waits(ctx.clone());
            _ = catch_unwind(AssertUnwindSafe(move || {
                let _waits = waits;
                panic!("of the thread");
            }));
        }),
        ("a coroutine that panics", |ctx| {
            let waits = Waits(ctx.clone());
            let panics = coroutine(move || {
                let _waits = waits;
                panic!("of the coroutine");
            });
            _ = catch_unwind(AssertUnwindSafe(|| ctx.block_on(panics)));
        }),
        ("a coroutine that is dropped", |ctx| {
            let (waits, inner) = (Waits(ctx.clone()), ctx.clone());
            let mut dropped = coroutine(move || {
                let _waits = waits;
                inner.block_on(pending::<()>());
            });
            assert!((&mut dropped).now_or_never().is_none());
            drop(dropped);
        }),
    ];
    for (until, code) in untils {
        for (what, unwind) in unwinds {
            eprintln!("{until}; {what}");
            within_bounds(move || {
                let ctx = AioContext::new().unwrap();
                let _home = ctx.enter();
                let (tells, told) = async_channel::bounded(1);
                let there = ctx.clone();
                let waits = ctx.spawn_local(coroutine(move || code(&there, told)));
                (0..4).for_each(|_| _ = ctx.poll(false));
                unwind(&ctx);
                tells.close();
                ctx.notify();
                ctx.block_on(waits);
            });
        }
    }
}
