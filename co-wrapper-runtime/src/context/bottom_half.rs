//! The handle of a reusable bottom half.

use std::{fmt, sync::Arc};

use crate::{
    scheduler::Scheduler,
    sys::fork,
    tasks::bottom_half::{Queued, Reusable},
};

/// A callback that can be scheduled repeatedly. Made by [`AioContext::bh`](crate::AioContext::bh).
///
/// Dropping the handle cancels it for good, even from within its own callback.
///
/// # Examples
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
///
/// let ctx = co_wrapper::AioContext::new()?;
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
pub struct BottomHalf {
    pub(super) reusable: Arc<Reusable>,
    pub(super) scheduler: Arc<Scheduler>,
}

impl BottomHalf {
    pub(crate) fn new(scheduler: &Arc<Scheduler>, callback: impl FnMut() + Send + 'static) -> Self {
        Self::of(scheduler, Reusable::new(None, Box::new(callback)))
    }

    /// The handle of `reusable`.
    pub(super) fn of(scheduler: &Arc<Scheduler>, reusable: Arc<Reusable>) -> Self {
        Self { reusable, scheduler: Arc::clone(scheduler) }
    }

    /// Schedules one run on the home thread, outside any coroutine, in the next poll. From any thread. If it is
    /// scheduled again before it ran, it still runs once. If it is scheduled while it runs, it runs again after it has
    /// returned, never nested, even if the callback polls: an `FnMut` cannot be entered twice.
    ///
    /// # Examples
    ///
    /// See [`BottomHalf`].
    #[doc(alias = "qemu_bh_schedule")]
    pub fn schedule(&self) {
        if !fork::is_child() && self.reusable.schedule() {
            // A closed context drops it.
            drop(self.scheduler.push_bottom_half(Queued::Again(Arc::clone(&self.reusable))));
        }
    }

    /// Cancels a scheduled run that has not begun; does not wait for one that has. If it is scheduled again before the
    /// next poll, it keeps its old place in the queue.
    ///
    /// # Examples
    ///
    /// See [`BottomHalf`].
    #[doc(alias = "qemu_bh_cancel")]
    pub fn cancel(&self) {
        if !fork::is_child() {
            self.reusable.unschedule();
        }
    }
}

impl Drop for BottomHalf {
    fn drop(&mut self) {
        if !fork::is_child() {
            self.reusable.delete();
        }
    }
}

impl fmt::Debug for BottomHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BottomHalf").field("scheduled", &self.reusable.is_scheduled()).finish()
    }
}
