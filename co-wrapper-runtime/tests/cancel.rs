//! Cancelling tasks: `JoinHandle::cancel` and `AbortHandle`, the lines t06 of the contract.

#![cfg(not(loom))]

mod common;

use std::{
    future::{Future, pending, poll_fn},
    mem,
    pin::pin,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
};

use co_wrapper_runtime::{AbortHandle, AioContext, IoThread, JoinHandle, in_coroutine, reschedule_self};
use common::{mixed, panic_of, plain, within_bounds};

/// Where and how often a task's future was dropped.
#[derive(Clone, Default)]
struct Drops(Arc<Mutex<Vec<(thread::ThreadId, bool)>>>);

impl Drops {
    fn held(&self) -> Held {
        Held(self.clone())
    }

    fn at_home_once(&self, home: thread::ThreadId) {
        assert_eq!(*self.0.lock().unwrap(), [(home, false)], "dropped once, at home, outside coroutine context");
    }
}

struct Held(Drops);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().push((thread::current().id(), in_coroutine()));
    }
}

/// What becomes of the future that `cancel` returns.
const FATES: [&str; 3] = ["dropped", "forgotten", "kept, not polled"];

/// Cancels `task` and leaves the future to its fate, here or on another thread.
fn cancel<T: Send + 'static>(task: JoinHandle<T>, fate: &str, elsewhere: bool) -> Option<Box<dyn Send>> {
    let fate = fate.to_owned();
    let cancel = move || -> Option<Box<dyn Send>> {
        let cancelled = task.cancel();
        match &*fate {
            "dropped" => drop(cancelled),
            "forgotten" => mem::forget(cancelled),
            _ => return Some(Box::new(Box::pin(cancelled))),
        }
        None
    };
    if elsewhere { thread::spawn(cancel).join().unwrap() } else { cancel() }
}

/// Catches: a cancel that waits for its future to be polled or dropped; one that drops the task's future where it is called,
/// or in coroutine context.
#[test]
fn t06_cancel_takes_effect_when_it_is_called() {
    within_bounds(|| {
        for fate in FATES {
            for elsewhere in [false, true] {
                for local in [false, true] {
                    for polls in 0..2 {
                        let ctx = AioContext::new().unwrap();
                        let _home = ctx.enter();
                        let drops = Drops::default();
                        let held = drops.held();
                        let future = async move {
                            let _held = held;
                            pending::<()>().await;
                        };
                        let task = if local { ctx.spawn_local(future) } else { ctx.spawn(future) };
                        (0..polls).for_each(|_| assert!(ctx.poll(false)));
                        let _kept = cancel(task, fate, elsewhere);
                        assert!(drops.0.lock().unwrap().is_empty());
                        assert!(ctx.poll(false), "{fate}, elsewhere: {elsewhere}, local: {local}, {polls} polls");
                        drops.at_home_once(thread::current().id());
                        assert_eq!(ctx.stats().tasks_live, 0);
                        assert!(!ctx.poll(false));
                    }
                }
            }
        }
    });
}

/// Catches: a home thread that sleeps on.
#[test]
fn t06_cancel_wakes_the_tasks_home() {
    within_bounds(|| {
        for fate in FATES {
            let io = IoThread::spawn("io").unwrap();
            let drops = Drops::default();
            let held = drops.held();
            let (tx, rx) = async_channel::bounded(1);
            let task = io.context().spawn(async move {
                tx.send(thread::current().id()).await.unwrap();
                let _held = held;
                pending::<()>().await;
            });
            let home = plain(rx.recv()).unwrap();
            let _kept = cancel(task, fate, false);
            while drops.0.lock().unwrap().is_empty() {
                thread::yield_now();
            }
            drops.at_home_once(home);
        }
    });
}

/// Catches: a result, or a panic, that was there and is lost; a wait for a task that was joined.
#[test]
fn t06_cancel_of_a_task_that_has_ended_gives_what_came_of_it() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let task = ctx.spawn(async { 5 });
        ctx.poll(false);
        assert_eq!(ctx.block_on(task.cancel()), Some(5));
        let task = ctx.spawn(async { panic!("of the task") });
        ctx.poll(false);
        assert_eq!(panic_of(|| ctx.block_on(task.cancel())), "of the task");
        let mut task = ctx.spawn(async { 5 });
        assert_eq!(ctx.block_on(&mut task), 5);
        assert_eq!(ctx.block_on(task.cancel()), None);
        let task = ctx.spawn(pending::<()>());
        ctx.close();
        assert_eq!(ctx.block_on(task.cancel()), None);
    });
}

/// A task that aborts itself runs on until it waits; a result that it has by then is there.
///
/// Catches: one that is dropped while it runs; one that is polled again.
#[test]
fn t06_a_task_that_aborts_itself() {
    within_bounds(|| {
        for waits in [false, true] {
            let ctx = AioContext::new().unwrap();
            let place = Arc::new(Mutex::new(None::<AbortHandle>));
            let (own, drops) = (Arc::clone(&place), Drops::default());
            let held = drops.held();
            let task = ctx.spawn(async move {
                let _held = held;
                let own = own.lock().unwrap().take().unwrap();
                own.abort();
                assert!(!own.is_finished());
                if waits {
                    poll_fn(|cx| {
                        cx.waker().wake_by_ref();
                        Poll::<()>::Pending
                    })
                    .await;
                }
                7
            });
            let handle = task.abort_handle();
            *place.lock().unwrap() = Some(handle.clone());
            ctx.poll(false);
            assert_eq!(handle.is_finished(), !waits);
            if waits {
                assert!(panic_of(|| ctx.block_on(task)).contains("aborted"));
            } else {
                assert_eq!(ctx.block_on(task), 7);
            }
            assert!(handle.is_finished());
            assert_eq!(drops.0.lock().unwrap().len(), 1);
        }
    });
}

/// Catches: an abort that only the spawner, the first clone or the home thread may do; one that a joiner does not hear of, or
/// hears of as of a closed context; one of a task that has ended, which takes its result.
#[test]
fn t06_abort_handles() {
    fn is_shared<T: Clone + Send + Sync + Unpin + std::panic::UnwindSafe + std::panic::RefUnwindSafe + 'static>(_: &T) {
    }

    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let _home = ctx.enter();
        let drops = Drops::default();
        let (held, not_send) = (drops.held(), Rc::new(()));
        let mut task = ctx.spawn_local(async move {
            let _held = (held, not_send);
            pending::<u8>().await
        });
        let handles = [task.abort_handle(), task.abort_handle().clone()];
        is_shared(&handles[0]);
        assert!(pin!(&mut task).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        ctx.poll(false);
        // From any thread, as often as it may be; dropped where it may be.
        thread::scope(|scope| {
            for handle in &handles {
                scope.spawn(move || {
                    handle.abort();
                    handle.abort();
                });
            }
        });
        assert!(!handles[0].is_finished() && !task.is_finished());
        assert!(format!("{:?}", handles[0]).contains("finished: false"));
        ctx.poll(false);
        assert!(handles.iter().all(AbortHandle::is_finished) && task.is_finished());
        drops.at_home_once(thread::current().id());
        let message = panic_of(|| ctx.block_on(task));
        assert!(
            message.contains("JoinHandle: the task") && message.contains("was aborted before it finished"),
            "{message}"
        );
        assert!(message.contains(file!()), "it names where the task was spawned: {message}");

        // A waiter that is already there is woken.
        let task = ctx.spawn(pending::<u8>());
        let handle = task.abort_handle();
        ctx.schedule_bh(move || handle.abort());
        assert!(panic_of(|| ctx.block_on(task)).contains("aborted"));

        // Too late.
        let task = ctx.spawn(async { 5 });
        let handle = task.abort_handle();
        ctx.poll(false);
        assert!(handle.is_finished());
        handle.abort();
        assert_eq!(ctx.block_on(task), 5);
        handle.abort();

        // Detached.
        let drops = Drops::default();
        let held = drops.held();
        let handle = ctx
            .spawn(async move {
                let _held = held;
                pending::<()>().await;
            })
            .abort_handle();
        ctx.poll(false);
        assert!(!handle.is_finished());
        handle.abort();
        ctx.poll(false);
        drops.at_home_once(thread::current().id());

        // Its context closed, or gone.
        let other = AioContext::new().unwrap();
        let task = other.spawn(pending::<()>());
        let handle = task.abort_handle();
        drop(other);
        assert!(handle.is_finished());
        handle.abort();
        assert!(panic_of(|| plain(task)).contains("dropped before it finished"));
    });
}

/// Catches: a task that is looked for where it was spawned.
#[test]
fn t06_abort_finds_a_task_that_moved() {
    within_bounds(|| {
        let (io, ctx) = (IoThread::spawn("io").unwrap(), AioContext::new().unwrap());
        let (there, drops) = (io.context().clone(), Drops::default());
        let held = drops.held();
        let (tx, rx) = async_channel::bounded(1);
        let task = ctx.spawn(async move {
            let _held = held;
            reschedule_self(&there).await;
            tx.send(thread::current().id()).await.unwrap();
            pending::<()>().await;
        });
        let moved_to = ctx.block_on(rx.recv()).unwrap();
        assert_ne!(moved_to, thread::current().id());
        task.abort_handle().abort();
        assert!(panic_of(|| ctx.block_on(task)).contains("aborted"));
        drops.at_home_once(moved_to);
    });
}

/// A task whose blocking call waits further out on the stack is in the middle of a poll.
///
/// Catches: its future being dropped during that poll.
#[test]
fn t06_a_task_aborted_from_above_its_own_blocking_call_ends_after_it() {
    within_bounds(|| {
        let ctx = AioContext::new().unwrap();
        let (c, place) = (ctx.clone(), Arc::new(Mutex::new(None::<AbortHandle>)));
        let (own, after) = (Arc::clone(&place), Arc::new(AtomicBool::new(false)));
        let went_on = Arc::clone(&after);
        let task = ctx.spawn(async move {
            let (tx, rx) = async_channel::bounded::<()>(1);
            c.schedule_bh(move || {
                own.lock().unwrap().take().unwrap().abort();
                drop(tx);
            });
            assert!(mixed(rx.recv()).is_err());
            went_on.store(true, Ordering::Relaxed);
            pending::<()>().await;
        });
        *place.lock().unwrap() = Some(task.abort_handle());
        assert!(panic_of(|| ctx.block_on(task)).contains("aborted"));
        assert!(after.load(Ordering::Relaxed));
    });
}

/// Catches: an abort that meets a task's last poll, and drops its future twice or never, or leaves its joiner waiting.
#[test]
fn t06_an_abort_and_an_end_at_the_same_time() {
    within_bounds(|| {
        let rounds = if cfg!(miri) { 20 } else { 2_000 };
        let io = IoThread::spawn("io").unwrap();
        let (mut ended, drops) = (0, Arc::new(AtomicUsize::new(0)));
        struct Counts(Arc<AtomicUsize>);
        impl Drop for Counts {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| ()));
        for round in 0..rounds {
            let counts = Counts(Arc::clone(&drops));
            let task = io.context().spawn(async move {
                let _counts = counts;
                for _ in 0..round % 4 {
                    plain_yield().await;
                }
            });
            let handle = task.abort_handle();
            (0..round % 64).for_each(|_| std::hint::spin_loop());
            handle.abort();
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| plain(task))) {
                Ok(()) => ended += 1,
                Err(payload) => assert!(common::message_of(&*payload).contains("aborted")),
            }
            assert!(handle.is_finished());
            assert_eq!(drops.load(Ordering::Relaxed), round + 1);
        }
        std::panic::set_hook(hook);
        println!("{ended} of {rounds} ended first");
    });
}

async fn plain_yield() {
    let mut yielded = false;
    poll_fn(|cx| {
        if mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
