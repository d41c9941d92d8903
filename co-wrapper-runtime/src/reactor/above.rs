//! What stands above a call that is about to sleep, and the one gate that everything of ours passes which blocks.
//!
//! A tokio scheduler whose task blocks stands still below the call: what was woken last lies where no other worker looks,
//! and its timers and sockets may be this worker's to drive. A worker of a multi-thread runtime, ours or another, is
//! therefore handed on by `block_in_place` before the call sleeps. A current-thread runtime cannot be, so there the
//! future is polled unasked from time to time, and the user is told.
//!
//! Whether `block_in_place` is legal, tokio decides by its scheduler's kind, which nothing public tells. What is public:
//!
//! - `worker_index` says whether a scheduler polls something here. It does not in a multi-thread runtime's `block_on`, nor
//!   in a `LocalSet` there, nor once a worker was handed on: there is nothing to hand on and nothing keeps wakes back.
//! - Without a task's id it is a current-thread runtime's `block_on`. A worker is a task of its own.
//! - A worker that drives timers and sockets may call a waker that blocks. It counts as asleep then.
//! - The innermost foreign handle on the stack is the scheduler's, unless the user entered another one there.
//!
//! What remains is a *task* of a current-thread runtime that entered a multi-thread runtime's handle, or ours. There
//! `block_in_place` panics before it does anything. That is caught; the panic hook has printed it, once a task. In a
//! `panic = "abort"` build it is not tried where the handle does not speak for it.

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
    below::Below,
    entered::{Entered, innermost_foreign},
    ours::{IDLE, OURS},
};

/// What stands above a call that is about to sleep.
enum Above {
    /// Nobody who minds.
    Nothing,
    /// A worker of a multi-thread runtime, which lets its work go on elsewhere when told: on that runtime's threads, or
    /// on those of the runtime whose handle is current, which is ours.
    Worker(Option<Handle>),
    /// A tokio scheduler that is stopped by us, and that keeps back wakes such as `yield_now`'s until we return.
    Scheduler(Below),
}

fn above() -> Above {
    let Some(worker) = worker_index() else { return Above::Nothing };
    let ours = OURS.get();
    match innermost_foreign() {
        Some(host) if host.runtime_flavor() == RuntimeFlavor::CurrentThread => Above::Scheduler(Below::CurrentThread),
        _ if task::try_id().is_none() || REFUSED.get() == task::try_id() => Above::Scheduler(Below::CurrentThread),
        // A waker that our driver calls.
        _ if ours && IDLE.get() == task::try_id() => Above::Scheduler(Below::Worker),
        Some(host) if !ours => above_in_task(host, worker),
        // Where a panic ends the process there is no second try.
        None if cfg!(panic = "abort") && !ours && worker == 0 => Above::Scheduler(Below::Worker),
        _ => Above::Worker(None),
    }
}

/// The same where `host` is the scheduler's runtime, or another one that the user entered in its task. Then this worker must
/// not go on on the threads of `host`: dropping `host` would wait for it.
fn above_in_task(host: Handle, worker: usize) -> Above {
    let metrics = host.metrics();
    #[cfg(target_has_atomic = "64")]
    let sleeps = worker < metrics.num_workers() && !metrics.worker_park_unpark_count(worker).is_multiple_of(2);
    #[cfg(not(target_has_atomic = "64"))]
    let sleeps = false;
    if sleeps && !has_budget() {
        // Not a task, but a waker that the driver of `host` calls: its worker sleeps in there, and cannot be handed on.
        return Above::Scheduler(Below::Worker);
    }
    if !sleeps && worker < metrics.num_workers() && metrics.num_alive_tasks() > 0 {
        return Above::Worker(Some(host));
    }
    if cfg!(panic = "abort") && worker == 0 { Above::Scheduler(Below::Worker) } else { Above::Worker(None) }
}

/// Whether tokio's cooperative budget is limited here, as it is in a task that did not ask for none.
fn has_budget() -> bool {
    /// More than tokio gives to a task.
    const MOST: u32 = 256;

    let mut cx = Context::from_waker(Waker::noop());
    // Dropped last, it gives back what the others take.
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
    /// The task in which `block_in_place` was tried in vain.
    static REFUSED: Cell<Option<task::Id>> = const { Cell::new(None) };
}

impl Entered {
    /// The one gate that everything of ours passes which blocks: what stands above lets its work go on elsewhere first, if
    /// it can. `block` is told what stands still nevertheless, and then keeps wakes back until the call has returned; and
    /// the same as a hang report shows it, which says more where nothing does. For who has entered: ours is the current
    /// handle.
    pub fn gate<R>(&self, block: impl FnOnce(Below, Below) -> R) -> R {
        match above() {
            Above::Nothing => block(Below::Nothing, self.where_nothing_stands_still()),
            Above::Worker(host) => hand_on(host, block),
            Above::Scheduler(below) => block(below, below),
        }
    }
}

/// So many calls at once have their hosts' workers go on on threads of the host, which has at most 512 by default and at
/// the limit stands still. The workers that the others block go on on ours.
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

fn hand_on<R>(host: Option<Handle>, block: impl FnOnce(Below, Below) -> R) -> R {
    let on_host = host.and_then(|host| Some((host, OnHost::new()?)));
    let mut block = Some(block);
    let handed_on = catch_unwind(AssertUnwindSafe(|| {
        // The thread that the worker goes on on is taken from the current runtime, which is ours.
        let _hosts = on_host.as_ref().map(|(host, _)| host.enter());
        block_in_place(|| {
            let _ours = Entered::guard();
            block.take().expect("called once")(Below::Nothing, Below::Nothing)
        })
    }));
    match (handed_on, block) {
        (Ok(result), _) => result,
        (Err(payload), None) => resume_unwind(payload),
        (Err(_refused), Some(block)) => {
            REFUSED.set(task::try_id());
            block(Below::CurrentThread, Below::CurrentThread)
        }
    }
}

/// Runs `polls` without tokio's cooperative budget, which a task above may have used up: in it the 129th operation on a
/// tokio resource would wait for a scheduler that we block.
pub fn unconstrained<R>(polls: impl FnOnce() -> R) -> R {
    let mut polls = Some(polls);
    let once = poll_fn(|_| Poll::Ready(polls.take().expect("polled once")()));
    match pin!(task::unconstrained(once)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => unreachable!("the closure is ready at once"),
    }
}

/// The number, not 0, of the tokio task that is being polled here. It may go on on another thread.
#[cfg(feature = "graph")]
#[inline]
pub fn task_id() -> Option<u64> {
    use std::hash::{Hash, Hasher};

    /// A task's `Id` is a number that it shows to nobody but hashers and, as text, readers.
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
