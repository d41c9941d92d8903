//! Bottom halves: callbacks that run on the home thread, outside any coroutine.

use std::{fmt, mem, sync::Arc};

use super::mailbox::Mailbox;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// A bottom half in a context's queue.
pub enum Queued {
    /// One that runs once.
    Once(Box<dyn FnOnce() + Send>),
    /// One that can be scheduled again, and the generation by which it was.
    Again(Arc<Reusable>, u64),
}

impl Queued {
    /// Itself, if it is to run now: it was not cancelled since, and does not run further down the stack.
    pub fn settle(self) -> Option<Self> {
        match &self {
            Self::Again(reusable, generation) if !reusable.may_run(*generation) => None,
            _ => Some(self),
        }
    }

    /// Runs it.
    pub fn run(self) {
        match self {
            Self::Once(callback) => callback(),
            Self::Again(reusable, generation) => reusable.run(generation),
        }
    }
}

pub struct Reusable {
    mailbox: Arc<Mailbox>,
    /// Odd while it is scheduled, and another number each time, so that an entry in the queue tells whether it stands.
    generation: AtomicU64,
    callback: Mutex<Callback>,
}

enum Callback {
    Idle(Box<dyn FnMut() + Send>),
    /// It runs. An `FnMut` cannot be entered twice, so if its turn comes meanwhile it has another one after.
    Running {
        again: bool,
    },
    Gone,
}

impl Reusable {
    /// Schedules it, unless it is.
    fn schedule(self: &Arc<Self>) {
        let generation = self.generation.load(Ordering::Acquire);
        if generation % 2 == 1 {
            return;
        }
        // Whoever loses has the winner's run after its own call began, which is what it asked for.
        if self.generation.compare_exchange(generation, generation + 1, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.push(generation + 1);
        }
    }

    fn push(self: &Arc<Self>, generation: u64) {
        // A closed context drops it.
        drop(self.mailbox.push_bottom_half(Queued::Again(Arc::clone(self), generation)));
    }

    fn cancel(&self) {
        let generation = self.generation.load(Ordering::Acquire);
        if generation % 2 == 1 {
            // Lost only to its own run or to another cancel.
            let _ = self.generation.compare_exchange(generation, generation + 1, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    fn may_run(&self, generation: u64) -> bool {
        if self.generation.load(Ordering::Acquire) != generation {
            return false;
        }
        match &mut *lock(&self.callback) {
            Callback::Idle(_) => true,
            Callback::Running { again } => {
                *again = true;
                false
            }
            Callback::Gone => false,
        }
    }

    fn run(self: Arc<Self>, generation: u64) {
        struct PutBack<'a>(&'a Arc<Reusable>, Option<Box<dyn FnMut() + Send>>);
        impl Drop for PutBack<'_> {
            fn drop(&mut self) {
                let Self(reusable, callback) = self;
                let mut place = lock(&reusable.callback);
                if let Callback::Running { again } = *place {
                    *place = callback.take().map_or(Callback::Gone, Callback::Idle);
                    drop(place);
                    let generation = reusable.generation.load(Ordering::Acquire);
                    if again && generation % 2 == 1 {
                        reusable.push(generation);
                    }
                }
            }
        }

        let mut place = lock(&self.callback);
        // Another thread may have cancelled it since it was settled. From here on it may be scheduled again.
        let stands =
            self.generation.compare_exchange(generation, generation + 1, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !stands {
            return;
        }
        let callback = match mem::replace(&mut *place, Callback::Running { again: false }) {
            Callback::Idle(callback) => callback,
            // Or have dropped it.
            other => return *place = other,
        };
        drop(place);
        let mut running = PutBack(&self, Some(callback));
        if let Some(callback) = &mut running.1 {
            callback();
        }
    }

    fn delete(&self) {
        self.cancel();
        let callback = mem::replace(&mut *lock(&self.callback), Callback::Gone);
        drop(callback);
    }
}

/// A callback that can be scheduled again and again. Made by [`AioContext::bh`](crate::AioContext::bh).
///
/// Dropping it cancels it for good, also from within its own callback.
///
/// # Examples
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
///
/// let ctx = co_wrapper_runtime::AioContext::new()?;
/// let runs = Arc::new(AtomicUsize::new(0));
/// let counter = Arc::clone(&runs);
/// let bh = ctx.bh(move || { counter.fetch_add(1, Ordering::Relaxed); });
/// bh.schedule();
/// bh.schedule(); // it waits already
/// ctx.poll(false);
/// assert_eq!(runs.load(Ordering::Relaxed), 1);
/// bh.schedule();
/// bh.cancel();
/// assert!(!ctx.poll(false));
/// # std::io::Result::Ok(())
/// ```
#[doc(alias = "QEMUBH")]
pub struct BottomHalf(Arc<Reusable>);

impl BottomHalf {
    pub(crate) fn new(mailbox: &Arc<Mailbox>, callback: impl FnMut() + Send + 'static) -> Self {
        Self(Arc::new(Reusable {
            mailbox: Arc::clone(mailbox),
            generation: AtomicU64::new(0),
            callback: Mutex::new(Callback::Idle(Box::new(callback))),
        }))
    }

    /// Has it run once on the home thread, outside any coroutine, in the next poll. From any thread. Scheduled again
    /// before it ran, it still runs once. Scheduled while it runs, it runs again after it has returned: not nested, also
    /// if it polls, for an `FnMut` cannot be entered twice.
    #[doc(alias = "qemu_bh_schedule")]
    pub fn schedule(&self) {
        self.0.schedule();
    }

    /// Takes a scheduling back, if it did not run yet. A run that has begun is not waited for.
    #[doc(alias = "qemu_bh_cancel")]
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl Drop for BottomHalf {
    fn drop(&mut self) {
        self.0.delete();
    }
}

impl fmt::Debug for BottomHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheduled = self.0.generation.load(Ordering::Relaxed) % 2 == 1;
        f.debug_struct("BottomHalf").field("scheduled", &scheduled).finish()
    }
}
