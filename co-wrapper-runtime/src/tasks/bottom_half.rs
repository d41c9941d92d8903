//! Bottom halves: callbacks that run on the home thread, outside any coroutine.

use std::{fmt, mem, sync::Arc};

use super::mailbox::Mailbox;
use crate::{
    fork,
    sync::{AtomicU8, Mutex, Ordering, lock},
};

/// A bottom half in a context's queue.
pub enum Queued {
    /// One that runs once.
    Once(Box<dyn FnOnce() + Send>),
    /// One that can be scheduled again.
    Again(Arc<Reusable>),
}

impl Queued {
    /// Itself, taken from the queue, if it is to run now: it was not cancelled, and does not run further down the stack.
    pub fn settle(self) -> Option<Self> {
        match &self {
            Self::Again(reusable) if !reusable.may_run() => None,
            _ => Some(self),
        }
    }

    /// Runs it.
    pub fn run(self) {
        match self {
            Self::Once(callback) => callback(),
            Self::Again(reusable) => reusable.run(),
        }
    }
}

/// It is to run.
const SCHEDULED: u8 = 1;
/// It has an entry in the queue: at most one, however often it is scheduled and cancelled while nobody polls.
const QUEUED: u8 = 2;

pub struct Reusable {
    mailbox: Arc<Mailbox>,
    state: AtomicU8,
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
    /// Schedules it. A write also where it is scheduled already: it orders what its caller did before the run that takes
    /// the mark up, which a mere look would not.
    fn schedule(self: &Arc<Self>) {
        self.set_and_queue(SCHEDULED);
    }

    fn set_and_queue(self: &Arc<Self>, set: u8) {
        if self.state.fetch_or(set | QUEUED, Ordering::AcqRel) & QUEUED == 0 {
            // A closed context drops it.
            drop(self.mailbox.push_bottom_half(Queued::Again(Arc::clone(self))));
        }
    }

    /// Takes a scheduling back, or up; true if there was one.
    fn unschedule(&self) -> bool {
        self.state.fetch_and(!SCHEDULED, Ordering::AcqRel) & SCHEDULED != 0
    }

    fn may_run(&self) -> bool {
        if self.state.fetch_and(!QUEUED, Ordering::AcqRel) & SCHEDULED == 0 {
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

    fn run(self: Arc<Self>) {
        struct PutBack<'a>(&'a Arc<Reusable>, Option<Box<dyn FnMut() + Send>>);
        impl Drop for PutBack<'_> {
            fn drop(&mut self) {
                let Self(reusable, callback) = self;
                let mut place = lock(&reusable.callback);
                if let Callback::Running { again } = *place {
                    *place = callback.take().map_or(Callback::Gone, Callback::Idle);
                    drop(place);
                    if again && reusable.state.load(Ordering::Acquire) & SCHEDULED != 0 {
                        reusable.set_and_queue(0);
                    }
                }
            }
        }

        let mut place = lock(&self.callback);
        // Another thread may have cancelled it since it was settled. From here on it may be scheduled again.
        if !self.unschedule() {
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
        self.unschedule();
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
            state: AtomicU8::new(0),
            callback: Mutex::new(Callback::Idle(Box::new(callback))),
        }))
    }

    /// Has it run once on the home thread, outside any coroutine, in the next poll. From any thread. Scheduled again
    /// before it ran, it still runs once. Scheduled while it runs, it runs again after it has returned: not nested, also
    /// if it polls, for an `FnMut` cannot be entered twice.
    #[doc(alias = "qemu_bh_schedule")]
    pub fn schedule(&self) {
        if !fork::is_child() {
            self.0.schedule();
        }
    }

    /// Takes a scheduling back, if it did not run yet. A run that has begun is not waited for. Scheduled again before the
    /// next poll, it keeps the turn that it had.
    #[doc(alias = "qemu_bh_cancel")]
    pub fn cancel(&self) {
        if !fork::is_child() {
            self.0.unschedule();
        }
    }
}

impl Drop for BottomHalf {
    fn drop(&mut self) {
        if !fork::is_child() {
            self.0.delete();
        }
    }
}

impl fmt::Debug for BottomHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheduled = self.0.state.load(Ordering::Relaxed) & SCHEDULED != 0;
        f.debug_struct("BottomHalf").field("scheduled", &scheduled).finish()
    }
}
