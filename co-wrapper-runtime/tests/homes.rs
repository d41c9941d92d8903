//! Leaving home, ends of threads, and destructors that call back into the runtime: the line x06 of the contract and
//! related cases.

#![cfg(not(loom))]

mod common;
#[path = "common/waiting.rs"]
mod waiting;

use co_wrapper_runtime::{
    __private::{Wrapper, poll_co_in},
    AioContext, EnterGuard, in_coroutine,
};
use common::*;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};
use waiting::{rounds, sleeps};

struct OnDrop<F: FnMut()>(F);
impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)()
    }
}

/// A thread that leaves in vain waits a second for its local tasks to come, and then gives them up. If it does so this
/// often, the test takes longer than its bound.
const UNTIL_A_SECOND_IS_TOO_LONG: usize = if cfg!(miri) { 2 } else { BOUND.as_secs() as usize + 30 };

/// Catches: the thread's contexts dropped while they are borrowed.
#[test]
#[ignore = "the child of the test below it"]
fn child_h1() {
    thread::spawn(|| {
        let flush = OnDrop(|| {
            plain(async {
                let mut n = 0;
                std::future::poll_fn(|cx| {
                    n += 1;
                    cx.waker().wake_by_ref();
                    if n > 2 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
                })
                .await
            });
        });
        drop(AioContext::current().spawn(async move {
            let _f = flush;
            std::future::pending::<()>().await
        }));
        AioContext::current().poll(false);
    })
    .join()
    .unwrap();
}
#[test]
fn own_context_with_a_task_whose_destructor_blocks_at_thread_end() {
    in_child("child_h1", &[]);
}
#[test]
#[ignore = "the child of the test below it"]
fn child_h1b() {
    thread::spawn(|| {
        let flush = OnDrop(|| {
            let _ = AioContext::current();
        });
        AioContext::current().schedule_bh(move || {
            let _f = &flush;
        });
    })
    .join()
    .unwrap();
}
#[test]
fn current_in_a_destructor_of_a_bottom_half_at_thread_end() {
    in_child("child_h1b", &[]);
}

/// Catches: a guard in a local task that ends a stay twice.
#[test]
#[ignore = "the child of the test below it"]
fn child_h2() {
    thread::spawn(|| {
        let ctx = AioContext::new().unwrap();
        let g = ctx.enter();
        drop(ctx.spawn_local(async move {
            let _g = g;
            std::future::pending::<()>().await
        }));
        ctx.poll(false);
    })
    .join()
    .unwrap();
}
#[test]
fn a_local_task_that_holds_its_own_contexts_guard_at_thread_end() {
    in_child("child_h2", &[]);
}

/// Catches: leaving within leaving, which waits for itself.
#[test]
fn leaving_with_a_destructor_that_blocks_on_takes_no_second() {
    within_bounds(|| {
        for _ in 0..UNTIL_A_SECOND_IS_TOO_LONG {
            let ctx = AioContext::new().unwrap();
            let guard = ctx.enter();
            for _ in 0..3 {
                let inner = ctx.clone();
                let bomb = OnDrop(move || {
                    inner.block_on(async {});
                });
                drop(ctx.spawn_local(async move {
                    let _b = bomb;
                    std::future::pending::<()>().await
                }));
            }
            ctx.poll(false);
            drop(guard);
        }
    });
}

/// Catches: a thread that leaves under a destructor that entered again, for longer.
#[test]
fn a_guard_made_while_leaving() {
    thread_local! { static STASH: RefCell<Option<EnterGuard>> = const { RefCell::new(None) } }
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let guard = ctx.enter();
        let inner = ctx.clone();
        let bomb = OnDrop(move || {
            STASH.set(Some(inner.enter()));
        });
        drop(ctx.spawn_local(async move {
            let _b = bomb;
            std::future::pending::<()>().await
        }));
        ctx.poll(false);
        drop(guard);
        assert_eq!(AioContext::current(), ctx);
        let home = format!("{ctx:?}");
        let dropped = std::panic::catch_unwind(|| STASH.take());
        assert!(dropped.is_ok(), "dropping the guard panicked");
        assert!(!home.contains("home: None"), "current, entered, but no home: {home}");
    });
}

/// Catches: a destructor's panic that aborts the process, or keeps the thread at home.
#[test]
fn a_panicking_destructor_does_not_keep_the_home() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let guard = ctx.enter();
        let bomb = OnDrop(move || panic!("destructor"));
        drop(ctx.spawn_local(async move {
            let _b = bomb;
            std::future::pending::<()>().await
        }));
        ctx.poll(false);
        drop(guard);
        let c = ctx.clone();
        assert!(thread::spawn(move || c.poll(false)).join().is_ok(), "the thread is still home, with no stay");
    });
}

/// Catches: a queued task dropped by unwinding, on whatever thread unwinds.
#[test]
fn a_local_task_is_never_dropped_elsewhere() {
    thread_local! { static CTX: RefCell<Option<AioContext>> = const { RefCell::new(None) } }
    struct Again(Arc<Mutex<Vec<thread::ThreadId>>>, Rc<Cell<u32>>, thread::ThreadId);
    impl Drop for Again {
        fn drop(&mut self) {
            self.0.lock().unwrap().push(thread::current().id());
            assert!(thread::current().id() == self.2, "UNSOUND: a !Send future is dropped on another thread");
            let again = Again(self.0.clone(), self.1.clone(), self.2);
            if let Some(ctx) = CTX.with_borrow(|c| c.clone()) {
                drop(ctx.spawn_local(async move {
                    let _a = again;
                    std::future::pending::<()>().await
                }));
            } else {
                std::mem::forget(again);
            }
        }
    }
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a bottom half's capture")
        }
    }
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let drops = Arc::new(Mutex::new(Vec::new()));
        let (c, d) = (ctx.clone(), drops.clone());
        let t1 = thread::spawn(move || {
            CTX.set(Some(c.clone()));
            let guard = c.enter();
            let a = Again(d, Rc::new(Cell::new(0)), thread::current().id());
            drop(c.spawn_local(async move {
                let _a = a;
                std::future::pending::<()>().await
            }));
            drop(guard); // one second, then gives up
            CTX.set(None);
        });
        let id = t1.thread().id();
        t1.join().unwrap();
        let bomb = Bomb;
        ctx.schedule_bh(move || {
            let _b = &bomb;
        });
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        let _ = thread::spawn(move || {
            // A panic while unwinding would abort; the test's own assertion is not needed.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(ctx)));
        })
        .join();
        std::panic::set_hook(hook);
        let elsewhere = drops.lock().unwrap().iter().filter(|d| **d != id).count();
        assert_eq!(elsewhere, 0, "a !Send future was dropped on another thread");
    });
}

/// Catches: a home left within its own batch, of which the rest then runs off home.
#[test]
fn only_the_home_polls() {
    thread_local! { static STASH: RefCell<Option<EnterGuard>> = const { RefCell::new(None) } }
    within_bounds(|| {
        let own = AioContext::current();
        let x = AioContext::new().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let entering = x.clone();
        let t1 = thread::current().id();
        // Queued before anybody is home.
        let (out, is_out) = mpsc::channel();
        let (inn, is_in) = mpsc::channel();
        drop(x.spawn(async move {
            STASH.with(|s| drop(s.take()));
            out.send(()).unwrap();
            is_in.recv().unwrap();
        }));
        let (s, who) = (seen.clone(), x.clone());
        drop(x.spawn(async move {
            s.lock().unwrap().push((thread::current().id(), format!("{who:?}")));
        }));
        let x2 = x.clone();
        let (end, ends) = async_channel::bounded(1);
        let (stop, stopped) = mpsc::channel::<()>();
        let t1_context = own.clone();
        let t2 = thread::Builder::new()
            .name("t2".into())
            .spawn(move || {
                is_out.recv().unwrap();
                let _g = x2.enter();
                // When it sleeps, it has run whatever it still ran of its batch.
                let sleeps = sleeps(&t1_context);
                inn.send(()).unwrap();
                sleeps();
                end.send_blocking(()).unwrap();
                let _ = stopped.recv();
                while x2.poll(false) {}
            })
            .unwrap();
        let enter_task = own.spawn(async move {
            STASH.set(Some(entering.enter()));
        });
        // Not awaited: what wakes the call would break the batch off.
        drop(enter_task);
        own.block_on(ends.recv()).unwrap();
        drop(stop);
        t2.join().unwrap();
        let seen = seen.lock().unwrap();
        assert_eq!(seen.len(), 1, "the next home has polled it");
        assert!(seen.iter().all(|(id, _)| *id != t1), "polled off home: {seen:?}");
    });
}

/// Catches: a panic in a cancelled future's destructor that leaves the canceller waiting.
#[test]
fn cancel_of_a_task_whose_destructor_flushes() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let flush = OnDrop(|| plain(async {}));
        let task = ctx.spawn(async move {
            let _f = flush;
            std::future::pending::<()>().await
        });
        ctx.poll(false);
        assert_eq!(ctx.block_on(task.cancel()), None);
    });
}
/// Catches: the same, where the future was ready.
#[test]
fn join_of_a_task_whose_future_panics_in_drop() {
    struct F;
    impl Future for F {
        type Output = u8;
        fn poll(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> std::task::Poll<u8> {
            std::task::Poll::Ready(1)
        }
    }
    impl Drop for F {
        fn drop(&mut self) {
            panic!("drop of F")
        }
    }
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let task = ctx.spawn(F);
        assert_eq!(ctx.block_on(task), 1, "the result was there");
    });
}

/// Catches: a message that blames the context.
#[test]
fn a_handle_polled_after_it_was_ready_is_told_so() {
    let ctx = AioContext::new().unwrap();
    let mut task = ctx.spawn(async { 1 });
    assert_eq!(ctx.block_on(&mut task), 1);
    let m = panic_of(|| ctx.block_on(&mut task));
    assert!(!m.contains("context was closed"), "misleading: {m}");
}
/// Catches: a panic that is lost with the cancel.
#[test]
fn cancel_after_a_panic() {
    let ctx = AioContext::new().unwrap();
    let task = ctx.spawn(async { panic!("of the task") });
    ctx.poll(false);
    let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ctx.block_on(task.cancel())));
    assert!(r.is_err());
}

/// Catches: leaving that looks at every task, each time a homeless context is polled: it would not end in time.
#[test]
fn poll_of_a_homeless_context_does_not_look_at_every_task() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        for _ in 0..sized(100_000, 10) {
            drop(ctx.spawn(std::future::pending::<()>()));
        }
        for _ in 0..sized(200_000, 10) {
            ctx.poll(false);
        }
    });
}

/// Catches: nested polls that end in the stack's end.
#[test]
#[ignore = "the child of the test below it"]
fn child_h13() {
    thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(|| {
            let ctx = AioContext::new().unwrap();
            for _ in 0..20_000 {
                let c = ctx.clone();
                ctx.schedule_bh(move || {
                    c.poll(false);
                });
            }
            ctx.poll(false);
        })
        .unwrap()
        .join()
        .unwrap();
}
#[test]
fn polls_nested_without_end_panic_rather_than_overflow() {
    let output = run(&mut test_in_child("child_h13"));
    assert!(output.status.success() || String::from_utf8_lossy(&output.stderr).contains("panicked"), "{output:?}");
}

/// Catches: a late block that goes under a guard.
#[test]
#[ignore = "the child of the test below it"]
fn child_h14() {
    let ctx = AioContext::new().unwrap();
    let c = ctx.clone();
    struct Late(Option<AioContext>);
    impl Drop for Late {
        fn drop(&mut self) {
            let c = self.0.take().unwrap();
            let _g = c.enter();
            plain(async {});
            drop(c.spawn_local(async {}));
            c.poll(false);
        }
    }
    thread_local! { static LATE: RefCell<Option<Late>> = const { RefCell::new(None) } }
    thread::spawn(move || {
        LATE.set(Some(Late(Some(c))));
        plain(async {});
    })
    .join()
    .unwrap();
    ctx.poll(false);
}
#[test]
fn enter_in_a_late_destructor_survives_a_call() {
    in_child("child_h14", &[]);
}
#[test]
fn current_in_a_late_destructor_leaves_at_the_threads_end() {
    struct Late(Option<mpsc::Sender<AioContext>>);
    impl Drop for Late {
        fn drop(&mut self) {
            self.0.take().unwrap().send(AioContext::current()).unwrap();
        }
    }
    thread_local! { static LATE: RefCell<Option<Late>> = const { RefCell::new(None) } }
    let (tx, rx) = mpsc::channel();
    thread::spawn(move || {
        LATE.set(Some(Late(Some(tx))));
        plain(async {});
    })
    .join()
    .unwrap();
    let ctx = rx.recv().unwrap();
    let r = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| ctx.poll(false)));
    assert!(r.is_ok(), "its home is a dead thread: {ctx:?}");
}
#[test]
fn a_task_that_unwinds_with_its_contexts_guard_leaves() {
    within_bounds(|| {
        for _ in 0..UNTIL_A_SECOND_IS_TOO_LONG {
            let ctx = AioContext::new().unwrap();
            let g = ctx.enter();
            let t = ctx.spawn_local(async move {
                let _g = g;
                panic!("x")
            });
            let m = panic_of(|| AioContext::current().block_on(t));
            assert_eq!(m, "x");
            assert!(!in_coroutine());
            drop(AioContext::current());
            let c = ctx.clone();
            assert!(thread::spawn(move || c.poll(false)).join().is_ok(), "left");
        }
    });
}

/// Catches: destructors that run in coroutine context, where "flush on drop" cannot.
#[test]
fn w08_the_destructors_of_a_cancelled_task_may_block() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let flushed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&flushed);
        let flush = OnDrop(move || {
            plain(async_io::Timer::after(ms(1)));
            flag.store(true, Ordering::Relaxed);
        });
        let task = ctx.spawn(async move {
            let _f = flush;
            std::future::pending::<()>().await
        });
        ctx.poll(false);
        assert_eq!(ctx.block_on(task.cancel()), None);
        assert!(flushed.load(Ordering::Relaxed));
    });
}

/// Catches: a local task that is dropped by the thread that cancels it, or wakes it last.
#[test]
fn local_tasks_cancelled_and_detached_elsewhere() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _g = ctx.enter();
        let home = thread::current().id();
        let n = Arc::new(AtomicUsize::new(0));
        for i in 0..300 {
            let nn = n.clone();
            let rc = Rc::new(());
            let b = OnDrop(move || {
                assert_eq!(thread::current().id(), home);
                nn.fetch_add(1, Ordering::Relaxed);
                let _ = &rc;
            });
            let w = Arc::new(Mutex::new(None::<std::task::Waker>));
            let w2 = w.clone();
            let t = ctx.spawn_local(async move {
                let _b = b;
                std::future::poll_fn(|cx| {
                    *w2.lock().unwrap() = Some(cx.waker().clone());
                    std::task::Poll::<()>::Pending
                })
                .await
            });
            if i % 2 == 0 {
                ctx.poll(false);
            }
            let j = thread::spawn(move || {
                match i % 3 {
                    0 => drop(t.cancel()),
                    1 => drop(t),
                    _ => {
                        let mut f = Box::pin(t.cancel());
                        let _ = futures::FutureExt::now_or_never(f.as_mut());
                    }
                }
                for _ in 0..10 {
                    if let Some(w) = w.lock().unwrap().take() {
                        w.wake();
                    }
                }
            });
            ctx.poll(false);
            j.join().unwrap();
            ctx.poll(false);
        }
        drop(_g);
        assert_eq!(n.load(Ordering::Relaxed), 300);
    });
}
/// Catches: a context that is dropped while it is polled.
#[test]
fn last_handle_dropped_inside() {
    within_bounds(|| {
        for _ in 0..100 {
            let ctx = AioContext::new().unwrap();
            let (a, b) = (ctx.clone(), ctx.clone());
            drop(ctx.spawn(async move {
                drop(a);
                std::future::pending::<()>().await
            }));
            ctx.schedule_bh(move || drop(b));
            let d = OnDrop(|| {
                AioContext::current().block_on(async {});
            });
            drop(ctx.spawn(async move {
                let _d = d;
                std::future::pending::<()>().await
            }));
            ctx.poll(false);
            ctx.poll(false);
            let g = ctx.enter();
            drop(ctx);
            drop(g);
        }
    });
}

/// Catches: tasks and bottom halves of an outer context that take the inner one for theirs, and leave their timers there
/// when nobody polls it any more.
#[test]
fn x05_what_a_passing_stay_serves_is_current_in_its_own_context() {
    within_bounds(|| {
        let (home, other) = (AioContext::new().unwrap(), AioContext::new().unwrap());
        let guard = home.enter();
        let task = home.spawn(async {
            let here = AioContext::current();
            let sleep = here.sleep(ms(20));
            sleep.await;
            (here, AioContext::current())
        });
        let (seen, see) = mpsc::channel();
        home.schedule_bh(move || seen.send(AioContext::current()).unwrap());
        // Home to `other` for the length of the call, which serves `home` too.
        other.block_on(async {
            assert_eq!(AioContext::current(), other);
            // The task has begun to sleep, and the bottom half comes after it.
            rounds(2).await;
            let sleep = other.sleep(ms(5));
            sleep.await;
            assert_eq!(AioContext::current(), other);
        });
        assert_eq!(see.try_recv().unwrap(), home);
        assert_eq!(plain(task), (home.clone(), home.clone()));
        drop(guard);
    });
}

/// A local task drops the only guard that keeps its thread at home. The thread waited a second in vain, left, and the
/// task was forgotten.
///
/// Catches: leaving a context's home inside a running local task of that context.
#[test]
fn x06_a_local_task_cannot_leave_the_home_that_it_runs_in() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let outer = ctx.enter();
        let entered = ctx.clone();
        let (refused, refusal) = async_channel::bounded(1);
        let (go, goes) = async_channel::bounded(1);
        let task = ctx.spawn_local(async move {
            let guard = entered.enter();
            goes.recv().await.unwrap();
            let message = panic_of(move || drop(guard));
            refused.send(message).await.unwrap();
        });
        ctx.poll(false);
        drop(outer);
        go.try_send(()).unwrap();
        // Of the thread's own context, which serves the other too.
        let message = mixed(refusal.recv()).unwrap();
        assert!(message.contains("inside a local task that still runs there"), "{message}");
        // It goes on.
        mixed(task);
    });
}

/// The condition is the caller's own code: nothing of the context runs.
///
/// Catches: a guard that is refused there, or that ends the home of the `poll_while` around it.
#[test]
fn a_guard_may_be_dropped_in_the_condition_of_poll_while() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let mut guard = Some(ctx.enter());
        let ran = Arc::new(AtomicBool::new(false));
        let run = Arc::clone(&ran);
        ctx.schedule_bh(move || run.store(true, Ordering::Relaxed));
        ctx.poll_while(|| {
            drop(guard.take());
            !ran.load(Ordering::Relaxed)
        });
        // This thread has left.
        thread::spawn(move || drop(ctx.enter())).join().unwrap();
    });
}

/// Catches: a context that is taken for another one when some are left in another order than they were entered.
#[test]
fn many_contexts_are_left_in_any_order() {
    within_bounds(|| {
        const MANY: usize = 300;
        let orders: [fn(usize) -> usize; 4] =
            [|n| n, |n| MANY - 1 - n, |n| n * 7 % MANY, |n| if n % 2 == 0 { n / 2 } else { MANY - 1 - n / 2 }];
        for order in orders {
            let contexts: Vec<_> = (0..MANY).map(|_| AioContext::new().unwrap()).collect();
            let mut guards: Vec<_> = contexts.iter().map(|ctx| Some(ctx.enter())).collect();
            let mut again: Vec<_> = contexts.iter().map(|ctx| Some(ctx.enter())).collect();
            for n in 0..MANY {
                let left = order(n);
                drop(again[left].take());
                drop(guards[left].take());
                assert!(format!("{:?}", contexts[left]).contains("home: None"));
                let last = again.iter().rposition(Option::is_some);
                if let Some(last) = last {
                    assert_eq!(AioContext::current(), contexts[last]);
                }
                // Those that are left over are still served.
                for at in (0..MANY).filter(|at| guards[*at].is_some()).step_by(97) {
                    let ran = Arc::new(Mutex::new(None));
                    let run = Arc::clone(&ran);
                    contexts[at].schedule_bh(move || *run.lock().unwrap() = Some(thread::current().id()));
                    plain(async {
                        let mut polls = 0;
                        std::future::poll_fn(|cx| {
                            polls += 1;
                            cx.waker().wake_by_ref();
                            if polls > 2 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
                        })
                        .await;
                    });
                    assert_eq!(*ran.lock().unwrap(), Some(thread::current().id()));
                }
            }
        }
    });
}

/// A temporary home of `ctx` that leaves when the sender is dropped. Returns when the thread is at home.
fn temporary_home(ctx: &AioContext) -> (async_channel::Sender<()>, thread::JoinHandle<()>) {
    let (release, released) = async_channel::bounded::<()>(1);
    let (at_home, is_at_home) = mpsc::channel();
    let ctx = ctx.clone();
    let home = thread::spawn(move || {
        call_in(&ctx, released, |released| async move {
            at_home.send(()).unwrap();
            assert!(released.recv().await.is_err());
        });
    });
    is_at_home.recv().unwrap();
    (release, home)
}

/// Calls as a mixed wrapper `call_in` of `co_call_in` with `ctx = ctx`.
#[track_caller]
fn call_in<S, E, Fut>(ctx: &AioContext, args: S, entry: E) -> Fut::Output
where
    S: Send,
    E: FnOnce(S) -> Fut + Send,
    Fut: Future<Output: Send>,
{
    static CALL_IN: Wrapper = Wrapper { name: "call_in", target: "co_call_in", mixed: true };
    poll_co_in(&CALL_IN, ctx, args, entry)
}

/// Two calls of one thread, the second nested in the wait of the first, wait in a context that another thread is home to.
/// That one leaves. So the second call makes its thread the home, which starts both, and is done first. It is nested so deep
/// that the first one is not polled meanwhile. Then a third thread calls.
///
/// Catches: a thread that leaves home with its second call, though its first one was started there: the next home may not
/// poll that, and it never ends.
#[test]
fn x05_a_thread_stays_home_for_a_call_of_its_own_that_a_nested_call_has_started() {
    for calls in [0, waiting::DEEP] {
        within_bounds(move || {
            let ctx = AioContext::new().unwrap();
            let (release, home) = temporary_home(&ctx);
            let (go_on, goes_on) = async_channel::bounded(1);
            let (ends, third) = mpsc::channel();
            let there = ctx.clone();
            let caller = thread::spawn(move || {
                let nested = there.clone();
                AioContext::current().schedule_bh(move || {
                    waiting::below(calls, &mut || call_in(&nested, (), |()| async {}));
                    assert_eq!(nested.stats().tasks_live, 1, "the first call was started and waits");
                    let own = AioContext::new().unwrap();
                    let third_sleeps = sleeps(&own);
                    let next = thread::spawn(move || {
                        let _own = own.enter();
                        call_in(&nested, (), |()| async {});
                    });
                    // It waits for a home.
                    third_sleeps();
                    ends.send(next).unwrap();
                    go_on.try_send(5).unwrap();
                });
                call_in(&there, goes_on, |goes_on| async move { goes_on.recv().await.unwrap() })
            });
            while ctx.stats().tasks_live < 2 {
                thread::yield_now();
            }
            drop(release);
            assert_eq!(caller.join().unwrap(), 5);
            third.recv().unwrap().join().unwrap();
            assert_eq!(ctx.stats().tasks_live, 0);
            home.join().unwrap();
        });
    }
}

/// Like the test above, but the first call is done in the loop of one more nested call, which waits for a third thread's
/// call in that context.
///
/// Catches: a first call that a nested loop finishes, and that stays home to the context until its own frame goes on: a
/// temporary home does not serve the third thread, so both threads wait for ever.
#[test]
fn x05_w12_a_call_that_a_nested_loop_finishes_leaves_home_at_once() {
    for calls in [0, waiting::DEEP] {
        within_bounds(move || {
            let ctx = AioContext::new().unwrap();
            let (release, home) = temporary_home(&ctx);
            let (go_on, goes_on) = async_channel::bounded(1);
            let there = ctx.clone();
            let caller = thread::spawn(move || {
                let nested = there.clone();
                AioContext::current().schedule_bh(move || {
                    waiting::below(calls, &mut || call_in(&nested, (), |()| async {}));
                    let own = AioContext::new().unwrap();
                    let third_sleeps = sleeps(&own);
                    let (third, third_is_done) = async_channel::bounded(1);
                    let next = thread::spawn(move || {
                        let _own = own.enter();
                        call_in(&nested, third, |third| async move { third.try_send(()).unwrap() });
                    });
                    third_sleeps();
                    go_on.try_send(5).unwrap();
                    mixed(async { third_is_done.recv().await.unwrap() });
                    next.join().unwrap();
                });
                call_in(&there, goes_on, |goes_on| async move { goes_on.recv().await.unwrap() })
            });
            while ctx.stats().tasks_live < 2 {
                thread::yield_now();
            }
            drop(release);
            assert_eq!(caller.join().unwrap(), 5);
            home.join().unwrap();
            assert!(format!("{ctx:?}").contains("home: None"), "{ctx:?}");
        });
    }
}

/// Like the first of these tests, but the first call's future enters its context, and drops the guard when nothing else
/// but the call itself keeps the thread home.
///
/// Catches: a guard that such a future may not drop, as a local task may not. The thread stays home for the call, so it
/// can still poll and drop the future.
#[test]
fn x05_x06_a_call_that_keeps_its_thread_home_may_drop_the_last_guard() {
    for calls in [0, waiting::DEEP] {
        within_bounds(move || {
            let ctx = AioContext::new().unwrap();
            let (release, home) = temporary_home(&ctx);
            let (go_on, goes_on) = async_channel::bounded(1);
            let there = ctx.clone();
            let caller = thread::spawn(move || {
                let nested = there.clone();
                AioContext::current().schedule_bh(move || {
                    waiting::below(calls, &mut || call_in(&nested, (), |()| async {}));
                    go_on.try_send(5).unwrap();
                });
                let ctx = &there;
                call_in(ctx, goes_on, |goes_on| async move {
                    let guard = ctx.enter();
                    let answer = goes_on.recv().await.unwrap();
                    drop(guard);
                    answer
                })
            });
            while ctx.stats().tasks_live < 2 {
                thread::yield_now();
            }
            drop(release);
            assert_eq!(caller.join().unwrap(), 5);
            home.join().unwrap();
            assert!(format!("{ctx:?}").contains("home: None"), "{ctx:?}");
        });
    }
}

/// Two callers wait for a home. The first one's thread is blocked by a bottom half until the second one's call is done.
///
/// Catches: a thread that leaves home and wakes the first caller alone, or only callers whose calls were started.
#[test]
fn x05_a_thread_that_leaves_home_wakes_every_caller() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let (release, home) = temporary_home(&ctx);
        let (second_is_done, done) = mpsc::channel();
        let (blocks, blocked) = mpsc::channel();
        let there = ctx.clone();
        let first = thread::spawn(move || {
            AioContext::current().schedule_bh(move || {
                blocks.send(()).unwrap();
                done.recv().unwrap();
            });
            call_in(&there, 1, |n| async move { n });
        });
        blocked.recv().unwrap();
        let (there, own) = (ctx.clone(), AioContext::new().unwrap());
        let second_sleeps = sleeps(&own);
        let second = thread::spawn(move || {
            let _own = own.enter();
            call_in(&there, 2, |n| async move { n });
            second_is_done.send(()).unwrap();
        });
        while ctx.stats().tasks_live < 2 {
            thread::yield_now();
        }
        // Before it sleeps it would see for itself that there is no home.
        second_sleeps();
        drop(release);
        [home, first, second].into_iter().for_each(|thread| thread.join().unwrap());
    });
}
