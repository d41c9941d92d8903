//! Blocking wrappers: those lines w of the contract that need no tokio.

#![cfg(not(loom))]

mod common;
#[path = "common/waiting.rs"]
mod waiting;

use std::{
    cell::Cell,
    future::poll_fn,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    thread,
    time::Duration,
};

use async_io::Timer;
use co_wrapper_runtime::{AioContext, in_coroutine};
use common::{mixed, ms, on_stack_of, panic_of, plain, within_bounds};
use waiting::{rounds, sleeps};

/// Catches: a loop that only waits.
#[test]
fn w02_the_contexts_tasks_and_bottom_halves_go_on_while_a_wrapper_waits() {
    within_bounds(|| {
        let ctx = AioContext::current();
        let (ask, asked) = async_channel::bounded::<u32>(1);
        let (answer, answered) = async_channel::bounded(1);
        let scheduler = ctx.clone();
        let server = ctx.spawn(async move {
            let question = asked.recv().await.unwrap();
            Timer::after(ms(1)).await;
            scheduler.schedule_bh(move || answer.try_send(question + 1).unwrap());
        });
        let result = plain(async {
            ask.send(41).await.unwrap();
            answered.recv().await
        });
        assert_eq!(result, Ok(42));
        ctx.block_on(server);
    });
}

/// Catches: a check made only when the future has to wait; a message without the name, the place or the cure.
#[test]
fn w03_a_plain_wrapper_in_coroutine_context_panics_ready_or_not() {
    let line = line!() + 1;
    let call = || plain(async { 1 });
    // co-check: allow — the test is about the panic
    let message = AioContext::current().block_on(async { panic_of(call) });
    for part in ["plain:", &format!("{}:{line}:", file!()), "co_plain(…).await", "#[co_wrapper(mixed)]"] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    // In a task too, and in a wrapper's future.
    // co-check: allow — the test is about the panic
    let task = AioContext::current().spawn(async { panic_of(|| plain(async { 1 })) });
    assert!(AioContext::current().block_on(task).contains("plain:"));
    // co-check: allow — the test is about the panic
    assert!(mixed(async { panic_of(|| plain(std::future::pending::<()>())) }).contains("plain:"));
    // A mixed one may.
    assert_eq!(plain(async { mixed(async { 2 }) }), 2);
    assert!(!in_coroutine());
}

/// Catches: a wake that goes to the thread's innermost frame instead of the one that waits for it.
#[test]
fn w04_completion_wakes_that_waiter_whoever_completes_it() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let (outer_done, outer) = async_channel::bounded(1);
        let (inner_done, inner) = async_channel::bounded(1);
        let asleep = sleeps(&ctx);
        let helper = thread::spawn(move || {
            // The outer one first, while the inner one waits.
            asleep();
            outer_done.send_blocking("outer").unwrap();
            inner_done.send_blocking("inner").unwrap();
        });
        let results = plain(async { (mixed(inner.recv()).unwrap(), outer.recv().await.unwrap()) });
        assert_eq!(results, ("inner", "outer"));
        helper.join().unwrap();
    });
}

/// Catches: a frame that stays on the stack, or a mark that stays set, after a panic.
#[test]
fn w05_a_panic_in_the_future_reaches_the_caller_and_spares_the_context() {
    within_bounds(|| {
        let waits_then_panics = async {
            Timer::after(ms(1)).await;
            panic!("of the future");
        };
        assert_eq!(panic_of(|| plain(waits_then_panics)), "of the future");
        assert!(!in_coroutine());
        let task = AioContext::current().spawn(async { 3 });
        assert_eq!(AioContext::current().block_on(task), 3);
        // Every frame is gone: as many nest as before.
        on_fresh_depth();
    });
}

fn on_fresh_depth() {
    fn nest(left: u32) -> u32 {
        mixed(async move { if left == 0 { 0 } else { 1 + nest(left - 1) } })
    }
    assert_eq!(nest(100), 100);
}

/// Catches: a wait that ends early by the panic of what it ran, leaving a call in flight.
#[test]
fn w05_a_panic_in_what_the_loop_runs_is_raised_after_the_call_is_done() {
    within_bounds(|| {
        let ctx = AioContext::current();
        ctx.schedule_bh(|| panic!("first"));
        ctx.schedule_bh(|| panic!("second"));
        let done = Rc::new(Cell::new(false));
        let seen = Rc::clone(&done);
        let message = panic_of(|| {
            plain(async move {
                // The bottom halves run in these.
                rounds(3).await;
                seen.set(true);
            })
        });
        assert_eq!(message, "first");
        assert!(done.get(), "the call was done when the panic came");
        assert_eq!(plain(async { 1 }), 1);
    });
}

async fn sleep_briefly() {
    Timer::after(Duration::from_micros(100)).await;
}

/// Catches: frames of the loop that are too large.
#[test]
fn w07_128_mixed_wrappers_nest_on_a_2_mib_stack() {
    fn chain(left: u32) -> u32 {
        mixed(async move {
            sleep_briefly().await;
            let below = if left == 1 { 0 } else { chain(left - 1) };
            sleep_briefly().await;
            below + 1
        })
    }
    assert_eq!(on_stack_of(2 << 20, || chain(128)), 128);
}

/// Catches: endless nesting that ends in the stack's end.
#[test]
fn w07_far_past_that_a_panic_tells() {
    fn endless() {
        mixed(async {
            sleep_briefly().await;
            endless();
        });
    }
    let message = on_stack_of(2 << 20, || panic_of(endless));
    assert!(message.contains("mixed:") && message.contains("256"), "{message}");
}

/// Catches: a wrapper that panics while its thread unwinds, which aborts.
#[test]
fn w08_usable_in_drop_also_while_unwinding_and_in_thread_local_destructors() {
    struct Flushes(Arc<AtomicUsize>);
    impl Drop for Flushes {
        fn drop(&mut self) {
            plain(sleep_briefly());
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    within_bounds(|| {
        let flushed = Arc::new(AtomicUsize::new(0));
        drop(Flushes(Arc::clone(&flushed)));
        assert_eq!(flushed.load(Ordering::Relaxed), 1);

        let held = Flushes(Arc::clone(&flushed));
        let message = panic_of(|| {
            let _held = held;
            panic!("unwinding");
        });
        assert_eq!((message.as_str(), flushed.load(Ordering::Relaxed)), ("unwinding", 2));

        // w03's exception: in a coroutine that is unwinding the plain wrapper nests.
        let held = Flushes(Arc::clone(&flushed));
        let message = panic_of(|| {
            AioContext::current().block_on(async {
                let _held = held;
                panic!("unwinding");
            })
        });
        assert_eq!((message.as_str(), flushed.load(Ordering::Relaxed)), ("unwinding", 3));

        thread_local! {
            static BEFORE: Cell<Option<Flushes>> = const { Cell::new(None) };
            static AFTER: Cell<Option<Flushes>> = const { Cell::new(None) };
        }
        let counter = Arc::clone(&flushed);
        thread::spawn(move || {
            // One registered before the runtime's own thread-local and one after, so destroyed after and before it.
            BEFORE.set(Some(Flushes(Arc::clone(&counter))));
            plain(async {});
            drop(AioContext::current().spawn_local(std::future::pending::<()>()));
            AFTER.set(Some(Flushes(counter)));
        })
        .join()
        .unwrap();
        assert_eq!(flushed.load(Ordering::Relaxed), 5);
    });
}

/// Catches: `thread::park` in the loop, which eats the token that a host executor on this thread waits for.
#[test]
fn w09_the_threads_park_token_is_not_eaten() {
    within_bounds(|| {
        thread::current().unpark();
        plain(Timer::after(ms(2)));
        // If the token is gone, for ever.
        thread::park();
    });
}

/// Nesting deepest seen, and the order in which tasks finished.
#[derive(Default)]
struct Nesting {
    now: AtomicUsize,
    deepest: AtomicUsize,
    finished: Mutex<Vec<usize>>,
}

impl Nesting {
    fn call<F: Future>(&self, future: F) -> F::Output {
        let depth = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.deepest.fetch_max(depth, Ordering::Relaxed);
        let output = mixed(future);
        self.now.fetch_sub(1, Ordering::Relaxed);
        output
    }
}

/// `count` tasks that each wait `wait` in one mixed wrapper, and are started before if `begin` is set. The loop's own timers
/// end the waits: another thread's might come late, and whatever comes late nests deeper.
fn tasks_with_one_wrapper_each(count: usize, wait: Duration, begin: bool) -> Arc<Nesting> {
    within_bounds(move || {
        let ctx = AioContext::current();
        let nesting = Arc::new(Nesting::default());
        let tasks: Vec<_> = (0..count)
            .map(|n| {
                let nesting = Arc::clone(&nesting);
                ctx.spawn(async move {
                    if begin {
                        yield_now().await;
                    }
                    nesting.call(AioContext::current().sleep(wait));
                    nesting.finished.lock().unwrap().push(n);
                })
            })
            .collect();
        for task in tasks {
            ctx.block_on(task);
        }
        nesting
    })
}

fn assert_bounded(nesting: &Nesting, count: usize) {
    let deepest = nesting.deepest.load(Ordering::Relaxed);
    assert!(deepest < 64, "nested {deepest} deep");
    let finished = nesting.finished.lock().unwrap();
    assert_eq!(finished.len(), count);
    assert_ne!(*finished.last().unwrap(), 0, "the first is not the last");
}

/// Catches: a nested loop that begins tasks (1,001 deep, the first one last).
#[test]
fn w11_a_thousand_tasks_with_one_short_wrapper_each_do_not_nest() {
    assert_bounded(&tasks_with_one_wrapper_each(1_000, ms(1), false), 1_000);
}

/// Catches: a nested loop that runs started tasks at every depth.
#[test]
fn w11_nor_when_all_of_them_were_begun() {
    assert_bounded(&tasks_with_one_wrapper_each(1_000, ms(1), true), 1_000);
}

/// Catches: a patience that does not grow, with which waits longer than it nest without end.
#[test]
fn w11_waits_longer_than_the_patience_do_not_nest_without_end() {
    let nesting = tasks_with_one_wrapper_each(100, ms(40), false);
    let deepest = nesting.deepest.load(Ordering::Relaxed);
    assert!(deepest < 64, "nested {deepest} deep");
}

/// Catches: holding back for good.
#[test]
fn w11_a_chain_of_128_tasks_each_waiting_for_one_that_it_just_spawned_finishes() {
    fn link(ctx: AioContext, left: usize) -> usize {
        if left == 0 {
            return 0;
        }
        let next = ctx.clone();
        let task = ctx.spawn(async move { link(next, left - 1) });
        mixed(task) + 1
    }
    let chained = within_bounds(|| {
        let ctx = AioContext::current();
        let first = ctx.clone();
        let task = ctx.spawn(async move { link(first, 128) });
        ctx.block_on(task)
    });
    assert_eq!(chained, 128);
}

/// Catches: started tasks that are held back for as long as the future of an outer call is woken.
#[test]
fn w11_a_nested_wait_for_a_task_ends_while_a_lower_branch_is_woken() {
    within_bounds(|| {
        let ctx = AioContext::current();
        let (tx, rx) = async_channel::bounded(1);
        let task = ctx.spawn(async move {
            let mut sum = 0;
            for _ in 0..100 {
                sum += rx.recv().await.unwrap();
            }
            sum
        });
        ctx.poll(false);
        let woken = async {
            // The branch wakes the root's future over and over; it gets to run when the nested call is done.
            yield_now().await;
        };
        let nested = async {
            let feeder = ctx.spawn(async move {
                for n in 0..100 {
                    tx.send(n).await.unwrap();
                }
            });
            let sum = mixed(task);
            feeder.await;
            sum
        };
        let (sum, ()) = ctx.block_on(async { futures::join!(nested, woken) });
        assert_eq!(sum, 4_950);
    });
}

/// Catches: bottom halves that each block nesting without end.
#[test]
fn w11_bottom_halves_that_block_do_not_nest_without_end() {
    within_bounds(|| {
        let ctx = AioContext::current();
        let nesting = Arc::new(Nesting::default());
        for n in 0..200 {
            let nesting = Arc::clone(&nesting);
            ctx.schedule_bh(move || {
                nesting.call(AioContext::current().sleep(ms(1)));
                nesting.finished.lock().unwrap().push(n);
            });
        }
        while nesting.finished.lock().unwrap().len() < 200 {
            ctx.poll(false);
        }
        assert!(nesting.deepest.load(Ordering::Relaxed) < 64);
    });
}

/// Sixteen threads that call one object, each woken by another.
#[test]
fn wrappers_on_many_threads_wake_each_other() {
    within_bounds(|| {
        const THREADS: usize = 16;
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| async_channel::bounded::<usize>(1)).unzip();
        senders[0].send_blocking(0).unwrap();
        thread::scope(|scope| {
            for me in 0..THREADS {
                let (mine, next) = (&receivers[me], &senders[(me + 1) % THREADS]);
                scope.spawn(move || {
                    for round in 0..200 {
                        let token = plain(mine.recv()).unwrap();
                        assert_eq!(token, round * THREADS + me);
                        plain(next.send(token + 1)).unwrap();
                    }
                });
            }
        });
    });
}

/// Pending once, woken at once.
fn yield_now() -> impl Future<Output = ()> {
    let mut yielded = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// Catches: a waker that points into a frame that is gone.
#[test]
fn a_waker_outlives_its_call_and_its_thread() {
    let waker: Waker = thread::spawn(|| plain(poll_fn(|cx| Poll::Ready(cx.waker().clone())))).join().unwrap();
    waker.wake_by_ref();
    drop(waker);
    let done = AtomicBool::new(false);
    plain(async { done.store(true, Ordering::Relaxed) });
    assert!(done.into_inner());
}
