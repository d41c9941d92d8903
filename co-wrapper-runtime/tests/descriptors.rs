//! The line p08 of the contract as a table. Its rows are the events of a descriptor and the interests
//! (`common/descriptors.rs`); each test is one moment at which the event happens, and goes through all rows.

#![cfg(all(not(loom), feature = "tokio", target_os = "linux"))]

mod common;
#[path = "common/descriptors.rs"]
mod descriptors;
#[path = "common/waiting.rs"]
mod waiting;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use co_wrapper_runtime::{AioContext, FdHandler, IoThread};
use common::{message_of, mixed, plain, within_bounds};
use descriptors::{Row, Runs, rows};
use waiting::{DEEP, below, sleeps};

/// How often something ran.
#[derive(Clone, Default)]
struct Count(Arc<AtomicUsize>);

impl Count {
    fn up(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Goes through the rows in which the handler runs at `these` times. What fails or hangs is named.
fn each(these: &[Runs], test: impl Fn(Row) + Send + 'static) {
    let these = these.to_vec();
    within_bounds(move || {
        for row in rows().filter(|row| these.contains(&row.runs)) {
            let name = row.name.clone();
            eprintln!("{name}");
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| test(row))) {
                panic!("{name}: {}", message_of(&*payload));
            }
        }
    });
}

/// A handler in `ctx` that counts.
fn counting(ctx: &AioContext, row: &Row) -> (FdHandler, Count) {
    let count = Count::default();
    let counts = count.clone();
    (ctx.fd_handler(&row.fd, row.interest, move || counts.up()), count)
}

/// What two polls do from now on, `ran` times the handler having run before.
fn polls(ctx: &AioContext, count: &Count, ran: usize, runs: bool) {
    assert_eq!((ctx.poll(false), count.get() - ran), (runs, usize::from(runs)), "poll(false)");
    ctx.notify();
    assert_eq!(ctx.poll(true), runs, "poll(true)");
    assert_eq!(count.get() - ran, 2 * usize::from(runs), "level-triggered");
}

#[test]
fn p08_what_happened_before_a_handler_is_made() {
    each(&[Runs::Then, Runs::Never, Runs::Always], |row| {
        let ctx = AioContext::new().unwrap();
        let (handler, count) = counting(&ctx, &row);
        if row.runs == Runs::Always {
            assert!(ctx.poll(true));
        }
        drop(handler);
        assert_eq!((ctx.poll(false), count.get()), (false, usize::from(row.runs == Runs::Always)));
        let (_handler, count) = counting(&ctx, &row);
        let _kept = (row.happens)();
        polls(&ctx, &count, 0, row.runs != Runs::Never);
    });
}

#[test]
fn p08_what_happens_between_two_polls() {
    each(&[Runs::Then, Runs::Never], |row| {
        let ctx = AioContext::new().unwrap();
        let (_handler, count) = counting(&ctx, &row);
        polls(&ctx, &count, 0, false);
        let _kept = (row.happens)();
        polls(&ctx, &count, 0, row.runs == Runs::Then);
    });
}

#[test]
fn p08_what_happens_while_poll_sleeps() {
    each(&[Runs::Then, Runs::Never], |row| {
        let ctx = AioContext::new().unwrap();
        let (_handler, count) = counting(&ctx, &row);
        let (runs, happens) = (row.runs == Runs::Then, row.happens);
        let (asleep, notifies) = (sleeps(&ctx), ctx.clone());
        let elsewhere = thread::spawn(move || {
            asleep();
            let kept = happens();
            if !runs {
                notifies.notify();
            }
            kept
        });
        assert_eq!((ctx.poll(true), count.get()), (runs, usize::from(runs)));
        let _kept = elsewhere.join().unwrap();
        polls(&ctx, &count, count.get(), runs);
    });
}

#[test]
fn p08_what_happens_while_a_blocking_call_sleeps() {
    each(&[Runs::Then, Runs::Never], |row| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let (tells, told) = async_channel::unbounded();
        let tells_none = tells.clone();
        let _handler = ctx.fd_handler(&row.fd, row.interest, move || tells.try_send(true).unwrap());
        let (runs, happens, asleep) = (row.runs == Runs::Then, row.happens, sleeps(&ctx));
        let elsewhere = thread::spawn(move || {
            asleep();
            let kept = happens();
            if !runs {
                tells_none.try_send(false).unwrap();
            }
            kept
        });
        assert_eq!(plain(told.recv()), Ok(runs));
        let _kept = elsewhere.join().unwrap();
    });
}

#[test]
fn p08_what_happens_while_an_iothread_sleeps() {
    let io = IoThread::spawn("io").unwrap();
    each(&[Runs::Then, Runs::Never], move |row| {
        let ctx = io.context();
        let asleep = sleeps(ctx);
        let (tells, told) = mpsc::channel();
        let tells_none = tells.clone();
        let handler = ctx.fd_handler(&row.fd, row.interest, move || _ = tells.send(true));
        asleep();
        let _kept = (row.happens)();
        if row.runs == Runs::Never {
            ctx.schedule_bh(move || tells_none.send(false).unwrap());
        }
        assert_eq!(told.recv(), Ok(row.runs == Runs::Then));
        drop(handler);
    });
}

/// Waits for what `start` returns, which is called where a nested wait holds everything back.
fn deep(start: impl FnOnce() -> async_channel::Receiver<bool>) -> bool {
    let (mut start, mut answer) = (Some(start), None);
    below(DEEP, &mut || answer = Some(mixed(start.take().unwrap()().recv()).unwrap()));
    answer.unwrap()
}

/// The same in a callback within another callback's wait.
fn within_two_callbacks(
    ctx: &AioContext,
    start: impl FnOnce() -> async_channel::Receiver<bool> + Send + 'static,
) -> bool {
    let (answers, answer) = async_channel::bounded(1);
    let inner = ctx.clone();
    ctx.schedule_bh(move || {
        let (ends, end) = async_channel::bounded(1);
        inner.schedule_bh(move || {
            let told = start();
            ends.try_send(plain(told.recv()).unwrap()).unwrap();
        });
        answers.try_send(plain(end.recv()).unwrap()).unwrap();
    });
    plain(answer.recv()).unwrap()
}

type Start = Box<dyn FnOnce() -> async_channel::Receiver<bool> + Send>;

/// Waits for a handler that is made in a wait where handlers are held back.
fn where_held_back(wait: impl Fn(&AioContext, Start) -> bool + Send + 'static) {
    each(&[Runs::Then, Runs::Never], move |row| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let (runs, kept) = (row.runs == Runs::Then, (row.happens)());
        let keeps: Arc<Mutex<Option<FdHandler>>> = Arc::default();
        let (place, here, before) = (Arc::clone(&keeps), ctx.clone(), Arc::new(AtomicUsize::new(0)));
        let begins = Arc::clone(&before);
        let start = move || {
            let (tells, told) = async_channel::unbounded();
            let tells_none = tells.clone();
            let handler = here.fd_handler(&row.fd, row.interest, move || tells.try_send(true).unwrap());
            *place.lock().unwrap() = Some(handler);
            begins.store(here.stats().polls as usize, Ordering::Relaxed);
            let asleep = sleeps(&here);
            if !runs {
                thread::spawn(move || {
                    asleep();
                    tells_none.try_send(false).unwrap();
                });
            }
            told
        };
        assert_eq!(wait(&ctx, Box::new(start)), runs);
        let polls = ctx.stats().polls as usize - before.load(Ordering::Relaxed);
        assert!(polls < 200, "{polls} polls: the thread did not sleep while the handler was held back");
        drop(kept);
    });
}

#[test]
fn p08_what_happened_is_answered_when_it_is_held_back_for_depth() {
    where_held_back(|_, start| deep(start));
}

#[test]
fn p08_what_happened_is_answered_when_it_is_held_back_for_a_callback() {
    where_held_back(within_two_callbacks);
}

#[test]
fn p08_what_happens_is_answered_when_it_is_held_back_and_the_thread_sleeps() {
    each(&[Runs::Then, Runs::Never], move |row| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let (tells, told) = async_channel::unbounded();
        let tells_none = tells.clone();
        let _handler = ctx.fd_handler(&row.fd, row.interest, move || tells.try_send(true).unwrap());
        let (runs, happens, asleep) = (row.runs == Runs::Then, row.happens, sleeps(&ctx));
        let elsewhere = thread::spawn(move || {
            asleep();
            let kept = happens();
            if !runs {
                tells_none.try_send(false).unwrap();
            }
            kept
        });
        assert_eq!(deep(|| told), runs);
        let _kept = elsewhere.join().unwrap();
    });
}

#[test]
fn p08_a_handler_waits_within_itself_and_its_thread_sleeps() {
    each(&[Runs::Then], |row| {
        let ctx = AioContext::new().unwrap();
        let count = Count::default();
        let (inner, counts) = (ctx.clone(), count.clone());
        let _handler = ctx.fd_handler(&row.fd, row.interest, move || {
            counts.up();
            let asleep = sleeps(&inner);
            let before = inner.stats().polls;
            let (tells, told) = async_channel::bounded(1);
            let elsewhere = thread::spawn(move || {
                asleep();
                tells.try_send(()).unwrap();
            });
            plain(told.recv()).unwrap();
            let polls = inner.stats().polls - before;
            assert!(polls < 200, "{polls} polls: the thread did not sleep");
            elsewhere.join().unwrap();
        });
        let _kept = (row.happens)();
        assert_eq!((ctx.poll(true), count.get()), (true, 1));
        polls(&ctx, &count, 1, true);
    });
}

#[test]
fn p08_a_handler_removes_itself() {
    each(&[Runs::Then, Runs::Always], |row| {
        let ctx = AioContext::new().unwrap();
        let itself: Arc<Mutex<Option<FdHandler>>> = Arc::default();
        let (place, count) = (Arc::clone(&itself), Count::default());
        let counts = count.clone();
        let handler = ctx.fd_handler(&row.fd, row.interest, move || {
            counts.up();
            drop(place.lock().unwrap().take());
        });
        *itself.lock().unwrap() = Some(handler);
        let _kept = (row.happens)();
        assert_eq!((ctx.poll(true), count.get()), (true, 1));
        polls(&ctx, &count, 1, false);
        assert_eq!(Arc::strong_count(&count.0), 1, "the callback was dropped");
    });
}

#[test]
fn p08_the_users_descriptor_is_closed_meanwhile() {
    each(&[Runs::Then, Runs::Never], |row| {
        let ctx = AioContext::new().unwrap();
        let (_handler, count) = counting(&ctx, &row);
        drop(row.fd);
        polls(&ctx, &count, 0, false);
        let _kept = (row.happens)();
        polls(&ctx, &count, 0, row.runs == Runs::Then);
    });
}
