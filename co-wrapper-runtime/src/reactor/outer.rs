//! The outer scheduler of a call that is about to sleep, and the gate. Invariant: a call that waits, and `poll`, passes
//! [`Entered::gate`] before its thread sleeps.
//!
//! While a task of a tokio scheduler blocks in one of our calls, that worker stands still: the task that was woken last
//! is in a slot from which no other worker steals, and the worker may be the one that drives timers and sockets. So a
//! worker of a multi-thread runtime, ours or another, is handed on with `block_in_place` before the call sleeps. A
//! current-thread runtime cannot be handed on; there the future is polled unasked from time to time, and the user is
//! warned.
//!
//! Whether `block_in_place` is legal depends on the kind of scheduler, which tokio does not make public. These facts
//! are public:
//!
//! - `worker_index` says whether a scheduler is polling something on this thread. It is not in a multi-thread runtime's
//!   `block_on`, nor in a `LocalSet` there, nor after a worker was handed on: then there is nothing to hand on, and
//!   nothing keeps wakes back.
//! - With a worker index and no task id, this is a current-thread runtime's `block_on`. Workers are themselves tasks.
//! - A worker that drives timers and sockets may call a waker that blocks. Its metrics then count it as asleep, and on a
//!   worker of ours the task id is the one that it slept with. Nothing tells of a worker that looks at timers between two
//!   tasks, nor of one of ours that was handed on and has not slept on its new thread: there such a waker ends the worker.
//! - The innermost foreign handle on the stack is the scheduler's, unless the user entered another one there.
//!
//! One case remains: a *task* of a current-thread runtime that entered a multi-thread runtime's handle, or ours. There
//! `block_in_place` panics before it does anything. The panic is caught, after the panic hook has printed it, once per
//! task. In a `panic = "abort"` build `block_in_place` is not tried unless the handle shows that it is legal.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
};

use tokio::{
    runtime::{Handle, RuntimeFlavor, worker_index},
    task::{self, block_in_place, coop},
};

use super::{
    entered::{Entered, innermost_foreign},
    ours::{IDLE, OURS},
    stopped::Stopped,
};

/// The outer scheduler of a call that is about to sleep.
enum OuterScheduler {
    /// No scheduler that the call would stop.
    Nothing,
    /// A worker of a multi-thread runtime that can be handed on: to threads of that runtime, or with `None` to threads
    /// of the runtime whose handle is current, which is ours.
    Worker(Option<Handle>),
    /// A tokio scheduler that the call stops, and that keeps back wakes such as `yield_now`'s until the call returns.
    Scheduler(Stopped),
}

fn outer_scheduler() -> OuterScheduler {
    let Some(worker) = worker_index() else { return OuterScheduler::Nothing };
    let ours = OURS.get();
    match innermost_foreign() {
        Some(host) if host.runtime_flavor() == RuntimeFlavor::CurrentThread => {
            OuterScheduler::Scheduler(Stopped::CurrentThread)
        }
        _ if task::try_id().is_none() || REFUSED.get() == task::try_id() => {
            OuterScheduler::Scheduler(Stopped::CurrentThread)
        }
        // A waker that our own driver calls.
        _ if ours && IDLE.get() == task::try_id() => OuterScheduler::Scheduler(Stopped::Worker),
        Some(host) if !ours => outer_in_task(host, worker),
        // If a panic ends the process, `block_in_place` cannot be tried.
        None if cfg!(panic = "abort") && !ours && worker == 0 => OuterScheduler::Scheduler(Stopped::Worker),
        _ => OuterScheduler::Worker(None),
    }
}

/// The outer scheduler of a task. `host` is that scheduler's runtime, or another one that the user entered in the task. In
/// the second case this worker must not continue on threads of `host`, because dropping `host` would wait for it.
fn outer_in_task(host: Handle, worker: usize) -> OuterScheduler {
    let metrics = host.metrics();
    let sleeps = worker < metrics.num_workers() && !metrics.worker_park_unpark_count(worker).is_multiple_of(2);
    if sleeps && !has_budget() {
        // Not a task but a waker that the driver of `host` calls: its worker is inside the driver and cannot be handed
        // on.
        return OuterScheduler::Scheduler(Stopped::Worker);
    }
    if !sleeps && worker < metrics.num_workers() && metrics.num_alive_tasks() > 0 {
        return OuterScheduler::Worker(Some(host));
    }
    if cfg!(panic = "abort") && worker == 0 {
        OuterScheduler::Scheduler(Stopped::Worker)
    } else {
        OuterScheduler::Worker(None)
    }
}

/// Whether tokio's cooperative budget is limited here, as in every task that did not opt out.
fn has_budget() -> bool {
    /// More than tokio gives to a task.
    const MOST: u32 = 256;

    let mut cx = Context::from_waker(Waker::noop());
    // Dropped last: it restores the budget that the loop takes.
    let _restores = coop::has_budget_remaining().then(|| coop::poll_proceed(&mut cx));
    for _ in 0..MOST {
        if !coop::has_budget_remaining() {
            return true;
        }
        if let Poll::Ready(taken) = coop::poll_proceed(&mut cx) {
            taken.made_progress();
        }
    }
    false
}

thread_local! {
    /// The task in which `block_in_place` has panicked.
    static REFUSED: Cell<Option<task::Id>> = const { Cell::new(None) };
}

impl Entered {
    /// The gate that a wait passes before it blocks the thread. It hands the outer scheduler's worker on if it can.
    /// `block` receives two values. The first says which scheduler stands still nevertheless, and so keeps wakes back
    /// until the call has returned. The second says the same for hang reports, with more detail if nothing stands
    /// still. An `Entered` proves that our handle is current.
    pub fn gate<R>(&self, block: impl FnOnce(Stopped, Stopped) -> R) -> R {
        match outer_scheduler() {
            OuterScheduler::Nothing => block(Stopped::Nothing, self.where_nothing_stands_still()),
            OuterScheduler::Worker(host) => hand_on(host, block),
            OuterScheduler::Scheduler(stopped) => block(stopped, stopped),
        }
    }
}

/// The most calls at once whose workers are handed on to threads of their own runtime. A runtime has at most 512 such
/// threads by default and stands still when they are used up. Beyond this limit, workers are handed on to our threads.
const MOST_ON_HOSTS: usize = 256;

static ON_HOSTS: AtomicUsize = AtomicUsize::new(0);

/// Counts a call in [`ON_HOSTS`].
struct OnHost;

impl OnHost {
    fn new() -> Option<Self> {
        let counted = Self;
        (ON_HOSTS.fetch_add(1, Ordering::Relaxed) < MOST_ON_HOSTS).then_some(counted)
    }
}

impl Drop for OnHost {
    fn drop(&mut self) {
        ON_HOSTS.fetch_sub(1, Ordering::Relaxed);
    }
}

fn hand_on<R>(host: Option<Handle>, block: impl FnOnce(Stopped, Stopped) -> R) -> R {
    let on_host = host.and_then(|host| Some((host, OnHost::new()?)));
    let mut block = Some(block);
    let handed_on = catch_unwind(AssertUnwindSafe(|| {
        // `block_in_place` takes the thread from the current runtime, which is ours unless the host's is entered here.
        let _hosts = on_host.as_ref().map(|(host, _)| host.enter());
        block_in_place(|| {
            let _ours = Entered::guard();
            block.take().expect("called once")(Stopped::Nothing, Stopped::Nothing)
        })
    }));
    match (handed_on, block) {
        (Ok(result), _) => result,
        (Err(payload), None) => resume_unwind(payload),
        (Err(_refused), Some(block)) => {
            REFUSED.set(task::try_id());
            block(Stopped::CurrentThread, Stopped::CurrentThread)
        }
    }
}

/// Runs `polls` without tokio's cooperative budget. An outer task may have used its budget up; with one, the 129th
/// operation on a tokio resource would wait for a scheduler that we block.
pub fn unconstrained<R>(polls: impl FnOnce() -> R) -> R {
    let mut polls = Some(polls);
    let once = poll_fn(|_| Poll::Ready(polls.take().expect("polled once")()));
    match pin!(task::unconstrained(once)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("the closure is ready at once"),
    }
}

/// The nonzero number of the tokio task that is being polled here. The task may continue on another thread.
#[cfg(feature = "graph")]
#[inline]
pub fn task_id() -> Option<u64> {
    use std::hash::{Hash, Hasher};

    /// A task's `Id` shows its number only to hashers and as text.
    struct Number(u64);
    impl Hasher for Number {
        fn write(&mut self, bytes: &[u8]) {
            bytes.iter().for_each(|byte| self.0 = self.0 << 8 | u64::from(*byte));
        }

        fn write_u64(&mut self, number: u64) {
            self.0 = number;
        }

        fn finish(&self) -> u64 {
            self.0
        }
    }

    let mut number = Number(0);
    tokio::task::try_id()?.hash(&mut number);
    Some(number.0)
}
