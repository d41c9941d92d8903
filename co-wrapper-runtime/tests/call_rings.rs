//! Threads that call into each other's contexts while all of them wait: the call of a thread that is waited for goes first.
//! The line x07 of the contract.
//!
//! A nested wait holds back what was never polled, and takes it, the oldest first, when nothing has moved for a while. So in
//! the first test an older task waits beside the call: a call that starts at once starts before that task. The test looks at
//! the order, not at the clock.

#![cfg(not(loom))]

mod common;

use std::{
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::Poll,
    thread,
    time::Duration,
};

use async_channel::Sender;
use co_wrapper_runtime::{
    __private::{Wrapper, poll_co_in},
    AioContext, IoThread,
};
use common::{mixed, plain, sized, within_bounds};

static REMOTE: Wrapper = Wrapper { name: "remote", target: "co_remote", mixed: true };

/// Makes the call that a mixed wrapper `remote` of `co_remote` with `ctx = ctx` would make.
#[track_caller]
fn remote<S, E, Fut>(ctx: &AioContext, args: S, entry: E) -> Fut::Output
where
    S: Send,
    E: FnOnce(S) -> Fut + Send,
    Fut: Future<Output: Send>,
{
    poll_co_in(&REMOTE, ctx, args, entry)
}

fn io_threads(count: usize) -> (Vec<IoThread>, Arc<Vec<AioContext>>) {
    let threads: Vec<_> = (0..count).map(|n| IoThread::spawn(&format!("io{n}")).unwrap()).collect();
    let contexts = threads.iter().map(|io| io.context().clone()).collect();
    (threads, Arc::new(contexts))
}

/// How the first thread of a chain waits for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    InATask,
    InACallback,
    /// In the future of another call.
    InACall,
    /// In a frame inside which another wait is nested, for what the call does.
    BelowAnother,
}

/// A chain of calls through `count` threads comes back to the first one, in whose queue an older task waits. Returns
/// which of the two ran first there.
fn comes_back(count: usize, waits: Waits) -> &'static str {
    /// Calls from thread to thread. The last one queues `older` in the first one's context, and then calls into that
    /// context.
    fn hop(contexts: &[AioContext], at: usize, let_go: &Sender<()>, order: &Sender<&'static str>) {
        let next = &contexts[(at + 1) % contexts.len()];
        if at + 1 < contexts.len() {
            return remote(next, at + 1, |at| async move { hop(contexts, at, let_go, order) });
        }
        let_go.try_send(()).unwrap();
        let older = order.clone();
        drop(next.spawn(async move { older.try_send("older").unwrap() }));
        remote(next, order, |order| async { order.try_send("call").unwrap() });
    }

    let (threads, contexts) = io_threads(count);
    let first = contexts[0].clone();
    let (order, events) = async_channel::unbounded();
    let (done, is_done) = async_channel::bounded(1);

    // While the chain comes back, a task keeps the first thread busy until both are in its queue.
    let (let_go, go) = async_channel::bounded::<()>(1);
    let (busy, is_busy) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel::<()>();
    let (called, has_called) = async_channel::bounded::<()>(1);
    let holds_up = first.spawn(async move {
        go.recv().await.unwrap();
        busy.send(()).unwrap();
        goes_on.recv().unwrap();
        if waits == Waits::BelowAnother {
            assert!(mixed(has_called.recv()).is_err());
        }
    });
    // So that `holds_up` is polled once: a nested wait runs it only then.
    plain(first.spawn(async {}));
    let all = Arc::clone(&contexts);
    let member = move || {
        match waits {
            Waits::InACall => mixed(async { hop(&all, 0, &let_go, &order) }),
            _ => hop(&all, 0, &let_go, &order),
        }
        done.try_send(()).unwrap();
    };
    // `holds_up`, the older task, the call, and `member` if that is a task.
    let live = if waits == Waits::InACallback { 3 } else { 4 };
    match waits {
        Waits::InACallback => first.schedule_bh(member),
        _ => drop(first.spawn(async move { member() })),
    }
    is_busy.recv().unwrap();
    while first.stats().tasks_live < live {
        thread::yield_now();
    }
    go_on.send(()).unwrap();
    let ran_first = events.recv_blocking().unwrap();
    drop(called);
    is_done.recv_blocking().unwrap();
    plain(holds_up);
    drop(threads);
    ran_first
}

/// Catches: a call that is held back although this thread waits for its caller, directly or through other threads; a
/// call that starts only if the innermost wait of the thread is for its caller, or only if that wait is in a task.
#[test]
#[cfg_attr(miri, ignore = "the threads spin, which takes Miri long")]
fn x07_the_call_of_whoever_is_waited_for_starts_before_what_is_older() {
    for waits in [Waits::InATask, Waits::InACallback, Waits::InACall, Waits::BelowAnother] {
        for count in [2, 3, 4, 6] {
            within_bounds(move || {
                assert_eq!(comes_back(count, waits), "call", "{count} threads, {waits:?}");
            });
        }
    }
}

/// Catches: a call that is started twice, or never, in whichever order the calls are made; calls that nest though
/// nothing in them waits.
#[test]
fn x07_threads_in_a_ring_that_call_each_other_at_once_all_go_on() {
    for count in [2, 3, 4, 5] {
        within_bounds(move || {
            let rounds = sized(200, 3);
            let (threads, contexts) = io_threads(count);
            let (calls, all_there) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(count)));
            let (done, is_done) = async_channel::unbounded();
            for (at, thread) in threads.iter().enumerate() {
                let (contexts, calls, all_there, done) =
                    (Arc::clone(&contexts), Arc::clone(&calls), Arc::clone(&all_there), done.clone());
                drop(thread.context().spawn(async move {
                    let (contexts, calls) = (&*contexts, &*calls);
                    let next = (at + 1) % contexts.len();
                    all_there.wait();
                    for round in 0..rounds {
                        let answer = remote(&contexts[next], round, |round| async move {
                            calls.fetch_add(1, Ordering::SeqCst);
                            (AioContext::current() == contexts[next]).then_some(round)
                        });
                        assert_eq!(answer, Some(round));
                    }
                    done.try_send(()).unwrap();
                }));
            }
            for _ in 0..count {
                is_done.recv_blocking().unwrap();
            }
            assert_eq!(calls.load(Ordering::SeqCst), count * rounds);
            assert!(contexts.iter().all(|context| context.stats().deepest_nesting == 1));
        });
    }
}

/// Calls that go back and forth nest, each on its thread's stack, as deep as there are calls.
///
/// Catches: a rule by which only the first call of the chain starts at once.
#[test]
fn x07_calls_go_back_and_forth() {
    fn bounce(contexts: &[AioContext], left: usize) -> usize {
        if left == 0 {
            return 0;
        }
        remote(&contexts[left % contexts.len()], left, |left| async move { 1 + bounce(contexts, left - 1) })
    }

    for count in [2, 3] {
        within_bounds(move || {
            let (_threads, contexts) = io_threads(count);
            let calls = sized(60, 10);
            assert_eq!(bounce(&contexts, calls), calls);
        });
    }
}

/// How a call waits once before it goes on.
#[derive(Clone, Copy, Debug)]
enum Awaits {
    Nothing,
    /// It is woken in its poll.
    Itself,
    /// Another thread wakes it.
    Another,
}

impl Awaits {
    async fn wait(self) {
        match self {
            Self::Nothing => {}
            Self::Itself => {
                let mut polled = false;
                let once = std::future::poll_fn(|cx| {
                    if std::mem::replace(&mut polled, true) {
                        return Poll::Ready(());
                    }
                    cx.waker().wake_by_ref();
                    Poll::Pending
                });
                once.await;
            }
            Self::Another => {
                let (wakes, is_woken) = async_channel::bounded(1);
                let waker = thread::spawn(move || wakes.try_send(()).unwrap());
                is_woken.recv().await.unwrap();
                waker.join().unwrap();
            }
        }
    }
}

/// Calls go around a ring of threads, so that on each there are `frames` of them, and each waits once before it makes the
/// next one. The last one spawns a task before it waits: both wait for their turn then, and the task is older. The test
/// looks at which goes first.
///
/// Catches: a call that starts at once, and is held back when it has awaited something with many frames on its thread.
#[test]
#[cfg_attr(miri, ignore = "Miri takes long")]
fn x07_a_call_of_whoever_is_waited_for_goes_on_before_what_is_older() {
    fn hop(contexts: &[AioContext], left: usize, awaits: Awaits, order: &Sender<&'static str>) {
        let next = &contexts[left % contexts.len()];
        remote(next, (), |()| async move {
            if left == 1 {
                let older = order.clone();
                drop(next.spawn(async move { older.try_send("older").unwrap() }));
                Awaits::Itself.wait().await;
                return order.try_send("call").unwrap();
            }
            awaits.wait().await;
            hop(contexts, left - 1, awaits, order);
        });
    }

    for awaits in [Awaits::Nothing, Awaits::Itself, Awaits::Another] {
        for count in [2, 3] {
            for frames in [1, 15, 16, 17, 40] {
                within_bounds(move || {
                    let (threads, contexts) = io_threads(count);
                    let (order, events) = async_channel::unbounded();
                    let (done, is_done) = async_channel::bounded(1);
                    let first = contexts[1].clone();
                    let task = first.spawn(async move {
                        hop(&contexts, frames * count, awaits, &order);
                        done.try_send(()).unwrap();
                    });
                    is_done.recv_blocking().unwrap();
                    assert_eq!(
                        events.recv_blocking(),
                        Ok("call"),
                        "{awaits:?}, {count} threads, {frames} frames on each"
                    );
                    assert_eq!(events.recv_blocking(), Ok("older"));
                    plain(task);
                    drop(threads);
                });
            }
        }
    }
}

/// On threads in a ring, many tasks call into the next thread's context, and each such call makes a call that waits.
///
/// Catches: calls that start at once whenever their thread is waited for, however deep they nest.
#[test]
#[cfg_attr(miri, ignore = "Miri takes long")]
fn x07_w11_many_tasks_that_call_around_a_ring_do_not_nest_without_end() {
    const TASKS: usize = 300;
    let deepest = |count: usize, awaits: Awaits| {
        within_bounds(move || {
            let (_threads, contexts) = io_threads(count);
            let (done, is_done) = async_channel::unbounded();
            for at in (0..count).cycle().take(count * TASKS) {
                let (contexts, done) = (Arc::clone(&contexts), done.clone());
                drop(contexts[at].clone().spawn(async move {
                    remote(&contexts[(at + 1) % contexts.len()], (), |()| async {
                        awaits.wait().await;
                        mixed(AioContext::current().sleep(Duration::from_millis(1)));
                    });
                    done.try_send(()).unwrap();
                }));
            }
            for _ in 0..count * TASKS {
                is_done.recv_blocking().unwrap();
            }
            let deepest = contexts.iter().map(|context| context.stats().deepest_nesting).max().unwrap();
            println!("{deepest} calls deep with {count} threads, {awaits:?}");
            deepest
        })
    };
    for (count, awaits) in [(2, Awaits::Nothing), (3, Awaits::Nothing), (2, Awaits::Itself), (3, Awaits::Itself)] {
        // Whenever a busy machine holds a thread up, another one takes one more of what it holds back. If the depth had no
        // bound, it would be too deep each time.
        assert!((0..5).any(|_| deepest(count, awaits) < 64), "{count} threads, {awaits:?}: too deep each time");
    }
}
