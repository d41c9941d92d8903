//! Outer calls on a thread's stack that wait: whatever runs nested inside them polls their futures. The line w12 of the
//! contract.
//!
//! An outer call (`lower` in names) waits. Its loop runs something nested (`upper` in names) that waits in turn, for what
//! only the outer call's future can do. The first test is a table of both, and of what connects them; the other tests hold
//! what a table cannot express.

#![cfg(not(loom))]

mod common;
#[path = "common/waiting.rs"]
mod waiting;

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use async_channel::{Receiver, Sender};
use co_wrapper_runtime::{
    __private::{Wrapper, arg, no_co, poll_co_in, poll_co_in_timeout, poll_co_timeout},
    AioContext, Elapsed, IoThread, block_on, in_coroutine,
};
use common::{mixed, panic_of, plain, within_bounds};

static REMOTE: Wrapper = Wrapper { name: "remote", target: "co_remote", mixed: true };
static TIMED: Wrapper = Wrapper { name: "timed", target: "co_timed", mixed: true };
static NO_CO: Wrapper = Wrapper { name: "co_body", target: "body", mixed: false };

/// Longer than any test.
const LONG: Duration = Duration::from_secs(3_600);

type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs `test` with the main context entered, one test at a time. Fails if it takes longer than a minute.
fn on_main(test: impl FnOnce(AioContext) + Send + 'static) {
    static MAIN: Mutex<()> = Mutex::new(());
    let _turn = MAIN.lock().unwrap_or_else(PoisonError::into_inner);
    within_bounds(move || {
        let main = AioContext::main();
        let _home = main.enter();
        test(main);
    });
}

/// The future of the outer call, which begins when it receives, and the future that the nested wait is for.
type Link = (&'static str, fn(Receiver<()>) -> (Boxed, Boxed));

const LINKS: &[Link] = &[
    ("a channel", |go| {
        let (tx, rx) = async_channel::bounded(1);
        let lower = async move {
            go.recv().await.unwrap();
            tx.send(()).await.unwrap();
        };
        (Box::pin(lower), Box::pin(async move { rx.recv().await.unwrap() }))
    }),
    ("a channel without room", |go| {
        // Both wait for each other in turn, so the outer call is polled more than once.
        let (tx, rx) = async_channel::bounded(1);
        let lower = async move {
            go.recv().await.unwrap();
            for n in 0..5 {
                tx.send(n).await.unwrap();
            }
        };
        let upper = async move {
            for n in 0..5 {
                assert_eq!(rx.recv().await, Ok(n));
            }
        };
        (Box::pin(lower), Box::pin(upper))
    }),
    ("a mutex", |go| {
        let mutex = Arc::new(futures::lock::Mutex::new(()));
        let (held, wanted) = (mutex.clone().try_lock_owned().unwrap(), mutex);
        let lower = async move {
            go.recv().await.unwrap();
            drop(held);
        };
        (Box::pin(lower), Box::pin(async move { drop(wanted.lock().await) }))
    }),
    ("a oneshot that is sent again and again", |go| {
        let (tx, rx) = async_channel::bounded::<futures::channel::oneshot::Sender<()>>(1);
        let lower = async move {
            go.recv().await.unwrap();
            while let Ok(answer) = rx.recv().await {
                answer.send(()).unwrap();
            }
        };
        let upper = async move {
            for _ in 0..3 {
                let (answer, answered) = futures::channel::oneshot::channel();
                tx.send(answer).await.unwrap();
                answered.await.unwrap();
            }
        };
        (Box::pin(lower), Box::pin(upper))
    }),
    ("a join handle", |go| {
        let (tx, rx) = async_channel::bounded::<()>(1);
        let lower = async move {
            go.recv().await.unwrap();
            drop(tx);
        };
        let spawned = AioContext::current().spawn(async move { assert!(rx.recv().await.is_err()) });
        (Box::pin(lower), Box::pin(spawned))
    }),
    ("a timer", |go| {
        let (tx, rx) = async_channel::bounded(1);
        let lower = async move {
            go.recv().await.unwrap();
            AioContext::current().sleep(Duration::from_millis(1)).await;
            tx.send(()).await.unwrap();
        };
        (Box::pin(lower), Box::pin(async move { rx.recv().await.unwrap() }))
    }),
    ("a nested call", |go| {
        let (tx, rx) = async_channel::bounded(1);
        let lower = async move {
            go.recv().await.unwrap();
            mixed(AioContext::current().sleep(Duration::from_millis(1)));
            tx.send(()).await.unwrap();
        };
        (Box::pin(lower), Box::pin(async move { rx.recv().await.unwrap() }))
    }),
    #[cfg(feature = "graph")]
    ("a drained section", |go| {
        let node = Arc::new(co_wrapper_runtime::graph::Drain::new());
        let in_flight = Arc::clone(&node);
        let lower = async move {
            let _request = in_flight.begin().await;
            go.recv().await.unwrap();
            AioContext::current().sleep(Duration::from_micros(50)).await;
        };
        (Box::pin(lower), Box::pin(async move { drop(node.co_drained().await) }))
    }),
];

/// How the outer call waits.
type Lower = (&'static str, fn(Boxed));

const LOWERS: &[Lower] = &[
    ("a plain wrapper", |future| plain(future)),
    ("a wrapper with a timeout", |future| {
        poll_co_timeout(&TIMED, LONG, future, |future| future).unwrap();
    }),
    ("block_on", |future| block_on(future)),
    ("a context's block_on", |future| AioContext::current().block_on(future)),
    ("the block_on of a context without a home", |future| AioContext::new().unwrap().block_on(future)),
    ("a call into the thread's own context", |future| {
        poll_co_in(&REMOTE, &AioContext::current(), future, |future| future);
    }),
    ("the same with a timeout", |future| {
        poll_co_in_timeout(&TIMED, &AioContext::current(), LONG, future, |future| future).unwrap();
    }),
    ("a mixed wrapper in a task", |future| {
        let ctx = AioContext::current();
        ctx.block_on(ctx.spawn(async move { mixed(future) }));
    }),
    ("a large future", |future| {
        plain(async move {
            let large = [1_u8; 20 << 10];
            future.await;
            assert_eq!(large.iter().map(|byte| usize::from(*byte)).sum::<usize>(), large.len());
        });
    }),
    ("a plain wrapper inside another one, which is done first", |future| {
        let (begins, begun) = async_channel::bounded(1);
        AioContext::current().schedule_bh(move || {
            begins.try_send(()).unwrap();
            plain(future);
        });
        plain(begun.recv()).unwrap();
    }),
];

/// In what kind of code the nested wait runs.
type Upper = (&'static str, fn(AioContext, Box<dyn FnOnce() + Send>) -> Box<dyn std::any::Any>);

const UPPERS: &[Upper] = &[
    ("a bottom half", |ctx, upper| {
        ctx.schedule_bh(upper);
        Box::new(())
    }),
    ("a task", |ctx, upper| {
        drop(ctx.spawn(async move { upper() }));
        Box::new(())
    }),
    ("a body of no_co", |ctx, upper| {
        drop(ctx.spawn(no_co(&NO_CO, (), |()| {
            upper();
            arg(())
        })));
        Box::new(())
    }),
    #[cfg(all(unix, feature = "tokio"))]
    ("a descriptor's handler", |ctx, upper| {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut &theirs, b"x").unwrap();
        let watched = ours.try_clone().unwrap();
        let mut upper = Some(upper);
        let handler = ctx.fd_handler(&watched, co_wrapper_runtime::Interest::READABLE, move || {
            std::io::Read::read_exact(&mut &ours, &mut [0]).unwrap();
            upper.take().unwrap()();
        });
        Box::new((handler, theirs))
    }),
];

/// How the nested wait waits for a future.
type Way = (&'static str, fn(Boxed));

const WAYS: &[Way] = &[
    ("in a call", |future| mixed(future)),
    ("in a context's block_on", |future| AioContext::current().block_on(future)),
    ("in a call nested inside others in their first polls", |future| {
        fn below(calls: usize, future: Boxed) {
            if calls == 0 { mixed(future) } else { mixed(async move { below(calls - 1, future) }) }
        }
        below(15, future);
    }),
    ("by polling", |future| {
        let ctx = AioContext::current();
        let task = ctx.spawn(future);
        while !task.is_finished() {
            ctx.poll(true);
        }
    }),
    ("in poll_while", |future| {
        let ctx = AioContext::current();
        let task = ctx.spawn(future);
        ctx.poll_while(|| !task.is_finished());
    }),
];

/// In what kind of code the whole scene runs.
type Place = (&'static str, fn(Box<dyn FnOnce() + Send>));

const PLACES: &[Place] = &[
    ("on a thread", |scene| scene()),
    ("in a bottom half", |scene| {
        let ctx = AioContext::current();
        ctx.schedule_bh(scene);
        ctx.poll(true);
    }),
    ("in a bottom half of an IoThread", |scene| {
        let io = IoThread::spawn("io").unwrap();
        let (done, is_done) = async_channel::bounded(1);
        io.context().schedule_bh(move || {
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(scene));
            done.try_send(ended.map_err(|payload| common::message_of(&*payload).to_owned())).unwrap();
        });
        plain(is_done.recv()).unwrap().unwrap();
    }),
];

/// Catches: a loop that polls no outer call, or none of some kind; an outer call that is woken and not polled before
/// the thread sleeps; a result that does not arrive in its frame.
#[test]
fn w12_a_call_that_waits_is_polled_by_what_waits_above_it() {
    let mut rows = Vec::new();
    for place in PLACES {
        for lower in LOWERS {
            for upper in UPPERS {
                for link in LINKS {
                    for way in WAYS {
                        rows.push((place, lower, upper, link, way));
                    }
                }
            }
        }
    }
    // On an IoThread, the body of `no_co` would run on another thread.
    rows.retain(|(place, _, upper, ..)| !(upper.0 == "a body of no_co" && place.0.ends_with("IoThread")));
    // All rows on a plain thread. In the other places, where the same loops run, and under Miri, which is slow, one row
    // in `one_in`, a number that shares no factor with the length of any table.
    let all = rows.iter().enumerate().filter(|(at, (place, ..))| {
        let one_in = if cfg!(miri) { 97 } else { 7 };
        at % one_in == 0 || place.0 == "on a thread" && !cfg!(miri)
    });
    for (_, ((place, run), (kind, lower), (above, schedule), (link_name, link), (way, wait))) in all {
        // What a failure shows.
        println!("{place}: {kind}; nested inside it {above} waits {way} for {link_name}");
        let scene = move || {
            let ctx = AioContext::current();
            let (let_go, go) = async_channel::bounded(1);
            let (request, awaited) = link(go);
            let returned = Arc::new(AtomicBool::new(false));
            let above_returned = Arc::clone(&returned);
            let upper = move || {
                let_go.try_send(()).unwrap();
                wait(awaited);
                above_returned.store(true, Ordering::Relaxed);
            };
            let _kept = schedule(ctx, Box::new(upper));
            lower(request);
            assert!(returned.load(Ordering::Relaxed));
            assert!(!in_coroutine());
        };
        on_main(move |_| run(Box::new(scene)));
    }
}

/// A bottom half waits for a request of the outer frame, which another thread wakes while this one sleeps.
///
/// Catches: a thread that sleeps on when an outer call is woken.
#[test]
fn w12_a_bottom_half_waits_for_the_request_below_it() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let (tx, rx) = async_channel::bounded(1);
        let (slept, sleeps) = async_channel::bounded(1);
        ctx.schedule_bh(move || {
            slept.try_send(()).unwrap();
            assert_eq!(plain(rx.recv()), Ok(7));
        });
        let waker = std::thread::spawn(move || {
            sleeps.recv_blocking().unwrap();
            sleeps
        });
        plain(async {
            // Woken by another thread.
            let waker = blocking_join(waker).await;
            drop(waker);
            tx.send(7).await.unwrap();
        });
    });
}

/// Waits for `thread` on another thread.
async fn blocking_join<T: Send + 'static>(thread: std::thread::JoinHandle<T>) -> T {
    let (tx, rx) = async_channel::bounded(1);
    std::thread::spawn(move || tx.try_send(thread.join().unwrap()).unwrap_or_else(|_| unreachable!()));
    rx.recv().await.unwrap()
}

/// Calls wait inside each other, each in a bottom half that the next outer one's loop runs. The innermost waits for all
/// of them, the outermost first.
///
/// Catches: a loop that polls only the next outer call; calls that are never polled, beyond the depth from which on a
/// loop holds everything back.
#[test]
fn w12_calls_at_any_depth_are_polled() {
    fn stack(ctx: &AioContext, lower: Vec<Sender<usize>>, left: usize, depth: usize, answers: Vec<Receiver<usize>>) {
        if left == 0 {
            for (at, answer) in answers.iter().enumerate() {
                lower[at].try_send(at).unwrap();
                assert_eq!(plain(answer.recv()), Ok(at));
            }
            return;
        }
        let (let_go, go) = async_channel::bounded(1);
        let (tell, answer) = async_channel::bounded(1);
        let (mut all, mut to_come) = (lower, answers);
        all.push(let_go);
        to_come.push(answer);
        let above = ctx.clone();
        ctx.schedule_bh(move || stack(&above, all, left - 1, depth + 1, to_come));
        plain(async move {
            let at = go.recv().await.unwrap();
            assert_eq!(at, depth);
            tell.send(at).await.unwrap();
        });
    }

    for calls in [1, 2, 3, 15, 16, 17, common::sized(40, 17)] {
        within_bounds(move || {
            let ctx = AioContext::new().unwrap();
            let _home = ctx.enter();
            stack(&ctx, Vec::new(), calls, 0, Vec::new());
        });
    }
}

/// Catches: a future that is polled again after it was ready, or within its own poll; an output that is lost before its
/// frame returns it.
#[test]
fn w12_a_future_is_polled_neither_after_its_end_nor_within_its_poll() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let polls = AtomicUsize::new(0);
        let (waker_there, waker) = async_channel::bounded::<std::task::Waker>(1);
        let (seen, ended) = async_channel::bounded(1);
        ctx.schedule_bh(move || {
            let waker = plain(waker.recv()).unwrap();
            waker.wake_by_ref();
            plain(ended.recv()).unwrap();
            // The outer future is ready by now. Wake it again.
            for _ in 0..3 {
                waker.wake_by_ref();
                plain(AioContext::current().sleep(Duration::from_micros(50)));
            }
        });
        let (inside, ready) = (Cell::new(false), Cell::new(false));
        let answer = plain(poll_fn(|cx| {
            assert!(!inside.replace(true), "polled within its poll");
            assert!(!ready.get(), "polled after its end");
            let poll = match polls.fetch_add(1, Ordering::Relaxed) {
                0 => {
                    waker_there.try_send(cx.waker().clone()).unwrap();
                    Poll::Pending
                }
                1 => {
                    // Woken during its own poll, in which something nested waits.
                    cx.waker().wake_by_ref();
                    mixed(AioContext::current().sleep(Duration::from_micros(50)));
                    Poll::Pending
                }
                _ => {
                    ready.set(true);
                    seen.try_send(()).unwrap();
                    Poll::Ready(11)
                }
            };
            inside.set(false);
            poll
        }));
        assert_eq!(answer, 11);
        assert_eq!(polls.into_inner(), 3);
    });
}

/// Catches: a panic of the outer call's future that unwinds what is nested inside it, is lost, or leaves the future
/// undropped.
#[test]
fn w12_w05_a_panic_of_a_lower_call_is_its_callers() {
    // The last one is not the lower one here.
    for (kind, lower) in &LOWERS[..LOWERS.len() - 1] {
        within_bounds(move || {
            let ctx = AioContext::new().unwrap();
            let _home = ctx.enter();
            let (let_go, go) = async_channel::bounded(1);
            let (tx, rx) = async_channel::bounded::<()>(1);
            let (returned, has_returned) = async_channel::bounded(1);
            ctx.schedule_bh(move || {
                let_go.try_send(()).unwrap();
                // Ends when the future has been unwound.
                assert!(plain(rx.recv()).is_err());
                returned.try_send(in_coroutine()).unwrap();
            });
            let message = panic_of(|| {
                lower(Box::pin(async move {
                    let _tx = tx;
                    go.recv().await.unwrap();
                    panic!("of the lower call");
                }));
            });
            assert_eq!(message, "of the lower call", "{kind}");
            assert_eq!(has_returned.try_recv(), Ok(false), "{kind}");
            assert!(!in_coroutine());
            assert_eq!(ctx.block_on(ctx.spawn(async { 3 })), 3);
        });
    }
}

/// Reports, when it is dropped, whether that happens in coroutine context.
struct Says(Sender<bool>);

impl Drop for Says {
    fn drop(&mut self) {
        // A blocking call, such as a destructor makes that flushes.
        plain(AioContext::current().sleep(Duration::from_micros(50)));
        self.0.try_send(in_coroutine()).unwrap();
    }
}

/// Catches: a deadline that passes unnoticed while something nested inside the call waits for what the call's future
/// holds.
#[test]
fn w12_w10_a_lower_call_expires_while_something_waits_above_it() {
    type Timed = fn(Boxed, &IoThread) -> Result<(), Elapsed>;
    const SOON: Duration = Duration::from_millis(20);
    let kinds: [(&str, Timed); 3] = [
        ("here", |future, _| poll_co_timeout(&TIMED, SOON, future, |future| future)),
        ("into the thread's own context", |future, _| {
            poll_co_in_timeout(&TIMED, &AioContext::current(), SOON, future, |future| future)
        }),
        // Long enough for the call to begin there: the caller's frame keeps the arguments of one that has not, and drops
        // them when it goes on.
        ("elsewhere", |future, io| poll_co_in_timeout(&TIMED, io.context(), SOON * 30, future, |future| future)),
    ];
    for (kind, call) in kinds {
        within_bounds(move || {
            let ctx = AioContext::new().unwrap();
            let _home = ctx.enter();
            let io = IoThread::spawn("io").unwrap();
            let (tx, rx) = async_channel::bounded(1);
            let (returned, has_returned) = async_channel::bounded(1);
            ctx.schedule_bh(move || {
                assert_eq!(plain(rx.recv()), Ok(false), "{kind}");
                returned.try_send(()).unwrap();
            });
            let says = Says(tx);
            let ended = call(
                Box::pin(async move {
                    let _says = says;
                    std::future::pending::<()>().await;
                }),
                &io,
            );
            assert!(matches!(ended, Err(Elapsed { .. })), "{kind}");
            assert_eq!(has_returned.try_recv(), Ok(()), "{kind}");
        });
    }
}

/// Catches: a close that an outer call notices only after the nested wait has returned, which waits for the future's
/// drop.
#[test]
fn w12_w06_a_context_is_closed_under_a_lower_call() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let closed = AioContext::new().unwrap();
        let (tx, rx) = async_channel::bounded::<bool>(1);
        let (returned, has_returned) = async_channel::bounded(1);
        let there = closed.clone();
        ctx.schedule_bh(move || {
            there.close();
            assert_eq!(plain(rx.recv()), Ok(false));
            returned.try_send(()).unwrap();
        });
        let message = panic_of(|| {
            let says = Says(tx);
            poll_co_in(&REMOTE, &closed, says, |says| async move {
                let _says = says;
                std::future::pending::<()>().await;
            });
        });
        assert!(message.contains("was closed"), "{message}");
        assert_eq!(has_returned.try_recv(), Ok(()));
    });
}

/// Catches: an outer call that is polled with the nested code's activation: in its context, outside coroutine context,
/// or under its name; an activation that is not restored.
#[test]
fn w12_a_lower_call_is_polled_as_itself() {
    // The nested code is a call, which is a coroutine, or a bottom half, which is none.
    for polls in [false, true] {
        within_bounds(move || polled_as_itself(polls));
    }
}

fn polled_as_itself(polls: bool) {
    let [lower_ctx, upper_ctx] = ["lower", "upper"].map(|name| AioContext::builder().name(name).build().unwrap());
    let _lower_home = lower_ctx.enter();
    let _upper_home = upper_ctx.enter();
    let (let_go, go) = async_channel::bounded(1);
    let (tx, rx) = async_channel::bounded(1);
    let expected = upper_ctx.clone();
    upper_ctx.schedule_bh(move || {
        let_go.try_send(()).unwrap();
        if polls {
            expected.poll_while(|| rx.is_empty());
        } else {
            plain(rx.recv()).unwrap();
        }
        assert_eq!(AioContext::current(), expected);
        assert!(!in_coroutine());
    });
    let line = line!() + 1;
    lower_ctx.block_on(async {
        assert_eq!(AioContext::current(), lower_ctx);
        go.recv().await.unwrap();
        assert_eq!(AioContext::current(), lower_ctx);
        assert!(in_coroutine());
        // co-check: allow — the test is about the panic
        let refused = panic_of(|| plain(async {}));
        let place = format!("inside the future of `AioContext::block_on`, called at {}:{line}:", file!());
        assert!(refused.contains(&place), "{refused}");
        mixed(async { assert_eq!(AioContext::current(), lower_ctx) });
        mixed(AioContext::current().sleep(Duration::from_micros(50)));
        assert_eq!(AioContext::current(), lower_ctx);
        tx.send(()).await.unwrap();
    });
    assert_eq!(AioContext::current(), upper_ctx);
}

/// Catches: the future of an outer call that is kept after it was ready until its frame goes on. The nested code waits
/// for its drop.
#[test]
fn w12_a_lower_call_that_is_ready_drops_its_future() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let (let_go, go) = async_channel::bounded(1);
        let (held, dropped) = async_channel::bounded::<()>(1);
        ctx.schedule_bh(move || {
            let_go.try_send(()).unwrap();
            assert!(plain(dropped.recv()).is_err());
        });
        let mut goes = Box::pin(async move { go.recv().await.unwrap() });
        plain(poll_fn(move |cx| {
            // Kept by the closure, not by the future that it polls.
            let _held = &held;
            goes.as_mut().poll(cx)
        }));
    });
}

/// An outer tokio scheduler that is stopped keeps wakes such as `yield_now`'s back. So calls are polled without a wake
/// there.
///
/// Catches: outer calls that a nested call, or a nested `poll`, does not poll without a wake.
#[cfg(feature = "tokio")]
#[test]
fn w12_a_lower_call_is_polled_unasked_where_its_wakes_are_kept_back() {
    for polls in [false, true] {
        within_bounds(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let task = async move {
                let ctx = AioContext::new().unwrap();
                let _home = ctx.enter();
                let (let_go, go) = async_channel::bounded(1);
                let (tx, rx) = async_channel::bounded(1);
                let above = ctx.clone();
                ctx.schedule_bh(move || {
                    let_go.try_send(()).unwrap();
                    if polls {
                        above.poll_while(|| rx.is_empty());
                    } else {
                        plain(rx.recv()).unwrap();
                    }
                });
                plain(async {
                    go.recv().await.unwrap();
                    tokio::task::yield_now().await;
                    tx.send(()).await.unwrap();
                });
            };
            runtime.block_on(async { tokio::spawn(task).await.unwrap() });
        });
    }
}

/// Catches: a drained section in a callback that is refused, or never begins, because a request waits in an outer call.
#[cfg(feature = "graph")]
#[test]
fn w12_a_drained_section_in_a_callback_waits_for_the_request_below() {
    use co_wrapper_runtime::graph::Drain;

    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let node = Arc::new(Drain::new());
        let drained = Arc::clone(&node);
        let begun = Arc::new(AtomicBool::new(false));
        let begins = Arc::clone(&begun);
        ctx.schedule_bh(move || {
            begins.store(true, Ordering::Relaxed);
            let section = drained.drained();
            assert_eq!(drained.in_flight(), 0);
            drop(section);
            drained.drained_begin();
            drained.drained_end();
        });
        plain(async move {
            let _request = node.begin().await;
            waiting::rounds_until(|| begun.load(Ordering::Relaxed)).await;
        });
    });
}

/// Catches: a request that is polled nested inside a writer and is mistaken for one that the writer keeps from going
/// on; a writer that is refused, or sleeps, though the outer reader can go on.
#[cfg(feature = "graph")]
#[test]
fn w12_g03_a_writer_in_a_callback_and_a_reader_below() {
    use co_wrapper_runtime::graph::GraphLock;

    on_main(|main| {
        // The reader holds the lock, and releases it while the writer waits.
        let lock = GraphLock::new();
        let (writer, here) = (lock.clone(), main.clone());
        let (let_go, go) = async_channel::bounded(1);
        main.schedule_bh(move || {
            let_go.try_send(()).unwrap();
            drop(writer.write());
        });
        plain(async {
            let _guard = lock.read().await;
            go.recv().await.unwrap();
            here.sleep(Duration::from_millis(1)).await;
        });
        // The reader asks while the writer holds the lock, and reads when the writer has released it.
        let (writer, here) = (lock.clone(), main.clone());
        let (let_go, go) = async_channel::bounded(1);
        let (reads, has_come) = async_channel::bounded(1);
        main.schedule_bh(move || {
            let guard = writer.write();
            let_go.try_send(()).unwrap();
            plain(has_come.recv()).unwrap();
            plain(here.sleep(Duration::from_millis(1)));
            drop(guard);
        });
        plain(async {
            go.recv().await.unwrap();
            reads.send(()).await.unwrap();
            drop(lock.read().await);
        });
        drop(lock.write());
    });
}

/// A callback that writes, and how it ended: whether it was refused.
#[cfg(feature = "graph")]
struct Writes {
    lock: co_wrapper_runtime::graph::GraphLock,
    begun: Arc<AtomicBool>,
    ends: Sender<bool>,
    refused: Receiver<bool>,
}

#[cfg(feature = "graph")]
impl Writes {
    fn schedule(&self) {
        let (lock, begun, ends) = (self.lock.clone(), Arc::clone(&self.begun), self.ends.clone());
        AioContext::current().schedule_bh(move || {
            begun.store(true, Ordering::Relaxed);
            let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(lock.write())));
            ends.try_send(written.is_err()).unwrap();
        });
    }

    /// Waits until it has ended.
    async fn end(&self) {
        let refused = self.refused.recv().await.unwrap();
        self.ends.try_send(refused).unwrap();
    }

    /// Until the callback has begun. From then on only its wait polls this.
    async fn begin(&self) {
        self.schedule();
        waiting::rounds_until(|| self.begun.load(Ordering::Relaxed)).await;
    }

    /// Holds a guard until the callback waits.
    async fn read(&self) {
        let guard = self.lock.read().await;
        self.begin().await;
        drop(guard);
    }
}

/// Who holds a read guard while a callback, which is nested inside, writes. And whether that is refused, because the
/// holder cannot go on before the callback has returned.
#[cfg(feature = "graph")]
type Reader = (&'static str, bool, fn(&Writes));

#[cfg(feature = "graph")]
const READERS: &[Reader] = &[
    ("the future of the call that waits", false, |writes| mixed(writes.read())),
    ("the same, in its second poll", false, |writes| {
        mixed(async {
            waiting::rounds(1).await;
            writes.read().await;
        });
    }),
    ("the future of a call further out", false, |writes| {
        let (nests, is_nested) = async_channel::bounded::<()>(1);
        let (done, is_done) = async_channel::bounded::<()>(1);
        drop(AioContext::current().spawn(async move {
            nests.try_send(()).unwrap();
            mixed(is_done.recv()).unwrap();
        }));
        mixed(async {
            let guard = writes.lock.read().await;
            is_nested.recv().await.unwrap();
            writes.begin().await;
            drop(guard);
            writes.end().await;
            done.try_send(()).unwrap();
        });
    }),
    ("a call that waits, and before it one that has dropped its guard", false, |writes| {
        drop(mixed(writes.lock.read()));
        mixed(writes.read());
    }),
    ("the code that makes the call that waits", true, |writes| {
        let guard = mixed(writes.lock.read());
        writes.schedule();
        mixed(writes.end());
        drop(guard);
    }),
    ("that code, and the call too", true, |writes| {
        let guard = mixed(writes.lock.read());
        mixed(writes.read());
        mixed(writes.end());
        drop(guard);
    }),
    ("that code, from a call that has waited", true, |writes| {
        let guard = mixed(async {
            waiting::rounds(1).await;
            writes.lock.read().await
        });
        writes.schedule();
        mixed(writes.end());
        drop(guard);
    }),
    ("a future in whose poll the call was made", true, |writes| {
        mixed(async {
            let guard = writes.lock.read().await;
            writes.schedule();
            mixed(writes.end());
            drop(guard);
        });
    }),
    ("another branch of that future", true, |writes| {
        mixed(async {
            let (ends, is_ended) = async_channel::bounded::<()>(1);
            let mut holds = std::pin::pin!(async {
                let _guard = writes.lock.read().await;
                is_ended.recv().await.unwrap();
            });
            let mut waits = std::pin::pin!(async {
                writes.schedule();
                mixed(writes.end());
                ends.try_send(()).unwrap();
            });
            let mut done = [false; 2];
            poll_fn(|cx| {
                done[0] = done[0] || holds.as_mut().poll(cx).is_ready();
                done[1] = done[1] || waits.as_mut().poll(cx).is_ready();
                if done == [true; 2] { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
        });
    }),
];

/// In what the calls are made.
#[cfg(feature = "graph")]
const IN: &[Place] = &[
    ("on the thread", |scene| scene()),
    ("in a task", |scene| {
        let ctx = AioContext::current();
        ctx.block_on(ctx.spawn(async move { scene() }));
    }),
    ("in a local task", |scene| {
        let ctx = AioContext::current();
        ctx.block_on(ctx.spawn_local(async move { scene() }));
    }),
    ("in a call's future, in a task", |scene| {
        let ctx = AioContext::current();
        ctx.block_on(ctx.spawn(async move { mixed(async move { scene() }) }));
    }),
    ("in a task that another task's call runs", |scene| {
        let ctx = AioContext::current();
        ctx.block_on(ctx.spawn(async move { mixed(AioContext::current().spawn(async move { scene() })) }));
    }),
    ("in a bottom half", |scene| {
        let ctx = AioContext::current();
        ctx.schedule_bh(scene);
        ctx.poll(true);
    }),
];

/// Catches: a writer that is refused although the call that reads can go on, because of the task in which it was made; one
/// that waits for a guard which a call has returned to code that cannot go on.
#[cfg(feature = "graph")]
#[test]
fn w12_g03_a_writer_is_refused_only_if_the_reader_cannot_go_on() {
    for (place, run) in IN {
        for (reader, refused, read) in READERS {
            println!("{place}: {reader}");
            let (ends, ended) = async_channel::bounded(1);
            let lock = co_wrapper_runtime::graph::GraphLock::new();
            let writes = Writes { lock, begun: Arc::default(), ends, refused: ended };
            let ended = writes.refused.clone();
            on_main(move |main| {
                run(Box::new(move || read(&writes)));
                assert_eq!(main.block_on(ended.recv()), Ok(*refused), "{place}: {reader}");
            });
        }
    }
}

/// A reader in a callback that is nested inside a waiting writer's call is let past it when nothing moves for a while.
///
/// Catches: an outer writer that is given the lock, which then stays in its frame until the reader has returned.
#[cfg(feature = "graph")]
#[test]
fn w12_g01_a_reader_in_a_callback_above_a_writer_that_waits() {
    use co_wrapper_runtime::graph::GraphLock;

    on_main(|main| {
        let lock = GraphLock::new();
        let (reader, above) = (lock.clone(), lock.clone());
        let (reads, read) = async_channel::bounded(1);
        let (leave, left) = async_channel::bounded::<()>(1);
        let io = IoThread::spawn("io").unwrap();
        let elsewhere = io.context().spawn(async move {
            let _guard = reader.read().await;
            reads.send(()).await.unwrap();
            left.recv().await.unwrap();
        });
        main.block_on(read.recv()).unwrap();
        main.schedule_bh(move || {
            plain(async {
                let waits = above.read();
                leave.send(()).await.unwrap();
                drop(waits.await);
            });
        });
        drop(lock.write());
        main.block_on(elsewhere);
    });
}
